"""The engine: octets in, ready streams out; responses, windows and the end of a connection."""

from __future__ import annotations

import pytest
from http2_tools import (
    GET,
    HELLO,
    PLAIN,
    POST,
    Owner,
    Player,
    block,
    data,
    engine_with,
    greeted,
    ready,
    request,
    split,
    written,
)

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.protocol.http2.blocks import sift
from roadrunner_trio.protocol.http2.engine import (
    CLOSED,
    NEED_DATA,
    PREFACE,
    ConnectionFailed,
    Http2Engine,
)
from roadrunner_trio.settings import Limits

LENGTH_5 = [*POST, ("content-length", "5")]


# -- how it begins -------------------------------------------------------------------------------


def test_a_server_speaks_first():
    engine = Http2Engine(Limits(), lambda: 0.0, websocket=True)
    settings, update = written(engine)
    assert dict(frames.SETTING.iter_unpack(settings[3])) == {3: 100, 4: 262_144, 6: 39_168, 8: 1, 9: 1}
    assert update == (frames.WINDOW_UPDATE, 0, 0, (1_048_576 - 65_535).to_bytes(4, "big"))


def test_websockets_are_offered_only_if_there_are_any():
    assert frames.ENABLE_CONNECT_PROTOCOL not in greeted().reader.settings
    assert greeted(websocket=True).reader.settings[frames.ENABLE_CONNECT_PROTOCOL] == 1


def test_nothing_is_looked_at_before_it_is_asked_for():
    engine = Http2Engine(Limits(), lambda: 0.0)
    assert not engine.partial
    engine.receive(b"GET / HTTP/1.1\r\n\r\n")
    engine.take_output()
    for _ in range(2):
        with pytest.raises(ConnectionFailed) as caught:
            engine.next_ready()
    assert (caught.value.code, caught.value.reason) == (frames.PROTOCOL_ERROR, "bad_preface")
    assert [kind for kind, *_ in written(engine)] == [frames.GOAWAY]
    engine.receive(HELLO)
    assert not engine.partial


def test_what_is_partial():
    engine = Http2Engine(Limits(), lambda: 0.0)
    for octets, partial, is_greeted in [
        (PREFACE[:5], True, False),
        (PREFACE[5:], False, False),
        (frames.settings([])[:3], True, False),
        (frames.settings([])[3:], False, True),
        (frames.frame(frames.HEADERS, 0, 1, b""), True, True),
        (frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block(GET)), False, True),
    ]:
        engine.receive(octets)
        while engine.next_ready() is not NEED_DATA:
            pass
        assert (engine.partial, engine.greeted) == (partial, is_greeted), octets


def test_a_frame_that_ends_is_told_from_one_that_goes_on():
    engine = engine_with()
    block_, seen = block(GET), []
    for octets in [
        frames.frame(frames.HEADERS, 0, 1, block_[:20])[:15],
        frames.frame(frames.HEADERS, 0, 1, block_[:20])[15:],
        frames.frame(frames.CONTINUATION, 0, 1, block_[20:30]),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block_[30:]) + data(1, b"x" * 100)[:50],
        data(1, b"x" * 100)[50:60],
        data(1, b"x" * 100)[60:] + data(1, b"y" * 100)[:9],
    ]:
        before = engine.whole
        engine.receive(octets)
        while engine.next_ready() is not NEED_DATA:
            pass
        seen.append((engine.partial, engine.whole > before))
    assert seen == [(True, False), (True, False), (True, False), (True, True), (True, False), (True, True)]


def test_the_end_of_the_peer_is_told_behind_what_it_sent():
    engine = engine_with(request(1), b"")
    assert ready(engine).id == 1
    assert engine.next_ready() is CLOSED
    assert engine.ended
    empty = Http2Engine(Limits(), lambda: 0.0)
    empty.receive(b"")
    assert empty.next_ready() is CLOSED


def test_requests_in_one_piece_are_given_out_one_by_one():
    engine = engine_with(request(1) + request(3) + request(5, POST, end=False))
    streams = [ready(engine) for _ in range(3)]
    assert [(stream.id, stream.ended) for stream in streams] == [(1, True), (3, True), (5, False)]
    assert (engine.places, engine.opened, engine.last) == (3, 3, 5)
    assert engine.next_ready() is NEED_DATA


# -- bodies --------------------------------------------------------------------------------------


