"""What a balancer asks: may this server have new traffic?

The question is answered by the server itself, on one path, so that it is answered alike whatever the application does:
200 while the listener is well, 503 from the moment its end is announced, which is before anything is refused. A
listener without such a path has its application unwrapped, and pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..messages.exchange import App, Exchange, Plan
from ..messages.request import Probe, Request

METHODS: Final = frozenset({"GET", "HEAD"})
FIELDS: Final = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))


class Health:
    """An app around another, which answers GET and HEAD of ``path`` itself.

    Args:
        app: everything else is its affair.
        path: the path of the question, such as ``"/healthz"``.

    Attributes:
        leaving: the answer is 503 from now on.

    Raises:
        ValueError: ``path`` is no path.
    """

    __slots__ = ("_plan", "_probe", "app", "leaving", "path")

    def __init__(self, app: App, path: str) -> None:
        if not path.startswith("/") or not path.isprintable() or set(path) & set("?# "):
            raise ValueError(f"health_path is a path such as '/healthz', not {path!r}")
        self.app = app
        self.path = path
        self.leaving = False
        self._plan = Plan("buffered", 0)
        self._probe = Probe(path)

    def asked(self, request: Request) -> bool:
        """Whether this is the question."""
        return request.path == self.path and request.method in METHODS

    def plan(self, request: Request) -> Plan:
        """The question has no content; with everything else it is as the app says."""
        if not self.asked(request):
            return self.app.plan(request)
        request.endpoint = self._probe
        return self._plan

    async def __call__(self, exchange: Exchange) -> None:
        """Answers the question, or lets the app answer."""
        if not self.asked(exchange.request):
            await self.app(exchange)
        elif self.leaving or exchange.drain.draining:
            await exchange.respond(503, FIELDS, b"leaving\n")
        else:
            await exchange.respond(200, FIELDS, b"ok\n")


def with_health(app: App, path: str | None) -> tuple[Health | None, Callable[[Request], bool] | None]:
    """The app around ``app`` if there is a path, and what tells whether a request is the question.

    Raises:
        ValueError: ``path`` is no path.
    """
    if path is None:
        return None, None
    health = Health(app, path)
    return health, health.asked
