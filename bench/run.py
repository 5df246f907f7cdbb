"""One run: the scenarios in turn, and in each the servers side by side, measured in interleaved rounds."""

from __future__ import annotations

import http.client
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from .client import ClientError, Offered, OpenLoop, alive, idle_connections
from .load import Loaded, LoadError, command, run_wrk
from .measure import median, percentile
from .scenarios import FILE_SIZE, SHARE, Scenario, request_body, wrong
from .servers import AGAIN, Running, Server, StartError, running

SETTLE: Final = 0.5
"""Seconds for a server to end what it began, before its memory is read."""
MAX_LAG: Final = 0.5
"""Share of a latency, both at the 99th percentile, that may be the client's own lateness."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for.

    Attributes:
        seconds: of load in each round, a whole number.
        rate: requests a second for ``latency``, the same for all; None is :data:`SHARE` of each one's saturation.
    """

    scenarios: tuple[Scenario, ...]
    servers: tuple[Server, ...]
    rounds: int
    seconds: int
    python: str
    features: dict[str, bool]
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one server in one round; what does not apply is None.

    Attributes:
        requests: answered.
        cpu: server CPU, microseconds a request.
        rate: answers a second.
        p50: milliseconds, as p99 and p999.
        lag: milliseconds of p99 that the client may have added.
        connection: octets of memory for an idle connection.
        void: why none of it counts; empty when it does.
    """

    requests: int = 0
    cpu: float | None = None
    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    lag: float | None = None
    connection: float | None = None
    void: str = ""


@dataclass(slots=True)
class Result:
    """What came of one server in one scenario.

    Attributes:
        idle: octets of memory before the load.
        peak: octets of memory at most.
        left_out: why there are no rounds.
        failed: ``left_out`` is a fault, not a lack.
    """

    server: str
    rounds: list[Round] = field(default_factory=list[Round])
    idle: int = 0
    peak: int = 0
    left_out: str = ""
    failed: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of one scenario.

    Attributes:
        left_out: why it was not measured at all.
    """

    scenario: str
    what: str
    results: list[Result] = field(default_factory=list[Result])
    left_out: str = ""


