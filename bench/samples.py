"""What two profilers say, read and put together: py-spy knows Python's functions, perf knows the kernel.

py-spy stops the process to look at it, and a process stops at the end of a system call more often than its time in it
is long. So what it says of lines that make one is not believed: how long the kernel takes is perf's to say, and what
py-spy says is about the rest.
"""

from __future__ import annotations

import linecache
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

CALLS: Final = {
    "__x64_sys_sendto": "send",
    "__x64_sys_sendmsg": "send",
    "__x64_sys_writev": "send",
    "__x64_sys_write": "write",
    "__x64_sys_sendfile64": "send a file",
    "__x64_sys_recvfrom": "receive",
    "__x64_sys_recvmsg": "receive",
    "__x64_sys_read": "receive",
    "__x64_sys_epoll_wait": "wait",
    "__x64_sys_epoll_ctl": "wait",
    "__x64_sys_accept4": "accept and close",
    "__x64_sys_close": "accept and close",
    "__x64_sys_shutdown": "accept and close",
}
"""System calls that a request is made of; the names of other processors are made alike."""
STEPS: Final = (
    ("the handler", r"bench/apps/|/json/"),
    ("Trio: tasks, traps, the loop", r"/(trio|outcome|sniffio)/|<attrs generated methods (trio|outcome)"),
    ("the wire and the poller", r"roadrunner_trio/transport/(wire|poller|streams|tls)"),
    (
        "reading: heads, bodies, frames",
        r"roadrunner_trio/protocol/(heads|http1/(scan|head|body|engine|h11_engine)|ws/|codec/)|/(h11|wsproto)/",
    ),
    ("writing: heads, framing, one send", r"roadrunner_trio/(protocol/(http1/encode|wishes)|server/http1_sender|date)"),
    (
        "requests and responses as objects",
        r"roadrunner_trio/(messages/|answering/respond|fields|telemetry/request_ids|apps/)",
    ),
    ("the life of the connection: phases, clock, drain", r"roadrunner_trio/"),
)
"""The parts of a request that are Python, by the files they are in; the first that fits."""
OTHER: Final = "the rest of Python"

_frame = re.compile(r"(?P<name>.+) \((?P<file>[^()]+):(?P<line>\d+)\)").fullmatch
_call = re.compile(
    r"\.(send|sendmsg|sendto|recv|recv_into|recvmsg|poll|accept|sendfile|register|unregister|flush)\("
).search
_inclusive = re.compile(r"^ +([\d.]+)% +[\d.]+% +\[k\] (\S+)", re.MULTILINE).findall
_dso = re.compile(r"^ +([\d.]+)% +(\S+)", re.MULTILINE).findall


class Frame(NamedTuple):
    """A place in a program."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """What perf says, as shares of all CPU time.

    Attributes:
        share: of the kernel.
        calls: of those parts of it that have a name in :data:`CALLS`.
    """

    share: float
    calls: dict[str, float]


def read_stacks(text: str) -> dict[tuple[Frame, ...], int]:
    """What ``py-spy record --format raw`` has written: stacks, outermost first, and how often each was seen."""
    found: Counter[tuple[Frame, ...]] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [match for part in stack.split(";") if (match := _frame(part))]
        if frames:
            found[tuple(Frame(each["name"], each["file"], int(each["line"])) for each in frames)] += int(count)
    return dict(found)


def is_system_call(frame: Frame, source: Callable[[str, int], str] = linecache.getline) -> bool:
    """Whether the line makes a system call, by what stands there."""
    return _call(source(frame.file, frame.line)) is not None


def user_only(
    stacks: Mapping[tuple[Frame, ...], int], source: Callable[[str, int], str] = linecache.getline
) -> dict[tuple[Frame, ...], int]:
    """The stacks whose innermost line makes no system call."""
    return {stack: count for stack, count in stacks.items() if not is_system_call(stack[-1], source)}


def named(stack: Sequence[Frame]) -> tuple[str, ...]:
    """The functions of a stack, for people."""
    return tuple(label(each) for each in stack)


def label(frame: Frame) -> str:
    """A function with its file, from the top-level package on."""
    short = re.sub(r"^.*/(?:site-packages|python\d[\d.]*)/|^.*/(?=(?:roadrunner_trio|bench)/)", "", frame.file)
    return f"{frame.name} ({short})"


def package(frame: Frame) -> str:
    """The top-level package of a function, as far as its file tells."""
    return label(frame).rpartition("(")[2].partition("/")[0]


def self_times(stacks: Mapping[tuple[Frame, ...], int]) -> dict[str, float]:
    """Each function's share of the samples in which nothing it called was running; the largest first."""
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        counts[label(stack[-1])] += count
    total = counts.total()
    return {name: count / total for name, count in counts.most_common()}


def step(frame: Frame) -> str:
    """The part of a request that a function belongs to."""
    return next((name for name, pattern in STEPS if re.search(pattern, frame.file)), OTHER)


def steps(stacks: Mapping[tuple[Frame, ...], int], kernel: Kernel) -> dict[str, float]:
    """The parts of a request as shares of all CPU time: the kernel's by perf, of the rest Python's by py-spy."""
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        counts[step(stack[-1])] += count
    found = {f"the kernel: {name}": share for name, share in kernel.calls.items()}
    found["the kernel: else (task switches, interrupts)"] = max(kernel.share - sum(kernel.calls.values()), 0.0)
    order = [*(name for name, _ in STEPS), OTHER]
    total = counts.total()
    found |= {name: counts[name] / total * (1 - kernel.share) for name in order if counts[name]}
    return found


def read_kernel(by_file: str, inclusive: str) -> Kernel:
    """What ``perf report`` prints: sorted by ``dso`` without children, and by ``sym`` with them."""
    share = sum(float(part) for part, name in _dso(by_file) if name.startswith("[kernel"))
    calls: defaultdict[str, float] = defaultdict(float)
    for part, symbol in _inclusive(inclusive):
        if (name := CALLS.get(re.sub(r"^__\w+?_sys_", "__x64_sys_", symbol))) is not None:
            calls[name] += float(part)
    return Kernel(share / 100, {name: part / 100 for name, part in calls.items() if part >= 0.1})
