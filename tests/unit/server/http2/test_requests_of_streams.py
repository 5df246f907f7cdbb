"""Requests and responses over HTTP/2: the same handlers, the same answers."""

from __future__ import annotations

import pytest
import trio
from http2_peer import open_http2
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

KINDS = ("memory", "tcp")


async def tell(request: rr.Request) -> rr.Response:
    body = await request.read()
    told = f"{request.method} {request.target.decode()} {request.host} {request.version} {request.scheme} "
    return rr.Response(told.encode() + body)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request(kind, autojump_clock):
    async with open_http2(tell, kind) as (house, peer):
        answer = await peer.get("/a?b=c")
        assert answer.brief == (200, b"GET /a?b=c h (2, 0) http ")
        assert answer.header("content-length") == str(len(answer.body))
        assert answer.header("date") is not None
        assert [conn.protocol for conn in house.listener.connections()] == ["h2"]
        assert house.listener.info().requests == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_many_at_once_and_one_after_another(kind, autojump_clock):
    async with open_http2(tell, kind) as (house, peer):
        for _ in range(3):
            numbers = [peer.ask(f"/{n}") for n in range(50)]
            await peer.flush()
            answers = [await peer.answer(number) for number in numbers]
            assert [answer.body.split()[1] for answer in answers] == [b"/%d" % n for n in range(50)]
        assert house.listener.info().requests == 150


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 70_000, 300_000])
async def test_bodies_both_ways(kind, size, autojump_clock):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]

    async def echo(request):
        return rr.Response(await request.read())

    async with open_http2(echo, kind) as (house, peer):
        number = peer.ask("/", method="POST", end=False)
        at = 0
        while at < size:
            await peer.until(lambda: peer.conn.local_flow_control_window(number) > 0)
            step = min(size - at, peer.conn.local_flow_control_window(number))
            peer.send(number, body[at : at + step])
            at += step
            await peer.flush()
        peer.conn.end_stream(number)
        await peer.flush()
        answer = await peer.answer(number)
        assert answer.status == 200
        assert answer.body == body
        assert house.listener.info().buffered == 0


async def test_a_streaming_body_and_its_trailers(autojump_clock):
    async def count(request):
        pieces = [len(piece) async for piece in request.stream()]
        return rr.Response(f"{sum(pieces)} {request.trailers}")

    async with open_http2(count, body="streaming") as (_, peer):
        number = peer.ask("/", method="POST", end=False)
        await peer.flush()
        for _ in range(5):
            peer.send(number, b"x" * 1000)
            await peer.flush()
        peer.conn.send_headers(number, [("x-sum", "5")], end_stream=True)
        await peer.flush()
        assert (await peer.answer(number)).body == b"5000 ((b'x-sum', b'5'),)"


async def test_head_204_304_and_lengths(autojump_clock):
    async def handler(request):
        status = int(request.path[1:])
        return rr.Response(b"" if status in (204, 304) else b"hello", status=status)

    async with open_http2(handler) as (_, peer):
        answer = await peer.get("/200", method="HEAD")
        assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "5")
        answer = await peer.get("/204")
        assert (answer.status, answer.body, answer.header("content-length")) == (204, b"", None)
        answer = await peer.get("/304")
        assert (answer.status, answer.body) == (304, b"")


async def test_a_stream_of_pieces_with_trailers(autojump_clock):
    async def handler(request):
        async def produce(send):
            for n in range(20):
                await send(b"%d," % n)
            return [("x-end", "yes")]

        return rr.StreamResponse(produce, fields=[("content-type", "text/plain")])

    async with open_http2(handler) as (_, peer):
        answer = await peer.get()
        assert answer.body == b"".join(b"%d," % n for n in range(20))
        assert answer.trailers == [("x-end", "yes")]
        assert answer.header("transfer-encoding") is None


async def test_a_file(tmp_path, autojump_clock):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 50_000)

    async def handler(request):
        return rr.FileResponse(path)

    async with open_http2(handler, "tcp") as (_, peer):
        answer = await peer.get()
        assert answer.body == path.read_bytes()
        assert answer.header("content-length") == "500000"
        assert (await peer.get("/", method="HEAD")).header("content-length") == "500000"


async def test_interim_responses(autojump_clock):
    class App:
        def plan(self, request):
            return rr.Plan("streaming", None)

        async def __call__(self, exchange):
            await exchange.send_interim(103, [(b"link", b"</a>; rel=preload")])
            await exchange.respond(200, (), b"done")

    async with open_http2(App()) as (_, peer):
        answer = await peer.get()
        assert (answer.interim, answer.brief) == ([103], (200, b"done"))


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_who_waits_for_100_is_told_to_go_on(mode, autojump_clock):
    async def echo(request):
        return rr.Response(await request.read())

    async with open_http2(echo, body=mode) as (_, peer):
        number = peer.ask("/", method="POST", fields=[("expect", "100-continue"), ("content-length", "2")], end=False)
        await peer.flush()
        assert peer.streams[number].interim == [100]
        peer.send(number, b"ok", end=True)
        await peer.flush()
        assert (await peer.answer(number)).brief == (200, b"ok")


