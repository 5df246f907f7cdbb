"""How much all connections of a listener hold in memory for their applications: one number, and who has a share in it.

Bodies that are read before their handler runs, and messages that grow or wait for theirs, are bounded one by one; what
thousands of peers may have the server hold together is bounded here. Nobody waits for room: who finds none turns its
peer away. A share is told as a whole, not by its changes, so it cannot drift, and giving it up twice does no harm.
"""

from __future__ import annotations

import math


class Buffered:
    """The sum of all shares.

    Attributes:
        held: octets now.
        limit: octets at most; ``math.inf`` is no limit.

    Args:
        limit: octets; None lifts the limit.
    """

    __slots__ = ("held", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self.held = 0
        self.limit: float = math.inf if limit is None else limit


class Share:
    """What one connection holds. Whoever ends the connection releases it, whatever has happened.

    Attributes:
        held: octets now.
    """

    __slots__ = ("_all", "held")

    def __init__(self, all_: Buffered) -> None:
        self._all = all_
        self.held = 0

    @property
    def room(self) -> float:
        """Octets for which there is room beside what it holds."""
        return self._all.limit - self._all.held

    def hold(self, octets: int) -> bool:
        """From now on it is ``octets``, whatever it was; False, and it stays what it was, when there is no room."""
        every = self._all
        held = every.held + octets - self.held
        if held > every.limit and octets > self.held:
            return False
        every.held, self.held = held, octets
        return True

    def release(self) -> None:
        """It is nothing any more."""
        self._all.held -= self.held
        self.held = 0
