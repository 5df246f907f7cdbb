"""Small files that are asked for again within a moment: nothing is opened, and nothing old is sent."""

from __future__ import annotations

import gzip
import os
from contextlib import asynccontextmanager

import pytest

from roadrunner_trio.apps import static as module
from roadrunner_trio.apps.compress import Compress
from roadrunner_trio.apps.router import Router
from roadrunner_trio.apps.static import FRESH, Static
from roadrunner_trio.testing import open_server
from roadrunner_trio.transport.beneath import Folder

OLD = 1_700_000_000


def put(path, text, when=OLD):
    path.write_text(text)
    os.utime(path, (when, when))


@pytest.fixture
def public(tmp_path):
    public = tmp_path / "public"
    public.mkdir()
    put(public / "app.js", "first")
    return public


@pytest.fixture
def opened(monkeypatch):
    names = []
    real = Folder.open
    monkeypatch.setattr(Folder, "open", lambda self, path: names.append(path) or real(self, path))
    return names


@asynccontextmanager
async def client_of(handler):
    async with open_server(handler) as server:
        yield server.client()


async def test_it_is_opened_once_in_a_moment(public, opened, mock_clock):
    async with client_of(Static(public, precompressed=False)) as client:
        first = await client.get("/app.js")
        again = await client.get("/app.js")
        head = await client.request("HEAD", "/app.js")
        assert opened == [b"app.js"]
        assert (again.status, again.fields, again.body) == (first.status, first.fields, first.body)
        assert [field for field in head.fields if field[0] != "date"] == [f for f in first.fields if f[0] != "date"]
        assert (await client.get("/app.js", fields={"range": "bytes=1-2"})).text == "ir"
        assert opened == [b"app.js"] * 2
        mock_clock.jump(FRESH)
        assert (await client.get("/app.js")).text == "first"
        assert opened == [b"app.js"] * 3


def replace(path):
    put(path.with_name("new"), "other")
    os.replace(path.with_name("new"), path)


def link(path):
    put(path.parent.parent / "secret", "first")
    path.unlink()
    path.symlink_to(path.parent.parent / "secret")


def folder(path):
    path.unlink()
    path.mkdir()


CHANGES = {
    "content": (lambda path: put(path, "other"), 200, "other"),  # of the same length and time
    "time": (lambda path: put(path, "first", OLD + 5), 200, "first"),
    "replaced": (replace, 200, "other"),
    "link": (link, 404, "Not Found"),
    "gone": (lambda path: path.unlink(), 404, "Not Found"),
    "folder": (folder, 308, ""),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_has_changed_is_seen_at_once(public, change, mock_clock):
    changed, status, text = CHANGES[change]
    async with client_of(Static(public)) as client:
        tag = (await client.get("/app.js")).header("etag")
        changed(public / "app.js")
        response = await client.get("/app.js")
        assert (response.status, response.text) == (status, text)
        assert change != "time" or response.header("etag") != tag


async def test_another_coding_is_at_hand_too(public, opened, mock_clock):
    put(public / "app.js.gz", "zipped")
    wants = {"accept-encoding": "gzip"}
    async with client_of(Static(public)) as client:
        for _ in range(2):
            response = await client.get("/app.js", fields=wants)
            assert (response.text, response.header("content-encoding")) == ("zipped", "gzip")
        before = len(opened)
        assert (await client.get("/app.js", fields=wants)).text == "zipped"
        assert len(opened) == before
        assert (await client.get("/app.js")).text == "first"
        put(public / "app.js.gz", "newly zipped", OLD + 1)
        assert (await client.get("/app.js", fields=wants)).text == "newly zipped"


@pytest.mark.parametrize(
    ("size", "at_hand"), [(0, False), (module.SMALL, True), (module.SMALL + 1, False)], ids=["empty", "small", "large"]
)
async def test_only_small_ones(public, opened, size, at_hand, mock_clock):
    put(public / "app.js", "x" * size)
    async with client_of(Static(public, precompressed=False)) as client:
        for _ in range(2):
            assert len((await client.get("/app.js")).body) == size
    assert len(opened) == (1 if at_hand else 2)


async def test_what_was_changed_a_moment_ago_may_change_again(public, opened, mock_clock):
    (public / "app.js").write_text("now")
    async with client_of(Static(public, precompressed=False)) as client:
        for _ in range(2):
            assert (await client.get("/app.js")).text == "now"
    assert len(opened) == 2


async def test_what_changes_while_it_is_looked_at_is_not_kept(public, monkeypatch, mock_clock):
    from roadrunner_trio.transport.files import OpenFile

    real = OpenFile.read_cached

    def read(self, first, count):
        octets = real(self, first, count)
        put(public / "app.js", "later", OLD + 1)
        return octets

    static = Static(public, precompressed=False)
    async with client_of(static) as client:
        monkeypatch.setattr(OpenFile, "read_cached", read)
        await client.get("/app.js")
        monkeypatch.setattr(OpenFile, "read_cached", real)
        assert static._seen == {}
        assert (await client.get("/app.js")).text == "later"


async def test_so_many_octets_and_no_more(public, monkeypatch, mock_clock):
    monkeypatch.setattr(module, "HELD", 30)
    static = Static(public, precompressed=False)
    for number in range(20):
        put(public / f"{number}.txt", "0123456789")
    async with client_of(static) as client:
        for number in range(20):
            await client.get(f"/{number}.txt")
            assert sum(len(seen.content or b"") for seen in static._seen.values()) <= 40


async def test_what_peers_say_they_accept_counts_with_them(public, monkeypatch, mock_clock):
    monkeypatch.setattr(module, "HELD", 10_000)
    static = Static(public, precompressed=False)
    async with client_of(static) as client:
        for number in range(20):
            accepted = f"{number:02}" * 1000
            assert (await client.get("/app.js", fields={"accept-encoding": accepted})).text == "first"
            assert len(static._seen) <= 5


async def test_a_middleware_does_not_change_what_is_kept(public, mock_clock):
    put(public / "app.js", "first " * 1000)

    async def marked(request, call_next):
        response = await call_next(request)
        response.fields.append((b"x-mark", b"1"))
        return response

    def said(response):
        framing = (b"content-length", b"transfer-encoding", b"date")
        return sorted(field for field in response.fields if field[0] not in framing)

    router = Router([Static(public, precompressed=False).below("/")], middlewares=[marked, Compress(codings=["gzip"])])
    async with client_of(router) as client:
        first = await client.get("/app.js", fields={"accept-encoding": "gzip"})
        assert first.header("content-encoding") == "gzip"
        for _ in range(3):
            again = await client.get("/app.js", fields={"accept-encoding": "gzip"})
            assert said(again) == said(first)
            assert gzip.decompress(again.body) == gzip.decompress(first.body) == b"first " * 1000


@pytest.mark.parametrize("common", ["gzip", "identity"])
async def test_what_one_peer_accepts_in_several_lines_is_not_what_another_does(public, common, mock_clock):
    put(public / "app.js.br", "of brotli")
    async with open_server(Static(public)) as server:
        stranger, client = server.client(), server.client()
        coded = await stranger.get("/app.js", fields=[("accept-encoding", common), ("accept-encoding", "br")])
        assert (coded.header("content-encoding"), coded.text) == ("br", "of brotli")
        plain = await client.get("/app.js", fields={"accept-encoding": common})
        assert (plain.header("content-encoding"), plain.text) == (None, "first")
