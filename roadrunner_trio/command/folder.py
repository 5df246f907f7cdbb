"""``roadrunner-trio serve ./public``: a folder in place of an application."""

from __future__ import annotations

import logging
import os
from typing import Final

from ..apps.static import Static
from ..telemetry.log_output import spoken
from ..transport.stdio import tell
from .configuration import Values
from .explain import PROGRAM, LoadError

OF_FOLDERS: Final = ("listing", "fallback")
"""Settings that mean something for a folder alone."""


def names_folder(target: str) -> bool:
    """Whether it is a folder that is meant: one that is there, or a path that could be nothing else."""
    if ":" in target and not os.path.isdir(target):
        return False
    if os.path.isdir(target):
        return True
    return (target.startswith((".", os.sep)) or os.path.isfile(target)) and not target.endswith(".py")


def folder(target: str, server: Values) -> Static:
    """What serves it.

    Raises:
        LoadError: there is no such folder.
        ValueError: a setting has no meaning for it, or names no file.
    """
    for name in ("factory", "interface", "root-path", "lifespan"):
        if server.has(name):
            raise ValueError(f"{server.where(name)}: {target} is a folder, and no application, for which alone that is")
    if os.path.isfile(target):
        raise LoadError(f"{target} is a file, and no folder: name the one in which it is")
    try:
        made = Static(target, listing=server["listing"], fallback=server["fallback"], immutable=True)
    except OSError as exc:
        raise LoadError(str(exc)) from None
    if not (server["listing"] or server["fallback"] or os.path.exists(os.path.join(target, "index.html"))):
        note = f"there is no index.html in {target}, so / is not found"
        hint = f"{server.spell('listing', like='app')} shows what is there"
        tell(spoken(logging.WARNING, f"{PROGRAM}: {note}: {hint}"))
    return made


def refuse_for_applications(target: str, server: Values) -> None:
    """Looks whether a setting was given that only folders have.

    Raises:
        ValueError: one was.
    """
    for name in OF_FOLDERS:
        if server.has(name):
            raise ValueError(f"{server.where(name)}: {target} is no folder, for which alone that is")
