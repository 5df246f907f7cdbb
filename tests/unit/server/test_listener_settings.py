"""The settings of a listener: everybody takes the same, and a bad one is one sentence before anything listens."""

from __future__ import annotations

import inspect
import math
import re
import socket
import ssl
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from process_tools import script

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Router
from roadrunner_trio.server.listener_settings import OF_CONNECTIONS, OF_LISTENERS
from roadrunner_trio.testing import Client, MemoryListener, open_server

ANY = "127.0.0.1:0"


async def hello(request):
    return rr.Response.text("hello")


async def middleware(request, call_next):
    return await call_next(request)


class Watch(rr.Observer):
    def request_stop(self, event):
        """Is told."""

    def __repr__(self):
        return "Watch()"


class Hooks:
    """No subclass, but one of the methods."""

    def request_stop(self, event):
        """Is told."""


def listen(**settings):
    rr.Listener(hello, **settings)


async def serve_one(**settings):
    await rr.serve_connection(trio.testing.memory_stream_pair()[0], hello, **settings)


async def in_memory(**settings):
    async with open_server(hello, **settings):
        pytest.fail("it serves")


def run(**settings):
    rr.run(hello, **{"bind": ANY, **settings})


async def refused(take, **settings):
    """What ``take`` says to settings that it cannot take."""
    call = partial(take, **settings)
    with pytest.raises((TypeError, ValueError)) as caught:
        await (call() if inspect.iscoroutinefunction(take) else trio.to_thread.run_sync(call))
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


# -- what everybody takes --------------------------------------------------------------------------

OF_ALL = [
    ({"timeouts": {"request": 5}}, "TypeError: timeouts is of the type Timeouts.*; write timeouts=Timeouts(request=5)"),
    ({"timeouts": 5}, "TypeError: timeouts .* not 5; write timeouts=Timeouts(request=5)"),
    ({"timeouts": rr.Timeouts}, "TypeError: timeouts is of the type Timeouts, and not <class"),
    ({"timeouts": rr.Limits()}, "TypeError: timeouts is of the type Timeouts, and not Limits("),
    ({"limits": {"max_body": "1M"}}, "TypeError: limits .*; write limits=Limits(max_body='1M')"),
    ({"name": 5}, "TypeError: name is of the type str, and not 5; write name='main'"),
    ({"name": None}, "TypeError: name is of the type str, and not None"),
    ({"body": "lazy"}, "ValueError: body is 'buffered' or 'streaming', not 'lazy'"),
    ({"body": True}, "ValueError: body is 'buffered' or 'streaming', not True"),
    ({"tls": "cert.pem"}, "TypeError: tls is of the type SSLContext.*; write tls=server_context('cert.pem', "),
    ({"tls": True}, "TypeError: tls is of the type SSLContext, and not True"),
    ({"tls": ssl.create_default_context()}, "ValueError: tls is the context of a client; write tls=server_context("),
    ({"observers": Watch()}, "TypeError: observers is a list, not Watch(); write observers=[Watch()]"),
    ({"observers": Watch}, "TypeError: observers is a list, not <class"),
    ({"observers": None}, "TypeError: observers is a list, not None"),
    ({"observers": "log"}, "TypeError: observers is a list, not 'log'"),
    ({"observers": [print]}, "TypeError: <built-in function print> is no observer: it has none of the methods of Obs"),
    ({"observers": [Watch]}, "TypeError: an observer is an instance, not the class Watch"),
    ({"middlewares": middleware}, "TypeError: middlewares is a list, the outermost first; write [middleware]"),
    ({"middlewares": [hello]}, "TypeError: hello(request) cannot be called as a middleware is"),
    ({"middlewares": None}, "TypeError: middlewares is a list of functions, the outermost first, not None"),
    ({"log_context": "yes"}, "TypeError: log_context is True or False, not 'yes'"),
    ({"log_context": None}, "TypeError: log_context is True or False, not None"),
    ({"request_ids": "10.0.0.0/8"}, "TypeError: request_ids is of the type RequestIds.*; write request_ids=Req"),
    ({"proxy_protocol": "10.0.0.0/8"}, "TypeError: proxy_protocol .*; write proxy_protocol=ProxyProtocol('10"),
    ({"proxy_headers": ["10.0.0.0/8"]}, "TypeError: proxy_headers .*; write proxy_headers=ProxyHeaders('10"),
    ({"rate_limit": 20}, "TypeError: rate_limit is of the type RateLimit, and not 20; write rate_limit=RateLimit(20)"),
    ({"health_path": 5}, "TypeError: health_path is of the type str, and not 5; write health_path='/healthz'"),
    ({"health_path": "healthz"}, "ValueError: health_path is a path such as '/healthz', not 'healthz'"),
    ({"limits": rr.Limits(max_body=None)}, "ValueError: buffered bodies need Limits.max_body"),
    ({"keep_alive": 5}, "TypeError: there is no setting 'keep_alive'; it is .* timeouts=Timeouts(keep_alive=...)"),
    ({"max_body": 5}, "TypeError: there is no setting 'max_body'; it is .* write limits=Limits(max_body=...)"),
    ({"middleware": [middleware]}, "TypeError: there is no setting 'middleware'; did you mean 'middlewares'?"),
    ({"port": 8000}, "TypeError: there is no setting 'port'; write bind='127.0.0.1:8000'"),
    ({"xyzzy": 5}, "TypeError: there is no setting 'xyzzy'; there are body, "),
]  # fmt: skip


