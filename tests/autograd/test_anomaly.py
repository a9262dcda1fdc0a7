"""`detect_anomaly`: what it stops at, what it lets pass, and that it gives everything back."""

import gc
import re
import sys
import threading
import warnings

import numpy as np
import pytest

from minillm import formulas
from minillm.autograd import Tensor, grad, no_grad
from minillm.autograd.anomaly import detect_anomaly
from minillm.autograd.fused import softmax_cross_entropy
from minillm.autograd.fused.op import FusedOp
from minillm.autograd.state import state

INF = np.inf
MASKED = np.array([[0.5, -INF, 1.0], [-INF, 0.25, 2.0]])


def leaf(data, name=None):
    return Tensor(np.array(data, dtype=float), requires_grad=True, name=name)


def line_before():
    """file:line of the caller's previous line, as the messages write it."""
    frame = sys._getframe(1)
    return f"test_anomaly.py:{frame.f_lineno - 1}"


# ---- values ------------------------------------------------------------------------------------

BAD_RESULTS = {
    "log of 0": (lambda x: np.log(x), [1.0, 0.0],
                 "log gave -inf at [1] of its result of shape (2,): log(0.0)"),
    "log of -1": (lambda x: np.log(x), [-1.0],
                  "log gave nan at [0] of its result of shape (1,): log(-1.0)"),
    "exp overflows": (lambda x: np.exp(x), [[0.0], [800.0]],
                      "exp gave inf at [1, 0] of its result of shape (2, 1): exp(800.0)"),
    "division by 0": (lambda x: x / 0, [2.0],
                      "divide gave inf at [0] of its result of shape (1,): divide(2.0, 0)"),
    "a scalar": (lambda x: x * 1e308, 1e9,
                 "multiply gave inf of its result of shape (): multiply(1000000000.0, 1e+308)"),
    "sum of both infs": (lambda x: x.sum(), [INF, -INF], "sum gave nan of its result of shape ()"),
    "matmul overflows": (lambda x: x @ x, [[1e200]], "matmul gave inf at [0, 0]"),
    "a nan that came in": (lambda x: x.sum(), [1.0, np.nan], ": argument 0 held a nan already"),
    "an inf beside a masked place": (lambda x: np.exp(x), [-INF, INF, 1e4], "exp gave inf at [2]"),
}


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize(("f", "x", "message"), BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_stops_at_a_bad_result(f, x, message, requires_grad):
    x = Tensor(np.array(x), requires_grad=requires_grad, name="scores")
    with detect_anomaly(), pytest.raises(FloatingPointError) as e:
        f(x)
    assert message in str(e.value)
    assert "input" in str(e.value)
    assert "'scores'" in str(e.value)
    assert "\n" not in str(e.value)


PASSES = {
    "softmax of masked logits": lambda x: formulas.softmax(x),
    "log-softmax of masked logits": lambda x: formulas.log_softmax(x),
    "mask by where": lambda x: np.exp(np.where(np.isinf(x), -INF, x)),
    "mask by add": lambda x: np.exp(np.where(np.isinf(x), 0, x)
                                    + np.where(np.isinf(x.data), -INF, 0)),
    "padded with -inf": lambda x: np.exp(np.pad(x.clip(0, 1), 1, constant_values=-INF)),
    "clipped at inf": lambda x: np.exp(np.clip(x, -INF, 0)),
    "fused cross-entropy": lambda x: softmax_cross_entropy(x, np.array([2, 1])),
    "moved about": lambda x: np.exp(np.concatenate([x.T, np.flip(x.T, 0)]).reshape(4, 3)[1:]),
    "largest": lambda x: np.max(x, axis=1),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("f", PASSES.values(), ids=PASSES)
def test_masks_of_inf_pass(f, create_graph):
    with detect_anomaly():
        x = leaf(MASKED)
        y = f(x)
        d = grad(y.sum(), x, create_graph=create_graph)
    assert np.isfinite(d.data).all()


def test_padding_a_constant_with_inf_passes():
    with detect_anomaly():
        assert np.pad(Tensor([1.0]), 1, constant_values=-INF).data[0] == -INF


def test_a_gradient_may_be_inf_where_an_input_is():
    with detect_anomaly():
        x = leaf([1.0, 2.0])
        (x * np.array([1.0, -INF])).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [1, -INF])


def test_names_the_line_outside_minillm():
    x = leaf([1.0, 0.0])
    with detect_anomaly(), pytest.raises(FloatingPointError) as e:
        np.log(x)
    assert str(e.value).endswith(line_before())


def test_names_the_line_of_a_formula_too():
    with detect_anomaly(), pytest.raises(FloatingPointError) as e:
        formulas.softmax(leaf([1.0, np.nan]))
    line = re.escape(line_before())
    assert re.search(line + r" \(through minillm.formulas.softmax\.py:\d+\)$", str(e.value))


def test_where_is_set_in_debug_mode_only():
    x = leaf([1.0])
    assert (x + 1).where is None
    with detect_anomaly():
        y = x + 1
    assert y.where.endswith(line_before())


def test_numpy_is_silent_so_that_warnings_as_errors_do_not_hide_the_line():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with detect_anomaly(), pytest.raises(FloatingPointError, match=r"^log gave"):
            np.log(leaf([0.0]))
        with pytest.raises(RuntimeWarning):
            np.log(np.zeros(1))


# ---- gradients ---------------------------------------------------------------------------------

@pytest.mark.parametrize("create_graph", [False, True])
def test_stops_at_a_bad_gradient(create_graph):
    x = leaf([[4.0, 0.0]], name="x")
    with detect_anomaly():
        y = np.sqrt(x)
        made = line_before()
        with pytest.raises(FloatingPointError) as e:
            grad(y.sum(), x, create_graph=create_graph)
    assert str(e.value).startswith("backward of sqrt gave inf at [0, 1] of the gradient of "
                                   "argument 0 'x' (there 0.0), of shape (1, 2); sqrt was "
                                   "recorded at ")
    assert str(e.value).endswith(made)


def test_names_the_argument():
    a, b = leaf([0.0], "a"), leaf([0.5], "b")
    with detect_anomaly(), pytest.raises(FloatingPointError, match=r"of power .* argument 0 'a'"):
        np.power(a, b).backward([1.0])


def test_a_nan_that_the_user_passes_to_backward():
    with detect_anomaly(), pytest.raises(FloatingPointError, match="given held a nan already"):
        (leaf([1.0]) * 2).backward([np.nan])


def test_a_graph_from_before():
    y = np.sqrt(leaf([0.0]))
    with detect_anomaly(), pytest.raises(FloatingPointError, match="before detect_anomaly was on"):
        y.backward([1.0])


sum_and_product = FusedOp(
    lambda a, b, *, save: ((a + b, a * b), None),
    lambda g, saved, a, b, *, needs: [np.zeros_like(a) + (0 if g[0] is None else g[0])
                                      + (0 if g[1] is None else g[1] * other) for other in (b, a)],
    lambda a, b: (a + b, a * b))
sum_and_product.__name__ = "sum_and_product"


def test_an_op_with_several_outputs():
    a, b = leaf([1.0, 2.0], "a"), leaf([3.0, 4.0], "b")
    view = b.data[:]
    with detect_anomaly():
        total, product = sum_and_product(a, b)
        for array in (a.data, b.data, total.data, product.data):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        (total * product).sum().backward()
        a.data[0] = b.data[0] = product.data[0] = 5
        total, product = sum_and_product(a, b)
        made = line_before()
        view[0] = 1
        with pytest.raises(RuntimeError, match=rf"'b' of sum_and_product was changed .*{made}"):
            product.sum().backward()
        with pytest.raises(FloatingPointError, match=r"product gave inf at \[0\] .* 'a', 'b'"):
            sum_and_product(leaf([1e200], "a"), leaf([1e200], "b"))
        with pytest.raises(FloatingPointError, match=r"of sum_and_product gave nan .* held a nan"):
            sum_and_product(a, b)[0].backward([np.nan, 0])


# ---- in-place writes ---------------------------------------------------------------------------

def test_write_to_an_input_or_output_raises_where_it_happens():
    memory = np.zeros((4, 3))
    x = Tensor(memory[1:3], requires_grad=True)
    constant = np.full((2, 3), 2.0)
    with detect_anomaly():
        y = x * constant
        for array in (x.data, memory, constant, y.data):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            x.data += 1
    memory[:] = 1
    x.data[0] = 1
    constant[0] = 1


def test_released_by_backward_node_by_node():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    with detect_anomaly():
        first = (x * w).sum()
        second = (w + 1).sum()
        first.backward()
        x.data[0] = 5  # only `first` needed x
        with pytest.raises(ValueError, match="read-only"):
            w.data[0] = 5
        second.backward()
        w.data[0] = 5


def test_released_with_the_graph():
    x = leaf([1.0, 2.0])
    with detect_anomaly():
        y = np.exp(x)
        z = y * y
        del z
        gc.collect()
        with pytest.raises(ValueError, match="read-only"):
            x.data[0] = 1
        del y
        gc.collect()
        x.data[0] = 1


def test_released_when_the_block_ends_by_an_error():
    x = leaf([1.0, 2.0])
    def stumble():
        with detect_anomaly():
            y = x * x
            raise ZeroDivisionError(y)

    with pytest.raises(ZeroDivisionError) as e:
        stumble()
    y = e.value.args[0]
    x.data[0] = y.data[0] = 1
    assert state.observer is None


def test_flags_come_back_as_they_were():
    memory = np.arange(12.0)
    memory.flags.writeable = False
    open_view = np.zeros(3)
    closed = open_view[:]
    closed.flags.writeable = False
    with detect_anomaly():
        y = (Tensor(memory, requires_grad=True).reshape(3, 4)
             + Tensor(closed)[:, None] + open_view[:, None])
    assert not memory.flags.writeable
    assert not closed.flags.writeable
    assert open_view.flags.writeable
    assert y.data.flags.writeable


def test_views_that_ops_make_are_writeable_again_but_stretched_ones_are_not():
    x = leaf(np.ones((2, 3)))
    with detect_anomaly():
        square = x * x
        turned, stretched = x.T, np.broadcast_to(x, (4, 2, 3))
        del square
    assert turned.data.flags.writeable
    assert not stretched.data.flags.writeable


def test_parameters_in_one_flat_buffer():
    flat = np.ones(6)
    w, b = Tensor(flat[:4].reshape(2, 2), True, "W"), Tensor(flat[4:], True, "b")
    with detect_anomaly():
        first, second = (w * w).sum(), (b * b).sum()
        first.backward()
        w.data -= 1
        with pytest.raises(ValueError, match="read-only"):
            flat += 1
        second.backward()
        flat += 1
    np.testing.assert_array_equal(flat, [1, 1, 1, 1, 2, 2])


def test_memory_of_another_library_is_left_as_it_is():
    class Foreign:
        def __init__(self):
            self.memory = np.zeros(3)
            self.__array_interface__ = self.memory.__array_interface__

    array = np.asarray(Foreign())
    assert array.flags.writeable
    with detect_anomaly():
        y = Tensor(array, requires_grad=True) * 2
        array[0] = 1
        with pytest.raises(RuntimeError, match="argument 0 of multiply was changed in place"):
            y.backward(np.ones(3))
    assert array.flags.writeable
    held = np.frombuffer(bytearray(24))  # this one NumPy can give back
    with detect_anomaly():
        y = Tensor(held, requires_grad=True) * 2
        with pytest.raises(ValueError, match="read-only"):
            held[0] = 1
    held[0] = 1


def test_writes_through_an_older_view_are_found_by_backward():
    x, w = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w")
    view = w.data[1:]
    with detect_anomaly():
        y = x * w
        made = line_before()
        view[0] = 7
        with pytest.raises(RuntimeError) as e:
            y.backward(np.ones(2))
    assert str(e.value).startswith("argument 1 'w' of multiply was changed in place after "
                                   "multiply was recorded at ")
    assert made + ":" in str(e.value)


def test_replaced_data_and_changed_results_are_found_by_backward():
    x = leaf([1.0, 2.0], "x")
    with detect_anomaly():
        y = np.exp(x)
        x.data = np.array([1.0, 3.0])
        with pytest.raises(RuntimeError, match="argument 0 'x' of exp was changed"):
            y.backward(np.ones(2))
        y = np.exp(x)
        y.data = y.data * 2
        with pytest.raises(RuntimeError, match="the result of exp was changed"):
            y.backward(np.ones(2))


def test_index_arrays_are_protected():
    x, rows, columns = leaf(np.ones((3, 3))), np.array([0, 1]), np.array([2, 2])
    with detect_anomaly():
        y = x[rows, columns]
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 2
        y.backward(np.ones(2))
        rows[0] = 2


def test_a_second_walk_after_an_update_is_an_error():
    w = leaf([1.0, 2.0], "w")
    with detect_anomaly():
        loss = (w * w).sum()
        loss.backward()
        loss.backward()
        w.data -= 0.1
        with pytest.raises(RuntimeError, match="'w' of multiply was changed in place"):
            loss.backward()


def test_training_loop_runs_as_without():
    def train():
        rng = np.random.default_rng(0)
        flat = rng.standard_normal(2 * 4 + 4 * 3)
        W1, W2 = Tensor(flat[:8].reshape(2, 4), True), Tensor(flat[8:].reshape(4, 3), True)
        velocity = [np.zeros((2, 4)), np.zeros((4, 3))]
        batch, labels = np.empty((5, 2)), np.empty(5, int)
        state_h, losses = Tensor(np.zeros((5, 4))), []
        for _ in range(4):
            batch[:] = rng.standard_normal((5, 2))
            labels[:] = rng.integers(0, 3, 5)
            h = np.tanh(batch @ W1 + state_h)
            loss = softmax_cross_entropy(h @ W2, labels)
            for p in (W1, W2):
                p.grad = None
            loss.backward()
            for p, v in zip((W1, W2), velocity, strict=True):
                v *= 0.9
                v += p.grad
                p.grad *= 0.5
                p.data -= 0.1 * v
            state_h = h.detach()
            losses.append(loss)  # every graph stays alive
        return flat, [float(x) for x in losses]

    plain = train()
    with detect_anomaly():
        watched = train()
    np.testing.assert_array_equal(plain[0], watched[0])
    assert plain[1] == watched[1]


def test_second_derivatives_protect_what_they_need():
    x = leaf([2.0])
    with detect_anomaly():
        d = grad((x * x * x).sum(), x, create_graph=True)
        with pytest.raises(ValueError, match="read-only"):
            x.data[0] = 1
        d.backward(np.ones(1))
        assert x.grad[0] == 12
        x.data[0] = 1


def test_nothing_is_held_under_no_grad():
    x = leaf([1.0])
    with detect_anomaly(), no_grad():
        y = x * x
        x.data[0] = y.data[0] = 2


# ---- the switch itself -------------------------------------------------------------------------

def test_nests_and_the_inner_end_keeps_the_outer_records():
    x = leaf([1.0])
    mode = detect_anomaly()
    with mode:
        outer = state.observer
        y = x * x
        with mode, detect_anomaly():
            assert state.observer is outer
        with pytest.raises(ValueError, match="read-only"):
            x.data[0] = 2
        del y
    assert state.observer is None


def test_decorator_of_a_recursive_function():
    @detect_anomaly()
    def countdown(n: int) -> int:
        "Doc."
        assert state.observer is not None
        return n if n == 0 else countdown(n - 1)

    assert countdown(3) == 0
    assert countdown.__doc__ == "Doc."
    assert state.observer is None


def test_decorated_function_in_two_threads_at_once():
    inside, leave = threading.Event(), threading.Event()

    @detect_anomaly()
    def run(inner):
        inner()

    def stay():
        inside.set()
        leave.wait(10)

    thread = threading.Thread(target=run, args=(stay,))

    def start():
        thread.start()
        inside.wait(10)

    with detect_anomaly():
        outer = state.observer
        run(start)  # entered first, left first
        assert state.observer is outer
        leave.set()
        thread.join()


def test_other_threads_are_not_watched():
    seen = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append(state.observer))
        thread.start()
        thread.join()
    assert seen == [None]


def test_two_threads_share_an_array():
    x = leaf([1.0])
    inside, leave = threading.Event(), threading.Event()

    def other():
        with detect_anomaly():
            y = x * x
            inside.set()
            leave.wait()
            del y

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    with detect_anomaly():
        y = x + x
        leave.set()
        thread.join()
        with pytest.raises(ValueError, match="read-only"):
            x.data[0] = 1
        del y
    x.data[0] = 1


def test_a_long_chain_is_released_without_recursion():
    x = leaf([1.0])
    with detect_anomaly():
        y = x
        for _ in range(5000):
            y = y + 0.0
        del y
        x.data[0] = 1
