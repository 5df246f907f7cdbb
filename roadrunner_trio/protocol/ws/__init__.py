"""WebSocket as octets (RFC 6455, RFC 7692): handshakes, frames and messages, without input or output.

Read ``frames`` and ``decoder``; ``extensions`` and ``deflate`` are compression, ``handshake`` comes before all of it.
"""
