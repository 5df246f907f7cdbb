"""Files: only regular ones, read in threads, and a descriptor closed exactly once."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from pathlib import Path

import pytest
import trio
import trio.testing
from stream_tools import descriptors

from roadrunner_trio.transport import files
from roadrunner_trio.transport.files import OpenFile, open_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


class SlowDisk:
    """``os.pread`` that waits, in its thread, until it is let go; and what it saw."""

    def __init__(self, monkeypatch):
        self.begun, self.let_go, self.ended = (threading.Event() for _ in range(3))
        self.read = os.pread
        monkeypatch.setattr(os, "pread", self)

    def __call__(self, fd, count, offset):
        self.begun.set()
        try:
            if not self.let_go.wait(30):
                raise TimeoutError
            return self.read(fd, count, offset)
        finally:
            self.ended.set()


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def in_thread(event):
    """Waits for an event of a thread's, with the loop running."""
    assert await trio.to_thread.run_sync(event.wait, 30)


async def until(condition):
    """Lets other tasks and threads run until ``condition()`` holds."""
    with trio.fail_after(30):
        while not condition():
            await trio.lowlevel.checkpoint()


# Opening


@pytest.mark.parametrize("kind", [str, os.fspath, lambda path: path])
async def test_a_regular_file_opens(path, kind):
    with await open_file(kind(path)) as file:
        assert file.size == 10
        assert await file.read(0, 10) == b"0123456789"
        assert not os.get_inheritable(file.fd)
        fd = file.fd
    assert not is_open(fd)


