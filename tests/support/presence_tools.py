"""Peers that leave while a poller watches, and handlers that note what becomes of them."""

from __future__ import annotations

import math
import socket

import pytest
import trio
from story_tools import Peer
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.transport.poller import AVAILABLE
from roadrunner_trio.transport.wire import SocketWire

needs_poller = pytest.mark.skipif(
    not AVAILABLE, reason="this system has no epoll, and nobody tells of a peer that left"
)


def meet(house, kind="tcp") -> Peer:
    """A peer over TCP, or at the other end of a Unix socket; the poller watches our end."""
    if kind == "tcp":
        return house.tcp_peer()
    peer = Peer(SocketWire(meet_unix(house)))
    house.nursery.start_soon(house._attend, peer)
    return peer


def meet_unix(house) -> socket.socket:
    """The other end of a Unix socket."""
    ours, theirs = socket.socketpair()
    house.door.put.send_nowait(SocketWire(theirs, house.listener._context.poller))
    return ours


async def reset(peer: Peer) -> None:
    """The peer's kernel says that nobody is there."""
    peer.stream.reset()
    await wait_all_tasks_blocked()


class Work:
    """A handler that works for a time, and notes when it began, ended or was cancelled."""

    def __init__(self, seconds: float = math.inf, *, shield: float = 0) -> None:
        self.seconds = seconds
        self.shield = shield
        self.began: list[float] = []
        self.done: list[float] = []
        self.cancelled: list[float] = []

    async def __call__(self, request: rr.Request) -> rr.Response:
        self.began.append(trio.current_time())
        try:
            with trio.move_on_after(self.shield or math.inf, shield=bool(self.shield)):
                await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.cancelled.append(trio.current_time())
            raise
        self.done.append(trio.current_time())
        if not self.shield:
            await trio.lowlevel.checkpoint()
        return rr.Response("done")


def gone(house) -> rr.RequestEnded:
    """The event of the one request whose peer is gone, and that nothing else was told or counted."""
    event = house.watch.only("exception")
    assert (event.outcome, event.error) == ("gone", None)
    counted = house.listener.info()
    assert (counted.gone, counted.timed_out, counted.cancelled, counted.failed) == (1, 0, 0, 0)
    return event


def slow_tcp_peer(house) -> Peer:
    """A peer that does not read until somebody makes it listen."""
    return Peer(SocketWire(socket.create_connection(("127.0.0.1", house.listener.port))))
