"""Kernels as something to step through: the page's data are the recording's, and a lesson can show them."""

import json
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("triton", reason="no Triton here: pip install triton")

from kernels.testing import trace_kernel
from minillm.course.lesson_api import quiet_run, step
from minillm.errors import UserError
from minillm.formulas import LEDGER
from minillm.stepper import KernelSteps
from minillm.stepper.kernel import ranges_of
from minillm.stepper.kernel_view import KernelView
from minillm.stepper.page import kernel_data
from minillm.stepper.views import view_of
from tests.kernels.stepped_kernel import add_up, count_up, long_lines, running_softmax

X = np.array([[1, 3, 2, 5, 4], [2, 9, 8, 7, 6]], np.float32)


def recorded(block=2):
    return trace_kernel(running_softmax, 2, X, np.zeros_like(X), 5, BLOCK=block)


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def array_of(data, number):
    stored = data["arrays"][number]
    return np.array([float(x) for x in stored["data"]]).reshape(stored["shown"])


def test_the_numbers_are_the_recordings():
    recording = recorded()
    data = data_of(KernelSteps(recording).to_html())
    assert len(data["steps"]) == len(recording.steps)
    for wanted, shown in zip(recording.steps, data["steps"], strict=True):
        assert (shown["program"], shown["depth"]) == (wanted.program, wanted.depth)
        assert shown["places"][-1]["line"] == wanted.line
        assert [b["name"] for b in shown["bound"]] == list(wanted.bound)
        for b, value in zip(shown["bound"], wanted.bound.values(), strict=True):
            np.testing.assert_allclose(array_of(data, b["parts"][0]["data"]), value, rtol=1e-6)
        for a, access in zip(shown["accesses"], wanted.accesses, strict=True):
            assert (a["kind"], a["array"]) == (access.kind, access.array)
            assert a["touched"] == access.touched.tolist()
            kept = np.ones(access.offsets.shape, bool) if access.mask is None else access.mask
            np.testing.assert_allclose(a["numbers"], access.values[kept], rtol=1e-6)
            assert_array_equal(array_of(data, a["offsets"]), access.offsets)
            assert a["off"] == sorted(set(access.offsets[~kept].tolist()))
            assert (a["mask"] is None) == (access.mask is None)


def test_programs_are_stretches_of_steps():
    recording = recorded()
    data = data_of(KernelSteps(recording).to_html())
    assert [(p["kernel"], p["program"], p["time"]) for p in data["programs"]] == [
        ("running_softmax", 0, None), ("running_softmax", 1, None)]
    for p in data["programs"]:
        assert {s.program for s in recording.steps[p["first"]:p["last"] + 1]} == {p["program"]}
    assert data["programs"][-1]["last"] == len(recording.steps) - 1
    assert [(a["name"], a["shape"], a["span"], a["row"]) for a in data["launches"][0]] == [
        ("x", [2, 5], 10, 5), ("y", [2, 5], 10, 5)]


@pytest.mark.parametrize(("array", "row", "columns", "flat"), [
    (np.zeros((2, 8), np.float32)[:, :5], 8, 5, False), (np.zeros((5, 2), np.float32).T, 16, 16, True),
    (np.zeros(5, np.float32), 16, 16, True), (np.zeros((2, 1, 5), np.float32), 5, 5, False)])
def test_how_an_array_lies_in_memory(array, row, columns, flat):
    recording = trace_kernel(count_up, 1, array, 3, BLOCK=4)
    (shown,) = data_of(KernelSteps(recording).to_html())["launches"][0]
    assert (shown["row"], shown["columns"], shown["flat"]) == (row, columns, flat)
    assert shown["shape"] == list(array.shape)


def test_formulas_callers_and_conditions():
    steps = KernelSteps(recorded())
    data = data_of(steps.to_html())
    text = lambda s: None if s["formula"] is None else data["formulas"][s["formula"]]["text"]
    texts = [text(s) for s in data["steps"]]
    assert "s = s·e^(m − m_new) + ∑₀ e^(block − m_new)" in texts
    assert "y + row·n + i ← e^(block − m) / s" in texts
    assert "m = −∞" in texts
    inner = next(s for s in data["steps"] if s["function"] == "largest")
    names = [data["functions"][p["function"]]["name"] for p in inner["places"]]
    assert names == ["running_softmax", "largest"]
    loop = [s["holds"] for s in data["steps"][:data["programs"][0]["last"] + 1] if s["head"] == "for"]
    assert loop == [True, True, True, False] * 2  # three blocks of two, in each of two loops
    assert dict(view_of(steps).lines(5))["formula"] == "block = load(x + row·n + i)"


def test_a_statement_of_several_lines_is_one_step():
    x = np.arange(4, dtype=np.float32)
    recording = trace_kernel(long_lines, 1, x, BLOCK=4)
    texts = [s.text for s in recording.steps]
    assert texts[1:] == ["y = tl.where(i < 2, 10.0, 20.0 )", "if ( y.shape[0] == 4 ):",
                         "tl.store(x + i, y)"]
    assert_array_equal(x, [10, 10, 20, 20])
    place = data_of(KernelSteps(recording).to_html())["steps"][1]["places"][-1]
    assert place["endLine"] - place["line"] == 3


