"""Every way a connection can end, E1 to E26, has a test named after it, or a reason why it has none.

The tests are in ``test_exits_head.py``, ``test_exits_body.py``, ``test_exits_handler.py`` and ``test_exits_router.py``.
They look at the octets on the wire, at the time, at the observers' events, at the log, and at the slot that is free
again.
"""

from __future__ import annotations

from story_tools import rows_with_tests

WITHOUT_COUNTERPART = {
    2: "a malformed PROXY header: the PROXY protocol is not spoken",
    14: "a peer above its rate limit: there is no rate limit",
    22: "the end of a WebSocket session: WebSocket is not spoken; what is handed off is tested with hand-offs",
}


def test_every_exit_has_a_test_or_a_reason():
    tested = rows_with_tests("test_exits_*.py", "e")
    assert tested | WITHOUT_COUNTERPART.keys() == set(range(1, 27))
    assert not tested & WITHOUT_COUNTERPART.keys()
