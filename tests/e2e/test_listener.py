"""A listener on real sockets: where it listens, what it survives, what it tells."""

from __future__ import annotations

import errno
import math
import socket
import time

import pytest
import trio
import trio.testing
from socket_tools import PATIENCE, Cut, Peer, eventually, no_connections, serving

from roadrunner_trio import HTTPError, Listener, Plan, Request, Response, StreamResponse, serve_connection
from roadrunner_trio.testing import Client, MemoryListener


async def hello(request: Request) -> Response:
    return Response.text(f"{request.scheme} {request.path}")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def all_tasks(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    found = [task]
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            found += all_tasks(child)
    return found


def names_under(listener: Listener) -> list[str]:
    assert listener.task is not None
    return [task.name for task in all_tasks(listener.task)]


# -- where it listens ------------------------------------------------------------------------------


async def test_several_addresses():
    async with serving(hello, bind=["127.0.0.1:0", "127.0.0.1:0"]) as listener:
        (_, one), (_, other) = listener.addresses
        assert one != other
        assert listener.port == one != 0
        for port in (one, other):
            with await Peer.connect(port) as peer:
                assert (await peer.get("/a")).body == b"http /a"


@needs_ipv6
async def test_ipv6():
    async with serving(hello, bind="[::1]:0") as listener:
        assert listener.addresses == [("::1", listener.port)]
        with await Peer.connect(listener.port, "::1") as peer:
            assert (await peer.get()).status == 200
            ours = peer.socket.getsockname()[:2]
            assert [each.peer for each in listener.connections()] == [ours]
            assert f"main: [::1]:{ours[1]}" in names_under(listener)


@needs_ipv6
async def test_all_addresses_share_a_port():
    async with serving(hello, bind=":0") as listener:
        assert {port for _, port in listener.addresses} == {listener.port}
        for host in ("127.0.0.1", "::1"):
            with await Peer.connect(listener.port, host) as peer:
                assert (await peer.get()).status == 200


async def test_bound_and_unix_sockets(tmp_path):
    path = str(tmp_path / "socket")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(path)
    async with serving(hello, bind=bound) as listener:
        assert listener.addresses == [path]
        with pytest.raises(RuntimeError, match="no TCP port"):
            _ = listener.port
        stream = await trio.open_unix_socket(path)
        assert (await Client(stream).get("/u")).text == "http /u"
        assert [each.peer for each in listener.connections()] == ["unix"]
        await stream.aclose()


async def test_ready_made_and_in_memory_listeners():
    made = await trio.open_tcp_listeners(0, host="127.0.0.1")
    door = MemoryListener()
    async with serving(hello, bind=[*made, door]) as listener:
        with await Peer.connect(listener.port) as peer:
            assert (await peer.get("/tcp")).body == b"http /tcp"
            client = Client(door.connect())
            assert (await client.get("/memory")).text == "http /memory"
            assert {str(each.peer) for each in listener.connections()} == {
                str(peer.socket.getsockname()),
                "memory",
            }
        await client.stream.aclose()
        assert (await listener.drain(PATIENCE)).cut == 0
        with pytest.raises(trio.ClosedResourceError):
            door.connect()


async def test_serve_connection_on_a_socket_pair():
    ours, theirs = trio.socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, trio.SocketStream(theirs), hello)
        with Peer(ours) as peer:
            assert (await peer.get("/1")).body == b"http /1"
            assert (await peer.get("/2")).body == b"http /2"
            peer.send_eof()
            assert await peer.end()
            assert not peer.received


async def test_a_port_in_use_is_an_os_error_and_leaves_nothing_open():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listener = Listener(hello, bind=["127.0.0.1:0", address])
        with pytest.raises(OSError, match="in use") as caught:
            await listener.serve()
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, address)


# -- what it survives ------------------------------------------------------------------------------


