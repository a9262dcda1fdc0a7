"""Checks of lesson 06: embedding, LSTM, dense."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise
from minillm.formulas import sigmoid


def embedding_cases(rng):
    yield np.array([2, 0, 2]), np.array([[1.0, 1.0], [10.0, 10.0], [100.0, 100.0]]), 3
    yield rng.integers(0, 4, 10), rng.normal(size=(10, 3)), 6


def embedding_gradient(ids, g, V):
    return np.eye(V)[ids].T @ g


def last_wins(ids, g, V):
    dE = np.zeros((V, g.shape[1]))
    dE[ids] = g
    return dE


def averaged(ids, g, V):
    counts = np.bincount(ids, minlength=V)
    return embedding_gradient(ids, g, V) / np.maximum(counts, 1)[:, None]


def first_wins(ids, g, V):
    return last_wins(ids[::-1], g[::-1], V)


def cell_cases(rng):
    zero = np.zeros((1, 1))
    bias = np.array([0.0, np.log(3), np.arctanh(0.6), 0.0])
    yield zero, zero, np.array([[2.0]]), np.zeros((1, 4)), np.zeros((1, 4)), bias
    for B, D, H in ((2, 3, 4), (3, 2, 2)):
        shapes = [(B, D), (B, H), (B, H), (D, 4 * H), (H, 4 * H), (4 * H,)]
        yield tuple(rng.normal(size=shape) for shape in shapes)


def cell(*, order="ifgo", candidate=np.tanh, squash=np.tanh, show="new", recurrent=True, bias=True,
         write=True, outputs=slice(None)):
    """An LSTM cell with one thing changed."""

    def run(x, h, c, W, U, b):
        z = x @ W + (h @ U if recurrent else 0) + (b if bias else 0)
        z = dict(zip(order, np.split(z, 4, axis=-1), strict=True))
        i, f, g, o = sigmoid(z["i"]), sigmoid(z["f"]), candidate(z["g"]), sigmoid(z["o"])
        c_t = f * c + (i * g if write else g)
        return (o * squash(c_t if show == "new" else c), c_t)[outputs]

    return run


def bias_cases(rng):
    yield 0.75, 1
    yield 0.5, 50
    yield 0.9, 7
    yield 0.01, 200


def forget_bias(share, steps):
    return -np.log(np.expm1(-np.log(share) / steps))


def carried_cases(rng):
    yield tuple(np.array([[v]]) for v in (0.0, 1.0, 0.75, 0.5, 1.8))
    for shape in ((2, 3), (3, 4)):
        yield (*rng.normal(size=(2, *shape)), *rng.random((2, *shape)), rng.normal(size=shape))


def carried_gradient(dh, dc, f, o, c_t):
    return (dc + dh * o * (1 - np.tanh(c_t) ** 2)) * f


EXERCISES = [
    Exercise(
        "embedding_gradient", embedding_cases, embedding_gradient,
        hints=[("A row that was looked up twice gets two gradients: they add up.",
                "查过两次的行会得到两份梯度：要相加。"),
               ("Begin with zeros of shape (V, D). A loop over the places is fine; or look at np.add.at.",
                "先建形状为 (V, D) 的零数组。对位置写循环就可以，也可以看看 np.add.at。"),
               ("dE = np.zeros((V, g.shape[1])); np.add.at(dE, ids, g); return dE",
                "dE = np.zeros((V, g.shape[1]))；np.add.at(dE, ids, g)；最后返回 dE。")],
        wrong={
            "last_wins": (last_wins,
                          "a token that stands twice has only its last gradient: dE[ids] += g and dE[ids] = "
                          "g write each row once. Use np.add.at.",
                          "出现两次的词元只剩最后一份梯度：dE[ids] += g 和 dE[ids] = g 每行都只写一次。"
                          "请用 np.add.at。"),
            "first_wins": (first_wins, "a token that stands twice has only its first gradient: add them up.",
                           "出现两次的词元只剩第一份梯度：应当相加。"),
            "as_it_came": (lambda ids, g, V: g,
                           "this is g itself, one row for each place; the gradient of the table has one row for "
                           "each token of the vocabulary.",
                           "这就是 g 本身，每个位置一行；表的梯度是词表里每个词元一行。"),
            "averaged": (averaged,
                         "you divide by how often the token stands there: the chain rule adds, it does not "
                         "average.",
                         "你除以了词元出现的次数：链式法则是相加，不是取平均。"),
        },
        why=("Whatever is used several times collects gradient from each use. An embedding is the plainest "
             "case: a common token's row moves more, a token that is not in the batch does not move at all.",
             "一个量用了几次，就从每一次收一份梯度。嵌入是最直白的例子：常见词元的那一行动得多，"
             "这一批里没有的词元，那一行一动不动。")),
    Exercise(
        "lstm_cell", cell_cases, formulas.lstm_cell, outputs=("h_t", "c_t"),
        hints=[("One product for all gates: z = x @ W + h @ U + b, then cut it into four along the last "
                "axis.",
                "四个门共用一个乘积：z = x @ W + h @ U + b，再沿最后一个轴切成四份。"),
               ("np.split(z, 4, axis=-1) gives z_i, z_f, z_g, z_o in this order; g alone goes through tanh.",
                "np.split(z, 4, axis=-1) 依次给出 z_i、z_f、z_g、z_o；只有 g 用 tanh。"),
               ("c_new = f * c + i * g, and then h_new = o * np.tanh(c_new), with the new c.",
                "c_new = f * c + i * g，然后 h_new = o * np.tanh(c_new)，用的是新的 c。")],
        wrong={
            "order": (cell(order="ifog"), "the last two gates are swapped: the order is i, f, g, o.",
                      "后两个门弄反了：次序是 i、f、g、o。"),
            "i_and_f": (cell(order="figo"), "input and forget gate are swapped: the order is i, f, g, o.",
                        "输入门和遗忘门弄反了：次序是 i、f、g、o。"),
            "candidate": (cell(candidate=sigmoid),
                          "the candidate g went through a sigmoid: then the cell could only ever add "
                          "positive numbers. It takes tanh.",
                          "候选值 g 用了 sigmoid：那样细胞状态就只能加正数。它要用 tanh。"),
            "no_tanh": (cell(squash=lambda c: c), "h_t shows c_t itself: the formula has tanh(c_t).",
                        "h_t 直接用了 c_t：公式里是 tanh(c_t)。"),
            "old_c": (cell(show="old"), "h_t is made from the old cell state: compute c_t first, then h_t "
                                        "from it.",
                      "h_t 用的是旧的细胞状态：先算 c_t，再由它算 h_t。"),
            "no_recurrence": (cell(recurrent=False), "h U is missing: the gates do not see the past.",
                              "漏了 h U：各个门就看不到过去。"),
            "no_bias": (cell(bias=False), "the bias b is missing.", "漏了偏置 b。"),
            "no_input_gate": (cell(write=False),
                              "the candidate is added whole: the input gate has to scale it, i * g.",
                              "候选值整个加进去了：要由输入门来缩放，i * g。"),
        },
        why=("Everything that is learned sits in W, U and b; the cell itself has no choice to make. And c "
             "goes from step to step with one multiplication and one addition.",
             "要学的全在 W、U 和 b 里，单元本身没有什么可选的。而 c 从一步到下一步，"
             "只经过一次乘法和一次加法。")),
    Exercise(
        "forget_bias", bias_cases, forget_bias,
        hints=[("First f: which number, multiplied by itself `steps` times, gives the share?",
                "先求 f：哪个数自乘 `steps` 次得到这个比例？"),
               ("Then turn sigma(b) = f round: 1 / f = 1 + e^(-b).", "再把 sigma(b) = f 反解："
                                                                     "1 / f = 1 + e^(-b)。"),
               ("f = share ** (1 / steps); return -np.log(1 / f - 1)",
                "f = share ** (1 / steps)；返回 -np.log(1 / f - 1)。")],
        wrong={
            "no_root": (lambda share, steps: -np.log(1 / share - 1),
                        "this keeps the share over ONE step: take the root first, f = share ** (1 / steps).",
                        "这样只保证一步之后留住这个比例：先开方，f = share ** (1 / steps)。"),
            "divided": (lambda share, steps: -np.log(steps / share - 1),
                        "you divided the share by the steps: the factors multiply, so it takes a root.",
                        "你用比例除以步数：各步的因子是相乘的，所以要开方。"),
            "sign": (lambda share, steps: -forget_bias(share, steps),
                     "the sign is flipped: to keep much, f is near 1 and b is positive. Check: sigma(b) ** "
                     "steps.",
                     "符号反了：要留得多，f 接近 1，b 是正的。验算一下：sigma(b) ** steps。"),
            "log_gate": (lambda share, steps: np.log(share) / steps,
                         "this is log f: sigma's inverse is log(f / (1 - f)).",
                         "这是 log f：sigma 的反函数是 log(f / (1 - f))。"),
            "gate": (lambda share, steps: share ** (1 / steps),
                     "this is the gate f: the bias is what sigma turns into it, log(f / (1 - f)).",
                     "这是门的值 f：偏置是经过 sigma 变成它的那个数，log(f / (1 - f))。"),
        },
        why=("For many steps b is about log(steps / log(1 / share)): ten times as long a memory costs only "
             "2.3 more of bias. (For very long ones write np.expm1(-np.log(share) / steps) for 1 / f - 1, "
             "which keeps its digits.)",
             "步数多时，b 约为 log(steps / log(1 / share))：记忆要长十倍，偏置只需加 2.3。（步数极多时，"
             "把 1 / f - 1 写成 np.expm1(-np.log(share) / steps)，才不会丢掉有效数字。）")),
    Exercise(
        "carried_gradient", carried_cases, carried_gradient,
        hints=[("c_t has two readers: the next step, and h_t. Add what comes from both.",
                "c_t 有两处被用到：下一步，和 h_t。把两边来的加起来。"),
               ("From h_t = o * tanh(c_t) comes dh * o * (1 - tanh(c_t)^2).",
                "由 h_t = o * tanh(c_t)，传来的是 dh * o * (1 - tanh(c_t)^2)。"),
               ("(dc + dh * o * (1 - np.tanh(c_t) ** 2)) * f",
                "(dc + dh * o * (1 - np.tanh(c_t) ** 2)) * f：两份相加，再乘 f。")],
        wrong={
            "direct": (lambda dh, dc, f, o, c_t: dc * f,
                       "this is the direct path alone: c_t is also read by h_t, whose gradient belongs to "
                       "it.",
                       "这只有直通的那条路：c_t 还被 h_t 用到，那一份梯度也要算上。"),
            "no_slope": (lambda dh, dc, f, o, c_t: (dc + dh * o) * f,
                         "the slope of tanh is missing: h_t = o * tanh(c_t), so times 1 - tanh(c_t)^2.",
                         "漏了 tanh 的斜率：h_t = o * tanh(c_t)，所以要乘 1 - tanh(c_t)^2。"),
            "slope_of_c": (lambda dh, dc, f, o, c_t: (dc + dh * o * (1 - c_t**2)) * f,
                           "you wrote 1 - c_t^2: the slope of tanh is 1 - tanh(c_t)^2. (1 - y^2 is right for "
                           "the result y = tanh(c_t).)",
                           "你写的是 1 - c_t^2：tanh 的斜率是 1 - tanh(c_t)^2。"
                           "（1 - y^2 要用结果 y = tanh(c_t)。）"),
            "tanh_squared": (lambda dh, dc, f, o, c_t: (dc + dh * o * np.tanh(c_t) ** 2) * f,
                             "you wrote tanh(c_t)^2: the slope of tanh is 1 - tanh(c_t)^2.",
                             "你写的是 tanh(c_t)^2：tanh 的斜率是 1 - tanh(c_t)^2。"),
            "no_output_gate": (lambda dh, dc, f, o, c_t: (dc + dh * (1 - np.tanh(c_t) ** 2)) * f,
                               "the output gate is missing: what h_t does not show gets no gradient from it.",
                               "漏了输出门：h_t 没展示的部分，也就没有从它来的梯度。"),
            "f_too_early": (lambda dh, dc, f, o, c_t: dc * f + dh * o * (1 - np.tanh(c_t) ** 2),
                            "only one part goes through the forget gate: both reach c_{t-1} by way of c_t, "
                            "so multiply the sum by f.",
                            "只有一份经过了遗忘门：两份都要先到 c_t 再到 c_{t-1}，所以对总和乘 f。"),
            "no_f": (lambda dh, dc, f, o, c_t: dc + dh * o * (1 - np.tanh(c_t) ** 2),
                     "this is the gradient of c_t: one step further back it is multiplied by f.",
                     "这是 c_t 的梯度：再往回一步，要乘 f。"),
        },
        why=("Take dh = 0 and all f = 1: the gradient comes through any number of steps unchanged. The "
             "authors of 1997 had exactly that, without a forget gate; the gate, from 2000, gives the cell a "
             "way to let go.",
             "令 dh = 0、f 全为 1：不管走多少步，梯度都原样传回。1997 年的原始 LSTM 正是这样，没有遗忘门；"
             "2000 年加上的这个门，让单元有办法放下旧事。")),
]
