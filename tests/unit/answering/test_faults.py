"""Whose fault it is: the table, alone and in groups of groups."""

from __future__ import annotations

import pytest
import trio

from roadrunner_trio.answering.faults import essence, leaves
from roadrunner_trio.errors import HTTPError, ProtocolError
from roadrunner_trio.transport.wire import BodyTimeout, PeerGone

PEERS = [ProtocolError(413, "too_large"), BodyTimeout("slow"), PeerGone("gone")]
OURS = [ValueError("a bug"), SystemExit(3), trio.ClosedResourceError("of the app"), trio.TooSlowError("of the app")]
BROKEN = trio.BrokenResourceError("a stream of somebody's")


async def cancelled():
    """The only way to a Cancelled."""
    with trio.CancelScope() as scope:
        scope.cancel(reason="for its exception")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return exc
    return None


def group(*leaves):
    return BaseExceptionGroup("group", leaves)


def test_leaves_are_found_at_any_depth():
    a, b, c = ValueError("a"), KeyError("b"), SystemExit("c")
    assert list(leaves(a)) == [a]
    assert list(leaves(group(a, group(group(b), c)))) == [a, b, c]


@pytest.mark.parametrize("exc", [*PEERS, *OURS, HTTPError(404), BROKEN], ids=repr)
def test_alone_it_is_what_it_is(exc):
    assert essence(exc, peer_gone=False) is exc
    assert essence(exc, peer_gone=True) is exc


@pytest.mark.parametrize("first", PEERS, ids=repr)
@pytest.mark.parametrize("second", PEERS, ids=repr)
def test_a_group_of_the_peers_doings_counts_as_the_first(first, second):
    assert essence(group(first), peer_gone=False) is first
    assert essence(group(group(first, second), second), peer_gone=False) is first


def test_a_broken_stream_is_the_peers_doing_only_when_the_peer_has_gone():
    gone = PeerGone("gone")
    both = group(group(BROKEN), gone)
    assert essence(both, peer_gone=True) is BROKEN
    assert essence(both, peer_gone=False) is both


def test_a_group_with_one_leaf_that_is_an_answer_is_that_answer():
    answer = HTTPError(404)
    assert essence(group(group(answer)), peer_gone=False) is answer


def test_two_answers_are_none():
    two = group(HTTPError(404), HTTPError(410))
    assert essence(two, peer_gone=False) is two


def test_an_answer_beside_a_peer_that_went_is_an_error():
    both = group(HTTPError(404), PeerGone("gone"))
    assert essence(both, peer_gone=True) is both


@pytest.mark.parametrize("error", OURS, ids=repr)
def test_a_group_with_an_error_of_the_application_stays_whole(error):
    for given in (group(error), group(group(error)), group(PeerGone("gone"), error), group(error, HTTPError(404))):
        assert essence(given, peer_gone=True) is given


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_nobody_may_catch_goes_on_alone_and_in_a_group(exc):
    for given in (exc, group(exc), group(PeerGone("gone"), group(exc)), group(ValueError("a bug"), exc)):
        with pytest.raises(BaseException) as caught:
            essence(given, peer_gone=True)
        assert caught.value is given


@pytest.mark.parametrize("peers", [*PEERS, BROKEN], ids=repr)
async def test_of_a_cancellation_and_the_peer_s_doings_only_the_cancellation_goes_on(peers):
    exc = await cancelled()
    with pytest.raises(BaseExceptionGroup) as caught:
        essence(group(peers, group(exc, peers)), peer_gone=True)
    assert list(leaves(caught.value)) == [exc]


async def test_a_cancellation_goes_on_alone_and_in_a_group():
    exc = await cancelled()
    for given in (exc, group(exc), group(ValueError("a bug"), group(exc))):
        with pytest.raises(BaseException) as caught:
            essence(given, peer_gone=True)
        assert caught.value is given
