"""An assignment's solution: functions taken from the package itself, and what a student gets of them.

solution.py is plain Python with two kinds of marks:

    # TAKE minillm.formulas.optimizers:adam_step      a function of the package for the student to write
    # GIVE minillm.formulas.lstm:sigmoid              a function of the package that is given whole
    # BEGIN SOLUTION ... # END SOLUTION               lines to be written, of a function in the file

So an assignment mirrors the package: where the reference changes, the assignment changes with it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from dataclasses import dataclass

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
_MARK = re.compile(r"# (TAKE|GIVE) ([\w.]+):(\w+)[ \t]*")


class AssignmentError(ValueError):
    """An assignment's files are not as they should be; the message names file and line."""


@dataclass(frozen=True)
class Solution:
    """A solution in two versions.

    Attributes:
        text: the whole module, as the grader runs it: no marks are left.
        student: the same with bodies taken out; every signature, docstring and hint stays.
        functions: names of the functions (or Class.method) to be written, in order.
        removed: the lines that the student does not get, stripped; none may occur in the student's folder.
    """

    text: str
    student: str
    functions: tuple[str, ...]
    removed: tuple[str, ...]


def read_solution(source: str, hints: dict[str, list[str]] | None = None, *, lang: str = "en",
                  where: str = "solution.py") -> Solution:
    """Both versions of a solution.py.

    Args:
        source: its text.
        hints: function -> lines that stand as comments where its body stood, in the wanted language.
        lang: language of `NotImplementedError`'s message.
        where: the file's name, for messages.

    Raises:
        AssignmentError: an unknown function in a mark, marks that do not pair, nothing to write.
    """
    hints = hints or {}
    whole: list[str] = []
    student: list[str] = []
    functions: list[str] = []
    removed: list[str] = []
    inside = False
    for number, line in enumerate(source.splitlines(), 1):
        mark = _MARK.fullmatch(line)
        bare = line.strip()
        if mark is not None:
            text = _function(mark[2], mark[3], f"{where}, line {number}")
            whole += text
            if mark[1] == "GIVE":
                student += text
            else:
                kept, gone = _without_body(text, hints.get(mark[3], []), lang)
                student += kept
                removed += gone
                functions.append(mark[3])
        elif bare == BEGIN:
            if inside:
                raise AssignmentError(f"{where}, line {number}: BEGIN SOLUTION inside a solution")
            inside = True
            name = _name_of("\n".join(whole))
            if name is None:
                raise AssignmentError(f"{where}, line {number}: BEGIN SOLUTION outside a function")
            indent = line[:len(line) - len(line.lstrip())]
            student += [f"{indent}# {hint}" for hint in hints.get(name, [])]
            student.append(indent + _to_write(name, lang))
            functions.append(name)
        elif bare == END:
            if not inside:
                raise AssignmentError(f"{where}, line {number}: END SOLUTION without BEGIN SOLUTION")
            inside = False
        else:
            whole.append(line)
            if inside:
                removed.append(bare)
            else:
                student.append(line)
    if inside:
        raise AssignmentError(f"{where}: BEGIN SOLUTION without END SOLUTION")
    if not functions:
        raise AssignmentError(f"{where}: nothing to write: mark a function with # TAKE module:name, or "
                              f"lines with {BEGIN} and {END}")
    if unknown := sorted(set(hints) - set(functions)):
        raise AssignmentError(f"hints for {', '.join(unknown)}, which {where} does not ask for")
    return Solution("\n".join(whole) + "\n", "\n".join(student) + "\n", tuple(dict.fromkeys(functions)),
                    tuple(line for line in removed if line and not line.startswith("#")))


def _function(module: str, name: str, where: str) -> list[str]:
    """Source of a function of the package, without its decorators."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise AssignmentError(f"{where}: there is no {module}:{name}") from None
    text = textwrap.dedent(inspect.getsource(inspect.unwrap(found)))
    first = ast.parse(text).body[0]
    assert isinstance(first, ast.FunctionDef | ast.ClassDef)
    return text.splitlines()[first.lineno - 1:]


def _without_body(lines: list[str], hints: list[str], lang: str) -> tuple[list[str], list[str]]:
    """(signature, docstring, hints and NotImplementedError; the lines that were taken out)"""
    function = ast.parse("\n".join(lines)).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise AssignmentError(f"TAKE needs a function, not {type(function).__name__}")
    first = function.body[0]
    has_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(
        first.value.value, str)
    keep = first.end_lineno if has_doc else first.lineno - 1
    assert keep is not None
    body = [line.strip() for line in lines[keep:]]
    kept = lines[:keep] + [f"    # {hint}" for hint in hints] + [f"    {_to_write(function.name, lang)}"]
    return kept, body


def _to_write(name: str, lang: str) -> str:
    return f'raise NotImplementedError("{f"请写出 {name}" if lang == "zh" else f"write {name} here"}")'


def _name_of(text: str) -> str | None:
    """The function (or Class.method) that the last line of an unfinished text stands in."""
    names: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() and not line.lstrip().startswith(("#", ")")):
            found = re.match(r"\s*(?:def|class)\s+(\w+)", line)
            if found:
                names = [(i, n) for i, n in names if i < indent] + [(indent, found[1])]
            elif indent == 0:
                names = []
    return ".".join(n for _, n in names) or None
