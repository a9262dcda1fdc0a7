"""Which expression of the program is being computed: from the frame that runs to its place in the source."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from minillm import autograd

_ENGINE = os.path.dirname(os.path.abspath(autograd.__file__)) + os.sep


@dataclass(frozen=True)
class Place:
    """A stretch of source text: the expression that an op was computed by.

    Attributes:
        file: path of the source.
        function: the function's name.
        line, end_line: from 1.
        column, end_column: from 0, in characters of their lines.
    """

    file: str
    function: str
    line: int
    end_line: int
    column: int
    end_column: int

    @property
    def text(self) -> str:
        """The lines that it stands on, as they are in the file."""
        return "".join(linecache.getline(self.file, n) for n in range(self.line, self.end_line + 1))


def places(frame: FrameType, outermost: CodeType) -> tuple[Place, ...]:
    """The expressions at work, from the function with code `outermost` down to the innermost outside the
    engine; empty if the frame does not run below it.

    Args:
        frame: where to begin, the innermost.
        outermost: code of the function that is traced.
    """
    found: list[Place] = []
    at: FrameType | None = frame
    while at is not None:
        if not at.f_code.co_filename.startswith(_ENGINE):
            found.append(_place(at.f_code, at.f_lasti))
            if at.f_code is outermost:
                return tuple(reversed(found))
        at = at.f_back
    return ()


def _place(code: CodeType, instruction: int) -> Place:
    line, end_line, column, end_column = _positions(code)[instruction // 2]
    line = line or code.co_firstlineno
    if column is None or end_column is None:  # python -X no_debug_ranges
        return Place(code.co_filename, code.co_name, line, line, 0, 0)
    end_line = end_line or line
    header = _headers(code.co_filename).get((line, end_line, column, end_column))
    if header is not None:
        end_line, end_column = header
    return Place(code.co_filename, code.co_name, line, end_line, _character(code.co_filename, line, column),
                 _character(code.co_filename, end_line, end_column))


@functools.lru_cache(maxsize=256)
def _positions(code: CodeType) -> list[Any]:
    return list(code.co_positions())


def _character(file: str, line: int, byte: int) -> int:
    """Python counts columns in bytes of UTF-8."""
    return len(linecache.getline(file, line).encode()[:byte].decode(errors="ignore"))


@functools.lru_cache(maxsize=64)
def _nodes(file: str) -> dict[tuple[int, int, int, int], ast.expr]:
    """The expressions of a file by their place (line, end line, and columns in bytes)."""
    tree = syntax_tree(file)
    found: dict[tuple[int, int, int, int], ast.expr] = {}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.expr):
            key = (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0)
            found.setdefault(key, node)
    return found


@functools.lru_cache(maxsize=64)
def _headers(file: str) -> dict[tuple[int, int, int, int], tuple[int, int]]:
    """Where `for v in p` ends, (line, column in bytes), by the place of the whole loop."""
    return {(s.lineno, s.end_lineno or 0, s.col_offset, s.end_col_offset or 0):
            (s.iter.end_lineno or s.lineno, s.iter.end_col_offset or 0)
            for s in _statements(file) if isinstance(s, ast.For)}


@functools.lru_cache(maxsize=64)
def _statements(file: str) -> list[ast.stmt]:
    """The statements of a file, those inside others later."""
    tree = syntax_tree(file)
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)] if tree else []


@functools.lru_cache(maxsize=64)
def syntax_tree(file: str) -> ast.Module | None:
    """A file's syntax tree; None if it cannot be read or is no Python."""
    text = "".join(linecache.getlines(file))
    try:
        return ast.parse(text) if text else None
    except (SyntaxError, ValueError):
        return None


def expression(place: Place) -> ast.expr | None:
    """The syntax tree of the expression at a place; None if its source cannot be read."""
    def byte(line: int, character: int) -> int:
        return len(linecache.getline(place.file, line)[:character].encode())

    key = (place.line, place.end_line, byte(place.line, place.column), byte(place.end_line, place.end_column))
    return _nodes(place.file).get(key)


def statement(place: Place) -> ast.stmt | None:
    """The innermost statement that a place lies in."""
    inside = [s for s in _statements(place.file)
              if s.lineno <= place.line and place.end_line <= (s.end_lineno or s.lineno)]
    return min(inside, key=lambda s: ((s.end_lineno or s.lineno) - s.lineno, -s.lineno), default=None)


def assigned_name(place: Place) -> str | None:
    """The variable that the whole value of a statement goes to, where the place is that value; of
    `a = b = ...`, the first.
    """
    targets: list[ast.expr] = []
    match statement(place):
        case ast.AugAssign(target=target) if augmented(place) is not None:
            targets = [target]
        case ast.AnnAssign(target=target, value=ast.expr() as value) if value is expression(place):
            targets = [target]
        case ast.Assign(targets=several, value=value) if value is expression(place):
            targets = several
    return next((t.id for t in targets if isinstance(t, ast.Name)), None)


def augmented(place: Place) -> ast.AugAssign | None:
    """`s += x`, where the place is the whole of it, as it is for the sum; None in any other."""
    found = statement(place)
    if not isinstance(found, ast.AugAssign) or expression(place) is not None:
        return None
    return found if (found.lineno, found.end_lineno) == (place.line, place.end_line) else None


def lines_of(function: Any) -> tuple[int, list[str]]:
    """(number of the first line, lines) of a function; (1, []) if its source cannot be read."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return 1, []
    return first, [line.rstrip("\n") for line in lines]
