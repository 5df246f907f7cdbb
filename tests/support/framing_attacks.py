"""Requests that servers have read in two ways, by the name under which that became known, and what has to come of each.

``got_in`` are the requests that may reach the application before the refusal: nothing behind a malformed message is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from story_tools import GET, post

BAD: Final = frozenset({400})
CHUNKED: Final = b"Transfer-Encoding: chunked"
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
BODY: Final = b"5\r\nhello\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Attack:
    """One input of one advisory.

    Attributes:
        name: the advisory, or where else it is known from.
        what: what is wrong with it, in a few words.
        data: the octets.
        statuses: of the refusal; empty where the input is to be served, harmlessly.
        got_in: how many requests before it (or instead of it) are answered 200.
    """

    name: str
    what: str
    data: bytes
    statuses: frozenset[int] = BAD
    got_in: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


def head(*lines: bytes, method: bytes = b"POST", body: bytes = b"") -> bytes:
    """A request whose Host is there already."""
    return method + b" / HTTP/1.1\r\nHost: h\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def connect(line: bytes, content: bytes) -> bytes:
    """A CONNECT with this line beside Host, and octets that are its content or the tunnel's."""
    return b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n" + line + b"\r\n\r\n" + content


def chunked(body: bytes) -> bytes:
    """A request with this for a chunked body."""
    return post(CHUNKED, body=body)


def length(value: bytes) -> bytes:
    """A request with this Content-Length and five octets."""
    return post(b"Content-Length: " + value, body=b"hello")


def coded(value: bytes) -> bytes:
    """A request with this Transfer-Encoding and a chunked body."""
    return post(b"Transfer-Encoding: " + value, body=BODY)


