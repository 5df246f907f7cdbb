"""Each request has context variables of its own: a copy of those of whoever serves, and nothing of the last one's."""

from __future__ import annotations

from contextvars import ContextVar

import pytest
import trio
from story_tools import GET, answer, open_house, post
from tls_tools import contexts_of_a_new_authority, tls_peer
from trio.testing import memory_stream_pair

import roadrunner_trio as rr
from roadrunner_trio import early
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.telemetry.log_context import current_request

USER: ContextVar[str] = ContextVar("USER", default="nobody")
AMBIENT: ContextVar[str] = ContextVar("AMBIENT", default="unset")
KINDS = ["memory", "wire", "tcp", "tls over memory", "tls over tcp"]


@pytest.fixture(scope="module")
def contexts():
    return contexts_of_a_new_authority()


async def meet(house, kind, contexts):
    return await tls_peer(house, contexts[1], kind[9:]) if kind.startswith("tls") else house.meet(kind)


async def who(request):
    """Says who it was before, and becomes somebody."""
    before = USER.get()
    USER.set(request.path)
    await trio.lowlevel.checkpoint()
    assert USER.get() == request.path
    return rr.Response(before)


@pytest.mark.parametrize("how", ["one after another", "pipelined", "in crumbs"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_handler_sets_is_unseen_by_the_next_request(kind, how, contexts, autojump_clock):
    tls = contexts[0] if kind.startswith("tls") else None
    async with open_house(who, tcp=True, tls=tls) as house:
        peer = await meet(house, kind, contexts)
        said = GET + post(b"Content-Length: 2", body=b"ab") + GET
        pieces = {"pipelined": [said], "one after another": [GET, post(), GET]}
        for piece in pieces.get(how, [bytes([octet]) for octet in said]):
            await peer.say(piece)
        assert peer.take() == answer(b"nobody") * 3


def become(request):
    """Sets the variable in a request for it."""
    if request.path == "/set":
        USER.set("somebody")


async def tells(request):
    """Says what it sees."""
    return rr.Response(USER.get())


async def in_middleware(request, call_next):
    become(request)
    return await call_next(request)


@early
async def in_check(request):
    become(request)


class AtStart(rr.Observer):
    def request_start(self, event):
        become(event.request)


class AtStop(rr.Observer):
    def request_stop(self, event):
        become(event.request)


class Step(rr.RequestIds):
    def __call__(self, exchange):
        become(exchange.request)


class Planning:
    def plan(self, request):
        become(request)
        return rr.Plan()

    async def __call__(self, exchange):
        await exchange.respond(200, [], USER.get().encode())


PLACES = {
    "middleware": {"handler": tells, "middlewares": [in_middleware]},
    "route's middleware": {"handler": Router([Route("/*path", tells, middlewares=[in_middleware])])},
    "early": {"handler": tells, "middlewares": [in_check]},
    "observer": {"handler": tells, "observers": [AtStart()]},
    "observer of the end": {"handler": tells, "observers": [AtStop()]},
    "plan": {"handler": Planning()},
    "step": {"handler": tells, "request_ids": Step()},
}
"""Settings of houses in which the variable is set somewhere."""


@pytest.mark.parametrize("kind", ["memory", "tcp"])
@pytest.mark.parametrize("place", PLACES)
async def test_what_is_set_before_the_handler_is_seen_by_it_and_by_no_other_request(place, kind, autojump_clock):
    async with open_house(**PLACES[place], tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(GET.replace(b"/ ", b"/set ", 1) + GET)
        first = b"nobody" if place == "observer of the end" else b"somebody"
        assert peer.take() == answer(first) + answer(b"nobody")


async def test_a_request_that_is_refused_early_leaves_nothing_either(autojump_clock):
    @early
    async def check(request):
        if request.path == "/set":
            USER.set("somebody")
            return rr.Response(status=401)
        return None

    async with open_house(who, middlewares=[check]) as house:
        peer = house.peer()
        await peer.say(GET.replace(b"/ ", b"/set ", 1) + GET)
        assert peer.take() == answer(status=b"401 Unauthorized") + answer(b"nobody")


@pytest.mark.parametrize("kind", ["stream", "loop", "event stream"])
async def test_a_response_is_produced_in_the_context_of_its_handler(kind, autojump_clock):
    async def produce(send):
        await send(USER.get().encode())

    async def on_message(message, send):
        await produce(send)
        return rr.STOP

    async def source(sender):
        await sender.send(USER.get())

    async def handler(request):
        USER.set(request.path[1:])
        if kind == "stream":
            return rr.StreamResponse(produce)
        if kind == "event stream":
            return rr.EventStream(request, source)
        put, get = trio.open_memory_channel(1)
        put.send_nowait(b"go")
        return rr.LoopResponse(get, on_message)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET.replace(b"/ ", b"/ada ", 1) + GET.replace(b"/ ", b"/bob ", 1))
        assert peer.heard.count(b"ada") == peer.heard.count(b"bob") == 1


async def test_tasks_and_threads_that_a_handler_starts_inherit_it(autojump_clock, nursery):
    seen = []

    async def child(name):
        seen.append((name, USER.get(), current_request.get()))
        USER.set("a child's")

    async def handler(request):
        USER.set("ada")
        async with trio.open_nursery() as inner:
            inner.start_soon(child, "in a nursery")
        nursery.start_soon(child, "left behind")
        await trio.lowlevel.checkpoint()
        seen.append(("in a thread", await trio.to_thread.run_sync(USER.get), current_request.get()))
        return rr.Response(USER.get())

    async with open_house(handler, log_context=True) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.until(b"ada") == answer(b"ada"), "and what they set is theirs"
    assert [name for name, _, _ in seen] == ["in a nursery", "left behind", "in a thread"]
    assert {user for _, user, _ in seen} == {"ada"}
    assert len({id(request) for _, _, request in seen}) == 1


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_the_variables_of_whoever_serves_are_seen_as_they_were_when_that_began(kind, autojump_clock):
    async def handler(request):
        seen = AMBIENT.get()
        AMBIENT.set("of a request")
        return rr.Response(seen)

    AMBIENT.set("of the server")
    async with open_house(handler, tcp=True) as house:
        AMBIENT.set("too late")
        for _ in range(2):
            peer = house.meet(kind)
            await peer.say(GET + GET)
            assert peer.take() == answer(b"of the server") * 2
        assert AMBIENT.get() == "too late"


async def test_who_serves_one_connection_gives_it_a_copy_and_keeps_his_own(autojump_clock):
    seen = []

    async def handler(request):
        seen.append((AMBIENT.get(), USER.get(), current_request.get() is request))
        AMBIENT.set("of a request")
        USER.set("somebody")
        return rr.Response("hi")

    ours, theirs = memory_stream_pair()
    AMBIENT.set("of the caller")
    mine = current_request.set(None)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def peer():
            await ours.send_all(GET + GET)
            await ours.send_eof()

        await rr.serve_connection(theirs, handler, log_context=True)
        assert (AMBIENT.get(), USER.get(), current_request.get()) == ("of the caller", "nobody", None)
    current_request.reset(mine)
    assert seen == [("of the caller", "nobody", True)] * 2


async def test_neighbours_that_wait_at_the_same_time_do_not_see_each_other(autojump_clock):
    async def handler(request):
        USER.set(request.path)
        await trio.sleep(1)
        return rr.Response(USER.get())

    async with open_house(handler, tcp=True) as house:
        peers = [house.meet(kind) for kind in ("memory", "tcp") * 3]
        for number, peer in enumerate(peers):
            await peer.say(GET.replace(b"/ ", b"/%d " % number, 1))
        for number, peer in enumerate(peers):
            assert await peer.until(b"/%d" % number) == answer(b"/%d" % number)
