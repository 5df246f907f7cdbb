"""Under which name the peer is to keep a file."""

from __future__ import annotations

import email.message
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.disposition import attachment
from roadrunner_trio.protocol.codec.uri import percent_decode


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report.pdf", b'attachment; filename="report.pdf"'),
        ("a b;c='d'.txt", b"attachment; filename=\"a b;c='d'.txt\""),
        ("café.pdf", b"attachment; filename=\"caf_.pdf\"; filename*=UTF-8''caf%C3%A9.pdf"),
        ("€ 5.txt", b"attachment; filename=\"_ 5.txt\"; filename*=UTF-8''%E2%82%AC%205.txt"),
        ('say "hi".txt', b"attachment; filename=\"say _hi_.txt\"; filename*=UTF-8''say%20%22hi%22.txt"),
        ("100%41.txt", b"attachment; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
        ("a'b*c(é).txt", b"attachment; filename=\"a'b*c(_).txt\"; filename*=UTF-8''a%27b%2Ac%28%C3%A9%29.txt"),
        ("gpj.\u202eexe", b"attachment; filename=\"gpj._exe\"; filename*=UTF-8''gpj.%E2%80%AEexe"),
        (".profile", b'attachment; filename=".profile"'),
        (" ", b'attachment; filename=" "'),
    ],
)
def test_a_name_is_quoted_or_encoded(name, value):
    assert attachment(name) == value


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/b", "../../etc/passwd", "a\\b", "C:\\x", "\\"])
def test_a_name_is_no_path(name):
    with pytest.raises(ValueError, match="is no name to save a file under"):
        attachment(name)


@pytest.mark.parametrize("octet", [*range(32), *range(0x7F, 0xA0)])
def test_a_name_has_no_control_character(octet):
    with pytest.raises(ValueError, match="has no control character"):
        attachment(f"a{chr(octet)}b")


def test_nor_half_a_character():
    with pytest.raises(ValueError, match="surrogates"):
        attachment("a\udc80")


@pytest.mark.parametrize("name", [b"a", None, 5])
def test_a_name_is_text(name):
    with pytest.raises(TypeError, match="the name of a file is text"):
        attachment(name)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1))
def test_a_reader_of_mail_and_one_of_the_rfc_find_the_name_again(name):
    if name in (".", ".."):
        return
    value = attachment(name).decode("ascii")
    parts = re.fullmatch(
        r"attachment; filename=\"([ !#$&-\[\]-~]+)\"(?:; filename\*=UTF-8''([!#$&+.^_`|~\w%-]+))?", value
    )
    assert parts is not None
    assert (parts[1] if parts[2] is None else percent_decode(parts[2]).decode()) == name
    message = email.message.Message()
    message["Content-Disposition"] = value
    assert message.get_content_disposition() == "attachment"
