"""What comes before HTTP: a PROXY header and TLS, one deadline for both, and whom it costs when it goes wrong."""

from __future__ import annotations

import logging
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from story_tools import GET, GET_CLOSE, House, answer, open_house, undated
from trio.testing import memory_stream_pair

import roadrunner_trio as rr
from roadrunner_trio.protocol.proxy_header import SIGNATURE
from roadrunner_trio.server.carrier import LATELY
from roadrunner_trio.testing import Client, MemoryStream

PROXIES = rr.ProxyProtocol("memory")
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
ADVICE = (
    b"HTTP/1.1 400 Bad Request\r\ndate: D\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 55\r\n"
    b"\r\n"
    b"This port speaks TLS. Use https:// instead of http://.\n"
)


def v2(*tlvs: tuple[int, bytes], command: int = 0x21) -> bytes:
    block = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 4711, 443)
    block += b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    return SIGNATURE + struct.pack("!BBH", command, 0x11, len(block)) + block


async def who(request: rr.Request) -> rr.Response:
    return rr.Response(f"{request.peer} {request.scheme}")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return rr.server_context(folder / "server.pem", client_ca=folder / "ca.pem", client_cert="optional")


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Encrypted:
    """A peer that speaks TLS, after whatever it says in clear; nothing is sent on its own."""

    def __init__(self, stream: MemoryStream, context: ssl.SSLContext) -> None:
        self.wire = stream
        self.stream = trio.SSLStream(stream, context, server_hostname="localhost")
        self.client = Client(self.stream)


@asynccontextmanager
async def connect(house: House, context: ssl.SSLContext, first: bytes = b"") -> AsyncIterator[Encrypted]:
    ours, theirs = memory_stream_pair()
    theirs.receive_stream.close_hook = house.watch.news.unpark_all
    house.door.put.send_nowait(theirs)
    await ours.send_all(first)
    try:
        yield Encrypted(ours, context)
    finally:
        await trio.aclose_forcefully(ours)


# -- PROXY ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [V1, v2()], ids=["v1", "v2"])
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_the_peer_is_the_one_the_header_names(autojump_clock: Any, header: bytes, step: int) -> None:
    async with open_house(who, proxy_protocol=PROXIES) as house:
        peer = house.peer()
        data = header + GET
        for at in range(0, len(data), step):
            await peer.say(data[at : at + step])
        assert peer.take() == answer(b"('192.0.2.7', 4711) http")
        [connection] = house.listener.connections()
        assert connection.peer == ("192.0.2.7", 4711)
        assert connection.task is not None
        assert connection.task.name == "main: 192.0.2.7:4711"
        assert house.watch.only("accept").peer == ("192.0.2.7", 4711)
        await peer.close()
        assert house.watch.only("close").peer == ("192.0.2.7", 4711)


async def test_the_whole_header_is_on_every_request(autojump_clock: Any) -> None:
    seen: list[rr.ProxyHeader | None] = []

    async def handler(request: rr.Request) -> rr.Response:
        seen.append(request.proxy)
        return rr.Response()

    async with open_house(handler, proxy_protocol=PROXIES) as house:
        peer = house.peer()
        await peer.say(v2((0x02, b"example.org"), (0x05, b"id")) + GET)
        await peer.say(GET)
        ends = ("192.0.2.7", 4711), ("198.51.100.1", 443)
        header = rr.ProxyHeader(2, *ends, tlvs=((0x02, b"example.org"), (0x05, b"id")))
        assert seen == [header, header]


async def test_a_peer_that_speaks_tls_to_its_proxy_asked_by_https(autojump_clock: Any) -> None:
    async with open_house(who, proxy_protocol=PROXIES) as house:
        peer = house.peer()
        await peer.say(v2((0x20, b"\x01\0\0\0\0")) + GET)
        assert peer.take() == answer(b"('192.0.2.7', 4711) https")


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(command=0x20)])
async def test_a_header_without_an_address_leaves_who_connected(autojump_clock: Any, header: bytes) -> None:
    async with open_house(who, proxy_protocol=PROXIES) as house:
        peer = house.peer()
        await peer.say(header + GET)
        assert peer.take() == answer(b"memory http")


