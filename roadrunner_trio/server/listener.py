"""A listener: addresses in, one task a connection, and an end that always comes in time.

    Listener.serve()                     clock; cancelled when the connections are gone
     └ nursery "connections"             HARD: its deadline is the drain's
        ├ accept loop, one an address    SOFT: empties the accept queue, closes the socket, ends
        └ one task a connection          SOFT: ended if idle and nothing has arrived; else finishes

The accept loop is ours because Trio's accepts one connection a scheduler pass, drops the accept queue when it is
cancelled, and could not answer 503 at the cap. Ready-made Trio listeners are served by a plain ``accept`` loop.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from contextvars import copy_context
from dataclasses import fields
from typing import Any, Final, Literal, TypeAlias

import trio

from ..answering.admission import gate
from ..answering.context import Counters, ServerContext, steps
from ..answering.health import with_health
from ..answering.middleware import Middleware
from ..answering.rate_limit import RateLimit
from ..answering.respond import Handler, Routed, as_app, lifetime_of
from ..messages.exchange import App, BodyMode
from ..protocol.http1.encode import error_response
from ..protocol.trust import ProxyHeaders, ProxyProtocol
from ..settings import Limits, Timeouts
from ..telemetry.logs import with_error_log
from ..telemetry.observe import (
    ConnectionRejected,
    ListenerClosed,
    ListenerDraining,
    ListenerRetiring,
    Observer,
    Observers,
)
from ..telemetry.request_ids import RequestIds
from ..transport import poller
from ..transport.bind import Bindable, listed, open_listeners
from ..transport.drain import Drain
from ..transport.dump import stack_of
from ..transport.streams import Address, linger, peer_of, shown, tidy, wired
from ..transport.wire import RECEIVE_SIZE, SocketWire
from .connection import Connection, serve_connection
from .eviction import Evictions
from .listener_info import ConnectionInfo, Drained, ListenerInfo

log = logging.getLogger("roadrunner_trio")

ACCEPT_BATCH: Final = 64
BACK_OFF: Final = 0.1
"""Seconds to wait when the process or the machine has no descriptors or buffers left."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
VANISHED: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
)
"""What accept says of a connection that broke while it waited (accept(2)): the next one may be well."""
REJECTED_LINGER: Final = 1.0
REJECTED_AT_ONCE: Final = 64
PATIENCE: Final = 1.0
"""Seconds past a drain's deadline after which what still runs is called stuck."""

BEREFT: Final = 10.0
"""Seconds for the drain of a listener whose application has ended."""

COUNTED: Final = fields(Counters)
Status: TypeAlias = Literal["new", "starting", "accepting", "draining", "closed"]


