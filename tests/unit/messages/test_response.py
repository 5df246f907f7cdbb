"""Responses as values: what they are made of, and what they refuse."""

from __future__ import annotations

import http
import math
from pathlib import Path

import pytest
import trio

from roadrunner_trio.messages.media_types import MEDIA_TYPES
from roadrunner_trio.messages.response import (
    STOP,
    Disconnected,
    Draining,
    FileResponse,
    Handoff,
    LoopResponse,
    Response,
    StreamResponse,
)


async def produce(send):
    await send(b"x")


async def on_message(message, send):
    return STOP


async def run(request, stream):
    pass


def stream(**settings):
    return StreamResponse(produce, **settings)


def loop(**settings):
    _, receiving = trio.open_memory_channel(0)
    return LoopResponse(receiving, on_message, **settings)


def file(**settings):
    return FileResponse("index.html", **settings)


KINDS = pytest.mark.parametrize("kind", [Response, stream, loop, file])


# What all kinds share


@KINDS
def test_a_status_a_list_of_fields_and_no_reason(kind):
    response = kind(fields={"X-A": "1"})
    assert response.status == 200
    assert (b"x-a", b"1") in response.fields
    assert isinstance(response.fields, list)
    assert response.reason is None


@KINDS
@pytest.mark.parametrize("status", [200, 299, 404, 599, http.HTTPStatus.GONE])
def test_final_statuses(kind, status):
    assert kind(status=status).status == status


@KINDS
@pytest.mark.parametrize("status", [0, 99, 100, 101, 103, 199, 600, -200])
def test_nothing_else_is_a_status(kind, status):
    with pytest.raises(ValueError, match=f"200 to 599, not {status}"):
        kind(status=status)


@KINDS
@pytest.mark.parametrize("fields", [{"a": "1\r\n"}, {"a": "\0"}, {"a b": "1"}, {"a\r\n": "1"}, [("", "1")]])
def test_a_field_that_could_split_the_message_is_refused_at_once(kind, fields):
    with pytest.raises(ValueError):
        kind(fields=fields)


@KINDS
def test_a_reason_of_ones_own(kind):
    assert kind(reason="Très bien").reason == b"Tr\xe8s bien"
    for bad in ("a\r\nb: c", "a\n", "\0", "€"):
        with pytest.raises(ValueError):
            kind(reason=bad)


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (Response(status=404), "<Response 404 Not Found>"),
        (stream(status=599), "<StreamResponse 599 >"),
        (file(), "<FileResponse 200 OK>"),
        (Handoff(run), "<Handoff None>"),
        (Handoff(run, status=101), "<Handoff 101>"),
        (STOP, "STOP"),
        (Draining(3.5), "Draining(deadline=3.5)"),
        (Disconnected(), "Disconnected()"),
    ],
)
def test_they_show_themselves_in_a_log(response, text):
    assert repr(response) == text


# Response


@pytest.mark.parametrize(
    ("body", "octets"),
    [(b"x", b"x"), ("é€", b"\xc3\xa9\xe2\x82\xac"), (bytearray(b"x"), b"x"), (memoryview(b"xyz")[1:], b"yz")],
)
def test_content_is_bytes_or_text_as_utf_8(body, octets):
    assert Response(body).body == octets
    assert type(Response(body).body) is bytes


@pytest.mark.parametrize("body", [None, 5, ["x"], {"a": 1}, iter(b"x")])
def test_content_is_nothing_else(body):
    with pytest.raises(TypeError, match="bytes or str, not"):
        Response(body)


def test_without_content():
    assert Response().body == b""
    assert Response().fields == []


@pytest.mark.parametrize(
    ("made", "media_type", "body"),
    [
        (Response.text("é"), b"text/plain; charset=utf-8", "é".encode()),
        (Response.html("<p>"), b"text/html; charset=utf-8", b"<p>"),
        (Response.json({"a": [1, "é"]}), b"application/json", '{"a":[1,"é"]}'.encode()),
        (Response.json(None), b"application/json", b"null"),
    ],
)
def test_builders_name_the_media_type(made, media_type, body):
    assert (made.status, made.fields, made.body) == (200, [(b"content-type", media_type)], body)


@pytest.mark.parametrize("build", [Response.text, Response.html, Response.json])
def test_builders_take_a_status_and_fields(build):
    made = build("x", status=418, fields={"x-a": "1"})
    assert made.status == 418
    assert (b"x-a", b"1") in made.fields


@pytest.mark.parametrize("build", [Response.text, Response.html, Response.json])
def test_a_media_type_that_is_given_stands(build):
    assert build("x", fields=[("Content-Type", "text/x")]).fields == [(b"content-type", b"text/x")]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        Response.json([value])


def test_what_json_does_not_know_is_refused():
    with pytest.raises(TypeError):
        Response.json(object())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(status):
    made = Response.redirect("/there?x=1", status=status, fields={"x-a": "1"})
    assert (made.status, made.body) == (status, b"")
    assert made.fields == [(b"location", b"/there?x=1"), (b"x-a", b"1")]


