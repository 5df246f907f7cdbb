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
        "Sends a form of a million parts, without an end, or with a preamble, header lines, names or fields that are"
        " too long",
        ("protocol.codec.form_data:PREAMBLE", "protocol.codec.form_data:LONGEST_BOUNDARY"),
        "400 or 413, close",
        (
            "tests/unit/messages/test_form.py::test_what_is_hostile_is_refused",
            "tests/unit/messages/test_form.py::test_a_million_parts_are_not_waited_for",
            "tests/unit/messages/test_form.py::test_urlencoded_has_limits_too",
        ),
    ),
    (
        "Gives a file a name that is a path, or two names",
        ("protocol.codec.form_data:LONGEST_BOUNDARY",),
        "the last part of it counts, or 400",
        ("tests/unit/messages/test_form.py::test_the_name_of_a_file_is_never_a_path",),
    ),
    (
        "Fills memory or the disk with a file, or leaves half-way",
        ("transport.spool:PIECE",),
        "413, 507, or nothing; no file is left",
        (
            "tests/e2e/test_uploads.py::test_500_megabytes_take_less_than_40_of_memory",
            "tests/unit/messages/test_form.py::test_a_disk_that_is_full_is_507",
            "tests/unit/messages/test_form.py::test_a_peer_that_leaves_half_way_leaves_no_file",
        ),
    ),
    (
        "Sends a body that inflates without end (CVE-2025-69223)",
        ("protocol.codec.coders:PIECE",),
        "415, unless the application inflates; then 413",
        (
            "tests/unit/apps/test_inflate.py::test_a_bomb_is_413",
            "tests/unit/protocol/test_coders.py::test_a_bomb_comes_piece_by_piece",
        ),
    ),
    (
        "Keeps very many compressed streams open",
        ("protocol.codec.coders:GZIP_WINDOW",),
        "its events: a stream has 16 to 80 kB",
        ("tests/unit/protocol/test_coders.py::test_a_thousand_open_streams_take_a_hundred_megabytes_at_most",),
    ),
    (
        "Is a page of another site, and reads or changes what is its visitor's",
        ("protocol.codec.negotiation:MOST_MEMBERS",),
        "nothing to be read; 403",
        (
            "tests/unit/apps/test_cors.py::test_whoever_was_not_named_may_not",
            "tests/unit/apps/test_guards.py::test_who_may_change_something",
        ),
    ),
    (
        "Asks for very many files by name",
        ("apps.static:REMEMBERED",),
        "404",
        ("tests/unit/apps/test_static.py::test_many_names_are_not_remembered_for_ever",),
    ),
    (
        "Makes a name of another site lead to the window into a server (DNS rebinding), or looks at it without end",
        ("watching.pane:EVERY",),
        "421; it is on loopback addresses only, and takes a share of a core at most",
        (
            "tests/unit/watching/test_window.py::test_the_more_there_is_to_see_the_less_often_it_is_looked_at",
            "tests/unit/watching/test_window.py::test_a_foreign_name_that_leads_here_is_refused",
            "tests/e2e/test_window.py::test_what_it_is_not_put_on",
        ),
    ),
    (
        "Makes a name of another site lead to a server that shows tracebacks, or asks through a proxy (CVE-2024-34069)",
        (),
        "the bare 500",
        (
            "tests/unit/answering/test_explaining.py::test_a_page_by_a_name_of_its_own_that_leads_here_sees_nothing",
            "tests/unit/answering/test_explaining.py::test_what_was_passed_on_is_not",
        ),
    ),
    (
        "Sends conditions or preferences with thousands of members, another each time",
        ("protocol.codec.etag:LONGEST_REMEMBERED", "protocol.codec.negotiation:LONGEST_REMEMBERED"),
        "its answers: nothing of them is kept",
        (
            "tests/unit/protocol/test_etag.py::test_lists_without_end_are_not_kept",
            "tests/unit/protocol/test_negotiation.py::test_lists_without_end_are_not_kept",
        ),
    ),
    (
        "Asks for a million paths, or by methods of its own making, for the metrics to remember (CVE-2024-52303)",
        ("telemetry.metrics:MOST_ROUTES", "telemetry.snapshot:MOST_SERIES"),
        "nothing: no label has what a peer can choose",
        ("tests/unit/telemetry/test_metrics.py::test_paths_and_methods_make_no_new_series",),
    ),
    (
        "Closes WebSockets with every code that there is, for the metrics to remember",
        ("telemetry.metrics:OWN_CODES",),
        "nothing else: codes of the application, from 3000 on, are one number for each thousand",
        ("tests/unit/telemetry/test_metrics.py::test_codes_that_peers_make_up_are_bounded",),
    ),
)
