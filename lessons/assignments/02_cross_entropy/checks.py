"""Tests and misconceptions of the assignment on cross-entropy."""

import numpy as np

from minillm.classroom import Misconception, Scenario


def huge(rng):
    """Ordinary rows, rows that are all far from 0, a row with one logit far above the rest."""
    V = int(rng.integers(3, 7))
    x = rng.normal(size=(5, V)) * 2
    x[1] += rng.uniform(2_000, 9_000)
    x[2] -= rng.uniform(2_000, 9_000)
    x[3, rng.integers(V)] += rng.uniform(2_000, 9_000)
    return {"x": x[rng.permutation(5)]}


def probabilities(student, inputs):
    return {"p": student.softmax(inputs["x"])}


def log_probabilities(student, inputs):
    return {"log_p": student.log_softmax(inputs["x"])}


def labelled(rng):
    x = huge(rng)["x"]
    return {"logits": x, "labels": rng.integers(0, x.shape[1], len(x))}


def loss(student, inputs):
    return {"loss": student.softmax_cross_entropy(inputs["logits"], inputs["labels"])}


def gradient(student, inputs):
    return {"dlogits": student.softmax_cross_entropy_grad(inputs["logits"], inputs["labels"])}


def masked(rng):
    """(B, V, T), some classes -inf: the classes lie along axis 1."""
    x = rng.normal(size=(3, int(rng.integers(4, 7)), 2)) * 3
    x[0, rng.choice(x.shape[1], 2, replace=False), 0] = -np.inf
    x[2, 0] = -np.inf
    return {"x": x}


def along_axis_one(student, inputs):
    return {"p": student.softmax(inputs["x"], axis=1), "log_p": student.log_softmax(inputs["x"], axis=1)}


def padded(rng):
    R, V = int(rng.integers(6, 10)), int(rng.integers(3, 7))
    labels = rng.integers(0, V, R)
    labels[rng.choice(R, 3, replace=False)] = -100
    other = rng.integers(1, V, R)
    other[rng.choice(R, 2, replace=False)] = 0
    return {"logits": rng.normal(size=(R, V)), "labels": labels, "other": other}


def with_padding(student, inputs):
    x, nothing = inputs["logits"], np.full(len(inputs["labels"]), -100)
    return {"loss": student.softmax_cross_entropy(x, inputs["labels"]),
            "dlogits": student.softmax_cross_entropy_grad(x, inputs["labels"]),
            "loss_ignoring_0": student.softmax_cross_entropy(x, inputs["other"], ignore_index=0),
            "dlogits_ignoring_0": student.softmax_cross_entropy_grad(x, inputs["other"], ignore_index=0),
            "loss_of_padding_alone": student.softmax_cross_entropy(x, nothing),
            "dlogits_of_padding_alone": student.softmax_cross_entropy_grad(x, nothing)}


def many_rows(rng):
    return {"logits": 3 * rng.normal(size=(20_000, 50)), "labels": rng.integers(0, 50, 20_000),
            "weights": rng.normal(size=(50, 2))}


def timed_gradient(student, inputs):
    dx = student.softmax_cross_entropy_grad(inputs["logits"], inputs["labels"])
    assert dx.shape == inputs["logits"].shape
    # Two sums of each row, with weights of either sign: all of dx takes longer to send than to compute.
    return {"sums": dx @ inputs["weights"], "first_row": dx[0], "last_row": dx[-1]}


TESTS = {
    "softmax": Scenario(huge, probabilities),
    "log_softmax": Scenario(huge, log_probabilities),
    "loss": Scenario(labelled, loss),
    "gradient": Scenario(labelled, gradient),
    "masked_classes": Scenario(masked, along_axis_one),
    "padding": Scenario(padded, with_padding),
    "speed": Scenario(many_rows, timed_gradient, speed=((2.0, 1.0), (6.0, 0.5)), atol=1e-15),
}

EXP = "e = np.exp(_below(x, _shift(x, axis)))"
RATIO = "return e / np.sum(e, axis=axis, keepdims=True)"
Z = "z = _below(x, _shift(x, axis))"
LOG = "return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))"
LOSS = "return -np.sum(log_p[np.arange(N), y]) / N"
MINUS_ONE = "    p[np.arange(len(kept)), labels[kept]] -= 1\n"
MEAN = "p / max(len(kept), 1)"

