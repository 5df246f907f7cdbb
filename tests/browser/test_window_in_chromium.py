"""The window into a running server as an operator sees it: in headless Chromium, under connections, through a drain."""

from __future__ import annotations

import contextlib
import json
import re
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
from browser_tools import CHROMIUM, FAINT, NAMELESS, PATIENCE, Tab, chromium, screenshots
from ports import free_port

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nox -s browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # Playwright's own
]

APP = """
import trio
from roadrunner_trio import EventStream, Response, run, websocket

async def echo(request):
    async with await request.accept(subprotocol="chat.v1") as peer:
        async for message in peer:
            await peer.send_message(message)

chat = websocket(echo)

async def handler(request):
    if request.path.startswith("/slow"):
        await trio.sleep(3600)
    if request.path == "/events":
        async def ticks(sender):
            while True:
                await sender.send("tick")
                await trio.sleep(1)
        return EventStream(request, ticks)
    if request.path == "/chat":
        return await chat(request)
    return Response(await request.read())
"""
MANY = 5000


class Watched:
    """A server with a window."""

    def __init__(self, folder: Any, *more: str) -> None:
        (folder / "watched.py").write_text(APP)
        self.port, self.window = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.window}/"
        command = [sys.executable, "-m", "roadrunner_trio", "serve", "watched:handler"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--observe", f"127.0.0.1:{self.window}", *more]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
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


@pytest.fixture
def workers(tmp_path: Any) -> Iterator[Watched]:
    server = Watched(tmp_path, "--grace", "30", "--workers", "2")
    try:
        yield server
    finally:
        server.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(2)
        server.process.terminate()  # at once
        server.process.communicate(timeout=PATIENCE)


def tab_of(browser: Any, url: str, width: int = 1280, scheme: str = "light", **more: Any) -> Tab:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
    return Tab(context.new_page(), url)


def picture(tab: Tab, name: str, *, whole: bool = False) -> None:
    """For those who want to look themselves."""
    if (folder := screenshots()) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        tab.page.screenshot(path=folder / f"window-{name}.png", full_page=whole)


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
            seen = tab_of(browser, watched.url, width, scheme)
            seen.until(lambda: seen.page.locator("#connections tr").count() == 200)  # noqa: B023 - asked now
            wide = seen.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width
            picture(seen, f"thousands-{name}")
            seen.page.close()
        peers.enter_context(watched.say(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"))
        tab.until(lambda: "in the handler" in phases(tab) or f"{MANY + 1} of" in tab.text("#listeners"))
        watched.process.send_signal(signal.SIGTERM)
        tab.until(lambda: tab.text("#state") == "draining" and tab.text(".drain").startswith("1 still here"))
        assert "GET /slow" in tab.text("#connections")
        assert tab.page.evaluate("document.querySelector('.drain progress').position") > 0.99
        picture(tab, "thousands-drain")
    tab.until(lambda: tab.text("#state") == "closed")


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


GET = b"GET /customers/%d?token=secret HTTP/1.1\r\nHost: h\r\n\r\n"


def ask(tab: Tab, watched: Watched, many: int = 3) -> socket.socket:
    """A connection that the page shows, and on which so many requests have been answered since."""
    peer = watched.say(b"")
    tab.until(lambda: phases(tab) == ["idle"])
    for number in range(many):
        peer.sendall(GET % number)
        assert b"200 OK" in peer.recv(65536)
    return peer


def test_the_last_requests_of_a_connection(watched: Watched, browser: Any) -> None:
    tab = tab_of(browser, watched.url)
    with ask(tab, watched) as peer:
        tab.click("#connections button")
        rows = tab.page.locator("#detail-recent tbody tr")
        tab.until(lambda: rows.count() == 3)
        assert rows.first.locator("td").first.inner_text() == "GET /customers/2"
        assert rows.first.locator("td").nth(1).inner_text() == "200"
        assert "secret" not in tab.page.content()
        peer.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")  # the panel goes on while it is open
        tab.until(lambda: "in handler" in tab.text("#detail-stack"))
        tab.page.keyboard.press("Escape")
        assert tab.page.locator("#detail").is_hidden()
    assert tab.complaints == []


HANDSHAKE = b"GET /chat?token=secret HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
HANDSHAKE += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
HANDSHAKE += b"Sec-WebSocket-Protocol: chat.v1\r\n\r\n"
HI = b"\x81\x82\0\0\0\0hi"


def test_a_websocket_and_its_messages(watched: Watched, browser: Any) -> None:
    tab = tab_of(browser, watched.url)
    tab.until(lambda: tab.text("#state") == "live")
    with watched.say(HANDSHAKE) as peer:
        tab.until(lambda: phases(tab) == ["handed off"])
        for _ in range(3):
            peer.sendall(HI)
        tab.click("#connections button")
        tab.until(lambda: "3 messages in, 3 out" in tab.text("#detail-sockets"))
        assert re.search(r"^/chat open for \d+ s, chat.v1: ", tab.text("#detail-sockets li"))
        assert "in echo" in tab.text("#detail")
        picture(tab, "websocket")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("place", "width"), [("desktop", 1280), ("phone", 375)])
def test_it_can_be_read_everywhere(place: str, width: int, scheme: str, workers: Watched, browser: Any) -> None:
    """Every control has a name, all text a contrast of 4.5, and nothing is wider than the screen."""
    tab = tab_of(browser, workers.url, width, scheme)
    with ExitStack() as peers:
        for _ in range(20):
            peers.enter_context(workers.say(b"GET /slow/%s HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * 300)))
        busy = tab.page.locator(".card").filter(has_text="in the handler")
        tab.until(lambda: busy.count() > 0)
        busy.first.click()  # it may have all of them
        tab.until(lambda: tab.page.locator("#connections tr").count() > 0)
        workers.process.send_signal(signal.SIGHUP)
        tab.until(lambda: tab.page.locator(".card[data-state='draining'] .drain").first.is_visible())
        picture(tab, f"workers-{place}-{scheme}", whole=True)
        for open_detail in (False, True):
            if open_detail:
                tab.page.locator("#connections button").first.click()
                tab.until(lambda: tab.page.locator("#detail-stack li").count() > 0)
                picture(tab, f"detail-{place}-{scheme}")
            assert tab.page.evaluate(NAMELESS) == []
            assert tab.page.evaluate(FAINT) == []
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.page.evaluate("document.getElementById('detail').scrollWidth") <= width


def test_keys_are_enough(watched: Watched, browser: Any) -> None:
    """A list is one stop for Tab; arrows go through it, Enter looks closer, Escape comes back to where one was."""
    tab = tab_of(browser, watched.url)
    keys, focused = tab.page.keyboard, "document.activeElement.textContent"
    with ExitStack() as peers:
        for _ in range(3):
            peers.enter_context(watched.say(b""))
        tab.until(lambda: phases(tab) == ["idle"] * 3)
        names = tab.page.locator("#connections button").all_inner_texts()
        tab.page.focus("#play")
        keys.press("Tab")
        keys.press("Tab")  # past the box that scrolls, if that is a stop
        if tab.page.evaluate(focused) != names[0]:
            tab.page.focus("#connections button")
        for key, at in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 2), ("Home", 0), ("ArrowDown", 1)):
            keys.press(key)
            assert tab.page.evaluate(focused) == names[at]
        keys.press("Enter")
        tab.until(lambda: tab.page.locator("#detail").is_visible())
        tab.until(lambda: tab.page.evaluate("document.activeElement.id") == "close")
        assert tab.text("#detail-name") == names[1]
        keys.press("Escape")
        assert tab.page.evaluate(focused) == names[1]
        assert tab.page.locator("#connections button[tabindex='0']").count() == 1
        assert tab.page.locator("#tree button[tabindex='0']").count() == 1


def test_who_wants_less_motion_has_less(watched: Watched, browser: Any) -> None:
    how = "getComputedStyle(document.querySelector('.left i')).transitionDuration"
    with watched.say(b""):
        for motion, seconds in (("reduce", "0s"), ("no-preference", "0.25s")):
            tab = tab_of(browser, watched.url, reduced_motion=motion)
            tab.until(lambda: phases(tab) == ["idle"])  # noqa: B023 - asked now
            assert tab.page.evaluate(how) == seconds


def test_the_tree_is_that_of_the_dump(watched: Watched, browser: Any) -> None:
    """What SIGUSR1 prints and what the page shows are the same tasks, each in its place; connections are dots."""
    tab = tab_of(browser, watched.url)
    with watched.say(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"), watched.say(b""):
        tab.until(lambda: phases(tab) == ["idle", "in the handler"])
        tab.page.wait_for_timeout(1500)  # connections that the browser has used for the page are gone from it
        watched.process.send_signal(signal.SIGUSR1)
        tab.until(lambda: re.search(r"^\d+ tasks\n", watched.log.read_text(), re.MULTILINE))
        tab.page.wait_for_timeout(1500)
        lines = watched.log.read_text().partition(" tasks\n")[2].splitlines()
        dump = [(len(line) - len(line.lstrip()) - 2, line.strip().partition(" @ ")[0]) for line in lines]
        shown = tab.page.locator("#tree .task > button").evaluate_all("""buttons => buttons.map((button) => {
          let depth = 0;
          for (let at = button.parentElement.parentElement.closest(".task"); at; at = at.parentElement.closest(".task"))
            depth += 1;
          return [2 * depth, button.textContent];
        })""")
        connections = set(tab.page.locator("#connections button").all_inner_texts())
        assert len(connections) == 2
        expected = [each for each in dump if each[1].removeprefix("main: ") not in connections]
        assert len(dump) - len(expected) == 2
        assert sorted(map(tuple, shown)) == sorted(expected)


def states(tab: Tab) -> list[str]:
    return sorted(tab.page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.state)"))


def test_workers_through_a_roll_and_a_drain(workers: Watched, browser: Any) -> None:
    tab = tab_of(browser, workers.url)
    with workers.say(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n") as peer:
        tab.until(lambda: states(tab) == ["ready", "ready"])
        busy = tab.page.locator(".card").filter(has_text="in the handler")
        tab.until(lambda: busy.count() == 1)
        name = busy.locator(".title").inner_text()
        busy.click()
        tab.until(lambda: "GET /slow" in tab.text("#connections"))
        assert busy.get_attribute("aria-selected") == "true"

        workers.process.send_signal(signal.SIGHUP)
        new = tab.page.locator(".card[data-state='ready']").filter(has_text="generation 2")
        tab.until(lambda: new.count() == 2)
        tab.until(lambda: states(tab) == ["draining", "ready", "ready"])  # of the old ones that is left which is busy
        old = tab.page.locator(".card[data-state='draining']")
        tab.until(lambda: "1 still here" in old.locator(".drain").inner_text())
        assert old.locator(".title").inner_text() == name
        tab.until(lambda: "1 still here" in tab.text("#listeners .drain"))  # it is still the one that is shown
        peer.close()
        tab.until(lambda: "draining" not in states(tab))
        chosen = tab.page.locator(".card[aria-selected='true']")
        tab.until(lambda: chosen.count() == 1 and chosen.locator(".title").inner_text() != name)  # who has its slot
        assert "generation 2" in chosen.inner_text()
        tab.until(lambda: "accepting" in tab.text("#listeners"))

    with workers.say(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"):
        tab.until(lambda: tab.page.locator(".card").filter(has_text="in the handler").count() == 1)
        workers.process.send_signal(signal.SIGTERM)
        tab.until(lambda: tab.text("#state") == "draining")
        tab.until(lambda: states(tab).count("draining") == 1)
    tab.until(lambda: tab.text("#state") == "closed")
    assert workers.process.wait(PATIENCE) == 0
    assert [line for line in tab.complaints if "ERR_" not in line and "404" not in line] == []
