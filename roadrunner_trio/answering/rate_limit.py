"""How often one peer may ask: a token bucket each, in whole numbers, in a table that cannot grow beyond its bound.

Nothing sweeps and nothing polls. The table is in the order in which its buckets were last used, so those that have
been full again for some time are at its front, and are dropped as new requests come; a full bucket says nothing that
an absent one does not. Time is given, never asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final

from ..units import WholeSeconds, count, optional_count, whole_seconds

SUBNET_BITS = 64
"""One customer's share of IPv6: whoever has one address has them all."""


A_SECOND: Final[Any] = 1


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Requests that one peer may make; above that they are answered 429 (RFC 6585 section 4).

    A peer is an IPv4 address or a /64 network of IPv6, whatever its port and however many its connections. Peers
    without an address, on Unix sockets, have no limit.

    Attributes:
        rate: requests allowed each ``period``.
        period: seconds, a whole number, or text such as ``"1m"``.
        burst: requests allowed at once by a peer that was quiet; None is ``rate``.
        peers: how many are remembered; one more makes the server forget the one that asked least recently.

    Raises:
        ValueError: a value is not a whole number, or is less than 1.
    """

    rate: int
    period: WholeSeconds = A_SECOND
    burst: int | None = None
    peers: int = 10_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "period", whole_seconds("RateLimit.period", self.period))
        count("RateLimit.rate", self.rate)
        optional_count("RateLimit.burst", self.burst)
        count("RateLimit.peers", self.peers)


class Buckets:
    """The buckets of all peers of a listener.

    A request costs ``period`` x 1000 units and a bucket gains ``rate`` units a millisecond, so all is exact.
    """

    __slots__ = ("_buckets", "_capacity", "_cost", "_full_after", "_most", "_rate")

    def __init__(self, limit: RateLimit) -> None:
        self._rate = limit.rate
        self._cost = limit.period * 1000
        self._capacity = self._cost * (limit.burst or limit.rate)
        self._full_after = -(-self._capacity // self._rate)
        self._most = limit.peers
        self._buckets: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, peer: str, now: float) -> int:
        """Takes one request out of the bucket of ``peer``.

        Args:
            peer: from :func:`peer_key`.
            now: seconds on a clock that does not go back.

        Returns:
            0 if it may go on; else whole seconds until it may, at least 1.
        """
        at = int(now * 1000)
        units, last = self._buckets.pop(peer, (self._capacity, at))
        units = min(self._capacity, units + max(0, at - last) * self._rate)
        allowed = units >= self._cost
        self._make_room(at)
        self._buckets[peer] = (units - self._cost if allowed else units, at)
        if allowed:
            return 0
        milliseconds = -(-(self._cost - units) // self._rate)
        return -(-milliseconds // 1000)

    def _make_room(self, at: int) -> None:
        """Drops what is full again, and the least recent one when there is no room for another."""
        while self._buckets:
            oldest = next(iter(self._buckets))
            if self._buckets[oldest][1] + self._full_after > at and len(self._buckets) < self._most:
                return
            del self._buckets[oldest]


@lru_cache(4096)
def peer_key(host: str) -> str:
    """What counts as one peer: an IPv4 address, also when it is mapped into IPv6, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return address.packed[: SUBNET_BITS // 8].hex()
