"""A listener: addresses in, one task a connection, and an end that always comes in time.

    Listener.serve()                     clock; cancelled when the connections are gone
     └ nursery "connections"             HARD: its deadline is the drain's
        ├ accept loop, one an address    SOFT: empties the accept queue, closes the socket, ends
        └ one task a connection          SOFT: ended if idle and nothing has arrived; else finishes

The accept loop is in :mod:`.accepting`. Ready-made Trio listeners are served by a plain ``accept`` loop.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, Unpack

import trio

from ..answering.context import Counters
from ..answering.respond import Handler, Routed, lifetime_of, serves_websockets
from ..journal import log
from ..messages.exchange import App
from ..telemetry.observe import ListenerClosed, ListenerDraining, ListenerRetiring, Observers
from ..transport import poller
from ..transport.bind import Bindable, close_listener, listed, open_listeners
from ..transport.drain import Drain
from ..transport.dump import stack_of
from ..transport.streams import Address, peer_of, shown, tidy, wired
from ..transport.wire import SocketWire
from ..units import Duration, seconds
from .accepting import BACK_OFF, EXHAUSTED, AcceptLoop, Host, Neighbours
from .afterwards import Afterwards, succeed
from .connection import Connection, serve_connection
from .dormitory import GUESTS, Dormitory, Guest
from .listener_settings import OF_LISTENERS, ListenerSettings, flag, refuse_unknown, served
from .places import Roll, share_out
from .rejections import Rejections, stop_if_stray
from .spares import Spares

if TYPE_CHECKING:
    from .listener_info import ConnectionInfo, Drained, ListenerInfo

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
            ``"unix:@name"``, ``"fd://3"``, a bound socket, a ``trio.abc.Listener``, or a sequence of these.
        name: for logs, events and task names; ``"main"`` if it is left out.
        timeouts: seconds allowed to each phase.
        limits: what peers may take.
        tls: a server's context, such as :func:`server_context` makes, or :class:`Certificates`, which are renewed when
            their files change; connections are encrypted.
        reuse_port: TCP ports may be shared with other processes that say so too (SO_REUSEPORT).
        proxy_protocol: peers whose connections begin with a PROXY header, before TLS.
        proxy_headers: proxies that say in a request's fields whom it came from.
        rate_limit: how often one peer may ask.
        body: ``"buffered"``, as it is if it is left out, reads the whole body before the handler runs, ``"streaming"``
            leaves it to the handler.
        observers: who is told what happens; an :class:`ErrorLog` is added if there is none.
        request_ids: takes the ids of requests from trusted peers, and tells peers theirs.
        log_context: sets :data:`current_request` for every request, so that what a handler logs can say which it is.
        fields: what every response has besides, unless the application has set it; a mapping, or pairs.
        date: responses say when they were made (RFC 9110 section 6.6.1). False is against the letter of that.
        preserve_case: field names of responses go out in the letters in which the application gave them, for peers that
            read them in one way only; otherwise in lower case.
        middlewares: around the handler, or all that a router answers, the first outermost.
        health_path: a path, such as ``"/healthz"``, on which the server itself tells balancers 200, and 503 once its
            end is near; whatever limits there are on requests.
        protocols: the versions of HTTP that are spoken, the preferred one first: ``("h2", "http/1.1")``, as it is if it
            is left out, or one of the two. Over TLS the client chooses by ALPN, for which the context is told; in clear
            by its first octets.
        live_path: another, such as ``"/livez"``, on which it tells supervisors 200 for as long as it lives.
        tracebacks: a request that fails is answered with its traceback, if it comes from this machine and asks for
            ``localhost`` or the like; for the time in which an application is written.
        evict_idle: when there are as many connections as may be, the one that has kept the server waiting for longest
            (and for a second at least) makes room, instead of the newcomer being turned away: an idle one, or one that
            says nothing, or whose handshake, head or body comes too slowly. Without it only those of an address
            that has its ``Limits.max_connections_per_peer`` do, and no idle ones.

    What is left out is off, or has the defaults of its class. :func:`run` and :func:`serve_connection` take the same.

    Raises:
        ValueError: a malformed address or path, or no body limit with buffered bodies.
        TypeError: there is no such setting, or it is of another type; the handler or a middleware is no async function
            of its arguments, or an app that is no router is given middlewares. The message says what to write.
    """

    status: Status = "new"
    neighbours: Neighbours | None = None
    """Other processes that accept on the same sockets; to be set before it serves."""
    task: trio.lowlevel.Task | None = None
    _connections: trio.Nursery | None = None
    _dormitory: Dormitory | None = None
    _spares: Spares | None = None
    _present = 0
    _retiring = False

    def __init__(
        self,
        handler: Handler | App,
        *,
        bind: Bindable | Sequence[Bindable] = "127.0.0.1:8000",
        **settings: Unpack[ListenerSettings],
    ) -> None:
        refuse_unknown(settings, OF_LISTENERS)
        self._context, self._health = served(handler, settings)
        self._handler = handler
        self.name = self._context.name
        self.bind = listed(bind)
        self.tls, tls = self._context.tls, settings.get("tls")
        self.certificates = None if tls is None or isinstance(tls, ssl.SSLContext) else tls
        self._reuse_port = flag("reuse_port", settings.get("reuse_port", False))
        evict_idle = flag("evict_idle", settings.get("evict_idle", False))
        proxies = (settings.get("proxy_protocol"), settings.get("proxy_headers"))
        self._places = share_out(self._context, proxies, self._members, evict_idle=evict_idle)
        self._rejections = Rejections(self._context)
        self._host = Host(self._admit, self._admitted, self._rejections.cannot_accept, self._count)
        self._told: list[Drain] = []
        self._listeners: list[socket.socket | trio.abc.Listener[trio.abc.Stream]] = []
        self._accept_scopes: list[trio.CancelScope] = []
        self._attended: dict[socket.socket, AcceptLoop] = {}  # those whose accept loop runs, in order
        self._addresses: list[Address] = []
        self._closed, self._start = trio.Event(), trio.CancelScope()
        self._context.observers.attach(self)

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
        from .listener_info import ListenerInfo

        cap, counters, held = self._context.limits.max_connections, self._context.counters, self._context.buffered.held
        return ListenerInfo(self._active, cap, held, **{each.name: getattr(counters, each.name) for each in COUNTED})

    def phases(self) -> dict[str, int]:
        """How many connections are in which phase, by the phase's name: ``{"idle": 12, "dispatch": 3}``."""
        from .listener_info import phase_of

        return Counter(phase_of(conn).name.lower() for conn in self._members())

    @property
    def in_hand(self) -> int:
        """How many requests are being answered, or are on their way to that."""
        return sum(conn.streams for conn in self._members())

    def connections(self) -> list[ConnectionInfo]:
        """Its connections, oldest first."""
        from .listener_info import described

        now = trio.current_time()
        return [described(conn, now) for conn in sorted(self._members(), key=lambda conn: conn.born)]

    @property
    def drained(self) -> bool:
        """Whether a drain has begun, or has forgone its start; else nothing but a cancellation ends it in order."""
        return self._context.drain.draining or self._start.cancel_called

    @property
    def drain_deadline(self) -> float:
        """Trio's time at which a drain cuts what is left; ``math.inf`` before there is one."""
        return self._context.drain.cut

    @property
    def leaving(self) -> bool:
        """Whether its end has been announced, by :meth:`retire`, or has begun; then ``health_path`` answers 503."""
        return self._retiring or self.drained

    @property
    def _active(self) -> int:
        present = len(self._context.drain.members)
        return present + sum(len(drain.members) for drain in self._told) if self._told else present

    def _members(self) -> list[Guest]:
        drains = [self._context.drain, *self._told]
        return [member for drain in drains for member in drain.members if isinstance(member, GUESTS)]

    def reload_routes(self, routes: Sequence[Any]) -> None:
        """Replaces all routes of its router from the next request on; see
        :meth:`~roadrunner_trio.apps.router.Router.reload`.

        Raises:
            ValueError, TypeError: the routes are not possible, and those there were stay in force (N51).
            RuntimeError: it serves a handler, and has no routes.
        """
        if not isinstance(self._handler, Routed):
            raise RuntimeError(f"listener {self.name!r} serves {self._handler!r}, which is no router and has no routes")
        self._handler.reload(routes)
        self._context.websockets = serves_websockets(self._handler)

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
                    afterwards = Afterwards(self._take_up)
                    self._context.go_on = afterwards.look
                    self._spares = spares = Spares(self._context, self._context.poller)
                    self._context.rest = spares.rest
                    helpers.start_soon(afterwards.run, name=f"{self.name}: afterwards")
                    if self._context.timeouts.park_after not in (None, math.inf):
                        self._dormitory = Dormitory(self._context, self._context.poller, spares, self._start_serving)
                        self._context.park = self._dormitory.park
                if self.certificates is not None:
                    helpers.start_soon(self.certificates.watch, name=f"{self.name}: certificates")
                async with trio.open_nursery() as self._connections:
                    if self._dormitory is not None:
                        self._connections.start_soon(self._dormitory.run, name=f"{self.name}: dormitory")
                    self._start_accepting(self._connections)
                    task_status.started(self)
                helpers.cancel_scope.cancel(reason="the listener has no connections left")
        finally:
            if self._spares is not None:
                self._spares.close()
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
            await close_listener(listener)

    def forgo_start(self) -> None:
        """Ends the start-up of its application, if that is what it does: it will never accept."""
        if self.status == "starting":
            self._start.cancel(reason="the listener drains before it has begun")

    def _drain_bereft(self) -> None:
        """What the application keeps running has ended: there is no use in going on without it."""
        self._start_drain(trio.current_time() + BEREFT)

    def _start_accepting(self, nursery: trio.Nursery) -> None:
        if (others := self.neighbours) is not None:
            self._places.left = lambda: others.note(self._active)
        for listener in self._listeners:
            scope = trio.CancelScope()
            self._accept_scopes.append(scope)
            if isinstance(listener, socket.socket):
                self._attended[listener] = AcceptLoop(listener, self._host)
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

    async def drain(self, grace: Duration = 10.0) -> Drained:
        """Ends politely, within ``grace``, seconds or ``"5s"``, and says how that went.

        Everybody waiting in the accept queue is served, idle connections are closed, at once or a
        quarter of a second after their last answer, busy ones finish with
        ``connection: close``, handlers are told by ``request.drain``, and the deadline cuts what is left. Returns at
        the latest a second after the deadline; ``serve`` returns when the last connection is really gone.

        Raises:
            ValueError: the grace is no time of at least 0 seconds; ``math.inf`` is one.
        """
        grace = seconds("grace", grace, zero=True)
        if self.status == "new":
            self.status = "closed"
            self._closed.set()
        elif self.status != "closed":
            self._start_drain(trio.current_time() + grace)
        due = max(trio.current_time(), self._context.drain.cut)
        with trio.move_on_at(due):
            await self._closed.wait()
        late = max(0.0, trio.current_time() - due)  # a loop that stood still at the deadline has had no turn yet
        with trio.move_on_at(self._context.drain.cut + PATIENCE + late):
            await self._closed.wait()
        stuck = self._members()
        for conn in stuck:
            where = stack_of(conn.task) if conn.task else "it has no task yet"
            log.error("the connection of %s is stuck, past the drain's deadline, at %s", shown(conn.peer), where)
        cut = self._context.counters.cut
        from .listener_info import Drained

        return Drained(self._present - cut - len(stuck), cut, len(stuck))

    def _start_drain(self, deadline: float) -> None:
        """Synchronous: sockets emptied and closed, everybody told, the hard deadline set. Again: only sooner."""
        self.forgo_start()
        if self.status == "accepting":
            self.status = "draining"
            for loop in self._attended.values() if self.neighbours is None else ():  # else they serve who is waiting
                loop.take(self._context.limits.backlog + 1)
            self._stop_accepting()
            if self._spares is not None:
                self._spares.close()
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

    def notify(self, grace: Duration = 10.0) -> None:
        """Tells everybody present what a drain would tell them, and goes on listening: newcomers are not told.

        Idle connections close, handlers see ``request.drain``; nothing is cut at the deadline. Does nothing unless it
        accepts: a drain has told everybody already.

        Raises:
            ValueError: as :meth:`drain`.
        """
        grace = seconds("grace", grace, zero=True)
        if self.status != "accepting":
            return
        told = self._context.drain
        self._told = [drain for drain in self._told if drain.members] + [told]
        self._context.drain = Roll(self._places)
        told.start(trio.current_time() + grace, notice=True)

    # -- accepting -------------------------------------------------------------------------------

    async def _accept(self, sock: socket.socket, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.lowlevel.checkpoint_if_cancelled()  # a drain that began first has closed the socket
                await self._attended[sock].run(self.neighbours)
        finally:
            del self._attended[sock]  # if it is cancelled, a drain must let in nobody whom nobody serves

    def _admitted(self, count: int) -> None:
        if self._context.poller is not None:
            self._context.poller.came(count)

    def _count(self) -> tuple[int, int]:
        return self._active, self._context.counters.accepted

    def _admit(self, sock: socket.socket, peer: Address) -> None:
        if (reason := self._places.refusal(peer, self._active)) is not None:
            self._rejections.turn_away(sock, reason, self._connections)
            return
        spares = self._spares
        try:
            if spares is not None and (conn := spares.begun(sock, peer)) is not None:
                self._enter(conn, peer)
                spares.start(conn)
            else:
                self._spawn(SocketWire(sock, self._context.poller, tcp=not isinstance(peer, str)), peer)
        except OSError:  # reset between accept and here
            sock.close()

    def _spawn(self, stream: trio.abc.Stream, peer: Address) -> None:
        """Slot, drain membership and task, in one synchronous step: a drain can miss nobody."""
        conn = Connection(stream, self._context, peer)
        self._enter(conn, peer)
        self._start_serving(conn)

    def _enter(self, conn: Connection, peer: Address) -> None:
        self._context.counters.accepted += 1
        if self.status == "draining":
            self._present += 1  # accepted in the very tick the drain began
        self._places.enter(conn, peer)

    def _start_serving(self, conn: Any, story: Callable[[Any], Awaitable[object]] | None = None) -> None:
        if self._connections is None:
            raise RuntimeError("the listener does not serve")
        self._connections.start_soon(story or serve_connection, conn, name=f"{self.name}: {shown(conn.peer)}")

    def _take_up(self, conn: Connection) -> None:
        """A connection goes on in another task, where there is a place: one with many of them shuts out nobody."""
        if self._active < self._context.limits.max_connections and self._places.has_room(conn.peer):
            successor = succeed(conn)
            self._places.enter(successor, conn.peer)
            self._start_serving(successor)

    async def _accept_foreign(self, listener: trio.abc.Listener[trio.abc.Stream], scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    stream = await listener.accept()
                except BaseException as exc:
                    if not isinstance(exc, OSError) or exc.errno not in EXHAUSTED:
                        stop_if_stray(exc, self.name)
                        raise
                    self._rejections.cannot_accept(exc)
                    await trio.sleep(BACK_OFF)
                    continue
                peer = peer_of(stream)
                if (reason := self._places.refusal(peer, self._active)) is not None:
                    self._rejections.count(reason)
                    await trio.aclose_forcefully(stream)
                else:
                    self._spawn(wired(stream), peer)
        await close_listener(listener)  # drained: whoever still comes is refused at the door


def insides(listener: Listener) -> tuple[list[Guest], Observers]:
    """Its connections, and whom it tells: for who looks closer than any public name lets him."""
    return listener._members(), listener._context.observers  # pyright: ignore[reportPrivateUsage]  # its own module
