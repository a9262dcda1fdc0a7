"""Host side of the CUDA C cross-entropy: which variant of which kernel a shape gets, and its launch.

    rows of up to CLUSTER x 227 KiB    cross_entropy.cu             one sweep, the row in shared memory
    longer ones, or no gradient        cross_entropy_streaming.cu   two sweeps; one without a gradient
    beside them                        cross_entropy_totals.cu      (1/D, 1/N), and the sum of the losses

An element type or an option is a macro, so each variant holds only what it needs. `variant` needs no GPU:
the ahead-of-time gates compile what it returns.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NamedTuple

import numpy as np

from kernels import tuning
from kernels.arrays import ITEMSIZE, View

from .module import cupy, load

C_TYPES = {"float32": "float", "bfloat16": "bf16", "float16": "f16", "int64": "int64", "int32": "int32"}


class Variant(NamedTuple):
    """One compilation of a source file, and how it is launched.

    Attributes:
        source: file of this folder.
        defines: macros.
        block: threads a block.
        cluster: blocks a row.
        shared: bytes of dynamic shared memory a block.
    """

    source: str
    defines: dict[str, str | int]
    block: int
    cluster: int
    shared: int


def variant(dtype: str, vocab: int, *, architecture: str = "sm_90", label: str = "int64",
            aligned: bool = True, gradient: bool = True, smoothing: bool = False, softcap: bool = False,
            cluster: int | None = None, streaming: bool | None = None) -> Variant:
    """The kernel for rows of `vocab` logits.

    Args:
        dtype: of the logits: "float32", "bfloat16" or "float16".
        vocab: V.
        architecture: "sm_80", "sm_90", ..., or "cpu": as sm_90, with small blocks.
        label: dtype of the labels.
        aligned: every row of logits and of dlogits starts at a multiple of 16 bytes.
        gradient: dlogits are wanted.
        smoothing, softcap: that option is there. The others cost nothing an element, and no variant.
        cluster, streaming: overrule the choice (tests do).

    Raises:
        ValueError: vocab is out of range, or the row does not fit into the cluster asked for.
    """
    if not 0 < vocab <= tuning.MAX_VOCAB:
        raise ValueError(f"a row has {vocab} logits; the CUDA backend takes 1 to {tuning.MAX_VOCAB}")
    lanes = 16 // ITEMSIZE[dtype]
    packs = -(-vocab // lanes)  # 16-byte packs of a row
    if streaming is None:
        streaming = (cluster or _cluster(packs, architecture)) is None
    streaming = streaming or not gradient
    if streaming:
        cluster = 1
    elif cluster is None:
        cluster = _cluster(packs, architecture) or tuning.CUDA_CLUSTERS[-1]
    part = -(-packs // cluster)  # 16-byte packs of a block
    shared = 0 if streaming else 16 * part
    if shared > _room(architecture):
        raise ValueError(f"a row of {vocab} {dtype} logits in a cluster of {cluster} takes {shared} bytes of "
                         f"shared memory a block; {architecture} has {_room(architecture)}")
    block = _threads(part, shared, gradient, architecture)
    blocks = tuning.CUDA_THREADS_ON_SM // block
    if shared:  # where the rows leave room for fewer blocks, each may have more registers
        blocks = max(1, min(blocks, _resident(shared, architecture)))
    if architecture == "cpu":
        blocks = 1  # registers mean nothing there: one compilation for all
    defines: dict[str, str | int] = {
        "LOGIT": C_TYPES[dtype], "LABEL": C_TYPES[label], "CLUSTER": cluster,
        "UNROLL": tuning.CUDA_LOADS_WITH_OPTIONS if smoothing or softcap else tuning.CUDA_LOADS,
        "THREADS": block, "BLOCKS": blocks, "ALIGNED": int(aligned),
        "GRADIENT": int(gradient), "SMOOTHING": int(smoothing), "SOFTCAP": int(softcap)}
    source = "cross_entropy_streaming.cu" if streaming else "cross_entropy.cu"
    return Variant(source, defines, block, cluster, shared)


def totals_variant(*, architecture: str = "sm_90", label: str = "int64") -> Variant:
    """The kernels `cross_entropy_scales` and `cross_entropy_total`, one block each."""
    block = tuning.CUDA_CPU_THREADS if architecture == "cpu" else tuning.CUDA_TOTALS_THREADS
    defines: dict[str, str | int] = {"LABEL": C_TYPES[label], "THREADS": block}
    return Variant("cross_entropy_totals.cu", defines, block, 1, 0)


def rows(x: View, y: View, dx: View | None, loss: View, lse: View, *, scales: View | None = None,
         grad: View | None = None, weights: View | None = None, ignore_index: int, label_smoothing: float,
         z_loss: float, softcap: float | None, cluster: int | None = None, streaming: bool | None = None,
         seed: int | None = None) -> None:
    """Losses, log-sum-exps and gradients of all rows, in one launch; formulas in cross_entropy.cuh.

    Args:
        x: (R, V), logits, any row stride.
        y: (R,), labels, int64 or int32.
        dx: (R, V), for the gradient, or None; may be x.
        loss, lse: (R,) float32, written.
        scales: (2,) float32, factors on the cross-entropy and on the z-loss; None is 1.
        grad: () or (R,) float32, a factor on the gradient alone; None is 1.
        weights: (V,) float32, class weights, or None.
        ignore_index, label_smoothing, z_loss, softcap: as in `kernels.softmax_cross_entropy`.
        cluster, streaming: overrule the choice of the kernel (tests do).
        seed: of the order in which fibers run, on the CPU.

    Raises:
        ValueError: rows are longer than `tuning.MAX_VOCAB`.
    """
    R, V = x.shape
    if not R:
        return
    chosen = variant(x.dtype, V, architecture=architecture(x.device), label=y.dtype,
                     aligned=_aligned(x) and _aligned(dx), gradient=dx is not None,
                     smoothing=label_smoothing > 0, softcap=softcap is not None, cluster=cluster,
                     streaming=streaming)
    args = (address(x), np.int64(x.strides[0]), address(y), address(dx), np.int64(dx.strides[0] if dx else 0),
            address(loss), address(lse), address(scales), address(grad),
            np.int64(1 if grad and grad.shape else 0), address(weights), np.int64(ignore_index), np.int64(V),
            np.float32(label_smoothing), np.float32(z_loss), np.float32(softcap or 0))
    _launch(chosen, x, "cross_entropy_rows", args, R * chosen.cluster, seed)


def scales(y: View, weights: View | None, out: View, *, ignore_index: int, vocab: int) -> None:
    """out = (1/D, 1/N): the sum of the kept labels' weights and their number, inverted; 0 for 1/0."""
    chosen = totals_variant(architecture=architecture(y.device), label=y.dtype)
    args = (address(y), np.int64(y.shape[0]), address(weights), np.int64(ignore_index), np.int64(vocab),
            address(out))
    _launch(chosen, y, "cross_entropy_scales", args, 1)


