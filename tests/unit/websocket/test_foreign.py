"""What foreign code may raise or do, wherever it runs in a session: it is the end of that session, and of no other."""

from __future__ import annotations

import logging
import sys

import pytest
import trio
from story_tools import Peer, loud, open_house
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from websocket_tools import KINDS, PING, TEXT, Diary, closed, closing, echo, frame, handshake, said, sessions

import roadrunner_trio as rr
from roadrunner_trio import websocket
from roadrunner_trio.websocket.core import Session
from roadrunner_trio.websocket.told import Told, passes


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


async def stolen() -> trio.Cancelled:
    """A cancellation that was another's, kept as a cache would that shares one computation among its askers."""
    kept = []
    with trio.CancelScope() as scope:
        scope.cancel(reason="the first asker has left")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            kept.append(exc)
            raise
    return kept.pop()


async def cancelled():
    raise await stolen()


async def group():
    raise BaseExceptionGroup("several", [await stolen(), ValueError("a mistake")])


async def group_with_the_end():
    raise BaseExceptionGroup("several", [await stolen(), rr.ConnectionClosed(None)])


async def generator_exit():
    raise GeneratorExit


async def system_exit():
    raise SystemExit(3)


FOREIGN = [cancelled, group, group_with_the_end, generator_exit, system_exit]


async def serves(house, kind) -> None:
    """A neighbour is served."""
    peer = house.meet(kind)
    await peer.say(handshake(target=b"/echo") + frame(TEXT, "hello"))
    await peer.until(said(TEXT, "hello"))
    await peer.say(closing(1000))


@pytest.mark.parametrize("raises", FOREIGN)
@pytest.mark.parametrize("accepts", [True, False])
async def test_what_a_handler_raises_is_an_error_of_the_handler(raises, accepts, kind, autojump_clock, caplog):
    async def handler(request):
        if request.path == "/echo":
            return await echo(request)
        if accepts:
            await request.accept()
        return await raises()

    async with open_house(websocket(handler), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(handshake())
        if accepts:
            await wait_all_tasks_blocked()
            assert peer.take().endswith(closed(1011)), "its peer is told whose fault it was"
            await peer.say(closing(1011))
        await peer.close()
        if not accepts:
            assert peer.take().startswith(b"HTTP/1.1 500 ")
        await serves(house, kind)
        await house.empty()
    assert len(loud(caplog)) == 1
    assert loud(caplog)[0].startswith("the handler of <Request ")
    [event] = [event for name, event in house.watch.events if name == "exception"]
    assert event.outcome == "error"


@pytest.mark.parametrize("way", ["drain", "the handler's time", "the session is over"])
async def test_a_cancellation_that_is_the_tasks_own_is_none(way, kind, autojump_clock, caplog):
    async def handler(request):
        await request.accept()
        await trio.sleep_forever()

    timeouts = rr.Timeouts(handler=5) if way == "the handler's time" else rr.Timeouts()
    async with sessions(handler, kind, close_on_drain=False, close_timeout=2, timeouts=timeouts) as (house, meet):
        peer = await meet()
        if way == "drain":
            assert await house.listener.drain(1) == rr.Drained(finished=0, cut=1, stuck=0)
        elif way == "the session is over":
            await peer.close()
            assert await house.empty() == 2
        else:
            await trio.sleep(10)
            await peer.close()
            await house.empty()
    assert loud(caplog) == []


async def test_the_operators_interrupt_passes():
    assert passes(KeyboardInterrupt())
    assert passes(BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()]))
    assert not passes(await stolen())
    assert not passes(SystemExit())
    assert not passes(ExceptionGroup("", [ValueError()]))
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            own = passes(exc)
            raise
    assert own


def test_without_trio_a_coroutine_that_is_thrown_away_is_let_go():
    assert passes(GeneratorExit())


# -- streams -------------------------------------------------------------------------------------------


