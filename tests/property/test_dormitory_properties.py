"""Connections that are parked and woken, or begin in the task of another, whatever happens and in whatever order.

No request is lost, no deadline missed, no slot leaked.
"""

from __future__ import annotations

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from presence_tools import meet
from script_tools import run
from story_tools import GET, GET_CLOSE, House, Peer, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server import dormitory, spares
from roadrunner_trio.server.dormitory import Parked
from roadrunner_trio.transport.poller import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this system has no epoll, and nobody tells of what has come")

KEEP_ALIVE, REQUEST, PARK_AFTER = 16.0, 8.0, 1.0
CROWD = 4
"""Connections that there may be."""

WHO = st.integers(0, CROWD - 1)
WAYS = ["ask", "ask_at_once", "ask_and_finish", "ask_for_the_end", "say_nothing", "leave", "reset"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("meet"), st.sampled_from(["tcp", "unix"])),
        st.tuples(
            st.sampled_from(
                ["ask", "ask_at_once", "ask_and_finish", "ask_for_the_end", "say_nothing", "leave", "reset"]
            ),
            WHO,
        ),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.125, 0.5, 0.875, 1.0, 1.125, 3.0, 7.0, 8.0, 15.0, 16.0])),
        st.tuples(st.sampled_from(["notify", "make_room", "look"])),
    ),
    max_size=40,
)


class Guest:
    """A peer, and what it may expect."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.asked = 0
        self.deadline = trio.current_time() + REQUEST
        self.forgiven = False  # something other than its deadline may have ended it
        self.left = False
        self.ends = False  # it has asked for that
        self.doubtful = 0  # requests that may have come in the tick of an end

    @property
    def answered(self) -> int:
        return self.peer.heard.count(b"HTTP/1.1 200 OK")

    @property
    def has_all(self) -> bool:
        """Whether it has heard what it may expect to."""
        heard = self.answered >= self.asked - self.doubtful
        return heard and (not self.ends or self.peer.ended_at is not None)

    def ask(self, said: bytes = GET) -> None:
        self.asked += 1
        self.peer.slip(said)
        self.deadline = trio.current_time() + KEEP_ALIVE


class Scene:
    """A listener, its peers, and what is so after every step."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.guests: list[Guest] = []

    @property
    def present(self) -> list[Guest]:
        return [each for each in self.guests if each.peer.ended_at is None and not each.left]

    async def do(self, name: str, *args) -> None:
        if name in ("meet", "wait", "notify", "make_room", "look"):
            await getattr(self, name)(*args)
        elif len(present := self.present) > args[0]:
            await getattr(self, name)(present[args[0]])
        await self.settle()
        self.check()

    async def settle(self) -> None:
        """Until nobody has anything to do; a busy kernel may take its time with what is on its way."""
        await wait_all_tasks_blocked()
        for _ in range(40):
            if all(guest.left or guest.has_all for guest in self.guests):
                break
            await wait_all_tasks_blocked(0.05)

    async def meet(self, kind: str) -> None:
        if self.house.active < CROWD:
            self.guests.append(Guest(meet(self.house, kind)))

    async def ask(self, guest: Guest) -> None:
        guest.ask()

    async def ask_at_once(self, guest: Guest) -> None:
        """As the clock strikes: whoever comes first has it."""
        await trio.sleep(max(0.0, min(PARK_AFTER, guest.deadline - trio.current_time())))
        if guest.peer.ended_at is None:
            try:
                guest.ask()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                guest.asked -= 1
            else:
                guest.doubtful += 1

    async def ask_and_finish(self, guest: Guest) -> None:
        guest.ask()
        await guest.peer.stream.send_eof()
        guest.forgiven = True

    async def ask_for_the_end(self, guest: Guest) -> None:
        """Its task may serve another from then on."""
        guest.ask(GET_CLOSE)
        guest.forgiven = guest.ends = True

    async def say_nothing(self, guest: Guest) -> None:
        """An empty line, of which one is forgiven and moves no deadline."""
        if guest.asked and guest.answered == guest.asked and not guest.forgiven:
            guest.peer.slip(b"\r\n")
            await wait_all_tasks_blocked()
            guest.ask()

    async def leave(self, guest: Guest) -> None:
        guest.left = True
        await guest.peer.stream.aclose()

    async def reset(self, guest: Guest) -> None:
        guest.left = True
        guest.peer.stream.reset()

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def notify(self) -> None:
        for guest in self.present:
            guest.forgiven = True
        self.house.listener.notify()

    async def make_room(self) -> None:
        places = self.house.listener._places
        before = {guest for guest in self.present if guest.peer.ended_at is None}
        if places._make_room(places._all):
            await wait_all_tasks_blocked()
            gone = [guest for guest in before if guest.peer.ended_at is not None]
            for guest in gone:
                guest.forgiven = True

    async def look(self) -> None:
        self.house.listener.connections()
        self.house.listener.phases()

    def check(self) -> None:
        listener, now = self.house.listener, trio.current_time()
        home = listener._dormitory
        slots = [member for member in listener._members() if isinstance(member, Parked)]
        assert len(slots) == home.count
        assert all(slot.deadline > now for slot in slots), "a deadline was missed"
        assert {slot for slot in home._due if slot.fd != dormitory.NOWHERE} == set(slots)
        watched = [each for each in listener._context.poller._watched if each is not None]
        assert set(slots) <= set(watched)
        assert len(watched) == self.house.active
        assert len(home._spares._resting) <= spares.KEPT
        for guest in self.guests:
            peer = guest.peer
            if not guest.left:
                assert guest.asked - guest.doubtful <= guest.answered <= guest.asked, "a request was lost"
                assert guest.has_all, "an end was not said"
            if peer.ended_at is not None and not (guest.left or guest.forgiven or guest.doubtful):
                assert peer.ended_at == pytest.approx(guest.deadline, abs=1e-6)
            if peer.ended_at is None and not (guest.left or guest.doubtful):
                assert now <= guest.deadline + 1e-6, "a deadline was missed"


