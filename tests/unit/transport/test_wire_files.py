"""A wire that sends files: from the kernel, and by reading them where it refuses, with every error its owner's."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio
import trio.testing
from stream_tools import descriptors, fill, read_exactly, reset, tcp_pair, wire_and_peer

from roadrunner_trio.transport.files import OpenFile

BIG = bytes(range(256)) * 32768  # 8 MiB: more than any socket buffer takes


@pytest.fixture(params=[tcp_pair, socket.socketpair], ids=["tcp", "unix"])
async def pair(request):
    """A wire and the raw socket at its other end."""
    with wire_and_peer(request.param) as both:
        yield both


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An open file with known content."""
    path = tmp_path_factory.mktemp("wire") / "file"
    path.write_bytes(BIG)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


async def test_a_range_of_a_file_is_sent(pair, file):
    wire, peer = pair
    assert await wire.send_file(file, 250, 10) == 10
    assert await read_exactly(peer, 10) == BIG[250:260]
    assert await wire.send_file(file, 0, 0) == 0


async def test_a_file_that_ends_early_is_told_by_the_count(pair, file):
    wire, peer = pair
    assert await wire.send_file(file, len(BIG) - 3, 10) == 3
    assert await read_exactly(peer, 3) == BIG[-3:]
    assert await wire.send_file(file, len(BIG) + 1, 10) == 0


async def test_a_file_waits_for_a_peer_that_takes_its_time(pair, file, nursery):
    wire, peer = pair
    sent = []

    async def send():
        sent.append(await wire.send_file(file, 0, len(BIG)))

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    assert not sent
    assert await read_exactly(peer, len(BIG)) == BIG
    await trio.testing.wait_all_tasks_blocked()
    assert sent == [len(BIG)]


async def test_a_file_can_be_cancelled_in_the_middle(pair, file):
    wire, peer = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send_file, file, 0, len(BIG))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="in the middle")
    assert not wire.sending
    await wire.send_eof()
    seen = bytearray()
    while data := peer.recv(65536):
        seen += data
    assert 0 < len(seen) < len(BIG)
    assert BIG.startswith(seen)


# Where the kernel refuses


class Refusing:
    """``os.sendfile`` that sends some octets, and then fails for good."""

    def __init__(self, monkeypatch, number, after=0):
        self.number, self.left, self.calls = number, after, 0
        self.real = os.sendfile
        monkeypatch.setattr(os, "sendfile", self)

    def __call__(self, out, file, offset, count):
        self.calls += 1
        if not self.left:
            raise OSError(self.number, os.strerror(self.number))
        sent = self.real(out, file, offset, min(count, self.left))
        self.left -= sent
        return sent


REFUSALS = [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EAGAIN, errno.EIO]


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("after", [0, 1000])
async def test_case_04_what_the_kernel_does_not_send_is_read_and_sent(pair, file, number, after, monkeypatch):
    """File systems and sandboxes refuse it; where it stopped, reading goes on."""
    wire, peer = pair
    refusing = Refusing(monkeypatch, number, after)
    before = descriptors()
    sent = []

    async def send():
        sent.append(await wire.send_file(file, 10, 300_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await read_exactly(peer, 300_000) == BIG[10:300_010]
    assert sent == [300_000]
    assert refusing.calls <= 3
    await trio.testing.wait_all_tasks_blocked()
    assert descriptors() == before


async def test_a_file_that_ends_early_is_told_by_the_count_also_when_it_is_read(pair, file, monkeypatch):
    wire, peer = pair
    Refusing(monkeypatch, errno.EINVAL)
    assert await wire.send_file(file, len(BIG) - 3, 10) == 3
    assert await read_exactly(peer, 3) == BIG[-3:]
    assert await wire.send_file(file, len(BIG) + 1, 10) == 0


async def test_what_is_wrong_with_the_file_is_not_the_peers_doing(pair, file, monkeypatch):
    """A disk that fails: whoever opened the file hears of it, and the wire is as it was."""
    wire, peer = pair
    Refusing(monkeypatch, errno.EIO, after=5)

    def fail(*args):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match="the disk is broken") as caught:
        await wire.send_file(file, 0, 10)
    assert not isinstance(caught.value, trio.BrokenResourceError)
    assert await read_exactly(peer, 5) == BIG[:5]
    assert not wire.sending
    await wire.send_all(b"x")


async def test_a_peer_that_has_gone_is_not_the_files_doing(file, monkeypatch):
    reads = []
    monkeypatch.setattr(os, "pread", lambda *args: reads.append(args))
    with wire_and_peer() as (wire, peer):
        reset(peer)
        with pytest.raises(trio.BrokenResourceError, match="broken"):
            await wire.send_file(file, 0, 10)
    assert not reads


async def test_a_peer_that_leaves_while_the_file_is_read(file, monkeypatch):
    Refusing(monkeypatch, errno.EINVAL)
    with wire_and_peer() as (wire, peer):
        fill(wire.socket)
        async with trio.open_nursery() as nursery:

            async def send():
                with pytest.raises(trio.BrokenResourceError, match="broken"):
                    await wire.send_file(file, 0, len(BIG))

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.05)
            reset(peer)


async def test_a_close_is_noticed_also_when_the_file_is_read(pair, file, monkeypatch):
    wire, _ = pair
    Refusing(monkeypatch, errno.EINVAL)
    fill(wire.socket)
    async with trio.open_nursery() as nursery:

        async def send():
            with pytest.raises(trio.ClosedResourceError):
                await wire.send_file(file, 0, len(BIG))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        wire.close()


# Without a wait


@pytest.fixture
def opened(file, monkeypatch):
    """The same, as one whose octets are all in memory."""
    monkeypatch.setattr(OpenFile, "is_cached", lambda *args: True)
    with OpenFile(os.dup(file), len(BIG)) as opened:
        yield opened


async def test_octets_that_are_in_memory_are_sent_at_once(pair, opened):
    wire, peer = pair
    assert opened.send_cached(wire.socket, 2, 5) == 5
    assert opened.send_cached(wire.socket, len(BIG) - 3, 5) == 3  # there are no more
    assert opened.send_cached(wire.socket, len(BIG), 5) == 0
    assert await read_exactly(peer, 8) == BIG[2:7] + BIG[-3:]


async def test_octets_that_may_be_on_the_disk_are_not(pair, opened, monkeypatch):
    asked = []
    monkeypatch.setattr(OpenFile, "is_cached", lambda _, *asked_for: asked.append(asked_for))
    monkeypatch.setattr(os, "sendfile", lambda *args: pytest.fail("it waits for the disk"))
    assert opened.send_cached(pair[0].socket, 2, 5) == 0
    assert asked == [(2, 5)]


async def test_what_a_socket_does_not_take_at_once_is_no_error(pair, opened):
    wire, peer = pair
    assert 0 < opened.send_cached(wire.socket, 0, len(BIG)) < len(BIG)
    while opened.send_cached(wire.socket, 0, len(BIG)):
        pass
    reset(peer)
    assert opened.send_cached(wire.socket, 0, 10) == 0  # its peer has gone
    wire.close()
    assert opened.send_cached(wire.socket, 0, 10) == 0
