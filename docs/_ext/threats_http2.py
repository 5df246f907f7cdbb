"""What can be done with frames of HTTP/2 alone, as in :mod:`threats`."""

from __future__ import annotations

from typing import Final

_FLOODS: Final = "tests/hardening/test_http2_floods.py::"
_BORNE: Final = f"{_FLOODS}test_a_flood_is_borne_for_a_while_and_then_ends_the_connection"
_SERVER: Final = "tests/hardening/test_http2_server_floods.py::"
_UNIT: Final = "tests/unit/server/http2/test_ends_of_streams.py::"
_HEADS: Final = "tests/unit/protocol/test_http2_head.py::"

HTTP2: Final = (
    (
        "Takes back what it has just asked for (rapid reset, CVE-2023-44487)",
        ("Limits.max_resets", "Limits.max_concurrent_streams"),
        "GOAWAY, ENHANCE_YOUR_CALM; until then no more handlers run than there are places",
        (_BORNE, f"{_FLOODS}test_a_stream_that_was_reset_keeps_its_place_until_its_handler_has_ended"),
    ),
    (
        "Has the server reset its streams (CVE-2025-8671)",
        ("Limits.max_resets", "protocol.http2.ledger:FAULT"),
        "GOAWAY, ENHANCE_YOUR_CALM, twice as soon",
        (_BORNE,),
    ),
    (
        "Opens more streams than there may be",
        ("Limits.max_concurrent_streams", "Limits.max_resets"),
        "REFUSED_STREAM for those; in the end GOAWAY",
        (_BORNE, f"{_FLOODS}test_a_burst_above_the_limit_of_streams_is_refused_stream_by_stream"),
    ),
    (
        "Asks for more and more on one connection",
        ("Limits.max_requests_http2",),
        "GOAWAY twice; what is under way is finished",
        ("tests/unit/protocol/test_http2_control.py::test_a_connection_has_so_many_requests",),
    ),
    (
        "Sends PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA or frames of no known type in any number "
        "(CVE-2019-9512, -9513, -9515, -9518)",
        ("Limits.max_control_frames",),
        "GOAWAY, ENHANCE_YOUR_CALM",
        (_BORNE, f"{_FLOODS}test_a_peer_that_pings_every_ten_seconds_for_a_day"),
    ),
    (
        "Sends a body in the smallest frames",
        ("protocol.http2.ledger:CRUMBS",),
        "GOAWAY, ENHANCE_YOUR_CALM, when nobody reads them as fast",
        (_BORNE, f"{_FLOODS}test_messages_of_a_few_octets_pass_as_long_as_somebody_reads_them"),
    ),
    (
        "Sends more of a body than its window lets through",
        ("Limits.stream_window", "Limits.connection_window"),
        "RST_STREAM or GOAWAY, FLOW_CONTROL_ERROR",
        (
            "tests/conformance/test_vectors_http2.py::test_vector",
            "tests/unit/protocol/test_http2_engine.py::test_what_nobody_took_is_credited_to_the_connection",
        ),
    ),
    (
        "Never ends a header block (CVE-2024-27316 and its kin)",
        ("protocol.http2.sections:CONTINUATIONS", "protocol.http2.sections:ENCODED", "Limits.max_field_section"),
        "GOAWAY, ENHANCE_YOUR_CALM, before anything of it is decoded",
        (f"{_FLOODS}test_a_header_block_without_an_end",),
    ),
    (
        "Refers to a large field a thousand times (HPACK bomb, CVE-2016-6581, CVE-2026-49975)",
        ("Limits.max_fields", "Limits.max_field_section"),
        "431; fields of a cookie count before they are joined",
        (
            f"{_FLOODS}test_an_hpack_bomb_is_refused_and_takes_no_memory",
            f"{_FLOODS}test_references_within_the_limits_take_no_more_than_they_may",
        ),
    ),
    (
        "Has thousands of fields in one header block, each an octet, or each an entry of the table",
        ("Limits.max_fields", "protocol.http2.hpack:EXCESS"),
        "431, and the rest is read for the table's sake alone; above five times as many GOAWAY, ENHANCE_YOUR_CALM",
        (
            f"{_FLOODS}test_a_block_of_thousands_of_fields_ends_the_connection",
            "tests/unit/protocol/test_http2_hpack.py::"
            "test_of_very_many_fields_no_more_are_read_than_a_multiple_of_those_that_are_wanted",
        ),
    ),
    (
        "Smuggles a line, a length or a host in a field",
        ("Limits.max_field_line",),
        "RST_STREAM, PROTOCOL_ERROR: fields are judged as in HTTP/1",
        (f"{_HEADS}test_malformed", f"{_HEADS}test_limits"),
    ),
    (
        "Asks, and reads no answers (CVE-2019-9511, -9517)",
        ("server.http2.writer:MOST", "server.http2.connection:FLOODED", "Timeouts.write", "Limits.min_send_rate"),
        "nothing more is read from it; then a close",
        (
            f"{_SERVER}test_who_reads_nothing_is_not_read_from_and_then_cut",
            f"{_SERVER}test_bodies_that_nobody_takes_wait_with_their_producers",
        ),
    ),
    (
        "Keeps the window of a stream shut",
        ("Timeouts.write", "Limits.min_send_rate"),
        "RST_STREAM, CANCEL; its other streams go on",
        (f"{_UNIT}test_a_window_that_stays_shut_ends_its_stream_alone",),
    ),
    (
        "Begins a frame, or the preface, and does not end it",
        ("Timeouts.request", "Limits.min_bytes_per_second"),
        "GOAWAY, close",
        (f"{_UNIT}test_a_frame_that_has_begun_has_its_time", f"{_UNIT}test_nothing_said_at_all_ends_it"),
    ),
    (
        "Floods with whatever there is, while others ask",
        ("Limits.max_control_frames", "Limits.max_resets"),
        "what it sees is said above; the others are answered",
        (f"{_SERVER}test_a_neighbour_is_answered_during_a_flood",),
    ),
)
