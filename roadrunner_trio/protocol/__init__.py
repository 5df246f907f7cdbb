"""Octets, sans I/O: what is on the wire, read and written without waiting for anything.

Nothing in here imports Trio; everything can be tested with bytes alone. ``heads`` and ``wishes`` are what all versions
of HTTP have in common: what the head of a request comes to, and what that of a response may say. Read ``http1.engine``
and ``http1.head`` next (how a head is split, and who judges it), then ``http1.body`` and ``http1.encode``; ``ws`` is
the same for frames. ``codec`` has the small formats of fields, ``proxy_header`` and ``trust`` what proxies say.
"""
