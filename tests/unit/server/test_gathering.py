"""Reading a body whole, for any exchange that has a share in what all of them hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.answering.buffers import Buffered, Share
from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.server.gathering import gather_body


@dataclass
class Head:
    content_length: int


@dataclass
class Pieces:
    """An exchange of nothing but pieces; the last is known to be the last, or not, as with chunks."""

    pieces: list[bytes]
    share: Share
    declared: bool
    head: Head = field(init=False)
    body_done: bool = False
    spoiled: bool = False
    held: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.head = Head(sum(map(len, self.pieces)) if self.declared else 0)

    async def receive_body(self):
        self.held.append(self.share.held)
        piece = self.pieces.pop(0) if self.pieces else b""
        self.body_done = not piece or (self.declared and not self.pieces)
        return piece


def run(coroutine):
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=20), st.booleans())
def test_what_has_come_counts_and_nothing_else(pieces, declared):
    all_ = Buffered(1000)
    exchange = Pieces(list(pieces), Share(all_), declared)
    assert run(gather_body(exchange)) == b"".join(pieces)
    assert all_.held == sum(map(len, pieces))
    assert exchange.held == [sum(map(len, pieces[:n])) for n in range(len(exchange.held))]


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=20), st.booleans(), st.data())
def test_what_finds_no_room_is_refused(pieces, declared, data):
    octets = sum(map(len, pieces))
    all_ = Buffered(octets)
    assert Share(all_).hold(others := data.draw(st.integers(1, octets)))
    exchange = Pieces(list(pieces), Share(all_), declared)
    with pytest.raises(ProtocolError) as refused:
        run_out(gather_body(exchange))
    assert refused.value.status == 503
    assert exchange.spoiled
    assert all_.held <= octets
    assert bool(exchange.held) != declared, "what is declared is refused before a read"
    exchange.share.release()
    assert all_.held == others


def run_out(coroutine):
    coroutine.send(None)
    pytest.fail("it waits for something")