@pytest.mark.parametrize("data", [GET, b"\x16\x03\x01", b"PROXY TCP4 x\r\n" + GET, b"PROXY UNKNOWN\n", V1[:-1], b""])
async def test_e02_a_missing_or_bad_header_is_the_end_without_a_word(
    autojump_clock: Any, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "roadrunner_trio"):
        async with open_house(who, proxy_protocol=PROXIES) as house:
            peer = house.peer()
            if data:
                await peer.say(data)
            await peer.finish()
            assert await peer.end() == b""
            assert house.watch.names() == []
            info = house.listener.info()
            assert (info.active, info.handshakes_failed, info.refused) == (0, 1, 0)
    assert [record.message.startswith("no handshake with memory: ") for record in caplog.records] == [True]


async def test_a_header_has_the_time_of_the_handshake_however_it_dribbles(autojump_clock: Any) -> None:
    timeouts = rr.Timeouts(handshake=7)
    async with open_house(who, proxy_protocol=PROXIES, timeouts=timeouts) as house:
        silent, slow = house.peer(), house.peer()
        for at in range(6):
            await slow.say(V1[at : at + 1])
            await trio.sleep(1)
        assert await house.empty() == 7
        assert silent.heard == slow.heard == b""
        assert house.listener.info().handshakes_failed == 2


async def test_others_are_served_as_who_they_are_and_a_header_from_them_is_a_bad_request(autojump_clock: Any) -> None:
    async with open_house(who, proxy_protocol=rr.ProxyProtocol("10.0.0.0/8")) as house:
        peer, liar = house.peer(), house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"memory http")
        await liar.say(V1 + GET)
        assert liar.take().startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert house.watch.only("rejected").peer == "memory"


async def test_a_drain_leaves_a_handshake_alone_and_the_request_after_it_is_served(autojump_clock: Any) -> None:
    async with open_house(who, proxy_protocol=PROXIES) as house:
        peer = house.peer()
        await peer.say(V1[:20])
        house.nursery.start_soon(house.listener.drain, 5)
        await trio.sleep(2)
        await peer.say(V1[20:] + GET)
        assert peer.take() == answer(b"('192.0.2.7', 4711) http", b"connection: close")


# -- TLS -----------------------------------------------------------------------------------------


async def test_https(autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        assert request.tls is not None
        return rr.Response(f"{request.scheme} {request.tls.version} {len(await request.read())}")

    async with open_house(handler, tls=server) as house, connect(house, trusting) as peer:
        assert (await peer.client.get("/")).text == "https TLSv1.3 0"
        assert (await peer.client.post("/", bytes(200_000))).text == "https TLSv1.3 200000"
        assert house.watch.only("accept").peer == "memory"
        await peer.stream.aclose()


async def test_without_tls_there_is_nothing_to_know(autojump_clock: Any) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response(f"{request.tls} {request.proxy}")

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"None None")


async def test_the_certificate_of_a_client(autojump_clock: Any, server: ssl.SSLContext, authority: trustme.CA) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        assert request.tls is not None
        assert request.tls.client_certificate is not None
        return rr.Response.json(request.tls.client_certificate["subjectAltName"])

    known = ssl.create_default_context()
    authority.configure_trust(known)
    authority.issue_cert("alice@example.org").configure_cert(known)
    async with open_house(handler, tls=server) as house, connect(house, known) as peer:
        assert (await peer.client.get("/")).text == '[["email","alice@example.org"]]'


@pytest.mark.parametrize("first", [GET, b"P", b"post", b"PRI * HTTP/2.0\r\n"])
async def test_http_in_clear_is_told_so_in_clear(autojump_clock: Any, server: ssl.SSLContext, first: bytes) -> None:
    async with open_house(who, tls=server) as house:
        peer = house.peer()
        await peer.say(first)
        assert undated(peer.heard) == ADVICE
        await peer.finish()
        await house.empty()
        assert house.watch.names() == ["rejected"]
        event = house.watch.only("rejected")
        assert (event.reason, event.status) == ("http_on_a_tls_port", 400)
        assert house.listener.info().handshakes_failed == 1


