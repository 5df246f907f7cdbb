"""What is wrong is said in the words of whoever has said it: a flag as it was typed, a variable, a key of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from roadrunner_trio.command.cli import parsers
from roadrunner_trio.command.configuration import Configuration, resolve
from roadrunner_trio.command.explain import LoadError
from roadrunner_trio.command.operation import access_log_format
from roadrunner_trio.command.serving import prepare
from roadrunner_trio.command.setting_table import BY_NAME, OPTIONS

Write = Callable[..., Path]


def resolved(*argv: str, **variables: str) -> Configuration:
    return resolve(parsers()[0].parse_args(["serve", *argv]), variables)


pytestmark = pytest.mark.usefixtures("quiet_logging")


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


# Each setting that can be wrong, with a wrong value, and what is said after its name in each of the three notations.
WRONG = [
    ("health-path", "healthz", " is a path such as '/healthz', not 'healthz'"),
    ("port", "65536", " must be 0 to 65535, not 65536"),
    ("max-connections", "0", " must be a whole number, at least 1, not 0"),
    ("timeout-keep-alive", "0", " must be a positive number of seconds"),
    ("access-log-format", "fancy", ": an access log is text, json, logfmt or a template"),
    ("proxy-protocol", "localhost", ": 'localhost' does not"),
    ("request-ids-from", "somewhere", ": 'somewhere'"),
    ("rate-limit", "0", " 0: rate must be a whole number, at least 1, not 0"),
    ("rate-burst", "0", " must be at least 1, not 0"),
    ("app-dir", "nowhere", " nowhere: there is no such directory"),
]


def complaint(configuration: Callable[[], Configuration]) -> str:
    with pytest.raises((ValueError, LoadError)) as caught:
        prepare(configuration())
    return str(caught.value)


@pytest.mark.parametrize(("name", "word", "words"), WRONG, ids=[name for name, *_ in WRONG])
def test_it_is_said_in_the_words_of_who_said_it(name: str, word: str, words: str, write: Write) -> None:
    option = BY_NAME[name]
    app = ("app:handler",) if name == "app-dir" else ()
    write(f'{name} = "{word}"\n')
    assert complaint(lambda: resolved(*app, option.flag, word)).startswith(option.flag + words)
    assert complaint(lambda: resolved(*app, **{option.variable: word})).startswith(option.variable + words)
    assert complaint(lambda: resolved(*app, "-c", "app.toml")).startswith(f"{name} in app.toml, line 1{words}")


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["--keep-alive", "0"], "--keep-alive must be"),
        (["--graceful-timeout", "1s", "--factory"], "--factory needs an app"),
        (["-b", ":1", "--port", "2"], "-b: it says host and port already: leave out --host and --port"),
    ],
)
def test_a_flag_is_called_as_it_was_typed(argv: list[str], start: str) -> None:
    assert complaint(lambda: resolved(*argv)).startswith(start)


@pytest.mark.parametrize(
    ("variables", "text", "said"),
    [
        ({"ROADRUNNER_TLS_KEY": "k"}, "", "ROADRUNNER_TLS_KEY does nothing without ROADRUNNER_TLS_CERT"),
        ({}, 'tls-key = "k"', "tls-key in app.toml, line 1 does nothing without tls-cert"),
        (
            {"ROADRUNNER_MAX_BODY": "none"},
            "body = 'buffered'",
            "ROADRUNNER_MAX_BODY none needs ROADRUNNER_BODY streaming: a ",
        ),
        ({}, 'bind = ":1"\nport = 1', "bind in app.toml, line 1: it says host and port already: leave out host and po"),
        ({"ROADRUNNER_BIND": ":1", "ROADRUNNER_HOST": "h"}, "", "ROADRUNNER_BIND: it says host and port already: leav"),
        ({"ROADRUNNER_BIND": "localhost"}, "", "ROADRUNNER_BIND: 'localhost' is no address; write host:port"),
        ({}, "bind = 'localhost'", "bind in app.toml, line 1: 'localhost' is no address; write host:port"),
        ({"ROADRUNNER_APP": "nowhere:app"}, "", "ROADRUNNER_APP: no module named 'nowhere' in "),
        ({}, "app = 'nowhere:app'", "app in app.toml, line 1: no module named 'nowhere' in "),
        ({}, "app = 'os:sep'\nfactory = true", "app in app.toml, line 1: os:sep is an object of type str, which"),
        (
            {},
            "proxy-headers = 'unix'\nproxy-fields = 'cookie'",
            "proxy-fields in app.toml, line 2: fields are forwarded alone, or some of x-forwarded-for, x-forw",
        ),
    ],
)
def test_what_it_is_about_is_called_so_too(variables: dict[str, str], text: str, said: str, write: Write) -> None:
    write(text)
    assert complaint(lambda: resolved("-c", "app.toml", **variables)).startswith(said)


def test_what_would_help_is_called_so_too(write: Write) -> None:
    write("app = 'os:sep'\nfactory = true\n")
    assert complaint(lambda: resolved("-c", "app.toml")).endswith("leave out factory in app.toml, line 2")
    write("app = 'nowhere:app'\n")
    assert complaint(lambda: resolved("-c", "app.toml")).endswith("name its directory with app-dir")
    assert complaint(lambda: resolved(ROADRUNNER_APP="nowhere:app")).endswith("with ROADRUNNER_APP_DIR")
    assert complaint(lambda: resolved("nowhere:app")).endswith("name its directory with --app-dir")


# -- letters of any case -------------------------------------------------------------------------

CHOICES = [option for option in OPTIONS if option.kind.metavar.startswith("{")]


@pytest.mark.parametrize("option", CHOICES, ids=lambda option: option.name)
def test_a_choice_may_be_written_in_letters_of_any_case(option: object, write: Write) -> None:
    assert option in CHOICES
    for choice in option.kind.metavar.strip("{}").split(","):  # type: ignore[attr-defined]
        for word in (choice, choice.upper(), choice.title()):
            write(f"{option.name} = '{word}'")  # type: ignore[attr-defined]
            found = [
                resolved(option.flag, word),  # type: ignore[attr-defined]
                resolved(**{option.variable: word}),  # type: ignore[attr-defined]
                resolved("-c", "app.toml"),
            ]
            assert [each.server[option.name] for each in found] == [choice] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["JSON", "Logfmt", "text"])
def test_so_may_the_format_of_the_access_log(word: str) -> None:
    assert access_log_format(resolved("--access-log-format", word).server) == word.lower()


def test_a_template_stays_as_it_is() -> None:
    assert access_log_format(resolved("--access-log-format", "{method} TEXT").server) == "{method} TEXT"


# -- names that look like ours -------------------------------------------------------------------


def test_requests_of_a_worker_and_of_a_connection_are_two_settings(write: Write) -> None:
    write("\nmax_requests = 5\n")
    server = resolved("-c", "app.toml", "--max-requests-per-connection", "7").server
    assert (server["max-requests"], server["max-requests-per-connection"]) == (5, 7)


def test_web_concurrency_is_the_number_of_workers_unless_ours_says_something_else() -> None:
    assert resolved(WEB_CONCURRENCY="3").server["workers"] == 3
    assert resolved(WEB_CONCURRENCY="3").server.where("workers") == "WEB_CONCURRENCY"
    assert resolved(WEB_CONCURRENCY="3", ROADRUNNER_WORKERS="2").server["workers"] == 2
    assert resolved("-w", "1", WEB_CONCURRENCY="3").server["workers"] == 1
    assert not resolved(WEB_CONCURRENCY="").server.has("workers")
    assert complaint(lambda: resolved(WEB_CONCURRENCY="many")).startswith("WEB_CONCURRENCY: 'many' is no whole number")


@pytest.mark.parametrize("name", ["roadrunner_trio", "roadrunner", "Roadrunner-Trio", "roadruner-trio"])
def test_a_table_by_nearly_our_name_is_noted(name: str, write: Write) -> None:
    write(f'[tool."{name}"]\ngrace = 1\n', "pyproject.toml")
    assert resolved().notes == (f"pyproject.toml: nobody reads [tool.{name}]; ours is [tool.roadrunner-trio]",)
    with pytest.raises(ValueError, match=r"has no table \[tool\.roadrunner-trio\]; .* ours is"):
        resolved("-c", "pyproject.toml")
    write(f'[tool."{name}"]\ngrace = 1\n[tool.roadrunner-trio]\ngrace = 2\n', "pyproject.toml")
    found = resolved()
    assert len(found.notes) == 1
    assert found.server["grace"] == 2


@pytest.mark.parametrize("name", ["ruff", "pytest", "trio", "road", "hatch"])
def test_tables_of_others_are_not(name: str, write: Write) -> None:
    write(f"[tool.{name}]\ngrace = 1\n", "pyproject.toml")
    assert resolved().notes == ()
