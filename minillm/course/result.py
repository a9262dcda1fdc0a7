"""What a check says to a learner: its result, in words for exceptions and arguments."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .compare import array, kind_of


@dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        exercise: its name.
        passed: whether the function is right.
        kind: "passed", "not_written", "needs_other", "exception", "ended", "too_slow", "changed_input",
            "missing", "encoding", "syntax", or the kind of a `compare.Difference`.
        en, zh: what to say to the learner.
        cause: key of the known wrong version or of the generic cause, or "".
        line: the learner's line at fault, or None.
        printed: what the function printed: in the call that is wrong; in all of them where none is.
        calls: how many calls that was.
    """

    exercise: str
    passed: bool
    kind: str
    en: str
    zh: str
    cause: str = ""
    line: int | None = None
    printed: str = ""
    calls: int = 1

    def message(self, lang: str = "en") -> str:
        """What to say, in a language."""
        return self.zh if lang == "zh" else self.en

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        return cls(**data)


def of_exception(name: str, function: Callable[..., Any], error: BaseException, given: str = "") -> Result:
    """What a check says to an exception."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file_of(function)]
    last = frames[-1] if frames else None
    if isinstance(error, NotImplementedError):
        if last is not None and last.name not in (name, "<module>") and not frames_of(function, name, last):
            return Result(name, False, "needs_other",
                          f"{name} calls {last.name}, which is not written yet: write that first",
                          f"{name} 用到了 {last.name}，而它还没有写：请先写它", line=last.lineno)
        return not_written(name, last.lineno if last else None)
    line = last.lineno if last is not None else None
    text = " ".join(str(error).split())
    what = type(error).__name__ + (f": {text}" if text else "")
    if isinstance(error, SystemExit | GeneratorExit):
        return Result(name, False, "ended",
                      f"{name} ends the program (sys.exit or exit); it should return its result",
                      f"{name} 结束了整个程序（sys.exit 或 exit）；它应当返回结果", line=line)
    if isinstance(error, RecursionError):
        return Result(name, False, "exception",
                      f"{name} calls itself too deeply (Python allows about 1000 nested calls), or without "
                      "end: what stops it?",
                      f"{name} 调用自己的层数太深（Python 大约允许 1000 层），或者停不下来：在哪里停？",
                      "recursion", line)
    code = (last.line or "").strip() if last is not None else ""
    en = f"line {line}, `{code}`: {what}" if last is not None else what
    zh = f"第 {line} 行 `{code}`：{what}" if last is not None else what
    if given:
        en, zh = more(en, zh, f"Called with {given}", f"调用参数：{given}")
    if isinstance(error, EOFError):
        en, zh = more(en, zh, "A check has no keyboard: leave input() out",
                      "检查时没有键盘输入：请去掉 input()")
    return Result(name, False, "exception", en, zh, type(error).__name__, line)


def raised_by_learner(error: BaseException) -> BaseException:
    """The error behind those in which Triton's interpreter wraps what a kernel raises."""
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def frames_of(function: Callable[..., Any], name: str, frame: traceback.FrameSummary) -> bool:
    """Whether a frame is of code written inside the function: a method or an inner function."""
    try:
        linecache.checkcache(frame.filename)
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return frame.name == name
    return frame.lineno is not None and first <= frame.lineno < first + len(lines)


def not_written(name: str, line: int | None = None) -> Result:
    """What a check says to a stub."""
    where = ("", "") if line is None else (f" (line {line})", f"第 {line} 行的")
    return Result(name, False, "not_written",
                  f"Replace the `raise NotImplementedError` line{where[0]}; "
                  "`minillm learn hint` helps",
                  f"把{where[1]} `raise NotImplementedError` 换成你的代码；"
                  "需要提示时用 `minillm learn hint`", line=line)


def describe(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The arguments in a line: `x (3, 4) float64, t = 2`; small ones with their numbers."""
    words = []
    for k, a in enumerate(args):
        name = argument_name(function, k)
        if isinstance(a, np.ndarray) or hasattr(a, "requires_grad"):
            x = array(a)
            numbers = ["=", *np.array2string(x, precision=4, separator=", ").split()] if x.size <= 6 else []
            words.append(" ".join([name, str(x.shape), str(x.dtype), *numbers]))
        elif isinstance(a, int | float | str | bool | np.generic) or a is None:
            words.append(f"{name} = {a.item() if isinstance(a, np.generic) else a!r}"[:80])
        elif callable(a):
            words.append(f"{name} = {getattr(a, '__name__', type(a).__name__)}")
        else:
            words.append(f"{name}: {kind_of(a)}" if len(repr(a)) > 60 else f"{name} = {a!r}")
    return ", ".join(words)


def argument_name(function: Callable[..., Any], k: int) -> str:
    """What a function calls its k-th argument, from 0."""
    try:
        names = [p.name for p in inspect.signature(function).parameters.values()
                 if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        names = []
    return names[k] if k < len(names) else f"argument {k + 1}"


def file_of(function: Callable[..., Any]) -> str:
    """The file that a function or class was written in; "" for a built-in."""
    function = inspect.unwrap(getattr(function, "fn", function))  # a Triton kernel holds its function as fn
    code = getattr(function, "__code__", None)
    if code is None:
        inside = vars(function).values() if isinstance(function, type) else ()
        code = next((m.__code__ for m in inside if hasattr(m, "__code__")), None)
    if code is not None:
        linecache.checkcache(code.co_filename)
    return code.co_filename if code is not None else ""


def more(en: str, zh: str, en_more: str, zh_more: str) -> tuple[str, str]:
    """A line more, in both languages; every line ends as a sentence does."""
    def joined(stop: str, *lines: str) -> str:
        return "\n".join(line if line.endswith(tuple(".?!。？！`")) else line + stop for line in lines)

    return joined(".", en, en_more), joined("。", zh, zh_more)
