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
# How tightly what is written holds together. ∑ x and log x go on to the right, so they are no left factor.
ATOM, POWER, PRODUCT, PREFIX, SUM, LOGIC, COMPARISON, CHOICE, LOOSE = 10, 8, 6, 5, 4, 3, 2, 1, 0
BINARY: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", SUM), ast.Sub: ("−", SUM), ast.Mult: ("·", PRODUCT), ast.Div: ("/", PRODUCT),
    ast.MatMult: (" ", PRODUCT), ast.Mod: ("mod", PRODUCT), ast.FloorDiv: ("÷", PRODUCT),
    ast.BitAnd: ("∧", LOGIC), ast.BitOr: ("∨", LOGIC)}
# Operators that may stand beside one another without brackets; all others only beside their own kind.
ALIKE = ({ast.Add, ast.Sub}, {ast.Mult, ast.Div})
COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥", ast.Eq: "=", ast.NotEq: "≠", ast.Is: "=",
    ast.IsNot: "≠", ast.In: "∈", ast.NotIn: "∉"}
MODULES = ("np", "numpy", "math", "formulas", "tl")
METHODS = {*REDUCTIONS, "reshape", "astype", "to", "transpose", "swapaxes", "squeeze", "ravel", "dot", "clip",
           "cumsum"}
SAME_NUMBERS = {"reshape", "expand_dims", "squeeze", "asarray", "astype", "to", "broadcast_to", "array"}


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
    def low(self, a: str, b: str) -> str: ...
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

    def low(self, a: str, b: str) -> str:
        return self.index(a, b)

    def root(self, a: str) -> str:
        return f"<msqrt>{a}</msqrt>"

    def mark(self, a: str) -> str:
        return f"<mrow class='now'>{a}</mrow>"


