"""The stepper's page as a file: what is in it, what is not, and that its numbers are the recording's."""

import ast
import base64
import hashlib
import html
import json
import re
import sys

import numpy as np
import pytest

from minillm.autograd import fused
from minillm.errors import UserError
from minillm.formulas import LEDGER, adam_step, lstm_cell, softmax_cross_entropy
from minillm.stepper import trace
from minillm.stepper.equation import lines
from minillm.stepper.page.arrays import Arrays
from minillm.stepper.page.code import pieces


def recorded(name):
    row = LEDGER[name]
    return trace(row.reference, *row.example(np.random.default_rng(1)))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def array_of(data, number):
    stored = data["arrays"][number]
    flat = [float(x) for x in stored["data"]]
    return np.array(flat).reshape(stored["shown"])


# ---- what is in it


@pytest.mark.parametrize("name", LEDGER)
def test_every_equation_has_a_page(name):
    recording = recorded(name)
    page = recording.to_html()
    data = data_of(page)
    assert len(data["steps"]) == len(recording.steps)
    assert data["steps"]
    assert data["equation"]["name"] == name
    assert data["title"] == {"en": LEDGER[name].title, "zh": LEDGER[name].title_zh}
    assert len(page.encode()) < 450_000


@pytest.mark.parametrize("name", ["adam_step", "softmax_cross_entropy", "attention", "lstm_cell", "gelu"])
def test_the_numbers_are_the_recordings(name):
    recording = recorded(name)
    data = data_of(recording.to_html())
    for value, shown in zip(recording.values, data["values"], strict=True):
        np.testing.assert_allclose(array_of(data, shown["data"]), value.data.astype(float), rtol=1e-6)
    for step, shown in zip(recording.steps, data["steps"], strict=True):
        assert (step.direction, step.op, step.value) == (shown["direction"], shown["op"], shown["value"])
        assert [i["value"] for i in shown["inputs"]] == list(step.inputs)
        for part in ("incoming", "local", "contribution", "accumulated"):
            if getattr(step, part) is None:
                assert shown.get(part) is None
            else:
                np.testing.assert_allclose(array_of(data, shown[part]), getattr(step, part), rtol=1e-6)


def test_the_letters_of_a_rule_are_what_it_says():
    """The rule, computed with the values that the page gives for its letters, is the contribution."""
    checked = 0
    for name in LEDGER:
        recording = recorded(name)
        for step, shown in zip(recording.steps, data_of(recording.to_html())["steps"], strict=True):
            rule = shown.get("rule")
            if not rule or rule["formula"] is None or step.local is None:
                continue
            letters = {letter: recording.values[step.inputs[i]].data for letter, i in rule["letters"].items()}
            letters |= {"g": step.incoming, "y": recording.values[step.value].data, "np": np}
            if {n.id for n in ast.walk(ast.parse(rule["text"])) if isinstance(n, ast.Name)} - set(letters):
                continue  # a function of the engine's own, or a letter for an integer, which is no value
            got = eval(rule["text"], letters)  # the engine's own table
            if np.shape(got) == step.contribution.shape:
                np.testing.assert_allclose(got, step.contribution, rtol=1e-12, atol=1e-300)
                checked += 1
    assert checked > 300


@pytest.mark.parametrize(("f", "expected"), [
    (lambda x, a, b: np.clip(x, a, b), {"x": 0, "lo": 1, "hi": 2}),
    (lambda x, a, b: np.where(x > 0, a, b), {"c": 0})])
def test_the_letters_of_three_arguments(f, expected):
    data = data_of(trace(f, np.array([-2.0, 0.5, 9.0]), np.zeros(3), np.ones(3)).to_html())
    rules = [s["rule"] for s in data["steps"] if s.get("rule")]
    assert rules
    for rule in rules:
        used = {n.id for n in ast.walk(ast.parse(rule["text"])) if isinstance(n, ast.Name)}
        assert rule["letters"] == {letter: i for letter, i in expected.items() if letter in used}
        assert rule["letters"]


