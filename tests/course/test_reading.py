"""`minillm learn read --run`: what cells print and draw, beside their code; the code that draws is hidden."""

import io
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from minillm.course.lesson_api import run_lesson
from minillm.course.percent import learners_version, parse, serialise
from minillm.course.reading import Reader, keep_picture, with_own_code
from minillm.course.stage_hands import without_drawing
from minillm.errors import UserError

EXAMPLE = Path(__file__).parent / "example_lesson" / "01_mean_square" / "lesson.py"
HEADER = "# ---\n# title: T\n# title_zh: 题\n# minutes: 20\n# needs: []\n# ---\n"
CELLS = '''# %% [markdown] lang="en"
# Words.
# %% [markdown] lang="zh"
# 文字。
# %%
import matplotlib.pyplot as plt
from minillm.course import picture
wanted = 3
wanted + 4
# %%
print("before")
# what comes is drawn
fig, ax = plt.subplots()
xs = [1, 2]
ax.plot(xs)
kept = [x * x for x in xs]
fig.tight_layout()
picture(fig, alt_en="A line.",
        alt_zh="一条线。", name="line")
# %%
print("kept", kept)
'''


def printed(lesson, run=None, lang="en", keep=None, width=None):
    out = io.StringIO()
    console = Console(file=out, width=width or 100, force_terminal=width is not None, no_color=True)
    Reader(console, lang, plain=width is None, keep=keep).read(lesson, run)
    return out.getvalue()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "lesson.py"
    file.write_text(HEADER + CELLS, encoding="utf-8")
    return file


def test_reading_hides_the_code_that_draws(path):
    out = printed(parse(path.read_text(encoding="utf-8")))
    assert "(code that draws the picture: 5 lines)" in out
    for line in ("subplots", "tight_layout", "ax.plot", "alt_zh", "what comes"):
        assert line not in out
    assert "    kept = [x * x for x in xs]\n" in out  # a later cell needs it
    assert "    xs = [1, 2]\n" in out
    assert "（画图的代码：5 行）" in printed(parse(path.read_text(encoding="utf-8")), lang="zh")


def test_running_shows_what_each_cell_gives(path, tmp_path):
    run = run_lesson(path)
    out = printed(run.lesson, run, keep=lambda p: keep_picture(tmp_path, "01_a", p))
    assert out.index("wanted + 4") < out.index("  = 7\n") < out.index("  before\n") < out.index("A line.")
    assert "[picture: A line.]" in out
    png = tmp_path / "pictures" / "01_a-line.png"
    assert f"    {png}\n" in out
    assert png.read_bytes() == run.pictures[0].png
    assert [p.name for p in png.parent.iterdir()] == ["01_a-line.png"]
    assert "  kept [1, 4]\n" in out
    assert "=" not in out[out.index("kept [1"):]
    assert "[图：一条线。]" in printed(run.lesson, run, lang="zh")


def test_steppers_are_numbered_as_learn_step_has_them():
    run = run_lesson(EXAMPLE)
    out = printed(run.lesson, run)
    assert "[stepper 1: The mean square, and its slope" in out
    assert "`minillm learn step --number 1`" in out
    assert "  3.8281\n" in out


def test_it_says_where_a_learners_lesson_stops(tmp_path):
    path = tmp_path / "lesson.py"
    path.write_text(serialise(learners_version(parse(EXAMPLE.read_text(encoding="utf-8")))), encoding="utf-8")
    run = run_lesson(path)
    out = printed(run.lesson, run)
    line = path.read_text(encoding="utf-8").split("\n").index(
        '    raise NotImplementedError("write mean_square here")') + 1
    stop = out.index(f"Your lesson stops at cell 5, line {line}: NotImplementedError")
    assert out.index("loss = mean_square(x)") < stop < out.index("## Its slope")
    assert "第 5 个单元格，第" in printed(run.lesson, run, lang="zh")
    run = run_lesson(path, solutions=EXAMPLE)
    out = printed(run.lesson, run)
    assert "stops" not in out
    assert "3.8281" in out
    assert "np.mean(square" not in out  # the solution is run, and not shown


def test_texts_of_the_other_language_go_with_the_learners_code():
    told = parse(EXAMPLE.read_text(encoding="utf-8"))
    own = parse(serialise(learners_version(told, "zh")).replace("1.5, -2.0", "9.5, -2.0"))
    assert with_own_code(told, own, "zh") is own
    mixed = with_own_code(told, own, "en")
    out = printed(mixed)
    assert "9.5" in out
    assert "How large are the numbers?" in out
    more = parse(serialise(own) + "# %%\n1 + 1\n")
    assert with_own_code(told, more, "en") is more  # whose code is where cannot be told


def test_a_terminal_shows_results_beside_a_bar(path):
    run = run_lesson(path)
    out = printed(run.lesson, run, width=40)
    assert "│ = 7" in out
    assert "│ before" in out


