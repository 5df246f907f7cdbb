"""Applications below a router, with middlewares around them."""

from __future__ import annotations

import pytest
import trio
from asgi_tools import KINDS, Notes, body, hi, start
from story_tools import GET, answer, loud, open_house, post
from websocket_tools import TEXT, closed, frame, handshake, said, switched

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.router import Group, Route, Router


def get(target):
    return b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target


async def native(request):
    return rr.Response(b"native")


@pytest.mark.parametrize(
    ("target", "root_path", "path"),
    [
        (b"/api", "/api", "/api"),
        (b"/api/", "/api", "/api/"),
        (b"/api/x%20y?q", "/api", "/api/x y"),
        (b"/v1/de/x", "/v1/de", "/v1/de/x"),
    ],
)
@pytest.mark.parametrize("own", ["", "/outer"])
async def test_report_litestar_3039_the_prefix_is_the_root_path(target, root_path, path, own, autojump_clock):
    notes = Notes()
    app = asgi(notes, lifespan="off", root_path=own)
    router = Router([Mount("/api", app), Group("/v1", [Mount("/:lang", app)]), Route("/native", native)])
    async with open_house(router) as house:
        peer = house.peer()
        await peer.say(get(target) + get(b"/native"))
        assert peer.take() == answer(b"hi") + answer(b"native")
    assert (notes.scope["root_path"], notes.scope["path"]) == (own + root_path, own + path)
    assert notes.scope["raw_path"] == own.encode() + target.partition(b"?")[0]


async def test_all_that_is_left_over_may_be_an_applications(autojump_clock):
    notes = Notes()
    router = Router([Route("/native", native), Mount("/", asgi(notes, lifespan="off"))])
    async with open_house(router) as house:
        peer = house.peer()
        for target in (b"/", b"/a/b", b"/native"):
            await peer.say(get(target))
        assert peer.take() == answer(b"hi") * 2 + answer(b"native")
    assert [scope["root_path"] for scope in notes.scopes] == ["", ""]


async def stamp(request, call_next):
    response = await call_next(request)
    response.fields.append((b"x-stamp", b"1"))
    return response


@pytest.mark.parametrize("more", [False, True])
async def test_middlewares_are_around_it(more, autojump_clock):
    async def app(scope, receive, send):
        await send(start(201))
        await send(body(b"hi", more_body=more))
        if more:
            await send(body())

    async with open_house(Router([Mount("/", asgi(app, lifespan="off"))]), middlewares=[stamp]) as house:
        peer = house.peer()
        await peer.say(GET)
        response = peer.take()
    assert response.startswith(b"HTTP/1.1 201 Created\r\ndate: D\r\nx-stamp: 1\r\n")


async def test_a_middleware_may_answer_in_its_place(autojump_clock):
    async def closed_today(request, call_next):
        return rr.Response(b"closed", status=503)

    notes = Notes()
    router = Router([Mount("/", asgi(notes, lifespan="off"), middlewares=[closed_today])])
    async with open_house(router) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"closed", status=b"503 Service Unavailable")
    assert notes.scopes == []


async def test_bodies_are_streamed_to_it_whatever_the_listener_does(autojump_clock):
    async def app(scope, receive, send):
        event = await receive()
        await send(start())
        await send(body(b"%d %d" % (len(event["body"]), event["more_body"])))

    router = Router([Mount("/", asgi(app, lifespan="off", max_body=10))])
    async with open_house(router, limits=rr.Limits(max_body=1)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 9", body=b"abc"))
        assert peer.take() == answer(b"3 1")
        await peer.say(b"defghi" + post(b"Content-Length: 11"))
        assert b"413 Content Too Large" in await peer.end()


@pytest.mark.parametrize("kind", KINDS)
async def test_websockets_go_through_a_mount_and_its_middlewares(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        if scope["path"] == "/ws/no":
            return await send({"type": "websocket.close"})
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{scope['root_path']} {scope['path']}"})
        await receive()
        await receive()
        return None

    async with open_house(Router([Mount("/ws", asgi(app, lifespan="off"))]), tcp=True, middlewares=[stamp]) as house:
        peer = house.meet(kind)
        await peer.say(handshake(target=b"/ws/x"))
        await peer.say(frame(TEXT, "a"))
        await trio.sleep(1)
        assert peer.take() == switched(b"x-stamp: 1") + said(TEXT, "/ws /ws/x") + closed(1000)
        peer = house.meet(kind)
        await peer.say(handshake(target=b"/ws/no"))
        assert b"x-stamp: 1\r\n" in await peer.until(b"\r\n\r\n")
    assert loud(caplog) == []


async def test_an_application_is_an_app_inside_of_another(autojump_clock):
    inner = asgi(hi, lifespan="off", max_body=3)

    class Outer:
        def plan(self, request):
            return inner.plan(request)

        async def __call__(self, exchange):
            await inner(exchange)

    async with open_house(Outer()) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi")


async def test_the_handlers_time_is_the_listeners(autojump_clock):
    async def app(scope, receive, send):
        await trio.sleep_forever()

    async with open_house(asgi(app, lifespan="off"), timeouts=rr.Timeouts(handler=4)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert b"503 Service Unavailable" in await peer.end()
        assert peer.ended_at == 4


def test_routes_that_are_listed_say_whose_application_it_is():
    router = Router([Mount("/api", asgi(Notes(), lifespan="off")), Mount("/hi", asgi(hi, lifespan="off"))])
    shown = {repr(endpoint.route.handler) for endpoint in router.endpoints if endpoint.route}
    assert shown == {"<ASGI application Notes>", "<ASGI application hi>"}
