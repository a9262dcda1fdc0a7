# ---
# title: Attention and the transformer
# title_zh: 注意力与 Transformer
# minutes: 40
# needs: [06_embedding_lstm_dense]
# ---
# %% [markdown] lang="en"
# Read a row of digits, then say it backwards: `3 1 4 1 5 9 | 9 5 1 4 1 3`. You do it by looking back at the
# right place. The LSTM of the article's listing (section 5.1) cannot look back: all that it has read must fit
# into one hidden state, and each new digit pushes on the old ones.
#
# **The question of this lesson: how can a network look up one earlier word, in a text of any length, and
# learn by gradient descent where to look?** The answer is called attention. The large language models that
# the article is about (section 1.1) are little else, stacked. At the end of the lesson you have such a model
# in two short functions; it learns to say digits backwards in a few seconds, and a picture shows where it
# looks.
# %% [markdown] lang="zh"
# 读一串数字，再倒着背出来：`3 1 4 1 5 9 | 9 5 1 4 1 3`。人会怎么做？回头看该看的那一位就行。文章 5.1 节代码里
# 的 LSTM 却不能回头：读过的一切都得装进一个隐藏状态，每来一个新数字，旧数字就被挤一挤。
#
# **本课的问题：文本不论多长，网络怎样才能回头查到前面的某一个词，而且“该往哪儿看”还能用梯度下降学出来？** 答
# 案就是注意力。文章 1.1 节所说的大语言模型，差不多就是把注意力一层层叠起来。学完本课，你会亲手用两个短短的函
# 数写出这样一个模型，几秒钟就教会它倒背数字；还有一张图，画出它究竟在看哪里。
# %%
import matplotlib.pyplot as plt
import numpy as np

from minillm import formulas, no_grad, softmax_cross_entropy
from minillm.course import picture, says, step
from minillm.generate import generate
from minillm.models import GPT, GPTConfig
from minillm.optim import Adam
from minillm.stepper import trace

np.set_printoptions(precision=3, suppress=True)

# %% [markdown] lang="en"
# ## One query asks four keys
#
# A dictionary compares what you ask for, the **query**, with its **keys**, and hands you the **value** of the
# key that is equal. Attention is a soft dictionary: it compares the query with every key, and hands you the
# mean of *all* values, weighted by how well their keys fit. Nothing in it jumps, so it has a gradient.
#
# Take "Anna gave Ben back *her* book". The word *her* asks: who, before me, is a woman and a person? Four
# words came before. Let the numbers of a key mean (woman +1 or man -1, an action, a person, other). In three
# steps, with $d = 4$ numbers to a key:
#
# $$a_s = \frac{q \cdot k_s}{\sqrt d},\qquad p_s = \frac{e^{a_s}}{\sum_r e^{a_r}},\qquad o = \sum_s p_s v_s.$$
#
# Compute the four scores $a_s$ by hand before you read on; $\sqrt d$ is 2. Which word wins, and does Ben get
# anything at all?
# %% [markdown] lang="zh"
# ## 一个查询，四个键
#
# 查字典时，拿要查的词（**查询**，query）去和各个**键**（key）比，键相等，就取出它的**值**（value）。注意力是
# 一本“软”字典：查询和每个键都比一比，取出的是*所有*值的加权平均，键越合适，权重越大。整个过程没有跳变，所以能
# 求梯度。
#
# 看这句话：“Anna gave Ben back *her* book”（安娜把*她的*书还给了本）。读到 *her* 时要问：前面谁是女性、又是
# 人？前面有四个词。设键的四个数依次表示（女 +1、男 -1；动作；人；其他）。键有 $d = 4$ 个数，计算分三步：
#
# $$a_s = \frac{q \cdot k_s}{\sqrt d},\qquad p_s = \frac{e^{a_s}}{\sum_r e^{a_r}},\qquad o = \sum_s p_s v_s.$$
#
# 往下看之前，先动笔算出四个得分 $a_s$（$\sqrt d$ 就是 2）。哪个词得分最高？Ben 的权重会是零吗？
# %%
words = ["Anna", "gave", "Ben", "back"]
q = np.array([2.0, 0, 2, 0])  # her: a woman? a person?
K = np.array([[1.0, 0, 1, 0],  # Anna
              [0, 1, -1, 0],  # gave
              [-1, 0, 1, 0],  # Ben
              [0, 0, 0, 1]])  # back
V = np.array([[10.0, 0], [0, 4], [0, 10], [2, 2]])  # what each word has to tell

scores = K @ q / np.sqrt(4)
weights = np.exp(scores) / np.exp(scores).sum()
for word, a, p in zip(words, scores, weights, strict=True):
    print(f"{word:5} score {a:5.2f}   e^score {np.exp(a):6.3f}   weight {p:.3f}")
print("output:", weights @ V)
says("0.757", weights[0])
says("0.102", weights[2])
says("7.78", (weights @ V)[0])

# %% [markdown] lang="en"
# Anna has score 2 and weight 0.757. Ben has score 0, and $e^0 = 1$ is not nothing: his weight is 0.102.
# Softmax gives every key something; to give a key *nothing*, its score must be $-\infty$. Keep that in mind
# for the mask. The first number of the output is 7.78: mostly Anna's 10.
#
# Your turn. Large scores must not overflow: subtract the largest one first (or use `formulas.softmax`).
# %% [markdown] lang="zh"
# Anna 得 2 分，权重 0.757。Ben 得 0 分，可 $e^0 = 1$ 并不是零：他的权重有 0.102。softmax 给每个键都留一点；要
# 想让某个键*一点都没有*，得分必须是 $-\infty$。这一点，讲到掩码时要用。输出的第一个数是 7.78，主要来自 Anna
# 的 10。
#
# 轮到你了。得分很大时不能上溢：先减去最大的得分（或者直接用 `formulas.softmax`）。
# %% exercise="attend_one"
def attend_one(q, K, V):
    """One query's attention.

    a_s = q . k_s / sqrt(d),   p = softmax(a),   o = sum_s p_s v_s

    q: (d,), the query. K: (S, d), a key a row. V: (S, e), a value a row. Returns o: (e,).
    """
    # BEGIN SOLUTION
    a = K @ q / np.sqrt(q.size)  # (S,)
    e = np.exp(a - a.max())
    return e / e.sum() @ V  # (e,)
    # END SOLUTION


# %%
print(attend_one(q, K, V))
print("scores of 2000:", attend_one(1000 * q, K, V))

