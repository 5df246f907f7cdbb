"""Generated hostile input: two readers have to agree on it, and a server has to survive it."""

from __future__ import annotations

import os
import random

import pytest
from hostile_tools import CHUNKED_HEAD, HOSTILE, changed, conversations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading_tools import agree, engine_reads
from script_tools import run
from siege_tools import Fate, Toll, besiege
from strict_reader import Verdict, read
from vector_tools import pieces

import roadrunner_trio as rr
from roadrunner_trio.protocol.http1.h11_engine import H11Engine
from roadrunner_trio.protocol.http1.scan import ScanEngine

MANY = 25 if os.environ.get("ROADRUNNER_HARDENING") == "long" else 1
BATCH = 10
cuts = st.lists(st.integers(0, 200), max_size=6)


slow = settings(max_examples=400 * MANY, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("family", HOSTILE)
def test_two_readers_agree(family, tolls):
    toll = Toll()

    @slow
    @given(HOSTILE[family], cuts)
    def check(data: bytes, places: list[int]) -> None:
        theirs = read(data)
        for lane in (ScanEngine, H11Engine):
            for parts in ([data], pieces(data, places), [data[i : i + 1] for i in range(len(data))]):
                ours = engine_reads(lane(rr.Limits()), parts)
                assert agree(ours, theirs), (ours, theirs)
        toll.inputs += 1
        toll.refused += theirs.verdict in (Verdict.REFUSED, Verdict.UNDECIDED)

    check()
    tolls.take(f"two readers, {family}", toll)


@slow
@given(conversations, st.integers(0, 400))
def test_what_is_valid_is_never_refused_however_much_of_it_has_come(data, end):
    theirs = read(data)
    if theirs.verdict in (Verdict.OPEN, Verdict.CLOSED):
        ours = engine_reads(ScanEngine(rr.Limits()), [data[:end]])
        assert ours.verdict is not Verdict.REFUSED
        assert ours.requests == theirs.requests[: len(ours.requests)]


def parts_of(at: int, data: bytes) -> list[bytes]:
    """Cut in one of three ways, each in its turn."""
    if at % 3 == 0:
        return [data]
    chance = random.Random(data)
    return [data[i : i + 1] for i in range(len(data))] if at % 3 == 1 else pieces(data, chance.choices(range(200), k=4))


def check_fate(data: bytes, fate: Fate) -> None:
    """A peer hears an answer to each of its requests, then at most one refusal, then the end."""
    theirs = read(data)
    statuses = list(fate.statuses)
    assert statuses[: len(theirs.requests)] == [200] * len(theirs.requests)
    last = statuses[len(theirs.requests) :]
    assert len(last) <= 1
    assert set(last) <= {400, 408, 413, 414, 431, 501, 505}
    assert not last or theirs.verdict in (Verdict.REFUSED, Verdict.UNDECIDED)
    assert last or theirs.verdict is not Verdict.REFUSED


async def siege(batch: list[bytes], modes: dict, toll: Toll) -> None:
    batch = [data for data in batch if b"CONNECT" not in data]
    fates, this = await besiege([parts_of(at, data) for at, data in enumerate(batch)], **modes)
    for data, fate in zip(batch, fates, strict=True):
        check_fate(data, fate)
    toll += this


@pytest.mark.parametrize("family", HOSTILE)
def test_a_server_survives(family, tolls):
    toll = Toll()

    @settings(parent=slow, max_examples=40 * MANY)
    @given(st.lists(HOSTILE[family], min_size=BATCH, max_size=BATCH), st.sampled_from(["buffered", "streaming"]))
    def check(batch: list[bytes], mode: str) -> None:
        run(siege, batch, {"body": mode}, toll)

    check()
    tolls.take(f"server, {family}", toll)


def proxy_headers() -> st.SearchStrategy[bytes]:
    """PROXY headers of both versions, changed, and a request behind them."""
    line = st.sampled_from([b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY UNKNOWN\r\n", b"PROXY TCP6 ::1 ::2 1 2\r\n"])
    block = st.builds(
        lambda command, family, size, rest: b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family, 0, size]) + rest,
        st.sampled_from([0x20, 0x21, 0x22, 0x11]),
        st.sampled_from([0x00, 0x11, 0x21, 0x31, 0x12]),
        st.sampled_from([0, 12, 15, 36, 216, 255]),
        st.binary(max_size=40),
    )
    return changed(st.one_of(line, block)).map(lambda data: data + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")


async def proxy_siege(batch: list[bytes], toll: Toll) -> None:
    proxies = rr.ProxyProtocol(["127.0.0.0/8"])
    inputs = [parts_of(at, data) for at, data in enumerate(batch)]
    fates, this = await besiege(inputs, kinds=["tcp"], proxy_protocol=proxies)
    for fate in fates:
        assert set(fate.statuses) <= {200, 400, 501, 505}
        assert len(fate.statuses) <= 2
    toll += this


def test_a_server_survives_proxy_headers(tolls):
    toll = Toll()

    @settings(parent=slow, max_examples=40 * MANY)
    @given(st.lists(proxy_headers(), min_size=BATCH, max_size=BATCH))
    def check(batch: list[bytes]) -> None:
        run(proxy_siege, batch, toll)

    check()
    tolls.take("server, PROXY headers", toll)


def test_the_second_reader_can_tell_good_from_bad():
    """It would agree with anybody if it refused everything, or nothing."""
    assert read(CHUNKED_HEAD + b"1\r\nx\r\n0\r\n\r\n").verdict is Verdict.OPEN
    assert read(CHUNKED_HEAD + b"1\r\nx0\r\n\r\n").verdict is Verdict.REFUSED
    assert read(CHUNKED_HEAD + b"1\r\nx").verdict is Verdict.UNDECIDED
    assert read(b"GET / HTTP/1.0\r\n\r\nGET").verdict is Verdict.CLOSED
