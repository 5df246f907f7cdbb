"""Logs: observers that write to standard :mod:`logging`.

:class:`AccessLog` writes a line for every request, :class:`ErrorLog` what went wrong; every listener has an error log,
its own unless it is given one. Both write to children of the logger ``roadrunner_trio``, so handlers, levels and
filters are the operator's, as for any library. A filter that raises costs a line, and not the log.

The record of an access line is made from a template. Most of what ``logger.info(...)`` costs goes into finding out who
called it, and into attributes that are the same every time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final, cast

import trio

from .. import units
from ..errors import HTTPError
from ..journal import Journal
from ..messages.request import Probe, Request
from ..transport.streams import shown
from ..units import Duration
from .access_lines import FORMATS, Render, Template
from .observe import (
    ConnectionRejected,
    ListenerClosed,
    ListenerDraining,
    Observer,
    Part,
    RequestAborted,
    RequestEnded,
    RequestRejected,
    RequestThrottled,
    ResponseSendFailed,
)

ACCESS: Final = "roadrunner_trio.access"
ERROR: Final = "roadrunner_trio.error"

PEER_LEFT: Final = 499
"""The status of a request whose peer did not wait for the response, as nginx has it."""


# -- the access log ------------------------------------------------------------------------------


class AccessLog(Observer):
    """A line for every request whose head was read, at its end. A head that is none is the :class:`ErrorLog`'s affair.

    Args:
        format: ``"text"``, ``"json"``, ``"logfmt"``, or a template such as
            ``'{peer} {method} {path} {status} {duration:.3f} "{header:user-agent}"'``.
        logger: where to; by default the logger ``roadrunner_trio.access``.
        level: at which level.

    The status is 499 when the peer left before it had its response. What is asked on ``health_path`` and answered
    200 is told at level DEBUG: it comes once a second, and says nothing. A record carries the event as
    ``record.event``, for handlers that want more than a line.

    Raises:
        ValueError: the template is wrong.
    """

    def __init__(
        self, format: str = "text", *, logger: logging.Logger | None = None, level: int = logging.INFO
    ) -> None:
        self.format = format
        self.logger = logger or logging.getLogger(ACCESS)
        self.level = level
        if format not in FORMATS and "{" not in format:
            raise ValueError(f"an access log is text, json, logfmt or a template with {{names}}, not {format!r}")
        self._render: Render = FORMATS.get(format) or Template(format)
        self._records = Records(self.logger.name, level)
        self._probes = Records(self.logger.name, logging.DEBUG)
        self._journal = Journal(self.logger)

    def __repr__(self) -> str:
        return f"AccessLog({self.format!r})"

    def request_stop(self, event: RequestEnded) -> None:
        """A request that was answered."""
        self._write(event, event.status, None)

    def request_exception(self, event: RequestEnded) -> None:
        """One that was not, or not to its end."""
        reason = type(event.error).__name__ if event.outcome == "error" else None
        self._write(event, PEER_LEFT if event.outcome == "gone" else event.status, reason)

    def request_rejected(self, event: RequestRejected) -> None:
        """One that was refused before the application was called."""
        if event.request is not None and not event.started:
            self._write(_unserved(event.request, "rejected", "body"), event.status, event.reason)

    def request_aborted(self, event: RequestAborted) -> None:
        """One that broke off before that."""
        if event.request is not None:
            outcome = "gone" if event.reason == "peer_gone" else event.reason
            status = PEER_LEFT if outcome == "gone" else event.status
            self._write(_unserved(event.request, outcome, "body"), status, None)

    def request_throttled(self, event: RequestThrottled) -> None:
        """One that was turned away before that."""
        self._write(_unserved(event.request, "throttled", "handler"), event.status, event.reason)

    def _write(self, event: RequestEnded, status: int | None, reason: str | None) -> None:
        level, records = self.level, self._records
        if event.request.endpoint.__class__ is Probe and status == 200:
            level, records = logging.DEBUG, self._probes
        try:
            if self.logger.isEnabledFor(level):
                record = records.make(self._render(event, status, reason))
                record.event, record.notation = event, self.format
                self.logger.handle(record)
        except BaseException as exc:
            self._journal.lose(exc)


def _unserved(request: Request, outcome: str, phase: Part) -> RequestEnded:
    return RequestEnded(request, None, "none", 0, 0, 0.0, cast("Any", outcome), phase)


class Records:
    """Makes the records of one logger and level quickly: what never changes is copied from the first.

    Args:
        name: of the logger.
        level: of the records.
    """

    def __init__(self, name: str, level: int) -> None:
        self._name = name
        self._level = level
        self._template: dict[str, Any] = {}

    def make(self, line: str) -> logging.LogRecord:
        """A record with ``line`` as its message."""
        if logging.getLogRecordFactory() is not logging.LogRecord:
            return self._slow(line)  # the application has its own
        if not self._template:  # not before the first: the process may have been forked since
            self._template = dict(self._slow("").__dict__)
        record = logging.LogRecord.__new__(logging.LogRecord)
        fields = record.__dict__
        fields.update(self._template)
        now = time.time()
        fields["msg"] = line
        fields["relativeCreated"] += (now - fields["created"]) * 1000
        fields["created"] = now
        fields["msecs"] = now * 1000 % 1000 // 1
        return record

    def _slow(self, line: str) -> logging.LogRecord:
        return logging.getLogRecordFactory()(self._name, self._level, __file__, 0, line, None, None, "access")


# -- the error log -------------------------------------------------------------------------------


class Damper:
    """So many lines in so many seconds, and a count of what was left out.

    Args:
        lines: how many.
        seconds: in how many, counted from the first.
    """

    def __init__(self, lines: int, seconds: float) -> None:
        self.left_out = 0
        self._lines = lines
        self._seconds = seconds
        self._room = lines
        self._until = 0.0

    def admits(self, now: float) -> bool:
        """Whether there is room for a line at ``now``, in Trio's time; it is taken, or counted as left out."""
        if now >= self._until:
            self._until, self._room = now + self._seconds, self._lines
        if self._room:
            self._room -= 1
            return True
        self.left_out += 1
        return False

    def take(self) -> int:
        """How many were left out since the last time."""
        left_out, self.left_out = self.left_out, 0
        return left_out


