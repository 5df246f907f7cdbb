"""Settings from flags, variables and files: all four forms of each agree, the first that says something wins."""

from __future__ import annotations

import math
import re
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.command.cli import main, parsers
from roadrunner_trio.command.config_file import read_config
from roadrunner_trio.command.configuration import Configuration, render, resolve
from roadrunner_trio.command.door_options import addressed, bounds
from roadrunner_trio.command.kinds import COUNT, OPTIONAL_COUNT, OPTIONAL_SIZE, SIZE, SWITCH, TIME
from roadrunner_trio.command.serving import prepare
from roadrunner_trio.command.setting_table import BY_NAME, GROUPS, OPTIONS, Option

WORDS = {TIME: ("7s", 7.0), SIZE: ("64K", 65536), OPTIONAL_SIZE: ("64K", 65536), COUNT: ("77", 77)}
WORDS |= {OPTIONAL_COUNT: ("77", 77), SWITCH: ("true", True)}

Write = Callable[[str], Path]


def word_for(option: Option) -> tuple[str, Any]:
    """A word that the setting takes, and its value."""
    if option.kind in WORDS:
        return WORDS[option.kind]
    if option.kind.metavar.startswith("{"):
        choice = option.kind.metavar.strip("{}").split(",")[-1]
        return choice, choice
    return ("one", ["one"]) if option.kind.many else ("one", "one")


def resolved(*argv: str, **variables: str) -> Configuration:
    return resolve(parsers()[0].parse_args(["serve", *argv]), variables)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    def write(text: str, name: str = "app.toml") -> Path:
        path = folder / name
        path.write_text(text)
        return path

    return write


# -- one table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_flag_variable_and_file_give_a_setting_the_same_value(option: Option, write: Write) -> None:
    word, value = word_for(option)
    flags = [option.flag] if option.kind is SWITCH else [option.flag, word]
    write(f"{option.name} = {word if option.kind is SWITCH else repr(word)}\n")
    write(f"{option.dest} = {word if option.kind is SWITCH else repr(word)}\n", "other.toml")
    found = [
        resolved(*flags),
        resolved(**{option.variable: word}),
        resolved("-c", "app.toml"),
        resolved("-c", "other.toml"),
    ]
    assert [each.server[option.name] for each in found] == [value] * 4
    assert resolved().server[option.name] == option.default


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_default_is_shown_as_it_would_be_written(option: Option) -> None:
    if option.shown and not option.note and option.kind is not SWITCH:
        assert option.kind.from_word(option.shown) == option.default
    assert option.group in GROUPS
    assert option.variable == "ROADRUNNER_" + option.flag[2:].replace("-", "_").upper()


@pytest.mark.parametrize("option", [each for each in OPTIONS if each.kind is SWITCH], ids=lambda option: option.name)
def test_a_switch_can_be_put_back(option: Option) -> None:
    assert resolved(f"--no-{option.name}", **{option.variable: "yes"}).server[option.name] is False


# -- who wins ------------------------------------------------------------------------------------


def test_a_flag_wins_over_a_variable_and_that_over_a_file(write: Write) -> None:
    write('max-fields = 10\nmax-body = "1K"\ngrace = 3\n')
    found = resolved(
        "-c", "app.toml", "--max-fields", "30", ROADRUNNER_MAX_FIELDS="20", ROADRUNNER_MAX_BODY="2K"
    ).server
    assert (found["max-fields"], found["max-body"], found["grace"]) == (30, 2048, 3)
    assert [found.given(name).source for name in ("max-fields", "max-body", "grace", "backlog")] == [
        "flag",
        "ROADRUNNER_MAX_BODY",
        "app.toml, line 3",
        "default",
    ]


@pytest.mark.parametrize(
    ("argv", "variables", "file", "expected"),
    [
        ([], {}, "", ("127.0.0.1:8000",)),
        ([], {}, 'bind = ":1"', (":1",)),
        ([], {}, 'bind = [":1", "unix:/s"]', (":1", "unix:/s")),
        ([], {"ROADRUNNER_BIND": ":2, :3"}, 'bind = ":1"', (":2", ":3")),
        (["--port", "4"], {"ROADRUNNER_HOST": "::1"}, 'bind = ":1"', ("[::1]:4",)),
        (["--port", "4"], {"ROADRUNNER_BIND": ":2"}, "", ("127.0.0.1:4",)),
        (["-b", ":5"], {"ROADRUNNER_PORT": "2"}, "port = 1", (":5",)),
    ],
)
def test_where_to_listen(
    argv: list[str], variables: dict[str, str], file: str, expected: tuple[str, ...], write: Write
) -> None:
    write(file)
    assert addressed(resolved("-c", "app.toml", *argv, **variables).listeners[0]) == expected


