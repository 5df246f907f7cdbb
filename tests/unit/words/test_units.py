"""Times and sizes: one reading for code, flags, variables and files; and whatever takes one takes both notations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import roadrunner_trio as rr
from roadrunner_trio import units
from roadrunner_trio.apps.router import Route
from roadrunner_trio.command import options

TIMES = [("5s", 5), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), (" 2S ", 2), ("none", math.inf), (3, 3)]
SIZES = [("64K", 65536), ("10MB", 10485760), ("1GiB", 1 << 30), ("5b", 5), (" 1m ", 1048576), (7, 7)]


async def hello(request):
    return rr.Response.text("hello")


@pytest.mark.parametrize(("written", "meant"), TIMES)
def test_a_time_is_a_number_or_text_with_a_unit(written, meant):
    assert units.seconds("t", written) == units.optional_seconds("t", written) == meant
    assert units.optional_seconds("t", None) is None


@pytest.mark.parametrize(("written", "meant"), SIZES)
def test_a_size_is_a_number_or_text_with_a_unit(written, meant):
    assert units.octets("s", written) == units.optional_octets("s", written) == meant
    assert units.optional_octets("s", None) is units.optional_octets("s", "none") is None


@pytest.mark.parametrize("written", ["5", "", "s", "5 s", "5sec", "-5s", "1e3s", "soon", "nan", "1d", "٣s", "9" * 400])
def test_a_text_that_is_no_time_is_told_what_would_be(written):
    with pytest.raises(ValueError) as caught:
        units.seconds("grace", written)
    assert str(caught.value) == (
        f'grace must be a positive number of seconds, not {written!r}: write 5, "5s", "500ms" or "2m"'
    )


@pytest.mark.parametrize("value", [None, True, False, math.nan, -1, -math.inf, 10**400, b"5s", [5], 5j])
def test_what_is_no_time_is_none_whatever_is_allowed(value):
    for zero in (False, True):
        with pytest.raises(ValueError, match=r"^grace must be a "):
            units.seconds("grace", value, zero=zero)


def test_zero_and_endlessness_are_for_who_can_use_them():
    assert units.seconds("t", 0, zero=True) == units.seconds("t", "0s", zero=True) == 0
    assert units.seconds("t", math.inf) == math.inf
    for zero in (0, "0s"):
        with pytest.raises(ValueError, match=r"^t must be a positive number of seconds, not"):
            units.seconds("t", zero)
    for endless in (math.inf, "none", "9" * 400 + "s"):
        with pytest.raises(ValueError, match=r"^t must be a finite positive number of seconds, not"):
            units.seconds("t", endless, endless=False)
        with pytest.raises(ValueError, match=r"^t must be a finite time of at least 0 seconds, not"):
            units.seconds("t", endless, endless=False, zero=True)


@pytest.mark.parametrize("value", ["65536", "10X", "-1K", "1.5M", "", None, True, 1.5, math.inf, b"1K", "none"])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match=r"^max must be a whole number, at least 1, not "):
        units.octets("max", value)


def test_a_size_has_a_least_value_in_either_notation():
    assert units.octets("s", "16b", least=16) == units.octets("s", 16, least=16) == 16
    for small in ("15b", 15):
        with pytest.raises(ValueError, match=r"^s must be a whole number, at least 16, not"):
            units.octets("s", small, least=16)


@pytest.mark.parametrize("value", ["1.5s", "500ms", "none", "0s", "60", 1.5, 60.0, 0, True, None])
def test_whole_seconds_are_whole(value):
    with pytest.raises(ValueError, match=r"^t must be a whole number, at least 1, not"):
        units.whole_seconds("t", value)
    assert units.whole_seconds("t", "1m") == units.whole_seconds("t", 60) == 60


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)", fullmatch=True))
def test_code_and_command_read_the_same(text):
    """Apart from bare numbers, which are text only where all is."""
    try:
        meant = options.duration(text)
    except Exception:
        meant = None
    if meant and text[-1:].isalpha():
        assert units.seconds("t", text) == meant
    elif text == text.strip():
        with pytest.raises(ValueError, match=r"^t must be"):
            units.seconds("t", text)


# -- whoever takes a time or a size --------------------------------------------------------------


def test_timeouts_and_limits_take_both_notations_and_hold_numbers():
    timeouts = rr.Timeouts(request="5s", handler="none", disconnect_grace="500ms")
    assert (timeouts.request, timeouts.handler, timeouts.disconnect_grace) == (5, math.inf, 0.5)
    limits = rr.Limits(max_body="10MB", max_request_line="16K", max_field_section="64k")
    assert (limits.max_body, limits.max_request_line, limits.max_field_section) == (10485760, 16384, 65536)
    assert rr.Limits(max_body="none").max_body is None
    for wrong in ({"max_connections": "1K"}, {"min_bytes_per_second": "1K"}, {"max_fields": "64"}):
        with pytest.raises(ValueError, match=rf"^Limits\.{next(iter(wrong))} must be a whole number"):
            rr.Limits(**wrong)


def test_a_route_takes_both_notations():
    route = Route("/", hello, max_body="1M", timeout="2m", disconnect_grace="none")
    assert (route.max_body, route.timeout, route.disconnect_grace) == (1048576, 120, math.inf)


def test_a_websocket_takes_both_notations():
    settings = rr.websocket(
        hello, max_message="1M", max_frame="64K", ping_interval="1m", ping_timeout="5s", close_timeout="500ms"
    )._settings
    assert (settings.caps.message, settings.caps.frame) == (1048576, 65536)
    assert (settings.ping_interval, settings.ping_timeout, settings.close_timeout) == (60, 5, 0.5)


def test_events_take_both_notations():
    assert rr.ServerSentEvent("x", retry="1.5s").encoded == b"retry: 1500\ndata: x\n\n"
    assert rr.ServerSentEvent.json([], retry="2m").retry == 120
    rr.EventStream(None, hello, heartbeat="15s", retry="1s", drain_grace="0s", drain_retry="500ms")
    for wrong in ("heartbeat", "retry", "drain_grace", "drain_retry"):
        with pytest.raises(ValueError, match="seconds"):
            rr.EventStream(None, hello, **{wrong: "soon"})
        with pytest.raises(ValueError, match="seconds"):
            rr.EventStream(None, hello, **{wrong: math.nan})


def test_a_rate_limit_and_an_error_log_take_both_notations():
    assert rr.RateLimit(300, "1m").period == 60
    assert rr.ErrorLog(seconds="1m")._seconds == 60
