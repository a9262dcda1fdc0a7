"""Which names a statement binds, and which it needs."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator


def binds(statement: ast.stmt) -> set[str]:
    """Names that a statement gives a value, or whose contents it writes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            names.add(node.id)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            base: ast.expr = node
            while isinstance(base, ast.Subscript | ast.Attribute):
                base = base.value
            if isinstance(base, ast.Name):
                names.add(base.id)
    return names


def uses(statement: ast.stmt) -> set[str]:
    """Global names that running a statement, and calling what it defines, may need."""
    def walk(table: symtable.SymbolTable, top: bool) -> Iterator[str]:
        yield from (s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global()))
        for inner in table.get_children():
            yield from walk(inner, False)

    return set(walk(symtable.symtable(ast.unparse(statement), "statement", "exec"), True))
