"""The stage of an attack: a reader's server, peers that talk to it in memory, and a record of what was said when."""

from __future__ import annotations

import inspect
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio
import trio.testing

from ..answering.faults import leaves

PATIENCE: Final = 3600.0
"""Virtual seconds, an hour, for which a peer waits for an answer, and the judge for an end."""
CRLF: Final = b"\r\n"
WINDOW: Final = 65536
LOGGERS: Final = ("tutorial", "trio.serve_listeners", "roadrunner_trio")
"""Whose lines are put into the record."""


class Missed(Exception):
    """The server did not do what the chapter asks for; the text says what that was."""


class Unfit(Exception):
    """The file is not one that can be judged; the text says what it lacks."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Attributes:
        time: virtual seconds since the beginning.
        who: a peer, or ``server``.
        mark: ``>`` the peer says, ``<`` it hears, ``.`` something else.
        text: what.
    """

    time: float
    who: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.time:>6g} s  {self.who:<10} {self.mark} {self.text}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as a peer heard it.

    Attributes:
        status: of it.
        fields: its fields, names in lower case.
        body: its content.
    """

    status: int
    fields: dict[str, str]
    body: bytes


class Door(trio.abc.Listener[Any]):
    """A listener in memory that can also fail, as one does where the machine is short of descriptors."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[Any](math.inf)
        self._first = deque[Any]()
        self.errors = deque[OSError]()
        """What the next calls of :meth:`accept` raise; who knocks then goes on waiting."""

    def put(self, stream: trio.abc.Stream) -> None:
        """A new connection, by the server's end of it.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: nobody comes in any more.
        """
        self._put.send_nowait(stream)

    async def accept(self) -> Any:
        """The next connection, or the next error."""
        stream = self._first.popleft() if self._first else await self._get.receive()
        if self.errors:
            self._first.append(stream)
            raise self.errors.popleft()
        return stream

    async def aclose(self) -> None:
        """Nobody comes in any more."""
        self._get.close()
        await trio.lowlevel.checkpoint()


class Window(trio.abc.HalfCloseableStream):
    """The server's end of a connection whose peer takes 64 KiB at a time, when it reads; what was not taken is lost."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Returns when the peer has taken it all."""
        view = memoryview(data)
        for at in range(0, len(view), WINDOW):
            await self._stream.send_all(view[at : at + WINDOW])

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """As the stream."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As the stream."""
        await self._stream.aclose()


class Peer:
    """Somebody who talks to the server.

    Args:
        stage: where; what is said is recorded there.
        name: who, in the record; without one nothing is recorded.
        stream: the peer's end of the connection.
    """

    def __init__(self, stage: Stage, name: str, stream: trio.abc.Stream) -> None:
        self.stage, self.name, self.stream = stage, name, stream
        self._heard = b""

    def note(self, mark: str, text: str) -> None:
        """Adds a line to the record."""
        if self.name:
            self.stage.note(self.name, mark, text)

    async def say(self, data: bytes, shown: str | None = None) -> None:
        """Sends bytes; what is recorded is ``shown``, or else their first line.

        Raises:
            Missed: the connection is gone.
        """
        self.note(">", shown or data.partition(CRLF)[0].decode("latin-1").removesuffix(" HTTP/1.1"))
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.note("<", "the connection is closed")
            raise Missed(f"the connection is open for what {self.name or 'a peer'} says next") from None

    async def ask(self, method: str, target: str, *fields: str, body: bytes = b"") -> None:
        """Sends a whole request."""
        names = [f"Content-Length: {len(body)}"] if body else []
        head = [f"{method} {target} HTTP/1.1", "Host: test", *names, *fields, "", ""]
        await self.say("\r\n".join(head).encode() + body)

    async def hear(self, *, body: bool = True) -> Answer | None:
        """The next response; None when the server closes instead.

        Raises:
            Missed: nothing came in :data:`PATIENCE`.
        """
        with trio.move_on_after(PATIENCE):
            answer = await self.read_answer(body=body)
            if answer is None:
                self.note("<", "the server closes")
            else:
                first = answer.body[:40].partition(b"\n")[0].decode("latin-1")
                self.note("<", f'{answer.status} "{first}"' if first.isprintable() and first else str(answer.status))
            return answer
        self.note("<", "nothing yet")
        raise Missed(f"an answer, or an end, for {self.name or 'everybody'} within an hour")

    async def expect(self, status: int, *, body: bool = True) -> Answer:
        """The next response, which has to have this status.

        Raises:
            Missed: it has not, or there is none.
        """
        answer = await self.hear(body=body)
        if answer is None or answer.status != status:
            raise Missed(f"{self.name or 'every peer'} hears {status}")
        return answer

    async def is_let_go(self) -> float:
        """Waits until the server closes, and says when that was.

        Raises:
            Missed: it has not closed in :data:`PATIENCE`.
        """
        with trio.move_on_after(PATIENCE):
            if await self.read_answer() is None:
                self.note("<", "the server closes")
                return trio.current_time()
            raise Missed(f"{self.name} hears nothing more")
        self.note("<", "nothing yet")
        raise Missed(f"{self.name} is let go within an hour")

    async def read_answer(self, *, body: bool = True) -> Answer | None:
        while b"\r\n\r\n" not in self._heard:
            if not await self._more():
                return None
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(fields.get("content-length", "0")) if body else 0
        while len(self._heard) < length:
            if not await self._more():
                return None
        content, self._heard = self._heard[:length], self._heard[length:]
        return Answer(int(first.split(" ")[1]), fields, content)

    async def receive(self, octets: int) -> bytes:
        """What the server sends next, at most so much of it; nothing at the end, however that came."""
        try:
            return bytes(await self.stream.receive_some(octets))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _more(self) -> bool:
        data = await self.receive(65536)
        self._heard += data
        return bool(data)

    async def leave(self) -> None:
        """Hangs up without a word."""
        self.note(".", "hangs up")
        await self.stream.aclose()


