"""An exchange of any version of HTTP, as the story of a connection and those who help to tell it know it."""

from __future__ import annotations

from typing import Protocol

from ..answering.context import ServerContext
from ..messages.exchange import Exchange, Plan
from ..messages.request import Request
from ..protocol.heads import RequestHead
from ..transport.phases import PhaseScope
from .carrier import Carrier
from .presence import Attended
from .report import Reported


class Subject(Exchange, Reported, Attended, Protocol):
    """What is told of in :mod:`.connection`: one request, its answer, and whoever asked.

    Attributes:
        conn: what carries it.
        head: the request's.
        phase: where it is, its deadline, and the scope that ends it.
        plan: what the application wants done with it.
        judged: by its head alone, for the time being.
        keep: what carries it may be used again.
    """

    conn: Carrier
    head: RequestHead
    phase: PhaseScope
    plan: Plan
    request: Request  # pyright: ignore[reportIncompatibleMethodOverride]  # plain attributes, with those who have it
    kind: str
    sent: int
    ended: bool
    body_done: bool  # pyright: ignore[reportIncompatibleMethodOverride]
    judged: bool
    keep: bool

    @property
    def context(self) -> ServerContext:
        """What the connections of its listener share."""
        ...

    def expect_body(self, plan: Plan) -> bool:
        """Prepares for its body as planned; whether anything is to be done before the handler runs."""
        ...

    async def gather_body(self) -> bytes:
        """The whole body, which counts among what all connections hold until the exchange is over."""
        ...

    async def say(self, status: int) -> None:
        """An error in place of a response, if none has begun."""
        ...
