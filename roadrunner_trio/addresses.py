"""The name of a host, one and no other: a socket that speaks both protocols calls IPv4 by a name of IPv6; and a name
that leads nowhere but here, which a page of somebody else's site cannot have."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

MAPPED: Final = "::ffff:"
NOWHERE_ELSE: Final = ("localhost", "test")
"""Names that are nobody's in public, nor are those below them (RFC 6761)."""


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


def host_of(field: str) -> str:
    """The name in a Host field, in lower case and without the port."""
    name, colon, port = field.rpartition(":")
    return (name if colon and port.isdigit() else field).lower()


def names_this_machine(host: str) -> bool:
    """Whether a name, as of :func:`host_of`, can be nothing but this machine's; ``""``, for none, can.

    A page from a name of its own can have that lead to a loopback address, once it is loaded: then it reads whatever is
    answered here (DNS rebinding).
    """
    if not host or host.rpartition(".")[2] in NOWHERE_ELSE:
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
