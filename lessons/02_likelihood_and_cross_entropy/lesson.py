# ---
# title: Likelihood and cross-entropy
# title_zh: 似然与交叉熵
# minutes: 40
# needs: [01_tensors_and_tape]
# ---
# %% [markdown] lang="en"
# ## The question
#
# Several models have read the same sentence. **Which of them is the best, and by how much?** We want one
# number: it should work for a sentence and for a library, punish a model for being surprised, and have a
# gradient, so that a model can be improved by it.
#
# Section 4.1 of the article gives it in one formula, the cross-entropy:
#
# $$L(\theta) = -\frac{1}{N}\sum_{i=1}^{N} \sum_{j=1}^{V} y_{ij} \log p(x_i; \theta)_j$$
#
# In this lesson you come to it by small steps, meet its numbers in three units, break it in the ways in which
# it is broken in practice (`0`, `inf`, `nan`, and, worst, a quiet wrong number), and find that its gradient
# is simpler than the formula itself.
# %% [markdown] lang="zh"
# ## 要回答的问题
#
# 几个模型读了同一句话，**哪个最好？好多少？** 我们想要一个数：一句话能用，整座图书馆也能用；模型越是感到意
# 外，它就越大；而且要能求梯度，以便靠它来改进模型。
#
# 文章 4.1 节用一个式子给出了答案，这就是交叉熵：
#
# $$L(\theta) = -\frac{1}{N}\sum_{i=1}^{N} \sum_{j=1}^{V} y_{ij} \log p(x_i; \theta)_j$$
#
# 这一课会一小步一小步地走到这个式子，用三种单位来读它的数值，再按实践中常见的出错方式把它弄坏（`0`、`inf`、
# `nan`，以及最糟的，不声不响的错数），最后你会发现，它的梯度竟比式子本身还要简单。
# %%
import math

import matplotlib.pyplot as plt
import numpy as np

import minillm
from minillm import Tensor, formulas
from minillm.course import picture, says, step
from minillm.stepper import trace

text = "to be or not to be"
letters = sorted(set(text))
V = len(letters)  # size of the vocabulary
labels = np.array([letters.index(c) for c in text])  # (N,)
N = len(labels)
says("18", N)
says("7", V)
print(f"{N} characters, {V} different ones: {letters}")
print("as numbers:", labels)

# %% [markdown] lang="en"
# ## 1. Likelihood: how probable did the model think the text was?
#
# A language model gives, at each place, a probability for each of the $V$ possible next characters. The
# probability of the whole text $c_1, \dots, c_N$ is the product of those that it gave to the characters that
# really came, its **likelihood**:
#
# $$p(\text{text}) = \prod_{i=1}^{N} p(c_i \mid c_1, \dots, c_{i-1})$$
#
# Our text has 18 characters from a vocabulary of 7, the space included. Three models read it:
#
# 1. *uniform*: every character has probability $1/7$, always;
# 2. *letters*: every character has the probability with which it occurs in the text;
# 3. *pairs*: the probability of a character depends on the one before it, counted in the text too.
#
# (To count in the very text that one is tested on is cheating. Lesson 5 is about that; here it gives us
# models of different quality.)
#
# **Predict:** the uniform model's likelihood is $(1/7)^{18}$. Is that nearer to a thousandth or to a
# millionth of a millionth?
# %% [markdown] lang="zh"
# ## 1. 似然：模型认为这段文本有多大可能出现？
#
# 语言模型在每个位置上，给 $V$ 个可能的下一个字符各一个概率。把它给真正出现的那些字符的概率乘起来，就是整段文
# 本 $c_1, \dots, c_N$ 的概率，称为**似然**：
#
# $$p(c_1, \dots, c_N) = \prod_{i=1}^{N} p(c_i \mid c_1, \dots, c_{i-1})$$
#
# 这段文本有 18 个字符，词表大小是 7，空格也算。有三个模型来读它：
#
# 1. *均匀*（uniform）：每个字符的概率永远是 $1/7$；
# 2. *字频*（letters）：每个字符的概率等于它在文本中出现的频率；
# 3. *字对*（pairs）：字符的概率取决于前一个字符，也是在文本里数出来的。
#
# （先在考卷上数好频率，再来答同一份考卷，其实是作弊。第 5 课专门讲这件事；这里只是借它得到几个好坏不同的模
# 型。）
#
# **先猜一猜**：均匀模型的似然是 $(1/7)^{18}$。它更接近千分之一，还是更接近万亿分之一？
# %%
frequency = np.bincount(labels, minlength=V) / N  # (V,)
pair_counts = np.zeros((V, V))
np.add.at(pair_counts, (labels[:-1], labels[1:]), 1)
pairs = pair_counts / np.maximum(pair_counts.sum(axis=1, keepdims=True), 1)  # row: the character before

# What each model gave to the character that really came, (N,) each.
given = {
    "uniform": np.full(N, 1 / V),
    "letters": frequency[labels],
    "pairs": np.concatenate([frequency[labels[:1]], pairs[labels[:-1], labels[1:]]]),
}
likelihood = {name: np.prod(p) for name, p in given.items()}
for name in given:
    print(f"{name:8s} likelihood {likelihood[name]:.3g}")
print("pairs gave: ", *(f"{c}:{q:.2f}" for c, q in zip(text.replace(" ", "_"), given["pairs"], strict=True)))
says("6.1e-16", likelihood["uniform"])
assert likelihood["uniform"] < likelihood["letters"] < likelihood["pairs"]

