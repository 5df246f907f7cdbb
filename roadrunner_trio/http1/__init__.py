"""HTTP/1.1 as bytes (RFC 9112): reading and writing without input or output. Nothing in here imports Trio."""
