"""TLS: a listener with a certificate and a key, which docs/howto/tls.rst says how to make."""

from functools import partial

import trio

from roadrunner_trio import Listener, Request, Response, serve, server_context


async def handler(request: Request) -> Response:
    encryption = request.tls.version if request.tls else "nothing"
    return Response.text(f"hello over {encryption}\n")


def main() -> None:
    context = server_context("cert.pem", "key.pem")
    trio.run(partial(serve, Listener(handler, bind="127.0.0.1:8000", tls=context)))


if __name__ == "__main__":
    main()
