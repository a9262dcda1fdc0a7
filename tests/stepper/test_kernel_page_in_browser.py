"""The page of a kernel in Debian's chromium, from a file:// address, by mouse and by keyboard alone."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("triton", reason="no Triton here: pip install triton")

from kernels.testing import KernelRecording, trace_kernel
from minillm.stepper import KernelSteps
from tests.kernels.stepped_kernel import add_up, count_up, running_softmax

from .conftest import CONTRASTS, assert_shown

X = np.array([[1, 3, 2, 5, 4], [2, 9, 8, 7, 6]], np.float32)


def recorded(block=2, rows=2, columns=5):
    x = np.tile(X[:, :columns], (-(-rows // 2), 1))[:rows]
    return KernelSteps(trace_kernel(running_softmax, rows, x, np.zeros_like(x), columns, BLOCK=block))


@pytest.fixture(scope="module")
def steps():
    return recorded()


def expected_arrays(step):
    """What each load and store has, its mask, and the variables, in the order of the page."""
    found = []
    for access in step.accesses:
        found += [access.values] + ([] if access.mask is None else [access.mask])
    return found + list(step.bound.values())


def memory(stepper, array):
    """The squares of an array in memory: (element, classes, text)."""
    return stepper.page.locator(f'#scroll table[aria-label="{array}"] td.number').evaluate_all(
        "all => all.map(td => [Number(td.dataset.index), [...td.classList], td.textContent])")


def elements(stepper, array, look):
    return [at for at, classes, _ in memory(stepper, array) if look in classes]


def first(steps, kind, *, masked):
    return next(s.index for s in steps.steps for a in s.accesses
                if a.kind == kind and (a.mask is not None) == masked)


def test_stepping_forward_and_back_shows_the_recordings_numbers(opened):
    steps = recorded(block=4)
    stepper = opened(steps)
    seen = []
    for step in steps.steps:
        assert stepper.step == step.index
        seen.append((stepper.arrays("#values > .flow"), stepper.text("#sentence"), memory(stepper, "y")))
        assert_shown(seen[-1][0], *expected_arrays(step))
        assert stepper.text("#pass") == f"running_softmax, program {step.program}"
        assert stepper.page.locator("#functions .line.now .line-number").all_inner_texts() == [str(step.line)]
        for array, kind in (("x", "load"), ("y", "store")):
            accesses = [a for a in step.accesses if (a.array, a.kind) == (array, kind)]
            assert elements(stepper, array, kind) == [i for a in accesses for i in a.touched.tolist()]
        stepper.press("ArrowRight")
    for step in reversed(steps.steps[:-1]):
        stepper.press("ArrowLeft")
        assert (stepper.arrays("#values > .flow"), stepper.text("#sentence"), memory(stepper, "y")) \
            == seen[step.index]


def test_memory_shows_what_is_masked_off_known_and_stored(opened, steps):
    at = first(steps, "load", masked=True)
    stepper = opened(steps, where=f"#step={at + 1}")
    assert elements(stepper, "x", "load") == [4]
    assert elements(stepper, "x", "off") == [5]  # of the next row
    assert elements(stepper, "x", "mine") == [0, 1, 2, 3]
    assert [text for *_, text in memory(stepper, "x")] == "1 3 2 5 4 2 9 8 7 6".split()
    assert len(elements(stepper, "y", "unknown")) == 10
    assert "1 of 2 places is masked off" in stepper.text("#sentence")
    assert "loaded now: 4 · masked off: 5" in stepper.text("#scroll")
    assert stepper.page.locator("#values td.off").all_inner_texts() == ["−∞"]

    stepper.press("End")
    assert elements(stepper, "y", "unknown") == []
    y = np.exp(X - X.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    shown = [float(t.replace("−", "-")) for *_, t in memory(stepper, "y")]
    np.testing.assert_allclose(shown, y.ravel(), rtol=1e-2)
    stepper.press("Home")
    assert len(elements(stepper, "y", "unknown")) == 10


def test_memory_from_step_to_step_where_it_is_written_before_it_is_read(opened):
    x = np.full(3, 7, np.float32)
    steps = KernelSteps(trace_kernel(count_up, 2, x, 3, BLOCK=4))
    stepper = opened(steps)
    states = []
    for _ in steps.steps:
        states.append([text for *_, text in memory(stepper, "x")[:3]])
        touched_before = elements(stepper, "x", "mine")
        assert touched_before == ([] if len(states) % 4 in (1, 2) else [0, 1, 2])
        stepper.press("ArrowRight")
    found, stored = ["·"] * 3, lambda k: [str(k + i) for i in range(3)]
    assert states == [found, stored(0), stored(0), stored(1), stored(1), stored(1), stored(1), stored(2)]


def test_an_atomic_finds_a_number_and_leaves_one(opened):
    x, total = np.array([1, 2, 3], np.float32), np.array([10, 20, 30, 0], np.float32)
    steps = KernelSteps(trace_kernel(add_up, 1, x, total, 3, BLOCK=4))
    stepper = opened(steps)
    assert [text for *_, text in memory(stepper, "total")] == "10 20 30 0".split()
    stepper.press("ArrowRight")
    assert [text for *_, text in memory(stepper, "total")] == "11 22 33 0".split()
    assert elements(stepper, "total", "store") == [0, 1, 2]
    assert "Atomic add on 3 elements of total: 0-2; 1 of 4 places is masked off." in stepper.text("#sentence")
    assert "found there" in stepper.text("#values")
    stepper.press("l")
    assert "对 total 的 3 个元素做原子操作 add：0-2" in stepper.text("#sentence")
    assert "原值" in stepper.text("#values")


def test_places_beyond_the_array_are_drawn(opened):
    steps = recorded(block=8)
    at = [s.index for s in steps.steps for a in s.accesses if a.kind == "load"][2]  # program 1
    stepper = opened(steps, where=f"#step={at + 1}")
    assert elements(stepper, "x", "load") == [5, 6, 7, 8, 9]
    assert elements(stepper, "x", "off") == elements(stepper, "x", "beyond") == [10, 11, 12]
    stepper.page.locator("#values figure.access td.off").first.hover()
    assert stepper.text("#tip") == "[5] x[10]: masked off, not touched; here −∞"


def test_of_a_large_array_the_rows_and_columns_that_are_touched_are_drawn(opened):
    x = np.arange(40 * 100, dtype=np.float32).reshape(40, 100)
    steps = KernelSteps(trace_kernel(running_softmax, 40, x, np.zeros_like(x), 100, BLOCK=64))
    at = [s.index for s in steps.steps if s.program == 30 and s.accesses][1]
    stepper = opened(steps, where=f"#step={at + 1}")
    assert elements(stepper, "x", "load") == list(range(3064, 3100))
    assert [text for at, _, text in memory(stepper, "x") if at == 3064] == ["3064"]
    assert "29 more rows" in stepper.text("#scroll")
    assert "8 more rows" in stepper.text("#scroll")
    assert "columns 36-99 are shown" in stepper.text("#scroll")
    assert stepper.page.locator('#scroll table[aria-label="x"] th[scope=col]').first.text_content() == "36"


def test_a_list_of_programs_keeps_its_own_keys(opened):
    stepper = opened(recorded(rows=14))
    assert stepper.page.locator("select#program").count() == 1
    stepper.page.locator("select#program").focus()
    stepper.press("Space")
    stepper.press("Escape")
    assert stepper.page.locator("#play").get_attribute("aria-label") == "Play"
    before = stepper.step
    for key in ("n", "l"):
        stepper.press(key)
    assert stepper.step == before
    assert stepper.page.evaluate("document.documentElement.lang") == "en"
    stepper.page.locator("body").click(position={"x": 2, "y": 2})
    stepper.press("l")
    assert stepper.page.evaluate("document.documentElement.lang") == "zh-CN"


def test_hovering_lights_the_element_wherever_it_is(opened, steps):
    at = first(steps, "store", masked=False)
    stepper = opened(steps, where=f"#step={at + 1}")
    stepper.page.locator("#values figure.access td.number").nth(1).hover()
    value = steps.steps[at].accesses[0].values[1]
    assert stepper.text("#tip").startswith("[1] y[0, 1] = ")
    assert float(stepper.text("#tip").split("= ")[1]) == pytest.approx(float(value), rel=1e-6)
    assert elements(stepper, "y", "lit") == [1]


def test_the_running_maximum_and_sum_over_time(opened, steps):
    at = first(steps, "load", masked=True)
    stepper = opened(steps, where=f"#step={at + 1}")
    series = lambda: dict(zip(
        stepper.page.locator(".series dt").all_text_contents(),
        stepper.page.locator(".series dd").evaluate_all(
            "all => all.map(dd => [...dd.children].map(b => b.textContent + (b.ariaCurrent ? '*' : '')"
            " + (b.classList.contains('to-come') ? '?' : '')))"), strict=True))
    assert series()["m"] == ["−∞", "3", "5*", "5?"]
    assert series()["s"] == ["0", "1.135", "1.203*", "1.571?"]
    stepper.page.locator(".series dd").first.locator("button").nth(1).click()
    step = steps.steps[stepper.step]
    assert (step.text, step.bound) == ("m = m_new", {"m": 3.0})
    assert series()["m"] == ["−∞", "3*", "5?", "5?"]


def test_following_a_variable(opened, steps):
    stepper = opened(steps, where="#step=2")
    stepper.press("f")
    assert stepper.text("#followed") == "Following m."
    wanted = [s.index for s in steps.steps if s.function == "running_softmax" and "m" in s.bound]
    went = [stepper.step]
    for _ in wanted:
        stepper.press("ArrowRight")
        went.append(stepper.step)
    assert went == [*wanted, wanted[-1]]
    stepper.press("Escape", "Home")
    assert stepper.step == 0
    stepper.press("]")
    assert steps.steps[stepper.step].program == 1


def test_programs_by_keyboard_and_mouse(opened, steps):
    at = first(steps, "load", masked=True)
    stepper = opened(steps, where=f"#step={at + 1}")
    stepper.press("]")
    there = steps.steps[stepper.step]
    assert (there.program, there.line) == (1, steps.steps[at].line)
    assert there.accesses[0].touched.tolist() == [9]  # the third block there too
    stepper.press("]")
    assert stepper.step == there.index  # there is no other
    stepper.press("[")
    assert stepper.step == at
    stepper.page.get_by_role("button", name="program 1").click()
    assert stepper.step == there.index
    assert stepper.page.get_by_role("button", name="program 1").get_attribute("aria-pressed") == "true"


def test_many_programs_are_a_list(opened):
    steps = recorded(rows=14, columns=2)
    stepper = opened(steps)
    stepper.page.locator("#program").select_option("13")
    assert steps.steps[stepper.step].program == 13
    stepper.press("[")
    assert stepper.page.locator("#program").input_value() == "12"
    assert stepper.text("#pass") == "running_softmax, program 12"


def test_by_keyboard_alone(opened, steps):
    stepper = opened(steps)
    reached = []
    stepper.page.locator("body").focus()
    for _ in range(40):
        stepper.press("Tab")
        reached.append(stepper.page.evaluate("document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "slider":
            break
    for control in ("language", "theme", "help", "first", "previous", "play", "next", "last", "slider"):
        assert control in reached
    assert sum("program" in r for r in reached) == 2
    assert sum("jump" in r for r in reached) == 1
    stepper.page.locator("#functions .jump.now").focus()
    stepper.press("ArrowDown", "ArrowDown", "Enter")
    assert steps.steps[stepper.step].line == steps.steps[0].line + 2
    stepper.press("?")
    assert "the same line in the next, previous program" in stepper.text("#keys")
    stepper.press("Escape", "End")
    assert stepper.step == len(steps.steps) - 1


def test_every_line_is_said_once_and_politely_in_both_languages(opened, steps):
    stepper = opened(steps, lang="zh")
    live = stepper.page.locator("[aria-live=polite]")
    assert live.count() == 1
    for end in ("。", "."):
        said = []
        for step in steps.steps:
            said.append(live.inner_text())
            assert str(step.line) in said[-1]
            text = stepper.page.locator("body").inner_text()
            assert "undefined" not in text
            assert "NaN" not in text
            stepper.press("ArrowRight")
        assert all(s.endswith(end) for s in said)
        assert all(a != b for a, b in pairwise(said))
        stepper.press("l", "Home")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_text_has_contrast_and_a_narrow_window_no_sideways_scroll(opened, steps, scheme, width):
    stepper = opened(steps, where=f"#step={first(steps, 'load', masked=True) + 1}", color_scheme=scheme,
                     viewport={"width": width, "height": 800})
    found = stepper.page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []
    right = stepper.page.locator("figure, .card, .line").evaluate_all(
        "nodes => Math.max(...nodes.map(n => n.getBoundingClientRect().right))")
    assert right <= width
    assert stepper.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_long_line_of_code_goes_on_below_further_in(opened, steps):
    stepper = opened(steps, where=f"#step={first(steps, 'load', masked=True) + 1}",
                     viewport={"width": 400, "height": 800})
    code = stepper.page.locator(".line.now code")
    boxes = code.evaluate("node => { const r = document.createRange(); r.selectNodeContents(node);"
                          " return [...r.getClientRects()].map(b => [b.left, b.top]); }")
    tops = sorted({round(top) for _, top in boxes})
    assert len(tops) > 1
    width = code.evaluate("node => node.getBoundingClientRect().left")
    later = min(left for left, top in boxes if round(top) == tops[-1])
    assert later > width + 40
    assert stepper.page.locator("#functions").evaluate("n => n.scrollWidth <= n.clientWidth")


def test_the_line_at_work_is_in_sight_however_fast_one_goes(opened, steps):
    stepper = opened(steps, viewport={"width": 1200, "height": 460})
    panel = stepper.page.locator("#functions")
    assert panel.evaluate("n => n.scrollHeight > 2 * n.clientHeight")  # else nothing is scrolled
    hidden = []
    for _ in steps.steps[1:]:
        stepper.press("ArrowRight")
        seen = panel.evaluate("""n => {
            const a = n.querySelector(".line.now").getBoundingClientRect(), b = n.getBoundingClientRect();
            return a.bottom > b.top && a.top < b.bottom; }""")
        hidden += [] if seen else [stepper.step]
    assert len(hidden) <= 1, hidden  # the first step of all may still be on its way


def test_nothing_to_step_through(opened):
    stepper = opened(KernelSteps(KernelRecording()))
    assert stepper.text("#sentence") == "No kernel ran, so there are no lines to show."
    stepper.press("ArrowRight", "]", "f", "End", "l")


def test_in_a_notebooks_frame(opened, steps, tmp_path):
    host = tmp_path / "notebook.html"
    host.write_text(f"<!DOCTYPE html><body>{steps._repr_html_()}</body>", encoding="utf-8")
    page = opened(steps).page  # for its eye on errors and requests
    page.goto(host.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#slider").input_value() == "1"
    frame.locator("#language").click()
    assert frame.locator("#pass").inner_text() == "running_softmax，程序实例 0"
