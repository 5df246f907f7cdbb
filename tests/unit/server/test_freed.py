"""A connection that has ended, in whatever way, is freed at once: no cycle keeps it, or its last body, for a collector.

And one that waits for its next request holds nothing of the last.
"""

from __future__ import annotations

import gc
import socket
import ssl
import weakref

import pytest
import trio
import trustme
from retention_tools import (
    BODY,
    HALF,
    LARGE,
    UPLOAD,
    Forgetful,
    all_is_over,
    body_of_a_nursery,
    broken_events,
    broken_handoff,
    broken_loop,
    broken_stream,
    crash,
    crashes_early,
    deaf,
    drains,
    endless_events,
    endless_stream,
    fine,
    finishes,
    handed_off,
    hears_the_end,
    held,
    huge,
    leaves,
    not_found,
    nothing,
    nursery_of_errors,
    refused,
    refused_by_error,
    remains,
    resets,
    sleeps_early,
    sleepy,
    sleepy_nursery,
    some_events,
    two_errors,
    waits,
    without_collector,
)
from story_tools import GET, GET_10, GET_CLOSE, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.transport.wire import SocketWire

CHUNKED = b"Transfer-Encoding: chunked"
STREAMING = {"body": "streaming"}
QUICK = {"timeouts": rr.Timeouts(request=3, keep_alive=3, body=3, handler=3, write=3, handshake=3)}
SMALL = {"limits": rr.Limits(max_body=10)}
SOME = 300_000
"""Octets that a house may have taken for itself, much less than a body."""

WAYS = {
    # handler, what the peer says, what ends it, settings
    "nothing was said": (fine, b"", leaves, {}),
    "nothing was said in time": (fine, b"", waits, QUICK),
    "idle, and the peer closes": (fine, UPLOAD, leaves, {}),
    "idle, and the peer finishes": (fine, UPLOAD, finishes, {}),
    "idle, and the peer resets": (fine, UPLOAD, resets, {}),
    "idle for too long": (fine, UPLOAD, waits, QUICK),
    "idle in a drain": (fine, UPLOAD, drains, {}),
    "idle when all is over": (fine, UPLOAD, all_is_over, {}),
    "the peer asks for the close": (fine, GET_CLOSE, hears_the_end, {}),
    "an HTTP/1.0 peer": (fine, GET_10, hears_the_end, {}),
    "the last request": (fine, UPLOAD, hears_the_end, {"limits": rr.Limits(max_requests=1)}),
    "400": (fine, b"NONSENSE\r\n", hears_the_end, {}),
    "400 after a request": (fine, UPLOAD + b"NONSENSE\r\n", hears_the_end, {}),
    "400 in a body": (fine, post(CHUNKED, body=b"x"), hears_the_end, {}),
    "400 in a body that a handler reads": (fine, post(CHUNKED, body=b"x"), hears_the_end, STREAMING),
    "408 in a head": (fine, UPLOAD + b"GET", waits, QUICK),
    "408 in a body": (fine, HALF, waits, QUICK),
    "408 in a body that a handler reads": (fine, HALF, waits, {**QUICK, **STREAMING}),
    "413": (fine, UPLOAD, hears_the_end, SMALL),
    "413 in chunks that a handler reads": (fine, post(CHUNKED, body=b"b\r\n"), hears_the_end, {**SMALL, **STREAMING}),
    "404 of a router": (Router([Route("/other", fine)]), UPLOAD, leaves, {}),
    "500": (crash, UPLOAD, hears_the_end, {}),
    "500, and the peer resets": (crash, UPLOAD, resets, {}),
    "500 for want of a response": (nothing, UPLOAD, hears_the_end, {}),
    "500 for a group": (two_errors, UPLOAD, hears_the_end, {}),
    "500 for a nursery": (nursery_of_errors, UPLOAD, hears_the_end, {}),
    "HTTPError": (not_found, UPLOAD, leaves, {}),
    "503 for the handler's limit": (sleepy, UPLOAD, waits, QUICK),
    "503 for a nursery's limit": (sleepy_nursery, UPLOAD, waits, QUICK),
    "a reset in the handler": (sleepy, UPLOAD, resets, {}),
    "a reset in the handler's nursery": (sleepy_nursery, UPLOAD, resets, {}),
    "a handler in a drain": (sleepy, UPLOAD, drains, {}),
    "a handler's nursery in a drain": (sleepy_nursery, UPLOAD, drains, {}),
    "a handler when all is over": (sleepy, UPLOAD, all_is_over, {}),
    "the peer leaves inside a body": (fine, HALF, leaves, {}),
    "the peer leaves inside a body that a handler reads": (fine, HALF, leaves, STREAMING),
    "the peer resets inside a body": (fine, HALF, resets, {}),
    "the peer resets inside a body that a handler reads": (fine, HALF, resets, STREAMING),
    "a body in a drain": (fine, HALF, drains, {}),
    "a body that nobody reads": (deaf, HALF, waits, STREAMING),
    "a stream is cut": (broken_stream, UPLOAD, hears_the_end, {}),
    "a stream is cut for HTTP/1.0": (broken_stream, GET_10, hears_the_end, {}),
    "the peer leaves a stream": (endless_stream, UPLOAD, leaves, {}),
    "a stream in a drain": (endless_stream, UPLOAD, drains, {}),
    "a loop is cut": (broken_loop, UPLOAD, hears_the_end, {}),
    "an event stream is cut": (broken_events, UPLOAD, hears_the_end, {}),
    "an event stream ends": (some_events, UPLOAD, leaves, {}),
    "an event stream in a drain": (endless_events, UPLOAD, drains, {}),
    "a hand-off": (handed_off, UPLOAD, leaves, {}),
    "a hand-off fails": (broken_handoff, UPLOAD, hears_the_end, {}),
    "a hand-off in a drain": (handed_off, UPLOAD, drains, {}),
    "refused early": (fine, HALF, hears_the_end, {"middlewares": [refused]}),
    "refused early by an error": (fine, HALF, hears_the_end, {"middlewares": [refused_by_error]}),
    "500 early": (fine, UPLOAD, hears_the_end, {"middlewares": [crashes_early]}),
    "503 early": (fine, HALF, waits, {"middlewares": [sleeps_early], **QUICK}),
    "a reset early": (fine, HALF, resets, {"middlewares": [sleeps_early]}),
}


