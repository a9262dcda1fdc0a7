"""Checks of lesson 07: attention."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise


def softmax(a, axis=-1):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# --- attend_one ---------------------------------------------------------------------------------------------

def one_cases(rng):
    yield (np.array([2.0, 0, 2, 0]), np.array([[1.0, 0, 1, 0], [0, 1, -1, 0], [-1, 0, 1, 0], [0, 0, 0, 1]]),
           np.array([[10.0, 0], [0, 4], [0, 10], [2, 2]]))
    yield rng.standard_normal(9), rng.standard_normal((5, 9)), rng.standard_normal((5, 3))
    yield np.array([2000.0, 0, 2, 0]), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))


def attend(q, K, V):
    return formulas.attention(q[None, None, None], K[None, None], V[None, None])[0, 0, 0]


def overflowing(q, K, V):
    with np.errstate(all="ignore"):
        e = np.exp(K @ q / np.sqrt(q.size))
        return e / e.sum() @ V


ATTEND_ONE = Exercise(
    "attend_one", one_cases, attend,
    hints=[("Three lines, one for each formula: scores, weights, weighted sum.",
            "三个公式，三行代码：得分、权重、加权和。"),
           ("`K @ q` is all the dot products at once; divide by np.sqrt(q.size).",
            "`K @ q` 一次算出全部点积；再除以 np.sqrt(q.size)。"),
           ("Weights: e = np.exp(a - a.max()), then e / e.sum(). The output is weights @ V.",
            "权重：先 e = np.exp(a - a.max())，再 e / e.sum()。输出是 权重 @ V。")],
    wrong={
        "not_scaled": (lambda q, K, V: softmax(K @ q) @ V, "the scores are not divided by sqrt(d).",
                       "得分没有除以 sqrt(d)。"),
        "divided_by_d": (lambda q, K, V: softmax(K @ q / q.size) @ V, "you divide by d: it is the root of d.",
                         "你除以了 d：应该除以 d 的平方根。"),
        "divided_by_values": (lambda q, K, V: softmax(K @ q / np.sqrt(len(K))) @ V,
                              "the root is that of the number of keys: d is the length of the query.",
                              "你用的是键的个数：d 是查询的长度。"),
        "no_softmax": (lambda q, K, V: K @ q / np.sqrt(q.size) @ V,
                       "the scores themselves are used as weights: softmax comes between.",
                       "你直接拿得分当权重：中间还要做 softmax。"),
        "not_normalised": (lambda q, K, V: np.exp(np.minimum(K @ q / np.sqrt(q.size), 700)) @ V,
                           "the exponentials are not divided by their sum: weights sum to 1.",
                           "指数没有除以它们的和：权重之和应为 1。"),
        "hardest": (lambda q, K, V: V[np.argmax(K @ q)],
                    "this takes the best key's value alone: every value takes part, with its weight.",
                    "你只取了得分最高的那个值：每个值都要按权重参加平均。"),
        "overflow": (overflowing, "large scores overflow: subtract the largest score before np.exp.",
                     "得分很大时上溢：np.exp 之前先减去最大的得分。"),
    },
    why=("The output is a mean of the values, so it never leaves the range that they span; which mean it "
         "is, is smooth in the query and the keys, and so can be learned.",
         "输出是值的加权平均，不会超出它们的范围；而权重随查询和键光滑地变化，所以能学。"))


# --- causal_attention ---------------------------------------------------------------------------------------

def causal_cases(rng):
    yield (np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([[1.0, 0], [0, 1], [2, 0]]),
           np.array([[1.0, 2], [3, 4], [5, 6]]))
    yield rng.standard_normal((5, 4)), rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    yield 50 * rng.standard_normal((4, 9)), 50 * rng.standard_normal((4, 9)), rng.standard_normal((4, 2))


def causal(Q, K, V):
    return formulas.attention(Q[None, None], K[None, None], V[None, None])[0, 0]


def masked(fill=-np.inf, k=0, axis=-1, after=False, scale=None):
    """Masked attention, with what hidden scores become, the diagonal, softmax's axis, cut afterwards."""
    def version(Q, K, V):
        a = Q @ K.T / (np.sqrt(Q.shape[1]) if scale is None else scale)
        seen = np.tril(np.ones(a.shape, bool), k)
        with np.errstate(all="ignore"):
            P = np.where(seen, softmax(a), 0) if after else softmax(np.where(seen, a, fill), axis)
        return P @ V
    return version


