"""The life of an application, as ASGI's lifespan protocol tells it (version 2.0): started up, served, shut down.

It has a task of its own, for what an application keeps running lives in there, and it must end by being told, not by
being cancelled: so it belongs to nobody who may be cancelled first, and is waited for by whoever leaves last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, Final, Literal, TypeAlias

import trio

from ..answering.faults import part_ways
from ..errors import ShutdownError, StartupError
from ..journal import log
from .asgi_faults import asyncio_needed
from .asgi_messages import ASGIApp, Message, unexpected

LifespanMode: TypeAlias = Literal["auto", "on", "off"]
PATIENCE: Final = 1.0
"""Seconds that an application has to end when it is cancelled, because it did not when it was told."""


class Lifespan:
    """What starts an application up before its first request, and shuts it down after the last.

    Several may hold it at once: who comes first starts it up, and who leaves last shuts it down.

    Args:
        app: the application.
        mode: ``"auto"`` takes an exception, or a return, before start-up is complete for a no; ``"on"`` for a failure;
            ``"off"`` does not ask.
        startup_timeout: seconds until start-up has failed.
        shutdown_timeout: seconds until an application that is told to shut down is cancelled.

    Attributes:
        state: what the application has put there; every request has a copy.
    """

    def __init__(self, app: ASGIApp, mode: LifespanMode, startup_timeout: float, shutdown_timeout: float) -> None:
        self.app = app
        self.mode = mode
        self.startup_timeout = startup_timeout
        self.shutdown_timeout = shutdown_timeout
        self.state: dict[str, Any] = {}
        self._holders: list[Callable[[], None]] = []
        self._turn = trio.Lock()
        self._run: _Run | None = None

    @asynccontextmanager
    async def hold(self, failed: Callable[[], None] | None) -> AsyncGenerator[None]:
        """The application is started up in the block.

        Args:
            failed: called when it ends by itself while the block goes on.

        Raises:
            StartupError: it could not be started up.
            ShutdownError: it could not be shut down, or had ended before; only if nothing else is raised.
        """
        if self.mode == "off":
            yield
            return
        failed = failed or _nobody
        async with self._turn:
            if not self._holders:
                await self._start()
            self._holders.append(failed)
        try:
            if self._run is not None and self._run.has_died:
                failed()  # since its start-up was complete
            yield
        except BaseException:
            await self._leave(failed)
            raise
        if (error := await self._leave(failed)) is not None:
            raise error

    async def _start(self) -> None:
        run = self._run = _Run(self)
        trio.lowlevel.spawn_system_task(run.live, name=f"lifespan of {self.app!r}", context=copy_context())
        try:
            with trio.move_on_after(self.startup_timeout) as scope:
                await run.started.wait()
        except BaseException:
            await run.cut()
            raise
        if scope.cancelled_caught:
            await run.cut()
            raise StartupError(f"the application did not start up within {self.startup_timeout:g} seconds")
        if run.failure is not None:
            with trio.move_on_after(PATIENCE, shield=True):
                await run.over.wait()
            await run.cut()
        self._judge(run)

    def _judge(self, run: _Run) -> None:
        """What came of the start-up."""
        if run.complete:
            return
        if run.error is not None and (sentence := asyncio_needed(run.error)) is not None:
            log.debug("the application needs asyncio", exc_info=run.error)
            raise StartupError(sentence)
        if run.failure is not None:
            raise StartupError(run.failure or "the application failed to start up")
        if isinstance(run.error, StartupError):
            raise run.error
        if self.mode == "on":
            why = "returned" if run.error is None else f"raised {run.error!r}"
            raise StartupError(f"the application {why} before its start-up was complete") from run.error
        log.info("the application has no lifespan: it %s", "returned" if run.error is None else f"raised {run.error!r}")

    async def _leave(self, failed: Callable[[], None]) -> ShutdownError | None:
        self._holders.remove(failed)
        if self._holders or self._run is None:
            return None
        run, self._run = self._run, None
        return await run.shut_down(self.shutdown_timeout)

    def died(self) -> None:
        """The application has ended by itself."""
        for failed in self._holders:
            failed()


def _nobody() -> None:
    """Who is not told that the application has ended."""


class _Run:
    """One start-up and shut-down."""

    def __init__(self, lifespan: Lifespan) -> None:
        self.lifespan = lifespan
        self.started = trio.Event()
        self.leaving = trio.Event()
        self.left = trio.Event()
        self.over = trio.Event()
        self.complete = False
        self.failure: str | None = None
        self.shutdown_failure: str | None = None
        self.error: BaseException | None = None
        self._scope = trio.CancelScope()
        self._asked = 0
        self._cut = False

    async def live(self) -> None:
        """The application's task. Nothing leaves it: it is one of Trio's own, whose exceptions would be a crash."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.lifespan.state,
        }
        try:
            with self._scope:
                await self.lifespan.app(scope, self.receive, self.send)
        except BaseException as exc:
            self.error = exc
            if part_ways(exc)[1] is not None:
                raise
        finally:
            self.over.set()
            self.left.set()
            self.started.set()
            if self.complete and not (self._cut or self.leaving.is_set()):
                log.error("the application ended by itself, and the server with it", exc_info=self.error)
                self.lifespan.died()

    @property
    def has_died(self) -> bool:
        """Whether the application has ended by itself after its start-up."""
        return self.complete and self.over.is_set() and not self.leaving.is_set()

    async def receive(self) -> Message:
        """Start-up, and when the time has come shut-down; then nothing more comes."""
        self._asked += 1
        if self._asked == 1:
            return {"type": "lifespan.startup"}
        await self.leaving.wait()
        if self._asked > 2 and self.left.is_set():
            await trio.sleep_forever()
        return {"type": "lifespan.shutdown"}

    async def send(self, message: Message) -> None:
        """Takes what came of either."""
        kind: str = message["type"]
        starting, leaving = not self.started.is_set(), self.leaving.is_set() and not self.left.is_set()
        if kind == "lifespan.startup.complete" and starting:
            self.complete = True
            self.started.set()
        elif kind == "lifespan.startup.failed" and starting:
            self.failure = str(message.get("message", ""))
            self.started.set()
        elif kind == "lifespan.shutdown.complete" and leaving:
            self.left.set()
        elif kind == "lifespan.shutdown.failed" and leaving:
            self.shutdown_failure = str(message.get("message", ""))
            self.left.set()
        else:
            raise unexpected(kind, "now")
        await trio.lowlevel.checkpoint()

    async def shut_down(self, seconds: float) -> ShutdownError | None:
        """Tells the application, also when who tells it is cancelled, and waits until it has ended."""
        if self.over.is_set():
            if not self.complete:
                return None
            return _failed(f"the application ended by itself: {self.error!r}", self.error)
        self.leaving.set()
        with trio.move_on_after(seconds, shield=True) as scope:
            await self.over.wait()
        if scope.cancelled_caught:
            log.error("the application did not shut down within %g seconds", seconds)
            await self.cut()
            return _failed(f"the application did not shut down within {seconds:g} seconds", None)
        if self.shutdown_failure is not None:
            log.error("the application failed to shut down: %s", self.shutdown_failure)
            return _failed(self.shutdown_failure or "the application failed to shut down", None)
        if isinstance(self.error, ShutdownError):
            return self.error  # of an application inside of this one, which has told it
        if self.error is not None:
            log.error("the application failed while it shut down", exc_info=self.error)
            return _failed(f"the application failed while it shut down: {self.error!r}", self.error)
        return None

    async def cut(self) -> None:
        """Cancels the application."""
        self._cut = True
        self._scope.cancel(reason="the application does not end by itself")
        with trio.move_on_after(PATIENCE, shield=True):
            await self.over.wait()


def _failed(why: str, cause: BaseException | None) -> ShutdownError:
    error = ShutdownError(why)
    error.__cause__ = cause
    return error
