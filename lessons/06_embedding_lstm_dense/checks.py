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


def sums_over_all(ids, g, V):
    return np.array([np.full(g.shape[1], g[ids == v].sum()) for v in range(V)])


def indexed_by_token(ids, g, V):
    dE = np.zeros((V, g.shape[1]))
    for v in ids:
        dE[v] += g[v]
    return dE


def table_as_large_as_the_batch(ids, g, V):
    dE = np.zeros_like(g)
    np.add.at(dE, ids, g)
    return dE


def places_and_tokens_exchanged(ids, g, V):
    dE = np.zeros((V, g.shape[1]))
    for n, v in enumerate(ids):
        dE[n] += g[v]
    return dE


def cell_cases(rng):
    zero = np.zeros((1, 1))
    bias = np.array([0.0, np.log(3), np.arctanh(0.6), 0.0])
    yield zero, zero, np.array([[2.0]]), np.zeros((1, 4)), np.zeros((1, 4)), bias
    for B, D, H in ((2, 3, 2), (2, 3, 4), (3, 2, 2)):  # with B = H even f @ c has a result
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


def cut_along_the_batch(x, h, c, W, U, b):
    z = np.split(x @ W + h @ U + b, 4)
    return sigmoid(z[3]), np.tanh(z[2])


def shown_whole(x, h, c, W, U, b):
    _, c_t = cell()(x, h, c, W, U, b)
    return np.tanh(c_t), c_t


def kept_whole(x, h, c, W, U, b):
    i, _, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    c_t = c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c_t), c_t


def one_gate_for_both(x, h, c, W, U, b):
    _, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    c_t = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(g)
    return sigmoid(o) * np.tanh(c_t), c_t


def not_squashed(x, h, c, W, U, b):
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    c_t = f * c + i * g
    return o * np.tanh(c_t), c_t


def matrix_product(*where):
    """An LSTM cell with `@` for `*` in some of f * c, i * g and o * tanh(c_t)."""

    def run(x, h, c, W, U, b):
        i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_t = (f @ c if "f" in where else f * c) + (i @ g if "i" in where else i * g)
        return (o @ np.tanh(c_t) if "o" in where else o * np.tanh(c_t)), c_t

    return run


