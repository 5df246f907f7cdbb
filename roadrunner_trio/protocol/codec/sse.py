"""Server-sent events as octets (WHATWG HTML, section 9.2): what is put on the wire can be read in one way only."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

from ...units import Duration, seconds

HEARTBEAT: Final = b":\n\n"
"""A comment without text: browsers drop it, proxies see life."""

_lines = re.compile(r"\r\n|\r|\n").split


@dataclass(frozen=True, slots=True, init=False)
class ServerSentEvent:
    """One event, encoded once, however many peers it goes to.

    Args:
        data: the text; each of its lines, whether they end in CR, LF or CRLF, is a line of ``data``, and the peer gets
            them back with LF between. None sends the other fields only, and no event is dispatched.
        event: the event's type; without one, browsers call it ``message``.
        id: what the peer will give as ``Last-Event-ID`` when it comes again; ``""`` makes it forget the last one.
        retry: seconds, or ``"5s"``, after which the peer is to come again when the stream has ended, from now on.

    Raises:
        ValueError: nothing is given; a line end in ``event`` or ``id``; NUL in ``id``, which peers would ignore; a time
            that is negative or not finite; text that is not Unicode (a lone surrogate).
        TypeError: ``data`` or ``event`` is no str, or ``id`` neither str nor int.
    """

    data: str | None
    event: str | None
    id: str | None
    retry: float | None
    encoded: bytes = field(repr=False, compare=False)

    def __init__(
        self,
        data: str | None = None,
        *,
        event: str | None = None,
        id: str | int | None = None,
        retry: Duration | None = None,
    ) -> None:
        if retry is not None:
            retry = seconds("an event's retry", retry, zero=True, endless=False)
        if type(id) is int:
            id = str(id)
        lines = "".join((*_fields(event, id, retry), *_data(data)))
        if not lines:
            raise ValueError("an event has data, a type, an id or a retry")
        values = {"data": data, "event": event, "id": id, "retry": retry, "encoded": f"{lines}\n".encode()}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def json(
        cls, value: Any, *, event: str | None = None, id: str | int | None = None, retry: Duration | None = None
    ) -> Self:
        """An event whose data is JSON, compact.

        Raises:
            TypeError, ValueError: as :func:`json.dumps`; NaN and infinities are no JSON and refused.
        """
        data = json_module.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return cls(data, event=event, id=id, retry=retry)


def comment(text: str) -> bytes:
    """A comment of one line, which peers drop.

    Raises:
        ValueError: a line end.
    """
    return f": {_one_line('comment', text)}\n\n".encode()


def _fields(event: Any, id: Any, retry: float | None) -> Iterator[str]:
    if event is not None:
        yield f"event: {_one_line('event', event)}\n"
    if id is not None:
        if "\0" in _one_line("id", id):
            raise ValueError(f"an event's id has no NUL: {id!r}")
        yield f"id: {id}\n"
    if retry is not None:
        yield f"retry: {round(retry * 1000)}\n"


def _data(data: Any) -> list[str]:
    return [] if data is None else [f"data: {line}\n" for line in _lines(_text("data", data))]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an event's {name} is str, not {type(value).__name__}")
    return value


def _one_line(name: str, value: Any) -> str:
    text = _text(name, value)
    if "\n" in text or "\r" in text:
        raise ValueError(f"an event's {name} is one line: {text!r}")
    return text
