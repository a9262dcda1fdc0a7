# ---
# title: Overfitting and regularisation
# title_zh: 过拟合与正则化
# minutes: 40
# needs: [01_tensors_and_tape, 04_adam]
# ---
# %% [markdown] lang="en"
# ## The question
#
# You train a language model. After a while it is nearly certain of every letter of its text. Is it good?
# The article answers in section 2.1: what counts is how it does on text it has never seen, and the word for
# that is **generalization**. Section 2.2 names the danger. An **overfitted** model has learned "the noise
# and the random errors of the training data".
#
# In this lesson you watch that happen, in a world so small that we know which letters are noise. Then we
# ask three things. Can we see it coming? Can we trust the number that tells us? And do the cures of the
# article's section 3.3, the L1 and L2 penalties and dropout, help by more than luck?
# %% [markdown] lang="zh"
# ## 问题
#
# 训练一个语言模型，过一阵子，它对训练文本中的每个字母都几乎十拿九稳。这个模型好吗？文章 2.1 节的回答是：要看
# 它在没见过的文本上表现如何，这叫**泛化**能力。文章 2.2 节点出了危险所在：**过拟合**的模型学到的是“训练数据中
# 的噪声和随机误差”。
#
# 这一课里，我们造一个很小的世界，小到哪些字母是噪声都一清二楚，然后亲眼看过拟合怎样发生。接着问三个问题：能不
# 能提前看出来？告诉我们结论的那个数可信吗？文章 3.3 节的药方，也就是 L1、L2 正则化和 dropout，效果是真的，还
# 是碰巧？
# %%
import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

import minillm
from minillm import formulas, nn, optim, text
from minillm.course import picture, says, step
from minillm.stepper import trace

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALPHABET = "\n ." + LETTERS  # V characters
ADJECTIVES = ["small", "red", "old", "quick", "sad", "new"]
NOUNS = ["cat", "dog", "bird", "man", "girl", "horse", "fox"]
VERBS = ["sees", "likes", "follows", "hears", "finds"]
TYPO = 0.05  # the chance that a letter is mistyped


def mistype(rng, sentence):
    """Each letter is, with probability TYPO, replaced by one of the 25 others."""
    return "".join(rng.choice([a for a in LETTERS if a != c]) if c.isalpha() and rng.random() < TYPO else c
                   for c in sentence)


def write(rng, n):
    """n sentences: (as they were typed, as they were meant)."""
    meant = [f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(VERBS)} "
             f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}." for _ in range(n)]
    return [mistype(rng, sentence) for sentence in meant], meant


rng = np.random.default_rng(0)
lines, lines_meant = write(rng, 16)  # to train on
fresh, fresh_meant = write(rng, 60)  # by the same writer, never trained on
n_characters = sum(len(line) + 1 for line in lines)  # the line break counts
n_typos = sum(a != b for pair in zip(lines, lines_meant, strict=True) for a, b in zip(*pair, strict=True))
print(*lines[:4], sep="\n")
print(f"{n_characters} characters to train on, {n_typos} of them typing errors")
says("16", len(lines))
says("60", len(fresh))
says("5%", TYPO)
says("543", n_characters)
says("15", n_typos)

# %% [markdown] lang="en"
# ## A model larger than its text
#
# Somebody writes sentences by one pattern and mistypes 5% of the letters. The pattern is what there is to
# learn; the typing errors are pure chance. Our training text has 16 sentences, which are 543 characters, 15
# of them mistyped.
#
# The model looks at the last 5 characters and predicts the next: embedding, one hidden layer with $\tanh$,
# dense layer. Count its parameters: the table has $29 \cdot 6$, the hidden layer $30 \cdot 64 + 64$, the
# output $64 \cdot 29 + 29$. That is 4,043 numbers to describe 543 characters. (The `dropout` in it does
# nothing until we give it a probability.)
#
# **Predict.** At first the model guesses evenly among 29 characters, and the loss is $\log 29$, about 3.37.
# After 200 steps of Adam, what is the loss on the 16 sentences? What is it on 60 fresh sentences by the
# same writer? Write both numbers down before you run the cell.
# %% [markdown] lang="zh"
# ## 比文本还大的模型
#
# 有人按同一个句型写句子，每个字母有 5% 的概率敲错。句型是值得学的东西；打字错误纯属偶然。
# 训练文本是 16 句话，共 543 个字符，其中 15 个敲错了。
#
# 模型看前面 5 个字符，预测下一个：嵌入层，一个用 $\tanh$ 的隐藏层，再接全连接层。数一数参数：
# 嵌入表 $29 \cdot 6$ 个，隐藏层 $30 \cdot 64 + 64$ 个，输出层 $64 \cdot 29 + 29$ 个。一共 4,043 个数，
# 用来描述 543 个字符。（里面的 `dropout` 暂时不起作用，等给了概率才生效。）
#
# **先猜一猜。** 开始时，模型在 29 个字符之间均匀地猜，损失是 $\log 29$，约 3.37。用 Adam 训练 200 步之后，
# 这 16 句话上的损失会是多少？同一个人新写的 60 句话上呢？先把两个数写下来，再运行下面的代码。
# %%
CONTEXT = 5


def windows(sentences):
    """x (N, CONTEXT): the characters before; y (N,): the character that came."""
    ids = [[ALPHABET.index(c) for c in "\n" * CONTEXT + line + "\n"] for line in sentences]
    x = [row[i - CONTEXT:i] for row in ids for i in range(CONTEXT, len(row))]
    y = [row[i] for row in ids for i in range(CONTEXT, len(row))]
    return np.array(x), np.array(y)


class CharModel(nn.Module):
    """The next character from the last five."""

    def __init__(self, rng, p=0.0, dropout=None):
        V, D, H = len(ALPHABET), 6, 64
        self.embedding = nn.Embedding(V, D, rng=rng, dtype=np.float64)
        self.hidden = nn.Linear(CONTEXT * D, H, rng=rng, dtype=np.float64)
        self.dropout = dropout or nn.Dropout(p, rng=rng)
        self.output = nn.Linear(H, V, rng=rng, dtype=np.float64)

    def forward(self, x):
        e = self.embedding(x).reshape(len(x), -1)  # (N, 30)
        h = np.tanh(self.hidden(e))  # (N, 64)
        return self.output(self.dropout(h))  # (N, 29)


