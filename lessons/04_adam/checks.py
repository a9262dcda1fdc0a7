"""Checks of lesson 04: Adam."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise


def average_cases(rng):
    yield np.array([2.0, 2.0, 2.0]), 0.9
    yield np.array([1.0, -3.0, 0.5, 4.0]), 0.5
    yield rng.normal(size=(6, 2, 3)), 0.99


def averages(gs, beta, start=0.0, new=None, correction=None, fed_back=False):
    """The exercise, with the parts that can go wrong to choose."""
    m, found = np.zeros_like(gs[0]) + start, []
    for t, g in enumerate(gs, start=1):
        m = beta * m + ((1 - beta) if new is None else new) * g
        m_hat = m / ((1 - beta**t) if correction is None else correction(t))
        m = m_hat if fed_back else m
        found.append(m_hat)
    return np.array(found)


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


def swapped(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    return right_adam(theta, g, m, v, t, alpha, beta2, beta1, eps)


def adamw_cases(rng):
    yield (np.array([2.0]), np.array([0.5]), np.zeros(1), np.zeros(1), 1, 0.1, 0.5)
    yield (rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)),
           rng.uniform(0.5, 2, size=(2, 3)), 4, 0.2, 0.1)
    yield (rng.normal(size=3), np.zeros(3), np.zeros(3), np.ones(3), 9, 0.3, 0.2)


def adamw_with(before=lambda theta, alpha, lam: theta, into=lambda g, theta, lam: g,
               after=lambda new, theta, alpha, lam: new):
    """AdamW's step with the decay where one wants it."""
    def step(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
        new, m, v = right_adam(before(theta, alpha, lam), into(g, theta, lam), m, v, t, alpha, beta1, beta2,
                               eps)
        return after(new, theta, alpha, lam), m, v
    return step


EXERCISES = [
    Exercise(
        "corrected_averages", average_cases, reference=averages,
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
        },
        why=("The weights of the gradients seen so far add up to 1 - beta^t; dividing by that sum makes them "
             "an average.",
             "到目前为止各个梯度的权重之和是 1 - beta^t，除以这个和，才是真正的平均。")),
    Exercise(
        "adam_step", adam_cases, reference=right_adam, outputs=("theta", "m", "v"),
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
        },
        why=("m_hat over the root of v_hat has no unit: multiply all gradients by 1000 and the step stays "
             "the same.",
             "m_hat 除以 v_hat 的平方根，单位消掉了：所有梯度乘以 1000，步长不变。")),
    Exercise(
        "adamw_step", adamw_cases,
        reference=adamw_with(lambda theta, alpha, lam: theta - alpha * lam * theta), outputs=("theta", "m",
                                                                                              "v"),
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
        },
        why=("The decay does not pass through v_hat, so every parameter keeps the same share, 1 - alpha lam, "
             "in each step.",
             "衰减不经过 v_hat，所以每一步里，每个参数都保留同样的比例 1 - alpha lam。")),
]
