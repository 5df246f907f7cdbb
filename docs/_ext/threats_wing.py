"""What can be done to what stands on the server: rows of :class:`threats.Threat`, with what bounds it and its tests."""

from __future__ import annotations

ROWS = (
    (
        "Asks for a file outside of a folder, by any spelling",
        ("transport.cached_open:RESOLVE_BENEATH",),
        "404",
        (
            "tests/unit/apps/test_static_paths.py::test_it_is_refused",
            "tests/unit/transport/test_beneath.py::test_what_lies_elsewhere_is_not_found",
        ),
    ),
    (
        "Changes a link while a file is opened",
        ("transport.cached_open:ATTEMPTS",),
        "what lies within, or 404",
        ("tests/unit/transport/test_beneath.py::test_who_moves_links_about_is_not_quick_enough",),
    ),
    (
        "Asks for very many ranges, or the same octets over and over (CVE-2011-3192, CVE-2025-62727)",
        ("protocol.codec.ranges:MOST_RANGES",),
        "the whole, once",
        (
            "tests/unit/protocol/test_ranges.py::test_what_is_ignored",
            "tests/unit/protocol/test_ranges.py::test_what_is_sent_are_the_octets_that_were_asked_for",
        ),
    ),
    (
        "Asks for very many files by name",
        ("apps.static:REMEMBERED",),
        "404",
        ("tests/unit/apps/test_static.py::test_many_names_are_not_remembered_for_ever",),
    ),
)
