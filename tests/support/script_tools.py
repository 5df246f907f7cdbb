"""Scripts of peers, generated: what a peer says, how long it waits, how it leaves; and a handler of many kinds.

A script is a list of actions: octets to say, seconds to wait, or one of ``FINISH`` and ``CLOSE``, which end it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import h11
import trio
from hypothesis import strategies as st
from story_tools import Peer
from trio.testing import MockClock, wait_all_tasks_blocked

import roadrunner_trio as rr

FINISH = "half-close"
CLOSE = "close"
Script: TypeAlias = list[bytes | float | str]

TIMEOUTS = rr.Timeouts(request=3.1, keep_alive=5.3, body=7.7, handler=11.9, write=13.1, linger=0.6)
"""No sum of what scripts and handlers wait is one of these: two things in one tick have no order."""
LIMITS = rr.Limits(max_body=12, max_requests=6, max_request_line=100, max_field_section=300)
"""Small, so that scripts meet them."""

PATHS = ["now", "slow", "stream", "loop", "read", "wait", "raise", "missing", "cut"]


async def handler(request: rr.Request) -> rr.AnyResponse:
    """Answers in as many ways as there are; a whole response ends with the request's id."""
    kind = request.path.rpartition("/")[2]
    end = request.request_id.encode()
    match kind:
        case "slow":
            await trio.sleep(2)
        case "read":
            await request.read()
        case "wait":
            with trio.move_on_after(4):
                await request.disconnected()
        case "raise":
            raise ValueError
        case "missing":
            raise rr.HTTPError(404, end.decode())
        case "stream" | "cut":
            return rr.StreamResponse(_ticking(end, cut=kind == "cut"))
        case "loop":
            return _looping(end)
        case _:
            pass
    return rr.Response(end)


def _ticking(end: bytes, *, cut: bool) -> Any:
    async def produce(send: rr.Send) -> None:
        for _ in range(3):
            await send(b"tick")
            await trio.sleep(0.5)
        if cut:
            raise ValueError
        await send(end)

    return produce


def _looping(end: bytes) -> rr.LoopResponse:
    put, get = trio.open_memory_channel[bytes](3)
    put.send_nowait(b"tick")
    put.send_nowait(end)
    put.close()

    async def on_message(message: Any, send: rr.Send) -> None:
        if isinstance(message, bytes):
            await trio.sleep(1)
            await send(message)

    return rr.LoopResponse(get, on_message)


def _heads(path: str) -> list[bytes]:
    get = f"GET /{path} HTTP/1.1\r\nHost: h\r\n"
    post = f"POST /{path} HTTP/1.1\r\nHost: h\r\n"
    tails = ["Content-Length: 3\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 13\r\n\r\n"]
    tails += ["Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"]
    more = ["\r\n", "Connection: close\r\n\r\n"]
    old = [f"GET /{path} HTTP/1.0\r\n\r\n", f"GET /{path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]
    return [text.encode() for text in [*(get + tail for tail in more), *(post + tail for tail in tails), *old]]


HEADS = [head for path in PATHS for head in _heads(path)]
REQUESTS = [head for head in HEADS if b"POST" not in head]
PIECES = [
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"\r\n",
    b"G",
    b"x" * 40,
    b"\x00",
    b"d\r\n" + b"x" * 13,
]

words = st.one_of(st.sampled_from(REQUESTS), st.sampled_from(HEADS), st.sampled_from(PIECES))
speech = st.tuples(st.lists(words, min_size=1, max_size=3).map(b"".join), st.integers(0, 60)).map(
    lambda said: said[0][: -said[1] or None] or said[0]
)
"""Requests and parts of requests, the last perhaps not whole."""
pauses = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0])
actions = st.one_of(speech, words, pauses)


def _scripts(ends: list[str]) -> st.SearchStrategy[Script]:
    acts, end = st.lists(actions, max_size=6), st.lists(st.sampled_from(ends), max_size=1)
    return st.tuples(acts, end).map(lambda parts: [*parts[0], *parts[1]])


scripts = _scripts([FINISH, CLOSE])
staying = _scripts([FINISH])
"""Of peers that hear the server out."""
kinds = st.sampled_from(["memory", "wire", "tcp"])
modes = st.sampled_from(["buffered", "streaming"])


async def perform(peer: Peer, script: Script) -> float:
    """Does what the script says as long as the server listens, and says when it was done."""
    try:
        for action in script:
            if isinstance(action, float):
                await trio.sleep(action)
            elif action == FINISH:
                await peer.finish()
            elif action == CLOSE:
                await peer.close()
            else:
                await peer.say(bytes(action))  # type: ignore[arg-type]
    except trio.BrokenResourceError:
        pass  # the server has closed
    await wait_all_tasks_blocked()
    return trio.current_time()


def responses(heard: bytes, *, ended: bool, methods: Sequence[str] = ()) -> tuple[list[int], bool]:
    """The statuses of the final responses a peer heard, and whether the last of them was cut.

    Args:
        methods: of the requests that were answered, where they were not all GET; no more may have been.

    Raises:
        h11.RemoteProtocolError: it is no sequence of responses.
    """
    statuses: list[int] = []
    while heard:
        reader = h11.Connection(h11.CLIENT)
        method = methods[len(statuses)] if methods else "GET"
        reader.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(heard)
        if ended:
            reader.receive_data(b"")
        begun = False
        while not isinstance(event := _next(reader), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
                begun = True
            elif event is None:
                return statuses, begun
        heard = reader.trailing_data[0]
    return statuses, False


def _next(reader: h11.Connection) -> Any:
    """The next event, or None where the connection ended before its time."""
    try:
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        if "closed" not in str(error).lower():
            raise
        return None
    return None if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed) else event


@contextmanager
def errors_logged() -> Iterator[list[logging.LogRecord]]:
    """What the server logs at ERROR, without a word on the terminal."""
    records: list[logging.LogRecord] = []
    log = logging.getLogger("roadrunner_trio")
    catcher = logging.Handler(logging.ERROR)
    catcher.emit = records.append  # type: ignore[method-assign]
    log.addHandler(catcher)
    propagated, log.propagate = log.propagate, False
    try:
        yield records
    finally:
        log.removeHandler(catcher)
        log.propagate = propagated


def run(scene: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    """Plays a scene on a virtual clock of its own."""
    trio.run(scene, *args, clock=MockClock(autojump_threshold=0))
