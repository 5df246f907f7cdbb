"""A pytest plugin: every connection reads by the thorough lane alone, as though the scanner took nothing.

Whatever holds with the scanner has to hold without it; ``nox -s thorough`` runs the suite so. Only processes that tests
start have the scanner all the same.
"""

from __future__ import annotations

from roadrunner_trio.protocol.http1.h11_engine import H11Engine
from roadrunner_trio.protocol.http1.scan import Seen
from roadrunner_trio.server import connection
from roadrunner_trio.settings import Limits


class ThoroughEngine(H11Engine):
    """The engine of h11, made as a connection makes the scanner's."""

    __slots__ = ()

    def __init__(self, limits: Limits, seen: Seen) -> None:
        super().__init__(limits)


connection.ScanEngine = ThoroughEngine


def pytest_report_header() -> str:
    """So that a run says what it was."""
    return "the scanner is off"
