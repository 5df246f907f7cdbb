"""From an exchange to a handler and back.

It knows messages and what is told of them; it does not know connections, so every protocol can use it. Read ``respond``
first (a handler becomes an application, a returned response becomes writes), then ``faults`` (what an exception
counts as); ``middleware``, ``admission`` and ``rate_limit`` stand before a handler. ``context`` is all that the
connections of one listener share; ``buffers`` is what they hold in memory together.
"""
