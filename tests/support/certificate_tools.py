"""Certificates of an authority of our own, in files; and handshakes in memory that tell which one was shown."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization as keys

DAY = 86400.0


class Authority:
    """One that clients trust."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self.client = self.new_client()

    def new_client(self) -> ssl.SSLContext:
        """The context of one of its clients, to be changed."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context

    def write(
        self, folder: Path, *names: str, days: float = 90, after: float = -1, stem: str = "cert"
    ) -> tuple[Path, Path]:
        """A certificate and its key, as ``stem``.pem and ``stem``.key, put in place at once; good for ``days``."""
        begin, end = (datetime.fromtimestamp(time.time() + each * DAY, UTC) for each in (after, days))
        made = self._authority.issue_cert(*names, not_before=begin, not_after=end)
        cert, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        for path, text in ((key, made.private_key_pem.bytes()), (cert, chain)):
            new = path.with_name(path.name + ".new")
            new.write_bytes(text)
            new.replace(path)
        return cert, key

    def trust(self, path: Path) -> None:
        """Writes the authority's own certificate."""
        self._authority.cert_pem.write_to_path(str(path))

    def client_with(self, *names: str) -> ssl.SSLContext:
        """A client's context with a certificate of its own."""
        context = self.new_client()
        self._authority.issue_cert(*names).configure_cert(context)
        return context


def serial(peer: ssl.SSLObject | ssl.SSLSocket) -> int:
    """Which certificate a server has shown."""
    shown = peer.getpeercert()
    assert shown
    return int(str(shown["serialNumber"]), 16)


def serial_of(cert: Path) -> int:
    """The same of one in a file."""
    return x509.load_pem_x509_certificate(cert.read_bytes()).serial_number


def encrypt(key: Path, password: bytes) -> None:
    """Puts a password on a private key."""
    read = keys.load_pem_private_key(key.read_bytes(), None)
    how = keys.BestAvailableEncryption(password)
    key.write_bytes(read.private_bytes(keys.Encoding.PEM, keys.PrivateFormat.PKCS8, how))


class Handshake:
    """One between two contexts, in memory, step by step."""

    def __init__(
        self, server: ssl.SSLContext, client: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None = None
    ) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = server.wrap_bio(up, down, server_side=True)
        self.client = client.wrap_bio(down, up, server_hostname=name, session=session)

    def step(self) -> bool:
        """A turn of each; whether it is over."""
        done = True
        for end in (self.client, self._server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                done = False
        return done

    def hear(self) -> None:
        """An octet from the server, behind what it sends of the session."""
        self._server.write(b"x")
        self.client.read(1)

    def end(self) -> int:
        """Goes on to the end: the serial number of the server's certificate."""
        for _ in range(5):
            if self.step():
                break
        return serial(self.client)


def shown(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> int:
    """The serial number of the certificate that a client is shown who asks for ``name``."""
    return Handshake(server, client, name).end()
