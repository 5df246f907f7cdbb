"""The traceback in the answer: to whom, of what, and in which form."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from http2_peer import open_http2

from roadrunner_trio import HTTPError, Listener, ProxyProtocol, Response
from roadrunner_trio.answering.explaining import is_here
from roadrunner_trio.testing import open_server


async def handler(request):
    match request.path:
        case "/fails":
            raise ValueError("<b>secret</b>")
        case "/teapot":
            raise HTTPError(418, "short and stout")
        case "/group":
            raise ExceptionGroup("several", [KeyError("one"), ValueError("other")])
    return Response.text("well")


async def test_who_is_here_sees_where_it_failed(autojump_clock, caplog):
    async with open_server(handler, tracebacks=True) as server:
        response = await server.client().get("/fails")
    assert response.status == 500
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert b'raise ValueError("<b>secret</b>")' in response.body
    assert response.body.endswith(b"ValueError: <b>secret</b>\n")
    assert "the handler of" in caplog.text


async def test_a_browser_sees_a_page_and_nothing_in_it_is_markup(autojump_clock):
    async with open_server(handler, tracebacks=True) as server:
        response = await server.client().get("/fails", fields={"accept": "text/html,*/*"})
    assert response.header("content-type") == "text/html; charset=utf-8"
    assert b"ValueError: &lt;b&gt;secret&lt;/b&gt;" in response.body
    assert b"<b>secret" not in response.body


async def test_a_group_is_shown_whole(autojump_clock):
    async with open_server(handler, tracebacks=True) as server:
        response = await server.client().get("/group")
    assert b"KeyError: 'one'" in response.body
    assert b"ValueError: other" in response.body


@pytest.mark.parametrize(
    "name", ["forwarded", "x-forwarded-for", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto", "client-ip"]
)
async def test_what_was_passed_on_is_not(autojump_clock, name):
    async with open_server(handler, tracebacks=True) as server:
        response = await server.client().get("/fails", fields={name: "for=192.0.2.1"})
    assert (response.status, response.body) == (500, b"")


async def test_nor_is_anything_without_the_setting(autojump_clock):
    async with open_server(handler) as server:
        response = await server.client().get("/fails")
    assert (response.status, response.body) == (500, b"")


async def test_an_answer_that_was_meant_is_as_it_was_meant(autojump_clock):
    async with open_server(handler, tracebacks=True) as server:
        client = server.client()
        assert (await client.get("/teapot")).body == b"short and stout"
        assert (await client.get("/")).body == b"well"


@pytest.mark.parametrize(
    ("peer", "here"), [(("127.0.0.1", 1), True), (("::1", 1), True), ("unix", True), (("192.0.2.1", 1), False)]
)
def test_who_is_elsewhere_sees_nothing(peer, here):
    assert is_here(SimpleNamespace(peer=peer, host="localhost:80", fields=())) is here


async def test_a_page_by_a_name_of_its_own_that_leads_here_sees_nothing(autojump_clock):
    async with open_server(handler, tracebacks=True) as server:
        response = await server.client().get("/fails", fields={"host": "rebound.example:8000"})
        assert (response.status, response.body) == (500, b"")
        assert (await server.client().get("/fails", fields={"host": "localhost:8000"})).body


async def test_an_exception_that_refuses_to_be_text_is_explained_too(autojump_clock):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    async def mute(request):
        raise Mute

    async with open_server(mute, tracebacks=True) as server:
        response = await server.client().get("/", fields={"accept": "text/html"})
    assert b"Mute: &lt;exception str() failed&gt;</title>" in response.body


async def test_over_http2_as_well(autojump_clock):
    async with open_http2(handler, tracebacks=True) as (_, peer):
        answers = [await peer.get("/fails", fields=fields) for fields in ((), [("via", "2 proxy")])]
    assert [answer.brief for answer in answers] == [(500, b"")] * 2  # of an authority that may be anybody's


def test_nobody_knows_who_is_here_behind_a_proxy_header() -> None:
    with pytest.raises(ValueError, match="with proxy_protocol nobody knows who is: leave one of them out"):
        Listener(handler, tracebacks=True, proxy_protocol=ProxyProtocol("127.0.0.1"))
