"""Lessons' files: kept to the character, twins, stubs and solutions."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.course.percent import (
    LessonError,
    learners_version,
    missing_twins,
    parse,
    serialise,
    solution_version,
    stub,
)

EXAMPLE = Path(__file__).parent / "example_lesson" / "01_mean_square" / "lesson.py"
HEADER = "# ---\n# title: T\n# title_zh: 题\n# minutes: 20\n# needs: [01_a, 02_b]\n# ---\n"
EN, ZH = '# %% [markdown] lang="en"\n', '# %% [markdown] lang="zh"\n'

lines = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20)
cells = st.lists(st.tuples(st.sampled_from([EN, ZH, "# %%\n", '# %% \n', '# %%\r\n']),
                           st.lists(lines.filter(lambda s: not s.startswith("# %%")), max_size=4)),
                 max_size=5)


@given(st.sampled_from(["", "\n", "\n\n", "import x\n"]), cells, st.booleans())
def test_reading_keeps_every_character(before, cells, end):
    text = HEADER + before + "".join(m + "".join(f"{line}\n" for line in body) for m, body in cells)
    text = text if end else text.removesuffix("\n")
    lesson = parse(text)
    assert serialise(lesson) == text
    assert len(lesson.cells) == len(cells) + bool(before.strip())
    for cell in lesson.cells:
        assert "\n".join(text.split("\n")[cell.line - 1:]).startswith(cell.text)


def test_header_and_cells_of_the_example():
    lesson = parse(EXAMPLE.read_text(encoding="utf-8"))
    assert (lesson.title_zh, lesson.minutes, lesson.needs) == ("均方与它的斜率", 15, ())
    assert lesson.exercises == ("mean_square", "mean_square_grad")
    assert lesson.cells[0].markdown.startswith("## How large")
    assert parse(HEADER).needs == ("01_a", "02_b")


@pytest.mark.parametrize(("text", "words"), [
    ("", "begins with"),
    ("import numpy\n", "begins with"),
    ("# ---\n# title: T\n", "no second line"),
    ("# ---\n# title: T\n# ---\n", "lacks minutes, needs, title_zh"),
    (HEADER.replace("# title:", "# tittle:"), "line 2"),
    (HEADER.replace("20", "long"), "whole number"),
    (HEADER.replace("[01_a, 02_b]", "01_a"), "not a list"),
    (HEADER + "# %% [markdown]\n", 'lang="en"'),
    (HEADER + '# %% [markdown] lang="de"\n', 'lang="en"'),
    (HEADER + '# %% lang="en"\n', "line 7"),
    (HEADER + '# %% exercise="two words"\n', "line 7"),
    (HEADER + "# %% a title\n", "line 7"),
    (HEADER + '# %% exercise="f"\n# %% exercise="f"\n', "two cells"),
])
def test_what_is_no_lesson(text, words):
    with pytest.raises(LessonError, match=words):
        parse(text)


@pytest.mark.parametrize(("cells", "words"), [
    ([EN + "# a\n", ZH + "# 一\n", "# %%\n", EN + "# b\n", ZH + "# 二\n"], None),
    ([EN + "# a\n"], "no Chinese text"),
    ([EN + "# a\n", "# %%\n", ZH + "# 一\n"], "no Chinese text"),
    ([ZH + "# 一\n", EN + "# a\n"], "no English text"),
    ([EN + "# a\n", ZH + "# a\n"], "no Chinese in it"),
    ([EN + "#\n", ZH + "# 一\n"], "empty"),
    ([EN + "# ## A\n", ZH + "# # 一\n"], "levels"),
    ([EN + "# ## A\n# ```\n# # code\n# ```\n", ZH + "# ## 一\n"], None),
])
def test_missing_twins(cells, words):
    problems = missing_twins(parse(HEADER + "".join(cells)))
    assert (words is None and not problems) or words in problems[0]


@pytest.mark.parametrize(("lines", "joined"), [
    ("一，\n**Adam** 二", "一，**Adam** 二"), ("**一。**\nAdam", "**一。**Adam"),
    ("一（\nAdam）", "一（Adam）"),
    ("结果为：\n-0.5", "结果为：-0.5"), ("一：\n- 二", "一：\n- 二"), ("一：\n* 二", "一：\n* 二"),
    ("一：\n1. 二", "一：\n1. 二"), ("一 a\nb", "一 a\nb"),
])
def test_no_blank_beside_a_full_width_mark(lines, joined):
    text = ZH + "".join(f"# {line}\n" for line in lines.split("\n"))
    assert parse(HEADER + text).cells[0].markdown.strip() == joined


def test_chinese_lines_are_joined():
    lines = "## 标题,第一行，,第**二**,行。,line,三,,- 四,```,五,六,```,七,**八**".split(",")
    text = ZH + "".join(f"# {line}\n" for line in lines)
    assert parse(HEADER + text).cells[0].markdown == (
        "## 标题\n第一行，第**二**行。line\n三\n\n- 四\n```\n五\n六\n```\n七**八**\n")
    assert "第一行，\n" in parse(HEADER + text.replace('"zh"', '"en"')).cells[0].markdown


CODE = '''# %% exercise="f"
def f(x):
    """Doc."""
    if x:
        # BEGIN SOLUTION
        y = 2
        # END SOLUTION
    # BEGIN SOLUTION

    return y
    # END SOLUTION
'''


def test_stubs_are_python_and_tell_nothing():
    lesson = parse(HEADER + EN + "# a\n" + ZH + "# 一\n" + CODE)
    for lang, texts in (("en", {"en"}), ("zh", {"zh"}), ("both", {"en", "zh"})):
        version = learners_version(lesson, lang)
        text = serialise(version)
        ast.parse(text)
        assert "SOLUTION" not in text
        assert "return y" not in text
        assert text.count("raise NotImplementedError") == 2
        assert {c.lang for c in version.cells if c.lang} == texts
        assert serialise(parse(text)) == text
        cell = version.cell_of("f")
        assert text.split("\n")[cell.line - 1] == "def f(x):"
    assert "        raise NotImplementedError" in stub(lesson.cell_of("f")).text
    solved = serialise(solution_version(lesson))
    assert "SOLUTION" not in solved
    assert "        y = 2\n    \n    return y" in solved.replace("\n\n", "\n    \n")


@pytest.mark.parametrize("bad", ["# BEGIN SOLUTION\n", "# END SOLUTION\n",
                                 "# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION\n"])
def test_unpaired_markers(bad):
    with pytest.raises(LessonError, match="SOLUTION"):
        learners_version(parse(HEADER + '# %% exercise="f"\n' + bad))


def test_lines_of_a_chinese_list_are_joined_without_blanks():
    text = '# %% [markdown] lang="zh"\n# - 就是越过了它；\n#   而且更远，\n#   $x$ 也是\n#   这样。\n'
    lesson = parse("# ---\n# title: T\n# title_zh: 题\n# minutes: 20\n# needs: []\n# ---\n" + text)
    assert lesson.cells[0].markdown == "- 就是越过了它；而且更远，$x$ 也是这样。\n"
