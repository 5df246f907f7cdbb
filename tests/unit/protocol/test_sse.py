"""Server-sent events as octets."""

from __future__ import annotations

import math
import pickle

import pytest

from roadrunner_trio import ServerSentEvent
from roadrunner_trio.protocol.codec.sse import HEARTBEAT, comment


@pytest.mark.parametrize(
    ("event", "octets"),
    [
        (ServerSentEvent("hello"), b"data: hello\n\n"),
        (ServerSentEvent("hello", event="greeting"), b"event: greeting\ndata: hello\n\n"),
        (ServerSentEvent("hello", event="greeting", id="7"), b"event: greeting\nid: 7\ndata: hello\n\n"),
        (ServerSentEvent("hello", id=7), b"id: 7\ndata: hello\n\n"),
        (ServerSentEvent("x", retry=1.5), b"retry: 1500\ndata: x\n\n"),
        (ServerSentEvent(retry=0), b"retry: 0\n\n"),
        (ServerSentEvent(id=""), b"id: \n\n"),
        (ServerSentEvent(event=""), b"event: \n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent("a\nb"), b"data: a\ndata: b\n\n"),
        (ServerSentEvent("a\rb"), b"data: a\ndata: b\n\n"),
        (ServerSentEvent("a\r\nb"), b"data: a\ndata: b\n\n"),
        (ServerSentEvent("a\n\rb"), b"data: a\ndata: \ndata: b\n\n"),
        (ServerSentEvent("a\r\r\nb\n"), b"data: a\ndata: \ndata: b\ndata: \n\n"),
        (ServerSentEvent("a\u2028b\x0bc\x85d"), "data: a\u2028b\x0bc\x85d\n\n".encode()),  # no line ends here
        (ServerSentEvent(" a: b"), b"data:  a: b\n\n"),
        (ServerSentEvent("\0é"), b"data: \0\xc3\xa9\n\n"),
        (ServerSentEvent.json({"é": [1, None]}, id=1), 'id: 1\ndata: {"é":[1,null]}\n\n'.encode()),
        (ServerSentEvent.json("a\nb", event="e", retry=2), b'event: e\nretry: 2000\ndata: "a\\nb"\n\n'),
    ],
)
def test_an_event_in_octets(event: ServerSentEvent, octets: bytes) -> None:
    assert event.encoded == octets


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "has data, a type, an id or a retry"),
        ({"data": "x", "id": "a\nb"}, "id is one line"),
        ({"data": "x", "id": "a\r"}, "id is one line"),
        ({"data": "x", "id": "a\0b"}, "has no NUL"),
        ({"data": "x", "event": "a\ndata: injected"}, "event is one line"),
        ({"data": "x", "event": "\r"}, "event is one line"),
        ({"data": "x", "event": "a\0b"}, "event has no NUL or other control character"),
        ({"data": "x", "event": " a"}, "event has no blank at its ends"),
        ({"data": "x", "retry": -0.001}, "at least 0 seconds"),
        ({"data": "x", "retry": 2_147_484}, "at most 2147483"),
        ({"data": "x", "retry": math.inf}, "at least 0 seconds"),
        ({"data": "x", "retry": math.nan}, "at least 0 seconds"),
        ({"data": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_what_would_be_read_in_another_way_is_refused(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ServerSentEvent(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", [{"data": b"x"}, {"data": 7}, {"data": "x", "id": 1.5}, {"data": "x", "id": True}, {"event": b"x"}]
)
def test_what_is_no_text_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="is str, not"):
        ServerSentEvent(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "id_",
    [
        "a\x0cb",
        "a\x01b",
        "a\x7fb",
        "a\x85b",
        "x" * 9000,
        "x" * 4097,
        "é" * 2049,
        " padded ",
        " a",
        "a ",
        "tab\t",
        "a\tb",
    ],
)
def test_case_10_an_id_that_would_not_come_back_is_refused(id_: str) -> None:
    for make in (lambda: ServerSentEvent("x", id=id_), lambda: ServerSentEvent.json(1, id=id_)):
        with pytest.raises(ValueError, match="an event's id has"):
            make()


@pytest.mark.parametrize("retry", ["5", True, None.__class__, [1]])
def test_a_time_is_a_number(retry: object) -> None:
    with pytest.raises(ValueError, match="must be a finite time of at least 0 seconds, not"):
        ServerSentEvent("x", retry=retry)  # type: ignore[arg-type]


def test_json_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="JSON"):
        ServerSentEvent.json(math.nan)
    with pytest.raises(TypeError, match="JSON"):
        ServerSentEvent.json({1, 2})


def test_an_event_is_a_value() -> None:
    event = ServerSentEvent("a", event="b", id=3, retry=4)
    assert (event.data, event.event, event.id, event.retry) == ("a", "b", "3", 4)
    assert event == ServerSentEvent("a", event="b", id="3", retry=4.0)
    assert event != ServerSentEvent("a", event="b", id="3")
    assert event != event.encoded
    assert len({event, ServerSentEvent("a", event="b", id="3", retry=4)}) == 1
    assert repr(event) == "ServerSentEvent(data='a', event='b', id='3', retry=4)"


def test_an_event_does_not_change() -> None:
    event = ServerSentEvent("a")
    for change in (lambda: setattr(event, "data", "b"), lambda: delattr(event, "id"), lambda: setattr(event, "new", 1)):
        with pytest.raises((AttributeError, TypeError)):  # TypeError: a fault of Python 3.11 for what is no attribute
            change()
    assert event == ServerSentEvent("a")


def test_an_event_can_be_copied() -> None:
    event = ServerSentEvent("a", event="b", id=3, retry=4)
    assert pickle.loads(pickle.dumps(event)) == event


def test_comments() -> None:
    assert comment("hello") == b": hello\n\n"
    assert comment("") == b": \n\n"
    for text in ("a\nb", "a\rb"):
        with pytest.raises(ValueError, match="comment is one line"):
            comment(text)
    assert HEARTBEAT == b":\n\n"