SUPERSCRIPTS = str.maketrans("0123456789+-−tnijk", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ᵗⁿⁱʲᵏ")
SUBSCRIPTS = str.maketrans("0123456789−tijknaehloprsuvx", "₀₁₂₃₄₅₆₇₈₉₋ₜᵢⱼₖₙₐₑₕₗₒₚᵣₛᵤᵥₓ")


class Plain:
    """One line of Unicode, for a terminal. What is computed now stands between ⟦ and ⟧."""

    flat_fraction = True

    def name(self, base: str, sub: str) -> str:
        if not sub:
            return base
        return base + (sub.translate(SUBSCRIPTS) if _all_small(sub, SUBSCRIPTS) else f"_{sub}")

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
        if _all_small(b, SUPERSCRIPTS):
            return a + b.translate(SUPERSCRIPTS)
        return f"{a}^{b}" if _one_letter(b) else f"{a}^({b})"

    def index(self, a: str, b: str) -> str:
        return f"{a}[{b}]"

    def low(self, a: str, b: str) -> str:
        return a + (b.translate(SUBSCRIPTS) if _all_small(b, SUBSCRIPTS) else f"_({b})")

    def root(self, a: str) -> str:
        return f"√{a}" if _one_letter(a) else f"√({a})"

    def mark(self, a: str) -> str:
        return f"⟦{a}⟧"


def _one_letter(text: str) -> bool:
    """A letter, perhaps with an accent: it needs no brackets."""
    return len(text.rstrip("".join(ACCENTS.values()))) == 1


def _all_small(text: str, table: dict[int, int]) -> bool:
    """Whether there is a small form of each character, and none is small already: 2² is not 22."""
    return bool(text) and all(ord(c) in table for c in text)


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
        if isinstance(node, ast.Assign):
            targets = [part for t in node.targets for part in (self.write(t), w.sign("="))]
            return w.row(*targets, self.write(node.value))
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            return w.row(self.write(node.target), w.sign("="), self.write(node.value))
        if isinstance(node, ast.AugAssign):
            whole = ast.BinOp(node.target, node.op, node.value)
            text = self.write(whole)
            return w.row(self.write(node.target), w.sign("←"), w.mark(text) if node is self.now else text)
        if isinstance(node, ast.Return | ast.Expr) and node.value is not None:
            return self.write(node.value)
        return self.write(node) if isinstance(node, ast.expr) else w.word(ast.unparse(node))

    def write(self, node: ast.AST, needs: int = 0) -> str:
        """The formula of an expression, in brackets if it holds together less tightly than `needs`."""
        return self._finished(node, *self._plain(node), needs)

    def _finished(self, node: ast.AST, text: str, tightness: int, needs: int) -> str:
        if tightness < needs:
            text = self.w.row(self.w.sign("("), text, self.w.sign(")"))
        return self.w.mark(text) if node is self.now else text

    def _plain(self, node: ast.AST) -> tuple[str, int]:
        w = self.w
        match node:
            case ast.Name(id=name):
                return self._name(name), ATOM
            case ast.Constant(value=value):
                text = _number(value)
                return w.number(text), PRODUCT if "·" in text else ATOM
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return w.row(w.word("−"), self.write(x, PREFIX)), SUM
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=x):
                return w.row(w.sign("¬"), self.write(x, POWER)), POWER
            case ast.UnaryOp(operand=x):
                return self.write(x, SUM), SUM
            case ast.BinOp(left=a, op=ast.Div(), right=b) if not w.flat_fraction:
                return w.fraction(self.write(a), self.write(b)), POWER
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                return w.power(self.write(a, POWER + 1), self.write(b)), POWER
            case ast.BinOp(op=op) if type(op) in BINARY:
                return self._binary(node)
            case ast.Compare(left=a, ops=ops, comparators=others):
                parts = [self.write(a, COMPARISON + 1)]
                for compare, b in zip(ops, others, strict=True):
                    parts += [w.sign(COMPARE[type(compare)]), self.write(b, COMPARISON + 1)]
                return w.row(*parts), COMPARISON
            case ast.IfExp(test=test, body=a, orelse=b):
                return w.row(self.write(a, COMPARISON), w.word(" if "), self.write(test, COMPARISON),
                             w.word(" else "), self.write(b, CHOICE)), CHOICE
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
        loose = isinstance(node, ast.BoolOp | ast.BinOp | ast.Lambda | ast.NamedExpr)
        return w.word(ast.unparse(node)), LOOSE if loose else ATOM

    def _binary(self, node: ast.BinOp) -> tuple[str, int]:
        """What Python computes first is in brackets, unless the signs alone say so."""
        w, kind = self.w, type(node.op)
        sign, level = BINARY[kind]
        alike = next((kinds for kinds in ALIKE if kind in kinds), {kind})
        left, right = _core(node.left), _core(node.right)
        apart = isinstance(left, ast.BinOp) and type(left.op) in BINARY and type(left.op) not in alike
        a = self._finished(node.left, *self._plain(left), level + apart)
        text, tightness = self._plain(right)
        needs = level + 1
        if kind in (ast.Add, ast.Mult) and isinstance(right, ast.BinOp) and type(right.op) in alike:
            needs = min(level, tightness)  # a + (b - c) is a + b - c
        elif kind in (ast.Mult, ast.Div) and isinstance(right, ast.Call) and tightness == PREFIX:
            needs = PREFIX  # a·log b
        b = self._finished(node.right, text, tightness, needs)
        # Where the right end is open, so is the whole.
        holds = level if tightness < needs else min(level, tightness)
        return (w.fraction(a, b) if kind is ast.Div else w.row(a, w.sign(sign), b)), holds

    def _call(self, node: ast.Call) -> tuple[str, int]:
        w, args = self.w, _arguments(node)
        name, core = _called(node), _core(node)
        if core is not node:
            return self._plain(core)
        if not args:
            return w.word(ast.unparse(node)), ATOM
        x = args[0]
        axis = next((k.value for k in node.keywords if k.arg == "axis"), None)
        if name == "exp":
            return w.power(w.name("e", ""), self.write(x)), POWER
        if name in ("sqrt", "sqrt_rn"):
            return w.root(self.write(x)), POWER if w.flat_fraction else ATOM
        if name == "square":
            return w.power(self.write(x, POWER + 1), w.number("2")), POWER
        if name in ("abs", "absolute", "fabs"):
            return w.row(w.sign("|"), self.write(x), w.sign("|")), ATOM
        if name in ("transpose", "swapaxes"):
            return w.power(self.write(x, POWER + 1), w.sign("⊤")), POWER
        if name == "where" and len(args) == 3:
            test, a, b = args
            return w.row(self.write(a, COMPARISON), w.word(" where "), self.write(test, COMPARISON),
                         w.word(", else "), self.write(b, CHOICE)), LOOSE
        if name == "store" and len(args) >= 2:  # where to, and what
            return w.row(self.write(x, SUM), w.sign("←"), self.write(args[1], SUM)), COMPARISON
        if name in REDUCTIONS and len(args) == 2 and axis is None and isinstance(node.func, ast.Attribute):
            args, axis = [x], args[1]  # of Python's own max and min, the second is no axis
        called = w.word(REDUCTIONS.get(name) or FUNCTIONS.get(name, name.strip("_")))
        if axis is not None and not (isinstance(axis, ast.Constant) and axis.value is None):
            called = w.low(called, self._list(axis.elts) if isinstance(axis, ast.Tuple) else self.write(axis))
        if len(args) == 1 and (name in REDUCTIONS or name in FUNCTIONS):
            return w.row(called, w.sign(" "), self.write(x, PRODUCT if name in REDUCTIONS else POWER)), PREFIX
        return w.row(called, w.sign("("), self._list(args), w.sign(")")), ATOM

    def _list(self, items: list[ast.expr]) -> str:
        parts: list[str] = []
        needs = CHOICE if len(items) > 1 else LOOSE  # "a where b, else c" has a comma of its own
        for item in items:
            parts += [self.w.sign(", ")] * bool(parts) + [self.write(item, needs)]
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


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _arguments(node: ast.Call) -> list[ast.expr]:
    """What a call computes with: x.sum() is sum(x)."""
    is_method = isinstance(node.func, ast.Attribute) and node.func.attr in METHODS \
        and getattr(node.func.value, "id", "") not in MODULES
    return [node.func.value, *node.args] if is_method and isinstance(node.func, ast.Attribute) else node.args


def _core(node: ast.AST) -> ast.AST:
    """What a call is shown as: the same numbers in another shape as themselves, `matmul` and `div_rn` as
    operators; all else as it is.
    """
    while isinstance(node, ast.Call):
        match _called(node), _arguments(node):
            case name, [x, *_] if name in SAME_NUMBERS:
                node = x
            case "div_rn", [a, b]:
                return ast.BinOp(a, ast.Div(), b)
            case "matmul" | "dot", [a, b, *_]:
                return ast.BinOp(a, ast.MatMult(), b)
            case _:
                return node
    return node


def _number(value: object) -> str:
    """A literal with all its digits."""
    if isinstance(value, float):
        text = repr(value).removesuffix(".0")
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa}·10^{int(exponent)}" if e else "∞" if text == "inf" else text
    return repr(value)
