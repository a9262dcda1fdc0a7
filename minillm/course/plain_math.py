"""LaTeX formulas as plain text for a terminal: `\\frac{\\partial L}{\\partial x_i}` is `∂L/∂xᵢ`."""

from __future__ import annotations

import re
from collections.abc import Callable

_SIGNS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω", "sum": "Σ", "prod": "Π", "int": "∫", "partial": "∂", "nabla": "∇", "infty": "∞",
    "cdot": "·", "times": "×", "odot": "⊙", "otimes": "⊗", "oplus": "⊕", "pm": "±", "le": "≤", "leq": "≤",
    "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "equiv": "≡", "propto": "∝", "sim": "~",
    "to": "→", "rightarrow": "→", "leftarrow": "←", "gets": "←", "mapsto": "↦", "Rightarrow": "⇒", "in": "∈",
    "notin": "∉", "subset": "⊂", "cup": "∪", "cap": "∩", "forall": "∀", "exists": "∃", "ldots": "…",
    "dots": "…", "cdots": "⋯", "vdots": "⋮", "top": "T", "ell": "ℓ", "mid": "|", "lVert": "‖", "rVert": "‖",
    "Vert": "‖", "|": "‖", "lvert": "|", "rvert": "|", "langle": "⟨", "rangle": "⟩", "lfloor": "⌊",
    "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "{": "{", "}": "}", "%": "%", "_": "_", "&": "&", "#": "#",
    "$": "$", ",": " ", ";": " ", ":": " ", "!": "", " ": " ", "quad": "\u2003", "qquad": "\u2003\u2003",
    "\\": "; ",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "",
    "displaystyle": "", "limits": "", "prime": "′", "star": "*", "ast": "*", "circ": "∘",
}
_BETWEEN = set("cdot times odot pm le leq ge geq ne neq approx equiv propto sim to rightarrow leftarrow gets "
               "mapsto Rightarrow in notin mid".split())
_RAISED = dict(zip("0123456789+-=()nit", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵗ", strict=True)) | {"T": "ᵀ"}
_LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_ABOVE = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304", "tilde": "\u0303",
          "widetilde": "\u0303", "vec": "\u20d7", "dot": "\u0307"}
_AS_IT_IS = set("text mathrm operatorname mathbf boldsymbol mathcal mathbb mathit textbf textit mathsf bm"
                .split())
_NAME = "\0"  # stands on both sides of a function's name, where a space may be needed
_TOKEN = re.compile(r"\\(?:[A-Za-z]+\s*|.)|[{}^_&]|\s+|[^\\{}^_&\s]")


def plain_math(latex: str) -> str:
    """A formula as one line; what is not known stays as it is written.

    Args:
        latex: without the dollar signs.
    """
    latex = re.sub(r"\\(?:begin|end)\{[a-z*]+\}(?:\{[lcr|]+\})?", " ", latex)
    tokens = [m[0] for m in _TOKEN.finditer(latex)]
    return _spaced(_Reader(tokens).all())


def plain_formulas(markdown: str, hold: Callable[[str], str] = str) -> str:
    """A text with its $formulas$ as plain text; code is left as it is.

    Args:
        markdown: the text.
        hold: what stands for a formula's plain text; so that it is not read as Markdown, its place alone.
    """
    parts = re.split(r"(?ms)(^```.*?^```|`[^`\n]+`)", markdown)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?s)\$\$(.+?)\$\$", lambda m: f"\n\n    {hold(plain_math(m[1]))}\n\n", parts[i])
        parts[i] = re.sub(r"(?<!\\)\$([^$]+?)(?<!\\)\$", lambda m: hold(plain_math(m[1])), parts[i])
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


def _spaced(text: str) -> str:
    """Spaces as a reader expects them: log x and tanh(x), and the same on both sides of a sign."""
    text = re.sub(r"[ \t\n]+", " ", text)
    scripts = "".join({*_RAISED.values(), *_LOWERED.values()})
    text = re.sub(rf"\0([{scripts}]+|[_^](?:\([^()]*\)|[a-z]{{2,}}|\w))", r"\1\0", text)  # tanh² x
    text = re.sub(r"(?<=[\w)\]}])\0+(?=\w)|\0+(?=[\w√∂∇‖|])(?<=\w\0)", " ", text).replace(_NAME, "")
    # TeX takes the space after a command away: \alpha < 2 is read as α< 2.
    text = re.sub(r"(?<=[^\s(\[{,;:!=<>+*/^_-])(:=|[<>=!]=|[-+*/=<>])(?= )", r" \1", text)
    text = re.sub(r"(?<= )(:=|[<>=!]=|[=<>])(?=[^\s=<>])", r"\1 ", text)
    return re.sub(r" (?=[,.)\]])|(?<=[(\[]) ", "", re.sub(" +", " ", text)).strip()


class _Reader:
    """Reads a formula's tokens from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def all(self) -> str:
        words = []
        while self.at < len(self.tokens):
            words.append("" if self.tokens[self.at] == "}" else self.one())
            if self.at < len(self.tokens) and self.tokens[self.at] == "}":
                self.at += 1
        return "".join(words)

    def group(self) -> str:
        """The argument of a command: a group in braces, or the next token."""
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        return self.one() if self.at < len(self.tokens) else ""

    def one(self) -> str:
        token = self.tokens[self.at]
        self.at += 1
        if token == "{":
            words = []
            while self.at < len(self.tokens) and self.tokens[self.at] != "}":
                words.append(self.one())
            self.at += 1
            return "".join(words)
        if token in "^_":
            return _moved(self.group(), token)
        if token == "&":
            return " "
        return self.command(token[1:].strip() or " ") if token[0] == "\\" and len(token) > 1 else token

    def command(self, name: str) -> str:
        if name in ("frac", "dfrac", "tfrac"):
            top = self.group()
            return f"{_held(top)}/{_held(self.group())} "
        if name == "sqrt":
            return f"√{_held(self.group())}"
        if name in _ABOVE:
            inner = self.group()
            return inner + _ABOVE[name] if len(inner) == 1 else f"{name}({inner})"
        if name in _AS_IT_IS:
            return self.group()
        sign = _SIGNS.get(name, name if name.isalpha() else f"\\{name}")
        if name in _BETWEEN:
            return f" {sign} "
        if len(sign) > 1 and sign.isalpha():
            return f"{_NAME}{sign}{_NAME}"
        return f" {sign} " if name == "qquad" else sign


def _moved(text: str, sign: str) -> str:
    """Raised or lowered, where there are such characters for all of it."""
    table = _RAISED if sign == "^" else _LOWERED
    if text.strip(_NAME).isalpha() and _NAME in text:
        return sign + text.strip(_NAME)  # c_max
    text = text.strip(f" {_NAME}")
    if text and all(c in table for c in text):
        return "".join(table[c] for c in text)
    return f"{sign}{text}" if len(text) == 1 else f"{sign}({text})"


def _held(text: str) -> str:
    """In parentheses, unless it is one thing."""
    text = text.strip(f" {_NAME}")
    whole = text[:1] == "(" and text[-1:] == ")" and ")" not in text[1:-1]
    return text if whole or not re.search(r"[\s\0+\-·×/=,;]|\d[^\W\d]", text) else f"({text})"
