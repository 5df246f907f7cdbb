"""The demo that is served when no application is named: a page that shows what a handler may answer, live.

One handler finds the exhibit in a table; a path it does not know is a 404, a method it does not know a 405.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template
from typing import Final

from .. import AnyResponse, FileResponse, Handler, HTTPError, Request, Response, __version__, websocket
from . import exhibits
from .exhibits import board
from .source import source_as_html

__all__ = ["board", "demo"]

HERE: Final = Path(__file__).parent

GUARDS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

SHOWN: Final = {
    "whoami": (exhibits.whoami,),
    "hello": (exhibits.hello,),
    "stream": (exhibits.stream,),
    "events": (exhibits.events, exhibits.note),
    "file": (exhibits.file,),
    "upload": (exhibits.upload,),
    "clock": (exhibits.clock, exhibits.following),
    "echo": (exhibits.echo,),
    "ticker": (exhibits.ticker,),
    "errors": (exhibits.missing, exhibits.crash),
}
"""Which handlers the page prints, and under which name its template knows them."""


async def demo(request: Request) -> AnyResponse:
    """Answers every request of the demo."""
    method = "GET" if request.method == "HEAD" else request.method
    found = ROUTES.get((method, request.path))
    if found is not None:
        return await found(request)
    allowed = {known for known, path in ROUTES if path == request.path}
    if not allowed:
        raise HTTPError(404)
    if "GET" in allowed:
        allowed.add("HEAD")
    raise HTTPError(405, fields=[("allow", ", ".join(sorted(allowed)))])


@cache
def page() -> str:
    """The page, with the handlers' sources in it."""
    sources = {name: source_as_html(*functions) for name, functions in SHOWN.items()}
    return Template((HERE / "index.html").read_text("utf-8")).substitute(sources, version=__version__)


async def index(request: Request) -> Response:
    """The page."""
    return Response.html(page(), fields=GUARDS)


async def asset(request: Request) -> FileResponse:
    """The page's style, script and mark; the table below, and not the path, decides which files there are."""
    return FileResponse(HERE / request.path[1:], fields=GUARDS)


ROUTES: Final[dict[tuple[str, str], Handler]] = {
    ("GET", "/"): index,
    ("GET", "/demo.css"): asset,
    ("GET", "/demo.js"): asset,
    ("GET", "/mark.svg"): asset,
    ("GET", "/whoami"): exhibits.whoami,
    ("GET", "/hello/text"): exhibits.hello,
    ("GET", "/hello/html"): exhibits.hello,
    ("GET", "/hello/json"): exhibits.hello,
    ("GET", "/hello/redirect"): exhibits.hello,
    ("GET", "/hello/empty"): exhibits.hello,
    ("GET", "/stream"): exhibits.stream,
    ("GET", "/clock"): exhibits.clock,
    ("GET", "/events"): exhibits.events,
    ("POST", "/note"): exhibits.note,
    ("GET", "/file"): exhibits.file,
    ("GET", "/echo"): websocket(exhibits.echo, origins=["self"], compression=True),
    ("GET", "/ticker"): websocket(exhibits.ticker, origins=["self"]),
    ("POST", "/upload"): exhibits.upload,
    ("GET", "/missing"): exhibits.missing,
    ("GET", "/crash"): exhibits.crash,
}
