"""A worker that is told to go, or left alone, is so once: a second word would cut what finishes."""

from __future__ import annotations

import signal
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

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


def link_to(show: Any = None) -> tuple[Link, socket.socket, Any]:
    """A link, the supervisor's end of it, and the watchdog that it tells."""
    watchdog = SimpleNamespace(stage=Stage.SERVING, grace=1.0, delay=2.0)
    near, far = control.pair()
    far.setblocking(False)
    link = Link(watchdog, show=show)  # type: ignore[arg-type]
    link._line = far
    return link, near, watchdog


@pytest.mark.parametrize(
    ("message", "grace", "delay"),
    [
        ({"drain": 7.0, "delay": 3.0, "last": True, "reason": "of a later supervisor"}, 7.0, 3.0),
        ({"drain": 7}, 7, 0.0),
        ({"drain": 7.0, "delay": "soon", "last": None}, 7.0, 0.0),
        ({"drain": "soon"}, 1.0, 2.0),
        ({"dance": True}, 1.0, 2.0),
        ({"look": {"what": "stream"}}, 1.0, 2.0),
        ({"look": "everywhere"}, 1.0, 2.0),
    ],
)
async def test_what_a_later_supervisor_says_ends_nothing(
    message: dict[str, Any], grace: float, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    link, near, watchdog = link_to()
    control.tell(near, **message)
    with near, trio.move_on_after(0.2) as still_there:
        await link.listen()
    assert still_there.cancelled_caught
    assert (watchdog.grace, watchdog.delay) == (grace, delay)
    assert raised == ([signal.SIGTERM] if grace != 1.0 else [])
    link._line.close()


async def test_who_looks_brings_the_socket_on_which_he_is_shown_it() -> None:
    asked: list[Any] = []

    def show(listeners: Any) -> Any:
        async def answer(hand: socket.socket, question: dict[str, Any]) -> None:
            asked.append(question)
            if question["what"] == "fail":
                raise RuntimeError("as it does")
            hand.send(b"here")

        return answer

    link, near, _ = link_to(show)
    ends = []
    for what in ("fail", "look", "again"):
        ours, theirs = socket.socketpair()
        with theirs:
            assert control.hand(near, theirs, look={"what": what})
        ends.append(ours)
    with near, trio.move_on_after(0.2):
        await link.listen()
    link._line.close()
    assert [each["what"] for each in asked] == ["fail", "look", "again"]
    for ours, said in zip(ends, (b"", b"here", b"here"), strict=True):
        with ours:
            ours.settimeout(10)
            assert ours.recv(10) == said
            assert ours.recv(10) == b""


@pytest.mark.parametrize("message", [{"dance": True}, {"look": 7}, {"drain": "soon"}])
async def test_a_socket_that_is_for_nothing_is_closed(message: dict[str, Any]) -> None:
    link, near, _ = link_to()
    ours, theirs = socket.socketpair()
    with theirs:
        assert control.hand(near, theirs, **message)
    with near, trio.move_on_after(0.2):
        await link.listen()
    link._line.close()
    with ours:
        ours.settimeout(10)
        assert ours.recv(10) == b""


async def test_there_are_not_more_looks_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadrunner_trio.processes.worker.LOOKS", 2)
    there = 0

    async def answer(hand: socket.socket, question: dict[str, Any]) -> None:
        nonlocal there
        there += 1
        await trio.sleep_forever()

    link, near, _ = link_to(lambda listeners: answer)
    ends = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.listen)
        for _ in range(4):
            ours, theirs = socket.socketpair()
            with theirs:
                assert control.hand(near, theirs, look={})
            ends.append(ours)
            await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    assert there == 2
    for each in (*ends, near, link._line):
        each.close()


async def test_a_line_without_an_end_is_the_end_of_the_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.setattr(control, "LONGEST", 1000)
    link, near, _ = link_to()
    near.send(b"x" * 2000)
    with near, trio.fail_after(10):
        await link.listen()
    assert raised == [signal.SIGTERM]
    link._line.close()


def test_why_there_is_none_is_said_in_one_line_whatever_it_is() -> None:
    near, far = control.pair()
    far.setblocking(False)  # so that what is too long is cut, and does not wait
    with near, far:
        fail(far, "x" * 10_000_000, "y" * 10_000_000)
        [said] = control.Lines().feed(near.recv(10_000_000))
        assert isinstance(said, dict)
        assert set(said["failed"]) == {"x"}
        assert set(said["report"]) == {"y"}
