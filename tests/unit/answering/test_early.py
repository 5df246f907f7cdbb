"""Early middlewares: they judge a request by its head, before a byte of its body is read or asked for."""

from __future__ import annotations

import math

import pytest
import trio
from presence_tools import needs_poller, reset
from story_tools import CONTINUE, GET, answer, last_word, loud, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio import early
from roadrunner_trio.answering.middleware import early_of
from roadrunner_trio.apps.router import Group, Route, Router

SIZE = 9_000_000
EXPECT = b"Expect: 100-continue"
LENGTH = b"Content-Length: %d" % SIZE
TEXT = b"content-type: text/plain; charset=utf-8"
KNOWN = b"Authorization: secret"
UNAUTHORIZED = b"401 Unauthorized"
LARGE = {"limits": rr.Limits(max_body=10_000_000)}


async def length(request):
    return rr.Response(str(len(await request.read())))


@early
async def authenticated(request):
    if request.header("authorization") != "secret":
        return rr.Response.text("who are you?", status=401)
    return None


# What is not read


@pytest.mark.parametrize("body", ["buffered", "streaming"])
@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
async def test_who_waits_for_a_100_hears_the_answer_instead(kind, body, autojump_clock):
    async with open_house(length, tcp=True, middlewares=[authenticated], body=body, **LARGE) as house:
        peer = house.meet(kind)
        await peer.say(post(EXPECT, LENGTH))
        assert await peer.end() == answer(b"who are you?", b"connection: close", TEXT, status=UNAUTHORIZED)
        assert peer.ended_at == 0
    event = house.watch.only("stop")
    assert (event.status, event.received, event.outcome) == (401, 0, "complete")
    assert house.watch.names() == ["accept", "start", "stop", "close"]


@pytest.mark.parametrize("body", ["buffered", "streaming"])
async def test_who_is_let_in_is_told_to_go_on_after_the_judgement(body, autojump_clock):
    seen = []

    @early
    async def judge(request):
        await trio.sleep(1)
        seen.append(peer.take())

    async with open_house(length, middlewares=[judge], body=body) as house:
        peer = house.peer()
        await peer.say(post(EXPECT, b"Content-Length: 3"))
        assert await peer.until(b"\r\n\r\n") == CONTINUE
        assert trio.current_time() == 1
        await peer.say(b"abc")
        assert peer.take() == answer(b"3")
    assert seen == [b""]


@pytest.mark.parametrize("body", ["buffered", "streaming"])
async def test_of_an_upload_that_nobody_wants_nothing_is_read_before_it_is_answered(body, autojump_clock):
    taken = []

    @early
    async def judge(request):
        await trio.sleep(1)
        taken.append(stream.taken)
        return await authenticated.check(request)

    async with open_house(length, middlewares=[judge], body=body, **LARGE) as house:
        peer, stream = house.slow_peer(10**6)
        await peer.say(post(LENGTH, body=b"x" * SIZE))
        assert await peer.until(b"who are you?") == answer(b"who are you?", TEXT, status=UNAUTHORIZED)
        assert taken[0] <= 65536, "what came with the head"
        await peer.say(GET)
        heard = await peer.until(b"who are you?")
        assert heard == answer(b"who are you?", TEXT, status=UNAUTHORIZED), "what is left is skipped"
    assert next(event.received for name, event in house.watch.events if name == "stop") <= 65536


async def test_what_is_left_of_it_has_the_linger_to_come(autojump_clock):
    async with open_house(length, middlewares=[authenticated]) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 10", body=b"12345"))
        assert await peer.end() == answer(b"who are you?", TEXT, status=UNAUTHORIZED)
        assert peer.ended_at == 2


@pytest.mark.parametrize("body", ["buffered", "streaming"])
@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_it_cannot_read_the_body(kind, body, autojump_clock, caplog):
    read = []

    @early
    async def nosy(request):
        for read_on in (request.read, request.next_piece, request.stream().__anext__):
            with pytest.raises(RuntimeError, match="judges a request by its head, and cannot read its body"):
                await read_on()
            read.append(read_on)

    async def handler(request):
        return rr.Response(b"".join([piece async for piece in request.stream()]))

    async with open_house(handler, tcp=True, middlewares=[nosy], body=body) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 3", body=b"abc"))
        assert peer.take() == answer(b"abc"), "nothing of it is lost to the handler"
    assert len(read) == 3
    assert loud(caplog) == []


async def test_a_request_without_a_body_is_judged_too(autojump_clock):
    async with open_house(length, middlewares=[authenticated]) as house:
        peer = house.peer()
        await peer.say(GET * 2)
        assert peer.take() == answer(b"who are you?", TEXT, status=UNAUTHORIZED) * 2
        await peer.say(GET[:-2] + KNOWN + b"\r\n\r\n")
        assert peer.take() == answer(b"0")


# Where they stand


def marking(name, order, *, refuses=False):
    """An early middleware that notes its turn."""

    @early
    async def mark(request):
        order.append(name)
        if refuses:
            return rr.Response(name, status=403)
        return None

    return mark


