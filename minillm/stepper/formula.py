"""A line of code as the formula that it is: `m / (1 - beta1**t)` as a fraction, in MathML or in plain text.

One walk over the syntax tree; a `Writer` says how a fraction, a root or a power look.
"""

from __future__ import annotations

import ast
from typing import Protocol
from xml.sax.saxutils import escape

GREEK = dict(zip(
    "alpha beta gamma delta epsilon eps zeta eta theta kappa lambda lam mu nu xi pi rho sigma tau phi chi "
    "psi omega Delta Sigma Omega Theta".split(),
    "α β γ δ ε ε ζ η θ κ λ λ μ ν ξ π ρ σ τ φ χ ψ ω Δ Σ Ω Θ".split(), strict=True))
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
FUNCTIONS = {"log": "log", "log2": "log₂", "log10": "log₁₀", "log1p": "log1p", "tanh": "tanh", "sin": "sin",
             "cos": "cos", "sinh": "sinh", "cosh": "cosh", "sigmoid": "σ", "maximum": "max", "minimum": "min",
             "sign": "sgn", "softmax": "softmax", "erf": "erf"}
REDUCTIONS = {"sum": "∑", "prod": "∏", "max": "max", "min": "min", "mean": "mean", "argmax": "argmax",
              "argmin": "argmin", "var": "var", "amax": "max", "amin": "min"}
BINARY: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 4), ast.Sub: ("−", 4), ast.Mult: ("·", 5), ast.MatMult: (" ", 5), ast.Mod: ("mod", 5),
    ast.FloorDiv: ("÷", 5), ast.BitAnd: ("∧", 3), ast.BitOr: ("∨", 3)}
COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥", ast.Eq: "=", ast.NotEq: "≠", ast.Is: "=",
    ast.IsNot: "≠", ast.In: "∈", ast.NotIn: "∉"}
MODULES = ("np", "numpy", "math", "formulas", "tl")
METHODS = {*REDUCTIONS, "reshape", "astype", "to", "transpose", "swapaxes", "squeeze", "ravel", "dot", "clip",
           "cumsum"}
ATOM, POWER, PRODUCT, SUM, COMPARISON = 9, 7, 5, 4, 2  # how tightly what is written holds together


class Writer(Protocol):
    """How the parts of a formula are put down."""

    def name(self, base: str, sub: str) -> str: ...
    def number(self, text: str) -> str: ...
    def sign(self, text: str) -> str: ...
    def word(self, text: str) -> str: ...
    def row(self, *parts: str) -> str: ...
    def fraction(self, a: str, b: str) -> str: ...
    def power(self, a: str, b: str) -> str: ...
    def index(self, a: str, b: str) -> str: ...
    def root(self, a: str) -> str: ...
    def mark(self, a: str) -> str: ...

    flat_fraction: bool  # whether a fraction is on one line and its parts need brackets


class MathML:
    """MathML Core, as browsers draw it without a library."""

    flat_fraction = False

    def name(self, base: str, sub: str) -> str:
        letters = f"<mi>{escape(base)}</mi>"
        return f"<msub>{letters}<mi>{escape(sub)}</mi></msub>" if sub else letters

    def number(self, text: str) -> str:
        return f"<mn>{escape(text)}</mn>"

    def sign(self, text: str) -> str:
        return f"<mo>{escape(text)}</mo>" if text.strip() else "<mspace width='0.2em'/>"

    def word(self, text: str) -> str:
        if text != text.strip():  # blanks at the ends of other elements are dropped
            return f"<mtext>{escape(text).replace(' ', chr(0xA0))}</mtext>"
        return f"<mi mathvariant='normal'>{escape(text)}</mi>"

    def row(self, *parts: str) -> str:
        return f"<mrow>{''.join(parts)}</mrow>"

    def fraction(self, a: str, b: str) -> str:
        return f"<mfrac>{a}{b}</mfrac>"

    def power(self, a: str, b: str) -> str:
        return f"<msup>{a}{b}</msup>"

    def index(self, a: str, b: str) -> str:
        return f"<msub>{a}{b}</msub>"

    def root(self, a: str) -> str:
        return f"<msqrt>{a}</msqrt>"

    def mark(self, a: str) -> str:
        return f"<mrow class='now'>{a}</mrow>"


