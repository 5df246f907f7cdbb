"""A connection's last requests: kept while somebody looks, within bounds, and not at all while nobody does."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing
from http2_peer import open_http2
from presence_tools import meet, needs_poller
from story_tools import GET, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server.listener import insides
from roadrunner_trio.testing import open_server
from roadrunner_trio.watching import recent
from roadrunner_trio.watching.sample import Eye


async def app(request):
    if request.path == "/late":
        await trio.sleep(2)
    return rr.Response.text("x" * 10 + (await request.read()).decode())


async def ask(stream, target, body=b""):
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (target, len(body))
    await stream.send_all(head + body)
    await trio.testing.wait_all_tasks_blocked()


def only(eye):
    (row,) = eye.sample().connections.values()
    return row["id"]


async def test_those_of_a_connection_of_http_1(autojump_clock):
    async with open_server(app) as server:
        stream, eye = server.connect(), Eye([server.listener])
        await ask(stream, b"/before")
        key = only(eye)
        await ask(stream, b"/first?token=secret", b"abc")
        await ask(stream, b"/late")
        await trio.sleep(3)
        now = trio.current_time()
        found = eye.closer(key)
    assert found["protocol"] == "http/1.1"
    assert found["requests"] == 3
    assert found["t"] == round(now, 2)
    assert [(row["method"], row["target"], row["status"], row["received"], row["sent"]) for row in found["recent"]] == [
        ("POST", "/late", 200, 0, 10),
        ("POST", "/first", 200, 3, 13),
    ]
    late, first = found["recent"]
    assert (late["seconds"], late["at"]) == (2.0, round(now - 1, 2))
    assert (first["seconds"], first["ended"]) == (0.0, True)
    assert "secret" not in json.dumps(found)


async def test_those_of_a_connection_of_http_2_and_its_streams_in_hand(autojump_clock):
    async with open_http2(app) as (house, peer):
        await peer.get("/first")
        eye = Eye([house.listener])
        key = only(eye)
        await peer.get("/second?x=1")
        for target in ("/late", "/late?again"):
            peer.ask(target)
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        found = eye.closer(key)
        (row,) = eye.sample().connections.values()
    assert found["protocol"] == "h2"
    assert [(each["target"], each["status"]) for each in found["recent"]] == [("/second", 200)]
    assert [(each["doing"], each["phase"]) for each in found["streams"]] == [("GET /late", "in the handler")] * 2
    assert any(line.endswith("in app") for line in found["streams"][0]["stack"])
    assert row["doing"] == "GET /late and 1 more"


async def test_one_that_is_not_let_in(autojump_clock):
    async with open_server(app, limits=rr.Limits(max_concurrent_requests=1)) as server:
        eye, slow, other = Eye([server.listener]), server.connect(), server.connect()
        await trio.testing.wait_all_tasks_blocked()
        eye.sample()
        await ask(slow, b"/late")
        await other.send_all(b"GET /turned-away?x HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(3)
        await ask(other, b"/let-in")
        found = [eye.closer(key)["recent"] for key in eye.sample().connections]
    rows = [[(row["target"], row["status"], row["ended"]) for row in each] for each in found]
    assert sorted(rows) == [[("/late", 200, True)], [("/let-in", 200, True), ("/turned-away", 503, True)]]


async def echo(request):
    ws = await request.accept(subprotocol=(request.proposed_subprotocols or [None])[0])
    async for message in ws:
        await ws.send_message(message)


def socket_row(eye):
    """The connection that is a WebSocket."""
    (row,) = (row for row in eye.sample().connections.values() if row["phase"] == "handed off")
    return row


async def test_a_websocket_and_the_messages_on_it(autojump_clock):
    async with open_server(rr.websocket(echo)) as server:
        eye = Eye([server.listener])
        eye.sample()
        async with server.client().websocket("/chat?secret", subprotocols=["chat.v1"]) as peer:
            began = trio.current_time()
            await peer.send_message("hi")
            assert await peer.get_message() == "hi"
            row = socket_row(eye)
            assert row["doing"] == "GET /chat"
            found = eye.closer(row["id"])
            expected = {"target": "/chat", "since": began, "subprotocol": "chat.v1", "compressed": False, "end": None}
            assert found["websockets"] == [{**expected, "received": 1, "sent": 1}]
            assert found["recent"] == []  # its request has not ended
            assert any("in echo" in line for line in [*found["stack"], *found["below"]])
            await peer.send_message(b"again")
            await peer.get_message()
            (found,) = eye.closer(row["id"])["websockets"]
            assert (found["received"], found["sent"]) == (2, 2)


@pytest.mark.parametrize("kind", ["memory", pytest.param("tcp", marks=needs_poller)])
async def test_how_websockets_of_http_2_have_ended(kind, autojump_clock):
    """Also once their connection is parked, and when it is awake again."""
    timeouts = rr.Timeouts(park_after=1)
    async with open_http2(rr.websocket(echo), kind, timeouts=timeouts) as (house, peer):
        eye = Eye([house.listener])
        eye.sample()
        pseudo, fields = [(":protocol", "websocket")], [("sec-websocket-version", "13")]
        for target in ("/first", "/second"):
            number = peer.ask(target, method="CONNECT", pseudo=pseudo, fields=fields, end=False)
            await peer.flush()
            await trio.testing.wait_all_tasks_blocked()
        peer.send(number, b"\x88\x89\0\0\0\0\x0b\xb8good\nby")  # 3000 and its reason, masked with zeros
        await peer.flush()
        await trio.testing.wait_all_tasks_blocked()
        found = eye.closer(only(eye))["websockets"]
    assert [(each["target"], each["end"]) for each in found] == [
        ("/second", {"code": 3000, "reason": "good\\x0aby", "by": "peer"}),
        ("/first", None),
    ]
    async with open_http2(rr.websocket(echo), kind, timeouts=timeouts) as (house, peer):
        eye = Eye([house.listener])
        eye.sample()
        number = peer.ask("/third", method="CONNECT", pseudo=pseudo, fields=fields, end=False)
        await peer.flush()
        peer.send(number, b"\x88\x82\0\0\0\0\x03\xe8", end=True)
        await peer.flush()
        for _ in range(2):
            await trio.sleep(1.5)
            await wait_all_tasks_blocked()
            [row] = eye.sample().connections.values()
            assert row["phase"] == ("parked" if kind == "tcp" else "idle")
            assert [each["target"] for each in eye.closer(row["id"])["websockets"]] == ["/third"]
            peer.conn.ping(b"12345678")
            await peer.flush()
            assert only(eye) == row["id"]
            assert [each["target"] for each in eye.closer(row["id"])["websockets"]] == ["/third"]


async def test_of_websockets_the_last_are_remembered_and_none_when_nobody_looks(autojump_clock, monkeypatch):
    monkeypatch.setattr(recent, "MOST", 2)
    async with open_server(rr.websocket(echo)) as server:
        observers, eye = insides(server.listener)[1], Eye([server.listener])
        async with server.client().websocket("/before"):
            row = socket_row(eye)
            assert eye.closer(row["id"])["websockets"] == []  # it is not known how it began
            async with AsyncExitStack() as peers:
                for number in range(3):
                    await peers.enter_async_context(server.client().websocket(f"/{number}"))
                eye.sample()
                assert len(eye._recent._sockets) == 2
                eye.close()
                assert (eye._recent._sockets, observers.websocket_open, observers.websocket_close) == ({}, (), ())


async def test_of_a_connection_the_last_are_kept(autojump_clock):
    async with open_server(app) as server:
        stream, eye = server.connect(), Eye([server.listener])
        await trio.testing.wait_all_tasks_blocked()
        key = only(eye)
        for number in range(recent.LAST + 5):
            await ask(stream, b"/%d" % number)
            await stream.receive_some(65536)
        found = [row["target"] for row in eye.closer(key)["recent"]]
    assert found == [f"/{number}" for number in range(recent.LAST + 4, 4, -1)]


async def test_what_a_peer_has_written_is_cut_and_shown(autojump_clock):
    async with open_server(app) as server:
        stream, eye = server.connect(), Eye([server.listener])
        await trio.testing.wait_all_tasks_blocked()
        key = only(eye)
        await ask(stream, b"/" + b"x" * 5000)
        await stream.send_all(b"M" * 60 + b" /%7f HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        rows = eye.closer(key)["recent"]
    assert rows[-1]["target"] == "/" + "x" * (recent.LONGEST - 1)
    assert (rows[0]["method"], rows[0]["target"]) == ("M" * 60, "/%7f")
    assert recent.brief("a\nb" + "c" * 500) == "a\\x0ab" + "c" * (recent.LONGEST - 6) + "..."


async def test_listeners_know_of_it_while_somebody_looks_and_no_longer(autojump_clock):
    async with open_server(app) as server:
        observers, stream, eye = insides(server.listener)[1], server.connect(), Eye([server.listener])
        before = observers.request_throttled
        assert (observers.measure, observers.ends) == (None, False)
        await trio.testing.wait_all_tasks_blocked()
        key = only(eye)
        assert observers.ends
        eye.sample()  # again: it is there once
        await ask(stream, b"/x")
        assert len(eye.closer(key)["recent"]) == 1
        eye.close()
        assert (observers.measure, observers.ends, observers.request_throttled) == (None, False, before)
        assert eye.closer(key) is None


async def test_beyond_the_budget_listeners_are_left_alone_until_the_next_look(autojump_clock, monkeypatch):
    monkeypatch.setattr(recent, "BUDGET", 3)
    async with open_server(app) as server:
        observers, stream, eye = insides(server.listener)[1], server.connect(), Eye([server.listener])
        await trio.testing.wait_all_tasks_blocked()
        key = only(eye)
        for _ in range(2):
            for number in range(5):
                await ask(stream, b"/%d" % number)
            assert observers.measure is None
            eye.sample()
            assert observers.measure is not None
        found = [row["target"] for row in eye.closer(key)["recent"]]
    assert found == ["/2", "/1", "/0"] * 2


async def test_those_that_are_shown_no_more_are_forgotten_last(autojump_clock, monkeypatch):
    monkeypatch.setattr(recent, "MOST", 3)
    async with open_server(app) as server:
        streams, kept = [server.connect() for _ in range(5)], recent.Recent([server.listener])
        await trio.testing.wait_all_tasks_blocked()
        conns = sorted(insides(server.listener)[0], key=lambda conn: conn.born)
        for conn in conns:
            kept.look([conn])
        assert list(kept._shown) == conns[2:]
        kept.look([conns[2]])
        kept.look([conns[0]])
        assert list(kept._shown) == [conns[4], conns[2], conns[0]]
        await streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        kept.look([])
        assert len(kept._shown) == 2 if conns[0].closed else 3
        kept.close()


async def test_more_may_be_shown_than_are_remembered(autojump_clock, monkeypatch):
    monkeypatch.setattr(recent, "MOST", 3)
    async with open_server(app) as server:
        streams = [server.connect() for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        eye = Eye([server.listener])
        assert len(eye.sample().connections) == len(streams)
        assert len(eye._recent._shown) == 3


async def test_a_connection_that_goes_on_as_another_is_the_same(autojump_clock):
    async with open_house(app) as house:
        peer, eye = house.peer(), Eye([house.listener])
        await trio.testing.wait_all_tasks_blocked()
        key = only(eye)  # of HTTP/1, as far as anybody knows
        await peer.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        await trio.testing.wait_all_tasks_blocked()
        assert only(eye) == key
        assert eye.closer(key)["protocol"] == "h2"


async def test_what_a_new_connection_asks_before_it_is_shown_is_kept(autojump_clock, monkeypatch):
    monkeypatch.setattr(recent, "NEW", 2)
    async with open_server(app) as server:
        eye = Eye([server.listener])
        eye.sample()
        for number in range(3):
            await ask(server.connect(), b"/%d" % number)
        found = [eye.closer(key)["recent"] for key in eye.sample().connections]
        assert sorted(row["target"] for rows in found for row in rows) == ["/0", "/1"]
        assert eye._recent._meter.new == {}


@needs_poller
async def test_a_connection_that_is_parked_is_counted_as_that_and_is_the_same_when_it_wakes(autojump_clock):
    async with open_house(app, tcp=True) as house:
        eye, peer, other = Eye([house.listener]), meet(house, "tcp"), meet(house, "tcp")
        await peer.say(GET)
        await trio.sleep(1)
        await other.say(GET)
        key = min(eye.sample().connections.values(), key=lambda row: row["deadline"])["id"]
        await peer.say(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(7)
        seen = eye.sample()
        assert seen.listeners[0]["phases"] == {"parked": 2}
        assert seen.listeners[0]["present"] == 2
        (nursery,) = (row for row in seen.tasks.values() if row["kind"] == "nursery" and row["listener"])
        assert (nursery["listener"], nursery["connections"]) == ("main", 2)
        row = seen.connections[key]
        assert (row["phase"], row["requests"], row["doing"]) == ("parked", 2, "")
        assert row["deadline"] == 1 + 75
        found = eye.closer(key)
        assert (found["stack"], found["below"]) == ([], [])
        assert [each["target"] for each in found["recent"]] == ["/first"]
        await peer.say(b"GET /awake HTTP/1.1\r\nHost: h\r\n\r\n")
        await wait_all_tasks_blocked()
        seen = eye.sample()
        assert seen.connections[key]["phase"] == "idle"
        assert seen.listeners[0]["phases"] == {"idle": 1, "parked": 1}
        assert [each["target"] for each in eye.closer(key)["recent"]] == ["/awake", "/first"]


async def test_an_observer_of_the_operators_is_told_as_before(autojump_clock):
    class Counts(rr.Observer):
        seen = 0

        def request_stop(self, event):
            self.seen += 1

    counts = Counts()
    async with open_server(app, observers=[counts]) as server:
        stream, eye = server.connect(), Eye([server.listener])
        for _ in range(3):
            await ask(stream, b"/")
            eye.sample()
        eye.close()
        await ask(stream, b"/")
    assert counts.seen == 4


@pytest.mark.parametrize("wanted", ["", "c", "c99", "nobody", "1.0"])
async def test_nothing_is_called_so(wanted, autojump_clock):
    async with open_server(app) as server:
        server.connect()
        await trio.testing.wait_all_tasks_blocked()
        eye = Eye([server.listener])
        eye.sample()
        assert eye.closer(wanted) is None


async def test_a_connection_that_has_ended_is_over(autojump_clock):
    async with open_server(app) as server:
        stream = server.connect()
        await trio.testing.wait_all_tasks_blocked()
        eye = Eye([server.listener])
        key = only(eye)
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert eye.closer(key) is None
