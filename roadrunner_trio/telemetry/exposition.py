"""Numbers as Prometheus reads them: the text format 0.0.4, or OpenMetrics 1.0 where a scraper prefers it.

Both are lines of ``name{label="value"} number`` below ``# HELP`` and ``# TYPE``. They differ in what a counter's family
is called, in what is escaped in a help, and in the end, which OpenMetrics wants to be said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from .snapshot import BOUNDS, DURATION, FIRST, NUMBERS, RECEIVED, SENT, TALLIES, Snapshot, earliest

TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels: TypeAlias = tuple[tuple[str, str], ...]
MICRO: Final = 1_000_000
LABELS: Final = ("method", "route", "status")
HISTOGRAMS: Final = (
    ("http_server_request_duration_seconds", "From the call of the application to the end of its response.", DURATION),
    ("http_server_time_to_first_byte_seconds", "From the call of the application to the head of its response.", FIRST),
)
OCTETS: Final = (
    ("http_server_request_body_bytes_total", "Content of requests that was read.", RECEIVED),
    ("http_server_response_body_bytes_total", "Content of responses that was written.", SENT),
)
_BOUNDS: Final = (*(repr(bound) for bound in BOUNDS), "+Inf")
_escapes: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family(NamedTuple):
    """What stands below one ``# TYPE``.

    Attributes:
        name: a counter's with its ``_total``.
        kind: ``"counter"``, ``"gauge"`` or ``"histogram"``.
        help: one line.
        samples: what follows the name, the labels, and the value as text.
    """

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Labels, str]]


def exposed(snapshot: Snapshot, accept: str = "") -> tuple[bytes, bytes]:
    """The media type and the text that a scraper gets.

    Args:
        accept: its field Accept; OpenMetrics is for those who name it, and do not like plain text better.
    """
    openmetrics = _prefers_openmetrics(accept)
    return (OPENMETRICS if openmetrics else TEXT), render(families(snapshot), openmetrics=openmetrics)


def render(shown: Iterable[Family], *, openmetrics: bool = False) -> bytes:
    """Families as text."""
    lines: list[str] = []
    for name, kind, help, samples in shown:
        family = name.removesuffix("_total") if openmetrics and kind == "counter" else name
        lines += [f"# HELP {family} {help}", f"# TYPE {family} {kind}"]
        lines += [f"{name}{rest}{_braced(labels)} {value}" for rest, labels, value in samples]
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode("utf-8")


def families(snapshot: Snapshot) -> Iterator[Family]:
    """All that there is to tell, in the order of the tables; what has no sample yet is left out."""
    grouped: dict[str, Family] = {}
    for number, value in zip(NUMBERS, snapshot.numbers, strict=True):
        if number.add is earliest and not value:
            continue  # there is no such thing here
        family = grouped.setdefault(number.name, Family(number.name, number.kind, number.help, []))
        family.samples.append(("", number.labels, _shown(value, number.scale)))
    yield from grouped.values()
    yield from _tallies(snapshot.tallies)
    labelled = [(tuple(zip(LABELS, key, strict=True)), values) for key, values in sorted(snapshot.series.items())]
    if not labelled:
        return
    for name, help, cells in HISTOGRAMS:
        samples = [sample for labels, values in labelled for sample in _histogram(labels, values[cells])]
        yield Family(name, "histogram", help, samples)
    for name, help, cell in OCTETS:
        yield Family(name, "counter", help, [("", labels, str(values[cell])) for labels, values in labelled])


def _tallies(tallies: Mapping[tuple[str, str], int]) -> Iterator[Family]:
    for name, (label, help) in TALLIES.items():
        counted = sorted((word, count) for (family, word), count in tallies.items() if family == name)
        if counted:
            yield Family(name, "counter", help, [("", ((label, word),), str(count)) for word, count in counted])


def _histogram(labels: Labels, cells: list[int]) -> Iterator[tuple[str, Labels, str]]:
    *buckets, total = cells
    counts = list(accumulate(buckets))
    for bound, count in zip(_BOUNDS, counts, strict=True):
        yield "_bucket", (*labels, ("le", bound)), str(count)
    yield "_sum", labels, _shown(total, MICRO)
    yield "_count", labels, str(counts[-1])


def _shown(value: int, scale: int) -> str:
    return str(value) if scale == 1 else repr(value / scale)


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{value.translate(_escapes)}"' for name, value in labels]) + "}"


def _prefers_openmetrics(accept: str) -> bool:
    """Whether the field (RFC 9110 section 12.5.1) names it, with no less weight than plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.lower().split(","):
        kind, *parameters = [part.strip() for part in item.split(";")]
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(parameters))
    openmetrics, plain = weights.values()
    return openmetrics > 0 and openmetrics >= plain


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if math.isfinite(weight) else 0.0
    return 1.0
