"""What newcomers write: the checks of the lessons name the mistake, in words that need no other."""

import ast
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from minillm.course.checks import check
from minillm.course.exercise import Exercise, load_exercises
from minillm.course.names import binds, uses
from minillm.course.percent import parse
from minillm.course.stage_hands import without_stage_hands
from minillm.course.student import load_function
from minillm.formulas import adam_step, sigmoid

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


def one_axis_or_two(f, x, h=1e-5):
    grad = np.zeros_like(x)
    if x.ndim == 1:
        for i in range(len(x)):
            up, down = x.copy(), x.copy()
            up[i] += h
            down[i] -= h
            grad[i] = (f(up) - f(down)) / (2 * h)
    else:
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                up, down = x.copy(), x.copy()
                up[i, j] += h
                down[i, j] -= h
                grad[i, j] = (f(up) - f(down)) / (2 * h)
    return grad


def one_axis_or_two_unpacked(f, x, h=1e-5):
    if x.ndim == 1:
        return one_axis_or_two(f, x, h)
    rows, columns = x.shape
    return one_axis_or_two(f, x, h).reshape(rows, columns)


def one_axis_or_two_alone(f, x, h=1e-5):
    return one_axis_or_two(f, x, h) if x.ndim in (1, 2) else np.zeros_like(x)


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


def two_inputs_followed(root):
    order, done, stack = [], set(), [root]
    while stack:
        v = stack[-1]
        waiting = [u for u in v.inputs[:2] if u not in done]
        if waiting:
            stack.append(waiting[0])
        else:
            stack.pop()
            if v not in done:
                done.add(v)
                order.append(v)
    return order


