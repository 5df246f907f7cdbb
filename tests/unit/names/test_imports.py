"""What is imported with the package, and what only by those who use it."""

from __future__ import annotations

import subprocess
import sys

import pytest

ELSEWHERE = (
    "h11",
    "wsproto",
    "trio_websocket",
    "zipfile",
    "importlib.metadata",
    "asyncio",
    "multipart",
    "watchfiles",
    "email",
    "urllib.parse",
    "datetime",
    "calendar",
    "secrets",
)
"""Of others; each is needed by something that many never use."""
NEEDED = {"roadrunner_trio.protocol.codec", "roadrunner_trio.protocol.codec.forwarded"}
OURS = (
    "websocket",
    "protocol.ws",
    "protocol.http2",
    "protocol.codec",
    "messages.form",
    "messages.event_stream",
    "messages.broadcast",
    "answering.file_response",
    "transport.certificates",
    "transport.x509",
    "telemetry.metrics",
    "telemetry.tracing",
    "server.serve",
    "server.listener_info",
    "server.http2",
    "processes",
    "command",
    "demo",
    "apps",
    "testing",
    "watching",
)


def said_by(program: str) -> list[str]:
    """The words that a program prints, in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("program", "there", "absent"),
    [
        ("import roadrunner_trio", "messages.request", (*OURS, "server")),
        ("from roadrunner_trio import Listener", "server.listener", OURS),
    ],
)
def test_what_nobody_asked_for_is_not_imported(program: str, there: str, absent: tuple[str, ...]) -> None:
    found = said_by(f"import trio, sys\nbefore = {{*sys.modules}}\n{program}\nprint(*{{*sys.modules}} - before)")
    assert f"roadrunner_trio.{there}" in found
    for name in (*ELSEWHERE, *(f"roadrunner_trio.{room}" for room in absent)):
        assert not [each for each in found if (each + ".").startswith(name + ".") and each not in NEEDED]


def test_a_command_that_supervises_imports_nothing_of_what_workers_serve_with() -> None:
    # It lives as long as they do, and what it has imported it has beside all of them.
    program = "import sys\nfrom roadrunner_trio.command.cli import is_supervised, supervise\nprint(*sys.modules)"
    found = said_by(program)
    assert "roadrunner_trio.processes.supervisor" in found
    rooms = (
        "apps",
        "demo",
        "websocket",
        "protocol.ws",
        "protocol.http2",
        "server.http2",
        "watching",
        "telemetry.tracing",
    )
    for name in ("asyncio", "logging.config", "trio_websocket", *(f"roadrunner_trio.{room}" for room in rooms)):
        assert not [each for each in found if (each + ".").startswith(name + ".")]


SERVING = """
import sys, trio, trio_websocket
import roadrunner_trio as rr

async def handler(request):
    if request.path == "/file":
        return rr.FileResponse(sys.executable, length=1, filename="it")
    if request.path == "/form":
        said = (await request.form()).get("a"), request.media_type, request.accepts("text/html")
    else:
        said = request.query.get("a"), request.cookies.get("b")
    response = rr.Response.text(str(said))
    response.set_cookie("c", "d")
    return response

FORM = "POST /form HTTP/1.0\\r\\nContent-Type: application/x-www-form-urlencoded\\r\\nContent-Length: 3\\r\\n\\r\\na=1"

async def main():
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(rr.Listener(handler, bind="127.0.0.1:0").serve)
        await (await trio.open_tcp_stream("127.0.0.1", listener.port)).aclose()
        before = {*sys.modules}
        for head in ("GET /?a=1 HTTP/1.0\\r\\n\\r\\n", FORM, "GET /file HTTP/1.0\\r\\n\\r\\n"):
            stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
            await stream.send_all(head.encode())
            received = b"".join([piece async for piece in stream])
            if not received.startswith(b"HTTP/1.1 200 "):
                print(received)
        print(listener.info().requests, *(await listener.drain(1) and {*sys.modules} - before))

trio.run(main)
"""


def test_a_server_has_imported_what_it_needs_before_it_serves() -> None:
    # Out of descriptors it could not; and what lies on the disk may be of another version by then.
    assert said_by(SERVING) == ["3"]


NAMES = [
    "Certificates",
    "CloseReason",
    "Compression",
    "ConnectionClosed",
    "EventStream",
    "FormLimits",
    "Listener",
    "ListenerInfo",
    "Metrics",
    "WebSocket",
    "WebSocketRequest",
    "observe",
    "run",
    "serve",
    "websocket",
]


@pytest.mark.parametrize("first", ["", "import roadrunner_trio.apps.asgi\n", "import roadrunner_trio.websocket.core\n"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there_when_somebody_asks_and_no_room_takes_its_place(first: str, name: str) -> None:
    program = f"{first}from roadrunner_trio import {name}\nimport roadrunner_trio\n"
    program += f"print(callable({name}), {name} is roadrunner_trio.{name}, '{name}' in dir(roadrunner_trio))"
    assert said_by(program) == ["True", "True", "True"]


def test_all_names_are_there() -> None:
    program = "import roadrunner_trio as r\nprint(*(name for name in r.__all__ if not hasattr(r, name)))"
    assert said_by(program) == []


def test_a_name_that_is_none_is_none() -> None:
    program = "import roadrunner_trio as r\ntry: r.websockets\nexcept AttributeError as exc: print(exc)"
    assert " ".join(said_by(program)) == "module 'roadrunner_trio' has no attribute 'websockets'"
