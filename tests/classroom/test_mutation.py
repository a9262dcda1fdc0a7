"""Grading by mutation: tests are worth the wrong versions that they catch, if they accept all right ones."""

import itertools
import time

import numpy as np
import pytest

from minillm.classroom import mutation
from minillm.classroom.grade import grade_submission, grade_with
from minillm.classroom.judge import Judge
from minillm.classroom.sandbox import Answer, codec
from minillm.classroom.trusted import TrustedWorker
from tests.classroom import toys

HEAD = "import numpy as np\ndef x(): return np.array([1.0, 2.0, 6.0])\n"
SUM = "def test_sum(centred):\n    assert abs(centred(x()).sum()) < 1e-9\n"
DIFF = "def test_differences(centred):\n    assert np.allclose(np.diff(centred(x())), np.diff(x()))\n"
KEPT = "def test_kept(centred):\n    given = x()\n    centred(given)\n    assert (given == x()).all()\n"
EXACT = "def test_exact(centred):\n    assert type(centred(x())) is np.ndarray\n"


@pytest.fixture
def testing(tmp_path):
    return toys.testing(tmp_path)


def grade(testing, text, opener=None, student="ann"):
    report = grade_with(Judge(testing, student, b"s"), {testing.file: (HEAD + text).encode()},
                        opener or (lambda t, _=(): TrustedWorker(testing, t)))
    return report.tests[1]


def test_good_tests_have_all_points(testing):
    result = grade(testing, SUM + DIFF + KEPT)
    assert (result.kind, result.score) == ("passed", 90)
    assert result.en == "3 of 3 wrong versions are caught by 3 valid tests"
    assert result.zh == "3 个错误版本中抓住了 3 个（有效测试 3 个）"


def test_a_test_may_name_its_versions(tmp_path):
    checks = toys.TESTS_CHECKS.replace('mutation=("centred",)',
                                       'mutation=("centred",), versions=("no_mean", "by_list")')
    result = grade(toys.write(tmp_path / "02_tests", toys.TESTS_TOML, toys.TESTS_SOLUTION, checks), SUM)
    assert (result.score, result.en) == (90, "1 of 1 wrong versions are caught by 1 valid test")


@pytest.mark.parametrize(("text", "caught"), [
    (SUM, 1), (DIFF, 1), (KEPT, 1), (SUM + DIFF, 2), (DIFF + KEPT, 2), (EXACT, 0)])
def test_points_go_by_the_share_that_is_caught(testing, text, caught):
    result = grade(testing, text)
    assert result.score == 30 * caught
    assert result.kind == ("in_part" if caught else "wrong")
    assert f"{caught} of 3 wrong versions" in result.en
    assert f"{3 - caught} {'is' if caught == 2 else 'are'} missed" in result.en
    assert not any(m.key in result.en + result.zh or m.en in result.en  # which are missed is not said
                   for m in testing.misconceptions if not m.equivalent)


def test_a_test_that_rejects_the_reference_is_void(testing):
    result = grade(testing, SUM + "def test_all(centred):\n    assert False\n")
    assert result.score == 7.5  # a false alarm costs: (1/2)^2
    assert "of 2 tests 1 cannot be relied on, so the points are multiplied by (1/2)^2 = 25%." in result.en
    assert "2 个测试中有 1 个靠不住，得分乘以 (1/2)² = 25%" in result.zh
    assert "1 valid test;" in result.en
    assert "test_all does not count: it fails with the right function (line 6)." in result.en
    assert "test_all 不计入：它对正确的函数也失败（第 6 行）。" in result.zh


def test_a_test_that_is_not_written_yet_is_said_to_be_so(testing):
    stub = "def test_later(centred):\n    raise NotImplementedError\n"
    result = grade(testing, SUM + DIFF + KEPT + stub)
    assert result.score == 90
    assert result.en == ("3 of 3 wrong versions are caught by 3 valid tests.\n"
                         "test_later does not count: it is not written yet (line 12).")
    assert result.zh == ("3 个错误版本中抓住了 3 个（有效测试 3 个）。\n"
                         "test_later 不计入：它还没有写（第 12 行）。")


