# ---
# title: Embedding, LSTM, dense: the article's model
# title_zh: 嵌入、LSTM、全连接：文章里的模型
# minutes: 40
# needs: [01_tensors_and_tape, 02_likelihood_and_cross_entropy]
# ---
# %% [markdown] lang="en"
# ## The question
#
# The article's model (section 5.1) is three layers in ten lines of Keras. It reads tokens one after the
# other and predicts the next. To do that it must *remember*: a bracket that was opened fifty characters ago
# wants to be closed. Where in those three layers is that memory, and what keeps it from fading?
#
# Here is the listing, as it stands in the article; only the import line is ours. It leaves open what
# `vocab_size` and the data are, so we give it a little task: sequences of 6 tokens out of 12, and the label
# is the token **before** the last. To answer, the model has to carry one token past another.
# %% [markdown] lang="zh"
# ## 问题
#
# 文章的模型（5.1 节）用十来行 Keras 写出三层。它一个一个地读词元，预测下一个。要做到这一点，
# 它必须*记得住*：五十个字符之前打开的括号，现在等着关上。这三层里，记忆在哪一处？又是什么让它不褪色？
#
# 下面就是文章的代码，原样照抄，只有导入那一行是我们的。代码没有规定 `vocab_size` 和数据，
# 所以我们给它一个小任务：每个序列 6 个词元，取自 12 种，标签是**倒数第二个**词元。要答对，
# 模型必须带着一个词元越过另一个词元。
# %%
import contextlib
import io
import re

import matplotlib.pyplot as plt
import numpy as np

import minillm
from minillm import formulas, models, nn, optim, text
from minillm.course import picture, says, step
from minillm.formulas import sigmoid
from minillm.generate import generate
from minillm.models.lstm_lm import detach
from minillm.stepper import trace

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
vocab_size, embedding_dim, hidden_dim = 12, 8, 32
x_train = np.random.default_rng(1).integers(0, vocab_size, (2000, 6))
y_train = minillm.keras.utils.to_categorical(x_train[:, -2], vocab_size)  # (2000, 12), one-hot
minillm.keras.utils.set_random_seed(0)
caught = contextlib.ExitStack()  # `fit` prints how long an epoch took; we print its lines without that
printed = caught.enter_context(contextlib.redirect_stdout(io.StringIO()))

# ---- the article's listing ----
import minillm as tf

# 定义模型
model = tf.keras.Sequential([
    tf.keras.layers.Embedding(vocab_size, embedding_dim),
    tf.keras.layers.LSTM(hidden_dim),
    tf.keras.layers.Dense(vocab_size, activation='softmax')
])

# 定义优化器
optimizer = tf.keras.optimizers.Adam(learning_rate=0.001)

# 定义损失函数
loss_fn = tf.keras.losses.CategoricalCrossentropy()

# 训练模型
model.compile(optimizer=optimizer, loss=loss_fn)
model.fit(x_train, y_train, epochs=10)
# ---- its end ----

caught.close()
print(re.sub(r" - [\d.]+s", "", printed.getvalue()), end="")
for layer in model.layers:
    print(f"{type(layer).__name__:>10}:", ", ".join(str(w.shape) for w in layer.weights))
losses = model.history.history["loss"]
says("12", vocab_size)
says("2.48", np.log(vocab_size))
says("2.48", losses[0])
assert losses[-1] < 1
says("96", model.layers[0].weights[0].size)
says("5,248", sum(w.size for w in model.layers[1].weights))
says("396", sum(w.size for w in model.layers[2].weights))

# %% [markdown] lang="en"
# It starts where guessing evenly starts, at $\log 12$, about 2.48, and after ten epochs is below 1: it has
# begun to remember. The arrays above are all that it consists of: a table (96 numbers), the LSTM (5,248)
# and the dense layer (396). We take the three apart.
#
# ## Embedding: a table, and a product in disguise
#
# Token number $v$ becomes row $v$ of a table $E$ of shape $(V, D)$. Mathematics likes to write that as a
# product with the one-hot vector of the token, a 1 at place $v$ and 0 elsewhere:
#
# $$e = \mathrm{onehot}(v)\, E = E_v$$
#
# The two are equal, and only one of them is affordable. With a vocabulary of 50,000 and a batch of
# $32 \cdot 128$ tokens, the one-hot vectors alone take 819 million bytes in float32, nearly all of them
# zeros.
# %% [markdown] lang="zh"
# 起点就是均匀乱猜的 $\log 12$，约 2.48；十轮之后降到 1 以下：它开始记得住了。
# 上面列出的数组就是它的全部家当：一张表（96 个数）、LSTM（5,248 个）和全连接层（396 个）。
# 我们把三层一一拆开。
#
# ## 嵌入：一张表，也是换了一身打扮的乘法
#
# 编号为 $v$ 的词元变成表 $E$ 的第 $v$ 行，$E$ 的形状是 $(V, D)$。数学上喜欢把它写成与 one-hot 向量的乘积，
# 这个向量在第 $v$ 位是 1，其余都是 0：
#
# $$e = \mathrm{onehot}(v)\, E = E_v$$
#
# 两种写法相等，但只有一种用得起。词表 50,000、一批 $32 \cdot 128$ 个词元，
# 光是 one-hot 向量用 float32 存就要 8.19 亿字节，而且几乎全是零。
# %%
E = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])  # V = 3 tokens, D = 2
ids = np.array([2, 0, 2])
onehot = np.eye(3)[ids]  # (3, 3)
print("by product:\n", onehot @ E, "\nby lookup:\n", E[ids])
assert np.array_equal(onehot @ E, E[ids])
says("50,000", 50_000)
says("819", 32 * 128 * 50_000 * 4 / 1e6)
says("8.19", 32 * 128 * 50_000 * 4 / 1e8)

