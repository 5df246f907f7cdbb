"""What can be done to a server, what stops it, and the test that shows it: the tables of two pages.

``tests/hardening/test_pages.py`` sees to it that every test that is named exists, and that every setting is in a row.
"""

from __future__ import annotations

from typing import NamedTuple

import threats_processes
import threats_websocket
import threats_wing
from threats_http2 import HTTP2

HARDENING = "tests/hardening/"


class Threat(NamedTuple):
    """A row of the table of limits.

    Attributes:
        what: the peer does this.
        bounds: what bounds it: a setting, such as ``Timeouts.request``, or a constant, ``module:NAME``.
        sees: what the peer sees when it is met.
        proofs: tests, as ``file::name``.
    """

    what: str
    bounds: tuple[str, ...]
    sees: str
    proofs: tuple[str, ...]


TIME = (
    Threat(
        "Connects and says nothing",
        ("Timeouts.request",),
        "a close, in silence",
        ("tests/hardening/test_slow_attacks.py::test_slow_attackers_hold_nothing_beyond_their_deadline",),
    ),
    Threat(
        "Goes on with a session of TLS when the authority of its certificate has been replaced (CVE-2025-23419)",
        (),
        "the handshake fails",
        ("tests/unit/transport/test_certificates.py::test_who_is_vouched_for_no_more_cannot_go_on_with_a_session",),
    ),
    Threat(
        "Never finishes a PROXY header or a TLS handshake",
        ("Timeouts.handshake",),
        "a close, in silence",
        (
            "tests/unit/server/test_door.py::test_header_and_handshake_share_one_deadline",
            "tests/e2e/test_tls.py::test_a_slow_handshake_holds_nobody_up_and_is_bounded",
        ),
    ),
    Threat(
        "Sends a head that never ends",
        ("Timeouts.request",),
        "408, close",
        ("tests/unit/server/test_exits_head.py::test_e05_a_head_that_never_ends_gets_408_at_exactly_30_seconds",),
    ),
    Threat(
        "Sends a head an octet at a time",
        ("Limits.min_bytes_per_second", "transport.streams:GRACE"),
        "a close, in silence",
        ("tests/unit/server/test_exits_head.py::test_e07_a_head_below_the_minimum_rate_is_cut_in_silence",),
    ),
    Threat(
        "Sends a body an octet at a time",
        ("Limits.min_bytes_per_second", "transport.streams:GRACE"),
        "408, close",
        (
            "tests/unit/server/test_exits_body.py::test_e11_a_body_below_the_minimum_rate_gets_408",
            "tests/unit/server/test_exits_body.py::"
            "test_e11_case_15_a_small_body_that_comes_late_is_whole_and_so_not_slow",
        ),
    ),
    Threat(
        "Has always just sent something when its time is up",
        ("transport.patience:SPARED",),
        "a second more, once",
        ("tests/unit/transport/test_phases.py::test_whose_octets_never_come_to_an_end_is_spared_once",),
    ),
    Threat(
        "Is quick enough, but asks a server that stands still: a handler that blocks, a process that is stopped",
        ("transport.clock:LATE",),
        "its answer: that time counts for nobody",
        (
            "tests/unit/server/test_stalls.py::test_case_01_a_request_that_came_before_an_idle_connections_time_was_up",
            "tests/e2e/test_stalls.py::"
            "test_case_01_case_02_nobody_who_did_its_part_while_the_server_was_stopped_is_cut",
        ),
    ),
    Threat(
        "Sends a body that never ends",
        ("Timeouts.body",),
        "408, close",
        ("tests/unit/server/test_exits_body.py::test_e10_a_body_that_never_ends_gets_408_at_exactly_300_seconds",),
    ),
    Threat(
        "Asks once and stays",
        ("Timeouts.keep_alive",),
        "a close, in silence",
        (
            "tests/unit/server/test_exits_head.py::test_e06_an_idle_connection_is_closed_in_silence_at_exactly_75_seconds",
        ),
    ),
    Threat(
        "Asks once and stays, with thousands of others",
        ("Timeouts.park_after",),
        "nothing: a connection that has been idle for so long holds a slot, and no task",
        (
            "tests/unit/server/test_dormitory.py::"
            "test_after_its_time_an_idle_connection_has_no_task_and_is_there_as_before",
            "tests/unit/server/test_dormitory.py::test_it_makes_room_in_its_turn",
        ),
    ),
    Threat(
        "Does not read its response, or trickles",
        ("Timeouts.write",),
        "a close",
        ("tests/hardening/test_slow_attacks.py::test_slow_readers_hold_nothing_beyond_the_write_timeout",),
    ),
    Threat(
        "Takes a little of its response before every timeout",
        ("Limits.min_send_rate",),
        "a close",
        (
            "tests/unit/transport/test_send_rate.py::test_small_pieces_taken_one_before_each_timeout_are_cut_all_the_same",
            "tests/unit/transport/test_send_rate.py::test_who_was_fast_may_not_be_slow_for_long",
        ),
    ),
    Threat(
        "Asks for something that takes long, and leaves",
        ("Timeouts.disconnect_grace",),
        "nothing: it has left, and the handler is cancelled",
        (
            "tests/unit/server/test_presence.py::test_after_an_end_the_handler_has_its_grace",
            "tests/unit/server/test_presence.py::test_a_reset_cancels_at_once",
        ),
    ),
    Threat(
        "Makes the application wait, if it can",
        ("Timeouts.handler",),
        "503, close",
        (
            "tests/unit/server/test_phases_of_a_connection.py::test_a_handler_out_of_time_is_cancelled_and_its_peer_hears_503",
        ),
    ),
    Threat(
        "Makes the application stand still, if it can, when the server is to end",
        ("server.watchdog:PATIENCE", "server.watchdog:AT_ONCE"),
        "a close: the process is left a second past the drain's deadline, or after a second signal",
        (
            "tests/e2e/test_ends.py::test_case_31_a_second_signal_stops_at_once",
            "tests/e2e/test_ends.py::test_case_33_a_blocked_loop_is_ended_by_the_deadline",
        ),
    ),
    Threat(
        "Goes on sending after it has been refused",
        ("Timeouts.linger", "server.connection:LINGER_OCTETS"),
        "a close",
        (
            "tests/unit/server/test_rulings_connections.py::test_n19_lingering_is_bounded_however_the_peer_trickles",
            "tests/unit/server/test_exits_body.py::test_e09_lingering_takes_twenty_mebibytes_and_no_more",
        ),
    ),
)

