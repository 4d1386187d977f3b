"""The report in a browser: everything is there, nothing overflows, and one language shows at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from lab import records

from gezhi.lab.report import render
from gezhi.lab.verdicts import record_of

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = files("axe_playwright_python") / "axe.min.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")]

WIDTHS = (320, 390, 1280)
OVERFLOW = """() => [...document.querySelectorAll('main *')]
  .filter(e => !e.closest('thead') || getComputedStyle(e.closest('thead')).position != 'absolute')
  .filter(e => e.getBoundingClientRect().width && e.getBoundingClientRect().right > innerWidth + 1)
  .filter(e => !e.closest('svg, .vh, .scroll, .equation > div')).map(e => e.outerHTML.slice(0, 80))"""
VISIBLE = """language => [...document.querySelectorAll(`body [lang=${language}]`)]
  .filter(e => e.getClientRects().length).length"""
OPEN = "document.querySelectorAll('details').forEach(e => e.open = true)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`report.html` of both runs, `file.html` of a run on the user's file, `many.html` of 36 methods."""
    path = tmp_path_factory.mktemp("report")
    with records.house(tmp_path_factory.mktemp("pages")):
        reference, large = records.reference_run(), records.many(36)
        reports = {
            "report": render(records.quick_run(), reference),
            "file": render(record_of([records.on_file()]), reference),
            "many": render(large, large),
        }
    for name, source in reports.items():
        (path / f"{name}.html").write_text(source, encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A report in a window of the given width and scheme; whatever it says or asks for is kept in `page.heard`."""
    width, scheme, name = getattr(request, "param", (1280, "light", "report"))
    path = folder / f"{name}.html"
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.on("request", lambda asked: page.heard.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    yield page
    page.close()


def test_every_thesis_is_seen_and_every_figure_once_opened(opened):
    assert opened.locator(".theses tr.row:visible").count() == 5
    assert opened.locator("figure svg.fig:visible").count() == 0
    opened.evaluate(OPEN)
    assert opened.locator("figure").count() == 7
    for svg in opened.locator("figure svg").all():
        box = svg.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 50
    assert opened.heard == []


def test_a_link_to_a_method_opens_its_section(opened):
    opened.locator("#t-splits .name a").click()
    assert opened.locator("#m-splits").evaluate("e => e.open")
    assert opened.locator("#splits .inner").first.is_visible()


@pytest.mark.parametrize("opened", [(w, "light", n) for w in WIDTHS for n in ("report", "file")], indirect=True)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_overflows_sideways(opened, language):
    opened.locator(f"label[for={language}]").click()
    for script in ("0", OPEN):
        opened.evaluate(script)
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert opened.evaluate(OVERFLOW) == []


@pytest.mark.parametrize(
    ("opened", "most"), [((1280, "light", "many"), 12_000), ((390, "light", "many"), 16_000)], indirect=["opened"]
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_36_methods_are_no_wall(opened, most, language):
    opened.locator(f"label[for={language}]").click()
    assert opened.locator("details.method").count() == 36
    assert opened.evaluate("document.documentElement.scrollHeight") < most


def test_one_language_shows_at_a_time(opened):
    opened.evaluate(OPEN)
    assert opened.evaluate(VISIBLE, "en") > 100
    assert opened.evaluate(VISIBLE, "zh") == 0
    opened.locator("label[for=zh]").click()
    assert opened.evaluate(VISIBLE, "en") == 0
    assert opened.evaluate(VISIBLE, "zh") > 100
    assert "论点" in opened.locator("h1").inner_text()


def test_the_switch_works_by_keyboard_and_shows_its_focus(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Tab")
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#zh").is_checked()
    outline = opened.evaluate("getComputedStyle(document.querySelector('#zh + label')).outlineStyle")
    assert outline == "solid"


def test_every_pair_of_filters_leaves_the_rows_it_names(opened):
    wings = [e.get_attribute("id")[2:] for e in opened.locator("[name=wing]").all()]
    for mark, wing in product(("all", "S", "R", "D", "I", "N"), wings):
        opened.locator(f"label[for=v-{mark}]").click()
        opened.locator(f"label[for=w-{wing}]").click()
        wanted = f"{'' if wing == 'all' else f'.w-{wing} '}tr.row{'' if mark == 'all' else f'.v{mark}'}"
        count = opened.locator(f".theses {wanted}").count()
        assert opened.locator(".theses tr.row:visible").count() == count
        assert opened.locator(f".theses {wanted}:visible").count() == count
        assert opened.locator(".none").is_visible() == (count == 0)


def test_paper_shows_every_row_and_opens_every_section(opened):
    opened.locator("label[for=v-D]").click()
    opened.emulate_media(media="print")
    assert opened.locator(".theses tr.row:visible").count() == 5
    assert opened.locator("#splits .inner").first.is_visible()
    assert not opened.locator(".filters").is_visible()


@pytest.mark.parametrize("opened", [(w, s, n) for w in WIDTHS for s in ("light", "dark") for n in ("report", "file")], indirect=True)  # fmt: skip
@pytest.mark.parametrize("language", ["en", "zh"])
def test_axe_finds_no_violation(opened, language):
    opened.locator(f"label[for={language}]").click()
    opened.evaluate(OPEN)
    opened.evaluate(AXE.read_text(encoding="utf-8"))
    found = opened.evaluate("axe.run()")["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
