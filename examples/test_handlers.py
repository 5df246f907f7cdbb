"""How to test a handler: the real server, in memory, on a virtual clock. With pytest and pytest-trio in trio mode."""

import trio
from trio.testing import MockClock

import hello
import streaming
from roadrunner_trio import Timeouts
from roadrunner_trio.testing import open_server


async def test_hello() -> None:
    async with open_server(hello.handler) as server:
        response = await server.client().get("/?name=Trio")
    assert response.status == 200
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert response.text == "Hello, Trio!\n"


async def test_five_seconds_take_no_time(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with open_server(streaming.handler) as server:
        response = await server.client().get("/")
    assert response.text == "5\n4\n3\n2\n1\nlift-off\n"
    assert response.trailers == [(b"x-seconds", b"5")]
    assert trio.current_time() - start == 5


async def test_half_a_head_is_given_up_on_time(autojump_clock: MockClock) -> None:
    async with open_server(hello.handler, timeouts=Timeouts(request=10)) as server:
        stream = server.connect()
        await stream.send_all(b"GET / HT")
        start = trio.current_time()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert trio.current_time() - start == 10


async def test_a_drain_lets_a_response_finish(autojump_clock: MockClock) -> None:
    async with open_server(streaming.handler) as server, trio.open_nursery() as nursery:
        stream = server.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await trio.sleep(2)
        nursery.start_soon(server.listener.drain, 10)
        received = b"".join([piece async for piece in stream])
    assert received.endswith(b"lift-off\n\r\n0\r\nx-seconds: 5\r\n\r\n")


async def test_three_requests_at_once_on_one_connection(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with open_server(streaming.handler) as server:
        client = server.client(http2=True)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.get, "/")
        assert server.listener.info().accepted == 1
    assert trio.current_time() - start == 5
