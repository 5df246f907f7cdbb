"""Pages of two origins in headless Chromium: requests and preflights are real, and answers are read or they are not."""

from __future__ import annotations

import json
import re
import tempfile

import pytest
import trio
from browser_tools import CHROMIUM
from socket_tools import serving

import roadrunner_trio as rr
from roadrunner_trio.apps.compress import Compress
from roadrunner_trio.apps.cors import CORS
from roadrunner_trio.apps.guards import CSRF
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.apps.static import Static

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium")

PAGE = """<!doctype html><meta charset=utf-8><pre id=said>waiting</pre><script>
const api = %s;
async function ask(path, options) {
  try {
    const answer = await fetch(api + path, options);
    return [answer.status, await answer.text()];
  } catch (error) { return ["refused"]; }
}
async function seek() {
  const video = await fetch(api + "/files/film.mp4", {headers: {"Range": "bytes=5-9"}});
  return [video.status, await video.text()];
}
(async () => {
  const json = {"Content-Type": "application/json", "X-Token": "1"};
  const said = {
    get: await ask("/"),
    cookie: await ask("/", {credentials: "include"}),
    put: await ask("/", {method: "PUT", headers: json, body: "{}"}),
    field: await ask("/", {method: "PUT", headers: {"X-Other": "1"}}),
    post: await ask("/", {method: "POST", body: new URLSearchParams("a=b")}),
    missing: await ask("/nothing"),
    crash: await ask("/crash"),
    large: await ask("/", {method: "PUT", headers: json, body: "x".repeat(5000)}),
    seek: await seek().catch(() => ["refused"]),
  };
  document.getElementById("said").textContent = JSON.stringify(said);
})();
</script>"""

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--dump-dom",
    "--timeout=15000",
    "--virtual-time-budget=15000",
]


async def hello(request: rr.Request) -> rr.Response:
    return rr.Response.text(f"{request.method} {len(await request.read())}")


async def crash(request: rr.Request) -> rr.Response:
    raise KeyError


async def visit(url: str) -> dict[str, list[object]]:
    """What the page says that its requests have come to."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory() as profile, trio.fail_after(90):
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    found = re.search(rb"<pre id=.said.>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None, (done.stdout, done.stderr)
    said: dict[str, list[object]] = json.loads(found[1])
    return said


async def test_a_page_that_was_named_may_and_another_may_not(tmp_path, caplog):
    (tmp_path / "film.mp4").write_bytes(b"0123456789abcdef")
    pages: dict[str, str] = {}

    async def page(request: rr.Request) -> rr.Response:
        return rr.Response.html(PAGE % json.dumps(pages["api"]))

    async with serving(page) as ours, serving(page) as others:
        rules = CORS([f"http://localhost:{ours.port}"], credentials=True, fields=["content-type", "x-token", "range"])
        static = Static(tmp_path)
        router = Router(
            [Route("/", hello), Route("/crash", crash), static.below("/files")],
            middlewares=[rules, CSRF([f"http://localhost:{ours.port}"]), Compress()],
        )
        async with serving(router, limits=rr.Limits(max_body=1000)) as api:
            pages["api"] = f"http://127.0.0.1:{api.port}"
            said = await visit(f"http://localhost:{ours.port}/")
            assert said == {
                "get": [200, "GET 0"],
                "cookie": [200, "GET 0"],
                "put": [200, "PUT 2"],
                "field": ["refused"],
                "post": [200, "POST 3"],
                "missing": [404, "Not Found"],
                "crash": [500, ""],
                "large": [413, ""],
                "seek": [206, "56789"],
            }
            said = await visit(f"http://localhost:{others.port}/")
            assert {name: answer for name, answer in said.items() if answer != ["refused"]} == {}