def rows_for_gates(x, h, c, W, U, b):
    z, H = x @ W + h @ U + b, h.shape[1]
    i, f, g, o = sigmoid(z[:H]), sigmoid(z[H:2 * H]), np.tanh(z[2 * H:3 * H]), sigmoid(z[3 * H:])
    c_t = f * c + i * g
    return o * np.tanh(c_t), c_t


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
        statement_zh="""
            嵌入表的梯度：dE_v = 在 ids 等于 v 的所有位置上，把 g 加起来。

            ids：(N,)，[0, V) 内的整数。g：(N, D)，查出来的各行的梯度。V：词表大小。返回 (V, D)。
            """,
        hints=[("A row that was looked up twice gets two gradients: they add up.",
                "查过两次的行会得到两份梯度：要相加。"),
               ("Begin with zeros of shape (V, D). A loop over the places is fine; or look at np.add.at.",
                "先建形状为 (V, D) 的零数组。对位置写循环就可以，也可以看看 np.add.at。"),
               ("dE = np.zeros((V, g.shape[1])); np.add.at(dE, ids, g); return dE",
                "dE = np.zeros((V, g.shape[1]))；np.add.at(dE, ids, g)；最后返回 dE。")],
        wrong={
            "last_wins": (last_wins,
                          "a token that stands there more than once has only its last gradient: dE[ids] += g "
                          "and dE[ids] = g write each row once. Use np.add.at.",
                          "出现不止一次的词元只剩最后一份梯度：dE[ids] += g 和 dE[ids] = g 每行都只写一次。"
                          "请用 np.add.at。"),
            "first_wins": (first_wins, "a token that stands there more than once has only its first gradient: "
                                       "add them up.",
                           "出现不止一次的词元只剩第一份梯度：应当相加。"),
            "as_it_came": (lambda ids, g, V: g,
                           "this is g itself, one row for each place; the gradient of the table has one row for "
                           "each token of the vocabulary.",
                           "这就是 g 本身，每个位置一行；表的梯度是词表里每个词元一行。"),
            "averaged": (averaged,
                         "you divide by how often the token stands there: the chain rule adds, it does not "
                         "average.",
                         "你除以了词元出现的次数：链式法则是相加，不是取平均。"),
            "sums_over_all": (sums_over_all,
                "g[ids == v].sum() adds up the D numbers of a row as well: sum over the places only, "
                "axis=0.",
                "g[ids == v].sum() 把一行里的 D 个数也加到了一起：只对位置求和，axis=0。"),
            "indexed_by_token": (indexed_by_token,
                "g is indexed by place, not by token: for place n, dE[ids[n]] += g[n].",
                "g 的下标是位置，不是词元：对位置 n，dE[ids[n]] += g[n]。"),
            "table_as_large_as_the_batch": (table_as_large_as_the_batch,
                "the table has one row for each of the V tokens: begin with np.zeros((V, g.shape[1])), "
                "not with zeros like g.",
                "表里 V 个词元每个一行：应从 np.zeros((V, g.shape[1])) 开始，而不是与 g 同形状的零。"),
            "ones": (lambda ids, g, V: np.eye(V)[ids].T @ np.ones_like(g),
                "this counts how often each token stands there: add up g's rows instead.",
                "这是在数每个词元出现了几次：应把 g 的各行加起来。"),
            "gathered": (lambda ids, g, V: g[ids],
                "g[ids] looks up rows of g, as the way forward does with the table: on the way back, g[n] "
                "goes to row ids[n].",
                "g[ids] 是从 g 里查行，就像前向时查表那样：反向时，g[n] 要送到第 ids[n] 行。"),
            "places_and_tokens_exchanged": (places_and_tokens_exchanged,
                "places and tokens are exchanged: for place n with token v it is dE[v] += g[n].",
                "位置和词元弄反了：位置 n 上的词元是 v，应写 dE[v] += g[n]。"),
            "no_transpose": (lambda ids, g, V: np.eye(V)[ids] @ g,
                "the one-hot rows have the shape (N, V): on the way back it is their transpose, "
                "np.eye(V)[ids].T @ g.",
                "one-hot 行的形状是 (N, V)：反向时要用它的转置，np.eye(V)[ids].T @ g。"),
        },
        why=("Whatever is used several times collects gradient from each use. An embedding is the plainest "
             "case: a common token's row moves more, a token that is not in the batch does not move at all.",
             "一个量用了几次，就从每一次收一份梯度。嵌入是最直白的例子：常见词元的那一行动得多，"
             "这一批里没有的词元，那一行一动不动。")),
    Exercise(
        "lstm_cell", cell_cases, formulas.lstm_cell, outputs=("h_t", "c_t"),
        statement_zh="""
            LSTM 的一步；`sigmoid` 已经写好，可以直接用。

            z = x W + h U + b，沿最后一个轴切成 z_i、z_f、z_g、z_o，每个都是 (B, H)
            i = sigma(z_i), f = sigma(z_f), g = tanh(z_g), o = sigma(z_o)
            c_t = f * c + i * g,   h_t = o * tanh(c_t)

            x：(B, D)。h、c：(B, H)。W：(D, 4H)。U：(H, 4H)。b：(4H,)。
            返回 (h_t, c_t)，每个都是 (B, H)。
            """,
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
            "cut_along_the_batch": (cut_along_the_batch,
                "np.split cuts along axis 0, the batch, when it is told nothing else: axis=-1.",
                "np.split 不写轴就沿第 0 轴切，那是批：要写 axis=-1。"),
            "shown_whole": (shown_whole,
                "the output gate is missing: h_t = o * tanh(c_t).",
                "漏了输出门：h_t = o * tanh(c_t)。"),
            "kept_whole": (kept_whole,
                "the forget gate is missing: c_t = f * c + i * g.",
                "漏了遗忘门：c_t = f * c + i * g。"),
            "one_gate_for_both": (one_gate_for_both,
                "you write with 1 - f: that is another kind of cell (a GRU's). Here the input gate i "
                "decides by itself what is written.",
                "写入时你用了 1 - f：那是另一种单元（GRU）的做法。这里写入多少，由输入门 i 单独决定。"),
            "not_squashed": (not_squashed,
                "the gates have not gone through their sigmoids, nor g through its tanh: z_i, z_f, z_g, "
                "z_o are only the sums.",
                "各个门还没有经过 sigmoid，g 也没有经过 tanh：z_i、z_f、z_g、z_o 只是加权和。"),
            "f_at_c": (matrix_product("f"),
                "`f @ c` is a matrix product: a gate acts on each number by itself, f * c.",
                "`f @ c` 是矩阵乘法：门是逐个元素起作用的，应写 f * c。"),
            "i_at_g": (matrix_product("i"),
                "`i @ g` is a matrix product: a gate acts on each number by itself, i * g.",
                "`i @ g` 是矩阵乘法：门是逐个元素起作用的，应写 i * g。"),
            "o_at_tanh": (matrix_product("o"),
                "`o @ tanh(c_t)` is a matrix product: a gate acts on each number by itself, o * tanh(c_t).",
                "`o @ tanh(c_t)` 是矩阵乘法：门是逐个元素起作用的，应写 o * tanh(c_t)。"),
            "f_at_c_i_at_g": (matrix_product("f", "i"),
                "`f @ c` and `i @ g` are matrix products: a gate acts on each number by itself, f * c + "
                "i * g.",
                "`f @ c` 和 `i @ g` 是矩阵乘法：门是逐个元素起作用的，应写 f * c + i * g。"),
            "all_at": (matrix_product("f", "i", "o"),
                "`@` is the matrix product: a gate acts on each number by itself, so f * c + i * g and o "
                "* tanh(c_t).",
                "`@` 是矩阵乘法：门是逐个元素起作用的，应写 f * c + i * g 和 o * tanh(c_t)。"),
            "rows_for_gates": (rows_for_gates,
                "z[:H] takes rows, which are samples of the batch: the gates lie side by side along the "
                "last axis, z[:, :H].",
                "z[:H] 取的是行，也就是一批里的样本：四个门沿最后一个轴并排，应写 z[:, :H]。"),
        },
        why=("Everything that is learned sits in W, U and b; the cell itself has no choice to make. And c "
             "goes from step to step with one multiplication and one addition.",
             "要学的全在 W、U 和 b 里，单元本身没有什么可选的。而 c 从一步到下一步，"
             "只经过一次乘法和一次加法。")),
    Exercise(
        "forget_bias", bias_cases, forget_bias,
        statement_zh="""
            求偏置 b，使 sigma(b)^steps = share。

            share：要留住的比例，在 (0, 1) 内。steps：步数，>= 1。返回一个数。
            """,
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
            "power": (lambda share, steps: -np.log(1 / share**steps - 1),
                "f multiplied by itself `steps` times gives the share, so f is the *root*: share ** (1 / "
                "steps), not share ** steps.",
                "f 自乘 `steps` 次才得到这个比例，所以 f 是*开方*：share ** (1 / steps)，而不是 share ** "
                "steps。"),
            "odds": (lambda share, steps: 1 / (share ** (-1 / steps) - 1),
                "this is f / (1 - f), which is e^b: take its logarithm.",
                "这是 f / (1 - f)，也就是 e^b：还要取对数。"),
            "share_of_a_step": (lambda share, steps: -np.log(1 / (1 - (1 - share) / steps) - 1),
                "you spread the loss evenly over the steps, 1 - (1 - share) / steps: what is kept is "
                "*multiplied* from step to step, so it takes a root.",
                "你把损失的部分平均摊到了每一步，1 - (1 - share) / steps：留下的部分是一步步*相乘*的，所"
                "以要开方。"),
            "sigma": (lambda share, steps: 1 / (1 + np.exp(-(share ** (1 / steps)))),
                "this is sigma of f: it is to be turned round, b = log(f / (1 - f)).",
                "这是 sigma(f)：应当反解，b = log(f / (1 - f))。"),
            "divided": (lambda share, steps: -np.log(steps / share - 1),
                "you divided the share by the steps (`share ** 1 / steps` does that too, for lack of "
                "parentheses): the factors multiply, so it takes a root, share ** (1 / steps).",
                "你用比例除以了步数（`share ** 1 / steps` 漏了括号，也是这样）：各步的因子是相乘的，所以"
                "要开方，share ** (1 / steps)。"),
        },
        why=("For many steps b is about log(steps / log(1 / share)): ten times as long a memory costs only "
             "2.3 more of bias. (For very long ones write np.expm1(-np.log(share) / steps) for 1 / f - 1, "
             "which keeps its digits.)",
             "步数多时，b 约为 log(steps / log(1 / share))：记忆要长十倍，偏置只需加 2.3。（步数极多时，"
             "把 1 / f - 1 写成 np.expm1(-np.log(share) / steps)，才不会丢掉有效数字。）")),
    Exercise(
        "carried_gradient", carried_cases, carried_gradient,
        statement_zh="""
            已知 dL/dh_t，以及从后面传到 c_t 的梯度，求 dL/dc_{t-1}。

            (dc + dh * o * (1 - tanh(c_t)^2)) * f

            形状都相同，例如 (B, H)。dh、dc：h_t 和 c_t 的梯度。f、o：遗忘门和输出门。c_t：新的细胞状态。
            """,
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
            "not_squared": (lambda dh, dc, f, o, c_t: (dc + dh * o * (1 - np.tanh(c_t))) * f,
                "the square is missing: the slope of tanh is 1 - tanh(c_t)^2.",
                "漏了平方：tanh 的斜率是 1 - tanh(c_t)^2。"),
            "only_shown": (lambda dh, dc, f, o, c_t: dh * o * (1 - np.tanh(c_t) ** 2) * f,
                "the gradient dc that comes from later is missing: add it.",
                "漏了从后面传来的 dc：要加上它。"),
            "multiplied": (lambda dh, dc, f, o, c_t: dc * dh * o * (1 - np.tanh(c_t) ** 2) * f,
                "the two gradients of c_t are multiplied: c_t is used in two places, so they add up.",
                "c_t 的两份梯度相乘了：c_t 用在两处，所以要相加。"),
            "value": (lambda dh, dc, f, o, c_t: (dc + dh * o * np.tanh(c_t)) * f,
                "you multiply by tanh(c_t) itself: on the way back it is its slope, 1 - tanh(c_t)^2.",
                "你乘的是 tanh(c_t) 本身：反向时要乘它的斜率 1 - tanh(c_t)^2。"),
            "f_on_one": (lambda dh, dc, f, o, c_t: dc + dh * o * (1 - np.tanh(c_t) ** 2) * f,
                "only the part from h_t goes through the forget gate: both reach c_{t-1} by way of c_t, "
                "so multiply the *sum* by f.",
                "只有从 h_t 来的那份经过了遗忘门：两份都要先到 c_t 再到 c_{t-1}，所以要对*总和*乘 f。"),
            "exchanged": (lambda dh, dc, f, o, c_t: (dh + dc * o * (1 - np.tanh(c_t) ** 2)) * f,
                "dh and dc are exchanged: dc is there already, dh comes through h_t = o * tanh(c_t).",
                "dh 和 dc 弄反了：dc 已经在 c_t 上，dh 要经过 h_t = o * tanh(c_t) 传来。"),
        },
        why=("Take dh = 0 and all f = 1: the gradient comes through any number of steps unchanged. The "
             "authors of 1997 had exactly that, without a forget gate; the gate, from 2000, gives the cell a "
             "way to let go.",
             "令 dh = 0、f 全为 1：不管走多少步，梯度都原样传回。1997 年的原始 LSTM 正是这样，没有遗忘门；"
             "2000 年加上的这个门，让单元有办法放下旧事。")),
]
