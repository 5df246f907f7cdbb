"""Frames of content: DATA, and what of it is kept, counted and credited (RFC 9113 sections 5.2, 6.1, 8.1)."""

from __future__ import annotations

from typing import Final

from ...errors import ProtocolError
from .failure import ConnectionFailed
from .frames import (
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PADDED,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    unpadded,
)
from .ledger import CONTROL_PER_OCTET, Ledger
from .numbers import Past
from .stream import Stream

SMALL: Final = 256
"""Octets of a DATA frame that is no crumb."""


def on_data(ledger: Ledger, flags: int, number: int, payload: bytes) -> Stream | None:
    size, incoming = len(payload), ledger.incoming
    incoming.left -= size
    if incoming.left < 0:
        raise ConnectionFailed(FLOW_CONTROL_ERROR, "connection_window_exceeded")
    stream = ledger.streams.get(number)
    if stream is None or stream.ended:
        _on_stray_data(ledger, stream, number, size)
        return None
    if not incoming.admits(stream, size):
        ledger.credit_connection(size)
        ledger.breach(number, FLOW_CONTROL_ERROR, "stream_window_exceeded")
        return None
    if flags & PADDED:
        content = unpadded(payload)
        if content is None:
            raise ConnectionFailed(PROTOCOL_ERROR, "bad_padding")
        ledger.credit(stream, size - len(content))
        payload = content
    if len(payload) < SMALL and not flags & END_STREAM:
        _bear_crumb(ledger, stream, len(payload))
    return _on_content(ledger, stream, payload, flags & END_STREAM)


def _on_content(ledger: Ledger, stream: Stream, content: bytes, ended: int) -> Stream | None:
    octets = len(content)
    stream.received += octets
    if stream.expected is not None and stream.received > stream.expected:
        ledger.credit_connection(octets)
        ledger.breach(stream.id, PROTOCOL_ERROR, "body_too_long")
        return None
    if stream.error is not None:
        ledger.credit(stream, octets)  # nobody wants it
    elif stream.most is not None and stream.received > stream.most:
        ledger.credit(stream, octets)
        stream.ended = ended != 0
        return spoil(ledger, stream, ProtocolError(413, "content_length_too_large"))
    elif octets:
        _keep(ledger, stream, content)
    if ended:
        return on_end(ledger, stream)
    if octets and not stream.gathered and stream.owner is not None:
        stream.owner.body_arrived()
    return None


def _keep(ledger: Ledger, stream: Stream, content: bytes) -> None:
    """Octets are joined: of frames of one octet each a list would be thirty times as large."""
    ledger.control.earn(len(content) * CONTROL_PER_OCTET)
    if not stream.body:
        stream.body = content
    elif isinstance(stream.body, bytearray):
        stream.body += content
    else:
        stream.body = bytearray(stream.body) + content
    if stream.gathered:
        ledger.credit(stream, len(content))


def on_end(ledger: Ledger, stream: Stream) -> Stream | None:
    """END_STREAM has come."""
    stream.ended = True
    if stream.expected is not None and stream.received != stream.expected:
        ledger.breach(stream.id, PROTOCOL_ERROR, "body_too_short")
        return None
    if stream.finished:
        ledger.complete(stream)
    return None if stream.error is not None else ledger.tell_arrived(stream)


def spoil(ledger: Ledger, stream: Stream, error: ProtocolError) -> Stream | None:
    """The peer is to be answered with an error, and nobody wants what else it sends."""
    if stream.error is not None:
        return None
    stream.error = error
    if stream.body:
        ledger.drop_body(stream)
    return ledger.tell_arrived(stream)


def _on_stray_data(ledger: Ledger, stream: Stream | None, number: int, size: int) -> None:
    ledger.credit_connection(size)
    past = ledger.past(number)
    if stream is not None:
        ledger.breach(number, STREAM_CLOSED, "data_after_end")
    elif past is Past.RESET_BY_US:
        ledger.bear(1 if size < SMALL else 0.1)
    elif past is Past.IDLE:
        raise ConnectionFailed(PROTOCOL_ERROR, "data_on_idle")
    else:
        ledger.breach(number, STREAM_CLOSED, "data_after_end")


def _bear_crumb(ledger: Ledger, stream: Stream, octets: int) -> None:
    """Small frames are borne while somebody reads them; empty ones are of no use to anybody."""
    if not octets:
        return ledger.bear(1)
    cost = (SMALL - octets) / SMALL
    stream.crumbs += cost
    if not ledger.crumbs.spend(cost):
        raise ConnectionFailed(ENHANCE_YOUR_CALM, "too_many_small_frames")
    return None
