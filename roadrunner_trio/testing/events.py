"""Server-sent events as their reader understands them (HTML standard, section 9.2.6)."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

_END_OF_LINE: Final = re.compile(r"\r\n|\n|\r(?!$)")
"""A CR at the very end may be half of a CRLF."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as a browser would dispatch it.

    Attributes:
        data: its lines, joined.
        event: its type.
        id: the last id that was seen, of this event or of one before.
        retry: seconds after which to come again, where the stream has said so by now.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: float | None = None


class EventReader:
    """Makes events of octets, in whatever pieces they come."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text, self._begun = "", False
        self._data: list[str] = []
        self._event, self._id = "", ""
        self._retry: float | None = None

    def feed(self, octets: bytes) -> Iterator[ReceivedEvent]:
        """The events that are complete by now."""
        text = self._decode(octets)
        if text and not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        *lines, self._text = _END_OF_LINE.split(self._text + text)
        for line in lines:
            if line:
                self._take(*_parted(line))
            elif self._data:
                yield ReceivedEvent("\n".join(self._data), self._event or "message", self._id, self._retry)
            if not line:
                self._data, self._event = [], ""

    def _take(self, name: str, value: str) -> None:
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry = int(value) / 1000
            case _:
                pass  # a comment has no name


def _parted(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")


class ReceivedEvents:
    """The events in a body, one after the other, as they come."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces, self._reader = pieces, EventReader()
        self._ready = deque[ReceivedEvent]()

    def __aiter__(self) -> ReceivedEvents:
        return self

    async def __anext__(self) -> ReceivedEvent:
        while not self._ready:
            self._ready.extend(self._reader.feed(await anext(self._pieces)))
        return self._ready.popleft()
