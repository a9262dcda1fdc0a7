"""The judge: what is wrong with arrays, what it may say of it, and which mistake it was."""

import numpy as np
import pytest

from minillm.classroom import AssignmentError
from minillm.classroom.judge import Judge, _of_output
from minillm.classroom.sandbox import Answer
from minillm.classroom.scenario import Scenario
from minillm.classroom.trusted import TrustedWorker
from tests.classroom import toys


@pytest.fixture
def toy(tmp_path):
    return toys.toys(tmp_path)


@pytest.fixture
def judge(toy):
    return Judge(toy, "ann", b"secret")


def the_test(assignment, name):
    return next(t for t in assignment.tests if t.name == name)


def answers(judge, text):
    """What a text gives in all cases of all tests."""
    worker = TrustedWorker(judge.assignment, text.encode())
    return {name: [worker.ask(s.run_source(), judge.inputs(name, c), seconds=2.0) for c in range(s.cases)]
            for name, s in judge.assignment.scenarios.items()}


def test_inputs_are_the_students_own_and_always_the_same(toy, judge):
    again, other = Judge(toy, "ann", b"secret"), Judge(toy, "bo", b"secret")
    assert np.array_equal(judge.inputs("centred", 0)["x"], again.inputs("centred", 0)["x"])
    assert not np.array_equal(judge.inputs("centred", 0)["x"], other.inputs("centred", 0)["x"])
    assert not np.array_equal(judge.inputs("centred", 0)["x"], judge.inputs("centred", 1)["x"])


def test_what_is_given_out_can_be_changed_without_harm(judge):
    given = judge.inputs("centred", 0)["x"]
    before = given.copy()
    given[:] = 0
    assert np.array_equal(judge.inputs("centred", 0)["x"], before)


def test_a_forgotten_case_is_the_same_when_it_is_asked_for_again(judge):
    before, want = judge.inputs("centred", 9)["x"], judge.want("centred", 9)["y"]
    judge.forget("centred", 9)
    assert np.array_equal(judge.inputs("centred", 9)["x"], before)
    assert np.array_equal(judge.want("centred", 9)["y"], want)


@pytest.mark.parametrize(("name", "shows"), [("centred", True), ("parts", False)])
def test_only_public_tests_tell_the_right_number(toy, judge, name, shows):
    want = judge.want(name, 0)["y"]
    got = want.copy()
    got[1] += 0.123456
    fault = judge.fault(the_test(toy, name), 0, {"y": got})
    assert f"y[1] is {got[1]:.6g}" in fault.en
    assert f"y[1] 是 {got[1]:.6g}" in fault.zh
    for text in (fault.en, fault.zh):
        assert (f"{want[1]:.6g}" in text) == shows
        assert "0.12" in text
        assert "0.1234" not in text  # an error to six digits would tell the right number as well


def test_the_size_of_an_error_in_whole_numbers_is_told_in_public_only(toy, judge):
    got = judge.want("ranks", 0)["order"] + 2
    fault = judge.fault(the_test(toy, "ranks"), 0, {"order": got})
    assert "largest" not in fault.en
    assert f"{got.size} of {got.size} numbers are wrong" in fault.en


def test_shapes_and_nan(toy, judge):
    want = judge.want("centred", 0)["y"]
    fault = judge.fault(the_test(toy, "centred"), 0, {"y": want[:, None]})
    assert fault.en == f"y has shape {(want.size, 1)}; it should have shape {(want.size,)}"
    fault = judge.fault(the_test(toy, "parts"), 0, {"y": np.full_like(judge.want("parts", 0)["y"], np.nan)})
    assert fault.en.startswith("y[0] is nan, which is wrong; ")
    assert "largest" not in fault.en


@pytest.mark.parametrize(("wrong", "en", "zh"), [
    ([np.nan, np.nan, 7], "3 of 12 numbers are wrong, 2 of them nan",
     "12 个数中有 3 个不对，其中 2 个是 nan"),
    ([-np.inf, 7, 7], "3 of 12 numbers are wrong, 1 of them inf", "12 个数中有 3 个不对，其中 1 个是 inf"),
    ([np.nan, np.inf, np.nan], "3 of 12 numbers are wrong, all of them nan or inf",
     "12 个数中有 3 个不对，全部是 nan 或 inf")])
@pytest.mark.parametrize("show", [True, False])
def test_numbers_that_are_not_finite_are_counted(wrong, en, zh, show):
    """It was the largest error that was told, of a number that is right."""
    want = np.linspace(1, 2, 12).reshape(4, 3)
    got = want + 1e-15
    got[2] = wrong
    fault = _of_output("y", got, want, Scenario(lambda rng: {}, lambda student, inputs: {}), show)
    assert fault.en.endswith("; " + en)
    assert fault.zh.endswith("；" + zh)


def test_the_largest_error_is_that_of_a_wrong_number():
    want = np.array([1e9, 1.0, 0.0])
    got = want + np.array([0.5, 0.25, 0.1])  # the first is right to nine digits
    fault = _of_output("y", got, want, Scenario(lambda rng: {}, lambda student, inputs: {}), True)
    assert fault.en.endswith("2 of 3 numbers are wrong, and the largest error is about 0.25, at [1]")


@pytest.mark.parametrize("arrays", [{}, {"z": np.zeros(3)}, {"y": np.zeros(3), "z": np.zeros(3)}])
def test_other_names_than_asked_for_are_no_answer(toy, judge, arrays):
    assert judge.fault(the_test(toy, "centred"), 0, arrays).kind == "forged"


