"""A traceback whose lines are its own: what stands in the message of an exception cannot add one.

The shape is Python's. The words in it, of the exception and of all that it came from or holds, pass a function first:
what a peer sent and a handler put into its ``ValueError`` would else end the line and begin another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from traceback import TracebackException
from typing import cast

from .printable import one_line, visible


def traceback_lines(exc: BaseException) -> list[str]:
    """The traceback of ``exc``, with its causes and groups, for a log of text: nothing in its lines is hidden."""
    return [visible(line) for line in traceback_text(exc, one_line).split("\n")]


def traceback_text(exc: BaseException, tame: Callable[[str], str]) -> str:
    """The traceback of ``exc``, with its causes and groups, without a last line end.

    Args:
        tame: what becomes of each message, note and piece of somebody's source code.
    """
    whole = TracebackException.from_exception(exc)
    for each in _all(whole):
        _tame(each, tame)
    return "".join(whole.format()).rstrip("\n")


def _all(whole: TracebackException) -> Iterator[TracebackException]:
    waiting = [whole]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += filter(None, (each.__cause__, each.__context__, *(each.exceptions or ())))


def _tame(each: TracebackException, tame: Callable[[str], str]) -> None:
    parts = vars(each)  # there is no other way to the message: an exception may make a new one each time it is asked
    parts["_str"] = tame(parts["_str"])
    for name in ("msg", "text", "filename"):  # of a SyntaxError, as from reading what a peer sent as a literal
        if isinstance(part := parts.get(name), str):
            parts[name] = tame(part.rstrip("\n"))
    notes = cast("object", each.__notes__)  # an application may put there what it likes
    if notes is not None:
        listed = cast("list[object]", notes) if isinstance(notes, list) else [notes]
        each.__notes__ = [tame(_text(note)) for note in listed]


def _text(note: object) -> str:
    try:
        return str(note)
    except Exception:
        return "<note str() failed>"
