"""Hostile submissions, graded end to end.

No point that was not earned, no file, process or packet left, the next submission untouched, and a report
that says what happened and harms nobody who reads it.

As root every attack is tried as root and as an ordinary user; an ordinary user tries it as such. A set of
layers other than all is tried with those attacks that some layer stops, and some others.
"""

import os
import sys

import pytest

from tests.classroom.attacks.attack import Attack
from tests.classroom.attacks.harness import harness
from tests.classroom.attacks.suite import BY_NAME, GROUPS, SETS, here, problems, wall

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no sandbox on Windows itself")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
# What does not depend on whose account it is.
SAME = ("Numbers", "The file itself", "The report's readers", "Tests that are graded", "Points for speed",
        "Triton kernels", "The wire", "Memory, time, output")
SLOW = ("Tests that are graded", "Points for speed", "Triton kernels", "Memory, time, output")


def cells():
    """(group, as an ordinary user, name of a set of layers)."""
    for group, attacks in GROUPS.items():
        slow = pytest.mark.slow if group in SLOW else ()
        yield pytest.param(group, False, "all", marks=slow, id=f"{group}-all")
        if ROOT and group not in SAME:
            yield pytest.param(group, True, "all", marks=slow, id=f"{group}-all-ordinary")
        if any(attack.stopped_by for attack in attacks) and sys.platform == "linux":
            for layers in list(SETS)[1:]:
                marks = slow if layers == "no Landlock" else pytest.mark.slow
                yield pytest.param(group, True, layers, marks=marks, id=f"{group}-{layers}-ordinary")


@pytest.mark.parametrize(("group", "ordinary", "layers"), list(cells()))
def test_attacks(group, ordinary, layers):
    attacks = [a for a in GROUPS[group] if here(a) and (layers == "all" or a.stopped_by or a.always)]
    if not attacks:
        pytest.skip("nothing of this can be tried here")
    wrong = []
    with harness(ordinary) as ask:
        for attack in attacks:
            each = layers == "all" and not (ordinary and ROOT)  # a right one after each, or at the end
            found = ask(attack.name, SETS[layers], each or attack is attacks[-1])
            wrong += [f"{attack.name}: {problem}" for problem in problems(attack, found)]
    assert not wrong, "\n".join(wrong)


def test_there_are_enough():
    attacks = [a for group in GROUPS.values() for a in group]
    assert len(BY_NAME) == len(attacks) >= 50
    assert all(a.tries and a.wanted[0] <= a.wanted[1] for a in attacks)


def graded(**change):
    """What the harness says of a wrong answer that gained nothing."""
    test = {"name": "t", "score": 0, "points": 100, "kind": "wrong", "en": "is wrong", "zh": "不对"} | change
    report = {"tests": [test], "layers": ["process"], "state": "graded", "printed": change.get("printed", "")}
    nothing = {"left": [], "packets": [], "processes": [], "readers": []}
    return {"report": report, "seconds": 1.0, "next": 100} | nothing


STOPPED = Attack("a", "tries", "", says="is wrong", says_zh="不对")


@pytest.mark.parametrize(("change", "said"), [
    ({"left": ["x"]}, "it left"), ({"packets": ["5 bytes"]}, "it sent"),
    ({"processes": ["5 S"]}, "it goes on"), ({"readers": ["en: escape"]}, "escape"),
    ({"seconds": 100.0}, "it took"), ({"next": 90, "next_says": []}, "next"),
    ({"raised": "ValueError"}, "grading raised"), (graded(score=5.0), "5.0 points"),
    (graded(kind="passed"), "passed"), (graded(en="is right"), "nothing says"),
    (graded(zh="正确"), "nothing says"), (graded(printed="GOT a secret\n"), "it got a secret"),
])
def test_a_problem_is_seen(change, said):
    assert problems(STOPPED, graded()) == []
    assert said in " ".join(problems(STOPPED, graded() | change))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere not every attack is possible")
def test_an_attack_that_nothing_stops_must_succeed():
    attack = Attack("a", "tries", "", stopped_by=("landlock",))
    assert not wall(attack, ["process"])
    assert "it is no attack" in problems(attack, graded())[0]
    assert problems(attack, graded(printed="GOT it\n")) == []
