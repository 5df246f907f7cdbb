"""Unix sockets by path: permissions, what a crash left, what somebody else uses, and nothing left behind."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from roadrunner_trio.transport.bind import check_address
from roadrunner_trio.transport.streams import tidy
from roadrunner_trio.transport.unix import UnixAddress, open_unix, parse_unix


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Short enough for a socket, however deep pytest puts its folders."""
    path = tmp_path / "s"
    assert len(os.fsencode(path)) <= 107
    return path


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(path)) == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/app.sock", UnixAddress("/run/app.sock", 0o600)),
        ("/run/app.sock?mode=660", UnixAddress("/run/app.sock", 0o660)),
        ("a,b c:d", UnixAddress("a,b c:d", 0o600)),
        ("/" + "x" * 106, UnixAddress("/" + "x" * 106, 0o600)),
    ],
)
def test_what_is_written(text: str, address: UnixAddress) -> None:
    assert parse_unix(text) == address
    check_address(f"unix:{text}")


@pytest.mark.parametrize(
    "text", ["", "?mode=660", "/s?", "/s?mode=", "/s?mode=8", "/s?mode=888", "/s?mode=0o660", "/\0s"]
)
def test_what_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"write unix:/run/app\.sock"):
        check_address(f"unix:{text}")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has abstract sockets")
class TestAbstract:
    def test_case_26_a_name_and_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        name = f"@roadrunner-test-{os.getpid()}"
        assert parse_unix(name) == UnixAddress(name, None)
        with open_unix(name) as sock, socket.socket(socket.AF_UNIX) as peer:
            sock.listen()
            assert peer.connect_ex("\0" + name[1:]) == 0
            assert tidy(sock.getsockname()) == name
            assert not os.listdir(tmp_path)
            with pytest.raises(OSError) as caught:
                open_unix(name)
            assert caught.value.errno == errno.EADDRINUSE
        with open_unix(name):  # closed, it is free
            pass

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("@", r"write unix:/run/app\.sock"),
            ("@name?mode=660", "has no file and so no mode"),
            ("@a\0b", r"write unix:/run/app\.sock"),
            ("@" + "x" * 108, "at most 107 octets, not 108"),
        ],
    )
    def test_what_is_none(self, text: str, told: str) -> None:
        with pytest.raises(ValueError, match=told):
            check_address(f"unix:{text}")

    def test_the_longest(self) -> None:
        open_unix("@" + "x" * 107).close()

    def test_a_file_of_that_name_is_a_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with open_unix("./@name"):
            assert os.listdir(tmp_path) == ["@name"]


def test_other_systems_have_no_abstract_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match=r"only Linux.*unix:\./@name"):
        check_address("unix:@name")


def test_a_path_that_is_too_long_is_known_before_it_is_bound():
    with pytest.raises(ValueError, match="at most 107 octets, not 108"):
        check_address("unix:/" + "é" * 53 + "x")


@pytest.mark.parametrize(("suffix", "mode"), [("", 0o600), ("?mode=666", 0o666), ("?mode=0660", 0o660)])
def test_who_may_connect_does_not_depend_on_the_umask(path: Path, suffix: str, mode: int) -> None:
    before = os.umask(0o077 if mode == 0o666 else 0)
    try:
        with open_unix(f"{path}{suffix}"):
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


def test_nothing_is_left_behind(path: Path) -> None:
    with open_unix(str(path)) as sock:
        sock.listen()
        assert connects(path)
    assert not path.exists()


def test_it_is_removed_although_the_process_has_moved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    sock = open_unix(path.name)
    monkeypatch.chdir("/")
    sock.close()
    assert not path.exists()


def test_a_stale_socket_makes_way(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    with open_unix(str(path)) as sock:
        sock.listen()
        assert connects(path)


def test_a_live_socket_is_refused_and_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        with pytest.raises(OSError, match="in use") as caught:
            open_unix(str(path))
        assert caught.value.errno == errno.EADDRINUSE
        assert connects(path)


def test_a_live_socket_whose_queue_is_full_is_live(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as waiting:
        live.bind(str(path))
        live.listen(0)
        waiting.connect(str(path))
        with pytest.raises(OSError, match="in use"):
            open_unix(str(path))


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(OSError, match="no socket"):
        open_unix(str(path))
    assert os.path.lexists(path)


def test_a_path_that_cannot_be_had(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_unix(str(path / "deeper"))


def test_a_successor_keeps_its_socket(path: Path) -> None:
    first = open_unix(str(path))
    path.unlink()
    with open_unix(str(path)) as second:
        second.listen()
        first.close()
        assert connects(path)
    assert not path.exists()


def test_a_child_does_not_remove_what_its_parent_listens_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sock = open_unix(str(path))
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    sock.close()
    assert path.exists()
