"""Checks of lesson 17: real weights. None of them needs the weights."""

from itertools import pairwise

import numpy as np

from minillm import formulas
from minillm.course import Exercise
from minillm.generate import next_token_distribution
from minillm.weights import dequantize

# --- dequantize_q4_1 ----------------------------------------------------------------------------------------

def block_of(d, m, data):
    head = np.array([d, m], "<f2").view(np.uint8)
    return np.concatenate([head, np.asarray(data, np.uint8)])


def block_cases(rng):
    yield (block_of(0.5, -2.0, np.arange(16) + 16 * np.arange(15, -1, -1)),)
    yield (block_of(0.01, 0.25, rng.integers(0, 256, 16)),)
    yield (block_of(-3.0, 1.5, rng.integers(0, 256, 16)),)


def halves(block):
    d, m = block[:4].view("<f2").astype(np.float32)
    return d, m, block[4:] & 15, block[4:] >> 4


def q4_1(combine=np.concatenate, swapped=False, minimum=1, offset=0, scale_and_min=False, last=False):
    """Versions of the decoding, each with one thing wrong."""
    def version(block):
        d, m, low, high = halves(block)
        if scale_and_min:
            d, m = m, d
        q = combine([high, low] if swapped else [low, high]).astype(np.float32) - offset
        return d * (q + m) if last else d * q + minimum * m
    return version


def signed_halves(block):
    d, m, low, high = halves(block)
    q = np.concatenate([low, high]).astype(np.int8)
    return d * np.where(q > 7, q - 16, q).astype(np.float32) + m


def in_half_precision(block):
    d, m = block[:4].view("<f2")
    return d * np.concatenate([block[4:] & 15, block[4:] >> 4]) + m


def big_endian(block):
    d, m = block[:4].view(">f2").astype(np.float32)
    return d * np.concatenate([block[4:] & 15, block[4:] >> 4]) + m


def bytes_as_they_are(block):
    d, m = block[:4].view("<f2").astype(np.float32)
    return d * block[4:] + m


def divided(block):
    d, m = block[:4].view("<f2").astype(np.float32)
    return d * np.concatenate([block[4:] & 15, block[4:] / 16]) + m


def high_not_shifted(block):
    d, m = block[:4].view("<f2").astype(np.float32)
    return d * np.concatenate([block[4:] & 15, block[4:] & 240]) + m


def bytes_for_scales(block):
    with np.errstate(over="ignore"):
        return block[0] * np.concatenate([block[4:] & 15, block[4:] >> 4]) + block[2]


