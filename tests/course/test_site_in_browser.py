"""The site in Debian's chromium, from the disk: search, languages, theme, and a stepper inside a lesson."""

import re
from pathlib import Path

import pytest

from minillm.course.site import build_site

for package in ("markdown_it", "latex2mathml", "nbformat"):
    pytest.importorskip(package, reason="pip install latex2mathml markdown-it-py nbformat")

EXAMPLE = Path(__file__).parent / "example_lesson"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    build_site(out, lessons=EXAMPLE)
    return out


@pytest.fixture
def page(browser, site):
    """The lesson's page; at the end there was no error, and no request but for files of the site."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults, requests = [], []
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("requestfailed", lambda r: faults.append(f"{r.url} failed"))
    page.on("request", lambda r: requests.append(r.url))
    page.goto((site / "en/01_mean_square.html").as_uri())
    yield page
    context.close()
    assert faults == []
    assert all(url.startswith((site.as_uri(), "data:")) for url in requests), requests


def test_search_by_keyboard_alone(page):
    page.keyboard.press("/")
    page.keyboard.type("slope")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.url.endswith("01_mean_square.html#s3")
    page.keyboard.press("/")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("zebra")
    assert page.locator("#found").inner_text() == "nothing found"
    assert page.locator("#count").inner_text() == "nothing found"
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()


def test_a_screen_reader_hears_what_the_search_does(page):
    field = page.locator("#search")
    expanded = "document.querySelector('#search').getAttribute('aria-expanded')"
    focused = "document.activeElement.id"
    assert page.evaluate(expanded) == "false"
    page.keyboard.press("/")
    page.keyboard.type("mean")
    assert page.evaluate(expanded) == "true"
    assert page.locator("#count").get_attribute("role") == "status"
    assert re.fullmatch(r"sections found: [1-9]", page.locator("#count").inner_text())
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == ""
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "search"
    assert page.evaluate(expanded) == "false"
    assert field.input_value() == "mean"


def test_excerpts_begin_and_end_at_words(page):
    found = page.evaluate("""(() => {
      const body = "some words about nothing at all, and then the slope of it, "
                   + "which goes on ".repeat(12) + "to the end";
      return [excerpt(body, ["slope"]).textContent, excerpt("short", ["zebra"]).textContent, body];
    })()""")
    text, short, body = found
    assert text.startswith("…")
    assert text.endswith("…")
    assert f" {text.strip('…')} " in body
    assert short == "short"


def test_the_language_is_switched_on_the_same_lesson(page):
    page.get_by_text("中文").click()
    page.wait_for_url("**/zh/01_mean_square.html*")
    assert page.locator("h1").inner_text() == "均方与它的斜率"
    page.keyboard.press("/")
    page.keyboard.type("多大")
    assert "这些数有多大" in page.locator("#found li").first.inner_text()


def test_the_language_is_switched_at_the_same_heading(page):
    page.set_viewport_size({"width": 1280, "height": 300})
    page.goto(page.url + "#s3")
    page.wait_for_function("document.getElementById('s3').getBoundingClientRect().top < 80")
    box = page.locator("header .other").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)  # .click() would scroll the page
    page.wait_for_url("**/zh/01_mean_square.html#s3")


def test_the_theme_does_not_fill_the_history(page):
    page.locator(".stepper iframe").scroll_into_view_if_needed()
    inside = page.frame_locator(".stepper iframe")
    inside.locator("#slider").focus()
    before = page.evaluate("history.length")
    for theme in ("dark", "light", "dark"):
        page.locator("#theme").click()
        inside.locator(f"html[data-theme={theme}]").wait_for(state="attached")
    assert page.evaluate("history.length") == before


def test_the_theme_is_switched_and_kept(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    page.locator("#theme").click()
    after = page.evaluate(paper)
    assert before != after
    page.reload()
    assert page.evaluate(paper) == after


def test_the_stepper_in_the_lesson_steps(page):
    frame = page.locator(".stepper iframe")
    frame.scroll_into_view_if_needed()
    inside = page.frame_locator(".stepper iframe")
    inside.locator("#slider").focus()
    assert inside.locator("#slider").input_value() == "0"
    page.keyboard.press("ArrowRight")
    assert inside.locator("#slider").input_value() == "1"


def test_the_picture_is_drawn_and_the_formulas_are_mathematics(page):
    page.locator(".picture img").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.picture img').naturalWidth > 100")
    assert page.evaluate("document.querySelector('math').namespaceURI").endswith("MathML")


def test_a_narrow_window_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
