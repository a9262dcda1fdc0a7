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
_NEARLY = re.compile(r"#\s*(?:(?:TAKE|GIVE)\b.*:|(?:BEGIN|END) SOLUTION\b)", re.IGNORECASE)


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
    hints = dict(hints or {})
    parts = _parts(source, where)
    whole = [line for part in parts for line in part.lines]
    names = _functions_at(whole, where)
    student: list[str] = []
    functions: list[str] = []
    removed: list[str] = []
    number = 0  # of the line before the part, in `whole`
    for part in parts:
        if part.kind == "take":
            kept, gone = _without_body(part.lines, hints.get(part.name, []), lang, where)
            student += kept
            removed += gone
            functions.append(part.name)
        elif part.kind == "solution":
            name = names.get(number + 1, "")
            if not any(line.strip() and not line.lstrip().startswith("#") for line in part.lines):
                raise AssignmentError(f"{where}, line {part.number}: nothing between BEGIN and END SOLUTION")
            if not name:
                raise AssignmentError(f"{where}, line {part.number}: BEGIN SOLUTION outside a function")
            if name not in functions:
                student += [f"{part.indent}# {hint}" for hint in hints.get(name, [])]
            student.append(part.indent + _to_write(name, lang))
            removed += [line.strip() for line in part.lines]
            functions.append(name)
        else:
            student += part.lines
        number += len(part.lines)
    if not functions:
        raise AssignmentError(f"{where}: nothing to write: mark a function with # TAKE module:name, or "
                              f"lines with {BEGIN} and {END}")
    if unknown := sorted(set(hints) - set(functions)):
        raise AssignmentError(f"hints for {', '.join(unknown)}, which {where} does not ask for")
    _parse("\n".join(student), f"{where}: without the solution it")
    return Solution("\n".join(whole) + "\n", "\n".join(student) + "\n", tuple(dict.fromkeys(functions)),
                    tuple(line for line in removed if line and not line.startswith("#")))


@dataclass(frozen=True)
class _Part:
    """Lines of a solution.py: "plain", "give" or "take" (of the package), or "solution" (between marks)."""

    kind: str
    number: int  # line of the mark in solution.py
    lines: list[str]
    name: str = ""
    indent: str = ""


def _parts(source: str, where: str) -> list[_Part]:
    parts: list[_Part] = []
    inside: _Part | None = None
    for number, line in enumerate(source.removesuffix("\n").split("\n"), 1):
        line = line.rstrip("\r")
        bare = line.strip()
        mark = _MARK.fullmatch(line)
        if mark is None and bare not in (BEGIN, END) and _NEARLY.match(bare):
            raise AssignmentError(f"{where}, line {number}: {bare!r} is no mark: marks are # TAKE "
                                  f"module:name and # GIVE module:name, not indented, {BEGIN} and {END}")
        if inside is not None:
            if mark is not None or bare == BEGIN:
                raise AssignmentError(f"{where}, line {number}: {bare} inside a solution")
            if bare == END:
                inside = None
            else:
                inside.lines.append(line)
        elif bare == END:
            raise AssignmentError(f"{where}, line {number}: END SOLUTION without BEGIN SOLUTION")
        elif bare == BEGIN:
            inside = _Part("solution", number, [], indent=line[:len(line) - len(line.lstrip())])
            parts.append(inside)
        elif mark is not None:
            text = _function(mark[2], mark[3], f"{where}, line {number}")
            parts.append(_Part(mark[1].lower(), number, text, mark[3]))
        else:
            parts.append(_Part("plain", number, [line]))
    if inside is not None:
        raise AssignmentError(f"{where}: BEGIN SOLUTION without END SOLUTION")
    return parts


def _functions_at(lines: list[str], where: str) -> dict[int, str]:
    """Number of a line (from 1) -> the innermost function, or Class.method, whose body it is in."""
    found: dict[int, str] = {}

    def visit(node: ast.AST, above: str, function: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{above}.{child.name}".lstrip(".")
                is_function = not isinstance(child, ast.ClassDef)
                assert child.end_lineno is not None
                # A comment above the first statement belongs to the body, the signature does not.
                first = child.body[0].lineno
                while first > child.lineno + 1 and lines[first - 2].strip()[:1] in ("", "#"):
                    first -= 1
                for line in range(first, child.end_lineno + 1):
                    found[line] = name if is_function else ""
                visit(child, name, is_function)
            else:
                visit(child, above, function)

    visit(_parse("\n".join(lines), where), "", False)
    return found


def _parse(text: str, what: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        said = (error.text or "").strip()
        raise AssignmentError(f"{what} is not Python: {error.msg}" + (f": {said}" if said else "")) from None


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


def _without_body(lines: list[str], hints: list[str], lang: str, where: str) -> tuple[list[str], list[str]]:
    """(signature, docstring, hints and NotImplementedError; the lines that were taken out)"""
    function = ast.parse("\n".join(lines)).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise AssignmentError(f"{where}: TAKE needs a function, not {type(function).__name__}")
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        keep = first.end_lineno or 0
    else:
        decorated = getattr(first, "decorator_list", [])
        keep = min(n.lineno for n in (first, *decorated)) - 1
        while keep and lines[keep - 1].strip()[:1] in ("", "#"):  # a comment is part of the solution
            keep -= 1
    crowded = any(statement.lineno <= keep for statement in function.body[1:])
    if crowded or keep < 1 or (first.lineno == keep and not lines[keep - 1].startswith(" ")):
        raise AssignmentError(f"{where}: the body of {function.name} stands beside its first line or its "
                              "docstring: it cannot be taken out")
    body = [line.strip() for line in lines[keep:]]
    kept = lines[:keep] + [f"    # {hint}" for hint in hints] + [f"    {_to_write(function.name, lang)}"]
    return kept, body


def _to_write(name: str, lang: str) -> str:
    return f'raise NotImplementedError("{f"请写出 {name}" if lang == "zh" else f"write {name} here"}")'
