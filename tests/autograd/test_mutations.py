"""Mutation tests: known wrong versions of what matters most, each of which the suite must notice.

Every line of MUTANTS names a function, a change of its source (or another function in its place), and
one of the suite's own checks. The check is run as it stands, where it must pass, and on the mutant,
where it must fail. `pytest -v` on this file prints the table.
"""

import ast
import importlib
import importlib.util
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from rule_checks import Case, Row, check_forward_and_backward, check_second_order
from rule_rows import ROWS

from minillm import Tensor, formulas
from minillm.autograd.rules import RULES
from minillm.autograd.tensor import unwrap

TESTS = Path(__file__).resolve().parents[1]


# ---- checks ------------------------------------------------------------------------------------

def rows(*names: str, second_order: bool = False) -> Callable[[], None]:
    """The factory of test_rules.py on some of its rows, without the search for a smaller example."""
    check = check_second_order if second_order else check_forward_and_backward
    quick = settings(deadline=None, max_examples=60, phases=[Phase.generate], database=None, derandomize=True,
                     report_multiple_bugs=False, suppress_health_check=list(HealthCheck))

    def run() -> None:
        for row in ROWS:
            if row.name in names:
                quick(given(row.cases)(of(row)))()

    def of(row: Row) -> Callable[[Case], None]:
        return lambda case: check(row, case)

    return run


