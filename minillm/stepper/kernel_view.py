"""A recording of Triton kernels, one line at a time: addresses, masks, and what the variables hold."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np
from rich.console import Group
from rich.text import Text

from .terminal import WIDTH, Lines, Route, heading, indent, labelled, lit, numbers

WORDS = {
    "en": {"step": "line {0} of {1}", "program": "{0}, program {1}", "in": "in", "code": "code",
           "load": "load", "store": "store", "of": "{0} of {1} elements of {2}: {3}",
           "all": "{1} elements of {2}: {3}",
           "at": "address {0}", "masked": "mask", "values": "values"},
    "zh": {"step": "第 {0} 行，共 {1} 行", "program": "{0}，程序 {1}", "in": "位于", "code": "代码",
           "load": "读取", "store": "写入", "of": "{2} 的 {1} 个元素中的 {0} 个：{3}",
           "all": "{2} 的 {1} 个元素：{3}",
           "at": "地址 {0}", "masked": "掩码", "values": "数值"},
}

# What the kernels that are shown do, in a sentence each.
ABOUT = {
    "one_sweep": {
        "en": "one_sweep: each program reads one row of logits once, and from its maximum and its sum of "
              "exponentials gets the row's loss and its gradient.",
        "zh": "one_sweep：每个程序只读一遍一行 logits，由该行的最大值与指数和得到这一行的损失和梯度。"},
    "update_tiles": {
        "en": "update_tiles: each program loads one tile of a parameter, its gradient and its moments, and "
              "stores them after one step of Adam.",
        "zh": "update_tiles：每个程序读取某个参数的一块，连同梯度和两个矩估计，写回 Adam 更新一步的结果。"},
    "inverse_counts": {
        "en": "inverse_counts: one program counts the labels that are kept and stores 1 / that number.",
        "zh": "inverse_counts：由一个程序数出未被忽略的标签，写回这个数目的倒数。"},
    "sum_all": {
        "en": "sum_all: one program adds up the losses of all rows.",
        "zh": "sum_all：由一个程序把各行的损失相加。"},
}


class KernelView:
    """What `terminal.walk` shows of a `kernels.testing.KernelRecording`.

    Args:
        recording: of `trace_kernel` or `recording_kernels`.
        lang: "en" or "zh".
        kernel: show its lines alone, counted from 1; left out, those of all kernels.
    """

    def __init__(self, recording: Any, lang: str = "en", *, kernel: str | None = None) -> None:
        self.recording, self.lang = recording, lang
        self.steps = recording.steps if kernel is None else recording.of(kernel)
        names = [launch.kernel for launch in recording.launches if kernel in (None, launch.kernel)]
        self.kernels = list(dict.fromkeys(names))

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def title(self) -> str:
        return ", ".join(self.kernels)

    @property
    def about(self) -> str:
        return "\n".join(ABOUT[name][self.lang] for name in self.kernels if name in ABOUT)

    def lines(self, index: int, width: int = WIDTH) -> Lines:
        """(label, text): where we are, what is loaded and stored, and the variables that the line changed."""
        w, step = WORDS[self.lang], self.steps[index]
        labels = [*step.bound, *(w[a.kind] for a in step.accesses), w["masked"], w["values"],
                  w["step"].format(index + 1, len(self))]
        room = width - indent(labels)
        kernel = self.recording.launches[step.launch].kernel
        found = [(w["step"].format(index + 1, len(self)), w["program"].format(kernel, step.program))]
        if step.function != kernel:
            found.append((w["in"], step.function))
        found.append((w["code"], f"{step.line}: {step.text}"))
        for access in step.accesses:
            touched = access.touched
            where = access.array or w["at"].format(hex(int(access.offsets.flat[0])))
            form = w["all"] if access.mask is None else w["of"]
            shown = form.format(len(touched), access.offsets.size, where, _ranges(touched))
            found.append((w[access.kind], shown))
            if access.mask is not None:
                found.append((w["masked"], numbers(access.mask.astype(np.int8), room)))
            found.append((w["values"], numbers(access.values, room)))
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


def _ranges(offsets: np.ndarray) -> str:
    """[3, 4, 5, 9] as "3-5, 9": the offsets in the order of memory."""
    at = np.unique(offsets)
    if not len(at):
        return "-"
    cuts = np.flatnonzero(np.diff(at) != 1) + 1
    runs = [(int(r[0]), int(r[-1])) for r in np.split(at, cuts)]
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:6]]
    return ", ".join(shown + ["..."] * (len(runs) > 6))


def _value(value: Any, width: int) -> str:
    """A variable's value; a pointer as the argument and the offsets that it points to."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return f"{value[0]} + {_ranges(value[1])}" if value[0] else f"{int(np.ravel(value[1])[0]):#x}"
    if isinstance(value, tuple):
        return ", ".join(_value(v, width) for v in value)
    return numbers(value, width)
