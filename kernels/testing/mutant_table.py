"""The table of mutants: one line broken in a shipped source, and the cases on which that is to be noticed.

`kernels.testing.mutants` tries them. Whoever changes a kernel's text meets its mutants here: an old text that
does not occur as often as it should is an error, not a mutant that is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kernels

HERE = Path(kernels.__file__).parent


@dataclass(frozen=True)
class Mutant:
    """One change to a source.

    Attributes:
        file: under kernels/, such as "cuda/adam.cu"; its folder is the backend, its stem the kernel.
        breaks: what is wrong then, in a few words.
        edits: (old text, new text, how often the old one occurs), all applied.
        options: of the cases on which it is tried.
        dtype: of them: logits, or params.
        how: keywords of the CUDA backend's `rows`: {"cluster": 4}.
        tuning: sizes to set in kernels.tuning: {"TRITON_ONE_SWEEP": 0}.
        more: fields of the cases.
    """

    file: str
    breaks: str
    edits: tuple[tuple[str, str, int], ...]
    options: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    how: dict[str, Any] = field(default_factory=dict)
    tuning: dict[str, int] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File and what is broken."""
        return f"{self.file}: {self.breaks}"

    @property
    def backend(self) -> str:
        """Either "triton" or "cuda"."""
        return self.file.partition("/")[0]

    @property
    def kernel(self) -> str:
        """Either "adam" or "cross_entropy"."""
        return "adam" if "adam" in self.file else "cross_entropy"

    def source(self) -> str:
        """The broken source.

        Raises:
            ValueError: the shipped source has changed, so that the mutant says nothing any more.
        """
        text = (HERE / self.file).read_text()
        for old, new, count in self.edits:
            if text.count(old) != count:
                raise ValueError(f"mutant out of date: {self.file} has {text.count(old)} times, not {count} "
                                 f"times, {old!r}")
            text = text.replace(old, new)
        return text


def _edit(old: str, new: str, count: int = 1) -> tuple[tuple[str, str, int], ...]:
    return ((old, new, count),)


ALL = {"label_smoothing": 0.1, "class_weights": "random", "z_loss": 1e-2, "softcap": 5.0,
       "reduction": "none", "grad_loss": "random"}
SMOOTH = {"label_smoothing": 0.1, "class_weights": "random"}
PART = {"cluster": 4, "streaming": False}
SWEEPS = {"TRITON_ONE_SWEEP": 0, "TRITON_TWO_SWEEPS": 256}
CUH, CU = "cuda/cross_entropy.cuh", "cuda/cross_entropy.cu"
STREAM, TOTALS = "cuda/cross_entropy_streaming.cu", "cuda/cross_entropy_totals.cu"
ROWS, FORMULAS = "triton/cross_entropy.py", "triton/cross_entropy_formulas.py"
TADAM, CADAM = "triton/adam.py", "cuda/adam.cu"

