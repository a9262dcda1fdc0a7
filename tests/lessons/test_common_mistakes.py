"""What newcomers write: the checks of the lessons name the mistake, in words that need no other."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from minillm.course.checks import check
from minillm.course.exercise import Exercise, load_exercises
from minillm.course.names import binds, uses
from minillm.course.percent import parse
from minillm.course.stage_hands import without_stage_hands
from minillm.formulas import sigmoid

LESSONS = Path(__file__).parents[2] / "lessons"


def exercise(lesson: str, name: str) -> Exercise:
    (folder,) = LESSONS.glob(f"{lesson}_*")
    return load_exercises(folder / "checks.py")[name]


# ---- lesson 01 ---------------------------------------------------------------------------------------------


def moved_together(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def rows_for_elements(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in range(len(x)):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def same_array(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x, x
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def written_into_x(f, x, h=1e-5):
    grad = x
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def divided_and_multiplied(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / 2 * h
    return grad


def same_array_by_row(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in range(len(x)):
        xp = x
        xm = x
        xp[i] = xp[i] + h
        xm[i] = xm[i] - h
        grad[i] = (f(xp) - f(xm)) / (2 * h)
    return grad


def divided_and_multiplied_by_number(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / 2 * h
    return grad


def same_array_in_turn(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up = x
        up[i] += h
        above = f(up)
        down = x
        down[i] -= h
        grad[i] = (above - f(down)) / (2 * h)
    return grad


def difference_without_parentheses(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = f(up) - f(down) / (2 * h)
    return grad


def marked_on_opening_alone(root):
    order, opened, stack = [], set(), [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
            continue
        opened.add(v)
        stack.append((v, True))
        for u in v.inputs:
            if u not in opened:
                stack.append((u, False))
    return order


def recursive(root):
    order, seen = [], set()

    def visit(v):
        if v not in seen:
            seen.add(v)
            for u in v.inputs:
                visit(u)
            order.append(v)

    visit(root)
    return order


def with_a_higher_limit(root):
    sys.setrecursionlimit(10**6)
    return recursive(root)


raise_limit = sys.setrecursionlimit  # as `from sys import setrecursionlimit` does


def with_a_higher_limit_by_another_name(root):
    raise_limit(10**6)
    return recursive(root)


def every_path(root):
    order = []

    def visit(v):
        for u in v.inputs:
            visit(u)
        order.append(v)

    visit(root)
    return order


def no_list(root):
    return reversed([root])


def pulled(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs, v.local, strict=True):
            v.grad += u.grad * d


def mean_for_sum(g, shape):
    while g.ndim > len(shape):
        g = g.mean(axis=0)
    for i, n in enumerate(shape):
        if n == 1:
            g = g.mean(axis=i, keepdims=True)
    return g


# ---- lessons 02 to 17 --------------------------------------------------------------------------------------


def axis_not_kept(Q, K, V):
    a = np.where(np.tril(np.ones((len(Q), len(Q)), bool)), Q @ K.T / np.sqrt(Q.shape[1]), -np.inf)
    with np.errstate(all="ignore"):
        e = np.exp(a - np.max(a, axis=1))
        return e / np.sum(e, axis=1) @ V


def gates_along_the_batch(x, h, c, W, U, b):
    z_i, z_f, z_g, z_o = np.split(x @ W + h @ U + b, 4)
    return z_i, z_f + z_g + z_o


def gate_times_matrix(x, h, c, W, U, b):
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    c = sigmoid(f) @ c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def adam_without_parentheses(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return theta - alpha * (m / (1 - beta1**t)) / np.sqrt(v / (1 - beta2**t)) + eps, m, v


def never_runs_out(losses, patience):
    best, wait = 0, 0
    for i in range(1, len(losses)):
        best, wait = (i, 0) if losses[i] < losses[best] else (best, wait + 1)
        if wait >= patience:
            return best, i
    return None


def counted_by_token(ids, g, V):
    dE = np.zeros((V, g.shape[1]))
    for v in ids:
        dE[v] += g[v]
    return dE


@pytest.mark.parametrize(("lesson", "name", "function", "cause", "words"), [
    ("01", "numerical_gradient", moved_together, "sum_of_slopes", "the sum of all the derivatives"),
    ("01", "numerical_gradient", rows_for_elements, "first_axis", "np.ndindex"),
    ("01", "numerical_gradient", same_array, "aliased", "makes no copy"),
    ("01", "numerical_gradient", written_into_x, "into_x", "is written into x"),
    ("01", "numerical_gradient", divided_and_multiplied, "times_h", "`/ (2 * h)`"),
    ("01", "numerical_gradient", divided_and_multiplied_by_number, "times_h_by_number", "`/ (2 * h)`"),
    ("01", "numerical_gradient", same_array_by_row, "aliased_by_row", "make no copies"),
    ("03", "numeric_gradient", same_array_by_row, "aliased", "makes no copy"),
    ("01", "numerical_gradient", same_array_in_turn, "aliased_in_turn", "make no copies"),
    ("01", "numerical_gradient", difference_without_parentheses, "last_divided", "into parentheses"),
    ("01", "topological_order", marked_on_opening_alone, "not_asked_again", "when you take it off the stack"),
    ("01", "topological_order", with_a_higher_limit, "limit_raised", "only moves the wall"),
    ("01", "topological_order", with_a_higher_limit_by_another_name, "limit_raised", "only moves the wall"),
    ("01", "topological_order", recursive, "recursive", "Keep a stack of your own"),
    ("01", "topological_order", every_path, "recursive_every_path", "keep a set"),
    ("01", "topological_order", no_list, "no_list", "has to be a list"),
    ("01", "backward", pulled, "pulled", "u.grad += v.grad * d"),
    ("01", "unbroadcast", lambda g, shape: g.sum(axis=0), "first_axis", "axis 0 is not always the one"),
    ("01", "unbroadcast", mean_for_sum, "averaged", "the chain rule has their sum"),
    ("01", "unbroadcast", lambda g, shape: g.mean(axis=tuple(range(g.ndim - len(shape)))), "mean_in_front",
     "g.sum"),
    ("02", "softmax", lambda x: np.exp(x - x.max(axis=1)) / np.exp(x).sum(axis=1), "keepdims",
     "keepdims=True"),
    ("03", "numeric_gradient", rows_for_elements, "first_axis", "np.ndindex"),
    ("03", "step_limit", lambda A: np.linalg.eigvalsh(A)[-1], "curvature", "2 divided by it"),
    ("03", "step_limit", lambda A: 2 / np.linalg.eig(A)[0][0], "first_of_eig", "in no order"),
    ("03", "step_limit", lambda A: 2 / np.linalg.eigvals(A)[-1], "last_of_eig", "in no order"),
    ("03", "step_limit", lambda A: 2 / np.linalg.eig(A)[0], "all_unsorted", "a limit for each direction"),
    ("03", "step_limit", np.linalg.eigvalsh, "curvatures", "take the largest"),
    ("03", "momentum_step", lambda theta, g, u, alpha, mu: theta - alpha * (mu * u + g), "only_theta",
     "`return theta, u`"),
    ("04", "adam_step", adam_without_parentheses, "eps_last", "parentheses are missing"),
    ("05", "early_stop", never_runs_out, "without_end", "nothing is returned"),
    ("05", "soft_threshold", lambda theta, t: theta - t if theta > t else 0, "asked_of_all", "np.where"),
    ("06", "embedding_gradient", counted_by_token, "indexed_by_token", "dE[ids[n]] += g[n]"),
    ("06", "lstm_cell", gates_along_the_batch, "cut_along_the_batch", "axis=-1"),
    ("06", "lstm_cell", gate_times_matrix, "f_at_c", "f * c"),
    ("07", "causal_attention", axis_not_kept, "axis_not_kept", "one for each row"),
    ("17", "rms_norm", lambda x, gain, eps=1e-5: gain * x / np.sqrt(np.mean(x * x, axis=-1) + eps),
     "axis_not_kept", "keepdims=True"),
])
def test_the_mistake_is_named(lesson, name, function, cause, words):
    result = check(exercise(lesson, name), function)
    assert not result.passed
    assert result.cause == cause
    assert words in result.en
    assert "可能的原因：" in result.zh


@pytest.mark.parametrize("function", [with_a_higher_limit, with_a_higher_limit_by_another_name, recursive])
def test_the_limit_of_nested_calls_is_put_back(function):
    limit = sys.getrecursionlimit()
    check(exercise("01", "topological_order"), function)
    assert sys.getrecursionlimit() == limit
    assert sys.setrecursionlimit is raise_limit


def shown(folder: Path) -> list[ast.stmt]:
    """The statements of a lesson that its readers see, in their order."""
    cells = parse((folder / "lesson.py").read_text("utf-8")).cells
    return [s for c in cells if c.kind == "code" for s in ast.parse(without_stage_hands(c.text)).body]


FOLDERS = sorted(LESSONS.glob("[0-9][0-9]_*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_a_reader_sees_no_says(folder):
    """Those at a cell's top are left out where it is shown; one in a loop would stay."""
    for statement in shown(folder):
        assert "says(" not in ast.unparse(statement)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_a_reader_sees_no_name_without_a_use(folder):
    """Such as `h = 1e-3` of which only `says` made use, left out where the cell is shown."""
    statements = shown(folder)
    anywhere = set().union(*(uses(s) for s in statements if isinstance(s, ast.FunctionDef | ast.ClassDef)))
    for n, statement in enumerate(statements):
        if isinstance(statement, ast.Assign):
            used = anywhere.union(*map(uses, statements[n + 1:]))
            assert binds(statement) & used or not binds(statement), ast.unparse(statement)


