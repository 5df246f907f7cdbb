"""SIGUSR1: every task, and where it waits."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence

import trio

from ..server.listener import Listener
from ..server.listener_info import ConnectionInfo
from ..telemetry.log_lines import THIS
from ..transport.dump import render_tasks
from ..transport.stdio import tell
from .explain import PROGRAM


async def dump_on_signal(
    listeners: Sequence[Listener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Prints every task to standard error whenever SIGUSR1 comes."""
    with trio.open_signal_receiver(signal.SIGUSR1) as received:
        task_status.started()
        async for _ in received:
            try:
                text = (f"worker {THIS.name}: " if THIS.name else "") + render_tasks(connection_notes(listeners))
            except Exception as exc:  # an awaitable that cannot be looked into, a name that is none
                text = f"{PROGRAM}: the tasks cannot be shown: {type(exc).__name__}\n"
            await trio.to_thread.run_sync(tell, text, abandon_on_cancel=True)  # somebody may have to read first


def connection_notes(listeners: Sequence[Listener]) -> dict[trio.lowlevel.Task, str]:
    """What listeners know of the tasks that serve their connections."""
    connections = [each for listener in listeners for each in listener.connections()]
    return {each.task: describe(each) for each in connections if each.task is not None}


def describe(connection: ConnectionInfo) -> str:
    """A connection in a few words: ``idle, 12.1 s old, 47.9 s left, 3 requests``."""
    left = "no deadline" if connection.deadline == math.inf else f"{connection.deadline:.1f} s left"
    many = "" if connection.requests == 1 else "s"
    return f"{connection.phase}, {connection.age:.1f} s old, {left}, {connection.requests} request{many}"
