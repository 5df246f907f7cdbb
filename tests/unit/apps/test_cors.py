"""Who may ask and read: every answer of the server, and nothing for those who were not named."""

from __future__ import annotations

import re

import pytest
import trio
from socket_tools import Peer, serving
from story_tools import GET, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.cors import CORS
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.testing import open_server

OURS = "https://example.org"
RULES = CORS([OURS, "http://localhost:3000"], credentials=True, expose=["X-Total"], fields=["X-Token"])


async def hello(request):
    return rr.Response("hello", fields={"vary": "accept"})


async def crash(request):
    raise KeyError


async def no(request):
    raise rr.HTTPError(401)


ROUTES = [Route("/", hello, methods=["GET", "POST"]), Route("/crash", crash), Route("/no", no)]


async def asked(rules=RULES, origin=OURS, method="GET", target="/", fields=(), handler=None):
    async with open_server(handler or Router(ROUTES), middlewares=[rules]) as server:
        given = [("origin", origin)] if origin is not None else []
        return await server.client().request(method, target, fields=[*given, *fields])


def preflight(rules=RULES, origin=OURS, method="PUT", target="/", fields=(), **settings):
    asks = [("access-control-request-method", method), *fields]
    return asked(rules, origin, "OPTIONS", target, asks, **settings)


async def test_a_page_that_was_named_may_read():
    response = await asked()
    assert (response.status, response.text) == (200, "hello")
    assert response.header("access-control-allow-origin") == OURS
    assert response.header("access-control-allow-credentials") == "true"
    assert response.header("access-control-expose-headers") == "x-total"
    assert [value for name, value in response.fields if name == b"vary"] == [b"accept, origin"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evilexample.org",
        "https://example.org.evil.example",
        "https://example.org:8443",
        "http://example.org",
        "https://EXAMPLE.org",
        "https://sub.example.org",
        "https://example.org/",
        "https://example.org, https://evil.example",
        "null",
        "",
        None,
    ],
)
async def test_whoever_was_not_named_may_not(origin):
    for response in (await asked(origin=origin), await preflight(origin=origin)):
        assert not [name for name, _ in response.fields if name.startswith(b"access-control")]
        if origin is not None or response.status == 200:
            assert "origin" in response.header("vary")
    if origin is not None:
        assert (await preflight(origin=origin)).status == 403


async def test_two_origins_are_none():
    response = await asked(fields=[("origin", OURS)])
    assert response.header("access-control-allow-origin") is None


async def test_a_preflight_is_answered_before_anybody_else_is_asked():
    @rr.early
    async def locked(request):
        return rr.Response(status=401)

    for target in ("/", "/nothing", "/crash"):
        async with open_server(Router(ROUTES), middlewares=[RULES, locked]) as server:
            fields = {"origin": OURS, "access-control-request-method": "PUT"}
            response = await server.client().request("OPTIONS", target, fields=fields)
        assert (response.status, response.body) == (204, b"")
        assert response.header("access-control-allow-methods") == "GET, HEAD, POST, PUT, PATCH, DELETE"
        assert response.header("access-control-allow-headers") == "x-token"
        assert response.header("access-control-max-age") == "600"
        assert response.header("vary") == "origin, access-control-request-method, access-control-request-headers"


async def test_options_that_is_no_preflight_goes_on():
    response = await asked(method="OPTIONS")
    assert (response.status, response.header("allow")) == (204, "GET, HEAD, OPTIONS, POST")
    assert response.header("access-control-allow-origin") == OURS
    assert (await preflight(origin=None)).header("allow") is not None


@pytest.mark.parametrize(("target", "status"), [("/nothing", 404), ("/crash", 500), ("/no", 401)])
@pytest.mark.parametrize("where", ["listener", "router"])
async def test_errors_can_be_read_too(target, status, where, caplog):
    outer, inner = ([RULES], []) if where == "listener" else ([], [RULES])
    async with open_server(Router(ROUTES, middlewares=inner), middlewares=outer) as server:
        response = await server.client().request("GET", target, fields={"origin": OURS})
    assert response.status == status
    found = [value for name, value in response.fields if name == b"access-control-allow-origin"]
    assert found == [OURS.encode()]


async def test_405_413_and_503_can_be_read_too(autojump_clock):
    async def slow(request):
        await trio.sleep(100)

    origin = f"Origin: {OURS}".encode()
    allowed = b"\r\naccess-control-allow-origin: " + OURS.encode() + b"\r\n"
    get = GET.replace(b"\r\n\r\n", b"\r\n" + origin + b"\r\n\r\n")
    cases = {
        b"405 ": ({}, get.replace(b"GET", b"DELETE")),
        b"413 ": ({"limits": rr.Limits(max_body=5)}, post(origin, b"Content-Length: 6", body=b"123456")),
        b"503 ": ({"timeouts": rr.Timeouts(handler=5)}, get.replace(b"/ ", b"/slow ")),
    }
    for status, (settings, data) in cases.items():
        router = Router([*ROUTES, Route("/slow", slow)])
        async with open_house(router, middlewares=[RULES], **settings) as house:
            peer = house.peer()
            await peer.say(data)
            await trio.sleep(10)
            heard = peer.take()
        assert b"HTTP/1.1 " + status in heard
        assert heard.count(allowed) == heard.count(b"HTTP/1.1 ")


