"""Inputs that make servers take too much: memory, processor time, or a place for ever. By the name of the advisory."""

from __future__ import annotations

import ast
import functools
import gzip
import importlib
import pkgutil
import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from framing_attacks import CHUNKED, chunked
from siege_tools import besiege, cut_three_ways
from story_tools import GET, answer, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.protocol.codec.cookies import parse_cookies
from roadrunner_trio.protocol.codec.forwarded import parse_forwarded, parse_x_forwarded_for
from roadrunner_trio.protocol.codec.uri import parse_query
from roadrunner_trio.protocol.heads import RequestHead
from roadrunner_trio.protocol.http1.engine import END, Signal
from roadrunner_trio.protocol.http1.scan import ScanEngine
from roadrunner_trio.transport.files import SLICE
from roadrunner_trio.transport.wire import SocketWire

MEBI = 1024 * 1024
MANY_TRAILERS = b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n"
LONG_TRAILER = b"0\r\na: " + b"b" * MEBI + b"\r\n\r\n"

TOO_MUCH = [
    ("CVE-2026-22815 trailers without number", chunked(MANY_TRAILERS), 431),
    ("CVE-2026-22815 a trailer without end", chunked(LONG_TRAILER), 431),
    ("CVE-2026-39806 trailers that never end", chunked(b"0\r\n" + b"a: b\r\n" * 5000), 431),
    ("CVE-2026-39803 a chunk above the cap", chunked(b"a00001\r\nx"), 413),
    ("CVE-2026-39803 chunks above the cap together", chunked((b"100000\r\n" + b"x" * MEBI + b"\r\n") * 11), 413),
    ("CVE-2023-39326 an extension of a mebibyte", chunked(b"1;a=" + b"b" * MEBI + b"\r\nx"), 400),
    ("CVE-2023-39326 an extension for every octet", chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20), 400),
    ("h11-182 a head of 58 KB in one segment", b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 9700 + b"\r\n", 431),
    ("h11-182 a line of 58 KB in one segment", b"GET /" + b"a" * 58000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    ("pain-17 a length above the cap", post(b"Content-Length: 10485761"), 413),
]


@pytest.mark.parametrize(("name", "data", "status"), TOO_MUCH, ids=[row[0] for row in TOO_MUCH])
async def test_too_much_is_refused_while_it_is_read(name, data, status, tolls, autojump_clock):
    fates, toll = await besiege(cut_three_ways(data, name))
    assert [fate.statuses for fate in fates] == [(status,)] * 3
    assert max(fate.seconds for fate in fates) < 3
    tolls.take("exhaustion, by advisory", toll)


def read_all(data: bytes, limits: rr.Limits = rr.Limits()) -> int:  # noqa: B008 - frozen
    """Has the engine read one message, as it comes, and keeps its body; the octets of that."""
    engine, in_body, pieces = ScanEngine(limits), False, []
    for at in range(0, len(data), 65536):
        engine.receive(data[at : at + 65536])
        while True:
            got = engine.next_body() if in_body else engine.next_head()
            if isinstance(got, RequestHead):
                in_body = True
            elif isinstance(got, bytes):
                pieces.append(got)
            else:
                break
        if got is END:
            break
    assert isinstance(got, Signal)
    return sum(map(len, pieces))