CUDA_CROSS_ENTROPY = (
    Mutant(CUH, "the block's barrier", _edit("    if (lane == 0) warps[warp] = sum;\n    __syncthreads();\n",
                                             "    if (lane == 0) warps[warp] = sum;\n")),
    Mutant(CUH, "the cluster's barrier before its sums are read", _edit(
        "if (threadIdx.x == 0) block = sum;\n    cluster_sync();", "if (threadIdx.x == 0) block = sum;"),
        how=PART),
    Mutant(CUH, "a lane of the warp's reduction", _edit("for (int step = 16; step; step /= 2)",
                                                        "for (int step = 16; step > 1; step /= 2)")),
    Mutant(CUH, "the same bits for all lanes, and the warps' sums combined", _edit(
        "return over_warp(lane < THREADS / 32 ? warps[lane] : nothing());", "return sum;")),
    Mutant(CUH, "the -inf guard", _edit("return m == -infinity() ? 0.0f : m;", "return m;")),
    Mutant(CUH, "the label's exclusion from r", _edit("x[i] = j + i == label ? -infinity() : x[i];",
                                                      "x[i] = x[i];")),
    Mutant(CUH, "the label's own gradient", _edit(
        "g[i] = j + i == label ? row.label : g[i];", "g[i] = g[i];")),
    Mutant(CUH, "the label's gradient without cancellation", _edit(
        "ce_factor * (rest - a * (r / s))", "ce_factor * (a * (e_y / s) - q_y)")),
    Mutant(CUH, "log1p where p(y) is near 1", _edit(
        "e_y >= r ? log1pf(r / e_y) : logf(s) + (m - x_y)", "logf(s) + (m - x_y)")),
    Mutant(CUH, "the running sum's rescaling", _edit("r = sum.r * exponential(sum.m - b);", "r = sum.r;"),
           more={"spread": 20.0}),
    Mutant(CUH, "rescaling when sums are combined", _edit(
        "p.r * expf(p.m - b) + q.r * expf(q.m - b)", "p.r + q.r"), more={"spread": 20.0}),
    Mutant(CUH, "K: the label is a class too", _edit("(sum.K + (present ? 1.0f : 0.0f))", "sum.K"),
           options=SMOOTH),
    Mutant(CUH, "K: absent classes are none", _edit("if (x[i] != -infinity()) {\n            float w",
                                                    "if (true) {\n            float w"), options=SMOOTH),
    Mutant(CUH, "smoothing's share of the gradient", _edit(
        "if (x != -infinity()) g[i] -=", "if (false) g[i] -="),
           options=SMOOTH),
    Mutant(CUH, "the label's weight", _edit("float q_y = w_y, rest = 0;", "float q_y = 1, rest = 0;"),
           options={"class_weights": "random"}),
    Mutant(CUH, "softcap's derivative", _edit("g[i] *= (1 - t) * (1 + t);", ""), options={"softcap": 5.0}),
    Mutant(CUH, "softcap leaves -inf alone", _edit("raw == -infinity() ? raw : o.c * tanhf(raw / o.c)",
                                                   "o.c * tanhf(raw / o.c)"), options={"softcap": 5.0}),
    Mutant(CUH, "the z-loss in the label's gradient", _edit("+ z_slope * (e_y / s))", ")"),
           options={"z_loss": 0.1}),
    Mutant(CUH, "grad_loss in the label's gradient", _edit("row.label = grad * (", "row.label = ("),
           options={"reduction": "none", "grad_loss": "random"}),
    Mutant(CUH, "the end of a row that is read", _edit(
        "j + i >= 0 && j + i < n ? x[j + i]", "j + i >= 0 ? x[j + i]")),
    Mutant(CUH, "the end of a row that is written", _edit("if (j + i >= 0 && j + i < n) dx[j + i]",
                                                          "if (j + i >= 0) dx[j + i]")),
    Mutant(CUH, "the start of a row that is written", _edit("if (j + i >= 0 && j + i < n) dx[j + i]",
                                                            "if (j + i < n) dx[j + i]"), more={"shift": 1}),
    Mutant(CUH, "16-byte stores only where the row has them", _edit(
        "if (j >= 0 && j + N <= n) {", "if (true) {")),
    Mutant(CUH, "16-byte loads only inside the row", _edit(
        "return j - s >= 0 && j - s + (s ? 2 * N : N) <= n;",
                                                           "return true;")),
    Mutant(CUH, "the shift of unaligned loads", _edit(
        "return window(p, s ? How::load(x + (j - s) + N) : p, s);",
                                                      "return p;"), more={"shift": 1, "vocab": 300}),
    Mutant(CU, "ignored rows", _edit(
        "if (y == ignore_index || y < 0 || y >= V) {", "if (y < 0 || y >= V) {")),
    Mutant(CU, "labels that are no class", _edit("if (y == ignore_index || y < 0 || y >= V) {",
                                                 "if (y == ignore_index) {")),
    Mutant(CU, "64 bits of a row's offset", _edit(
        "logits + i * row_stride", "logits + (int)(i * row_stride)")),
    Mutant(CU, "64 bits of the gradient's offset", _edit(
        "dlogits + i * d_stride", "dlogits + (int)(i * d_stride)")),
    Mutant(CU, "the label of another block of the cluster", _edit("const int label = (int)y - first;",
                                                                  "const int label = (int)y;"), how=PART),
    Mutant(CU, "the weights of another block of the cluster", _edit("weights ? weights + first : weights",
                                                                    "weights"), how=PART, options=SMOOTH),
    Mutant(CU, "the cluster's last columns", _edit("((int)V + N * CLUSTER - 1) / (N * CLUSTER) * N",
                                                   "(int)V / (N * CLUSTER) * N"), how=PART),
    Mutant(CU, "the cluster's barrier at the end", _edit(
        "cluster_sync();  // no block ends while another may read its sum", ""), how=PART),
    Mutant(STREAM, "ignored rows", _edit(
        "if (y == ignore_index || y < 0 || y >= V) {", "if (y < 0 || y >= V) {"),
           how={"streaming": True}),
    Mutant(STREAM, "the gradient of ignored rows", _edit("if (GRADIENT) fill(dx, n, value);", ""),
           how={"streaming": True}),
    Mutant(STREAM, "64 bits of the gradient's offset", _edit(
        "dlogits + i * d_stride", "dlogits + (int)(i * d_stride)"),
           how={"streaming": True}),
    Mutant(TOTALS, "a barrier of the scales' tree", _edit(
        "        __syncthreads();\n        if (t < half) {", "        if (t < half) {")),
    Mutant(TOTALS, "a barrier of the total's tree", _edit(
        "        __syncthreads();\n        if (t < half) sum", "        if (t < half) sum")),
    Mutant(TOTALS, "0 for 1/0", _edit("D[0] == 0 ? 0.0f : (float)(1 / D[0])", "(float)(1 / D[0])")),
    Mutant(TOTALS, "labels that do not count", _edit(
        "if (y == ignore_index || y < 0 || y >= V) continue;", "")),
)

