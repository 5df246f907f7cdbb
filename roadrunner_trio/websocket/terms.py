"""What a session is begun with: what it was told, and with whom it has to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..protocol.ws.decoder import Caps
from ..protocol.ws.deflate import Compression
from ..transport.drain import Drain, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What :func:`~roadrunner_trio.websocket` was told; see there.

    Attributes:
        plain: what comes of ``caps``, see there.
    """

    origins: frozenset[str] | None
    subprotocols: tuple[str, ...]
    compression: Compression | None
    caps: Caps
    plain: int
    max_queue: int
    ping_interval: float
    ping_timeout: float
    close_timeout: float
    close_on_drain: bool


class Conn(Member, Protocol):
    """The connection that it is on, as a member of its drain."""

    drain: Drain


class Owner(Protocol):
    """Whose session it is."""

    def abandoned(self) -> None:
        """The session is over, and the handler has not noticed in time. Synchronous."""
        ...
