"""What uvicorn, hypercorn and gunicorn call things: which of our settings that is, or why there is none.

Who comes from them has their flags in the fingers, and in unit files. So each of their flags is either one of ours by
another name, or is answered by a sentence that says what to write. Those that a setting has taken for a name of its own
are not looked up here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NamedTuple

from .setting_table import BY_NAME, OPTIONS, Option

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
    "log-config-json": Alias("log-config"),
    "asgi-lifespan": Alias("lifespan"),
    "websocket-max-message-size": Alias("ws-max-size"),
    "http2-max-concurrent-streams": Alias("max-concurrent-streams"),
    "http2-initial-window-size": Alias("stream-window"),
    "http2-max-header-list-size": Alias("max-field-section"),
}

_JITTER: Final = "a fifth of it is drawn by lot, always: leave it out"
_PARSER: Final = "there is one implementation of it here: leave it out"
_CONTEXT: Final = "a context of your own says so: Listener(app, tls=context) in Python"
_STDERR: Final = "lines go to standard error, and the service manager or the shell has them: leave it out"
_PASSWORD: Final = "everybody can read a command line: put it into a file, {} FILE"
_COLORS: Final = "lines on a terminal have colors with {}, and else none: leave it out"
_OWNER: Final = "write the permissions into the address, {} unix:/run/app.sock?mode=660, and let the folder say whose"
_WHOSE: Final = "who it runs as is for a service manager to say, such as User= and Group= of systemd: leave it out"
_SERVICE: Final = "a service manager sees to that: leave it out, and see the page on operating it"
_PID: Final = "a service manager knows the process: leave it out; if a port was meant, write {}"
_STATSD: Final = "nothing is sent to statsd: leave it out; {} tells Prometheus"
_SYSLOG: Final = "where lines go is said by a file for logging.config, {} FILE"
_STRICT: Final = "requests are read as the standards have it, and in no other way: leave it out"
_PASTE: Final = "PasteDeploy makes applications of WSGI, and those are not served"
_HANDSHAKE: Final = "a handshake has a task of its own, and {}: leave it out"
_DIRTY: Final = "there are no dirty workers: long work is for trio.to_thread, or for a program of its own"
_CONTROL: Final = "there is no control socket: signals say all there is to say, so leave it out"

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
    "group": Refusal(_WHOSE),
    "user": Refusal(_WHOSE),
    "umask": Refusal(_OWNER, "bind"),
    "insecure-bind": Refusal("write a [[listen]] without tls-cert into a file of settings, --config"),
    "pid": Refusal(_PID, "port"),
    "quic-bind": Refusal("HTTP/3 is not spoken: let a proxy do that"),
    "server-name": Refusal("which hosts there are is for the application or a proxy to know: leave it out"),
    "statsd-host": Refusal(_STATSD, "metrics"),
    "statsd-prefix": Refusal(_STATSD, "metrics"),
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
    "worker-class": Refusal("workers are this server's own, and run on Trio: leave it out"),
    "asgi-loop": Refusal("this server runs on Trio, always: leave it out"),
    "asgi-disconnect-grace-period": Refusal(
        "an application is told that its peer has left, and is not cancelled: leave it out"
    ),
    "check-config": Refusal("write roadrunner-trio check in place of serve, and leave the rest as it is"),
    "proc-name": Refusal("the process bears the name of the command: leave it out"),
    "enable-stdio-inheritance": Refusal("workers have the standard streams of the server: leave it out"),
    "spew": Refusal("SIGUSR1 prints where every task waits: leave it out"),
    "no-sendfile": Refusal("the kernel sends files wherever it can: leave it out"),
    "do-handshake-on-connect": Refusal(_HANDSHAKE, "timeout-handshake"),
    "suppress-ragged-eofs": Refusal(_HANDSHAKE, "timeout-handshake"),
    "logger-class": Refusal(_SYSLOG, "log-config"),
    "log-syslog": Refusal(_SYSLOG, "log-config"),
    "log-syslog-to": Refusal(_SYSLOG, "log-config"),
    "log-syslog-prefix": Refusal(_SYSLOG, "log-config"),
    "log-syslog-facility": Refusal(_SYSLOG, "log-config"),
    "disable-redirect-access-to-syslog": Refusal(_SYSLOG, "log-config"),
    "dogstatsd-tags": Refusal(_STATSD, "metrics"),
    "enable-backlog-metric": Refusal(_STATSD, "metrics"),
    "initgroups": Refusal(_WHOSE),
    "paste": Refusal(_PASTE),
    "paster": Refusal(_PASTE),
    "paste-global": Refusal(_PASTE),
    "protocol": Refusal("HTTP is spoken, and no uWSGI: leave it out; a proxy says proxy_pass"),
    "uwsgi-allow-from": Refusal("HTTP is spoken, and no uWSGI: leave it out; a proxy says proxy_pass"),
    "http-parser": Refusal(_PARSER),
    "http-protocols": Refusal("write {} h2,http/1.1", "protocols"),
    "http2-cleartext": Refusal("what a connection speaks is no switch here: leave it out"),
    "http2-max-frame-size": Refusal("frames have the least size that the standard lets them have: leave it out"),
    "forwarder-headers": Refusal("what a proxy has taken off the front of the path is {}", "root-path"),
    "header-map": Refusal(
        "names of fields become no variables here, and none can be mistaken for another: leave it out"
    ),
    "strip-header-spaces": Refusal(_STRICT),
    "permit-obsolete-folding": Refusal(_STRICT),
    "permit-unconventional-http-method": Refusal(_STRICT),
    "permit-unconventional-http-version": Refusal(_STRICT),
    "casefold-http-method": Refusal(_STRICT),
    "dirty-app": Refusal(_DIRTY),
    "dirty-workers": Refusal(_DIRTY),
    "dirty-threads": Refusal(_DIRTY),
    "dirty-timeout": Refusal(_DIRTY),
    "dirty-graceful-timeout": Refusal(_DIRTY),
    "control-socket": Refusal(_CONTROL),
    "control-socket-mode": Refusal(_CONTROL),
    "no-control-socket": Refusal(_CONTROL),
}

HARMLESS: Final = {
    "worker-class": ("trio",),
    "loop": ("auto", "trio"),
    "asgi-loop": ("auto",),
    "http": ("auto",),
    "http-parser": ("auto",),
    "ws": ("auto",),
    "error-log": ("-",),
    "error-logfile": ("-",),
    "log-file": ("-",),
}
"""Words with which they ask for what is done anyway: those are taken, and say nothing."""

SHORT: Final = {
    "-D": "daemon",
    "-R": "enable-stdio-inheritance",
    "-e": "env",
    "-g": "group",
    "-k": "worker-class",
    "-m": "umask",
    "-n": "proc-name",
    "-p": "pid",
    "-t": "timeout",
    "-u": "user",
}

KEYS: Final = {
    "accesslog": "access-logfile",
    "errorlog": "error-logfile",
    "keepalive": "keep-alive",
    "limit-request-field-size": "limit-request-field_size",
    "logconfig": "log-config",
    "loglevel": "log-level",
    "pidfile": "pid",
    "preload-app": "preload",
    "proxy-allow-ips": "proxy-allow-from",
    "raw-env": "env",
    "reload-extra-files": "reload-extra-file",
    "wsgi-app": "app",
}
"""What gunicorn calls a setting in a file, where that is not its flag."""


OURS: Final = {flag.removeprefix("--"): option.name for option in OPTIONS for flag in (option.flag, *option.aliases)}
OURS["app"] = "app"


def instead(name: str, spell: Callable[[Option], str]) -> str:
    """What to say of a name that is none of ours; ``""`` when nobody else has it either.

    Args:
        name: without dashes before it.
        spell: how a setting is written where the name was found.
    """
    name = KEYS.get(name, name)
    if ours := OURS.get(name) or (ALIASES[name].name if name in ALIASES else ""):
        return f"it is called {spell(BY_NAME[ours])} here"
    if (refusal := REFUSED.get(name)) is not None:
        return refusal.sentence.format(spell(BY_NAME[refusal.name]) if refusal.name else "")
    return ""
