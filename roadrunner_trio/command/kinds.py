"""The kinds of values that settings have, each read from a word and shown as one.

A kind knows three notations: the word of a flag or a variable, the value of a TOML file, and the text that gives the
value back in either.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from .options import count, duration, optional_count, optional_size, show_count, show_duration, show_size, size

TRUE: Final = frozenset({"1", "true", "yes", "on"})
FALSE: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Attributes:
        name: what a value is, for the reference: ``time``, ``size``.
        metavar: what stands for a value in the help; ``""`` for a switch, which needs none.
        parse: the value of a word; raises ``argparse.ArgumentTypeError``.
        show: TOML of a value.
        plain: the types that a TOML value may have besides a string, which is parsed.
        many: the value is a list of what ``parse`` gives.
    """

    name: str
    metavar: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str]
    plain: tuple[type, ...] = ()
    many: bool = False

    def from_word(self, word: str) -> Any:
        """The value of a variable; commas part the items of a list.

        Raises:
            argparse.ArgumentTypeError: it is none.
        """
        if self.many:
            return [self.parse(item.strip()) for item in word.split(",") if item.strip()]
        return self.parse(word)

    def from_toml(self, value: object) -> Any:
        """The value of a TOML file.

        Raises:
            argparse.ArgumentTypeError: it is none.
        """
        if self.many and isinstance(value, list):
            return [self._one(item) for item in cast("list[object]", value)]
        found = self._one(value)
        return [found] if self.many else found

    def _one(self, value: object) -> Any:
        if type(value) in self.plain:
            return self.parse(str(value)) if type(value) is not bool else value
        if isinstance(value, str) and bool not in self.plain:
            return self.parse(value)
        raise argparse.ArgumentTypeError(f"{json.dumps(value, default=str)} is no {self.name}")


def text(word: str) -> str:
    """Any word is itself."""
    return word


def switch(word: str) -> bool:
    """Yes or no.

    Raises:
        argparse.ArgumentTypeError: neither.
    """
    if word.lower() in TRUE | FALSE:
        return word.lower() in TRUE
    raise argparse.ArgumentTypeError(f"{word!r} is neither yes nor no: write true or false")


def quoted(value: object) -> str:
    """A TOML string; JSON's escapes are TOML's, too, but TOML wants one more."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def number(value: Any) -> str:
    """A TOML integer, or ``"none"``."""
    shown = show_count(value)
    return quoted(shown) if value is None else shown


def one_of(*choices: str, also: Mapping[str, str] | None = None) -> Kind:
    """A word out of few, in letters of any case.

    Args:
        also: other servers' words for them.

    Its ``parse`` raises ``argparse.ArgumentTypeError``.
    """

    def parse(word: str) -> str:
        found = (also or {}).get(word.lower(), word.lower())
        if found not in choices:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(choices)}")
        return found

    return Kind("choice of " + ", ".join(choices), "{" + ",".join(choices) + "}", parse, quoted)


def text_as(metavar: str) -> Kind:
    """A word, called so in the help."""
    return Kind("text", metavar, text, quoted)


def texts_as(metavar: str) -> Kind:
    """Several words."""
    return Kind("list of texts", metavar, text, quoted, many=True)


SWITCH: Final = Kind("switch, true or false", "", switch, quoted, (bool,))
TIME: Final = Kind("time", "TIME", duration, lambda value: quoted(show_duration(value)), (int, float))
SIZE: Final = Kind("size", "SIZE", size, lambda value: quoted(show_size(value)), (int,))
OPTIONAL_SIZE: Final = Kind("size", "SIZE", optional_size, lambda value: quoted(show_size(value)), (int,))
COUNT: Final = Kind("number", "N", count, number, (int,))
OPTIONAL_COUNT: Final = Kind("number", "N", optional_count, number, (int,))
