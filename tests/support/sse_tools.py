"""A second reader of server-sent events, written from WHATWG HTML section 9.2.6, as a browser reads them."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import NamedTuple


class Dispatched(NamedTuple):
    """What a page is given."""

    type: str
    data: str
    last_event_id: str


@dataclass
class Interpreter:
    """Reads a stream in pieces.

    Attributes:
        last_event_id: what would be sent as ``Last-Event-ID``.
        retry: the reconnection time in milliseconds, once the stream has set one.
        comments: the text of each comment.
    """

    last_event_id: str = ""
    retry: int | None = None

    def __post_init__(self) -> None:
        self.comments: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._begun = False
        self._rest = ""
        self._data = self._type = ""
        self._id = self.last_event_id

    def feed(self, octets: bytes) -> list[Dispatched]:
        """The events that are complete with these octets."""
        self._rest += self._decoder.decode(octets)
        if self._rest and not self._begun:
            self._begun, self._rest = True, self._rest.removeprefix("\ufeff")
        found: list[Dispatched] = []
        while (line := self._line()) is not None:
            if line:
                self._process(line)
            elif (event := self._dispatch()) is not None:
                found.append(event)
        return found

    def _line(self) -> str | None:
        """The next line; None while its end may still be in what has not come."""
        ends = [at for at in (self._rest.find("\r"), self._rest.find("\n")) if at >= 0]
        if not ends:
            return None
        end = min(ends)
        if self._rest[end:] == "\r":
            return None  # perhaps a LF follows
        line = self._rest[:end]
        self._rest = self._rest[end + (2 if self._rest[end : end + 2] == "\r\n" else 1) :]
        return line

    def _process(self, line: str) -> None:
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if colon and not field:
            self.comments.append(value)
        elif field == "event":
            self._type = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _dispatch(self) -> Dispatched | None:
        self.last_event_id = self._id
        data, kind = self._data, self._type
        self._data = self._type = ""
        if not data:
            return None
        return Dispatched(kind or "message", data.removesuffix("\n"), self.last_event_id)


def read(octets: bytes) -> list[Dispatched]:
    """All events of a stream."""
    return Interpreter().feed(octets)