@pytest.fixture(autouse=True)
def uncollected():
    with without_collector():
        yield


async def is_free(house, before):
    """Nothing is left of the connections there were, nor of those that may rest for others."""
    await wait_all_tasks_blocked()
    house.listener._spares.close()
    await wait_all_tasks_blocked()
    assert remains() == []
    assert held() - before < SOME


@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
@pytest.mark.parametrize("way", WAYS)
async def test_case_47_however_a_connection_ends_it_is_freed_without_a_collector(way, kind, autojump_clock):
    handler, said, act, settings = WAYS[way]
    if kind != "tcp" and act is resets:
        kind = "tcp"
    async with open_house(handler, tcp=True, watch=Forgetful(), **settings) as house:
        before = held()
        peer = house.meet(kind)
        with trio.move_on_after(1):
            await peer.say(said)
        assert not house.active or "Connection" in remains(), "else the test would see nothing"
        await act(house, peer)
        await house.empty()
        del peer
        if act is not all_is_over:
            await trio.sleep(1)
            await is_free(house, before)
    assert remains() == []


@pytest.mark.parametrize("kind", ["wire", "tcp"])
async def test_case_47_a_peer_that_does_not_take_its_response(kind, autojump_clock):
    async with open_house(huge, tcp=True, watch=Forgetful(), **QUICK) as house:
        before = held()
        if kind == "tcp":
            sock = socket.create_connection(("127.0.0.1", house.listener.port))
        else:
            sock, theirs = socket.socketpair()
            house.door.put.send_nowait(SocketWire(theirs))
        async with SocketWire(sock) as peer:
            await peer.send_all(UPLOAD)
            await wait_all_tasks_blocked()
            assert house.phases() == ["writing to a slow peer"]
            await house.empty()
            await is_free(house, before)


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_case_47_a_cycle_of_trio_s_keeps_no_body_that_the_handler_did_not_take(kind, autojump_clock):
    """An exception of a nursery's own body, beside a task that is cancelled for it, is one, whoever runs it."""
    async with open_house(body_of_a_nursery, tcp=True, watch=Forgetful()) as house:
        before = held()
        for _ in range(3):
            peer = house.meet(kind)
            await peer.say(UPLOAD)
            await hears_the_end(house, peer)
        await wait_all_tasks_blocked()
        assert held() - before < SOME


@pytest.mark.parametrize("act", [leaves, resets])
async def test_case_47_a_request_that_is_not_let_in(act, autojump_clock):
    async with open_house(fine, tcp=True, watch=Forgetful(), rate_limit=rr.RateLimit(1, period=1000)) as house:
        before = held()
        peer = house.tcp_peer()
        await peer.say(UPLOAD + GET)
        await act(house, peer)
        await house.empty()
        del peer
        await is_free(house, before)
    assert house.watch.names().count("throttled") == 1


# TLS, and what comes before it


@pytest.fixture(scope="module")
def contexts():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("test.example").configure_cert(server)
    authority.configure_trust(client)
    return server, client


HANDSHAKES = {
    "http": (GET, hears_the_end),
    "garbage": (b"\x00" * 100, hears_the_end),
    "half a hello": (b"\x16\x03\x01\x02\x00\x01", leaves),
    "half a hello for too long": (b"\x16\x03\x01\x02\x00\x01", waits),
    "half a hello in a drain": (b"\x16\x03\x01\x02\x00\x01", drains),
    "nothing": (b"", waits),
}


