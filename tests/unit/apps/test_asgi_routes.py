"""The routes of ASGI applications are told to whoever measures."""

from __future__ import annotations

from typing import Any

import pytest
from story_tools import GET, open_house

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.asgi_routes import MOST, Endpoints


class Route:
    __hash__ = None  # type: ignore[assignment]  # as Starlette's

    def __init__(self, path: Any) -> None:
        self.path = path


ROUTES = {"/users/1": Route("/users/{id}"), "/fails": Route("/fails"), "/odd": Route(7), "/none": None}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] in ROUTES:
        scope["route"] = ROUTES[scope["path"]]
    if scope["path"] == "/fails":
        raise ValueError("mine")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hi"})


async def test_they_are_labels_of_metrics(autojump_clock: Any) -> None:
    metrics = rr.Metrics()
    async with open_house(asgi(application, lifespan="off"), observers=[metrics]) as house:
        for path in (*ROUTES, "/other", "/users/1"):
            await house.peer().say(GET.replace(b" / ", f" {path} ".encode()))
    counted = {key[1:]: sum(row[:14]) for key, row in metrics.snapshot().series.items()}
    assert counted == {("/users/{id}", "2xx"): 2, ("/fails", "5xx"): 1, ("", "2xx"): 3}


def test_an_endpoint_is_the_same_for_the_same_route_and_they_are_bounded() -> None:
    endpoints, routes = Endpoints(), [Route(f"/{at}") for at in range(MOST + 5)]
    assert endpoints.of(routes[0]) is endpoints.of(routes[0]) is not None
    for route in routes:
        endpoints.of(route)
    assert len(endpoints._known) <= MOST


@pytest.mark.parametrize("route", [None, object(), Route(""), Route(5)])
def test_what_has_no_template_is_no_endpoint(route: object) -> None:
    assert Endpoints().of(route) is None
