"""Code as formulas: each construct in plain text, and MathML that is well formed."""

import ast
import xml.etree.ElementTree as ET

import pytest

from minillm.formulas import LEDGER
from minillm.stepper.formula import MathML, Plain, formula
from minillm.stepper.source import lines_of


def plain(code, now=None):
    statement = ast.parse(code).body[0]
    return formula(statement, Plain(), now(statement) if now else None)


@pytest.mark.parametrize(("code", "wanted"), [
    ("m_hat = m / (1 - beta1**t)", "m̂ = m / (1 − β₁ᵗ)"),
    ("a - (b - c)", "a − (b − c)"), ("a - b - c", "a − b − c"), ("(a + b) * c", "(a + b)·c"),
    ("a / (b * c)", "a / (b·c)"), ("a / b / c", "a / b / c"), ("-x ** 2", "−x²"), ("(-x) ** 2", "(−x)²"),
    ("x ** (y + 1)", "x^(y + 1)"), ("np.exp(x)", "e^x"), ("np.exp(a + b)", "e^(a + b)"),
    ("np.sqrt(v_hat) + eps", "√v̂ + ε"),
    ("np.log(np.sum(e, axis=-1, keepdims=True))", "log (∑ e)"), ("x.sum()", "∑ x"), ("np.mean(x)", "mean x"),
    ("x @ W.T + b", "x W^⊤ + b"), ("fused.lstm(x)", "lstm(x)"),
    ("np.where(x > 0, x, 0)", "x where x > 0, else 0"),
    ("x[:, 1]", "x[:, 1]"), ("theta -= a * g", "θ ← θ − a·g"), ("abs(x)", "|x|"), ("1e-8 * x", "1·10^-8·x"),
    ("np.tanh(x) if y else z", "tanh x if y else z"), ("y = -np.inf", "y = −∞"), ("sigma_2", "σ₂"),
    ("f(x, y)", "f(x, y)"), ("a < b <= c", "a < b ≤ c"), ("x @ y @ z", "x y z"),
    ("np.sum(a + b)", "∑ (a + b)"), ("lambda x: x", "lambda x: x"), ("np.cos(np.pi * s)", "cos (π·s)"),
    # of Triton
    ("x = tl.load(X + r * V + j, mask=j < V, other=0.0).to(tl.float32)", "x = load(X + r·V + j)"),
    ("tl.store(OUT + i, 2 * x, mask=mask)", "OUT + i ← 2·x"), ("m = -float('inf')", "m = −∞"),
    ("m = float('-inf')", "m = −∞"), ("x - float('-inf')", "x − (−∞)"), ("tl.max(x, axis=0)", "max x"),
    ("theta - tl.div_rn(a, tl.sqrt_rn(v) + eps) * m", "θ − a / (√v + ε)·m")])
def test_constructs(code, wanted):
    assert plain(code) == wanted


def test_what_is_at_work_is_marked():
    assert plain("y = a * b + c", lambda s: s.value.left) == "y = ⟦a·b⟧ + c"
    marked = formula((s := ast.parse("y = (a + b) / c").body[0]), MathML(), s.value.left)
    assert "<mrow class='now'><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow></mrow>" in marked


def test_brackets_stand_where_the_meaning_needs_them():
    """The plain text, read back as Python, is the same computation."""
    for code in ("a - (b + c)", "a * (b - c) / (d + e)", "(a / b) * c", "a / (b / c)", "-(a + b)",
                 "(a - b) ** 2"):
        text = plain(code).replace("·", "*").replace("−", "-").replace("²", "**2")
        values = {"a": 2.0, "b": 3.0, "c": 5.0, "d": 7.0, "e": 11.0}
        assert eval(text, {}, values) == pytest.approx(eval(code, {}, values))


@pytest.mark.parametrize("name", LEDGER)
def test_every_line_of_the_ledger_is_well_formed_mathml(name):
    _, lines = lines_of(LEDGER[name].reference)
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.Return | ast.AugAssign):
            ET.fromstring(f"<math>{formula(node, MathML())}</math>")
            assert formula(node, Plain())


def test_words_in_mathml_keep_their_distance():
    text = formula(ast.parse("np.where(x > 0, x, 0)").body[0], MathML())
    assert "<mtext>\u00a0where\u00a0</mtext>" in text


def test_what_is_no_formula_is_shown_as_it_is_and_escaped():
    text = formula(ast.parse("x = f'{a}<b>'").body[0], MathML())
    assert "&lt;b&gt;" in text
    ET.fromstring(f"<math>{text}</math>")
