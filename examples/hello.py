"""The smallest server. Start it, then: curl 'http://127.0.0.1:8000/?name=Trio'"""

from roadrunner_trio import Request, Response, run


async def handler(request: Request) -> Response:
    return Response.text(f"Hello, {request.query.get('name', 'world')}!\n")


if __name__ == "__main__":
    run(handler, "127.0.0.1:8000")
