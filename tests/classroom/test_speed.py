"""Speed: ratios of times that the grader takes, with answers that are checked each time."""

import time

import numpy as np
import pytest

from minillm.classroom import AssignmentError, Scenario, speed
from minillm.classroom.grade import grade_with
from minillm.classroom.judge import Judge
from minillm.classroom.sandbox import Answer
from minillm.classroom.trusted import TrustedWorker
from tests.classroom import toys

CHECKS = toys.CHECKS.replace('Scenario(numbers, run_ranks, cases=2)',
                             'Scenario(numbers, run_ranks, cases=2, speed=((2.0, 1.0), (6.0, 0.5)))')
SLOW = """
import time
def centred(x):
    return x - x.mean()
def ranks(x):
    time.work({})
    return np.argsort(np.argsort(x))
"""
SOLUTION = toys.SOLUTION.replace("    order =", "    time.work(0.004)\n    order =").replace(
    "import numpy as np\n", "import time\n\nimport numpy as np\n")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An assignment whose functions take their time from a clock of the test's own: no machine is noisy."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "work", lambda seconds: now.__setitem__(0, now[0] + seconds), raising=False)
    return toys.toys(tmp_path, CHECKS, toys.TOML.replace('["numpy"]', '["numpy", "time"]'), SOLUTION)


def grade(toy, text):
    return grade_with(Judge(toy, "ann", b"s"), {toy.file: text.encode()},
                      lambda t, _=(): TrustedWorker(toy, t)).tests[3]


def test_as_quick_as_the_reference_earns_all(toy):
    result = grade(toy, toy.solution().text)
    assert (result.kind, result.score) == ("passed", 30)
    assert result.ratio == 1
    assert "at most 2 times the reference's time" in result.en


def test_slower_earns_a_share_and_much_slower_nothing(toy):
    result = grade(toy, "import numpy as np" + SLOW.format(0.016))
    assert (result.kind, result.score) == ("in_part", 15)
    assert result.ratio == 4
    assert "between 2 and 6 times the reference's time, which earns 50 % of the points" in result.en
    assert "2 到 6 倍，得这项分数的 50%" in result.zh
    result = grade(toy, "import numpy as np" + SLOW.format(0.05))
    assert (result.kind, result.score) == ("slow", 0)
    assert "more than 6 times" in result.en


def test_only_right_answers_are_timed(toy):
    result = grade(toy, "def ranks(x): return x")
    assert (result.kind, result.ratio) == ("wrong", None)


def test_remembered_answers_are_of_no_use(toy):
    """Every repeat has inputs of its own, so what was right in the first cases is wrong in the timed ones."""
    text = ("import numpy as np\nseen = []\ndef ranks(x):\n    seen.append(x)\n    return "
            "np.argsort(np.argsort(x)) if len(seen) <= 2 else np.argsort(np.argsort(seen[0]))\n")
    result = grade(toy, text)
    assert (result.kind, result.score) == ("wrong", 0)
    assert "when it was run again for its time" in result.en


def test_ties_between_repeats_do_not_stop_it(toy):
    judge = Judge(toy, "ann", b"s")
    cases = {judge.inputs("ranks", c)["x"].tobytes() for c in range(20)}
    assert len(cases) == 20


class Clock:
    """Asks that cost what they are told to, of a clock of their own: no machine is noisy here."""

    def __init__(self, judge, costs, monkeypatch):
        self.judge, self.costs, self.now, self.asked = judge, costs, 0.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def ask(self, who):
        def ask(source, inputs):
            self.asked.append(who)
            self.now += 0.01  # what a call costs in itself
            if "student" in source and "np.zeros" in source:
                return Answer("arrays", {})
            self.now += next(self.costs[who])
            x = inputs["x"]
            return Answer("arrays", {"order": np.argsort(np.argsort(x))})
        return ask

    def measure(self, toy, budget=100.0):
        test = next(t for t in toy.tests if t.name == "ranks")
        return speed.measure(self.judge, test, self.ask("student"), self.ask("reference"), budget=budget)


def steady(seconds):
    while True:
        yield seconds


def test_the_cost_of_a_call_is_taken_off(toy, monkeypatch):
    judge = Judge(toy, "ann", b"s")
    timing = Clock(judge, {"student": steady(0.03), "reference": steady(0.01)}, monkeypatch).measure(toy)
    assert timing.ratio == pytest.approx(3)
    assert timing.reference == pytest.approx(0.01)
    assert timing.share == 0.5
    assert timing.repeats == speed.FEWEST


def test_it_repeats_while_the_machine_is_noisy_and_takes_the_lower_quartile(toy, monkeypatch):
    def noisy():
        while True:
            yield from (0.015, 0.03, 0.018, 0.027)

    clock = Clock(Judge(toy, "ann", b"s"), {"student": noisy(), "reference": steady(0.01)}, monkeypatch)
    timing = clock.measure(toy)
    assert timing.repeats == speed.MOST
    assert timing.ratio < 2
    assert timing.share == 1
    clock = Clock(Judge(toy, "ann", b"s"), {"student": noisy(), "reference": steady(0.01)}, monkeypatch)
    assert clock.measure(toy, budget=0.2).repeats == speed.FEWEST


def test_one_slow_moment_counts_for_nothing(toy, monkeypatch):
    def once():
        yield 0.01
        yield 5.0
        yield from steady(0.01)

    clock = Clock(Judge(toy, "ann", b"s"), {"student": once(), "reference": steady(0.01)}, monkeypatch)
    assert clock.measure(toy).ratio == pytest.approx(1)


def test_they_go_turn_about(toy, monkeypatch):
    clock = Clock(Judge(toy, "ann", b"s"), {"student": steady(0.01), "reference": steady(0.01)}, monkeypatch)
    clock.measure(toy)
    pairs = [tuple(clock.asked[i:i + 2]) for i in range(0, len(clock.asked), 3)]
    assert pairs[0] == ("student", "reference")
    assert pairs[1] == ("reference", "student")
    assert len(pairs) == speed.FEWEST + 1


def test_a_reference_that_fails_is_the_assignments_fault(toy):
    judge = Judge(toy, "ann", b"s")
    test = next(t for t in toy.tests if t.name == "ranks")

    def right(source, inputs):
        return Answer("arrays", {"order": np.argsort(np.argsort(inputs["x"]))})

    with pytest.raises(AssignmentError, match="the reference's answer in the sandbox is not right .crashed"):
        speed.measure(judge, test, right, lambda source, inputs: Answer("crashed"), budget=1.0)


@pytest.mark.parametrize(('ratio', 'share'), [(0.1, 1.0), (1.5, 1.0), (1.51, 0.5), (4.0, 0.5), (4.01, 0.0)])
def test_shares(ratio, share):
    scenario = Scenario(lambda rng: {}, lambda student, inputs: {}, speed=((1.5, 1.0), (4.0, 0.5)))
    assert speed.share(scenario, ratio) == share
