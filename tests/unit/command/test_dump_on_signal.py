"""The dump of the tasks: it is written beside the loop, and what goes wrong with it is told in its place."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import trio

from roadrunner_trio.command import dump as dumping

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


class Told:
    """What is written, and whether by the loop's own thread."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.by_the_loop: list[bool] = []
        self.came = threading.Event()

    def __call__(self, text: str) -> bool:
        self.texts.append(text)
        self.by_the_loop.append(threading.current_thread() is threading.main_thread())
        self.came.set()
        return True


async def dump() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(dumping.dump_on_signal, [], name="SIGUSR1")
        signal.raise_signal(signal.SIGUSR1)
        told = dumping.tell
        assert isinstance(told, Told)
        assert await trio.to_thread.run_sync(told.came.wait, 30)
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_it_is_written_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr(dumping, "tell", told)
    await dump()
    assert "SIGUSR1 @ " in told.texts[0]
    assert told.texts[0][0].isdigit()
    assert told.by_the_loop == [False]


async def test_a_worker_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them print at a time, to one standard error."""
    told = Told()
    monkeypatch.setattr(dumping, "tell", told)
    monkeypatch.setattr(dumping.THIS, "name", "3")
    await dump()
    assert told.texts[0].startswith("worker 3: ")


async def test_tasks_that_cannot_be_shown_do_not_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def render(notes: object) -> str:
        raise LookupError(notes)

    told = Told()
    monkeypatch.setattr(dumping, "tell", told)
    monkeypatch.setattr(dumping, "render_tasks", render)
    await dump()
    assert told.texts == ["roadrunner-trio: the tasks cannot be shown: LookupError\n"]
