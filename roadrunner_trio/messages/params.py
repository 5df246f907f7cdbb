"""Names and values, of which a name may have several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Params(Mapping[str, str]):
    """Names and values of a query, cookies or a form: a mapping to the *first* value, with all of them beside it.

    Names are in the order in which they first came. A query name without ``=`` has the value ``""``.

    Attributes:
        pairs: every name and value, in order.
    """

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._first: dict[str, str] = {}
        for name, value in pairs:
            self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> str:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"Params({self.pairs!r})"

    def all(self, name: str) -> list[str]:
        """Every value of ``name``, in order."""
        return [value for key, value in self.pairs if key == name]
