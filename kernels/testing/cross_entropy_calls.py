"""How a softmax cross-entropy kernel is called: in place, with rows apart, in parts, with any labels' type.

Properties as in `cross_entropy`, whose table names them.
"""

from __future__ import annotations

import numpy as np

from .compare import Broken, Unsupported, agree, same_bits
from .cross_entropy_kernel import CrossEntropy, read_result
from .cross_entropy_reference import Case, expected
from .judge import accepts


def chunks(kernel: CrossEntropy, case: Case) -> None:
    """Rows taken in two batches give the very same bits: no row depends on its neighbours.

    Each row stays at its address modulo 64, on which the order of a sum may depend.
    """
    case = case.having(reduction="none").but(rows=max(5, case.rows))
    x, y, options = case.draw()
    whole = kernel(x, y, options)
    for rows in (slice(0, 2), slice(2, case.rows)):
        part = dict(options)
        if np.ndim(options.get("grad_loss", 0)):
            part["grad_loss"] = options["grad_loss"][rows]
        got = kernel(x[rows], y[rows], part, shift=rows.start * case.vocab % 64)
        for name in ("loss", "lse", "dlogits"):
            same_bits(name, getattr(got, name), getattr(whole, name)[rows],
                      "a row's result depends on which rows it is computed with")


def deterministic(kernel: CrossEntropy, case: Case) -> None:
    args = case.draw()
    one, two = kernel(*args), kernel(*args)
    for name in ("loss", "lse", "dlogits"):
        same_bits(name, getattr(two, name), getattr(one, name), "the same call twice gives different bits")


def in_place(kernel: CrossEntropy, case: Case) -> None:
    args = case.but(ignored=0.3 if accepts(kernel.fn, "ignore_index") else 0.0).draw()
    one, two = kernel(*args), kernel(*args, in_place=True)
    for name in ("loss", "lse", "dlogits"):
        same_bits(name, getattr(two, name), getattr(one, name), "out=logits changes the result")


def row_strides(kernel: CrossEntropy, case: Case) -> None:
    args = case.draw()
    one = kernel(*args)
    for gap, shift in ((1, 0), (13, 3), (0, 1)):
        two = kernel(*args, gap=gap, shift=shift)
        for name in ("lse", "dlogits"):  # alignment may regroup a sum, so bits may differ
            want = expected(args[0], args[1], **args[2])
            error = want.lse_error if name == "lse" else want.dlogits_error
            agree(name, getattr(two, name), getattr(one, name), 2 * error, case.dtype,
                  f"rows with {gap} unused elements between them, {shift} off alignment, give another result")


def out_elsewhere(kernel: CrossEntropy, case: Case) -> None:
    args = case.draw()
    one, two = kernel(*args), kernel(*args, out_gap=5)
    same_bits("dlogits", two.dlogits, one.dlogits, "an `out` with gaps between its rows changes the gradient")


def label_types(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.draw()
    one, two = kernel(x, y.astype(np.int64), options), kernel(x, y.astype(np.int32), options)
    for name in ("loss", "lse", "dlogits"):
        same_bits(name, getattr(two, name), getattr(one, name), "int32 and int64 labels give unequal results")


def without_gradient(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.draw()
    one, two = kernel(x, y, options), kernel(x, y, {**options, "gradient": False})
    want = expected(x, y, **options)
    agree("loss", two.loss, one.loss, 2 * want.loss_error, "float32", "gradient=False changes the loss")
    if two.dlogits is not None:
        raise Broken("gradient=False returns a gradient")


def overflow_by_stride(kernel: CrossEntropy, case: Case) -> None:
    """Rows lie 2^31 elements and more behind the first: 32-bit offsets would wrap around."""
    for rows, stride in ((3, 2**30 + 64), (2, 2**31 + 64), (2, 2**32 + 64))[:2 + (case.dtype != "float32")]:
        x, y, options = case.without("grad_loss").but(rows=rows, ignored=0).draw()
        one = kernel(x, y, options, gap=-case.vocab % 64)
        far = kernel.memory.sparse(rows, case.vocab, stride, case.dtype)
        kernel.memory.fill(far, x)
        labels = kernel.memory.place(y).array
        for in_place in (False, True):
            more = {"out": far} if in_place else {}
            try:
                result = read_result(kernel.call((far, labels), {**options, **more}), x, options)
            except Unsupported:
                if not in_place:
                    raise
                continue
            for name in ("lse", "dlogits"):
                same_bits(name, getattr(result, name), getattr(one, name),
                          f"rows that lie {stride} elements apart give another result: a 32-bit offset?")
