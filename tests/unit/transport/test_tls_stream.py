"""TLS in memory: records, the stream that they make, the handshake, and the end of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from stream_tools import clogged_wires, wires
from tls_tools import Contexts, contexts_of_a_new_authority
from trio.testing import memory_stream_pair

import roadrunner_trio.transport.tls_stream
from roadrunner_trio.testing import MemoryStream
from roadrunner_trio.transport.tls_stream import RecordLayer, TLSStream, accept_tls, close_notify, encrypted

Client = trio.SSLStream


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    """A server's, and that of a client who trusts it."""
    return contexts_of_a_new_authority()


class Ends:
    """A record layer and a client's, in memory, after the handshake."""

    def __init__(self, contexts: Contexts) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = contexts[1].wrap_bio(self.incoming, self.outgoing, server_hostname="test.example")
        self.layer = RecordLayer(contexts[0])
        done = False
        while not done:
            with suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.layer.feed(self.outgoing.read())
            done = self.layer.shake()
            if not done:
                self.incoming.write(self.layer.said())

    def sent(self, *pieces: bytes) -> bytes:
        """Records of the client's, one a piece."""
        for piece in pieces:
            self.client.write(piece)
        return self.outgoing.read()

    def heard(self, data: bytes) -> bytes:
        """What the client makes of it."""
        self.incoming.write(data)
        whole = b""
        with suppress(ssl.SSLWantReadError):
            while piece := self.client.read(65536):
                whole += piece
        return whole


@pytest.fixture
def ends(contexts: Contexts) -> Ends:
    return Ends(contexts)


# -- records -------------------------------------------------------------------------------------


def test_what_is_sealed_is_opened(ends: Ends) -> None:
    big = bytes(range(256)) * 1000
    sealed = ends.layer.seal(b"hello") + ends.layer.seal(bytearray(big)) + ends.layer.seal(b"")
    assert ends.heard(sealed) == b"hello" + big
    ends.layer.feed(ends.sent(b"one", b"two", big))
    assert ends.layer.open() == b"onetwo" + big
    assert ends.layer.open() == b"", "nothing has come since"
    assert not ends.layer.ended


def test_a_record_that_comes_in_pieces_is_opened_when_it_is_whole(ends: Ends) -> None:
    record = ends.sent(b"hello")
    for octet in record[:-1]:
        ends.layer.feed(bytes([octet]))
        assert ends.layer.open() == b""
    ends.layer.feed(record[-1:])
    assert ends.layer.open() == b"hello"


def test_the_peers_end_comes_behind_what_it_has_sent(ends: Ends) -> None:
    record = ends.sent(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.layer.feed(record + ends.outgoing.read())
    assert ends.layer.open() == b"last"
    assert ends.layer.ended or (ends.layer.open() == b"" and ends.layer.ended)
    assert ends.layer.open() == b""
    assert ends.heard(ends.layer.seal(b"one may still answer")) == b"one may still answer"


def test_an_end_without_a_word_is_a_cut(ends: Ends) -> None:
    ends.layer.feed(ends.sent(b"begun"))
    assert ends.layer.open() == b"begun"
    ends.layer.feed(b"")
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="TLS is broken"):
            ends.layer.open()


def test_a_record_that_was_tampered_with(ends: Ends) -> None:
    record = bytearray(ends.sent(b"hello"))
    record[-1] ^= 1
    ends.layer.feed(record)
    with pytest.raises(trio.BrokenResourceError, match="TLS is broken"):
        ends.layer.open()
    with pytest.raises(trio.BrokenResourceError, match="TLS is broken"):
        ends.layer.seal(b"no more")


def test_a_peer_that_makes_tls_talk_is_left(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        roadrunner_trio.transport.tls_stream, "MOST_UNSAID", 100
    )  # there are tickets that wait to be sent
    ends.layer.feed(ends.sent(b"hello"))
    assert ends.layer.open() == b"hello", "it has something to say"
    with pytest.raises(trio.BrokenResourceError, match="nothing but TLS"):
        ends.layer.open()


def test_the_farewell_is_said_once(ends: Ends) -> None:
    data = ends.layer.seal(b"whole") + ends.layer.farewell()
    assert ends.layer.farewell() == b""
    assert ends.heard(data) == b"whole"
    assert ends.client.read(1) == b"", "an end that was said, not a cut"


# -- streams -------------------------------------------------------------------------------------


async def connected(contexts: Contexts, pair: tuple[Any, Any]) -> tuple[TLSStream, Client[Any]]:
    """The server's end and the client's, after the handshake."""
    theirs, ours = pair
    client = trio.SSLStream(ours, contexts[1], server_hostname="test.example")
    server: list[TLSStream] = []

    async def accept() -> None:
        server.append(await accept_tls(theirs, contexts[0], linger_for=2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        nursery.start_soon(client.do_handshake)
    return server[0], client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_stream_by_the_rules_of_trio(
    contexts: Contexts, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts[1], "maximum_version", version)
    monkeypatch.setattr(contexts[1], "minimum_version", version)

    async def maker() -> tuple[TLSStream, Client[Any]]:
        server, client = await connected(contexts, await wires())
        assert server.layer.tls.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        return server, client

    await trio.testing.check_two_way_stream(maker, None)


async def test_a_stream_that_is_full(contexts: Contexts) -> None:
    layer = Ends(contexts).layer
    theirs, ours = await clogged_wires()
    stream = TLSStream(theirs, layer)
    with trio.move_on_after(0.05) as scope:
        await stream.wait_send_all_might_not_block()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.wait_send_all_might_not_block)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.send_all(b"two at once")
        while not nursery.cancel_scope.cancel_called and nursery.child_tasks:
            await ours.receive_some()
            await trio.testing.wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, bytes(50_000_000))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="the test does not wait for it")
    with pytest.raises(trio.BrokenResourceError, match="not finished"):
        await stream.send_all(b"behind half a record")
    await stream.aclose()
    await ours.aclose()


