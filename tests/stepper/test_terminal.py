"""The stepper in a terminal: what a step shows, and what the keys do."""

import contextlib
import io

import numpy as np
import pytest
from rich.console import Console

from minillm.formulas import adam_step, softmax
from minillm.stepper import terminal, trace
from minillm.stepper.recording_view import RecordingView, lines


@pytest.fixture
def recording():
    return trace(adam_step, np.array([1.0]), np.array([0.5]), np.array([0.0]), np.array([0.0]), 1)


def test_a_forward_step_has_formula_code_and_numbers(recording):
    found = dict(lines(recording, 2))
    assert found["step 3 of 46"] == "forward: add"
    assert found["formula"] == "m = ⟦β₁·m + (1 − β₁)·g⟧"
    assert found["result"] == "m = [0.05]  (1,)"


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
    view.show = lambda i: shown.append(i) or show(i)
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


def test_a_keyboards_sequences_have_names():
    assert terminal.NAMES["\x1b[C"] == "right"
    assert terminal.NAMES["\x03"] == "q"
