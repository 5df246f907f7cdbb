"""What certbot writes is served below /.well-known/acme-challenge/; everything else goes to https.

Start it as root, or with CAP_NET_BIND_SERVICE: roadrunner-trio serve acme:handler --bind :80
"""

import re
from pathlib import Path

from roadrunner_trio import FileResponse, Request, Response, run
from roadrunner_trio.apps.router import Route, Router

CHALLENGES = Path("/var/www/acme/.well-known/acme-challenge")
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


async def challenge(request: Request) -> FileResponse | Response:
    token = request.bindings["token"]
    if TOKEN.fullmatch(token) is None:
        return Response.text("That is no token.\n", status=404)
    return FileResponse(CHALLENGES / token)


async def elsewhere(request: Request) -> Response:
    query = f"?{request.query_string}" if request.query_string else ""
    return Response.redirect(f"https://{request.host}{request.path}{query}", status=308)


handler = Router([Route("/.well-known/acme-challenge/:token", challenge), Route("/*path", elsewhere)])

if __name__ == "__main__":
    run(handler, ":80")
