"""What is true of every right softmax cross-entropy kernel: a table of properties, and the judge.

A property is a plain function of (kernel, case) that raises `Broken`. The table at the end names them; the
judge and the package's own tests run the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .compare import FORMATS, Broken, agree, all_zero, round_to, same_bits
from .cross_entropy_calls import (
    chunks,
    deterministic,
    in_place,
    label_types,
    out_elsewhere,
    overflow_by_stride,
    row_strides,
    without_gradient,
)
from .cross_entropy_kernel import CrossEntropy, right
from .cross_entropy_reference import Case, expected
from .cross_entropy_wrong import likely_cause
from .judge import (
    Judge,
    accepts,
    available,
    chosen_properties,
    element_type,
    element_types,
    isolation,
    known_options,
    title_of,
)
from .memory import Memory
from .report import Property, Report

DTYPES = ("float32", "float16", "bfloat16")
EVERYTHING = {"label_smoothing": 0.1, "class_weights": "random", "z_loss": 1e-2, "softcap": 5.0,
              "reduction": "none", "grad_loss": "random"}
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {}, {"reduction": "sum"}, {"reduction": "none"}, {"reduction": "none", "grad_loss": "random"},
    {"label_smoothing": 0.1}, {"class_weights": "random"}, {"z_loss": 1e-2}, {"softcap": 5.0},
    {"label_smoothing": 0.1, "class_weights": "random", "z_loss": 1e-2}, EVERYTHING)
PLAIN: tuple[Mapping[str, Any], ...] = ({},)
NONE: tuple[Mapping[str, Any], ...] = ({"reduction": "none"},)
KNOWN = ("ignore_index", "label_smoothing", "z_loss", "class_weights", "softcap", "reduction", "grad_loss",
         "gradient")
SHAPES = ((1, 2), (3, 17), (5, 130))


def check_softmax_cross_entropy(fn: Callable[..., Any], *, dtypes: Any = DTYPES,
                                options: Iterable[Mapping[str, Any]] = OPTIONS, seeds: Iterable[int] = (0, 1),
                                memory: Memory | None = None, strict: bool = False,
                                only: str | Sequence[str] = (), case: Case | None = None,
                                isolate: bool | None = None, limit: float = 60.0) -> Report:
    """Judge a softmax cross-entropy kernel by its properties.

    Args:
        fn: fn(logits, labels, **options) -> (loss, lse, dlogits) on NumPy arrays, with the meaning that
            `kernels.softmax_cross_entropy` documents; logits (R, V), labels (R,), mean over the rows unless
            told otherwise. Options that it does not take are reported as not supported, and are no failure.
        dtypes: element types of logits to try, one or several; "bfloat16" needs ml_dtypes.
        options: sets of keywords to try; "random" stands for drawn class_weights or grad_loss.
        seeds: of the random numbers. The report is the same on every run.
        memory: where the arrays lie; the CPU, and NumPy's arrays, by default.
        strict: ask what the shipped kernels promise beyond the formula: no cancellation, equal bits.
        only: the name or names of the properties to try; all of them by default.
        case: the one case to try, instead of those of dtypes, options and seeds.
        isolate: run each property in a child process, so that a kernel which crashes or never ends is
            reported like any other. False runs them here, as a debugger needs it. None is True where that
            is safe: arrays of the CPU, in a process that can fork and has not used a GPU.
        limit: seconds that a case may take in a child.

    Returns:
        A `Report`: `.ok`, `.failures`, and `str()` of it for people.

    Raises:
        ValueError: there is no such property, option or element type, or isolate=True cannot be.
    """
    kernel = CrossEntropy(fn, strict, memory=memory or Memory())
    sets, all_seeds = known_options([case.options] if case else options, KNOWN), tuple(seeds)
    judge = Judge(kernel, likely_cause, chosen_properties(PROPERTIES, only, "element_types"),
                  isolation(isolate, kernel.memory.name), limit)
    given = [dtypes] if isinstance(dtypes, str) or not isinstance(dtypes, Iterable) else dtypes
    usable: Sequence[str] = available(map(element_type, given))

    def probe(dtype: str) -> None:
        kernel(round_to(np.zeros((3, 5)), dtype), np.arange(3))

    outcome = None
    if case is None and (not judge.only or "element_types" in judge.only):
        usable, outcome = element_types(judge, usable, probe)

    def cases(p: Property) -> Iterable[Case]:
        if case is not None:
            yield case
            return
        for dtype in usable:
            if p.dtypes and dtype not in p.dtypes:
                continue
            for chosen in sets if p.options is None else p.options:
                for seed in all_seeds:
                    for rows, vocab in SHAPES if p.options is None else SHAPES[1:2]:
                        yield Case(rows, vocab, dtype, dict(chosen), seed)

    outcomes = judge(PROPERTIES, cases)
    return Report(title_of(fn), outcomes if outcome is None else (outcome, *outcomes))


# ---- Agreement with the formula ----------------------------------------------------------------------

def agreement(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.draw()
    right(kernel, x, y, options, gap=case.gap, shift=case.shift)


def ignored_and_masked(kernel: CrossEntropy, case: Case) -> None:
    """Also with an ignore_index that would be a class, as padding's often is."""
    case = case.but(masked=0.3, ignored=0.3, rows=max(4, case.rows))
    for index in (-100, 0):
        x, y, options = case.having(ignore_index=index).draw()
        y[1] = index
        right(kernel, x, y, options)


