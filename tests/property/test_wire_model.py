"""Whatever the kernel answers, and in whatever order: nothing lies unread, or unsent, with no edge to come.

A wire on a poller reads when an edge has come, until it has reason to believe that the buffer is empty; from then on it
waits for the next edge. Were it wrong there, it would wait for ever. So this is a model of the kernel, an arbitrary
schedule of what happens in it and of what the wire's owner does, and one rule, looked at after every step.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted_kernel import Kernel, ScriptedPoller

from roadrunner_trio.transport.poller import AVAILABLE
from roadrunner_trio.transport.wire import SocketWire

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this system has no epoll; wires wait by Trio's own means")

SIZES = st.sampled_from([1, 2, 5, 65536])
OCTETS = st.integers(0, 6)
HAPPENS = st.one_of(
    st.tuples(st.sampled_from(["arrive", "arrive_urgent", "arrive_rights", "make_room"]), OCTETS),
    st.tuples(st.sampled_from(["finish", "reset", "wake_for_nothing"])),
)
STEPS = st.one_of(
    HAPPENS.map(lambda what: ("kernel_does", what)),
    HAPPENS.map(lambda what: ("meanwhile", what)),
    st.tuples(st.just("begin_to_read"), SIZES),
    st.tuples(st.just("look"), SIZES),
    st.tuples(st.just("hold"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["poll", "cancel", "turn", "want_room"])),
)


class Owner:
    """Whoever has the wire: a task that reads now and then, or a :class:`Reader` told by edges."""

    def __init__(self, kernel, nursery):
        self.kernel = kernel
        self.poller = ScriptedPoller(kernel)
        self.wire = SocketWire(kernel, self.poller)
        self.wire.writer = self
        self.nursery = nursery
        self.received = bytearray()
        self.ended = self.broken = False
        self.held = bytearray()
        self.room_told = 0
        self.scope = None

    def kernel_does(self, what):
        name, *args = what
        if name == "arrive_rights" and self.kernel.family != socket.AF_UNIX:
            name = "arrive"
        if name.startswith("arrive") and self.kernel._finished:
            return
        if not self.kernel._reset:
            getattr(self.kernel, name)(*args)

    def take(self, data):
        self.ended = self.ended or not data
        self.received += data

    async def read(self, size):
        with trio.CancelScope() as self.scope:
            try:
                self.take(await self.wire.receive_some(size))
            except trio.BrokenResourceError:
                self.broken = True
        self.scope = None

    def read_now(self, size=3):
        """As a reader that edges tell: on, until nothing is there, or nothing can be."""
        try:
            while self.wire.readable and not self.ended and (data := self.wire.receive_now(size)) is not None:
                self.take(data)
        except trio.BrokenResourceError:
            self.broken = True

    def write_now(self):
        self.room_told += 1

    def hold(self, octets):
        with suppress(trio.BrokenResourceError):
            self.wire.hold(b"x" * octets)
            self.held += b"x" * octets

    def meanwhile(self, what):
        self.kernel.meanwhile.append(lambda: self.kernel_does(what))

    def begin_to_read(self, size):
        if self.scope is None and self.wire.reader is None:
            self.scope = trio.CancelScope()
            self.nursery.start_soon(self.read, size)

    def look(self, size):
        if self.scope is None and not self.ended:
            self.read_now(size)

    def cancel(self):
        if self.scope is not None:
            self.scope.cancel(reason="between any two events")

    async def turn(self):
        await trio.testing.wait_all_tasks_blocked()
        self.poller.end_turn()

    async def step(self, verb, *args):
        where = self.wire if verb == "want_room" else self.poller if verb == "poll" else self
        done = getattr(where, verb)(*args)
        if done is not None:
            await done

    def check(self):
        """The rule."""
        if self.kernel.has_news and not self.kernel.ready:
            assert self.wire.readable, "it lies there, no edge is to come, and the wire would wait for one"
        if self.wire.held and not self.kernel.ready and not self.poller.holding:
            assert not self.kernel.room, "there is room for what is held, and no edge is to come"

    async def settle(self):
        """Nothing happens any more: what has come is read to its end, and what is held goes out."""
        self.kernel.meanwhile.clear()
        for _ in range(200):
            self.kernel.make_room(100)
            await self.turn()
            self.poller.poll()
            if self.scope is None and not (self.ended or self.broken or self.wire.reader):
                await self.step("begin_to_read", 65536)
            await trio.testing.wait_all_tasks_blocked()
            if not self.kernel.ready and (self.scope is not None or self.ended or self.broken or self.wire.reader):
                break
        else:
            raise AssertionError("it goes on for ever")


async def live(family, room, steps, by_edges):
    kernel = Kernel(family, room)
    async with trio.open_nursery() as nursery:
        owner = Owner(kernel, nursery)
        if by_edges:
            owner.wire.reader = owner
        for step in steps:
            await owner.step(*step)
            owner.check()
        await owner.settle()
        owner.check()
        assert owner.received == kernel.delivered
        if not kernel._reset:
            assert not kernel._inbox, "it was never read"
            assert kernel._finished == owner.ended
            assert kernel.sent == owner.held, "it was never sent"
        nursery.cancel_scope.cancel(reason="the schedule is over")


def happens(*names, **more):
    return [("kernel_does", (name, *([4] if name.startswith("arrive") else []))) for name in names]


FAMILIES = st.sampled_from([socket.AF_INET, socket.AF_UNIX])


@given(family=FAMILIES, room=st.integers(0, 20), steps=st.lists(STEPS, max_size=30), by_edges=st.booleans())
@example(
    socket.AF_INET, 9, [*happens("arrive_urgent"), ("poll",), ("begin_to_read", 65536), ("turn",)], False
)  # a mark
@example(
    socket.AF_UNIX, 9, [*happens("arrive_rights", "arrive"), ("poll",), ("begin_to_read", 65536), ("turn",)], False
)
@example(
    socket.AF_INET, 9, [*happens("arrive", "finish"), ("poll",), ("begin_to_read", 65536), ("turn",)], False
)  # one edge
@example(socket.AF_INET, 9, [*happens("arrive", "reset"), ("begin_to_read", 65536), ("poll",), ("turn",)], True)
@example(
    socket.AF_INET, 9, [("begin_to_read", 1), ("turn",), *happens("arrive"), ("poll",), ("cancel",), ("turn",)], False
)
@settings(deadline=None, max_examples=400)
def test_case_42_nothing_lies_unread_or_unsent_with_no_edge_to_come(family, room, steps, by_edges):
    trio.run(live, family, room, steps, by_edges)


@given(family=FAMILIES, steps=st.lists(STEPS, max_size=20))
@settings(deadline=None)
def test_who_asked_for_room_is_told_of_it_whoever_reads(family, steps):
    async def ask():
        kernel = Kernel(family)
        async with trio.open_nursery() as nursery:
            owner = Owner(kernel, nursery)
            for step in steps:
                await owner.step(*step)
            if kernel._reset:
                return nursery.cancel_scope.cancel(reason="there will be no room")
            kernel.room = 0
            with pytest.raises(BlockingIOError):
                kernel.send(b"x")
            owner.wire.want_room()
            owner.poller.poll()
            told = owner.room_told
            kernel.arrive(3)  # in one edge with the room
            kernel.make_room(10)
            owner.poller.poll()
            assert owner.room_told == told + 1
            nursery.cancel_scope.cancel(reason="that was it")
        return None

    trio.run(ask)
