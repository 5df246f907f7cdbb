"""The numbers of one process at one moment, in a layout that another process can read; and how those of several add up.

A worker packs its numbers into an area of memory that it shares with its supervisor, who adds them all up. A checksum
tells a reader when the writer was half-way. Nothing here does any input or output.

There are three kinds of numbers. *Fixed* ones have a place of their own, :data:`NUMBERS`. *Tallies* count by a word out
of few, such as the reason of a refusal. *Series* are of requests, by method, route and class of status, and there may
be so many of each and no more: what comes later is counted under :data:`OTHER`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

OTHER: Final = "_OTHER"
"""The label of what has no place of its own, as OpenTelemetry has it."""
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of durations, in seconds; one more has the rest."""
PHASES: Final = (
    "handshake",
    "idle",
    "read_request",
    "read_body",
    "dispatch",
    "serving",
    "respond",
    "finish",
    "handed_off",
)
"""The phases of a connection, as :class:`~roadrunner_trio.transport.phases.Phase` has them."""

MESSAGES: Final = "Messages of WebSockets that handlers have taken, or sent."


class Number(NamedTuple):
    """A number that has a place of its own.

    Attributes:
        name: of its family.
        kind: what adds up for ever, or what is so now.
        help: what it is.
        labels: with their values.
        add: how those of several processes become one.
        scale: how many of the integers that are kept make one unit.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[tuple[str, str], ...] = ()
    add: Callable[[int, int], int] = int.__add__
    scale: int = 1


def earliest(one: int, other: int) -> int:
    """The lesser of two, of which 0 is none."""
    return min(one, other) if one and other else one or other


def _phases() -> Iterator[Number]:
    for phase in PHASES:
        yield Number("roadrunner_connections", "gauge", "Connections, by what they are at.", (("phase", phase),))


NUMBERS: Final = (
    *_phases(),
    Number("roadrunner_connections_max", "gauge", "Connections that there may be at once."),
    Number("http_server_active_requests", "gauge", "Requests that are being answered."),
    Number("roadrunner_websockets", "gauge", "WebSockets that are open."),
    Number("roadrunner_buffered_bytes", "gauge", "Bodies and messages that wait for the application."),
    Number("roadrunner_draining", "gauge", "1 while a listener drains, or is about to.", (), max),
    Number("roadrunner_connections_accepted_total", "counter", "Connections that got a place."),
    Number("roadrunner_connections_evicted_total", "counter", "Connections that made room for others."),
    Number("roadrunner_connections_cut_total", "counter", "Connections that the deadline of a drain ended."),
    Number("roadrunner_accepts_failed_total", "counter", "Connections not accepted for want of descriptors or memory."),
    Number("roadrunner_handshakes_failed_total", "counter", "Connections that ended in TLS, or before it."),
    Number("roadrunner_requests_total", "counter", "Request heads that were read."),
    Number("roadrunner_sends_failed_total", "counter", "Responses of which the first write failed."),
    Number("roadrunner_streams_refused_total", "counter", "Requests of HTTP/2 that were refused, unseen."),
    Number("roadrunner_streams_reset_total", "counter", "Requests of HTTP/2 that were reset before their answer."),
    Number("roadrunner_websockets_opened_total", "counter", "WebSockets that were accepted."),
    Number("roadrunner_websocket_messages_total", "counter", MESSAGES, (("direction", "in"),)),
    Number("roadrunner_websocket_messages_total", "counter", MESSAGES, (("direction", "out"),)),
    Number("roadrunner_drains_total", "counter", "Drains that have begun."),
    Number("roadrunner_drains_acknowledged_total", "counter", "Requests whose handler acknowledged a drain."),
    Number("roadrunner_tls_not_after_seconds", "gauge", "When the first certificate expires.", (), earliest),
    Number("roadrunner_tls_reloads_total", "counter", "Certificates read anew.", (("result", "renewed"),)),
    Number("roadrunner_tls_reloads_total", "counter", "Certificates read anew.", (("result", "failed"),)),
    Number("process_cpu_seconds_total", "counter", "Time of processors, of user and system.", scale=1_000_000),
    Number("process_resident_memory_bytes", "gauge", "Resident memory."),
    Number("process_open_fds", "gauge", "Descriptors that are open."),
    Number("process_max_fds", "gauge", "Descriptors that one process may have.", (), earliest),
    Number("process_start_time_seconds", "gauge", "When counting began, in seconds of Unix.", (), earliest),
    Number("roadrunner_processes", "gauge", "Processes that serve."),
)
PLACE: Final = {(each.name, *dict(each.labels).values()): at for at, each in enumerate(NUMBERS)}
"""Where each stands: by its name, and the values of its labels."""

TALLIES: Final = {
    "roadrunner_connections_rejected_total": ("reason", "Connections turned away."),
    "roadrunner_requests_refused_total": ("reason", "Requests that broke the protocol or a limit."),
    "roadrunner_requests_throttled_total": ("reason", "Requests turned away to keep the server well."),
    "roadrunner_requests_aborted_total": ("reason", "Requests that broke off before the application was called."),
    "roadrunner_websockets_refused_total": ("reason", "WebSockets that were not accepted."),
    "roadrunner_websockets_closed_total": ("code", "WebSockets that are over, by the code of their close."),
    "roadrunner_requests_failed_total": ("outcome", "Requests that the application had begun and nobody ended well."),
}
"""The families of tallies, with their label and what they count."""
MOST_TALLIES: Final = 96
MOST_SERIES: Final = 256
MOST_TEXT: Final = 128
"""Octets of the labels of a series, or of a tally."""

Key: TypeAlias = tuple[str, str, str]
"""Method, route, and class of status."""

CELLS: Final = len(BOUNDS) + 2
"""Of a histogram: its buckets, and the sum of what they count, in microseconds."""
DURATION: Final = slice(0, CELLS)
FIRST: Final = slice(CELLS, 2 * CELLS)
RECEIVED: Final = 2 * CELLS
SENT: Final = RECEIVED + 1
WIDTH: Final = SENT + 1
"""Numbers of a series: two histograms, of the duration and of the time to the first octet; octets in, and out."""

_HEAD: Final = struct.Struct("=8sII")
_COUNTS: Final = struct.Struct(f"={len(NUMBERS)}qII")
_TALLY: Final = struct.Struct(f"={MOST_TEXT}sq")
_SERIES: Final = struct.Struct(f"={MOST_TEXT}s{WIDTH}q")
_LAYOUT: Final = f"{list(PLACE)} {BOUNDS} {MOST_TEXT}".encode()
_MAGIC: Final = b"rrtrio" + struct.pack("=H", zlib.crc32(_LAYOUT) & 0xFFFF)
"""Another version of this program may have another layout, and may be who reads."""
_PAGE: Final = 4096
_NEEDED: Final = _HEAD.size + _COUNTS.size + MOST_TALLIES * _TALLY.size + MOST_SERIES * _SERIES.size
SIZE: Final = -(-_NEEDED // _PAGE) * _PAGE
"""Octets of the area that a process packs its numbers into, in whole pages."""


def short(text: str, most: int) -> str:
    """``text`` in at most ``most`` octets of UTF-8: a longer one ends in a checksum, so that two remain two."""
    octets = text.encode("utf-8", "replace")
    if len(octets) <= most:
        return octets.decode("utf-8")
    tail = f"...{zlib.crc32(octets):08x}"
    return octets[: most - len(tail)].decode("utf-8", "ignore") + tail


@dataclass(slots=True)
class Snapshot:
    """Numbers of one process, or of several added up.

    Attributes:
        numbers: those of :data:`NUMBERS`, in order.
        tallies: by family and word.
        series: :data:`WIDTH` numbers for each key.
    """

    numbers: list[int] = field(default_factory=lambda: [0] * len(NUMBERS))
    tallies: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    series: dict[Key, list[int]] = field(default_factory=dict[Key, list[int]])

    def pack_into(self, area: memoryview | bytearray) -> None:
        """Writes it to the beginning of ``area``, which has :data:`SIZE` octets; what has no room is left out."""
        octets = memoryview(area).cast("B")
        tallies = list(self.tallies.items())[:MOST_TALLIES]
        room = len(octets) - _HEAD.size - _COUNTS.size - len(tallies) * _TALLY.size
        if room < 0:
            return  # it is another version's, or nobody's
        series = list(self.series.items())[: min(MOST_SERIES, room // _SERIES.size)]
        body = b"".join(
            [
                _COUNTS.pack(*self.numbers, len(tallies), len(series)),
                *(_TALLY.pack(_text(key), count) for key, count in tallies),
                *(_SERIES.pack(_text(key), *values) for key, values in series),
            ]
        )
        end = _HEAD.size + len(body)
        octets[:end] = _HEAD.pack(_MAGIC, len(body), zlib.crc32(body)) + body

    @classmethod
    def unpack(cls, area: bytes | bytearray | memoryview) -> Snapshot | None:
        """What somebody has written to ``area``; None when nobody has, or is about to."""
        octets = memoryview(area).cast("B")
        if len(octets) < _HEAD.size:
            return None
        magic, length, checksum = _HEAD.unpack_from(octets)
        body = bytes(octets[_HEAD.size : _HEAD.size + length])
        if magic != _MAGIC or len(body) < _COUNTS.size or zlib.crc32(body) != checksum:
            return None
        *numbers, tallies, series = _COUNTS.unpack_from(body)
        if length != _COUNTS.size + tallies * _TALLY.size + series * _SERIES.size:
            return None
        found, middle = cls(numbers), _COUNTS.size + tallies * _TALLY.size
        for text, count in _TALLY.iter_unpack(body[_COUNTS.size : middle]):
            family, _, word = _read(text).partition("\0")
            found.tallies[family, word] = count
        for text, *values in _SERIES.iter_unpack(body[middle:]):
            method, _, rest = _read(text).partition("\0")
            status, _, route = rest.partition("\0")
            found.series[method, route, status] = values
        return found


def _text(key: tuple[str, str] | Key) -> bytes:
    """The route stands last: it may have anything in it, but no zero."""
    words = key if len(key) == 2 else (key[0], key[2], key[1])
    return "\0".join(words).encode("utf-8")


def _read(text: bytes) -> str:
    return text.rstrip(b"\0").decode("utf-8", "replace")


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The numbers of several processes as if they were one's."""
    whole = Snapshot()
    for each in snapshots:
        for at, number in enumerate(NUMBERS):
            whole.numbers[at] = number.add(whole.numbers[at], each.numbers[at])
        for word, count in each.tallies.items():
            whole.tallies[word] = whole.tallies.get(word, 0) + count
        for key, values in each.series.items():
            before = whole.series.get(key)
            whole.series[key] = (
                list(values) if before is None else [one + other for one, other in zip(before, values, strict=True)]
            )
    return whole


def retired(snapshot: Snapshot) -> Snapshot:
    """What is left of a process that is no more: its counters, so that no sum runs backwards, and nothing that *is*."""
    numbers = [
        value if number.kind == "counter" else 0 for number, value in zip(NUMBERS, snapshot.numbers, strict=True)
    ]
    return Snapshot(numbers, dict(snapshot.tallies), {key: list(values) for key, values in snapshot.series.items()})
