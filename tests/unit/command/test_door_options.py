"""The flags for TLS, proxies and limits: what they make of a listener, and what they refuse by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
import trustme
from certificate_tools import Authority, encrypt, serial_of, shown

from roadrunner_trio import Certificates, RateLimit
from roadrunner_trio.command.cli import main, parsers
from roadrunner_trio.command.configuration import Configuration, resolve
from roadrunner_trio.command.door_options import doors
from roadrunner_trio.command.explain import explain
from roadrunner_trio.command.serving import prepare
from roadrunner_trio.protocol.trust import ProxyHeaders, ProxyProtocol
from roadrunner_trio.telemetry.request_ids import RequestIds


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("tls")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "pem"))
    authority.cert_pem.write_to_path(str(folder / "ca"))
    return folder / "pem"


def made(*argv: object) -> dict[str, object]:
    return doors(parsed(*argv).server)


def parsed(*argv: object) -> Configuration:
    return resolve(parsers()[0].parse_args(["serve", *map(str, argv)]), {})


def test_all_of_it_is_off_by_default():
    assert made() == {
        "tls": None,
        "proxy_protocol": None,
        "proxy_headers": None,
        "rate_limit": None,
        "request_ids": None,
        "reuse_port": False,
        "health_path": None,
        "live_path": None,
        "evict_idle": False,
        "log_context": False,
        "fields": [],
        "date": True,
        "preserve_case": False,
        "protocols": ("h2", "http/1.1"),
        "tracebacks": False,
    }


@pytest.mark.parametrize(
    ("argv", "limit"),
    [
        (["--rate-limit", "20"], RateLimit(20)),
        (["--rate-limit", "300/60s"], RateLimit(300, 60)),
        (["--rate-limit", "300/1m", "--rate-burst", "10"], RateLimit(300, 60, 10)),
    ],
)
def test_rates(argv: list[str], limit: RateLimit) -> None:
    assert made(*argv)["rate_limit"] == limit


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1.5", "20/", "20/0", "20/500ms", "20/none", "20/x", "20/1s/1s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--rate-limit .*write 20 or 300/60s$"):
        made(f"--rate-limit={text}")


def test_networks_may_be_repeated_and_listed():
    proxies = made("--proxy-protocol", "10.0.0.0/8, 192.0.2.1", "--proxy-protocol", "unix")["proxy_protocol"]
    assert isinstance(proxies, ProxyProtocol)
    assert proxies.networks.names == ("10.0.0.0/8", "192.0.2.1", "unix")


@pytest.mark.parametrize(
    ("argv", "fields"),
    [
        ([], ("x-forwarded-for", "x-forwarded-proto")),
        (["--proxy-fields", "forwarded"], ("forwarded",)),
        (["--proxy-fields", "X-Forwarded-For, x-forwarded-host"], ("x-forwarded-for", "x-forwarded-host")),
    ],
)
def test_which_fields_are_believed(argv: list[str], fields: tuple[str, ...]) -> None:
    proxies = made("--proxy-headers", "10.0.0.0/8", *argv)["proxy_headers"]
    assert isinstance(proxies, ProxyHeaders)
    assert proxies.fields == fields


def test_request_ids():
    assert isinstance(made("--request-ids-from", "10.0.0.0/8")["request_ids"], RequestIds)
    assert isinstance(made("--request-ids-echo")["request_ids"], RequestIds)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--proxy-protocol", "localhost"], "--proxy-protocol: 'localhost' does not"),
        (["--proxy-protocol", ","], "--proxy-protocol: name the proxies that begin"),
        (["--proxy-headers", "10.0.0.1/8"], "--proxy-headers.*host bits"),
        (["--proxy-headers", "unix", "--proxy-fields", "cookie"], "fields are"),
        (["--proxy-fields", "forwarded"], "--proxy-fields does nothing without --proxy-headers"),
        (["--request-ids-from", "somewhere"], "--request-ids-from: 'somewhere'"),
        (["--rate-burst", "5"], "--rate-burst does nothing without --rate-limit"),
        (["--tls-key", "k"], "--tls-key does nothing without --tls-cert"),
        (["--tls-password-file", "p"], "--tls-password-file does nothing without --tls-cert"),
        (["--tls-client-cert", "required"], "--tls-client-cert does nothing without --tls-cert"),
        (["--tls-cert", "/nowhere.pem"], r"no TLS with /nowhere\.pem: .*No such file or directory: '/nowhere.pem'$"),
    ],
)
def test_what_is_refused(argv: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        made(*argv)


def test_client_certificates_need_somebody_who_vouches(pem: Path) -> None:
    with pytest.raises(ValueError, match="--tls-client-cert does nothing without --tls-client-ca"):
        made("--tls-cert", pem, "--tls-client-cert", "optional")
    ca = pem.with_name("ca")
    assert made("--tls-cert", pem, "--tls-client-ca", ca)["tls"].context.verify_mode.name == "CERT_REQUIRED"
    optional = made("--tls-cert", pem, "--tls-client-ca", ca, "--tls-client-cert", "optional")
    assert optional["tls"].context.verify_mode.name == "CERT_OPTIONAL"


def test_several_certificates_with_their_keys(tmp_path: Path) -> None:
    authority = Authority()
    one, other = (authority.write(tmp_path, f"{stem}.example", stem=stem) for stem in ("a", "b"))
    found = made("--tls-cert", one[0], "--tls-key", one[1], "--tls-cert", other[0], "--tls-key", other[1])["tls"]
    assert isinstance(found, Certificates)
    for stem, (cert, _) in (("a", one), ("b", other)):
        assert shown(found.context, authority.client, f"{stem}.example") == serial_of(cert)
    with pytest.raises(ValueError, match="--tls-key: there are 2 certificates and 1 keys"):
        made("--tls-cert", one[0], "--tls-cert", other[0], "--tls-key", one[1])


def test_the_password_is_in_a_file(tmp_path: Path) -> None:
    authority, secret = Authority(), tmp_path / "secret"
    cert, key = authority.write(tmp_path, "a.example")
    encrypt(key, "pass wörd ".encode())
    secret.write_text("pass wörd \n", "utf-8")
    found = made("--tls-cert", cert, "--tls-key", key, "--tls-password-file", secret)["tls"]
    assert isinstance(found, Certificates)
    assert shown(found.context, authority.client, "a.example") == serial_of(cert)
    with pytest.raises(ValueError, match=r"there is no private key in .* \(is it in a file of its own\? --tls-key\)$"):
        made("--tls-cert", cert)
    secret.write_text("another")
    with pytest.raises(ValueError, match=f"no TLS with {cert}, {key}, {secret}: the password does not open"):
        made("--tls-cert", cert, "--tls-key", key, "--tls-password-file", secret)
    with pytest.raises(ValueError, match=r"no TLS with .*: .*No such file"):
        made("--tls-cert", cert, "--tls-key", key, "--tls-password-file", tmp_path / "nowhere")


def test_readiness_and_liveness_have_paths_of_their_own() -> None:
    found = made("--health-path", "/healthz", "--live-path", "/livez")
    assert (found["health_path"], found["live_path"]) == ("/healthz", "/livez")
    with pytest.raises(ValueError, match=r"^--live-path is a path such as '/livez', not 'x'$"):
        made("--live-path", "x")
    with pytest.raises(ValueError, match=r"^--live-path is another path than --health-path, "):
        made("--live-path", "/x", "--health-path", "/x")


def test_a_bad_file_is_a_line_and_status_3(pem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--tls-cert", str(pem.with_name("ca"))]) == 3
    assert capsys.readouterr().err.startswith(f"roadrunner-trio: no TLS with {pem.with_name('ca')}: ")


async def test_the_banner_says_how_to_come_in(pem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from roadrunner_trio.server.shell import Banner

    path = tmp_path / "s"
    (listener,), title = prepare(parsed("--tls-cert", pem, "-b", "127.0.0.1:0", "-b", f"unix:{path}"))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        Banner(title).started([listener])
        nursery.cancel_scope.cancel()
    first, second = capsys.readouterr().out.splitlines()
    assert f" on https://127.0.0.1:{listener.port} (" in first
    assert f" on unix:{path} (" in second


@pytest.mark.parametrize(("number", "advice"), [(98, "choose another path"), (13, "folder has to be writable")])
def test_what_to_do_about_a_unix_socket(number: int, advice: str) -> None:
    assert advice in explain(OSError(number, "no", "unix:/run/s"))


def test_fields_of_every_response():
    assert made("--header", "x-a: 1", "--header", "x-b:2:3")["fields"] == [("x-a", "1"), ("x-b", "2:3")]
    assert made("--server-header")["fields"] == [("server", "roadrunner-trio")]
    assert made("--no-server-header")["fields"] == []
    assert made("--no-date-header")["date"] is False


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("x-a", "--header: 'x-a' has no colon; write NAME:VALUE"),
        ("content-length: 7", "--header: fields of every response: content-length is the server's to say"),
        ("Date: today", "--header: fields of every response: date is the server's to say"),
        ("x a: 1", "--header: fields of every response: "),
    ],
)
def test_fields_that_cannot_be_said(line, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        made("--header", line)


def test_tracebacks_are_for_who_is_here_which_nobody_knows_behind_a_proxy_header():
    with pytest.raises(ValueError, match=r"--dev shows tracebacks .* with --proxy-protocol .*: write --reload instead"):
        made("--dev", "--proxy-protocol", "127.0.0.1")
    assert made("--dev")["tracebacks"] is True
