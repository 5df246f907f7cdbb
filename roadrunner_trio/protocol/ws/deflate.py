"""permessage-deflate (RFC 7692): what is agreed, and both directions of it.

Both go in steps. A step of inflation gives no more than 64 KiB, so whoever counts them can stop a bomb before it is in
memory; and it takes no more than 8 KiB, and few final blocks, because what gives nothing can take long all the same:
64 KiB of empty blocks with tables of their own take 7 ms, of final ones 60. A step of compression is as short. Between
two steps others can have their turn. Contexts are made at the first message that needs one, so a session that is silent
has none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .extensions import Offer

NAME: Final = "permessage-deflate"
STEP: Final = 65536
"""Octets that a step of inflation gives at most."""
TAKEN: Final = 8192
"""Octets that it takes at most."""
TAKEN_AFTER_FINAL: Final = 256
"""The same, once there was a final block: what stands behind one is copied."""
FINAL_BLOCKS: Final = 64
"""Final blocks in a step; each makes a context anew, in a microsecond or two."""
DEFLATED: Final = 32768
"""Octets that a step of compression takes: 1 to 3 ms."""
TAIL: Final = b"\x00\x00\xff\xff"
"""What every message ends with and none carries (RFC 7692 section 7.2.1)."""
MAX_BITS: Final = 15

Terms: TypeAlias = dict[str, int | bool]
"""The parameters of one offer, checked: True for those without a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How messages are compressed, if the peer offers permessage-deflate (RFC 7692).

    A window of N bits costs 2 to the power of N octets for what is received; for what is sent it costs 2 to the power
    of N + 2, and of ``mem_level`` + 9 besides. With the defaults that is 4 kB and 32 kB a session, from its first
    compressed message on.

    Attributes:
        server_max_window_bits: for what is sent, 9 to 15.
        client_max_window_bits: for what is received, 8 to 15, where the peer lets us choose; else 15.
        server_no_context_takeover: begin every message sent anew, and keep no memory between messages.
        client_no_context_takeover: ask the peer for the same.
        level: 0 (none) to 9 (best), or -1 (zlib's choice).
        mem_level: 1 to 9.
        threshold: octets below which a message is sent as it is.

    Raises:
        ValueError: a value is out of range.
    """

    server_max_window_bits: int = 12
    client_max_window_bits: int = 12
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    level: int = -1
    mem_level: int = 5
    threshold: int = 32

    def __post_init__(self) -> None:
        for name, least, most in (
            ("server_max_window_bits", 9, MAX_BITS),  # zlib's deflate has no window of 8 bits
            ("client_max_window_bits", 8, MAX_BITS),
            ("level", -1, 9),
            ("mem_level", 1, 9),
            ("threshold", 0, None),
        ):
            value: Any = getattr(self, name)
            if type(value) is not int or value < least or (most is not None and value > most):
                end = "" if most is None else f" to {most}"
                raise ValueError(f"Compression.{name} is a whole number from {least}{end}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides hold to, and the answer that says so."""

    compression: Compression
    terms: Terms

    @property
    def answer(self) -> bytes:
        """The value of Sec-WebSocket-Extensions in the 101."""
        parameters = (name if value is True else f"{name}={value}" for name, value in self.terms.items())
        return "; ".join((NAME, *parameters)).encode()

    def deflater(self) -> Deflater:
        """The sending direction."""
        bits = int(self.terms.get("server_max_window_bits", self.compression.server_max_window_bits))
        return Deflater(self.compression, bits, keep="server_no_context_takeover" not in self.terms)

    def inflater(self) -> Inflater:
        """The receiving direction."""
        bits = int(self.terms.get("client_max_window_bits", MAX_BITS))
        return Inflater(bits, keep="client_no_context_takeover" not in self.terms)


def agree(offers: Sequence[Offer], compression: Compression) -> Agreement | None:
    """The first offer that can be taken (RFC 7692 section 5.1), or None: messages are not compressed."""
    for name, parameters in offers:
        if name == NAME and (asked := _checked(parameters)) is not None:
            terms = _terms(asked, compression)
            if terms is not None:
                return Agreement(compression, terms)
    return None


def _checked(parameters: Sequence[tuple[str, str | None]]) -> Terms | None:
    """The parameters of an offer; None when it has to be declined (RFC 7692 section 7.1)."""
    asked: Terms = {}
    for name, value in parameters:
        if name in asked:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
            asked[name] = True
        elif name == "client_max_window_bits" and value is None:
            asked[name] = True
        elif name in ("server_max_window_bits", "client_max_window_bits") and value in _BITS:
            asked[name] = _BITS[value]
        else:
            return None
    return asked


_BITS: Final[dict[str | None, int]] = {str(bits): bits for bits in range(8, MAX_BITS + 1)}


def _terms(asked: Terms, ours: Compression) -> Terms | None:
    terms: Terms = {}
    for name in ("server_no_context_takeover", "client_no_context_takeover"):
        if name in asked or getattr(ours, name):
            terms[name] = True
    server = min(int(asked.get("server_max_window_bits", MAX_BITS)), ours.server_max_window_bits)
    if server < 9:
        return None  # zlib cannot keep that promise
    if server < MAX_BITS or "server_max_window_bits" in asked:
        terms["server_max_window_bits"] = server
    if (client := asked.get("client_max_window_bits")) is not None:  # unasked, it may not be told (section 7.1.2.2)
        bits = min(MAX_BITS if client is True else client, ours.client_max_window_bits)
        if bits < MAX_BITS or client is not True:
            terms["client_max_window_bits"] = bits
    return terms


class Deflater:
    """Compresses the messages that are sent, one after another."""

    __slots__ = ("_bits", "_compression", "_keep", "_z", "threshold")

    def __init__(self, compression: Compression, bits: int, *, keep: bool) -> None:
        self.threshold = compression.threshold
        self._compression = compression
        self._bits = bits
        self._keep = keep
        self._z: Any = None

    def deflate(self, data: bytes | memoryview, *, last: bool = True) -> bytes:
        """A message, or its next piece; what has been given so far can be read at the other end."""
        z = self._context()
        out: bytes = z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH)
        if not last:
            return out
        if not self._keep:
            self._z = None
        return out.removesuffix(TAIL) or b"\x00"  # an empty block (RFC 7692 section 7.2.3.6)

    def steps(self, data: bytes, *, last: bool = True) -> Iterator[bytes]:
        """The same in parts. They have to be taken to the last one, or :meth:`forget` be called."""
        left = memoryview(data)
        while len(left) > DEFLATED:
            yield self._context().compress(left[:DEFLATED])
            left = left[DEFLATED:]
        yield self.deflate(left, last=last)

    def _context(self) -> Any:
        if self._z is None:
            ours = self._compression
            self._z = zlib.compressobj(ours.level, zlib.DEFLATED, -self._bits, ours.mem_level)
        return self._z

    def forget(self) -> None:
        """Something was compressed that the peer will not get: what comes next must not refer to it."""
        self._z = None


class Inflater:
    """Decompresses the messages that are received, one after another."""

    __slots__ = ("_bits", "_keep", "_z")

    def __init__(self, bits: int, *, keep: bool) -> None:
        self._bits = bits
        self._keep = keep
        self._z: Any = None

    def inflate(self, data: bytes, *, last: bool = False) -> Iterator[bytes]:
        """What a piece of a message holds, step by step. A step may have given nothing.

        Args:
            last: it is the last piece.

        Raises:
            zlib.error: it is not deflated data.
        """
        at, most, finals = 0, TAKEN, 0
        if last:
            data += TAIL
        while True:
            if self._z is None:
                self._z = zlib.decompressobj(-self._bits)
            part = data[at : at + most]
            out: bytes = self._z.decompress(part, STEP)
            if self._z.eof:  # a final block, which a sender may make (RFC 7692 section 7.2.3.4)
                at += len(part) - len(self._z.unused_data)
                most, finals = TAKEN_AFTER_FINAL, finals + 1
                self._z = None
                if out or finals % FINAL_BLOCKS == 0:
                    yield out
            else:
                at += len(part) - len(self._z.unconsumed_tail)
                yield out
            if at == len(data) and len(out) < STEP:
                break
        if last and not self._keep:
            self._z = None
