"""Floods of frames that ask for nothing: how many an engine bears, and the honest peers beside them, who must pass.

What a frame costs is known; so the bound on a flood is a number of frames, the same on every machine.
"""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from http2_tools import GET, PLAIN, POST, Player, block, data, greeted, request
from siege_tools import Toll

from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.protocol.http2.content import SMALL
from roadrunner_trio.protocol.http2.hpack import EXCESS
from roadrunner_trio.protocol.http2.ledger import CRUMBS
from roadrunner_trio.protocol.http2.sections import CONTINUATIONS
from roadrunner_trio.settings import Limits

LIMITS = Limits()
MANY = 30_000
"""More than any flood gets through."""
NUMBERS = range(1, 2 * MANY, 2)


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def frame(kind: int, payload: bytes = b"", flags: int = 0, number: int = 0) -> Iterator[bytes]:
    return itertools.repeat(frames.frame(kind, flags, number, payload))


def entries(count: int) -> Iterator[bytes]:
    return itertools.repeat(frames.settings([(4, 65_535)] * count))


def reset_at_once() -> Iterator[bytes]:
    return (request(number) + frames.rst_stream(number, 8) for number in NUMBERS)


def provoking(*provocation: bytes) -> Iterator[bytes]:
    """A stream each, and what makes the server reset it; ``provocation`` is for stream 1."""
    for number in NUMBERS:
        moved = [piece[:5] + number.to_bytes(4, "big") + piece[9:] for piece in provocation]
        yield request(number, POST, end=False) + b"".join(moved)


def depending_on_themselves() -> Iterator[bytes]:
    for number in NUMBERS:
        payload = number.to_bytes(4, "big") + b"\0"
        yield request(number, POST, end=False) + frames.frame(frames.PRIORITY, 0, number, payload)


def bears(player: Player, flood: Iterable[bytes]) -> int:
    """Pieces of the flood that were borne before the connection failed."""
    for count, piece in enumerate(itertools.islice(flood, MANY)):
        if player.receive(piece).failed is not None:
            return count
    pytest.fail("a flood got through")


