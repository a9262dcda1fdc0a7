"""Code as formulas: each construct in plain text, and MathML that is well formed."""

import ast
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minillm.formulas import LEDGER
from minillm.stepper.formula import SUPERSCRIPTS, MathML, Plain, formula
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
    ("np.log(np.sum(e, axis=-1, keepdims=True))", "log (∑₋₁ e)"), ("x.sum()", "∑ x"),
    ("np.mean(x)", "mean x"),
    ("x @ W.T + b", "x W^⊤ + b"), ("fused.lstm(x)", "lstm(x)"),
    ("np.where(x > 0, x, 0)", "x where x > 0, else 0"),
    ("x[:, 1]", "x[:, 1]"), ("theta -= a * g", "θ ← θ − a·g"), ("abs(x)", "|x|"), ("1e-8 * x", "1·10^-8·x"),
    ("np.tanh(x) if y else z", "tanh x if y else z"), ("y = -np.inf", "y = −∞"), ("sigma_2", "σ₂"),
    ("f(x, y)", "f(x, y)"), ("a < b <= c", "a < b ≤ c"), ("x @ y @ z", "x y z"),
    ("np.sum(a + b)", "∑ (a + b)"), ("lambda x: x", "lambda x: x"), ("np.cos(np.pi * s)", "cos (π·s)"),
    ("x.sum(1)", "∑₁ x"), ("np.sum(x, axis=(0, 1))", "∑_(0, 1) x"), ("np.sum(x, axis=None)", "∑ x"),
    ("np.sum(x, 0)", "∑₀ x"), ("np.mean(x, axis=k)", "meanₖ x"), ("softmax(x, axis=-1)", "softmax₋₁ x"),
    ("np.cumsum(x, axis=1)", "cumsum₁(x)"),
    ("np.sum(x)*y", "(∑ x)·y"), ("y*np.sum(x)", "y·∑ x"), ("y*np.sum(x)*z", "(y·∑ x)·z"),
    ("np.sum(x*y)", "∑ x·y"), ("np.tanh(q + k) @ v", "(tanh (q + k)) v"), ("e / np.sum(e)", "e / ∑ e"),
    ("tl.log(w)*tl.div_rn(u, w-1)", "(log w)·u / (w − 1)"), ("-np.log(x)", "−log x"),
    ("max(a, b)", "max(a, b)"), ("min(a, b, c)", "min(a, b, c)"), ("max(a)", "max a"),
    ("a*(b//c)", "a·(b ÷ c)"), ("(a<<b)*c", "(a << b)·c"), ("(a or b)*c", "(a or b)·c"),
    ("1.23456789*x", "1.23456789·x"), ("2.0*x", "2·x"), ("1e5*x", "100000·x"), ("f(*x)", "f(*x)"),
    ("np.sqrt(x)**2", "(√x)²"), ("a = b = x", "a = b = x"),
    ("f(np.where(t, a, b), c)", "f((a where t, else b), c)"),
    # of Triton
    ("x = tl.load(X + r * V + j, mask=j < V, other=0.0).to(tl.float32)", "x = load(X + r·V + j)"),
    ("tl.store(OUT + i, 2 * x, mask=mask)", "OUT + i ← 2·x"), ("m = -float('inf')", "m = −∞"),
    ("m = float('-inf')", "m = −∞"), ("x - float('-inf')", "x − (−∞)"), ("tl.max(x, axis=0)", "max₀ x"),
    ("theta - tl.div_rn(a, tl.sqrt_rn(v) + eps) * m", "θ − a / (√v + ε)·m")])
def test_constructs(code, wanted):
    assert plain(code) == wanted


def test_what_is_at_work_is_marked():
    assert plain("y = a * b + c", lambda s: s.value.left) == "y = ⟦a·b⟧ + c"
    marked = formula((s := ast.parse("y = (a + b) / c").body[0]), MathML(), s.value.left)
    assert "<mrow class='now'><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow></mrow>" in marked


# ---- the plain text, read back

PREFIXES = ("∑", "mean", "max", "tanh", "log")
SIGNS = {"·": ast.Mult, " / ": ast.Div, " mod ": ast.Mod, " ÷ ": ast.FloorDiv, " ": ast.MatMult}
COMPARED = {" < ": ast.Lt, " ≥ ": ast.GtE, " = ": ast.Eq}
TOKEN = re.compile(r" (?:[-+−/÷<≥=∧∨]|mod|if|else|where) |, else |, |\d+|[a-d]|e(?=[⁻⁰¹²³⁴-⁹])|e\^"
                   r"|∑|mean|max|tanh|log|[₋₀₁]+|[⁻⁰¹²³⁴-⁹]+|\^⊤|[()·−¬^√ ]")


