"""What a file response says of itself, and how its parts go out; conditions and ranges are in ``tests/conformance``."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest
from socket_tools import serving
from stream_tools import descriptors

import roadrunner_trio as rr
from roadrunner_trio.answering.file_response import SMALL
from roadrunner_trio.testing import Client, open_server
from roadrunner_trio.transport.files import OpenFile, open_file

BIG = os.urandom(300_000)
OLD = 1_700_000_000

both = pytest.mark.parametrize("carrier", ["memory", "tcp"])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(BIG)
    os.utime(path, (OLD, OLD))
    return path


@asynccontextmanager
async def client_of(handler, carrier):
    """A client of a server that runs in memory, or on a socket."""
    if carrier == "memory":
        async with open_server(handler) as server:
            yield server.client()
    else:
        import trio

        async with serving(handler) as listener, await trio.open_tcp_stream("127.0.0.1", listener.port) as stream:
            yield Client(stream)


def sending(path, **settings):
    async def handler(request):
        return rr.FileResponse(path, **settings)

    return handler


@both
@pytest.mark.parametrize("value", ["0-9", "-9", "100000-299998", "0-9,299990-", "0-99999,150000-299999"])
async def test_parts_are_the_octets_of_the_file(path, carrier, value):
    async with client_of(sending(path), carrier) as client:
        response = await client.get("/", fields={"range": f"bytes={value}"})
        assert response.status == 206
        for each in value.split(","):
            first, _, last = each.partition("-")
            part = BIG[-int(last) :] if not first else BIG[int(first) : int(last or len(BIG)) + 1]
            assert part in response.body
        assert len(response.body) == int(response.header("content-length"))
        assert (await client.get("/")).body == BIG


async def test_ranges_of_a_part_of_a_file_are_within_it(path):
    async with open_server(sending(path, offset=1000, length=100)) as server:
        client = server.client()
        response = await client.get("/", fields={"range": "bytes=-10"})
        assert (response.body, response.header("content-range")) == (BIG[1090:1100], "bytes 90-99/100")
        assert (await client.get("/", fields={"range": "bytes=100-"})).status == 416
        other = (await client.get("/")).header("etag")
    async with open_server(sending(path)) as server:
        assert (await server.client().get("/")).header("etag") != other


async def test_tag_and_date_of_the_application_stand_in_place_of_the_files(path):
    fields = {"etag": '"mine"', "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
    async with open_server(sending(path, fields=fields)) as server:
        client = server.client()
        response = await client.get("/")
        assert [value for name, value in response.fields if name in (b"etag", b"last-modified")] == [
            b'"mine"',
            b"Sun, 06 Nov 1994 08:49:37 GMT",
        ]
        assert (await client.get("/", fields={"if-none-match": '"mine"'})).status == 304
        assert (await client.get("/", fields={"if-modified-since": fields["last-modified"]})).status == 304


async def test_a_small_file_is_one_write_with_its_head(path, monkeypatch):
    path.write_bytes(b"x" * SMALL)
    path.read_bytes()
    sent = []
    real = os.sendfile
    monkeypatch.setattr(os, "sendfile", lambda *args: sent.append(args) or real(*args))
    async with client_of(sending(path), "tcp") as client:
        assert (await client.get("/")).body == b"x" * SMALL
        assert sent == []
        path.write_bytes(b"x" * (SMALL + 1))
        assert (await client.get("/")).body == b"x" * (SMALL + 1)
        assert sent


async def test_a_file_that_is_open_already_is_sent_and_closed(path):
    before = descriptors()

    async def handler(request):
        response = rr.FileResponse("whatever it is called.txt")
        response.opened = await open_file(path)
        return response

    async with open_server(handler) as server:
        client = server.client()
        response = await client.get("/")
        assert (response.body, response.header("content-type")) == (BIG, "text/plain; charset=utf-8")
        assert (await client.get("/", fields={"if-none-match": "*"})).status == 304
        assert (await client.get("/", fields={"range": "bytes=999999-"})).status == 416
        assert (await client.request("HEAD", "/")).status == 200
    assert descriptors() == before


async def test_what_is_in_memory_is_read_without_a_thread_and_else_not(path, monkeypatch):
    async with await open_file_context(path) as file:
        assert file.read_cached(5, 10) in (BIG[5:15], None)
        assert file.read_cached(len(BIG) - 5, 10) is None, "it is shorter"
        monkeypatch.setattr(os, "preadv", refuse)
        assert file.read_cached(5, 10) is None


def refuse(*args):
    raise BlockingIOError


async def open_file_context(path):
    file = await open_file(path)

    @asynccontextmanager
    async def manager():
        with file:
            yield file

    return manager()


async def test_what_the_kernel_makes_up_has_no_validators(path, monkeypatch):
    monkeypatch.setattr(OpenFile, "__init__", forgetful(OpenFile.__init__))
    async with open_server(sending(path)) as server:
        response = await server.client().get("/", fields={"if-modified-since": "Sun, 06 Nov 2044 08:49:37 GMT"})
    assert response.status == 200
    assert response.header("etag") is response.header("last-modified") is None


def forgetful(init):
    return lambda self, fd, size, modified=0, **settings: init(self, fd, size, **settings)
