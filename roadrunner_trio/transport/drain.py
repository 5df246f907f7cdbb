"""The broadcast that ends a server politely: an event, a deadline, and a word to everybody present.

``start`` is synchronous, so nobody can slip between "tell those who are here" and "newcomers are born drained". The
drain knows its members only as things with a ``told`` method; what a connection makes of the word is its own affair.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio

from ..journal import log


class Member(Protocol):
    """Who is told."""

    def told(self) -> None:
        """The drain has started. Synchronous. What it raises is logged, and the others are told all the same."""
        ...


class Drain:
    """What a connection, and every handler as ``request.drain``, sees of the end of its server.

    Attributes:
        started: set when the drain begins; await ``started.wait()`` to be told.
        deadline: absolute Trio time by which everything has to be over; ``math.inf`` before the drain.
        draining: whether it has begun.
        cut: absolute Trio time at which what is left is cancelled; ``math.inf`` after a mere notice.
    """

    __slots__ = ("cut", "deadline", "draining", "members", "started", "watchers")

    def __init__(self) -> None:
        self.started = trio.Event()
        self.draining = False
        self.deadline = math.inf
        self.cut = math.inf
        self.members: dict[Member, Member | None] = {}  # in the order in which they came, each with who watches for it
        self.watchers: dict[Member, None] = {}

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below 0; ``math.inf`` before the drain."""
        return max(0.0, self.deadline - trio.current_time())

    def join(self, member: Member) -> None:
        """Adds a member, in the same synchronous step in which its task is spawned: none is ever missed."""
        self.members[member] = None

    def leave(self, member: Member) -> None:
        """Removes a member; harmless when it is gone."""
        self.members.pop(member, None)

    def replace(self, member: Member, successor: Member) -> None:
        """Has another member in the place of one, if that is one."""
        if member in self.members:
            self.members[successor] = self.members.pop(member)

    def watch(self, watcher: Member, member: Member | None = None) -> None:
        """Adds somebody who is told, after the members, but is not one of those who have to be gone in the end.

        Args:
            member: whose affair it is, if that has no other: a row of a table less, for as long as both are there.
        """
        if member is not None and self.members.get(member, self) is None:
            self.members[member] = watcher
        else:
            self.watchers[watcher] = None

    def unwatch(self, watcher: Member, member: Member | None = None) -> None:
        """Removes a watcher, of which the same is said; harmless when it is gone."""
        if member is not None and self.members.get(member) is watcher:
            self.members[member] = None
        else:
            self.watchers.pop(watcher, None)

    def start(self, deadline: float, *, notice: bool = False) -> None:
        """Tells every member and watcher, once. A later call can only bring the deadline forward.

        Args:
            notice: nothing will be cut at the deadline.
        """
        self.deadline = min(self.deadline, deadline)
        if not notice:
            self.cut = min(self.cut, deadline)
        if self.started.is_set():
            return
        self.draining = True
        self.started.set()
        watchers = [watcher for watcher in self.members.values() if watcher is not None]
        for member in (*self.members, *watchers, *self.watchers):
            try:
                member.told()
            except KeyboardInterrupt:
                raise
            except BaseException:
                log.exception("the word of the drain failed with %s", type(member).__name__)
