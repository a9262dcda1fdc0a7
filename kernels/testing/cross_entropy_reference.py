"""Cases for softmax cross-entropy, and what is right for them: the float64 formula and an error bound.

The bound, with u = 2^-24 (half an ulp of 1 in float32), d_j = m - x_j and E_j = exp(-d_j):

    E_j        relative error u (A + B d_j): the difference x_j - m is rounded once, u d_j; an approximate
               GPU exponential multiplies by log2(e) and is off by 2 + 1.173 d_j ulp.  A = 8, B = 4
    s, r       weighted mean of their terms' errors, plus u h(V) for V additions in any order,
               h(V) = 8 + 4 sqrt(V): rounding errors are of either sign, so they grow like a root
    p_j        that of E_j and s, and u for the quotient
    lse        that of s, and u |m|, u |lse|, u |log s|
    loss       strict: that of r / E_y and log1p, or of log s and m - x_y.  Otherwise lse - x_y is allowed
               to cancel: u (|lse| + |x_y|) more
    gradient   a p_j and q_j each with their relative errors.  Strict at the label: (a - q_y) and a r / s
               with theirs, so that nothing is lost as p_y -> 1
    softcap    8u of x, which counts in E_j as an absolute error, and 16u in the factor 1 - (x/c)^2
    stored     half an ulp of the output's type; a whole one is allowed

Underflow may lose 2^-124 of any exponential. All of it is first order in u.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from minillm.formulas import cross_entropy_rows, cross_entropy_rows_gradient, logsumexp, soft_cap, softmax

from .compare import round_to, ulp

U = 2.0**-24
A, B = 8, 4
TINY = 2.0**-124


@dataclass(frozen=True)
class Case:
    """One call, up to its numbers, which `draw` makes from the seed; `kernels.testing.CrossEntropyCase`.

    Attributes:
        rows, vocab: of the logits.
        dtype: of the logits.
        options: keywords of the kernel. "random" for class_weights or grad_loss stands for drawn ones.
        seed: of the numbers.
        spread: standard deviation of the logits.
        masked: share of logits that are -inf (never a row's label).
        ignored: share of rows whose label is ignore_index.
        gap, shift: elements between rows, and before the first.
        labels: element type of the labels.
    """

    rows: int = 3
    vocab: int = 17
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    spread: float = 3.0
    masked: float = 0.0
    ignored: float = 0.0
    gap: int = 0
    shift: int = 0
    labels: str = "int64"

    def __str__(self) -> str:
        standard = Case()
        always = ("rows", "vocab", "dtype", "seed")
        said = [f"{name}={value!r}" for name, value in vars(self).items()
                if name in always or value != getattr(standard, name)]
        return f"CrossEntropyCase({', '.join(said)})"

    def but(self, **changes: Any) -> Case:
        """The case with other fields."""
        return replace(self, **changes)

    def without(self, *names: str) -> Case:
        """The case without these options."""
        return replace(self, options={k: v for k, v in self.options.items() if k not in names})

    def having(self, **options: Any) -> Case:
        """The case with these options as well."""
        return replace(self, options={**self.options, **options})

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator of the case's numbers."""
        return np.random.default_rng([self.seed, self.rows, self.vocab])

    def draw(self) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Logits (R, V), labels (R,) and the options, with arrays where they say "random"."""
        rng = self.rng
        x = round_to(rng.normal(0, self.spread, (self.rows, self.vocab)), self.dtype)
        y = rng.integers(0, self.vocab, self.rows).astype(self.labels)
        gone = rng.random(x.shape) < self.masked
        gone[np.arange(self.rows), y] = False
        x[gone] = -np.inf
        y[rng.random(self.rows) < self.ignored] = self.options.get("ignore_index", -100)
        return x, y, self.given()

    def given(self) -> dict[str, Any]:
        """The options with arrays where they say "random"."""
        rng, options = np.random.default_rng([self.seed, 7]), dict(self.options)
        if options.get("class_weights") is not None:
            options["class_weights"] = rng.uniform(0.25, 2, self.vocab).astype(np.float32)
        if options.get("grad_loss") is not None:
            shape = (self.rows,) if options.get("reduction") == "none" else ()
            options["grad_loss"] = np.asarray(rng.uniform(-2, 2, shape), np.float32)
        return options


class Expected(NamedTuple):
    """What is right, float64, and how far a kernel may be from it before it rounds to its output type."""

    loss: np.ndarray
    lse: np.ndarray
    dlogits: np.ndarray
    loss_error: np.ndarray
    lse_error: np.ndarray
    dlogits_error: np.ndarray


def expected(x: np.ndarray, y: np.ndarray, *, ignore_index: int = -100, label_smoothing: float = 0.0,
             z_loss: float = 0.0, class_weights: Any = None, softcap: float | None = None,
             reduction: str = "mean", grad_loss: Any = None, strict: bool = False) -> Expected:
    """The float64 formula with every option of `kernels.softmax_cross_entropy`, and the error bound above.

    Args:
        x: (R, V).
        y: (R,).
        strict: neither the loss nor the label's gradient may cancel as p_y -> 1.
    """
    e, z, w, dtype = label_smoothing, z_loss, class_weights, x.dtype.name
    R, V = x.shape
    kept = y != ignore_index
    labels = np.where(kept, y, 0).astype(np.int64)
    weights = np.ones(V) if w is None else np.asarray(w, np.float64)
    rows = np.arange(R)
    if not R or not V:
        zeros = np.zeros(R)
        loss = zeros if reduction == "none" else np.zeros(())
        return Expected(loss, zeros, np.zeros((R, V)), loss, zeros, np.zeros((R, V)))
    with np.errstate(all="ignore"):
        raw = np.where(kept[:, None], x.astype(np.float64), 0)
        X = raw if softcap is None else soft_cap(raw, softcap)
        lse, p = logsumexp(X, axis=1), softmax(X)
        ce = cross_entropy_rows(X, labels, weights, e)
        d = cross_entropy_rows_gradient(X, labels, weights, e)

        # exponentials and their sums
        m = np.max(np.where(np.isfinite(X), X, -np.inf), axis=1)
        m = np.where(np.isfinite(m), m, 0)
        distance = np.where(np.isfinite(X), m[:, None] - X, 0)
        cap = 8 * U if softcap is not None else 0.0
        size = np.where(np.isfinite(X), np.abs(X), 0)
        E = np.where(np.isneginf(X), 0, np.exp(-distance))
        E_error = U * (A + B * distance) + cap * (size + np.abs(m)[:, None])
        h = U * depth(V)
        of_label = np.arange(V) == labels[:, None]
        s = np.maximum(np.sum(E, axis=1), np.finfo(float).tiny)
        s_error = np.sum(E * E_error, axis=1) / s + h
        r = np.sum(np.where(of_label, 0, E), axis=1)
        r_error = np.where(r > 0, np.sum(np.where(of_label, 0, E * E_error), axis=1)
                           / np.maximum(r, np.finfo(float).tiny) + h, 0)
        log_s = np.abs(np.log(s))
        p_error = E_error + s_error[:, None] + 2 * U

        # loss and lse
        x_y = X[rows, labels]
        far = np.where(np.isfinite(x_y), np.abs(x_y), 0)
        lse_error = s_error + 4 * U * log_s + 2 * U * (np.abs(m) + np.abs(lse)) + cap * np.abs(m)
        nll = np.where(np.isfinite(x_y), np.abs(lse - x_y), 0)
        near = E[rows, labels] >= r
        exact = -np.log1p(-r / s)  # nll without the cancellation of lse - x_y
        nll_error = np.where(near, np.where(np.isfinite(exact), exact, 0)
                             * (r_error + E_error[rows, labels] + 6 * U),
                             s_error + 4 * U * log_s + 4 * U * nll + cap * (far + np.abs(m)))
        if not strict:
            nll_error = nll_error + lse_error + 2 * U * (far + np.abs(lse))
        there = ~np.isneginf(X)
        K = np.maximum(there.sum(axis=1), 1)
        W = np.sum(np.where(there, weights, 0), axis=1)
        spread = np.sum(np.where(there, weights * np.abs(np.where(there, X, 0) - np.where(
            np.isfinite(x_y), x_y, 0)[:, None]), 0), axis=1)
        offsets = np.sum(np.where(there, weights * (size + far[:, None]), 0), axis=1)
        smooth_error = e / K * (W * nll_error + (h + 4 * U) * (W * nll + spread)
                                + (cap if strict else cap + 4 * U) * (offsets + W * np.abs(lse)))
        ce_error = (1 - e) * weights[labels] * (nll_error + 4 * U * nll) + smooth_error
        zl, zl_error = z * lse**2, z * (2 * np.abs(lse) * lse_error + 4 * U * lse**2)

        # gradient
        q = np.where(there, (e / K)[:, None] * weights, 0) + np.where(
            of_label, (1 - e) * weights[labels][:, None], 0)
        a = np.sum(q, axis=1)
        a_error = 4 * U + (h if e else 0)
        d_error = a[:, None] * p * (p_error + a_error) + 6 * U * q + 2 * U * np.abs(d)
        if strict:
            rest = np.sum(np.where(of_label, 0, q), axis=1)
            at_label = (rest * (a_error + 4 * U) + a * (r / s) * (r_error + s_error + a_error + 4 * U))
            d_error = np.where(of_label, at_label[:, None] + 2 * U * np.abs(d), d_error)
        dz = 2 * z * lse[:, None] * p
        dz_error = 2 * z * p * (lse_error + np.abs(lse) * (s_error + 6 * U))[:, None] + np.abs(dz) * E_error

        # reduction
        D, N = (float(np.sum(np.where(kept, weights[labels], 0))), int(kept.sum())) \
            if reduction == "mean" else (1.0, 1)
        ce_scale, z_scale = 1 / D if D else 0.0, 1 / N if N else 0.0
        scale_error = U * (4 + depth(R))
        losses = ce_scale * ce + z_scale * zl if z else ce_scale * ce
        losses_error = ce_scale * ce_error + z_scale * zl_error + scale_error * np.abs(losses)
        total = ce_scale * d + z_scale * dz if z else ce_scale * d
        total_error = (ce_scale * d_error + z_scale * dz_error
                       + (scale_error + 4 * U) * (ce_scale * (a[:, None] * p * (not strict) + np.abs(d))
                                                  + z_scale * np.abs(dz))
                       + TINY * (ce_scale * a[:, None] + z_scale * 2 * z * np.abs(lse)[:, None] + 1))
        if softcap is not None:
            t = np.where(there, X / softcap, 0)
            factor = np.where(there, 1 - t**2, 0)
            total = np.where(there, total * factor, 0)
            total_error = total_error * factor + np.abs(total) * 4 * U + 24 * U * np.abs(
                ce_scale * d + z_scale * dz)
        if grad_loss is not None:
            g = np.broadcast_to(np.asarray(grad_loss, np.float64), (R,))[:, None]
            total, total_error = total * g, total_error * np.abs(g) + 2 * U * np.abs(total * g) + TINY

        zero = ~kept
        losses, losses_error = np.where(zero, 0, losses), np.where(zero, 0, losses_error)
        lse, lse_error = np.where(zero, 0, lse), np.where(zero, 0, lse_error)
        total, total_error = np.where(zero[:, None], 0, total), np.where(zero[:, None], 0, total_error)
        if reduction != "none":
            losses_error = np.sum(losses_error) + U * depth(R) * np.sum(np.abs(losses))
            losses = np.sum(losses)
        loss_error = _with_rounding(losses_error, losses, "float32")
        lse_error = _with_rounding(lse_error, lse, "float32")
        total_error = _with_rounding(total_error, total, dtype)
        total = np.where(zero[:, None], 0, _overflowed(total, dtype))
    return Expected(np.asarray(losses), lse, total, loss_error, lse_error, total_error)


def depth(n: int) -> float:
    """h(n): how rounding errors of n additions in any order add up, in u; see above."""
    return 8 + 4 * float(np.sqrt(n))


def _with_rounding(error: Any, value: Any, dtype: str) -> np.ndarray:
    return np.nan_to_num(error, nan=0.0, posinf=np.inf) + np.where(error == 0, 0, ulp(value, dtype))


def _overflowed(value: np.ndarray, dtype: str) -> np.ndarray:
    largest = float(np.asarray(np.finfo(np.float16).max)) if dtype == "float16" else np.inf
    return np.where(np.abs(value) > largest + 16, np.copysign(np.inf, value), value)