class Listener:
    """Serves one handler on one or several addresses.

    Args:
        handler: ``async def handler(request)``, or an :class:`~roadrunner_trio.App`.
        bind: ``"host:port"`` (``"[::1]:0"``, ``":8000"`` for all addresses), ``"unix:/run/app.sock?mode=660"``,
            ``"fd://3"``, a bound socket, a ``trio.abc.Listener``, or a sequence of these.
        name: for logs, events and task names.
        timeouts: seconds allowed to each phase.
        limits: what peers may take.
        tls: a server's context, such as :func:`server_context` makes; connections are encrypted.
        reuse_port: TCP ports may be shared with other processes that say so too (SO_REUSEPORT).
        proxy_protocol: peers whose connections begin with a PROXY header, before TLS.
        proxy_headers: proxies that say in a request's fields whom it came from.
        rate_limit: how often one peer may ask.
        body: ``"buffered"`` reads the whole body before the handler runs, ``"streaming"`` leaves it to the handler.
        observers: who is told what happens; an :class:`ErrorLog` is added if there is none.
        request_ids: takes the ids of requests from trusted peers, and tells peers theirs.
        log_context: sets :data:`current_request` for every request, so that what a handler logs can say which it is.
        middlewares: around the handler, or all that a router answers, the first outermost.
        health_path: a path, such as ``"/healthz"``, on which the server itself tells balancers 200, and 503 once its
            end is near; whatever limits there are on requests.
        evict_idle: when there are as many connections as may be, the one that has been idle for longest (and for a
            second at least) makes room, instead of the newcomer being turned away.

    Raises:
        ValueError: a malformed address or path, or no body limit with buffered bodies.
        TypeError: the handler or a middleware cannot be called, or an app that is no router is given middlewares.
    """

    status: Status = "new"
    task: trio.lowlevel.Task | None = None
    _connections: trio.Nursery | None = None
    _rejected_now = 0
    _present = 0
    _retiring = False

    def __init__(
        self,
        handler: Handler | App,
        *,
        bind: Bindable | Sequence[Bindable] = "127.0.0.1:8000",
        name: str = "main",
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        body: BodyMode = "buffered",
        observers: Sequence[Observer] = (),
        request_ids: RequestIds | None = None,
        middlewares: Sequence[Middleware] = (),
        log_context: bool = False,
        tls: ssl.SSLContext | None = None,
        reuse_port: bool = False,
        proxy_protocol: ProxyProtocol | None = None,
        proxy_headers: ProxyHeaders | None = None,
        rate_limit: RateLimit | None = None,
        health_path: str | None = None,
        evict_idle: bool = False,
    ) -> None:
        timeouts, limits = timeouts or Timeouts(), limits or Limits()
        app = as_app(handler, body, limits, timeouts, middlewares)
        self._health, asked = with_health(app, health_path)
        self._handler = handler
        self.name = name
        self.bind = listed(bind)
        self.tls = tls
        self._reuse_port = reuse_port
        told = Observers(with_error_log(observers))
        app = self._health or app
        self._context = ServerContext(app, name, timeouts, limits, told, tls=tls, proxy_protocol=proxy_protocol)
        self._context.on_head = steps(request_ids, log_context=log_context, proxy_headers=proxy_headers)
        self._context.gate = gate(rate_limit, limits.max_concurrent_requests, asked)
        self._evictions = Evictions(self._members) if evict_idle else None
        self._told: list[Drain] = []
        self._listeners: list[socket.socket | trio.abc.Listener[trio.abc.Stream]] = []
        self._accept_scopes: list[trio.CancelScope] = []
        self._addresses: list[Address] = []
        self._closed, self._start = trio.Event(), trio.CancelScope()

    # -- what it tells ---------------------------------------------------------------------------

    @property
    def addresses(self) -> list[Address]:
        """Where it listens, once it does: host and port, with the real port for port 0."""
        return list(self._addresses)

    @property
    def port(self) -> int:
        """The port of its first TCP address.

        Raises:
            RuntimeError: it does not listen on TCP, or not yet.
        """
        for address in self._addresses:
            if isinstance(address, tuple):
                return address[1]
        raise RuntimeError(f"listener {self.name!r} has no TCP port")

    def info(self) -> ListenerInfo:
        """Its numbers, now; also while it drains."""
        cap, counters = self._context.limits.max_connections, self._context.counters
        return ListenerInfo(self._active, cap, **{each.name: getattr(counters, each.name) for each in COUNTED})

    def connections(self) -> list[ConnectionInfo]:
        """Its connections, oldest first."""
        now = trio.current_time()
        return [
            ConnectionInfo(
                conn.peer,
                conn.phase.phase.value,
                now - conn.born,
                conn.phase.deadline - now,
                conn.served,
                conn.task,
            )
            for conn in sorted(self._members(), key=lambda conn: conn.born)
        ]

    @property
    def _active(self) -> int:
        return len(self._context.drain.members) + sum(len(drain.members) for drain in self._told)

    def _members(self) -> list[Connection]:
        drains = [self._context.drain, *self._told]
        return [member for drain in drains for member in drain.members if isinstance(member, Connection)]

    def reload_routes(self, routes: Sequence[Any]) -> None:
        """Replaces all routes of its router from the next request on; see :meth:`Router.reload`.

        Raises:
            ValueError, TypeError: the routes are not possible, and those there were stay in force (N51).
            RuntimeError: it serves a handler, and has no routes.
        """
        if not isinstance(self._handler, Routed):
            raise RuntimeError(f"listener {self.name!r} serves {self._handler!r}, which is no router and has no routes")
        self._handler.reload(routes)

    # -- its life --------------------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED) -> None:
        """Listens and serves until it has drained, or is cancelled. Use ``await nursery.start(listener.serve)``.

        Raises:
            OSError: an address cannot be bound.
            StartupError, ShutdownError: what the application needs could not be started, or ended.
            RuntimeError: it has served already.
        """
        if self.status != "new":
            raise RuntimeError(f"listener {self.name!r} has served already; make a new one")
        self._listeners = await open_listeners(self.bind, self._context.limits.backlog, reuse_port=self._reuse_port)
        self.task = trio.lowlevel.current_task()
        self._context.variables = copy_context()
        self.status = "starting"
        try:
            async with AsyncExitStack() as life:
                with self._start:
                    await life.enter_async_context(lifetime_of(self._handler, self._drain_bereft))
                if self._start.cancelled_caught or self._context.drain.draining:
                    task_status.started(self)  # it was to end before it had begun
                else:
                    await self._serve(task_status)
        finally:
            await self._end()

    async def _serve(self, task_status: trio.TaskStatus[Listener]) -> None:
        self.status = "accepting"
        try:
            async with trio.open_nursery() as helpers:
                helpers.start_soon(self._context.clock.run, name=f"{self.name}: clock")
                if poller.AVAILABLE:
                    self._context.poller = poller.Poller()
                    helpers.start_soon(self._context.poller.run, name=f"{self.name}: poller")
                async with trio.open_nursery() as self._connections:
                    self._start_accepting(self._connections)
                    task_status.started(self)
                helpers.cancel_scope.cancel(reason="the listener has no connections left")
        finally:
            if self._context.poller is not None:
                self._context.poller.close()
            await self._end()

    async def _end(self) -> None:
        """Once there are no connections any more."""
        if self.status == "closed":
            return
        self.status = "closed"
        self._closed.set()
        told = self._context.observers
        told.tell(told.listener_close, ListenerClosed(self.name, time.time()))
        for listener in self._listeners:
            await _close(listener)

    def forgo_start(self) -> None:
        """Ends the start-up of its application, if that is what it does: it will never accept."""
        self._start.cancel(reason="the listener drains before it has begun")

    def _drain_bereft(self) -> None:
        """What the application keeps running has ended: there is no use in going on without it."""
        self._start_drain(trio.current_time() + BEREFT)

    def _start_accepting(self, nursery: trio.Nursery) -> None:
        for listener in self._listeners:
            scope = trio.CancelScope()
            self._accept_scopes.append(scope)
            if isinstance(listener, socket.socket):
                address = tidy(listener.getsockname())
                nursery.start_soon(self._accept, listener, scope, name=f"{self.name}: accept on {shown(address)}")
                self._addresses.append(address)
            else:
                name = f"{self.name}: accept on {type(listener).__name__}"
                nursery.start_soon(self._accept_foreign, listener, scope, name=name)

    def retire(self) -> None:
        """Announces the end, and changes nothing else: ``health_path`` answers 503, everybody is served as before.

        To be called some seconds before :meth:`drain`, so that balancers stop sending before anything is refused.
        """
        if self.status == "accepting" and not self._retiring:
            self._retiring = True
            if self._health is not None:
                self._health.leaving = True
            told = self._context.observers
            told.tell(told.listener_retire, ListenerRetiring(self.name, time.time()))

    async def drain(self, grace: float = 10.0) -> Drained:
        """Ends politely, within ``grace`` seconds, and says how that went.

        Everybody waiting in the accept queue is served, idle connections are closed at once, busy ones finish with
        ``connection: close``, handlers are told by ``request.drain``, and the deadline cuts what is left. Returns at
        the latest a second after the deadline; ``serve`` returns when the last connection is really gone.
        """
        if self.status == "new":
            self.status = "closed"
            self._closed.set()
        elif self.status != "closed":
            self._start_drain(trio.current_time() + grace)
        with trio.move_on_at(self._context.drain.cut + PATIENCE):
            await self._closed.wait()
        stuck = self._members()
        for conn in stuck:
            where = stack_of(conn.task) if conn.task else "it has no task yet"
            log.error("the connection of %s is stuck, past the drain's deadline:\n%s", shown(conn.peer), where)
        cut = self._context.counters.cut
        return Drained(self._present - cut - len(stuck), cut, len(stuck))

    def _start_drain(self, deadline: float) -> None:
        """Synchronous: sockets emptied and closed, everybody told, the hard deadline set. Again: only sooner."""
        self.forgo_start()
        if self.status == "accepting":
            self.status = "draining"
            for listener in self._listeners:
                if isinstance(listener, socket.socket):
                    self._accept_batch(listener, self._context.limits.backlog + 1)
            self._stop_accepting()
            self._present = self._active
            told = self._context.observers
            told.tell(told.listener_drain, ListenerDraining(self.name, deadline, time.time()))
        for drain in (*self._told, self._context.drain):
            drain.start(deadline)
        if self._connections is not None:
            self._connections.cancel_scope.deadline = self._context.drain.cut

    def _stop_accepting(self) -> None:
        for scope in self._accept_scopes:
            scope.cancel(reason="the listener drains")
        for listener in self._listeners:
            if isinstance(listener, socket.socket):
                trio.lowlevel.notify_closing(listener)
                listener.close()

    def notify(self, grace: float = 10.0) -> None:
        """Tells everybody present what a drain would tell them, and goes on listening: newcomers are not told.

        Idle connections close, handlers see ``request.drain``; nothing is cut at the deadline. Does nothing unless it
        accepts: a drain has told everybody already.
        """
        if self.status != "accepting":
            return
        told = self._context.drain
        self._told = [drain for drain in self._told if drain.members] + [told]
        self._context.drain = Drain()
        told.start(trio.current_time() + grace, notice=True)

    # -- accepting -------------------------------------------------------------------------------

    async def _accept(self, sock: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await trio.lowlevel.wait_readable(sock)
                if not self._accept_batch(sock, ACCEPT_BATCH):
                    await trio.sleep(BACK_OFF)

    def _accept_batch(self, sock: socket.socket, most: int) -> bool:
        """Accepts up to ``most`` that wait; False when accepting fails for a reason that needs time to pass."""
        for _ in range(most):
            try:
                accepted, address = sock.accept()
            except BlockingIOError:
                return True
            except OSError as exc:
                if exc.errno in VANISHED:
                    continue
                log.error("listener %r cannot accept: %s", self.name, exc)
                return False
            self._admit(accepted, tidy(address))
        return True

    def _admit(self, sock: socket.socket, peer: Address) -> None:
        if self._full() and not self._make_room():
            self._turn_away(sock)
            return
        try:
            wire = SocketWire(sock, self._context.poller)
        except OSError:  # reset between accept and here
            sock.close()
            return
        self._spawn(wire, peer)

    def _spawn(self, stream: trio.abc.Stream, peer: Address) -> None:
        """Slot, drain membership and task, in one synchronous step: a drain can miss nobody."""
        if self._connections is None:
            raise RuntimeError("the listener does not serve")
        self._context.counters.accepted += 1
        if self.status == "draining":
            self._present += 1  # accepted in the very tick the drain began
        conn = Connection(stream, self._context, peer)
        self._connections.start_soon(serve_connection, conn, name=f"{self.name}: {shown(peer)}")

    async def _accept_foreign(self, listener: trio.abc.Listener[trio.abc.Stream], scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as exc:
                    if exc.errno not in EXHAUSTED:
                        raise
                    log.error("listener %r cannot accept: %s", self.name, exc)
                    await trio.sleep(BACK_OFF)
                    continue
                if self._full() and not self._make_room():
                    self._count_rejected()
                    await trio.aclose_forcefully(stream)
                else:
                    self._spawn(wired(stream), peer_of(stream))
        await _close(listener)  # drained: whoever still comes is refused at the door

    # -- the cap ---------------------------------------------------------------------------------

    def _full(self) -> bool:
        return self._active >= self._context.limits.max_connections

    def _make_room(self) -> bool:
        if self._evictions is None or not self._evictions.make_room():
            return False
        self._context.counters.evicted += 1
        return True

    def _count_rejected(self) -> None:
        self._context.counters.rejected += 1
        observers = self._context.observers
        if observers.listener_conn_rejected:
            event = ConnectionRejected(self.name, "max_connections", time.time())
            observers.tell(observers.listener_conn_rejected, event)

    def _turn_away(self, sock: socket.socket) -> None:
        """503 by one send after one read, neither waiting; a few are read from a little longer (N70)."""
        self._count_rejected()
        wire = SocketWire(sock)
        if self._context.tls is not None:  # an answer in clear would be noise, and a handshake more work, not less
            wire.close()
            return
        with suppress(OSError):
            sock.recv(RECEIVE_SIZE)  # what has come already would turn the close into a reset
        try:
            sock.send(error_response(503, [(b"retry-after", b"1")]))
        except OSError:
            wire.close()
            return
        if self._connections is not None and self._rejected_now < REJECTED_AT_ONCE:
            self._rejected_now += 1
            self._connections.start_soon(self._see_off, wire, name=f"{self.name}: turned away")
        else:
            wire.close()

    async def _see_off(self, wire: SocketWire) -> None:
        try:
            await linger(wire, REJECTED_LINGER, RECEIVE_SIZE)
        finally:
            self._rejected_now -= 1
            wire.close()


async def _close(listener: socket.socket | trio.abc.Listener[trio.abc.Stream]) -> None:
    if isinstance(listener, socket.socket):
        listener.close()
    else:
        with trio.move_on_after(PATIENCE, shield=True):
            await listener.aclose()