class Odd(trio.abc.HalfCloseableStream):
    """A stream of the application's own that raises what no stream should, when it is told to."""

    def __init__(self, stream, where):
        self.stream = stream
        self.where = where
        self.armed = trio.Event()
        self.raises = None

    async def _maybe(self, where):
        if where == self.where and self.armed.is_set():
            await self.raises()

    async def send_all(self, data):
        await self._maybe("send")
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self):
        await self.stream.send_eof()

    async def receive_some(self, max_bytes=None):
        data = await self.stream.receive_some(max_bytes)
        await self._maybe("receive")
        return data

    async def aclose(self):
        await self.stream.aclose()


async def mistake():
    raise ValueError("a mistake")


@pytest.mark.parametrize("raises", [mistake, *FOREIGN])
@pytest.mark.parametrize("where", ["receive", "send"])
async def test_what_a_stream_raises_is_the_end_of_one_session(raises, where, autojump_clock, caplog):
    """The reader, and the writer of control frames, are tasks of the session: nothing of it is silent, or spreads."""
    ends = []

    async def handler(request):
        if request.path == "/echo":
            await echo(request)
        session = await request.accept()
        with pytest.raises(rr.ConnectionClosed) as caught:
            await session.get_message()
        ends.append((caught.value.reason.code, caught.value.reason.reason))

    async with open_house(websocket(handler), tcp=True) as house:
        ours, theirs = memory_stream_pair()
        odd = Odd(theirs, where)
        odd.raises = raises
        peer = house.connect(Peer(ours, theirs), odd)
        await peer.say(handshake())
        odd.armed.set()
        await peer.say(frame(PING))
        await house.empty()
        await serves(house, "tcp")
    assert len(ends) == 1
    assert ends[0] in {(1006, "an internal error"), (1006, "a write was not finished")}
    assert loud(caplog) == ["a WebSocket session failed"]


# -- logging -------------------------------------------------------------------------------------------


class Raising(logging.Filter):
    def filter(self, record):
        raise RuntimeError("a filter that fails")


@pytest.fixture
def raising_filter():
    """A filter of the application's that raises, on every logger that a session speaks to."""
    loggers = [logging.getLogger("roadrunner_trio"), logging.getLogger("roadrunner_trio.error")]
    each, filter_ = [logger.level for logger in loggers], Raising()
    for logger in loggers:
        logger.addFilter(filter_)
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(loggers, each, strict=True):
        logger.removeFilter(filter_)
        logger.setLevel(level)


@pytest.mark.parametrize("where", ["a timer", "a turn", "an edge"])
async def test_case_43_a_filter_that_raises_ends_nothing(where, kind, autojump_clock, raising_filter, monkeypatch):
    """Where a session fails, and that is to be logged, in steps that are not its own task's."""
    diary = Diary()

    def fail(*_):
        raise ValueError("a mistake of ours")

    async def handler(request):
        await (echo if request.path == "/echo" else diary)(request)

    async with open_house(websocket(handler, ping_interval=5), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(handshake())
        session = diary.session._session
        if where == "a timer":
            monkeypatch.setattr(session._keepalive.__class__, "ping", fail)
            await trio.sleep(6)
        elif where == "a turn":
            session._resting = True
            monkeypatch.setattr(Session, "_go_on", fail)
            session._turns.later(session._resume)
        else:
            monkeypatch.setattr(sys.modules[Session.__module__], "plain", fail)
            await peer.say(frame(TEXT, "a"))
        await wait_all_tasks_blocked()
        monkeypatch.undo()
        assert diary.session.closed.code == 1006
        await serves(house, kind)
        await diary.leave()


async def test_case_43_what_is_told_of_peers_too(kind, autojump_clock, raising_filter):
    async with open_house(websocket(echo, origins=["self"]), tcp=True) as house:
        for _ in range(3):
            peer = house.meet(kind)
            await peer.say(handshake(b"Origin: https://evil.example"))
            assert peer.take().startswith(b"HTTP/1.1 403 ")


async def test_telling_raises_nothing(raising_filter):
    Told().tell("a kind", "nothing of %s", "this")