CUDA_ADAM = (
    Mutant(CADAM, "m's bias correction", _edit("divide(x.m, f.c1)", "x.m")),
    Mutant(CADAM, "v's bias correction", _edit(
        "divide(AMSGRAD ? x.vmax : x.v, f.c2)", "(AMSGRAD ? x.vmax : x.v)")),
    Mutant(CADAM, "eps outside the root", _edit("root(v_hat) + f.eps", "root(v_hat + f.eps)")),
    Mutant(CADAM, "decay before the update", (
        ("    if (DECAY == 1) x.theta = x.theta - f.alpha_lambda * x.theta;\n", "", 1),
        ("divide(f.alpha, root(v_hat) + f.eps) * m_hat;", "divide(f.alpha, root(v_hat) + f.eps) * m_hat;\n"
         "    if (DECAY == 1) x.theta = x.theta - f.alpha_lambda * x.theta;", 1)), {"weight_decay": 0.1}),
    Mutant(CADAM, "coupled decay", _edit("x.g = x.g + f.lambda * x.theta;", ""),
           {"weight_decay": 0.1, "decoupled": False}),
    Mutant(CADAM, "found_inf", _edit("if (found_inf && *found_inf != 0) return;", "")),
    Mutant(CADAM, "amsgrad's maximum", _edit("x.v > x.vmax || x.v != x.v ? x.v : x.vmax", "x.v"),
           {"amsgrad": True}),
    Mutant(CADAM, "NaN in amsgrad's maximum", _edit("x.v > x.vmax || x.v != x.v ?", "x.v > x.vmax ?"),
           {"amsgrad": True}),
    Mutant(CADAM, "grad_scale divides", _edit("x.g = divide(x.g, f.scale);", "x.g = x.g * f.scale;"),
           {"grad_scale": 3.0}),
    Mutant(CADAM, "maximize", _edit("if (f.maximize) x.g = -x.g;", "")),
    Mutant(CADAM, "lr on the device decays too", _edit("f.alpha_lambda = f.alpha * lambda;", ""),
           {"weight_decay": 0.1}),
    Mutant(CADAM, "the barrier before c1, c2 are read", _edit(
        "        __syncthreads();\n        f.c1 = c[0];",
                                                             "        f.c1 = c[0];")),
    Mutant(CADAM, "beta^t in double", _edit("double p = 1;", "float p = 1;")),
    Mutant(CADAM, "the tail of the last tile", _edit(
        "const int64 end = start + TILE < t.numel ? start + TILE : t.numel;",
        "const int64 end = start + TILE;")),
    Mutant(CADAM, "unaligned tensors", _edit("if (t.aligned && start + TILE <= t.numel)",
                                             "if (start + TILE <= t.numel)")),
    Mutant(CADAM, "whole tiles only without masks", _edit("if (t.aligned && start + TILE <= t.numel)",
                                                          "if (t.aligned)")),
    Mutant(CADAM, "64 bits of a tile's start", _edit("(int64)tiles[2 * blockIdx.x + 1] * TILE",
                                                     "(int)((unsigned)tiles[2 * blockIdx.x + 1] * TILE)")),
    Mutant(CADAM, "the master weights' store", _edit("    if (MASTER) t.master[i] = x.theta;\n", ""),
           dtype="bfloat16", more={"master": True}),
    Mutant(CADAM, "another random number for each tensor", _edit(
        "key ^ (uint32)t.index * 0x9e3779b9u", "key"),
           dtype="bfloat16"),
    Mutant(CADAM, "NaN and inf in stochastic rounding", _edit(
        "if ((bits & 0x7f800000u) != 0x7f800000u) ", ""),
           dtype="bfloat16"),
    Mutant(CADAM, "16 random bits, no more", _edit("& 0xffffu", "& 0x1ffffu"), dtype="bfloat16"),
)

