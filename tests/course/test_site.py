"""The site: pages, steppers, notebooks; the same lessons, the same bytes; nothing from any other host."""

import json
import re
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from minillm.course.site import build_site
from minillm.course.site.markdown import Markdown, code_html, mathml
from minillm.course.site.page import Link, Page, lesson_page
from minillm.course.stage_hands import without_stage_hands
from minillm.errors import UserError

for package in ("markdown_it", "latex2mathml", "nbformat"):
    pytest.importorskip(package, reason="pip install latex2mathml markdown-it-py nbformat")

EXAMPLE = Path(__file__).parent / "example_lesson"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    assert build_site(out, lessons=EXAMPLE) == ["01_mean_square"]
    return out


class Elements(HTMLParser):
    """(tag, attributes) of a page, and whether each tag that is opened is closed."""

    VOID = ("meta", "link", "input", "img", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def files_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def pages(site):
    return [p for p in site.rglob("*.html") if "steps" not in p.parts]


def test_both_languages_have_the_same_pages(site):
    en, zh = (set(files_of(site / lang)) for lang in ("en", "zh"))
    assert en == zh
    assert {Path("index.html"), Path("01_mean_square.html"), Path("steps/01_mean_square-1.html")} <= en
    assert "均方" in (site / "zh/01_mean_square.html").read_text("utf-8")
    english = (site / "en/01_mean_square.html").read_text("utf-8").replace("中文", "")  # the switch
    assert not re.search(r"[\u4e00-\u9fff]", english)


def test_pages_are_whole_and_every_link_and_picture_is_there(site):
    for page in pages(site):
        for tag, attrs in Elements(page.read_text("utf-8")).found:
            to = attrs.get("href") or attrs.get("src")
            if to is None:
                continue
            assert not re.match(r"(?i)[a-z]+:|//", to), f"{page}: {to} leaves the site"
            path, _, anchor = to.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page}: {to}"
            if anchor:
                assert f'id="{anchor}"' in target.read_text("utf-8")
            if tag in ("img", "iframe"):
                assert (attrs.get("alt") or attrs.get("title")).strip()


def test_nothing_names_another_host(site):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            text = re.sub(r"http://www\.w3\.org/[\w/]+", "", path.read_text("utf-8"))  # XML's namespaces
            assert not re.search(r"https?://", text), path


def test_a_lesson_has_its_formulas_numbers_picture_stepper_hints_and_solution(site):
    text = (site / "en/01_mean_square.html").read_text("utf-8")
    assert "<math" in text
    assert "3.8281" in text  # printed by the lesson
    assert "Four bars" in text
    assert "raise</span> NotImplementedError" in text
    assert "Solution: try it first" in text
    assert "BEGIN SOLUTION" not in text


def test_the_same_lessons_give_the_same_bytes(site, tmp_path):
    build_site(tmp_path / "again", lessons=EXAMPLE)
    assert files_of(site) == files_of(tmp_path / "again")
    for name in files_of(site):
        assert (site / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_notebooks_are_valid_and_hold_no_solution(site):
    import nbformat

    for path in site.rglob("*.ipynb"):
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        assert len({cell["id"] for cell in book.cells}) == len(book.cells)
        code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
        assert "SOLUTION" not in code
        assert ("NotImplementedError" in code) == ("solutions" not in path.parts)
        compile(code, str(path), "exec")


def test_the_search_index_holds_the_text(site):
    text = (site / "zh/search.js").read_text("utf-8")
    index = json.loads(text.removeprefix("const INDEX = ").removesuffix(";\n"))
    assert ["01_mean_square.html#s1", "均方与它的斜率", "这些数有多大？"] in [row[:3] for row in index]


def test_the_search_index_tells_neither_hints_nor_reasons(site):
    for lang, folded in (("en", ("Square each number", "cannot cancel")), ("zh", ("先把每个数平方", "抵消"))):
        page = (site / lang / "01_mean_square.html").read_text("utf-8")
        index = (site / lang / "search.js").read_text("utf-8")
        for words in folded:
            assert words in page
            assert words not in index


def broken(tmp_path, old, new):
    shutil.copytree(EXAMPLE, tmp_path / "lessons")
    path = tmp_path / "lessons/01_mean_square/lesson.py"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return tmp_path / "lessons"


@pytest.mark.parametrize(("old", "new", "message"), [
    ('says("3.83"', 'says("3.84"', r"lesson 01_mean_square fails: .*the text says 3.84"),
    (r"\frac{1}{n}", r"\nosuch{1}{n}", r"lesson 01_mean_square: the formula .* latex2mathml does not know")])
def test_a_lesson_that_fails_leaves_the_old_site(tmp_path, old, new, message):
    lessons = broken(tmp_path, old, new)
    out = tmp_path / "out"
    build_site(out, lessons=EXAMPLE)
    before = (out / "en/01_mean_square.html").read_bytes()
    with pytest.raises(UserError, match=message):
        build_site(out, lessons=lessons)
    assert (out / "en/01_mean_square.html").read_bytes() == before


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="holds other files"):
        build_site(tmp_path, lessons=EXAMPLE)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_no_such_lesson():
    with pytest.raises(UserError, match="no lesson begins with 99: there are 01_mean_square"):
        build_site("nowhere", lessons=EXAMPLE, only=["99"])


