"""RFC 9110 sections 8.8, 13 and 14 as a peer sees them, in the order of the RFC, against a file that is served."""

from __future__ import annotations

import os
from email import message_from_bytes

import pytest

import roadrunner_trio as rr
from roadrunner_trio.protocol.codec.dates import format_date
from roadrunner_trio.testing import open_server

CONTENT = bytes(range(256)) * 40
OLD = 1_700_000_000
DATE, EARLIER, LATER = (format_date(OLD + by).decode() for by in (0, -1, 1))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(CONTENT)
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
async def ask(path, nursery):
    """Asks for the file, or with ``status`` for a response whose file is the page of an error."""

    async def handler(request):
        fields = {"cache-control": "max-age=60", "vary": "accept", "content-language": "en"}
        return rr.FileResponse(path, status=int(request.query.get("status", "200")), fields=fields)

    async with open_server(handler) as server:

        async def ask(*fields, method="GET", target="/"):
            return await server.client().request(method, target, fields=list(fields))

        yield ask


async def tag(ask):
    return (await ask()).header("etag")


# 8.8.2 Last-Modified


async def test_8_8_2_the_date_is_that_of_the_file(ask):
    assert (await ask()).header("last-modified") == DATE


async def test_8_8_2_1_no_date_is_later_than_the_response(ask, path):
    os.utime(path, (4_000_000_000, 4_000_000_000))
    response = await ask()
    assert response.header("last-modified") <= response.header("date")
    assert response.header("last-modified")[-24:-9] == response.header("date")[-24:-9]


# 8.8.3 ETag


async def test_8_8_3_the_tag_changes_with_time_and_with_size(ask, path):
    first = await tag(ask)
    os.utime(path, (OLD + 1, OLD + 1))
    second = await tag(ask)
    path.write_bytes(CONTENT[1:])
    os.utime(path, (OLD + 1, OLD + 1))
    assert len({first, second, await tag(ask)}) == 3


async def test_8_8_1_what_has_just_been_changed_has_a_weak_tag(ask, path):
    assert not (await tag(ask)).startswith("W/")
    os.utime(path)
    assert (await tag(ask)).startswith('W/"')


async def test_8_8_3_3_another_coding_has_another_tag(path):
    async def handler(request):
        return rr.FileResponse(path, fields={"content-encoding": "br"} if request.query else {})

    async with open_server(handler) as server:
        plain, coded = (await server.client().get("/")), (await server.client().get("/?br"))
    assert plain.header("etag")[:-1] + '-br"' == coded.header("etag")


# 13.1.1 If-Match


async def test_13_1_1_if_match(ask):
    current = await tag(ask)
    assert (await ask(("if-match", current))).status == 200
    assert (await ask(("if-match", f'"other", {current}'))).status == 200
    assert (await ask(("if-match", "*"))).status == 200
    for value in ('"other"', "W/" + current, "rubbish"):
        response = await ask(("if-match", value))
        assert (response.status, response.body) == (412, b"")
        assert response.header("etag") is response.header("cache-control") is None


# 13.1.2 If-None-Match


async def test_13_1_2_if_none_match(ask):
    current = await tag(ask)
    for value in (current, "W/" + current, f'"other" , {current}', "*"):
        for method in ("GET", "HEAD"):
            assert (await ask(("if-none-match", value), method=method)).status == 304
    for value in ('"other"', "rubbish", current.strip('"')):
        assert (await ask(("if-none-match", value))).status == 200


# 13.1.3 If-Modified-Since


async def test_13_1_3_if_modified_since(ask):
    for value, status in ((DATE, 304), (LATER, 304), (EARLIER, 200), ("rubbish", 200)):
        assert (await ask(("if-modified-since", value))).status == status
    assert (await ask(("if-modified-since", DATE), ("if-modified-since", DATE))).status == 200


async def test_13_1_3_it_is_ignored_beside_if_none_match(ask):
    assert (await ask(("if-modified-since", DATE), ("if-none-match", '"other"'))).status == 200
    assert (await ask(("if-modified-since", EARLIER), ("if-none-match", await tag(ask)))).status == 304


# 13.1.4 If-Unmodified-Since


async def test_13_1_4_if_unmodified_since(ask):
    for value, status in ((DATE, 200), (LATER, 200), (EARLIER, 412), ("rubbish", 200)):
        assert (await ask(("if-unmodified-since", value))).status == status


async def test_13_1_4_it_is_ignored_beside_if_match(ask):
    assert (await ask(("if-unmodified-since", EARLIER), ("if-match", await tag(ask)))).status == 200


# 13.1.5 If-Range