EMPTY = frames.frame(frames.DATA, 0, 1, b"")
FLOODS = {
    "PING": (frame(frames.PING, bytes(8)), 1000),
    "PING acknowledged": (frame(frames.PING, bytes(8), frames.ACK), 1000),
    "SETTINGS": (entries(0), 1000),
    "SETTINGS acknowledged": (frame(frames.SETTINGS, b"", frames.ACK), 1000),
    "SETTINGS, 32 entries": (entries(32), 200),
    "WINDOW_UPDATE": (frame(frames.WINDOW_UPDATE, b"\0\0\0\1"), 10_020),
    "WINDOW_UPDATE of a stream": (frame(frames.WINDOW_UPDATE, b"\0\0\0\1", 0, 1), 10_020),
    "PRIORITY": (frame(frames.PRIORITY, b"\0\0\0\0\x10", 0, 7), 2000),
    "PRIORITY_UPDATE": (frame(frames.PRIORITY_UPDATE, b"\0\0\0\x07u=1"), 1000),
    "GOAWAY": (frame(frames.GOAWAY, bytes(8)), 1000),
    "unknown": (frame(0xFA, b"x"), 1000),
    "DATA, empty": (itertools.repeat(EMPTY), 1000),
    "DATA, padding only": (itertools.repeat(frames.frame(frames.DATA, frames.PADDED, 1, b"\0")), 1000),
    "DATA, one octet": (itertools.repeat(data(1, b"x")), CRUMBS * SMALL // (SMALL - 1)),
    "RST_STREAM, long over": (frame(frames.RST_STREAM, b"\0\0\0\x08", 0, 3), 1000),
    "rapid reset": (reset_at_once(), LIMITS.max_resets),
    "made to reset: increment of nothing": (provoking(frames.window_update(1, 0)), 100),
    "made to reset: window overflow": (provoking(frames.window_update(1, frames.MAX_WINDOW)), 100),
    "made to reset: data behind the end": (provoking(data(1, b"", end=True), data(1, b"x")), 100),
    "made to reset: head behind the end": (provoking(data(1, b"", end=True), request(1)), 100),
    "made to reset: depends on itself": (depending_on_themselves(), 100),
    "made to reset: malformed": ((request(number, [("x", "y")]) for number in NUMBERS), 100),
    "heads above the limits": ((request(number, [*GET, *[("x", "y")] * 201]) for number in NUMBERS), 100),
    "more streams than there may be": ((request(number, POST, end=False) for number in NUMBERS[3:]), 300),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_borne_for_a_while_and_then_ends_the_connection(name, tolls):
    flood, most = FLOODS[name]
    player = greeted(hold=True)
    if "DATA" in name or "of a stream" in name or "long over" in name:
        player.receive(request(1, POST, end=False) + request(3) + frames.rst_stream(3, 8))
    if name.startswith(("rapid", "made", "heads")):
        player = _DrainedPlayer().receive(greeting())
    borne = bears(player, flood)
    assert most * 0.95 - 15 <= borne <= most + 10
    assert player.failed is not None
    assert player.failed.code == frames.ENHANCE_YOUR_CALM
    assert player.reader.goaways[-1][1] == frames.ENHANCE_YOUR_CALM
    assert player.engine.streams == {}
    assert sum(len(owner.stream.body) for owner in player.owners.values()) <= LIMITS.stream_window
    tolls.take("HTTP/2 floods", Toll(inputs=borne, refused=1))


class _DrainedPlayer(Player):
    """Its handlers end as soon as their streams are lost, and never answer before."""

    def __init__(self, **more: object) -> None:
        super().__init__(hold=True, **more)  # type: ignore[arg-type]

    def go_on(self) -> None:
        for number, owner in list(self.owners.items()):
            if owner.stream.lost:
                self.engine.release(owner.stream)
                del self.owners[number]


class _Busy(Player):
    """Its handlers take their time, whatever becomes of their streams."""

    def go_on(self) -> None:
        pass


def greeting() -> bytes:
    return frames.PREFACE + frames.settings([])


def test_a_flood_fills_no_memory():
    player = greeted(hold=True).receive(request(1, POST, end=False))
    tracemalloc.start()
    try:
        bears(player, itertools.repeat(data(1, b"x")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


# -- header blocks -------------------------------------------------------------------------------


def continued(piece: bytes) -> Iterator[bytes]:
    yield frames.frame(frames.HEADERS, 0, 1, block(GET))
    yield from itertools.repeat(frames.frame(frames.CONTINUATION, 0, 1, piece))


@pytest.mark.parametrize("piece", [b"", block([("x", "y" * 1000)]), b"x" * 16_384], ids=["empty", "fields", "large"])
def test_a_header_block_without_an_end(piece):
    player = greeted()
    assert bears(player, continued(piece)) <= CONTINUATIONS
    assert player.failed is not None
    assert player.failed.code == frames.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("crumbs", [False, True], ids=["references", "crumbs"])
def test_an_hpack_bomb_is_refused_and_takes_no_memory(crumbs):
    """CVE-2016-6581, and its kin of 2026: a field of 4 kB, to which every octet of a block refers."""
    player = greeted(hold=True)
    name = b"cookie" if crumbs else b"x"
    value = b"v" * 4000
    planted = block(GET) + b"\x40" + bytes([len(name)]) + name + b"\x7f" + b"\xa1\x1e" + value
    player.receive(frames.headers(1, planted, frames.END_STREAM))
    assert player.owners[1].stream.head is not None
    bomb = block(GET) + b"\xbe" * 1000
    tracemalloc.start()
    try:
        for number in range(3, 63, 2):
            player.receive(frames.headers(number, bomb, frames.END_STREAM))
            assert player.answer(number).status == 431
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000
    assert peak < 1_000_000


@pytest.mark.parametrize("field", [b"\xbe", b"\x00\x01x\x01y", b"\x41\x00"], ids=["reference", "literal", "entry"])
def test_a_block_of_thousands_of_fields_ends_the_connection(field):
    """And before they are all read: those that make an entry of the table each are dear."""
    player = greeted(hold=True).receive(frames.headers(1, block(GET) + b"\x40\x01x\x01y", frames.END_STREAM))
    player.receive(frames.headers(3, block(GET) + field * (EXCESS * LIMITS.max_fields), frames.END_STREAM))
    assert (player.failed, player.answer(3).status) == (None, 431)
    player.receive(frames.headers(5, block(GET) + b"\x82" * 12 + field * 3000, frames.END_STREAM))
    assert player.failed is not None
    assert (player.failed.code, player.failed.reason) == (frames.ENHANCE_YOUR_CALM, "too_many_headers")


def test_references_within_the_limits_take_no_more_than_they_may():
    """As many streams as there may be, each with as much as a head may have, all of it references."""
    player = greeted(hold=True, limits=Limits(max_field_section=32 * 1024))
    player.receive(frames.headers(1, block(GET) + b"\x40\x01x\x7f\xc9\x1e" + b"v" * 4040, frames.END_STREAM))
    tracemalloc.start()
    try:
        for number in range(3, 201, 2):
            player.receive(frames.headers(number, block(GET) + b"\xbe" * 7, frames.END_STREAM))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert player.engine.places == 100
    assert all(len(owner.stream.head.fields) == 8 for number, owner in player.owners.items() if number > 1)
    assert kept < 500_000


def test_a_stream_that_was_reset_keeps_its_place_until_its_handler_has_ended():
    """CVE-2023-44487: however fast streams are reset, no more handlers run than there are places."""
    player = _Busy(hold=True).receive(greeting())
    for number in NUMBERS[:190]:
        player.receive(request(number) + frames.rst_stream(number, 8))
    assert player.engine.places == 100
    assert player.engine.refused == 90


# -- those who must pass -------------------------------------------------------------------------


def test_a_peer_that_pings_every_ten_seconds_for_a_day():
    time = Time()
    player = greeted(now=time, hold=True)
    for _ in range(8640):
        time.now += 10
        player.receive(frames.frame(frames.PING, 0, 0, bytes(8)))
    assert player.failed is None
    assert len(player.reader.pings) == 8640


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(("count", "size"), [(10_000, 600), (30_000, 257), (8000, 100)])
def test_a_body_in_small_messages(streaming, count, size):
    player = greeted(streaming=streaming).receive(request(1, POST, end=False))
    for _ in range(count):
        player.receive(data(1, b"x" * size))
    player.receive(data(1, b"", end=True))
    assert player.failed is None
    assert len(player.asked[1].body) == count * size


def test_messages_of_a_few_octets_pass_as_long_as_somebody_reads_them():
    player = greeted(streaming=True).receive(request(1, POST, end=False))
    for _ in range(50_000):
        player.receive(data(1, b"hi"))
    assert player.failed is None


def test_a_browser_that_cancels_three_hundred_requests_a_minute():
    time = Time()
    player = _DrainedPlayer(now=time).receive(greeting())
    for number in NUMBERS[:3000]:
        time.now += 0.2
        player.receive(request(number) + frames.rst_stream(number, 8))
    assert player.failed is None


def test_cancellations_among_requests_that_are_answered():
    player = greeted()
    for number in NUMBERS[:2000]:
        whole = number % 4 == 1
        player.receive(request(number, end=whole) + (b"" if whole else frames.rst_stream(number, 8)))
    assert player.failed is None


def test_a_slow_download_needs_a_window_update_for_every_frame():
    player = greeted(hold=True).receive(request(1))
    stream = player.owners[1].stream
    player.engine.send_head(stream, 200, PLAIN, None)
    sent = 0
    for _ in range(20_000):
        sent += player.engine.send_data(stream, b"x" * 16_384)
        player.engine.take_output()
        player.receive(frames.window_update(1, 16_384) + frames.window_update(0, 16_384))
    assert player.failed is None
    assert sent == 20_000 * 16_384


def test_a_peer_with_a_priority_for_every_request():
    player = greeted()
    for number in NUMBERS[:5000]:
        update = frames.frame(frames.PRIORITY_UPDATE, 0, 0, number.to_bytes(4, "big") + b"u=1")
        player.receive(update + request(number))
    assert player.failed is None


def test_a_burst_above_the_limit_of_streams_is_refused_stream_by_stream():
    player = greeted(hold=True)
    player.receive(
        b"".join(request(number, POST, end=False) + data(number, b"x" * 1000, end=True) for number in NUMBERS[:200])
    )
    assert player.failed is None
    assert (player.engine.places, player.engine.refused) == (100, 100)
    assert [number for number in NUMBERS[:200] if player.answer(number).reset == 7] == list(NUMBERS[100:200])
