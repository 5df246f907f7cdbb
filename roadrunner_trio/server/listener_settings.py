"""What a listener can be told, once: :class:`Listener`, ``run``, ``serve_connection``, ``open_server`` take the same.

A new setting is a key of one of the two tables, which is what editors and type checkers know; a line of :func:`served`,
where it is checked and put to use; and a line in the docstring of :class:`Listener`, for people. Nobody repeats it.

All is looked at when a listener is built, before anything listens, and what is wrong is one sentence on what to write.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, TypeVar, cast

from ..answering.admission import gate
from ..answering.context import ServerContext, of_every_response, steps
from ..answering.health import Health, with_health
from ..answering.middleware import Middleware, steps_of
from ..answering.rate_limit import RateLimit
from ..answering.respond import Handler, Routed, as_app, serves_websockets
from ..fields import FieldsLike
from ..messages.exchange import App, BodyMode
from ..protocol.http1 import h11_engine
from ..protocol.http1.encode import sift_as_written, undated
from ..protocol.trust import ProxyHeaders, ProxyProtocol
from ..settings import Limits, Timeouts
from ..telemetry.logs import AccessLog, with_error_log
from ..telemetry.observe import HOOKS, Observer, Observers
from ..telemetry.request_ids import RequestIds
from ..transport.drain import Drain
from .door import H2

if TYPE_CHECKING:
    from ..transport.certificates import Certificates

Kind = TypeVar("Kind")

ELSEWHERE: Final = {
    "host": "bind='127.0.0.1:8000'",
    "port": "bind='127.0.0.1:8000'",
    "certfile": "tls=server_context('cert.pem', 'key.pem')",
    "ssl": "tls=server_context('cert.pem', 'key.pem')",
}
"""What other servers call some of it."""


class ConnectionSettings(TypedDict, total=False):
    """What a connection can be served with, on a listener or alone."""

    name: str
    timeouts: Timeouts | None
    limits: Limits | None
    body: BodyMode
    observers: Sequence[Observer]
    request_ids: RequestIds | None
    middlewares: Sequence[Middleware]
    log_context: bool
    fields: FieldsLike
    date: bool
    preserve_case: bool
    tls: ssl.SSLContext | Certificates | None
    proxy_protocol: ProxyProtocol | None
    proxy_headers: ProxyHeaders | None
    rate_limit: RateLimit | None
    health_path: str | None
    tracebacks: bool
    protocols: Sequence[str]
    live_path: str | None


class ListenerSettings(ConnectionSettings, total=False):
    """What a listener can be told besides the addresses."""

    reuse_port: bool
    evict_idle: bool


PROTOCOLS: Final = (H2, "http/1.1")
"""All that there are, and what is spoken unless something else is said."""

LATER: Final = (
    "answering.file_response",
    "messages.form",
    "protocol.codec.cookies",
    "protocol.codec.disposition",
    "protocol.codec.media",
    "protocol.codec.negotiation",
    "protocol.codec.uri",
    "server.listener_info",
)
"""What is not imported with the package, and may be needed while it serves."""

OF_CONNECTIONS: Final = frozenset(ConnectionSettings.__optional_keys__)
OF_LISTENERS: Final = frozenset(ListenerSettings.__optional_keys__)


class Served(NamedTuple):
    """What connections share, and the one thing in it that its listener turns off."""

    context: ServerContext
    health: Health | None


def served(handler: Handler | App, given: ConnectionSettings, drain: Drain | None = None) -> Served:
    """Settings, checked, and put to use for ``handler``.

    Args:
        drain: what connections join; a new one when None.

    Raises:
        TypeError: a setting is of another type, or the handler is none.
        ValueError: a setting is out of range, or does not go with another.
    """
    name = instance("name", given.get("name", "main"), str, "'main'")
    timeouts = optional("timeouts", given.get("timeouts"), Timeouts, "Timeouts(request=5)") or Timeouts()
    limits = optional("limits", given.get("limits"), Limits, "Limits(max_body='1M')") or Limits()
    tls = context_of(given.get("tls"))
    ids = optional("request_ids", given.get("request_ids"), RequestIds, "RequestIds()")
    proxy_protocol = optional(
        "proxy_protocol", given.get("proxy_protocol"), ProxyProtocol, "ProxyProtocol('10.0.0.0/8')"
    )
    proxy_headers = optional("proxy_headers", given.get("proxy_headers"), ProxyHeaders, "ProxyHeaders('10.0.0.0/8')")
    rate_limit = optional("rate_limit", given.get("rate_limit"), RateLimit, "RateLimit(20)")
    health_path = optional("health_path", given.get("health_path"), str, "'/healthz'")
    live_path = optional("live_path", given.get("live_path"), str, "'/livez'")
    log_context = flag("log_context", given.get("log_context", False))
    told = Observers(with_error_log(_observers(given.get("observers", ()))))
    drain = optional("drain", drain, Drain, "Drain()") or Drain()

    middlewares = given.get("middlewares", ())
    app = as_app(handler, given.get("body", "buffered"), limits, timeouts, middlewares)
    if flag("tracebacks", given.get("tracebacks", False)):
        app = _explaining(app, proxy_protocol)
    health, asked = with_health(app, health_path, live_path)
    fields = of_every_response(given.get("fields", ()))
    on_head = steps(ids, log_context=log_context, proxy_headers=proxy_headers, fields=fields)
    on_head += steps_of(middlewares, getattr(handler, "middlewares", ()) if isinstance(handler, Routed) else ())
    context = ServerContext(health or app, name, timeouts, limits, told, drain, on_head, tls, proxy_protocol)
    _settle_speech(context, given)
    context.websockets = serves_websockets(handler)
    context.gate = gate(rate_limit, limits.max_concurrent_requests, asked)
    return Served(context, health)


def _settle_speech(context: ServerContext, given: ConnectionSettings) -> None:
    """Which versions of HTTP are spoken, and how."""
    if flag("preserve_case", given.get("preserve_case", False)):
        context.sift = sift_as_written
    dated = flag("date", given.get("date", True))
    if not dated:
        context.sift = undated(context.sift)
    context.protocols = protocols(given.get("protocols", PROTOCOLS), context.tls)
    _prepare(context, dated=dated)


def context_of(given: object) -> ssl.SSLContext | None:
    """What handshakes begin with, if there are to be any.

    Raises:
        TypeError: it is neither a context nor certificates.
        ValueError: it is a client's.
    """
    if given is not None and not isinstance(given, ssl.SSLContext):
        from ..transport.certificates import Certificates  # not every server has some

        if isinstance(given, Certificates):
            return given.context
    tls = optional("tls", given, ssl.SSLContext, "server_context('cert.pem', 'key.pem')")
    if tls is not None and tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("tls is the context of a client; write tls=server_context('cert.pem', 'key.pem')")
    return tls


def _explaining(app: App, proxy_protocol: ProxyProtocol | None) -> App:
    from ..answering.explaining import Explaining  # for authors alone

    if proxy_protocol is not None:  # the loopback that a proxy tells of is that of its own machine
        raise ValueError(
            "tracebacks are for who is on this machine, and with proxy_protocol nobody knows who is: "
            "leave one of them out"
        )
    return Explaining(app)


def _prepare(context: ServerContext, *, dated: bool) -> None:
    """Imports what its protocols and its requests may need, while nobody waits and the files are those of this version.

    A process that serves may be out of descriptors one day, or see another version be installed over its own.
    """
    h11_engine.prepare()
    for name in LATER:
        import_module(f"..{name}", __package__)
    if H2 in context.protocols:
        from ..protocol.http2 import blocks
        from .http2.connection import serve_http2  # an eighth of all that would be imported, and not always wanted

        context.sift_http2 = blocks.sift if dated else blocks.sift_undated
        context.http2 = serve_http2


# -- what may be wrong with it -------------------------------------------------------------------


def refuse_unknown(given: Mapping[str, object], known: frozenset[str]) -> None:
    """Looks whether all of it is settings.

    Raises:
        TypeError: something is none; the message says what was meant.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"there is no setting {name!r}{_hint(name, known)}")


