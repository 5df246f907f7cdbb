"""What a session that waits for its next message holds, and what the upgrade has made useless: there are thousands."""

from __future__ import annotations

import gc

import pytest
import trio
from story_tools import open_house
from trio.testing import wait_all_tasks_blocked
from websocket_tools import (
    BINARY,
    CONT,
    PING,
    PONG,
    TEXT,
    Diary,
    closing,
    echo,
    frame,
    handshake,
    said,
    sessions,
    switched,
)

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.messages.exchange import Lasting, Plan
from roadrunner_trio.protocol.http1.engine import SPENT
from roadrunner_trio.server.http1_exchange import NO_SHARE, UNMEASURED
from roadrunner_trio.server.http1_sender import NO_HEAD
from roadrunner_trio.server.listener import insides
from roadrunner_trio.websocket.inbox import NOTHING
from roadrunner_trio.websocket.keepalive import NO_PINGS

pytestmark = pytest.mark.filterwarnings("error")


def of(house):
    """The only connection."""
    (conn,), _ = insides(house.listener)
    return conn


def frames(conn):
    """Names of the coroutines under which its task waits, outermost first."""
    found, coro = [], conn.task.coro
    while coro is not None:
        found.append(coro.__name__)
        coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
    return found


async def loops(request):
    async for message in await request.accept():
        del message


@pytest.mark.parametrize(("handler", "waits"), [(echo, "get_message"), (loops, "__anext__")])
async def test_few_frames_are_under_a_handler_that_waits(handler, waits, autojump_clock):
    async with sessions(handler, "tcp") as (house, meet):
        peer = await meet()
        expected = ["serve_connection", "live", "dispatch", handler.__name__, waits, "wait_task_rescheduled"]
        assert frames(of(house))[:-1] == expected, "and what Trio has under that"
        await peer.say(frame(TEXT, "a"))
        assert frames(of(house))[:-1] == expected, "the next wait is as the first"


async def test_what_reads_requests_is_gone(autojump_clock):
    async with sessions(echo, "tcp") as (house, meet):
        await meet()
        exchange = of(house).exchange
        held = (exchange.engine, exchange.meter, exchange.head, exchange.share)
        assert all(mine is shared for mine, shared in zip(held, (SPENT, UNMEASURED, NO_HEAD, NO_SHARE), strict=True))
        assert exchange.received == 0


async def test_a_request_is_read_again_for_whoever_asks(autojump_clock):
    requests = []

    async def handler(request):
        requests.append((request.request, request.request.head))
        await echo(request)

    async with sessions(handler, "tcp") as (house, meet):
        await meet(b"Cookie: a=b", b"Sec-WebSocket-Protocol: x, y")
        ((request, head),) = requests
        assert "head" not in vars(request)
        assert house.listener.connections()[0].doing == "GET /"
        assert "head" not in vars(request), "a list of connections reads none of them"
        assert request.head == head
        assert request.head is request.head
        assert request.cookies["a"] == "b"


async def test_the_host_that_a_proxy_tells_of_stays(autojump_clock):
    found = []

    async def handler(request):
        session = await request.accept()
        found.append(("head" in vars(request.request), request.request.host, request.request.header("host")))
        await session.get_message()

    proxies = rr.ProxyHeaders("127.0.0.1", ["x-forwarded-host"])
    async with open_house(rr.websocket(handler), tcp=True, proxy_headers=proxies) as house:
        peer = house.meet("tcp")
        await peer.say(handshake(b"X-Forwarded-Host: example.org"))
        assert found == [(False, "example.org", "h")]


async def test_a_head_that_h11_has_read_is_kept(autojump_clock):
    found = []

    async def handler(request):
        session = await request.accept()
        found.append(("head" in vars(request.request), request.request.header("x-blank")))
        await session.get_message()

    async with sessions(handler, "tcp") as (_, meet):
        await meet(b"X-Blank: a ")  # no plain head: blanks stand behind a value
        assert found == [(True, "a")]


async def test_subprotocols_that_were_proposed_are_told_later_too(autojump_clock):
    found = []

    async def handler(request):
        session = await request.accept(subprotocol="y")
        found.append((request.proposed_subprotocols, request.request.method))
        await session.get_message()

    async with sessions(handler, "tcp") as (_, meet):
        await meet(b"Sec-WebSocket-Protocol: x, y")
        await wait_all_tasks_blocked()
        assert found == [(("x", "y"), "GET")]


FRAGMENTS = frame(TEXT, "a", fin=False) + frame(CONT, "b")


@pytest.mark.parametrize(
    "octets", [frame(TEXT, "ab"), frame(PING, "a"), frame(PONG), FRAGMENTS, frame(TEXT, "a") + frame(BINARY, b"b")]
)
async def test_nothing_is_left_of_what_has_come(octets, autojump_clock):
    async with sessions(loops, "tcp") as (_, meet):
        peer = await meet()
        session = next(each for each in gc.get_objects() if type(each).__name__ == "Session" and not each.over)
        for part in (octets, octets[:3], octets[3:]):
            await peer.say(part)
        assert session._decoder is None
        assert (session.inbox.items, session.inbox.octets, session.inbox.others) == (NOTHING, 0, None)
        assert session.link.owed == ()
        assert session.pings is NO_PINGS