async def test_through_a_symbolic_link_too(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    with await open_file(link) as file:
        assert file.size == 10


async def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        await open_file(tmp_path / "nothing")


async def test_a_directory_is_no_file(tmp_path):
    before = descriptors()
    with pytest.raises(IsADirectoryError):
        await open_file(tmp_path)
    assert descriptors() == before


async def test_a_file_is_no_directory(path):
    with pytest.raises(NotADirectoryError):
        await open_file(path / "below")


async def test_a_fifo_is_refused_and_does_not_block(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = descriptors()
    with trio.fail_after(30), pytest.raises(FileNotFoundError, match="not a regular file"):
        await open_file(fifo)
    assert descriptors() == before


async def test_a_device_is_refused():
    before = descriptors()
    with pytest.raises(FileNotFoundError, match="not a regular file"):
        await open_file(os.devnull)
    assert descriptors() == before


async def test_a_socket_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        with pytest.raises(FileNotFoundError, match="is no file"):
            await open_file(tmp_path / "socket")


async def test_a_circle_of_links_is_no_file(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    with pytest.raises(FileNotFoundError, match="is no file"):
        await open_file(tmp_path / "one")


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("number", sorted(files.NO_FILE), ids=errno.errorcode.get)
async def test_what_leads_to_no_file_is_not_found(number, cached, monkeypatch):
    """A terminal without an owner, a device without a driver, a name that a file system cannot have."""

    def refuse(*args):
        if not cached and opener is None:
            return
        raise OSError(number, os.strerror(number))

    opener = refuse if cached else None
    monkeypatch.setattr(files, "open_cached", refuse)
    if not cached:
        monkeypatch.setattr(os, "open", lambda *args: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
    with pytest.raises(FileNotFoundError, match="is no file"):
        await open_file("/dev/tty")


async def test_who_may_not_read_a_file_is_told_so(monkeypatch):
    """The application wants to send what its user may not read: a fault of the installation, and not of the peer."""

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "open_cached", refuse)
    with pytest.raises(PermissionError):
        await open_file("secret")


@pytest.mark.parametrize("name", ["a\ud800b", "a\0b"])
async def test_what_cannot_be_written_is_no_name(name):
    with pytest.raises(FileNotFoundError):
        await open_file(name)


async def test_a_cancelled_open_leaves_nothing_open(path):
    before = descriptors()
    with trio.CancelScope() as scope:
        scope.cancel(reason="at the first checkpoint")
        with await open_file(path):
            pass
    assert descriptors() == before


# What the kernel makes up

MADE_UP = [
    pytest.param(path, id=path, marks=pytest.mark.skipif(not Path(path).exists(), reason="it is not here"))
    for path in (
        "/proc/self/status",  # says that it is empty
        "/proc/version",
        "/proc/sys/kernel/ostype",
        "/sys/kernel/mm/transparent_hugepage/enabled",  # says that it is a page
        "/sys/class/net/lo/mtu",
    )
]
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux has such files")


@pytest.mark.parametrize("path", MADE_UP)
async def test_case_14_a_file_that_the_kernel_makes_up_says_what_it_holds(path):
    before = descriptors()
    content = Path(path).read_bytes()  # noqa: ASYNC240 - no disk is asked
    with await open_file(path) as file:
        assert file.size == len(await file.read(0, 100_000)) > 0
        if path != "/proc/self/status":  # every look at it makes it another
            assert await file.read(0, 100_000) == content
            assert await file.read(2, 3) == content[2:5]
        assert os.pread(file.fd, 5, 0) == content[:5], "the kernel can send it"
    assert descriptors() == before


def lying(monkeypatch, size=0):
    """Files whose status says ``size`` octets without room on the disk."""
    real = os.fstat

    def fstat(fd):
        fields = list(real(fd))
        fields[6] = size
        return os.stat_result(fields, {"st_blocks": 0})

    monkeypatch.setattr(os, "fstat", fstat)


@linux
@pytest.mark.parametrize("size", [0, 3, 4096])
async def test_whatever_it_says_that_it_holds(path, size, monkeypatch):
    lying(monkeypatch, size)
    with await open_file(path) as file:
        if size == 3:
            assert file.size == 3, "a size with an octet at its end is taken for one"
        else:
            assert (file.size, await file.read(0, 100)) == (10, b"0123456789")


@linux
async def test_more_than_can_be_kept_of_it_is_refused(path, monkeypatch):
    monkeypatch.setattr(files, "MOST_MADE_UP", 9)
    lying(monkeypatch)
    before = descriptors()
    with pytest.raises(OSError, match="more than 9 octets") as caught:
        await open_file(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert descriptors() == before


@linux
@pytest.mark.parametrize("fails", ["pread", "memfd_create", "preadv"])
async def test_an_error_on_the_way_is_told_and_leaves_nothing_open(path, fails, monkeypatch):
    def fail(*args):
        raise OSError(errno.EIO, "broken")

    lying(monkeypatch)
    monkeypatch.setattr(os, fails, fail)
    before = descriptors()
    if fails == "preadv":  # it only asks whether that can be known at once
        with await open_file(path) as file:
            assert file.size == 10
    else:
        with pytest.raises(OSError, match="broken"):
            await open_file(path)
    assert descriptors() == before


async def test_where_no_file_can_be_had_in_memory_it_is_refused(path, monkeypatch):
    """Never an empty answer that looks like success."""
    lying(monkeypatch)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError, match="not what it holds"):
        await open_file(path)


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_a_file_that_is_empty_or_on_no_disk_yet_is_itself(content, tmp_path, monkeypatch):
    path = tmp_path / "small"
    path.write_bytes(content)
    lying(monkeypatch, len(content))
    monkeypatch.setattr(files, "_copied", None)
    with await open_file(path) as file:
        assert file.size == len(content)


async def test_where_nobody_can_say_at_once_a_thread_looks(path, monkeypatch):
    lying(monkeypatch, 10)
    monkeypatch.setattr(files, "_RWF_NOWAIT", 0)
    threads = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: threads.append(threading.current_thread()) or real(*args))
    monkeypatch.setattr(os, "preadv", lambda *args: threads.append(threading.current_thread()) or 1)
    with await open_file(path) as file:
        assert file.size == 10
    assert threads != []
    assert threading.current_thread() not in threads


@linux
async def test_a_hole_is_not_read(tmp_path):
    path = tmp_path / "hole"
    path.touch()
    os.truncate(path, 1 << 40)
    with trio.fail_after(10):
        file = await open_file(path)
    with file:
        assert file.size == 1 << 40


# Reading


async def test_a_range_is_read_short_only_at_the_end(path):
    with await open_file(path) as file:
        assert await file.read(3, 4) == b"3456"
        assert await file.read(8, 10) == b"89"
        assert await file.read(10, 10) == b""


async def test_a_file_system_may_give_little_at_a_time(path, monkeypatch):
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: read(fd, min(count, 4), offset))
    with await open_file(path) as file:
        assert await file.read(0, 10) == b"0123456789"
        assert await file.read(3, 100) == b"3456789"


async def test_reading_is_done_in_a_thread(path, monkeypatch):
    threads = []
    read = os.pread

    def noting(*args):
        threads.append(threading.current_thread())
        return read(*args)

    monkeypatch.setattr(os, "pread", noting)
    with await open_file(path) as file:
        await file.read(0, 1)
    assert threads != []
    assert threading.current_thread() not in threads


async def test_reads_and_closes_keep_the_number_of_descriptors(path):
    with await open_file(path) as file:  # threads and their means are there from here on
        await file.read(0, 1)
    before = descriptors()
    for _ in range(100):
        with await open_file(path) as file:
            await file.read(0, 10)
    assert descriptors() == before


# Reads that are abandoned


async def test_an_abandoned_read_closes_the_descriptor_when_it_ends(path, monkeypatch):
    disk = SlowDisk(monkeypatch)
    closed = []
    close = os.close
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), close(fd)))
    async with trio.open_nursery() as nursery:

        async def read():
            nonlocal fd
            with await open_file(path) as file:
                fd = file.fd
                await file.read(0, 10)

        fd = -1
        nursery.start_soon(read)
        await in_thread(disk.begun)
        nursery.cancel_scope.cancel(reason="the deadline has come")
    assert is_open(fd), "closed under a read that runs"
    assert fd not in closed
    disk.let_go.set()
    await in_thread(disk.ended)
    await until(lambda: fd in closed)
    assert closed.count(fd) == 1


