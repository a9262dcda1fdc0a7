"""What the stepper records is what the engine computed: values, local derivatives, gradients, places."""

import ast
import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import Tensor, detect_anomaly, formulas, grad, nn, optim
from minillm.autograd.rules import RULES
from minillm.autograd.state import state
from minillm.autograd.tensor import op_name
from minillm.formulas import LEDGER
from minillm.stepper import trace
from minillm.stepper.recording import _local
from minillm.stepper.recording_view import lines
from minillm.stepper.source import expression

UNARY = [np.tanh, np.exp, np.sin, np.negative, np.square, lambda x: np.sqrt(1 + x * x),
         lambda x: x / (1 + np.abs(x))]
BINARY = [np.add, np.subtract, np.multiply, lambda a, b: a / (1 + b * b), np.maximum]
REDUCE = [np.sum, np.mean, lambda x: np.max(x, axis=-1), lambda x: x.T @ x]


@st.composite
def programs(draw):
    """A random computation as a list of (function, indices of what it takes)."""
    program, n = [], 3
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            program.append((draw(st.sampled_from(UNARY)), [draw(st.integers(0, n - 1))]))
        else:
            two = [draw(st.integers(0, n - 1)) for _ in range(2)]
            program.append((draw(st.sampled_from(BINARY)), two))
        n += 1
    return program, draw(st.sampled_from(REDUCE))


def run(program, reduce, a, b, c):
    values = [a, b, c]
    for f, which in program:
        values.append(f(*(values[i] for i in which)))
    return reduce(values[-1])


@settings(max_examples=150)
@given(programs(), st.integers(0, 2**32 - 1))
def test_values_and_gradients_are_the_engines(program, seed):
    program, reduce = program
    arrays = [x.astype(np.float64) for x in np.random.default_rng(seed).uniform(-1, 1, (3, 2, 3))]
    recording = trace(functools.partial(run, program, reduce), *arrays)
    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    y = run(program, reduce, *tensors)
    y.sum().backward()
    assert_array_equal(recording.values[recording.outputs[0]].data, y.numpy())
    for name, t in zip(recording.inputs, tensors, strict=True):
        gradient = recording.gradient(name)
        if t.grad is None:
            assert gradient is None
        else:
            assert_allclose(gradient, t.grad, rtol=1e-12, atol=1e-14)
    for step in recording.steps:
        if step.direction == "backward" and step.local is not None:
            wanted = step.incoming * step.local
            got = step.contribution
            if got.shape == wanted.shape:
                assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


def below(recording, y):
    """Every Tensor of the engine's own graph below y, by the number of the recording's value that it is."""
    found, waiting = {}, [(recording.outputs[0], y)]
    while waiting:
        i, t = waiting.pop()
        if i is None or not isinstance(t, Tensor) or i in found:
            continue
        found[i] = t
        made_by = recording.values[i].made_by
        assert (made_by is None) == (t.op is None)
        if made_by is not None:
            assert recording.steps[made_by].op == op_name(t.op)
            waiting += zip(recording.steps[made_by].inputs, t.args, strict=True)
    return found


def contribution(t, i, gradient):
    """What the engine gives for argument i of one op alone, whose result has that gradient."""
    args = [a.numpy() if isinstance(a, Tensor) else a for a in t.args]
    args[i] = Tensor(args[i], requires_grad=True)
    return grad(t.op(*args, **t.kwargs), args[i], gradient=gradient).numpy()


@settings(max_examples=100)
@given(programs(), st.integers(0, 2**32 - 1))
def test_every_value_and_every_sum_of_gradients_on_the_way_is_the_engines(program, seed):
    program, reduce = program
    arrays = [x.astype(np.float64) for x in np.random.default_rng(seed).uniform(-1, 1, (3, 2, 3))]
    recording = trace(functools.partial(run, program, reduce), *arrays)
    y = run(program, reduce, *(Tensor(x, requires_grad=True) for x in arrays))
    tensors = below(recording, y)
    for i, t in tensors.items():
        assert_array_equal(recording.values[i].data, t.numpy())
    with_gradient = {i: t for i, t in tensors.items() if t.requires_grad}
    gradients = dict(zip(with_gradient, grad(y.sum(), list(with_gradient.values())), strict=True))
    sums = {}
    for step in recording.steps:
        if step.direction == "backward" and step.argument is None:
            assert_allclose(step.incoming, gradients[step.value].numpy(), rtol=1e-12, atol=1e-14)
        elif step.direction == "backward":
            to = step.inputs[step.argument]
            part = contribution(tensors[step.value], step.argument, gradients[step.value])
            assert_allclose(step.contribution, part, rtol=1e-12, atol=1e-14)
            sums[to] = sums[to] + part if to in sums else part
            assert_allclose(step.accumulated, sums[to], rtol=1e-12, atol=1e-14)
    for i, total in sums.items():  # what the last step adds up to is what the engine gives in one go
        assert_allclose(total, gradients[i].numpy(), rtol=1e-12, atol=1e-14)
        assert_allclose(recording.values[i].gradient, gradients[i].numpy(), rtol=1e-12, atol=1e-14)
    assert set(sums) | {recording.result} == set(with_gradient)


