"""Reads protocol vectors (see vectors/README.md), plays octets to an engine, and grades what comes out."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import RequestHead
from roadrunner_trio.protocol.http1.engine import CLOSED, END, NEED_DATA, Http1Engine, Signal

HERE = Path(__file__).parents[1]
OWN = ("http1-request-line", "http1-fields", "http1-framing", "http1-connection")
CONVERTED = "http1-converted"

FREE = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that are not compared: of one hop, or about the framing."""

OCTETWISE = 100_000
"""Longer input is cut into larger pieces, so that a run stays short."""


@dataclass(frozen=True)
class Request:
    """A request that reached the application."""

    method: str
    targets: frozenset[str]
    """Spellings of the target: as sent, and the path it names."""
    fields: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a server did with a vector."""

    requests: tuple[Request, ...]
    status: int | None
    """Of an answer after those to ``requests``."""
    end: str
    """``"open"``, ``"close"`` or ``"wait"``."""
    interim: tuple[int, ...] = ()


@dataclass(frozen=True)
class Vector:
    id: str
    category: str
    source: str
    data: bytes
    eof: bool
    expect: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return self.id


def load(name: str, directory: Path = HERE / "vectors") -> list[Vector]:
    """The vectors of one file, in order."""
    with (directory / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [_vector(json.loads(line)) for line in lines]


def load_converted() -> list[Vector]:
    """The vectors that are not part of the project; none when they are not at hand."""
    beside = HERE.parents[1] / "shared" / "vectors"
    directory = Path(os.environ.get("ROADRUNNER_VECTORS", beside))
    return load(CONVERTED, directory) if (directory / f"{CONVERTED}.jsonl").exists() else []


def _vector(row: dict[str, Any]) -> Vector:
    return Vector(
        id=row["id"],
        category=row["category"],
        source=row["source"],
        data=octets(row["bytes"]),
        eof=row.get("eof", False),
        expect=tuple(row["expect"]),
    )


def octets(text: str | list[str | dict[str, Any]]) -> bytes:
    """The octets that a ``bytes`` or ``body`` member stands for."""
    parts = [text] if isinstance(text, str) else text
    return b"".join(
        part.encode("latin-1") if isinstance(part, str) else octets(part["repeat"]) * part["n"] for part in parts
    )


def cuts(vector: Vector) -> Iterator[tuple[str, list[bytes]]]:
    """The input whole, octet by octet, and cut at places that only depend on the vector's name."""
    data = vector.data
    yield "whole", [data] if data else []
    size = 1 if len(data) <= OCTETWISE else 997
    yield "octets", [data[i : i + size] for i in range(0, len(data), size)]
    chance = random.Random(vector.id)
    places = sorted(chance.randrange(len(data)) for _ in range(chance.randint(1, 12))) if data else []
    yield "random", pieces(data, places)


def pieces(data: bytes, places: Iterable[int]) -> list[bytes]:
    """``data`` cut at ``places``, without empty pieces."""
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[a:b] for a, b in pairwise(edges)]


def grade(vector: Vector, outcome: Outcome) -> str | None:
    """``"strict"``, ``"lenient"``, or None for a failure; the best that fits."""
    fitting = {alternative["grade"] for alternative in vector.expect if _fits(alternative, outcome)}
    return max(fitting, default=None)


def _fits(alternative: dict[str, Any], outcome: Outcome) -> bool:
    return (
        len(alternative["requests"]) == len(outcome.requests)
        and all(map(_same, alternative["requests"], outcome.requests))
        and (outcome.status in alternative["error"] if alternative["error"] else outcome.status is None)
        and _same_end(alternative["end"], outcome.end)
        and _same_interim(alternative.get("interim"), outcome.interim)
    )


def _same_end(expected: str, end: str) -> bool:
    # To wait in silence is all that can be seen of a connection that is good for a further request.
    return expected in (end, "any") or (expected, end) == ("wait", "open")


def _same_interim(expected: list[int] | None, interim: tuple[int, ...]) -> bool:
    # An empty list says that none may come; none at all, that it does not matter.
    return expected is None or (all(status in interim for status in expected) and bool(expected) >= bool(interim))


def _same(expected: dict[str, Any], request: Request) -> bool:
    target = expected["target"]
    return (
        expected["method"] == request.method
        and not request.targets.isdisjoint([target] if isinstance(target, str) else target)
        and (expected["headers"] is None or _joined(expected["headers"]) == _joined(request.fields))
        and octets(expected["body"]) == request.body
        and _joined(expected.get("trailers", ())) == _joined(request.trailers)
    )


def _joined(fields: Iterable[Iterable[str]]) -> dict[str, str]:
    joined: dict[str, list[str]] = {}
    for name, value in fields:
        if name.lower() not in FREE:
            joined.setdefault(name.lower(), []).append(value)
    return {name: ("; " if name == "cookie" else ", ").join(values) for name, values in joined.items()}


# An engine is played as a server would use it; an application that answers everything stands behind it.

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"
MAX_BODY = 10 * 1024 * 1024


def play(engine: Http1Engine, parts: Iterable[bytes], *, eof: bool = False) -> Outcome:
    """Feeds ``parts`` to an engine and tells what a server on it would have done."""
    player = _Player(engine)
    for part in parts:
        player.receive(part)
    if eof:
        player.receive(b"")
    if player.end == "wait" and player.head is None and not engine.buffered and player.reads_probe():
        player.end = "open"
    return Outcome(tuple(player.requests), player.status, player.end, tuple(player.interim))


class _Player:
    def __init__(self, engine: Http1Engine) -> None:
        self.engine = engine
        self.requests: list[Request] = []
        self.status: int | None = None
        self.end = "wait"
        self.interim: list[int] = []
        self.head: RequestHead | None = None
        self.body = b""

    def receive(self, part: bytes) -> None:
        self.engine.receive(part)
        try:
            while self.end == "wait" and self.step():
                pass
        except ProtocolError as error:
            self.status, self.end = error.status, "close"

    def reads_probe(self) -> bool:
        before = len(self.requests)
        self.receive(PROBE)
        probes = self.requests[before:]
        del self.requests[before:]
        return [probe.targets for probe in probes] == [{"/probe"}]

    def step(self) -> bool:
        """Does what can be done at once; whether there may be more."""
        if self.head is None:
            head = self.engine.next_head()
            if isinstance(head, Signal):
                return self.stop(head)
            self.head, self.body = head, b""
            self.engine.limit_body(MAX_BODY)
            if head.expects_continue and not self.engine.buffered:
                self.interim.append(100)
        piece = self.engine.next_body()
        if isinstance(piece, bytes):
            self.body += piece
            return True
        return self.finish(self.head) if piece is END else self.stop(piece)

    def stop(self, signal: Signal) -> bool:
        if signal is CLOSED:
            self.end = "close"
        else:
            assert signal is NEED_DATA
        return False

    def finish(self, head: RequestHead) -> bool:
        if head.method == b"CONNECT":  # an application without tunnels refuses it
            self.status, self.end = 501, "close"
            return False
        self.requests.append(
            Request(
                method=head.method.decode(),
                targets=frozenset({head.target.decode(), head.path.decode()}),
                fields=_text(head.fields),
                body=self.body,
                trailers=_text(self.engine.trailers()),
            )
        )
        if not head.keep_alive:
            self.end = "close"
            return False
        self.head = None
        self.engine.next_cycle()
        return True


def _text(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), value.decode("latin-1")) for name, value in fields)
