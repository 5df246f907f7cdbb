"""Many peers of HTTP/2 at once that do as they please, before handlers that do likewise, perhaps until a drain."""

from __future__ import annotations

import os
from random import Random

import pytest
import trio
from http2_siege import Moody, visit
from siege_tools import KINDS, Toll
from story_tools import loud, open_house

import roadrunner_trio as rr

ROUNDS = 150 if os.environ.get("ROADRUNNER_HARDENING") == "long" else 16
PEERS = 20


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_whatever_peers_and_handlers_do_all_of_it_ends(seed, tolls, caplog, autojump_clock):
    chance = Random(seed)
    streams, drains, toll = chance.random() < 0.5, chance.random() < 0.5, Toll()
    handler = Moody(chance, streams=streams)
    limits = rr.Limits(min_bytes_per_second=chance.choice([0, 100]))

    async with open_house(handler, tcp=True, limits=limits, body="streaming" if streams else "buffered") as house:

        async def drain() -> None:
            await trio.sleep(chance.random() * 6)
            await house.listener.drain(chance.choice([0, 1, 5, 30]))

        async def one(own: Random) -> None:
            toll.inputs += 1
            toll.hangs += not await visit(house, own.choice(KINDS), own)

        async with trio.open_nursery() as nursery:
            if drains:
                nursery.start_soon(drain)
            for _ in range(PEERS):
                nursery.start_soon(one, Random(chance.random()))
        await trio.sleep(1000)
        toll.leaks += house.active
    toll.crashes += len(loud(caplog))
    toll.notes += loud(caplog)
    tolls.take("HTTP/2 siege", toll)
