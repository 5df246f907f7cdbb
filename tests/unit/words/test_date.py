"""The Date value."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest

from roadrunner_trio import date


@pytest.fixture
def clock(monkeypatch):
    """A wall clock that stands still until it is set; and no rendering left over from another test."""
    now = [784111777.25]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(date, "_second", -1)
    for rendered in ("_rendered", "_line"):  # put back with the second they are of
        monkeypatch.setattr(date, rendered, b"")
    return now


def test_the_example_of_rfc_9110(clock):
    assert date.http_date() == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_within_a_second_it_is_the_same_rendering(clock):
    first = date.http_date()
    clock[0] += 0.7
    assert date.http_date() is first


def test_a_second_later_it_is_another(clock):
    date.http_date()
    clock[0] += 1
    assert date.http_date() == b"Sun, 06 Nov 1994 08:49:38 GMT"


def test_a_clock_set_back_is_followed(clock):
    date.http_date()
    clock[0] -= 3600
    assert date.http_date() == b"Sun, 06 Nov 1994 07:49:37 GMT"


def test_it_is_now():
    before = int(time.time())
    shown = parsedate_to_datetime(date.http_date().decode()).timestamp()
    assert before <= shown <= time.time()