@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
@pytest.mark.parametrize("case", HANDSHAKES)
async def test_case_47_a_handshake_that_fails(case, kind, contexts, autojump_clock):
    said, act = HANDSHAKES[case]
    async with open_house(fine, tcp=True, watch=Forgetful(), tls=contexts[0], **QUICK) as house:
        before = held()
        peer = house.meet(kind)
        await peer.say(said)
        await act(house, peer)
        await house.empty()
        del peer
        await is_free(house, before)


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_case_47_a_proxy_header_that_is_none(kind, autojump_clock):
    proxies = rr.ProxyProtocol(["127.0.0.0/8", "memory"] if kind == "tcp" else ["unix"])
    async with open_house(fine, tcp=True, watch=Forgetful(), proxy_protocol=proxies) as house:
        before = held()
        peer = house.meet(kind)
        await peer.say(GET)
        await (hears_the_end if kind == "tcp" else leaves)(house, peer)
        await house.empty()
        del peer
        await is_free(house, before)


@pytest.mark.parametrize("end", ["close", "crash", "drain"])
@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_case_47_over_tls_too(kind, end, contexts, autojump_clock):
    handler = {"close": fine, "crash": crash, "drain": sleepy}[end]
    async with open_house(handler, tcp=True, watch=Forgetful(), tls=contexts[0]) as house:
        before = held()
        if kind == "tcp":
            transport = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        else:
            transport, theirs = trio.testing.memory_stream_pair()
            house.door.put.send_nowait(theirs)
        stream = trio.SSLStream(transport, contexts[1], server_hostname="test.example", https_compatible=True)
        await stream.send_all(UPLOAD)
        if end == "drain":
            await house.listener.drain(3)
        assert (await stream.receive_some())[9:12] == {"close": b"200", "crash": b"500", "drain": b"503"}[end]
        await trio.aclose_forcefully(stream)
        await house.empty()
        del stream, transport
        await wait_all_tasks_blocked()
        assert remains() == []
        assert held() - before < 2 * SOME, "and what OpenSSL and our own end hold"


# A connection that waits


@pytest.mark.parametrize("handler", [fine, not_found, some_events], ids=lambda handler: handler.__name__)
@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
async def test_case_32_an_idle_connection_holds_nothing_of_its_last_request(kind, handler, autojump_clock):
    async with open_house(handler, tcp=True, watch=Forgetful(), log_context=True) as house:
        before = held()
        peer = house.meet(kind)
        await peer.say(UPLOAD)
        assert house.phases() == ["idle"]
        assert remains() == ["Connection", "Http1Exchange"], "and no request"
        assert held() - before < SOME


@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
async def test_case_32_nor_of_its_last_response(kind, autojump_clock):
    refs = []

    class Large(rr.Response):
        pass

    async def handler(request):
        response = Large(bytes(LARGE))
        refs.append(weakref.ref(response))
        return response

    async with open_house(handler, tcp=True, watch=Forgetful()) as house:
        before = held()
        peer = house.meet(kind)
        await peer.say(GET)
        assert house.phases() == ["idle"]
        peer.heard = b""
        assert refs[0]() is None
        assert held() - before < SOME


@pytest.mark.parametrize(("fields", "most"), [(45, 35_000), (60, 3_000)])
async def test_case_32_of_a_head_is_kept_what_the_next_may_repeat_if_it_is_small(fields, most, autojump_clock):
    """Most requests of a connection have the fields of the one before, which are then not read again."""
    head = GET[:-2] + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 150) for n in range(fields)) + b"\r\n"
    assert (len(head) > 8192) == (fields == 60)
    async with open_house(watch=Forgetful(), limits=rr.Limits(max_request_line=8192)) as house:
        peers = [house.peer() for _ in range(20)]
        for said in (GET, head):
            before = held()
            for peer in peers:
                await peer.say(said)
            assert house.phases() == ["idle"] * 20
            assert remains() == ["Connection"] * 20 + ["Http1Exchange"] * 20
        assert held() - before < 20 * most


async def test_who_still_holds_a_request_holds_its_body_and_nothing_of_the_connection(autojump_clock):
    kept = []

    async def handler(request):
        kept.append(request)
        return rr.Response("hi")

    async with open_house(handler, watch=Forgetful()) as house:
        peer = house.peer()
        await peer.say(UPLOAD)
        await peer.close()
        assert remains() == ["Request"]
        assert await kept[0].read() == BODY
    kept.clear()
    assert remains() == []


async def test_case_36_a_body_of_crumbs_takes_its_own_size_while_it_comes(autojump_clock):
    async with open_house(fine, watch=Forgetful(), limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: %d" % LARGE))
        before = held()
        for _ in range(10_000):
            peer.slip(b"xy")
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        assert house.phases() == ["reading a body"]
        assert held() - before < 4 * 20_000


def test_the_fixture_stops_the_collector():
    assert not gc.isenabled()
