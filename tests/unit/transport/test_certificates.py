"""Certificates that are renewed under a context that stays the same."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from certificate_tools import Authority, Handshake, encrypt, serial_of, shown
from trio.testing import wait_all_tasks_blocked

from roadrunner_trio import Certificates
from roadrunner_trio.transport.certificates import DAY, WATCHED


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "roadrunner_trio")


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps would not wait for them."""

    async def run_sync(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@asynccontextmanager
async def watched(certificates: Certificates) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificates.watch)
        yield
        nursery.cancel_scope.cancel()


async def looked_at(times: int = 1) -> None:
    await trio.sleep((times + 0.5) * WATCHED)


# -- which one -----------------------------------------------------------------------------------


@pytest.fixture
def several(authority: Authority, tmp_path: Path) -> tuple[Certificates, dict[str, int]]:
    """Three of them, and their serial numbers."""
    pairs = [
        authority.write(tmp_path, *names, stem=stem)
        for stem, names in {
            "first": ["a.example"],
            "second": ["b.example", "*.b.example"],
            "third": ["x.b.example", "a.example"],
        }.items()
    ]
    first, *others = pairs
    return Certificates(*first, others=others), {cert.stem: serial_of(cert) for cert, _ in pairs}


@pytest.mark.parametrize(
    ("asked", "stem"),
    [
        ("a.example", "first"),  # two have it
        ("b.example", "second"),
        ("B.Example", "second"),
        ("www.b.example", "second"),
        ("x.b.example", "third"),  # its own goes before that of all in the domain
    ],
)
def test_a_peer_is_shown_the_one_that_it_asked_for(
    several: tuple[Certificates, dict[str, int]], authority: Authority, asked: str, stem: str
) -> None:
    certificates, serials = several
    assert shown(certificates.context, authority.client, asked) == serials[stem]


@pytest.mark.parametrize("asked", [None, "nobody.example", "x.y.b.example", "192.0.2.1", "example"])
def test_whoever_asks_for_nothing_that_there_is_gets_the_first(
    several: tuple[Certificates, dict[str, int]], authority: Authority, asked: str | None
) -> None:
    certificates, serials = several
    client = authority.new_client()
    client.check_hostname = False
    assert shown(certificates.context, client, asked) == serials["first"]


def test_protocols_are_offered_whichever_it_is(
    several: tuple[Certificates, dict[str, int]], authority: Authority
) -> None:
    certificates, _ = several
    certificates.context.set_alpn_protocols(["h9", "http/1.1"])
    client = authority.new_client()
    client.set_alpn_protocols(["h9"])
    for name in ("a.example", "b.example"):
        handshake = Handshake(certificates.context, client, name)
        handshake.end()
        assert handshake.client.selected_alpn_protocol() == "h9"


def test_the_defaults_are_those_of_a_context_with_one() -> None:
    with pytest.raises(ValueError, match="client certificates need client_ca"):
        Certificates("a", "b", client_cert="required")


# -- renewal -------------------------------------------------------------------------------------


