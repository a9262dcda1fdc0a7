"""Tests and misconceptions of the assignment on sampling. Chance comes in as numbers."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def rows(rng):
    V = int(rng.integers(7, 12))
    return {"logits": rng.normal(size=(3, V)) * 2, "temperature": np.array(rng.uniform(0.2, 0.8)),
            "k": np.array(rng.integers(2, V - 2))}


def tempered(student, inputs):
    x, t = inputs["logits"], float(inputs["temperature"])
    return {"sharper": student.temper(np.array(x), t), "flatter": student.temper(np.array(x), 1 / t),
            "huge": student.temper(1e300 * x, 1e-9 * t)}


def top_k(student, inputs):
    x, k = inputs["logits"], int(inputs["k"])
    return {"kept": student.keep_top_k(np.array(x), k), "one": student.keep_top_k(np.array(x), 1),
            "more_than_there_are": student.keep_top_k(np.array(x), x.shape[-1] + 3)}


def top_p_rows(rng):
    """Probabilities that are well away from top_p when they are added up, and a row with one sure token."""
    V = int(rng.integers(7, 12))
    steps = rng.permutation(np.exp2(-np.arange(V, dtype=float)))
    x = np.log(np.stack([steps, rng.permutation(steps), rng.permutation(steps)])) + rng.normal(size=(3, 1))
    x[2, rng.integers(V)] = 40.0
    x[1, rng.choice(V, 2, replace=False)] = -np.inf
    return {"logits": x, "top_p": np.array(rng.uniform(0.55, 0.7)), "small": np.array(rng.uniform(0.01, 0.1))}


def top_p(student, inputs):
    x = inputs["logits"]
    return {"kept": student.keep_top_p(np.array(x), float(inputs["top_p"])),
            "most": student.keep_top_p(np.array(x), 0.93),
            "one": student.keep_top_p(np.array(x), float(inputs["small"])),
            "all": student.keep_top_p(np.array(x), 1.0)}


def equal_rows(rng):
    V = 8
    top, low = rng.uniform(1, 2), rng.uniform(-2, 0)
    x = np.full((3, V), low)
    for row in x:
        row[rng.choice(V, 4, replace=False)] = top
    return {"logits": x, "flat": np.full((1, V), low)}


def among_equals(student, inputs):
    x, flat = inputs["logits"], inputs["flat"]
    return {"top_2": student.keep_top_k(np.array(x), 2), "top_6": student.keep_top_k(np.array(x), 6),
            "flat_top_3": student.keep_top_k(np.array(flat), 3),
            "nucleus": student.keep_top_p(np.array(x), 0.3),
            "flat_nucleus": student.keep_top_p(np.array(flat), 0.55)}


def distributions(rng):
    B, V = 6, int(rng.integers(5, 9))
    p = rng.uniform(0.05, 1, (B, V)) * rng.uniform(0.3, 3, (B, 1))  # the rows need not sum to 1
    p[0, :2] = 0.0
    p[1, -2:] = 0.0
    p[2, 1] = 0.0
    u = rng.random(B)
    u[0], u[1] = 0.0, 1 - 2.0**-40
    u[2] = p[2, 0] / p[2].sum() * 0.999
    return {"p": p, "u": u, "many": rng.random(60)}


def drawn(student, inputs):
    p = inputs["p"]
    many = np.broadcast_to(p[3], (60, p.shape[1]))
    return {"ids": student.draw(np.array(p), inputs["u"]), "sixty":
            student.draw(np.array(many), inputs["many"])}


def steps(rng):
    V, B = 12, 80
    return {"logits": np.broadcast_to(rng.normal(size=V) * 2, (B, V)) + 0.3 * rng.normal(size=(B, V)),
            "u": rng.random(B), "temperature": np.array(rng.uniform(1.6, 2.4)),
            "k": np.array(rng.integers(5, 8)),
            "top_p": np.array(rng.uniform(0.6, 0.8))}


def one_step(student, inputs):
    x, u = inputs["logits"], inputs["u"]
    t, k, p = float(inputs["temperature"]), int(inputs["k"]), float(inputs["top_p"])
    tied = np.repeat(np.maximum(x[:, :4], 1.0), 2, axis=1)
    return {"plain": student.next_token(np.array(x), u), "greedy":
            student.next_token(np.array(x), u, temperature=0),
            "greedy_of_equals": student.next_token(tied, u, temperature=0.0),
            "top_k": student.next_token(np.array(x), u, top_k=k),
            "top_p": student.next_token(np.array(x), u, top_p=p),
            "all": student.next_token(np.array(x), u, temperature=t, top_k=k, top_p=p)}


def letters(rng):
    """A table of logits: which letter follows which."""
    alphabet = np.frombuffer(b"abcdefghilmnoprstuvz ", np.uint8)
    V = len(alphabet)
    return {"alphabet": alphabet, "table": rng.normal(size=(V, V)) * 2, "u": rng.random(80),
            "options": np.array([rng.uniform(0.9, 1.4), rng.integers(6, 12), rng.uniform(0.8, 0.95)])}


def text(student, inputs):
    t, k, p = inputs["options"]
    token, ids = len(inputs["alphabet"]) - 1, []
    for u in inputs["u"]:
        found = student.next_token(np.array(inputs["table"][token][None]), np.array([u]),
                                   temperature=float(t),
                                   top_k=int(k), top_p=float(p))
        token = int(np.asarray(found)[0])
        ids.append(token)
    return {"text": inputs["alphabet"][np.array(ids)]}


TESTS = {
    "temper": Scenario(rows, tempered),
    "top_k": Scenario(rows, top_k),
    "draw": Scenario(distributions, drawn),
    "top_p": Scenario(top_p_rows, top_p),
    "equals": Scenario(equal_rows, among_equals),
    "step": Scenario(steps, one_step),
    "text": Scenario(letters, text),
}

TEMPER = "return (logits - logits.max(axis=-1, keepdims=True)) / temperature"
BORDER = "border = np.partition(logits, V - k, axis=-1)[..., V - k, None]"
KEEP = "return np.where(above | at & (np.cumsum(at, axis=-1) <= room), logits, -np.inf)"
P = "p = softmax(logits)"
ORDER = 'order = np.argsort(-p, axis=-1, kind="stable")'
BEFORE = "before = np.cumsum(sorted_p, axis=-1) - sorted_p"
NEEDED = "needed = before < top_p"
NUCLEUS = "return np.where(nucleus, logits, -np.inf)"
CUMULATIVE = "cumulative = np.cumsum(p, axis=1)"
DRAW = "return (cumulative <= (u * cumulative[:, -1])[:, None]).sum(axis=1)"
STEP = """\
    x = temper(logits, temperature)
    if top_k is not None:
        x = keep_top_k(x, top_k)
    x = keep_top_p(x, top_p)
