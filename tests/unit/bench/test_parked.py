"""The bench of parked connections: what it compares them with, and that it goes to its end."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from process_tools import needs_proc
from tls_tools import contexts_of_a_new_authority

from bench.apps.bare_tls import ANSWER, Kept
from bench.client import complete

ROOT = Path(__file__).parents[3]
NUMBER = 7


class Peer:
    """A client of what is bare."""

    def __init__(self, kept: Kept, context: ssl.SSLContext) -> None:
        self.kept = kept
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="test.example")
        kept.accept(NUMBER)

    def turn(self) -> None:
        """What the client has to say is answered."""
        self.incoming.write(self.kept.take(NUMBER, self.outgoing.read()))

    def shake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.turn()
            else:
                return


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_openssl_alone_answers(version: str) -> None:
    server, client = contexts_of_a_new_authority()
    client.maximum_version = ssl.TLSVersion[version]
    peer = Peer(Kept(server), client)
    peer.shake()
    for _ in range(2):
        peer.tls.write(b"GET / HTTP/1.1\r\n\r\n")
        peer.turn()
        assert peer.tls.read(65536) == ANSWER
    assert complete(ANSWER)


def test_what_is_no_tls_leaves_nothing_to_the_next() -> None:
    server, client = contexts_of_a_new_authority()
    kept = Kept(server)
    kept.accept(NUMBER)
    with pytest.raises(ssl.SSLError):
        kept.take(NUMBER, b"GET / HTTP/1.1\r\n\r\n" * 1000)
    kept.forget(NUMBER)
    with pytest.raises(RuntimeError):
        kept.take(NUMBER, b"")
    Peer(kept, client).shake()


@needs_proc
@pytest.mark.slow
def test_a_small_crowd() -> None:
    """Too small to be measured, but each line is there."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.parked", "--connections", "40", "--rate", "20", "--turns", "1", "--tls", "1.2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert [line[:14].strip() for line in done.stdout.splitlines()] == [
        "OpenSSL alone",
        *("parked", "never parked"),
        *("parked", "parked", "never parked", "never parked"),
    ]
