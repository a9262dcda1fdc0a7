"""The numbers that a lesson's text quotes: each is one that the lesson computed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from .percent import Cell

_WRITTEN = re.compile(r"([-+\u2212]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:[eE]([-+]?\d+))?(\s*[^\s\d.,].*)?\Z")

_CODE = [r"(?ms)^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$", r"(?s)(`+)(?!`).+?(?<!`)\1(?!`)"]
_FORMULAS = [r"(?s)\$\$.+?\$\$", r"(?s)(?<!\\)\$[^$]+?(?<!\\)\$"]
_DECIMAL = re.compile(r"(?<![\d.,])\d+\.\d+(?!\d|\.\d)(\s*(?:\\?%|％))?")  # 2.303, and no 1.2.3

# What is no quoted number, taken out of the text in this order.
_NOT_QUOTED = [
    *_CODE,
    *_FORMULAS,
    r"(?s)<!--.*?-->",
    r"\]\([^)\s]*(?:\s+\"[^\"]*\")?\)",  # where a link goes
    r"https?://[^\s)>]+",
    r"(?m)^\s*\d+[.)]\s",  # numbers of a list
    r"(?i)(?:\bsections?|\blessons?|\u00a7)\s*\d+(?:\.\d+)*(?:\s*(?:,|and|to|or|-|\u2013)\s*\d+(?:\.\d+)*)*",
    r"第?\s*\d+(?:\.\d+)*(?:\s*(?:、|和|与|到|至|或|-|\u2013|~|～)\s*第?\s*\d+(?:\.\d+)*)*\s*(?:小?节|课)",
    r"(?<=[A-Za-z.,，;；、(（] )(?:1[89]|20)\d\d(?=[a-z]?[)）,，;；.。])",  # (Kingma and Ba, 2015)
    r"(?<=[(（,，;；、])(?:1[89]|20)\d\d(?=[a-z]?[)）,，;；])",
    r"\b(?:1[89]|20)\d\d\s*年",
    r"(?a)\b[A-Za-z_](?=[\w./-]*\d)\w*(?:[-./]\w+)*",  # names: float32, GPT-2, SmolLM2-135M
]
_NUMBER = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:[eE][-+]?\d+)?"
                     r"(\s*(?:%|％|倍|[x×](?![A-Za-z])))?")
_TIMES = ("x", "×", "倍")


def matches(text: str, value: float) -> bool:
    """Whether a value, rounded to the digits written, is what the text says.

    Args:
        text: "2.303", "-0.5", "12,345", "1.2e-3", "1.5x", "98%" (of a value 0.98), "3.2 ms".
        value: what was computed.

    Raises:
        ValueError: the text does not begin with a number.
    """
    written, unit, suffix = _parts(text)
    number = Decimal(repr(value)) if value == value and abs(value) != float("inf") else None
    if number is None:
        return False
    if suffix in ("%", "％"):
        number *= 100
    return abs(number - written) <= unit / 2 * Decimal("1.000001")


def _parts(text: str) -> tuple[Decimal, Decimal, str]:
    """(the number, one unit of its last digit, what follows it)"""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a number as a text has it, such as "2.303", "12,345" or "98%"')
    sign, whole, decimals, exponent, rest = match.groups()
    power = int(exponent or 0)
    number = Decimal(f"{sign.replace(chr(0x2212), '-')}{whole.replace(',', '')}{decimals or ''}e{power}")
    return number, Decimal(1).scaleb(power - len((decimals or ".")[1:])), (rest or "").strip()


def _key(text: str) -> tuple[str, str]:
    """A number as it is written, with its minus, and its kind: spaces and commas do not count."""
    text = text.replace("\u2212", "-")
    match = _NUMBER.search(text)
    if match is None:
        return text, ""
    suffix = (match[3] or "").strip()
    kind = "x" if suffix in _TIMES else "%" if suffix else ""
    digits = re.sub(r"[^\deE.+-]", "", text[match.start():match.end() - len(match[3] or "")])
    return _minus(text[:match.start()]) + digits.lower(), kind


def _minus(before: str) -> str:
    """The sign of a number, from what stands before it: "-" in (-2.3) and = -2.3, but "" in 1-2 and 1 - 2."""
    return "-" if re.search(r"(?:\A|[^A-Za-z0-9_)\]}%])[-\u2212]\Z", before) else ""


def _known(said: Iterable[str]) -> set[tuple[str, str]]:
    """What a text may quote: -0.5 as it is, and as in "it falls by 0.5"; but 0.5 not as -0.5."""
    keys = [_key(text) for text in said]
    return {*keys, *((digits.lstrip("-"), kind) for digits, kind in keys)}


def unsaid_numbers(cells: Iterable[Cell], said: Iterable[str]) -> list[str]:
    """Numbers in a lesson's prose that nothing has computed.

    Args:
        cells: of the lesson; code is skipped.
        said: the texts of its `says` calls.

    Returns:
        One line for each: the line's number in the file and the number. Numbers in code, references to
        sections and lessons, citations' years, names (float32) and the whole numbers 0 to 10 need no
        `says`; nor do whole numbers in formulas, but decimals there do. A minus is part of the number.
    """
    known = _known(said)
    found: list[tuple[int, str]] = []
    for cell in cells:
        if cell.kind != "markdown":
            continue
        text = "\n".join(re.sub(r"^# ?", "", line) for line in cell.text.splitlines())
        missing = [(at, number) for at, number in _decimals_of_formulas(text) if not _is_said(number, known)]
        text = _prose(text)
        for match in _NUMBER.finditer(text):
            minus = _minus(text[:match.start()])
            digits, kind = _key(minus + match[0])
            small = digits.lstrip("-").isdecimal() and abs(int(digits)) <= 10 and not kind
            if not small and (digits, kind) not in known:
                missing.append((match.start(), minus + match[0].strip()))
        found += [(cell.line + text.count("\n", 0, at), number) for at, number in sorted(missing)]
    return [f"line {line}: {number} is in the text, but no says({number!r}, ...) computes it"
            for line, number in found]


def unsaid_in_checks(texts: dict[str, str], source: str, said: Iterable[str]) -> list[str]:
    """Decimals in the texts of a checks.py that neither its code has nor the lesson says.

    Args:
        texts: what each is ("adam_step, hint 1") -> the text.
        source: of checks.py; the numbers of its code, such as a case's, may stand in the texts.
        said: the texts of the lesson's `says` calls.
    """
    known = _known(said)
    literals = {float(node.value) for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.Constant) and isinstance(node.value, int | float)}
    found = []
    for what, text in texts.items():
        decimals = [(at, m) for at, m in _decimals_of_formulas(text) if not _is_said(m, known)]
        plain = _prose(text)
        quoted = [(m.start(), _minus(plain[:m.start()]) + m[0].strip()) for m in _DECIMAL.finditer(plain)]
        decimals += [(at, number) for at, number in quoted if not _is_said(number, known)]
        found += [f"{what}: {number} is neither in the code of checks.py nor in a says({number!r}, ...) of "
                  "the lesson" for _, number in sorted(decimals)
                  if not (number[-1].isdigit() and abs(float(number)) in literals)]
    return found


def _prose(text: str) -> str:
    """The text with all that is no quoted number blanked out."""
    for pattern in _NOT_QUOTED:
        text = re.sub(pattern, _blank, text)
    return text


def _decimals_of_formulas(text: str) -> list[tuple[int, str]]:
    """(place, "2.303") for every decimal inside $...$ or $$...$$; its minus counts after = and \\approx."""
    for pattern in _CODE:
        text = re.sub(pattern, _blank, text)
    found = []
    for pattern in _FORMULAS:
        for formula in re.finditer(pattern, text):
            for m in _DECIMAL.finditer(formula[0]):
                before = formula[0][:m.start()]
                minus = _minus(before) if re.search(r"(?:=|\\approx)\s*.\Z", before) else ""
                found.append((formula.start() + m.start(), minus + m[0].strip().replace("\\%", "%")))
        text = re.sub(pattern, _blank, text)
    return found


def _is_said(number: str, known: set[tuple[str, str]]) -> bool:
    """Whether the lesson says a decimal, as a percentage or not; 1.5 is said by "1.5x" too."""
    digits, kind = _key(number)
    return (digits, kind) in known or (kind == "" and (digits, "x") in known)


def _blank(match: re.Match[str]) -> Any:
    return re.sub(r"[^\n]", " ", match[0])
