"""Metrics: an observer that counts, and a handler that tells Prometheus.

What it costs a request is a look-up and four additions. Everything else is found out when somebody asks: how many
connections there are and what they are at is known to the listeners, and the memory of the process to the kernel.

No label has a value that a peer can choose: a route is the template that the application was built with, never a path;
a method is one of the known ones; a status is its class. And of each there are so many and no more.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias, cast

import trio

from ..messages.request import Request
from ..messages.response import Response
from ..protocol.heads import Framing
from ..transport.certificates import Certificates
from .exposition import exposed
from .observe import (
    ConnectionRejected,
    ListenerDraining,
    Measurable,
    Meter,
    RequestAborted,
    RequestEnded,
    RequestRejected,
    RequestThrottled,
    WebSocketClosed,
    WebSocketOpened,
    WebSocketRefused,
)
from .snapshot import BOUNDS, CELLS, MOST_SERIES, MOST_TALLIES, OTHER, PLACE, Key, Snapshot, earliest, short

METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
MOST_ROUTES: Final = 64
MOST_ROUTE: Final = 96
"""Octets of a route in a label."""
REMEMBERED: Final = 2048
"""Combinations of method, endpoint and status whose row is known at once; then all are forgotten."""
AT_ONCE: Final = frozenset({"buffered", "none"})
"""Kinds of responses whose first octet goes out with their last."""
HANDED_OFF: Final = "handoff"
"""Its octets are not ours. Of all others the head may be long before the end."""
NO_BODY: Final = Framing.NONE
CLASSES: Final = {number: f"{number}xx" for number in range(1, 6)}
NONE: Final = "none"
"""The class of what the peer was answered nothing."""
LEAST: Final = BOUNDS[0]
MICRO: Final = 1_000_000
OWN_CODES: Final = 3000
"""Codes of a close from which on they have no meaning of RFC 6455."""
COUNTERS: Final = {
    "accepted": "roadrunner_connections_accepted_total",
    "evicted": "roadrunner_connections_evicted_total",
    "cut": "roadrunner_connections_cut_total",
    "accepts_failed": "roadrunner_accepts_failed_total",
    "handshakes_failed": "roadrunner_handshakes_failed_total",
    "requests": "roadrunner_requests_total",
    "send_failed": "roadrunner_sends_failed_total",
    "streams_refused": "roadrunner_streams_refused_total",
    "streams_reset": "roadrunner_streams_reset_total",
    "acknowledged": "roadrunner_drains_acknowledged_total",
    "max_connections": "roadrunner_connections_max",
    "buffered": "roadrunner_buffered_bytes",
}
"""What a listener counts itself, by the attribute of its ``info()``."""


class Measured(Protocol):
    """A listener, as it is asked.

    Attributes:
        certificates: those that it renews, if any.
    """

    certificates: Certificates | None

    @property
    def in_hand(self) -> int:
        """How many requests are being answered."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether it drains, or is about to."""
        ...

    def info(self) -> Any:
        """Its numbers."""
        ...

    def phases(self) -> Mapping[str, int]:
        """How many connections are in which phase."""
        ...


class Row:
    """What was counted of requests that are alike.

    Attributes:
        quick: how many took less than the first bound, which are most;
        slower: and how many came in under each of the bounds, the first included.
        seconds: of all.
        received: octets of their content,
        sent: and of that of their responses.
    """

    __slots__ = ("quick", "received", "seconds", "sent", "slower")

    def __init__(self) -> None:
        self.quick = self.received = self.sent = 0
        self.seconds = 0.0
        self.slower = [0] * (len(BOUNDS) + 1)

    def durations(self) -> list[float]:
        """How many came in under each of the bounds, and the seconds of all."""
        return [self.quick + self.slower[0], *self.slower[1:], self.seconds]


class Streamed(Row):
    """The same of responses that take a while.

    Attributes:
        firsts: how long their first octet took, as durations; the seconds of all last.
    """

    __slots__ = ("firsts",)

    def __init__(self) -> None:
        super().__init__()
        self.firsts: list[float] = [0] * CELLS


Rows: TypeAlias = dict[Any, dict[bytes, dict[int, Row]]]
"""By endpoint, method and status: three short keys are found sooner than one of three parts is made."""


