"""One request as ASGI has it: ``receive`` and ``send``, and what they have come to.

A start message is kept until the first of the body is there: then one write carries both, the content-length of a body
that comes at once need not be guessed, and an application that fails in between can still be answered with 500.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final, Literal, TypeAlias, cast

import trio

from ..errors import HTTPError, ProtocolError
from ..fields import FORBIDDEN_TRAILERS, Field, encoded, tokens
from ..journal import log
from ..messages.exchange import Exchange
from ..transport.files import OpenFile, open_file
from ..transport.gone import BodyTimeout, PeerGone
from .asgi_messages import (
    Disconnected,
    Message,
    head_of,
    is_peers_doing,
    octets_of,
    parted,
    status_of,
    unexpected,
)

DrainEvents: TypeAlias = Literal["sse", "deadline", "none"]

HINT: Final = 103


class State(IntEnum):
    """How far a response is."""

    BEGIN = 0
    HELD = 1
    """Its start has been given, and nothing is out."""
    BODY = 2
    TRAILERS = 3
    """The body is complete, and trailers are to follow."""
    DONE = 4
    LOST = 5
    """The request could not be read to its end, which the server answers when the application has ended."""


SAID: Final = {
    State.BEGIN: "before http.response.start",
    State.HELD: "after http.response.start",
    State.BODY: "inside a body",
    State.TRAILERS: "where trailers are due",
    State.DONE: "after the response",
    State.LOST: "when the request could not be read to its end",
}
BEGIN, HELD, BODY, TRAILERS, DONE, LOST = State
DISCONNECT: Final = "http.disconnect"
AT_ONCE: Final = 1.0
START_MESSAGE: Final = "http.response.start"
BODY_MESSAGE: Final = "http.response.body"


class Cycle:
    """A request and its response.

    Args:
        exchange: what carries them.
        extra: fields of those who stand around the application.
        drain_events: whom a drain is told: see :class:`~.asgi.asgi`.

    Attributes:
        state: how far the response is.
        told: the application knows that its peer is gone, or has been told so.
    """

    # What most requests never come to is said here, once, and not once a request.
    state: State = BEGIN
    told = False
    _body_told = False
    _declared: int | None = None
    _fields: tuple[Field, ...] = ()
    _farewell: Farewell | None = None
    _kept: Exception | None = None
    _sent = 0
    _status = 0
    _waiting = 0
    _wants_trailers = False
    _warned = False
    _writes = True

    def __init__(self, exchange: Exchange, drain_events: DrainEvents = "sse", extra: Iterable[Field] = ()) -> None:
        self._exchange = exchange
        self.drain_events: DrainEvents = drain_events
        self._extra = extra

    # -- receive ---------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next event: pieces of the body, then the end, whenever it is asked for.

        What is known already is given without a checkpoint, for some ask in a scope that is cancelled.
        """
        if self.state is DONE or self.state is LOST:
            return self._disconnect()
        if not self._body_told:
            return await self._receive_body()
        return await self._receive_end()

    async def _receive_body(self) -> Message:
        exchange, piece = self._exchange, b""
        if not exchange.body_done:
            self._waiting += 1
            try:
                piece = await (self._receive_left() if exchange.gone_now else exchange.receive_body())
            except (ProtocolError, BodyTimeout) as exc:
                self._kept, self.state = exc, LOST
                return self._disconnect()
            except PeerGone:
                return self._disconnect()
            except RuntimeError:
                if self.state is not DONE:
                    raise
                return self._disconnect()
            finally:
                self._waiting -= 1
            if self._body_told:  # another task was told the end in the meantime
                return await self._receive_end()
        self._body_told = exchange.body_done
        return {"type": "http.request", "body": piece, "more_body": not self._body_told}

    async def _receive_left(self) -> bytes:
        """What one who has left has sent is here: a read ends at once, also for those whose scope is cancelled."""
        with trio.fail_after(AT_ONCE, shield=True):
            return await self._exchange.receive_body()

    async def _receive_end(self) -> Message:
        exchange = self._exchange
        farewell = self._farewell = self._farewell or Farewell(self, exchange)
        if not (exchange.gone_now or farewell.said):
            self._waiting += 1
            farewell.attend()
            try:
                if not farewell.said:
                    await exchange.disconnected()
            except RuntimeError:
                if self.state is not DONE:
                    raise
            finally:
                self._waiting -= 1
                if not self._waiting:
                    farewell.leave()
        return self._disconnect()

    def _disconnect(self) -> Message:
        self.told = True
        return {"type": DISCONNECT}

    # -- send ------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Takes a message.

        Raises:
            OSError: the peer has gone.
            RuntimeError: it does not come now.
            KeyError, TypeError, ValueError: it is not as it should be; nothing of it is out.
        """
        kind: str = message["type"]
        if self.state is HELD and kind == BODY_MESSAGE and not (message.get("more_body") or self._wants_trailers):
            body = message.get("body", b"")  # nearly all of them are such
            if type(body) is not bytes or len(body) != self._declared:
                body = self._whole(body)
            try:
                await self._exchange.respond(self._status, self._fields, body)
            except PeerGone as exc:
                raise self._gone(str(exc)) from exc
            self.state = DONE
            self._exchange.release_waiters()
        elif self.state is BEGIN and kind == START_MESSAGE:
            self._take_start(message)
        else:
            await self._take(kind, message)

    async def _take(self, kind: str, message: Message) -> None:
        if self.state is DONE:
            return self._too_late(kind)
        if self.state is LOST:
            raise self._gone("the request could not be read to its end")
        try:
            if kind == BODY_MESSAGE:
                await self._take_body(message)
            else:
                await self._take_other(kind, message)
        except PeerGone as exc:
            raise self._gone(str(exc)) from exc
        return None

    async def send_denial(self, message: Message) -> None:
        """The same for a response to the handshake of a WebSocket."""
        await self.send({**message, "type": message["type"].removeprefix("websocket.")})

    def add_fields(self, fields: Iterable[Field]) -> None:
        """Adds fields of others to a start that has been given."""
        self._fields = (*self._fields, *fields)

    def _too_late(self, kind: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%r of %r came after its response was complete, and was ignored", kind, self._exchange.request)

    def _gone(self, why: str) -> Disconnected:
        self.told = True
        return Disconnected(why)

    def _take_start(self, message: Message) -> None:
        self._status = status_of(message)
        self._fields, self._declared = parted(message.get("headers", ()))
        if message.get("trailers"):
            head = self._exchange.request.head
            chunked = self._declared is None and head.version >= (1, 1)
            self._wants_trailers = chunked and b"trailers" in tokens(head.fields, b"te")
            self._warned = not self._wants_trailers  # those that come will be ignored, which is nobody's mistake
        if self._extra:
            self._fields = (*self._fields, *self._extra)
        if self._declared == 0:
            self._declare()  # no body says it
        self.state = HELD

    def _declare(self) -> None:
        """Puts the length that was declared among the fields, where no body that comes with them says it."""
        if self._declared is not None:
            self._fields = (*self._fields, (b"content-length", b"%d" % self._declared))

    def _whole(self, given: Any) -> bytes:
        """A body that comes at once, where it may be one: else what it would be is said in the fields, or not known."""
        body = octets_of(given, "a body")
        if self._declared:
            self._declare()
        if self._status in (204, 304):
            return b""
        if self._exchange.request.head.method == b"HEAD":
            return body if self._declared is None else b""
        if self._declared not in (None, len(body)):
            raise ValueError(f"the response has {len(body)} octets, and declares {self._declared}")
        return body

    async def _take_body(self, message: Message) -> None:
        if self.state not in (HELD, BODY):
            raise unexpected(BODY_MESSAGE, SAID[self.state])
        body = octets_of(message.get("body", b""), "a body")
        first = self.state is HELD
        if first:
            await self._begin("stream")
        await self._write(body)
        if not message.get("more_body"):
            await self._end_body()
        elif first and self._farewell is not None:
            self._farewell.look()

    async def _begin(self, kind: str) -> None:
        """The head, where the body does not come at once."""
        exchange = self._exchange
        exchange.kind = kind
        self._trailers: list[Field] = []
        if self._declared:
            self._declare()
        self._writes = await exchange.start_response(self._status, self._fields)
        self.state = BODY

    async def _write(self, body: bytes) -> None:
        if not self._writes:
            return
        self._count(len(body))
        await self._exchange.send_body(body)

    def _count(self, octets: int) -> None:
        sent = self._sent + octets
        if self._declared is not None and sent > self._declared:
            raise ValueError(f"the response has {sent} octets and more, and declares {self._declared}")
        self._sent = sent

    async def _end_body(self) -> None:
        if self._writes and self._declared is not None and self._sent < self._declared:
            raise ValueError(f"the response ended after {self._sent} octets, and declares {self._declared}")
        if self._wants_trailers:
            self.state = TRAILERS
        else:
            await self._exchange.end_response()
            self._complete()

    def _complete(self) -> None:
        self.state = DONE
        self._exchange.release_waiters()

    # -- extensions ------------------------------------------------------------------------------------

    async def _take_other(self, kind: str, message: Message) -> None:
        if kind == "http.response.early_hint":
            links = [(b"link", octets_of(link, "a link")) for link in message["links"]]
            await self._exchange.send_interim(HINT, encoded(links))
        elif kind == "http.response.trailers" and self.state is TRAILERS:
            await self._take_trailers(message)
        elif kind == "http.response.pathsend" and self.state is HELD:
            await self._send_path(message["path"])
        elif kind == "http.response.zerocopysend" and self.state in (HELD, BODY):
            await self._send_descriptor(message)
        else:
            raise unexpected(kind, SAID[self.state])

    async def _take_trailers(self, message: Message) -> None:
        fields = head_of(message.get("headers", ())).fields
        for name, _ in fields:
            if name in FORBIDDEN_TRAILERS:
                raise ValueError(f"{name.decode('latin-1')!r} may not be a trailer field")
        self._trailers += fields
        if not message.get("more_trailers", False):
            await self._exchange.end_response(self._trailers)
            self._complete()

    async def _send_path(self, path: Any) -> None:
        if not isinstance(path, str | os.PathLike) or not os.path.isabs(cast("str", path)):
            raise ValueError(f"the path of a file to send is absolute, not {path!r}")
        with await open_file(cast("str", path)) as file:
            await self._send_range(file, 0, file.size if self._declared is None else self._declared, last=True)

    async def _send_descriptor(self, message: Message) -> None:
        source = message["file"]
        number: int = source.fileno()
        offset, count = message.get("offset"), message.get("count")
        at = _position(source, number) if offset is None else offset
        size = os.fstat(number).st_size
        length = max(0, size - at) if count is None else min(count, max(0, size - at))
        if at < 0 or length < 0:
            raise ValueError("the offset and count of a file to send are not negative")
        with OpenFile(os.dup(number), size) as file:  # a thread may read from it when the application has closed it
            await self._send_range(file, at, length, last=not message.get("more_body", False))
        if offset is None:
            _move(source, number, at + length)

    async def _send_range(self, file: OpenFile, offset: int, length: int, *, last: bool) -> None:
        if self.state is HELD:
            if last and length and offset + length > file.size:
                there = max(0, file.size - offset)
                raise ValueError(f"the file has {there} octets, and the response declares {length}")
            if last and self._declared is None and not self._wants_trailers:
                self._declared = length
                if not length:
                    self._declare()
            await self._begin("file")
        if self._writes and length:
            self._count(length)
            await self._exchange.send_file(file, offset, length)
        if last:
            await self._end_body()

    # -- the end ---------------------------------------------------------------------------------------

    @property
    def is_event_stream(self) -> bool:
        """Whether the response is one that its reader asks for again when it ends."""
        if self.state not in (HELD, BODY) or self._exchange.request.head.method != b"GET":
            return False
        kinds = [value for name, value in self._fields if name == b"content-type"]
        return any(kind.partition(b";")[0].strip().lower() == b"text/event-stream" for kind in kinds)

    def excuses(self, exc: BaseException) -> bool:
        """Whether an exception of the application only says that its peer is gone, which it has been told."""
        if not (self.told and isinstance(exc, Exception) and is_peers_doing(exc)):
            return False
        log.debug("%r ended with its peer", self._exchange.request, exc_info=exc)
        return True

    async def conclude(self) -> None:
        """The application has ended, and its response has not. Raises whose fault that is, if anybody's."""
        polite, (state, self.state) = self.is_event_stream, (self.state, DONE)
        if self._kept is not None:
            raise self._kept
        if self._farewell is not None and self._farewell.said and not self._exchange.gone_now:
            if state is BODY and polite:
                return await self._exchange.end_response()  # it was asked to
            if state in (BEGIN, HELD):
                raise HTTPError(503)
        if self.told:
            raise Disconnected("the peer went away, and the application with it")
        match state:
            case State.BEGIN | State.HELD:
                raise RuntimeError(f"the application ended without a response, {SAID[state]}")
            case State.BODY if self._declared is not None:
                raise RuntimeError(f"the application ended after {self._sent} of {self._declared} octets")
            case _:
                raise RuntimeError(f"the application ended without the end of its response, {SAID[state]}")


