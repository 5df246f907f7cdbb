"""Frames of field sections: HEADERS and CONTINUATION, which begin streams, and end them with trailers."""

from __future__ import annotations

from ...errors import ProtocolError
from ..heads import Framing
from . import head
from .content import on_end, spoil
from .failure import ConnectionFailed
from .frames import (
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_ERROR,
    MAX_STREAM,
    NUMBER,
    PADDED,
    PRIORITIZED,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    unpadded,
)
from .ledger import CONTROL_PER_REQUEST, FAULT, Ledger
from .numbers import Past
from .sections import Block
from .stream import Stream


def on_headers(ledger: Ledger, flags: int, number: int, payload: bytes) -> Stream | None:
    if not number & 1:
        raise ConnectionFailed(PROTOCOL_ERROR, "bad_stream_number")
    dependency = 0
    if flags & (PADDED | PRIORITIZED):
        payload, dependency = _stripped(flags, payload)
    if not flags & END_HEADERS:
        ledger.block = Block(number, flags, payload, dependency)
        return None
    return _on_section(ledger, number, flags & END_STREAM, payload, dependency)


def on_continuation(ledger: Ledger, flags: int, number: int, payload: bytes) -> Stream | None:
    block = ledger.block
    if block is None:
        raise ConnectionFailed(PROTOCOL_ERROR, "continuation_of_nothing")
    block.add(payload, ledger.limits)
    if not flags & END_HEADERS:
        return None
    ledger.block = None
    return _on_section(ledger, number, block.flags & END_STREAM, bytes(block.octets), block.dependency)


def _on_section(ledger: Ledger, number: int, ended: int, block: bytes, dependency: int) -> Stream | None:
    if number <= ledger.numbers.highest or ledger.closing:
        return _on_late_section(ledger, number, ended, block)
    ledger.numbers.open(number)
    ledger.last = number
    try:
        request, priority = ledger.sections.request(block, ended=ended != 0)
        if dependency == number:
            raise head.Malformed("depends_on_itself")
        stream = Stream(number, request)
        if priority:
            stream.urgency, stream.incremental = head.priority(priority)
    except head.Malformed as wrong:
        ledger.breach(number, PROTOCOL_ERROR, wrong.reason)
        return None
    except ProtocolError as wrong:
        ledger.take_back(FAULT)
        stream = Stream(number, None, ProtocolError(wrong.status, wrong.reason))
    most = ledger.limits.max_concurrent_streams
    if ledger.places >= most and (ledger.places - ledger.done >= most or ledger.places >= 2 * most):
        ledger.refused += 1
        ledger.end(number, REFUSED_STREAM, "too_many_streams")
        ledger.take_back(1)
        return None
    return _take_on(ledger, stream, ended != 0)


def _take_on(ledger: Ledger, stream: Stream, ended: bool) -> Stream:
    ledger.places += 1
    ledger.opened += 1
    ledger.streams[stream.id] = stream
    if ledger.control.left < ledger.control.most:
        ledger.control.earn(CONTROL_PER_REQUEST)
    stream.ended = ended
    request = stream.head
    if request is not None:
        if request.framing is Framing.LENGTH:
            stream.expected = request.content_length
        elif request.protocol or request.method == b"CONNECT":
            stream.tunnel = True
    if ledger.foretold is not None and ledger.foretold[0] == stream.id:
        stream.urgency, stream.incremental = ledger.foretold[1]
    if ledger.opened == ledger.limits.max_requests_http2:
        ledger.drain()
    if stream.id == MAX_STREAM:
        ledger.goaway()
    return stream


def _on_late_section(ledger: Ledger, number: int, ended: int, block: bytes) -> Stream | None:
    """Trailers; or a header block of a stream that is over, or that is not taken on any more."""
    stream = ledger.streams.get(number)
    if stream is None or stream.ended:
        ledger.sections.skip(block)
        _on_stray_headers(ledger, stream, number)
        return None
    if stream.tunnel:  # has none (RFC 9113 section 8.5), of whatever size
        ledger.sections.skip(block)
        ledger.breach(number, PROTOCOL_ERROR, "bad_trailer")
        return None
    try:
        trailers = ledger.sections.trailers(block)
    except head.Malformed as wrong:
        ledger.breach(number, PROTOCOL_ERROR, wrong.reason)
        return None
    except ProtocolError as wrong:
        ledger.take_back(FAULT)
        stream.ended = ended != 0
        return spoil(ledger, stream, ProtocolError(wrong.status, wrong.reason))
    if not ended:
        ledger.breach(number, PROTOCOL_ERROR, "bad_trailer")
        return None
    stream.trailers = trailers
    return on_end(ledger, stream)


def _on_stray_headers(ledger: Ledger, stream: Stream | None, number: int) -> None:
    past = ledger.past(number)
    if stream is not None:
        ledger.breach(number, STREAM_CLOSED, "headers_after_end")
    elif past is Past.RESET_BY_US:
        ledger.bear(1)
    elif past is Past.RESET_BY_PEER:
        ledger.breach(number, STREAM_CLOSED, "headers_after_reset")
    elif past is Past.SKIPPED:
        raise ConnectionFailed(PROTOCOL_ERROR, "stream_number_too_low")
    else:
        raise ConnectionFailed(STREAM_CLOSED, "headers_after_end")


def on_rst_stream(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    if len(payload) != 4:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_rst_stream")
    stream = ledger.streams.get(number)
    if stream is None:
        if ledger.past(number) is Past.IDLE:
            raise ConnectionFailed(PROTOCOL_ERROR, "rst_stream_on_idle")
        ledger.bear(1)
        return
    finished = stream.finished
    ledger.forget(stream, Past.RESET_BY_PEER)
    ledger.tell_lost(stream, NUMBER.unpack(payload)[0], "peer_reset")
    if finished:
        ledger.bear(1)
    else:
        ledger.take_back(1)


def _stripped(flags: int, payload: bytes) -> tuple[bytes, int]:
    """The fragment in a HEADERS frame, and the stream that its own depends on (RFC 9113 section 6.2)."""
    if flags & PADDED:
        content = unpadded(payload)
        if content is None:
            raise ConnectionFailed(PROTOCOL_ERROR, "bad_padding")
        payload = content
    if not flags & PRIORITIZED:
        return payload, 0
    if len(payload) < 5:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_headers")
    return payload[5:], NUMBER.unpack_from(payload)[0] & MAX_STREAM
