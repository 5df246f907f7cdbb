"""One clock, any number of readers, a line a second. Start it, then: curl -N http://127.0.0.1:8000/"""

from itertools import count

import trio

from roadrunner_trio import STOP, Draining, Listener, LoopResponse, Request, Send, serve


class Ticker:
    """Counts seconds and tells everybody who has joined."""

    def __init__(self) -> None:
        self.readers: set[trio.MemorySendChannel[int]] = set()

    def join(self) -> trio.MemoryReceiveChannel[int]:
        """A channel with the seconds from now on."""
        send, receive = trio.open_memory_channel[int](10)
        self.readers.add(send)
        return receive

    async def run(self) -> None:
        """Ticks for ever."""
        for second in count(1):
            await trio.sleep(1)
            for reader in tuple(self.readers):
                try:
                    reader.send_nowait(second)
                except trio.WouldBlock:
                    pass  # a reader this slow misses a tick; nobody else waits for it
                except trio.BrokenResourceError:
                    self.readers.remove(reader)  # its response is over

    async def handler(self, request: Request) -> LoopResponse:
        """A response for one reader."""
        return LoopResponse(self.join(), tell, fields={"content-type": "text/plain"})


async def tell(message: object, send: Send) -> object:
    """Writes one message to one reader; Draining and Disconnected come from the server."""
    match message:
        case int():
            await send(b"%d\n" % message)
        case Draining():
            await send(b"the server is going down\n")
            return STOP
        case _:
            pass
    return None


async def main() -> None:
    """The clock and the server, side by side; the clock ends when the server has drained."""
    ticker = Ticker()
    await serve(Listener(ticker.handler, bind="127.0.0.1:8000"), services=[ticker.run])


if __name__ == "__main__":
    trio.run(main)
