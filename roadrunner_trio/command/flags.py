"""The flags of the command: the table of settings as ``argparse`` has it."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from ..transport.stdio import tell
from .borrowed import ALIASES, HARMLESS, REFUSED, SHORT, Alias, instead
from .kinds import SWITCH, switch
from .setting_table import APP, BY_NAME, GROUPS, OPTIONS, SERVING, Option

SPELLED: Final = "spelled"
"""Where the namespace keeps how the flag of each setting was typed, by its destination."""
REFUSALS: Final = "refusals"
"""And what there is to say of flags of other servers: all of it at once, who brings one brings several."""


class Parser(argparse.ArgumentParser):
    """One whose words may find no reader, as all that is told here."""

    def _print_message(self, message: str, file: Any = None) -> None:
        tell(message, to="stdout" if file is sys.stdout else "stderr")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Tells who left out the command that there is one."""
        if action.nargs == argparse.PARSER and action.choices is not None and value not in action.choices:
            what = f"{value!r} is no command; there are {', '.join(map(str, action.choices))}"
            meant = ":" in value or value.endswith(".py") or os.path.exists(value)
            raise argparse.ArgumentError(None, f"{what}: write {self.prog} serve {value}" if meant else what)
        super()._check_value(action, value)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Raises ValueError for a word that is no value: it is as wrong in a variable or a file, and ends as there."""
        if callable(action.type):
            try:
                return action.type(arg_string)
            except argparse.ArgumentTypeError as exc:
                flag = next(each for each in action.option_strings if each.startswith("--"))
                raise ValueError(f"{flag}: {exc}") from None
        return super()._get_value(action, arg_string)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # it is overloaded
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Refuses what it does not know by itself, so that the command that was meant says so."""
        chosen, unknown = super().parse_known_args(args, namespace)
        wrong: list[str] = [*getattr(chosen, REFUSALS, [])]
        if unknown:
            told = [action for action in self._actions if action.help != argparse.SUPPRESS]
            ours = [flag for action in told for flag in action.option_strings]
            close = difflib.get_close_matches(unknown[0].partition("=")[0], ours, 1, 0.7)
            wrong.append(f"{unknown[0]} is not known here" + (f": did you mean {close[0]}?" if close else ""))
        if wrong:
            self.error("\n  ".join(wrong))
        return chosen, unknown


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the application and every setting. What is not given stays absent: defaults live in the table alone."""
    about_app = f"{APP.help} (default {APP.note})"
    parser.add_argument(APP.dest, nargs="?", metavar=APP.kind.metavar, help=about_app, default=argparse.SUPPRESS)
    for group, about in GROUPS.items():
        titled = parser if group == SERVING else parser.add_argument_group(group, about or None)
        for option in OPTIONS:
            if option.group == group:
                _add(titled.add_argument, option)
    _borrow(parser)


def _borrow(parser: argparse.ArgumentParser) -> None:
    """What other servers have, as far as it is not ours already; the help is silent of it."""
    theirs = {*(f"--{name}" for name in (*ALIASES, *REFUSED)), *SHORT}
    ours = {flag for option in OPTIONS for flag in (option.flag, *option.aliases)}
    for flag in sorted(theirs - ours):
        name = SHORT.get(flag, flag.removeprefix("--"))
        if (alias := ALIASES.get(name)) is not None:
            _add_alias(parser, flag, alias)
        else:
            parser.add_argument(flag, nargs="?", action=_Refuse, help=argparse.SUPPRESS, default=argparse.SUPPRESS)


def _add_alias(parser: argparse.ArgumentParser, flag: str, alias: Alias) -> None:
    option = BY_NAME[alias.name]
    parser.add_argument(
        flag,
        dest=option.dest,
        type=lambda word: option.kind.parse(alias.convert(word)),
        metavar=option.kind.metavar,
        action=_Append if option.kind.many else _Store,
        help=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
    )


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
    action = add(*short, option.flag, *long, **known)
    if option.bare:
        action.nargs = "?"
        action.metavar = option.kind.metavar or "BOOL"


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
        given = [] if values is None else [values]
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, []), *given])
        _keep_spelling(namespace, self.dest, flag)


class _Switch(argparse.BooleanOptionalAction):
    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        super().__call__(parser, namespace, values, flag)
        if values and (flag or "").startswith("--no-"):
            parser.error(f"{flag} takes no value")
        if values:  # as uvicorn has some of them
            try:
                setattr(namespace, self.dest, switch(values))
            except argparse.ArgumentTypeError as exc:
                raise ValueError(f"{flag}: {exc}") from None
        _keep_spelling(namespace, self.dest, flag)


class _Refuse(argparse.Action):
    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        name = SHORT.get(flag or "", (flag or "").removeprefix("--"))
        if values not in HARMLESS.get(name, ()):
            said = f"{flag}: {instead(name, lambda option: option.flag)}"
            setattr(namespace, REFUSALS, [*getattr(namespace, REFUSALS, []), said])
