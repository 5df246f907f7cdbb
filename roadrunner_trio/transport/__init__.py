"""Time and wire: what a server needs of Trio and of the kernel, before there is any HTTP.

It knows Trio, sockets and the words (``errors``, ``settings`` …) and no protocol: nothing in here has heard of a
request. Read ``clock``, ``patience``, ``phases`` and ``drain`` for how a connection's time is bounded and how it is
told of the end; ``poller`` and ``wire`` for how octets move; then ``files``, ``streams`` and TLS, each by itself.
"""
