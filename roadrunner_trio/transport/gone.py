"""What is raised where a peer is not there any more, or is so slow that it is taken not to be."""

from __future__ import annotations

import trio


class PeerGone(trio.BrokenResourceError):
    """The peer has gone away, or is so slow that it is taken to have; nothing more can be said to it."""


class PeerTooSlow(PeerGone):
    """The peer is there, but sends or takes too little: it is we who leave."""


class BodyTimeout(trio.TooSlowError):
    """The peer took too long to send a request body that the application is reading."""
