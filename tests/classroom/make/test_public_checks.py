"""The public checks tell the truth on a machine that has neither minillm nor the solution."""

import io
import re

import numpy as np
import pytest

from minillm.classroom import find_assignment
from minillm.classroom.judge import Judge
from minillm.classroom.make import make_student_folder, public_checks, student_files
from minillm.classroom.make.public_checks import PUBLIC
from minillm.errors import UserError


@pytest.fixture(scope="module")
def adam():
    return find_assignment("adam")


def folder_of(assignment, path, text=None, lang="en"):
    """The student's folder, with a text in the stub's place."""
    make_student_folder(assignment, path, lang)
    if text is not None:
        (path / assignment.file).write_text(text)
    return path


@pytest.mark.parametrize("how", ["test_public.py", "pytest"])
def test_the_stub_is_not_written_yet(adam, tmp_path, students_python, how):
    code, said = students_python(folder_of(adam, tmp_path / "s"), how)
    assert code == 1
    assert said.count("adam_step is not written yet") >= 2
    assert ("public checks: 0 of 2. Hidden checks (4) run when your work is graded, and so do these on "
            "other numbers.") in said


@pytest.mark.parametrize("how", ["test_public.py", "pytest"])
def test_the_solution_is_right(adam, tmp_path, students_python, how):
    code, said = students_python(folder_of(adam, tmp_path / "s", adam.solution().text), how)
    assert code == 0, said
    assert "public checks: 2 of 2. Hidden checks (4)" in said


def test_a_wrong_version_is_told_where_it_is_wrong(adam, tmp_path, students_python):
    text = next(m for m in adam.misconceptions if m.key == "v_uncorrected").applied(adam.solution().text)
    folder = folder_of(adam, tmp_path / "s", text)
    code, said = students_python(folder, "test_public.py")
    assert code == 1
    assert re.search(r"example 1 of 3: theta\[0\] is \S+; it should be \S+; \d of \d numbers are wrong, and "
                     r"the largest error is about \S+, at \[\d\]", said)
    code, said = students_python(folder, "pytest")
    assert code == 1
    assert "wrong: example 1 of 3: theta[0] is" in said


@pytest.mark.slow
def test_the_checks_and_the_grader_agree_on_each_wrong_version(adam, tmp_path, students_python):
    files, judge = student_files(adam), Judge(adam, "", PUBLIC)
    public = [t for t in adam.tests if t.visibility == "public"]
    agreed = set()
    for version in adam.misconceptions:
        folder = tmp_path / version.key
        folder.mkdir()
        for name in ("test_public.py", "test_public.npz"):
            (folder / name).write_bytes(files[name])
        module = adam.module(version.applied(adam.solution().text), "wrong")
        (folder / "adam.py").write_text(version.applied(adam.solution().text))
        _, said = students_python(folder, "test_public.py")
        for test in public:
            scenario = adam.scenarios[test.name]
            faults = []
            for case in range(scenario.cases):
                with np.errstate(all="ignore"):
                    got = scenario.run(module, judge.inputs(test.name, case))
                faults.append(judge.fault(test, case, {n: np.asarray(a) for n, a in got.items()}))
            word = "wrong" if any(faults) else "right"
            assert f"{word}: {test.name}," in said, (version.key, said)
            first = next(filter(None, faults), None)
            assert first is None or first.en in said
            agreed.add(word)
    assert agreed == {"right", "wrong"}


@pytest.mark.parametrize(("lang", "words"), [
    ("zh", ["还没写: first_step, 矩为零时的第一步", "adam_step 还没写",
            "公开测试：2 项中通过 0 项。隐藏测试（4 项）在评分时运行"]),
    ("both", ["adam_step is not written yet / adam_step 还没写", "public checks: 0 of 2",
              "公开测试：2 项中"]),
])
def test_in_chinese_and_in_both_languages(adam, tmp_path, students_python, lang, words):
    _, said = students_python(folder_of(adam, tmp_path / "s", lang=lang), "test_public.py")
    assert [w for w in words if w not in said] == []


