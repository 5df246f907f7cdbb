"""A bad setting fails when it is made, not when it is needed."""

from __future__ import annotations

import dataclasses
import math

import pytest

from roadrunner_trio.settings import OPTIONAL, Limits, Timeouts

TIMEOUTS = [f.name for f in dataclasses.fields(Timeouts)]
LIMITS = [f.name for f in dataclasses.fields(Limits)]


def test_the_defaults_are_the_documented_ones():
    assert dataclasses.asdict(Timeouts()) == {
        "handshake": 10,
        "request": 30,
        "keep_alive": 75,
        "park_after": 5,
        "body": 300,
        "handler": math.inf,
        "write": 30,
        "linger": 2,
        "disconnect_grace": 5,
    }
    assert dataclasses.asdict(Limits()) == {
        "max_connections": 1000,
        "max_connections_per_peer": 0,
        "max_concurrent_requests": None,
        "max_requests": 1000,
        "max_body": 10 * 1024 * 1024,
        "max_buffered": 256 * 1024 * 1024,
        "max_request_line": 8192,
        "max_field_line": 16384,
        "max_field_section": 32768,
        "max_fields": 200,
        "min_bytes_per_second": 100,
        "min_send_rate": 240,
        "max_requests_http2": 10_000,
        "max_concurrent_streams": 100,
        "stream_window": 256 * 1024,
        "connection_window": 1024 * 1024,
        "max_resets": 200,
        "max_control_frames": 1000,
        "backlog": 1024,
    }


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [1, 0.001, math.inf])
def test_a_timeout_is_any_positive_number(name, value):
    assert getattr(Timeouts(**{name: value}), name) == value


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf, "30", True])
def test_a_timeout_is_nothing_else(name, value):
    with pytest.raises(ValueError, match=rf"Timeouts\.{name} must be a positive number"):
        Timeouts(**{name: value})


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [-1, 1.5, math.inf, "10", True])
def test_a_limit_is_a_whole_number(name, value):
    with pytest.raises(ValueError, match=rf"Limits\.{name} must be a whole number"):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("name", "least"),
    [("max_connections", 1), ("max_body", 0), ("max_request_line", 16), ("min_bytes_per_second", 0), ("backlog", 1)],
)
def test_a_limit_has_a_least_value(name, least):
    assert getattr(Limits(**{name: least}), name) == least
    with pytest.raises(ValueError, match=f"at least {least}, not {least - 1}"):
        Limits(**{name: least - 1})


@pytest.mark.parametrize(
    "given",
    [
        {"max_field_line": 65536},
        {"max_field_line": 32769},
        {"max_field_line": 16383, "max_field_section": 16382},
        {"max_field_line": 101, "max_field_section": 100},
    ],
)
def test_case_17_a_limit_that_can_never_be_reached_is_refused(given):
    line, section = given["max_field_line"], given.get("max_field_section", 32768)
    message = rf"Limits\.max_field_line \({line}\) can never be .* Limits\.max_field_section \({section}\)"
    with pytest.raises(ValueError, match=message):
        Limits(**given)


def test_the_default_of_a_line_gives_way_to_a_section_that_somebody_chose():
    narrow = Limits(max_field_section=100)
    assert narrow.max_field_section == 100
    assert dataclasses.replace(narrow, max_field_section=200).max_field_section == 200
    assert Limits(max_field_line=100, max_field_section=100).max_field_line == 100
    assert Limits(max_field_line=65536, max_field_section=65536).max_field_line == 65536


def test_case_16_an_idle_connection_outlives_the_balancers_patience():
    assert Timeouts().keep_alive > 65


def test_only_an_optional_setting_can_be_none():
    assert Limits(max_body=None).max_body is None
    assert Timeouts(disconnect_grace=None).disconnect_grace is None
    assert Timeouts(park_after=None).park_after is None
    for name in set(TIMEOUTS) - OPTIONAL:
        with pytest.raises(ValueError, match=name):
            Timeouts(**{name: None})
    for name in set(LIMITS) - OPTIONAL:
        with pytest.raises(ValueError, match=name):
            Limits(**{name: None})


@pytest.mark.parametrize("made", [Timeouts(), Limits()])
def test_settings_do_not_change(made):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(made)[0].name, 1)


@pytest.mark.parametrize("kind", [Timeouts, Limits])
def test_every_setting_says_what_it_bounds(kind):
    for setting in dataclasses.fields(kind):
        assert setting.metadata["help"], setting.name
        assert setting.metadata["unit"] in ("seconds", "bytes", "")
