"""The source of the functions that a recording went through, cut into coloured pieces for the page."""

from __future__ import annotations

import ast
import io
import keyword
import linecache
import os
import textwrap
import tokenize
from typing import Any

from minillm.stepper.source import Place, syntax_tree

Piece = tuple[str, str]  # (class: "k"eyword, "s"tring, "n"umber, "c"omment, "d"efined name or "", text)
_STRINGS = {"STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"}


class Functions:
    """The functions of the recording, in the order in which they were first entered."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._numbers: dict[tuple[str, str, int], int] = {}
        self._indents: list[int] = []
        self._places: dict[Place, dict[str, int]] = {}

    def place(self, p: Place) -> dict[str, int]:
        """A place by the number of its function, with columns as they are once the function is dedented."""
        if p not in self._places:
            number = self._number(p)
            indent = self._indents[number]
            self._places[p] = {
                "function": number, "line": p.line, "endLine": p.end_line,
                "column": max(p.column - indent, 0), "endColumn": max(p.end_column - indent, 0)}
        return self._places[p]

    def _number(self, p: Place) -> int:
        node = _definition(p)
        first, last = (node.lineno, node.end_lineno or node.lineno) if node else (p.line, p.end_line)
        key = (p.file, p.function, first)
        if key not in self._numbers:
            lines = [linecache.getline(p.file, n).rstrip("\r\n") for n in range(first, last + 1)]
            indent = _indent(lines)
            lines = [line[indent:] for line in lines]
            self._numbers[key] = len(self.found)
            self._indents.append(indent)
            self.found.append({"name": p.function, "file": _short(p.file), "first": first,
                               "lines": pieces(lines) if any(lines) else [], "doc": _doc(node)})
        return self._numbers[key]


def _definition(p: Place) -> ast.stmt | None:
    """The innermost function around a place; around it outside of functions, the statement."""
    tree = syntax_tree(p.file)
    around = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)
              and n.lineno <= p.line and p.end_line <= (n.end_lineno or n.lineno)] if tree else []
    functions = [n for n in around if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    named = [n for n in functions if n.name == p.function]
    return max(named or functions or around, key=lambda n: n.lineno, default=None)


def _doc(node: ast.stmt | None) -> list[int] | None:
    """First and last line of the docstring, if it has several: the page folds it."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or ast.get_docstring(node) is None:
        return None
    first, last = node.body[0].lineno, node.body[0].end_lineno or 0
    return [first, last] if last > first and first > node.lineno else None


def _indent(lines: list[str]) -> int:
    text = "\n".join(lines)
    dedented = textwrap.dedent(text).split("\n")
    return len(lines[0]) - len(dedented[0]) if lines else 0


def _short(file: str) -> str:
    """A file's name without its folders, which are nobody's business; a notebook's cell has none."""
    return "" if "ipykernel" in file or file.startswith("<") else os.path.basename(file)


def pieces(lines: list[str]) -> list[list[Piece]]:
    """Each line as its pieces; without colours if it is no Python."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline))
    except (tokenize.TokenError, SyntaxError, IndentationError):
        return [[("", line)] for line in lines]
    coloured: list[list[tuple[int, int, str]]] = [[] for _ in lines]
    before = ""
    for token in tokens:
        kind = _class(token, before)
        before = token.string
        (row, start), (last, end) = token.start, token.end
        for n in range(row, last + 1) if kind else ():
            line = lines[n - 1]
            coloured[n - 1].append((start if n == row else 0, end if n == last else len(line), kind))
    return [_cut(line, spans) for line, spans in zip(lines, coloured, strict=True)]


def _class(token: tokenize.TokenInfo, before: str) -> str:
    name = tokenize.tok_name[token.type]
    if name in _STRINGS:
        return "s"
    if name == "NAME":
        return "d" if before in ("def", "class") else "k" if keyword.iskeyword(token.string) else ""
    return {"NUMBER": "n", "COMMENT": "c"}.get(name, "")


def _cut(line: str, spans: list[tuple[int, int, str]]) -> list[Piece]:
    found: list[Piece] = []
    at = 0
    for start, end, kind in spans:
        if start > at:
            found.append(("", line[at:start]))
        if end > start:
            found.append((kind, line[start:end]))
        at = max(at, end)
    return found + ([("", line[at:])] if at < len(line) else [])
