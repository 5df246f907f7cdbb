"""The ruling on the reload of routes: N51. What a router says when none matches is with the exits, E15 and E16."""

from __future__ import annotations

import pytest

from roadrunner_trio import Response
from roadrunner_trio.apps.router import Group, Route, Router
from roadrunner_trio.testing import open_server


async def hello(request):
    return Response.text("hello")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: ["/x"],
        lambda: [Route("/new", hello, name="x"), Route("/b", hello, name="x")],
        lambda: [Route("/new", hello), Group("/:id", [Route("/:id", hello)])],
        lambda: [Route("/new", hello), Route("/x", hello, max_body=None)],  # the listener buffers
        lambda: [Route("/new", hello), Route("x", hello)],
    ],
)
async def test_n51_a_bad_table_leaves_the_old_one_in_force(bad):
    app = Router([Route("/x", hello, name="x")])
    async with open_server(app) as server:
        client = server.client()
        assert (await client.get("/x")).text == "hello"
        with pytest.raises((ValueError, TypeError)):
            server.listener.reload_routes(bad())
        assert server.listener.status == "accepting"
        assert (await client.get("/x")).text == "hello"
        assert (await client.get("/new")).status == 404
    assert app.url_for("x") == "/x"
    assert [endpoint.pattern for endpoint in app.endpoints] == ["/x"]
