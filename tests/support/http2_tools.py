"""HTTP/2 for tests: frames by hand, a peer that reads with the ``hpack`` library, and an application that echoes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hpack

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import RequestHead
from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.protocol.http2.blocks import sift
from roadrunner_trio.protocol.http2.engine import NEED_DATA, ConnectionFailed, Http2Engine, Stream
from roadrunner_trio.settings import Limits

HELLO = frames.PREFACE + frames.settings([])
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "example.com"), (":path", "/p")]
POST = [(":method", "POST"), *GET[1:]]
PLAIN = sift(())
MAX_BODY = 10 * 1024 * 1024


def octets_of(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def block(fields: Iterable[Iterable[str | bytes]]) -> bytes:
    """Fields as literals without indexing and without Huffman codes: every octet of them may be anything."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(text: str | bytes) -> bytes:
    raw = octets_of(text)
    if len(raw) < 0x7F:
        return bytes([len(raw)]) + raw
    length, out = len(raw) - 0x7F, bytearray([0x7F])
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*out, length]) + raw


def request(number: int, fields: Iterable[Iterable[str | bytes]] = GET, *, end: bool = True) -> bytes:
    """HEADERS of a request."""
    return frames.headers(number, block(fields), frames.END_STREAM if end else 0)


def data(number: int, content: bytes = b"", *, end: bool = False) -> bytes:
    """DATA."""
    return frames.frame(frames.DATA, frames.END_STREAM if end else 0, number, content)


