"""The fuzz targets hold on their seeds, have an invariant, and notice when it is broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))

from siege_tools import Toll

from fuzz import seeds, targets


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_holds_on_its_seeds(name, tolls):
    toll = Toll()
    for seed in seeds.seeds()[name]:
        for size in (b"\x00", b"\x04", b"\x1f"):
            targets.TARGETS[name](size + seed[1:])
            toll.inputs += 1
    assert toll.inputs >= 3 * len(seeds.PROXY)
    tolls.take(f"fuzz seeds, {name}", toll)


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\xff" * 300, b"\x01\r\n\r\n\x00\r\nQUIT\n", b"\x02GET / HTTP/1.1\r\n"]
)
def test_a_target_holds_on_odd_ends(name, data):
    targets.TARGETS[name](data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_has_an_invariant_of_one_sentence(name):
    text = " ".join((targets.TARGETS[name].__doc__ or "").split())
    assert text.endswith(".")
    assert text.count(". ") == 0


def test_a_target_notices(monkeypatch):
    monkeypatch.setattr(targets, "agree", lambda ours, theirs: False)
    with pytest.raises(targets.Broken):
        targets.head(b"\x00GET")
    monkeypatch.setattr(targets, "_proxy_verdict", lambda received: len(received) or None)
    with pytest.raises(targets.Broken):
        targets.proxy(b"\x00abc")
    monkeypatch.setattr(targets, "_fields_of_hpack", lambda decoder, block: [(b"other", b"")])
    with pytest.raises(targets.Broken):
        targets.blocks(b"\x01\x82")
    monkeypatch.setattr(targets, "_http2_outcome", lambda parts: len(parts))
    with pytest.raises(targets.Broken):
        targets.http2(b"\x00abc")


def test_seeds_are_written(tmp_path):
    seeds.write("proxy", tmp_path / "proxy")
    assert len(list((tmp_path / "proxy").iterdir())) == len(seeds.PROXY)