def late(name, order):
    """One that is not early."""

    async def middleware(request, call_next):
        order.append(name)
        response = await call_next(request)
        response.fields.append((b"x-late", name.encode()))
        return response

    return middleware


def tower(order, refuses=""):
    """A router and its listener's settings, with an early and a late middleware on every floor."""

    def both(name):
        return [late(f"late {name}", order), marking(name, order, refuses=name == refuses)]

    async def handler(request):
        order.append("handler")
        return rr.Response(await request.read())

    group = Group("/a", [Group("/b", [Route("/c", handler, middlewares=both("route"))], middlewares=both("inner"))])
    outer = Group("/", [group], middlewares=both("outer"))
    return {"handler": Router([outer], middlewares=both("router")), "middlewares": both("listener")}


FLOORS = ["listener", "router", "outer", "inner", "route"]
POST = b"POST /a/b/c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"


async def test_all_of_them_run_before_the_others_from_the_outside_in(autojump_clock):
    order = []
    async with open_house(**tower(order)) as house:
        peer = house.peer()
        await peer.say(POST)
        assert peer.take().endswith(b"abc")
    assert order == [*FLOORS, *(f"late {floor}" for floor in FLOORS), "handler"]


@pytest.mark.parametrize("floor", FLOORS)
async def test_the_first_that_refuses_has_the_last_word(floor, autojump_clock):
    order = []
    async with open_house(**tower(order, floor)) as house:
        peer = house.peer()
        await peer.say(POST)
        assert peer.take() == answer(floor.encode(), status=b"403 Forbidden"), "no other middleware sees it"
    assert order == FLOORS[: FLOORS.index(floor) + 1]
    assert house.watch.names() == ["accept", "start", "stop", "close"]


@pytest.mark.parametrize("target", ["/nothing", "/a/b"])
async def test_what_the_router_answers_itself_is_judged_by_those_around_it(target, autojump_clock):
    order = []
    async with open_house(**tower(order)) as house:
        peer = house.peer()
        await peer.say(b"DELETE %b HTTP/1.1\r\nHost: h\r\n\r\n" % target.encode())
        assert peer.take().startswith(b"HTTP/1.1 404 ")
    assert order == ["listener", "router", "late listener", "late router"]


async def test_routes_that_are_reloaded_have_their_own(autojump_clock):
    order = []
    router = Router([Route("/", length, middlewares=[marking("old", order)])])
    async with open_house(router) as house:
        peer = house.peer()
        await peer.say(GET)
        house.listener.reload_routes([Route("/", length, middlewares=[marking("new", order)])])
        await peer.say(GET)
    assert order == ["old", "new"]


async def test_one_that_is_called_as_any_other_is_one(autojump_clock):
    """By a middleware of somebody's that composes by itself."""

    async def wrapping(request, call_next):
        return await authenticated(request, call_next)

    async with open_house(length, middlewares=[wrapping]) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"who are you?", TEXT, status=UNAUTHORIZED)
        await peer.say(GET[:-2] + KNOWN + b"\r\n\r\n")
        assert peer.take() == answer(b"0")


async def test_the_servers_own_health_is_nobodys_to_judge(autojump_clock):
    async with open_house(length, middlewares=[authenticated], health_path="/healthz") as house:
        peer = house.peer()
        await peer.say(GET.replace(b"/ ", b"/healthz ", 1))
        assert peer.take().startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_it_is_called_and_what_it_cannot_be():
    assert repr(authenticated) == "early(authenticated)"
    assert early_of([authenticated, late("x", []), authenticated]) == (authenticated.check,) * 2
    with pytest.raises(TypeError):
        early("gzip")
    with pytest.raises(TypeError):
        early(lambda: None)
    with pytest.raises(TypeError, match=r"middlewares is a list, the outermost first; write \[authenticated\]"):
        rr.Listener(length, middlewares=authenticated)


# How they may end


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("expect", [(), (EXPECT,)])
async def test_an_http_error_is_the_answer(expect, grouped, autojump_clock, caplog):
    error = rr.HTTPError(403, "no")

    @early
    async def refuse(request):
        raise ExceptionGroup("", [error]) if grouped else error

    async with open_house(length, middlewares=[refuse]) as house:
        peer = house.peer()
        await peer.say(post(*expect, b"Content-Length: 3", body=b"" if expect else b"abc"))
        close = (b"connection: close",) if expect else ()
        assert peer.take() == answer(b"no", *close, TEXT, status=b"403 Forbidden")
    assert house.watch.names() == ["accept", "start", "stop", "close"]
    assert house.watch.only("stop").error is error
    assert loud(caplog) == []


async def test_any_other_exception_is_a_500_that_is_told_and_logged_once(autojump_clock, caplog):
    error = ValueError("a bug")

    @early
    async def crash(request):
        raise error

    async with open_house(length, middlewares=[crash, marking("never", [])]) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 3"))
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    event = house.watch.only("exception")
    assert (event.error, event.outcome, event.status, event.received) == (error, "error", 500, 0)
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("response", [401, "no", b"no", True])
async def test_what_is_no_response_is_a_500_that_names_it(response, autojump_clock, caplog):
    @early
    async def confused(request):
        return response

    async with open_house(length, middlewares=[confused]) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert "confused" in caplog.text
    assert "not a response" in caplog.text