def f(x, w):
    z = x @ w
    y = np.tanh(z) + z
    return (y * y).sum()


def test_a_step_knows_its_line_its_expression_and_its_name():
    recording = trace(f, np.ones((2, 3)), np.full((3, 2), 0.1))
    texts = [ast.unparse(expression(s.places[-1])) for s in recording.forward_steps]
    assert texts == ["x @ w", "np.tanh(z)", "np.tanh(z) + z", "y * y", "(y * y).sum()"]
    names = [recording.values[s.value].name for s in recording.forward_steps]
    assert names == ["z", "", "y", "", ""]
    assert list(recording.inputs) == ["x", "w"]
    assert recording.steps[0].places[-1].text.strip() == "z = x @ w"


def test_gradients_accumulate_in_the_order_in_which_they_come():
    recording = trace(f, np.ones((2, 3)), np.full((3, 2), 0.1))
    z = recording.forward_steps[0].value
    received = [s for s in recording.steps if s.direction == "backward" and s.argument is not None
                and s.inputs[s.argument] == z]
    assert [s.op for s in received] == ["add", "tanh"]  # z is used twice
    assert_allclose(received[1].accumulated, received[0].contribution + received[1].contribution)
    assert_array_equal(received[-1].accumulated, recording.values[z].gradient)
    assert received[1].rule == "g * (1 - y * y)"


def test_one_number_can_be_followed():
    recording = trace(f, np.ones((2, 3)), np.full((3, 2), 0.1))
    z = recording.forward_steps[0].value
    ops = [(recording.steps[i].direction, recording.steps[i].op) for i in recording.uses(z)]
    assert ops[:3] == [("forward", "matmul"), ("forward", "tanh"), ("forward", "add")]
    assert ops[-1] == ("backward", "matmul")


@pytest.mark.parametrize("name", LEDGER)
def test_every_equation_of_the_ledger_can_be_stepped(name):
    row = LEDGER[name]
    example = row.example(np.random.default_rng(0))
    recording = trace(row.reference, *example)
    assert recording.result is not None
    wanted = row.reference(*example)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    assert_allclose(recording.values[recording.outputs[0]].data, wanted, rtol=1e-12)
    for step in recording.steps:
        assert step.places[0].function == name
        assert expression(step.places[-1]) is not None
        if step.direction == "backward" and step.argument is not None:
            assert step.rule, step.op


def test_formulas_inside_formulas_are_steps_of_their_own():
    recording = trace(formulas.softmax_cross_entropy, np.zeros((2, 3)), np.array([0, 2]))
    paths = {tuple(p.function for p in s.places) for s in recording.steps}
    assert ("softmax_cross_entropy", "log_softmax") in paths


def test_fused_ops_are_one_step_and_layers_are_entered():
    layer = nn.LSTM(3, 4, rng=np.random.default_rng(0), dtype=np.float64)
    recording = trace(lambda x: layer(x)[0].sum(), np.ones((2, 5, 3)))
    assert "lstm" in [s.op for s in recording.forward_steps]
    x = Tensor(np.ones((2, 5, 3)), requires_grad=True)
    layer(x)[0].sum().backward()
    assert_allclose(recording.gradient("x"), x.grad)


def test_methods_and_objects_that_are_called():
    class Scale:
        def __call__(self, x):
            return self.twice(x).sum()

        def twice(self, x):
            return 2 * x

    for g in (Scale(), Scale().__call__):
        recording = trace(g, np.arange(3.0))
        assert [p.function for p in recording.steps[0].places] == ["__call__", "twice"]
        assert_array_equal(recording.gradient("x"), [2, 2, 2])


