"""Variables in a file: lines of ``NAME=value``, as they are written for shells, containers and systemd.

A value may stand in quotes, and go on over lines in them. In double quotes ``\\n``, ``\\"`` and ``\\\\`` mean what they
do elsewhere; nothing is ever put in for a ``$``. What stands behind `` #`` is a comment, and so is a line that begins
with one. The process's own variables win.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_entry = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*"""
    r"""(?:'(?P<raw>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"\n][^\n]*|))[ \t]*(?:\#[^\n]*)?(?:\n|$)""",
    re.DOTALL,
).match
_nothing = re.compile(r"[ \t]*(?:\#[^\n]*)?(?:\r?\n|$)").match
_comment = re.compile(r"[ \t]+\#.*|[ \t\r]+$")
ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def with_file(path: str | None, variables: Mapping[str, str]) -> dict[str, str]:
    """``variables``, and those of the file that are not among them.

    Raises:
        ValueError: there is no such file, or a line in it is none of this.
    """
    if path is None:
        return dict(variables)
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"--env-file {path}: {exc.strerror if isinstance(exc, OSError) else exc}") from None
    return {**dict(_entries(text.replace("\r\n", "\n"), path)), **variables}


def _entries(text: str, path: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        if (blank := _nothing(text, at)) is not None:
            at = blank.end()
        elif (entry := _entry(text, at)) is not None and "\0" not in entry[0]:
            yield entry["name"], _value(entry)
            at = entry.end()
        else:
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"--env-file {path}, line {line}: this is no NAME=value")


def _value(entry: re.Match[str]) -> str:
    if entry["raw"] is not None:
        return entry["raw"]
    if entry["quoted"] is not None:
        return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), entry["quoted"], flags=re.DOTALL)
    return _comment.sub("", entry["bare"])
