"""Whatever comes before HTTP: the connection ends in time, nobody else notices, and the log has nothing to report."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from story_tools import GET, answer, open_house, undated
from trio.testing import MockClock

import roadrunner_trio as rr
from roadrunner_trio.protocol.proxy_header import SIGNATURE

HELLO = bytes.fromhex("16030100050100000100")
FIRST = [b"", b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\0\0", b"PROXY "]
"""What garbage is more telling after."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    path: Path = tmp_path_factory.mktemp("tls") / "pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    return rr.server_context(path)


async def assail(tls: ssl.SSLContext | None, pieces: list[bytes], half_close: bool) -> None:
    limits = rr.Limits(min_bytes_per_second=0)
    async with open_house(tls=tls, proxy_protocol=rr.ProxyProtocol("memory"), limits=limits) as house:
        peer = house.peer()
        for piece in pieces:
            if peer.ended_at is not None or not house.active:
                break
            await peer.say(piece)
            await trio.sleep(0.1)
        if half_close:
            await peer.finish()
        assert await house.empty() <= 10 + 30 + 2 + 0.1 * len(pieces), "handshake, first request, lingering close"
        if tls is None:
            good = house.peer()
            await good.say(FIRST[1] + GET)
            assert undated(good.heard) == answer(b"hi")
        info = house.listener.info()
        assert info.accepted >= info.handshakes_failed
        assert info.failed == 0


@pytest.mark.parametrize("encrypted", [False, True])
@given(
    first=st.sampled_from(FIRST),
    pieces=st.lists(st.binary(max_size=60) | st.sampled_from([HELLO, GET, b"\x15\x03\x01\0\x02\x02\x28"]), max_size=4),
    half_close=st.booleans(),
)
@example(first=b"", pieces=[GET], half_close=False)
@example(first=FIRST[1], pieces=[HELLO, HELLO], half_close=False)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_first(
    context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
    encrypted: bool,
    first: bytes,
    pieces: list[bytes],
    half_close: bool,
) -> None:
    caplog.clear()
    attack = partial(assail, context if encrypted else None, [first, *pieces], half_close)
    trio.run(attack, clock=MockClock(autojump_threshold=0))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
