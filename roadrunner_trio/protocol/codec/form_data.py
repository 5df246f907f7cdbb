"""Forms as octets (WHATWG HTML section 4.10.21, RFC 7578): urlencoded, and the events of ``multipart/form-data``.

The parts are found by the library `multipart <https://multipart.readthedocs.io>`_, an extra; what of them is too much,
or what two readers could take for different things, is judged here.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, cast
from urllib.parse import unquote_to_bytes

from ...units import Size, count, octets, optional_octets
from .media import MediaType, parse_media_type, parse_parameters
from .uri import parse_query

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
MISSING: Final = "reading multipart forms needs the library multipart: pip install 'roadrunner-trio[forms]'"
PREAMBLE: Final = 1024
"""Octets before the first part; nobody needs any."""
LONGEST_BOUNDARY: Final = 70
CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252"})

_boundary = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]").fullmatch
_extended = re.compile(r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'(.*)", re.IGNORECASE).fullmatch
_control = re.compile(r"[\x00-\x1f\x7f]").search


class FormError(Exception):
    """A form is none, or too much of one.

    Args:
        status: 400, 413 or 415.
        reason: for the peer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLimits:
    """How much of a form is read; beyond that it is answered with 413. The limit of the body stands besides.

    Attributes:
        fields: of them that are no files.
        files: of them.
        field_size: octets of a field; all fields of an urlencoded form together have 16 times as many.
        file_size: octets of a file; None is the body's limit.
        name_size: characters of a field's name or a file's.
        headers: lines before a part.
        header_size: octets of such a line.
        in_memory: octets of a file that are kept in memory; what is larger goes to the disk.

    Raises:
        ValueError: a limit is none.
    """

    fields: int = 1000
    files: int = 100
    field_size: Size = 65536
    file_size: Size | None = None
    name_size: int = 256
    headers: int = 8
    header_size: Size = 4096
    in_memory: Size = 262144

    def __post_init__(self) -> None:
        for name in ("fields", "files", "headers", "name_size"):
            count(name, getattr(self, name), least=0)
        for name in ("field_size", "header_size", "in_memory"):
            object.__setattr__(self, name, octets(name, getattr(self, name), least=0))
        object.__setattr__(self, "file_size", optional_octets("file_size", self.file_size, least=0))


class PartHead(NamedTuple):
    """What is said before a part.

    Attributes:
        name: of the field.
        filename: the name alone, never a path; None where the part is no file.
        media_type: of a file, without parameters; ``""`` where nobody says.
        charset: of a field.
    """

    name: str
    filename: str | None
    media_type: str
    charset: str


Event: TypeAlias = PartHead | bytes | None
"""The beginning of a part, a piece of it, or its end."""


def parse_urlencoded(body: bytes, limits: FormLimits) -> list[tuple[str, str]]:
    """The names and values of an urlencoded form, in order; what is no UTF-8 stays as it was sent.

    Raises:
        FormError: there is too much of it.
    """
    if body.count(b"&") >= limits.fields and sum(map(bool, body.split(b"&"))) > limits.fields:
        raise FormError(413, "the form has too many fields")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    pairs = [(name, "" if value is True else value) for name, value in parse_query(text)]
    most = cast("int", limits.field_size)
    for name, value in pairs:
        _check_name(name, limits)
        if len(value) > most:
            raise FormError(413, "a field of the form is too large")
    return pairs


def boundary_of(kind: MediaType) -> str:
    """The boundary of a multipart form (RFC 2046 section 5.1.1).

    Raises:
        FormError: it has none that is one.
    """
    boundary = kind.parameters.get("boundary", "")
    if _boundary(boundary) is None or len(boundary) > LONGEST_BOUNDARY:
        raise FormError(400, "the form does not say what lies between its parts, or not in 1 to 70 proper characters")
    return boundary


