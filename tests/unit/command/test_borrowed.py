"""Whoever comes from uvicorn, hypercorn or gunicorn: each flag is ours by another name, or is told what to write."""

from __future__ import annotations

import math
import re

import pytest

from roadrunner_trio.command.borrowed import ALIASES, EVERYBODY, HARMLESS, KEYS, OURS, REFUSED, SHORT, instead
from roadrunner_trio.command.cli import main, parsers
from roadrunner_trio.command.configuration import resolve
from roadrunner_trio.command.interface import host
from roadrunner_trio.command.serving import prepare
from roadrunner_trio.command.setting_table import BY_NAME, OPTIONS
from roadrunner_trio.protocol.ws.deflate import Compression

UVICORN = re.findall(
    r"\S+",
    """
--host=127.0.0.1 --port=8000 --uds=/run/app.sock --fd=3 --reload --reload-dir=src --reload-include=*.py
--reload-exclude=*.txt --reload-delay=0.25 --workers=2 --loop=uvloop --http=httptools --http2 --ws=wsproto
--ws-max-size=16777216 --ws-max-queue=32 --ws-ping-interval=20.0 --ws-ping-timeout=20.0 --ws-per-message-deflate=true
--lifespan=on --interface=asgi3 --interface=asgi2 --env-file=.env --log-config=log.ini --log-level=critical
--access-log --no-access-log --use-colors --no-use-colors --proxy-headers --no-proxy-headers --server-header
--no-server-header --date-header --no-date-header --forwarded-allow-ips=* --root-path=/api --limit-concurrency=100
--backlog=2048 --limit-max-requests=1000 --limit-max-requests-jitter=10 --timeout-keep-alive=5
--timeout-graceful-shutdown=10 --timeout-worker-healthcheck=5 --ssl-keyfile=key.pem --ssl-certfile=cert.pem
--ssl-keyfile-password=x --ssl-version=17 --ssl-cert-reqs=2 --ssl-ca-certs=ca.pem --ssl-ciphers=HIGH --header=x-a:b
--app-dir=src --h11-max-incomplete-event-size=65536 --reset-contextvars --factory
""",
)
HYPERCORN = re.findall(
    r"\S+",
    """
--access-log --access-logfile=- --access-logformat=%(h)s --backlog=100 -b=127.0.0.1:80 --bind=unix:/run/x
--ca-certs=ca.pem --certfile=cert.pem --cert-reqs=2 --ciphers=HIGH -D --daemon --debug --error-log=- --error-logfile=-
--log-file=- --graceful-timeout=3 --read-timeout=10 --max-requests=1000 --max-requests-jitter=10 -g=www --group=www
-k=trio --worker-class=trio --keep-alive=5 --keyfile=key.pem --keyfile-password=x --insecure-bind=:80
--log-config=log.ini --log-level=info -p=pid --pid=pid --quic-bind=:443 --reload --root-path=/api
--server-name=example.org --statsd-host=localhost:8125 --statsd-prefix=x -m=022 --umask=022 -u=www --user=www
--verify-mode=CERT_REQUIRED --websocket-ping-interval=20 -w=2 --workers=2
""",
)
GUNICORN = re.findall(
    r"\S+",
    """
--chdir=/srv --worker-connections=100 --limit-request-line=4094 --limit-request-fields=100
--limit-request-field_size=8190 --timeout=30 -t=30 --threads=4 --worker-tmp-dir=/dev/shm --capture-output --env=A=B
-e=A=B --pythonpath=. --proxy-allow-from=10.0.0.1 --reload-engine=auto --reload-extra-file=a.html --preload
-k=uvicorn.workers.UvicornWorker -n=hello -R --enable-stdio-inheritance --check-config --spew --no-sendfile
--do-handshake-on-connect --suppress-ragged-eofs --initgroups --log-syslog --log-syslog-to=udp://127.0.0.1:514
--log-syslog-prefix=x --log-syslog-facility=user --disable-redirect-access-to-syslog --logger-class=a.B
--log-config-json=log.json --dogstatsd-tags=a:b --enable-backlog-metric --paste=a.ini --paster=a.ini --paste-global=a=b
--protocol=uwsgi --uwsgi-allow-from=127.0.0.1 --proxy-protocol --http-parser=fast --http-protocols=h2,h1
--http2-cleartext=off --http2-initial-window-size=65535 --http2-max-concurrent-streams=100 --http2-max-frame-size=16384
--http2-max-header-list-size=65536 --forwarder-headers=SCRIPT_NAME --header-map=drop --strip-header-spaces
--permit-obsolete-folding --permit-unconventional-http-method --permit-unconventional-http-version
--casefold-http-method --asgi-loop=uvloop --asgi-lifespan=auto --asgi-disconnect-grace-period=3
--websocket-max-message-size=16777216 --dirty-app=a:b --dirty-workers=1 --dirty-threads=1 --dirty-timeout=300
--dirty-graceful-timeout=30 --control-socket=a.ctl --control-socket-mode=600 --no-control-socket
""",
)


