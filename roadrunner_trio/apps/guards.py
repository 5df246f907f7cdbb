"""What keeps browsers from doing with a page what nobody means: fields for all responses, and a look at who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from ..answering.middleware import CallNext, early
from ..fields import Field, encoded, lookup
from ..messages.exchange import Exchange
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..units import Duration, optional_seconds
from .adding import add_missing, add_to, add_to_all

__all__ = ["CSRF", "SecurityHeaders"]

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods that change nothing (RFC 9110 section 9.2.1), if the application keeps to it."""


class SecurityHeaders:
    """A middleware that adds fields for browsers to every response that has not set them itself; of a listener, to
    the server's own answers too.

    Args:
        frame: who may show pages in a frame: ``"DENY"``, ``"SAMEORIGIN"``, or None for anybody.
        referrer: what is told of where a link stood; None leaves it to browsers.
        csp: a Content-Security-Policy.
        hsts: seconds for which browsers are to use HTTPS alone; said over HTTPS alone. A year is usual, and there is no
            way back before, but for browsers that come again over HTTPS and are told 0.
        permissions: a Permissions-Policy.
        opener: a Cross-Origin-Opener-Policy, such as ``"same-origin"``.
        resource: a Cross-Origin-Resource-Policy.

    Raises:
        ValueError: a value cannot be said.
    """

    def __init__(
        self,
        *,
        frame: str | None = "SAMEORIGIN",
        referrer: str | None = "strict-origin-when-cross-origin",
        csp: str | None = None,
        hsts: Duration | None = None,
        permissions: str | None = None,
        opener: str | None = None,
        resource: str | None = None,
    ) -> None:
        if frame not in (None, "DENY", "SAMEORIGIN"):
            raise ValueError(
                f"frame is 'DENY', 'SAMEORIGIN' or None, not {frame!r}; csp='frame-ancestors ...' says more"
            )
        wanted = {
            "x-content-type-options": "nosniff",
            "x-frame-options": frame,
            "referrer-policy": referrer,
            "content-security-policy": csp,
            "permissions-policy": permissions,
            "cross-origin-opener-policy": opener,
            "cross-origin-resource-policy": resource,
        }
        self._plain: Sequence[Field] = encoded({name: value for name, value in wanted.items() if value is not None})
        age = optional_seconds("hsts", hsts, zero=True, endless=False)
        https: list[Field] = [] if age is None else [(b"strict-transport-security", b"max-age=%d" % age)]
        self._https = [*self._plain, *https]

    def on_head(self, exchange: Exchange) -> None:
        """Called by the server when a head has been read: for what it answers itself."""
        add_to_all(exchange, self._added(exchange.request))

    async def __call__(self, request: Request, call_next: CallNext) -> AnyResponse:
        """What the next one answers, with the fields."""
        return add_to(await call_next(request), add_missing(self._added(request)))

    def _added(self, request: Request) -> Sequence[Field]:
        return self._https if request.scheme == "https" else self._plain


class CSRF(early):
    """A middleware that refuses what pages of other sites have browsers do: 403, before the body is read.

    It looks at what browsers say of themselves, Sec-Fetch-Site and Origin, so there are no tokens to be put into forms.
    Programs say neither, and are let through: nobody else's cookies are theirs to send. GET, HEAD and OPTIONS are let
    through as well; they must change nothing. WebSockets have ``origins`` of their own.

    Args:
        trusted: origins whose pages may, beside the server's own, such as ``"https://login.example.org"``.

    Raises:
        ValueError: one is no origin.
    """

    __slots__ = ("_trusted",)

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        if isinstance(trusted, str):
            raise ValueError(f"trusted is a list; write [{trusted!r}]")
        for origin in trusted:
            parts = urlsplit(origin)
            if f"{parts.scheme}://{parts.netloc}".lower() != origin or not parts.netloc:
                raise ValueError(f"{origin!r} is no origin as browsers send it, such as 'https://example.org'")
        self._trusted = frozenset(origin.encode("ascii") for origin in trusted)
        super().__init__(self._judge)

    async def _judge(self, request: Request) -> Response | None:
        if request.head.method in SAFE or self._is_ours(request):
            return None
        return Response.text("a page of another site has sent this, which it may not", status=403)

    def _is_ours(self, request: Request) -> bool:
        origins = [value for name, value in request.fields if name == b"origin"]
        if len(origins) == 1 and origins[0] in self._trusted:
            return True
        site = lookup(request.fields, b"sec-fetch-site")
        if site is not None:
            return site in (b"same-origin", b"none")
        if not origins:
            return True  # no browser, or one from before 2020 that asks its own site
        return len(origins) == 1 and _host_of(origins[0]) == request.head.host.lower() != b""


def _host_of(origin: bytes) -> bytes:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # a bracket that does not close
        return b""