class PartReader:
    """Finds the parts of a multipart form.

    Args:
        boundary: what lies between the parts.
        limits: how much is read.

    Raises:
        RuntimeError: the library is not there; the message says what to type.
    """

    def __init__(self, boundary: str, limits: FormLimits) -> None:
        try:
            library: Any = importlib.import_module("multipart")
        except ImportError:
            raise RuntimeError(MISSING) from None
        self._parser: Any = library.PushMultipartParser(
            boundary,
            max_header_size=limits.header_size,
            max_header_count=limits.headers,
            max_segment_count=limits.fields + limits.files,
        )
        self._too_much: type[Exception] = library.ParserLimitReached
        self._wrong: type[Exception] = library.MultipartError
        self._limits = limits
        self._opening = b"--" + boundary.encode("ascii")
        self._before: bytes | None = b""
        self._fields = self._files = 0
        self._left: int | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """What the next octets make; to be taken to its end before the next call. No octets are the end of the form.

        Raises:
            FormError: it is no form, or too much of one.
        """
        if self._before is not None:
            self._look_for_the_first(data)
        try:
            for event in self._parser.parse(data):
                yield self._judged(event)
        except self._too_much as exc:
            raise FormError(413, f"the form is too much: {_lower(exc)}") from None
        except self._wrong as exc:
            raise FormError(400, f"the form is none: {_lower(exc)}") from None

    def _look_for_the_first(self, data: bytes) -> None:
        most = PREAMBLE + len(self._opening)
        before = (self._before or b"") + data[:most]
        if self._opening in before[:most]:
            self._before = None
        elif len(before) >= most:
            raise FormError(400, "the form is none: too much stands before its first part")
        else:
            self._before = before

    def _judged(self, event: Any) -> Event:
        if event is None:
            return None
        if isinstance(event, bytes | bytearray):
            if self._left is not None:
                self._left -= len(event)
                if self._left < 0:
                    raise FormError(413, "a part of the form is too large")
            return bytes(event)
        said = [name for name, _ in event.headerlist]
        if len(said) != len(set(said)):
            raise FormError(400, "the form is none: a part says something twice")
        head = part_head(event.header("Content-Disposition", ""), event.header("Content-Type", ""), self._limits)
        self._count(head)
        return head

    def _count(self, head: PartHead) -> None:
        limits = self._limits
        if head.filename is None:
            self._fields += 1
            self._left = cast("int", limits.field_size)
        else:
            self._files += 1
            self._left = cast("int | None", limits.file_size)
        if self._fields > limits.fields or self._files > limits.files:
            raise FormError(413, "the form has too many fields, or files")


def part_head(disposition: str, content_type: str, limits: FormLimits) -> PartHead:
    """What is said of a part in its header lines.

    Raises:
        FormError: it has no name, or two; or it is itself of many parts, or in a charset that nobody knows.
    """
    kind, semicolon, rest = disposition.partition(";")
    said = parse_parameters((semicolon + rest).encode("utf-8"))
    if kind.strip().lower() != "form-data" or said is None or "name" not in said:
        raise FormError(400, "the form is none: a part has no name, or says something twice")
    said = {name: _text(value) for name, value in said.items()}
    media = parse_media_type(content_type.encode("utf-8")) if content_type else None
    if media is not None and media.name.startswith("multipart/"):
        raise FormError(400, "the form is none: a part is itself of many parts")
    charset = "utf-8" if media is None else media.parameters.get("charset", "utf-8").lower()
    filename = _filename(said)
    if filename is None and charset not in CHARSETS:
        raise FormError(400, f"a field of the form is in {charset[:40]!r}, which is not read here")
    name = _unescaped(said["name"])
    _check_name(name, limits)
    if filename is not None:
        _check_name(filename, limits)
    return PartHead(name, filename, "" if media is None else media.name, charset)


def _text(value: str) -> str:
    """A parameter as it was sent, in UTF-8."""
    return value.encode("latin-1").decode("utf-8", "replace")


def _unescaped(text: str) -> str:
    """Browsers escape three characters, and nothing else (WHATWG HTML, multipart form data)."""
    return text.replace("%0A", "\n").replace("%0D", "\r").replace("%22", '"')


def _filename(said: dict[str, str]) -> str | None:
    """The name alone, whatever folders stand before it; ``""`` is a file that was not chosen."""
    if "filename*" in said:  # RFC 7578 section 4.2 has none, some clients have
        if "filename" in said:
            raise FormError(400, "the form is none: a file has two names")
        match = _extended(said["filename*"])
        if match is None:
            raise FormError(400, "the form is none: a file has a name that cannot be read")
        name = unquote_to_bytes(match[2]).decode(match[1], "replace")
    elif "filename" in said:
        name = _unescaped(said["filename"])
    else:
        return None
    name = re.split(r"[/\\]", name)[-1]
    if _control(name):
        raise FormError(400, "the form is none: the name of a file has a control character in it")
    return "" if name in (".", "..") else name


def _check_name(name: str, limits: FormLimits) -> None:
    if len(name) > limits.name_size:
        raise FormError(413, "a name in the form is too long")
    if "\0" in name:
        raise FormError(400, "the form is none: a name has NUL in it")


def _lower(exc: Exception) -> str:
    text = str(exc.args[0]) if exc.args else type(exc).__name__
    return text[:1].lower() + text[1:]
