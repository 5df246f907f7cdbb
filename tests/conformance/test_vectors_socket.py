"""Every HTTP/1 vector end to end: a real socket, the real server, an application that echoes what reached it.

As on the bare engine each is sent whole, octet by octet, and cut at random. A reset is a failure, whatever was sent;
and after each of them a new connection must be served. All of them run once, many at a time, in one event loop; the
tests then look at what was seen.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio
from echo_tools import answers_head, echo, request_of
from socket_tools import PATIENCE, Answer, Peer, no_connections, read_answer
from vector_tools import OWN, Outcome, Request, Vector, cuts, grade, load, load_converted

import roadrunner_trio

LENIENT: dict[str, str] = {}
"""Vectors that we meet leniently, each with its reason. There are none."""

AT_ONCE = 24
QUIET = 0.3
"""Seconds of silence that show that a server waits."""
SOON = 0.02
"""Seconds in which a close usually follows an answer; after that a further request finds out."""
OCTETWISE = 600
"""Only so much of a vector is sent octet by octet, then the rest."""

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"

VECTORS = [vector for name in OWN for vector in load(name)]


class Run:
    """One vector on one connection."""

    def __init__(self, vector: Vector, peer: Peer) -> None:
        self.vector = vector
        self.peer = peer
        self.answers: list[Answer] = []
        self.interim: list[int] = []
        self.enough = False
        strict = [a for a in vector.expect if a["grade"] == "strict"]
        self.least = min(filter(None, map(answers, strict)), default=1)
        self.most = max(1, *map(answers, vector.expect))
        self.silent = all(a["end"] == "wait" for a in strict)

    async def outcome(self, parts: list[bytes]) -> Outcome:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send, parts)
            if not self.silent:
                await self.peer.until(lambda: self.answered(self.least))
            # Whoever is told that the connection closes sends no more of what it has cut into pieces.
            self.enough = any(answer.header("connection") == "close" for answer in self.answers)
        await self.peer.until(lambda: self.answered(self.most), QUIET)
        end = await self.find_end()
        requests: list[Request] = []
        statuses: list[int] = []
        for answer in self.answers:
            seen = json.loads(answer.header("echo") or answer.body) if answer.status == 200 else None
            if seen and not statuses:
                requests.append(request_of(seen))
            else:
                statuses.append(answer.status)
        assert len(statuses) <= 1, f"answered after an error: {self.answers}"
        return Outcome(tuple(requests), statuses[0] if statuses else None, end, tuple(self.interim))

    async def send(self, parts: list[bytes]) -> None:
        for part in parts:
            if self.enough or self.peer.ended:
                break
            await self.peer.send(part)
            for _ in range(4):  # the poller wakes; the server reads this piece and may answer; the answer is read
                await trio.lowlevel.checkpoint()
        if self.vector.eof:
            self.peer.send_eof()

    def answered(self, count: int) -> bool:
        """Whether so many responses have come."""
        while found := read_answer(self.peer.received, head=answers_head(self.peer.received)):
            answer, length = found
            del self.peer.received[:length]
            self.answers.append(answer)
            self.interim += answer.interim
        return len(self.answers) >= count

    async def find_end(self) -> str:
        if self.silent and not self.peer.ended:
            self.interim += interim_of(bytes(self.peer.received))
            return "wait"
        if self.vector.eof or await self.peer.end(SOON):
            return "close" if await self.peer.end() and not self.peer.received else "junk"
        before = len(self.answers)
        await self.peer.send(PROBE)
        await self.peer.until(lambda: self.answered(before + 1))
        *more, probe = self.answers[before:] or [None]
        if probe is None or more or json.loads(probe.body or "{}").get("targets") != ["/probe", "/probe"]:
            return "close" if self.peer.ended and probe is None else "wait"
        del self.answers[before:]
        return "open"


def answers(alternative: dict) -> int:
    return len(alternative["requests"]) + bool(alternative["error"])


def interim_of(data: bytes) -> list[int]:
    """The statuses of interim responses that nothing followed."""
    heads = data.split(b"\r\n\r\n")
    assert not heads.pop(), data
    return [int(head.split(b" ")[1]) for head in heads]


def sent(how: str, parts: list[bytes], data: bytes) -> list[bytes]:
    if how != "octets":
        return parts
    single = [data[i : i + 1] for i in range(min(len(data), OCTETWISE))]
    return [*single, data[OCTETWISE:]] if len(data) > OCTETWISE else single


async def run(vector: Vector, how: str, parts: list[bytes], port: int) -> Outcome | str:
    seen: Outcome | str = ""
    try:
        with trio.fail_after(2 * PATIENCE), await Peer.connect(port) as peer:
            seen = await Run(vector, peer).outcome(sent(how, parts, vector.data))
    except* (OSError, ValueError, AssertionError, trio.TooSlowError) as group:
        seen = repr(group.exceptions)
    with trio.fail_after(PATIENCE), await Peer.connect(port) as peer:
        await peer.send(PROBE)
        assert (await peer.answer()).status == 200
    return seen


async def run_all(vectors: list[Vector]) -> dict[str, dict[str, Outcome | str]]:
    seen: dict[str, dict[str, Outcome | str]] = {vector.id: {} for vector in vectors}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(vector: Vector, how: str, parts: list[bytes], port: int) -> None:
        async with limit:
            seen[vector.id][how] = await run(vector, how, parts, port)

    async with trio.open_nursery() as nursery:
        limits = roadrunner_trio.Limits(min_bytes_per_second=0)  # octet by octet may be slow on a busy machine
        server = roadrunner_trio.Listener(echo, bind="127.0.0.1:0", limits=limits)
        listener = await nursery.start(server.serve)
        async with trio.open_nursery() as runs:
            for vector in vectors:
                for how, parts in cuts(vector):
                    runs.start_soon(one, vector, how, parts, listener.port)
        await no_connections(listener)
        nursery.cancel_scope.cancel()
    return seen


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, dict[str, Outcome | str]]:
    """What was seen of the vectors that are selected."""
    here = (item for item in request.session.items if item.path == request.path)
    params = (item.callspec.params for item in here if hasattr(item, "callspec"))
    # Where the converted vectors are not at hand, pytest marks their test with a parameter that is none.
    return trio.run(run_all, [each["vector"] for each in params if isinstance(each["vector"], Vector)])


def check(vector: Vector, seen: dict[str, Outcome | str], tally, suite: str) -> None:
    grades = {how: grade(vector, outcome) if isinstance(outcome, Outcome) else None for how, outcome in seen.items()}
    tally.add(suite, vector.category, min(grades.values(), key=[None, "lenient", "strict"].index))
    expected = "lenient" if vector.id in LENIENT else "strict"
    assert grades == dict.fromkeys(("whole", "octets", "random"), expected), seen
    # Whether 100 Continue is due depends on when the body comes; nothing else may depend on the cut.
    assert len({replace(outcome, interim=()) for outcome in seen.values()}) == 1, seen


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_own(vector, outcomes, tally):
    check(vector, outcomes[vector.id], tally, "socket")


@pytest.mark.parametrize("vector", load_converted(), ids=str)
def test_converted(vector, outcomes, tally):
    check(vector, outcomes[vector.id], tally, "socket, converted")


def test_every_lenient_verdict_is_about_a_vector():
    assert LENIENT.keys() <= {vector.id for vector in [*VECTORS, *load_converted()]}