CAUSAL = Exercise(
    "causal_attention", causal_cases, causal,
    hints=[("First without the mask: softmax of the rows of Q K^T / sqrt(d), times V.",
            "先不管掩码：对 Q K^T / sqrt(d) 的每一行做 softmax，再乘 V。"),
           ("Before softmax, put -inf where s > t: np.where(np.tril(np.ones((T, T), bool)), a, -np.inf).",
            "做 softmax 之前，把 s > t 的地方设成 -inf：np.where(np.tril(np.ones((T, T), bool)), a, "
            "-np.inf)。"),
           ("Row by row: np.max(a, axis=1, keepdims=True), and the sum likewise.",
            "按行做：np.max(a, axis=1, keepdims=True)，求和也一样。")],
    wrong={
        "no_mask": (lambda Q, K, V: softmax(Q @ K.T / np.sqrt(Q.shape[1])) @ V,
                    "there is no mask: each position also sees the later ones, among them the token that "
                    "it is to predict.", "没有掩码：每个位置都看见了后面的词元，包括它要预测的那一个。"),
        "zero_scores": (masked(fill=0.0), "hidden scores are set to 0, and e^0 = 1 is a weight: set them "
                                          "to -inf.",
                        "被掩住的得分设成了 0，而 e^0 = 1 仍有权重：要设成 -inf。"),
        "cut_after_softmax": (masked(after=True),
                              "you cut the weights after softmax: the rows do not sum to 1 any more. Mask "
                              "the scores, before softmax.", "你在 softmax 之后才砍掉权重，各行的和不再是 "
                                                             "1：应该在 softmax 之前掩住得分。"),
        "one_too_many": (masked(k=1), "each position sees the next one too: the triangle includes the "
                                      "diagonal, no more.",
                         "每个位置还看得见下一个：下三角只到对角线为止。"),
        "one_too_few": (masked(k=-1), "no position sees itself, and the first one sees nothing at all (0 / "
                                      "0): s = t is allowed.", "每个位置都看不见自己，第一个位置什么也看不"
                                                               "见（0 / 0）：s = t 是允许的。"),
        "wrong_triangle": (lambda Q, K, V: softmax(np.where(np.triu(np.ones((len(Q), len(Q)), bool)),
                                                            Q @ K.T / np.sqrt(Q.shape[1]), -np.inf)) @ V,
                           "that is the upper triangle: positions see the future and not the past. np.tril "
                           "is the lower one.", "这是上三角：看得见未来，看不见过去。下三角用 np.tril。"),
        "softmax_over_queries": (masked(axis=0), "softmax runs down the columns: each query's row is to "
                                                 "sum to 1, axis=1.",
                                 "softmax 沿着列做了：应该让每个查询的那一行和为 1，用 axis=1。"),
        "not_scaled": (masked(scale=1.0), "the scores are not divided by sqrt(d).", "得分没有除以 sqrt(d)。"),
    },
    why=("Row t of the result depends on rows 0 to t only, so one pass over a text gives the prediction of "
         "every position as if the text had ended there.",
         "结果的第 t 行只取决于前 t 行和它自己，所以一遍就能得到每个位置的预测，好像文本正好在那里结束。"))


# --- split_heads --------------------------------------------------------------------------------------------