class Failing:
    """Takes the place of ``socket.accept``: raises ``errors`` one after the other, then accepts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self.errors = list(errors)
        self.calls: list[float] = []
        real = socket.socket.accept

        def accept(sock: socket.socket):
            self.calls.append(time.monotonic())
            if self.errors:
                raise OSError(self.errors.pop(0), "accept failed")
            return real(sock)

        monkeypatch.setattr(socket.socket, "accept", accept)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_it_backs_off_and_recovers(monkeypatch, caplog, number):
    failing = Failing(monkeypatch, number, number)
    async with serving(hello) as listener:
        with await Peer.connect(listener.port) as peer:
            assert (await peer.get()).status == 200
    waits = [b - a for a, b in zip(failing.calls, failing.calls[1:3], strict=False)]
    assert len(waits) == 2
    assert min(waits) > 0.05  # it does not spin while nothing can be had
    assert [record.getMessage() for record in caplog.records].count(
        f"listener 'main' cannot accept: [Errno {number}] accept failed"
    ) == 1
    assert listener.info().accepts_failed == 2


async def test_connections_that_broke_in_the_queue_are_skipped(monkeypatch, caplog):
    failing = Failing(monkeypatch, errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN)
    async with serving(hello) as listener:
        with await Peer.connect(listener.port) as peer:
            assert (await peer.get()).status == 200
    assert failing.calls[3] - failing.calls[0] < 0.1  # one back-off alone would be as long
    assert not caplog.records


async def test_a_foreign_listener_without_descriptors_backs_off_too(caplog):
    errors = [errno.EMFILE, errno.ENFILE]

    class Exhausted(MemoryListener):
        async def accept(self):
            if errors:
                await trio.lowlevel.checkpoint()
                raise OSError(errors.pop(), "accept failed")
            return await super().accept()

    door = Exhausted()
    async with serving(hello, bind=door) as listener:
        assert (await Client(door.connect()).get("/")).status == 200
    assert len(caplog.records) == 1
    assert listener.info().accepts_failed == 2


async def test_case_20_a_shortage_that_lasts_is_a_line_a_minute_with_a_count(autojump_clock, caplog):
    class Exhausted(MemoryListener):
        async def accept(self):
            await trio.lowlevel.checkpoint()
            raise OSError(errno.EMFILE, "no more")

    async with serving(hello, bind=Exhausted()) as listener:
        await trio.sleep(150)
        failed = listener.info().accepts_failed
    first, *later = [record.getMessage() for record in caplog.records]
    assert first == "listener 'main' cannot accept: [Errno 24] no more"
    assert len(later) == 2
    told = 1 + sum(int(line.partition("; ")[2].split()[0]) + 1 for line in later)
    assert 1199 <= told <= 1203
    assert 1499 <= failed <= 1501


class Planless:
    """An app whose ``plan`` fails for one path."""

    def plan(self, request: Request) -> Plan:
        if request.path == "/plan":
            raise ZeroDivisionError("in plan")
        return Plan()

    async def __call__(self, exchange) -> None:
        match exchange.request.path:
            case "/raise":
                raise ZeroDivisionError("in the handler")
            case "/group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.fail, ValueError("one"))
                    nursery.start_soon(self.fail, trio.BrokenResourceError("a stream of its own"))
            case "/exit":
                raise SystemExit(3)
            case "/404":
                raise HTTPError(404)
            case "/nothing":
                return
            case "/wait":
                await trio.sleep(0.3)
        await exchange.respond(200, [], b"fine")

    async def fail(self, error: Exception) -> None:
        raise error


@pytest.mark.parametrize(
    ("path", "status"),
    [("/raise", 500), ("/group", 500), ("/exit", 500), ("/nothing", 500), ("/plan", 500), ("/404", 404)],
)
async def test_an_exception_in_one_connection_reaches_nobody_else(path, status):
    async with serving(Planless()) as listener:
        with await Peer.connect(listener.port) as busy, await Peer.connect(listener.port) as idle:
            assert (await idle.get("/")).body == b"fine"
            async with trio.open_nursery() as nursery:

                async def neighbour() -> None:
                    assert (await busy.get("/wait")).body == b"fine"

                nursery.start_soon(neighbour)
                with await Peer.connect(listener.port) as peer:
                    answer = await peer.get(path)
                    assert (answer.status, b"Zero" in answer.body) == (status, False)
                    if status == 500:
                        assert answer.header("connection") == "close"
                        assert await peer.end()
            assert (await idle.get("/")).body == b"fine"
        await no_connections(listener)


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_broken_stream_of_the_handler_s_own_is_a_500(grouped, caplog):
    async def use_a_broken_stream() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.aclose()
        await ours.send_all(b"x")

    async def handler(request: Request) -> Response:
        if grouped:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use_a_broken_stream)
        else:
            await use_a_broken_stream()
        return Response.text("not reached")

    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            assert (await peer.get()).status == 500
            assert await peer.end()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_stream_that_fails_is_cut_visibly():
    async def handler(request: Request) -> StreamResponse:
        async def produce(send):
            await send(b"begun")
            raise RuntimeError("half-way")

        return StreamResponse(produce)

    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            with pytest.raises(Cut) as caught:
                await peer.get()
            assert caught.value.received.endswith(b"\r\n\r\n5\r\nbegun\r\n")
        with await Peer.connect(listener.port) as peer:  # HTTP/1.0 has no framing that shows it: only a reset can
            await peer.send(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await peer.end()


# -- what it tells ---------------------------------------------------------------------------------


GET = b"GET %s HTTP/1.1\r\nHost: test\r\n"

SENT = {
    "idle": (GET % b"/") + b"\r\n",
    "in the handler": (GET % b"/wait") + b"\r\n",
    "reading a request": (GET % b"/")[:-5],
    "reading a body": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nbody",
}
"""What brings a connection into a phase, once it has been answered if it can be."""
DEADLINES = {"idle": 75, "in the handler": math.inf, "reading a request": 30, "reading a body": 300}


async def in_every_phase(port: int, count: int) -> dict[tuple[str, int], tuple[str, Peer]]:
    """``count`` connections in each phase, by their address."""
    peers: dict[tuple[str, int], tuple[str, Peer]] = {}
    for phase, data in SENT.items():
        for _ in range(count):
            peer = await Peer.connect(port)
            await peer.send(data)
            if phase == "idle":
                await peer.answer()
            peers[peer.socket.getsockname()] = phase, peer
    return peers


async def test_connections_and_task_names_under_load():
    release = trio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/wait":
            await release.wait()
        return Response.text("done")

    async with serving(handler, name="shop") as listener:
        peers = await in_every_phase(listener.port, 20)
        expected = {address: phase for address, (phase, _) in peers.items()}
        await eventually(lambda: {each.peer: each.phase for each in listener.connections()} == expected)
        check_told(listener)
        release.set()
        for phase, peer in peers.values():
            if phase == "in the handler":
                assert (await peer.answer()).body == b"done"
            peer.socket.close()
        await no_connections(listener)
        assert not listener.connections()


def check_told(listener: Listener) -> None:
    told = listener.connections()
    assert listener.info().active == listener.info().accepted == len(told)
    assert [each.age for each in told] == sorted((each.age for each in told), reverse=True)
    for each in told:
        most = DEADLINES[each.phase]
        assert max(0, min(most - PATIENCE, 1e9)) < each.deadline <= most
        assert each.requests == (each.phase != "reading a request")
        assert each.task is not None
        assert each.task.name == f"shop: 127.0.0.1:{each.peer[1]}"
    assert {"shop: clock", f"shop: accept on 127.0.0.1:{listener.port}"} <= set(names_under(listener))
