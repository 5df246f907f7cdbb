"""Request ids that come from trusted peers, and are told back."""

from __future__ import annotations

import logging
import re
from functools import partial

import pytest
import trio
from event_tools import Everything
from story_tools import GET, hello, open_house, post, undated

import roadrunner_trio as rr

OWN = re.compile("[0-9a-f]{16}").fullmatch


def asking(*lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in (b"Host: h", *lines)) + b"\r\n"


async def told(
    said: bytes, request_ids: rr.RequestIds | None, handler=hello, **settings
) -> tuple[list[str], list[str]]:
    """The ids that responses carried, and those that events did."""
    events = Everything()
    async with open_house(handler, observers=[events], request_ids=request_ids, **settings) as house:
        peer = house.peer()
        await peer.say(said)
        await trio.sleep(1)
        heard = peer.heard
    ids = [line.partition(b": ")[2].decode() for line in heard.split(b"\r\n") if line.startswith(b"x-request-id:")]
    return ids, [event.request_id for event in events.of("request_start")]


async def test_without_the_option_nothing_is_taken_and_nothing_told(autojump_clock):
    ids, [used] = await told(asking(b"X-Request-Id: mine"), None)
    assert ids == []
    assert OWN(used)


async def test_an_id_of_a_trusted_peer_is_taken_and_told_back(autojump_clock):
    assert await told(asking(b"X-Request-Id: mine"), rr.RequestIds(trust="memory")) == (["mine"], ["mine"])


async def test_an_id_of_anybody_else_is_not(autojump_clock):
    for trust in ((), "unix", ["10.0.0.0/8", "::/0"]):
        [id_], [used] = await told(asking(b"X-Request-Id: mine"), rr.RequestIds(trust=trust))
        assert id_ == used
        assert OWN(used)


async def test_trusted_is_who_is_at_the_other_end():
    async with trio.open_nursery() as nursery:
        for trust, taken in (("127.0.0.0/8", True), ("192.0.2.0/24", False)):
            ids = rr.RequestIds(trust=trust)
            listener = await nursery.start(rr.Listener(hello, bind="127.0.0.1:0", request_ids=ids).serve)
            async with await trio.open_tcp_stream("127.0.0.1", listener.port) as stream:
                await stream.send_all(asking(b"X-Request-Id: mine"))
                assert (b"x-request-id: mine\r\n" in await stream.receive_some()) is taken
            await listener.drain(1)


@pytest.mark.parametrize(
    ("lines", "taken"),
    [
        ([b"X-Request-Id: Root=1-67891233-abcdef012345678912345678;x"], True),
        ([b"X-Request-Id: " + b"a" * 128], True),
        ([b"X-Request-Id: " + b"a" * 129], False),
        ([b"X-Request-Id:"], False),
        ([b"X-Request-Id: a b"], False),
        ([b"X-Request-Id: a\tb"], False),
        ([b'X-Request-Id: a"b'], False),
        ([b"X-Request-Id: a\\b"], False),
        ([b"X-Request-Id: \xe9"], False),
        ([b"X-Request-Id: a", b"X-Request-Id: b"], False),
        ([b"X-Request-Id: a", b"X-Request-Id: a"], False),
        ([], False),
    ],
)
async def test_an_id_is_taken_only_if_it_is_one(lines, taken, autojump_clock):
    [id_], [used] = await told(asking(*lines), rr.RequestIds(trust="memory"))
    assert id_ == used
    assert bool(OWN(used)) is not taken
    assert not taken or lines[0].endswith(used.encode())


async def test_another_field_by_any_spelling(autojump_clock):
    ids = rr.RequestIds("Trace-ID", trust="memory", echo=False)
    assert await told(asking(b"trace-id: mine"), ids) == ([], ["mine"])


async def test_every_response_carries_its_own(autojump_clock):
    ids, used = await told(GET * 5, rr.RequestIds())
    assert ids == used
    assert len(set(ids)) == 5


async def test_the_application_may_set_it_itself(autojump_clock):
    async def handler(request):
        return rr.Response("\r\nsomething else", fields={"X-Request-ID": "ours"})

    assert (await told(GET, rr.RequestIds(), handler))[0] == ["ours"]


@pytest.mark.parametrize("fields", [{}, {"x-request-id-too": "x"}, {"a": "x-request-id: x"}])
async def test_what_only_looks_like_it_does_not_count(fields, autojump_clock):
    async def handler(request):
        return rr.Response(fields=fields)

    ids, used = await told(GET, rr.RequestIds(), handler)
    assert ids == used


async def produce(send):
    await send(b"x")


async def run(request, stream):
    await stream.send_all(b"x")


async def crash():
    raise ValueError


async def missing():
    raise rr.HTTPError(404)


KINDS = {
    "stream": lambda: rr.StreamResponse(produce),
    "file": lambda: rr.FileResponse(__file__),
    "hand-off": lambda: rr.Handoff(run, status=101, fields={"upgrade": "x", "connection": "upgrade"}),
    "crash": crash,
    "missing": missing,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_response_carries_it(kind):
    async def handler(request):
        response = KINDS[kind]()
        return await response if kind in ("crash", "missing") else response

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(rr.serve_connection, theirs, handler, request_ids=rr.RequestIds(trust="memory")))
        await ours.send_all(asking(b"X-Request-Id: mine"))
        await ours.send_eof()
        heard = b"".join([data async for data in ours])
    assert heard.count(b"\r\nx-request-id: mine\r\n") == 1


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_the_servers_own_words_about_a_request_carry_it(mode, autojump_clock):
    async def handler(request):
        await request.read()
        await trio.sleep_forever()

    for said, status in (
        (post(b"Content-Length: 99999999", b"X-Request-Id: mine"), b"413"),
        (post(b"Content-Length: 9", b"X-Request-Id: mine"), b"408"),
        (post(b"Content-Length: 1", b"X-Request-Id: mine", body=b"x"), b"503"),
    ):
        ids = rr.RequestIds(trust="memory")
        timeouts = rr.Timeouts(handler=500)
        async with open_house(handler, request_ids=ids, body=mode, timeouts=timeouts) as house:
            peer = house.peer()
            await peer.say(said)
            heard = undated(await peer.end())
        assert heard.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nx-request-id: mine\r\n" in heard


async def test_a_word_about_no_request_carries_none(autojump_clock):
    for before in (b"", GET):
        ids, used = await told(before + b"nonsense\r\n", rr.RequestIds())
        assert ids == used
        assert len(used) == bool(before)


async def test_logs_and_their_context_have_the_id_that_was_taken(autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    seen = []

    async def handler(request):
        seen.append(rr.current_request.get().request_id)
        return rr.Response()

    settings = {"request_ids": rr.RequestIds(trust="memory"), "log_context": True}
    async with open_house(handler, observers=[rr.AccessLog("{request_id}")], **settings) as house:
        await house.peer().say(asking(b"X-Request-Id: mine"))
    assert (seen, caplog.messages) == (["mine"], ["mine"])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"header": "x request id"}, "is a token"),
        ({"header": ""}, "is a token"),
        ({"trust": "10.0.0.0/99"}, "10.0.0.0/99"),
        ({"echo": False}, "does nothing"),
    ],
)
def test_what_makes_no_sense_fails_at_the_start(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        rr.RequestIds(**wrong)
