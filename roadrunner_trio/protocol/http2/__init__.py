"""HTTP/2 (RFC 9113), sans I/O: octets in, ready streams out; responses in, octets out.

It knows the standard library, the words, and HTTP/1's verdict on fields. To be read in this order: header blocks
(tables, huffman, hpack, blocks), frames, what is judged (head, sections), what is counted (budget, stream, windows,
numbers), the ledger that holds all this for one connection, what each frame does to it (control, content, heads_in),
and the engine.
"""