DEQUANTIZE = Exercise(
    "dequantize_q4_1", block_cases, lambda block: dequantize(block[None], "Q4_1"),
    statement_zh="""
        一个 Q4_1 块的 32 个权重。

        w_i = d q_i + m;   q_j = 第 4 + j 个字节的低半边,   q_(j + 16) = 它的高半边,   j = 0 ... 15

        block：(20,) uint8；第 0、1 字节是 d，第 2、3 字节是 m，都是小端 float16
            （`block[:2].view("<f2")[0]`）。
        返回 (32,) float32。
        """,
    hints=[("Three parts: two float16 numbers, then the low halves, then the high halves.",
            "分三部分：两个 float16 数，然后是各字节的低半边，再是高半边。"),
           ("low = block[4:] & 15 gives q_0 ... q_15; high = block[4:] >> 4 gives q_16 ... q_31.",
            "low = block[4:] & 15 是 q_0 到 q_15；high = block[4:] >> 4 是 q_16 到 q_31。"),
           ("d, m = block[:4].view('<f2').astype(np.float32); return d * np.concatenate([low, high]) + m",
            "先 d, m = block[:4].view('<f2').astype(np.float32)，再返回 d * np.concatenate([low, high]) + "
            "m。")],
    wrong={
        "neighbours": (q4_1(lambda two: np.stack(two, axis=1).ravel()),
                       "you take the two halves of a byte for neighbours: the high halves are weights 16 "
                       "to 31.",
                       "你把一个字节的两半当成了相邻的权重：高半边是第 16 到 31 个权重。"),
        "high_first": (q4_1(swapped=True), "low and high halves are exchanged: the low ones come first.",
                       "低半边和高半边弄反了：低半边在前。"),
        "no_minimum": (q4_1(minimum=0), "the minimum m is not added.", "没有加上最小值 m。"),
        "centred": (q4_1(offset=8), "you subtract 8 from q: that is Q4_0, which has no minimum. Q4_1 has m.",
                    "你从 q 里减了 8：那是没有最小值的 Q4_0；Q4_1 用的是 m。"),
        "signed": (signed_halves, "you read the four bits as signed: q runs from 0 to 15.",
                   "你把四位当成了有符号数：q 的范围是 0 到 15。"),
        "exchanged": (q4_1(scale_and_min=True), "d and m are exchanged: the scale comes first in the block.",
                      "d 和 m 弄反了：块里先是缩放系数。"),
        "minimum_scaled": (q4_1(last=True), "the minimum is multiplied by d as well: w = d q + m.",
                           "最小值也被乘了 d：应为 w = d q + m。"),
        "minimum_subtracted": (q4_1(minimum=-1),
            "the minimum is subtracted: add it, w = d q + m. (It is negative as a rule.)",
            "你减了最小值：应当加，w = d q + m。（它通常是负的。）"),
        "in_half_precision": (in_half_precision,
            "d and m are still float16 when you compute, so the weights are rounded: turn them into "
            "float32 first, .astype(np.float32).",
            "计算时 d 和 m 还是 float16，权重就被舍入了：先转成 float32，.astype(np.float32)。"),
        "big_endian": (big_endian,
            "the two bytes of d and m are taken in the wrong order: little-endian is \"<f2\".",
            "d 和 m 的两个字节次序反了：小端是 \"<f2\"。"),
        "bytes_as_they_are": (bytes_as_they_are,
            "a byte holds *two* weights: take it apart, block[4:] & 15 and block[4:] >> 4, 32 numbers in "
            "all.",
            "一个字节装着*两个*权重：要拆开，block[4:] & 15 和 block[4:] >> 4，一共 32 个数。"),
        "divided": (divided,
            "`/ 16` keeps what is behind the point, which is the low half: the high half is block[4:] >> "
            "4.",
            "`/ 16` 留下了小数部分，那其实是低半边：高半边是 block[4:] >> 4。"),
        "high_not_shifted": (high_not_shifted,
            "the high half still stands at its high place, 16 times too large: shift it down, block[4:] "
            ">> 4.",
            "高半边还停在高位上，大了 16 倍：要移下来，block[4:] >> 4。"),
        "bytes_for_scales": (bytes_for_scales,
            "d and m are float16 numbers of two bytes each, not single bytes: block[:4].view(\"<f2\").",
            "d 和 m 是各占两个字节的 float16，不是单个字节：block[:4].view(\"<f2\")。"),
        "rounded_in_between": (lambda block: in_half_precision(block).astype(np.float32),
            "d and m are still float16 while you compute, so the weights are rounded before they become "
            "float32: turn d and m into float32 first.",
            "计算时 d 和 m 还是 float16，权重先被舍入，然后才变成 float32：应当先把 d 和 m 转成 float32。"),
    },
    why=("A block keeps its own range, so its rounding error is at most d/2, half a level of the range of "
         "its 32 weights.",
         "每块记着自己的范围，所以舍入误差最多 d/2，即本块 32 个权重的范围里的半个等级。"))


# --- merge_all ----------------------------------------------------------------------------------------------

RANKS = {("a", "b"): 3, ("b", "c"): 0, ("a", "bc"): 1, ("bc", "a"): 2, ("ab", "ab"): 4, ("d", "d"): 5}


def merge_cases(rng):
    yield ["a", "b", "c"], dict(RANKS)
    yield list("ababcabd"), dict(RANKS)
    yield list("ddddd"), dict(RANKS)
    yield ["x"], dict(RANKS)
    yield [str(piece) for piece in rng.permutation(list("aabbccdda"))], dict(RANKS)
    yield list("cabd"), {("c", "a"): 2, ("a", "b"): 1, ("b", "d"): 0}
    yield list("abd"), {("b", "d"): 1, ("a", "b"): 0}
    yield list("abc"), {("a", "b"): 0, ("b", "c"): 2, ("a", "bc"): 1}
    yield list("bab"), {("a", "b"): 7, ("b", "a"): 7}
    yield list("abx"), {("a", "b"): 250_000}