def test_a_redirect_makes_it_get_unless_told_otherwise():
    assert Response.redirect("/").status == 303


@pytest.mark.parametrize("status", [200, 300, 304, 305, 306, 404])
def test_nothing_else_is_a_redirect(status):
    with pytest.raises(ValueError, match="a redirect is"):
        Response.redirect("/", status=status)


@pytest.mark.parametrize("location", ["/a\r\nset-cookie: b", "/a\n", "/\0", "/\x7f", "/\x85", "/\ud800"])
def test_a_location_without_sense_is_refused(location):
    with pytest.raises(ValueError):
        Response.redirect(location)


def test_a_location_is_text():
    with pytest.raises(TypeError, match="a location is text, not b'/'"):
        Response.redirect(b"/")


def test_a_location_becomes_a_uri():
    assert Response.redirect("/café?q=ü b#x").fields == [(b"location", b"/caf%C3%A9?q=%C3%BC%20b#x")]


def test_no_content():
    made = Response.no_content(fields={"x-a": "1"})
    assert (made.status, made.body, made.fields) == (204, b"", [(b"x-a", b"1")])


# StreamResponse, LoopResponse


def test_a_stream_needs_a_producer():
    assert stream().produce is produce
    with pytest.raises(TypeError, match="given `send`"):
        StreamResponse([b"a", b"b"])


def test_a_loop_keeps_its_channel_and_its_callback():
    _, receiving = trio.open_memory_channel(0)
    made = LoopResponse(receiving, on_message)
    assert (made.messages, made.on_message) == (receiving, on_message)


def test_content_may_be_saved_as_a_file():
    made = Response.attachment("a,b\n", "größe.csv", fields={"x": "1"})
    assert made.body == b"a,b\n"
    assert made.fields == [
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"x", b"1"),
        (b"content-disposition", b"attachment; filename=\"gr__e.csv\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.csv"),
    ]
    assert FileResponse("x.csv", filename="y.txt").fields == [
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", b'attachment; filename="y.txt"'),
    ]
    assert Response.attachment(b"", "x", fields={"content-type": "a/b"}).fields[0] == (b"content-type", b"a/b")


@pytest.mark.parametrize("filename", ["../x", "a\r\nb", ""])
def test_a_file_has_a_name_and_no_folder(filename):
    for make in (lambda: Response.attachment(b"", filename), lambda: FileResponse("x", filename=filename)):
        with pytest.raises(ValueError, match="name"):
            make()


def test_a_file_has_one_name():
    fields = {"Content-Disposition": "inline"}
    with pytest.raises(ValueError, match="not by both"):
        Response.attachment(b"", "x", fields=fields)
    with pytest.raises(ValueError, match="not by both"):
        FileResponse("x", filename="y", fields=fields)
    assert FileResponse("x", fields=fields).fields[1] == (b"content-disposition", b"inline")


# FileResponse


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("index.html", b"text/html; charset=utf-8"),
        (Path("/srv/A.PNG"), b"image/png"),
        ("x.tar.gz", b"application/gzip"),
        ("x.unheard-of", b"application/octet-stream"),
        ("README", b"application/octet-stream"),
        (".html", b"application/octet-stream"),
    ],
)
def test_a_media_type_is_guessed_from_the_name(path, media_type):
    assert FileResponse(path).fields == [(b"content-type", media_type)]


def test_the_media_type_of_a_file_can_be_given():
    assert file(fields={"content-type": "text/x"}).fields == [(b"content-type", b"text/x")]


def test_a_file_is_sent_whole_or_in_part():
    made = file()
    assert (made.path, made.offset, made.length) == ("index.html", 0, None)
    made = file(offset=5, length=0)
    assert (made.offset, made.length) == (5, 0)


@pytest.mark.parametrize("settings", [{"offset": -1}, {"length": -1}, {"offset": -1, "length": 5}])
def test_a_part_of_a_file_is_not_negative(settings):
    with pytest.raises(ValueError, match="negative"):
        file(**settings)


def test_every_media_type_may_go_into_a_field():
    for suffix, media_type in MEDIA_TYPES.items():
        assert suffix == suffix.lower()
        assert FileResponse("x" + suffix).fields == [(b"content-type", media_type)]


# Handoff


@pytest.mark.parametrize("status", [None, 101, 200, 204, 299])
def test_what_hands_a_stream_over(status):
    made = Handoff(run, status=status, fields={"Upgrade": "x"}, replay_head=True)
    assert (made.run, made.status, made.replay_head) == (run, status, True)
    assert made.fields == [(b"upgrade", b"x")]


@pytest.mark.parametrize("status", [0, 100, 102, 199, 300, 404, 500])
def test_what_does_not(status):
    with pytest.raises(ValueError, match="101, 2xx or nothing"):
        Handoff(run, status=status)


def test_a_hand_off_refuses_what_could_split_its_head():
    with pytest.raises(ValueError):
        Handoff(run, status=101, fields={"upgrade": "x\r\n"})
