"""Tests and misconceptions of the assignment on a Triton kernel, launched in the interpreter between guards."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def labelled(rng, x, block, dtype=np.float32):
    x = x.astype(dtype)
    return {"x": x, "y": rng.integers(0, x.shape[1], len(x)), "block": np.array(block)}


def small(rng):
    V = int(rng.integers(9, 16))
    return labelled(rng, 2 * rng.normal(size=(int(rng.integers(2, 5)), V)), 16)


def long_rows(rng):
    """No multiple of the block; the maximum comes late in one row, early in another."""
    V = int(rng.integers(33, 47))
    x = 2 * rng.normal(size=(3, V))
    x[0] += 0.1 * np.arange(V)
    x[1] -= 0.1 * np.arange(V)
    given = labelled(rng, x, 16)
    given["y"][0] = V - 1
    return given


def huge(rng):
    x = 3 * rng.normal(size=(3, int(rng.integers(20, 30))))
    x[0] += rng.uniform(300, 400)
    x[1] -= rng.uniform(300, 400)
    x[2, -1] += 200
    return labelled(rng, x, 8)


def forward(student, inputs):
    from kernels.testing import run_triton

    x, y, n = inputs["x"], inputs["y"], len(inputs["x"])
    loss, m, s = (np.full(n, 77.0, np.float32) for _ in range(3))  # what is not written stays
    run_triton(student.cross_entropy_forward, n, x, y, loss, m, s, x.shape[1], x.shape[1], -100,
               BLOCK=int(inputs["block"]))
    return {"loss": loss, "m": m, "s": s}


def half(rng):
    given = long_rows(rng)
    return given | {"scale": np.array(rng.uniform(0.2, 0.9)), "half": given["x"].astype(np.float16)}


def backward(student, inputs):
    from kernels.testing import run_triton

    out = {}
    for name in ("x", "half"):
        x, y = inputs[name], inputs["y"]
        wide = x.astype(np.float64)
        m = wide.max(axis=1)
        s = np.exp(wide - m[:, None]).sum(axis=1)
        # One has a row to spare: a write beyond the last row is seen in what comes back, not by guards alone,
        # which the student's code could switch off.
        dx = np.full((len(x) + (name == "half"), x.shape[1]), 77.0, x.dtype)
        run_triton(student.cross_entropy_backward, len(x), x, y, m.astype(np.float32), s.astype(np.float32),
                   dx,
                   x.shape[1], x.shape[1], -100, float(inputs["scale"]), BLOCK=int(inputs["block"]))
        out["d" + name] = dx.astype(np.float32)
    return out


def apart(rng):
    return long_rows(rng) | {"gap": np.array(rng.integers(3, 9)), "scale": np.array(rng.uniform(0.2, 0.9))}


def forward_and_backward_apart(student, inputs):
    from kernels.testing import run_triton

    y, block, (n, V) = inputs["y"], int(inputs["block"]), inputs["x"].shape
    stride = V + int(inputs["gap"])
    wide = np.full((n, stride), 50.0, np.float32)
    wide[:, :V] = inputs["x"]
    x = wide[:, :V]
    loss, m, s = (np.full(n + 3, 77.0, np.float32) for _ in range(3))  # to spare, as in `backward`
    run_triton(student.cross_entropy_forward, n, x, y, loss, m, s, stride, V, -100, BLOCK=block)
    right_m = x.max(axis=1)
    right_s = np.exp(x.astype(np.float64) - right_m[:, None]).sum(axis=1).astype(np.float32)
    dx = np.full((n + 1, V), 77.0, np.float32)
    run_triton(student.cross_entropy_backward, n, x, y, right_m, right_s, dx, stride, V, -100,
               float(inputs["scale"]), BLOCK=block)
    return {"loss": loss, "m": m, "s": s, "dx": dx}


def some_ignored(rng):
    given = small(rng)
    rows = len(given["y"])
    given["y"][rng.integers(rows)] = -7
    return given | {"ignore_index": np.array(-7), "scale": np.array(rng.uniform(0.2, 0.9))}


def forward_and_backward(student, inputs):
    from kernels.testing import run_triton

    x, y, block, ignore = inputs["x"], inputs["y"], int(inputs["block"]), int(inputs["ignore_index"])
    n, V = x.shape
    loss, m, s = (np.full(n + 3, 77.0, np.float32) for _ in range(3))  # to spare, as in `backward`
    run_triton(student.cross_entropy_forward, n, x, y, loss, m, s, V, V, ignore, BLOCK=block)
    right_m = x.max(axis=1)
    right_s = np.exp(x.astype(np.float64) - right_m[:, None]).sum(axis=1).astype(np.float32)
    dx = np.full((n + 1, V), 77.0, np.float32)
    run_triton(student.cross_entropy_backward, n, x, y, right_m, right_s, dx, V, V, ignore,
               float(inputs["scale"]),
               BLOCK=block)
    return {"loss": loss, "dx": dx}


def masked(rng):
    """The first block of one row, the last of another, all but the label's of a third are -inf."""
    V = int(rng.integers(34, 40))
    x = 2 * rng.normal(size=(3, V))
    x[0, :16] = x[1, 32:] = -np.inf
    x[2, :20] = x[2, 24:] = -np.inf
    return labelled(rng, x, 16) | {"y": np.array([20, 5, int(rng.integers(20, 24))])}


