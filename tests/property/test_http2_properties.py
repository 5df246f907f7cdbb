"""HTTP/2 beside its oracles: HPACK beside ``hpack``, the engine beside ``h2``; and cuts, which change nothing.

h2 is no law: it lets pass what RFC 9113 calls malformed. What ours accepts it has to accept; where ours is
stricter, the reason has to be one of :data:`STRICTER`.
"""

from __future__ import annotations

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from http2_scripts import HOSTILE_SCRIPTS, SCRIPTS, STEPS, Writer, octets_of, read_by_h2
from http2_tools import HELLO, PLAIN, Player, cut
from hypothesis import given, settings
from hypothesis import strategies as st

from roadrunner_trio.protocol.http2 import blocks, huffman
from roadrunner_trio.protocol.http2.engine import Stream
from roadrunner_trio.protocol.http2.hpack import EXCESS, CompressionError, Decoder, TooManyFields
from roadrunner_trio.protocol.http2.tables import STATIC

NAMES = st.one_of(st.sampled_from([name for name, _ in STATIC]), st.binary(max_size=12))
FIELDS = st.lists(st.tuples(NAMES, st.one_of(st.sampled_from([b"", b"GET", b"/"]), st.binary(max_size=40))), max_size=8)
SIZES = st.sampled_from([0, 40, 100, 300, 4096])

STRICTER = {
    "bad_header": "names, values, paths and authorities by the rules of HTTP/1, and no connection fields",
    "bad_target": "an asterisk is for OPTIONS, and CONNECT names a port",
    "bad_host": "Host and :authority name the same",
    "bad_pseudo_header": "CONNECT has a method and an authority, and no more",
    "missing_host": "a request names a host",
    "missing_pseudo_header": "a malformed pseudo-field is none",
    "repeated_host": "there is one Host",
    "repeated_content_length": "there is one length, even when both agree",
    "body_too_short": "also when trailers end the body",
    "body_too_long": "likewise",
    "bad_trailer": "fields that were needed before the body are no trailers",
    "connect_with_body": "a CONNECT has no content",
    "too_many_settings": "a frame has 32 of them",
    "bad_settings": "also settings of RFC 8441 and RFC 9218 have values that they cannot have",
    "depends_on_itself": "on a stream that is over as well",
    "frame_too_large": "known from its nine octets: theirs waits for a frame it will refuse",
    "bad_priority_update": "a frame that theirs does not know",
    "priority_update_on_stream": "likewise",
    "push_promise": "theirs takes one on an even stream, cut short",
    "rst_stream_on_idle": "nor has anybody begun one with an even number",
    "window_update_on_idle": "likewise",
    "data_on_idle": "likewise",
    "headers_after_end": "on a stream that was answered and forgotten",
    "data_after_end": "likewise",
    "too_many_control_frames": "it has no budgets",
}


def without_judging() -> Decoder:
    return Decoder(lambda name, value: (name, value), [*reversed(STATIC)])


def theirs_of(block: bytes, decoder: hpack.Decoder) -> list[tuple[bytes, bytes]] | None:
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except (hpack.HPACKError, UnicodeDecodeError):
        return None


def ours_of(block: bytes, decoder: Decoder, most: int = 1000) -> list[tuple[bytes, bytes]] | None:
    try:
        return decoder.decode(block, most)
    except CompressionError:
        return None


# -- HPACK ---------------------------------------------------------------------------------------


@given(st.binary(max_size=40))
def test_huffman_codes_are_hpacks(text):
    code = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert huffman.encode(text) == code
    assert huffman.decode(code) == text


@given(st.binary(max_size=12), st.integers(0, 255))
def test_any_octets_are_a_string_for_both_or_for_none(code, mask):
    code = bytes(octet | mask for octet in code)
    try:
        theirs = decode_huffman(code)
    except hpack.HPACKError:
        theirs = None
    try:
        ours = huffman.decode(code)
    except ValueError:
        ours = None
    assert ours == theirs


@given(st.lists(st.tuples(FIELDS, st.one_of(st.none(), SIZES), st.booleans(), st.booleans()), max_size=6))
def test_what_hpack_writes_we_read_and_no_rest_is_to_be_seen(messages):
    writer, reader = hpack.Encoder(), without_judging()
    for fields, size, coded, rests in messages:
        if size is not None:
            writer.header_table_size = size
        assert reader.decode(writer.encode(fields, huffman=coded)) == fields
        if rests:
            reader.rest()
            reader.resume()


@given(st.lists(st.tuples(FIELDS, st.one_of(st.none(), SIZES), st.integers(2, 9)), max_size=6), st.booleans())
def test_a_section_of_which_a_part_is_wanted_leaves_the_table_as_it_leaves_hpacks(messages, coded):
    writer, theirs, ours = hpack.Encoder(), hpack.Decoder(), without_judging()
    for fields, size, most in messages:
        if size is not None:
            writer.header_table_size = size
        block = writer.encode(fields, huffman=coded)
        theirs.decode(block, raw=True)
        assert ours.decode(block, most) == fields[:most]
        there = [(bytes(name), bytes(value)) for name, value in theirs.header_table.dynamic_entries]
        assert ours.decode(bytes(range(0xBE, 0xBE + len(there)))) == there
        assert ours_of(bytes([0xBE + len(there)]), ours) is None


