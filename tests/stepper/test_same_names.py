"""Several values whose variables have one name: which is which, in the terminal and in the page."""

import json
import re

import numpy as np

from minillm.stepper import trace
from minillm.stepper.recording_view import lines


def rebound(x):
    x = x * 2
    for _ in range(2):
        x = np.tanh(x)
    y = x.sum()
    return y


FIRST = rebound.__code__.co_firstlineno
X = np.array([1.0, 2.0])


def test_in_the_terminal_each_has_its_line():
    recording = trace(rebound, X)
    shown = [dict(lines(recording, s.index)) for s in recording.forward_steps]
    names = [re.split(r" = ", part["result"])[0] for part in shown]
    line, loop = FIRST + 1, FIRST + 3
    assert names == [f"x (line {line})", f"x (line {loop}, no. 1)", f"x (line {loop}, no. 2)", "y"]
    given = [re.split(r" = ", part["given"])[0] for part in shown]
    assert given == ["x (argument)", *names[:3]]
    back = dict(lines(recording, len(recording.steps) - 1))
    assert "dL/d(x (argument)) now" in back
    assert dict(lines(recording, 0, "zh"))["结果"].startswith(f"x（第 {line} 行） = ")


def test_one_value_of_a_name_needs_no_line():
    recording = trace(lambda x: np.tanh(x).sum(), X)
    assert recording.alike == {}
    assert dict(lines(recording, 0))["given"].startswith("x = ")


def test_in_the_page_too():
    page = trace(rebound, X).to_html()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    again = [v["again"] for v in data["values"] if v["name"]]
    assert again == [[None, None, 0], [FIRST + 1, None, 0], [FIRST + 3, 1, 0], [FIRST + 3, 2, 0], None]
    assert f"multiply 2 L{FIRST + 1}</text>" in page
    assert f"tanh 2 L{FIRST + 3}#2</text>" in page


def test_in_the_browser_the_line_is_said(opened):
    stepper = opened(trace(rebound, X))
    stepper.press("ArrowRight")
    assert f"x (line {FIRST + 3}, no. 1)" in stepper.text("#sentence")
    stepper.press("f")
    assert stepper.text("#followed") == f"Following x (line {FIRST + 3}, no. 1)."
    stepper.press("l")
    assert stepper.text("#followed") == f"正在跟踪 x（第 {FIRST + 3} 行第 1 次）。"
