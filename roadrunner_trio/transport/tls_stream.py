"""A server's end of TLS: records in memory, and the stream that they make of another.

:class:`trio.SSLStream` lets any task at either end do anything at any time, and pays for it with two locks and two
task switches for each read and write: 40 µs of a request. A connection here has one reader and one writer, and knows
when its socket can be read. So :class:`RecordLayer` only turns octets into octets, and whoever has the wire sends and
receives them as it does without TLS. :class:`TLSStream` is for who does not have it: a hand-off, a WebSocket, memory.

Renegotiation, the one thing for which a reader would have to write, does not exist in TLS 1.3, and contexts of
:func:`~roadrunner_trio.server_context` refuse it in 1.2.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from operator import index
from typing import Final, NamedTuple, cast

import trio

from .streams import linger
from .wire import RECEIVE_SIZE

RECORD_SIZE: Final = 16384
"""Octets that a record holds at most (RFC 8446 section 5.1)."""
SEAL_SIZE: Final = 65536
"""Octets that a stream encrypts at once."""
MOST_UNSAID: Final = 16384
"""Octets that TLS itself may have to say before anything is sent. A peer that asks for more of it is an attacker."""


class Buffers(NamedTuple):
    """OpenSSL's two ends in memory: what has come, and what it has to send.

    They grow with what passes through them and never shrink: a pair of its own cost a connection 3 kB, and 270 kB for
    ever once it had carried something large. But nobody waits between putting something in and taking all of it out
    again. So the connections of one run of Trio, which has one thread, have one pair, and what is in it belongs to the
    step at hand: each clears it first, should the one before have been torn apart by a KeyboardInterrupt.
    """

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    @classmethod
    def of_this_run(cls) -> Buffers:
        """The pair of the run of Trio that this is called in; a new one outside of any."""
        try:
            return _of_run.get()
        except LookupError:
            pair = cls(ssl.MemoryBIO(), ssl.MemoryBIO())
            _of_run.set(pair)
            return pair
        except RuntimeError:
            return cls(ssl.MemoryBIO(), ssl.MemoryBIO())


_of_run: trio.lowlevel.RunVar[Buffers] = trio.lowlevel.RunVar("roadrunner_trio: TLS buffers")


class RecordLayer:
    """Seals what is to be sent, opens what has come (RFC 8446 section 5). It does no input or output.

    Between two steps there is no more to it than its state and what is yet to be said: another layer can go on with
    these two, in the same run of Trio.

    Args:
        state: a context, of which a new connection is made, or the :attr:`tls` of another layer.
        unsaid: what that had yet to say.

    Attributes:
        tls: the connection's state, to be asked for its version, its cipher and the peer's certificate.
        ended: the peer has said that it sends no more (``close_notify``).
    """

    __slots__ = ("_cut", "_fed", "_incoming", "_outgoing", "_parted", "_unsaid", "ended", "tls")

    def __init__(self, state: ssl.SSLContext | ssl.SSLObject, unsaid: bytes = b"") -> None:
        self._incoming, self._outgoing = Buffers.of_this_run()
        if isinstance(state, ssl.SSLContext):
            state = state.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.tls = state
        self.ended = False
        self._fed: bytes | bytearray = b""
        self._cut = False
        self._unsaid = unsaid
        self._parted = False

    def feed(self, data: bytes | bytearray) -> None:
        """Takes what the transport has received; ``b""`` is its end."""
        if data:
            self._fed = self._fed + data if self._fed else data
        else:
            self._cut = True

    def _load(self) -> None:
        """A step begins: the buffers have what is fed, and nothing else."""
        if self._incoming.pending:
            self._incoming.read()
        if self._outgoing.pending:
            self._outgoing.read()
        if self._fed:
            self._incoming.write(self._fed)
            self._fed = b""

    def _unload(self) -> None:
        """It ends: they are left as others have to find them."""
        if self._incoming.pending:
            self._fed = self._incoming.read()
        if self._outgoing.pending:
            self._unsaid += self._outgoing.read()

    def shake(self) -> bool:
        """Goes on with the handshake, as far as what has come allows; whether it is complete.

        Raises:
            ssl.SSLError: it has failed. :meth:`said` has the alert.
        """
        self._load()
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._cut:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the handshake was cut short") from None
            return False
        finally:
            self._unload()
        return True

    def said(self) -> bytes:
        """What TLS itself has to say: of a handshake, an alert. It is the caller's to send now."""
        said, self._unsaid = self._unsaid, b""
        return said

    @property
    def unsaid(self) -> int:
        """Octets that :meth:`said` would give. They go out before anything that is sealed."""
        return len(self._unsaid)

    def open(self) -> bytes:
        """The content of what has come since; ``b""`` when that was none, or :attr:`ended`.

        Raises:
            trio.BrokenResourceError: a record is bad, or the transport has ended without a word (RFC 9112 section 9.8).
        """
        self._load()
        tls, incoming, short = self.tls, self._incoming, False
        pieces: list[bytes] = []
        try:
            while not self.ended:
                piece = tls.read(RECORD_SIZE)
                self.ended = not piece
                pieces.append(piece)
                if not incoming.pending and not tls.pending():
                    break  # nothing more to read, and no exception to learn it from, which takes a microsecond
        except ssl.SSLWantReadError:
            short = True
        except ssl.SSLError as exc:
            self._unload()
            raise trio.BrokenResourceError(f"TLS is broken: {exc.reason or exc}") from exc
        if incoming.pending or self._outgoing.pending:
            self._unload()
        if short:
            self._judge()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _judge(self) -> None:
        """There is no more, and TLS would like to go on: is there a reason to wait for more?"""
        if self._cut:
            raise trio.BrokenResourceError("TLS is broken: the transport has ended without a word")
        if len(self._unsaid) > MOST_UNSAID:
            raise trio.BrokenResourceError("the peer talks of nothing but TLS")

    def seal(self, data: bytes | bytearray | memoryview) -> bytes:
        """The records of ``data``, behind what TLS itself has to say.

        Raises:
            trio.BrokenResourceError: TLS has failed before.
        """
        if not data:
            return self.said()
        outgoing = self._outgoing
        if outgoing.pending:
            outgoing.read()
        try:
            self.tls.write(data)
        except ssl.SSLError as exc:
            self._unsaid += outgoing.read()
            raise trio.BrokenResourceError(f"TLS is broken: {exc.reason or exc}") from exc
        sealed = outgoing.read()
        return self.said() + sealed if self._unsaid else sealed

    def farewell(self) -> bytes:
        """``close_notify``, once: the peer can tell the end from a cut (RFC 8446 section 6.1)."""
        if self._parted:
            return b""
        self._parted = True
        self._load()
        with suppress(ssl.SSLError):  # it would like to wait for the peer's
            self.tls.unwrap()
        self._unload()
        return self.said()