@pytest.mark.parametrize("take", [listen, run, serve_one, in_memory])
@pytest.mark.parametrize(("wrong", "sentence"), OF_ALL)
async def test_a_bad_setting_is_one_sentence_whoever_is_given_it(take, wrong, sentence):
    assert re.match(re.escape(sentence).replace(r"\.\*", ".*"), await refused(take, **wrong))


class Refuses(trio.abc.Listener):
    """Must not be listened on."""

    async def accept(self):
        pytest.fail("it listens")

    async def aclose(self):
        """Nothing to close."""


OF_A_LISTENER = [
    ({"reuse_port": 1}, "TypeError: reuse_port is True or False, not 1"),
    ({"evict_idle": "no"}, "TypeError: evict_idle is True or False, not 'no'"),
]
ADDRESSES = [
    (8000, "TypeError: bind is an address such as '127.0.0.1:8000', not 8000; write bind='127.0.0.1:8000', or ':8000'"),
    (("127.0.0.1", 8000), "TypeError: bind is no pair of host and port; write bind='127.0.0.1:8000'"),
    (["127.0.0.1:0", 80], "TypeError: bind is no pair of host and port"),
    ([8000, 8001], "TypeError: bind is an address such as '127.0.0.1:8000', not 8000; write"),
    (None, "TypeError: bind is an address such as '127.0.0.1:8000', not None"),
    (True, "TypeError: bind is an address such as '127.0.0.1:8000', not True"),
    (70000, "TypeError: bind is an address such as '127.0.0.1:8000', not 70000"),
    (b"127.0.0.1:8000", "TypeError: bind is an address .*, not b'127.0.0.1:8000'; write bind='127.0.0.1:8000'"),
    (Path("/run/s"), "TypeError: bind is an address .*; write bind='unix:/run/s'"),
    (hello, "TypeError: bind is an address such as '127.0.0.1:8000', not <function hello"),
    ([], "ValueError: a listener needs at least one address"),
    ("localhost", "ValueError: 'localhost' is no address; write host:port"),
    ("", "ValueError: '' is no address; write host:port"),
]


@pytest.mark.parametrize("take", [listen, run])
@pytest.mark.parametrize(
    ("wrong", "sentence"), OF_A_LISTENER + [({"bind": bind}, sentence) for bind, sentence in ADDRESSES]
)
async def test_a_bad_setting_of_a_listener_is_one_sentence(take, wrong, sentence):
    assert re.match(re.escape(sentence).replace(r"\.\*", ".*"), await refused(take, **wrong))


