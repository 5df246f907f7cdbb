"""A connection goes on while an application still works after its response."""

from __future__ import annotations

import contextvars
import ssl
import sys

import pytest
import trio
import trio.lowlevel
import trustme
from asgi_tools import body, http, start
from story_tools import loud, open_house

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.router import Router
from roadrunner_trio.server.afterwards import TURNS
from roadrunner_trio.server.carrier import LATELY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only where a poller tells that a request has come")

NAME = contextvars.ContextVar("NAME", default="nobody")


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: x", *fields, "", ""]).encode()


class Slow:
    """Answers with its path, and works on for some seconds if that begins with ``/slow``; notes when it was done."""

    def __init__(self, seconds: float = 3.0, after=None):
        self.seconds, self.after, self.done, self.cut = seconds, after, [], []

    async def __call__(self, scope, receive, send):
        path = scope["path"]
        await send(start(200, (b"content-type", b"text/plain")))
        await send(body(path.encode()))
        if path.startswith("/slow"):
            try:
                await trio.sleep(self.seconds)
                if self.after is not None:
                    await self.after(scope, receive, send)
                self.done.append((path, trio.current_time()))
            except trio.Cancelled:
                self.cut.append((path, trio.current_time()))
                raise


def hosted(app, **settings):
    return open_house(asgi(http(app), lifespan="off"), tcp=True, **settings)


def bodies(heard: bytes) -> list[str]:
    return [part.split(b"HTTP/1.1")[0].decode() for part in heard.split(b"\r\n\r\n")[1:]]


async def test_the_next_request_is_answered_at_once(autojump_clock, caplog):
    app = Slow()
    async with hosted(app) as house:
        peer = house.tcp_peer()
        for path in ("/slow/1", "/slow/2", "/3"):
            await peer.say(get(path))
        assert (bodies(peer.take()), peer.times[-1]) == (["/slow/1", "/slow/2", "/3"], 0)
        assert house.phases() == ["in the handler", "in the handler", "idle"]
        assert [conn.requests for conn in house.listener.connections()] == [1, 2, 3]
        await trio.sleep(5)
        assert sorted(app.done) == [("/slow/1", 3), ("/slow/2", 3)]
        assert (house.phases(), house.listener.info().accepted) == (["idle"], 1)
        await peer.say(get("/4"))
        assert bodies(peer.take()) == ["/4"]
        await peer.close()
        assert house.watch.only("close").requests == 4
    assert loud(caplog) == []


async def test_requests_that_were_sent_together_are_answered_in_order_and_at_once(autojump_clock):
    app = Slow()
    async with hosted(app) as house:
        peer = house.tcp_peer()
        paths = ["/slow/1", "/2", "/slow/3", "/slow/4", "/5"]
        await peer.say(b"".join(map(get, paths)))
        assert (bodies(peer.take()), peer.times[-1]) == (paths, 0)
        await trio.sleep(5)
        assert sorted(app.done) == [("/slow/1", 3), ("/slow/3", 3), ("/slow/4", 3)]


async def test_what_came_while_it_was_not_answered_yet_does_not_wait_either(autojump_clock):
    async def app(scope, receive, send):
        await trio.sleep(1)
        await send(start())
        await send(body(scope["path"].encode()))
        await trio.sleep(3)

    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/1"))
        await peer.say(get("/2"))
        await trio.sleep(2.5)
        assert (bodies(peer.take()), peer.times) == (["/1", "/2"], [1, 2])


async def test_somebody_who_waited_for_the_peer_is_no_reason_to_wait(autojump_clock):
    async def app(scope, receive, send):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)
            await trio.lowlevel.checkpoint()
            await send(start())
            await send(body(scope["path"].encode()))
            await trio.sleep(3)

    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/1") + get("/2"))
        assert (bodies(peer.take()), peer.times[-1]) == (["/1", "/2"], 0)
        await trio.sleep(5)


async def test_a_post_whose_body_was_read_goes_on_and_one_that_was_not_waits(autojump_clock):
    async def app(scope, receive, send):
        if scope["path"] == "/read":
            while (await receive())["more_body"]:
                pass
        await send(start())
        await send(body(scope["path"].encode()))
        await trio.sleep(3)

    async with hosted(app) as house:
        for path, at in ("/read", 0), ("/unread", 7.5 + 3):
            peer = house.tcp_peer()
            await peer.say(get(path, "content-length: 4") + b"1234" + get("/next"))
            await trio.sleep(3.5)
            assert (bodies(peer.heard), peer.times[-1]) == ([path, "/next"], at)
            await trio.sleep(4)


async def test_over_tls_too(autojump_clock, authority_contexts):
    server, client = authority_contexts
    app = Slow()
    async with open_house(asgi(http(app), lifespan="off"), tcp=True, tls=server) as house:
        stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        peer = trio.SSLStream(stream, client, server_hostname="localhost")
        for path in ("/slow/1", "/slow/2", "/3"):
            await peer.send_all(get(path))
            assert (await peer.receive_some()).endswith(path.encode())
        assert trio.current_time() < 1
        await trio.sleep(5)
        assert len(app.done) == 2
        await peer.aclose()


@pytest.fixture(scope="module")
def authority_contexts():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


# -- ends ------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_it(autojump_clock):
    app = Slow()
    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/2"))
        outcome = await house.listener.drain(10)
        assert (app.done, trio.current_time()) == ([("/slow/1", 3)], 3)
        assert (outcome.cut, outcome.stuck) == (0, 0)
        assert peer.ended_at == LATELY


async def test_the_deadline_of_a_drain_cuts_it(autojump_clock):
    app = Slow(100)
    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/2"))
        outcome = await house.listener.drain(5)
        assert (app.cut, outcome.cut, outcome.finished, outcome.stuck) == ([("/slow/1", 5)], 1, 1, 0)


