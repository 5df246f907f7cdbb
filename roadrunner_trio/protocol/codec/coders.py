"""Content codings (RFC 9110 section 8.4.1): gzip always, zstd and br where their libraries are.

A coder of a stream is small on purpose: there may be as many as there are connections. ``deflate`` is not offered, for
half of the world takes it for something else than the other half.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

GZIP: Final = 16
"""What is added to the bits of a window to have zlib write, and read, gzip."""
GZIP_LEVEL: Final = 5
GZIP_WINDOW: Final = 13
GZIP_MEMORY: Final = 6
"""With the window of 8 kB, 64 kB a stream."""
BROTLI_QUALITY: Final = 4
BROTLI_STREAM: Final = (1, 14)
"""Quality and bits of the window: 16 kB a stream. From quality 2 on it is 290, and with 4 it is 550."""
ZSTD_LEVEL: Final = 3
ZSTD_STREAM: Final = {"window_log": 15, "hash_log": 12, "chain_log": 12}
"""80 kB a stream; with the level's own tables it is 830."""
PIECE: Final = 65536
"""Octets that a decoder gives at once."""

EXTRAS: Final = {"br": "br", "zstd": "zstd"}
"""Codings and the extras that have their libraries."""


class Encoder(Protocol):
    """A stream in a coding."""

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        """What can be said of ``data`` by now; all of it with ``flush``."""
        ...

    def finish(self) -> bytes:
        """The end."""
        ...


class Decoder(Protocol):
    """A stream that was in a coding, with never more than a piece of it in hand."""

    def decode(self, data: bytes) -> bytes:
        """Up to :data:`PIECE` octets; call it with ``b""`` for what is left, until that is nothing.

        Raises:
            ValueError: it is in no such coding, or goes on behind its end.
        """
        ...

    @property
    def finished(self) -> bool:
        """Whether the end has been seen."""
        ...


# -- which there are


@cache
def zstd_library() -> Any:
    """Python's own since 3.14, and before that its twin; None without."""
    return _found("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


@cache
def brotli_library() -> Any:
    """The library, or None."""
    return _found("brotli")


def _found(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@cache
def codings() -> tuple[str, ...]:
    """Those that can be had here, best first."""
    there = {"zstd": zstd_library() is not None, "br": brotli_library() is not None, "gzip": True}
    return tuple(name for name, found in there.items() if found)


def check_codings(names: tuple[str, ...]) -> None:
    """Looks whether all of them can be had.

    Raises:
        ValueError: one is not known here.
        RuntimeError: the library of one is not there; the message says what to type.
    """
    for name in names:
        if name not in ("zstd", "br", "gzip"):
            raise ValueError(f"codings are 'zstd', 'br' and 'gzip', not {name!r}")
        if name not in codings():
            raise RuntimeError(f"the coding {name} needs a library: pip install 'roadrunner-trio[{EXTRAS[name]}]'")


# -- encoding


def encode(coding: str, data: bytes) -> bytes:
    """All of it at once."""
    if coding == "gzip":
        return zlib.compress(data, GZIP_LEVEL, GZIP | 15)
    if coding == "br":
        return bytes(brotli_library().compress(data, quality=BROTLI_QUALITY))
    return bytes(zstd_library().compress(data, ZSTD_LEVEL))


def open_encoder(coding: str) -> Encoder:
    """A stream of which not all is known yet."""
    return _ENCODERS[coding]()


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP | GZIP_WINDOW, GZIP_MEMORY)

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        out = self._stream.compress(data)
        return out + self._stream.flush(zlib.Z_SYNC_FLUSH) if flush else out

    def finish(self) -> bytes:
        return self._stream.flush()


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli_library().Compressor(quality=BROTLI_STREAM[0], lgwin=BROTLI_STREAM[1])

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        out: bytes = self._stream.process(data)
        return out + self._stream.flush() if flush else out

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


class _Zstd:
    def __init__(self) -> None:
        library = zstd_library()
        parameter = library.CompressionParameter
        options = {getattr(parameter, name): value for name, value in ZSTD_STREAM.items()}
        self._stream = library.ZstdCompressor(options={parameter.compression_level: ZSTD_LEVEL, **options})
        self._flush = library.ZstdCompressor.FLUSH_BLOCK

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        return bytes(self._stream.compress(data, self._flush) if flush else self._stream.compress(data))

    def finish(self) -> bytes:
        return bytes(self._stream.flush())


_ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {"gzip": _Gzip, "br": _Brotli, "zstd": _Zstd}


# -- decoding


def open_decoder(coding: str) -> Decoder:
    """A stream of which not all has come yet."""
    return _DECODERS[coding]()


class _Gunzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(GZIP | 15)

    def decode(self, data: bytes) -> bytes:
        try:
            piece = self._stream.decompress(self._stream.unconsumed_tail + data, PIECE)
        except zlib.error as exc:
            raise ValueError(str(exc)) from None
        return _whole(piece, self._stream.unused_data)

    @property
    def finished(self) -> bool:
        return self._stream.eof


class _Unbrotli:
    def __init__(self) -> None:
        self._stream = brotli_library().Decompressor()
        self._error: type[Exception] = brotli_library().error

    def decode(self, data: bytes) -> bytes:
        try:
            return bytes(self._stream.process(data, output_buffer_limit=PIECE))
        except self._error as exc:
            raise ValueError(str(exc)) from None

    @property
    def finished(self) -> bool:
        return bool(self._stream.is_finished())


class _Unzstd:
    def __init__(self) -> None:
        library = zstd_library()
        parameter = library.DecompressionParameter
        # What a peer's window takes of our memory is not the peer's to say: 8 MB is what RFC 9659 has all support.
        self._stream = library.ZstdDecompressor(options={parameter.window_log_max: 23})
        self._error: type[Exception] = library.ZstdError

    def decode(self, data: bytes) -> bytes:
        if self._stream.eof:
            return b""
        try:
            piece = bytes(self._stream.decompress(data, PIECE))
        except self._error as exc:
            raise ValueError(str(exc)) from None
        return _whole(piece, self._stream.unused_data if self._stream.eof else b"")

    @property
    def finished(self) -> bool:
        return bool(self._stream.eof)


def _whole(piece: bytes, behind: bytes) -> bytes:
    """A piece; what stands behind the end, a second member say, would be lost without a word."""
    if behind:
        raise ValueError("it goes on behind its end")
    return piece


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {"gzip": _Gunzip, "br": _Unbrotli, "zstd": _Unzstd}
