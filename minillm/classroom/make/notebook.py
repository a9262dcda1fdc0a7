"""An assignment as a Jupyter notebook (nbformat 4.5): from it the student's file is written and tried."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from minillm.classroom.assignment import Assignment

from .readme import points_table, stub, task, under_test


def notebook(assignment: Assignment, lang: str) -> str:
    """The text of an .ipynb file; the same assignment gives the same bytes.

    Args:
        assignment: the assignment.
        lang: "en", "zh" or "both".
    """
    languages = ("en", "zh") if lang == "both" else (lang,)
    a = assignment
    cells = [_cell("markdown", f"{task(a, one)}\n{points_table(a, one)}", f"task {one}") for one in languages]
    cells += [_cell("markdown", _HOW[one].format(file=a.file), f"how {one}") for one in languages]
    cells.append(_cell("code", _KEEP.format(file=a.file, stem=a.file.removesuffix(".py")), "keep"))
    cells.append(_cell("code", f"%%writefile {a.file}\n{stub(a, lang)}", "file"))
    cells += [_cell("markdown", _CHECK[one] + _AGAIN[one, not under_test(a)], f"check {one}")
              for one in languages]
    cells.append(_cell("code", 'import sys\n\n!"{sys.executable}" test_public.py', "run"))
    book = {"cells": cells, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _cell(kind: str, text: str, place: str) -> dict[str, Any]:
    text = text.strip("\n")
    made: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True),
                            "id": hashlib.sha256(f"{place}\n{text}".encode()).hexdigest()[:12]}
    return made if kind == "markdown" else {**made, "execution_count": None, "outputs": []}


_HOW = {
    "en": "## Your file\n\nThe second cell below writes `{file}`, which is what you hand in: write in that "
          "cell, and run it again after each change. The first one keeps a copy of a `{file}` that is there "
          "already, in the folder `backups`, so that nothing is lost.",
    "zh": "## 你的文件\n\n下面第二个单元写出 `{file}`，也就是要提交的文件："
          "在那个单元里写，每次改动后重新运行它。"
          "第一个单元会把已有的 `{file}` 备份到 `backups` 文件夹，什么都不会丢。",
}
_KEEP = """\
from pathlib import Path

mine = Path("{file}")
if mine.exists():
    copies = sorted(Path("backups").glob("{stem}.*.txt"))
    if all(copy.read_bytes() != mine.read_bytes() for copy in copies):
        Path("backups").mkdir(exist_ok=True)
        Path(f"backups/{stem}.{{len(copies) + 1:03}}.txt").write_bytes(mine.read_bytes())"""
_CHECK = {
    "en": "## The public checks\n\nThey need `test_public.py` and `test_public.npz` beside this notebook "
          "(in Colab: upload both). Hidden checks run when your work is graded",
    "zh": "## 公开测试\n\n需要 `test_public.py` 和 `test_public.npz` 与本笔记在同一个文件夹"
          "（在 Colab 中请上传这两个文件）。评分时还有隐藏测试",
}
_AGAIN = {  # language, whether these checks run on other numbers then
    ("en", True): ", and so do these on other numbers.", ("zh", True): "，这些公开测试也会换一组数再跑一遍。",
    ("en", False): ", and your tests are shown more versions.", ("zh", False): "，你的测试会遇到更多版本。",
}
