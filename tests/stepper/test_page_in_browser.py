"""The stepper's page in Debian's chromium, from a file:// address, by mouse and by keyboard alone."""

from itertools import pairwise

import numpy as np
import pytest

from minillm.autograd import fused
from minillm.formulas import LEDGER
from minillm.stepper import trace

from .conftest import CONTRASTS, assert_shown, box


def recorded(name):
    row = LEDGER[name]
    return trace(row.reference, *row.example(np.random.default_rng(1)))


def before(recording, step):
    """The gradient that had come to the receiver before a backward step, or None."""
    to = step.inputs[step.argument]
    earlier = [s for s in recording.steps[:step.index]
               if s.direction == "backward" and s.argument is not None and s.inputs[s.argument] == to]
    return earlier[-1].accumulated if earlier else None


def expected_arrays(recording, step):
    values = recording.values
    if step.direction == "forward":
        return [values[i].data for i in [*step.inputs, step.value] if i is not None]
    if step.argument is None:
        return [step.incoming, values[step.value].data]
    found = [step.incoming] + [x for x in [step.local] if x is not None] + [step.contribution]
    old = before(recording, step)
    return found if old is None else [*found, old, step.accumulated]


@pytest.mark.parametrize("name", ["adam_step", "softmax_cross_entropy", "lstm_cell"])
def test_stepping_forward_and_back_shows_the_recordings_numbers(opened, name):
    recording = recorded(name)
    stepper = opened(recording)
    seen = []
    for step in recording.steps:
        assert stepper.step == step.index
        seen.append(stepper.arrays("#values > .flow"))
        assert_shown(seen[-1], *expected_arrays(recording, step))
        assert stepper.text("#pass") == f"{step.direction.capitalize()} pass"
        if step.argument is None and step.direction == "forward":
            assert step.op in stepper.text("#sentence")
        lit = step.value if step.argument is None else step.inputs[step.argument]
        assert "now" in stepper.classes(lit)
        assert stepper.page.locator("#graph .node.now").count() == 1
        stepper.press("ArrowRight")
    for step in reversed(recording.steps[:-1]):
        stepper.press("ArrowLeft")
        assert stepper.arrays("#values > .flow") == seen[step.index]


def test_the_rules_letters_have_their_numbers(opened):
    recording = recorded("adam_step")
    step = next(s for s in recording.steps if s.rule == "-g * y / b")
    stepper = opened(recording, where=f"#step={step.index + 1}")
    assert "-g * y / b" in stepper.text(".rule")
    stepper.page.locator(".rule summary").press("Enter")
    assert_shown(stepper.arrays(".rule details"), recording.values[step.value].data,
                 recording.values[step.inputs[1]].data)
    stepper.press("ArrowRight", "ArrowLeft")
    assert stepper.page.locator(".rule details").get_attribute("open") is not None  # stays open


def test_the_code_is_marked(opened):
    recording = recorded("softmax_cross_entropy")
    stepper = opened(recording)
    exp = next(s for s in recording.steps if s.op == "exp")
    stepper.press(*["ArrowRight"] * exp.index)
    assert stepper.text("#functions mark.now") == "np.exp(z)"
    assert stepper.text("#functions mark.caller") == "log_softmax(x)"
    assert stepper.text("#path") == "softmax_cross_entropy › log_softmax"
    assert stepper.page.locator("#functions .line.now").count() == 1
    assert stepper.page.locator("#formula .now").count() == 1
    assert "no probability is formed" in stepper.page.locator("#functions").inner_text()
    assert "e in [0, 1)" not in stepper.page.locator("#functions").inner_text()  # docstrings are folded
    stepper.page.locator(".fold").first.click()
    assert "e in [0, 1)" in stepper.page.locator("#functions").inner_text()
    assert stepper.step == exp.index  # unfolding is no jump


