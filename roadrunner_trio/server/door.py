"""What comes before HTTP: a PROXY header, then TLS, both within the one deadline of the handshake.

All of it happens in the connection's own task. A peer that stalls, or talks nonsense, or has the wrong certificate
costs its own slot for as long as that deadline allows, and nobody else anything (N30, N36).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable
from typing import Final

import trio

from ..date import http_date
from ..errors import ProtocolError
from ..journal import log
from ..protocol.http1 import encode
from ..protocol.http1.engine import Http1Engine
from ..protocol.proxy_header import ProxyHeader, read_proxy_header
from ..transport.gone import PeerGone
from ..transport.phases import Phase
from ..transport.streams import Address, shown
from ..transport.tls import TLSInfo, tls_info
from ..transport.tls_stream import TLSStream, accept_tls
from ..transport.wire import RECEIVE_SIZE
from .carrier import Carrier

_ADVICE: Final = b"This port speaks TLS. Use https:// instead of http://.\n"
_CLEAR: Final = (
    (b"connection", b"close"),
    (b"content-type", b"text/plain"),
    (b"content-length", b"%d" % len(_ADVICE)),
)


H2: Final = "h2"
PREFACE_LINE: Final = b"PRI * HTTP/2.0\r\n"
"""The line that a client of HTTP/2 has ready for servers that speak HTTP/1 alone (RFC 9113 section 3.4)."""


class Answered(ProtocolError):
    """What the peer did wrong, and has been told in a way of its own."""


async def enter(conn: Carrier) -> bytes:
    """Takes a connection from accept to the first octet of HTTP, and gives those that have come already.

    Raises:
        Answered: the peer speaks HTTP where TLS is due.
        ProtocolError: the PROXY header names one that has as many connections as it may have.
        trio.BrokenResourceError: the PROXY header is missing or bad, TLS came to nothing, the peer has gone. There is
            nothing to be said to it (E2).
    """
    try:
        header, early = await _read_header(conn)
        info, early = await _encryption(conn, early)
        conn.transport = info, header
        return early
    except BaseException as exc:
        conn.context.counters.handshakes_failed += 1
        log.debug("no handshake with %s: %s", shown(conn.peer), exc.__cause__ or exc)
        raise


def chooses_http2(conn: Carrier) -> bool:
    """Whether HTTP/2 is spoken: by ALPN (RFC 7301), or since nothing else is spoken here."""
    if conn.context.http2 is None:
        return False
    if conn.tls is None:
        chosen = None
    elif isinstance(conn.tls, TLSStream):
        chosen = conn.tls.layer.tls.selected_alpn_protocol()
    else:
        chosen = conn.tls.selected_alpn_protocol()
    return chosen == H2 or (chosen is None and conn.context.protocols == (H2,))


def begins_http2(conn: Carrier, engine: Http1Engine) -> bytes | None:
    """What has come of HTTP/2, where that is spoken: by choice, or for it begins so (RFC 9113 section 3.4).

    Asked when HTTP/1 has refused what a connection began with. So HTTP/1 need not be asked anything.
    """
    if conn.served or conn.context.http2 is None:
        return None
    early = engine.release()
    return early if early.startswith(PREFACE_LINE) or chooses_http2(conn) else None


def go_on(conn: Carrier, early: bytes) -> Awaitable[bool]:
    """The rest of a connection that speaks HTTP/2, which has its own story; whether it is parked in the end.

    No coroutine around that: it lives long.
    """
    if conn.context.http2 is None:
        raise RuntimeError("nobody here speaks HTTP/2")  # and so `begins_http2` is never true
    return conn.context.http2(conn, early)


async def _read_header(conn: Carrier) -> tuple[ProxyHeader | None, bytes]:
    """The PROXY header, if one is due from this peer, and what came with it."""
    proxies = conn.context.proxy_protocol
    if proxies is None or not proxies.trusts(conn.peer):
        return None, b""
    received = bytearray()
    try:
        while (found := read_proxy_header(received)) is None:
            received += await _receive(conn.stream)
    except ValueError as exc:
        raise PeerGone("a PROXY header was due") from exc
    header, length = found
    if header.source is not None:
        _take_place(conn, header.source)
        conn.peer = header.source
        trio.lowlevel.current_task().name = f"{conn.context.name}: {shown(conn.peer)}"
    if header.tls:
        conn.scheme = "https"
    return header, bytes(received[length:])


def _take_place(conn: Carrier, source: Address) -> None:
    """From now on the connection is one of its source's, not of the proxy's."""
    places = conn.context.places
    if places is None or places.move(conn, source):
        return
    if conn.context.tls is not None:  # an answer in clear would be noise
        raise PeerGone("its address has as many connections as it may have")
    raise ProtocolError(503, "max_connections_per_peer")


async def _receive(stream: trio.abc.Stream) -> bytes:
    data = await stream.receive_some(RECEIVE_SIZE)
    if not data:
        raise PeerGone("the peer closed before a request")
    return bytes(data)


async def _encryption(conn: Carrier, early: bytes) -> tuple[TLSInfo | None, bytes]:
    """What there is to know of TLS, once it is there, where it is to be; and what came behind it."""
    if conn.context.tls is not None:
        return await _encrypt(conn, conn.context.tls, early or await _receive(conn.stream))
    if not isinstance(conn.tls, trio.SSLStream):
        return None, early
    await conn.tls.do_handshake()  # the stream was encrypted when it came
    return tls_info(conn.tls), early


async def _encrypt(conn: Carrier, context: ssl.SSLContext, early: bytes) -> tuple[TLSInfo, bytes]:
    """Begins TLS, unless the first octet is a method's: no record of TLS begins with a letter."""
    if early[:1].isalpha():
        await conn.send(encode.head(encode.status_line(400), [(b"date", http_date()), *_CLEAR]) + _ADVICE)
        conn.phase.phase = Phase.FINISH  # the last word has been said
        raise Answered(400, "http_on_a_tls_port")
    stream = await accept_tls(conn.stream, context, early, linger_for=conn.context.timeouts.linger)
    early = conn.encrypt(stream)
    return tls_info(stream.layer.tls), early
