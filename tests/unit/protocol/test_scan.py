"""The fast lane: which heads it takes, and that it takes time in proportion to them."""

from __future__ import annotations

import pytest

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import Framing, RequestHead
from roadrunner_trio.protocol.http1 import h11_engine
from roadrunner_trio.protocol.http1.engine import END, NEED_DATA
from roadrunner_trio.protocol.http1.scan import ScanEngine
from roadrunner_trio.settings import Limits

PLAIN = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: v w\r\nEmpty:\r\n\r\n"


@pytest.fixture
def no_h11(monkeypatch):
    """Fails the test when a head is shown to h11."""

    def confirm(head: RequestHead) -> None:
        pytest.fail(f"h11 was asked about {head.raw!r}")

    monkeypatch.setattr(h11_engine, "confirm", confirm)


def read(data: bytes, limits: Limits | None = None):
    engine = ScanEngine(limits or Limits())
    engine.receive(data)
    return engine, engine.next_head()


def test_a_plain_head_is_read_without_h11(no_h11):
    engine, head = read(PLAIN + b"rest")
    assert head == RequestHead(
        method=b"GET",
        target=b"/a?b",
        path=b"/a?b",
        version=(1, 1),
        fields=((b"host", b"h"), (b"x-a", b"v w"), (b"empty", b"")),
        host=b"h",
        framing=Framing.NONE,
        content_length=0,
        keep_alive=True,
        expects_continue=False,
        raw=PLAIN,
    )
    assert engine.release() == b"rest"


def test_pipelined_heads_and_plain_bodies_are_read_without_h11(no_h11):
    engine, first = read(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok" + PLAIN)
    assert first.framing is Framing.LENGTH
    assert engine.next_body() == b"ok"
    assert engine.next_body() is END
    engine.next_cycle()
    assert engine.next_head().target == b"/a?b"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"v" * 9000 + b"\r\n\r\n",
    ],
)
def test_other_heads_are_left_to_h11(head, monkeypatch):
    seen = []
    monkeypatch.setattr(h11_engine, "confirm", seen.append)
    _, got = read(head, Limits(max_field_line=10_000))
    assert seen == [got]


def test_a_head_is_tried_once_however_many_pieces_it_comes_in(monkeypatch):
    tried = []
    engine = ScanEngine(Limits())
    monkeypatch.setattr("roadrunner_trio.protocol.http1.scan._head", tried.append)
    for octet in PLAIN:
        assert engine.next_head() is NEED_DATA
        engine.receive(bytes([octet]))
    assert isinstance(engine.next_head(), RequestHead)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    ],
)
def test_a_verdict_is_the_same_on_both_lanes(data, status):
    with pytest.raises(ProtocolError) as caught:
        read(data)
    assert caught.value.status == status


AGAIN = b"PUT /other HTTP/1.1\r\nHost: h\r\nX-A: v w\r\nEmpty:\r\n\r\n"


def test_a_head_that_repeats_the_fields_of_the_last_is_not_judged_again(no_h11, monkeypatch):
    engine, first = read(PLAIN)
    engine.next_body()
    engine.next_cycle()
    monkeypatch.setattr("roadrunner_trio.protocol.http1.scan.judge", lambda *_: pytest.fail("judged again"))
    engine.receive(AGAIN + b"rest")
    second = engine.next_head()
    assert second == first._replace(method=b"PUT", target=b"/other", path=b"/other", raw=AGAIN)
    assert second.fields is first.fields
    assert engine.release() == b"rest"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: v x\r\nEmpty:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: v w\r\nEmpty:\r\nMore: 1\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: h\r\nX-A: v w\r\nEmpty:\r\n\r\n",
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\nX-A: v w\r\nEmpty:\r\n\r\n",
    ],
)
def test_a_head_that_differs_is_judged_by_itself(head):
    engine, _ = read(PLAIN)
    engine.next_body()
    engine.next_cycle()
    engine.receive(head)
    assert engine.next_head() == read(head)[1]


def test_a_repeat_that_is_too_long_or_a_connect_is_refused():
    for line, status in ((b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414), (b"CONNECT / HTTP/1.1\r\n", 400)):
        engine, _ = read(PLAIN)
        engine.next_body()
        engine.next_cycle()
        engine.receive(line + PLAIN.partition(b"\r\n")[2])
        with pytest.raises(ProtocolError) as caught:
            engine.next_head()
        assert caught.value.status == status
