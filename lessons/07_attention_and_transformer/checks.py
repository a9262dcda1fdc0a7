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
    values = np.array([[1.0, 2], [3, 4], [5, 6]])
    yield np.array([2000.0, 0]), np.array([[1.0, 0], [1.001, 0], [-1, 0]]), values
    yield np.array([2000.0, 0]), np.array([[-1.0, 0], [-1.001, 0], [-2, 0]]), values
    yield np.array([2000.0, 0]), np.array([[0.001, 0], [0, 0], [-1.5, 0]]), values


def attend(q, K, V):
    return formulas.attention(q[None, None, None], K[None, None], V[None, None])[0, 0, 0]


def overflowing(q, K, V):
    with np.errstate(all="ignore"):
        e = np.exp(K @ q / np.sqrt(q.size))
        return e / e.sum() @ V


def shifted(by):
    def version(q, K, V):
        a = K @ q / np.sqrt(q.size)
        with np.errstate(all="ignore"):
            e = np.exp(a - by(a))
            return e / e.sum() @ V
    return version


def clipped(low):
    return lambda q, K, V: overflowing(np.ones(1), np.clip(K @ q / np.sqrt(q.size), low, 700)[:, None], V)


ATTEND_ONE = Exercise(
    "attend_one", one_cases, attend,
    statement_zh="""
        一个查询的注意力。

        a_s = q . k_s / sqrt(d),   p = softmax(a),   o = sum_s p_s v_s

        q：(d,)，查询。K：(S, d)，每行一个键。V：(S, e)，每行一个值。返回 o：(e,)。
        """,
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
        "weights": (lambda q, K, V: softmax(K @ q / np.sqrt(q.size)),
            "these are the weights: the output is the weighted sum of the values, weights @ V.",
            "这是权重：输出是值的加权和，权重 @ V。"),
        "not_summed": (lambda q, K, V: softmax(K @ q / np.sqrt(q.size))[:, None] * V,
            "the weighted values are not added up yet: sum over the keys, axis 0, or write weights @ V.",
            "加权之后的值还没有加起来：要对各个键求和，即第 0 轴，或者写 权重 @ V。"),
        "all_summed": (lambda q, K, V: np.sum(softmax(K @ q / np.sqrt(q.size))[:, None] * V),
            "everything is added up to one number: sum over the keys only, axis 0, or write weights @ V.",
            "全部加成了一个数：只对各个键求和，即第 0 轴，或者写 权重 @ V。"),
        "multiplied": (lambda q, K, V: softmax(K @ q * np.sqrt(q.size)) @ V,
            "you multiply by sqrt(d): divide.",
            "你乘了 sqrt(d)：应当除。"),
        "product_the_wrong_way": (lambda q, K, V: V @ softmax(K @ q),
            "the shapes do not fit: the scores are K @ q, (S, d) @ (d,), and the output is weights @ V, "
            "(S,) @ (S, e).",
            "形状对不上：得分是 K @ q，即 (S, d) @ (d,)；输出是 权重 @ V，即 (S,) @ (S, e)。"),
        "scaled_afterwards": (lambda q, K, V: softmax(K @ q) @ V / np.sqrt(q.size),
            "the *scores* are divided by sqrt(d), before softmax; here it is the output.",
            "要除以 sqrt(d) 的是*得分*，在 softmax 之前；这里除的是输出。"),
        **{key: (shifted(by),
            "what is subtracted before np.exp is not the largest score: where that lies far above or far "
            "below, np.exp overflows, or all exponentials are 0. Subtract a.max().",
            "np.exp 之前减去的不是最大的得分：若最大的比它大得多，np.exp 就上溢；小得多，指数就全为 0。应减去 "
            "a.max()。") for key, by in (
                ("first_score", lambda a: a[0]), ("last_score", lambda a: a[-1]), ("mean_score", np.mean),
                ("largest_size", lambda a: np.abs(a).max()), ("not_below_zero", lambda a: max(a.max(), 0.0)))},
        **{key: (clipped(low),
            "the scores are cut off, so that two large ones become equal: subtract the largest score before "
            "np.exp, which changes no weight.",
            "得分被截断了，两个很大的得分就变得一样：应在 np.exp 之前减去最大的得分，这样权重不变。")
           for key, low in (("capped", -np.inf), ("clipped", -700.0))},
        "mean": (lambda q, K, V: V.mean(axis=0),
            "every value has the same weight: the weights come from q and the keys.",
            "每个值的权重都一样：权重要由 q 和各个键来定。"),
        "product_with_columns": (lambda q, K, V: softmax(q @ K / np.sqrt(q.size)) @ V,
            "q @ K multiplies q with the *columns* of K: a key is a row, so K @ q.",
            "q @ K 是拿 q 去乘 K 的*列*：一个键是一行，所以是 K @ q。"),
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
    # What is seen lies at -2e4, what is hidden at 1e4 and more: to hide it takes -inf.
    yield np.full((3, 1), 200.0), np.array([[-100.0], [60.0], [50.0]]), np.array([[1.0, 2], [3, 4], [5, 6]])


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


def scores_of(Q, K, scale=None):
    a = Q @ K.T / np.sqrt(Q.shape[1] if scale is None else scale)
    return np.where(np.tril(np.ones(a.shape, bool)), a, -np.inf)


def axis_not_kept(Q, K, V, both=True):
    a = scores_of(Q, K)
    with np.errstate(all="ignore"):
        e = np.exp(a - (a.max(axis=1) if both else a.max(axis=1, keepdims=True)))
        return e / e.sum(axis=1) @ V


def no_maximum(Q, K, V):
    with np.errstate(all="ignore"):
        e = np.exp(scores_of(Q, K))
        return e / e.sum(axis=1, keepdims=True) @ V


def one_maximum(Q, K, V):
    a = scores_of(Q, K)
    with np.errstate(all="ignore"):
        e = np.exp(a - a.max())
        return e / e.sum(axis=1, keepdims=True) @ V


def inverted(Q, K, V):
    a = Q @ K.T / np.sqrt(Q.shape[1])
    with np.errstate(all="ignore"):
        return softmax(np.where(np.tril(np.ones(a.shape, bool)), -np.inf, a)) @ V


def all_together(Q, K, V):
    return softmax(scores_of(Q, K), axis=None) @ V


def masked_by_product(Q, K, V):
    a = Q @ K.T / np.sqrt(Q.shape[1])
    with np.errstate(all="ignore"):
        return softmax(a * np.where(np.tril(np.ones(a.shape, bool)), 1.0, -np.inf)) @ V


def one_sum(Q, K, V):
    a = scores_of(Q, K)
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum() @ V


def lowered(by):
    def version(Q, K, V):
        a = Q @ K.T / np.sqrt(Q.shape[1])
        return softmax(a - by * np.triu(np.ones(a.shape), 1)) @ V
    return version


def rows_are_keys(Q, K, V):
    return softmax(scores_of(K, Q)) @ V


CAUSAL = Exercise(
    "causal_attention", causal_cases, causal,
    statement_zh="""
        T 个位置的注意力，每个位置只看自己和前面的位置。

        P = softmax(Q K^T / sqrt(d) + M)，逐行计算；   O = P V

        Q：(T, d)。K：(T, d)。V：(T, e)。返回 O：(T, e)。
        `np.tril(np.ones((T, T), bool))` 在 s <= t 处为 True。
        """,
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
        **{f"filled_{low:g}": (masked(fill=low),
            "hidden scores are set to a finite number such as -1e4: where all that is seen lies below it, "
            "the hidden ones win. Set them to -np.inf.",
            "被掩住的得分设成了一个有限的数，例如 -1e4：若看得见的得分都比它小，反而是被掩住的占了上风。"
            "要设成 -np.inf。") for low in (-1e3, -1e4)},
        **{f"lowered_{by:g}": (lowered(by),
            "a finite number such as 1e4 is taken from the hidden scores: where they are larger than the "
            "others by more than that, they still win. Set them to -np.inf.",
            "被掩住的得分只减去了一个有限的数，例如 1e4：若它们比别的得分大得更多，仍然占上风。要设成 "
            "-np.inf。") for by in (1e3, 1e4)},
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
        "axis_not_kept": (axis_not_kept,
            "(T, T) and (T,) do line up, but along the wrong axis: each *column* gets a maximum and a "
            "sum. With keepdims=True they are (T, 1), one for each row.",
            "(T, T) 和 (T,) 凑巧能对上，却对错了轴：成了每*列*用一个最大值、一个和。加上 keepdims=True 是"
            " (T, 1)，才是每行一个。"),
        "sum_not_kept": (lambda Q, K, V: axis_not_kept(Q, K, V, False),
            "the sum along axis=1 has the shape (T,), and divides the *columns*: with keepdims=True it is "
            "(T, 1), one for each row.",
            "沿 axis=1 的和，形状是 (T,)，结果除的是*列*：加上 keepdims=True 是 (T, 1)，才是每行一个。"),
        "no_maximum": (no_maximum,
            "large scores overflow: subtract the largest of each row before np.exp.",
            "得分很大时上溢：np.exp 之前先减去每行最大的得分。"),
        "one_maximum": (one_maximum,
            "the largest of the whole array is subtracted: in a row far below it every exponential is 0, "
            "and 0 / 0 is nan. Take the maximum of each row, axis=1, keepdims=True.",
            "减去的是整个数组的最大值：若某一行远低于它，那一行的指数就全为 0，而 0 / 0 是 nan。应取每行"
            "的最大值，axis=1, keepdims=True。"),
        "inverted": (inverted,
            "the mask is the wrong way round: where np.tril is True, the score is *kept*.",
            "掩码弄反了：np.tril 为 True 的地方，得分要*留下*。"),
        "all_together": (all_together,
            "all weights together sum to 1: each row should, on its own. The maximum and the sum need "
            "axis=1, keepdims=True.",
            "所有权重加起来才是 1：应当每行各自为 1。最大值与求和都要加 axis=1, keepdims=True。"),
        "masked_by_product": (masked_by_product,
            "-inf is multiplied onto the scores: a negative score becomes +inf, and 0 becomes nan. *Put* "
            "-inf there, with np.where, or add it.",
            "你把 -inf 乘到了得分上：负的得分成了 +inf，0 成了 nan。应当用 np.where 把那里*换成* -inf，或"
            "者加上它。"),
        "root_of_length": (lambda Q, K, V: softmax(scores_of(Q, K, len(Q))) @ V,
            "the root is that of T, the length of the text: d is the length of a query, Q.shape[1].",
            "你用的是文本长度 T 的平方根：d 是查询的长度，Q.shape[1]。"),
        "divided_by_d": (lambda Q, K, V: softmax(scores_of(Q, K, Q.shape[1]**2)) @ V,
            "you divide by d: it is the root of d.",
            "你除以了 d：应该除以 d 的平方根。"),
        "one_sum": (one_sum,
            "all weights together sum to 1: each row should, on its own. np.sum needs axis=1, "
            "keepdims=True, as np.max does.",
            "所有权重加起来才是 1：应当每行各自为 1。np.sum 也要像 np.max 那样加 axis=1, keepdims=True。"),
        "rows_are_keys": (rows_are_keys,
            "in K @ Q.T the rows are keys: a row belongs to a *query*, so Q @ K.T.",
            "K @ Q.T 的行是键：每行应当是一个*查询*，所以是 Q @ K.T。"),
        "not_transposed": (lambda Q, K, V: softmax(Q @ K) @ V,
            "the shapes do not fit: the scores are Q @ K.T, (T, d) @ (d, T), and the output is P @ V.",
            "形状对不上：得分是 Q @ K.T，即 (T, d) @ (d, T)；输出是 P @ V。"),
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
    statement_zh="""
        把每个位置的数切成几个头。

        result[h, t, i] = x[t, h d + i],   d = C / n_head

        x：(T, C)。n_head：头数。返回 (n_head, T, d)。
        """,
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
        "all_turned": (lambda x, H: x.reshape(len(x), H, -1).T,
            ".T turns all three axes round, to (d, n_head, T): exchange the first two only, transpose(1, "
            "0, 2).",
            ".T 把三个轴全颠倒了，成了 (d, n_head, T)：只交换前两个，transpose(1, 0, 2)。"),
        "last_two": (lambda x, H: x.reshape(len(x), H, -1).transpose(0, 2, 1),
            "the wrong two axes are exchanged: heads go to the front, transpose(1, 0, 2).",
            "换错了轴：应把头这一维挪到最前面，transpose(1, 0, 2)。"),
        "turned_first": (lambda x, H: x.T.reshape(H, -1, len(x)),
            "each head comes out as (d, T): its last two axes have to be exchanged, and simplest is "
            "x.reshape(T, n_head, d).transpose(1, 0, 2).",
            "每个头成了 (d, T)：还要交换后两个轴；最简单的写法是 x.reshape(T, n_head, d).transpose(1, 0, "
            "2)。"),
        "cut_rows": (lambda x, H: np.array(np.split(x, H)),
            "np.split cuts along axis 0, the positions, when it is told nothing else: cut each position's "
            "numbers, axis=1.",
            "np.split 不写轴就沿第 0 轴切，那是位置：要切的是每个位置的数，axis=1。"),
        "numbers_before_positions": (lambda x, H: x.reshape(H, -1, len(x)),
            "reshape does not move numbers: it only counts them off anew. Cut each row first, "
            "x.reshape(T, n_head, d), then exchange axes.",
            "reshape 不会移动数，只是按顺序重新数一遍。应先切开每一行，x.reshape(T, n_head, d)，再交换轴。"),
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


def first_half_used_up(x, t, base=10000.0):
    half = x.size // 2
    theta = t * base ** (-2 * np.arange(half) / x.size)
    a = x[:half] * np.cos(theta) - x[half:] * np.sin(theta)
    return np.concatenate([a, a * np.sin(theta) + x[half:] * np.cos(theta)])


def both_added(x, t, base=10000.0):
    y = turned(x, t, base)
    half = x.size // 2
    theta = t * base ** (-2 * np.arange(half) / x.size)
    return y + np.concatenate([2 * x[half:] * np.sin(theta), np.zeros(half)])


def interleaved(x, t, base=10000.0):
    return turned(x, t, base).reshape(2, -1).T.ravel()


def all_angles(x, t, base=10000.0):
    theta, half = t * base ** (-2 * np.arange(x.size) / x.size), x.size // 2
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(theta) - b * np.sin(theta), a * np.sin(theta) + b * np.cos(theta)])


