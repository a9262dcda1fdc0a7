"""The pages for teacher and students."""

import re
from html.parser import HTMLParser

import pytest

from minillm.classroom.reports import student_html, student_markdown, summarise, teacher_html, write_reports
from minillm.classroom.reports.words import WORDS
from tests.classroom.examples import ADAM, EVIL, REPORTS, STUDENTS, report

NAMES = {s.id: s.name for s in STUDENTS}


def test_the_numbers():
    s = summarise(ADAM, REPORTS, list(NAMES))
    assert [r.student for r in s.graded] == [EVIL, "ann", "bo", "chen"]
    assert [r.student for r in s.not_graded] == ["dee"]
    assert s.missing == ("eve",)
    assert sorted(s.scores) == [0, 50, 50, 100]
    assert (s.mean, s.median) == (50, 50)
    assert s.bins == (1, 0, 0, 0, 0, 2, 0, 0, 0, 1)
    by_name = {t.test.name: t for t in s.tests}
    assert {n: t.failed for n, t in by_name.items()} == {
        "first_step": 1, "any_step": 3, "options": 2, "descends": 2, "inputs_kept": 1}
    assert by_name["any_step"].mean == 7.5
    assert by_name["descends"].kinds == {"too_slow": 1, "exception": 1}
    assert [(m.key, m.en, m.students, m.tests) for m in s.mistakes] == [
        ("uncorrected", "both bias corrections are missing.", ("bo", "chen"), ("any_step", "options"))]
    assert s.layers == {"rlimits": 4, "landlock": 4}
    assert s.seconds == pytest.approx(7.5)


def test_nothing_graded_yet():
    s = summarise(ADAM, [])
    assert (s.mean, s.median, s.slowest, sum(s.bins)) == (None, None, None, 0)
    assert "Adam" in teacher_html(ADAM, [])


def test_a_generic_cause_is_told_without_the_students_numbers():
    one = report("a", {"any_step": ("wrong", "sign")})
    said = "result[0] is 3; it should be another. Likely: the sign is flipped"
    tests = tuple(t if t.cause == "" else type(t)(**{**t.__dict__, "en": said}) for t in one.tests)
    s = summarise(ADAM, [type(one)(**{**one.__dict__, "tests": tests})])
    assert s.mistakes[0].en == "the sign is flipped"


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_students_words_are_only_words(lang):
    names = {**NAMES, EVIL: EVIL}
    for text in (teacher_html(ADAM, REPORTS, lang, names=names, links={EVIL: "students/x.html"}),
                 student_html(REPORTS[3], lang)):
        page = Parsed(text)
        assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
        links = [v for k, v in page.attributes if k in ("href", "src")]
        assert all(v.startswith("students/") for v in links)
        assert not [k for k, _ in page.attributes if k.startswith("on")]
        assert EVIL in "".join(page.words)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_markdown_shows_a_students_words_as_they_are(lang):
    text = student_markdown(REPORTS[3], lang)
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert not re.search(r"(?<!\\)\[b", text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(ADAM.tests)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_point_has_its_reason(lang):
    text = student_markdown(REPORTS[1], lang, title="Adam")
    assert "**50 / 100**" in text
    said = "关于 any\\_step 的说明" if lang == "zh" else "said of any\\_step"
    assert said in text
    assert "rlimits, landlock" in text
    page = student_html(REPORTS[2], lang)
    assert ("导入了 torch" if lang == "zh" else "imports torch") in page


def test_without_protection_the_page_warns():
    bare = [type(r)(**{**r.__dict__, "layers": ()}) for r in REPORTS]
    assert "grade only work that you have read" in teacher_html(ADAM, bare)
    assert "grade only work that you have read" not in teacher_html(ADAM, REPORTS)


def test_every_word_is_in_both_languages():
    assert all(en.strip() and zh.strip() for en, zh in WORDS.values())
    assert {k for k, (_, zh) in WORDS.items() if not re.search(r"[\u4e00-\u9fff]", zh)} == {"of"}


def test_files(tmp_path):
    index = write_reports(ADAM, REPORTS, STUDENTS, tmp_path / "out", lang="en")
    assert index == tmp_path / "out" / "index.html"
    text = index.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert len(links) == 4  # one a graded submission
    assert all((index.parent / link).is_file() for link in links)
    assert len(list((index.parent / "students").iterdir())) == 2 * len(REPORTS)
    assert not list(tmp_path.rglob("*.tmp"))


def test_in_a_browser(browser, tmp_path):
    index = write_reports(ADAM, REPORTS, STUDENTS, tmp_path, lang="zh")
    page = browser.new_page()
    said, asked = [], []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(index.as_uri())
    assert page.title() == "Adam 优化器: 班级报告"
    page.get_by_role("link", name="bo").click()
    assert "50" in page.locator(".score").inner_text()
    assert page.locator("tbody tr").count() == len(ADAM.tests)
    assert said == []
    assert all(url.startswith("file:") for url in asked)
