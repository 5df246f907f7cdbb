"""Words that people search for stand on the pages that answer them, where a search finds them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("structured concurrency", "tutorial/index"),
        ("nursery", "tutorial/step-01"),
        ("workers", "howto/processes"),
        ("docker", "howto/container"),
        ("kubernetes", "howto/kubernetes"),
        ("fastapi", "howto/asgi"),
        ("lifespan", "howto/asgi"),
        ("multipart", "howto/forms"),
        ("prometheus", "howto/metrics"),
        ("http/3", "explanation/not-here"),
        ("quic", "explanation/not-here"),
        ("testclient", "howto/coming-from"),
    ],
)
def test_a_word_is_on_its_page(word: str, page: str) -> None:
    text = (DOCS / f"{page}.rst").read_text("utf-8").lower()
    assert re.search(rf"\b{re.escape(word)}\b", text)


@pytest.mark.parametrize("word", ["docker", "workers", "fastapi", "multipart", "lifespan", "prometheus", "websocket"])
def test_the_table_of_words_has_it(word: str) -> None:
    table = (DOCS / "explanation" / "not-here.rst").read_text("utf-8").partition(".. _where-to-find-it:")[2]
    assert word in table.lower()
