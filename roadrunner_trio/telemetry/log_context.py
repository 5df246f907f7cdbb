"""The request that a line of a log is about.

A listener with ``log_context=True`` sets :data:`current_request` when a head has been read; it stays until the next
one of that connection. Tasks and threads that a handler starts inherit it, as they do any context variable. Setting it
costs a tenth of a microsecond a request, and nothing without the option.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Final

from ..messages.exchange import Exchange
from ..messages.request import Request
from ..transport.streams import shown
from .log_lines import THIS

current_request: Final[ContextVar[Request | None]] = ContextVar("roadrunner_trio.current_request", default=None)
"""The request that is being served; None outside of one, and on listeners without ``log_context=True``."""

CONTEXT: Final = ("request_id", "method", "path", "peer")
"""What :class:`LogContext` puts on a record."""


def enter(exchange: Exchange) -> None:
    """Makes the exchange's request the current one."""
    current_request.set(exchange.request)


def context_of(request: Request) -> tuple[str, str, str, str]:
    """The values of :data:`CONTEXT` for ``request``."""
    return request.request_id, request.method, request.path, shown(request.peer)


class LogContext(logging.Filter):
    """Puts ``request_id``, ``method``, ``path`` and ``peer`` on every record, from :data:`current_request`.

    And ``worker``, the name of this process among several. Add it to handlers; on a logger it would not see what that
    logger's children log. What there is not, as outside of a request, is ``"-"``. What a record has already, by
    ``extra=`` say, stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds the fields; lets every record pass."""
        request = current_request.get()
        values = ("-",) * len(CONTEXT) if request is None else context_of(request)
        for name, value in zip(CONTEXT, values, strict=True):
            record.__dict__.setdefault(name, value)
        record.__dict__.setdefault("worker", THIS.name or "-")
        return True
