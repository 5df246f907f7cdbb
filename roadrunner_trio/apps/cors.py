"""Which pages of other origins may ask, and read the answer: CORS (WHATWG Fetch, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ..answering.middleware import CallNext
from ..fields import Field, is_token, lookup
from ..messages.exchange import Exchange
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..protocol.codec.negotiation import with_vary
from ..units import Duration, seconds
from .adding import add_to, add_to_all

__all__ = ["CORS", "Origins"]

Origins: TypeAlias = str | Sequence[str] | re.Pattern[str] | Callable[[str], object]
"""``"*"``, origins such as ``"https://example.org"``, a pattern for a whole one, or a function of one."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ASKED: Final = (b"access-control-request-method", b"access-control-request-headers")


class CORS:
    """A middleware that lets pages of some other origins read responses. No origin is let in that you have not named.

    Put it first: it answers preflights before anybody else is asked, also where a route does not take OPTIONS or wants
    to know who asks. Given to a listener, or to the router that the listener serves, it sees to it that the server's
    own answers can be read as well: 404, 413, 429, 500, 503.

    Args:
        origins: who may ask. ``"*"`` is everybody, without credentials. A pattern has to match the whole origin.
        methods: that may be used beside the simple ones.
        fields: of a request that may be used beside the simple ones; ``"*"`` for any.
        expose: fields of a response that may be read beside the simple ones.
        credentials: whether cookies and the like are sent along.
        max_age: seconds for which browsers remember what a preflight has said; with 0 they ask each time.
        private_network: whether pages of public networks may ask, where this server is in a private one.

    Raises:
        ValueError: something that would let in whom nobody means, or nobody at all; the message says what to write.
    """

    def __init__(
        self,
        origins: Origins,
        *,
        methods: Sequence[str] = METHODS,
        fields: Sequence[str] | str = (),
        expose: Sequence[str] = (),
        credentials: bool = False,
        max_age: Duration = 600.0,
        private_network: bool = False,
    ) -> None:
        if origins == "*" and credentials:
            raise ValueError("with credentials everybody's pages could act in their visitors' name: name the origins")
        self._everybody = origins == "*"
        self._allows = _rule(origins)
        self._any_field = fields == "*"
        self._fields = b", ".join(_names("fields", () if self._any_field else fields))
        self._methods = b", ".join(_names("methods", methods))
        self._max_age = b"%d" % seconds("max_age", max_age, zero=True, endless=False)
        self._private = private_network
        answer: list[Field] = []
        if credentials:
            answer.append((b"access-control-allow-credentials", b"true"))
        self._answer = tuple(answer)
        self._expose = b", ".join(_names("expose", expose))

    def on_head(self, exchange: Exchange) -> None:
        """Called by the server when a head has been read: for what it answers itself."""
        add_to_all(exchange, self._added(exchange.request))

    async def early_check(self, request: Request) -> Response | None:
        """The answer to a preflight, before anything else is done; None to all other requests."""
        if request.head.method != b"OPTIONS" or lookup(request.fields, _ASKED[0]) is None:
            return None
        origin = self._origin(request)
        if lookup(request.fields, b"origin") is None:
            return None
        varying: list[Field] = [(b"vary", b"origin, " + b", ".join(_ASKED))]
        if origin is None:
            return Response.text("pages of this origin may not ask here", status=403, fields=varying)
        said = [(b"access-control-allow-origin", origin), *self._answer]
        said += [(b"access-control-allow-methods", self._methods), (b"access-control-max-age", self._max_age)]
        if allowed := self._allowed_fields(request):
            said.append((b"access-control-allow-headers", allowed))
        if self._private and lookup(request.fields, b"access-control-request-private-network") == b"true":
            said.append((b"access-control-allow-private-network", b"true"))
        return Response(status=204, fields=[*said, *varying])

    async def __call__(self, request: Request, call_next: CallNext) -> AnyResponse:
        """What the next one answers, with what lets the page read it."""
        response = await call_next(request)
        added = self._added(request)

        def merge(fields: Sequence[Field]) -> list[Field]:
            said = {name for name, _ in fields}
            kept = [*fields, *(field for field in added if field[0] not in said and field[0] != b"vary")]
            return kept if self._everybody else with_vary(kept, b"origin")

        return add_to(response, merge)

    def _added(self, request: Request) -> list[Field]:
        """The fields of an answer that is no preflight's."""
        added: list[Field] = [] if self._everybody else [(b"vary", b"origin")]
        if (origin := self._origin(request)) is not None:
            added += [(b"access-control-allow-origin", origin), *self._answer]
            if self._expose:
                added.append((b"access-control-expose-headers", self._expose))
        return added

    def _origin(self, request: Request) -> bytes | None:
        """What to say of who asks; None when they are not to be let in, or there are two of them."""
        given = [value for name, value in request.fields if name == b"origin"]
        if len(given) != 1:
            return None
        if self._everybody:
            return b"*"
        return given[0] if self._allows(given[0].decode("latin-1")) else None

    def _allowed_fields(self, request: Request) -> bytes:
        if not self._any_field:
            return self._fields
        asked = [value for name, value in request.fields if name == _ASKED[1]]
        names = [name.strip(b" \t").lower() for line in asked for name in line.split(b",")]
        return b", ".join(name for name in names if is_token(name))


def _rule(origins: Origins) -> Callable[[str], object]:
    if isinstance(origins, re.Pattern):
        if not isinstance(origins.pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError("a pattern of origins is text, not bytes")
        whole = origins.fullmatch  # a part of it would let in "https://example.org.evil.example"
        return lambda origin: origin != "null" and whole(origin)
    if callable(origins):
        return lambda origin: origin != "null" and origins(origin)
    if origins == "*":
        return lambda origin: True
    if isinstance(origins, str):
        raise ValueError(f"origins is a list; write [{origins!r}]")
    return frozenset(map(_checked, origins)).__contains__


def _checked(origin: str) -> str:
    """An origin as browsers send it (RFC 6454 section 6.2)."""
    if origin == "null":
        raise ValueError("null is the origin of files, and of whatever page is put into a sandbox: anybody's")
    if origin == "*":
        raise ValueError("write origins='*', if everybody is meant, and nobody else beside")
    parts = urlsplit(origin)
    plain = f"{parts.scheme}://{parts.netloc}".lower()
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "?")
    if not (parts.scheme and parts.netloc) or plain != origin or set("@*") & set(plain) or plain.endswith(usual):
        raise ValueError(
            f"{origin!r} is no origin as browsers send it: scheme, host, and a port that is not the usual one, in "
            "lower case and without a slash at the end, such as 'https://example.org'"
        )
    return origin


def _names(what: str, given: Sequence[str]) -> list[bytes]:
    if isinstance(given, str):
        raise ValueError(f"{what} is a list; write [{given!r}]")
    for name in given:
        if not is_token(name.encode("latin-1", "replace")):
            raise ValueError(f"{what}: {name!r} is no name")
    return [name.encode("ascii") if what == "methods" else name.lower().encode("ascii") for name in given]
