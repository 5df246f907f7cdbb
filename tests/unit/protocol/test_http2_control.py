"""Drains, priorities, tunnels, and what frames about a connection do."""

from __future__ import annotations

import pytest
from http2_tools import GET, POST, Owner, Player, block, data, greeted, request, split

from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.protocol.http2.engine import NEED_DATA, Http2Engine, Stream
from roadrunner_trio.protocol.http2.ledger import DRAIN_PING
from roadrunner_trio.settings import Limits

LAST = frames.MAX_STREAM
CONNECT = [(":method", "CONNECT"), (":authority", "example.com:443")]
WEBSOCKET = [(":method", "CONNECT"), *GET[1:], (":protocol", "websocket")]


def pong(octets: bytes) -> bytes:
    return frames.frame(frames.PING, frames.ACK, 0, octets)


# -- drain ---------------------------------------------------------------------------------------


def test_a_drain_is_told_twice():
    player = greeted(hold=True).receive(request(1))
    player.engine.drain()
    player.engine.drain()
    assert player.read().goaways == [(LAST, 0)]
    assert player.reader.pings == [DRAIN_PING]
    assert (player.engine.draining, player.engine.closing) == (True, False)
    player.receive(request(3))
    assert player.engine.places == 2
    player.receive(pong(b"another1"))
    assert not player.engine.closing
    player.receive(pong(DRAIN_PING) + request(5) + data(5, b"x"))
    assert player.engine.closing
    assert player.reader.goaways == [(LAST, 0), (3, 0)]
    assert player.engine.places == 2
    player.engine.goaway()
    assert len(player.read().goaways) == 2


def test_what_comes_after_the_last_goaway_is_ignored_but_decoded():
    player = greeted().receive(request(1))
    player.engine.goaway()
    indexed = b"\x40\x01x\x01y"
    player.receive(frames.headers(3, block(GET) + indexed, 0) + data(3, b"x" * 300) + frames.window_update(3, 5))
    player.receive(request(5, [("x", "y")]) + frames.rst_stream(5, 8) + frames.headers(7, b"\xbe", 0) + data(7))
    assert player.failed is None
    assert player.answer(3).status is None
    assert player.reader.goaways == [(1, 0)]


def test_a_last_word_with_a_reason():
    player = greeted().receive(request(1))
    player.engine.goaway(frames.ENHANCE_YOUR_CALM)
    assert player.read().goaways == [(1, 11)]
    assert player.engine.draining


def test_a_connection_has_so_many_requests():
    player = greeted(limits=Limits(max_requests_http2=3)).receive(request(1) + request(3))
    assert not player.engine.draining
    player.receive(request(5))
    assert player.engine.draining
    player.receive(request(7))
    assert player.answer(7).status == 200
    player.receive(pong(DRAIN_PING) + request(9))
    assert player.reader.goaways == [(LAST, 0), (7, 0)]
    assert player.answer(9).status is None


def test_the_last_number_is_the_last_stream():
    player = greeted().receive(request(LAST))
    assert player.answer(LAST).status == 200
    assert player.reader.goaways == [(LAST, 0)]
    assert player.engine.closing


def test_a_peers_goaway_is_noted():
    player = greeted().receive(frames.goaway(0, 0) + request(1))
    assert player.engine.peer_leaves
    assert player.answer(1).status == 200


# -- priorities ----------------------------------------------------------------------------------


def first(engine: Http2Engine, *octets: bytes) -> Stream:
    for each in octets:
        engine.receive(each)
    stream = engine.next_ready()
    assert isinstance(stream, Stream)
    return stream


def update(number: int, value: bytes) -> bytes:
    return frames.frame(frames.PRIORITY_UPDATE, 0, 0, number.to_bytes(4, "big") + value)


def test_a_priority_comes_with_a_request_before_it_or_later():
    engine = greeted(hold=True).engine
    stream = first(engine, request(1, [*GET, ("priority", "u=1, i")]))
    assert (stream.urgency, stream.incremental) == (1, True)
    early = first(engine, update(3, b"u=2"), request(3, [*GET, ("priority", "u=5")]))
    assert (early.urgency, early.incremental) == (2, False)
    engine.receive(update(3, b"u=7, i") + update(1, b"") + update(99, b"u=0"))
    assert engine.next_ready() is NEED_DATA
    assert [(each.urgency, each.incremental) for each in (stream, early)] == [(3, False), (7, True)]


def test_one_priority_is_remembered():
    engine = greeted(hold=True).engine
    engine.receive(update(1, b"u=1") + update(3, b"u=1"))
    assert first(engine, request(1)).urgency == 3
    assert first(engine, request(3)).urgency == 1


