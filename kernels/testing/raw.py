"""Properties of a backend's own functions, below the checks of the public interface.

On a GPU nothing looks at labels before the kernel does, so it must bear any. These checks take the module
of a backend (`kernels.backends.load`), not a function of the public signature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import arrays
from kernels.adam import AdamOptions
from kernels.pointer_table import AdamTensor, Table, table_arrays
from kernels.tuning import ADAM_TILE

from .adam_reference import HYPER, Case, formula
from .compare import Broken, agree, same_bits
from .cross_entropy_reference import expected
from .memory import Memory

BAD_LABELS = (0, -1, 2**33, -(2**33), 2**40, 5)  # and the vocabulary's size


def labels_out_of_range(module: Any, memory: Memory) -> None:
    """A label that is no class makes its row NaN, and reads nothing: such a read may end the process."""
    for V in (17, 4097):
        labels = np.array([V, *BAD_LABELS])
        x = np.random.default_rng(0).standard_normal((len(labels), V)).astype(np.float32)
        bad = (labels < 0) | (labels >= V)
        X, Y, D = memory.place(x), memory.place(labels), memory.place(np.zeros_like(x))
        loss, lse = (memory.place(np.zeros(len(labels), np.float32)) for _ in range(2))
        module.rows(*(arrays.view(a.array) for a in (X, Y, D, loss, lse)), ignore_index=-100,
                    label_smoothing=0.0, z_loss=0.0, softcap=None)
        good = expected(x[~bad], labels[~bad], reduction="none")
        nan = np.full((int(bad.sum()), V), np.nan)
        agree("dlogits", D.values()[bad], nan, 0, "float32", "a label that is no class must make its row NaN")
        agree("loss", loss.values()[bad], nan[:, 0], 0, "float32", "a label that is no class has loss NaN")
        agree("lse", lse.values()[bad], nan[:, 0], 0, "float32", "a label that is no class has lse NaN")
        agree("loss", loss.values()[~bad], good.loss, good.loss_error, "float32", "the other rows are wrong")
        agree("dlogits", D.values()[~bad], good.dlogits, good.dlogits_error, "float32", "others are wrong")
        for name, placed in (("logits", X), ("labels", Y), ("dlogits", D), ("loss", loss), ("lse", lse)):
            placed.check(name, unchanged=name in ("logits", "labels"))


def scales_and_total(module: Any, memory: Memory, rows: int, weighted: bool,
                     label_type: str = "int64") -> None:
    """(1/D, 1/N) and the sum of the losses: some rows ignored, by an index that is a class; all of them."""
    V, rng = 11, np.random.default_rng(rows)
    w = rng.uniform(0.1, 2, V).astype(np.float32)
    losses = rng.normal(0, 3, rows).astype(np.float32)
    for labels in (rng.integers(-1, V + 1, rows), np.full(rows, 3)):
        kept = labels[(labels != 3) & (labels >= 0) & (labels < V)]
        D = w[kept].astype(np.float64).sum() if weighted else float(len(kept))
        out, total = memory.place(np.full(2, 7, np.float32)), memory.place(np.array(7, np.float32))
        Y, L, W = memory.place(labels.astype(label_type)), memory.place(losses), memory.place(w)
        module.scales(arrays.view(Y.array), arrays.view(W.array) if weighted else None,
                      arrays.view(out.array), ignore_index=3, vocab=V)
        module.total(arrays.view(L.array), arrays.view(total.array))
        want = np.array([1 / D if D else 0, 1 / len(kept) if len(kept) else 0])
        agree("scales", out.values(), want, 3e-7 * want, "float32", "scales are not (1/D, 1/N)")
        right = losses.sum(dtype=np.float64)
        agree("total", total.values(), right, 2.0**-23 * abs(right), "float32", "total is not the sum")
        for name, placed in (("scales", out), ("total", total), ("labels", Y), ("loss", L)):
            placed.check(name, unchanged=name in ("labels", "loss"))


def elements_beyond_2_to_the_31(module: Any, memory: Memory, dtype: str = "float32") -> None:
    """The last tile of a tensor of 2^31 elements and more, alone in the table of tiles."""
    n = 2**31 + ADAM_TILE + 5
    case = Case(sizes=(n % ADAM_TILE,), dtypes=(dtype, dtype, "float32"))
    small = case.draw()
    big = [memory.sparse(1, n, n, kind)[0] for kind in (dtype, dtype, "float32", "float32")]
    tail = slice(n - n % ADAM_TILE, n)
    for a, b in zip(big, small[:4], strict=True):
        memory.fill(a[tail], b[0])
        memory.fill(a[:8], np.zeros(8, b[0].dtype))
    views = [arrays.view(a) for a in big]
    rows, _ = table_arrays([(*(v.address for v in views), 0, 0, 1, 0)])
    rows[0, 6] = n
    tiles = np.array([[0, n // ADAM_TILE]], np.int32)
    table = Table(*(arrays.view(memory.place(a).array) for a in (rows, tiles)))
    options = AdamOptions(HYPER["lr"], HYPER["beta1"], HYPER["beta2"], HYPER["eps"], weight_decay=0.0, step=3)
    p, g, m, v = views
    module.update([AdamTensor(p, g, m, v, None, None)], options, table)
    want = formula(small, 3, dict(HYPER))
    for name, a, b in (("params", big[0], want.params), ("exp_avg", big[2], want.exp_avg),
                       ("exp_avg_sq", big[3], want.exp_avg_sq)):
        same_bits(name, memory.host(a[tail]), b[0], "elements beyond 2^31 are wrong: a 32-bit offset?")
        if memory.host(a[:8]).any():
            raise Broken("elements beyond 2^31 are written to the tensor's start: a 32-bit offset")
