"""Peers that leave early: a handler that must not stop half-way, and one that stops with what it has."""

import math
from functools import partial

import trio

from roadrunner_trio import Listener, Request, Response, Timeouts, serve
from roadrunner_trio.apps.router import Route, Router

accounts = {"ours": 100, "theirs": 0}


async def book(account: str, amount: int) -> None:
    await trio.sleep(0.5)  # a database
    accounts[account] += amount


async def transfer(request: Request) -> Response:
    amount = int(await request.read())  # may be cancelled here
    with trio.move_on_after(3, shield=True) as both:
        await book("ours", -amount)
        await book("theirs", amount)
    if both.cancelled_caught:
        raise RuntimeError("a transfer took too long, and somebody has to look at it")
    return Response.json(accounts)


async def report(request: Request) -> Response:
    pages: list[str] = []

    async with trio.open_nursery() as nursery:

        async def write() -> None:
            for number in range(1, 11):
                await trio.sleep(1)
                pages.append(f"page {number}\n")
            nursery.cancel_scope.cancel(reason="the report is complete")

        nursery.start_soon(write)
        await request.disconnected()
        nursery.cancel_scope.cancel(reason="nobody has patience for more")
    return Response.text("".join(pages))


app = Router(
    [
        Route("/transfer", transfer, methods=["POST"]),
        Route("/report", report, disconnect_grace=math.inf),
    ]
)


def main() -> None:
    listener = Listener(app, bind="127.0.0.1:8000", timeouts=Timeouts(disconnect_grace=1))
    trio.run(partial(serve, listener))


if __name__ == "__main__":
    main()