def said(flag: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a flag; "" when it is taken."""
    name, _, value = flag.partition("=")
    try:
        resolve(parsers()[0].parse_args(["serve", "app:app", name, *([value] if value else [])]), {})
    except SystemExit:
        return capsys.readouterr().err.splitlines()[-1]
    return ""


@pytest.mark.parametrize("flag", [*UVICORN, *HYPERCORN, *GUNICORN])
def test_every_flag_of_theirs_is_taken_or_told_what_to_write(flag, capsys):
    name = flag.partition("=")[0]
    words = said(flag, capsys)
    if words:
        assert words.startswith(f"roadrunner-trio serve: error: {name}: "), words
        assert len(words) > len(name) + 50


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--uds", "/run/app.sock"], "bind", ["unix:/run/app.sock"]),
        (["--fd", "3", "-b", ":80"], "bind", ["fd://3", ":80"]),
        (["--forwarded-allow-ips", "10.0.0.0/8"], "proxy-headers", ["10.0.0.0/8"]),
        (["--proxy-headers", "--forwarded-allow-ips", "*"], "proxy-headers", [EVERYBODY]),
        (["--limit-max-requests", "7"], "max-requests", 7),
        (["--timeout-worker-healthcheck", "7"], "worker-timeout", 7.0),
        (["--limit-concurrency", "7"], "max-concurrent-requests", 7),
        (["--timeout-graceful-shutdown", "7"], "grace", 7.0),
        (["--graceful-timeout", "7"], "grace", 7.0),
        (["--keep-alive", "7"], "timeout-keep-alive", 7.0),
        (["--h11-max-incomplete-event-size", "65536"], "max-field-section", 65536),
        (["--ssl-keyfile", "k.pem"], "tls-key", ["k.pem"]),
        (["--keyfile", "k.pem"], "tls-key", ["k.pem"]),
        (["--access-logfile", "-"], "access-log-file", "-"),
        (["--log-config", "log.ini"], "log-config", "log.ini"),
        (["--ssl-ca-certs", "ca.pem"], "tls-client-ca", "ca.pem"),
        (["--ca-certs", "ca.pem"], "tls-client-ca", "ca.pem"),
        (["--ssl-cert-reqs", "1"], "tls-client-cert", "optional"),
        (["--cert-reqs", "2"], "tls-client-cert", "required"),
        (["--verify-mode", "CERT_OPTIONAL"], "tls-client-cert", "optional"),
        (["--websocket-ping-interval", "7"], "ws-ping-interval", 7.0),
        (["--ws-ping-interval", "none"], "ws-ping-interval", math.inf),
        (["--ws-max-size", "16777216"], "ws-max-size", 16 * 1024 * 1024),
        (["--ws-per-message-deflate", "true"], "ws-per-message-deflate", True),
        (["--ws-per-message-deflate", "false"], "ws-per-message-deflate", False),
        (["--ws-per-message-deflate"], "ws-per-message-deflate", True),
        (["--no-ws-per-message-deflate"], "ws-per-message-deflate", False),
        (["--interface", "asgi3"], "interface", "asgi"),
        (["--log-level", "critical"], "log-level", "critical"),
        (["--no-date-header"], "date-header", False),
        (["--chdir", "/srv"], "app-dir", "/srv"),
        (["--worker-connections", "100"], "max-connections", 100),
        (["--limit-request-line", "4094"], "max-request-line", 4094),
        (["--limit-request-fields", "100"], "max-fields", 100),
        (["--limit-request-field_size", "8190"], "max-field-line", 8190),
        (["--server-header"], "server-header", True),
        (["--header", "a: b", "--header", "c:d"], "header", ["a: b", "c:d"]),
    ],
)
def test_what_their_flags_are_here(flags, name, value):
    found = resolve(parsers()[0].parse_args(["serve", "app:app", *flags]), {})
    assert found.server[name] == value


def test_certificates_by_their_names():
    for flag in "--ssl-certfile", "--certfile":
        found = resolve(parsers()[0].parse_args(["serve", "app:app", flag, "c.pem"]), {}).server["tls-cert"]
        assert found == ["c.pem"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--ssl-keyfile-password", "x"], "put it into a file, --tls-password-file FILE"),
        (["--debug"], "--debug: write --log-level debug"),
        (["-k", "uvicorn.workers.UvicornWorker"], "-k: workers are this server's own, and run on Trio: leave it out"),
        (["--user", "www"], "--user: who it runs as is for a service manager to say"),
        (["--error-logfile", "/var/log/hello"], "--error-logfile: lines go to standard error"),
        (["-p", "8080"], "-p: a service manager knows the process: leave it out; if a port was meant, write --port"),
        (["--timeout", "30"], "a worker whose loop does not turn has --worker-timeout, a request --timeout-handler"),
        (["--use-colors"], "lines on a terminal have colors with --dev"),
        (["--max-requests-jitter", "9"], "a fifth of it is drawn by lot, always"),
        (["--access-logformat", "x"], "write --access-log-format '{peer} {method}'"),
        (["--no-ws-per-message-deflate=true"], "--no-ws-per-message-deflate takes no value"),
    ],
)
def test_words_that_are_refused(argv, words, capsys):
    with pytest.raises(SystemExit):
        main(["serve", "app:app", *argv])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--ssl-cert-reqs", "0"], "--ssl-cert-reqs: '0' is none of 1 (optional) and 2 (required)"),
        (["--interface", "wsgi"], "--interface: 'wsgi' is none of auto, native, asgi"),
        (["--ws-per-message-deflate", "perhaps"], "--ws-per-message-deflate: 'perhaps' is neither yes nor no"),
    ],
)
def test_values_that_are_refused(argv, words, capsys):
    assert main(["serve", "app:app", *argv]) == 3
    assert capsys.readouterr().err.startswith(f"roadrunner-trio: {words}")


def test_they_are_called_what_was_typed(quiet_logging):
    with pytest.raises(ValueError, match="--keyfile does nothing without --tls-cert"):
        prepare(resolve(parsers()[0].parse_args(["serve", "--keyfile", "k.pem"]), {}))
    with pytest.raises(ValueError, match="--uds: it says host and port already"):
        prepare(resolve(parsers()[0].parse_args(["serve", "--uds", "x", "--port", "1"]), {}))


@pytest.mark.parametrize(
    ("flag", "which"), [("--proxy-headers", "whose word is taken"), ("--proxy-protocol", "a PROXY header")]
)
def test_who_is_believed_has_to_be_named(flag, which, quiet_logging):
    """A hint at everybody would be followed; theirs believe this machine."""
    with pytest.raises(ValueError, match=f"^{flag}: name the proxies .*{which}: 127.0.0.1 for one on this machine"):
        prepare(resolve(parsers()[0].parse_args(["serve", flag]), {}))


def test_a_variable_and_a_key_of_theirs_are_told_our_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [note] = resolve(parsers()[0].parse_args(["serve"]), {"ROADRUNNER_CERTFILE": "x"}).notes
    assert note == "the variable ROADRUNNER_CERTFILE is no setting: it is called ROADRUNNER_TLS_CERT here"
    (tmp_path / "app.toml").write_text('certfile = "x"\n')
    with pytest.raises(ValueError, match=re.escape("certfile in app.toml, line 1: it is called tls-cert here")):
        resolve(parsers()[0].parse_args(["serve", "-c", "app.toml"]), {})


def test_all_that_is_refused_is_told_at_once(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "app:app", "-k", "gevent", "--threads", "4", "-b", ":80", "--nonsense", "--daemon"])
    said = [line.partition("error: ")[2] or line for line in capsys.readouterr().err.splitlines()[1:]]
    assert [line.split()[0] for line in said] == ["-k:", "--threads:", "--daemon:", "--nonsense"]


@pytest.mark.parametrize(
    "words",
    [["-k", "trio"], ["--error-logfile", "-"], ["--log-file=-"], ["--loop", "auto", "--http", "auto", "--ws", "auto"]],
)
def test_what_is_done_anyway_may_be_asked_for(words):
    assert parsers()[0].parse_args(["serve", "app:app", *words]).app == "app:app"


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("graceful_timeout", "it is called grace here"),
        ("accesslog", "it is called access-log-file here"),
        ("keepalive", "it is called timeout-keep-alive here"),
        ("wsgi_app", "it is called app here"),
        ("worker_class", "workers are this server's own"),
        ("errorlog", "lines go to standard error"),
    ],
)
def test_a_key_of_gunicorn_is_told_ours(key, advice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.toml").write_text(f'{key} = "x"\n')
    with pytest.raises(ValueError, match=re.escape(f"{key} in app.toml, line 1: {advice}")):
        resolve(parsers()[0].parse_args(["serve", "-c", "app.toml"]), {})


def test_settings_of_theirs_that_nobody_reads_are_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = {"UVICORN_PORT": "1", "UVICORN_LOOP": "uvloop", "GUNICORN_CMD_ARGS": "-w 2", "FORWARDED_ALLOW_IPS": "*"}
    (tmp_path / "gunicorn.conf.py").write_text("workers = 4\n")
    for extra in "", "[tool.other]\n":
        if extra:
            (tmp_path / "pyproject.toml").write_text(extra)
        assert resolve(parsers()[0].parse_args(["serve"]), variables).notes == (
            "the variable FORWARDED_ALLOW_IPS is not read: ROADRUNNER_PROXY_HEADERS names whom to believe",
            "the variable GUNICORN_CMD_ARGS is not read: write what it says after the command",
            "the variable UVICORN_LOOP is not read: this server runs on Trio, always: leave it out",
            "the variable UVICORN_PORT is not read: it is called ROADRUNNER_PORT here",
            "gunicorn.conf.py is not read: settings are TOML here, and --config names them",
        )
    (tmp_path / "app.toml").write_text("")
    chosen = parsers()[0].parse_args(["serve", "-c", "app.toml", "--proxy-headers", "unix"])
    assert resolve(chosen, {"FORWARDED_ALLOW_IPS": "*"}).notes == ()


def test_the_table_is_in_order():
    assert not set(ALIASES) & set(REFUSED)
    assert HARMLESS.keys() <= REFUSED.keys()
    assert set(KEYS.values()) <= {*ALIASES, *REFUSED, *OURS}
    assert not set(KEYS) & set(OURS)
    assert {alias.name for alias in ALIASES.values()} <= BY_NAME.keys()
    assert set(SHORT.values()) <= REFUSED.keys()
    for name in (*ALIASES, *REFUSED):
        sentence = instead(name, lambda option: option.flag)
        assert sentence
        assert re.search(r"(?<!\{)\{\}", sentence) is None
    assert instead("nonsense", lambda option: option.flag) == ""


def test_the_help_is_silent_of_them():
    text = parsers()[1].format_help()
    shown = {name for option in OPTIONS for name in (option.flag, *option.aliases)}
    for name in ALIASES:
        assert f"--{name}" in shown or re.search(rf"--{name}\b(?!-)", text) is None, name


async def handler(request):
    pass


async def application(scope, receive, send):
    pass


def test_sessions_are_as_the_flags_have_it():
    argv = ["--ws-max-size", "1K", "--ws-max-queue", "3", "--ws-ping-interval", "none", "--ws-ping-timeout", "7"]
    server = resolve(parsers()[0].parse_args(["serve", "a:b", *argv, "--ws-per-message-deflate"]), {}).server
    made, _ = host(application, "a:b", server)
    found = made._websocket._settings
    assert (found.ping_interval, found.ping_timeout, found.compression) == (math.inf, 7.0, Compression())
    assert "1024" in repr(found)
    assert made._websocket._settings.max_queue == 3
    with pytest.raises(ValueError, match="--ws-max-size: a:b is no ASGI application"):
        host(handler, "a:b", server)
