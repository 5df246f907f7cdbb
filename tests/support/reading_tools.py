"""What an engine makes of a conversation, told as the second reader tells it, so that the two can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strict_reader import Reading, Seen, Verdict

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import RequestHead
from roadrunner_trio.protocol.http1.engine import END, Http1Engine


def engine_reads(engine: Http1Engine, parts: list[bytes]) -> Reading:
    """Plays ``parts`` to an engine, and then the end of what the peer sends."""
    reading, player = Reading(), Player(engine)
    try:
        for part in [*parts, b""]:
            engine.receive(part)
            for seen, keeps in player.play():
                reading.requests.append(seen)
                if not keeps:
                    reading.verdict = Verdict.CLOSED
                    return reading
    except ProtocolError:
        reading.verdict = Verdict.REFUSED
        return reading
    if player.head is not None or engine.buffered:
        reading.verdict = Verdict.UNDECIDED
    return reading


class Player:
    """Takes whole requests from an engine."""

    def __init__(self, engine: Http1Engine) -> None:
        self.engine = engine
        self.head: RequestHead | None = None
        self.body = b""

    def play(self) -> Iterator[tuple[Seen, bool]]:
        """The requests that are whole by now, and whether the connection goes on behind each."""
        while True:
            if self.head is None:
                head = self.engine.next_head()
                if not isinstance(head, RequestHead):
                    return
                self.head, self.body = head, b""
            while isinstance(piece := self.engine.next_body(), bytes):
                self.body += piece
            if piece is not END:
                return
            head, self.head = self.head, None
            yield Seen(head.method, head.target, head.fields, self.body, self.engine.trailers()), head.keep_alive
            self.engine.next_cycle()


def agree(ours: Reading, theirs: Reading) -> bool:
    """The same requests, and the same verdict on the rest: what is not whole may have been refused already."""
    undecided = theirs.verdict is Verdict.UNDECIDED and ours.verdict is Verdict.REFUSED
    return ours.requests == theirs.requests and (undecided or ours.verdict is theirs.verdict)


FAULTS_OF_CONTENT: Final = {
    "a message that cannot be inflated",
    "a text that is not UTF-8",
    "a message that is too large",
}


def with_faults_as_one(events: list[object]) -> list[object]:
    """A WebSocket decoder's events, in which all that can be wrong with a compressed message's content is the same.

    Content may be wrong in two ways, and which is met first depends on how its octets come: of a step that fails zlib
    gives nothing, not even what was good.
    """
    return [FAULTS_OF_CONTENT if getattr(event, "reason", None) in FAULTS_OF_CONTENT else event for event in events]
