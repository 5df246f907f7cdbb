"""Event streams over TCP, while servers come and go: who comes again with the last id misses nothing."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from event_source import EventSource
from presence_tools import needs_poller
from process_tools import command_line
from socket_tools import PATIENCE, Peer, eventually, no_connections, serving
from sse_tools import Dispatched

from roadrunner_trio import Broadcast, EventSender, EventStream, Listener, Request

RESTARTS = 4
READERS = 8


async def read_until(source: EventSource, last: str, ids: list[str]) -> None:
    def heard(event: Dispatched) -> bool:
        ids.append(event.last_event_id)
        return event.data == last

    await source.listen(heard)


class Relay:
    """Servers that follow one another on one port and share a broadcast."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.news = Broadcast(history=10_000)
        self.socket = socket.create_server(("127.0.0.1", 0), reuse_port=way == "shared port")
        self.port: int = self.socket.getsockname()[1]

    async def handler(self, request: Request) -> EventStream:
        stream = self.news.subscribe(request.last_event_id)
        return EventStream(request, stream, drain_retry=0.02, heartbeat=None)

    async def next_server(self, nursery: trio.Nursery) -> Listener:
        """Another server, beside the one there is."""
        if self.way == "shared port":
            listener = Listener(self.handler, bind=f"127.0.0.1:{self.port}", reuse_port=True)
        else:
            listener = Listener(self.handler, bind=self.socket.dup())  # as a parent hands it to its children
        await nursery.start(listener.serve)
        return listener


@pytest.mark.parametrize("way", ["shared port", "shared socket"])
async def test_a_rolling_restart_loses_no_event(way: str) -> None:
    relay, seen = Relay(way), [list[str]() for _ in range(READERS)]
    readers = [EventSource(relay.port) for _ in seen]
    published: list[str | None] = []

    async def publish() -> None:
        number = 0
        while True:
            number += 1
            published.append(relay.news.publish("tick", id=number).id)
            await trio.sleep(0.003)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as servers:
            server = await relay.next_server(servers)
            if way == "shared port":
                relay.socket.close()  # it only kept the port, and nobody accepts from it
            async with trio.open_nursery() as nursery, trio.open_nursery() as publishers:
                for reader, ids in zip(readers, seen, strict=True):
                    nursery.start_soon(read_until, reader, "last", ids)
                await eventually(lambda: server.info().active == READERS)
                publishers.start_soon(publish)
                for _ in range(RESTARTS):
                    await trio.sleep(0.15)
                    old, server = server, await relay.next_server(servers)
                    outcome = await old.drain(grace=5)
                    assert (outcome.cut, outcome.stuck) == (0, 0)
                    await eventually(lambda: server.info().active == READERS)  # noqa: B023 - asked now
                publishers.cancel_scope.cancel()
                published.append(relay.news.publish("last", id="last").id)
            await server.drain(grace=1)
    relay.socket.close()
    for reader, ids in zip(readers, seen, strict=True):
        assert ids == published[published.index(ids[0]) :]
        assert reader.visits >= RESTARTS + 1
        assert reader.ends == reader.visits - 1  # each cleanly, but the last, which was left
    assert len(published) > 50


CLOCK = """
import time, trio
from roadrunner_trio import EventSender, EventStream, Request

async def handler(request: Request) -> EventStream:
    async def clock(sender: EventSender) -> None:
        tick = int(request.last_event_id or time.time() * 20) + 1
        while True:
            await trio.sleep(max(0, tick / 20 - time.time()))
            await sender.send("tick", id=tick)
            tick += 1

    return EventStream(request, clock, drain_retry=0.1)
"""


async def test_processes_that_follow_one_another_tick_on(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as kept:
        port = kept.getsockname()[1]
    ids: list[int] = []
    source = EventSource(port)

    options = ("--bind", f"127.0.0.1:{port}", "--reuse-port")
    async with command_line(CLOCK, tmp_path, *options) as old, trio.open_nursery() as nursery:
        nursery.start_soon(source.listen, lambda event: ids.append(int(event.last_event_id)))
        await eventually(lambda: len(ids) > 5)
        async with command_line(CLOCK, tmp_path / "new", *options):
            old.terminate()
            assert await old.end() == 0
            before = len(ids)
            await eventually(lambda: len(ids) > before + 10)
            nursery.cancel_scope.cancel()
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert source.visits == 2
    assert source.ends == 1


@needs_poller
async def test_over_tls_a_source_learns_at_once_too() -> None:
    authority, ended = trustme.CA(), trio.Event()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)

    async def quiet(sender: EventSender) -> None:
        try:
            await sender.send("x")
            await trio.sleep_forever()
        finally:
            ended.set()

    async def handler(request: Request) -> EventStream:
        return EventStream(request, quiet, heartbeat=None)

    async with serving(handler, tls=server) as listener:
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", listener.port, ssl_context=client)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        heard = b""
        while b"data: x" not in heard:
            heard += await stream.receive_some()
        await stream.transport_stream.aclose()
        with trio.fail_after(2.5):  # half of disconnect_grace
            await ended.wait()
        await no_connections(listener)


@needs_poller
@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_a_source_learns_at_once_that_its_peer_has_left(leave: str) -> None:
    times: list[float] = []

    async def quiet(sender: EventSender) -> None:
        await sender.send("x")
        try:
            await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    async def handler(request: Request) -> EventStream:
        return EventStream(request, quiet, heartbeat=None)

    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            await peer.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await peer.until(lambda: b"data: x" in peer.received)
            start = trio.current_time()
            if leave == "reset":
                peer.reset()
        await eventually(lambda: bool(times))
        assert times[0] - start < 2.5  # half of disconnect_grace, on a busy machine; else it is a thousandth of that
        await no_connections(listener)
