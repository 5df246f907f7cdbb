"""From a handler to a running server.

``run`` owns the process, ``serve`` the signals, ``serve_connection`` nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

import trio

from ..answering.callables import named
from ..answering.faults import leaves
from ..answering.respond import Handler, lifetime_of
from ..errors import ShutdownError, StartupError
from ..journal import log
from ..messages.exchange import App
from ..telemetry.log_output import start_logging
from ..transport.bind import Bindable
from ..transport.drain import Drain
from ..transport.dump import stack_of
from ..transport.stdio import open_closed
from ..transport.streams import peer_of, shown, wired
from ..units import Duration, seconds
from .connection import Connection
from .connection import serve_connection as serve_one
from .leaving import leave
from .listener import Listener
from .listener_settings import (
    OF_CONNECTIONS,
    ConnectionSettings,
    ListenerSettings,
    flag,
    refuse_unknown,
    served,
    with_access_log,
)
from .services import tended, titled
from .shell import Banner, give_up, report
from .signals import RENEWING
from .watchdog import AT_ONCE, Stage, Watchdog

if TYPE_CHECKING:
    from .listener_info import Drained

Renewal: TypeAlias = Callable[[], Awaitable[object]]
"""What is to be done again on SIGHUP: certificates are read, logs are opened."""


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

    SIGHUP renews certificates. Owns the event loop, and the process: what is stuck a second past the drain's deadline
    is left by exit status 1, and so is a loop that does not turn. Threads that keep the process after the drain have
    a second, and are then left behind with 0. Outside of the main thread there are no signals, and it serves for as
    long as the thread lives.

    Args:
        handler, bind: as for :class:`Listener`.
        grace, shutdown_delay: as for :func:`serve`.
        log: prints where it listens, and logs requests and how it ended to standard error, unless the program has set
            up logging of its own, which then has them. False is silent.
        settings: those of :class:`Listener`, such as ``timeouts``, ``limits``, ``middlewares`` or ``tls``.

    Raises:
        OSError: an address cannot be bound.
        ValueError, TypeError: as :class:`Listener` and :func:`serve`, before anything listens.
        RuntimeError: the server has ended, and nobody has asked for it.
        SystemExit: 128 and the signal's number, after a second signal; 3 when the application cannot be started up, 1
            when it fails to shut down.
    """
    if flag("log", log):
        settings["observers"] = with_access_log(settings.get("observers", ()))
    watchdog = Watchdog(*_times(grace, shutdown_delay), owner=True)
    listener = Listener(handler, bind=bind, **settings)
    open_closed()
    _own(watchdog, listener, Banner(named(handler)) if log else None)


def _own(watchdog: Watchdog, listener: Listener, banner: Banner | None) -> None:
    """Serves in a loop and a process of its own; with a banner, tells what there is to tell."""
    status = None
    try:
        if banner is None:
            trio.run(partial(serve_watched, watchdog, listener, on_stuck=lambda _: leave(1)))
        else:
            start_logging("text", "INFO")
            report(trio.run(partial(serve_watched, watchdog, listener, on_stuck=give_up, task_status=banner)))
        status = 0
    except StartupError as exc:
        log.error("%s", exc)
        raise SystemExit(status := 3) from exc
    except ShutdownError as exc:  # it has been told
        raise SystemExit(status := 1) from exc
    finally:
        watchdog.finish(status)


async def serve(
    *listeners: Listener,
    services: Sequence[Callable[[], Awaitable[object]]] = (),
    grace: Duration = 10.0,
    shutdown_delay: Duration = 0.0,
    on_stuck: Callable[[tuple[Drained, ...]], None] | None = None,
    task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED,
) -> tuple[Drained, ...]:
    """Serves several listeners until SIGINT or SIGTERM, then drains them together, within ``grace`` seconds.

    A second signal cancels everything; during ``shutdown_delay`` it ends the delay first. Should that not be the end
    of everything within a second, the process is left, by ``os._exit``. A signal that comes again within 0.3 s is the
    same. SIGHUP drains, too, when a terminal has closed, and else renews certificates. It and SIGUSR2, which means
    nothing, are left to whoever handles or ignores them already. Outside of the main thread there are no signals.
    ``task_status.started`` gives the listeners back once all of them listen.

    Args:
        services: async functions that run beside the listeners, from before they listen until all are closed. One may
            return; one that raises ends the server.
        grace: seconds, or ``"5s"``, that the drain may take.
        shutdown_delay: likewise between the first signal and the drain, for balancers: see :meth:`Listener.retire`.
        on_stuck: called with how the drains went, when something in them cannot be cancelled; it is waited for still.

    Returns:
        How the drain of each went, in order; those are missing that were drained by others.

    Raises:
        OSError: an address cannot be bound.
        RuntimeError: a listener has ended, and nobody has asked for it; or a service raised what may not leave a task.
        ValueError, TypeError: there is no listener, or one is none, or two have one name; a service is none; or a time.
        SystemExit: 128 and the signal's number, after a second signal.
    """
    watchdog = Watchdog(*_times(grace, shutdown_delay))
    return await serve_watched(watchdog, *listeners, services=services, on_stuck=on_stuck, task_status=task_status)


