"""Two directives whose text is the program's own, so that it cannot be out of date; and a docstring filter.

``.. settings:: Timeouts`` is a table of the fields of a settings class, made from the metadata that the command line is
made from as well. ``.. command-help::`` is what ``roadrunner-trio serve --help`` prints.
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
from roadrunner_trio.cli import parsers
from roadrunner_trio.options import flag, show_count, show_duration, show_size


class Settings(Directive):
    """The fields of ``Timeouts`` or ``Limits``: name, flag, default, what it bounds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list-table, parsed as if it stood in the page."""
        rows = ["* - Setting", "  - Flag", "  - Default", "  - Bounds"]
        for setting in fields(getattr(roadrunner_trio, self.arguments[0])):
            rows += [f"* - ``{setting.name}``", f"  - ``{flag(setting)}``", f"  - {shown(setting)}"]
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
    return {"parallel_read_safe": True, "parallel_write_safe": True}