# %% [markdown] lang="en"
# ### Its gradient, and a trap of NumPy
#
# The product tells us the gradient too: $\partial L / \partial E = \mathrm{onehot}^{\top} g$, where $g$
# holds the gradient of each row that was looked up. Row $v$ of the table gets the **sum** over all places
# where token $v$ stood.
#
# **Predict.** `ids` is 2, 0, 2 and the rows of $g$ are $(1, 1)$, $(10, 10)$, $(100, 100)$. What does row 2
# of the gradient hold? And what if you write the loop-free line that suggests itself, `dE[ids] += g`?
# %% [markdown] lang="zh"
# ### 它的梯度，和 NumPy 的一个陷阱
#
# 乘积的写法顺便给出了梯度：$\partial L / \partial E = \mathrm{onehot}^{\top} g$，
# 其中 $g$ 的每一行是对应那次查表结果的梯度。表的第 $v$ 行，得到的是词元 $v$ 出现过的所有位置上的**总和**。
#
# **先猜一猜。** `ids` 是 2、0、2，$g$ 的三行是 $(1, 1)$、$(10, 10)$、$(100, 100)$。梯度的第 2 行是多少？
# 如果顺手写一行不用循环的 `dE[ids] += g`，又会是多少？
# %%
g = np.array([[1.0, 1.0], [10.0, 10.0], [100.0, 100.0]])
wrong = np.zeros((3, 2))
wrong[ids] += g
print("dE[ids] += g gives\n", wrong, "\nand the product gives\n", onehot.T @ g)
says("100", wrong[2, 0])
says("101", (onehot.T @ g)[2, 0])

# %% [markdown] lang="en"
# Row 2 should hold 101; the tempting line gives 100. NumPy reads `dE[ids]` once, adds, and writes once: of
# two writes to the same row the last one wins, and the first gradient is gone, without an error. Every
# token that stands in a batch more than once loses, and the common ones lose most. `np.add.at` adds one
# after the other.
# %% [markdown] lang="zh"
# 第 2 行应当是 101，那行顺手的代码却给出 100。NumPy 把 `dE[ids]` 读一次、加一次、写一次：同一行写了两遍，
# 后写的盖掉先写的，前一份梯度就没了，还不报错。凡是在一批里出现不止一次的词元都会吃亏，
# 越常见的亏得越多。`np.add.at` 才是一份一份地加。
# %% exercise="embedding_gradient"
def embedding_gradient(ids, g, V):
    """The gradient of the table: dE_v = sum of g over all places where ids is v.

    ids: (N,), integers in [0, V). g: (N, D), gradients of the rows looked up. Returns (V, D).
    """
    # BEGIN SOLUTION
    dE = np.zeros((V, g.shape[1]))
    np.add.at(dE, ids, g)
    return dE
    # END SOLUTION


# %%
table = minillm.Tensor(E, requires_grad=True)
minillm.embedding(ids, table).backward(g)
assert np.array_equal(table.grad, embedding_gradient(ids, g, 3))
print("minillm.embedding's gradient:\n", table.grad)

# %% [markdown] lang="en"
# ## Memory that fades: the plain recurrent network
#
# The obvious way to remember is to mix what comes in with what was there:
# $h_t = \tanh(x_t W + h_{t-1} U + b)$. Does a token that stood 50 steps ago still matter? Ask the gradient:
# how much does the loss now change, if the state then is changed a little? By the chain rule it is a
# product of 50 factors, one for each step, each with $U$ and the slope of $\tanh$ in it.
#
# In one dimension, with $U = 0.5$, 50 factors of at most 0.5 make at most $0.5^{50}$, about 8.9e-16.
# **Predict:** what if $U$ is an orthogonal matrix, which neither stretches nor shrinks? And what if it
# stretches by 3?
# %% [markdown] lang="zh"
# ## 会褪色的记忆：普通循环网络
#
# 要记住东西，最直接的办法是把新来的与原有的混在一起：$h_t = \tanh(x_t W + h_{t-1} U + b)$。50 步之前的词元
# 现在还有影响吗？问梯度：当时的状态若稍有改动，现在的损失会变多少？按链式法则，这是 50 个因子的乘积，
# 每一步一个，里面有 $U$ 和 $\tanh$ 的斜率。
#
# 在一维的情形，$U = 0.5$，50 个不超过 0.5 的因子相乘，至多是 $0.5^{50}$，
# 约 8.9e-16。**先猜一猜：** 如果 $U$ 是正交矩阵，既不拉长也不缩短，会怎样？如果它拉长到三倍呢？
# %%
T, H = 50, 16
says("50", T)
says("8.9e-16", 0.5**T)


def gradient_norms(start, advance, readout, seed=0):
    """|d(readout . h_T) / d(state after t steps)| for t = T-1 down to 0; readout takes the last state."""
    rng = np.random.default_rng(seed)
    states = [minillm.Tensor(start, requires_grad=True)]
    for x in 0.5 * rng.standard_normal((T, 1, H)):
        states.append(advance(x, states[-1]))
    gradients = minillm.grad(np.sum(readout(states[-1]) * rng.standard_normal(H)), states[:-1])
    return np.array([np.linalg.norm(g.data) for g in gradients])[::-1]