@pytest.mark.parametrize(("size", "urgency"), [(256, 1), (257, 3), (16_380, 3)])
def test_a_priority_that_is_long_says_nothing_and_is_not_kept(size, urgency):
    engine = greeted(hold=True).engine
    value = b"u=1" + b" " * (size - 3)
    assert engine.next_ready() is NEED_DATA
    engine.receive(update(1, value))
    assert engine.next_ready() is NEED_DATA
    assert engine.foretold == (1, (urgency, False))
    stream = first(engine, request(1))
    assert stream.urgency == urgency
    engine.receive(update(1, b"u=5") + update(1, value))
    assert engine.next_ready() is NEED_DATA
    assert stream.urgency == urgency


# -- tunnels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [CONNECT, WEBSOCKET])
def test_a_tunnel_is_a_stream_of_octets(fields):
    engine = greeted(hold=True, websocket=True).engine
    stream = first(engine, request(1, fields, end=False))
    owner = stream.owner = Owner(stream)
    assert (stream.tunnel, stream.ended) == (True, False)
    engine.receive(data(1, b"ping") + data(1, b"pong", end=True))
    engine.next_ready()
    assert (owner.told, engine.take_body(stream), stream.ended) == (["body", "body"], b"pingpong", True)


def test_a_tunnel_has_no_trailers():
    player = greeted(hold=True, websocket=True).receive(request(1, WEBSOCKET, end=False) + request(1, [("x", "y")]))
    assert player.answer(1).reset == frames.PROTOCOL_ERROR


def test_a_plain_connect_is_the_applications_affair():
    player = greeted().receive(request(1, CONNECT, end=False) + data(1, b"x", end=True))
    assert player.answer(1).status == 501


def test_another_protocol_than_websocket_is_not_implemented():
    player = greeted(websocket=True).receive(request(1, [*WEBSOCKET[:-1], (":protocol", "connect-udp")], end=False))
    assert player.answer(1).status == 501


# -- the connection ------------------------------------------------------------------------------


def test_pings_are_answered_in_order():
    player = greeted().receive(
        frames.frame(frames.PING, 0, 0, b"12345678") + frames.frame(frames.PING, 0, 0, b"abcdefgh")
    )
    assert player.reader.pings == [b"12345678", b"abcdefgh"]


def test_a_smaller_window_of_ours_counts_from_its_acknowledgement():
    limits = Limits(stream_window=16_384, connection_window=65_536)
    player = greeted(limits=limits, hold=True).receive(request(1, POST, end=False) + data(1, b"x" * 16_000) * 2)
    assert player.breaches == []
    player.receive(
        frames.frame(frames.SETTINGS, frames.ACK, 0) + request(3, POST, end=False) + data(3, b"x" * 16_000) * 2
    )
    assert player.breaches == [(3, frames.FLOW_CONTROL_ERROR, "stream_window_exceeded")]


def test_a_connection_that_is_cut_inside_of_a_head():
    player = greeted()
    whole = request(1)
    player.receive(whole[: len(whole) // 2]).receive(b"")
    assert player.engine.ended
    assert player.engine.partial
    assert player.asked == {}


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frames.frame(frames.PRIORITY, 0, 3, bytes(4)), frames.FRAME_SIZE_ERROR),
        (frames.frame(frames.PRIORITY, 0, 3, bytes([0, 0, 0, 3, 0])), frames.PROTOCOL_ERROR),
    ],
)
def test_a_stream_that_has_not_begun_cannot_be_reset(octets, code):
    player = greeted().receive(octets)
    assert player.reader.goaways == [(0, code)]
    assert player.reader.kinds[frames.RST_STREAM] == 0


def test_a_priority_of_the_first_stream_on_itself():
    player = greeted(hold=True).receive(
        request(1, POST, end=False) + frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0")
    )
    assert player.breaches == [(1, frames.PROTOCOL_ERROR, "depends_on_itself")]


def test_dependencies_in_heads_that_come_in_pieces():
    octets = frames.frame(frames.HEADERS, frames.PRIORITIZED | frames.END_STREAM, 1, b"\0\0\0\1\0" + block(GET[:2]))
    octets += frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block(GET[2:]))
    assert greeted().receive(octets).breaches == [(1, frames.PROTOCOL_ERROR, "depends_on_itself")]


def test_output_is_frames_and_taken_once():
    engine = Player().engine
    engine.drain()
    assert [kind for kind, *_ in split(bytes(engine.take_output()))] == [frames.GOAWAY, frames.PING]
    assert not engine.take_output()
