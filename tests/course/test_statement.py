"""Statements in Chinese: in a learner's copy, its resets, notebooks and pages; what is missing is found."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

from minillm.course import Exercise
from minillm.course.examine import examine
from minillm.course.exercise import load_exercises
from minillm.course.percent import parse
from minillm.course.shelf import Shelf
from minillm.course.statement import (
    argument_names,
    chinese_statements,
    in_language,
    problems_of,
    statement,
    with_statement,
)
from minillm.course.workspace import start

LESSONS = Path(__file__).parent / "example_lesson"
SLUG = "01_mean_square"
HEADER = "# ---\n# title: T\n# title_zh: 题\n# minutes: 20\n# needs: []\n# ---\n"


def cell(text, name="f"):
    return parse(f'{HEADER}# %% exercise="{name}"\n{text}').cell_of(name)


@pytest.fixture
def lessons(monkeypatch):
    monkeypatch.setenv("MINILLM_LESSONS", str(LESSONS))


def test_a_chinese_copy_has_chinese_statements(lessons, tmp_path):
    course = start(tmp_path / "mine", "zh")
    text = course.file(SLUG).read_text(encoding="utf-8")
    assert '''def mean_square(x):
    """数组的均方。

    L = (1/n) sum_i x_i^2

    x：任意形状的浮点数组。返回一个数。
    """
    raise NotImplementedError("请写出 mean_square")
''' in text
    assert '    """dL/dx，形状与 x 相同。"""\n' in text
    assert "The mean square of an array" not in text
    ast.parse(text)
    course.file(SLUG).write_text(text.replace("数组的均方。", "???"), encoding="utf-8")
    course.reset(SLUG, "mean_square")
    assert course.file(SLUG).read_text(encoding="utf-8") == text


def test_the_other_languages(lessons, tmp_path):
    english = start(tmp_path / "en", "en").file(SLUG).read_text(encoding="utf-8")
    assert "数组的均方。" not in english
    assert '    """The mean square of an array.\n' in english
    both = start(tmp_path / "both", "both").file(SLUG).read_text(encoding="utf-8")
    assert '"""The mean square of an array.\n' in both
    assert "Returns a number.\n\n    数组的均方。\n" in both


@pytest.mark.parametrize(("old", "text", "new"), [
    ('def f(x, *, y=(1, 2)):\n    """Old.\n\n    More.\n    """\n    pass\n', "新。",
     'def f(x, *, y=(1, 2)):\n    """新。"""\n    pass\n'),
    ("def f(x):\n    'Old: é.'  # a comment\n    # another\n    pass\n", "新。\n\n浅\n    深",
     'def f(x):\n    """新。\n\n    浅\n        深\n    """  # a comment\n    # another\n    pass\n'),
    ('@jit\ndef f(x): "Old."; pass\n', "新。", '@jit\ndef f(x): """新。"""; pass\n'),
    ('class f:\n  """Old."""\n  def g(self):\n    """Stays."""\n', r"$\alpha$ 新",
     'class f:\n  r"""$\\alpha$ 新"""\n  def g(self):\n    """Stays."""\n'),
    ('def g():\n    """Not this."""\ndef f(x):\n    r"""Old \\alpha."""\n', "新",
     'def g():\n    """Not this."""\ndef f(x):\n    """新"""\n'),
    ("def f(x):\n    pass\n", "新。", "def f(x):\n    pass\n"),
    ("def f(x:\n", "新。", "def f(x:\n"),
])
def test_only_the_docstring_is_another(old, text, new):
    made = with_statement(cell(old), text)
    assert made.text == new
    if '"""新' in new or 'r"""' in new:
        assert statement(made) == text


def test_statements_are_read_without_running_the_file(tmp_path):
    path = tmp_path / "checks.py"
    path.write_text('import no_such_package\n1 / 0\nEXERCISES = [Exercise("f", c, statement_zh="""\n'
                    '        一。\n\n          二。\n        """),\n'
                    'course.Exercise(name="g", statement_zh="甲" "乙"),\n'
                    'Exercise("h", statement_zh=VARIABLE), Exercise("i"), Other("j", statement_zh="丙")]\n',
                    encoding="utf-8")
    assert chinese_statements(path) == {"f": "一。\n\n  二。", "g": "甲乙"}
    path.write_text("no python (")
    assert chinese_statements(path) == chinese_statements(tmp_path / "none.py") == {}