def plain_rnn(stretch):
    U = stretch * np.linalg.qr(np.random.default_rng(1).standard_normal((H, H)))[0]
    return gradient_norms(np.zeros((1, H)), lambda x, h: np.tanh(x + h @ U), lambda h: h)


plain = {stretch: plain_rnn(stretch) for stretch in (0.5, 1.0, 3.0)}
says("0.5", min(plain))
for stretch, norms in plain.items():
    print(f"U stretches by {stretch}: after 1, 10, 50 steps back", *(f"{norms[k]:.1e}" for k in (0, 9, 49)))
assert plain[0.5][-1] < 1e-15
assert 1e-8 < plain[1.0][-1] < 1e-3
assert plain[3.0][-1] > 100

# %% [markdown] lang="en"
# With 0.5 the gradient is gone after a few tokens. With an orthogonal $U$ it still fades, because the slope
# of $\tanh$ is below 1 wherever anything happens. With 3 it does not fade but **explodes**. This is the
# vanishing and the exploding gradient, and no choice of $U$ is safe: 50 factors are either mostly below 1
# or mostly above.
#
# ## The cell: add instead of mixing
#
# The LSTM keeps a second state, the **cell state** $c$, and treats it gently: what is there is multiplied
# by a gate and something is *added*. Three gates with values between 0 and 1, all made from the input and
# the hidden state, decide:
#
# $$(i_t, f_t, g_t, o_t) = (\sigma, \sigma, \tanh, \sigma)(x_t W + h_{t-1} U + b)$$
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t \qquad\qquad h_t = o_t \odot \tanh c_t$$
#
# The **forget gate** $f$ says what is kept, the **input gate** $i$ what is written, the candidate $g$ what
# would be written, and the **output gate** $o$ what is shown to the rest of the network.
#
# By hand, with one unit: let $x$ and $h$ be 0, and choose $b$ such that $i = 0.5$, $f = 0.75$, $g = 0.6$,
# $o = 0.5$. If $c = 2$ was there, then $c_t = 0.75 \cdot 2 + 0.5 \cdot 0.6 = 1.8$ and
# $h_t = 0.5 \tanh 1.8$, about 0.473.
#
# Write the cell. All four gates come from one product of shape $(B, 4H)$, in the order $i, f, g, o$, as in
# Keras.
# %% [markdown] lang="zh"
# 取 0.5，几个词元之后梯度就没了。$U$ 正交，梯度照样褪色，因为只要有点动静，$\tanh$ 的斜率就小于 1。取 3，
# 梯度不褪色，反而**爆炸**。这就是梯度消失与梯度爆炸，怎么选 $U$ 都不保险：50 个因子，不是大多小于 1，
# 就是大多大于 1。
#
# ## LSTM 单元：用加法代替混合
#
# LSTM 多留一份状态，叫**细胞状态** $c$，对它很温和：原有的乘上一个门，新的*加*进来。
# 三个门的值都在 0 与 1 之间，由输入和隐藏状态算出：
#
# $$(i_t, f_t, g_t, o_t) = (\sigma, \sigma, \tanh, \sigma)(x_t W + h_{t-1} U + b)$$
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t \qquad\qquad h_t = o_t \odot \tanh c_t$$
#
# **遗忘门** $f$ 决定留下多少，**输入门** $i$ 决定写入多少，候选值 $g$ 是要写的内容，**输出门** $o$ 决定给网
# 络其他部分看多少。
#
# 用一个单元手算：设 $x$ 和 $h$ 都是 0，选 $b$ 使 $i = 0.5$、$f = 0.75$、$g = 0.6$、$o = 0.5$。
# 若原来 $c = 2$，则 $c_t = 0.75 \cdot 2 + 0.5 \cdot 0.6 = 1.8$，$h_t = 0.5 \tanh 1.8$，约 0.473。
#
# 动手写这个单元。四个门出自同一个形状为 $(B, 4H)$ 的乘积，次序是 $i, f, g, o$，与 Keras 相同。
# %% exercise="lstm_cell"
def lstm_cell(x, h, c, W, U, b):
    """One step of an LSTM; `sigmoid` is there for you.

    z = x W + h U + b, cut along the last axis into z_i, z_f, z_g, z_o, each (B, H)
    i = sigma(z_i), f = sigma(z_f), g = tanh(z_g), o = sigma(z_o)
    c_t = f * c + i * g,   h_t = o * tanh(c_t)

    x: (B, D). h, c: (B, H). W: (D, 4H). U: (H, 4H). b: (4H,). Returns (h_t, c_t), each (B, H).
    """
    # BEGIN SOLUTION
    z_i, z_f, z_g, z_o = np.split(x @ W + h @ U + b, 4, axis=-1)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
    c = f * c + i * g
    h = o * np.tanh(c)
    return h, c
    # END SOLUTION


# %%
zero = np.zeros((1, 1))
b = np.array([0.0, np.log(3), np.arctanh(0.6), 0.0])  # sigma(log 3) = 3/4
h_t, c_t = lstm_cell(zero, zero, np.array([[2.0]]), np.zeros((1, 4)), np.zeros((1, 4)), b)
print("h_t, c_t =", h_t, c_t)
says("0.6", np.tanh(b[2]))
says("1.8", c_t)
says("0.473", h_t)