# %% [markdown] lang="en"
# ## Why divide by the root of d?
#
# Suppose that a query and a key are $d$ numbers drawn at random, of mean 0 and variance 1. Each product
# $q_i k_i$ then has variance 1 too, and $q \cdot k$ is a sum of $d$ of them. **Predict:** what is the variance of
# $q \cdot k$ for $d = 256$? And what will softmax make of scores of that size?
# %% [markdown] lang="zh"
# ## 为什么要除以 d 的平方根？
#
# 设查询和键各是 $d$ 个随机数，均值为 0，方差为 1。那么每个乘积 $q_i k_i$ 的方差也是 1，而 $q \cdot k$ 是 $d$
# 个这样的乘积之和。**先猜一猜**：$d = 256$ 时，$q \cdot k$ 的方差是多少？得分这么大，softmax 又会给出什么？
# %%
rng = np.random.default_rng(0)
sizes = [4, 16, 64, 256, 1024]
variances, plain, scaled = [], [], []  # plain, scaled: the largest of 64 weights, mean over 500 queries
for d in sizes:
    queries, keys = rng.standard_normal((500, d)), rng.standard_normal((64, d))
    dots = queries @ keys.T  # (500, 64)
    variances.append(dots.var())
    plain.append(formulas.softmax(dots).max(axis=1).mean())
    scaled.append(formulas.softmax(dots / np.sqrt(d)).max(axis=1).mean())
    print(f"d {d:5}   variance {variances[-1]:7.1f}   largest weight: unscaled {plain[-1]:.3f}   "
          f"scaled {scaled[-1]:.3f}")
says("259", variances[3])
says("89%", plain[3])
says("11%", scaled[3])

fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3))
left.loglog(sizes, variances, "o-", color="#0072B2", base=2)
left.set_xlabel("d, size of query and key")
left.set_ylabel("variance of q . k")
right.semilogx(sizes, plain, "s-", color="#D55E00", base=2, label="q . k")
right.semilogx(sizes, scaled, "o--", color="#0072B2", base=2, label="q . k / sqrt(d)")
right.set_xlabel("d, size of query and key")
right.set_ylabel("largest of 64 weights (mean)")
right.set_ylim(0, 1)
right.legend()
fig.tight_layout()
picture(fig, name="root_of_d",
        alt_en="Left: the variance of a dot product grows in proportion to d, a straight line on log "
               "scales. Right: the largest of 64 attention weights. Unscaled it climbs towards 1 as d "
               "grows; divided by the root of d it stays near 0.1 for every d.",
        alt_zh="左图：点积的方差与 d 成正比，在对数坐标下是一条直线。右图：64 个注意力权重中最大的一个。不"
               "缩放时，它随 d 增大而趋近 1；除以 d 的平方根之后，不论 d 多大都在 0.1 附近。")

# %% [markdown] lang="en"
# The variance is $d$, within chance: 259 for $d = 256$, so a typical score is $\sqrt{256} = 16$ in size.
# Softmax of such scores has made up its mind before training begins: one key of 64, chosen by chance, has 89%
# of the weight. The derivative of softmax is $p_s(1 - p_s)$, which is near 0 where $p_s$ is near 0 or 1: such
# a query learns hardly at all. Divided by $\sqrt d$ the scores have variance 1 for every $d$, and the largest
# weight is a modest 11%: everything is still open.
#
# The dot product is not the only score. Older models had a small network, $v \cdot \tanh(q + k)$ (Bahdanau et
# al., 2015), or a matrix between the two, $q\,W k$ (Luong et al., 2015). $\tanh$ keeps the first in bounds, so
# it needs no root, but it costs a network's work for each pair. With $W = I/\sqrt d$ the second is ours; and a
# dot product of all queries with all keys is a single matrix product, which is why it has won.
# %% [markdown] lang="zh"
# 方差就是 $d$，只有一点随机误差：$d = 256$ 时是 259，得分的典型大小是 $\sqrt{256} = 16$。对这样的得分做
# softmax，训练还没开始，主意就已经拿定了：64 个键里碰巧选中一个，占去 89% 的权重。softmax 的导数是
# $p_s(1 - p_s)$，$p_s$ 接近 0 或 1 时几乎为零，这样的查询很难学到东西。除以 $\sqrt d$ 之后，不论 $d$ 多大，得
# 分的方差都是 1，最大的权重只有 11%：一切都还有商量的余地。
#
# 得分也不是只有点积一种算法。更早的模型用一个小网络，$v \cdot \tanh(q + k)$（Bahdanau et al., 2015），或者在
# 两者之间放一个矩阵，$q\,W k$（Luong et al., 2015）。前者有 $\tanh$ 管着，不会太大，用不着开方，可是每一对都要
# 走一遍网络；后者取 $W = I/\sqrt d$ 就是我们的得分。所有查询与所有键的点积只是一次矩阵乘法，它胜出的原因就在
# 这里。
# %%
says("64", len(keys))
p = formulas.softmax(dots[:, :64])
slope_plain = (p * (1 - p)).sum(axis=1).mean()
p = formulas.softmax(dots / np.sqrt(1024))
slope_scaled = (p * (1 - p)).sum(axis=1).mean()
print(f"sum of p (1 - p) at d = 1024: unscaled {slope_plain:.3f}, scaled {slope_scaled:.3f}")

print("her, additive score:", formulas.additive_scores(q[None], K, v=np.ones(4))[0])
print("her, with a matrix: ", formulas.general_scores(q[None], K, W=np.eye(4) / np.sqrt(4))[0])
print("her, dot product:   ", formulas.dot_scores(q[None], K)[0])

# %% [markdown] lang="en"
# ## All queries at once, and no look at the future
#
# In a language model every position asks: its vector $x_t$ is multiplied by three matrices, $q_t = x_t W_q$,
# $k_t = x_t W_k$, $v_t = x_t W_v$. With the queries as the rows of $Q$, the keys as those of $K$ and the
# values as those of $V$, all the scores are one product, and so is the output:
#
# $$P = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt d} + M\right),\qquad O = P V,\qquad
# M_{ts} = \begin{cases} 0 & s \le t \\ -\infty & s > t. \end{cases}$$
#
# $M$ is the **causal mask**. Position $t$ is to predict the token at $t + 1$, so it must not see it. Two ways
# to write the mask that do not work are seen again and again. Before the cell runs: what is wrong with each?
# %% [markdown] lang="zh"
# ## 所有查询一起算，但不许看未来
#
# 在语言模型里，每个位置都要发问：把它的向量 $x_t$ 分别乘以三个矩阵，得到 $q_t = x_t W_q$、$k_t = x_t W_k$、
# $v_t = x_t W_v$。把各个查询排成 $Q$ 的行，键排成 $K$ 的行，值排成 $V$ 的行，全部得分只要一次矩阵乘法，输出也
# 是：
#
# $$P = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt d} + M\right),\qquad O = P V,\qquad
# M_{ts} = \begin{cases} 0 & s \le t \\ -\infty & s > t. \end{cases}$$
#
# $M$ 就是**因果掩码**。位置 $t$ 要预测 $t + 1$ 处的词元，当然不能先看到它。掩码有两种常见的写法，都是错的。运
# 行之前先想想：各错在哪里？
# %%
rng = np.random.default_rng(1)
T, d = 4, 2
Q3, K3, V3 = (rng.standard_normal((T, d)) for _ in range(3))
a = Q3 @ K3.T / np.sqrt(d)
visible = np.tril(np.ones((T, T), bool))  # row t, column s: s <= t