def test_a_console_that_cannot_show_chinese_gets_question_marks(adam, tmp_path, students_python):
    folder = folder_of(adam, tmp_path / "s", lang="zh")
    code, said = students_python(folder, "test_public.py", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert code == 1
    assert "adam_step ???" in said


def test_another_language_can_be_asked_for(adam, tmp_path, students_python):
    folder = folder_of(adam, tmp_path / "s")
    assert "还没写" in students_python(folder, "test_public.py", MINILLM_LANG="zh")[1]


@pytest.mark.parametrize(("text", "words"), [
    ("def mean(x:\n", ["mean.py, line 1: not Python"]),
    ("x = 1\n", ["mean.py has no mean"]),
    ("import notthere\n", ["mean.py, line 1: ModuleNotFoundError: No module named 'notthere'",
                           "mean.py imports notthere; when it is graded, it may import numpy."]),
    ("def mean(x):\n    return x[99]\n", ["mean.py, line 2: IndexError: index 99", "(return x[99])"]),
    ("import sys\n\nsys.exit(0)\n", ["mean.py, line 3: it ends the program (SystemExit: 0)",
                                     "may import numpy"]),
    ("def mean(x):\n    return None\n", ["mean is NoneType, not numbers"]),
    ("def mean(x):\n    return 'a lot'\n", ["mean is str, not numbers"]),
    ("def mean(x):\n    return x\n", ["mean has shape (5,); it should have shape ()"]),
    ("def mean(x):\n    return float('nan')\n", ["mean is nan; it should be"]),
    ("import os\n\ndef mean(x):\n    os._exit\n    raise KeyError\n", ["mean.py, line 5: KeyError"]),
    (None, ["mean.py is not in this folder"]),
])
def test_whatever_the_file_does_is_one_line(small, tmp_path, students_python, text, words):
    folder = folder_of(small(), tmp_path / "s", text or "")
    if text is None:
        (folder / "mean.py").unlink()
    for how in ("test_public.py", "pytest"):
        code, said = students_python(folder, how)
        assert code == 1
        assert [w for w in words if w not in said] == []
        assert "public checks: 0 of 1" in said


@pytest.mark.parametrize(("source", "words"), [
    ("# 平均\ndef mean(x):\n    return x.sum() / 5\n".encode("gbk"),
     ["mean.py, line 1: not UTF-8 but probably GBK: save it as UTF-8, or write # -*- coding: gbk -*-",
      "mean.py 第 1 行不是 UTF-8，可能是 GBK：请另存为 UTF-8"]),
    (b"# -*- coding: utf-7 -*-\n", ["says in its coding line that it is 'utf-7'"]),
    ("# -*- coding: gbk -*-\n# 平均\ndef mean(x):\n    return x.sum() / 5\n".encode("gbk"), ["1 of 1"]),
    ("\ufeff# 平均\ndef mean(x):\n    return x.sum() / 5\n".encode(), ["1 of 1"]),
])
def test_the_file_is_read_as_the_grader_reads_it(small, tmp_path, students_python, source, words):
    """Python itself would let a comment in GBK pass."""
    from minillm.classroom.intake.entries import Refused
    from minillm.classroom.intake.source_text import check_source

    folder = folder_of(small(), tmp_path / "s", lang="both")
    (folder / "mean.py").write_bytes(source)
    for how in ("test_public.py", "pytest"):
        code, said = students_python(folder, how)
        assert code == (words != ["1 of 1"]), said
        assert [w for w in words if w not in said] == []
    if code:
        with pytest.raises(Refused) as refused:
            check_source(source, "mean.py", "mean.py")
        assert refused.value.en in said
        assert refused.value.zh in said


def test_numbers_that_are_not_finite_are_spoken_of_as_in_the_grading(small, tmp_path, students_python):
    from minillm.classroom.judge import _of_output

    assignment = small({'"mean": student.mean(inputs["x"])': '"y": student.mean(inputs["x"]) - inputs["x"]'})
    folder = folder_of(assignment, tmp_path / "s", """import numpy as np

def mean(x):
    return np.where(np.arange(5) < 2, np.nan, np.sum(x) / 5)
""")
    code, said = students_python(folder, "test_public.py")
    with np.load(folder / "test_public.npz") as stored:
        want = stored["mean/0/out/y"]
    got = np.where(np.arange(5) < 2, np.nan, want)
    fault = _of_output("y", got, want, assignment.scenarios["mean"], True)
    assert code == 1
    assert fault.en in said
    assert "2 of 5 numbers are wrong" in said
    assert "largest error" not in said


def test_one_check_by_name_shows_where_it_went_wrong(small, tmp_path, students_python):
    folder = folder_of(small(), tmp_path / "s", "def mean(x):\n    return x[99]\n")
    code, said = students_python(folder, "test_public.py", "mean")
    assert code == 1
    assert 'mean.py", line 2, in mean' in said
    assert "test_public.py\", line" not in said
    code, said = students_python(folder, "test_public.py", "median")
    assert (code, said.strip()) == (2, "no check is called median; there are mean")


def test_a_comparison_of_its_own_goes_along_if_it_stands_alone(small, tmp_path, students_python):
    own = """
LEAST, NOTE = 0.5, "sign"


def same_sign(a, b):
    return bool(np.sign(a) == np.sign(b))


def compare(got, want, inputs):
    import math
    if not same_sign(got["mean"], want["mean"]):
        return f"the {NOTE} is wrong at {math.pi:.2f}", "符号不对"
    return None


TESTS ="""
    assignment = small({"\nTESTS =": own, "run_mean),": "run_mean, compare),"})
    text = public_checks(assignment, "en")["test_public.py"].decode()
    assert "NOTE = 'sign'" in text
    assert "LEAST" not in text
    folder = folder_of(assignment, tmp_path / "s", "def mean(x):\n    return 7 * x.sum()\n")
    assert students_python(folder, "test_public.py")[0] == 0
    (folder / "mean.py").write_text("def mean(x):\n    return -x.sum()\n")
    code, said = students_python(folder, "test_public.py")
    assert code == 1
    assert "example 1 of 3: the sign is wrong at 3.14" in said


def test_a_comparison_that_cannot_go_along_is_left_to_the_grading(small, tmp_path, students_python):
    own = ("from minillm.course.compare import close\n\n\ndef compare(got, want, inputs):\n"
           "    return None if close(got['mean'], want['mean'], 1, 1).all() else ('no', '不')\n\n\nTESTS =")
    assignment = small({"\nTESTS =": own, "run_mean),": "run_mean, compare),"})
    files = public_checks(assignment, "en")
    assert b"minillm.course" not in files["test_public.py"]
    with np.load(io.BytesIO(files["test_public.npz"])) as stored:  # no result that could be looked up
        assert not any(np.any(stored[k]) for k in stored.files if "/out/" in k)
    folder = folder_of(assignment, tmp_path / "s", "def mean(x):\n    return 1e9\n")
    code, said = students_python(folder, "test_public.py")
    assert code == 0
    assert "shapes and kinds of numbers; the numbers themselves are looked at when it is graded" in said
    (folder / "mean.py").write_text("def mean(x):\n    return x\n")
    assert "it should have shape ()" in students_python(folder, "test_public.py")[1]


def test_speed_is_left_to_the_grading_and_slowness_is_told(small, tmp_path, students_python):
    assignment = small({"run_mean),": "run_mean, seconds=0.05, speed=((1.5, 1.0), (4.0, 0.5))),"})
    slow = assignment.solution().text.replace("    total_", "    time.sleep(0.06)\n    total_")
    slow = "import time\n" + slow
    folder = folder_of(assignment, tmp_path / "s", slow)
    code, said = students_python(folder, "test_public.py")
    assert code == 0
    assert "s here) is measured when it is graded, against the reference" in said
    assert "s here; when it is graded, 0.05 s are allowed" in said
    assert "100% for at most 1.5 times the reference's time, 50% for at most 4 times the reference's time; " \
           "0.05 s for each case" in (folder / "README.md").read_text()


def test_the_numbers_are_public_and_nobodys_own(adam):
    files = public_checks(adam, "en")
    assert files == public_checks(adam, "en")
    with np.load(io.BytesIO(files["test_public.npz"]), allow_pickle=False) as stored:
        assert {k.split("/")[0] for k in stored.files} == {"first_step", "any_step"}
        assert all(stored[k].dtype.kind in "biufc" for k in stored.files)
        first, second = stored["any_step/0/in/g"], stored["any_step/1/in/g"]
    assert first.shape != second.shape or not np.array_equal(first, second)


@pytest.mark.parametrize("room", [10, 60])
def test_large_arrays_are_cut_down_to_one_case_at_least(small, monkeypatch, room):
    from minillm.classroom.make import public_checks as module_function

    monkeypatch.setitem(module_function.__globals__, "LARGEST", room)  # a case has 48 bytes
    files = public_checks(small(), "en")
    assert b"cases=1," in files["test_public.py"]
    with np.load(io.BytesIO(files["test_public.npz"])) as stored:
        assert sorted(stored.files) == ["mean/0/in/x", "mean/0/out/mean"]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("return total_of_the_elements / x.size", "raise ValueError('no\\n luck')",
     "test mean: the reference raises ValueError: no luck"),
    ("import numpy as np\n\n\ndef mean", "import notthere\nimport numpy as np\n\n\ndef mean",
     "pip install notthere"),
    ('{"x": rng.normal(size=5)}', '{"x": np.array(["a"])}', "x has dtype <U1, not numbers"),
    ('{"x": rng.normal(size=5)}', '{"x": rng.normal(size=5), "../y": 1}', "has a slash in it"),
])
def test_a_reference_that_cannot_be_run_is_one_line(small, old, new, said):
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        public_checks(small({old: new}), "en")
    assert "\n" not in str(caught.value)


