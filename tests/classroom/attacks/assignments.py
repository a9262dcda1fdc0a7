"""The assignments that are attacked: the package's own, some with shorter limits or fewer wrong versions."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache

from minillm.classroom import Assignment, Limits, find_assignment

TESTS = ("first_step", "options", "inputs_kept")
FEW = ("v_uncorrected", "moments_in_place", "returns_nothing", "by_differences")
HAS_TRITON = importlib.util.find_spec("triton") is not None


@cache
def assignment(key: str) -> Assignment:
    """One of them: whole, adam (three tests of it), quick (0.5 s a case), roomy (one test, little memory),
    tests, tests_quick, speed, triton, triton_quick.
    """
    if key == "whole":
        return find_assignment("04_adam")
    if key == "adam":  # a worker that dies at each test is started anew for the next
        found = assignment("whole")
        return replace(found, tests=tuple(t for t in found.tests if t.name in TESTS))
    if key == "quick":
        return replace(assignment("adam"), limits=Limits(seconds=0.5))
    if key == "roomy":
        found = assignment("adam")
        return replace(found, tests=found.tests[:1], limits=Limits(seconds=10.0, memory_mb=400))
    if key == "tests":  # three wrong versions and a right one: each is shown twice, in processes of its own
        whole = find_assignment("12_test_adam")
        found = replace(whole, limits=Limits(seconds=1.0))
        found.__dict__["misconceptions"] = tuple(m for m in whole.misconceptions if m.key in FEW)
        return found
    if key == "tests_quick":
        found = replace(assignment("tests"), limits=Limits(seconds=0.5))
        found.__dict__["misconceptions"] = assignment("tests").misconceptions
        return found
    if key == "speed":
        return find_assignment("02_cross_entropy")
    found = find_assignment("11_triton_cross_entropy")
    return found if key == "triton" else replace(found, limits=replace(found.limits, seconds=2.0))
