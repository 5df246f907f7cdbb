"""An application of ASGI, without a framework: roadrunner-trio serve main:app"""

from roadrunner_trio.apps.asgi import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Says hello to whatever is asked."""
    if scope["type"] != "http":
        raise NotImplementedError  # no lifespan, no WebSockets
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello\n"})