def test_a_gathered_body_is_given_out_when_it_is_whole():
    engine = engine_with(request(1, POST, end=False), data(1, b"he"))
    stream = ready(engine)
    assert not engine.gather(stream)
    assert engine.next_ready() is NEED_DATA
    engine.receive(data(1, b"llo", end=True))
    assert ready(engine) is stream
    assert engine.take_body(stream) == b"hello"
    assert engine.gather(stream)


def test_a_gathered_body_may_be_there_already():
    engine = engine_with(request(1, POST, end=False) + data(1, b"hi", end=True))
    stream = ready(engine)
    assert engine.next_ready() is NEED_DATA
    assert engine.gather(stream)
    assert engine.take_body(stream) == b"hi"


def test_a_streamed_body_is_told_of_and_taken_in_pieces():
    engine = engine_with(request(1, POST, end=False))
    stream = ready(engine)
    owner = stream.owner = Owner(stream)
    engine.receive(data(1, b"hello") + data(1, b" world"))
    assert engine.next_ready() is NEED_DATA
    assert owner.told == ["body", "body"]
    assert [engine.take_body(stream, 4) for _ in range(4)] == [b"hell", b"o wo", b"rld", b""]
    engine.receive(data(1, end=True))
    engine.next_ready()
    assert owner.told[2:] == ["body"]
    assert (stream.ended, stream.received, engine.take_body(stream)) == (True, 11, b"")


def test_trailers_end_a_body():
    engine = engine_with(request(1, POST, end=False), data(1, b"a"), request(1, [("x-sum", "1")]))
    stream = ready(engine)
    assert engine.next_ready() is NEED_DATA
    assert (stream.ended, stream.trailers, bytes(stream.body)) == (True, ((b"x-sum", b"1"),), b"a")


@pytest.mark.parametrize(
    ("fields", "frames_", "reason"),
    [
        (LENGTH_5, [data(1, b"hello!")], "body_too_long"),
        (LENGTH_5, [data(1, b"hell", end=True)], "body_too_short"),
        (LENGTH_5, [data(1, b"hell"), request(1, [("x", "y")])], "body_too_short"),
        (POST, [request(1, [("x", "y")], end=False)], "bad_trailer"),
        (POST, [request(1, [("host", "y")])], "bad_trailer"),
    ],
)
def test_a_body_that_breaks_its_promise(fields, frames_, reason):
    player = greeted(hold=True).receive(request(1, fields, end=False) + b"".join(frames_))
    assert player.answer(1).reset == frames.PROTOCOL_ERROR
    assert player.breaches == [(1, frames.PROTOCOL_ERROR, reason)]
    assert player.owners[1].told[-1] == (frames.PROTOCOL_ERROR, reason)
    assert player.owners[1].stream.lost
    assert player.engine.faults == 1


def test_a_declared_body_above_its_cap():
    engine = engine_with(request(1, LENGTH_5, end=False))
    stream = ready(engine)
    engine.limit_body(stream, 5)
    with pytest.raises(ProtocolError) as caught:
        engine.limit_body(stream, 4)
    assert caught.value.status == 413
    with pytest.raises(ProtocolError):
        engine.take_body(stream)


@pytest.mark.parametrize("gathered", [True, False])
def test_a_body_that_grows_above_its_cap(gathered):
    engine = engine_with(request(1, POST, end=False))
    stream = ready(engine)
    owner = stream.owner = Owner(stream)
    engine.limit_body(stream, 5)
    if gathered:
        engine.gather(stream)
    engine.receive(data(1, b"hello"))
    assert engine.next_ready() is NEED_DATA
    engine.receive(data(1, b"!") + data(1, b"more", end=True))
    if gathered:
        assert ready(engine) is stream
    assert engine.next_ready() is NEED_DATA
    assert owner.told == (["body"] if gathered else ["body", "body"])
    assert stream.error is not None
    with pytest.raises(ProtocolError) as caught:
        engine.take_body(stream)
    assert (caught.value.status, stream.body, stream.ended) == (413, b"", True)


def test_a_cap_may_come_when_it_is_too_late():
    engine = engine_with(request(1, POST, end=False) + data(1, b"hello"))
    stream = ready(engine)
    engine.next_ready()
    with pytest.raises(ProtocolError):
        engine.limit_body(stream, 4)
    assert not stream.body
    engine.limit_body(stream, None)


