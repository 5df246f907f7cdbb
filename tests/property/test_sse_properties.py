"""What is sent as server-sent events is what a reader written from the specification reads."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from sse_tools import Dispatched, Interpreter

from roadrunner_trio import ServerSentEvent
from roadrunner_trio.protocol.codec.sse import HEARTBEAT, comment

text = st.text(st.characters(exclude_categories=["Cs"]))
lively = st.text(st.sampled_from("\r\n\0: \ufeff\u2028\x0b\x1c\x85éd") | st.characters(exclude_categories=["Cs"]))
"""Text with much in it that a careless reader would take for structure."""
one_line = lively.map(lambda value: re.sub("[\r\n]", "", value))
ids = one_line.map(lambda value: value.replace("\0", ""))
times = st.floats(0, 1e6)
events = st.builds(
    ServerSentEvent,
    lively,
    event=st.none() | one_line,
    id=st.none() | ids | st.integers(),
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


@given(ids, times)
def test_fields_alone_dispatch_nothing_and_are_remembered(id_: str, retry: float) -> None:
    reader = Interpreter("before")
    assert reader.feed(ServerSentEvent(id=id_, retry=retry).encoded) == []
    assert (reader.last_event_id, reader.retry) == (id_, round(retry * 1000))


@given(lively, lively)
def test_nothing_but_data_can_hold_a_line_end(kind: str, id_: str) -> None:
    try:
        event = ServerSentEvent("x", event=kind, id=id_)
    except ValueError:
        assert re.search("[\r\n]", kind + id_) or "\0" in id_
    else:
        assert Interpreter().feed(event.encoded) == [Dispatched(kind or "message", "x", id_)]


@given(one_line)
def test_comments_say_nothing(words: str) -> None:
    reader = Interpreter()
    assert reader.feed(comment(words) + HEARTBEAT) == []
    assert reader.comments == [words, ""]