def loss_on(model, xy):
    """The loss as it should be measured: in eval mode, without a tape."""
    model.eval()
    with minillm.no_grad():
        loss = minillm.softmax_cross_entropy(model(xy[0]), xy[1]).item()
    model.train()
    return loss


def train(model, xy, *others, steps=200, every=None, **penalties):
    """Adam on all of xy. Returns the losses on xy and the others, at the end or every so many steps."""
    optimizer = optim.Adam(model.parameters(), lr=0.01, **penalties)
    curve = []
    for i in range(steps + 1):
        if i == steps or (every and i % every == 0):
            curve.append([loss_on(model, data) for data in (xy, *others)])
        if i < steps:
            loss = minillm.softmax_cross_entropy(model(xy[0]), xy[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return np.array(curve)


train_set, fresh_set = windows(lines), windows(fresh)
model = CharModel(np.random.default_rng(1))
curve = train(model, train_set, fresh_set, every=10)
best = int(curve[:, 1].argmin())
for i in (0, best, 10, 20):
    print(f"step {10 * i:3}: training {curve[i, 0]:.2f}, fresh {curve[i, 1]:.2f}")
says("4,043", model.n_params)
says("29", len(ALPHABET))
says("200", 10 * (len(curve) - 1))
says("3.37", curve[0, 0])
says("0.24", curve[-1, 0])
says("1.97", curve[-1, 1])
says("1.35", curve[best, 1])
says("50", 10 * best)

# %%
fig, ax = plt.subplots(figsize=(6, 3.6))
ax.plot(np.arange(21) * 10, curve[:, 0], color=BLUE, label="training text")
ax.plot(np.arange(21) * 10, curve[:, 1], color=ORANGE, linestyle="--", label="fresh text")
ax.plot(10 * best, curve[best, 1], "o", color=ORANGE)
ax.annotate("best on fresh text", (10 * best, curve[best, 1]), (70, 0.8), arrowprops={"arrowstyle": "->"})
ax.set_xlabel("step")
ax.set_ylabel("loss (nats per character)")
ax.set_ylim(0)
ax.legend()
fig.tight_layout()
picture(fig, name="gap",
        alt_en="Two losses over 200 steps. On the training text it falls all the way to almost 0.2. On fresh "
               "text it falls with it at first, is lowest at step 50, and then climbs again: the gap between "
               "the two keeps growing.",
        alt_zh="200 步中的两条损失曲线。训练文本上的损失一路下降，接近 0.2。新文本上的损失起初跟着下降，"
               "第 50 步最低，随后又回升：两条曲线之间的差距越拉越大。")

# %% [markdown] lang="en"
# The training loss falls to 0.24 and would fall on. The loss on fresh text is lowest at step 50, with 1.35,
# and then climbs to 1.97. From step 50 on, everything that the model learns makes it worse. Nothing in the
# blue curve says so.
#
# ### What did it learn there?
#
# We know the writer, so we can ask what the text is worth to somebody who knows the pattern perfectly: such
# a reader pays for the choice of the words and for each typing error, and can do nothing about either. Per
# character of the training text that comes to 0.48.
#
# The model pays 0.24 for the same text. It does better than perfect knowledge, and there is only one way to
# do that: to know the typing errors by heart. Look at the probability that it gives to a mistyped letter,
# the one that really stands there. The honest answer is $0.05 / 25$, which is 0.002.
# %% [markdown] lang="zh"
# 训练损失降到 0.24，而且还会继续降。新文本上的损失在第 50 步最低，为 1.35，随后升到 1.97。从第 50 步起，
# 模型学到的一切都在让它变差，而蓝色曲线对此只字不提。
#
# ### 它后来学到的是什么？
#
# 写的人我们了如指掌，所以可以问：如果有位读者完全掌握了这个句型，这段文本对他来说“值”多少？
# 用词的选择和每个打字错误，他都只能照付，无从避免。摊到训练文本的每个字符上是 0.48。
#
# 模型为同一段文本只付了 0.24，比全知的读者还低。只有一种办法能做到：把打字错误背下来。看看在敲错的地方，
# 模型给那个错字母多大的概率。老实的答案是 $0.05 / 25$，即 0.002。
# %%
def writers_loss(typed, meant):
    """Nats per character for a reader who knows the pattern and the rate of errors.

    (At most: where a typing error turns one word into another, the reader would be a little less surprised.)
    """
    nats = len(typed) * np.log(len(ADJECTIVES) ** 2 * len(NOUNS) ** 2 * len(VERBS))
    for a, b in zip("".join(typed), "".join(meant), strict=True):
        if b.isalpha():
            nats -= np.log(1 - TYPO) if a == b else np.log(TYPO / 25)
    return nats / sum(len(line) + 1 for line in typed)


def probability_of_typos(model, typed, meant):
    """What the model gives to the letters that were mistyped."""
    x, y = windows(typed)
    at = np.flatnonzero(y != windows(meant)[1])
    model.eval()
    p = formulas.softmax(model(x)).data  # (N, V)
    return p[at, y[at]]


known, new = probability_of_typos(model, lines, lines_meant), probability_of_typos(model, fresh, fresh_meant)
print(f"a perfect reader pays {writers_loss(lines, lines_meant):.2f} per character of the training text")
print(f"probability of a typing error: {known.mean():.2f} in the training text, {new.mean():.3f} elsewhere")
print("three of them:", *(f"{p:.2f}" for p in known[:3]))
says("0.48", writers_loss(lines, lines_meant))
says("0.002", TYPO / 25)
says("0.55", known.mean())

# %% [markdown] lang="en"
# On average it gives 0.55 to a letter that was hit by accident, provided that the accident happened in the
# training text. That is the article's sentence, measured: the model has learned random errors. Those
# parameters cannot help on a text with other accidents, and they do harm: the model is very sure where
# nobody can be sure.
#
# ## Can we trust the number?
#
# The orange curve saved us, so it had better be honest. It is only if the held-out text is really new.
# Texts repeat themselves: licences, headers, forms, and whole paragraphs of documentation. If you shuffle
# paragraphs and cut, copies of one paragraph land on both sides, and the "validation" asks for what was
# memorised.
#
# **Predict.** We take 24 sentences, each of them twice, shuffle, and train on three quarters. Will the loss
# on the last quarter turn upwards again, as the orange curve did?
# %% [markdown] lang="zh"
# 对碰巧敲错的字母，只要这个错出在训练文本里，模型平均给它 0.55 的概率。文章里那句话就这样被量了出来：
# 模型学到了随机误差。换一段文本，错的是别的地方，这些参数帮不上忙，反而有害：谁都说不准的地方，
# 模型却十分肯定。
#
# ## 这个数可信吗？
#
# 多亏橙色曲线，我们才发现问题，所以它必须诚实。前提是留出来的文本真的是新的。可文本常常自我重复：许可证、
# 页眉、表单，还有说明文档里整段整段的文字。如果把段落打乱再切开，同一段的两个副本就会分到两边，
# “验证”考的正是背下来的内容。这叫**数据泄漏**。
#
# **先猜一猜。** 取 24 句话，每句放两份，打乱，拿四分之三来训练。剩下四分之一上的损失，
# 还会像橙色曲线那样回升吗？
# %%
rng = np.random.default_rng(2)
unique = write(rng, 24)[0]
says("24", len(unique))
shuffled = [(unique + unique)[i] for i in rng.permutation(48)]
leaky_train, leaky_held_out = shuffled[:36], shuffled[36:]
leaky = train(CharModel(np.random.default_rng(1)), windows(leaky_train), windows(leaky_held_out),
              windows(write(rng, 60)[0]), every=40)
for i, row in enumerate(leaky):
    print(f"step {40 * i:3}: training {row[0]:.2f}, held out {row[1]:.2f}, really new {row[2]:.2f}")
copies = np.mean([line in leaky_train for line in leaky_held_out])
print(f"held-out sentences that also stand in the training text: {copies:.0%}")
says("0.3", leaky[-1, 1])
says("1.47", leaky[-1, 2])

# %% [markdown] lang="en"
# The held-out loss falls to 0.3 and never turns. On really new text the same model is at 1.47 and getting
# worse. The split was made with the best intentions, and it hid everything.
#
# So before you believe a validation loss, measure how much of the validation text stands in the training
# text. The usual measure slides a window of $n$ characters along the validation text and asks for each
# window whether the training text has it too.
# %% [markdown] lang="zh"
# 留出部分的损失一路降到 0.3，从不回升。可在真正的新文本上，同一个模型是 1.47，而且越来越差。
# 划分的人一片好心，结果却把问题全盖住了。
#
# 所以在相信验证损失之前，先量一量：验证文本里有多少也出现在训练文本里。
# 常用的量法是用长 $n$ 个字符的窗口在验证文本上滑动，每个窗口都问一句：训练文本里有没有？
# %% exercise="seen_share"
def seen_share(train, validation, n):
    """The share of validation's windows of n characters that also stand in train.

    A text of length L has L - n + 1 windows: text[0:n], text[1:n+1], ...

    train, validation: strings, each of at least n characters. Returns a number in [0, 1].
    """
    # BEGIN SOLUTION
    known = {train[i:i + n] for i in range(len(train) - n + 1)}
    asked = [validation[i:i + n] for i in range(len(validation) - n + 1)]
    return sum(window in known for window in asked) / len(asked)
    # END SOLUTION


# %%
help_text = text.load_default()  # what Python's help() shows: minillm's default text
paragraphs = [p for p in help_text.split("\n\n") if p.strip()]
order = np.random.default_rng(0).permutation(len(paragraphs))
cut = len(paragraphs) * 9 // 10
naive_train = "\n\n".join(paragraphs[i] for i in order[:cut])
naive_validation = "\n\n".join(paragraphs[i] for i in order[cut:])
honest = text.split(help_text, fractions=(0.9, 0.1, 0.0))
print(f"{len(paragraphs):,} paragraphs, of which {honest.n_dropped} are repeats")
naive_share = seen_share(naive_train, naive_validation, 40)
honest_share = seen_share(honest.train, honest.validation, 40)
print(f"validation windows that training has seen: {naive_share:.0%} shuffled and cut, "
      f"{honest_share:.0%} with minillm.text.split")
assert naive_share > 0.2 > 0.1 > honest_share

# %% [markdown] lang="en"
# Python's own help text, from which minillm learns when you give it nothing else, prints the same
# paragraphs under several topics. (The exact counts above depend on your version of Python.) Shuffled and
# cut, a large part of the validation text has been seen. `minillm.text.split` drops repeated paragraphs
# *before* it splits, and keeps neighbours together, because a paragraph's neighbour gives much of it away.
# A little is left, from paragraphs that are almost but not quite the same.
#
# ## Stop in time
#
# The first cure costs nothing: measure the loss on a **validation set** as you train, keep the parameters
# of the best moment, and stop when there has been no new best for a while. That while is the **patience**,
# because the curve of a real run is jagged, and one bad measurement means little.
#
# By hand, with patience 2 and validation losses 3, 2, 2.5, 1.5, 1.6, 1.7, 1.4: number 2 (counting from 0)
# is worse than the best, wait 1; number 3 is a new best, wait 0; numbers 4 and 5 are no new best, wait 2:
# stop at 5 and go back to number 3. The 1.4 that would have come is never seen: that is the price of
# stopping.
# %% [markdown] lang="zh"
# Python 自带的帮助文本，也就是不另给文本时 minillm 的训练语料，会把同样的段落印在好几个主题下面。
# （上面的具体数目随 Python 版本而变。）打乱再切，验证文本有一大块是见过的。`minillm.text.split` 在划分*之
# 前*先去掉重复的段落，并让相邻的段落待在一起，因为一段话往往能从上下文猜出大半。剩下的一点来自几乎相同、
# 又不完全相同的段落。
#
# ## 见好就收
#
# 第一个药方不花钱：边训练边测**验证集**上的损失，留住最好那一刻的参数，一段时间没有新低就停。
# 这叫**提前停止**。“一段时间”有多长，由**耐心值**决定：真实训练的曲线总是起起伏伏，
# 偶尔差一次说明不了什么。
#
# 手算一次：耐心值为 2，验证损失依次是 3、2、2.5、1.5、1.6、1.7、1.4（从 0 开始编号）。2 号比最好的差，
# 等待数记 1；3 号是新低，等待数归 0；4 号、5 号都不是新低，等待数到 2：停在 5 号，退回 3 号的参数。
# 后面的 1.4 就看不到了，这是停下来的代价。
# %% exercise="early_stop"
def early_stop(losses, patience):
    """When training stops, and which measurement to go back to.

    Stop at the first measurement after which `patience` measurements in a row were no new lowest; if that
    never happens, at the last one. Equal to the lowest is not a new lowest.

    losses: (N,), validation losses in order, N >= 1. patience: >= 1.
    Returns (best, stopped): two indices; losses[best] is the lowest up to the stop.
    """
    # BEGIN SOLUTION
    best, wait = 0, 0
    for i in range(1, len(losses)):
        if losses[i] < losses[best]:
            best, wait = i, 0
        else:
            wait += 1
        if wait >= patience:
            return best, i
    return best, len(losses) - 1
    # END SOLUTION


# %%
by_hand = [3, 2, 2.5, 1.5, 1.6, 1.7, 1.4]
says("1.4", by_hand[-1])
says("2.5", by_hand[2])
says("1.5", by_hand[3])
says("1.6", by_hand[4])
says("1.7", by_hand[5])
print("by hand:", early_stop(by_hand, 2))
kept, stopped = early_stop(curve[:, 1], 3)
print(f"our run, patience 3: stop at step {10 * stopped}, go back to step {10 * kept}")
says("80", 10 * stopped)

# The same by the package's callback, fed with the same losses.
callback = minillm.keras.callbacks.EarlyStopping(monitor="val_loss", patience=3)
callback.model = SimpleNamespace(stop_training=False)
for epoch, loss in enumerate(curve[:, 1]):
    callback.on_epoch_end(epoch, {"val_loss": loss})
    if callback.model.stop_training:
        break
print("keras.callbacks.EarlyStopping:", (callback.best_epoch, callback.stopped_epoch))
assert (callback.best_epoch, callback.stopped_epoch) == (kept, stopped)

# %% [markdown] lang="en"
# With patience 3 our run stops at step 80 and goes back to step 50. In the article's Keras style that is
# `model.fit(..., callbacks=[tf.keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)])`;
# without `restore_best_weights` you keep the parameters of step 80, a mistake that is easy to make.
#
# One more trap: having *chosen* the step by the validation loss, you have fitted a little to the validation
# set. The number that you report comes from a third text, the **test set**, which nothing was chosen by.
#
# ## Penalties on the parameters
#
# Section 3.3 adds a term to the loss that makes large parameters expensive:
#
# $$L_{1}:\ L(\theta) + \lambda \sum_i |\theta_i| \qquad\qquad L_{2}:\ L(\theta) + \lambda \sum_i \theta_i^2$$
#
# A model that wants to be sure of one accident in one place needs large numbers to single that place out.
# The penalty asks: is it worth that much?
#
# What does the penalty do to the gradient? $\lambda\theta_i^2$ gives $2\lambda\theta_i$: a pull towards 0
# in proportion to the size, so large parameters feel it most and small ones hardly. $\lambda|\theta_i|$
# gives $\lambda\,\mathrm{sign}(\theta_i)$: the same pull for all, large or small.
#
# By hand: $\theta = (2, -0.5, 0)$, strengths 0.5 for L1 and 0.1 for L2. The L1 term is
# $0.5 \cdot 2.5 = 1.25$, its gradient $(0.5, -0.5, 0)$. The L2 term is $0.1 \cdot 4.25 = 0.425$, its
# gradient $(0.4, -0.1, 0)$.
# %% [markdown] lang="zh"
# 耐心值取 3，这次训练会停在第 80 步，退回第 50 步的参数。
# 用文章的 Keras 写法就是 `model.fit(..., callbacks=[tf.keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)])`。
# 如果忘了 `restore_best_weights`，留下来的是第 80 步的参数，这个错很容易犯。
#
# 还有一个陷阱：既然用验证损失*挑*了步数，就多少迁就了验证集。要报告的数应当出自第三份文本，
# 也就是**测试集**，任何选择都没有参考过它。
#
# ## 给参数加惩罚
#
# 文章 3.3 节在损失后面添一项，参数大了就要付代价：
#
# $$L_{1}:\ L(\theta) + \lambda \sum_i |\theta_i| \qquad\qquad L_{2}:\ L(\theta) + \lambda \sum_i \theta_i^2$$
#
# 模型要对某一处的偶然十拿九稳，就得用很大的数把那一处单挑出来。惩罚项问的是：值得吗？
#
# 惩罚对梯度有什么影响？$\lambda\theta_i^2$ 的导数是 $2\lambda\theta_i$：拉向 0 的力与参数大小成正比，
# 大的拉得狠，小的几乎不受力。$\lambda|\theta_i|$ 的导数是 $\lambda\,\mathrm{sign}(\theta_i)$：不论大小，
# 力都一样。
#
# 手算一次：$\theta = (2, -0.5, 0)$，L1 的强度取 0.5，L2 的取 0.1。L1 项是 $0.5 \cdot 2.5 = 1.25$，
# 梯度为 $(0.5, -0.5, 0)$；L2 项是 $0.1 \cdot 4.25 = 0.425$，梯度为 $(0.4, -0.1, 0)$。
# %% exercise="penalty_gradient"
def penalty_gradient(theta, l1, l2):
    """The gradient of l1 sum|theta_i| + l2 sum theta_i^2.

    theta: any shape. l1, l2: strengths, >= 0. Returns theta's shape. At theta_i = 0 take the slope of
    |theta_i| as 0.
    """
    # BEGIN SOLUTION
    return l1 * np.sign(theta) + 2 * l2 * theta
    # END SOLUTION


# %%
theta, target = np.array([2.0, -0.5, 0.0]), np.array([1.5, -0.5, 0.2])


def penalised_loss(theta):
    error = theta - target
    data = 0.5 * np.sum(error * error)
    return data + formulas.l1_penalty(theta, lam=0.5) + formulas.l2_penalty(theta, lam=0.1)


says("0.5", formulas.l1_penalty(theta, lam=0.5) / np.abs(theta).sum())
says("1.25", formulas.l1_penalty(theta, lam=0.5))
says("0.1", formulas.l2_penalty(theta, lam=0.1) / np.square(theta).sum())
says("4.25", np.square(theta).sum())
says("0.425", formulas.l2_penalty(theta, lam=0.1))
recording = trace(penalised_loss, theta)
gradient = recording.gradient("theta")
assert np.allclose(gradient, (theta - target) + penalty_gradient(theta, 0.5, 0.1))
sgd_theta = minillm.Tensor(theta.copy(), requires_grad=True)
sgd = optim.SGD([sgd_theta], lr=1.0, l1=0.5, l2=0.1)  # the penalties in the optimiser
loss = 0.5 * np.sum((sgd_theta - target) ** 2)
loss.backward()
sgd.step()
assert np.allclose(theta - sgd_theta.data, gradient)
print("the gradient by the tape, by your formula and inside optim.SGD:", gradient)
step(recording, en="Three pulls on theta: data, L1 and L2; on the way back their gradients add up",
     zh="作用在 theta 上的三股力：数据、L1、L2；反向时三份梯度相加")

# %% [markdown] lang="en"
# Step through it, and on the way back watch the accumulated gradient of `theta`: three contributions come
# in, one from the data and one from each penalty, and they add up. The last parameter, 0, feels no penalty.
#
# **A trap of conventions.** Keras's `l2(0.1)` is $0.1\,\theta^2$, with gradient $0.2\,\theta$, and minillm
# does the same. PyTorch's `weight_decay=0.1` in SGD adds $0.1\,\theta$. The same number, half the strength:
# when you copy a value from a paper, look for the factor 2. (And in Adam the penalty's gradient goes
# through the moments with the rest and is rescaled there; AdamW shrinks the parameter directly instead,
# `formulas.decoupled_weight_decay`.)
#
# **At the edge.** With gradient descent the L2 term alone gives
# $\theta \leftarrow (1 - 2\alpha\lambda)\,\theta$. As long as $\alpha\lambda < 0.5$ that is a decay, hence
# *weight decay*. What if $\alpha\lambda = 1.05$? Then the factor is $-1.1$: each step flips the sign and
# adds a tenth, and after 50 steps a parameter of 1 stands at 117. A penalty that is meant to keep things
# small can blow them up.
# %% [markdown] lang="zh"
# 一步一步地看，反向时盯住 `theta` 的累积梯度：先后进来三份，一份来自数据，两项惩罚各一份，加在一起。
# 最后那个等于 0 的参数没有受到惩罚的力。
#
# **约定上的陷阱。** Keras 的 `l2(0.1)` 是 $0.1\,\theta^2$，梯度为 $0.2\,\theta$，minillm 与它一致。PyTorch
# 的 SGD 里写 `weight_decay=0.1`，加上的是 $0.1\,\theta$。同一个数，强度差一半：照抄论文里的数值时，
# 要留心这个因子 2。（另外，在 Adam 里，惩罚的梯度会跟其余部分一起经过各阶矩，
# 被重新缩放；AdamW 则直接缩小参数，见 `formulas.decoupled_weight_decay`。）
#
# **极端情形。** 只看 L2 项，梯度下降一步就是 $\theta \leftarrow (1 - 2\alpha\lambda)\,\theta$。
# 只要 $\alpha\lambda < 0.5$，参数就一步步衰减，“权重衰减”由此得名。要是 $\alpha\lambda = 1.05$ 呢？
# 因子成了 $-1.1$：每一步都变号，而且大一成。从 1 出发，50 步之后是 117。本来要把参数压小的惩罚，
# 反而让它爆炸。
# %%
alpha_lambda, runaway = 1.05, [1.0]
for _ in range(50):
    runaway.append(runaway[-1] - alpha_lambda * penalty_gradient(runaway[-1], 0.0, 1.0))
print("alpha lambda = 1.05:", *(f"{w:.2f}" for w in runaway[:5]), "...", f"{runaway[-1]:.0f}")
says("1.05", alpha_lambda)
says("-1.1", runaway[1])
says("117", runaway[-1])

# %% [markdown] lang="en"
# ## L1 wants zeros, and does not get them
#
# L1 is said to make parameters *exactly* 0, so that one can leave them out. Look at the smallest case that
# shows it: $\tfrac12(\theta - a)^2 + \lambda|\theta|$. If $|a| \le \lambda$, the pull of the penalty is
# stronger than that of the data all the way to 0, and the minimum is at 0 exactly.
#
# Now do what everybody does first, gradient descent with $\lambda\,\mathrm{sign}(\theta)$. At 0 the
# function $|\theta|$ has a kink and no derivative; any slope between $-1$ and 1 is a **subgradient** there.
# **Predict:** with $a = -0.05$ and $\lambda = 0.5$, where is $\theta$ after 100 steps of size 0.2?
# %% [markdown] lang="zh"
# ## L1 想要零，却得不到零
#
# 都说 L1 能让参数*恰好*等于 0，于是可以删掉。
# 看一个能说明问题的最小例子：$\tfrac12(\theta - a)^2 + \lambda|\theta|$。若 $|a| \le \lambda$，
# 惩罚的力一路都压过数据的力，最小值恰好在 0。
#
# 先照大家最初的做法：用 $\lambda\,\mathrm{sign}(\theta)$ 做梯度下降。$|\theta|$ 在 0 处是个尖角，
# 没有导数；$-1$ 到 1 之间的任何斜率都是它在那里的**次梯度**。**先猜一猜：** $a = -0.05$、$\lambda = 0.5$，
# 步长 0.2，走 100 步之后 $\theta$ 在哪里？
# %%
a, lam, alpha = np.array([2.0, 0.3, -0.05, -1.0]), 0.5, 0.2
says("-0.05", a[2])
says("0.5", lam)
says("0.2", alpha)
subgradient_path = [a.copy()]
for _ in range(100):
    w = subgradient_path[-1]
    subgradient_path.append(w - alpha * ((w - a) + lam * np.sign(w)))
print("the last three:", *(np.round(w, 4) for w in subgradient_path[-3:]), sep="\n")
print("exact zeros:", int(np.sum(subgradient_path[-1] == 0)))
says("100", len(subgradient_path) - 1)
says("0.006", subgradient_path[-2][2])
says("-0.106", subgradient_path[-1][2])

# %% [markdown] lang="en"
# It is at 0.006 and at -0.106 in turn, over 0 and back for ever, because the penalty's part of each step
# has the full length $\alpha\lambda$ however near 0 is. The large ones settle (at $a$ minus or plus
# $\lambda$), the small ones never: no exact zero.
#
# The cure is to take the two parts in turn. First a plain gradient step on the data; then, for the penalty,
# not a step along a slope but the exact minimum of $\tfrac12(w - \theta)^2 + t|w|$ with
# $t = \alpha\lambda$. That is the **proximal step**, and for L1 it is called **soft threshold**: move
# towards 0 by $t$, and stay at 0 if it is nearer than that.
#
# $$S_t(\theta) = \mathrm{sign}(\theta)\,\max(|\theta| - t,\ 0)$$
#
# With $t = 0.1$: $S(2) = 1.9$, $S(-1) = -0.9$, $S(0.3) = 0.2$, $S(-0.05) = 0$.
# %% [markdown] lang="zh"
# 它轮流停在 0.006 和 -0.106，在 0 的两边跳来跳去，永无休止，因为不管离 0 多近，
# 惩罚项每一步都迈足 $\alpha\lambda$。大的参数稳定了（停在 $a$ 减去或加上 $\lambda$ 处），小的始终稳定不了：
# 一个恰好的零也没有。
#
# 解决办法是两部分轮流来。先对数据做一步普通的梯度下降；轮到惩罚项时，不再沿斜率走，
# 而是直接取 $\tfrac12(w - \theta)^2 + t|w|$ 的最小点，其中 $t = \alpha\lambda$。这叫**近端步**；
# 对 L1 来说，它就是**软阈值**：朝 0 移动 $t$，如果离 0 不到 $t$，就停在 0。
#
# $$S_t(\theta) = \mathrm{sign}(\theta)\,\max(|\theta| - t,\ 0)$$
#
# 取 $t = 0.1$：$S(2) = 1.9$，$S(-1) = -0.9$，$S(0.3) = 0.2$，$S(-0.05) = 0$。
# %% exercise="soft_threshold"
def soft_threshold(theta, t):
    """The proximal step of L1: the w that minimises (w - theta_i)^2 / 2 + t |w|, for each i.

    theta: any shape. t: >= 0. Returns theta's shape.
    """
    # BEGIN SOLUTION
    return np.sign(theta) * np.maximum(np.abs(theta) - t, 0)
    # END SOLUTION


# %%
says("1.9", soft_threshold(a, 0.1)[0])
says("-0.9", soft_threshold(a, 0.1)[3])
says("0.2", soft_threshold(a, 0.1)[1])
says("0", soft_threshold(a, 0.1)[2])
proximal_path = [a.copy()]
for _ in range(100):
    w = proximal_path[-1]
    proximal_path.append(soft_threshold(w - alpha * (w - a), alpha * lam))
print("proximal:", np.round(proximal_path[-1], 6) + 0.0, "exact zeros:", int(np.sum(proximal_path[-1] == 0)))
print("the minimum itself:", soft_threshold(a, lam) + 0.0)  # + 0.0 makes -0.0 a plain 0
assert np.allclose(proximal_path[-1], soft_threshold(a, lam))
l1_model = CharModel(np.random.default_rng(1))
train(l1_model, train_set, l1=0.002)
weights = np.concatenate([p.data.ravel() for p in l1_model.parameters()])
near, exact = np.mean(np.abs(weights) < 0.01), int(np.sum(weights == 0))
print(f"the character model with l1 = 0.002 in Adam: {near:.0%} of the parameters are below 0.01, "
      f"{exact} exactly 0")
assert exact == 0
says("0.002", 0.002)
says("0.01", 0.01)

fig, axes = plt.subplots(1, 2, figsize=(8, 3.3), sharey=True)
for ax, path, title in zip(axes, (subgradient_path, proximal_path), ("subgradient", "proximal step"),
                           strict=True):
    ax.axhline(0, color=GREY, linewidth=0.8)
    for i, color, style in ((1, BLUE, "-"), (2, ORANGE, "--")):
        ax.plot([w[i] for w in path[:25]], style, color=color, label=f"a = {a[i]:g}")
    ax.set_ylim(-0.2, 0.4)
    ax.set_xlabel("step")
    ax.set_title(title)
axes[0].set_ylabel("theta, near 0")
axes[1].legend(loc="upper right", fontsize=8)
fig.tight_layout()
picture(fig, name="l1",
        alt_en="Two panels, theta over 25 steps, seen near zero. Left, by subgradient: the two small "
               "parameters zigzag across zero without end. Right, by proximal steps: both walk to zero and "
               "stay there.",
        alt_zh="左右两图，25 步之内参数在零附近的走势。左图用次梯度：两个小参数在零的上下不停地折返。"
               "右图用近端步：两个参数走到零就停住了。")

# %% [markdown] lang="en"
# Two of the four are exactly 0 with the proximal step, none with the subgradient. And the L1 that libraries
# offer (`kernel_regularizer="l1"` in Keras, `l1=` in minillm's optimisers) is the subgradient one: our
# character model trained so has many parameters below 0.01 and not one that is exactly 0. It is a fine
# penalty; only, round before you count zeros.
#
# ## Dropout
#
# The article's other cure (section 3.3) leaves the loss alone and disturbs the network: in each training
# step each unit is dropped with probability $p$, so none can rely on a single other one.
#
# $$y = \frac{k \odot x}{1 - p}, \qquad k_i = 1 \text{ with probability } 1 - p, \text{ else } 0$$
#
# Why divide by $1 - p$? So that on average nothing changes: $\mathbb{E}[y_i] = (1-p)\,x_i / (1-p) = x_i$,
# and the layer above sees the same sums as it will without dropout. With $x = (1, 2, 3, 4)$ and $p = 0.5$
# there are only 16 masks, all equally likely, so you can check the average to the last digit.
#
# When the model is used, nothing is dropped and nothing is scaled: dropout returns $x$ as it is.
# %% [markdown] lang="zh"
# 近端步让四个参数中的两个恰好等于 0，次梯度一个也没有。
# 各个库提供的 L1（Keras 的 `kernel_regularizer="l1"`，minillm 优化器的 `l1=`）用的都是次梯度：
# 这样训练出来的字符模型，有许多参数不到 0.01，恰好为 0 的却一个也没有。作为惩罚它完全管用；只是数零之前，
# 要先把很小的数舍成 0。
#
# ## Dropout（随机失活）
#
# 文章 3.3 节的另一个药方不动损失，而是去干扰网络：训练的每一步，每个神经元都以概率 $p$ 被丢弃，
# 这样谁也不能只依赖某一个神经元。
#
# $$y = \frac{k \odot x}{1 - p}, \qquad k_i \text{ 以概率 } 1 - p \text{ 取 } 1，\text{否则取 } 0$$
#
# 为什么要除以 $1 - p$？为了平均起来不变：$\mathbb{E}[y_i] = (1-p)\,x_i / (1-p) = x_i$，上一层看到的总和，
# 与以后不用 dropout 时一样。取 $x = (1, 2, 3, 4)$、$p = 0.5$，掩码只有 16 种，机会均等，
# 平均值可以核对到最后一位。
#
# 真正使用模型的时候，既不丢弃也不缩放：dropout 原样返回 $x$。
# %% exercise="dropout"
def dropout(x, keep, p, training):
    """Inverted dropout: keep * x / (1 - p) in training, x itself otherwise.

    x: any shape. keep: x's shape, True where a unit stays. p: in [0, 1). training: True or False.
    Returns x's shape.
    """
    # BEGIN SOLUTION
    if not training:
        return x
    return np.where(keep, x / (1 - p), 0.0)
    # END SOLUTION


# %%
x = np.array([1.0, 2.0, 3.0, 4.0])
masks = np.array(list(itertools.product([True, False], repeat=4)))
says("16", len(masks))
print("one mask:", dropout(x, masks[5], 0.5, True), " average over all masks:",
      np.mean([dropout(x, k, 0.5, True) for k in masks], axis=0))
assert np.array_equal(np.mean([dropout(x, k, 0.5, True) for k in masks], axis=0), x)
assert np.array_equal(dropout(x, masks[5], 0.5, True), formulas.dropout(x, masks[5], p=0.5))


class UnscaledDropout(nn.Module):
    """Wrong: drops, but does not scale up what is left."""

    def __init__(self, p, rng):
        self.p, self.rng = p, rng

    def forward(self, x):
        return x * (self.rng.random(x.shape) >= self.p) if self.training else x


rng = np.random.default_rng(10)
right = CharModel(rng, p=0.8)
right_loss = train(right, train_set, fresh_set)[-1, 1]
rng = np.random.default_rng(10)
unscaled = CharModel(rng, dropout=UnscaledDropout(0.8, rng))
unscaled_loss = train(unscaled, train_set, fresh_set)[-1, 1]
print(f"fresh text, p = 0.8: scaled {right_loss:.2f}, not scaled {unscaled_loss:.2f}, "
      f"guessing evenly {np.log(29):.2f}")

right.train()  # wrong: measured without right.eval()
forgotten = [minillm.softmax_cross_entropy(right(fresh_set[0]), fresh_set[1]).item() for _ in range(3)]
print("measured three times with eval() forgotten:", *(f"{loss:.3f}" for loss in forgotten))
says("0.8", right.dropout.p)
says("1.35", right_loss)
says("3.71", unscaled_loss)
says("0.4", min(forgotten) - right_loss)
assert len(set(forgotten)) == 3
try:
    nn.Dropout(1.0)
except ValueError as error:
    print("nn.Dropout(1.0):", error)

# %% [markdown] lang="en"
# Two wrong versions, both met in real code:
#
# - **No scaling.** In training all seems well. But in use five times as many units speak as in training, so
#   all scores are about five times too large, and the model is sure of everything. On fresh text its loss
#   is 3.71, worse than guessing evenly, where the scaled one has 1.35.
# - **`eval()` forgotten.** The same model, the same text, measured three times: three different numbers,
#   all of them at least 0.4 too high. If your evaluation does not repeat itself, look here first.
#
# What if $p$ goes to 1? The survivors are multiplied by $1/(1-p)$, which has no bound, and the noise, with
# variance $x^2 p/(1-p)$, drowns the signal. At $p = 1$ the formula is $0/0$, and `nn.Dropout(1.0)` refuses
# it.
#
# ## Does it help, or was it luck?
#
# Train twice with different seeds and the numbers differ, though nothing else did. So one run with dropout
# that beats one run without proves nothing. The honest way, and what it takes:
#
# 1. choose the strengths on a validation set, with seeds that are not used again;
# 2. run each method on several seeds, the same ones for all, each with its own text and initial values;
# 3. measure on a test set, and report the mean *and* the spread (the standard deviation over seeds);
# 4. have a **placebo**: a change that cannot help, here merely other initial values. What the placebo gains
#    is luck.
#
# **Predict** the order of: nothing, placebo, early stopping, L1, L2, dropout, and four times as much text.
# %% [markdown] lang="zh"
# 两种错误写法，在真实代码里都见得到：
#
# - **忘了缩放。** 训练时一切如常。可使用时发声的神经元是训练时的五倍，所有分数都大约放大了五倍，
#   模型对什么都十拿九稳。在新文本上，它的损失是 3.71，比均匀乱猜还差；有缩放的是 1.35。
# - **忘了 `eval()`。** 同一个模型、同一段文本，量三次得到三个不同的数，而且至少都偏高 0.4。
#   评测结果不能重复时，先检查这里。
#
# $p$ 趋近 1 会怎样？留下来的神经元要乘以 $1/(1-p)$，没有上界；噪声的方差是 $x^2 p/(1-p)$，
# 会把信号淹没。$p = 1$ 时公式成了 $0/0$，`nn.Dropout(1.0)` 会直接拒绝。
#
# ## 真有用，还是碰巧？
#
# 什么都不改，只换随机种子，结果也会变。所以“用了 dropout 的一次比没用的一次好”证明不了什么。
# 老实的做法有四条：
#
# 1. 强度在验证集上选，选的时候用另外的种子，之后不再使用；
# 2. 每种方法都跑若干个种子，各方法用同一组种子，每个种子有自己的文本和初始值；
# 3. 在测试集上量，同时报告均值*和*离散程度（各种子之间的标准差）；
# 4. 设一个**安慰剂**：一种不可能有帮助的改动，这里只是换一组初始值。安慰剂赚到的，就是运气。
#
# **先猜一猜**名次：什么都不做、安慰剂、提前停止、L1、L2、dropout、四倍的文本。
# %%
def one_run(seed, *, n=16, initial=0, p=0.0, stop_early=False, **penalties):
    """(validation loss, test loss) of one method on one seed's own texts."""
    rng = np.random.default_rng([seed, 0])
    own = write(rng, 64)[0][:n]
    validation, test = windows(write(rng, 40)[0]), windows(write(rng, 80)[0])
    model = CharModel(np.random.default_rng([seed, 1, initial]), p=p)
    curve = train(model, windows(own), validation, test, every=10 if stop_early else None, **penalties)
    return curve[early_stop(curve[:, 1], 3)[0] if stop_early else -1, 1:]


grid = {"L1": [{"l1": v} for v in (0.0005, 0.002, 0.008)],
        "L2": [{"l2": v} for v in (0.001, 0.003, 0.01)],
        "dropout": [{"p": v} for v in (0.5, 0.8, 0.95)]}
methods = {"nothing": {}, "placebo": {"initial": 1}, "early stopping": {"stop_early": True}}
for name, settings in grid.items():
    scores = [np.mean([one_run(seed, **setting)[0] for seed in (100, 101)]) for setting in settings]
    methods[name] = settings[int(np.argmin(scores))]
    print(f"{name}: validation", *(f"{s:.2f} {setting}" for s, setting in zip(scores, settings, strict=True)))
methods["4 times the text"] = {"n": 64}

SEEDS = range(5)
results = {name: np.array([one_run(seed, **setting)[1] for seed in SEEDS])
           for name, setting in methods.items()}
for name, losses in results.items():
    gain = results["nothing"] - losses
    print(f"{name:>16}: test loss {losses.mean():.2f} ± {losses.std(ddof=1):.2f}, gain over nothing "
          f"{gain.mean():5.2f} ± {gain.std(ddof=1):.2f}, better on {np.sum(gain > 0)} of {len(losses)} seeds")

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6))
for row, losses in enumerate(results.values()):
    ax.plot(losses, np.full(len(losses), row), "o", color=BLUE, alpha=0.6)
    ax.errorbar(losses.mean(), row + 0.25, xerr=losses.std(ddof=1), fmt="|", color=ORANGE, capsize=3)