def test_arguments_are_called_what_the_code_calls_them():
    data = data_of(recorded("adam_step").to_html())
    first = data["steps"][0]
    assert [data["formulas"][i["label"]]["text"] for i in first["inputs"]] == ["β₁", "m"]
    power = next(s for s in data["steps"] if s["op"] == "power")
    assert [data["formulas"][i["label"]]["text"] for i in power["inputs"]] == ["g", "2"]
    inner = next(s for s in data_of(recorded("lstm_cell").to_html())["steps"] if s["op"] == "tanh")
    assert inner["places"][-1]["function"] != inner["places"][0]["function"]


def test_an_argument_of_split_is_not_taken_for_an_index():
    data = data_of(recorded("lstm_cell").to_html())
    split = next(s for s in data["steps"] if s["op"] == "getitem")
    assert [i["label"] for i in split["inputs"]] == [None, None]


def test_a_method_and_a_function_of_a_module_name_their_arguments():
    def f(x, w):
        y = x.reshape(3, 1)
        return fused.linear(y, w, None)

    recording = trace(f, np.ones(3), np.ones((1, 2)))
    first, second = data_of(recording.to_html())["steps"][:2]
    formulas = data_of(recording.to_html())["formulas"]
    assert [first["op"], second["op"]] == ["reshape", "linear"]
    assert formulas[first["inputs"][0]["label"]]["text"] == "x"
    assert [formulas[i["label"]]["text"] for i in second["inputs"]][:2] == ["y", "w"]


def test_results_of_one_call_have_their_variables_names():
    data = data_of(recorded("lstm_cell").to_html())
    split = [s for s in data["steps"] if s["op"] == "getitem" and s["direction"] == "forward"]
    texts = [data["formulas"][data["values"][s["value"]]["label"]]["text"] for s in split]
    assert texts == ["zᵢ", "z_f", "z_g", "zₒ"]


def test_code_is_shown_from_def_and_marked_to_the_character():
    data = data_of(recorded("softmax_cross_entropy").to_html())
    names = [f["name"] for f in data["functions"]]
    assert names[0] == "softmax_cross_entropy"
    assert "_shift" in names
    texts = [["".join(text for _, text in line) for line in f["lines"]] for f in data["functions"]]
    assert all(text[0].startswith(f"def {name}(") for name, text in zip(names, texts, strict=True))
    exp = next(s for s in data["steps"] if s["op"] == "exp")["places"][-1]
    line = texts[exp["function"]][exp["line"] - data["functions"][exp["function"]]["first"]]
    assert line[exp["column"]:exp["endColumn"]] == "np.exp(z)"


def test_a_statement_of_several_lines():
    def f(x):
        return (x
                * 2.5
                + np.exp(
                    x))

    data = data_of(trace(f, np.ones(2)).to_html())
    place = next(s for s in data["steps"] if s["op"] == "add")["places"][-1]
    assert place["endLine"] - place["line"] == 3
    assert data["functions"][0]["lines"][0] == [["k", "def"], ["", " "], ["d", "f"], ["", "(x):"]]
    assert place["column"] == len("    return (")  # dedented, as the lines are


def test_a_condition_shows_its_expression_and_not_its_block():
    def f(x):
        if np.sum(x) > 0:
            x = x * 3.0
        return x

    data = data_of(trace(f, np.ones(2)).to_html())
    assert data["formulas"][data["steps"][0]["formula"]]["text"].strip() == "⟦∑ x⟧"


def test_in_place_operators_name_their_arguments():
    def f(x):
        y = x * 2.0
        y += x
        return y

    data = data_of(trace(f, np.ones(2)).to_html())
    add = data["steps"][1]
    assert add["op"] == "add"
    assert [data["formulas"][i["label"]]["text"] for i in add["inputs"]] == ["y", "x"]


