"""The strictness table: inputs that other servers let in, each at least one of them, and what this one says to each.

Refused in every line, but for two, where the RFC and the vectors leave a strict server another way; each says why.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from framing_attacks import chunked, head, length
from siege_tools import besiege, cut_three_ways
from story_tools import post

import roadrunner_trio as rr

BODY = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


class Line(NamedTuple):
    """A line of the table; ``why`` is the ruling where the answer is 200."""

    what: str
    data: bytes
    status: int = 400
    why: str = ""


TABLE = (
    Line("Content-Length and Transfer-Encoding", head(b"Content-Length: 5", CHUNKED, body=BODY)),
    Line("Transfer-Encoding on HTTP/1.0", post(CHUNKED, body=BODY, version=b"1.0")),
    Line("duplicate equal Content-Length", head(b"Content-Length: 1", b"Content-Length: 1", body=b"x")),
    Line("Content-Length: 1, 1", length(b"1, 1")),
    Line("bare LF as line end", b"GET / HTTP/1.1\nHost: h\n\n"),
    Line("obs-fold continuation line", b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
    Line("control octet 01 in a field value", b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n"),
    Line("duplicate Host", b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    Line("missing Host on 1.1", b"GET / HTTP/1.1\r\n\r\n"),
    Line(
        "HTTP/1.2",
        b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        200,
        "a higher minor version is read as the highest known (RFC 9110 section 2.5): nothing is smuggled by it",
    ),
    Line("HTTP/2.0 as a version", b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    Line("GET *", b"GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    Line("bare CR in a chunk extension", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    Line("chunk data not followed by CRLF", chunked(b"5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n")),
    Line("58 KB of fields in one segment", head(*[b"X: " + b"y" * 1000] * 58), 431),
    Line(
        "a path with %ff",
        b"GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n",
        200,
        "percent-encoded octets need not be UTF-8 (RFC 3986 section 2.5); what they mean is the application's",
    ),
)


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.what)
async def test_a_line_of_the_table(line: Line, tolls, autojump_clock):
    fates, toll = await besiege(cut_three_ways(line.data, line.what))
    assert [fate.statuses for fate in fates] == [(line.status,)] * 3
    assert (line.status == 200) == bool(line.why)
    tolls.take("strictness table", toll)


async def test_a_path_that_is_not_utf_8_reaches_the_handler_as_octets(tolls, autojump_clock):
    seen = []

    async def look(request: rr.Request) -> rr.Response:
        seen.append((request.target, request.path))
        return rr.Response()

    _, toll = await besiege([[b"GET /%ff?%fe HTTP/1.1\r\nHost: h\r\n\r\n"]], handler=look)
    assert seen[0] == (b"/%ff?%fe", "/%ff")
    tolls.take("strictness table", toll)
