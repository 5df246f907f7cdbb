"""The page, and the stream that keeps it up to date: one process shows itself."""

from __future__ import annotations

from ..errors import HTTPError
from ..messages.event_stream import EventSender, EventStream
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..server.listener import Listener
from .door import GUARDS, Door, told_by
from .pane import Pane


class observe:
    """A handler that shows listeners live: their connections and deadlines, the tree of all tasks, a drain to its end.

    Give it to a listener of its own, on a loopback address or a Unix socket, that outlives those it shows::

        window = Listener(observe(listener), bind="127.0.0.1:9001", name="window")

    Whoever can reach it sees every peer's address and every path that is asked for; not queries, fields or bodies.

    Args:
        listeners: which to show.
        hosts: names by which it may be asked beside those of the loopback address; with a port or without, which is
            the same.

    Raises:
        TypeError: there is no listener, or one is none; ``hosts`` is one text.
        ValueError: a host is no name.
    """

    def __init__(self, *listeners: Listener, hosts: tuple[str, ...] = ()) -> None:
        if not listeners or not all(isinstance(each, Listener) for each in listeners):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("observe takes the listeners that it is to show: observe(listener)")
        self._door = Door(hosts)
        self._pane = Pane(listeners)

    async def __call__(self, request: Request) -> AnyResponse:
        """The page, its stream at ``/stream``, a task or a connection at ``/closer?id=``."""
        self._door.admit(request)
        match request.path:
            case "/stream":
                return EventStream(request, self._tell, heartbeat=None, fields=GUARDS)
            case "/closer":
                found = self._pane.closer(request.query.get("id", ""))
                if found is None:
                    raise HTTPError(404, "That is over.\n")
                return Response.json(found, fields=GUARDS)
            case path:
                return self._door.page(path)

    async def _tell(self, sender: EventSender) -> None:
        await self._pane.follow(told_by(sender))
