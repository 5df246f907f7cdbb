"""Small formats that requests and responses carry, as pure functions on text and bytes.

Targets (``uri``), ``cookies``, what proxies say (``forwarded``), server-sent events (``sse``), names of files
(``disposition``). None knows another, so there is no order to read them in.
"""