async def test_13_1_5_if_range(ask):
    part = ("range", "bytes=0-4")
    for value in (await tag(ask), DATE):
        assert (await ask(part, ("if-range", value))).status == 206
    for value in ('"other"', "W/" + await tag(ask), EARLIER, LATER, "rubbish"):
        response = await ask(part, ("if-range", value))
        assert (response.status, len(response.body)) == (200, len(CONTENT))
    assert (await ask(("if-range", '"other"'))).status == 200


async def test_13_1_5_of_what_has_just_been_changed_no_date_is_strong(ask, path):
    os.utime(path)
    response = await ask()
    for value in (response.header("last-modified"), response.header("etag")):
        assert (await ask(("range", "bytes=0-4"), ("if-range", value))).status == 200


# 13.2.1 when


async def test_13_2_1_conditions_do_not_touch_what_is_no_success(ask):
    current = await tag(ask)
    response = await ask(("if-none-match", current), ("range", "bytes=0-4"), target="/?status=404")
    assert (response.status, response.body) == (404, CONTENT)
    assert response.header("etag") is None


async def test_13_2_1_nor_what_has_been_done_already(ask):
    assert (await ask(("if-match", '"other"'), method="POST")).status == 200


# 13.2.2 precedence


async def test_13_2_2_what_fails_goes_before_what_is_not_modified_and_that_before_ranges(ask):
    current = await tag(ask)
    assert (await ask(("if-match", '"other"'), ("if-none-match", current))).status == 412
    assert (await ask(("if-unmodified-since", EARLIER), ("if-none-match", current))).status == 412
    assert (await ask(("if-match", current), ("if-none-match", current))).status == 304
    assert (await ask(("if-none-match", current), ("range", "bytes=0-4"))).status == 304
    assert (await ask(("if-match", current), ("range", "bytes=0-4"))).status == 206
    assert (await ask(("if-match", '"other"'), ("range", "bytes=99999-"))).status == 412


# 14.1.2 byte ranges


async def test_14_1_2_one_range(ask):
    for value, part in (("0-499", CONTENT[:500]), ("-5", CONTENT[-5:]), ("10235-", CONTENT[-5:]), ("0-99999", CONTENT)):
        response = await ask(("range", f"bytes={value}"))
        assert (response.status, response.body) == (206, part)
        assert response.header("content-length") == str(len(part))


# 14.2 Range


async def test_14_2_only_get_has_ranges(ask):
    response = await ask(("range", "bytes=0-4"), method="HEAD")
    assert (response.status, response.header("content-length")) == (200, str(len(CONTENT)))


async def test_14_2_what_is_unknown_or_malformed_is_ignored(ask):
    for value in ("items=0-4", "bytes=4-0", "bytes=x", "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 40, 2))):
        response = await ask(("range", value))
        assert (response.status, response.body) == (200, CONTENT)
    assert (await ask(("range", "bytes=0-4"), ("range", "bytes=0-4"))).status == 200


# 14.3 Accept-Ranges


async def test_14_3_ranges_are_offered(ask):
    for method in ("GET", "HEAD"):
        assert (await ask(method=method)).header("accept-ranges") == "bytes"


# 14.4 Content-Range, 15.5.17


async def test_14_4_content_range(ask):
    assert (await ask(("range", "bytes=5-9"))).header("content-range") == f"bytes 5-9/{len(CONTENT)}"
    response = await ask(("range", f"bytes={len(CONTENT)}-"))
    assert (response.status, response.header("content-range")) == (416, f"bytes */{len(CONTENT)}")
    assert response.header("cache-control") is None, "nobody keeps it"


# 14.6 multipart/byteranges, 15.3.7.2


async def test_14_6_several_ranges(ask):
    response = await ask(("range", "bytes=0-4, 100-104 ,-5"))
    assert response.status == 206
    assert response.header("content-range") is None
    kind = response.header("content-type")
    message = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + response.body)
    parts = [(part["content-range"], part["content-type"]) for part in message.get_payload()]
    size = len(CONTENT)
    html = "text/html; charset=utf-8"
    assert parts == [(f"bytes {each}/{size}", html) for each in ("0-4", "100-104", f"{size - 5}-{size - 1}")]
    for part in (CONTENT[:5], CONTENT[100:105], CONTENT[-5:]):
        assert b"\r\n\r\n" + part + b"\r\n--" in response.body


async def test_15_3_7_2_one_part_is_no_multipart(ask):
    response = await ask(("range", "bytes=0-4,5-9,99999-"))
    assert response.header("content-range") == f"bytes 0-9/{len(CONTENT)}"
    assert response.body == CONTENT[:10]


async def test_15_4_5_a_304_has_what_a_cache_needs_and_no_more(ask):
    response = await ask(("if-none-match", "*"))
    names = {name for name, _ in response.fields}
    assert names == {b"date", b"cache-control", b"etag", b"vary"}
    assert response.body == b""
