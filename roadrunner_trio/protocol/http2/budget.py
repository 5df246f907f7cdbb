"""What a peer may ask for that gets it nothing: a balance that fills up again with time, and with honest work."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """A balance that is spent, and earned back.

    The clock is only asked when the balance is used up, so a frame costs a subtraction. So within the time in which it
    fills up from nothing, at most twice ``most`` can be spent.

    Args:
        most: what there is at first, and never more than that.
        rate: what comes back in a second.
        now: what time it is, in seconds.

    Attributes:
        left: the balance. Of one that is full nothing has to be given back.
    """

    __slots__ = ("_now", "_rate", "_since", "left", "most")

    def __init__(self, most: float, rate: float, now: Callable[[], float]) -> None:
        self.most = most
        self._rate = rate
        self._now = now
        self._since = now()
        self.left = most

    def spend(self, cost: float) -> bool:
        """Takes ``cost`` off; False when it is more than there is left."""
        self.left -= cost
        if self.left >= 0:
            return True
        now = self._now()
        self.left = min(self.most, self.left + cost + (now - self._since) * self._rate) - cost
        self._since = now
        return self.left >= 0

    def earn(self, gain: float) -> None:
        """Gives ``gain`` back."""
        left = self.left + gain
        self.left = left if left < self.most else self.most  # as min(), at a third of its cost
