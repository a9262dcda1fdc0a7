"""Grading one submission: points, reasons and states, with a worker in this process for the sandbox."""

import time
from dataclasses import replace

import numpy as np
import pytest

from minillm.classroom import AssignmentError, Report, wording
from minillm.classroom.grade import grade_with
from minillm.classroom.grader_process import cleaned
from minillm.classroom.judge import Judge
from minillm.classroom.report import KINDS, STATES, TestResult
from minillm.classroom.sandbox import Answer
from minillm.classroom.trusted import TrustedWorker
from minillm.classroom.wording import NAME
from tests.classroom import toys

SECRET = b"secret"


@pytest.fixture
def toy(tmp_path):
    return toys.toys(tmp_path)


def grade(toy, text, student="ann", *, opener=None, name=None):
    files = {name or toy.file: text if isinstance(text, bytes) else text.encode()}
    return grade_with(Judge(toy, student, SECRET), files, opener or (lambda t, _=(): TrustedWorker(toy, t)))


def kinds(report):
    return {t.name: t.kind for t in report.tests}


class Scripted:
    """A worker that answers as it is told: its n-th answer in all is the n-th of the script."""

    layers = ("walls",)

    def __init__(self, script, log):
        self.script, self.log, self.alive, self.printed = script, log, True, ""
        log.append("open")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.alive = False
        self.log.append("close")

    def ask(self, source, inputs, *, seconds, reply_bytes):
        answer = self.script.pop(0) if self.script else Answer("arrays", {"y": np.zeros(0)})
        self.printed += f"[{answer.kind}]"
        self.log.append(answer.kind)
        if answer.kind in ("crashed", "ended", "memory", "too_much_output") or answer.message == "its last":
            self.alive = False
        return answer


def scripted(toy, *script):
    log, script = [], list(script)
    report = grade(toy, "x = 1", opener=lambda text, under_test=(): Scripted(script, log))
    return report, log


def test_the_solution_has_all_points(toy):
    report = grade(toy, toy.solution().text)
    assert (report.state, report.score, report.points) == ("graded", 100, 100)
    assert set(kinds(report).values()) == {"passed"}
    assert report.en == "100 of 100 points; passed 1 of 1 public and 3 of 3 hidden tests"
    assert report.zh == "100 分，满分 100 分；公开测试通过 1/1，隐藏测试通过 3/3"
    assert report.tests[0].en == "right, in all 3 cases"
    assert report.grader == toy.fingerprint


def test_public_tests_are_asked_first_whatever_their_place(toy):
    """What is said of them may be shown at once: it must not know the hidden tests' inputs."""
    turned = replace(toy, tests=tuple(sorted(toy.tests, key=lambda t: t.visibility == "public")))
    assert turned.tests[-1].visibility == "public"
    asked = []

    class Listening(TrustedWorker):
        def ask(self, source, inputs, **options):
            asked.append({name: array.tolist() for name, array in inputs.items()})
            return super().ask(source, inputs, **options)

    report = grade(turned, toy.solution().text, opener=lambda text, _=(): Listening(toy, text))
    judge, order = Judge(turned, "ann", SECRET), []
    for inputs in asked:
        order += [t.visibility for t in turned.tests for case in range(toy.scenarios[t.name].cases)
                  if {n: a.tolist() for n, a in judge.inputs(t.name, case).items()} == inputs]
    assert {"public", "hidden"} == {*order}
    assert order == sorted(order, reverse=True)
    assert [t.name for t in report.tests] == [t.name for t in turned.tests]  # reported in their own order


def test_the_stub_has_none(toy):
    report = grade(toy, toy.solution().student)
    assert report.score == 0
    assert set(kinds(report).values()) == {"not_written"}
    assert report.tests[0].line == 9
    assert report.tests[0].en == "line 9: not written yet: replace the `raise NotImplementedError`"


def test_partial_credit_goes_by_cases(toy):
    """Right for a positive sum only: some of the four cases of `parts`."""
    text = toy.solution().text.replace("return x - mean", "return x - abs(mean)")
    judge = Judge(toy, "ann", SECRET)
    right = sum(judge.inputs("parts", c)["x"].sum() > 0 for c in range(4))
    assert 0 < right < 4
    result = grade(toy, text).tests[2]
    assert (result.name, result.kind, result.score) == ("parts", "in_part", 20 * right / 4)
    assert f"{4 - right} of 4 cases are not right" in result.en


def test_a_report_survives_json_and_two_gradings_agree(toy):
    text = toy.solution().text.replace("return order", "return order + 1")
    report = grade(toy, text)
    assert Report.from_json(report.to_json()) == report
    assert grade(toy, text).without_times() == report.without_times()
    assert grade(toy, text, "bo").without_times() != report.without_times()


