"""What a server needs around streams: bytes replayed, a peer's rate measured, a close that does not destroy.

Works on any ``trio.abc.Stream``; knows nothing of HTTP.
"""

from __future__ import annotations

import math
import socket
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import trio

from ..addresses import unmapped
from ..printable import printable
from .clock import Clock
from .wire import RECEIVE_SIZE, TCP, SocketWire

GRACE: Final = 5.0
"""Seconds before a peer's rate is judged (behaviour 2.2). What is small takes as long as its sender needs to begin."""
SEND_GRACE: Final = 30.0
"""Seconds for which a peer may take nothing of what it is sent, whatever its rate, where no write timeout says less."""

Address: TypeAlias = tuple[str, int] | str
"""A peer: host and port, the path of a Unix socket, or a word such as ``"memory"``."""
ABSTRACT: Final = "@"
"""What the name of an abstract Unix socket is written with, in place of the NUL that it begins with for the kernel."""


class RateMeter:
    """The minimum-rate rule against slow peers (behaviour 2.2).

    Time counts only from the first byte (N5) and only while the server waits for the peer, so neither an idle gap nor
    a slow application can make a peer look slow. Judged when bytes have come; silence is left to the deadline.

    Where there is a clock, it has to say that the moment has come from which on the peer is too slow: one that comes
    while the loop does not turn is put off, as any deadline is. Each wait is then begun by :meth:`begin`.

    Args:
        least: octets a second; 0 turns the rule off.
        clock: the listener's.
    """

    __slots__ = ("_clock", "_come", "armed", "deadline", "forgiven", "least", "octets", "waited")

    def __init__(self, least: int, clock: Clock | None = None) -> None:
        self.least = least
        self.octets = 0
        self.waited = 0.0
        self.forgiven = 0.0
        """Of that, what does not count for the rate."""
        self.deadline = self.armed = math.inf
        self._clock = clock if least else None
        self._come = False

    def reset(self, octets: int = 0) -> None:
        """Begins anew: another head, another body, of which ``octets`` are there already."""
        self.octets = octets
        self.waited = self.forgiven = 0.0

    def begin(self) -> float:
        """A wait for the peer begins, and at which time."""
        now = trio.current_time()
        if self._clock is not None:
            self._come = False
            self.deadline = now + max(0.0, self._allowed - self.waited + self.forgiven)
            if self.deadline <= self.armed:  # of the same time, it may be one that the clock has put off before
                self._clock.arm(self)
        return now

    def fire(self) -> None:
        """The clock's word: the peer has had its time."""
        self._come = True

    def add(self, octets: int, seconds: float) -> None:
        """Counts octets that took ``seconds`` to come."""
        self.waited += seconds
        if self._clock is not None:
            if not self._come:
                early_or_late = abs(self.deadline - self._clock.time())
                self.forgiven = max(self.forgiven, self.waited - max(0.0, self._allowed - early_or_late))
            self.deadline = math.inf
        self.octets += octets

    def close(self) -> None:
        """Nobody is measured any more."""
        if self._clock is not None and self.armed != math.inf:
            self._clock.disarm(self)

    @property
    def _allowed(self) -> float:
        return max(GRACE, self.octets / self.least)

    @property
    def slow(self) -> bool:
        """Whether the peer is too slow; to be asked when what has come is not enough."""
        seconds = self.waited - self.forgiven
        return seconds > GRACE and self.octets < self.least * seconds


class Unmeasured(RateMeter):
    """One for all those who are not measured: it counts nothing."""

    __slots__ = ()

    def add(self, octets: int, seconds: float) -> None:
        """As of any, but that nobody's counts for another."""


class SendMeter:
    """The minimum-rate rule against peers that take their responses by the drop.

    A balance of seconds: what the peer takes adds to it, what it is waited for is taken off, and it is never more than
    the grace, so that nobody can be fast first and slow for long. Only waits touch it; a peer that keeps up costs
    nothing.

    Args:
        least: octets a second; 0 turns the rule off.
        grace: seconds.
    """

    __slots__ = ("balance", "counted", "grace", "least", "sent")

    def __init__(self, least: int, grace: float) -> None:
        self.least = least
        self.grace = self.balance = min(grace, SEND_GRACE)
        self.sent = 0
        self.counted = 0

    def allowance(self, sent: int, octets: int) -> float:
        """Seconds that the peer has for the next ``octets``, when ``sent`` of this response went before."""
        if not self.least:
            return math.inf
        news = sent - self.sent if sent >= self.sent else sent  # less than before: another response has begun
        unwaited = max(0, news - self.counted)
        self.sent, self.counted = sent, 0
        self.balance = min(self.grace, self.balance + unwaited / self.least)
        return self.balance + octets / self.least

    def took(self, octets: int, seconds: float) -> None:
        """The peer has taken ``octets``, for which it was waited so long."""
        if self.least:
            self.counted += octets
            self.balance = min(self.grace, self.balance + octets / self.least - seconds)


