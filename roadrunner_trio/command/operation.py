"""What an operator sees a server by, made of the settings: its metrics, and a window into it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..server.listener import Listener
from ..settings import Limits, Timeouts
from ..telemetry.metrics import Metrics, metrics_handler
from ..transport.bind import listed
from ..watching.window import observe
from .configuration import Values

FEW: Final = Limits(max_connections=64, max_body=0)
BRIEF: Final = Timeouts(request=10, handler=10)


@dataclass(frozen=True, slots=True)
class Measured:
    """What it takes to measure listeners; nothing where nobody asked for it.

    Attributes:
        observers: of all listeners.
        listeners: where the metrics are told.
    """

    observers: Sequence[Metrics] = ()
    listeners: Sequence[Listener] = ()


def measured(server: Values) -> Measured:
    """What ``--metrics`` asks for: a listener of its own, so that no peer of the application finds it.

    Raises:
        ValueError: that is no address.
    """
    address: str | None = server["metrics"]
    if address is None:
        return Measured()
    metrics = Metrics()
    try:
        place = listed(address)
    except ValueError as exc:
        raise ValueError(f"{server.where('metrics')}: {exc}") from None
    tells = metrics_handler(metrics.snapshot)
    return Measured([metrics], [Listener(tells, bind=place, name="metrics", limits=FEW, timeouts=BRIEF)])


def watched(server: Values, listeners: Sequence[Listener]) -> list[Listener]:
    """What ``--observe`` asks for: a listener of its own that shows the others.

    Raises:
        ValueError: that is no address, or one that others than this machine can reach.
    """
    address: str | None = server["observe"]
    if address is None:
        return []
    try:
        place = listed(address)
    except ValueError as exc:
        raise ValueError(f"{server.where('observe')}: {exc}") from None
    if not _is_near(address):
        raise ValueError(
            f"{server.where('observe')}: the window shows everything to whoever can reach it: not on {address!r}, "
            "but on a loopback address or a Unix socket, and by a tunnel from elsewhere"
        )
    return [Listener(observe(*listeners), bind=place, name="window", limits=FEW)]


def _is_near(address: str) -> bool:
    """Whether only this machine can reach an address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_window(server: Values) -> None:
    """The window shows one process.

    Raises:
        ValueError: there are to be several.
    """
    if server["observe"] is not None:
        raise ValueError(f"{server.where('observe')}: the window shows one process, and there are to be workers")
