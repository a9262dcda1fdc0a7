"""A lesson's text in a terminal."""

from __future__ import annotations

import re

from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax

from .percent import Lesson, stub
from .plain_math import plain_formulas
from .stage_hands import without_stage_hands


def read_aloud(lesson: Lesson, console: Console, lang: str = "en", *, plain: bool = False) -> None:
    """Print a lesson: its text in one language, its code, and its exercises as they are to be written.

    Args:
        lesson: with its solutions, which are not shown.
        console: where to.
        lang: "en" or "zh".
        plain: text alone, for pipes and screen readers.
    """
    for cell in lesson.cells:
        if cell.lang not in (None, lang):
            continue
        if cell.kind == "markdown":
            text = plain_formulas(cell.markdown)
            if plain:
                console.print(_bare(text), markup=False, highlight=False, soft_wrap=True)
            else:
                console.print(Markdown(text))
        else:
            code = stub(cell, lang).code if cell.exercise else without_stage_hands(cell.code)
            code = code.rstrip("\n")
            if not code:
                continue
            if plain:
                console.print("".join(f"    {line}\n" for line in code.split("\n")), markup=False,
                              highlight=False, soft_wrap=True, end="")
            else:
                console.print(Syntax(code, "python", background_color="default", word_wrap=True))
        console.print()


def _bare(text: str) -> str:
    """Markdown without the signs of emphasis."""
    return re.sub(r"(\*\*|__)(.+?)\1", r"\2", text).strip("\n")
