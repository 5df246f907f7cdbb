"""The same by Starlette on uvicorn: ``python -m bench.apps.wing_starlette PORT FOLDER``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .content import ROWS


def make(folder: str) -> Any:
    """The application.

    Raises:
        ImportError: Starlette is not installed.
    """
    part: Any = {
        name: importlib.import_module(f"starlette.{name}")
        for name in ("applications", "middleware.gzip", "responses", "routing", "staticfiles")
    }
    responses, routing = part["responses"], part["routing"]

    async def hello(request: Any) -> Any:
        return responses.PlainTextResponse("Hello, world!")

    async def json(request: Any) -> Any:
        return responses.JSONResponse(ROWS)

    async def form(request: Any) -> Any:
        async with request.form() as found:
            return responses.PlainTextResponse(str(found["f"].size))

    compressed = part["middleware.gzip"].GZipMiddleware(routing.Route("/json", json))
    return part["applications"].Starlette(
        routes=[
            routing.Route("/hello", hello),
            routing.Route("/form", form, methods=["POST"]),
            routing.Mount("/static", app=part["staticfiles"].StaticFiles(directory=folder)),
            routing.Mount("/", app=compressed),
        ]
    )


if __name__ == "__main__":
    server: Any = importlib.import_module("uvicorn")
    server.run(make(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
