"""Small problems for compiled kernels: arrays, the call of the host side, the right answer, and the bytes.

Each problem is as small as shows everything: three rows of logits, the middle one ignored; two full tiles for
Adam, one unfinished, and one at an address that is no multiple of 16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from kernels.adam import AdamOptions
from kernels.arrays import ITEMSIZE, View
from kernels.pointer_table import AdamTensor, Table, table_arrays
from kernels.tuning import ADAM_TILE

from .launches import aligned, as_on_gpu
from .values import as_bits, as_numbers


class Bytes(NamedTuple):
    """What must be read from, and written to, one array."""

    read: int
    written: int


@dataclass
class Work:
    """Some of a launch's programs (or clusters), and what they must move.

    Attributes:
        name: for messages.
        programs: their numbers.
        model: by the name of an array; of the other arrays only scalars are read and written.
        narrow: arrays of the model for which accesses below 16 bytes are right.
    """

    name: str
    programs: list[int]
    model: dict[str, Bytes]
    narrow: tuple[str, ...] = ()


@dataclass
class Problem:
    """One launch with its arrays.

    Attributes:
        arrays: by name; what a kernel may touch.
        call: calls the host module's function with views of them.
        wrong: after the run, what is wrong with the results, or None.
        works: which programs must move which bytes. The first one is what the bytes model is about.
        elements: of the first work, for bytes an element.
        edges: bytes at each end of a row or tile that need not move 16 at a time.
    """

    arrays: dict[str, np.ndarray]
    call: Callable[[ModuleType], object]
    wrong: Callable[[], str | None]
    works: list[Work]
    elements: int
    edges: int = 0


# ---- Numbers ---------------------------------------------------------------------------------------------

def encode(x: np.ndarray, dtype: str) -> np.ndarray:
    """float32 numbers as `dtype`, rounded to nearest; bfloat16 as its bits in uint16."""
    x = np.asarray(x, np.float32)
    if dtype != "bfloat16":
        return x.astype(dtype)
    return as_bits(x, "bf16")


def decode(raw: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers as float64."""
    if dtype == "bfloat16":
        return as_numbers(raw, "bf16").astype(np.float64)
    return raw.astype(np.float64)


EDGE = 32  # bytes at either end of an unaligned row: less than a 16-byte group, and one that it cuts off
EPSILON = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def _far(name: str, got: np.ndarray, right: np.ndarray, bound: float) -> str | None:
    """Where they differ by more than `bound` of the largest, NaN included."""
    error = np.abs(got - right) / np.maximum(np.abs(right).max(), 1e-30)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    if error.reshape(-1)[worst] <= bound:
        return None
    return f"{name}[{worst}] = {got.reshape(-1)[worst]:.6g}, the formula gives {right.reshape(-1)[worst]:.6g}"


# ---- Softmax cross-entropy -------------------------------------------------------------------------------

def cross_entropy_rows(dtype: str, vocab: int, *, sweeps: int, gradient: bool = True, smoothing: float = 0.0,
                       z_loss: float = 0.0, softcap: float | None = None, weights: bool = False,
                       scales: bool = True, grad: bool = False, offset: int = 0) -> Problem:
    """Rows of logits: each read `sweeps` times, its gradient written once; an ignored one only written.

    Args:
        dtype, vocab: of the logits.
        sweeps: how often each logit is read.
        gradient, smoothing, z_loss, softcap, weights, scales, grad: options of `rows`.
        offset: bytes by which logits and gradient miss a 16-byte boundary.
    """
    rng = np.random.default_rng(vocab)
    R, V, b = 3, vocab, ITEMSIZE[dtype]
    x = aligned(encode(rng.normal(size=(R, V)) * 3, dtype), offset)
    arrays: dict[str, np.ndarray] = {
        "logits": x, "dlogits": aligned(np.full_like(x, 1), offset),
        "labels": aligned(np.array([V - 1, -100, 3])),
        "loss": aligned(np.full(R, -1, np.float32)), "lse": aligned(np.full(R, -1, np.float32)),
        "scales": aligned(np.array([0.5, 0.25], np.float32)), "class_weights":
            aligned(rng.uniform(0.5, 1.5, V).astype(np.float32)),
        "grad_loss": aligned(np.array([2.0, 3.0, 0.5], np.float32))}
    for name, wanted in (("dlogits", gradient), ("scales", scales), ("class_weights", weights),
                         ("grad_loss", grad)):
        if not wanted:
            del arrays[name]

    def view(name: str, kind: str | None = None) -> View | None:
        return as_on_gpu(arrays[name], kind) if name in arrays else None

    def call(module: ModuleType) -> None:
        module.rows(view("logits", dtype), view("labels"), view("dlogits", dtype), view("loss"), view("lse"),
                    scales=view("scales"), grad=view("grad_loss"), weights=view("class_weights"),
                    ignore_index=-100, label_smoothing=smoothing, z_loss=z_loss, softcap=softcap)

    def wrong() -> str | None:
        loss, lse, dx = _cross_entropy(arrays, dtype, smoothing, z_loss, softcap)
        found = _far("loss", arrays["loss"], loss, 1e-5) or _far("lse", arrays["lse"], lse, 1e-5)
        if gradient and found is None:
            found = _far("dlogits", decode(arrays["dlogits"], dtype), dx, max(1e-5, EPSILON[dtype]))
        return found

    def model(kept: int, ignored: int) -> dict[str, Bytes]:
        made = {"logits": Bytes(kept * V * b * sweeps, 0)}
        if gradient:
            made["dlogits"] = Bytes(0, (kept + ignored) * V * b)
        if weights and smoothing:
            made["class_weights"] = Bytes(kept * V * 4 * (1 + gradient), 0)
        return made

    # Class weights come 4 bytes at a time, as they cannot be aligned as every row is; they stay in L1 and L2.
    works = [Work("a row", [0, 2], model(2, 0), ("class_weights",)), Work("an ignored row", [1], model(0, 1))]
    return Problem(arrays, call, wrong, works, 2 * V, 0 if V * b % 16 == 0 and offset == 0 else EDGE)


