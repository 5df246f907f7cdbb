"""Octets, sans I/O: what is on the wire, read and written without waiting for anything.

Nothing in here imports Trio; everything can be tested with bytes alone. Read ``http1.engine`` and ``http1.head``
first (how a head is split, and who judges it), then ``http1.body`` and ``http1.encode``; ``ws`` is the same for
frames. ``codec`` has the small formats that fields carry, ``proxy_header`` and ``trust`` what proxies say.
"""
