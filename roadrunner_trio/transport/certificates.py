"""Certificates that are renewed while the server runs, and chosen by the name that a peer asks for.

A listener has one context for as long as it lives. With each handshake that asks which certificate it shall be
(RFC 6066 section 3), and gets a context that holds the newest. So a handshake under way keeps the one it began with,
connections that stand know nothing of it, and to renew is to put other contexts in the place of those.
"""

from __future__ import annotations

import math
import os
import ssl
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from ..journal import log
from ..printable import one_line
from .tls import ALPN, ClientCertificate, harden, server_context
from .tls_files import Path
from .x509 import Certificate, read_certificate

WATCHED: Final = 0.5
"""Seconds between two looks at the files."""
WARNED: Final = 14 * 86400.0
"""Seconds before a certificate expires, from which on that is said once a day."""
DAY: Final = 86400.0

UNKNOWN: Final = Certificate(frozenset(), 0.0, math.inf)
"""What is known of one that came by a pipe."""

Pair: TypeAlias = tuple[Path, Path | None]
Print: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""What tells of files whether they are others: when they were changed, where they lie, and their size."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The contexts of one reading.

    Attributes:
        contexts: in order; the first is for whoever asks for none, or for a name that nobody has.
        by_name: the same by the names in them.
        read: what the certificates say, in order, and the file of each.
        seen: the state of the files before it.
    """

    contexts: tuple[ssl.SSLContext, ...]
    by_name: Mapping[str, ssl.SSLContext]
    read: tuple[tuple[str, Certificate], ...]
    seen: Print

    def choose(self, name: str | None) -> ssl.SSLContext:
        """For the name of a host: its own, or that of all in its domain, or the first."""
        if name is None:
            return self.contexts[0]
        name = name.lower().removesuffix(".")
        found = self.by_name.get(name) or self.by_name.get("*." + name.partition(".")[2])
        return found or self.contexts[0]


class _Front(ssl.SSLContext):
    """What handshakes begin with: all that a context has but a certificate.

    Attributes:
        alpn: the protocols that are offered,
        behind: also by these.
        newest: what they begin with in its place, where peers show certificates.
    """

    alpn: tuple[str, ...] = ALPN
    behind: tuple[ssl.SSLContext, ...] = ()
    newest: ssl.SSLContext | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As its base."""
        begin = super().wrap_bio if self.newest is None else self.newest.wrap_bio
        return begin(incoming, outgoing, server_side, server_hostname, session)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As its base; the one that is chosen in its place offers the same."""
        self.alpn = tuple(alpn_protocols)
        super().set_alpn_protocols(self.alpn)
        for context in self.behind:
            context.set_alpn_protocols(self.alpn)


class Certificates:
    """Certificates with their keys, for ``Listener(tls=...)``: read anew when the files change, and on SIGHUP.

    The first is for peers that ask for no name, or for one that none of the others has. What cannot be used, because it
    is half-written, or has expired, or its key is another's, changes nothing, and is logged. Fourteen days before one
    expires, that is logged once a day.

    Args:
        certfile, keyfile: as for :func:`server_context`.
        others: pairs of the same, chosen by the names in them.
        password: of the keys, or a function that gives it; it is called whenever they are read.
        client_ca, client_cert: as for :func:`server_context`.

    Attributes:
        renewed: how often they were read anew,
        failed: and how often that came to nothing.

    Raises:
        ValueError, OSError: as :func:`server_context`.
    """

    def __init__(
        self,
        certfile: Path,
        keyfile: Path | None = None,
        *,
        others: Sequence[Pair] = (),
        password: str | Callable[[], str] | None = None,
        client_ca: Path | None = None,
        client_cert: ClientCertificate | None = None,
    ) -> None:
        self._pairs: tuple[Pair, ...] = ((certfile, keyfile), *others)
        self._password = password
        self._client_ca = client_ca
        self._client_cert: ClientCertificate | None = client_cert
        self.renewed = self.failed = 0
        self._watched = False
        self._one_at_a_time = trio.Lock()
        self._front: Final = self._hardened(_Front(ssl.PROTOCOL_TLS_SERVER))
        self._use(self._load())
        self._told_at = -DAY

    def __repr__(self) -> str:
        return f"Certificates({', '.join(repr(os.fspath(cert)) for cert, _ in self._pairs)})"

    @property
    def not_after(self) -> float:
        """When the first of them expires, in seconds since the epoch; 0 when that is not known."""
        first = min(certificate.not_after for _, certificate in self._loaded.read)
        return first if first < math.inf else 0.0

    @property
    def context(self) -> ssl.SSLContext:
        """What listeners begin a handshake with; always the same."""
        return self._front

    def _choose(self, peer: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        peer.context = self._loaded.choose(name)

    def _hardened(self, front: _Front) -> _Front:
        harden(front, self._client_cert, self._client_ca)
        front.sni_callback = self._choose
        return front

    # -- reading ---------------------------------------------------------------------------------

    def _make(self, certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
        return server_context(
            certfile, keyfile, password=self._password, client_ca=self._client_ca, client_cert=self._client_cert
        )

    def _load(self) -> _Loaded:
        seen = self._look()
        contexts = [self._make(*pair) for pair in self._pairs]
        read = tuple((os.fspath(cert), _read(cert)) for cert, _ in self._pairs)
        by_name: dict[str, ssl.SSLContext] = {}
        for context, (_, certificate) in zip(contexts, read, strict=True):
            for name in certificate.names:
                by_name.setdefault(name, context)
        return _Loaded(tuple(contexts), by_name, read, seen)

    def _use(self, loaded: _Loaded) -> None:
        behind = loaded.contexts
        if self._client_ca is not None:
            # A session is resumed without a look at the peer's certificate, and by the context that it began with: of
            # the old one none is, for its authorities may vouch for nobody any more.
            self._front.newest = self._hardened(_Front(ssl.PROTOCOL_TLS_SERVER))
            behind = (*behind, self._front.newest)
        for context in behind:
            context.set_alpn_protocols(self._front.alpn)
        self._loaded, self._front.behind = loaded, behind

    def _files(self) -> list[Path]:
        files = [file for pair in self._pairs for file in pair if file is not None]
        return files if self._client_ca is None else [*files, self._client_ca]

    def _look(self) -> Print:
        return tuple(map(_print, self._files()))

    def _load_again(self) -> _Loaded:
        for file in self._files():
            if stat.S_ISFIFO(os.stat(file).st_mode):
                raise ValueError(f"{os.fspath(file)} is a pipe, and cannot be read again")
        return self._load()

    async def renew(self) -> None:
        """Reads them anew; what cannot be used is logged, and those that there were stay.

        Nobody waits for the disk but who calls this.
        """
        if (error := await self._attempt()) is not None:
            self._keep(error)

    async def _attempt(self) -> Exception | None:
        async with self._one_at_a_time:  # what was read first could else be used last, and stay
            try:
                loaded = await trio.to_thread.run_sync(self._load_again, abandon_on_cancel=True)
                _check_time(loaded.read, self._loaded.read, time.time())
            except Exception as exc:  # also of a function that gives the password
                return exc
            self._use(loaded)
        self.renewed += 1
        for file, certificate in loaded.read:
            log.info("the certificate in %s is in use, until %s", one_line(file), _date(certificate.not_after))
        self._told_at = -DAY
        return None

    def _keep(self, error: Exception) -> None:
        self.failed += 1
        log.error("the certificates stay as they were: %s", error)

    # -- watching --------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Reads them anew whenever the files have changed, for as long as it runs; a listener has a task for it.

        Two files do not change at once, nor one in one step. So what cannot be used is only told when it stays so.
        """
        if self._watched:
            return  # by another listener
        self._watched = True
        seen, failed = self._loaded.seen, None
        try:
            while True:
                self._warn(time.time())
                await trio.sleep(WATCHED)
                now = await trio.to_thread.run_sync(self._look, abandon_on_cancel=True)
                if now != seen:
                    seen, failed = now, await self._attempt() if now != self._loaded.seen else None
                elif failed is not None:
                    self._keep(failed)
                    failed = None
        finally:
            self._watched = False

    def _warn(self, now: float) -> None:
        if now - self._told_at < DAY:
            return
        self._told_at = now
        for file, certificate in self._loaded.read:
            left = certificate.not_after - now
            if left <= 0:
                log.error("the certificate in %s has expired: %s", one_line(file), _date(certificate.not_after))
            elif left < WARNED:
                days = f"{left / DAY:.0f} days, on {_date(certificate.not_after)}"
                log.warning("the certificate in %s expires in %s", one_line(file), days)


def _read(path: Path) -> Certificate:
    if not os.path.isfile(path):  # a pipe has been read, and nothing more will come of it
        return UNKNOWN
    with open(path, encoding="latin-1") as file:
        return read_certificate(file.read())


def _print(path: Path) -> tuple[int, int, int] | None:
    """Of the file that a link leads to: certbot changes links, Kubernetes those of a folder."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _check_time(read: Sequence[tuple[str, Certificate]], before: Sequence[tuple[str, Certificate]], now: float) -> None:
    """Looks whether a certificate is good now; one that is as bad as the one before it may replace it.

    Raises:
        ValueError: it is not.
    """
    for (file, certificate), (_, old) in zip(read, before, strict=True):
        if certificate.not_after <= now < old.not_after:
            raise ValueError(f"the new certificate in {file} has expired: {_date(certificate.not_after)}")
        if old.not_before <= now < certificate.not_before:
            raise ValueError(f"the new certificate in {file} is good from {_date(certificate.not_before)} on")


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
