"""The client for tests hears the same in both versions of HTTP, whatever it asks, however its body comes, and whoever
else asks at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import roadrunner_trio as rr
from roadrunner_trio.testing import open_server

contents = st.one_of(st.binary(max_size=30), st.integers(0, 200_000).map(bytes))
bodies = st.one_of(contents, st.lists(contents, max_size=4))
fields = st.lists(
    st.tuples(
        st.sampled_from(["x-a", "X-B", "Accept", "cookie", "Connection"]), st.sampled_from(["1", "a=b", "keep-alive"])
    ),
    max_size=3,
)
answers = st.tuples(
    st.sampled_from([200, 204, 304, 404]),
    st.lists(contents, max_size=4),
    st.booleans(),
    st.sampled_from([[], [("x-sum", "1")]]),
    st.sampled_from([0.0, 0.5]),
)
asked = st.tuples(st.sampled_from(["GET", "HEAD", "POST", "PUT", "BREW"]), bodies, fields, answers)


class Pieces(AsyncIterator[bytes]):
    def __init__(self, pieces: list[bytes]) -> None:
        self.left = pieces[::-1]

    async def __anext__(self) -> bytes:
        await trio.sleep(0.1)
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


def handler_of(script: list[Any]):
    """Answers request n as the n-th line of a script has it, and says what it has been asked."""

    async def handler(request: rr.Request) -> rr.AnyResponse:
        status, pieces, streams, trailers, pause = script[int(request.path[1:])][3]
        heard = await request.read()
        told = [("x-heard", f"{request.method} {len(heard)} {request.headers('x-a')} {dict(request.cookies)}")]
        if not streams:
            return rr.Response(b"".join(pieces), status=status, fields=told)

        async def produce(send: rr.Send) -> object:
            for piece in pieces:
                await send(piece)
                await trio.sleep(pause)
            return trailers

        return rr.StreamResponse(produce, status=status, fields=told)

    return handler


async def converse(script: list[Any], *, http2: bool, at_once: bool) -> list[Any]:
    heard: list[Any] = [None] * len(script)

    async def ask(client: Any, number: int) -> None:
        method, body, pairs, _ = script[number]
        content = Pieces(body) if isinstance(body, list) else body
        response = await client.request(method, f"/{number}", body=content, fields=[*pairs, ("te", "trailers")])
        said = [pair for pair in response.fields if pair[0] in (b"x-heard", b"content-length")]
        heard[number] = response.status, response.body, said, list(response.trailers)

    async with open_server(handler_of(script)) as server:
        client = server.client(http2=http2)
        async with trio.open_nursery() as nursery:
            for number in range(len(script)):
                if at_once:
                    nursery.start_soon(ask, client, number)
                else:
                    await ask(client, number)
        assert server.listener.info().accepted == 1 or not http2
    return heard


def run(script: list[Any], **how: bool) -> list[Any]:
    async def main() -> list[Any]:
        return await converse(script, **how)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=100, deadline=None)
@given(st.lists(asked, min_size=1, max_size=5))
def test_both_versions_say_the_same(script):
    one_by_one = run(script, http2=False, at_once=False)
    assert run(script, http2=True, at_once=False) == one_by_one
    assert run(script, http2=True, at_once=True) == one_by_one