TRITON_CROSS_ENTROPY = (
    Mutant(ROWS, "the mask of what is read", _edit("raw = tl.load(first + at, mask=mask, other=-INF)",
                                                   "raw = tl.load(first + at)")),
    Mutant(ROWS, "the mask of what is written", _edit(
        "tl.store(dx_first + at, d.to(DX.dtype.element_ty), mask=mask)",
        "tl.store(dx_first + at, d.to(DX.dtype.element_ty))")),
    Mutant(ROWS, "the mask of a row's edges", _edit(
        "tl.store(dx_row + edge_cols, d.to(DX.dtype.element_ty), mask=edge_mask)",
        "tl.store(dx_row + edge_cols, d.to(DX.dtype.element_ty))", 2), more={"shift": 1}),
    Mutant(ROWS, "where a row's edges end", _edit("tl.where(line == 0, tl.minimum(head, V), V)", "V"),
           more={"shift": 1}),
    Mutant(ROWS, "the head before the first 16-byte boundary", _edit(
        "first = tl.multiple_of(x_row + head, 16)", "first = x_row"), more={"shift": 1}),
    Mutant(ROWS, "64 bits of a row's offset", _edit("row = tl.program_id(0).to(tl.int64)",
                                                    "row = tl.program_id(0)", 2)),
    Mutant(ROWS, "ignored rows", _edit(
        "if (y == ignore_index) | (y < 0) | (y >= V):", "if (y < 0) | (y >= V):", 2)),
    Mutant(ROWS, "labels that are no class", _edit("if (y == ignore_index) | (y < 0) | (y >= V):",
                                                   "if y == ignore_index:", 2)),
    Mutant(ROWS, "the gradient of ignored rows", _edit(
        "            tl.store(dx_first + start * VEC + block_at(GROUPS, VEC), block.to(DX.dtype.element_ty), "
        "mask=mask)\n", "            pass\n")),
    Mutant(ROWS, "the label's weight", _edit("w_y = tl.load(WEIGHTS + y)", "w_y = 1.0"),
           {"class_weights": "random"}),
    Mutant(ROWS, "the row's own grad_loss", _edit("tl.load(GRAD + row * grad_stride)", "tl.load(GRAD)"),
           {"reduction": "none", "grad_loss": "random"}),
    Mutant(ROWS, "the lines' maxima", _edit("r = tl.sum(r * tl.exp(m - finite(M)))", "r = tl.sum(r)"),
           tuning=SWEEPS, more={"spread": 20.0}),
    Mutant(ROWS, "the second sweep's mask", _edit(
        "tl.store(dx_first + start * VEC + at, d, mask=mask, eviction_policy=\"evict_first\")",
        "tl.store(dx_first + start * VEC + at, d)"), tuning=SWEEPS),
    Mutant(ROWS, "0 for 1/0", _edit("tl.where(D == 0.0, 0.0, 1.0 / D)", "1.0 / D")),
    Mutant(ROWS, "the mask of the total", _edit(
        "tl.load(LOSS + start + at, mask=start + at < R, other=0.0)", "tl.load(LOSS + start + at)")),
    Mutant(ROWS, "labels that do not count", _edit("kept = (y != ignore_index) & (y >= 0) & (y < V)",
                                                   "kept = (y >= 0) & (y < V)")),
    Mutant(FORMULAS, "the -inf guard", _edit(
        "return tl.where(m == -INF, 0.0, m)", "return m"), tuning=SWEEPS),
    Mutant(FORMULAS, "the label's exclusion from r", _edit("tl.where(is_label, 0.0, tl.exp(x - m))",
                                                           "tl.exp(x - m)")),
    Mutant(FORMULAS, "the label's own gradient", _edit("uncap(tl.where(is_label, d_y, d), raw, c)",
                                                       "uncap(d, raw, c)")),
    Mutant(FORMULAS, "the label's gradient without cancellation", _edit(
        "d_y = -a * tl.div_rn(r, s)", "d_y = a * tl.div_rn(e_y, s) - a")),
    Mutant(FORMULAS, "log1p where p(y) is near 1", _edit(
        "nll = tl.where(e_y >= r, log1p(tl.div_rn(r, e_y)), log_s + (m - x_y))", "nll = log_s + (m - x_y)")),
    Mutant(FORMULAS, "K: the label is a class too", _edit("tl.div_rn(e, K + tl.where(there, 1.0, 0.0))",
                                                          "tl.div_rn(e, K)"), SMOOTH),
    Mutant(FORMULAS, "K: absent classes are none", _edit("there = (x != -INF) & (is_label == 0)",
                                                         "there = is_label == 0"), SMOOTH),
    Mutant(FORMULAS, "smoothing's share of absent classes", _edit("d -= tl.where(x != -INF, B * w, 0.0)",
                                                                  "d -= B * w"), SMOOTH),
    Mutant(FORMULAS, "softcap's derivative", _edit("        d *= 4.0 * u / ((1.0 + u) * (1.0 + u))\n", ""),
           {"softcap": 5.0}),
    Mutant(FORMULAS, "softcap leaves -inf alone", _edit("tl.where(x == -INF, x, c * tanh(x / c))",
                                                        "c * tanh(x / c)"), {"softcap": 5.0}),
    Mutant(FORMULAS, "tanh near 0", _edit(
        "tl.where(tl.abs(t) < 0.55, near,", "tl.where(tl.abs(t) < 0.0, near,"),
           {"softcap": 1e4}, more={"spread": 0.05}),
    Mutant(FORMULAS, "the z-loss in the label's gradient", _edit("d_y + slope * tl.div_rn(e_y, s)", "d_y"),
           {"z_loss": 0.1}),
    Mutant(FORMULAS, "grad_loss in the label's gradient", _edit("B, g * d_y", "B, d_y"),
           {"reduction": "none", "grad_loss": "random"}),
    Mutant(FORMULAS, "the running sum's rescaling", _edit(
        "r * tl.exp(m - finite(m_new)) + more_r", "r + more_r"),
           tuning=SWEEPS, more={"spread": 20.0}),
)

