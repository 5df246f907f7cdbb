"""A plain socket as a Trio stream, with the four things a server asks of it beyond Trio's own.

:class:`SocketWire` can try a send before waiting (most responses fit the socket buffer, so most need no wait at all),
look whether bytes have arrived without taking them, send a file from the kernel, and be made from a raw socket that
was accepted without Trio. It keeps Trio's stream rules: one sender and one receiver at a time, a checkpoint in every
await, ``ClosedResourceError`` after a close and in those a close interrupts.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import trio

from . import forks
from .files import READ_SIZE, OpenFile
from .parties import Attendant, Reader, Sending, Writer
from .poller import ROOM, URGENT, WOKEN, Poller

EPOLLIN = getattr(select, "EPOLLIN", 1)

TCP: Final = (socket.AF_INET, socket.AF_INET6)
RECEIVE_SIZE: Final = 65536


class SocketWire(trio.abc.HalfCloseableStream):
    """A connected, non-blocking stream socket.

    Attributes:
        reader: told of what arrives while no task waits for it, where there is a poller.
        taken: octets that the kernel has taken of what :meth:`send_all` or :meth:`send_file` was last given.
        writer: told that there is room again after :meth:`want_room`, where there is a poller.
        readable: there may be something to read. While it is False an edge comes before there is.
        wary: a short read need not have emptied the socket, see :meth:`_has_more`.

    Args:
        sock: the socket; it is made non-blocking and belongs to the wire from now on.
        poller: tells of it; a ``known`` one already, to another (:meth:`surrender`).
        tcp: whether it is one of TCP, where that is known: a socket needs four steps to say so.
    """

    __slots__ = (
        "_eof_sent",
        "_failure",
        "_in_hand",
        "_poller",
        "_receiving",
        "_waiter",
        "_wants_room",
        "attendant",
        "held",
        "hung_up",
        "readable",
        "reader",
        "sending",
        "socket",
        "taken",
        "wary",
        "writer",
    )

    def __init__(
        self, sock: socket.socket, poller: Poller | None = None, *, known: bool = False, tcp: bool | None = None
    ) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.sending = False
        self.readable = False
        self.hung_up = False
        self.held: bytearray | None = None
        self.taken = 0
        self.attendant: Attendant | None = None
        self.reader: Reader | None = None
        self.writer: Writer | None = None
        self.wary = False
        self._receiving = self._in_hand = False
        self._wants_room = False
        self._failure: OSError | None = None
        self._eof_sent = False
        self._poller = poller
        self._waiter: trio.lowlevel.Task | None = None
        if poller is not None:
            self.wary = sock.family not in TCP if tcp is None else not tcp
            (poller.hand_over if known else poller.watch)(sock, self)

    @property
    def polled(self) -> bool:
        """Whether a poller watches it, and its ``attendant``, if there is one, learns when the peer leaves."""
        return self._poller is not None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, at most ``max_bytes`` (64 KiB); ``b""`` when the peer has finished.

        Raises:
            trio.BusyResourceError: another task is receiving.
            trio.BrokenResourceError: the connection was reset.
            trio.ClosedResourceError: the wire is closed.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            if self._poller is None:
                await trio.lowlevel.checkpoint_if_cancelled()
                return await self._receive(max_bytes or RECEIVE_SIZE)
            return await self.receive_by_edge(max_bytes or RECEIVE_SIZE)
        finally:
            self._receiving = False

    async def receive_by_edge(self, size: int) -> bytes:
        """As :meth:`receive_some` where the wire is :attr:`polled`, by a caller who sees to it that no other receives.

        A frame less on the stack is 3 % of the memory of a connection that waits.
        """
        if self.readable:
            await trio.lowlevel.checkpoint()
        while True:
            if not self.readable:
                self._waiter = trio.lowlevel.current_task()
                if self._poller is not None and self._poller.leader is self._waiter:
                    self._waiter = None
                    await self._poller.lead(self)
                    continue
                await trio.lowlevel.wait_task_rescheduled(self._abort)
            try:
                data = self.socket.recv(size)
            except BlockingIOError:
                self._read_in_vain()
                continue
            except OSError as exc:
                raise self._translated(exc) from exc
            if len(data) < size and not (self.wary and self._has_more()):
                self.readable = False  # a short read has emptied the buffer: what comes next is a new edge
            return data

    def _read_in_vain(self) -> None:
        self.readable = False
        if self._poller is not None:
            self._poller.doubt()  # what has come was for others

    def _has_more(self) -> bool:
        """Whether there is more behind a short read, of which no edge will tell.

        On TCP the kernel reads on until it has all or the buffer is empty, with two exceptions that edges announce: it
        stops before urgent data, and an end is read by itself. On Unix sockets it stops behind a message that
        brought descriptors, too, which nothing announces.
        """
        return self.hung_up or (self._poller is not None and self._poller.has_unread(self.socket))

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    def edge(self, events: int) -> trio.lowlevel.Task | None:
        """The poller's word: something has arrived, there is room again for what is held, or the peer has gone."""
        if events != EPOLLIN:
            self._odd_edge(events)
            return None
        self.readable = True
        if (waiter := self._waiter) is not None:
            self._waiter = None
            trio.lowlevel.reschedule(waiter, WOKEN)
        elif self.reader is not None:
            self.reader.read_now()
        return waiter

    def _odd_edge(self, events: int) -> None:
        """All but plain data. What comes together is told in order: room, what can be read, that the peer left."""
        if events & ROOM:
            self.flush()
            if self.writer is not None:
                self.writer.write_now()
            events -= ROOM
        if events & URGENT:
            self.wary = True
            with suppress(OSError):  # out of line its octet would hide what is behind; a listener's sockets have it set
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, True)
            events -= URGENT
        if events | EPOLLIN != EPOLLIN:
            self.wary = self.hung_up = True
        if events:
            self.edge(EPOLLIN)
        if events | EPOLLIN != EPOLLIN and self.attendant is not None:
            self.attendant.hang_up(events)

    async def _receive(self, size: int) -> bytes:
        waited = False
        while True:
            try:
                data = self.socket.recv(size)
            except BlockingIOError:
                waited = True
                await trio.lowlevel.wait_readable(self.socket)
            except OSError as exc:
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise self._translated(exc) from exc
            else:
                if not waited:
                    self._in_hand = bool(data)
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    self._in_hand = False
                return data

    def receive_now(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """What has arrived, ``b""`` at the end, None when there is nothing now; not a checkpoint.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as for :meth:`receive_some`.
        """
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as exc:
            raise self._translated(exc) from exc
        if len(data) < size and not (self.wary and self._has_more()):
            self.readable = False
        return data

    def pending(self) -> bool:
        """Whether a byte has arrived that ``receive_some`` has not returned yet; a close or a reset is not a byte."""
        if self._in_hand:
            return True
        try:
            if self._poller is not None:
                return self._poller.has_unread(self.socket)
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except (OSError, ValueError):  # it is closed
            return False

    def has_room(self) -> bool:
        """Whether the socket would take something now; not a checkpoint."""
        if self.socket.fileno() == -1:
            return False
        asked = select.poll()
        asked.register(self.socket, select.POLLOUT)
        return bool(asked.poll(0))

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Sends what the socket takes without waiting and says how many octets that was; not a checkpoint.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.BrokenResourceError: the peer has gone.
            trio.ClosedResourceError: the wire is closed.
        """
        if self.sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._translated(exc) from exc

    def hold(self, data: bytes) -> None:
        """Keeps ``data`` until the turn of Trio's loop is over, to be written then in one go with what else is held.

        Only where it is :attr:`polled`, and by one who calls :meth:`release` before whatever else is sent.

        Raises:
            trio.BusyResourceError: another task is sending, and its octets must stay together.
            trio.BrokenResourceError, trio.ClosedResourceError: what was held before could not be written.
        """
        if self.sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if self._failure is not None:
            raise self._translated(self._failure) from self._failure
        if not self.held:
            self.held = bytearray()
            cast("Poller", self._poller).flush_soon(self)
        self.held += data

    def release(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
        """What was held, and ``data`` behind it: it is the caller's to send now."""
        if self.held is None:
            return data
        held, self.held = self.held, None
        held += data
        return held

    def flush(self) -> None:
        """Writes what is held, as far as the kernel takes it; the rest when there is room again.

        Raises nothing: who holds or sends something next learns that the peer has gone.
        """
        if not self.held or self.socket.fileno() == -1:
            return
        try:
            sent = self.socket.send(self.held)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._failure = exc
            sent = len(self.held)
        del self.held[:sent]
        if self.held:
            self.want_room()

    def want_room(self) -> None:
        """Has the writer told, from now on, when the socket takes more again after it took no more."""
        if self._poller is not None and not self._wants_room:
            self._wants_room = True
            self._poller.ask_for_room(self.socket)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of ``data``. Interrupted by a cancellation, it has sent an unknown part of it.

        Raises:
            trio.BusyResourceError, trio.BrokenResourceError, trio.ClosedResourceError: as for :meth:`send_now`.
        """
        sender = self._sender()
        self.taken = 0
        async with sender:
            await self._send(data)

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                try:
                    step = self.socket.send(view[sent:])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self.socket)
                    continue
                except OSError as exc:
                    raise self._translated(exc) from exc
                sent += step
                self.taken += step

    async def send_file(self, file: int, offset: int, count: int) -> int:
        """Sends up to ``count`` octets of an open file, if it can be from the kernel, waiting for the peer as needed.

        A file system or a sandbox may refuse ``sendfile``, and its errors do not say whose they are. So whatever is
        left after one is read in a thread, and sent: what is wrong with the file is told by the read.

        Args:
            file: descriptor of a regular file. Its octets should be in the page cache: a cold page blocks.

        Returns:
            How many were sent: fewer than ``count`` only when the file ends early.

        Raises:
            OSError: the file cannot be read. Not the peer's doing.
            trio.BusyResourceError, trio.BrokenResourceError, trio.ClosedResourceError: as for :meth:`send_now`.
        """
        sender, there_is_room = self._sender(), False
        self.taken = 0
        async with sender:
            while self.taken < count:
                try:
                    step = os.sendfile(self.socket.fileno(), file, offset + self.taken, count - self.taken)
                except BlockingIOError as exc:
                    if there_is_room:  # so it is the file for which nobody wants to wait
                        await self._send_read(file, offset, count, exc)
                        break
                    await trio.lowlevel.wait_writable(self.socket)
                    there_is_room = True
                    continue
                except OSError as exc:
                    await self._send_read(file, offset, count, exc)
                    break
                if step == 0:
                    break
                self.taken, there_is_room = self.taken + step, False
            return self.taken

    async def _send_read(self, file: int, offset: int, count: int, refusal: OSError) -> None:
        """The rest of :meth:`send_file`, with a read, when the kernel has refused, unless that is the peer's doing."""
        try:
            self.socket.send(b"")
        except BlockingIOError:
            pass
        except OSError:
            raise self._translated(refusal) from refusal
        with OpenFile(os.dup(file), offset + count) as copy:  # a read that is abandoned must not find it closed
            while self.taken < count:
                data = await copy.read(offset + self.taken, min(READ_SIZE, count - self.taken))
                if not data:
                    return
                await self._send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Returns when the socket would take something."""
        async with self._sender(sending=False):
            await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Half-closes: the peer reads an end, and can still send."""
        async with self._sender(sending=False):
            self.send_eof_now()

    def send_eof_now(self) -> None:
        """Half-closes at once, behind what is held; not a checkpoint.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as for :meth:`send_now`.
        """
        if not self._eof_sent:
            self.flush()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as exc:
                raise self._translated(exc) from exc
            self._eof_sent = True

    def close(self) -> None:
        """Closes the socket now; waiting tasks get ``ClosedResourceError``."""
        self._close(forks.end)

    def _close(self, end: Callable[[socket.socket], None]) -> None:
        if self.socket.fileno() != -1:
            if self.held:
                self.flush()
            self.attendant = self.reader = self.writer = None
            self.readable = True  # nobody waits for what cannot come
            if self._poller is not None:
                self._poller.forget(self.socket)
            if self._poller is None or self.sending:  # else nobody can be waiting there, and asking Trio takes 4 µs
                trio.lowlevel.notify_closing(self.socket)
            end(self.socket)
            self.socket.close()
            if self._waiter is not None:
                trio.lowlevel.reschedule(self._waiter)
                self._waiter = None
            elif self._poller is not None:
                self._poller.dismiss(self)

    def reset(self) -> None:
        """Closes with a reset: the peer learns that what it has is not the whole."""
        if self.socket.fileno() != -1:
            self.flush()  # what the kernel takes of it was sent in time
            self.held = None
            with suppress(OSError):  # some systems refuse it once the peer has reset the connection itself
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(forks.abort)

    def surrender(self, *, by_reader: bool = False) -> int | None:
        """Gives up its descriptor, which the poller still watches; None, and it does not, unless somebody waits.

        Where it is the :attr:`reader` who is told of what comes, nobody need wait.
        """
        waits = not self.readable if by_reader else self._waiter is not None
        if not waits or self.held or self.sending or self.hung_up or self._eof_sent:
            return None
        if self._failure is not None or self.wary is (self.socket.family in TCP):
            return None
        self.attendant = self.reader = self.writer = None
        return self.socket.detach()

    def retire(self) -> None:
        """Closes the socket, and may :meth:`adopt` another; where it is :attr:`polled`, and nothing is held."""
        cast("Poller", self._poller).forget(self.socket)
        forks.end(self.socket)
        self.socket.close()
        self.attendant = self.reader = self.writer = self._failure = None
        self.readable = self.hung_up = self._eof_sent = False

    def adopt(self, sock: socket.socket, *, tcp: bool) -> bool:
        """Has another, which does not block, in the place of the one it gave up; False when nobody waits any more."""
        if self._waiter is None:
            return False
        self.socket, self.wary, self._wants_room = sock, not tcp, False
        return True

    async def aclose(self) -> None:
        """Closes the socket; a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _sender(self, *, sending: bool = True) -> Sending:
        if self.sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        return Sending(self, sending)

    def check_open(self, *, sending: bool) -> None:
        """Raises ``ClosedResourceError`` when the wire is closed, or half-closed and something is to be sent."""
        if self.socket.fileno() == -1:
            raise trio.ClosedResourceError("this stream is closed")
        if sending and self._eof_sent:
            raise trio.ClosedResourceError("send_eof was called on this stream")

    def _translated(self, exc: OSError) -> Exception:
        if self.socket.fileno() == -1:
            return trio.ClosedResourceError("this stream is closed")
        return trio.BrokenResourceError(f"the connection is broken: {exc}")