async def test_a_socket_that_cannot_listen_is_refused():
    with socket.socket() as closed, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as datagrams:
        closed.close()
        assert "bind is a socket that has been closed" in await refused(listen, bind=closed)
        assert "bind is no stream socket" in await refused(listen, bind=[ANY, datagrams])
    with trio.socket.socket() as other:
        assert "write bind=trio.SocketListener(...) of it" in await refused(listen, bind=other)


@pytest.mark.parametrize("name", ["reuse_port", "evict_idle", "bind"])
async def test_a_connection_has_no_settings_of_a_listener(name):
    assert await refused(serve_one, **{name: True}) in (
        f"TypeError: there is no setting {name!r} of a connection, only of a listener",
    )


async def test_a_connection_is_given_its_stream_first():
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TypeError, match=r"is given the stream first, a trio.abc.Stream, not <function"):
        await rr.serve_connection(hello, ours)
    assert (await refused(serve_one, drain=10)).startswith("TypeError: drain is of the type Drain, and not 10")


# -- times ----------------------------------------------------------------------------------------


async def serve(**settings):
    await rr.serve(rr.Listener(hello, bind=Refuses()), **settings)


async def drain(**settings):
    await rr.Listener(hello).drain(**settings)


def notify(**settings):
    rr.Listener(hello).notify(**settings)


@pytest.mark.parametrize("take", [partial(run, bind=Refuses()), serve, drain, notify])
@pytest.mark.parametrize("grace", ["5", "soon", -1, math.nan, -math.inf, None, True, [5]])
async def test_a_bad_grace_is_refused(take, grace):
    assert (await refused(take, grace=grace)).startswith("ValueError: grace must be a time of at least 0 seconds, not ")


@pytest.mark.parametrize("take", [partial(run, bind=Refuses()), serve])
@pytest.mark.parametrize("delay", ["5", -1, math.nan, math.inf, "none", None, True])
async def test_a_bad_delay_is_refused(take, delay):
    assert (await refused(take, shutdown_delay=delay)).startswith(
        "ValueError: shutdown_delay must be a finite time of at least 0 seconds, not "
    )


@pytest.mark.parametrize(("grace", "seconds"), [("5s", 5), ("500ms", 0.5), (2, 2), (0, 0)])
async def test_a_grace_may_be_text(grace, seconds, autojump_clock):
    async def forever(request):
        await trio.sleep_forever()

    async with open_server(forever) as server:
        stream = server.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await server.listener.drain(grace)
        assert trio.current_time() - began == seconds


async def test_a_notice_may_have_its_time_as_text(autojump_clock):
    deadlines = []

    async def waiting(request):
        await request.drain.started.wait()
        deadlines.append(request.drain.deadline - trio.current_time())
        return rr.Response()

    async with open_server(waiting) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.client().get, "/")
        await trio.testing.wait_all_tasks_blocked()
        server.listener.notify("2m")
    assert deadlines == [120]


# -- what is right --------------------------------------------------------------------------------


def test_a_listener_says_of_every_setting_what_it_is_for():
    arguments = inspect.getdoc(rr.Listener).partition("Args:\n")[2].partition("\n\n")[0]
    described = re.findall(r"^    (\w+): ", arguments, re.MULTILINE)
    assert sorted(described) == sorted(["handler", "bind", *OF_LISTENERS])
    assert OF_LISTENERS - OF_CONNECTIONS == {"reuse_port", "evict_idle"}  # noqa: SIM300


async def test_a_connection_alone_has_a_health_path_and_all_the_rest(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    drain = rr.Drain()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                rr.serve_connection,
                theirs,
                hello,
                drain=drain,
                health_path="/healthz",
                observers=iter([Hooks(), Watch()]),
                middlewares=(middleware,),
                rate_limit=rr.RateLimit(1),
                timeouts=None,
                limits=None,
            )
        )
        client = Client(ours)
        answers = [await client.get(path) for path in ("/healthz", "/", "/healthz", "/")]
        assert [answer.status for answer in answers] == [200] * 4
        drain.start(trio.current_time() + 10)


