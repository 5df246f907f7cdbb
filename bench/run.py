"""One run: the scenarios in turn, and in each the servers side by side, measured in interleaved rounds."""

from __future__ import annotations

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from .client import ClientError, Offered, OpenLoop, alive, answered, idle_connections
from .echoes import Echoed, EchoLoop, connect
from .load import Loaded, LoadError, command, run_wrk
from .measure import median, percentile
from .scenarios import FILE_SIZE, SHARE, Scenario, request_body, wrong
from .servers import Running, Server, StartError, running

WARMING: Final = 100
"""Connections that are open before memory is read first: what is had for all is not counted for each."""
TAIL: Final = 4
"""Turns of ``latency`` are so many times as long: a 99th percentile needs more answers than a median."""
SETTLE: Final = 0.5
"""Seconds for a server to end what it began, before its memory is read."""
ROUNDING: Final = 0.98
"""Share of the octets of right answers that wrk, which rounds, must have read at least."""
FIXED_BY: Final = ("ours", "uvicorn")
"""The slower of these says at which rate ``latency`` is measured."""
MAX_LAG: Final = 0.5
"""Share of a latency, both at the 99th percentile, that may be the client's own lateness."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for.

    Attributes:
        seconds: of load in each round, a whole number.
        rate: requests a second for ``latency``; None is :data:`SHARE` of what the slower of :data:`FIXED_BY` can do.
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
    for scenario in plan.scenarios:
        if scenario.needs and not plan.features[scenario.needs]:
            yield Outcome(scenario.name, scenario.what, left_out=f"this server has no {scenario.needs}")
            continue
        with prepared(scenario) as ready:
            yield Outcome(scenario.name, scenario.what, measure(ready, plan, tell))


@contextmanager
def prepared(scenario: Scenario) -> Generator[Scenario]:
    """The scenario with the files that its servers need.

    Raises:
        LoadError: one could not be made.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        file = folder / "file.bin"
        file.write_bytes(request_body(FILE_SIZE))
        tls = certificate(folder) if scenario.needs == "tls" else None
        yield replace(scenario, setup=replace(scenario.setup, file=file, tls=tls))


def measure(scenario: Scenario, plan: Plan, tell: Tell) -> list[Result]:
    """All servers of the plan, in a scenario that is prepared."""
    return (idle if scenario.kind == "idle" else side_by_side)(scenario, plan, tell)


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
        servers = speakers(plan.servers, scenario)
        results = [Result(server.name) for server in servers]
        started = [
            (each, result)
            for server, result in zip(servers, results, strict=True)
            if (each := stack.enter_context(checked(server, scenario, plan, result, tell)))
        ]
        rate, started = offered(scenario, plan, started, tell)
        for number in range(plan.rounds):
            for each, result in started:
                result.rounds.append(one_round(scenario, plan, each, rate))
                tell(f"{scenario.name} {number + 1}/{plan.rounds} {each.server.name}: {described(result.rounds[-1])}")
        for each, result in started:
            result.peak = each.peak()
            judge(scenario, each, result, "answered wrongly after the load")
    return results


def speakers(servers: Sequence[Server], scenario: Scenario) -> list[Server]:
    """Those that know the scenario's protocol."""
    return [each for each in servers if scenario.protocol in each.speaks.split()]


@contextmanager
def checked(server: Server, scenario: Scenario, plan: Plan, result: Result, tell: Tell) -> Generator[Running | None]:
    """A server that runs and answers right, or None; then the result says why."""
    with ExitStack() as stack:
        each = None
        try:
            each = stack.enter_context(running(server, scenario.setup, plan.python))
            judge(scenario, each, result, "answered wrongly")
        except StartError as exc:
            result.left_out, result.failed = f"did not start: {exc}", server.name.startswith("ours")
        if each is None or result.left_out:
            tell(f"{scenario.name}: {server.name} {result.left_out}")
            yield None
        else:
            result.idle = each.memory()
            yield each


def judge(scenario: Scenario, each: Running, result: Result, fault: str) -> None:
    """Asks the server once; an answer that is not right takes all its figures away."""
    try:
        found = wrong(scenario, each)
    except (OSError, http.client.HTTPException, ClientError) as exc:
        found = repr(exc)
    if found:
        result.left_out, result.failed = f"{fault}: {found}", True
        result.rounds.clear()


Started = list[tuple[Running, Result]]


def offered(scenario: Scenario, plan: Plan, started: Started, tell: Tell) -> tuple[float, Started]:
    """Warms the servers up. For ``latency``: the rate to offer, the same for all, and those that can bear it."""
    rates = saturations(scenario, plan, [each for each, _ in started])
    if scenario.kind != "rate":
        return 0.0, started
    rate = plan.rate or common_rate({each.server.name: rates[each.port] for each, _ in started})
    tell(f"{scenario.name}: {rate:.0f} requests/s are offered to each")
    able: Started = []
    for each, result in started:
        if rates[each.port] > rate:
            able.append((each, result))
        else:
            result.left_out = f"cannot bear {rate:.0f} requests/s: at most it does {rates[each.port]:.0f}"
            tell(f"{scenario.name}: {each.server.name} {result.left_out}")
    return rate, able