rng = np.random.default_rng(3)
layer = nn.LSTMLayer(2, 3, rng=rng, dtype=np.float64)
W, U, b = layer.W.data, layer.U.data, layer.b.data
x = rng.standard_normal((1, 4, 2))  # (B, T, D)
h, c = np.zeros((1, 3)), np.zeros((1, 3))
for t in range(4):
    h, c = lstm_cell(x[:, t], h, c, W, U, b)
hs, (h_package, c_package) = layer(x)
assert np.allclose(h, h_package.data)
assert np.allclose(c, c_package.data)
print("your cell, four times:", h, "\nminillm.nn.LSTMLayer: ", h_package.data)
step(trace(formulas.lstm_cell, x[:, 0], h, c, W, U, b),
     en="One LSTM cell. On the way back, watch what reaches c: it comes through the line c = f * c + i * g",
     zh="一个 LSTM 单元。反向时留意到达 c 的梯度：它是从 c = f * c + i * g 这一行来的")

# %% [markdown] lang="en"
# In the stepper, go to the way back and look for `f * c`. The gradient of the new cell state is multiplied
# by $f$ and arrives at the old one: no matrix, no slope of $\tanh$ in between. That one multiplication is
# the whole secret.
#
# ## How much is kept
#
# A gradient on $c_t$ itself thus reaches $c_{t-1}$ multiplied by $f_t$, and what is kept along this direct
# path over 50 steps is $f^{50}$. Before any training, the weights are small, so $f$ is near $\sigma(b)$,
# with $b$ the bias of the forget gate. **Predict** for $b = 0$ and $b = 1$, and then look.
# %% [markdown] lang="zh"
# 在逐步演示里走到反向部分，找到 `f * c`：新细胞状态的梯度乘上 $f$，就到了旧的细胞状态，中间没有矩阵，
# 也没有 $\tanh$ 的斜率。全部奥秘就在这一次乘法。
#
# ## 留住多少
#
# 所以 $c_t$ 上的梯度乘以 $f_t$ 就到了 $c_{t-1}$；沿着这条直通的路走 50 步，留下的是 $f^{50}$。
# 训练之前权重都小，$f$ 接近 $\sigma(b)$，$b$ 是遗忘门的偏置。$b = 0$ 和 $b = 1$ 各留下多少？**先猜一猜**，
# 再往下看。
# %%
for bias in (0.0, 1.0, 3.0, 5.0):
    print(f"b = {bias:g}: f = {sigmoid(bias):.3f}, kept over 50 steps: {sigmoid(bias)**50:.2g}")
says("0.731", sigmoid(1.0))
says("1.6e-7", sigmoid(1.0) ** 50)
says("71%", sigmoid(5.0) ** 50)

# %% [markdown] lang="en"
# With $b = 0$ the gate stands half open, and 50 steps keep 8.9e-16: no better than the plain network with
# 0.5. With $b = 1$, which is what Keras and minillm start from (Jozefowicz et al., 2015), $f$ is 0.731 and
# 1.6e-7 is kept: more than a hundred million times as much, and still little. With $b = 5$ it is 71%. So
# when you know over how many steps the model has to remember, you can turn the question round: which $b$
# keeps a given share?
#
# From $\sigma(b) = f$ follows $e^{-b} = 1/f - 1$. To keep a share $s$ over $n$ steps, $f = s^{1/n}$.
# %% [markdown] lang="zh"
# $b = 0$ 时门半开，50 步只留下 8.9e-16，不比取 0.5 的普通网络强。$b = 1$ 是 Keras 和 minillm 的初始值
# （Jozefowicz 等，2015 年），这时 $f$ 是 0.731，留下 1.6e-7：是前者的一亿多倍，
# 可还是很少。$b = 5$ 时留下 71%。如果知道模型要记住多少步，就可以反过来问：要留住给定的比例，$b$ 该取多少？
#
# 由 $\sigma(b) = f$ 得 $e^{-b} = 1/f - 1$。要在 $n$ 步之后留住比例 $s$，则 $f = s^{1/n}$。
# %% exercise="forget_bias"
def forget_bias(share, steps):
    """The bias b with sigma(b)^steps = share.

    share: what is to be kept, in (0, 1). steps: how many steps, >= 1. Returns a number.
    """
    # BEGIN SOLUTION
    f = share ** (1 / steps)
    return -np.log(1 / f - 1)
    # END SOLUTION


# %%
for steps in (5, 50, 500):
    print(f"to keep half over {steps:3} steps: b = {forget_bias(0.5, steps):.2f}")
says("4.27", forget_bias(0.5, 50))
says("2.3", forget_bias(0.5, 500) - forget_bias(0.5, 50))
far = 10**17
with np.errstate(divide="ignore"):
    print(f"half over 1e17 steps: b = {-np.log(1 / 0.5 ** (1 / far) - 1)}, "
          f"with expm1: b = {-np.log(np.expm1(-np.log(0.5) / far)):.1f}")
says("39.5", -np.log(np.expm1(-np.log(0.5) / far)))
assert np.isclose(sigmoid(forget_bias(0.5, 50)) ** 50, 0.5)


def lstm_memory(bias):
    """Gradient norms of a fresh LSTM's cell states; its hidden states change along."""
    layer = nn.LSTMLayer(H, H, rng=np.random.default_rng(1), dtype=np.float64)
    W, U, b = layer.W.data, layer.U.data, layer.b.data.copy()
    b[H:2 * H] = bias
    hidden = [np.zeros((1, H))]

    def advance(x, c):
        h, c = formulas.lstm_cell(x, hidden[-1], c, W, U, b)
        hidden.append(h)
        return c

    return gradient_norms(np.zeros((1, H)), advance, lambda c: hidden[-1])


