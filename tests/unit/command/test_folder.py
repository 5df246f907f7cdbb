"""A folder in place of an application."""

from __future__ import annotations

import pytest

from roadrunner_trio.apps.static import Static
from roadrunner_trio.command.cli import main, parsers
from roadrunner_trio.command.configuration import resolve
from roadrunner_trio.command.folder import names_folder
from roadrunner_trio.command.serving import application, prepare
from roadrunner_trio.testing import open_server

pytestmark = pytest.mark.usefixtures("quiet_logging")


@pytest.fixture
def public(tmp_path, monkeypatch):
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "app.4f1c9a7b.js").write_text("x")
    (tmp_path / "public" / "page.html").write_text("page")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "public"


def settings(*argv):
    return resolve(parsers()[0].parse_args(["serve", *argv]), {})


def application_of(*argv):
    return application(settings(*argv).server)


@pytest.mark.parametrize("target", ["public", "./public", "public/"])
def test_a_folder_is_served_as_it_was_named(public, target):
    found, title = application_of(target)
    assert (str(found), title) == (f"<Static {public}>", target)
    assert len(prepare(settings(target))[0]) == 1


async def test_what_is_said_of_it(public):
    found, _ = application_of("./public", "--listing", "--fallback", "page.html")
    assert isinstance(found, Static)
    async with open_server(found) as server:
        client = server.client()
        assert "app.4f1c9a7b.js" in (await client.get("/")).text
        assert (await client.get("/x", fields={"accept": "text/html"})).text == "page"
        assert "immutable" in (await client.get("/app.4f1c9a7b.js")).header("cache-control")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["./nothing"], "there is no folder"),
        (["/nothing/at/all"], "there is no folder /nothing/at/all"),
        (["./public", "--factory"], "--factory: ./public is a folder"),
        (["./public", "--interface", "asgi"], "--interface: ./public is a folder"),
        (["./public", "--fallback", "../x"], "a fallback is the name of a file"),
        (["os:path", "--listing"], "--listing: os:path is no folder"),
        (["os:path", "--fallback", "x"], "--fallback: os:path is no folder"),
        (["./public/app.py"], "names a file, not a module"),
        (["./public/page.html"], "./public/page.html is a file, and no folder: name the one in which it is"),
        (["public/page.html"], "public/page.html is a file, and no folder"),
    ],
)
def test_what_cannot_be(public, argv, complaint, capsys):
    assert main(["serve", *argv]) == 3
    assert complaint in capsys.readouterr().err


def test_a_folder_without_a_page_to_begin_with_is_told_so_unless_something_else_is_there(public, capsys):
    application_of("./public")
    note = "roadrunner-trio: there is no index.html in ./public, so / is not found: --listing shows what is there\n"
    assert capsys.readouterr().err == note
    application_of("./public", "--listing")
    application_of("./public", "--fallback", "page.html")
    (public / "index.html").touch()
    application_of("./public")
    assert capsys.readouterr().err == ""


def test_an_application_is_no_folder(public, monkeypatch):
    assert not names_folder("public:handler")
    assert not names_folder("app:handler")
    assert not names_folder("./app.py")
    (public / "odd:name").mkdir()
    assert names_folder("public/odd:name")
