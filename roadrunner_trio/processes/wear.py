"""When a worker has served for long enough: so many requests, so long, so much memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

JITTER: Final = 0.2
"""The part by which the bounds of a worker may be lower, so that workers that began together do not end together."""


@dataclass(frozen=True, slots=True)
class Wear:
    """The bounds; ``math.inf`` is none.

    Attributes:
        requests: that one worker answers.
        lifetime: seconds.
        resident: octets of memory.
    """

    requests: float = math.inf
    lifetime: float = math.inf
    resident: float = math.inf

    def drawn(self, random: Callable[[], float]) -> Wear:
        """Those of one worker. Memory is not drawn: a bound on it is there because of the machine's."""
        part = 1 - JITTER * random()
        return Wear(self.requests * part, self.lifetime * part, self.resident)

    def why(self, requests: int, age: float, resident: int) -> str:
        """Which bound has been reached, in words; ``""`` for none."""
        if requests >= self.requests:
            return f"it has answered {requests} requests"
        if age >= self.lifetime:
            return f"it has served for {age:.0f} s"
        if resident >= self.resident:
            return f"it takes {resident / 1024**2:.0f} MiB of memory"
        return ""