gated = {bias: lstm_memory(bias) for bias in (0.0, 1.0, 5.0)}
fig, ax = plt.subplots(figsize=(6.6, 3.8))
steps_back = np.arange(1, T + 1)
for (stretch, norms), color in zip(plain.items(), (BLUE, GREEN, ORANGE), strict=True):
    ax.semilogy(steps_back, norms, "--", color=color, label=f"plain, U stretches by {stretch:g}")
for (bias, norms), color in zip(gated.items(), (BLUE, GREEN, ORANGE), strict=True):
    ax.semilogy(steps_back, norms, "-", color=color, label=f"LSTM, forget bias {bias:g}")
ax.axhline(1, color=GREY, linewidth=0.8)
ax.set_ylim(1e-20, 1e8)
ax.set_xlabel("steps back in time")
ax.set_ylabel("size of the gradient")
ax.legend(fontsize=7, ncol=2, loc="lower left")
fig.tight_layout()
picture(fig, name="gradient_through_time",
        alt_en="Size of the gradient, on a logarithmic axis, over 50 steps back in time. Plain networks: "
               "with 0.5 and with 1 the lines fall, the first far below 1e-15; with 3 it rises above 1000. "
               "LSTM: with forget bias 0 the line falls to about 1e-10, with 1 to about 1e-4, with 5 it "
               "stays near 1.",
        alt_zh="对数坐标下，梯度大小随着往回 50 步的变化。普通网络：系数 0.5 和 1 的线一路下降，"
               "前者远低于 1e-15；系数 3 的线升到 1000 以上。LSTM：遗忘偏置 0 的线降到约 1e-10，"
               "1 的线降到约 1e-4，5 的线始终在 1 附近。")
assert gated[0.0][-1] < gated[1.0][-1] / 1e3
assert 0.1 < gated[5.0][-1] < 30

# %% [markdown] lang="en"
# The solid lines are whole gradients, through all paths, those through the gates included, so they lie
# somewhat above $f^{50}$; the direct path still sets the tone. Note that $b = 1$ is hardly better than a
# plain network with an orthogonal $U$: over 50 steps, the gates alone do not save us, open gates do. To
# keep half takes $b$ = 4.27.
#
# **At the edge.** Ask for half over $10^{17}$ steps and $f$ rounds to 1, so that $1/f - 1$ is 0 and $b$
# infinite. Written as `np.expm1(-np.log(share) / steps)`, the same $1/f - 1$ keeps its digits, and $b$ is
# 39.5.
#
# ### What one cell passes back
#
# The cell state gets gradient from two sides: from later, $\partial L/\partial c_t$ by way of $c_{t+1}$,
# and from the hidden state that it shows, $h_t = o_t \odot \tanh c_t$. Both go on through the forget gate:
#
# $$\partial L/\partial c_{t-1} = f_t \odot (\partial L/\partial c_t + \partial L/\partial h_t \odot o_t \odot (1 - \tanh^2 c_t))$$
#
# By hand with the unit above, $f = 0.75$, $o = 0.5$, $c_t = 1.8$: if $\partial L/\partial c_t = 1$ and
# $\partial L/\partial h_t = 0$, then 0.75 goes back.
# %% [markdown] lang="zh"
# 实线是完整的梯度，走遍所有的路，包括经过各个门的那些，所以比 $f^{50}$ 略高；但定调的仍是直通的那条路。
# 注意：$b = 1$ 比 $U$ 正交的普通网络好不了多少。要走 50 步，光有门还不够，门得开着。
# 要留住一半，$b$ 要取 4.27。
#
# **极端情形。** 如果要在 $10^{17}$ 步之后留住一半，$f$ 会舍入成 1，$1/f - 1$ 变成 0，$b$ 就成了无穷大。
# 同一个 $1/f - 1$，写成 `np.expm1(-np.log(share) / steps)` 就不丢有效数字，$b$ 是 39.5。
#
# ### 一个单元往回传什么
#
# 细胞状态的梯度来自两边：一边来自后面，即经由 $c_{t+1}$ 传来的 $\partial L/\partial c_t$；
# 另一边来自它展示出去的隐藏状态 $h_t = o_t \odot \tanh c_t$。两份都要经过遗忘门：
#
# $$\partial L/\partial c_{t-1} = f_t \odot (\partial L/\partial c_t + \partial L/\partial h_t \odot o_t \odot (1 - \tanh^2 c_t))$$
#
# 用上面的单元手算，$f = 0.75$、$o = 0.5$、$c_t = 1.8$：
# 若 $\partial L/\partial c_t = 1$ 而 $\partial L/\partial h_t = 0$，传回去的就是 0.75。
# %% exercise="carried_gradient"
def carried_gradient(dh, dc, f, o, c_t):
    """dL/dc_{t-1}, given dL/dh_t and what reaches c_t from later.

    (dc + dh * o * (1 - tanh(c_t)^2)) * f

    All of one shape, such as (B, H): dh, dc: gradients of h_t and c_t. f, o: the gates. c_t: the new state.
    """
    # BEGIN SOLUTION
    return (dc + dh * o * (1 - np.tanh(c_t) ** 2)) * f
    # END SOLUTION