MISCONCEPTIONS = [
    Misconception("softmax_overflows", {EXP: "e = np.exp(x)"},
                  "softmax is right for small logits; e^1000 is inf, and inf / inf is nan. Softmax does not "
                  "notice when the same number is taken from all logits of a row: take away the right one.",
                  "logits 小的时候 softmax 是对的；但 e^1000 是 inf，inf / inf 是 nan。一行的 logits 同减一个数，softmax 不变："
                  "要减对那个数。"),
    Misconception("one_maximum_for_all", {EXP: "e = np.exp(_below(x, np.max(x)))"},
                  "softmax takes the largest number of the whole array from every row: in a row far below it "
                  "all exponentials are 0, and so is their sum. Each row has a maximum of its own.",
                  "softmax 让每一行都减去了整个数组的最大值：某一行若远低于它，指数就全为 0，和也是 0。每行要用自己的最大值。"),
    Misconception("mean_subtracted", {EXP: "e = np.exp(x - np.mean(x, axis=axis, keepdims=True))"},
                  "softmax takes away the mean: one large logit among small ones still overflows.",
                  "softmax 里减的是平均值：一堆小数里有一个大数，照样上溢。"),
    Misconception("clipped", {EXP: "e = np.exp(np.clip(x, -700, 700))"},
                  "clipping keeps the exponential in range, but makes all huge logits alike. Taking the "
                  "largest away changes nothing and is enough.",
                  "截断虽然不再上溢，却让所有极大的 logits 变得没有分别。减去最大值，什么也不改变，而且足够了。"),
    Misconception("all_together", {RATIO: "return e / np.sum(e)"},
                  "in softmax the whole array sums to 1: each row should, on its own, along the axis.",
                  "softmax 里成了整个数组之和为 1：应当沿着轴，每行各自为 1。"),
    Misconception("axis_forgotten", {EXP: "e = np.exp(_below(x, _shift(x, -1)))",
                                     RATIO: "return e / np.sum(e, axis=-1, keepdims=True)"},
                  "softmax works along the last axis only: use the argument `axis`.",
                  "softmax 只会沿最后一个轴算：要用上参数 `axis`。"),
    Misconception("log_axis_forgotten", {Z: "z = _below(x, _shift(x, -1))", LOG:
                                         "return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))"},
                  "log_softmax works along the last axis only: use the argument `axis`.",
                  "log_softmax 只会沿最后一个轴算：要用上参数 `axis`。"),
    Misconception("log_of_softmax",
                  {LOG: "return np.log(np.exp(z) / np.sum(np.exp(z), axis=axis, keepdims=True))"},
                  "this is the logarithm of softmax: where a class is far behind, its probability has "
                  "already been rounded to 0. Let log and exp cancel on paper first.",
                  "这是对 softmax 的结果取对数：远远落后的类别，概率已经舍成了 0。先在纸上把对数和指数抵消。"),
    Misconception("patched",
                  {LOG: "return np.log(np.exp(z) / np.sum(np.exp(z), axis=axis, keepdims=True) + 1e-12)"},
                  "a small number was added inside the logarithm: no loss can then exceed 27.6, although it "
                  "should be thousands. Let log and exp cancel on paper instead.",
                  "在对数里加了一个小数：这样损失最多只有 27.6，而它本该是几千。应当在纸上把对数和指数抵消。"),
    Misconception("log_overflows", {Z: "z = x"},
                  "log_softmax is right for small logits; e^1000 is inf. Take the largest of the row away "
                  "first.",
                  "logits 小的时候 log_softmax 是对的；但 e^1000 是 inf。先减去这一行的最大值。"),
    Misconception("shift_half_undone",
                  {LOG: "return x - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))"},
                  "in log_softmax the largest logit was taken away inside the sum, but not from the logit "
                  "itself.",
                  "log_softmax 的求和里减了最大值，logit 本身却没有减。"),
    Misconception("log_base",
                  {LOG: "return (z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))) / np.log(2)"},
                  "the logarithm is to base 2: that is bits; the loss is in nats.",
                  "用了以 2 为底的对数，单位成了比特；损失的单位是奈特。"),
    Misconception("not_averaged", {LOSS: "return -np.sum(log_p[np.arange(N), y])"},
                  "this is the sum of the losses: L is their mean.", "这是损失之和：L 是平均。"),
    Misconception("all_elements", {LOSS: "return -np.sum(log_p[np.arange(N), y]) / log_p.size"},
                  "this is divided by the number of all logits: the mean is over the rows only.",
                  "除以了全部 logits 的个数：平均只对行取。"),
    Misconception("all_columns", {LOSS: "return -np.mean(log_p[:, y])"},
                  "this takes the columns of *all* labels from every row: one number a row is wanted.",
                  "这样从每一行里把*所有*标签对应的列都取了出来：每行只要一个数。"),
    Misconception("no_minus", {LOSS: "return np.sum(log_p[np.arange(N), y]) / N"},
                  "this is the log-likelihood, which is at most 0; the loss is its negative.",
                  "这是对数似然，总不大于 0；损失是它的相反数。"),
    Misconception("padding_in_mean", {LOSS: "return -np.sum(log_p[np.arange(N), y]) / len(labels)"},
                  "padding is left out of the sum, but counted in N: N is the number of rows that count.",
                  "求和时去掉了填充，N 里却把它算上了：N 是计数的行数。"),
    Misconception("ignore_index_forgotten", {"    kept = labels != ignore_index\n":
                                             "    kept = np.ones(len(labels), bool)\n"},
                  "rows with the label ignore_index are not left out, in the loss or in its gradient: a label of "
                  "-100 picks some other column from the end, or none at all.",
                  "标签为 ignore_index 的行没有去掉（损失里，或者梯度里）：-100 会从末尾数过去，取到不相干的一列，或者干脆越界。"),
    Misconception("nothing_left", {"    if N == 0:\n        return 0.0\n": ""},
                  "where no label counts, the loss is 0 divided by 0: it should be 0.",
                  "如果没有一个标签要计数，损失就成了 0 除以 0：应当是 0。"),
    Misconception("grad_not_averaged", {MEAN: "p"},
                  "this is the gradient of the sum of the losses: L is their mean.",
                  "这是损失之和的梯度：L 是平均。"),
    Misconception("grad_padding_in_mean", {MEAN: "p / len(labels)"},
                  "the gradient is divided by the number of all rows, padding too: N is the number of rows "
                  "that count.",
                  "梯度除以了全部行数，连填充也算上了：N 是计数的行数。"),
    Misconception("grad_sign", {MEAN: "-p / max(len(kept), 1)"},
                  "this is y - p, the direction in which the loss falls; the gradient points the other way.",
                  "这是 y - p，是损失下降的方向；梯度指向反方向。"),
    Misconception("grad_no_labels", {MINUS_ONE: ""},
                  "these are the probabilities alone: 1 less is due at the label of each row.",
                  "这只是概率：每行的标签处还要减 1。"),
    Misconception("label_numbers", {MINUS_ONE: "    p = p - labels[kept][:, None]\n"},
                  "the label's number itself was taken from the whole row: what is taken away is its one-hot "
                  "row.",
                  "把标签的编号从整行里减掉了：要减的是它的 one-hot 行。"),
    Misconception("softmax_slope", {MINUS_ONE: "    p = p * (1 - p)\n"},
                  "p (1 - p) belongs to softmax itself, and only to its diagonal; the loss has a logarithm "
                  "in it too.",
                  "p (1 - p) 是 softmax 自己的导数，而且只是对角线；损失里还有一个对数。"),
    Misconception("written_differently", {
        EXP: "e = np.exp(x - np.max(x, axis=axis, keepdims=True))",
        LOG: "return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))",
        LOSS: "return np.mean(-np.take_along_axis(log_p, y[:, None], axis=1))"}, "", "", equivalent=True),
    Misconception("one_hot", {MINUS_ONE: "    p = p - (np.arange(p.shape[1]) == labels[kept][:, None])\n"},
                  "", "",
                  equivalent=True),
]
