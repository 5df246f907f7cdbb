"""What every event with a request in it tells of that request."""

from __future__ import annotations

from typing import Protocol

from ..messages.request import Request
from ..transport.streams import Address


class HasRequest(Protocol):
    """An event with a request in it."""

    @property
    def request(self) -> Request:
        """The request."""
        ...


class OfRequest:
    """What every event with a request in it tells of that request as well."""

    __slots__ = ()

    @property
    def request_id(self: HasRequest) -> str:
        """16 hexadecimal digits, or what a trusted peer chose to call it (:class:`~roadrunner_trio.RequestIds`)."""
        return self.request.request_id

    @property
    def peer(self: HasRequest) -> Address:
        """Host and port, or the path of a Unix socket."""
        return self.request.peer

    @property
    def method(self: HasRequest) -> str:
        """The method, as sent."""
        return self.request.method

    @property
    def target(self: HasRequest) -> str:
        """The target, as sent: with the query, and in whatever form."""
        return self.request.target.decode("latin-1")

    @property
    def path(self: HasRequest) -> str:
        """The target's path, without the query, not percent-decoded (N50)."""
        return self.request.path

    @property
    def scheme(self: HasRequest) -> str:
        """``"http"`` or ``"https"``."""
        return self.request.scheme

    @property
    def listener(self: HasRequest) -> str:
        """The name of the listener."""
        return self.request.listener_name
