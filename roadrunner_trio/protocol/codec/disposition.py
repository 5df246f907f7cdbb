"""Content-Disposition of a response (RFC 6266): under which name the peer is to keep what it gets."""

from __future__ import annotations

import re
from typing import Final, cast
from urllib.parse import quote

_ATTR: Final = "!#$&+-.^_`|~"
"""What stands for itself in an extended value, beside letters and digits (RFC 8187 section 3.2.1)."""

_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_awkward = re.compile(r'[^ -~]|["%\\]')
"""What no quoted name holds: recipients differ about escapes and about ``%`` (RFC 6266 appendix D)."""


def attachment(name: str) -> bytes:
    """The value that offers content to be saved as ``name``.

    A name that everybody reads alike is quoted. Another one is percent-encoded, as UTF-8 (RFC 8187), beside a quoted
    one for those who do not know that, with ``_`` in place of each character that they might take for another.

    Raises:
        ValueError: the name is empty, ``"."`` or ``".."``, has a slash, a backslash or a control character, which would
            lead elsewhere or nowhere, or a lone surrogate.
        TypeError: it is no text.
    """
    if not isinstance(cast("object", name), str):
        raise TypeError(f"the name of a file is text, not {name!r}")
    if name in ("", ".", "..") or set("/\\") & set(name):
        raise ValueError(f"{name!r} is no name to save a file under: it has no folder, and is not empty, '.' or '..'")
    if found := _control(name):
        raise ValueError(f"the name of a file has no control character: {name!r} has {found[0]!r}")
    plain = _awkward.sub("_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe=_ATTR)}"
    return f'attachment; filename="{plain}"{extended}'.encode("ascii")