def test_what_puts_the_page_together_is_not_shown():
    code = "from minillm.course import says\n\nx = 1\nsays('1', x)\nstep(\n    r,\n    en='a')\nsteps(x)\n"
    assert without_stage_hands(code) == "x = 1\nsteps(x)\n"


def test_dollars_in_code_are_no_formulas_and_html_is_escaped():
    made = Markdown().html("`$x$` costs $x^2$, <script>alert(1)</script>\n\n```\n$a$ < b\n```\n")
    assert made.count("<math") == 1
    assert "<code>$x$</code>" in made
    assert "<script>" not in made
    assert "$a$ &lt; b" in made


def test_a_formula_in_a_heading_is_read_in_the_contents():
    text = Markdown()
    text.html("## The limit $2/c$ of `x`\n\nbody\n")
    assert [(s.title, s.text.strip()) for s in text.sections] == [("The limit 2/c of x", "body")]


def test_the_search_has_spaces_at_line_ends_and_formulas():
    text = Markdown()
    text.html("after\nits $x_i$ inputs, $\\frac{a}{2h}$\n\n中文\n文字\n")
    assert text.sections[0].text.split() == ["after", "its", "xᵢ", "inputs,", "a/(2h)", "中文文字"]


def test_formulas_keep_display_and_inline_apart():
    assert 'display="block"' in mathml("x", display=True)
    assert 'display="inline"' in mathml("x")
    with pytest.raises(ValueError, match="does not know"):
        mathml(r"\nosuchcommand")


def test_what_a_lesson_prints_is_escaped(tmp_path):
    lessons = broken(tmp_path, 'print(f"{loss:.4f}")', 'print("<b>&amp;", f"{loss:.4f}")')
    build_site(tmp_path / "out", lessons=lessons)
    assert "&lt;b&gt;&amp;amp; 3.8281" in (tmp_path / "out/en/01_mean_square.html").read_text("utf-8")


def test_what_an_interrupted_build_left_is_not_taken_over(tmp_path):
    stale = tmp_path / ".out.new"
    stale.mkdir()
    (stale / "old.html").write_text("old")
    build_site(tmp_path / "out", lessons=EXAMPLE)
    assert not (tmp_path / "out/old.html").exists()
    assert not stale.exists()


def test_lessons_before_are_listed_as_each_language_does():
    links = [Link("01_a.html", "01 A"), Link("02_b.html", "02 B")]
    page = Page("03_c", "C", 15, "", [], links, None, None)
    both = '<a href="01_a.html">01 A</a>{}<a href="02_b.html">02 B</a>'
    assert "Before it: " + both.format(", ") in lesson_page(page, "en", links)
    assert "先修：" + both.format("、") in lesson_page(page, "zh", links)


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_colours_of_text_can_be_told_from_what_is_behind():
    css = resources.files("minillm.course.site").joinpath("assets/site.css").read_text("utf-8")
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
              for block in re.findall(r"\{[^{}]*--paper:[^{}]*\}", css)]
    assert len(themes) == 3
    for theme in themes:
        for behind in ("paper", "card", "well"):
            for text in ("ink", "soft", "accent", "warm", "keyword", "string", "number"):
                lights = sorted([luminance(theme[behind]), luminance(theme[text])])
                assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, (behind, text)


def test_code_has_its_colours_and_is_escaped():
    made = code_html("if a < 'b':  # c\n    pass\n")
    assert '<span class="k">if</span> a &lt; <span class="s">&#x27;b&#x27;</span>' in made
    assert '<span class="c"># c</span>' in made
