"""The report in a browser: everything is there, nothing overflows, and one language shows at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import records

from gezhi.lab.report import render

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("AXE_SCRIPT", "")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")]

WIDTHS = (320, 390, 1280)
OVERFLOW = """() => [...document.querySelectorAll('main *')]
  .filter(e => e.getBoundingClientRect().width && e.getBoundingClientRect().right > innerWidth + 1)
  .filter(e => !e.closest('svg, .vh, .scroll, .equation > div')).map(e => e.outerHTML.slice(0, 80))"""
VISIBLE = """language => [...document.querySelectorAll(`body [lang=${language}]`)]
  .filter(e => e.getClientRects().length).length"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(records.quick_run(), records.reference_run()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The report in a window of the given width and scheme; whatever it says or asks for is kept in `page.heard`."""
    width, scheme = getattr(request, "param", (1280, "light"))
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.on("request", lambda asked: page.heard.append(asked.url) if asked.url != report.as_uri() else None)
    page.goto(report.as_uri())
    yield page
    page.close()


def test_every_claim_and_figure_is_seen(opened):
    run = records.quick_run()
    assert opened.locator(".all tbody tr:not(.mh)").count() == len(list(run.claims()))
    assert opened.locator("figure").count() == 7
    for svg in opened.locator("figure svg").all():
        box = svg.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 50
    assert opened.heard == []


@pytest.mark.parametrize("opened", [(width, "light") for width in WIDTHS], indirect=True)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_overflows_sideways(opened, language):
    opened.locator(f"label[for={language}]").click()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate(OVERFLOW) == []


def test_one_language_shows_at_a_time(opened):
    assert opened.evaluate(VISIBLE, "en") > 100
    assert opened.evaluate(VISIBLE, "zh") == 0
    opened.locator("label[for=zh]").click()
    assert opened.evaluate(VISIBLE, "en") == 0
    assert opened.evaluate(VISIBLE, "zh") > 100
    assert "条论断" in opened.locator("h1").inner_text()


def test_the_switch_works_by_keyboard_and_shows_its_focus(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Tab")
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#zh").is_checked()
    outline = opened.evaluate("getComputedStyle(document.querySelector('#zh + label')).outlineStyle")
    assert outline == "solid"


def test_the_filter_leaves_the_rows_it_names(opened):
    opened.locator("label[for=fr]").click()
    shown = opened.locator(".all tbody tr:not(.mh):visible")
    assert shown.count() == opened.locator(".all tbody tr.r").count() > 0
    opened.emulate_media(media="print")
    assert opened.locator(".all tbody tr:not(.mh):visible").count() == len(list(records.quick_run().claims()))


@pytest.mark.skipif(not AXE, reason="needs axe-core: set AXE_SCRIPT to its axe.min.js")
@pytest.mark.parametrize("opened", [(w, s) for w in WIDTHS for s in ("light", "dark")], indirect=True)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_axe_finds_no_violation(opened, language):
    opened.locator(f"label[for={language}]").click()
    opened.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = opened.evaluate("axe.run()")["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
