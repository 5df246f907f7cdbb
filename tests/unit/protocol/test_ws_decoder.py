"""What a peer's octets come to, by either lane."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from websocket_tools import BINARY, CLOSE, CONT, PING, PONG, TEXT, closing, frame

from roadrunner_trio.protocol.ws.decoder import Caps, Decoder
from roadrunner_trio.protocol.ws.deflate import Inflater
from roadrunner_trio.protocol.ws.frames import LATER, NEED_DATA, Close, Piece, Ping, Pong, Violation

CAPS = Caps(message=100_000, frame=70_000, fragments=10)


def events(data: bytes, caps: Caps = CAPS, *, inflate: bool = False, size: int = 0, fast: bool = True) -> list[object]:
    """All events of ``data``, in pieces of ``size``."""
    decoder = Decoder(caps, Inflater(15, keep=True) if inflate else None, fast=fast)
    out = []
    for at in range(0, len(data), size or len(data)):
        decoder.receive(data[at : at + (size or len(data))])
        while (event := decoder.next_event()) is not NEED_DATA:
            out.append(event)
            if isinstance(event, Violation | Close):
                assert decoder.next_event() is NEED_DATA
                return out
    return out


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture(params=[0, 1, 7], ids=["whole", "octets", "sevens"])
def size(request):
    return request.param


@pytest.mark.parametrize("payload", ["", "a", "äöü" * 40, "x" * 126, "€" * 20_000])
@pytest.mark.parametrize("fast", [True, False])
def test_plain_messages(payload, fast, size):
    octets = payload.encode()
    data = frame(TEXT, octets) + frame(BINARY, octets) + frame(TEXT, octets, mask=bytes(4))
    assert events(data, size=size, fast=fast) == [payload, octets, payload]


def test_fragments_with_control_frames_between(size):
    data = (
        frame(TEXT, b"\xc3", fin=False)
        + frame(PING, b"1")
        + frame(CONT, b"", fin=False)
        + frame(PONG, b"2")
        + frame(CONT, b"\xa4!")
        + frame(BINARY, b"a", fin=False)
        + frame(CONT, b"b")
        + frame(TEXT, b"c")
    )
    assert events(data, size=size) == [Ping(b"1"), Pong(b"2"), "ä!", b"ab", "c"]


def test_the_peer_closes_and_what_it_says_then_is_nothing(size):
    assert events(frame(TEXT, "a") + closing(1001, "bye") + frame(TEXT, "b"), size=size) == ["a", Close(1001, "bye")]
    assert events(closing(), size=size) == [Close(1005, "")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, "a", mask=None), 1002),
        (frame(TEXT, "a", rsv=4), 1002),
        (frame(TEXT, "a", rsv=2), 1002),
        (frame(BINARY, "a", rsv=1), 1002),
        (frame(PING, "a", rsv=4), 1002),
        (frame(3, "a"), 1002),
        (frame(11, "a"), 1002),
        (frame(PING, "a", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CONT, "a"), 1002),
        (frame(TEXT, "a", fin=False) + frame(TEXT, "b"), 1002),
        (b"\x81\xfe\x00\x05" + bytes(9), 1002),  # 16 bits for what fits in 7
        (b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(65539), 1002),
        (b"\x82\xff\x80" + bytes(11), 1002),  # the top bit of 64
        (b"\x82\xff\x7f" + bytes(11), 1009),
        (frame(CLOSE, b"\x03"), 1002),
        (closing(1005), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),
        (frame(TEXT, b"ok\xf4\x90", fin=False), 1007),
        (frame(BINARY, bytes(70_001)), 1009),
        (frame(BINARY, bytes(60_000), fin=False) + frame(CONT, bytes(60_000)), 1009),
        (frame(BINARY, fin=False) + frame(CONT, fin=False) * 10, 1009),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_violations(data, code, fast, size):
    before = frame(TEXT, "before")
    found = events(before + data, size=size, fast=fast)
    assert found[0] == "before"
    assert found[-1] == events(data, fast=not fast)[-1]
    assert isinstance(found[-1], Violation)
    assert (len(found), found[-1].code) == (2, code)
    assert len(found[-1].reason) < 100


def test_text_is_judged_octet_by_octet():
    decoder = Decoder(CAPS)
    decoder.receive(frame(TEXT, b"abc\xf4\x90\x80\x80def")[:11])
    assert decoder.next_event() == Violation(1007, "a text that is not UTF-8")


def test_a_frame_too_large_is_judged_by_its_header():
    decoder = Decoder(CAPS)
    decoder.receive(frame(BINARY, bytes(70_001))[:10])
    assert decoder.next_event() == Violation(1009, "a frame that is too large")


def test_compressed_messages(size):
    packed = deflated(b"hello")
    data = (
        frame(TEXT, packed, rsv=4)
        + frame(TEXT, "plain")
        + frame(BINARY, packed[:2], rsv=4, fin=False)
        + frame(PING)
        + frame(CONT, packed[2:])
        + frame(BINARY, b"\x00", rsv=4)
    )
    assert events(data, inflate=True, size=size) == ["hello", "plain", Ping(b""), b"hello", b""]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xff", rsv=4), 1002),
        (frame(TEXT, deflated(b"\xff"), rsv=4), 1007),
        (frame(TEXT, deflated(b"a"), rsv=4, fin=False) + frame(CONT, b"\x00", rsv=4), 1002),
        (frame(BINARY, deflated(bytes(100_001)), rsv=4), 1009),
        (frame(PING, rsv=4), 1002),
    ],
)
def test_compressed_violations(data, code, size):
    [violation] = events(data, inflate=True, size=size)
    assert violation.code == code


def test_a_bomb_is_not_in_memory():
    packer = zlib.compressobj(wbits=-15)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush(zlib.Z_SYNC_FLUSH)
    data = frame(BINARY, bomb[:-4], rsv=4)
    caps = Caps(message=1_000_000, frame=1_000_000, fragments=10)
    tracemalloc.start()
    try:
        [violation] = events(data, caps, inflate=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert violation == Violation(1009, "a message that is too large")
    assert len(bomb) > 200_000
    # What is received is in wsproto's buffer and, unmasked, a few times more: that is bounded by the frame.
    assert peak < 1_000_000 * 1.2 + 65536 + 5 * len(bomb)


def test_messages_in_pieces():
    decoder = Decoder(CAPS)
    assert decoder.give_pieces() is None
    decoder.receive(frame(TEXT, b"abc\xc3", fin=False)[:8])
    assert decoder.next_event() == Piece("ab", last=False)
    decoder.receive(frame(TEXT, b"abc\xc3", fin=False)[8:])
    assert decoder.next_event() == Piece("c", last=False)
    decoder.receive(frame(CONT, b"\xa4") + frame(TEXT, "next"))
    assert decoder.next_event() == Piece("ä", last=False)
    assert decoder.next_event() == Piece("", last=True)
    assert decoder.next_event() == "next"


def test_the_rest_of_a_message_in_pieces():
    for opcode, first, rest in ((TEXT, "ab", "ä"), (BINARY, b"ab\xc3", b"\xa4")):
        decoder = Decoder(CAPS)
        decoder.receive(frame(opcode, b"ab\xc3", fin=False))
        assert decoder.next_event() is NEED_DATA
        assert decoder.give_pieces() == Piece(first, last=False)
        decoder.receive(frame(CONT, b"\xa4"))
        assert decoder.next_event() == Piece(rest, last=False)
        assert decoder.next_event() == Piece("" if opcode == TEXT else b"", last=True)


def test_in_pieces_a_message_may_be_of_any_size():
    decoder = Decoder(Caps(message=10, frame=10, fragments=2), Inflater(15, keep=True))
    decoder.give_pieces()
    for opcode, fin in ((BINARY, False), *[(CONT, False)] * 20, (CONT, True)):
        decoder.receive(frame(opcode, b"0123456789", fin=fin))
        assert decoder.next_event() == Piece(b"0123456789", last=False)
    assert decoder.next_event() == Piece(b"", last=True)


def test_what_is_inflated_comes_in_bounded_pieces():
    decoder = Decoder(CAPS, Inflater(15, keep=True))
    decoder.give_pieces()
    decoder.receive(frame(BINARY, deflated(bytes(200_000)), rsv=4) + frame(TEXT, "after"))
    sizes = []
    while (piece := decoder.next_event()) != "after":
        sizes.append(len(piece.data))
    assert sum(sizes) == 200_000
    assert max(sizes) == 65536


class Enough:
    """It is enough at each so-and-so-many-th time of asking."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked % self.times == 0


