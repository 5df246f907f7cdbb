"""Paths that have led servers out of their folder or their visitors to another host, and files that change under way.

No handler of the package builds a file's path from a request. What it has that could be misled are the router, which
resolves nothing and redirects nobody, and ``FileResponse``, which opens what it is told and nothing but regular files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from siege_tools import besiege
from story_tools import GET, open_house

import files
import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.demo import demo
from roadrunner_trio.protocol.codec.uri import percent_decode
from roadrunner_trio.testing import open_server

TRAVERSALS = [
    ("CVE-2024-23334", "/../../etc/passwd"),
    ("CVE-2024-23334", "/hello.py/../../../etc/passwd"),
    ("CVE-2024-23334", "/%2e%2e/%2e%2e/etc/passwd"),
    ("CVE-2024-23334", "/..%2f..%2fetc/passwd"),
    ("CVE-2024-23334", "/.%2e/etc/passwd"),
    ("CVE-2024-42367", "/..%5c..%5cetc%5cpasswd"),
    ("CVE-2024-42367", "/..\\..\\etc\\passwd"),
    ("CVE-2024-42367", "/hello.py.gz"),
    ("CVE-2023-29159", "/../examples-of-another/secret"),
    ("CVE-2021-21330", "//evil.example/.."),
    ("CVE-2021-21330", "//evil.example/%2e%2e"),
    ("CVE-2021-21330", "/\\evil.example"),
    ("CVE-2025-66221", "/CON"),
    ("CVE-2025-66221", "/NUL.py"),
    ("CVE-2025-66221", "/hello.py::$DATA"),
    ("NUL", "/hello.py%00.html"),
    ("NUL", "/%00"),
    ("overlong", "/%c0%ae%c0%ae/etc/passwd"),
    ("absolute", "//etc/passwd"),
    ("absolute", "/%2fetc/passwd"),
    ("long", "/" + "a/" * 2000),
    ("long", "/" + "a" * 4000),
]
IDS = [f"{name} {target[:40]}" for name, target in TRAVERSALS]


async def statuses(handler, target: str, tolls) -> tuple[int, ...]:
    data = f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    [fate], toll = await besiege([[data]], handler=handler)
    assert b"root:" not in fate.heard
    assert b"location:" not in fate.heard.partition(b"\r\n\r\n")[0].lower(), "nobody is sent elsewhere"
    tolls.take("files and redirects", toll)
    return fate.statuses


@pytest.mark.parametrize(("name", "target"), TRAVERSALS, ids=IDS)
async def test_no_path_leads_out_of_the_examples(name, target, tolls, autojump_clock):
    assert await statuses(files.handler, target, tolls) == (404,)


@pytest.mark.parametrize(("name", "target"), TRAVERSALS, ids=IDS)
async def test_no_path_leads_out_of_the_demo(name, target, tolls, autojump_clock):
    assert await statuses(demo, target, tolls) == (404,)


@pytest.mark.parametrize(("name", "target"), TRAVERSALS, ids=IDS)
async def test_the_router_resolves_nothing_and_redirects_nobody(name, target, tolls, autojump_clock):
    async def secret(request: rr.Request) -> rr.Response:
        return rr.Response("root:")

    async def show(request: rr.Request) -> rr.Response:
        return rr.Response(request.bindings["rest"])

    router = Router([Route("/etc/passwd", secret), Route("/public/*rest", show)])
    assert await statuses(router, target, tolls) == (404,)
    assert await statuses(router, "/public" + target, tolls) == (404 if "//" in target else 200,)


@pytest.mark.parametrize(("name", "target"), TRAVERSALS, ids=IDS)
async def test_a_router_that_redirects_for_a_slash_leads_to_no_other_host(name, target, autojump_clock):
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response("hi")

    path = re.sub("/*$", "/", target, count=1)
    depth = path.count("/") - 1
    router = Router([Route("/" + "/".join(f":s{at}" for at in range(depth)), handler)], redirect_slashes=True)
    async with open_server(router) as server:
        response = await server.client().get(path)
    if "//" in path:
        assert response.status == 404
    else:
        location = response.header("location")
        assert response.status == 308
        assert location == path[:-1].replace("\\", "%5C")
        assert urljoin("http://here.example/x", location).startswith("http://here.example/")


@pytest.mark.parametrize(("name", "target"), TRAVERSALS, ids=IDS)
async def test_what_no_file_can_be_called_is_not_found(name, target, tmp_path, autojump_clock):
    """Where a handler decodes carelessly too: it is no fault of the server's, and no line in its log."""

    (tmp_path / "public").mkdir()

    async def careless(request: rr.Request) -> rr.FileResponse:
        return rr.FileResponse(
            tmp_path / "public" / os.fsdecode(percent_decode(request.path)).replace("..", "").strip("/")
        )

    async with open_house(careless) as house:
        peer = house.peer()
        await peer.say(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert (await peer.end()).split()[1] == b"404"


async def test_a_file_that_is_replaced_while_it_is_sent_comes_as_it_was(tmp_path, autojump_clock):
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"a" * 300_000)
    other.write_bytes(b"b" * 300_000)

    async def file(request: rr.Request) -> rr.FileResponse:
        return rr.FileResponse(path)

    async with open_house(file) as house:
        peer, stream = house.slow_peer(room=100_000)
        await peer.say(GET)
        while not peer.heard.endswith(b"a"):
            await peer._news.park()
        other.replace(path)
        stream.grant(1_000_000)
        heard = await peer.until(b"a" * 50_000)
        assert b"b" * 10 not in heard.partition(b"\r\n\r\n")[2]


async def test_cve_2024_27306_names_in_the_examples_index_are_escaped(autojump_clock, monkeypatch):
    monkeypatch.setattr(files, "FILES", {'/<script>"&.py': Path("x")})
    async with open_house(files.handler) as house:
        peer = house.peer()
        await peer.say(GET)
        heard = peer.take()
    assert b"<script>" not in heard
    assert b"&lt;script&gt;&quot;&amp;.py" in heard


@pytest.mark.parametrize("where", ["//evil.example", "https://evil.example/", "/\\evil.example"])
async def test_a_redirect_goes_where_the_handler_says_and_the_servers_own_answers_never_do(where, autojump_clock):
    """``Response.redirect`` is the application's word. The server itself has no status that sends anybody elsewhere."""
    async with open_house(Router([Route("/a", files.handler)])) as house:
        peer = house.peer()
        for target in (where, where + "/", "/a/", "/a/.."):
            await peer.say(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert b"HTTP/1.1 3" not in peer.take()