def test_a_message_can_be_read_by_itself():
    order = exercise("01", "topological_order")
    result = check(order, lambda root: [root])
    assert result.en.startswith("the number of different Values in your list is 1; it should be 4")
    assert result.zh.startswith("你的表里不同的 Value 的个数是 1，应为 4")
    result = check(exercise("01", "backward"), lambda order: None)
    assert result.en.startswith("x.grad is 0; it should be 16")
    assert result.zh.startswith("x.grad 是 0，应为 16")


def test_numbers_that_differ_look_different():
    result = check(exercise("01", "numerical_gradient"), exercise("03", "numeric_gradient").wrong["own_h"][0])
    assert result.en.startswith("the result[0] is 3; it should be 3.000001.")


def test_an_empty_array_is_no_broadcast():
    result = check(exercise("06", "lstm_cell"), lambda *a: (a[0][:0], a[0]))
    assert result.kind == "shape"
    assert not result.cause


@pytest.mark.parametrize("names", [("order", "the order is sum, the step"), ("zh", "次序应为 sum、步数")])
def test_names_in_two_languages(names):
    of_two = Exercise("two", lambda rng: [(1.0,)], lambda x: (x, 2.5), [("h", "提示")],
                      outputs=("sum", ("the step", "步数")))
    assert names[1] in check(of_two, lambda x: (2.5, x)).message("zh" if names[0] == "zh" else "en")
    assert check(of_two, lambda x: (x, 3.0)).en.startswith("the step is 3; it should be 2.5")
    assert check(of_two, lambda x: (x, 3.0)).zh.startswith("步数是 3，应为 2.5")
    assert "a tuple (sum, the step)" in check(of_two, lambda x: x).en