async def test_observers_may_come_from_an_iterator():
    told = []

    class Counting(rr.Observer):
        def request_stop(self, event):
            told.append(event)

    async with open_server(hello, observers=iter([Counting()])) as server:
        await server.client().get("/")
    assert len(told) == 1


# -- several listeners ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listeners", "sentence"),
    [
        (lambda: [rr.Listener(hello), rr.Listener(hello)], "ValueError: two listeners are called 'main'; give each a"),
        (lambda: [rr.Listener(hello, bind=Refuses())] * 2, "ValueError: two listeners are called 'main'; give each a"),
        (list, "ValueError: serve needs at least one listener"),
        (lambda: [[rr.Listener(hello)]], "TypeError: serve takes listeners one by one; write serve(*listeners)"),
        (lambda: [hello], "TypeError: serve takes listeners, not <function hello"),
        (lambda: [Router([])], "TypeError: serve takes listeners, not <roadrunner_trio.apps.router.Router"),
        (lambda: [MemoryListener()], "TypeError: serve takes listeners, not <roadrunner_trio.testing"),
    ],
)
async def test_serve_looks_at_its_listeners_before_it_serves_one(listeners, sentence):
    async def take():
        await rr.serve(*listeners())

    assert (await refused(take)).startswith(sentence)


# -- a script -------------------------------------------------------------------------------------

SCRIPT = """
import logging
import roadrunner_trio as rr

class Site:
    async def __call__(self, request):
        return rr.Response.text("hello")

{setup}
rr.run(Site(), "127.0.0.1:0", grace="1s", observers=[{observers}])
"""


@pytest.mark.parametrize(
    ("setup", "observers", "logged"),
    [
        ("", "", ["INFO 127.0.0.1:", "INFO SIGTERM: draining", "INFO drained: 1 finished, 0 cut, 0 stuck"]),
        ("", "rr.AccessLog('{status} only')", ["INFO 200 only", "INFO SIGTERM: draining", "INFO drained: 1 finished"]),
        ("logging.basicConfig(format='mine %(message)s')", "", []),
        (
            "logging.basicConfig(format='mine %(message)s', level='INFO')",
            "",
            ["mine 127.0.0.1:", "mine SIGTERM: draining", "mine drained: 1 finished"],
        ),
    ],
)
async def test_a_script_tells_what_the_command_does_in_the_programs_own_logs(setup, observers, logged, tmp_path):
    async with script(SCRIPT.format(setup=setup, observers=observers), tmp_path) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        assert (await Client(stream).get("/")).text == "hello"
        server.terminate()
        assert await server.end() == 0
        await stream.aclose()
        assert await server.said() == f"Serving Site on http://127.0.0.1:{server.port} (Ctrl-C drains, twice stops)\n"
        lines = server.log().splitlines()
    assert len(lines) == len(logged), lines
    for line, expected in zip(lines, logged, strict=True):
        assert expected in line


async def test_fields_of_every_response(autojump_clock):
    async def handler(request):
        if request.path == "/own":
            return rr.Response(b"", fields={"x-by": "the handler"})
        if request.path == "/bad":
            raise rr.HTTPError(404)
        return rr.Response(b"")

    async with open_server(handler, fields={"X-By": "the server"}, request_ids=rr.RequestIds(), date=False) as server:
        for path, by in ("/", b"the server"), ("/own", b"the handler"), ("/bad", b"the server"), ("/", b"the server"):
            answer = await server.client().get(path)
            assert [value for name, value in answer.fields if name == b"x-by"] == [by]
            names = [name for name, _ in answer.fields]
            assert b"date" not in names
            assert names.count(b"x-request-id") == 1


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "connection", "date"])
def test_fields_that_are_the_servers_own(name):
    with pytest.raises(ValueError, match=f"fields of every response: {name.lower()} is the server's to say"):
        rr.Listener(hello, fields={name: "1"})


def test_fields_that_cannot_be_said():
    with pytest.raises(ValueError, match="fields of every response: "):
        rr.Listener(hello, fields={"x-a": "1\r\nx-b: 2"})
    with pytest.raises(TypeError, match="date is True or False"):
        rr.Listener(hello, date=0)