# %%
says("0.75", carried_gradient(0.0, 1.0, 0.75, 0.5, 1.8))
dh, dc = np.array([[1.0, -2.0, 0.5]]), np.array([[0.3, 0.0, -1.0]])
before = minillm.Tensor(c, requires_grad=True)
h_t, c_t = formulas.lstm_cell(x[:, 0], h, before, W, U, b)
np.sum(h_t * dh + c_t * dc).backward()
z = x[:, 0] @ W + h @ U + b
by_hand = carried_gradient(dh, dc, sigmoid(z[:, 3:6]), sigmoid(z[:, 9:12]), c_t.data)
assert np.allclose(before.grad, by_hand)
print("by the tape:  ", before.grad, "\nby the formula:", by_hand)

# %% [markdown] lang="en"
# ## Does it matter for learning?
#
# A test of memory alone: 20 tokens out of 6, and at the end the model is asked for the **first**. Guessing
# evenly costs $\log 6$, about 1.79. The same LSTM, the same 400 steps of Adam, three seeds each; only the
# initial forget bias differs. **Predict** which ones learn it.
# %% [markdown] lang="zh"
# ## 对学习有影响吗？
#
# 专考记忆的测验：读 20 个词元，取自 6 种，最后问模型**第一个**是什么。均匀乱猜的代价是 $\log 6$，约 1.79。
# 同样的 LSTM，同样用 Adam 训练 400 步，各跑三个种子，只有遗忘偏置的初始值不同。**先猜一猜**哪几个学得会。
# %%
def recall_first(bias, seed, *, T=20, V=6, H=16, steps=400):
    """The mean loss of the last 20 of `steps` steps on the task."""
    rng = np.random.default_rng(seed)
    embedding = nn.Embedding(V, 8, rng=rng, dtype=np.float64)
    lstm = nn.LSTMLayer(8, H, rng=rng, dtype=np.float64)
    output = nn.Linear(H, V, rng=rng, dtype=np.float64)
    lstm.b.data[H:2 * H] = bias
    optimizer = optim.Adam([p for m in (embedding, lstm, output) for p in m.parameters()], lr=0.02)
    losses = []
    for _ in range(steps):
        ids = rng.integers(0, V, (32, T))
        hs, _ = lstm(embedding(ids))  # (B, T, H)
        loss = minillm.softmax_cross_entropy(output(hs[:, -1]), ids[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.mean(losses[-20:])


recalled = {bias: [recall_first(bias, seed) for seed in range(3)] for bias in (0.0, 1.0, 3.0, 5.0)}
for bias, values in recalled.items():
    print(f"forget bias {bias:g}: loss", *(f"{v:.2f}" for v in values))
says("1.79", np.log(6))
says("400", 400)
says("20", 20)
assert min(recalled[0.0] + recalled[1.0]) > 1.7  # 0 and 1 learn nothing, whatever the seed
assert max(recalled[5.0]) < 1.4  # 5 always learns

# %% [markdown] lang="en"
# With 0 and 1 nothing at all is learned in that time: the gradient of the first token arrives too faint to
# stand out from the noise. With 5 every seed is well on its way or done; with 3 it depends on the seed. So
# much so that another processor, which rounds the last digit differently, prints other numbers in the last
# two lines: leaving such a plateau hangs by a thread, and one lucky run shows nothing. (Section 1.2 of the
# article lists the hardware among the causes of unstable training: here it is.) What holds everywhere:
# 0 and 1 learn nothing, 5 always learns. One number at the start decides whether the network can hear its
# own past.
#
# ## Dense and softmax, once
#
# The dense layer turns the last hidden state into $V$ scores, $y = h W + b$, and softmax turns these into
# probabilities. The listing does the softmax in the layer, and its loss expects probabilities. The language
# model below leaves the softmax to the loss, which expects scores (**logits**). Both are right. What is
# wrong is to mix them: softmax in the model *and* in the loss. It runs, and it even learns. **Predict** the
# loss of a model that is perfect, with probability 1 for the right token, when a second softmax is applied
# ($V = 12$).
# %% [markdown] lang="zh"
# 偏置取 0 和 1 的，这段时间里什么也没学到：第一个词元的梯度传到时已经太微弱，淹没在噪声里。取 5 的，
# 每个种子都学会了，或者学会了大半；取 3 的，要看种子。甚至换一种处理器，最后一位的舍入不同，
# 打印出的后两行就会变：能不能走出这样的平台期，往往只差毫厘，一次走运的训练说明不了什么。
# （文章 1.2 节把硬件环境列为训练不稳定的原因之一，这就是一例。）换到哪台机器都不变的是：取 0 和 1 学不会，
# 取 5 都学得会。开头的一个数，决定了网络听不听得见自己的过去。
#
# ## 全连接与 softmax：只做一次
#
# 全连接层把最后的隐藏状态变成 $V$ 个分数，$y = h W + b$，softmax 再把分数变成概率。
# 文章的代码把 softmax 放在层里，它的损失要的是概率；下面的语言模型把 softmax 留给损失，
# 损失要的是分数（**logits**）。两种都对。错的是混用：模型里做一次，损失里*再*做一次。程序照跑，
# 甚至还在学。**先猜一猜：** 一个完美的模型，给正确词元的概率是 1，再做一次 softmax，
# 损失是多少（$V = 12$）？
# %%
perfect = np.eye(12)[[4]]  # (1, 12): all the probability on token 4, which is right
once = float(tf.keras.losses.CategoricalCrossentropy()(perfect, perfect))
twice = float(tf.keras.losses.CategoricalCrossentropy(from_logits=True)(perfect, perfect))  # wrong here
print(f"loss of a perfect model: {once:.3f}; with a second softmax {twice:.3f}")
says("1.62", twice)
assert once < 1e-6
assert np.isclose(twice, np.log(np.e + 12 - 1) - 1)

# %% [markdown] lang="en"
# It is 1.62 and can never be lower: the second softmax sees scores between 0 and 1, and between such it can
# hardly choose. If your loss sticks at a curious height, compute $\log(e + V - 1) - 1$ and compare.
#
# ## A language model: predict everywhere, and carry the state
#
# `minillm.models.LSTMLanguageModel` is the article's model with one change: it predicts at *every*
# position, not only after the last. A long text is read in windows of a few tokens, one after the other,
# and the state after one window is where the next begins. The gradient is cut between the windows:
# **truncated** backpropagation through time. That makes two duties, and both are easy to forget:
#
# - **carry** the state into the next window;
# - **detach** it: keep its numbers, cut its history.
#
# A rhythm tells the difference: six silent beats, then a hit, over and over, in windows of 5 beats. Whoever
# starts each window without memory cannot know where in the rhythm it is. What is the best that such a
# model can do? After $t + 1$ beats without a hit, $6 - t$ places in the rhythm are possible, and in one of
# them the hit comes next; averaged over all windows that is 0.307 nats, and no training gets below it.
# %% [markdown] lang="zh"
# 是 1.62，而且再也降不下去：第二次 softmax 看到的分数都在 0 与 1 之间，差别太小，选不出来。
# 如果损失停在一个奇怪的高度，就算一下 $\log(e + V - 1) - 1$，对照看看。
#
# ## 语言模型：处处预测，状态接着用
#
# `minillm.models.LSTMLanguageModel` 就是文章的模型，只改了一处：它在*每个*位置都预测，不只在最后。
# 长文本切成一个个小窗口，依次读，上一个窗口结束时的状态就是下一个窗口的起点。梯度则在窗口之间截断：
# 这叫**截断**的随时间反向传播。于是有两件事要做，也都容易忘：
#
# - 把状态**接着用**到下一个窗口；
# - 把状态**分离**（detach）：留下数值，剪断来历。
#
# 用一段节奏就能看出差别：六拍静音，然后敲一下，循环往复，每个窗口 5 拍。谁要是每个窗口都从零开始，
# 就不可能知道自己在节奏的哪一处。这样的模型最好能做到多少？连着 $t + 1$ 拍没敲，还剩 $6 - t$ 种可能的位置，
# 其中一种是下一拍就敲；对所有窗口求平均，是 0.307 奈特（nat），怎么训练都低不过它。
# %%
rhythm = np.zeros(4 * 200 + 1, int)
rhythm[6::7] = 1


def tape_length(t):
    """How many tensors hang behind this one."""
    seen, waiting = set(), [t]
    while waiting:
        at = waiting.pop()
        if isinstance(at, minillm.Tensor) and id(at) not in seen:
            seen.add(id(at))
            waiting += at.args
    return len(seen)


def learn_rhythm(*, carry=True, cut=True, steps=800, seed=0):
    """Train on windows of 5 beats: (losses, lengths of the tape)."""
    config = models.LSTMConfig(vocab_size=2, embedding_dim=4, hidden_dim=16)
    model = models.LSTMLanguageModel(config, rng=np.random.default_rng(seed), dtype=np.float64)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    windows = text.BPTTBatches(rhythm, batch_size=4, seq_len=5)
    state, losses, lengths = None, [], []
    for _ in range(steps):
        if windows.at_epoch_start or not carry:
            state = None
        x, y = windows.next_window()
        logits, state = model(x, state)
        loss = minillm.softmax_cross_entropy(logits, y)
        lengths.append(tape_length(loss))
        if cut:
            state = detach(state)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), lengths


def entropy_of_one_in(n):
    """Nats of uncertainty where one of n equally likely cases is the hit."""
    p = np.array([1 / n, 1 - 1 / n])
    return -np.sum(p * np.log(p))


floor = np.mean([(6 - t) / 7 * entropy_of_one_in(6 - t) for t in range(5)])
right, tape = learn_rhythm()
forgetful, _ = learn_rhythm(carry=False)
_, growing = learn_rhythm(cut=False, steps=30)
print(f"state carried: {right[-50:].mean():.3f}; not carried: {forgetful[-50:].mean():.3f}; "
      f"the floor without memory: {floor:.3f}")
print("tensors on the tape, window by window, with detach:", tape[:5])
print("and without:", growing[:5], "... after 30 windows", growing[-1])
says("0.307", floor)
says("0.31", forgetful[-50:].mean())
assert right[-50:].mean() < 0.05
assert len(set(tape)) == 1
assert np.ptp(np.diff(growing)) == 0

fig, ax = plt.subplots(figsize=(6, 3.4))
kernel = np.ones(40) / 40  # an epoch has 40 windows
ax.plot(np.convolve(right, kernel, "valid"), color=BLUE, label="state carried")
ax.plot(np.convolve(forgetful, kernel, "valid"), "--", color=ORANGE, label="state forgotten")
ax.axhline(floor, color=GREY, linestyle=":", label="best without memory")
ax.set_xlabel("step")
ax.set_ylabel("loss (nats per beat), mean of an epoch")
ax.yaxis.label.set_size(8)
ax.set_ylim(0)
ax.legend()
fig.tight_layout()
picture(fig, name="carry",
        alt_en="Loss on the rhythm over 800 steps. With the state carried it falls nearly to zero. With the "
               "state forgotten at each window it falls to a dotted line at 0.307, the best that is possible "
               "without memory, and stays there.",
        alt_zh="800 步训练中节奏任务的损失。状态接着用，损失几乎降到零。每个窗口都丢掉状态，"
               "损失降到 0.307 处的虚线就停住了，那是没有记忆时能达到的最好水平。")

# %% [markdown] lang="en"
# Without carrying, the loss stops at 0.31, right at the floor: the loop has no error, and the model is
# blind to anything before its window.
#
# Without detaching, the numbers look fine, and the tape grows by the same amount with every window: each
# `backward` walks all the way to the beginning of the text, slower and slower, until memory ends. (PyTorch
# stops at the second window with "Trying to backward through the graph a second time", because it frees the
# graph on the way; be grateful for that error.) The right line is one: `state = detach(state)`.
#
# ## A few seconds of Python's help text
#
# Now the real thing, small: characters of Python's own help text, 400 steps. (What is printed depends a
# little on your version of Python.)
# %% [markdown] lang="zh"
# 状态不接着用，损失停在 0.31，正好是那条底线：循环没有报错，模型却对窗口之前的一切视而不见。
#
# 不分离，数值看上去没问题，但每过一个窗口，计算图就长一截，每次都一样长：
# 每次 `backward` 都要一路走回文本开头，越走越慢，直到内存用完。（PyTorch 在第二个窗口就会停下，
# 报 "Trying to backward through the graph a second time"，因为它边走边释放计算图；
# 这个报错值得感谢。）正确的写法只有一行：`state = detach(state)`。
#
# ## 几秒钟的 Python 帮助文本
#
# 现在来真的，只是规模小：Python 自带帮助文本的字符，训练 400 步。
# （打印出来的内容会随 Python 版本略有不同。）
# %%
split = text.split(text.load_default())
tokenizer = text.CharTokenizer.train(split.train)
config = models.LSTMConfig(tokenizer.vocab_size, embedding_dim=32, hidden_dim=96)
language_model = models.LSTMLanguageModel(config, rng=np.random.default_rng(0))
optimizer = optim.Adam(language_model.parameters(), lr=0.01)
windows = text.BPTTBatches(tokenizer.encode(split.train), batch_size=32, seq_len=32)


def sample(prompt, n=120):
    """What the model writes after a prompt."""
    ids = generate(language_model, tokenizer.encode(prompt), n, rng=0, temperature=0.7,
                   forbidden=[tokenizer.unk_id])
    return prompt + tokenizer.decode(np.array(list(ids)))


print("before:", repr(sample("The ", 40)))
state, losses = None, []
for _ in range(400):
    if windows.at_epoch_start:
        state = None
    x, y = windows.next_window()
    logits, state = language_model(x, state)
    loss = minillm.softmax_cross_entropy(logits, y)
    state = detach(state)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
language_model.eval()
print(f"loss: {losses[0]:.2f} at first, {np.mean(losses[-10:]):.2f} at the end")
print("after:", sample("The "), sep="\n")
assert len(losses) == 400
assert np.mean(losses[-10:]) < losses[0] - 1.5

# %% [markdown] lang="en"
# Words of the right length, some of them real, spaces where they belong: in a few seconds it has learned
# what is frequent and near. What is far (brackets, sentences that mean something) takes longer, and larger
# models: `minillm train` does the same with more patience, and saves what it learns.
#
# ## What to keep
#
# - An embedding is a one-hot product done by lookup; its gradient *adds up* repeated tokens: `np.add.at`.
# - A plain recurrent network multiplies by $U$ and a slope at every step: gradients vanish or explode.
# - The LSTM's cell state is kept by $f$ and added to by $i \odot g$; along it the gradient is multiplied by
#   $f$ and by nothing else.
# - 50 steps keep $\sigma(b)^{50}$: start the forget gate open.
# - One softmax, in the model or in the loss.
# - In windows: carry the state, detach it, reset it where the text begins anew.
#
# **Go on:** what if all gates are always open, $f = i = 1$? Then $c_t$ is a plain sum and nothing vanishes.
# Which sentence would such a model never understand?
# %% [markdown] lang="zh"
# 词的长短对了，有些是真词，空格也在该在的地方：几秒钟里，它学到了常见的、近处的东西。
# 远处的东西（括号的配对、有意义的句子）需要更久，也需要更大的模型：`minillm train` 做的是同一件事，
# 只是更有耐心，还会把学到的存下来。
#
# ## 记住这些
#
# - 嵌入是用查表完成的 one-hot 乘法；它的梯度要把重复的词元*加起来*：`np.add.at`。
# - 普通循环网络每一步都乘 $U$ 和一个斜率：梯度不是消失就是爆炸。
# - LSTM 的细胞状态由 $f$ 留住，由 $i \odot g$ 添加；梯度沿着它往回走，只乘 $f$，别的都不乘。
# - 50 步留下 $\sigma(b)^{50}$：一开始就让遗忘门开着。
# - softmax 只做一次，要么在模型里，要么在损失里。
# - 分窗口训练：状态要接着用，要分离，文本重新开始时要清零。
#
# **继续想：** 如果所有的门一直开着，$f = i = 1$，会怎样？那么 $c_t$ 就是单纯的求和，什么都不会消失。
# 哪种句子是这样的模型永远读不懂的？