def merged(pieces, ranks, choose=min, once=False):
    pieces = list(pieces)
    while True:
        known = [(ranks[pair], i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not known:
            return pieces
        _, i = choose(known)
        pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]
        if once:
            return pieces


def one_pass(pieces, ranks):
    """From left to right, once."""
    result = [pieces[0]]
    for piece in pieces[1:]:
        if (result[-1], piece) in ranks:
            result[-1] += piece
        else:
            result.append(piece)
    return result


def as_listed(pieces, ranks):
    """Pair by pair, in the order in which the dict has them."""
    pieces = list(pieces)
    for left, right in ranks:
        i = 0
        while i < len(pieces) - 1:
            if (pieces[i], pieces[i + 1]) == (left, right):
                pieces[i:i + 2] = [left + right]
            i += 1
    return pieces


def by_text(pieces, ranks):
    pieces, known = list(pieces), {left + right: rank for (left, right), rank in ranks.items()}
    while places := [(known[a + b], i) for i, (a, b) in enumerate(pairwise(pieces)) if a + b in known]:
        _, i = min(places)
        pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def tie_by_letters(pieces, ranks):
    pieces = list(pieces)
    while known := [(ranks[pair], pair, i) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]:
        *_, i = min(known)
        pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def largest_known(pieces, ranks):
    return merged(pieces, {pair: rank for pair, rank in ranks.items() if rank < 100_000})


def fixed_range(pieces, ranks):
    pieces = list(pieces)
    for i in range(len(pieces) - 1):
        if (pieces[i], pieces[i + 1]) in ranks:
            pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def in_place(pieces, ranks):
    pieces[:] = merged(pieces, ranks)
    return pieces


MERGE = Exercise(
    "merge_all", merge_cases, merged,
    statement_zh="""
        不断合并相邻的两个，直到没有哪一对在 `ranks` 里：名次最小的先合并，名次相同取最靠左的。

        pieces：文本的列表，例如 ["Ġ", "c", "a", "p"]；不能改动它。
        ranks：{(左, 右): 名次}。返回合并之后的列表。
        """,
    hints=[("Repeat: look at all pairs of neighbours, choose one, replace the two by one.",
            "反复做：看遍所有相邻的对，选出一对，把两个换成一个。"),
           ("List (rank, place) of every pair that is in `ranks`; `min` of that list is the smallest rank, "
            "leftmost.",
            "把在 `ranks` 里的每一对列成（名次，位置）；对这个列表取 `min`，就是名次最小、最靠左的一对。"),
           ("pieces[i:i + 2] = [pieces[i] + pieces[i + 1]], on a copy: pieces = list(pieces).",
            "先复制 pieces = list(pieces)，再 pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]。")],
    wrong={
        "leftmost_first": (lambda p, r: merged(p, r, lambda known: min(known, key=lambda k: k[1])),
                           "you merge the leftmost pair that is known: the pair with the smallest rank "
                           "goes first, wherever it stands.", "你先合并最靠左的那一对：应该先合并名次最小"
                                                              "的，不论它在哪里。"),
        "largest_rank": (lambda p, r: merged(p, r, max), "the largest rank goes first: a small rank means "
                                                         "learned early.",
                         "你先合并了名次最大的：名次小的才是先学到的。"),
        "by_text": (by_text,
            "you look up the *joined* text: \"ab\" + \"c\" and \"a\" + \"bc\" are two pairs, and only one of "
            "them may be in `ranks`. Look up the pair, (left, right).",
            "你查的是*连起来*的文本：\"ab\" + \"c\" 和 \"a\" + \"bc\" 是两个不同的对，`ranks` 里可能只有一个。"
            "应当查 (左, 右) 这一对。"),
        "tie_by_letters": (tie_by_letters,
            "of different pairs with equal rank you take the first by the alphabet: take the leftmost.",
            "几个不同的对名次相同时，你按字母次序取了最小的：应取最靠左的。"),
        "largest_known": (largest_known,
            "a fixed number stands for \"not in `ranks`\", and a rank may be larger: leave out the pairs that "
            "are not in `ranks`, or take float(\"inf\").",
            "你用一个写死的数表示“不在 `ranks` 里”，可是名次可能比它还大：应跳过不在 `ranks` 里的对，或者用 "
            "float(\"inf\")。"),
        "only_once": (lambda p, r: merged(p, r, once=True), "you merge one pair and stop: go on until no "
                                                            "pair is in `ranks`.",
                      "只合并了一对就停了：要一直做到没有哪一对在 `ranks` 里。"),
        "rightmost": (lambda p, r: merged(p, r, lambda known: min(known, key=lambda k: (k[0], -k[1]))),
                      "of pairs with equal rank you take the rightmost: take the leftmost.",
                      "名次相同时你取了最靠右的：应取最靠左的。"),
        "nothing": (lambda p, r: list(p), "nothing was merged.", "什么都没有合并。"),
        "one_pass": (one_pass,
            "you go through the text once, and merge what you meet: look at *all* pairs each time, and "
            "take the one with the smallest rank.",
            "你从左到右走了一遍，遇到就合并：每次都要看*所有*的对，选名次最小的。"),
        "alphabetical": (lambda p, r: merged(p, {pair: pair for pair in r}),
            "the smallest *pair* is chosen, by the alphabet: it is the smallest rank, ranks[pair].",
            "你选的是字母次序最小的*对*：应选名次最小的，ranks[pair]。"),
        "joined": (lambda p, r: "".join(merged(p, r)),
            "the pieces are glued together into one text: return the list of pieces.",
            "把各段连成了一个字符串：应返回各段的列表。"),
        "removed": (lambda p, r: [piece for piece in merged(p, r) if piece in p],
            "the merged pairs are gone: the two are replaced by their sum, pieces[i:i + 2] = [pieces[i] + "
            "pieces[i + 1]].",
            "合并的对不见了：应当用两者之和换掉那两个，pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]。"),
        "in_place": (in_place,
            "right, but the caller's list was changed: work on a copy, pieces = list(pieces).",
            "结果是对的，但调用者的列表被改动了：请用副本，pieces = list(pieces)。"),
        "as_listed": (as_listed,
            "you take the pairs in the order in which the dict holds them: that need not be the order of "
            "their ranks, which are its values.",
            "你按字典里的先后取各个对：那不一定是名次的次序，名次是字典的值。"),
        "fixed_range": (fixed_range,
            "the list becomes shorter while a `for` counts to its old length: use `while`, and look at "
            "all pairs anew after each merge.",
            "列表越来越短，`for` 却数到原来的长度：请用 `while`，每合并一次就重新看一遍所有的对。"),
    },
    why=("The text is rebuilt in the order in which training found the pairs; so the same text always "
         "gives the same tokens.",
         "合并的次序就是训练时发现这些对的次序；所以同样的文本总得到同样的词元。"))


# --- rms_norm -----------------------------------------------------------------------------------------------

def norm_cases(rng):
    yield np.array([[3.0, 4.0]]), np.array([1.0, 2.0])
    yield 5 * rng.standard_normal((3, 6)) + 2, rng.uniform(0.5, 2, 6)
    yield 1e-3 * rng.standard_normal((2, 4)), rng.uniform(0.5, 2, 4)
    yield np.zeros((2, 3)), np.ones(3), 1e-6
    yield np.array([[0.3, -0.4], [0.03, 0.04]]), np.array([1.0, 2.0]), 0.01


def root(x, eps, mean=np.mean, **how):
    return np.sqrt(mean(x * x, axis=-1, keepdims=True) + eps)


def outside(x, gain, eps=1e-5):
    return gain * x / (np.sqrt(np.mean(x * x, axis=-1, keepdims=True)) + eps)


def axis_not_kept(x, gain, eps=1e-5):
    return gain * x / np.sqrt(np.mean(x * x, axis=-1) + eps)


def columns(x, gain, eps=1e-5):
    return gain * x / np.sqrt(np.mean(x * x, axis=0) + eps)


def no_eps(x, gain, eps=1e-5):
    with np.errstate(invalid="ignore"):
        return gain * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True))