def test_by_keyboard_alone(opened):
    recording = recorded("adam_step")
    stepper = opened(recording)
    last = len(recording.steps) - 1
    stepper.press("End")
    assert stepper.step == last
    stepper.press("ArrowRight")
    assert stepper.step == last
    stepper.press("Home", "ArrowRight", "ArrowRight")
    assert stepper.step == 2
    stepper.press("?")
    assert stepper.page.locator("#keys").is_visible()
    stepper.press("ArrowRight")
    assert stepper.step == 2  # the dialog has the keys
    stepper.press("Escape")
    assert not stepper.page.locator("#keys").is_visible()

    focused = lambda: stepper.page.evaluate(
        "(({ id, className }) => id || className.baseVal || className)(document.activeElement)")
    reached = []
    stepper.page.locator("body").focus()
    for _ in range(40):
        stepper.press("Tab")
        reached.append(focused())
        if reached[-1] == "slider":
            break
    for control in ("language", "theme", "help", "first", "previous", "play", "next", "last", "slider",
                    "to-forward", "to-backward"):
        assert control in reached
    assert sum("node" in str(r) for r in reached) == 1  # one stop for the graph, one for the code
    assert sum("jump" in str(r) for r in reached) == 1
    outline = stepper.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # the focus can be seen
    stepper.press("ArrowRight")  # the slider's own keys
    assert stepper.step == 3


def test_code_lines_and_boxes_of_the_graph_by_keyboard(opened):
    recording = recorded("adam_step")
    stepper = opened(recording)
    stepper.page.locator("#functions .jump.now").focus()
    stepper.press("ArrowDown", "ArrowDown", "Enter")
    assert recording.steps[stepper.step].places[-1].line == recording.steps[0].places[-1].line + 2
    stepper.page.locator("#graph .node.now").focus()
    before_ = stepper.step
    stepper.press("ArrowDown", "Enter")
    assert stepper.step != before_
    value = recording.steps[stepper.step].value
    assert stepper.page.evaluate("document.activeElement.dataset.value") == str(value)


def test_by_mouse(opened):
    recording = recorded("adam_step")
    stepper = opened(recording)
    page = stepper.page
    page.locator("#next").click()
    page.locator("#next").click()
    page.locator("#previous").click()
    assert stepper.step == 1
    page.locator("#to-backward").click()
    first = len(recording.forward_steps)
    assert stepper.step == first
    assert page.locator("body").get_attribute("class") == "backward"
    page.locator("#to-forward").click()
    assert stepper.step == 0
    v = next(v for v in recording.values if v.name == "v_hat")
    page.locator(box(v.index)).click()
    assert stepper.step == v.made_by
    page.locator("#last").click()
    page.locator(box(v.index)).click()  # on the way back: where it first receives
    step = recording.steps[stepper.step]
    assert step.direction == "backward"
    assert step.inputs[step.argument] == v.index
    page.locator("#functions .jump").first.click()
    assert recording.steps[stepper.step].places[-1].line == recording.steps[0].places[-1].line


def test_hovering_over_a_square_tells_its_number(opened):
    recording = recorded("lstm_cell")
    stepper = opened(recording)
    W = recording.values[recording.inputs["W"]]
    stepper.page.locator('#values .wide td[data-index="2, 7"]').first.hover()
    tip = stepper.text("#tip")
    assert tip.startswith("[2, 7] = ")
    assert float(tip.removeprefix("[2, 7] = ").replace("−", "-")) == pytest.approx(W.data[2, 7], rel=1e-6)
    stepper.press("n")
    box = stepper.page.locator("#values .wide td.number span").first.bounding_box()
    assert box["width"] > 8  # the numbers themselves


@pytest.mark.parametrize("name", ["adam_step", "softmax_cross_entropy"])
def test_following_one_value(opened, name):
    recording = recorded(name)
    stepper = opened(recording)
    stepper.press("ArrowRight", "f")
    value = recording.steps[1].value
    uses = recording.uses(value)
    assert stepper.page.locator("#following").is_visible()
    assert f"1 of {len(uses)} steps" in stepper.text("#count")
    went = [stepper.step]
    for _ in range(len(uses) + 2):
        stepper.press("ArrowRight")
        went.append(stepper.step)
    assert went == uses + [uses[-1]] * 3
    stepper.press("Home")
    assert stepper.step == uses[0]
    stepper.press("Escape")
    assert not stepper.page.locator("#following").is_visible()
    stepper.press("Home")
    assert stepper.step == 0
    stepper.page.locator("#values button", has_text="follow").first.press("Enter")
    assert stepper.page.locator("#following").is_visible()


def test_playing(opened):
    stepper = opened(recorded("gradient_descent_step"))
    stepper.press("Space")
    assert stepper.page.locator("#play").get_attribute("aria-label") == "Pause"
    for _ in range(100):
        stepper.page.wait_for_timeout(50)
        if stepper.step:
            break
    assert stepper.step == 1
    stepper.press("Space")
    assert stepper.page.locator("#play").get_attribute("aria-label") == "Play"


