"""Who may look, and the page that he gets.

The page is for whoever may see everything, so it belongs on a listener of its own on a loopback address or a Unix
socket; a request by another name than the address's own is refused, for a page of somebody else's site can have a name
that leads here.
"""

from __future__ import annotations

import json
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from ..addresses import host_of
from ..errors import HTTPError
from ..messages.event_stream import EventSender
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..protocol.codec.sse import ServerSentEvent
from .pane import Say

HERE: Final = Path(__file__).parent
PARTS: Final = ("window.css", "window.js", "workers.js", "closer.js", "source.js")
FILES: Final = {"/": "window.html", **{f"/{name}": name for name in PARTS}}
KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]", ""})
GUARDS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Door:
    """Lets in who asks by a name of this machine, or by one that was given, and gives them the page.

    Args:
        hosts: names beside those of the loopback address; a port does not matter.

    Raises:
        TypeError: ``hosts`` is one text.
        ValueError: a name is none.
    """

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        if isinstance(hosts, str):
            raise TypeError(f"hosts is a tuple of names; write ({hosts!r},)")
        self._hosts = LOCAL | frozenset(map(_name_of, hosts))

    def admit(self, request: Request) -> None:
        """Returns if it may be answered.

        Raises:
            HTTPError: it may not.
        """
        if host_of(request.host) not in self._hosts:
            raise HTTPError(421, "This page is for whoever asks for it by its own name.\n")
        if request.method not in ("GET", "HEAD"):
            raise HTTPError(405, fields=[("allow", "GET, HEAD")])

    def page(self, path: str) -> AnyResponse:
        """What the page is made of.

        Raises:
            HTTPError: there is no such part.
        """
        if path == "/favicon.ico":
            return Response.no_content()
        if path not in FILES:
            raise HTTPError(404)
        kind = KINDS[FILES[path].rpartition(".")[2]]
        content = (HERE / FILES[path]).read_bytes()
        # A browser asks for all parts at once, and the connections that it keeps would be among what it shows.
        return Response(content, fields={**GUARDS, "content-type": f"{kind}; charset=utf-8", "connection": "close"})


def told_by(sender: EventSender) -> Say:
    """Says it as events."""

    async def say(name: str, told: dict[str, Any]) -> None:
        await sender.send(ServerSentEvent(json.dumps(told, separators=(",", ":")), event=name))

    return say


def _name_of(host: str) -> str:
    """The name in a host as somebody has given it, as a Host field has it."""
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        name = host_of(host)
    if not name or name.strip(" .") != name or any(letter in name for letter in "/@?#, \t") or name.endswith(":"):
        raise ValueError(f"{host!r} is no name of a host: write 'devbox', or 'devbox:9001'")
    return name
