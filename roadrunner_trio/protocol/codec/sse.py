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

MAX_ID: Final = 4096
"""Octets of the longest id: half of what a field line may have with the servers and proxies that take least."""
MAX_RETRY: Final = 2_147_483
"""Seconds, a little less than 25 days: in milliseconds they fit into 31 bits, which is what timers of browsers have."""

_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_lines = re.compile(r"\r\n|\r|\n").split


@dataclass(frozen=True, slots=True, init=False)
class ServerSentEvent:
    """One event, encoded once, however many peers it goes to.

    Args:
        data: the text; each of its lines, whether they end in CR, LF or CRLF, is a line of ``data``, and the peer gets
            them back with LF between. None sends the other fields only, and no event is dispatched.
        event: the event's type; without one, browsers call it ``message``.
        id: what the peer will give as ``Last-Event-ID`` when it comes again; ``""`` makes it forget the last one.
        retry: seconds, or ``"5s"``, after which the peer is to come again when the stream has ended, from now on; it is
            told in milliseconds.

    Raises:
        ValueError: nothing is given; a control character in ``event`` or ``id``, a line end among them, or a blank at
            an end; an ``id`` of more than 4,096 octets, which would be refused as a field when the peer comes again; a
            time that is negative, or more than 24 days; text that is not Unicode (a lone surrogate).
        TypeError: ``data`` or ``event`` is no str, ``id`` neither str nor int, or ``retry`` no number.
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
            if retry > MAX_RETRY:
                raise ValueError(f"an event's retry is a time of at most {MAX_RETRY} seconds, not {retry!r}")
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
        yield f"event: {_word('event', event)}\n"
    if id is not None:
        if len(_word("id", id).encode()) > MAX_ID:
            raise ValueError(f"an event's id has at most {MAX_ID} octets, for it comes back as a field: {id[:20]!r}...")
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


def _word(name: str, value: Any) -> str:
    """What peers give back, or compare: an id with a control character would be refused as a field when it comes, one
    with blanks around it would come without them."""
    text = _one_line(name, value)
    if found := _control(text):
        raise ValueError(f"an event's {name} has no NUL or other control character: {text!r} has {found[0]!r}")
    if text.strip(" ") != text:
        raise ValueError(f"an event's {name} has no blank at its ends, where some readers lose it: {text!r}")
    return text