TESTS_OF_MEAN = """import numpy as np


def test_of_two(mean):
    # BEGIN SOLUTION
    assert abs(mean(np.array([1.0, 2.0])) - 1.5) < 1e-9
    # END SOLUTION
"""


def test_a_students_tests_are_tried_on_a_function_that_returns_nothing(small, tmp_path, students_python):
    solution = TESTS_OF_MEAN.replace("def test", "def centred(x):\n    return x\n\n\ndef test")
    assignment = small({"Scenario(numbers, run_mean)": "Scenario(mutation=('mean',))"}, solution=solution)
    folder = folder_of(assignment, tmp_path / "s")
    assert "counts how many wrong versions of `mean` your tests catch" in (folder / "README.md").read_text()
    for text, code, words in (
            (None, 1, "test_of_two is not written yet"),
            ("x = 1\n", 1, "mean.py has no test: a function test_...(mean)"),
            ("def test_a(mean):\n    mean(3)\n", 1, "test_a passes for a function that returns nothing"),
            ("def test_a(mean):\n    raise SystemExit(0)\n", 1, "it ends the program"),
            (TESTS_OF_MEAN, 0, "none of your tests (1) passes for a function that returns nothing. Whether")):
        if text is not None:
            (folder / "mean.py").write_text(text)
        for how in ("test_public.py", "pytest"):
            got, said = students_python(folder, how)
            assert got == code, said
            assert words in said or (how == "pytest" and code == 0)


