"""Settings in a TOML file: found, read, and each with the line it stands in.

Its keys are those of the table, in a file of their own or below ``[tool.roadrunner-trio]``; ``[[listen]]`` begins a
listener, with settings of its own over those of all.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from .borrowed import instead
from .setting_table import BY_NAME, VARIABLE, Option

PYPROJECT: Final = "pyproject.toml"
TOOL: Final = "roadrunner-trio"
LISTEN: Final = "listen"
GUNICORN: Final = "gunicorn.conf.py"

_header = re.compile(r"\s*\[+\s*([^\[\]]+?)\s*\]+\s*(?:#.*)?").fullmatch
_key = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""").match


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it is from.

    Attributes:
        value: as the setting's kind reads it.
        where: in words: ``"--max-body"``, ``"ROADRUNNER_MAX_BODY"``, ``"max-body in app.toml, line 3"``.
        source: in few: ``"flag"``, ``"ROADRUNNER_MAX_BODY"``, ``"app.toml, line 3"``, ``"default"``.
    """

    value: Any
    where: str
    source: str

    def spell(self, option: Option) -> str:
        """Another setting, as whoever gave this value would write it."""
        if self.source in ("flag", "default"):
            return option.flag
        return option.variable if self.source.startswith(VARIABLE) else option.name


@dataclass(slots=True)
class ConfigFile:
    """What a file says.

    Attributes:
        path: its name; None when there is none.
        common: settings of all listeners, and of the server.
        listeners: the settings of each ``[[listen]]``.
        notes: what may be a mistake and is none for certain.
    """

    path: Path | None = None
    common: dict[str, Given] = field(default_factory=dict[str, Given])
    listeners: list[dict[str, Given]] = field(default_factory=list[dict[str, Given]])
    notes: list[str] = field(default_factory=list[str])


def read_config(path: str | None) -> ConfigFile:
    """What the file says, or the ``pyproject.toml`` here if it has a table for us and no file is named.

    Raises:
        ValueError: there is no such file, it is no TOML, or something in it is no setting.
    """
    file = Path(path or PYPROJECT)
    if path is None and not file.is_file():
        return ConfigFile(notes=_strangers())
    if file.suffix == ".py" or (path or "").startswith("python:"):  # some are TOML, too, up to a certain line
        raise ValueError(f"{path}: settings are TOML here, and no Python: write them into a file such as server.toml")
    try:
        text = file.read_text("utf-8")
        data = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ValueError(f"{file}: {reason}") from None
    found, notes = data.get("tool"), list[str]()
    if isinstance(found, dict):
        tool = cast("dict[str, Any]", found)
        notes += [
            f"{file}: nobody reads [tool.{name}]; ours is [tool.{TOOL}]" for name in tool if _looks_like_ours(name)
        ]
        if TOOL in tool:
            ours = _Reader(file, text, f"tool.{TOOL}").read(tool[TOOL])
            ours.notes += notes
            return ours
    if file.name != PYPROJECT:
        return _Reader(file, text, "").read(data)
    if path is None:
        return ConfigFile(notes=[*notes, *_strangers()])
    raise ValueError("; ".join([f"{file} has no table [tool.{TOOL}]", *notes]))


def _strangers() -> list[str]:
    """What there is to say of a file that gunicorn reads without being told of it."""
    return (
        [f"{GUNICORN} is not read: settings are TOML here, and --config names them"] if os.path.isfile(GUNICORN) else []
    )


def _looks_like_ours(name: str) -> bool:
    """Whether the name of a tool's table may have been meant for ours: ``roadrunner_trio``, ``roadrunner``."""
    plain = name.lower().replace("_", "-")
    return name != TOOL and bool(closest(plain, [TOOL, *TOOL.split("-")[:1]]))


class _Reader:
    """Reads one table of one file."""

    def __init__(self, file: Path, text: str, table: str) -> None:
        self.file = file
        self.table = table
        self.lines = dict(_numbered(text))

    def read(self, data: Any) -> ConfigFile:
        """Takes it apart.

        Raises:
            ValueError: something in it is no setting.
        """
        if not isinstance(data, dict):
            raise ValueError(f"{self.file}: [{self.table}] is no table")
        settings = cast("dict[str, Any]", data)
        listen: list[Any] = settings.pop(LISTEN, [])
        if type(listen) is not list or not all(isinstance(each, dict) for each in listen):
            raise ValueError(f"{self.file}: listeners are tables [[{self._below(LISTEN)}]]")
        common = self._settings(settings, self.table, 0)
        below = self._below(LISTEN)
        listeners = [self._settings(each, below, at, for_listener=True) for at, each in enumerate(listen, 1)]
        if listeners and (clash := {"bind", "host", "port"} & set(common)):
            given = common[min(clash)]
            raise ValueError(f"{given.where}: where to listen belongs into [[{below}]], as there are such tables")
        return ConfigFile(self.file, common, listeners)

    def _below(self, name: str) -> str:
        return f"{self.table}.{name}" if self.table else name

    def _settings(self, data: dict[str, Any], table: str, at: int, *, for_listener: bool = False) -> dict[str, Given]:
        found: dict[str, Given] = {}
        for key, value in data.items():
            name = key.replace("_", "-")
            line = self.lines.get((table, at, key))
            source = str(self.file) if line is None else f"{self.file}, line {line}"
            where = f"{key} in {source}"
            option = BY_NAME.get(name)
            if option is None:
                hint = f"; did you mean {close}?" if (close := closest(name, BY_NAME)) else ""
                advice = instead(name, lambda ours: ours.name)
                raise ValueError(f"{where}: {advice or 'there is no such setting' + hint}")
            if for_listener and option.server:
                raise ValueError(f"{where}: this is the whole server's, not that of a listener; write it above")
            found[name] = read_value(option, value, where, source)
        return found


def read_value(option: Option, value: object, where: str, source: str) -> Given:
    """A value of a file.

    Raises:
        ValueError: it is none of that setting; the message says where it stands, and what would be right.
    """
    try:
        found = option.kind.from_toml(value)
    except argparse.ArgumentTypeError as exc:
        raise ValueError(f"{where}: {exc}") from None
    return checked(option, Given(found, where, source))


def checked(option: Option, given: Given) -> Given:
    """The same, within its bounds.

    Raises:
        ValueError: it is not.
    """
    try:
        option.check(given.value)
    except ValueError as exc:
        raise ValueError(f"{given.where} {exc}") from None
    return given


def closest(name: str, names: Iterable[str]) -> str:
    """The name that may have been meant; ``""`` when none looks like it."""
    return next(iter(difflib.get_close_matches(name, list(names), 1)), "")


def _numbered(text: str) -> Iterable[tuple[tuple[str, int, str], int]]:
    """The line of each key that is written plainly, by its table, how many of that there were, and its name."""
    table, tables = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _header(line):
            table = re.sub(r"""[\s"']""", "", match[1])
            if line.lstrip().startswith("[["):
                tables[table] = tables.get(table, 0) + 1
        elif match := _key(line):
            yield (table, tables.get(table, 0), match[1]), number
