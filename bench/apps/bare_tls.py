"""What OpenSSL itself needs: connections of TLS that have had an answer, kept, and nothing else.

``python -m bench.apps.bare_tls PORT CERTIFICATE KEY``. Of each there is a descriptor and the state of its encryption,
by a context of this server's. All have one pair of buffers in memory, as the connections of this server have. There is
no loop of events here but an epoll, and no HTTP: whatever is asked is answered by the same octets.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from roadrunner_trio import server_context

from . import content

MOST: Final = 65536
ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(content.HELLO), content.HELLO)


class Kept:
    """The connections that there are.

    Args:
        context: of all of them.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._states: list[ssl.SSLObject | None] = []  # by descriptor

    def accept(self, fd: int) -> None:
        """Another has come."""
        self._states += [None] * (fd + 1 - len(self._states))
        self._states[fd] = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def take(self, fd: int, data: bytes) -> bytes:
        """What is to be said to what has come: the next step of a handshake, or an answer to each record.

        Raises:
            ssl.SSLError: it is no TLS.
        """
        state = self._states[fd]
        if state is None:
            raise RuntimeError(f"{fd} is no connection")
        self._incoming.write(data)
        try:
            with suppress(ssl.SSLWantReadError):
                state.do_handshake()
                while state.read(MOST):
                    state.write(ANSWER)
        finally:
            said = self._outgoing.read()
            self._incoming.read()  # after a mistake
        return said

    def forget(self, fd: int) -> None:
        """One has gone."""
        self._states[fd] = None


def main(port: int, certificate: Path, key: Path) -> None:
    """Answers, and keeps, until a signal ends it."""
    kept = Kept(server_context(certificate, key))
    with select.epoll() as poll, socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        poll.register(listening, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listening.fileno():
                    came = listening.accept()[0].detach()
                    kept.accept(came)
                    poll.register(came, select.EPOLLIN)
                    continue
                try:
                    data = os.read(fd, MOST)
                    os.write(fd, kept.take(fd, data) if data else b"")
                except OSError:  # no TLS, or reset
                    data = b""
                if not data:
                    kept.forget(fd)
                    poll.unregister(fd)
                    os.close(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
