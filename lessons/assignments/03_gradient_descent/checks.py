"""Tests and misconceptions of the assignment on gradient descent, momentum and clipping."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def a_step(rng):
    shape = (*rng.integers(1, 5, int(rng.integers(1, 4))), 2)
    return {"theta": rng.normal(size=shape), "g": rng.normal(size=shape), "u": rng.normal(size=shape),
            "alpha": np.array(rng.uniform(0.05, 0.9)), "mu": np.array(rng.uniform(0.2, 0.9))}


def descend(student, inputs):
    default = student.gradient_descent_step(np.array(inputs["theta"]), inputs["g"])
    return {"default": default,
            "theta": student.gradient_descent_step(inputs["theta"], inputs["g"],
                                                   alpha=float(inputs["alpha"]))}


def roll(student, inputs):
    theta, u = student.momentum_step(inputs["theta"], inputs["g"], inputs["u"], alpha=float(inputs["alpha"]),
                                     mu=float(inputs["mu"]))
    return {"theta": theta, "u": u}


def look_ahead(student, inputs):
    theta, u = student.momentum_step(inputs["theta"], inputs["g"], inputs["u"], alpha=float(inputs["alpha"]),
                                     mu=float(inputs["mu"]), nesterov=True)
    return {"theta": theta, "u": u}


def several(rng):
    sizes = rng.integers(2, 5, 3)
    return {"a": rng.normal(size=sizes[0]) * 3, "b": rng.normal(size=sizes[1:]) * 2, "c":
            rng.normal(size=(1,)),
            "share": np.array(rng.uniform(0.2, 0.8))}


def joint_norm(student, inputs):
    return {"norm": student.global_norm([inputs["a"], inputs["b"], inputs["c"]]),
            "norm_of_one": student.global_norm([inputs["b"]])}


def clipped(student, inputs):
    a, b, c = inputs["a"], inputs["b"], inputs["c"]
    norm = float(np.sqrt(np.sum(a * a) + np.sum(b * b) + np.sum(c * c)))
    limit = float(inputs["share"]) * norm
    long_a, long_b, long_c = student.clip_by_norm(a, b, c, max_norm=limit)
    short_a, short_b = student.clip_by_norm(a, b, max_norm=norm / float(inputs["share"]))
    alone = student.clip_by_norm(b, max_norm=0.01)
    zero = student.clip_by_norm(0 * a, max_norm=limit)
    return {"long_a": long_a, "long_b": long_b, "long_c": long_c, "short_a": short_a, "short_b": short_b,
            "alone": alone, "zero": zero}


def a_valley(rng):
    return {"start": rng.normal(size=4) * 2, "curvatures":
            np.append(rng.uniform(0.05, 0.3, 3), rng.uniform(1, 2)),
            "alpha": np.array(rng.uniform(0.1, 0.3)), "mu": np.array(rng.uniform(0.5, 0.8))}


def sixty_steps(student, inputs):
    alpha, mu, c = float(inputs["alpha"]), float(inputs["mu"]), inputs["curvatures"]
    plain, rolling = np.array(inputs["start"]), np.array(inputs["start"])
    u = np.zeros_like(rolling)
    path, rolled = [], []
    for _ in range(60):
        plain = student.gradient_descent_step(plain, c * plain, alpha=alpha)
        rolling, u = student.momentum_step(rolling, c * rolling, u, alpha=alpha, mu=mu)
        path.append(np.array(plain))
        rolled.append(np.array(rolling))
    return {"plain": np.array(path), "with_momentum": np.array(rolled)}


def arguments_after(student, inputs):
    theta, g, u = (np.array(inputs[k]) for k in ("theta", "g", "u"))
    stepped = student.gradient_descent_step(theta, g, alpha=float(inputs["alpha"]))
    rolled, v = student.momentum_step(theta, g, u, alpha=float(inputs["alpha"]), mu=float(inputs["mu"]))
    cut = student.clip_by_norm(g, u, max_norm=0.01)
    return {"theta_afterwards": theta, "g_afterwards": g, "u_afterwards": u, "stepped": stepped, "rolled": rolled,
            "velocity": v, "clipped_g": cut[0], "clipped_u": cut[1]}


TESTS = {
    "one_step": Scenario(a_step, descend),
    "momentum": Scenario(a_step, roll),
    "norm": Scenario(several, joint_norm),
    "nesterov": Scenario(a_step, look_ahead),
    "clip": Scenario(several, clipped),
    "valley": Scenario(a_valley, sixty_steps, cases=2),
    "inputs_kept": Scenario(a_step, arguments_after),
}

STEP = "return theta - alpha * g\n"
VELOCITY = "    u = mu * u + g\n"
DIRECTION = "direction = g + mu * u if nesterov else u"
ROLL = "return theta - alpha * direction, u"
NORM = "np.sqrt(sum(np.sum(g**2) for g in grads))"
SCALE = "scale = max_norm / np.maximum(norm, max_norm)"

MISCONCEPTIONS = [
    Misconception("uphill", {STEP: "return theta + alpha * g\n"},
                  "gradient descent walks uphill here: the gradient points to where the loss grows.",
                  "梯度下降走成了上坡：梯度指向损失增大的方向。"),
    Misconception("no_rate", {STEP: "return theta - g\n"},
                  "the learning rate is missing: this takes alpha = 1 whatever is asked for.",
                  "漏了学习率：这样写等于永远取 alpha = 1。"),
    Misconception("fixed_rate", {STEP: "return theta - 0.01 * g\n"},
                  "the learning rate is written into the function: use the argument alpha.",
                  "学习率写死在函数里了：要用参数 alpha。"),
    Misconception("sign_only", {STEP: "return theta - alpha * np.sign(g)\n"},
                  "only the sign of the gradient is used; steep places take longer steps.",
                  "只用了梯度的符号；坡越陡，步子应当越大。"),
    Misconception("unit_length", {STEP: "return theta - alpha * g / np.sqrt(np.sum(g * g))\n"},
                  "the gradient was scaled to length 1; gradient descent takes it as it is.",
                  "把梯度缩放成了单位长度；梯度下降直接用原来的梯度。"),
    Misconception("bracket", {STEP: "return alpha * (theta - g)\n"},
                  "a bracket is in the wrong place: the learning rate scales the gradient only.",
                  "括号放错了：学习率只乘梯度。"),
    Misconception("only_change", {STEP: "return -alpha * g\n"},
                  "this is the change of theta alone: it has to be added to theta.",
                  "这只是 theta 的变化量：还要加到 theta 上。"),
    Misconception("average", {VELOCITY: "    u = mu * u + (1 - mu) * g\n"},
                  "the gradient got a weight 1 - mu: that is Adam's average. Momentum adds it whole.",
                  "梯度多乘了 1 - mu：那是 Adam 里的平均。动量是整个加上去的。"),
    Misconception("no_friction", {VELOCITY: "    u = u + g\n"},
                  "mu is missing: a ball without friction never comes to rest.",
                  "漏了 mu：没有摩擦的球永远停不下来。"),
    Misconception("rate_in_velocity", {VELOCITY: "    u = mu * u + alpha * g\n",
                                       ROLL: "return theta - direction, u"},
                  "the learning rate went into the velocity. That form is common too; here u holds plain "
                  "gradients, so that a change of alpha acts at once.",
                  "学习率放进了速度里。这种写法也常见；但这里的 u 存的是原本的梯度，改了 alpha 立刻就生效。"),
    Misconception("old_velocity", {VELOCITY: "    u, new = u, mu * u + g\n",
                                   ROLL: "return theta - alpha * direction, new"},
                  "theta moves along the old velocity: the new one comes first.",
                  "theta 是沿旧的速度移动的：要先算出新的速度。"),
    Misconception("rolls_uphill", {ROLL: "return theta + alpha * direction, u"},
                  "with momentum, the step goes uphill: the velocity points uphill, as the gradient does.",
                  "带动量的一步走成了上坡：速度和梯度一样指向上坡。"),
    Misconception("always_nesterov", {DIRECTION: "direction = g + mu * u"},
                  "this is Nesterov's form always: the plain one is wanted unless nesterov is True.",
                  "这里永远是 Nesterov 的写法：nesterov 不为 True 时要用普通动量。"),
    Misconception("never_nesterov", {DIRECTION: "direction = u"},
                  "nesterov=True gives plain momentum: either the argument is not used, or the look ahead "
                  "goes along the velocity from before the step.",
                  "nesterov=True 得到的仍是普通动量：要么没有用上这个参数，要么向前看时用的是这一步之前的速度。"),
    Misconception("nesterov_without_gradient", {DIRECTION: "direction = mu * u if nesterov else u"},
                  "Nesterov's direction lacks the gradient itself.", "Nesterov 的方向里漏了梯度本身。"),
    Misconception("sum_of_norms", {NORM: "sum(np.sqrt(np.sum(g**2)) for g in grads)"},
                  "this adds up the norms of the arrays: all of them are one vector, with one root.",
                  "把各个数组的范数加了起来：它们合在一起是一个向量，只开一次方。"),
    Misconception("no_root", {NORM: "sum(np.sum(g**2) for g in grads)"},
                  "this is the norm squared: the root is missing.", "这是范数的平方：漏了开方。"),
    Misconception("root_mean_square",
                  {NORM: "np.sqrt(sum(np.sum(g**2) for g in grads) / sum(g.size for g in grads))"},
                  "this is the root *mean* square: the norm has a sum, however many parameters there are.",
                  "这是均方根：范数里是求和，与参数个数无关。"),
    Misconception("largest", {NORM: "max(np.max(np.abs(g)) for g in grads)"},
                  "this is the largest element: the 2-norm adds up squares.",
                  "这是最大的元素：2-范数是把平方加起来。"),
    Misconception("each_for_itself", {"tuple(scale * g for g in grads)":
                                      "tuple(max_norm / np.maximum(global_norm([g]), max_norm) * g for g "
                                      "in grads)"},
                  "each array is clipped by its own norm, which turns the direction of the step: one factor "
                  "for all.",
                  "每个数组按自己的范数裁剪，步子的方向就变了：所有数组要共用一个系数。"),
    Misconception("each_element", {"tuple(scale * g for g in grads)":
                                   "tuple(np.clip(g, -max_norm, max_norm) for g in grads)"},
                  "the elements are clipped one by one: clipping by norm keeps the direction and shortens "
                  "the whole.",
                  "这是逐个元素截断：按范数裁剪不改变方向，只把整体缩短。"),
    Misconception("always_scaled", {SCALE: "scale = max_norm / np.where(norm == 0, 1, norm)"},
                  "short gradients are made longer: clipping only ever shortens.",
                  "短的梯度被拉长了：裁剪只会缩短。"),
    Misconception("divides_by_zero", {SCALE: "scale = np.minimum(1, max_norm * norm / norm**2)"},
                  "gradients of 0 come out as nan: there the factor divides 0 by 0.",
                  "梯度为 0 时结果成了 nan：那里的系数是 0 除以 0。"),
    Misconception("step_in_place", {STEP: "theta -= alpha * g\n    return theta\n"},
                  "gradient_descent_step changes the theta that was passed in: -= writes into the caller's "
                  "array.",
                  "gradient_descent_step 改动了传进来的 theta：-= 会写进调用者的数组。"),
    Misconception("velocity_in_place", {VELOCITY: "    u *= mu\n    u += g\n"},
                  "momentum_step changes the velocity that was passed in: *= and += write into the caller's "
                  "array.",
                  "momentum_step 改动了传进来的速度：*= 和 += 会写进调用者的数组。"),
    Misconception("written_differently", {NORM: "np.sqrt(sum(np.vdot(g, g) for g in grads))",
                                          SCALE: "scale = 1.0 if norm <= max_norm else max_norm / norm",
                                          ROLL: "return theta + -alpha * direction, u"}, "", "",
                                          equivalent=True),
    Misconception("one_by_one", {DIRECTION: "direction = u\n    if nesterov:\n        direction = mu * u + g",
                                 NORM: "np.linalg.norm(np.concatenate([np.ravel(g) for g in grads]))"}, "",
                                 "",
                  equivalent=True),
]
