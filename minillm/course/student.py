"""A learner's function out of the learner's file, by running only those of its lines that it needs."""

from __future__ import annotations

import ast
import os
import re
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from .names import binds, uses
from .result import Result, not_written
from .saved_text import NotUtf8, read_saved

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


class CannotLoad(Exception):
    """The function cannot be had; `result` says why."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.en)
        self.result = result


def load_function(path: str | Path, name: str) -> Any:
    """The learner's function: its definition and, of the lines before it, those whose names it uses.

    Args:
        path: the learner's lesson.py; its cells need not be in order, nor all of them be Python.
        name: of the function or class.

    Raises:
        CannotLoad: no file, no UTF-8, no such function, a syntax error, or the lines before it fail.
    """
    path = Path(path)
    try:
        text = read_saved(path).text
    except NotUtf8 as error:
        raise CannotLoad(Result(name, False, "encoding", error.en, error.zh, line=error.line)) from None
    except OSError as error:
        raise CannotLoad(Result(
            name, False, "missing", f"{path} cannot be read ({error.__class__.__name__}): "
            "`minillm learn reset` makes it anew and keeps what is there",
            f"读不了 {path}（{error.__class__.__name__}）："
            "`minillm learn reset` 会重新生成它，并保留原有内容")) from None
    statements, broken = _statements(text, str(path))
    at = max((i for i, s in enumerate(statements) if name in binds(s)), default=None)
    for mistake in broken:
        if at is None or _mentions(text, mistake, name):
            raise CannotLoad(_of_syntax(name, mistake))
    if at is None:
        raise CannotLoad(Result(
            name, False, "missing", f"{path.name} has no function {name} any more: "
            f"`minillm learn reset {name}` brings it back and keeps what is there",
            f"{path.name} 里找不到函数 {name} 了："
            f"`minillm learn reset {name}` 会把它放回来，并保留原有内容"))
    module = types.ModuleType("_learner_" + re.sub(r"\W", "_", path.resolve().parent.name))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and Triton look a function's module up
    os.environ.setdefault("MPLBACKEND", "Agg")
    for statement in needed(statements, at):
        code = compile(ast.Module([statement], []), str(path), "exec", dont_inherit=True)
        try:
            exec(code, module.__dict__)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise CannotLoad(_of_line(name, statement.lineno, error, str(path))) from None
    return module.__dict__[name]


def needed(statements: list[ast.stmt], at: int) -> list[ast.stmt]:
    """Statement `at` and, in order, those that bind names which it, or they, use; prints, pictures and
    training runs whose names nobody uses are left out.
    """
    wanted = uses(statements[at])
    name = binds(statements[at])
    before = set().union(*map(binds, statements[:at]))
    chosen = [at]
    changed = True
    while changed:
        changed = False
        for i, statement in enumerate(statements):
            found = binds(statement) & wanted - name
            if i > at:  # a function below may be called; a value below is not there yet when the lesson runs
                found = found - before if isinstance(statement, _DEFINITIONS) else set()
            if i not in chosen and found:
                chosen.append(i)
                wanted |= uses(statement)
                changed = True
    return [statements[i] for i in sorted(chosen)]


def _statements(text: str, file: str) -> tuple[list[ast.stmt], list[SyntaxError]]:
    """The file's statements; cells are read one by one, so that a mistake in one leaves the others."""
    found: list[ast.stmt] = []
    broken: list[SyntaxError] = []
    lines = text.split("\n")
    starts = [0, *(i for i, line in enumerate(lines) if line.startswith("# %%"))]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        try:
            found += ast.parse("\n" * start + "\n".join(lines[start:end]), file).body
        except SyntaxError as error:
            broken.append(error)
        except ValueError:  # a null byte
            what = "the file has characters that Python cannot read"
            broken.append(SyntaxError(what, (file, start + 1, 1, "")))
    return found, broken


def _mentions(text: str, error: SyntaxError, name: str) -> bool:
    """Whether the cell with the mistake is the one that defines the function."""
    lines = text.split("\n")
    line = min(error.lineno or 1, len(lines))
    start = max((i for i in range(line) if lines[i].startswith("# %%")), default=0)
    end = next((i for i in range(line, len(lines)) if lines[i].startswith("# %%")), len(lines))
    cell = "\n".join(lines[start:end])
    return re.search(rf"^(def|class)\s+{name}\b|exercise=\"{name}\"", cell, re.M) is not None


def _of_syntax(name: str, error: SyntaxError) -> Result:
    line = (error.text or "").strip()
    shown = f", `{line}`" if line else ""
    return Result(name, False, "syntax", f"line {error.lineno}{shown} is not Python yet: {error.msg}",
                  f"第 {error.lineno} 行{f' `{line}` ' if line else ''}还不是合法的 Python：{error.msg}",
                  "syntax", error.lineno)


def _of_line(name: str, line: int, error: BaseException, file: str) -> Result:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    if isinstance(error, NotImplementedError):
        other = frames[-1].name if frames else ""
        if other == name:
            return not_written(name, frames[-1].lineno)
        return Result(name, False, "needs_other", f"line {line} runs {other}, which is not written yet: "
                      "write that first", f"第 {line} 行用到了 {other}，而它还没有写：请先写它", line=line)
    if isinstance(error, SystemExit):
        return Result(name, False, "ended", f"line {line} ends the program: take it out",
                      f"第 {line} 行结束了整个程序：请去掉它", line=line)
    what = type(error).__name__ + (f": {' '.join(str(error).split())}" if str(error) else "")
    if isinstance(error, ModuleNotFoundError):
        what += f" (pip install {error.name})"
    return Result(name, False, "exception", f"line {line}, which {name} needs: {what}",
                  f"{name} 用到的第 {line} 行出错：{what}", type(error).__name__, line)
