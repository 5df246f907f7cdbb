"""Forms as applications see them: all at once, or part by part as they come."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import HTTPError
from ..protocol.codec.form_data import (
    MULTIPART,
    URLENCODED,
    Event,
    FormError,
    FormLimits,
    PartHead,
    PartReader,
    boundary_of,
    parse_urlencoded,
)
from ..protocol.codec.media import parse_media_type
from ..transport.spool import Destination, Spool
from .params import Params

NextPiece = Callable[[], Awaitable[bytes]]
"""The next piece of a body; ``b""`` at its end."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class UploadedFile:
    """A file of a form, in memory or on the disk. It goes with its last reference, and leaves nothing behind.

    Attributes:
        filename: as the peer calls it, never a path; fit to be shown, not to be a file's name here.
        media_type: as the peer calls it, ``"image/png"``; ``""`` where it does not.
        size: octets.
    """

    __slots__ = ("_spool", "filename", "media_type")

    def __init__(self, head: PartHead, spool: Spool) -> None:
        self.filename = head.filename or ""
        self.media_type = head.media_type
        self._spool = spool

    def __repr__(self) -> str:
        return f"<UploadedFile {self.filename!r} of {self.size}>"

    @property
    def size(self) -> int:
        """Octets."""
        return self._spool.size

    @property
    def on_disk(self) -> bool:
        """Whether it is too large to be kept in memory."""
        return self._spool.on_disk

    async def read(self) -> bytes:
        """All of it; in a thread if it is on the disk."""
        return await self._spool.read()

    def pieces(self) -> AsyncIterator[bytes]:
        """All of it, in pieces of up to 256 KiB."""
        return self._spool.pieces()

    async def save(self, path: str | os.PathLike[str]) -> None:
        """Copies it into a file, which is there whole or not at all; one that was there is replaced.

        Args:
            path: never made of the peer's ``filename`` unchecked.

        Raises:
            OSError: it cannot be written.
        """
        await self._spool.save(path)


class Form(Params):
    """The fields of a form, as a mapping to the first value of each name; and its files.

    Attributes:
        pairs: every name and value of a field, in order.
        files: every name and file, in order.
    """

    __slots__ = ("files",)

    def __init__(self, pairs: list[tuple[str, str]], files: list[tuple[str, UploadedFile]]) -> None:
        super().__init__(pairs)
        self.files = files

    def __repr__(self) -> str:
        return f"Form({self.pairs!r}, {self.files!r})"

    def file(self, name: str) -> UploadedFile | None:
        """The first file of that name, or None; of a file that was not chosen nothing is known."""
        return next((file for key, file in self.files if key == name), None)