class PrefixedStream(trio.abc.HalfCloseableStream):
    """A stream whose first bytes have been read already; they come first, then the stream's own."""

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = memoryview(prefix)
        self.stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream's own, after the prefix has been read."""
        if not self._prefix:
            return await self.stream.receive_some(max_bytes)
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint()
        data = bytes(self._prefix[:max_bytes])
        self._prefix = self._prefix[len(data) :]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """The stream's own."""
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """The stream's own."""
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """The stream's own.

        Raises:
            RuntimeError: the stream cannot be half-closed (TLS).
        """
        if not isinstance(self.stream, trio.abc.HalfCloseableStream):
            raise RuntimeError(f"a {type(self.stream).__name__} cannot be half-closed")
        await self.stream.send_eof()

    def detach(self) -> tuple[bytes, trio.abc.Stream]:
        """What is left of the prefix, and the stream, for whoever reads that itself from now on."""
        prefix, self._prefix = bytes(self._prefix), memoryview(b"")
        return prefix, self.stream

    async def aclose(self) -> None:
        """Closes the stream; what is left of the prefix is dropped."""
        self._prefix = memoryview(b"")
        await self.stream.aclose()


async def linger(stream: trio.abc.Stream, seconds: float, most: int, *, idle: bool = False) -> None:
    """Half-closes, then reads and forgets until the peer closes too, for at most ``seconds`` and ``most`` octets.

    Closing a socket with unread input makes the kernel send a reset, and a reset can destroy an answer the peer has
    not read yet (N72; RFC 9112 section 9.6). Never raises for a broken stream.

    Args:
        idle: the peer has had its answers for some time, and has said nothing since. Then it is enough that its system
            has acknowledged the end, and nothing came before that: whoever does not close now may never do so.
    """
    with trio.move_on_after(seconds):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            if idle and isinstance(stream, SocketWire) and stream.polled and await _Acknowledgement(stream).has_come():
                return
            while most > 0:
                data = await stream.receive_some(RECEIVE_SIZE)
                if not data:
                    return
                most -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


class _Acknowledgement:
    """That the peer's system knows of the end. TCP tells of it by an edge, to a writer that wants room."""

    UNDER_WAY: Final = frozenset({4, 9, 11})
    """States of TCP until then, by Linux's numbers: FIN-WAIT-1, LAST-ACK, CLOSING (RFC 9293 section 3.3.2)."""

    def __init__(self, wire: SocketWire) -> None:
        self.wire = wire
        self.edge = trio.Event()

    def write_now(self) -> None:
        """As :class:`.wire.Writer` is told."""
        self.edge.set()

    async def has_come(self) -> bool:
        """Waits for it; False when the peer has said something meanwhile."""
        self.wire.writer = self
        self.wire.want_room()
        while self._is_due():
            self.edge = trio.Event()
            await self.edge.wait()
        return not self.wire.pending()

    def _is_due(self) -> bool:
        sock = self.wire.socket
        if sock.fileno() == -1 or sock.family not in TCP:
            return False  # an end on a Unix socket is there at once
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in self.UNDER_WAY


def wired(stream: trio.abc.Stream) -> trio.abc.Stream:
    """``stream``, or the wire in place of a Trio socket stream: on a raw socket the server can do more."""
    if isinstance(stream, trio.SocketStream):
        inner = stream.socket
        return SocketWire(socket.socket(inner.family, inner.type, inner.proto, fileno=inner.detach()))
    return stream


def peer_of(stream: trio.abc.Stream) -> Address:
    """Who is at the other end, as far as the stream knows; otherwise the stream's kind."""
    while isinstance(stream, trio.SSLStream):
        stream = cast("trio.SSLStream[trio.abc.Stream]", stream).transport_stream
    if isinstance(stream, SocketWire):
        return address_of(stream.socket)
    if isinstance(stream, trio.SocketStream):
        return address_of(stream.socket)
    return "memory" if isinstance(stream, trio.StapledStream) else type(stream).__name__


def address_of(sock: socket.socket | trio.socket.SocketType) -> Address:
    """The peer's address as a pair of host and port, or the path of a Unix socket; ``"unknown"`` once it has gone."""
    try:
        name = sock.getpeername()
    except OSError:
        return "unknown"
    return tidy(name)


def tidy(name: tuple[Any, ...] | str | bytes) -> Address:
    """A socket name in one form: IPv6 loses its flow and scope, IPv4 that a socket of both maps into IPv6 is IPv4, an
    unnamed Unix peer is ``"unix"``, an abstract one ``"@name"``."""
    if isinstance(name, tuple):
        return _one_host(str(name[0])), int(name[1])
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    return ABSTRACT + name[1:] if name.startswith("\0") else name or "unix"


def own_end(wire: SocketWire, otherwise: str) -> Address:
    """The address of our end of a wire, or what is said in its place when that has been closed."""
    try:
        return tidy(wire.socket.getsockname()) or otherwise
    except OSError:  # it has been closed
        return otherwise


_one_host = lru_cache(1024)(unmapped)
"""One object for all the connections of a host, such as a proxy."""
_printable_host = lru_cache(1024)(printable)


def shown(address: Address) -> str:
    """An address as people write it: ``192.0.2.1:80``, ``[2001:db8::1]:80``, a path; port 0 is one nobody knows.

    The path of a Unix socket is what its owner likes. It is shown :func:`~roadrunner_trio.printable.printable`, so this
    can stand in a log, a terminal, or the name of a task.
    """
    if isinstance(address, str):
        return printable(address)
    host, port = _printable_host(address[0]), address[1]
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
