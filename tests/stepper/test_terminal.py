"""The stepper in a terminal: what a step shows, and what the keys do."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from minillm.formulas import adam_step, softmax
from minillm.stepper import KernelSteps, terminal, trace
from minillm.stepper.kernel_view import KernelView
from minillm.stepper.recording_view import RecordingView, lines


@pytest.fixture
def recording():
    return trace(adam_step, np.array([1.0]), np.array([0.5]), np.array([0.0]), np.array([0.0]), 1)


def test_a_forward_step_has_formula_code_and_numbers(recording):
    found = dict(lines(recording, 2))
    assert found["step 3 of 46"] == "forward: add"
    assert found["formula"] == "m = ⟦β₁·m + (1 − β₁)·g⟧"
    assert found["result"] == f"m (line {recording.steps[2].places[-1].line}) = (1,) [0.05]"


def test_a_backward_step_has_rule_local_derivative_and_sum(recording):
    at = next(s.index for s in recording.steps if s.direction == "backward" and s.op == "sqrt"
              and s.argument is not None)
    found = dict(lines(recording, at))
    step = recording.steps[at]
    assert found["rule"] == "g / (2 * y)"
    assert found["local dy/dx"] == terminal.numbers(step.local)
    assert found["dL/d(v̂) now"] == terminal.numbers(step.accumulated)


def test_every_step_in_both_languages(recording):
    for i in range(len(recording.steps)):
        en, zh = (lines(recording, i, lang) for lang in ("en", "zh"))
        assert len(en) == len(zh)
    assert dict(zh)["求导规则"] == recording.steps[-1].rule


def test_large_arrays_are_shortened_and_have_their_shape():
    text = terminal.numbers(np.zeros((100, 100)))
    assert len(text) < 300
    assert "(100, 100)" in text


@pytest.mark.parametrize("width", [30, 60, 100])
@pytest.mark.parametrize("shape", [(3,), (24,), (500,), (2, 3), (2, 12), (4, 50), (2, 2, 3, 3)])
def test_rows_are_shortened_and_never_broken(shape, width):
    first, *rows = terminal.numbers(np.random.default_rng(0).standard_normal(shape), width).split("\n")
    assert first.startswith(str(shape))
    assert all(len(line) <= width for line in [first, *rows])
    if len(shape) == 1:
        assert "[" in first or width == 30
        assert len(rows) <= 1
    for row in rows:
        assert row.strip() == "..." or (row.lstrip().startswith("[") and row.endswith("]"))


def test_as_much_of_a_row_as_fits():
    assert terminal.numbers(np.arange(10.0), 60) == "(10,) [0. 1. 2. 3. 4. 5. 6. 7. 8. 9.]"
    assert terminal.numbers(np.arange(10.0), 30) == "(10,) [0. 1. 2. ... 7. 8. 9.]"
    assert terminal.numbers(np.ones((2, 2))) == "(2, 2)\n[[1. 1.]\n [1. 1.]]"


@pytest.mark.parametrize("width", [60, 100])
def test_no_number_line_is_wider_than_the_terminal(width):
    view = RecordingView(trace(adam_step, *np.random.default_rng(0).uniform(0.1, 1, (4, 20)), 1))
    for i in range(len(view)):
        for line in terminal.labelled([x for x in view.lines(i, width) if "[" in x[1]]):
            assert max(terminal.columns(part) for part in line.plain.split("\n")) <= width, line.plain


def test_what_is_differentiated_is_said_once():
    recording = trace(softmax, np.array([[0.0, 1.0]]))
    out = io.StringIO()
    terminal.print_all(RecordingView(recording, title="1 of 2"), Console(file=out, width=80))
    assert out.getvalue().startswith("1 of 2\nL = sum of all elements of ")
    assert out.getvalue().count("L = sum") == 1
    assert RecordingView(recording, "zh").about.endswith(" 的所有元素之和")
    assert RecordingView(trace(halves, np.ones(4))).about.startswith("L = ")
    assert "sum of all" not in RecordingView(trace(halves, np.ones(4))).about


def halves(p):
    a, b = np.split(p, 2)
    total = (a * b).sum()
    for v in p:
        total = total + v * v
    for i, w in enumerate(p):
        total = total + i * w
    return total


def test_elements_of_a_loop_and_halves_have_their_variables_names():
    recording = trace(halves, np.arange(1.0, 5.0))
    made = [s for s in recording.forward_steps if s.op == "getitem"]
    assert [recording.values[s.value].name for s in made] == ["a", "b", *"vvvv", *"wwww"]
    shown = dict(lines(recording, made[4].index))
    assert shown["formula"] == "v = ⟦p[2]⟧"
    assert shown["code"].endswith(": for v in p:")
    place = recording.steps[made[4].index].places[-1]
    assert shown["result"] == f"v (line {place.line}, no. 3) = 3."
    assert dict(lines(recording, made[1].index))["result"] == "b = (2,) [3. 4.]"


def test_a_question_mark_explains_the_keys(monkeypatch, recording):
    notes = []
    group = terminal.Group
    monkeypatch.setattr(terminal, "Group", lambda *parts: notes.append(parts[-1].plain) or group(*parts))
    assert walked(monkeypatch, recording, ["?", "?", "?", "right", "q"]) == [0, 0, 0, 0, 1]
    assert [terminal.WORDS["en"]["help"] == note for note in notes] == [False, True, False, True, False]


class Recorded:
    """A recording of two kernels, the second in launches 1 and 2."""

    def __init__(self):
        names = ("inverse_counts", "one_sweep", "one_sweep")
        self.launches = [SimpleNamespace(kernel=name) for name in names]
        self.steps = [SimpleNamespace(index=i, launch=launch, program=0, function=names[launch],
                                      file="", line=1, text="x", bound={"x": np.ones(40)}, accesses=[],
                                      places=[SimpleNamespace(file="", function="", line=1, end_line=1)])
                      for i, launch in enumerate([0, 0, 1, 1, 2])]

    def of(self, kernel):
        return [s for s in self.steps if self.launches[s.launch].kernel == kernel]


def test_one_kernel_alone_is_counted_from_one():
    view = KernelView(KernelSteps(Recorded(), "one_sweep"))
    assert (len(view), view.title) == (3, "one_sweep")
    assert view.lines(0, 60)[0] == ("line 1 of 3", "one_sweep, program 0")
    assert view.follow(0) == ("x", [0, 1])
    assert "each program reads one row" in view.about
    both = KernelView(KernelSteps(Recorded()), "zh")
    assert (len(both), both.title) == (5, "inverse_counts, one_sweep")
    assert len(both.about.splitlines()) == 2


def test_plain_has_no_colour_and_all_steps(recording):
    out = io.StringIO()
    terminal.print_all(RecordingView(recording), Console(file=out, force_terminal=True, width=60))
    text = out.getvalue()
    assert "\x1b" not in text
    assert all(f"step {i} of 46" in text for i in range(1, 47))


def walked(monkeypatch, recording, pressed, at=0):
    """The steps that were shown while these keys were pressed."""
    shown = []
    monkeypatch.setattr(terminal, "keys", lambda: contextlib.nullcontext(iter(pressed)))
    view = RecordingView(recording)
    show = view.show
    view.show = lambda i, width: shown.append(i) or show(i, width)
    terminal.walk(view, Console(file=io.StringIO(), force_terminal=True), at)
    return shown


def test_keys_step_forward_and_back_and_stop_at_the_ends(monkeypatch, recording):
    assert walked(monkeypatch, recording, ["left", "right", "n", "left", "q"]) == [0, 0, 1, 2, 1]
    assert walked(monkeypatch, recording, ["end", "right", "home"]) == [0, 45, 45, 0]
    assert walked(monkeypatch, recording, ["x", "q"], at=7) == [7, 7]


def test_g_goes_to_a_step(monkeypatch, recording):
    assert walked(monkeypatch, recording, ["g", "1", "2", "enter", "q"]) == [0, 11]
    assert walked(monkeypatch, recording, ["g", "9", "9", "9", "enter", "q"]) == [0, 45]


def test_f_follows_one_number(monkeypatch):
    recording = trace(softmax, np.array([[0.0, 1.0]]))
    e = next(v for v in recording.values if v.name == "e")
    shown = walked(monkeypatch, recording, ["f", *["right"] * 20], at=e.made_by)
    assert list(dict.fromkeys(shown)) == recording.uses(e.index)


def test_the_way_back_goes_through_what_is_followed_too(monkeypatch):
    def f(x):
        y = x * 2.0
        z = np.tanh(x)
        return np.exp(z) * y

    recording = trace(f, np.ones(2))
    uses = recording.uses(recording.steps[0].value)
    assert uses != list(range(uses[0], uses[-1] + 1))
    shown = walked(monkeypatch, recording, ["f", "end", *["left"] * len(uses)])
    assert shown[2:] == [*reversed(uses), uses[0]]


def test_a_keyboards_sequences_have_names():
    assert terminal.NAMES["\x1b[C"] == "right"
    assert terminal.NAMES["\x03"] == "q"