def test_both_languages(opened):
    recording = recorded("softmax_cross_entropy")
    stepper = opened(recording, lang="zh")
    assert stepper.text("#title") == LEDGER["softmax_cross_entropy"].title_zh
    assert stepper.text("#pass") == "前向传播"
    for key in ("End", "ArrowLeft", "f", "Escape", "l", "Home", "f", "Escape"):
        stepper.press(key)
        text = stepper.page.locator("body").inner_text()
        assert "undefined" not in text
        assert "NaN" not in text
    assert stepper.page.evaluate("document.documentElement.lang") == "en"
    assert stepper.page.title() == LEDGER["softmax_cross_entropy"].title
    stepper.page.locator("#language").click()
    assert "前向" in stepper.text("#sentence") or "算出" in stepper.text("#sentence")
    stepper.page.reload()
    assert stepper.text("#pass") == "前向传播"  # the address remembers


def test_what_the_letters_mean_is_told_in_the_language_at_hand(opened):
    row = LEDGER["adam_step"]
    page = opened(recorded("adam_step"), lang="zh").page
    assert page.locator("#symbols dd").all_inner_texts() == list(row.symbols_zh.values())
    page.locator("#language").click()
    assert page.locator("#symbols dd").all_inner_texts() == list(row.symbols.values())


@pytest.mark.parametrize("kernels", [False, True])
def test_the_words_are_the_same_in_both_languages(opened, kernels):
    from minillm.stepper.page.html import _asset

    page = opened(recorded("linear")).page
    of_kernels = _asset("kernel_words.js") if kernels else ""
    keys = page.evaluate(_asset("words.js").split("let language")[0] + of_kernels + """
        ; const shape = x => x instanceof Array ? x.length : typeof x === "function" ? x.length
            : typeof x === "object" ? Object.entries(x).map(([k, v]) => [k, shape(v)]) : "";
        [JSON.stringify(shape(WORDS.en)), JSON.stringify(shape(WORDS.zh))]""")
    assert keys[0] == keys[1]


def luminance(colour):
    return sum(float(c) for c in colour.removeprefix("rgb(").rstrip(")").split(",")) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened, scheme):
    page = opened(recorded("linear"), color_scheme=scheme).page
    background = lambda: luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    ink = lambda: luminance(page.evaluate("getComputedStyle(document.body).color"))
    dark = scheme == "dark"
    assert (background() < 60, ink() > 180) == (dark, dark)
    page.locator("#theme").click()
    assert (background() < 60) is False  # light, whatever the system says
    page.locator("#theme").click()
    assert (background() < 60, ink() > 180) == (True, True)
    page.reload()
    assert background() < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1440])
@pytest.mark.parametrize("step", [3, 20])
def test_text_has_contrast(opened, scheme, width, step):
    stepper = opened(recorded("adam_step"), where=f"#step={step}", color_scheme=scheme,
                     viewport={"width": width, "height": 800})
    found = stepper.page.evaluate(CONTRASTS)
    assert len(found) > 50
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize(
    ("name", "step"), [("attention", 40), ("adam_step", 3), ("adam_step", 26), ("lstm_cell", 1)])
def test_a_narrow_window_scrolls_down_and_not_sideways(opened, name, step):
    stepper = opened(recorded(name), where=f"#step={step}", viewport={"width": 400, "height": 800})
    stepper.press("n")  # the widest that arrays get
    assert stepper.page.evaluate("document.documentElement.scrollWidth") <= 400
    right = stepper.page.locator("figure, .card").evaluate_all(
        "nodes => Math.max(...nodes.map(n => n.getBoundingClientRect().right))")
    assert right <= 400


def test_in_a_narrow_window_the_line_at_work_stands_beside_its_numbers(opened):
    recording = recorded("softmax_cross_entropy")
    exp = next(s for s in recording.steps if s.op == "exp")
    stepper = opened(recording, where=f"#step={exp.index + 1}", viewport={"width": 700, "height": 800})
    line = stepper.page.locator("#line")
    assert line.is_visible()
    assert line.inner_text().strip() == exp.places[-1].text.strip()
    assert line.locator("mark.now").inner_text() == "np.exp(z)"
    assert abs(line.locator("code").evaluate("""node => {
        const text = document.createRange();
        text.selectNodeContents(node.querySelector(".k"));  // `return`, without the margin
        const sentence = document.querySelector("#sentence").getBoundingClientRect();
        return text.getBoundingClientRect().left - sentence.left;
    }""")) < 4
    stepper.page.set_viewport_size({"width": 1200, "height": 800})
    assert not line.is_visible()