async def test_the_peer_may_leave_meanwhile(autojump_clock, caplog):
    app = Slow()
    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/slow/2"))
        await peer.close()
        await trio.sleep(5)
        assert sorted(app.done) == [("/slow/1", 3), ("/slow/2", 3)]
        assert house.active == 0
    assert loud(caplog) == []


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_peer_that_wants_the_end_sees_it_at_once(version, autojump_clock):
    """starlette#919: one that reads until the end would wait for the background task."""
    app = Slow()
    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1", "connection: close").replace(b"1.1", version.encode()))
        assert (bodies(peer.take()), peer.ended_at) == (["/slow/1"], 0)
        await peer.close()
        await trio.sleep(5)
        assert app.done == [("/slow/1", 3)]
        assert house.active == 0


async def test_it_may_fail_and_the_connection_goes_on(autojump_clock, caplog):
    async def fail(scope, receive, send):
        raise LookupError("late")

    app = Slow(after=fail)
    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/2"))
        await trio.sleep(4)
        await peer.say(get("/3"))
        assert bodies(peer.take()) == ["/slow/1", "/2", "/3"]
        assert peer.ended_at is None
    assert len(loud(caplog)) == 1
    assert "LookupError" in caplog.text


async def test_a_stream_of_its_own_that_breaks_is_an_error_of_its_own(autojump_clock, caplog):
    async def fail(scope, receive, send):
        raise trio.BrokenResourceError("the database")

    async with hosted(Slow(after=fail)) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/2"))
        await trio.sleep(4)
        assert house.listener.info().failed == 1


async def test_what_it_sends_late_goes_nowhere(autojump_clock, caplog):
    events = []

    async def late(scope, receive, send):
        events.append(await receive())
        await send(start())
        await send(body(b"stray"))

    async with hosted(Slow(after=late)) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/2"))
        await trio.sleep(4)
        await peer.say(get("/3"))
        assert bodies(peer.take()) == ["/slow/1", "/2", "/3"]
    assert events == [{"type": "http.disconnect"}]


# -- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [rr.Limits(max_connections=2), rr.Limits(max_connections=9, max_connections_per_peer=2)]
)
async def test_it_has_a_place_and_where_there_is_none_the_request_waits(limits, autojump_clock):
    app = Slow()
    async with hosted(app, limits=limits) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/slow/2"))
        await peer.say(get("/3"))
        assert (bodies(peer.take()), house.active) == (["/slow/1", "/slow/2"], 2)
        await trio.sleep(4)
        assert (bodies(peer.take()), peer.times[-1]) == (["/3"], 3)


async def test_the_time_of_a_handler_is_until_its_response_is_complete(autojump_clock):
    app = Slow(10)
    async with hosted(app, timeouts=rr.Timeouts(handler=2)) as house:
        for path in ("/slow/1", "/slow/2"):
            peer = house.tcp_peer()
            await peer.say(get(path))
        await peer.say(get("/3"))
        await trio.sleep(11)
        assert sorted(app.done) == [("/slow/1", 10), ("/slow/2", 10)]


async def test_a_gate_counts_it(autojump_clock):
    async with hosted(Slow(), limits=rr.Limits(max_concurrent_requests=1)) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/2"))
        assert b"HTTP/1.1 503" in peer.take()
        await trio.sleep(4)
        await peer.say(get("/3"))
        assert b"HTTP/1.1 200" in peer.take()


async def test_context_variables_stay_with_who_set_them(autojump_clock):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["path"], NAME.get()))
        NAME.set(scope["path"])
        await send(start())
        await send(body())
        await trio.sleep(2)
        seen.append((scope["path"], NAME.get()))

    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/1"))
        await peer.say(get("/2"))
        await trio.sleep(3)
    assert sorted(seen) == [("/1", "/1"), ("/1", "nobody"), ("/2", "/2"), ("/2", "nobody")]


async def test_below_a_router_and_beside_native_handlers(autojump_clock):
    async def native(request):
        return rr.Response.text("native")

    app = Slow()
    router = Router([rr.apps.router.Route("/native", native), Mount("/", asgi(http(app), lifespan="off"))])
    async with open_house(router, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(get("/slow/1"))
        await peer.say(get("/native") + get("/slow/2") + get("/native"))
        assert (bodies(peer.take()), peer.times[-1]) == (["/slow/1", "native", "/slow/2", "native"], 0)
        await trio.sleep(4)
        assert len(app.done) == 2


async def test_who_returns_with_the_response_opens_no_task(autojump_clock):
    app = Slow()
    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/1") + get("/2") + get("/3"))
        await peer.say(get("/4"))
        [conn] = house.listener.connections()
        task = conn.task
        await peer.say(get("/5"))
        assert [conn.task for conn in house.listener.connections()] == [task]
        assert len(bodies(peer.take())) == 5


async def test_who_needs_some_steps_more_is_waited_for(autojump_clock):
    """As middlewares do that have ended a task of their own: another task would cost more."""

    async def app(scope, receive, send):
        await send(start())
        await send(body(scope["path"].encode()))
        for _ in range(TURNS // 2):
            await trio.lowlevel.checkpoint()

    async with hosted(app) as house:
        peer = house.tcp_peer()
        await peer.say(get("/1") + get("/2"))
        [conn] = house.listener.connections()
        task = conn.task
        peer.slip(get("/3") + get("/4"))
        await trio.testing.wait_all_tasks_blocked()
        peer.slip(get("/5"))
        await peer.say(b"")
        assert bodies(peer.take()) == ["/1", "/2", "/3", "/4", "/5"]
        assert [conn.task for conn in house.listener.connections()] == [task]
