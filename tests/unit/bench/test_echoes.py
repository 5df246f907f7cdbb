"""The benchmarks' WebSocket client: what it says is right by wsproto, and what is not echoed right it sees."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from bench.client import ClientError
from bench.echoes import KINDS, EchoLoop, check_handshake, connect, echo, length, pairs

KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of RFC 6455, section 1.3
SWITCHED = b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: %b\r\n\r\n"

needs_epoll = pytest.mark.skipif(sys.platform != "linux", reason="the loop waits by epoll")


@pytest.mark.parametrize(
    ("octets", "plain", "masked"),
    [
        (0, b"\x00", b"\x80"),
        (125, b"\x7d", b"\xfd"),
        (126, b"\x7e\x00\x7e", b"\xfe\x00\x7e"),
        (65535, b"\x7e\xff\xff", b"\xfe\xff\xff"),
        (65536, b"\x7f\0\0\0\0\0\x01\0\0", b"\xff\0\0\0\0\0\x01\0\0"),
    ],
)
def test_lengths_are_in_their_shortest_form(octets, plain, masked):
    assert (length(octets, False), length(octets, True)) == (plain, masked)


def read(data, kind):
    """The payloads that wsproto reads."""
    machine = Connection(kind)
    machine.receive_data(data)
    return [bytes(event.data) for event in machine.events()]


@pytest.mark.parametrize("octets", [1, 3, 64, 16384, 70000])
def test_frames_and_their_echoes_hold_the_same_message(octets):
    found = pairs(octets)
    assert len({frame for frame, _ in found}) == len({expected for _, expected in found}) == KINDS or octets == 1
    for frame, expected in found:
        (sent,) = read(frame, ConnectionType.SERVER)
        (back,) = read(expected, ConnectionType.CLIENT)
        assert sent == back
        assert len(sent) == octets


def test_a_handshake_is_answered_for_its_key_and_without_extensions():
    check_handshake(SWITCHED % ACCEPT, KEY)
    for head in (
        SWITCHED % ACCEPT[::-1],
        SWITCHED.replace(b"101", b"200") % ACCEPT,
        b"HTTP/1.1 101 x\r\n\r\n",
        SWITCHED.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n") % ACCEPT,
    ):
        with pytest.raises(ClientError, match="unexpected answer"):
            check_handshake(head, KEY)


@contextmanager
def echoing(answer):
    """A server of one WebSocket in a thread; ``answer`` makes the payload it sends of the one that came."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve():
            # A client that has seen enough leaves octets unread, which resets the connection.
            with listening.accept()[0] as sock, suppress(ConnectionResetError, BrokenPipeError):
                sock.settimeout(10)
                machine = WSConnection(ConnectionType.SERVER)
                while data := sock.recv(65536):
                    machine.receive_data(data)
                    for event in machine.events():
                        if isinstance(event, Request):
                            sock.sendall(machine.send(AcceptConnection()))
                        elif isinstance(event, BytesMessage):
                            if (payload := answer(bytes(event.data))) is None:
                                return
                            sock.sendall(machine.send(BytesMessage(payload)))
                        elif isinstance(event, CloseConnection):
                            return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            thread.join(20)
        assert not thread.is_alive()


@needs_epoll
@pytest.mark.parametrize("octets", [64, 16384])
def test_messages_go_there_and_back_until_time_is_up(octets):
    with echoing(lambda payload: payload) as port:
        found = EchoLoop(port, "/ws", octets=octets, seconds=0.05, connections=1).run()
    assert len(found.latencies) > KINDS
    assert found.latencies == sorted(found.latencies)
    assert 0.05 <= found.seconds < 5


@needs_epoll
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda payload: payload[::-1], "an echo begins with"),
        (lambda payload: None, "closed without an echo"),
    ],
)
def test_what_is_no_echo_ends_the_loop(answer, said):
    with echoing(answer) as port, pytest.raises(ClientError, match=said):
        EchoLoop(port, "/ws", octets=64, seconds=1, connections=1).run()


@needs_epoll
def test_an_echo_of_the_message_before_is_seen():
    kept = []

    def answer(payload):
        kept.append(payload)
        return kept[0]

    with echoing(answer) as port, pytest.raises(ClientError, match="an echo begins with"):
        EchoLoop(port, "/ws", octets=64, seconds=1, connections=1).run()
    assert len(kept) == 2


def test_one_echo():
    with echoing(lambda payload: payload) as port, connect(port, "/ws") as sock:
        echo(sock, 300)
    for answer in (lambda payload: payload + b"!", lambda _: None):
        with echoing(answer) as port, connect(port, "/ws") as sock, pytest.raises((ClientError, OSError)):
            echo(sock, 300)
