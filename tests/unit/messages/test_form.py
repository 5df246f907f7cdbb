"""Forms, all at once and part by part: as browsers and programs send them, cut anywhere, and as the hostile do."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from urllib.parse import urlencode

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_tools import descriptors

import roadrunner_trio as rr
from roadrunner_trio.messages.form import open_parts, read_form
from roadrunner_trio.protocol.codec import form_data
from roadrunner_trio.testing import open_server

MULTI = "multipart/form-data; boundary=XX"
URL = "application/x-www-form-urlencoded"


def part(disposition, body=b"", *lines):
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {disposition}", *lines))
    return b"--XX\r\n" + head.encode() + b"\r\n" + body + b"\r\n"


END = b"--XX--\r\n"


async def read(body, kind=MULTI, cut=None, **limits):
    pieces = [body] if not cut else [body[at : at + cut] for at in range(0, len(body), cut)]
    left = iter([*[piece for piece in pieces if piece], b"", b"", b""])

    async def next_piece():
        await trio.lowlevel.checkpoint()
        return next(left)

    return await read_form(next_piece, kind.encode(), rr.FormLimits(**limits), None)


async def refused(body, kind=MULTI, **limits):
    with pytest.raises(rr.HTTPError) as caught:
        await read(body, kind, **limits)
    return caught.value


# -- what browsers send (WHATWG HTML section 4.10.21.8)

CHROMIUM = (
    part('name="text"', "Größe".encode())
    + part('name="empty"')
    + part('name="a b;c=%22d%22"', b"quoted name")
    + part('name="file"; filename="été.txt"', b"line\r\n--XY\r\n", "Content-Type: text/plain")
    + part('name="file"; filename="two.bin"', bytes(range(256)), "Content-Type: application/octet-stream")
    + part('name="none"; filename=""', b"", "Content-Type: application/octet-stream")
    + part('name="text"', b"second")
    + END
)


@pytest.mark.parametrize("cut", [None, 1, 2, 7, 64, 1000])
async def test_what_browsers_send(cut):
    form = await read(CHROMIUM, cut=cut)
    assert form.pairs == [("text", "Größe"), ("empty", ""), ('a b;c="d"', "quoted name"), ("text", "second")]
    assert (form["text"], form.all("text"), form.get("nothing")) == ("Größe", ["Größe", "second"], None)
    assert [(name, file.filename, file.media_type, file.size) for name, file in form.files] == [
        ("file", "été.txt", "text/plain", 12),
        ("file", "two.bin", "application/octet-stream", 256),
    ]
    assert await form.file("file").read() == b"line\r\n--XY\r\n"
    assert await form.files[1][1].read() == bytes(range(256))
    assert form.file("none") is form.file("nothing") is None


async def test_a_part_that_says_something_twice_is_refused():
    for twice in ('Content-Disposition: form-data; name="b"', "Content-Type: a/b\r\ncontent-type: text/plain"):
        assert (await refused(part('name="a"', b"", twice) + END)).status == 400


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="/etc/passwd"', "passwd"),
        ('filename=".."', ""),
        ('filename="a/"', ""),
        ("filename*=UTF-8''na%C3%AFve%20x.txt", "naïve x.txt"),
        ("filename*=UTF-8''..%2F..%2Fx", "x"),
        ("filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ('filename="%22quoted%22 100%.txt"', '"quoted" 100%.txt'),
        ('filename="say \\"hi\\".txt"', 'say "hi".txt'),
        ("filename=plain.txt", "plain.txt"),
        ('filename="C%3A.txt"', "C%3A.txt"),
    ],
)
async def test_the_name_of_a_file_is_never_a_path(disposition, filename):
    form = await read(part(f'name="f"; {disposition}', b"x") + END)
    assert form.file("f").filename == filename


async def test_fields_in_other_charsets():
    body = part('name="a"', b"\xa3", "Content-Type: text/plain; charset=ISO-8859-1")
    body += part('name="b"', b"\x80", "Content-Type: text/plain; charset=windows-1252")
    assert (await read(body + END)).pairs == [("a", "£"), ("b", "€")]
    assert (await refused(part('name="a"', b"\xa3") + END)).status == 400
    error = await refused(part('name="a"', b"x", "Content-Type: text/plain; charset=utf-7") + END)
    assert (error.status, "utf-7" in error.detail) == (400, True)


async def test_what_stands_behind_the_end_is_nothing():
    for cut in (None, 1, 5):
        assert (await read(part('name="a"', b"1") + END + b"\r\nepilogue", cut=cut)).pairs == [("a", "1")]
    assert (await read(b"--XX--\r\n")).pairs == []
    assert (await read(b"a line before\r\n" + part('name="a"', b"1") + END)).pairs == [("a", "1")]


# -- urlencoded


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=8), st.integers(1, 50))
def test_urlencoded_as_the_standard_library_writes_it(pairs, cut):
    pairs = [(name.replace("\0", ""), value) for name, value in pairs]
    form = trio.run(lambda: read(urlencode(pairs).encode(), URL, cut))
    assert form.pairs == pairs


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        (b"a=b+c&d=%2B", [("a", "b c"), ("d", "+")]),
        (b"a&b=&&=c", [("a", ""), ("b", ""), ("", "c")]),
        (b"a=%ZZ&b=%ff", [("a", "%ZZ"), ("b", "%ff")]),
        ("a=é".encode(), [("a", "é")]),
        (b"a=\xff", [("a", "ÿ")]),
        (b"", []),
    ],
)
async def test_urlencoded_as_nobody_should(body, pairs):
    assert (await read(body, URL + "; charset=utf-8")).pairs == pairs


# -- cut anywhere, and made of anything

word = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\%/'), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(word, st.one_of(st.none(), word), st.binary(max_size=200)), max_size=5), st.integers(1, 40))
def test_what_is_sent_is_read_however_it_is_cut(parts, cut):
    body = b""
    for name, filename, octets in parts:
        told = f'name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        body += part(told, octets, "Content-Type: text/plain; charset=latin-1")

    async def main():
        form = await read(body + END, cut=cut)
        assert form.pairs == [(name, octets.decode("latin-1")) for name, filename, octets in parts if filename is None]
        sent = [(n, f if f not in (".", "..") else "", o) for n, f, o in parts if f is not None]
        assert [(name, file.filename, await file.read()) for name, file in form.files] == [
            each for each in sent if each[1] or each[2]
        ]

    trio.run(main)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"--XX", b"--", b"\r\n", b"\n", b"Content-Disposition: form-data; name=a", b"x", b":", END])
    )
)
def test_octets_of_any_kind_are_a_form_or_a_400(pieces):
    async def main():
        with suppress(rr.HTTPError):
            await read(b"".join(pieces))

    trio.run(main)


# -- the hostile: each is refused within its limit, without reading on

LONG = b"x" * 5000


@pytest.mark.parametrize(
    ("body", "status", "limits"),
    [
        (part('name="a"') * 1200 + END, 413, {}),
        (part('name="a"') * 4 + END, 413, {"fields": 3}),
        (part('name="a"; filename="b"', b"x") * 3 + END, 413, {"files": 2}),
        (part('name="a"', b"x" * 70_000) + END, 413, {}),
        (part('name="a"; filename="b"', b"x" * 70_000) + END, 413, {"file_size": "64K"}),
        (part('name="' + "x" * 300 + '"') + END, 413, {}),
        (part('name="a"; filename="' + "x" * 300 + '"') + END, 413, {}),
        (part('name="a"', b"", *[f"X-{at}: y" for at in range(8)]) + END, 413, {}),
        (part('name="a"', b"", "X-A: " + "y" * 5000) + END, 413, {}),
        (b"--XX\r\n" + b"X-A: " + b"y" * 100_000, 413, {}),
        (b"x" * 3000 + b"\r\n" + part('name="a"') + END, 400, {}),
        (LONG * 20, 400, {}),
        (part('name="a"', b"never ends"), 400, {}),
        (b"--XX\r\nContent-Disposition: form-data; name=a", 400, {}),
        (b"", 400, {}),
        (part('nome="a"') + END, 400, {}),
        (part('name="a"; name="b"') + END, 400, {}),
        (b'--XX\r\nContent-Disposition: attachment; name="a"\r\n\r\n\r\n' + END, 400, {}),
        (b"--XX\r\nContent-Type: text/plain\r\n\r\n\r\n" + END, 400, {}),
        (part('name="a"; filename="b"; filename*=UTF-8\'\'c', b"x") + END, 400, {}),
        (part("name=\"a\"; filename*=utf-7''c", b"x") + END, 400, {}),
        (part('name="a"; filename="b\tc"', b"x") + END, 400, {}),
        (part('name="a"; filename="b\0c"', b"x") + END, 400, {}),
        (part('name="a\0"') + END, 400, {}),
        (part('name="a"', b"", "Content-Type: multipart/mixed; boundary=YY") + END, 400, {}),
        (part('name="a"', b"", "no colon") + END, 400, {}),
        (part('name="a"').replace(b"\r\n", b"\n") + END, 400, {}),
        (b"--XXjunk\r\n" + END, 400, {}),
        (part('name="a"', b"12345", "Content-Length: 3") + END, 400, {}),
    ],
)
async def test_what_is_hostile_is_refused(body, status, limits):
    for cut in (None, 1000):
        assert (await refused(body, cut=cut, **limits)).status == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 415),
        ("multipart/form-data; boundary=" + "x" * 71, 400),
        ('multipart/form-data; boundary="a\r\nb"', 400),
        ('multipart/form-data; boundary="a "', 400),
        ("multipart/form-data; boundary=a; boundary=b", 415),
        ("multipart/mixed; boundary=XX", 415),
        ("application/json", 415),
        ("", 415),
    ],
)
async def test_what_is_no_form(kind, status):
    assert (await refused(CHROMIUM, kind)).status == status


async def test_urlencoded_has_limits_too():
    assert (await refused(b"a&" * 1001, URL)).status == 413
    assert len((await read(b"a&" * 1000, URL)).pairs) == 1000
    assert (await refused(b"a=" + b"x" * 65537, URL)).status == 413
    assert (await refused(b"a=" + b"x" * 2_000_000, URL)).status == 413
    assert (await refused(b"x" * 257 + b"=a", URL)).status == 413
    assert (await refused(b"%00=a", URL)).status == 400


async def test_a_million_parts_are_not_waited_for():
    taken = 0

    async def next_piece():
        nonlocal taken
        taken += 1
        await trio.lowlevel.checkpoint()
        return part('name="a"', b"x") * 100

    with pytest.raises(rr.HTTPError, match="413"):
        await read_form(next_piece, MULTI.encode(), rr.FormLimits(), None)
    assert taken < 15


def test_limits_are_numbers():
    for wrong in ({"fields": -1}, {"field_size": "many"}, {"files": 1.5}):
        with pytest.raises(ValueError):
            rr.FormLimits(**wrong)
    assert rr.FormLimits(file_size="1M").file_size == 1024 * 1024


async def test_without_the_library_it_is_said_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "multipart", None)
    with pytest.raises(RuntimeError, match=r"pip install 'roadrunner-trio\[forms\]'"):
        await read(CHROMIUM)
    assert (await read(b"a=b", URL)).pairs == [("a", "b")]


# -- through the server


async def test_a_form_of_a_request_is_read_once():
    async def handler(request):
        form = await request.form()
        assert await request.form() is form
        return rr.Response(f"{form['text']} {form.file('file').size}")

    for body in ("buffered", "streaming"):
        async with open_server(handler, body=body) as server:
            response = await server.client().request("POST", "/", fields={"content-type": MULTI}, body=CHROMIUM)
            assert response.text == "Größe 12"
            response = await server.client().request("POST", "/", fields={"content-type": MULTI}, body=CHROMIUM[:-8])
            assert (response.status, "none" in response.text) == (400, True)
            assert (await server.client().request("POST", "/", body=b"x")).status == 415


async def test_parts_come_one_by_one_and_may_be_left(tmp_path):
    async def handler(request):
        said = []
        async for each in request.parts():
            if each.filename is None:
                said.append(f"{each.name}={await each.text()}" if each.name != "empty" else "")
            elif each.filename == "two.bin":
                said.append(f"{await each.save(tmp_path / 'two')} octets")
            said.append(repr(each))
        return rr.Response(" ".join(said))

    async with open_server(handler, body="streaming") as server:
        response = await server.client().request("POST", "/", fields={"content-type": MULTI}, body=CHROMIUM)
    assert "text=Größe" in response.text
    assert "256 octets" in response.text
    assert "<Part 'file' with 'été.txt'>" in response.text
    assert (tmp_path / "two").read_bytes() == bytes(range(256))


async def test_no_more_is_read_of_the_peer_than_is_taken():
    taken = []

    async def next_piece():
        taken.append(1)
        await trio.lowlevel.checkpoint()
        return part('name="f"; filename="x"', b"x" * 1000) if len(taken) == 1 else b"y" * 1000

    parts = open_parts(next_piece, MULTI.encode(), rr.FormLimits())
    first = await anext(parts)
    assert len(taken) == 1
    assert await anext(first)
    assert len(taken) == 1
    second = None
    with trio.move_on_after(0):
        second = await anext(parts)
    assert second is None


async def test_a_part_that_is_over_has_nothing_more():
    body = part('name="a"', b"1") + part('name="b"', b"2") + END
    left = iter([body, b""])

    async def next_piece():
        await trio.lowlevel.checkpoint()
        return next(left)

    parts = open_parts(next_piece, MULTI.encode(), rr.FormLimits())
    first = await anext(parts)
    second = await anext(parts)
    assert await first.read() == b""
    assert await second.read() == b"2"
    with pytest.raises(StopAsyncIteration):
        await anext(parts)


async def test_large_files_go_to_the_disk_and_leave_nothing(tmp_path):
    before = descriptors()
    body = part('name="f"; filename="x"', b"x" * 300_000) + part('name="g"; filename="y"', b"y" * 100) + END

    async def handler(request):
        form = await request.form(rr.FormLimits(in_memory="100K"), folder=str(tmp_path))
        file, small = form.file("f"), form.file("g")
        assert (file.on_disk, small.on_disk, os.listdir(tmp_path)) == (True, False, [])
        await file.save(tmp_path / "kept")
        assert repr(file) == "<UploadedFile 'x' of 300000>"
        return rr.Response(str([len(piece) async for piece in file.pieces()]))

    async with open_server(handler, body="streaming") as server:
        response = await server.client().request("POST", "/", fields={"content-type": MULTI}, body=body)
        assert response.text == "[262144, 37856]"
    assert os.listdir(tmp_path) == ["kept"]
    assert descriptors() <= before + 1


@pytest.mark.parametrize("way", ["form", "save"])
async def test_a_disk_that_is_full_is_507(tmp_path, way, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("roadrunner_trio.transport.spool._write_all", full)

    async def handler(request):
        if way == "form":
            await request.form(rr.FormLimits(in_memory=10))
        async for each in request.parts():
            await each.save(tmp_path / "x")
        return rr.Response("never")

    body = part('name="f"; filename="x"', b"x" * 1000) + END
    async with open_server(handler, body="streaming") as server:
        response = await server.client().request("POST", "/", fields={"content-type": MULTI}, body=body)
    assert response.status == 507
    assert os.listdir(tmp_path) == []


async def test_a_peer_that_leaves_half_way_leaves_no_file(tmp_path):
    ended = trio.Event()

    async def handler(request):
        try:
            async for each in request.parts():
                await each.save(tmp_path / "x")
        finally:
            ended.set()
        return rr.Response("never")

    async with open_server(handler, body="streaming") as server:
        client = server.client()
        head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {MULTI}\r\nContent-Length: 100000\r\n\r\n"
        await client.stream.send_all(head.encode() + part('name="f"; filename="x"', b"x" * 1000))
        await client.stream.aclose()
        with trio.fail_after(10):
            await ended.wait()
    assert os.listdir(tmp_path) == []


def test_boundaries():
    for good in ("XX", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a b", "'()+_,-./:=?"):
        assert form_data.boundary_of(form_data.MediaType("x/y", {"boundary": good})) == good