times_zero = formulas.softmax(np.where(visible, a, 0.0))  # the score becomes 0, and e^0 = 1
after_softmax = np.where(visible, formulas.softmax(a), 0.0)  # the future's share has gone, to nobody
right = formulas.softmax(np.where(visible, a, -np.inf))
for name, P in (("score set to 0", times_zero), ("cut after softmax", after_softmax), ("score set to "
                                                                                       "-inf", right)):
    print(f"{name}: rows sum to {P.sum(axis=1)}, weight on the future {np.where(visible, 0, P).sum():.3f}")
    print(P)
says("1.519", np.where(visible, 0, times_zero).sum())
says("0.276", after_softmax[0].sum())

# %% [markdown] lang="en"
# A score of 0 is not "nothing" (you saw that with Ben): the four queries together put 1.519 of their weight
# on the future. Cutting after softmax hides the future, but the sum in the denominator has already seen it:
# the first row sums to 0.276, and how much is missing tells something about the later tokens. Only $-\infty$
# *before* softmax does what $M$ says.
# %% [markdown] lang="zh"
# 得分为 0 并不等于“没有”（Ben 的例子里见过）：四个查询合起来，有 1.519 的权重落在未来。先做 softmax 再清零，
# 未来是看不见了，可分母的求和早已把它算了进去：第一行的和只剩 0.276，少了多少，恰恰透露了后面词元的消息。只有
# 在 softmax *之前*把得分设为 $-\infty$，才是 $M$ 的意思。
# %% exercise="causal_attention"
def causal_attention(Q, K, V):
    """Attention of T positions to themselves and those before them.

    P = softmax(Q K^T / sqrt(d) + M), row by row;   O = P V

    Q: (T, d). K: (T, d). V: (T, e). Returns O: (T, e). `np.tril(np.ones((T, T), bool))` is True where s <= t.
    """
    # BEGIN SOLUTION
    T, d = Q.shape
    a = Q @ K.T / np.sqrt(d)  # (T, T)
    a = np.where(np.tril(np.ones((T, T), bool)), a, -np.inf)
    e = np.exp(a - np.max(a, axis=1, keepdims=True))
    P = e / np.sum(e, axis=1, keepdims=True)
    return P @ V  # (T, e)
    # END SOLUTION


# %% [markdown] lang="en"
# Step through it with three positions of two numbers: forward to the weights and the output, then backward.
# Stop at the weights: the first row can only be $(1, 0, 0)$. On the way back, watch the gradient of the
# scores: where the mask stands it is exactly 0, so no training can ever make a query use the future.
# %% [markdown] lang="zh"
# 用三个位置、每个两个数，一步步走一遍：先向前算到权重和输出，再反向。走到权重时停一下：第一行只能是
# $(1, 0, 0)$。反向时留意得分的梯度：被掩住的地方恰好是 0，所以怎么训练，查询都用不上未来。
# %%
step(trace(causal_attention, np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([[1.0, 0], [0, 1], [2, 0]]),
           np.array([[1.0, 2], [3, 4], [5, 6]])),
     en="Causal attention of three positions, forward and backward",
     zh="三个位置的因果注意力：前向与反向")

theirs = formulas.attention(Q3[None, None], K3[None, None], V3[None, None])[0, 0]  # (B, H, T, d), B = H = 1
print("largest difference from minillm.formulas.attention:", abs(causal_attention(Q3, K3, V3) - theirs).max())

# %% [markdown] lang="en"
# ## Several heads
#
# One softmax looks at one thing at a time. A word may want several: its verb, the noun that it describes, the
# start of the quotation. So the $C$ numbers of a position are cut into $H$ **heads** of $d = C / H$ numbers;
# each head attends for itself, with its own weights, and the outputs are put side by side again. The number
# of parameters and the work stay what they were.
#
# In code this is one reshape and one transpose, and it is easy to do one of the two only. Take 3 positions of
# 4 numbers and 2 heads; number $10 t + c$ stands at position $t$, place $c$.
# %% [markdown] lang="zh"
# ## 多个头
#
# 一次 softmax 只能盯住一处。可一个词也许要看好几处：它的动词、它修饰的名词、引号从哪里开始。于是把一个位置的
# $C$ 个数切成 $H$ 个**头**（head），每头 $d = C / H$ 个数；各头用自己的权重各看各的，再把输出并排拼回来。参数
# 量和计算量都不变。
#
# 写成代码，就是一次 reshape 加一次转置，而人们常常只写了一半。取 3 个位置、每个 4 个数、2 个头；位置 $t$ 的第
# $c$ 个数记作 $10 t + c$。
# %%
x3 = 10 * np.arange(3)[:, None] + np.arange(4)  # (T, C) = (3, 4)
print("x:\n", x3)
print("x.reshape(2, 3, 2), head 0:\n", x3.reshape(2, 3, 2)[0])

