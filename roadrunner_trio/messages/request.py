"""A request as an application sees it: raw is bytes, convenient is str and built on first use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import trio

from ..errors import HTTPError
from ..fields import Fields, lookup
from ..protocol.heads import RequestHead
from ..protocol.http1.scan import reread
from ..protocol.proxy_header import ProxyHeader
from ..transport.drain import Drain
from ..transport.streams import Address
from ..transport.tls import TLSInfo
from ..units import Size, octets
from .ids import new_id
from .json_body import parse_json
from .params import Params

if TYPE_CHECKING:  # what many applications never ask for is imported where they do, by a server before it accepts any
    from ..protocol.codec.form_data import FormLimits
    from .form import Form, Parts

NO_BINDINGS: Final[Mapping[str, Any]] = MappingProxyType({})


class Probe(NamedTuple):
    """The ``endpoint`` of a question about the server's health, which the server answers itself.

    Attributes:
        pattern: its path, as endpoints of a router have theirs.
    """

    pattern: str


class BodySource(Protocol):
    """Where a request's body comes from, and who knows whether its peer is still there."""

    async def receive_body(self) -> bytes:
        """The next piece; ``b""`` at the end."""
        ...

    async def disconnected(self) -> None:
        """Returns when the peer has gone."""
        ...

    def acknowledge_drain(self) -> None:
        """Notes that the application has taken the drain's word."""
        ...


class _Kept:
    """A body that has been read, as a source."""

    def __init__(self, body: bytes, source: BodySource) -> None:
        self._left = body
        self._source = source

    async def receive_body(self) -> bytes:
        body, self._left = self._left, b""
        await trio.lowlevel.checkpoint()
        return body

    async def disconnected(self) -> None:
        await self._source.disconnected()

    def acknowledge_drain(self) -> None:
        self._source.acknowledge_drain()