@pytest.mark.parametrize("array", [np.zeros(0), np.zeros((2, 3, 4)), np.array(True), np.full(4, 1j * np.inf),
                                   np.array([np.nan] * 5), np.zeros(6, np.uint8), np.zeros(7, np.float16)])
@pytest.mark.parametrize("name", ["centred", "sum", "parts"])
def test_no_array_upsets_it(toy, judge, name, array):
    fault = judge.fault(the_test(toy, name), 0, {"y": array})
    assert fault is None or fault.kind == "wrong"
    assert judge.causes({name: [Answer("arrays", {"y": array})]}).keys() <= {name}


def test_a_compare_that_fails_counts_as_wrong(tmp_path):
    toy = toys.toys(tmp_path, toys.CHECKS.replace("if got[", "if got['y'][2, 3] or got["))
    judge = Judge(toy, "ann", b"secret")
    fault = judge.fault(the_test(toy, "sum"), 0, judge.want("sum", 0))
    assert fault.kind == "wrong"
    assert fault.en == "the answer cannot be compared with the right one"


def test_its_own_compare_is_asked(toy, judge):
    right = judge.want("sum", 0)["y"]
    assert judge.fault(the_test(toy, "sum"), 0, {"y": right[::-1]}) is None  # the sum is all that it looks at
    assert judge.fault(the_test(toy, "sum"), 0, {"y": right + 1}).en == "the sum is not zero"


@pytest.mark.parametrize("key", ["no_mean", "sum_only", "loops", "once"])
def test_every_misconception_is_recognised(toy, judge, key):
    wrong = next(m for m in toy.misconceptions if m.key == key)
    found = judge.causes(answers(judge, wrong.applied(judge.solution)))
    assert found
    assert {c.key for c in found.values()} == {key}


def test_a_mistake_written_another_way_is_the_same_mistake(judge):
    text = judge.solution.replace("return x - mean", "return x * 1.0")
    assert judge.causes(answers(judge, text))["centred"].key == "no_mean"


def test_no_misconception_is_blamed_for_another_mistake(judge):
    text = judge.solution.replace("return x - mean", "return x - mean + np.arange(x.size) ** 2")
    assert not judge.causes(answers(judge, text))


@pytest.mark.parametrize("instead", [
    "return order[5.5]",
    "raise ValueError(f'index {len(x)} is out of bounds for axis 0 with size {len(x)}')"])
def test_another_exception_is_not_the_same_mistake(judge, instead):
    assert "ranks" not in judge.causes(answers(judge, judge.solution.replace("return order", instead)))


def test_of_two_explanations_the_one_that_explains_more(tmp_path):
    """`two` and `both` do the same to `centred`; only what happens to `ranks` tells them apart."""
    more = '''    Misconception("two", {"return x - mean": "return x - 2 * mean"}, "two.", "两倍。"),
    Misconception("both", {"return x - mean": "return x - 2 * mean", "return order": "return -order"},
                  "both.", "两处。"),
    Misconception("mean_method"'''
    toy = toys.toys(tmp_path, toys.CHECKS.replace('    Misconception("mean_method"', more))
    judge = Judge(toy, "ann", b"secret")
    both = next(m for m in toy.misconceptions if m.key == "both").applied(judge.solution)
    assert {c.key for c in judge.causes(answers(judge, both)).values()} == {"both"}
    two = next(m for m in toy.misconceptions if m.key == "two").applied(judge.solution)
    assert {c.key for c in judge.causes(answers(judge, two)).values()} == {"two"}


@pytest.mark.parametrize(("change", "key"), [("-(x - mean)", "sign"), ("(x - mean)[::-1]", "reversed"),
                                         ("3 * (x - mean)", "factor"), ("(x - mean)[:, None]", "reshaped")])
def test_generic_causes(judge, change, key):
    text = judge.solution.replace("return x - mean", f"return {change}")
    assert judge.causes(answers(judge, text))["centred"].key == key


def test_generic_causes_tell_no_number_of_a_hidden_test(judge):
    number = "3.25"
    for change, key in ((f"{number} * (x - mean)", "factor"), (f"x - mean + {number}", "offset")):
        found = judge.causes(answers(judge, judge.solution.replace("return x - mean", f"return {change}")))
        assert found["centred"].key == found["parts"].key == key
        assert number in found["centred"].en
        assert number not in found["parts"].en + found["parts"].zh


def test_generic_causes_name_the_input(judge):
    found = judge.causes(answers(judge, judge.solution.replace("return order", "return x")))["ranks"]
    assert (found.key, found.en, found.zh) == ("unchanged", "it is the input x, unchanged",
                                               "它就是输入 x ，没有变")


def test_a_reference_that_fails_is_the_assignments_fault(tmp_path):
    toy = toys.toys(tmp_path, solution=toys.SOLUTION.replace("return order", "return order[99]"))
    with pytest.raises(AssignmentError, match="01_toys, test ranks: the reference raises IndexError"):
        Judge(toy, "ann", b"secret").want("ranks", 0)


def test_a_wrong_version_that_never_ends_does_not_hold_up_the_judge(tmp_path):
    toy = toys.toys(tmp_path, toys.CHECKS.replace('"return x"}', '"while True: pass"}'),
                    toys.TOML.replace("seconds = 2.0", "seconds = 0.1"))
    judge = Judge(toy, "ann", b"secret")
    text = judge.solution.replace("x.sum() / x.size", "x.sum()")
    assert judge.causes(answers(judge, text))["centred"].key == "sum_only"