def test_an_address_and_a_port_by_the_same_voice_are_one_too_many(write: Write) -> None:
    write('bind = ":1"\nport = 2\n')
    with pytest.raises(ValueError, match=r"^bind in app\.toml, line 1: .*leave out"):
        addressed(resolved("-c", "app.toml").server)


def test_the_app_too_can_stand_in_a_file(write: Write, folder: Path) -> None:
    (folder / "site_of_test.py").write_text("async def handler(request): ...")
    write('app = "site_of_test:handler"\nport = 0\n')
    listeners, title = prepare(resolved("-c", "app.toml"))
    assert title == "site_of_test:handler"
    assert resolved("-c", "app.toml", "other:handler").server["app"] == "other:handler"
    assert list(listeners[0].bind) == ["127.0.0.1:0"]


# -- files ---------------------------------------------------------------------------------------


def test_pyproject_is_read_if_it_has_a_table_for_us(write: Write) -> None:
    write('[project]\nname = "x"\n', "pyproject.toml")
    assert resolved().server["grace"] == 10
    with pytest.raises(ValueError, match=r"pyproject\.toml has no table \[tool\.roadrunner-trio\]"):
        resolved("-c", "pyproject.toml")
    write('[project]\nname = "x"\n[tool.roadrunner-trio]\ngrace = "4s"\n[tool.other]\ngrace = 5\n', "pyproject.toml")
    assert resolved().server.given("grace").source == "pyproject.toml, line 4"
    assert resolved("-c", "pyproject.toml").server["grace"] == 4
    write("grace = 6", "x.toml")
    assert resolved("-c", "x.toml").server["grace"] == 6
    assert resolved(ROADRUNNER_CONFIG="x.toml").server["grace"] == 6


LISTENERS = """\
max-body = "1M"
timeout-keep-alive = 5

[[listen]]
name = "public"
bind = ["127.0.0.1:0", "[::1]:0"]
rate-limit = "20"

[[listen]]
name = "private"
bind = "unix:/tmp/x.sock"
max-body = "100M"
health-path = "/healthz"
"""


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (
            ["--max-field-line", "64K"],
            "--max-field-line (65536) can never be reached beside --max-field-section (32768)",
        ),
        (
            ["-c", "app.toml"],
            "max-field-line in app.toml, line 2 (9000) can never be reached beside max-field-section in app.toml",
        ),
        (
            ["-c", "app.toml", "--max-field-line", "10K"],
            "--max-field-line (10240) can never be reached beside max-field-section in app.toml, line 1 (8192)",
        ),
    ],
)
def test_case_17_a_limit_without_effect_is_refused_in_the_words_in_which_it_was_said(
    argv: list[str], told: str, write: Write
) -> None:
    write('max-field-section = "8K"\nmax-field-line = 9000\n')
    with pytest.raises(ValueError, match=re.escape(told)):
        bounds(resolved(*argv).server)


