"""The numbers that a lesson's text quotes: each is one that the lesson computed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from .percent import Cell

_WRITTEN = re.compile(r"([-+\u2212]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?:[eE]([-+]?\d+))?(\s*[^\s\d.,].*)?\Z")

# What is no quoted number, taken out of the text in this order.
_NOT_QUOTED = [
    r"(?ms)^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$",  # code
    r"(?s)(`+)(?!`).+?(?<!`)\1(?!`)",
    r"(?s)\$\$.+?\$\$",  # formulas
    r"(?s)(?<!\\)\$[^$]+?(?<!\\)\$",
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
    """Digits and kind of a number in a text: signs, spaces and commas do not count."""
    match = _NUMBER.search(text.replace("\u2212", "-"))
    if match is None:
        return text, ""
    suffix = (match[3] or "").strip()
    kind = "x" if suffix in _TIMES else "%" if suffix else ""
    digits = re.sub(r"[^\deE.+-]", "", text[match.start():match.end() - len(match[3] or "")])
    return digits.lower(), kind


def unsaid_numbers(cells: Iterable[Cell], said: Iterable[str]) -> list[str]:
    """Numbers in a lesson's prose that nothing has computed.

    Args:
        cells: of the lesson; code is skipped.
        said: the texts of its `says` calls.

    Returns:
        One line for each: the line's number in the file and the number. Numbers in code, formulas,
        references to sections and lessons, citations' years, names (float32) and the whole numbers 0 to
        10 need no `says`.
    """
    known = {_key(text) for text in said}
    found: list[str] = []
    for cell in cells:
        if cell.kind != "markdown":
            continue
        text = "\n".join(re.sub(r"^# ?", "", line) for line in cell.text.splitlines())
        for pattern in _NOT_QUOTED:
            text = re.sub(pattern, _blank, text)
        for match in _NUMBER.finditer(text):
            digits, kind = _key(match[0])
            small = digits.isdecimal() and int(digits) <= 10 and not kind
            if not small and (digits, kind) not in known:
                line = cell.line + text.count("\n", 0, match.start())
                found.append(f"line {line}: {match[0].strip()} is in the text, but no "
                             f"says({match[0].strip()!r}, ...) computes it")
    return found


def _blank(match: re.Match[str]) -> Any:
    return re.sub(r"[^\n]", " ", match[0])
