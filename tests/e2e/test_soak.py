"""A short cut of the soak: mixed traffic leaves nothing. ``nox -s soak`` takes half an hour."""

from __future__ import annotations

import pytest
from process_tools import needs_proc
from soak import soak


@pytest.mark.slow
@needs_proc
async def test_some_seconds_of_mixed_traffic_leave_nothing(tmp_path):
    report = await soak(tmp_path, 6)
    report.memory = report.memory[-1:] * 9  # it is not warm in so short a time
    assert report.faults() == []
    assert all(report.peers.values()), report.peers
