"""Hostile input, generated: what is valid, changed in the ways that have led servers astray."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hypothesis import strategies as st

Mutation: TypeAlias = Callable[[bytes], bytes]

OCTETS = [
    bytes([octet])
    for octet in b'\x00\x01\x08\x09\x0a\x0b\x0c\x0d\x0e\x1b\x1f "#%()+,-./0159:;<=>@A[\\]_`az{|}~\x7f\x80\x85\xa0\xff'
]
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"", b" \r\n", b"\t\r\n", b"\x0b\r\n", b"\x85\r\n"]
LINES = [
    *[b"Content-Length: 5", b"Content-Length: 0", b"content-length:5", b"Content-Length : 5", b"Content-Length: +5"],
    *[
        b"Content-Length: 5, 5",
        b"Content-Length: 0x5",
        b"Content-Length: 5 5",
        b"Content-Length:",
        b"Content_Length: 5",
    ],
    *[b"Transfer-Encoding: chunked", b"Transfer-Encoding:chunked", b"Transfer-Encoding: chunked, chunked"],
    *[b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: \x0bchunked"],
    *[b"Transfer-Encoding: xchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: chunked;q=1"],
    *[b"Host: h", b"Host: evil", b"host:", b"Host: a b", b"Host: a/b", b"Host: [::1]", b"Host: [::1", b"Host: u@h"],
    *[b" folded", b"\tContent-Length: 5", b"", b"X", b": v", b"X : v", b"X: \x00", b"X: a\rb", b"X: a\x85b", b"X:"],
    *[b"Connection: close", b"Connection: keep-alive, close", b"Connection: closed", b"Connection: ,,"],
    *[b"Expect: 100-continue", b"Expect: x", b"Upgrade: h2c", b"Trailer: X", b"TE: trailers", b"0", b"5", b"-1"],
    *[b"GET /smuggled HTTP/1.1", b"HTTP/1.1 200 OK", b"PRI * HTTP/2.0", b"5;a=b", b'5;a="b', b"5 ;a", b"5;", b"1_0"],
]
"""Field lines mostly, and some others where a field line is due."""

numbers = st.integers(0, 9999)


def _insert(what: bytes, place: int) -> Mutation:
    return lambda data: data[: (at := place % (len(data) + 1))] + what + data[at:]


def _replace(what: bytes, place: int) -> Mutation:
    return lambda data: data[: (at := place % max(len(data), 1))] + what + data[at + 1 :]


def _line_end(what: bytes, which: int) -> Mutation:
    def change(data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        at = which % len(lines)
        return b"\r\n".join(lines[:at]) + (what if at else b"") + b"\r\n".join(lines[at:])

    return change


def _line(what: bytes, which: int) -> Mutation:
    def change(data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        lines.insert(which % len(lines), what)
        return b"\r\n".join(lines)

    return change


def _again(which: int, where: int) -> Mutation:
    def change(data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        lines.insert(where % len(lines), lines[which % len(lines)])
        return b"\r\n".join(lines)

    return change


def _without(which: int) -> Mutation:
    def change(data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        del lines[which % len(lines)]
        return b"\r\n".join(lines)

    return change


def _case(place: int) -> Mutation:
    return lambda data: data[: (at := place % max(len(data), 1))] + data[at:].swapcase()


mutations = st.one_of(
    st.builds(_insert, st.sampled_from(OCTETS), numbers),
    st.builds(_replace, st.sampled_from([*OCTETS, b""]), numbers),
    st.builds(_line_end, st.sampled_from(LINE_ENDS), numbers),
    st.builds(_line, st.sampled_from(LINES), numbers),
    st.builds(_again, numbers, numbers),
    st.builds(_without, numbers),
    st.builds(_case, numbers),
)


def changed(valid: st.SearchStrategy[bytes], most: int = 3) -> st.SearchStrategy[bytes]:
    """What ``valid`` gives, with some mutations."""

    def apply(data: bytes, steps: list[Mutation]) -> bytes:
        for step in steps:
            data = step(data)
        return data

    return st.builds(apply, valid, st.lists(mutations, min_size=1, max_size=most))


methods = st.sampled_from([b"GET", b"GET", b"POST", b"PUT", b"OPTIONS", b"get", b"M-SEARCH"])
targets = st.sampled_from(
    [b"/", b"/", b"/a?b=c", b"//a", b"/%00", b"*", b"http://h/x", b"http://h:1?y", b"HTTPS://[::1]"]
)
versions = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.10"])
plain_lines = st.sampled_from(
    [
        b"Accept: */*",
        b"X-A: b",
        b"x-a:",
        b"X: \t y \t",
        b"Cookie: a=b; c",
        b"User-Agent: \xe9",
        b"Connection: keep-alive",
    ]
)


def _head(method: bytes, target: bytes, version: bytes, lines: list[bytes], more: bytes = b"") -> bytes:
    fields = b"".join(line + b"\r\n" for line in [b"Host: h", *lines])
    return method + b" " + target + b" " + version + b"\r\n" + fields + more + b"\r\n"


lines = st.lists(plain_lines, max_size=3)
heads = st.builds(_head, methods, targets, versions, lines)
with_length = st.builds(
    lambda lines, body: _head(b"POST", b"/", b"HTTP/1.1", lines, b"Content-Length: %d\r\n" % len(body)) + body,
    lines,
    st.binary(max_size=12),
)
extensions = st.sampled_from([b"", b"", b"", b";a", b';a="b;\\"c"', b" ; a = b", b"\t;\ta"])
chunk = st.builds(
    lambda zeros, data, extension: b"0" * zeros + b"%x" % len(data) + extension + b"\r\n" + data + b"\r\n",
    st.integers(0, 2),
    st.binary(min_size=1, max_size=20),
    extensions,
)
trailer_lines = st.sampled_from([b"X: y\r\n", b"x-t:\r\n", b"ETag: \t\xe9\r\n"])
trailer_sections = st.lists(trailer_lines, max_size=3).map(lambda each: b"".join(each) + b"\r\n")
chunked_bodies = st.builds(
    lambda parts, extension, trailers: b"".join(parts) + b"0" + extension + b"\r\n" + trailers,
    st.lists(chunk, max_size=3),
    extensions,
    trailer_sections,
)
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
with_chunks = chunked_bodies.map(lambda body: CHUNKED_HEAD + body)
requests = st.one_of(heads, with_length, with_chunks)
conversations = st.lists(requests, min_size=2, max_size=4).map(b"".join)

HOSTILE = {
    "heads": changed(heads),
    "lengths": changed(with_length),
    "chunks": changed(chunked_bodies).map(lambda body: CHUNKED_HEAD + body),
    "trailers": changed(trailer_sections).map(lambda section: CHUNKED_HEAD + b"1\r\nx\r\n0\r\n" + section),
    "pipelines": changed(conversations),
    "octets": st.binary(max_size=120),
}
"""Each family of hostile input."""
