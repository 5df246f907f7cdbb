"""Masking: in C where the library is, in Python elsewhere, and the same both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest
from websocket_tools import BINARY, TEXT, frame, masking

from roadrunner_trio.protocol.ws import decoder as room
from roadrunner_trio.protocol.ws.decoder import Caps, Decoder
from roadrunner_trio.protocol.ws.masking import BY_INTEGER, BY_PRODUCT, quickest, unmask_in_python

SPEEDUPS = "websockets.speedups"
BOTH = [unmask_in_python, quickest()]
SIZES = [0, 1, 3, 4, 5, 64, BY_PRODUCT, BY_PRODUCT + 1, BY_INTEGER, BY_INTEGER + 1, 4099, 70_000]


def test_the_one_in_c_is_taken_where_it_is():
    assert quickest() is pytest.importorskip(SPEEDUPS).apply_mask


@pytest.mark.parametrize("unmask", BOTH)
@pytest.mark.parametrize("size", SIZES)
def test_all_ways_to_unmask_do_the_same(unmask, size):
    octets, mask = os.urandom(size), os.urandom(4)
    unmasked = unmask(octets, mask)
    assert unmasked == masking(octets, mask)
    assert type(unmasked) is bytes
    assert unmask(unmasked, mask) == octets


@pytest.mark.parametrize("unmask", BOTH)
@pytest.mark.parametrize("size", SIZES)
def test_messages_are_read_by_either(unmask, size, monkeypatch):
    monkeypatch.setattr(room, "unmask", unmask)
    decoder, text = Decoder(Caps(100_000, 100_000, 10)), "ü" * (size // 2)
    for opcode, message, octets in ((BINARY, bytes(size), bytes(size)), (TEXT, text, text.encode())):
        decoder.receive(frame(opcode, octets))
        assert decoder.next_event() == message
        assert decoder.idle


def speedups(function):
    module = ModuleType(SPEEDUPS)
    if function is not None:
        module.apply_mask = function
    return module


def refuses(data, key):
    raise TypeError("a mask is an int here")


@pytest.mark.parametrize(
    "module",
    [
        None,  # as good as not installed
        speedups(None),
        speedups(refuses),
        speedups(lambda data, key: data),
        speedups(lambda data, key: bytearray(unmask_in_python(data, key))),
    ],
)
def test_one_that_is_not_as_we_know_it_is_not_used(module, monkeypatch):
    monkeypatch.setitem(sys.modules, SPEEDUPS, module)
    assert quickest() is unmask_in_python


@pytest.mark.parametrize("without", [False, True])
def test_it_is_chosen_when_the_decoder_is_imported(without):
    hide, named = "", quickest().__name__
    if without:
        hide, named = f"import sys; sys.modules[{SPEEDUPS!r}] = None; ", "unmask_in_python"
    program = f"{hide}from roadrunner_trio.protocol.ws.decoder import unmask; print(unmask.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == named
