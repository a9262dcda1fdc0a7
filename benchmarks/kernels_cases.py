"""What the kernels' benchmark measures, in order of importance, and how many bytes each case has to move.

A bytes model counts every input read once and every output written once. No kernel moves fewer, so bytes
over time is at most the memory's rate, and the share of a copy's rate says how much is left to gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

ITEMSIZE = {"float32": 4, "bfloat16": 2}
SHORT = {"float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy of (rows, vocab) logits: the loss alone, or with its gradient."""

    rows: int
    vocab: int
    dtype: str
    gradient: bool

    kind = "cross_entropy"
    flops = None

    @property
    def id(self) -> str:
        way = "forward-backward" if self.gradient else "forward"
        return f"cross-entropy-{way}-{self.rows}x{self.vocab}-{SHORT[self.dtype]}"

    @property
    def title(self) -> str:
        way = "forward + backward" if self.gradient else "forward"
        return f"cross-entropy, {way}, {self.rows} x {self.vocab} {SHORT[self.dtype]}"

    @property
    def bytes(self) -> int:
        """Logits read, and their gradient written: b or 2b a logit. Labels and losses are V times less."""
        return self.rows * self.vocab * ITEMSIZE[self.dtype] * (2 if self.gradient else 1)

    @property
    def holds(self) -> int:
        """Bytes that the data itself takes: logits, and a buffer for whoever overwrites them."""
        return 2 * self.rows * self.vocab * ITEMSIZE[self.dtype]


@dataclass(frozen=True)
class Adam:
    """One AdamW step over a list of tensors."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"  # of parameters and gradients
    moments: str = "float32"
    master: bool = False

    kind = "adam"
    flops = None

    @property
    def elements(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def layout(self) -> str:
        if self.master:
            return f"{SHORT[self.dtype]} with {SHORT['float32']} master"
        return SHORT[self.dtype] if self.dtype == self.moments else f"{SHORT[self.dtype]} with fp32 moments"

    @property
    def id(self) -> str:
        return f"adam-{self.name}-{self.layout}".replace(" ", "-").lower()

    @property
    def title(self) -> str:
        count = f"{len(self.shapes)} tensors" if len(self.shapes) > 1 else "one tensor"
        return f"AdamW, {self.name} ({self.elements:,} parameters, {count}), {self.layout}"

    @property
    def bytes_per_element(self) -> int:
        """p, m, v read and written, g read. Master weights are read in place of p, which is only written."""
        b, s = ITEMSIZE[self.dtype], ITEMSIZE[self.moments]
        weights = 2 * 4 + b if self.master else 2 * b
        return weights + b + 2 * s + 2 * s

    @property
    def bytes(self) -> int:
        return self.elements * self.bytes_per_element

    @property
    def holds(self) -> int:
        b, s = ITEMSIZE[self.dtype], ITEMSIZE[self.moments]
        return self.elements * (2 * b + 2 * s + 4 * self.master)


@dataclass(frozen=True)
class LinearCrossEntropy:
    """Cross-entropy of x W^T with its gradients dx and dW: what counts is time, and memory besides."""

    rows: int
    hidden: int
    vocab: int
    dtype: str

    kind = "linear_cross_entropy"
    gradient = True

    @property
    def id(self) -> str:
        return f"linear-cross-entropy-{self.rows}x{self.hidden}x{self.vocab}-{SHORT[self.dtype]}"

    @property
    def title(self) -> str:
        return (f"linear + cross-entropy, forward + backward, {self.rows} x {self.hidden} x {self.vocab} "
                f"{SHORT[self.dtype]}")

    @property
    def bytes(self) -> int:
        """x and W read, dx and dW written: far below what the products take, so time is judged by flops."""
        return 2 * ITEMSIZE[self.dtype] * self.hidden * (self.rows + self.vocab)

    @property
    def flops(self) -> int:
        """Three products (logits, dx, dW) of 2 rows hidden vocab operations."""
        return 6 * self.rows * self.hidden * self.vocab

    @property
    def holds(self) -> int:
        reference = 8 * self.vocab * self.hidden  # W in float64
        return ITEMSIZE[self.dtype] * self.hidden * (self.rows + self.vocab) + reference


Case = CrossEntropy | Adam | LinearCrossEntropy


def gpt2_shapes(*, vocab: int = 50257, positions: int = 1024, width: int = 768,
                layers: int = 12) -> tuple[tuple[int, ...], ...]:
    """Shapes of a GPT-2's parameters, from its config; the defaults are GPT-2 small's. Output and input
    embedding are one tensor."""
    norm = [(width,), (width,)]
    block = [*norm, (width, 3 * width), (3 * width,), (width, width), (width,),
             *norm, (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return ((vocab, width), (positions, width), *(block * layers), *norm)


VOCABULARIES = (128256, 32000, 50257, 262144)  # that of the number to beat first


def cases() -> list[Case]:
    """All of a full run, the most important first: the run has a time limit."""
    ce = [CrossEntropy(8192, V, "bfloat16", True) for V in VOCABULARIES]
    ce32 = [CrossEntropy(8192, V, "float32", True) for V in VOCABULARIES]
    forward = [CrossEntropy(8192, V, dtype, False) for dtype in ("bfloat16", "float32") for V in VOCABULARIES]
    large, medium, gpt2 = ((10**9,),), ((10**8,),), gpt2_shapes()
    return [  # the first two are the numbers to beat
        ce[0], Adam("1e9", large), *ce[1:], Adam("GPT-2 small", gpt2), Adam("1e8", medium), ce32[0],
        LinearCrossEntropy(8192, 4096, 128256, "bfloat16"), *ce32[1:],
        Adam("1e9", large, "bfloat16", "bfloat16"), Adam("1e9", large, "bfloat16", "float32", True),
        Adam("GPT-2 small", gpt2, "bfloat16", "float32", True), Adam("1e8", medium, "bfloat16", "bfloat16"),
        *forward,
    ]


def smoke_cases() -> list[Case]:
    """One of each kind, small enough for the CPU: they check the script and measure nothing."""
    tiny = gpt2_shapes(vocab=31, positions=5, width=4, layers=1)
    return [
        CrossEntropy(5, 300, "bfloat16", True), CrossEntropy(4, 37, "float32", False),
        Adam("tiny GPT-2", tiny, "bfloat16", "float32", True),
        Adam("1e3", ((1000,),), "bfloat16", "bfloat16"), LinearCrossEntropy(6, 8, 50, "bfloat16"),
    ]


def describe(case: Case) -> dict[str, Any]:
    """The case as it stands in the results."""
    return {"id": case.id, "kind": case.kind, "title": case.title, "bytes": case.bytes, "flops": case.flops}
