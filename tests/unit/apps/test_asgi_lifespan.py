"""The life of an application: rows L of the conformance table."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest
import trio
from asgi_tools import body, hi, start
from story_tools import GET, answer, loud, open_house
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.errors import ShutdownError, StartupError
from roadrunner_trio.testing import MemoryListener, open_server


class Life:
    """An application that notes what happens in its life, and may be told to misbehave in it.

    Args:
        before, after: awaited before it has started up, and before it has shut down.
        replies: the messages it sends to either.
    """

    def __init__(self, before=None, after=None, *, replies=("startup.complete", "shutdown.complete"), more=None):
        self.before, self.after, self.replies, self.more = before, after, replies, more or {}
        self.story: list[object] = []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            self.story.append("request")
            return await hi(scope, receive, send)
        self.scope = scope
        try:
            for event, act, reply in zip(("startup", "shutdown"), (self.before, self.after), self.replies, strict=True):
                assert await receive() == {"type": f"lifespan.{event}"}
                self.story.append(event)
                if act is not None:
                    await act()
                if reply is not None:
                    await send({"type": f"lifespan.{reply}", **self.more})
        finally:
            self.story.append("end")


async def serve_until_ready(app, **options):
    """Serves until it accepts, then cancels; what that raises is unwrapped."""
    try:
        async with open_server(asgi(app, **options)):
            pass
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def test_asgi_l1_l2_started_up_before_anybody_is_accepted(autojump_clock):
    async def slow():
        await trio.sleep(5)

    life = Life(slow)
    door = MemoryListener()
    listener = rr.Listener(asgi(life), bind=door)
    peer = door.connect()
    await peer.send_all(GET)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve)
        await trio.sleep(4)
        assert (life.story, listener.status, listener.info().active) == (["startup"], "starting", 0)
        await trio.sleep(2)
        assert (life.story, listener.status) == (["startup", "request"], "accepting")
        nursery.cancel_scope.cancel()
    assert life.story == ["startup", "request", "shutdown", "end"]
    assert life.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert life.scope["state"] == {}


@pytest.mark.parametrize("more", [{}, {"message": "no database"}])
async def test_asgi_l3_report_hypercorn_pr_97_report_hypercorn_213_failed_is_an_error(more, autojump_clock):
    life = Life(replies=("startup.failed", None), more=more)
    with pytest.raises(StartupError, match=more.get("message", "failed to start up")):
        await serve_until_ready(life)
    assert life.story == ["startup", "end"]


async def test_asgi_l4_an_exception_before_it_is_complete_is_a_no(autojump_clock, caplog):
    caplog.set_level(logging.INFO, "roadrunner_trio")

    async def refuse():
        raise KeyError("type")

    life = Life(refuse)
    async with open_server(asgi(life)) as server:
        assert (await server.client().get("/")).body == b"hi"
    assert life.story == ["startup", "end", "request"], "and no shut-down"
    assert "no lifespan" in caplog.text
    assert loud(caplog) == []


async def test_asgi_l4_unless_it_has_to_have_one(autojump_clock):
    async def refuse():
        raise KeyError("type")

    with pytest.raises(StartupError, match="raised KeyError"):
        await serve_until_ready(Life(refuse), lifespan="on")


async def asks_for_a_loop():
    asyncio.get_running_loop()


async def makes_a_task_group():
    async with asyncio.TaskGroup():
        pass


async def sleeps_in_asyncio():
    await asyncio.sleep(1)


async def yields_to_asyncio():
    await asyncio.Queue[int]().get()


@pytest.mark.parametrize("act", [asks_for_a_loop, makes_a_task_group, sleeps_in_asyncio, yields_to_asyncio])
async def test_asgi_l4_an_application_that_needs_asyncio_is_told_so(act, autojump_clock):
    with pytest.raises(StartupError, match=r"needs asyncio \(apps/test_asgi_lifespan.py:\d+\), and this server runs"):
        await serve_until_ready(Life(act))


@pytest.mark.parametrize("act", [asks_for_a_loop, makes_a_task_group, sleeps_in_asyncio, yields_to_asyncio])
async def test_so_is_one_that_reports_it_as_a_failure_with_its_traceback(act, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        try:
            await act()
        except BaseException:
            await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})  # Starlette does so
            raise

    with pytest.raises(StartupError, match=r"^the application needs asyncio \(apps/test_asgi_lifespan.py:\d+\), and"):
        await serve_until_ready(app)


@pytest.mark.parametrize("act", [asks_for_a_loop, makes_a_task_group, sleeps_in_asyncio, yields_to_asyncio])
async def test_a_request_that_needs_asyncio_is_one_sentence_in_the_log(act, autojump_clock, caplog):
    async def app(scope, receive, send):
        await act()

    async with open_house(asgi(app, lifespan="off")) as house:
        peer = house.peer()
        await peer.say(GET)
        assert b"500 Internal Server Error" in await peer.end()
    [record] = caplog.records
    assert str(record.exc_info[1]).startswith("the application needs asyncio (apps/test_asgi_lifespan.py:")
    assert record.exc_info[1].__suppress_context__


async def test_an_application_with_an_asyncio_loop_in_a_thread_has_its_own_error(autojump_clock, caplog):
    async def fail():
        raise LookupError

    async def app(scope, receive, send):
        await trio.to_thread.run_sync(asyncio.run, fail())

    async with open_house(asgi(app, lifespan="off")) as house:
        peer = house.peer()
        await peer.say(GET)
        assert b"500 Internal Server Error" in await peer.until(b"\r\n\r\n")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]


async def test_asgi_l5_off_is_never_asked(autojump_clock):
    life = Life()
    async with open_server(asgi(life, lifespan="off")) as server:
        await server.client().get("/")
    assert life.story == ["request"]


async def test_asgi_l6_a_return_before_it_is_complete_is_a_no_too(autojump_clock):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await hi(scope, receive, send)

    async with open_server(asgi(app)) as server:
        assert (await server.client().get("/")).body == b"hi"
    with pytest.raises(StartupError, match="returned before"):
        await serve_until_ready(app, lifespan="on")


async def test_asgi_l7_shut_down_after_the_last_connection(autojump_clock):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send(start())
            await trio.sleep(5)
            await send(body(b"hi"))
            life.story.append("response")
        else:
            await life(scope, receive, send)

    life = Life()
    door = MemoryListener()
    listener = rr.Listener(asgi(app), bind=door)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        peer = door.connect()
        await peer.send_all(GET)
        await wait_all_tasks_blocked()
        drained = await listener.drain(10)
    assert drained.finished == 1
    assert life.story == ["startup", "response", "shutdown", "end"]


@pytest.mark.parametrize("kind", ["scope", "exception"])
async def test_asgi_l7_report_hypercorn_238_report_granian_772_also_when_serve_is_cancelled(kind, autojump_clock):
    async def work():
        await trio.sleep(2)

    life = Life(after=work)
    with trio.CancelScope() as scope, suppress(BaseExceptionGroup):
        async with trio.open_nursery() as nursery:
            await nursery.start(rr.Listener(asgi(life), bind=MemoryListener()).serve)
            if kind == "exception":
                raise LookupError
            scope.cancel()
    assert (life.story, trio.current_time()) == (["startup", "shutdown", "end"], 2)


async def test_asgi_l7_and_no_longer_than_it_may_take(autojump_clock, caplog):
    life = Life(after=trio.sleep_forever)
    with pytest.raises(ShutdownError, match="within 4 seconds"):
        async with asgi(life, shutdown_timeout=4).lifetime():
            pass
    assert (life.story, trio.current_time()) == (["startup", "shutdown", "end"], 4)
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("more", [{}, {"message": "pool in use"}])
async def test_asgi_l8_a_failed_shut_down_is_told_and_raised(more, autojump_clock, caplog):
    life = Life(replies=("startup.complete", "shutdown.failed"), more=more)
    with pytest.raises(ShutdownError, match=more.get("message", "failed to shut down")):
        await serve_listening(life)
    assert len(loud(caplog)) == 1


async def test_asgi_l8_an_exception_in_it_too(autojump_clock, caplog):
    async def fail():
        raise LookupError

    with pytest.raises(ShutdownError, match="LookupError"):
        await serve_listening(Life(after=fail))
    assert len(loud(caplog)) == 1


async def serve_listening(app):
    """Serves, drains, and gives what serve raises."""
    listener = rr.Listener(asgi(app), bind=MemoryListener())
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve)
            await listener.drain(1)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def test_asgi_l9_an_application_that_ends_by_itself_takes_the_server_with_it(autojump_clock, caplog):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            return await hi(scope, receive, send)
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep(3)
        raise LookupError("its background task has died")

    listener = rr.Listener(asgi(app), bind=MemoryListener())
    with pytest.RaisesGroup(ShutdownError):
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve)
    assert trio.current_time() == 3
    assert [record.exc_info[0] for record in caplog.records] == [LookupError]


async def test_asgi_l10_report_hypercorn_28_a_start_up_has_its_time(autojump_clock):
    life = Life(trio.sleep_forever)
    with pytest.raises(StartupError, match="within 60 seconds"):
        await serve_until_ready(life)
    assert (life.story, trio.current_time()) == (["startup", "end"], 60)


@pytest.mark.parametrize(
    "kind", ["lifespan.nonsense", "lifespan.shutdown.complete", "lifespan.shutdown.failed", "http.response.start"]
)
async def test_asgi_l11_a_message_that_does_not_come_now_is_an_exception(kind, autojump_clock):
    errors = []

    async def app(scope, receive, send):
        await receive()
        try:
            await send({"type": kind})
        except RuntimeError as exc:
            errors.append(str(exc))
        await send({"type": "lifespan.startup.complete"})
        with pytest.raises(RuntimeError):
            await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    await serve_until_ready(app)
    assert errors == [f"{kind!r} cannot be sent now"]


async def test_asgi_l13_two_listeners_of_one_application_start_it_once(autojump_clock):
    async def slow():
        await trio.sleep(1)

    life = Life(slow)
    app = asgi(life)
    first, second = (rr.Listener(app, bind=MemoryListener()) for _ in range(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.serve)
        await nursery.start(second.serve)
        await trio.sleep(1)
        assert life.story == ["startup"]
        await first.drain(1)
        await trio.sleep(1)
        assert life.story == ["startup"], "the other one serves yet"
        await second.drain(1)
    assert life.story == ["startup", "shutdown", "end"]


async def test_asgi_l13_and_again_when_it_is_served_again(autojump_clock):
    life = Life()
    app = asgi(life)
    for _ in range(2):
        async with open_server(app):
            pass
    assert life.story == ["startup", "shutdown", "end"] * 2


async def test_asgi_l14_a_drain_during_the_start_up_ends_it(autojump_clock):
    life = Life(trio.sleep_forever)
    listener = rr.Listener(asgi(life), bind=MemoryListener())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve)
        await trio.sleep(3)
        await listener.drain(10)
    assert (life.story, trio.current_time(), listener.status) == (["startup", "end"], 3, "closed")


async def test_a_connection_by_itself_has_the_life_of_its_application_around_it(autojump_clock):
    life = Life()
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    await rr.serve_connection(theirs, asgi(life))
    assert life.story == ["startup", "request", "shutdown", "end"]


async def test_applications_in_a_router_live_as_long_as_it_is_served(autojump_clock):
    one, two = Life(), Life()
    app = asgi(two)

    async def hello(request):
        return rr.Response("native")

    router = Router([Mount("/one", asgi(one)), Mount("/two", app), Mount("/too", app), Route("/", hello)])
    async with open_house(router) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"native")
    for life in (one, two):
        assert life.story == ["startup", "shutdown", "end"]


@pytest.mark.parametrize("middle", ["startup", "shutdown"])
async def test_a_cancellation_in_the_middle_of_either_leaves_nothing_running(middle, autojump_clock):
    life = Life(trio.sleep_forever if middle == "startup" else None, trio.sleep_forever)
    with trio.move_on_after(3) as scope:
        async with asgi(life, shutdown_timeout=5).lifetime():
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert life.story[-1] == "end"


PROGRAM = """
import sys
import trio
import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi

