"""The two verdicts that become a response."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from roadrunner_trio.errors import HTTPError, ProtocolError, phrase


def test_a_protocol_error_names_its_reason_and_its_status():
    error = ProtocolError(431, "header_too_long")
    assert (error.status, error.reason) == (431, "header_too_long")
    assert str(error) == "header_too_long (431)"


def test_an_http_error_speaks_the_standard_phrase():
    error = HTTPError(404)
    assert (error.status, error.detail, error.fields) == (404, "Not Found", ())
    assert str(error) == "404 Not Found"


def test_an_http_error_may_say_more():
    error = HTTPError(503, "back at noon", fields=[("retry-after", "3600")])
    assert error.detail == "back at noon"
    assert error.fields == ((b"retry-after", b"3600"),)
    assert str(error) == "503 back at noon"


def test_an_empty_detail_is_not_replaced():
    assert HTTPError(400, "").detail == ""


@pytest.mark.parametrize("status", [200, 599])
def test_final_statuses_reach_from_200_to_599(status):
    assert HTTPError(status).status == status


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 600, 1000])
def test_an_http_error_is_final(status):
    with pytest.raises(ValueError, match=f"200 to 599, not {status}"):
        HTTPError(status)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (("no such note",), "not with 'no such note'; write HTTPError(404, 'no such note')"),
        (("404",), "not with '404'; write HTTPError(404, "),
        ((None,), "not with None; write HTTPError(404, "),
        ((404.0,), "not with 404.0; write HTTPError(404, "),
        ((True,), "not with True; write HTTPError(404, "),
        (("text", 404), "not with 'text'; write HTTPError(404, 'text')"),
        ((404, b"text"), "the detail of an HTTPError is text, not b'text'"),
        ((404, {"error": 1}), "the detail of an HTTPError is text, not {'error': 1}"),
    ],
)
def test_an_http_error_begins_with_a_status(given, hint):
    with pytest.raises(TypeError, match=re.escape(hint)):
        HTTPError(*given)


def test_a_status_may_be_of_the_standard_library():
    error = HTTPError(HTTPStatus.NOT_FOUND)
    assert (type(error.status), error.status) == (int, 404)


def test_a_status_without_a_registered_phrase_has_an_empty_one():
    assert phrase(299) == ""
    assert HTTPError(599).detail == ""


@pytest.mark.parametrize(
    ("status", "text"), [(200, "OK"), (408, "Request Timeout"), (505, "HTTP Version Not Supported")]
)
def test_phrases_are_the_registered_ones(status, text):
    assert phrase(status) == text
