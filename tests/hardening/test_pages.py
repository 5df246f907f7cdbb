"""What the pages say of attacks is shown by tests that exist, and nothing that can be set is missing there."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from framing_attacks import FRAMING

import roadrunner_trio as rr

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs" / "_ext"))

from advisories import ADVISORIES, ELSEWHERE  # noqa: E402
from threats import THREATS  # noqa: E402

ROWS = [threat for group in THREATS.values() for threat in group]
PROOFS = sorted({proof for threat in ROWS for proof in threat.proofs} | {each.proof for each in ADVISORIES})
FRAMING_NAMES = {
    *["CVE-2025-43859", "CVE-2024-1135", "CVE-2024-6827", "CVE-2023-47641", "CVE-2023-47627"],
    *["CVE-2024-23829", "CVE-2024-52304", "CVE-2025-53643", "CVE-2025-69224", "CVE-2026-34525"],
    *["CVE-2026-34520", "CVE-2019-16785", "CVE-2019-16786", "CVE-2019-16789", "CVE-2019-16792"],
    *["CVE-2022-24761", "CVE-2022-24801", "CVE-2023-46137", "CVE-2025-22871", "CVE-2021-32714"],
    *["CVE-2021-32715", "CVE-2022-32213", "CVE-2022-32214", "CVE-2022-32215", "CVE-2023-30589"],
    *["CVE-2024-27982", "CVE-2026-39805", "CVE-2026-44546", "CVE-2026-39807"],
}


@pytest.mark.parametrize("proof", PROOFS)
def test_a_test_that_is_named_exists(proof):
    file, _, name = proof.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in tests


def test_every_timeout_and_limit_is_in_a_row():
    known = {bound for threat in ROWS for bound in threat.bounds}
    settings = {f"{kind.__name__}.{each.name}" for kind in (rr.Timeouts, rr.Limits) for each in fields(kind)}
    assert not settings - known, "what does it stop? docs/_ext/threats.py has to say"


@pytest.mark.parametrize("name", sorted({bound for threat in ROWS for bound in threat.bounds}))
def test_a_bound_is_a_setting_or_a_constant(name):
    module, colon, constant = name.partition(":")
    if colon:
        assert getattr(importlib.import_module(f"roadrunner_trio.{module}"), constant) > 0
    else:
        kind, _, setting = name.partition(".")
        if kind == "websocket":
            assert setting in inspect.signature(rr.websocket).parameters
            return
        assert setting in {each.name for each in fields(getattr(rr, kind))}


def test_the_named_framing_attacks_are_tried():
    assert {attack.name for attack in FRAMING} >= FRAMING_NAMES


def test_no_advisory_is_both_here_and_elsewhere():
    here = {name for each in ADVISORIES for name in each.names.split(", ")} | {attack.name for attack in FRAMING}
    elsewhere = {name for each in ELSEWHERE for name in each.names.split(", ")}
    assert not here & elsewhere
