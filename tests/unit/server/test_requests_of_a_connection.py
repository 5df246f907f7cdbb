"""One request after another: pipelining, reuse, Expect, trailers, and bodies that the handler reads itself."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from story_tools import CONTINUE, GET, GET_10, GET_CLOSE, answer, last_word, open_house, post

import roadrunner_trio as rr

CHUNKED = b"Transfer-Encoding: chunked"
EXPECT = b"Expect: 100-continue"
KEEP = b"Connection: keep-alive"


def get(path: bytes, *fields: bytes) -> bytes:
    return b"GET /%b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (path, b"".join(field + b"\r\n" for field in fields))


async def path(request: rr.Request) -> rr.Response:
    """Answers with the path."""
    return rr.Response(request.path[1:])


async def length(request: rr.Request) -> rr.Response:
    """Answers with the length of the body, whoever reads it."""
    return rr.Response(str(len(await request.read())))


# Pipelining


@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
async def test_pipelined_requests_are_answered_in_order(kind, autojump_clock):
    delays = {"1": 3.0, "2": 0.0, "3": 1.0}

    async def handler(request):
        await trio.sleep(delays[request.path[1:]])
        return await path(request)

    async with open_house(handler, tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await peer.say(get(b"1") + get(b"2") + get(b"3"))
        assert await peer.until(b"3") == answer(b"1") + answer(b"2") + answer(b"3")
        assert sorted({*peer.times}) == [3, 4], "each as soon as it is there"


async def test_a_pipelining_peer_yields_to_its_neighbours(autojump_clock):
    order = []

    async def handler(request):
        order.append(request.path)
        return rr.Response()

    async with open_house(handler) as house:
        greedy, modest = house.wire_peer(), house.wire_peer()
        await trio.testing.wait_all_tasks_blocked()
        greedy.slip(get(b"greedy") * 100)
        modest.slip(get(b"modest"))
        await trio.testing.wait_all_tasks_blocked()
    assert order.count("/greedy") == 100
    assert order.index("/modest") < 10


async def test_bodies_are_skipped_on_the_way_to_the_next_pipelined_request(autojump_clock):
    async with open_house(path, body="streaming") as house:
        peer = house.peer()
        body = b"3\r\nGET\r\n0\r\nA: b\r\n\r\n"
        await peer.say(post(CHUNKED, body=body) + post(b"Content-Length: 5", body=b"GET /") + get(b"last"))
        assert peer.take() == answer(b"") * 2 + answer(b"last")


async def test_requests_that_a_half_closing_peer_sent_are_answered(autojump_clock):
    async with open_house(path) as house:
        peer = house.peer()
        await peer.stream.send_all(get(b"1") + get(b"2"))
        await peer.finish()
        assert await peer.end() == answer(b"1") + answer(b"2")
        assert (peer.ended_at, house.active) == (0, 0)


async def test_a_request_is_read_however_it_is_cut(autojump_clock):
    request = post(CHUNKED, body=b"3\r\nabc\r\n0\r\nA: b\r\n\r\n")
    async with open_house(length) as house:
        peer = house.peer()
        for octet in request * 2:
            await peer.say(bytes([octet]))
        assert peer.take() == answer(b"3") * 2


# Reuse


async def test_an_11_connection_is_kept_until_somebody_asks_for_its_close(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        for _ in range(3):
            await peer.say(GET)
            assert peer.take() == answer(b"hi")
        await peer.say(GET_CLOSE + GET)
        assert await peer.end() == answer(b"hi", b"connection: close"), "what follows a close is not served"
        assert house.active == 1, "it still sends: its reading the answer is waited for"


async def test_a_10_connection_is_closed_unless_it_is_kept_by_agreement(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        kept = GET_10[:-2] + KEEP + b"\r\n\r\n"
        await peer.say(kept)
        assert peer.take() == answer(b"hi", b"connection: keep-alive")
        await peer.say(kept)
        assert peer.take() == answer(b"hi", b"connection: keep-alive")
        await peer.say(GET_10)
        assert await peer.end() == answer(b"hi", b"connection: close")


async def test_close_wins_over_keep_alive(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(get(b"", KEEP, b"Connection: x, CLOSE"))
        assert await peer.end() == answer(b"hi", b"connection: close")


async def test_a_handlers_other_connection_options_stay(autojump_clock):
    async def handler(request):
        return rr.Response("hi", fields={"connection": "upgrade, close", "upgrade": "h3"})

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == answer(b"hi", b"connection: upgrade, close", b"upgrade: h3")


# Expect


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", CHUNKED], ids=["length", "chunked"])
async def test_a_peer_that_waits_is_told_to_go_on(mode, framing, autojump_clock):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(EXPECT, framing))
        assert peer.take() == CONTINUE
        await peer.say(b"12345" if framing is not CHUNKED else b"5\r\n12345\r\n0\r\n\r\n")
        assert peer.take() == answer(b"5")
        assert house.phases() == ["idle"]


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_a_peer_that_does_not_wait_is_not_told(mode, autojump_clock):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(EXPECT, b"Content-Length: 5", body=b"1"))
        assert peer.take() == b"", "a byte of the body is there: the peer has made up its mind"
        await peer.say(b"2345")
        assert peer.take() == answer(b"5")


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_an_http_10_peer_does_not_know_100(mode, autojump_clock):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(EXPECT, b"Content-Length: 5", version=b"1.0"))
        assert peer.take() == b""
        await peer.say(b"12345")
        assert await peer.end() == answer(b"5", b"connection: close")


@pytest.mark.parametrize("framing", [(), (b"Content-Length: 0",)], ids=["no body", "an empty body"])
async def test_without_a_body_there_is_nothing_to_go_on_with(framing, autojump_clock):
    async with open_house(length) as house:
        peer = house.peer()
        await peer.say(post(EXPECT, *framing))
        assert peer.take() == answer(b"0")


async def test_a_streaming_handler_decides_whether_the_peer_goes_on(autojump_clock):
    async def handler(request):
        await trio.sleep(1)
        if request.path == "/no":
            return rr.Response("no", status=403)
        before = house.phases()
        return rr.Response(f"{before} {len(await request.read())}")

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(EXPECT, b"Content-Length: 5"))
        assert peer.take() == b"", "not before the handler asks for the body"
        assert await peer.until(b"\r\n\r\n") == CONTINUE
        assert peer.times == [1]
        await peer.say(b"12345")
        assert peer.take() == answer(b"['in the handler'] 5")
        await peer.say(post(EXPECT, b"Content-Length: 5").replace(b"/ ", b"/no ", 1))
        answered = await peer.end()
        assert answered == answer(b"no", b"connection: close", status=b"403 Forbidden")
        assert peer.ended_at == 2, "nobody knows whether the body comes, so nobody can wait for the next request"


async def test_an_unknown_expectation_is_no_matter(autojump_clock):
    async with open_house(length) as house:
        peer = house.peer()
        await peer.say(post(b"Expect: tea", b"Content-Length: 5"))
        assert peer.take() == b""
        await peer.say(b"12345")
        assert peer.take() == answer(b"5")


async def test_other_interim_responses_come_before_the_final_one_and_not_after(autojump_clock):
    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan()

        async def __call__(self, exchange: rr.Exchange) -> None:
            await exchange.send_interim(103, [(b"link", b"</a>; rel=preload")])
            await exchange.start_response(200, [])
            await exchange.send_interim(103)
            await exchange.end_response()

    async with open_house(App()) as house:
        peer = house.peer()
        await peer.say(GET)
        early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
        final = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        assert peer.take() == early + final
        await peer.say(GET_10)
        assert await peer.end() == b"HTTP/1.1 200 OK\r\ndate: D\r\nconnection: close\r\n\r\n", "HTTP/1.0 knows none"


@pytest.mark.parametrize("status", [99, 101, 200])
async def test_what_is_no_interim_response_is_refused(status, autojump_clock):
    async with misused(lambda exchange: exchange.send_interim(status)) as (peer, error):
        assert isinstance(error, ValueError)
        assert "interim" in str(error)
        assert peer.take() == answer(b"")


async def misused_twice(exchange):
    await exchange.respond(200, [], b"")
    await exchange.respond(200, [], b"")


async def misused_too_soon(exchange):
    await exchange.send_body(b"a")


@pytest.mark.parametrize(
    ("misuse", "complaint"),
    [
        (misused_twice, "the response has begun already"),
        (misused_too_soon, "between the start of a response and its end"),
    ],
)
async def test_an_application_that_mixes_up_its_response_is_told(misuse, complaint, autojump_clock):
    async with misused(misuse) as (peer, error):
        assert isinstance(error, RuntimeError)
        assert complaint in str(error)
        assert peer.take() == answer(b"")


@asynccontextmanager
async def misused(misuse):
    """A peer whose request met an application that does something wrong, then what is right; and how it was told."""
    told = []

    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan()

        async def __call__(self, exchange: rr.Exchange) -> None:
            with pytest.raises((ValueError, RuntimeError)) as caught:
                await misuse(exchange)
            told.append(caught.value)
            if not exchange.ended:
                await exchange.respond(200, [], b"")

    async with open_house(App()) as house:
        peer = house.peer()
        await peer.say(GET)
        yield peer, told[0]


# Trailers


async def test_trailers_both_ways(autojump_clock):
    async def handler(request):
        async def produce(send):
            async for piece in request.stream():
                await send(piece.upper())
            return request.trailers

        return rr.StreamResponse(produce)

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=b"1\r\na\r\n"))
        assert peer.take().endswith(b"\r\n\r\n1\r\nA\r\n")
        await peer.say(b"1\r\nb\r\n0\r\nDigest: x\r\n\r\n")
        assert peer.take() == b"1\r\nB\r\n0\r\ndigest: x\r\n\r\n"
        assert house.phases() == ["idle"]


@pytest.mark.parametrize("trailers", [{"content-length": "1"}, {"a": "b\r\nc: d"}, {"transfer-encoding": "x"}])
async def test_a_trailer_that_may_not_be_one_truncates_the_response(trailers, autojump_clock, caplog):
    async def produce(send):
        await send(b"x")
        return trailers

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert (await peer.end()).endswith(b"\r\n\r\n1\r\nx\r\n"), "checked before a byte of the end is out"
    assert house.watch.only("exception").outcome == "error"


# Bodies that the handler reads itself


async def test_a_body_comes_in_pieces_as_it_arrives(autojump_clock):
    async def handler(request):
        pieces = [(trio.current_time(), bytes(piece)) async for piece in request.stream()]
        return rr.Response(str(pieces))

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 6", body=b"12"))
        await trio.sleep(0.5)
        await peer.say(b"34")
        await trio.sleep(0.5)
        await peer.say(b"56" + GET)
        expected = b"[(0.0, b'12'), (0.5, b'34'), (1.0, b'56')]"
        assert peer.take() == answer(expected) + answer(b"[]")


async def test_a_body_that_comes_faster_than_it_is_read_comes_in_larger_pieces(autojump_clock):
    sizes = []

    async def handler(request):
        async for piece in request.stream():
            sizes.append(len(piece))
            await trio.sleep(1)  # meanwhile, there is more than a read takes
        return rr.Response()

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        for _ in range(2):
            sizes.clear()
            await peer.say(post(b"Content-Length: 1000000"))
            await peer.say(bytes(1_000_000))
            await trio.sleep(30)
            assert peer.take() == answer(b"")
            assert sizes == [65536, 262144, 262144, 262144, 148032], "and the next body begins with little again"


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_read_keeps_what_it_has_read(mode, autojump_clock):
    async def handler(request):
        once, twice = await request.read(), await request.read()
        return rr.Response(once + twice + b"".join([piece async for piece in request.stream()]))

    async with open_house(handler, body=mode) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 2", body=b"ab"))
        assert peer.take() == answer(b"ababab")


async def test_what_a_handler_leaves_of_a_body_is_skipped_and_the_connection_kept(autojump_clock):
    async def handler(request):
        async for _ in request.stream():
            break
        return await path(request)

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 200000", body=b"x" * 70_000))
        assert peer.take() == answer(b""), "the answer does not wait for the body"
        await trio.sleep(1)
        await peer.say(b"x" * 130_000 + get(b"next"))
        assert peer.take() == answer(b"next")


async def test_the_body_of_a_finished_exchange_is_out_of_reach(autojump_clock):
    kept = []

    async def handler(request):
        kept.append(request)
        return rr.Response()

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        for use in (kept[0].read, kept[0].disconnected):
            with pytest.raises(RuntimeError, match="over"):
                await use()


async def test_a_send_that_was_kept_does_not_write_into_the_next_response(autojump_clock):
    kept = []

    async def produce(send):
        kept.append(send)

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        peer.take()
        with pytest.raises(RuntimeError, match="over"):
            await kept[0](b"late")
        assert peer.take() == b""


@pytest.mark.parametrize("error", [rr.ProtocolError, rr.BodyTimeout], ids=["malformed", "too late"])
async def test_a_body_that_could_not_be_read_ends_the_connection_whatever_the_handler_says(error, autojump_clock):
    async def handler(request):
        try:
            await request.read()
        except error:
            return rr.Response("never mind")
        raise AssertionError("the body was read")

    async with open_house(handler, body="streaming", limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = house.peer()
        malformed = b"0\r\nno colon\r\n\r\n" if error is rr.ProtocolError else b""
        await peer.say(post(CHUNKED, body=malformed + GET * bool(malformed)))
        assert await peer.end() == answer(b"never mind", b"connection: close")
        assert peer.ended_at == (0 if malformed else 300)
    assert house.watch.names() == ["accept", "start", "stop", "close"]


async def test_also_when_the_response_had_begun_and_promised_to_go_on(autojump_clock):
    async def produce(send):
        await send(b"tick")
        with pytest.raises(rr.ProtocolError):
            await house.watch.only("start").request.read()

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=b"0\r\nno colon\r\n\r\n" + GET))
        heard = await peer.end()
        assert heard.endswith(b"4\r\ntick\r\n0\r\n\r\n")
        assert (heard.count(b"200 OK"), peer.ended_at) == (1, 0)


async def test_413_in_a_streaming_handler_can_be_read_by_the_peer(autojump_clock):
    async with open_house(length, body="streaming", limits=rr.Limits(max_body=5)) as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=b"5\r\n12345\r\n"))
        assert peer.take() == b""
        await peer.say(b"1\r\n6\r\n0\r\n\r\n")
        assert await peer.end() == last_word(b"413 Content Too Large")
        assert await house.empty() == 2
    assert house.watch.names() == ["accept", "start", "exception", "rejected", "close"]


# Streams handed over


async def test_a_tunnel_is_dug_by_a_hand_off_and_not_by_a_2xx(autojump_clock):
    connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nDig: %b\r\n\r\n"

    async def run(request, stream):
        await stream.send_all(request.path.encode() + b" " + await stream.receive_some())

    async def handler(request):
        return rr.Handoff(run, status=200) if request.header("dig") == "yes" else rr.Response()

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(connect % b"yes" + b"early")
        assert await peer.end() == b"HTTP/1.1 200 OK\r\n\r\nexample.com:443 early"
        peer = house.peer()
        await peer.say(connect % b"no")
        text = b"content-type: text/plain; charset=utf-8"
        assert peer.take() == answer(b"Not Implemented", text, status=b"501 Not Implemented")


async def test_a_stream_is_not_handed_over_inside_a_body(autojump_clock, caplog):
    async def run(request, stream):
        raise AssertionError("there are octets of a body on it")

    async def handler(request):
        return rr.Handoff(run, status=101)

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert len(caplog.records) == 1
