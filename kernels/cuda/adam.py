"""Host side of the CUDA C Adam: the variant for a set of dtypes and options, and its one launch."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import tuning
from kernels.adam import AdamOptions
from kernels.arrays import ITEMSIZE, View
from kernels.pointer_table import AdamTensor, Table

from .cross_entropy import C_TYPES, Variant, address, stream_of
from .module import load

STEP_TYPES = {"int64": 1, "int32": 2, "float32": 3}  # as in adam.cu; 0 is the host's


def variant(param: str, grad: str, moment: str, *, master: bool = False, amsgrad: bool = False,
            decay: str | None = None, grad_scale: bool = False, stochastic: bool = False, exact: bool = True,
            architecture: str = "sm_90") -> Variant:
    """The kernel for parameters, gradients and moments of these dtypes.

    Args:
        param, grad: "float32", "bfloat16" or "float16".
        moment: "float32" or "bfloat16".
        master, amsgrad, grad_scale, stochastic: that option is there. The others cost nothing an element.
        decay: None, "decoupled" or "coupled".
        exact: IEEE arithmetic; the module must be compiled without contraction too.
        architecture: "sm_80", "sm_90", ...; or "cpu", where blocks are small.
    """
    block = tuning.CUDA_CPU_THREADS if architecture == "cpu" else tuning.CUDA_ADAM_THREADS
    short = min(ITEMSIZE[d] for d in (param, grad, moment)) == 2
    threads = tuning.CUDA_ADAM_SHORT_THREADS_ON_SM if short else tuning.CUDA_THREADS_ON_SM
    defines: dict[str, str | int] = {
        "PARAM": C_TYPES[param], "GRAD": C_TYPES[grad], "MOMENT": C_TYPES[moment], "TILE": tuning.ADAM_TILE,
        "THREADS": block, "BLOCKS": threads // block, "MASTER": int(master), "AMSGRAD": int(amsgrad),
        "GRAD_SCALE": int(grad_scale), "DECAY": {None: 0, "decoupled": 1, "coupled": 2}[decay],
        "STOCHASTIC": int(stochastic), "EXACT": int(exact)}
    return Variant("adam.cu", defines, block, 1, 0)


def update(tensors: list[AdamTensor], options: AdamOptions, table: Table, *, seed: int | None = None) -> None:
    """One step on all `tensors`, which share their dtypes, in one launch; formulas in adam.cu.

    Args:
        tensors: what `table` points to.
        options: see `AdamOptions`.
        table: rows and tiles, on the tensors' device.
        seed: of the order in which fibers run, on the CPU.
    """
    first, o = tensors[0], options
    device = first.p.device
    chosen = variant(
        first.p.dtype, first.g.dtype, first.m.dtype, master=first.master is not None, amsgrad=o.amsgrad,
        decay=None if o.weight_decay == 0 else "decoupled" if o.decoupled else "coupled",
        grad_scale=o.grad_scale is not None, stochastic=o.rounding_seed is not None, exact=o.exact,
        architecture="cpu" if device == "cpu" else "gpu")
    step, alpha = (0 if isinstance(v, View) else v for v in (o.step, o.lr))
    c1, c2 = (0.0, 0.0) if isinstance(o.step, View) else o.corrections
    step_type = STEP_TYPES[o.step.dtype] if isinstance(o.step, View) else 0
    args = (address(table.rows), address(table.tiles), np.float64(o.beta1), np.float64(o.beta2),
            np.float32(1 - o.beta1), np.float32(1 - o.beta2), np.float32(o.eps), np.float32(o.weight_decay),
            np.float32(alpha), np.float32(alpha * o.weight_decay), np.float32(c1), np.float32(c2),
            np.int64(step), np.int32(step_type), _optional(o.step), _optional(o.lr), address(o.grad_scale),
            address(o.found_inf), np.int32(o.maximize), np.int64((o.rounding_seed or 0) & 0xFFFFFFFF))
    more: dict[str, Any] = {} if seed is None else {"seed": seed}
    load(chosen.source, chosen.defines, exact=o.exact, device=device).launch(
        "adam", args, grid=table.tiles.shape[0], block=chosen.block, stream=stream_of(first.p), **more)


def _optional(value: float | int | View) -> np.uint64:
    return address(value if isinstance(value, View) else None)
