"""Checks of lesson 05: overfitting and regularisation."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise


def share_cases(rng):
    yield "the cat", "a cat", 3
    letters = list("ab c")
    yield "".join(rng.choice(letters, 40)), "".join(rng.choice(letters, 30)), 4
    yield "".join(rng.choice(letters, 60)), "aaaa" + "".join(rng.choice(letters, 25)) + "aaaa", 3
    yield "The cat", "the cat", 3
    yield "abcd", "xabc", 3


def seen_share(train, validation, n, *, shortfall=0, step=1, distinct=False):
    known = {train[i:i + n] for i in range(len(train) - n + 1)}
    asked = [validation[i:i + n] for i in range(0, len(validation) - n + 1 - shortfall, step)]
    asked = list(set(asked)) if distinct else asked
    return sum(window in known for window in asked) / len(asked)


def stumps_too(train, validation, n):
    return sum(validation[i:i + n] in train for i in range(len(validation))) / len(validation)


def of_train(train, validation, n):
    known = {train[i:i + n] for i in range(len(train) - n + 1)}
    asked = {validation[i:i + n] for i in range(len(validation) - n + 1)}
    return len(known & asked) / len(known)


def words(train, validation, n):
    known, asked = set(train.split()), validation.split()
    return sum(word in known for word in asked) / max(len(asked), 1)


def stop_cases(rng):
    yield np.array([3.0, 2.0, 2.5, 1.5, 1.6, 1.7, 1.4]), 2
    yield np.array([3.0, 2.0, 1.0, 0.5]), 1
    yield np.array([3.0, 2.0, 2.0, 2.0, 1.0]), 2
    yield np.array([5.0, 4.0, 4.5, 4.4, 4.3, 4.2, 3.0, 3.5]), 3
    yield rng.normal(size=12), 3
    yield np.array([2.0]), 2
    yield np.array([5e9, 4e9, 6e9, 3e9]), 1


def early_stop(losses, patience, *, rule="best", result="best", reset=True):
    best, wait, compared = 0, 0, losses[0]
    for i in range(1, len(losses)):
        if losses[i] < compared or (rule == "equal" and losses[i] == compared):
            best, wait, compared = i, 0 if reset else wait, losses[i]
        else:
            wait += 1
            compared = losses[i] if rule == "previous" else compared
        if wait >= patience + (result == "late"):
            return (i if result == "last" else best), i
    return (len(losses) - 1 if result == "last" else best), len(losses) - 1


def without_end(losses, patience):
    best, stopped = early_stop(losses, patience)
    waited = all(losses[stopped - k] >= losses[best] for k in range(patience)) and stopped - best >= patience
    return (best, stopped) if waited else None


def one_beyond(losses, patience):
    best, stopped = early_stop(losses, patience)
    return best, stopped + (without_end(losses, patience) is None)


def first_counted(losses, patience):
    best, wait = 0, 0
    for i in range(len(losses)):
        best, wait = (i, 0) if losses[i] < losses[best] else (best, wait + 1)
        if wait >= patience:
            return best, i
    return best, len(losses) - 1


def low_start(losses, patience):
    low, best, wait = 1e3, 0, 0
    for i, loss in enumerate(losses):
        low, best, wait = (loss, i, 0) if loss < low else (low, best, wait + 1)
        if wait >= patience:
            return best, i
    return best, len(losses) - 1


def two_measurements(losses, patience):
    best, wait = 0, 0
    for i in range(1, len(losses)):
        best, wait = (i, 0) if losses[i] < losses[best] else (best, wait + 1)
        if wait == patience:
            break
    return best, i


def penalty_cases(rng):
    yield np.array([2.0, -0.5, 0.0]), 0.5, 0.1
    yield rng.normal(size=(3, 4)), 0.02, 0.3


def without_warning(compute):
    with np.errstate(all="ignore"):
        return compute()


def threshold_cases(rng):
    yield np.array([2.0, 0.3, -0.05, -1.0]), 0.1
    yield rng.normal(size=(3, 4)), 0.7
    yield np.array([0.0, -2.0, 1.0]), 1.0
    yield np.array([0.0, -3.0]), 0.0


def soft_threshold(theta, t):
    return np.sign(theta) * np.maximum(np.abs(theta) - t, 0)


def zero_by_zero(theta, l1, l2):
    with np.errstate(invalid="ignore"):
        return l1 * theta / np.abs(theta) + 2 * l2 * theta


def asked_of_all(theta, t):
    return theta - t if theta > t else theta + t


def sign_of_all(theta, l1, l2):
    return (l1 if theta > 0 else -l1) + 2 * l2 * theta


def dropout_cases(rng):
    yield np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, True]), 0.5, True
    yield rng.normal(size=(3, 7)), rng.random((3, 7)) >= 0.3, 0.3, True
    yield rng.normal(size=(2, 3)), rng.random((2, 3)) >= 0.8, 0.8, False


def dropout(x, keep, p, training):
    return formulas.dropout(x, keep, p=p) if training else x


def scaled_by(factor):
    return lambda x, keep, p, training: np.where(keep, x * factor(keep, p), 0.0) if training else x


EXERCISES = [
    Exercise(
        "seen_share", share_cases, seen_share,
        statement_zh="""
            验证文本里长 n 个字符的窗口，有多大比例也出现在训练文本里。

            长 L 的文本有 L - n + 1 个窗口：text[0:n]、text[1:n+1]……

            train、validation：字符串，都至少有 n 个字符。返回 [0, 1] 内的一个数。
            """,
        hints=[("Two steps: collect all windows of `train`, then ask for each window of `validation`.",
                "分两步：先收集 `train` 的全部窗口，再逐个查 `validation` 的窗口。"),
               ("A set answers `in` at once; a list would look through everything each time.",
                "用集合，`in` 一下就有答案；用列表，每次都要从头找。"),
               ("known = {train[i:i + n] for i in range(len(train) - n + 1)}; the same for validation as a "
                "list, then sum(w in known for w in asked) / len(asked).",
                "known = {train[i:i + n] for i in range(len(train) - n + 1)}；validation 照样做成列表，"
                "最后返回 sum(w in known for w in asked) / len(asked)。")],
        wrong={
            "last_window": (lambda a, b, n: seen_share(a, b, n, shortfall=1),
                            "the last window is left out: a text of length L has L - n + 1 windows.",
                            "漏了最后一个窗口：长 L 的文本有 L - n + 1 个窗口。"),
            "distinct": (lambda a, b, n: seen_share(a, b, n, distinct=True),
                         "each different window counts once here. A window that occurs five times is to "
                         "count five times: make the windows of validation a list, not a set.",
                         "这样每种窗口只数了一次。出现五次的窗口要数五次：validation 的窗口应当用列表，"
                         "不用集合。"),
            "side_by_side": (lambda a, b, n: seen_share(a, b, n, step=n),
                             "your windows lie side by side, so copies that begin in between are missed: "
                             "move by 1 character, not by n.",
                             "你的窗口一个挨一个，从中间开始的副本就漏掉了：每次移动 1 个字符，不是 n 个。"),
            "length": (lambda a, b, n: seen_share(a, b, n) * (len(b) - n + 1) / len(b),
                       "you divide by the length of the text: divide by the number of its windows.",
                       "你除的是文本的长度：应当除以窗口的个数。"),
            "backwards": (lambda a, b, n: seen_share(b, a, n),
                          "this is the share of the training text that stands in validation: swap the two.",
                          "这是训练文本出现在验证文本中的比例：两者对调一下。"),
            "count": (lambda a, b, n: seen_share(a, b, n) * (len(b) - n + 1),
                "this is how many windows were seen: divide by the number of all windows of validation.",
                "这是见过的窗口的个数：还要除以 validation 的窗口总数。"),
            "by_train": (lambda a, b, n: seen_share(a, b, n) * (len(b) - n + 1) / (len(a) - n + 1),
                "you divide by the number of windows of train: it is a share of *validation's* windows.",
                "你除的是 train 的窗口个数：要的是占 *validation* 窗口的比例。"),
            "not_seen": (lambda a, b, n: 1 - seen_share(a, b, n),
                "this is the share that was *not* seen.",
                "这是*没有*见过的比例。"),
            "letters": (lambda a, b, n: seen_share(a, b, 1),
                "single characters are looked up: a window has n of them, text[i:i + n].",
                "查的是单个字符：一个窗口有 n 个字符，text[i:i + n]。"),
            "nothing_found": (lambda a, b, n: 0.0,
                "it is 0 in every case. `//` cuts off everything behind the point: divide with `/`. Or do "
                "you compare each window with the one at the *same place* in train? It may stand anywhere "
                "there.",
                "每次都是 0。如果用了 `//`，小数部分全被切掉了：要用 `/` 来除。如果只拿每个窗口和 train "
                "里*同一位置*的窗口比：它可以出现在任何地方。"),
            "stumps_too": (stumps_too,
                "the loop runs to the end of the text, where less than n characters are left: such stumps "
                "are no windows. The last one begins at len(validation) - n.",
                "循环一直走到了文本的末尾，那里剩下不到 n 个字符，不成窗口。最后一个窗口从 "
                "len(validation) - n 开始。"),
            "lower_case": (lambda train, validation, n: seen_share(train.lower(), validation.lower(), n),
                "capital letters were made small: T and t are two characters. Take the texts as they are.",
                "把大写都变成了小写：T 和 t 是两个不同的字符。文本要原样比较。"),
            "first_of_train": (lambda train, validation, n: seen_share(train[1:], validation, n),
                "the first window of the training text is left out: the windows begin at 0.",
                "训练文本的第一个窗口漏掉了：窗口从 0 开始。"),
            "words": (words,
                "you compare words: a window is any n characters in a row, text[i:i + n].",
                "你比的是单词：窗口是任意连续的 n 个字符，text[i:i + n]。"),
            "of_train": (of_train,
                "you divide by the number of different windows of train: it is a share of *validation's* "
                "windows, and one that occurs five times counts five times.",
                "你除的是 train 里不同窗口的种数：要的是占 *validation* 窗口的比例，而且出现五次的窗口要"
                "数五次。"),
        },
        why=("The measure needs no model, so you can take it before you train. A high share means that the "
             "validation loss will flatter you.",
             "这个量不需要模型，训练之前就能算。比例高，说明验证损失会说好听的。")),
    Exercise(
        "early_stop", stop_cases, early_stop, outputs=("best", "stopped"),
        statement_zh="""
            训练何时停下，退回到哪一次测量。

            如果连续 `patience` 次测量都不是新低，就停在其中最后一次；如果一直没有这样，就停在最后一次测量。
            与最低值打平，不算新低。

            losses：(N,)，依次测得的验证损失，N >= 1。patience：耐心值，>= 1。
            返回 (best, stopped)，两个下标；losses[best] 是停下之前（含停下那次）的最低值。
            """,
        hints=[("Keep two things as you go: the index of the lowest loss so far, and how long you have "
                "waited.",
                "边走边记两样：目前最低损失的下标，和已经等了多久。"),
               ("A new lowest sets the wait back to 0; anything else adds 1 to it; stop when it reaches "
                "patience.",
                "出现新低，等待数归 0；否则加 1；等到耐心值就停。"),
               ("for i in range(1, len(losses)): if losses[i] < losses[best]: best, wait = i, 0; else: wait "
                "+= 1; if wait >= patience: return best, i. After the loop: return best, len(losses) - 1.",
                "循环里：若 losses[i] < losses[best]，则 best, wait = i, 0；否则 wait += 1；"
                "若 wait >= patience，则 return best, i。循环之后：return best, len(losses) - 1。")],
        wrong={
            "never": (lambda x, n: (int(np.argmin(x)), len(x) - 1),
                      "you looked at all losses and took the lowest: in training the later ones are not "
                      "there yet. Go through them in order, and stop when patience runs out.",
                      "你看完全部损失，挑了最低的：可训练时后面的还没有出现。要按顺序看，耐心用完就停。"),
            "previous": (lambda x, n: early_stop(x, n, rule="previous"),
                         "you compare with the previous loss: after a bad spike, any fall would count as "
                         "progress. Compare with the lowest so far.",
                         "你比的是上一个损失：冒一个坏的尖峰之后，随便降一点都算进步。要和目前的最低值比。"),
            "last": (lambda x, n: early_stop(x, n, result="last"),
                     "the stop is right, but you go back to the parameters of the stop, which are worse: "
                     "return the index of the lowest loss as best.",
                     "停的位置是对的，可留下的是停下那一刻的参数，那已经变差了："
                     "best 应返回损失最低处的下标。"),
            "no_reset": (lambda x, n: early_stop(x, n, reset=False),
                         "a new lowest has to set the wait back to 0; you count all bad measurements since "
                         "the beginning.",
                         "出现新低时等待数要归 0；你把从头到现在的坏结果都数进去了。"),
            "equal": (lambda x, n: early_stop(x, n, rule="equal"),
                      "an equal loss is no new lowest here, or a flat curve would never end: use <, not <=.",
                      "打平不算新低，否则平的曲线永远停不下来：用 <，不用 <=。"),
            "late": (lambda x, n: early_stop(x, n, result="late"),
                     "you stop one measurement late: stop as soon as the wait equals patience.",
                     "晚停了一次：等待数一到耐心值就该停。"),
            "without_end": (without_end,
                "if patience never runs out, nothing is returned: after the loop, return best and the "
                "last index, len(losses) - 1.",
                "如果耐心一直没有用完，就什么也没返回：循环之后要返回 best 和最后一个下标 len(losses) - 1。"),
            "the_losses": (lambda x, n: tuple(x[i] for i in early_stop(x, n)),
                "you return losses: two *indices* are wanted, where the losses stand.",
                "你返回的是损失值：要的是它们所在的两个*下标*。"),
            "from_one": (lambda x, n: tuple(i + 1 for i in early_stop(x, n)),
                "both are too large by one: indices count from 0.",
                "两个都大了 1：下标从 0 数起。"),
            "impatient": (lambda x, n: early_stop(x, 1),
                "you stop at the first measurement that is no new lowest: wait until there are `patience` "
                "of them in a row.",
                "一次不是新低就停了：要等到连续有 `patience` 次。"),
            "how_long": (lambda x, n: (early_stop(x, n)[0], early_stop(x, n)[1] + 1),
                "stopped is too large by one: it is the *index* of the last measurement that was made, "
                "not their number.",
                "stopped 大了 1：它是最后一次测量的*下标*，不是测量的次数。"),
            "low_start": (low_start,
                "the lowest loss so far starts at a fixed number: where all losses are larger, none is ever a "
                "new low. Start with losses[0], or with np.inf.",
                "最低值从一个写死的数开始：若所有损失都比它大，就永远没有新低。应从 losses[0] 或 np.inf 开"
                "始。"),
            "two_measurements": (two_measurements,
                "with a single measurement the loop does not run at all, and its variable has no value: "
                "after the loop, return len(losses) - 1.",
                "只有一次测量时，循环一圈也不走，循环变量就没有值：循环之后应返回 len(losses) - 1。"),
            "first_counted": (first_counted,
                "the first measurement is compared with itself, and counts as no new lowest: begin the "
                "loop at 1.",
                "第一次测量和它自己比，被算成了不是新低：循环从 1 开始。"),
            "lowest_loss": (lambda x, n: (x[early_stop(x, n)[0]], early_stop(x, n)[1]),
                "best is to be the *index* of the lowest loss, not the loss itself.",
                "best 应是最低损失的*下标*，而不是损失本身。"),
            "stopped_at_the_end": (lambda x, n: (early_stop(x, n)[0], len(x) - 1),
                "best is right, but stopped is always the last index: return the i at which the loop was "
                "left.",
                "best 是对的，可 stopped 总是最后一个下标：要返回离开循环时的 i。"),
            "one_beyond": (one_beyond,
                "where patience never runs out, stopped is one too large: the last index is len(losses) - "
                "1.",
                "耐心没有用完时，stopped 大了 1：最后一个下标是 len(losses) - 1。"),
        },
        why=("The rule looks only at the validation loss, never at the training loss: that one would go on "
             "for ever.", "这条规则只看验证损失，从不看训练损失：照训练损失，会一直练下去。")),
    Exercise(
        "penalty_gradient", penalty_cases, lambda theta, l1, l2: l1 * np.sign(theta) + 2 * l2 * theta,
        statement_zh="""
            l1 sum|theta_i| + l2 sum theta_i^2 的梯度。

            theta：任意形状。l1、l2：强度，>= 0。返回的形状与 theta 相同。
            在 theta_i = 0 处，|theta_i| 的斜率取 0。
            """,
        hints=[("Differentiate one summand at a time: |theta_i| and theta_i^2.",
                "一次只对一项求导：|theta_i| 和 theta_i^2。"),
               ("The slope of |theta_i| is -1 left of 0 and +1 right of it; np.sign knows that, and gives 0 "
                "at 0.",
                "|theta_i| 的斜率在 0 左边是 -1，右边是 +1；np.sign 正是如此，在 0 处给 0。"),
               ("l1 * np.sign(theta) + 2 * l2 * theta", "l1 * np.sign(theta) + 2 * l2 * theta：两份相加。")],
        wrong={
            "no_two": (lambda theta, l1, l2: l1 * np.sign(theta) + l2 * theta,
                       "the L2 part is half of what it should be: the derivative of theta^2 is 2 theta. "
                       "(PyTorch's weight_decay leaves the 2 out; section 3.3 of the article and Keras "
                       "penalise theta^2.)",
                       "L2 那份小了一半：theta^2 的导数是 2 theta。（PyTorch 的 weight_decay 不带 2；"
                       "文章 3.3 节和 Keras 惩罚的是 theta^2。）"),
            "absolute": (lambda theta, l1, l2: l1 * np.abs(theta) + 2 * l2 * theta,
                         "the L1 part is |theta| itself: its derivative is the sign.",
                         "L1 那份用了 |theta| 本身：它的导数是符号。"),
            "no_sign": (lambda theta, l1, l2: l1 * np.ones_like(theta) + 2 * l2 * theta,
                        "the L1 part pushes negative parameters away from 0: the slope of |theta| is -1 "
                        "there.",
                        "L1 那份把负的参数推离了 0：|theta| 在那里的斜率是 -1。"),
            "pushed_off_zero": (lambda theta, l1, l2: l1 * np.where(theta >= 0, 1, -1) + 2 * l2 * theta,
                                "right, but for parameters that are exactly 0: there the slope is to be 0, "
                                "as np.sign has it.",
                                "只差恰好为 0 的参数：那里的斜率应取 0，np.sign 就是这样。"),
            "penalty": (lambda theta, l1, l2: l1 * np.sum(np.abs(theta)) + l2 * np.sum(theta * theta),
                        "this is the penalty, one number; its gradient has one number for each parameter.",
                        "这是惩罚项本身，只有一个数；它的梯度对每个参数各有一个数。"),
            "zero_by_zero": (zero_by_zero,
                "theta / |theta| is the sign, but 0 / 0 is nan: np.sign gives 0 there.",
                "theta / |theta| 确实是符号，但 0 / 0 是 nan：np.sign 在那里给 0。"),
            "exchanged": (lambda theta, l1, l2: l2 * np.sign(theta) + 2 * l1 * theta,
                "l1 and l2 are exchanged.",
                "l1 和 l2 用反了。"),
            "square": (lambda theta, l1, l2: l1 * np.sign(theta) + l2 * theta * theta,
                "the L2 part is theta^2 itself: its derivative is 2 theta.",
                "L2 那份用了 theta^2 本身：它的导数是 2 theta。"),
            "terms": (lambda theta, l1, l2: l1 * np.abs(theta) + l2 * theta * theta,
                "these are the summands of the penalty: take the derivative of each, the sign and 2 "
                "theta.",
                "这是惩罚项里的各个加数：要对每一项求导，得到符号和 2 theta。"),
            "one_number": (lambda theta, l1, l2: np.sum(l1 * np.sign(theta) + 2 * l2 * theta),
                "the gradient has one number for each parameter: do not sum it up.",
                "梯度对每个参数各有一个数：不要加起来。"),
            "two_for_both": (lambda theta, l1, l2: 2 * (l1 * np.sign(theta) + l2 * theta),
                "only the L2 part has the factor 2: |theta| has the slope 1 or -1.",
                "只有 L2 那份带因子 2：|theta| 的斜率是 1 或 -1。"),
            "sign_of_all": (sign_of_all,
                "`if` asks one question, and theta is many numbers: np.sign answers for each.",
                "`if` 只能问一次，而 theta 有许多数：np.sign 会逐个回答。"),
            "pulled_off_zero": (lambda theta, l1, l2: l1 * np.where(theta > 0, 1, -1) + 2 * l2 * theta,
                "right, but for parameters that are exactly 0: there the slope is to be 0, as np.sign has "
                "it, not -1.",
                "只差恰好为 0 的参数：那里的斜率应取 0，np.sign 就是这样，而不是 -1。"),
            "l1_summed": (lambda theta, l1, l2: l1 * np.sum(np.abs(theta)) + 2 * l2 * theta,
                "the L1 part is the penalty itself, one number: its derivative is the sign of each "
                "parameter.",
                "L1 那份用的是惩罚项本身，只有一个数：它的导数是每个参数的符号。"),
            "no_strengths": (lambda theta, l1, l2: np.sign(theta) + 2 * theta,
                "the strengths l1 and l2 are missing.",
                "漏了强度 l1 和 l2。"),
        },
        why=("L2 pulls a parameter of 2 ten times as hard as one of 0.2, L1 pulls both alike. So L2 shrinks "
             "the large ones, and L1 is the one that finishes the small ones off.",
             "L2 拉 2 的力是拉 0.2 的十倍，L1 对两者一样用力。所以 L2 主要缩小大参数，"
             "能把小参数逼到尽头的是 L1。")),
    Exercise(
        "soft_threshold", threshold_cases, soft_threshold,
        statement_zh="""
            L1 的近端步：对每个 i，求使 (w - theta_i)^2 / 2 + t |w| 最小的 w。

            theta：任意形状。t：>= 0。返回的形状与 theta 相同。
            """,
        hints=[("The sign stays, the size shrinks by t.", "符号不变，大小减去 t。"),
               ("A size cannot become negative: what is smaller than t becomes 0.",
                "大小不能变成负的：不到 t 的变成 0。"),
               ("np.sign(theta) * np.maximum(np.abs(theta) - t, 0)",
                "np.sign(theta) * np.maximum(np.abs(theta) - t, 0)：符号乘以缩小后的大小。")],
        wrong={
            "subgradient": (lambda theta, t: theta - t * np.sign(theta),
                            "small parameters jump over 0 to the other side: that is the subgradient step. "
                            "Stop at 0.",
                            "小的参数越过 0 跳到了另一边：这是次梯度的一步。走到 0 就要停。"),
            "hard": (lambda theta, t: theta * (np.abs(theta) > t),
                     "the small ones are 0, but the large ones have to move by t as well (yours is the hard "
                     "threshold).",
                     "小的变 0 了，可大的也要移动 t（你写的是硬阈值）。"),
            "divided_by_size": (lambda theta, t: without_warning(
                lambda: theta / np.abs(theta) * np.maximum(np.abs(theta) - t, 0)),
                "theta / |theta| is the sign, but 0 / 0 is nan where theta is 0: use np.sign.",
                "theta / |theta| 就是符号，但 theta 为 0 处成了 0 / 0，即 nan：请用 np.sign。"),
            "share_of_size": (lambda theta, t: without_warning(
                lambda: theta * np.maximum(1 - t / np.abs(theta), 0)),
                "t / |theta| is 0 / 0, nan, where both are 0: use np.sign(theta) * np.maximum(np.abs(theta) - "
                "t, 0).",
                "theta 与 t 都为 0 时，t / |theta| 是 0 / 0，即 nan：请用 np.sign(theta) * "
                "np.maximum(np.abs(theta) - t, 0)。"),
            "no_sign": (lambda theta, t: np.maximum(np.abs(theta) - t, 0),
                        "negative parameters came out positive: multiply by the sign.",
                        "负的参数变成了正的：要乘以符号。"),
            "one_sided": (lambda theta, t: np.maximum(theta - t, 0),
                          "all negative parameters became 0: treat both sides alike, with the size and the "
                          "sign.",
                          "负的参数全变成了 0：两边要同样对待，用大小和符号来写。"),
            "proportional": (lambda theta, t: theta / (1 + t),
                             "this shrinks in proportion, as the proximal step of L2 does: it never reaches "
                             "0.",
                             "这是按比例缩小，是 L2 的近端步：永远到不了 0。"),
            "asked_of_all": (asked_of_all,
                "`if` asks one question, and theta is many numbers: use np.where or np.maximum, which "
                "answer for each.",
                "`if` 只能问一次，而 theta 有许多数：请用 np.where 或 np.maximum，它们逐个回答。"),
            "two_cases": (lambda theta, t: np.where(theta > t, theta - t, theta + t),
                "there are three cases: what lies between -t and t becomes 0, only what is below -t gets "
                "t added.",
                "有三种情况：在 -t 和 t 之间的变成 0，只有小于 -t 的才加上 t。"),
            "clipped": (lambda theta, t: np.clip(theta, -t, t),
                "this keeps the part that is to be taken away: what is left is theta - np.clip(theta, -t, "
                "t).",
                "这留下的正是要减掉的那部分：剩下的应是 theta - np.clip(theta, -t, t)。"),
            "grown": (lambda theta, t: np.sign(theta) * (np.abs(theta) + t),
                "the sizes grow by t: they are to shrink.",
                "大小增加了 t：应当减小。"),
            "moved": (lambda theta, t: theta - t,
                "everything moves to the left: towards 0 is to the right for negative numbers.",
                "所有的数都往左移了：对负数来说，朝 0 走是往右。"),
            "always_to_the_left": (lambda theta, t: np.where(np.abs(theta) <= t, 0, theta - t),
                "the large negative ones move away from 0: for them, towards 0 is + t. np.sign(theta) "
                "takes care of both.",
                "绝对值大的负数离 0 更远了：对它们来说，朝 0 走是 + t。用 np.sign(theta) 两边都能照顾到。"),
            "small_ones_kept": (
                lambda theta, t: np.where(np.abs(theta) <= t, theta, theta - t * np.sign(theta)),
                "the small ones are left as they were: what is nearer to 0 than t becomes 0.",
                "小的原样留着：离 0 不到 t 的要变成 0。"),
        },
        why=("Minimising exactly instead of following a slope is what makes the step end at 0: the kink that "
             "a slope cannot see is the minimum for all |theta| <= t.",
             "直接取最小点，不沿斜率走，才能停在 0：斜率看不见的那个尖角，正是所有 |theta| <= t 的最小点。")),
    Exercise(
        "dropout", dropout_cases, dropout,
        statement_zh="""
            反向缩放的 dropout：训练时得到 keep * x / (1 - p)，否则就是 x 本身。

            x：任意形状。keep：形状与 x 相同，True 表示这个神经元留下。
            p：丢弃的概率，在 [0, 1) 内。training：True 或 False。返回的形状与 x 相同。
            """,
        hints=[("Two cases: without training nothing happens at all.", "分两种情况：不在训练时，"
                                                                       "什么都不做。"),
               ("In training, what is kept is made larger, so that the average stays what it was.",
                "训练时，留下来的要放大，使平均值不变。"),
               ("return np.where(keep, x / (1 - p), 0.0) if training else x",
                "return np.where(keep, x / (1 - p), 0.0) if training else x：训练时缩放，否则原样。")],
        wrong={
            "no_scale": (scaled_by(lambda keep, p: 1.0),
                         "the mask is right, but the mean shrinks to (1 - p) x: divide what is kept by 1 - "
                         "p.",
                         "掩码对了，可均值缩成了 (1 - p) x：留下来的要除以 1 - p。"),
            "multiplied": (scaled_by(lambda keep, p: 1 - p),
                           "you multiply by 1 - p: what is kept has to grow, so divide.",
                           "你乘了 1 - p：留下来的应当变大，所以要除。"),
            "by_p": (scaled_by(lambda keep, p: 1 / p),
                     "you divide by p, the chance to be dropped: divide by the chance to be kept, 1 - p. "
                     "(With p = 0.5 one does not see the difference.)",
                     "你除的是 p，也就是丢弃的概率：要除以保留的概率 1 - p。（p = 0.5 时看不出差别。）"),
            "by_count": (scaled_by(lambda keep, p: 1 / np.mean(keep)),
                         "you divide by the share that this mask happens to keep: the formula has 1 - p, the "
                         "same for every mask.",
                         "你除的是这个掩码碰巧保留的比例：公式里是 1 - p，对每个掩码都一样。"),
            "dropped_kept": (lambda x, keep, p, training: np.where(keep, 0.0, x / (1 - p)) if training else x,
                             "the mask is the wrong way round: keep is True where a unit stays.",
                             "掩码弄反了：keep 为 True 的神经元要留下。"),
            "always": (lambda x, keep, p, training: np.where(keep, x / (1 - p), 0.0),
                       "in use (training=False) nothing may be dropped: return x.",
                       "使用时（training=False）什么都不能丢：原样返回 x。"),
            "old_style": (lambda x, keep, p, training: np.where(keep, x / (1 - p), 0.0) if training
                          else x * (1 - p),
                          "you scale twice: up in training and down in use. The version of 2014 scaled down "
                          "in use only; the inverted one scales up in training only.",
                          "缩放了两次：训练时放大，使用时又缩小。2014 年最初的版本只在使用时缩小；"
                          "反向缩放的版本只在训练时放大。"),
            "version_2014": (lambda x, keep, p, training: np.where(keep, x, 0.0) if training else x * (1 - p),
                "this is the version of 2014, which scales down in use: the inverted one, which is wanted "
                "here, divides by 1 - p in training and leaves x alone in use.",
                "这是 2014 年最初的版本，使用时才缩小：这里要的是反向缩放的版本，训练时除以 1 - p，使用时"
                "不动 x。"),
            "selected": (lambda x, keep, p, training: x[keep] / (1 - p) if training else x,
                "x[keep] leaves the dropped ones out, and the shape is lost: they become 0 and stay, "
                "np.where(keep, ..., 0.0).",
                "x[keep] 把丢弃的拿掉了，形状也就没了：它们应变成 0，仍留在原处，np.where(keep, ..., 0.0)。"),
            "mask_alone": (lambda x, keep, p, training: keep / (1 - p) if training else x,
                "this is the mask alone: multiply it by x.",
                "这只是掩码：还要乘以 x。"),
            "not_in_training": (
                lambda x, keep, p, training: x if training else np.where(keep, x / (1 - p), 0.0),
                "the two cases are exchanged: units are dropped in *training*.",
                "两种情况弄反了：*训练*时才丢弃。"),
            "none_in_use": (
                lambda x, keep, p, training: np.where(keep, x / (1 - p), 0.0) if training else None,
                "nothing is returned when training is False: return x then.",
                "training 为 False 时什么也没返回：这时要返回 x。"),
            "no_parentheses": (lambda x, keep, p, training: x * keep / 1 - p if training else x,
                "parentheses are missing: `/ 1 - p` divides by 1 and then subtracts p. Write / (1 - p).",
                "漏了括号：`/ 1 - p` 是先除以 1，再减去 p。应写 / (1 - p)。"),
            "dropped_ones_stay": (
                lambda x, keep, p, training: np.where(keep, x / (1 - p), x) if training else x,
                "what is dropped stays as it was: it is to be 0.",
                "该丢弃的还是原样：应当变成 0。"),
        },
        why=("Since training already makes up for the missing units, the model in use is the plain network: "
             "no cost, no chance.",
             "训练时已经补足了缺席的神经元，所以使用时就是普通的网络：没有额外开销，也没有随机性。")),
]
