"""HTTP-dates (RFC 9110 section 5.6.7): one form is written, and three are read."""

from __future__ import annotations

import re
import time
from calendar import timegm
from datetime import date
from functools import lru_cache
from typing import Final

from ...date import MONTHS, imf_fixdate

_DAY: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY: Final = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTHS: Final = tuple(name.encode("ascii") for name in MONTHS)
_MONTH: Final = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

_FORMS: Final = tuple(
    re.compile(form).fullmatch
    for form in (
        _DAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" GMT",
        _LONG_DAY + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" GMT",  # RFC 850
        _DAY + rb" " + _MONTH + rb" (?P<day>\d\d| \d) " + _TIME + rb" (?P<year>\d{4})",  # asctime
    )
)


@lru_cache(maxsize=256)
def format_date(seconds: int) -> bytes:
    """An IMF-fixdate, such as ``b"Sun, 06 Nov 1994 08:49:37 GMT"``.

    Args:
        seconds: since 1970, whole.
    """
    return imf_fixdate(seconds)


@lru_cache(maxsize=256)
def parse_date(value: bytes) -> int | None:
    """Seconds since 1970; None for what is no HTTP-date. The name of the day is not compared with the date."""
    for form in _FORMS:
        if (match := form(value)) is not None:
            return _seconds({name: text for name, text in match.groupdict().items()})
    return None


def _seconds(parts: dict[str, bytes]) -> int | None:
    year = int(parts["year"])
    if len(parts["year"]) == 2:
        year = _century(year)
    month, day = _MONTHS.index(parts["month"]) + 1, int(parts["day"])
    hour, minute, second = int(parts["hour"]), int(parts["minute"]), int(parts["second"])
    if hour > 23 or minute > 59 or second > 60:  # a leap second may be told
        return None
    try:
        date(year, month, day)
    except ValueError:
        return None
    return timegm((year, month, day, hour, minute, second))


def _century(year: int) -> int:
    """Two digits that seem to be more than 50 years ahead are the last such year that is past."""
    now = time.gmtime().tm_year
    year += now - now % 100
    return year - 100 if year > now + 50 else year
