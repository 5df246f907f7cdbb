"""What Prometheus is told, read by its own parsers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from roadrunner_trio.telemetry.exposition import OPENMETRICS, TEXT, exposed
from roadrunner_trio.telemetry.snapshot import BOUNDS, CELLS, NUMBERS, PLACE, RECEIVED, SENT, WIDTH, Snapshot

READERS = {TEXT: read_text, OPENMETRICS: read_openmetrics}
ACCEPT = {TEXT: "", OPENMETRICS: "application/openmetrics-text"}


def samples(snapshot: Snapshot, kind: bytes) -> dict[tuple[str, ...], float]:
    """All samples, by name and values of labels, as Prometheus reads them."""
    told, text = exposed(snapshot, ACCEPT[kind])
    assert told == kind
    families = list(READERS[kind](text.decode()))
    found = [sample for family in families for sample in family.samples]
    named = {(sample.name, *sample.labels.values()): sample.value for sample in found}
    assert len(named) == len(found)
    return named


def example() -> Snapshot:
    row = [0] * WIDTH
    row[2], row[len(BOUNDS)], row[len(BOUNDS) + 1] = 3, 1, 21_500_000
    row[CELLS], row[2 * CELLS - 1] = 4, 1_500
    row[RECEIVED], row[SENT] = 7, 9
    return Snapshot(
        tallies={("roadrunner_requests_refused_total", "bad_request_line"): 5},
        series={("GET", "/users/:id", "2xx"): row},
    )


@pytest.mark.parametrize("kind", READERS)
def test_every_number_is_told(kind: bytes) -> None:
    snapshot = example()
    for at in range(len(NUMBERS)):
        snapshot.numbers[at] = at + 1
    told = samples(snapshot, kind)
    for name, at in PLACE.items():
        assert told[name] == (at + 1) / NUMBERS[at].scale, name


@pytest.mark.parametrize("kind", READERS)
def test_histograms_are_cumulative_and_in_seconds(kind: bytes) -> None:
    told = samples(example(), kind)
    labels = "GET", "/users/:id", "2xx"
    name = "http_server_request_duration_seconds"
    assert told[(f"{name}_bucket", *labels, "0.0025")] == 0
    assert told[(f"{name}_bucket", *labels, "0.005")] == 3
    assert told[(f"{name}_bucket", *labels, "10.0")] == 3
    assert told[(f"{name}_bucket", *labels, "+Inf")] == told[(f"{name}_count", *labels)] == 4
    assert told[(f"{name}_sum", *labels)] == 21.5
    assert told[("http_server_time_to_first_byte_seconds_bucket", *labels, "0.001")] == 4
    assert told[("http_server_time_to_first_byte_seconds_sum", *labels)] == 0.0015
    assert told[("http_server_request_body_bytes_total", *labels)] == 7
    assert told[("http_server_response_body_bytes_total", *labels)] == 9
    assert told["roadrunner_requests_refused_total", "bad_request_line"] == 5


@pytest.mark.parametrize("kind", READERS)
def test_nothing_at_all_can_be_read_too(kind: bytes) -> None:
    told = samples(Snapshot(), kind)
    assert set(told.values()) == {0}
    assert ("process_max_fds",) not in told  # that there is no bound is not a bound of 0


@pytest.mark.parametrize("kind", READERS)
@given(route=st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\"\n{},= '), max_size=30))
def test_no_label_breaks_a_line(kind: bytes, route: str) -> None:
    told = samples(Snapshot(series={("GET", route, "2xx"): [1] * WIDTH}), kind)
    assert told["http_server_response_body_bytes_total", "GET", route, "2xx"] == 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
        ("text/plain, application/openmetrics-text;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=x", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("APPLICATION/OpenMetrics-Text ; Q=1", OPENMETRICS),
    ],
)
def test_the_format_is_what_the_scraper_prefers(accept: str, kind: bytes) -> None:
    assert exposed(Snapshot(), accept)[0] == kind


def test_only_openmetrics_has_an_end() -> None:
    assert exposed(Snapshot(), "application/openmetrics-text")[1].endswith(b"\n# EOF\n")
    assert b"# EOF" not in exposed(Snapshot())[1]
