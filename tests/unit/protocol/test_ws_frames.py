"""Frames as octets."""

from __future__ import annotations

import pytest
from websocket_tools import BINARY, TEXT, closed, said

from roadrunner_trio.protocol.ws import frames
from roadrunner_trio.protocol.ws.frames import Close, Violation, encode, encode_close, read_close


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_length_takes_its_shortest_form(size):
    assert encode(BINARY, b"x" * size) == said(BINARY, b"x" * size)


def test_bits_of_the_first_octet():
    assert encode(TEXT, b"a", first_bits=0) == said(TEXT, b"a", fin=False)
    assert encode(TEXT, b"a", first_bits=frames.FIN | frames.RSV1) == said(TEXT, b"a", rsv=4)


def test_a_close_frame():
    assert encode_close(1000) == closed(1000)
    assert encode_close(1001, "gone") == closed(1001, "gone")
    assert encode_close(1005) == closed()


def test_a_reason_that_is_too_long_is_cut_between_characters():
    assert encode_close(1000, "ä" * 100) == closed(1000, "ä" * 61)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_may_not_be_sent(code):
    with pytest.raises(ValueError, match="no close code"):
        encode_close(code)
    assert read_close(code.to_bytes(2, "big")) == Violation(1002, "a close code that may not be sent")


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_codes_that_may(code):
    assert read_close(code.to_bytes(2, "big") + "ä".encode()) == Close(code, "ä")


def test_closes_without_a_code_and_with_half_of_one():
    assert read_close(b"") == Close(1005, "")
    assert read_close(b"\x03") == Violation(1002, "a close frame with one octet")


def test_a_reason_that_is_not_utf8():
    assert read_close(b"\x03\xe8\xff") == Violation(1007, "a close reason that is not UTF-8")
