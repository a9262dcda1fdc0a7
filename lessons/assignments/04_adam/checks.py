"""Tests and misconceptions of the assignment on Adam."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def first(rng):
    n = int(rng.integers(3, 9))
    return {"theta": rng.normal(size=n), "g": rng.normal(size=n), "m": np.zeros(n), "v": np.zeros(n),
            "t": np.array(1)}


def any_step(rng):
    shape = tuple(rng.integers(1, 5, int(rng.integers(1, 4))))
    return {"theta": rng.normal(size=shape), "g": rng.normal(size=shape), "m": rng.normal(size=shape),
            "v": rng.uniform(0.1, 2, shape), "t": rng.integers(2, 50)}


def step(student, inputs):
    theta, m, v = student.adam_step(inputs["theta"], inputs["g"], inputs["m"], inputs["v"], int(inputs["t"]))
    return {"theta": theta, "m": m, "v": v}


def with_options(rng):
    return any_step(rng) | {"options": np.array([rng.uniform(0.01, 1), rng.uniform(0.1, 0.9),
                                                 rng.uniform(0.5, 0.99), rng.uniform(0.01, 0.5)])}


def step_with_options(student, inputs):
    alpha, beta1, beta2, eps = map(float, inputs["options"])
    theta, m, v = student.adam_step(inputs["theta"], inputs["g"], inputs["m"], inputs["v"], int(inputs["t"]),
                                    alpha=alpha, beta1=beta1, beta2=beta2, eps=eps)
    return {"theta": theta, "m": m, "v": v}


def bowl(rng):
    return {"start": rng.normal(size=6) * 3, "widths": rng.uniform(0.1, 10, 6)}


def hundred_steps(student, inputs):
    theta = inputs["start"]
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    path = []
    for t in range(1, 101):
        theta, m, v = student.adam_step(theta, inputs["widths"] * theta, m, v, t, alpha=0.05)
        path.append(theta)
    return {"path": np.array(path)}


def arguments_after(student, inputs):
    given = {k: np.array(inputs[k]) for k in ("theta", "g", "m", "v")}
    new = student.adam_step(given["theta"], given["g"], given["m"], given["v"], int(inputs["t"]))
    return {"result": np.array(new)} | given


TESTS = {
    "first_step": Scenario(first, step),
    "any_step": Scenario(any_step, step),
    "options": Scenario(with_options, step_with_options),
    "descends": Scenario(bowl, hundred_steps, cases=2),
    "inputs_kept": Scenario(any_step, arguments_after),
}

MISCONCEPTIONS = [
    Misconception("uncorrected", {"m / (1 - beta1**t)": "m", "v / (1 - beta2**t)": "v"},
                  "both bias corrections are missing: the first step is about three times too long.",
                  "两个偏差修正都漏了：第一步会大约长三倍。"),
    Misconception("v_uncorrected", {"v / (1 - beta2**t)": "v"},
                  "v is not corrected for its start at 0.", "v 从 0 开始，却没有做偏差修正。"),
    Misconception("m_uncorrected", {"m / (1 - beta1**t)": "m"},
                  "m is not corrected for its start at 0.", "m 从 0 开始，却没有做偏差修正。"),
    Misconception("eps_inside", {"np.sqrt(v_hat) + eps": "np.sqrt(v_hat + eps)"},
                  "eps is inside the root; the article has it outside.", "eps 放进了根号里；文章里它在根号外。"),
    Misconception("no_root", {"np.sqrt(v_hat) + eps": "v_hat + eps"},
                  "the square root of the second moment is missing.", "漏了对二阶矩开方。"),
    Misconception("stores_corrected", {"    return theta, m, v": "    return theta, m_hat, v_hat"},
                  "theta is right, but the corrected moments are returned: the next step needs the plain ones.",
                  "theta 是对的，但返回了修正之后的矩；下一步要用的是未修正的矩。"),
    Misconception("uphill", {"theta = theta - alpha": "theta = theta + alpha"},
                  "the step goes uphill.", "走成了上坡。"),
    Misconception("betas_swapped", {"m = beta1 * m + (1 - beta1) * g": "m = beta2 * m + (1 - beta2) * g",
                                    "v = beta2 * v + (1 - beta2) * g**2": "v = beta1 * v + (1 - beta1) * g**2",
                                    "m / (1 - beta1**t)": "m / (1 - beta2**t)",
                                    "v / (1 - beta2**t)": "v / (1 - beta1**t)"},
                  "beta1 and beta2 are swapped.", "beta1 和 beta2 用反了。"),
    Misconception("in_place", {"    m = beta1 * m + (1 - beta1) * g": "    m *= beta1\n    m += (1 - beta1) * g",
                               "    v = beta2 * v + (1 - beta2) * g**2":
                                   "    v *= beta2\n    v += (1 - beta2) * g**2"},
                  "the arrays that were passed in are changed: += and *= write into them.",
                  "传进来的数组被改动了：+= 和 *= 会写进原数组。"),
]
