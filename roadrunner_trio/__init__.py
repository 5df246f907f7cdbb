"""An HTTP server for Trio: one connection, one task, absolute deadlines, and a drain that always ends in time.

The names here, and those of :mod:`roadrunner_trio.testing`, are stable; deeper imports are not.
"""

from .drain import Drain
from .errors import HTTPError, ProtocolError
from .exchange import App, Exchange, Plan
from .listener import ConnectionInfo, Drained, Listener, ListenerInfo
from .observe import (
    AccessLog,
    ConnectionClosed,
    ConnectionEvent,
    ConnectionRejected,
    Observer,
    RequestEnded,
    RequestRejected,
)
from .request import Params, Request
from .respond import Handler
from .response import (
    STOP,
    AnyResponse,
    Disconnected,
    Draining,
    FileResponse,
    Handoff,
    LoopResponse,
    Response,
    Send,
    StreamResponse,
)
from .serve import run, serve, serve_connection
from .settings import Limits, Timeouts
from .wire import BodyTimeout, PeerGone

__version__ = "0.1.0"

__all__ = [
    "STOP",
    "AccessLog",
    "AnyResponse",
    "App",
    "BodyTimeout",
    "ConnectionClosed",
    "ConnectionEvent",
    "ConnectionInfo",
    "ConnectionRejected",
    "Disconnected",
    "Drain",
    "Drained",
    "Draining",
    "Exchange",
    "FileResponse",
    "HTTPError",
    "Handler",
    "Handoff",
    "Limits",
    "Listener",
    "ListenerInfo",
    "LoopResponse",
    "Observer",
    "Params",
    "PeerGone",
    "Plan",
    "ProtocolError",
    "Request",
    "RequestEnded",
    "RequestRejected",
    "Response",
    "Send",
    "StreamResponse",
    "Timeouts",
    "__version__",
    "run",
    "serve",
    "serve_connection",
]
