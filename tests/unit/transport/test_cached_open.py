"""Opening what the kernel's caches know, and leaving the rest to a thread."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

import pytest
import trio

from roadrunner_trio.transport import cached_open, files
from roadrunner_trio.transport.cached_open import open_cached
from roadrunner_trio.transport.files import FLAGS, open_file

needs_call = pytest.mark.skipif(
    cached_open._call is None or open_cached(sys.executable, FLAGS) is None, reason="this kernel has no openat2"
)


def answering(number: int):
    """A call that fails with an error."""

    def call(*args: object) -> int:
        ctypes.set_errno(number)
        return -1

    return call


@needs_call
def test_a_file_that_was_just_written_is_opened(tmp_path):
    path = tmp_path / "ä file"
    path.write_bytes(b"content")
    fd = open_cached(str(path), FLAGS)
    assert os.read(fd, 100) == b"content"
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_what_is_not_there_is_an_error_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr(cached_open, "_call", answering(errno.ENOENT))
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        open_cached(str(tmp_path / "nothing"), FLAGS)
    assert caught.value.filename == str(tmp_path / "nothing")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOSYS, errno.EPERM])
def test_what_cannot_be_known_is_left_to_a_thread(number, tmp_path, monkeypatch):
    monkeypatch.setattr(cached_open, "_call", answering(number))
    assert open_cached(str(tmp_path), FLAGS) is None
    assert (cached_open._call is None) == (number != errno.EAGAIN), "what will never be there is asked for once"
    assert open_cached(str(tmp_path), FLAGS) is None


@pytest.mark.parametrize("cached", [True, False])
async def test_a_file_is_opened_with_and_without_a_thread(cached, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    if not cached:
        monkeypatch.setattr(cached_open, "_call", None)
    threads = []
    run_sync = trio.to_thread.run_sync
    monkeypatch.setattr(files.trio.to_thread, "run_sync", lambda *a, **k: threads.append(a) or run_sync(*a, **k))
    with await open_file(path) as file:
        assert file.size == 7
    if not cached or cached_open._call is None:
        assert len(threads) == 1


def test_elsewhere_there_is_no_such_call(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cached_open._syscall(ctypes.PyDLL) is None
    monkeypatch.setattr(sys, "platform", "linux")

    def missing(*args: object, **kwargs: object) -> None:
        raise OSError("no libc")

    monkeypatch.setattr(ctypes, "PyDLL", missing)
    assert cached_open._syscall(ctypes.PyDLL) is None


async def test_a_cancelled_task_opens_nothing(tmp_path):
    with trio.CancelScope() as scope:
        scope.cancel()
        await open_file(tmp_path)
    assert scope.cancelled_caught