SIZE = (
    Threat(
        "Sends an endless request line",
        ("Limits.max_request_line",),
        "414, close",
        (HARDENING + "test_exhaustion.py::test_too_much_is_refused_while_it_is_read",),
    ),
    Threat(
        "Sends an endless field line",
        ("Limits.max_field_line",),
        "431, close",
        (
            "tests/unit/protocol/test_h11_engine.py::test_early_verdicts",
            "tests/unit/protocol/test_body.py::test_trailers_have_the_limits_of_heads",
        ),
    ),
    Threat(
        "Sends fields without end, in a head or behind a body",
        ("Limits.max_field_section", "Limits.max_fields"),
        "431, close",
        (HARDENING + "test_exhaustion.py::test_too_much_is_refused_while_it_is_read",),
    ),
    Threat(
        "Declares, or sends, a body that is too large",
        ("Limits.max_body",),
        "413, close, before it is read",
        (
            "tests/unit/server/test_exits_body.py::test_e09_a_declared_length_above_the_limit_gets_413_before_a_byte_of_it",
            "tests/unit/server/test_exits_body.py::test_e09_chunks_above_the_limit_get_413_before_the_chunk_is_read",
        ),
    ),
    Threat(
        "Sends bodies or messages that are not too large, on very many connections",
        ("Limits.max_buffered",),
        "1013 and the end of a WebSocket session; for a body 503",
        (
            "tests/unit/websocket/test_session_buffered.py::test_one_more_than_there_is_room_for_is_told_1013",
            "tests/unit/websocket/test_session_buffered.py::test_whatever_ends_a_session_gives_back_what_it_held",
        ),
    ),
    Threat(
        "Declares large bodies on a few connections, and sends nothing of them, to leave no room for others'",
        ("Limits.max_buffered",),
        "none of it counts before it has come; then 408, close",
        ("tests/unit/server/test_buffered_bodies.py::test_a_promise_takes_no_room",),
    ),
    Threat(
        "Uploads what nobody has asked it for, without a key",
        (),
        "its refusal, if an early middleware asks for the key: before `100 Continue`, and before anything is read",
        (
            "tests/unit/answering/test_early.py::"
            "test_of_an_upload_that_nobody_wants_nothing_is_read_before_it_is_answered",
            "tests/unit/answering/test_early.py::test_who_waits_for_a_100_hears_the_answer_instead",
        ),
    ),
    Threat(
        "Sends a body two octets at a time",
        ("Limits.max_body",),
        "its answer: it takes no more memory than the body",
        ("tests/unit/server/test_freed.py::test_case_36_a_body_of_crumbs_takes_its_own_size_while_it_comes",),
    ),
    Threat(
        "Sends a large body, has its answer, and stays",
        (),
        "nothing: an idle connection holds nothing of its last request",
        ("tests/unit/server/test_freed.py::test_case_32_an_idle_connection_holds_nothing_of_its_last_request",),
    ),
    Threat(
        "Sends a large body and leaves, again and again",
        (),
        "nothing: whatever ends a connection frees it at once, without a garbage collector",
        ("tests/unit/server/test_freed.py::test_case_47_however_a_connection_ends_it_is_freed_without_a_collector",),
    ),
    Threat(
        "Sends chunk extensions, which nobody reads",
        ("protocol.http1.body:MAX_CHUNK_LINE", "protocol.http1.body:MAX_CHUNK_EXTENSIONS"),
        "400, close",
        (HARDENING + "test_exhaustion.py::test_too_much_is_refused_while_it_is_read",),
    ),
    Threat(
        "Sends every octet of a body as a chunk of its own",
        ("Limits.max_body",),
        "its answer: it costs no more than the body",
        (
            HARDENING + "test_exhaustion.py::"
            "test_cve_2025_69229_many_tiny_chunks_take_little_time_and_no_more_memory_than_the_body",
        ),
    ),
    Threat(
        "Behind a trusted proxy: sends a PROXY header without end, or full of checksums",
        ("protocol.proxy_header:LONGEST", "protocol.proxy_header:MOST_TLVS"),
        "a close, in silence",
        (
            "tests/unit/protocol/test_proxy_header.py::test_case_49_a_second_checksum_is_refused_before_one_is_made",
            "tests/unit/protocol/test_proxy_header.py::test_case_49_a_longer_header_is_refused_by_its_sixteenth_octet",
        ),
    ),
    Threat(
        "Asks for large responses that it does not read",
        ("server.carrier:WRITE_SIZE", "transport.files:SLICE"),
        "a close, by the write timeout: the body is there once, and goes out in slices",
        (
            HARDENING + "test_exhaustion.py::test_a_body_that_many_do_not_read_is_there_once",
            HARDENING + "test_exhaustion.py::test_a_large_body_is_given_to_the_kernel_in_turns",
        ),
    ),
)