# %% [markdown] lang="en"
# Much smaller than either: 6.1e-16. The order is as we expect, uniform, letters, pairs. To **maximise the
# likelihood** is the aim of training ("the training objective is to maximise the likelihood", section 4.1 of
# the article). But as a number it is awkward: it shrinks with every character, so that a good model of a long
# text looks worse than a bad one of a short text. And then this happens:
# %% [markdown] lang="zh"
# 比两者都小得多：6.1e-16。三个模型的次序倒和预料的一样：均匀最差，字频居中，字对最好。文章说“LLMs 的训练目标
# 是最大化似然函数”（4.1 节），就是要让这个数尽量大。可是这个数并不好用：每多一个字符它就变小，于是好模型读长
# 文本，看起来还不如坏模型读短文本。而且，还会出这样的事：
# %%
longer = {name: np.tile(p, 30) for name, p in given.items()}  # the text thirty times over
for name, p in longer.items():
    print(f"{name:8s} likelihood of {len(p)} characters: {np.prod(p)}")
says("540", len(longer["letters"]))
says("0", np.prod(longer["letters"]))

running = np.cumprod(np.full(600, 1 / V))
first_zero = int(np.argmax(running == 0)) + 1
says("383", first_zero)
print(f"the uniform model's product is exactly 0 after {first_zero} characters, five lines of a book")

# %% [markdown] lang="en"
# ## 2. The logarithm
#
# After 383 characters, five lines of a book, the uniform model's product is smaller than the smallest float64
# and becomes exactly 0: **underflow**. For 540 characters two models both have "likelihood 0", and nothing
# can be compared any more, let alone differentiated.
#
# The logarithm turns the product into a sum, and the sum into a mean, which no longer depends on the length:
#
# $$L = -\frac{1}{N} \log p(\text{text}) = -\frac{1}{N}\sum_{i=1}^{N} \log p(c_i \mid c_1, \dots, c_{i-1})$$
#
# The logarithm grows with its argument, so the largest likelihood is the smallest $L$, the **negative
# log-likelihood**. Each character costs $-\log p$: nothing if the model was sure and right, the more the more
# it was surprised.
#
# **Predict:** what is $L$ for the uniform model? One symbol will do, no calculator is needed.
# %% [markdown] lang="zh"
# ## 2. 取对数
#
# 只要 383 个字符，书上五行的长度，均匀模型的乘积就小于 float64 能表示的最小正数，变成不折不扣的 0，这叫**下
# 溢**。到了 540 个字符，有两个模型的“似然都是 0”，谁好谁坏无从比起，更谈不上求导。
#
# 对数把乘积变成和，再取平均，就与文本长短无关了：
#
# $$L = -\frac{1}{N} \log p(c_1, \dots, c_N)
# = -\frac{1}{N}\sum_{i=1}^{N} \log p(c_i \mid c_1, \dots, c_{i-1})$$
#
# 对数是增函数，所以似然最大就是 $L$ 最小；$L$ 称为**负对数似然**。每个字符的代价是 $-\log p$：模型有把握又猜
# 对了，代价是零；越是意外，代价越高。
#
# **先猜一猜**：均匀模型的 $L$ 是多少？不用计算器，写成一个式子就行。
# %%
L = {name: -np.mean(np.log(p)) for name, p in given.items()}
for name, p in longer.items():
    print(f"{name:8s} L = {L[name]:.3f}, and of the text thirty times over {-np.mean(np.log(p)):.3f}")
says("1.946", L["uniform"])
says("1.798", L["letters"])
says("0.807", L["pairs"])

fig, ax = plt.subplots(figsize=(5.4, 3.3))
p = np.linspace(0.001, 1, 500)
ax.plot(p, -np.log(p), color="#0072b2")
for at, label in [(1 / V, "uniform: 1/7"), (0.5, "1/2"), (0.01, "1/100")]:
    cost = -math.log(at)
    ax.plot(at, cost, "o", color="#d55e00")
    ax.annotate(f"{label} costs {cost:.2f} nats", (at, cost), (at + 0.04, cost + 0.25))
ax.set(xlabel="probability given to what really came", ylabel="cost, -log p (nats)", ylim=(0, 7))
ax.grid(alpha=0.3)
picture(fig, name="cost",
        alt_en="The curve of minus log p. It is 0 at p = 1, 0.69 at one half, 1.95 at one seventh, 4.61 at "
               "one hundredth, and rises without bound towards p = 0.",
        alt_zh="负对数 p 的曲线：p = 1 时为 0，p 为二分之一时 0.69，七分之一时 1.95，百分之一时 4.61，p 趋于 "
               "0 时无限升高。")

