"""Checks of lesson 04: Adam."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise


def average_cases(rng):
    yield np.array([2.0, 2.0, 2.0]), 0.9
    yield np.array([1.0, -3.0, 0.5, 4.0]), 0.5
    yield rng.normal(size=(6, 2, 3)), 0.99
    yield np.array([1.0, -2.0, 4.0]), 0.0


def averages(gs, beta, start=0.0, new=None, correction=None, fed_back=False):
    """The exercise, with the parts that can go wrong to choose."""
    m, found = np.zeros_like(gs[0]) + start, []
    for t, g in enumerate(gs, start=1):
        m = beta * m + ((1 - beta) if new is None else new) * g
        m_hat = m / ((1 - beta**t) if correction is None else correction(t))
        m = m_hat if fed_back else m
        found.append(m_hat)
    return np.array(found)


def no_parentheses_in_correction(gs, beta):
    m = averages(gs, beta, correction=lambda t: 1.0)
    return m - beta ** np.arange(1, len(gs) + 1).reshape(-1, *[1] * (m.ndim - 1))


def adam_cases(rng):
    yield (np.array([1.0]), np.array([0.5]), np.zeros(1), np.zeros(1), 1, 0.1, 0.9, 0.999, 1e-8)
    yield (np.array([1.0, -2.0]), np.array([0.5, -4.0]), np.array([0.1, 0.3]), np.array([0.2, 0.1]), 2, 0.1,
           0.9, 0.999, 1e-8)
    yield (rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)),
           rng.uniform(0.5, 2, size=(2, 3)), 7, 0.01, 0.8, 0.95, 0.1)


def right_adam(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    return formulas.adam_step(theta, g, m, v, t, alpha=alpha, beta1=beta1, beta2=beta2, eps=eps)


def adam_with(update=None, m_of=None, v_of=None, m_correction=None, v_correction=None):
    """Adam's step with one of its lines replaced."""
    def wrong(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        old_m, old_v = m, v
        m = m_of(m, g, beta1) if m_of else beta1 * m + (1 - beta1) * g
        v = v_of(v, g, beta2) if v_of else beta2 * v + (1 - beta2) * g**2
        m_hat = m / (m_correction(beta1, t) if m_correction else 1 - beta1**t)
        v_hat = v / (v_correction(beta2, t) if v_correction else 1 - beta2**t)
        if update is not None:
            return update(theta, m, v, m_hat, v_hat, alpha, eps, old_m, old_v, t, beta1, beta2)
        return theta - alpha / (np.sqrt(v_hat) + eps) * m_hat, m, v
    return wrong


def one(beta, t):
    return 1.0


def times_t(beta, t):
    return 1 - beta * t


def earlier(beta, t):
    return 1 - beta**(t - 1)


def stores_hats(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - alpha / (np.sqrt(v_hat) + eps) * m_hat, m_hat, v_hat


def eps_inside(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - alpha / np.sqrt(v_hat + eps) * m_hat, m, v


def no_root(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - alpha / (v_hat + eps) * m_hat, m, v


def uphill(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta + alpha / (np.sqrt(v_hat) + eps) * m_hat, m, v


def no_eps(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - alpha / np.sqrt(v_hat) * m_hat, m, v


def old_moments(theta, m, v, m_hat, v_hat, alpha, eps, old_m, old_v, t, beta1, beta2):
    m_hat, v_hat = old_m / (1 - beta1**t), old_v / (1 - beta2**t)
    return theta - alpha / (np.sqrt(v_hat) + eps) * m_hat, m, v


def later(beta, t):
    return 1 - beta**(t + 1)


def no_power(beta, t):
    return 1 - beta


def no_parentheses(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - alpha / np.sqrt(v_hat) + eps * m_hat, m, v


def eps_last(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - alpha * m_hat / np.sqrt(v_hat) + eps, m, v


def corrections_swapped(theta, m, v, m_hat, v_hat, alpha, eps, old_m, old_v, t, beta1, beta2):
    m_hat, v_hat = m / (1 - beta2**t), v / (1 - beta1**t)
    return theta - alpha / (np.sqrt(v_hat) + eps) * m_hat, m, v


def beta1_for_both(theta, m, v, m_hat, v_hat, alpha, eps, old_m, old_v, t, beta1, beta2):
    return theta - alpha / (np.sqrt(v / (1 - beta1**t)) + eps) * m_hat, m, v


def gradient_for_m(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    _, m, v = right_adam(theta, g, m, v, t, alpha, beta1, beta2, eps)
    return theta - alpha / (np.sqrt(v / (1 - beta2**t)) + eps) * g, m, v


def weights_swapped(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m, v = (1 - beta1) * m + beta1 * g, (1 - beta2) * v + beta2 * g**2
    return theta - alpha / (np.sqrt(v / (1 - beta2**t)) + eps) * m / (1 - beta1**t), m, v


def corrections_without_parentheses(theta, m, v, m_hat, v_hat, alpha, eps, old_m, old_v, t, beta1, beta2):
    with np.errstate(invalid="ignore"):
        return theta - alpha / (np.sqrt(v / 1 - beta2**t) + eps) * (m / 1 - beta1**t), m, v


def no_rate(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return theta - m_hat / (np.sqrt(v_hat) + eps), m, v


def only_step(theta, m, v, m_hat, v_hat, alpha, eps, *_):
    return -alpha / (np.sqrt(v_hat) + eps) * m_hat, m, v


def swapped(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    return right_adam(theta, g, m, v, t, alpha, beta2, beta1, eps)


def divided_by_beta(gs, beta):
    t = np.arange(1.0, len(gs) + 1).reshape(-1, *[1] * (gs.ndim - 1))
    with np.errstate(all="ignore"):
        return (1 - beta) * np.cumsum(gs / beta**t, axis=0) * beta**t / (1 - beta**t)


def adamw_cases(rng):
    yield (np.array([2.0]), np.array([0.5]), np.zeros(1), np.zeros(1), 1, 0.1, 0.5)
    yield (rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)),
           rng.uniform(0.5, 2, size=(2, 3)), 4, 0.2, 0.1)
    yield (rng.normal(size=3), np.zeros(3), np.zeros(3), np.ones(3), 9, 0.3, 0.2)
    yield (np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([0.1, -0.3]), np.array([0.2, 0.4]), 3, 0.2, 0.5,
           0.5, 0.8, 0.25)


def adamw_with(before=lambda theta, alpha, lam: theta, into=lambda g, theta, lam: g,
               after=lambda new, theta, alpha, lam: new):
    """AdamW's step with the decay where one wants it."""
    def step(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
        new, m, v = right_adam(before(theta, alpha, lam), into(g, theta, lam), m, v, t, alpha, beta1, beta2,
                               eps)
        return after(new, theta, alpha, lam), m, v
    return step


def lam_for_beta1(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
    return right_adam(theta - alpha * lam * theta, g, m, v, t, alpha, lam)


def handed_on(*names):
    """AdamW's step with only these of its arguments handed on to adam_step."""
    def step(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
        given = {"alpha": alpha, "beta1": beta1, "beta2": beta2, "eps": eps}
        return right_adam(theta - alpha * lam * theta, g, m, v, t, **{name: given[name] for name in names})
    return step


def in_both_places_in_turn(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
    theta = theta - alpha * lam * theta
    return right_adam(theta, g + lam * theta, m, v, t, alpha, beta1, beta2, eps)


in_both_places = adamw_with(before=lambda theta, alpha, lam: theta - alpha * lam * theta,
                            into=lambda g, theta, lam: g + lam * theta)


EXERCISES = [
    Exercise(
        "corrected_averages", average_cases, reference=averages,
        statement_zh="""
            每一步之后梯度的滑动平均，并修正从 0 开始带来的偏差。

            m_0 = 0,   m_t = beta m_{t-1} + (1 - beta) g_t,   m_hat_t = m_t / (1 - beta^t)

            gs：(T,) 或 (T, ...)，梯度 g_1, ..., g_T，每行一个。
            beta：在 [0, 1) 内。
            返回 m_hat_1, ..., m_hat_T，形状与 gs 相同。
            """,
        hints=[("Go through the gradients one by one and keep m from step to step.",
                "逐个处理梯度，把 m 从一步带到下一步。"),
               ("m starts at np.zeros_like(gs[0]); `for t, g in enumerate(gs, start=1)` counts from 1.",
                "m 从 np.zeros_like(gs[0]) 开始；`for t, g in enumerate(gs, start=1)` 从 1 数起。"),
               ("m = beta * m + (1 - beta) * g; append m / (1 - beta**t) to a list; return np.array of it.",
                "每一步 m = beta * m + (1 - beta) * g，把 m / (1 - beta**t) 加进列表，最后返回 "
                "np.array(列表)。")],
        wrong={
            "uncorrected": (lambda gs, beta: averages(gs, beta, correction=lambda t: 1.0),
                            "this is m itself: the bias correction, the division by 1 - beta^t, is missing.",
                            "这是 m 本身：漏了偏差修正，即除以 1 - beta^t。"),
            "always_first": (lambda gs, beta: averages(gs, beta, correction=lambda t: 1 - beta),
                             "it is divided by 1 - beta in every step; the power t is missing: 1 - beta**t.",
                             "每一步都除以了 1 - beta，漏了 t 次方：应为 1 - beta**t。"),
            "times_t": (lambda gs, beta: averages(gs, beta, correction=lambda t: 1 - beta * t),
                        "1 - beta * t should be a power: 1 - beta**t.",
                        "1 - beta * t 应该是乘方：1 - beta**t。"),
            "late_count": (lambda gs, beta: averages(gs, beta, correction=lambda t: 1 - beta**(t + 1)),
                           "the correction counts one step too far: the first gradient has t = 1.",
                           "修正多数了一步：第一个梯度对应 t = 1。"),
            "count_from_zero": (lambda gs, beta: averages(gs, beta, correction=lambda t: 1 - beta**(t - 1)),
                                "t counts from 0 here, and 1 - beta^0 is 0: count from 1.",
                                "这里的 t 从 0 数起，而 1 - beta^0 等于 0：要从 1 数起。"),
            "fed_back": (lambda gs, beta: averages(gs, beta, fed_back=True),
                         "the corrected average is carried on to the next step; carry m on, and correct a "
                         "copy.",
                         "带到下一步的是修正之后的值；应该带着 m 往下走，修正值另外存放。"),
            "sum": (lambda gs, beta: averages(gs, beta, new=1.0),
                    "the new gradient lacks its weight 1 - beta: this is momentum's sum, not an average.",
                    "新的梯度漏了权重 1 - beta：这是动量里的累加，不是平均。"),
            "first_gradient": (lambda gs, beta: averages(gs, beta, start=gs[0], correction=lambda t: 1.0),
                               "this starts at the first gradient, which then keeps a weight that is too "
                               "large; start at 0 and correct.",
                               "这里从第一个梯度开始，它的权重就一直偏大；应从 0 开始，再做修正。"),
            "last_only": (lambda gs, beta: averages(gs, beta)[-1],
                "this is the average after the *last* step alone: one for each step is wanted, collected "
                "in a list.",
                "这只是*最后*一步之后的平均：每一步各要一个，收进列表里。"),
            "weights_swapped": (lambda gs, beta: averages(gs, 1 - beta, correction=lambda t: 1 - beta**t),
                "beta and 1 - beta are exchanged: the old average gets beta, the new gradient 1 - beta.",
                "beta 和 1 - beta 用反了：旧的平均乘 beta，新的梯度乘 1 - beta。"),
            "plain_mean": (lambda gs, beta: np.array([np.mean(gs[:t + 1], axis=0) for t in range(len(gs))]),
                "this is the plain mean of all gradients so far: in a moving average the older ones fade, "
                "by beta a step.",
                "这是到目前为止所有梯度的普通平均：在滑动平均里，越旧的越淡，每一步乘 beta。"),
            "divided_by_beta": (divided_by_beta,
                "right for a beta in between; but beta may be 0, and this divides by a power of it. Keep a "
                "running m instead, step by step.",
                "beta 不为 0 时是对的；但 beta 可以是 0，而这里要除以它的幂。应一步一步地更新 m。"),
            "squares": (lambda gs, beta: averages(np.square(gs), beta),
                "you average the squares: that is v. Here it is m, the average of the gradients "
                "themselves.",
                "你平均的是平方：那是 v。这里要的是 m，即梯度本身的平均。"),
            "no_parentheses": (no_parentheses_in_correction,
                "parentheses are missing: `m / 1 - beta**t` divides by 1 and then subtracts beta^t. Write "
                "m / (1 - beta**t).",
                "漏了括号：`m / 1 - beta**t` 是先除以 1，再减去 beta^t。应写 m / (1 - beta**t)。"),
        },
        why=("The weights of the gradients seen so far add up to 1 - beta^t; dividing by that sum makes them "
             "an average.",
             "到目前为止各个梯度的权重之和是 1 - beta^t，除以这个和，才是真正的平均。")),
    Exercise(
        "adam_step", adam_cases, reference=right_adam, outputs=("theta", "m", "v"),
        statement_zh="""
            Adam 的一步（文章 4.3 节）。

            m_t = beta1 m_{t-1} + (1 - beta1) g_t
            v_t = beta2 v_{t-1} + (1 - beta2) g_t^2
            m_hat = m_t / (1 - beta1^t)
            v_hat = v_t / (1 - beta2^t)
            theta_{t+1} = theta_t - alpha / (sqrt(v_hat) + eps) m_hat

            theta、g、m、v：形状相同的数组（都不能改动）；第 1 步之前 m 和 v 是 0。
            t：第几步，从 1 数起。
            alpha：学习率。beta1、beta2：两个滑动平均的衰减率。eps：防止除以 0 的小数。
            返回 (theta, m, v)，都是新的数组。请用 np.sqrt。
            """,
        hints=[("Five lines of the article, five lines of code, in the same order.",
                "文章的五行公式，对应五行代码，顺序相同。"),
               ("Give the corrected values names of their own, m_hat and v_hat: m and v go on to the next "
                "step as they are.",
                "修正之后的值另起名字 m_hat 和 v_hat；m 和 v 原样留给下一步。"),
               ("The last line: theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat",
                "最后一行：theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat")],
        wrong={
            "uncorrected": (adam_with(m_correction=one, v_correction=one),
                            "both bias corrections are missing (lines 3 and 4): the first step is about "
                            "three times too long.",
                            "两个偏差修正都漏了（第三、四行）：第一步会大约长三倍。"),
            "v_uncorrected": (adam_with(v_correction=one),
                              "v is not corrected for its start at 0: divide it by 1 - beta2**t.",
                              "v 没有做偏差修正：要除以 1 - beta2**t。"),
            "m_uncorrected": (adam_with(m_correction=one),
                              "m is not corrected for its start at 0: divide it by 1 - beta1**t.",
                              "m 没有做偏差修正：要除以 1 - beta1**t。"),
            "stores_corrected": (adam_with(stores_hats),
                                 "theta is right, but the corrected moments are returned: keep m and v for "
                                 "the next step.",
                                 "theta 是对的，但返回了修正之后的矩：留给下一步的应是 m 和 v。"),
            "times_t": (adam_with(m_correction=times_t, v_correction=times_t),
                        "beta * t should be a power: 1 - beta1**t and 1 - beta2**t.",
                        "beta * t 应该是乘方：1 - beta1**t 和 1 - beta2**t。"),
            "count_from_zero": (adam_with(m_correction=earlier, v_correction=earlier),
                                "the corrections count t from 0; at the first step they divide by 0. t is 1 "
                                "there already.",
                                "修正里的 t 从 0 数起，第一步就会除以 0。传进来的 t 已经是从 1 数起的。"),
            "eps_inside": (adam_with(eps_inside),
                           "eps is inside the root; the article has it outside: np.sqrt(v_hat) + eps.",
                           "eps 放进了根号里；文章里它在根号外：np.sqrt(v_hat) + eps。"),
            "no_eps": (adam_with(no_eps), "eps is missing: a gradient that was always 0 would divide 0 by 0.",
                       "漏了 eps：如果梯度一直是 0，就会出现 0 除以 0。"),
            "no_root": (adam_with(no_root), "the square root of v_hat is missing: v is in units of the "
                                            "gradient squared.",
                        "漏了对 v_hat 开方：v 的单位是梯度的平方。"),
            "no_square": (adam_with(v_of=lambda v, g, beta: beta * v + (1 - beta) * g),
                          "v averages the gradient itself; it should average its square, g**2.",
                          "v 平均的是梯度本身；应该平均梯度的平方 g**2。"),
            "sum_of_m": (adam_with(m_of=lambda m, g, beta: beta * m + g),
                         "the new gradient in m lacks its weight 1 - beta1.", "m 里新的梯度漏了权重 1 - "
                                                                              "beta1。"),
            "sum_of_v": (adam_with(v_of=lambda v, g, beta: beta * v + g**2),
                         "the new square in v lacks its weight 1 - beta2.", "v 里新的平方漏了权重 1 - "
                                                                            "beta2。"),
            "old_moments": (adam_with(old_moments),
                            "theta is moved with the moments of the step before; update m and v first.",
                            "更新 theta 用的是上一步的矩；要先更新 m 和 v。"),
            "betas_swapped": (swapped, "beta1 and beta2 are swapped: beta1 belongs to m, beta2 to v.",
                              "beta1 和 beta2 用反了：beta1 属于 m，beta2 属于 v。"),
            "uphill": (adam_with(uphill), "the step goes uphill: it is subtracted.",
            "走成了上坡：应该减去这一步。"),
            "no_parentheses": (adam_with(no_parentheses),
                "parentheses are missing: alpha / np.sqrt(v_hat) + eps * m_hat adds eps m_hat at the end. "
                "It is alpha / (np.sqrt(v_hat) + eps) * m_hat.",
                "漏了括号：alpha / np.sqrt(v_hat) + eps * m_hat 是在最后加上 eps m_hat。应写 alpha / "
                "(np.sqrt(v_hat) + eps) * m_hat。"),
            "eps_last": (adam_with(eps_last),
                "parentheses are missing: eps is added to theta, not to the root. It is alpha * m_hat / "
                "(np.sqrt(v_hat) + eps).",
                "漏了括号：eps 加到了 theta 上，而不是加到根式上。应写 alpha * m_hat / (np.sqrt(v_hat) + "
                "eps)。"),
            "late_count": (adam_with(m_correction=later, v_correction=later),
                "the corrections count one step too far: t is 1 in the first step already.",
                "修正多数了一步：第一步的 t 就已经是 1。"),
            "always_first": (adam_with(m_correction=no_power, v_correction=no_power),
                "the power t is missing in the corrections: 1 - beta1**t and 1 - beta2**t.",
                "修正里漏了 t 次方：应为 1 - beta1**t 和 1 - beta2**t。"),
            "corrections_swapped": (adam_with(corrections_swapped),
                "the corrections are exchanged: m is divided by 1 - beta1**t, v by 1 - beta2**t.",
                "两个修正用反了：m 除以 1 - beta1**t，v 除以 1 - beta2**t。"),
            "beta1_for_both": (adam_with(beta1_for_both),
                "v is corrected with beta1: it is an average with beta2, so divide it by 1 - beta2**t.",
                "v 的修正用了 beta1：它是用 beta2 平均的，要除以 1 - beta2**t。"),
            "gradient_for_m": (gradient_for_m,
                "the step goes along g: it should go along m_hat, the average (line 5).",
                "这一步沿 g 走了：应当沿平均值 m_hat 走（第五行）。"),
            "only_step": (adam_with(only_step),
                "this is the change of theta alone: add it to theta.",
                "这只是 theta 的变化量：还要加到 theta 上。"),
            "weights_swapped": (weights_swapped,
                "beta and 1 - beta are exchanged in lines 1 and 2: the old moment gets beta, the new "
                "gradient 1 - beta.",
                "第一、二行里 beta 和 1 - beta 用反了：旧的矩乘 beta，新的梯度乘 1 - beta。"),
            "mixed": (adam_with(v_of=lambda v, g, b: (b * v + (1 - b) * g)**2),
                "the whole average is squared: the square belongs to g alone, (1 - beta2) * g**2.",
                "把整个平均都平方了：只有 g 要平方，(1 - beta2) * g**2。"),
            "corrections_without_parentheses": (adam_with(corrections_without_parentheses),
                "parentheses are missing in the corrections: `m / 1 - beta1**t` divides by 1 and then "
                "subtracts beta1^t. Write m / (1 - beta1**t), and v likewise.",
                "修正里漏了括号：`m / 1 - beta1**t` 是先除以 1，再减去 beta1^t。应写 m / (1 - beta1**t)，"
                "v 也一样。"),
            "no_rate": (adam_with(no_rate),
                "the learning rate alpha is missing in the last line.",
                "最后一行漏了学习率 alpha。"),
        },
        why=("m_hat over the root of v_hat has no unit: multiply all gradients by 1000 and the step stays "
             "the same.",
             "m_hat 除以 v_hat 的平方根，单位消掉了：所有梯度乘以 1000，步长不变。")),
    Exercise(
        "adamw_step", adamw_cases,
        reference=adamw_with(lambda theta, alpha, lam: theta - alpha * lam * theta), outputs=("theta", "m",
                                                                                              "v"),
        statement_zh="""
            AdamW 的一步：先做解耦权重衰减，再走一步 Adam（文章 3.3 节和 4.3 节）。

            theta <- theta - alpha lam theta
            m、v 和从那里走出的一步：与 Adam 相同，g 保持原样

            theta、g、m、v：形状相同的数组（都不能改动）。t：第几步，从 1 数起。
            alpha：学习率。lam：权重衰减系数。beta1、beta2、eps：与 Adam 相同。
            返回 (theta, m, v)，都是新的数组。可以调用你写的 adam_step。
            """,
        hints=[("The gradient is not touched: the decay acts on theta alone.", "不要动梯度：衰减只作用在 "
                                                                               "theta 上。"),
               ("Shrink theta first, by alpha * lam * theta, and take Adam's step from there.",
                "先让 theta 减少 alpha * lam * theta，再从那里走一步 Adam。"),
               ("theta = theta - alpha * lam * theta; return adam_step(theta, g, m, v, t, alpha, beta1, "
                "beta2, eps)",
                "先 theta = theta - alpha * lam * theta，再 return adam_step(theta, g, m, v, t, alpha, "
                "beta1, beta2, eps)")],
        wrong={
            "l2": (adamw_with(into=lambda g, theta, lam: g + lam * theta),
                   "the decay went into the gradient: that is L2 regularisation, and Adam divides it by the "
                   "root of v_hat.",
                   "衰减加进了梯度：那是 L2 正则化，会被 Adam 除以 v_hat 的平方根。"),
            "l2_twice": (adamw_with(into=lambda g, theta, lam: g + 2 * lam * theta),
                         "the decay went into the gradient (as 2 lam theta): that is L2 regularisation, and "
                         "Adam divides it by the root of v_hat.",
                         "衰减加进了梯度（2 lam theta）：那是 L2 正则化，会被 Adam 除以 v_hat 的平方根。"),
            "no_rate": (adamw_with(lambda theta, alpha, lam: theta - lam * theta),
                        "the decay lacks the learning rate: it is alpha * lam * theta.",
                        "衰减漏了学习率：应为 alpha * lam * theta。"),
            "no_decay": (adamw_with(), "this is Adam alone: the decay is missing.",
            "这只是 Adam：漏了衰减。"),
            "afterwards": (adamw_with(after=lambda new, theta, alpha, lam: new - alpha * lam * new),
                           "the decay comes after the step and so shrinks the step as well; it comes first.",
                           "衰减放到了更新之后，连这一步也一起缩小了；应该先衰减。"),
            "grows": (adamw_with(lambda theta, alpha, lam: theta + alpha * lam * theta),
                      "theta grows here: the decay is subtracted.", "这样 theta 会变大：衰减应该减去。"),
            "constant": (adamw_with(lambda theta, alpha, lam: theta - alpha * lam),
                         "the same number is taken from every parameter; the decay is in proportion to "
                         "theta.",
                         "每个参数减去了同一个数；衰减应与 theta 成正比。"),
            "lam_for_beta1": (lam_for_beta1,
                "lam was handed on to adam_step, where beta1 is expected: pass alpha, beta1, beta2, eps, "
                "and use lam only for the decay.",
                "把 lam 也传给了 adam_step，占了 beta1 的位置：只传 alpha、beta1、beta2、eps，lam 只用于"
                "衰减。"),
            **{key: (handed_on(*names),
                "alpha was not handed on: adam_step took its default. Pass alpha, beta1, beta2, eps.",
                "没有把 alpha 传下去：adam_step 用了默认值。要传 alpha、beta1、beta2、eps。")
               for key, names in (("default_rate", ()), ("default_rate_alone", ("beta1", "beta2", "eps")))},
            **{key: (handed_on(*names),
                "not all of beta1, beta2 and eps were handed on: adam_step took its defaults. Pass alpha, "
                "beta1, beta2, eps.",
                "beta1、beta2、eps 没有全传下去：adam_step 用了默认值。要传 alpha、beta1、beta2、eps。")
               for key, names in (("default_betas_and_eps", ("alpha",)),
                                  ("default_betas", ("alpha", "eps")),
                                  ("default_eps", ("alpha", "beta1", "beta2")))},
            "twice": (adamw_with(lambda theta, alpha, lam: theta - 2 * alpha * lam * theta),
                "the decay is doubled: it is alpha * lam * theta, without the 2 of a squared penalty.",
                "衰减多了一倍：应为 alpha * lam * theta，没有平方惩罚求导得到的那个 2。"),
            "in_both_places": (in_both_places,
                "theta is decayed twice: directly, which is right, and through the gradient. Leave g as "
                "it is.",
                "theta 衰减了两次：直接的那次是对的，另一次经过了梯度。g 要保持原样。"),
            "share": (adamw_with(lambda theta, alpha, lam: alpha * lam * theta),
                "only the part that is to be taken away is left: theta - alpha * lam * theta.",
                "留下的反而是要减掉的那部分：应为 theta - alpha * lam * theta。"),
            "in_both_places_in_turn": (in_both_places_in_turn,
                "theta is decayed twice: directly, which is right, and through the gradient. Leave g as "
                "it is.",
                "theta 衰减了两次：直接的那次是对的，另一次经过了梯度。g 要保持原样。"),
        },
        why=("The decay does not pass through v_hat, so every parameter keeps the same share, 1 - alpha lam, "
             "in each step.",
             "衰减不经过 v_hat，所以每一步里，每个参数都保留同样的比例 1 - alpha lam。")),
]
