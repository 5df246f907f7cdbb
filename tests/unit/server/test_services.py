"""What runs beside the listeners, and that nothing ends the server without a word."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roadrunner_trio import Drained, Listener, Request, Response, serve
from roadrunner_trio.command.serving import serve_until_drained
from roadrunner_trio.server.serve import serve_watched
from roadrunner_trio.server.services import tended, titled
from roadrunner_trio.server.watchdog import Watchdog


async def handler(request: Request) -> Response:
    return Response()


def a_listener(name: str = "main") -> Listener:
    return Listener(handler, bind="127.0.0.1:0", name=name)


async def anothers_cancellation() -> trio.Cancelled:
    """One that a scope has raised and that somebody has kept."""
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel(reason="the first who asked has left")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            kept.append(exc)
            raise
    return kept[0]


async def raise_anothers_cancellation() -> NoReturn:
    raise await anothers_cancellation()


async def raise_one_in_a_group() -> NoReturn:
    raise BaseExceptionGroup("two", [ValueError(), BaseExceptionGroup("one", [await anothers_cancellation()])])


async def raise_generator_exit() -> NoReturn:
    raise GeneratorExit


async def raise_system_exit() -> NoReturn:
    raise SystemExit(0)


STRAYS = [raise_anothers_cancellation, raise_one_in_a_group, raise_generator_exit, raise_system_exit]


@pytest.mark.parametrize("run", STRAYS)
async def test_what_ends_a_nursery_in_silence_becomes_an_error(run: Callable[[], object]) -> None:
    with pytest.raises(
        RuntimeError, match=r"^it has raised (Cancelled|GeneratorExit|SystemExit), which was not its own"
    ):
        await tended(run, "it")  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(4)])
async def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    async def run() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await tended(run, "it")
    assert caught.value is error


async def test_ones_own_cancellation_is_none() -> None:
    with trio.CancelScope() as scope:
        scope.cancel(reason="the test is over")
        await tended(trio.sleep_forever, "it")
    assert scope.cancelled_caught


def test_names() -> None:
    both = titled([raise_system_exit, partial(raise_system_exit)])
    assert [name for name, _ in both] == ["service raise_system_exit"] * 2


def plain() -> None: ...


async def of_one(request: object) -> None: ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (raise_system_exit, "services is a list, not .*; write services=\\[raise_system_exit\\]"),
        ([plain], "plain is a plain function: a service is an async function without arguments; write async def"),
        ([of_one], "of_one.* cannot be called as a service is, an async function without arguments"),
        ([None], "a service is an async function without arguments, not None"),
    ],
)
async def test_what_is_no_service_is_said_before_anything_listens(given: object, message: str) -> None:
    listener = a_listener()
    with pytest.raises(TypeError, match=f"^{message}"):
        await serve(listener, services=given)  # type: ignore[arg-type]
    assert listener.status == "new"


async def test_what_only_looks_like_a_service_is_an_error_that_names_it() -> None:
    make: Callable[[], object] = lambda: anothers_cancellation and None  # noqa: E731

    with pytest.raises(TypeError, match=r"returned None, which cannot be awaited: a service is an async function"):
        await serve(a_listener(), services=[make])  # type: ignore[list-item]


# -- serve ---------------------------------------------------------------------------------------


async def test_services_run_from_before_the_first_until_after_the_last(autojump_clock: MockClock) -> None:
    said: list[str] = []

    async def service() -> None:
        said.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            said.append(listener.status)

    async def one_that_returns() -> None:
        said.append("returned")

    listener = a_listener()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda *, task_status: serve(listener, services=[service, one_that_returns], task_status=task_status)
        )
        await wait_all_tasks_blocked()
        assert sorted(said) == ["begun", "returned"]
        assert await listener.drain(1) == Drained(0, 0, 0)
    assert said[2:] == ["closed"]


@pytest.mark.parametrize("run", STRAYS)
async def test_a_service_that_raises_what_may_not_leave_a_task_ends_the_server_with_an_error(
    run: Callable[[], object],
) -> None:
    with pytest.raises(RuntimeError, match=f"^service {run.__name__} has raised ") as caught:
        await serve(a_listener(), services=[run])  # type: ignore[list-item]
    assert caught.value.__cause__ is not None


async def test_a_service_that_fails_ends_the_server_with_its_error() -> None:
    async def run() -> None:
        raise LookupError("no such table")

    with pytest.raises(LookupError, match="no such table"):
        await serve(a_listener(), services=[run])


class Door(trio.abc.Listener[trio.abc.Stream]):
    """A listener of somebody else's, which raises what it has kept."""

    async def accept(self) -> trio.abc.Stream:
        raise await anothers_cancellation()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Ends(Listener):
    """One that just ends."""

    async def serve(self, *, task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started(self)


async def test_a_listener_that_ends_although_nobody_has_asked_for_it_is_an_error() -> None:
    neighbour = a_listener("neighbour")
    with pytest.raises(RuntimeError, match=r"^listener 'odd' has ended, and nobody has asked for it$"):
        await serve(neighbour, Ends(handler, name="odd"))
    assert neighbour.status == "closed"
    assert not neighbour.drained


async def test_one_whose_door_raises_a_stray_says_so() -> None:
    neighbour = a_listener("neighbour")
    with pytest.raises(RuntimeError, match="meant for somebody else"):
        await serve(neighbour, Listener(handler, bind=Door(), name="odd"))
    assert neighbour.status == "closed"
    assert not neighbour.drained


@pytest.mark.parametrize("where", [[Door()], ["127.0.0.1:0", Door()]])
def test_the_command_tells_it_and_does_not_exit_with_0(where: list[object], caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(handler, bind=where)  # type: ignore[arg-type]
    assert trio.run(serve_until_drained, [listener], "it", Watchdog(1)) == 1
    (record,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert record.getMessage() == "the server has ended, and nobody has asked for it"
    assert record.exc_info is not None


def test_an_operators_interrupt_has_a_status_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    class Interrupted(Listener):
        async def serve(self, *, task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED) -> None:
            raise KeyboardInterrupt

    assert trio.run(serve_until_drained, [Interrupted(handler)], "it", Watchdog(1)) == 130
    assert [each.levelno for each in caplog.records] == [logging.CRITICAL]


async def test_cancelling_it_is_no_error(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        await serve(a_listener())
    assert scope.cancelled_caught


async def test_a_filter_that_raises_does_not_keep_the_drain_from_coming() -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ValueError(record)

    log, broken = logging.getLogger("roadrunner_trio"), Broken()
    log.addFilter(broken)
    log.setLevel(logging.INFO)
    try:

        async def soon() -> None:
            await wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGUSR2)
            signal.raise_signal(signal.SIGTERM)

        assert await serve(a_listener(), services=[soon]) == (Drained(0, 0, 0),)
    finally:
        log.removeFilter(broken)
        log.setLevel(logging.NOTSET)


# -- signals -------------------------------------------------------------------------------------


async def test_one_that_does_not_listen_by_the_deadline_is_given_up(autojump_clock: MockClock) -> None:
    class Slow(Listener):
        async def serve(self, *, task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED) -> None:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(60)

    slow = Slow(handler)
    before = trio.current_time()
    assert await serve(slow, grace=5) == ()
    assert trio.current_time() - before == pytest.approx(5, abs=2)


def test_case_22_outside_of_the_main_thread_it_serves_without_signals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "roadrunner_trio")
    outcomes: list[object] = []

    async def main() -> None:
        listener = a_listener()

        async def drain() -> None:
            await wait_all_tasks_blocked()
            await listener.drain(1)

        outcomes.append(await serve_watched(Watchdog(1), listener, services=[drain]))

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    thread.join(30)
    assert outcomes == [()]
    assert [each.getMessage() for each in caplog.records] == ["not in the main thread: signals are left alone"]
