"""The window into a running server: what it shows is what there is, and it costs nothing while nobody looks."""

from __future__ import annotations

import itertools
import json

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import roadrunner_trio as rr
from roadrunner_trio import Listener, observe
from roadrunner_trio.testing import MemoryListener, open_server
from roadrunner_trio.testing.client import Client
from roadrunner_trio.transport.dump import render_tasks
from roadrunner_trio.watching import pane as panes
from roadrunner_trio.watching import sample as sampling
from roadrunner_trio.watching.changes import changes, everything
from roadrunner_trio.watching.sample import Eye, Sample


async def app(request):
    if request.path == "/nursery":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="a child of a handler")
    await trio.sleep(10)
    return rr.Response()


class World:
    """What a reader of the stream knows."""

    def __init__(self):
        self.listeners, self.tasks, self.connections = [], {}, {}
        self.time = 0.0

    def take(self, told):
        self.time = told["t"]
        self.listeners = told.get("listeners", self.listeners)
        for name in ("tasks", "connections"):
            known = getattr(self, name)
            known.update((row["id"], row) for row in told.get(name, []))
            for key in told.get(f"{name}_gone", []):
                del known[key]


async def ask(server, target):
    """A request that nobody waits for."""
    stream = server.connect()
    await stream.send_all(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % target)
    return stream


async def test_a_sample_has_every_connection_with_its_phase_and_deadline(autojump_clock):
    async with open_server(app, timeouts=rr.Timeouts(request=30)) as server:
        server.connect()
        await server.connect().send_all(b"GET / HT")
        await ask(server, b"/slow?secret=1")
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        seen = Eye([server.listener]).sample()
    rows = sorted(seen.connections.values(), key=lambda row: row["phase"])
    now = seen.time
    assert [(row["phase"], row["doing"], row["deadline"]) for row in rows] == [
        ("idle", "", round(now + 29, 2)),
        ("in the handler", "GET /slow", None),
        ("reading a request", "", round(now + 29, 2)),
    ]
    assert seen.listeners[0]["present"] == 3
    assert seen.listeners[0]["drain"] is None


async def test_the_tree_is_that_of_the_dump(autojump_clock):
    async with open_server(app) as server:
        for target in (b"/a", b"/nursery", b"/b"):
            await ask(server, target)
        await trio.testing.wait_all_tasks_blocked()
        seen = Eye([server.listener]).sample()
        dump = render_tasks().splitlines()[1:]
    tree = [row["name"] for row in seen.tasks.values() if row["kind"] == "task"]
    below = ["a child of a handler"]  # of a connection: shown when it is looked at
    dumped = [line.strip().partition(" @ ")[0] for line in dump]
    hosts = [name for name in dumped if "127.0.0.1" in name or name.startswith("main: connection") or name == "main"]
    assert len(dumped) == len(tree) + len(seen.connections) + len(below), (dumped, tree, hosts)
    assert set(tree) <= set(dumped)
    for row in seen.tasks.values():
        assert row["parent"] == "" or row["parent"] in seen.tasks
    (nursery,) = [row for row in seen.tasks.values() if row["kind"] == "nursery" and row["connections"]]
    assert (nursery["listener"], nursery["connections"]) == ("main", 3)


async def test_a_task_that_is_looked_at_shows_its_stack_and_what_is_below(autojump_clock):
    async with open_server(app) as server:
        await ask(server, b"/nursery")
        await trio.testing.wait_all_tasks_blocked()
        eye = Eye([server.listener])
        (key,) = eye.sample().connections
        found = eye.closer(key)
        assert any("test_window.py" in line and line.endswith("in app") for line in found["stack"])
        assert found["below"][0].startswith("a child of a handler @ ")
        assert eye.closer("nobody") is None
        assert list(eye.sample().connections) == [key]  # an id stays


