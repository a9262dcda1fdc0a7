"""Tests and misconceptions of the assignment on Adam."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def first(rng):
    n = int(rng.integers(4, 9))
    g = rng.choice([-1, 1], n) * rng.uniform(0.3, 3, n)
    g[rng.integers(n)] = 0.0  # a parameter that the loss does not depend on
    return {"theta": rng.normal(size=n), "g": g, "m": np.zeros(n), "v": np.zeros(n), "t": np.array(1)}


def any_step(rng):
    shape = tuple(rng.integers(1, 5, int(rng.integers(1, 4))))
    return {"theta": rng.normal(size=shape), "g": rng.normal(size=shape), "m": rng.normal(size=shape),
            "v": rng.uniform(0.1, 2, shape), "t": np.array(rng.integers(2, 50))}


def step(student, inputs):
    theta, m, v = student.adam_step(inputs["theta"], inputs["g"], inputs["m"], inputs["v"], int(inputs["t"]))
    return {"theta": theta, "m": m, "v": v}


def moments(student, inputs):
    _, m, v = student.adam_step(inputs["theta"], inputs["g"], inputs["m"], inputs["v"], int(inputs["t"]))
    return {"m": m, "v": v}


def with_options(rng):
    return any_step(rng) | {"options": np.array([rng.uniform(0.01, 1), rng.uniform(0.4, 0.9),
                                                 rng.uniform(0.5, 0.99), rng.uniform(0.01, 0.5)]),
                            "t": np.array(rng.integers(2, 6))}


def step_with_options(student, inputs):
    alpha, beta1, beta2, eps = map(float, inputs["options"])
    theta, m, v = student.adam_step(inputs["theta"], inputs["g"], inputs["m"], inputs["v"], int(inputs["t"]),
                                    alpha=alpha, beta1=beta1, beta2=beta2, eps=eps)
    return {"theta": theta, "m": m, "v": v}


def bowl(rng):
    """Steep in some directions, nearly flat in one: there eps is no longer small beside the gradient."""
    return {"start": rng.choice([-1, 1], 6) * rng.uniform(1, 5, 6), "widths":
            np.append(rng.uniform(0.1, 10, 5), 1e-4)}


def hundred_steps(student, inputs):
    theta = inputs["start"]
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    path = []
    for t in range(1, 101):
        theta, m, v = student.adam_step(theta, inputs["widths"] * theta, m, v, t, alpha=0.05)
        path.append(np.array(theta))
    return {"path": np.array(path)}


def arguments_after(student, inputs):
    given = {k: np.array(inputs[k]) for k in ("theta", "g", "m", "v")}
    new = student.adam_step(given["theta"], given["g"], given["m"], given["v"], int(inputs["t"]))
    return {f"{k}_afterwards": a for k, a in given.items()} | {f"new_{k}": a for k, a in zip(("theta", "m", "v"), new)}


TESTS = {
    "first_step": Scenario(first, step),
    "any_step": Scenario(any_step, step),
    "moments": Scenario(any_step, moments),
    "options": Scenario(with_options, step_with_options),
    "descends": Scenario(bowl, hundred_steps, cases=2),
    "inputs_kept": Scenario(any_step, arguments_after),
}

M, V = "m = beta1 * m + (1 - beta1) * g\n", "v = beta2 * v + (1 - beta2) * g**2\n"
M_HAT, V_HAT = "m / (1 - beta1**t)", "v / (1 - beta2**t)"
UPDATE = "theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat"

MISCONCEPTIONS = [
    Misconception("uncorrected", {M_HAT: "m", V_HAT: "v"},
                  "both bias corrections are missing: the first step is about three times too long.",
                  "两个偏差修正都漏了：第一步会大约长三倍。"),
    Misconception("v_uncorrected", {V_HAT: "v"},
                  "v is not corrected for its start at 0.", "v 从 0 开始，却没有做偏差修正。"),
    Misconception("m_uncorrected", {M_HAT: "m"},
                  "m is not corrected for its start at 0.", "m 从 0 开始，却没有做偏差修正。"),
    Misconception("times_t", {M_HAT: "m / (1 - beta1 * t)", V_HAT: "v / (1 - beta2 * t)"},
                  "in the corrections t multiplies beta; it should be its exponent.",
                  "偏差修正里把 beta 乘以了 t；t 应该是指数。"),
    Misconception("count_from_zero", {M_HAT: "m / (1 - beta1**(t - 1))", V_HAT: "v / (1 - beta2**(t - 1))"},
                  "the corrections count the steps from 0, and divide by 0 in the first one. The t that "
                  "comes in is 1 there already.",
                  "偏差修正里的步数是从 0 数起的，第一步就除以了 0。传进来的 t 在第一步已经是 1。"),
    Misconception("count_too_far", {M_HAT: "m / (1 - beta1**(t + 1))", V_HAT: "v / (1 - beta2**(t + 1))"},
                  "the corrections count one step too far: in the first step t is 1, not 2.",
                  "偏差修正多数了一步：第一步的 t 是 1，不是 2。"),
    Misconception("eps_inside", {"np.sqrt(v_hat) + eps": "np.sqrt(v_hat + eps)"},
                  "eps is inside the root; the article has it outside.", "eps 放进了根号里；文章里它在根号外。"),
    Misconception("no_eps", {"(np.sqrt(v_hat) + eps)": "np.sqrt(v_hat)"},
                  "eps is missing: where the gradient was always 0, this divides 0 by 0.",
                  "漏了 eps：梯度一直为 0 的地方，就成了 0 除以 0。"),
    Misconception("no_root", {"np.sqrt(v_hat) + eps": "v_hat + eps"},
                  "the square root of the second moment is missing: v is in units of the gradient squared.",
                  "漏了对二阶矩开方：v 的单位是梯度的平方。"),
    Misconception("no_square", {"g**2": "g"},
                  "v averages the gradient itself; the second moment is the average of its square.",
                  "v 平均的是梯度本身；二阶矩是梯度平方的平均。"),
    Misconception("sum_of_m", {M: "m = beta1 * m + g\n"},
                  "the new gradient in m lacks its weight: this is momentum's sum, not an average.",
                  "m 里新的梯度漏了权重：这是动量里的累加，不是平均。"),
    Misconception("sum_of_v", {V: "v = beta2 * v + g**2\n"},
                  "the new square in v lacks its weight: a moment is an average, not a sum.",
                  "v 里新的平方漏了权重：矩是平均，不是累加。"),
    Misconception("weights_swapped", {M: "m = (1 - beta1) * m + beta1 * g\n",
                                      V: "v = (1 - beta2) * v + beta2 * g**2\n"},
                  "the weights of old and new are exchanged: beta belongs to what was there before.",
                  "新旧两份的权重弄反了：beta 属于原来的那一份。"),
    Misconception("old_moments", {M: "m_old, m = m, beta1 * m + (1 - beta1) * g\n",
                                  V: "v_old, v = v, beta2 * v + (1 - beta2) * g**2\n",
                                  M_HAT: "m_old / (1 - beta1**t)", V_HAT: "v_old / (1 - beta2**t)"},
                  "theta is moved with the moments of the step before: they are to be updated first.",
                  "更新 theta 用的是上一步的矩；要先更新两个矩。"),
    Misconception("stores_corrected", {"    return theta, m, v": "    return theta, m_hat, v_hat"},
                  "theta is right, but the corrected moments are returned: the next step needs the plain "
                  "ones.",
                  "theta 是对的，但返回了修正之后的矩；下一步要用的是未修正的矩。"),
    Misconception("only_the_step", {UPDATE: "theta = -alpha / (np.sqrt(v_hat) + eps) * m_hat"},
                  "what is returned as theta is the step alone: the step has to be added to the old theta.",
                  "返回的 theta 只是这一步的变化量，还要加到原来的 theta 上。"),
    Misconception("uphill", {"theta = theta - alpha": "theta = theta + alpha"},
                  "the step goes uphill.", "走成了上坡。"),
    Misconception("betas_swapped", {M: "m = beta2 * m + (1 - beta2) * g\n",
                                    V: "v = beta1 * v + (1 - beta1) * g**2\n",
                                    M_HAT: "m / (1 - beta2**t)", V_HAT: "v / (1 - beta1**t)"},
                  "beta1 and beta2 are swapped.", "beta1 和 beta2 用反了。"),
    Misconception("in_place", {M: "m *= beta1\n    m += (1 - beta1) * g\n",
                               V: "v *= beta2\n    v += (1 - beta2) * g**2\n"},
                  "the moments that were passed in are changed: += and *= write into the caller's arrays.",
                  "传进来的矩被改动了：+= 和 *= 会写进调用者的数组。"),
    Misconception("theta_in_place", {UPDATE: "theta -= alpha / (np.sqrt(v_hat) + eps) * m_hat"},
                  "the theta that was passed in is changed: -= writes into the caller's array.",
                  "传进来的 theta 被改动了：-= 会写进调用者的数组。"),
    Misconception("another_order",
                  {UPDATE: "theta = theta - alpha * m_hat / (eps + v_hat**0.5)", "g**2": "g * g"},
                  "", "", equivalent=True),
    Misconception("rate_corrected",
                  {"m_hat = " + M_HAT: "rate = alpha * np.sqrt(1 - beta2**t) / (1 - beta1**t)",
                   "v_hat = " + V_HAT: "scale = eps * np.sqrt(1 - beta2**t)",
                   UPDATE: "theta = theta - rate * m / (np.sqrt(v) + scale)"},
                  "", "", equivalent=True),
]
