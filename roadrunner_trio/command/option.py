"""What a row of the table of settings is, and under which headings rows stand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Final

from ..settings import Contradiction
from .kinds import COUNT, OPTIONAL_COUNT, OPTIONAL_SIZE, SIZE, SWITCH, TIME, Kind
from .options import show_count, show_duration, show_size

VARIABLE: Final = "ROADRUNNER_"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A row.

    Attributes:
        name: ``"max-body"``: the flag without dashes, the key in a file.
        kind: what its values are.
        help: what it is for.
        default: its value when nobody gives one; None is none.
        note: the default in words, when it is not the same for all.
        aliases: further flags.
        group: under which heading the help has it.
        server: it is the whole server's affair, not that of one listener.
        field: the class it is a field of, and the field's name.
        bounds: what values may be, in words.
        endless: whether a time may be ``none``.
        least: the least that they may be, where no field says so,
        most: and the most.
        positive: a time has to be more than 0, where no field says so.
        bare: its flag may stand without a value, and then adds none; that of a switch with one, true or false.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    note: str = ""
    aliases: tuple[str, ...] = ()
    group: str = ""
    server: bool = False
    field: tuple[type, str] | None = None
    bounds: str = ""
    endless: bool = True
    least: int | None = None
    most: int | None = None
    positive: bool = False
    bare: bool = False

    @property
    def flag(self) -> str:
        """``--max-body``."""
        return "--" + self.name

    @property
    def variable(self) -> str:
        """``ROADRUNNER_MAX_BODY``."""
        return VARIABLE + self.dest.upper()

    @property
    def dest(self) -> str:
        """``max_body``."""
        return self.name.replace("-", "_")

    @property
    def shown(self) -> str:
        """The default, as it would be written; ``""`` when there is none to speak of."""
        if self.note or self.default is None:
            return self.note or ("none" if self.field else "")
        if self.kind is SWITCH:
            return "on" if self.default else "off"
        shown: Callable[[Any], str] = {TIME: show_duration, SIZE: show_size, OPTIONAL_SIZE: show_size}.get(
            self.kind, show_count if self.kind in (COUNT, OPTIONAL_COUNT) else str
        )
        return shown(self.default)

    def check(self, value: Any) -> None:
        """Whether a value is within its bounds.

        Raises:
            ValueError: it is not; the message begins with "must be".
        """
        if not self.endless and value == math.inf:
            raise ValueError("must be a finite time, not none")
        if self.positive and not value > 0:
            raise ValueError(f"must be {self.bounds}, not {value:g}")
        if self.least is not None and not self.least <= value <= (value if self.most is None else self.most):
            raise ValueError(f"must be {self.bounds}, not {value}")
        if self.field is not None:
            kind, name = self.field
            try:
                kind(**{name: value})
            except Contradiction:
                pass  # with a default; what is said of the other is not known yet
            except ValueError as exc:
                raise ValueError(str(exc).removeprefix(f"{kind.__name__}.{name} ")) from None


SERVING: Final = "what is served, and where"
PROCESSES: Final = "processes"
ENDING: Final = "how it ends"
LOGGING: Final = "logs and metrics"
DOORS: Final = "TLS and proxies"
TIMEOUTS: Final = "timeouts"
LIMITS: Final = "limits"
SESSIONS: Final = "WebSockets of an ASGI application"

GROUPS: Final = {
    SERVING: "",
    PROCESSES: "",
    ENDING: "",
    LOGGING: "",
    DOORS: "NETWORK is 10.0.0.0/8, 2001:db8::/32, 192.0.2.1 or unix; again, or with commas, for more",
    TIMEOUTS: "seconds, or with a unit: 500ms, 1.5s, 5m, 1h; none waits for ever",
    LIMITS: "sizes in octets, or with a unit: 64K, 10M, 1G",
    SESSIONS: "",
}