def test_cve_2025_69229_many_tiny_chunks_take_little_time_and_no_more_memory_than_the_body():
    data = post(CHUNKED, body=b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n")
    tracemalloc.start()
    began = time.process_time()
    try:
        assert read_all(data) == 200_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 10
    assert peak < 3 * MEBI, "an object for each of them would be eight mebibytes"


async def test_cve_2025_69229_and_a_buffered_body_of_them_is_whole(tolls, autojump_clock):
    async def measure(request: rr.Request) -> rr.Response:
        return rr.Response(str(len(await request.read())))

    fates, toll = await besiege([[chunked(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")]], handler=measure)
    assert fates[0].heard.endswith(b"\r\n\r\n50000")
    tolls.take("exhaustion, by advisory", toll)


WIDE = rr.Limits(max_request_line=MEBI, max_field_line=MEBI, max_field_section=2 * MEBI, max_fields=MEBI)
"""As if nobody had set a limit: what is read takes time in proportion to its length all the same."""


def line_of(octets: bytes) -> Callable[[int], object]:
    def read(size: int) -> object:
        try:
            return read_all(
                b"GET / HTTP/1.1\r\nHost: h\r\nX: " + octets * (size // len(octets)) + b"\x01\r\n\r\n", WIDE
            )
        except rr.ProtocolError as error:
            return error

    return read


READERS: dict[str, Callable[[int], object]] = {
    "CVE-2020-5236 a control octet behind a long value": line_of(b"a"),
    "CVE-2020-5236 blanks": line_of(b" \t"),
    "CVE-2020-5236 commas": line_of(b","),
    "CVE-2024-52804 backslashes in a cookie": lambda size: parse_cookies('a="' + "\\" * size),
    "CVE-2024-52804 quotes in a cookie": lambda size: parse_cookies('a="\\"' * (size // 5)),
    "CVE-2024-52804 semicolons": lambda size: parse_cookies(";" * size),
    "CVE-2021-32640 quotes in Forwarded": lambda size: forwarded('for="' + '\\"' * (size // 2)),
    "CVE-2021-32640 commas in Forwarded": lambda size: forwarded("," * size),
    "CVE-2021-32640 blanks in Forwarded": lambda size: forwarded("for=a;" + " " * size + "!"),
    "CVE-2021-32640 X-Forwarded-For": lambda size: parse_x_forwarded_for([" ," * (size // 2)]),
    "CVE-2025-69225 a query of ampersands": lambda size: parse_query("&" * size),
    "CVE-2025-69225 a query of per cents": lambda size: parse_query("%" * size),
}


def forwarded(value: str) -> object:
    try:
        return parse_forwarded(value)
    except ValueError as error:
        return error


@pytest.mark.parametrize("name", READERS)
def test_the_time_of_a_reader_is_linear(name):
    """A quarter of a mebibyte takes minutes where the time is quadratic, and moments where it is linear."""
    began = time.process_time()
    READERS[name](MEBI // 4)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_a_body_that_many_do_not_read_is_there_once(kind, autojump_clock):
    body = bytes(4 * MEBI)

    async def big(request: rr.Request) -> rr.Response:
        return rr.Response(body)

    async with open_house(big) as house:
        tracemalloc.start()
        try:
            for _ in range(20):
                if kind == "memory":
                    peer, _ = house.slow_peer(1000)
                    await peer.say(GET)
                else:
                    ours, theirs = socket.socketpair()
                    house.door.put.send_nowait(SocketWire(theirs))
                    ours.sendall(GET)
                    house.nursery.start_soon(_hold, ours)
                    await wait_all_tasks_blocked()
            assert house.phases() == ["writing to a slow peer"] * 20
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken < 2 * MEBI, "a copy for each would be eighty mebibytes"


async def test_a_large_body_is_given_to_the_kernel_in_turns(autojump_clock, monkeypatch):
    """Its buffers may take megabytes in one call, which is a millisecond in which nobody else is served."""
    given: list[int] = []
    send_now = SocketWire.send_now

    def noted(wire: SocketWire, data: bytes | memoryview) -> int:
        given.append(len(data))
        return send_now(wire, data)

    monkeypatch.setattr(SocketWire, "send_now", noted)
    body = bytes(3 * SLICE + 1)

    async def big(request: rr.Request) -> rr.Response:
        return rr.Response(body)

    async with open_house(big, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        heard = await peer.until(bytes(100_000))
        while len(heard) < len(body):
            heard += await peer.until(bytes(1))
        assert heard.partition(b"\r\n\r\n")[2] == body
    assert max(given) <= SLICE


async def _hold(sock: socket.socket) -> None:
    with sock:
        await trio.sleep_forever()


async def test_cve_2025_69223_a_compressed_body_is_not_inflated(autojump_clock):
    bomb = gzip.compress(bytes(MEBI))

    async def measure(request: rr.Request) -> rr.Response:
        return rr.Response(str(len(await request.read())))

    async with open_house(measure) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Encoding: gzip", b"Content-Length: %d" % len(bomb), body=bomb))
        assert peer.take() == answer(b"%d" % len(bomb))


@pytest.mark.parametrize("ranges", [b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(900)), "bytes=٠-٩".encode()])
async def test_cve_2025_62727_and_69225_a_range_is_not_looked_at(ranges, tmp_path, autojump_clock):
    """A server may ignore Range (RFC 9110 section 14.2); the whole file comes."""
    path = tmp_path / "file"
    path.write_bytes(b"whole")

    async def file(request: rr.Request) -> rr.FileResponse:
        return rr.FileResponse(path)

    async with open_house(file) as house:
        peer = house.peer()
        await peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nRange: " + ranges + b"\r\n\r\n")
        heard = await peer.until(b"whole")
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n")


def modules() -> list[Any]:
    """Every module of the package."""
    names = [each.name for each in pkgutil.walk_packages(rr.__path__, "roadrunner_trio.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def test_cve_2024_52303_no_cache_grows_with_what_peers_send():
    found = 0
    for module in modules():
        for name, thing in vars(module).items():
            if isinstance(thing, functools._lru_cache_wrapper):
                found += 1
                parameters = thing.__wrapped__.__code__.co_argcount
                assert thing.cache_parameters()["maxsize"] is not None or not parameters, (module.__name__, name)
    assert found, "where there are no caches, this test looks in the wrong place"


async def test_cve_2024_52303_unheard_of_methods_and_targets_leave_nothing(autojump_clock):
    async with open_house(limits=rr.Limits(max_requests=10**6)) as house:
        peer = house.peer()

        async def ask(first: int, last: int) -> None:
            for number in range(first, last):
                await peer.say(b"M%d /p%d HTTP/1.1\r\nHost: h%d\r\nX-%d: y\r\n\r\n" % ((number,) * 4))
                peer.heard, peer._taken = b"", 0
                house.watch.events.clear()
                peer.times.clear()

        await ask(0, 300)  # every bounded cache is full
        tracemalloc.start()
        try:
            await ask(300, 600)
            middle, _ = tracemalloc.get_traced_memory()
            await ask(600, 1600)
            last, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert last - middle < 100_000, "a thousand requests that were never seen before leave nothing behind"
        await peer.close()
        house.watch.events.clear()


def test_cve_2025_69227_no_check_is_an_assertion():
    """``python -O`` drops every ``assert``; a check of input that is one would be gone."""
    package = Path(rr.__file__).parent
    for path in package.rglob("*.py"):
        found = [node.lineno for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Assert)]
        assert not found, (path, found)


PHASES = [GET, post(b"Content-Length: 5", body=b"hello"), chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"), GET * 3]


@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
async def test_cve_2022_31015_and_2024_49769_a_peer_may_vanish_at_every_octet(kind, autojump_clock, caplog):
    """It closes, or resets, behind each octet of a conversation: nobody notices, and nothing stays."""
    async with open_house(tcp=True) as house:
        for data in PHASES:
            for at in range(0, len(data), 1 if kind == "memory" else 7):
                peer = house.meet(kind)
                await peer.say(data[:at])
                if kind != "memory" and at % 2:
                    peer.stream.reset()
                await peer.close()
        await house.empty()
        neighbour = house.peer()
        await neighbour.say(GET)
        assert neighbour.take() == answer(b"hi")
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
