"""Autobahn|Testsuite against the server: what a fuzzing client makes of 517 cases of RFC 6455 and RFC 7692.

Run by ``nox -s autobahn``, which installs the suite. By hand::

    python tests/conformance/autobahn.py path/to/wstest [--short] [--asgi] [--cases '7.*' ...] [--reports folder]

``--short`` leaves out 12.* and 13.*, compression at length, which take most of the time. ``--asgi`` has an application
of ASGI echo, in place of a handler; the counts are to be the same. The exit status is 0 when
every case is OK, close behaviour too, but for those that only inform.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from roadrunner_trio import Limits, Listener, WebSocketRequest, websocket
from roadrunner_trio.apps.asgi import Receive, Scope, Send, WebSocketOptions, asgi

EXPECTED = {True: Counter({"OK": 298, "INFORMATIONAL": 3}), False: Counter({"OK": 514, "INFORMATIONAL": 3})}
"""Verdicts on behaviour, of the short run and of the whole."""
LONG = ["12.*", "13.*"]
LARGEST = 32 * 1024 * 1024
AGENT = "roadrunner-trio"
PASSED = {"OK", "INFORMATIONAL"}


async def echo(request: WebSocketRequest) -> None:
    """Every message back as it came."""
    session = await request.accept()
    async for message in session:
        await session.send_message(message)


async def echo_by_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """The same, as ASGI has it."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def make(by_asgi: bool) -> Any:
    """What is served."""
    if not by_asgi:
        return websocket(echo, compression=True, max_message=LARGEST)
    options = WebSocketOptions(compression=True, max_message=LARGEST)
    return asgi(echo_by_asgi, lifespan="off", websocket=options)


async def play(
    handler: Any, wstest: list[str], cases: list[str], exclude: list[str], reports: Path
) -> dict[str, dict[str, str]]:
    """Serves an echo, lets the suite loose on it, and gives its verdicts by case."""
    listener = Listener(handler, bind="127.0.0.1:0", limits=Limits(max_connections=64))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        spec = {
            "outdir": str(reports),
            "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{listener.port}"}],
            "cases": cases,
            "exclude-cases": exclude,
            "exclude-agent-cases": {},
        }
        path = reports / "spec.json"
        path.write_text(json.dumps(spec))
        await trio.run_process([*wstest, "-m", "fuzzingclient", "-s", str(path)], stdout=subprocess.DEVNULL)
        nursery.cancel_scope.cancel()
    verdicts: dict[str, dict[str, str]] = json.loads((reports / "index.json").read_text())[AGENT]
    return verdicts


def report(verdicts: dict[str, dict[str, str]]) -> Counter[str]:
    """Prints a table by section, and each case that is not OK; counts the verdicts on behaviour."""
    by_section: dict[int, Counter[str]] = {}
    for case, verdict in verdicts.items():
        by_section.setdefault(int(case.partition(".")[0]), Counter())[verdict["behavior"]] += 1
    columns = sorted(set().union(*by_section.values()))
    print("section " + "".join(f"{column:>15}" for column in columns))
    for section, counts in sorted(by_section.items()):
        print(f"{section:7} " + "".join(f"{counts[column]:15}" for column in columns))
    total = sum(by_section.values(), Counter[str]())
    print("    all " + "".join(f"{total[column]:15}" for column in columns))
    print("closing:", dict(Counter(verdict["behaviorClose"] for verdict in verdicts.values())))
    for case, verdict in verdicts.items():
        if {verdict["behavior"], verdict["behaviorClose"]} - PASSED:
            print(f"{case}: {verdict['behavior']}, closing {verdict['behaviorClose']}")
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wstest", nargs="+", help="the command")
    parser.add_argument("--short", action="store_true", help="without 12.* and 13.*")
    parser.add_argument("--asgi", action="store_true", help="an application of ASGI echoes")
    parser.add_argument("--cases", nargs="+", default=["*"], help="these only")
    parser.add_argument("--reports", type=Path, help="where the suite's own reports go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reports = arguments.reports or Path(folder)
        reports.mkdir(parents=True, exist_ok=True)
        exclude = LONG if arguments.short else []
        verdicts = trio.run(play, make(arguments.asgi), arguments.wstest, arguments.cases, exclude, reports)
    total = report(verdicts)
    bad = [v for v in verdicts.values() if {v["behavior"], v["behaviorClose"]} - PASSED]
    complete = arguments.cases != ["*"] or total == EXPECTED[arguments.short]
    return 0 if not bad and complete else 1


if __name__ == "__main__":
    sys.exit(main())