TESTS = {
    "one_block": Scenario(small, forward, rtol=1e-5, atol=1e-5, cases=2),
    "many_blocks": Scenario(long_rows, forward, rtol=1e-5, atol=1e-5, cases=2),
    "gradient": Scenario(half, backward, rtol=2e-3, atol=1e-6, cases=2),
    "huge_logits": Scenario(huge, forward, rtol=1e-5, atol=1e-5, cases=2),
    "rows_apart": Scenario(apart, forward_and_backward_apart, rtol=1e-5, atol=1e-5, cases=2),
    "ignored": Scenario(some_ignored, forward_and_backward, rtol=1e-5, atol=1e-5, cases=2),
    "masked_classes": Scenario(masked, forward, rtol=1e-5, atol=1e-5, cases=2),
}

LOAD = 'x = tl.load(X + row * stride + j, mask=j < V, other=float("-inf")).to(tl.float32)'
LOOP = "    for start in range(0, V, BLOCK):\n        j = start"
NEW = "m_new = tl.maximum(m, tl.max(x, axis=0))"
SHIFT = 'shift = tl.where(m_new == float("-inf"), 0.0, m_new)'
SUM = "s = s * tl.exp(m - shift) + tl.sum(tl.exp(x - shift), axis=0)"
LABEL = "x_y = tl.load(X + row * stride + y, mask=counts, other=0.0)"
LOSS = "loss = tl.where(counts, tl.log(s) + (m - x_y), 0.0)"
LOAD_BACK = 'logits = tl.load(X + row * stride + k, mask=k < V, other=float("-inf")).to(tl.float32)'
BACK = "    for start in range(0, V, BLOCK):\n        k = start"
D = "d = scale * (tl.exp(logits - m) / total - tl.where(k == y, 1.0, 0.0))"
IGNORED = "        d = tl.where(y == ignore_index, 0.0, d)\n"
STORE = "tl.store(DX + row * V + k, d.to(DX.dtype.element_ty), mask=k < V)"