def two_inputs_passed_on(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for k in range(min(2, len(v.inputs))):
            v.inputs[k].grad += v.grad * v.local[k]


def one_axis_in_front(g, shape):
    if shape == ():
        return np.sum(g)
    if g.ndim > len(shape):
        g = np.sum(g, axis=0)
    ones = tuple(i for i in range(len(shape)) if shape[i] == 1)
    return np.sum(g, axis=ones, keepdims=True) if ones else g


def one_stretched_axis(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    if 1 in shape:
        g = g.sum(axis=shape.index(1), keepdims=True)
    return g


def first_and_last_axis(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    if shape and shape[0] == 1:
        g = g.sum(axis=0, keepdims=True)
    if shape and shape[-1] == 1:
        g = g.sum(axis=-1, keepdims=True)
    return g


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


def attention_with_a_finite_mask(Q, K, V):
    a = Q @ K.T / np.sqrt(Q.shape[1])
    a = np.where(np.tril(np.ones(a.shape, bool)), a, -1e4)
    e = np.exp(a - np.max(a, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True) @ V


def attention_with_a_finite_mask_added(Q, K, V):
    T = len(Q)
    a = Q @ K.T / np.sqrt(Q.shape[1]) + (1 - np.tril(np.ones((T, T)))) * -1e4
    e = np.exp(a - np.max(a, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True) @ V


def nucleus_from_the_right(p, top_p):
    order = np.argsort(-p)
    count = np.searchsorted(np.cumsum(p[order]), top_p, side="right") + 1
    result = np.zeros_like(p)
    result[order[:count]] = p[order[:count]]
    return result / result.sum()


def nucleus_up_to_and_with(p, top_p):
    order = np.argsort(-p)
    kept = order[np.cumsum(p[order]) - p[order] <= top_p]
    result = np.zeros_like(p)
    result[kept] = p[kept]
    return result / result.sum()


def rms_norm_with_its_own_eps(x, gain, eps=1e-5):
    return gain * x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5)


def softmax_from_a_column(column):
    def softmax(x):
        e = np.exp(x - x[:, [column]])
        return e / e.sum(axis=1, keepdims=True)
    return softmax


def averages_at_once(gs, beta):
    t = np.arange(1, len(gs) + 1).reshape((-1,) + (1,) * (gs.ndim - 1))
    weighted = np.cumsum(gs / beta**t, axis=0)
    return (1 - beta) * beta**t * weighted / (1 - beta**t)


def adam(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    return adam_step(theta, g, m, v, t, alpha=alpha, beta1=beta1, beta2=beta2, eps=eps)


def adamw_calling(call):
    def adamw_step(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
        return call(theta - alpha * lam * theta, g, m, v, t, alpha, beta1, beta2, eps)
    return adamw_step


def first_low_is_a_hundred(losses, patience):
    best_loss, best, wait = 100.0, 0, 0
    for i, loss in enumerate(losses):
        if loss < best_loss:
            best_loss, best, wait = loss, i, 0
        else:
            wait += 1
        if wait == patience:
            return best, i
    return best, len(losses) - 1


def last_of_the_loop(losses, patience):
    best, since = 0, 0
    for i in range(1, len(losses)):
        since += 1
        if losses[i] < losses[best]:
            best, since = i, 0
        if since == patience:
            break
    return best, i


def share_of_small_letters(train, validation, n):
    train, validation = train.lower(), validation.lower()
    windows = [validation[i:i + n] for i in range(len(validation) - n + 1)]
    return np.mean([window in train for window in windows])


def share_from_the_second_window(train, validation, n):
    known = {train[i:i + n] for i in range(1, len(train) - n + 1)}
    windows = [validation[i:i + n] for i in range(len(validation) - n + 1)]
    return np.mean([window in known for window in windows])


def attention_less(shift):
    def attend_one(q, K, V):
        a = K @ q / np.sqrt(len(q))
        e = np.exp(a - shift(a))
        return e @ V / e.sum()
    return attend_one


def attention_cut_off(q, K, V):
    e = np.exp(np.minimum(K @ q / np.sqrt(len(q)), 700))
    return e @ V / e.sum()


def attention_clipped(q, K, V):
    e = np.exp(np.clip(K @ q / np.sqrt(len(q)), -700, 700))
    return e @ V / e.sum()


def tiles_from_a_thousand_below(q, K, V, tile):
    m, l, o = -1000.0, 0.0, 0.0
    for start in range(0, len(K), tile):
        a = K[start:start + tile] @ q / np.sqrt(len(q))
        new = max(m, a.max())
        e = np.exp(a - new)
        l, o, m = l * np.exp(m - new) + e.sum(), o * np.exp(m - new) + e @ V[start:start + tile], new
    return o / l


def merge_by(rank):
    """Merge what `rank(pair, place, ranks)` puts first; None leaves a pair out."""
    def merge_all(pieces, ranks):
        pieces = list(pieces)
        while True:
            keys = [(rank(pair, i, ranks), i) for i, pair in enumerate(pairwise(pieces))]
            keys = [(key, i) for key, i in keys if key is not None]
            if not keys:
                return pieces
            _, i = min(keys)
            pieces[i:i + 2] = ["".join(pieces[i:i + 2])]
    return merge_all


def rank_of_text(pair, place, ranks):
    return {"".join(known): rank for known, rank in ranks.items()}.get("".join(pair))


def rank_and_letters(pair, place, ranks):
    return (ranks[pair], pair) if pair in ranks else None


def rank_below_a_thousand(pair, place, ranks):
    rank = ranks.get(pair, 1000)
    return rank if rank < 1000 else None


def nucleus_by_argmax(p, top_p):
    order = np.argsort(p)[::-1]
    count = np.argmax(np.cumsum(p[order]) >= top_p) + 1
    result = np.zeros(len(p))
    result[order[:count]] = p[order[:count]] / p[order[:count]].sum()
    return result


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
    ("03", "numeric_gradient", same_array_by_row, "aliased_by_row", "make no copies"),
    ("03", "numeric_gradient", same_array, "aliased", "makes no copy"),
    ("01", "numerical_gradient", one_axis_or_two, "one_axis_or_two", "none and three"),
    ("01", "numerical_gradient", one_axis_or_two_unpacked, "one_axis_or_two_exactly", "none and three"),
    ("01", "numerical_gradient", one_axis_or_two_alone, "one_axis_or_two_else_zeros", "none and three"),
    ("03", "numeric_gradient", one_axis_or_two, "one_axis_or_two", "none and three"),
    ("03", "numeric_gradient", one_axis_or_two_unpacked, "one_axis_or_two_exactly", "none and three"),
    ("03", "numeric_gradient", one_axis_or_two_alone, "one_axis_or_two_else_zeros", "none and three"),
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
    ("01", "topological_order", two_inputs_followed, "first_two", "any number"),
    ("01", "backward", two_inputs_passed_on, "first_two", "any number"),
    ("01", "unbroadcast", one_axis_in_front, "one_in_front", "several"),
    ("01", "unbroadcast", one_stretched_axis, "one_stretched", "shape.index(1)"),
    ("01", "unbroadcast", first_and_last_axis, "ends_only", "one in between"),
    ("01", "unbroadcast", mean_for_sum, "averaged", "the chain rule has their sum"),
    ("01", "unbroadcast", lambda g, shape: g.mean(axis=tuple(range(g.ndim - len(shape)))), "mean_in_front",
     "g.sum"),
    ("02", "softmax", lambda x: np.exp(x - x.max(axis=1)) / np.exp(x).sum(axis=1), "keepdims",
     "keepdims=True"),
    ("02", "softmax", softmax_from_a_column(0), "first_column", "x.max(axis=1"),
    ("02", "softmax", softmax_from_a_column(-1), "last_column", "x.max(axis=1"),
    ("03", "numeric_gradient", rows_for_elements, "first_axis", "np.ndindex"),
    ("03", "step_limit", lambda A: np.linalg.eigvalsh(A)[-1], "curvature", "2 divided by it"),
    ("03", "step_limit", lambda A: 2 / np.linalg.eig(A)[0][0], "first_of_eig", "in no order"),
    ("03", "step_limit", lambda A: 2 / np.linalg.eigvals(A)[-1], "last_of_eig", "in no order"),
    ("03", "step_limit", lambda A: 2 / np.linalg.eig(A)[0], "all_unsorted", "a limit for each direction"),
    ("03", "step_limit", np.linalg.eigvalsh, "curvatures", "take the largest"),
    ("03", "momentum_step", lambda theta, g, u, alpha, mu: theta - alpha * (mu * u + g), "only_theta",
     "`return theta, u`"),
    ("04", "adam_step", adam_without_parentheses, "eps_last", "parentheses are missing"),
    ("04", "corrected_averages", averages_at_once, "divided_by_beta", "beta may be 0"),
    ("04", "adamw_step", adamw_calling(lambda *a: adam(*a[:5])), "default_rate", "took its default"),
    ("04", "adamw_step", adamw_calling(lambda *a: adam(*a[:6])), "default_betas_and_eps",
     "took its defaults"),
    ("04", "adamw_step", adamw_calling(lambda *a: adam(*a[:8])), "default_eps", "took its defaults"),
    ("05", "early_stop", first_low_is_a_hundred, "low_start", "np.inf"),
    ("05", "early_stop", last_of_the_loop, "two_measurements", "single measurement"),
    ("05", "seen_share", share_of_small_letters, "lower_case", "as they are"),
    ("05", "seen_share", share_from_the_second_window, "first_of_train", "begin at 0"),
    ("05", "soft_threshold", lambda theta, t: theta / abs(theta) * np.maximum(abs(theta) - t, 0),
     "divided_by_size", "np.sign"),
    ("05", "soft_threshold", lambda theta, t: theta * np.maximum(1 - t / abs(theta), 0), "share_of_size",
     "where both are 0"),
    ("05", "early_stop", never_runs_out, "without_end", "nothing is returned"),
    ("05", "soft_threshold", lambda theta, t: theta - t if theta > t else 0, "asked_of_all", "np.where"),
    ("06", "embedding_gradient", counted_by_token, "indexed_by_token", "dE[ids[n]] += g[n]"),
    ("06", "lstm_cell", gates_along_the_batch, "cut_along_the_batch", "axis=-1"),
    ("06", "lstm_cell", gate_times_matrix, "f_at_c", "f * c"),
    ("07", "causal_attention", axis_not_kept, "axis_not_kept", "one for each row"),
    ("07", "attend_one", attention_less(lambda a: a[0]), "first_score", "a.max()"),
    ("07", "attend_one", attention_less(lambda a: a[-1]), "last_score", "a.max()"),
    ("07", "attend_one", attention_less(lambda a: max(abs(a))), "largest_size", "a.max()"),
    ("07", "attend_one", attention_less(lambda a: max(0, *a)), "not_below_zero", "a.max()"),
    ("07", "attend_one", attention_cut_off, "capped", "become equal"),
    ("07", "attend_one", attention_clipped, "clipped", "become equal"),
    ("07", "tiled_attention", tiles_from_a_thousand_below, "from_low", "-np.inf"),
    ("07", "causal_attention", attention_with_a_finite_mask, "filled_-10000", "-np.inf"),
    ("07", "causal_attention", attention_with_a_finite_mask_added, "lowered_10000", "-np.inf"),
    ("17", "merge_all", merge_by(rank_of_text), "by_text", "(left, right)"),
    ("17", "merge_all", merge_by(rank_and_letters), "tie_by_letters", "leftmost"),
    ("17", "merge_all", merge_by(rank_below_a_thousand), "largest_known", 'float("inf")'),
    ("17", "nucleus", nucleus_by_argmax, "first_true", "before < top_p"),
    ("17", "nucleus", nucleus_from_the_right, "exceeded", 'side="left"'),
    ("17", "nucleus", nucleus_up_to_and_with, "exceeded", "before < top_p"),
    ("17", "rms_norm", rms_norm_with_its_own_eps, "own_eps_1e-05", "that you are given"),
    ("17", "rms_norm", lambda x, gain, eps=1e-5: gain * x / np.sqrt(np.mean(x * x, axis=-1) + eps),
     "axis_not_kept", "keepdims=True"),
])
def test_the_mistake_is_named(lesson, name, function, cause, words):
    result = check(exercise(lesson, name), function)
    assert not result.passed
    assert result.cause == cause
    assert words in result.en
    assert "可能的原因：" in result.zh


ONLINE_SOFTMAX = """
import triton
import triton.language as tl


@triton.jit
def online_softmax(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m, s = {start}, 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other={other}).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
@pytest.mark.parametrize(("start", "other", "cause"), [
    ('float("-inf")', 'float("-inf")', ""), ("-100.0", 'float("-inf")', "from_low"),
    ('float("-inf")', "-100.0", "low_beyond"), ("-100.0", "-100.0", "low_throughout")])
def test_a_number_is_no_minus_infinity(tmp_path, start, other, cause):
    online_softmax = exercise("15", "online_softmax")
    file = tmp_path / "lesson.py"
    file.write_text(ONLINE_SOFTMAX.format(start=start, other=other), encoding="utf-8")
    result = check(online_softmax, load_function(file, "online_softmax"))
    assert (result.passed, result.cause or "") == (not cause, cause)


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
    assert "sum, the step" in check(of_two, lambda x: x).en
