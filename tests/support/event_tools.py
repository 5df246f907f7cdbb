"""An observer that notes everything."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

from roadrunner_trio.telemetry.observe import HOOKS, Observer


class Everything(Observer):
    """Notes every event, in order, as pairs of the hook's name and the event."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def note(self, event: Any, hook: str) -> None:
        """Every hook is this one."""
        self.events.append((hook, event))

    def names(self) -> list[str]:
        """The hooks that were called, in order."""
        return [hook for hook, _ in self.events]

    def of(self, hook: str) -> list[Any]:
        """The events of one hook, in order."""
        return [event for known, event in self.events if known == hook]

    def only(self, hook: str) -> Any:
        """The one event of this hook."""
        [event] = self.of(hook)
        return event


for _hook in HOOKS:
    setattr(Everything, _hook, partialmethod(Everything.note, hook=_hook))