class BodyStream(AsyncIterator[bytes]):
    """The pieces of a body, for ``async for``. Not a generator: it may be left half-way and owes no clean-up."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    async def __anext__(self) -> bytes:
        piece = await self._request.next_piece()
        if not piece:
            raise StopAsyncIteration
        return piece


class Request:
    """One request.

    Attributes:
        peer: host and port, or the path of a Unix socket; of the real peer, where a trusted proxy tells of it.
        scheme: ``"http"`` or ``"https"``; from the transport, or from a trusted proxy, never from the peer.
        listener_name: the name of the listener it came through.
        bindings: what a router captured from the path, percent-decoded; empty without one.
        raw_bindings: the same as sent, bytes.
        endpoint: what a router chose to answer the request; None without one.
        state: the state of the route, if it has one; else whatever the application wants to keep with the request.
        drain: the server's :class:`~roadrunner_trio.Drain`: an event and a deadline.
        trailers: trailer fields, once the body has been read (RFC 9110 section 6.5).
        tls: the connection's encryption, a :class:`~roadrunner_trio.TLSInfo`; None without TLS.
        proxy: the PROXY header that the connection began with, a :class:`~roadrunner_trio.ProxyHeader`; or None.
    """

    # What most requests never ask for is None here, once, and not set once a request.
    bindings: Mapping[str, str] = NO_BINDINGS
    raw_bindings: Mapping[str, bytes] = NO_BINDINGS
    endpoint: Any = None
    state: Any = None
    trailers: Fields = ()
    tls: TLSInfo | None = None
    proxy: ProxyHeader | None = None
    _body: bytes | None = None
    _left = b""
    _raw = b""
    _host: bytes | None = None
    _streaming = False
    _query: Params | None = None
    _cookies: Params | None = None
    _form: Form | None = None

    def __init__(
        self,
        head: RequestHead,
        source: BodySource | None,
        drain: Drain,
        peer: Address,
        scheme: str,
        listener_name: str,
    ) -> None:
        self.head = head
        self.drain = drain
        self.peer = peer
        self.scheme = scheme
        self.listener_name = listener_name
        self._source = source

    @cached_property
    def request_id(self) -> str:
        """16 hexadecimal digits, unique to the request; or what a trusted peer chose (:class:`RequestIds`)."""
        # Drawn when somebody asks: most requests are never called by it. Threads that ask at once are told the same.
        made: str = self.__dict__.setdefault("request_id", new_id())
        return made

    @cached_property
    def head(self) -> RequestHead:
        """The head, as it was read; or read once more, where it was let go."""
        head = reread(self._raw)
        if head is None:
            raise RuntimeError("a head was let go that cannot be read again")
        return head if self._host is None else head._replace(host=self._host)

    @property
    def target(self) -> bytes:
        """The request target as sent (RFC 9112 section 3.2)."""
        return self.head.target

    @property
    def fields(self) -> Fields:
        """Pairs of lower-case name and value, in order, repeats kept."""
        return self.head.fields

    @property
    def version(self) -> tuple[int, int]:
        """``(1, 1)`` or ``(1, 0)``."""
        return self.head.version

    def __repr__(self) -> str:
        return f"<Request {self.request_id} {self.method} {self.target.decode('latin-1')}>"

    @property
    def method(self) -> str:
        """The method, as sent; methods are case-sensitive (RFC 9110 section 9.1)."""
        return self.head.method.decode("ascii")

    @property
    def path(self) -> str:
        """The target's path, without the query, *not* percent-decoded."""
        return self.head.path.partition(b"?")[0].decode("ascii")

    @property
    def query_string(self) -> str:
        """What follows the first ``?`` of the target, not decoded; ``""`` without one."""
        return self.head.path.partition(b"?")[2].decode("ascii")

    @property
    def query(self) -> Params:
        """The query: ``+`` is a space, then percent-decoding; text that cannot be decoded is kept as it is."""
        if self._query is None:
            from ..protocol.codec.uri import parse_query

            pairs = parse_query(self.query_string)
            self._query = Params([(name, "" if value is True else value) for name, value in pairs])
        return self._query

    @property
    def cookies(self) -> Params:
        """The cookies, in order (RFC 6265 section 5.4); quotes are kept. UTF-8, or else latin-1, each by itself."""
        if self._cookies is None:
            from ..protocol.codec.cookies import read_cookies

            self._cookies = Params(read_cookies(value for name, value in self.fields if name == b"cookie"))
        return self._cookies

    @property
    def host(self) -> str:
        """Host, or the authority of an absolute-form target, or what a trusted proxy tells; may be ``""``."""
        return self.head.host.decode("ascii")

    @property
    def url(self) -> str:
        """Scheme, host, path and query as one, ``"https://example.org/a?b=c"``; without a host, path and query.

        The host is what the peer or a trusted proxy says; who mails links should know their own.
        """
        path = "" if self.target == b"*" else self.head.path.decode("ascii")
        return f"{self.scheme}://{self.host}{path}" if self.host else path

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first value of a field, case-insensitive, as latin-1; ``default`` when it is absent."""
        value = lookup(self.fields, name.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def headers(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for field, value in self.fields if field == wanted]

    @property
    def media_type(self) -> str:
        """What the body is, in lower case and without parameters, ``"application/json"``; ``""`` where nobody says."""
        from ..protocol.codec.media import parse_media_type

        kind = parse_media_type(lookup(self.fields, b"content-type") or b"")
        return "" if kind is None else kind.name

    def accepts(self, *offered: str) -> str | None:
        """Which of some media types the peer would rather have, by its Accept (RFC 9110 section 12.5.1).

        Args:
            offered: without parameters, best first: ``"text/html", "application/json"``.

        Returns:
            The first of those with the highest weight; None when it wants none of them.
        """
        from ..protocol.codec.negotiation import accepts, joined

        return accepts(joined(self.fields, b"accept"), offered)

    async def json(self, *, max: Size | None = None) -> Any:
        """The body as JSON, whatever it says that it is.

        Args:
            max: octets, or ``"64K"``; the body limit of the route if it is less.

        Raises:
            HTTPError: 400 for what is no JSON, with the place; 413 for more than ``max``.
            ProtocolError, BodyTimeout, PeerGone, RuntimeError: as :meth:`read`.
        """
        return parse_json(await self.read(max=max))

    async def form(self, limits: FormLimits | None = None, *, folder: str | None = None) -> Form:
        """The fields and files of a form, urlencoded or multipart; read once and kept.

        Files are kept in memory up to ``limits.in_memory``, and then on the disk in files without names, which go with
        the form. For large ones give the route ``body="streaming"``, or the body is in memory before.

        Args:
            limits: how much is read; None is :class:`FormLimits` as it is.
            folder: where large files are kept; None is the system's folder for such.

        Raises:
            HTTPError: 400 for what is no form, 413 for too much of one, 415 for a body that is something else, 507
                where there is no room for a file.
            RuntimeError: the extra ``forms`` is not installed; or as :meth:`read`.
            ProtocolError, BodyTimeout, PeerGone: as :meth:`read`.
        """
        if self._form is None:
            from .form import read_form

            kind = lookup(self.fields, b"content-type") or b""
            self._form = await read_form(self.next_piece, kind, limits, folder)
        return self._form

    def parts(self, limits: FormLimits | None = None) -> Parts:
        """The parts of a multipart form as they come, for ``async for``: nothing is kept, and no more is read of the
        peer than is taken.

        Args:
            limits: how much is read; None is :class:`FormLimits` as it is.

        Raises:
            HTTPError, RuntimeError, ProtocolError, BodyTimeout, PeerGone: as :meth:`form`, also from the iteration.
        """
        from .form import open_parts

        return open_parts(self.next_piece, lookup(self.fields, b"content-type") or b"", limits)

    @property
    def last_event_id(self) -> str | None:
        """The id of the last server-sent event that the peer has seen (WHATWG HTML section 9.2.4), or None."""
        value = lookup(self.fields, b"last-event-id")
        return value.decode("utf-8", "replace") if value else None

    async def read(self, *, max: Size | None = None) -> bytes:
        """The whole body, up to the body limit; read once and kept.

        Args:
            max: octets, or ``"64K"``, if that is less than the body limit of the route.

        Raises:
            HTTPError: it has more than ``max`` octets (413).
            ProtocolError: the body is malformed or above the limit (413); leave it alone and the server answers.
            BodyTimeout: the peer took too long, or was slower than the minimum rate (408, likewise).
            PeerGone: the peer went away.
            RuntimeError: a part was already taken by :meth:`stream`, or the exchange is over.
        """
        if max is not None:
            return await self._read_at_most(octets("max", max, least=0))
        if self._body is not None:
            return self._body
        if self._streaming:
            raise RuntimeError("a part of this body was already taken by stream()")
        self._streaming = True
        body = await self.next_piece()
        if body and (piece := await self.next_piece()):
            # Not a list of pieces: each is an object, and a peer may send an octet at a time.
            gathered = bytearray(body)
            while piece:
                gathered += piece
                piece = await self.next_piece()
            body = bytes(gathered)
        self.keep_body(body)
        return body

    async def _read_at_most(self, most: int) -> bytes:
        declared = self.head.content_length
        if (self._body is None and declared > most) or (self._body is not None and len(self._body) > most):
            raise HTTPError(413)
        if self._body is not None or declared:
            return await self.read()
        if self._streaming:
            raise RuntimeError("a part of this body was already taken by stream()")
        gathered = bytearray()
        while piece := await self.next_piece():
            gathered += piece
            if len(gathered) > most:
                raise HTTPError(413)
        self.keep_body(bytes(gathered))
        return bytes(gathered)

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive, for ``async for``; one piece when it has been read already.

        Raises:
            ProtocolError, BodyTimeout, PeerGone, RuntimeError: as :meth:`read`, from the iteration.
        """
        return BodyStream(self)

    async def next_piece(self) -> bytes:
        """The next piece of the body, ``b""`` at its end; what :meth:`stream` iterates over."""
        if self._body is not None:
            piece, self._left = self._left, b""
            await trio.lowlevel.checkpoint()
            return piece
        self._streaming = True
        return await self._open_source().receive_body()

    async def disconnected(self) -> None:
        """Waits until the peer has gone: a reset, or the end of what it sends (a half-close looks the same).

        A handler is cancelled for that anyway, at once or after ``Timeouts.disconnect_grace``; this is to know of it
        sooner, or where there is no grace. Run it beside the work, in a nursery, and cancel the other when one is done.

        On sockets that the server has accepted itself the kernel tells, on Linux. Elsewhere it reads ahead to find out,
        by at most 64 KiB; beyond that it takes the peer to be there.

        Raises:
            RuntimeError: the exchange is over.
        """
        await self._open_source().disconnected()

    def acknowledge_drain(self) -> None:
        """Tells the operator's observers that this request knows of the drain; changes nothing else."""
        self._open_source().acknowledge_drain()

    async def filter_body(self, make: Callable[[BodySource], BodySource]) -> None:
        """Has the body come through something else; before anybody reads it. One that has been read is read anew.

        Args:
            make: given where the body comes from, gives where it comes from instead.

        Raises:
            Exception: what the new source raises for a body that has been read already.
        """
        source = self._open_source()
        if self._body is None:
            self._source = make(source)
            return
        again, gathered = make(_Kept(self._body, source)), bytearray()
        while piece := await again.receive_body():
            gathered += piece
        self.keep_body(bytes(gathered))

    def keep_body(self, body: bytes) -> None:
        """Keeps a body that has been read whole; ``stream`` gives it once more."""
        self._body = self._left = body

    def drop_body(self) -> None:
        """Lets go of it: a request that has failed may be held by the frames of what it failed by, for a while."""
        self._body, self._left = None, b""

    def drop_head(self) -> None:
        """Keeps only the octets of the head, a quarter of what it takes in memory, until somebody asks for it.

        For requests that last for hours. A head that would not be the same if it were read again is left as it is.
        """
        head, again = self.head, reread(self.head.raw)
        if again is not None and again._replace(host=head.host) == head:
            self._raw = head.raw
            self._host = None if again.host == head.host else head.host
            del self.head

    def detach(self) -> None:
        """Ends the exchange: the connection goes on, and the next request's body must not be read through this one."""
        self._source = None

    @property
    def source(self) -> BodySource | None:
        """Where its body comes from: its exchange, unless that is filtered. None when it is over."""
        return self._source

    @property
    def over(self) -> bool:
        """Whether its exchange has ended."""
        return self._source is None

    def _open_source(self) -> BodySource:
        if self._source is None:
            raise RuntimeError("this request's exchange is over")
        return self._source


def doing(request: Request) -> str:
    """A request in two words, its method and its path without the query; its head is not read again for that."""
    raw = request._raw  # pyright: ignore[reportPrivateUsage]  # its own module
    method, target = raw.split(b" ", 2)[:2] if raw else (request.head.method, request.head.path)
    return f"{method.decode('ascii')} {target.partition(b'?')[0].decode('ascii')}"
