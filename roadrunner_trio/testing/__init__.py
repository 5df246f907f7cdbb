"""The real server in memory: no sockets, no ports, and with a virtual clock no waiting.

Use it with pytest-trio's ``autojump_clock`` and every timeout is exact and takes no time::

    async def test_hello(autojump_clock):
        async with open_server(handler) as server:
            response = await server.client().get("/")
            assert response.status == 200
"""

from .memory import Client as Client
from .memory import ClientResponse as ClientResponse
from .memory import MemoryListener as MemoryListener
from .memory import MemoryServer as MemoryServer
from .memory import MemoryStream as MemoryStream
from .memory import open_server as open_server

__all__ = ["Client", "ClientResponse", "MemoryListener", "MemoryServer", "MemoryStream", "open_server"]
