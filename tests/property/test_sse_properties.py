"""What is sent as server-sent events is what a reader written from the specification reads."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from sse_tools import Dispatched, Interpreter

from roadrunner_trio import Limits, ServerSentEvent
from roadrunner_trio.protocol.codec.sse import HEARTBEAT, comment
from roadrunner_trio.protocol.heads import RequestHead
from roadrunner_trio.protocol.http1.scan import ScanEngine

text = st.text(st.characters(exclude_categories=["Cs"]))
lively = st.text(st.sampled_from("\r\n\0: \ufeff\u2028\x0b\x1c\x85éd") | st.characters(exclude_categories=["Cs"]))
"""Text with much in it that a careless reader would take for structure."""
one_line = lively.map(lambda value: re.sub("[\r\n]", "", value))
words = lively.map(lambda value: re.sub("[\x00-\x1f\x7f-\x9f]", "", value).strip(" "))
times = st.floats(0, 1e6)
events = st.builds(
    ServerSentEvent,
    lively,
    event=st.none() | words,
    id=st.none() | words | st.integers(),
    retry=st.none() | times,
)


def lines(data: str) -> str:
    """``data`` with its line ends as readers give them back."""
    return data.replace("\r\n", "\n").replace("\r", "\n")


@given(st.lists(st.tuples(events, st.sampled_from([b"", HEARTBEAT, comment("x: y")]))), st.data())
def test_what_was_sent_is_read_however_it_is_cut(
    sent: list[tuple[ServerSentEvent, bytes]], data: st.DataObject
) -> None:
    octets = b"".join(event.encoded + comment for event, comment in sent)
    reader, heard, last, retry = Interpreter(), [], "", None
    while octets:
        cut = data.draw(st.integers(1, len(octets)), label="cut")
        heard += reader.feed(octets[:cut])
        octets = octets[cut:]
    expected = []
    for event, _ in sent:
        last = event.id if event.id is not None else last
        retry = round(event.retry * 1000) if event.retry is not None else retry
        assert event.data is not None
        expected.append(Dispatched(event.event or "message", lines(event.data), last))
    assert heard == expected
    assert (reader.last_event_id, reader.retry) == (last, retry)


@given(words, times)
def test_fields_alone_dispatch_nothing_and_are_remembered(id_: str, retry: float) -> None:
    reader = Interpreter("before")
    assert reader.feed(ServerSentEvent(id=id_, retry=retry).encoded) == []
    assert (reader.last_event_id, reader.retry) == (id_, round(retry * 1000))


@given(lively, lively)
def test_nothing_but_data_can_hold_a_line_end(kind: str, id_: str) -> None:
    try:
        event = ServerSentEvent("x", event=kind, id=id_)
    except ValueError:
        assert any(re.search("[\x00-\x1f\x7f-\x9f]|^ | $", word) for word in (kind, id_))
    else:
        assert Interpreter().feed(event.encoded) == [Dispatched(kind or "message", "x", id_)]


@given(one_line)
def test_comments_say_nothing(said: str) -> None:
    reader = Interpreter()
    assert reader.feed(comment(said) + HEARTBEAT) == []
    assert reader.comments == [said, ""]


@given(lively)
def test_case_10_an_id_that_is_taken_comes_back_as_it_was(id_: str) -> None:
    """As browsers give it back: a field of UTF-8 (WHATWG HTML section 9.2.4)."""
    try:
        event = ServerSentEvent("x", id=id_)
    except ValueError:
        return
    engine = ScanEngine(Limits())
    engine.receive(b"GET / HTTP/1.1\r\nHost: h\r\nLast-Event-ID: %b\r\n\r\n" % id_.encode())
    head = engine.next_head()
    assert isinstance(head, RequestHead)
    assert dict(head.fields)[b"last-event-id"].decode() == event.id == id_
