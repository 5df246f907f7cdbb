"""Applications that are made when their server starts."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair

from roadrunner_trio import Limits, Listener, Response, serve, serve_connection
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.made import made_by
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.errors import ShutdownError, StartupError
from roadrunner_trio.testing import MemoryListener, open_server


async def handler(request):
    return Response.text("made\n")


async def double(scope, receive, send):
    if scope["type"] == "lifespan":
        assert await receive() == {"type": "lifespan.startup"}
        scope["state"]["told"] = STORY
        STORY.append("asgi up")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        STORY.append("asgi down")
        await send({"type": "lifespan.shutdown.complete"})
    else:
        scope["state"]["told"].append("asked")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"asgi\n"})


STORY: list[str] = []


@pytest.fixture(autouse=True)
def story():
    STORY.clear()
    return STORY


async def text_of(app, **settings) -> str:
    async with open_server(app, **settings) as server:
        STORY.append("serving")
        return (await server.client().get("/")).text


async def an_async_function():
    await trio.sleep(1)
    STORY.append("made")
    return handler


def a_plain_function():
    return Router([Route("/", handler)])


@asynccontextmanager
async def a_context():
    await trio.sleep(1)
    STORY.append("up")
    yield handler
    await trio.sleep(1)
    STORY.append("down")


class AContext:
    async def __aenter__(self):
        STORY.append("enter")
        return handler

    async def __aexit__(self, *exc_info):
        STORY.append("exit")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (an_async_function, ["made", "serving"]),
        (a_plain_function, ["serving"]),
        (a_context, ["up", "serving", "down"]),
        (AContext, ["enter", "serving", "exit"]),
    ],
)
async def test_it_is_made_before_anybody_is_served_and_ends_behind_them(make, told, autojump_clock):
    assert await text_of(made_by(make)) == "made\n"
    assert told == STORY


async def test_what_it_starts_runs_until_the_last_connection_is_closed(autojump_clock):
    beats = []

    async def publish():
        try:
            while True:
                beats.append(trio.current_time())
                await trio.sleep(1)
        finally:
            STORY.append("publisher ends")

    async def main(nursery):
        nursery.start_soon(publish)

        async def slow(request):
            await trio.sleep(3.5)
            STORY.append("answered")
            return Response.text(str(len(beats)))

        return slow

    assert await text_of(made_by(main)) == "4"
    assert STORY == ["serving", "answered", "publisher ends"]


async def test_the_context_is_left_while_what_it_started_still_runs(autojump_clock):
    left = trio.Event()

    @asynccontextmanager
    async def main(nursery):
        async def worker():
            await left.wait()
            STORY.append("worker done")

        nursery.start_soon(worker)
        yield handler
        left.set()
        await trio.sleep(1)

    assert await text_of(made_by(main)) == "made\n"
    assert STORY == ["serving", "worker done"]


async def test_middlewares_and_settings_of_a_listener_apply(autojump_clock):
    async def sign(request, call_next):
        response = await call_next(request)
        return response.with_fields([("x-signed", "yes")]) if hasattr(response, "with_fields") else Response(b"signed")

    async def echo(request):
        return Response(await request.read())

    async def make():
        return echo

    async with open_server(made_by(make), middlewares=[sign], limits=Limits(max_body=3), health_path="/well") as server:
        client = server.client()
        assert (await client.post("/", b"1234")).status == 413
        answer = await server.client().get("/")
        assert answer.body == b"signed" or (b"x-signed", b"yes") in answer.fields
        assert (await server.client().get("/well")).text == "ok\n"


async def test_an_asgi_application_that_is_made_has_its_own_life_inside(autojump_clock):
    @asynccontextmanager
    async def main():
        STORY.append("up")
        yield asgi(double)
        STORY.append("down")

    assert await text_of(made_by(main)) == "asgi\n"
    assert STORY == ["up", "asgi up", "serving", "asked", "asgi down", "down"]


async def test_two_listeners_have_it_made_once(autojump_clock):
    app = made_by(a_context)
    first, second = MemoryListener(), MemoryListener()
    async with trio.open_nursery() as nursery:
        listeners = [Listener(app, bind=first, name="a"), Listener(app.narrowed(lambda made: made), bind=second)]
        for listener in listeners:
            await nursery.start(listener.serve)
        assert STORY == ["up"]
        await listeners[0].drain(1)
        assert STORY == ["up"]
        async with second.connect() as peer:
            await peer.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert (await peer.receive_some()).endswith(b"made\n")
        await listeners[1].drain(1)
    assert STORY == ["up", "down"]


async def test_it_can_be_made_again(autojump_clock):
    app = made_by(AContext)
    await text_of(app)
    await text_of(app)
    assert STORY == ["enter", "serving", "exit"] * 2


async def test_one_connection_has_it_too(autojump_clock):
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await ours.send_eof()
    await serve_connection(theirs, made_by(a_context))
    assert (await ours.receive_some()).endswith(b"made\n")
    assert STORY == ["up", "down"]


# -- what goes wrong -------------------------------------------------------------------------------


async def started(make, **times):
    with pytest.raises(StartupError) as caught:
        async with open_server(made_by(make, **times)):
            raise AssertionError("it was served")
    return caught.value


async def test_a_factory_that_raises_serves_nothing(autojump_clock):
    async def main(nursery):
        nursery.start_soon(trio.sleep_forever)
        raise LookupError("no database")

    error = await started(main)
    assert str(error) == "the application raised LookupError('no database') before its start-up was complete"
    assert type(error.__cause__) is LookupError


async def test_what_it_has_started_may_fail_before_it_is_done(autojump_clock):
    async def main(nursery):
        nursery.start_soon(_fail, "early")
        await trio.sleep(1)

    assert "KeyError('early')" in str(await started(main))


async def _fail(what):
    raise KeyError(what)


async def test_a_factory_that_takes_too_long(autojump_clock):
    assert "within 7 seconds" in str(await started(trio.sleep_forever, startup_timeout=7))
    assert trio.current_time() < 20


async def test_a_factory_that_makes_something_else(autojump_clock):
    async def seven():
        return 7

    assert str(await started(seven)).startswith("what test_a_factory_that_makes_something_else.<locals>.seven has made")


async def test_a_factory_that_needs_asyncio(autojump_clock):
    async def main():
        import asyncio

        await asyncio.sleep(1)

    assert str(await started(main)).startswith("the application needs asyncio (apps/test_made.py:")


async def test_what_it_keeps_running_may_fail_and_the_server_drains(autojump_clock, caplog):
    async def main(nursery):
        async def crash():
            await trio.sleep(2)
            raise KeyError("gone")

        nursery.start_soon(crash)
        return handler

    door = MemoryListener()
    with caplog.at_level(logging.ERROR), pytest.raises(ShutdownError, match="KeyError"):
        await serve(Listener(made_by(main), bind=door), grace=1)
    assert "the application ended by itself, and the server with it" in caplog.text
    assert trio.current_time() < 20


async def test_a_context_that_does_not_end_is_cancelled_in_time(autojump_clock, caplog):
    @asynccontextmanager
    async def main():
        yield handler
        await trio.sleep_forever()

    async with open_server(made_by(main, shutdown_timeout=3)):
        began = trio.current_time()
    assert "did not shut down within 3 seconds" in caplog.text
    assert trio.current_time() - began == pytest.approx(3, abs=0.1)


async def test_an_asgi_application_inside_that_fails_is_told_once(autojump_clock, caplog):
    async def refuses(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def main():
        return asgi(refuses)

    assert str(await started(main)) == "no database"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (7, "7 cannot be called: a factory is a function of nothing, or of a nursery"),
        (lambda a, b: None, "is no factory: that is a function of nothing, or of a nursery"),
    ],
)
def test_what_is_no_factory(make, sentence):
    with pytest.raises(TypeError, match=sentence):
        made_by(make)


def test_a_generator_is_told_what_is_missing():
    async def main():
        yield handler

    with pytest.raises(TypeError, match=r"yields: put @contextlib.asynccontextmanager above it"):
        made_by(main)
