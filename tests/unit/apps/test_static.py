"""Files of a folder as a peer sees them; that nothing else is to be seen is in ``test_static_paths``."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest
from story_tools import loud
from stream_tools import descriptors

from roadrunner_trio import Response
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.apps.static import FOREVER, FRESH, Static
from roadrunner_trio.testing import open_server
from roadrunner_trio.transport.beneath import Folder

OLD = 1_700_000_000
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def public(tmp_path):
    public = tmp_path / "public"
    for name in ("index.html", "app.js", "a b.txt", "docs/index.html", "docs/guide.md", "empty/x/y.txt", "été.txt"):
        path = public / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
        os.utime(path, (OLD, OLD))
    return public


@asynccontextmanager
async def client_of(handler):
    async with open_server(handler) as server:
        yield server.client()


def coded(public, name, suffix, *, age=0):
    path = public / (name + suffix)
    path.write_text(f"{suffix} of {name}")
    os.utime(path, (OLD - age, OLD - age))


@pytest.mark.parametrize(
    ("target", "name", "kind"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/index.html", "index.html", "text/html; charset=utf-8"),
        ("/app.js?v=3", "app.js", "text/javascript; charset=utf-8"),
        ("/a%20b.txt", "a b.txt", "text/plain; charset=utf-8"),
        ("/%C3%A9t%C3%A9.txt", "été.txt", "text/plain; charset=utf-8"),
        ("/docs/", "docs/index.html", "text/html; charset=utf-8"),
        ("/docs/guide%2emd", "docs/guide.md", "text/markdown; charset=utf-8"),
    ],
)
async def test_what_is_there_is_sent(public, target, name, kind):
    async with client_of(Static(public)) as client:
        response = await client.get(target)
        assert (response.status, response.text) == (200, f"this is {name}")
        assert response.header("content-type") == kind
        assert response.header("cache-control") == "no-cache"
        assert response.header("x-content-type-options") == "nosniff"
        tag = response.header("etag")
        assert (await client.get(target, fields={"if-none-match": tag})).status == 304
        head = await client.request("HEAD", target)
        assert (head.body, head.header("etag")) == (b"", tag)
        part = await client.get(target, fields={"range": "bytes=0-3"})
        assert (part.status, part.text) == (206, "this")


@pytest.mark.parametrize("target", ["/nothing", "/docs/nothing", "/app.js/", "/app.js/x", "/empty/", "/nothing/", "*"])
async def test_what_is_not_there_is_404(public, target, caplog):
    async with client_of(Static(public)) as client:
        method = "GET" if target != "*" else "OPTIONS"
        response = await client.request(method, target)
        assert response.status == (404 if method == "GET" else 204)
    assert loud(caplog) == []


@pytest.mark.parametrize(
    ("target", "location"),
    [("/docs", "./docs/"), ("/docs?a=b&c", "./docs/?a=b&c"), ("/empty/x", "./x/"), ("/%64ocs", "./%64ocs/")],
)
async def test_a_folder_is_redirected_to_its_slash(public, target, location):
    async with client_of(Static(public)) as client:
        for method in ("GET", "HEAD"):
            response = await client.request(method, target)
            assert (response.status, response.header("location")) == (308, location)


async def test_other_methods(public):
    async with client_of(Static(public)) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH", "get"):
            response = await client.request(method, "/app.js")
            assert (response.status, response.header("allow")) == (405, "GET, HEAD, OPTIONS")
        assert (await client.request("OPTIONS", "/app.js")).status == 204


async def test_below_a_prefix_and_beside_other_routes(public):
    async def hello(request):
        return Response("hello")

    static = Static(public)
    router = Router([Route("/", hello), static.below("/static"), Route("/plain/*rest", static)])
    async with client_of(router) as client:
        assert (await client.get("/")).text == "hello"
        assert (await client.get("/static/app.js")).text == "this is app.js"
        assert (await client.get("/static/docs/")).text == "this is docs/index.html"
        assert (await client.get("/plain/app.js")).text == "this is app.js"
        assert (await client.get("/plain/")).text == "this is index.html"
        response = await client.get("/static")
        assert (response.status, response.header("location")) == (308, "./static/")
        assert (await client.get("/static/")).text == "this is index.html"
        assert (await client.get("/static/docs")).header("location") == "./docs/"
    async with client_of(Router([Route("/api", hello), static.below("/")])) as client:
        assert (await client.get("/api")).text == "hello"
        assert (await client.get("/")).text == "this is index.html"


async def test_index_and_fallback_are_chosen(public):
    async with client_of(Static(public, index=["nothing", "guide.md"])) as client:
        assert (await client.get("/docs/")).text == "this is docs/guide.md"
        assert (await client.get("/")).status == 404
    async with client_of(Static(public, index=())) as client:
        assert (await client.get("/")).status == 404


async def test_an_application_that_routes_in_the_browser_has_a_fallback(public):
    async with client_of(Static(public, fallback="index.html")) as client:
        for target in ("/users/7", "/empty/", "/app.js/x"):
            response = await client.get(target, fields=HTML)
            assert (response.status, response.text) == (200, "this is index.html")
        for fields in ({}, {"accept": "*/*"}, {"accept": "text/html;q=0, */*"}, {"accept": "application/json"}):
            assert (await client.get("/users/7", fields=fields)).status == 404
        assert (await client.get("/../x", fields=HTML)).status == 404
        (public / "index.html").unlink()
        assert (await client.get("/users/7", fields=HTML)).status == 404


# Codings


async def test_what_is_there_in_other_codings_is_sent_to_those_who_accept_them(public):
    for suffix in (".gz", ".br", ".zst"):
        coded(public, "app.js", suffix)
    async with client_of(Static(public)) as client:
        tags = set()
        for accepted, coding, text in (
            ("gzip, deflate, br, zstd", "zstd", ".zst of app.js"),
            ("gzip, br", "br", ".br of app.js"),
            ("gzip;q=1, br;q=0.9", "gzip", ".gz of app.js"),
            ("gzip;q=0", None, "this is app.js"),
            ("identity;q=0, *", "zstd", ".zst of app.js"),
        ):
            response = await client.get("/app.js", fields={"accept-encoding": accepted})
            assert (response.header("content-encoding"), response.text) == (coding, text)
            assert response.header("vary") == "accept-encoding"
            assert response.header("content-type") == "text/javascript; charset=utf-8"
            tags.add((coding, response.header("etag")))
            again = await client.get(
                "/app.js", fields={"accept-encoding": accepted, "if-none-match": response.header("etag")}
            )
            assert (again.status, again.header("vary")) == (304, "accept-encoding")
        assert len({tag for _, tag in tags}) == len({coding for coding, _ in tags}) == 4
        assert (await client.get("/app.js")).header("vary") == "accept-encoding"
        assert (await client.get("/app.js.gz")).header("content-encoding") is None
        part = await client.get("/app.js", fields={"accept-encoding": "br", "range": "bytes=0-2"})
        assert (part.text, part.header("content-encoding")) == (".br", "br")


async def test_what_is_older_than_the_file_is_left_alone(public):
    coded(public, "app.js", ".gz", age=1)
    async with client_of(Static(public)) as client:
        response = await client.get("/app.js", fields={"accept-encoding": "gzip"})
        assert (response.text, response.header("vary")) == ("this is app.js", None)


async def test_it_may_be_wished_for_otherwise(public):
    coded(public, "app.js", ".gz")
    async with client_of(Static(public, precompressed=False)) as client:
        assert (await client.get("/app.js", fields={"accept-encoding": "gzip"})).text == "this is app.js"


async def test_what_comes_and_goes_beside_a_file_is_seen_a_moment_later(public, mock_clock):
    wants = {"accept-encoding": "gzip"}
    async with client_of(Static(public)) as client:
        assert (await client.get("/app.js", fields=wants)).text == "this is app.js"
        coded(public, "app.js", ".gz")
        assert (await client.get("/app.js", fields=wants)).text == "this is app.js"
        mock_clock.jump(FRESH)
        assert (await client.get("/app.js", fields=wants)).text == ".gz of app.js"
        (public / "app.js.gz").unlink()
        assert (await client.get("/app.js", fields=wants)).text == "this is app.js", "at once, for there is no other"
        (public / "app.js").write_text("new")
        assert (await client.get("/app.js", fields=wants)).text == "new"


async def test_who_asks_again_within_a_second_is_answered_without_a_look(public, mock_clock, monkeypatch):
    opened = []
    real = Folder.open
    monkeypatch.setattr(Folder, "open", lambda self, path: opened.append(path) or real(self, path))
    async with client_of(Static(public, precompressed=False)) as client:
        tag = (await client.get("/app.js")).header("etag")
        asks = {"if-none-match": tag}
        assert len(opened) == 1
        response = await client.get("/app.js", fields=asks)
        assert (response.status, response.header("etag"), len(opened)) == (304, tag, 1)
        assert response.header("cache-control") == "no-cache"
        assert (await client.get("/app.js", fields={"if-none-match": '"other"'})).status == 200
        assert (await client.get("/app.js", fields={**asks, "if-match": '"other"'})).status == 412
        assert (await client.get("/app.js", fields={**asks, "accept-encoding": "br"})).status == 304
        assert len(opened) == 4
        (public / "app.js").write_text("another")
        assert (await client.get("/app.js")).text == "another"
        mock_clock.jump(FRESH)
        response = await client.get("/app.js", fields=asks)
        assert (response.status, response.text) == (200, "another")


async def test_many_names_are_not_remembered_for_ever(public, monkeypatch):
    monkeypatch.setattr("roadrunner_trio.apps.static.REMEMBERED", 2)
    static = Static(public)
    async with client_of(static) as client:
        for target in ("/app.js", "/index.html", "/docs/guide.md", "/nothing"):
            await client.get(target)
    assert len(static._coded) <= 2
    assert len(static._seen) <= 2


# What caches are told


@pytest.mark.parametrize(
    "name",
    ["app.4f1c9a7b.js", "main-0123456789abcdef0123.css", "index-BxY1z_9Q.js", "chunk-3F5KQ2ZA.js", "a.4f1c9a7b.js.map"],
)
async def test_names_that_bundlers_give_are_kept_for_ever(public, name):
    (public / name).write_text("x")
    async with client_of(Static(public, immutable=True)) as client:
        assert (await client.get("/" + name)).header("cache-control") == FOREVER
        assert (await client.get("/app.js")).header("cache-control") == "no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "report-20240101.csv",
        "my-background-image1.png",
        "a.deadbeef.js",
        "jquery-3.7.1.min.js",
        "deadbeef1.js",
        "holiday.2024photo.jpg",
        "README-Download.txt",
    ],
)
async def test_names_that_people_give_are_not(public, name):
    (public / name).write_text("x")
    async with client_of(Static(public, immutable=True)) as client:
        assert (await client.get("/" + name)).header("cache-control") == "no-cache"


async def test_rules_of_ones_own(public):
    async with client_of(Static(public, immutable="^docs/", cache_control="max-age=60")) as client:
        assert (await client.get("/docs/guide.md")).header("cache-control") == FOREVER
        assert (await client.get("/app.js")).header("cache-control") == "max-age=60"
    rule = {"docs/guide.md": None}
    settings = {
        "cache_control": lambda path: rule.get(path, "private"),
        "immutable": lambda path: path == "index.html",
        "fields": {"x-a": "1"},
    }
    async with client_of(Static(public, **settings)) as client:
        assert (await client.get("/docs/guide.md")).header("cache-control") is None
        assert (await client.get("/app.js")).header("cache-control") == "private"
        response = await client.get("/")
        assert (response.header("cache-control"), response.header("x-a")) == (FOREVER, "1")


# What is refused


def test_what_cannot_be_meant(public):
    for settings, complaint in (
        ({"index": "index.html"}, "list of names"),
        ({"index": ["../x"]}, "an index is the name of a file"),
        ({"fallback": "/etc/passwd"}, "a fallback is the name of a file"),
        ({"fallback": "docs/"}, "a fallback is the name of a file"),
        ({"fallback": ""}, "a fallback is the name of a file"),
        ({"symlinks": "yes"}, "symlinks is"),
        ({"immutable": "("}, "regular expression"),
    ):
        with pytest.raises(ValueError, match=complaint):
            Static(public, **settings)
    with pytest.raises(FileNotFoundError, match="no folder"):
        Static(public / "nothing")
    assert repr(Static(public)) == f"<Static {public}>"


async def test_what_may_not_be_read_is_403(public, monkeypatch, caplog):
    async def refuse(self, path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("roadrunner_trio.transport.beneath.Folder.open", refuse)
    async with client_of(Static(public)) as client:
        assert (await client.get("/app.js")).status == 403
    assert loud(caplog) == []


async def test_a_fallback_that_may_not_be_read_is_403_too(public, monkeypatch, caplog):
    real = Folder.open

    async def open_(self, path):
        if path == b"index.html":
            raise PermissionError(13, "Permission denied")
        return await real(self, path)

    monkeypatch.setattr(Folder, "open", open_)
    async with client_of(Static(public, fallback="index.html")) as client:
        assert (await client.get("/nothing", fields=HTML)).status == 403
        assert (await client.get("/nothing")).status == 404
    assert loud(caplog) == []


async def test_no_descriptor_is_left_by_responses_that_nobody_writes(public):
    async def replace(request, call_next):
        response = await call_next(request)
        return Response("instead") if request.path == "/app.js" else response

    coded(public, "app.js", ".gz")
    async with open_server(Static(public), middlewares=[replace]) as server:
        client = server.client()
        assert (await client.get("/app.js")).text == "instead"
        before = descriptors()
        for _ in range(10):
            assert (await client.get("/app.js", fields={"accept-encoding": "gzip"})).text == "instead"
            assert (await client.request("HEAD", "/index.html")).status == 200
            assert (await client.get("/docs")).status == 308
        assert descriptors() <= before  # which may be one more: a thread holds what it opened last