def total(loss: View, out: View) -> None:
    """out = the sum of the rows' losses, in float64 and a fixed order."""
    args = (address(loss), np.int64(loss.shape[0]), address(out))
    chosen = totals_variant(architecture=architecture(loss.device))
    _launch(chosen, loss, "cross_entropy_total", args, 1)


def _launch(chosen: Variant, of: View, kernel: str, args: tuple[np.generic, ...], grid: int,
            seed: int | None = None) -> None:
    more: dict[str, Any] = {} if seed is None else {"seed": seed}
    load(chosen.source, chosen.defines, exact=False, device=of.device).launch(
        kernel, args, grid=grid, block=chosen.block, cluster=chosen.cluster, shared=chosen.shared,
        stream=stream_of(of), **more)


# ---- What fits where ----------------------------------------------------------------------------------


@functools.cache
def architecture(device: str) -> str:
    """"sm_90" and the like of a GPU; "cpu"."""
    if device == "cpu":
        return "cpu"
    return f"sm_{cupy().cuda.Device(int(device.partition(':')[2])).compute_capability}"


def address(v: View | None) -> np.uint64:
    """A View's address as a kernel's argument; 0 for what is absent."""
    return np.uint64(0 if v is None else v.address)


def stream_of(v: View) -> int | None:
    """The handle of torch's current stream for torch's arrays on a GPU; None leaves it to CuPy's."""
    if v.device == "cpu" or type(v.owner).__module__.partition(".")[0] != "torch":
        return None
    torch = sys.modules["torch"]
    return int(torch.cuda.current_stream(int(v.device.partition(":")[2])).cuda_stream)


def _aligned(v: View | None) -> bool:
    return v is None or (v.address % 16 == 0 and (v.shape[0] == 1 or v.strides[0] * v.itemsize % 16 == 0))


def _capability(architecture: str) -> int:
    return 90 if architecture == "cpu" else int(architecture.removeprefix("sm_"))


def _shared(architecture: str) -> tuple[int, int]:
    """Bytes of shared memory of a block and of an SM."""
    known = max((c for c in tuning.CUDA_SHARED if c <= _capability(architecture)), default=86)
    block, sm = tuning.CUDA_SHARED[known]
    return block << 10, sm << 10


def _room(architecture: str) -> int:
    """Bytes of a row that one block can hold."""
    return _shared(architecture)[0] - (tuning.CUDA_SHARED_OVERHEAD << 10)


def _resident(row: int, architecture: str) -> int:
    """Blocks that an SM can hold with `row` bytes each."""
    return _shared(architecture)[1] // (row + (tuning.CUDA_SHARED_OVERHEAD << 10))


def _cluster(packs: int, architecture: str) -> int | None:
    """Blocks that share a row of so many 16-byte packs; None: it does not fit."""
    clusters = tuning.CUDA_CLUSTERS if _capability(architecture) >= 90 else (1,)
    parts = {c: 16 * -(-packs // c) for c in clusters}
    for c, part in parts.items():
        if _resident(part, architecture) >= tuning.CUDA_BLOCKS_ON_SM:
            return c
    return next((c for c, part in parts.items() if part <= _room(architecture)), None)


def _threads(part: int, shared: int, gradient: bool, architecture: str) -> int:
    """Of a block with `part` 16-byte packs: an SM's share, but no more than have something to load."""
    if architecture == "cpu":
        return tuning.CUDA_CPU_THREADS
    if not gradient:
        share = tuning.CUDA_FORWARD_THREADS
    else:
        resident = _resident(shared, architecture) if shared else 1
        share = tuning.CUDA_THREADS_ON_SM // max(1, resident)
    wanted = -(-part // tuning.CUDA_LOADS)
    return max(32, min(_power_of_two_to(max(1, share)), _power_of_two_from(wanted)))


def _power_of_two_to(n: int) -> int:
    return 1 << (n.bit_length() - 1)


def _power_of_two_from(n: int) -> int:
    return 1 << (n - 1).bit_length()