def run(plan: Plan, tell: Tell) -> Generator[Outcome]:
    """Measures, and yields what came of each scenario."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        file = folder / "file.bin"
        file.write_bytes(request_body(FILE_SIZE))
        for scenario in plan.scenarios:
            if scenario.needs and not plan.features[scenario.needs]:
                yield Outcome(scenario.name, scenario.what, left_out=f"this server has no {scenario.needs}")
                continue
            tls = certificate(folder) if scenario.needs == "tls" else None
            ready = replace(scenario, setup=replace(scenario.setup, file=file, tls=tls))
            measure = idle if scenario.kind == "idle" else side_by_side
            yield Outcome(scenario.name, scenario.what, measure(ready, plan, tell))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address, and its key.

    Raises:
        LoadError: there is no openssl.
    """
    files = folder / "certificate.pem", folder / "key.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-out", str(files[0]), "-keyout", str(files[1])]
    try:
        subprocess.run(["openssl", "req", "-x509", *options, *names], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise LoadError(f"a certificate is made by openssl: {exc}") from None
    return files


# -- servers side by side ------------------------------------------------------------------------


def side_by_side(scenario: Scenario, plan: Plan, tell: Tell) -> list[Result]:
    """All servers at once, loaded in turn: what disturbs the machine for a while disturbs each of them."""
    with ExitStack() as stack:
        results = [Result(server.name) for server in plan.servers]
        started = [
            (each, result)
            for server, result in zip(plan.servers, results, strict=True)
            if (each := stack.enter_context(checked(server, scenario, plan, result, tell)))
        ]
        rates = saturations(scenario, plan, [each for each, _ in started])
        for number in range(plan.rounds):
            for each, result in started:
                result.rounds.append(one_round(scenario, plan, each, rates[each.port]))
                tell(f"{scenario.name} {number + 1}/{plan.rounds} {each.server.name}: {described(result.rounds[-1])}")
        for each, result in started:
            result.peak = each.peak()
    return results


@contextmanager
def checked(server: Server, scenario: Scenario, plan: Plan, result: Result, tell: Tell) -> Generator[Running | None]:
    """A server that runs and answers right, or None; then the result says why."""
    with ExitStack() as stack:
        each = None
        try:
            each = stack.enter_context(running(server, scenario.setup, plan.python))
            if found := wrong(scenario, each):
                each, result.left_out, result.failed = None, f"answered wrongly: {found}", True
        except StartError as exc:
            result.left_out, result.failed = f"did not start: {exc}", server.name.startswith("ours")
        except (OSError, http.client.HTTPException) as exc:
            each, result.left_out, result.failed = None, f"answered wrongly: {exc!r}", True
        if each is None:
            tell(f"{scenario.name}: {server.name} {result.left_out}")
        else:
            result.idle = each.memory()
        yield each


def saturations(scenario: Scenario, plan: Plan, started: Sequence[Running]) -> dict[int, float]:
    """Warms each server up; by port, the rate to offer: a share of the median of three seconds, interleaved."""
    rates: dict[int, list[float]] = {each.port: [] for each in started}
    for _ in range(3 if scenario.kind == "rate" and plan.rate is None else 1):
        for each in started:
            try:
                rates[each.port].append(by_wrk(scenario, each, 1).rate)
            except LoadError:
                continue  # the rounds will say it
    return {port: plan.rate or SHARE * (median(found) or 0.0) for port, found in rates.items()}


def one_round(scenario: Scenario, plan: Plan, each: Running, rate: float) -> Round:
    """Loads one server for a while."""
    before = each.cpu_seconds()
    try:
        if scenario.kind == "rate":
            loop = OpenLoop(each.port, scenario.path, rate=rate, seconds=plan.seconds, connections=scenario.connections)
            found = from_offered(loop.run(), plan.seconds)
        else:
            found = from_loaded(by_wrk(scenario, each, plan.seconds), scenario.depth)
    except (LoadError, ClientError, OSError) as exc:
        return Round(void=str(exc))
    if found.void:
        return found
    return replace(found, cpu=(each.cpu_seconds() - before) * 1e6 / found.requests)


def by_wrk(scenario: Scenario, each: Running, seconds: int) -> Loaded:
    """Some seconds of load by wrk.

    Raises:
        LoadError: as :func:`run_wrk`.
    """
    arguments = command(
        scenario.url(each.port),
        seconds=seconds,
        connections=scenario.connections,
        fields=scenario.fields,
        script=scenario.script,
    )
    return run_wrk(arguments, seconds)


def from_loaded(loaded: Loaded, depth: int) -> Round:
    """A round by wrk; its errors void it. Of requests sent at once it does not know the times one by one."""
    p50, p99 = (None, None) if depth > 1 else (loaded.percentiles[50.0], loaded.percentiles[99.0])
    return Round(loaded.requests, rate=loaded.rate, p50=p50, p99=p99, void=loaded.errors)


def from_offered(offered: Offered, seconds: float) -> Round:
    """A round at a fixed rate; void when requests were lost, or when the client was late by itself."""
    answered = len(offered.latencies)
    if not answered or answered < offered.asked:
        return Round(answered, void=f"{offered.asked - answered} of {offered.asked} requests were not answered in time")
    p50, p99, p999 = (percentile(offered.latencies, share) * 1e3 for share in (0.5, 0.99, 0.999))
    lag = percentile(offered.lags, 0.99) * 1e3
    void = f"the client was late itself, by {lag:.2f} of {p99:.2f} ms" if lag > p99 * MAX_LAG else ""
    return Round(answered, rate=answered / seconds, p50=p50, p99=p99, p999=p999, lag=lag, void=void)


# -- idle connections ----------------------------------------------------------------------------


def idle(scenario: Scenario, plan: Plan, tell: Tell) -> list[Result]:
    """Memory for each connection; every round has a fresh server, since memory once had is seldom given back."""
    results = [Result(server.name) for server in plan.servers]
    for number in range(plan.rounds):
        for server, result in zip(plan.servers, results, strict=True):
            if result.left_out:
                continue
            with checked(server, scenario, plan, result, tell) as each:
                if each is not None:
                    result.rounds.append(crowded(scenario, each, result))
                    result.peak = max(result.peak, each.peak())
                    tell(f"{scenario.name} {number + 1}/{plan.rounds} {server.name}: {described(result.rounds[-1])}")
    return results


def crowded(scenario: Scenario, each: Running, result: Result) -> Round:
    """One server with all its connections."""
    try:
        with idle_connections(each.port, scenario.path, scenario.connections) as connections:
            time.sleep(SETTLE)
            octets = each.memory() - result.idle
            left = alive(connections)
    except (OSError, ClientError) as exc:
        return Round(void=str(exc))
    if left < len(connections):
        return Round(void=f"{len(connections) - left} of {len(connections)} connections were closed")
    return Round(len(connections), connection=octets / len(connections))


def described(found: Round) -> str:
    """A round in a few words."""
    if found.void:
        return f"void: {found.void}"
    if found.connection is not None:
        return f"{found.connection:.0f} octets a connection"
    p99 = "" if found.p99 is None else f", p99 {found.p99:.2f} ms"
    return f"{found.cpu or 0:.1f} us of CPU a request, {found.rate or 0:.0f} requests/s{p99}"


def with_again(servers: Sequence[Server]) -> tuple[Server, ...]:
    """The servers, this one twice."""
    return tuple(each for server in servers for each in ((server, AGAIN) if server.name == "ours" else (server,)))