def test_trailers_above_their_limits_are_an_error_of_the_stream():
    engine = engine_with(request(1, POST, end=False), request(1, [("x", "y")] * 201))
    stream = ready(engine)
    owner = stream.owner = Owner(stream)
    engine.next_ready()
    assert owner.told == ["body"]
    with pytest.raises(ProtocolError) as caught:
        engine.take_body(stream)
    assert (caught.value.status, stream.ended) == (431, True)


def test_a_head_above_its_limits_is_given_out_to_be_answered():
    engine = engine_with(request(1, [*POST, *[("x", "y")] * 201], end=False))
    stream = ready(engine)
    assert stream.head is None
    assert stream.error is not None
    assert stream.error.status == 431
    engine.receive(data(1, b"x" * 10_000) * 20)
    assert engine.next_ready() is NEED_DATA
    assert not stream.body
    engine.send_head(stream, 431, PLAIN, 0, end=True)
    engine.release(stream)
    assert [(kind, number) for kind, _, number, _ in written(engine)][-2:] == [
        (frames.HEADERS, 1),
        (frames.RST_STREAM, 1),
    ]
    engine.receive(request(3))
    assert ready(engine).id == 3


def test_a_gathered_body_is_credited_as_it_comes_and_a_streamed_one_as_it_is_taken():
    for gathered in (True, False):
        engine = engine_with(request(1, POST, end=False))
        stream = ready(engine)
        if gathered:
            engine.gather(stream)
        for _ in range(10):
            engine.receive(data(1, b"x" * 16_000))
            engine.next_ready()
        assert (written(engine) != []) is gathered
        if not gathered:
            assert len(engine.take_body(stream)) == 160_000
            assert [(kind, number) for kind, _, number, _ in written(engine)] == [(frames.WINDOW_UPDATE, 1)]


def test_what_nobody_took_is_credited_to_the_connection():
    engine = engine_with()
    for number in range(1, 9, 2):
        engine.receive(request(number, POST, end=False) + data(number, b"x" * 16_000) * 9)
        stream = ready(engine)
        engine.next_ready()
        engine.send_head(stream, 200, PLAIN, 0, end=True)
        engine.release(stream)
    updates = [payload for kind, _, number, payload in written(engine) if (kind, number) == (frames.WINDOW_UPDATE, 0)]
    assert [int.from_bytes(payload, "big") for payload in updates] == [4 * 9 * 16_000]


def test_padding_is_credited_at_once():
    engine = engine_with(request(1, POST, end=False))
    stream = ready(engine)
    for _ in range(600):
        engine.receive(frames.frame(frames.DATA, frames.PADDED, 1, b"\xff" + b"x" * 300 + bytes(255)))
        engine.next_ready()
        assert len(engine.take_body(stream)) == 300
    updates = [int.from_bytes(payload, "big") for kind, _, number, payload in written(engine) if number == 1]
    assert updates
    assert sum(updates) > 600 * 556 - 131_072


# -- responses -----------------------------------------------------------------------------------


def test_a_response_in_one_go():
    player = greeted().receive(request(1))
    answer = player.answer(1)
    assert (answer.status, answer.content, answer.ended, answer.reset) == (200, b"none", True, None)
    assert (player.engine.streams, player.engine.places) == ({}, 0)


def test_a_response_without_content_ends_with_its_head():
    engine = engine_with(request(1))
    stream = ready(engine)
    assert engine.respond(stream, 204, PLAIN, None, b"") == 0
    ((kind, flags, number, _),) = written(engine)
    assert (kind, flags, number) == (frames.HEADERS, frames.END_STREAM | frames.END_HEADERS, 1)
    assert stream.finished


def test_a_response_in_pieces_with_trailers():
    engine = engine_with(request(1))
    stream = ready(engine)
    engine.send_interim(stream, 103, ((b"link", b"</a>"),))
    engine.send_head(stream, 200, sift(((b"x-a", b"1"),)), None)
    engine.send_interim(stream, 103)  # too late: it is not sent
    assert engine.send_data(stream, b"x" * 40_000) == 40_000
    engine.send_trailers(stream, ((b"x-sum", b"1"),))
    out = engine.take_output()
    player = Player()
    player.reader.read(out)
    answer = player.answer(1)
    assert (answer.interim, answer.status, len(answer.content), answer.ended) == ([103], 200, 40_000, True)
    assert answer.trailers == [(b"x-sum", b"1")]
    assert [len(payload) for kind, _, _, payload in split(bytes(out)) if kind == frames.DATA] == [16_384, 16_384, 7_232]


