"""The chapters: who does what to a server, and what it has to do then.

An attack is a function of a stage. It leaves by :exc:`.stage.Missed` where the server fails; its docstring is what it
is called.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Final, cast

import trio
import trio_websocket

from .stage import WINDOW, Missed, Peer, Stage

Attack = Callable[[Stage], Awaitable[None]]
CHAPTERS: Final[dict[int, tuple[str, list[Attack]]]] = {
    1: ("A server that answers", []),
    2: ("Keep-alive", []),
    3: ("Deadlines", []),
    4: ("Bodies", []),
    5: ("Errors", []),
    6: ("The accept loop", []),
    7: ("The drain", []),
    8: ("The hand-off", []),
    9: ("One moved scope", []),
    10: ("The real one", []),
}
"""The title of each chapter, and its attacks."""
NEIGHBOURS: Final = 50
SIZE: Final = 10 * 1024 * 1024
"""Octets in the body of /big."""


def attack(chapter: int) -> Callable[[Attack], Attack]:
    """Adds an attack to a chapter."""

    def add(function: Attack) -> Attack:
        CHAPTERS[chapter][1].append(function)
        return function

    return add


def title(function: Attack) -> str:
    """What an attack is called."""
    return (function.__doc__ or "").strip().rstrip(".")


# 1: answering


@attack(1)
async def one_request(stage: Stage) -> None:
    """a request is answered."""
    peer = stage.peer("peer")
    await peer.ask("GET", "/world")
    answer = await peer.expect(200)
    if b"/world" not in answer.body:
        raise Missed("the answer names the target")


@attack(1)
async def octet_by_octet(stage: Stage) -> None:
    """a head that comes octet by octet is a head."""
    peer = stage.peer()
    for octet in b"GET / HTTP/1.1\r\nHost: test\r\n\r\n":
        await peer.say(bytes([octet]))
        await trio.sleep(0.001)
    await peer.expect(200)


# 2: keep-alive


@attack(2)
async def twice(stage: Stage) -> None:
    """a second request on the same connection is answered."""
    peer = stage.peer("peer")
    for target in ("/one", "/two"):
        await peer.ask("GET", target)
        await peer.expect(200)


@attack(2)
async def pipelined(stage: Stage) -> None:
    """two requests in one piece get two answers, in order."""
    peer = stage.peer("peer")
    await peer.say(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % n for n in (1, 2)), "GET /1, GET /2")
    for target in (b"/1", b"/2"):
        answer = await peer.expect(200)
        if target not in answer.body:
            raise Missed("the answers come in the order of the requests")


@attack(2)
async def asked_to_close(stage: Stage) -> None:
    """who says that it wants no more is let go."""
    peer = stage.peer("peer")
    await peer.ask("GET", "/", "Connection: close")
    await peer.expect(200)
    await peer.is_let_go()


# 3: deadlines


@attack(3)
async def silence(stage: Stage) -> None:
    """a peer that never says anything is let go."""
    await stage.peer("silent").is_let_go()


@attack(3)
async def half_a_head(stage: Stage) -> None:
    """half a head gets 408."""
    peer = stage.peer("half")
    await peer.say(b"GET / HT", "GET / HT")
    await peer.expect(408)
    await peer.is_let_go()


@attack(3)
async def drip(stage: Stage) -> None:
    """nor does an octet every twenty seconds buy more time."""
    peer = stage.peer("drip")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drip, peer)
        if (answer := await peer.hear()) is not None and answer.status != 408:
            raise Missed("408, or an end: the head is not there in time")
        nursery.cancel_scope.cancel(reason="it was answered")


async def _drip(peer: Peer) -> None:
    for octet in b"GET /slowly-but-surely HTTP/1.1\r\nHost: test\r\n\r\n":
        await peer.say(bytes([octet]), f"{chr(octet)!r}")
        await trio.sleep(20)


@attack(3)
async def enough_heard(stage: Stage) -> None:
    """a peer that has had its answer and stays is let go."""
    peer = stage.peer("lingerer")
    await peer.ask("GET", "/")
    await peer.expect(200)
    await peer.is_let_go()


# 4: bodies


@attack(4)
async def echo(stage: Stage) -> None:
    """what is posted to /echo comes back."""
    peer = stage.peer("peer")
    await peer.ask("POST", "/echo", body=b"hello")
    if (await peer.expect(200)).body != b"hello":
        raise Missed("/echo answers with the body")


@attack(4)
async def chunks(stage: Stage) -> None:
    """so does what comes in chunks."""
    peer = stage.peer("peer")
    head = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.say(head)
    for piece in (b"3\r\nhel\r\n", b"2\r\nlo\r\n", b"0\r\n\r\n"):
        await trio.sleep(1)
        await peer.say(piece, piece.split(b"\r\n")[1].decode() or "the end")
    if (await peer.expect(200)).body != b"hello":
        raise Missed("/echo answers with the body")


@attack(4)
async def expects_continue(stage: Stage) -> None:
    """who waits to be asked for the body is asked."""
    peer = stage.peer("polite")
    await peer.ask("POST", "/echo", "Expect: 100-continue", "Content-Length: 5")
    await peer.expect(100, body=False)
    await peer.say(b"hello", "hello")
    await peer.expect(200)


@attack(4)
async def body_that_stops(stage: Stage) -> None:
    """a body that stops half-way gets 408."""
    peer = stage.peer("half")
    await peer.say(
        b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello", "POST /echo, 5 of 10 octets"
    )
    await peer.expect(408)


@attack(4)
async def too_large(stage: Stage) -> None:
    """a body that says it is too large gets 413 before anything is read."""
    peer = stage.peer("large")
    await peer.say(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 999999999\r\n\r\n", "POST /echo, a gigabyte")
    await peer.expect(413)


@attack(4)
async def too_large_after_all(stage: Stage) -> None:
    """a body that does not say it gets 413 when it is."""
    peer = stage.peer("large")
    await peer.say(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /echo, chunked")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pour, peer)
        await peer.expect(413)
        nursery.cancel_scope.cancel(reason="it was answered")


async def _pour(peer: Peer) -> None:
    piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for _ in range(1024):
        try:
            await peer.stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await trio.sleep(0.001)


# 5: errors


async def among_neighbours(stage: Stage, harm: Callable[[], Awaitable[None]]) -> None:
    """Does harm while many others are in the middle of a request, who must have their answers."""
    neighbours = [stage.peer() for _ in range(NEIGHBOURS)]
    stage.note("neighbours", ">", f"{NEIGHBOURS} times half a request")
    for each in neighbours:
        await each.say(b"GET / HTTP/1.1\r\n")
    await trio.sleep(1)
    await harm()
    await trio.sleep(1)
    answered = 0
    for each in neighbours:
        try:
            await each.say(b"Host: test\r\n\r\n")
            answered += await each.hear() is not None
        except Missed:
            pass
    stage.note("neighbours", "<", f"{answered} answers")
    if answered < NEIGHBOURS:
        raise Missed("every neighbour has an answer")


@attack(5)
async def crash(stage: Stage) -> None:
    """a handler that raises: 500 for its peer, nothing for the others."""

    async def harm() -> None:
        peer = stage.peer("peer")
        await peer.ask("GET", "/crash")
        await peer.hear()

    await among_neighbours(stage, harm)
    peer = stage.peer("peer")
    await peer.ask("GET", "/crash")
    await peer.expect(500)


@attack(5)
async def garbage(stage: Stage) -> None:
    """what is no HTTP gets 400."""

    async def harm() -> None:
        peer = stage.peer("stranger")
        await peer.say(b"\x16\x03\x01\r\n\r\n", "a TLS hello")
        await peer.hear()

    await among_neighbours(stage, harm)
    peer = stage.peer()
    await peer.say(b"\x16\x03\x01\r\n\r\n")
    await peer.expect(400)


@attack(5)
async def head_only(stage: Stage) -> None:
    """HEAD is GET without the body."""
    peer = stage.peer("peer")
    await peer.ask("HEAD", "/")
    await peer.expect(200, body=False)
    await peer.ask("GET", "/")
    await peer.expect(200)


@attack(5)
async def hangs_up(stage: Stage) -> None:
    """who hangs up in the middle of it harms nobody."""

    async def harm() -> None:
        for said in (b"GET / HT", b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n"):
            peer = stage.peer("peer")
            await peer.say(said)
            await trio.testing.wait_all_tasks_blocked()
            await peer.leave()
        await trio.sleep(10)

    await among_neighbours(stage, harm)


@attack(5)
async def cancelled(stage: Stage) -> None:
    """a cancellation is no error, and is not caught."""
    peer = stage.peer("peer")
    await peer.ask("GET", "/slow")
    await trio.sleep(1)
    stage.note("server", ".", "is cancelled")
    stage.scope.cancel(reason="the judge says so")
    await trio.sleep(1)
    if not stage.ended.is_set():
        raise Missed("a cancelled server ends at once")


# 6: the accept loop


@attack(6)
async def crowd(stage: Stage) -> None:
    """in a crowd, who finds no place hears so at once."""
    crowd = [stage.peer() for _ in range(1000)]
    stage.note("crowd", ">", "1000 connections that say nothing")
    await trio.sleep(1)
    latecomer = stage.peer("latecomer")
    await latecomer.ask("GET", "/")
    answer = await latecomer.hear()
    if stage.now > 2 or not (answer is None or answer.status == 503):
        raise Missed("503, or at least a closed door, and at once")
    for each in crowd:
        await each.stream.aclose()


@attack(6)
async def room_again(stage: Stage) -> None:
    """a place is free as soon as somebody leaves."""
    crowd = [stage.peer() for _ in range(100)]
    stage.note("crowd", ">", "100 connections that say nothing")
    await trio.sleep(1)
    stage.note("crowd", ".", "50 of them hang up")
    for each in crowd[:50]:
        await each.leave()
    await trio.sleep(1)
    latecomer = stage.peer("latecomer")
    await latecomer.ask("GET", "/")
    await latecomer.expect(200)


@attack(6)
async def no_descriptors(stage: Stage) -> None:
    """a machine that is short of descriptors for a moment is no reason to end."""
    stage.note("machine", ".", "accept() fails twice: too many open files")
    stage.door.errors.extend(OSError(errno.EMFILE, "too many open files") for _ in range(2))
    peer = stage.peer("peer")
    await peer.ask("GET", "/")
    await peer.expect(200)


# 7: the drain


@attack(7)
async def drain(stage: Stage) -> None:
    """in a drain the idle go at once, the busy finish, and then it is over."""
    idle, busy = stage.peer("idle"), stage.peer("busy")
    await idle.ask("GET", "/")
    await idle.expect(200)
    await busy.ask("GET", "/slow")
    await trio.sleep(2)
    stage.drain(grace=10)
    if await idle.is_let_go() > 2:
        raise Missed("an idle connection ends with the first word of the drain")
    answer = await busy.expect(200)
    if answer.fields.get("connection") != "close":
        raise Missed("the last answer says so: Connection: close")
    await busy.is_let_go()
    await busy.leave()
    if await stage.end(within=3) > 8:
        raise Missed("the drain is over when the last one is")


@attack(7)
async def deadline(stage: Stage) -> None:
    """who is not done at the deadline is cut off."""
    busy = stage.peer("busy")
    await busy.ask("GET", "/slow")
    await trio.sleep(1)
    stage.drain(grace=2)
    await busy.hear()
    if await stage.end(within=60) > 6:
        raise Missed("the end comes in time")


@attack(7)
async def does_not_read(stage: Stage) -> None:
    """a peer that does not read its answer is let go."""
    peer = stage.peer_that_does_not_read("deaf")
    await peer.ask("GET", "/big")
    await trio.sleep(200)
    with trio.move_on_after(1):
        while await peer.receive(65536):
            pass
        peer.note("<", "the server had closed")
        return
    peer.note(".", "after 200 s the server still waits")
    raise Missed("a write has a deadline, too")


@attack(7)
async def does_not_read_in_a_drain(stage: Stage) -> None:
    """nor does it hold up the end."""
    peer = stage.peer_that_does_not_read("deaf")
    await peer.ask("GET", "/big")
    await trio.sleep(1)
    stage.drain(grace=2)
    if await stage.end(within=60) > 4:
        raise Missed("the end comes in time")


# 8: the hand-off


@attack(8)
async def conversation(stage: Stage) -> None:
    """a WebSocket is answered, and told of the drain."""
    peer = stage.peer("browser")
    peer.note(">", "GET /ws, Upgrade: websocket")
    code, stream = None, cast(trio.SocketStream, peer.stream)  # any stream will do
    try:
        async with trio.open_nursery() as nursery:
            websocket = await trio_websocket.wrap_client_stream(nursery, stream, "test", "/ws")
            await websocket.send_message("hello")
            peer.note(">", "hello")
            peer.note("<", str(await websocket.get_message()))
            await trio.sleep(100)
            stage.drain(grace=10)
            try:
                await websocket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                code = None if closed.reason is None else closed.reason.code
                peer.note("<", f"the end, {code}")
            nursery.cancel_scope.cancel(reason="it is over")
    except* trio_websocket.HandshakeError as exc:
        peer.note("<", type(exc.exceptions[0]).__name__)
    if code != 1001:
        raise Missed("a conversation, and 1001 at the end of it")
    await stage.end(within=5)


# 9: one moved scope


@attack(9)
async def thousands(stage: Stage) -> None:
    """after three thousand requests, silence still has its deadline."""
    peer = stage.peer("busy")
    peer.note(">", "3000 requests")
    for _ in range(100):
        await peer.stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 30)
        for _ in range(30):
            if (answer := await peer.read_answer()) is None or answer.status != 200:
                raise Missed("3000 answers")
    peer.note("<", "3000 answers")
    await peer.is_let_go()


@attack(9)
async def deadline_put_off(stage: Stage) -> None:
    """a deadline that was put off holds, and no sooner."""
    peer = stage.peer("regular")
    for _ in range(20):
        await peer.ask("GET", "/")
        await peer.expect(200)
        await trio.sleep(25)
    await peer.is_let_go()


# 10: what is left


@attack(10)
async def reads_slowly(stage: Stage) -> None:
    """a peer that reads slowly, but reads, gets all of a large answer."""
    peer = stage.peer_that_does_not_read("modem")
    await peer.ask("GET", "/big")
    received = 0
    while data := await peer.receive(WINDOW):
        received += len(data)
        peer.note("<", f"{received // 1024:>5} KiB")
        if received > SIZE:
            return
        await trio.sleep(10)
    peer.note("<", "the server closes")
    raise Missed("who takes something every ten seconds is not cut off")
