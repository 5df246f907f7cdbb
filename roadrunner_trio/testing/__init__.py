"""The real server in memory: no sockets, no ports, and with a virtual clock no waiting.

Use it with pytest-trio's ``autojump_clock`` and every timeout is exact and takes no time::

    async def test_hello(autojump_clock):
        async with open_server(handler) as server:
            response = await server.client().get("/")
            assert response.status == 200
"""

from .client import Client as Client
from .events import ReceivedEvent as ReceivedEvent
from .events import ReceivedEvents as ReceivedEvents
from .memory import MemoryListener as MemoryListener
from .memory import MemoryServer as MemoryServer
from .memory import MemoryStream as MemoryStream
from .memory import open_server as open_server
from .nurseries import virtual_time as virtual_time
from .responses import ClientResponse as ClientResponse
from .responses import StreamedResponse as StreamedResponse
from .sockets import ClientWebSocket as ClientWebSocket
from .talk import StreamReset as StreamReset

__all__ = [
    "Client",
    "ClientResponse",
    "ClientWebSocket",
    "MemoryListener",
    "MemoryServer",
    "MemoryStream",
    "ReceivedEvent",
    "ReceivedEvents",
    "StreamReset",
    "StreamedResponse",
    "open_server",
    "virtual_time",
]
