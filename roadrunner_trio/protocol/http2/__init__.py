"""HTTP/2 (RFC 9113), sans I/O: octets in, ready streams out; frames in, octets out.

It knows the standard library, the words, and HTTP/1's verdict on fields. To be read in this order: tables, huffman,
hpack, blocks, frames, head, budget, windows, stream, engine.
"""
