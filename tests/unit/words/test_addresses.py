"""One name for a host."""

from __future__ import annotations

import pytest

from roadrunner_trio.addresses import host_of, names_this_machine, unmapped


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


@pytest.mark.parametrize(
    ("field", "host"), [("a:1", "a"), ("A", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", ""), ("a:b", "a:b")]
)
def test_the_host_of_a_field(field, host):
    assert host_of(field) == host


@pytest.mark.parametrize(
    "host", ["", "localhost", "app.localhost", "test", "a.test", "127.0.0.1", "127.1.2.3", "[::1]"]
)
def test_names_that_lead_nowhere_but_here(host):
    assert names_this_machine(host)


@pytest.mark.parametrize(
    "host",
    ["example.org", "localhost.example.org", "localhost.", "127.0.0.1.example.org", "192.0.2.1", "[2001:db8::1]", "0"],
)
def test_names_that_may_be_somebody_elses(host):
    assert not names_this_machine(host)