class ErrorLog(Observer):
    """What went wrong. A handler that failed is an error with its traceback, each time.

    What peers do wrong or do not wait for, and whom the server turns away, is told at ``level`` and in moderation:
    ``lines`` of each kind in ``seconds``. What was left out is counted, and the count told with the next line of its
    kind, and when the listener drains or closes.

    Args:
        logger: where to; by default the logger ``roadrunner_trio.error``.
        level: for what is not the application's fault.
        lines: of each kind,
        seconds: in this time; seconds, or ``"1m"``.

    Raises:
        ValueError: there would never be a line.
    """

    def __init__(
        self,
        *,
        logger: logging.Logger | None = None,
        level: int = logging.INFO,
        lines: int = 10,
        seconds: Duration = 10.0,
    ) -> None:
        self.logger = logger or logging.getLogger(ERROR)
        self.level = level
        try:
            self._lines, self._seconds = units.count("lines", lines), units.seconds("seconds", seconds)
        except ValueError as exc:
            raise ValueError(f"an error log takes at least one line in a time above 0: {exc}") from None
        self._journal = Journal(self.logger)
        self._dampers: dict[str, Damper] = {}

    def request_exception(self, event: RequestEnded) -> None:
        """A handler that failed."""
        if isinstance(event.error, HTTPError) and event.phase == "handler":
            return  # it could not be written; what stood in its way is another line, of the connection
        if event.outcome == "error":
            self._journal.error("the handler of %r failed", event.request, exc_info=event.error)

    def request_rejected(self, event: RequestRejected) -> None:
        """A peer that broke the protocol or a limit."""
        peer = shown(event.peer)
        self._log("rejected requests", "refused a request of %s: %s (%d)", peer, event.reason, event.status)

    def request_aborted(self, event: RequestAborted) -> None:
        """A peer that took too long; one that leaves is nobody's concern."""
        if event.reason == "timeout":
            peer = shown(event.peer)
            self._log("timeouts", "a request of %s took too long to come (%s)", peer, event.phase)

    def request_throttled(self, event: RequestThrottled) -> None:
        """A request that was turned away."""
        peer = shown(event.peer)
        self._log("throttled requests", "throttled a request of %s: %s (%d)", peer, event.reason, event.status)

    def response_send_failed(self, event: ResponseSendFailed) -> None:
        """A response that did not arrive."""
        self._log("failed sends", "the response to %r failed: %s (%s)", event.request, event.reason, event.phase)

    def listener_conn_rejected(self, event: ConnectionRejected) -> None:
        """A connection that was turned away."""
        self._log("rejected connections", "listener %r turned a connection away: %s", event.listener, event.reason)

    def listener_drain(self, event: ListenerDraining) -> None:
        """Tells what was left out, before it is too late."""
        self._settle()

    def listener_close(self, event: ListenerClosed) -> None:
        """The same."""
        self._settle()

    def _log(self, kind: str, message: str, *args: object) -> None:
        if not self.logger.isEnabledFor(self.level):
            return
        damper = self._dampers.setdefault(kind, Damper(self._lines, self._seconds))
        if not damper.admits(trio.current_time()):
            return
        if left_out := damper.take():
            message, args = message + "; %d %s before it were left out", (*args, left_out, kind)
        self._journal.log(self.level, message, *args)

    def _settle(self) -> None:
        for kind, damper in self._dampers.items():
            if left_out := damper.take():
                self._journal.log(self.level, "%d %s were left out of the log", left_out, kind)


def with_error_log(observers: Sequence[Observer]) -> Sequence[Observer]:
    """``observers``, and an error log before them unless they have one: a failing handler must not go unnoticed."""
    return observers if any(isinstance(each, ErrorLog) for each in observers) else (ErrorLog(), *observers)
