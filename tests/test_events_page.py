"""The page about events is what the code says of them."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path

import pytest

from roadrunner_trio.telemetry.observe import HOOKS

SCRIPT = Path(__file__).parent.parent / "docs" / "_ext" / "events_page.py"


@pytest.fixture(scope="module")
def writer():
    """The program that writes the page."""
    spec = importlib.util.spec_from_file_location("events_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(writer):
    written, due = writer.PAGE.read_text("utf-8"), writer.page()
    change = "\n".join(difflib.unified_diff(written.splitlines(), due.splitlines(), "written", "due", lineterm=""))
    assert not change, f"the page about events is stale; run python docs/_ext/{SCRIPT.name}:\n{change}"


def test_the_page_tells_of_every_hook_and_every_attribute(writer):
    page = writer.page()
    for hook in HOOKS:
        assert f"* - ``{hook}``\n" in page
        event = writer.event_of(hook)
        section = page.partition(f".. class:: {event.__name__}\n")[2].partition(".. class::")[0]
        assert [name for name in event._fields if f"* - ``{name}``\n" not in section] == []
