"""A page with what lies in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import quote

from ..messages.response import Response

MOST_LISTED: Final = 10_000
"""Entries on a page."""
_FIELDS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}
_PAGE: Final = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem }}
td {{ padding: 0 1rem 0 0 }} td:nth-child(2) {{ text-align: right }}
</style>
<h1>{title}</h1>
<table>
{rows}</table>
"""


def page(path: str, entries: Iterable[tuple[str, bool, int, int]], *, top: bool) -> Response:
    """A page that a name cannot break out of (CVE-2024-27306): names are escaped, and no script runs in it.

    Args:
        path: of the folder, as people read it.
        entries: names, whether each is a folder, octets, and when it was changed.
        top: there is nothing above it to go to.
    """
    rows = "" if top else _row("..", folder=True)
    for name, folder, size, modified in sorted(
        entries, key=lambda entry: (not entry[1], entry[0].casefold(), entry[0])
    ):
        rows += _row(name, folder=folder, size=size, modified=modified)
    return Response.html(_PAGE.format(title=escape(f"Index of {path}"), rows=rows), fields=_FIELDS)


def _row(name: str, *, folder: bool, size: int = 0, modified: int | None = None) -> str:
    slash = "/" if folder else ""
    # "./" so that no name is taken for a scheme; a name is octets, which may be no text.
    link = "./" + quote(name.encode("utf-8", "surrogateescape")) + slash
    shown = escape(name.encode("utf-8", "replace").decode()) + slash
    when = "" if modified is None else datetime.fromtimestamp(modified, UTC).strftime("%Y-%m-%d %H:%M")
    return f'<tr><td><a href="{link}">{shown}</a><td>{"" if folder else f"{size:,}"}<td>{when}\n'
