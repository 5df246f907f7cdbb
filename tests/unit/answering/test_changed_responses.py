"""What a middleware leaves of a response is looked at again when it is written: what cannot be said is a 500, whole."""

from __future__ import annotations

import array

import pytest
import trio
from story_tools import GET, answer, last_word, open_house

import roadrunner_trio as rr

ERROR_500 = last_word(b"500 Internal Server Error")
HEAD = GET.replace(b"GET", b"HEAD")
NUMBERS = memoryview(array.array("I", [1, 2, 3, 4]))


async def produce(send):
    await send(b"hello")


async def run(request, stream):
    await stream.send_all(b"hello")


def buffered():
    return rr.Response("hello")


def streamed():
    return rr.StreamResponse(produce)


def looped():
    send, receive = trio.open_memory_channel(1)
    send.send_nowait("hello")
    send.close()

    async def on_message(message, send):
        await send(b"hello")

    return rr.LoopResponse(receive, on_message)


def filed():
    return rr.FileResponse(__file__, length=5)


def handed_off():
    return rr.Handoff(run, status=200)


KINDS = [buffered, streamed, looped, filed, handed_off]


async def heard_of(make, change, request=GET):
    """What a peer hears of a response that a middleware has changed, and the errors that observers saw."""

    async def handler(request):
        return make()

    async def changing(request, call_next):
        response = await call_next(request)
        change(response)
        return response

    async with open_house(handler, middlewares=[changing]) as house:
        peer = house.peer()
        await peer.say(request)
        heard = peer.take()
    return heard, [event.error for name, event in house.watch.events if name == "exception"]


def adding(name, value):
    return lambda response: response.fields.append((name, value))


def setting(name, value):
    return lambda response: setattr(response, name, value)


UNSAYABLE = {
    "length in capitals": adding(b"Content-Length", b"0"),
    "text length in capitals": adding("Content-Length", "0"),
    "coding in capitals": adding(b"Transfer-Encoding", b"chunked"),
    "coding, shouted": adding(b"TRANSFER-ENCODING", b"identity"),
    "length and a blank": adding(b"content-length ", b"0"),
    "length and a tab": adding(b"content-length\t", b"0"),
    "a blank and a length": adding(b" content-length", b"0"),
    "a colon": adding(b"x: y", b"0"),
    "no name": adding(b"", b"0"),
    "a line end in a name": adding(b"x: 1\r\ny", b"0"),
    "a control character": adding(b"x", b"a\x1b[31m"),
    "NUL": adding(b"x", b"a\0"),
    "a line end": adding(b"x", b"a\r\nSet-Cookie: b"),
    "half a line end": adding(b"x", b"a\nSet-Cookie: b"),
    "a number": adding(b"x", 5),
    "no text": adding(b"x", None),
    "octets that may change": adding(b"x", bytearray(b"y")),
    "beyond latin-1": adding("x", "€"),
    "no pair": lambda response: response.fields.append(b"x: y"),
    "two lengths": lambda response: response.fields.extend([(b"content-length", b"5"), (b"content-length", b"5")]),
    "no fields": setting("fields", None),
    "a mapping": setting("fields", {"x": "y"}),
}


@pytest.mark.parametrize("change", UNSAYABLE.values(), ids=UNSAYABLE.keys())
@pytest.mark.parametrize("make", KINDS)
async def test_case_39_fields_that_cannot_be_said_are_a_500(make, change, autojump_clock, caplog):
    heard, errors = await heard_of(make, change)
    assert heard == ERROR_500
    assert [type(error) for error in errors] in ([ValueError], [TypeError], [UnicodeEncodeError])
    assert len(caplog.records) == 1


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
async def test_a_hand_off_says_of_no_content_where_it_ends(name, autojump_clock, caplog):
    assert (await heard_of(handed_off, adding(name, b"5")))[0] == ERROR_500


