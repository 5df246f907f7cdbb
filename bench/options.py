"""What the commands of the benchmark have in common."""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

from .load import LoadError
from .servers import ROOT


def add_common(parser: argparse.ArgumentParser, seconds: int = 2) -> None:
    """The flags that every command has; ``seconds`` is a default."""
    add = parser.add_argument
    add("--seconds", type=natural, default=seconds, help=f"of load in each turn (default {seconds})")
    add("--python", default=sys.executable, help="the Python that the servers run in (default this one)")
    add("--tree", type=tree, default=ROOT, metavar="DIR", help="the checkout that is measured (default this one)")


def natural(text: str) -> int:
    """A whole number from 1 up.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def tree(text: str) -> Path:
    """A folder with the package in it.

    Raises:
        argparse.ArgumentTypeError: it has none.
    """
    if not (Path(text) / "roadrunner_trio" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no checkout of this project")
    return Path(text)


def allow_descriptors(count: int) -> None:
    """Raises the limit for this process and the servers it starts.

    Raises:
        LoadError: the hard limit is below.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise LoadError(f"{count} descriptors are needed, and the hard limit is {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def tell(line: str) -> None:
    """Progress, beside the result."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
