"""A reader of logfmt, and requests and their ends to write about, for tests of logs."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import roadrunner_trio as rr
from roadrunner_trio.messages.request import Request
from roadrunner_trio.protocol.heads import Framing, RequestHead
from roadrunner_trio.transport.drain import Drain

_pair = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)(?: |$)').match


def read_logfmt(line: str) -> dict[str, str]:
    """Names and values of a line that is logfmt and nothing else."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(line):
        found = _pair(line, at)
        assert found, line[at:]
        assert found[1] not in pairs
        pairs[found[1]] = json.loads(found[2]) if found[2].startswith('"') else found[2]
        at = found.end()
    return pairs


def a_request(target: bytes = b"/a?b=c", fields: Any = (), **about: Any) -> Request:
    """A request as it may stand in an event, well-formed or not."""
    head = RequestHead(
        about.pop("method", b"GET"), target, target, (1, 1), tuple(fields), b"h", Framing.NONE, 0, True, False, b""
    )
    request_id = about.pop("request_id", "0123456789abcdef")
    known = {"peer": ("192.0.2.1", 1234), "scheme": "http", "listener_name": "main"}
    request = Request(head, None, Drain(), **(known | about))  # type: ignore[arg-type]
    request.request_id = request_id
    return request


def an_end(request: Request | None = None, **about: Any) -> rr.RequestEnded:
    """The end of a request, complete unless it is said otherwise."""
    known = {
        "status": 200, "kind": "buffered", "received": 3, "sent": 13, "duration": 0.00125, "outcome": "complete",
    }  # fmt: skip
    return rr.RequestEnded(request or a_request(), **(known | about))


def written(event: Any, hook: str = "request_stop", format: str = "text") -> list[str]:
    """What an access log of its own writes about one event."""
    found: list[str] = []
    logger = logging.Logger("a test", logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    getattr(rr.AccessLog(format, logger=logger), hook)(event)
    return found
