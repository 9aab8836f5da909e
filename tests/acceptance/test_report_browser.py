"""The report's page in a real browser: nothing is wrong, nothing is fetched, and without scripts nothing is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_history import run, told

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the browser is driven by playwright: pip install -e '.[dev]'"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser is installed: none of {', '.join(NAMES)}"
)
SCRIPT = """case $1 in
  *3) echo "<img src=x onerror=alert(1)></pre><script>alert(2)</script>"; exit 3;;
  *5) test "$PIPELINE_JOB_ATTEMPT" -ge 2;;
  *) sleep 0.05;;
esac"""
WAYS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 400, "height": 800}},
    "no scripts": {"java_script_enabled": False},
    "print": {},
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run that grew, with failures and retries, and text that would like to be markup."""
    folder: Path = tmp_path_factory.mktemp("report")
    (folder / "in").write_text("".join(f"<b onclick=alert(3)>{number}\n" for number in range(60)))
    options = ("--max-retries", "1", "--check-interval", "100ms", "--set", "pipeline.grow_threshold=5")
    assert 1 == run(folder, *options, "--set", "pipeline.shrink_threshold=2", script=SCRIPT)
    (name,) = told(folder, "report")
    return Path(name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield made
        made.close()


class Look:
    """A page that is open, and all that was heard of it."""

    def __init__(self, browser: Any, file: Path, way: str) -> None:
        self.context = browser.new_context(**WAYS[way], offline=True)
        self.page = self.context.new_page()
        self.heard: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.heard.append(message.text))
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        if way == "print":
            self.page.emulate_media(media="print")
        self.page.wait_for_timeout(200)

    def _dialog(self, dialog: Any) -> None:
        self.heard.append(dialog.message)
        dialog.dismiss()


@pytest.fixture(params=WAYS)
def look(request: pytest.FixtureRequest, browser: Any, page_file: Path) -> Iterator[Look]:
    opened = Look(browser, page_file, request.param)
    yield opened
    opened.context.close()


def test_nothing_is_wrong_and_nothing_is_fetched(look: Look, page_file: Path) -> None:
    """No message in the console, no dialog, no request but for the page itself."""
    assert [] == look.heard
    assert [page_file.as_uri()] == [url for url in look.requests if not url.startswith("data:")]


def test_what_is_told_can_be_seen(look: Look) -> None:
    """The verdict, the charts, the failures and their output, in every way of looking."""
    page = look.page
    for text in ("6 jobs failed for good", "exit 3: 6 jobs", "Run them again"):
        assert page.get_by_text(text).first.is_visible(), text
    assert page.get_by_text("<img src=x onerror=alert(1)></pre><script>alert(2)</script>").first.is_visible()
    assert 0 == page.locator("main img").count()
    for chart in ("pool", "rate", "latency"):
        drawn = page.locator(f"[data-chart={chart}] canvas:visible, [data-chart={chart}] > svg:visible")
        assert 1 == drawn.count(), chart
    assert page.get_by_role("img", name="Attempts of each worker over time").is_visible()
    assert page.locator("figure").count() == page.locator("figure ~ details").count()


def test_the_page_is_no_wider_than_its_window(browser: Any, page_file: Path) -> None:
    """At 400 pixels too; what is wide scrolls within its own box."""
    look = Look(browser, page_file, "narrow")
    try:
        width = look.page.evaluate("document.documentElement.scrollWidth")
        canvas = look.page.locator("[data-chart=pool] canvas").bounding_box()["width"]
    finally:
        look.context.close()

    assert 400 == width
    assert 300 < canvas <= 400


def test_the_charts_follow_the_window_and_the_colours(browser: Any, page_file: Path) -> None:
    """They are drawn anew where another size, or the dark, was asked for."""
    look = Look(browser, page_file, "light")
    page = look.page
    try:
        dots = "document.querySelector('[data-chart=pool] canvas').toDataURL()"
        light = page.evaluate(dots)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(200)
        dark = page.evaluate(dots)
        page.set_viewport_size({"width": 700, "height": 800})
        page.wait_for_timeout(200)
        canvas = page.locator("[data-chart=pool] canvas").bounding_box()["width"]
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    finally:
        look.context.close()

    assert light != dark
    assert canvas < 700
    assert "rgb(18, 22, 28)" == back
    assert [] == look.heard


def test_a_cursor_tells_the_values(browser: Any, page_file: Path) -> None:
    """And not with scripts off, where the table has them."""
    look = Look(browser, page_file, "light")
    page = look.page
    try:
        page.locator("[data-chart=rate] .u-over").hover(position={"x": 30, "y": 50})
        told = page.locator("[data-chart=rate] .u-legend").inner_text()
    finally:
        look.context.close()

    assert "--" not in told
    assert any(char in "123456789" for char in told)