def test_what_is_printed_is_a_file_also_where_a_default_gives_way(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--max-field-section", "4K", "--print-config"]) == 0
    write(capsys.readouterr().out)
    assert bounds(resolved("-c", "app.toml").server)[1].max_field_section == 4096


def test_several_listeners(write: Write) -> None:
    write(LISTENERS)
    public, private = prepare(resolved("-c", "app.toml", "--max-fields", "9"))[0]
    assert (public.name, private.name) == ("public", "private")
    assert list(public.bind) == ["127.0.0.1:0", "[::1]:0"]
    found = resolved("-c", "app.toml", "--max-fields", "9").listeners
    assert [bounds(each)[1].max_body for each in found] == [1 << 20, 100 << 20]
    assert [bounds(each)[1].max_fields for each in found] == [9, 9]
    assert [each["timeout-keep-alive"] for each in found] == [5, 5]
    assert [each["health-path"] for each in found] == [None, "/healthz"]


def test_listeners_without_a_name_of_their_own_are_numbered(write: Write) -> None:
    write("[[listen]]\nport = 0\n[[listen]]\nport = 0\nname = 'x'\n[[listen]]\nport = 0\n[[listen]]\nport = 0")
    for argv, called in (((), ["main", "x", "main-2", "main-3"]), (("--name", "y"), ["y", "y-2", "y-3", "y-4"])):
        listeners, _ = prepare(resolved("-c", "app.toml", *argv))
        assert [listener.name for listener in listeners] == called


def test_two_listeners_of_one_name_are_refused(write: Write) -> None:
    write("[[listen]]\nport = 0\nname = 'x'\n[[listen]]\nport = 0\nname = 'x'")
    with pytest.raises(ValueError, match=r"^name in app\.toml, line 6: another listener is called 'x', too$"):
        prepare(resolved("-c", "app.toml"))


def test_an_address_on_the_command_line_is_in_place_of_those_listeners(write: Write) -> None:
    write(LISTENERS)
    (only,) = resolved("-c", "app.toml", "--port", "0").listeners
    assert addressed(only) == ("127.0.0.1:0",)
    assert only["rate-limit"] is None
    assert only["max-body"] == 1 << 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max-bodi = 1", r"^max-bodi in app\.toml, line 1: there is no such setting; did you mean max-body\?$"),
        ("xyzzy = 1", r"^xyzzy in app\.toml, line 1: there is no such setting$"),
        ('\n\nmax-body = "10X"', r"^max-body in app\.toml, line 3: '10X' is no size: write 65536, 64K, 10M or 1G$"),
        ("max-body = true", r"^max-body in app\.toml, line 1: true is no size$"),
        ("max-body = 1.5", r"1\.5 is no size$"),
        ("access-log = 1", r"1 is no switch, true or false$"),
        ('access-log = "yes"', r'"yes" is no switch, true or false$'),
        ("bind = [1]", r"1 is no list of texts$"),
        ('log-level = "loud"', r"'loud' is none of debug, info, warning, error, critical$"),
        ("max-connections = 0", r"^max-connections in app\.toml, line 1 must be a whole number, at least 1, not 0$"),
        ("timeout-body = 0", r"line 1 must be a positive number of seconds"),
        ("worker-timeout = 1", r"^worker-timeout in app\.toml, line 1 must be at least 3 seconds, or none, not 1\.0$"),
        ("worker-lifetime = 0", r"^worker-lifetime in app\.toml, line 1 must be more than 0, not 0$"),
        ("worker-startup-timeout = 0", r"line 1 must be more than 0, not 0$"),
        ("lifespan-startup-timeout = 0", r"line 1 must be more than 0, not 0$"),
        ("workers = " + "[" * 100_000, r"^app\.toml: .*recursion"),
        ("workers = " + "{a = " * 100_000, r"^app\.toml: .*recursion"),
        ("a b", r"^app\.toml: Expected '='"),
        ("listen = 1", r"listeners are tables \[\[listen\]\]"),
        (
            'bind = ":1"\n[[listen]]\nbind = ":2"',
            r"^bind in app\.toml, line 1: where to listen belongs into \[\[listen",
        ),
        ("[[listen]]\nport = 1\n[[listen]]\ngrace = 1", r"^grace in app\.toml, line 4: this is the whole server's"),
        ("[[listen]]\nport = 1\n[[listen]]\npord = 1", r"^pord in app\.toml, line 4: .*mean port"),
        ("[tool]\nroadrunner-trio = 1", r"\[tool\.roadrunner-trio\] is no table"),
        ('"max-body" = "x"', r"^max-body in app\.toml, line 1: "),
        ("grace = { a = 1 }", r'\{"a": 1\} is no time'),
    ],
)
def test_what_is_wrong_in_a_file(text: str, complaint: str, write: Write) -> None:
    write(text)
    with pytest.raises(ValueError, match=complaint):
        resolved("-c", "app.toml")