def split(octets: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of the frames in ``octets``, which are whole."""
    at = 0
    while at < len(octets):
        what, flags, number = frames.HEADER.unpack_from(octets, at)
        end = at + frames.HEADER_SIZE + (what >> 8)
        assert end <= len(octets), "a frame is cut short"
        yield what & 0xFF, flags, number, octets[at + frames.HEADER_SIZE : end]
        at = end


@dataclass
class Answer:
    """What came back on a stream."""

    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    content: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int | None:
        return int(dict(self.fields)[b":status"]) if self.fields else None


class Reader:
    """Reads what a server writes."""

    def __init__(self) -> None:
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.kinds: Counter[int] = Counter()
        self.pings: list[bytes] = []
        self.windows: Counter[int] = Counter()
        self.settings: dict[int, int] = {}
        self.decoder = hpack.Decoder()
        self._block: tuple[int, int, bytes] | None = None

    def read(self, octets: bytes | bytearray) -> None:
        for kind, flags, number, payload in split(bytes(octets)):
            self.kinds[kind] += 1
            if number:
                self._on_stream(kind, flags, self.answers.setdefault(number, Answer()), number, payload)
            elif kind == frames.GOAWAY:
                self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
            elif kind == frames.PING:
                self.pings.append(payload)
            elif kind == frames.WINDOW_UPDATE:
                self.windows[0] += int.from_bytes(payload, "big")
            elif kind == frames.SETTINGS:
                self.settings.update(frames.SETTING.iter_unpack(payload))

    def _on_stream(self, kind: int, flags: int, answer: Answer, number: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            answer.reset = int.from_bytes(payload, "big")
        elif kind == frames.WINDOW_UPDATE:
            self.windows[number] += int.from_bytes(payload, "big")
        elif kind == frames.DATA:
            answer.content += payload
            answer.ended = bool(flags & frames.END_STREAM)
        elif kind in (frames.HEADERS, frames.CONTINUATION):
            first, end, before = (number, flags, b"") if self._block is None else self._block
            assert first == number
            self._block = (number, end, before + payload)
            if flags & frames.END_HEADERS:
                self._section(answer, before + payload, end & frames.END_STREAM)
                self._block = None

    def _section(self, answer: Answer, encoded: bytes, end: int) -> None:
        fields: list[tuple[bytes, bytes]] = [tuple(each) for each in self.decoder.decode(encoded, raw=True)]
        status = dict(fields).get(b":status")
        if status is not None and status.startswith(b"1"):
            answer.interim.append(int(status))
        elif not answer.fields:
            answer.fields = fields
        else:
            answer.trailers = fields
        answer.ended = bool(end)


@dataclass(frozen=True)
class Asked:
    """A request that reached the application."""

    head: RequestHead
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]


class Player:
    """An engine, with an application that answers each whole request with its body, and a peer that reads the answers.

    Args:
        hold: the application neither reads nor answers.
        streaming: it reads bodies as they come.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        now: Callable[[], float] = lambda: 0.0,
        hold: bool = False,
        streaming: bool = False,
        **more: Any,
    ) -> None:
        self.breaches: list[tuple[int, int, str]] = []
        self.engine = Http2Engine(limits or Limits(), now, tell_breach=lambda *told: self.breaches.append(told), **more)
        self.hold = hold
        self.streaming = streaming
        self.asked: dict[int, Asked] = {}
        self.owners: dict[int, Owner] = {}
        self.reader = Reader()
        self.failed: ConnectionFailed | None = None
        self.read()

    def receive(self, octets: bytes) -> Player:
        """Octets come, and everything is done that can be done at once."""
        self.engine.receive(octets)
        try:
            while isinstance(stream := self.engine.next_ready(), Stream):
                self.take(stream)
                self.go_on()
        except ConnectionFailed as failure:
            self.failed = failure
        self.go_on()
        self.read()
        return self

    def outcome(self) -> object:
        """What came of it all, for an application that holds: that depends on no cut."""
        failed = self.failed and (self.failed.code, self.failed.reason)
        answers = {number: (each.status, each.content, each.reset) for number, each in self.reader.answers.items()}
        streams = {
            number: (
                each.head,
                bytes(each.body),
                each.ended,
                each.trailers,
                each.lost,
                each.error and each.error.status,
            )
            for number, each in ((number, owner.stream) for number, owner in self.owners.items())
        }
        return streams, answers, self.breaches, failed, self.engine.places, sorted(self.engine.streams)

    def read(self) -> Reader:
        self.reader.read(self.engine.take_output())
        return self.reader

    def answer(self, number: int) -> Answer:
        return self.reader.answers.get(number, Answer())

    def take(self, stream: Stream) -> None:
        engine = self.engine
        if stream.owner is None:
            stream.owner = self.owners[stream.id] = Owner(stream)
        if stream.error is None:
            try:
                engine.limit_body(stream, MAX_BODY)
            except ProtocolError as error:
                stream.error = error
        if stream.error is not None:
            if not stream.lost:
                engine.send_head(stream, stream.error.status, PLAIN, 0, end=True)
            engine.release(stream)
        elif not self.hold and not self.streaming and engine.gather(stream):
            self.owners[stream.id].body += engine.take_body(stream)
            self.echo(stream)

    def go_on(self) -> None:
        """Goes on reading and answering wherever that is possible."""
        for owner in list(self.owners.values()):
            stream = owner.stream
            if stream.lost:
                self.engine.release(stream)
            elif stream.released or self.hold:
                continue
            elif stream.answered:
                self.send(stream)
            elif self.streaming:
                owner.body += self.engine.take_body(stream)
                if stream.ended:
                    self.echo(stream)

    def echo(self, stream: Stream) -> None:
        owner = self.owners[stream.id]
        assert stream.head is not None
        self.asked[stream.id] = Asked(stream.head, bytes(owner.body), stream.trailers)
        if stream.head.method == b"CONNECT":
            self.engine.send_head(stream, 501, PLAIN, 0, end=True)
            self.engine.release(stream)
            return
        owner.left = bytes(owner.body) or b"none"
        sent = self.engine.respond(stream, 200, PLAIN, len(owner.left), owner.left)
        owner.left = owner.left[sent:]
        self.finish(stream, owner)

    def send(self, stream: Stream) -> None:
        owner = self.owners[stream.id]
        if owner.left:
            owner.left = owner.left[self.engine.send_data(stream, owner.left, end=True) :]
            self.finish(stream, owner)

    def finish(self, stream: Stream, owner: Owner) -> None:
        if not owner.left:
            self.engine.release(stream)
            del self.owners[stream.id]


class Owner:
    """Takes notes of what it is told, and keeps what it has read."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.told: list[object] = []
        self.body = bytearray()
        self.left = b""

    def body_arrived(self) -> None:
        self.told.append("body")

    def window_opened(self) -> None:
        self.told.append("window")

    def stream_lost(self, code: int, reason: str) -> None:
        self.told.append((code, reason))


def greeted(**more: Any) -> Player:
    """A player that has read the preface and empty SETTINGS, and whose own are read."""
    return Player(**more).receive(HELLO)


def cut(octets: bytes, size: int) -> list[bytes]:
    """``octets`` in pieces of ``size``."""
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def engine_with(*octets: bytes, limits: Limits | None = None, **more: object) -> Http2Engine:
    """An engine that was greeted, has these octets to read, and nothing to write."""
    engine = Http2Engine(limits or Limits(), lambda: 0.0, **more)  # type: ignore[arg-type]
    engine.receive(HELLO)
    signal = engine.next_ready()
    assert signal is NEED_DATA
    engine.take_output()
    for each in octets:
        engine.receive(each)
    return engine


def ready(engine: Http2Engine) -> Stream:
    stream = engine.next_ready()
    assert isinstance(stream, Stream)
    return stream


def written(engine: Http2Engine) -> list[tuple[int, int, int, bytes]]:
    return list(split(bytes(engine.take_output())))
