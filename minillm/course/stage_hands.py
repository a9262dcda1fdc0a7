"""A cell's code as a reader sees it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from .names import binds, uses


def without_stage_hands(code: str) -> str:
    """A cell's code without the statements that only put the page together: says, picture, step."""
    out = [n for n in _body(code) if _called(n) in ("says", "picture", "step") or _imports_us(n)]
    return _without(code, out)[0]


def without_drawing(code: str, elsewhere: Iterable[str] = ()) -> tuple[str, int]:
    """A cell's code without the statements that draw its pictures, from the first that has to do with pyplot
    to `picture(...)`.

    Args:
        code: the cell's.
        elsewhere: names that later cells need; what binds one of them is kept, and what prints or says.

    Returns:
        (what is left, how many lines were taken out)
    """
    body = _body(code)
    inside = _between_pyplot_and_picture(body)
    fresh = _of_pictures(inside)
    drawn = set().union(*map(uses, inside))
    # And functions that draw on axes, if only these call them.
    out = [n for n in body if n in inside or (isinstance(n, ast.FunctionDef) and n.name in drawn
                                              and {a.arg for a in n.args.args} & {"ax", "axes", "fig"})]
    while True:
        stays = [k for k in body if k not in out]
        needed = [n for n in out if _tells(n) or binds(n) & set(elsewhere) - fresh
                  or any(binds(n) & (uses(k) - binds(k)) - fresh for k in stays if _after(k, n))]
        if not needed:
            break
        out = [n for n in out if n not in needed]
    return _without(code, out)


def _after(later: ast.stmt, node: ast.stmt) -> bool:
    return later.lineno > node.lineno or isinstance(later, ast.FunctionDef)


def names_needed(code: str) -> set[str]:
    """The names that a cell takes from the cells before it."""
    body = _body(code)
    return set().union(*map(uses, body)) - set().union(*map(binds, body))


def _between_pyplot_and_picture(body: list[ast.stmt]) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    open_: list[ast.stmt] = []
    for node in body:
        if open_ or ("plt" in uses(node) and not isinstance(node, ast.FunctionDef | ast.ClassDef)):
            open_.append(node)
        if _called(node) == "picture":
            found += open_ or [node]
            open_ = []
    return found


def _of_pictures(nodes: list[ast.stmt]) -> set[str]:
    """Names such as fig and ax, that statements of pyplot bind: the next cell binds them anew."""
    bound = [binds(n) for n in nodes if isinstance(n, ast.Assign) and "plt" in uses(n)]
    return set().union(*bound)


def _tells(node: ast.stmt) -> bool:
    return any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in ("print", "says")
               for n in ast.walk(node))


def _called(node: ast.stmt) -> str:
    """`f` of a statement `f(...)`."""
    call = node.value if isinstance(node, ast.Expr) else None
    return getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""


def _imports_us(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "minillm.course"


def _body(code: str) -> list[ast.stmt]:
    """The statements of a cell; none if it is no Python yet, as a learner's may be."""
    try:
        return ast.parse(code).body
    except (SyntaxError, ValueError):
        return []


def _without(code: str, out: list[ast.stmt]) -> tuple[str, int]:
    """(the code without some of its statements, and without the comments right above them; how many lines of
    them there were)
    """
    lines = code.splitlines(keepends=True)
    stay = {n for node in _body(code) if not any(node.lineno == o.lineno and node.col_offset == o.col_offset
                                                 for o in out) for n in _lines_of(node)}
    gone = {n for node in out for n in _lines_of(node)} - stay
    above = set()
    for n in gone:
        while n > 1 and lines[n - 2].lstrip().startswith("#"):
            n -= 1
            above.add(n)
    left = "".join(line for n, line in enumerate(lines, 1) if n not in gone | above)
    return re.sub(r"\n{4,}", "\n\n\n", left).strip("\n") + "\n", len(gone)


def _lines_of(node: ast.stmt) -> range:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return range(first, (node.end_lineno or node.lineno) + 1)
