"""Addresses as people write them, and the sockets they become."""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager

import pytest
import trio
from stream_tools import descriptors, has_ipv6

from roadrunner_trio.testing import MemoryListener
from roadrunner_trio.transport.bind import NOTSENT_LOWAT, UNSENT, listed, open_listeners, parse_address

IPV6 = has_ipv6()
needs_ipv6 = pytest.mark.skipif(not IPV6, reason="this machine has no IPv6")
FAMILIES = [socket.AF_INET, socket.AF_INET6] if IPV6 else [socket.AF_INET]


@contextmanager
def closing(listeners):
    try:
        yield listeners
    finally:
        for listener in listeners:
            if isinstance(listener, socket.socket):
                listener.close()


def connects(address):
    """Whether somebody listens there."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(address[:2]) == 0


class Names(trio.abc.HostnameResolver):
    """A name service of our own."""

    def __init__(self, known):
        self.known = known

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where) for family, where in self.known[host]]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


def bound(host="127.0.0.1", family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind((host, 0))
    return sock


# Addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8000", "127.0.0.1", 8000),
        ("localhost:0", "localhost", 0),
        ("example.org:65535", "example.org", 65535),
        ("[::1]:8000", "::1", 8000),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("[::]:80", "::", 80),
        (":8000", None, 8000),
        ("[]:8000", None, 8000),
        ("0.0.0.0:080", "0.0.0.0", 80),
    ],
)
def test_host_and_port(text, host, port):
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "8000",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:65536",
        "localhost:-1",
        "localhost:+1",
        "localhost: 80",
        "localhost:8_0",
        "localhost:٨٠",
        "::1:8000",
        "::1",
        "[::1:8000",
        "::1]:8000",
        "[::1]",
        "http://localhost:8000",
    ],
)
def test_anything_else_is_told_what_would_be_right(text):
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert str(caught.value) == (
        f"{text!r} is no address; write host:port, such as 127.0.0.1:8000, [::1]:8000 or :8000"
    )


def test_one_or_several():
    with bound() as sock:
        listener = MemoryListener()
        assert listed("localhost:80") == ["localhost:80"]
        assert listed(sock) == [sock]
        assert listed(listener) == [listener]
        assert listed(("localhost:80", sock, listener)) == ["localhost:80", sock, listener]


def test_none_is_too_few():
    with pytest.raises(ValueError, match="at least one address"):
        listed([])


def test_every_address_of_a_list_is_checked():
    with pytest.raises(ValueError, match="'nowhere' is no address"):
        listed(["localhost:80", "nowhere"])


# Sockets


async def test_an_address_becomes_a_listening_socket():
    with closing(await open_listeners(["127.0.0.1:0"], 5)) as (sock,):
        host, port = sock.getsockname()
        assert (host, sock.family) == ("127.0.0.1", socket.AF_INET)
        assert port != 0
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert connects((host, port))


@needs_ipv6
async def test_an_address_of_ipv6():
    with closing(await open_listeners(["[::1]:0"], 5)) as (sock,):
        assert sock.getsockname()[0] == "::1"
        assert connects(sock.getsockname())


async def test_no_host_is_every_address_of_every_family_on_one_port():
    with closing(await open_listeners([":0"], 5)) as sockets:
        assert {sock.family for sock in sockets} >= set(FAMILIES)
        assert {sock.getsockname()[0] for sock in sockets} <= {"0.0.0.0", "::"}
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        port = sockets[0].getsockname()[1]
        assert connects(("127.0.0.1", port))
        assert connects(("::1", port)) is IPV6


@needs_ipv6
async def test_several_addresses_come_in_their_order():
    with closing(await open_listeners(["[::1]:0", "127.0.0.1:0"], 5)) as sockets:
        assert [sock.family for sock in sockets] == [socket.AF_INET6, socket.AF_INET]


async def test_a_bound_socket_listens():
    with bound() as sock, closing(await open_listeners([sock], 5)) as listeners:
        assert listeners == [sock]
        assert not sock.getblocking()
        assert connects(sock.getsockname())


async def test_a_socket_listener_gives_up_its_socket():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    with closing(await open_listeners([listener], 5)) as (sock,):
        assert isinstance(sock, socket.socket)
        assert sock.getsockname() == address
        assert connects(address)
        assert listener.socket.fileno() == -1


async def test_any_other_listener_stays_what_it_is():
    listener = MemoryListener()
    assert await open_listeners([listener], 5) == [listener]


# All or none


async def test_a_port_in_use_names_the_address():
    with bound() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="in use") as caught:
            await open_listeners([address], 5)
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, address)


async def test_a_host_that_nobody_knows_names_the_address():
    trio.socket.set_custom_hostname_resolver(Names({}))
    with pytest.raises(OSError, match="Name or service not known") as caught:
        await open_listeners(["example.org:80"], 5)
    assert (caught.value.errno, caught.value.filename) == (socket.EAI_NONAME, "example.org:80")


async def test_when_one_cannot_be_had_the_others_are_closed():
    before = descriptors()
    with bound() as taken, bound() as given:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        memory = MemoryListener()
        with pytest.raises(OSError, match="in use"):
            await open_listeners(["127.0.0.1:0", given, memory, address], 5)
        assert given.fileno() == -1
        memory.connect()
    assert descriptors() == before


@needs_ipv6
async def test_when_one_family_cannot_be_had_the_other_is_closed():
    before = descriptors()
    with bound("::1", socket.AF_INET6) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await open_listeners([f":{port}"], 5)
        assert not connects(("127.0.0.1", port))
    assert descriptors() == before


async def test_a_family_that_the_machine_lacks_is_left_out(monkeypatch):
    class WithoutIPv6(socket.socket):
        def __init__(self, family=-1, *args, **kwargs):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

    ipv6, ipv4 = (socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))
    trio.socket.set_custom_hostname_resolver(Names({b"both": [ipv6, ipv4], b"one": [ipv6]}))
    monkeypatch.setattr(socket, "socket", WithoutIPv6)
    with closing(await open_listeners(["both:0"], 5)) as (sock,):
        assert sock.family == socket.AF_INET
    with pytest.raises(OSError, match="no address family") as caught:
        await open_listeners(["one:0"], 5)
    assert caught.value.filename == "one:0"


@pytest.mark.parametrize("ready", [False, True])
async def test_accepted_sockets_are_told_by_their_listener(ready):
    item = socket.create_server(("127.0.0.1", 0)) if ready else "127.0.0.1:0"
    with closing(await open_listeners([item], 10)) as [listening]:
        listening.setblocking(True)
        peer = socket.create_connection(listening.getsockname())
        accepted = listening.accept()[0]
        with peer, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # small responses go out at once
            if NOTSENT_LOWAT is not None:  # and the kernel holds little for a peer that does not read
                assert accepted.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT) == UNSENT