class TLSStream(trio.abc.Stream):
    """A stream on top of another, by a record layer whose handshake is done; see :func:`accept_tls`.

    It keeps Trio's rules for streams. A cancelled send leaves it broken: nobody knows how much of a record went out.
    What TLS itself has to say meanwhile, such as a new key of its own, goes out before what is sent next
    (RFC 8446 section 4.6.3).

    Attributes:
        transport: the encrypted octets.
        layer: what they mean.
        sending: a task is.
    """

    def __init__(self, transport: trio.abc.Stream, layer: RecordLayer) -> None:
        self.transport = transport
        self.layer = layer
        self._opened = b""
        self._receiving = False
        self.sending = False
        self._broken = False
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, at most ``max_bytes``; ``b""`` when the peer has said that it sends no more.

        Raises:
            trio.BusyResourceError: another task is receiving.
            trio.BrokenResourceError: the connection was reset or cut, or what has come is no TLS.
            trio.ClosedResourceError: the stream is closed.
        """
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_open()
            while not (self._opened or self.layer.ended):
                self.layer.feed(await self.transport.receive_some(RECEIVE_SIZE))
                self._opened = self.layer.open()
        finally:
            self._receiving = False
        data = self._opened[:max_bytes]
        self._opened = self._opened[len(data) :]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of ``data``.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.BrokenResourceError: the peer has gone, or an earlier send was not finished.
            trio.ClosedResourceError: the stream is closed.
        """
        with self._sender(), memoryview(data) as whole:
            await trio.lowlevel.checkpoint()
            self._check_open()
            if self._broken:
                raise trio.BrokenResourceError("an earlier send was not finished")
            self._broken = True
            for at in range(0, len(whole), SEAL_SIZE):
                await self.transport.send_all(self.layer.seal(whole[at : at + SEAL_SIZE]))
            self._broken = False

    async def wait_send_all_might_not_block(self) -> None:
        """Returns when the transport would take something."""
        with self._sender():
            await trio.lowlevel.checkpoint()
            self._check_open()
            await self.transport.wait_send_all_might_not_block()

    async def part(self) -> None:
        """Says ``close_notify``, if that can be said, and waits for no answer; the transport stays open."""
        if not (self.sending or self._broken or self._closed):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                await self.transport.send_all(self.layer.farewell())

    async def aclose(self) -> None:
        """Says ``close_notify``, and closes the transport."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.part()
        finally:
            self._closed = True
            await self.transport.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")

    def _sender(self) -> _Sending:
        if self.sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        return _Sending(self)


class _Sending:
    """One sender at a time."""

    __slots__ = ("stream",)

    def __init__(self, stream: TLSStream) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        self.stream.sending = True

    def __exit__(self, *exc_info: object) -> None:
        self.stream.sending = False


async def accept_tls(
    transport: trio.abc.Stream, context: ssl.SSLContext, early: bytes = b"", *, linger_for: float
) -> TLSStream:
    """The server's handshake. What the client has sent behind it, if anything, is in the stream's layer, to be opened.

    Args:
        early: what has been received already.
        linger_for: seconds in which a client may read what was wrong.

    Raises:
        trio.BrokenResourceError: it failed, or the client has gone.
    """
    layer = RecordLayer(context)
    if early:
        layer.feed(early)
    try:
        while not layer.shake():
            if said := layer.said():
                await transport.send_all(said)
            layer.feed(await transport.receive_some(RECEIVE_SIZE))
    except ssl.SSLError as exc:
        if alert := layer.said():  # which version, cipher or certificate it was (RFC 8446 section 6.2)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await transport.send_all(alert)
                await linger(transport, linger_for, RECEIVE_SIZE)
        raise trio.BrokenResourceError("no TLS") from exc
    if layer.tls.version() != "TLSv1.3":  # there, what is left are tickets, which no client waits for
        await transport.send_all(layer.said())
    return TLSStream(transport, layer)


class _Ended(trio.abc.ReceiveStream):
    """The receiving side of Trio's TLS stream that will not wait for its peer's farewell."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def close_notify(stream: TLSStream | trio.SSLStream[trio.abc.Stream]) -> trio.abc.Stream:
    """Says the end of TLS, waits for no answer, and gives back the transport, still open.

    Closing the TLS stream would close the transport with it, and so could not linger on it.
    """
    if isinstance(stream, TLSStream):
        await stream.part()
        return stream.transport
    transport = stream.transport_stream
    stream.transport_stream = trio.StapledStream(transport, _Ended())
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.unwrap()
    return transport


def encrypted(stream: trio.abc.Stream) -> TLSStream | trio.SSLStream[trio.abc.Stream] | None:
    """``stream``, if it is one of TLS."""
    if isinstance(stream, TLSStream):
        return stream
    return cast("trio.SSLStream[trio.abc.Stream]", stream) if isinstance(stream, trio.SSLStream) else None
