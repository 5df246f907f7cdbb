"""What both applications send."""

from __future__ import annotations

import os
from typing import Final

HELLO: Final = b"Hello, world!"
LARGE: Final = bytes(range(32, 96)) * 1024
"""64 kB."""
CHUNK: Final = bytes(range(32, 96)) * 16
"""1 kB; a streamed answer has :data:`CHUNKS` of them."""
CHUNKS: Final = 20
TEXT: Final = b"text/plain; charset=utf-8"
OCTETS: Final = b"application/octet-stream"

OBJECT: Final = {
    "id": 4711,
    "name": "roadrunner",
    "active": True,
    "score": 0.75,
    "parent": None,
    "tags": ["bird", "desert", "fast", "beep"],
    "items": [
        {"sku": f"A-{n:05d}", "title": f"Anvil number {n}, délivré", "price": 12.5 + n, "count": n, "left": n % 2 == 0}
        for n in range(10)
    ],
}
"""About 1 kB of JSON."""

FIELDS: Final = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"public, max-age=300, stale-while-revalidate=60"),
    (b"etag", b'"5f2b9c7d0e3a41c6"'),
    (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"vary", b"accept-encoding, accept-language"),
    (b"content-language", b"en"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
]
"""Ten response fields, as a site behind a security scanner has them."""

ROWS: Final = {
    "rows": [
        {"id": n, "name": f"user {n * 7919 % 1000}", "email": f"u{n}@example.org", "ok": n % 3 == 0} for n in range(290)
    ]
}
"""19 kB of JSON, as an interface of a program gives it."""

ROUTES: Final = 200
FILE_VARIABLE: Final = "BENCH_FILE"
FILE: Final = os.environ.get(FILE_VARIABLE, "")
"""The file to be sent; the benchmark makes it and says where."""