# %% [markdown] lang="en"
# $\log 7 = 1.946$, for 18 characters or for 540. The letters have 1.798, the pairs 0.807. Now models can be
# compared.
#
# ## 3. The article's formula
#
# Section 4.1 writes the same mean for samples of any kind. The input $x_i$ is what the model has read so far,
# $p(x_i;\theta)_j$ the probability that it then gives to word $j$, and $y_i$ a **one-hot code**: $y_{ij}$ is
# 1 if word $j$ is the one that came, else 0. In the inner sum all terms but one vanish, and what is left is
# $\log p$ of the word that came:
#
# $$\sum_{j=1}^{V} y_{ij} \log p(x_i;\theta)_j = \log p(x_i;\theta)_{y_i}$$
#
# By hand, with $N = 2$ and $V = 3$:
#
# | | $p_1$ | $p_2$ | $p_3$ | came | cost |
# | --- | --- | --- | --- | --- | --- |
# | sample 1 | 0.7 | 0.2 | 0.1 | word 1 | $-\log 0.7 = 0.357$ |
# | sample 2 | 0.25 | 0.5 | 0.25 | word 2 | $-\log 0.5 = 0.693$ |
#
# $L = (0.357 + 0.693)/2 = 0.525$.
#
# ## Exercise: cross-entropy
#
# One thing to look out for: a word that did not come may have probability 0, and costs nothing all the same.
# %% [markdown] lang="zh"
# $\log 7 = 1.946$，18 个字符是它，540 个字符也是它。字频模型是 1.798，字对模型是 0.807。现在可以比较了。
#
# ## 3. 文章里的式子
#
# 文章 4.1 节写的就是这个平均，只是样本可以是任何东西。输入 $x_i$ 是模型读到此处为止的上文，$p(x_i;\theta)_j$
# 是它随后给第 $j$ 个词的概率，$y_i$ 则是 **one-hot 编码**：真正出现的若是第 $j$ 个词，$y_{ij}$ 就是 1，否则是
# 0。于是里层的求和只剩下一项不为零，即真正出现的那个词的 $\log p$：
#
# $$\sum_{j=1}^{V} y_{ij} \log p(x_i;\theta)_j = \log p(x_i;\theta)_{y_i}$$
#
# 手算一例，$N = 2$，$V = 3$：
#
# | | $p_1$ | $p_2$ | $p_3$ | 真正出现的 | 代价 |
# | --- | --- | --- | --- | --- | --- |
# | 样本 1 | 0.7 | 0.2 | 0.1 | 第 1 个词 | $-\log 0.7 = 0.357$ |
# | 样本 2 | 0.25 | 0.5 | 0.25 | 第 2 个词 | $-\log 0.5 = 0.693$ |
#
# $L = (0.357 + 0.693)/2 = 0.525$。
#
# ## 练习：交叉熵
#
# 要当心一点：没有出现的词，概率可以是 0，它照样不花任何代价。
# %% exercise="cross_entropy"
def cross_entropy(y, p):
    """The loss of section 4.1 of the article, from one-hot rows.

    L = -(1/N) sum_i sum_j y_ij log p_ij,   where 0 log 0 counts as 0

    y: (N, V), 1 for the word that came, 0 elsewhere.
    p: (N, V), probabilities.
    Returns a number, in nats; inf if a word that came had probability 0.
    """
    # BEGIN SOLUTION
    log_p = np.log(np.where(y == 0, 1, p))  # log 1 = 0 where it does not matter
    return -np.sum(y * log_p) / len(y)
    # END SOLUTION


# %%
hand_p = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]])
hand_y = np.array([[1, 0, 0], [0, 1, 0]])
says("0.7", hand_p[0, 0])
says("0.2", hand_p[0, 1])
says("0.1", hand_p[0, 2])
says("0.25", hand_p[1, 0])
says("0.5", hand_p[1, 1])
says("0.357", -np.log(hand_p[0, 0]))
says("0.693", -np.log(hand_p[1, 1]))
hand_loss = cross_entropy(hand_y, hand_p)
says("0.525", hand_loss)
print("by hand 0.525, computed", hand_loss)
assert np.isclose(hand_loss, formulas.cross_entropy(hand_y, hand_p))

# The whole text: one row for each character.
one_hot = np.eye(V)[labels]  # (N, V)
assert np.isclose(cross_entropy(one_hot, np.tile(frequency, (N, 1))), L["letters"])

# Two ways to get it wrong, and what one-hot rows take.
sure = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # a perfect model
with np.errstate(all="ignore"):
    print("0 log 0:          ", -np.sum(hand_y * np.log(sure)) / 2)

three = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8]])
three_labels = np.array([0, 1, 2])
quiet = -np.sum(three_labels * np.log(three)) / 3  # labels where one-hot rows belong
right = formulas.cross_entropy_of_labels(three_labels, three)
print("labels for one-hot:", quiet, "  right:", right)
says("4.14", quiet)
says("0.424", right)

n_samples, n_words = 8_192, 50_257  # a batch; the vocabulary of GPT-2
one_hot_bytes, label_bytes = n_samples * n_words * 4, n_samples * 8  # float32, int64
print(f"one-hot rows: {one_hot_bytes / 1e9:.2f} GB; labels: {label_bytes / 1e6:.2f} MB")
says("8,192", n_samples)
says("50,257", n_words)
says("1.6", one_hot_bytes / 1e9)
says("0.07", label_bytes / 1e6)
assert label_bytes < one_hot_bytes / 1000

