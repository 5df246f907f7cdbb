"""Load by ``wrk``: how it is called, and what its answer says."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).parent / "wrk"
PATIENCE: Final = 10
"""Seconds after which wrk counts an answer as missing, and beyond its time after which it is ended itself."""

_requests = re.compile(r"^ *(\d+) requests in ", re.MULTILINE).search
_octets = re.compile(r"^ *\d+ requests in .*, ([\d.]+)([KMGT]?)B read$", re.MULTILINE).search
_rate = re.compile(r"^Requests/sec: +([\d.]+)$", re.MULTILINE).search
_percentile = re.compile(r"^ +(\d+(?:\.\d+)?)% +([\d.]+)(us|ms|s|m)$", re.MULTILINE).findall
_errors = re.compile(r"^ *(Socket errors: .*|Non-2xx or 3xx responses: .*)$", re.MULTILINE).findall
_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class LoadError(Exception):
    """The load could not be made, or its answer not be read."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of some seconds of load.

    Attributes:
        requests: how many were answered.
        rate: answers a second.
        percentiles: milliseconds by percentage, 50.0 and 99.0 among them; as the peers of a busy server see it.
        errors: why the figures do not count; empty when they do.
        octets: that came, heads and all; wrk rounds them to about a hundredth.
    """

    requests: int
    rate: float
    percentiles: dict[float, float]
    errors: str = ""
    octets: float = math.inf


def find_wrk() -> str:
    """The path of wrk.

    Raises:
        LoadError: there is none.
    """
    found = shutil.which("wrk")
    if found is None:
        raise LoadError("wrk is not on the path: it makes the load (Debian and Ubuntu: apt-get install wrk)")
    return found


def command(
    url: str, *, seconds: int, connections: int, fields: Sequence[tuple[str, str]] = (), script: Sequence[str] = ()
) -> list[str]:
    """The arguments of wrk, itself left out.

    Args:
        fields: request fields; Host is wrk's own.
        script: the name of one of :data:`SCRIPTS`, and its arguments.
    """
    arguments = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{PATIENCE}s", "--latency"]
    for name, value in fields:
        arguments += ["-H", f"{name}: {value}"]
    if script:
        return [*arguments, "-s", str(SCRIPTS / f"{script[0]}.lua"), url, "--", *script[1:]]
    return [*arguments, url]


def run_wrk(arguments: Sequence[str], seconds: int) -> Loaded:
    """Runs wrk to its end.

    Raises:
        LoadError: it failed, or did not end in time.
    """
    try:
        done = subprocess.run(
            [find_wrk(), *arguments], capture_output=True, text=True, timeout=seconds + 2 * PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise LoadError("wrk did not end in time") from None
    if done.returncode:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> Loaded:
    """What wrk printed.

    Raises:
        LoadError: it is not the output of ``wrk --latency``.
    """
    requests, rate, octets = _requests(text), _rate(text), _octets(text)
    percentiles = {float(share): float(value) * _UNITS[unit] for share, value, unit in _percentile(text)}
    if not requests or not rate or not octets or not {50.0, 99.0} <= percentiles.keys():
        raise LoadError(f"this is not what wrk prints: {text!r}")
    errors = "; ".join(_errors(text))
    if not int(requests[1]):
        errors = errors or "nothing was answered"
    came = float(octets[1]) * 1024 ** " KMGT".index(octets[2] or " ")
    return Loaded(int(requests[1]), float(rate[1]), percentiles, errors, came)
