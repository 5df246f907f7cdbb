"""What a handler may return: five kinds of response, and what a loop response's messages may be.

Fields are checked when a response is built, so a bad one is an exception in the handler, with its line number, and
never a byte on the wire.
"""

from __future__ import annotations

import json as json_module
import os
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeAlias

import trio

from ..errors import phrase
from ..fields import Field, FieldsLike, Own, encoded, lookup
from ..protocol.wishes import content, undelimited
from ..transport.files import OpenFile
from .around import Surround
from .exchange import Exchange
from .functions import check_async
from .media_types import media_type
from .request import Request
from .response_head import ResponseHead, number_of, text_of

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
"""``await send(data)`` puts a piece of a body on the wire and waits until the peer's window takes it."""


class _Stop:
    def __repr__(self) -> str:
        return "STOP"


STOP: Final = _Stop()
"""Returned by a loop response's ``on_message`` to end the response."""


@dataclass(frozen=True, slots=True)
class Draining:
    """A message of a loop response: the server is going down.

    Attributes:
        deadline: absolute Trio time at which the response will be cut.
    """

    deadline: float


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The last message of a loop response: the peer has gone, and what is sent now goes nowhere (N29)."""


_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_HTML: Final = (b"content-type", b"text/html; charset=utf-8")
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_NDJSON: Final = (b"content-type", b"application/x-ndjson")


class Response(ResponseHead):
    """A response whose content is at hand; head and content go out in one write.

    Attributes:
        body: the content, bytes or bytes-like.

    Args:
        body: the content, bytes; str is sent as UTF-8. Not written for HEAD, 204, 205 and 304.
        status: a final status, 200 to 599.
        fields: pairs or a mapping, str or bytes. Content-Length and Date are the server's.
        reason: a reason phrase in place of the standard one.

    Raises:
        ValueError: the status is not final, or a field or the reason could split the message.
        TypeError: a field or the body is neither str nor bytes, or the status no number.
    """

    def __init__(
        self,
        body: bytes | str = b"",
        status: int = 200,
        fields: FieldsLike = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(status, fields, reason)
        self.body = body.encode() if type(body) is str else _content(body)

    @classmethod
    def text(cls, text: str, *, status: int = 200, fields: FieldsLike = ()) -> Self:
        """``text/plain; charset=utf-8``."""
        return cls(text, status, _typed(_TEXT, fields))

    @classmethod
    def html(cls, html: str, *, status: int = 200, fields: FieldsLike = ()) -> Self:
        """``text/html; charset=utf-8``."""
        return cls(html, status, _typed(_HTML, fields))

    @classmethod
    def json(cls, value: Any, *, status: int = 200, fields: FieldsLike = ()) -> Self:
        """``application/json``, compact.

        Raises:
            TypeError, ValueError: as :func:`json.dumps`; NaN and infinities are no JSON and refused.
        """
        return cls(_json(value), status, _typed(_JSON, fields))

    @classmethod
    def redirect(cls, location: str, *, status: int = 303, fields: FieldsLike = ()) -> Self:
        """Sends the peer to ``location`` (RFC 9110 section 15.4): 303 makes it GET, 307 and 308 keep the method.

        What no URI may hold is percent-encoded (``"/café"``); what is encoded already, and what separates the parts of
        a URI, stays as it is: encode a value that goes into a path or a query yourself. Never take all of it from a
        request: ``//other.example`` is another host.

        Raises:
            ValueError: the status is no redirect, or the location has a control character.
            TypeError: the location is no text.
        """
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"a redirect is 301, 302, 303, 307 or 308, not {status}")
        from ..protocol.codec.uri import to_uri

        uri = to_uri(text_of("a location", location)).encode("ascii")
        return cls(status=status, fields=[(b"location", uri), *encoded(fields)])

    @classmethod
    def attachment(cls, body: bytes | str, filename: str, *, status: int = 200, fields: FieldsLike = ()) -> Self:
        """Content that the peer is to save as ``filename``, in any script; ``content-type`` is guessed from the name.

        Raises:
            ValueError, TypeError: as :class:`FileResponse`.
        """
        return cls(body, status, _named(filename, _typed(_guessed(filename), fields)))

    @classmethod
    def problem(
        cls,
        status: int,
        *,
        type: str | None = None,
        title: str | None = None,
        detail: str | None = None,
        instance: str | None = None,
        fields: FieldsLike = (),
        **more: Any,
    ) -> Self:
        """``application/problem+json`` (RFC 9457): an error that programs can read.

        Args:
            type: a URI that names the kind of problem; without one it is its status and no more.
            title: what kind it is, for people; the standard reason phrase where there is no ``type``.
            detail: what is the matter this time.
            instance: a URI that names this very occurrence.
            more: further members, as JSON has them.

        Raises:
            TypeError, ValueError: as :meth:`json`.
        """
        if title is None and type is None:
            title = phrase(status)
        known = {"type": type, "title": title, "status": int(status), "detail": detail, "instance": instance}
        said = {name: value for name, value in known.items() if value is not None}
        return cls(_json({**said, **more}), status, _typed(_PROBLEM, fields))

    @staticmethod
    def file(path: str | os.PathLike[str], *, filename: str | None = None, fields: FieldsLike = ()) -> FileResponse:
        """A file: :class:`FileResponse`, which has more to say."""
        return FileResponse(path, filename=filename, fields=fields)

    @classmethod
    def no_content(cls, *, fields: FieldsLike = ()) -> Self:
        """204, without content and without Content-Length (N22)."""
        return cls(status=204, fields=fields)


_json = json_module.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Made once: ``json.dumps`` makes an encoder for every call that is not all defaults."""


