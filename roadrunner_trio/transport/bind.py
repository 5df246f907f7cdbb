"""Addresses as people write them, made into listening sockets."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias, cast

import trio

from .unix import OwnSocket, UnixSocket, open_unix, parse_unix

Bindable: TypeAlias = str | socket.socket | trio.abc.Listener[trio.abc.Stream]
"""``"host:port"``, ``"unix:/path"``, ``"unix:@name"``, ``"fd://3"``, a bound or listening socket, a Trio listener."""

UNIX = "unix:"
FD = "fd://"

NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
UNSENT: Final = 262144
"""Octets that the kernel holds of a response beyond what is under way to the peer, where it can be told so: left to
itself it takes megabytes for every peer that does not read, and the write timeout does not see them."""

CLOSING: Final = 1.0
"""Seconds that a foreign listener may take to close."""

QUIET: Final = 60
"""Seconds without an octet, from or to a peer, after which its kernel is asked whether it is still there."""
ASKED_EVERY: Final = 15
ASKED: Final = 4
"""Questions without an answer after which the connection counts as reset: two minutes in all. The system's own
settings would take two hours and eleven minutes (tcp(7))."""
_KEEP_ALIVE: Final = {
    "TCP_KEEPIDLE": QUIET,
    "TCP_KEEPALIVE": QUIET,  # the name that macOS has for it
    "TCP_KEEPINTVL": ASKED_EVERY,
    "TCP_KEEPCNT": ASKED,
}

ABSENT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What is said of an address that this machine does not have, or of a family that it does not have."""

_descriptor = re.compile(r"fd://([0-9]{1,9})", re.ASCII).fullmatch


def listed(bind: Bindable | Sequence[Bindable]) -> list[Bindable]:
    """One or several, as a list; addresses are checked.

    Raises:
        ValueError: there is none, one is malformed, or a socket cannot listen.
        TypeError: one is nothing that could be an address; the message says what to write.
    """
    one: Any = bind
    several = isinstance(bind, Iterable) and not isinstance(bind, str | bytes)
    items: list[Any] = list(one) if several else [one]
    if not items:
        raise ValueError("a listener needs at least one address")
    if [type(item) for item in items] == [str, int]:
        raise TypeError(f"bind is no pair of host and port; write bind='{items[0]}:{items[1]}'")
    for item in items:
        if isinstance(item, str):
            check_address(item)
        elif isinstance(item, socket.socket):
            _check_socket(item)
        elif not isinstance(item, trio.abc.Listener):
            raise TypeError(f"bind is an address such as '127.0.0.1:8000', not {item!r}{_instead(item)}")
    return items


def _check_socket(sock: socket.socket) -> None:
    if sock.fileno() < 0:
        raise ValueError(f"bind is a socket that has been closed: {sock!r}")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"bind is no stream socket: {sock!r}; it needs socket.SOCK_STREAM")


def _instead(item: object) -> str:
    """What to write for something that is no address, if one can guess."""
    if isinstance(item, int) and 0 <= item <= 65535 and not isinstance(item, bool):
        return f"; write bind='127.0.0.1:{item}', or ':{item}' for all addresses"
    if isinstance(item, bytes):
        return f"; write bind={item.decode('latin-1')!r}"
    if isinstance(item, os.PathLike):
        return f"; write bind={UNIX + str(cast('object', item))!r}"
    if isinstance(item, trio.socket.SocketType):
        return "; write bind=trio.SocketListener(...) of it"
    return ""


def check_address(text: str) -> None:
    """Looks whether an address is well-formed; whether it can be had is seen when it is opened.

    Raises:
        ValueError: it is not; the message says what would be right.
    """
    if text.startswith(UNIX):
        parse_unix(text.removeprefix(UNIX))
    elif text.startswith(FD):
        parse_descriptor(text)
    else:
        parse_address(text)


def parse_descriptor(text: str) -> int:
    """The number in ``"fd://3"``.

    Raises:
        ValueError: there is none.
    """
    found = _descriptor(text)
    if found is None:
        raise ValueError(f"{text!r} is no file descriptor; write fd:// and its number, such as fd://3")
    return int(found[1])