async def test_of_several_abandoned_reads_the_last_one_closes(path, monkeypatch):
    disk = SlowDisk(monkeypatch)
    fd = os.open(path, os.O_RDONLY)
    file = OpenFile(fd, 10)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(file.read, 0, 10)
        await in_thread(disk.begun)
        nursery.cancel_scope.cancel(reason="the deadline has come")
    with file:
        pass
    assert is_open(fd)
    disk.let_go.set()
    await until(lambda: not is_open(fd))


async def test_a_read_that_was_abandoned_and_ended_leaves_the_close_to_the_owner(path, monkeypatch):
    disk = SlowDisk(monkeypatch)
    with await open_file(path) as file:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.read, 0, 10)
            await in_thread(disk.begun)
            nursery.cancel_scope.cancel(reason="the deadline has come")
        disk.let_go.set()
        await in_thread(disk.ended)
        assert await file.read(0, 3) == b"012"
    await until(lambda: not is_open(file.fd))


async def test_a_read_cancelled_before_it_began_does_not_hold_the_file(path):
    with await open_file(path) as file:
        with trio.CancelScope() as scope:
            scope.cancel(reason="at the first checkpoint")
            await file.read(0, 10)
        assert scope.cancelled_caught
    assert not is_open(file.fd)


async def test_a_read_that_gets_its_thread_too_late_touches_nothing(path):
    """Its owner may have gone, and the number of its descriptor may belong to another file by now."""
    with await open_file(path) as file:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await file.read(0, 10)


async def test_a_read_abandoned_while_all_threads_are_busy_does_not_hold_the_file(path, monkeypatch):
    disk = SlowDisk(monkeypatch)
    trio.to_thread.current_default_thread_limiter().total_tokens = 1
    with await open_file(path) as busy:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy.read, 0, 10)
            await until(disk.begun.is_set)
            with trio.CancelScope() as scope, OpenFile(os.open(path, os.O_RDONLY), 10) as file:
                nursery.start_soon(cancel_when_blocked, scope)
                await file.read(0, 10)
            assert scope.cancelled_caught
            assert not is_open(file.fd)
            disk.let_go.set()


async def cancel_when_blocked(scope):
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel(reason="the deadline has come")


async def test_a_read_that_fails_says_so_and_closes_all_the_same(path, monkeypatch):
    def fail(*args):
        raise OSError(5, "the disk is broken")

    monkeypatch.setattr(os, "pread", fail)
    with await open_file(path) as file, pytest.raises(OSError, match="disk is broken"):
        await file.read(0, 10)
    assert not is_open(file.fd)


# The page cache


async def test_a_range_is_cached_when_its_first_and_last_octet_are(path, monkeypatch):
    cached = {0, 9}
    monkeypatch.setattr(files, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at, flags: at in cached and flags == 8)
    with await open_file(path) as file:
        assert file.is_cached(0, 10)
        assert file.is_cached(9, 1)
        assert not file.is_cached(0, 9)
        assert not file.is_cached(1, 9)


async def test_beyond_the_end_nothing_is_cached(path):
    with await open_file(path) as file:
        assert not file.is_cached(0, 11)
        assert not file.is_cached(10, 1)


async def test_what_is_on_the_disk_alone_is_not_cached(path, monkeypatch):
    def not_there(*args):
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", not_there)
    with await open_file(path) as file:
        assert not file.is_cached(0, 10)


async def test_where_nobody_can_say_nothing_counts_as_cached(path, monkeypatch):
    monkeypatch.setattr(files, "_RWF_NOWAIT", 0)
    with await open_file(path) as file:
        assert not file.is_cached(0, 10)