# %% [markdown] lang="en"
# The perfect model has `nan`: in floating point $0 \cdot \log 0$ is $0 \cdot (-\infty)$, which is not a
# number. The sum must be kept from ever looking there.
#
# Worse is the second mistake: **labels** (0, 1, 2) where one-hot rows belong. With $N = V$ the shapes
# broadcast, no error comes, and 4.14 looks like a loss; 0.424 is right. `formulas.cross_entropy` refuses
# shapes that differ.
#
# Labels are the better way, if one says so: $L = -\frac{1}{N}\sum_i \log p_{i,\,y_i}$ picks one number from
# each row (in NumPy `p[np.arange(N), labels]`). For a batch of 8,192 samples and a vocabulary of 50,257
# words, one-hot rows would take 1.6 GB, the labels 0.07 MB. The article's listing (section 5.1) uses Keras's
# `CategoricalCrossentropy`, which wants one-hot; `SparseCategoricalCrossentropy` is the one for labels.
#
# ## 4. Three units for one number
#
# - **nats** per character: $L$ itself, with the natural logarithm. What training programs print.
# - **bits** per character: $L/\log 2$. So many bits would the text take, character by character, if a perfect
#   compressor used the model.
# - **perplexity**: $e^L$. Among how many equally likely characters the model seems to choose.
#
# **Predict:** the uniform model's perplexity?
# %% [markdown] lang="zh"
# 完美的模型得到的竟是 `nan`：在浮点数里，$0 \cdot \log 0$ 就是 $0 \cdot (-\infty)$，结果“不是一个数”。求和
# 时，那些位置根本不能碰。
#
# 第二个错误更糟：该用 one-hot 行的地方用了**类别标签**（0、1、2）。恰好 $N = V$ 时，形状可以广播，什么错也不
# 报，而 4.14 看起来也像个损失；正确的是 0.424。形状不一致时，`formulas.cross_entropy` 会拒绝计算。
#
# 其实直接用标签更好，只要事先讲明给的是标签：$L = -\frac{1}{N}\sum_i \log p_{i,\,y_i}$，从每行里取一个数（在
# NumPy 里是 `p[np.arange(N), labels]`）。一批 8,192 个样本，词表 50,257 个词，one-hot 要占 1.6 GB，标签只占
# 0.07 MB。文章 5.1 节的代码用的是 Keras 的 `CategoricalCrossentropy`，它要 one-hot；要用标签，就换成
# `SparseCategoricalCrossentropy`。
#
# ## 4. 一个数，三种单位
#
# - **每字符奈特数**（nat）：就是 $L$ 本身，用自然对数。训练程序打印的就是它。
# - **每字符比特数**：$L/\log 2$。假如有一个完美的压缩程序使用这个模型，平均每个字符要占这么多比特。
# - **困惑度**：$e^L$。模型好像在多少个同样可能的字符里挑一个。
#
# **先猜一猜**：均匀模型的困惑度是多少？
# %%
for name, loss in L.items():
    print(f"{name:8s} {loss:.3f} nats  {formulas.bits_per_character(loss):.3f} bits  "
          f"perplexity {formulas.perplexity(loss):.2f}")
says("7.00", formulas.perplexity(L["uniform"]))
says("6.04", formulas.perplexity(L["letters"]))
says("2.24", formulas.perplexity(L["pairs"]))
says("2.81", formulas.bits_per_character(L["uniform"]))

# Another tokenizer: pieces of the text as tokens, and a model that guesses evenly among 50 pieces.
tokens = ["to", " be", " or", " not", " to", " be"]
assert "".join(tokens) == text
pieces_loss = math.log(50)
pieces_bits = formulas.bits_per_character(pieces_loss, len(tokens) / len(text))
print(f"pieces   {pieces_loss:.3f} nats per token, perplexity {formulas.perplexity(pieces_loss):.0f}, "
      f"{pieces_bits:.2f} bits per character")
says("50", formulas.perplexity(pieces_loss))
says("1.88", pieces_bits)
says("2.59", formulas.bits_per_character(L["letters"]))

# %% [markdown] lang="en"
# Exactly 7: it chooses among all. The letters choose among 6.04, the pairs among 2.24.
#
# The last line is a trap. A model whose tokens are pieces of words, and which merely guesses among 50 of
# them, has perplexity 50, far "worse" than 6.04. But it needs 6 guesses for what costs the others 18. Per
# character it takes 1.88 bits, the letters 2.59: it is *better*. Compare perplexities only between models
# with the same tokens; between tokenizers, compare bits per character.
#
# ## 5. From scores to probabilities: softmax
#
# A network ends in scores of any size and sign, the **logits**. From here on $x_1, \dots, x_V$ are the logits
# of one sample. Softmax makes them positive by the exponential and lets them sum to 1:
#
# $$p_j = \frac{e^{x_j}}{\sum_{k=1}^{V} e^{x_k}}$$
#
# Only *differences* count: adding a constant to all logits multiplies numerator and denominator by the same
# factor.
#
# **Predict:** what does this formula, typed in as it stands, give for the logits `[1000, 1001, 1002]`? And
# for `[-1000, -1001, -1002]`?
# %% [markdown] lang="zh"
# 正好是 7：它在全部字符里挑。字频模型像是在 6.04 个里挑，字对模型像是在 2.24 个里挑。
#
# 最后一行是个陷阱。有个模型的词元是词的片段，它什么也不懂，只在 50 个片段里乱猜，困惑度是 50，比 6.04“差”得
# 远。可是别的模型要猜 18 次，它猜 6 次就够了。平均到每个字符，它用 1.88 比特，字频模型却要 2.59 比特：其实是
# 它*更好*。困惑度只能在词元相同的模型之间比较；分词器不同，就该比每字符的比特数。
#
# ## 5. 从分数到概率：softmax
#
# 网络最后输出的是分数，可大可小，可正可负，称为 **logits**。从这里起，$x_1, \dots, x_V$ 表示一个样本的
# logits。softmax 用指数函数把它们变成正数，再除以总和，使总和为 1：
#
# $$p_j = \frac{e^{x_j}}{\sum_{k=1}^{V} e^{x_k}}$$
#
# 起作用的只有*差*：所有 logits 同加一个常数，分子分母就同乘一个因子，概率不变。
#
# **先猜一猜**：把这个式子原样敲进去，logits 取 `[1000, 1001, 1002]` 会得到什么？取 `[-1000, -1001, -1002]`
# 呢？
# %%
def softmax_as_it_stands(x):
    e = np.exp(x)
    return e / np.sum(e, axis=-1, keepdims=True)