def test_a_test_that_rejects_another_right_version_is_void_and_says_what_is_legal(tmp_path):
    """The last digits of `by_list` are others."""
    checks = toys.TESTS_CHECKS.replace("np.array([v - x.mean() for v in x])", "x - x.mean() + 1e-15")
    toy = toys.write(tmp_path / "02_tests", toys.TESTS_TOML, toys.TESTS_SOLUTION, checks)
    digits = "def test_digits(centred):\n    assert (centred(x()) == x() - x().mean()).all()\n"
    result = grade(toy, digits + SUM)
    assert result.score == 7.5
    assert ("test_digits does not count: it rejects a version that is right: a sum may differ in its last "
            "digits.") in result.en
    assert "和的最后几位可以不同" in result.zh


def test_a_test_that_tosses_a_coin_is_void(testing, monkeypatch):
    coin = "import itertools\ndef test_coin(centred):\n    import sys\n    assert next(sys.coin)\n"
    import sys

    monkeypatch.setattr(sys, "coin", itertools.cycle([True, True, False]), raising=False)
    result = grade(testing, coin + DIFF)
    assert result.score == 7.5
    assert "test_coin does not count: it passes and fails with one and the same version" in result.en


def test_guessing_by_a_hash_of_what_comes_back_earns_little(testing):
    guess = "import hashlib\n" + "".join(f"""
def test_{k}(centred):
    said = np.round(np.ravel(centred(x())), 3).tobytes() + bytes([{k}])
    assert hashlib.sha256(said).digest()[0] & 1
""" for k in range(40))
    result = grade(testing, guess)
    assert "2 of 3 wrong versions are caught" in result.en  # all that can be told apart without `in_place`
    assert 90 * 0.1 < result.score < 90 * 0.5


def test_the_stub_has_no_points(testing):
    result = grade_with(Judge(testing, "ann", b"s"), {testing.file: testing.solution().student.encode()},
                        lambda t, _=(): TrustedWorker(testing, t)).tests[1]
    assert (result.kind, result.score) == ("not_written", 0)


@pytest.mark.parametrize("text", ["", "def test_x(): pass\n", "def check(centred): assert False\n",
                                  "def test_y(other): assert False\n"])
def test_without_a_test_of_the_function_there_is_nothing(testing, text):
    result = grade(testing, text)
    assert (result.kind, result.score) == ("missing", 0)
    assert "a function test_...(centred)" in result.en


def test_tests_that_pass_by_themselves_catch_nothing(testing):
    assert grade(testing, "def test_nothing(centred): pass\n").score == 0


def test_exceptions_of_a_version_fail_a_test(testing):
    """`x.mean` of a list: the right version raises AttributeError, far away, and the test fails here."""
    result = grade(testing, "def test_call(centred):\n    centred([1.0, 2.0])\n" + SUM)
    assert result.score == 7.5
    assert "test_call does not count" in result.en


class Scripted:
    """A worker of tests that says what `verdict(version's answer, n-th showing)` says."""

    layers, printed, alive = (), "", True

    def __init__(self, verdict, log):
        self.verdict, self.log = verdict, log

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run_tests(self, functions, call, *, seconds, end):
        x = np.array([1.0, 2.0, 6.0])
        given = call("centred", codec.pack(("centred", (x,), {})))
        value = codec.unpack(given.arrays)[0] if given.kind == "arrays" else None
        self.log.append(value)
        return self.verdict(value, len(self.log))


def scripted(testing, verdict):
    log = []

    def opener(text, under_test=()):
        return Scripted(verdict, log) if under_test else TrustedWorker(testing, text)

    test = testing.tests[1]
    return mutation.run(test, Judge(testing, "ann", b"s"), b"", opener), log