def _cross_entropy(arrays: dict[str, np.ndarray], dtype: str, e: float, z: float, c: float | None,
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, lse and gradient of every row, in float64, straight from the formula."""
    raw, y = decode(arrays["logits"], dtype), arrays["labels"]
    x = raw if c is None else c * np.tanh(raw / c)
    kept = y >= 0
    label = np.zeros(x.shape, bool)
    label[np.arange(len(y)), np.where(kept, y, 0)] = True
    w = np.asarray(arrays.get("class_weights", np.ones(x.shape[1])), np.float64)
    s_ce, s_z = np.asarray(arrays.get("scales", [1.0, 1.0]), np.float64)
    g = np.asarray(arrays.get("grad_loss", np.ones(len(y))), np.float64)[:, None]
    m = x.max(axis=1, keepdims=True)
    lse = m + np.log(np.exp(x - m).sum(axis=1, keepdims=True))
    q = (1 - e) * w * label + e / x.shape[1] * w
    loss = s_ce * (q * (lse - x)).sum(axis=1) + s_z * z * lse[:, 0]**2
    d = s_ce * (q.sum(axis=1, keepdims=True) * np.exp(x - lse) - q) + s_z * 2 * z * lse * np.exp(x - lse)
    d *= g * (1 if c is None else 1 - np.tanh(raw / c)**2) * kept[:, None]
    return loss * kept, lse[:, 0] * kept, d


def cross_entropy_scales(rows: int = 5000) -> Problem:
    """1/D and 1/N of labels, all different, with class weights: each is read once, and if kept its weight."""
    rng = np.random.default_rng(rows)
    y = aligned(np.where(rng.random(rows) < 0.1, -100, rng.permutation(rows)))
    w = aligned(rng.uniform(0.5, 1.5, rows).astype(np.float32))
    out = aligned(np.full(2, -1, np.float32))
    arrays = {"labels": y, "class_weights": w, "scales": out}

    def call(module: ModuleType) -> None:
        module.scales(as_on_gpu(y), as_on_gpu(w), as_on_gpu(out), ignore_index=-100, vocab=rows)

    def wrong() -> str | None:
        kept = y >= 0
        return _far("scales", out, np.array([1 / w[y[kept]].astype(np.float64).sum(), 1 / kept.sum()]), 1e-6)

    model = {"labels": Bytes(y.nbytes, 0), "class_weights": Bytes(4 * int((y >= 0).sum()), 0)}
    work = Work("all labels", [0], model, ("labels", "class_weights"))
    return Problem(arrays, call, wrong, [work], rows)


def cross_entropy_total(rows: int = 5000) -> Problem:
    """The sum of some losses: each is read once."""
    loss = aligned(np.random.default_rng(rows).normal(size=rows).astype(np.float32))
    out = aligned(np.full((), -1, np.float32))

    def call(module: ModuleType) -> None:
        module.total(as_on_gpu(loss), as_on_gpu(out))

    def wrong() -> str | None:
        return _far("total", out, np.asarray(loss.astype(np.float64).sum()), 1e-6)

    work = Work("all losses", [0], {"loss": Bytes(loss.nbytes, 0)}, ("loss",))
    return Problem({"loss": loss, "total": out}, call, wrong, [work], rows)


# ---- Adam ------------------------------------------------------------------------------------------------

NAMES = ("p", "g", "m", "v", "vmax", "master")


@dataclass(frozen=True)
class AdamVariant:
    """Element types and options of an Adam step."""

    param: str = "float32"
    grad: str = "float32"
    moment: str = "float32"
    master: bool = False
    amsgrad: bool = False
    decoupled: bool = True
    device_scalars: bool = False  # step, lr, grad_scale and found_inf in the GPU's memory
    stochastic: bool = False
    exact: bool = True


def adam_step(variant: AdamVariant) -> Problem:
    """Tensors of two full tiles and a third of one, and one of 100 elements at an odd address.

    A full tile reads and writes p (written only with a master), m, v, vmax and master, and reads g.
    """
    o = variant
    rng = np.random.default_rng(1)
    dtypes = dict(zip(NAMES, (o.param, o.grad, o.moment, o.moment, o.moment, "float32"), strict=True))
    used = [n for n in NAMES if (n != "vmax" or o.amsgrad) and (n != "master" or o.master)]
    sizes, offsets = [2 * ADAM_TILE + ADAM_TILE // 3, 100], [0, 4]
    arrays: dict[str, np.ndarray] = {}
    tensors = []
    for t, (size, offset) in enumerate(zip(sizes, offsets, strict=True)):
        start = {n: rng.normal(size=size) * (0.1 if n in "gm" else 1) for n in used}
        start["v"] = start["v"]**2
        if o.amsgrad:
            start["vmax"] = start["v"] * rng.uniform(0.5, 2, size)
        for n in used:
            arrays[f"{n}{t}"] = aligned(encode(start[n], dtypes[n]), offset)
        tensors.append(AdamTensor(*(as_on_gpu(arrays[f"{n}{t}"], dtypes[n]) if n in used else None
                                    for n in NAMES)))  # type: ignore[arg-type]
    key = [(*(0 if view is None else view.address for view in t), t.p.size, k) for k, t in enumerate(tensors)]
    rows, tiles = map(aligned, table_arrays(key))
    arrays |= {"table": rows, "tiles": tiles}
    scalars = {"step": np.array(7), "lr": np.array(0.01, np.float32),
               "grad_scale": np.array(2.0, np.float32), "found_inf": np.array(0.0, np.float32)}
    if o.device_scalars:
        arrays |= {name: aligned(value) for name, value in scalars.items()}
    on_gpu = {name: as_on_gpu(arrays[name]) for name in scalars if name in arrays}
    options = AdamOptions(
        lr=on_gpu.get("lr", 0.01), beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1,
        step=on_gpu.get("step", 7), decoupled=o.decoupled, amsgrad=o.amsgrad,
        grad_scale=on_gpu.get("grad_scale"), found_inf=on_gpu.get("found_inf"),
        rounding_seed=5 if o.stochastic else None, exact=o.exact)
    before = {name: decode(array, dtypes[name[:-1]]) for name, array in arrays.items() if name[:-1] in dtypes}

    def call(module: ModuleType) -> None:
        module.update(tensors, options, Table(as_on_gpu(rows), as_on_gpu(tiles)))

    def wrong() -> str | None:
        for t in range(len(sizes)):
            right = _adam({n: before[f"{n}{t}"] for n in used}, o)
            for n in used:
                bound = 1e-5 if dtypes[n] == "float32" else 2 * EPSILON[dtypes[n]]
                found = _far(f"{n}{t}", decode(arrays[f"{n}{t}"], dtypes[n]), right[n], bound)
                if found:
                    return found
        return None

    def model(t: int, elements: int) -> dict[str, Bytes]:
        made = {}
        for n in used:
            size = elements * ITEMSIZE[dtypes[n]]
            made[f"{n}{t}"] = Bytes(0 if n == "p" and o.master else size, 0 if n == "g" else size)
        return made

    works = [Work("a full tile", [0, 1], model(0, 2 * ADAM_TILE)),
             Work("the last tile", [2], model(0, ADAM_TILE // 3), tuple(f"{n}0" for n in used)),
             Work("an unaligned tensor", [3], model(1, 100), tuple(f"{n}1" for n in used))]
    return Problem(arrays, call, wrong, works, 2 * ADAM_TILE)


def _adam(x: dict[str, np.ndarray], o: AdamVariant) -> dict[str, np.ndarray]:
    """One step in float64."""
    theta, g, lr, decay = x["master" if o.master else "p"], x["g"], 0.01, 0.1
    if o.device_scalars:
        g = g / 2
    theta, g = (theta * (1 - lr * decay), g) if o.decoupled else (theta, g + decay * theta)
    m = 0.9 * x["m"] + (1 - 0.9) * g
    v = 0.99 * x["v"] + (1 - 0.99) * g * g
    vmax = np.maximum(x["vmax"], v) if o.amsgrad else v
    theta = theta - lr / (np.sqrt(vmax / (1 - 0.99**7)) + 1e-8) * m / (1 - 0.9**7)
    return {"p": theta, "g": x["g"], "m": m, "v": v, "vmax": vmax, "master": theta}
