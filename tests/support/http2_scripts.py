"""Connections for HTTP/2 as scripts: what a peer may do, sensible and not, and the same read by python-hyper's h2."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
from hypothesis import strategies as st

from roadrunner_trio.protocol.http2 import frames

TOKENS = st.sampled_from(["GET", "POST", "OPTIONS", "CONNECT", "PUT", "G T", ""])
PATHS = st.sampled_from(["/", "/p?q=1", "/a/b", "*", "/", "a", "", "/ x"])
HOSTS = st.sampled_from(["example.com", "example.com:443", "[::1]", "a", "a b", ""])
NAMES = st.sampled_from(
    ["x-a", "accept", "host", "content-length", "te", "connection", "expect", "X-Up", "x:y", "priority"]
)
VALUES = st.sampled_from(
    ["", "1", "5", "trailers", "example.com", "a=b", "v" * 60, " lead", "tab\there", "nul\0", "é", "u=1, i"]
)
CRUMBS = st.tuples(st.just("cookie"), st.sampled_from(["a=b", "c"]))
"""Not empty: h2 joins them, and then finds that the whole ends in a blank."""
PLAIN_FIELDS = st.lists(
    st.one_of(CRUMBS, st.tuples(st.sampled_from(["x-a", "x-b", "accept"]), st.sampled_from(["1", "v" * 30, ""]))),
    max_size=4,
)


@st.composite
def good_heads(draw: st.DrawFn) -> list[tuple[str, str]]:
    """The fields of a request as it should be."""
    pseudo = [(":method", draw(st.sampled_from(["GET", "POST"]))), (":scheme", "https"), (":path", "/p")]
    return [*pseudo, (":authority", "example.com"), *draw(PLAIN_FIELDS)]


@st.composite
def odd_heads(draw: st.DrawFn) -> list[tuple[str, str]]:
    """The fields of a request as they may come."""
    pseudo = [
        (":method", draw(TOKENS)),
        (":scheme", draw(st.sampled_from(["https", "http", "x"]))),
        (":path", draw(PATHS)),
    ]
    pseudo = draw(st.permutations([*pseudo, (":authority", draw(HOSTS))]))[: draw(st.sampled_from([4, 4, 4, 3]))]
    return list(pseudo) + draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))


NUMBERS = st.one_of(*[st.integers(0, 3)] * 9, st.sampled_from([-1, -2, -3, -4]))
"""Of a stream that was begun, counted from the last; or none that was: the connection, an even one, one to come, and
one far ahead."""
CODES = st.sampled_from([0, 8, 99])
PAYLOADS = st.sampled_from([b"", b"a", b"hello", b"x" * 300])

GOOD = st.tuples(st.just("request"), good_heads(), st.booleans(), st.integers(0, 3), st.booleans())
REQUEST = st.tuples(
    st.just("request"), st.one_of(good_heads(), odd_heads()), st.booleans(), st.integers(0, 3), st.booleans()
)
DATA = st.tuples(st.just("data"), NUMBERS, PAYLOADS, st.booleans(), st.sampled_from([None, None, 0, 5, 200]))
TRAILERS = st.tuples(st.just("trailers"), NUMBERS, PLAIN_FIELDS, st.sampled_from([True, True, True, False]))
RESET = st.tuples(st.just("reset"), NUMBERS, CODES)
WINDOW = st.tuples(st.just("window"), NUMBERS, st.sampled_from([0, 1, 1000, 2**31 - 1]))
SETTINGS = st.tuples(
    st.just("settings"),
    st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 4, 5, 6, 99]), st.sampled_from([0, 1, 100, 16_384, 65_535, 2**31])),
        max_size=2,
    ),
)
OTHER = st.tuples(
    st.just("frame"), st.sampled_from([2, 5, 6, 7, 9, 99]), st.sampled_from([0, 1, 4]), NUMBERS, st.binary(max_size=10)
)
RAW = st.tuples(st.just("raw"), st.binary(max_size=20))
STEPS = st.one_of(REQUEST, REQUEST, REQUEST, DATA, DATA, DATA, TRAILERS, RESET, WINDOW, SETTINGS, OTHER)
SENSIBLE = st.lists(st.one_of(GOOD, GOOD, DATA, DATA, TRAILERS, RESET), min_size=1, max_size=12)
SCRIPTS = st.one_of(SENSIBLE, st.lists(STEPS, min_size=1, max_size=12))
HOSTILE_SCRIPTS = st.lists(st.one_of(STEPS, RAW), min_size=1, max_size=12)


class Writer:
    """Makes octets of steps; one HPACK encoder, as a connection has."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        self.next = 1
        self.begun: list[int] = []

    def write(self, step: tuple) -> bytes:
        kind, *rest = step
        return getattr(self, f"_{kind}")(*rest)

    def _number(self, which: int) -> int:
        if which < 0:
            return [0, 2, self.next, 99][-which - 1]
        return self.begun[-1 - which % len(self.begun)] if self.begun else 0

    def _section(self, number: int, fields: list[tuple[str, str]], flags: int, pieces: int) -> bytes:
        block = self.encoder.encode([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])
        edges = [len(block) * at // (pieces + 1) for at in range(pieces + 2)]
        parts = [block[a:b] for a, b in pairwise(edges)]
        out = b""
        for at, part in enumerate(parts):
            kind = frames.HEADERS if at == 0 else frames.CONTINUATION
            end = frames.END_HEADERS if at == len(parts) - 1 else 0
            out += frames.frame(kind, (flags if at == 0 else 0) | end, number, part)
        return out

    def _request(self, fields: list[tuple[str, str]], end: bool, pieces: int, gap: bool) -> bytes:
        number, self.next = self.next, self.next + (4 if gap else 2)
        self.begun.append(number)
        return self._section(number, fields, frames.END_STREAM if end else 0, pieces)

    def _trailers(self, number: int, fields: list[tuple[str, str]], end: bool) -> bytes:
        return self._section(self._number(number), fields, frames.END_STREAM if end else 0, 0)

    def _data(self, number: int, content: bytes, end: bool, padding: int | None) -> bytes:
        flags = frames.END_STREAM if end else 0
        if padding is not None:
            content, flags = bytes([padding]) + content + bytes(padding), flags | frames.PADDED
        return frames.frame(frames.DATA, flags, self._number(number), content)

    def _reset(self, number: int, code: int) -> bytes:
        return frames.rst_stream(self._number(number), code)

    def _window(self, number: int, octets: int) -> bytes:
        return frames.window_update(self._number(number), octets)

    def _settings(self, pairs: list[tuple[int, int]]) -> bytes:
        return frames.settings(pairs)

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> bytes:
        return frames.frame(kind, flags, self._number(number), payload)

    def _raw(self, octets: bytes) -> bytes:
        return octets


def octets_of(script: list[tuple]) -> bytes:
    writer = Writer()
    return b"".join(writer.write(step) for step in script)


@dataclass
class Theirs:
    """What h2 made of it."""

    requests: dict[int, tuple[list[tuple[bytes, bytes]], bytes]] = field(default_factory=dict)
    heads: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    reset: set[int] = field(default_factory=set)
    error: str | None = None


def read_by_h2(octets: bytes) -> Theirs:
    """What h2 reads in the octets of a connection, answering nothing."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    connection.update_settings({4: 262_144})
    found = Theirs()
    try:
        for event in connection.receive_data(octets):
            _note(found, event)
    except h2.exceptions.H2Error as error:
        found.error = f"{type(error).__name__}: {error}"
    except (UnicodeDecodeError, KeyError, ValueError, IndexError) as error:  # its own faults
        found.error = f"{type(error).__name__}: {error}"
    return found


def _note(found: Theirs, event: h2.events.Event) -> None:
    if isinstance(event, h2.events.RequestReceived):
        found.heads[event.stream_id] = [(bytes(name), bytes(value)) for name, value in event.headers]
        found.bodies[event.stream_id] = b""
    elif isinstance(event, h2.events.DataReceived):
        found.bodies[event.stream_id] += event.data
    elif isinstance(event, h2.events.StreamReset):
        found.reset.add(event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        found.requests[event.stream_id] = found.heads[event.stream_id], found.bodies[event.stream_id]