async def test_an_answer_before_the_body_is_kept_and_the_rest_not_wanted(autojump_clock):
    async def refuse(request):
        return rr.Response(b"no", status=403)

    async with open_http2(refuse, body="streaming") as (_, peer):
        number = peer.ask("/", method="POST", end=False)
        await peer.flush()
        answer = await peer.answer(number)
        assert answer.brief == (403, b"no")
        await peer.until(lambda: answer.reset is not None)
        assert answer.reset == 0, "NO_ERROR: the answer is to be kept"
        assert (await peer.get()).status == 403


async def test_a_body_that_is_too_large_is_413_and_the_connection_goes_on(autojump_clock):
    async with open_http2(tell, limits=rr.Limits(max_body=100)) as (house, peer):
        declared = await peer.get("/", method="POST", fields=[("content-length", "101")], body=b"x" * 101)
        assert declared.status == 413
        undeclared = await peer.get("/", method="POST", body=b"x" * 101)
        assert undeclared.status == 413
        assert (await peer.get()).status == 200
        assert [event.reason for name, event in house.watch.events if name == "rejected"] != []
        assert house.listener.info().refused == 2


async def test_an_application_that_fails_is_500_and_its_neighbours_go_on(autojump_clock, caplog):
    async def handler(request):
        if request.path == "/bad":
            raise ValueError("no")
        await trio.sleep(1)
        return rr.Response("good")

    async with open_http2(handler) as (house, peer):
        good, bad = peer.ask("/good"), peer.ask("/bad")
        await peer.flush()
        assert (await peer.answer(bad)).brief == (500, b"")
        assert (await peer.answer(good)).brief == (200, b"good")
        assert house.listener.info().failed == 1
    caplog.clear()


async def test_a_response_that_breaks_off_is_reset(autojump_clock, caplog):
    async def handler(request):
        async def produce(send):
            await send(b"half")
            raise ValueError("no")

        return rr.StreamResponse(produce)

    async with open_http2(handler) as (_, peer):
        answer = await peer.get()
        assert (answer.brief, answer.ended, answer.reset) == ((200, b"half"), False, 2)
    caplog.clear()


async def test_http1_is_spoken_beside_it(autojump_clock):
    async with open_http2(tell) as (house, peer):
        other = house.peer()
        await other.say(b"GET /one HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"GET /one h (1, 1) http" in other.take()
        assert (await peer.get("/two")).status == 200
        assert [conn.protocol for conn in house.listener.connections()] == ["h2", "http/1.1"]


async def test_a_request_has_a_context_of_its_own(autojump_clock):
    from contextvars import ContextVar

    seen: ContextVar[str] = ContextVar("seen", default="nothing")

    async def handler(request):
        before = seen.get()
        seen.set(request.path)
        return rr.Response(before)

    async with open_http2(handler) as (_, peer):
        assert [(await peer.get(f"/{n}")).body for n in range(4)] == [b"nothing"] * 4


async def test_what_the_application_says_of_the_connection_is_not_said(autojump_clock):
    async def handler(request):
        return rr.Response("x", fields=[("connection", "close, x-y"), ("keep-alive", "5"), ("x-a", "1")])

    async with open_http2(handler) as (_, peer):
        answer = await peer.get()
        assert {name for name, _ in answer.fields} == {"date", "content-length", "x-a"}
        assert (await peer.get()).status == 200


async def test_tasks_are_kept_while_there_is_work_and_none_afterwards(autojump_clock):
    async def handler(request):
        await trio.sleep(0.5)
        return rr.Response("x")

    def streams():
        count, todo = 0, [trio.lowlevel.current_root_task()]
        while todo:
            task = todo.pop()
            count += task.name.endswith(", a stream")
            todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        return count

    async with open_http2(handler) as (_, peer):
        for number in [peer.ask() for _ in range(60)]:
            await peer.flush()
            await peer.answer(number)
        numbers = [peer.ask() for _ in range(60)]
        await peer.flush()
        assert streams() == 60
        for number in numbers:
            await peer.answer(number)
        await wait_all_tasks_blocked()
        assert streams() == 32
        await trio.sleep(1.5)
        assert streams() == 0
        for _ in range(4):
            assert (await peer.get()).status == 200
            await trio.sleep(0.4)
        assert streams() == 1, "it is not idle for long"


async def test_a_server_that_does_not_say_when_and_one_that_says_more(autojump_clock):
    async def handler(request):
        return rr.Response("x", fields=[("x-own", "1")])

    async with open_http2(handler, date=False, fields=[("server", "rr"), ("x-own", "2")]) as (_, peer):
        answer = await peer.get()
        assert {name for name, _ in answer.fields} == {"content-length", "x-own", "server"}
        assert answer.header("x-own") == "1"


async def test_a_wait_that_was_given_up_is_nobodys_in_the_next_request(autojump_clock):
    async def handler(request):
        if request.path == "/impatient":
            with trio.move_on_after(1):
                await request.read()
            return rr.Response("enough")
        return rr.Response(str(len(await request.read())))

    settings = {"timeouts": rr.Timeouts(body=10), "limits": rr.Limits(min_bytes_per_second=0)}
    async with open_http2(handler, body="streaming", **settings) as (_, peer):
        number = peer.ask("/impatient", method="POST", end=False)
        await peer.flush()
        assert (await peer.answer(number)).brief == (200, b"enough")
        await trio.sleep(4)
        number = peer.ask("/patient", method="POST", end=False)  # by the same task
        await peer.flush()
        await trio.sleep(9)
        peer.send(number, b"abc", end=True)
        await peer.flush()
        assert (await peer.answer(number)).brief == (200, b"3")
