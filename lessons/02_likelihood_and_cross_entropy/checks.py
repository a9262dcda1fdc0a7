"""Checks of lesson 02: cross-entropy of one-hot rows, softmax, cross-entropy from logits, its gradient."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise

# ---- cross_entropy -----------------------------------------------------------------------------------------


def distributions(rng):
    yield np.array([[1, 0, 0], [0, 1, 0]]), np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]])
    p = rng.uniform(0.1, 1, (5, 4))
    yield np.eye(4)[[0, 3, 1, 1, 2]], p / p.sum(1, keepdims=True)
    yield np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]])
    yield np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [0.5, 0.5]])


def cross_entropy(y, p):
    with np.errstate(divide="ignore"):
        return formulas.cross_entropy(y, p)


def typed_in(y, p):
    return -np.sum(y * np.log(p)) / len(y)


def binary(y, p):
    return -np.sum(y * np.log(np.where(y == 0, 1, p)) + (1 - y) * np.log(np.where(y == 1, 1, 1 - p))) / len(y)


PATCHES = (1e-16, np.finfo(float).eps, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7)  # that people add to p


def without_warning(function):
    def version(*args):
        with np.errstate(all="ignore"):
            return function(*args)
    return version


CROSS_ENTROPY = Exercise(
    "cross_entropy", distributions, cross_entropy,
    statement_zh="""
        文章 4.1 节的损失，标签用 one-hot 行给出。

        L = -(1/N) sum_i sum_j y_ij log p_ij,   其中 0 log 0 算作 0

        y：(N, V)，真正出现的词处为 1，其余为 0。
        p：(N, V)，概率。
        返回一个数，单位是奈特；真正出现的词概率若为 0，就是 inf。
        """,
    hints=[
        ("Write the formula first: y * np.log(p), summed, over N, with a minus. Then look at a p that is 0 "
         "where y is 0.",
         "先照式子写：y * np.log(p)，求和，除以 N，加负号。然后看看：y 为 0 处的 p 若也是 0，会怎样？"),
        ("In floating point 0 * log(0) is nan. Where y is 0, let the logarithm see a harmless number: "
         "np.where helps.",
         "在浮点数里 0 * log(0) 是 nan。y 为 0 的地方，给对数一个无害的数就行，可以用 np.where。"),
        ("log_p = np.log(np.where(y == 0, 1, p)), and then -np.sum(y * log_p) / len(y).",
         "log_p = np.log(np.where(y == 0, 1, p))，再算 -np.sum(y * log_p) / len(y)。"),
    ],
    wrong={
        "typed_in": (typed_in,
            "right where all p are positive; but 0 * log(0) is nan, and one nan spoils the sum. A word that "
            "did not come costs nothing, even with probability 0.",
            "p 全为正时是对的；但 0 * log(0) 是 nan，一个 nan 就毁掉整个和。没有出现的词，哪怕概率为 0，也不"
            "花代价。"),
        **{f"patched_{small:g}": (lambda y, p, small=small: -np.sum(y * np.log(p + small)) / len(y),
            "a little something was added to p, or p was clipped: a word that came with probability 0 costs "
            "inf, and should say so. Keep the logarithm away from the places where y is 0 instead.",
            "在 p 上加了一点东西，或者截断了 p：真正出现的词概率若为 0，代价就该是 inf，不应掩盖。应当让对数避"
            "开 y 为 0 的地方。") for small in PATCHES},
        "all_elements": (lambda y, p: -np.mean(y * np.log(np.where(y == 0, 1, p))),
            "np.mean divides by N V, the formula by N only: the sum over the vocabulary is a sum.",
            "np.mean 除以的是 N V，而式子里只除以 N：对词表的求和就是求和，不取平均。"),
        "not_averaged": (lambda y, p: -np.sum(y * np.log(np.where(y == 0, 1, p))),
            "this is the sum over the samples: divide by N.",
            "这是对各样本的和：还要除以 N。"),
        "no_minus": (lambda y, p: np.sum(y * np.log(np.where(y == 0, 1, p))) / len(y),
            "this is the log-likelihood, which is at most 0; the loss is its negative.",
            "这是对数似然，总不大于 0；损失是它的相反数。"),
        "bits": (lambda y, p: -np.sum(y * np.log2(np.where(y == 0, 1, p))) / len(y),
            "this is in bits: np.log2. The loss is in nats: np.log.",
            "用了 np.log2，单位是比特；损失的单位是奈特，要用 np.log。"),
        "other_words_too": (binary,
            "the terms (1 - y) log(1 - p) belong to yes-or-no questions, one for each word. Here one word of "
            "V comes: the article's formula (section 4.1) has y log p alone.",
            "(1 - y) log(1 - p) 是逐词做是非题时才有的项。这里是从 V 个词里出一个，文章 4.1 节的式子只有 y "
            "log p。"),
        "nan_to_num": (without_warning(lambda y, p: -np.sum(np.nan_to_num(y * np.log(p))) / len(y)),
            "nan_to_num mends 0 * log(0), but turns an honest inf into a huge number as well: a word that "
            "came with probability 0 costs inf. Keep the logarithm away from the places where y is 0 "
            "instead.",
            "nan_to_num 补好了 0 * log(0)，却把该有的 inf 也变成了一个巨大的数：真正出现的词概率若为 0，"
            "代价就是 inf。应当让对数避开 y 为 0 的地方。"),
        "over_words": (lambda y, p: -np.sum(y * np.log(np.where(y == 0, 1, p))) / y.shape[1],
            "you divide by V, the number of words: the mean is over the N samples, len(y).",
            "你除以了 V，即词的个数：平均是对 N 个样本取的，应除以 len(y)。"),
        "all_pairs": (without_warning(lambda y, p: -np.sum(y @ np.log(p).T) / len(y)),
            "a matrix product pairs every sample with every other one: multiply element by element, y * "
            "log_p, and sum.",
            "矩阵乘法把每个样本与所有样本都配了对：应当逐元素相乘，y * log_p，再求和。"),
        "likelihood": (lambda y, p: -np.sum(y * p) / len(y),
            "the logarithm is missing: the cost of a word is -log p, not -p.",
            "漏了对数：一个词的代价是 -log p，不是 -p。"),
        "log_outside": (without_warning(lambda y, p: -np.log(np.sum(y * p) / len(y))),
            "this is the logarithm of the mean probability: take the logarithm of each probability first, "
            "and the mean of those.",
            "这是平均概率的对数：应先对每个概率取对数，再求平均。"),
        "zero_where_p_is_0": (lambda y, p: -np.sum(y * np.log(np.where(p == 0, 1, p))) / len(y),
            "you ask where *p* is 0, and so a word that came with probability 0 costs nothing: ask where "
            "*y* is 0. Such a word costs inf.",
            "你判断的是 *p* 是否为 0，于是真正出现而概率为 0 的词也不花代价了：应判断 *y* 是否为 0。那样"
            "的词，代价是 inf。"),
    },
    why=("In each row only one term is not 0: the loss is the mean of -log p of what came, and the one-hot "
         "code is a way to write \"of what came\" as a sum.",
         "每行只有一项不为 0：损失就是真正出现的词的 -log p 的平均，one-hot 不过是把“真正出现的”写成求和的办"
         "法。"))

# ---- softmax -----------------------------------------------------------------------------------------------


def scores(rng):
    yield (np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]),)
    yield (rng.normal(size=(4, 5)),)
    yield (np.array([[1000.0, 1001.0, 1002.0], [-1000.0, -1001.0, -1002.0]]),)
    yield (np.array([[2000.0, 0.0, 0.0, 0.0], [-3.0, 0.0, 3.0, 0.5], [700.0, -700.0, 0.0, 1.0]]),)
    yield (np.array([[0.0, 2000.0, 0.0], [-1000.0, 0.0, 1000.0]]),)


def ratio(e, axis=1):
    return e / np.sum(e, axis=axis, keepdims=True)


def maximum_without_axis_kept(x):
    e = np.exp(x - np.max(x, axis=1))
    return e / np.sum(e, axis=1)


def sum_unshifted(x):
    return np.exp(x - np.max(x, axis=1, keepdims=True)) / np.sum(np.exp(x), axis=1, keepdims=True)


SOFTMAX = Exercise(
    "softmax", scores, formulas.softmax,
    statement_zh="""
        把每行 logits 变成概率，logits 多大都行。

        p_ij = exp(x_ij - m_i) / sum_k exp(x_ik - m_i),   m_i = max_k x_ik

        x：(N, V)，都是有限的数。返回 (N, V)，每行之和为 1。
        """,
    hints=[
        ("Which number can be subtracted from a whole row so that no exponent is positive?",
         "从整行里减去哪个数，能使所有指数都不为正？"),
        ("The maximum of each row, along axis 1. With keepdims=True it has the shape (N, 1), and broadcasts.",
         "每行的最大值，沿第 1 轴取。加上 keepdims=True，形状是 (N, 1)，就能广播。"),
        ("e = np.exp(x - np.max(x, axis=1, keepdims=True)), then e / np.sum(e, axis=1, keepdims=True).",
         "e = np.exp(x - np.max(x, axis=1, keepdims=True))，再算 e / np.sum(e, axis=1, keepdims=True)。"),
    ],
    wrong={
        **{key: (lambda x, j=j: ratio(np.exp(x - x[:, j:][:, :1])),
            "one fixed column is subtracted from each row: where another logit is far larger, np.exp "
            "overflows. Subtract the largest of the row, x.max(axis=1, keepdims=True).",
            "每行减去的是固定的某一列：若别的 logit 比它大得多，np.exp 就会上溢。应减去这一行里最大的，"
            "x.max(axis=1, keepdims=True)。") for key, j in (("first_column", 0), ("last_column", -1))},
        "as_it_stands": (lambda x: ratio(np.exp(x)),
            "right for small logits; but exp(1000) is inf, and exp(-1000) is 0: subtract the largest of the "
            "row first.",
            "logits 小的时候是对的；但 exp(1000) 是 inf，exp(-1000) 是 0：先减去这一行的最大值。"),
        "one_maximum_for_all": (lambda x: ratio(np.exp(x - np.max(x))),
            "this subtracts the largest of the whole array: in a row far below it every exponential is 0, "
            "and so is their sum. Take the maximum of each row, axis=1, keepdims=True.",
            "减去的是整个数组的最大值：若某一行远低于它，那一行的指数就全为 0，和也是 0。应取每行的最大"
            "值，axis=1, keepdims=True。"),
        "mean_subtracted": (lambda x: ratio(np.exp(x - np.mean(x, axis=1, keepdims=True))),
            "the mean was subtracted: one large logit among small ones still overflows. Subtract the "
            "maximum.",
            "减的是平均值：一堆小数里有一个大数，照样上溢。要减最大值。"),
        "clipped": (lambda x: ratio(np.exp(np.clip(x, -700, 700))),
            "clipping keeps exp in range, and changes the probabilities: 1000, 1001 and 1002 are no longer "
            "different. Subtract the maximum, which changes nothing.",
            "截断虽然不再溢出，却改变了概率：1000、1001、1002 变得没有分别。减最大值则什么也不改变。"),
        "columns": (lambda x: ratio(np.exp(x - np.max(x, axis=0, keepdims=True)), 0),
            "here the columns sum to 1: the words of one sample stand in a row, axis=1.",
            "这样是每列之和为 1：一个样本的各个词排成一行，应沿 axis=1。"),
        "all_together": (lambda x: np.exp(x - x.max()) / np.sum(np.exp(x - x.max())),
            "the whole array sums to 1: each row should, on its own. np.max and np.sum need axis=1, "
            "keepdims=True.",
            "整个数组之和为 1：应当每行各自为 1。np.max 和 np.sum 都要加 axis=1, keepdims=True。"),
        "no_exp": (lambda x: ratio(x - np.min(x, axis=1, keepdims=True) + 1e-12),
            "the exponential is missing: the scores themselves were made positive and divided by their sum.",
            "漏了指数函数：只是把分数变成正的，再除以总和。"),
        "keepdims": (maximum_without_axis_kept,
            "np.max and np.sum along axis=1 give the shape (N,), which does not line up with the rows of "
            "(N, V): with keepdims=True it is (N, 1), and broadcasts.",
            "np.max 和 np.sum 沿 axis=1 得到的形状是 (N,)，与 (N, V) 的行对不上：加上 keepdims=True，形状"
            "是 (N, 1)，就能广播。"),
        "sum_unshifted": (without_warning(sum_unshifted),
            "only the numerator is shifted: use the same e = exp(x - m) above and below the line.",
            "只有分子减了最大值：分子分母要用同一个 e = exp(x - m)。"),
        "sum_of_all": (lambda x: ratio(np.exp(x - np.max(x, axis=1, keepdims=True)), None),
            "the whole array sums to 1: each row should, on its own. np.sum needs axis=1, keepdims=True, "
            "as np.max does.",
            "整个数组之和为 1：应当每行各自为 1。np.sum 也要像 np.max 那样加 axis=1, keepdims=True。"),
        "not_divided": (lambda x: np.exp(x - np.max(x, axis=1, keepdims=True)),
            "the exponentials are not divided by their sum yet.",
            "指数还没有除以它们的和。"),
        "log": (lambda x: formulas.log_softmax(x),
            "this is log p: here the probabilities themselves are wanted.",
            "这是 log p：这里要的是概率本身。"),
        "columns_as_they_stand": (without_warning(lambda x: ratio(np.exp(x), 0)),
            "here the columns sum to 1: the words of one sample stand in a row, axis=1. (And exp(1000) is "
            "inf: subtract the largest of the row first.)",
            "这样是每列之和为 1：一个样本的各个词排成一行，应沿 axis=1。（另外 exp(1000) 是 inf：要先减去"
            "这一行的最大值。）"),
        "scores": (without_warning(lambda x: x / np.sum(x, axis=1, keepdims=True)),
            "the exponential is missing: the scores themselves are divided by their sum, which may be 0 "
            "or negative.",
            "漏了指数函数：直接拿分数除以它们的和，而这个和可能是 0，也可能是负的。"),
        "upside_down": (lambda x: ratio(np.exp(np.min(x, axis=1, keepdims=True) - x)),
            "the sign in the exponent is flipped: the largest score gets the smallest probability. It is "
            "x - m.",
            "指数里的符号反了：分数最大的反而概率最小。应是 x - m。"),
        "upside_down_with_maximum": (
            without_warning(lambda x: ratio(np.exp(np.max(x, 1, keepdims=True) - x))),
            "the sign in the exponent is flipped: the largest score gets the smallest probability. It is "
            "x - m, not m - x.",
            "指数里的符号反了：分数最大的反而概率最小。应是 x - m，不是 m - x。"),
        "divided_by_maximum": (without_warning(lambda x: ratio(np.exp(x / np.max(x, axis=1, keepdims=True)))),
            "the maximum is divided by: that changes the probabilities. *Subtract* it, which changes "
            "nothing.",
            "你除以了最大值，概率就变了：应当*减去*它，概率才不变。"),
    },
    why=("Subtracting m divides numerator and denominator by exp(m): the same probabilities, but no exponent "
         "above 0, and a sum of at least 1.",
         "减去 m，等于分子分母同除以 exp(m)：概率不变，而指数都不超过 0，总和至少是 1。"))

# ---- softmax_cross_entropy and its gradient ----------------------------------------------------------------


def samples(rng):
    yield np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([0, 2])
    yield rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    yield rng.normal(size=(3, 7)) * 3, np.array([6, 0, 6])
    yield np.array([[1000.0, 1001.0, 1002.0], [-1000.0, -1001.0, -1002.0]]), np.array([1, 1])
    yield np.array([[0.0, 800.0], [800.0, 0.0], [5000.0, 5000.0]]), np.array([0, 0, 1])


def log_softmax(x):
    return formulas.log_softmax(x)


def picked(a, labels):
    return a[np.arange(len(labels)), labels]


def without_shift(logits, labels):
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - picked(logits, labels))


def shift_half_undone(logits, labels):
    m = np.max(logits, axis=1)
    lse = np.log(np.sum(np.exp(logits - m[:, None]), axis=1))
    return np.mean(lse - picked(logits, labels))


def one_maximum(logits, labels):
    z = logits - np.max(logits)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - picked(z, labels))


def one_sum(logits, labels):
    z = logits - np.max(logits, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z))) - picked(z, labels))


def no_log(logits, labels):
    z = logits - np.max(logits, axis=1, keepdims=True)
    return np.mean(np.sum(np.exp(z), axis=1) - picked(z, labels))


def clipped_probability(small):
    def version(logits, labels):
        return -np.mean(np.log(np.clip(picked(formulas.softmax(logits), labels), small, 1)))
    return version


def by_one_hot(logits, labels):
    return -np.sum(one_hot(logits, labels) * np.log(formulas.softmax(logits))) / len(labels)


def axis_not_kept(logits, labels):
    z = logits - np.max(logits, axis=1)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - picked(z, labels))


FROM_LOGITS = Exercise(
    "softmax_cross_entropy", samples, formulas.softmax_cross_entropy,
    statement_zh="""
        由 logits 直接算交叉熵，标签是编号。

        L = (1/N) sum_i (lse(x_i) - x_{i, y_i}),   lse(x) = m + log sum_k exp(x_k - m),   m = max_k x_k

        logits：(N, V)，有限的数，多大都行。
        labels：(N,)，整数，真正出现的词的编号。
        返回一个数，单位是奈特。
        """,
    hints=[
        ("Never form p. What is log p, if p is exp(x) over a sum of exponentials?",
         "不要把 p 算出来。p 是 exp(x) 除以一个和，那么 log p 等于什么？"),
        ("With z = x - m, the loss of a sample is log(sum(exp(z))) - z[label]: m cancels. Pick z[label] of "
         "every row with z[np.arange(N), labels].",
         "令 z = x - m，一个样本的损失就是 log(sum(exp(z))) - z[label]，m 消掉了。用 z[np.arange(N), labels] "
         "从每行取出 z[label]。"),
        ("`z = logits - np.max(logits, axis=1, keepdims=True)`, then the mean of `np.log(np.sum(np.exp(z), "
         "axis=1)) - z[np.arange(N), labels]`.",
         "先令 `z = logits - np.max(logits, axis=1, keepdims=True)`，再对 `np.log(np.sum(np.exp(z), axis=1)) "
         "- z[np.arange(N), labels]` 取平均。"),
    ],
    wrong={
        "log_of_softmax": (lambda x, y: -np.mean(np.log(picked(formulas.softmax(x), y))),
            "this is the logarithm of softmax: where the right word is far behind, softmax has already "
            "rounded its probability to 0. Compute log p as x - lse(x).",
            "这是对 softmax 的结果取对数：正确的词若远远落后，softmax 已经把它的概率舍成了 0。log p 要用 x - "
            "lse(x) 来算。"),
        **{f"patched_{small:g}": (
            lambda x, y, small=small: -np.mean(np.log(picked(formulas.softmax(x), y) + small)),
            "the patch hides the inf: the loss stops at minus the logarithm of what you added, although it "
            "should be 800. Compute log p as x - lse(x).",
            "补丁掩盖了 inf：损失本该是 800，却停在“所加的数取对数再取负”的地方。log p 要用 x - lse(x) 来算。")
            for small in PATCHES},
        **{f"clipped_{small:g}": (clipped_probability(small),
            "clipping the probability hides the inf: the loss cannot become 800, although it should. Compute "
            "log p as x - lse(x).",
            "截断概率掩盖了 inf：损失本该是 800，却到不了。log p 要用 x - lse(x) 来算。")
            for small in PATCHES[-2:]},
        "without_shift": (without_shift,
            "right for small logits; exp(1000) is inf. Subtract the maximum of each row first.",
            "logits 小的时候是对的；但 exp(1000) 是 inf。先减去每行的最大值。"),
        "shift_half_undone": (shift_half_undone,
            "m was subtracted inside the exponential, but not from the logit of the label: use z = x - m in "
            "both places, or add m to the lse.",
            "指数里减了 m，标签的 logit 却没有减：两处都用 z = x - m，或者给 lse 加回 m。"),
        "all_columns": (lambda x, y: -np.mean(log_softmax(x)[:, y]),
            "x[:, labels] takes the columns of all labels from every row. One number for each row is wanted: "
            "x[np.arange(N), labels].",
            "x[:, labels] 从每一行里把所有标签对应的列都取了出来。每行只要一个数：x[np.arange(N), labels]。"),
        "not_averaged": (lambda x, y: -np.sum(picked(log_softmax(x), y)),
            "this is the sum over the samples: take the mean.",
            "这是对各样本的和：要取平均。"),
        "logit_of_label": (lambda x, y: -np.mean(picked(x, y)),
            "this is minus the logit of the label, without the lse: it could be made as small as one likes "
            "by making all logits large.",
            "这只是标签 logit 的相反数，漏了 lse：只要把所有 logits 调大，它就可以要多小有多小。"),
        "no_minus": (lambda x, y: np.mean(picked(log_softmax(x), y)),
            "this is the log-likelihood, which is at most 0; the loss is its negative.",
            "这是对数似然，总不大于 0；损失是它的相反数。"),
        "one_maximum": (without_warning(one_maximum),
            "this subtracts the largest of the whole array: in a row far below it every exponential is 0, "
            "and log 0 is -inf. Take the maximum of each row, axis=1, keepdims=True.",
            "减去的是整个数组的最大值：若某一行远低于它，那一行的指数就全为 0，而 log 0 是 -inf。应取每行"
            "的最大值，axis=1, keepdims=True。"),
        "one_sum": (one_sum,
            "the exponentials of all rows are summed together: each row has a sum of its own, np.sum(..., "
            "axis=1).",
            "把各行的指数加到了一起：每行要各有各的和，np.sum(..., axis=1)。"),
        "no_log": (no_log,
            "the logarithm of the sum is missing: lse(x) = m + log sum_k exp(x_k - m).",
            "漏了对和取对数：lse(x) = m + log sum_k exp(x_k - m)。"),
        "all_words": (lambda x, y: -np.mean(log_softmax(x)),
            "this is the mean of -log p over all words: only the word that came counts, x[np.arange(N), "
            "labels].",
            "这是对所有词的 -log p 取平均：只有真正出现的词才算，x[np.arange(N), labels]。"),
        "probability": (lambda x, y: -np.mean(picked(formulas.softmax(x), y)),
            "the logarithm is missing: this is minus the mean probability of the word that came.",
            "漏了对数：这是真正出现的词的平均概率的相反数。"),
        "by_one_hot": (without_warning(by_one_hot),
            "softmax has rounded some probabilities to 0, and one-hot times log 0 is nan or inf. Compute "
            "log p as x - lse(x), and pick x[np.arange(N), labels].",
            "softmax 把有些概率舍成了 0，one-hot 再乘 log 0，就是 nan 或 inf。log p 要用 x - lse(x) 来算，"
            "并取 x[np.arange(N), labels]。"),
        "rows_of_labels": (lambda x, y: -np.mean(log_softmax(x)[y]),
            "x[labels] picks whole *rows*: one number of each row is wanted, x[np.arange(N), labels].",
            "x[labels] 取的是整*行*：每行只要一个数，x[np.arange(N), labels]。"),
        "keepdims": (axis_not_kept,
            "np.max along axis=1 gives the shape (N,), which does not line up with the rows of (N, V): "
            "with keepdims=True it is (N, 1), and broadcasts.",
            "np.max 沿 axis=1 得到的形状是 (N,)，与 (N, V) 的行对不上：加上 keepdims=True，形状是 (N, 1)，"
            "就能广播。"),
    },
    why=("log and exp are undone on paper, so the computer never has to round a probability to 0 and take "
         "its logarithm. A loss of 800 comes out as 800.",
         "对数与指数在纸上就抵消了，计算机不必先把概率舍成 0 再取对数。损失该是 800，算出来就是 800。"))


def grad(logits, labels):
    return (formulas.softmax(logits) - one_hot(logits, labels)) / len(labels)


def one_hot(logits, labels):
    return np.eye(logits.shape[1])[labels]


def softmax_as_it_stands(x):
    return ratio(np.exp(x))


def rows_of_labels(logits, labels):
    p = formulas.softmax(logits)
    p[labels] -= 1
    return p / len(labels)


def columns_of_labels(logits, labels):
    p = formulas.softmax(logits)
    p[:, labels] -= 1
    return p / len(labels)


def shifted_by_one_maximum(logits, labels):
    return (ratio(np.exp(logits - np.max(logits))) - one_hot(logits, labels)) / len(labels)


GRADIENT = Exercise(
    "softmax_cross_entropy_grad", samples, grad,
    statement_zh="""
        平均交叉熵对 logits 的梯度 dL/dlogits。

        dL/dx_ij = (p_ij - y_ij) / N,   p = softmax(x),   y：标签的 one-hot 行

        logits：(N, V)，有限的数，多大都行。labels：(N,)，整数。
        返回 (N, V)。两个参数都不能改动。
        """,
    hints=[
        ("Three steps: p, the stable softmax of the logits; take away 1 at the labels; divide by N.",
         "分三步：p，即 logits 的稳定的 softmax；在标签处减 1；除以 N。"),
        ("p[np.arange(N), labels] -= 1 takes 1 away from one element of each row. p is your own array, so "
         "that is allowed.",
         "p[np.arange(N), labels] -= 1 从每行的一个元素减去 1。p 是你自己算出的数组，可以改。"),
        ("`e = np.exp(logits - np.max(logits, axis=1, keepdims=True))`, then `p = e / np.sum(e, axis=1, "
         "keepdims=True)`, `p[np.arange(N), labels] -= 1`, and return `p / N`.",
         "先算 `e = np.exp(logits - np.max(logits, axis=1, keepdims=True))`，再算 `p = e / np.sum(e, axis=1, "
         "keepdims=True)` 和 `p[np.arange(N), labels] -= 1`，最后返回 `p / N`。"),
    ],
    wrong={
        "not_averaged": (lambda x, y: formulas.softmax(x) - one_hot(x, y),
            "this is the gradient of the sum of the losses: L is their mean, so divide by N.",
            "这是损失之和的梯度：L 是平均，所以还要除以 N。"),
        "sign": (lambda x, y: -grad(x, y),
            "this is y - p, the direction that makes the loss smaller; the gradient points the other way, p "
            "- y.",
            "这是 y - p，即损失减小的方向；梯度指向反方向，是 p - y。"),
        "no_labels": (lambda x, y: formulas.softmax(x) / len(y),
            "this is p / N: take away 1 at the label of each row.",
            "这是 p / N：还要在每行的标签处减 1。"),
        "label_numbers": (lambda x, y: (formulas.softmax(x) - y[:, None]) / len(y),
            "the label's number itself was taken away from the whole row: take away its one-hot row, 1 at "
            "the label and 0 elsewhere.",
            "把标签的编号从整行里减掉了：要减的是它的 one-hot 行，标签处为 1，别处为 0。"),
        "whole_array": (lambda x, y: (formulas.softmax(x) - one_hot(x, y)) / x.size,
            "this is divided by N V: the mean is over the N samples only.",
            "多除了 V：平均只对 N 个样本取。"),
        "as_it_stands": (lambda x, y: (softmax_as_it_stands(x) - one_hot(x, y)) / len(y),
            "right for small logits; exp(1000) is inf. Subtract the maximum of each row first.",
            "logits 小的时候是对的；但 exp(1000) 是 inf。先减去每行的最大值。"),
        "softmax_slope": (lambda x, y: formulas.softmax(x) * (1 - formulas.softmax(x)) / len(y),
            "p (1 - p) is the slope of softmax itself, and only its diagonal. The loss's gradient has the "
            "logarithm in it too, and comes to p - y.",
            "p (1 - p) 是 softmax 自己的导数，而且只是对角线。损失的梯度里还有对数，合起来是 p - y。"),
        "rows_of_labels": (rows_of_labels,
            "p[labels] picks whole *rows*: one element of each row is wanted, p[np.arange(N), labels] -= "
            "1.",
            "p[labels] 取的是整*行*：要的是每行的一个元素，p[np.arange(N), labels] -= 1。"),
        "columns_of_labels": (columns_of_labels,
            "p[:, labels] picks the columns of all labels in every row: one element of each row is "
            "wanted, p[np.arange(N), labels] -= 1.",
            "p[:, labels] 在每一行里都取了所有标签的列：每行只要一个元素，p[np.arange(N), labels] -= 1。"),
        "one_maximum": (without_warning(shifted_by_one_maximum),
            "this subtracts the largest of the whole array: in a row far below it every exponential is 0, "
            "and so is their sum. Take the maximum of each row, axis=1, keepdims=True.",
            "减去的是整个数组的最大值：若某一行远低于它，那一行的指数就全为 0，和也是 0。应取每行的最大值，"
            "axis=1, keepdims=True。"),
        "log_kept": (lambda x, y: (log_softmax(x) - one_hot(x, y)) / len(y),
            "this takes log p: the gradient has p itself, p - y.",
            "你用的是 log p：梯度里是 p 本身，p - y。"),
        "only_labels": (lambda x, y: one_hot(x, y) * grad(x, y),
            "only the places of the labels are filled: every other word gets p / N, since its logit "
            "stands in the sum of exponentials too.",
            "只填了标签的位置：别的词也有 p / N，因为它们的 logit 也在指数和里。"),
        "n_against_rows": (lambda x, y: (formulas.softmax(x) - y) / len(y),
            "a shape (N,) does not line up with the rows of (N, V). For np.max and np.sum, keepdims=True "
            "makes it (N, 1); and of the labels it is the one-hot rows that are taken away: "
            "p[np.arange(N), labels] -= 1.",
            "形状 (N,) 与 (N, V) 的行对不上。np.max 和 np.sum 加上 keepdims=True，形状就是 (N, 1)；至于标"
            "签，要减的是它们的 one-hot 行：p[np.arange(N), labels] -= 1。"),
        "over_words": (lambda x, y: (formulas.softmax(x) - one_hot(x, y)) / x.shape[1],
            "you divide by V, the number of words: the mean is over the N samples, len(labels).",
            "你除以了 V，即词的个数：平均是对 N 个样本取的，应除以 len(labels)。"),
        "divided_too_early": (lambda x, y: formulas.softmax(x) / len(y) - one_hot(x, y),
            "only p is divided by N, not the 1 that is taken away: divide at the end.",
            "只有 p 除以了 N，减去的 1 没有除：应当最后再除。"),
    },
    why=("Each row sums to 0, since probabilities only move from one word to another; and no element is "
         "larger than 1/N, however large the loss. This is what training kernels compute in one pass, with "
         "no probability ever stored.",
         "每行之和为 0，因为概率只是从一个词挪到另一个词；不论损失多大，每个元素都不超过 1/N。训练用的内核正"
         "是这样一遍算成，连概率都不必保存。"))

EXERCISES = [CROSS_ENTROPY, SOFTMAX, FROM_LOGITS, GRADIENT]
