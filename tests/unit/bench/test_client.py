"""The benchmarks' own clients. They live in real time, which is what they measure, so these tests do too: 0.1 s."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from bench.client import ClientError, OpenLoop, alive, answered, ask_at_once, complete, idle_connections

needs_epoll = pytest.mark.skipif(sys.platform != "linux", reason="the open loop waits by epoll")

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


@pytest.mark.parametrize(("upto", "whole"), [(0, False), (20, False), (len(ANSWER) - 1, False), (len(ANSWER), True)])
def test_an_answer_is_whole_when_its_length_is_there(upto, whole):
    assert complete(ANSWER[:upto]) is whole


@pytest.mark.parametrize(
    "data", [ANSWER.replace(b"200", b"503"), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
)
def test_an_answer_that_was_not_asked_for(data):
    with pytest.raises(ClientError, match="unexpected"):
        complete(data)


@contextmanager
def answering(answers):
    """A server in a thread: each connection is a list of answers, one a request, and then closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        seen = []

        def serve():
            for each in answers:
                with listening.accept()[0] as sock:
                    sock.settimeout(10)
                    for answer in each:
                        seen.append(sock.recv(65536))
                        sock.sendall(answer() if callable(answer) else answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], seen
        finally:
            thread.join(20)
        assert not thread.is_alive()


@needs_epoll
def test_all_that_was_offered_is_answered_over_several_connections():
    with answering([[ANSWER, LAST], [ANSWER, ANSWER, LAST], [ANSWER] * 5]) as (port, seen):
        found = OpenLoop(port, "/x", rate=500, seconds=0.02, connections=1).run()
    assert seen == [b"GET /x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"] * 10
    assert found.asked == len(found.latencies) == len(found.lags) == 10
    assert found.latencies == sorted(found.latencies)


@needs_epoll
def test_requests_that_a_slow_answer_held_back_count_from_when_they_were_due():
    held = 0.1

    def late():
        threading.Event().wait(held)  # real time is what is measured
        return ANSWER

    with answering([[late, *[ANSWER] * 9]]) as (port, _):
        found = OpenLoop(port, "/", rate=1000, seconds=0.01, connections=1).run()
    # Ten requests were due in the first 10 ms: one answer was slow, and all ten times say so.
    assert found.latencies[0] > held - 0.01
    assert found.lags[0] < held / 2


@needs_epoll
def test_a_connection_that_closes_without_an_answer_is_an_error():
    with answering([[b""]]) as (port, _), pytest.raises((ClientError, OSError)):
        OpenLoop(port, "/", rate=100, seconds=0.01, connections=1).run()


@needs_epoll
def test_idle_connections_are_counted():
    with answering([[ANSWER], [ANSWER]]) as (port, _), idle_connections(2, lambda: answered(port, "/")) as kept:
        first, second = kept
        assert first.recv(1) == second.recv(1) == b""  # closed after their one answer
        assert alive(kept) == 0
    pair = socket.socketpair()
    with pair[0], pair[1]:
        assert alive(pair) == 2
        pair[0].send(b"\x89\0")  # a WebSocket's ping is a sign of life
        assert alive(pair) == 2
        pair[1].send(b"HTTP/1.1 408 Request Timeout")
        assert alive(pair) == 1


def test_a_connection_that_is_not_answered_is_no_idle_one():
    with answering([[b""]]) as (port, _), pytest.raises(ClientError, match="without an answer"):
        answered(port, "/")


def test_requests_sent_at_once():
    with answering([[ANSWER * 2 + LAST]]) as (port, seen):
        assert ask_at_once(port, "/x", 3) == ANSWER * 2 + LAST
    assert seen[0].count(b"GET /x ") == 3
    assert seen[0].count(b"connection: close") == 1
    assert seen[0].endswith(b"connection: close\r\n\r\n")
