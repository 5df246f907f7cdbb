"""Every ruling on where the original surprises, N1 to N72, has a test named after it, or a reason why it has none.

The tests are in ``test_rulings_requests.py``, ``test_rulings_responses.py``, ``test_rulings_connections.py`` and
``test_rulings_router.py``.
"""

from __future__ import annotations

from story_tools import rows_with_tests

WEBSOCKET = "WebSocket is not spoken; a handler can hand a stream over to a library that does"
HTTP2 = "HTTP/2 and HTTP/3 are not spoken"
STATIC = "there is no handler of static files; FileResponse sends a file that the application has chosen"
COMPRESSION = "responses are not compressed"

WITHOUT_COUNTERPART = {
    6: "connections do not hibernate: each has its deadline, whatever its age (N8, N62)",
    26: WEBSOCKET,
    36: "the PROXY protocol is not spoken",
    40: HTTP2,
    41: HTTP2,
    42: HTTP2,
    43: WEBSOCKET,
    44: WEBSOCKET,
    45: WEBSOCKET,
    46: WEBSOCKET,
    47: WEBSOCKET,
    48: WEBSOCKET,
    49: WEBSOCKET,
    52: STATIC,
    53: STATIC,
    54: STATIC,
    55: COMPRESSION,
    56: COMPRESSION,
    57: "multipart bodies are not parsed",
    58: HTTP2,
    59: HTTP2,
    60: HTTP2,
    61: HTTP2,
}


def test_every_ruling_has_a_test_or_a_reason():
    tested = rows_with_tests("test_rulings_*.py", "n")
    assert tested | WITHOUT_COUNTERPART.keys() == set(range(1, 73))
    assert not tested & WITHOUT_COUNTERPART.keys()