ax.set_yticks(range(len(results)), list(results))
ax.invert_yaxis()
ax.set_xlabel("test loss (nats per character); dots: seeds, bars: mean and standard deviation")
ax.xaxis.label.set_size(8)
fig.tight_layout()
picture(fig, name="comparison",
        alt_en="A row of dots for each method, five seeds each. Nothing and placebo lie together on the "
               "right, with the worst losses. Early stopping, L1, L2, dropout and four times the text lie "
               "clearly to the left of them, without overlap; L2, L1 and more text furthest.",
        alt_zh="每种方法一行点，各五个种子。“什么都不做”和“安慰剂”都在右边，损失最差。提前停止、L1、L2、"
               "dropout 和四倍文本都明显在它们左边，互不重叠，其中 L2、L1 和四倍文本最靠左。")
nothing, luck = results["nothing"], results["nothing"] - results["placebo"]
too_strong = one_run(100, l1=0.008)[0]
says("1.95", nothing.mean())
says("0.26", nothing.std(ddof=1))
says("0.008", grid["L1"][-1]["l1"])
for name in ("early stopping", "L1", "L2", "dropout", "4 times the text"):
    gain = nothing - results[name]
    assert gain.min() > np.abs(luck).max(), name
    assert results[name].max() < min(nothing.min(), results["placebo"].min()), name
    assert gain.mean() > 3 * gain.std(ddof=1), name