@pytest.mark.parametrize(
    "change",
    [
        setting("status", 100), setting("status", 101), setting("status", 199), setting("status", 600),
        setting("status", "200"), setting("status", True), setting("status", None), setting("reason", b"a\r\nX: y"),
        setting("reason", "text"), setting("reason", b"\x1b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", KINDS[:-1])
@pytest.mark.parametrize("request_", [GET, HEAD], ids=["GET", "HEAD"])
async def test_case_39_nor_is_a_status_or_a_reason(make, change, request_, autojump_clock, caplog):
    heard, errors = await heard_of(make, change, request_)
    assert heard == ERROR_500
    assert len(errors) == 1


@pytest.mark.parametrize("status", [404, 100, 300, "200", True])
async def test_what_hands_nothing_over_is_no_hand_off(status, autojump_clock, caplog):
    heard, (error,) = await heard_of(handed_off, setting("status", status))
    assert heard == ERROR_500
    assert isinstance(error, ValueError | TypeError)


@pytest.mark.parametrize("body", ["text", None, 5, ["x"], {"a": 1}])
@pytest.mark.parametrize("request_", [GET, HEAD], ids=["GET", "HEAD"])
async def test_case_39_a_body_without_octets_is_a_500_too(body, request_, autojump_clock, caplog):
    heard, (error,) = await heard_of(buffered, setting("body", body), request_)
    assert heard == ERROR_500
    assert isinstance(error, TypeError)


@pytest.mark.parametrize("body", [NUMBERS, NUMBERS[::2], bytearray(b"12345678"), array.array("H", range(9))])
async def test_case_39_a_body_with_octets_is_those_octets_whatever_it_counts_in(body, autojump_clock):
    heard, errors = await heard_of(buffered, setting("body", body), GET + GET)
    text = b"content-type: text/plain; charset=utf-8"
    head = answer(memoryview(body).tobytes())
    assert (heard, errors) == (head * 2, [])
    plain = await heard_of(lambda: rr.Response.text("hello"), setting("body", body))
    assert plain[0] == answer(memoryview(body).tobytes(), text)


async def test_a_kind_of_response_of_ones_own_is_looked_at_as_well(autojump_clock, caplog):
    class Own(rr.Response):
        pass

    assert (await heard_of(lambda: Own("hi"), setting("body", "text")))[0] == ERROR_500
    assert (await heard_of(lambda: Own("hi"), setting("body", NUMBERS)))[0] == answer(NUMBERS.tobytes())


async def test_what_can_be_said_in_other_letters_is_said(autojump_clock):
    def change(response):
        response.fields += [(b"X-Frame-Options", b"DENY"), ("Vary", " accept\t"), (b"Connection", b"close")]

    heard, errors = await heard_of(buffered, change)
    assert heard == answer(b"hello").replace(
        b"content-length", b"connection: close\r\nx-frame-options: DENY\r\nvary: accept\r\ncontent-length"
    )
    assert errors == []


async def test_an_error_is_said_even_where_what_the_server_adds_cannot_be(autojump_clock, caplog):
    class Adding:
        """An app that adds what an observer might."""

        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            exchange.extra = ((b"x-id", b"a\r\nb: c"),)
            await exchange.respond(200, (), b"hello")

    async with open_house(Adding()) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == ERROR_500


# What `send` takes


@pytest.mark.parametrize("piece", [5, 0, True, None, [1, 2], "text", iter(b"x")])
@pytest.mark.parametrize("make", [rr.StreamResponse, rr.LoopResponse])
async def test_send_takes_octets_and_nothing_that_bytes_could_be_made_of(make, piece, autojump_clock, caplog):
    caught = []

    async def send_it(send):
        try:
            await send(piece)
        except TypeError as error:
            caught.append(str(error))
        await send(b"")

    def response():
        if make is rr.StreamResponse:
            return rr.StreamResponse(send_it)
        messages, receive = trio.open_memory_channel(1)
        messages.send_nowait("go")
        messages.close()

        async def on_message(message, send):
            await send_it(send)

        return rr.LoopResponse(receive, on_message)

    heard, errors = await heard_of(response, lambda response: None)
    assert heard.endswith(b"\r\n\r\n0\r\n\r\n")
    assert errors == []
    (told,) = caught
    assert "text.encode()" in told if piece == "text" else type(piece).__name__ in told


async def test_send_takes_whatever_has_octets(autojump_clock):
    async def several(send):
        for piece in (b"a", bytearray(b"b"), memoryview(b"c"), NUMBERS[:1]):
            await send(piece)

    heard, _ = await heard_of(lambda: rr.StreamResponse(several), lambda response: None)
    octets = NUMBERS[:1].tobytes()
    assert heard.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n4\r\n" + octets + b"\r\n0\r\n\r\n")
