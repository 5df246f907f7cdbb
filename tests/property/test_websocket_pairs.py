"""Every WebSocket that is opened is closed once, between the start and the end of its request, however it ends; every
handshake that is not accepted is refused once; and what is counted is what was told."""

from __future__ import annotations

from collections import Counter

import trio
from event_tools import Everything
from http2_peer import Http2Peer
from hypothesis import given, settings
from hypothesis import strategies as st
from story_tools import open_house
from trio.testing import MockClock
from websocket_tools import BINARY, PING, TEXT, closing, frame, handshake

import roadrunner_trio as rr
from roadrunner_trio.telemetry.snapshot import PLACE

TIMEOUTS = rr.Timeouts(handler=6, disconnect_grace=0.5)
PATHS = ("/echo", "/pieces", "/late", "/reject", "/raise", "/forget", "/deaf", "/leave", "/stubborn")
VANISH, WAIT = "vanish", "wait"
steps = st.one_of(
    st.sampled_from([VANISH, WAIT, closing(), closing(1000, "bye"), closing(4321)]),
    st.sampled_from([frame(TEXT, "x"), frame(BINARY, b"xy"), frame(PING), frame(TEXT, "x", fin=False), frame(3)]),
)
peers = st.tuples(
    st.sampled_from(PATHS),
    st.sampled_from(["memory", "tcp", "h2", "bare"]),
    st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    st.lists(steps, max_size=5),
)
ends = st.sampled_from(["wait", "drain", "cancel", "drain, cancel"])


async def echo(session):
    async for message in session:
        await session.send_message(message)


async def pieces(session):
    while True:
        async for _ in session.get_pieces():
            pass


async def fail(session):
    raise LookupError(await session.get_message())


async def deaf(session):
    await trio.sleep(3)


async def stubborn(session):
    await trio.sleep_forever()


async def leave(session):
    await session.send_message("bye")


TALKS = {"/pieces": pieces, "/raise": fail, "/deaf": deaf, "/stubborn": stubborn, "/leave": leave}


async def talk(offer):
    """A handler of many kinds."""
    path = offer.request.path
    if path == "/late":
        await trio.sleep(1)
    if path == "/reject":
        await offer.reject(403)
    elif path != "/forget":
        await TALKS.get(path, echo)(await offer.accept())


async def act(house, path, kind, at, script):
    """What one peer does."""
    await trio.sleep(at)
    if house.listener.status != "accepting":
        return None
    peer = house.meet("memory" if kind in ("h2", "bare") else kind)
    if kind == "h2":
        return await act_over_http2(await Http2Peer(peer).greet(), path, script)
    await peer.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" if kind == "bare" else handshake(target=path.encode()))
    for step in script:
        if step == VANISH:
            break
        if step == WAIT:
            await trio.sleep(1)
        elif peer.ended_at is None:
            await peer.say(step)
    if VANISH in script:
        await peer.close()
    return None


async def act_over_http2(peer, path, script):
    if peer.peer.ended_at is not None:
        return None
    fields = [("sec-websocket-version", "13")]
    number = peer.ask(path, method="CONNECT", pseudo=[(":protocol", "websocket")], fields=fields, end=False)
    await peer.flush()
    for step in script:
        await peer.read()
        if peer.streams[number].over or peer.peer.ended_at is not None:
            break
        if step == WAIT:
            await trio.sleep(1)
        elif step == VANISH:
            peer.cancel(number)
            return await peer.flush()
        else:
            peer.send(number, step)
            await peer.flush()
    return None


async def play(cast, end, at, events, metrics):
    handler = rr.websocket(talk, ping_interval=2, ping_timeout=1, close_timeout=1)
    async with open_house(handler, tcp=True, timeouts=TIMEOUTS, observers=[metrics, events]) as house:
        async with trio.open_nursery() as nursery:
            for each in cast:
                nursery.start_soon(act, house, *each)
            await trio.sleep(at)
            if "cancel" in end:
                nursery.cancel_scope.cancel()
        if "drain" in end:
            await house.listener.drain(0.7)
        if end == "wait":
            await house.empty()


@settings(max_examples=200, deadline=None)
@given(st.lists(peers, min_size=1, max_size=5), ends, st.sampled_from([0.5, 1.2, 4.0, 20.0]))
def test_every_opened_has_one_closed(cast, end, at):
    events, metrics = Everything(), rr.Metrics()
    trio.run(play, cast, end, at, events, metrics, clock=MockClock(autojump_threshold=0))
    check_order(events)
    check_numbers(events, metrics)


def check_order(events):
    """Nothing is told of a WebSocket but between its opening and its close, nor after its request."""
    running, opened, over = set(), {}, Counter()
    for hook, event in events.events:
        request = getattr(event, "request", None)
        if hook == "request_start":
            running.add(request)
        elif hook in ("request_stop", "request_exception"):
            running.remove(request)
            assert request not in opened
        elif hook.startswith("websocket_"):
            assert request in running
            follow(hook, event, opened, over)
    assert not opened
    assert not running
    assert set(over.values()) <= {1}
    assert set(over) == {event.request for event in events.of("request_start")}


def follow(hook, event, opened, over):
    """What is told of one WebSocket goes together."""
    match hook:
        case "websocket_open":
            opened[event.request] = [0, 0]
        case "websocket_receive":
            opened[event.request][0] += 1
        case "websocket_send":
            opened[event.request][1] += 1
        case "websocket_close":
            assert opened.pop(event.request) == [event.received, event.sent]
            assert (event.code == 1006) == (event.by == "nobody")
            over[event.request] += 1
        case _:
            assert event.request not in opened
            over[event.request] += 1


def check_numbers(events, metrics):
    """The metrics say what the events say."""
    snapshot = metrics.snapshot()
    closes = events.of("websocket_close")
    numbers = {name: snapshot.numbers[at] for name, at in PLACE.items() if "websocket" in name[0]}
    assert numbers == {
        ("roadrunner_websockets",): 0,
        ("roadrunner_websockets_opened_total",): len(closes),
        ("roadrunner_websocket_messages_total", "in"): len(events.of("websocket_receive")),
        ("roadrunner_websocket_messages_total", "out"): len(events.of("websocket_send")),
    }
    words = {key: count for key, count in snapshot.tallies.items() if "websockets" in key[0]}
    codes = Counter(str(event.code) if event.code < 3000 else "4xxx" for event in closes)
    reasons = Counter(event.reason for event in events.of("websocket_refused"))
    expected = {("roadrunner_websockets_closed_total", code): count for code, count in codes.items()}
    assert words == expected | {("roadrunner_websockets_refused_total", word): n for word, n in reasons.items()}
