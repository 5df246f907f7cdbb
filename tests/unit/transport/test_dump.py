"""The task dump: a tree by nursery, a line a task, and where each waits."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import AsyncIterator
from types import FrameType

import pytest
import trio
import trio.testing

from roadrunner_trio.command.dump import connection_notes, describe
from roadrunner_trio.messages.request import Request
from roadrunner_trio.messages.response import Response
from roadrunner_trio.server.listener_info import ConnectionInfo
from roadrunner_trio.testing import open_server
from roadrunner_trio.transport.dump import render_tasks, stack_of, stack_of_thread, step_of_loop

HERE = "tests/unit/transport/test_dump.py"


async def wait_inside() -> None:
    await trio.sleep_forever()


async def outer() -> None:
    await wait_inside()


async def parent() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer, name="a child")


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


async def test_tree_by_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent, name="a parent")
        await trio.testing.wait_all_tasks_blocked()
        text = render_tasks()
        nursery.cancel_scope.cancel()
    above, below = line_of(text, "a parent"), line_of(text, "a child")
    assert indent(below) == indent(above) + 2
    assert text.splitlines().index(below) == text.splitlines().index(above) + 1


async def test_where_it_waits_is_the_innermost_line_outside_trio() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer, name="waits")
        await trio.testing.wait_all_tasks_blocked()
        text = render_tasks()
        nursery.cancel_scope.cancel()
    line = wait_inside.__code__.co_firstlineno + 1
    assert line_of(text, "waits").endswith(f"waits @ {HERE}:{line} in wait_inside")


async def test_a_task_that_is_trios_all_the_way_down_shows_what_it_began_with() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="asleep")
        await trio.testing.wait_all_tasks_blocked()
        text = render_tasks()
        nursery.cancel_scope.cancel()
    assert line_of(text, "asleep").endswith("in sleep_forever")


async def test_trios_own_tasks_are_left_out_and_the_count_is_right() -> None:
    text = render_tasks()
    assert "trio._core" not in text
    head, *lines = text.splitlines()
    assert head == f"{len(lines)} task{'' if len(lines) == 1 else 's'}"


async def test_from_one_task_down() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent, name="a parent")
        nursery.start_soon(outer, name="a stranger")
        await trio.testing.wait_all_tasks_blocked()
        root = next(task for task in nursery.child_tasks if task.name == "a parent")
        lines = render_tasks(root=root).splitlines()
        nursery.cancel_scope.cancel()
    assert lines[0] == "2 tasks"
    assert [line.split(" @ ")[0] for line in lines[1:]] == ["  a parent", "    a child"]


async def test_a_task_has_one_line_whatever_its_name() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer, name="main: /run/\n  forged @ nowhere\x1b[2J\u202e")
        await trio.testing.wait_all_tasks_blocked()
        notes = {task: "a note\r\n\x9b" for task in nursery.child_tasks}
        text = render_tasks(notes)
        nursery.cancel_scope.cancel()
    assert all(line.isprintable() for line in text.split("\n"))
    assert "main: /run/\\x0a  forged @ nowhere\\x1b[2J\\u202e @" in line_of(text, "main:")
    assert line_of(text, "main:").endswith("  [a note\\x0d\\x0a\\x9b]")


async def test_siblings_come_by_name() -> None:
    async with trio.open_nursery() as nursery:
        for name in ("c", "a", "b"):
            nursery.start_soon(outer, name=name)
        await trio.testing.wait_all_tasks_blocked()
        lines = render_tasks(root=trio.lowlevel.current_task()).splitlines()
        nursery.cancel_scope.cancel()
    assert [line.split(" @ ")[0].strip() for line in lines[2:]] == ["a", "b", "c"]


async def test_notes_end_the_line() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer, name="noted")
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        text = render_tasks({task: "idle, 3 requests"})
        nursery.cancel_scope.cancel()
    assert line_of(text, "noted").endswith("in wait_inside  [idle, 3 requests]")


async def test_a_tree_deeper_than_the_stack() -> None:
    async def nest(depth: int) -> None:
        if depth == 0:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nest, depth - 1, name=f"depth {depth - 1}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(nest, 200, name="depth 200")
        await trio.testing.wait_all_tasks_blocked()
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack(0)) + 60)
        try:
            text = render_tasks()
        finally:
            sys.setrecursionlimit(limit)
        nursery.cancel_scope.cancel()
    assert indent(line_of(text, "depth 0 @")) == indent(line_of(text, "depth 200 @")) + 400


async def test_stack_of_reads_from_the_outside_in() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        stack = stack_of(task)
        nursery.cancel_scope.cancel()
    assert [step.rpartition(" ")[2] for step in stack.split(" > ")] == ["outer", "wait_inside"]


async def test_stack_of_sees_through_an_async_generator() -> None:
    async def numbers() -> AsyncIterator[int]:
        await trio.sleep_forever()
        yield 1

    async def count() -> None:
        async for _ in numbers():
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert stack_of(task).endswith("in numbers")
        nursery.cancel_scope.cancel()


def test_stack_of_a_thread_that_runs() -> None:
    def spin() -> None:
        begun.set()
        while not over.is_set():
            pass

    begun, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    begun.wait()
    stack = stack_of_thread(thread)
    over.set()
    thread.join()
    assert stack.startswith(f"{HERE}:")
    assert stack.endswith("in spin")
    assert stack_of_thread(thread) == "nowhere"


def test_stack_of_a_thread_from_a_frame_on() -> None:
    def inner() -> str:
        return stack_of_thread(threading.current_thread(), sys._getframe(1))

    assert inner().endswith("in test_stack_of_a_thread_from_a_frame_on")


async def test_the_step_of_a_loop_is_the_same_until_it_goes_on() -> None:
    def look() -> None:
        steps.append(step_of_loop(threading.main_thread()))

    def look_from_outside() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    async def other() -> None:
        look_from_outside()

    steps: list[FrameType | None] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        look_from_outside()
        look_from_outside()
    first, second, third = steps
    assert first is second is not third is not None
    assert third.f_code is other.__code__
    assert step_of_loop(threading.Thread()) is None


def test_outside_trio_there_is_nothing_to_show() -> None:
    with pytest.raises(RuntimeError):
        render_tasks()


async def test_a_live_server(autojump_clock: trio.testing.MockClock) -> None:
    async def handler(request: Request) -> Response:
        await trio.sleep(30)
        return Response()

    async with open_server(handler) as server:
        idle, busy = server.connect(), server.connect()
        await busy.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.sleep(5)
        text = render_tasks(connection_notes([server.listener]))
        await idle.aclose()
        await busy.aclose()
    lines = text.splitlines()
    assert any(line.endswith("[idle, 5.0 s old, 25.0 s left, 0 requests]") for line in lines)
    assert any(line.endswith("in handler  [in the handler, 5.0 s old, no deadline, 1 request]") for line in lines)
    assert any("main: clock @" in line for line in lines)
    assert any("main: accept on MemoryListener @" in line for line in lines)


@pytest.mark.parametrize(
    ("deadline", "requests", "text"),
    [
        (47.91, 3, "idle, 12.1 s old, 47.9 s left, 3 requests"),
        (float("inf"), 1, "idle, 12.1 s old, no deadline, 1 request"),
    ],
)
def test_a_connection_in_words(deadline: float, requests: int, text: str) -> None:
    assert describe(ConnectionInfo("memory", "idle", 12.11, deadline, requests, None)) == text
