"""A server process to restart, and a headless Chromium to look at it with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ports import free_port

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30.0
MILLISECONDS = PATIENCE * 1000

NAMELESS = """() => [...document.querySelectorAll("button, input, a, progress, pre[tabindex]")].filter((element) => {
  const label = element.labels?.[0]?.textContent ?? "";
  return !(element.getAttribute("aria-label") || element.textContent.trim() || label.trim());
}).map((element) => element.outerHTML)"""
"""Controls of a page that nobody could name who does not see them."""
FAINT = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.disabled || element.matches(".hidden, .skip")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 80)}`);
  }
  return found;
}"""
"""Text of a page whose contrast is below 4.5 (WCAG 2.2, 1.4.3)."""


class DemoServer:
    """``roadrunner-trio serve`` on a port of its own, which can be stopped and started again.

    Attributes:
        url: where it is.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts a process, beside those that run, and waits until it serves."""
        command = [sys.executable, "-m", "roadrunner_trio", "serve", "--bind", f"127.0.0.1:{self.port}", "--reuse-port"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert b"Serving the demo" in process.stdout.readline()

    def stop(self) -> float:
        """Asks the oldest process to end, as Ctrl-C would; returns the seconds it took."""
        process, begun = self._processes.pop(0), time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0
        return time.monotonic() - begun

    def kill(self) -> None:
        """Ends what still runs."""
        for process in self._processes:
            process.kill()
            process.communicate()


@contextmanager
def demo_server() -> Iterator[DemoServer]:
    """A server that runs, and does not when the block is over."""
    server = DemoServer()
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the demo: what it shows, and what it complains of."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        page.set_default_timeout(MILLISECONDS)
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        page.on("request", lambda request: self.asked.add(request.url))
        page.goto(url)

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector)).strip()

    def number(self, selector: str) -> int:
        """What a figure says; -1 while it says nothing."""
        text = self.text(selector)
        return int(text) if text.lstrip("-").isdigit() else -1

    def until(self, condition: Callable[[], object]) -> None:
        """Waits for something that the page will show."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.text("main")
            self.page.wait_for_timeout(50)

    def click(self, selector: str) -> None:
        self.page.click(selector)


def screenshots() -> Path | None:
    """Where pictures go, if anybody wants them."""
    folder = os.environ.get("ROADRUNNER_SCREENSHOTS")
    return None if folder is None else Path(folder)
