"""What an exchange of any version of HTTP has of its connection."""

from __future__ import annotations

from ..answering.context import ServerContext
from ..settings import Timeouts
from ..transport.clock import Clock
from ..transport.drain import Drain
from ..transport.streams import Address
from .carrier import Carrier


class OnCarrier:
    """An exchange that stands on a carrier.

    Attributes:
        conn: what carries it.
        status: of the final response once its head is out; 0 before.
    """

    __slots__ = ()

    conn: Carrier
    status: int

    @property
    def context(self) -> ServerContext:
        """What the connections of the listener share."""
        return self.conn.context

    @property
    def started(self) -> bool:
        """Whether the final response's head is on its way."""
        return self.status != 0

    @property
    def clock(self) -> Clock:
        """The listener's."""
        return self.conn.context.clock

    @property
    def timeouts(self) -> Timeouts:
        """The listener's."""
        return self.conn.context.timeouts

    @property
    def drain(self) -> Drain:
        """The server's."""
        return self.conn.drain

    @property
    def peer(self) -> Address:
        """Who asks."""
        return self.conn.peer
