"""Reads vectors for HTTP/2 (see vectors/README.md), plays them to an engine, and grades what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from http2_tools import Asked, Player, block, cut, data, request
from vector_tools import FREE, HERE, octets

from roadrunner_trio.protocol.http2 import frames

FILES = ("h2-requests", "h2-connection")
WINDOW = 1 << 20
PROBE = [(":method", "GET"), (":scheme", "http"), (":authority", "probe.example"), (":path", "/probe")]
OCTETWISE = 20_000
"""Longer input is not played octet by octet, but in pieces of a prime number."""


@dataclass(frozen=True)
class Vector:
    id: str
    category: str
    source: str
    data: bytes
    stream: int
    hold: bool
    probe: int
    expect: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return self.id


def load(name: str) -> list[Vector]:
    with (HERE / "vectors" / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [_vector(json.loads(line)) for line in lines]


def _vector(row: dict[str, Any]) -> Vector:
    return Vector(
        id=row["id"],
        category=row["category"],
        source=row["source"],
        data=_greeting(row) + (_frames(row["frames"]) if "frames" in row else _request(row)),
        stream=row.get("stream", 1),
        hold=row.get("hold", False),
        probe=row.get("probe_stream", 1001 if "frames" not in row else 100_001),
        expect=tuple(row["expect"]),
    )


def _greeting(row: dict[str, Any]) -> bytes:
    preface = octets(row["preface"]) if "preface" in row else frames.PREFACE
    pairs = row.get("settings", [[1, 0], [4, WINDOW]])
    update = b"" if row.get("no_window") or pairs is None else frames.window_update(0, WINDOW)
    return preface + (b"" if pairs is None else frames.settings(pairs)) + update


def _request(row: dict[str, Any]) -> bytes:
    body, trailers = row.get("body"), row.get("trailers")
    fields = [(name, octets(value)) for name, value in row["headers"]]
    out = request(1, fields, end=body is None and trailers is None)
    for at, piece in enumerate(body or []):
        out += data(1, octets(piece), end=at == len(body) - 1 and trailers is None)
    return out + (request(1, trailers) if trailers is not None else b"")


def _frames(rows: list[dict[str, Any]], add: int = 0) -> bytes:
    out = []
    for row in rows:
        number, step = row.get("stream", 0), row.get("stream_step", 0)
        for turn in range(row.get("repeat", 1)):
            if "group" in row:
                out.append(_frames(row["group"], turn * step))
            else:
                at = number + turn * step + (add if number else 0)
                payload = _payload(row)
                out.append(frames.HEADER.pack(len(payload) << 8 | row["type"], row.get("flags", 0), at))
                out.append(payload)
    return b"".join(out)


def _payload(row: dict[str, Any]) -> bytes:
    if "headers" in row:
        return block((name, octets(value)) for name, value in row["headers"])
    return bytes.fromhex(row["hex"]) if "hex" in row else octets(row.get("text", ""))


def ways(vector: Vector) -> Iterator[tuple[str, list[bytes]]]:
    """The input whole, octet by octet, and in pieces of a prime number."""
    yield "whole", [vector.data]
    yield "primes", cut(vector.data, 97)
    yield "octets", cut(vector.data, 1 if len(vector.data) <= OCTETWISE else 997)


def play(vector: Vector, parts: Iterable[bytes], *, streaming: bool = False) -> Player:
    player = Player(hold=vector.hold, streaming=streaming)
    for part in parts:
        if player.failed is None:
            player.receive(part)
    if vector.hold:
        player.hold = False
        player.receive(b"")
    return player


def grade(vector: Vector, player: Player) -> str | None:
    """``"strict"``, ``"lenient"``, or None for a failure; the best that fits. Uses the player up."""
    usable = _is_usable(vector, player)
    fitting = {each["grade"] for each in vector.expect if _fits(each, vector, player, usable)}
    return max(fitting, default=None)


def _is_usable(vector: Vector, player: Player) -> bool:
    if player.failed is not None or vector.hold:
        return player.failed is None
    player.receive(request(vector.probe, PROBE))
    return player.answer(vector.probe).status == 200 if vector.probe > vector.stream else True


def _fits(expected: dict[str, Any], vector: Vector, player: Player, usable: bool) -> bool:
    answer = player.answer(vector.stream)
    if "goaway" in expected:
        codes = expected["goaway"]
        return player.failed is not None and (not codes or player.failed.code in codes)
    if "stream_error" in expected:
        fits = answer.reset in expected["stream_error"] or answer.status in expected.get("status", [400])
        return fits and (usable or expected.get("usable") is False)
    if "reset" in expected:
        return usable and answer.reset in expected["reset"]
    if "echo" in expected:
        return usable and answer.status == 200 and _same(expected["echo"], player.asked[vector.stream])
    if "status" in expected:
        return answer.status == expected["status"]
    return (usable or expected["survives"] != "same") and _answers(expected.get("answers", {}), player)


def _answers(expected: dict[str, Any], player: Player) -> bool:
    reader = player.reader
    if "settings" in expected and reader.kinds[frames.SETTINGS] - 1 != expected["settings"]:
        return False
    wanted = expected.get("ping", "")
    return wanted == "" or [ping.hex() for ping in reader.pings] == ([wanted] if wanted else [])


def _same(expected: dict[str, Any], asked: Asked) -> bool:
    target = expected["target"]
    return (
        asked.head.method.decode() == expected["method"]
        and asked.head.target.decode() in ([target] if isinstance(target, str) else target)
        and asked.body == octets(expected["body"])
        and (expected["headers"] is None or _joined(expected["headers"]) == _joined(asked.head.fields))
        and ("trailers" not in expected or _joined(expected["trailers"]) == _joined(asked.trailers))
    )


def _joined(fields: Iterable[Iterable[str | bytes]]) -> dict[str, str]:
    joined: dict[str, list[str]] = {}
    for given, value in fields:
        name = given if isinstance(given, str) else given.decode()
        if name.lower() not in FREE and not name.startswith(":"):
            text = octets(value).decode("latin-1") if not isinstance(value, bytes) else value.decode("latin-1")
            joined.setdefault(name, []).append(text)
    return {name: ("; " if name == "cookie" else ", ").join(values) for name, values in joined.items()}
