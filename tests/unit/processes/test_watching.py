"""What watches files, and cannot, or is told of them where there is no current directory any more."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from roadrunner_trio.processes import watching


def watcher(error: Exception | None) -> tuple[Any, dict[str, Any]]:
    """One that sees one change, and then raises."""
    given: dict[str, Any] = {}

    async def awatch(*folders: str, **options: Any) -> AsyncGenerator[set[tuple[int, str]]]:
        given.update(options)
        yield {(1, str(Path.cwd() / "app.py"))}
        if error is not None:
            raise error
        await trio.sleep_forever()

    return SimpleNamespace(awatch=awatch, DefaultFilter=lambda: None), given


@pytest.mark.parametrize("error", [RuntimeError("Too many open files (os error 24)"), PermissionError("not this one")])
async def test_what_cannot_be_watched_is_told_and_ends_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    made, given = watcher(error)
    monkeypatch.setattr(watching, "watcher", lambda: made)
    seen: list[str] = []
    with trio.move_on_after(10) as scope:
        await watching.watch(["."], [], seen.append)
    assert scope.cancelled_caught  # until then it is there
    assert seen == ["app.py"]
    assert [record.getMessage() for record in caplog.records] == [
        f"files are not watched, and changes not seen: {error}"
    ]
    assert given["ignore_permission_denied"] is True


def test_without_a_current_directory_files_are_called_by_their_whole_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError("there is none any more")

    monkeypatch.setattr(os, "getcwd", none)
    assert watching.named(["/srv/app.py"]) == "/srv/app.py"