small = np.array([0.0, 1.0, 2.0])
with np.errstate(all="ignore"):
    for x in (small, small + 1000, -(small + 1000)):
        print(x, "->", softmax_as_it_stands(x))

for dtype in (np.float32, np.float64):
    print(dtype.__name__, "overflows beyond", round(float(np.log(np.finfo(dtype).max)), 1))
says("88.7", np.log(np.finfo(np.float32).max))
says("709.8", np.log(np.finfo(np.float64).max))

# %% [markdown] lang="en"
# `nan` for both: $e^{1000}$ is beyond float64, `inf / inf` is no number; and $e^{-1000}$ is 0, so that the
# other is `0 / 0`. In float32, in which models are trained, 88.7 is already the end (float64: 709.8). Such
# logits do occur, when training becomes unstable: one moment of it, and every parameter is `nan`.
#
# The cure uses that only differences count: subtract the largest logit first.
#
# $$p_j = \frac{e^{x_j - m}}{\sum_{k} e^{x_k - m}}, \qquad m = \max_k x_k$$
#
# It is the *same* number, not an approximation. Now every exponent is at most 0, so nothing overflows; and
# the sum is at least $e^0 = 1$, so nothing is divided by 0. (Not the mean in place of the maximum: one logit
# of 2000 among zeros still overflows.)
#
# ## Exercise: softmax
# %% [markdown] lang="zh"
# 两个都是 `nan`：$e^{1000}$ 超出 float64 的范围，得到 `inf / inf`；$e^{-1000}$ 则是 0，得到 `0 / 0`。训练模型
# 用的是 float32，超过 88.7 就到头了（float64 是 709.8）。训练一旦不稳定，真会出现这么大的 logits；只要有一
# 次，所有参数就都成了 `nan`。
#
# 既然起作用的只有差，那就先减去最大的 logit：
#
# $$p_j = \frac{e^{x_j - m}}{\sum_{k} e^{x_k - m}}, \qquad m = \max_k x_k$$
#
# 这不是近似，而是*同一个*数。现在每个指数都不超过 0，不会上溢；分母至少是 $e^0 = 1$，也不会除以 0。（减平均值
# 可不行：一堆零里有一个 2000，照样上溢。）
#
# ## 练习：softmax
# %% exercise="softmax"
def softmax(x):
    """Probabilities of each row of logits, of any size.

    p_ij = exp(x_ij - m_i) / sum_k exp(x_ik - m_i),   m_i = max_k x_ik

    x: (N, V), finite. Returns (N, V); each row sums to 1.
    """
    # BEGIN SOLUTION
    m = np.max(x, axis=1, keepdims=True)  # (N, 1)
    e = np.exp(x - m)  # (N, V), the largest of each row is 1
    return e / np.sum(e, axis=1, keepdims=True)
    # END SOLUTION


# %%
rows = np.stack([small, small + 1000, -(small + 1000)])
print(softmax(rows).round(3))
says("0.090", softmax(rows)[1, 0])
says("0.665", softmax(rows)[1, 2])
assert np.allclose(softmax(rows), formulas.softmax(rows))

one_large = np.array([2000.0, 0.0, 0.0, 0.0])
says("2000", one_large.max())
with np.errstate(all="ignore"):
    print("the mean subtracted:", softmax_as_it_stands(one_large - one_large.mean()))
print("the maximum:        ", softmax(one_large[None])[0])

# %% [markdown] lang="en"
# The first two rows are alike, 0.090 to 0.665, as they should be; in the third the order is reversed.
#
# ## 6. A stable softmax is not enough
#
# The loss needs $\log p$. **Predict:** logits `[0, 800]`, and the first word came. Softmax is stable now; is
# $-\log(\text{softmax}(x))$?
# %% [markdown] lang="zh"
# 前两行一样，从 0.090 到 0.665，正该如此；第三行次序颠倒。
#
# ## 6. 只有 softmax 稳定还不够
#
# 损失要的是 $\log p$。**先猜一猜**：logits 为 `[0, 800]`，真正出现的是第一个词。softmax 已经稳定了，那么
# $-\log(\text{softmax}(x))$ 呢？
# %%
def patched_loss(x):
    """A patch that is often seen: a little something inside the logarithm."""
    return -np.log(formulas.softmax(x)[0] + 1e-12)


def right_loss(x):
    return -formulas.log_softmax(x)[0]


with np.errstate(divide="ignore"):
    print("-log softmax:     ", -np.log(softmax(np.array([[0.0, 800.0]]))[0, 0]))
print(" logits      patched  its gradient        right  its gradient")
slopes = {}
for large in (5.0, 20.0, 30.0, 40.0, 800.0):
    x, z = Tensor([0.0, large], requires_grad=True), Tensor([0.0, large], requires_grad=True)
    patched, right = patched_loss(x), right_loss(z)
    patched.backward()
    right.backward()
    slopes[large] = x.grad[0], z.grad[0]
    print(f"[0, {large:3.0f}]  {patched.item():9.4f}  {x.grad[0]:12.3g}    "
          f"{right.item():9.4f}  {z.grad[0]:12.3g}")
says("27.6", patched.item())
says("800", right.item())
says("-0.09", slopes[30.0][0])
says("30", sorted(slopes)[2])
says("0", slopes[800.0][0])
says("-1", slopes[800.0][1])

