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


DEQUANTIZE = Exercise(
    "dequantize_q4_1", block_cases, lambda block: dequantize(block[None], "Q4_1"),
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


MERGE = Exercise(
    "merge_all", merge_cases, merged,
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
        "only_once": (lambda p, r: merged(p, r, once=True), "you merge one pair and stop: go on until no "
                                                            "pair is in `ranks`.",
                      "只合并了一对就停了：要一直做到没有哪一对在 `ranks` 里。"),
        "rightmost": (lambda p, r: merged(p, r, lambda known: min(known, key=lambda k: (k[0], -k[1]))),
                      "of pairs with equal rank you take the rightmost: take the leftmost.",
                      "名次相同时你取了最靠右的：应取最靠左的。"),
        "nothing": (lambda p, r: list(p), "nothing was merged.", "什么都没有合并。"),
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


def root(x, eps, mean=np.mean, **how):
    return np.sqrt(mean(x * x, axis=-1, keepdims=True) + eps)


def outside(x, gain, eps=1e-5):
    return gain * x / (np.sqrt(np.mean(x * x, axis=-1, keepdims=True)) + eps)


RMS = Exercise(
    "rms_norm", norm_cases, lambda x, gain, eps=1e-5: formulas.rms_norm(x, gain, eps=eps),
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


def in_sorted_order(p, top_p):
    return np.sort(reference(p, top_p))[::-1].copy()


NUCLEUS = Exercise(
    "nucleus", nucleus_cases, reference,
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
    },
    why=("The nucleus is small where the model is sure and large where it is not; top-k, with a fixed "
         "number, is neither.",
         "模型有把握时核就小，没把握时核就大；而 top-k 的个数是固定的，两头都不合适。"))


EXERCISES = [DEQUANTIZE, MERGE, RMS, NUCLEUS]