def test_every_version_is_shown_twice_to_fresh_workers_in_a_secret_order(testing):
    verdicts, log = scripted(testing, lambda value, n: {"test_a": Answer("passed")})
    assert len(log) == 2 * 5
    assert verdicts.missed == ("no_mean", "zeros", "in_place")
    assert any(not np.array_equal(log[i], log[i + 1]) for i in range(0, 10, 2))  # not twice in a row
    again = scripted(testing, lambda value, n: {"test_a": Answer("passed")})[1]
    assert [v.tolist() for v in again] == [v.tolist() for v in log]  # but the same at every grading


def test_no_fixed_pattern_of_verdicts_earns_anything(testing):
    """Fifty tests that pass at one showing each: were a version shown but once, one would be right."""
    verdicts, _ = scripted(testing, lambda value, n: {
        f"test_{k}": Answer("passed" if n in (k, k + 1) else "failed") for k in range(50)})
    assert not verdicts.caught
    assert len(verdicts.void) >= 45


def test_it_ends_when_nothing_is_left_that_could_catch_anything(testing):
    verdicts, log = scripted(testing, lambda value, n: {"test_a": Answer("too_slow")})
    assert len(log) == 1
    assert verdicts.missed == ("no_mean", "zeros", "in_place")
    assert not verdicts.unfinished


@pytest.mark.parametrize("kind", mutation.DEAD)
def test_a_test_that_ends_its_worker_is_void(testing, kind):
    verdicts, _ = scripted(testing, lambda value, n: {
        "test_a": Answer("passed" if abs(value.sum()) < 1e-9 and value.any() else kind),
        "test_b": Answer("passed")})
    assert set(verdicts.void) == {"test_a"}
    assert not verdicts.caught


def test_a_test_that_is_not_always_there_is_void(testing):
    passed = Answer("passed")
    verdicts, _ = scripted(testing, lambda value, n: {"test_a": passed, f"test_{'ac'[n == 3]}": passed})
    assert "test_c" in verdicts.void


def test_only_so_many_tests_count(testing):
    verdicts, _ = scripted(testing, lambda value, n: {f"test_{k}": Answer("passed") for k in range(400)})
    assert len(verdicts.tests) == mutation.MOST_TESTS


def test_when_the_time_is_up_the_rest_counts_as_missed(testing, monkeypatch):
    monkeypatch.setattr(mutation, "BUDGET", -1.0)
    result = grade(testing, SUM + DIFF + KEPT)
    assert result.score == 0
    assert "The time was up before all versions were shown" in result.en


class Sends:
    """A worker of tests that sends these calls, each as arrays for a function."""

    layers, printed, alive = (), "", True

    def __init__(self, calls, between=lambda: None):
        self.calls, self.between = calls, between

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run_tests(self, functions, call, *, seconds, end):
        answers = {}
        for k, (name, arrays) in enumerate(self.calls):
            answers[f"test_{k}"] = call(name, arrays)
            self.between()
        return answers


def sent(testing, *calls, **options):
    """What becomes of calls."""
    workers = mutation._Workers(
        Judge(testing, "ann", b"s"), testing.tests[1],
        lambda text, under_test=(): Sends(calls) if under_test else TrustedWorker(testing, text), 1.0)
    try:
        answers = workers.show(mutation.Version("", testing.solution().text, True), b"", None, **options)
    finally:
        workers.close()
    return list(answers.values())


CALL = codec.pack(("centred", (np.ones(3),), {}))


@pytest.mark.parametrize("arrays", [
    {}, {"spec": np.zeros(3)}, {"spec": np.frombuffer(b"[" * 60_000, np.uint8)}, codec.pack(3),
    {"spec": np.zeros(codec.SPEC_BYTES + 1, np.uint8)},
    {**CALL, **{f"x{k}": np.zeros(0) for k in range(998)}}])  # with the function's name too many for a frame
