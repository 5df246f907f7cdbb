"""How the octets of a WebSocket session come and go; what they mean is the session's affair.

On a socket that a poller watches there is no task that reads: an edge reads, at once and without a wait, whatever the
handler is doing. That costs a message one switch of tasks instead of two, and an idle session no task. Elsewhere (TLS,
memory, systems without epoll) two tasks of the session's nursery read and write for it.

Control frames cannot wait for a task either. They go out at once when the socket takes them, and are *owed* when it
does not, until it does, or when a message is being written: then the writer sends them behind it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Protocol

import trio

from ..journal import log
from ..transport.files import SLICE
from ..transport.gone import PeerGone
from ..transport.streams import linger
from ..transport.tls_stream import close_notify, encrypted
from ..transport.turns import Turns
from ..transport.wire import RECEIVE_SIZE, SocketWire
from .outgoing import unacknowledged
from .told import passes

WRITE_SIZE: Final = 65536
"""Octets that the write timeout is for."""
READS: Final = 8
"""Reads of one peer in a row, before its neighbours have a turn."""
MOST_OWED: Final = 32
"""Control frames that wait; of further pings only the last is answered (RFC 6455 section 5.5.3)."""
LINGER_OCTETS: Final = 20 * 1024 * 1024
TOO_SLOW: Final = "the peer takes too long to take what is sent to it"


class Sink(Protocol):
    """Whom a link tells. All of it is synchronous."""

    def wants(self) -> bool:
        """Whether there is room for more."""
        ...

    def take(self, data: bytes) -> None:
        """Octets have come; ``b""`` is the end."""
        ...

    def lost(self, why: str) -> None:
        """The peer has gone, or the stream can no longer be used."""
        ...


class Nobody:
    """The sink of a link whose session is over."""

    def wants(self) -> bool:
        """It wants nothing."""
        return False

    def take(self, data: bytes) -> None:
        """It takes nothing."""

    def lost(self, why: str) -> None:
        """It misses nobody."""


NOBODY: Final = Nobody()


class Link:
    """One stream, both ways.

    Args:
        stream: what carries the session.
        wire: the same, when edges are to read it.
        write_timeout: seconds for the peer to take the next 64 KiB.
        turns: where what is left to read waits, when others have to come first.

    Attributes:
        broken: nothing more can be written.
        hopeless: there is no use in waiting for the peer.
        too_slow: the peer did not take in time what was sent to it.
        owed: control frames that wait.
        written: octets that the stream has taken.
        writing: a task is.
    """

    __slots__ = (
        "_flushing",
        "_last",
        "_reading",
        "_reads_later",
        "_turns",
        "_write_timeout",
        "_writers",
        "broken",
        "hopeless",
        "owed",
        "sink",
        "stream",
        "too_slow",
        "wire",
        "writing",
        "written",
    )

    def __init__(
        self, stream: trio.abc.Stream, wire: SocketWire | None, write_timeout: float, sink: Sink, turns: Turns
    ) -> None:
        self.stream = stream
        self.wire = wire
        self.sink = sink
        self.broken = False
        self.hopeless = False
        self.too_slow = False
        self.owed: tuple[bytes, ...] = ()
        self.written = 0
        self.writing = False
        self._last = False
        self._write_timeout = write_timeout
        self._turns = turns
        self._reads_later = False
        self._writers: trio.lowlevel.ParkingLot | None = None
        self._reading: trio.lowlevel.ParkingLot | None = None
        self._flushing: trio.lowlevel.ParkingLot | None = None

    # -- reading ---------------------------------------------------------------------------------

    def start(self, nursery: trio.Nursery | None, early: bytes) -> None:
        """Begins to read.

        Args:
            nursery: for the two tasks; None when edges do their work.
            early: what had come before.
        """
        if early:
            self.sink.take(early)
        if nursery is not None:
            self._reading, self._flushing = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
            nursery.start_soon(self._read, self._reading, name="websocket: reader")
            nursery.start_soon(self._flush, self._flushing, name="websocket: control frames")
        elif self.wire is not None:
            self.wire.reader = self.wire.writer = self
            if self.wire.readable:
                self.read_now()

    def read_now(self) -> None:
        """The wire's word, from the poller's task: an exception here would be everybody's."""
        wire, sink = self.wire, self.sink
        if wire is None or wire.reader is not self:
            return None
        try:
            if self._reads_later:
                return None
            reads = READS
            while sink.wants() and (data := wire.receive_now()) is not None:
                sink.take(data)
                if not wire.readable:
                    return None
                reads -= 1
                if not reads:
                    self._reads_later = True
                    return self._turns.later(self._read_on)
        except Exception as exc:
            self._fail(exc)

    def _read_on(self) -> None:
        self._reads_later = False
        self.read_now()

    def write_now(self) -> None:
        """The wire's word, as above: there is room for what is owed."""
        try:
            self._push_owed()
        except Exception as exc:
            self._fail(exc)

    async def _read(self, resumed: trio.lowlevel.ParkingLot) -> None:
        try:
            while True:
                while not self.sink.wants():
                    await resumed.park()
                data = bytes(await self.stream.receive_some(RECEIVE_SIZE))
                self.sink.take(data)
                if not data:
                    return
        except BaseException as exc:
            if passes(exc):
                raise
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        """The end of one session, whatever a stream of the application's has raised."""
        if isinstance(exc, trio.BrokenResourceError | trio.ClosedResourceError):
            self._break("the connection was reset")
        else:
            log.error("a WebSocket session failed", exc_info=exc)
            self._break("an internal error")

    def resume(self) -> None:
        """There is room again."""
        if self._reading is not None:
            self._reading.unpark_all()
        else:
            self.read_now()

    # -- writing ---------------------------------------------------------------------------------

    def push(self, frame: bytes, *, answer: bool = False, last: bool = False) -> None:
        """Sends a control frame now, or as soon as can be; never raises.

        Args:
            answer: a pong, of which only the last matters when there are too many.
            last: a close frame: no message follows it.
        """
        self._last = self._last or last
        if self.broken:
            return
        if answer and len(self.owed) >= MOST_OWED and self.owed[-1][0] == frame[0]:
            self.owed = (*self.owed[:-1], frame)
        else:
            self.owed = (*self.owed, frame)
        self._push_owed()

    def _push_owed(self) -> None:
        if self.writing:
            return None
        while self.owed and self.wire is not None and not self.broken:
            frame = self.owed[0]
            try:
                sent = self.wire.send_now(frame)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return self._break("the peer went away")
            self.written += sent
            if sent < len(frame):
                self.owed = (frame[sent:], *self.owed[1:])
                break
            self.owed = self.owed[1:]
        if self.owed and not self.broken:
            if self._flushing is not None:
                self._flushing.unpark_all()
            elif self.wire is not None:
                self.wire.want_room()
        return None

    def offer(self, frame: bytes) -> bytes | memoryview | None:
        """Sends what can be sent without a wait; None when that was all, else the rest, for :meth:`send`, at once.

        Raises:
            PeerGone: the peer has.
        """
        if self.wire is None or self.writing or self.owed or self.broken:
            return frame
        try:
            sent = self.wire.send_now(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._gone() from exc
        self.written += sent
        return None if sent == len(frame) else memoryview(frame)[sent:]

    async def send(self, data: bytes | memoryview, body: bytes = b"") -> bool:
        """Sends all of ``data``, ``body`` behind it, and what is owed; False, and none of it, behind a close frame.

        Args:
            data: a frame, or the beginning of a large one; a view is the rest of one that has begun.

        Raises:
            PeerGone: the peer has, or does not take it in time. The same after a cancellation in the middle of a
                send: nobody knows how much of it has gone out.
        """
        while self.writing:
            if self._writers is None:
                self._writers = trio.lowlevel.ParkingLot()
            await self._writers.park()
        if self.broken:
            raise PeerGone("an earlier write was not finished")
        self.writing, why = True, "a write was not finished"
        try:
            sent = await self._write_all(data, body)
            why = ""
        except PeerGone as exc:
            why = str(exc)
            raise
        finally:
            self.writing = False
            if why:
                self._break(why)
            if self._writers is not None:
                self._writers.unpark_all() if self.broken else self._writers.unpark()
        return sent

    async def _write_all(self, data: bytes | memoryview, body: bytes) -> bool:
        if isinstance(data, bytes):
            await self._write_owed()
            if self._last and data:
                return False
        if body:
            await self._write_slices(memoryview(bytes(data) + body[:SLICE]))
            await self._write_slices(memoryview(body)[SLICE:])
        else:
            await self._write_parts(memoryview(data))
        await self._write_owed()
        return True

    async def _write_slices(self, data: memoryview) -> None:
        """With a checkpoint behind each: the kernel may take megabytes at once, while everybody waits."""
        for at in range(0, len(data), SLICE):
            part, sent = data[at : at + SLICE], 0
            if self.wire is not None:
                try:
                    sent = self.wire.send_now(part)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                    raise PeerGone("the peer went away") from exc
                self.written += sent
            await self._write_parts(part[sent:])
            await trio.lowlevel.checkpoint()

    async def _write_parts(self, data: memoryview) -> None:
        for at in range(0, len(data), WRITE_SIZE):
            await self._write(data[at : at + WRITE_SIZE])

    async def _write_owed(self) -> None:
        while self.owed:
            owed = b"".join(self.owed)
            self.owed = ()
            await self._write(owed)

    async def _write(self, data: bytes | memoryview) -> None:
        with trio.move_on_after(self._write_timeout) as scope:
            try:
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise PeerGone("the peer went away") from exc
        if scope.cancelled_caught:
            self.too_slow = True
            raise PeerGone(TOO_SLOW)
        self.written += len(data)

    async def flush(self) -> None:
        """Sends what is owed, behind what is being sent.

        Raises:
            PeerGone: as :meth:`send`.
        """
        if (self.owed or self.writing) and not self.broken:
            await self.send(b"")

    async def _flush(self, pushed: trio.lowlevel.ParkingLot) -> None:
        try:
            while True:
                await self.flush()
                if self.writing or not self.owed:
                    await pushed.park()
        except PeerGone:
            return
        except BaseException as exc:
            if passes(exc):
                raise
            self._fail(exc)

    @property
    def taken(self) -> int:
        """Octets that the peer has taken, as far as can be known: those in our socket's buffer it has not."""
        return self.written - unacknowledged(self.stream)

    @property
    def timed(self) -> bool:
        """Whether a write is under way that has a time of its own."""
        return self.writing and self._write_timeout < float("inf")

    def _gone(self) -> PeerGone:
        self._break("the peer went away")
        return PeerGone("the peer went away")

    def _break(self, why: str) -> None:
        self.broken = True
        self.sink.lost(why)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Half-closes, when everything has been sent and the stream can do that at once."""
        if self.wire is not None and not (self.owed or self.writing or self.broken):
            try:
                self.wire.send_eof_now()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.broken = True

    def leave(self) -> None:
        """Reads no more, and tells nobody."""
        self.sink = NOBODY
        if self.wire is not None:
            self.wire.reader = self.wire.writer = None

    async def settle(self, seconds: float) -> None:
        """Sends what is owed, if that can be done in time."""
        with trio.move_on_after(seconds), suppress(PeerGone):
            await self.flush()

    async def part(self, seconds: float) -> None:
        """A close that the peer can read: what is owed, an end, and then nothing until it has closed too (N72)."""
        self.leave()
        with trio.move_on_after(seconds):
            try:
                await self.flush()
            except PeerGone:
                return
            if self.broken or self.hopeless:
                return
            stream, tls = self.stream, encrypted(self.stream)
            if tls is not None:
                stream = await close_notify(tls)
            await linger(stream, seconds, LINGER_OCTETS)