@given(st.lists(FIELDS, max_size=4))
def test_what_we_write_hpack_reads(messages):
    reader, ours = hpack.Decoder(), without_judging()
    for fields in messages:
        block = blocks.encode(fields)
        assert [(bytes(name), bytes(value)) for name, value in reader.decode(block, raw=True)] == fields
        assert ours.decode(block) == fields
    assert len(reader.header_table.dynamic_entries) == 0


@settings(max_examples=300)
@given(
    st.lists(FIELDS, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    st.sampled_from([1, 2, 500]),
)
def test_a_damaged_block_is_accepted_by_both_or_by_none(messages, damages, most):
    writer, theirs, ours = hpack.Encoder(), hpack.Decoder(), without_judging()
    theirs.max_header_list_size = 2**30
    for fields in messages:
        block = bytearray(writer.encode(fields))
        for at, octet in damages:
            if block:
                block[at % len(block)] = octet
        expected = theirs_of(bytes(block), theirs)
        try:
            got = ours_of(bytes(block), ours, most)
        except TooManyFields:
            assert expected is None or len(expected) > EXCESS * most
            return
        assert got == (expected and expected[:most])
        if expected is None:
            return


# -- cuts ----------------------------------------------------------------------------------------


def played(parts: list[bytes]) -> Player:
    player = Player(hold=True)
    for part in parts:
        player.receive(part)
    return player


@settings(max_examples=200)
@given(HOSTILE_SCRIPTS, st.integers(1, 60))
def test_no_cut_changes_the_outcome(script, size):
    octets = HELLO + octets_of(script)
    whole = played([octets]).outcome()
    assert played(cut(octets, size)).outcome() == whole
    assert played(cut(octets, 1)).outcome() == whole


@settings(max_examples=100)
@given(st.binary(max_size=300), st.integers(1, 30))
def test_any_octets_at_all_are_read_or_refused(octets, size):
    whole = played([HELLO + octets])
    assert played(cut(HELLO + octets, size)).outcome() == whole.outcome()
    assert whole.failed is None or whole.reader.goaways == [(whole.engine.last, whole.failed.code)]


# -- h2 ------------------------------------------------------------------------------------------


@settings(max_examples=500)
@given(SCRIPTS)
def test_what_ours_accepts_h2_accepts_and_the_rest_has_a_reason(script):
    octets = HELLO + octets_of(script)
    ours, theirs = played([octets]), read_by_h2(octets)
    reasons = {reason for _, _, reason in ours.breaches}
    reasons |= {owner.stream.error.reason for owner in ours.owners.values() if owner.stream.error}
    if ours.failed is not None:
        reasons.add(ours.failed.reason)
    elif not reasons and not ours.engine.peer_leaves:  # behind a GOAWAY theirs reads nothing
        assert theirs.error is None
    if theirs.error is None:
        alike = {reason for number, _, reason in ours.breaches if number in theirs.reset}
        assert reasons - alike <= STRICTER.keys()
    for number, owner in ours.owners.items():
        stream = owner.stream
        if stream.ended and not stream.lost and theirs.error is None:
            assert stream.body == theirs.requests[number][1]
            assert said(stream.head.fields) == said(theirs.requests[number][0])


def said(fields: tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields beside pseudo-fields and Host, a cookie in one."""
    rest = [(name, value) for name, value in fields if not name.startswith(b":") and name not in (b"host", b"cookie")]
    return [*rest, (b"cookie", b"; ".join(value for name, value in fields if name == b"cookie"))]


# -- the books -----------------------------------------------------------------------------------

DEEDS = st.lists(
    st.one_of(
        st.sampled_from(["respond", "begin", "take", "some", "release", "reset", "gather", "drain", "goaway"]),
        STEPS,
        STEPS,
    ),
    max_size=30,
)


def do(player: Player, deed: str, stream: Stream) -> None:
    """Something that a server does with a stream."""
    engine = player.engine
    if deed == "respond" and not stream.answered:
        engine.respond(stream, 200, PLAIN, 2, b"ok")
    elif deed == "begin" and not stream.answered:
        engine.send_head(stream, 200, PLAIN, None)
    elif deed in ("take", "some") and stream.error is None:
        engine.take_body(stream, 3 if deed == "some" else None)
    elif deed in ("release", "gather"):
        getattr(engine, deed)(stream)
    elif deed == "reset":
        engine.reset(stream, 8)


def check_books(player: Player) -> list[Stream]:
    """What holds between any two steps; the streams that somebody has."""
    engine = player.engine
    held = [owner.stream for owner in player.owners.values() if not owner.stream.released]
    assert engine.places == len(held)
    for number, stream in engine.streams.items():
        assert (stream.id, stream.lost, stream.ended and stream.finished) == (number, False, False)
    assert all(stream.lost or stream.id in engine.streams or (stream.ended and stream.finished) for stream in held)
    return held


@settings(max_examples=300)
@given(DEEDS, st.randoms(use_true_random=False))
def test_whatever_both_do_the_books_are_right(deeds, chance):
    player, writer = Player(hold=True).receive(HELLO), Writer()
    engine = player.engine
    for deed in deeds:
        held = check_books(player)
        if isinstance(deed, tuple):
            player.receive(writer.write(deed))
        elif deed in ("drain", "goaway"):
            getattr(engine, deed)()
        elif held:
            do(player, deed, chance.choice(held))
        player.read()
    for stream in check_books(player):
        engine.release(stream)
    assert (engine.places, engine.streams) == (0, {})
    if engine.failed is None:
        assert engine.incoming.left + engine.incoming.due == engine.limits.connection_window