class Farewell:
    """Tells an application that waits in ``receive`` of the end of the server, as much before it as is of use to it.

    An event stream is told at once, for whoever reads it comes back by itself. Everybody else is told so much before
    the deadline that what is to be put away can be.

    Attributes:
        said: the application is told that the peer has gone.
    """

    __slots__ = ("armed", "cycle", "deadline", "exchange", "said")

    def __init__(self, cycle: Cycle, exchange: Exchange) -> None:
        self.cycle = cycle
        self.exchange = exchange
        self.said = False
        self.deadline = self.armed = math.inf

    def attend(self) -> None:
        """The application waits."""
        if self.cycle.drain_events != "none":
            self.exchange.drain.watch(self)
            self.look()

    def leave(self) -> None:
        """It waits no more."""
        self.exchange.drain.unwatch(self)
        self.exchange.clock.disarm(self)

    def told(self) -> None:
        """The drain's word."""
        self.look()

    def look(self) -> None:
        """What is known of the drain and the response may have changed."""
        cycle, drain = self.cycle, self.exchange.drain
        if not drain.draining or cycle.drain_events == "none" or self.said:
            return None
        if cycle.drain_events == "sse" and cycle.is_event_stream:
            return self.fire()
        if drain.cut < math.inf:  # nothing ends for a mere notice
            self.deadline = drain.cut - min(1.0, max(0.0, drain.cut - trio.current_time()) / 10)
            if self.deadline < self.armed:
                self.exchange.clock.arm(self)
        return None

    def fire(self) -> None:
        """The clock's word."""
        self.said = True
        self.exchange.release_waiters()


def _position(source: Any, number: int) -> int:
    tell: Callable[[], int] | None = getattr(source, "tell", None)
    return os.lseek(number, 0, os.SEEK_CUR) if tell is None else tell()


def _move(source: Any, number: int, to: int) -> None:
    seek: Callable[[int], object] | None = getattr(source, "seek", None)
    if seek is None:
        os.lseek(number, to, os.SEEK_SET)
    else:
        seek(to)