class Reader:
    """Read a formula as a person does, from left to right: what stands first is computed first, ∑ and log
    take what stands behind them, and a sign that binds tighter goes before."""

    def __init__(self, text):
        self.tokens = TOKEN.findall(text)
        assert "".join(self.tokens) == text, text

    def next(self, *wanted):
        if self.tokens and self.tokens[0] in wanted:
            return self.tokens.pop(0)
        return None

    def all(self):
        found = self.choice()
        assert not self.tokens
        return found

    def choice(self):
        a = self.compared()
        if self.next(" where "):
            test = self.compared()
            assert self.next(", else ")
            return ("where", test, a, self.choice())
        if self.next(" if "):
            test = self.compared()
            assert self.next(" else ")
            return ("if", test, a, self.choice())
        return a

    def compared(self):
        a = self.logic()
        while sign := self.next(*COMPARED):
            a = (COMPARED[sign], a, self.logic())
        return a

    def logic(self):
        a = self.sum()
        while sign := self.next(" ∧ ", " ∨ "):
            a = (ast.BitAnd if sign == " ∧ " else ast.BitOr, a, self.sum())
        return a

    def sum(self):
        a = ("neg", self.product()) if self.next("−") else self.product()
        while sign := self.next(" + ", " − "):
            a = (ast.Add if sign == " + " else ast.Sub, a, self.product())
        return a

    def product(self):
        a = self.factor()
        while sign := self.next(*SIGNS):
            a = (SIGNS[sign], a, self.factor())
        return a

    def factor(self):
        if self.tokens[0] in PREFIXES:
            name = self.tokens.pop(0)
            axis = self.tokens.pop(0) if re.fullmatch("[₋₀₁]+", self.tokens[0]) else ""
            assert self.next(" ")
            x = self.product() if name in PREFIXES[:3] else self.factor()
            return (name, {"": None, "₀": 0, "₁": 1, "₋₁": -1}[axis], x)
        return self.power()

    def power(self):
        if self.next("¬"):
            return ("not", self.power())
        if self.next("√"):
            return ("√", self.atom())
        if self.next("e^"):
            return ("e^", self.atom())
        if self.next("e"):
            return ("e^", self.small())
        a = self.atom()
        if self.next("^⊤"):
            return ("T", a)
        if self.tokens and self.tokens[0][0] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
            return (ast.Pow, a, self.small())
        return (ast.Pow, a, self.atom()) if self.next("^") else a

    def small(self):
        text = self.tokens.pop(0)
        digits = int(text.strip("⁻").translate({v: k for k, v in SUPERSCRIPTS.items()}))
        return ("neg", digits) if text[0] == "⁻" else digits

    def atom(self):
        if self.next("("):
            found = self.choice()
            assert self.next(")")
            return found
        token = self.tokens.pop(0)
        assert re.fullmatch(r"\w+", token), token
        return int(token) if token.isdigit() else token


def meaning(node):
    """A syntax tree as what `Reader` gives."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=a, op=op, right=b):
            return (type(op), meaning(a), meaning(b))
        case ast.Compare(left=a, ops=[op], comparators=[b]):
            return (type(op), meaning(a), meaning(b))
        case ast.UnaryOp(op=op, operand=x):
            return ("neg" if isinstance(op, ast.USub) else "not", meaning(x))
        case ast.IfExp(test=test, body=a, orelse=b):
            return ("if", meaning(test), meaning(a), meaning(b))
        case ast.Attribute(value=x, attr="T"):
            return ("T", meaning(x))
        case ast.Call(func=ast.Attribute(attr=name), args=args, keywords=keywords):
            if name == "where":
                return ("where", *map(meaning, args))
            if name in ("exp", "sqrt"):
                return ({"exp": "e^", "sqrt": "√"}[name], meaning(args[0]))
            axis = ast.literal_eval(keywords[0].value) if keywords else None
            return ("∑" if name == "sum" else name, axis, meaning(args[0]))
    raise AssertionError(ast.unparse(node))


def in_a_row(x):
    """a + (b - c) and (a + b) - c alike: sums and products as all their parts, each with its sign."""
    def parts(x, plus, minus):
        if isinstance(x, tuple) and x[0] in (plus, minus):
            last = [(sign != (x[0] is minus), y) for sign, y in parts(x[2], plus, minus)]
            return parts(x[1], plus, minus) + last
        return [(True, in_a_row(x))]

    if not isinstance(x, tuple):
        return x
    for plus, minus in ((ast.Add, ast.Sub), (ast.Mult, ast.Div)):
        if x[0] in (plus, minus):
            return (plus, *parts(x, plus, minus))
    return (x[0], *map(in_a_row, x[1:]))


def code_of(parts):
    """The strategies of longer code, from code."""
    two = st.tuples(parts, st.sampled_from("+ - * / // % @ ** & | < >= ==".split()), parts)
    calls = ["np.sum({})", "np.sum({}, axis=0)", "np.mean({}, axis=-1)", "np.max({}, axis=1)", "np.tanh({})",
             "np.log({})", "np.exp({})", "np.sqrt({})", "(-({}))", "(~({}))", "({}).T", "({}).reshape(2, 3)"]
    return st.one_of(
        two.map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(st.sampled_from(calls), parts).map(lambda t: t[0].format(t[1])),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]}) if ({t[1]}) else ({t[2]})"),
        st.tuples(parts, parts, parts).map(lambda t: f"np.where({t[0]}, {t[1]}, {t[2]})"))


@settings(max_examples=1500, deadline=None)
@example("(a**b)**c")
@example("a*(b%c)")
@example("a*(b@c)")
@example("(a*b)@c")
@example("np.sum(a)*b")
@example("a - (b - c)")
@given(st.recursive(st.sampled_from("a b c d 2 3 17".split()), code_of, max_leaves=8))
def test_brackets_stand_where_the_meaning_needs_them(code):
    """The plain text, read back, is the same computation."""
    shown = meaning(ast.parse(code.replace(".reshape(2, 3)", ""), mode="eval").body)
    assert in_a_row(Reader(plain(code)).all()) == in_a_row(shown), plain(code)


def test_the_base_of_a_power_stands_apart_in_mathml_too():
    for code in ("(a ** b) ** c", "(a / b) ** c", "np.exp(a) ** c"):
        assert "<mo>(</mo>" in formula(ast.parse(code).body[0], MathML())


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