async def test_429_can_be_read_too():
    async with serving(hello, middlewares=[RULES], rate_limit=rr.RateLimit(1, period=1000)) as listener:
        with await Peer.connect(listener.port) as peer:
            for status in (200, 429):
                answer = await peer.get(fields=f"Origin: {OURS}\r\n")
                assert (answer.status, answer.header("access-control-allow-origin")) == (status, OURS)


# Who may be named


async def test_everybody():
    rules = CORS("*")
    for origin in (OURS, "null", "https://evil.example"):
        response = await asked(rules, origin)
        assert response.header("access-control-allow-origin") == "*"
        assert response.header("vary") == "accept"
    assert (await asked(rules, None)).header("access-control-allow-origin") is None


async def test_a_pattern_matches_the_whole_origin():
    rules = CORS(re.compile(r"https://[a-z]+\.example\.org"))
    assert (await asked(rules, "https://app.example.org")).header("access-control-allow-origin") is not None
    for origin in ("https://app.example.org.evil.example", "https://example.org", "xhttps://app.example.org"):
        assert (await asked(rules, origin)).header("access-control-allow-origin") is None


async def test_what_a_preflight_says_need_not_be_remembered():
    assert (await preflight(CORS([OURS], max_age=0))).header("access-control-max-age") == "0"


async def test_a_pattern_of_anything_is_not_one_of_null():
    rules = CORS(re.compile(".*"), credentials=True)
    assert (await asked(rules, "null")).header("access-control-allow-origin") is None


async def test_a_function():
    rules = CORS(lambda origin: origin.endswith("//example.org") or origin == "null")
    assert (await asked(rules)).header("access-control-allow-origin") == OURS
    assert (await asked(rules, "null")).header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("origins", "settings", "complaint"),
    [
        ("https://example.org", {}, r"write \['https://example.org'\]"),
        (["https://example.org/"], {}, "no origin"),
        (["https://example.org/x"], {}, "no origin"),
        (["example.org"], {}, "no origin"),
        (["https://Example.org"], {}, "no origin"),
        (["https://example.org:443"], {}, "no origin"),
        (["http://example.org:80"], {}, "no origin"),
        (["https://*.example.org"], {}, "no origin"),
        (["https://a@example.org"], {}, "no origin"),
        (["null"], {}, "anybody's"),
        (re.compile(b".*"), {}, "text"),
        ([OURS], {"max_age": float("inf")}, "finite"),
        (["*"], {}, "origins='\\*'"),
        ("*", {"credentials": True}, "name the origins"),
        ([OURS], {"methods": "GET"}, "methods is a list"),
        ([OURS], {"fields": ["a b"]}, "no name"),
        ([OURS], {"fields": "x-a"}, "fields is a list"),
    ],
)
def test_what_nobody_means(origins, settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        CORS(origins, **settings)


async def test_any_field_is_echoed():
    asks = [
        ("access-control-request-headers", "X-One, authorization"),
        ("access-control-request-headers", "b@d, x-two"),
    ]
    response = await preflight(CORS([OURS], fields="*"), fields=asks)
    assert response.header("access-control-allow-headers") == "x-one, authorization, x-two"
    assert (await preflight(CORS([OURS]), fields=asks)).header("access-control-allow-headers") is None


async def test_private_networks():
    asks = [("access-control-request-private-network", "true")]
    name = "access-control-allow-private-network"
    assert (await preflight(CORS([OURS], private_network=True), fields=asks)).header(name) == "true"
    assert (await preflight(CORS([OURS], private_network=True))).header(name) is None
    assert (await preflight(CORS([OURS]), fields=asks)).header(name) is None


async def app(scope, receive, send):
    headers = [(b"vary", b"cookie")]
    if scope["path"] == "/own":
        headers.append((b"access-control-allow-origin", b"https://own.example"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"asgi"})


async def test_an_application_of_asgi():
    router = Router([Mount("/", asgi(app, lifespan="off"))])
    response = await asked(handler=router)
    assert (response.text, response.header("access-control-allow-origin")) == ("asgi", OURS)
    assert [value for name, value in response.fields if name == b"vary"] == [b"cookie, origin"]
    response = await asked(handler=router, target="/own")
    found = [value for name, value in response.fields if name == b"access-control-allow-origin"]
    assert found == [b"https://own.example"]
    assert (await preflight(handler=router)).status == 204


async def test_streams_and_what_the_handler_has_said_itself():
    async def produce(send):
        await send(b"x")

    async def handler(request):
        return rr.StreamResponse(produce, fields={"access-control-allow-origin": "https://own.example"})

    response = await asked(handler=handler)
    found = [value for name, value in response.fields if name == b"access-control-allow-origin"]
    assert found == [b"https://own.example"]