class Metrics(Meter):
    """Counts what the listeners that have it among their ``observers`` do; ``handler`` tells Prometheus.

    One may serve several listeners, and they are added up. See :doc:`/howto/metrics` for what there is.
    """

    def __init__(self) -> None:
        self._rows: Rows = {}
        self._streamed: Rows = {}
        self._remembered = 0
        self._series: dict[Key, tuple[Row, Streamed]] = {}
        self._routes: set[str] = set()
        self._tallies: dict[tuple[str, str], int] = {}
        self._listeners: list[Measured] = []
        self._drains = 0
        self._websockets = 0
        self._opened = 0
        self.messages = self._messages = [0, 0]
        self._began = int(time.time())

    def __repr__(self) -> str:
        return f"<Metrics of {len(self._listeners)} listeners>"

    # -- what is counted -------------------------------------------------------------------------

    def attach(self, listener: Measured) -> None:
        """By a listener that has it among its observers."""
        self._listeners.append(listener)

    def measure(self, exchange: Measurable, request: Request, duration: float) -> None:
        """A request that the application has answered, or not."""
        head = request.head
        rows = self._rows if exchange.kind in AT_ONCE else self._streamed
        try:
            row = rows[request.endpoint][head.method][exchange.status]
        except Exception:  # a combination that is new, or an endpoint that can be no key
            row = self._place(request, exchange.status, rows)
        if duration < LEAST:
            row.quick += 1
        else:
            row.slower[bisect_left(BOUNDS, duration)] += 1
        row.seconds += duration
        row.sent += exchange.sent
        if head.framing is not NO_BODY:
            row.received += exchange.received
        if rows is self._streamed and exchange.status and exchange.kind != HANDED_OFF:
            first = max(0.0, duration + exchange.headed - exchange.phase.now())
            firsts = cast(Streamed, row).firsts
            firsts[bisect_left(BOUNDS, first)] += 1
            firsts[-1] += first

    def _place(self, request: Request, status: int, rows: Rows) -> Row:
        method = request.method
        known = method in METHODS
        row = self._row(method if known else OTHER, self._route(request.endpoint), CLASSES.get(status // 100, NONE))
        found = row[rows is self._streamed]
        if known:  # whoever makes up methods is not to fill the memory
            if self._remembered >= REMEMBERED:
                self._remembered = 0
                self._rows.clear()
                self._streamed.clear()
            with suppress(Exception):  # an endpoint that can be none
                rows.setdefault(request.endpoint, {}).setdefault(request.head.method, {})[status] = found
                self._remembered += 1
        return found

    def _row(self, method: str, route: str, status: str) -> tuple[Row, Streamed]:
        key = method, route, status
        if key not in self._series:
            if len(self._series) >= MOST_SERIES - len(CLASSES) - 1:
                key = OTHER, OTHER, status
            self._series.setdefault(key, (Row(), Streamed()))
        return self._series[key]

    def _route(self, endpoint: Any) -> str:
        """The template, if there is one and it is not one too many."""
        pattern: Any = None
        with suppress(Exception):
            pattern = endpoint.pattern
        if not isinstance(pattern, str) or not pattern:
            return ""
        route = short(pattern.replace("\0", ""), MOST_ROUTE)
        if route not in self._routes:
            if len(self._routes) >= MOST_ROUTES:
                return OTHER
            self._routes.add(route)
        return route

    def listener_conn_rejected(self, event: ConnectionRejected) -> None:
        """A connection that was turned away."""
        self._count("roadrunner_connections_rejected_total", event.reason)

    def listener_drain(self, event: ListenerDraining) -> None:
        """A drain."""
        self._drains += 1

    def request_exception(self, event: RequestEnded) -> None:
        """A request that nobody ended well."""
        self._count("roadrunner_requests_failed_total", event.outcome)

    def request_rejected(self, event: RequestRejected) -> None:
        """A request that broke the protocol or a limit."""
        self._count("roadrunner_requests_refused_total", event.reason)

    def request_aborted(self, event: RequestAborted) -> None:
        """A request that broke off."""
        self._count("roadrunner_requests_aborted_total", event.reason)

    def request_throttled(self, event: RequestThrottled) -> None:
        """A request that was turned away."""
        self._count("roadrunner_requests_throttled_total", event.reason)

    def websocket_open(self, event: WebSocketOpened) -> None:
        """A WebSocket that was accepted."""
        self._websockets += 1
        self._opened += 1

    def websocket_close(self, event: WebSocketClosed) -> None:
        """One that is over. Codes from 3000 on are the application's or the peer's, and of those there are many."""
        self._websockets -= 1
        code = str(event.code) if event.code < OWN_CODES else f"{event.code // 1000}xxx"
        self._count("roadrunner_websockets_closed_total", code)

    def websocket_refused(self, event: WebSocketRefused) -> None:
        """One that was not accepted."""
        self._count("roadrunner_websockets_refused_total", event.reason)

    def _count(self, family: str, word: str) -> None:
        word = short(word.replace("\0", ""), MOST_ROUTE // 2)
        if (family, word) not in self._tallies and len(self._tallies) >= MOST_TALLIES // 2:
            word = OTHER
        self._tallies[family, word] = self._tallies.get((family, word), 0) + 1

    # -- what is told ----------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All numbers, now."""
        numbers = Snapshot().numbers
        for listener in self._listeners:
            _add_listener(numbers, listener)
        numbers[PLACE["roadrunner_drains_total",]] = self._drains
        numbers[PLACE["roadrunner_websockets",]] = self._websockets
        numbers[PLACE["roadrunner_websockets_opened_total",]] = self._opened
        for direction, count in zip(("in", "out"), self._messages, strict=True):
            numbers[PLACE["roadrunner_websocket_messages_total", direction]] = count
        for certificates in {each.certificates for each in self._listeners if each.certificates}:
            _add_certificates(numbers, certificates)
        _add_process(numbers, self._began)
        series = {key: _packed(key, *rows) for key, rows in self._series.items()}
        return Snapshot(numbers, dict(self._tallies), series)

    def write_to(self, area: memoryview | bytearray) -> None:
        """Writes them where another process can read them; see :mod:`.snapshot`."""
        self.snapshot().pack_into(area)

    async def handler(self, request: Request) -> Response:
        """Answers a scraper, for a route of your own: ``Route("GET", "/metrics", metrics.handler)``."""
        await trio.lowlevel.checkpoint()
        return _answer(self.snapshot(), request)


def metrics_handler(source: Callable[[], Snapshot]) -> Callable[[Request], Awaitable[Response]]:
    """A handler for a listener of its own, which answers GET of ``/metrics`` with what ``source`` gives."""

    async def metrics(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if request.path not in ("/", "/metrics"):
            return Response.text("The metrics are at /metrics.\n", status=404)
        if request.method not in ("GET", "HEAD"):
            return Response.text("GET is all there is to do here.\n", status=405, fields={"allow": "GET, HEAD"})
        return _answer(source(), request)

    return metrics


def _answer(snapshot: Snapshot, request: Request) -> Response:
    kind, text = exposed(snapshot, ",".join(request.headers("accept")))
    return Response(text, fields=((b"content-type", kind), (b"cache-control", b"no-store")))


def _packed(key: Key, at_once: Row, streamed: Streamed) -> list[int]:
    """A row as it is told: a response in one write has its first octet with its last."""
    duration = _sums(at_once.durations(), streamed.durations())
    first = list(streamed.firsts) if key[2] == NONE else _sums(at_once.durations(), streamed.firsts)
    for cells in (duration, first):
        cells[-1] *= MICRO
    octets = at_once.received + streamed.received, at_once.sent + streamed.sent
    return [round(each) for each in (*duration, *first, *octets)]


def _sums(some: Iterable[float], others: Iterable[float]) -> list[float]:
    return [one + other for one, other in zip(some, others, strict=True)]


def _add_listener(numbers: list[int], listener: Measured) -> None:
    info = listener.info()
    for attribute, name in COUNTERS.items():
        numbers[PLACE[name,]] += getattr(info, attribute)
    for phase, count in listener.phases().items():
        numbers[PLACE["roadrunner_connections", phase]] += count
    numbers[PLACE["http_server_active_requests",]] += listener.in_hand
    numbers[PLACE["roadrunner_draining",]] |= listener.leaving


def _add_certificates(numbers: list[int], certificates: Certificates) -> None:
    first = PLACE["roadrunner_tls_not_after_seconds",]
    numbers[first] = earliest(numbers[first], int(certificates.not_after))
    numbers[PLACE["roadrunner_tls_reloads_total", "renewed"]] += certificates.renewed
    numbers[PLACE["roadrunner_tls_reloads_total", "failed"]] += certificates.failed


def _add_process(numbers: list[int], began: int) -> None:
    """Of the process as a whole; what only Linux tells is 0 elsewhere."""
    numbers[PLACE["process_cpu_seconds_total",]] = round(time.process_time() * MICRO)
    numbers[PLACE["process_start_time_seconds",]] = began
    numbers[PLACE["roadrunner_processes",]] = 1
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm", "rb") as file:
            numbers[PLACE["process_resident_memory_bytes",]] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        numbers[PLACE["process_open_fds",]] = len(os.listdir("/proc/self/fd")) - 1  # that of the folder itself
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        numbers[PLACE["process_max_fds",]] = 0 if most == resource.RLIM_INFINITY else most
