"""Encrypted connections without a task: their keys wait with them."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

import pytest
import trio
from dormitory_tools import parked, tasks
from presence_tools import needs_poller
from story_tools import GET, open_house
from tls_tools import contexts_of_a_new_authority
from trio.testing import wait_all_tasks_blocked

pytestmark = needs_poller


@pytest.fixture
async def encrypted():
    """A house over TLS, and what opens a connection to it that has had an answer."""
    server, client = contexts_of_a_new_authority()
    streams = []
    async with open_house(tcp=True, tls=server) as house:

        async def meet_encrypted(*, asks=True):
            stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
            streams.append(stream)
            peer = trio.SSLStream(stream, client, server_hostname="test.example", https_compatible=True)
            await (ask(peer) if asks else peer.do_handshake())
            return peer

        yield house, meet_encrypted
        for stream in streams:
            await stream.aclose()


async def ask(peer):
    await peer.send_all(GET)
    assert (await peer.receive_some()).endswith(b"hi")


async def sleep(seconds):
    """What is left of a handshake is on its way in real time, which the virtual clock does not wait for."""
    await wait_all_tasks_blocked(0.05)
    await trio.sleep(seconds)
    await wait_all_tasks_blocked(0.05)


async def test_an_encrypted_one_is_parked_and_woken_with_its_keys(encrypted, autojump_clock):
    house, meet_encrypted = encrypted
    peer = await meet_encrypted()
    for count in range(1, 4):
        await sleep(6)
        assert (parked(house), tasks(house)) == (1, [])
        await ask(peer)
        [info] = house.listener.connections()
        assert info.requests == count + 1
        stops = [event for name, event in house.watch.events if name == "stop"]
        assert stops[-1].request.scheme == "https"
        assert stops[-1].request.tls == stops[0].request.tls is not None
    await peer.aclose()
    await house.empty()


async def test_what_tls_had_yet_to_say_is_said_behind_the_wake(encrypted, autojump_clock):
    """The tickets of TLS 1.3, which go out with the first answer."""
    house, meet_encrypted = encrypted
    peer = await meet_encrypted(asks=False)
    await sleep(6)
    assert (parked(house), tasks(house)) == (1, [])
    assert not peer.session.has_ticket
    await ask(peer)
    assert peer.session.has_ticket


@pytest.mark.parametrize("word", ["drain", "time"])
async def test_an_encrypted_one_is_told_of_its_end(word, encrypted, autojump_clock):
    house, meet_encrypted = encrypted
    peer = await meet_encrypted()
    await sleep(6)
    assert parked(house) == 1
    if word == "drain":
        house.listener._start_drain(trio.current_time() + 10)
        assert house.active == 0
    assert await peer.receive_some() == b"", "an end, and no cut"
    assert parked(house) == 0


async def test_an_encrypted_peer_may_leave(encrypted, autojump_clock):
    house, meet_encrypted = encrypted
    peers = [await meet_encrypted() for _ in range(2)]
    await sleep(6)
    assert parked(house) == 2
    slots = house.listener._members()
    await peers[0].aclose()
    await trio.aclose_forcefully(peers[1])
    await house.empty()
    assert house.listener.info().aborted == 0
    assert [slot.secrets for slot in slots] == [None, None], "the heap has them for a while"


async def test_the_end_of_an_encrypted_one_never_waits_for_its_peer(encrypted, autojump_clock):
    """Not even where the application has given sockets a time to wait by default."""
    house, meet_encrypted = encrypted
    await meet_encrypted()
    await sleep(6)
    [slot] = house.listener._members()
    with socket.socket(fileno=os.dup(slot.fd)) as full, suppress(BlockingIOError):
        full.setblocking(False)
        while True:
            full.send(bytes(65536))
    began = time.perf_counter()
    socket.setdefaulttimeout(20)
    try:
        slot.end()
    finally:
        socket.setdefaulttimeout(None)
    assert time.perf_counter() - began < 10
