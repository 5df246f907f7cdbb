"""A minute of restarts under load, behind HAProxy and on one port: ``nox -s restarts``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import trio
from rolling_tools import Tally, behind_haproxy, on_one_port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each kind (default 60)")
    parser.add_argument("--every", type=float, default=3, help="seconds between restarts (default 3)")
    chosen = parser.parse_args()
    clean = True
    for name, kind in {"behind HAProxy": behind_haproxy, "on one port": on_one_port}.items():
        if kind is behind_haproxy and shutil.which("haproxy") is None:
            print(f"{name}: not tried, for this machine has no haproxy")
            continue
        with tempfile.TemporaryDirectory() as folder:
            tally: Tally = trio.run(kind, Path(folder), chosen.seconds, chosen.every)
        print(f"{name}: {tally}", flush=True)
        for line in (tally.failed + tally.resets)[:20]:
            print(f"  {line}")
        clean = clean and tally.clean and tally.restarts > 0
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