def _hint(name: str, names: frozenset[str]) -> str:
    for kind in (Timeouts, Limits):
        if name in {field.name for field in dataclasses.fields(kind)}:
            return f"; it is one of {kind.__name__}: write {kind.__name__.lower()}={kind.__name__}({name}=...)"
    if name in OF_LISTENERS or name == "bind":
        return " of a connection, only of a listener"
    if name in ELSEWHERE:
        return f"; write {ELSEWHERE[name]}"
    import difflib

    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(names))}"


def instance(name: str, value: object, kind: type[Kind], example: str) -> Kind:
    """A setting that is an instance of ``kind``.

    Raises:
        TypeError: it is not; the message says what to write.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, dict) and kind in (Timeouts, Limits):
        values = cast("dict[str, object]", value)
        example = f"{kind.__name__}({', '.join(f'{key}={each!r}' for key, each in values.items())})"
    raise TypeError(f"{name} is of the type {kind.__name__}, and not {value!r}; write {name}={example}")


def optional(name: str, value: object, kind: type[Kind], example: str) -> Kind | None:
    """As :func:`instance`; None is None.

    Raises:
        TypeError: as :func:`instance`.
    """
    return None if value is None else instance(name, value, kind, example)


def flag(name: str, value: object) -> bool:
    """A setting that is on or off.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, bool):
        return value
    raise TypeError(f"{name} is True or False, not {value!r}")


def protocols(given: Any, tls: ssl.SSLContext | None) -> tuple[str, ...]:
    """The versions of HTTP that are spoken, the preferred one first; a TLS context offers them by ALPN.

    Raises:
        ValueError: there is none, or one that is not known.
        TypeError: they are no list of names.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"protocols is a list of names, not {given!r}; write protocols={PROTOCOLS!r}")
    names = tuple(dict.fromkeys(cast("Iterable[str]", given)))
    if not names or not set(names) <= set(PROTOCOLS):
        raise ValueError(f"protocols are some of {', '.join(map(repr, PROTOCOLS))}, not {given!r}")
    if tls is not None:
        tls.set_alpn_protocols(names)
    return names


def with_access_log(given: Any) -> tuple[Observer, ...]:
    """Observers, and an access log before them unless they have one.

    Raises:
        TypeError: they are no list of observers.
    """
    found = _observers(given)
    return found if any(isinstance(each, AccessLog) for each in found) else (AccessLog(), *found)


def _observers(given: Any) -> tuple[Observer, ...]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        example = f"; write observers=[{given!r}]" if _observes(given) else ""
        raise TypeError(f"observers is a list, not {given!r}{example}")
    found = tuple(cast("Sequence[Any]", given))
    for each in found:
        if not _observes(each):
            raise TypeError(f"{each!r} is no observer: it has none of the methods of Observer")
    return found


def _observes(thing: object) -> bool:
    return any(hasattr(thing, hook) for hook in HOOKS)