MISCONCEPTIONS = [
    Misconception("first_block", {LOOP: "    for start in range(0, 1):\n        j = start"},
                  "the forward kernel reads only the first block of a row: walk through all of it.",
                  "前向内核只读了一行的第一块：要一块一块走完整行。"),
    Misconception("whole_blocks",
                  {LOOP: "    for start in range(0, V - V % BLOCK, BLOCK):\n        j = start"},
                  "the last, shorter block of a row is left out.", "最后那个不满的块漏掉了。"),
    Misconception("not_masked", {LOAD: "x = tl.load(X + row * stride + j).to(tl.float32)"},
                  "the forward load has no mask: the last block reads on into the next row, and beyond the "
                  "array, where nan lies here.",
                  "前向的加载没有掩码：最后一块一直读到下一行，甚至数组之外，那里是 nan。"),
    Misconception("zero_beyond",
                  {LOAD: "x = tl.load(X + row * stride + j, mask=j < V, other=0.0).to(tl.float32)"},
                  "places beyond the row come in as 0: each adds its exponential to the sum, and wins the "
                  "maximum of a row of negative numbers.",
                  "行外的位置以 0 参加了计算：每个都给和添上一份，碰上一整行负数还会成为最大值。"),
    Misconception("not_corrected", {SUM: "s = s + tl.sum(tl.exp(x - shift), axis=0)"},
                  "when the maximum grows, what was summed before still refers to the old one: it has to be "
                  "corrected.",
                  "最大值变大时，之前累加的和仍以旧的最大值为基准：要校正。"),
    Misconception("corrected_inversely", {SUM: "s = s * tl.where(s == 0.0, 1.0, tl.exp(shift - m)) + "
                                               "tl.sum(tl.exp(x - shift), axis=0)"},
                  "the correction is upside down: when the maximum grows, the old sum becomes smaller.",
                  "校正因子写反了：最大值变大时，旧的和应当变小。"),
    Misconception("everything_corrected", {SUM: "s = (s + tl.sum(tl.exp(x - shift), axis=0)) * "
                                                "tl.where(s == 0.0, 1.0, tl.exp(m - shift))"},
                  "the correction is applied to the new block as well: it belongs to the old sum only.",
                  "校正把新的一块也乘上了：它只属于旧的和。"),
    Misconception("block_maximum", {NEW: "m_new = tl.max(x, axis=0)"},
                  "m is the maximum of the last block only: compare with the one so far.",
                  "m 只是最后一块的最大值：要和到目前为止的比较。"),
    Misconception("no_maximum", {SUM: "s = s + tl.sum(tl.exp(x), axis=0)", LOSS:
                                 "loss = tl.where(counts, tl.log(s) - x_y, 0.0)"},
                  "the sum is one of e^x itself: it overflows for large logits, and vanishes for very "
                  "negative ones.",
                  "累加的是 e^x 本身：logits 大了会上溢，负得多了又成了 0。"),
    Misconception("infinity_minus_infinity", {SHIFT: "shift = m_new"},
                  "a first block of nothing but -inf gives -inf - (-inf) = nan.",
                  "第一块全是 -inf 时，就成了 -inf - (-inf) = nan。"),
    Misconception("rows_by_length", {LOAD: LOAD.replace("row * stride", "row * V"),
                                     LABEL: LABEL.replace("row * stride", "row * V")},
                  "the forward kernel takes row r to begin at r V: rows lie `stride` apart.",
                  "前向内核以为第 r 行从 r V 开始：相邻两行相隔的是 `stride`。"),
    Misconception("label_by_length", {LABEL: LABEL.replace("row * stride", "row * V")},
                  "the label's logit is fetched from the wrong row: it, too, begins at r stride.",
                  "取标签的 logit 时行的起点不对：同样要从 r stride 开始。"),
    Misconception("no_label", {LOSS: "loss = tl.where(counts, tl.log(s) + m, 0.0)"},
                  "this is the log-sum-exp: the label's logit is not taken away.",
                  "这是 log-sum-exp：没有减去标签的 logit。"),
    Misconception("maximum_lost", {LOSS: "loss = tl.where(counts, tl.log(s) - x_y, 0.0)"},
                  "s is relative to m, so m has to come back into the loss.",
                  "s 是相对 m 算的，损失里要把 m 加回来。"),
    Misconception("sign", {LOSS: "loss = tl.where(counts, (x_y - m) - tl.log(s), 0.0)"},
                  "this is the log-probability, which is at most 0; the loss is its negative.",
                  "这是对数概率，总不大于 0；损失是它的相反数。"),
    Misconception("not_the_logarithm", {LOSS: "loss = tl.where(counts, s + (m - x_y), 0.0)"},
                  "the logarithm of the sum is missing.", "漏了对和取对数。"),
    Misconception("ignored_counts", {LOSS: "loss = tl.log(s) + (m - x_y)"},
                  "rows to be ignored have a loss: it should be 0.", "要忽略的行也有损失：应当是 0。"),
    Misconception("ignored_gradient", {IGNORED: ""},
                  "rows to be ignored have a gradient: it should be 0.", "要忽略的行也有梯度：应当是 0。"),
    Misconception("sums_not_stored", {"    tl.store(S + row, s)\n": ""},
                  "S is never written (77 is what was there before): the gradient needs it.",
                  "S 没有写（77 是原来放在那里的数）：梯度要用它。"),
    Misconception("back_not_walked", {BACK: "    for start in range(0, 1):\n        k = start"},
                  "the gradient's columns from BLOCK on are never written: walk through the row in blocks.",
                  "梯度从第 BLOCK 列起没有写过：要一块一块走完整行。"),
    Misconception("back_no_label", {D: "d = scale * (tl.exp(logits - m) / total)"},
                  "this is the softmax: the label's column needs 1 less.",
                  "这只是 softmax：标签那一列还要减 1。"),
    Misconception("back_not_normalised", {D: "d = scale * (tl.exp(logits - m) - tl.where(k == y, 1.0, 0.0))"},
                  "e^(x - m) is not a probability yet: the sum is missing.",
                  "e^(x - m) 还不是概率：漏了除以和。"),
    Misconception("back_no_scale", {D: "d = tl.exp(logits - m) / total - tl.where(k == y, 1.0, 0.0)"},
                  "the factor scale is missing in the gradient.", "梯度里漏了因子 scale。"),
    Misconception("back_half_scaled",
                  {D: "d = scale * tl.exp(logits - m) / total - tl.where(k == y, 1.0, 0.0)"},
                  "only the softmax is scaled, not the 1 that is taken away.",
                  "只有 softmax 乘了 scale，减去的 1 没有乘。"),
    Misconception("label_in_block", {D: D.replace("k == y", "k - start == y")},
                  "the label is compared with the place in the block, so that the wrong columns lose 1.",
                  "标签是和块里的位置比较的，减 1 减错了地方。"),
    Misconception("back_by_length", {LOAD_BACK: LOAD_BACK.replace("row * stride", "row * V")},
                  "the backward kernel takes row r of X to begin at r V: rows lie `stride` apart.",
                  "反向内核以为 X 的第 r 行从 r V 开始：相邻两行相隔的是 `stride`。"),
    Misconception("stored_apart", {STORE: STORE.replace("row * V", "row * stride")},
                  "DX is written `stride` apart: its rows have no gaps.",
                  "DX 按 `stride` 隔开写了：它的各行之间没有空隙。"),
    Misconception("stray_store", {STORE: "tl.store(DX + row * V + k, d.to(DX.dtype.element_ty))"},
                  "the last block of the gradient is stored beyond the row: the store needs the mask, too.",
                  "梯度的最后一块写到了行外：写回也要带掩码。"),
    Misconception("two_sweeps", {
        LOOP: "    for start in range(0, V, BLOCK):\n"
              "        i = start + tl.arange(0, BLOCK)\n"
              '        m = tl.maximum(m, tl.max(tl.load(X + row * stride + i, mask=i < V, '
              'other=float("-inf"))'
              ".to(tl.float32), axis=0))\n"
              "    for start in range(0, V, BLOCK):\n        j = start",
        NEW: "m_new = m", LOSS: "loss = tl.where(counts, (m + tl.log(s)) - x_y, 0.0)"}, "", "",
        equivalent=True),
    Misconception("other_order", {
        D: "d = tl.exp(logits - m - tl.log(total)) * scale\n        d = tl.where(k == y, d - scale, d)",
        LABEL: "x_y = tl.load(X + row * stride + tl.where(counts, y, 0))"}, "", "", equivalent=True),
]
