"""Directives that make tables of :mod:`threats` and :mod:`advisories`, and of the attacks that the tests run.

``.. threats:: time`` is a table of limits, ``.. advisories::``, ``.. attacks::`` and ``.. elsewhere::`` of advisories.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from advisories import ADVISORIES, ELSEWHERE
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from reference_tables import shown
from sphinx.application import Sphinx
from threats import THREATS

import roadrunner_trio
from roadrunner_trio.command.options import show_duration, show_size

SUPPORT = Path(__file__).parents[2] / "tests" / "support"


class Table(Directive):
    """A list-table whose rows a subclass gives, parsed as if it stood in the page."""

    heads: Sequence[str]
    widths: str

    def rows(self) -> Iterable[Sequence[str]]:
        """The cells of each row."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """The table."""
        text = [".. list-table::", "   :header-rows: 1", f"   :widths: {self.widths}", ""]
        for cells in (self.heads, *self.rows()):
            text += [f"   {'*' if at == 0 else ' '} - {cell}" for at, cell in enumerate(cells)]
        parent = nodes.container()
        self.state.nested_parse(StringList(text, "the threats"), self.content_offset, parent)
        return parent.children


class Threats(Table):
    """What a peer does, what bounds that, what it sees, and the test."""

    required_arguments = 1
    heads = ("The peer", "is stopped by", "and sees", "Test")
    widths = "26 28 20 26"

    def rows(self) -> Iterable[Sequence[str]]:
        for threat in THREATS[self.arguments[0]]:
            bounds = ", ".join(bound(name) for name in threat.bounds) or "nothing has to"
            yield threat.what, bounds, threat.sees, ", ".join(map(proof, threat.proofs))


class Advisories(Table):
    """Advisories about what servers take too much of, log, or let out."""

    heads = ("Advisory", "Against", "Input", "Here", "Test")
    widths = "22 14 24 20 20"

    def rows(self) -> Iterable[Sequence[str]]:
        for each in ADVISORIES:
            yield each.names, each.where, each.what, each.here, proof(each.proof)


class Attacks(Table):
    """The framing attacks, which are those that the tests run."""

    heads = ("Known as", "Input", "Answer")
    widths = "26 54 20"

    def rows(self) -> Iterable[Sequence[str]]:
        sys.path.append(str(SUPPORT))
        try:
            attacks = importlib.import_module("framing_attacks").FRAMING
        finally:
            sys.path.remove(str(SUPPORT))
        for attack in attacks:
            refusal = " or ".join(map(str, sorted(attack.statuses)))
            yield attack.name, attack.what, refusal or ("served, harmlessly" if attack.got_in else "close")


class Others(Table):
    """What is not here."""

    heads = ("Advisory", "Attacks", "Here")
    widths = "34 28 38"

    def rows(self) -> Iterable[Sequence[str]]:
        for each in ELSEWHERE:
            yield each.names, each.what, each.why


def bound(name: str) -> str:
    """A setting and its default, or a constant that is none of the operator's."""
    module, colon, constant = name.partition(":")
    if colon:
        value = getattr(importlib.import_module(f"roadrunner_trio.{module}"), constant)
        return f"always {show_size(value)}"
    kind, _, setting = name.partition(".")
    if kind == "websocket":
        return f"``{setting}`` ({websocket_default(setting)})"
    return f"``{setting}`` ({shown(setting_of(kind, setting))})"


def websocket_default(argument: str) -> str:
    """The default of an argument of ``websocket(handler)``."""
    default = inspect.signature(roadrunner_trio.websocket).parameters[argument].default
    if default is None:
        return "that of ``max_message``"
    return show_duration(default) if isinstance(default, float) else show_size(default)


def setting_of(kind: str, name: str) -> Any:
    """The field of ``Timeouts`` or ``Limits`` with this name."""
    return next(each for each in fields(getattr(roadrunner_trio, kind)) if each.name == name)


def proof(test: str) -> str:
    """Where a test is."""
    file, _, name = test.partition("::")
    return f"``{file.removeprefix('tests/')}``: ``{name}``"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("threats", Threats)
    app.add_directive("advisories", Advisories)
    app.add_directive("attacks", Attacks)
    app.add_directive("elsewhere", Others)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
