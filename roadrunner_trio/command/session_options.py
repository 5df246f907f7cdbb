"""The rows of the table that are about the WebSockets of an ASGI application."""

from __future__ import annotations

from typing import Final

from ..settings import DEFAULT_MESSAGE
from .kinds import COUNT, SIZE, SWITCH, TIME
from .option import SESSIONS, Option

WEBSOCKETS: Final = (
    Option(
        name="ws-max-size",
        kind=SIZE,
        help="a message, else 1009",
        default=DEFAULT_MESSAGE,
        bounds="at least 1",
        least=1,
        group=SESSIONS,
        server=True,
    ),
    Option(
        name="ws-max-queue",
        kind=COUNT,
        help="messages that wait for the application",
        default=16,
        bounds="at least 1",
        least=1,
        group=SESSIONS,
        server=True,
    ),
    Option(
        name="ws-ping-interval",
        kind=TIME,
        help="time between pings; none sends none",
        default=20.0,
        group=SESSIONS,
        server=True,
    ),
    Option(
        name="ws-ping-timeout",
        kind=TIME,
        help="time for the answer to a ping, after which the session is lost",
        default=20.0,
        group=SESSIONS,
        server=True,
    ),
    Option(
        name="ws-per-message-deflate",
        kind=SWITCH,
        bare=True,
        help="compress messages for peers that offer it",
        default=False,
        group=SESSIONS,
        server=True,
    ),
)
"""How the WebSockets of an ASGI application are; a native one says that itself, where it makes its handler."""