@pytest.mark.parametrize(("text", "kind", "en"), [
    ("def centred(x): raise ValueError('no\\nway')", "exception", "line 1: ValueError: no way."),
    ("def centred(x): pass", "exception", "y is None"),
    ("def centered(x): pass", "missing", "toys.py has no centred; it has centered: is that the one?"),
    ("", "missing", "toys.py has no centred, which this test calls"),
    ("def centred(): pass", "exception", "It happened in the test's own lines"),
    ("def centred(x): return 'abc'", "exception", "not numbers"),
    ("def centred(x): exit()", "ended", "your code ends the program"),
    ("raise SystemExit", "ended", "line 1: your code ends the program"),
    ("1/0", "exception", "line 1: ZeroDivisionError: division by zero"),
    ("def centred(x): return [0] * 10**13", "memory", "2048 MiB are allowed"),
    ("def centred(x): return x.reshape(-1, 1)", "wrong", "y has shape"),
])
def test_what_a_tutor_says(toy, text, kind, en):
    result = grade(toy, text).tests[0]
    assert result.kind == kind
    assert en in result.en
    assert result.score == 0
    assert any("\u4e00" <= letter <= "\u9fff" for letter in result.zh)


@pytest.mark.parametrize(("content", "name", "state", "kind"), [
    (b"", "other.py", "no_file", "not_run"), (b"\xff\xfe\x00", None, "unreadable", "not_run"),
    (b"def f(", None, "graded", "syntax")])
def test_what_cannot_run_has_no_points_and_a_reason(toy, content, name, state, kind):
    report = grade(toy, content, name=name, opener=lambda *_: pytest.fail("nothing may run"))
    assert (report.state, report.score, set(kinds(report).values())) == (state, 0, {kind})
    assert report.en
    assert report.zh
    assert state in STATES
    assert len(report.submission) == 64


def test_a_dead_worker_costs_its_test_and_no_other(toy):
    right = [Answer("arrays", Judge(toy, "ann", SECRET).want("sum", c)) for c in range(3)]
    report, log = scripted(toy, Answer("crashed"), *right)
    assert kinds(report)["centred"] == "crashed"
    assert kinds(report)["sum"] == "passed"
    assert log[:4] == ["open", "crashed", "close", "open"]
    assert log.count("open") == log.count("close")


def test_a_worker_that_dies_after_a_right_answer_has_not_answered_the_other_cases(toy):
    want = [Judge(toy, "ann", SECRET).want("centred", c) for c in range(3)]
    report, log = scripted(toy, *[Answer("arrays", w, message="its last") for w in want])
    assert report.tests[0].kind == "passed"
    assert log[:6] == ["open", "arrays", "close"] * 2
    report, _ = scripted(toy, Answer("arrays", want[0], message="its last"), Answer("crashed"))
    assert report.tests[0].kind == "crashed"


def test_after_two_hangs_the_rest_is_not_run(toy):
    report, log = scripted(toy, Answer("too_slow"), Answer("too_slow"))
    assert list(kinds(report).values()) == ["too_slow", "too_slow", "not_run", "not_run"]
    assert log == ["open", "too_slow", "close"] * 2
    assert "2 tests before it ran out of time" in report.tests[3].en


def test_a_forged_answer_ends_its_worker(toy):
    report, log = scripted(toy, Answer("forged"))
    assert report.tests[0].kind == "forged"
    assert log[:3] == ["open", "forged", "close"]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"passed", "in_part", "wrong", "not_run", "slow"}))
def test_every_kind_of_answer_has_words(toy, kind):
    report, _ = scripted(toy, *[Answer(kind, error="E", message="m\ud800" + "x" * 1000)] * 20)
    result = report.tests[0]
    assert (result.kind, result.score) == (kind, 0)
    assert len(result.en) < 700
    assert (result.en + result.zh).encode()


def test_what_ends_a_worker_that_prints_is_said_as_it_is(toy):
    report, _ = scripted(toy, *[Answer("too_much_output")] * 20)
    kib = 100 * toy.limits.output_kb
    assert report.tests[0].en == f"your code printed more than {kib} KiB and was stopped: take the prints out"
    assert report.tests[0].zh == f"打印超过 {kib} KiB，程序已被终止：请把 print 去掉"


def test_a_name_that_is_like_the_missing_one_is_named(toy):
    text = "def centered(x):\n    return x\n"
    assert "it has centered: is that the one?" in grade(toy, text).tests[0].en
    long = "c" * 61
    many = "".join(f"def {long}{k}(): pass\n" for k in range(300))
    assert "it has centered" in grade(toy, many + text).tests[0].en