def test_arguments_are_not_touched_and_the_observer_is_put_back():
    x = np.arange(3.0)
    with detect_anomaly():
        before = state.observer
        trace(lambda x: (x * x).sum(), x)
        assert state.observer is before
    assert_array_equal(x, np.arange(3.0))
    with pytest.raises(ZeroDivisionError):
        trace(lambda x: x.sum() + 1 / 0, x)
    assert state.observer is None


def test_what_depends_on_nothing_has_no_backward_steps():
    with pytest.warns(UserWarning, match="so there is no step: give arrays of floats") as warned:
        recording = trace(lambda n: np.arange(n), 3)
    assert Path(warned[0].filename) == Path(__file__)
    assert recording.steps == []
    assert recording.result is None


def test_a_recording_says_what_it_is_in_a_line():
    recording = trace(lambda w, x: (w * x).sum(), np.ones((200, 100)), np.ones(100))
    assert repr(recording).startswith("<Recording of <lambda>(w (200, 100), x (100,)): 2 steps forward, ")
    assert "result of shape ()" in repr(recording)
    assert len(repr(recording)) < 300
    with pytest.raises(KeyError, match="no argument 'q' to differentiate by; there are 'w', 'x'"):
        recording.gradient("q")


def test_what_a_function_goes_back_over_itself_is_left_alone():
    def slope(x):
        t = Tensor(x.data, requires_grad=True)
        (t * t).sum().backward()
        return (x * t.grad).sum()

    recording = trace(slope, np.array([1.0, 2.0]))
    assert_array_equal(recording.gradient("x"), [2, 4])


def test_tensors_that_were_computed_before_are_constants():
    W = Tensor(np.array([3.0]), requires_grad=True)
    A = W * 2
    recording = trace(lambda x: (x * A).sum(), np.array([1.0, 2.0]))
    assert_array_equal(recording.gradient("x"), [6, 6])
    with detect_anomaly():
        B = W * 5
    assert_array_equal(trace(lambda x: (x + B).sum(), np.ones(2)).gradient("x"), [1, 1])


def test_results_may_lie_in_dicts_and_tuples():
    recording = trace(lambda x: {"loss": (x * x).sum(), "parts": (x, [x + 1])}, np.array([3.0]))
    assert len(recording.outputs) == 3
    assert_array_equal(recording.gradient("x"), [6])


def given_of(recording, k):
    step = recording.forward_steps[k]
    return [recording.values[i].data.tolist() for i in step.inputs if i is not None]


def descent(w):
    loss = (w * w).sum()
    loss.backward()
    w.data -= 0.25 * w.grad
    again = (w * w).sum()
    return again + loss


def test_an_array_that_is_changed_in_place_is_another_value():
    recording = trace(descent, np.array([1.0, 2.0]))
    assert given_of(recording, 0) == [[1, 2]] * 2
    assert given_of(recording, 2) == [[0.5, 1]] * 2
    first, second = recording.forward_steps[0].inputs[0], recording.forward_steps[2].inputs[0]
    assert recording.versions(first) == [first, second]
    changed = recording.values[second]
    assert (changed.name, changed.kind, changed.was) == ("w", "input", first)
    # The engine differentiates with the numbers that are there when it goes back.
    total = recording.values[first].gradient + changed.gradient
    assert_array_equal(recording.gradient("w"), total)
    for i in (first, second):
        received = [s for s in recording.steps if s.argument is not None and s.inputs[s.argument] == i]
        assert_array_equal(recording.values[i].gradient, sum(s.contribution for s in received))
        assert_array_equal(received[-1].accumulated, recording.values[i].gradient)


def test_gradients_go_to_the_array_that_was_used():
    def only_again(w):
        descent(w)
        return (w * w).sum()

    recording = trace(only_again, np.array([1.0, 2.0]))
    first, second = (recording.forward_steps[k].inputs[0] for k in (0, -2))
    assert recording.versions(first) == [first, second]
    assert recording.values[first].gradient is None
    assert_array_equal(recording.values[second].gradient, [1, 2])
    assert_array_equal(recording.gradient("w"), [1, 2])


