"""Variables in a file, as other programs read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadrunner_trio.command.cli import main
from roadrunner_trio.command.env_file import with_file


def read(folder: Path, text: str) -> dict[str, str]:
    path = folder / "env"
    path.write_text(text, "utf-8", newline="")
    return with_file(str(path), {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\n\n# nothing\n   # at all\n", {}),
        ("A=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export A=1\n  B = 2  \n", {"A": "1", "B": "2"}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("URL=postgres://u:p@h/d?x=1#part # not this\n", {"URL": "postgres://u:p@h/d?x=1#part"}),
        ("A='$HOME \"x\" \\n' # why\n", {"A": '$HOME "x" \\n'}),
        ('A="one\\ntwo \\"x\\" \\\\ $HOME"', {"A": 'one\ntwo "x" \\ $HOME'}),
        ('KEY="-----BEGIN\nabc\n-----END"\nB=1', {"KEY": "-----BEGIN\nabc\n-----END", "B": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=a b  c", {"A": "a b  c"}),
    ],
)
def test_what_is_read(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "line"), [("A", 1), ("A=1\n\n1B=2", 3), ("=x", 1), ("A='x", 1), ('\nA="x', 2), ("A='x' y", 1), ("A=\0", 1)]
)
def test_what_is_none_of_this_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ValueError, match=rf"^--env-file .*env, line {line}: this is no NAME=value$"):
        read(tmp_path, text)


@settings(deadline=None)  # of a file on a disk
@given(value=st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=30))
def test_every_value_can_be_quoted(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert read(tmp_path_factory.getbasetemp(), f'A="{quoted}"\nB=1\n') == {"A": value, "B": "1"}


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    try:
        found = read(tmp_path_factory.getbasetemp(), text)
    except ValueError:
        return
    assert all("\0" not in value for value in found.values())


def test_the_process_itself_wins(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=file\nB=file")
    assert with_file(str(tmp_path / "env"), {"A": "process"}) == {"A": "process", "B": "file"}


@pytest.mark.parametrize("name", ["nowhere", "octets"])
def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "octets").write_bytes(b"A=\xff")
    assert main(["check", "--env-file", str(tmp_path / name)]) == 3
    assert f"--env-file {tmp_path / name}: " in capsys.readouterr().err


def test_settings_and_the_application_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (tmp_path / "env").write_text("ROADRUNNER_MAX_FIELDS=9\nGREETING=hello from the file\n")
    (tmp_path / "greets.py").write_text(
        "import os\nGREETING = os.environ['GREETING']\nasync def handler(request): ...\n"
    )
    assert main(["serve", "--env-file", str(tmp_path / "env"), "--print-config"]) == 0
    assert "max-fields = 9  # ROADRUNNER_MAX_FIELDS" in capsys.readouterr().out
    argv = ["greets:handler", "--app-dir", str(tmp_path), "--env-file", str(tmp_path / "env"), "--bind", "127.0.0.1:0"]
    assert main(["check", *argv]) == 0