def test_looking_for_a_like_name_takes_no_time():
    """It took 11 s for each test: the search is quadratic in the names' length."""
    names = ["ab" * 95 + f"{k:08}" for k in range(4700)]
    start = time.perf_counter()
    assert wording._near("ba" * 95 + "00000000", names) == []
    assert wording._near("centred", [n[-NAME:] for n in names]) == []
    assert time.perf_counter() - start < 1


def test_no_text_of_a_report_can_do_anything():
    evil = "a\x1b[2J\x07\ud800\u202e\r\x9b\nb\tc"
    test = TestResult("t", "t", "t", "public", 0, 1, "wrong", evil, evil, evil)
    report = Report("ann", "a", "s", "g", "graded", evil, evil, (test,), (), ((evil, evil),), evil)
    for said in (report, Report.from_json(report.to_json())):
        texts = {said.en, said.zh, said.printed, *said.notes[0],
                 *(getattr(t, f) for t in said.tests for f in ("en", "zh", "cause"))}
        assert texts == {"a[2J\N{REPLACEMENT CHARACTER}\nb\tc"}


@pytest.mark.parametrize(("said", "left"), [
    ("in /scratch/minillm-grader-ab/minillm-worker-c_1/code/adam.py: x", "in adam.py: x"),
    ("'/minillm-worker-a/x' \"/scratch//minillm-worker-a/code/x\"", "'x' \"/scratch/x\""),
    ("no /scratch/minillm-worker-a of it, /scratch/minillm-worker/x",
     "no /scratch/minillm-worker-a of it, /scratch/minillm-worker/x"),
    ("a:/b/minillm-worker-1/c b//d/e/minillm-worker-2/code/f", "a:c b/f"),
    ("/a/minillm-worker-1/minillm-worker-2/code/f", "f"),
    ("<function f at 0x7f00aa11bb22> at 0x7f00aa11bb22", "<function f at 0x...> at 0x7f00aa11bb22")])
def test_what_differs_from_run_to_run_is_left_out(said, left):
    assert cleaned(said) == left


def test_leaving_it_out_takes_time_that_grows_as_the_text_does():
    start = time.perf_counter()
    for text in ("/a" * 200_000, "/minillm-worker-" * 20_000, "/minillm-worker-" + "a" * 400_000,
                 "a" * 400_000, "/a/minillm-worker-b/" * 20_000):
        cleaned(text)
    assert time.perf_counter() - start < 2


def test_an_unknown_kind_is_forged(toy):
    assert scripted(toy, Answer("passed"))[0].tests[0].kind == "forged"


def test_arrays_of_other_names_are_forged_and_score_nothing(toy):
    report, _ = scripted(toy, *[Answer("arrays", {"score": np.array(100)})] * 20)
    assert report.score == 0
    assert set(kinds(report).values()) == {"forged"}


def test_layers_and_prints_are_on_the_report(toy):
    report, _ = scripted(toy, Answer("crashed"), Answer("exception", error="E"))
    assert report.layers == ("walls",)
    assert report.printed.startswith("[crashed][exception]")


def test_prints_are_cut_at_the_limit(tmp_path):
    toy = toys.toys(tmp_path, toml=toys.TOML.replace("[limits]\n", "[limits]\noutput_kb = 1\n"))

    class Chatty(Scripted):
        def __exit__(self, *_):
            self.printed = "\ud800" * 5000

    report = grade(toy, "x = 1", opener=lambda text, under_test=(): Chatty([], []))
    assert len(report.printed) == 1024
    assert report.printed.encode()


def test_the_likely_cause_is_named(toy):
    report = grade(toy, toy.solution().text.replace("return x - mean", "return x"))
    result = report.tests[0]
    assert result.cause == "no_mean"
    assert result.en.endswith("Likely: the mean stays in.")
    assert result.zh.endswith("可能的原因：没有减去平均值。")


def test_hidden_numbers_stay_hidden(toy):
    """No number of a hidden test's right answer is in the report of a wrong submission."""
    report = grade(toy, toy.solution().text.replace("return x - mean", "return x * 2"))
    want = Judge(toy, "ann", SECRET).want("parts", 0)["y"]
    said = str(report.to_json())
    assert not any(f"{number:.4g}" in said for number in want)


def test_a_broken_assignment_is_said_to_be_one(tmp_path):
    toy = toys.toys(tmp_path, toys.CHECKS.replace('{"x": rng.normal(size=int',
                                                  '{"x": "abc", "n": rng.normal(size=int'))
    with pytest.raises(AssignmentError, match="inputs: x has dtype <U3, not numbers"):
        grade(toy, toy.solution().text)
