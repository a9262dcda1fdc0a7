"""Tests and misconceptions of the assignment on dropout and penalties."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def parameters(rng):
    """With parameters of exactly 0, which both penalties leave alone."""
    theta = rng.normal(size=(int(rng.integers(2, 5)), int(rng.integers(3, 6))))
    theta[0, :2] = 0.0
    theta[1, 0], theta[1, 1] = 2.5, -2.5
    return {"theta": theta, "lam": np.array(rng.uniform(0.02, 0.9)), "alpha":
            np.array(rng.uniform(0.02, 0.9))}


def penalties(student, inputs):
    theta, lam = inputs["theta"], float(inputs["lam"])
    return {"l1": student.l1_penalty(theta, lam=lam), "l2": student.l2_penalty(theta, lam=lam),
            "l1_default": student.l1_penalty(theta), "l2_default": student.l2_penalty(theta)}


def l1_gradient(student, inputs):
    return {"gradient": student.l1_grad(inputs["theta"], lam=float(inputs["lam"]))}


def l2_gradient(student, inputs):
    return {"gradient": student.l2_grad(inputs["theta"], lam=float(inputs["lam"]))}


def decayed(student, inputs):
    theta = np.array(inputs["theta"])
    new = student.decoupled_weight_decay(theta, alpha=float(inputs["alpha"]), lam=float(inputs["lam"]))
    return {"new": new, "theta_afterwards": theta}


def uniform(rng):
    """Some of the uniform numbers are p itself."""
    p = float(rng.choice([0.125, 0.25, 0.375, 0.75]))
    u = rng.random((3, int(rng.integers(6, 12))))
    u[0, :2] = p
    u[1, 0] = 0.0
    return {"u": u, "p": np.array(p)}


def masks(student, inputs):
    return {"keep": np.asarray(student.keep_mask(inputs["u"], p=float(inputs["p"])), float),
            "keep_all": np.asarray(student.keep_mask(inputs["u"], p=0.0), float)}


def activations(rng):
    shape = (int(rng.integers(2, 5)), int(rng.integers(6, 10)))
    p = float(rng.choice([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8]))
    keep = rng.random(shape) >= p
    keep[0, 0], keep[-1, -1] = True, False
    return {"x": rng.normal(size=shape), "g": rng.normal(size=shape), "keep": keep, "p": np.array(p)}


def dropped(student, inputs):
    return {"y": student.dropout(np.array(inputs["x"]), inputs["keep"], p=float(inputs["p"])),
            "y_without_dropout": student.dropout(np.array(inputs["x"]), np.ones_like(inputs["keep"]), p=0.0)}


def dropped_gradient(student, inputs):
    return {"dx": student.dropout_grad(np.array(inputs["g"]), inputs["keep"], p=float(inputs["p"]))}


def wild(rng):
    given = activations(rng)
    given["x"][-1, -1], given["g"][-1, -1] = np.inf, np.nan  # both are dropped
    return given


def still_dropped(student, inputs):
    keep, p = inputs["keep"], float(inputs["p"])
    return {"y": student.dropout(np.array(inputs["x"]), keep, p=p),
            "dx": student.dropout_grad(np.array(inputs["g"]), keep, p=p)}


TESTS = {
    "penalties": Scenario(parameters, penalties),
    "l1_gradient": Scenario(parameters, l1_gradient),
    "l2_gradient": Scenario(parameters, l2_gradient),
    "decay": Scenario(parameters, decayed),
    "mask": Scenario(uniform, masks),
    "dropout": Scenario(activations, dropped),
    "dropout_gradient": Scenario(activations, dropped_gradient),
    "dropped_for_good": Scenario(wild, still_dropped),
}

L1, L2 = "return lam * np.sum(np.absolute(theta))", "return lam * np.sum(np.square(theta))"
L1_GRAD, L2_GRAD = "return lam * np.sign(theta)", "return 2 * lam * theta"
DECAY = "return theta - alpha * lam * theta\n"
DROP, DROP_GRAD = "np.where(keep, x / (1 - p), 0)", "np.where(keep, g / (1.0 - p), 0.0)"

MISCONCEPTIONS = [
    Misconception("l1_without_size", {L1: "return lam * np.sum(theta)"},
                  "in the L1 penalty positive and negative parameters cancel: their sizes are added up.",
                  "L1 惩罚里正负参数互相抵消了：加起来的应该是大小。"),
    Misconception("l2_halved", {L2: "return 0.5 * lam * np.sum(np.square(theta))"},
                  "the L2 penalty has a factor 1/2, which other books use; the article and Keras do without.",
                  "L2 惩罚多了系数 1/2，别的书里有这种写法；文章和 Keras 都不带它。"),
    Misconception("l2_rooted", {L2: "return lam * np.sqrt(np.sum(np.square(theta)))"},
                  "this is the norm itself: the L2 penalty takes its square.",
                  "这是范数本身：L2 惩罚用的是它的平方。"),
    Misconception("penalties_averaged", {L1: "return lam * np.mean(np.absolute(theta))",
                                         L2: "return lam * np.mean(np.square(theta))"},
                  "these are means: the penalties are sums over all parameters, however many there are.",
                  "这是平均：惩罚项对所有参数求和，与个数无关。"),
    Misconception("strength_squared", {L2: "return np.sum(np.square(lam * theta))"},
                  "the strength is inside the square, and counts twice.", "强度放进了平方里，算了两次。"),
    Misconception("penalties_swapped", {L1: "return lam * np.sum(theta**2)",
                                        L2: "return lam * np.sum(np.absolute(theta))"},
                  "L1 and L2 are exchanged: the 1 and the 2 are the powers.",
                  "L1 和 L2 弄反了：1 和 2 指的是次数。"),
    Misconception("l1_pushes_off_zero", {L1_GRAD: "return lam * np.where(theta >= 0, 1.0, -1.0)"},
                  "a parameter that is exactly 0 is pushed away from it: there the gradient of L1 is to be "
                  "0.",
                  "恰好为 0 的参数被推离了 0：那里 L1 的梯度应取 0。"),
    Misconception("l1_no_sign", {L1_GRAD: "return lam * np.ones_like(theta)"},
                  "the L1 gradient has one sign everywhere: on the negative side |theta| falls, so the slope "
                  "is -1.",
                  "L1 的梯度到处同号：在负的一侧 |theta| 是下降的，斜率是 -1。"),
    Misconception("l1_absolute", {L1_GRAD: "return lam * np.absolute(theta)"},
                  "this is |theta| itself; its derivative is wanted.", "这是 |theta| 本身；要的是它的导数。"),
    Misconception("l1_like_l2", {L1_GRAD: "return lam * theta"},
                  "the L1 gradient grows with theta: L1 pulls at all parameters with the same force.",
                  "L1 的梯度随 theta 变大了：L1 对所有参数用力都一样。"),
    Misconception("l2_no_two", {L2_GRAD: "return lam * theta"},
                  "the L2 gradient is half of what it should be: differentiate the square. (PyTorch's "
                  "weight_decay penalises half the square.)",
                  "L2 的梯度小了一半：对平方求导。（PyTorch 的 weight_decay 惩罚的是平方的一半。）"),
    Misconception("l2_summed", {L2_GRAD: "return 2 * lam * np.sum(theta) * np.ones_like(theta)"},
                  "every parameter got the same gradient, of the sum: each has its own.",
                  "每个参数得到的都是总和的梯度：各个参数有各自的梯度。"),
    Misconception("decay_without_rate", {DECAY: "return theta - lam * theta\n"},
                  "weight decay lacks the learning rate.", "权重衰减漏了学习率。"),
    Misconception("decay_grows", {DECAY: "return theta + alpha * lam * theta\n"},
                  "the parameters grow here: decay takes away.", "参数变大了：衰减应当减去。"),
    Misconception("decay_doubled", {DECAY: "return theta - 2 * alpha * lam * theta\n"},
                  "this is a step along the gradient of the L2 penalty, with its factor 2: decoupled decay "
                  "has none.",
                  "这是沿 L2 惩罚的梯度走一步，带着系数 2：解耦的衰减没有它。"),
    Misconception("decay_constant", {DECAY: "return theta - alpha * lam\n"},
                  "the same number is taken from every parameter: decay is in proportion to theta.",
                  "每个参数减去了同一个数：衰减应与 theta 成正比。"),
    Misconception("decay_in_place", {DECAY: "theta -= alpha * lam * theta\n    return theta\n"},
                  "decay changes the parameters that were passed in: -= writes into the caller's array.",
                  "权重衰减改动了传进来的参数：-= 会写进调用者的数组。"),
    Misconception("mask_inverted", {"return u >= p": "return u < p"},
                  "the mask is the wrong way round: it is True where a unit is dropped.",
                  "掩码弄反了：成了丢弃处为 True。"),
    Misconception("mask_by_keep", {"return u >= p": "return u >= 1 - p"},
                  "p is taken for the chance to keep: it is the chance to drop.",
                  "把 p 当成了保留的概率：它是丢弃的概率。"),
    Misconception("mask_border", {"return u >= p": "return u > p"},
                  "a number that is p itself is to be kept; with p = 0 nothing may be dropped, not even at u "
                  "= 0.",
                  "恰好等于 p 的也要留下；p = 0 时什么都不能丢，哪怕 u = 0。"),
    Misconception("not_scaled", {DROP: "np.where(keep, x, 0)"},
                  "the mask is right, but the mean shrinks: what is kept has to be scaled up.",
                  "掩码对了，可均值变小了：留下来的要放大。"),
    Misconception("scaled_down", {DROP: "np.where(keep, x * (1 - p), 0)"},
                  "what is kept shrinks here: it has to grow.", "留下来的反而缩小了：应当放大。"),
    Misconception("scaled_by_p", {DROP: "np.where(keep, x / p if p else x, 0)"},
                  "this divides by the chance to be dropped. With p = 0.5 nobody sees the difference.",
                  "这里除的是丢弃的概率。p = 0.5 时看不出差别。"),
    Misconception("scaled_by_share", {DROP: "np.where(keep, x / np.mean(keep), 0)"},
                  "this divides by the share that this mask happens to keep: the formula has the same number "
                  "for every mask.",
                  "除以了这个掩码碰巧保留的比例：公式里的数对每个掩码都一样。"),
    Misconception("dropped_kept", {DROP: "np.where(keep, 0, x / (1 - p))"},
                  "the mask is used the wrong way round: keep is True where a unit stays.",
                  "掩码用反了：keep 为 True 的单元要留下。"),
    Misconception("multiplied", {DROP: "keep * x / (1 - p)", DROP_GRAD: "keep * g / (1.0 - p)"},
                  "the mask is multiplied: 0 times inf is nan, so what is dropped still leaves a trace.",
                  "用掩码相乘：0 乘 inf 是 nan，丢掉的仍会留下痕迹。"),
    Misconception("grad_not_masked", {DROP_GRAD: "g / (1.0 - p)"},
                  "gradient flows through units that were dropped: they had no influence on y.",
                  "梯度流过了丢掉的单元：它们对 y 没有影响。"),
    Misconception("grad_not_scaled", {DROP_GRAD: "np.where(keep, g, 0.0)"},
                  "the factor of the way forward is missing on the way back.", "反向时漏了前向乘过的系数。"),
    Misconception("grad_divided_by", {DROP_GRAD: "np.where(keep, g * (1.0 - p), 0.0)"},
                  "the way back divides out the factor of the way forward: a constant factor is the same "
                  "both ways.",
                  "反向时把前向的系数除掉了：常数系数在两个方向上是一样的。"),
    Misconception("written_differently", {
        L1: "return np.sum(np.abs(theta)) * lam", L1_GRAD: "return lam * ((theta > 0) * 1.0 - (theta < 0))",
        DECAY: "return (1 - alpha * lam) * theta\n", "return u >= p": "return ~(u < p)"}, "", "",
        equivalent=True),
    Misconception("filled_in", {DROP: "np.where(keep, x, 0) / (1 - p)", DROP_GRAD: "dropout(g, keep, p=p)",
                                L2: "return lam * np.sum(theta * theta)"}, "", "", equivalent=True),
]
