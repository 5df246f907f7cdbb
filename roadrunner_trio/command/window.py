"""The window into a running server, made of the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from ..answering.respond import Handler
from ..journal import log
from ..processes.sight import look, staff, whole
from ..processes.supervisor import Supervisor
from ..server.listener import Listener
from ..transport.bind import Bindable, listed
from .configuration import Values
from .operation import FEW, begin


def window_into(server: Values, listeners: Sequence[Listener]) -> list[Listener]:
    """What ``--observe`` asks for: a listener of its own that shows the others.

    Raises:
        ValueError: as :func:`window_place`.
    """
    if (place := window_place(server)) is None:
        return []
    from ..watching.window import observe  # not every server has a window

    return [_window(place, observe(*listeners))]


def window_place(server: Values) -> list[Bindable] | None:
    """Where the window is to be; None when nobody asks for it.

    Raises:
        ValueError: that is no address, or one that others than this machine can reach.
    """
    address: str | None = server["observe"]
    if address is None:
        return None
    try:
        place = listed(address)
    except ValueError as exc:
        raise ValueError(f"{server.where('observe')}: {exc}") from None
    if not _is_near(address):
        raise ValueError(
            f"{server.where('observe')}: the window shows everything to whoever can reach it: not on {address!r}, "
            "but on a loopback address or a Unix socket, and by a tunnel from elsewhere"
        )
    return place


def _window(place: list[Bindable], handler: Handler) -> Listener:
    return Listener(handler, bind=place, name="window", limits=FEW)


def _is_near(address: str) -> bool:
    """Whether only this machine can reach an address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Crew:
    """The workers of a supervisor, for whoever looks at them."""

    supervisor: Supervisor

    def whole(self) -> dict[str, Any]:
        """The supervisor itself."""
        return whole(self.supervisor)

    def staff(self) -> list[dict[str, Any]]:
        """The processes."""
        return staff(self.supervisor)

    async def changed(self) -> None:
        """Waits until something has happened to one of them."""
        await self.supervisor.changed()

    def look(self, number: int, question: dict[str, Any]) -> trio.SocketStream | None:
        """What a worker shows."""
        return look(self.supervisor, number, question)


async def show_workers(place: list[Bindable], supervisor: Supervisor) -> None:
    """Shows them, until it is cancelled; what stands in its way is logged, and ends nothing else."""
    from ..watching.workers import observe_workers

    def go_without(why: str) -> int:
        log.error("there is no window: %s", why)
        return 1

    async with trio.open_nursery() as nursery:
        await begin([_window(place, observe_workers(Crew(supervisor)))], nursery, go_without)
