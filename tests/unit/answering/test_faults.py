"""Whose fault it is: the table, alone and in groups of groups."""

from __future__ import annotations

import pytest
import trio

from roadrunner_trio.answering.faults import essence, leaves, part_ways
from roadrunner_trio.errors import HTTPError, ProtocolError
from roadrunner_trio.transport.gone import BodyTimeout, PeerGone

PEERS = [ProtocolError(413, "too_large"), BodyTimeout("slow"), PeerGone("gone")]
OURS = [ValueError("a bug"), SystemExit(3), trio.ClosedResourceError("of the app"), trio.TooSlowError("of the app")]
BROKEN = trio.BrokenResourceError("a stream of somebody's")


async def cancelled():
    """The only way to a Cancelled: one that was somebody's once."""
    with trio.CancelScope() as scope:
        scope.cancel(reason="for its exception")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return exc
    return None


async def own(make):
    """What ``make`` makes of a cancellation where it is the task's own."""
    with trio.CancelScope() as scope:
        scope.cancel(reason="it is ours")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return exc, make(exc)
    return None


def group(*leaves):
    return BaseExceptionGroup("group", leaves)


def test_leaves_are_found_at_any_depth():
    a, b, c = ValueError("a"), KeyError("b"), SystemExit("c")
    assert list(leaves(a)) == [a]
    assert list(leaves(group(a, group(group(b), c)))) == [a, b, c]


@pytest.mark.parametrize("exc", [*PEERS, *OURS, HTTPError(404), BROKEN], ids=repr)
async def test_alone_it_is_what_it_is(exc):
    assert essence(exc, peer_gone=False) == (exc, None)
    assert essence(exc, peer_gone=True) == (exc, None)


@pytest.mark.parametrize("first", PEERS, ids=repr)
@pytest.mark.parametrize("second", PEERS, ids=repr)
async def test_a_group_of_the_peers_doings_counts_as_the_first(first, second):
    assert essence(group(first), peer_gone=False) == (first, None)
    assert essence(group(group(first, second), second), peer_gone=False) == (first, None)


async def test_a_broken_stream_is_the_peers_doing_only_when_the_peer_has_gone():
    gone = PeerGone("gone")
    both = group(group(BROKEN), gone)
    assert essence(both, peer_gone=True) == (BROKEN, None)
    assert essence(both, peer_gone=False) == (both, None)


async def test_a_group_with_one_leaf_that_is_an_answer_is_that_answer():
    answer = HTTPError(404)
    assert essence(group(group(answer)), peer_gone=False) == (answer, None)


async def test_two_answers_are_none():
    two = group(HTTPError(404), HTTPError(410))
    assert essence(two, peer_gone=False) == (two, None)


async def test_an_answer_beside_a_peer_that_went_is_an_error():
    both = group(HTTPError(404), PeerGone("gone"))
    assert essence(both, peer_gone=True) == (both, None)


@pytest.mark.parametrize("error", OURS, ids=repr)
async def test_a_group_with_an_error_of_the_application_stays_whole(error):
    for given in (group(error), group(group(error)), group(PeerGone("gone"), error), group(error, HTTPError(404))):
        assert essence(given, peer_gone=True) == (given, None)


# What goes on, and what only looks as if it had to


def around(exc):
    """``exc`` alone, in groups, and in groups with others."""
    return exc, group(exc), group(PeerGone("gone"), group(exc)), group(ValueError("a bug"), group(exc))


@pytest.mark.parametrize("place", range(4))
async def test_the_operators_interrupt_goes_on_alone_and_in_a_group(place):
    interrupt = KeyboardInterrupt()
    given = around(interrupt)[place]
    error, onward = essence(given, peer_gone=True)
    assert error is None
    assert list(leaves(onward)) == [leaf for leaf in leaves(given) if not isinstance(leaf, PeerGone)]


@pytest.mark.parametrize("place", range(4))
async def test_a_cancellation_of_the_task_goes_on_alone_and_in_a_group(place):
    _, (given, (error, onward)) = await own(lambda exc: (given := around(exc)[place], essence(given, peer_gone=True)))
    assert error is None
    assert list(leaves(onward)) == [leaf for leaf in leaves(given) if not isinstance(leaf, PeerGone)]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("kind", ["cancellation", "generator's end"])
async def test_case_46_a_stray_is_an_error_of_the_application_alone_and_in_a_group(kind, place):
    exc = await cancelled() if kind == "cancellation" else GeneratorExit()
    given = around(exc)[place]
    error, onward = essence(given, peer_gone=True)
    assert onward is None
    assert type(error) is RuntimeError, "who catches Exception and no more, as logging does, has to get it"
    assert "meant for somebody else" in str(error)
    assert error.__cause__ is given, "nothing of it is lost"


async def test_case_46_a_generator_s_end_is_an_error_in_a_task_that_is_cancelled_too():
    ended = GeneratorExit()
    _, (error, onward) = await own(lambda exc: essence(ended, peer_gone=False))
    assert (error.__cause__, onward) == (ended, None)


async def test_a_scope_that_is_shielded_from_a_cancellation_has_none_of_its_own():
    stray = await cancelled()
    with trio.CancelScope() as outer:
        outer.cancel(reason="kept off")
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            assert part_ways(stray) == (stray, None)
        assert part_ways(stray) == (None, stray)


@pytest.mark.parametrize("peers", [*PEERS, BROKEN], ids=repr)
async def test_of_a_cancellation_and_the_peer_s_doings_only_the_cancellation_goes_on(peers):
    cancellation, (error, onward) = await own(lambda exc: essence(group(peers, group(exc, peers)), peer_gone=True))
    assert error is None
    assert list(leaves(onward)) == [cancellation]


async def test_a_group_is_parted_by_what_goes_on_and_nothing_is_lost():
    bug, interrupt = ValueError("a bug"), KeyboardInterrupt()

    def part(exc):
        return part_ways(group(bug, group(exc, interrupt)))

    cancellation, (error, onward) = await own(part)
    assert (list(leaves(error)), list(leaves(onward))) == ([bug], [cancellation, interrupt])
    stray = await cancelled()
    error, onward = part(stray)
    assert (list(leaves(error)), list(leaves(onward))) == ([bug, stray], [interrupt])
