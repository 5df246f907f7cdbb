"""Applications that misbehave, with three requests at once on a connection: each costs itself, and no neighbour."""

from __future__ import annotations

import pytest
import trio
from asgi_tools import body, http, start
from story_tools import GET, answer, open_house

from roadrunner_trio.apps.asgi import asgi


async def answered(send):
    await send(start())
    await send(body(b"ok"))


async def late_task(scope, receive, send):
    async def late():
        await trio.sleep(1)
        await answered(send)

    trio.lowlevel.spawn_system_task(late)
    await answered(send)


async def own_scope_cancelled(scope, receive, send):
    with trio.CancelScope() as own:
        own.cancel()
        await answered(send)


async def keeps_asking(scope, receive, send):
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(receive)
        await answered(send)
        await trio.sleep(2)


async def empties_its_scope(scope, receive, send):
    scope.clear()
    await answered(send)


async def shields_itself(scope, receive, send):
    await answered(send)
    with trio.CancelScope(shield=True):
        await trio.sleep(2)


async def group(scope, receive, send):
    await answered(send)
    raise ExceptionGroup("two", [ValueError(1), ExceptionGroup("more", [KeyError(2)])])


async def somebody_elses_cancellation(scope, receive, send):
    await answered(send)
    raise trio.Cancelled._create(source="unknown")


async def leaves_python(scope, receive, send):
    await answered(send)
    raise SystemExit(3)


async def closes_itself(scope, receive, send):
    await answered(send)
    raise GeneratorExit


async def starts_at_once_in_many_tasks(scope, receive, send):
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(send, start())


async def no_message(scope, receive, send):
    await send([("type", "http.response.start")])


async def status_as_text(scope, receive, send):
    await send(start("200"))


async def nothing(scope, receive, send):
    pass


FINE = [late_task, own_scope_cancelled, keeps_asking, empties_its_scope, shields_itself]
ANSWERED = [group, somebody_elses_cancellation, leaves_python, closes_itself]
FAILED = [starts_at_once_in_many_tasks, no_message, status_as_text, nothing]


@pytest.mark.parametrize("act", [*FINE, *ANSWERED, *FAILED], ids=lambda act: act.__name__)
async def test_each_costs_itself(act, autojump_clock, caplog):
    async def app(scope, receive, send):
        await (answered(send) if scope["path"] == "/well" else act(scope, receive, send))

    async with open_house(asgi(http(app), lifespan="off"), tcp=True) as house:
        neighbour, peer = house.tcp_peer(), house.tcp_peer()
        await peer.say(GET * 3)
        await neighbour.say(GET.replace(b"/ ", b"/well "))
        heard = peer.take()
        if act in FAILED:
            assert heard.startswith(b"HTTP/1.1 500 ")
        else:  # what has been said is whole, and did not say that the connection ends, whatever is raised after it
            assert heard == answer(b"ok") * 3
        assert (peer.ended_at is None) == (act not in FAILED)
        assert neighbour.take() == answer(b"ok")
        await trio.sleep(5)
        await neighbour.say(GET.replace(b"/ ", b"/well "))
        assert neighbour.take() == answer(b"ok")
        outcome = await house.listener.drain(3)
        assert (outcome.cut, outcome.stuck) == (0, 0)
        assert house.listener.info().failed == (0 if act in FINE else 3 if act in ANSWERED else 1)
