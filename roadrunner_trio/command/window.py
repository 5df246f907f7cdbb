"""The window into a running server, made of the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from ..server.listener import Listener
from ..transport.bind import listed
from ..watching.window import observe
from .configuration import Values
from .operation import FEW


def window_into(server: Values, listeners: Sequence[Listener]) -> list[Listener]:
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
