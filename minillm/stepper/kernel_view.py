"""A recording of Triton kernels, one line at a time: addresses, masks, and what the variables hold."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np
from rich.console import Group
from rich.text import Text

from .formula import Plain, formula
from .kernel import KernelSteps, node_at_work, ranges_of
from .terminal import WIDTH, Lines, Route, heading, indent, labelled, lit, numbers

WORDS = {
    "en": {"step": "line {0} of {1}", "program": "{0}, program {1}", "in": "in", "code": "code",
           "formula": "formula", "load": "load", "store": "store", "atomic": "atomic {0}", "before": "before",
           "of": "{0} of {1} elements of {2}: {3}",
           "all": "{1} elements of {2}: {3}",
           "at": "address {0}", "masked": "mask", "values": "values"},
    "zh": {"step": "第 {0} 行，共 {1} 行", "program": "{0}，程序实例 {1}", "in": "位于", "code": "代码",
           "formula": "公式", "load": "加载", "store": "写回", "atomic": "原子操作 {0}", "before": "原值",
           "of": "{2} 的 {1} 个元素中的 {0} 个：{3}",
           "all": "{2} 的 {1} 个元素：{3}",
           "at": "地址 {0}", "masked": "掩码", "values": "数值"},
}


class KernelView:
    """What `terminal.walk` shows of kernels.

    Args:
        shown: of `KernelSteps`.
        lang: "en" or "zh".
        title: in place of the kernels' names.
    """

    def __init__(self, shown: KernelSteps, lang: str = "en", *, title: str | None = None) -> None:
        self.shown, self.steps, self.lang, self._title = shown, shown.steps, lang, title

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def title(self) -> str:
        return self._title or self.shown.title

    @property
    def about(self) -> str:
        return self.shown.about(self.lang)

    def lines(self, index: int, width: int = WIDTH) -> Lines:
        """(label, text): where we are, what is loaded and stored, and the variables that the line changed."""
        w, step = WORDS[self.lang], self.steps[index]
        labels = [*step.bound, *(w[a.kind].format(a.operation) for a in step.accesses), w["masked"],
                  w["values"], w["before"],
                  w["step"].format(index + 1, len(self))]
        room = width - indent(labels)
        kernel = self.shown.launch(step).kernel
        found = [(w["step"].format(index + 1, len(self)), w["program"].format(kernel, step.program))]
        if step.function != kernel:
            found.append((w["in"], step.function))
        node = node_at_work(step)
        if node is not None:
            found.append((w["formula"], formula(node, Plain())))
        found.append((w["code"], f"{step.line}: {step.text}"))
        for access in step.accesses:
            touched = access.touched
            where = access.array or w["at"].format(hex(int(access.offsets.flat[0])))
            form = w["all"] if access.mask is None else w["of"]
            shown = form.format(len(touched), access.offsets.size, where, ranges_of(touched))
            found.append((w[access.kind].format(access.operation), shown))
            if access.mask is not None:
                found.append((w["masked"], numbers(access.mask.astype(np.int8), room)))
            found.append((w["values"], numbers(access.values, room)))
            if access.before is not None:
                found.append((w["before"], numbers(access.before, room)))
        return found + [(name, _value(value, room)) for name, value in step.bound.items()]

    def show(self, index: int, width: int = WIDTH) -> Group:
        """Some lines of the kernel around the one at work, and what it does."""
        step = self.steps[index]
        around = [(n, linecache.getline(step.file, n).rstrip()) for n in range(step.line - 4, step.line + 5)]
        code = [lit(n, line, len(line) - len(line.lstrip())) if n == step.line else lit(n, line)
                for n, line in around if n > 0 and line]
        return Group(*heading(self), *code, Text(), *labelled(self.lines(index, width)))

    def follow(self, index: int) -> Route:
        """The first variable that the line changed, and the lines of its function that change it."""
        step = self.steps[index]
        name = next(iter(step.bound), "")
        same = [i for i, s in enumerate(self.steps) if name in s.bound and s.function == step.function
                and (s.launch, s.program) == (step.launch, step.program)]
        return name or step.function, same or [index]


def _value(value: Any, width: int) -> str:
    """A variable's value; a pointer as the argument and the offsets that it points to."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return f"{value[0]} + {ranges_of(value[1])}" if value[0] else f"{int(np.ravel(value[1])[0]):#x}"
    if isinstance(value, tuple):
        return ", ".join(_value(v, width) for v in value)
    return numbers(value, width)
