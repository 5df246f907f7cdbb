"""What the peer says of itself in SETTINGS (RFC 9113 section 6.5)."""

from __future__ import annotations

from typing import Final

from .failure import ConnectionFailed
from .frames import (
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    NO_RFC7540_PRIORITIES,
    PROTOCOL_ERROR,
    SETTING,
)

ENTRIES: Final = 32
"""Settings in a frame: there are a dozen."""
SWITCHES: Final = frozenset({ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES})
MOST_FRAME: Final = 2**24 - 1


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a frame, in order; of those that are known the values are possible.

    Raises:
        ConnectionFailed: they are not, or not whole, or too many.
    """
    if len(payload) % SETTING.size:
        raise ConnectionFailed(FRAME_SIZE_ERROR, "bad_settings")
    if len(payload) > ENTRIES * SETTING.size:
        raise ConnectionFailed(ENHANCE_YOUR_CALM, "too_many_settings")
    pairs: list[tuple[int, int]] = [*SETTING.iter_unpack(payload)]
    for name, value in pairs:
        if name in SWITCHES and value > 1:
            raise ConnectionFailed(PROTOCOL_ERROR, "bad_settings")
        if name == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFailed(FLOW_CONTROL_ERROR, "bad_settings")
        if name == MAX_FRAME_SIZE and not MAX_FRAME <= value <= MOST_FRAME:
            raise ConnectionFailed(PROTOCOL_ERROR, "bad_settings")
    return pairs
