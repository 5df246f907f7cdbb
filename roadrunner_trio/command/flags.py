"""The flags of the command: the table of settings as ``argparse`` has it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .kinds import SWITCH
from .setting_table import APP, GROUPS, OPTIONS, SERVING, Option


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the application and every setting. What is not given stays absent: defaults live in the table alone."""
    about_app = f"{APP.help} (default {APP.note})"
    parser.add_argument(APP.dest, nargs="?", metavar=APP.kind.metavar, help=about_app, default=argparse.SUPPRESS)
    for group, about in GROUPS.items():
        titled = parser if group == SERVING else parser.add_argument_group(group, about or None)
        for option in OPTIONS:
            if option.group == group:
                _add(titled.add_argument, option)


def _add(add: Callable[..., argparse.Action], option: Option) -> None:
    help = option.help + (f" (default {option.shown})" if option.shown else "")
    known: dict[str, Any] = {"dest": option.dest, "help": help.replace("%", "%%"), "default": argparse.SUPPRESS}
    short = [alias for alias in option.aliases if not alias.startswith("--")]
    long = [alias for alias in option.aliases if alias.startswith("--")]
    if option.kind is SWITCH:
        known["action"] = argparse.BooleanOptionalAction
    elif option.kind.metavar.startswith("{"):
        known["choices"] = option.kind.metavar.strip("{}").split(",")
    else:
        known |= {"type": option.kind.parse, "metavar": option.kind.metavar}
        if option.kind.many:
            known["action"] = "append"
    add(*short, option.flag, *long, **known)
