"""HTTP/2 on a connection: one task that reads, and one for each stream in hand (RFC 9113).

It knows everything that the story of HTTP/1 knows, and that story too, whose ``dispatch`` is its own. To be read from
``connection``, which is told in the same words; then ``exchange``, ``sender``, ``writer``.
"""
