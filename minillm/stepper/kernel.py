"""A recording of Triton kernels as something to step through: in a page, a notebook or the terminal."""

from __future__ import annotations

import ast
import linecache
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from minillm.errors import UserError

from .source import Place, statement

if TYPE_CHECKING:
    from kernels.testing.kernel_steps import KernelLaunch, KernelRecording, KernelStep

# What the kernels that are shown do, in a sentence each.
ABOUT = {
    "one_sweep": {
        "en": "one_sweep: each program reads one row of logits once, and from its maximum and its sum of "
              "exponentials gets the row's loss and its gradient.",
        "zh": "one_sweep：每个程序实例只读一遍一行 logits，由该行的最大值与指数和得到这一行的损失和梯度。"},
    "update_tiles": {
        "en": "update_tiles: each program loads one tile of a parameter, its gradient and its moments, and "
              "stores them after one step of Adam.",
        "zh": "update_tiles：每个程序实例加载某个参数的一片，连同梯度和两个矩估计，写回 Adam 一步的结果。"},
    "inverse_counts": {
        "en": "inverse_counts: one program counts the labels that are kept and stores 1 / that number.",
        "zh": "inverse_counts：由一个程序实例数出未被忽略的标签，写回这个数目的倒数。"},
    "sum_all": {
        "en": "sum_all: one program adds up the losses of all rows.",
        "zh": "sum_all：由一个程序实例把各行的损失相加。"},
}


class KernelSteps:
    """The lines of Triton kernels, program by program; a notebook that gets it shows the page.

    Args:
        recording: of `kernels.testing.trace_kernel` or `recording_kernels`.
        kernel: show the lines of this kernel alone, with those of what it calls; left out, of all.
        equation: the name of the ledger's row that they compute, to be shown beside them.

    Attributes:
        steps: the lines.
        kernels: the kernels' names, in the order of their launches.

    Raises:
        UserError: no kernel of that name was recorded.
    """

    def __init__(self, recording: KernelRecording, kernel: str | None = None, *,
                 equation: str | None = None) -> None:
        self.recording, self.equation = recording, equation
        self.kernels = list(dict.fromkeys(
            launch.kernel for launch in recording.launches if kernel in (None, launch.kernel)))
        if kernel is not None and not self.kernels:
            names = ", ".join(dict.fromkeys(launch.kernel for launch in recording.launches)) or "none"
            raise UserError(f"kernel = {kernel!r} was not recorded: there are {names}")
        self.steps: list[KernelStep] = recording.steps if kernel is None else recording.of(kernel)

    def launch(self, step: KernelStep) -> KernelLaunch:
        """The launch that a line belongs to."""
        return self.recording.launches[step.launch]

    @property
    def title(self) -> str:
        """The kernels' names."""
        return ", ".join(self.kernels)

    def about(self, lang: str) -> str:
        """What the kernels do, a line each, of those that this is known of."""
        return "\n".join(ABOUT[name][lang] for name in self.kernels if name in ABOUT)

    def to_html(self, path: str | os.PathLike[str] | None = None, *, title: str | None = None,
                lang: str = "en") -> str:
        """One HTML file to step through it, without a network; see `minillm.stepper.page.to_html`."""
        from .page import to_html

        return to_html(self, path, title=title, lang=lang)

    def _repr_html_(self) -> str:
        """What a notebook shows: the same page, in a frame."""
        from .page import in_notebook

        return in_notebook(self)


def ranges_of(offsets: np.ndarray) -> str:
    """[3, 4, 5, 9] as "3-5, 9": the offsets in the order of memory."""
    at = np.unique(offsets)
    if not len(at):
        return "-"
    cuts = np.flatnonzero(np.diff(at) != 1) + 1
    runs = [(int(r[0]), int(r[-1])) for r in np.split(at, cuts)]
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:6]]
    return ", ".join(shown + ["..."] * (len(runs) > 6))


def statement_of(step: KernelStep) -> ast.stmt | None:
    """The statement that a line is, or is the head of; None where the source cannot be read."""
    here = step.places[-1]
    first, last = (linecache.getline(here.file, n).rstrip() for n in (here.line, here.end_line))
    margin = len(first) - len(first.lstrip())
    return statement(Place(here.file, here.function, here.line, here.end_line, margin, len(last)))


def node_at_work(step: KernelStep) -> ast.AST | None:
    """What a line computes, as a syntax tree: of an `if` or a loop, the condition; None where it computes
    nothing.
    """
    match statement_of(step):
        case ast.If(test=ast.Name()) | ast.Return(value=ast.Name()):
            return None  # the line says it all
        case ast.If(test=test) | ast.While(test=test):
            return test
        case ast.For(target=target, iter=over):
            return ast.Compare(target, [ast.In()], [over])
        case ast.Assign() | ast.AugAssign() | ast.AnnAssign() | ast.Expr() | ast.Return() as node:
            return node if node.value is not None else None
    return None


def is_of_kernels(recording: Any) -> bool:
    """Whether it is a `kernels.testing.KernelRecording`; `kernels` is not imported for the question."""
    module = sys.modules.get("kernels.testing.kernel_steps")
    return module is not None and isinstance(recording, module.KernelRecording)