keras_loss = minillm.keras.losses.CategoricalCrossentropy()
of_keras = keras_loss(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).item()
print(f"Keras, given the probability 0: {of_keras:.1f}")
says("16.1", of_keras)

# %% [markdown] lang="en"
# `inf`: softmax has rounded $e^{-800}$ to 0 before the logarithm could see it, though the right loss is 800,
# a perfectly ordinary number.
#
# The usual patch is $\log(p + 10^{-12})$. No `inf` any more, and that is how it hides what it does. The loss
# stops at 27.6, and look at its gradient: already at a difference of 30 it is -0.09 where -1 is right, and
# then 0. **Where the model is most wrong, it learns nothing.** (Keras does likewise when it is given
# probabilities: they are kept above $10^{-7}$, and the loss ends at 16.1. Give it logits,
# `from_logits=True`.)
#
# The cure is algebra, before any number is computed:
#
# $$\log p_j = \log\frac{e^{x_j}}{\sum_k e^{x_k}} = x_j - \mathrm{lse}(x), \qquad
# \mathrm{lse}(x) = m + \log\sum_{k} e^{x_k - m}$$
#
# No probability is formed, so none can be rounded to 0.
#
# ## Exercise: cross-entropy from logits
# %% [markdown] lang="zh"
# 结果是 `inf`：还没轮到对数，softmax 就已把 $e^{-800}$ 舍成了 0。而正确的损失是 800，一个再普通不过的数。
#
# 常见的补丁是 $\log(p + 10^{-12})$。`inf` 没有了，问题也就此藏了起来。损失到 27.6 就封顶，再看梯度：差值才到
# 30，该是 -1 的梯度就成了 -0.09，随后更是 0。**模型错得最厉害的地方，恰恰什么也学不到。**（给 Keras 的若是概
# 率，它也是这么做的：概率不得低于 $10^{-7}$，损失到 16.1 为止。所以应当给它 logits，并写上
# `from_logits=True`。）
#
# 真正的办法是在算数之前，先做一步代数：
#
# $$\log p_j = \log\frac{e^{x_j}}{\sum_k e^{x_k}} = x_j - \mathrm{lse}(x), \qquad
# \mathrm{lse}(x) = m + \log\sum_{k} e^{x_k - m}$$
#
# 概率根本没有算出来，自然也就无从舍成 0。
#
# ## 练习：由 logits 计算交叉熵
# %% exercise="softmax_cross_entropy"
def softmax_cross_entropy(logits, labels):
    """Cross-entropy straight from logits, for labels.

    L = (1/N) sum_i (lse(x_i) - x_{i, y_i}),   lse(x) = m + log sum_k exp(x_k - m),   m = max_k x_k

    logits: (N, V), finite, of any size.
    labels: (N,), integers: the word that came.
    Returns a number, in nats.
    """
    # BEGIN SOLUTION
    N = len(labels)
    m = np.max(logits, axis=1, keepdims=True)  # (N, 1)
    z = logits - m  # (N, V)
    lse = np.log(np.sum(np.exp(z), axis=1))  # (N,), of z: m cancels
    return np.mean(lse - z[np.arange(N), labels])
    # END SOLUTION


# %%
rng = np.random.default_rng(0)
logits = rng.normal(size=(N, V))
ours = softmax_cross_entropy(logits, labels)
fused = minillm.softmax_cross_entropy(Tensor(logits), labels)
print("ours    ", ours)
print("formulas", formulas.softmax_cross_entropy(logits, labels))
print("fused op", fused.item())
assert np.isclose(ours, fused.item(), rtol=1e-12)
assert np.isclose(ours, cross_entropy(one_hot, softmax(logits)))
far_off = np.array([[0.0, 800.0]])
print("logits [0, 800]:", softmax_cross_entropy(far_off, np.array([0])))
says("800", softmax_cross_entropy(far_off, np.array([0])))
print("lse of [1000, 1001, 1002]:", formulas.logsumexp(np.array([1000.0, 1001.0, 1002.0])),
      "  of [0, 800]:", formulas.logsumexp(far_off[0]))
says("1002.41", formulas.logsumexp(np.array([1000.0, 1001.0, 1002.0])))
says("800", formulas.logsumexp(far_off[0]))