def _typed(media_type: Field, fields: FieldsLike) -> list[Field]:
    if not fields:
        return Own((media_type,))
    given = encoded(fields)
    if any(name == b"content-type" for name, _ in given):
        return given
    return Own((media_type, *given))


def _guessed(path: str | os.PathLike[str]) -> Field:
    return b"content-type", media_type(str(path))


def _named(filename: str, given: list[Field]) -> list[Field]:
    if lookup(given, b"content-disposition") is not None:
        raise ValueError("give a file its name by `filename` or by content-disposition, not by both")
    from ..protocol.codec.disposition import attachment

    return Own((*given, (b"content-disposition", attachment(filename))))


def _content(body: Any) -> bytes:
    if type(body) is bytes:
        return body
    if isinstance(body, str):
        return body.encode()
    try:
        return content(body)
    except TypeError:
        raise TypeError(f"a response body must be bytes or str, not {type(body).__name__}") from None


class Produce(Protocol):
    """Writes the body of a :class:`StreamResponse` and may return trailer fields."""

    def __call__(self, send: Send, /) -> Awaitable[FieldsLike | None]: ...


_PRODUCE: Final = (
    "a StreamResponse needs an async function that is given `send`",
    "async def produce(send)",
    "write `await send(piece)` where it says `yield piece`",
)


class StreamResponse(ResponseHead):
    """A response whose content is made while it goes out.

    ``await produce(send)`` is called in the connection's task. A clean return ends the body, an exception truncates
    it visibly (N25); it is not called for HEAD, 204, 205 and 304 (N23). It is *given* ``send`` and is no generator, so
    it may use nurseries and scopes freely. What it returns, pairs or a mapping, goes out as trailer fields where the
    framing has them. A piece is on its way as soon as ``produce`` waits for anything; pieces that are sent without a
    wait in between share a write.

    Attributes:
        source: what ``produce`` takes its content from; if it has ``aclose``, it is closed when the response is over,
            also when ``produce`` was not called.

    Args:
        produce: ``async def produce(send)``.
        status: a final status.
        fields: as for :class:`Response`; with ``content-length`` the body is held to that length.

    Raises:
        ValueError, TypeError: as :class:`Response`.
    """

    source: object = None

    def __init__(
        self, produce: Produce, *, status: int = 200, fields: FieldsLike = (), reason: str | None = None
    ) -> None:
        super().__init__(status, fields, reason)
        check_async(produce, *_PRODUCE)
        self.produce = produce

    @staticmethod
    def ndjson(values: AsyncIterable[Any], *, status: int = 200, fields: FieldsLike = ()) -> StreamResponse:
        """``application/x-ndjson``: each value as a line of JSON, as soon as it comes.

        The next one is asked for when the peer's window has taken the last. A value that is no JSON truncates the
        response, as any exception does. ``values`` is closed at the end, if it has ``aclose``.

        Raises:
            TypeError: ``values`` is no async iterable.
        """
        if not hasattr(values, "__aiter__"):
            raise TypeError(f"ndjson needs an async iterable of values, not {values!r}")

        async def produce(send: Send) -> None:
            async for value in values:
                await send(f"{_json(value)}\n".encode())

        response = StreamResponse(produce, status=status, fields=_typed(_NDJSON, fields))
        response.source = values
        return response


class OnMessage(Protocol):
    """Handles one message of a :class:`LoopResponse`; ``STOP`` ends the response, None goes on."""

    def __call__(self, message: Any, send: Send, /) -> Awaitable[object]: ...


