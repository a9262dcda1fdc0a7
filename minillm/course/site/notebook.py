"""A lesson as a Jupyter notebook (nbformat 4.5): the same lesson gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from minillm.course.percent import Cell, Lesson, stub

SET_UP = {
    "en": "*This notebook needs minillm: in its checkout, `pip install -e .`; in Colab, upload the checkout "
          "and run `%pip install -q -e ./minillm` first. Where it says `raise NotImplementedError`, write; "
          "the checks work on lesson.py, in the terminal (`minillm learn`), not on this notebook.*",
    "zh": "*本笔记需要先安装 minillm：在源码目录中运行 `pip install -e .`；在 Colab 中，先上传源码，再运行 "
          "`%pip install -q -e ./minillm`。含有 `raise NotImplementedError` 的地方由你来写；"
          "自动检查只针对终端课程里的 lesson.py（`minillm learn`），不检查本笔记。*",
}


def notebook(lesson: Lesson, lang: str, *, solutions: bool = False) -> str:
    """The text of an .ipynb file.

    Args:
        lesson: its file.
        lang: "en" or "zh"; the other language's texts are left out.
        solutions: with the solutions of the exercises, for teachers.
    """
    cells = [_cell("markdown", f"# {lesson.called(lang)}\n\n{SET_UP[lang]}", "head")]
    for n, cell in enumerate(lesson.cells):
        if cell.kind == "markdown" and cell.lang == lang:
            cells.append(_cell("markdown", cell.markdown, f"{n}"))
        elif cell.kind == "code":
            cells.append(_cell("code", _code(cell, lang, solutions), f"{n}"))
    book = {"cells": cells, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _code(cell: Cell, lang: str, solutions: bool) -> str:
    if cell.exercise is None:
        return cell.code
    if not solutions:
        return stub(cell, lang).code
    return "".join(line for line in cell.code.splitlines(keepends=True)
                   if line.strip() not in ("# BEGIN SOLUTION", "# END SOLUTION"))


def _cell(kind: str, text: str, place: str) -> dict[str, Any]:
    text = text.strip("\n")
    made: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True),
                            "id": hashlib.sha256(f"{place}\n{text}".encode()).hexdigest()[:12]}
    return made if kind == "markdown" else {**made, "execution_count": None, "outputs": []}
