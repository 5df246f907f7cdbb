"""An application of FastAPI as large as they are: 60 models with a route each, and the libraries that come along."""

from __future__ import annotations

import gc
import os
from typing import Any, Final

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, create_model

app: Final = FastAPI()
client_class: Final = httpx.AsyncClient


async def collect() -> int:
    """Has the collector look at everything, which writes to every object that it sees; says which process that was."""
    gc.collect()
    return os.getpid()


app.get("/collect")(collect)


def add(number: int) -> None:
    """A model, and a route that takes one."""
    fields: dict[str, Any] = {f"field_{at}": (str if at % 2 else int | None, ...) for at in range(12)}
    model: type[BaseModel] = create_model(f"Model{number}", **fields)

    async def take(item: Any) -> Any:
        return item

    take.__annotations__ |= {"item": model, "return": model}
    app.post(f"/models/{number}")(take)


for number in range(60):
    add(number)
