"""From a handler to a running server.

``run`` owns the process, ``serve`` the signals, ``serve_connection`` nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

import trio

from ..answering.callables import named
from ..answering.faults import leaves
from ..answering.respond import Handler
from ..journal import log
from ..messages.exchange import App
from ..telemetry.log_output import start_logging
from ..transport.bind import Bindable
from ..transport.drain import Drain
from ..transport.streams import peer_of, shown, wired
from ..units import Duration, seconds
from .connection import Connection
from .connection import serve_connection as serve_one
from .listener import Listener
from .listener_info import Drained
from .listener_settings import (
    OF_CONNECTIONS,
    ConnectionSettings,
    ListenerSettings,
    flag,
    refuse_unknown,
    served,
    with_access_log,
)
from .shell import Banner, give_up, leave, report

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    handler: Handler | App,
    bind: Bindable | Sequence[Bindable] = "127.0.0.1:8000",
    *,
    grace: Duration = 10.0,
    shutdown_delay: Duration = 0.0,
    log: bool = True,
    **settings: Unpack[ListenerSettings],
) -> None:
    """Serves ``handler`` until SIGINT or SIGTERM, then drains; a second signal stops at once.

    Owns the event loop, and the process: should something be stuck past the drain's deadline, it exits with 1.

    Args:
        handler, bind: as for :class:`Listener`.
        grace, shutdown_delay: as for :func:`serve`.
        log: prints where it listens, and logs requests and how it ended to standard error, unless the program has set
            up logging of its own, which then has them. False is silent.
        settings: those of :class:`Listener`, such as ``timeouts``, ``limits``, ``middlewares`` or ``tls``.

    Raises:
        OSError: an address cannot be bound.
        ValueError, TypeError: as :class:`Listener` and :func:`serve`, before anything listens.
        SystemExit: 128 and the signal's number, after a second signal.
    """
    if flag("log", log):
        settings["observers"] = with_access_log(settings.get("observers", ()))
    listener = Listener(handler, bind=bind, **settings)
    if not log:
        trio.run(partial(serve, listener, grace=grace, shutdown_delay=shutdown_delay, on_stuck=leave))
        return
    start_logging("text", "INFO")
    title = Banner(named(handler))
    told = partial(serve, listener, grace=grace, shutdown_delay=shutdown_delay, on_stuck=give_up, task_status=title)
    report(trio.run(told))


async def serve(
    *listeners: Listener,
    grace: Duration = 10.0,
    shutdown_delay: Duration = 0.0,
    on_stuck: Callable[[tuple[Drained, ...]], None] | None = None,
    task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED,
) -> tuple[Drained, ...]:
    """Serves several listeners until SIGINT or SIGTERM, then drains them together, within ``grace`` seconds.

    A second signal cancels everything; during ``shutdown_delay`` it ends the delay first. Must run in the main thread.
    ``task_status.started`` gives the listeners back once all of them listen.

    Args:
        grace: seconds, or ``"5s"``, that the drain may take.
        shutdown_delay: likewise between the first signal and the drain, for balancers: see :meth:`Listener.retire`.
        on_stuck: called with how the drains went, when something in them cannot be cancelled; it is waited for still.

    Returns:
        How the drain of each went, in order; empty when they ended without one.

    Raises:
        OSError: an address cannot be bound.
        ValueError, TypeError: there is no listener, or one is none, or two have one name; or a time is none.
        SystemExit: 128 and the signal's number, after a second signal.
    """
    service = _Service(_checked(listeners), *_times(grace, shutdown_delay), on_stuck)
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


def _times(grace: Duration, delay: Duration) -> tuple[float, float]:
    return seconds("grace", grace, zero=True), seconds("shutdown_delay", delay, zero=True, endless=False)


def _checked(listeners: Sequence[Any]) -> Sequence[Listener]:
    names = set[str]()
    for listener in listeners:
        if isinstance(listener, list | tuple):
            raise TypeError("serve takes listeners one by one; write serve(*listeners)")
        if not isinstance(listener, Listener):
            raise TypeError(f"serve takes listeners, not {listener!r}; write serve(Listener(handler))")
        if listener.name in names:
            raise ValueError(
                f"two listeners are called {listener.name!r}; give each a name of its own: Listener(..., name='other')"
            )
        names.add(listener.name)
    if not names:
        raise ValueError("serve needs at least one listener")
    return listeners


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
    drain: Drain | None = None,
    **settings: Unpack[ConnectionSettings],
) -> None:
    """Serves one connection on any ``trio.abc.Stream`` and closes it; for tests, tunnels and servers of one's own.

    Args:
        drain: tells it to end; ``drain.start(deadline)`` is up to the caller, and so is cancelling at the deadline.
        settings: those of :class:`Listener`, apart from ``bind``, ``reuse_port`` and ``evict_idle``.

    Raises:
        ValueError, TypeError: as :class:`Listener`.
    """
    if not isinstance(stream, trio.abc.Stream):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"serve_connection is given the stream first, a trio.abc.Stream, not {stream!r}")
    refuse_unknown(settings, OF_CONNECTIONS)
    context, _ = served(handler, settings, drain)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.clock.run, name=f"{context.name}: clock")
        conn = Connection(wired(stream), context, peer_of(stream))
        async with trio.open_nursery() as serving:  # a task of its own: the caller's context variables are the caller's
            serving.start_soon(serve_one, conn, name=f"{context.name}: {shown(conn.peer)}")
        nursery.cancel_scope.cancel(reason="the connection is closed")