class LoopResponse(ResponseHead):
    """A response driven by messages, such as server-sent events.

    ``await on_message(message, send)`` is called for every message of the channel, one at a time. It ends when that
    returns ``STOP`` or the channel's senders are closed. Two messages come from the server: :class:`Draining`, once,
    when the server goes down, and :class:`Disconnected`, the last one, when the peer has gone. The channel is closed
    with the response, so its senders learn of the end.

    Args:
        messages: the receiving end of a memory channel; this response's own (clone it to share).
        on_message: ``async def on_message(message, send)``.
    """

    def __init__(
        self,
        messages: trio.MemoryReceiveChannel[Any],
        on_message: OnMessage,
        *,
        status: int = 200,
        fields: FieldsLike = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(status, fields, reason)
        check_async(on_message, "a LoopResponse needs an async function", "async def on_message(message, send)")
        self.messages = messages
        self.on_message = on_message


class FileResponse(ResponseHead):
    """A file, or a part of one, sent from the kernel where the stream and the file system allow it.

    The file is opened before the head goes out: a file that is not there is a 404, one that may not be read a 500. A
    file that shrinks, or cannot be read, while it is sent truncates the response visibly. One that the kernel makes up
    (``/proc``, ``/sys``) is sent as it is when it is opened, up to 1 MiB; a larger one is a 500.

    To GET and HEAD, and with status 200, it has ``etag``, ``last-modified`` and ``accept-ranges``, and answers what the
    request asks of it (RFC 9110 sections 13 and 14): 304 or 412 to its conditions, 206 to ranges, several as
    ``multipart/byteranges``, 416 to one that lies outside. The tag is of size and time, strong once the file has not
    been changed for two seconds. An ``etag`` or ``last-modified`` among the fields stands in place of these.

    Attributes:
        opened: the file, where it is open already; whoever writes the response closes it.

    Args:
        path: the file. Never build it from a request unchecked; :class:`~roadrunner_trio.apps.static.Static` does that.
        offset: the first octet.
        length: how many octets; None is to the end.
        fields: as for :class:`Response`; ``content-type`` is guessed from the name when it is missing.
        filename: what the peer is to save it as, in any script: ``content-disposition`` (RFC 6266). None leaves it to
            the peer whether it shows the content, and as what it saves it.

    Raises:
        ValueError: a negative offset or length; a file name with a folder or a control character in it, or beside a
            ``content-disposition`` among the fields.
    """

    opened: OpenFile | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        offset: int = 0,
        length: int | None = None,
        status: int = 200,
        fields: FieldsLike = (),
        reason: str | None = None,
        filename: str | None = None,
    ) -> None:
        super().__init__(status, fields, reason)
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("offset and length of a FileResponse cannot be negative")
        self.path = path
        self.offset = offset
        self.length = length
        self.fields = _typed(_guessed(path), self.fields)
        if filename is not None:
            self.fields = _named(filename, self.fields)

    @classmethod
    def of(cls, file: OpenFile, name: str, fields: list[Field]) -> FileResponse:
        """All of a file that is open already, with fields that have been checked; its type is that of ``name``."""
        made = cls.__new__(cls)
        made.status, made.path, made.opened = 200, name, file
        made.offset, made.length = 0, None
        made.fields = Own((_guessed(name), *fields))
        return made


class Handoff:
    """Hands the stream over: after it, the wire speaks another protocol.

    ``await run(request, stream)`` is called in the connection's task; when it returns, the stream closes. Bytes that
    came too early come first. A drain tells it by ``request.drain``; the drain's deadline cancels it.

    Args:
        run: ``async def run(request, stream)``.
        status: 101 for an upgrade, 2xx for CONNECT (RFC 9110 sections 7.8, 9.3.6), None to write nothing.
        fields: fields of that head.
        replay_head: begin the stream with the request head, for a library that reads it itself.

    Raises:
        ValueError: a status that hands nothing over, or a field that delimits content (RFC 9110 section 9.3.6).
        TypeError: ``run`` is no async function.
    """

    def __init__(
        self,
        run: Callable[[Request, trio.abc.Stream], Awaitable[object]],
        *,
        status: int | None = None,
        fields: FieldsLike = (),
        replay_head: bool = False,
    ) -> None:
        check_async(run, "a Handoff needs an async function", "async def run(request, stream)")
        self.run = run
        self.status = status
        self.fields = encoded(fields)
        self.replay_head = replay_head
        check_handoff(self)

    def __repr__(self) -> str:
        return f"<Handoff {self.status}>"


def check_handoff(handoff: Handoff) -> None:
    """Whether it can be said as it is now, perhaps after a middleware.

    Raises:
        ValueError, TypeError: as when it was made.
    """
    if handoff.status is not None and number_of(handoff.status) != 101 and not 200 <= handoff.status <= 299:
        raise ValueError(f"a hand-off is answered with 101, 2xx or nothing, not {handoff.status}")
    undelimited(handoff.fields)


class Upgrade:
    """A response that is decided while it is written: the connection is upgraded, or the request answered after all.

    :func:`~roadrunner_trio.websocket` makes it. A middleware sees it before the decision, and may add fields: they go
    out with either.

    Args:
        decide: ``async def decide(exchange, fields)``, which does what :class:`~roadrunner_trio.Exchange` asks of an
            app; the fields are those for whatever head it writes.
        fields: the first of them.
    """

    __slots__ = ("around", "decide", "fields")

    status = 101

    def __init__(
        self, decide: Callable[[Exchange, list[Field]], Awaitable[object]], *, fields: FieldsLike = ()
    ) -> None:
        self.decide = decide
        self.around: Surround | None = None
        self.fields = encoded(fields)

    def __repr__(self) -> str:
        return "<Upgrade>"


AnyResponse: TypeAlias = Response | StreamResponse | LoopResponse | FileResponse | Handoff | Upgrade
"""What a handler returns."""