assert results["L1"].mean() < results["early stopping"].mean()
assert too_strong > 2.5

# %% [markdown] lang="en"
# Without a cure the test loss is 1.95, with a spread of 0.26 between seeds. That is large, because every
# seed has its own text. So compare seed by seed: the **gain** of a method is its difference to *nothing* on
# the same seed. The placebo gains on some seeds and loses on others: a difference of that size, seen once,
# must not be called an effect. All five cures gain on every seed, each time more than the placebo ever did,
# so here they are real.
#
# Three things to notice before you carry this away:
#
# - The strength matters as much as the method. L1 with 0.008 flattens nearly everything: a loss of about 3,
#   where guessing evenly costs 3.37. That is **underfitting**.
# - Four times the text, with no cure at all, is nearly as good as the best of them. Where more text can be
#   had, have it.
# - Which penalty wins here says nothing about your model. This lesson's method of finding out does.
#
# ## What to keep
#
# - A model overfits when it learns what is accidental in its text; the training loss does not show it
#   (sections 2.1 and 2.2 of the article).
# - A validation loss is worth as much as its split: drop repeats first, and report on a test set.
# - L2 pulls in proportion, $2\lambda\theta$; L1 pulls evenly, $\lambda\,\mathrm{sign}(\theta)$, and gives
#   exact zeros only with the proximal step (article, section 3.3).
# - Dropout divides by $1 - p$ in training and does nothing in `eval()` (article, section 3.3).
# - A gain is real when it beats a placebo on several seeds.
#
# **Go on:** combine L2 with early stopping or dropout in `one_run(seed, l2=0.003, p=0.5)` and find out, by
# the rules above, whether two cures are better than one.
# %% [markdown] lang="zh"
# 什么都不做，测试损失是 1.95，种子之间的离散程度是 0.26。离散得这么厉害，是因为每个种子的文本都不一样。
# 所以要逐个种子地比：一种方法的**增益**，是同一个种子上它与“什么都不做”之差。安慰剂在有的种子上赚，
# 在有的种子上赔：这么大的差别，只见过一次，不能叫效果。五种药方在每个种子上都有增益，
# 而且每次都超过安慰剂的任何一次，所以在这里它们是真的有用。
#
# 带走结论之前，有三点要注意：
#
# - 强度和方法一样要紧。L1 取 0.008，几乎什么都被压平了：损失约为 3，而均匀乱猜也不过 3.37。这叫**欠拟合**。
# - 什么药也不用，文本增加到四倍，就几乎赶得上最好的药方。能多要文本，就多要。
# - 这里哪种惩罚胜出，对你的模型说明不了什么；这一课用来判断的方法，才对你有用。
#
# ## 记住这些
#
# - 模型学到文本中偶然的东西，就是过拟合；训练损失看不出来（文章 2.1、2.2 节）。
# - 验证损失可不可信，全看怎么划分：先去重，最后用测试集报告。
# - L2 按比例拉，$2\lambda\theta$；L1 一视同仁地拉，$\lambda\,\mathrm{sign}(\theta)$，要得到恰好的零，
#   得用近端步（文章 3.3 节）。
# - Dropout 训练时除以 $1 - p$，`eval()` 之后什么也不做（文章 3.3 节）。
# - 在若干个种子上都胜过安慰剂，增益才算数。
#
# **继续试：** 把 L2 与提前停止或 dropout 合起来用，例如 `one_run(seed, l2=0.003, p=0.5)`，
# 按上面的规矩看看：两种药方是不是比一种好。
