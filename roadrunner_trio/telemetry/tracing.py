"""A span of OpenTelemetry for every request: an observer, as others are.

The span is the current one while the application is called, and what the application begins in its tasks and threads
is below it, for they inherit the context. It goes on where the peer's trace was, if that says so (W3C Trace Context),
or whatever other notation the propagators of the process understand. Names and attributes are those of the stable
semantic conventions for HTTP servers.

Nothing of OpenTelemetry is imported before somebody makes a :class:`Tracing`. Which spans are kept, and where they go,
is the affair of the process's tracer provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..messages.request import Probe, Request
from .observe import DrainAcknowledged, Observer, RequestEnded, RequestStarted

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

EXTRA: Final = "tracing needs OpenTelemetry: pip install 'roadrunner-trio[otel]'"
METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
SCHEMA: Final = "https://opentelemetry.io/schemas/1.36.0"
PEERS: Final = frozenset({"gone", "rejected"})
"""Ends that are the peer's own doing, and no error of a server."""
ONCE: Final = "traceparent"
"""A field that may come once: what is said in two ways is said by nobody."""


class Tracing(Observer):
    """Begins a span for every request that the application is called for, and ends it with the response.

    Args:
        provider: makes the tracer; the process's own, if it is left out.
        probes: also for what is asked on ``health_path``.

    Raises:
        ImportError: OpenTelemetry is not there.
    """

    def __init__(self, provider: TracerProvider | None = None, *, probes: bool = False) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ImportError as exc:
            raise ImportError(EXTRA) from exc
        self._probes = probes
        self._tracer = trace.get_tracer("roadrunner_trio", tracer_provider=provider, schema_url=SCHEMA)
        self._kind = trace.SpanKind.SERVER
        self._error = trace.StatusCode.ERROR
        self._inside = trace.set_span_in_context
        self._attach = context.attach
        self._extract = propagate.extract
        self._getter = _getter()
        self._spans: dict[Request, Span] = {}

    def __repr__(self) -> str:
        return "Tracing()"

    def request_start(self, event: RequestStarted) -> None:
        """Begins a span, which is the current one of the request's task from now on."""
        request = event.request
        if request.endpoint.__class__ is Probe and not self._probes:
            return
        parent = self._extract(request, getter=self._getter)
        span = self._tracer.start_span(
            _name(request),
            parent,
            kind=self._kind,
            attributes=_attributes(request),
            start_time=int(event.system_time * 1e9),
        )
        self._spans[request] = span
        self._attach(self._inside(span, parent))  # never detached: the next request has a context of its own

    def request_stop(self, event: RequestEnded) -> None:
        """Ends it."""
        self._end(event)

    def request_exception(self, event: RequestEnded) -> None:
        """Ends it, too."""
        self._end(event)

    def drain_acknowledged(self, event: DrainAcknowledged) -> None:
        """Notes that the handler knows of the drain."""
        if (span := self._spans.get(event.request)) is not None:
            span.add_event("drain acknowledged")

    def _end(self, event: RequestEnded) -> None:
        if (span := self._spans.pop(event.request, None)) is None:
            return
        try:
            if event.status:
                span.set_attribute("http.response.status_code", event.status)
            span.set_attribute("http.response.body.size", event.sent)
            span.set_attribute("http.request.body.size", event.received)
            if route := _route(event.request):
                span.set_attribute("http.route", route)
            if event.outcome == "error" and event.error is not None:
                span.record_exception(event.error)
            if kind := _error_type(event):
                span.set_attribute("error.type", kind)
                if event.outcome not in PEERS and event.status != 408:
                    span.set_status(self._error)
        finally:
            span.end()


def _error_type(event: RequestEnded) -> str:
    if event.outcome == "error" and event.error is not None:
        kind = type(event.error)
        return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if event.outcome != "complete":
        return event.outcome
    return str(event.status) if event.status and event.status >= 500 else ""


def _name(request: Request) -> str:
    method = request.method if request.method in METHODS else "HTTP"
    route = _route(request)
    return f"{method} {route}" if route else method


def _route(request: Request) -> str:
    pattern: Any = getattr(request.endpoint, "pattern", "")
    return pattern if isinstance(pattern, str) else ""


def _attributes(request: Request) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "http.request.method": request.method if request.method in METHODS else "_OTHER",
        "url.path": request.path,
        "url.scheme": request.scheme,
        "network.protocol.version": ".".join(map(str, request.version)),
    }
    if request.method not in METHODS:
        found["http.request.method_original"] = request.method
    if query := request.query_string:
        found["url.query"] = query
    if agent := request.header("user-agent"):
        found["user_agent.original"] = agent
    if isinstance(request.peer, tuple):
        found["client.address"] = request.peer[0]
        if request.peer[1]:
            found["client.port"] = request.peer[1]
    if route := _route(request):
        found["http.route"] = route
    return found | _server(request.host)


def _server(host: str) -> dict[str, str | int]:
    """The name that the peer has asked for, and the port if there is one."""
    if not host:
        return {}
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and len(port) < 6:
        return {"server.address": name.strip("[]"), "server.port": int(port)}
    return {"server.address": host.strip("[]")}


def _getter() -> Any:
    """How OpenTelemetry reads the fields of a request."""
    from opentelemetry.propagators.textmap import Getter

    class Fields(Getter[Request]):
        def get(self, carrier: Request, key: str) -> list[str] | None:
            found = carrier.headers(key.lower())
            return found if found and (key.lower() != ONCE or len(found) == 1) else None

        def keys(self, carrier: Request) -> list[str]:
            return [name.decode("latin-1") for name, _ in carrier.fields]

    return Fields()
