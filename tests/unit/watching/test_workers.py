"""Several processes side by side: what a supervisor shows of workers that answer, are silent, come and go."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

import roadrunner_trio as rr
from roadrunner_trio.testing import open_server
from roadrunner_trio.watching import workers
from roadrunner_trio.watching.workers import listeners_in, observe_workers

LOCAL = {"host": "127.0.0.1:9001"}


def row(number, **more):
    known = {"slot": 0, "generation": 1, "state": "ready", "served": True, "connections": 0, "requests": 0}
    return {"id": str(number), **known, **more}


class Crew:
    """Workers as a supervisor has them, and the far ends of what they are asked."""

    def __init__(self, *rows):
        self.rows, self.asked, self.mute = list(rows), [], set()
        self._changed = trio.Event()

    def whole(self):
        return {"pid": 1, "slots": 2, "generation": 1, "doing": ""}

    def staff(self):
        return list(self.rows)

    async def changed(self):
        await self._changed.wait()

    def happens(self, *rows):
        self.rows = list(rows)
        self._changed.set()
        self._changed = trio.Event()

    def look(self, number, question):
        if number in self.mute:
            return None
        ours, theirs = trio.testing.memory_stream_pair()
        self.asked.append((number, question, theirs))
        return ours

    def end_of(self, what):
        (found,) = (far for _, question, far in self.asked if question["what"] == what)
        return found


@asynccontextmanager
async def reading(crew, target="/stream"):
    """The events that a reader gets."""
    async with open_server(observe_workers(crew)) as server, server.client().events(target, fields=LOCAL) as events:
        yield events


class Page:
    """What a reader of the stream knows."""

    def __init__(self, events):
        self.events, self.rows, self.name = events, {}, ""

    async def turn(self):
        event = await anext(self.events)
        told = json.loads(event.data)
        self.name = event.event
        self.rows.update((each["id"], each) for each in told["workers"])
        for key in told["workers_gone"]:
            del self.rows[key]
        return told


def numbers(time, *listeners):
    return b"numbers " + json.dumps({"t": time, "listeners": listeners}).encode() + b"\n"


async def test_a_row_for_each_process_as_they_come_and_go(autojump_clock):
    crew = Crew(row(1))
    async with reading(crew) as events:
        page = Page(events)
        assert (await page.turn())["supervisor"] == crew.whole()
        assert (page.name, list(page.rows)) == ("workers", ["1"])
        began = trio.current_time()
        assert (await page.turn())["workers"] == []
        assert (page.name, trio.current_time() - began) == ("workers_change", 1.0)
        await trio.sleep(0.5)
        crew.happens(row(1), row(2, generation=2, state="starting", served=False))
        await page.turn()
        assert trio.current_time() - began == pytest.approx(1.5)  # at once, and not when a second is over
        assert {key: each["state"] for key, each in page.rows.items()} == {"1": "ready", "2": "starting"}
        crew.happens(row(2, generation=2))
        await page.turn()
        assert list(page.rows) == ["2"]


async def test_what_happens_in_a_row_is_told_together(autojump_clock):
    crew = Crew(row(1))
    async with reading(crew) as events:
        page = Page(events)
        await page.turn()
        for requests in range(50):
            crew.happens(row(1, requests=requests))
            await trio.sleep(0.01)
        began, told = trio.current_time(), 0
        while trio.current_time() < began + 0.1:
            await page.turn()
            told += 1
        assert told <= 3
        assert page.rows["1"]["requests"] == 49


async def test_the_listeners_of_each_with_times_as_they_are_here(autojump_clock):
    crew = Crew(row(1), row(2, served=False))
    async with reading(crew) as events:
        page = Page(events)
        await page.turn()
        await trio.testing.wait_all_tasks_blocked()
        assert [(number, question) for number, question, _ in crew.asked] == [(1, {"what": "numbers"})]
        far = crew.end_of("numbers")
        await far.send_all(numbers(5000.0, {"name": "main", "drain": 5010.0}, {"name": "x", "drain": None}))
        now = trio.current_time()
        await page.turn()
        (main, other) = page.rows["1"]["listeners"]
        assert main["drain"] == pytest.approx(now + 10, abs=0.06)
        assert other["drain"] is None
        await far.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await page.turn()
        assert page.rows["1"]["listeners"] == []
        await page.turn()
        assert len(crew.asked) == 1  # who says no more is not asked again


@pytest.mark.parametrize("said", [b"numbers {\n", b"numbers []\n", b'numbers {"t": 1}\n', numbers("x"), numbers(1, 7)])
async def test_a_worker_that_says_nonsense_is_shown_without_it(said, autojump_clock, caplog):
    crew = Crew(row(1), row(3))
    async with reading(crew) as events:
        page = Page(events)
        await page.turn()
        await trio.testing.wait_all_tasks_blocked()
        ends = {number: far for number, _, far in crew.asked}
        await ends[1].send_all(said)
        await ends[3].send_all(numbers(0, {"name": "main", "drain": None}))
        await page.turn()
        assert page.rows["1"]["listeners"] == []
        assert page.rows["3"]["listeners"] == [{"name": "main", "drain": None}]
    assert "worker 1 is not shown" in caplog.text


async def test_when_nobody_looks_nobody_is_asked_any_more(autojump_clock):
    crew = Crew(row(1))
    async with open_server(observe_workers(crew)) as server:
        reader = server.client()
        async with reader.events("/stream", fields=LOCAL) as events:
            await Page(events).turn()
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2)
        with pytest.raises(trio.BrokenResourceError):
            await crew.end_of("numbers").send_all(b"x")


async def test_the_stream_of_one_is_passed_on(autojump_clock):
    crew = Crew(row(7))
    async with reading(crew, "/stream?worker=7") as events:
        await trio.testing.wait_all_tasks_blocked()
        [(number, question, far)] = crew.asked
        assert (number, question) == (7, {"what": "stream"})
        await far.send_all(b'all {"t":1}\nchange {"t":')
        event = await anext(events)
        assert (event.event, event.data) == ("all", '{"t":1}')
        await far.send_all(b"2}\n")
        event = await anext(events)
        assert (event.event, event.data) == ("change", '{"t":2}')
        await far.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(events)


@pytest.mark.parametrize("worker", ["9", "2", "x", "-1", "1.0", "%00", "1&worker=9"])
async def test_one_that_does_not_serve_has_no_stream(worker, autojump_clock):
    crew = Crew(row(1), row(2, served=False))
    async with open_server(observe_workers(crew)) as server:
        found = await server.client().get(f"/closer?worker={worker}", fields=LOCAL)
        assert found.status == 404 if worker != "1&worker=9" else 200
        if found.status == 404:
            assert (await server.client().get(f"/stream?worker={worker}", fields=LOCAL)).status == 404


async def test_a_closer_look(autojump_clock):
    crew = Crew(row(1))
    async with open_server(observe_workers(crew)) as server, trio.open_nursery() as nursery:
        answers = []

        async def ask():
            answers.append(await server.client().get("/closer?worker=1&id=c3", fields=LOCAL))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        [(_, question, far)] = crew.asked
        assert question == {"what": "closer", "id": "c3"}
        await far.send_all(b'closer {"id":"c3"}\n')
        await trio.testing.wait_all_tasks_blocked()
        assert answers[0].json() == {"id": "c3"}
        assert answers[0].header("content-type") == "application/json"


async def test_a_closer_look_at_a_worker_that_is_stuck_or_has_ended(autojump_clock):
    crew = Crew(row(1), row(2))
    crew.mute = {2}
    async with open_server(observe_workers(crew)) as server:
        began = trio.current_time()
        found = await server.client().get("/closer?worker=1&id=1", fields=LOCAL)
        assert (found.status, trio.current_time() - began) == (504, workers.ANSWER)
        assert "its loop does not turn" in found.text
        assert (await server.client().get("/closer?worker=2&id=1", fields=LOCAL)).status == 404


async def test_there_are_not_more_readers_than_may_be(autojump_clock, monkeypatch):
    monkeypatch.setattr(workers, "READERS", 2)
    crew = Crew(row(1))
    async with open_server(observe_workers(crew)) as server:
        first, second = server.client(), server.client()
        one, two = first.events("/stream", fields=LOCAL), second.events("/stream?worker=1", fields=LOCAL)
        async with one as events, two:
            await anext(events)
            await trio.testing.wait_all_tasks_blocked()
            assert (await server.client().get("/stream", fields=LOCAL)).status == 503
        await trio.sleep(2)
        async with server.client().events("/stream", fields=LOCAL) as again:
            await anext(again)


@pytest.mark.parametrize("path", ["/", "/stream", "/stream?worker=1", "/closer?worker=1&id=1"])
async def test_a_foreign_name_is_refused(path, autojump_clock):
    async with open_server(observe_workers(Crew(row(1)))) as server:
        found = await server.client().get(path, fields={"host": "evil.example:9001"})
        assert found.status == 421


async def test_the_page_is_the_same(autojump_clock):
    async with open_server(observe_workers(Crew(row(1)))) as server:
        page = await server.client().get("/", fields=LOCAL)
        assert "workers.js" in page.text
        assert (await server.client().get("/workers.js", fields=LOCAL)).status == 200


def test_times_of_another_clock():
    told = json.dumps({"t": 100, "listeners": [{"drain": 101.5}, {"drain": None}, {"drain": 0}]})
    assert [each["drain"] for each in listeners_in(told, 7.0)] == [8.5, None, -93.0]


def test_it_is_a_handler_as_any():
    assert rr.Listener(observe_workers(Crew()), bind="127.0.0.1:0").name == "main"
