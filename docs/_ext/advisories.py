"""What was reported of servers, and what this one does: a table of a page. Each has its test, as in :mod:`threats`."""

from __future__ import annotations

from typing import NamedTuple

from threats import HARDENING

_WEBSOCKETS = HARDENING + "test_websocket.py"
_WEBSOCKET_SIEGE = HARDENING + "test_websocket_exhaustion.py"


class Advisory(NamedTuple):
    """A row of the table of advisories that are not about framing; those are in ``support/framing_attacks.py``."""

    names: str
    where: str
    what: str
    here: str
    proof: str


_FRAMING = HARDENING + "test_framing.py"
_EXHAUSTION = HARDENING + "test_exhaustion.py"
_FILES = HARDENING + "test_files.py"

ADVISORIES = (
    Advisory(
        "CVE-2018-1000164, CVE-2020-7695, CVE-2026-34519",
        "gunicorn, uvicorn, aiohttp",
        "CR or LF in a response's fields or reason",
        "an exception in the handler, 500",
        f"{_FRAMING}::test_what_would_split_a_response_raises_in_the_handler",
    ),
    Advisory(
        "reported",
        "this server",
        "a middleware that leaves a second length, a name with a blank, a body of text",
        "500, before an octet is out",
        "tests/unit/answering/test_changed_responses.py::test_case_39_fields_that_cannot_be_said_are_a_500",
    ),
    Advisory(
        "reported",
        "this server",
        "a task that a handler left behind reads on, and the next body is read as a request",
        "an exception in that task; the next request is served whole",
        "tests/property/test_stray_properties.py::"
        "test_case_34_every_request_is_served_once_with_its_own_body_whoever_is_left_behind",
    ),
    Advisory(
        "CVE-2020-7694",
        "uvicorn",
        "terminal escapes in a target reach the log",
        "escaped in every log",
        f"{_FRAMING}::test_cve_2020_7694_no_control_octet_of_a_request_reaches_a_log",
    ),
    Advisory(
        "CVE-2026-39807",
        "Bandit",
        "the scheme of an absolute target is believed",
        "the scheme is the transport's",
        f"{_FRAMING}::test_cve_2026_39807_the_scheme_is_the_transports",
    ),
    Advisory(
        "CVE-2007-6750",
        "many",
        "a head, an octet at a time",
        "a close within about six seconds, in silence",
        f"{HARDENING}test_slow_attacks.py::test_slow_attackers_hold_nothing_beyond_their_deadline",
    ),
    Advisory(
        "CVE-2026-22815, CVE-2026-39806",
        "aiohttp, Bandit",
        "trailers without number or end",
        "431",
        f"{_EXHAUSTION}::test_too_much_is_refused_while_it_is_read",
    ),
    Advisory(
        "CVE-2023-39326",
        "Go",
        "large chunk extensions on small chunks",
        "400",
        f"{_EXHAUSTION}::test_too_much_is_refused_while_it_is_read",
    ),
    Advisory(
        "CVE-2025-69229",
        "aiohttp",
        "very many tiny chunks",
        "served, at the cost of the body",
        f"{_EXHAUSTION}::test_cve_2025_69229_many_tiny_chunks_take_little_time_and_no_more_memory_than_the_body",
    ),
    Advisory(
        "CVE-2025-69223",
        "aiohttp",
        "a compressed body that inflates",
        "it is not inflated",
        f"{_EXHAUSTION}::test_cve_2025_69223_a_compressed_body_is_not_inflated",
    ),
    Advisory(
        "CVE-2025-62727, CVE-2025-69225",
        "Starlette, aiohttp",
        "a Range with very many ranges, or with strange digits",
        "Range is not looked at: the whole file",
        f"{_EXHAUSTION}::test_cve_2025_62727_and_69225_a_range_is_not_looked_at",
    ),
    Advisory(
        "CVE-2024-52303",
        "aiohttp",
        "a cache that grows with unknown methods and paths",
        "every cache is bounded",
        f"{_EXHAUSTION}::test_cve_2024_52303_no_cache_grows_with_what_peers_send",
    ),
    Advisory(
        "CVE-2020-5236, CVE-2024-52804, CVE-2021-32640",
        "waitress, Tornado, ws",
        "values that take a parser quadratic time",
        "linear time",
        f"{_EXHAUSTION}::test_the_time_of_a_reader_is_linear",
    ),
    Advisory(
        "CVE-2025-69227",
        "aiohttp",
        "checks that `python -O` removes",
        "no check is an assertion",
        f"{_EXHAUSTION}::test_cve_2025_69227_no_check_is_an_assertion",
    ),
    Advisory(
        "CVE-2022-31015, CVE-2024-49769",
        "waitress",
        "a peer that leaves at a bad moment",
        "nobody notices",
        f"{_EXHAUSTION}::test_cve_2022_31015_and_2024_49769_a_peer_may_vanish_at_every_octet",
    ),
    Advisory(
        "CVE-2025-69230",
        "aiohttp",
        "malformed requests fill the log",
        "ten lines and a count",
        "tests/unit/telemetry/test_logs.py::test_a_storm_of_malformed_requests_is_ten_lines_and_a_count",
    ),
    Advisory(
        "CVE-2026-42544, hypercorn-225",
        "granian, hypercorn",
        "a subprotocol that is no ASCII, an octet behind an upgrade, stop a server",
        "without a WebSocket at the target, fields like others, and no request",
        f"{HARDENING}test_websocket.py::test_its_fields_mean_nothing",
    ),
    Advisory(
        "CVE-2018-1000518, CVE-2021-21419, CVE-2026-44545, CVE-2026-42786, CVE-2026-48779, GHSA-rhh8-5xw9-c3gm",
        "websockets, eventlet, hypercorn, bandit, aiohttp",
        "WebSocket frames: inflating, unmasked, endless, tiny, larger than they say",
        "1002, 1007 or 1009, and the end of one session",
        f"{_WEBSOCKETS}::test_hostile_frames_are_the_end_of_one_session",
    ),
    Advisory(
        "CVE-2026-39804",
        "bandit",
        "300 kB that inflate to 300 MB",
        "1009 before the cap is passed",
        f"{_WEBSOCKET_SIEGE}::test_cve_2026_39804_a_bomb_of_300_megabytes_takes_less_than_the_cap",
    ),
    Advisory(
        "CVE-2026-65623",
        "bandit",
        "a million empty fragments",
        "1009 at `max_fragments`",
        f"{_WEBSOCKET_SIEGE}::test_cve_2026_65623_empty_fragments_without_end",
    ),
    Advisory(
        "CVE-2019-13611",
        "python-engineio",
        "a page of another site connects in its visitor's name",
        "403, if `origins` names those that may",
        "tests/unit/protocol/test_ws_origin.py::test_case_09_the_pages_of_the_requests_own_host",
    ),
    Advisory(
        "CVE-2024-23334, CVE-2024-42367, CVE-2023-29159",
        "aiohttp, Starlette",
        "a path that leads out of a folder",
        "no path of a request reaches the disk",
        f"{_FILES}::test_no_path_leads_out_of_the_examples",
    ),
    Advisory(
        "CVE-2021-21330",
        "aiohttp",
        "a redirect to another host by `//`",
        "the router redirects nobody; with `redirect_slashes`, to the same host",
        f"{_FILES}::test_a_router_that_redirects_for_a_slash_leads_to_no_other_host",
    ),
    Advisory(
        "reported",
        "this server",
        "`//admin`, `/admin/`: a second name for what a proxy lets nobody reach",
        "404: a path is matched as it is",
        "tests/unit/apps/test_router_paths.py::test_case_40_what_is_not_written_so_is_another_path",
    ),
    Advisory(
        "CVE-2025-66221",
        "Werkzeug",
        "device names and streams",
        "404; only regular files are opened",
        f"{_FILES}::test_what_no_file_can_be_called_is_not_found",
    ),
    Advisory(
        "CVE-2024-27306",
        "aiohttp",
        "markup in the names of an index",
        "escaped in the example that has one",
        f"{_FILES}::test_cve_2024_27306_names_in_the_examples_index_are_escaped",
    ),
)


