"""The path on which the server itself says how it is, and the announcement that its end is near."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from story_tools import GET, answer, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router

TEXT = b"content-type: text/plain; charset=utf-8"
NO_STORE = b"cache-control: no-store"


def ask(method: bytes = b"GET", target: bytes = b"/healthz", *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Host: h", *fields))
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, lines)


OK = answer(b"ok\n", TEXT, NO_STORE)
LEAVING = answer(b"leaving\n", TEXT, NO_STORE, status=b"503 Service Unavailable")


class Ends(rr.Observer):
    """Notes what listeners say of their ends."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def listener_retire(self, event: rr.ListenerRetiring) -> None:
        assert event.listener == "main"
        assert event.system_time > 0
        self.said.append("retire")

    def listener_drain(self, event: rr.ListenerDraining) -> None:
        self.said.append("drain")


async def test_the_server_answers_and_the_application_does_not_hear_of_it(autojump_clock: Any) -> None:
    async with open_house(health_path="/healthz") as house:
        peer = house.peer()
        await peer.say(ask())
        assert peer.take() == OK
        await peer.say(ask(target=b"/healthz?deep=1"))
        assert peer.take() == OK
        await peer.say(ask(b"HEAD"))
        assert peer.take() == OK.removesuffix(b"ok\n")
        for other in (ask(b"DELETE"), ask(target=b"/healthz/x"), ask(target=b"/")):
            await peer.say(other)
            assert peer.take() == answer(b"hi")


async def test_a_router_is_asked_for_the_rest(autojump_clock: Any) -> None:
    async def page(request: rr.Request) -> rr.Response:
        return rr.Response(request.bindings["name"].encode())

    async with open_house(Router([Route("/:name", page)]), health_path="/healthz") as house:
        peer = house.peer()
        await peer.say(ask() + ask(target=b"/other"))
        assert peer.take() == OK + answer(b"other")


async def test_a_retiring_listener_says_503_and_serves_as_before(autojump_clock: Any) -> None:
    ends = Ends()
    async with open_house(health_path="/healthz", observers=[ends]) as house:
        peer = house.peer()
        await peer.say(ask())
        house.listener.retire()
        house.listener.retire()
        assert ends.said == ["retire"]
        for each in (peer, house.peer()):
            each.take()
            await each.say(ask() + GET)
            assert each.take() == LEAVING + answer(b"hi"), "newcomers are served, and nobody is asked to close"
        assert await house.listener.drain(1)
        assert ends.said == ["retire", "drain"]
        house.listener.retire()
        assert ends.said == ["retire", "drain"], "it is too late for an announcement"


async def test_a_draining_listener_says_503_to_whoever_is_still_there(autojump_clock: Any) -> None:
    async with open_house(health_path="/healthz") as house:
        peer = house.wire_peer()
        await wait_all_tasks_blocked()
        peer.slip(ask())  # it has arrived when the drain begins, and so is answered
        assert (await house.listener.drain(10)).finished == 1
        fields = (b"connection: close", TEXT, NO_STORE)
        leaving = answer(b"leaving\n", *fields, status=b"503 Service Unavailable")
        assert await peer.end() == leaving


async def test_neither_the_rate_nor_the_load_keeps_the_question_out(autojump_clock: Any) -> None:
    async def stay(request: rr.Request) -> rr.Response:
        await trio.sleep(100)
        return rr.Response("done")

    limits = rr.Limits(max_concurrent_requests=1)
    async with open_house(stay, health_path="/healthz", limits=limits, rate_limit=rr.RateLimit(1, period=60)) as house:
        await house.peer().say(GET)
        peer = house.peer()
        for _ in range(3):
            await peer.say(ask())
            assert peer.take() == OK
        await peer.say(GET)
        assert peer.take().startswith(b"HTTP/1.1 503")
        assert house.listener.info().throttled == 1


async def test_a_question_has_no_content(autojump_clock: Any) -> None:
    async with open_house(health_path="/healthz") as house:
        peer = house.peer()
        await peer.say(ask(b"GET", b"/healthz", b"Content-Length: 5") + b"hello")
        assert peer.take().startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", ["", "healthz", "/a?b", "/a b", "/a#b", "/a\n"])
def test_what_is_no_path_is_refused(path: str) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        raise NotImplementedError

    with pytest.raises(ValueError, match=r"health_path is a path such as '/healthz'"):
        rr.Listener(handler, health_path=path)


async def test_without_a_path_the_application_is_not_wrapped(autojump_clock: Any) -> None:
    async with open_house() as house:
        house.listener.retire()
        peer = house.peer()
        await peer.say(ask())
        assert peer.take() == answer(b"hi")


async def test_a_server_that_leaves_is_alive_and_not_ready(autojump_clock: Any) -> None:
    async with open_house(health_path="/healthz", live_path="/livez") as house:
        peer = house.peer()
        for ready in (OK, LEAVING):
            await peer.say(ask(target=b"/livez"))
            assert peer.take() == OK
            await peer.say(ask())
            assert peer.take() == ready
            house.listener.retire()
        await peer.say(ask(b"POST", b"/livez"))
        assert peer.take() == answer(b"hi")


async def test_liveness_alone(autojump_clock: Any) -> None:
    async with open_house(live_path="/livez") as house:
        peer = house.peer()
        await peer.say(ask(target=b"/livez"))
        assert peer.take() == OK
        await peer.say(ask())
        assert peer.take() == answer(b"hi")
