"""Names and times of certificates, read as the cryptography package reads them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.transport.x509 import read_certificate, read_der

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("Example.org", "*.example.org", "192.0.2.1", "xn--bcher-kva.example")
PEM = ISSUED.cert_chain_pems[0].bytes().decode()
DER = x509.load_pem_x509_certificate(PEM.encode()).public_bytes(Encoding.DER)


def test_names_and_times() -> None:
    theirs, ours = x509.load_der_x509_certificate(DER), read_der(DER)
    assert ours.not_after == theirs.not_valid_after_utc.timestamp()
    assert ours.not_before == theirs.not_valid_before_utc.timestamp()
    assert ours.names == {"example.org", "*.example.org", "xn--bcher-kva.example"}  # no peer asks for an address


def test_the_first_of_a_chain_counts() -> None:
    chain = "text before\n" + PEM + AUTHORITY.cert_pem.bytes().decode()
    assert read_certificate(chain) == read_der(DER)


def test_one_without_names() -> None:
    assert read_certificate(AUTHORITY.cert_pem.bytes().decode()).names == frozenset()


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2049, 2050, 2150])
def test_both_notations_of_time(year: int) -> None:
    end = datetime(year, 6, 1, 12, 30, 15, tzinfo=UTC)
    begin = datetime(1960, 1, 1, tzinfo=UTC)
    made = AUTHORITY.issue_cert("a.example", not_before=begin, not_after=end)
    found = read_certificate(made.cert_chain_pems[0].bytes().decode())
    assert (found.not_before, found.not_after) == (begin.timestamp(), end.timestamp())


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", PEM[:300], PEM.replace("MII", "MIJ", 1), "\0"])
def test_what_is_no_certificate_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        read_certificate(text)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_damaged_one_is_read_or_refused_and_nothing_else(at: int, octet: int) -> None:
    damaged = DER[:at] + bytes([octet]) + DER[at + 1 :]
    with suppress(ValueError, IndexError, OverflowError):
        read_der(damaged)


@given(st.binary(max_size=300))
def test_octets_of_any_kind(octets: bytes) -> None:
    with suppress(ValueError, IndexError, OverflowError):
        read_der(octets)
