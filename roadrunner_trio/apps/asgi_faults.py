"""What an application that needs asyncio is told in place of a traceback that nobody would understand."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

from ..answering.faults import leaves
from ..journal import log
from .asgi_messages import chain

ASYNCIO: Final = os.path.join(os.path.dirname(os.__file__), "asyncio", "")
"""Where it lies. It is not imported here: 2 MB, in every process, for the sake of a name."""
YIELDED: Final = "trio.run received unrecognized yield message"


def asyncio_needed(exc: BaseException) -> str | None:
    """A sentence that names the line which needs asyncio, when that is why ``exc`` was raised; else None."""
    for leaf in leaves(exc):
        for each in chain(leaf):
            if (line := _line_of(each)) is not None:
                return (
                    f"the application needs asyncio ({line}), and this server runs Trio: use Starlette, FastAPI, "
                    "Litestar or Quart-Trio code here, or serve it with an asyncio server"
                )
    return None


def explain(exc: BaseException) -> None:
    """Raises a sentence in place of ``exc``, if that is for want of asyncio; the traceback is logged at DEBUG."""
    if isinstance(exc, Exception) and (sentence := asyncio_needed(exc)) is not None:
        log.debug("the application needs asyncio", exc_info=exc)
        raise RuntimeError(sentence) from None


def _line_of(exc: BaseException) -> str | None:
    frames = list(_frames(exc.__traceback__))
    inside = next((at for at, (name, _) in enumerate(frames) if name.startswith(ASYNCIO)), None)
    if inside is not None and not any(name == ASYNCIO + "runners.py" for name, _ in frames):  # a loop in a thread
        return _shown(frames[max(0, inside - 1)])
    if isinstance(exc, TypeError) and str(exc).startswith(YIELDED):
        return _shown(frames[-1]) if frames else "somewhere"
    if isinstance(exc, RuntimeError) and str(exc) == "no running event loop":  # get_running_loop is written in C
        return _shown(frames[-1]) if frames else "somewhere"
    return None


def _frames(trace: TracebackType | None) -> list[tuple[str, int]]:
    frames: list[tuple[str, int]] = []
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return frames


def _shown(frame: tuple[str, int]) -> str:
    name, line = frame
    return f"{'/'.join(name.split(os.sep)[-2:])}:{line}"
