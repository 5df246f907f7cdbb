"""The cap on connections, and the end of descriptors: whoever cannot be served is not left in the dark."""

from __future__ import annotations

import socket
import time

import trio
from process_tools import script
from socket_tools import PATIENCE, Peer, eventually, no_connections, serving

from roadrunner_trio import Limits, Listener, Observer, Request, Response, Timeouts

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def hello(request: Request) -> Response:
    return Response.text("hello")


def in_the_queue(port: int, data: bytes = GET) -> Peer:
    """A connection whose request waits in the accept queue: nothing here lets the server run."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(data)
    sock.setblocking(False)
    return Peer(trio.socket.from_stdlib_socket(sock))


def turned_away(listener: Listener) -> int:
    """Tasks that see off a rejected connection."""
    assert listener.task is not None
    helpers = [task for nursery in listener.task.child_nurseries for task in nursery.child_tasks]
    return sum(task.name.endswith("turned away") for task in helpers)


async def test_one_more_reads_503_although_it_had_sent_a_request():
    rejected: list[str] = []

    class Counting(Observer):
        def listener_conn_rejected(self, event) -> None:
            rejected.append(event.reason)

    async with serving(hello, limits=Limits(max_connections=2), observers=[Counting()]) as listener:
        with await Peer.connect(listener.port) as one, await Peer.connect(listener.port) as two:
            assert (await one.get()).status == (await two.get()).status == 200
            with in_the_queue(listener.port, GET + bytes(100_000)) as third:
                answer = await third.answer()
                assert (answer.status, answer.body) == (503, b"")
                assert answer.header("retry-after") == "1"
                assert answer.header("connection") == "close"
                assert await third.end()
            assert rejected == ["max_connections"]
            info = listener.info()
            assert (info.active, info.accepted, info.rejected, info.max_connections) == (2, 2, 1, 2)
            assert (await one.get()).status == 200  # those inside notice nothing
        await no_connections(listener)
        with await Peer.connect(listener.port) as fourth:
            assert (await fourth.get()).status == 200


async def test_a_crowd_at_the_cap_is_answered_and_few_of_it_linger():
    async with serving(hello, limits=Limits(max_connections=1)) as listener:
        with await Peer.connect(listener.port) as inside:
            assert (await inside.get()).status == 200
            crowd = [in_the_queue(listener.port) for _ in range(300)]
            await eventually(lambda: listener.info().rejected == 300)
            assert turned_away(listener) == 64
            for peer in crowd:
                assert (await peer.answer()).status == 503
                assert await peer.end()
            began = time.monotonic()
            await eventually(lambda: not turned_away(listener))  # a second, though nobody has closed
            assert time.monotonic() - began < 1.0 + PATIENCE / 2
            assert (await inside.get()).status == 200
            for peer in crowd:
                peer.socket.close()
        await no_connections(listener)


async def test_a_drain_at_the_cap_turns_the_rest_of_the_queue_away():
    limits, timeouts = Limits(max_connections=1), Timeouts(linger=0.3)
    async with serving(hello, limits=limits, timeouts=timeouts) as listener:
        with await Peer.connect(listener.port) as inside:
            assert (await inside.get()).status == 200
            waiting = [in_the_queue(listener.port) for _ in range(10)]
            outcome = await listener.drain(PATIENCE)
            assert (outcome.finished, outcome.cut, outcome.stuck) == (1, 0, 0)
            for peer in waiting:
                assert (await peer.answer()).status == 503
                assert await peer.end()
                peer.socket.close()
            assert await inside.end()


DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

import trio
from roadrunner_trio import Listener, Response

async def handler(request):
    return Response.text("hello")

async def main():
    listener = Listener(handler, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""


async def test_case_20_a_process_out_of_descriptors_says_so_once_and_recovers(tmp_path):
    async with script(DESCRIPTORS, tmp_path) as server:
        peers = [await Peer.connect(server.port) for _ in range(60)]
        for peer in peers:
            await peer.send(GET)
        for peer in peers[:20]:
            assert (await peer.answer()).status == 200
        assert not await peers[-1].until(lambda: bool(peers[-1].received), 0.5)
        assert "cannot accept: [Errno 24]" in server.log()
        assert server.log().count("cannot accept") == 1
        for peer in peers[:30]:
            peer.socket.close()
        for peer in peers[30:]:
            assert (await peer.answer()).status == 200
            peer.socket.close()
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).status == 200
