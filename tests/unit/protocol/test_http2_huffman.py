"""Huffman-coded strings: the examples of RFC 7541, and what no string may be."""

from __future__ import annotations

import pytest

from roadrunner_trio.protocol.http2.huffman import CODES, decode, encode
from roadrunner_trio.protocol.http2.tables import CODE_LENGTHS, STATIC

EXAMPLES = [
    (b"www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
    (b"no-cache", "a8eb10649cbf"),
    (b"custom-key", "25a849e95ba97d7f"),
    (b"Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
    (b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1", None),
    (bytes(range(256)), None),
    (b"", ""),
]


@pytest.mark.parametrize(("text", "code"), EXAMPLES, ids=[str(n) for n in range(len(EXAMPLES))])
def test_there_and_back(text, code):
    if code is not None:
        assert encode(text).hex() == code
    assert decode(encode(text)) == text


def test_the_code_is_a_whole_tree():
    assert sum(2.0**-bits for _, bits in CODES) == 1
    assert CODES[256] == (0x3FFFFFFF, 30)
    assert len(CODE_LENGTHS) == 257
    assert len(STATIC) == 61


@pytest.mark.parametrize(
    "code",
    [
        "ffffffff",  # the end of a string
        "fffffffc",
        "62b0",  # "/p", padded with zeros
        "62bfff",  # padded with twelve bits
        "ff",  # eight bits of padding
        "fe",  # not a whole code
        "00fe",
    ],
)
def test_what_is_no_string(code):
    for _ in range(2):  # rows are made on the first way, and used on the second
        with pytest.raises(ValueError, match="cut short or padded"):
            decode(bytes.fromhex(code))


@pytest.mark.parametrize("code", ["62bf", "07", "1f"])
def test_padding_of_less_than_an_octet(code):
    assert decode(bytes.fromhex(code))