def test_others_have_a_turn_between_frames_that_are_no_event():
    decoder = Decoder(Caps(message=100, frame=100, fragments=10_000))
    decoder.receive(frame(TEXT, fin=False) + frame(CONT, fin=False) * 20 + frame(CONT, "a"))
    enough, found = Enough(5), []
    while (event := decoder.next_event(enough)) is not NEED_DATA:
        found.append(event)
    assert found == [LATER] * 4 + ["a"]


# -- what takes time ---------------------------------------------------------------------------------


def test_others_have_a_turn_while_a_message_is_inflated():
    decoder = Decoder(CAPS._replace(message=10**9), Inflater(15, keep=True))
    decoder.receive(frame(BINARY, deflated(bytes(1_000_000)), rsv=4) + frame(TEXT, "after"))
    found = []
    while (event := decoder.next_event(lambda: True)) is not NEED_DATA:
        found.append(event)
    assert found.count(LATER) >= 1_000_000 // 65536
    assert [event for event in found if event is not LATER] == [bytes(1_000_000), "after"]


def test_it_goes_on_where_it_was_whatever_has_come_meanwhile():
    decoder = Decoder(CAPS._replace(message=10**9), Inflater(15, keep=True))
    data = frame(BINARY, deflated(bytes(500_000)), rsv=4) + frame(PING, "p") + frame(TEXT, "after")
    found = []
    for octet in data[:-1]:
        decoder.receive(bytes([octet]))
        found.append(decoder.next_event(lambda: True))
    decoder.receive(data[-1:])
    while (event := decoder.next_event(lambda: True)) is not NEED_DATA:
        found.append(event)
    events_ = [event for event in found if event is not LATER and event is not NEED_DATA]
    assert events_ == [bytes(500_000), Ping(b"p"), "after"]


