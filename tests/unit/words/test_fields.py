"""Field lists: lookup, token lists, and what an application may give."""

from __future__ import annotations

import pytest

from roadrunner_trio.fields import encoded, lookup, tokens

FIELDS = ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))


def test_lookup_gives_the_first_value():
    assert lookup(FIELDS, b"a") == b"1"
    assert lookup(FIELDS, b"b") == b"2"
    assert lookup(FIELDS, b"c") is None


def test_token_lists_are_read_over_all_lines():
    fields = [(b"connection", b"Close, x-a"), (b"other", b"y"), (b"connection", b"\tUpgrade ,, ")]
    assert tokens(fields, b"connection") == {b"close", b"x-a", b"upgrade"}
    assert tokens(fields, b"te") == frozenset()


def test_a_token_that_only_contains_another_is_another():
    assert b"close" not in tokens([(b"connection", b"enclosed")], b"connection")


@pytest.mark.parametrize(
    "given",
    [
        {"X-A": "1", "b": "é"},
        {b"X-A": b"1", b"b": b"\xe9"},
        [("X-A", "1"), ("b", "é")],
        [(b"X-A", "1"), ("b", b"\xe9")],
        iter([("x-a", " 1\t"), ("B", "é")]),
    ],
)
def test_pairs_or_a_mapping_of_str_or_bytes_become_one_form(given):
    assert encoded(given) == [(b"x-a", b"1"), (b"b", b"\xe9")]


def test_order_and_repeats_are_kept():
    assert encoded([("a", "1"), ("b", "2"), ("A", "3")]) == list(FIELDS)


def test_an_empty_value_and_a_tab_inside_are_fine():
    assert encoded({"a": "", "b": "x\ty"}) == [(b"a", b""), (b"b", b"x\ty")]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\n", "a\0", "é", "(a)", b"\xff", b"a\r"])
def test_a_name_is_a_token(name):
    with pytest.raises(ValueError, match="not a token"):
        encoded([(name, "1")])


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
def test_a_value_has_no_control_octet(octet):
    value = b"a" + bytes([octet]) + b"b"
    with pytest.raises(ValueError, match="control character"):
        encoded([("x", value)])
    with pytest.raises(ValueError, match="control character"):
        encoded([("x", value.decode("latin-1"))])


@pytest.mark.parametrize("value", ["a\r\nset-cookie: stolen=1", "a\n", "\ra", "\0"])
def test_a_value_cannot_split_the_message(value):
    with pytest.raises(ValueError, match="control character"):
        encoded({"x": value})


def test_a_value_is_latin_1():
    with pytest.raises(ValueError, match="latin-1"):
        encoded({"x": "€"})


@pytest.mark.parametrize("pair", [("a", 1), (1, "a"), ("a", None), ("a", bytearray(b"x"))])
def test_names_and_values_are_str_or_bytes(pair):
    with pytest.raises(TypeError, match="must be str or bytes, not"):
        encoded([pair])