def split(x, n_head):
    T, C = x.shape
    return x.reshape(T, n_head, C // n_head).transpose(1, 0, 2)


SPLIT_HEADS = Exercise(
    "split_heads",
    lambda rng: [(10.0 * np.arange(3)[:, None] + np.arange(4), 2), (rng.standard_normal((5, 12)), 3),
                 (rng.standard_normal((2, 6)), 1)],
    split,
    hints=[("First cut each row, then bring the heads to the front: two operations.",
            "先把每一行切开，再把头这一维挪到最前面：两步。"),
           ("x.reshape(T, n_head, d) cuts the rows. Which axes must change places?",
            "x.reshape(T, n_head, d) 把每行切开。接下来哪两个轴要交换？"),
           ("x.reshape(T, n_head, C // n_head).transpose(1, 0, 2)",
            "x.reshape(T, n_head, C // n_head).transpose(1, 0, 2)：切开，再换轴。")],
    wrong={
        "reshape_only": (lambda x, H: x.reshape(H, len(x), -1),
                         "reshape alone has the right shape, but mixes positions: cut the rows first, then "
                         "exchange axes.",
                         "只用 reshape，形状虽对，位置却混在了一起：先切开每一行，再交换轴。"),
        "interleaved": (lambda x, H: x.reshape(len(x), -1, H).transpose(2, 0, 1),
                        "each head takes every n_head-th number: head h has the d numbers from h d on, "
                        "side by side.",
                        "每个头隔几个数取一个：头 h 应该取从 h d 开始连续的 d 个数。"),
        "not_transposed": (lambda x, H: x.reshape(len(x), H, -1),
                           "the shape is (T, n_head, d): bring the heads to the front, with transpose(1, "
                           "0, 2).",
                           "形状是 (T, n_head, d)：用 transpose(1, 0, 2) 把头挪到最前面。"),
    },
    why=("reshape never moves a number in memory; only the transpose brings together what belongs to one "
         "head.",
         "reshape 不移动内存里的任何数；把同一个头的数归到一起的是转置。"))


# --- rotate -------------------------------------------------------------------------------------------------

def turned(x, t, base=10000.0):
    return formulas.rope(x[None], np.array([t]), base)[0]


def rotating(exponent=-2.0, sign=1, neighbours=False, first=0, size=None):
    def version(x, t, base=10000.0):
        half = x.size // 2
        theta = t * base ** (exponent * (np.arange(half) + first) / (size(x) if size else x.size))
        a, b = (x[::2], x[1::2]) if neighbours else (x[:half], x[half:])
        y = a * np.cos(theta) - sign * b * np.sin(theta), sign * a * np.sin(theta) + b * np.cos(theta)
        return np.stack(y, axis=-1).ravel() if neighbours else np.concatenate(y)
    return version


ROTATE = Exercise(
    "rotate",
    lambda rng: [(np.array([1.0, 0]), 1), (np.array([1.0, 2, 3, 4]), 3), (rng.standard_normal(8), 7),
                 (rng.standard_normal(6), 2, 100.0), (rng.standard_normal(4), 0)],
    turned,
    hints=[("A pair is (x[i], x[i + half]), half = d/2: cut x into its two halves.",
            "一对是 (x[i], x[i + half])，half = d/2：把 x 切成前后两半。"),
           ("theta = t * base ** (-2 * np.arange(half) / x.size)",
            "theta = t * base ** (-2 * np.arange(half) / x.size)，每一对一个角度。"),
           ("np.concatenate([a * np.cos(theta) - b * np.sin(theta), a * np.sin(theta) + b * np.cos(theta)])",
            "np.concatenate([a * np.cos(theta) - b * np.sin(theta), a * np.sin(theta) + b * "
            "np.cos(theta)])，a、b 是前后两半。")],
    wrong={
        "backwards": (rotating(sign=-1), "the pairs turn the other way: the signs of the two sines are "
                                         "exchanged.",
                      "转的方向反了：两个正弦项的符号对调了。"),
        "neighbours": (rotating(neighbours=True), "your pairs are neighbours (2i, 2i + 1): here i goes "
                                                  "with i + d/2. (Both ways exist; lesson 17 shows what "
                                                  "happens when they are mixed up.)",
                       "你把相邻的两个数 (2i, 2i + 1) 配成了对：这里是 i 和 i + d/2。（两种配法都有人用；"
                       "第 17 课会看到混用的后果。）"),
        "half_the_exponent": (rotating(exponent=-1.0), "the exponent is -2i/d: the factor 2 is missing.",
                              "指数是 -2i/d：漏了因子 2。"),
        "faster": (rotating(exponent=2.0), "the exponent is negative: later pairs turn more slowly.",
                   "指数是负的：越靠后的对转得越慢。"),
        "from_one": (rotating(first=1), "i begins at 0: the first pair turns by t itself.",
                     "i 从 0 开始：第一对转过的角度就是 t。"),
    },
    why=("A turn keeps lengths, and two vectors turned by the same angle keep their product: so a score "
         "depends on the distance between query and key only.",
         "旋转不改变长度；两个向量转过同样的角度，点积也不变：所以得分只取决于查询与键的距离。"))


# --- tiled_attention ----------------------------------------------------------------------------------------

def tiled_cases(rng):
    yield (np.array([2.0, 0, 2, 0]), np.array([[0.0, 0, 0, 1], [-1, 0, 1, 0], [0, 1, -1, 0], [1, 0, 1, 0]]),
           np.array([[2.0, 2], [0, 10], [0, 4], [10, 0]]), 2)
    yield rng.standard_normal(9), rng.standard_normal((7, 9)), rng.standard_normal((7, 3)), 3
    yield rng.standard_normal(4), rng.standard_normal((5, 4)), rng.standard_normal((5, 2)), 8
    yield 2000 * rng.standard_normal(4), rng.standard_normal((5, 4)), rng.standard_normal((5, 2)), 2


def tiles(rescale_l=True, rescale_o=True, use_maximum=True, global_maximum=True, whole=False, divide=True):
    """Versions of tiled attention, each with one thing left out."""
    def version(q, K, V, tile):
        m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
        end = len(K) // tile * tile if whole else len(K)
        with np.errstate(all="ignore"):
            for start in range(0, end, tile):
                a = K[start:start + tile] @ q / np.sqrt(q.size)
                largest = (max(m, a.max()) if global_maximum else a.max()) if use_maximum else 0.0
                e, shrink = np.exp(a - largest), np.exp(m - largest) if use_maximum else 1.0
                l = (shrink if rescale_l else 1.0) * l + e.sum()
                o = (shrink if rescale_o else 1.0) * o + e @ V[start:start + tile]
                m = largest
            return o / l if divide else o
    return version


TILED = Exercise(
    "tiled_attention", tiled_cases, lambda q, K, V, tile: attend(q, K, V),
    hints=[("Start with m = -inf, l = 0, o = zeros; one round of the loop is the three formulas.",
            "初值 m = -inf，l = 0，o 全零；每一轮循环就是那三个公式。"),
           ("Both l and o are multiplied by np.exp(m - largest) before the new tile is added; m changes "
            "last.",
            "加上新的一块之前，l 和 o 都要先乘 np.exp(m - largest)；m 最后才更新。"),
           ("K[start:start + tile] is shorter at the end by itself; range(0, len(K), tile) reaches it.",
            "K[start:start + tile] 到了末尾自然会短一些；range(0, len(K), tile) 会走到它。")],
    wrong={
        "sum_not_rescaled": (tiles(rescale_l=False), "l is not scaled by e^(m - m') when the maximum grows.",
                             "最大值变大时，l 没有乘 e^(m - m')。"),
        "output_not_rescaled": (tiles(rescale_o=False), "o is not scaled by e^(m - m') when the maximum "
                                                        "grows.",
                                "最大值变大时，o 没有乘 e^(m - m')。"),
        "nothing_rescaled": (tiles(rescale_l=False, rescale_o=False),
                             "neither l nor o is scaled by e^(m - m') when the maximum grows: they belong "
                             "to the old one.",
                             "最大值变大时，l 和 o 都没有乘 e^(m - m')：它们还是相对旧的最大值算的。"),
        "no_maximum": (tiles(use_maximum=False), "nothing is subtracted before np.exp: large scores "
                                                 "overflow.",
                       "np.exp 之前没有减去最大值：得分很大时会上溢。"),
        "last_tile_lost": (tiles(whole=True), "the last, shorter tile is left out.",
                           "最后那个不满的块漏掉了。"),
        "not_divided": (tiles(divide=False), "after the last tile, divide o by l.",
                        "最后一块之后，还要用 o 除以 l。"),
    },
    why=("m only chooses in which unit the sums are kept; the factor changes the unit, and the ratio o / l "
         "does not depend on it.", "m 只决定求和用什么“单位”；那个因子是换单位，而比值 o / l 与单位无关。"))


EXERCISES = [ATTEND_ONE, CAUSAL, SPLIT_HEADS, ROTATE, TILED]