def larger_rows(kernel: CrossEntropy, case: Case) -> None:
    for vocab in (1023, 4099):
        right(kernel, *case.but(rows=2, vocab=vocab, masked=0.05).draw())


def label_gradient(kernel: CrossEntropy, case: Case) -> None:
    """Rows whose label's logit is ahead by more and more, on a grid where differences are exact.

    A learner's p_y - 1 may be formed in float32; a shipped kernel must not subtract at all.
    """
    gaps = np.array([0, 2, 5, 8, 10, 14, 17, 20, 24, 32, 40, 56, 64, 80], np.float64)
    if case.dtype == "float16":
        gaps = gaps[:7]  # beyond it the gradient is below float16's numbers
    case = case.but(rows=len(gaps), ignored=0)
    _, y, options = case.draw()
    x = case.rng.integers(-8, 1, (len(gaps), case.vocab)) / 4
    x[np.arange(len(gaps)), y] = gaps
    x = round_to(x, case.dtype)
    got, want = kernel(x, y, options), expected(x, y, **options, strict=kernel.strict)
    rows = np.arange(len(gaps))
    agree("dlogits at the label", got.dlogits[rows, y], want.dlogits[rows, y], want.dlogits_error[rows, y],
          case.dtype, "the label's gradient loses its digits as the label's probability goes to 1")