def test_no_trailers_are_an_empty_end():
    engine = engine_with(request(1))
    stream = ready(engine)
    engine.send_head(stream, 200, PLAIN, None)
    engine.send_trailers(stream, ())
    assert written(engine)[-1] == (frames.DATA, frames.END_STREAM, 1, b"")


def test_a_response_is_sent_once_and_in_order():
    engine = engine_with(request(1))
    stream = ready(engine)
    with pytest.raises(RuntimeError, match="has not begun"):
        engine.send_data(stream, b"x")
    with pytest.raises(RuntimeError, match="has not begun"):
        engine.send_trailers(stream, ((b"x", b"y"),))
    engine.send_head(stream, 200, PLAIN, None)
    for again in (lambda: engine.send_head(stream, 200, PLAIN, 0), lambda: engine.respond(stream, 200, PLAIN, 1, b"x")):
        with pytest.raises(RuntimeError, match="has begun"):
            again()
    engine.send_data(stream, b"x", end=True)
    for late in (lambda: engine.send_data(stream, b"x"), lambda: engine.send_trailers(stream, ((b"x", b"y"),))):
        with pytest.raises(RuntimeError, match="is complete"):
            late()


def test_a_large_head_goes_in_continuations():
    engine = engine_with(request(1))
    stream = ready(engine)
    wishes = sift(tuple((b"x-%d" % number, b"{" * 1000) for number in range(20)))
    assert engine.respond(stream, 200, wishes, 2, b"ok") == 2
    player = Player()
    player.reader.read(engine.take_output())
    assert player.reader.kinds[frames.CONTINUATION] == 1
    assert (player.answer(1).status, player.answer(1).content, len(player.answer(1).fields)) == (200, b"ok", 23)


def test_windows_hold_a_response_back():
    engine = engine_with(frames.settings([(4, 10)]), request(1))
    stream = ready(engine)
    owner = stream.owner = Owner(stream)
    assert engine.respond(stream, 200, PLAIN, 25, b"x" * 25) == 10
    assert engine.sendable(stream) == 0
    assert engine.send_data(stream, b"x" * 15, end=True) == 0
    engine.receive(frames.window_update(1, 5) + frames.window_update(1, 1))
    engine.next_ready()
    assert owner.told == ["window"]
    assert engine.send_data(stream, b"x" * 15, end=True, most=4) == 4
    assert engine.send_data(stream, memoryview(b"x" * 11), end=True) == 2
    assert not stream.finished
    engine.receive(frames.window_update(1, 9))
    engine.next_ready()
    assert owner.told == ["window", "window"]
    assert engine.send_data(stream, b"x" * 9, end=True) == 9
    assert stream.finished


def test_an_end_without_content_needs_no_window():
    engine = engine_with(frames.settings([(4, 0)]), request(1))
    stream = ready(engine)
    engine.send_head(stream, 200, PLAIN, None)
    assert engine.send_data(stream, b"x") == 0
    assert engine.send_data(stream, b"", end=True) == 0
    assert stream.finished


def test_the_connections_window_is_told_to_the_connection():
    told: list[int] = []
    engine = engine_with(frames.settings([(4, 1_000_000)]), request(1), window_opened=lambda: told.append(1))
    stream = ready(engine)
    told.clear()
    assert engine.respond(stream, 200, PLAIN, None, b"x" * 100_000) == 65_535
    engine.receive(frames.window_update(1, 100) + frames.window_update(0, 100) + frames.window_update(0, 100))
    engine.next_ready()
    assert told == [1]
    assert engine.sendable(stream) == 200


def test_settings_that_raise_all_windows_are_told_to_the_connection():
    told: list[int] = []
    engine = engine_with(frames.settings([(4, 0)]), request(1), window_opened=lambda: told.append(1))
    stream = ready(engine)
    assert engine.respond(stream, 200, PLAIN, 3, b"abc") == 0
    engine.receive(frames.settings([(4, 2)]) + frames.settings([(4, 1)]))
    engine.next_ready()
    assert told == [1]
    assert engine.sendable(stream) == 1


def test_a_peer_with_a_smaller_table_hears_that_we_have_none():
    player = greeted()
    player.receive(frames.settings([(1, 0)]))
    player.reader.decoder.max_allowed_table_size = 0
    player.receive(request(1) + request(3))
    assert [player.answer(number).status for number in (1, 3)] == [200, 200]
