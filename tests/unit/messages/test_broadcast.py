"""One event to many peers."""

from __future__ import annotations

import pytest
import trio
from sse_tools import Interpreter
from trio.testing import MockClock, wait_all_tasks_blocked

from roadrunner_trio import Broadcast, EventStream, Request, ServerSentEvent, Subscription
from roadrunner_trio.testing import open_server

GAP = ServerSentEvent("", event="gap")


async def soon(subscription: Subscription, count: int) -> list[str | None]:
    """The data of the next events, which have to be there."""
    with trio.fail_after(1):
        return [(await anext(subscription)).data for _ in range(count)]


async def nothing(subscription: Subscription) -> bool:
    """Whether no event is there."""
    with trio.move_on_after(0) as scope:
        await wait_all_tasks_blocked()
        await anext(subscription)
    return scope.cancelled_caught


async def test_everybody_gets_everything_from_when_they_came(autojump_clock: MockClock) -> None:
    news = Broadcast()
    news.publish("nobody hears this")
    first = news.subscribe()
    news.publish("one")
    second = news.subscribe()
    news.publish("two")
    assert await soon(first, 2) == ["one", "two"]
    assert await soon(second, 1) == ["two"]
    assert await nothing(first)
    news.publish("three")
    assert await soon(first, 1) == await soon(second, 1) == ["three"]


async def test_who_waits_is_woken(autojump_clock: MockClock) -> None:
    news, heard = Broadcast(), []

    async def read(subscription: Subscription) -> None:
        async for event in subscription:
            heard.append(event)
            if event.data == "last":
                return

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read, news.subscribe())
        await wait_all_tasks_blocked()
        events = [news.publish("first"), news.publish("last", event="bye")]
    assert sorted(heard, key=lambda event: event.encoded) == sorted(events * 3, key=lambda event: event.encoded)


async def test_ids_are_given_unless_they_are_chosen() -> None:
    one, other = Broadcast(), Broadcast()
    ids = [one.publish("x").id, one.publish("x").id, other.publish("x").id]
    assert len(set(ids)) == 3
    assert None not in ids
    assert one.publish("x", id=7).id == "7"
    made = ServerSentEvent("x", id="mine")
    assert one.publish(made) is made
    with pytest.raises(ValueError, match="one line"):
        one.publish("x", event="a\n")


async def test_an_event_made_before_gets_an_id_and_keeps_all_that_it_has() -> None:
    news = Broadcast()
    made = ServerSentEvent("x", event="kind", retry=3)
    out, again = news.publish(made), news.publish(made)
    assert (out.data, out.event, out.retry) == ("x", "kind", 3)
    assert made.id is None
    assert None not in (out.id, again.id)
    assert out.id != again.id
    assert out.encoded == f"event: kind\nid: {out.id}\nretry: 3000\ndata: x\n\n".encode()
    peer = news.subscribe(out.id)
    assert await anext(peer) is again
    forget = ServerSentEvent("x", id="")
    assert news.publish(forget) is forget, "no id is one thing, to forget the last another"
    assert news.publish(ServerSentEvent(retry=5)).id is not None


@pytest.mark.parametrize("arguments", [{"event": "kind"}, {"id": 5}, {"event": "", "id": ""}])
async def test_what_an_event_made_before_has_cannot_be_said_again(arguments: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="already has its type and id"):
        Broadcast().publish(ServerSentEvent("x"), **arguments)


async def test_who_comes_again_goes_on_where_they_were(autojump_clock: MockClock) -> None:
    news = Broadcast()
    events = [news.publish(str(number)) for number in range(5)]
    for at, event in enumerate(events):
        again = news.subscribe(event.id)
        assert await soon(again, 4 - at) == [str(number) for number in range(at + 1, 5)]
        assert await nothing(again)


@pytest.mark.parametrize("last", [None, ""])
async def test_who_comes_anew_gets_what_comes(last: str | None, autojump_clock: MockClock) -> None:
    news = Broadcast()
    news.publish("x")
    assert await nothing(news.subscribe(last))


async def test_who_gives_an_unknown_id_is_told_of_the_gap(autojump_clock: MockClock) -> None:
    news = Broadcast(history=2)
    again = news.subscribe("of another server")
    assert await anext(again) == GAP  # though nothing has been published here
    assert await nothing(again)
    old = news.publish("0").id
    news.publish("1")
    news.publish("2")
    again = news.subscribe(old)
    assert await anext(again) == GAP
    assert await soon(again, 2) == ["1", "2"]
    assert await nothing(again)


async def test_who_is_slow_is_told_of_the_gap_and_holds_nobody_up(autojump_clock: MockClock) -> None:
    news = Broadcast(history=3, gap=ServerSentEvent("reload", event="missed"))
    slow, quick = news.subscribe(), news.subscribe()
    for number in range(10):
        news.publish(str(number))
        assert await soon(quick, 1) == [str(number)]
    assert await soon(slow, 4) == ["reload", "7", "8", "9"]
    news.publish("10")
    assert await soon(slow, 1) == ["10"]


async def test_a_gap_may_go_untold(autojump_clock: MockClock) -> None:
    news = Broadcast(history=1, gap=None)
    slow = news.subscribe()
    unknown = news.subscribe("?")
    assert await nothing(unknown)
    news.publish("1")
    news.publish("2")
    assert await soon(slow, 1) == await soon(unknown, 1) == ["2"]


def test_a_broadcast_keeps_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Broadcast(history=0)


async def test_as_a_response(autojump_clock: MockClock) -> None:
    news = Broadcast()
    seen = news.publish("seen")

    async def handler(request: Request) -> EventStream:
        return EventStream(request, news.subscribe(request.last_event_id))

    async with open_server(handler) as server, trio.open_nursery() as nursery:
        bodies: list[bytes] = []

        async def read(fields: dict[str, str | None]) -> None:
            bodies.append((await server.client().get("/", fields=fields)).body)  # type: ignore[arg-type]

        nursery.start_soon(read, {})
        nursery.start_soon(read, {"last-event-id": seen.id})
        await wait_all_tasks_blocked()
        first = news.publish("first")
        await trio.sleep(1)
        second = news.publish("second", event="named")
        await wait_all_tasks_blocked()
        await server.listener.drain(grace=5)
    for body in bodies:
        heard = Interpreter().feed(body)
        assert [(event.data, event.last_event_id) for event in heard] == [("first", first.id), ("second", second.id)]
