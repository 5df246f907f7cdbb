"""``--reload``: which files count, and who is told when they change.

What watches is ``watchfiles``, an extra: the system tells it, so nothing is polled. Changes that come in a row are one.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any, Final

import trio

from ..errors import StartupError
from ..journal import log

EXTRA: Final = "pip install 'roadrunner-trio[reload]'"
SHOWN: Final = 3
"""Names of files in a line of the log."""


def watcher() -> Any:
    """What watches.

    Raises:
        StartupError: it is not installed.
    """
    try:
        import watchfiles
    except ImportError:
        raise StartupError(f"to reload needs watchfiles: {EXTRA}") from None
    return watchfiles


def counts(path: str, patterns: Sequence[str]) -> bool:
    """Whether a change of this file is one: it is Python, or its name fits a pattern."""
    name = os.path.basename(path)
    return name.endswith(".py") or any(fnmatch(name, pattern) for pattern in patterns)


async def watch(folders: Sequence[str], patterns: Sequence[str], changed: Callable[[str], None]) -> None:
    """Calls ``changed`` with the names of files that have, for ever.

    Raises:
        StartupError: watchfiles is not installed.
    """
    watchfiles = watcher()
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what has changed is told by us, by name
    usual, enough = watchfiles.DefaultFilter(), threading.Event()

    def matters(change: Any, path: str) -> bool:
        return usual(change, path) and counts(path, patterns)

    async def end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            enough.set()  # it waits in a thread, which looks for this

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        try:
            watched = watchfiles.awatch(
                *folders, watch_filter=matters, stop_event=enough, ignore_permission_denied=True
            )
            async for changes in watched:
                changed(named([path for _, path in changes]))
        except Exception as exc:  # what it raises is its own, and not its base's, also when the system has said no
            log.error("files are not watched, and changes not seen: %s", exc)


def _near(path: str) -> str:
    try:
        return os.path.relpath(path)
    except OSError:  # the current directory has been removed
        return path


def named(paths: Sequence[str]) -> str:
    """Some files, in a few words."""
    names = sorted(set(map(_near, paths)))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
