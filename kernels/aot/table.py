"""The table of compiled kernels: which variants, on which targets, and the limits of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from kernels.arrays import ITEMSIZE

from . import problems
from .problems import AdamVariant, Problem


@dataclass(frozen=True)
class Entry:
    """One compiled kernel and its limits.

    Attributes:
        kernel: "cross_entropy", "cross_entropy scales", "cross_entropy total" or "adam".
        backend: "triton" or "cuda".
        target: "sm_80", "sm_90" or "gfx942".
        variant: which dtypes, sizes and options.
        problem: makes the arrays and the model of bytes.
        registers: most a thread may use.
        spills: bytes of spills that are accepted, stores and loads together.
        requests: how many times as many bytes as the model's the code may ask for.
        width: bytes of the narrowest access that moves data.
        amd: for gfx942, least numbers of loads and stores of `width` bytes and most of narrower ones.
        why: the reason for whatever is accepted.
    """

    kernel: str
    backend: str
    target: str
    variant: str
    problem: Callable[[], Problem]
    registers: int
    spills: int = 0
    requests: float = 1.0
    width: int = 16
    amd: tuple[int, int, int, int] | None = None
    why: str = ""

    @property
    def module(self) -> str:
        """The module of the backend that has the kernel's host side."""
        return self.kernel.split()[0]

    @property
    def name(self) -> str:
        """As tests and messages call it."""
        return f"{self.kernel}, {self.backend}, {self.variant}, {self.target}"


NVIDIA = ("sm_80", "sm_90")
TARGETS = {"triton": (*NVIDIA, "gfx942"), "cuda": NVIDIA}


def entries() -> list[Entry]:
    """The whole table."""
    return [entry for backend, targets in TARGETS.items() for target in targets
            for entry in (*_cross_entropy(backend, target), *_adam(backend, target))]


# ---- Softmax cross-entropy -------------------------------------------------------------------------------
# Rows of 32000, 128256, ... logits start at 16-byte boundaries; those of 50257 and 1023, here, none.

SIZES = {"bfloat16": (1024, 32000, 32768, 128256, 262144, 1023, 50257), "float16": (1024, 32000, 50257),
         "float32": (1024, 32000, 32768, 128256, 262144, 1023, 50257)}
EVERY_OPTION: dict[str, Any] = {"smoothing": 0.1, "softcap": 30.0, "z_loss": 1e-4, "weights": True,
                                "grad": True}
MORE: tuple[tuple[str, int, str, dict[str, Any]], ...] = (
    ("bfloat16", 32768, "all options", EVERY_OPTION), ("bfloat16", 50257, "all options", EVERY_OPTION),
    ("float32", 128256, "all options", EVERY_OPTION), ("bfloat16", 32000, "no gradient", {"gradient": False}))


def _cross_entropy(backend: str, target: str) -> Iterator[Entry]:
    for dtype, sizes in SIZES.items():
        for vocab in sizes:
            yield _rows(backend, target, dtype, vocab, "", {})
    for dtype, vocab, name, options in MORE:
        yield _rows(backend, target, dtype, vocab, name, options)
    # One program each, over as many numbers as there are rows: a thousandth of the kernel above.
    for part, problem in (("scales", problems.cross_entropy_scales), ("total", problems.cross_entropy_total)):
        yield Entry(f"cross_entropy {part}", backend, target, "5000 rows", problem, registers=128,
                    amd=(0, 0, 16, 2))


def _rows(backend: str, target: str, dtype: str, vocab: int, name: str, options: dict[str, Any]) -> Entry:
    gradient, unaligned = options.get("gradient", True), vocab % 2 == 1
    size = vocab * ITEMSIZE[dtype]
    if not gradient:
        sweeps = 1
    elif backend == "triton":  # a row in 64 registers a thread; the options take some of them
        sweeps = 2 if vocab > 32768 or len(options) > 1 else 1
    else:  # a row in the shared memory of one block, of eight on sm_90
        sweeps = 2 if target == "sm_80" and size > 160 << 10 else 1
    # 128 registers leave an SM 512 threads, which hold a row in them; 80 leave it 768, three blocks with
    # a third of its shared memory each; 64 fill it with 1024.
    if backend == "triton":
        registers = 128 if sweeps == 1 or target == "gfx942" else 64
    else:
        registers = 64 if sweeps == 2 or not gradient else 80
    requests, why = 1.0, ""
    if backend == "cuda" and unaligned:
        requests, why = 2.0, "unaligned rows: a lane asks for its 16 bytes and its neighbour's, which L1 has"
    offset = ITEMSIZE[dtype] if unaligned else 0
    problem = partial(problems.cross_entropy_rows, dtype, vocab, sweeps=sweeps, offset=offset, **options)
    return Entry("cross_entropy", backend, target, f"{dtype} {vocab} {name}".strip(), problem, registers,
                 requests=requests, why=why,
                 amd=(1, int(gradient), 24 if len(options) > 1 else 3, 16 if len(options) > 1 else 6))


# ---- Adam ------------------------------------------------------------------------------------------------

BF16 = ("bfloat16", "bfloat16", "bfloat16")
MIXED = ("bfloat16", "bfloat16", "float32")
ADAM = {
    "float32": AdamVariant(),
    "float32 fast": AdamVariant(exact=False),
    "float32 coupled": AdamVariant(decoupled=False),
    "float32 amsgrad": AdamVariant(amsgrad=True),
    "float32 scalars on the GPU": AdamVariant(device_scalars=True),
    "bfloat16": AdamVariant(*BF16),
    "bfloat16 fast": AdamVariant(*BF16, exact=False),
    "bfloat16 stochastic": AdamVariant(*BF16, stochastic=True),
    "bfloat16 p g, float32 m v": AdamVariant(*MIXED),
    "bfloat16 p g, float32 m v master": AdamVariant(*MIXED, master=True),
    "bfloat16 p g, master, amsgrad": AdamVariant(*MIXED, master=True, amsgrad=True),
}


def _adam(backend: str, target: str) -> Iterator[Entry]:
    for name, variant in ADAM.items():
        mixed = variant.param != variant.moment
        # 64, 80, 128 registers leave an SM 1024, 768, 512 threads; each has 3 to 9 loads in flight.
        registers = 80 if mixed or variant.amsgrad else 64 if variant.param == "float32" else 128
        spills, width, why = 0, 16, ""
        if backend == "triton" and mixed:
            width, why = 8, "p and g beside float32 m and v: 8 bytes a thread, as no element changes threads"
        if target == "gfx942":
            width = 4 if mixed else 8
            why = "64 lanes a warp: 8 bytes a thread" + ", 4 of p and g beside float32 m and v" * mixed
        if (backend, target, name) == ("triton", "sm_80", "float32 amsgrad"):
            spills, why = 16, "Triton 3.6 alone spills two numbers; 3.9 does not"
        yield Entry("adam", backend, target, name, partial(problems.adam_step, variant), registers,
                    spills=spills, width=width, why=why, amd=(1, 1, 24, 18))
