"""What an application may say in the head of a response, and what of it is the server's to decide (RFC 9110 section 6).

The framing of a response is the server's alone, in every version of HTTP: what an application puts into those fields is
a wish, and never goes out as it is. Everything else passes, once it is clear that it can be said. A version decides how
it is said, and remembers the form; nothing here renders anything, and everything here raises before an octet is out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from ..fields import FORBIDDEN_TRAILERS, Field, Fields, Name, field_name, field_value, tokens

DELIMITERS: Final = frozenset({b"content-length", b"transfer-encoding"})
"""What says where content ends."""
FRAMING_FIELDS: Final = DELIMITERS | {b"connection", b"keep-alive", b"proxy-connection"}
"""What belongs to one connection, and is never passed on."""
SPECIAL: Final = FRAMING_FIELDS | {b"date"}
"""Names that are looked at; a response without any of them is passed on as it is."""
OURS: Final = frozenset({b"close", b"keep-alive"})
"""Members of Connection that say whether the connection goes on."""
NO_OPTIONS: Final[frozenset[bytes]] = frozenset()


@dataclass(slots=True)
class Wishes:
    """What an application said about framing in its fields, apart from the fields that are passed on.

    A value, never changed; not frozen only because that would make it four times as dear.
    """

    fields: Fields
    """Those that are passed on, checked, their names in lower case."""
    dated: bool = False
    """Whether Date is among them."""
    close: bool = False
    length: int | None = None
    options: tuple[bytes, ...] = ()
    """Members of its Connection field that are passed on, such as ``upgrade`` (RFC 9110 section 7.6.1)."""


def sift(fields: Iterable[Field]) -> Wishes:
    """Parts an application's fields into what goes out and what the server decides itself.

    Raises:
        ValueError: ``content-length`` is given twice or is not a number; or as :func:`checked`.
        TypeError: as :func:`checked`.
    """
    said = checked(fields)
    names = [name for name, _ in said]
    if SPECIAL.isdisjoint(names):
        return Wishes(said)
    passed: list[Field] = []
    lengths: list[bytes] = []
    for field in said:
        name = field[0]
        if name not in FRAMING_FIELDS:
            passed.append(field)
        elif name == b"content-length":
            lengths.append(field[1])
    length = one_number(lengths) if lengths else None
    options = tokens(said, b"connection") if b"connection" in names else NO_OPTIONS
    return Wishes(tuple(passed), b"date" in names, b"close" in options, length, tuple(sorted(options - OURS)))


def one_number(lengths: list[bytes]) -> int:
    """What content-length says, from all the values of that field, of which there is one.

    Raises:
        ValueError: there are several, or it is no number.
    """
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise ValueError(f"response content-length must be one number, not {b', '.join(lengths)!r}")
    return int(lengths[0])


def checked(fields: Iterable[Field]) -> Fields:
    """Fields as they may stand in a head, whoever has changed the list since it was made.

    Names become lower case and blanks around values go, as when a response is made. But a delimiter in other letters
    has not come that way: it was put there to be sent, beside the one that the server sends.

    Raises:
        ValueError: a name is no token, a value holds a control byte, or a delimiter is spelled otherwise than in lower
            case.
        TypeError: what should be pairs of bytes is something else.
    """
    said: list[Field] = []
    for field in cast("Iterable[Any]", fields):
        try:
            given, value = field
        except (TypeError, ValueError):
            raise TypeError(f"a response field is a pair of name and value, not {field!r}") from None
        name = field_name(given)
        if name is not given and name in DELIMITERS and isinstance(name, Name):
            raise ValueError(f"response field {given!r}: where a body ends is the server's to say; use lower case")
        said.append((name, field_value(given, value)))
    return tuple(said)


def trailers(fields: Iterable[Field]) -> Fields:
    """Fields as they may stand behind a body.

    Raises:
        ValueError: one may not come so late (RFC 9110 section 6.5.1), or as :func:`checked`.
        TypeError: as :func:`checked`.
    """
    said = checked(fields)
    for name, _ in said:
        if name in FORBIDDEN_TRAILERS:
            raise ValueError(f"{name.decode('ascii')!r} may not be a trailer field")
    return said


def undelimited(fields: Iterable[Field]) -> Fields:
    """Fields of a head that no content follows: of an interim response, or before another protocol.

    Raises:
        ValueError: one of them says where content ends (RFC 9110 section 8.6, RFC 9112 section 6.1), or as
            :func:`checked`.
        TypeError: as :func:`checked`.
    """
    said = checked(fields)
    if not DELIMITERS.isdisjoint([name for name, _ in said]):
        raise ValueError("what follows this head is no content: it has no content-length and no transfer-encoding")
    return said


def bodiless(status: int, method: bytes) -> bool:
    """Whether a response has no content, whatever the application gives (RFC 9110 sections 9.3.2, 15.3.5, 15.3.6,
    15.4.5)."""
    return status in (204, 205, 304) or method == b"HEAD"


def declared(status: int, length: int | None) -> int | None:
    """The Content-Length of a bodiless response: none with 204 (RFC 9110 section 8.6), 0 with 205, which a peer would
    else wait behind (section 15.3.6); and else what the content would have had, if that is known."""
    if status == 205:
        return 0
    return None if status == 204 else length


def content(data: Any) -> bytes:
    """What an application gave as content, as octets.

    Raises:
        TypeError: it is not bytes-like; text has to be encoded first.
    """
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        raise TypeError("content is octets, not text; write text.encode()")
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"content is bytes, or what has the octets of a buffer, not {type(data).__name__}") from None
