"""No way leads out of a folder: not by name, not by link, not by being quick, with the kernel's help and without."""

from __future__ import annotations

import gc
import os
import socket
import threading
from contextlib import suppress

import pytest
import trio
from stream_tools import descriptors

from roadrunner_trio.transport import beneath, cached_open
from roadrunner_trio.transport.beneath import FRESH, Folder

SECRET = b"secret"


@pytest.fixture(params=["cached", "waiting", "by hand"])
def way(request, monkeypatch):
    """How files are opened."""
    if request.param != "cached":
        monkeypatch.setattr(cached_open, "_call", None)
    if request.param == "by hand":
        monkeypatch.setattr(cached_open, "_call_and_wait", None)
    return request.param


@pytest.fixture
def public(tmp_path):
    public = tmp_path / "public"
    (public / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(SECRET)
    (public / "file").write_bytes(b"public")
    (public / "sub" / "file").write_bytes(b"public")
    (public / "inner").symlink_to("sub/file")
    (public / "sub" / "back").symlink_to("../file")
    (public / "folder").symlink_to("sub")
    (public / "absolute").symlink_to(tmp_path / "secret")
    (public / "relative").symlink_to("../secret")
    (public / "out").symlink_to("../outside")
    (public / "circle").symlink_to("circle")
    (public / "proc").symlink_to("/proc/self")
    (public / "dangling").symlink_to("nowhere")
    os.mkfifo(public / "fifo")
    return public


async def read(folder, path):
    with await folder.open(path) as file:
        return await file.read(0, 100)


async def test_what_lies_beneath_is_opened(public, way):
    for links in ("beneath", "none", "follow"):
        assert await read(Folder(public, links), b"file") == b"public"
        assert await read(Folder(public, links), b"sub/file") == b"public"


OUTSIDE = [b"absolute", b"relative", b"out/file", b"../secret", b"sub/../../secret", b"..", b"sub/../../outside/file"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("links", ["beneath", "none"])
async def test_what_lies_elsewhere_is_not_found(public, way, path, links):
    folder = Folder(public, links)
    with pytest.raises((FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        await folder.open(path)


@pytest.mark.parametrize(
    "path", [b"/etc/passwd", b"proc/environ", b"circle", b"dangling", b"fifo", b"nothing", b"x" * 300]
)
async def test_what_is_no_file_is_not_found(public, way, path):
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        await Folder(public).open(path)


async def test_links_that_stay_beneath(public, way):
    for path in (b"inner", b"sub/back", b"folder/file"):
        if way != "by hand":
            assert await read(Folder(public), path) == b"public"
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            await Folder(public, "none").open(path)
        assert await read(Folder(public, "follow"), path) == b"public"
    assert await read(Folder(public, "follow"), b"absolute") == SECRET


async def test_a_folder_is_no_file(public, way):
    with pytest.raises(IsADirectoryError):
        await Folder(public).open(b"sub")


async def test_what_lies_in_a_folder(public, way):
    folder = Folder(public)
    for _ in range(2):
        assert {(name, is_folder) for name, is_folder, _, _ in await folder.names(b"", 100)} == {
            ("file", False),
            ("sub", True),
        }
    assert [name for name, *_ in await folder.names(b"sub", 100)] == ["file"]
    assert len(await folder.names(b"", 1)) == 1
    with pytest.raises(OSError, match=r"."):
        await folder.names(b"out", 100)


async def test_a_folder_that_is_switched_is_found_anew(tmp_path, mock_clock):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    current = tmp_path / "current"
    current.symlink_to("one")
    folder = Folder(current)
    assert await read(folder, b"file") == b"one"
    current.unlink()
    current.symlink_to("two")
    mock_clock.jump(FRESH)
    assert await read(folder, b"file") == b"two"
    current.unlink()
    mock_clock.jump(FRESH)
    with pytest.raises(FileNotFoundError):
        await folder.open(b"file")


def test_there_has_to_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="no folder"):
        Folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="no folder"):
        Folder(tmp_path / "nothing")


async def test_no_descriptor_is_left(public, way):
    async def use():
        folder = Folder(public)
        for path in (b"file", b"sub", b"relative", b"sub/file", b"fifo"):
            with suppress(OSError):
                (await folder.open(path)).close()
        dropped = await folder.open(b"file")
        del dropped

    await use()
    gc.collect()
    before = descriptors()
    for _ in range(20):
        await use()
    gc.collect()
    # A thread of Trio's holds the frames of its last failure, and so a folder, until it has another to hold.
    assert descriptors() <= before + 2


async def test_who_moves_links_about_is_not_quick_enough(public, tmp_path, way):
    """A link that is a folder within at one moment, and one without at the next (CVE-2024-23334's cousin)."""
    swapped, over = public / "swapped", threading.Event()

    def swap():
        for at in range(2_000):
            fresh = public / f"fresh{at % 2}"
            fresh.symlink_to("sub" if at % 2 else "../outside")
            fresh.replace(swapped)
        over.set()

    seen = set()
    folder = Folder(public)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, swap)
        while not over.is_set():
            try:
                seen.add(await read(folder, b"swapped/file"))
            except (FileNotFoundError, NotADirectoryError):
                seen.add(None)
            except BlockingIOError:  # the way was changed at every attempt
                pass
            await trio.lowlevel.checkpoint()
    assert SECRET not in seen
    assert seen <= {b"public", None}


async def test_a_socket_is_no_file(public, way):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(public / "s"))
        with pytest.raises(FileNotFoundError):
            await Folder(public).open(b"s")


async def test_by_hand_no_link_is_followed(public, monkeypatch):
    monkeypatch.setattr(beneath, "open_resolved", lambda *args: None)
    monkeypatch.setattr(beneath, "open_cached", lambda *args: None)
    for path in (b"inner", b"folder/file"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            await Folder(public).open(path)
