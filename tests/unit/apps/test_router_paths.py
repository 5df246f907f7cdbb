"""A path is matched as it was sent: who stands in front of a router, and judges by the path, judges what is served."""

from __future__ import annotations

import pytest

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Group, Route, Router
from roadrunner_trio.testing import open_server


def saying(name):
    async def say(request):
        bound = "".join(f" {key}={value}" for key, value in request.bindings.items())
        return rr.Response.text(name + bound)

    return say


async def ask(app, target, method="GET"):
    """Status, and text or location."""
    async with open_server(app) as server:
        response = await server.client().request(method, target)
    return response.status, response.header("location") or response.text


ADMIN = [
    Route("/", saying("root")),
    Route("/admin/users", saying("users")),
    Route("/admin/:page", saying("page")),
    Route("/docs/", saying("docs")),
    Group(
        "/files/", [Route("/", saying("files")), Route("/:name", saying("file")), Route("/all/*path", saying("all"))]
    ),
    Route("/own/*path", saying("own")),
]


@pytest.mark.parametrize(
    "target",
    [
        "//admin/users", "/admin//users", "///admin///users/", "/admin/users/", "/admin/users//", "/.//admin/users",
        "//", "///", "/admin/", "/admin", "/admin/./users", "/%61dmin/users", "/admin%2Fusers", "/Admin/users",
        "/docs", "//docs/", "/docs//", "/files/", "/files//", "//files", "/files//x", "/files/x/", "/file",
        "/files/all//x", "/files/all//", "/files/all/x//y", "/files//all/x", "//files/all/x", "/files/all/x//",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_case_40_what_is_not_written_so_is_another_path(target, method):
    assert (await ask(Router(ADMIN), target, method))[0] == 404


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/", "root"), ("/admin/users", "users"), ("/admin/..", "page page=.."), ("/admin/%2e", "page page=."),
        ("/docs/", "docs"), ("/files", "files"), ("/files/x", "file name=x"), ("/files/x%2Fy", "file name=x/y"),
        ("/files/all/", "all path="), ("/files/all/x/y/", "all path=x/y/"), ("/files/all/../x", "all path=../x"),
        ("/?//", "root"), ("/admin/users?next=//x/", "users"),
    ],
)  # fmt: skip
async def test_what_is_written_so_is_that_path(target, text):
    assert await ask(Router(ADMIN), target) == (200, text)


@pytest.mark.parametrize("target", ["//private", "/private/", "///private", "/private//", "/private"])
async def test_case_40_no_spelling_leads_past_a_middleware_that_looks_at_the_path(target):
    async def guard(request, call_next):
        return rr.Response.text("no", status=403) if request.path == "/private" else await call_next(request)

    for redirect in (False, True):
        app = Router([Route("/private", saying("SECRET"))], middlewares=[guard], redirect_slashes=redirect)
        assert (await ask(app, target))[0] in (403, 404, 308)


async def test_a_slash_at_the_end_of_a_route_is_part_of_it():
    app = Router([Route("/a/", saying("with")), Route("/a", saying("without")), Route("/:x/", saying("one"))])
    assert [await ask(app, target) for target in ("/a/", "/a", "/b/", "/b")] == [
        (200, "with"), (200, "without"), (200, "one x=b"), (404, "Not Found"),
    ]  # fmt: skip
    assert [endpoint.pattern for endpoint in app.endpoints] == ["/a/", "/a", "/:x/"]


# Redirects, where they are asked for


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/admin/users/", "/admin/users"), ("/docs", "/docs/"), ("/files/", "/files"), ("/own", "/own/"),
        ("/files/x/", "/files/x"), ("/admin/users/?a=b&c=%2F", "/admin/users?a=b&c=%2F"), ("/docs?", "/docs/?"),
        ("/docs?next=//evil.example/", "/docs/?next=//evil.example/"), ("/files/%2F/", "/files/%2F"),
        ("/admin/\\evil.example/", "/admin/%5Cevil.example"), ("/admin/a|b/", "/admin/a%7Cb"),
    ],
)  # fmt: skip
async def test_a_path_with_a_slash_too_many_or_too_few_is_led_to_the_routes_own(target, location):
    app = Router(ADMIN, redirect_slashes=True)
    for method in ("GET", "HEAD"):
        assert (await ask(app, target, method)) == (308, location)
    for method in ("POST", "PUT", "OPTIONS", "BREW", "get"):
        assert (await ask(app, target, method))[0] == 404


@pytest.mark.parametrize(
    "target", ["//admin/users/", "//", "/admin//", "/nothing/", "//evil.example/", "/admin/users//"]
)
async def test_nothing_else_is_led_anywhere(target):
    assert (await ask(Router(ADMIN, redirect_slashes=True), target))[0] == 404


async def test_a_host_is_no_place_to_be_led_to():
    app = Router([Route("/:any", saying("any")), Route("/:any/:more", saying("more"))], redirect_slashes=True)
    for target in ("//evil.example/", "//evil.example", "//evil.example/a/", "/"):
        assert (await ask(app, target))[0] == 404
    assert await ask(app, "/\\evil.example/") == (308, "/%5Cevil.example")
    assert await ask(app, "/\\/evil.example/") == (308, "/%5C/evil.example")
    assert await ask(app, "http://elsewhere/a/") == (308, "/a")


async def test_only_to_a_route_that_takes_it():
    app = Router([Route("/a", saying("a"), methods=["POST"]), Route("/b", saying("b"))], redirect_slashes=True)
    assert (await ask(app, "/a/"))[0] == 404
    assert (await ask(app, "/b/", "HEAD"))[0] == 308


async def test_after_a_reload_it_still_does_or_does_not():
    for redirects, status in ((True, 308), (False, 404)):
        app = Router([], redirect_slashes=redirects)
        app.reload([Route("/b", saying("b"))])
        assert (await ask(app, "/b/"))[0] == status


async def test_a_redirect_goes_through_the_middlewares():
    async def stamp(request, call_next):
        response = await call_next(request)
        response.fields.append((b"x-stamp", request.endpoint.pattern.encode()))
        return response

    app = Router([Route("/b", saying("b"))], middlewares=[stamp], redirect_slashes=True)
    async with open_server(app) as server:
        response = await server.client().get("/b/")
    assert (response.status, response.header("x-stamp")) == (308, "")
