"""Idle connections without a task: what is left of each is a slot, of some hundred octets.

A connection that waits for its next request holds a task, its coroutines, an engine and an exchange, 5 kB and more, in
which there is nothing that the next request needs. So when it has been idle for ``park_after``, a slot takes its place,
in one synchronous step: in the drain, among the places, and with the poller, who goes on watching the descriptor. The
task finds that it has nothing left to serve, and ends.

A slot is a connection like any other, that is idle. It has its deadline, by the same clock; a drain, or whoever needs
its place, ends it on the spot, unless something has come, which always wins; it is listed and counted. What comes wakes
it: a connection takes its place, again in one step. A peer that leaves needs no task for that.

Some of the tasks rest (:mod:`.spares`), and one of those goes on with the next socket that wakes. Else a new task
begins, in the nursery of all; so it does under TLS, of which the slot keeps the state, and for HTTP/2
(:mod:`.http2.parked`).
"""

from __future__ import annotations

import math
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar, Final, TypeAlias

import trio

from ..answering.context import ServerContext
from ..protocol.proxy_header import ProxyHeader
from ..telemetry.observe import ConnectionEnded
from ..transport import forks
from ..transport.phases import Phase
from ..transport.poller import ROOM, Poller
from ..transport.tls import TLSInfo
from ..transport.tls_stream import RecordLayer, TLSStream
from ..transport.wire import EPOLLIN, SocketWire
from .carrier import NEWBORN, Carrier
from .connection import Connection
from .spares import Spares

LEFT: Final = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
"""What the poller says of a peer that has ended what it sends, or is gone altogether."""
STREAM: Final = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
"""The sockets of descriptors that wires gave up: what is said of them the system need not be asked, nor told."""
Secrets: TypeAlias = tuple[str, TLSInfo | None, ProxyHeader | None, ssl.SSLObject | None, bytes]
NOWHERE: Final = -1
"""The descriptor of a slot that is none any more."""
FAREWELL: Final = 1.0
"""Seconds between a drain's word, where peers are told of it, and the end: one may have asked meanwhile."""


