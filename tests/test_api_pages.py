"""The reference: every public name is on exactly one page, and nothing that is not public is on any."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BESIDE = {
    "roadrunner_trio": {"__version__"},
    "roadrunner_trio.apps.static": {"SymbolicLinks", "CacheControl"},
    "roadrunner_trio.apps.router": {"INHERIT", "OnError", "RouteSettings", "Endpoint"},
    "roadrunner_trio.testing": {"httpx_transport.MemoryTransport"},
}
"""Names that need no page, or have one although ``__all__`` does not have them."""
DIRECTIVES = re.compile(
    r"^ *\.\. (?:py:)?(?:(?P<scope>module|automodule|currentmodule)|(?:auto)?(?:class|function|exception|data)):: "
    r"(?P<names>.+(?:\n +[A-Za-z_]+$)*)",
    re.MULTILINE,
)


def named(page: str) -> Iterator[str]:
    """The full names of what a page describes."""
    module = ""
    for match in DIRECTIVES.finditer(page):
        names = [name.partition("(")[0].strip() for name in match["names"].splitlines()]
        if match["scope"]:
            [module] = names
        else:
            yield from (name if name.startswith("roadrunner_trio") else f"{module}.{name}" for name in names)


def described() -> dict[str, list[str]]:
    """The pages of each name."""
    found = defaultdict(list)
    for path in sorted(DOCS.rglob("*.rst")):
        for name in named(path.read_text("utf-8")):
            found[name].append(str(path.relative_to(DOCS)))
    return found


def promised() -> Iterator[str]:
    """The full names of the public surface."""
    module = ""
    for line in Path(__file__).with_name("public_api.txt").read_text("utf-8").splitlines():
        if line and not line.startswith(" "):
            module = line
        elif match := re.match(r" {4}(?:(?:class|def|async def) )?(\w+)", line):
            yield f"{module}.{match[1]}"


PAGES = described()
PUBLIC = list(promised())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_on_exactly_one_page(name: str) -> None:
    module, _, last = name.rpartition(".")
    if last not in BESIDE.get(module, ()):
        assert len(PAGES.get(name, [])) == 1, PAGES.get(name)


def test_what_is_not_public_is_on_no_page() -> None:
    beside = {f"{module}.{name}" for module, names in BESIDE.items() for name in names}
    words = {name for name in PAGES if name.startswith("None.")}
    assert set(PAGES) - set(PUBLIC) - beside - words == set()


def test_every_word_of_signatures_is_explained() -> None:
    """What ``conf.py`` has signatures say stands on a page."""
    scope: dict[str, object] = {}
    text = (DOCS / "conf.py").read_text("utf-8")
    exec(text[text.index("autodoc_type_aliases") : text.index('"""Names that')], scope)
    aliases = scope["autodoc_type_aliases"]
    assert {name if "." in name else f"None.{name}" for name in aliases.values()} <= set(PAGES)


def test_names_are_found() -> None:
    page = """
.. module:: a.b

.. autoclass:: C(x)
   :members:

   .. automethod:: m

.. data:: D
          E

.. currentmodule:: None
.. data:: F
"""
    assert list(named(page)) == ["a.b.C", "a.b.D", "a.b.E", "None.F"]
