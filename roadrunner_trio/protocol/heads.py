"""What every version of HTTP makes of a request's head: one tuple, whoever read it, and how its body is delimited."""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..fields import Fields


class Framing(enum.Enum):
    """How a request body is delimited (RFC 9112 section 6.3)."""

    NONE = "none"
    LENGTH = "content-length"
    CHUNKED = "chunked"


class RequestHead(NamedTuple):
    """A request head that has passed the verdict (:func:`.http1.head.judge`). A tuple, as the cheapest to build."""

    method: bytes
    """Any token, as sent (N13)."""
    target: bytes
    """The request target as sent: origin, absolute, authority or asterisk form (RFC 9112 section 3.2)."""
    path: bytes
    """The path and query that the target names; ``b"*"`` for ``OPTIONS *``, the authority for CONNECT."""
    version: tuple[int, int]
    """(1, 0) or (1, 1); a higher minor version is read as (1, 1) (RFC 9110 section 2.5)."""
    fields: Fields
    host: bytes
    """Host, or the authority of an absolute-form target, which wins (RFC 9112 section 3.2.2); may be empty."""
    framing: Framing
    content_length: int
    """Octets of the body with :attr:`Framing.LENGTH`, else 0."""
    keep_alive: bool
    """Whether the peer would go on with the connection (RFC 9112 section 9.3)."""
    expects_continue: bool
    """Whether the peer waits for 100 Continue: 1.1, with a body, ``expect: 100-continue`` (N17)."""
    raw: bytes
    """The head as it came, with the empty line that ends it."""
    protocol: bytes = b""
    """What an extended CONNECT asks for (RFC 8441 section 4, RFC 9220); always empty with HTTP/1."""
