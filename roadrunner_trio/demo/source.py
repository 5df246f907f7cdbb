"""The source of a handler as HTML: escaped, and coloured by Python's own tokenizer."""

from __future__ import annotations

import inspect
import io
import keyword
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, Final

SOFT: Final = frozenset({"match", "case"})
DEEPEST: Final = 6
"""Levels that the page has a style for."""
STRINGS: Final = frozenset({"STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"})


def source_as_html(*functions: Callable[..., Any]) -> str:
    """The source of ``functions``, one after another, with ``<span class="k|s|c|n|d">`` around what has a colour.

    k keyword, s string, c comment, n number, d the name being defined. Each line is a ``<span class="l i0">``, with its
    level in place of the 0: what does not fit goes on below its beginning, and not at the margin.

    Raises:
        OSError: the source is not at hand.
    """
    source = "\n\n".join("".join(_coloured(textwrap.dedent(inspect.getsource(each)))) for each in functions)
    return "".join(map(_line, source.rstrip("\n").split("\n")))


def _line(line: str) -> str:
    margin = re.match("(?:<[^>]*>)?( *)", line)  # a string that has begun above has its colour before it
    level = min(len(margin[1]) // 4, DEEPEST) if margin else 0
    return f'<span class="l i{level}">{line}\n</span>'


def _coloured(source: str) -> Iterator[str]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    done, before = 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        begin, end = starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
        kind = _kind(token, before)
        before = token.string
        if kind and begin >= done:
            lines = (f'<span class="{kind}">{escape(line)}</span>' for line in source[begin:end].split("\n"))
            yield escape(source[done:begin]) + "\n".join(lines)
            done = end
    yield escape(source[done:])


def _kind(token: tokenize.TokenInfo, before: str) -> str:
    name = tokenize.tok_name[token.type]
    if name in STRINGS:
        return "s"
    if name in ("COMMENT", "NUMBER"):
        return name[0].lower()
    if name != "NAME":
        return ""
    if before == "def":
        return "d"
    starts_statement = token.line.strip().startswith(token.string + " ")
    return "k" if keyword.iskeyword(token.string) or (token.string in SOFT and starts_statement) else ""
