"""``roadrunner-trio serve ./public``: a folder in place of an application."""

from __future__ import annotations

import os
from typing import Final

from ..apps.static import Static
from .configuration import Values
from .load import LoadError

OF_FOLDERS: Final = ("listing", "fallback")
"""Settings that mean something for a folder alone."""


def names_folder(target: str) -> bool:
    """Whether it is a folder that is meant: one that is there, or a path that could be nothing else."""
    if ":" in target and not os.path.isdir(target):
        return False
    return os.path.isdir(target) or (target.startswith((".", os.sep)) and not target.endswith(".py"))


def folder(target: str, server: Values) -> Static:
    """What serves it.

    Raises:
        LoadError: there is no such folder.
        ValueError: a setting has no meaning for it, or names no file.
    """
    for name in ("factory", "interface", "root-path", "lifespan"):
        if server.has(name):
            raise ValueError(f"{server.where(name)}: {target} is a folder, and no application, for which alone that is")
    try:
        return Static(target, listing=server["listing"], fallback=server["fallback"], immutable=True)
    except OSError as exc:
        raise LoadError(str(exc)) from None


def refuse_for_applications(target: str, server: Values) -> None:
    """Looks whether a setting was given that only folders have.

    Raises:
        ValueError: one was.
    """
    for name in OF_FOLDERS:
        if server.has(name):
            raise ValueError(f"{server.where(name)}: {target} is no folder, for which alone that is")
