"""Around a write that has to wait for the peer."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from ..answering.context import ServerContext
from ..transport.patience import Patience
from ..transport.phases import Phase, PhaseScope
from ..transport.streams import SendMeter
from ..transport.wire import SocketWire


class Writes(Protocol):
    """Who writes."""

    context: ServerContext
    phase: PhaseScope
    wire: SocketWire | None
    broken: bool


class Taking(Patience):
    """Around a wait for the peer to take ``octets``: the write timeout, and the least rate over all such waits."""

    __slots__ = ("_began", "_meter", "_octets", "_seconds")

    def __init__(self, carrier: Writes, meter: SendMeter, seconds: float, octets: int) -> None:
        self._began = carrier.phase.now()
        super().__init__(
            carrier.context.clock, self._began + seconds, None if carrier.wire is None else carrier.wire.has_room
        )
        self._meter = meter
        self._seconds = seconds
        self._octets = octets

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        caught = super().__exit__(kind, value, traceback)
        if kind is None:
            self._meter.took(self._octets, min(self._seconds, self.clock.time() - self._began))
        return caught


class Writing:
    """Around a write that waits: the phase says so, and a write that does not finish leaves the wire unusable."""

    __slots__ = ("before", "carrier")

    def __init__(self, carrier: Writes) -> None:
        self.carrier = carrier
        self.before = carrier.phase.phase

    def __enter__(self) -> None:
        self.carrier.phase.phase = Phase.RESPOND
        self.carrier.broken = True

    def __exit__(self, *exc_info: object) -> None:
        self.carrier.phase.phase = self.before