async def test_a_response_of_any_kind_will_do(autojump_clock):
    @early
    async def streams(request):
        return rr.StreamResponse(lambda send: send(b"no"), status=403)

    async with open_house(length, middlewares=[streams]) as house:
        peer = house.peer()
        await peer.say(GET * 2)
        assert peer.take().count(b"2\r\nno\r\n0\r\n\r\n") == 2


async def test_it_has_the_handlers_time_and_the_handler_has_its_own(autojump_clock, caplog):
    @early
    async def slow(request):
        await trio.sleep(3 if request.path == "/" else math.inf)

    async def handler(request):
        await trio.sleep(3)
        return rr.Response("hi")

    async with open_house(handler, middlewares=[slow], timeouts=rr.Timeouts(handler=5)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.until(b"hi") == answer(b"hi")
        assert trio.current_time() == 6
        await peer.say(GET.replace(b"/ ", b"/never ", 1))
        assert await peer.end() == last_word(b"503 Service Unavailable")
        assert peer.ended_at == 11
        info = house.listener.info()
    assert (info.aborted, info.requests) == (1, 2), "the application was never called"
    assert house.watch.names() == ["accept", "start", "stop", "close"]


async def test_a_drain_cuts_it(autojump_clock):
    @early
    async def slow(request):
        await trio.sleep_forever()

    async with open_house(length, middlewares=[slow]) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await house.listener.drain(3) == rr.Drained(finished=0, cut=1, stuck=0)
        assert await peer.end() == last_word(b"503 Service Unavailable")


# A peer that leaves meanwhile


@needs_poller
async def test_a_reset_cancels_it_and_nobody_is_called(autojump_clock, caplog):
    cancelled, called = [], []

    @early
    async def slow(request):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    async def handler(request):
        called.append(request)
        return rr.Response()

    async with open_house(handler, tcp=True, middlewares=[slow]) as house:
        peer = house.tcp_peer()
        await peer.say(post(b"Content-Length: 3"))
        await reset(peer)
        assert house.active == 0
    assert (cancelled, called) == ([0], [])
    assert house.watch.names() == ["accept", "close"]
    assert loud(caplog) == []


@needs_poller
async def test_a_reset_before_it_began_is_noticed(autojump_clock):
    @early
    async def slow(request):
        await trio.sleep_forever()

    async with open_house(length, tcp=True, middlewares=[slow]) as house:
        peer = house.tcp_peer()
        peer.slip(GET)
        await reset(peer)
        assert house.active == 0


@needs_poller
async def test_a_peer_that_has_half_closed_has_its_grace(autojump_clock):
    @early
    async def slow(request):
        await trio.sleep(3 if request.path == "/" else 30)

    async with open_house(length, tcp=True, middlewares=[slow]) as house:
        for target, heard, ends in (("/", answer(b"0"), 3), ("/long", b"", 8)):
            peer = house.tcp_peer()
            await peer.say(GET.replace(b"/ ", b"%b " % target.encode(), 1))
            await peer.finish()
            assert await peer.end() == heard
            assert peer.ended_at == ends
            await house.empty()


# Beside a gate


async def test_who_is_refused_takes_no_place_of_those_who_are_served(autojump_clock):
    async def handler(request):
        await trio.sleep(10)
        return rr.Response("hi")

    limits = rr.Limits(max_concurrent_requests=1)
    async with open_house(handler, middlewares=[authenticated], limits=limits) as house:
        served, refused, full = house.peer(), house.peer(), house.peer()
        await refused.say(post(LENGTH.replace(b"9000000", b"3")))
        assert refused.take() == answer(b"who are you?", TEXT, status=UNAUTHORIZED)
        await served.say(GET[:-2] + KNOWN + b"\r\n\r\n")
        await refused.say(b"abc" + GET)
        assert refused.take().startswith(b"HTTP/1.1 503 "), "the gate is asked first, and it is full"
        await full.say(GET[:-2] + KNOWN + b"\r\n\r\n")
        assert full.take().startswith(b"HTTP/1.1 503 ")
        assert await served.until(b"hi") == answer(b"hi")
    assert house.watch.names().count("throttled") == 2


async def test_a_gate_that_fills_up_during_the_judgement_is_full(autojump_clock):
    @early
    async def slow(request):
        await trio.sleep(float(request.path[1:]))

    async def handler(request):
        await trio.sleep(10)
        return rr.Response("hi")

    limits = rr.Limits(max_concurrent_requests=1)
    async with open_house(handler, middlewares=[slow], limits=limits) as house:
        first, second = house.peer(), house.peer()
        await first.say(GET.replace(b"/ ", b"/2 ", 1))
        await second.say(GET.replace(b"/ ", b"/1 ", 1))
        assert (await first.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        assert await second.until(b"hi") == answer(b"hi")
        await wait_all_tasks_blocked()
        assert house.phases() == ["idle"] * 2
