"""Files, compression and forms of this server: ``python -m bench.apps.wing_native PORT FOLDER``."""

from __future__ import annotations

import sys

from roadrunner_trio import Request, Response, run
from roadrunner_trio.apps.compress import Compress
from roadrunner_trio.apps.router import Router
from roadrunner_trio.apps.static import Static

from .content import ROWS

router = Router()


@router.get("/hello")
async def hello(request: Request) -> Response:
    return Response.text("Hello, world!")


@router.get("/json", middlewares=[Compress(codings=["gzip"])])
async def json(request: Request) -> Response:
    return Response.json(ROWS)


@router.post("/form", body="streaming", max_body=None)
async def form(request: Request) -> Response:
    file = (await request.form()).file("f")
    return Response.text("none" if file is None else str(file.size))


if __name__ == "__main__":
    router.add(Static(sys.argv[2]).below("/static"))
    run(router, f"127.0.0.1:{sys.argv[1]}", log=False)
