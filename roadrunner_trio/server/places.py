"""Who has the places of a listener: no address more than its share, and nobody who only sits there.

A peer is an IPv4 address or a /64 of IPv6, as for the rate limit. One that has its share gets another place only for
one of its own, from a connection that keeps the server waiting (:mod:`.eviction`); it can shut out itself, and no
other. Trusted proxies and peers on Unix sockets stand for others, and have no share.

The loopback may stand for others, too, although nobody has said so: a proxy on the same machine. So by the default it
has no share either. But when all places are taken and it has more than a share, whoever only sits there makes room.

A connection is counted from when it is accepted until it leaves the drain, once. Where a PROXY header names its source
it is counted under that from then on. All of it takes a time that does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from ..answering.context import Counters, ServerContext
from ..answering.rate_limit import peer_key
from ..protocol.trust import Networks, ProxyHeaders, ProxyProtocol
from ..settings import Limits
from ..transport.drain import Drain, Member
from ..transport.streams import Address
from .dormitory import GUESTS, Guest, Parked
from .eviction import Evictions

QUARTER: Final = 4
LEAST_SHARE: Final = 8
"""Connections that one peer may have by default, however few there may be: a browser opens six."""


def share(limits: Limits) -> int | None:
    """How many connections one peer may have; None is as many as there may be."""
    if limits.max_connections_per_peer == 0:
        return max(LEAST_SHARE, limits.max_connections // QUARTER)
    return limits.max_connections_per_peer


LOOPBACK_64: Final = peer_key("::1")


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Whether an address, or a key of :func:`peer_key`, is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == LOOPBACK_64


class Places:
    """The places of a listener.

    Args:
        limits: how many there are.
        trusted: networks of proxies.
        members: gives the connections that there are.
        evict_idle: whether connections that wait for their next request make room for others.
        counters: where evictions are counted.

    Attributes:
        left: told when one has left, if anybody wants to know.
    """

    left: Callable[[], None] | None = None

    def __init__(
        self,
        limits: Limits,
        trusted: Sequence[Networks],
        members: Callable[[], Iterable[Guest]],
        *,
        evict_idle: bool,
        counters: Counters,
    ) -> None:
        self._most = limits.max_connections
        self._share = share(limits)
        self._spares_loopback = limits.max_connections_per_peer == 0
        self._trusted = trusted
        self._members = members
        self._idle = evict_idle
        self._keys: dict[object, str] = {}
        self._counts: dict[str, int] = {}
        self._own: dict[str, Evictions] = {}  # of peers that have, or had, their share
        self._all = Evictions(members if evict_idle else self._beyond, idle=evict_idle)
        self._counters = counters

    def refusal(self, peer: Address, present: int) -> str | None:
        """Why another connection of ``peer`` cannot have a place, when ``present`` have one; None when it can.

        If need be it takes one away from somebody else.
        """
        key = self._key(peer)
        if key is not None and self._has_share(key):
            return None if self._make_room(self._own_of(key)) else "max_connections_per_peer"
        if present < self._most or self._make_room(self._all):
            return None
        return "max_connections"

    def has_room(self, peer: Address) -> bool:
        """Whether another connection of ``peer`` is within its share; takes nothing from anybody."""
        key = self._key(peer)
        return key is None or not self._has_share(key)

    def enter(self, member: object, peer: Address) -> None:
        """Counts a connection, until :meth:`leave`."""
        if (key := self._key(peer)) is not None:
            self._keys[member] = key
            self._counts[key] = self._counts.get(key, 0) + 1

    def move(self, member: object, peer: Address) -> bool:
        """Counts a connection under another address from now on; False when that has its share."""
        key = self._key(peer)
        another = key is not None and key != self._key_of(member)
        if key is not None and another and self._has_share(key) and not self._make_room(self._own_of(key)):
            return False
        self.leave(member)
        self.enter(member, peer)
        return True

    def leave(self, member: object) -> None:
        """Counts a connection no more; harmless when it is not counted."""
        if isinstance(member, GUESTS):
            self._all.forget(member)
        key = self._take_key(member)
        if key is None:
            return
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
            if key in self._own and isinstance(member, GUESTS):
                self._own[key].forget(member)
        else:
            del self._counts[key]
            self._own.pop(key, None)

    def replace(self, member: Guest, successor: Guest) -> None:
        """Counts another in the place of one that was counted."""
        self._all.replace(member, successor)
        key = self._take_key(member)
        if key is not None:
            if isinstance(successor, Parked):
                successor.place = key
            else:
                self._keys[successor] = key
            if key in self._own:
                self._own[key].replace(member, successor)

    def _key_of(self, member: object) -> str | None:
        """What a member is counted under; a slot keeps that itself, for a row of a table would be twice as much."""
        return member.place if isinstance(member, Parked) else self._keys.get(member)

    def _take_key(self, member: object) -> str | None:
        if not isinstance(member, Parked):
            return self._keys.pop(member, None)
        key, member.place = member.place, None
        return key

    def _key(self, peer: Address) -> str | None:
        if self._share is None or isinstance(peer, str):
            return None
        if self._trusted and any(each.holds(peer) for each in self._trusted):
            return None
        return peer_key(peer[0])

    def _has_share(self, key: str) -> bool:
        """Whether a peer has what it may have."""
        if self._share is None or self._counts.get(key, 0) < self._share:
            return False
        return not (self._spares_loopback and is_loopback(key))

    def _own_of(self, key: str) -> Evictions:
        found = self._own.get(key)
        if found is None:
            found = self._own[key] = Evictions(lambda: self._those_of(key), idle=self._idle)
        return found

    def _those_of(self, key: str) -> Iterator[Guest]:
        return (conn for conn in self._members() if self._key_of(conn) == key)

    def _beyond(self) -> Iterator[Guest]:
        """Those whose peers have more than their share: the loopback's, by default."""
        keys = {key for key, count in self._counts.items() if self._share is not None and count > self._share}
        return (conn for conn in self._members() if self._key_of(conn) in keys) if keys else iter(())

    def _make_room(self, evictions: Evictions) -> bool:
        made = evictions.make_room()
        self._counters.evicted += made
        return made


class Roll(Drain):
    """A drain whose members have places, and give them up when they leave."""

    __slots__ = ("places",)

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def leave(self, member: Member) -> None:
        """Removes a member; harmless when it is gone."""
        super().leave(member)
        self.places.leave(member)
        if self.places.left is not None:
            self.places.left()

    def replace(self, member: Member, successor: Member) -> None:
        """As any drain's, and the place goes with it."""
        super().replace(member, successor)
        if isinstance(member, GUESTS) and isinstance(successor, GUESTS):
            self.places.replace(member, successor)


def share_out(
    context: ServerContext,
    proxies: Iterable[ProxyProtocol | ProxyHeaders | None],
    members: Callable[[], Iterable[Guest]],
    *,
    evict_idle: bool,
) -> Places:
    """The places of a listener, whose drain is the roll of those that have one; arguments as for :class:`Places`."""
    trusted = [each.networks for each in proxies if each is not None]
    context.places = places = Places(context.limits, trusted, members, evict_idle=evict_idle, counters=context.counters)
    context.drain = Roll(places)
    return places
