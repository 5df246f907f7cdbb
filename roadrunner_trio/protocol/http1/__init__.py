"""HTTP/1.1 as octets (RFC 9112): reading and writing, without input or output.

Engines split, ``head`` judges, ``body`` unpacks, ``encode`` writes. Read ``engine`` for the contract; ``h11_engine`` is
the reader that is always right, ``scan`` the one that is usually quicker and hands everything else to it.
"""