def test_chinese_paragraphs_fill_their_lines(tmp_path):
    path = tmp_path / "lesson.py"
    text = "第 3 课的结尾留下一个不满：所有参数共用一个学习率，上限由最陡的方向决定；**合适的值**是另一个。"
    path.write_text(f'{HEADER}# %% [markdown] lang="zh"\n# {text}\n# - {text}\n', encoding="utf-8")
    lines = printed(parse(path.read_text(encoding="utf-8")), lang="zh", width=40).rstrip().split("\n")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]
    assert all(32 <= cell_len(line) <= 40 for line in (*lines[:2], *lines[4:6])), lines
    assert "".join("".join(lines).replace("•", "").split()) == 2 * text.replace("**", "").replace(" ", "")


@pytest.mark.parametrize("width", [None, 60])
def test_stars_of_formulas_are_no_emphasis(tmp_path, width):
    text = "**At** $\\theta^*$ and $\\hat\\theta^*$, **$x_*$**, `$a*$` and `b*`, $c_{\\max}$:\n\n"
    text += "$$a * b * \\_\\_c\\_\\_$$\n"
    comment = "".join(f"# {line}\n" for line in text.split("\n"))
    path = tmp_path / "lesson.py"
    path.write_text(f'{HEADER}# %% [markdown] lang="en"\n{comment}', encoding="utf-8")
    out = re.sub(r"\x1b\[[0-9;]*m", "", printed(parse(path.read_text(encoding="utf-8")), width=width))
    code = ("`$a*$`", "`b*`") if width is None else ("$a*$", "b*")
    assert f"At θ^* and θ\u0302^*, x_*, {code[0]} and {code[1]}, c_max:" in out
    assert "a * b * __c__" in out


def test_a_long_result_is_cut(tmp_path):
    path = tmp_path / "lesson.py"
    path.write_text(f"{HEADER}# %%\nimport numpy as np\nnp.arange(40.0).reshape(20, 2)\n", encoding="utf-8")
    run = run_lesson(path)
    out = printed(run.lesson, run)
    assert "[ 2.,  3.]" in out
    assert "    ...\n" in out
    assert "30." not in out


def test_a_result_that_cannot_be_shown(tmp_path):
    path = tmp_path / "lesson.py"
    odd = "class Odd:\n    def __repr__(self):\n        return 1 / 0\n"
    path.write_text(f"{HEADER}# %%\n{odd}Odd()\n", encoding="utf-8")
    run = run_lesson(path)
    assert "  = <Odd>\n" in printed(run.lesson, run)


def test_where_no_picture_can_be_kept(path, tmp_path):
    (tmp_path / "pictures").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        keep_picture(tmp_path, "01_a", run_lesson(path).pictures[0])


@pytest.mark.parametrize(("code", "later", "left", "hidden"), [
    ("x = 1\n", (), "x = 1\n", 0),
    ("fig = plt.figure()\n", (), "fig = plt.figure()\n", 0),  # nothing is shown of it
    ("fig = plt.figure()\npicture(fig)\n", (), "\n", 2),
    ("fig, ax = plt.subplots()\ny = f(2)\nax.plot(y)\npicture(fig)\n", {"y"}, "y = f(2)\n", 3),
    ("fig, ax = plt.subplots()\ny = f(2)\nax.plot(y)\npicture(fig)\n", {"fig", "ax"}, "\n", 4),
    ("fig, ax = plt.subplots()\nfor a in b:\n    c = a\n    ax.plot(c)\npicture(fig)\nd = 1\n", (),
     "d = 1\n", 5),
    ("fig, ax = plt.subplots()\nfor a in b:\n    ax.plot(a)\n    print(a)\npicture(fig)\n", (),
     "for a in b:\n    ax.plot(a)\n    print(a)\n", 2),
    ("fig, ax = plt.subplots()\ny = 2\nsays('2', y)\npicture(fig)\n", (), "y = 2\nsays('2', y)\n", 2),
    ("def draw(ax):\n    plt.f()\nfig = plt.figure()\npicture(fig)\nz = 1\n", (),
     "def draw(ax):\n    plt.f()\nz = 1\n", 2),
    ("def draw(ax):\n    ax.f()\n\n\ny = 2\nfig, ax = plt.subplots()\ndraw(ax)\npicture(fig)\n", (),
     "y = 2\n", 5),
    ("def f(x):\n    return x\n\n\nfig, ax = plt.subplots()\nax.plot(f(1))\npicture(fig)\n", (),
     "def f(x):\n    return x\n", 3),
    ("for a in b:\n    print(a)\nfig, ax = plt.subplots()\nfor a in b:\n    ax.plot(a)\npicture(fig)\n", (),
     "for a in b:\n    print(a)\n", 4),
    ("fig = plt.figure(); ax = 1\ny = 2; picture(fig)\nz = 3\n", {"y"}, "y = 2; picture(fig)\nz = 3\n", 1),
    ("x = 1\n# of x\n\n# of the\n# figure\nfig = plt.figure()\npicture(fig)\n", (), "x = 1\n# of x\n", 2),
    ("not python (", (), "not python (\n", 0),
])
def test_what_draws(code, later, left, hidden):
    assert without_drawing(code, later) == (left, hidden)