class Parked:
    """The slot of a connection that needs no task.

    Attributes:
        home: the dormitory.
        fd: the descriptor, which the poller watches.
        peer: who is at the other end.
        drain: the drain it has joined.
        born: when it was accepted, in Trio's time.
        served: requests so far.
        deadline: when it has been idle for as long as it may.
        place: what it is counted under among the places, if anything.
        secrets: the scheme of its requests, what its handshake has told, and of what encrypts the state and what that
            has yet to say; None without a handshake.
        tcp: whether its socket is one of TCP.
    """

    __slots__ = ("born", "deadline", "drain", "fd", "home", "peer", "place", "secrets", "served", "tcp")

    phase: ClassVar[Phase] = Phase.IDLE
    task: ClassVar[None] = None
    streams: ClassVar[int] = 0
    protocol: ClassVar[str] = Connection.protocol

    def __init__(self, home: Dormitory, conn: Carrier, fd: int) -> None:
        self.home = home
        self.fd = fd
        self.peer = conn.peer
        self.drain = conn.drain
        self.born = conn.born
        self.served = conn.served
        self.deadline = conn.phase.ends
        self.place: str | None = None
        self.tcp = conn.wire is not None and not conn.wire.wary
        self.secrets: Secrets | None = None
        if conn.transport is not None:
            tls, unsaid = (None, b"") if conn.layer is None else (conn.layer.tls, conn.layer.said())
            self.secrets = conn.scheme, *conn.transport, tls, unsaid

    def __lt__(self, other: Parked) -> bool:
        return self.deadline < other.deadline

    @property
    def since(self) -> float:
        """When it began to be idle."""
        timeouts = self.home.context.timeouts
        patience = timeouts.keep_alive if self.served else timeouts.request
        return self.born if patience == math.inf else self.deadline - patience

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is awake."""
        return self.fd == NOWHERE

    @property
    def layer(self) -> RecordLayer | None:
        """What encrypts, if anything does, made for a step."""
        if self.secrets is None or (tls := self.secrets[3]) is None:
            return None
        return RecordLayer(tls, self.secrets[4])

    @contextmanager
    def borrowed(self) -> Generator[socket.socket]:
        """Its socket, for a step."""
        sock = self._socket()
        try:
            yield sock
        finally:
            sock.detach()

    def _socket(self) -> socket.socket:
        """Its socket, which does not block whatever timeout the application has set for all."""
        return socket.socket(type=STREAM, proto=0, fileno=self.fd)

    @property
    def unread(self) -> bool:
        """Whether something has come that nobody has read."""
        return self.home.poller.holds_unread(self.fd)

    def edge(self, events: int) -> None:
        """The poller's word: something has come, or the peer has left."""
        if events & LEFT and not self.unread:
            self.end()
        elif events & ~ROOM:
            self.wake(events)

    def told(self) -> None:
        """The drain's word: it ends, unless a request has reached it; a newborn has its second."""
        if self.is_over:
            return
        if self.unread or not (self.served or trio.current_time() >= self.born + NEWBORN):
            self.wake(EPOLLIN)
        else:
            self.end()

    def make_room(self) -> bool:
        """Ends it for another's sake, at once; False when a request has reached it."""
        if self.unread:
            return False
        self.end()
        return True

    def expire(self) -> None:
        """Its time is up. A request that has come is read, as in time."""
        if self.unread:
            self.wake(EPOLLIN)
        else:
            self.end()

    def wake(self, events: int) -> None:
        """A connection takes its place, and is told of what has come."""
        home, sock, since = self.home, self._socket(), self.since
        home.leave(self)
        conn = self.succeeded(sock)
        conn.phase.wake(since, self.deadline, home.context.timeouts.park_after)
        if conn.wire is not None:
            conn.wire.edge(events)
        if self.drain.draining:
            conn.told()

    def succeeded(self, sock: socket.socket) -> Carrier:
        """The connection that has its place from now on, and a task."""
        conn = None if self.layer is not None else self.home.adopted(sock, self)
        conn = conn or self.home.hired(sock, self)
        self.hand_over(conn)
        return conn

    def hand_over(self, conn: Carrier) -> None:
        """Its place, and all that it knows; of which it keeps nothing, though the heap may keep it."""
        layer, secrets, self.secrets = self.layer, self.secrets, None
        self.drain.replace(self, conn)
        conn.has_been_here(self.born, self.served)
        if layer is not None and conn.wire is not None:
            conn.encrypt(TLSStream(conn.wire, layer))
        if secrets is not None:
            conn.scheme, conn.transport = secrets[0], secrets[1:3]

    def last_word(self) -> bytes:
        """What the peer is told before the end: nothing of HTTP/1, for it has had all it asked for."""
        return b"" if (layer := self.layer) is None else layer.farewell()

    def end(self) -> None:
        """Closes it, behind its last word: its peer has had time to read what came before."""
        if word := self.last_word():
            with self.borrowed() as sock, suppress(OSError):
                sock.send(word)
        with self._socket() as sock:
            self.home.poller.forget(sock)
            forks.end(sock)
        self.home.leave(self)
        self.drain.leave(self)
        self.secrets = None
        context = self.home.context
        if context.observers.listener_conn_close:
            age = trio.current_time() - self.born
            event = ConnectionEnded(context.name, self.peer, age, self.served, self.protocol)
            context.observers.tell(context.observers.listener_conn_close, event)


Bed: TypeAlias = Callable[["Dormitory", Any, int], Parked]
"""What makes the slot of a connection, whose descriptor it is given."""
Guest: TypeAlias = Carrier | Parked
"""Whoever has a place at a listener."""
GUESTS: Final = (Carrier, Parked)


def may_park(conn: Carrier) -> bool:
    """Whether there is nothing to a connection but what a slot can keep; of another protocol's it is asked before."""
    if isinstance(conn, Connection) and (conn.exchange.waits or not conn.exchange.engine.empty):
        return False
    if conn.gone or conn.broken or conn.drain.draining or (conn.plain is None and conn.layer is None):
        return False
    return conn.phase.phase is Phase.IDLE and not conn.phase.over