def test_what_is_run_and_what_is_read_agree():
    path = LESSONS / SLUG / "checks.py"
    run = {name: e.statement_zh for name, e in load_exercises(path).items()}
    assert run == chinese_statements(path)


DOC = '"""A b, of x and a y_1.\n\n    a: a number. y: not of the signature.\n    """'


@pytest.mark.parametrize(("text", "zh", "words"), [
    (f"def f(x, y_1, *, unsaid=1):\n    {DOC}\n", "x 与y_1。", None),
    (f"def f(x, y_1):\n    {DOC}\n", "只有 y_1 和 x2。", "does not mention x"),
    (f"def f(x, y_1):\n    {DOC}\n", "没有。", "does not mention x, y_1"),
    (f"def f(x, a):\n    {DOC}\n", "有 x。", "does not mention a"),
    ('def f(a):\n    """Turn a thing."""\n', "转动。", None),  # an article
    (f"def f(x, y_1):\n    {DOC}\n", "x, y_1.", "no Chinese"),
    (f"def f(x, y_1):\n    {DOC}\n", "", "no statement_zh"),
    ("def f(x, y_1):\n    pass\n", "x。", "no docstring"),
    (f"class f:\n    {DOC}\n", "类。", None),
])
def test_what_a_statement_lacks(text, zh, words):
    problems = problems_of(cell(text), zh)
    assert len(problems) == (words is not None)
    assert words is None or words in problems[0]


def test_arguments_of_all_kinds():
    assert argument_names(cell("def f(a, /, b, *c, d=1, **e): pass\n")) == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(("old", "new", "words"), [
    ('statement_zh="dL/dx，形状与 x 相同。",', "", "mean_square_grad: no statement_zh"),
    ("形状与 x 相同", "形状相同", "mean_square_grad: its statement_zh does not mention x"),
    ('"dL/dx，形状与 x 相同。"', '"dL/dx，形状" + str("与 x 相同。")', "a literal text"),
])
def test_examine_finds_them(tmp_path, old, new, words):
    folder = Path(shutil.copytree(LESSONS / SLUG, tmp_path / SLUG))
    text = (folder / "checks.py").read_text(encoding="utf-8")
    assert old in text
    (folder / "checks.py").write_text(text.replace(old, new), encoding="utf-8")
    problems = examine(folder)
    assert len(problems) == 1
    assert words in problems[0]


@pytest.mark.parametrize("text", ['一"""二', "一\\", '一"'])
def test_what_no_docstring_can_be(text):
    with pytest.raises(ValueError, match="statement_zh"):
        Exercise("f", lambda rng: [], abs, [("a", "甲")], statement_zh=text)


def test_a_lesson_without_them_stays():
    lesson = Shelf(LESSONS).lessons[SLUG]
    assert in_language(lesson, "zh", {}) == lesson


def test_pages_and_notebooks_in_chinese(tmp_path):
    for package in ("markdown_it", "latex2mathml", "nbformat"):
        pytest.importorskip(package, reason="pip install latex2mathml markdown-it-py nbformat")
    from minillm.course.site import build_site

    build_site(tmp_path / "out", lessons=LESSONS)
    page = (tmp_path / "out/zh" / f"{SLUG}.html").read_text(encoding="utf-8")
    assert page.count("数组的均方。") == 2  # to write, and in the solution
    assert page.count("dL/dx，形状与 x 相同。") == 2
    assert "The mean square of an array." not in page
    assert "数组的均方。" not in (tmp_path / "out/en" / f"{SLUG}.html").read_text(encoding="utf-8")
    for folder in ("zh", "zh/solutions"):
        book = json.loads((tmp_path / "out/notebooks" / folder / f"{SLUG}.ipynb").read_text(encoding="utf-8"))
        code = "".join("".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code")
        assert '"""数组的均方。\n' in code
        assert "The mean square of an array" not in code
        assert bool(re.search(r"raise NotImplementedError\(.请写出", code)) == (folder == "zh")