def test_an_optimizer_in_a_loop_and_a_constant_of_numpy():
    def train(w):
        optimizer = optim.SGD([w], 0.25)
        for _ in range(3):
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            optimizer.step()
        return loss

    recording = trace(train, np.array([4.0]))
    assert [given_of(recording, 2 * k)[0] for k in range(3)] == [[4], [2], [1]]
    assert [given_of(recording, 2 * k + 1)[0] for k in range(3)] == [[16], [4], [1]]

    k = np.array([1.0, 2.0])

    def constant(x):
        y = x * k
        k[0] = 5.0
        return y * k

    recording = trace(constant, np.ones(2))
    assert [given_of(recording, i)[1] for i in range(2)] == [[1, 2], [5, 2]]

    t = Tensor(np.array([np.nan, 2.0]))
    recording = trace(lambda x: x * t + t, np.ones(2))
    assert recording.forward_steps[0].inputs[1] == recording.forward_steps[1].inputs[1]  # nan and all


def test_what_was_changed_in_place_is_called_so():
    recording = trace(descent, np.array([1.0, 2.0]))
    back = [dict(lines(recording, k, "zh"))["输入"] for k in (0, 2)]
    assert [text.split(" =")[0] for text in back] == ["w（参数）", "w（已原地修改）"]
    assert dict(lines(recording, 2))["given"].startswith("w (changed in place) = ")
    page = recording.to_html()
    assert '"again":[null,null,1]' in page.replace(" ", "")
    assert "2 ↻1</text>" in page


def test_floats_are_differentiated_where_there_are_no_arrays():
    recording = trace(lambda x, y: x * x * y, 2.0, y=np.float32(3))
    assert recording.gradient("x") == 12
    assert recording.gradient("y") == 4
    assert recording.values[recording.inputs["y"]].data.dtype == np.float32
    recording = trace(lambda x, rate: x * rate, np.ones(2), 0.1)
    assert list(recording.inputs) == ["x"]  # a setting


def test_names_of_all_kinds_of_assignments():
    def f(x):
        s: Tensor = x * 2.0
        s += x * 3.0
        a = b = s * s
        return a + b

    recording = trace(f, np.array([1.0]))
    names = [recording.values[s.value].name for s in recording.forward_steps]
    assert names == ["s", "", "s", "a", ""]
    shown = [dict(lines(recording, s.index))["formula"] for s in recording.forward_steps]
    assert shown == ["s = ⟦x·2⟧", "s ← s + ⟦x·3⟧", "s ← ⟦s + x·3⟧", "a = b = ⟦s·s⟧", "⟦a + b⟧"]


# ---- what is kept is a copy

def test_values_do_not_change_afterwards():
    x = np.array([1.0, 2.0])

    def f(x):
        y = x * 2.0
        y.data[0] = 7.0
        x.data[0] = 9.0
        return y

    recording = trace(f, x)
    assert_array_equal(recording.values[recording.inputs["x"]].data, [1, 2])
    assert_array_equal(recording.values[recording.forward_steps[0].value].data, [2, 4])
    assert_array_equal(x, [1, 2])  # the caller's stays as it is


def test_local_derivatives_have_the_shape_of_the_result():
    recording = trace(lambda x, y: x + y, np.ones((2, 3)), np.ones(3))
    local = [s.local for s in recording.steps if s.local is not None]
    assert [d.shape for d in local] == [(2, 3), (2, 3)]


def test_a_local_derivative_that_is_one_number_is_spread(monkeypatch):
    monkeypatch.setitem(RULES, np.negative, (lambda g, y, x: -1.0,))
    y = -Tensor(np.ones((2, 3)), requires_grad=True)
    assert _local(y, 0).tolist() == [[-1] * 3] * 2


def test_parts_that_are_not_as_many_as_the_names_have_none():
    def f(x):
        a, *b = np.split(x, 3)
        return a + b[0]

    recording = trace(f, np.arange(3.0))
    assert {v.name for v in recording.values} == {"x", ""}


def test_an_argument_may_be_called_f():
    def g(f):
        return f * 2

    assert_array_equal(trace(g, f=np.ones(2)).gradient("f"), [2, 2])


def test_messages():
    with pytest.raises(TypeError, match="f must be a function, not int"):
        trace(3)

    def long(x):
        for _ in range(30_000):
            x = x + 1
        return x

    with pytest.raises(ValueError, match="more than 20,000 steps"):
        trace(long, np.ones(1))
