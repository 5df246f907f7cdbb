"""An exchange within another: what is not changed is the inner one's, in both directions."""

from __future__ import annotations

import inspect

import pytest
from story_tools import GET, open_house

import roadrunner_trio as rr
from roadrunner_trio.messages.around import Around, within
from roadrunner_trio.messages.exchange import Exchange


def test_it_has_all_that_an_exchange_has():
    members = {name for name in vars(Exchange) if not name.startswith("_")}
    own = {name for name, _ in inspect.getmembers(Around) if not name.startswith("_")}
    assert members <= own | set(Exchange.__annotations__)
    assert set(Exchange.__annotations__) == set(Around.__annotations__) == {"kind", "extra", "memo"}


def test_what_is_set_on_it_is_the_inner_ones():
    class Inner:
        kind, extra, memo = "none", (), None

    inner = Inner()
    outer = Around(Around(inner))
    outer.kind, outer.extra, outer.memo = "file", ((b"a", b"b"),), 5
    assert (inner.kind, inner.extra, inner.memo) == ("file", ((b"a", b"b"),), 5)
    assert (outer.kind, outer.extra, outer.memo) == ("file", ((b"a", b"b"),), 5)
    with pytest.raises(AttributeError, match="nothing"):
        _ = outer.nothing


async def test_a_response_goes_through_all_of_them_the_inner_first():
    passed = []

    class Noting(Around):
        def __init__(self, inner, name):
            super().__init__(inner)
            self.name = name

        async def start_response(self, status, fields, *, reason=None):
            passed.append(self.name)
            return await self.inner.start_response(status, [*fields, (b"x-by", self.name.encode())], reason=reason)

    async def produce(send):
        await send(b"x")

    async def handler(request):
        response = rr.StreamResponse(produce)
        for name in ("first", "second"):
            response.around = within(response.around, lambda exchange, name=name: Noting(exchange, name))
        return response

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        heard = peer.take()
    assert passed == ["first", "second"]
    assert b"x-by: first\r\nx-by: second\r\n" in heard
    assert house.watch.only("stop").kind == "stream"
