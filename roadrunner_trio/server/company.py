"""Other processes that accept on the same sockets, as a listener sees them."""

from __future__ import annotations

from typing import Final, Protocol

BATCH: Final = 4
"""Connections that are accepted at once by one process of several; what it leaves wakes the others."""


class Neighbours(Protocol):
    """What a listener asks before it accepts, where it is not alone."""

    def patience(self, connections: int) -> float:
        """Seconds to look away, so many connections being there; 0 when it is this process's turn."""
        ...

    def insistence(self) -> int:
        """Connections to accept after so long, if they are still there."""
        ...
