"""From a handler to a running server.

``run`` owns the process, ``serve`` the signals, ``serve_connection`` nothing.
"""

from __future__ import annotations

import logging
import signal
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from ..answering.admission import gate
from ..answering.context import ServerContext, steps
from ..answering.faults import leaves
from ..answering.middleware import Middleware
from ..answering.rate_limit import RateLimit
from ..answering.respond import Handler, as_app
from ..messages.exchange import App, BodyMode
from ..protocol.trust import ProxyHeaders, ProxyProtocol
from ..settings import Limits, Timeouts
from ..telemetry.log_context import current_request
from ..telemetry.log_lines import printable
from ..telemetry.logs import with_error_log
from ..telemetry.observe import Observer, Observers
from ..telemetry.request_ids import RequestIds
from ..transport.bind import Bindable
from ..transport.drain import Drain
from ..transport.dump import stack_of
from ..transport.stdio import open_closed
from ..transport.streams import peer_of, shown, wired
from .connection import Connection
from .connection import serve_connection as serve_one
from .leaving import leave
from .listener import Listener
from .listener_info import Drained
from .services import named, tended
from .watchdog import AT_ONCE, Stage, Watchdog

log = logging.getLogger("roadrunner_trio")


def run(
    handler: Handler | App,
    bind: Bindable | Sequence[Bindable] = "127.0.0.1:8000",
    *,
    grace: float = 10.0,
    shutdown_delay: float = 0.0,
    health_path: str | None = None,
) -> None:
    """Serves ``handler`` until SIGINT, SIGTERM or SIGHUP, then drains; a second signal stops at once.

    Owns the event loop, and the process: what is stuck a second past the drain's deadline is left by exit status 1, and
    so is a loop that does not turn. Threads that keep the process after the drain have a second, and are then left
    behind with 0. Outside of the main thread there are no signals, and it serves for as long as the thread lives.
    Arguments are those of :func:`serve` and :class:`Listener`, which has more.

    Raises:
        OSError: an address cannot be bound.
        RuntimeError: the server has ended, and nobody has asked for it.
        SystemExit: 128 and the signal's number, after a second signal.
    """
    open_closed()
    watchdog = Watchdog(grace, shutdown_delay, owner=True)

    async def main() -> None:
        listener = Listener(handler, bind=bind, health_path=health_path)
        await serve_watched(watchdog, listener, on_stuck=lambda _: leave(1))

    status = None
    try:
        trio.run(main)
        status = 0
    finally:
        watchdog.finish(status)


async def serve(
    *listeners: Listener,
    services: Sequence[Callable[[], Awaitable[object]]] = (),
    grace: float = 10.0,
    shutdown_delay: float = 0.0,
    on_stuck: Callable[[tuple[Drained, ...]], None] | None = None,
    task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED,
) -> tuple[Drained, ...]:
    """Serves several listeners until SIGINT, SIGTERM or SIGHUP, then drains them together, within ``grace`` seconds.

    A second signal cancels everything; during ``shutdown_delay`` it ends the delay first. Should that not be the end
    of everything within a second, the process is left, by ``os._exit``. A signal that comes again within 0.3 s is the
    same. SIGHUP and SIGUSR2, which means nothing, are left to whoever handles or ignores them already. Outside of the
    main thread there are no signals. ``task_status.started`` gives the listeners back once all of them listen.

    Args:
        services: async functions that run beside the listeners, from before they listen until all are closed. One may
            return; one that raises ends the server.
        grace: seconds that the drain may take.
        shutdown_delay: seconds between the first signal and the drain, for balancers: see :meth:`Listener.retire`.
        on_stuck: called with how the drains went, when something in them cannot be cancelled; ``serve`` then goes on
            waiting for it.

    Returns:
        How the drain of each went, in order; those are missing that were drained by others.

    Raises:
        OSError: an address cannot be bound.
        RuntimeError: a listener has ended, and nobody has asked for it; or a service raised what may not leave a task.
        SystemExit: 128 and the signal's number, after a second signal.
    """
    watchdog = Watchdog(grace, shutdown_delay)
    return await serve_watched(watchdog, *listeners, services=services, on_stuck=on_stuck, task_status=task_status)


