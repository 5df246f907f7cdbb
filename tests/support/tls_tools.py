"""Peers of a watched server in memory that speak TLS."""

from __future__ import annotations

import ssl

import trio
import trustme
from story_tools import House, Peer
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def contexts_of_a_new_authority() -> Contexts:
    """A server's context, and that of a client who trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("test.example").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def tls_peer(house: House, client: ssl.SSLContext, over: str) -> Peer:
    """A new peer after its handshake, ``over`` memory or TCP."""
    transport: trio.abc.Stream
    if over == "memory":
        transport, theirs = memory_stream_pair()
        theirs.receive_stream.close_hook = house.watch.news.unpark_all
        house.door.put.send_nowait(theirs)
    else:
        transport = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
    stream = trio.SSLStream(transport, client, server_hostname="test.example", https_compatible=True)
    await stream.do_handshake()
    peer = Peer(stream)  # type: ignore[arg-type]
    house.nursery.start_soon(house._attend, peer)
    await wait_all_tasks_blocked()
    return peer
