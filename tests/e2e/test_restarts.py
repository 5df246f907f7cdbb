"""Servers that are restarted under load lose nothing. ``nox -s restarts`` does it for longer."""

from __future__ import annotations

import shutil

import pytest
from rolling_tools import behind_haproxy, on_one_port

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="this machine has no haproxy")
async def test_two_servers_behind_haproxy_are_restarted_in_turn(tmp_path):
    tally = await behind_haproxy(tmp_path, seconds=4.5, every=1)
    assert tally.clean, (tally.failed, tally.resets)
    assert tally.restarts >= 1
    assert tally.answered > 100
    assert tally.multiplexed > 100
    assert tally.events > 20
    assert tally.messages > 20


async def test_one_server_hands_over_to_the_next_on_the_same_port(tmp_path):
    tally = await on_one_port(tmp_path, seconds=3, every=0.7)
    assert tally.clean, (tally.failed, tally.resets)
    assert tally.restarts >= 1
    assert tally.reconnected >= 1
    assert tally.answered > 100
    assert tally.multiplexed > 100
