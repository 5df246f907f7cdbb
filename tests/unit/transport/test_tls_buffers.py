"""The one pair of buffers that all record layers of a run share: nothing of one reaches another."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tls_tools import Contexts, contexts_of_a_new_authority

from roadrunner_trio.transport.tls_stream import Buffers, RecordLayer


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    """A server's, and that of a client who trusts it."""
    return contexts_of_a_new_authority()


class Ends:
    """A record layer and a client that has buffers of its own."""

    def __init__(self, contexts: Contexts) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = contexts[1].wrap_bio(self.incoming, self.outgoing, server_hostname="test.example")
        self.layer = RecordLayer(contexts[0])

    def shake(self, behind: bytes = b"") -> bool:
        """A step of the handshake; what the client sends behind it comes with its last octets."""
        with suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
            if behind:
                self.client.write(behind)
        self.layer.feed(self.outgoing.read())
        done = self.layer.shake()
        self.incoming.write(self.layer.said())
        return done

    def shaken(self) -> Ends:
        while not self.shake():
            pass
        return self

    def sent(self, data: bytes) -> bytes:
        self.client.write(data)
        return self.outgoing.read()

    def heard(self, data: bytes) -> bytes:
        self.incoming.write(data)
        whole = b""
        with suppress(ssl.SSLWantReadError):
            while piece := self.client.read(65536):
                whole += piece
        return whole


async def test_layers_of_one_run_share_what_others_do_not(contexts: Contexts) -> None:
    one, other = RecordLayer(contexts[0]), RecordLayer(contexts[0])
    pair = Buffers.of_this_run()
    assert one._incoming is other._incoming is pair.incoming
    assert one._outgoing is other._outgoing is pair.outgoing
    elsewhere = await trio.to_thread.run_sync(trio.run, trio.to_thread.run_sync, Buffers.of_this_run)
    assert not set(elsewhere) & set(pair)


def test_outside_of_a_run_each_has_its_own(contexts: Contexts) -> None:
    assert RecordLayer(contexts[0])._incoming is not RecordLayer(contexts[0])._incoming


async def test_nothing_is_left_behind_a_step(contexts: Contexts) -> None:
    ends, pair, much = Ends(contexts).shaken(), Buffers.of_this_run(), bytes(1_000_000)
    for take in (
        lambda: ends.heard(ends.layer.seal(much)) == much,
        lambda: ends.layer.feed(ends.sent(much)) or ends.layer.open() == much,
        lambda: ends.layer.feed(ends.sent(b"half")[:10]) or ends.layer.open() == b"",
        lambda: ends.layer.farewell(),
    ):
        assert take()
        assert (pair.incoming.pending, pair.outgoing.pending) == (0, 0)


async def test_what_comes_with_the_end_of_the_handshake_is_kept_for_its_own(contexts: Contexts) -> None:
    ends, other = Ends(contexts), Ends(contexts).shaken()
    while not ends.shake(b"early"):
        pass
    assert other.heard(other.layer.seal(b"another's")) == b"another's"
    assert other.layer.open() == b""
    assert ends.layer.open() == b"early"


async def test_what_a_torn_step_has_left_reaches_nobody(contexts: Contexts) -> None:
    ends, pair = Ends(contexts).shaken(), Buffers.of_this_run()
    for step in (
        lambda: ends.heard(ends.layer.seal(b"mine")) == b"mine",
        lambda: ends.layer.feed(ends.sent(b"mine")) or ends.layer.open() == b"mine",
        lambda: b"another's" not in ends.layer.farewell(),
    ):
        pair.incoming.write(b"another's")
        pair.outgoing.write(b"another's")
        assert step()


async def test_a_handshake_that_is_torn_gets_nothing_of_anothers(contexts: Contexts) -> None:
    pair, ends = Buffers.of_this_run(), Ends(contexts)
    pair.incoming.write(b"another's")
    pair.outgoing.write(b"another's")
    assert ends.shaken().layer.open() == b""


async def test_an_end_within_the_handshake(contexts: Contexts) -> None:
    ends = Ends(contexts)
    ends.shake()
    ends.layer.feed(b"")
    with pytest.raises(ssl.SSLEOFError, match="cut short"):
        ends.layer.shake()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["say", "hear", "part"]), st.integers(1, 40_000)), max_size=40
    )
)
def test_connections_side_by_side_keep_apart(contexts: Contexts, steps: list[tuple[int, str, int]]) -> None:
    """Three clients send and are sent to in any order, in records that come whole or in parts."""

    async def run() -> None:
        ends = [Ends(contexts).shaken() for _ in range(3)]
        sent, opened, under_way = [b""] * 3, [b""] * 3, [b""] * 3
        for number, (who, what, size) in enumerate(steps):
            each = ends[who]
            if what == "hear":
                data = bytes([65 + who, number]) * size
                assert each.heard(each.layer.seal(data)) == data
                continue
            if what == "say":
                data = bytes([97 + who, number]) * size
                sent[who] += data
                under_way[who] += each.sent(data)
            part, under_way[who] = under_way[who][:size], under_way[who][size:]
            if part:
                each.layer.feed(part)
                opened[who] += each.layer.open()
        for each, octets, rest, wanted in zip(ends, opened, under_way, sent, strict=True):
            if rest:
                each.layer.feed(rest)
            assert octets + each.layer.open() == wanted

    trio.run(run)
