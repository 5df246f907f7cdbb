"""Files from a folder: ``Static("public")`` is a handler that answers with what lies there, and with nothing else.

Read :meth:`Static.__call__`. A path of a request becomes a relative name (:func:`name_of`), the folder opens what is
there by that name (:mod:`roadrunner_trio.transport.beneath` keeps it inside), and a
:class:`~roadrunner_trio.FileResponse` does the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import trio

from ..answering.file_response import SMALL, Said, said_of
from ..fields import Field, FieldsLike, Own, encoded, lookup
from ..messages.request import Request
from ..messages.response import AnyResponse, FileResponse, Response
from ..protocol.codec.etag import CONDITIONS, conditions, judge
from ..protocol.codec.negotiation import accepts, choose_coding, joined
from ..protocol.codec.uri import percent_decode
from ..transport.beneath import Folder
from ..transport.files import OpenFile
from .asgi_scope import mounted_below
from .listing import MOST_LISTED, page
from .routes import Group, Route

__all__ = ["CacheControl", "Static", "SymbolicLinks"]

SymbolicLinks: TypeAlias = Literal["beneath", "none", "follow"]
CacheControl: TypeAlias = str | Callable[[str], str | None]
"""A value of Cache-Control, or what gives one for a file's path below the folder; None gives it none."""

CODINGS: Final = {b"zstd": b".zst", b"br": b".br", b"gzip": b".gz"}
"""Content codings, best first, and what the names of files in them end with."""
HASHED: Final = (
    r"[.-](?:(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,64}|(?=[^.]*[0-9])(?=[^.]*[A-Z])[A-Za-z0-9_]{8})\.[A-Za-z0-9.]+$"
)
"""What names end with that bundlers make of what is in a file: ``app.4f1c9a7b.js``, ``index-BxY1z_9Q.css``. A date is
no such thing, nor a word: what is taken for one by mistake is kept for a year."""
FOREVER: Final = "public, max-age=31536000, immutable"
FRESH: Final = 1.0
"""Seconds for which it is remembered in which codings a file is there, and what was said of it."""
REMEMBERED: Final = 1024
"""Files for which it is; then all are forgotten."""
HELD: Final = 4 * 1024 * 1024
"""Octets of small files, and of what peers accept, that are kept meanwhile; then as well."""

_ALLOW: Final = {"allow": "GET, HEAD, OPTIONS"}
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_VARY: Final = (b"vary", b"accept-encoding")
_refused = re.compile(rb"[\x00-\x1f\x7f\\/]").search
_Coded: TypeAlias = tuple[bytes, ...]


class _Seen(NamedTuple):
    """A file that was looked at a moment ago.

    Attributes:
        until: when that was too long ago.
        said: what was said of it.
        name: what was opened: its own, or that of its like in another coding.
        status: of the file.
        content: of a small one.
    """

    until: float
    said: Said
    name: bytes
    status: os.stat_result
    content: bytes | None


def name_of(path: bytes, *, dotfiles: bool = False) -> bytes | None:
    """The relative name that a path asks for, with a slash at its end if the path has one; None for what is no name.

    Each segment is decoded once and by itself. What then is empty, ``.`` or ``..``, or holds a slash, a backslash or a
    control character, is no name, and neither is one that begins with a dot; ``.well-known`` at the top is one (RFC
    8615).

    Args:
        path: of a target, without the query; begins with a slash, or is empty.
        dotfiles: names may begin with a dot.
    """
    if path in (b"", b"/"):
        return path[1:]
    segments = path[1:].split(b"/")
    if b"%" in path:
        try:
            segments = [percent_decode(segment) for segment in segments]
        except ValueError:
            return None
    for at, segment in enumerate(segments):
        if not segment and at == len(segments) - 1:
            continue  # a folder
        if not segment or segment in (b".", b"..") or _refused(segment):
            return None
        if segment.startswith(b".") and not dotfiles and not (at == 0 and segment == b".well-known"):
            return None
    return b"/".join(segments)


