"""``python -m roadrunner_trio.tutorial check 04 my_server.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .chapters import CHAPTERS
from .judge import check, load, report
from .measure import measure
from .stage import Unfit


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; the exit status: 0 all is well, 1 something was missed, 2 there is nothing to judge."""
    parser = argparse.ArgumentParser("python -m roadrunner_trio.tutorial", description="The judge of the tutorial.")
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="run a chapter's attacks against a file")
    checking.add_argument("chapter", type=int, choices=CHAPTERS, metavar="CHAPTER", help="01 to 10; 10 runs all")
    checking.add_argument("file", type=Path)
    measuring = commands.add_parser("measure", help="CPU of a request, of several files in turns")
    measuring.add_argument("file", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    try:
        if options.command == "measure":
            measure([(path.name, load(path)) for path in options.file])
            return 0
        return judge_file(options.chapter, options.file)
    except Unfit as unfit:
        print(unfit)
        return 2


def judge_file(chapter: int, path: Path) -> int:
    """Prints what comes of a chapter's attacks."""
    server = load(path)
    print(f"{chapter:02} {CHAPTERS[chapter][0]}: {path.name}", flush=True)
    missed = 0
    for verdict in check(server, chapter):
        print(*report(verdict), sep="\n", flush=True)
        missed += verdict.missed is not None
    print(f"{missed} missed" if missed else "All is well.")
    return bool(missed)


if __name__ == "__main__":
    raise SystemExit(main())
