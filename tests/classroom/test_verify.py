"""`verify` finds what is wrong with an assignment, and nothing wrong with any of ours."""

import json

import pytest

from minillm.classroom import load_assignment
from minillm.classroom.assignment import SLUG, assignments_folder
from minillm.classroom.grade import grade_with
from minillm.classroom.judge import Judge
from minillm.classroom.leaks import leaks, telling
from minillm.classroom.verify import SECRET, open_trusted, verify
from tests.classroom import toys

OURS = sorted(p for p in assignments_folder().iterdir() if SLUG.fullmatch(p.name))


@pytest.fixture
def here(monkeypatch):
    """Without the sandbox, for speed."""
    def grade(a, text, student, layers):
        return grade_with(Judge(a, student, SECRET), {a.file: text.encode()}, open_trusted(a))

    monkeypatch.setattr("minillm.classroom.verify._grade", grade)


@pytest.mark.slow
@pytest.mark.parametrize("folder", OURS, ids=lambda p: p.name)
def test_every_assignment_does_what_it_promises(folder):
    assignment = load_assignment(folder)
    if "triton" in assignment.imports:
        pytest.importorskip("triton")  # CI runs this on two versions of it
    assert verify(assignment) == []


def test_nothing_is_wrong_with_the_toys(tmp_path):
    assert verify(toys.toys(tmp_path)) == []


def test_nothing_is_wrong_with_an_assignment_on_tests(tmp_path):
    assert verify(toys.testing(tmp_path)) == []


@pytest.mark.parametrize(("old", "new", "problem"), [
    ('title = "Toys"', 'title = " "', "title: no English text"),
    ('title_zh = "玩具"', 'title_zh = "Toys"', "title: no Chinese text"),
    ('text_zh = "写出这两个函数。"', 'text_zh = ""', "text: no Chinese text"),
    ('title_zh = "测试 sum"', 'title_zh = "sum"', "title of test sum: no Chinese text"),
    ('zh = ["减去平均值。"]', "zh = []",
     "hints of centred: 1 in English and 0 in Chinese; they must be twins"),
    ('title = "Toys"', 'title = "玩具"', "an English text has Chinese in it"),
    ('imports = ["numpy"]', 'imports = ["math"]\nprovide = ["numpy.linalg"]', None),
    ('needs = ["ranks"]', 'needs = ["other"]', "test ranks needs other, which is not to be written"),
    ('needs = ["ranks"]', 'needs = ["centred"]',
     "test ranks needs more than centred: toys.py has no ranks, which this test calls"),
])
def test_texts(here, tmp_path, old, new, problem):
    assert toys.TOML.count(old) == 1
    found = verify(toys.toys(tmp_path, toml=toys.TOML.replace(old, new)))
    assert found == ([problem] if problem else [])