def spread(x, gain, eps=1e-5):
    return gain * x / np.sqrt(np.var(x, axis=-1, keepdims=True) + eps)


def length_of_mean(x, gain, eps=1e-5):
    return gain * x / np.sqrt(np.mean(x, axis=-1, keepdims=True) ** 2 + eps)


def multiplied(x, gain, eps=1e-5):
    return gain * x * np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def spread_without_eps(x, gain, eps=1e-5):
    with np.errstate(invalid="ignore"):
        return gain * x / np.std(x, axis=-1, keepdims=True)


def length(x, gain, eps=1e-5):
    with np.errstate(invalid="ignore"):
        return gain * x / np.linalg.norm(x, axis=-1, keepdims=True)


def eps_last(x, gain, eps=1e-5):
    with np.errstate(invalid="ignore"):
        return gain * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True)) + eps


RMS = Exercise(
    "rms_norm", norm_cases, lambda x, gain, eps=1e-5: formulas.rms_norm(x, gain, eps=eps),
    statement_zh="""
        每个位置除以自己的均方根，再乘以增益。

        y = gain x / sqrt(mean(x^2) + eps),   平均沿最后一个轴

        x：(T, C)。gain：(C,)，增益。eps：根号里防止除以 0 的小数。返回 (T, C)。
        """,
    hints=[("Root, mean, square, read from right to left: square first.",
            "均方根，从右往左做：先平方，再平均，再开方。"),
           ("The mean is over the last axis; keepdims=True lets (T, 1) divide (T, C).",
            "沿最后一个轴求平均；keepdims=True 得到 (T, 1)，才能去除 (T, C)。"),
           ("gain * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)",
            "gain * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)，eps 在根号里。")],
    wrong={
        "no_gain": (lambda x, gain, eps=1e-5: x / root(x, eps), "the gain is missing.", "漏了增益。"),
        "centred": (lambda x, gain, eps=1e-5: formulas.layer_norm(x, gain, eps=eps),
                    "you subtract the mean: that is layer normalisation; RMSNorm does without.",
                    "你减去了均值：那是层归一化；RMSNorm 不减。"),
        "sum": (lambda x, gain, eps=1e-5: gain * x / root(x, eps, np.sum),
                "you divide by the root of the sum: the mean of the squares belongs under the root.",
                "你除以的是平方和的根：根号里应是平方的平均。"),
        "no_root": (lambda x, gain, eps=1e-5: gain * x / (np.mean(x * x, axis=-1, keepdims=True) + eps),
                    "the square root is missing.", "漏了开方。"),
        "whole_array": (lambda x, gain, eps=1e-5: gain * x / np.sqrt(np.mean(x * x) + eps),
                        "the mean is over the whole array: each position has its own, axis=-1, "
                        "keepdims=True.",
                        "你对整个数组求了平均：每个位置各算各的，用 axis=-1, keepdims=True。"),
        "eps_outside": (outside, "eps is added outside the root: it belongs under it.",
                        "eps 加在了根号外面：应在根号里。"),
        "gain_inside": (lambda x, gain, eps=1e-5: formulas.rms_norm(gain * x, np.ones_like(gain), eps=eps),
                        "the gain is applied before the norm, which undoes part of it: multiply afterwards.",
                        "增益乘在了归一化之前，会被抵消一部分：应该之后再乘。"),
        "axis_not_kept": (axis_not_kept,
            "the mean along the last axis has the shape (T,), which does not line up with the rows of (T, "
            "C): keepdims=True makes it (T, 1).",
            "沿最后一个轴求平均，得到的形状是 (T,)，与 (T, C) 的行对不上：加上 keepdims=True，就是 (T, 1)。"),
        "columns": (columns,
            "the mean runs over the positions: each position has its own, over its C numbers, axis=-1, "
            "keepdims=True.",
            "你对各个位置求了平均：应当每个位置对自己的 C 个数求，axis=-1, keepdims=True。"),
        "no_eps": (no_eps,
            "eps is missing: a position of zeros divides 0 by 0.",
            "漏了 eps：全是 0 的位置会出现 0 除以 0。"),
        "spread": (spread,
            "you divide by the standard deviation, which measures from the mean: here the squares of x "
            "itself are averaged.",
            "你除以了标准差，那是从均值量起的：这里平均的是 x 本身的平方。"),
        "length_of_mean": (length_of_mean,
            "the mean is squared: square first, and take the mean of the squares.",
            "你把平均值平方了：应先平方，再对平方求平均。"),
        "multiplied": (multiplied,
            "you multiply by the root: divide.",
            "你乘了这个根：应当除。"),
        **{f"own_eps_{own:g}": (lambda x, gain, eps=1e-5, own=own: formulas.rms_norm(x, gain, eps=own),
            "the argument eps is not used: some fixed number stands in the code. Add the eps that you are "
            "given.",
            "没有用到参数 eps：代码里写死了一个数。要加的是传进来的 eps。") for own in (1e-5, 1e-6, 1e-8)},
        "spread_without_eps": (spread_without_eps,
            "you divide by the standard deviation, which measures from the mean: here the squares of x "
            "itself are averaged, and eps stands under the root.",
            "你除以了标准差，那是从均值量起的：这里平均的是 x 本身的平方，根号里还有 eps。"),
        "length": (length,
            "you divide by the length of the vector, the root of the *sum* of squares: here it is the "
            "root of their mean, with eps under it.",
            "你除以的是向量的长度，即平方*和*的根：这里是平方平均的根，根号里还有 eps。"),
        "eps_last": (eps_last,
            "parentheses are missing: eps is added to the result, not under the root.",
            "漏了括号：eps 加到了结果上，而不是加在根号里。"),
    },
    why=("However long a position's vector has grown in the stream, the next branch reads it at size 1, up "
         "to the gain.",
         "不论一个位置的向量在残差流里长到多大，下一个分支读到的都是大小为 1 的，再乘上增益。"))


