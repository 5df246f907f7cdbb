"""Response header blocks without a dynamic table (RFC 7541), remembered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...fields import Field


@dataclass(slots=True)
class Wishes:
    """What an application wishes, as in :class:`roadrunner_trio.protocol.wishes.Wishes`, its other fields encoded."""

    block: bytes
    """Those that are passed on, encoded."""
    dated: bool = False
    """Whether Date is among them."""
    length: int | None = None
    close: bool = False
    """It asked for ``connection: close``, which HTTP/2 cannot say of one response."""


def sift(fields: tuple[Field, ...]) -> Wishes:
    """Parts an application's fields into what goes out and what the server decides itself; the last 128 are remembered.

    Raises:
        ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.sift`.
    """


def and_extra(wishes: Wishes, fields: tuple[Field, ...], extra: Iterable[Field]) -> Wishes:
    """``wishes``, which came of ``fields``, with the server's ``extra`` fields, those apart that the application has set.

    Raises:
        ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.undelimited`.
    """
