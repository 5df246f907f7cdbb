"""The words of ASGI: its types, how what an application says is read, and whose fault an exception of it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from ..answering.faults import leaves
from ..fields import TEXT, Field, encoded, lookup, written
from ..transport.gone import PeerGone

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""``async def app(scope, receive, send)``."""

_Given = TypeVar("_Given")
_Read = TypeVar("_Read")


class Disconnected(PeerGone, OSError):
    """What ``send`` raises when the peer has gone: an OSError, as ASGI has it, and this server's own word for it."""


class Head(NamedTuple):
    """The head of a response as an application gave it.

    Attributes:
        fields: checked, names in lower case.
        length: the content-length among them, in octets, or None.
    """

    fields: tuple[Field, ...]
    length: int | None


def head_of(headers: Iterable[Iterable[object]]) -> Head:
    """The fields of a message: any iterable of pairs of bytes.

    Raises:
        TypeError: a name or a value is not bytes.
        ValueError: they are no pairs, or a name is no token, or a value holds a control character.
    """
    # Most are the same tuples again and again; hashing what is none fails before anything is built.
    pairs = tuple(headers)
    try:
        return _known_head(pairs)
    except TypeError:
        return _read_head(pairs)


def parted(headers: Iterable[Iterable[object]]) -> Head:
    """As :func:`head_of`, with the content-length taken out of the fields, if it stands there once and is a number.

    It is what differs from response to response: all the rest is known then. Those are remembered besides in which it
    does not differ either.
    """
    pairs: tuple[Any, ...] = tuple(headers)
    try:
        if (head := _parted.get(pairs)) is None:
            head = _remember(_parted, pairs, _part(pairs))
    except (TypeError, ValueError, LookupError, AttributeError):  # they cannot be remembered, or are not right
        return _part_slowly(pairs)
    return head


_parted: Final[dict[tuple[Any, ...], Head]] = {}
_known_fields: Final[dict[tuple[Any, ...], tuple[Field, ...]]] = {}
_known_names: Final[dict[bytes, bytes]] = {}
"""What has been checked, by what was given."""
REMEMBERED: Final = 1024
"""Of each; then all are forgotten, and learned anew."""


def _remember(known: dict[_Given, _Read], given: _Given, read: _Read) -> _Read:
    if len(known) >= REMEMBERED:
        known.clear()
    known[given] = read
    return read


def _part(pairs: tuple[Any, ...]) -> Head:
    rest = tuple([pair for pair in pairs if pair[0] != b"content-length"])
    if (fields := _known_fields.get(rest)) is None:
        fields = _remember(_known_fields, rest, _with_known_names(rest))
    if len(rest) == len(pairs):
        return Head(fields, None)
    (number,) = [value for name, value in pairs if name == b"content-length"]
    if type(number) is not bytes or not number.isdigit():
        raise ValueError("no number: whoever looks more closely says what else it is")
    return Head(fields, int(number))


def _with_known_names(pairs: tuple[Any, ...]) -> tuple[Field, ...]:
    """Fields whose names are known, as nearly all are: the values are checked at once, a third of what they cost one by
    one. Raises something where that cannot be done."""
    fields = tuple([(_known_names[name], value.strip(b" \t")) for name, value in pairs])
    if b"".join([value for _, value in fields]).translate(None, TEXT):
        raise ValueError("there is what no field holds")
    return fields


def _part_slowly(pairs: tuple[Any, ...]) -> Head:
    fields, length = head_of(pairs)
    for name, _ in fields:  # here, for what is known there may have been forgotten here
        if name != b"content-length":  # which is known by its name in lower case, and goes this way in any other
            _remember(_known_names, written(name), name)
    rest = tuple([field for field in fields if field[0] != b"content-length"])
    if length is not None and len(rest) == len(fields) - 1:
        return Head(rest, length)
    return Head(fields, None)  # without one, or with what whoever writes the head refuses


def _read_head(pairs: tuple[Iterable[object], ...]) -> Head:
    fields: list[Field] = []
    for name, value in pairs:
        if type(name) is not bytes or type(value) is not bytes:
            name, value = octets_of(name, "a header name"), octets_of(value, "a header value")
        fields.append((name, value))
    checked = tuple(encoded(fields))
    length = lookup(checked, b"content-length")
    return Head(checked, int(length) if length is not None and length.isdigit() else None)


_known_head = lru_cache(maxsize=256)(_read_head)


def octets_of(value: object, what: str) -> bytes:
    """``value``, anything bytes-like, as bytes.

    Raises:
        TypeError: it is something else; str has no octets until somebody has chosen an encoding.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(cast("bytearray | memoryview", value))
    raise TypeError(f"{what} is bytes, not {type(value).__name__}")


def status_of(message: Message) -> int:
    """The status of a start message.

    Raises:
        KeyError: it has none.
        ValueError: it is not final: 200 to 599.
    """
    status: Any = message["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"a response needs a final status from 200 to 599, not {status!r}")
    return int(status)


def unexpected(kind: object, state: str) -> RuntimeError:
    """What is raised for a message that does not come now, or that there is not."""
    return RuntimeError(f"{kind!r} cannot be sent {state}")


# -- whose fault -------------------------------------------------------------------------------------


def is_peers_doing(exc: BaseException) -> bool:
    """Whether an exception of an application that had been told of its peer's end only passes that on.

    So does one that is this server's own, or came of one of those, or is called after a disconnect: Starlette's
    ``ClientDisconnect`` and ``WebSocketDisconnect``, and what other frameworks have in their place.
    """
    return all(
        "disconnect" in type(leaf).__name__.lower() or any(isinstance(each, PeerGone) for each in chain(leaf))
        for leaf in leaves(exc)
    )


def chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it came of."""
    seen: set[int] = set()
    waiting = [exc]
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [before for before in (each.__cause__, each.__context__) if before is not None]
