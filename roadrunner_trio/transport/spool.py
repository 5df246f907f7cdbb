"""Octets that somebody sends and nobody has a place for yet: in memory while they are few, and beyond that on the disk.

The file on the disk has no name, so whatever becomes of the request, the task or the process, it leaves nothing behind.
Disks can stall, and the loop must not: they are written to and read from in threads, in large pieces.
"""

from __future__ import annotations

import os
import tempfile
from secrets import token_hex
from typing import Final

import trio

PIECE: Final = 262144
"""Octets that are written or read at once."""
SMALL: Final = 4096


class Spool:
    """What has been written, to be read again. It goes with its last reference, or with :meth:`close`.

    Attributes:
        size: octets that have been written.

    Args:
        in_memory: octets that are kept in memory; with one more all of them go to the disk.
        folder: where; None is the system's.
    """

    __slots__ = ("_fd", "_folder", "_held", "_in_memory", "_pieces", "_tail", "size")

    def __init__(self, in_memory: int, folder: str | None = None) -> None:
        self._in_memory = in_memory
        self._folder = folder
        self._pieces: list[bytes] = []
        self._tail = bytearray()
        self._held = 0
        self._fd = -1
        self.size = 0

    @property
    def on_disk(self) -> bool:
        """Whether it has outgrown the memory that it may have."""
        return self._fd >= 0

    async def write(self, data: bytes) -> None:
        """Adds octets.

        Raises:
            OSError: the disk does not take them.
        """
        # Large pieces are kept as they are, and not copied; each is an object, so small ones are gathered.
        if len(data) < SMALL:
            self._tail += data
        else:
            self._gather()
            self._pieces.append(data)
        self.size += len(data)
        self._held += len(data)
        if self._held > (PIECE if self.on_disk else self._in_memory):
            await self._flush()

    def _gather(self) -> None:
        if self._tail:
            self._pieces.append(bytes(self._tail))
            self._tail = bytearray()

    async def finish(self) -> None:
        """Nothing more is written: what still is in memory joins the rest.

        Raises:
            OSError: as :meth:`write`.
        """
        self._gather()
        if self.on_disk and self._pieces:
            await self._flush()

    async def _flush(self) -> None:
        self._gather()
        pieces, self._pieces, self._held = self._pieces, [], 0
        await trio.to_thread.run_sync(self._put, pieces)

    def _put(self, pieces: list[bytes]) -> None:
        if self._fd < 0:
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                self._fd = os.dup(file.fileno())
        for piece in pieces:
            _write_all(self._fd, piece)

    async def read(self) -> bytes:
        """All of it. Large ones are better taken in pieces.

        Raises:
            OSError: the disk does not give them.
        """
        return b"".join([piece async for piece in self.pieces()])

    def pieces(self) -> Pieces:
        """All of it, in pieces of up to :data:`PIECE`."""
        return Pieces(self)

    async def piece(self, at: int) -> bytes:
        """Up to :data:`PIECE` octets from ``at``; ``b""`` behind the last.

        Raises:
            OSError: as :meth:`read`.
        """
        if self.on_disk:
            return await trio.to_thread.run_sync(os.pread, self._fd, PIECE, at)
        await trio.lowlevel.checkpoint()
        self._gather()
        self._pieces = [b"".join(self._pieces)] if len(self._pieces) > 1 else self._pieces
        return self._pieces[0][at : at + PIECE] if self._pieces else b""

    async def save(self, path: str | os.PathLike[str]) -> None:
        """Copies it into a file, which is there whole or not at all; one that was there is replaced.

        Raises:
            OSError: it cannot be written.
        """
        async with Destination(path) as destination:
            async for piece in self.pieces():
                await destination.write(piece)

    def close(self) -> None:
        """Lets go of it."""
        fd, self._fd = self._fd, -1
        self._pieces, self._tail, self._held = [], bytearray(), 0
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class Pieces:
    """The octets of a spool from the first to the last, for ``async for``. It may be left half-way."""

    __slots__ = ("_at", "_spool")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._at = 0

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._spool.piece(self._at)
        if not piece:
            raise StopAsyncIteration
        self._at += len(piece)
        return piece


class Destination:
    """A file that is written piece by piece, and gets its name when the block ends well. Else it leaves nothing."""

    __slots__ = ("_fd", "_kept", "_path", "_temporary")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._fd = -1
        self._kept = bytearray()
        self._temporary = ""

    async def __aenter__(self) -> Destination:
        await trio.to_thread.run_sync(self._open)
        return self

    def _open(self) -> None:
        folder, name = os.path.split(os.path.abspath(self._path))
        temporary = os.path.join(folder, f".{name[:100]}.{token_hex(8)}.part")
        self._fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._temporary = temporary

    async def write(self, data: bytes) -> None:
        """Adds octets.

        Raises:
            OSError: the disk does not take them.
        """
        self._kept += data
        if len(self._kept) >= PIECE:
            await self._flush()

    async def _flush(self) -> None:
        data, self._kept = self._kept, bytearray()
        await trio.to_thread.run_sync(_write_all, self._fd, data)

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                await self._flush()
                await trio.to_thread.run_sync(os.replace, self._temporary, self._path)
                self._temporary = ""
        finally:
            os.close(self._fd)
            if self._temporary:
                os.unlink(self._temporary)


def _write_all(fd: int, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(fd, view[written:])
