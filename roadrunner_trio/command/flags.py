"""The flags of the command: the table of settings as ``argparse`` has it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

from ..transport.stdio import tell
from .kinds import SWITCH
from .setting_table import APP, ELSEWHERE, GROUPS, OPTIONS, SERVING, Option, instead

SPELLED: Final = "spelled"
"""Where the namespace keeps how the flag of each setting was typed, by its destination."""


class Parser(argparse.ArgumentParser):
    """One whose words may find no reader, as all that is told here."""

    def _print_message(self, message: str, file: Any = None) -> None:
        tell(message, to="stdout" if file is sys.stdout else "stderr")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the application and every setting. What is not given stays absent: defaults live in the table alone."""
    about_app = f"{APP.help} (default {APP.note})"
    parser.add_argument(APP.dest, nargs="?", metavar=APP.kind.metavar, help=about_app, default=argparse.SUPPRESS)
    for group, about in GROUPS.items():
        titled = parser if group == SERVING else parser.add_argument_group(group, about or None)
        for option in OPTIONS:
            if option.group == group:
                _add(titled.add_argument, option)
    for name in ELSEWHERE:
        parser.add_argument(f"--{name}", nargs="?", action=_Refuse, help=argparse.SUPPRESS)


def _add(add: Callable[..., argparse.Action], option: Option) -> None:
    help = option.help + (f" (default {option.shown})" if option.shown else "")
    known: dict[str, Any] = {"dest": option.dest, "help": help.replace("%", "%%"), "default": argparse.SUPPRESS}
    short = [alias for alias in option.aliases if not alias.startswith("--")]
    long = [alias for alias in option.aliases if alias.startswith("--")]
    if option.kind is SWITCH:
        known["action"] = _Switch
    else:
        known |= {"type": option.kind.parse, "metavar": option.kind.metavar}
        known["action"] = _Append if option.kind.many else _Store
    add(*short, option.flag, *long, **known)


def spelled(chosen: argparse.Namespace, option: Option) -> str:
    """The flag of a setting as it was typed: ``--keep-alive``, ``-b``, ``--no-access-log``."""
    typed: dict[str, str] = getattr(chosen, SPELLED, {})
    return typed.get(option.dest, option.flag)


def _keep_spelling(namespace: argparse.Namespace, dest: str, flag: str | None) -> None:
    setattr(namespace, SPELLED, {**getattr(namespace, SPELLED, {}), dest: flag})


class _Store(argparse.Action):
    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        setattr(namespace, self.dest, values)
        _keep_spelling(namespace, self.dest, flag)


class _Append(argparse.Action):
    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, []), values])
        _keep_spelling(namespace, self.dest, flag)


class _Switch(argparse.BooleanOptionalAction):
    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        super().__call__(parser, namespace, values, flag)
        _keep_spelling(namespace, self.dest, flag)


class _Refuse(argparse.Action):
    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        name = (flag or "").removeprefix("--")
        parser.error(f"{flag}: {instead(name, lambda option: option.flag)}")
