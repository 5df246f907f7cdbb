"""What a service and systemd have to say to each other: sockets that it opens or keeps for us, and how we are.

The variables are taken out of the environment, so that what this process starts does not think that it is meant
(sd_listen_fds(3), sd_notify(3)). A program that this one becomes by ``exec`` gets them back.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote, unquote

import trio

from ..server.listener import Listener
from ..server.serve import Renewal
from ..server.shell import Banner
from ..telemetry.observe import ListenerDraining, ListenerRetiring, Observer
from ..transport.bind import FD
from .children import UPGRADE

FIRST: Final = 3
"""The first descriptor that is passed."""
SCHEME: Final = "systemd:"
"""How a socket is written that the service manager has opened: ``systemd:NAME``."""
KEPT: Final = "kept-"
"""How the names begin of sockets that it keeps for us."""
LONG: Final = 86400.0
"""Seconds that a drain without a bound is said to take, at most."""
MOST_OWED: Final = 64
"""Words that are kept for a service manager that has no room for them."""
AGAIN: Final = 5.0
"""Seconds from one try to tell it those to the next, where nothing else is to be told."""
LONGEST: Final = 20
"""Digits of a number of 64 bits."""
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Service:
    """What systemd has given this process; nothing, where it has not started it.

    Attributes:
        variables: what was in the environment.
        sockets: descriptors that it has opened, each with its name.
        kept: descriptors that it has kept for us, by the address as it was written.
        every: seconds between two signs of life, at most; ``math.inf`` when it does not want any.
        wrong: what is wrong with what it says that it has given, in a sentence; ``""`` if nothing is.
    """

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.sockets: list[tuple[str, int]] = []
        self.kept: dict[str, list[int]] = {}
        self.every = math.inf
        self.wrong = ""
        self._status = ""
        self._owed: list[tuple[bytes, Sequence[int]]] = []

    def take(self, environment: MutableMapping[str, str]) -> None:
        """Reads the variables, and removes them."""
        found = {name: environment.pop(name) for name in VARIABLES if name in environment}
        self.variables, me = found, str(os.getpid())
        if found.get("LISTEN_PID") == me and (count := found.get("LISTEN_FDS")):
            if (many := _number(count)) is not None:
                again = UPGRADE in environment
                self._sort(many, found.get("LISTEN_FDNAMES", "").split(":"), again=again)
            else:
                self.wrong = f"LISTEN_FDS={count} is no number of descriptors"
        if found.get("WATCHDOG_PID", me) == me and (waits := _number(found.get("WATCHDOG_USEC", ""))):
            self.every = waits / 2e6  # 0 is no time (sd_watchdog_enabled(3)), and would be said without end

    def _sort(self, count: int, names: Sequence[str], *, again: bool) -> None:
        """Whose each is; the program that this process was before may have closed what nobody wanted."""
        count = min(count, os.sysconf("SC_OPEN_MAX")) if again else count
        for at in range(count):
            name = names[at] if at < len(names) else ""
            descriptor = FIRST + at
            try:
                os.set_inheritable(descriptor, False)
            except (OSError, OverflowError):
                if again:
                    continue
                self.wrong = f"LISTEN_FDS={count} says that descriptor {descriptor} is a socket, and it is not open"
                return
            if name.startswith(KEPT):
                self.kept.setdefault(unquote(name.removeprefix(KEPT)), []).append(descriptor)
            else:
                self.sockets.append((name, descriptor))

    def named(self, name: str) -> list[int]:
        """The descriptors of that name.

        Raises:
            ValueError: there is none.
        """
        found = [descriptor for each, descriptor in self.sockets if each == name]
        if not found:
            there = ", ".join(sorted({each for each, _ in self.sockets})) or "none"
            raise ValueError(f"{SCHEME}{name}: the service manager has passed no socket of that name; there is {there}")
        return found

    @property
    def passed(self) -> list[int]:
        """The descriptors that it has opened, as far as they are open."""
        return [descriptor for _, descriptor in self.sockets if _is_open(descriptor)]

    # -- what it is told -------------------------------------------------------------------------

    def tell(self, *words: str, descriptors: Sequence[int] = ()) -> None:
        """Tells it, if it listens; what comes of it is its affair. While it has no room, that is kept for later."""
        self._owed.append(("\n".join(words).encode(), descriptors))
        del self._owed[:-MOST_OWED]
        self.catch_up()

    def catch_up(self) -> bool:
        """Tells what it had no room for, in order; whether nothing of that is left."""
        while self._owed:
            if not self._send(*self._owed[0]):
                return False
            del self._owed[0]
        return True

    def _send(self, words: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Whether there was room, or nobody for whom there could have been."""
        address = self.variables.get("NOTIFY_SOCKET", "")
        if not address:
            return True
        address = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.connect(address)
                socket.send_fds(sock, [words], list(descriptors))
            except BlockingIOError:
                return False
        return True

    def ready(self) -> None:
        """It serves."""
        self.tell("READY=1")

    def status(self, text: str) -> None:
        """In a few words, for ``systemctl status``."""
        if self.catch_up() and text != self._status and self._send(f"STATUS={text}".encode()):
            self._status = text

    def reloading(self) -> None:
        """What it has is being renewed (``Type=notify-reload``)."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """It ends, and may take so long."""
        self.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(min(seconds, LONG) * 1e6)}")

    def alive(self) -> None:
        """It is well. To be said twice in the time that the service manager waits for it."""
        if self.catch_up() and self.every < math.inf:
            self._send(b"WATCHDOG=1")

    def keeps(self, environment: Mapping[str, str]) -> bool:
        """Whether it would keep sockets."""
        return "NOTIFY_SOCKET" in self.variables and environment.get("FDSTORE", "0") != "0"

    def keep(self, doors: Mapping[str, Sequence[int]]) -> None:
        """Has it keep sockets until we are back, and forget those that nobody wants any more.

        Those that it has opened itself it has, and passes anew.
        """
        ours = {key: descriptors for key, descriptors in doors.items() if not key.startswith((FD, SCHEME))}
        for key in set(self.kept) - set(ours):
            self.tell("FDSTOREREMOVE=1", f"FDNAME={_name(key)}")
        for key, descriptors in ours.items():
            if key not in self.kept:
                self.tell("FDSTORE=1", f"FDNAME={_name(key)}", descriptors=descriptors)

    async def say_alive(self) -> None:
        """Says so for a process without a supervisor, whose loop this is."""
        while "NOTIFY_SOCKET" in self.variables:
            self.alive()
            await trio.sleep(min(self.every, AGAIN))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST else None


def _name(key: str) -> str:
    return KEPT + quote(key, safe="/@[]")[:200]


class Herald(Observer):
    """Tells that the end has begun, by whomever.

    Args:
        service: who is told.
        seconds: that it may take.
    """

    def __init__(self, service: Service, seconds: float) -> None:
        self._service = service
        self._seconds = seconds

    def listener_retire(self, event: ListenerRetiring) -> None:
        """It has been announced."""
        self._service.stopping(self._seconds)

    def listener_drain(self, event: ListenerDraining) -> None:
        """It is there."""
        self._service.stopping(self._seconds)


SERVICE: Final = Service()
"""That of this process."""


class Announcement(Banner):
    """Tells the service manager, too, that the server listens.

    Args:
        doors: what it is to keep, by the addresses as they were written.
    """

    def __init__(self, title: str, doors: Mapping[str, Sequence[int]] | None = None) -> None:
        super().__init__(title)
        self._doors = doors

    def started(self, value: Sequence[Listener] = ()) -> None:
        """All of them listen."""
        super().started(value)
        SERVICE.ready()
        if self._doors is not None:
            SERVICE.keep(self._doors)


def around(renewals: Sequence[Renewal]) -> list[Renewal]:
    """The same, the service manager being told when they begin and when they have ended, if it listens."""
    if "NOTIFY_SOCKET" not in SERVICE.variables:
        return list(renewals)
    return [announced, *renewals, done]


async def announced() -> None:
    """The service manager waits from now on."""
    SERVICE.reloading()


async def done() -> None:
    """It need not wait any more."""
    SERVICE.ready()
