"""WebSocket as octets (RFC 6455, RFC 7692): handshakes, frames and messages, without input or output.

Read ``frames`` and ``decoder``; ``masking`` is how payloads are unmasked, ``assembly`` is a message that grows,
``extensions`` and ``deflate`` are compression, ``handshake`` and ``origin`` come before all of it.
"""