@pytest.mark.parametrize(("old", "new", "problem"), [
    ('{"x": rng.normal(size=int(rng.integers(4, 9)))}', '{"x": np.arange(5.0)}',
     "test centred: the inputs do not depend on the seed, and could be learnt by heart"),
    ('{"x": rng.normal(size=int(rng.integers(4, 9)))}', '{"x": np.random.default_rng().normal(size=6)}',
     "test centred: the inputs differ though the seed is the same: draw all from rng"),
    ('{"x": rng.normal(size=int(rng.integers(4, 9)))}', '{"x": rng.normal(size=6), "name": "a"}',
     "test centred: the input name is str, not an array of numbers"),
    ('return {"y": student.centred(inputs["x"])}', 'return {"y": student.centred(numbers and inputs["x"])}',
     "test centred: run uses numbers, which it does not have in the worker"),
    ("cases=4, in_part=True", "cases=4, in_part=True, speed=((2.0, 1.0),)",
     "test parts: in_part and speed do not go together"),
    ('"the mean stays in.", "没有减去平均值。")', '"same.", "一样。", equivalent=True)',
     "no_mean is right, but loses points in test centred"),
    ('{"return x - mean": "return x"}', '{"mean = x.sum() / x.size": "mean = x.mean()"}',
     "misconception no_mean loses no points"),
    ('{"return x - mean": "return x"}', '{"return y": "return x"}',
     "misconception no_mean: 'return y' stands 0 times in the solution, not once"),
    ('{"return x - mean": "return x"}', '{"return x - mean": "return ("}', "misconception no_mean: "),
    ('Misconception("sum_only", {"x.sum() / x.size": "x.sum()"}',
     'Misconception("sum_only", {"return x - mean": "return 1.0 * x"}',
     "misconception sum_only is not recognised (centred: no_mean"),
    ('Misconception("once"', 'Misconception("loops"', "two misconceptions are called loops"),
    ('"", "", equivalent=True', '"", "均值", equivalent=True',
     "misconception mean_method: its text is there in one language only"),
    ('"ranks": Scenario(numbers, run_ranks, cases=2)',
     '"ranks": Scenario(numbers, run_ranks, cases=2, speed=((9.0, 1.0),))',
     "test ranks: the reference takes 0.0"),
])
def test_checks(here, tmp_path, old, new, problem):
    assert toys.CHECKS.count(old) == 1
    found = verify(toys.toys(tmp_path, toys.CHECKS.replace(old, new)))
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("import numpy as np\n", "import numpy as np\nimport fractions\n",
     "the solution imports fractions, which `imports` does not allow"),
    ("return order\n", "return order[99]\n", "01_toys, test ranks: the reference raises IndexError"),
    ("mean = x.sum() / x.size\n", "mean = (\n", "01_toys/solution.py"),
    ("    # END SOLUTION\n\n\ndef ranks", "\n\ndef ranks", "BEGIN SOLUTION inside a solution"),
    ("return order\n", "return np.random.default_rng().permutation(x.size)\n",
     "the solution scores 0 of 30 in test ranks"),
])
def test_solutions(here, tmp_path, old, new, problem):
    assert toys.SOLUTION.count(old) == 1
    found = verify(toys.toys(tmp_path, solution=toys.SOLUTION.replace(old, new)))
    assert any(problem in line for line in found), found


def test_a_stub_that_scores_is_found(here, tmp_path):
    given = toys.SOLUTION.replace("    # BEGIN SOLUTION\n    order", "    order").replace(
        "return order\n    # END SOLUTION", "return order")
    found = verify(toys.toys(tmp_path, toml=toys.TOML.replace('needs = ["ranks"]', ""), solution=given))
    assert "the stub scores 30 in test ranks" in found


def test_tests_that_catch_too_little_are_found(here, tmp_path):
    weak = toys.TESTS_SOLUTION.replace("assert x[0] == 1", "assert x.size == 3")
    toy = toys.write(tmp_path / "02_tests", toys.TESTS_TOML, weak, toys.TESTS_CHECKS)
    assert "test catches: the solution's own tests do not catch in_place" in verify(toy)


def test_a_line_of_the_solution_in_the_students_folder_is_found(tmp_path):
    toy = toys.toys(tmp_path / "toy")
    folder = tmp_path / "student"
    (folder / "deep").mkdir(parents=True)
    secret = "mean = x.sum() / x.size"
    (folder / "toys.py").write_text(toy.solution().student)
    (folder / "fine.py").write_text(f'def f(x):\n    """Here:\n\n    {secret}\n    """\n    return x\n')
    (folder / "picture.png").write_bytes(b"\xff\xfe\x00" + secret.encode())
    assert list(leaks(toy, folder)) == []
    (folder / "deep" / "leak.py").write_text(f"def f(x):\n    mean=x.sum()/x.size  # {'x'}\n")
    (folder / "readme.md").write_text(f"Text\n\n    {secret}\n")
    (folder / "book.ipynb").write_text(json.dumps({"cells": [
        {"cell_type": "code", "source": ["y = 1\n", "    " + secret]},
        {"cell_type": "markdown", "source": [secret]}]}))
    assert [line.split(" has")[0] for line in leaks(toy, folder)] == [
        "book.ipynb", "book.ipynb", "deep/leak.py", "readme.md"]


@pytest.mark.parametrize(("line", "tells"), [
    ("return x", False), ("return x - mean", False), ("for i in range(n):", False), ("else:", False),
    ("y = []", False), ("x += 1", False), ("break", False), ("import numpy as np", False),
    ("n = len(x)", False), ("m = beta1 * m + (1 - beta1) * g", True),
    ("return theta - alpha * m_hat / (np.sqrt(v_hat) + eps)", True),
    ("p = np.exp(x - x.max(-1, keepdims=True))", True), ("if x.sum() > limit * np.abs(y).max():", True),
    ("out = np.zeros((rows, columns, heads, width)) + (", True), ("],", False),
])
def test_what_gives_something_away(line, tells):
    assert telling(line) == tells
