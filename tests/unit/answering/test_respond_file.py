"""File responses: from the kernel on a socket, read in threads elsewhere, and never more or less than was promised."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import asynccontextmanager
from itertools import pairwise

import h11
import pytest
import trio
from socket_tools import Cut, Peer, no_connections, serving
from story_tools import GET, Watch, loud, open_house
from stream_tools import descriptors
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.testing import Client, open_server
from roadrunner_trio.transport import files
from roadrunner_trio.transport.files import SLICE, OpenFile
from roadrunner_trio.transport.wire import SocketWire

BIG = bytes(range(256)) * 4096 + b"the end"  # 1 MiB: several slices, and a short one
ENDLESS = 1 << 30
"""Octets of a file, all hole, that no socket buffer takes whole."""

both = pytest.mark.parametrize("carrier", ["memory", "tcp"])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(BIG)
    return path


@asynccontextmanager
async def client_of(handler, carrier, **settings):
    """A client of a server that runs in memory, or on a socket."""
    if carrier == "memory":
        async with open_server(handler, **settings) as server:
            yield server.client()
    else:
        async with serving(handler, **settings) as listener, await connect(listener) as stream:
            yield Client(stream)


async def connect(listener):
    return await trio.open_tcp_stream("127.0.0.1", listener.port)


def sending(path, **settings):
    """A handler that answers /next shortly and everything else with a file."""

    async def handler(request):
        return rr.Response("next") if request.path == "/next" else rr.FileResponse(path, **settings)

    return handler


def spied(monkeypatch, name):
    """The arguments of every call of a function of ``os``, which goes on working."""
    calls = []
    function = getattr(os, name)
    monkeypatch.setattr(os, name, lambda *args: (calls.append(args), function(*args))[1])
    return calls


@both
async def test_a_file_is_sent_whole_and_keeps_the_connection(path, carrier):
    watch = Watch()
    async with client_of(sending(path), carrier, observers=[watch]) as client:
        response = await client.get("/")
        assert response.body == BIG
        assert response.header("content-type") == "text/plain; charset=utf-8"
        assert response.header("content-length") == str(len(BIG))
        assert (await client.get("/next")).text == "next"
    stops = [event for name, event in watch.events if name == "stop"]
    assert [(event.kind, event.sent) for event in stops] == [("file", len(BIG)), ("buffered", 4)]


@both
@pytest.mark.parametrize(
    ("offset", "length", "part"),
    [
        (5, 10, BIG[5:15]),
        (0, 0, b""),
        (SLICE - 1, 2, BIG[SLICE - 1 : SLICE + 1]),
        (len(BIG) - 7, None, b"the end"),
        (len(BIG), None, b""),
        (len(BIG) + 5, None, b""),
        (len(BIG), 0, b""),
    ],
)
async def test_a_part_of_a_file(path, carrier, offset, length, part):
    handler = sending(path, offset=offset, length=length, status=206, fields={"x-a": "1"}, reason="A Part")
    async with client_of(handler, carrier) as client:
        response = await client.get("/")
        assert (response.status, response.body, response.header("x-a")) == (206, part, "1")
        assert response.header("content-length") == str(len(part))
        assert (await client.get("/next")).text == "next"


@both
async def test_an_empty_file(path, carrier):
    path.write_bytes(b"")
    async with client_of(sending(path), carrier) as client:
        assert (await client.get("/")).body == b""
        assert (await client.get("/next")).text == "next"


@both
async def test_to_http_10_too(path, carrier):
    async with client_of(sending(path), carrier) as client:
        await client.stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        heard = b"".join([bytes(data) async for data in client.stream])
    assert heard.partition(b"\r\n\r\n")[2] == BIG


# What is no file


@both
async def test_what_is_not_there_is_404(path, tmp_path, carrier, caplog):
    fifo, bound, circle = tmp_path / "fifo", tmp_path / "s", tmp_path / "circle"
    os.mkfifo(fifo)
    circle.symlink_to(circle)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(bound))
    for wrong in (tmp_path / "nothing", tmp_path, path / "below", fifo, os.devnull, bound, circle, "x" * 300):
        async with client_of(sending(wrong), carrier) as client:
            response = await client.get("/")
            assert (response.status, response.text) == (404, "Not Found")
            assert (await client.get("/next")).text == "next"
    assert loud(caplog) == []


@both
async def test_what_may_not_be_read_is_500(path, carrier, caplog, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_opened", refuse)
    async with client_of(sending(path), carrier) as client:
        assert (await client.get("/")).status == 500
    assert len(loud(caplog)) == 1


@both
async def test_more_than_there_is_is_500(path, carrier, caplog):
    async with client_of(sending(path, offset=len(BIG) - 3, length=4), carrier) as client:
        assert (await client.get("/")).status == 500
    assert f"has 3 octets from {len(BIG) - 3}, not 4" in caplog.text
    assert len(loud(caplog)) == 1


@both
async def test_the_length_of_a_file_is_not_the_applications_to_say(path, carrier, caplog):
    async with client_of(sending(path, fields={"content-length": "5"}), carrier) as client:
        assert (await client.get("/")).status == 500
    assert "a FileResponse computes its content-length" in caplog.text


@both
async def test_no_descriptor_is_left_open(path, tmp_path, carrier):
    async def handler(request):
        return rr.FileResponse(path if request.path == "/" else tmp_path, length=5 if request.path == "/" else None)

    async with client_of(handler, carrier) as client:
        await client.get("/")
        before = descriptors()
        for _ in range(20):
            await client.get("/")
            await client.get("/directory")
            await client.request("HEAD", "/")
        assert descriptors() == before


# How it is sent


async def test_on_a_socket_the_kernel_sends_it_in_slices(path, monkeypatch):
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: True)
    sent, read = spied(monkeypatch, "sendfile"), spied(monkeypatch, "pread")
    async with client_of(sending(path), "tcp") as client:
        assert (await client.get("/")).body == BIG
    offsets = [offset for _, _, offset, _ in sent]
    assert offsets == sorted(offsets)
    assert all(0 < count <= SLICE for *_, count in sent)
    assert {0, SLICE, 2 * SLICE, 3 * SLICE, 4 * SLICE} <= set(offsets)
    assert read == []


async def test_one_slice_that_is_in_memory_goes_at_once(path, monkeypatch):
    """No turn of the loop passes between the head and the last octet."""
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: True)
    sent, waited = spied(monkeypatch, "sendfile"), []
    monkeypatch.setattr(SocketWire, "send_file", lambda *args: waited.append(args))
    async with client_of(sending(path, length=SLICE), "tcp") as client:
        assert (await client.get("/")).body == BIG[:SLICE]
    assert [(offset, count) for _, _, offset, count in sent] == [(0, SLICE)]
    assert waited == []


async def test_what_the_kernel_does_not_take_at_once_is_waited_for(path, monkeypatch):
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: True)
    sendfile, steps = os.sendfile, iter([None, 1000, None, 5])
    asked = []

    def little(out, file, offset, count):
        asked.append((offset, count))
        if (most := next(steps, count)) is None:
            raise BlockingIOError
        return sendfile(out, file, offset, min(most, count))

    monkeypatch.setattr(os, "sendfile", little)
    async with client_of(sending(path, length=SLICE), "tcp") as client:
        assert (await client.get("/")).body == BIG[:SLICE]
    assert asked == [(at, SLICE - at) for at in (0, 0, 1000, 1000, 1005)]


async def test_part_of_a_slice_at_once_and_the_rest_in_slices(path, monkeypatch):
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: True)
    sendfile, asked = os.sendfile, []

    def little(out, file, offset, count):
        asked.append((offset, count))
        return sendfile(out, file, offset, min(7, count) if len(asked) == 1 else count)

    monkeypatch.setattr(os, "sendfile", little)
    async with client_of(sending(path, offset=10, length=2 * SLICE), "tcp") as client:
        assert (await client.get("/")).body == BIG[10:][: 2 * SLICE]
    assert asked[:2] == [(10, SLICE), (17, SLICE)]


async def test_a_response_that_is_cancelled_sends_nothing_of_its_file(path, monkeypatch):
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: True)
    sent = spied(monkeypatch, "sendfile")

    async def handler(request):
        with trio.CancelScope() as scope, await files.open_file(path) as file:
            exchange = request.source
            await exchange.start_response(200, [(b"content-length", b"9")])
            scope.cancel(reason="a test")
            await exchange.send_file(file, 0, 9)
        assert scope.cancelled_caught
        assert exchange.sent == 0
        raise SystemExit("enough")

    async with serving(handler) as listener, await connect(listener) as stream:
        await stream.send_all(GET)
        with pytest.raises((trio.BrokenResourceError, h11.RemoteProtocolError, EOFError)):
            await Client(stream).get("/")
        await no_connections(listener)
    assert sent == []


async def test_a_cold_page_is_read_by_a_thread_before_the_kernel_sends_it(path, monkeypatch):
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: False)
    sent, read = spied(monkeypatch, "sendfile"), spied(monkeypatch, "pread")
    async with client_of(sending(path), "tcp") as client:
        assert (await client.get("/")).body == BIG
    assert [(offset, count) for _, count, offset in read] == [
        *[(at, SLICE) for at in range(0, len(BIG) - 7, SLICE)],
        (len(BIG) - 7, 7),
    ]
    assert sent != []


async def test_elsewhere_it_is_read_in_threads_in_pieces(path, monkeypatch):
    sent, read = spied(monkeypatch, "sendfile"), spied(monkeypatch, "pread")
    async with client_of(sending(path), "memory") as client:
        assert (await client.get("/")).body == BIG
    assert sent == []
    assert all(later[2] - earlier[2] == earlier[1] == files.READ_SIZE for earlier, later in pairwise(read))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
async def test_case_04_where_the_kernel_refuses_it_is_read(path, number, monkeypatch):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sendfile", refuse)
    async with client_of(sending(path), "tcp") as client:
        assert (await client.get("/")).body == BIG
        assert (await client.get("/next")).text == "next"


@both
@pytest.mark.skipif(sys.platform != "linux", reason="Linux has such files")
async def test_case_14_a_file_that_the_kernel_makes_up(carrier):
    for made_up in ("/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"):
        async with client_of(sending(made_up), carrier) as client:
            response = await client.get("/")
            assert response.body == (await trio.Path(made_up).read_bytes()) != b""
            assert (await client.get("/next")).text == "next"


# What goes wrong on the way


@pytest.mark.parametrize("cached", [True, False])
async def test_a_disk_that_fails_is_not_the_peers_doing(path, cached, caplog, monkeypatch):
    """It is the server's error, logged as one; the peer sees that what it has is not the whole."""

    def fail(*args):
        raise OSError(errno.EIO, "the disk is broken")

    sendfile = os.sendfile
    monkeypatch.setattr(OpenFile, "is_cached", lambda file, at, count: cached or not at)
    monkeypatch.setattr(os, "pread", fail)
    monkeypatch.setattr(os, "sendfile", lambda out, *args: sendfile(out, *args) if args[1] < SLICE else fail())
    watch = Watch()
    async with serving(sending(path), observers=[watch], timeouts=rr.Timeouts(linger=0.1)) as listener:
        with await Peer.connect(listener.port) as peer:
            with pytest.raises((Cut, ConnectionResetError)):
                await peer.get()
            assert peer.received.endswith(BIG[:SLICE])
        await no_connections(listener)
        assert listener.info().failed == 1
    event = watch.only("exception")
    assert (event.outcome, event.phase, event.sent) == ("error", "response", SLICE)
    assert "the disk is broken" in caplog.text
    assert len(loud(caplog)) == 1