# --- nucleus ------------------------------------------------------------------------------------------------

def nucleus_cases(rng):
    yield np.array([0.1, 0.55, 0.05, 0.3]), 0.8
    yield np.array([0.1, 0.55, 0.05, 0.3]), 0.3
    yield rng.dirichlet(np.ones(12)), 0.9
    yield rng.dirichlet(np.ones(7)), 1.0
    yield np.array([0.5, 0.25, 0.15, 0.1]), 0.5  # reached to the last bit
    yield np.array([0.1, 0.7, 0.2]), 1.0  # which these sum up to but for the last bit


def reference(p, top_p):
    return next_token_distribution(np.log(p), top_p=top_p)


def keep(p, chosen, normalise=True):
    result = np.where(chosen, p, 0.0)
    with np.errstate(all="ignore"):
        return result / result.sum() if normalise else result


def ranked(p, condition):
    """Which tokens are kept, from a condition on (sorted p, what the more probable ones have before)."""
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    chosen = np.zeros(len(p), bool)
    chosen[order[condition(p[order], before)]] = True
    return chosen


def least_first(p, top_p):
    order = np.argsort(p)
    before = np.cumsum(p[order]) - p[order]
    chosen = np.zeros(len(p), bool)
    chosen[order[before < top_p]] = True
    return keep(p, chosen)


