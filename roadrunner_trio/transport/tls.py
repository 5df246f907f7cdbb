"""TLS: contexts with today's defaults, and what a handler may know of the encryption it is under.

The octets are :mod:`.tls_stream`'s affair; when the handshake is due is :mod:`.door`'s.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from . import tls_files
from .tls_files import Path

ClientCertificate: TypeAlias = Literal["none", "optional", "required"]

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""For TLS 1.2: a fresh key each connection, authenticated encryption, at least 112 bits, no SHA-1 signatures. TLS 1.3
has nothing else."""
ALPN: Final = ("http/1.1",)

_VERIFY: Final[Mapping[str, ssl.VerifyMode]] = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def server_context(
    certfile: Path,
    keyfile: Path | None = None,
    *,
    password: str | Callable[[], str] | None = None,
    client_ca: Path | None = None,
    client_cert: ClientCertificate | None = None,
) -> ssl.SSLContext:
    """A context for ``Listener(tls=...)``: TLS 1.3 and 1.2, forward secrecy, authenticated encryption, ALPN.

    Early data and renegotiation are off, and the environment variable SSLKEYLOGFILE is not obeyed.

    Args:
        certfile: the certificate and the intermediate ones after it, in PEM.
        keyfile: the private key, in PEM; None when it is in ``certfile`` too.
        password: of the key, or a function that gives it; nobody is asked on the terminal.
        client_ca: certificates of those who may vouch for clients, in PEM.
        client_cert: whether a client has to have a certificate; with ``client_ca`` that is ``"required"`` unless said
            otherwise. What a client showed is ``request.tls.client_certificate``.

    Raises:
        ValueError: ``client_cert`` and ``client_ca`` do not go together; an encrypted key without a password.
        OSError: a file cannot be read, or (``ssl.SSLError``) is not what it should be; a wrong password. It says which
            file, and what is wrong with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # create_default_context would obey SSLKEYLOGFILE
    harden(context, client_cert, client_ca)
    tls_files.check_readable(certfile, keyfile, client_ca)
    _load_pair(context, certfile, keyfile, password)
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except OSError as refusal:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, tls_files.wrong_authority(client_ca, refusal)) from refusal
    return context


def harden(context: ssl.SSLContext, client_cert: ClientCertificate | None, client_ca: Path | None) -> None:
    """Today's defaults; what else there is to a context is its certificate.

    Raises:
        ValueError: ``client_cert`` and ``client_ca`` do not go together.
    """
    verify = _verify_mode(client_cert, client_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(ALPN)
    context.verify_mode = verify


def _load_pair(
    context: ssl.SSLContext, certfile: Path, keyfile: Path | None, password: str | Callable[[], str] | None
) -> None:
    def nobody_to_ask() -> str:  # without a function OpenSSL asks on the terminal, where nobody may be
        raise ValueError(tls_files.no_password(certfile, keyfile))

    try:
        context.load_cert_chain(certfile, keyfile, nobody_to_ask if password is None else password)
    except OSError as refusal:
        if refusal.filename is not None:  # it is of the function that gives the password: OpenSSL names no file
            raise
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, tls_files.wrong_pair(certfile, keyfile, refusal)) from refusal


def _verify_mode(client_cert: str | None, client_ca: Path | None) -> ssl.VerifyMode:
    wanted = client_cert or ("none" if client_ca is None else "required")
    if wanted not in _VERIFY:
        raise ValueError(f"client_cert is 'none', 'optional' or 'required', not {client_cert!r}")
    if (wanted == "none") != (client_ca is None):
        raise ValueError("client certificates need client_ca to judge them by, and client_ca needs them wanted")
    return _VERIFY[wanted]


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """The encryption of a connection.

    Attributes:
        version: such as ``"TLSv1.3"``.
        cipher: the suite, by OpenSSL's name.
        client_certificate: what :meth:`ssl.SSLSocket.getpeercert` says of a client's verified certificate; None
            without one.
        client_chain: the client's certificates in PEM, its own first; before Python 3.13 its own alone.
    """

    version: str
    cipher: str
    client_certificate: Mapping[str, Any] | None = None
    client_chain: tuple[str, ...] = ()


def tls_info(encrypted: Any) -> TLSInfo:
    """What there is to know after the handshake: one object for all connections on which it is the same.

    Args:
        encrypted: an :class:`ssl.SSLObject`, or a :class:`trio.SSLStream`, which has all of its methods.
    """
    cipher = encrypted.cipher()
    info = _shared(encrypted.version() or "", cipher[0] if cipher else "")
    certificate = encrypted.getpeercert() or None
    if certificate is None:
        return info
    return replace(info, client_certificate=certificate, client_chain=_chain(encrypted))


@lru_cache(64)
def _shared(version: str, cipher: str) -> TLSInfo:
    return TLSInfo(version, cipher)


def _chain(encrypted: Any) -> tuple[str, ...]:
    verified = getattr(encrypted, "get_verified_chain", None)
    chain = [encrypted.getpeercert(binary_form=True)] if verified is None else verified()
    return tuple(map(ssl.DER_cert_to_PEM_cert, chain))
