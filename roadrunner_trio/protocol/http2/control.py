"""Frames about the connection: SETTINGS, WINDOW_UPDATE, PING, GOAWAY, and priorities (RFC 9113 section 6)."""

from __future__ import annotations

from . import head
from .blocks import NO_TABLE
from .failure import ConnectionFailed
from .frames import (
    ACK,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_STREAM,
    NUMBER,
    PING,
    PROTOCOL_ERROR,
    SETTINGS,
    frame,
)
from .hpack import TABLE_SIZE
from .ledger import DRAIN_PING, Ledger
from .numbers import Past
from .peer_settings import read_settings


def on_settings(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    if number:
        raise ConnectionFailed(PROTOCOL_ERROR, "settings_on_stream")
    if flags & ACK:
        if payload:
            raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_settings")
        ledger.bear(1)
        ledger.incoming.acknowledged()
        return
    pairs = read_settings(payload)
    ledger.bear(1 + len(pairs) / 8)
    ledger.greeted = True
    base = ledger.outgoing.base
    for name, value in pairs:
        if name == INITIAL_WINDOW_SIZE:
            ledger.outgoing.base = value
        elif name == HEADER_TABLE_SIZE and value < TABLE_SIZE:
            ledger.prefix = NO_TABLE  # it is to hear that we use none
    if ledger.outgoing.base > base:
        _check_windows(ledger)
    ledger.output += frame(SETTINGS, ACK, 0)


def _check_windows(ledger: Ledger) -> None:
    most = max([stream.window_out for stream in ledger.streams.values()], default=0)
    if not ledger.outgoing.holds(most):
        raise ConnectionFailed(FLOW_CONTROL_ERROR, "window_too_large")
    if ledger.window_opened is not None:
        ledger.window_opened()


def on_window_update(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    if len(payload) != 4:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_window_update")
    octets = NUMBER.unpack(payload)[0] & MAX_STREAM
    ledger.bear(0.1)
    if not number:
        _widen(ledger, octets)
        return
    stream = ledger.streams.get(number)
    if stream is None:
        if ledger.past(number) is Past.IDLE:
            raise ConnectionFailed(PROTOCOL_ERROR, "window_update_on_idle")
    elif not octets:
        ledger.breach(number, PROTOCOL_ERROR, "window_update_of_nothing")
    elif not ledger.outgoing.widen_stream(stream, octets):
        ledger.breach(number, FLOW_CONTROL_ERROR, "window_too_large")
    elif stream.owner is not None and 0 < ledger.outgoing.base + stream.window_out <= octets:
        stream.owner.window_opened()


def _widen(ledger: Ledger, octets: int) -> None:
    outgoing = ledger.outgoing
    if not octets:
        raise ConnectionFailed(PROTOCOL_ERROR, "window_update_of_nothing")
    if not outgoing.widen(octets):
        raise ConnectionFailed(FLOW_CONTROL_ERROR, "window_too_large")
    if outgoing.connection <= octets and ledger.window_opened is not None:
        ledger.window_opened()


def on_ping(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    if number:
        raise ConnectionFailed(PROTOCOL_ERROR, "ping_on_stream")
    if len(payload) != 8:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_ping")
    ledger.bear(1)
    if not flags & ACK:
        ledger.output += frame(PING, ACK, 0, payload)
    elif ledger.draining and payload == DRAIN_PING:
        ledger.goaway()


def on_goaway(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    if number:
        raise ConnectionFailed(PROTOCOL_ERROR, "goaway_on_stream")
    if len(payload) < 8:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_goaway")
    ledger.bear(1)
    ledger.peer_leaves = True


def on_priority(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    """What RFC 7540 had for priorities: checked, and otherwise forgotten (RFC 9113 section 5.3.2)."""
    if not number:
        raise ConnectionFailed(PROTOCOL_ERROR, "priority_on_connection")
    ledger.bear(0.5)
    if len(payload) != 5:
        _end_if_open(ledger, number, FRAME_SIZE_ERROR, "bad_priority")
    elif NUMBER.unpack_from(payload)[0] & MAX_STREAM == number:
        _end_if_open(ledger, number, PROTOCOL_ERROR, "depends_on_itself")


def _end_if_open(ledger: Ledger, number: int, code: int, reason: str) -> None:
    if number not in ledger.streams:
        raise ConnectionFailed(code, reason)  # RST_STREAM may not be sent on an idle stream
    ledger.breach(number, code, reason)


def on_priority_update(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    """RFC 9218 section 7.1. One is remembered of a stream that has not begun."""
    if number:
        raise ConnectionFailed(PROTOCOL_ERROR, "priority_update_on_stream")
    if len(payload) < 4:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_priority_update")
    ledger.bear(1)
    target = NUMBER.unpack_from(payload)[0] & MAX_STREAM
    if not target & 1:
        raise ConnectionFailed(PROTOCOL_ERROR, "bad_priority_update")
    stream = ledger.streams.get(target)
    if stream is not None:
        stream.urgency, stream.incremental = head.priority(payload[4:])
    elif target > ledger.numbers.highest:
        ledger.foretold = target, head.priority(payload[4:])


def on_push_promise(ledger: Ledger, flags: int, number: int, payload: bytes) -> None:
    raise ConnectionFailed(PROTOCOL_ERROR, "push_promise")
