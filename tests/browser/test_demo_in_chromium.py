"""The demo as a visitor sees it: in headless Chromium, over real sockets, across restarts of its server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser_tools import CHROMIUM, FAINT, NAMELESS, DemoServer, Tab, chromium, demo_server, screenshots

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: nox -s browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # Playwright's own
]

DESKTOP = {"width": 1440, "height": 900}
LAPTOP = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}

CUT = """() => [...document.querySelectorAll(".source pre")].filter((element) =>
  element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight + 1
).map((element) => element.closest("section").id)"""
"""Exhibits of which some code is out of sight."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with demo_server() as started:
        yield started


@pytest.fixture
def visitor(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


def start_all(tab: Tab) -> None:
    """Everything that goes on by itself, under way."""
    tab.click("#clock-go")
    tab.click("#ticker-go")
    tab.page.fill("#talk-text", "Is anybody there?")
    tab.click("#talk .go")
    tab.until(lambda: tab.number("#clock-seen") >= 2)
    tab.until(lambda: tab.number("#ticker-count") >= 8)
    tab.until(lambda: tab.page.locator("#echo .wire .in").count() >= 2)


def picture(tab: Tab, name: str, *exhibits: str) -> None:
    """Pictures of the screen, the whole page and some exhibits, for those who want to look themselves."""
    if (folder := screenshots()) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        tab.page.evaluate("scrollTo(0, 0)")
        tab.page.screenshot(path=folder / f"{name}.png")
        tab.page.screenshot(path=folder / f"{name}-whole.png", full_page=True)
        for exhibit in exhibits:
            tab.page.locator(f"#{exhibit}").screenshot(path=folder / f"{name}-{exhibit}.png")


def test_everything_is_the_servers_own_and_nothing_is_refused(server: DemoServer, visitor: Any) -> None:
    tab = Tab(visitor.new_page(), server.url)
    start_all(tab)
    tab.click("#hello [data-get='/hello/json']")
    tab.until(lambda: "200 OK" in tab.text("#hello .wire"))
    tab.click("#stream-go")
    tab.until(lambda: "chunk 8 of 8" in tab.text("#stream .wire"))
    tab.click("#whoami-go")
    tab.until(lambda: "main: " in tab.text("#facts"))
    assert tab.complaints == []
    assert all(url.startswith((server.url, server.url.replace("http", "ws"))) for url in tab.asked)


def test_echo(server: DemoServer, visitor: Any) -> None:
    tab = Tab(visitor.new_page(), server.url)
    for message in ("meep", "ünïcödé " + "x" * 100):
        tab.page.fill("#talk-text", message)
        tab.click("#talk .go")
        tab.until(lambda: message in tab.page.locator("#echo .wire .in").last.inner_text())  # noqa: B023 - asked now
    assert "101 Switching Protocols, compressed" in tab.text("#echo .wire")
    tab.click("#talk-close")
    tab.until(lambda: "closed, 1000" in tab.text("#echo .wire"))


def test_ticker(server: DemoServer, visitor: Any) -> None:
    tab = Tab(visitor.new_page(), server.url)
    tab.click("#ticker-go")
    tab.until(lambda: tab.number("#ticker-count") >= 10)
    low, price, high = (float(tab.text(f"#ticker-{name}")) for name in ("low", "price", "high"))
    assert 50 < low <= price <= high < 200 or low < high  # the price may have moved between two looks
    assert len(tab.page.get_attribute("#ticker-line", "points").split()) >= 10
    tab.click("#ticker-go")
    count = tab.number("#ticker-count")
    tab.page.wait_for_timeout(1000)
    assert tab.number("#ticker-count") <= count + 1


def test_a_note_is_seen_in_both_tabs_and_by_one_that_comes_again(server: DemoServer, visitor: Any) -> None:
    one, two = (Tab(visitor.new_page(), server.url) for _ in range(2))
    for tab in (one, two):
        tab.until(lambda: tab.text("#status") == "accepting")  # noqa: B023 - asked now
    one.page.fill("#note-text", "<b>meep</b>")
    one.click("#note .go")
    for tab in (one, two):
        tab.until(lambda: tab.page.locator("#notes li").first.inner_text() == "<b>meep</b>")  # noqa: B023
    two.page.evaluate("dispatchEvent(new Event('pagehide'))")
    one.page.fill("#note-text", "while you were away")
    one.click("#note .go")
    one.until(lambda: one.page.locator("#notes li").count() == 2)
    assert two.page.locator("#notes li").count() == 1
    two.page.evaluate("dispatchEvent(new Event('pageshow'))")
    two.until(lambda: two.page.locator("#notes li").count() == 2)


@pytest.mark.parametrize("how", ["one after another", "rolling"])
def test_a_restart_is_survived_by_all_streams(how: str, server: DemoServer, visitor: Any) -> None:
    one, two = (Tab(visitor.new_page(), server.url) for _ in range(2))
    start_all(one)
    two.click("#clock-go")
    two.until(lambda: two.number("#clock-seen") >= 1)
    if how == "rolling":
        server.start()
        assert server.stop() < 5
    else:
        assert server.stop() < 5
        one.page.wait_for_timeout(2000)
        assert "closed, 1001: the server is going down" in one.text("#echo .wire")
        server.start()
    prices = one.number("#ticker-count")
    for tab in (one, two):
        seen = tab.number("#clock-seen")
        tab.until(lambda: tab.number("#clock-streams") >= 2 and tab.number("#clock-seen") >= seen + 3)  # noqa: B023
        tab.until(lambda: tab.text("#status") == "accepting")  # noqa: B023
        assert tab.number("#clock-missed") == 0
    one.until(lambda: one.number("#ticker-count") >= prices + 4)
    one.page.fill("#note-text", "we are back")
    one.click("#note .go")
    for tab in (one, two):
        tab.until(lambda: tab.page.locator("#notes li").first.inner_text() == "we are back")  # noqa: B023
    one.page.fill("#talk-text", "and you?")
    one.click("#talk .go")
    one.until(lambda: "and you?" in one.page.locator("#echo .wire .in").last.inner_text())
    picture(one, f"restart-{how.replace(' ', '-')}", "clock", "echo")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("place", "size"), [("desktop", DESKTOP), ("laptop", LAPTOP), ("phone", PHONE)])