async def test_octets_that_nobody_asked_for_are_kept(contexts: Contexts) -> None:
    server, client = await connected(contexts, memory_stream_pair())
    await client.send_all(b"0123456789")
    assert await server.receive_some(4) == b"0123"
    assert await server.receive_some(4) == b"4567"
    assert await server.receive_some() == b"89"
    with pytest.raises(ValueError, match="at least 1"):
        await server.receive_some(0)


async def test_a_client_that_is_not_told_the_whole(contexts: Contexts) -> None:
    server, client = await connected(contexts, memory_stream_pair())
    await server.send_all(b"half")
    await server.transport.aclose()
    assert await client.receive_some() == b"half"
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


# -- the handshake -------------------------------------------------------------------------------


async def test_what_came_before_and_behind_the_handshake(contexts: Contexts) -> None:
    ours, theirs = memory_stream_pair()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts[1].wrap_bio(incoming, outgoing, server_hostname="test.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()

    async def talk() -> None:
        incoming.write(await ours.receive_some())
        client.do_handshake()
        client.write(b"at once")
        await ours.send_all(outgoing.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        stream = await accept_tls(theirs, contexts[0], hello, linger_for=2)
    assert stream.layer.open() == b"at once"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_handshake_that_comes_to_nothing(autojump_clock: Any, contexts: Contexts, said: bytes) -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(said)
    await ours.send_eof()
    with pytest.raises(trio.BrokenResourceError, match="no TLS") as caught:
        await accept_tls(theirs, contexts[0], linger_for=2)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    await theirs.aclose()
    alert = await ours.receive_some()
    assert alert[:1] in (b"", b"\x15"), "an alert, or nothing"
    assert trio.current_time() == 0, "the peer has ended: there is nobody to wait for"


# -- the end -------------------------------------------------------------------------------------


async def of_ours(contexts: Contexts) -> tuple[TLSStream, Client[MemoryStream]]:
    return await connected(contexts, memory_stream_pair())


async def of_trios(contexts: Contexts) -> tuple[trio.SSLStream[Any], Client[MemoryStream]]:
    theirs, ours = memory_stream_pair()
    server = trio.SSLStream(theirs, contexts[0], server_side=True, https_compatible=True)
    client = trio.SSLStream(ours, contexts[1], server_hostname="test.example", https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(client.do_handshake)
    return server, client


@pytest.fixture(params=[of_ours, of_trios])
async def tls(request: pytest.FixtureRequest, contexts: Contexts) -> Any:
    """Both ends of a connection, the server's end of either kind."""
    make: Callable[[Contexts], Any] = request.param
    return await make(contexts)


async def test_the_end_of_tls_is_said_and_the_transport_stays_open(autojump_clock: Any, tls: Any) -> None:
    server, client = tls
    before = server.transport if isinstance(server, TLSStream) else server.transport_stream
    await server.send_all(b"the whole answer")
    transport = await close_notify(server)
    assert transport is before
    assert await client.receive_some() == b"the whole answer"
    assert await client.receive_some() == b""
    await client.transport_stream.send_all(b"what a lingering close reads")
    assert await transport.receive_some() == b"what a lingering close reads"
    assert trio.current_time() == 0, "it waits for no answer"


async def test_after_the_end_of_tls_a_close_closes_the_transport(tls: Any) -> None:
    server, client = tls
    await close_notify(server)
    await trio.aclose_forcefully(server)
    assert await client.transport_stream.receive_some() != b"", "the farewell"
    assert await client.transport_stream.receive_some() == b""


async def test_the_end_of_tls_on_a_transport_that_is_gone_or_closed_is_no_error(tls: Any) -> None:
    server, client = tls
    await client.transport_stream.aclose()
    transport = await close_notify(server)
    await transport.aclose()
    await close_notify(server)


async def test_a_send_that_was_cancelled_before_it_began_does_no_harm(contexts: Contexts) -> None:
    server, client = await of_ours(contexts)
    with trio.CancelScope() as scope:
        scope.cancel(reason="a test")
        await server.send_all(b"nothing of this")
    await server.send_all(b"all of this")
    assert await client.receive_some() == b"all of this"


async def test_behind_half_a_record_there_is_no_farewell(autojump_clock: Any, contexts: Contexts) -> None:
    server, client = await of_ours(contexts)
    await server.send_all(b"whole")
    sending: Any = server.transport
    passes_on = sending.send_stream.send_all_hook

    async def never_returns() -> None:
        await passes_on()
        await trio.sleep_forever()

    sending.send_stream.send_all_hook = never_returns
    with trio.move_on_after(1):
        await server.send_all(b"half")
    sending.send_stream.send_all_hook = passes_on
    await server.aclose()
    assert await client.receive_some() == b"whole"
    assert await client.receive_some() == b"half"
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


def test_which_streams_are_of_tls(contexts: Contexts) -> None:
    ours, theirs = memory_stream_pair()
    mine, trios = TLSStream(ours, Ends(contexts).layer), trio.SSLStream(theirs, contexts[1], server_hostname="test")
    assert (encrypted(mine), encrypted(trios), encrypted(ours)) == (mine, trios, None)