async def app(scope, receive, send):
    kind = sys.argv[1]
    await receive()
    if kind == "failed":
        return await send({"type": "lifespan.startup.failed", "message": "no database"})
    if kind == "slow":
        print("starting", flush=True)
        await trio.sleep_forever()
    await send({"type": "lifespan.startup.complete"})
    print("started", flush=True)
    if kind == "died":
        raise LookupError
    await receive()
    print("shutdown", flush=True)
    await send({"type": "lifespan.shutdown." + kind})

rr.run(asgi(app), "127.0.0.1:0", log=False)
"""


@pytest.mark.parametrize(
    ("kind", "code", "out", "said"),
    [
        ("failed", 1, ["started", "shutdown"], "failed to shut down"),
        ("complete", 0, ["started", "shutdown"], ""),
        ("slow", 0, ["starting"], ""),
        ("died", 1, ["started"], "ended by itself"),
    ],
)
def test_asgi_l3_l7_l8_l9_l14_what_the_process_says(kind, code, out, said, tmp_path):
    script = tmp_path / "script.py"
    program = PROGRAM if kind != "failed" else PROGRAM.replace('kind == "failed"', "False")
    script.write_text(textwrap.dedent(program))
    with subprocess.Popen(
        [sys.executable, str(script), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if kind != "died":
            process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=30)
    assert ((first + rest).split(), process.returncode) == (out, code), errors
    assert said in errors


def test_asgi_l3_a_failed_start_up_is_exit_3_with_the_message(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), "failed"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 3
    assert "no database" in done.stderr
