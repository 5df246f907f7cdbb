"""One name for a host."""

from __future__ import annotations

import pytest

from roadrunner_trio.addresses import unmapped


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("::ffff:0.0.0.0", "0.0.0.0"),
        ("::ffff:0:c000:201", "::ffff:0:c000:201"),  # translated, which is another thing (RFC 2765)
        ("::ffff:192.0.2", "::ffff:192.0.2"),
        ("::ffff:", "::ffff:"),
        ("::1", "::1"),
        ("::192.0.2.1", "::192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_case_27_an_ipv4_address_has_one_name(host, name):
    assert unmapped(host) == name
