"""An HTTP server for Trio: one connection, one task, absolute deadlines, and a drain that always ends in time.

The names here, those of :mod:`roadrunner_trio.testing` and of the modules in ``roadrunner_trio.apps`` are stable;
deeper imports are not.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .answering.middleware import CallNext, Middleware, early
from .answering.rate_limit import RateLimit
from .answering.respond import Handler
from .errors import HTTPError, ProtocolError, ShutdownError, StartupError
from .messages.exchange import App, Exchange, Plan
from .messages.params import Params
from .messages.request import Request
from .messages.response import (
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
from .protocol.proxy_header import ProxyHeader
from .protocol.trust import ProxyHeaders, ProxyProtocol
from .settings import Limits, Timeouts
from .telemetry.log_context import LogContext, current_request
from .telemetry.log_format import LogFormatter
from .telemetry.logs import AccessLog, ErrorLog
from .telemetry.observe import (
    ConnectionAccepted,
    ConnectionBroken,
    ConnectionEnded,
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
    WebSocketClosed,
    WebSocketMessage,
    WebSocketOpened,
    WebSocketRefused,
)
from .telemetry.request_ids import RequestIds
from .transport.drain import Drain
from .transport.gone import BodyTimeout, PeerGone, PeerTooSlow
from .transport.tls import TLSInfo, server_context

if TYPE_CHECKING:
    from trio_websocket import CloseReason, ConnectionClosed

    from .messages.broadcast import Broadcast, Subscription
    from .messages.event_stream import EventSender, EventStream
    from .messages.form import Form, Part, Parts, UploadedFile
    from .protocol.codec.form_data import FormLimits
    from .protocol.codec.sse import ServerSentEvent
    from .protocol.ws.deflate import Compression
    from .server.listener import Listener
    from .server.listener_info import ConnectionInfo, Drained, ListenerInfo
    from .server.serve import run, serve, serve_connection
    from .telemetry.metrics import Metrics, metrics_handler
    from .telemetry.tracing import Tracing
    from .transport.certificates import Certificates
    from .watching.window import observe
    from .websocket.handler import websocket
    from .websocket.offer import WebSocketRequest
    from .websocket.session import WebSocket

__version__ = "0.1.0"

__all__ = [
    "STOP",
    "AccessLog",
    "AnyResponse",
    "App",
    "BodyTimeout",
    "Broadcast",
    "CallNext",
    "Certificates",
    "CloseReason",
    "Compression",
    "ConnectionAccepted",
    "ConnectionBroken",
    "ConnectionClosed",
    "ConnectionEnded",
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
    "Form",
    "FormLimits",
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
    "Metrics",
    "Middleware",
    "Observer",
    "Params",
    "Part",
    "Parts",
    "PeerGone",
    "PeerTooSlow",
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
    "ShutdownError",
    "StartupError",
    "StreamResponse",
    "Subscription",
    "TLSInfo",
    "Timeouts",
    "Tracing",
    "Upgrade",
    "UploadedFile",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketMessage",
    "WebSocketOpened",
    "WebSocketRefused",
    "WebSocketRequest",
    "__version__",
    "current_request",
    "early",
    "metrics_handler",
    "observe",
    "run",
    "serve",
    "serve_connection",
    "server_context",
    "websocket",
]

_LATER = {
    "Broadcast": "roadrunner_trio.messages.broadcast",
    "Certificates": "roadrunner_trio.transport.certificates",
    "CloseReason": "trio_websocket",
    "Compression": "roadrunner_trio.protocol.ws.deflate",
    "ConnectionClosed": "trio_websocket",
    "ConnectionInfo": "roadrunner_trio.server.listener_info",
    "Drained": "roadrunner_trio.server.listener_info",
    "EventSender": "roadrunner_trio.messages.event_stream",
    "EventStream": "roadrunner_trio.messages.event_stream",
    "Form": "roadrunner_trio.messages.form",
    "FormLimits": "roadrunner_trio.protocol.codec.form_data",
    "Listener": "roadrunner_trio.server.listener",
    "ListenerInfo": "roadrunner_trio.server.listener_info",
    "Metrics": "roadrunner_trio.telemetry.metrics",
    "Part": "roadrunner_trio.messages.form",
    "Parts": "roadrunner_trio.messages.form",
    "ServerSentEvent": "roadrunner_trio.protocol.codec.sse",
    "Subscription": "roadrunner_trio.messages.broadcast",
    "Tracing": "roadrunner_trio.telemetry.tracing",
    "UploadedFile": "roadrunner_trio.messages.form",
    "WebSocket": "roadrunner_trio.websocket.session",
    "WebSocketRequest": "roadrunner_trio.websocket.offer",
    "metrics_handler": "roadrunner_trio.telemetry.metrics",
    "observe": "roadrunner_trio.watching.window",
    "run": "roadrunner_trio.server.serve",
    "serve": "roadrunner_trio.server.serve",
    "serve_connection": "roadrunner_trio.server.serve",
    "websocket": "roadrunner_trio.websocket.handler",
}
"""Names that are looked up when somebody asks for them: a module of handlers needs no server, and a server
not every protocol. What they need is more than half of all that would be imported."""


class _Names(ModuleType):
    """This module, in which a room does not take the name of the function that is called like it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _LATER and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_LATER[name]), name)
        setattr(self, name, found)  # asked for once
        return found

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Names
