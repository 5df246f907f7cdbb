"""Workers are renewed, upgraded and killed under load, and what was lost is counted: ``nox -s workers``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio
from process_tools import Server, command_line
from worker_tools import APP, Load, gone, until, workers

CLIENTS = 12
CHANGES: dict[str, Callable[[Server, int], Awaitable[None]]] = {}


async def change(number: signal.Signals, server: Server, times: int) -> None:
    """All workers are new, once more."""
    server.process.send_signal(number)
    await until(lambda: server.log().count("all workers are renewed") == times)


async def kill(server: Server, times: int) -> None:
    """One of them is no more, and has a successor."""
    victim = workers(server)[0]
    os.kill(victim, signal.SIGKILL)
    await until(lambda: gone(victim) and len(workers(server)) == 2)
    await trio.sleep(2)


CHANGES |= {"rolls": partial(change, signal.SIGHUP), "upgrades": partial(change, signal.SIGUSR2), "kill -9": kill}


async def under_load(folder: Path, name: str, kept: bool, least: int, often: int = 3) -> tuple[int, int, list[str]]:
    """How often that was done, how many were answered meanwhile, and what was lost."""
    async with command_line(APP, folder, "-w", "2", "--no-access-log", "--grace", "5s") as server:
        loads, times = [Load(server.port, kept) for _ in range(CLIENTS)], 0
        async with trio.open_nursery() as nursery:
            for load in loads:
                nursery.start_soon(load.run)
            while times < often or sum(load.answered for load in loads) < least:
                times += 1
                await CHANGES[name](server, times)
            nursery.cancel_scope.cancel(reason="enough")
        server.terminate()
        await server.end()
    return times, sum(load.answered for load in loads), [lost for load in loads for lost in load.lost]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--least", type=int, default=5000, help="requests while it is done (default 5000)")
    parser.add_argument("--often", type=int, default=3, help="times that it is done at least (default 3)")
    given = parser.parse_args()
    least, often = int(given.least), int(given.often)
    clean = True
    for name in CHANGES:
        for kept in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                times, answered, lost = trio.run(under_load, Path(folder), name, kept, least, often)
            kind = "connections kept" if kept else "a connection a request"
            print(f"{times} {name}, {kind}: {answered} answered, {len(lost)} lost", flush=True)
            for line in lost[:5]:
                print(f"  {line}")
            bound = 2 * CLIENTS * times if name == "kill -9" else 0  # those that the killed one had
            clean = clean and len(lost) <= bound
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
