"""A response that is made while it goes out. Start it, then: curl -N http://127.0.0.1:8000/"""

import trio

from roadrunner_trio import Request, Send, StreamResponse, run


async def handler(request: Request) -> StreamResponse:
    async def produce(send: Send) -> dict[str, str]:
        for seconds in range(5, 0, -1):
            await send(b"%d\n" % seconds)
            await trio.sleep(1)
        await send(b"lift-off\n")
        return {"x-seconds": "5"}  # goes out as a trailer field

    return StreamResponse(produce, fields={"content-type": "text/plain", "trailer": "x-seconds"})


if __name__ == "__main__":
    run(handler, "127.0.0.1:8000")