class Static:
    """A handler that answers with the files of a folder. It is safe to give it any request.

    What is there is answered as :class:`~roadrunner_trio.FileResponse` does: 304, ranges, from the kernel. A folder is
    answered with its index, or 308 to the slash at its end. Everything else is 404: what lies outside, hidden files,
    devices and FIFOs, and every spelling of a way out; 403 what the server may not read, 405 other methods than GET,
    HEAD and OPTIONS.

    Give it to a listener, or to a router by :meth:`below`, or as the handler of a route whose path ends with ``*name``.

    Args:
        folder: what lies beneath it is public.
        index: names that are looked for in a folder; ``()`` for none.
        listing: a folder without an index is answered with a page of what is in it.
        fallback: a file that is answered, with 200, where there is none and a page was asked for: ``"index.html"`` of
            an application that routes in the browser. Whoever does not ask for ``text/html`` by name gets the 404.
        precompressed: ``app.js.zst``, ``app.js.br`` and ``app.js.gz``, if they are not older, are sent in place of
            ``app.js`` to those who accept them, and ``vary`` says so.
        cache_control: the value, or a function of the path below the folder that gives it. By default caches ask each
            time, which is answered with 304.
        immutable: files that never change, by their path below the folder: a regular expression that is searched for,
            or a function; True is for the names that bundlers give, with a hash. Caches keep them for a year unasked.
        symlinks: ``"beneath"`` follows those that stay within the folder, ``"none"`` none, ``"follow"`` all. The
            folder may always be one; it is looked up anew every second.
        dotfiles: names that begin with a dot are served.
        fields: for every file.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: an argument is not possible.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        index: Sequence[str] = ("index.html",),
        listing: bool = False,
        fallback: str | None = None,
        precompressed: bool = True,
        cache_control: CacheControl | None = "no-cache",
        immutable: bool | str | Callable[[str], object] = False,
        symlinks: SymbolicLinks = "beneath",
        dotfiles: bool = False,
        fields: FieldsLike = (),
    ) -> None:
        if isinstance(index, str):
            raise ValueError(f"index is a list of names; write [{index!r}]")
        if symlinks not in ("beneath", "none", "follow"):
            raise ValueError(f"symlinks is 'beneath', 'none' or 'follow', not {symlinks!r}")
        self._folder = Folder(folder, symlinks)
        self._index = [_plain("an index", name) for name in index]
        self._listing = listing
        self._fallback = None if fallback is None else _plain("a fallback", fallback)
        self._precompressed = precompressed
        self._cache_control = cache_control
        self._immutable = _rule(immutable)
        self._dotfiles = dotfiles
        self._fields = [*encoded(fields), _NOSNIFF]
        self._forever = [*self._fields, (b"cache-control", FOREVER.encode("ascii"))]
        self._usual = None if callable(cache_control) else self._saying(cache_control)
        self._coded: dict[bytes, tuple[float, _Coded]] = {}
        self._seen: dict[tuple[bytes, bytes | None], _Seen] = {}
        self._held = 0

    def __repr__(self) -> str:
        return f"<Static {self._folder.path}>"

    def below(self, prefix: str) -> Group:
        """Routes of a :class:`~roadrunner_trio.apps.router.Router` for all that is below a prefix, such as ``"/"``."""
        return Group(prefix, [Route(path, self, body="streaming") for path in ("/", "/*path")])

    async def __call__(self, request: Request) -> AnyResponse:
        """The file that the path asks for, below what the route has fixed of it."""
        if request.head.method not in (b"GET", b"HEAD"):
            return _of_another_method(request)
        path = request.head.path.partition(b"?")[0]
        name = name_of(path[len(mounted_below(request)) :], dotfiles=self._dotfiles)
        if name is None or not path.startswith(b"/"):
            return _not_found()
        if (at_hand := self._at_hand(request, name)) is not None:
            return at_hand
        try:
            if name and not name.endswith(b"/"):
                response = await self._file(request, name)
                self._remember(request, name, response)
                return response
            return await self._index_of(request, name, path)
        except IsADirectoryError:
            return _to_the_slash(request, path)
        except PermissionError:
            return _forbidden()
        except (FileNotFoundError, NotADirectoryError):
            return await self._missing(request)

    def _at_hand(self, request: Request, name: bytes) -> Response | None:
        """What needs no file to be opened, if it was looked at a moment ago: 304 if the peer has it as it was then; the
        content of a small one, if it still is what it was."""
        seen = self._seen.get((name, joined(request.fields, b"accept-encoding")))
        if seen is None or trio.current_time() >= seen.until:
            return None
        said = seen.said
        if not CONDITIONS.isdisjoint([field for field, _ in request.fields]):
            if judge(request.head.method, conditions(request.fields), said.there) != 304:
                return None
            return Response(status=304, fields=Own(said.spared))
        if seen.content is None or not self._folder.still_holds(seen.name, seen.status):
            return None
        return Response(seen.content, fields=Own(said.fields))

    def _remember(self, request: Request, name: bytes, response: FileResponse) -> None:
        file = response.opened
        if file is None or not (said := said_of(response, file)).there.settled:
            return
        if len(self._seen) >= REMEMBERED or self._held >= HELD:
            self._seen.clear()
            self._held = 0
        content = file.read_cached(0, file.size) if 0 < file.size <= SMALL else None
        status = os.fstat(file.fd)
        if (status.st_size, status.st_mtime_ns) != (file.size, file.modified):
            return  # what has been read may be of neither state
        coding = lookup(said.fields, b"content-encoding")
        opened = name + CODINGS.get(coding or b"", b"")
        accepted = joined(request.fields, b"accept-encoding")
        self._held += len(content or b"") + len(accepted or b"")
        self._seen[name, accepted] = _Seen(trio.current_time() + FRESH, said, opened, status, content)

    # -- what is there ---------------------------------------------------------------------------------

    async def _file(self, request: Request, name: bytes) -> FileResponse:
        """The file, or its like in another coding."""
        file = await self._folder.open(name)
        fields = self._fields_of(name)
        coded = await self._codings_of(name, file) if self._precompressed else ()
        if coded:
            fields.append(_VARY)
            coding = choose_coding(joined(request.fields, b"accept-encoding"), coded)
            if coding is not None and (other := await self._opened(name + CODINGS[coding])) is not None:
                file.close()
                file = other
                fields.append((b"content-encoding", coding))
        return FileResponse.of(file, os.fsdecode(name), fields)

    async def _codings_of(self, name: bytes, file: OpenFile) -> _Coded:
        """Those in which it is there, and not older: what has been left lying about is another file's."""
        now = trio.current_time()
        known = self._coded.get(name)
        if known is not None and now < known[0]:
            return known[1]
        found: list[bytes] = []
        for coding, suffix in CODINGS.items():
            if (other := await self._opened(name + suffix)) is not None:
                with other:
                    if other.modified >= file.modified:
                        found.append(coding)
        if len(self._coded) >= REMEMBERED:
            self._coded.clear()
        self._coded[name] = now + FRESH, tuple(found)
        return tuple(found)

    async def _opened(self, name: bytes) -> OpenFile | None:
        try:
            return await self._folder.open(name)
        except OSError:
            return None

    def _fields_of(self, name: bytes) -> list[Field]:
        if self._immutable is not None and self._immutable(os.fsdecode(name)):
            return [*self._forever]
        if self._usual is not None:
            return [*self._usual]
        rule = self._cache_control
        return self._saying(rule(os.fsdecode(name)) if callable(rule) else rule)

    def _saying(self, value: str | None) -> list[Field]:
        return [*self._fields, *encoded([("cache-control", value)])] if value is not None else [*self._fields]

    # -- folders, and what is not there ----------------------------------------------------------------

    async def _index_of(self, request: Request, name: bytes, path: bytes) -> AnyResponse:
        if not path.endswith(b"/"):
            raise IsADirectoryError  # the folder of a route that is asked for without its slash
        for index in self._index:
            try:
                return await self._file(request, name + index)
            except (FileNotFoundError, IsADirectoryError):
                continue
        if not self._listing:
            raise FileNotFoundError
        entries = await self._folder.names(name.rstrip(b"/"), MOST_LISTED)
        shown = [entry for entry in entries if self._dotfiles or not entry[0].startswith(".")]
        return page(percent_decode(path).decode("utf-8", "replace"), shown, top=not name)

    async def _missing(self, request: Request) -> AnyResponse:
        if self._fallback is not None and _asks_for_a_page(request):
            try:
                return await self._file(request, self._fallback)
            except PermissionError:
                return _forbidden()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                pass
        return _not_found()


