"""What an application is told of a request: the scope of ASGI's HTTP and WebSocket specification, version 2.5.

Requests of a connection mostly repeat each other, so what can be said of one is kept with the connection and copied
for the next. What an application may change in its scope is its own copy.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NoReturn, cast
from urllib.parse import quote, unquote

from ..errors import HTTPError
from ..fields import Fields, tokens
from ..messages.exchange import Exchange
from ..messages.request import Request
from ..protocol.heads import RequestHead
from ..transport.tls import TLSInfo

TLS_VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class Fixed(dict[str, Any]):
    """A dict that stays as it is: what scopes share. A copy of it is an ordinary one."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this part of a scope is the server's, and no application may change it")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse  # pyright: ignore

    def __reduce__(self) -> Any:
        return dict, (tuple(self.items()),)


ASGI: Final = Fixed(version="3.0", spec_version="2.5")
NOTHING: Final = Fixed()
HTTP: Final = {
    "http.response.early_hint": NOTHING,
    "http.response.pathsend": NOTHING,
    "http.response.trailers": NOTHING,
    "http.response.zerocopysend": NOTHING,
}
DRAIN: Final = "roadrunner.drain"
"""An extension, and the key of the scope where its objects are: some applications show their extensions as JSON."""
WEBSOCKET: Final = {"websocket.http.response": NOTHING}


class Template:
    """What was said of a request, for the next one that is like it.

    Attributes:
        websocket: it asks for a WebSocket.
    """

    __slots__ = ("endpoint", "extensions", "fields", "head", "maker", "scope", "websocket")

    def __init__(self, maker: object, exchange: Exchange, root_path: str) -> None:
        request = exchange.request
        self.maker = maker
        self.head: RequestHead = request.head
        self.endpoint = request.endpoint
        self.fields: Fields = _fields(request)
        self.websocket = _asks_for_websocket(request)
        self.scope = _scope(exchange, root_path, self.websocket)
        self.extensions = _extensions(request, self.websocket)

    def fits(self, maker: object, request: Request) -> bool:
        """Whether ``request``, of the same connection, is like it.

        Its head is the very same object when its octets are, and what proxies are believed hangs on nothing else.
        """
        return request.head is self.head and self.maker is maker and request.endpoint is self.endpoint

    def make(self, state: dict[str, Any]) -> dict[str, Any]:
        """A scope for a request that is like the one this was made of."""
        scope = self.scope.copy()
        scope["headers"] = list(self.fields)
        scope["state"] = state.copy()
        scope["extensions"] = self.extensions.copy()
        return scope


def _scope(exchange: Exchange, root_path: str, websocket: bool) -> dict[str, Any]:
    request, local, drain = exchange.request, exchange.local, exchange.drain
    raw, _, query = request.head.path.partition(b"?")
    if request.head.method != request.head.method.upper() or request.head.method == b"CONNECT":
        raise HTTPError(501)  # "delete" is no DELETE for who filters those, and ASGI knows no other
    below, outer = mounted_below(request), quote(root_path).encode("ascii")
    if not raw.startswith(b"/"):  # "OPTIONS *" asks about the server
        outer, root_path = b"", ""
    scope: dict[str, Any] = {
        "type": "websocket" if websocket else "http",
        "asgi": ASGI,
        "http_version": _version(request.version),
        "scheme": request.scheme.replace("http", "ws", 1) if websocket else request.scheme,
        "path": root_path + _text(raw),
        "raw_path": outer + raw,
        "query_string": query,
        "root_path": root_path + _text(below),
        "client": request.peer if isinstance(request.peer, tuple) else None,
        "server": local if isinstance(local, tuple) else (local, None),
        DRAIN: {"started": drain.started, "deadline": lambda: drain.deadline},
    }
    if websocket:
        offered = [value.strip() for line in request.headers("sec-websocket-protocol") for value in line.split(",")]
        scope["subprotocols"] = [name for name in offered if name]
    else:
        scope["method"] = request.method
    return scope


def _version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}" if version < (2, 0) else str(version[0])


def _text(raw: bytes) -> str:
    return unquote(raw.decode("ascii"), "utf-8", "replace")


def mounted_below(request: Request) -> bytes:
    """What of the target's path stands before the part that a route left open with ``*name``: all where a route has
    none and is not ``/``, and nothing where there is no route."""
    pattern: str = getattr(request.endpoint, "pattern", "")
    fixed, star, _ = pattern.partition("/*")
    path = request.head.path.partition(b"?")[0]
    if not star:
        return path if len(pattern) > 1 else b""
    return b"/".join(path.split(b"/")[: fixed.count("/") + 1])


def _fields(request: Request) -> Fields:
    if request.target.startswith((b"/", b"*")):
        return request.fields
    # The authority of an absolute-form target is the host, whatever Host says (RFC 9112 section 3.2.2).
    others = [field for field in request.fields if field[0] != b"host"]
    return ((b"host", request.head.host), *others)


def _asks_for_websocket(request: Request) -> bool:
    head = request.head
    return head.protocol == b"websocket" or (
        head.method == b"GET"
        and head.version >= (1, 1)
        and b"websocket" in tokens(head.fields, b"upgrade")
        and b"upgrade" in tokens(head.fields, b"connection")
    )


# -- extensions ---------------------------------------------------------------------------------------


def _extensions(request: Request, websocket: bool) -> dict[str, dict[str, Any]]:
    extensions: dict[str, dict[str, Any]] = dict(WEBSOCKET if websocket else HTTP)
    extensions[DRAIN] = NOTHING
    if request.tls is not None:
        extensions["tls"] = tls_extension(request.tls)
    return extensions


def tls_extension(tls: TLSInfo) -> dict[str, Any]:
    """What ASGI's TLS extension, version 0.2, says of a connection."""
    return {
        "server_cert": None,  # an ssl.SSLContext does not give it away
        "client_cert_chain": list(tls.client_chain),
        "client_cert_name": None if tls.client_certificate is None else distinguished_name(tls.client_certificate),
        "client_cert_error": None,  # a certificate that is not in order does not get through the handshake
        "tls_version": TLS_VERSIONS.get(tls.version),
        "cipher_suite": _suites().get(tls.cipher),
    }


@cache
def _suites() -> Mapping[str, int]:
    """The numbers of cipher suites by OpenSSL's names (IANA's registry)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in cast("list[dict[str, Any]]", context.get_ciphers())}


_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


def distinguished_name(certificate: Mapping[str, Any]) -> str:
    """The subject of a certificate, as :meth:`ssl.SSLSocket.getpeercert` gives it, as text (RFC 4514)."""
    subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in reversed(subject)
    )


def _escaped(value: str) -> str:
    text = "".join(f"\\{char}" if char in '"+,;<>\\' else char for char in value).replace("\0", "\\00")
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(value) > 1 else text
