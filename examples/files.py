"""Files from a folder. Start it, then open http://127.0.0.1:8000/ in a browser."""

from html import escape
from pathlib import Path

from roadrunner_trio import FileResponse, HTTPError, Request, Response, run

# The table, and never the request, decides which files there are: no path of a request reaches the disk.
FILES = {f"/{path.name}": path for path in sorted(Path(__file__).parent.glob("*.py"))}


async def handler(request: Request) -> Response | FileResponse:
    if request.path == "/":
        links = "".join(f'<li><a href="{escape(name)}">{escape(name)}</a></li>' for name in FILES)
        return Response.html(f"<!doctype html><title>Examples</title><ul>{links}</ul>")
    path = FILES.get(request.path)
    if path is None:
        raise HTTPError(404)
    return FileResponse(path, fields={"content-type": "text/plain; charset=utf-8"})


if __name__ == "__main__":
    run(handler, "127.0.0.1:8000")
