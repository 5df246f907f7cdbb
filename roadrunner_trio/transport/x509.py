"""What a server has to know of its own certificates: whom they name, and until when they are good (RFC 5280).

The standard library tells neither of a certificate that is not a peer's. Only as much of DER is read here as leads to
the two; whether a certificate is right is OpenSSL's affair, and it has looked before.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

SEQUENCE: Final = 0x30
UTC_TIME: Final = 0x17
VERSION: Final = 0xA0
EXTENSIONS: Final = 0xA3
OCTETS: Final = 0x04
DNS_NAME: Final = 0x82
ALTERNATIVE_NAMES: Final = bytes.fromhex("0603551d11")
"""The object identifier 2.5.29.17, as it is encoded."""
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate.

    Attributes:
        names: the DNS names it is for, in lower case; ``*.example.org`` stands for one label more.
        not_before: from when it is good, in seconds since the epoch,
        not_after: and until when.
    """

    names: frozenset[str]
    not_before: float
    not_after: float


def read_certificate(pem: str) -> Certificate:
    """The first certificate of a PEM file, which is the one that a server shows.

    Raises:
        ValueError: there is none that could be read.
    """
    begin = pem.find(_BEGIN)
    end = pem.find(_END, begin)
    if begin < 0 or end < 0:
        raise ValueError("there is no certificate in it")
    try:
        return read_der(ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)]))
    except (IndexError, OverflowError, UnicodeDecodeError) as exc:
        raise ValueError(f"the certificate cannot be read: {exc}") from exc


def read_der(der: bytes) -> Certificate:
    """The same from DER.

    Raises:
        ValueError, IndexError, OverflowError: it is none.
    """
    (_, whole), *_ = _values(der)
    (_, signed), *_ = _values(whole)
    parts = [part for part in _values(signed) if part[0] != VERSION]
    if len(parts) < 6 or parts[3][0] != SEQUENCE:
        raise ValueError("it is no certificate")
    begin, end = (_time(tag, value) for tag, value in _values(parts[3][1]))
    extensions = next((value for tag, value in parts if tag == EXTENSIONS), b"")
    return Certificate(frozenset(_names(extensions)), begin, end)


def _names(extensions: bytes) -> Iterator[str]:
    for _, listed in _values(extensions):
        for _, extension in _values(listed):
            if extension.startswith(ALTERNATIVE_NAMES):
                *_, (_, octets) = _values(extension)
                for _, names in _values(octets):
                    yield from (value.decode("ascii").lower() for tag, value in _values(names) if tag == DNS_NAME)


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """What stands one after another in ``der``: tags and contents (X.690 section 8.1)."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(der[at : at + count], "big")
            at += count
        if at + length > len(der):
            raise ValueError("it breaks off")
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, value: bytes) -> float:
    """A moment (RFC 5280 section 4.1.2.5): of years with two digits, those from 50 on are of the last century."""
    text = value.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
