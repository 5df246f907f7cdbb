"""Where every task waits, as text: the tree of nurseries, one line a task.

Knows only Trio. Whoever has more to say about a task, as a listener has about its connections, gives it as a
mapping from task to words.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import CodeType, FrameType
from typing import Final

import trio

from ..printable import visible

MACHINERY: Final = frozenset(sys.stdlib_module_names) | {"trio", "outcome"}
"""Top-level packages whose frames do not tell a reader where a task waits."""


def render_tasks(notes: Mapping[trio.lowlevel.Task, str] | None = None, root: trio.lowlevel.Task | None = None) -> str:
    """The tasks from ``root`` down, each below the one that awaits it: name, where it waits, note.

    Args:
        notes: more about some of the tasks, put at the end of their lines.
        root: the task to begin with; None is everything in this Trio run except Trio's own tasks.

    Raises:
        RuntimeError: called outside Trio.
    """
    first = root if root is not None else trio.lowlevel.current_root_task()
    if first is None:
        raise RuntimeError("the Trio run has no tasks yet")
    known: Mapping[trio.lowlevel.Task, str] = {} if notes is None else notes
    shown = [first] if root is not None else _visible(children_of(first))
    lines = [line for task in shown for line in _lines(task, known)]
    count = f"{len(lines)} task{'' if len(lines) == 1 else 's'}"
    return "\n".join([count, *lines]) + "\n"


def stack_of(task: trio.lowlevel.Task) -> str:
    """Where ``task`` is suspended, outermost frame first: ``site/app.py:12 in handler > site/db.py:7 in get``."""
    return _steps(list(_frames(task)))


def stack_of_thread(thread: threading.Thread, frame: FrameType | None = None) -> str:
    """Where ``thread`` is, in the same words, also while it runs; ``frame`` is its innermost that counts."""
    frame = frame or sys._current_frames().get(thread.ident or 0)  # pyright: ignore[reportPrivateUsage]  # documented
    frames: list[tuple[FrameType, int]] = []
    while frame is not None:
        frames.append((frame, frame.f_lineno or 0))
        frame = frame.f_back
    return _steps(frames[::-1])


def step_of_loop(thread: threading.Thread) -> FrameType | None:
    """The outermost frame of the task that Trio's loop, in ``thread``, is at, or of what else it does.

    As long as one task blocks the loop it is the same object.
    """
    frame = sys._current_frames().get(thread.ident or 0)  # pyright: ignore[reportPrivateUsage]  # documented
    while frame is not None and (caller := frame.f_back) is not None:
        if caller.f_code.co_name == "unrolled_run" and caller.f_globals.get("__name__") == "trio._core._run":
            return frame
        frame = caller
    return None


def _steps(frames: list[tuple[FrameType, int]]) -> str:
    telling = [step for step in frames if not _is_machinery(step[0])]
    return " > ".join(_place(*step) for step in telling or frames) or "nowhere"


def _lines(top: trio.lowlevel.Task, notes: Mapping[trio.lowlevel.Task, str]) -> Iterator[str]:
    """A loop and no recursion: a tree of nurseries may be deeper than Python's stack.

    A line is one task's, whatever an application or a peer has put into its name.
    """
    waiting = [(top, 1)]
    while waiting:
        task, depth = waiting.pop()
        note = notes.get(task)
        yield "  " * depth + visible(task.name + " @ " + waits_at(task) + (f"  [{note}]" if note else ""))
        waiting += [(child, depth + 1) for child in reversed(children_of(task))]


def children_of(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    """The tasks in a task's nurseries, by name."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return sorted(children, key=lambda child: child.name)  # a nursery keeps a set: without order, no two dumps compare


def _visible(tasks: Iterable[trio.lowlevel.Task]) -> list[trio.lowlevel.Task]:
    return [task for task in tasks if not is_trios_own(task)]


def is_trios_own(task: trio.lowlevel.Task) -> bool:
    """Whether it is one of those that Trio itself keeps."""
    code: CodeType | None = getattr(task.coro, "cr_code", None)
    home = os.path.dirname(trio.lowlevel.spawn_system_task.__code__.co_filename)
    return code is not None and code.co_filename.startswith(home + os.sep)


def waits_at(task: trio.lowlevel.Task) -> str:
    """The innermost frame outside Trio and the standard library; else the function the task began with."""
    frames = list(_frames(task))
    telling = [step for step in frames if not _is_machinery(step[0])]
    return _place(*(telling[-1:] or frames[:1])[0]) if frames else "nowhere"


def _frames(task: trio.lowlevel.Task) -> Iterator[tuple[FrameType, int]]:
    # Trio may raise TypeError at an awaitable it cannot look into, such as one from an extension module; the
    # frames up to there are still worth showing.
    with suppress(TypeError):
        yield from task.iter_await_frames()


def _is_machinery(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in MACHINERY


def _place(frame: FrameType, line: int) -> str:
    """The file from its top-level package down, or with its folder where it is in none."""
    code, module = frame.f_code, str(frame.f_globals.get("__name__", ""))
    file = os.sep.join(code.co_filename.split(os.sep)[-max(2, module.count(".") + 1) :])
    return f"{file}:{line} in {code.co_name}"
