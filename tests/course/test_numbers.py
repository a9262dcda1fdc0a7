"""Numbers that a lesson's text quotes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.course.lesson_api import quiet_run, says
from minillm.course.numbers import matches, unsaid_in_checks, unsaid_numbers
from minillm.course.percent import Cell


@pytest.mark.parametrize(("text", "good", "bad"), [
    ("2.303", 2.302585, 2.3036), ("-0.5", -0.46, 0.5), ("12,345", 12345, 12346), ("1.5x", 1.52, 1.56),
    ("98%", 0.984, 0.986), ("3.2 ms", 3.24, 3.26), ("1.2e-3", 0.00121, 0.00126), ("0", 0.4, 0.6),
    ("\u22122", -2, 2), ("1.5 倍", 1.45, 1.44), ("7", 7, math.nan), ("7", 7.2, math.inf), ("2.50", 2.5, 2.51),
])
def test_rounded_to_the_digits_written(text, good, bad):
    says(text, good)
    says(text, np.float64(good))
    with pytest.raises(AssertionError, match="the text says"):
        says(text, bad)


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_what_python_rounds_is_what_the_text_may_say(x, digits):
    text = f"{x:,.{digits}f}"
    assert matches(text, x)
    assert not matches(text, x + 1.1 * 10.0**-digits)


@pytest.mark.parametrize("text", ["", "about 3", "x", "1,23,4", ".5"])
def test_no_number(text):
    with pytest.raises(ValueError, match="not a number"):
        says(text, 1.0)


def prose(text: str) -> list[str]:
    commented = "".join(f"# {line}\n" for line in text.split("\n"))
    return unsaid_numbers([Cell("", commented, 10, "markdown", "en")],
                          ["2.303", "98%", "1.5x", "12,345", "32", "-0.357", "\u221244"])


@pytest.mark.parametrize("text", [
    "The loss is 2.303, or 98% (1.5 x) of 12,345 = 12345; -0.357, \u22120.357, down 0.357, 1-2.303.",
    "\u221244",
    "损失约为2.303，快了1.5倍，占98%。", "0 to 10 of them, -1 or \u22123",
    "`x = 77` and ``77`` and\n```\n77\n```\n", "$77 x$ and $$\n77\n$$",
    "section 4.1, sections 2.1 and 3.33", "见 4.1 节和第 15 课",
    "(Kingma and Ba, 2015) and [it](http://x/77) in 2015 年",
    "float32, GPT-2 and SmolLM2-135M, sm_80", "11. an item",
    "lesson 15 and lessons 12 to 14", "<!-- 77 -->", "（Kingma 与 Ba，2014）", "32 bits",
])
def test_what_may_stand_in_prose(text):
    assert prose(text) == []


@pytest.mark.parametrize(("text", "found"), [
    ("The loss is 2.304.", "2.304"),
    ("a\nb 77", "77"), ("98 of them", "98"), ("77%", "77%"), ("5%", "5%"), ("2x", "2x"),
    ("损失为3.14。", "3.14"), ("1.0", "1.0"), ("in 2015 steps", "2015"), ("**64** wide", "64"), ("11", "11"),
    ("cost 12,346", "12,346"), ("a slope of -2.303", "-2.303"), ("斜率为-2.303。", "-2.303"),
    ("(-32)", "-32"),
])
def test_what_must_be_said(text, found):
    problems = prose(text)
    assert len(problems) == 1
    assert f": {found} is in the text" in problems[0]
    assert problems[0].startswith(f"line {10 + text[:text.index(found)].count(chr(10))}:")


@pytest.mark.parametrize("text", [
    "$L = 2.303$ and $$\ny = -0.357 x$$, $e^{-2.303} - 2.303$, $(2, -2.303)$",
    "$x_{11} = 11$, $10^{-15}$, $\\frac{77}{12}$", "$1.5\\times$ is 1.5x",
    "`$3.14$`", "```\n$3.14$\n```", "$3.0.1$",
])
def test_what_may_stand_in_a_formula(text):
    assert prose(text) == []


@pytest.mark.parametrize(("text", "found"), [
    ("$L = 2.304$", "2.304"), ("a\n$$x\n= 0.0183,$$", "0.0183"), ("约为 $3.14$。", "3.14"),
    ("$x = 3.14.$", "3.14"), ("$x = -2.303$", "-2.303"), ("$x \\approx -2.303$", "-2.303"),
    ("$98.5\\%$", "98.5%"), ("$98.0$", "98.0"),
])
def test_decimals_of_formulas_must_be_said(text, found):
    problems = prose(text)
    assert len(problems) == 1
    number = found.rstrip("%")
    assert f": {found} is in the text" in problems[0]
    assert problems[0].startswith(f"line {10 + text[:text.index(number)].count(chr(10))}:")


def test_decimals_in_the_texts_of_checks():
    source = 'def cases(rng):\n    yield 0.25, 1e-5, -1.5, 3\nHINT = "not 7.5"\n'

    def unsaid(text):
        return unsaid_in_checks({"f, hint 1": text}, source, ["2.303", "97.5%"])

    assert unsaid("0.25, -1.5, 2.303 and $2.303$, 97.5%, section 4.1, `7.5`, 77, 3.0; 3.3 节，float1.5") == []
    for number in ("7.5", "2.304", "97.5", "25.0%", "12.25"):
        assert unsaid(f"it is {number}.") == unsaid(f"是 ${number}$。") == [
            f"f, hint 1: {number} is neither in the code of checks.py nor in a says({number!r}, ...) of the "
            "lesson"]


def test_says_is_collected_in_a_run_alone():
    with quiet_run() as run:
        says("3", 3)
    says("4", 4)
    assert run.said == ["3"]
