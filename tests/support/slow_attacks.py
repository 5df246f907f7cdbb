"""Slow attacks on a server in a process of its own, and what a client feels of them: ``nox -s hardening -- slow``.

First our own attackers (``slow_attackers.py``), then slowhttptest. For each kind: how long the last of them held a
connection, against the deadline that bounds it; what was left when they had gone; and the 99th percentile of an honest
client's waiting, beside that of quiet moments before and after. All of it on loopback, in two or three minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio
from process_tools import Server, script
from slow_attackers import KINDS
from socket_tools import Peer

ATTACKERS = 500
BEAT = 0.01
"""Between two requests of the honest client."""
QUIET = 5.0
LINGER = 2.0
GRACE = 1.0
"""Seconds that a busy machine may be late."""
FLOOR = 0.005
"""A p99 that is below this twice over is no attack's doing, but the machine's."""

SECONDS = 5
APP = f"""
import trio, roadrunner_trio as rr

BIG = bytes(4 * 1024 * 1024)

async def handler(request):
    if request.path == "/info":
        info = listener.info()
        return rr.Response.json({{"active": info.active, "accepted": info.accepted, "failed": info.failed}})
    if request.path == "/big":
        return rr.Response(BIG)
    return rr.Response("hello")

times = rr.Timeouts(request={SECONDS}, keep_alive={SECONDS}, body={SECONDS}, write={SECONDS}, linger={LINGER})
listener = rr.Listener(handler, bind="127.0.0.1:0", timeouts=times)

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""

BOUNDS = dict.fromkeys(KINDS, float(SECONDS)) | {"slow_head": 3.0, "slow_body": 3.0, "idle": SECONDS + 1.0}
"""Seconds until the last has to be gone, its lingering and a busy machine apart; the slow ones fall to the rate."""

TOOL = {
    "slowhttptest -H": ["-H", "-i", "2"],
    "slowhttptest -B": ["-B", "-i", "2", "-s", "8192"],
    "slowhttptest -R": ["-R", "-a", "5", "-b", "2000"],
    "slowhttptest -X": ["-X", "-n", "2", "-k", "3", "-w", "512", "-y", "1024", "-z", "32"],
}


@dataclass(frozen=True)
class Row:
    """What came of one kind of attack."""

    name: str
    held: float
    bound: float
    left: int
    before: float
    during: float
    memory: float

    @property
    def good(self) -> bool:
        """Gone in time, nothing left, and the honest client did not wait twice as long."""
        return self.held <= self.bound and not self.left and self.during <= 2 * max(self.before, FLOOR)

    def __str__(self) -> str:
        times = f"{self.held:7.1f}{self.bound:7.1f}{self.left:6}{self.before * 1000:9.1f}{self.during * 1000:9.1f}"
        ratio = self.during / self.before
        return f"{self.name:18}{times}{ratio:7.2f}{self.memory:8.1f}  {'ok' if self.good else 'FAILED'}"


HEADING = f"{'attack':18}{'held':>7}{'bound':>7}{'left':>6}{'quiet ms':>9}{'p99 ms':>9}{'ratio':>7}{'MiB':>8}"


def p99(waits: list[float]) -> float:
    """Of sorted or unsorted waits."""
    return sorted(waits)[int(len(waits) * 0.99)]


class Client:
    """An honest client that asks all the time, on one connection, and notes how long it waits."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.waits: list[float] = []

    async def ask(self) -> None:
        """Asks for ever; a new connection when one has had its thousand requests."""
        while True:
            with await Peer.connect(self.port) as peer:
                answer = None
                while answer is None or answer.header("connection") != "close":
                    began = trio.current_time()
                    answer = await peer.get()
                    assert answer.status == 200
                    self.waits.append(trio.current_time() - began)
                    await trio.sleep(BEAT)

    def take(self) -> list[float]:
        """The waits since the last time."""
        waits, self.waits = self.waits, []
        return waits


async def active(port: int) -> int:
    """Connections of others than ourselves: the honest client's, and this one."""
    with await Peer.connect(port) as peer:
        answer = await peer.get("/info", fields="Connection: close\r\n")
    info = json.loads(answer.body)
    assert not info["failed"], info
    return info["active"] - 2


async def gone(port: int) -> int:
    """Waits until nobody is left, in vain after a minute; who is."""
    with trio.move_on_after(60):
        while await active(port):  # noqa: ASYNC110 - only asking tells
            await trio.sleep(0.1)
    return await active(port)


async def ours(server: Server, client: Client, kind: str) -> Row:
    """One of our kinds."""
    program = str(Path(__file__).with_name("slow_attackers.py"))
    command = [sys.executable, program, kind, str(server.port), str(ATTACKERS)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        with trio.fail_after(30):
            said = await process.stdout.receive_some()
        assert said.startswith(b"there"), (said, process.returncode)
        began = trio.current_time()
        return await judged(kind, server, client, began, BOUNDS[kind] + LINGER + GRACE)
    finally:
        process.kill()
        await process.wait()


async def tool(server: Server, client: Client, name: str) -> Row:
    """slowhttptest, which takes half its time to connect and is ended by its own clock."""
    options = ["-c", str(ATTACKERS), "-r", "250", "-l", "10", "-p", "3", "-u", f"http://127.0.0.1:{server.port}/big"]
    began = trio.current_time()
    done = await trio.run_process(["slowhttptest", *TOOL[name], *options], capture_stdout=True)
    assert b"service available:" in done.stdout
    assert b"NO" not in done.stdout.rpartition(b"service available:")[2].split(b"\n")[0], done.stdout[-500:]
    return await judged(name, server, client, began, 12 + SECONDS + LINGER + GRACE)


async def judged(name: str, server: Server, client: Client, began: float, bound: float) -> Row:
    """Waits for the end of an attack, then for a quiet moment."""
    left = await gone(server.port)
    held = trio.current_time() - began
    during = p99(client.take())
    memory = server.memory() / 2**20
    await trio.sleep(QUIET)
    return Row(name, held, bound, left, p99(client.take()), during, memory)


async def main() -> int:
    """All kinds, and a table; 1 if one of them got more than it should."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        async with script(APP, Path(folder)) as server, trio.open_nursery() as nursery:
            client = Client(server.port)
            nursery.start_soon(client.ask)
            await trio.sleep(QUIET)
            print(f"{ATTACKERS} attackers of each kind; a quiet server takes {server.memory() / 2**20:.1f} MiB")
            print(HEADING)
            runs = [(ours, kind) for kind in KINDS]
            if shutil.which("slowhttptest"):
                runs += [(tool, name) for name in TOOL]
            else:
                print("slowhttptest is not installed: its attacks are left out")
            for run, name in runs:
                client.take()
                rows.append(await run(server, client, name))
                print(rows[-1], flush=True)
            nursery.cancel_scope.cancel()
            print(server.log(), end="")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))
