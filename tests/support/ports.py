"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

HANDED_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody listens on, of those which the kernel gives to nobody unasked.

    What port 0 brings is free again as soon as it is closed, and the next who asks for any port at all may get it:
    another test of the same run, or a run beside it, whose server then answers in place of the one that was meant.
    """
    first = int(HANDED_OUT.read_text().split()[0]) if HANDED_OUT.exists() else 32768
    while True:
        port = random.randrange(first - 10_000, first)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
