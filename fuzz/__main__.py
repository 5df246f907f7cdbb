"""``python -m fuzz TARGET``: fuzzes one target for a while; a broken invariant ends it with a file that shows it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))  # the second reader and the vectors are the tests'

with atheris.instrument_imports(include=["roadrunner_trio"]):
    from .seeds import LONGEST, write
    from .targets import TARGETS


def main() -> None:
    """Reads the command line, and does not return: libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="for how long (60)")
    parser.add_argument("--corpus", type=Path, default=ROOT / "fuzz" / "corpus", help="where inputs are kept")
    parser.add_argument("replay", nargs="*", type=Path, help="files to try instead, such as the one a failure left")
    args = parser.parse_args()
    target = TARGETS[args.target]
    if args.replay:
        for path in args.replay:
            target(path.read_bytes())
        return
    folder = args.corpus / args.target
    write(args.target, folder)
    options = [f"-max_total_time={args.seconds}", f"-max_len={LONGEST}", "-timeout=10", "-print_final_stats=1"]
    options.append(f"-artifact_prefix={folder.parent}/{args.target}-")
    atheris.Setup([sys.argv[0], str(folder), *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
