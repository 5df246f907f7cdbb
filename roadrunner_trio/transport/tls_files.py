"""What is wrong with the files of TLS. OpenSSL says "PEM lib", and not of which file.

A file is opened here before OpenSSL reads it, so that one that cannot be read is named; and looked into when OpenSSL
has refused it. Nothing of a key is ever part of a message.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
from os import PathLike, fspath
from typing import Final, TypeAlias

Path: TypeAlias = str | PathLike[str]

_blocks = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----").findall
_CERTIFICATES: Final = frozenset({"CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"})
_OTHER_KEY: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""What OpenSSL says when the key is another's, or of another kind."""
_WEAK: Final = {
    "EE_KEY_TOO_SMALL": "has a key that is too short",
    "CA_KEY_TOO_SMALL": "is vouched for with a key that is too short",
    "CA_MD_TOO_WEAK": "is signed by way of a hash that is too weak",
    "EE_MD_TOO_WEAK": "is signed by way of a hash that is too weak",
}


class _Unknown(Exception):
    """Nobody can say what stands in a file."""


class _File:
    """A file of PEM, by what stands in it.

    Raises:
        OSError: it cannot be read; ``filename`` says which.
        _Unknown: it is a pipe, whose octets come once.
    """

    def __init__(self, path: Path) -> None:
        self.name = fspath(path)
        if not os.path.isfile(path):
            raise _Unknown
        with open(path, "rb") as file:
            self.octets = file.read()
        self.text = self.octets.decode("latin-1")
        self.kinds = _blocks(self.text)

    @property
    def has_certificate(self) -> bool:
        return bool(_CERTIFICATES.intersection(self.kinds))

    @property
    def has_key(self) -> bool:
        return any(kind.endswith("PRIVATE KEY") for kind in self.kinds)

    @property
    def is_encrypted(self) -> bool:
        return "ENCRYPTED PRIVATE KEY" in self.kinds or "Proc-Type: 4,ENCRYPTED" in self.text

    def contents(self) -> str:
        """What stands in it, in words, where something else is missed."""
        if self.has_certificate or self.has_key:
            return "a certificate" if self.has_certificate else "a private key"
        if self.kinds:
            return f"a {self.kinds[0].lower()}"
        if not self.octets:
            return "nothing"
        return "something in binary, perhaps DER or PKCS #12" if self.octets[0] == 0x30 else "something that is no PEM"

    def certificates_can_be_read(self) -> bool:
        """Whether all of them can."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=self.text)
        except ssl.SSLError:
            return False
        return True


def check_readable(*paths: Path | None) -> None:
    """Looks whether files are there and may be read, and takes nothing of a pipe.

    Raises:
        OSError: one is not; ``filename`` says which.
    """
    for path in paths:
        if path is not None and not stat.S_ISFIFO(os.stat(path).st_mode):
            with open(path, "rb"):
                pass


def no_password(certfile: Path, keyfile: Path | None) -> str:
    """What to say of an encrypted key without a password."""
    return f"the private key in {fspath(keyfile or certfile)} is encrypted and no password was given"


def wrong_pair(certfile: Path, keyfile: Path | None, refusal: OSError) -> str:
    """Why a certificate and its key have been refused."""
    try:
        cert, key = _File(certfile), _File(keyfile or certfile)
    except _Unknown:
        return f"{fspath(certfile)} and {fspath(keyfile or certfile)} are not accepted: {refusal}"
    if not cert.has_certificate:
        swapped = key.has_certificate and cert.has_key and not key.has_key
        hint = ": it and the key are swapped" if swapped else ""
        return f"there is no certificate in {cert.name} but {cert.contents()}{hint}"
    if not key.has_key:
        if keyfile is None:
            return f"there is no private key in {cert.name}, nor is it said which file has it"
        return f"there is no private key in {key.name} but {key.contents()}"
    if not cert.certificates_can_be_read():
        return f"a certificate in {cert.name} is damaged"
    return _wrong_match(cert, key, refusal)


def _wrong_match(cert: _File, key: _File, refusal: OSError) -> str:
    reason = getattr(refusal, "reason", None) or ""
    if reason in _OTHER_KEY:
        first = ", whose own has to be the first of them" if cert.kinds.count("CERTIFICATE") > 1 else ""
        return f"the private key in {key.name} does not belong to the certificate in {cert.name}{first}"
    if reason in _WEAK:
        return f"the certificate in {cert.name} {_WEAK[reason]}"
    if reason:
        return f"{cert.name} and {key.name} are not accepted: {refusal}"
    if key.is_encrypted:
        return f"the password does not open the private key in {key.name}"
    if "OPENSSH PRIVATE KEY" in key.kinds:
        return f"the private key in {key.name} is one of OpenSSH, not PEM"
    return f"the private key in {key.name} is damaged"


def wrong_authority(path: Path, refusal: OSError) -> str:
    """Why a file of authorities has been refused."""
    try:
        file = _File(path)
    except _Unknown:
        return f"{fspath(path)} is not accepted: {refusal}"
    if not file.has_certificate:
        return f"there is no certificate in {file.name} but {file.contents()}"
    if not file.certificates_can_be_read():
        return f"a certificate in {file.name} is damaged"
    return f"{file.name} is not accepted: {refusal}"
