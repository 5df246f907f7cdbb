"""The page, and the stream that keeps it up to date.

Nothing happens while nobody looks: a sample is taken for a reader, once a second, and readers share it. The page is for
whoever may see everything, so it belongs on a listener of its own on a loopback address or a Unix socket; a request by
another name than the address's own is refused, for a page of somebody else's site can have a name that leads here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

import trio

from ..addresses import host_of
from ..errors import HTTPError
from ..messages.event_stream import EventSender, EventStream
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..protocol.codec.sse import ServerSentEvent
from ..server.listener import Listener
from .changes import changes, everything
from .sample import Eye, Sample

HERE: Final = Path(__file__).parent
EVERY: Final = 1.0
"""Seconds from one sample to the next, at least."""
SHARE: Final = 1 / 64
"""Of a core, what samples may take: the more there is to see, the longer it is until the next look."""
FILES: Final = {"/": "window.html", "/window.css": "window.css", "/window.js": "window.js"}
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


class observe:
    """A handler that shows listeners live: their connections and deadlines, the tree of all tasks, a drain to its end.

    Give it to a listener of its own, on a loopback address or a Unix socket, that outlives those it shows::

        window = Listener(observe(listener), bind="127.0.0.1:9001", name="window")

    Whoever can reach it sees every peer's address and every path that is asked for; not queries, fields or bodies.

    Args:
        listeners: which to show.
        hosts: names by which it may be asked beside those of the loopback address.

    Raises:
        TypeError: there is no listener, or one is none; ``hosts`` is one text.
    """

    def __init__(self, *listeners: Listener, hosts: tuple[str, ...] = ()) -> None:
        if not listeners or not all(isinstance(each, Listener) for each in listeners):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("observe takes the listeners that it is to show: observe(listener)")
        if isinstance(hosts, str):
            raise TypeError(f"hosts is a tuple of names; write ({hosts!r},)")
        self._eye = Eye(listeners)
        self._hosts = LOCAL | frozenset(map(str.lower, hosts))
        self._last: Sample | None = None
        self._every = EVERY

    async def __call__(self, request: Request) -> AnyResponse:
        """The page, its stream at ``/stream``, a task at ``/task?id=``."""
        if host_of(request.host) not in self._hosts:
            raise HTTPError(421, "This page is for whoever asks for it by its own name.\n")
        if request.method not in ("GET", "HEAD"):
            raise HTTPError(405, fields=[("allow", "GET, HEAD")])
        match request.path:
            case "/stream":
                return EventStream(request, self._tell, heartbeat=None, fields=GUARDS)
            case "/task":
                found = self._eye.stack(request.query.get("id", ""))
                if found is None:
                    raise HTTPError(404, "That task has ended.\n")
                return Response.json(found, fields=GUARDS)
            case path if path in FILES:
                kind = KINDS[FILES[path].rpartition(".")[2]]
                content = (HERE / FILES[path]).read_bytes()
                return Response(content, fields={**GUARDS, "content-type": f"{kind}; charset=utf-8"})
            case "/favicon.ico":
                return Response.no_content()
            case _:
                raise HTTPError(404)

    async def _tell(self, sender: EventSender) -> None:
        """All that there is, then what changes, for as long as somebody listens."""
        known = self._sample()
        await sender.send(_event("all", everything(known)))
        while True:
            await trio.sleep(self._every)
            new = self._sample()
            await sender.send(_event("change", changes(known, new)))
            known = new

    def _sample(self) -> Sample:
        """A new sample, or the one that another reader has just had."""
        now = trio.current_time()
        if self._last is None or now - self._last.time >= self._every / 2:
            began = time.thread_time()
            self._last = self._eye.sample()
            self._every = max(EVERY, (time.thread_time() - began) / SHARE)
        return self._last


def _event(name: str, told: object) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(told, separators=(",", ":")), event=name)
