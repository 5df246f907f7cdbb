"""From a handler to a running server.

``run`` owns the process, ``serve`` the signals, ``serve_connection`` nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import ssl
from collections.abc import Callable, Sequence
from typing import NoReturn

import trio

from ..answering.admission import gate
from ..answering.context import ServerContext, steps
from ..answering.faults import leaves
from ..answering.middleware import Middleware
from ..answering.rate_limit import RateLimit
from ..answering.respond import Handler, as_app, lifetime_of
from ..errors import ShutdownError, StartupError
from ..messages.exchange import App, BodyMode
from ..protocol.trust import ProxyHeaders, ProxyProtocol
from ..settings import Limits, Timeouts
from ..telemetry.logs import with_error_log
from ..telemetry.observe import Observer, Observers
from ..telemetry.request_ids import RequestIds
from ..transport.bind import Bindable
from ..transport.drain import Drain
from ..transport.streams import peer_of, shown, wired
from .connection import Connection
from .connection import serve_connection as serve_one
from .listener import Listener
from .listener_info import Drained

log = logging.getLogger("roadrunner_trio")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    handler: Handler | App,
    bind: Bindable | Sequence[Bindable] = "127.0.0.1:8000",
    *,
    grace: float = 10.0,
    shutdown_delay: float = 0.0,
    health_path: str | None = None,
) -> None:
    """Serves ``handler`` until SIGINT or SIGTERM, then drains; a second signal stops at once.

    Owns the event loop, and the process: should something be stuck past the drain's deadline, it exits with 1.
    Arguments are those of :func:`serve` and :class:`Listener`, which has more.

    Raises:
        OSError: an address cannot be bound.
        SystemExit: 128 and the signal's number, after a second signal; 3 when the application cannot be started up, 1
            when it fails to shut down.
    """

    async def main() -> None:
        listener = Listener(handler, bind=bind, health_path=health_path)
        await serve(listener, grace=grace, shutdown_delay=shutdown_delay, on_stuck=leave)

    try:
        trio.run(main)
    except StartupError as exc:
        log.error("%s", exc)
        raise SystemExit(3) from exc
    except ShutdownError as exc:  # it has been told
        raise SystemExit(1) from exc


def leave(_: tuple[Drained, ...] = ()) -> NoReturn:
    """Ends the process although something in it cannot be ended."""
    logging.shutdown()
    os._exit(1)


async def serve(
    *listeners: Listener,
    grace: float = 10.0,
    shutdown_delay: float = 0.0,
    on_stuck: Callable[[tuple[Drained, ...]], None] | None = None,
    task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED,
) -> tuple[Drained, ...]:
    """Serves several listeners until SIGINT or SIGTERM, then drains them together, within ``grace`` seconds.

    A second signal cancels everything; during ``shutdown_delay`` it ends the delay first. Must run in the main thread.
    ``task_status.started`` gives the listeners back once all of them listen.

    Args:
        grace: seconds that the drain may take.
        shutdown_delay: seconds between the first signal and the drain, for balancers: see :meth:`Listener.retire`.
        on_stuck: called with how the drains went, when something in them cannot be cancelled; ``serve`` then goes on
            waiting for it.

    Returns:
        How the drain of each went, in order; empty when they ended without one.

    Raises:
        OSError: an address cannot be bound.
        SystemExit: 128 and the signal's number, after a second signal.
    """
    service = _Service(listeners, grace, shutdown_delay, on_stuck)
    try:
        async with trio.open_nursery() as watching:
            async with trio.open_nursery() as serving:
                await watching.start(service.watch, serving, name="signals")  # before anybody can connect
                for listener in listeners:
                    await serving.start(listener.serve, name=f"{listener.name}: listener")
                service.up.set()
                task_status.started(listeners)
            watching.cancel_scope.cancel(reason="every listener is closed")
    except BaseExceptionGroup as group:
        raise _alone(group) from None
    if service.second is not None:
        raise SystemExit(128 + service.second)
    return service.in_order()


class _Service:
    """What the signals do to the listeners."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        grace: float,
        delay: float,
        on_stuck: Callable[[tuple[Drained, ...]], None] | None,
    ) -> None:
        self.listeners = listeners
        self.grace = grace
        self.delay = delay
        self.on_stuck = on_stuck
        self.up = trio.Event()
        self.outcomes: dict[Listener, Drained] = {}
        self.second: signal.Signals | None = None

    async def watch(
        self, serving: trio.Nursery, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The first signal drains, after the delay, which another ends; the next cancels, and is remembered."""
        with trio.open_signal_receiver(*SIGNALS) as received:
            task_status.started()
            first = signal.Signals(await anext(received))
            if self.delay:
                log.info("%s: draining in %g s; again to do so at once", first.name, self.delay)
                with trio.move_on_after(self.delay):
                    await self.up.wait()
                    for listener in self.listeners:
                        listener.retire()
                    first = signal.Signals(await anext(received))
            log.info("%s: draining for at most %g s; again to stop at once", first.name, self.grace)
            serving.start_soon(self.drain, name="drain")
            self.second = signal.Signals(await anext(received))
            serving.cancel_scope.cancel(reason=f"a second signal, {self.second.name}")

    async def drain(self) -> None:
        """All listeners together, once all are up; then whoever wants to know hears of stuck connections."""
        for listener in self.listeners:
            listener.forgo_start()
        await self.up.wait()
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
        self.outcomes[listener] = await listener.drain(self.grace)


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
    async with lifetime_of(handler, None), trio.open_nursery() as nursery:
        nursery.start_soon(context.clock.run, name=f"{name}: clock")
        conn = Connection(wired(stream), context, peer_of(stream))
        async with trio.open_nursery() as serving:  # a task of its own: the caller's context variables are the caller's
            serving.start_soon(serve_one, conn, name=f"{name}: {shown(conn.peer)}")
        nursery.cancel_scope.cancel(reason="the connection is closed")