SUPERSCRIPTS = str.maketrans("0123456789+-−tnijk", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ᵗⁿⁱʲᵏ")
SUBSCRIPTS = str.maketrans("0123456789tijknaehloprsuvx", "₀₁₂₃₄₅₆₇₈₉ₜᵢⱼₖₙₐₑₕₗₒₚᵣₛᵤᵥₓ")


class Plain:
    """One line of Unicode, for a terminal. What is computed now stands between ⟦ and ⟧."""

    flat_fraction = True

    def name(self, base: str, sub: str) -> str:
        if not sub:
            return base
        small = sub.translate(SUBSCRIPTS)
        return base + (small if _all_small(small, SUBSCRIPTS) else f"_{sub}")

    def number(self, text: str) -> str:
        return text

    def sign(self, text: str) -> str:
        return f" {text} " if text.strip() and text in "+−<>≤≥=≠∈∉∧∨mod÷←" else text

    def word(self, text: str) -> str:
        return text

    def row(self, *parts: str) -> str:
        return "".join(parts)

    def fraction(self, a: str, b: str) -> str:
        return f"{a} / {b}"

    def power(self, a: str, b: str) -> str:
        small = b.translate(SUPERSCRIPTS)
        if _all_small(small, SUPERSCRIPTS):
            return a + small
        return f"{a}^{b}" if _one_letter(b) else f"{a}^({b})"

    def index(self, a: str, b: str) -> str:
        return f"{a}[{b}]"

    def root(self, a: str) -> str:
        return f"√{a}" if _one_letter(a) else f"√({a})"

    def mark(self, a: str) -> str:
        return f"⟦{a}⟧"


def _one_letter(text: str) -> bool:
    """A letter, perhaps with an accent: it needs no brackets."""
    return len(text.rstrip("".join(ACCENTS.values()))) == 1


def _all_small(text: str, table: dict[int, int]) -> bool:
    return bool(text) and all(ord(c) in table.values() for c in text)


def formula(node: ast.AST, writer: Writer, now: ast.AST | None = None) -> str:
    """An expression, or an assignment or return statement, as a formula.

    Args:
        node: the syntax tree.
        writer: `MathML()` (what goes inside <math>) or `Plain()`.
        now: the part of `node` that is being computed: it is marked.
    """
    return _Walk(writer, now).statement(node)


class _Walk:
    def __init__(self, writer: Writer, now: ast.AST | None) -> None:
        self.w, self.now = writer, now

    def statement(self, node: ast.AST) -> str:
        w = self.w
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            return w.row(self.write(node.targets[0]), w.sign("="), self.write(node.value))
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            return w.row(self.write(node.target), w.sign("="), self.write(node.value))
        if isinstance(node, ast.AugAssign):
            whole = ast.BinOp(node.target, node.op, node.value)
            return w.row(self.write(node.target), w.sign("←"), self.write(whole))
        if isinstance(node, ast.Return | ast.Expr) and node.value is not None:
            return self.write(node.value)
        return self.write(node) if isinstance(node, ast.expr) else w.word(ast.unparse(node))

    def write(self, node: ast.AST, needs: int = 0) -> str:
        """The formula of an expression, in brackets if it holds together less tightly than `needs`."""
        text, tightness = self._plain(node)
        if tightness < needs:
            text = self.w.row(self.w.sign("("), text, self.w.sign(")"))
        return self.w.mark(text) if node is self.now else text

    def _plain(self, node: ast.AST) -> tuple[str, int]:
        w = self.w
        match node:
            case ast.Name(id=name):
                return self._name(name), ATOM
            case ast.Constant(value=value):
                return w.number(_number(value)), ATOM
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return w.row(w.word("−"), self.write(x, PRODUCT)), SUM
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=x):
                return w.row(w.sign("¬"), self.write(x, POWER)), PRODUCT
            case ast.UnaryOp(operand=x):
                return self.write(x), SUM
            case ast.BinOp(left=a, op=ast.Div(), right=b):
                if w.flat_fraction:
                    return w.fraction(self.write(a, PRODUCT), self.write(b, PRODUCT + 1)), PRODUCT
                return w.fraction(self.write(a), self.write(b)), ATOM
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                return w.power(self.write(a, POWER + 1), self.write(b)), POWER
            case ast.BinOp(left=a, op=op, right=b) if type(op) in BINARY:
                sign, tightness = BINARY[type(op)]
                right = tightness if isinstance(op, ast.Add | ast.Mult) else tightness + 1
                return w.row(self.write(a, tightness), w.sign(sign), self.write(b, right)), tightness
            case ast.Compare(left=a, ops=ops, comparators=others):
                parts = [self.write(a, COMPARISON + 1)]
                for compare, b in zip(ops, others, strict=True):
                    parts += [w.sign(COMPARE[type(compare)]), self.write(b, COMPARISON + 1)]
                return w.row(*parts), COMPARISON
            case ast.IfExp(test=test, body=a, orelse=b):
                return w.row(self.write(a), w.word(" if "), self.write(test), w.word(" else "),
                             self.write(b)), 1
            case ast.Attribute(value=a, attr="T" | "mT"):
                return w.power(self.write(a, POWER + 1), w.sign("⊤")), POWER
            case ast.Attribute(value=ast.Name(id="np" | "numpy" | "math"), attr="inf" | "pi" as attr):
                return w.number({"inf": "∞", "pi": "π"}[attr]), ATOM
            case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value="inf" | "-inf" as text)]):
                return w.number("∞" if text == "inf" else "−∞"), ATOM if text == "inf" else SUM
            case ast.Attribute(value=a, attr=attr):
                return w.row(self.write(a, ATOM), w.word("." + attr)), ATOM
            case ast.Subscript(value=a, slice=i):
                return w.index(self.write(a, ATOM), self._indices(i)), ATOM
            case ast.Call():
                return self._call(node)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                return w.row(w.sign("("), self._list(items), w.sign(")")), ATOM
        return w.word(ast.unparse(node)), ATOM

    def _call(self, node: ast.Call) -> tuple[str, int]:
        w, args = self.w, list(node.args)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(node.func, ast.Attribute) and name in METHODS \
                and getattr(node.func.value, "id", "") not in MODULES:
            args = [node.func.value, *args]  # x.sum() is sum x
        if not args:
            return w.word(ast.unparse(node)), ATOM
        x = args[0]
        if name == "exp":
            return w.power(w.name("e", ""), self.write(x)), POWER
        if name in ("sqrt", "sqrt_rn"):
            return w.root(self.write(x)), ATOM
        if name == "square":
            return w.power(self.write(x, POWER + 1), w.number("2")), POWER
        if name in ("abs", "absolute", "fabs"):
            return w.row(w.sign("|"), self.write(x), w.sign("|")), ATOM
        if name in ("reshape", "expand_dims", "squeeze", "asarray", "astype", "to", "broadcast_to",
                    "array"):
            return self._plain(x)  # the same numbers in another shape
        if name in ("transpose", "swapaxes"):
            return w.power(self.write(x, POWER + 1), w.sign("⊤")), POWER
        if name == "where" and len(args) == 3:
            test, a, b = args
            return w.row(self.write(a), w.word(" where "), self.write(test), w.word(", else "),
                         self.write(b)), 1
        if name == "div_rn" and len(args) == 2:
            return self._plain(ast.BinOp(x, ast.Div(), args[1]))
        if name == "store" and len(args) >= 2:  # where to, and what
            return w.row(self.write(x, SUM), w.sign("←"), self.write(args[1], SUM)), COMPARISON
        if name in ("matmul", "dot") and len(args) == 2:
            return w.row(self.write(x, PRODUCT), w.sign(" "), self.write(args[1], PRODUCT + 1)), PRODUCT
        if name in REDUCTIONS:
            return w.row(w.word(REDUCTIONS[name]), w.sign(" "), self.write(x, PRODUCT)), PRODUCT
        if name in FUNCTIONS and len(args) == 1:
            return w.row(w.word(FUNCTIONS[name]), w.sign(" "), self.write(x, POWER)), PRODUCT
        called = w.word(FUNCTIONS.get(name, name.strip("_")))
        return w.row(called, w.sign("("), self._list(args), w.sign(")")), ATOM

    def _list(self, items: list[ast.expr]) -> str:
        parts: list[str] = []
        for item in items:
            parts += [self.w.sign(", ")] * bool(parts) + [self.write(item)]
        return self.w.row(*parts)

    def _indices(self, i: ast.AST) -> str:
        items = i.elts if isinstance(i, ast.Tuple) else [i]
        parts: list[str] = []
        for item in items:
            parts += [self.w.sign(", ")] * bool(parts)
            parts.append(self.w.word(ast.unparse(item)) if isinstance(item, ast.Slice) else self.write(item))
        return self.w.row(*parts)

    def _name(self, name: str) -> str:
        base, _, rest = name.strip("_").partition("_")
        digits = base.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        letters = base.removesuffix(digits) if digits.isdigit() else base
        letters = GREEK.get(letters, letters)
        sub = digits if digits.isdigit() else ""
        for part in filter(None, rest.split("_")):
            if part in ACCENTS:
                letters += ACCENTS[part]
            else:
                sub += ("," if sub else "") + GREEK.get(part, part)
        return self.w.name(letters, sub)


def _number(value: object) -> str:
    if isinstance(value, float):
        text = f"{value:g}"
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa}·10^{int(exponent)}" if e else text
    return str(value)