# -- what takes memory -------------------------------------------------------------------------------

MEBI = 1024 * 1024
WIDER = Caps(message=4 * MEBI, frame=4 * MEBI, fragments=100)


def text_frames(text: str, each: int = 60_000) -> list[bytes]:
    """A text in fragments, cut wherever it may be."""
    octets = text.encode()
    cut = [octets[at : at + each] for at in range(0, len(octets), each)]
    return [frame(CONT if at else TEXT, part, fin=at == len(cut) - 1, mask=bytes(4)) for at, part in enumerate(cut)]


@pytest.mark.parametrize(
    ("char", "characters", "fits"),
    [
        ("a", 4 * MEBI, True),
        ("a", 4 * MEBI + 1, False),
        ("é", 2 * MEBI, True),  # two octets of UTF-8, one in memory
        ("€", 4 * MEBI // 3, True),  # three, and two
        ("😀", MEBI, True),
        ("😀", MEBI + 1, False),
    ],
)
def test_case_37_a_text_is_held_to_what_it_takes_in_memory(char, characters, fits):
    decoder, found = Decoder(WIDER), []
    for part in text_frames(char * characters):
        decoder.receive(part)
        found.append(decoder.next_event())
        if isinstance(found[-1], Violation):
            break
    assert (found[-1] == char * characters) is fits
    if not fits:
        assert found[-1].code == 1009
        assert decoder.held == 0


@pytest.mark.parametrize(("wide", "most"), [("", 4), ("é", 4), ("€", 2), ("😀", 1)])
@pytest.mark.parametrize("place", ["first", "last"])
def test_case_37_one_wide_character_makes_all_of_them_wide(wide, most, place):
    def verdict(octets: int) -> object:
        letters = "a" * (octets - len(wide.encode()))
        decoder, event = Decoder(WIDER), NEED_DATA
        for part in text_frames(wide + letters if place == "first" else letters + wide):
            decoder.receive(part)
            if (event := decoder.next_event()) is not NEED_DATA:
                break
        return event

    assert len(verdict(most * MEBI)) > most * MEBI - 5
    assert verdict(most * MEBI + 10).code == 1009


def test_case_37_what_a_text_under_way_takes_is_known_at_every_moment():
    decoder = Decoder(WIDER)
    for part, held in [
        (frame(TEXT, b"a" * 1000, fin=False), 1000),
        (frame(CONT, b"\xf0\x9f", fin=False), 1000),
        (frame(CONT, b"\x98\x80", fin=False), 4 * 1001),
        (frame(CONT, b"b" * 99, fin=False), 4 * 1100),
        (frame(CONT, b"c"), 0),
    ]:
        decoder.receive(part)
        event = decoder.next_event()
        assert decoder.held == held
    assert event == "a" * 1000 + "😀" + "b" * 99 + "c"


@pytest.mark.parametrize("each", [65_000, 64 * 1024, 300_000])
def test_a_mebibyte_of_memory_is_always_allowed(each):
    """What fits in it is not worth a thought, whichever lane it takes."""
    caps = Caps(message=300_000, frame=300_000, fragments=100)
    text = "😀" + "a" * (MEBI // 4 - 1)
    decoder, found = Decoder(caps), []
    for part in text_frames(text, each):
        decoder.receive(part)
        found.append(decoder.next_event())
    assert found[-1] == text
    decoder.receive(text_frames(text + "a", 10**6)[0])
    assert decoder.next_event().code == 1009


def test_a_compressed_text_is_held_to_it_too():
    decoder = Decoder(WIDER, Inflater(15, keep=True))
    decoder.receive(frame(TEXT, deflated(("a" * 1_100_000 + "😀").encode()), rsv=4))
    assert decoder.next_event() == Violation(1009, "a text that takes too much memory")


@pytest.mark.parametrize("fragments", [20_000, 40_000])
def test_fragments_of_an_octet_take_no_more_than_their_octets(fragments):
    """As objects of their own they would take fifty times as much."""
    decoder = Decoder(Caps(message=10**6, frame=10**6, fragments=10**6))
    decoder.receive(frame(TEXT, "é", fin=False))
    assert decoder.next_event() is NEED_DATA
    tracemalloc.start()
    try:
        for _ in range(fragments):
            decoder.receive(frame(CONT, "€", fin=False))
            assert decoder.next_event() is NEED_DATA
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoder.held == 2 * (fragments + 1)
    assert size < 2 * fragments + 100_000


# -- what is wanted ----------------------------------------------------------------------------------


def test_case_38_pieces_that_were_wanted_and_never_came_are_a_message_again():
    decoder = Decoder(Caps(message=100, frame=100, fragments=3))
    assert decoder.give_pieces() is None
    decoder.receive(frame(TEXT, b"\xc3", fin=False))
    assert decoder.next_event() is NEED_DATA, "half a character is no piece"
    decoder.give_whole()
    decoder.receive(frame(CONT, b"\xa4b", fin=False) + frame(CONT, b"c"))
    assert decoder.next_event() == "äbc"
    assert decoder.give_pieces() is None
    decoder.receive(frame(TEXT, fin=False) + frame(CONT, fin=False) * 5)
    assert decoder.next_event() is NEED_DATA
    decoder.give_whole()
    decoder.receive(frame(CONT))
    assert decoder.next_event() == Violation(1009, "a message of too many fragments"), "all of them have counted"


def test_pieces_of_which_some_were_given_stay_pieces():
    decoder = Decoder(CAPS)
    decoder.give_pieces()
    decoder.receive(frame(TEXT, "a", fin=False))
    assert decoder.next_event() == Piece("a", last=False)
    decoder.give_whole()
    decoder.receive(frame(CONT, "b", fin=False))
    assert decoder.next_event() == Piece("b", last=False)


@pytest.mark.parametrize("inflate", [False, True])
def test_messages_that_are_read_over(inflate):
    decoder = Decoder(CAPS, Inflater(15, keep=True) if inflate else None)
    decoder.receive(frame(TEXT, "abc\xc3", fin=False))
    assert decoder.next_event() is NEED_DATA
    decoder.read_over()
    assert decoder.held == 0
    rsv = 4 * inflate
    decoder.receive(
        frame(CONT, b"\xff" * 100)
        + frame(BINARY, b"\xff" * 100, rsv=rsv, fin=False)
        + frame(PING, "p")
        + frame(CONT, b"\xff" * 100)
        + frame(TEXT, b"\xff", rsv=rsv)
        + closing(1000)
    )
    found = []
    while (event := decoder.next_event()) is not NEED_DATA:
        assert decoder.held == 0
        found.append(event)
    assert [event for event in found if event] == [Ping(b"p"), Close(1000, "")]


def test_after_a_stop_there_is_nothing():
    decoder = Decoder(CAPS)
    decoder.receive(frame(TEXT, "a", fin=False))
    assert decoder.next_event() is NEED_DATA
    decoder.stop()
    assert (decoder.held, decoder.over) == (0, True)
    decoder.receive(frame(CONT, "b") + frame(TEXT, "c"))
    assert decoder.next_event() is NEED_DATA
