"""What an exercise asks for: its docstring, in English in the lesson, in Chinese in its checks.py."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .percent import Cell, Lesson


def chinese_statements(checks: str | Path) -> dict[str, str]:
    """The literal `statement_zh` texts of a checks.py, by exercise.

    The file is read, not run: a copy of the lessons is made also where a package that the checks need, such
    as Triton, is missing.

    Args:
        checks: the lesson's checks.py; one that is not there, or is no Python, has none.
    """
    try:
        tree = ast.parse(Path(checks).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Exercise":
            given = {k.arg: _literal(k.value) for k in node.keywords if k.arg}
            name = given.get("name") or (_literal(node.args[0]) if node.args else "")
            if name and given.get("statement_zh"):
                found[name] = inspect.cleandoc(given["statement_zh"])
    return found


def _literal(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def statement(cell: Cell) -> str:
    """The docstring of an exercise's cell, without its indentation; "" if it has none."""
    node = _definition(cell)
    return "" if node is None else ast.get_docstring(node) or ""


def argument_names(cell: Cell) -> tuple[str, ...]:
    """The arguments in the signature of an exercise's function; () for a class."""
    node = _definition(cell)
    if not isinstance(node, ast.FunctionDef):
        return ()
    a = node.args
    every = [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
    return tuple(one.arg for one in every)


def with_statement(cell: Cell, text: str) -> Cell:
    """The cell with another docstring in its exercise's function or class, indented as the old one was.

    Args:
        cell: of an exercise; one without a docstring stays as it is.
        text: without indentation.
    """
    node = _definition(cell)
    if node is None or ast.get_docstring(node) is None:
        return cell
    old = node.body[0]
    assert old.end_lineno is not None
    assert old.end_col_offset is not None
    lines = cell.text.encode().split(b"\n")
    before, after = lines[old.lineno - 1][:old.col_offset], lines[old.end_lineno - 1][old.end_col_offset:]
    new = (before.decode() + _quoted(text, " " * old.col_offset)).encode() + after
    return replace(cell, text=b"\n".join([*lines[:old.lineno - 1], new, *lines[old.end_lineno:]]).decode())


def _quoted(text: str, indent: str) -> str:
    """The text as a docstring: one line, or the closing quotes on a line of their own."""
    lines = text.split("\n")
    body = "\n".join([lines[0], *(indent + line if line else "" for line in lines[1:])])
    return ("r" if "\\" in text else "") + f'"""{body}' + (f"\n{indent}" if len(lines) > 1 else "") + '"""'


def in_language(lesson: Lesson, lang: str, chinese: Mapping[str, str]) -> Lesson:
    """The lesson with its exercises' statements in a language; where there is no Chinese, in English.

    Args:
        lesson: as in its file.
        lang: "en" or "zh", or "both" for one below the other.
        chinese: the statements in Chinese, by exercise.
    """
    def said(cell: Cell) -> Cell:
        zh = chinese.get(cell.exercise or "")
        if lang == "en" or not zh:
            return cell
        return with_statement(cell, f"{statement(cell)}\n\n{zh}" if lang == "both" else zh)

    return replace(lesson, cells=tuple(map(said, lesson.cells)))


def _definition(cell: Cell) -> ast.FunctionDef | ast.ClassDef | None:
    try:
        tree = ast.parse(cell.text)
    except (SyntaxError, ValueError):
        return None
    return next((n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)
                 and n.name == cell.exercise), None)


def problems_of(cell: Cell, chinese: str) -> list[str]:
    """What the Chinese statement of an exercise lacks, beside the English one.

    Args:
        cell: of the exercise.
        chinese: its statement in Chinese.
    """
    english = statement(cell)
    if not english:
        return [f"{cell.exercise}: its function has no docstring"]
    if not chinese:
        return [f"{cell.exercise}: no statement_zh in checks.py (a literal text: the docstring in Chinese)"]
    if not re.search(r"[\u4e00-\u9fff]", chinese):
        return [f"{cell.exercise}: its statement_zh has no Chinese in it"]
    missing = [name for name in argument_names(cell) if _has(english, name) and not _has(chinese, name)]
    return [f"{cell.exercise}: its statement_zh does not mention {', '.join(missing)}"] if missing else []


def _has(text: str, name: str) -> bool:
    """Whether a text has a name as a word, be it beside Chinese; before a word, `a` is an article."""
    article = r"(?! [A-Za-z]{2})" if name == "a" else ""
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_]){article}", text) is not None