def test_atomics_are_shown():
    x, total = np.array([1, 2, 3], np.float32), np.array([10, 20, 30, 0], np.float32)
    steps = KernelSteps(trace_kernel(add_up, 1, x, total, 3, BLOCK=4))
    data = data_of(steps.to_html())
    (shown,) = [a for s in data["steps"] for a in s["accesses"] if a.get("operation") == "add"]
    assert (shown["kind"], shown["touched"], shown["numbers"]) == ("atomic", [0, 1, 2], [1, 2, 3])
    assert (shown["found"], shown["left"]) == ([10, 20, 30], [11, 22, 33])
    at = next(s.index for s in steps.steps if any(a.operation == "add" for a in s.accesses))
    said = dict(view_of(steps, "zh").lines(at))
    assert said["原子操作 add"].startswith("total 的 4 个元素中的 3 个：0-2")
    assert said["原值"] == "(4,) [10. 20. 30.  0.]"


def test_what_one_lane_touches_is_not_masked_off_for_another():
    x = np.zeros(4, np.float32)
    recording = trace_kernel(count_up, 1, x, 3, BLOCK=4)
    access = next(a for s in recording.steps for a in s.accesses if a.mask is not None)
    access.offsets[3] = 0  # as if the lane that is masked off pointed where another stores
    first = next(a for s in data_of(KernelSteps(recording).to_html())["steps"] for a in s["accesses"])
    assert (first["touched"], first["off"]) == ([0, 1, 2], [])


def test_six_stretches_of_memory_are_named():
    assert ranges_of(np.arange(0, 12, 2)) == "0, 2, 4, 6, 8, 10"
    assert ranges_of(np.arange(0, 14, 2)) == "0, 2, 4, 6, 8, 10, ..."


def test_one_kernel_of_several_with_its_equation():
    kernels = pytest.importorskip("kernels")
    from kernels.testing import recording_kernels

    with recording_kernels() as recording:
        kernels.softmax_cross_entropy(X, np.array([3, 1]), backend="triton")
    one = KernelSteps(recording, "one_sweep", equation="softmax_cross_entropy")
    data = data_of(one.to_html(lang="zh"))
    assert {p["kernel"] for p in data["programs"]} == {"one_sweep"}
    assert len(data["steps"]) == len(one.steps) < len(KernelSteps(recording).steps)
    assert data["equation"]["name"] == "softmax_cross_entropy"
    assert data["about"]["zh"].startswith("one_sweep：每个程序实例")
    assert data["title"] == {"en": "one_sweep", "zh": "one_sweep"}
    assert LEDGER["softmax_cross_entropy"].source == data["equation"]["source"]
    with pytest.raises(UserError, match="kernel = 'nosuch' was not recorded: there are inverse_counts"):
        KernelSteps(recording, "nosuch")


def test_the_same_recording_gives_the_same_bytes_and_needs_nothing():
    page = KernelSteps(recorded()).to_html()
    assert page == KernelSteps(recorded()).to_html()
    assert not re.search(r"""(?:src|href)\s*=(?!"data:,")|@import|url\(|fetch\(|XMLHttp|import\(""", page)
    assert page.count("<script") == 2
    assert "/tests/" not in page  # nobody's folders
    assert len(page) < 150_000


def test_of_the_accesses_of_a_long_recording_fewer_elements_are_kept(monkeypatch):
    x = np.random.default_rng(0).standard_normal((4, 250)).astype(np.float32)
    recording = trace_kernel(running_softmax, 4, x, np.zeros_like(x), 250, BLOCK=128)
    first = lambda: next(a for s in data_of(KernelSteps(recording).to_html())["steps"] for a in s["accesses"])
    assert len(first()["touched"]) == 128
    monkeypatch.setattr(kernel_data, "NUMBERS", 1000)
    access = first()
    assert (access["count"], access["where"]) == (128, "0-127")  # what is said stays the whole
    assert access["touched"] == list(range(64))
    np.testing.assert_allclose(access["numbers"], x[0, :64], rtol=1e-6)


def test_a_file_a_title_and_a_language(tmp_path):
    page = KernelSteps(recorded()).to_html(tmp_path / "k.html", title="Mine", lang="zh")
    assert (tmp_path / "k.html").read_bytes() == page.encode()
    assert "<title>Mine</title>" in page
    assert '<html lang="zh-CN">' in page
    with pytest.raises(UserError, match="lang = 'fr'"):
        KernelSteps(recorded()).to_html(lang="fr")


def test_a_notebook_gets_the_page_in_a_frame():
    frame = KernelSteps(recorded())._repr_html_()
    assert frame.startswith('<iframe title="running_softmax"')


def test_a_lesson_shows_a_kernel():
    recording = recorded()
    with quiet_run() as run:
        step(recording, en="A kernel", zh="一个内核")
        step(KernelSteps(recording, "running_softmax"), en="The same", zh="同一个")
    shown = run.steppers[0].recording
    assert isinstance(shown, KernelSteps)
    assert shown.to_html(lang="zh") == KernelSteps(recording).to_html(lang="zh")
    assert isinstance(view_of(shown, "zh", title="1. 一个内核"), KernelView)
    assert view_of(shown, "zh", title="1. 一个内核").title == "1. 一个内核"
    file = running_softmax.fn.__code__.co_filename
    assert {place.file for line in shown.steps for place in line.places} == {file}
    with pytest.raises(TypeError, match=r"minillm\.trace or kernels\.testing\.trace_kernel gives, not int"):
        step(3, en="x", zh="一")
