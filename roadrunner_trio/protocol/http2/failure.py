"""How a connection ends by its peer's fault (RFC 9113 section 5.4.1)."""

from __future__ import annotations


class ConnectionFailed(Exception):
    """The peer broke a rule for which the whole connection ends. GOAWAY is in the output; every stream is lost.

    Args:
        code: of the GOAWAY (RFC 9113 section 7).
        reason: a short lower-case token for logs and events, never sent to the peer.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} ({self.code})"
