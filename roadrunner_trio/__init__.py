"""An HTTP server for Trio: one connection, one task, absolute deadlines, and a drain that always ends in time.

The names here, those of :mod:`roadrunner_trio.testing` and of the modules in ``roadrunner_trio.apps`` are stable;
deeper imports are not.
"""

from .broadcast import Broadcast, Subscription
from .codec.sse import ServerSentEvent
from .drain import Drain
from .errors import HTTPError, ProtocolError
from .event_stream import EventSender, EventStream
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
    ListenerRetiring,
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
    Upgrade,
)
from .serve import run, serve, serve_connection
from .settings import Limits, Timeouts
from .tls import TLSInfo, server_context
from .trust import ProxyHeaders, ProxyProtocol
from .websocket import WebSocketRequest, websocket
from .websocket_session import WebSocket
from .wire import BodyTimeout, PeerGone
from .ws.deflate import Compression

__version__ = "0.1.0"

__all__ = [
    "STOP",
    "AccessLog",
    "AnyResponse",
    "App",
    "BodyTimeout",
    "Broadcast",
    "CallNext",
    "Compression",
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
    "EventSender",
    "EventStream",
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
    "ListenerRetiring",
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
    "ServerSentEvent",
    "StreamResponse",
    "Subscription",
    "TLSInfo",
    "Timeouts",
    "Upgrade",
    "WebSocket",
    "WebSocketRequest",
    "__version__",
    "current_request",
    "run",
    "serve",
    "serve_connection",
    "server_context",
    "websocket",
]
