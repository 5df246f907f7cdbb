"""What is fuzzed: functions of octets, each with its invariant for a docstring, which raise when that is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import hpack
from http2_tools import HELLO, Player
from reading_tools import agree, engine_reads, with_faults_as_one
from strict_reader import read

from roadrunner_trio.protocol.http1.h11_engine import H11Engine
from roadrunner_trio.protocol.http1.scan import ScanEngine
from roadrunner_trio.protocol.http2.hpack import CompressionError
from roadrunner_trio.protocol.http2.hpack import Decoder as BlockDecoder
from roadrunner_trio.protocol.http2.tables import STATIC
from roadrunner_trio.protocol.proxy_header import read_proxy_header
from roadrunner_trio.protocol.ws.decoder import Caps, Decoder
from roadrunner_trio.protocol.ws.deflate import Inflater
from roadrunner_trio.protocol.ws.frames import NEED_DATA, Close, Violation
from roadrunner_trio.settings import Limits

Target = Callable[[bytes], None]

LIMITS: Final = Limits(max_fields=8192)
"""The second reader knows no sizes, and the fuzzer's inputs are shorter than all other limits."""
CAPS: Final = Caps(message=1000, frame=800, fragments=20)
CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


class Broken(Exception):
    """An invariant does not hold."""


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The input, and the same in pieces: the first octet of what the fuzzer gives says how long they are."""
    size, rest = (data[0] % 32 + 1, data[1:]) if data else (1, b"")
    return rest, [rest[at : at + size] for at in range(0, len(rest), size)]


def _check(data: bytes, prefix: bytes) -> None:
    whole, parts = cut(data)
    theirs = read(prefix + whole)
    for lane in (ScanEngine, H11Engine):
        for pieces in ([prefix + whole], [prefix, *parts]):
            ours = engine_reads(lane(LIMITS), pieces)
            if not agree(ours, theirs):
                raise Broken(f"{lane.__name__} read {ours}, which is {theirs}")


def head(data: bytes) -> None:
    """Both lanes read in any octets, however cut, the requests that a reader written from the RFCs alone reads."""
    _check(data, b"")


def chunks(data: bytes) -> None:
    """Behind a chunked head both lanes read, however cut, the body, trailers and next requests that the RFCs say."""
    _check(data, CHUNKED_HEAD)


def proxy(data: bytes) -> None:
    """A PROXY header is read alike whole and in pieces, never past its end, and refused by ValueError, for good."""
    whole, parts = cut(data)
    verdict = _proxy_verdict(whole)
    received, earlier = b"", None
    for part in parts:
        received += part
        earlier = _proxy_verdict(received)
        if earlier is not None:
            break
    if earlier != verdict and not (earlier is None and verdict is None):
        raise Broken(f"{verdict} whole, {earlier} in pieces")
    if isinstance(verdict, tuple):
        found, end = verdict
        if not 0 < end <= len(whole) or _proxy_verdict(whole[:end]) != verdict or _proxy_verdict(whole[: end - 1]):
            raise Broken(f"{found} does not end at {end}")


def _proxy_verdict(received: bytes) -> object:
    try:
        return read_proxy_header(received)
    except ValueError:
        return "refused"


def websocket(data: bytes) -> None:
    """Frames come to the same messages and the same end whole and in pieces, in the fast lane and in wsproto's."""
    whole, parts = cut(data)
    for inflates in (False, True):
        told = (_frames(ways, inflates, fast) for fast in (True, False) for ways in ([whole], parts))
        first, *others = map(with_faults_as_one, told) if inflates else told
        if any(other != first for other in others):
            raise Broken(f"{first} or {others}")
        if any(len(event) > CAPS.message for event in first if isinstance(event, str | bytes)):
            raise Broken("a message above the cap")


def _frames(parts: list[bytes], inflates: bool, fast: bool) -> list[object]:
    decoder = Decoder(CAPS, Inflater(15, keep=True) if inflates else None, fast=fast)
    events: list[object] = []
    for part in parts:
        decoder.receive(part)
        while (event := decoder.next_event()) is not NEED_DATA:
            events.append(event)
            if isinstance(event, Violation | Close):
                return events
    return events


def http2(data: bytes) -> None:
    """Behind a preface any octets come to the same requests and end whole and in pieces, and leave no place taken."""
    whole, parts = cut(data)
    first, second = _http2_outcome([HELLO + whole]), _http2_outcome([HELLO, *parts])
    if first != second:
        raise Broken(f"{first} whole, {second} in pieces")


def _http2_outcome(parts: list[bytes]) -> object:
    player = Player(hold=True)
    for part in parts:
        player.receive(part)
    outcome = player.outcome()
    for owner in player.owners.values():
        player.engine.release(owner.stream)
    if player.engine.places or player.engine.streams:
        raise Broken("a place is taken, and nobody has it")
    return outcome


_LONG: Final = re.compile(rb"[\x80-\xff]{4}[\x00-\x7f]").search
"""What may be an integer of five octets behind its first: theirs takes it, however small the number is."""
_RESIZED: Final = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){3}").match
"""The table changes its size more often than it can have to (RFC 7541 section 4.2): theirs takes that, too."""


def blocks(data: bytes) -> None:
    """A header block, and another behind it, are read as by hpack, or refused by both."""
    size, rest = (data[0], data[1:]) if data else (0, b"")
    ours = BlockDecoder(lambda name, value: (name, value), [*reversed(STATIC)])
    theirs = hpack.Decoder(max_header_list_size=2**30)
    for block in (rest[:size], rest[size:]):
        mine, other = _fields(ours, block), _fields_of_hpack(theirs, block)
        if mine is None and (other is None or _LONG(block) or _RESIZED(block)):
            return
        if mine != other:
            raise Broken(f"{mine}, which is {other}")


def _fields(decoder: BlockDecoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return decoder.decode(block)
    except CompressionError:
        return None


def _fields_of_hpack(decoder: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except hpack.HPACKError:
        return None


TARGETS: Final[dict[str, Target]] = {
    "head": head,
    "chunks": chunks,
    "proxy": proxy,
    "websocket": websocket,
    "http2": http2,
    "blocks": blocks,
}