def common_rate(saturation: dict[str, float]) -> float:
    """A share of what the slower of :data:`FIXED_BY` can do; of the slowest there is, when neither is there."""
    chosen = [rate for name, rate in saturation.items() if name in FIXED_BY] or list(saturation.values())
    return SHARE * min(chosen, default=0.0)


def saturations(scenario: Scenario, plan: Plan, started: Sequence[Running]) -> dict[int, float]:
    """Warms each server up; by port, what it can do: the median of three seconds, interleaved."""
    rates: dict[int, list[float]] = {each.port: [] for each in started}
    for _ in range(3 if scenario.kind == "rate" else 1):
        for each in started:
            try:
                found = loaded(replace(scenario, kind="closed") if scenario.kind == "rate" else scenario, each, 1, 0)
                rates[each.port].append(found.rate or 0.0)
            except (LoadError, ClientError, OSError):
                continue  # the rounds will say it
    return {port: median(found) or 0.0 for port, found in rates.items()}


def one_round(scenario: Scenario, plan: Plan, each: Running, rate: float) -> Round:
    """Loads one server for a while."""
    before = each.cpu_seconds()
    try:
        found = loaded(scenario, each, plan.seconds * (TAIL if scenario.kind == "rate" else 1), rate)
    except (LoadError, ClientError, OSError) as exc:
        return Round(void=str(exc))
    if found.void:
        return found
    return replace(found, cpu=(each.cpu_seconds() - before) * 1e6 / found.requests)


def loaded(scenario: Scenario, each: Running, seconds: int, rate: float) -> Round:
    """Some seconds of the scenario's load.

    Raises:
        LoadError, ClientError, OSError: it could not be made.
    """
    port, path, connections = each.port, scenario.path, scenario.connections
    if scenario.kind == "rate":
        open_loop = OpenLoop(port, path, rate=rate, seconds=seconds, connections=connections)
        return from_offered(open_loop.run(), seconds)
    if scenario.kind == "echo":
        loop = EchoLoop(port, path, octets=scenario.message, seconds=seconds, connections=connections)
        return from_echoed(loop.run())
    return from_loaded(by_wrk(scenario, each, seconds), scenario)


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


def from_loaded(loaded: Loaded, scenario: Scenario) -> Round:
    """A round by wrk; its errors void it, and so do answers shorter than the right one.

    Of requests sent at once wrk does not know the times one by one.
    """
    p50, p99 = (None, None) if scenario.depth > 1 else (loaded.percentiles[50.0], loaded.percentiles[99.0])
    void = loaded.errors
    if loaded.octets < loaded.requests * len(scenario.body) * ROUNDING:
        void = void or f"{loaded.requests} answers had {loaded.octets:.0f} octets: they were not whole"
    return Round(loaded.requests, rate=loaded.rate, p50=p50, p99=p99, void=void)


def from_echoed(echoed: Echoed) -> Round:
    """A round of messages over WebSockets: every echo was right."""
    p50, p99, p999 = (percentile(echoed.latencies, share) * 1e3 for share in (0.5, 0.99, 0.999))
    answers = len(echoed.latencies)
    return Round(answers, rate=answers / echoed.seconds, p50=p50, p99=p99, p999=p999)


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
    servers = speakers(plan.servers, scenario)
    results = [Result(server.name) for server in servers]
    for number in range(plan.rounds):
        for server, result in zip(servers, results, strict=True):
            if result.left_out:
                continue
            with checked(server, scenario, plan, result, tell) as each:
                if each is not None:
                    result.rounds.append(crowded(scenario, each))
                    result.peak = max(result.peak, each.peak())
                    tell(f"{scenario.name} {number + 1}/{plan.rounds} {server.name}: {described(result.rounds[-1])}")
    return results


def crowded(scenario: Scenario, each: Running) -> Round:
    """One server with all its connections."""

    def opened() -> socket.socket:
        if scenario.setup.websocket:
            return connect(each.port, scenario.path)
        return answered(each.port, scenario.path, tls=scenario.setup.tls is not None)

    try:
        with idle_connections(WARMING, opened):
            time.sleep(SETTLE)
            before = each.memory()
            with idle_connections(scenario.connections, opened) as connections:
                time.sleep(SETTLE)
                octets = each.memory() - before
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
    """The servers, this one twice: its ratio to itself shows what a difference is worth."""
    return tuple(
        each
        for server in servers
        for each in ((server, replace(server, name="ours-again")) if server.name == "ours" else (server,))
    )
