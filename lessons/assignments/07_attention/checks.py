"""Tests and misconceptions of the assignment on attention."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def queries_and_keys(rng):
    T, S, d = rng.choice([2, 3, 4, 5, 6, 7], 3, replace=False)
    return {"q": rng.normal(size=(T, d)), "k": rng.normal(size=(S, d)), "Q": rng.normal(size=(2, 3, T, d)),
            "K": rng.normal(size=(2, 3, S, d)), "scale": np.array(rng.uniform(0.1, 2)),
            "cap": np.array(rng.uniform(0.5, 2))}


def scores(student, inputs):
    scale, cap = float(inputs["scale"]), float(inputs["cap"])
    return {"plain": student.dot_scores(inputs["q"], inputs["k"]),
            "with_axes_in_front": student.dot_scores(inputs["Q"], inputs["K"]),
            "with_a_scale": student.dot_scores(inputs["q"], inputs["k"], scale=scale),
            "with_a_cap": student.dot_scores(inputs["q"], inputs["k"], softcap=cap)}


def sizes(rng):
    S = int(rng.integers(20, 90))
    return {"T": np.array(rng.integers(2, S - 1)), "S": np.array(S)}


def masks(student, inputs):
    T, S = int(inputs["T"]), int(inputs["S"])
    return {"square": np.asarray(student.causal_mask(S, S)), "last_T": np.asarray(student.causal_mask(T, S)),
            "new_token": np.asarray(student.causal_mask(1, S))}


def some_scores(rng):
    T, S = int(rng.integers(3, 5)), int(rng.integers(5, 8))
    a = rng.normal(size=(2, T, S)) * 2
    seen = rng.random((T, S)) < 0.6
    seen[np.arange(T), rng.integers(S, size=T)] = True
    seen[0, :2] = True, False
    return {"a": a, "huge": a * 1000 + 5000, "seen": seen}


def weights(student, inputs):
    seen = inputs["seen"]
    return {"all_seen": student.attention_weights(np.array(inputs["a"])),
            "some_seen": student.attention_weights(np.array(inputs["a"]), seen),
            "huge": student.attention_weights(np.array(inputs["huge"]), seen)}


def heads(rng):
    B, H, T = int(rng.integers(1, 3)), int(rng.integers(2, 4)), int(rng.integers(4, 7))
    d, e = int(rng.integers(2, 4)), int(rng.integers(7, 9))
    return {"q": rng.normal(size=(B, H, T, d)), "k": rng.normal(size=(B, H, T, d)),
            "v": rng.normal(size=(B, H, T, e))}


def attend(student, inputs):
    q, k, v = (np.array(inputs[name]) for name in "qkv")
    return {"causal": student.attention(q, k, v), "not_causal": student.attention(q, k, v, causal=False)}


def by_token(student, inputs):
    q, k, v = (np.array(inputs[name]) for name in "qkv")
    T = q.shape[-2]
    one = [student.attention(q[..., t:t + 1, :], k[..., :t + 1, :], v[..., :t + 1, :]) for t in range(T)]
    return {"one_by_one": np.concatenate(one, axis=-2), "last_two": student.attention(q[..., -2:, :], k, v)}


def padded(rng):
    given = heads(rng)
    B, T = given["q"].shape[0], given["q"].shape[2]
    keep = np.arange(T) >= rng.integers(1, 3, B)[:, None]  # the prompts are padded in front
    return given | {"keep": keep[:, None, None, :]}


def with_padding(student, inputs):
    q, k, v = (np.array(inputs[name]) for name in "qkv")
    return {"causal": student.attention(q, k, v, mask=inputs["keep"]),
            "not_causal": student.attention(q, k, v, causal=False, mask=inputs["keep"])}


def many_heads(rng):
    """So many and so small that a Python loop over them takes fifteen times as long."""
    return {name: rng.normal(size=(16, 400, 8, 4)) for name in "qkv"} | {"weights": rng.normal(size=(4, 2))}


def timed(student, inputs):
    out = student.attention(inputs["q"], inputs["k"], inputs["v"])
    assert out.shape == inputs["v"].shape
    # Two sums at each position, with weights of either sign: all of out takes longer to send than to compute.
    return {"sums": out @ inputs["weights"], "one_head": out[1, 2]}


TESTS = {
    "scores": Scenario(queries_and_keys, scores),
    "mask": Scenario(sizes, masks, cases=2),
    "weights": Scenario(some_scores, weights),
    "attention": Scenario(heads, attend),
    "cache": Scenario(heads, by_token),
    "padding": Scenario(padded, with_padding),
    "speed": Scenario(many_heads, timed, cases=2, speed=((3.0, 1.0), (6.0, 0.5))),
}

SCALE = "(1 / math.sqrt(q.shape[-1]) if scale is None else scale)"
PRODUCT = "a = (q * " + SCALE + ") @ np.swapaxes(k, -1, -2)"
CAP = "return a if softcap is None else soft_cap(a, softcap)"
TRIANGLE = "np.tril(np.ones((T, S), bool), S - T)"
HIDE = "a = np.where(seen, a, -np.inf)"
EXP = "e = np.exp(_below(a, _shift(a, -1)))"
SUM = "l = np.sum(e, axis=-1, keepdims=True)"
RATIO = "return e / np.where(l == 0, 1, l)"
CAUSAL = "seen = causal_mask(q.shape[-2], k.shape[-2]) if causal else None"
BOTH = "seen = mask if seen is None else seen & mask"
MEAN = "return attention_weights(dot_scores(q, k), seen) @ v"

MISCONCEPTIONS = [
    Misconception("not_scaled", {SCALE: "(1.0 if scale is None else scale)"},
                  "the scores are not scaled: long queries would make softmax choose a single key.",
                  "得分没有缩放：查询一长，softmax 就只会选中一个键。"),
    Misconception("divided_by_d", {SCALE: "(1 / q.shape[-1] if scale is None else scale)"},
                  "the scores are divided by d: it is its root.", "得分除以了 d：应该除以它的平方根。"),
    Misconception("by_number_of_keys", {SCALE: "(1 / math.sqrt(k.shape[-2]) if scale is None else scale)"},
                  "the root is that of the number of keys: d is the length of a query.",
                  "用的是键的个数的平方根：d 是查询的长度。"),
    Misconception("multiplied_by_root", {SCALE: "(math.sqrt(q.shape[-1]) if scale is None else scale)"},
                  "the scores are multiplied by the root of d: they are to become smaller.",
                  "得分乘了 d 的平方根：应当变小。"),
    Misconception("scale_ignored", {SCALE: "(1 / math.sqrt(q.shape[-1]))"},
                  "the argument scale is not used.", "没有用上参数 scale。"),
    Misconception("cap_ignored", {CAP: "return a"},
                  "the soft cap is not used.", "没有用上软上限。"),
    Misconception("cap_clips", {CAP: "return a if softcap is None else np.clip(a, -softcap, softcap)"},
                  "the scores are cut off at the cap: the soft cap bends them.",
                  "得分在上限处截断了：软上限是让它弯过去。"),
    Misconception("keys_ask",
                  {PRODUCT: "a = (k * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ "
                                        "np.swapaxes(q, -1, -2)"},
                  "queries and keys are exchanged: a row belongs to a query, a column to a key.",
                  "查询和键弄反了：一行对应一个查询，一列对应一个键。"),
    Misconception("everything_seen", {TRIANGLE: "np.ones((T, S), bool)"},
                  "every query sees all keys, the token among them that it is to predict.",
                  "每个查询都看得见所有的键，包括它要预测的那个词元。"),
    Misconception("upper_triangle", {TRIANGLE: "np.triu(np.ones((T, S), bool), S - T)"},
                  "that is the other triangle: the future is seen, and the past is not.",
                  "这是另一半三角形：看得见未来，看不见过去。"),
    Misconception("not_itself", {TRIANGLE: "np.tril(np.ones((T, S), bool), S - T - 1)"},
                  "no position sees itself, and the first one sees nothing at all.",
                  "每个位置都看不见自己，第一个位置什么也看不见。"),
    Misconception("one_too_many", {TRIANGLE: "np.tril(np.ones((T, S), bool), S - T + 1)"},
                  "each position sees the next one too.", "每个位置还看得见下一个。"),
    Misconception("counted_from_first", {TRIANGLE: "np.tril(np.ones((T, S), bool))"},
                  "right for T = S. With a cache the queries are the last T positions, not the first: a new "
                  "token sees everything before it.",
                  "T = S 时是对的。有缓存时，查询是最后 T 个位置，不是最前 T 个：新词元看得见前面的一切。"),
    Misconception("mask_transposed", {TRIANGLE: "np.tril(np.ones((S, T), bool), T - S)"},
                  "the mask has a row for each key: its shape is (T, S).",
                  "掩码成了每个键一行：形状应是 (T, S)。"),
    Misconception("zero_scores", {HIDE: "a = np.where(seen, a, 0)"},
                  "hidden scores are set to 0, and e^0 = 1 is a weight.",
                  "被掩住的得分设成了 0，而 e^0 = 1 仍有权重。"),
    Misconception("large_negative", {HIDE: "a = np.where(seen, a, -1e9)"},
                  "hidden scores are a large negative number: a query that sees nothing then gives all keys "
                  "the same weight, in place of 0.",
                  "被掩住的得分取了一个很大的负数：这样，什么都看不见的查询会给所有键同样的权重，而不是 0。"),
    Misconception("cut_afterwards",
                  {HIDE: "pass", RATIO: "return np.where(True if seen is None else seen, e / l, 0)"},
                  "the weights are cut after softmax, and their sum is not 1 any more: the scores are to be "
                  "hidden before it.",
                  "在 softmax 之后才砍掉权重，它们的和不再是 1：应当在那之前掩住得分。"),
    Misconception("mask_inverted", {HIDE: "a = np.where(seen, -np.inf, a)"},
                  "the mask is used the wrong way round: True means that the key is seen.",
                  "掩码用反了：True 表示看得见。"),
    Misconception("mask_not_used", {HIDE: "pass"},
                  "attention_weights does not use seen.", "attention_weights 没有用上 seen。"),
    Misconception("overflow", {EXP: "e = np.exp(a)"},
                  "large scores overflow: inf / inf is nan. Take the largest of the row away first.",
                  "得分大时会上溢：inf / inf 是 nan。先减去这一行的最大值。"),
    Misconception("over_queries", {EXP: "e = np.exp(_below(a, _shift(a, -2)))",
                                   SUM: "l = np.sum(e, axis=-2, keepdims=True)"},
                  "softmax runs down the columns: the weights of each *query* sum to 1.",
                  "softmax 沿着列做了：应是每个*查询*的权重之和为 1。"),
    Misconception("not_normalised", {RATIO: "return e"},
                  "the exponentials are not divided by their sum.", "指数没有除以它们的和。"),
    Misconception("nothing_seen", {RATIO: "return e / l"},
                  "where a query sees no key, this is 0 / 0 = nan: it should be 0.",
                  "查询一个键都看不见时，这里是 0 / 0 = nan：应当是 0。"),
    Misconception("always_causal", {CAUSAL: "seen = causal_mask(q.shape[-2], k.shape[-2])"},
                  "the argument causal is not used: with causal=False later keys are seen too.",
                  "没有用上参数 causal：causal=False 时，后面的键也看得见。"),
    Misconception("never_causal", {CAUSAL: "seen = None"},
                  "attention does not use the triangle.", "attention 没有用上三角形掩码。"),
    Misconception("either_mask", {BOTH: "seen = mask if seen is None else seen | mask"},
                  "a key is seen if one of the masks allows it: both have to.",
                  "两个掩码有一个允许就看见了：应当两个都允许。"),
    Misconception("mask_replaces", {BOTH: "seen = mask"},
                  "the mask stands in place of the triangle: both have to allow a key.",
                  "掩码把三角形顶替了：应当两个都允许才看得见。"),
    Misconception("padding_ignored", {BOTH: "pass"},
                  "the argument mask is not used: padding takes part.", "没有用上参数 mask：填充也参与了。"),
    Misconception("scores_for_weights",
                  {MEAN: "return np.where(True if seen is None else seen, dot_scores(q, k), 0) @ v"},
                  "the scores themselves weight the values: softmax comes between.",
                  "直接拿得分当权重：中间还要做 softmax。"),
    Misconception("hardest", {MEAN: "p = attention_weights(dot_scores(q, k), seen)\n"
                                    "    return (p == np.max(p, axis=-1, keepdims=True)) @ v"},
                  "only the best key's value is taken: every value takes part, with its weight.",
                  "只取了最合适的那个键的值：每个值都要按权重参加。"),
    Misconception("written_differently", {
        PRODUCT: "a = np.matmul(q, k.swapaxes(-1, -2)) * (q.shape[-1]**-0.5 if scale is None else scale)",
        TRIANGLE: "np.arange(S) <= np.arange(T)[:, None] + S - T",
        RATIO: "return np.divide(e, l, out=np.zeros_like(e), where=l > 0)"}, "", "", equivalent=True),
    Misconception("hidden_exponentials", {
        EXP: "e = np.where(np.isneginf(a), 0, np.exp(a - np.maximum(a.max(axis=-1, keepdims=True), -1e300)))",
        CAP: "return a if softcap is None else softcap * np.tanh(a / softcap)",
        BOTH: "seen = np.logical_and(mask, True if seen is None else seen)"}, "", "", equivalent=True),
]