def test_the_address_keeps_the_step(opened):
    recording = recorded("adam_step")
    stepper = opened(recording, where="#step=12")
    assert stepper.step == 11
    stepper.press("ArrowRight")
    stepper.page.wait_for_url("**/page.html#step=13")
    stepper.page.evaluate("location.hash = '#step=999&lang=zh&theme=dark'")
    stepper.page.locator("[data-theme=dark]").wait_for()
    assert stepper.step == len(recording.steps) - 1
    assert stepper.page.evaluate("document.documentElement.lang") == "zh-CN"


@pytest.mark.parametrize("where", ["#step=0", "#step=-3", "#step=x", "#step=1.5", "#x", "#lang=constructor"])
def test_an_address_that_means_nothing_is_the_first_step(opened, where):
    assert opened(recorded("linear"), where=where).step == 0


def test_every_step_is_said_once_and_politely(opened):
    recording = recorded("softmax_cross_entropy")
    stepper = opened(recording)
    live = stepper.page.locator("[aria-live=polite]")
    assert live.count() == 1
    said = []
    for _ in recording.steps:
        said.append(live.inner_text())
        stepper.press("ArrowRight")
    assert all(s.endswith(".") and len(s) > 20 for s in said)
    assert all(a != b for a, b in pairwise(said))


def test_steps_without_source_nan_and_several_axes(opened):
    scope = {"np": np}
    exec("def f(x):\n    return np.log(x) * 2.0", scope)
    x = np.array([[[1.0, -1.0, 0.0]], [[np.inf, np.nan, 2.0]]])
    with np.errstate(all="ignore"):
        recording = trace(scope["f"], x)
    stepper = opened(recording)
    texts = stepper.page.locator("#values figure.result td.number").all_inner_texts()
    assert [t.strip() for t in texts] == ["0", "nan", "−∞", "∞", "nan", "0.693"]
    assert "cannot be read" in stepper.page.locator("#code").inner_text()
    blocks = stepper.page.locator("#values figure.result .block")
    assert blocks.all_inner_texts() == ["[0, :, :]", "[1, :, :]"]
    stepper.press("End", "Home")


def test_a_fused_op_of_several_outputs(opened):
    def f(x, h, c, W, U, b):
        hs, last = fused.lstm(x, h, c, W, U, b)
        return np.sum(hs * hs) + np.sum(last)

    recording = trace(f, *LEDGER["lstm"].example(np.random.default_rng(0)))
    stepper = opened(recording, where=f"#step={len(recording.steps)}")
    step = recording.steps[-1]
    assert (step.op, step.incoming) == ("lstm", None)
    assert_shown(stepper.arrays("#values > .flow"), [], step.contribution)
    assert "several outputs" in stepper.text("#values")
    for _ in recording.steps:
        stepper.press("ArrowLeft")


def test_nothing_to_step_through(opened):
    with pytest.warns(UserWarning, match="there is no step"):
        recording = trace(lambda x: x, 3)
    stepper = opened(recording)
    assert "no steps" in stepper.text("#sentence")
    stepper.press("ArrowRight", "f", "End", "Space")


def test_hostile_text_does_nothing_in_the_browser(opened, tmp_path):
    from .test_page import HOSTILE, traced_from_file

    stepper = opened(traced_from_file(tmp_path, HOSTILE))
    stepper.page.on("dialog", lambda d: pytest.fail("a script of the learner's ran"))
    stepper.press("End", "Home", "l")
    assert "<img src=x onerror=alert(1)>" in stepper.text("#functions")
    assert stepper.page.locator("img").count() == 0


def test_in_a_notebooks_frame(browser, opened, tmp_path):
    recording = recorded("linear")
    host = tmp_path / "notebook.html"
    host.write_text(f"<!DOCTYPE html><body>{recording._repr_html_()}</body>", encoding="utf-8")
    page = opened(recording).page  # for its eye on errors and requests
    page.goto(host.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#slider").input_value() == "1"
    frame.locator("#language").click()
    assert frame.locator("#pass").inner_text() == "前向传播"
