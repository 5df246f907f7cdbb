"""Every spelling of a way out of a folder is 404, and whatever is served lies inside."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story_tools import loud

from roadrunner_trio.apps.router import Router
from roadrunner_trio.apps.static import Static, name_of
from roadrunner_trio.testing import open_server

SPELLINGS = [
    "/../secret",
    "/../../../../../../etc/passwd",
    "/..",
    "/../",
    "/.",
    "/./",
    "/./file",
    "/sub/../file",
    "/sub/../../secret",
    "/sub/./file",
    "/sub/..",
    "/%2e%2e/secret",
    "/%2E%2E/secret",
    "/.%2e/secret",
    "/%2e./secret",
    "/%2e%2e%2fsecret",
    "/..%2fsecret",
    "/..%2Fsecret",
    "/sub%2f..%2f..%2fsecret",
    "/sub%2ffile",
    "/%2f",
    "/%2fetc%2fpasswd",
    "//etc/passwd",
    "///etc/passwd",
    "//secret",
    "/sub//file",
    "/sub//../../secret",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/..%252fsecret",
    "/..\\secret",
    "/..%5csecret",
    "/..%5Csecret",
    "/%5c..%5csecret",
    "/sub\\file",
    "/sub%5cfile",
    "/%5c%5cevil.example%5cshare",
    "/\\evil.example",
    "/%00",
    "/file%00",
    "/file%00.html",
    "/%00/../secret",
    "/file%0a",
    "/file%0d%0aset-cookie:a=b",
    "/file%7f",
    "/%01file",
    "/%c0%ae%c0%ae/secret",
    "/%c0%ae%c0%ae%c0%afsecret",
    "/%e0%80%ae%e0%80%ae/secret",
    "/%u002e%u002e/secret",
    "/%",
    "/%2",
    "/%zz",
    "/file%",
    "/.../secret",
    "/....//secret",
    "/..;/secret",
    "/sub;/../../secret",
    "/~root/.profile",
    "/C:/Windows/win.ini",
    "/C:%5cWindows%5cwin.ini",
    "/file::$DATA",
    "/file.",
    "/file%20",
    "/FILE",
    "/.git/config",
    "/.env",
    "/%2egit/config",
    "/sub/.hidden",
    "/sub/.well-known/x",
    "/.htpasswd",
    "/link",
    "/out/secret",
    "/proc/self/environ",
    "/fifo",
    "/null",
    "/" + "a" * 300,
    "/" + "a/" * 2000,
    "/" + "../" * 1000 + "etc/passwd",
]


@pytest.fixture
def public(tmp_path):
    (tmp_path / "secret").write_text("root:")
    public = tmp_path / "public"
    for name in ("file", "sub/file", ".git/config", ".env", ".htpasswd", "sub/.hidden", "sub/.well-known/x"):
        (public / name).parent.mkdir(parents=True, exist_ok=True)
        (public / name).write_text("root:" if "/." in "/" + name else "inside")
    (public / ".well-known").mkdir()
    (public / ".well-known" / "security.txt").write_text("inside")
    (public / "link").symlink_to("../secret")
    (public / "out").symlink_to("..")
    (public / "proc").symlink_to("/proc")
    (public / "null").symlink_to("/dev/null")
    os.mkfifo(public / "fifo")
    return public


def test_there_are_sixty_and_more():
    assert len(set(SPELLINGS)) >= 60


@pytest.mark.parametrize("target", SPELLINGS, ids=lambda target: target[:40])
async def test_it_is_refused(public, target, caplog):
    static = Static(public, listing=True)
    for handler, prefix in ((static, ""), (Router([static.below("/")]), ""), (Router([static.below("/s")]), "/s")):
        async with open_server(handler) as server:
            response = await server.client().get(prefix + target, fields={"accept": "text/html"})
        assert response.status == 404
        assert "root:" not in response.text
        assert response.header("location") is None
    assert loud(caplog) == []


async def test_what_lies_inside_is_served_all_the_same(public):
    async with open_server(Static(public)) as server:
        client = server.client()
        for target in ("/file", "/sub/file", "/%66ile", "/.well-known/security.txt"):
            assert (await client.get(target)).text == "inside"
    async with open_server(Static(public, dotfiles=True)) as server:
        client = server.client()
        assert (await client.get("/.git/config")).text == "root:"
        assert (await client.get("/../secret")).status == 404


@pytest.mark.parametrize(("symlinks", "status"), [("beneath", 404), ("none", 404), ("follow", 200)])
async def test_links_out_are_followed_by_those_who_say_so(public, symlinks, status):
    async with open_server(Static(public, symlinks=symlinks)) as server:
        assert (await server.client().get("/link")).status == status


pieces = st.sampled_from(
    ["..", ".", "", "sub", "file", "%2e", "%2f", "%5c", "\\", "%00", "%", "~", "C:", "link", "out"]
)


@settings(max_examples=500)
@given(st.lists(st.lists(pieces, max_size=3).map("".join), max_size=6).map(lambda parts: "/" + "/".join(parts)))
def test_a_name_never_leads_up(path):
    name = name_of(path.encode())
    if name:
        assert not name.startswith(b"/")
        assert not {b"", b".", b".."} & set(name.rstrip(b"/").split(b"/"))
        assert b"\\" not in name
        assert b"\0" not in name


@given(st.binary(max_size=60))
def test_octets_of_any_kind_raise_nothing(data):
    name = name_of(b"/" + data)
    assert name is None or b".." not in name.split(b"/")
