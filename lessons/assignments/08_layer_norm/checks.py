"""Tests and misconceptions of the assignment on layer normalisation."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def layer(rng):
    B, T, C = (int(n) for n in rng.choice([2, 3, 4, 5, 6, 7], 3, replace=False))
    return {"x": rng.normal(size=(B, T, C)) * 2 + 1, "gamma": rng.uniform(0.5, 2, C), "beta":
            rng.normal(size=C),
            "dy": rng.normal(size=(B, T, C)), "eps": np.array(rng.uniform(0.05, 0.5))}


def forward(student, inputs):
    x, gamma, beta = inputs["x"], inputs["gamma"], inputs["beta"]
    return {"y": student.layer_norm(np.array(x), gamma, beta),
            "one_position": student.layer_norm(np.array(x[0, 0]), gamma, beta),
            "with_eps": student.layer_norm(np.array(x), gamma, beta, eps=float(inputs["eps"]))}


def gain_and_bias(student, inputs):
    x, dy = np.array(inputs["x"]), np.array(inputs["dy"])
    _, dgamma, dbeta = student.layer_norm_backward(dy, x, inputs["gamma"], eps=float(inputs["eps"]))
    _, flat_gamma, flat_beta = student.layer_norm_backward(dy[0], x[0], inputs["gamma"])
    return {"dgamma": dgamma, "dbeta": dbeta, "dgamma_of_two_axes": flat_gamma, "dbeta_of_two_axes":
            flat_beta}


def input_gradient(student, inputs):
    x, dy = np.array(inputs["x"]), np.array(inputs["dy"])
    return {"dx": student.layer_norm_backward(dy, x, inputs["gamma"])[0],
            "dx_with_eps": student.layer_norm_backward(dy, x, inputs["gamma"], eps=float(inputs["eps"]))[0]}


def by_differences(student, inputs):
    """Directional derivatives of the student's own forward; the backward's arrays come back whole, for what is
    summed up here need not come from a backward."""
    x, gamma, beta, dy = (np.array(inputs[k]) for k in ("x", "gamma", "beta", "dy"))
    h = 1e-5

    def loss(x, gamma, beta):
        return float(np.sum(dy * student.layer_norm(x, gamma, beta)))

    slopes = []
    for k in range(4):
        away = np.roll(dy, k) * (k + 1)
        slopes.append((loss(x + h * away, gamma, beta) - loss(x - h * away, gamma, beta)) / (2 * h))
    to = np.roll(gamma, 1)
    slopes.append((loss(x, gamma + h * to, beta) - loss(x, gamma - h * to, beta)) / (2 * h))
    slopes.append((loss(x, gamma, beta + h * to) - loss(x, gamma, beta - h * to)) / (2 * h))
    dx, dgamma, dbeta = student.layer_norm_backward(dy, x, gamma)
    return {"differences": np.array(slopes), "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def hard_rows(rng):
    C = int(rng.integers(4, 8))
    x = rng.normal(size=(4, C))
    x[0] = rng.uniform(0.5, 2)  # nothing varies: only eps keeps the root away from 0
    x[1] = x[1] * 1e-3
    x[2] += 1e7
    return {"x": x, "gamma": rng.uniform(0.5, 2, C), "beta": rng.normal(size=C)}


def without_bias(student, inputs):
    return {"y": student.layer_norm(np.array(inputs["x"]), inputs["gamma"], inputs["beta"]),
            "without_bias": student.layer_norm(np.array(inputs["x"]), inputs["gamma"])}


def rms(student, inputs):
    x, gamma = inputs["x"], inputs["gamma"]
    return {"y": student.rms_norm(np.array(x), gamma), "of_small_numbers": student.rms_norm(1e-3 * x, gamma),
            "with_eps": student.rms_norm(np.array(x), gamma, eps=float(inputs["eps"]))}


TESTS = {
    "forward": Scenario(layer, forward),
    "gain_and_bias": Scenario(layer, gain_and_bias),
    "input_gradient": Scenario(layer, input_gradient),
    "differences": Scenario(layer, by_differences, rtol=1e-6, atol=1e-6),
    "hard_rows": Scenario(hard_rows, without_bias, rtol=1e-5, atol=1e-7),
    "rms": Scenario(layer, rms),
}

CENTRED = "centred = x - np.mean(x, axis=-1, keepdims=True)"
VARIANCE = "variance = np.mean(np.square(centred), axis=-1, keepdims=True)"
Y = "y = gamma * (centred / np.sqrt(variance + eps))"
BIAS = "return y if beta is None else y + beta"
RMS = "return gamma * (x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps))"
ROOT = "root = np.sqrt(np.mean((x - mu)**2, axis=-1, keepdims=True) + eps)"
POSITIONS = "positions = tuple(range(x.ndim - 1))"
DGAMMA, DBETA = "dgamma = np.sum(dy * h, axis=positions)", "dbeta = np.sum(dy, axis=positions)"
D, MEANS = "d = gamma * dy\n", "means = np.mean(d, axis=-1, keepdims=True)"
PRODUCTS, DX = "products = np.mean(d * h, axis=-1, keepdims=True)", "dx = (d - means - h * products) / root"

MISCONCEPTIONS = [
    Misconception("not_centred", {CENTRED: "centred = x"},
                  "the mean is not taken away: that is RMS normalisation.", "没有减去均值：那是均方根归一化。"),
    Misconception("one_mean_for_all", {CENTRED: "centred = x - np.mean(x)",
                                       VARIANCE: "variance = np.mean(np.square(centred))"},
                  "mean and variance are those of the whole array: each position has its own.",
                  "均值和方差是整个数组的：每个位置要用自己的。"),
    Misconception("batch_axis", {CENTRED: "centred = x - np.mean(x, axis=0, keepdims=True)",
                                 VARIANCE: "variance = np.mean(np.square(centred), axis=0, keepdims=True)"},
                  "this normalises along the batch (batch normalisation): layer normalisation goes along the "
                  "last axis.",
                  "这是沿着批做归一化（批归一化）：层归一化沿最后一个轴。"),
    Misconception("one_less", {VARIANCE: "variance = np.sum(np.square(centred), axis=-1, keepdims=True) / "
                                         "max(x.shape[-1] - 1, 1)"},
                  "the variance is divided by C - 1: here it is the variance of the C numbers themselves.",
                  "方差除以了 C - 1：这里要的是这 C 个数本身的方差。"),
    Misconception("no_root", {Y: "y = gamma * (centred / (variance + eps))"},
                  "this divides by the variance: the standard deviation is its root.",
                  "除以了方差：标准差是它的平方根。"),
    Misconception("eps_outside", {Y: "y = gamma * (centred / (np.sqrt(variance) + eps))"},
                  "eps is added outside the root; the formula has it inside.",
                  "eps 加在了根号外面；公式里它在根号里面。"),
    Misconception("no_eps", {Y: "y = gamma * (centred / np.sqrt(variance))"},
                  "eps is missing: a row in which nothing varies divides 0 by 0.",
                  "漏了 eps：一行全相同时，就是 0 除以 0。"),
    Misconception("eps_fixed", {Y: "y = gamma * (centred / np.sqrt(variance + 1e-5))"},
                  "eps is written into layer_norm: use the argument.",
                  "eps 写死在 layer_norm 里了：要用参数。"),
    Misconception("no_gain", {Y: "y = centred / np.sqrt(variance + eps)"},
                  "the gain gamma is missing.", "漏了增益 gamma。"),
    Misconception("gain_on_bias", {BIAS: "return y if beta is None else y + gamma * beta"},
                  "the bias is multiplied by gamma: it is added last.", "偏置也乘了 gamma：它应当最后才加。"),
    Misconception("variance_of_squares", {VARIANCE:
                                          "variance = np.mean(np.square(x), axis=-1, keepdims=True) - "
                                          "np.square(np.mean(x, axis=-1, keepdims=True))"},
                  "the variance as mean of squares minus square of mean is right on paper; with a large "
                  "offset it is the difference of two nearly equal numbers, and has no digits left. Centre "
                  "first.",
                  "用“平方的平均减去平均的平方”算方差，纸面上没错；偏移很大时，却成了两个几乎相等的数相减，有效数字全丢了。请先减均值。"),
    Misconception("rms_centred",
                  {RMS: "return gamma * ((x - np.mean(x, axis=-1, keepdims=True)) / np.sqrt(np.mean("
                                       "np.square(x), axis=-1, keepdims=True) + eps))"},
                  "rms_norm takes the mean away: RMS normalisation does not.",
                  "rms_norm 减去了均值：均方根归一化不减。"),
    Misconception("rms_sum",
                  {RMS: "return gamma * (x / np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True) + eps))"},
                  "rms_norm divides by the length of the vector: the M in RMS is a mean.",
                  "rms_norm 除以了向量的长度：均方根里的“均”是平均。"),
    Misconception("rms_eps_outside", {RMS: "return gamma * (x / (np.sqrt(np.mean(np.square(x), axis=-1, "
                                           "keepdims=True)) + eps))"},
                  "in rms_norm eps is added outside the root; the formula has it inside.",
                  "rms_norm 里 eps 加在了根号外面；公式里它在根号里面。"),
    Misconception("rms_absolute",
                  {RMS: "return gamma * (x / (np.mean(np.abs(x), axis=-1, keepdims=True) + eps))"},
                  "rms_norm divides by the mean of the sizes: it is the root of the mean of the squares.",
                  "rms_norm 除以了绝对值的平均：应是平方的平均再开方。"),
    Misconception("gain_not_summed", {DGAMMA: "dgamma = dy * h", DBETA: "dbeta = dy"},
                  "gamma and beta were broadcast to every position: on the way back their gradients are "
                  "summed.",
                  "gamma 和 beta 前向时广播到了每个位置：反向时，它们的梯度要求和。"),
    Misconception("first_axis_only", {POSITIONS: "positions = 0"},
                  "the gradients of gain and bias are summed over the first axis only: with three axes there "
                  "are two in front.",
                  "增益和偏置的梯度只沿第一个轴求了和：有三个轴时，前面是两个。"),
    Misconception("gain_averaged", {DGAMMA: "dgamma = np.mean(dy * h, axis=positions)",
                                    DBETA: "dbeta = np.mean(dy, axis=positions)"},
                  "the gradients of gain and bias are averaged over the positions: they are sums.",
                  "增益和偏置的梯度对位置取了平均：应当是和。"),
    Misconception("gain_by_x", {DGAMMA: "dgamma = np.sum(dy * x, axis=positions)"},
                  "gamma multiplies the normalised h, not x.", "gamma 乘的是归一化之后的 h，不是 x。"),
    Misconception("constant_statistics", {DX: "dx = d / root"},
                  "dx treats mean and variance as constants: they depend on every x.",
                  "dx 把均值和方差当成了常数：它们依赖于每一个 x。"),
    Misconception("constant_variance", {DX: "dx = (d - means) / root"},
                  "dx treats the variance as a constant: each x changes it, too.",
                  "dx 把方差当成了常数：每个 x 也会改变它。"),
    Misconception("constant_mean", {DX: "dx = (d - h * products) / root"},
                  "dx treats the mean as a constant: each x changes it, too.",
                  "dx 把均值当成了常数：每个 x 也会改变它。"),
    Misconception("gain_forgotten", {D: "d = dy\n"},
                  "dx lacks gamma: between h and y stands the gain.", "dx 里漏了 gamma：h 和 y 之间隔着增益。"),
    Misconception("gain_late", {D: "d = dy\n", DX: "dx = gamma * (d - means - h * products) / root"},
                  "gamma comes too late in dx: it belongs inside the means as well, since it differs from "
                  "element to element.",
                  "dx 里 gamma 乘得太晚：它因元素而异，求平均之前就要乘进去。"),
    Misconception("sums_for_means", {DX: "dx = (d - x.shape[-1] * (means + h * products)) / root"},
                  "dx takes away sums: they are means over the C elements.",
                  "dx 里减的是和：应当是对 C 个元素的平均。"),
    Misconception("root_missing", {DX: "dx = d - means - h * products"},
                  "dx is not divided by the root: h grows by 1 / root with x.",
                  "dx 没有除以那个根：x 变化 1，h 只变化 1 / 根。"),
    Misconception("sign_of_products", {DX: "dx = (d - means + h * products) / root"},
                  "the last term of dx has the wrong sign: a larger variance makes h smaller.",
                  "dx 的最后一项符号反了：方差变大，h 就变小。"),
    Misconception("backward_eps",
                  {ROOT: "root = np.sqrt(np.mean((x - mu)**2, axis=-1, keepdims=True) + 1e-5)"},
                  "the way back does not use the argument eps.", "反向没有用上参数 eps。"),
    Misconception("written_differently", {
        VARIANCE: "variance = np.var(x, axis=-1, keepdims=True)",
        Y: "y = centred * (variance + eps)**-0.5 * gamma",
        RMS: "return x * gamma / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) / x.shape[-1] + eps)"}, "", "",
                  equivalent=True),
    Misconception("flattened", {
        DGAMMA: "dgamma = (dy * h).reshape(-1, x.shape[-1]).sum(axis=0)",
        DBETA: "dbeta = dy.reshape(-1, x.shape[-1]).sum(axis=0)",
        DX: "n = x.shape[-1]\n    dx = (n * d - d.sum(-1, keepdims=True) - h * (d * h).sum(-1, "
            "keepdims=True)) / "
            "(n * root)"}, "", "", equivalent=True),
]
