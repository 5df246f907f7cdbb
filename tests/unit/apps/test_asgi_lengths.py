"""The length that an application declares: taken out of its fields, said by the body, else put back."""

from __future__ import annotations

import pytest
from asgi_tools import body, http, start
from hypothesis import given
from hypothesis import strategies as st
from story_tools import open_house

from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.asgi_messages import REMEMBERED, Head, _known_fields, _known_names, _parted, head_of, parted

KIND = (b"content-type", b"text/plain")


def length(number: object) -> tuple[bytes, bytes]:
    return b"content-length", str(number).encode()


async def answered(app, method: str = "GET") -> str:
    async with open_house(asgi(http(app), lifespan="off")) as house:
        peer = house.peer()
        await peer.say(f"{method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return peer.take().decode()


@pytest.mark.parametrize(
    ("method", "status", "sent", "said"),
    [
        ("GET", 200, 3, "content-length: 3"),
        ("GET", 200, 0, "content-length: 0"),
        ("HEAD", 200, 3, "content-length: 3"),
        ("HEAD", 200, 0, "content-length: 0"),
        ("GET", 304, 3, "content-length: 3"),
        ("GET", 304, 0, "content-length: 0"),
        ("GET", 204, 0, None),
    ],
)
@pytest.mark.parametrize("kind", [bytes, memoryview])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_it_is_said_once(method, status, sent, said, kind, pieces, autojump_clock):
    async def app(scope, receive, send):
        await send(start(status, length(sent), KIND))
        if pieces == 2:
            await send(body(b"", more_body=True))
        await send(body(kind(b"x" * sent)))

    heard = await answered(app, method)
    lines = [line for line in heard.split("\r\n") if line.startswith("content-length")]
    assert lines == ([said] if said else [])
    assert heard.endswith("\r\n\r\n" + "x" * (sent if (method, status) == ("GET", 200) else 0))


async def test_a_head_without_the_body_that_it_declares_for_a_get(autojump_clock):
    async def app(scope, receive, send):
        await send(start(200, KIND, length(1000)))
        await send(body())

    assert "content-length: 1000\r\n" in await answered(app, "HEAD")


@pytest.mark.parametrize("wrong", [[length(3), length(3)], [length(3), length(4)], [length("three")], [length(-3)]])
async def test_what_is_no_length_is_refused(wrong, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(start(200, *wrong))
        await send(body(b"abc"))

    assert (await answered(app)).startswith("HTTP/1.1 500")


@pytest.mark.parametrize("name", [b"Content-Length", b"CONTENT-LENGTH", b"content-Length"])
def test_a_length_in_other_letters_is_one_however_often_it_comes(name):
    for number in range(3):
        assert parted([(name, b"%d" % number), KIND]) == Head((KIND,), number)
        assert parted([(name, b"%d" % number)]) == Head((), number)


def test_all_but_the_length_is_the_same_for_all():
    parted([KIND])  # now its name is known
    first, second = parted([length(7), KIND]), parted([length(8), KIND])
    assert (first, second) == (Head((KIND,), 7), Head((KIND,), 8))
    assert first.fields is second.fields
    assert parted([list(length(7)), list(KIND)]) == Head((KIND,), 7)
    assert parted(iter([iter(length(7)), iter(KIND)])) == Head((KIND,), 7)


async def test_a_length_in_capitals_is_one_each_time(autojump_clock):
    async def app(scope, receive, send):
        await send(start(200, (b"Content-Length", b"7"), KIND))
        await send(body(b"abc"))

    for _ in range(3):
        assert (await answered(app)).startswith("HTTP/1.1 500")
        assert parted([(b"Content-Length", b"7")]) == Head((), 7)
        assert parted([(b"Content-Length", b"3"), length(4)]).length is None


def test_what_is_remembered_is_bounded():
    for number in range(2 * REMEMBERED):
        assert parted([length(number), KIND]).length == number
        parted([(b"X-%d" % number, b"%d" % number)])
    assert max(len(_parted), len(_known_fields), len(_known_names)) <= REMEMBERED


def test_a_new_value_beside_known_names_is_checked_and_stripped():
    parted([KIND, (b"ETag", b"1")])
    assert parted([KIND, (b"ETag", b" 2\t"), length(3)]) == Head((KIND, (b"etag", b"2")), 3)
    for bad in (b"a\r\nb", b"\0", "text"):
        with pytest.raises((TypeError, ValueError)):
            parted([KIND, (b"ETag", bad)])


octets = st.sampled_from(
    [b"content-length", b"Content-Length", b"x-a", b"7", b"seven", b"a b", b"1\r\n", b"", bytearray(b"7"), "7", 7]
)


@given(st.lists(st.lists(octets, max_size=3).map(tuple), max_size=4))
def test_it_takes_and_refuses_what_it_would_with_the_length_in_it(headers):
    def outcome(read):
        try:
            head = read(headers)
        except (TypeError, ValueError, LookupError) as exc:
            return type(exc)
        lengths = [value for name, value in head.fields if name == b"content-length"]
        assert read is head_of or not (lengths and head.length is not None)
        others = [field for field in head.fields if field[0] != b"content-length"]
        return others, lengths or ([] if head.length is None else [b"%d" % head.length])

    assert outcome(parted) == outcome(head_of)
