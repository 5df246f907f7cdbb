"""Whom to believe: networks of peers, and how far back along a chain of proxies their word reaches.

A proxy's word is taken only where its address is on a list that the operator wrote. A chain is walked from the right,
where the nearest proxy wrote, and ends at the first address that is not on the list: it was written by one that is,
and what stands to its left may be anybody's invention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple, TypeAlias

from ..errors import ProtocolError
from ..fields import Fields
from .codec.forwarded import Node, members, parse_forwarded, parse_x_forwarded_for
from .http1.head import is_authority

Peer: TypeAlias = tuple[str, int] | str
"""Host and port, or a word for a peer without an address, as in ``roadrunner_trio.transport.streams``."""

WORDS: Final = frozenset({"unix", "memory"})
"""What a list of networks may hold beside networks: peers on Unix sockets, peers in memory (in tests)."""
_PATHS: Final = ("/", "@")

FORWARDED: Final = "forwarded"
X_FORWARDED: Final = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Networks:
    """A set of networks.

    Args:
        networks: such as ``"10.0.0.0/8"``, ``"2001:db8::/32"``, ``"192.0.2.1"``; ``"unix"`` is every peer on a Unix
            socket. IPv4 mapped into IPv6 is IPv4, here and in peers.

    Raises:
        ValueError: one is no network, or has bits set below its mask; or there is none.
    """

    def __init__(self, networks: str | Iterable[str]) -> None:
        self.names = (networks,) if isinstance(networks, str) else tuple(networks)
        if not self.names:
            raise ValueError("a list of networks to trust needs at least one; 0.0.0.0/0 and ::/0 are everybody")
        self._words = WORDS.intersection(self.names)
        self._networks = [_network(name) for name in self.names if name not in WORDS]
        self._look_up = lru_cache(4096)(self._holds_address)  # the same few proxies, again and again

    def __repr__(self) -> str:
        return f"Networks({self.names!r})"

    def holds(self, peer: Peer) -> bool:
        """Whether ``peer`` is in one of them."""
        if isinstance(peer, tuple):
            return self._look_up(peer[0])
        return peer in self._words or ("unix" in self._words and peer.startswith(_PATHS))

    def _holds_address(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _network(name: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(name)
    except ValueError as exc:
        raise ValueError(f"{exc}; write 10.0.0.0/8, 2001:db8::/32, 192.0.2.1 or unix") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and (mapped := network.network_address.ipv4_mapped):
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


class ProxyProtocol:
    """Peers that begin every connection with a PROXY header.

    A connection from one of ``networks`` has to begin with a header of version 1 or 2, and is closed without a word
    when it does not. Anybody else is served as who they are, and a header from them is a bad request like any other.

    Args:
        networks: such as ``"10.0.0.0/8"``, ``"2001:db8::/32"``, ``"192.0.2.1"``; ``"unix"`` is every peer on a Unix
            socket.

    Raises:
        ValueError: one is no network, or has bits set below its mask; or there is none.
    """

    def __init__(self, networks: str | Iterable[str]) -> None:
        self.networks = Networks(networks)

    def __repr__(self) -> str:
        return f"ProxyProtocol({self.networks.names!r})"

    def trusts(self, peer: Peer) -> bool:
        """Whether a header is due from ``peer``."""
        return self.networks.holds(peer)


class Origin(NamedTuple):
    """Where a request came from, as trusted proxies tell it; None for what they do not."""

    peer: Peer | None = None
    scheme: str | None = None
    host: bytes | None = None


class ProxyHeaders:
    """Proxies whose word on a request's origin is taken from its fields.

    Args:
        networks: the proxies, written as for :class:`ProxyProtocol`.
        fields: which fields they write: ``("forwarded",)``, or some of ``x-forwarded-for``, ``x-forwarded-proto`` and
            ``x-forwarded-host``. Name only those that *every* one of the proxies sets or appends to: any other comes
            from the peer as it wrote it.

    Raises:
        ValueError: as :class:`ProxyProtocol`; or ``fields`` is none of these.
    """

    def __init__(
        self, networks: str | Iterable[str], fields: Sequence[str] = ("x-forwarded-for", "x-forwarded-proto")
    ) -> None:
        self.networks = Networks(networks)
        self.fields = (fields,) if isinstance(fields, str) else tuple(name.lower() for name in fields)
        if self.fields != (FORWARDED,) and not (self.fields and set(self.fields) <= set(X_FORWARDED)):
            raise ValueError(f"fields are ('forwarded',) or some of {X_FORWARDED}, not {fields!r}")

    def __repr__(self) -> str:
        return f"ProxyHeaders({self.networks.names!r}, {self.fields!r})"

    def trusts(self, peer: Peer) -> bool:
        """Whether ``peer`` is one of the proxies."""
        return self.networks.holds(peer)

    def origin(self, fields: Fields) -> Origin:
        """Where a request with ``fields`` came from, that a trusted proxy sent.

        Raises:
            ProtocolError: 400, what a trusted proxy wrote cannot be read.
        """
        try:
            origin = self._forwarded(fields) if self.fields == (FORWARDED,) else self._x_forwarded(fields)
            scheme = None if origin.scheme is None else _SCHEMES[origin.scheme.lower()]
        except (ValueError, KeyError):
            raise ProtocolError(400, "bad_forwarded") from None
        if origin.host is not None and not is_authority(origin.host):
            raise ProtocolError(400, "bad_forwarded")
        return origin._replace(scheme=scheme)

    def _forwarded(self, fields: Fields) -> Origin:
        """Each proxy outwards overrides the one before it, as it stood nearer to the peer."""
        peer: Node | None = None
        scheme: str | None = None
        host: str | None = None
        for line in reversed(_values(fields, FORWARDED)):
            for element in reversed(parse_forwarded(line)):
                scheme, host = element.proto or scheme, element.host or host
                if element.for_ is not None:
                    peer = element.for_
                if element.for_ is None or not self._relays(element.for_):
                    return Origin(peer, scheme, _octets(host))
        return Origin(peer, scheme, _octets(host))

    def _x_forwarded(self, fields: Fields) -> Origin:
        chain = parse_x_forwarded_for(self._listed(fields, "x-forwarded-for"))
        peer: Node | None = None
        hops = 0
        for peer in reversed(chain):
            hops += 1
            if not self._relays(peer):
                break
        scheme = _said_by(members(self._listed(fields, "x-forwarded-proto")), hops)
        host = _said_by(members(self._listed(fields, "x-forwarded-host")), hops)
        return Origin(peer, scheme, _octets(host))

    def _listed(self, fields: Fields, name: str) -> list[str]:
        return _values(fields, name) if name in self.fields else []

    def _relays(self, node: Node) -> bool:
        return isinstance(node, tuple) and self.networks.holds(node)  # a word in a field is nobody we know


def _values(fields: Fields, name: str) -> list[str]:
    wanted = name.encode()
    return [value.decode("latin-1") for field, value in fields if field == wanted]


def _said_by(values: Sequence[str], hops: int) -> str | None:
    """What the proxy ``hops`` away said: its own member of a list, or the only one, if the others replace it."""
    return values[-min(max(hops, 1), len(values))] if values else None


def _octets(host: str | None) -> bytes | None:
    return None if host is None else host.encode("latin-1")
