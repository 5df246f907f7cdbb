"""The two verdicts that become a response: one on the peer, one by the application.

Everything else that can go wrong on a connection is either an exception of the application (500, logged once)
or a peer that went away (closed, not logged); see :mod:`roadrunner_trio.server.connection`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from .fields import FieldsLike, encoded


class ProtocolError(Exception):
    """The peer broke the protocol or a limit.

    The server answers ``status`` once, with ``connection: close``, and closes.

    Args:
        status: the status owed to the peer (400, 413, 414, 431, 501 or 505).
        reason: a short lower-case token for logs and events, such as ``"bad_chunk"``; never sent to the peer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} ({self.status})"


class HTTPError(Exception):
    """Raised by an application to answer with ``status`` and end the request; the connection lives on.

    Args:
        status: a final status code, 200 to 599; usually 4xx or 5xx (RFC 9110 section 15).
        detail: text for the peer; the standard reason phrase when None.
        fields: further response fields, as a response takes them; the attribute holds pairs of bytes.

    Raises:
        ValueError: ``status`` is not a final status code, or a field could split the message.
        TypeError: ``status`` is no whole number, ``detail`` no text, or a field neither str nor bytes.
    """

    def __init__(self, status: int, detail: str | None = None, *, fields: FieldsLike = ()) -> None:
        super().__init__(status, detail)
        _check_types(status, detail)
        if not 200 <= status <= 599:
            raise ValueError(f"HTTPError needs a final status from 200 to 599, not {status}")
        self.status = int(status)
        self.detail = detail if detail is not None else phrase(status)
        self.fields = tuple(encoded(fields))

    def __str__(self) -> str:
        return f"{self.status} {self.detail}"


def _check_types(status: Any, detail: Any) -> None:
    if isinstance(status, bool) or not isinstance(status, int):
        text = status if isinstance(status, str) and not status.isdigit() else "there is no such note"
        raise TypeError(f"HTTPError begins with its status, not with {status!r}; write HTTPError(404, {text!r})")
    if detail is not None and not isinstance(detail, str):
        raise TypeError(f"the detail of an HTTPError is text, not {detail!r}")


class StartupError(Exception):
    """An application could not be started up, and nothing has been served."""


class ShutdownError(Exception):
    """An application failed to shut down, did not do so in time, or had ended by itself before."""


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Before Python 3.13, ``http`` has the phrases of older RFCs for these; the same server says the same on all."""


def phrase(status: int) -> str:
    """The standard reason phrase of ``status`` (RFC 9110 section 15), or an empty string."""
    return _PHRASES.get(status, "")
