"""However connections come, turn out to be another's, and go: every peer has as many as are there."""

from __future__ import annotations

from collections import Counter

import trio
from hypothesis import given
from hypothesis import strategies as st

import roadrunner_trio as rr
from roadrunner_trio.answering.context import Counters
from roadrunner_trio.answering.rate_limit import peer_key
from roadrunner_trio.protocol.trust import Networks
from roadrunner_trio.server.places import Places

TRUSTED = "10.0.0.0/8"
HOSTS = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "10.0.0.1"]
PEERS = st.sampled_from([*[(host, 1) for host in HOSTS], "unix", "/run/peer"])
STEPS = st.lists(st.tuples(st.sampled_from(["come", "turn out", "go"]), st.integers(0, 5), PEERS), max_size=60)


def counted(peer) -> bool:
    return not isinstance(peer, str) and not peer[0].startswith("10.")


async def live(steps, share) -> None:
    limits = rr.Limits(max_connections_per_peer=share)
    places = Places(limits, [Networks(TRUSTED)], list, evict_idle=False, counters=Counters())
    there = {}
    for verb, who, peer in steps:
        if verb == "come" and who not in there:
            have = sum(counted(each) and peer_key(each[0]) == peer_key(peer[0]) for each in there.values())
            assert (places.refusal(peer, len(there)) is None) == (not counted(peer) or have < share)
            if not counted(peer) or have < share:
                places.enter(who, peer)
                there[who] = peer
        elif verb == "turn out" and who in there:
            if places.move(who, peer):
                there[who] = peer
        elif verb == "go":
            places.leave(who)
            there.pop(who, None)
        expected = Counter(peer_key(each[0]) for each in there.values() if counted(each))
        assert places._counts == expected
        assert all(count <= share for count in expected.values())
    for who in range(6):
        places.leave(who)
    assert (places._counts, places._keys) == ({}, {})


@given(STEPS, st.integers(1, 4))
def test_a_peer_has_as_many_as_are_there_and_never_more_than_its_share(steps, share):
    trio.run(live, steps, share)
