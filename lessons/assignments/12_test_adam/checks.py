"""Grading of tests: the misconceptions here are the wrong versions of `adam_step` that they should catch."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def how_far(rng):
    return {"factor": np.array(rng.uniform(0.5, 2))}


def plain_cases(student, inputs):
    """Each test by itself on four versions; the names of tests come back as bytes."""
    import inspect

    def right(theta, g, m, v, t, *, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        m, v = m + (1 - beta1) * (g - m), v + (1 - beta2) * (g * g - v)
        return theta - alpha * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)) ** 0.5 + eps), m, v

    def still(theta, g, m, v, t, *, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        return np.array(theta), np.array(m), np.array(v)

    def nothing(theta, g, m, v, t, *, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        return None

    def too_far(theta, g, m, v, t, *, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        new, m, v = right(theta, g, m, v, t, alpha=alpha, beta1=beta1, beta2=beta2, eps=eps)
        return new + 10 * float(inputs["factor"]), m, v

    tests = {name: f for name, f in vars(student).items() if name.startswith("test_") and inspect.isfunction(f)}
    without = [name for name, f in tests.items() if "adam_step" not in inspect.signature(f).parameters]
    strict, unwritten, caught = [], [], np.zeros(3, bool)
    for name in tests.keys() - {*without}:
        passes = []
        for version in (right, still, nothing, too_far):
            try:
                tests[name](adam_step=version)
                passes.append(True)
            except NotImplementedError:
                unwritten.append(name)  # left as it was handed out
                break
            except Exception:
                passes.append(False)
        if name in unwritten:
            continue
        if passes[0]:
            caught |= ~np.array(passes[1:])
        else:
            strict.append(name)
    if unwritten and len(unwritten) + len(without) == len(tests):
        raise NotImplementedError("write a test")
    return {"tests": np.array(len(tests) - len(without)), "caught": caught,
            "strict": np.frombuffer(", ".join(sorted(strict)).encode(), np.uint8),
            "without": np.frombuffer(", ".join(without).encode(), np.uint8)}


def plain_problem(got, want, inputs):
    """What is wrong, or ("right", ...) with a word on tests that do not count."""
    strict, without = (bytes(np.ravel(got[name])).decode() for name in ("strict", "without"))
    en, zh = [], []
    if without:
        en.append(f"{without}: not counted; a test takes the function as an argument: def test_...(adam_step)")
        zh.append(f"{without} 不计入：测试要把函数作为参数，def test_...(adam_step)")
    if strict:
        en.append(f"{strict}: not counted, and costs points, for a version that is right, though written "
                  "another way, is rejected: leave room for rounding, and look at whether every number is right")
        zh.append(f"{strict} 不计入，还会扣分：拒绝了一个正确的版本，它只是写法不同；给舍入误差留点余地，再核对里面的每个数")
    if not got["tests"]:
        en.append("there is no test: a test is a function test_...(adam_step)")
        zh.append("没有测试：测试是形如 test_...(adam_step) 的函数")
    elif not np.all(got["caught"]):
        missed = int(np.argmin(got["caught"]))
        en.append("all tests that count accept a version that " + (
            "returns its arguments unchanged", "returns nothing", "goes much too far")[missed])
        zh.append(f"计入的测试全都接受了一个{('原样返回参数', '什么都不返回', '一步走得太远')[missed]}的版本")
    elif not strict:
        return ("right", "; ".join(en), "；".join(zh)) if en else None
    return "; ".join(en), "；".join(zh)


M, V = "    m = beta1 * m + (1 - beta1) * g\n", "    v = beta2 * v + (1 - beta2) * g**2\n"
M_HAT, V_HAT = "m / (1 - beta1**t)", "v / (1 - beta2**t)"
UPDATE = "theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat"

PLAIN = [
    Misconception("does_nothing", {UPDATE: "return np.array(theta), m, v"},
                  "never moves the parameters.", "参数原地不动。"),
    Misconception("returns_nothing", {"    return theta, m, v": "    return None"},
                  "returns nothing.", "什么都不返回。"),
    Misconception("too_far", {UPDATE: UPDATE + " + 10"},
                  "goes much too far.", "一步走得太远。"),
]

MISCONCEPTIONS = [
    *PLAIN,
    Misconception("uncorrected", {M_HAT: "m", V_HAT: "v"},
                  "has no bias corrections.", "没有做偏差修正。"),
    Misconception("v_uncorrected", {V_HAT: "v"},
                  "does not correct v.", "没有修正 v。"),
    Misconception("always_first", {M_HAT: "m / (1 - beta1)", V_HAT: "v / (1 - beta2)"},
                  "corrects as if every step were the first.", "每一步都按第一步来修正。"),
    Misconception("corrected_early_only", {M_HAT: "m / (1 - beta1**t if t <= 10 else 1)",
                                           V_HAT: "v / (1 - beta2**t if t <= 10 else 1)"},
                  "leaves the corrections out after ten steps.", "十步之后就不再修正。"),
    Misconception("betas_swapped", {M: "    m = beta2 * m + (1 - beta2) * g\n",
                                    V: "    v = beta1 * v + (1 - beta1) * g**2\n",
                                    M_HAT: "m / (1 - beta2**t)", V_HAT: "v / (1 - beta1**t)"},
                  "has beta1 and beta2 exchanged.", "beta1 和 beta2 用反了。"),
    Misconception("betas_fixed", {M: "    beta1, beta2 = 0.9, 0.999\n" + M},
                  "does not use the betas it is given.", "没有用上传进来的 beta。"),
    Misconception("another_default", {"beta2: float = 0.999": "beta2: float = 0.99"},
                  "has another default for beta2.", "beta2 的默认值不对。"),
    Misconception("rate_fixed", {UPDATE: "theta = theta - 1e-3 / (np.sqrt(v_hat) + eps) * m_hat"},
                  "does not use the learning rate.", "没有用上学习率。"),
    Misconception("averaged_square", {V: "    v = beta2 * v + (1 - beta2) * np.mean(g**2)\n"},
                  "gives all parameters the same v.", "让所有参数用同一个 v。"),
    Misconception("old_moments", {M: "    old_m, m = m, beta1 * m + (1 - beta1) * g\n",
                                  V: "    old_v, v = v, beta2 * v + (1 - beta2) * g**2\n",
                                  M_HAT: "np.where(t > 1, old_m, m) / (1 - beta1**t)",
                                  V_HAT: "np.where(t > 1, old_v, v) / (1 - beta2**t)"},
                  "moves with the moments of the step before.", "用上一步的矩来移动。"),
    Misconception("stores_corrected", {"    return theta, m, v": "    return theta, m_hat, v_hat"},
                  "returns the corrected moments.", "返回了修正之后的矩。"),
    Misconception("eps_inside", {"np.sqrt(v_hat) + eps": "np.sqrt(v_hat + eps)"},
                  "has eps inside the root.", "把 eps 放进了根号里。"),
    Misconception("no_eps", {"alpha / (np.sqrt(v_hat) + eps)": "alpha / np.sqrt(v_hat)"},
                  "divides by 0 where the gradient was always 0.", "梯度一直为 0 的地方会除以 0。"),
    Misconception("uphill", {"theta = theta - alpha": "theta = theta + alpha"},
                  "goes uphill.", "走成了上坡。"),
    Misconception("one_direction", {UPDATE: "theta = theta - alpha / (np.sqrt(v_hat) + eps) * np.abs(m_hat)"},
                  "moves all parameters in one direction.", "让所有参数朝同一个方向走。"),
    Misconception("decays", {UPDATE: UPDATE + " - 0.01 * alpha * theta"},
                  "decays the parameters as well.", "还顺带做了权重衰减。"),
    Misconception("moments_in_place", {M: "    m *= beta1\n    m += (1 - beta1) * g\n",
                                       V: "    v *= beta2\n    v += (1 - beta2) * g**2\n"},
                  "writes into the moments that it is given.", "会写进传进来的矩。"),
    Misconception("theta_in_place", {UPDATE: "theta -= alpha / (np.sqrt(v_hat) + eps) * m_hat"},
                  "writes into the parameters that it is given.", "会写进传进来的参数。"),
    Misconception("by_differences",
                  {M: "    m = m + (1 - beta1) * (g - m)\n", V: "    v = v + (1 - beta2) * (g * g - v)\n"},
                  "", "", equivalent=True),
    Misconception("rate_corrected",
                  {"m_hat = " + M_HAT: "rate = alpha * np.sqrt(1 - beta2**t) / (1 - beta1**t)",
                   "v_hat = " + V_HAT: "scale = eps * np.sqrt(1 - beta2**t)",
                   UPDATE: "theta = theta - rate * m / (np.sqrt(v) + scale)"},
                  "", "", equivalent=True),
    Misconception("copies_in_place", {M: "    theta, m, v = np.array(theta), np.array(m), np.array(v)\n"
                                         "    m *= beta1\n    m += (1 - beta1) * g\n",
                                      UPDATE: "theta -= alpha * m_hat / (np.sqrt(v_hat) + eps)"},
                  "", "", equivalent=True),
]

TESTS = {
    # On the student's machine `plain_cases` runs; graded it is by the same kinds of versions, out of sight.
    "plain_cases": Scenario(how_far, plain_cases, plain_problem, cases=1, mutation=("adam_step",),
                            versions=(*(m.key for m in PLAIN), "by_differences")),
    "wrong_versions": Scenario(mutation=("adam_step",),
                               versions=tuple(m.key for m in MISCONCEPTIONS if m not in PLAIN)),
}
