"""Laws of the decoder: what its fast lane accepts the reference accepts, and how octets are cut changes nothing."""

from __future__ import annotations

import zlib

from hypothesis import example, given
from hypothesis import strategies as st
from reading_tools import with_faults_as_one
from vector_tools import pieces
from websocket_tools import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from roadrunner_trio.protocol.ws.decoder import Caps, Decoder
from roadrunner_trio.protocol.ws.deflate import Inflater
from roadrunner_trio.protocol.ws.extensions import parse_offers
from roadrunner_trio.protocol.ws.frames import LATER, NEED_DATA, Close, Violation

CAPS = Caps(message=200, frame=150, fragments=4)
WIDE = Caps(message=10**6, frame=10**6, fragments=10**6)

payloads = st.one_of(
    st.binary(max_size=140),
    st.text(max_size=30).map(str.encode),
    st.sampled_from([b"", b"\xc3", b"\xa4", b"\xf4\x90", b"x" * 126, b"x" * 151]),
)
masks = st.one_of(st.binary(min_size=4, max_size=4), st.just(bytes(4)))


@st.composite
def likely_frames(draw: st.DrawFn) -> bytes:
    """Frames, most of them good."""
    opcode = draw(st.sampled_from([TEXT, TEXT, BINARY, BINARY, CONT, CONT, PING, PONG, CLOSE, 3]))
    fin = draw(st.sampled_from([True, True, True, False]))
    rsv = draw(st.sampled_from([0, 0, 0, 0, 0, 4, 1]))
    mask = None if draw(st.integers(0, 30)) == 0 else draw(masks)
    payload = draw(payloads)
    if rsv == 4 and draw(st.booleans()):
        packer = zlib.compressobj(wbits=-15)
        payload = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return frame(opcode, payload, fin=fin, rsv=rsv, mask=mask)


inputs = st.one_of(
    st.lists(likely_frames(), max_size=8).map(b"".join),
    st.tuples(st.lists(likely_frames(), max_size=3).map(b"".join), st.binary(max_size=40)).map(b"".join),
    st.binary(max_size=60),
)


def play(parts: list[bytes], *, fast: bool, inflate: bool, caps: Caps = CAPS, hurried: bool = False) -> list[object]:
    """All events; ``hurried`` has had enough whenever it is asked."""
    decoder = Decoder(caps, Inflater(15, keep=True) if inflate else None, fast=fast)
    out: list[object] = []
    for part in parts:
        decoder.receive(part)
        while (event := decoder.next_event(lambda: hurried)) is not NEED_DATA:
            if event is LATER:
                continue
            out.append(event)
            if isinstance(event, Violation | Close):
                return out
    return out


TWO_FAULTS = bytes.fromhex("c187000000405a48cdc9c90700")
"""A compressed text that is neither UTF-8 nor whole."""


@given(inputs, st.booleans(), st.lists(st.integers(0, 400), max_size=8))
@example(TWO_FAULTS, True, [5, 10])
def test_the_lanes_agree_however_the_octets_are_cut(data, inflate, places):
    expected = play([data], fast=False, inflate=inflate)
    assert play([data], fast=True, inflate=inflate) == expected
    assert play([data], fast=True, inflate=inflate, hurried=True) == expected
    for parts in (pieces(data, places), [data[i : i + 1] for i in range(len(data))]):
        found = play(parts, fast=True, inflate=inflate)
        if inflate:
            found, expected = with_faults_as_one(found), with_faults_as_one(expected)
        assert found == expected


@given(inputs)
def test_wsproto_itself_says_the_same(data):
    """Without our limits and without compression, where its own message layer can be asked."""
    ours: list[object] = []
    verdict = 0
    for event in play([data], fast=True, inflate=False, caps=WIDE):
        if isinstance(event, Violation):
            verdict = event.code
        else:
            ours.append(event if isinstance(event, str | bytes) else tuple(event))
    theirs: list[object] = []
    reference, parts, failed = FrameProtocol(client=False, extensions=[]), [], 0
    reference.receive_bytes(data)
    try:
        for found in reference.received_frames():
            if found.opcode.iscontrol():
                theirs.append(found.payload if found.opcode == CLOSE else (found.payload,))
                if found.opcode == CLOSE:
                    break
            else:
                parts.append(found.payload)
                if found.message_finished:
                    theirs.append((b"" if found.opcode == BINARY else "").join(parts))
                    parts = []
    except ParseFailed as exc:
        failed = int(exc.code)
    assert ours == theirs
    assert verdict == failed


@given(st.one_of(st.binary(max_size=60), st.text('abc;=, "\\\t', max_size=40).map(str.encode)))
def test_a_list_of_extensions_is_read_or_refused(value):
    try:
        offers = parse_offers(value)
    except ValueError:
        return
    text = ", ".join(
        "; ".join([name, *(key if word is None else f'{key}="{word}"' for key, word in parameters)])
        for name, parameters in offers
    )
    assert parse_offers(text.encode()) == offers
