"""What an operator sees a server by, made of the settings: its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..server.listener import Listener
from ..settings import Limits, Timeouts
from ..telemetry.metrics import Metrics, metrics_handler
from ..transport.bind import listed
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
