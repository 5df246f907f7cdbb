"""What uvicorn, hypercorn and gunicorn call things: which of our settings that is, or why there is none.

Who comes from them has their flags in the fingers, and in unit files. So each of their flags is either one of ours by
another name, or is answered by a sentence that says what to write. Those that a setting has taken for a name of its own
are not looked up here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NamedTuple

from .setting_table import BY_NAME, Option

VERDICTS: Final = {"1": "optional", "2": "required", "cert_optional": "optional", "cert_required": "required"}
"""Of ``ssl.VerifyMode``, by number and by name."""
EVERYBODY: Final = "0.0.0.0/0,::/0,unix"
"""What ``*`` is in a list of networks."""


class Alias(NamedTuple):
    """A setting of ours by another name.

    Attributes:
        name: ours.
        convert: makes our word of theirs; may raise ``argparse.ArgumentTypeError``.
    """

    name: str
    convert: Callable[[str], str] = str


class Refusal(NamedTuple):
    """What to write instead.

    Attributes:
        sentence: with ``{}`` where the name of our setting belongs.
        name: that of our setting; ``""`` when there is none.
    """

    sentence: str
    name: str = ""


def _verdict(word: str) -> str:
    try:
        return VERDICTS[word.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(
            f"{word!r} is none of 1 (optional) and 2 (required); without client certificates leave it and the CA out"
        ) from None


def _networks(word: str) -> str:
    return EVERYBODY if word.strip() == "*" else word


def _unix(path: str) -> str:
    return "unix:" + path


def _descriptor(number: str) -> str:
    return "fd://" + number


def only_trio(word: str) -> str:
    """``trio``, which hypercorn has to be told, and this server is.

    Raises:
        argparse.ArgumentTypeError: any other word.
    """
    if word.lower() != "trio":
        raise argparse.ArgumentTypeError(f"{word!r} is no loop of this server: it runs on Trio, always; leave it out")
    return word


ALIASES: Final = {
    # uvicorn
    "uds": Alias("bind", _unix),
    "fd": Alias("bind", _descriptor),
    "forwarded-allow-ips": Alias("proxy-headers", _networks),
    "limit-concurrency": Alias("max-concurrent-requests"),
    "timeout-graceful-shutdown": Alias("grace"),
    "limit-max-requests": Alias("max-requests"),
    "timeout-worker-healthcheck": Alias("worker-timeout"),
    "h11-max-incomplete-event-size": Alias("max-field-section"),
    "ssl-certfile": Alias("tls-cert"),
    "ssl-keyfile": Alias("tls-key"),
    "ssl-ca-certs": Alias("tls-client-ca"),
    "ssl-cert-reqs": Alias("tls-client-cert", _verdict),
    # hypercorn
    "certfile": Alias("tls-cert"),
    "keyfile": Alias("tls-key"),
    "ca-certs": Alias("tls-client-ca"),
    "cert-reqs": Alias("tls-client-cert", _verdict),
    "verify-mode": Alias("tls-client-cert", _verdict),
    "access-logfile": Alias("access-log-file"),
    "websocket-ping-interval": Alias("ws-ping-interval"),
    # gunicorn
    "chdir": Alias("app-dir"),
    "worker-connections": Alias("max-connections"),
    "limit-request-line": Alias("max-request-line"),
    "limit-request-fields": Alias("max-fields"),
    "limit-request-field_size": Alias("max-field-line"),
}

_JITTER: Final = "a fifth of it is drawn by lot, always: leave it out"
_PARSER: Final = "there is one implementation of it here: leave it out"
_CONTEXT: Final = "a context of your own says so: Listener(app, tls=context) in Python"
_STDERR: Final = "lines go to standard error, and the service manager or the shell has them: leave it out"
_PASSWORD: Final = "everybody can read a command line: put it into a file, {} FILE"
_COLORS: Final = "lines on a terminal have colors with {}, and else none: leave it out"
_OWNER: Final = "write the permissions into the address, {} unix:/run/app.sock?mode=660, and let the folder say whose"
_SERVICE: Final = "a service manager sees to that: leave it out, and see the page on operating it"
_PID: Final = "a service manager knows the process: leave it out; if a port was meant, write {}"
_STATSD: Final = "nothing is sent to statsd: leave it out"

REFUSED: Final = {
    # uvicorn
    "reload-exclude": Refusal(
        "caches and folders that begin with a dot are left out: name others that count, {}", "reload-dir"
    ),
    "reload-delay": Refusal("changes are gathered for as long as they come in a row: leave it out"),
    "loop": Refusal("this server runs on Trio, always: leave it out"),
    "http": Refusal(_PARSER),
    "http2": Refusal("what a connection speaks is no switch here: leave it out"),
    "ws": Refusal(_PARSER),
    "use-colors": Refusal(_COLORS, "dev"),
    "no-use-colors": Refusal(_COLORS, "dev"),
    "no-proxy-headers": Refusal("nobody's are believed unless {} names them: leave it out", "proxy-headers"),
    "limit-max-requests-jitter": Refusal(_JITTER),
    "max-requests-jitter": Refusal(_JITTER),
    "ssl-keyfile-password": Refusal(_PASSWORD, "tls-password-file"),
    "keyfile-password": Refusal(_PASSWORD, "tls-password-file"),
    "ssl-version": Refusal("TLS 1.2 and 1.3 are spoken; " + _CONTEXT),
    "ssl-ciphers": Refusal("those are offered that are thought safe; " + _CONTEXT),
    "ciphers": Refusal("those are offered that are thought safe; " + _CONTEXT),
    "reset-contextvars": Refusal("every request has context variables of its own here: leave it out"),
    # hypercorn
    "access-logformat": Refusal("its templates are others here: write {} '{{peer}} {{method}}'", "access-log-format"),
    "error-log": Refusal(_STDERR),
    "error-logfile": Refusal(_STDERR),
    "log-file": Refusal(_STDERR),
    "daemon": Refusal(_SERVICE),
    "debug": Refusal("write {} debug", "log-level"),
    "read-timeout": Refusal(
        "a head has {}, a body --timeout-body, and both have a least rate, --min-bytes-per-second", "timeout-request"
    ),
    "group": Refusal(_OWNER, "bind"),
    "user": Refusal(_OWNER, "bind"),
    "umask": Refusal(_OWNER, "bind"),
    "insecure-bind": Refusal("write a [[listen]] without tls-cert into a file of settings, --config"),
    "pid": Refusal(_PID, "port"),
    "quic-bind": Refusal("HTTP/3 is not spoken: let a proxy do that"),
    "server-name": Refusal("which hosts there are is for the application or a proxy to know: leave it out"),
    "statsd-host": Refusal(_STATSD),
    "statsd-prefix": Refusal(_STATSD),
    "websocket-permessage-deflate": Refusal("write {}", "ws-per-message-deflate"),
    # gunicorn
    "timeout": Refusal("a worker whose loop does not turn has {}, a request --timeout-handler", "worker-timeout"),
    "threads": Refusal("a worker serves all its connections by one loop: leave it out, or raise {}", "workers"),
    "worker-tmp-dir": Refusal("workers are looked after without files: leave it out"),
    "capture-output": Refusal(_STDERR),
    "env": Refusal("write the variables into a file, --env-file FILE, or before the command"),
    "pythonpath": Refusal("write {}, or set PYTHONPATH", "app-dir"),
    "proxy-allow-from": Refusal("write {}, which names the peers that begin with a PROXY header", "proxy-protocol"),
    "reload-engine": Refusal("the system tells of changes: leave it out"),
    "reload-extra-file": Refusal("write {} with a pattern of names", "reload-include"),
}

SHORT: Final = {"-D": "daemon", "-e": "env", "-g": "group", "-m": "umask", "-p": "pid", "-t": "timeout", "-u": "user"}


def instead(name: str, spell: Callable[[Option], str]) -> str:
    """What to say of a name that is none of ours; ``""`` when nobody else has it either.

    Args:
        name: without dashes before it.
        spell: how a setting is written where the name was found.
    """
    if (alias := ALIASES.get(name)) is not None:
        return f"it is called {spell(BY_NAME[alias.name])} here"
    if (refusal := REFUSED.get(name)) is not None:
        return refusal.sentence.format(spell(BY_NAME[refusal.name]) if refusal.name else "")
    return ""
