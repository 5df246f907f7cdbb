"""A film that is wound forward in headless Chromium: the browser asks for the octets that it needs, and for no more."""

from __future__ import annotations

import wave

import pytest
import trio
from browser_tools import CHROMIUM, MILLISECONDS, chromium
from socket_tools import serving

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.apps.static import Static

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nox -s browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium")

SECONDS = 600
RATE = 44100
PAGE = """<!doctype html><meta charset=utf-8><video id=film src="/files/film.wav" preload=metadata></video><script>
const film = document.getElementById("film");
const once = (name) => new Promise((tell) => film.addEventListener(name, tell, {once: true}));
(async () => {
  await once("loadedmetadata");
  const places = [];
  for (const place of [film.duration - 20, 300, 30]) {
    const seeked = once("seeked");
    film.currentTime = place;
    await seeked;
    if (film.readyState < 2) await once("loadeddata");
    places.push(Math.round(film.currentTime));
  }
  window.said = {duration: Math.round(film.duration), places};
})().catch((error) => { window.said = {error: String(error)}; });
</script>"""


def watch(url: str) -> object:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_function("window.said", timeout=MILLISECONDS)
        return page.evaluate("window.said")


async def test_a_video_seeks(tmp_path):
    with wave.open(str(tmp_path / "film.wav"), "wb") as film:
        film.setnchannels(1)
        film.setsampwidth(2)
        film.setframerate(RATE)
        for _ in range(SECONDS):
            film.writeframes(bytes(2 * RATE))
    asked: list[tuple[str, int]] = []

    class Notes(rr.Observer):
        def request_stop(self, event: rr.RequestEnded) -> None:
            self.note(event)

        def request_exception(self, event: rr.RequestEnded) -> None:
            self.note(event)

        def note(self, event: rr.RequestEnded) -> None:
            if event.request.path.startswith("/files/"):
                asked.append((event.request.header("range") or "", event.status or 0))

    async def page(request: rr.Request) -> rr.Response:
        return rr.Response.html(PAGE)

    router = Router([Route("/", page), Static(tmp_path).below("/files")])
    async with serving(router, observers=[Notes()]) as server:
        said = await trio.to_thread.run_sync(watch, f"http://127.0.0.1:{server.port}/")
    assert said == {"duration": SECONDS, "places": [SECONDS - 20, 300, 30]}
    assert {status for _, status in asked} <= {206, 304}
    first, *later = [int(wanted.removeprefix("bytes=").partition("-")[0]) for wanted, status in asked if status == 206]
    assert first == 0
    assert max(later) > (SECONDS - 30) * 2 * RATE  # what lies between was not asked for
