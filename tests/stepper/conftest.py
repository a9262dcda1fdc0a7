"""The stepper's pages, opened in a browser."""

import os

import numpy as np
import pytest


def pytest_configure(config):
    if config.getoption("--kernels-device", default="cpu") == "cpu":
        # before anything imports Triton: arrays on the CPU need its interpreter
        os.environ.setdefault("TRITON_INTERPRET", "1")


class Stepper:
    """An open page, and what is read off it."""

    def __init__(self, page):
        self.page = page

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, selector):
        return self.page.locator(selector).first.inner_text().strip()

    @property
    def step(self):
        return int(self.page.locator("#slider").input_value())

    def arrays(self, selector="#values > *"):
        """The numbers of each array shown, in all the page's digits."""
        figures = self.page.locator(f"{selector} figure.array:not(.plain)")
        shown = figures.evaluate_all("""figures => figures.map(f => {
            const scalar = f.querySelector(".scalar");
            const cells = [...f.querySelectorAll("td.number")].map(td => td.dataset.number);
            return scalar ? [scalar.title] : cells;
        })""")
        plain = {"true": "1", "false": "0"}
        return [[plain.get(x, x.replace("−", "-")) for x in numbers] for numbers in shown]

    def classes(self, value):
        return set(self.page.locator(box(value)).get_attribute("class").split())


def box(value):
    return f'#graph .node[data-value="{value}"]'


@pytest.fixture
def opened(browser, tmp_path):
    """Open a recording's page; at the end there was no error, and no request but for the file itself."""
    contexts, faults, requests = [], [], []

    def open_(recording, *, where="", lang="en", name="page", **options):
        path = tmp_path / f"{name}.html"
        recording.to_html(path, lang=lang)
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto(path.as_uri() + where)
        return Stepper(page)

    yield open_
    for context in contexts:
        context.close()
    assert faults == []
    assert [url for url in requests if not url.startswith(("file://", "data:,"))] == []


def assert_shown(shown, *expected):
    assert len(shown) == len(expected)
    for texts, x in zip(shown, expected, strict=True):
        np.testing.assert_allclose([float(t) for t in texts], np.asarray(x, float).ravel(), rtol=1e-6)


# The contrast ratio of every text that can be seen with the colours that lie behind it (WCAG 2).
CONTRASTS = """() => {
    const parse = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
    const colour = (node, of) => parse(getComputedStyle(node)[of]);
    const over = ([r, g, b, a = 1], below) => below.map((c, i) => a * [r, g, b][i] + (1 - a) * c);
    const background = node => {
        const colours = [];
        for (let n = node; n; n = n.parentElement) colours.unshift(colour(n, "backgroundColor"));
        return colours.reduce((below, c) => over(c, below), [255, 255, 255]);
    };
    const linear = c => c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const texts = "p, h1, h2, td.number, th, code span, dd, figcaption span, button.quiet, mark, summary";
    const seen = n => n.checkVisibility() && n.textContent.trim();
    return [...document.querySelectorAll(texts)].filter(seen).map(n => {
        const below = background(n);
        const [a, b] = [light(over(colour(n, "color"), below)), light(below)].sort((x, y) => y - x);
        return [n.textContent.trim().slice(0, 30), (a + 0.05) / (b + 0.05)];
    });
}"""