async def test_who_is_told_so_in_clear_may_still_be_sending(autojump_clock: Any, server: ssl.SSLContext) -> None:
    async with open_house(who, tls=server) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ADVICE
        assert trio.current_time() == 0
        await peer.say(b"more")
        assert await house.empty() == 2  # the lingering close


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x03\x01", b"\0" * 20, b"\r\n\r\n"])
async def test_a_bad_handshake_is_nobody_elses_affair(
    autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext, garbage: bytes
) -> None:
    async with open_house(who, tls=server) as house, connect(house, trusting) as good:
        assert (await good.client.get("/")).status == 200
        bad = house.peer()
        await bad.say(garbage)
        await bad.finish()
        await bad.end()
        assert not bad.heard.startswith(b"HTTP")
        assert (await good.client.get("/")).status == 200
        assert [event for event in house.watch.names() if event not in ("start", "stop")] == ["accept"]
        assert house.listener.info().handshakes_failed == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_a_client_hears_what_was_wrong(autojump_clock: Any, server: ssl.SSLContext) -> None:
    old = ssl.create_default_context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with open_house(who, tls=server) as house, connect(house, old) as peer:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await peer.stream.do_handshake()
        assert "ALERT_PROTOCOL_VERSION" in str(caught.value.__cause__)
        assert await house.empty() == 2, "it had the time of a lingering close to read that"
        assert house.listener.info().handshakes_failed == 1


async def test_a_client_that_does_not_trust_us_is_no_error_of_ours(
    autojump_clock: Any, server: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(who, tls=server) as house, connect(house, ssl.create_default_context()) as peer:
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.do_handshake()
        await peer.wire.aclose()
        await house.empty()
        # With TLS 1.3 the server is through when the client refuses, and the connection ends as any other.
        assert house.watch.names() in ([], ["accept", "close"])
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_header_and_handshake_share_one_deadline(autojump_clock: Any, server: ssl.SSLContext) -> None:
    async with open_house(who, tls=server, proxy_protocol=PROXIES) as house:
        peer = house.peer()
        await trio.sleep(9)
        await peer.say(V1)
        assert house.phases() == ["handshake"]
        assert await house.empty() == 10
        assert peer.heard == b""
        assert house.listener.info().handshakes_failed == 1


@pytest.mark.parametrize("together", [False, True])
async def test_the_header_comes_before_tls(
    autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext, together: bool
) -> None:
    async with open_house(who, tls=server, proxy_protocol=PROXIES) as house:
        if together:
            ours, theirs = memory_stream_pair()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            shaking = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                shaking.do_handshake()
            house.door.put.send_nowait(theirs)
            await ours.send_all(v2((0x05, b"id")) + outgoing.read())
            incoming.write(await ours.receive_some())
            shaking.do_handshake()
            shaking.write(GET_CLOSE)
            await ours.send_all(outgoing.read())
            while data := await ours.receive_some():
                incoming.write(data)
            assert undated(shaking.read(65536)) == answer(b"('192.0.2.7', 4711) https", b"connection: close")
        else:
            async with connect(house, trusting, V1) as peer:
                assert (await peer.client.get("/")).text == "('192.0.2.7', 4711) https"


async def test_the_end_is_announced_and_nobody_waits_for_the_answer(
    autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with open_house(who, tls=server) as house, connect(house, trusting) as peer:
        assert (await peer.client.get("/")).status == 200
        drained = await house.listener.drain(30)
        assert (drained.finished, drained.cut, drained.stuck) == (1, 0, 0)
        assert trio.current_time() <= 2 + LATELY, "a peer that says nothing costs the lingering close at most"
        assert await peer.stream.receive_some() == b"", "close_notify: a mere end of the transport would raise"


async def test_a_peer_that_reads_nothing_at_all_does_not_hold_up_a_drain(
    autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with open_house(who, tls=server) as house, connect(house, trusting) as peer:
        await peer.stream.do_handshake()
        await peer.stream.send_all(GET)
        await house.listener.drain(30)
        assert trio.current_time() <= 3


async def test_a_cut_response_to_http_1_0_does_not_look_whole(
    autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async def handler(request: rr.Request) -> rr.StreamResponse:
        async def produce(send: rr.Send) -> None:
            await send(b"half")
            raise RuntimeError("the other half is missing")

        return rr.StreamResponse(produce)

    async with open_house(handler, tls=server) as house, connect(house, trusting) as peer:
        await peer.stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        head = await peer.stream.receive_some()
        assert b"content-length" not in head
        assert await peer.stream.receive_some() == b"half"
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.receive_some()


async def test_serve_connection_takes_all_of_it(
    autojump_clock: Any, server: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await rr.serve_connection(theirs, who, tls=server, proxy_protocol=PROXIES)

        nursery.start_soon(serve)
        await ours.send_all(V1)
        stream = trio.SSLStream(ours, trusting, server_hostname="localhost")
        assert (await Client(stream).get("/")).text == "('192.0.2.7', 4711) https"
        await stream.aclose()
