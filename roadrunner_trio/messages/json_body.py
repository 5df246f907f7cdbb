"""A body as JSON: what a peer sent, or a 400 that says where it is none."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ..errors import HTTPError


def parse_json(body: bytes) -> Any:
    """The value (RFC 8259). UTF-8, with or without a byte order mark; ``NaN`` and infinities are no JSON.

    Raises:
        HTTPError: 400, with the place.
    """
    try:
        return _decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise HTTPError(400, f"the body is no UTF-8: octet {exc.start}") from None
    except json.JSONDecodeError as exc:
        raise HTTPError(400, f"the body is no JSON: {exc.msg}, line {exc.lineno} column {exc.colno}") from None
    except RecursionError:
        raise HTTPError(400, "the body is no JSON: it is nested too deeply") from None
    except ValueError as exc:  # a number with thousands of digits, or none
        raise HTTPError(400, f"the body is no JSON: {exc}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