TRITON_ADAM = (
    Mutant(TADAM, "m's bias correction", _edit("m_hat = divide(m, c1, EXACT)", "m_hat = m")),
    Mutant(TADAM, "v's bias correction", _edit("v_hat = divide(v_used, c2, EXACT)", "v_hat = v_used")),
    Mutant(TADAM, "eps outside the root", _edit("root(v_hat, EXACT) + eps", "root(v_hat + eps, EXACT)")),
    Mutant(TADAM, "decay before the update", (
        ("    if alpha_lambda is not None:\n        theta = theta - alpha_lambda * theta\n", "", 1),
        ("    return theta, m, v, v_used\n", "    if alpha_lambda is not None:\n"
         "        theta = theta - alpha_lambda * theta\n    return theta, m, v, v_used\n", 1)),
        {"weight_decay": 0.1}),
    Mutant(TADAM, "coupled decay", _edit("        g = g + lambda_ * theta\n", "        g = g\n"),
           {"weight_decay": 0.1, "decoupled": False}),
    Mutant(TADAM, "found_inf", _edit("if found_inf == 0.0:", "if found_inf == found_inf:")),
    Mutant(TADAM, "amsgrad's maximum", _edit(
        "v_used = tl.maximum(vmax, v, propagate_nan=tl.PropagateNan.ALL)", "v_used = v"), {"amsgrad": True}),
    Mutant(TADAM, "NaN in amsgrad's maximum", _edit(
        "tl.maximum(vmax, v, propagate_nan=tl.PropagateNan.ALL)", "tl.where(v > vmax, v, vmax)"),
        {"amsgrad": True}),
    Mutant(TADAM, "grad_scale divides", _edit("g = divide(g, scale, EXACT)", "g = g * scale"),
           {"grad_scale": 3.0}),
    Mutant(TADAM, "maximize", _edit("g = g * -1.0 ", "g = g ")),
    Mutant(TADAM, "lr on the device decays too", _edit(
        "alpha_lambda = alpha * lambda_", "alpha_lambda = 0.0 * lambda_"), {"weight_decay": 0.1}),
    Mutant(TADAM, "beta^t by squaring", _edit("        b = b * b\n", "        b = b\n")),
    Mutant(TADAM, "the mask of the last tile", _edit("mask = None if WHOLE else i < n", "mask = None")),
    Mutant(TADAM, "whole tiles only without masks", _edit(" & (start + TILE <= tl.load(row + 6))", "")),
    Mutant(TADAM, "64 bits of a tile's start", _edit("tl.load(tile + 1).to(tl.int64) * TILE",
                                                     "tl.load(tile + 1) * TILE")),
    Mutant(TADAM, "the master weights' store", _edit(
        "            tl.store(theta_first + i, theta, mask=mask)\n",
                                                     "            pass\n"),
           dtype="bfloat16", more={"master": True}),
    Mutant(TADAM, "another random number for each tensor", _edit(" ^ (tensor * 0x9E3779B9)", ""),
           dtype="bfloat16"),
    Mutant(TADAM, "NaN and inf in stochastic rounding", _edit("return tl.where(finite, rounded, bits)",
                                                              "return rounded"), dtype="bfloat16"),
    Mutant(TADAM, "16 random bits, no more", _edit("(h & 0xFFFF)", "(h & 0x1FFFF)"), dtype="bfloat16"),
)

MUTANTS = CUDA_CROSS_ENTROPY + CUDA_ADAM + TRITON_CROSS_ENTROPY + TRITON_ADAM
