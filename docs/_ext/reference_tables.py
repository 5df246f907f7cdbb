"""Three directives whose text is the program's own, so that it cannot be out of date; and a docstring filter.

``.. settings:: Timeouts`` is a table of the fields of a settings class, ``.. options::`` of all settings of the
command, both made from what the command line is made from as well. ``.. command-help::`` is what
``roadrunner-trio serve --help`` prints.
"""

from __future__ import annotations

import os
import re
from dataclasses import Field, fields
from typing import Any
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

import roadrunner_trio
from roadrunner_trio.command.cli import parsers
from roadrunner_trio.command.options import show_count, show_duration, show_size
from roadrunner_trio.command.setting_table import APP, GROUPS, OPTIONS


class Settings(Directive):
    """The fields of ``Timeouts`` or ``Limits``: name, flag, default, what it bounds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list-table, parsed as if it stood in the page."""
        rows = ["* - Setting", "  - Flag", "  - Default", "  - Bounds"]
        flags = {option.field: option.flag for option in OPTIONS if option.field}
        kind = getattr(roadrunner_trio, self.arguments[0])
        for setting in fields(kind):
            rows += [f"* - ``{setting.name}``", f"  - ``{flags[kind, setting.name]}``", f"  - {shown(setting)}"]
            rows += [f"  - {setting.metadata['help']}"]
        table = [".. list-table::", "   :header-rows: 1", "   :widths: 20 28 12 40", "", *("   " + row for row in rows)]
        parent = nodes.container()
        self.state.nested_parse(StringList(table, "the settings"), self.content_offset, parent)
        return parent.children


def shown(setting: Field[Any]) -> str:
    """A default as the command line writes it, with its exact value where that differs."""
    match setting.metadata["unit"]:
        case "seconds":
            return show_duration(setting.default)
        case "bytes":
            text = show_size(setting.default)
            return text if text == str(setting.default) else f"{text} ({setting.default})"
        case _:
            return show_count(setting.default)


class Options(Directive):
    """Every setting of the command: key, variable, what it takes, default, what it is for, under its groups' names."""

    def run(self) -> list[nodes.Node]:
        """A list-table a group, parsed as if they stood in the page."""
        text: list[str] = []
        for group in GROUPS:
            text += [f".. rubric:: {group[0].upper()}{group[1:]}", "", ".. list-table::", "   :header-rows: 1"]
            text += ["   :widths: 24 28 16 12 30", ""]
            rows = ["* - Key", "  - Variable", "  - Takes", "  - Default", "  - What it is for"]
            for option in [*([APP] if group == APP.group else []), *OPTIONS]:
                if option.group == group:
                    bounds = f", {option.bounds}" if option.bounds else ""
                    rows += [f"* - ``{option.name}``", f"  - ``{option.variable}``", f"  - {option.kind.name}{bounds}"]
                    rows += ["  - " + (option.shown or "\\-"), f"  - {literal(option.help)}"]
            text += [*("   " + row for row in rows), ""]
        parent = nodes.container()
        self.state.nested_parse(StringList(text, "the settings"), self.content_offset, parent)
        return parent.children


def literal(help: str) -> str:
    """Help with its flags and patterns marked as such."""
    return re.sub(r"--[a-z-]+|'[^']+'|\[::1\]:8000", lambda match: f"``{match[0]}``", help)


class CommandHelp(Directive):
    """What ``serve --help`` prints, 100 columns wide."""

    def run(self) -> list[nodes.Node]:
        """A literal block."""
        with mock.patch.dict(os.environ, COLUMNS="100"):
            text = parsers()[1].format_help()
        return [nodes.literal_block(text, text, language="text")]


def mend(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Leaves out marks that only a reader of the source can use, such as "(N25)", and keeps a property's colons.

    Napoleon takes what stands before a colon in a property's first line for its type.
    """
    lines[:] = [re.sub(r" \([NE]\d+(, [NE]\d+)*\)", "", line) for line in lines]
    if what == "property":
        lines.insert(0, "\\")  # an escaped line break, which is nothing


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", mend, priority=400)  # before napoleon, which has 500
    app.add_directive("settings", Settings)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("options", Options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
