"""What an operator sees a server by, made of the settings: its metrics, and its logs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import trio

from ..journal import log
from ..processes.board import RETIRED, Board
from ..server.listener import Listener
from ..server.shell import url
from ..settings import Limits, Timeouts
from ..telemetry import log_output
from ..telemetry.access_lines import FORMATS
from ..telemetry.logs import ACCESS, AccessLog
from ..telemetry.metrics import Metrics, metrics_handler
from ..telemetry.observe import Observer
from ..telemetry.snapshot import SIZE, Snapshot, merge, retired
from ..transport.bind import Bindable, listed
from .configuration import Values
from .explain import explain

FEW: Final = Limits(max_connections=64, max_body=0)
BRIEF: Final = Timeouts(request=10, handler=10)


WIDTH: Final = SIZE // 8
"""Numbers of 64 bits that a worker's metrics take on the board."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What it takes to measure listeners; nothing where nobody asked for it.

    Attributes:
        observers: of all listeners.
        listeners: where the metrics are told.
    """

    observers: Sequence[Metrics] = ()
    listeners: Sequence[Listener] = ()


def measured(server: Values) -> Measured:
    """What ``--metrics`` asks for: a listener of its own, so that no peer of the application finds it.

    Raises:
        ValueError: that is no address.
    """
    metrics = Metrics()
    place = metrics_place(server)
    return Measured([metrics], [metrics_listener(place, metrics.snapshot)]) if place else Measured()


def metrics_place(server: Values) -> list[Bindable] | None:
    """Where metrics are to be told; None when nobody asks for them.

    Raises:
        ValueError: that is no address.
    """
    address: str | None = server["metrics"]
    if address is None:
        return None
    try:
        return listed(address)
    except ValueError as exc:
        raise ValueError(f"{server.where('metrics')}: {exc}") from None


def metrics_listener(place: list[Bindable], source: Callable[[], Snapshot]) -> Listener:
    """The listener that tells them."""
    return Listener(metrics_handler(source), bind=place, name="metrics", limits=FEW, timeouts=BRIEF)


class Sum:
    """The metrics of several processes as one, of whom one that has gone counts with what it has counted.

    Args:
        place: where they are told; None when nobody asks for them.
        board: which the processes share: its first row is nobody's, and so a successor finds there what was kept.
    """

    def __init__(self, place: list[Bindable] | None, board: Board) -> None:
        self._place = place
        self._board = board
        self._last: dict[int, Snapshot] = {}

    def retire(self, numbers: memoryview) -> None:
        """A process has gone: what it has counted still counts."""
        if (last := Snapshot.unpack(numbers)) is not None:
            merge([self._kept(), retired(last)]).pack_into(self._board.row(RETIRED).numbers)

    def _kept(self) -> Snapshot:
        return Snapshot.unpack(self._board.row(RETIRED).numbers) or Snapshot()

    def snapshot(self, living: Mapping[int, memoryview]) -> Snapshot:
        """All together. Of a process that is about to write there is what it wrote before.

        Args:
            living: the numbers of those that are there, each by the number of its process.
        """
        read = {process: Snapshot.unpack(numbers) for process, numbers in living.items()}
        found = {process: snapshot or self._last.get(process) for process, snapshot in read.items()}
        self._last = {process: snapshot for process, snapshot in found.items() if snapshot is not None}
        return merge([self._kept(), *self._last.values()])

    async def tell(self, living: Callable[[], Mapping[int, memoryview]]) -> None:
        """Tells them, until it is cancelled; what stands in its way is logged, and ends nothing else."""
        if self._place is None:
            return
        try:
            await metrics_listener(self._place, lambda: self.snapshot(living())).serve()
        except (OSError, ExceptionGroup) as exc:
            log.error("there are no metrics: %s", explain(system_error(exc)))


async def begin(beside: Sequence[Listener], nursery: trio.Nursery, refuse: Callable[[str], int]) -> int:
    """Has listeners serve; returns an exit status if one cannot, else 0."""
    for listener in beside:
        try:
            await nursery.start(listener.serve, name=f"{listener.name}: listener")
        except (OSError, ExceptionGroup) as exc:
            return refuse(explain(system_error(exc)))
        log.info("%s at %s", listener.name, ", ".join(url(each, tls=False) for each in listener.addresses))
    return 0


def system_error(exc: Exception) -> OSError:
    """What the system has said, also where several tasks have heard it.

    Raises:
        ExceptionGroup: something else has gone wrong.
    """
    found = exc
    while isinstance(found, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", found)
        if group.split(OSError)[1] is not None:
            break
        found = group.exceptions[0]
    if not isinstance(found, OSError):
        raise exc
    return found


# -- logs ----------------------------------------------------------------------------------------


def access_log_format(server: Values) -> str:
    """That of the access log, or else that of all logs.

    Raises:
        ValueError: it is none.
    """
    name = "access-log-format" if server.has("access-log-format") else "log-format"
    format: str = server[name]
    if format.lower() in FORMATS:
        format = format.lower()
    try:
        AccessLog(format)
    except ValueError as exc:
        raise ValueError(f"{server.where(name)}: {exc}") from None
    return format


def told(server: Values) -> list[Observer]:
    """Who is told what the listeners do: the access log, and whoever traces.

    Raises:
        ValueError: the format of the log is none, or what traces is not there.
    """
    observers: list[Observer] = [AccessLog(access_log_format(server))] if server["access-log"] else []
    if server["otel"]:
        from ..telemetry.tracing import Tracing  # it is for few

        try:
            observers.append(Tracing())
        except ImportError as exc:
            raise ValueError(f"{server.where('otel')}: {exc}") from None
    return observers


def configure_logging(server: Values) -> None:
    """As a file of the operator's says, before the application is imported.

    Raises:
        ValueError: it cannot be read, or does not say what :mod:`logging.config` understands.
    """
    path: str | None = server["log-config"]
    if path is None:
        return
    import logging.config  # for few, and it brings pickle and a server of sockets along
    import tomllib

    try:
        if path.endswith(".json"):
            logging.config.dictConfig({"disable_existing_loggers": False, **json.loads(_text(path))})
        elif path.endswith(".toml"):
            logging.config.dictConfig({"disable_existing_loggers": False, **tomllib.loads(_text(path))})
        elif path.endswith((".yaml", ".yml")):
            raise ValueError("YAML is not read: write the same as .toml or .json")
        else:
            logging.config.fileConfig(io.StringIO(_text(path)), disable_existing_loggers=False)
    except Exception as exc:  # also of handlers, which are the operator's, and raise what they like
        why = exc.strerror if isinstance(exc, OSError) else f"{exc}{f' ({exc.__cause__})' if exc.__cause__ else ''}"
        raise ValueError(f"{server.where('log-config')} {path}: {why or type(exc).__name__}") from None


def _text(path: str) -> str:
    return Path(path).read_text("utf-8")


def start_logging(server: Values, *, serves: bool = True) -> None:
    """To standard error, unless the application set up logging of its own when it was imported.

    Args:
        serves: whether this process answers requests. A supervisor does not, and so logs plainly whatever a file says,
            which may name classes of the application; nor does it open the file of the access log, which it would keep
            from being given up when it has been put away.

    Raises:
        ValueError: the file of the access log cannot be opened, or nothing is to be written to it.
    """
    level: str = server["log-level"].upper()
    if not serves or server["log-config"] is None:
        log_output.start_logging(server["log-format"], level)
        log.logger.setLevel(level)
        if server["dev"] and server["log-format"] == "text":
            log_output.colour_terminal()
    path: str | None = server["access-log-file"]
    if path is None:
        return
    if not server["access-log"]:
        raise ValueError(f"{server.where('access-log-file')} does nothing without an access log")
    if not serves:
        return
    try:
        log_output.log_apart(ACCESS, path, server["log-format"])
    except OSError as exc:
        raise ValueError(f"{server.where('access-log-file')} {path}: {exc.strerror}") from None


def end_logging(status: int) -> None:
    """The last record, for those who do not see how a process ends."""
    if not log_output.speaks_text():
        log.info("ended, with exit status %d", status)
