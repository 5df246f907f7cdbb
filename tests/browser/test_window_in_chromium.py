"""The window into a running server as an operator sees it: in headless Chromium, under connections, through a drain."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser_tools import CHROMIUM, PATIENCE, Tab, chromium, screenshots

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nox -s browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # Playwright's own
]

APP = """
import trio
from roadrunner_trio import EventStream, Response, run

async def handler(request):
    if request.path == "/slow":
        await trio.sleep(3600)
    if request.path == "/events":
        async def ticks(sender):
            while True:
                await sender.send("tick")
                await trio.sleep(1)
        return EventStream(request, ticks)
    return Response(await request.read())
"""
MANY = 5000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Watched:
    """A server with a window."""

    def __init__(self, folder: Any, *more: str) -> None:
        (folder / "watched.py").write_text(APP)
        self.port, self.window = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.window}/"
        command = [sys.executable, "-m", "roadrunner_trio", "serve", "watched:handler"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--observe", f"127.0.0.1:{self.window}", *more]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert b"Serving" in self.process.stdout.readline()

    def say(self, data: bytes) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        peer.sendall(data)
        return peer


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def watched(tmp_path: Any) -> Iterator[Watched]:
    server = Watched(tmp_path, "--grace", "30", "--max-connections", "6000", "--timeout-body", "6")
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def tab_of(browser: Any, url: str, width: int = 1280, scheme: str = "light") -> Tab:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    return Tab(context.new_page(), url)


def phases(tab: Tab) -> list[str]:
    dots = tab.page.locator("#tree .dots [role=treeitem]")
    return sorted(dots.evaluate_all("dots => dots.map(dot => dot.dataset.phase)"))


def test_connections_their_deadlines_and_a_drain(watched: Watched, browser: Any) -> None:
    tab = tab_of(browser, watched.url)
    with ExitStack() as peers:
        for _ in range(3):
            peers.enter_context(watched.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
        peers.enter_context(watched.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"))
        peers.enter_context(watched.say(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n"))
        tab.until(lambda: phases(tab) == ["idle", "idle", "idle", "in the handler", "reading a body"])
        line = tab.page.locator("#connections tr[data-phase='reading a body']")
        assert "POST /" in line.inner_text()
        first = int(line.locator(".left span").inner_text().split()[0])
        tab.until(lambda: line.count() == 0 or int(line.locator(".left span").inner_text().split()[0]) < first)
        tab.until(lambda: "reading a body" not in phases(tab))  # 408
        tab.page.locator("#connections tr[data-phase='in the handler'] button").click()
        tab.until(lambda: "in ticks" in tab.text("#detail-stack"))
        tab.click("#close")

        watched.process.send_signal(signal.SIGTERM)
        tab.until(lambda: tab.text("#state") in ("draining", "closed"))
        tab.until(lambda: tab.text("#state") == "closed")
    assert watched.process.wait(PATIENCE) == 0
    assert [line for line in tab.complaints if "ERR_" not in line] == []  # it tries to come again


def test_a_drain_says_who_is_still_there(watched: Watched, browser: Any) -> None:
    tab = tab_of(browser, watched.url)
    with watched.say(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"):
        tab.until(lambda: phases(tab) == ["in the handler"])
        watched.process.send_signal(signal.SIGTERM)
        tab.until(lambda: tab.page.locator(".drain").is_visible())
        tab.until(lambda: "1 still here" in tab.text(".drain"))
        assert "s left" in tab.text(".drain")
        assert "GET /slow" in tab.text("#connections")


def test_thousands(watched: Watched, browser: Any) -> None:
    """Of many connections a part is shown, and all of them counted; the tree remains one that can be read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY:
        pytest.skip("this machine has too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY), hard))
    with ExitStack() as peers:
        for _ in range(MANY):
            peers.enter_context(socket.create_connection(("127.0.0.1", watched.port), PATIENCE))
        tab = tab_of(browser, watched.url)
        tab.until(lambda: f"of {MANY}" in tab.text("#window"))
        assert tab.page.locator("#connections tr").count() == 200
        assert f"{MANY} of 6000" in tab.text("#listeners")
        tab.until(lambda: f"and {MANY - 200} more" in tab.text("#tree"))
        for name, width, scheme in (("desktop", 1280, "light"), ("desktop-dark", 1280, "dark"), ("phone", 375, "dark")):
            picture = tab_of(browser, watched.url, width, scheme)
            picture.until(lambda: picture.page.locator("#connections tr").count() == 200)  # noqa: B023 - asked now
            wide = picture.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width
            if (folder := screenshots()) is not None:
                folder.mkdir(parents=True, exist_ok=True)
                picture.page.screenshot(path=folder / f"window-{name}.png")
            picture.page.close()


def test_a_recording_plays_in_the_same_page(watched: Watched, browser: Any, tmp_path: Any) -> None:
    tab = tab_of(browser, watched.url)
    with watched.say(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"):
        tab.until(lambda: phases(tab) == ["in the handler"])
        tab.click("#record")
        tab.page.wait_for_timeout(1500)
    tab.until(lambda: phases(tab) == [])
    with tab.page.expect_download() as saved:
        tab.click("#record")
    file = tmp_path / "recording.jsonl"
    saved.value.save_as(file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["event"] == "all"
    assert len(lines) >= 2
    watched.process.kill()
    begun = time.monotonic()
    tab.page.set_input_files("#play", file)
    tab.until(lambda: phases(tab) == ["in the handler"])
    tab.until(lambda: tab.text("#state") == "played")
    assert phases(tab) == []
    assert time.monotonic() - begun < PATIENCE
