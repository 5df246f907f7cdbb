"""How streams end: by either side, early, with their places, and all at once."""

from __future__ import annotations

import pytest
from http2_tools import PLAIN, POST, Owner, cut, data, engine_with, greeted, ready, request, written

from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.protocol.http2.engine import NEED_DATA, ConnectionFailed
from roadrunner_trio.settings import Limits


def test_a_peer_that_resets():
    engine = engine_with(request(1), frames.rst_stream(1, 8), request(3))
    stream = ready(engine)
    owner = stream.owner = Owner(stream)
    assert ready(engine).id == 3
    assert owner.told == [(8, "peer_reset")]
    assert stream.lost
    assert engine.places == 2  # its handler has not ended
    engine.send_interim(stream, 103)
    engine.send_head(stream, 200, PLAIN, None)
    assert engine.send_data(stream, b"gone", end=True) == 4
    engine.send_trailers(stream, ((b"x", b"y"),))
    engine.reset(stream, 2)
    engine.release(stream)
    engine.release(stream)
    assert engine.places == 1
    assert written(engine) == []


def test_a_response_to_a_stream_that_is_lost_is_taken_silently():
    engine = engine_with(request(1), frames.rst_stream(1, 8))
    stream = ready(engine)
    engine.next_ready()
    assert engine.respond(stream, 200, PLAIN, 4, b"gone") == 4
    assert engine.sendable(stream) == 0
    assert written(engine) == []


def test_an_early_response_asks_for_no_more():
    engine = engine_with(request(1, POST, end=False))
    stream = ready(engine)
    engine.respond(stream, 403, PLAIN, 2, b"no")
    engine.release(stream)
    assert [(kind, payload[-4:]) for kind, *_, payload in written(engine)][2:] == [(frames.RST_STREAM, bytes(4))]
    engine.receive(data(1, b"x" * 1000, end=True) + frames.rst_stream(1, 8) + frames.window_update(1, 5) + request(3))
    assert ready(engine).id == 3
    assert written(engine) == []


@pytest.mark.parametrize("begun", [True, False])
def test_a_handler_that_does_not_finish_leaves_a_reset(begun):
    engine = engine_with(request(1))
    stream = ready(engine)
    if begun:
        engine.send_head(stream, 200, PLAIN, None)
    engine.release(stream)
    assert written(engine)[-1][::3] == (frames.RST_STREAM, (2).to_bytes(4, "big"))
    assert engine.streams == {}


def test_a_place_is_taken_until_the_handler_has_ended():
    engine = engine_with(limits=Limits(max_concurrent_streams=2))
    engine.receive(request(1) + frames.rst_stream(1, 8) + request(3) + request(5))
    first, second = ready(engine), ready(engine)
    assert engine.next_ready() is NEED_DATA
    assert (engine.refused, engine.places) == (1, 2)
    assert written(engine) == [(frames.RST_STREAM, 0, 5, (7).to_bytes(4, "big"))]
    engine.release(first)
    engine.receive(data(5, b"on its way") + request(7))
    assert ready(engine).id == 7
    engine.release(second)


def test_who_has_his_answer_may_ask_again_though_the_handler_has_yet_to_end():
    """The peer sees END_STREAM, and cannot know that something still runs: it is at its limit, and not above it."""
    engine = engine_with(limits=Limits(max_concurrent_streams=2))
    engine.receive(request(1) + request(3, POST, end=False))
    slow = [ready(engine), ready(engine)]
    for stream in slow:
        engine.respond(stream, 200, PLAIN, 0, b"")
    engine.receive(request(5))
    slow.append(ready(engine))
    assert (engine.refused, engine.places, engine.done) == (0, 3, 1)
    engine.receive(data(3, b"", end=True) + request(7))
    slow.append(ready(engine))
    assert (engine.refused, engine.places, engine.done) == (0, 4, 2)
    for stream in slow[2:]:
        engine.respond(stream, 200, PLAIN, 0, b"")
    engine.receive(request(9))
    assert engine.next_ready() is NEED_DATA
    assert engine.refused == 1, "there is a bound to that, too"
    for stream in slow:
        engine.release(stream)
    assert (engine.places, engine.done, engine.streams) == (0, 0, {})


def test_a_reset_by_our_will_is_not_told():
    engine = engine_with(request(1, POST, end=False) + data(1, b"x"))
    stream = ready(engine)
    engine.next_ready()
    owner = stream.owner = Owner(stream)
    engine.reset(stream, 8)
    engine.reset(stream, 8)
    assert owner.told == []
    assert (stream.lost, stream.body) == (True, b"")
    assert written(engine) == [(frames.RST_STREAM, 0, 1, (8).to_bytes(4, "big"))]


def test_a_failure_takes_all_streams_with_it():
    player = greeted(hold=True).receive(
        request(1, POST, end=False) + request(3) + frames.frame(frames.PING, 0, 1, bytes(8))
    )
    assert player.failed is not None
    assert player.reader.goaways == [(3, frames.PROTOCOL_ERROR)]
    assert [owner.told for owner in player.owners.values()] == [[(1, "ping_on_stream")]] * 2
    assert player.engine.streams == {}
    assert player.engine.places == 0
    with pytest.raises(ConnectionFailed):
        player.engine.next_ready()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_cut_is_the_same(size):
    player = greeted()
    for piece in cut(request(1, POST, end=False) + data(1, b"hello", end=True) + request(3), size):
        player.receive(piece)
    assert [player.answer(number).content for number in (1, 3)] == [b"hello", b"none"]
