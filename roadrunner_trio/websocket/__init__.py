"""WebSockets: a handler of requests that takes the exchange's stream over and speaks frames on it.

It knows exchanges and the octets of ``protocol.ws``, and no server. Read ``session`` first, what a handler of
WebSockets holds, and ``handler``, which makes one of it; ``core`` is the state between frames and messages, ``link``
how its octets reach the stream.
"""
