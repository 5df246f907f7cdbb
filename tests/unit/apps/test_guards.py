"""Fields that guard pages, and requests that pages of others make."""

from __future__ import annotations

import math

import pytest
from story_tools import open_house, post

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.guards import CSRF, SecurityHeaders
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.testing import open_server

NAMES = ("x-content-type-options", "x-frame-options", "referrer-policy", "strict-transport-security")


async def hello(request):
    return rr.Response("hello")


async def framed(request):
    return rr.Response("hello", fields={"X-Frame-Options": "DENY"})


async def crash(request):
    raise KeyError


async def asked(rules, target="/", scheme="http"):
    async def secure(request, call_next):
        request.scheme = scheme
        return await call_next(request)

    router = Router([Route("/", hello), Route("/framed", framed), Route("/crash", crash)])
    async with open_server(router, middlewares=[secure, rules]) as server:
        response = await server.client().get(target)
        return {name: response.header(name) for name in NAMES if response.header(name) is not None}


USUAL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
}


async def test_every_response_has_them_once_and_the_handlers_go_first(caplog):
    for target in ("/", "/nothing", "/crash"):
        assert await asked(SecurityHeaders(), target) == USUAL
    assert await asked(SecurityHeaders(), "/framed") == {**USUAL, "x-frame-options": "DENY"}


async def test_those_of_the_server_itself_too():
    async with open_house(hello, middlewares=[SecurityHeaders()], limits=rr.Limits(max_body=5)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 6", body=b"123456"))
        assert b"413 Content Too Large" in (heard := await peer.end())
    assert b"x-content-type-options: nosniff" in heard


async def test_over_https_alone_they_are_to_stay_there():
    rules = SecurityHeaders(hsts="8760h")
    assert "strict-transport-security" not in await asked(rules)
    assert (await asked(rules, scheme="https"))["strict-transport-security"] == "max-age=31536000"
    never = SecurityHeaders(hsts=0)
    assert (await asked(never, scheme="https"))["strict-transport-security"] == "max-age=0"  # RFC 6797 section 6.1.1


async def test_what_is_wished_for():
    rules = SecurityHeaders(
        frame=None, referrer=None, csp="default-src 'self'", permissions="camera=()", opener="same-origin"
    )
    async with open_server(hello, middlewares=[rules]) as server:
        response = await server.client().get("/")
    assert response.header("x-frame-options") is response.header("referrer-policy") is None
    assert response.header("content-security-policy") == "default-src 'self'"
    assert response.header("permissions-policy") == "camera=()"
    assert response.header("cross-origin-opener-policy") == "same-origin"
    for wrong in ({"frame": "ALLOW"}, {"csp": "a\r\nb"}, {"hsts": -1}):
        with pytest.raises(ValueError):
            SecurityHeaders(**wrong)


async def app(scope, receive, send):
    headers = [(b"x-frame-options", b"DENY")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x"})


async def test_an_application_of_asgi():
    router = Router([Mount("/", asgi(app, lifespan="off"), middlewares=[SecurityHeaders()])])
    async with open_server(router) as server:
        response = await server.client().get("/")
    assert [value for name, value in response.fields if name == b"x-frame-options"] == [b"DENY"]
    assert response.header("referrer-policy") is not None


# CSRF


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "rubbish"}, 403),
        ({"sec-fetch-site": ""}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": "https://login.example.org"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": "https://test"}, 403),
        ({"origin": "http://test"}, 200),
        ({"origin": "https://test"}, 200),
        ({"origin": "http://TEST"}, 200),
        ({"origin": "http://test:81"}, 403),
        ({"origin": "http://test.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://login.example.org"}, 200),
        ({"origin": "https://login.example.org.evil.example"}, 403),
    ],
)
async def test_who_may_change_something(fields, status):
    async with open_server(hello, middlewares=[CSRF(["https://login.example.org"])]) as server:
        for method in ("POST", "PUT", "PATCH", "DELETE", "ANY"):
            assert (await server.client().request(method, "/", fields=fields)).status == status
        for method in ("GET", "HEAD"):
            assert (await server.client().request(method, "/", fields=fields)).status == 200


async def test_two_origins_are_none():
    async with open_server(hello, middlewares=[CSRF()]) as server:
        fields = [("origin", "http://test"), ("origin", "https://evil.example")]
        assert (await server.client().request("POST", "/", fields=fields)).status == 403


async def test_what_is_no_origin_is_refused():
    async with open_server(hello, middlewares=[CSRF()]) as server:
        for origin in ("http://[", "null", "", "//", "http://[::1"):
            assert (await server.client().post("/", fields={"origin": origin})).status == 403, origin


async def test_the_body_is_not_asked_for():
    async with open_house(hello, middlewares=[CSRF()]) as house:
        peer = house.peer()
        await peer.say(post(b"Sec-Fetch-Site: cross-site", b"Content-Length: 5", b"Expect: 100-continue"))
        heard = peer.take()
    assert b"403 Forbidden" in heard
    assert b"100 Continue" not in heard


@pytest.mark.parametrize("hsts", [math.inf, "none"])
def test_nothing_is_said_for_ever(hsts):
    with pytest.raises(ValueError, match="finite"):
        SecurityHeaders(hsts=hsts)


def test_what_cannot_be_trusted():
    for wrong in ("https://example.org", ["example.org"], ["https://example.org/"], ["*"]):
        with pytest.raises(ValueError):
            CSRF(wrong)
