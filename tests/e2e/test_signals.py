"""``serve`` and ``run``: what signals do to listeners, and what is left of an error at the start."""

from __future__ import annotations

import errno
import re
import signal
import socket
import time
from functools import partial

import pytest
import trio
import trio.testing
from process_tools import script
from socket_tools import PATIENCE, Cut, Peer, eventually

from roadrunner_trio import Drained, Listener, Request, Response, serve
from roadrunner_trio.server.serve import serve_watched
from roadrunner_trio.server.watchdog import TWICE, Watchdog

BOTH = [signal.SIGINT, signal.SIGTERM]
ALL = [*BOTH, signal.SIGHUP]
APART = TWICE + 0.05
"""Seconds from a signal to another that is not the same."""


async def handler(request: Request) -> Response:
    """Waits for the drain, or for ever, or not at all."""
    if request.path == "/busy":
        await request.drain.started.wait()
        await trio.sleep(0.1)
    elif request.path == "/forever":
        await trio.sleep_forever()
    return Response.text("answered")


class Service:
    """``serve`` in a task: its listeners once they listen, and what it returned or raised."""

    def __init__(self, *listeners: Listener, grace: float = PATIENCE, delay: float = 0.0) -> None:
        self.listeners = listeners
        self.settings = {"grace": grace, "shutdown_delay": delay}
        self.given: object = None
        self.outcome: object = None

    async def run(self, *, task_status: trio.TaskStatus[object]) -> None:
        try:
            self.outcome = await serve(*self.listeners, **self.settings, task_status=task_status)
        except SystemExit as exc:
            self.outcome = exc


def listeners(*names: str) -> list[Listener]:
    return [Listener(handler, bind="127.0.0.1:0", name=name) for name in names]


@pytest.mark.parametrize("number", BOTH)
async def test_a_signal_drains_all_listeners_together(number):
    before = [signal.getsignal(each) for each in ALL]
    service = Service(*listeners("one", "other"))
    one, other = service.listeners
    async with trio.open_nursery() as nursery:
        assert await nursery.start(service.run) == (one, other)
        assert (one.status, other.status) == ("accepting", "accepting")
        peers = [await Peer.connect(each.port) for each in (one, one, other)]
        for peer in peers[1:]:
            await peer.send(b"GET /busy HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await peers[0].get("/")).status == 200
        await eventually(lambda: [each.phase for each in other.connections()] == ["in the handler"])
        signal.raise_signal(number)
        assert await peers[0].end()
        for peer in peers[1:]:
            answer = await peer.answer()
            assert (answer.body, answer.header("connection")) == (b"answered", "close")
            assert await peer.end()
        for peer in peers:
            peer.socket.close()
    assert service.outcome == (Drained(2, 0, 0), Drained(1, 0, 0))
    assert [one.status, other.status] == ["closed", "closed"]
    assert [signal.getsignal(each) for each in ALL] == before


async def test_sighup_has_renewed_what_is_to_be_renewed_although_one_fails(caplog):
    async def fails() -> None:
        raise OSError("no such file")

    async def renew() -> None:
        renewed.set()

    renewed = trio.Event()
    service = listeners("one")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_watched, Watchdog(PATIENCE), *service, renewals=[fails, renew]))
        signal.raise_signal(signal.SIGHUP)
        with trio.fail_after(PATIENCE):
            await renewed.wait()
        assert service[0].status == "accepting"
        signal.raise_signal(signal.SIGTERM)
    assert "fails failed, and nothing has changed by it" in caplog.text


class Slow(Listener):
    """Is signalled while it is about to listen."""

    async def serve(self, *, task_status: trio.TaskStatus[Listener] = trio.TASK_STATUS_IGNORED) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        await super().serve(task_status=task_status)


async def test_a_signal_while_the_last_listener_is_still_to_come_drains_all_of_them():
    (first,) = listeners("first")
    last = Slow(handler, bind="127.0.0.1:0", name="last")
    assert await serve(first, last, grace=PATIENCE) == (Drained(0, 0, 0), Drained(0, 0, 0))
    assert [first.status, last.status] == ["closed", "closed"]


@pytest.mark.parametrize("number", BOTH)
async def test_a_second_signal_stops_at_once(number):
    service = Service(*listeners("one", "other"))
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        with await Peer.connect(service.listeners[1].port) as peer:
            await peer.send(b"GET /forever HTTP/1.1\r\nHost: test\r\n\r\n")
            await eventually(lambda: bool(service.listeners[1].connections()))
            signal.raise_signal(signal.SIGTERM)
            await eventually(lambda: service.listeners[1].status == "draining")
            await trio.sleep(APART)
            signal.raise_signal(number)
            with pytest.raises(Cut):
                await peer.answer()
    assert isinstance(service.outcome, SystemExit)
    assert service.outcome.code == 128 + number


async def healthy(port: int) -> int:
    with await Peer.connect(port) as peer:
        return (await peer.get("/healthz")).status


async def test_a_delay_serves_everybody_while_balancers_are_told():
    service = Service(Listener(handler, bind="127.0.0.1:0", health_path="/healthz"), delay=1.0)
    (listener,) = service.listeners
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        with await Peer.connect(listener.port) as peer:
            assert await healthy(listener.port) == 200
            began = time.monotonic()
            signal.raise_signal(signal.SIGTERM)
            await eventually(lambda: listener._retiring)
            assert await healthy(listener.port) == 503
            answer = await peer.get("/")
            assert (answer.status, answer.header("connection")) == (200, None)
            assert await peer.end()
        assert time.monotonic() - began > 0.9
    assert service.outcome == (Drained(1, 0, 0),)


