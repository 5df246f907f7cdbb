"""A machine that plays peers of a server, step by step, and looks at everything after each step.

Peers say parts of requests, stall, stop reading, half-close, close and reset; the server drains, and stands still for
a while; handlers leave tasks behind that go on with their requests, and raise cancellations that were not theirs. A
second reader says which requests each peer has made so far. After every step: nobody is past a deadline, no slot is
held twice, what was heard is a sequence of answers to those requests in their order, and nothing is an error but a
cancellation that was not the handler's. In the end all have gone in time, every start has its end, and no slot, task or
descriptor is left.

The machine's steps are synchronous, so the server lives in a thread of its own, on a virtual clock that stands still
between two steps.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from script_tools import LIMITS, TIMEOUTS, errors_logged, responses
from siege_tools import Toll, holdings
from story_tools import House, Peer, SlowStream, open_house
from stray_tools import foreign
from strict_reader import Reading, read
from trio.testing import MockClock, wait_all_tasks_blocked

import roadrunner_trio as rr

MANY = 20 if os.environ.get("ROADRUNNER_HARDENING") == "long" else 1
T = TypeVar("T")
PEERS = 6
BIG = bytes(100_000)
"""More than one write, for peers that do not read."""
SLACK = 1e-6
"""The virtual clock adds what it jumps."""


class Handler:
    """Answers in many ways, and says the target in a field.

    Attributes:
        behind: where tasks are left that outlive their handler.
        foreign: a cancellation that was not this task's.
    """

    behind: trio.Nursery
    foreign: BaseException

    async def __call__(self, request: rr.Request) -> rr.AnyResponse:
        fields = {"target": request.target.decode()}
        match request.path.rpartition("/")[2]:
            case "slow":
                await trio.sleep(1.5)
            case "read":
                await request.read()
            case "big":
                return rr.Response(BIG, fields=fields)
            case "raise":
                raise rr.HTTPError(418, fields=fields)
            case "stream":
                return rr.StreamResponse(_ticking, fields=fields)
            case other:
                await self.err(other, request)
        return rr.Response(request.method, fields=fields)

    async def err(self, how: str, request: rr.Request) -> None:
        """What no handler should do."""
        if how == "late":
            for act in (_reads_on, rr.Request.disconnected):
                self.behind.start_soon(_go_on, act, request)
            await trio.sleep(0.25)
        elif how == "foreign":
            raise self.foreign


async def _reads_on(request: rr.Request) -> None:
    async for _ in request.stream():
        pass


async def _go_on(act: Callable[[rr.Request], Awaitable[None]], request: rr.Request) -> None:
    with trio.CancelScope(shield=True):  # it is there until its request's exchange is over, and no longer
        try:
            await act(request)
        except (RuntimeError, rr.PeerGone, rr.BodyTimeout, rr.ProtocolError):
            return


async def _ticking(send: rr.Send) -> None:
    for _ in range(2):
        await send(b"tick")
        await trio.sleep(0.5)


def _requests() -> list[bytes]:
    paths = ["now", "slow", "read", "big", "raise", "stream", "late", "foreign"]
    gets = [f"GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n" for path in paths]
    posts = [f"POST /{path} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" for path in paths]
    more = [
        "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /stream HTTP/1.0\r\n\r\n",
        "POST /read HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n",
        "NO\x00NSENSE\r\n\r\n",
    ]
    return [text.encode() for text in [*gets, *posts, *more]]


TOLL = Toll()


@pytest.fixture(scope="module", autouse=True)
def counted(tolls) -> Iterator[None]:
    """Whatever a machine finds fails its test; here its steps are counted."""
    yield
    tolls.take("machine, what peers said", TOLL)


def _spoken(requests: list[bytes], cut: int) -> bytes:
    words = b"".join(requests)
    return words[:-cut] if cut else words


speech = st.builds(
    _spoken,
    st.lists(st.sampled_from(_requests()), max_size=3),
    st.sampled_from([0, 0, 0, 0, 1, 3, 20, 40]),
)


kinds = st.sampled_from(["memory", "wire", "tcp", "slow"])


class Actor:
    """A peer, and what it has said so far."""

    def __init__(self, peer: Peer, slow: SlowStream | None = None) -> None:
        self.peer = peer
        self.slow = slow
        self.said = b""
        self.gone = False
        """It can say nothing more: it has finished, closed, or been reset."""

    @property
    def mute(self) -> bool:
        """Whether there is no use in its saying more."""
        return self.gone or self.peer.ended_at is not None

    def reading(self) -> Reading:
        """What it has asked for."""
        return read(self.said)


class Stage(threading.Thread):
    """A server on a virtual clock, in a thread, and a way to have something done there."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.clock = MockClock()
        self.config = config
        self.opened = threading.Event()
        self.error: BaseException | None = None
        self.house: House
        self.start()
        assert self.opened.wait(30)

    def run(self) -> None:
        try:
            trio.run(self.play, clock=self.clock)
        except BaseException as error:
            self.error = error
        finally:
            self.opened.set()

    async def play(self) -> None:
        self.over = trio.Event()
        self.token = trio.lowlevel.current_trio_token()
        handler = Handler()
        handler.foreign = await foreign("cancellation")
        with errors_logged() as self.logged:
            async with (
                trio.open_nursery() as handler.behind,
                open_house(handler, tcp=True, **self.config) as self.house,
            ):
                await wait_all_tasks_blocked()
                self.before = holdings()
                self.opened.set()
                await self.over.wait()

    def do(self, act: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Has ``act`` done, and everything that follows from it at once."""

        async def step() -> T:
            result = await act(*args)
            await wait_all_tasks_blocked()
            return result

        return trio.from_thread.run(step, trio_token=self.token)

    def finish(self) -> None:
        """Ends the play."""
        if self.is_alive():
            trio.from_thread.run_sync(self.over.set, trio_token=self.token)
        self.join(30)
        if self.error is not None:
            raise self.error


class ConnectionMachine(RuleBasedStateMachine):
    """See the module's docstring."""

    actors = Bundle("actors")

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(timeouts=TIMEOUTS, limits=LIMITS, body=self.mode)
        self.troupe: list[Actor] = []
        self.draining = False
        self.stood_still = 0.0

    mode = "buffered"

    @property
    def house(self) -> House:
        """The server."""
        return self.stage.house

    @initialize(target=actors, kind=kinds, words=speech)
    def begin(self, kind: str, words: bytes) -> Actor:
        """There is always one."""
        return self.come(kind, words)

    @initialize(target=actors, kind=kinds, words=speech)
    def begin_again(self, kind: str, words: bytes) -> Actor:
        """And another."""
        return self.come(kind, words)

    @precondition(lambda self: not self.draining and len(self.troupe) < PEERS)
    @rule(target=actors, kind=kinds, words=speech)
    def connect(self, kind: str, words: bytes) -> Actor:
        return self.come(kind, words)

    def come(self, kind: str, words: bytes) -> Actor:
        """A new peer, which begins to speak or does not yet."""

        async def act() -> Actor:
            if kind == "slow":
                return Actor(*self.house.slow_peer(10_000))
            return Actor(self.house.meet(kind))

        self.troupe.append(self.stage.do(act))
        self.say(self.troupe[-1], words)
        return self.troupe[-1]

    @rule(actor=actors, words=speech)
    def go_on(self, actor: Actor, words: bytes) -> None:
        self.say(actor, words)

    @rule(actor=actors, words=speech, more=speech)
    def go_on_in_two_steps(self, actor: Actor, words: bytes, more: bytes) -> None:
        self.say(actor, words)
        self.stall(0.5)
        self.say(actor, more)

    def say(self, actor: Actor, words: bytes) -> None:
        """A request or several, the last perhaps not whole."""
        if words and not actor.mute:
            actor.said += words
            TOLL.inputs += 1
            self.stage.do(self._say, actor, words)

    async def _say(self, actor: Actor, what: bytes) -> None:
        try:
            await actor.peer.stream.send_all(what)
        except trio.BrokenResourceError:
            actor.gone = True

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 14.0]))
    def stall(self, seconds: float) -> None:
        """Time passes, and stops at every deadline on its way."""

        async def act() -> None:
            self.stage.clock.autojump_threshold = 0
            await trio.sleep(seconds)
            self.stage.clock.autojump_threshold = math.inf

        self.stage.do(act)

    @rule(actor=actors, words=speech, seconds=st.sampled_from([0.05, 0.3, 2.0, 4.0, 9.0, 40.0]))
    def stand_still(self, actor: Actor, words: bytes, seconds: float) -> None:
        """The server's loop does not turn for a while, in which a peer goes on."""

        async def act() -> None:
            if words and not actor.mute:
                try:
                    actor.peer.slip(words)
                except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
                    actor.gone = True  # there is no room for that, or nobody who would take it
                else:
                    actor.said += words
            self.stage.clock.jump(seconds)

        TOLL.inputs += 1
        self.stood_still += seconds
        self.stage.do(act)

    @rule(actor=actors, octets=st.sampled_from([1, 1000, 10**7]))
    def read_on(self, actor: Actor, octets: int) -> None:
        """A peer that had stopped reading takes some more."""
        if actor.slow is not None:

            async def act() -> None:
                actor.slow.grant(octets)

            self.stage.do(act)

    @rule(actor=actors)
    def half_close(self, actor: Actor) -> None:
        if not actor.mute:
            self.stage.do(self._end, actor, actor.peer.stream.send_eof)
            actor.gone = True

    @rule(actor=consumes(actors))
    def close(self, actor: Actor) -> None:
        self.stage.do(self._end, actor, actor.peer.stream.aclose)
        actor.gone = True

    @rule(actor=consumes(actors))
    def reset(self, actor: Actor) -> None:
        async def act() -> None:
            if actor.slow is not None:
                actor.slow.reset()
            elif actor.peer.theirs is None:
                actor.peer.stream.reset()

        self.stage.do(act)
        self.close_quietly(actor)

    def close_quietly(self, actor: Actor) -> None:
        """What a reset leaves to be closed."""
        self.stage.do(self._end, actor, actor.peer.stream.aclose)
        actor.gone = True

    async def _end(self, actor: Actor, end: Callable[[], Awaitable[None]]) -> None:
        try:
            await end()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            actor.gone = True

    @precondition(lambda self: not self.draining and len(self.troupe) > 2)
    @rule(grace=st.sampled_from([None, None, 0.0, 0.7, 4.0, 20.0]))
    def drain(self, grace: float | None) -> None:
        """The server drains, or only says that it might."""

        async def act() -> None:
            if grace is None:
                self.house.listener.notify(5)
            else:
                self.house.nursery.start_soon(self.house.listener.drain, grace)

        self.draining = grace is not None
        self.stage.do(act)

    @invariant()
    def nobody_is_past_a_deadline_and_slots_are_connections(self) -> None:
        async def look() -> None:
            listener = self.house.listener
            connections = listener.connections()
            assert len(connections) == listener.info().active <= len(self.troupe)
            for connection in connections:
                # Seconds from now. One whose time is up has the linger to say so, and to be heard, once we could know.
                assert connection.deadline >= -TIMEOUTS.linger - self.stood_still - SLACK, connection

        self.stage.do(look)
        for record in self.stage.logged:
            assert "meant for somebody else" in str(record.exc_info), "no step of a peer is an error of the server's"
        failed = [event for name, event in self.house.watch.events if name == "exception" and event.outcome == "error"]
        assert len(self.stage.logged) == len(failed)
        assert all(event.path.endswith("/foreign") for event in failed)

    @invariant()
    def answers_come_in_the_order_of_their_requests(self) -> None:
        for actor in self.troupe:
            statuses, _ = responses(actor.peer.heard, ended=actor.peer.ended_at is not None)
            reading = actor.reading()
            asked = [seen.target for seen in reading.requests]
            if reading.begun is not None and self.mode == "streaming":
                asked.append(reading.begun)  # which a handler may answer before its body has come
            heard = [line[8:] for line in actor.peer.heard.split(b"\r\n") if line.startswith(b"target: ")]
            assert heard == asked[: len(heard)]
            last_words = len(statuses) - len(heard)
            assert last_words <= 1, "the server's own word is the last"
            # 501: what follows "Transfer-Encoding: chun" may make a coding of it that nobody knows.
            assert not last_words or statuses[-1] in (400, 408, 413, 500, 501, 503)
            assert 500 not in statuses or any(target.endswith(b"/foreign") for target in asked)

    def teardown(self) -> None:
        try:
            if not self.stage.error:
                self.stage.do(self._wait_for_the_end)
                self.answers_come_in_the_order_of_their_requests()
        finally:
            self.stage.finish()

    async def _wait_for_the_end(self) -> None:
        self.stage.clock.autojump_threshold = 0
        answers = sum(len(actor.reading().requests) for actor in self.troupe)
        waits = max(TIMEOUTS.request, TIMEOUTS.keep_alive, TIMEOUTS.body) + TIMEOUTS.write + 3 * TIMEOUTS.linger
        with trio.fail_after(waits + 2 * answers + 2 * self.stood_still):
            await self.house.empty()
        for actor in self.troupe:
            await actor.peer.stream.aclose()
        await wait_all_tasks_blocked()
        attended = sum(task.name.endswith("_attend") for task in self.house.nursery.child_tasks)
        tasks, descriptors = holdings()
        doors = self.draining  # a listener that has drained gives up its own tasks and its socket
        assert tasks - attended - 1 <= self.stage.before[0], "1 is this step"
        assert doors or tasks - attended - 1 == self.stage.before[0]
        assert descriptors <= self.stage.before[1]


class StreamingMachine(ConnectionMachine):
    """The same with handlers that read bodies themselves."""

    mode = "streaming"


machine = settings(
    max_examples=100 * MANY, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
ConnectionMachine.TestCase.settings = machine
StreamingMachine.TestCase.settings = machine
TestBuffered = ConnectionMachine.TestCase
TestStreaming = StreamingMachine.TestCase