async def test_a_message_under_way_has_its_decoder_and_one_with_compression_keeps_it(autojump_clock):
    diary = Diary()
    async with sessions(diary, "tcp", compression=True) as (_, meet):
        peer = await meet()
        assert diary.session._session._decoder is None
        await peer.say(frame(TEXT, "a", fin=False))
        assert diary.session._session.decoder.held == 1
        await peer.say(frame(CONT, "b"))
        assert await diary.session.get_message() == "ab"
        assert diary.session._session._decoder is None
        await meet(b"Sec-WebSocket-Extensions: permessage-deflate")
        assert diary.session._session._decoder is not None
        await diary.leave()


async def test_one_entry_of_the_clock_and_one_row_of_the_drain_are_for_both(autojump_clock):
    diary = Diary()
    async with sessions(diary, "tcp", ping_interval=7) as (house, meet):
        peer = await meet()
        conn, session = of(house), diary.session._session
        assert [each for each in conn.context.clock._filed if each in (conn.phase, session)] == [session]
        assert (conn.drain.members[conn], conn.drain.watchers) == (session, {})
        await trio.sleep(8)
        assert peer.take() == said(PING), "the time of a connection that has ended is not that of its session"
        await diary.leave()
        assert house.phases() == ["handed off"]
        await peer.say(closing(1000))


async def test_without_pings_there_is_nothing_on_the_clock(autojump_clock):
    diary = Diary()
    async with sessions(diary, "tcp", ping_interval=None) as (house, meet):
        peer = await meet()
        await trio.sleep(200)
        conn, session = of(house), diary.session._session
        assert [each for each in conn.context.clock._filed if each in (conn.phase, session)] == []
        await diary.leave()
        await peer.say(closing(1000))


async def test_tasks_that_wait_are_served_in_order_whoever_gives_up(autojump_clock, nursery):
    diary, got, scopes = Diary(), [], [trio.CancelScope() for _ in range(5)]

    async def take(number):
        with scopes[number]:
            got.append((number, await diary.session.get_message()))

    async with sessions(diary, "tcp") as (_, meet):
        peer = await meet()
        for number in range(5):
            nursery.start_soon(take, number)
            await wait_all_tasks_blocked()
        scopes[0].cancel()
        scopes[2].cancel()
        await wait_all_tasks_blocked()
        for text in "abc":
            await peer.say(frame(TEXT, text))
        assert got == [(1, "a"), (3, "b"), (4, "c")]
        await peer.say(frame(TEXT, "d"))
        assert await diary.session.get_message() == "d"
        await diary.leave()


async def test_an_item_that_is_on_its_way_is_not_another_tasks(autojump_clock):
    """Who begins to wait between the hand-over and the step of the task that it was for."""
    diary = Diary()
    async with sessions(diary, "tcp") as (_, meet):
        peer = await meet()
        inbox, got = diary.session._session.inbox, []

        async def take():
            got.append(await diary.session.get_message())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            assert inbox.put("a")
            assert (inbox.task, inbox.handed) == (None, "a")
            other = inbox.queue_up()  # as another task would
            assert other is not inbox
            assert other(None) is trio.lowlevel.Abort.SUCCEEDED
        assert got == ["a"]
        assert (inbox.handed, inbox.others) == (None, [])
        await peer.say(closing(1000))
        await diary.leave()


class Around:
    """An application of somebody's, around another."""

    def __init__(self, app):
        self.app = app
        self.log = []

    def plan(self, request):
        return self.app.plan(request)

    async def __call__(self, exchange):
        try:
            assert await self.app(exchange) is None
        finally:
            self.log.append("over")


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_an_application_around_a_websocket_is_there_to_its_end(kind, autojump_clock):
    around = Around(Router([Route("/", rr.websocket(echo))]).for_listener(Plan(max_body=100), ()))
    async with open_house(around, tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(handshake() + frame(TEXT, "a"))
        assert peer.take() == switched() + said(TEXT, "a")
        assert around.log == []
        await peer.say(closing(1000))
        await house.empty()
        assert around.log == ["over"]


async def test_one_that_derives_from_ours_is_called(autojump_clock):
    called = []

    class Mine(type(Router([]).for_listener(Plan(max_body=100), ()))):
        __slots__ = ()

        async def __call__(self, exchange):
            called.append(exchange.request.path)
            await super().__call__(exchange)

    app = Router([Route("/", rr.websocket(echo))]).for_listener(Plan(max_body=100), ())
    app.__class__ = Mine
    async with open_house(app) as house:
        peer = house.peer()
        await peer.say(handshake() + frame(TEXT, "a"))
        assert peer.take() == switched() + said(TEXT, "a")
        assert called == ["/"]


async def test_what_lasts_has_a_body():
    with pytest.raises(NotImplementedError):
        Lasting().body()
