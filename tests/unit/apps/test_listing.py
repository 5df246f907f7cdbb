"""A page of what lies in a folder."""

from __future__ import annotations

import os

import pytest

from roadrunner_trio.apps.static import Static
from roadrunner_trio.testing import open_server


@pytest.fixture
def folder(tmp_path):
    for name in ("b.txt", "A.txt", "sub/x", ".hidden", "it's <b>&.html", "javascript:alert(1)", "sub/deeper/y"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1234)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return tmp_path


async def ask(folder, target, **settings):
    async with open_server(Static(folder, **settings)) as server:
        return await server.client().get(target)


async def test_it_is_there_only_on_wish(folder):
    assert (await ask(folder, "/")).status == 404
    assert (await ask(folder, "/", listing=True)).status == 200


async def test_folders_come_first_and_hidden_names_not_at_all(folder):
    text = (await ask(folder, "/", listing=True)).text
    shown = [text.index(name) for name in (">sub/<", ">A.txt<", ">b.txt<")]
    assert shown == sorted(shown)
    assert ".hidden" not in text
    assert ".hidden" in (await ask(folder, "/", listing=True, dotfiles=True)).text
    assert "1,234" in text
    assert "2023-11-14 22:13" in text


async def test_one_goes_up_from_all_but_the_top(folder):
    assert "./../" not in (await ask(folder, "/", listing=True)).text
    text = (await ask(folder, "/sub/", listing=True)).text
    assert './../"' in text
    assert "./deeper/" in text
    assert "Index of /sub/" in text


async def test_cve_2024_27306_no_name_breaks_out(folder):
    response = await ask(folder, "/", listing=True)
    assert "<b>" not in response.text
    assert "it&#x27;s &lt;b&gt;&amp;.html" in response.text
    assert 'href="./javascript%3Aalert' in response.text
    assert response.header("content-security-policy").startswith("default-src 'none'")
    assert response.header("x-content-type-options") == "nosniff"


async def test_nor_does_the_path(folder):
    (folder / '"><script>').mkdir()
    text = (await ask(folder, "/%22%3E%3Cscript%3E/", listing=True)).text
    assert "<script>" not in text


async def test_an_index_goes_before_it_and_what_is_none_has_none(folder):
    (folder / "sub" / "index.html").write_text("index")
    assert (await ask(folder, "/sub/", listing=True)).text == "index"
    assert (await ask(folder, "/nothing/", listing=True)).status == 404
    assert (await ask(folder, "/b.txt/", listing=True)).status == 404
    assert (await ask(folder, "/sub", listing=True)).status == 308


async def test_a_name_that_is_no_text(folder):
    (folder / os.fsdecode(b"\xff.txt")).write_text("odd")
    response = await ask(folder, "/", listing=True)
    assert "./%FF.txt" in response.text
    assert (await ask(folder, "/%FF.txt")).text == "odd"
