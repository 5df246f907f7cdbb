"""Text of others: what is escaped in it, and what is not."""

from __future__ import annotations

import re
import unicodedata

import pytest

from roadrunner_trio.printable import HIDDEN, LONGEST, cut, is_printable, one_line, printable, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("/a?b=%1B[31m é", "/a?b=%1B[31m é"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x7f\x80\x9b", "\\x7f\\x80\\x9b"),
        ('"quoted"', '\\"quoted\\"'),
        ("back\\slash", "back\\\\slash"),
        ("\u2028\u202e\u200b", "\\u2028\\u202e\\u200b"),
        ("\udc80", "\\udc80"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_text_that_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown


ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE = "\u00ad\u034f\u115f\u180e\u200b\u200c\u200d\u2060\u2061\u3164\ufeff\ufe0f\uffa0\ufffb\U000e0041\U000e0100"


@pytest.mark.parametrize("char", [*map(chr, range(32)), *map(chr, range(127, 160)), *ENDS, *DIRECTIONS, *INVISIBLE])
@pytest.mark.parametrize("escape", [printable, visible, one_line])
def test_what_ends_a_line_turns_its_direction_or_cannot_be_seen(char, escape):
    shown = escape(f"a{char}b")
    assert re.fullmatch(r"a\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})b", shown)
    assert not is_printable(f"a{char}b")


def test_every_hidden_letter_is_one_that_its_category_does_not_give_away():
    """Else the list would say what ``str.isprintable`` says already."""
    hidden = [chr(code) for code in range(0x110000) if re.fullmatch(f"[{HIDDEN}]", chr(code))]
    assert len(hidden) > 250
    assert all(char.isprintable() for char in hidden)
    assert {unicodedata.category(char) for char in hidden} == {"Mn", "Lo"}


def test_letters_of_all_scripts_are_left_alone():
    text = 'naïve Ελλάδα "quoted" back\\slash 日本語 العربية हिन्दी 🦤'
    assert visible(text) == text
    assert visible(text + "\n") == text + "\\x0a"


def test_what_has_been_made_visible_stays_as_it_is():
    text = visible("\\x1b is \x1b")
    assert text == "\\x1b is \\x1b"
    assert visible(text) == text


def test_a_text_that_nobody_would_read_loses_its_middle():
    text = "a" * LONGEST
    assert cut(text) == text
    longer = cut("b" + text + "c" * 5)
    assert longer.startswith("baaa")
    assert longer.endswith("aaaccccc")
    assert "... (6 characters left out) ..." in longer
    assert len(longer) < LONGEST + 50
    assert one_line("\n" * 1_000_000).count("\\x0a") == LONGEST
