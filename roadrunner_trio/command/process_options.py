"""The rows of the table that are about processes."""

from __future__ import annotations

import math
from typing import Final

from .kinds import COUNT, OPTIONAL_COUNT, OPTIONAL_SIZE, SWITCH, TIME, texts_as
from .option import PROCESSES, Option

WORKERS: Final = (
    Option(
        name="workers",
        kind=COUNT,
        help="serve by so many processes, and supervise them",
        note="one, by itself",
        aliases=("-w",),
        group=PROCESSES,
        server=True,
        bounds="1 to 128",
        least=1,
        most=128,
    ),
    Option(
        name="preload",
        kind=SWITCH,
        help="import the application once and fork the workers, which then share its memory",
        default=False,
        group=PROCESSES,
        server=True,
    ),
    Option(
        name="max-requests",
        kind=OPTIONAL_COUNT,
        help="requests after which a worker is replaced, or up to a fifth earlier",
        note="none",
        group=PROCESSES,
        server=True,
    ),
    Option(
        name="worker-lifetime",
        kind=TIME,
        help="time after which a worker is replaced, or up to a fifth earlier",
        default=math.inf,
        group=PROCESSES,
        server=True,
        bounds="more than 0",
        positive=True,
    ),
    Option(
        name="worker-max-rss",
        kind=OPTIONAL_SIZE,
        help="memory with which a worker is replaced",
        note="none",
        group=PROCESSES,
        server=True,
    ),
    Option(
        name="worker-timeout",
        kind=TIME,
        help="time in which the loop of a worker has not turned, after which it is killed; it is told of after 10 s",
        default=math.inf,
        group=PROCESSES,
        server=True,
        bounds="at least 3 seconds, or none",
        least=3,
    ),
    Option(
        name="worker-startup-timeout",
        kind=TIME,
        help="time from the start of a worker until it serves, after which it is killed",
        default=120.0,
        group=PROCESSES,
        server=True,
        bounds="more than 0",
        positive=True,
    ),
    Option(
        name="give-up",
        kind=TIME,
        help="time without a worker that serves, after which the server ends; until then it tries again and again",
        default=60.0,
        group=PROCESSES,
        server=True,
    ),
)
"""How the processes of a server are; each is for those of a supervisor alone."""

RELOADING: Final = (
    Option(
        name="reload",
        kind=SWITCH,
        help="start anew when a file changes; what is there serves until the new one does",
        default=False,
        group=PROCESSES,
        server=True,
    ),
    Option(
        name="reload-dir",
        kind=texts_as("DIR"),
        help="where files are looked at; again for more",
        note="--app-dir",
        group=PROCESSES,
        server=True,
    ),
    Option(
        name="reload-include",
        kind=texts_as("PATTERN"),
        help="further files that count, besides Python's: a pattern as in a shell; again for more",
        group=PROCESSES,
        server=True,
    ),
    Option(
        name="dev",
        kind=SWITCH,
        help="for the author: --reload, and tracebacks in the browser on this machine",
        default=False,
        group=PROCESSES,
        server=True,
    ),
)
"""What an author wants while they write."""