def test_a_file_that_is_not_there(write: Write, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^nowhere\.toml: No such file"):
        resolved("-c", "nowhere.toml")
    (folder / "settings.py").write_text("workers = 2")  # which is TOML as well, and the next line may not be
    for name in "settings.py", "python:settings":
        with pytest.raises(ValueError, match=rf"^{name}: settings are TOML here, and no Python: .* server\.toml$"):
            resolved("-c", name)
    (folder / "latin.toml").write_bytes(b"a = '\xe4'")
    with pytest.raises(ValueError, match=r"^latin\.toml: "):
        resolved("-c", "latin.toml")


def test_a_line_that_cannot_be_found_is_left_out(write: Write) -> None:
    write('tool = { "roadrunner-trio" = { grace = "x" } }')
    with pytest.raises(ValueError, match=r"^grace in app\.toml: 'x' is no duration"):
        resolved("-c", "app.toml")


# -- variables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "complaint"),
    [
        ("ROADRUNNER_MAX_BODY", "10X", "^ROADRUNNER_MAX_BODY: '10X' is no size"),
        ("ROADRUNNER_MAX_FIELDS", "0", "^ROADRUNNER_MAX_FIELDS must be a whole number, at least 1, not 0$"),
        ("ROADRUNNER_ACCESS_LOG", "perhaps", "^ROADRUNNER_ACCESS_LOG: 'perhaps' is neither yes nor no"),
        ("ROADRUNNER_BODY", "all", "^ROADRUNNER_BODY: 'all' is none of buffered, streaming$"),
    ],
)
def test_what_is_wrong_in_a_variable(name: str, word: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        resolved(**{name: word})


def test_an_empty_variable_says_nothing_and_one_that_nobody_knows_is_noted() -> None:
    found = resolved(ROADRUNNER_MAX_BODY="", ROADRUNNER_MAXBODY="1", ROADRUNNER_QWXZJ="1", HOME="/")
    assert found.server["max-body"] == 10 << 20
    assert found.notes == (
        "the variable ROADRUNNER_MAXBODY is no setting; did you mean ROADRUNNER_MAX_BODY?",
        "the variable ROADRUNNER_QWXZJ is no setting",
    )


# -- printed, and read back ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", LISTENERS, 'port = 1\ntimeout-body = "none"\nmax-body = "none"'])
def test_what_is_printed_can_be_read_back(text: str, write: Write) -> None:
    write(text)
    first = resolved(
        "-c", "app.toml", "--max-fields", "9", ROADRUNNER_GRACE="1.5s", ROADRUNNER_PROXY_PROTOCOL="unix,::1"
    )
    printed = render(first)
    tomllib.loads(printed)
    write(printed, "printed.toml")
    again = resolved("-c", "printed.toml")
    for before, after in zip(first.listeners, again.listeners, strict=True):
        assert {name: before[name] for name in BY_NAME} == {name: after[name] for name in BY_NAME}
        assert addressed(before) == addressed(after)
    assert "max-fields = 9  # flag\n" in printed
    assert 'grace = "1.5s"  # ROADRUNNER_GRACE\n' in printed


@given(st.floats(min_value=0.001, max_value=1e9) | st.just(math.inf))
def test_times_are_printed_exactly(seconds: float) -> None:
    assert TIME.from_toml(tomllib.loads(f"x = {TIME.show(seconds)}")["x"]) == seconds


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_texts_are_printed_exactly(text: str) -> None:
    kind = BY_NAME["name"].kind
    assert kind.from_toml(tomllib.loads(f"x = {kind.show(text)}")["x"]) == text


def test_print_config_is_all_that_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nowhere:handler", "--print-config", "--port", "81"]) == 0
    out = capsys.readouterr().out
    assert 'app = "nowhere:handler"  # flag\n' in out
    assert "port = 81  # flag\n" in out
    assert 'timeout-keep-alive = "75s"  # default\n' in out


# -- check and routes ----------------------------------------------------------------------------


def test_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "checked_site.py").write_text("async def handler(request): ...")
    assert main(["check", "checked_site:handler", "--bind", "127.0.0.1:0", "--bind", "unix:s"]) == 0
    assert capsys.readouterr().out == "checked_site:handler can be served on 127.0.0.1:0, unix:s\n"
    assert not (folder / "s").exists()
    assert main(["check", "checked_site:handlr"]) == 3
    assert "did you mean 'handler'?" in capsys.readouterr().err
    assert main(["check", "checked_site:handler", "--tls-cert", "nowhere.pem"]) == 3
    assert "no TLS with nowhere.pem" in capsys.readouterr().err


def test_check_tries_to_bind_and_lets_go(folder: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "checked_site.py").write_text("async def handler(request): ...")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["check", "checked_site:handler", "--bind", place]) == 3
        assert capsys.readouterr() == (
            "",
            f"roadrunner-trio: {place} is in use: stop what listens there, or choose another port\n",
        )
    for _ in range(2):
        assert main(["check", "checked_site:handler", "--bind", place]) == 0
    write(f'[[listen]]\nbind = "{place}"\n[[listen]]\nbind = "{place}"\n')
    assert main(["check", "checked_site:handler", "-c", "app.toml"]) == 3, "two listeners cannot share one address"


ROUTED = """
from roadrunner_trio import websocket
from roadrunner_trio.apps.router import Route, Router

async def page(request): ...

async def talk(request): ...

class Site:
    async def __call__(self, request): ...
    def __repr__(self): return "<the site>"

numbered = Route("/a/:id", page, methods=["POST"], name="a")
chat = Route("/chat", websocket(talk))
router = Router([Route("/", page), numbered, chat, Route("/*rest", Site(), methods=["GET"])])
handler = page
"""


def test_routes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "routed_site.py").write_text(ROUTED)
    assert main(["routes", "routed_site:router"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["METHODS", "PATH", "NAME", "HANDLER"],
        ["any", "/", "-", "routed_site.page"],
        ["POST", "/a/:id", "a", "routed_site.page"],
        ["any", "/chat", "-", "<websocket", "of", "talk>"],
        ["GET,HEAD", "/*rest", "-", "<the", "site>"],
    ]
    assert main(["routes", "routed_site:handler"]) == 3
    assert "is a handler and no Router, so it has no routes" in capsys.readouterr().err


def test_notes_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROADRUNNER_GRACES", "1")
    assert main(["serve", "--print-config"]) == 0
    assert "ROADRUNNER_GRACES is no setting; did you mean ROADRUNNER_GRACE?" in capsys.readouterr().err


def test_without_a_file_nothing_is_read(folder: Path) -> None:
    assert read_config(None).path is None