def _plain(what: str, name: str) -> bytes:
    octets = os.fsencode(name)
    if not octets or name_of(b"/" + octets.replace(b"%", b"%25"), dotfiles=True) != octets or octets.endswith(b"/"):
        raise ValueError(f"{what} is the name of a file within the folder, not {name!r}")
    return octets


def _rule(given: bool | str | Callable[[str], object]) -> Callable[[str], object] | None:
    if given is False:
        return None
    if given is True:
        given = HASHED
    if isinstance(given, str):
        try:
            return re.compile(given).search
        except re.error as exc:
            raise ValueError(f"immutable is a regular expression, and {given!r} is none: {exc}") from None
    return given


def _asks_for_a_page(request: Request) -> bool:
    accepted = joined(request.fields, b"accept")
    return accepted is not None and b"text/html" in accepted.lower() and accepts(accepted, ["text/html"]) is not None


def _to_the_slash(request: Request, path: bytes) -> Response:
    """To a path that is relative, so that no name can be taken for a host (CVE-2021-21330), nor for a scheme; whatever
    prefix a proxy has taken away stays where it was."""
    query = request.head.path[len(path) :]
    location = b"./" + path.rpartition(b"/")[2] + b"/" + query
    return Response.redirect(location.decode("ascii"), status=308)


def _of_another_method(request: Request) -> Response:
    if request.head.method == b"OPTIONS":
        return Response.no_content(fields=_ALLOW)
    return Response.text("Method Not Allowed", status=405, fields=_ALLOW)


def _forbidden() -> Response:
    return Response.text("Forbidden", status=403)


def _not_found() -> Response:
    return Response.text("Not Found", status=404)
