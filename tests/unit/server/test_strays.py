"""Tasks that outlive their handler and go on with its request or response: an exchange ends once, for everybody.

They are left in a nursery that is not the handler's, which is how an application would leave them: by mistake.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from story_tools import GET, answer, last_word, loud, open_house, post
from tls_tools import contexts_of_a_new_authority, tls_peer
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
KINDS = ["memory", "wire", "tcp", "tls over memory", "tls over tcp"]
OVER = "this request's exchange is over"


@pytest.fixture(scope="module")
def contexts():
    return contexts_of_a_new_authority()


class Strays:
    """A nursery for tasks that are left behind, and what becomes of them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.ends: list[str] = []
        """What each of them has met, in words."""
        self.served: list[tuple[str, bytes]] = []
        """The paths and bodies that handlers have seen."""

    def leave(self, act: Any, *args: Any, shielded: bool = False) -> None:
        """Leaves a task behind."""
        self.nursery.start_soon(self._go_on, act, args, shielded)

    async def _go_on(self, act: Any, args: Any, shielded: bool) -> None:
        with trio.CancelScope(shield=shielded):
            try:
                await act(*args)
                self.ends.append("returned")
            except Exception as exc:
                self.ends.append(str(exc))


@pytest.fixture
async def strays(nursery):
    return Strays(nursery)


async def reads_on(request):
    async for _ in request.stream():
        pass


async def reads_pieces(request):
    while await request.next_piece():
        pass


async def watches(request):
    await request.disconnected()


LEFT = {"reader": [reads_on], "watcher": [watches], "two readers": [reads_on, reads_pieces]}
LEFT |= {"reader and watcher": [reads_on, watches], "watcher and reader": [watches, reads_on]}


def leaving(strays, left, *, shielded=False):
    """A handler that answers ``/stray`` by the first piece, with others at work on the request."""

    async def handler(request):
        if request.path == "/stray":
            for act in left:
                strays.leave(act, request, shielded=shielded)
            await trio.sleep(0.1)  # they wait for the peer, who sends nothing yet
            strays.served.append((request.path, b""))
            return rr.Response("answered")
        strays.served.append((request.path, await request.read()))
        return rr.Response("hi")

    return handler


async def meet(house, kind, contexts):
    return await tls_peer(house, contexts[1], kind[9:]) if kind.startswith("tls") else house.meet(kind)


def house_for(handler, kind, contexts, **settings):
    tls = contexts[0] if kind.startswith("tls") else None
    return open_house(handler, tcp=True, tls=tls, **{"body": "streaming", **settings})


FIRST = b"POST /stray HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"
SECOND = b"POST /victim HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED
ARRIVALS = {
    "at once": [b"1234567890" + SECOND],
    "body, then head": [b"1234567890", SECOND],
    "the end of the body with the head": [b"12345", b"67890" + SECOND],
    "head, then body": [b"1234567890" + SECOND[:-20], SECOND[-20:]],
    "in crumbs": [bytes([octet]) for octet in b"1234567890" + SECOND],
}