def parse_address(text: str) -> tuple[str | None, int]:
    """Host and port of ``"host:port"``; the host is None for ``":port"``, all addresses; IPv6 stands in brackets.

    Raises:
        ValueError: it is something else; the message says what would be right.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not bracketed):
        raise ValueError(f"{text!r} is no address; write host:port, such as 127.0.0.1:8000, [::1]:8000 or :8000")
    return (host[1:-1] if bracketed else host) or None, int(port)


async def open_listeners(
    items: Sequence[Bindable], backlog: int, *, reuse_port: bool = False
) -> list[socket.socket | trio.abc.Listener[trio.abc.Stream]]:
    """Binds and listens on all of ``items``, or on none.

    Args:
        backlog: connections the kernel holds for the accept loop.
        reuse_port: share TCP ports with other processes that say so too (SO_REUSEPORT).

    Raises:
        OSError: an address cannot be had; ``filename`` says which.
    """
    opened: list[socket.socket | trio.abc.Listener[trio.abc.Stream]] = []
    try:
        for item in items:
            if isinstance(item, str):
                opened.extend(await _open(item, backlog, reuse_port))
            elif isinstance(item, socket.socket):
                opened.append(_listening(item, backlog))
            elif isinstance(item, trio.SocketListener):
                opened.append(_listening(_detached(item), backlog))
            else:
                opened.append(item)
    except BaseException:
        for listener in opened:
            if isinstance(listener, socket.socket):
                listener.close()
        raise
    return opened


async def close_listener(listener: socket.socket | trio.abc.Listener[trio.abc.Stream]) -> None:
    """Closes one, although its task has been cancelled; a foreign one has a second for that."""
    if isinstance(listener, socket.socket):
        listener.close()
    else:
        with trio.move_on_after(CLOSING, shield=True):
            await listener.aclose()


class Acceptor:
    """Accepts what waits at a listening socket.

    It asks first. Linux makes a socket and a file before it looks whether there is anything to accept, so to find
    nothing costs ten microseconds, and to ask half of one; and whoever accepts until nothing is left, or has neighbours
    who are woken as well, finds nothing about as often as something.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ask = None
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            self._ask = poll.poll

    def waits(self) -> bool:
        """Whether there may be one; what is closed says so when it is asked for it."""
        return self._ask is None or self._sock.fileno() == -1 or bool(self._ask(0))

    def __call__(self) -> tuple[socket.socket, Any] | None:
        """The next, with its peer's address; None when there is none.

        Raises:
            OSError: as accept(2); also when the socket has been closed.
        """
        if not self.waits():
            return None
        try:
            return self._sock.accept()
        except BlockingIOError:
            return None


def _detached(listener: trio.SocketListener) -> socket.socket:
    inner = listener.socket
    return socket.socket(inner.family, inner.type, inner.proto, fileno=inner.detach())


def _listening(sock: socket.socket, backlog: int) -> socket.socket:
    """All that is set here, accepted sockets inherit."""
    # Octets stay where they were sent: a reader that leaves out the urgent ones sees another message than its
    # neighbours do (RFC 6093 section 6).
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, True)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # small responses are not held back
        if NOTSENT_LOWAT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, UNSENT)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):  # else whoever opened it has chosen
            _keep_alive(sock)
    sock.setblocking(False)
    sock.listen(backlog)
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """A peer that vanished without a word is found out while its handler waits and nothing is sent (RFC 9293 section
    3.8.4)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    for name, value in _KEEP_ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def _open(address: str, backlog: int, reuse_port: bool) -> list[socket.socket]:
    try:
        if address.startswith(UNIX):
            return [_listening(open_unix(address.removeprefix(UNIX)), backlog)]
        if address.startswith(FD):
            return [_inherited(parse_descriptor(address), backlog)]
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror or str(exc), address) from exc
    return await _open_tcp(address, backlog, reuse_port)


def _inherited(descriptor: int, backlog: int) -> socket.socket:
    """A socket that the parent process opened, as systemd does from descriptor 3 on; not passed on to children."""
    sock = socket.socket(fileno=descriptor)
    try:
        if sock.type != socket.SOCK_STREAM:
            raise OSError(errno.EPROTOTYPE, "it is no stream socket")
        sock.set_inheritable(False)
        return _listening(sock, backlog)
    except OSError:
        sock.detach()  # it was not ours to close
        raise


def adopted(address: str, descriptor: int) -> socket.socket:
    """A socket that this process, or the program that it was before, has opened on ``address``."""
    if address.startswith(UNIX) and (where := parse_unix(address.removeprefix(UNIX))).mode is not None:
        return UnixSocket.adopt(descriptor, where.path)
    return socket.socket(fileno=descriptor)


async def _open_tcp(address: str, backlog: int, reuse_port: bool) -> list[socket.socket]:
    host, port = parse_address(address)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror or str(exc), address) from exc
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, kind, proto, _, where in dict.fromkeys(found):
            at = port or (sockets[0].getsockname()[1] if sockets else 0)
            try:
                sockets.append(_bound(family, kind, proto, (where[0], at, *where[2:]), reuse_port))
            except OSError as exc:
                if exc.errno not in ABSENT:
                    raise
                absent = exc  # of a name that has several addresses, one may do: containers without IPv6 know ::1
        if absent is not None and not sockets:
            raise absent
        return [_listening(sock, backlog) for sock in sockets]
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise OSError(exc.errno, os.strerror(exc.errno or 0), address) from exc


def _bound(family: int, kind: int, proto: int, where: tuple[object, ...], reuse_port: bool) -> socket.socket:
    sock = OwnSocket(family, kind, proto)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        sock.bind(where)
    except BaseException:
        sock.close()
        raise
    return sock