async def serve_watched(
    watchdog: Watchdog,
    *listeners: Listener,
    services: Sequence[Callable[[], Awaitable[object]]] = (),
    on_stuck: Callable[[tuple[Drained, ...]], None] | None = None,
    task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED,
) -> tuple[Drained, ...]:
    """:func:`serve`, with the watchdog of whoever owns the process."""
    service, token = _Serving(listeners, watchdog, on_stuck), trio.lowlevel.current_trio_token()

    def soon(do: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(do)

    if not watchdog.open(soon, service.told):
        _say("not in the main thread: signals are left alone", level=logging.DEBUG)
    try:
        async with trio.open_nursery() as beside:
            async with trio.open_nursery() as serving:
                beside.start_soon(service.watch, serving, name="signals")
                for each in services:
                    beside.start_soon(tended, each, named(each), name=named(each))
                for listener in listeners:
                    await serving.start(service.keep, listener, name=f"{listener.name}: listener")
                service.up.set()
                task_status.started(listeners)
            beside.cancel_scope.cancel(reason="every listener is closed")
    except BaseExceptionGroup as group:
        error = _alone(group)
        raise error from error.__cause__
    finally:
        watchdog.close()
    if watchdog.stage is Stage.STOPPING:
        raise SystemExit(128 + watchdog.number)
    return service.in_order()


class _Serving:
    """What the signals do to the listeners."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        watchdog: Watchdog,
        on_stuck: Callable[[tuple[Drained, ...]], None] | None,
    ) -> None:
        self.listeners = listeners
        self.watchdog = watchdog
        self.on_stuck = on_stuck
        self.up = trio.Event()
        self.stages = {stage: trio.Event() for stage in Stage}
        self.name = ""
        self.outcomes: dict[Listener, Drained] = {}

    def told(self, stage: Stage, number: signal.Signals) -> None:
        """By the watchdog, in the loop: this far the end has come, by this signal."""
        self.name = number.name
        if stage is Stage.SERVING:
            _say("%s: ignored", number.name)
        for each in Stage:
            if each <= stage:
                self.stages[each].set()

    async def watch(self, serving: trio.Nursery) -> None:
        """The first signal drains, after the delay, which another ends; the next cancels."""
        await self.stages[Stage.RETIRING].wait()
        if delay := self.watchdog.delay:
            _say("%s: draining in %g s; again to do so at once", self.name, delay)
            with trio.move_on_after(delay):
                await self.up.wait()
                for listener in self.listeners:
                    listener.retire()
                await self.stages[Stage.DRAINING].wait()
            self.watchdog.drains()
        _say("%s: draining for at most %g s; again to stop at once", self.name, self.watchdog.grace)
        serving.start_soon(self.drain, serving, name="drain")
        await self.stages[Stage.STOPPING].wait()
        serving.cancel_scope.cancel(reason=f"a second signal, {self.name}")
        await trio.sleep(AT_ONCE / 2)
        for listener in self.listeners:
            for each in listener.connections():
                where = stack_of(each.task) if each.task else "it has no task yet"
                _say("the connection of %s does not end: %s", printable(shown(each.peer)), where, level=logging.ERROR)

    async def keep(
        self, listener: Listener, *, task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serves one listener, which has to end by a drain, whoever asks for it.

        Raises:
            RuntimeError: it has ended without one.
        """
        await tended(partial(listener.serve, task_status=task_status), f"listener {listener.name!r}")
        if not listener.drained:
            raise RuntimeError(f"listener {listener.name!r} has ended, and nobody has asked for it")

    async def drain(self, serving: trio.Nursery) -> None:
        """All listeners together, once all are up; then whoever wants to know hears of stuck connections."""
        with trio.move_on_after(self.watchdog.remaining):
            await self.up.wait()
        if not self.up.is_set():
            serving.cancel_scope.cancel(reason="it did not listen until the drain's deadline")
            return
        async with trio.open_nursery() as nursery:
            for listener in self.listeners:
                nursery.start_soon(self.drain_one, listener)
        outcomes = self.in_order()
        if self.on_stuck is not None and any(outcome.stuck for outcome in outcomes):
            self.on_stuck(outcomes)

    def in_order(self) -> tuple[Drained, ...]:
        """The outcomes there are, in the order of the listeners."""
        return tuple(self.outcomes[listener] for listener in self.listeners if listener in self.outcomes)

    async def drain_one(self, listener: Listener) -> None:
        """One of them."""
        self.outcomes[listener] = await listener.drain(self.watchdog.remaining)


def _say(line: str, *words: object, level: int = logging.INFO) -> None:
    """Logs. A filter that raises is not a reason to end, nor to forget the end that was being told."""
    with suppress(Exception):
        log.log(level, line, *words)


def _alone(group: BaseExceptionGroup) -> BaseException:
    """The only exception in a group of groups, or the group: a port in use is an OSError, not a puzzle."""
    first, *others = leaves(group)
    return group if others else first


async def serve_connection(
    stream: trio.abc.Stream,
    handler: Handler | App,
    *,
    name: str = "main",
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    body: BodyMode = "buffered",
    observers: Sequence[Observer] = (),
    request_ids: RequestIds | None = None,
    middlewares: Sequence[Middleware] = (),
    log_context: bool = False,
    tls: ssl.SSLContext | None = None,
    proxy_protocol: ProxyProtocol | None = None,
    proxy_headers: ProxyHeaders | None = None,
    rate_limit: RateLimit | None = None,
    drain: Drain | None = None,
) -> None:
    """Serves one connection on any ``trio.abc.Stream`` and closes it; for tests, tunnels and servers of one's own.

    Args:
        drain: tells it to end; ``drain.start(deadline)`` is up to the caller, and so is cancelling at the deadline.

    Raises:
        ValueError, TypeError: as :class:`Listener`.
    """
    timeouts, limits = timeouts or Timeouts(), limits or Limits()
    app = as_app(handler, body, limits, timeouts, middlewares)
    told = Observers(with_error_log(observers))
    on_head = steps(request_ids, log_context=log_context, proxy_headers=proxy_headers)
    context = ServerContext(app, name, timeouts, limits, told, drain or Drain(), on_head, tls, proxy_protocol)
    context.gate = gate(rate_limit, limits.max_concurrent_requests)
    before = current_request.set(None)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.clock.run, name=f"{name}: clock")
            await serve_one(Connection(wired(stream), context, peer_of(stream)))
            nursery.cancel_scope.cancel(reason="the connection is closed")
    finally:
        current_request.reset(before)  # this is the caller's own task
