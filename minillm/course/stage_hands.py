"""A cell's code as a reader sees it."""

from __future__ import annotations

import ast
import re


def without_stage_hands(code: str) -> str:
    """A cell's code without the statements that only put the page together: says, picture, step."""
    lines = code.splitlines(keepends=True)
    for node in reversed(ast.parse(code).body):
        call = node.value if isinstance(node, ast.Expr) else None
        called = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
        imported = node.module if isinstance(node, ast.ImportFrom) else ""
        if called in ("says", "picture", "step") or imported == "minillm.course":
            del lines[node.lineno - 1:node.end_lineno]
    return re.sub(r"\n{4,}", "\n\n\n", "".join(lines)).strip("\n") + "\n"
