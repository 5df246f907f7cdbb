"""Field sections: header blocks put together from their frames, decoded, and judged (RFC 9113 section 4.3)."""

from __future__ import annotations

from typing import Final

from ...fields import Field, Fields
from ...settings import Limits
from . import head
from .failure import ConnectionFailed
from .frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from .head import Verdict
from .hpack import CompressionError, Decoder, TooManyFields

CONTINUATIONS: Final = 8
"""Frames of one header block, its HEADERS included."""
ENCODED: Final = 4
"""How many times ``max_field_section`` a header block may have in octets, before it is decoded."""
BEYOND: Final = len(head.PSEUDO) + 1
"""Fields that are decoded beyond ``max_fields``: pseudo-fields do not count, and one more is one too many. The verdict
on a section that has them all does not hang on what stands behind."""
REMEMBERED: Final = 16
REMEMBERED_SIZE: Final = 512
"""Header blocks whose verdict is kept once they have come twice, and the octets that each may have.

An API client sends the same all the time. A browser never does: its path is a literal.
"""


class Block:
    """A header block whose frames are not all there yet.

    Attributes:
        dependency: the stream that its own is said to depend on; 0 is none.
        number: of its stream; nothing else may come in between.
        flags: of its first frame.
        octets: what there is of it.
        frames: how many.
    """

    __slots__ = ("dependency", "flags", "frames", "number", "octets")

    def __init__(self, number: int, flags: int, octets: bytes, dependency: int) -> None:
        self.number = number
        self.flags = flags
        self.octets = bytearray(octets)
        self.dependency = dependency
        self.frames = 1

    def add(self, octets: bytes, limits: Limits) -> None:
        """Another frame of it.

        Raises:
            ConnectionFailed: it has too many, or is too large; nothing of it has been decoded.
        """
        self.octets += octets
        self.frames += 1
        if self.frames > CONTINUATIONS:
            raise ConnectionFailed(ENHANCE_YOUR_CALM, "too_many_continuations")
        if len(self.octets) > ENCODED * limits.max_field_section:
            raise ConnectionFailed(ENHANCE_YOUR_CALM, "header_block_too_long")


class Sections:
    """What a connection's header blocks say.

    Every block has to be decoded, also one that nobody wants: the next may refer to it. Of one that has too many fields
    the rest is passed over, and one that has very many ends the connection (RFC 9113 section 10.5.1).

    Args:
        limits: those of a head.
        extended: whether extended CONNECT was offered (RFC 8441).
    """

    __slots__ = ("_decoder", "_extended", "_fields", "_limits", "_most")

    def __init__(self, limits: Limits, *, extended: bool) -> None:
        self._decoder = Decoder(head.field, head.STATIC_FIELDS)
        self._limits = limits
        self._extended = extended
        self._most = min(limits.max_field_section, limits.max_field_line)
        self._fields = limits.max_fields + BEYOND

    def request(self, block: bytes, *, ended: bool) -> Verdict:
        """The verdict on a request; of blocks that come again and again it is remembered.

        Args:
            ended: nothing follows its head.

        Raises:
            ConnectionFailed: the block cannot be decoded, or is not worth it.
            Malformed, ProtocolError: as :func:`.head.judge`.
        """
        decoder = self._decoder
        if ended and decoder.remembered.get(block) is not None:
            known: Verdict = decoder.remembered[block]
            return known
        before = decoder.changes
        fields = self._decode(block)
        # No Huffman code is shorter than five bits, so a literal is no longer than twice what it is in the block.
        small = 2 * len(block) + len(fields) * (decoder.largest + 4) <= self._most
        verdict = head.judge(fields, self._limits, ended=ended, extended=self._extended, small=small)
        if ended and before == decoder.changes and len(block) <= REMEMBERED_SIZE:
            again = block in decoder.remembered
            if not again and len(decoder.remembered) >= REMEMBERED:
                decoder.remembered.clear()
            decoder.remembered[block] = verdict if again else None
        return verdict

    def trailers(self, block: bytes) -> Fields:
        """The verdict on a trailer section.

        Raises:
            ConnectionFailed: the block cannot be decoded, or is not worth it.
            Malformed, ProtocolError: as :func:`.head.trailers`.
        """
        return head.trailers(self._decode(block), self._limits)

    def skip(self, block: bytes) -> None:
        """Decodes what nobody wants.

        Raises:
            ConnectionFailed: the block cannot be decoded, or is not worth it.
        """
        self._decode(block)

    def rest(self) -> None:
        """Lets go of what can be had again."""
        self._decoder.rest()

    def resume(self) -> None:
        """Goes on after a :meth:`rest`."""
        self._decoder.resume()

    def _decode(self, block: bytes) -> list[Field]:
        try:
            return self._decoder.decode(block, self._fields)
        except CompressionError:
            raise ConnectionFailed(COMPRESSION_ERROR, "bad_header_block") from None
        except TooManyFields:
            raise ConnectionFailed(ENHANCE_YOUR_CALM, "too_many_headers") from None
