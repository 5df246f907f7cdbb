"""Writes ``docs/reference/events.rst`` from the code; a test says when the page is stale. Then::

    python docs/_ext/events_page.py

The page is kept as text, not made while the documentation is built, so that a change to what is promised can be seen.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roadrunner_trio.telemetry import observe
from roadrunner_trio.telemetry.observe import HOOKS, Observer, OfRequest

PAGE = Path(__file__).parent.parent / "reference" / "events.rst"
WIDTH = 120
MEANINGS = {"Address": "tuple[str, int] | str", "Outcome": "str", "Part": "str", "Side": "str", "MessageKind": "str"}
ALIASES = re.compile(rf"\b(?:{'|'.join(MEANINGS)})\b")

HEAD = """\
.. Written by docs/_ext/events_page.py: change the docstrings of roadrunner_trio/telemetry/observe.py, and run that.

Events
======

.. currentmodule:: roadrunner_trio

What an :class:`Observer` can be told. Override the hooks you want, and give an instance to
:class:`Listener(observers=[...]) <Listener>`:

.. code-block:: python

   from roadrunner_trio import Observer, RequestEnded


   class Slow(Observer):
       def request_stop(self, event: RequestEnded) -> None:
           if event.duration > 1:
               print(event.method, event.path, event.status, event.duration)
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_promise(), *_hooks(), *_shared(), *_events()]).rstrip() + "\n"


def _promise() -> Iterator[str]:
    """The module's docstring, apart from its first paragraph, which is for readers of the code."""
    for paragraph in inspect.cleandoc(observe.__doc__ or "").split("\n\n")[1:]:
        yield from (*_wrapped(_tidy(paragraph), WIDTH), "")


def _hooks() -> Iterator[str]:
    yield from _title("Hooks")
    rows = [
        (f"``{hook}``", _tidy(getattr(Observer, hook).__doc__), f":class:`{event_of(hook).__name__}`")
        for hook in HOOKS
    ]  # fmt: skip
    yield from _table(("Hook", "When", "Its event"), rows, "26 48 26")


def _shared() -> Iterator[str]:
    yield from _title("Of every request")
    yield from ("An event that always has a ``request`` has these of it as well.", "")
    properties = [(name, each) for name, each in vars(OfRequest).items() if isinstance(each, property)]
    rows = [(f"``{name}``", _types(each.fget)["return"], _tidy(each.__doc__)) for name, each in properties]
    yield from _table(("Attribute", "Type", "What it is"), rows, "18 18 64")


def _events() -> Iterator[str]:
    yield from _title("The events")
    for event in dict.fromkeys(event_of(hook) for hook in HOOKS):
        summary, _, attributes = inspect.cleandoc(event.__doc__ or "").partition("\n\nAttributes:\n")
        types = {name: shown for base in event.__mro__ for name, shown in _types(base).items()}
        told = re.findall(r"^    (\w+): (.+(?:\n     .+)*)", attributes, re.MULTILINE)
        rows = [(f"``{name}``", types[name], _capital(_tidy(meaning))) for name, meaning in told]
        body = [
            *_wrapped(_tidy(summary), WIDTH - 3),
            "",
            *_table(("Attribute", "Type", "What it is"), rows, "18 18 64"),
        ]
        yield from (f".. class:: {event.__name__}", "", *[f"   {line}".rstrip() for line in body])


def event_of(hook: str) -> Any:
    """The type of the event that a hook is given."""
    return typing.get_type_hints(getattr(Observer, hook))["event"]


def _types(thing: Any) -> dict[str, str]:
    """The annotations of a class or a function as they stand in the code, our own names for types spelled out."""
    found = inspect.get_annotations(thing)
    texts = {name: getattr(annotation, "__forward_arg__", annotation) for name, annotation in found.items()}
    return {name: f"``{ALIASES.sub(lambda alias: MEANINGS[alias[0]], text)}``" for name, text in texts.items()}


def _tidy(text: str | None) -> str:
    """One line, without marks that only a reader of the code can use, such as "(N50)"."""
    line = " ".join((text or "").split())
    return re.sub(r" \(N\d+\)|: N\d+(?=\))", "", line)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(text: str) -> Iterator[str]:
    yield from (text, "-" * len(text), "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], widths: str) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for first, *others in (head, *rows):
        yield from _wrapped(first, WIDTH - 3, "   * - ")
        for other in others:
            yield from _wrapped(other, WIDTH - 3, "     - ")
    yield ""


def _wrapped(text: str, width: int, mark: str = "") -> list[str]:
    indent = " " * len(mark)
    return textwrap.wrap(
        text, width, initial_indent=mark, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
