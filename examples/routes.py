"""Notes by number: routes, names, a group behind a key. Start it, then: curl http://127.0.0.1:8000/"""

import time

import trio

from roadrunner_trio import AnyResponse, CallNext, HTTPError, Listener, Request, Response, early, serve
from roadrunner_trio.apps.router import Group, Route, Router

KEY = "Bearer let-me-in"  # a real one does not stand in the source
notes = {1: "Every task has a nursery.", 2: "Every wait has a deadline."}


def number_of(request: Request) -> int:
    bound = request.bindings["id"]
    if not bound.isdecimal() or int(bound) not in notes:
        raise HTTPError(404, f"there is no note {bound}")
    return int(bound)


async def index(request: Request) -> Response:
    return Response.json({router.url_for("note", id=number): text for number, text in notes.items()})


async def show(request: Request) -> Response:
    return Response.text(notes[number_of(request)] + "\n")


async def add(request: Request) -> Response:
    number = max(notes, default=0) + 1
    notes[number] = (await request.read()).decode()
    return Response(status=201, fields={"location": router.url_for("note", id=number)})


async def remove(request: Request) -> Response:
    del notes[number_of(request)]
    return Response.no_content()


async def timing(request: Request, call_next: CallNext) -> AnyResponse:
    began = time.perf_counter()
    response = await call_next(request)
    response.fields.append((b"server-timing", b"app;dur=%.1f" % ((time.perf_counter() - began) * 1000)))
    return response


@early
async def with_key(request: Request) -> Response | None:
    if request.header("authorization") == KEY:
        return None
    return Response.text("who are you?\n", status=401, fields={"www-authenticate": "Bearer"})


router = Router(
    [
        Route("/", index, methods=["GET"]),
        Route("/notes/:id", show, methods=["GET"], name="note"),
        Group(
            "/notes",
            [Route("/", add, methods=["POST"], max_body=1000), Route("/:id", remove, methods=["DELETE"])],
            middlewares=[with_key],
        ),
    ]
)


async def main() -> None:
    await serve(Listener(router, bind="127.0.0.1:8000", middlewares=[timing]))


if __name__ == "__main__":
    trio.run(main)
