"""Octets in memory while they are few, then on the disk, and nowhere in the end."""

from __future__ import annotations

import errno
import os

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_tools import descriptors

from roadrunner_trio.transport import spool as spools
from roadrunner_trio.transport.spool import PIECE, Destination, Spool


async def filled(pieces, in_memory=100, folder=None):
    spool = Spool(in_memory, folder)
    for piece in pieces:
        await spool.write(piece)
    await spool.finish()
    return spool


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6))
def test_what_is_written_is_read(pieces):
    async def main():
        spool = await filled(pieces)
        whole = b"".join(pieces)
        assert (spool.size, spool.on_disk) == (len(whole), len(whole) > 100)
        for _ in range(2):
            assert await spool.read() == whole
            assert b"".join([piece async for piece in spool.pieces()]) == whole

    trio.run(main)


async def test_it_is_read_and_written_in_large_pieces(tmp_path, monkeypatch):
    writes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    spool = await filled([b"x" * 1000] * 1000, in_memory=1000, folder=str(tmp_path))
    assert [len(piece) async for piece in spool.pieces()] == [PIECE, PIECE, PIECE, 1_000_000 - 3 * PIECE]
    assert len([each for each in writes if each >= 1000]) < 10
    assert os.listdir(tmp_path) == [], "it has no name"


async def test_it_goes_with_its_last_reference():
    before = descriptors()
    spool = await filled([b"x" * 1000])
    assert descriptors() == before + 1
    del spool
    assert descriptors() == before
    spool = await filled([b"x" * 1000])
    spool.close()
    spool.close()
    assert descriptors() == before


async def test_it_is_left_half_way():
    spool = await filled([b"x" * 3 * PIECE])
    async for piece in spool.pieces():
        assert len(piece) == PIECE
        break


async def test_a_copy_is_there_whole(tmp_path):
    for content in (b"short", b"x" * 3 * PIECE, b""):
        await (await filled([content])).save(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content
        assert os.listdir(tmp_path) == ["copy"]
    assert os.stat(tmp_path / "copy").st_mode & 0o777 == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("how", ["error", "cancel", "disk"])
async def test_or_not_at_all(tmp_path, how, monkeypatch):
    (tmp_path / "copy").write_text("before")
    before = descriptors()

    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    async def fail():
        with trio.CancelScope() as scope:
            async with Destination(tmp_path / "copy") as destination:
                if how == "disk":
                    monkeypatch.setattr(spools, "_write_all", full)
                await destination.write(b"x" * PIECE)
                if how == "error":
                    raise KeyError
                scope.cancel()
                await trio.lowlevel.checkpoint()

    if how == "cancel":
        await fail()
    else:
        with pytest.raises((KeyError, OSError)):
            await fail()
    assert os.listdir(tmp_path) == ["copy"]
    assert (tmp_path / "copy").read_text() == "before"
    assert descriptors() <= before + 1  # a thread may hold the frames of its last failure


async def test_a_folder_that_is_not_there(tmp_path):
    spool = await filled([b"x" * 1000])
    with pytest.raises(FileNotFoundError):
        await spool.save(tmp_path / "nowhere" / "copy")
    with pytest.raises(FileNotFoundError):
        await filled([b"x" * 1000], folder=str(tmp_path / "nowhere"))
