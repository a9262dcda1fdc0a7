"""Tests look at all of an answer: what is wrong in one place, or not there at all, is seen."""

import sys
import time

import numpy as np
import pytest

from minillm.classroom import find_assignment
from minillm.classroom.judge import Judge


def faults(assignment, name, text):
    """What is wrong with a text in each case of a test."""
    judge = Judge(assignment, "ann", b"s")
    test = next(t for t in assignment.tests if t.name == name)
    module = assignment.module(text, "tried")
    found = []
    for case in range(assignment.scenarios[name].cases):
        with np.errstate(all="ignore"):
            got = assignment.scenarios[name].run(module, judge.inputs(name, case))
        found.append(judge.fault(test, case, {n: np.asarray(a) for n, a in got.items()}))
    return found


@pytest.mark.parametrize(("slug", "change"), [
    ("02_cross_entropy", """
right = softmax_cross_entropy_grad


def softmax_cross_entropy_grad(logits, labels, *, ignore_index=-100):
    dx = right(logits, labels)
    dx[1:-1] = -dx[1:-1][::-1]
    return dx
"""),
    ("07_attention", """
right = attention


def attention(q, k, v, **options):
    out = right(q, k, v, **options)
    out[0, 3] = -out[0, 3, ::-1]
    return out
"""),
])
def test_a_quick_answer_must_be_right_everywhere(slug, change):
    assignment = find_assignment(slug)
    solution = assignment.solution().text
    assert not any(faults(assignment, "speed", solution))
    assert all(faults(assignment, "speed", solution + change))


def test_a_loop_over_heads_is_too_slow():
    """Fifteen to twenty-five times the reference's time; no points above six."""
    assignment = find_assignment("07_attention")
    scenario, reference = assignment.scenarios["speed"], assignment.reference
    q, k, v = (scenario.inputs(np.random.default_rng(0))[name] for name in "qkv")

    def loop():
        return [[reference.attention(*heads) for heads in zip(*one)] for one in zip(q, k, v)]

    def quickest(function):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
        return min(times)

    assert quickest(loop) > 1.3 * scenario.speed[-1][0] * quickest(lambda: reference.attention(q, k, v))


def test_a_backward_is_seen_in_its_own_arrays():
    """The same directional derivatives can be had from the forward alone."""
    assignment = find_assignment("08_layer_norm")
    scenario = assignment.scenarios["differences"]
    given = scenario.inputs(np.random.default_rng(0))
    found = scenario.run(assignment.reference, given)
    dx, dgamma, dbeta = assignment.reference.layer_norm_backward(given["dy"], given["x"], given["gamma"])
    assert all(np.array_equal(found[n], a) for n, a in (("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)))
    assert set(found) == {"differences", "dx", "dgamma", "dbeta"}


def test_a_write_beyond_the_end_is_seen_without_guards(monkeypatch):
    pytest.importorskip("triton")
    from kernels import guards

    monkeypatch.setattr(guards._Copy, "check", lambda *_: None)
    assignment = find_assignment("11_triton_cross_entropy")
    stray = next(m for m in assignment.misconceptions if m.key == "stray_store")
    for name in ("gradient", "rows_apart", "ignored"):
        assert all(faults(assignment, name, stray.applied(assignment.solution().text))), name


def test_a_raised_recursion_limit_is_no_way_along_a_long_chain():
    tape = find_assignment("01_tape_backward")
    recursive = next(m for m in tape.misconceptions if m.key == "recursive").applied(tape.solution().text)
    for raised in ("import sys\n\nsys.setrecursionlimit(10**6)\n",
                   "import sys\n\n_order = topological_order\n\n\ndef topological_order(root):\n"
                   "    sys.setrecursionlimit(10**6)\n    return _order(root)\n"):
        before = sys.getrecursionlimit(), sys.setrecursionlimit
        try:
            found = faults(tape, "long_chain", recursive + raised)
        finally:
            left, function = sys.getrecursionlimit(), sys.setrecursionlimit
            sys.setrecursionlimit(before[0])
        assert function is before[1]
        assert left in (before[0], 10**6)
        assert all(fault is not None and "nested calls" in fault.en for fault in found)