async def test_of_many_connections_those_with_the_least_time_are_shown(autojump_clock, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_CONNECTIONS", 10)
    async with open_server(app, timeouts=rr.Timeouts(request=30)) as server:
        for _ in range(30):
            server.connect()
            await trio.sleep(0.1)
        seen = Eye([server.listener]).sample()
    assert (seen.listeners[0]["present"], seen.listeners[0]["shown"], len(seen.connections)) == (30, 10, 10)
    assert max(row["since"] for row in seen.connections.values()) < seen.time - 1.9


async def test_a_tree_without_end_is_cut(autojump_clock, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_TASKS", 20)
    async with open_server(app) as server, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        seen = Eye([server.listener]).sample()
        nursery.cancel_scope.cancel()
    tasks = [row for row in seen.tasks.values() if row["kind"] == "task"]
    assert seen.hidden >= 80
    assert len(tasks) <= 20


# What changes

rows = st.dictionaries(st.sampled_from("abcde"), st.fixed_dictionaries({"x": st.integers(0, 2)}))


@given(rows, rows, rows, rows)
def test_changes_lead_from_one_sample_to_the_next(old_tasks, new_tasks, old_connections, new_connections):
    def of(tasks, connections, time):
        own = [{key: {"id": key, **row} for key, row in each.items()} for each in (tasks, connections)]
        return Sample(time, [{"n": time}], *own)

    old, new = of(old_tasks, old_connections, 1.0), of(new_tasks, new_connections, 2.0)
    world = World()
    world.take(everything(old))
    world.take(changes(old, new))
    assert (world.tasks, world.connections, world.listeners, world.time) == (
        new.tasks,
        new.connections,
        new.listeners,
        2.0,
    )


async def test_where_nothing_happens_a_change_is_the_time(autojump_clock):
    async with open_server(app) as server:
        server.connect()
        await ask(server, b"/")
        await trio.testing.wait_all_tasks_blocked()
        eye = Eye([server.listener])
        old = eye.sample()
        await trio.sleep(3)
        assert changes(old, eye.sample()) == {"t": round(old.time + 3, 2)}


# The window


class Window:
    """A server, and the window into it on a listener of its own."""

    def __init__(self, nursery, server):
        self.nursery, self.server = nursery, server
        self.door = MemoryListener()

    async def open(self):
        handler = observe(self.server.listener)
        listener = Listener(handler, bind=self.door, name="window")
        await self.nursery.start(listener.serve)
        return handler

    def client(self):
        return Client(self.door.connect(), connect=self.door.connect)


LOCAL = {"host": "127.0.0.1:9001"}


@pytest.fixture
async def served(nursery):
    async with open_server(app) as server:
        yield server


async def test_the_stream_says_everything_and_then_what_changes(served, nursery, autojump_clock):
    window = Window(nursery, served)
    await window.open()
    world = World()
    async with window.client().events("/stream", fields=LOCAL) as events:
        first = await anext(events)
        assert first.event == "all"
        world.take(json.loads(first.data))
        assert world.connections == {}
        await ask(served, b"/x")
        for _ in range(2):
            world.take(json.loads((await anext(events)).data))
        (row,) = world.connections.values()
        assert (row["phase"], row["doing"]) == ("in the handler", "GET /x")
        for _ in range(12):
            world.take(json.loads((await anext(events)).data))
        (row,) = world.connections.values()
        assert row["phase"] == "idle"


async def test_a_drain_is_seen_to_its_end(served, nursery, autojump_clock):
    window = Window(nursery, served)
    await window.open()
    world, states = World(), []
    async with window.client().events("/stream", fields=LOCAL) as events:
        world.take(json.loads((await anext(events)).data))
        await ask(served, b"/x")
        served.connect()
        await trio.sleep(2)
        nursery.start_soon(served.listener.drain, 60)
        while not states or states[-1][0] != "closed":
            world.take(json.loads((await anext(events)).data))
            states.append((world.listeners[0]["status"], world.listeners[0]["present"]))
    assert ("draining", 1) in states
    assert states[-1] == ("closed", 0)


async def test_nobody_is_looked_at_while_nobody_looks(served, nursery, autojump_clock, monkeypatch):
    taken = []
    sample = Eye.sample
    monkeypatch.setattr(Eye, "sample", lambda eye: taken.append(trio.current_time()) or sample(eye))
    window = Window(nursery, served)
    await window.open()
    await trio.sleep(100)
    assert taken == []
    first, second = window.client(), window.client()
    async with first.events("/stream", fields=LOCAL) as one, second.events("/stream", fields=LOCAL) as two:
        for _ in range(5):
            await anext(one)
            await anext(two)
    assert len(taken) <= 6  # readers share them
    await trio.sleep(10)
    many = len(taken)
    await trio.sleep(100)
    assert len(taken) == many


async def test_the_more_there_is_to_see_the_less_often_it_is_looked_at(served, nursery, autojump_clock, monkeypatch):
    """A sample that takes an eighth of a second of CPU is followed by eight seconds without one."""
    times, clock = [], iter(range(10_000))
    monkeypatch.setattr(panes.time, "thread_time", lambda: next(clock) / 8)
    window = Window(nursery, served)
    await window.open()
    async with window.client().events("/stream", fields=LOCAL) as events:
        for _ in range(4):
            await anext(events)
            times.append(trio.current_time())
    assert [b - a for a, b in itertools.pairwise(times)] == [8, 8, 8]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9001", 200),
        ("localhost:9001", 200),
        ("[::1]:9001", 200),
        ("localhost", 200),
        ("evil.example:9001", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
@pytest.mark.parametrize("path", ["/", "/stream", "/closer"])
async def test_a_foreign_name_that_leads_here_is_refused(host, status, path, served, nursery, autojump_clock):
    window = Window(nursery, served)
    await window.open()
    async with window.client().open("GET", path, fields={"host": host}) as response:
        assert response.status == (404 if path == "/closer" and status == 200 else status)


async def test_the_page_and_what_it_needs(served, nursery, autojump_clock):
    window = Window(nursery, served)
    await window.open()
    client = window.client()
    page = await client.get("/", fields=LOCAL)
    assert "script-src 'self'" in page.header("content-security-policy")
    for name, kind in (("window.css", "text/css"), ("window.js", "text/javascript")):
        assert name in page.text
        found = await client.get(f"/{name}", fields=LOCAL)
        assert found.header("content-type") == f"{kind}; charset=utf-8"
    assert (await client.get("/window.py", fields=LOCAL)).status == 404
    assert (await client.post("/", fields=LOCAL)).status == 405


@pytest.mark.parametrize("what", [(), ("listener",), (None,)])
def test_it_shows_listeners_only(what):
    with pytest.raises(TypeError, match="observe\\(listener\\)"):
        observe(*what)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("box:9001", "box:9001"),
        ("box:9001", "box:9002"),  # by a tunnel
        ("BOX", "box:9001"),
        ("::1", "[::1]:9001"),
        ("fd00::7", "[fd00::7]"),
        ("[fd00::7]:9001", "[fd00::7]:9001"),
        ("192.0.2.1:80", "192.0.2.1"),
    ],
)
async def test_a_host_with_a_port_is_the_host(given, asked, served, autojump_clock):
    async with open_server(observe(served.listener, hosts=(given,))) as server:
        assert (await server.client().get("/", fields={"host": asked})).status == 200
        assert (await server.client().get("/", fields={"host": "boxes:9001"})).status == 421


@pytest.mark.parametrize(
    "host", ["", ":9001", "http://box", "box/", "user@box", "a,b", "box:", "two words", " box", "box."]
)
async def test_what_is_no_name_of_a_host_is_refused(host, served, autojump_clock):
    with pytest.raises(ValueError, match="is no name of a host: write 'devbox'"):
        observe(served.listener, hosts=(host,))


async def test_a_name_of_its_own_in_any_letters(served, autojump_clock):
    async with open_server(observe(served.listener, hosts=("Devbox",))) as server:
        assert (await server.client().get("/", fields={"host": "DevBox:9001"})).status == 200
    with pytest.raises(TypeError, match="tuple of names"):
        observe(served.listener, hosts="devbox")
