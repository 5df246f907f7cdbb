"""The routes that ASGI applications have chosen, as those who measure and trace know routes.

ASGI has no word for a route. Frameworks leave theirs in the scope, as ``scope["route"]``, whose ``path`` is a template.
"""

from __future__ import annotations

from typing import Any, Final

from .table import Endpoint

MOST: Final = 1024
"""Routes that are remembered; then all are forgotten."""


class Endpoints:
    """An endpoint for each route of an application."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Endpoint | None]] = {}

    def of(self, route: Any) -> Endpoint | None:
        """That of ``route``; None of what has no path, or one that is no text. The same for the same route."""
        found = self._known.get(id(route))  # not by itself: those of Starlette cannot be keys
        if found is None or found[0] is not route:
            if len(self._known) >= MOST:
                self._known.clear()
            path: Any = getattr(route, "path", None)
            endpoint = Endpoint(pattern=path) if isinstance(path, str) and path else None
            found = self._known[id(route)] = route, endpoint
        return found[1]
