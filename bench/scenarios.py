"""What is measured: the requests, how they come, and which answer is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from .apps import content
from .client import Answer, ask, ask_at_once
from .echoes import connect, echo
from .servers import Running, Setup

Kind: TypeAlias = Literal["closed", "rate", "idle", "echo"]

FILE_SIZE: Final = 1_000_000
UPLOAD_SIZE: Final = 10_000_000
ECHO_SIZE: Final = 4096
DEPTH: Final = 16
IDLE: Final = 5000
IDLE_WEBSOCKETS: Final = 2000
IDLE_ENCRYPTED: Final = 500
SHARE: Final = 0.6
"""The offered rate of ``latency``, as a share of saturation."""

Pairs: TypeAlias = tuple[tuple[str, str], ...]

BROWSER: Final[Pairs] = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "http://127.0.0.1/catalogue/anvils?page=3"),
    ("Cookie", "session=4f1c9a7be2d0463f8a5b; theme=dark; consent=2024-11-06"),
    ("Sec-CH-UA", '"Chromium";v="131", "Not_A Brand";v="24"'),
    ("Sec-CH-UA-Mobile", "?0"),
    ("Sec-CH-UA-Platform", '"Linux"'),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
)
"""With Host, the 14 fields of a browser's request."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to measure.

    Attributes:
        name: on the command line.
        what: one line for people.
        path: what is asked for.
        body: what the answer must hold.
        expect: fields the answer must have; a value of None forbids one.
        fields: request fields, Host apart.
        post: octets of the request body, a multiple of 16; 0 is a GET.
        depth: requests at once on a connection.
        connections: at once.
        kind: by wrk, as fast as it goes; at a fixed rate; connections that do nothing; or messages over WebSockets.
        message: octets of a message.
        setup: what servers are to do otherwise than by default.
        needs: a feature of this server without which there is nothing to measure.
    """

    name: str
    what: str
    path: str
    body: bytes
    expect: dict[str, str | None]
    fields: Pairs = ()
    post: int = 0
    depth: int = 1
    connections: int = 50
    kind: Kind = "closed"
    message: int = 0
    setup: Setup = field(default_factory=Setup)
    needs: str = ""

    @property
    def protocol(self) -> str:
        """``http``, ``ws``, or ``asgi`` for applications of frameworks."""
        return "ws" if self.setup.websocket else "asgi" if self.setup.frameworks else "http"

    @property
    def script(self) -> Sequence[str]:
        """The script of wrk, with its arguments; empty when it needs none."""
        if self.post:
            return ("post", str(self.post))
        return ("pipeline", str(self.depth)) if self.depth > 1 else ()

    def url(self, port: int) -> str:
        """Where it is asked for."""
        return f"{'https' if self.setup.tls else 'http'}://127.0.0.1:{port}{self.path}"


def request_body(octets: int) -> bytes:
    """The body that ``wrk/post.lua`` sends."""
    return b"0123456789abcdef" * (octets // 16)


_text: Final[dict[str, str | None]] = {"content-type": content.TEXT.decode(), "transfer-encoding": None}
_octets: Final[dict[str, str | None]] = {"content-type": content.OCTETS.decode()}
_hello: Final[dict[str, str | None]] = {**_text, "content-length": str(len(content.HELLO))}
_json: Final = json.dumps(content.OBJECT, ensure_ascii=False, separators=(",", ":")).encode()

HELLO: Final = Scenario("hello", "13 bytes of text", "/hello", content.HELLO, _hello)

WS64: Final = Scenario(
    "ws64",
    "WebSocket messages of 64 octets, echoed",
    "/ws",
    b"",
    {},
    kind="echo",
    connections=20,
    message=64,
    setup=Setup(websocket=True),
    needs="websocket",
)

FRAMEWORK: Final = Scenario(
    "starlette",
    "Starlette: 13 bytes of text",
    "/starlette/text",
    content.HELLO,
    _hello,
    setup=Setup(frameworks=True),
)
FRAMEWORKS: Final = (
    FRAMEWORK,
    replace(
        FRAMEWORK,
        name="starlette-json",
        what="Starlette: an object of 1 kB, encoded for each request",
        path="/starlette/json",
        body=_json,
        expect={"content-type": "application/json", "content-length": str(len(_json))},
    ),
    replace(
        FRAMEWORK,
        name="fastapi-json",
        what="FastAPI: the same object",
        path="/fastapi/json",
        body=_json,
        expect={"content-type": "application/json", "content-length": str(len(_json))},
    ),
    replace(
        FRAMEWORK,
        name="starlette-post",
        what="Starlette: POST of 1 kB, read",
        path="/starlette/post",
        body=b"1024",
        expect=_text,
        post=1024,
    ),
    replace(
        FRAMEWORK,
        name="starlette-stream",
        what="Starlette: StreamingResponse, 10 pieces of 1 kB",
        path="/starlette/stream",
        body=content.CHUNK * 10,
        expect=_octets,
    ),
    replace(
        FRAMEWORK,
        name="starlette-file",
        what="Starlette: FileResponse, 256 KiB",
        path="/starlette/file",
        body=content.LARGE * 4,
        expect=_octets,
    ),
    replace(FRAMEWORK, name="starlette-sync", what="Starlette: a plain function, in a thread", path="/starlette/sync"),
    replace(FRAMEWORK, name="starlette-middleware", what="Starlette: one BaseHTTPMiddleware", path="/middleware"),
)

SCENARIOS: Final = (
    HELLO,
    replace(HELLO, name="hello-1", what="hello, on one connection", connections=1),
    replace(HELLO, name="hello-4", what="hello, on four connections", connections=4),
    Scenario(
        "json",
        "an object of 1 kB, encoded for each request",
        "/json",
        _json,
        {"content-type": "application/json", "content-length": str(len(_json))},
    ),
    Scenario(
        "headers",
        "14 request fields, one of them looked up, and 10 response fields",
        "/headers",
        dict(BROWSER)["Accept-Language"].encode(),
        {name.decode(): value.decode() for name, value in content.FIELDS},
        fields=BROWSER,
    ),
    Scenario("echo", "POST of 4 kB, sent back", "/echo", request_body(ECHO_SIZE), _octets, post=ECHO_SIZE),
    Scenario("large", "64 kB", "/large", content.LARGE, {**_octets, "content-length": str(len(content.LARGE))}),
    replace(HELLO, name="pipelined", what="hello, 16 requests at once on each connection", depth=DEPTH),
    Scenario(
        "upload",
        "POST of 10 MB, read piece by piece",
        "/upload",
        str(UPLOAD_SIZE).encode(),
        _text,
        post=UPLOAD_SIZE,
        connections=4,
        setup=Setup(streaming=True),
    ),
    Scenario(
        "stream",
        "20 chunks of 1 kB",
        "/stream",
        content.CHUNK * content.CHUNKS,
        {**_octets, "content-length": None, "transfer-encoding": "chunked"},
    ),
    Scenario(
        "file",
        "1 MB from a file",
        "/file",
        request_body(FILE_SIZE),
        {**_octets, "content-length": str(FILE_SIZE)},
        connections=16,
    ),
    Scenario(
        "router",
        "one of 200 routes, with two parameters",
        f"/area-{content.ROUTES // 2}/4711/parts/beak",
        b"4711 beak",
        _text,
        setup=Setup(router=True),
        needs="router",
    ),
    replace(
        HELLO,
        name="storm",
        what="hello, a connection for each request",
        fields=(("Connection", "close"),),
        expect={**_hello, "connection": "close"},
    ),
    replace(HELLO, name="tls", what="hello, over TLS", needs="tls"),
    replace(HELLO, name="log", what="hello, with an access log", setup=Setup(access_log=True)),
    replace(
        HELLO,
        name="idle",
        what=f"{IDLE} keep-alive connections that do nothing",
        kind="idle",
        connections=IDLE,
        setup=Setup(crowd=IDLE + 200),
    ),
    Scenario(
        "tlsidle",
        f"{IDLE_ENCRYPTED} keep-alive connections of TLS that have had 64 kB and do nothing",
        "/large",
        content.LARGE,
        {**_octets, "content-length": str(len(content.LARGE))},
        kind="idle",
        connections=IDLE_ENCRYPTED,
        setup=Setup(crowd=IDLE_ENCRYPTED + 200),
        needs="tls",
    ),
    *FRAMEWORKS,
    replace(HELLO, name="latency", what="hello, at a fixed rate of 60 % of saturation", kind="rate"),
    WS64,
    replace(WS64, name="ws16k", what="WebSocket messages of 16 kB, echoed", message=16384),
    replace(
        WS64,
        name="wsidle",
        what=f"{IDLE_WEBSOCKETS} WebSockets that do nothing",
        kind="idle",
        connections=IDLE_WEBSOCKETS,
        setup=Setup(websocket=True, crowd=IDLE_WEBSOCKETS + 200),
    ),
)


def wrong(scenario: Scenario, running: Running) -> str:
    """What is wrong with the server's answer; empty when it is right.

    Raises:
        OSError, http.client.HTTPException, ClientError: there was no proper answer.
    """
    if scenario.setup.websocket:
        with connect(running.port, scenario.path) as sock:
            echo(sock, scenario.message)
        return ""
    method = "POST" if scenario.post else "GET"
    body = request_body(scenario.post)
    tls = scenario.setup.tls is not None
    answer = ask(running.port, method, scenario.path, scenario.fields, body, tls=tls)
    found = differences(scenario, answer)
    if not found and scenario.depth > 1:
        data = ask_at_once(running.port, scenario.path, scenario.depth)
        if (data.count(b"HTTP/1.1 200 "), data.count(scenario.body)) != (scenario.depth, scenario.depth):
            found = f"{scenario.depth} requests at once were not answered by as many responses"
    return found


def differences(scenario: Scenario, answer: Answer) -> str:
    """The first thing in which an answer is not what it must be; empty when there is none."""
    if answer.status != 200:
        return f"status {answer.status}"
    if answer.body != scenario.body:
        return f"a body of {len(answer.body)} octets that is not the one of {len(scenario.body)} it must be"
    for name, value in scenario.expect.items():
        if answer.fields.get(name) != value:
            return f"{name} is {answer.fields.get(name)!r}, not {value!r}"
    return ""
