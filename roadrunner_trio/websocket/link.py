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
from ..transport.streams import linger
from ..transport.tls_stream import close_notify, encrypted
from ..transport.wire import RECEIVE_SIZE, PeerGone, SocketWire

WRITE_SIZE: Final = 65536
"""Octets that the write timeout is for."""
READS: Final = 8
"""Reads of one peer in a row, before its neighbours have a turn."""
MOST_OWED: Final = 32
"""Control frames that wait; of further pings only the last is answered (RFC 6455 section 5.5.3)."""
LINGER_OCTETS: Final = 20 * 1024 * 1024


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


class Link:
    """One stream, both ways.

    Args:
        stream: what carries the session.
        wire: the same, when edges are to read it.
        write_timeout: seconds for the peer to take the next 64 KiB.
    """

    __slots__ = (
        "_flushing",
        "_reading",
        "_turns",
        "_write_timeout",
        "_writing",
        "broken",
        "hopeless",
        "owed",
        "sink",
        "stream",
        "wire",
    )

    def __init__(self, stream: trio.abc.Stream, wire: SocketWire | None, write_timeout: float, sink: Sink) -> None:
        self.stream = stream
        self.wire = wire
        self.sink = sink
        self.broken = False
        """Nothing more can be written."""
        self.hopeless = False
        """There is no use in waiting for the peer."""
        self._write_timeout = write_timeout
        self.owed: list[bytes] = []
        self._writing = False
        self._turns: trio.lowlevel.ParkingLot | None = None
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
            turns = READS
            while sink.wants() and (data := wire.receive_now()) is not None:
                sink.take(data)
                if not wire.readable:
                    return None
                turns -= 1
                if not turns:
                    return trio.lowlevel.current_trio_token().run_sync_soon(self.read_now)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break("the connection was reset")
        except Exception:
            log.exception("a WebSocket session failed")
            self._break("an internal error")

    def write_now(self) -> None:
        """The wire's word, as above: there is room for what is owed."""
        try:
            self._push_owed()
        except Exception:
            log.exception("a WebSocket session failed")
            self._break("an internal error")

    async def _read(self, resumed: trio.lowlevel.ParkingLot) -> None:
        try:
            while True:
                while not self.sink.wants():
                    await resumed.park()
                data = bytes(await self.stream.receive_some(RECEIVE_SIZE))
                self.sink.take(data)
                if not data:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break("the connection was reset")

    def resume(self) -> None:
        """There is room again."""
        if self._reading is not None:
            self._reading.unpark_all()
        else:
            self.read_now()

    # -- writing ---------------------------------------------------------------------------------

    def push(self, frame: bytes, *, answer: bool = False) -> None:
        """Sends a control frame now, or as soon as can be; never raises.

        Args:
            answer: a pong, of which only the last matters when there are too many.
        """
        if self.broken:
            return
        if answer and len(self.owed) >= MOST_OWED and self.owed[-1][0] == frame[0]:
            self.owed[-1] = frame
        else:
            self.owed.append(frame)
        self._push_owed()

    def _push_owed(self) -> None:
        if self._writing:
            return None
        while self.owed and self.wire is not None and not self.broken:
            frame = self.owed[0]
            try:
                sent = self.wire.send_now(frame)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return self._break("the peer went away")
            if sent < len(frame):
                self.owed[0] = frame[sent:]
                break
            del self.owed[0]
        if self.owed and not self.broken:
            if self._flushing is not None:
                self._flushing.unpark_all()
            elif self.wire is not None:
                self.wire.want_room()
        return None

    @property
    def owes(self) -> bool:
        """Whether control frames wait, and not for a message."""
        return bool(self.owed) and not self._writing

    def offer(self, frame: bytes) -> bytes | memoryview | None:
        """Sends what can be sent without a wait; None when that was all, else the rest, for :meth:`send`, at once.

        Raises:
            PeerGone: the peer has.
        """
        if self.wire is None or self._writing or self.owed or self.broken:
            return frame
        try:
            sent = self.wire.send_now(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._gone("the peer went away") from exc
        return None if sent == len(frame) else memoryview(frame)[sent:]

    async def send(self, data: bytes | memoryview) -> None:
        """Sends all of ``data``, and what is owed.

        Raises:
            PeerGone: the peer has, or does not take it in time. The same after a cancellation in the middle of a
                send: nobody knows how much of it has gone out.
        """
        while self._writing:
            if self._turns is None:
                self._turns = trio.lowlevel.ParkingLot()
            await self._turns.park()
        if self.broken:
            raise PeerGone("an earlier write was not finished")
        self._writing = True
        finished = False
        try:
            await self._write_all(data)
            finished = True
        finally:
            self._writing = False
            if not finished:
                self._break("a write was not finished")
            if self._turns is not None:
                self._turns.unpark_all() if self.broken else self._turns.unpark()

    async def _write_all(self, data: bytes | memoryview) -> None:
        if isinstance(data, bytes):  # a view is the rest of a frame that has begun
            await self._write_owed()
        for at in range(0, len(data), WRITE_SIZE):
            await self._write(data[at : at + WRITE_SIZE])
        await self._write_owed()

    async def _write_owed(self) -> None:
        while self.owed:
            owed = b"".join(self.owed)
            self.owed.clear()
            await self._write(owed)

    async def _write(self, data: bytes | memoryview) -> None:
        with trio.move_on_after(self._write_timeout) as scope:
            try:
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise PeerGone("the peer went away") from exc
        if scope.cancelled_caught:
            raise PeerGone("the peer does not take what is sent to it")

    async def flush(self) -> None:
        """Sends what is owed, behind what is being sent.

        Raises:
            PeerGone: as :meth:`send`.
        """
        if (self.owed or self._writing) and not self.broken:
            await self.send(b"")

    async def _flush(self, pushed: trio.lowlevel.ParkingLot) -> None:
        try:
            while True:
                await self.flush()
                if not self.owes:
                    await pushed.park()
        except PeerGone:
            return

    def _gone(self, why: str) -> PeerGone:
        self._break(why)
        return PeerGone(why)

    def _break(self, why: str) -> None:
        self.broken = True
        self.sink.lost(why)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Half-closes, when everything has been sent and the stream can do that at once."""
        if self.wire is not None and not (self.owed or self._writing or self.broken):
            try:
                self.wire.send_eof_now()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.broken = True

    def leave(self) -> None:
        """Reads no more."""
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
