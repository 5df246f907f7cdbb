"""An HTTP server for Trio: one connection, one task, absolute deadlines, and a drain that always ends in time.

The names here, those of :mod:`roadrunner_trio.testing` and of the modules in ``roadrunner_trio.apps`` are stable;
deeper imports are not.
"""

from .drain import Drain
from .errors import HTTPError, ProtocolError
from .exchange import App, Exchange, Plan
from .listener import Listener
from .listener_info import ConnectionInfo, Drained, ListenerInfo
from .log_context import LogContext, current_request
from .logs import AccessLog, ErrorLog, LogFormatter
from .middleware import CallNext, Middleware
from .observe import (
    ConnectionAccepted,
    ConnectionClosed,
    ConnectionRejected,
    DrainAcknowledged,
    ListenerClosed,
    ListenerDraining,
    Observer,
    RequestAborted,
    RequestEnded,
    RequestRejected,
    RequestStarted,
    RequestThrottled,
    ResponseSendFailed,
)
from .proxy_header import ProxyHeader
from .rate_limit import RateLimit
from .request import Params, Request
from .request_ids import RequestIds
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
from .tls import TLSInfo, server_context
from .trust import ProxyHeaders, ProxyProtocol
from .wire import BodyTimeout, PeerGone

__version__ = "0.1.0"

__all__ = [
    "STOP",
    "AccessLog",
    "AnyResponse",
    "App",
    "BodyTimeout",
    "CallNext",
    "ConnectionAccepted",
    "ConnectionClosed",
    "ConnectionInfo",
    "ConnectionRejected",
    "Disconnected",
    "Drain",
    "DrainAcknowledged",
    "Drained",
    "Draining",
    "ErrorLog",
    "Exchange",
    "FileResponse",
    "HTTPError",
    "Handler",
    "Handoff",
    "Limits",
    "Listener",
    "ListenerClosed",
    "ListenerDraining",
    "ListenerInfo",
    "LogContext",
    "LogFormatter",
    "LoopResponse",
    "Middleware",
    "Observer",
    "Params",
    "PeerGone",
    "Plan",
    "ProtocolError",
    "ProxyHeader",
    "ProxyHeaders",
    "ProxyProtocol",
    "RateLimit",
    "Request",
    "RequestAborted",
    "RequestEnded",
    "RequestIds",
    "RequestRejected",
    "RequestStarted",
    "RequestThrottled",
    "Response",
    "ResponseSendFailed",
    "Send",
    "StreamResponse",
    "TLSInfo",
    "Timeouts",
    "__version__",
    "current_request",
    "run",
    "serve",
    "serve_connection",
    "server_context",
]