def test_single_tests_are_left_out_as_when_they_are_graded(tmp_path, students_python):
    """The assignment on tests of Adam: one that is too strict costs points."""
    assignment = find_assignment("12_test_adam")
    assert "(np.sqrt(v_hat) + eps)" not in assignment.solution().student  # nothing to compare with
    good = assignment.solution().text
    folder = folder_of(assignment, tmp_path / "s")
    code, said = students_python(folder, "test_public.py")
    assert (code, "not written yet" in said) == (1, True)
    assert "on other numbers" not in said + (folder / "README.md").read_text()
    strict = ("\n\ndef test_strict(adam_step):\n    x = np.ones(1)\n"
              "    assert adam_step(x, x, x, x, 3)[0] == 7\n\n\ndef test_alone():\n    assert True\n")
    one = "import numpy as np\n\n\ndef test_one(adam_step):\n    adam_step(*np.ones((4, 1)), 1)\n"
    for text, code, words in (
            (good, 0, "your tests are shown more versions"),
            (good + strict, 1, "test_strict: not counted, and costs points, for a version that is right"),
            (good + strict.partition("def test_alone")[2].join(["\n\ndef test_alone", ""]), 0,
             "test_alone: not counted; a test takes the function as an argument"),
            (one, 1, "accept a version that returns its arguments unchanged"),
            (one + strict, 1, "test_strict: not counted"),
            ("x = 1\n", 1, "there is no test: a test is a function test_...(adam_step)")):
        (folder / "adam_tests.py").write_text(text)
        got, said = students_python(folder, "test_public.py")
        assert (got, words in said) == (code, True), said
