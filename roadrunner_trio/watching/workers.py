"""Several processes, side by side: the same page, from a supervisor that knows nothing of what they serve.

Who has the page open has a row for each worker: what the supervisor knows of it, and what its listeners say. Of one
of them he has the tree and the connections as well, which that worker sends. A worker that is stuck says nothing, and
its row says so; a worker at which nobody looks does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, Final, Protocol

import trio

from ..errors import HTTPError
from ..journal import log
from ..messages.event_stream import EventSender, EventStream
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..protocol.codec.sse import ServerSentEvent
from .changes import difference
from .door import GUARDS, Door, told_by
from .pane import EVERY
from .recent import Row
from .told import first, heard

READERS: Final = 16
"""Pages that are kept up to date at once: each asks every worker."""
LEAST: Final = 0.2
"""Seconds from one row to the next that replaces it, at least: what happens is told at once, but not all of it."""
ANSWER: Final = 5.0
"""Seconds that a worker has to answer."""


class Company(Protocol):
    """The processes, as their supervisor has them."""

    def whole(self) -> Row:
        """The supervisor itself."""
        ...

    def staff(self) -> list[Row]:
        """The processes, with the number of each as its ``id``."""
        ...

    async def changed(self) -> None:
        """Waits until something has happened to one of them."""
        ...

    def look(self, number: int, question: dict[str, Any]) -> trio.abc.ReceiveStream | None:
        """What a worker shows when it is asked so; None when it is not there, or cannot be asked."""
        ...


class observe_workers:
    """A handler that shows the workers of a supervisor live: see :class:`~.window.observe`.

    Args:
        company: whom to show.
    """

    def __init__(self, company: Company) -> None:
        self._company = company
        self._door = Door()
        self._readers = 0

    async def __call__(self, request: Request) -> AnyResponse:
        """The page, its stream at ``/stream``; with ``worker=`` that of one worker, and ``/closer`` there."""
        self._door.admit(request)
        worker = request.query.get("worker", "")
        match request.path:
            case "/stream":
                if self._readers >= READERS:
                    raise HTTPError(503, f"{READERS} pages are open, and that is all there may be.\n")
                source = partial(self._relay, self._known(worker)) if worker else self._tell
                return EventStream(request, source, heartbeat=None, fields=GUARDS)
            case "/closer":
                return await self._closer(self._known(worker), request.query.get("id", ""))
            case path:
                return self._door.page(path)

    # -- all of them -----------------------------------------------------------------------------

    async def _tell(self, sender: EventSender) -> None:
        """A row for each process, and what changes of it, for as long as somebody listens."""
        say, known, told = told_by(sender), dict[str, Row](), dict[str, list[Row]]()
        with self._reading():
            async with trio.open_nursery() as nursery:
                name = "workers"
                while True:
                    rows = self._company.staff()
                    for row in rows:
                        if row["served"] and row["id"] not in told:
                            told[row["id"]] = []
                            nursery.start_soon(self._follow, row["id"], told, name=f"the numbers of worker {row['id']}")
                    now = {row["id"]: {**row, "listeners": told.get(row["id"], [])} for row in rows}
                    put, gone = difference(known, now)
                    time, whole = round(trio.current_time(), 2), self._company.whole()
                    await say(name, {"t": time, "supervisor": whole, "workers": put, "workers_gone": gone})
                    known, name = now, "workers_change"
                    await trio.sleep(LEAST)
                    with trio.move_on_after(EVERY - LEAST):
                        await self._company.changed()

    async def _follow(self, worker: str, told: dict[str, list[Row]]) -> None:
        """Keeps what the listeners of a worker say of themselves; once it says no more, it is not asked again."""
        try:
            if (stream := self._company.look(int(worker), {"what": "numbers"})) is not None:
                async with stream, aclosing(heard(stream)) as events:
                    async for _, numbers in events:
                        told[worker] = listeners_in(numbers, trio.current_time())
        except (OSError, ValueError) as exc:
            log.error("worker %s is not shown: %s", worker, exc)
        told[worker] = []

    # -- one of them -----------------------------------------------------------------------------

    def _known(self, worker: str) -> int:
        """Its number.

        Raises:
            HTTPError: it is none that serves.
        """
        if any(row["served"] for row in self._company.staff() if row["id"] == worker):
            return int(worker)
        raise HTTPError(404, "That worker has ended.\n")

    async def _relay(self, worker: int, sender: EventSender) -> None:
        """What it shows, as it comes."""
        with self._reading():
            if (stream := self._company.look(worker, {"what": "stream"})) is None:
                return
            async with stream, aclosing(heard(stream)) as events:
                async for name, told in events:
                    await sender.send(ServerSentEvent(told, event=name))

    async def _closer(self, worker: int, wanted: str) -> Response:
        """What it says of one task, or connection, of its own.

        Raises:
            HTTPError: that is over, or it does not say.
        """
        found = None
        with trio.move_on_after(ANSWER) as patience:
            if (stream := self._company.look(worker, {"what": "closer", "id": wanted})) is not None:
                async with stream:
                    found = await first(stream)
        if patience.cancelled_caught:
            raise HTTPError(504, f"Worker {worker} does not answer: its loop does not turn.\n")
        if found is None:
            raise HTTPError(404, "That is over.\n")
        return Response(found, fields={**GUARDS, "content-type": "application/json"})

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1


def listeners_in(numbers: str, now: float) -> list[Row]:
    """What listeners of another process have said of themselves, with times as they are here.

    Raises:
        ValueError: they have not.
    """
    told: Any = json.loads(numbers)
    try:
        listeners, ahead = list[Row](told["listeners"]), now - told["t"]
        times = [None if each["drain"] is None else round(each["drain"] + ahead, 1) for each in listeners]
        return [{**each, "drain": time} for each, time in zip(listeners, times, strict=True)]
    except (KeyError, TypeError) as exc:
        raise ValueError(f"what it says is not what was asked: {exc!r}") from None
