"""Addresses as people write them, made into listening sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TypeAlias

import trio

Bindable: TypeAlias = str | socket.socket | trio.abc.Listener[trio.abc.Stream]
"""``"host:port"``, a bound or listening socket, or a Trio listener."""


def listed(bind: Bindable | Sequence[Bindable]) -> list[Bindable]:
    """One or several, as a list; addresses are checked.

    Raises:
        ValueError: there is none, or one is malformed.
    """
    items = [bind] if isinstance(bind, str | socket.socket | trio.abc.Listener) else list(bind)
    if not items:
        raise ValueError("a listener needs at least one address")
    for item in items:
        if isinstance(item, str):
            parse_address(item)
    return items


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
    items: Sequence[Bindable], backlog: int
) -> list[socket.socket | trio.abc.Listener[trio.abc.Stream]]:
    """Binds and listens on all of ``items``, or on none.

    Raises:
        OSError: an address cannot be had; ``filename`` says which.
    """
    opened: list[socket.socket | trio.abc.Listener[trio.abc.Stream]] = []
    try:
        for item in items:
            if isinstance(item, str):
                opened.extend(await _open_tcp(item, backlog))
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


def _detached(listener: trio.SocketListener) -> socket.socket:
    inner = listener.socket
    return socket.socket(inner.family, inner.type, inner.proto, fileno=inner.detach())


def _listening(sock: socket.socket, backlog: int) -> socket.socket:
    sock.setblocking(False)
    sock.listen(backlog)
    return sock


async def _open_tcp(address: str, backlog: int) -> list[socket.socket]:
    host, port = parse_address(address)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror or str(exc), address) from exc
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, where in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, proto)
            except OSError:
                continue  # a family the machine does not have, such as IPv6 in some containers
            sockets.append(sock)
            _bind(sock, where, port or (sockets[0].getsockname()[1] if len(sockets) > 1 else 0))
            _listening(sock, backlog)
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise OSError(exc.errno, os.strerror(exc.errno or 0), address) from exc
    if not sockets:
        raise OSError(0, "no address family for it on this machine", address)
    return sockets


def _bind(sock: socket.socket, where: tuple[object, ...], port: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    sock.bind((where[0], port, *where[2:]))
