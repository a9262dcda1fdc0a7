"""A recording of the engine, one step at a time, as lines of text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.text import Text

from .equation import equation_of
from .formula import Plain, formula
from .naming import Again, line_at_work
from .recording import Recording, Step
from .source import expression, lines_of
from .terminal import WIDTH, Lines, Route, before_numbers, heading, indent, labelled, lit, numbers

WORDS = {
    "en": {"forward": "forward", "backward": "backward", "step": "step {0} of {1}", "formula": "formula",
           "code": "code", "in": "in", "inputs": "given", "value": "result", "incoming": "dL/dy arrives",
           "complete": "dL/d({0}) is complete and goes on to what it was computed from", "rule": "rule",
           "local": "local dy/dx", "contribution": "adds", "accumulated": "dL/d({0}) now",
           "sum": "L = sum of all elements of {0}", "is": "L = {0}",
           "argument": "{0} (argument)", "line": "{0} (line {1})", "again": "{0} (line {1}, no. {2})",
           "changed": "{0} (changed in place)", "changed again": "{0} (changed in place {3} times)",
           "colon": ": ",
           },
    "zh": {"forward": "前向", "backward": "反向", "step": "第 {0} 步，共 {1} 步", "formula": "公式",
           "code": "代码", "in": "位于", "inputs": "输入", "value": "结果", "incoming": "传入的梯度 dL/dy",
           "complete": "dL/d({0}) 已经求全，继续传给计算它所用的量", "rule": "求导规则",
           "local": "局部导数 dy/dx", "contribution": "本步贡献", "accumulated": "dL/d({0}) 累计",
           "sum": "L = {0} 的所有元素之和", "is": "L = {0}",
           "argument": "{0}（参数）", "line": "{0}（第 {1} 行）", "again": "{0}（第 {1} 行第 {2} 次）",
           "changed": "{0}（已原地修改）", "changed again": "{0}（已原地修改 {3} 次）",
           "colon": "：",
           },
}


def name_of(recording: Recording, value: int, lang: str = "en") -> str:
    """What to call a value: its variable, or the expression that made it, or its number.

    Of several values whose variables have one name, each has its line: "x (line 4)".
    """
    v = recording.values[value]
    if v.name:
        name = formula(ast.Name(v.name), Plain()) if v.name.isidentifier() else v.name
        return _told_apart(name, recording.alike.get(value), lang)
    if v.made_by is not None:
        found = recording.steps[v.made_by].places
        node = expression(found[-1]) if found else None
        if node is not None:
            return formula(node, Plain())
        return recording.steps[v.made_by].op
    if v.data.ndim == 0:
        return numbers(v.data)
    return _told_apart(f"constant {v.data.shape}", recording.alike.get(value), lang)


def _told_apart(name: str, again: Again | None, lang: str) -> str:
    if again is None:
        return name
    line, time, changes = again
    if changes:
        return WORDS[lang]["changed" if changes == 1 else "changed again"].format(name, line, time, changes)
    kind = "argument" if line is None else "line" if time is None else "again"
    return WORDS[lang][kind].format(name, line, time)


def differentiated(recording: Recording, lang: str = "en") -> str:
    """What L is in all the dL/dx: "L = ...", or "" where nothing is differentiated."""
    if recording.result is None:
        return ""
    w, is_array = WORDS[lang], recording.values[recording.result].data.ndim > 0
    return w["sum" if is_array else "is"].format(name_of(recording, recording.result, lang))


def lines(recording: Recording, index: int, lang: str = "en", width: int = WIDTH) -> Lines:
    """(label, text) of a step, from what it is to the numbers.

    Args:
        recording: of `trace`.
        index: of the step.
        lang: "en" or "zh".
        width: columns of the terminal, labels included.

    Raises:
        IndexError: there is no such step.
    """
    w, step = WORDS[lang], recording.steps[index]
    found = [(w["step"].format(index + 1, len(recording.steps)), f"{w[step.direction]}{w['colon']}{step.op}")]
    if step.places:
        place = step.places[-1]
        at_work = line_at_work(step)
        if at_work is not None:
            found.append((w["formula"], formula(at_work[0], Plain(), now=at_work[1])))
        found.append((w["code"], f"{place.line}: {place.text.strip()}"))
        if len(step.places) > 1:
            found.append((w["in"], " > ".join(p.function for p in step.places)))
    arrays = list(_arrays(recording, step, lang))
    room = width - indent(label for label, *_ in [*found, *arrays])
    return found + [(label, before if x is None else before_numbers(before, x, room))
                    for label, before, x in arrays]


def _arrays(recording: Recording, step: Step, lang: str) -> Iterator[tuple[str, str, Any]]:
    """(label, text, the array whose numbers follow it or None)."""
    w = WORDS[lang]
    given = [(name_of(recording, i, lang), recording.values[i].data) for i in step.inputs if i is not None]
    result = name_of(recording, step.value, lang)
    if step.direction == "forward":
        for name, data in given:
            yield w["inputs"], "" if name == numbers(data) else f"{name} = ", data
        yield w["value"], f"{result} = ", recording.values[step.value].data
        return
    if step.incoming is not None:
        yield w["incoming"], f"(y = {result}) ", step.incoming
    if step.argument is None:
        yield "", w["complete"].format(result), None
        return
    receiver = step.inputs[step.argument]
    to = "?" if receiver is None else name_of(recording, receiver, lang)
    if step.rule:
        yield w["rule"], step.rule, None
    if step.local is not None:
        yield w["local"], "", step.local
    yield w["contribution"], "", step.contribution
    yield w["accumulated"].format(to), "", step.accumulated


class RecordingView:
    """What `terminal.walk` shows of a `Recording`.

    Args:
        recording: of `trace`.
        lang: "en" or "zh".
        title: in place of the equation's title or the function's name.
    """

    def __init__(self, recording: Recording, lang: str = "en", *, title: str | None = None) -> None:
        self.recording, self.lang, self._title = recording, lang, title

    def __len__(self) -> int:
        return len(self.recording.steps)

    @property
    def title(self) -> str:
        if self._title is not None:
            return self._title
        row = equation_of(self.recording.function)
        if row is None:
            return getattr(self.recording.function, "__name__", "function")
        return f"{row.title_zh if self.lang == 'zh' else row.title}   ({row.source})"

    @property
    def about(self) -> str:
        return differentiated(self.recording, self.lang)

    def lines(self, index: int, width: int = WIDTH) -> Lines:
        return lines(self.recording, index, self.lang, width)

    def show(self, index: int, width: int = WIDTH) -> Group:
        """The code of the function that the step is in, with its expression lit, and the step's lines."""
        step = self.recording.steps[index]
        code = list(_code(self.recording, step)) if step.places else []
        return Group(*heading(self), *code, Text(), *labelled(self.lines(index, width)))

    def follow(self, index: int) -> Route:
        """The value that the step is about, and the steps that it goes through."""
        value = self.recording.steps[index].value
        return name_of(self.recording, value), self.recording.uses(value)


def _code(recording: Recording, step: Step) -> Iterator[Text]:
    """The body of the function, without its docstring, with the expression at work lit."""
    place = step.places[-1]
    first, text = lines_of(recording.function)
    inside = first <= place.line < first + len(text) and place.file == _file(recording.function)
    if inside:
        numbered = list(enumerate(text, first))[_body(text):]
    else:
        numbered = [(n, line) for n, line in enumerate(place.text.splitlines(), place.line)]
    for n, line in numbered:
        if place.line <= n <= place.end_line:
            begin = place.column if n == place.line else len(line) - len(line.lstrip())
            yield lit(n, line, begin, place.end_column if n == place.end_line else None)
        else:
            yield lit(n, line)


def _file(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return code.co_filename if code is not None else ""


def _body(text: list[str]) -> int:
    """Index of the first line behind the docstring."""
    indent = len(text[0]) - len(text[0].lstrip()) if text else 0
    try:
        node = ast.parse("\n".join(line[indent:] for line in text)).body[0]
    except (SyntaxError, IndexError):
        return 0
    if not isinstance(node, ast.FunctionDef) or len(node.body) < 2 or ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno or 0


