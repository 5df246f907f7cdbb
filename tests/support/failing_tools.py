"""What foreign code may raise where it is called from a task that is everybody's."""

from __future__ import annotations

import trio


def a_cancellation() -> BaseException:
    """A ``Cancelled`` of another task's, as an application may have kept it."""
    kept: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                kept.append(exc)
                raise

    trio.run(main)
    return kept[0]


WRONG = [
    ValueError("wrong"),
    AttributeError("a slot that is not set"),
    a_cancellation(),
    GeneratorExit(),
    SystemExit(3),
    MemoryError(),
    RecursionError(),
    BaseExceptionGroup("several", [SystemExit(1), ValueError()]),
]
NAMES = [type(exc).__name__ for exc in WRONG]
