"""A server inside a Trio application: it begins and ends where the application says so.

Start it, then: curl http://127.0.0.1:8000/ and, to end it: curl -X POST http://127.0.0.1:8000/quit
"""

import trio

from roadrunner_trio import HTTPError, Listener, Request, Response


class Application:
    """Work that goes on whether or not anybody asks, and a page that shows it."""

    def __init__(self) -> None:
        self.seconds = 0
        self.quit = trio.Event()

    async def work(self) -> None:
        """Counts seconds, for want of better work."""
        while True:
            await trio.sleep(1)
            self.seconds += 1

    async def handler(self, request: Request) -> Response:
        """Shows the work, or ends it."""
        match request.method, request.path:
            case "GET", "/":
                return Response.json({"seconds": self.seconds})
            case "POST", "/quit":
                self.quit.set()
                return Response.no_content()
            case _:
                raise HTTPError(404)


async def main() -> None:
    """Ends when somebody has asked for /quit and the last connection is served."""
    application = Application()
    listener = Listener(application.handler, bind="127.0.0.1:8000")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(application.work)
        await nursery.start(listener.serve)  # returns when it listens; raises OSError when it cannot
        print("listening on port", listener.port)
        await application.quit.wait()
        outcome = await listener.drain(grace=5)
        print(f"drained: {outcome.finished} finished, {outcome.cut} cut")
        nursery.cancel_scope.cancel()  # the work


if __name__ == "__main__":
    trio.run(main)