# %% [markdown] lang="en"
# Four ways, one number: the article's formula on softmax's probabilities, yours,
# `formulas.softmax_cross_entropy`, and the fused op that training uses.
#
# `formulas.logsumexp` is lse by itself, and you can read it as a *soft maximum*: of
# `[1000, 1001, 1002]` it is 1002.41, a little above the largest; of `[0, 800]` it is 800, the largest itself.
# So the loss of a sample is about the distance by which the right logit stays behind the best one.
#
# ## 7. The gradient: what the model said, minus what came
#
# For one sample with label $y$, $L = \mathrm{lse}(x) - x_y$. Differentiate:
#
# $$\frac{\partial\,\mathrm{lse}(x)}{\partial x_j} = \frac{e^{x_j}}{\sum_k e^{x_k}} = p_j, \qquad
# \frac{\partial x_y}{\partial x_j} = y_j$$
#
# where $y_j$ is 1 at the label and 0 elsewhere. So
#
# $$\frac{\partial L}{\partial x_j} = p_j - y_j$$
#
# and $(p_{ij} - y_{ij})/N$ for the mean over $N$ samples. All the logarithms and exponentials are gone. Step
# through it for the logits `[2, 1, 0]` with the first word as the label: $p = (0.665, 0.245, 0.090)$, so the
# gradient must come to $(-0.335, 0.245, 0.090)$. Watch two things: what $m$ receives on the way back (why
# must it be 0?), and that the gradient's elements sum to 0.
# %% [markdown] lang="zh"
# 四种算法，同一个数：把文章的式子用在 softmax 的概率上、你写的、`formulas.softmax_cross_entropy`，以及训练时
# 用的融合运算。
#
# `formulas.logsumexp` 就是 lse 本身，可以把它看成*软的最大值*：对 `[1000, 1001, 1002]` 是 1002.41，比最大的
# 略大；对 `[0, 800]` 就是 800，即最大的那个。可见一个样本的损失，大致就是正确的 logit 比最高分落后多少。
#
# ## 7. 梯度：模型预测的，减去真正出现的
#
# 只看一个样本，标签为 $y$，则 $L = \mathrm{lse}(x) - x_y$。求导：
#
# $$\frac{\partial\,\mathrm{lse}(x)}{\partial x_j} = \frac{e^{x_j}}{\sum_k e^{x_k}} = p_j, \qquad
# \frac{\partial x_y}{\partial x_j} = y_j$$
#
# （$y_j$ 在标签处为 1，在别处为 0。）所以
#
# $$\frac{\partial L}{\partial x_j} = p_j - y_j$$
#
# 对 $N$ 个样本取平均时，则是 $(p_{ij} - y_{ij})/N$。对数和指数统统不见了。请用逐步演示走一遍：logits 为
# `[2, 1, 0]`，标签是第一个词，$p = (0.665, 0.245, 0.090)$，梯度就应当是 $(-0.335, 0.245, 0.090)$。留意两件
# 事：反向时 $m$ 收到的是什么（为什么必须是 0？），以及梯度的各个元素之和为 0。
# %%
def loss_of_first(x):
    m = np.max(x)
    z = x - m
    e = np.exp(z)
    lse = np.log(np.sum(e))
    return lse - z[0]


recording = trace(loss_of_first, np.array([2.0, 1.0, 0.0]))
step(recording, en="The cross-entropy of one sample, and its gradient p - y",
     zh="一个样本的交叉熵，以及它的梯度 p - y")
print("gradient:", recording.gradient("x").round(3), "  sum:", abs(recording.gradient("x").sum().round(12)))
says("-0.335", recording.gradient("x")[0])
says("0.245", recording.gradient("x")[1])
says("0.090", recording.gradient("x")[2])

# %% [markdown] lang="en"
# $m$ receives 0, up to rounding: the loss does not depend on it, since only differences count. This is why
# subtracting the maximum does not disturb the gradient, and why many programs do not differentiate it at all.
#
# ## Exercise: the gradient
# %% [markdown] lang="zh"
# 除了一点舍入误差，$m$ 收到的是 0：起作用的只有差，损失与 $m$ 无关。所以减去最大值不会影响梯度，许多程序干脆
# 就不对它求导。
#
# ## 练习：梯度
# %% exercise="softmax_cross_entropy_grad"
def softmax_cross_entropy_grad(logits, labels):
    """dL/dlogits of the mean cross-entropy.

    dL/dx_ij = (p_ij - y_ij) / N,   p = softmax(x),   y: one-hot rows of the labels

    logits: (N, V), finite, of any size. labels: (N,), integers.
    Returns (N, V). Neither argument is changed.
    """
    # BEGIN SOLUTION
    N = len(labels)
    e = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    grad = e / np.sum(e, axis=1, keepdims=True)  # p
    grad[np.arange(N), labels] -= 1  # p - y
    return grad / N
    # END SOLUTION


# %%
x = Tensor(logits, requires_grad=True)
minillm.softmax_cross_entropy(x, labels).backward()
print("largest difference from the tape:", np.abs(x.grad - softmax_cross_entropy_grad(logits, labels)).max())
assert np.allclose(x.grad, softmax_cross_entropy_grad(logits, labels), rtol=1e-9, atol=1e-12)
minillm.check_gradients(lambda x: formulas.softmax_cross_entropy(x, labels), [logits])

# Beside the squared error of the probabilities: two words, and the logit of the one that came moves from
# far behind to far ahead.
ahead = np.linspace(-10, 10, 201)
two = np.stack([ahead, np.zeros_like(ahead)], axis=1)  # (201, 2)
x = Tensor(two, requires_grad=True)
formulas.log_softmax(x)[:, 0].sum().backward()
slope_ce = np.abs(x.grad[:, 0])
z = Tensor(two, requires_grad=True)
((formulas.softmax(z) - np.array([1.0, 0.0])) ** 2).sum().backward()
slope_squared = np.abs(z.grad[:, 0])
says("1.000", slope_ce[0])
says("0.0002", slope_squared[0])

fig, ax = plt.subplots(figsize=(5.4, 3.3))
ax.plot(ahead, slope_ce, color="#0072b2", label="cross-entropy")
ax.plot(ahead, slope_squared, "--", color="#d55e00", label="squared error of p")
ax.set(xlabel="logit of the right word minus the other's", ylabel="size of the gradient")
ax.text(-9.8, 0.5, "sure and\nwrong", va="center")
ax.text(9.8, 0.5, "sure and\nright", va="center", ha="right")
ax.legend(frameon=False)
ax.grid(alpha=0.3)
picture(fig, name="gradients",
        alt_en="Size of the gradient against how far the right word's logit is ahead. Cross-entropy: 1 where "
               "the model is sure and wrong, falling to 0 where it is sure and right. Squared error: a hump "
               "in the middle, almost 0 at both ends.",
        alt_zh="梯度的大小随正确词的 logit 领先多少而变化。交叉熵：模型自信而错误时为 1，自信而正确时降到 0。"
               "平方误差：中间隆起，两端几乎都是 0。")

