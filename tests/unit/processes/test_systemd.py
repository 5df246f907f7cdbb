"""What the service manager says that it has given, and whether it has."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from roadrunner_trio.command.cli import main
from roadrunner_trio.processes import systemd
from roadrunner_trio.processes.systemd import Service


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