def get(target: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    """A request for this target."""
    return method + b" " + target + b" " + version + b"\r\nHost: h\r\n\r\n"


TE: Final = frozenset({400, 501})

FRAMING: Final = (
    Attack("CVE-2025-43859", "chunk data not followed by CRLF", chunked(b"5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n")),
    Attack("CVE-2024-1135", "two Transfer-Encoding lines that conflict", head(CHUNKED, b"Transfer-Encoding: x"), TE),
    Attack("CVE-2024-1135", "chunked, and then another coding", coded(b"chunked, gzip"), TE),
    Attack("CVE-2024-6827", "a coding that only ends in chunked", coded(b"xchunked"), TE),
    Attack("CVE-2024-6827", "a coding that nobody knows", coded(b"cow"), TE),
    Attack("CVE-2023-47641", "Content-Length before Transfer-Encoding", head(b"Content-Length: 5", CHUNKED, body=BODY)),
    Attack("CVE-2023-47641", "Transfer-Encoding before Content-Length", head(CHUNKED, b"Content-Length: 5", body=BODY)),
    Attack("CVE-2023-47627", "a letter that is no ASCII in a method", get(b"/", method=b"G\xc3\x8aT")),
    Attack("CVE-2023-47627", "digits that are no ASCII in a version", get(b"/", version=b"HTTP/1.\xd9\xa1")),
    Attack("CVE-2023-47627", "a length with an underscore", length(b"1_0")),
    Attack("CVE-2023-47627", "a length with a sign", length(b"+5")),
    Attack("CVE-2024-23829", "a blank before the colon", head(b"Content-Length : 5", body=b"hello")),
    Attack("CVE-2024-23829", "NUL in a field name", head(b"X\x00: a")),
    Attack("CVE-2024-23829", "a tab in a version", get(b"/", version=b"HTTP/1.1\t")),
    Attack("CVE-2024-52304", "LF inside a chunk extension", chunked(b"5;a\nxx\r\nhello\r\n0\r\n\r\n")),
    Attack("CVE-2025-53643", "a request in a trailer section", chunked(b"0\r\nX: y\r\n\r\n"), frozenset(), 1),
    Attack("CVE-2025-53643", "a request line for a trailer", chunked(b"0\r\n" + SMUGGLED)),
    Attack("CVE-2025-69224", "digits of another script for a length", length("٥".encode())),
    Attack("CVE-2025-69224", "superscript digits for a chunk size", chunked(b"\xb2\r\nhe\r\n0\r\n\r\n")),
    Attack("CVE-2026-34525", "Host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    Attack("CVE-2026-34525", "Host twice, the same", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    Attack("CVE-2026-34520", "NUL in a field value", head(b"X: a\x00b", method=b"GET")),
    *[
        Attack("CVE-2026-34520", f"octet {octet:02x} in a field value", head(b"X: a" + bytes([octet]), method=b"GET"))
        for octet in (0x01, 0x08, 0x0B, 0x0C, 0x1F, 0x7F)
    ],
    Attack("CVE-2019-16785", "bare LF for a line end", b"GET / HTTP/1.1\nHost: h\n\n"),
    Attack("CVE-2019-16785", "bare LF before a hidden field", head(b"X: a\nTransfer-Encoding: chunked")),
    Attack("CVE-2019-16786", "a list of codings", coded(b"gzip, chunked"), TE),
    Attack("CVE-2019-16789", "a coding behind octet 0b", coded(b"\x0bchunked")),
    Attack("CVE-2019-16792", "Content-Length twice", head(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    Attack("CVE-2019-16792", "Content-Length as a list", length(b"5, 5")),
    Attack("CVE-2022-24761", "a length with a sign", length(b"-5")),
    Attack("CVE-2022-24761", "a chunk size with a prefix", chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    Attack("CVE-2022-24761", "a blank before a chunk size", chunked(b" 5\r\nhello\r\n0\r\n\r\n")),
    Attack("CVE-2022-24801", "a chunk size with a sign", chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    Attack("CVE-2022-24801", "a chunk size with an underscore", chunked(b"0_5\r\nhello\r\n0\r\n\r\n")),
    Attack("CVE-2022-24801", "a length with a form feed", length(b"5\x0c")),
    Attack("CVE-2023-46137", "many in one segment", GET * 20, frozenset(), 20),
    Attack("CVE-2025-22871", "bare LF behind a chunk size", chunked(b"5\nhello\r\n0\r\n\r\n")),
    Attack("CVE-2025-22871", "bare LF behind the last chunk", chunked(b"0\n\r\n")),
    Attack("CVE-2021-32714", "a chunk size of 2^64", chunked(b"10000000000000000\r\nx"), frozenset({400, 413})),
    Attack("CVE-2021-32714", "a chunk size of 2^80", chunked(b"1" + b"0" * 20 + b"\r\nx"), frozenset({400, 413})),
    Attack("CVE-2021-32715", "a length with a sign, and a smuggled request", length(b"+0") + SMUGGLED),
    Attack("CVE-2022-32213", "a folded Transfer-Encoding", head(b"Transfer-Encoding: chunked", b" , identity")),
    Attack("CVE-2022-32214", "a field line without CR", b"GET / HTTP/1.1\r\nHost: h\r\nX: y\n\r\n"),
    Attack("CVE-2022-32215", "a coding on a folded line", head(b"Transfer-Encoding:", b" chunked", body=BODY)),
    Attack(
        "CVE-2023-30589", "CR for a line end", b"POST / HTTP/1.1\r\nHost: h\r\nx: x\rContent-Length: 5\r\n\r\nhello"
    ),
    Attack("CVE-2024-27982", "a blank before the name", b"POST / HTTP/1.1\r\n Content-Length: 5\r\nHost: h\r\n\r\n"),
    Attack("CVE-2026-39805", "three lengths", head(*[b"Content-Length: 5"] * 3, body=b"hello")),
    Attack(
        "CVE-2026-39805", "two lengths that differ", head(b"Content-Length: 0", b"Content-Length: 5", body=b"hello")
    ),
    Attack("bandit-1.12.4", "no colon in a field line", head(b"nothing")),
    Attack("bandit-1.12.4", "Transfer-Encoding from HTTP/1.0", post(CHUNKED, body=BODY, version=b"1.0")),
    Attack("bandit-1.12.4", "Transfer-Encoding twice", head(CHUNKED, CHUNKED, body=BODY)),
    Attack("bandit-1.12.5", "Transfer-Encoding in capitals, which is right", coded(b"ChUnKeD"), frozenset(), 1),
    Attack("bandit-1.12.5", "a chunk extension without a name", chunked(b"5;=a\r\nhello\r\n0\r\n\r\n")),
    Attack("bandit-1.12.5", "a quoted extension that never ends", chunked(b'5;a="b\r\nhello\r\n0\r\n\r\n')),
    *[
        Attack("CVE-2026-44546", f"octet {octet:02x} in a field value", head(b"X: a" + bytes([octet]) + b"Y: b"))
        for octet in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E)
    ],
    # obs-text is allowed in a value (RFC 9110 section 5.5): harmless where nobody splits lines at it, as str does.
    Attack("CVE-2026-44546", "octet 85 in a field value", head(b"X: a\x85Y: b"), frozenset(), 1),
    Attack("gunicorn-26.0", "authority-form outside CONNECT", get(b"h:80")),
    Attack("gunicorn-26.0", "an asterisk outside OPTIONS", get(b"*")),
    Attack("a tunnel's first octets", "a length for CONNECT", connect(b"Content-Length: 5", b"hello")),
    Attack("a tunnel's first octets", "chunks for CONNECT", connect(CHUNKED, BODY)),
    Attack("gunicorn-26.0", "a target without a slash", get(b"index.html")),
    Attack("gunicorn-26.0", "a chunked body without its last CRLF", chunked(b"5\r\nhello\r\n0\r\n"), frozenset(), 0),
    Attack("gunicorn-26.0", "a length for a trailer", chunked(b"0\r\nContent-Length: 5\r\n\r\n")),
    Attack("gunicorn-26.0", "Host for a trailer", chunked(b"0\r\nHost: evil\r\n\r\n")),
    Attack("gunicorn-26.1", "bare CR in a chunk extension", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    Attack(
        "gunicorn-26.1",
        "Content-Type twice, which is the application's",
        head(*[b"Content-Type: a"] * 2),
        frozenset(),
        1,
    ),
    Attack("CVE-2026-39807", "https in a target in clear text", get(b"https://h/"), frozenset(), 1),
    Attack("hypercorn-length", "a length of 46 digits", length(b"9" * 46), frozenset({400, 413})),
    Attack("hypercorn-length", "a length of 19 digits", length(b"9" * 19), frozenset({413})),
)
"""HTTP/1 framing and smuggling."""