async def serve_watched(
    watchdog: Watchdog,
    *listeners: Listener,
    services: Sequence[Callable[[], Awaitable[object]]] = (),
    on_stuck: Callable[[tuple[Drained, ...]], None] | None = None,
    renewals: Sequence[Renewal] = (),
    task_status: trio.TaskStatus[tuple[Listener, ...]] = trio.TASK_STATUS_IGNORED,
) -> tuple[Drained, ...]:
    """:func:`serve`, with the watchdog of whoever owns the process, and what is done on SIGHUP."""
    renewed = {each.certificates: None for each in _checked(listeners) if each.certificates is not None}
    renewals = [*(certificates.renew for certificates in renewed), *renewals]
    service, beside_them = _Serving(listeners, watchdog, on_stuck, renewals), titled(services)
    token = trio.lowlevel.current_trio_token()

    def soon(do: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(do)

    if not watchdog.open(soon, service.told):
        log.debug("not in the main thread: signals are left alone")
    try:
        async with trio.open_nursery() as beside:
            async with trio.open_nursery() as serving:
                beside.start_soon(service.watch, serving, name="signals")
                beside.start_soon(service.renew, name="renewals")
                for name, each in beside_them:
                    beside.start_soon(tended, each, name, name=name)
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


class _Serving:
    """What the signals do to the listeners."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        watchdog: Watchdog,
        on_stuck: Callable[[tuple[Drained, ...]], None] | None,
        renewals: Sequence[Renewal],
    ) -> None:
        self.listeners = listeners
        self.watchdog = watchdog
        self.on_stuck = on_stuck
        self.renewals = renewals
        self.wish = trio.Event()
        self.up = trio.Event()
        self.stages = {stage: trio.Event() for stage in Stage}
        self.name = ""
        self.outcomes: dict[Listener, Drained] = {}

    def told(self, stage: Stage, number: signal.Signals) -> None:
        """By the watchdog, in the loop: this far the end has come, by this signal."""
        if stage is Stage.SERVING:
            if number is RENEWING:
                self.wish.set()
            else:
                log.info("%s: ignored", number.name)
            return
        self.name = number.name
        for each in Stage:
            if each <= stage:
                self.stages[each].set()

    async def watch(self, serving: trio.Nursery) -> None:
        """The first signal drains, after the delay, which another ends; the next cancels."""
        await self.stages[Stage.RETIRING].wait()
        if delay := self.watchdog.delay:
            log.info("%s: draining in %g s; again to do so at once", self.name, delay)
            with trio.move_on_after(delay):
                await self.up.wait()
                for listener in self.listeners:
                    listener.retire()
                await self.stages[Stage.DRAINING].wait()
            self.watchdog.drains()
        log.info("%s: draining for at most %g s; again to stop at once", self.name, self.watchdog.grace)
        serving.start_soon(self.drain, serving, name="drain")
        await self.stages[Stage.STOPPING].wait()
        serving.cancel_scope.cancel(reason=f"a second signal, {self.name}")
        await trio.sleep(AT_ONCE / 2)
        for listener in self.listeners:
            for each in listener.connections():
                where = stack_of(each.task) if each.task else "it has no task yet"
                log.error("the connection of %s does not end: %s", shown(each.peer), where)

    async def renew(self) -> None:
        """Does what is to be done on SIGHUP, in order; what fails is told, and left as it was."""
        while True:
            await self.wish.wait()
            self.wish = trio.Event()
            log.info(
                "%s: renewing, by %s",
                RENEWING.name,
                ", ".join(map(named, self.renewals)) or "nothing, as there is none",
            )
            for each in self.renewals:
                try:
                    await each()
                except Exception as exc:
                    log.error("%s failed, and nothing has changed by it", named(each), exc_info=exc)

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
        for listener in self.listeners:
            listener.forgo_start()
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
    async with lifetime_of(handler, None), trio.open_nursery() as nursery:
        nursery.start_soon(context.clock.run, name=f"{context.name}: clock")
        conn = Connection(wired(stream), context, peer_of(stream))
        async with trio.open_nursery() as serving:  # a task of its own: the caller's context variables are the caller's
            serving.start_soon(serve_one, conn, name=f"{context.name}: {shown(conn.peer)}")
        nursery.cancel_scope.cancel(reason="the connection is closed")