class Stage:
    """A running server, and the record.

    Attributes:
        record: what happened, in order.
        ended: set when ``serve`` has returned, or has been left by an exception.
    """

    def __init__(self, server: Any, door: Door) -> None:
        self.record: list[Line] = []
        self.ended = trio.Event()
        self.door = door
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None
        self._server, self._drain = server, server.Drain() if hasattr(server, "Drain") else None
        self._began = trio.current_time()

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return trio.current_time() - self._began

    def note(self, who: str, mark: str, text: str) -> None:
        """Adds a line to the record."""
        self.record.append(Line(round(self.now, 3), who, mark, text))

    def peer(self, name: str = "") -> Peer:
        """Somebody with a new connection.

        Raises:
            Missed: the server is not there any more.
        """
        ours, theirs = trio.testing.memory_stream_pair()
        self._put(theirs)
        return Peer(self, name, ours)

    def peer_that_does_not_read(self, name: str) -> Peer:
        """Somebody whose window is shut: the server's writes wait until it reads."""
        ours, theirs = trio.testing.lockstep_stream_pair()
        self._put(Window(theirs))
        return Peer(self, name, ours)

    def _put(self, stream: Any) -> None:
        try:
            self.door.put(stream)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise Missed("the server is there for whoever comes next") from None

    async def run(self) -> None:
        """Serves, and records how that ended."""
        self.task = trio.lowlevel.current_task()
        try:
            with self.scope:
                await self._server.serve(self.door, *(() if self._drain is None else (self._drain,)))
        except Exception as exc:
            told = ", ".join(dict.fromkeys(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(exc)))
            self.note("server", ".", f"serve() is left by {told}")
        else:
            self.note("server", ".", "serve() has ended")
        finally:
            self.ended.set()
            await trio.aclose_forcefully(self.door)

    def drain(self, grace: float) -> None:
        """Tells the server that it is to end. One that cannot be told is cancelled, as Ctrl-C does it."""
        if self._drain is None:
            self.note("server", ".", "no Drain: Ctrl-C cancels all")
            self.scope.cancel(reason="Ctrl-C")
        else:
            self.note("server", ".", f"drains, {grace:g} s")
            self._drain.start(grace)

    async def end(self, within: float) -> float:
        """Waits until ``serve`` has ended, and says when that was.

        Raises:
            Missed: it has not in so many seconds.
        """
        with trio.move_on_after(within):
            await self.ended.wait()
            return self.now
        raise Missed(f"serve() ends within {within:g} s")


class _Logged(logging.Handler):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        self._stage.note("server", ".", f"logs: {record.getMessage()}")


@asynccontextmanager
async def open_stage(server: Any) -> AsyncGenerator[Stage, None]:
    """Runs the server of a file for as long as the block lasts."""
    stage = Stage(server, Door())
    with ExitStack() as records:
        for name in LOGGERS:
            records.enter_context(_recorded(stage, logging.getLogger(name)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.run)
            await trio.testing.wait_all_tasks_blocked()
            yield stage
            stage.scope.cancel(reason="the attack is over")


@contextmanager
def _recorded(stage: Stage, logger: logging.Logger) -> Generator[None, None, None]:
    """What is logged stands in the record, and nowhere else."""
    handler, propagated = _Logged(stage), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)


def fits(server: Any) -> None:
    """Sees whether a file has what a judge needs.

    Raises:
        Unfit: it has not.
    """
    serve: Callable[..., Awaitable[None]] | None = getattr(server, "serve", None)
    if serve is None or not inspect.iscoroutinefunction(serve):
        raise Unfit("the file has no `async def serve(listener)`")
    wanted = 2 if hasattr(server, "Drain") else 1
    if len(inspect.signature(serve).parameters) < wanted:
        raise Unfit("`serve` takes a listener, and the drain where the file has a class `Drain`")
