"""The name of a host, one and no other: a socket that speaks both protocols calls IPv4 by a name of IPv6."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Final

MAPPED: Final = "::ffff:"


def unmapped(host: str) -> str:
    """An IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2) as itself; any other host as it is.

    Args:
        host: in lower case and shortest form, as systems and :mod:`ipaddress` write it.
    """
    if not host.startswith(MAPPED):
        return host
    try:
        address = IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return str(address) if address else host
