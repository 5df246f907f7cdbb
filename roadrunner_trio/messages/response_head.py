"""What all kinds of response have in common: a status, fields, and cookies among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ..errors import phrase
from ..fields import Field, FieldsLike, Own, encoded
from ..protocol.http1.encode import status_line
from .around import Surround

if TYPE_CHECKING:  # not every application has cookies
    from datetime import datetime, timedelta

    from ..protocol.codec.cookies import SameSite


class CookieAttributes(TypedDict, total=False):
    """See :meth:`Response.set_cookie`."""

    max_age: float | timedelta | None
    expires: datetime | None
    path: str | None
    domain: str | None
    secure: bool
    httponly: bool
    samesite: SameSite | None
    partitioned: bool


class ResponseHead:
    """What all kinds of response have in common.

    A middleware may change what a response has. It is looked at once more when it is written, and what cannot be said
    then is an error of the application, before an octet is out.

    Attributes:
        status: 200 to 599.
        fields: a list of pairs, lower-case name and value, bytes.
        reason: a reason phrase in place of the standard one, bytes, or None; only HTTP/1 has it.
        around: what is put around the exchange when the response is written, for middlewares that change what goes out;
            of a :class:`Response` they change the content instead.
    """

    reason: bytes | None = None
    around: Surround | None = None

    def __init__(self, status: int, fields: FieldsLike, reason: str | None = None) -> None:
        if type(status) is not int:
            status = number_of(status)
        if not 200 <= status <= 599:
            raise ValueError(f"a response needs a final status from 200 to 599, not {status}")  # N24
        self.status = status
        self.fields: list[Field] = fields if type(fields) is Own else encoded(fields)
        if reason is not None:
            self.reason = text_of("a reason phrase", reason).encode("latin-1")
            status_line(self.status, self.reason)  # raises ValueError now, not when it is written

    def set_cookie(self, name: str, value: str, **attributes: Unpack[CookieAttributes]) -> None:
        """Adds a cookie, in place of an earlier one with its name, domain and path.

        Without attributes it is ``Path=/; Secure; HttpOnly; SameSite=Lax``, for as long as the browser runs. Browsers
        take one that is ``Secure`` over plain HTTP from localhost alone; elsewhere say ``secure=False``.

        Args:
            name: a token. ``__Host-`` before it keeps other hosts of the domain from setting it.
            value: what a cookie may hold: no blanks, quotes, commas, semicolons, and ASCII alone.
            attributes: ``max_age`` in seconds or a timedelta, ``expires`` with a time zone, ``path``, ``domain``,
                ``secure``, ``httponly``, ``samesite``, ``partitioned``.

        Raises:
            ValueError: a part could be read as something else, or browsers would drop it.
            TypeError: name or value is no text.
        """
        from ..protocol.codec.cookies import same_cookie, write_cookie

        cookie = write_cookie(name, value, **attributes)
        kept = [field for field in self.fields if not (field[0] == b"set-cookie" and same_cookie(field[1], cookie))]
        self.fields = [*kept, (b"set-cookie", cookie)]

    def delete_cookie(self, name: str, **attributes: Unpack[CookieAttributes]) -> None:
        """Has the browser drop a cookie. Path and domain have to be those it was set with, and so has ``partitioned``.

        Raises:
            ValueError, TypeError: as :meth:`set_cookie`.
        """
        from ..protocol.codec.cookies import LONG_AGO

        attributes["max_age"], attributes["expires"] = 0, LONG_AGO
        self.set_cookie(name, "", **attributes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {phrase(self.status)}>"


def text_of(what: str, given: Any) -> str:
    """``given``, which is text.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(given, str):
        raise TypeError(f"{what} is text, not {given!r}")
    return given


def number_of(status: Any) -> int:
    """A status, which is a number.

    Raises:
        TypeError: it is none.
    """
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError(f"a response status is a whole number, not {status!r}")
    return int(status)
