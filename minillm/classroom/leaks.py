"""Lines of a solution that stand where a student could read them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .assignment import Assignment


def leaks(a: Assignment, folder: Path, lang: str = "en") -> Iterator[str]:
    """Lines of the solution that stand in a student's folder, outside docstrings and comments.

    A line counts if it says something (see `telling`) and the stub does not have it as well: `return x` and
    `for i in range(n):` stand everywhere and give nothing away.
    """
    solution = a.solution(lang)
    given = {_bare(line) for line in _code(solution.student)}
    wanted = {_bare(line): line for line in solution.removed if telling(line)}
    for line in given & wanted.keys():
        del wanted[line]
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        for line in _lines(path):
            if _bare(line) in wanted:
                yield f"{path.relative_to(folder)} has a line of the solution: {line.strip()}"


def telling(line: str) -> bool:
    """Whether a line of a solution gives something away: it has two operations at least, or is long."""
    text = line.strip().rstrip(":").removeprefix("elif ").removeprefix("if ").removeprefix("while ")
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a part of a statement
        return len(_bare(line)) >= 25
    does = (ast.BinOp, ast.Call, ast.Subscript, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.AugAssign)
    return sum(isinstance(node, does) for node in ast.walk(tree)) >= 2 and len(_bare(line)) >= 12


def _bare(line: str) -> str:
    """A line without its comment and white space."""
    return re.sub(r"\s+", "", re.sub(r"\s#.*", "", line))


def _lines(path: Path) -> Iterable[str]:
    """Lines of a file in which code could stand."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ()
    if path.suffix == ".py":
        return _code(text)
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        texts = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells]
        return [line for text, code in texts for line in (_code(text) if code else text.splitlines())]
    return text.splitlines()


def _code(text: str) -> Sequence[str]:
    """Lines of Python outside docstrings; all of them, if it is not quite Python."""
    lines = text.splitlines()
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return lines
    gone: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(
                node.value.value, str):
            gone.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [line for number, line in enumerate(lines, 1) if number not in gone]
