"""A worker that is told to go, or left alone, is so once: a second word would cut what finishes."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest
import trio

from roadrunner_trio.processes import control
from roadrunner_trio.processes.worker import Link, fail
from roadrunner_trio.server.watchdog import Stage


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("told", [True, False])
async def test_the_end_begins_once(stage: Stage, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    watchdog = SimpleNamespace(stage=stage, grace=1.0, delay=2.0)
    near, far = control.pair()
    far.setblocking(False)
    link = Link(watchdog)  # type: ignore[arg-type]
    link._line = far
    if told:
        control.tell(near, drain=7.0, delay=0.0, last=True)
    else:
        near.close()
    with near, far, trio.move_on_after(0.1):
        await link.listen()
    assert raised == ([signal.SIGTERM] if stage is Stage.SERVING else [])
    assert (watchdog.grace, watchdog.delay) == ((7.0, 0.0) if told and stage is Stage.SERVING else (1.0, 2.0))


def test_why_there_is_none_is_said_in_one_line_whatever_it_is() -> None:
    near, far = control.pair()
    far.setblocking(False)  # so that what is too long is cut, and does not wait
    with near, far:
        fail(far, "x" * 10_000_000, "y" * 10_000_000)
        [said] = control.Lines().feed(near.recv(10_000_000))
        assert isinstance(said, dict)
        assert set(said["failed"]) == {"x"}
        assert set(said["report"]) == {"y"}