def neighbours_apart(x, t, base=10000.0):
    return turned(x.reshape(-1, 2).T.ravel(), t, base)


def no_parentheses(x, t, base=10000.0):
    half = x.size // 2
    theta = t * base ** -2 * np.arange(half) / x.size
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(theta) - b * np.sin(theta), a * np.sin(theta) + b * np.cos(theta)])


ROTATE = Exercise(
    "rotate",
    lambda rng: [(np.array([1.0, 0]), 1), (np.array([1.0, 2, 3, 4]), 3), (rng.standard_normal(8), 7),
                 (rng.standard_normal(6), 2, 100.0), (rng.standard_normal(4), 0)],
    turned,
    statement_zh="""
        按位置旋转一个查询或键，把 (x_i, x_(i + d/2)) 一对对地转过去。

        theta_i = t base^(-2i/d),  i = 0 ... d/2 - 1
        y_i = x_i cos theta_i - x_(i + d/2) sin theta_i,
        y_(i + d/2) = x_i sin theta_i + x_(i + d/2) cos theta_i

        x：(d,)，d 是偶数。t：位置，一个数。base：式中的底数。返回 y：(d,)。
        """,
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
        "half_for_d": (rotating(size=lambda x: x.size // 2),
            "the exponent is -2i/d with d = x.size: you divide by the half of it.",
            "指数是 -2i/d，其中 d = x.size：你除的是它的一半。"),
        "first_half_used_up": (first_half_used_up,
            "the second line uses the first half after it was turned: keep a and b as they were, and make "
            "both new halves from them.",
            "第二行用的是已经转过的前一半：要保留原来的 a 和 b，新的两半都由它们算出。"),
        "both_added": (both_added,
            "a minus is missing: y_i = x_i cos - x_(i + d/2) sin. Without it lengths change.",
            "漏了一个负号：y_i = x_i cos - x_(i + d/2) sin。没有它，长度就变了。"),
        "one_angle": (rotating(exponent=0.0),
            "all pairs turn by the same angle: each has its own speed, base^(-2i/d).",
            "所有的对都转了同样的角度：各有各的快慢，base^(-2i/d)。"),
        "own_base": (lambda x, t, base=10000.0: turned(x, t),
            "the argument base is not used: some fixed number stands in the code.",
            "没有用到参数 base：代码里写死了一个数。"),
        "interleaved": (interleaved,
            "the numbers are right, in another order: the first halves of all pairs come first, "
            "np.concatenate([y_first, y_second]).",
            "数都对，次序不对：各对的前一个数都在前面，np.concatenate([前一半, 后一半])。"),
        "all_angles": (all_angles,
            "there are d/2 angles, one for each *pair*: np.arange(x.size // 2).",
            "角度只有 d/2 个，每*对*一个：np.arange(x.size // 2)。"),
        "neighbours_apart": (neighbours_apart,
            "your pairs are neighbours (2i, 2i + 1): here i goes with i + d/2, so a = x[:half], b = "
            "x[half:].",
            "你把相邻的两个数 (2i, 2i + 1) 配成了对：这里是 i 和 i + d/2，所以 a = x[:half]，b = x[half:]。"),
        "no_parentheses": (no_parentheses,
            "parentheses are missing: `base ** -2 * i` raises to the power -2 first. Write base ** (-2 * "
            "i / x.size).",
            "漏了括号：`base ** -2 * i` 先算的是 -2 次方。应写 base ** (-2 * i / x.size)。"),
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
    values = np.array([[1.0, 2], [3, 4], [5, 6]])
    yield np.array([2000.0, 0]), np.array([[2.0, 0], [1, 0], [1.5, 0]]), values, 1
    yield np.array([2000.0, 0]), np.array([[-2.0, 0], [-1.5, 0], [-1, 0]]), values, 1
    yield np.array([2e5, 0]), np.array([[-1.0, 0], [-1.5, 0], [-1, 0]]), values, 2


def tiles(rescale_l=True, rescale_o=True, use_maximum=True, global_maximum=True, whole=False, divide=True,
          start_m=-np.inf, inverted=False, in_loop=False):
    """Versions of tiled attention, each with one thing left out."""
    def version(q, K, V, tile):
        m, l, o = start_m, 0.0, np.zeros(V.shape[1])
        end = len(K) // tile * tile if whole else len(K)
        with np.errstate(all="ignore"):
            for start in range(0, end, tile):
                a = K[start:start + tile] @ q / np.sqrt(q.size)
                largest = (max(m, a.max()) if global_maximum else a.max()) if use_maximum else 0.0
                e, shrink = np.exp(a - largest), np.exp(m - largest) if use_maximum else 1.0
                shrink = 1 / shrink if inverted else shrink
                l = (shrink if rescale_l else 1.0) * l + e.sum()
                o = (shrink if rescale_o else 1.0) * o + e @ V[start:start + tile] / (l if in_loop else 1.0)
                m = largest
            return o / l if divide and not in_loop else o
    return version


def maximum_never_kept(q, K, V, tile):
    return attend(q, K[(len(K) - 1) // tile * tile:], V[(len(K) - 1) // tile * tile:])


def mean_of_tiles(q, K, V, tile):
    starts = range(0, len(K), tile)
    return np.mean([attend(q, K[s:s + tile], V[s:s + tile]) for s in starts], axis=0)


def sum_of_tiles(q, K, V, tile):
    return sum(attend(q, K[s:s + tile], V[s:s + tile]) for s in range(0, len(K), tile))


TILED = Exercise(
    "tiled_attention", tiled_cases, lambda q, K, V, tile: attend(q, K, V),
    statement_zh="""
        结果与 attend_one 相同，但把键一块一块地只走一遍。

        m' = max(m, max a),   l' = e^(m - m') l + sum e^(a - m'),   o' = e^(m - m') o + sum e^(a - m') v
        结果：最后一块之后的 o / l

        q：(d,)。K：(S, d)。V：(S, e)。tile：每块几个键；最后一块可以短一些。返回 (e,)。
        """,
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
        "last_tile_alone": (maximum_never_kept,
            "only the last tile is left in the end: m is never set to the new maximum, so that e^(m - m') "
            "stays 0, or l and o begin anew in each round.",
            "最后只剩下末尾那一块：要么 m 一直没有更新成新的最大值，e^(m - m') 总是 0；要么每一轮都把 l "
            "和 o 重新清零了。"),
        "mean_of_tiles": (mean_of_tiles,
            "this is the mean of the tiles' own results: a tile with larger scores must count more. Keep "
            "l and o, and divide once, at the end.",
            "这是各块结果的平均：得分大的块应当占得多。要保留 l 和 o，最后只除一次。"),
        "sum_of_tiles": (sum_of_tiles,
            "each tile is divided by its own sum: keep l and o over all tiles, and divide once, at the "
            "end.",
            "每块各除了自己的和：l 和 o 要跨所有的块累积，最后只除一次。"),
        "not_scaled": (lambda q, K, V, tile: attend(q * np.sqrt(q.size), K, V),
            "the scores are not divided by sqrt(d).",
            "得分没有除以 sqrt(d)。"),
        "own_maximum": (tiles(global_maximum=False),
            "m is set to the maximum of each tile by itself: where that falls, e^(m - m') overflows. m "
            "never falls: m' = max(m, max a).",
            "你把 m 设成了每块自己的最大值：它一变小，e^(m - m') 就上溢。m 只增不减：m' = max(m, max a)。"),
        "from_zero": (tiles(start_m=0.0),
            "m starts at 0: where all scores are far below 0, every exponential is 0, and so is l. Start "
            "at -np.inf.",
            "m 从 0 开始：如果所有得分都远小于 0，指数就全为 0，l 也是 0。应从 -np.inf 开始。"),
        "from_low": (tiles(start_m=-1e4),
            "m starts at a fixed number: where all scores are far below it, every exponential is 0, and so "
            "is l. Start at -np.inf.",
            "m 从一个写死的数开始：如果所有得分都远小于它，指数就全为 0，l 也是 0。应从 -np.inf 开始。"),
        "upside_down": (tiles(inverted=True),
            "the factor is upside down: it is e^(m - m'), at most 1, and not e^(m' - m).",
            "因子写反了：应是 e^(m - m')，不超过 1，而不是 e^(m' - m)。"),
        "divided_in_the_loop": (tiles(in_loop=True),
            "o is divided by l inside the loop: divide once, after the last tile.",
            "在循环里就用 l 去除了：最后一块之后，只除一次。"),
        "own_maximum_not_rescaled": (tiles(rescale_l=False, rescale_o=False, global_maximum=False),
            "each tile subtracts a maximum of its own, and nothing puts the tiles on one scale: m' = "
            "max(m, max a), and l and o are multiplied by e^(m - m').",
            "每块各减各的最大值，却没有换算到同一个尺度：应取 m' = max(m, max a)，并把 l 和 o 乘以 e^(m "
            "- m')。"),
    },
    why=("m only chooses in which unit the sums are kept; the factor changes the unit, and the ratio o / l "
         "does not depend on it.", "m 只决定求和用什么“单位”；那个因子是换单位，而比值 o / l 与单位无关。"))


EXERCISES = [ATTEND_ONE, CAUSAL, SPLIT_HEADS, ROTATE, TILED]
