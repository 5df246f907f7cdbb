"""Fields that a middleware adds to responses of all kinds, and to those that the server gives in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..fields import Field
from ..messages.around import Around, within
from ..messages.exchange import Exchange
from ..messages.response import AnyResponse, Handoff, Upgrade

Merge: TypeAlias = Callable[[Sequence[Field]], list[Field]]
"""Given the fields of a response, gives those with what is added."""


def add_missing(added: Sequence[Field]) -> Merge:
    """Adds those fields that the application has not set itself."""

    def merge(fields: Sequence[Field]) -> list[Field]:
        said = {name for name, _ in fields}
        return [*fields, *(field for field in added if field[0] not in said)]

    return merge


def add_to(response: AnyResponse, merge: Merge) -> AnyResponse:
    """A response with the fields; of one that is yet to be made, when it is made. A WebSocket is none."""
    if isinstance(response, Handoff):
        return response
    if not isinstance(response, Upgrade):
        response.fields = merge(response.fields)
        return response
    response.around = within(response.around, lambda exchange: _Adding(exchange, merge))
    return response


def add_to_all(exchange: Exchange, added: Sequence[Field]) -> None:
    """Has every response to a request carry the fields, the server's own 404, 413, 429, 500 and 503 included."""
    if added:
        exchange.extra = (*exchange.extra, *added)


class _Adding(Around):
    """An exchange that merges fields into the head that is written to it."""

    def __init__(self, inner: Exchange, merge: Merge) -> None:
        super().__init__(inner)
        self._merge = merge

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response."""
        await self.inner.respond(status, self._merge(fields), body, reason=reason)

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head of a response."""
        return await self.inner.start_response(status, self._merge(fields), reason=reason)
