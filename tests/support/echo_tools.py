"""An application that echoes what reached it, for vectors, and what its answers say."""

from __future__ import annotations

import json

from socket_tools import Answer, read_answer
from vector_tools import Request

import roadrunner_trio


async def echo(request: roadrunner_trio.Request) -> roadrunner_trio.Response:
    """Says everything it knows of a request; to HEAD in a field."""
    seen = json.dumps(
        {
            "method": request.method,
            "targets": [request.target.decode(), request.head.path.decode()],
            "fields": [[name.decode(), value.decode("latin-1")] for name, value in request.fields],
            "body": (await request.read()).decode("latin-1"),
            "trailers": [[name.decode(), value.decode("latin-1")] for name, value in request.trailers],
        }
    )
    if request.method == "HEAD":
        return roadrunner_trio.Response(fields={"echo": seen})
    return roadrunner_trio.Response(seen)


def request_of(seen: dict) -> Request:
    """The request that an answer tells of."""
    return Request(
        seen["method"],
        frozenset(seen["targets"]),
        tuple(map(tuple, seen["fields"])),
        seen["body"].encode("latin-1"),
        tuple(map(tuple, seen["trailers"])),
    )


def answers_head(data: bytes | bytearray) -> bool:
    """Whether the next answer in ``data`` is one to HEAD."""
    return b"\r\necho: " in data.partition(b"\r\n\r\n")[0]


def answers_in(heard: bytes) -> list[Answer]:
    """Every response a peer heard before the connection ended."""
    answers = []
    while found := read_answer(heard, head=answers_head(heard), ended=True):
        answer, length = found
        answers.append(answer)
        heard = heard[length:]
    assert not heard, heard
    return answers


def seen_by(answer: Answer) -> Request:
    """The request that a 200 tells of."""
    return request_of(json.loads(answer.header("echo") or answer.body))