def test_it_can_be_read_everywhere(
    place: str, size: dict[str, int], scheme: Any, server: DemoServer, browser: Any
) -> None:
    """Every control has a name, all text a contrast of 4.5 (WCAG 2.2, 1.4.3), and nothing is cut or too wide."""
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=place == "phone")
    tab = Tab(context.new_page(), server.url)
    start_all(tab)
    tab.click("#hello [data-get='/hello/json']")
    for note in ("meep", "Is anybody else looking at this?"):
        tab.page.fill("#note-text", note)
        tab.click("#note .go")
        tab.until(lambda: tab.page.locator("#notes li").first.inner_text() == note)  # noqa: B023 - asked now
    tab.until(lambda: tab.number("#ticker-count") >= 24)
    picture(tab, f"{place}-{scheme}", "clock", "events", "echo", "ticker")
    assert tab.page.evaluate(NAMELESS) == []
    assert tab.page.evaluate(FAINT) == []
    assert tab.page.evaluate(CUT) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    context.close()


def test_keys_are_enough(server: DemoServer, visitor: Any) -> None:
    tab = Tab(visitor.new_page(), server.url)
    tab.page.focus("#clock-go")
    tab.page.keyboard.press("Enter")
    tab.until(lambda: tab.number("#clock-seen") >= 1)
    assert tab.page.get_attribute("#clock-go", "aria-pressed") == "true"
    tab.page.focus("#talk-text")
    tab.page.keyboard.press("Enter")
    tab.until(lambda: tab.page.locator("#echo .wire .in").count() >= 2)