async def test_a_new_one_is_shown_and_a_handshake_under_way_keeps_the_old(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = serial_of((pair := authority.write(tmp_path, "a.example"))[0])
    certificates = Certificates(*pair)
    before = Handshake(certificates.context, authority.client, "a.example")
    before.step()
    new = serial_of(authority.write(tmp_path, "a.example")[0])
    await certificates.renew()
    assert before.end() == old
    assert shown(certificates.context, authority.client, "a.example") == new
    assert (certificates.renewed, certificates.failed) == (1, 0)
    assert lines(caplog, logging.INFO)[0].startswith(f"the certificate in {pair[0]} is in use, until 2")


async def test_files_are_watched(authority: Authority, tmp_path: Path, autojump_clock: Any) -> None:
    certificates = Certificates(*authority.write(tmp_path, "a.example"))
    async with watched(certificates):
        await looked_at(3)
        assert certificates.renewed == 0
        new = serial_of(authority.write(tmp_path, "a.example")[0])
        await looked_at()
        assert shown(certificates.context, authority.client, "a.example") == new
        await looked_at(5)
    assert (certificates.renewed, certificates.failed) == (1, 0)


async def test_the_last_reading_that_began_is_the_one_that_stays(
    authority: Authority, tmp_path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = [5.0, 0.0]

    async def slowly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        read = function(*args)
        await trio.sleep(waits.pop(0))
        return read

    certificates = Certificates(*authority.write(tmp_path, "a.example"))
    monkeypatch.setattr(trio.to_thread, "run_sync", slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificates.renew)
        await wait_all_tasks_blocked()
        new = serial_of(authority.write(tmp_path, "a.example")[0])
        nursery.start_soon(certificates.renew)
    assert shown(certificates.context, authority.client, "a.example") == new


async def test_links_are_followed(authority: Authority, tmp_path: Path, autojump_clock: Any) -> None:
    """As certbot has them, and Kubernetes, where the link is that of the folder."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    authority.write(tmp_path / "one", "a.example")
    new = serial_of(authority.write(tmp_path / "two", "a.example")[0])
    live = tmp_path / "live"
    live.symlink_to("one")
    certificates = Certificates(live / "cert.pem", live / "cert.key")
    async with watched(certificates):
        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", live)
        await looked_at()
        assert shown(certificates.context, authority.client, "a.example") == new


async def test_names_are_those_of_the_new_one(authority: Authority, tmp_path: Path) -> None:
    first = authority.write(tmp_path, "a.example", stem="first")
    second = authority.write(tmp_path, "b.example", stem="second")
    certificates = Certificates(*first, others=[second])
    new = serial_of(authority.write(tmp_path, "c.example", stem="second")[0])
    await certificates.renew()
    assert shown(certificates.context, authority.client, "c.example") == new


async def test_authorities_of_clients_are_renewed_too(authority: Authority, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ca.pem", Authority()
    authority.trust(ours)
    certificates = Certificates(*authority.write(tmp_path, "a.example"), client_ca=ours)
    client = authority.client_with("client.example")
    shown(certificates.context, client, "a.example")
    theirs.trust(ours)
    await certificates.renew()
    with pytest.raises(ssl.SSLError):
        shown(certificates.context, client, "a.example")


# -- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_is_vouched_for_no_more_cannot_go_on_with_a_session(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    ours, theirs = tmp_path / "ca.pem", Authority()
    authority.trust(ours)
    certificates = Certificates(*authority.write(tmp_path, "a.example"), client_ca=ours)
    client = authority.client_with("client.example")
    client.maximum_version = version
    session = None
    for resumed in (False, True):
        first = Handshake(certificates.context, client, "a.example", session)
        first.end()
        first.hear()
        session = first.client.session
        assert first.client.session_reused is resumed
    theirs.trust(ours)
    await certificates.renew()
    with pytest.raises(ssl.SSLError):
        Handshake(certificates.context, client, "a.example", session).end()
    authority.trust(ours)
    await certificates.renew()
    again = Handshake(certificates.context, client, "a.example", session)
    again.end()
    assert not again.client.session_reused


def spoil(kind: str, cert: Path, key: Path, authority: Authority) -> None:
    """Puts something in its place that is of no use."""
    match kind:
        case "half":
            cert.write_bytes(cert.read_bytes()[:300])
        case "empty":
            cert.write_bytes(b"")
        case "gone":
            cert.unlink()
        case "another's key":
            key.write_bytes(authority.write(cert.parent, "a.example", stem="other")[1].read_bytes())
        case "expired":
            authority.write(cert.parent, "a.example", days=-1, after=-20)
        case "too new":
            authority.write(cert.parent, "a.example", after=1)
        case "a pipe":
            cert.unlink()
            os.mkfifo(cert)


KINDS = ["half", "empty", "gone", "another's key", "expired", "too new", "a pipe"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_cannot_be_used_changes_nothing_and_is_told_once(
    authority: Authority, tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    cert, key = authority.write(tmp_path, "a.example")
    old = serial_of(cert)
    certificates = Certificates(cert, key)
    async with watched(certificates):
        spoil(kind, cert, key, authority)
        await looked_at(6)
        assert shown(certificates.context, authority.client, "a.example") == old
        assert (certificates.renewed, certificates.failed) == (0, 1)
        (line,) = lines(caplog)
        assert line.startswith("the certificates stay as they were: ")
        assert str(cert) in line or str(key) in line
        cert.unlink(missing_ok=True)
        new = serial_of(authority.write(tmp_path, "a.example")[0])
        await looked_at(2)
        assert shown(certificates.context, authority.client, "a.example") == new


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signal_is_told_at_once_what_cannot_be_used(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    cert, key = authority.write(tmp_path, "a.example")
    certificates = Certificates(cert, key)
    spoil(kind, cert, key, authority)
    await certificates.renew()
    assert certificates.failed == len(lines(caplog)) == 1


async def test_two_files_that_change_one_after_the_other_are_no_failure(
    authority: Authority, tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.write(tmp_path, "a.example")
    certificates = Certificates(cert, key)
    (folder := tmp_path / "new").mkdir()
    new_cert, new_key = authority.write(folder, "a.example")
    async with watched(certificates):
        new_cert.replace(cert)
        await looked_at()
        assert certificates.renewed == 0
        new_key.replace(key)
        await looked_at()
        assert shown(certificates.context, authority.client, "a.example") == serial_of(cert)
    assert lines(caplog) == []


async def test_a_password_is_asked_for_again(authority: Authority, tmp_path: Path) -> None:
    asked: list[int] = []

    def password() -> str:
        asked.append(len(asked))
        return "secret"

    cert, key = authority.write(tmp_path, "a.example")
    encrypt(key, b"secret")
    certificates = Certificates(cert, key, password=password)
    before = len(asked)
    await certificates.renew()
    assert certificates.renewed == 1
    assert len(asked) > before


async def test_a_password_that_cannot_be_had_changes_nothing(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["secret"]
    cert, key = authority.write(tmp_path, "a.example")
    encrypt(key, b"secret")
    certificates = Certificates(cert, key, password=lambda: words.pop())
    await certificates.renew()
    assert certificates.failed == 1
    assert "the certificates stay as they were" in lines(caplog)[0]


async def test_one_that_came_by_a_pipe_is_used_and_not_watched(
    authority: Authority, tmp_path: Path, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.write(tmp_path, "a.example")
    serial, octets = serial_of(cert), cert.read_bytes()
    cert.unlink()
    os.mkfifo(cert)
    writer = threading.Thread(target=cert.write_bytes, args=(octets,))
    writer.start()
    certificates = Certificates(cert, key)
    writer.join()
    assert shown(certificates.context, authority.client, "a.example") == serial
    assert certificates.not_after == 0
    async with watched(certificates):
        await looked_at(3)
    assert lines(caplog) == []


# -- expiry --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "said"), [(13.4, ["expires in 13 days, on 2"]), (-2.0, ["has expired: 2"]), (15.0, [])]
)
async def test_the_end_is_told_two_weeks_before(
    authority: Authority,
    tmp_path: Path,
    autojump_clock: Any,
    caplog: pytest.LogCaptureFixture,
    days: float,
    said: list[str],
) -> None:
    pair = authority.write(tmp_path, "a.example", days=days, after=-20)
    certificates = Certificates(*pair)
    async with watched(certificates):
        await looked_at(5)
    found = lines(caplog)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))
    assert all(str(pair[0]) in line for line in found)


async def test_it_is_told_once_a_day(authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificates = Certificates(*authority.write(tmp_path, "a.example", days=3))
    now = certificates.not_after - 2.5 * DAY
    for later in (0, 60, DAY / 2, DAY, 1.5 * DAY, 2 * DAY):
        certificates._warn(now + later)
    assert len(lines(caplog)) == 3


async def test_the_first_to_expire_is_told_to_metrics(authority: Authority, tmp_path: Path) -> None:
    late = authority.write(tmp_path, "a.example", days=90, stem="late")
    soon = authority.write(tmp_path, "b.example", days=9, stem="soon")
    certificates = Certificates(*late, others=[soon])
    assert certificates.not_after == Certificates(*soon).not_after < Certificates(*late).not_after


async def test_an_expired_one_may_replace_an_expired_one(authority: Authority, tmp_path: Path) -> None:
    certificates = Certificates(*authority.write(tmp_path, "a.example", days=-3, after=-20))
    authority.write(tmp_path, "a.example", days=-1, after=-20)
    await certificates.renew()
    assert certificates.renewed == 1
