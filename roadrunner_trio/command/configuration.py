"""From flags, variables and a file to the settings in effect: the first of them that says something wins.

Each value remembers who said it, so that a complaint names the place, and ``--print-config`` can tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .borrowed import instead
from .config_file import ConfigFile, Given, checked, closest, read_config
from .flags import spelled
from .kinds import quoted
from .setting_table import APP, BY_NAME, GROUPS, OPTIONS, VARIABLE

PLACE: Final = ("bind", "host", "port")
CONFIG: Final = VARIABLE + "CONFIG"
UVICORN: Final = "UVICORN_"
COMMON: Final = {"workers": "WEB_CONCURRENCY"}
"""What platforms call a setting; ours wins."""


class Values:
    """The settings of the server, or of one listener: ``values["max-body"]``."""

    def __init__(self, *layers: Mapping[str, Given]) -> None:
        self._layers = layers

    def __getitem__(self, name: str) -> Any:
        """The value, or the default."""
        return self.given(name).value

    def given(self, name: str) -> Given:
        """The value with its origin."""
        for layer in self._layers:
            if name in layer:
                return layer[name]
        option = BY_NAME[name]
        return Given(option.default, option.flag, "default")

    def where(self, name: str) -> str:
        """Who says so, in words."""
        return self.given(name).where

    def spell(self, name: str, *, like: str) -> str:
        """A setting as whoever gave ``like`` would write it: as a flag, a variable, a key."""
        return self.given(like).spell(BY_NAME[name])

    def has(self, name: str) -> bool:
        """Whether anybody says something."""
        return any(name in layer for layer in self._layers)

    def place(self) -> dict[str, Given]:
        """Of where to listen: the addresses, or else the host and the port, that count.

        An address says both, so one that is said with less authority than a host or a port does not count.
        """
        for layer in self._layers:
            if "bind" in layer:
                return {name: layer[name] for name in PLACE if name in layer}
            if "host" in layer or "port" in layer:
                return {name: self.given(name) for name in PLACE[1:] if self.has(name)}
        return {}


@dataclass(frozen=True, slots=True)
class Configuration:
    """All settings.

    Attributes:
        server: those of the whole server.
        listeners: those of each listener, at least one.
        notes: what may be a mistake and is none for certain.
    """

    server: Values
    listeners: tuple[Values, ...]
    notes: tuple[str, ...] = ()


def resolve(chosen: argparse.Namespace, variables: Mapping[str, str]) -> Configuration:
    """The settings in effect.

    Args:
        chosen: what the command line says, by the destinations of the table; what it does not say is not there.
        variables: the environment.

    Raises:
        ValueError: a value is wrong, or a file; the message says which, where, and what would be right.
    """
    flags = dict(_from_flags(chosen))
    environment = dict(_from_variables(variables))
    path = getattr(chosen, "config", None) or variables.get(CONFIG) or None
    file: ConfigFile = read_config(path)
    server = Values(flags, environment, file.common)
    elsewhere = any(name in layer for layer in (flags, environment) for name in PLACE)
    tables = [] if elsewhere else file.listeners
    listeners = tuple(Values(flags, environment, table, file.common) for table in tables) or (server,)
    believes = any(values.has("proxy-headers") for values in (server, *listeners))
    return Configuration(server, listeners, (*_notes(variables), *_strangers(variables, believes), *file.notes))


def _from_flags(chosen: argparse.Namespace) -> Iterator[tuple[str, Given]]:
    for option in (APP, *OPTIONS):
        if hasattr(chosen, option.dest):
            where = spelled(chosen, option) if option is not APP else "the command line"
            yield option.name, checked(option, Given(getattr(chosen, option.dest), where, "flag"))


def _from_variables(variables: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    for option in (APP, *OPTIONS):
        names = (option.variable, COMMON.get(option.name, option.variable))
        name = next((name for name in names if variables.get(name)), "")
        if name:
            try:
                value = option.kind.from_word(variables[name])
            except argparse.ArgumentTypeError as exc:
                raise ValueError(f"{name}: {exc}") from None
            yield option.name, checked(option, Given(value, name, name))


def _notes(variables: Mapping[str, str]) -> Iterator[str]:
    known = {CONFIG, *(option.variable for option in BY_NAME.values())}
    rests = [name.removeprefix(VARIABLE) for name in known]
    for name in sorted(variables):
        if name.startswith(VARIABLE) and name not in known:
            rest = name.removeprefix(VARIABLE)
            hint = f"; did you mean {VARIABLE}{close}?" if (close := closest(rest, rests)) else ""
            advice = instead(rest.lower().replace("_", "-"), lambda option: option.variable)
            yield f"the variable {name} is no setting" + (f": {advice}" if advice else hint)


def _strangers(variables: Mapping[str, str], believes: bool) -> Iterator[str]:
    """Variables that other servers read: whoever comes from them would miss what they say."""
    for name in sorted(variables):
        if name.startswith(UVICORN):
            rest = name.removeprefix(UVICORN).lower().replace("_", "-")
            advice = instead(rest, lambda option: option.variable)
            yield f"the variable {name} is not read" + (f": {advice}" if advice else "")
        elif name == "GUNICORN_CMD_ARGS":
            yield f"the variable {name} is not read: write what it says after the command"
        elif name == "FORWARDED_ALLOW_IPS" and not believes:
            yield f"the variable {name} is not read: {BY_NAME['proxy-headers'].variable} names whom to believe"


def render(configuration: Configuration) -> str:
    """The settings in effect, as a TOML file that says where each is from."""
    lines = ["# The settings in effect, each with where it is from. This is a file for --config.", ""]
    several = len(configuration.listeners) > 1 or any(
        listener is not configuration.server for listener in configuration.listeners
    )
    lines += _rendered(configuration.server, [APP.name])
    for group in GROUPS:
        names = [option.name for option in OPTIONS if option.group == group]
        if several:
            names = [name for name in names if name not in PLACE]
        lines += ["", f"# {group}", *_rendered(configuration.server, names)]
    if several:
        for listener in configuration.listeners:
            own = [o.name for o in OPTIONS if listener.given(o.name) != configuration.server.given(o.name)]
            lines += ["", "[[listen]]", *_rendered(listener, own)]
    return "\n".join(lines) + "\n"


def _rendered(values: Values, names: Iterable[str]) -> Iterator[str]:
    place = values.place()
    for name in names:
        option, given = BY_NAME[name], values.given(name)
        value: Any = given.value
        if (value is None and not option.field) or (name in PLACE and place and name not in place):
            yield f"# {name} ="
        elif option.kind.many:
            yield f"{name} = [{', '.join(quoted(each) for each in value or ())}]  # {given.source}"
        else:
            yield f"{name} = {option.kind.show(value)}  # {given.source}"