async def test_a_file_that_shrinks_in_the_kernels_hands_is_truncated_visibly(path, caplog):
    os.truncate(path, ENDLESS)
    watch = Watch()
    async with serving(sending(path), observers=[watch]) as listener:
        with await Peer.connect(listener.port) as peer:
            await peer.send(GET)
            await peer.until(lambda: len(peer.received) > 1000)
            os.truncate(path, 0)
            with pytest.raises((Cut, ConnectionResetError)):
                await peer.answer()
        await no_connections(listener)
    assert watch.only("exception").outcome == "error"
    assert "became shorter" in caplog.text
    assert len(loud(caplog)) == 1


async def test_a_file_that_shrinks_while_it_is_read_is_truncated_visibly(path, caplog, monkeypatch):
    read = os.pread

    def read_and_shrink(*args):
        try:
            return read(*args)
        finally:
            os.truncate(path, 70_000)

    monkeypatch.setattr(os, "pread", read_and_shrink)
    async with client_of(sending(path), "memory") as client:
        with pytest.raises(h11.RemoteProtocolError):
            await client.get("/")
    assert "became shorter" in caplog.text
    assert len(loud(caplog)) == 1


async def test_a_file_that_grows_is_sent_as_long_as_it_was(path, monkeypatch):
    read = os.pread

    def grow_and_read(*args):
        with open(path, "ab") as file:
            file.write(b"more")
        return read(*args)

    monkeypatch.setattr(os, "pread", grow_and_read)
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: False)
    for carrier in ("memory", "tcp"):
        path.write_bytes(BIG)
        async with client_of(sending(path), carrier) as client:
            assert (await client.get("/")).body == BIG
            assert (await client.get("/next")).text == "next"


async def test_a_peer_that_vanishes_inside_a_file_is_no_error(path, caplog):
    os.truncate(path, ENDLESS)
    watch = Watch()
    before = descriptors()
    async with serving(sending(path), observers=[watch]) as listener:
        with await Peer.connect(listener.port) as peer:
            await peer.send(GET)
            await peer.until(lambda: len(peer.received) > 1000)
        await no_connections(listener)
    assert watch.only("exception").outcome == "gone"
    assert loud(caplog) == []
    assert descriptors() <= before


async def test_a_peer_that_does_not_take_a_file_has_the_write_timeout(path, autojump_clock, caplog, monkeypatch):
    os.truncate(path, ENDLESS)
    begun = []

    def is_cached(*args):
        begun.append(trio.current_time())
        return True

    monkeypatch.setattr(OpenFile, "is_cached", is_cached)
    async with open_house(sending(path), timeouts=rr.Timeouts(write=30)) as house:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(GET)
            house.door.put.send_nowait(SocketWire(theirs))
            await wait_all_tasks_blocked()
            ended = await house.empty()
    assert ended - begun[-1] == 30
    assert house.watch.only("exception").outcome == "timeout"
    assert loud(caplog) == []