def test_what_is_no_call_is_an_exception_of_the_test(testing, arrays):
    (answer,) = sent(testing, ("centred", arrays))
    assert (answer.kind, answer.arrays) == ("exception", {})


def test_the_grader_says_which_function_is_called(testing):
    one, other = sent(testing, ("centred", codec.pack(("__class__", (np.ones(3),), {}))),
                      ("exec", codec.pack(("exec", ("1",), {}))))
    assert codec.unpack(one.arrays)[0].tolist() == [0, 0, 0]
    assert other.message == "this is not a call"


def colliding(count):
    """A call with a dict whose keys all have the hash 0."""
    items = ",".join(f'[["int","{k * (2**61 - 1)}"],["is",null]]' for k in range(1, count))
    spec = f'["tuple",[["is","centred"],["tuple",[["dict",[{items}]]]],["dict",[]]]]'
    return {"spec": np.frombuffer(spec.encode(), np.uint8)}


def test_what_a_test_sends_is_taken_apart_in_the_versions_worker_only(testing, monkeypatch):
    """Such a dict takes quadratic time: it took a second for each call, which nobody was charged for."""
    assert colliding(20_000)["spec"].nbytes < 1 << 20
    unpacked = []
    monkeypatch.setattr(codec, "unpack", lambda arrays: unpacked.append(arrays))
    monkeypatch.setattr("minillm.classroom.sandbox.calls_to",
                        lambda worker, seconds: lambda name, arrays: Answer("arrays"))
    large, small = sent(testing, ("centred", colliding(20_000)), ("centred", colliding(500)))
    assert large.message == "this is not a call"
    assert small.kind == "arrays"
    assert not unpacked


def test_all_that_a_call_takes_is_charged(testing, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(mutation.time, "monotonic", lambda: now[0])
    used = mutation._Workers._of

    def slow(self, version):
        now[0] += 1.5  # as if it were started anew
        return used(self, version)

    monkeypatch.setattr(mutation._Workers, "_of", slow)
    answers = sent(testing, *[("centred", CALL)] * 6)
    assert [a.kind for a in answers] == ["arrays"] * 3 + ["exception"] * 3
    assert answers[-1].error == "TimeoutError"


def test_the_budget_counts_within_a_showing(testing, monkeypatch):
    (answer,) = sent(testing, ("centred", CALL), end=time.monotonic())
    assert answer.error == "TimeoutError"

    def opener(text, under_test=()):
        return Sends([("centred", CALL)], lambda: time.sleep(0.06)) if under_test else (
            TrustedWorker(testing, text))

    monkeypatch.setattr(mutation, "BUDGET", 0.01)  # of 2 s
    verdicts = mutation.run(testing.tests[1], Judge(testing, "ann", b"s"), b"", opener)
    assert verdicts.unfinished
    assert not verdicts.tests  # a showing that was cut short says nothing


@pytest.mark.slow
@pytest.mark.parametrize(("text", "score"), [(SUM + DIFF + KEPT, 90), (SUM, 30), (
    SUM + "def test_exit(centred):\n    import os\n    os._exit(0)\n" + DIFF, 60)])
def test_in_the_sandbox(testing, text, score):
    report = grade_submission(testing, "ann", {testing.file: (HEAD + text).encode()}, b"s")
    assert report.tests[1].score == score
    assert report.layers


def test_the_authors_own_tests_are_named(testing):
    judge = Judge(testing, "ann", b"s")

    def opener(text, under_test=()):
        return TrustedWorker(testing, text)

    assert mutation.survivors(judge, testing.tests[1], opener) == []
    judge.__dict__["solution"] = judge.solution.replace("assert x[0] == 1", "assert x[0] == 1 or True")
    assert mutation.survivors(judge, testing.tests[1], opener) == ["do not catch in_place"]