class Dormitory:
    """The slots of a listener, and the one timer for all of their deadlines.

    Attributes:
        count: how many there are.

    Args:
        context: what its connections share.
        poller: who tells of what comes.
        spares: the tasks that rest.
        start: has a connection served by a task, which begins as any, or does what is given besides.
    """

    def __init__(self, context: ServerContext, poller: Poller, spares: Spares, start: Callable[..., None]) -> None:
        self.context = context
        self.poller = poller
        self.start = start
        self.count = 0
        self.deadline = self.armed = math.inf
        self._due: list[Parked] = []  # a heap, in which those that have left stay until their time or a clean-up
        self._spares = spares
        self._leaving: deque[tuple[float, Parked]] = deque()  # and when each is to be gone
        self._vacant = trio.Event()
        self._open = True

    def park(self, conn: Carrier, make: Bed = Parked) -> bool:
        """A slot takes the place of a connection; False, and nothing has changed, when none can.

        Of HTTP/1 the task is not the connection's any more. Any other ends its own.
        """
        if not (self._open and may_park(conn)) or conn.wire is None:
            return False
        if (fd := conn.wire.surrender(by_reader=not isinstance(conn, Connection))) is None:
            return False
        slot = make(self, conn, fd)
        self.poller.hand_over(fd, slot)
        conn.drain.replace(conn, slot)
        if slot.place is not None and slot.place == slot.peer[0]:
            slot.peer = slot.place, int(slot.peer[1])  # and one text for all connections of an address
        self.count += 1
        self.expect(slot)
        conn.closed = conn.parked = True
        if isinstance(conn, Connection):
            self._spares.keep(conn)
        return True

    def expect(self, slot: Parked) -> None:
        """Has a slot told when its time is up. Until then that does not change."""
        if slot.deadline != math.inf:
            heappush(self._due, slot)
            self._set()

    def see_off(self, slot: Parked) -> None:
        """A slot has passed a drain's word on, and has some time to see whether it has crossed a request."""
        self._leaving.append((trio.current_time() + FAREWELL, slot))

    def adopted(self, sock: socket.socket, slot: Parked) -> Connection | None:
        """A connection whose task rests and goes on with a slot's socket, if there is one."""
        conn = self._spares.resumed(sock, slot.peer, slot.drain, tcp=slot.tcp)
        if conn is not None and conn.wire is not None:
            self.poller.hand_over(sock, conn.wire)
        return conn

    def hired(self, sock: socket.socket, slot: Parked) -> Connection:
        """Another, in a new task."""
        conn = Connection(SocketWire(sock, self.poller, known=True, tcp=slot.tcp), self.context, slot.peer)
        if slot.drain is not conn.drain:  # it has begun, and this is one of those whom it has told
            conn.drain.leave(conn)
            conn.drain = slot.drain
        self.start(conn)
        return conn

    def leave(self, slot: Parked) -> None:
        """A slot is none any more."""
        slot.fd = NOWHERE
        self.count -= 1
        if not self.count:
            self._vacant.set()
        if len(self._due) > 2 * self.count + 64:
            self._due = [each for each in self._due if not each.is_over]
            heapify(self._due)

    def fire(self) -> None:
        """The clock's word: somebody's time is up."""
        now = self.context.clock.time()
        while self._due and (self._due[0].is_over or self._due[0].deadline <= now):
            slot = heappop(self._due)
            if not slot.is_over:
                slot.expire()
        self._set()

    def _set(self) -> None:
        self.deadline = self._due[0].deadline if self._due else math.inf
        if self.deadline < self.armed:
            self.context.clock.arm(self)

    async def _say_goodbye(self) -> None:
        """Ends those who have passed a drain's word on, each after its second, if nothing has come; also those whom
        another drain tells meanwhile."""
        while self.count and self._leaving:
            due = self._leaving[0][0]
            self._vacant = trio.Event()
            with trio.move_on_at(due):
                await self._vacant.wait()
            while self._leaving and self._leaving[0][0] <= trio.current_time():
                _, slot = self._leaving.popleft()
                if not (slot.is_over or slot.make_room()):
                    slot.wake(EPOLLIN)
        self._leaving.clear()

    async def run(self) -> None:
        """In the nursery of all connections: keeps it open while somebody may be woken into it, until a drain has ended
        or woken all. A cancellation closes all slots."""
        try:
            while not (drain := self.context.drain).draining:
                await drain.started.wait()
                await self._say_goodbye()
        finally:
            self._open = False
            self.context.clock.disarm(self)
            for member in [*self.context.drain.members, *(slot for _, slot in self._leaving)]:
                if isinstance(member, Parked) and not member.is_over:
                    member.end()
