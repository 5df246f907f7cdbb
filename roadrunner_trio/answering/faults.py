"""Whose fault is it? What left an application, as one exception that says how the request ends.

An exception group counts as its leaf when there is nothing else in it to know: all leaves are the peer's doing, or
the only leaf is an ``HTTPError``. Any other group is the application's error, whole, never flattened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import trio

from ..errors import HTTPError, ProtocolError
from ..transport.gone import BodyTimeout, PeerGone

PEERS = (ProtocolError, BodyTimeout, PeerGone)
STRAYS = (trio.Cancelled, GeneratorExit)
"""Of all that is no error, what can stray from one task into another."""


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups, or the exception itself."""
    if isinstance(exc, BaseExceptionGroup):
        group = cast(BaseExceptionGroup[BaseException], exc)
        for inner in group.exceptions:
            yield from leaves(inner)
    else:
        yield exc


def cancelled() -> bool:
    """Whether a ``trio.Cancelled`` that is caught now can be this task's own."""
    return trio.current_effective_deadline() == -math.inf


def is_operators(exc: BaseException) -> bool:
    """Whether a KeyboardInterrupt is in what has to go on."""
    return any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(exc))


def part_ways(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What is an error, and what has to go on, to Trio and to the operator.

    A cancellation goes on when it is this task's own. One that is not was kept and raised again by somebody, such as a
    cache that gives all who wait what the first of them met: let go on, it would be taken for the nursery's, and every
    neighbour with it. The same is true of a GeneratorExit. Both are errors.
    """
    own = cancelled()

    def goes_on(leaf: BaseException) -> bool:
        return isinstance(leaf, KeyboardInterrupt) or (own and isinstance(leaf, trio.Cancelled))

    if isinstance(exc, BaseExceptionGroup):
        onward, error = cast(BaseExceptionGroup[BaseException], exc).split(goes_on)
        return error, onward
    return (None, exc) if goes_on(exc) else (exc, None)


def essence(exc: BaseException, *, peer_gone: bool) -> tuple[BaseException | None, BaseException | None]:
    """The exception that decides how a request ends; or, in its place, what has to go on. Raises nothing.

    Args:
        peer_gone: the connection is known to be broken; then a plain ``trio.BrokenResourceError`` is its peer's doing
            too. Otherwise it came from a stream of the application's own, and that is an error like any other.

    Returns:
        The former and None, or None and the latter. That is all of ``exc``, with the errors beside it; only what the
        peer did besides a cancellation is left out, for nobody would take it when the scope has taken that.
    """
    peers = (*PEERS, trio.BrokenResourceError) if peer_gone else PEERS
    error, onward = part_ways(exc)
    if onward is not None:
        ours = error is not None and not all(isinstance(leaf, peers) for leaf in leaves(error))
        return None, exc if ours else onward
    found = list(leaves(exc))
    if all(isinstance(leaf, peers) for leaf in found):
        return found[0], None
    if len(found) == 1 and isinstance(found[0], HTTPError):
        return found[0], None
    if any(isinstance(leaf, STRAYS) for leaf in found):
        stray = RuntimeError("the application raised a cancellation, or an end, that was meant for somebody else")
        stray.__cause__ = exc
        return stray, None
    return exc, None