"""

MISCONCEPTIONS = [
    Misconception("multiplied",
                  {TEMPER: "return (logits - logits.max(axis=-1, keepdims=True)) * temperature"},
                  "the temperature multiplies: hot is to be flat, so it divides.",
                  "乘上了温度：温度高应当更平，所以要除。"),
    Misconception("not_shifted", {TEMPER: "return logits / temperature"},
                  "right but for huge logits and small temperatures: there inf - inf follows. Take the "
                  "largest away before you divide.",
                  "logits 极大、温度极小时会出错：接着就是 inf - inf。除之前先减去最大的。"),
    Misconception("shifted_late",
                  {TEMPER: "return logits / temperature - logits.max(axis=-1, keepdims=True)"},
                  "the largest logit is taken away after the division, undivided: take it away first.",
                  "先除了温度，再减没有除过的最大值：应当先减。"),
    Misconception("shifted_by_all", {TEMPER: "return (logits - logits.max()) / temperature"},
                  "temper takes the largest of all rows from every row: each row has its own.",
                  "temper 让每行都减去了所有行里最大的：每行要减自己的。"),
    Misconception("one_too_few", {BORDER: "k = max(k - 1, 1)\n    border = np.partition(logits, V - k, "
                                          "axis=-1)[..., V - k, None]"},
                  "top-k keeps one token too few: the k-th largest stays.",
                  "top-k 少留了一个：第 k 大的也要留下。"),
    Misconception("smallest_kept",
                  {BORDER: "logits = -logits\n    border = np.partition(logits, V - k, axis=-1)"
                                            "[..., V - k, None]",
                   KEEP: "return np.where(above | at & (np.cumsum(at, axis=-1) <= room), "
                         "-logits, "
                         "-np.inf)"},
                  "top-k keeps the smallest logits.", "top-k 留下的是最小的。"),
    Misconception("zero_instead",
                  {KEEP: "return np.where(above | at & (np.cumsum(at, axis=-1) <= room), logits, 0.0)"},
                  "top-k sets what it takes away to 0, and e^0 = 1 is still likely.",
                  "top-k 把去掉的设成了 0，而 e^0 = 1，仍然可能抽到。"),
    Misconception("all_equals_kept", {KEEP: "return np.where(logits >= border, logits, -np.inf)"},
                  "right as long as no two logits are equal: at the border top-k keeps all equals, and so "
                  "more than k.",
                  "没有两个 logits 相同时是对的：边界上相同的，top-k 全留下了，超过了 k 个。"),
    Misconception("equals_dropped", {KEEP: "return np.where(logits > border, logits, -np.inf)"},
                  "top-k drops the k-th largest itself: larger than the border *or* equal to it.",
                  "top-k 把第 k 大的本身也去掉了：大于边界*或*等于边界都要留。"),
    Misconception("last_equals",
                  {KEEP: "return np.where(above | at & (np.cumsum(at[..., ::-1], axis=-1)[..., ::-1] "
                                        "<= room), logits, -np.inf)"},
                  "of equals at the border top-k keeps those with the larger ids.",
                  "边界上相同的，top-k 留了编号大的。"),
    Misconception("by_threshold", {NEEDED: "needed = sorted_p >= 1 - top_p"},
                  "the nucleus is cut by the single probability: it is the *sum* of the most probable tokens "
                  "that decides.",
                  "核是按单个概率切的：应当看最可能的词元加起来的*和*。"),
    Misconception("stops_short", {NEEDED: "needed = before + sorted_p <= top_p"},
                  "the token that reaches top_p is left out: together they are to have *at least* top_p.",
                  "够到 top_p 的那个词元漏掉了：合起来要*至少*有 top_p。"),
    Misconception("one_more", {NEEDED: "needed = before - np.roll(sorted_p, 1, axis=-1) < top_p"},
                  "the nucleus has one token too many: they are the *fewest* that have top_p.",
                  "核里多了一个词元：应当是合起来够 top_p 的*最少*几个。"),
    Misconception("least_probable", {ORDER: 'order = np.argsort(p, axis=-1, kind="stable")'},
                  "the nucleus is filled from the least probable token on.", "核是从最不可能的词元开始填的。"),
    Misconception("by_ids", {ORDER: "order = np.broadcast_to(np.arange(p.shape[1]), p.shape)"},
                  "the probabilities are added up in the order of the ids: sort them downwards first.",
                  "概率是按编号次序加的：要先从大到小排好。"),
    Misconception("not_sorted_back",
                  {"np.put_along_axis(nucleus, order, needed, axis=-1)": "nucleus = needed"},
                  "the nucleus is found in sorted order, and never brought back to the order of the ids.",
                  "核是在排好序的次序里找的，没有换回编号的次序。"),
    Misconception("later_equals",
                  {ORDER: 'order = p.shape[1] - 1 - np.argsort(-p[:, ::-1], axis=-1, kind="stable")'},
                  "of equals at the border the nucleus has those with the larger ids: sort stably.",
                  "边界上相同的，核里留了编号大的：要用稳定的排序。"),
    Misconception("logits_for_probabilities", {P: "p = np.maximum(logits, 0)"},
                  "top-p adds up logits: they are to be made probabilities first.",
                  "top-p 加的是 logits：要先变成概率。"),
    Misconception("returns_probabilities", {NUCLEUS: "return np.where(nucleus, p, 0)"},
                  "keep_top_p returns probabilities: a filter goes from logits to logits.",
                  "keep_top_p 返回了概率：过滤器是从 logits 到 logits 的。"),
    Misconception("border_drawn",
                  {DRAW: "return (cumulative < (u * cumulative[:, -1])[:, None]).sum(axis=1)"},
                  "with u = 0 a token of probability 0 is drawn: the sum has to be *greater* than u.",
                  "u = 0 时抽到了概率为 0 的词元：累积和要*大于* u。"),
    Misconception("sum_taken_for_one", {DRAW: "return (cumulative <= u[:, None]).sum(axis=1)"},
                  "draw takes it that the row sums to 1: compare with u times the sum.",
                  "draw 以为一行的和是 1：应当与 u 乘以总和比较。"),
    Misconception("one_further",
                  {DRAW: "return np.minimum((cumulative <= (u * cumulative[:, -1])[:, None]).sum(axis=1)"
                                        " + 1, p.shape[1] - 1)"},
                  "draw counts from 1: ids begin at 0.", "draw 从 1 数起了：编号从 0 开始。"),
    Misconception("from_the_end", {CUMULATIVE: "cumulative = np.cumsum(p[:, ::-1], axis=1)",
                                   DRAW: "return p.shape[1] - 1 - (cumulative <= (u * cumulative[:, "
                                         "-1])[:, None])"
                                         ".sum(axis=1)"},
                  "draw adds up from the last token: the sum begins with p_0.",
                  "draw 从最后一个词元加起了：应当从 p_0 开始。"),
    Misconception("most_probable", {DRAW: "return np.argmax(p, axis=1)"},
                  "draw always takes the most probable token: u has no say.",
                  "draw 总是取最可能的词元：u 没有起作用。"),
    Misconception("one_u_for_all",
                  {DRAW: "return (cumulative <= (u[0] * cumulative[:, -1])[:, None]).sum(axis=1)"},
                  "draw uses the first number for all rows: each row has its own.",
                  "draw 让所有行都用了第一个数：每行有自己的 u。"),
    Misconception("top_p_first", {STEP: """\
    x = keep_top_p(temper(logits, temperature), top_p)
    if top_k is not None:
        x = keep_top_k(x, top_k)
