"""Addresses as people write them, and the sockets they become."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import contextmanager

import pytest
import trio
from stream_tools import descriptors, has_ipv6

from roadrunner_trio.testing import MemoryListener
from roadrunner_trio.transport import bind as bind_module
from roadrunner_trio.transport.bind import (
    NOTSENT_LOWAT,
    QUIET,
    UNSENT,
    Acceptor,
    listed,
    open_listeners,
    parse_address,
)
from roadrunner_trio.transport.unix import OwnSocket

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
    class WithoutIPv6(OwnSocket):
        def __init__(self, family=-1, *args, **kwargs):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **kwargs)

    ipv6, ipv4 = (socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))
    trio.socket.set_custom_hostname_resolver(Names({b"both": [ipv6, ipv4], b"one": [ipv6]}))
    monkeypatch.setattr(bind_module, "OwnSocket", WithoutIPv6)
    with closing(await open_listeners(["both:0"], 5)) as (sock,):
        assert sock.family == socket.AF_INET
    with pytest.raises(OSError, match="not supported") as caught:
        await open_listeners(["one:0"], 5)
    assert (caught.value.errno, caught.value.filename) == (errno.EAFNOSUPPORT, "one:0")


ELSEWHERE = (socket.AF_INET, ("192.0.2.1", 0))  # for documentation: no machine has it (RFC 5737)
LOOPBACK = (socket.AF_INET, ("127.0.0.1", 0))


async def test_case_08_of_a_name_with_several_addresses_those_that_exist_do():
    """As ``localhost`` in a container whose loopback has no IPv6, although its hosts file has."""
    before = descriptors()
    for known in ([ELSEWHERE, LOOPBACK], [LOOPBACK, ELSEWHERE]):
        trio.socket.set_custom_hostname_resolver(Names({b"both": known}))
        with closing(await open_listeners(["both:0"], 5)) as (sock,):
            assert sock.getsockname()[0] == "127.0.0.1"
            assert connects(sock.getsockname())
    assert descriptors() == before


@pytest.mark.parametrize("address", ["192.0.2.1:0", "name:0"])
async def test_when_none_exists_that_is_an_error(address):
    trio.socket.set_custom_hostname_resolver(Names({b"name": [ELSEWHERE, ELSEWHERE], b"192.0.2.1": [ELSEWHERE]}))
    with pytest.raises(OSError) as caught:
        await open_listeners([address], 5)
    assert (caught.value.errno, caught.value.filename) == (errno.EADDRNOTAVAIL, address)


@pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EACCES, errno.EMFILE])
async def test_an_address_that_exists_and_cannot_be_had_is_not_left_out(number, monkeypatch):
    """Somebody else would be served there."""

    class Refused(OwnSocket):
        def bind(self, where):
            if where[0] == "127.0.0.2":
                raise OSError(number, os.strerror(number))
            super().bind(where)

    monkeypatch.setattr(bind_module, "OwnSocket", Refused)
    trio.socket.set_custom_hostname_resolver(Names({b"both": [LOOPBACK, (socket.AF_INET, ("127.0.0.2", 0))]}))
    before = descriptors()
    with pytest.raises(OSError) as caught:
        await open_listeners(["both:0"], 5)
    assert (caught.value.errno, caught.value.filename) == (number, "both:0")
    assert descriptors() == before


@contextmanager
def accepted_from(listening):
    """What a listening socket accepts."""
    listening.setblocking(True)
    with socket.create_connection(listening.getsockname()):
        accepted = listening.accept()[0]
        with accepted:
            yield accepted


@pytest.mark.parametrize("ready", [False, True])
async def test_accepted_sockets_are_told_by_their_listener(ready):
    item = socket.create_server(("127.0.0.1", 0)) if ready else "127.0.0.1:0"
    with closing(await open_listeners([item], 10)) as [listening], accepted_from(listening) as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # small responses go out at once
        if NOTSENT_LOWAT is not None:  # and the kernel holds little for a peer that does not read
            assert accepted.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT) == UNSENT
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


LINUX = sys.platform == "linux"


@pytest.mark.parametrize("ready", [False, True])
async def test_case_19_the_kernel_asks_peers_that_say_nothing_whether_they_are_there(ready):
    item = socket.create_server(("127.0.0.1", 0)) if ready else "127.0.0.1:0"
    with closing(await open_listeners([item], 10)) as [listening], accepted_from(listening) as accepted:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if LINUX:
            for option, seconds in ((socket.TCP_KEEPIDLE, QUIET), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
                assert accepted.getsockopt(socket.IPPROTO_TCP, option) == seconds


@pytest.mark.skipif(not LINUX, reason="named otherwise elsewhere")
async def test_whoever_opened_a_socket_may_have_chosen_how_often():
    with bound() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 600)
        with closing(await open_listeners([sock], 10)) as [listening]:
            assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 600


async def test_urgent_octets_stay_where_they_were_sent():
    """Else whoever looks at the connection from outside reads another message than we do."""
    with closing(await open_listeners(["127.0.0.1:0"], 10)) as [listening]:
        listening.setblocking(True)
        with socket.create_connection(listening.getsockname()) as peer:
            accepted = listening.accept()[0]
            with accepted:
                peer.sendall(b"a")
                peer.send(b"b", socket.MSG_OOB)
                peer.sendall(b"c")
                peer.shutdown(socket.SHUT_WR)
                seen = b""
                while data := accepted.recv(100):
                    seen += data
                assert seen == b"abc"


class Counted(socket.socket):
    """A listening socket that knows how often somebody has tried to accept."""

    tried = 0

    def accept(self):
        self.tried += 1
        return super().accept()


@pytest.fixture
def door():
    with Counted() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        yield sock


async def test_who_accepts_asks_first_and_does_not_try_in_vain(door):
    accept = Acceptor(door)
    assert accept() is None
    with socket.create_connection(door.getsockname()) as peer:
        await trio.lowlevel.wait_readable(door)
        accepted, address = accept()
        with accepted:
            assert address == peer.getsockname()
        assert accept() is None
    assert door.tried == 1


async def test_one_that_a_neighbour_has_taken_in_between_is_nobody(door, monkeypatch):
    accept = Acceptor(door)
    monkeypatch.setattr(accept, "_ask", lambda timeout: [(door.fileno(), 1)])
    assert accept() is None
    assert door.tried == 1


async def test_where_nobody_can_be_asked_it_tries(door, monkeypatch):
    monkeypatch.delattr(bind_module.select, "poll")
    accept = Acceptor(door)
    assert accept() is None
    assert door.tried == 1


async def test_a_door_that_is_closed_is_not_one_where_nobody_waits(door):
    accept = Acceptor(door)
    door.close()
    with pytest.raises(OSError):
        accept()
