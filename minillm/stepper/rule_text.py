"""The derivative rule at work, as it stands in the engine's table: the text of `lambda g, y, x: g * y`."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from types import CodeType
from typing import Any

from minillm.autograd.rules import RULES, AllArguments
from minillm.autograd.rules.registry import EachArgument


def rule_text(op: Any, argument: int) -> str:
    """The rule for an argument of an op: the expression of a lambda, the name and first line of a function,
    "" where there is none to read.

    In it g is the gradient of the op's result y, and the arguments have the names of the lambda.
    """
    rules = RULES.get(op)
    if rules is None:
        return _described(getattr(op, "backward", None))
    if isinstance(rules, EachArgument | AllArguments):
        return _described(rules.rule)
    return _described(rules[argument])


def _described(rule: Any) -> str:
    code = getattr(rule, "__code__", None)
    if code is None:
        return ""
    if code.co_name == "<lambda>":
        return _lambda_text(code)
    doc = (inspect.getdoc(rule) or "").partition("\n")[0]
    return f"{code.co_name.lstrip('_')}" + (f": {doc}" if doc else "")


@functools.lru_cache(maxsize=512)
def _lambda_text(code: CodeType) -> str:
    """The expression of a lambda: of those in its file, the one whose body its code was made from."""
    text = "".join(linecache.getlines(code.co_filename))
    spans = set(code.co_positions())
    for node in ast.walk(_parsed(text)) if text else ():
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno:
            body = node.body
            if (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in spans:
                return " ".join(ast.unparse(body).split())
    return ""


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)
