"""The line of an access log for one request: as text, JSON, logfmt, or after a template of the operator's own.

The three ready-made ones are single expressions, for they are built once a request; a template costs twice as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from string import Formatter
from typing import Final, TypeAlias

from ..printable import printable
from ..transport.streams import shown
from .log_lines import THIS, Value, json_text, logfmt_text, timestamp
from .observe import RequestEnded

Render: TypeAlias = Callable[[RequestEnded, int | None, str | None], str]
"""A line from an event, the status to show and the reason of a bad end."""


def text_line(event: RequestEnded, status: int | None, reason: str | None) -> str:
    """``peer "METHOD target HTTP/1.1" status received sent milliseconds request-id``, and how it broke, if it did."""
    request = event.request
    major, minor = request.version
    return (
        f'{shown(request.peer)} "{request.method} {printable(event.target)} HTTP/{major}.{minor}"'
        f" {status or '-'} {event.received} {event.sent} {event.duration * 1000:.1f}ms"
        f" {printable(request.request_id)}{_broken(event, reason)}"
    )


def json_access_line(event: RequestEnded, status: int | None, reason: str | None) -> str:
    """A JSON object with all of :data:`NAMES`; null for what there is not. A process that is alone is no worker."""
    request = event.request
    major, minor = request.version
    return (
        f'{{"time":"{timestamp(time.time())}","listener":{json_text(request.listener_name)}'
        f',"peer":{json_text(shown(request.peer))},"method":{json_text(request.method)}'
        f',"target":{json_text(event.target)},"path":{json_text(request.path)},"scheme":{json_text(request.scheme)},"version":"{major}.{minor}"'
        f',"status":{status or "null"},"received":{event.received},"sent":{event.sent}'
        f',"duration":{event.duration:.6f},"request_id":{json_text(request.request_id)}'
        f',"kind":{json_text(event.kind)},"outcome":"{event.outcome}"'
        f',"phase":{json_text(event.phase) if event.phase else "null"}'
        f',"reason":{json_text(reason) if reason else "null"}{THIS.json}}}'
    )


def logfmt_access_line(event: RequestEnded, status: int | None, reason: str | None) -> str:
    """``name=value`` for all of :data:`NAMES` that there is."""
    request = event.request
    major, minor = request.version
    return (
        f"time={timestamp(time.time())} listener={logfmt_text(request.listener_name)}"
        f" peer={logfmt_text(shown(request.peer))} method={request.method} target={logfmt_text(event.target)}"
        f" path={logfmt_text(request.path)} scheme={request.scheme} version={major}.{minor}"
        f"{f' status={status}' if status else ''} received={event.received} sent={event.sent}"
        f" duration={event.duration:.6f}"
        f" request_id={logfmt_text(request.request_id)} kind={logfmt_text(event.kind)} outcome={event.outcome}"
        f"{f' phase={event.phase}' if event.phase else ''}{f' reason={logfmt_text(reason)}' if reason else ''}"
        f"{THIS.logfmt}"
    )


def _broken(event: RequestEnded, reason: str | None) -> str:
    if event.phase is None:
        return ""
    return f" {event.outcome} in {event.phase}" + (f" ({printable(reason)})" if reason else "")


NAMES: Final[dict[str, Callable[[RequestEnded, int | None, str | None], Value]]] = {
    "time": lambda event, status, reason: timestamp(time.time()),
    "listener": lambda event, status, reason: event.listener,
    "peer": lambda event, status, reason: shown(event.peer),
    "method": lambda event, status, reason: event.method,
    "target": lambda event, status, reason: event.target,
    "path": lambda event, status, reason: event.path,
    "scheme": lambda event, status, reason: event.scheme,
    "version": lambda event, status, reason: ".".join(map(str, event.request.version)),
    "status": lambda event, status, reason: status,
    "received": lambda event, status, reason: event.received,
    "sent": lambda event, status, reason: event.sent,
    "duration": lambda event, status, reason: event.duration,
    "request_id": lambda event, status, reason: event.request_id,
    "kind": lambda event, status, reason: event.kind,
    "outcome": lambda event, status, reason: event.outcome,
    "phase": lambda event, status, reason: event.phase,
    "reason": lambda event, status, reason: reason,
    "worker": lambda event, status, reason: THIS.name or None,
}
"""What an access log can tell. A template can also have ``{header:name}``, a field of the request."""


class Template:
    """A line of the operator's own: text with ``{name}`` in it, as for ``str.format``.

    A name is one of :data:`NAMES`, or ``header:`` and the name of a request field. A number takes a format,
    ``{duration:.3f}``. What there is not is ``-``; text is escaped as in :func:`text_line`.

    Raises:
        ValueError: a brace is missing, a name is unknown, or a format does not fit.
    """

    def __init__(self, template: str) -> None:
        pieces: list[str] = []
        self._values: list[Render] = []
        for literal, name, spec, conversion in Formatter().parse(template):
            pieces.append(literal.replace("%", "%%"))
            if name is not None:
                if conversion:
                    raise ValueError(f"the access log cannot convert with !{conversion} in {template!r}")
                pieces.append("%s")
                self._values.append(_named(name, spec or ""))
        if not self._values:
            raise ValueError(f"the access log format {template!r} has no {{name}} in it; names are {', '.join(NAMES)}")
        self._line = "".join(pieces)

    def __call__(self, event: RequestEnded, status: int | None, reason: str | None) -> str:
        """The line."""
        return self._line % tuple([value(event, status, reason) for value in self._values])


def _named(name: str, spec: str) -> Render:
    if name == "header":
        if not spec:
            raise ValueError("write {header:user-agent}: a header in an access log format needs its name")
        return lambda event, status, reason: _shown(event.request.header(spec), "")
    if name not in NAMES:
        raise ValueError(f"there is no {{{name}}} in an access log; there are {', '.join(NAMES)} and header:...")
    value = NAMES[name]
    if spec and name not in ("duration", "status", "received", "sent"):
        raise ValueError(f"{{{name}}} is text in an access log and takes no format, not {spec!r}")
    if name == "peer":
        return lambda event, status, reason: shown(event.peer)  # which is printable, and escaped once
    format(1.5 if name == "duration" else 1, spec)  # a bad one fails here, not at the first request
    return lambda event, status, reason: _shown(value(event, status, reason), spec)


def _shown(value: Value, spec: str) -> str:
    if value is None:
        return "-"
    return printable(value) if isinstance(value, str) else format(value, spec)


FORMATS: Final[dict[str, Render]] = {"text": text_line, "json": json_access_line, "logfmt": logfmt_access_line}
