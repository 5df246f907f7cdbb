"""What the service manager says that it has given, and whether it has."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from notify_tools import manager

from roadrunner_trio.command.cli import main
from roadrunner_trio.processes import systemd
from roadrunner_trio.processes.systemd import MOST_OWED, Service


def taken(**variables: str) -> Service:
    """A service that has read these variables."""
    service, environment = Service(), {"LISTEN_PID": str(os.getpid()), **variables, "HOME": "/"}
    service.take(environment)
    assert environment == {"HOME": "/"}
    return service


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The first of two descriptors that follow each other, of which the second is not open."""
    with socket.socket() as door:
        os.dup2(door.fileno(), 900)
    monkeypatch.setattr(systemd, "FIRST", 900)
    yield 900
    os.close(900)


def test_sockets_that_are_there_are_taken(first: int) -> None:
    service = taken(LISTEN_FDS="1", LISTEN_FDNAMES="web")
    assert (service.sockets, service.wrong) == ([("web", first)], "")
    assert not os.get_inheritable(first)


@pytest.mark.parametrize(
    ("count", "wrong"),
    [
        ("2", "LISTEN_FDS=2 says that descriptor 901 is a socket, and it is not open"),
        ("99999999999999999999", "says that descriptor 901 is a socket, and it is not open"),
        ("two", "LISTEN_FDS=two is no number of descriptors"),
        ("-1", "LISTEN_FDS=-1 is no number of descriptors"),
        ("9" * 30, "9 is no number of descriptors"),
    ],
)
def test_what_is_not_there_is_told(
    first: int, count: str, wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service = taken(LISTEN_FDS=count)
    assert wrong in service.wrong
    monkeypatch.setattr("roadrunner_trio.command.cli.SERVICE", service)
    assert main(["check", "--bind", "127.0.0.1:0"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("roadrunner-trio: LISTEN_FDS=")


def test_what_is_meant_for_another_process_is_not_ours() -> None:
    service = taken(LISTEN_PID="1", LISTEN_FDS="99")
    assert (service.sockets, service.wrong) == ([], "")


@pytest.mark.parametrize("word", ["0", "", "-1", "soon", "\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_what_is_no_time_is_not_waited_for(word: str) -> None:
    assert taken(WATCHDOG_USEC=word).every == math.inf


def test_the_program_that_comes_after_finds_what_is_left(first: int) -> None:
    service, environment = Service(), {"LISTEN_PID": str(os.getpid()), "_ROADRUNNER_UPGRADE": "9"}
    with socket.socket() as door:
        os.dup2(door.fileno(), first + 2)
    service.take(environment | {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "web:kept-web:more"})
    assert (service.sockets, service.wrong) == ([("web", first), ("more", first + 2)], "")
    assert service.passed == [first, first + 2]
    os.close(first + 2)
    assert service.passed == [first]
    service.take(environment | {"LISTEN_FDS": "9" * 19})
    assert service.wrong == ""


async def test_what_a_service_manager_has_no_room_for_it_is_told_later(tmp_path: Path) -> None:
    with manager(tmp_path) as systemd:
        service = taken(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="2000000")
        while service.catch_up():
            service.tell("X=1")
        service.ready()
        service.status("all is well")
        service.alive()
        service.stopping(1)
        systemd.listen()
        assert "READY=1" not in systemd.said
        systemd.said.clear()
        service.alive()
        systemd.listen()
        assert systemd.said == ["X=1", "READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000", "WATCHDOG=1"]
        service.status("all is well")
        systemd.listen()
        assert systemd.said[-1] == "STATUS=all is well"


def test_who_never_has_room_is_not_told_all(tmp_path: Path) -> None:
    with manager(tmp_path) as systemd:
        service = taken(NOTIFY_SOCKET=str(systemd.path))
        for _ in range(10_000):
            service.reloading()
        assert len(service._owed) == MOST_OWED