NUMBER = (
    Threat(
        "Opens connections without end",
        ("Limits.max_connections",),
        "503 with `Retry-After`, close; over TLS a close",
        ("tests/e2e/test_cap.py::test_a_crowd_at_the_cap_is_answered_and_few_of_it_linger",),
    ),
    Threat(
        "Asks again and again on one connection for what an application goes on working on after its response",
        ("Limits.max_connections", "Limits.max_connections_per_peer"),
        "the next answer, late: each of them has a place, and the connection waits for one",
        ("tests/unit/server/test_afterwards.py::test_it_has_a_place_and_where_there_is_none_the_request_waits",),
    ),
    Threat(
        "Takes every place for itself",
        ("Limits.max_connections_per_peer",),
        "503 with `Retry-After`, close; over TLS a close",
        (
            "tests/unit/server/test_places.py::test_one_more_is_answered_503_and_the_others_notice_nothing",
            "tests/unit/server/test_places.py::test_a_network_of_ipv6_is_one_peer_and_ipv4_is_one_however_it_comes",
            "tests/unit/server/test_places.py::test_the_accept_loop_turns_away_and_makes_room",
        ),
    ),
    Threat(
        "Fills places with connections that say nothing, or send half a head, or a body by the drop",
        ("Limits.max_connections_per_peer", "server.eviction:LEAST", "server.eviction:SLOW"),
        "a close, or 408, when others of its address come; with `evict_idle`, when any others do",
        (
            "tests/unit/server/test_places.py::test_case_48_who_sits_there_makes_room_for_its_own_address",
            "tests/unit/server/test_eviction.py::test_who_is_stuck_in_a_head_or_a_body_makes_room_too",
        ),
    ),
    Threat(
        "Fills all places with connections that do nothing",
        ("Timeouts.keep_alive", "server.eviction:LEAST"),
        "with `evict_idle`, a close, in silence, when others come",
        ("tests/unit/server/test_eviction.py::test_the_one_that_has_been_idle_for_longest_makes_room",),
    ),
    Threat(
        "Opens more than the process has descriptors for",
        ("Limits.backlog",),
        "to wait in the queue, until there is one again",
        ("tests/e2e/test_cap.py::test_case_20_a_process_out_of_descriptors_says_so_once_and_recovers",),
    ),
    Threat(
        "Sends requests on one connection without end",
        ("Limits.max_requests",),
        "`connection: close` on the last",
        (
            "tests/unit/server/test_exits_handler.py::test_e19_the_last_request_a_connection_may_send_is_answered_with_close",
        ),
    ),
    Threat(
        "Sends more requests than the application can take",
        ("Limits.max_concurrent_requests",),
        "503 with `Retry-After`; the connection goes on",
        (
            "tests/unit/answering/test_admission.py::test_with_as_many_in_the_application_as_may_be_one_more_is_turned_away",
        ),
    ),
    Threat(
        "Pipelines: sends requests before it has its answers",
        ("server.http1_exchange:READ_AHEAD",),
        "its answers in order, and neighbours have their turn between them",
        (
            HARDENING + "test_framing.py::test_cve_2023_46137_pipelined_requests_are_answered_in_their_order",
            "tests/unit/server/test_peers_that_leave.py::test_more_than_64_kib_ahead_the_peer_is_taken_to_be_there",
        ),
    ),
    Threat(
        "Makes a line in a log with every octet",
        (),
        "its refusal; ten lines and a count are logged",
        ("tests/unit/telemetry/test_logs.py::test_a_storm_of_malformed_requests_is_ten_lines_and_a_count",),
    ),
    Threat(
        "Writes more lines into a log than anybody reads",
        ("telemetry.log_output:MOST",),
        "its answers: lines are dropped and counted, and nobody waits",
        (
            "tests/unit/telemetry/test_log_output.py::test_case_23_nobody_waits_for_a_pipe_that_nobody_reads",
            "tests/e2e/test_logs.py::test_case_23_a_pipe_that_nobody_reads_stops_neither_the_server_nor_its_drain",
        ),
    ),
    Threat(
        "Sends what looks like another line of a log, or moves the cursor of who reads it",
        ("printable:LONGEST",),
        "its answer: it is escaped, in tracebacks and in the names of Unix sockets too",
        (
            "tests/e2e/test_logs.py::test_case_41_what_a_peer_sent_is_no_line_of_the_log",
            "tests/unit/words/test_tracebacks.py::test_case_41_what_stands_in_a_message_cannot_begin_a_line",
        ),
    ),
    Threat(
        "Sends what makes a filter, a formatter or an observer of the application fail",
        (),
        "its answer: a line is lost, or the observer switched off",
        (
            "tests/e2e/test_logs.py::test_case_43_a_filter_that_always_raises_ends_nothing",
            "tests/unit/telemetry/test_observe.py::"
            "test_whatever_an_observer_raises_it_is_switched_off_and_the_request_goes_on",
        ),
    ),
    Threat(
        "Sends methods, targets and fields that were never seen before",
        (),
        "its answers: nothing of them is kept",
        (HARDENING + "test_exhaustion.py::test_cve_2024_52303_unheard_of_methods_and_targets_leave_nothing",),
    ),
    Threat(
        "Resets while others wait for what it has asked for first",
        (),
        "nothing; the others may be answered 500, and whoever asked for something else notices nothing",
        (
            "tests/unit/server/test_foreign_cancellations.py::"
            "test_case_46_who_waited_for_a_computation_whose_first_asker_was_reset_is_told_500",
            "tests/unit/server/test_foreign_cancellations.py::"
            "test_case_46_a_stray_is_a_500_or_a_cut_and_the_neighbours_notice_nothing",
        ),
    ),
    Threat(
        "Leaves, or resets, at any octet",
        (),
        "nothing: its slot is free at once",
        (
            HARDENING + "test_exhaustion.py::test_cve_2022_31015_and_2024_49769_a_peer_may_vanish_at_every_octet",
            "tests/e2e/test_faulty_networks.py::test_a_reset_at_every_phase_leaves_nothing",
        ),
    ),
    Threat(
        "Sends urgent data, or descriptors on a Unix socket, where reading stops short",
        (),
        "its answer: what is behind is read, and urgent octets stay where they were sent",
        (
            "tests/property/test_wire_model.py::test_case_42_nothing_lies_unread_or_unsent_with_no_edge_to_come",
            "tests/e2e/test_sockets.py::test_case_42_an_urgent_octet_stops_nothing",
        ),
    ),
    Threat(
        "Vanishes without a word: a cable, a black hole",
        ("Timeouts.keep_alive", "Timeouts.request", "Timeouts.write", "transport.bind:QUIET"),
        "nothing: it falls to the deadline of its phase, or two minutes later counts as reset",
        (
            "tests/unit/transport/test_bind.py::"
            "test_case_19_the_kernel_asks_peers_that_say_nothing_whether_they_are_there",
            "tests/e2e/test_faulty_networks.py::test_peers_behind_a_black_hole_fall_to_their_deadlines",
            "tests/e2e/test_faulty_networks.py::test_a_response_into_a_black_hole_is_given_up",
        ),
    ),
)

WEBSOCKET = tuple(Threat(*row) for row in threats_websocket.ROWS)
WING = tuple(Threat(*row) for row in threats_wing.ROWS)
THREATS = {
    "time": TIME,
    "size": SIZE,
    "number": NUMBER,
    "websocket": WEBSOCKET,
    "http2": tuple(Threat(*row) for row in HTTP2),
    "wing": WING,
    "processes": tuple(Threat(*row) for row in threats_processes.ROWS),
}