def loss_near_zero(kernel: CrossEntropy, case: Case) -> None:
    for gap in (5.0, 12.0, 20.0, 40.0):
        x = round_to(np.zeros((1, case.vocab)), "float32")
        y = np.array([case.vocab // 2])
        x[0, y] = gap
        got, want = kernel(x, y), expected(x, y, strict=True)
        agree("loss", got.loss, want.loss, want.loss_error, "float32",
              f"the loss loses its digits as it goes to 0 (the label is ahead by {gap:g})")


# ---- Symmetries --------------------------------------------------------------------------------------

def shift_invariance(kernel: CrossEntropy, case: Case) -> None:
    """x and x + 16 on a grid of eighths: every difference stays exactly what it was, in every dtype."""
    case = case.without("z_loss", "softcap")
    _, y, options = case.draw()
    x = round_to(case.rng.integers(-64, 64, (case.rows, case.vocab)) / 8, case.dtype)
    shifted = round_to(x.astype(np.float64) + 16, case.dtype)
    one, two = kernel(x, y, options), kernel(shifted, y, options)
    if kernel.strict:
        same_bits("dlogits", two.dlogits, one.dlogits, "adding 16 to all logits changes the gradient's bits")
        same_bits("loss", two.loss, one.loss, "adding 16 to all logits changes the loss's bits")
    a, b = expected(x, y, **options), expected(shifted, y, **options)
    agree("dlogits", two.dlogits, one.dlogits, a.dlogits_error + b.dlogits_error, case.dtype,
          "adding 16 to all logits changes the gradient")
    agree("loss", two.loss, one.loss, a.loss_error + b.loss_error, "float32",
          "adding 16 to all logits changes the loss")
    wanted = one.lse + np.where(y == options.get("ignore_index", -100), 0, 16)
    agree("lse", two.lse, wanted, a.lse_error + b.lse_error, "float32",
          "adding 16 to all logits does not add 16 to lse")


def permutation_invariance(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.but(ignored=0).draw()
    order = case.rng.permutation(case.vocab)
    moved = dict(options)
    if options.get("class_weights") is not None:
        moved["class_weights"] = options["class_weights"][order]
    one, two = kernel(x, y, options), kernel(x[:, order], np.argsort(order)[y].astype(y.dtype), moved)
    want = expected(x, y, **options)
    agree("loss", two.loss, one.loss, 2 * want.loss_error, "float32",
          "the order of the classes changes the loss")
    agree("dlogits", two.dlogits, one.dlogits[:, order], 2 * want.dlogits_error[:, order], case.dtype,
          "the order of the classes changes the gradient")


def rows_sum_to_zero(kernel: CrossEntropy, case: Case) -> None:
    case = case.without("z_loss", "softcap")
    x, y, options = case.draw()
    got, want = kernel(x, y, options), expected(x, y, **options)
    sums = got.dlogits.astype(np.float64).sum(axis=1)
    agree("sum of dlogits", sums, np.zeros(len(x)), want.dlogits_error.sum(axis=1), case.dtype,
          "a row of the gradient does not sum to 0")


def linear_in_upstream(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.having(grad_loss="random").draw()
    one = kernel(x, y, options)
    for factor in (np.float32(4), np.float32(-0.5)):
        two = kernel(x, y, {**options, "grad_loss": options["grad_loss"] * factor})
        same_bits("loss", two.loss, one.loss, "the upstream gradient changes the loss")
        smallest = 2.0 ** FORMATS[case.dtype][1] * 8  # subnormal numbers are rounded once more
        normal = np.abs(one.dlogits.astype(np.float64)) > smallest
        scaled = round_to(one.dlogits.astype(np.float64) * factor, case.dtype)
        same_bits("dlogits", two.dlogits[normal], scaled[normal],
                  f"{factor:g} times the upstream gradient is not {factor:g} times the gradient")


def reductions(kernel: CrossEntropy, case: Case) -> None:
    case = case.without("grad_loss")
    x, y, options = case.having(reduction="none").draw()
    each = kernel(x, y, options)
    summed, mean = (kernel(x, y, {**options, "reduction": r}) for r in ("sum", "mean"))
    want = expected(x, y, **options)
    agree("loss", summed.loss, each.loss.astype(np.float64).sum(), want.loss_error.sum() * 2, "float32",
          "reduction='sum' is not the sum of reduction='none'")
    same_bits("dlogits", summed.dlogits, each.dlogits, "reduction='sum' and 'none' have different gradients")
    same_bits("lse", mean.lse, each.lse, "reduction='mean' and 'none' have different lse")
    of_mean = expected(x, y, **{**options, "reduction": "mean"})
    agree("loss", mean.loss, of_mean.loss, of_mean.loss_error, "float32",
          "reduction='mean' is not the sum over the sum of the labels' weights")


# ---- Rows that do not count, classes that are not there ----------------------------------------------

def ignored_rows(kernel: CrossEntropy, case: Case) -> None:
    """Ignored rows hold NaN and infinities; the others must not notice."""
    case = case.having(ignore_index=-7).but(rows=max(4, case.rows))
    clean, y, options = case.draw()
    gone = np.arange(case.rows) % 2 == 0
    y[gone] = -7
    x = clean.copy()
    x[gone] = round_to(case.rng.choice([np.nan, np.inf, -np.inf, 1.0], (gone.sum(), case.vocab)), case.dtype)
    out_gap = 0 if accepts(kernel.fn, "out") else None
    got, with_numbers = kernel(x, y, options, out_gap=out_gap), kernel(clean, y, options)
    all_zero("dlogits of ignored rows", got.dlogits[gone], "ignored rows have a gradient")
    all_zero("lse of ignored rows", got.lse[gone], "ignored rows have an lse other than 0")
    if options.get("reduction") == "none":
        all_zero("loss of ignored rows", got.loss[gone], "ignored rows have a loss")
    for name in ("loss", "lse", "dlogits"):
        same_bits(name, getattr(got, name), getattr(with_numbers, name), "what ignored rows hold matters")
    kept = dict(options)
    if np.ndim(options.get("grad_loss", 0)):
        kept["grad_loss"] = options["grad_loss"][~gone]
    want = expected(x[~gone], y[~gone], **kept)
    loss = got.loss[~gone] if got.loss.ndim else got.loss
    agree("loss", loss, want.loss, want.loss_error, "float32", "ignored rows change the loss")
    agree("dlogits", got.dlogits[~gone], want.dlogits, want.dlogits_error, case.dtype,
          "ignored rows change the gradient of others")


def all_ignored(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.having(ignore_index=-100).draw()
    y[:] = -100
    for first in (0.0, np.nan):
        x[0] = first
        got = kernel(x, y, options, out_gap=0 if accepts(kernel.fn, "out") else None)
        all_zero("loss", got.loss, "with every label ignored the loss is not 0")
        all_zero("dlogits", got.dlogits, "with every label ignored the gradient is not 0")
        all_zero("lse", got.lse, "with every label ignored lse is not 0")


def empty_batch(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.but(rows=0).draw()
    got = kernel(x, y, options)
    all_zero("loss", got.loss, "without rows the loss is not 0")


def minus_inf_blocks(kernel: CrossEntropy, case: Case) -> None:
    """-inf in the first n columns, the last n, a block between, and everywhere but the label."""
    case = case.but(rows=6, vocab=max(case.vocab, 2500), ignored=0, masked=0)
    x, y, options = case.draw()
    V = case.vocab
    y[:] = [V - 1, V // 2, 0, V - 1, V // 3, 5]
    x[0, :V // 2] = x[1, :1024] = x[2, V // 3:] = x[3, :V - 1] = x[4, 1:2 * V // 7] = -np.inf
    x[5, ::2] = -np.inf
    x[np.arange(6), y] = 1
    right(kernel, x, y, options, "with whole blocks of -inf logits ")


def minus_inf_long_row(kernel: CrossEntropy, case: Case) -> None:
    """A row longer than any block of a kernel, its first 40,000 logits absent."""
    x, y, options = case.but(rows=2, vocab=70001, ignored=0).draw()
    x[0, :40000] = x[1, :8] = x[1, 33000:] = -np.inf
    y[:] = [69999, 20000]
    x[[0, 1], y] = 3
    right(kernel, x, y, options, "in a row of 70,001 logits that begins with 40,000 of -inf ")


def minus_inf_and_smoothing(kernel: CrossEntropy, case: Case) -> None:
    case = case.but(vocab=max(2, case.vocab), ignored=0).having(label_smoothing=0.2)
    x, y, options = case.draw()
    x[0, (y[0] + 1) % case.vocab] = -np.inf
    got = kernel(x, y, options)
    if not np.isfinite(got.loss).all():
        raise Broken("one -inf logit and label smoothing give an infinite loss: an absent class has no share",
                     "loss", got.loss, "a finite number")
    right(kernel, x, y, options, "with a -inf logit and label smoothing ")


def label_minus_inf(kernel: CrossEntropy, case: Case) -> None:
    x, y, options = case.but(vocab=max(2, case.vocab), ignored=0, masked=0).draw()
    x[0, y[0]] = -np.inf
    got, want = kernel(x, y, options), expected(x, y, **options, strict=kernel.strict)
    agree("loss", got.loss, want.loss, want.loss_error, "float32",
          "where the label's own logit is -inf the loss is not inf")
    agree("dlogits", got.dlogits, want.dlogits, want.dlogits_error, case.dtype,
          "where the label's own logit is -inf the gradient is not softmax - target")


def non_finite_rows(kernel: CrossEntropy, case: Case) -> None:
    """NaN, +inf, or no class at all: that row is NaN, the others are as without it."""
    case = case.but(rows=4, ignored=0)
    x, y, options = case.draw()
    x[0, 0], x[1, -1], x[2] = np.nan, np.inf, -np.inf
    got = kernel(x, y, options)
    for i, why in enumerate(("a NaN logit", "a +inf logit", "nothing but -inf")):
        if not (np.isnan(got.loss[i]) and np.isnan(got.dlogits[i].astype(np.float32)).all()):
            raise Broken(f"a row with {why} must have loss and gradient NaN, so that it is seen",
                         f"loss[{i}]", got.loss[i], "nan")
    calm = x.copy()
    calm[:3] = 1
    alone = kernel(calm, y, options)
    same_bits("loss", got.loss[3:], alone.loss[3:], "a row that is not finite changes another row's loss")
    same_bits("dlogits", got.dlogits[3:], alone.dlogits[3:], "a row that is not finite changes others")


# ---- Extreme values and sizes ------------------------------------------------------------------------

def one_class(kernel: CrossEntropy, case: Case) -> None:
    right(kernel, *case.but(vocab=1).draw(), words="with a single class ")


def huge_logits(kernel: CrossEntropy, case: Case) -> None:
    big = 6e4 if case.dtype == "float16" else 1e30
    for value in (200.0, 3e4, big):
        x, y, options = case.without("z_loss").but(rows=3, ignored=0).draw()  # lse^2 overflows
        x[0, 0], x[1, y[1]], x[2] = value, value, -value
        right(kernel, x, y, options, f"with a logit of {value:g} ")


_WIDE = ("float32",)
PROPERTIES = (
    Property("agreement", "loss, lse and gradient are the formula's", agreement),
    Property("larger_rows", "also with 1023 and 4099 classes", larger_rows, (*PLAIN, EVERYTHING)),
    Property("shift_invariance", "adding a number to all logits changes nothing but lse", shift_invariance),
    Property("permutation_invariance", "the order of the classes does not matter", permutation_invariance),
    Property("rows_sum_to_zero", "each row of the gradient sums to 0", rows_sum_to_zero),
    Property("label_gradient", "the label's gradient keeps its digits as p(y) goes to 1", label_gradient,
             (*PLAIN, {"class_weights": "random"})),
    Property("loss_near_zero", "the loss keeps its digits as it goes to 0", loss_near_zero, PLAIN, _WIDE,
             strict=True),
    Property("one_class", "a single class has loss 0", one_class),
    Property("huge_logits", "nothing overflows", huge_logits, (*PLAIN, {"label_smoothing": 0.1})),
    Property("ignored_and_masked", "ignored rows and -inf logits anywhere", ignored_and_masked),
    Property("ignored_rows", "ignored rows have no effect, even if they hold NaN", ignored_rows),
    Property("all_ignored", "with every label ignored all is 0", all_ignored),
    Property("empty_batch", "no rows give loss 0", empty_batch, (*PLAIN, {"reduction": "none"})),
    Property("minus_inf_blocks", "blocks of -inf do no harm", minus_inf_blocks, (*PLAIN, EVERYTHING)),
    Property("minus_inf_long_row", "nor in long rows", minus_inf_long_row, PLAIN, ("bfloat16", "float32")),
    Property("minus_inf_and_smoothing", "an absent class has no share of the smoothing",
             minus_inf_and_smoothing, (*PLAIN, {"class_weights": "random"})),
    Property("label_minus_inf", "an absent label has loss inf and a finite gradient", label_minus_inf,
             (*PLAIN, *NONE)),
    Property("non_finite_rows", "NaN and +inf are not hidden, and stay in their row", non_finite_rows,
             (*NONE, {"reduction": "none", "label_smoothing": 0.1})),
    Property("reductions", "sum and mean are made of none", reductions,
             (*PLAIN, {"class_weights": "random", "label_smoothing": 0.1, "z_loss": 1e-2})),
    Property("linear_in_upstream", "the gradient is proportional to grad_loss", linear_in_upstream,
             (*PLAIN, *NONE, EVERYTHING)),
    Property("chunks", "a row's bits do not depend on the other rows", chunks, (*NONE, EVERYTHING)),
    Property("deterministic", "the same call gives the same bits", deterministic, (*PLAIN, EVERYTHING)),
    Property("in_place", "out=logits gives the same bits", in_place, (*PLAIN, EVERYTHING)),
    Property("out_elsewhere", "out= may have gaps between rows", out_elsewhere, PLAIN),
    Property("row_strides", "rows may lie apart and unaligned", row_strides, (*PLAIN, EVERYTHING)),
    Property("label_types", "labels may be int32 or int64", label_types, PLAIN),
    Property("without_gradient", "gradient=False gives the same loss", without_gradient, (*PLAIN, *NONE)),
    Property("overflow_by_stride", "offsets beyond 2^31 elements", overflow_by_stride,
             PLAIN, ("float32", "bfloat16"), crash="row * stride was computed in 32 bits and wrapped around: "
             "in Triton row.to(tl.int64) * stride, in CUDA C (long long)row * stride"),
)