# %% [markdown] lang="en"
# The shape (2, 3, 2) is what was wanted, no error is raised, and head 0 holds positions 0 and 1 mixed up: its
# second "position" is the second half of position 0. A model with this mistake still trains, badly; and it
# leaks the future through the mask. Head 0 should be `[[0, 1], [10, 11], [20, 21]]`.
# %% [markdown] lang="zh"
# 形状 (2, 3, 2) 没错，也不报错，可头 0 里的位置 0 和 1 混在了一起：它的第二个“位置”其实是位置 0 的后半截。带
# 着这个错，模型照样能训练，只是学不好；而且未来会绕过掩码漏进来。头 0 应该是 `[[0, 1], [10, 11], [20, 21]]`。
# %% exercise="split_heads"
def split_heads(x, n_head):
    """Cut each position's numbers into heads.

    result[h, t, i] = x[t, h d + i],   d = C / n_head

    x: (T, C). Returns (n_head, T, d).
    """
    # BEGIN SOLUTION
    T, C = x.shape
    return x.reshape(T, n_head, C // n_head).transpose(1, 0, 2)  # (H, T, d)
    # END SOLUTION


# %%
print(split_heads(x3, 2))

# %% [markdown] lang="en"
# ## Attention does not know what order is
#
# Look at the formula of $o$ once more: it is a sum over $s$, and a sum does not care for the order of its
# terms. "Dog bites man" and "man bites dog" have the same keys and values. **Predict** what the last query gets
# when the words before it are shuffled.
# %% [markdown] lang="zh"
# ## 注意力不知道什么是先后
#
# 再看一眼 $o$ 的公式：它是对 $s$ 求和，而求和不在乎各项的先后。“狗咬人”和“人咬狗”的键和值完全一样。**先猜一
# 猜**：把前面的词打乱，最后一个查询得到的结果会怎样变？
# %%
order = np.array([2, 0, 3, 1])
print("in order: ", attend_one(q, K, V))
print("shuffled: ", attend_one(q, K[order], V[order]))

# %% [markdown] lang="en"
# Nothing changes. So the position must be put into the numbers. Two ways are common:
#
# 1. **Learned positions** (GPT-2): a second embedding table, one row for each position, added to the
#    token's vector: $x_t = E_{w_t} + P_t$. Simple, but there is no row for a position beyond the table.
# 2. **Rotary positions** (Llama): add nothing; *turn* each query and key by its position instead. Take
#    numbers $i$ and $i + d/2$ as a point of the plane and turn it by the angle $\theta_i = t\, b^{-2i/d}$:
#
# $$y_i = x_i \cos\theta_i - x_{i+d/2} \sin\theta_i,\qquad
# y_{i+d/2} = x_i \sin\theta_i + x_{i+d/2} \cos\theta_i.$$
#
# If both hands of a clock are turned by the same angle, the angle between them stays. So the product of a
# query turned by $t$ and a key turned by $s$ depends on the distance $t - s$ only. Write the turn, then check
# that.
# %% [markdown] lang="zh"
# 什么都没变。所以位置必须另外写进数字里。常见的办法有两种：
#
# 1. **学出来的位置**（GPT-2）：再设一张嵌入表，每个位置一行，加到词元的向量上：$x_t = E_{w_t} + P_t$。办法
#    简单，但位置一旦超出表的长度，就没有对应的行了。
# 2. **旋转位置编码**（Llama）：什么都不加，而是按位置把查询和键*转*一个角度。把第 $i$ 个数和第 $i + d/2$
#    个数看成平面上的一个点，转过角度 $\theta_i = t\, b^{-2i/d}$：
#
# $$y_i = x_i \cos\theta_i - x_{i+d/2} \sin\theta_i,\qquad
# y_{i+d/2} = x_i \sin\theta_i + x_{i+d/2} \cos\theta_i.$$
#
# 时钟的两根指针转过同样的角度，夹角不变。所以，转了 $t$ 份的查询与转了 $s$ 份的键，点积只取决于距离 $t - s$。
# 先写出这个旋转，再验证这一点。
# %% exercise="rotate"
def rotate(x, t, base=10000.0):
    """Turn the pairs (x_i, x_(i + d/2)) of a query or key by its position.

    theta_i = t base^(-2i/d),  i = 0 ... d/2 - 1
    y_i = x_i cos theta_i - x_(i + d/2) sin theta_i,   y_(i + d/2) = x_i sin theta_i + x_(i + d/2) cos theta_i

    x: (d,), d even. t: position, a number. Returns y: (d,).
    """
    # BEGIN SOLUTION
    half = x.size // 2
    theta = t * base ** (-2 * np.arange(half) / x.size)  # (d/2,)
    a, b = x[:half], x[half:]
    return np.concatenate([a * np.cos(theta) - b * np.sin(theta), a * np.sin(theta) + b * np.cos(theta)])
    # END SOLUTION


# %%
rng = np.random.default_rng(2)
qr, kr = rng.standard_normal((2, 8))
for t, s in ((9, 7), (5, 3), (5, 1)):
    print(f"query at {t}, key at {s}: product {rotate(qr, t) @ rotate(kr, s):7.4f}")
print("as minillm turns it:", np.allclose(rotate(qr, 5), formulas.rope(qr[None], np.array([5]))[0]))
fixed = formulas.sinusoidal_positions(np.arange(10.0), 8)  # (10, 8): a vector for each position
print("sines and cosines:", [f"{fixed[t] @ fixed[s]:.4f}" for t, s in ((9, 7), (5, 3), (5, 1))])
says("2.56", fixed[9] @ fixed[7])
says("2.56", fixed[5] @ fixed[3])

# %% [markdown] lang="en"
# Positions 9 and 7 give the same product as 5 and 3; 5 and 1 give another one. The first transformer used the
# same angles in another way: it *added* their sines and cosines to the token's vector
# (`formulas.sinusoidal_positions`; Vaswani et al., 2017). Among themselves these vectors have the same
# property, 2.56 for 9 and 7 as for 5 and 3; but once added they mix with what the token says.
#
# ## A whole transformer
#
# Attention only *moves* numbers between positions. What a position does with what it got is up to a small
# network of two layers, the **MLP**, which works on each position alone. A block is the two in turn, and each
# of them *adds* to what is there:
#
# $$x \leftarrow x + \operatorname{attention}(\operatorname{norm}(x)),\qquad
# x \leftarrow x + \operatorname{mlp}(\operatorname{norm}(x)).$$
#
# The vector $x$ that runs through is the **residual stream**. Because of the sums, the gradient has a
# straight way from the loss to the first layer. The **norm** (layer normalisation) stands *before* each
# branch, "pre-norm": the branch always reads numbers of one scale, and the stream itself is never squeezed.
# At the end the product with the token table gives the logits, and the loss is the article's (section 4.1).
#
# Two small functions are still new. The norm takes off the mean of a position's numbers and divides by their
# spread; newer models (lesson 17) leave the mean alone and divide by the root mean square. And the MLP bends
# numbers by **GELU**, $x\,\Phi(x)$, where $\Phi(x)$ is the chance that a normal random number is below $x$.
# Try $x = (1, 2, 3, 6)$ by hand: its mean is 3. What becomes of it if you add 10 to every number?
# %% [markdown] lang="zh"
# 9 与 7、5 与 3，点积一样；5 与 1 就不同了。最早的 Transformer 用的是同样的角度，用法不同：把它们的正弦和余弦
# *加*到词元的向量上（`formulas.sinusoidal_positions`；Vaswani et al., 2017）。这些向量之间也有同样的性质，9 与
# 7、5 与 3 都是 2.56；可是一旦加上去，就和词元本身的内容混在一起了。
#
# ## 完整的 Transformer
#
# 注意力只是在位置之间*搬运*数字。搬来之后怎么用，由一个两层的小网络 **MLP** 决定，它对每个位置单独计算。一个
# 块就是这两步轮流来，每一步都是往已有的结果上*加*：
#
# $$x \leftarrow x + \operatorname{attention}(\operatorname{norm}(x)),\qquad
# x \leftarrow x + \operatorname{mlp}(\operatorname{norm}(x)).$$
#
# 一路流过去的向量 $x$ 叫**残差流**。正因为是相加，梯度从损失到第一层有一条直路。**归一化**（层归一化）放在每
# 个分支*之前*，即 pre-norm：分支读到的数总是同一尺度，而残差流本身从不被压扁。最后与词元表相乘得到 logits，损
# 失就是文章 4.1 节的交叉熵。
#
# 还有两个小函数没有见过。归一化先减去这个位置各个数的均值，再除以它们的离散程度；较新的模型（第 17 课）不管均
# 值，直接除以均方根。MLP 则用 **GELU** 把数弯一弯：$x\,\Phi(x)$，其中 $\Phi(x)$ 是正态随机数小于 $x$ 的概率。
# 请拿 $x = (1, 2, 3, 6)$ 手算一次，它的均值是 3。如果每个数都加 10，结果会怎样？
# %%
numbers, ones = np.array([1.0, 2, 3, 6]), np.ones(4)
for name, x in (("x", numbers), ("2 x", 2 * numbers), ("x + 10", numbers + 10)):
    print(f"{name:7} layer_norm {formulas.layer_norm(x, ones)}   rms_norm {formulas.rms_norm(x, ones)}")
says("1.60", formulas.layer_norm(numbers, ones)[3])
says("1.60", formulas.layer_norm(numbers + 10, ones)[3])
says("1.70", formulas.rms_norm(numbers, ones)[3])
says("1.22", formulas.rms_norm(numbers + 10, ones)[3])

bent = np.array([-3.0, -1, 0, 1, 3])
print("gelu of", bent, "is", formulas.gelu(bent), "  chance below x:", formulas.normal_cdf(bent))
says("0.84", formulas.gelu(np.array(1.0)))
says("0.84", formulas.normal_cdf(np.array(1.0)))
says("-0.16", formulas.gelu(np.array(-1.0)))
says("-0.004", formulas.gelu(np.array(-3.0)))
grid = np.linspace(-6, 6, 1201)
by_tanh = np.abs(formulas.gelu_tanh(grid) - formulas.gelu(grid)).max()
print(f"GELU by tanh, as GPT-2 has it: off by at most {by_tanh:.5f}")
says("0.0005", by_tanh)

# %% [markdown] lang="en"
# The last number, 6, becomes 1.60; twice $x$ and $x + 10$ give the same. Without the mean (`rms_norm`) it is
# 1.70, the doubling does nothing either, but adding 10 does: 1.22. GELU keeps 0.84 of 1, since 0.84 of all
# normal numbers lie below 1, and lets through almost all of a large number; of -1 it leaves -0.16, of -3
# hardly anything (-0.004). GPT-2 computes it by way of $\tanh$, which is off by 0.0005 at most.
#
# Here is all of it. The parameters are those of `minillm.models.GPT`; the way through them is written out,
# with switches for the mistakes that we want to see.
# %% [markdown] lang="zh"
# 最后一个数 6 变成 1.60；$2x$ 和 $x + 10$ 的结果也一样。不减均值时（`rms_norm`）是 1.70，加倍同样不起作用，加 10
# 却有影响：成了 1.22。GELU 把 1 变成 0.84，因为正态随机数有 0.84 的概率小于 1；大的数几乎原样放行；-1 只剩下
# -0.16，-3 几乎什么也不剩（-0.004）。GPT-2 是借助 $\tanh$ 来算的，误差最多 0.0005。
#
# 下面是全部代码。参数取自 `minillm.models.GPT`，每一步怎么算则全写在这里，还留了几个开关，用来重现那些常见的
# 错。
# %%
def heads_of(layer, x, causal):
    """Multi-head attention with a GPT layer's matrices: (B, T, C) -> (B, T, C), and weights (B, H, T, T)."""
    B, T, C = x.shape
    qkv = layer.qkv(x).reshape(B, T, 3, layer.n_head, C // layer.n_head)
    q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))  # (B, H, T, d)
    a = q @ k.transpose(0, 1, 3, 2) / np.sqrt(C // layer.n_head)  # (B, H, T, T)
    P = formulas.attention_weights(a, np.tril(np.ones((T, T), bool)) if causal else None)
    return layer.output((P @ v).transpose(0, 2, 1, 3).reshape(B, T, C)), P


def forward(model, ids, causal=True, positions=True, residual=True):
    """A GPT, written out: ids (B, T) -> logits (B, T, V), and the last block's weights (B, H, T, T)."""
    x = model.tokens(ids)  # (B, T, C)
    if positions:
        x = x + model.positions(np.arange(ids.shape[1]))
    stream = 1.0 if residual else 0.0  # 0: the branch replaces what was there
    for block in model.blocks:
        y, P = heads_of(block.attention, block.norm1(x), causal)
        x = stream * x + y
        x = stream * x + block.mlp(block.norm2(x))
    return model.tokens.attend(model.norm(x)), P  # (B, T, V)


model = GPT(GPTConfig(vocab_size=11, block_size=12, n_layer=12, n_head=4, n_embd=32),
            rng=np.random.default_rng(3))
some = np.random.default_rng(4).integers(0, 11, (2, 12))
ours, _ = forward(model, some)
print(f"largest difference from minillm's GPT: {abs(ours.data - model(some).data).max():.1e}")

# %% [markdown] lang="en"
# These two functions give what the package's model gives, but for rounding. Now throw a switch:
# `residual=False`, so that each branch *replaces* what was there. What happens to 12 different tokens on
# their way through 12 blocks? Compare the positions with each other: a mean cosine of 0 says that they point
# in all directions, 1 that they are all alike.
# %% [markdown] lang="zh"
# 这两个函数与包里的模型结果一致，只差一点舍入误差。现在拨一个开关：`residual=False`，让每个分支*替换*原来的内
# 容，而不是相加。12 个词元穿过 12 个块，会变成什么样？把各个位置的向量两两比较：平均余弦为 0，说明方向各不相
# 同；为 1，说明全都一个样。
# %%
def likeness(model, ids, residual):
    """Mean cosine between the positions of a text, after each block."""
    x, found = model.tokens(ids) + model.positions(np.arange(ids.shape[1])), []
    stream = 1.0 if residual else 0.0
    for block in model.blocks:
        x = stream * x + heads_of(block.attention, block.norm1(x), causal=True)[0]
        x = stream * x + block.mlp(block.norm2(x))
        u = x.data[0] / np.linalg.norm(x.data[0], axis=1, keepdims=True)  # (T, C), of length 1
        found.append((u @ u.T)[np.triu_indices(len(u), 1)].mean())
    return found


for residual in (True, False):
    cosines = likeness(model, some[:1], residual)
    print(f"residual {residual!s:5}: after block 1 {cosines[0]:.3f}, after 4 {cosines[3]:.3f}, "
          f"after 12 {cosines[-1]:.3f}")
says("12", len(model.blocks))
says("0.999", cosines[3])
says("0.05", likeness(model, some[:1], True)[-1])

# %% [markdown] lang="en"
# Every attention takes means, and means of means of means are all the same: without the sums the positions
# are alike to 0.999 after 4 blocks, and nobody can tell the tokens apart any more. With them the mean cosine
# is 0.05 in the end. (Dong et al. (2021) prove it for attention by itself.) The residual stream carries the
# gradient back, as you saw in its formula; it also carries each token forward.
#
# ## Too good to be true
#
# Now train. A text is 6 random digits, a bar, and the 6 digits backwards; the model predicts every next
# token, with Adam (lesson 4). Before you train, work out the best loss that *any* model can have. A random
# digit cannot be predicted: its loss is at least $\log 10$. Of the 12 predictions 5 are such digits (the
# first digit is never predicted); the bar and the answer are certain, once the digits are known:
#
# $$L_{\min} = \frac{5 \log 10 + 7 \cdot 0}{12}.$$
#
# Three models train side by side: one without a mask, one without positions, and a right one. **Predict** how low
# each loss will go.
# %% [markdown] lang="zh"
# 每次注意力都在取平均，平均的平均的平均，最后全都一样：没有相加，4 个块之后各位置已经像到 0.999，谁是谁再也分
# 不清；有相加，最后的平均余弦只有 0.05。（Dong et al. (2021) 证明了：只有注意力时必定如此。）残差流让梯度顺利
# 传回来，这从公式里看得出；它也让每个词元一路走到最后而不失本色。
#
# ## 好得不像真的
#
# 开始训练。一段文本是 6 个随机数字、一条竖线，再加倒过来的 6 个数字；模型对每个位置预测下一个词元，用 Adam
# （第 4 课）。训练之前先算一算，*任何*模型最好能做到多小的损失。随机数字无法预测，损失至少是 $\log 10$。12 次
# 预测里有 5 次是这样的数字（第一个数字不需要预测）；竖线和答案在数字已知之后都是确定的，所以
#
# $$L_{\min} = \frac{5 \log 10 + 7 \cdot 0}{12}.$$
#
# 三个模型并排训练：一个没有掩码，一个没有位置，一个完全正确。**先猜一猜**：三条损失曲线各能降到多低？
# %%
L, BAR = 6, 10  # digits; the token between question and answer


def texts(rng, n):
    """n texts of 6 digits, bar, 6 digits backwards: (n, 13)."""
    digits = rng.integers(0, 10, (n, L))
    return np.concatenate([digits, np.full((n, 1), BAR), digits[:, ::-1]], axis=1)


def train(steps=250, **switches):
    """A GPT of one block and one head, trained on new texts at every step, and its losses."""
    model = GPT(GPTConfig(vocab_size=11, block_size=12, n_layer=1, n_head=1, n_embd=32),
                rng=np.random.default_rng(2))
    optimizer, rng, losses = Adam(model.parameters(), lr=3e-3), np.random.default_rng(0), []
    for _ in range(steps):
        ids = texts(rng, 64)
        loss = softmax_cross_entropy(forward(model, ids[:, :-1], **switches)[0], ids[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.data))
    return model, losses


@no_grad()
def answer(model, questions, **switches):
    """The 6 tokens that the model writes after digits and bar, the likeliest one each time."""
    ids = questions
    for _ in range(L):
        logits, _ = forward(model, ids, **switches)
        ids = np.concatenate([ids, logits.data[:, -1:].argmax(axis=-1)], axis=1)
    return ids[:, -L:]


floor = 5 * np.log(10) / 12
says("0.96", floor)
kinds = {"no mask": {"causal": False}, "no positions": {"positions": False}, "right": {}}
test = texts(np.random.default_rng(9), 200)
trained, curves, solved = {}, {}, {}
for name, switches in kinds.items():
    trained[name], curves[name] = train(**switches)
    said = answer(trained[name], test[:, :L + 1], **switches)
    solved[name] = (said == test[:, -L:]).all(axis=1).mean()
    print(f"{name:13} training loss {np.mean(curves[name][-20:]):.3f} (floor {floor:.3f})   "
          f"answers right {solved[name]:.1%}   such as {test[0, :L]} -> {said[0]}")
assert np.mean(curves["no mask"][-20:]) < floor / 2
assert solved["no mask"] < 0.5
said = answer(trained["no mask"], test[:, :L + 1], causal=False)
print("no mask, right at each of the 6 places:", (said == test[:, -L:]).mean(axis=0))
says("100%", solved["right"])
says("200", len(test))
says("16,000", 64 * len(curves["right"]))

fig, ax = plt.subplots(figsize=(6.4, 3.4))
for (name, curve), style, colour in zip(curves.items(), ("-.", "--", "-"), ("#D55E00", "#E69F00", "#0072B2"),
                                        strict=True):
    ax.plot(curve, style, color=colour, label=name)
ax.axhline(floor, color="0.5", lw=1, label="best possible")
ax.set_xlabel("step")
ax.set_ylabel("training loss (nats per token)")
ax.set_ylim(0, 2.6)
ax.legend()
picture(fig, name="losses",
        alt_en="Training loss against steps. The right model comes down to the line 'best possible' at "
               "0.96 and stays there. The model without positions levels off well above it. The model "
               "without a mask falls through the line, far below what is possible.",
        alt_zh="训练损失随步数的变化。正确的模型降到“可能的最小值”0.96 这条线便停住；没有位置的模型停在这条"
               "线上方较远处；没有掩码的模型穿过这条线，一直降到不可能达到的低处。")

# %% [markdown] lang="en"
# The floor is 0.96. The model without a mask falls far through it: it "predicts" random digits, because each
# position simply reads the next one. When it has to write, there is no next one to read, and nearly all its
# answers are wrong. (Not all of their digits: each digit of an answer stands in two places of the text, in
# the question and right after the query. Where it chanced to learn the honest place, it answers well.) No
# error was raised, the curve looks wonderful. So: **know the floor of your loss, and distrust a loss below
# it.** The test of a mask takes one line: change the last token, and no earlier logit may move.
#
# The model without positions knows *which* digits came, but not in which order, so it cannot say them
# backwards. The right one comes down to the floor and stays, and gets 100% of 200 new rows of digits right.
# There are a million such rows, and in training it has seen 16,000 of them: it has learned the rule, not the
# rows.
# %% [markdown] lang="zh"
# 最小值是 0.96。没有掩码的模型远远跌破了它：它居然“预测”出了随机数字，因为每个位置直接把下一个抄了过来。等到
# 要它自己写时，后面没有东西可抄，答案几乎全错。（但不是每一位都错：答案的每个数字在文本里有两处，一处在题目
# 里，一处就在查询的下一个位置。碰巧学会看前一处的那几位，照样答得对。）整个过程没有报错，曲线也漂亮得很。所
# 以：**先算清损失的下限；低于下限的损失，不要相信。** 检查掩码只要一行：改掉最后一个词元，前面的 logits 一个
# 都不许变。
#
# 没有位置的模型知道出现过*哪些*数字，却不知道先后，自然没法倒着背。正确的模型降到下限便停住，200 串新数字答对
# 100%。这样的数字串有一百万种，训练时它只见过 16,000 串：它学到的是规则，不是答案。
# %%
changed = test[:, :-1].copy()
changed[:, -1] = (changed[:, -1] + 1) % 10
with no_grad():
    for name, switches in kinds.items():
        before, after = (forward(trained[name], ids, **switches)[0].data[:, :-1]
                         for ids in (test[:, :-1], changed))
        print(f"{name:13} earlier logits moved by {abs(before - after).max():.3f}")

# %% [markdown] lang="en"
# ## Where does it look?
#
# The weights $p_{ts}$ say for each position where it looked. When the model writes the first digit of the
# answer, it stands on the bar, position 6, and should look at position 5; then one step back each time. A
# fixed distance would not do: the distance grows by 2 from one answer to the next. **Predict** what the heat map
# looks like.
# %% [markdown] lang="zh"
# ## 它在看哪里？
#
# 权重 $p_{ts}$ 告诉我们每个位置看了哪里。写答案的第一个数字时，模型站在竖线上，即位置 6，应该去看位置 5；之后
# 每次往前退一位。只记“往回数几位”是不行的，因为每写一个数字，距离就增加 2。**先猜一猜**：热图会是什么样子？
# %%
reader = trained["right"]
with no_grad():
    _, P = forward(reader, test[:1, :-1])
P = P.data[0, 0]  # (T, T), the only head
names = [*map(str, test[0, :L]), "|", *map(str, test[0, L + 1:-1])]
on_target = P[np.arange(L, 2 * L), np.arange(L - 1, -1, -1)]
print("weight on the right digit, for each of the answers:", on_target)

fig, ax = plt.subplots(figsize=(5.2, 4.4))
shown = ax.imshow(P, cmap="cividis", vmin=0, vmax=1)
ax.set_xticks(range(12), names)
ax.set_yticks(range(12), names)
ax.set_xlabel("key: token looked at")
ax.set_ylabel("query: token that looks")
fig.colorbar(shown, label="weight")
picture(fig, name="heat_map",
        alt_en="Heat map of attention weights, 12 queries by 12 keys, nothing above the diagonal. In the "
               "upper half most queries look at the first token. In the lower half, where the answer is "
               "written, one bright line runs from the bar's row at the sixth digit back to the first "
               "digit in the last row: each query looks at exactly the digit that comes next.",
        alt_zh="注意力权重的热图，12 个查询对 12 个键，对角线上方全空。上半部分的查询大多看着第一个词元。下"
               "半部分是写答案的位置，有一条亮线从竖线那一行的第六个数字一路退到最后一行的第一个数字：每个"
               "查询都正好看着接下来要写的那个数字。")

# %% [markdown] lang="en"
# The bright line runs backwards. Nobody told the model to do that; it is what gradient descent found in the
# matrices of queries and keys. In the upper half, where random digits come, there is nothing to look up; but
# weights must sum to 1, so the model parks them on the first token. Remember that: lesson 17 finds the same
# in a real model.
#
# The package's own model with these parameters writes the same: `generate` draws the tokens, `temperature=0`
# takes the likeliest.
# %% [markdown] lang="zh"
# 亮线一路向前退。没有人教过模型这样做，这是梯度下降在查询和键的矩阵里自己找到的。上半部分对应随机数字，本来就
# 没有什么可查；可权重之和必须是 1，模型就把它们停放在第一个词元上。请记住这一点：第 17 课会在真正的模型里再见
# 到它。
#
# 用包里的模型装上同样的参数，写出来的也一样：`generate` 逐个取词元，`temperature=0` 表示每次取概率最大的。
# %%
written = list(generate(reader, test[0, :L + 1], L, temperature=0))
print(test[0, :L], "->", written, "as above:", written == list(answer(reader, test[:1, :L + 1])[0]))

# %% [markdown] lang="en"
# ## Long texts: attention in tiles
#
# Of $T$ tokens each has $T$ weights; for a text of 100,000 that is ten thousand million numbers in every
# head, only to be summed up. **FlashAttention** (Dao et al., 2022) never keeps them. It reads the keys tile
# by tile and keeps three things: the largest score so far $m$, the sum of exponentials $l$, and the sum of
# weighted values $o$. For a new tile of scores $a$:
#
# $$m' = \max(m, \max_s a_s),\qquad l' = e^{m - m'}\, l + \sum_s e^{a_s - m'},\qquad
# o' = e^{m - m'}\, o + \sum_s e^{a_s - m'} v_s,$$
#
# and after the last tile the output is $o / l$. All sums so far were taken relative to the old $m$; when a
# larger score turns up, the factor $e^{m - m'}$ puts them right. What goes wrong without it? And what if one
# did without $m$ altogether?
# %% [markdown] lang="zh"
# ## 长文本：分块计算注意力
#
# $T$ 个词元，每个都有 $T$ 个权重；文本长到 100,000 个词元，每个头就是一百亿个数，而算它们只是为了求
# 和。**FlashAttention**（Dao et al., 2022）根本不存这些数。它把键一块一块地读进来，只记三样东西：目前最大的得
# 分 $m$、指数之和 $l$、加权的值之和 $o$。来了一块新的得分 $a$：
#
# $$m' = \max(m, \max_s a_s),\qquad l' = e^{m - m'}\, l + \sum_s e^{a_s - m'},\qquad
# o' = e^{m - m'}\, o + \sum_s e^{a_s - m'} v_s,$$
#
# 最后一块读完，输出就是 $o / l$。此前的和都是相对旧的 $m$ 算的；一旦出现更大的得分，就用因子 $e^{m - m'}$ 把
# 它们校正过来。漏了这个因子会怎样？如果干脆不要 $m$ 呢？
# %%
def careless(q, K, V, tile, mistake):
    """Attention by tiles with a mistake: no correction of the sums, or no largest score at all."""
    m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
    for start in range(0, len(K), tile):
        a = K[start:start + tile] @ q / np.sqrt(q.size)
        largest = max(m, a.max()) if mistake != "no maximum" else 0.0
        e = np.exp(a - largest)
        l, o, m = l + e.sum(), o + e @ V[start:start + tile], largest
    return o / l


says("100,000", 1e10 ** 0.5)
growing = K[::-1]  # the largest score comes last
print("right:              ", attend_one(q, growing, V))
print("sums not corrected: ", careless(q, growing, V, 2, "not corrected"))
with np.errstate(over="ignore", invalid="ignore"):
    print("no maximum, 1000 q: ", careless(1000 * q, growing, V, 2, "no maximum"))

# %% [markdown] lang="en"
# Without the factor the tokens that came before the largest score weigh too much: wrong, but finite, and
# nobody notices. Without $m$ the exponentials overflow, and `inf / inf` is `nan`. Write the right one.
# %% [markdown] lang="zh"
# 漏了校正因子，最大得分之前的词元权重就偏大：结果是错的，却是有限的数，没人会发现。不要 $m$，指数就会上溢，
# `inf / inf` 得到 `nan`。来写正确的版本。
# %% exercise="tiled_attention"
def tiled_attention(q, K, V, tile):
    """What attend_one gives, from one pass over tiles of keys.

    m' = max(m, max a),   l' = e^(m - m') l + sum e^(a - m'),   o' = e^(m - m') o + sum e^(a - m') v
    result: o / l after the last tile

    q: (d,). K: (S, d). V: (S, e). tile: keys at a time; the last tile may be shorter. Returns (e,).
    """
    # BEGIN SOLUTION
    m, l, o = -np.inf, 0.0, np.zeros(V.shape[1])
    for start in range(0, len(K), tile):
        a = K[start:start + tile] @ q / np.sqrt(q.size)  # (tile,)
        largest = max(m, a.max())
        e, shrink = np.exp(a - largest), np.exp(m - largest)
        l = shrink * l + e.sum()
        o = shrink * o + e @ V[start:start + tile]
        m = largest
    return o / l
    # END SOLUTION


# %%
rng = np.random.default_rng(5)
qt, Kt, Vt = rng.standard_normal(8), rng.standard_normal((50, 8)), rng.standard_normal((50, 3))
print("tiles of 7, and all at once:", tiled_attention(qt, Kt, Vt, 7), attend_one(qt, Kt, Vt))
package = formulas.tiled_attention(qt[None, None, None], Kt[None, None], Vt[None, None], 7)[0, 0, 0]
print("minillm.formulas.tiled_attention:", package)

# %% [markdown] lang="en"
# ## Writing without reading everything again: the KV cache
#
# To write 6 tokens, `answer` above read the whole text 6 times. But the mask says that nothing earlier
# depends on what is new: the keys and values of the old positions stay what they are. Keep them, and a new
# token costs one position. How many positions does each way work through, for 7 tokens read and 5 more
# written? ($7 + 8 + \dots + 12$ against 12.)
# %% [markdown] lang="zh"
# ## 不必从头再读：键值缓存
#
# 上面的 `answer` 每写一个词元都把全文重读一遍，写 6 个就读了 6 遍。可掩码已经保证，前面的一切都与新来的词元无
# 关：旧位置的键和值不会再变。把它们存起来，新词元就只需计算一个位置。先读 7 个、再写出并读入 5 个词元，两种做
# 法各要处理多少个位置？（$7 + 8 + \dots + 12$ 对 12。）
# %%
cache = reader.new_cache(batch_size=1, max_length=12)
positions_plain = positions_cached = 0
for begin, end in [(0, 7), *((t, t + 1) for t in range(7, 12))]:
    with no_grad():
        fresh = forward(reader, test[:1, :end])[0].data[:, -1]  # everything read again
    cached = reader.next_logits(test[:1, begin:end], cache).data  # only what is new
    positions_plain, positions_cached = positions_plain + end, positions_cached + end - begin
    print(f"token {end:2}: largest difference {abs(fresh - cached).max():.1e}")
print("positions:", positions_plain, "and", positions_cached)
says("57", positions_plain)
says("12", positions_cached)

# %% [markdown] lang="en"
# The logits are the same but for rounding, from 12 positions in place of 57. For $T$ tokens it is $T$ in
# place of about $T^2 / 2$; lesson 17 does this with a real model.
#
# ## What you have now
#
# A query compares itself with keys and takes a weighted mean of values: differentiable look-up. The root of
# $d$ keeps it able to learn, the mask keeps it honest, positions give it order, heads let it look at several
# things, the residual stream keeps the tokens apart. That answers the question of the beginning: it looks up
# one earlier token however far back it is, and the heat map shows that it learned where.
#
# Try next: let `texts` hold the digits *sorted* instead of backwards (`np.sort(digits, axis=1)`), with
# `n_head=2` and `steps=400`. What does the heat map show now, when the place depends on the content?
# %% [markdown] lang="zh"
# 除去舍入误差，logits 完全一样，而处理的位置从 57 个减到 12 个。写 $T$ 个词元，原来约需 $T^2 / 2$ 个位置，现
# 在只需 $T$ 个；第 17 课会在真正的模型上用它。
#
# ## 小结
#
# 查询与键相比，取值的加权平均：这就是可以求导的“查字典”。除以 $\sqrt d$ 让它学得动，掩码让它不作弊，位置让它
# 懂得先后，多头让它能同时看几处，残差流让词元不致混成一团。开头的问题也就有了答案：不论隔得多远，它都能查到前
# 面的某个词元，而热图表明，该往哪儿看是它自己学会的。
#
# 接着试试：让 `texts` 里的答案改成*从小到大排序*（`np.sort(digits, axis=1)`），取 `n_head=2`、`steps=400`。现
# 在该看哪里取决于内容，热图又会是什么样子？
