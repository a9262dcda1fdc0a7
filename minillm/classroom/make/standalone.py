"""A function with all that it needs, as text that runs where neither its file nor this package is."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from minillm.classroom.scenario import _globals


def statements(functions: Iterable[Callable[..., Any]]) -> list[ast.stmt] | None:
    """The functions, and the constants, modules and functions of their file that they use, in an order that
    defines each before it is called; None if they need something else, such as an object or a package.

    Only NumPy and the standard library count as modules that are there.
    """
    found: dict[str, ast.stmt] = {}
    for function in functions:
        if not isinstance(function, FunctionType) or not _collect(function, function.__name__, found):
            return None
    return list(found.values())


def _collect(function: FunctionType, name: str, found: dict[str, ast.stmt]) -> bool:
    if name in found:
        return True
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError):
        return False
    if not isinstance(node, ast.FunctionDef) or node.decorator_list or function.__closure__:
        return False
    if not all(map(_there, _imported(node))):
        return False
    found[name] = ast.Pass()  # a function that calls itself
    code = compile(ast.Module([node], []), "<checks>", "exec")
    for used in sorted(_globals(code) - set(dir(builtins))):
        if used not in function.__globals__ or not _add(
                used, function.__globals__[used], function, found):
            return False
    del found[name]
    node.name = name
    found[name] = node  # after what it uses
    return True


def _add(name: str, value: Any, user: FunctionType, found: dict[str, ast.stmt]) -> bool:
    """One name that a function uses."""
    if name in found:
        return True
    if isinstance(value, ModuleType):
        if _there(value.__name__):
            found[name] = ast.Import([ast.alias(value.__name__, None if name == value.__name__ else name)])
            return True
        return False
    if isinstance(value, FunctionType):  # of the same file: the package's may be what is to be written
        return value.__globals__ is user.__globals__ and _collect(value, name, found)
    try:
        if ast.literal_eval(repr(value)) == value:
            found[name] = ast.parse(f"{name} = {value!r}").body[0]
            return True
    except (ValueError, SyntaxError):
        pass
    return False


def _imported(node: ast.AST) -> Iterable[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from (alias.name for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield one.module or "."


def _there(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "numpy" or top in sys.stdlib_module_names
