"""Every setting of the command, once: its flag, its variable, its key in a file, its default and what it is for.

The flags, ``--help``, the variables, the keys of a TOML file, ``--print-config`` and the pages of the reference are
made from this table, so they cannot disagree. A new setting is a new row; one of :class:`~roadrunner_trio.Timeouts` or
:class:`~roadrunner_trio.Limits` is a row by being there.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from ..protocol.trust import FORWARDED, X_FORWARDED
from ..server.listener_settings import PROTOCOLS
from ..settings import OPTIONAL, Limits, Timeouts
from .kinds import COUNT, OPTIONAL_COUNT, OPTIONAL_SIZE, SIZE, SWITCH, TIME, one_of, text_as, texts_as
from .option import DOORS, ENDING, LIMITS, LOGGING, TIMEOUTS
from .option import GROUPS as GROUPS
from .option import SERVING as SERVING
from .option import VARIABLE as VARIABLE
from .option import Option as Option
from .process_options import RELOADING, WORKERS
from .session_options import WEBSOCKETS as WEBSOCKETS

GRACE: Final = 10.0
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
DEFAULT_FIELDS: Final = X_FORWARDED[:2]

RENAMED: Final = {"max-requests": "max-requests-per-connection"}
"""Fields that are called otherwise here, for the name is that of a setting of the whole server."""


def _from_fields(kind: type, group: str) -> tuple[Option, ...]:
    rows: list[Option] = []
    for each in dataclasses.fields(kind):
        seconds, octets = each.metadata["unit"] == "seconds", each.metadata["unit"] == "bytes"
        optional = each.name in OPTIONAL
        values = TIME if seconds else (OPTIONAL_SIZE if optional else SIZE) if octets else None
        least = each.metadata.get("least")
        name = each.name.replace("_", "-")
        rows.append(
            Option(
                name="timeout-" + name if seconds else RENAMED.get(name, name),
                kind=values or (OPTIONAL_COUNT if optional else COUNT),
                help=each.metadata["help"],
                default=math.inf if seconds and each.default is None else each.default,
                aliases=("--keep-alive",) if each.name == "keep_alive" else (),
                group=group,
                field=(kind, each.name),
                bounds="more than 0" if seconds else f"at least {least}",
            )
        )
    return tuple(rows)


OPTIONS: Final = (
    Option(
        name="bind",
        kind=texts_as("ADDRESS"),
        help="where to listen: 127.0.0.1:8000, [::1]:8000, :8000, unix:/run/app.sock?mode=660, unix:@name, fd://3; "
        "again for more",
        aliases=("-b",),
        group=SERVING,
    ),
    Option(name="host", kind=text_as("HOST"), help="the host alone", note="127.0.0.1", group=SERVING),
    Option(
        name="port",
        kind=COUNT,
        help="the port alone; 0 lets the system choose",
        note="8000",
        group=SERVING,
        bounds="0 to 65535",
        least=0,
        most=65535,
    ),
    Option(name="reuse-port", kind=SWITCH, help="share TCP ports with others that do", default=False, group=SERVING),
    Option(
        name="app-dir",
        kind=text_as("DIR"),
        help="where the module is",
        default=".",
        note="the current directory",
        group=SERVING,
        server=True,
    ),
    Option(
        name="factory",
        kind=SWITCH,
        help="the attribute makes the handler: a function or an async context, given a nursery if it takes one",
        default=False,
        group=SERVING,
        server=True,
    ),
    Option(
        name="listing",
        kind=SWITCH,
        help="of a folder that is served: a page of what is in it, where it has no index.html",
        default=False,
        group=SERVING,
        server=True,
    ),
    Option(
        name="fallback",
        kind=text_as("FILE"),
        help="of a folder that is served: the page for those that are not there",
        note="404",
        group=SERVING,
        server=True,
    ),
    Option(
        name="interface",
        kind=one_of("auto", "native", "asgi", also={"asgi2": "asgi", "asgi3": "asgi"}),
        help="what the application is; auto tells by its signature",
        default="auto",
        group=SERVING,
        server=True,
    ),
    Option(
        name="root-path",
        kind=text_as("PATH"),
        help="what a proxy has taken off the front of the path, for an ASGI application",
        default="",
        group=SERVING,
        server=True,
    ),
    Option(
        name="lifespan",
        kind=one_of("auto", "on", "off"),
        help="whether an ASGI application is started up and shut down; auto, if it knows of that",
        default="auto",
        group=SERVING,
        server=True,
    ),
    Option(
        name="lifespan-startup-timeout",
        kind=TIME,
        help="time for its start-up, or for an async factory; after that nothing is served",
        default=60.0,
        group=SERVING,
        server=True,
        bounds="more than 0",
        positive=True,
    ),
    Option(
        name="lifespan-shutdown-timeout",
        kind=TIME,
        help="time for its shut-down, or for what the factory has started; after that it is cancelled",
        default=10.0,
        group=ENDING,
        server=True,
        bounds="more than 0",
        positive=True,
    ),
    Option(
        name="body",
        kind=one_of("buffered", "streaming"),
        help="who reads a request body: the server, before the handler runs, or the handler",
        note="buffered; the demo streaming",
        group=SERVING,
    ),
    *WORKERS,
    *RELOADING,
    Option(name="name", kind=text_as("NAME"), help="of a listener, in logs and events", default="main", group=SERVING),
    Option(
        name="grace",
        kind=TIME,
        help="time to finish in, after the first signal",
        default=GRACE,
        aliases=("--graceful-timeout",),
        group=ENDING,
        server=True,
    ),
    Option(
        name="shutdown-delay",
        kind=TIME,
        help="time to go on serving between the first signal and the drain, --health-path saying 503",
        default=0.0,
        group=ENDING,
        server=True,
        endless=False,
    ),
    Option(
        name="health-path",
        kind=text_as("PATH"),
        help="answer GET on this path by 200, and by 503 once the end is near",
        group=ENDING,
    ),
    Option(
        name="live-path",
        kind=text_as("PATH"),
        help="answer GET on this path by 200 for as long as the process can, its end included",
        group=ENDING,
    ),
    Option(
        name="access-log", kind=SWITCH, help="a line a request, at level info", default=True, group=LOGGING, server=True
    ),
    Option(
        name="access-log-format",
        kind=text_as("FORMAT"),
        help="text, json, logfmt, or a template such as '{peer} {method} {path} {status}'",
        default="text",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="access-log-file",
        kind=text_as("FILE"),
        help="where to, instead of the other lines' place; - is standard output; opened anew on SIGHUP",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="log-format",
        kind=one_of("text", "json", "logfmt"),
        help="notation of every line that is logged",
        default="text",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="log-level",
        kind=one_of(*LEVELS),
        help="what to log, to standard error",
        default="info",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="log-config",
        kind=text_as("FILE"),
        help="set up logging by this file instead, as logging.config has it: .json, .toml, or its own format",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="log-context",
        kind=SWITCH,
        help="what a handler logs says which request it is about, with --log-format json or logfmt",
        default=False,
        group=LOGGING,
    ),
    Option(
        name="metrics",
        kind=text_as("ADDRESS"),
        help="tell Prometheus at /metrics of this address, such as 127.0.0.1:9090",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="observe",
        kind=text_as("ADDRESS"),
        help="a page with the live tree of tasks and connections on this loopback address or Unix socket, such as "
        "127.0.0.1:9001",
        group=LOGGING,
        server=True,
    ),
    Option(
        name="otel",
        kind=SWITCH,
        help="a span of OpenTelemetry for every request, by the process's tracer provider",
        default=False,
        group=LOGGING,
        server=True,
    ),
    Option(
        name="request-ids-from",
        kind=texts_as("NETWORK"),
        help="proxies whose x-request-id is the request's",
        group=LOGGING,
    ),
    Option(
        name="request-ids-echo",
        kind=SWITCH,
        help="responses carry the id of their request, as x-request-id",
        default=False,
        group=LOGGING,
    ),
    Option(
        name="protocols",
        kind=texts_as("NAMES"),
        help="versions of HTTP to speak: h2, http/1.1; the first is preferred",
        note=",".join(PROTOCOLS),
        group=DOORS,
    ),
    Option(
        name="tls-cert",
        kind=texts_as("FILE"),
        help="serve over TLS with this certificate, and intermediate ones after it (PEM); read anew when it changes; "
        "again for more, chosen by the name that a peer asks for",
        group=DOORS,
    ),
    Option(
        name="tls-key",
        kind=texts_as("FILE"),
        help="its private key; again for each, in the order of the certificates",
        note="in the same file",
        group=DOORS,
    ),
    Option(
        name="tls-password-file", kind=text_as("FILE"), help="the password of the private keys is in it", group=DOORS
    ),
    Option(
        name="tls-client-ca",
        kind=text_as("FILE"),
        help="who may vouch for clients, which then need a certificate (PEM)",
        group=DOORS,
    ),
    Option(
        name="tls-client-cert",
        kind=one_of("optional", "required"),
        help="whether they need it",
        note="required",
        group=DOORS,
    ),
    Option(
        name="proxy-protocol",
        kind=texts_as("NETWORK"),
        help="peers that begin with a PROXY header",
        group=DOORS,
        bare=True,
    ),
    Option(
        name="proxy-headers",
        kind=texts_as("NETWORK"),
        help="proxies whose --proxy-fields are believed",
        group=DOORS,
        bare=True,
    ),
    Option(
        name="proxy-fields",
        kind=texts_as("NAMES"),
        help=f"what each of them writes: {FORWARDED}, or some of {', '.join(X_FORWARDED)}",
        note=",".join(DEFAULT_FIELDS),
        group=DOORS,
    ),
    Option(
        name="rate-limit",
        kind=text_as("N[/TIME]"),
        help="requests of one peer, such as 20 a second or 300/60s, else 429",
        group=DOORS,
    ),
    Option(
        name="rate-burst",
        kind=COUNT,
        help="how many of them at once",
        note="N",
        group=DOORS,
        bounds="at least 1",
        least=1,
    ),
    Option(
        name="header",
        kind=texts_as("NAME:VALUE"),
        help="a field that every response has, unless the application has set it; again for more",
        group=DOORS,
    ),
    Option(
        name="server-header",
        kind=SWITCH,
        help="responses say what made them, server: roadrunner-trio",
        default=False,
        group=DOORS,
    ),
    Option(
        name="date-header",
        kind=SWITCH,
        help="responses say when they were made, which a server with a clock must (RFC 9110 section 6.6.1)",
        default=True,
        group=DOORS,
    ),
    Option(
        name="preserve-case",
        kind=SWITCH,
        help="say field names in the application's letters, for peers that read them in one way only",
        default=False,
        group=DOORS,
    ),
    *_from_fields(Timeouts, TIMEOUTS),
    *_from_fields(Limits, LIMITS),
    *WEBSOCKETS,
    Option(
        name="evict-idle",
        kind=SWITCH,
        help="at --max-connections, close the one that has kept the server waiting for longest, not the newcomer",
        default=False,
        group=LIMITS,
    ),
)
APP: Final = Option(
    name="app",
    kind=text_as("app:handler"),
    help="module and attribute, or a folder",
    note="the demo",
    group=SERVING,
    server=True,
)
"""The first argument of the command, which has no flag."""

BY_NAME: Final = {option.name: option for option in (APP, *OPTIONS)}
