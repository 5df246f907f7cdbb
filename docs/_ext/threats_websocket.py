"""What can be done by WebSockets: rows of :class:`threats.Threat`, with what bounds it and its tests."""

from __future__ import annotations

_WEBSOCKETS = "tests/hardening/test_websocket.py"
_WEBSOCKET_SIEGE = "tests/hardening/test_websocket_exhaustion.py"

ROWS = (
    (
        "Sends a message that is too large, or inflates to one",
        ("websocket.max_message", "websocket.max_frame"),
        "1009; a frame is judged by its header, a message while it grows",
        (
            f"{_WEBSOCKET_SIEGE}::test_cve_2026_39804_a_bomb_of_300_megabytes_takes_less_than_the_cap",
            f"{_WEBSOCKETS}::test_hostile_frames_are_the_end_of_one_session",
        ),
    ),
    (
        "Sends a text that is small as octets and large as characters",
        ("websocket.max_message", "protocol.ws.decoder:WIDE"),
        "1009",
        (
            "tests/unit/protocol/test_ws_decoder.py::test_case_37_a_text_is_held_to_what_it_takes_in_memory",
            "tests/unit/protocol/test_ws_decoder.py::test_case_37_one_wide_character_makes_all_of_them_wide",
        ),
    ),
    (
        "Sends what takes long to read: compressed, fragmented, empty",
        ("websocket.core:TURN", "protocol.ws.deflate:TAKEN", "protocol.ws.deflate:STEP"),
        "an answer, later: its neighbours have a turn every few milliseconds, however many do so",
        (
            "tests/hardening/test_websocket_turns.py::test_case_35_no_step_takes_long_whatever_comes",
            "tests/hardening/test_websocket_turns.py::test_case_35_many_peers_of_costly_frames_wait_for_one_another",
        ),
    ),
    (
        "Sends fragments without end, of nothing",
        ("websocket.max_fragments",),
        "1009",
        (f"{_WEBSOCKET_SIEGE}::test_cve_2026_65623_empty_fragments_without_end",),
    ),
    (
        "Sends faster than the handler reads",
        ("websocket.max_queue",),
        "to wait: nothing more is read",
        ("tests/unit/websocket/test_session.py::test_a_full_queue_makes_the_peer_wait",),
    ),
    (
        "Pings without end, and reads no pong",
        ("websocket.link:MOST_OWED",),
        "a pong for the last of them",
        (
            f"{_WEBSOCKET_SIEGE}::test_pings_without_end",
            "tests/unit/websocket/test_session_ends.py::test_a_peer_that_pings_and_never_reads",
        ),
    ),
    (
        "Has vanished, and did not say so",
        ("websocket.ping_interval", "websocket.ping_timeout"),
        "a ping, then a close; one that is still taking a message is waited for",
        (
            "tests/e2e/test_websocket.py::test_a_peer_that_talks_and_does_not_take_our_ping_is_left",
            "tests/unit/websocket/test_keepalive.py::test_a_peer_that_pours_and_is_not_heard_of_is_left_all_the_same",
        ),
    ),
    (
        "Does not answer a close",
        ("websocket.close_timeout",),
        "the end of the connection",
        (
            f"{_WEBSOCKET_SIEGE}::test_a_peer_that_never_closes",
            "tests/unit/websocket/test_session_ends.py::test_a_peer_that_does_not_close_is_left_behind",
        ),
    ),
    (
        "Does not read what it is sent",
        ("Timeouts.write",),
        "the end of the connection",
        (
            f"{_WEBSOCKET_SIEGE}::test_a_peer_that_never_reads",
            "tests/unit/websocket/test_keepalive.py::test_one_that_takes_nothing_is_left_after_the_write_timeout",
        ),
    ),
)