async def test_another_signal_ends_the_delay_and_a_third_everything():
    service = Service(*listeners("one", "other"), delay=600.0)
    one, other = service.listeners
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        with await Peer.connect(one.port) as peer:
            await peer.send(b"GET /forever HTTP/1.1\r\nHost: test\r\n\r\n")
            await eventually(lambda: bool(one.connections()))
            signal.raise_signal(signal.SIGTERM)
            await eventually(lambda: one._retiring and other._retiring)
            assert one.status == other.status == "accepting"
            await trio.sleep(APART)
            signal.raise_signal(signal.SIGTERM)
            await eventually(lambda: one.status == "draining")
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(Cut):
                await peer.answer()
    assert isinstance(service.outcome, SystemExit)
    assert service.outcome.code == 128 + signal.SIGINT


async def test_the_grace_is_one_for_all():
    service = Service(*listeners("one", "other"), grace=0.5)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        peers = [await Peer.connect(each.port) for each in service.listeners]
        for peer in peers:
            await peer.send(b"GET /forever HTTP/1.1\r\nHost: test\r\n\r\n")
        await eventually(lambda: all(each.info().requests for each in service.listeners))
        began = time.monotonic()
        signal.raise_signal(signal.SIGTERM)
        for peer in peers:
            assert (await peer.answer()).status == 503  # its response had not begun
            peer.socket.close()
    assert 0.4 < time.monotonic() - began < 0.5 + PATIENCE
    assert service.outcome == (Drained(0, 1, 0), Drained(0, 1, 0))


async def test_listeners_that_close_by_themselves_end_it():
    service = Service(*listeners("one", "other"))
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        for each in service.listeners:
            assert await each.drain(PATIENCE) == Drained(0, 0, 0)
    assert service.outcome == ()


async def test_a_port_in_use_is_a_plain_error_and_closes_the_others():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first = Listener(handler, bind="127.0.0.1:0", name="first")
        second = Listener(handler, bind=f"127.0.0.1:{port}", name="second")
        with pytest.raises(OSError, match="in use") as caught:
            await serve(first, second)
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.filename == f"127.0.0.1:{port}"
        assert first.status == "closed"
        with pytest.raises(ConnectionRefusedError):
            await Peer.connect(first.port)


# -- run: a process of its own ----------------------------------------------------------------------

RUN = """
import socket, time, trio
from roadrunner_trio import Response, run

async def handler(request):
    match request.path:
        case "/busy":
            await request.drain.started.wait()
        case "/forever":
            await trio.sleep_forever()
        case "/thread":
            await trio.to_thread.run_sync(time.sleep, 60)
    return Response.text("answered")

door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
run(handler, door, grace="%gs", log=LOG)
"""
LOUD, QUIET = (RUN.replace("LOG", log) for log in ("True", "False"))


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("source", [LOUD, QUIET], ids=["loud", "quiet"])
async def test_run_ends_with_0_after_a_drain(tmp_path, number, source):
    async with script(source % 30, tmp_path) as server:
        with await Peer.connect(server.port) as busy, await Peer.connect(server.port) as idle:
            await busy.send(b"GET /busy HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await idle.get("/")).body == b"answered"
            server.process.send_signal(number)
            assert await idle.end()
            assert (await busy.answer()).header("connection") == "close"
            assert await busy.end()
        assert await server.end() == 0
        said, logged = await server.said(), server.log()
    if source is QUIET:
        assert (said, logged) == (f"{server.port}\n", "")
        return
    assert said == f"{server.port}\nServing handler on http://127.0.0.1:{server.port} (Ctrl-C drains, twice stops)\n"
    patterns = [
        r'INFO 127\.0\.0\.1:\d+ "GET / HTTP/1\.1" 200 0 8 ',
        rf"INFO {signal.Signals(number).name}: draining for at most 30 s; again to stop at once$",
        r'INFO 127\.0\.0\.1:\d+ "GET /busy HTTP/1\.1" 200 0 8 ',
        r"INFO drained: 2 finished, 0 cut, 0 stuck$",
    ]
    lines = logged.splitlines()
    assert [bool(re.search(pattern, line)) for pattern, line in zip(patterns, lines, strict=True)] == [True] * 4, logged


@pytest.mark.parametrize("number", BOTH)
async def test_run_ends_at_once_after_a_second_signal(tmp_path, number):
    async with script(QUIET % 30, tmp_path) as server:
        with await Peer.connect(server.port) as peer, await Peer.connect(server.port) as other:
            await peer.send(b"GET /forever HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await other.get("/")).status == 200
            server.terminate()
            assert await other.end()  # the first has been taken
            await trio.sleep(APART)
            server.process.send_signal(number)
            assert await server.end(10) == 128 + number


@pytest.mark.parametrize("source", [LOUD, QUIET], ids=["loud", "quiet"])
async def test_run_leaves_what_is_stuck(tmp_path, source):
    async with script(source % 0.5, tmp_path) as server:
        with await Peer.connect(server.port) as peer, await Peer.connect(server.port) as other:
            await peer.send(b"GET /thread HTTP/1.1\r\nHost: test\r\n\r\n")
            assert (await other.get("/")).status == 200
            server.terminate()
            assert await server.end() == 1
        assert "is stuck, past the drain's deadline" in server.log()
        assert ("leaving with exit status 1" in server.log()) is (source is LOUD)


IN_USE = """
import socket
from roadrunner_trio import Response, run

async def handler(request): ...

door = socket.create_server(("127.0.0.1", 0))
port = door.getsockname()[1]
print(port, flush=True)
run(handler, f"127.0.0.1:{port}")
"""


async def test_run_on_a_port_in_use_fails_without_a_group(tmp_path):
    async with script(IN_USE, tmp_path) as server:
        assert await server.end() == 1
        assert server.log().rstrip().endswith(f"Address already in use: '127.0.0.1:{server.port}'")
        assert "Group" not in server.log()