class Elsewhere(NamedTuple):
    """What cannot happen here, because what it attacks is not here."""

    names: str
    what: str
    why: str


ELSEWHERE = (
    Elsewhere(
        "CVE-2023-44487, CVE-2025-8671, CVE-2024-27316, CVE-2024-28182, CVE-2023-45288, CVE-2019-9511 to 9518,"
        " CVE-2016-6580, CVE-2016-6581, CVE-2026-42788, CVE-2025-57804, GHSA-9q5m-g6v3-6772, GHSA-xj8g-532w-jv94,"
        " GHSA-x3gh-xhj4-3vq8",
        "HTTP/2: resets, continuations, floods, windows, header compression, fields that split a message",
        "HTTP/2 is not spoken: its preface is refused with 505, and ALPN offers `http/1.1` alone",
    ),
    Elsewhere("", "HTTP/3", "HTTP/3 is not spoken: there is no datagram socket"),
    Elsewhere(
        "CVE-2026-34516, CVE-2026-34517, CVE-2024-30251, CVE-2023-30798, CVE-2024-47874, CVE-2025-54121,"
        " CVE-2024-24762, CVE-2024-53981, CVE-2025-47287, CVE-2025-69228",
        "forms: parts without number, or end, or sense",
        "a body is octets, up to `max_body`; `request.form()` has limits from the first octet, see the last table",
    ),
    Elsewhere(
        "CVE-2023-49081, CVE-2023-49082", "CR and LF in a client's requests", "there is no client but that of tests"
    ),
    Elsewhere("CVE-2021-33880", "comparing passwords in time that tells", "the server knows no passwords"),
)