# %% [markdown] lang="en"
# The picture answers an old question: why not simply the squared error $\sum_j (p_j - y_j)^2$? Where the
# model is sure and wrong (left end), the cross-entropy pulls with 1.000, the squared error with 0.0002. It
# has the same disease as the patched logarithm: no gradient where it is needed most. And on the other side
# cross-entropy never pulls harder than 1 on a logit, however large the loss: the loss may be 800, the
# gradient is between -1 and 1.
#
# ## 8. What does a model learn that follows this gradient?
#
# Give a model 7 logits, the same at each place, and let it walk downhill (lesson 3 is about that). The
# gradient of a logit is $p_j$ minus the share of places where $j$ came. It is 0 exactly when $p$ is the
# frequency: **to maximise the likelihood is to count**, for a model that can do nothing else.
# %% [markdown] lang="zh"
# 这张图回答了一个老问题：为什么不干脆用平方误差 $\sum_j (p_j - y_j)^2$？在模型自信而错误的地方（左端），交叉
# 熵的拉力是 1.000，平方误差只有 0.0002。它和打了补丁的对数得的是同一种病：最需要梯度的地方没有梯度。另一方
# 面，交叉熵对一个 logit 的拉力从不超过 1：损失可以是 800，梯度总在 -1 与 1 之间。
#
# ## 8. 顺着这个梯度，模型学到了什么？
#
# 给模型 7 个 logits，每个位置都用这一组，让它往下坡走（第 3 课专门讲）。每个 logit 的梯度，等于 $p_j$ 减去
# $j$ 出现的比例。当且仅当 $p$ 等于频率时，梯度为 0：对一个只会这一招的模型来说，**最大化似然就是数数**。
# %%
theta = Tensor(np.zeros(V), requires_grad=True)
everywhere = np.zeros((N, 1))
for t in range(301):
    loss = minillm.softmax_cross_entropy(everywhere + theta, labels)  # (N, V): the same logits at each place
    if t % 100 == 0:
        print(f"step {t:3d}  L = {loss.item():.6f}")
    theta.grad = None
    loss.backward()
    theta.data -= 1.0 * theta.grad
learned = formulas.softmax(theta.data)
print("learned:", learned.round(4))
print("counted:", frequency.round(4))
says("1.798", loss.item())
assert np.allclose(learned, frequency, atol=1e-3)

# The same three models on a text that they have not seen.
new_text = "to bet or not"
new_labels = np.array([letters.index(c) for c in new_text])
new_pairs = pairs[new_labels[:-1], new_labels[1:]]
with np.errstate(divide="ignore"):
    pairs_loss = -np.mean(np.log(new_pairs))
assert math.isinf(pairs_loss)
print("pairs on a new text:  L =", pairs_loss)
print("letters on a new text: L =", round(float(-np.mean(np.log(frequency[new_labels]))), 3))

# %% [markdown] lang="en"
# It ends where counting had brought us: the same probabilities, and $L = 1.798$.
#
# The last lines are a warning. Our best model, the pairs, has an infinite loss on `to bet or not`: it never
# saw a `t` after an `e` and gave it probability 0, and *one* impossible character costs more than all others
# can make good. Logits are finite, so their log-softmax is too: this is one reason to end a model in logits.
#
# ## What you know now
#
# - The likelihood of a text is a product of probabilities; its negative logarithm per token is the
#   cross-entropy of the article's section 4.1. In other units: bits per character, perplexity.
# - Labels do what one-hot rows do, in less than a thousandth of the memory. Mixing up the two may go
#   unnoticed.
# - Softmax only sees differences: subtract the maximum. Compute $\log p$ as $x - \mathrm{lse}(x)$, never as
#   the logarithm of a softmax, and without a patch in it.
# - The gradient is $(p - y)/N$: bounded, and largest where the model is sure and wrong.
#
# Lesson 3 lets this gradient do its work, and shows what the learning rate has to do with it.
# %% [markdown] lang="zh"
# 结果与数数殊途同归：概率一样，$L = 1.798$ 也一样。
#
# 最后两行是个警告。三个模型里最好的字对模型，读 `to bet or not` 时损失竟是无穷大：它没见过 `e` 后面跟 `t`，给
# 的概率是 0，只要有*一个*字符被判为“不可能”，其余字符预测得再好也补不回来。logits 是有限的，它们的
# log-softmax 也就是有限的，这正是让模型最后输出 logits 的一个理由。
#
# ## 小结
#
# - 文本的似然是一串概率的乘积；取负对数，再平均到每个词元，就是文章 4.1 节的交叉熵。换个单位，就是每字符比特
#   数、困惑度。
# - one-hot 能做的，类别标签都能做，而内存不到它的千分之一。把两者弄混，可能毫无征兆。
# - softmax 只看差，所以先减最大值。$\log p$ 要用 $x - \mathrm{lse}(x)$ 来算，绝不要对 softmax 的结果取对数，
#   也不要打补丁。
# - 梯度是 $(p - y)/N$：大小有界，而且在模型自信而错误的地方最大。
#
# 第 3 课就让这个梯度去干活，看看学习率在其中起什么作用。