# ---- what is not in it


def test_nothing_is_fetched():
    page = recorded("adam_step").to_html()
    assert not re.search(r"""(?:src|href)\s*=(?!"data:,")|@import|url\(|fetch\(|XMLHttp|import\(""", page)
    hosts = set(re.findall(r"https?://([\w.]+)", page))
    assert hosts <= {"www.w3.org"}  # the name of MathML's namespace


def test_the_policy_allows_its_own_script_and_style_and_no_other():
    page = recorded("linear").to_html()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


HOSTILE = '''
def f(x):
    """</script><script>alert(1)</script> <b>"quotes" & 'ticks' \u4e2d\u6587 \U0001f600 {{data}} {{script}}"""
    \u53d8\u91cf = x * 2.0  # </script> <!-- <img src=x onerror=alert(1)>
    return \u53d8\u91cf + len("</style>]]>") * np.ones(1)
'''


def traced_from_file(tmp_path, text, name="f"):
    import importlib.util

    path = tmp_path / "learner.py"
    path.write_text("import numpy as np\n" + text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("learner", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return trace(getattr(module, name), np.ones(2))


def test_hostile_text_stays_text(tmp_path):
    recording = traced_from_file(tmp_path, HOSTILE)
    page = recording.to_html(title="</title><script>alert(2)</script>")
    assert page.count("<script") == 2  # the data and the program
    assert page.count("</script>") == 2
    assert "<b>" not in page
    assert "<img" not in page
    text = "\n".join("".join(t for _, t in line) for line in data_of(page)["functions"][0]["lines"])
    assert text == HOSTILE.strip()  # shown as written, markers of the template too
    assert data_of(page)["title"]["en"] == "</title><script>alert(2)</script>"
    assert "learner.py" in page
    assert str(tmp_path) not in page  # nobody's folders


def test_a_function_without_source_has_its_steps_all_the_same():
    scope = {"np": np}
    exec("def f(x):\n    return np.sum(np.tanh(x) * 2.0)", scope)
    recording = trace(scope["f"], np.ones(3))
    data = data_of(recording.to_html())
    assert [s["op"] for s in data["steps"][:3]] == ["tanh", "multiply", "sum"]
    assert all(f["lines"] == [] for f in data["functions"])
    assert data["equation"] is None
    assert data["title"]["en"] == "f"


class Twice:
    def __call__(self, x):
        return x * 2.0


@pytest.mark.parametrize("function", [np.tanh, lambda x: np.tanh(x), Twice(), Twice().__call__])
def test_what_is_no_plain_function(function):
    assert data_of(trace(function, np.ones(2)).to_html())["steps"]


# ---- arrays


def test_of_a_large_array_a_corner_is_kept_and_its_shape_told():
    x = np.arange(7 * 100 * 30.0).reshape(7, 100, 30)
    arrays = Arrays()
    assert arrays.add(x) == arrays.add(x.copy()) == 0
    assert arrays.add(x.astype(np.float32)) == 1
    stored = arrays.stored[0]
    assert stored["shape"] == [7, 100, 30]
    assert stored["shown"] == [4, 24, 24]
    assert stored["largest"] == x.max()  # colours are measured by the whole
    np.testing.assert_array_equal(np.reshape(stored["data"], (4, 24, 24)), x[:4, :24, :24])


def test_a_long_recording_of_large_arrays_is_some_megabytes():
    def f(x):
        for _ in range(300):
            x = np.tanh(x)
        return x

    recording = trace(f, np.random.default_rng(0).standard_normal((3, 40, 50)))
    page = recording.to_html()
    assert len(recording.steps) == 900
    assert len(page) < 4_000_000
    stored = data_of(page)["arrays"][0]
    assert stored["shape"] == [3, 40, 50]
    assert stored["shown"] == [3, 5, 5]


def test_what_json_cannot_hold():
    arrays = Arrays()
    arrays.add(np.array([np.nan, np.inf, -np.inf, -0.5]))
    arrays.add(np.array([True, False]))
    arrays.add(np.array(2**60))
    arrays.add(np.array(1j))
    arrays.add(np.zeros((0, 3)))
    assert [a["data"] for a in arrays.stored] == [
        ["nan", "inf", "-inf", -0.5], [True, False], [str(2**60)], ["1j"], []]
    assert arrays.stored[0]["largest"] == 0.5
    json.dumps(arrays.stored, allow_nan=False)


def test_code_that_is_no_python_has_no_colours():
    assert pieces(["a = (", "  'x"]) == [[("", "a = (")], [("", "  'x")]]


def test_colours():
    assert pieces(["x = 'a' + 1  # c", "def f(): pass"]) == [
        [("", "x = "), ("s", "'a'"), ("", " + "), ("n", "1"), ("", "  "), ("c", "# c")],
        [("k", "def"), ("", " "), ("d", "f"), ("", "(): "), ("k", "pass")]]
    assert pieces(["x = '''a", "b'''"]) == [[("", "x = "), ("s", "'''a")], [("s", "b'''")]]


# ---- equations


def test_a_formula_of_several_lines():
    assert lines(r"a = b \\ c,\quad d = e") == ["a = b", "c", "d = e"]
    assert lines(r"\begin{cases} a \\ b \end{cases}") == [r"\begin{cases} a \\ b \end{cases}"]


@pytest.mark.parametrize("name", LEDGER)
def test_letters_are_explained_in_both_languages(name):
    row = LEDGER[name]
    shown = data_of(recorded(name).to_html())["equation"]["symbols"]
    assert [s["symbol"] for s in shown] == list(row.symbols)
    for s in shown:
        assert s["meaning"] == {"en": row.symbols[s["symbol"]], "zh": row.symbols_zh[s["symbol"]]}


def test_equations_are_mathml():
    pytest.importorskip("latex2mathml")
    plain = []
    for name in LEDGER:
        row = data_of(recorded(name).to_html())["equation"]
        plain += [(name, part) for part in row["lines"] + row["symbols"] if not part["mathml"]]
    assert plain == []


def test_without_latex2mathml_the_latex_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    row = data_of(recorded("linear").to_html())["equation"]
    assert all(line["mathml"] == "" and line["latex"] for line in row["lines"])


# ---- the file


@pytest.mark.parametrize("traced", [
    lambda: trace(adam_step, *(np.arange(3.0) + i for i in range(4)), 2),
    lambda: trace(softmax_cross_entropy, np.eye(3), np.arange(3)),
    lambda: trace(lstm_cell, *LEDGER["lstm_cell"].example(np.random.default_rng(0)))])
def test_the_same_recording_gives_the_same_bytes(traced):
    recording = traced()
    assert recording.to_html() == recording.to_html() == traced().to_html()


def test_written_to_a_file(tmp_path):
    recording = recorded("linear")
    page = recording.to_html(tmp_path / "linear.html", title="My step", lang="zh")
    assert (tmp_path / "linear.html").read_bytes() == page.encode()
    assert '<html lang="zh-CN">' in page
    assert "<title>My step</title>" in page


def test_mistakes_are_one_line(tmp_path):
    recording = recorded("linear")
    with pytest.raises(UserError, match="lang = 'fr' is neither 'en' nor 'zh'"):
        recording.to_html(lang="fr")
    with pytest.raises(UserError, match="cannot write the page to"):
        recording.to_html(tmp_path / "none" / "x.html")


def test_a_notebook_gets_the_page_in_a_frame():
    recording = recorded("linear")
    frame = recording._repr_html_()
    found = re.fullmatch(r'<iframe title="[^"<]+" sandbox="allow-scripts" [^<>]* srcdoc="([^"]*)"></iframe>',
                         frame)
    assert html.unescape(found[1]) == recording.to_html()