def exceeded(p, top_p):
    order = np.argsort(-p)
    chosen = np.zeros(len(p), bool)
    chosen[order[:np.searchsorted(np.cumsum(p[order]), top_p, side="right") + 1]] = True
    return keep(p, chosen)


def first_true(p, top_p):
    order = np.argsort(-p)
    chosen = np.zeros(len(p), bool)
    chosen[order[:np.argmax(np.cumsum(p[order]) >= top_p) + 1]] = True
    return keep(p, chosen)


def in_sorted_order(p, top_p):
    return np.sort(reference(p, top_p))[::-1].copy()


def by_top_p(p, top_p):
    return keep(p, ranked(p, lambda s, before: before < top_p), False) / top_p


def only_the_kept(p, top_p):
    found = np.sort(reference(p, top_p))[::-1]
    return found[found > 0]


def orders_mixed(p, top_p):
    return keep(p, np.cumsum(np.sort(p)[::-1]) - p < top_p)


def which(p, top_p):
    return np.flatnonzero(reference(p, top_p))


NUCLEUS = Exercise(
    "nucleus", nucleus_cases, reference,
    statement_zh="""
        top-p：取概率最大的若干词元，个数最少，而合起来至少有 top_p；再使它们的和为 1。

        p：(V,)，概率，没有两个相等。top_p：在 (0, 1] 内。
        返回 (V,)，次序与 p 相同；没取到的是 0。
        """,
    hints=[("Sort from the most probable down, and add up. Where do you stop?",
            "从概率大的往下排，边走边加。加到哪里停？"),
           ("A token is kept if those before it have *less* than top_p together: so the one that crosses "
            "the line is kept.",
            "如果排在它前面的加起来*不到* top_p，这个词元就保留：越过线的那一个也要留下。"),
           ("order = np.argsort(-p); before = np.cumsum(p[order]) - p[order]; kept = order[before < top_p]",
            "依次写：order = np.argsort(-p)；before = np.cumsum(p[order]) - p[order]；kept = order[before "
            "< top_p]。")],
    wrong={
        "drops_the_crossing": (lambda p, t: keep(p, ranked(p, lambda s, before: before + s <= t)),
                               "the token that crosses top_p is dropped: the kept ones are to have *at "
                               "least* top_p together. (Where the first token alone has more, you keep "
                               "nothing: 0 / 0.)",
                               "越过 top_p 的那个词元被丢掉了：留下的加起来要*至少*有 top_p。（若第一个词元"
                               "就超过它，你就一个也不剩：0 / 0。）"),
        "not_normalised": (lambda p, t: keep(p, ranked(p, lambda s, before: before < t), False),
                           "what is kept does not sum to 1: divide by its sum.",
                           "留下的概率之和不是 1：要除以它们的和。"),
        "threshold": (lambda p, t: keep(p, p >= t), "you compare each probability with top_p: it is their "
                                                    "sum that counts.",
                      "你拿每个概率单独和 top_p 比：要看的是它们的和。"),
        "least_first": (least_first, "you start with the least probable tokens: np.argsort(-p).",
                        "你从概率最小的取起：应该用 np.argsort(-p)。"),
        "sorted": (in_sorted_order, "the result is in sorted order: token j's probability belongs at place "
                                    "j.",
                   "结果是排过序的：词元 j 的概率应放回位置 j。"),
        "unsorted": (lambda p, t: keep(p, np.cumsum(p) - p < t), "the tokens are added up in the order of "
                                                                 "their ids: sort them by probability "
                                                                 "first.",
                     "你按编号的次序累加：应先按概率排序。"),
        "strictly_less": (lambda p, t: keep(p, ranked(p, lambda s, before: before + s < t)),
            "the token that crosses top_p is dropped: compare what the more probable ones have *before* "
            "it, before < top_p.",
            "越过 top_p 的那个词元被丢掉了：要比的是排在它*前面*的加起来有多少，before < top_p。"),
        "divided_by_top_p": (by_top_p,
            "you divide by top_p: what is kept has *at least* that, so divide by its own sum.",
            "你除以了 top_p：留下的加起来*至少*有这么多，所以要除以它们自己的和。"),
        "which": (which,
            "these are the numbers of the tokens that are kept: return their probabilities, in an array "
            "of p's shape.",
            "这是保留下来的词元的编号：应返回它们的概率，放在与 p 同形状的数组里。"),
        "one_too_many": (lambda p, t: keep(p, ranked(p, lambda s, before: before - np.append(0, s[:-1]) < t)),
            "one token too many is kept: stop as soon as top_p is reached.",
            "多留了一个词元：一达到 top_p 就该停。"),
        "first_true": (first_true,
            "np.argmax(cum >= top_p) is 0 where nothing reaches top_p, and rounding may leave the whole sum "
            "just below 1: then one token alone is kept. Compare before < top_p.",
            "如果没有一处达到 top_p，np.argmax(cum >= top_p) 就是 0；而舍入会使总和略小于 1，结果只留下一个"
            "词元。应比较 before < top_p。"),
        "exceeded": (exceeded,
            "where the sum is just top_p, you take one token more: *at least* top_p is reached then. "
            "Compare before < top_p, not <=; np.searchsorted with side=\"left\", not \"right\".",
            "加起来恰好等于 top_p 时，你又多取了一个：*至少*有 top_p，这时已经达到了。应比较 before < top_p，"
            "而不是 <=；用 np.searchsorted 时取 side=\"left\"，而不是 \"right\"。"),
        "only_the_kept": (only_the_kept,
            "only the kept ones are left, and one cannot see which they are: return V numbers, 0 for the "
            "others.",
            "只剩下保留的那些，看不出是哪几个了：要返回 V 个数，其余的是 0。"),
        "orders_mixed": (orders_mixed,
            "the sums belong to the sorted order, the probabilities to the order of p: go through `order` "
            "to come back, result[order[...]] = ....",
            "累加的和是排序后的次序，概率却是 p 的次序：要借助 `order` 换回来，result[order[...]] = ……"),
    },
    why=("The nucleus is small where the model is sure and large where it is not; top-k, with a fixed "
         "number, is neither.",
         "模型有把握时核就小，没把握时核就大；而 top-k 的个数是固定的，两头都不合适。"))


EXERCISES = [DEQUANTIZE, MERGE, RMS, NUCLEUS]