async def play(steps, end: str, kept: int, seconds: float) -> None:
    timeouts = rr.Timeouts(keep_alive=KEEP_ALIVE, request=REQUEST, park_after=PARK_AFTER)
    limits = rr.Limits(max_connections=CROWD, min_bytes_per_second=0)
    before, spares.KEPT = spares.KEPT, kept
    try:
        async with open_house(tcp=True, timeouts=timeouts, limits=limits, evict_idle=True) as house:
            scene = Scene(house)
            for step in steps:
                await scene.do(*step)
            await trio.sleep(seconds)
            now = trio.current_time()  # when some are about to be parked; others have had their time
            late = [guest for guest in scene.present if not guest.forgiven and guest.deadline > now + 1e-6]
            for guest in late[::2]:
                guest.ask()
            if end == "drain":
                house.listener._start_drain(trio.current_time() + 10)
                for guest in late:
                    await guest.peer.end()
                    assert guest.asked - guest.doubtful <= guest.answered, "a request was lost in the drain"
            elif end == "wait":
                await house.empty()
                await wait_all_tasks_blocked()
                scene.check()
        assert house.listener._dormitory.count == 0
    finally:
        spares.KEPT = before


@settings(max_examples=150, deadline=None)
@given(
    STEPS, st.sampled_from(["drain", "cancel", "wait"]), st.sampled_from([0, 1, 32]), st.sampled_from([0.0, 0.5, 1.0])
)
@example([("meet", "tcp"), ("meet", "unix"), ("wait", 7.0), ("ask_at_once", 1)], "drain", 1, 0.0)
@example(
    [("meet", "tcp"), ("ask_for_the_end", 0), ("meet", "unix"), ("ask", 0), ("wait", 3.0), ("ask", 0)], "wait", 1, 0.0
)
@example([("meet", "tcp"), ("ask", 0), ("wait", 1.0), ("ask", 0), ("wait", 15.0)], "drain", 1, 1.0)
def test_nothing_is_lost_missed_or_leaked(steps, end, kept, seconds):
    run(play, steps, end, kept, seconds)
