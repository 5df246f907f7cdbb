"""What an application is told of a request: rows S and G of the conformance table."""

from __future__ import annotations

import contextvars
import copy
import json

import pytest
import trio
from asgi_tools import KINDS, Notes, asgi_house, body, hi, start
from story_tools import GET, GET_10, answer, open_house

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.asgi_scope import distinguished_name, tls_extension
from roadrunner_trio.transport.tls import TLSInfo


async def scope_of(request: bytes, kind: str = "memory", **options):
    app = Notes()
    async with asgi_house(app, **options) as house:
        peer = house.meet(kind)
        await peer.say(request)
        await peer.until(b"hi")
    return app.scope


async def test_asgi_s1_type_and_versions(autojump_clock):
    scope = await scope_of(GET)
    assert (scope["type"], scope["asgi"]) == ("http", {"version": "3.0", "spec_version": "2.5"})


@pytest.mark.parametrize(("request_", "version"), [(GET, "1.1"), (GET_10, "1.0")])
async def test_asgi_s2_http_version(request_, version, autojump_clock):
    assert (await scope_of(request_))["http_version"] == version


async def test_asgi_s3_method_is_as_sent_and_one_in_lower_case_is_refused(autojump_clock):
    assert (await scope_of(b"PURGE / HTTP/1.1\r\nHost: h\r\n\r\n"))["method"] == "PURGE"
    app = Notes()
    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(b"delete / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"501 Not Implemented" in peer.take(), "who filters DELETE would let it by"
    assert app.scopes == []


async def test_asgi_s4_scheme_is_the_transports_or_a_trusted_proxys(autojump_clock):
    said = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"
    assert (await scope_of(said, "tcp"))["scheme"] == "http"
    trusting = {"proxy_headers": rr.ProxyHeaders(["127.0.0.1"], ["x-forwarded-proto"])}
    assert (await scope_of(said, "tcp", settings=trusting))["scheme"] == "https"


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a?b=c%20d", "/a", b"/a", b"b=c%20d"),
        (b"/a%20b/%C3%A9", "/a b/é", b"/a%20b/%C3%A9", b""),
        (b"/%ff", "/\ufffd", b"/%ff", b""),
        (b"/?", "/", b"/", b""),
        (b"//a//", "//a//", b"//a//", b""),
    ],
)
async def test_asgi_s5_s6_s7_path_raw_path_and_query_string(target, path, raw_path, query, autojump_clock):
    scope = await scope_of(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


async def test_report_uvicorn_261_an_encoded_slash_can_be_told_from_a_slash(autojump_clock):
    scope = await scope_of(b"GET /a%2Fb HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (scope["path"], scope["raw_path"]) == ("/a/b", b"/a%2Fb")


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
async def test_asgi_s8_report_uvicorn_pr_2213_path_includes_root_path(root_path, autojump_clock):
    scope = await scope_of(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", root_path=root_path)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/x", b"/api/x")


async def test_asgi_s8_what_is_about_the_server_has_no_root_path(autojump_clock):
    scope = await scope_of(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", root_path="/api")
    assert (scope["root_path"], scope["path"]) == ("", "*")


async def test_asgi_s9_headers_are_a_fresh_list_of_pairs_in_order(autojump_clock):
    app = Notes()
    async with asgi_house(app) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\n")
            app.scope["headers"].append((b"x-added", b"by an application"))
    assert type(app.scope["headers"]) is list
    assert app.scope["headers"][:4] == [(b"host", b"h"), (b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")]
    assert len(app.scope["headers"]) == 5, "what was added to the first is not in the second"


async def test_asgi_s10_s11_client_and_server(autojump_clock, tmp_path):
    scope = await scope_of(GET)
    assert (scope["client"], scope["server"]) == (None, ("main", None)), "in memory nobody has an address"
    app = Notes()
    async with asgi_house(app) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        await peer.until(b"hi")
        assert tuple(app.scope["client"]) == peer.stream.socket.getsockname()[:2]
        assert tuple(app.scope["server"]) == ("127.0.0.1", house.listener.port)


async def test_asgi_s10_s11_on_a_unix_socket(tmp_path):
    app, path = Notes(), str(tmp_path / "s")
    listener = rr.Listener(asgi(app, lifespan="off"), bind=f"unix:{path}")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(GET)
            await stream.receive_some()
        nursery.cancel_scope.cancel()
    assert (app.scope["client"], app.scope["server"]) == (None, (path, None))


async def test_asgi_s12_l12_report_hypercorn_274_state_is_copied_for_each_request(autojump_clock):
    shared: list[int] = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"].update(shared=shared, name="first")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen = scope["state"]["name"]
        scope["state"]["name"] = "changed"
        scope["state"]["shared"].append(1)
        await send(start())
        await send(body(seen.encode()))

    async with open_house(asgi(app)) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == answer(b"first")
    assert shared == [1, 1]


async def test_asgi_s13_absolute_form(autojump_clock):
    scope = await scope_of(b"GET http://real.example:81/abs?q HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/abs", b"/abs", b"q")
    assert scope["headers"] == [(b"host", b"real.example:81"), (b"x", b"y")]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_s14_a_chunked_request_is_read_without_its_framing(kind, autojump_clock):
    async def read(scope, receive, send):
        got, more = b"", True
        while more:
            event = await receive()
            got, more = got + event["body"], event["more_body"]
        await send(start())
        await send(body(got))

    async with asgi_house(read) as house:
        peer = house.meet(kind)
        await peer.say(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await peer.until(b"abcde")).endswith(b"content-length: 5\r\n\r\nabcde")


async def test_asgi_s15_extensions_are_a_dict_of_dicts(autojump_clock):
    extensions = (await scope_of(GET))["extensions"]
    assert set(extensions) == {
        "http.response.early_hint",
        "http.response.pathsend",
        "http.response.trailers",
        "http.response.zerocopysend",
        "roadrunner.drain",
    }
    assert all(isinstance(each, dict) for each in extensions.values())


async def test_asgi_e5_e6_neither_push_nor_debug_is_offered(autojump_clock):
    extensions = (await scope_of(GET))["extensions"]
    assert not {"http.response.push", "http.response.debug"} & set(extensions)


async def test_asgi_s16_what_an_application_does_to_its_scope_no_other_sees(autojump_clock):
    async def vandal(scope, receive, send):
        seen = dict(scope)
        assert scope["path"] == "/"
        assert "x" not in scope["extensions"]
        with pytest.raises(TypeError, match="the server's"):
            scope["extensions"]["http.response.trailers"]["x"] = 1
        with pytest.raises(TypeError, match="the server's"):
            scope["asgi"].update(x=1)
        own = copy.deepcopy(scope["asgi"])
        own["x"] = 1
        scope["extensions"]["x"] = scope["path"] = scope["method"] = "changed"
        scope["headers"].clear()
        assert seen["headers"] == []
        await hi(scope, receive, send)

    async with asgi_house(vandal) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == answer(b"hi")


async def test_asgi_e8_the_drain(autojump_clock):
    app = Notes()
    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(GET)
        assert json.dumps(app.scope["extensions"])  # some applications show them
        drain = app.scope["roadrunner.drain"]
        assert not drain["started"].is_set()
        house.listener.notify(7)
        assert drain["started"].is_set()
        assert drain["deadline"]() == trio.current_time() + 7


async def test_asgi_e7_no_tls_without_tls(autojump_clock):
    assert "tls" not in (await scope_of(GET))["extensions"]


def test_asgi_e7_what_is_said_of_tls():
    subject = ((("countryName", "DE"),), (("organizationName", "A, B"),), (("commonName", " x "), ("userId", "7")))
    info = TLSInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", {"subject": subject}, ("PEM",))
    assert tls_extension(info) == {
        "server_cert": None,
        "client_cert_chain": ["PEM"],
        "client_cert_name": "CN=\\ x\\ +UID=7,O=A\\, B,C=DE",
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1301,
    }
    assert tls_extension(TLSInfo("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"))["cipher_suite"] == 0xC02F
    assert tls_extension(TLSInfo("TLSv1.2", "x"))["client_cert_name"] is None
    assert distinguished_name({"subject": ((("commonName", "#a"),),)}) == "CN=\\#a"


async def test_asgi_g1_an_application_of_asgi_2(autojump_clock):
    class Old:
        def __init__(self, scope):
            self.scope = scope

        async def __call__(self, receive, send):
            await hi(self.scope, receive, send)

    def old(scope):
        return Old(scope)

    for app in (Old, old):
        async with asgi_house(app) as house:
            peer = house.peer()
            await peer.say(GET)
            assert peer.take() == answer(b"hi")


async def test_asgi_g1_a_class_that_is_made_of_all_three_is_awaited(autojump_clock):
    class New:
        def __init__(self, scope, receive, send):
            self.given = (scope, receive, send)

        def __await__(self):
            return hi(*self.given).__await__()

    async with asgi_house(New) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi")


async def test_asgi_g2_t18_keys_that_nobody_knows_are_ignored(autojump_clock):
    async def app(scope, receive, send):
        await send({**start(), "x.y": object()})
        await send({**body(b"hi"), "x.y": object()})

    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi")


async def test_asgi_g3_a_request_does_not_see_the_context_variables_of_the_last(autojump_clock):
    user = contextvars.ContextVar("user", default=b"nobody")

    async def app(scope, receive, send):
        await send(start())
        await send(body(user.get()))
        user.set(b"somebody")

    async with asgi_house(app) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == answer(b"nobody")


async def test_asgi_g4_an_exception_of_one_is_nobody_elses(autojump_clock, caplog):
    async def app(scope, receive, send):
        if scope["path"] == "/bad":
            raise BaseExceptionGroup("x", [ValueError("secret")])
        await hi(scope, receive, send)

    async with asgi_house(app) as house:
        peer, other = house.peer(), house.peer()
        await peer.say(b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"500 Internal" in await peer.end()
        await other.say(GET)
        assert other.take() == answer(b"hi")
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"root_path": "api"}, "root_path"),
        ({"lifespan": "maybe"}, "lifespan is one of"),
        ({"drain_events": "all"}, "drain_events is one of"),
        ({"startup_timeout": 0}, "startup_timeout"),
        ({"max_body": -1}, "max_body"),
        ({"disconnect_grace": 0}, "disconnect_grace"),
    ],
)
def test_a_bad_argument_fails_at_once(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        asgi(hi, **options)


def test_what_is_no_application():
    with pytest.raises(TypeError, match="ASGI application"):
        asgi("module:app")
    with pytest.raises(TypeError, match="Mount"):
        rr.Listener(asgi(hi), middlewares=[lambda request, call_next: call_next(request)])