class Part:
    """A part of a form while it comes: take it before you go on to the next, or leave it.

    Attributes:
        name: of the field.
        filename: as the peer calls it, never a path; None for a field.
        media_type: of a file, ``""`` where nobody says.
        charset: of a field.
    """

    __slots__ = ("_parts", "charset", "filename", "media_type", "name")

    def __init__(self, parts: Parts, head: PartHead) -> None:
        self._parts = parts
        self.name, self.filename, self.media_type, self.charset = head

    def __repr__(self) -> str:
        return f"<Part {self.name!r}{'' if self.filename is None else f' with {self.filename!r}'}>"

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._parts.piece_of(self)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def read(self) -> bytes:
        """What is left of it.

        Raises:
            HTTPError, ProtocolError, BodyTimeout, PeerGone, RuntimeError: as :meth:`Request.parts`.
        """
        gathered = bytearray()
        async for piece in self:
            gathered += piece
        return bytes(gathered)

    async def text(self) -> str:
        """What is left of it, decoded.

        Raises:
            HTTPError: 400, when it is not in its charset; or as :meth:`read`.
        """
        return _decoded(await self.read(), self.charset)

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Writes what is left of it to a file as it comes, and says how many octets these were. The file is there whole
        or not at all; one that was there is replaced.

        Args:
            path: never made of the peer's ``filename`` unchecked.

        Raises:
            OSError: it cannot be written.
            HTTPError: 507 where there is no room; or as :meth:`read`.
        """
        octets = 0
        with _room():
            async with Destination(path) as destination:
                async for piece in self:
                    octets += len(piece)
                    await destination.write(piece)
        return octets


class Parts:
    """The parts of a form, for ``async for``. Not a generator: it may be left half-way and owes no clean-up."""

    __slots__ = ("_current", "_events", "_next_piece", "_over", "_reader")

    def __init__(self, next_piece: NextPiece, reader: PartReader) -> None:
        self._next_piece = next_piece
        self._reader = reader
        self._events: Iterator[Event] = iter(())
        self._current: Part | None = None
        self._over = False

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> Part:
        while self._current is not None:
            await self.piece_of(self._current)
        if self._over:
            raise StopAsyncIteration
        event = await self._event()
        if not isinstance(event, PartHead):
            raise StopAsyncIteration
        self._current = Part(self, event)
        return self._current

    async def piece_of(self, part: Part) -> bytes | None:
        """The next piece of a part; None at its end.

        Raises:
            RuntimeError: it is not the part in hand.
        """
        if part is not self._current:
            return None
        event = await self._event()
        if isinstance(event, bytes):
            return event
        self._current = None
        return None

    async def _event(self) -> Event:
        with _told():
            while not self._over:
                for event in self._events:
                    return event
                piece = await self._next_piece()
                self._over = not piece
                self._events = self._reader.feed(piece)
            for event in self._events:  # of the end, which comes to nothing, or to an error
                return event
        return None


def open_parts(next_piece: NextPiece, content_type: bytes, limits: FormLimits | None) -> Parts:
    """The parts of a multipart form.

    Raises:
        HTTPError: it is none (415), or does not say what lies between its parts (400).
        RuntimeError: the library that reads them is not there.
    """
    kind = parse_media_type(content_type)
    if kind is None or kind.name != MULTIPART:
        raise HTTPError(415, f"a form in parts is {MULTIPART}")
    with _told():
        return Parts(next_piece, PartReader(boundary_of(kind), limits or FormLimits()))


async def read_form(next_piece: NextPiece, content_type: bytes, limits: FormLimits | None, folder: str | None) -> Form:
    """A form of either kind.

    Args:
        folder: where large files are kept for the time being; None is the system's.

    Raises:
        HTTPError: 400, 413, 415, or 507 where there is no room for a file.
        RuntimeError: the library that reads multipart forms is not there.
    """
    kind, limits = parse_media_type(content_type), limits or FormLimits()
    if kind is not None and kind.name == URLENCODED:
        with _told():
            most = 16 * int(limits.field_size)
            body = bytearray()
            while piece := await next_piece():
                body += piece
                if len(body) > most:
                    raise FormError(413, "the form is too large")
            return Form(parse_urlencoded(bytes(body), limits), [])
    if kind is None or kind.name != MULTIPART:
        raise HTTPError(415, f"a form is {URLENCODED} or {MULTIPART}")
    pairs: list[tuple[str, str]] = []
    files: list[tuple[str, UploadedFile]] = []
    async for part in open_parts(next_piece, content_type, limits):
        if part.filename is None:
            pairs.append((part.name, await part.text()))
        else:
            files.append((part.name, await _spooled(part, limits, folder)))
    return Form(pairs, [(name, file) for name, file in files if file.filename or file.size])


async def _spooled(part: Part, limits: FormLimits, folder: str | None) -> UploadedFile:
    spool = Spool(int(limits.in_memory), folder)
    with _room():
        async for piece in part:
            await spool.write(piece)
        await spool.finish()
    return UploadedFile(PartHead(part.name, part.filename, part.media_type, part.charset), spool)


def _decoded(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset)
    except UnicodeDecodeError:
        raise HTTPError(400, f"a field of the form is not in {charset}") from None


@contextmanager
def _told() -> Generator[None]:
    """What is wrong with a form is its peer's to know."""
    try:
        yield
    except FormError as exc:
        raise HTTPError(exc.status, exc.reason) from exc


@contextmanager
def _room() -> Generator[None]:
    """A disk that is full is nobody's mistake, and may be empty tomorrow (RFC 4918 section 11.5)."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise HTTPError(507) from exc
        raise
