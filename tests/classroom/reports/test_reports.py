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


def words_of(text):
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_what_is_not_graded_yet_is_told():
    one = REPORTS[0]
    s = summarise(ADAM, [one], list(NAMES), ["ann", "bo"])
    assert (s.waiting, s.older, s.missing) == (("ann", "bo"), ("ann",), ("chen", "dee", "eve"))
    said = words_of(teacher_html(ADAM, [one], names=NAMES, waiting=["ann", "bo"]))
    assert "2 handed in and not graded yet" in said
    assert "ann Ann A (the marks here are of an older file), bo Bo" in said


def test_the_line_about_the_whole():
    assert "1 graded, mean 100, median 100, of 100 points" in words_of(teacher_html(ADAM, REPORTS[:1]))
    said = words_of(teacher_html(ADAM, REPORTS[:1], "zh"))
    assert "已评分 1 份，平均 100 分，中位数 100 分，满分 100 分" in said
    said = words_of(teacher_html(ADAM, REPORTS, names=NAMES))
    assert ("4 graded, 1 not graded, 1 handed in nothing, mean of the 4 graded 50, median 50, of 100 points"
            in said)


def test_who_could_not_be_graded_is_named_and_linked():
    text = teacher_html(ADAM, REPORTS, names=NAMES, links={"dee": "students/dee.html"})
    assert ('<a href="students/dee.html">dee</a></th><td>Dee</td><td>no adam.py</td>') in text
    for page in (student_html(REPORTS[4]), student_markdown(REPORTS[4])):
        assert "Not graded" in page
        assert "Protections" not in page
        assert "/ 0" not in page


def test_protections_count_what_was_run():
    syntax = report("z", {t.name: ("syntax", "") for t in ADAM.tests}, layers=())
    said = words_of(teacher_html(ADAM, [*REPORTS, syntax]))
    assert "for how many of the 4 that were run; 2 had nothing to run" in said
    assert "landlock: 4 / 4, reads Python and its own folder" in said
    assert "grade only work" not in words_of(teacher_html(ADAM, [syntax]))


def test_alike_are_two_or_more():
    same = {"any_step": ("wrong", "uncorrected")}
    said = words_of(teacher_html(ADAM, [report("a", same), report("b", same),
                                        report("c", {"options": ("exception", "KeyError")})], "zh"))
    alike, _, single = said.partition("只有一名学生出现的错误")
    assert "a, b" in alike
    assert "关于 options 的说明" in single
    assert "可能的原因 人数 学生 涉及的测试" in alike


def test_an_exception_is_a_cause_without_its_cases():
    one = report("a", {"any_step": ("exception", "KeyError")})
    tests = tuple(t if t.cause == "" else type(t)(**{
        **t.__dict__, "en": "line 3: KeyError: 'x'.\n3 of 3 cases are not right.",
        "zh": "第 3 行：KeyError: 'x'。\n3 组数据中有 3 组不对。"}) for t in one.tests)
    mistake, = summarise(ADAM, [type(one)(**{**one.__dict__, "tests": tests})]).mistakes
    assert (mistake.en, mistake.zh) == ("line 3: KeyError: 'x'.", "第 3 行：KeyError: 'x'。")


@pytest.mark.parametrize(("lang", "title"), [
    ("en", "Adam: Ann A (ann)"), ("zh", "Adam 优化器：Ann A（ann）")])
def test_a_students_page_has_the_name(lang, title, tmp_path):
    index = write_reports(ADAM, REPORTS, STUDENTS, tmp_path, lang=lang)
    assert title in (index.parent / "students" / "ann.html").read_text(encoding="utf-8")
    assert title in (index.parent / "students" / "ann.md").read_text(encoding="utf-8")


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
    assert ("rlimits、landlock" if lang == "zh" else "rlimits, landlock") in text
    page = student_html(REPORTS[2], lang)
    assert ("导入了 torch" if lang == "zh" else "imports torch") in page


def test_without_protection_the_page_warns():
    bare = [type(r)(**{**r.__dict__, "layers": ()}) for r in REPORTS]
    assert "grade only work that you have read" in teacher_html(ADAM, bare)
    assert "grade only work that you have read" not in teacher_html(ADAM, REPORTS)


def test_every_word_is_in_both_languages():
    assert all(en.strip() and zh.strip() for en, zh in WORDS.values())
    assert {k for k, (_, zh) in WORDS.items() if not re.search(r"[\u4e00-\u9fff]", zh)} == set()


def test_files(tmp_path):
    index = write_reports(ADAM, REPORTS, STUDENTS, tmp_path / "out", lang="en")
    assert index == tmp_path / "out" / "index.html"
    text = index.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', text)
    assert len(links) == 5  # one a submission, graded or not
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
    assert page.title() == "Adam 优化器：班级报告"
    page.get_by_role("link", name="bo").click()
    assert "50" in page.locator(".score").inner_text()
    assert page.locator("tbody tr").count() == len(ADAM.tests)
    assert said == []
    assert all(url.startswith("file:") for url in asked)
