"""What balancers and supervisors ask: may this server have new traffic, and does it live?

Both are answered by the server itself, each on a path of its own, so that they are answered alike whatever the
application does. *Ready* is 200 while the listener is well, and 503 from the moment its end is announced, which is
before anything is refused. *Live* is 200 for as long as anybody can be answered: who is about to leave must not be
killed for it. A listener without such paths has its application unwrapped, and pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..messages.exchange import App, Exchange, Lasting, Plan, TwoSteps, answer_of
from ..messages.request import Probe, Request

METHODS: Final = frozenset({"GET", "HEAD"})
FIELDS: Final = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))


class Health(TwoSteps):
    """An app around another, which answers GET and HEAD of two paths itself.

    Args:
        app: everything else is its affair.
        path: where it is asked whether it is ready, such as ``"/healthz"``; None is nowhere.
        live: and where, whether it lives, such as ``"/livez"``.

    Attributes:
        leaving: it is ready no more.

    Raises:
        ValueError: one is no path, or both are the same.
    """

    __slots__ = ("_plan", "_probes", "app", "leaving", "live", "path")

    def __init__(self, app: App, path: str | None, live: str | None = None) -> None:
        for name, given, example in (("health_path", path, "/healthz"), ("live_path", live, "/livez")):
            if given is not None and not _is_path(given):
                raise ValueError(f"{name} is a path such as {example!r}, not {given!r}")
        if path == live is not None:
            raise ValueError(f"live_path is another path than health_path, {path!r}: a server that leaves is not dead")
        self.app = app
        self.path = path
        self.live = live
        self.leaving = False
        self._plan = Plan("buffered", 0)
        self._probes = {each: Probe(each) for each in (path, live) if each is not None}

    def asked(self, request: Request) -> bool:
        """Whether this is one of the questions."""
        return request.path in self._probes and request.method in METHODS

    def plan(self, request: Request) -> Plan:
        """A question has no content; with everything else it is as the app says."""
        if not self.asked(request):
            return self.app.plan(request)
        request.endpoint = self._probes[request.path]
        return self._plan

    async def answer(self, exchange: Exchange) -> Lasting | None:
        """Answers a question, or lets the app answer."""
        if not self.asked(exchange.request):
            rest = await answer_of(self.app)(exchange)
            return rest if isinstance(rest, Lasting) else None
        if exchange.request.path == self.path and (self.leaving or exchange.drain.draining):
            await exchange.respond(503, FIELDS, b"leaving\n")
        else:
            await exchange.respond(200, FIELDS, b"ok\n")
        return None


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isprintable() and not set(text) & set("?# ")


def with_health(
    app: App, path: str | None, live: str | None = None
) -> tuple[Health | None, Callable[[Request], bool] | None]:
    """The app around ``app`` if there is a path, and what tells whether a request is one of the questions.

    Raises:
        ValueError: one is no path, or both are the same.
    """
    if path is None and live is None:
        return None, None
    health = Health(app, path, live)
    return health, health.asked