@pytest.mark.parametrize("shielded", [False, True], ids=["", "shielded"])
@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("kind", KINDS)
async def test_case_34_whoever_reads_on_takes_nothing_of_the_next_request(
    kind, left, arrival, shielded, strays, contexts, autojump_clock, caplog
):
    handler = leaving(strays, LEFT[left], shielded=shielded)
    async with house_for(handler, kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(FIRST)
        assert await peer.until(b"answered") == answer(b"answered")
        for piece in ARRIVALS[arrival]:
            await peer.say(piece)
        await peer.until(b"hi")
        await peer.say(GET)
        assert peer.take() == answer(b"hi"), "and the connection goes on"
        await wait_all_tasks_blocked()
        assert strays.served == [("/stray", b""), ("/victim", SMUGGLED), ("/", b"")]
        assert strays.ends == [OVER] * len(LEFT[left])
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_case_34_who_reads_a_body_to_its_end_in_time_is_no_stray(kind, strays, contexts, autojump_clock):
    async def handler(request):
        if request.path == "/stray":
            strays.leave(reads_on, request)
            await trio.sleep(1)
            return rr.Response("answered")
        return rr.Response(await request.read())

    async with house_for(handler, kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(FIRST + b"1234567890" + SECOND)
        await peer.until(SMUGGLED)
        assert strays.ends == ["returned"]


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("kind", KINDS)
async def test_case_34_a_connection_that_ends_dismisses_them_too(kind, left, strays, contexts, autojump_clock, caplog):
    async with house_for(leaving(strays, LEFT[left]), kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(FIRST.replace(b"Host", b"Connection: close\r\nHost"))
        assert await peer.end() == answer(b"answered", b"connection: close")
        await house.empty()
        await wait_all_tasks_blocked()
        assert len(strays.ends) == len(LEFT[left])
        assert "returned" not in strays.ends
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_case_34_a_drain_does_not_wait_for_them(kind, strays, contexts, autojump_clock):
    async with house_for(leaving(strays, [watches, reads_on], shielded=True), kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(FIRST + b"1234567890")
        assert await house.listener.drain(10) == rr.Drained(finished=1, cut=0, stuck=0)
        assert trio.current_time() == pytest.approx(2.1), "when the handler is done, and the peer has had its linger"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stray_that_waits_for_the_peer_to_leave_is_dismissed_before_the_next_request(
    kind, strays, contexts, autojump_clock
):
    """Of a request without a body, whose connection is idle at once."""
    async with house_for(leaving(strays, [watches, watches]), kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        for _ in range(2):
            await peer.say(GET.replace(b"/ ", b"/stray ", 1))
            assert await peer.until(b"answered") == answer(b"answered")
        assert house.phases() == ["idle"]
        assert strays.ends == [OVER] * 4


@pytest.mark.parametrize("kind", KINDS)
async def test_who_comes_later_is_told_so_at_once(kind, strays, contexts, autojump_clock):
    kept = []

    async def handler(request):
        kept.append(request)
        return rr.Response("hi")

    async with house_for(handler, kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(post(b"Content-Length: 2", body=b"ab"))
        for act in (reads_on, reads_pieces, watches):
            strays.leave(act, kept[0])
        await wait_all_tasks_blocked()
        assert strays.ends == [OVER] * 3
        await peer.say(post(b"Content-Length: 3", body=b"abc"))
        assert peer.take() == answer(b"hi") * 2


# Who writes


async def sends_on(send):
    for _ in range(1000):
        await trio.sleep(0.1)
        await send(b"STRAY")


def a_stream(strays):
    async def produce(send):
        await send(b"tick")
        strays.leave(sends_on, send)

    return rr.StreamResponse(produce)


def a_loop(strays):
    async def on_message(message, send):
        await send(b"tick")
        strays.leave(sends_on, send)
        return rr.STOP

    put, get = trio.open_memory_channel(1)
    put.send_nowait(b"go")
    return rr.LoopResponse(get, on_message)


def an_event_stream(strays):
    async def source(sender):
        await sender.send("tick")
        strays.leave(sends_on, lambda octets: sender.send(octets.decode()))

    return source


MAKE = {"stream": a_stream, "loop": a_loop}


@pytest.mark.parametrize("make", [*MAKE, "event stream"])
@pytest.mark.parametrize("kind", KINDS)
async def test_case_34_whoever_writes_on_writes_nothing_into_the_next_response(
    kind, make, strays, contexts, autojump_clock, caplog
):
    async def handler(request):
        if request.path == "/stray":
            return MAKE[make](strays) if make in MAKE else rr.EventStream(request, an_event_stream(strays))
        await trio.sleep(1)
        return rr.StreamResponse(lambda send: send(b"hi"))

    async with house_for(handler, kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(GET.replace(b"/ ", b"/stray ", 1) + GET)
        await peer.until(b"2\r\nhi\r\n0\r\n\r\n")
        await trio.sleep(5)
        assert strays.ends == ["this response is over"]
        assert b"STRAY" not in peer.heard
        assert peer.heard.count(b"HTTP/1.1 200 OK") == 2
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_piece_that_is_on_its_way_when_the_response_ends_is_not_sent(kind, strays, contexts, autojump_clock):
    """It has passed the guard, and waits for its turn: a piece of 64 KiB is a checkpoint."""

    async def produce(send):
        await send(b"tick")
        strays.leave(send, b"STRAY" * 20_000)

    async def handler(request):
        if request.path == "/stray":
            return rr.StreamResponse(produce)
        return rr.StreamResponse(lambda send: send(b"hi"))

    async with house_for(handler, kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        for _ in range(20):
            peer.heard = b""
            await peer.say(GET.replace(b"/ ", b"/stray ", 1) + GET)
            heard = peer.heard
            assert heard.count(b"STRAY") in (0, 20_000)
            assert heard.endswith(b"2\r\nhi\r\n0\r\n\r\n")
            assert b"STRAY" not in heard[heard.rfind(b"HTTP/1.1 200 OK") :]


async def test_a_stray_writer_that_waits_for_a_slow_peer_ends_the_connection_and_no_other(
    strays, autojump_clock, caplog
):
    async def produce(send):
        strays.leave(send, b"x" * 100_000)
        await wait_all_tasks_blocked()

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer, stream = house.slow_peer(50_000)
        await peer.say(GET)
        assert not peer.heard.endswith(b"0\r\n\r\n")
        stream.grant(10**9)
        await house.empty()
    assert "another task is sending this response" in caplog.text
    assert house.watch.only("exception").outcome == "error"


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_a_stray_reader_that_owes_a_100_continue(kind, strays, contexts, autojump_clock, caplog):
    """The handler has answered before it was sent: the body does not come, and the connection ends."""
    async with house_for(leaving(strays, [reads_on]), kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(FIRST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        heard = await peer.until(b"answered")
        assert heard == b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"answered")
        await peer.say(b"1234567890" + SECOND)
        assert peer.take() == answer(b"hi")
        assert strays.served == [("/stray", b""), ("/victim", SMUGGLED)]
        assert strays.ends == [OVER]


@pytest.mark.parametrize("steps", range(4))
async def test_a_stray_that_is_about_to_ask_for_the_body_when_its_handler_answers(
    steps, strays, autojump_clock, caplog
):
    """On a stream that makes whoever sends wait, the two may meet: an error, and a close if nothing can be said."""

    async def handler(request):
        if request.path == "/stray":
            strays.leave(reads_on, request)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
        return rr.Response("hi")

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(FIRST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        await wait_all_tasks_blocked()
        heard = peer.take()
        final = heard.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        closed = answer(b"hi", b"connection: close")
        assert final in (answer(b"hi"), closed, b"")
        assert (final == b"") == ("another task is sending this response" in caplog.text)
        await house.empty()
        assert house.listener.status == "accepting"


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_a_stray_that_wakes_in_the_very_step_in_which_its_handler_ends(kind, strays, contexts, autojump_clock):
    """Body, end of the handler and next request in one tick: whose turn comes first is nobody's promise."""
    for _ in range(30):
        proceed = trio.Event()

        async def handler(request, proceed=proceed):
            if request.path == "/stray":
                strays.leave(reads_on, request)
                await proceed.wait()
                return rr.Response("answered")
            strays.served.append((request.path, await request.read()))
            return rr.Response("hi")

        strays.served.clear()
        async with house_for(handler, kind, contexts) as house:
            peer = await meet(house, kind, contexts)
            await peer.say(FIRST)
            peer.slip(b"1234567890" + SECOND)
            proceed.set()
            await wait_all_tasks_blocked()
            assert peer.take() == answer(b"answered") + answer(b"hi")
            assert strays.served == [("/victim", SMUGGLED)]


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_a_stray_whose_peer_is_too_slow_for_the_rest_of_the_body(kind, strays, contexts, autojump_clock):
    async with house_for(leaving(strays, [reads_on]), kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(FIRST)
        assert await peer.end() == answer(b"answered"), "the rest does not come within linger"
        assert peer.ended_at == 2.1
        assert strays.ends == [OVER]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stray_that_waits_for_the_peer_to_leave_takes_nothing_of_a_hand_off(
    kind, strays, contexts, autojump_clock, caplog
):
    async def run(request, stream):
        assert await stream.receive_some() == b"early"
        assert await stream.receive_some() == b"late"
        await stream.send_all(b"both")

    async def handler(request):
        strays.leave(watches, request)
        await trio.sleep(0.1)
        return rr.Handoff(run, status=101)

    async with house_for(handler, kind, contexts) as house:
        peer = await meet(house, kind, contexts)
        await peer.say(GET + b"early")
        await trio.sleep(1)
        await peer.say(b"late")
        assert (await peer.end()).endswith(b"both")
        await house.empty()
        await wait_all_tasks_blocked()
        assert strays.ends in ([OVER], ["returned"] if kind == "tcp" else [])
    assert loud(caplog) == []


async def test_after_the_handlers_limit_they_are_dismissed_too(strays, contexts, autojump_clock):
    async def handler(request):
        strays.leave(reads_on, request, shielded=True)
        await trio.sleep_forever()

    async with house_for(handler, "tcp", contexts, timeouts=rr.Timeouts(handler=3)) as house:
        peer = house.tcp_peer()
        await peer.say(FIRST)
        assert await peer.end() == last_word(b"503 Service Unavailable")
        await house.empty()
        await wait_all_tasks_blocked()
        assert len(strays.ends) == 1
