"""Bad networks: a proxy in the path that delays and resets, and a link between two namespaces that can be cut."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import trio

RESET = struct.pack("ii", 1, 0)
OURS, THEIRS = "10.213.97.1", "10.213.97.2"


class Proxy:
    """Passes octets on between peers and a server, late and in pieces if it is told to, and resets connections.

    Attributes:
        port: where peers connect.
        delay: seconds that each piece takes.
        piece: octets of a piece at most.
        up, down: octets that have passed, to the server and from it, on all connections.
        cut_when: asked after each piece; when it holds, both ends of the connection are reset.
    """

    def __init__(self, server: int) -> None:
        self.server = server
        self.port = 0
        self.delay = 0.0
        self.piece = 65536
        self.up = self.down = 0
        self.cut_when: Callable[[], bool] = lambda: False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self.serve, [listener])
            task_status.started()

    async def serve(self, peer: trio.SocketStream[trio.socket.SocketType]) -> None:
        """One connection."""
        server = await trio.open_tcp_stream("127.0.0.1", self.server)
        async with peer, server, trio.open_nursery() as nursery:
            nursery.start_soon(self.pass_on, peer, server, True, nursery.cancel_scope)
            nursery.start_soon(self.pass_on, server, peer, False, nursery.cancel_scope)
            if self.cut_when():
                self.reset(peer, server, nursery.cancel_scope)

    async def pass_on(
        self, source: trio.SocketStream, sink: trio.SocketStream, up: bool, scope: trio.CancelScope
    ) -> None:
        """One way."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(self.piece):
                await trio.sleep(self.delay)
                await sink.send_all(data)
                if up:
                    self.up += len(data)
                else:
                    self.down += len(data)
                if self.cut_when():
                    return self.reset(source, sink, scope)
            await sink.send_eof()
        return None

    def reset(self, one: trio.SocketStream, other: trio.SocketStream, scope: trio.CancelScope) -> None:
        """Both ends are told that the connection has broken."""
        for stream in (one, other):
            with suppress(OSError):
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            stream.socket.close()
        scope.cancel(reason="the connection was reset")


@asynccontextmanager
async def proxied(server: int) -> AsyncIterator[Proxy]:
    """A proxy in front of the server on this port."""
    proxy = Proxy(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel(reason="the test is over")


# -- a link between two namespaces ---------------------------------------------------------------


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


class Link:
    """Two ends of a cable: ours here, the server's in a namespace of its own."""

    def __init__(self) -> None:
        self.namespace = f"roadrunner-{os.getpid()}"

    def inside(self, *command: str) -> list[str]:
        """A command, to be run where the server is."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def set_up(self) -> None:
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", "rr0", "type", "veth", "peer", "name", "rr1", "netns", self.namespace)
        run("ip", "address", "add", f"{OURS}/30", "dev", "rr0")
        run(*self.inside("ip", "address", "add", f"{THEIRS}/30", "dev", "rr1"))
        run("ip", "link", "set", "rr0", "up")
        for device in ("rr1", "lo"):
            run(*self.inside("ip", "link", "set", device, "up"))

    def tear_down(self) -> None:
        for command in (("ip", "link", "delete", "rr0"), ("ip", "netns", "delete", self.namespace)):
            with suppress(subprocess.CalledProcessError):
                run(*command)

    def narrow(self, rate: str) -> None:
        """What the server sends goes through a narrow pipe."""
        bucket = ("tbf", "rate", rate, "burst", "4kb", "limit", "16kb")
        run(*self.inside("tc", "qdisc", "add", "dev", "rr1", "root", *bucket))

    def filter(self, verdict: str) -> None:
        """What comes to the server meets this: ``drop``, ``reject with tcp reset``, or a part of it."""
        rules = (
            "add table inet bad; add chain inet bad c { type filter hook input priority 0 ; };"
            f" add rule inet bad c iifname rr1 meta l4proto tcp {verdict}"
        )
        run(*self.inside("nft", rules))

    def clear(self) -> None:
        """No filter any more."""
        run(*self.inside("nft", "delete table inet bad"))

    def plug(self, state: str) -> None:
        """Pulls the cable out (``down``), or puts it in again (``up``)."""
        run("ip", "link", "set", "rr0", state)


@contextmanager
def linked() -> Iterator[Link]:
    """A link; the test is skipped where that is not permitted."""
    missing = [program for program in ("ip", "tc", "nft") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}")
    link = Link()
    try:
        try:
            link.set_up()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"namespaces of the network are not permitted here: {exc.stderr.decode().strip()}")
        yield link
    finally:
        link.tear_down()