"""},
                  "next_token cuts the nucleus before top-k: top-k comes first, and top-p works on what it "
                  "left.",
                  "next_token 先切了核再做 top-k：应当先 top-k，top-p 作用在它留下的结果上。"),
    Misconception("temperature_last", {STEP: """\
    x = logits
    if top_k is not None:
        x = keep_top_k(x, top_k)
    x = temper(keep_top_p(x, top_p), temperature)
"""},
                  "next_token applies the temperature last: it comes first, and so changes how large the "
                  "nucleus is.",
                  "next_token 最后才用温度：它要最先用，因为它会改变核的大小。"),
    Misconception("temperature_forgotten", {STEP: STEP.replace("temper(logits, temperature)", "logits")},
                  "next_token does not use the temperature.", "next_token 没有用上温度。"),
    Misconception("never_greedy", {"    if temperature == 0:\n        return np.argmax(logits, axis=-1)\n":
                                   "    temperature = temperature or 1.0\n"},
                  "temperature 0 is treated as 1: it takes the most probable token.",
                  "温度 0 被当成了 1：它应取最可能的词元。"),
    Misconception("last_of_equals", {"return np.argmax(logits, axis=-1)":
                                     "return logits.shape[1] - 1 - np.argmax(logits[:, ::-1], axis=-1)"},
                  "greedy takes the last of equals: the first is wanted.", "贪心时，相同的取了最后一个：要取第一个。"),
    Misconception("by_sorting", {
        KEEP: 'order = np.argsort(-logits, axis=-1, kind="stable")\n'
              "    ranks = np.argsort(order, axis=-1)\n    return np.where(ranks < k, logits, -np.inf)",
        DRAW: "p = p / p.sum(axis=1, keepdims=True)\n"
              "    return np.argmax(np.cumsum(p, axis=1) > u[:, None], axis=1)"}, "", "", equivalent=True),
    Misconception("row_by_row", {"    nucleus = np.zeros(p.shape, bool)\n"
                                 "    np.put_along_axis(nucleus, order, needed, axis=-1)\n"
                                 "    return np.where(nucleus, logits, -np.inf)\n": """\
    x = np.full(p.shape, -np.inf)
    for row, (some, keep) in enumerate(zip(order, needed)):
        x[row, some[keep]] = logits[row, some[keep]]
    return x
"""}, "", "", equivalent=True),
]
