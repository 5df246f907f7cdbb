"""Whose fault is it? What left an application, as one exception that says how the request ends.

An exception group counts as its leaf when there is nothing else in it to know: all leaves are the peer's doing, or
the only leaf is an ``HTTPError``. Any other group is the application's error, whole, never flattened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import trio

from ..errors import HTTPError, ProtocolError
from ..transport.wire import BodyTimeout, PeerGone

PEERS = (ProtocolError, BodyTimeout, PeerGone)
NOT_OURS = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)
"""Never caught, alone or in a group: they belong to Trio and to the operator."""


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups, or the exception itself."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast(BaseExceptionGroup[BaseException], exc)
        for inner in group.exceptions:
            yield from leaves(inner)
    else:
        yield exc


def essence(exc: BaseException, *, peer_gone: bool) -> BaseException:
    """The exception that decides how a request ends.

    Args:
        peer_gone: the connection is known to be broken; then a plain ``trio.BrokenResourceError`` is its peer's doing
            too. Otherwise it came from a stream of the application's own, and that is an error like any other.

    Raises:
        BaseException: ``exc`` itself, when it is or holds what nobody may catch. Where that is a cancellation, what the
            peer did besides is left out: the scope that was cancelled would leave the rest of the group to nobody.
    """
    all_leaves = list(leaves(exc))
    peers = (*PEERS, trio.BrokenResourceError) if peer_gone else PEERS
    others = [leaf for leaf in all_leaves if not isinstance(leaf, peers)]
    if any(isinstance(leaf, NOT_OURS) for leaf in others):
        if len(others) < len(all_leaves) and all(isinstance(leaf, trio.Cancelled) for leaf in others):
            raise cast(BaseExceptionGroup[BaseException], exc).subgroup(trio.Cancelled) or exc
        raise exc
    if not others:
        return all_leaves[0]
    if len(all_leaves) == 1 and isinstance(all_leaves[0], HTTPError):
        return all_leaves[0]
    return exc
