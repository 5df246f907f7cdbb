"""A failed request, explained to its author: the traceback, in the answer, to who asks from this machine.

For the time in which an application is written. Everybody else gets the bare 500. So does a request that a proxy has
passed on, for then the peer is the proxy, and who asks is not known to be here; and one by a name that may be somebody
else's, whose page would read the answer (CVE-2024-34069).
"""

from __future__ import annotations

from html import escape
from ipaddress import ip_address
from typing import Final

from ..addresses import host_of, names_this_machine
from ..errors import HTTPError
from ..messages.exchange import App, Exchange, Plan
from ..messages.request import Request
from ..tracebacks import traceback_text
from .faults import PEERS, part_ways

RELAYED: Final = frozenset({b"cf-connecting-ip", b"client-ip", b"forwarded", b"true-client-ip", b"via", b"x-real-ip"})
"""Fields of a request that somebody has passed on, beside those that begin with ``x-forwarded``."""
PAGE: Final = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}}
pre{{background:#f4f4f4;border-left:4px solid #b00;overflow:auto;padding:1rem}}
@media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}pre{{background:#222}}}}</style>
<h1>{title}</h1><p>{request}</p><pre>{trace}</pre>
<p>You see this because the server runs with <code>tracebacks</code>, and you are on its machine.</p></html>
"""


class Explaining:
    """An app, and what its failures look like.

    Args:
        app: fails, at times. It is told of as ever.
    """

    __slots__ = ("app",)

    def __init__(self, app: App) -> None:
        self.app = app

    def plan(self, request: Request) -> Plan:
        """The app's."""
        return self.app.plan(request)

    async def __call__(self, exchange: Exchange) -> None:
        """As the app does; what it raises goes on when it has been shown."""
        try:
            await self.app(exchange)
        except Exception as exc:
            error, onward = part_ways(exc)
            ours = isinstance(error, Exception) and not isinstance(error, (HTTPError, *PEERS))
            if ours and onward is None and not exchange.started and is_here(exchange.request):
                kind, body = explained(exc, exchange.request)
                fields = ((b"content-type", kind), (b"cache-control", b"no-store"), (b"connection", b"close"))
                await exchange.respond(500, fields, body)
            raise


def is_here(request: Request) -> bool:
    """Whether it comes from this machine, as far as one can tell, and asks for it by a name of its own."""
    if any(name in RELAYED or name.startswith(b"x-forwarded") for name, _ in request.fields):
        return False
    if not names_this_machine(host_of(request.host)):
        return False
    if isinstance(request.peer, str):
        return True  # a Unix socket, or memory
    try:
        return ip_address(request.peer[0]).is_loopback
    except ValueError:
        return False


def explained(exc: BaseException, request: Request) -> tuple[bytes, bytes]:
    """The type and the content of an answer: a page for a browser, text for everybody else."""
    trace = traceback_text(exc, str)
    if "text/html" not in (request.header("accept") or ""):
        return b"text/plain; charset=utf-8", (trace + "\n").encode("utf-8", "backslashreplace")
    title = escape(trace.rpartition("\n")[2][:200])  # the exception itself may refuse to be text
    asked = escape(f"{request.method} {request.path}")
    page = PAGE.format(title=title, request=asked, trace=escape(trace))
    return b"text/html; charset=utf-8", page.encode("utf-8", "backslashreplace")
