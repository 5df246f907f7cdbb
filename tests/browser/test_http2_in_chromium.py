"""A browser over HTTP/2: pages, a WebSocket on the same connection, an upload that is given up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from browser_tools import CHROMIUM, chromium

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nox -s browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # Playwright's own
]

PROGRAM = Path(__file__).parents[1] / "support" / "http2_page.py"
TALK = """
size => new Promise((done, failed) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/talk"), heard = [];
  socket.onmessage = event => {
    heard.push(event.data.length > 100 ? event.data.length : event.data);
    if (heard.length == 1) socket.send("hello");
    if (heard.length == 2) socket.send("x".repeat(size));
    if (heard.length == 3) socket.close(1000);
  };
  socket.onclose = event => done([...heard, event.code]);
  socket.onerror = () => failed("no WebSocket");
})
"""
GIVE_UP = """
async () => {
  const control = new AbortController();
  const asked = fetch("/upload", {method: "POST", body: new Uint8Array(3000000), signal: control.signal});
  setTimeout(() => control.abort(), 500);
  try { await asked; return "answered"; } catch (error) { return error.name; }
}
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    certificate = tmp_path_factory.mktemp("tls") / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(certificate)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def tab(port: int) -> Iterator[Any]:
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(f"https://127.0.0.1:{port}/")
        yield page
        context.close()


def who(tab: Any) -> Any:
    return tab.evaluate("async () => await (await fetch('/who')).json()")


def test_a_page(tab: Any) -> None:
    assert tab.title() == "here"
    assert who(tab)["version"] == [2, 0]
    protocols = "() => performance.getEntriesByType('navigation').map(each => each.nextHopProtocol)"
    assert tab.evaluate(protocols) == ["h2"]


def test_a_websocket_on_the_same_connection(tab: Any) -> None:
    assert tab.evaluate(TALK, 100_000) == ["(2, 0)", "hello", 100_000, 1000]


def test_an_upload_that_is_given_up(tab: Any) -> None:
    assert tab.evaluate(GIVE_UP) == "AbortError"
    tab.wait_for_function("async () => (await (await fetch('/who')).json()).ends.length > 0")
    assert who(tab)["ends"] in (["cancelled"], ["gone"])
    assert tab.title() == "here"