def suite(path: str, **arguments: object) -> Callable[[], None]:
    """A test of the suite, from its file, which is read anew so that it imports the mutant."""

    def run() -> None:
        file, _, name = path.partition("::")
        spec = importlib.util.spec_from_file_location(f"mutated_{Path(file).stem}", TESTS / file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        getattr(module, name)(**arguments)

    return run


def adam_equals_its_formula() -> None:
    from minillm.optim import Adam
    p = Tensor(np.array([1.0, -2.0, 3.0]), requires_grad=True)
    optimizer = Adam([p], lr=0.1)
    theta, m, v = p.data.copy(), np.zeros(3), np.zeros(3)
    for t in (1, 2, 3):
        g = np.array([0.5, -1.0, 2.0]) * t
        p.grad = g.copy()
        optimizer.step()
        theta, m, v = formulas.adam_step(theta, g, m, v, t, alpha=0.1)
        np.testing.assert_array_equal(p.data, theta)


# ---- mutants -----------------------------------------------------------------------------------

def depth_first_preorder(root, stop=()):
    """A node before its inputs, as it is found, turned round: right for trees only."""
    order, seen, stack = [], set(), [root]
    while stack:
        t = stack.pop()
        if t.op is not None and id(t) not in seen:
            seen.add(id(t))
            order.append(t)
            stack += [a for a in t.args if isinstance(a, Tensor)]
    return order[::-1]


def breadth_first(root, stop=()):
    order, seen = [root], {id(root)}
    for t in order:
        for a in t.args:
            if isinstance(a, Tensor) and a.op is not None and id(a) not in seen:
                seen.add(id(a))
                order.append(a)
    return order[::-1]


@dataclass(frozen=True)
class Mutant:
    """`target` is module:function, or np.name for a row of RULES; `change` is (old, new) source, or
    what stands in the function's place."""

    name: str
    target: str
    change: object
    check: Callable[[], None]
    noticed_by: type[Exception] = AssertionError  # a mutant that merely crashes is no mutant


RIGHT_VAR = RULES[np.var][0]
BROADCAST = rows("add", "multiply", "where")
SUM_OF_USES = suite("autograd/test_walk.py::test_a_gradient_is_the_sum_over_all_uses")
OWNED = suite("autograd/test_walk.py::test_gradients_share_no_memory", f=lambda a, b: a + b)
WALK, INDEX = "minillm.autograd.walk:", "minillm.autograd.rules.indexing:"
CE = "minillm.autograd.fused.softmax_cross_entropy:"
ADAM = "minillm.formulas.optimizers:adam_step"
BY_HAND, FIRST_STEP, TORCH = (suite(f"formulas/test_optimizers.py::{n}") for n in (
    "test_adam_by_hand", "test_the_first_step_of_adam_is_alpha_whatever_the_scale",
    "test_adam_against_torch"))

MUTANTS = [
    Mutant("unbroadcast: nothing is summed", WALK + "unbroadcast", lambda g, like: g, BROADCAST),
    Mutant("unbroadcast: new axes are not summed", WALK + "unbroadcast", ("if extra > 0", "if False"),
           BROADCAST),
    Mutant("unbroadcast: stretched axes are not summed", WALK + "unbroadcast", ("if stretched", "if False"),
           BROADCAST),
    Mutant("unbroadcast: stretched axes are dropped", WALK + "unbroadcast", (", keepdims=True", ""),
           BROADCAST),
    Mutant("unbroadcast: the first element for the sum", WALK + "unbroadcast",
           ("np.add.reduce(g, axis=stretched, keepdims=True)",
            "g[tuple(slice(0, 1) if i in stretched else slice(None) for i in range(g.ndim))]"), BROADCAST),
    Mutant("unbroadcast: the dtype stays promoted", WALK + "unbroadcast", ("g.dtype == like.dtype", "True"),
           BROADCAST),
    Mutant("order: depth-first preorder", WALK + "topological_order", depth_first_preorder, SUM_OF_USES),
    Mutant("order: breadth first", WALK + "topological_order", breadth_first, SUM_OF_USES),
    Mutant("order: depth-first preorder, as such", WALK + "topological_order", depth_first_preorder,
           suite("autograd/test_walk.py::test_order_puts_inputs_first")),
    Mutant("order: the root comes first", WALK + "topological_order", ("return order", "return order[::-1]"),
           suite("autograd/test_walk.py::test_order_puts_inputs_first")),
    Mutant("accumulation: = for +=", WALK + "backward_pass",
           ("grads[key] = grads[key] + d", "grads[key] = d"), SUM_OF_USES),
    Mutant("accumulation: = for += on the third use", WALK + "backward_pass",
           ("np.add(grads[key], d, out=grads[key])", "grads[key] = d"), SUM_OF_USES),
    Mutant("accumulation: in place, into what others hold", WALK + "backward_pass",
           ("elif key in mine", "elif d.ndim"),
           suite("autograd/test_walk.py::test_a_sum_is_not_made_in_an_array_that_others_hold")),
    Mutant("accumulation: a leaf's gradient is not its own", WALK + "backward_pass",
           ("d = d.copy()", "pass"), OWNED),
    Mutant("accumulation: backward forgets the gradient before", WALK + "backward",
           ("d if leaf.grad is None else leaf.grad + d", "d"),
           suite("autograd/test_walk.py::test_backward_adds_to_what_is_there")),
    Mutant("scatter: assignment for addition", INDEX + "scatter_add",
           ("np.add.at(out, index, g)", "out[index] = g"),
           suite("autograd/test_rules_by_hand.py::test_reading_an_element_twice_counts_twice")),
    Mutant("scatter: assignment for addition, found by drawing", INDEX + "scatter_add",
           ("np.add.at(out, index, g)", "out[index] = g"), rows("getitem", "take_along_axis")),
    Mutant("scatter: rows assigned", INDEX + "_add_rows",
           ("out[ordered[starts]] = np.add.reduceat(g.reshape(flat.size, -1)[order], starts, axis=0)",
            "out[flat] = g.reshape(flat.size, -1)"),
           suite("autograd/test_embedding.py::test_equals_the_one_hot_product")),
    Mutant("scatter: row numbers in their own few bits", INDEX + "_add_rows", (".astype(np.intp)", ""),
           suite("autograd/test_embedding.py::test_ids_of_few_bits_and_a_large_vocabulary"), OverflowError),
    Mutant("rule: tanh' = 1 - y", "np.tanh", (lambda g, y, x: g * (1 - y),), rows("tanh")),
    Mutant("rule: tanh' from the array, so without a second derivative", "np.tanh",
           (lambda g, y, x: g * (1 - unwrap(y) ** 2),), rows("tanh", second_order=True)),
    Mutant("rule: both equals of a maximum get all", "np.maximum",
           (lambda g, y, a, b: g * (a >= b), lambda g, y, a, b: g * (b >= a)),
           suite("autograd/test_rules_by_hand.py::test_at_kinks_ties_and_zeros", f=np.maximum,
                 values=[[2.0], [2.0]], expected=[[0.5], [0.5]])),
    Mutant("rule: var' without ddof", "np.var",
           (lambda g, y, x, axis=None, ddof=0, keepdims=False: RIGHT_VAR(g, y, x, axis, 0, keepdims),),
           rows("var")),
    Mutant("cross-entropy: the maximum is not subtracted", CE + "_fused.forward",
           ("np.maximum.reduce(x, axis=1, keepdims=True)", "0"),
           suite("autograd/test_softmax_cross_entropy.py::test_huge_logits", size=1e4, dtype=np.float64,
                 smoothing=0.0)),
    Mutant("cross-entropy: ignored labels count in N", CE + "_fused.forward",
           ("mean(losses)", "losses.sum() / labels.size"),
           suite("autograd/test_softmax_cross_entropy.py::test_ignored_rows_may_hold_anything", bad=1.0,
                 op=importlib.import_module(CE[:-1]).softmax_cross_entropy, ignore_index=-100)),
    Mutant("cross-entropy: the gradient is p", CE + "_fused.forward",
           ("-= (1 - label_smoothing) / n", "-= 0"),
           suite("autograd/test_softmax_cross_entropy.py::test_the_gradient_is_p_minus_y")),
    Mutant("cross-entropy: the layout of the logits is trusted", CE + "_fused.forward",
           (', order="C")', ")"),
           suite("autograd/test_softmax_cross_entropy.py::test_minus_infinity_is_an_absent_class", masked=[0],
                 smoothing=0.0)),
    Mutant("Adam: m is not corrected", ADAM, ("m / (1 - beta1**t)", "m"), BY_HAND),
    Mutant("Adam: v is not corrected", ADAM, ("v / (1 - beta2**t)", "v"), BY_HAND),
    Mutant("Adam: neither is corrected", ADAM,
           ("m_hat = m / (1 - beta1**t)\n    v_hat = v / (1 - beta2**t)",
                                               "m_hat, v_hat = m, v"), FIRST_STEP),
    Mutant("Adam: corrected by the same beta", ADAM, ("1 - beta2**t", "1 - beta1**t"), TORCH),
    Mutant("Adam: steps counted from 2", ADAM, ("beta1**t", "beta1**(t + 1)"), FIRST_STEP),
    Mutant("Adam: epsilon inside the root", ADAM, ("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)"),
           suite("formulas/test_optimizers.py::test_epsilon_stands_outside_the_root")),
    Mutant("optim.Adam: m is not corrected", "minillm.optim.optimizers:Adam._update",
           ("np.divide(m, 1 - beta1**t, out=b)", "np.copyto(b, m)"), adam_equals_its_formula),
    Mutant("optim.Adam: v is not corrected", "minillm.optim.optimizers:Adam._update",
           ("np.divide(v, 1 - beta2**t, out=a)", "np.copyto(a, v)"), adam_equals_its_formula),
]


def mutate(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """Put the mutant in the original's place, until the test ends."""
    if mutant.target.startswith("np."):
        monkeypatch.setitem(RULES, getattr(np, mutant.target[3:]), mutant.change)
        return
    module_name, _, path = mutant.target.partition(":")
    module = importlib.import_module(module_name)
    *outer, name = path.split(".")
    owner = getattr(module, outer[0]) if outer else module
    new = mutant.change
    if isinstance(new, tuple):
        source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
        assert source.count(new[0]) == 1, f"{mutant.target} has changed; {new[0]!r} is not in it exactly once"
        tree = ast.parse(source.replace(*new))
        tree.body[0].decorator_list = []
        scope: dict[str, object] = {}
        exec(compile(tree, f"<{mutant.name}>", "exec"), module.__dict__, scope)
        new = scope[name]
    monkeypatch.setattr(owner, name, new)
    if hasattr(formulas, name) and owner.__name__.startswith("minillm.formulas"):
        monkeypatch.setattr(formulas, name, new)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_noticed(mutant, monkeypatch):
    mutant.check()
    mutate(monkeypatch, mutant)
    with np.errstate(all="ignore"), pytest.raises(mutant.noticed_by):
        mutant.check()
