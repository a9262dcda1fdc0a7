# ---
# title: Adam: a step size of its own for every parameter
# title_zh: Adam：每个参数都有自己的步长
# minutes: 40
# needs: [03_gradient_descent]
# ---
# %% [markdown] lang="en"
# Lesson 3 ended with a complaint: one learning rate serves all parameters, the steepest direction sets its
# limit, and for the character model a good value was $30$, for a line $0.1$. The article's program (section
# 5.1) writes `Adam(learning_rate=0.001)`, and so do thousands of others, for models that have nothing in
# common. **How can one number fit all of them, and when does it not?**
#
# The answer is in the five lines of article section 4.3:
#
# $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$$
#
# $$v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2$$
#
# $$\hat{m}_t = \frac{m_t}{1 - \beta_1^t}$$
#
# $$\hat{v}_t = \frac{v_t}{1 - \beta_2^t}$$
#
# $$\theta_{t+1} = \theta_t - \frac{\alpha}{\sqrt{\hat{v}_t} + \epsilon} \hat{m}_t$$
#
# $g_t$ is the gradient at step $t$, counted from 1. $m_t$ and $v_t$ are estimates of its first and second
# moment (its mean, and the mean of its square), both 0 before the first step. Everything is done for each
# parameter by itself. The usual constants are $\beta_1 = 0.9$, $\beta_2 = 0.999$, $\epsilon = 10^{-8}$
# (Kingma and Ba, 2015).
# %% [markdown] lang="zh"
# 第 3 课的结尾留下一个不满：所有参数共用一个学习率，上限由最陡的方向决定；字符模型合适的值是 $30$，
# 拟合直线却是 $0.1$。而文章的程序（5.1 节）写的是 `Adam(learning_rate=0.001)`，
# 成千上万毫不相干的模型也都这样写。**同一个数怎么能适合所有模型？什么时候又不适合？**
#
# 答案就在文章 4.3 节的五行公式里：
#
# $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$$
#
# $$v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2$$
#
# $$\hat{m}_t = \frac{m_t}{1 - \beta_1^t}$$
#
# $$\hat{v}_t = \frac{v_t}{1 - \beta_2^t}$$
#
# $$\theta_{t+1} = \theta_t - \frac{\alpha}{\sqrt{\hat{v}_t} + \epsilon} \hat{m}_t$$
#
# 其中 $g_t$ 是第 $t$ 次迭代时的梯度，$t$ 从 1 数起。$m_t$ 和 $v_t$ 分别是梯度的一阶矩和二阶矩的估计值（也就是
# 梯度的均值、梯度平方的均值），第一步之前都是 0。每个参数各算各的。常用的取值是 $\beta_1 = 0.9$、
# $\beta_2 = 0.999$、$\epsilon = 10^{-8}$（Kingma and Ba, 2015）。
# %%
import matplotlib.pyplot as plt
import numpy as np

import minillm
from minillm import Tensor, formulas, optim
from minillm.course import picture, says, step
from minillm.stepper import trace

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"

# %% [markdown] lang="en"
# ## The first step by hand, line by line
#
# One parameter $\theta_1 = 1$, its gradient $g_1 = 0.5$, and $\alpha = 0.1$ so that the numbers are easy to
# see. Take a pencil: five lines, five numbers. **Predict** also: what would the last number be if the
# gradient were $500$?
# %% [markdown] lang="zh"
# ## 手算第一步，一行一行来
#
# 一个参数 $\theta_1 = 1$，它的梯度 $g_1 = 0.5$；取 $\alpha = 0.1$，让数字容易看清。请拿起笔：五行公式，
# 五个数。还要**先猜一猜**：如果梯度是 $500$，最后一个数会是多少？
# %%
first_steps = []
for g in (0.5, 500.0):
    m = 0.9 * 0 + (1 - 0.9) * g
    v = 0.999 * 0 + (1 - 0.999) * g**2
    m_hat = m / (1 - 0.9**1)
    v_hat = v / (1 - 0.999**1)
    theta = 1 - 0.1 / (np.sqrt(v_hat) + 1e-8) * m_hat
    print(f"g {g:5}:   m {m:.4g}   v {v:.4g}   m_hat {m_hat:.4g}   v_hat {v_hat:.4g}   theta {theta:.4f}")
    first_steps.append(theta)

says("0.9", first_steps[0])
says("0.9", first_steps[1])
says("0.001", optim.Adam([Tensor(1.0, requires_grad=True)]).groups[0].options["lr"])  # if nobody gives one
m_1, v_1 = 0.1 * 0.5, 0.001 * 0.5**2
says("0.05", m_1)
says("0.00025", v_1)

# %% [markdown] lang="en"
# For $g = 0.5$: $m$ is 0.05, $v$ is 0.00025; after the correction $\hat m$ is the gradient itself and
# $\hat v$ its square; and $\theta$ goes from 1 to 0.9, which is a step of exactly $\alpha$.
#
# With a gradient that is a thousand times as large the result is 0.9 again. In the first step
# $\hat m/\sqrt{\hat v} = g/|g|$, so only the *sign* of the gradient is left. Hold on to this: it is the
# reason why $0.001$ can fit so many models.
#
# Now the second step, with a gradient of the other sign, $g_2 = -0.25$. **Predict**: does $\theta$ turn
# round?
# %% [markdown] lang="zh"
# $g = 0.5$ 时：$m$ 是 0.05，$v$ 是 0.00025；修正之后，$\hat m$ 就是梯度本身，$\hat v$ 就是它的平方；
# $\theta$ 从 1 走到 0.9，这一步正好是 $\alpha$。
#
# 梯度大一千倍，结果还是 0.9。第一步里 $\hat m/\sqrt{\hat v} = g/|g|$，只剩下梯度的**符号**。请记住这一点：
# $0.001$ 能适合这么多模型，原因就在这里。
#
# 再走第二步，这次梯度变了号，$g_2 = -0.25$。**先猜一猜**：$\theta$ 会掉头吗？
# %%
g_2 = -0.25
m_2 = 0.9 * m_1 + 0.1 * g_2
v_2 = 0.999 * v_1 + 0.001 * g_2**2
m_hat, v_hat = m_2 / (1 - 0.9**2), v_2 / (1 - 0.999**2)
theta_3 = 0.9 - 0.1 / (np.sqrt(v_hat) + 1e-8) * m_hat
print(f"m {m_2:.4f}   m_hat {m_hat:.4f}   sqrt(v_hat) {np.sqrt(v_hat):.4f}   new theta {theta_3:.4f}")
says("-0.25", g_2)
says("0.105", m_hat)
says("0.395", np.sqrt(v_hat))
says("0.873", theta_3)
says("0.27", m_hat / np.sqrt(v_hat))

# %% [markdown] lang="en"
# It does not: it goes on to 0.873, but with a much shorter step. The average $\hat m$ of the two gradients is
# 0.105, still positive, while their typical size $\sqrt{\hat v}$ is 0.395; the quotient, 0.27, says how far
# they agree. **Gradients that agree make a step of $\alpha$; gradients that contradict each other make a
# short one.**
#
# ## Why lines 3 and 4 are there
#
# $m_t$ is a moving average that begins at 0, and that 0 is not a gradient: nobody measured it. Write out what
# $m_t$ is:
#
# $$m_t = (1 - \beta)\left(g_t + \beta g_{t-1} + \dots + \beta^{t-1} g_1\right)$$
#
# The weights add up to $1 - \beta^t$, not to 1; the missing $\beta^t$ lies on the 0 at the beginning.
# Dividing by $1 - \beta^t$ makes it an average again. That is the **bias correction**. Write it for a whole
# sequence of gradients.
# %% [markdown] lang="zh"
# 没有掉头：它走到了 0.873，只是这一步短得多。两个梯度的平均 $\hat m$ 是 0.105，仍然为正；
# 它们的典型大小 $\sqrt{\hat v}$ 是 0.395；两者之比 0.27 表示它们有多一致。**梯度彼此一致，
# 一步就有 $\alpha$ 那么长；梯度互相矛盾，步子就短。**
#
# ## 为什么要有第三行和第四行
#
# $m_t$ 是从 0 开始的滑动平均，而这个 0 不是梯度，谁也没有测到过它。把 $m_t$ 展开：
#
# $$m_t = (1 - \beta)\left(g_t + \beta g_{t-1} + \dots + \beta^{t-1} g_1\right)$$
#
# 权重之和是 $1 - \beta^t$，不是 1；缺的那份 $\beta^t$ 压在开头的 0 上。除以 $1 - \beta^t$，
# 它才又是一个平均值。这就是**偏差修正**。请对一整串梯度写出来。
# %% exercise="corrected_averages"
def corrected_averages(gs, beta):
    """The moving average of gradients after each step, corrected for its start at 0.

    m_0 = 0,   m_t = beta m_{t-1} + (1 - beta) g_t,   m_hat_t = m_t / (1 - beta^t)

    gs: (T,) or (T, ...), the gradients g_1, ..., g_T, one a row.
    beta: in [0, 1).
    Returns m_hat_1, ..., m_hat_T in the shape of gs.
    """
    # BEGIN SOLUTION
    m_hats = []
    m = np.zeros_like(gs[0])
    for t, g in enumerate(gs, start=1):
        m = beta * m + (1 - beta) * g
        m_hats.append(m / (1 - beta**t))
    return np.array(m_hats)
    # END SOLUTION


# %%
same = np.full(5, 2.0)
print("gradients      ", same)
print("without        ", np.round([2 * (1 - 0.9**t) for t in range(1, 6)], 3))
print("with correction", corrected_averages(same, 0.9).round(3))
says("0.2", 2 * (1 - 0.9))
says("2.0", corrected_averages(same, 0.9)[0])
says("2.0", corrected_averages(same, 0.9)[-1])

# %% [markdown] lang="en"
# Five gradients of 2: without the correction the average says 0.2 at first, with it 2.0 from the first step
# on.
#
# ## All five lines
#
# Now write the whole step. It must keep $m_t$ and $v_t$, *not* the corrected ones, for the next step.
# %% [markdown] lang="zh"
# 五个梯度都是 2：不修正，平均值一开始是 0.2；修正之后，从第一步起就是 2.0。
#
# ## 五行合在一起
#
# 现在请写出完整的一步。留给下一步的是 $m_t$ 和 $v_t$，**不是**修正之后的值。
# %% exercise="adam_step"
def adam_step(theta, g, m, v, t, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """One step of Adam (article section 4.3).

    m_t = beta1 m_{t-1} + (1 - beta1) g_t
    v_t = beta2 v_{t-1} + (1 - beta2) g_t^2
    m_hat = m_t / (1 - beta1^t)
    v_hat = v_t / (1 - beta2^t)
    theta_{t+1} = theta_t - alpha / (sqrt(v_hat) + eps) m_hat

    theta, g, m, v: arrays of one shape (they must stay as they are); m and v are 0 before step 1.
    t: the step, counted from 1.
    Returns (theta, m, v), all new. Use np.sqrt.
    """
    # BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat
    return theta, m, v
    # END SOLUTION


# %% [markdown] lang="en"
# Step through your own function, with two parameters whose gradients are $0.5$ and $500$. Forwards you meet
# the five lines. Backwards the stepper shows how the new $\theta$ depends on everything. **Predict**
# $\partial\theta/\partial g$ at step 1: the gradient changes a little; how much does the new $\theta$ change?
# %% [markdown] lang="zh"
# 一步步走一遍你自己写的函数，两个参数的梯度分别是 $0.5$ 和 $500$。向前走，你会依次遇到那五行。反向走，
# 演示器显示新的 $\theta$ 怎样依赖各个量。**先猜一猜**第 1 步的 $\partial\theta/\partial g$：梯度变一点点，
# 新的 $\theta$ 会变多少？
# %%
first = trace(adam_step, np.array([1.0, 1.0]), np.array([0.5, 500.0]), np.zeros(2), np.zeros(2), 1, 0.1)
step(first, en="Adam's first step for two parameters; backwards: what the new theta depends on",
     zh="Adam 的第一步，两个参数；反向：新的 theta 依赖什么")
print("new theta   ", first.values[first.outputs[0]].data)
print("d theta/d g ", first.gradient("g"))
says("0", round(float(np.abs(first.gradient("g")).max()), 6))

# %% [markdown] lang="en"
# It is 0 (up to $\epsilon$ and rounding). Find the two places in the backward steps: $g$ receives minus 0.2
# by way of $m$ and plus 0.2 by way of $v$, and they cancel. A larger gradient pushes harder and is divided by
# more.
#
# In the terminal, `minillm step adam` walks through the package's own version with random numbers.
#
# ## Without the correction
#
# Many people expect that without lines 3 and 4 Adam starts *slowly*, since $m$ starts near 0. **Predict** the
# first step in units of $\alpha$ if both corrections are left out; if only that of $v$ is left out.
# %% [markdown] lang="zh"
# 是 0（不计 $\epsilon$ 和舍入误差）。请在反向的步骤里找到那两处：$g$ 经由 $m$ 得到负的 0.2，
# 经由 $v$ 得到正的 0.2，正好抵消。梯度越大，推得越用力，除数也越大。
#
# 在终端里，`minillm step adam` 会用随机数一步步走完软件包自带的版本。
#
# ## 不做修正会怎样
#
# 很多人以为，去掉第三行和第四行，Adam 起步会比较**慢**，因为 $m$ 从 0 附近开始。**先猜一猜**：两个修正都去掉，
# 第一步是 $\alpha$ 的几倍？只去掉 $v$ 的修正呢？
# %%
says("0.2", 0.1 / 0.5)


def steps_without(correct_m, correct_v, T=6000):
    """Lengths of Adam's steps, in units of alpha, for a gradient that is always 1."""
    t = np.arange(1, T + 1)
    m, v = 1 - 0.9**t, 1 - 0.999**t        # what lines 1 and 2 give for g = 1
    return (m / (1 - 0.9**t if correct_m else 1)) / (np.sqrt(v / (1 - 0.999**t if correct_v else 1)) + 1e-8)


neither = steps_without(False, False)
only_m = steps_without(True, False)
only_v = steps_without(False, True)
both = steps_without(True, True)
for name, lengths in (("neither", neither), ("only m", only_m), ("only v", only_v), ("both", both)):
    print(f"corrected: {name:8}", "  ".join(f"t={t}: {lengths[t - 1]:6.3f}" for t in (1, 2, 12, 100, 1000)))
says("3.16", neither[0])
says("3.16 倍", neither[0])
says("6.57", neither.max())
says("12", int(neither.argmax()) + 1)
says("1.26", neither[999])
says("31.6", only_m[0])
says("0.1", only_v[0])
says("1.0", both[0])
says("1.0", both[-1])

fig, ax = plt.subplots(figsize=(7, 3.4))
t = np.arange(1, 6001)
ax.loglog(t, only_m, "-.", color=RED, label="only m corrected")
ax.loglog(t, neither, "-", color=ORANGE, label="neither corrected")
ax.loglog(t, both, "-", color=BLUE, linewidth=2, label="both (Adam)")
ax.loglog(t, only_v, ":", color=GREEN, label="only v corrected")
ax.set_xlabel("step t")
ax.set_ylabel(r"length of the step, in units of $\alpha$")
ax.legend()
fig.tight_layout()
picture(fig, name="bias_correction",
        alt_en="Length of Adam's step against the step's number, both axes logarithmic, for a constant "
               "gradient. With both corrections it is always alpha. With neither it begins at 3 alpha, rises "
               "above 6 alpha near step 12 and comes down only after thousands of steps. With only m "
               "corrected it begins above 30 alpha; with only v corrected at a tenth.",
        alt_zh="梯度不变时，Adam 每一步的长度（两轴都是对数刻度）。两个修正都有：始终等于 alpha。都没有："
               "从约 3 倍开始，在第 12 步附近超过 6 倍，几千步之后才降下来。只修正 m：从 30 多倍开始；只修正 "
               "v：从十分之一开始。")

# %% [markdown] lang="en"
# The first step is 3.16 times too *long*, not too short: $m$ is 10 times too small, but $\sqrt v$ is 31.6
# times too small, and it stands below. It gets worse, up to 6.57 at step 12, and after $1000$ steps it is
# still 1.26. With only $v$'s correction forgotten the first step is 31.6 times too long; with only $m$'s
# forgotten, 0.1. With both it is 1.0 from first to last. The correction is not cosmetics: it protects the
# start of training, where a model is most easily spoilt.
#
# ## The scale of the loss does not matter
#
# Multiply a loss by $1000$ and every gradient is $1000$ times as large. (Nobody does that on purpose. But a
# sum in place of a mean over the batch does it, and another unit of measurement, and another layer of the
# model.) Take the character model of lesson 3. **Predict** what happens to SGD and to Adam.
# %% [markdown] lang="zh"
# 第一步不是太短，而是**太长**，是该有的 3.16 倍：$m$ 只有该有的十分之一，$\sqrt v$ 却只有 31.6 分之一，
# 而它在分母上。之后还会更糟，第 12 步达到 6.57，过了 $1000$ 步还有 1.26。只漏掉 $v$ 的修正，第一步是 31.6；
# 只漏掉 $m$ 的修正，是 0.1。两个都做，从头到尾都是 1.0。修正不是装饰：它保护的是训练的开头，
# 而模型最容易在开头被毁掉。
#
# ## 损失的尺度无关紧要
#
# 把损失乘以 $1000$，所有梯度都变为原来的 $1000$ 倍。（没有人故意这么做，可是把“对批取平均”写成“求和”、
# 换一个计量单位、换到模型的另一层，都会有这样的效果。）拿第 3 课的字符模型来试。**先猜一猜**：
# SGD 和 Adam 各会怎样？
# %%
TEXT = ("the walker stands on the side of a long valley in the fog and she cannot see the lake below but she "
        "can feel the slope under her feet so she takes a step down and then she feels the slope again when "
        "the step is small the way is long when the step is large she lands on the other side and when it is "
        "larger still she climbs out of the valley with every step that she takes")
characters = sorted(set(TEXT))
ids = np.array([characters.index(c) for c in TEXT])
x, y = ids[:-1], ids[1:]           # (N,): each character and the one that follows it
V = len(characters)


def train(optimizer, scale=1.0, steps=200):
    """Losses (without the scale) of the character model, and its parameters in the end."""
    W = Tensor(np.zeros((V, V)), requires_grad=True)
    opt = optimizer([W])
    losses = []
    for _ in range(steps):
        loss = minillm.softmax_cross_entropy(W[x], y)
        opt.zero_grad()
        (scale * loss).backward()
        opt.step()
        losses.append(loss.item())
    return np.array(losses), W.data


last = {}
for scale in (0.001, 1.0, 1000.0):
    last["SGD", scale] = train(lambda params: optim.SGD(params, lr=30.0), scale)[0][-1]
    last["Adam", scale] = train(lambda params: optim.Adam(params, lr=0.1), scale)[0][-1]
    print(f"loss times {scale:6}: after 200 steps "
          f"SGD {last['SGD', scale]:10.3f}   Adam {last['Adam', scale]:.3f}")
says("200", 200)
says("3.03", last["SGD", 0.001])
says("1.60", last["SGD", 1.0])
assert last["SGD", 1000.0] > 100
says("1.587", last["Adam", 0.001])
says("1.587", last["Adam", 1.0])
says("1.587", last["Adam", 1000.0])

# %% [markdown] lang="en"
# SGD with a rate that was good for the loss itself reaches 1.60, hardly moves when the loss is a thousandth
# (3.03), and is thrown about at losses of hundreds and thousands when it is times $1000$. Adam reaches 1.587
# in all three. In $\hat m/\sqrt{\hat v}$ the scale stands above and below and cancels; what is left says how
# far the gradients agree, a number between $-1$ and $1$ as a rule. **So Adam's $\alpha$ is the length of a
# step in units of the parameter**, and $0.001$ means "move each weight by about a thousandth a step". The
# weights of most models are of broadly similar size; that is most of the secret of `learning_rate=0.001`.
#
# Your function, the formula and the package must agree. `formulas.adam_step` and `optim.Adam` do to the last
# bit:
# %% [markdown] lang="zh"
# SGD 用的学习率本来合适，能到 1.60；损失缩小到千分之一，它几乎不动（3.03）；损失放大到 $1000$ 倍，
# 它就在成百上千的损失之间乱跳。Adam 三次都到 1.587。$\hat m/\sqrt{\hat v}$ 的分子和分母里都有这个尺度，
# 约掉了；剩下的只表示梯度有多一致，一般在 $-1$ 到 $1$ 之间。**所以，
# Adam 的 $\alpha$ 就是以参数为单位的步长**，$0.001$ 的意思是“每一步把每个权重挪动千分之一左右”。
# 大多数模型的权重大小相差不多，`learning_rate=0.001` 的秘密主要就在这里。
#
# 你写的函数、公式和软件包三者必须一致。`formulas.adam_step` 和 `optim.Adam` 每一位都相同：
# %%
W = Tensor(np.zeros((V, V)), requires_grad=True)
adam = optim.Adam([W], lr=0.1)
theta = yours = np.zeros((V, V))
m = v = my_m = my_v = np.zeros((V, V))
for t in range(1, 51):
    adam.zero_grad()
    minillm.softmax_cross_entropy(W[x], y).backward()
    g = W.grad.copy()
    theta, m, v = formulas.adam_step(theta, g, m, v, t, alpha=0.1)
    yours, my_m, my_v = adam_step(yours, g, my_m, my_v, t, alpha=0.1)
    adam.step()
    assert np.array_equal(W.data, theta)
    assert np.allclose(W.data, yours, rtol=1e-9, atol=1e-12)
state = adam.state_dict()["buffers"]
assert np.array_equal(state["0.exp_avg"].reshape(V, V), m)
assert np.array_equal(state["0.exp_avg_sq"].reshape(V, V), v)
print("50 steps: optim.Adam equals formulas.adam_step bit for bit, and yours agrees; its state:",
      {name: array.shape for name, array in state.items()})

# %% [markdown] lang="en"
# ## Is a step never longer than $\alpha$?
#
# Not quite. Take a parameter that almost never gets a gradient, such as the embedding of a rare word:
# thousands of zeros, then one gradient. **Predict** the length of that step, in units of $\alpha$, from lines
# 1 and 2 alone.
# %% [markdown] lang="zh"
# ## 一步永远不会超过 $\alpha$ 吗？
#
# 不一定。考虑一个几乎收不到梯度的参数，比如一个罕见词的嵌入：连续几千个 0，然后来了一个梯度。
# **先猜一猜**：只根据前两行公式，这一步是 $\alpha$ 的几倍？
# %%
theta, m, v = np.array([0.0]), np.zeros(1), np.zeros(1)
rare = []
for t in range(1, 10_051):
    g = np.array([0.0 if t < 10_000 else 1.0])
    before = theta
    theta, m, v = adam_step(theta, g, m, v, t, alpha=1.0)
    if t >= 10_000:
        rare.append((before - theta).item())
print("after 9,999 zeros, steps for gradients of 1:", np.round(rare[:4], 3),
      "... the longest", round(max(rare), 3))
print("0.1 / sqrt(0.001) =", round(0.1 / np.sqrt(0.001), 3))
most = np.sqrt(0.1**2 / 0.001 / (1 - 0.9**2 / 0.999))
print("no sequence of gradients can do more than", round(most, 3))
says("9,999", 10_000 - 1)
says("3.16", rare[0])
says("3.16 倍", rare[0])
says("6.57", max(rare))
says("7.27", most)
says("12", int(np.argmax(rare)) + 1)

# %% [markdown] lang="en"
# After 9,999 zeros: $m = 0.1\,g$ and $\sqrt v = \sqrt{0.001}\,g$, so the step is 3.16 $\alpha$. The paper
# gives this number, $(1 - \beta_1)/\sqrt{1 - \beta_2}$, as the most that a step can be (Kingma and Ba, 2015,
# section 2.1). But let more gradients of the same sign follow, and at the 12th the step is 6.57 $\alpha$: $m$
# has a short memory and believes them at once, $v$ has a long one full of zeros. You have met that number
# above, and for the same reason. (With the Cauchy-Schwarz inequality one finds the true limit after many
# steps, $(1 - \beta_1)/\sqrt{(1 - \beta_2)(1 - \beta_1^2/\beta_2)}$, which is 7.27.)
# %% [markdown] lang="zh"
# 连续 9,999 个 0 之后：$m = 0.1\,g$，$\sqrt v = \sqrt{0.001}\,g$，所以这一步是 $\alpha$ 的 3.16 倍。
# 论文把这个数 $(1 - \beta_1)/\sqrt{1 - \beta_2}$ 说成一步的最大值（Kingma and Ba, 2015, 2.1 节）。
# 可是如果后面接着来同号的梯度，到第 12 个时，这一步是 6.57 个 $\alpha$：$m$ 的记性短，马上就信了；
# $v$ 的记性长，里面全是 0。这个数前面见过，原因也相同。（用柯西不等式可以求出走了许多步之后真正的上限
# $(1 - \beta_1)/\sqrt{(1 - \beta_2)(1 - \beta_1^2/\beta_2)}$，即 7.27。）
# %% [markdown] lang="en"
# ## Where $\epsilon$ stands
#
# $\epsilon$ prevents a division by 0 where a gradient was always 0. But it also sets a floor: gradients that
# are not much larger than $\epsilon$ count as small again. And so its *place* matters. A wrong version that
# people write has it inside the root, $\sqrt{\hat v + \epsilon}$. **Predict** for which gradients that makes
# a difference.
# %% [markdown] lang="zh"
# ## $\epsilon$ 放在哪里
#
# 如果梯度一直是 0，$\epsilon$ 可以避免除以 0。但它同时也划了一条底线：不比 $\epsilon$ 大多少的梯度，
# 又会被当作小梯度。所以它的**位置**很要紧。常有人错把它写进根号里，$\sqrt{\hat v + \epsilon}$。**先猜一猜**：
# 对什么样的梯度，这样写会有差别？
# %%
print("first step in units of alpha:")
outside, inside = {}, {}
for size in (1.0, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10):
    outside[size], inside[size] = size / (size + 1e-8), size / np.sqrt(size**2 + 1e-8)
    print(f"   gradient {size:7.0e}:   outside {outside[size]:.4f}   inside {inside[size]:.4f}")
says("0.999", outside[1e-5])
says("0.0995", inside[1e-5])
says("0.5", outside[1e-8])
says("0.01", outside[1e-10])

half = np.float16
with np.errstate(all="ignore"):
    lost = half(0) / (np.sqrt(half(0)) + half(1e-8))
print("in float16, eps = 1e-8 is", half(1e-8), "and the step for a gradient of 0 is", lost)
says("0", half(1e-8))
assert np.isnan(lost)

# %% [markdown] lang="en"
# For gradients of `1e-5`, which are common in large models, the article's form takes a step of 0.999
# $\alpha$, the wrong one 0.0995 $\alpha$: inside the root, `1e-8` acts like `1e-4` outside. With the
# article's form a gradient of `1e-8` gets 0.5 $\alpha$ and one of `1e-10` only 0.01 $\alpha$.
#
# One more edge: in float16, `1e-8` is rounded to 0. Then a parameter whose gradient is 0 computes $0/0$, and
# `nan` is back. Optimisers therefore keep their numbers in float32. (Keras, which the article's program uses,
# has its $\epsilon$ of `1e-7` beside the root of the *uncorrected* $v$; `minillm.keras` follows it.)
#
# ## A mistake that looks harmless
#
# Here somebody makes the optimiser inside the loop. The program runs without any message. **Predict** what it
# does in the valley $L(\theta) = (\theta - 3)^2$.
# %% [markdown] lang="zh"
# 梯度为 `1e-5` 时（大模型里很常见），文章的写法走 0.999 个 $\alpha$，错误的写法只走 0.0995 个：
# 根号里的 `1e-8`，相当于根号外的 `1e-4`。用文章的写法，梯度为 `1e-8` 时走 0.5 个 $\alpha$，
# `1e-10` 时只走 0.01 个。
#
# 还有一种边界情况：在 float16 里，`1e-8` 会舍入成 0。梯度为 0 的参数就要算 $0/0$，`nan` 又回来了。
# 所以优化器内部都用 float32。（文章的程序用的是 Keras，它的 $\epsilon$ 是 `1e-7`，
# 加在**未修正**的 $v$ 的根旁边；`minillm.keras` 与它一致。）
#
# ## 一个看上去无害的错误
#
# 有人把优化器建在了循环里面。程序照常运行，没有任何提示。**先猜一猜**：
# 在山谷 $L(\theta) = (\theta - 3)^2$ 里会发生什么？
# %%
def descend(fresh_each_time, steps=300):
    theta = Tensor(np.array([0.0]), requires_grad=True)
    adam = optim.Adam([theta], lr=0.07)
    places = []
    for _ in range(steps):
        if fresh_each_time:
            adam = optim.Adam([theta], lr=0.07)   # the mistake: m, v and t begin anew
        adam.zero_grad()
        np.sum((theta - 3) ** 2).backward()
        adam.step()
        places.append(theta.item())
    return np.array(places)


forgetful, remembering = descend(True), descend(False)
print("made anew in each step:", forgetful[-4:].round(4))
print("made once:             ", remembering[-4:].round(4))
says("0.07", np.ptp(forgetful[-10:]))
says("3.00", remembering[-1])

# %% [markdown] lang="en"
# It hops to and fro by 0.07, which is $\alpha$, for ever: every step is a first step, of which only the sign
# of the gradient is left. Made once, it settles at 3.00. A checkpoint that is loaded without the optimiser's
# state takes one such step at each restart.
#
# ## The valley of lesson 3
#
# $L(\theta) = \frac12(\theta_1^2 + c\,\theta_2^2)$ from $(-10, 1)$. With $c = 25$ plain descent at its best
# rate needed 87 steps to come to a thousandth of the distance. Make the valley a hundred times steeper,
# $c = 2500$. **Predict**: what does that do to plain descent, and what to Adam?
# %% [markdown] lang="zh"
# 它永远以 0.07（也就是 $\alpha$）的幅度来回跳：每一步都是第一步，梯度只剩下符号。只建一次，它就停在 3.00。
# 恢复检查点时没有恢复优化器的状态，每次重新开始也会走这样一步。
#
# ## 回到第 3 课的山谷
#
# $L(\theta) = \frac12(\theta_1^2 + c\,\theta_2^2)$，从 $(-10, 1)$ 出发。$c = 25$ 时，
# 普通梯度下降用最好的学习率要 87 步才把距离缩短到千分之一。现在让山谷再陡一百倍，$c = 2500$。**先猜一猜**：
# 普通梯度下降会怎样？Adam 呢？
# %%
start = np.array([-10.0, 1.0])
turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)      # a rotation by 45 degrees


def adam_walk(A, alpha, steps, theta):
    places, m, v = [theta], np.zeros(2), np.zeros(2)
    for t in range(1, steps + 1):
        theta, m, v = adam_step(theta, A @ theta, m, v, t, alpha=alpha)
        places.append(theta)
    return np.array(places)


def sgd_walk(A, steps, theta):
    alpha = 2 / np.linalg.eigvalsh(A).sum()   # the best constant rate of lesson 3
    places = [theta]
    for _ in range(steps):
        places.append(formulas.gradient_descent_step(places[-1], A @ places[-1], alpha=alpha))
    return np.array(places)


def steps_until(places, share=1e-3):
    """Steps until the distance to 0 is below `share` of what it was, and stays below."""
    distance = np.linalg.norm(places, axis=1)
    return int(np.flatnonzero(distance >= share * distance[0])[-1]) + 1


needed = {}
for c in (25.0, 2500.0):
    A = np.diag([1.0, c])
    needed["sgd", c] = steps_until(sgd_walk(A, 10_000, start))
    needed["adam", c] = steps_until(adam_walk(A, 0.3, 3000, start))
    needed["askew", c] = steps_until(adam_walk(turn @ A @ turn.T, 0.3, 3000, turn @ start))
    print(f"c = {c:6}: steps of plain descent {needed['sgd', c]:5}, Adam {needed['adam', c]:5}, "
          f"Adam in the valley turned by 45 degrees {needed['askew', c]:5}")
apart = np.abs(adam_walk(np.diag([1.0, 25.0]), 0.3, 300, start)
               - adam_walk(np.diag([1.0, 2500.0]), 0.3, 300, start)).max()
print(f"Adam's paths for c = 25 and c = 2500 differ by at most {apart:.1e}")
says("87", needed["sgd", 25.0])
says("8635", needed["sgd", 2500.0])
says("122", needed["adam", 25.0])
says("122", needed["adam", 2500.0])
says("129", needed["askew", 25.0])
assert needed["askew", 2500.0] > 1000
says("2500", c)
says("45", np.degrees(np.arccos(turn[0, 0])))

fig, axes = plt.subplots(1, 3, figsize=(11, 3.3))
a, b = np.meshgrid(np.linspace(-11, 6, 140), np.linspace(-11, 6, 140))
for ax, (c, turned) in zip(axes, ((25.0, False), (2500.0, False), (2500.0, True)), strict=True):
    A = turn @ np.diag([1.0, c]) @ turn.T if turned else np.diag([1.0, c])
    begin = turn @ start if turned else start
    height = 0.5 * (A[0, 0] * a**2 + 2 * A[0, 1] * a * b + A[1, 1] * b**2)
    ax.contour(a, b, height, levels=[c * k for k in (0.02, 0.5, 2, 8, 20)], colors=GREY, linewidths=0.6)
    for name, places, color in (("plain, best rate", sgd_walk(A, 60, begin), BLUE),
                                ("Adam", adam_walk(A, 0.3, 60, begin), ORANGE)):
        ax.plot(*places.T, ".-", color=color, linewidth=0.8, markersize=4, label=name)
    ax.plot(*begin, "s", color=RED, markersize=6)
    ax.plot(0, 0, "+", color="black", markersize=9)
    ax.set_xlim(-11, 3)
    ax.set_ylim(-9 if turned else -2.2, 3 if turned else 2.2)
    ax.set_title(f"c = {c:.0f}" + (", turned by 45 degrees" if turned else ""), fontsize=10)
    ax.set_xlabel(r"$\theta_1$")
axes[0].set_ylabel(r"$\theta_2$")
axes[0].legend(fontsize=8)
fig.tight_layout()
picture(fig, name="valley",
        alt_en="Sixty steps in three valleys. With c = 25 plain descent zigzags and nears the centre, and "
               "Adam comes along a gentle wave. With c = 2500 plain descent stays near its start, "
               "zigzagging, while Adam's wave is the very same. In the valley turned by 45 degrees Adam, "
               "too, zigzags from wall to wall close to its start.",
        alt_zh="三个山谷里各走六十步。c = 25：普通梯度下降来回折着靠近中心，Adam 沿一条平缓的波浪线走过去。c "
               "= 2500：普通梯度下降还在起点附近折来折去，Adam 的波浪线丝毫没变。山谷转过 45 度之后，Adam "
               "也在起点附近的两壁之间来回折。")

# %% [markdown] lang="en"
# Plain descent goes from 87 steps to 8635. Adam takes 122 in both, and indeed both paths are the *same*:
# $\theta_2$'s gradient is a hundred times as large, and the scale of a gradient cancels for each parameter by
# itself. (In the easy valley, plain descent at its best rate is the quicker one. Adam's strength is that
# nobody had to know the curvature.)
#
# Now the limit of that strength. Turn the valley by 45 degrees, so that steep and flat are mixed in both
# parameters: at $c = 25$ Adam still needs only 129 steps, at $c = 2500$ it needs well over a thousand. Adam
# rescales each parameter, but it does not know directions that lie between them.
#
# ## Weight decay: inside the gradient or beside it?
#
# Article section 3.3 names L2 regularisation: add $\frac{\lambda}{2}\sum_i\theta_i^2$ to the loss, which adds
# $\lambda\theta$ to the gradient. With SGD this is the same as letting every weight decay,
# $\theta \leftarrow \theta - \alpha\lambda\theta$. With Adam it is not, because what is added to the gradient
# is divided by $\sqrt{\hat v}$ like the rest. **AdamW** (Loshchilov and Hutter, 2019) takes the decay out of
# the gradient:
#
# $$\theta \leftarrow \theta_t - \alpha\lambda\theta_t$$
#
# and from there it takes Adam's step with the gradient of the loss alone.
#
# Both are run below for two kinds of parameters that all start at 1. Their gradients are pure noise around 0:
# of size $10$ for the first, $0.01$ for the second. **Predict** how much of each is left after $500$ steps,
# in both versions.
# %% [markdown] lang="zh"
# 普通梯度下降从 87 步变成 8635 步。Adam 两次都是 122 步，而且两条路径**完全相同**：
# $\theta_2$ 的梯度大了一百倍，但每个参数的梯度尺度都各自约掉了。（在容易的那个山谷里，
# 普通梯度下降用最好的学习率反而更快。Adam 的长处是谁也不必事先知道曲率。）
#
# 再看这个长处的边界。把山谷转过 45 度，陡和缓就混进了两个参数：$c = 25$ 时 Adam 仍然只要 129 步，
# $c = 2500$ 时却要一千多步。Adam 给每个参数单独调整尺度，却看不见介于参数轴之间的方向。
#
# ## 权重衰减：放进梯度里，还是放在外面？
#
# 文章 3.3 节讲了 L2 正则化：在损失里加上 $\frac{\lambda}{2}\sum_i\theta_i^2$，梯度就多出 $\lambda\theta$。
# 对 SGD 来说，这等于让每个权重衰减，$\theta \leftarrow \theta - \alpha\lambda\theta$。对 Adam 就不是了，
# 因为加进梯度的东西会和其余部分一起除以 $\sqrt{\hat v}$。**AdamW**（Loshchilov and Hutter, 2019）
# 把衰减从梯度里拿了出来：
#
# $$\theta \leftarrow \theta_t - \alpha\lambda\theta_t$$
#
# 然后从那里出发，只用损失的梯度走一步 Adam。
#
# 下面两种做法都试一遍。有两类参数，都从 1 开始，梯度是以 0 为中心的纯噪声：第一类大小为 $10$，
# 第二类为 $0.01$。**先猜一猜**：两种做法各走 $500$ 步，两类参数各剩下多少？
# %% exercise="adamw_step"
def adamw_step(theta, g, m, v, t, alpha, lam, beta1=0.9, beta2=0.999, eps=1e-8):
    """One step of AdamW: decoupled weight decay, then Adam's step (article sections 3.3 and 4.3).

    theta <- theta - alpha lam theta
    m, v, and the step from there: as in Adam, with g as it is

    theta, g, m, v: arrays of one shape (they must stay as they are). lam: the weight decay.
    Returns (theta, m, v), all new. You may call your adam_step.
    """
    # BEGIN SOLUTION
    theta = theta - alpha * lam * theta
    return adam_step(theta, g, m, v, t, alpha, beta1, beta2, eps)
    # END SOLUTION


# %%
def decayed(decoupled, steps=500, alpha=0.01, lam=0.1):
    """Mean of 400 parameters with large and of 400 with small gradients, after noise and decay."""
    rng = np.random.default_rng(0)
    theta = np.ones((400, 2))
    m = v = np.zeros((400, 2))
    for t in range(1, steps + 1):
        noise = rng.normal(size=(400, 1)) * [10.0, 0.01]
        if decoupled:
            theta, m, v = adamw_step(theta, noise, m, v, t, alpha, lam)
        else:
            theta, m, v = adam_step(theta, noise + lam * theta, m, v, t, alpha)
    return theta.mean(axis=0)


l2, w = decayed(False), decayed(True)
print("left of large and small:   L2 in the gradient", l2.round(3), "   AdamW", w.round(3))
print("what the decay alone leaves: (1 - alpha lam)^500 =", round((1 - 0.01 * 0.1) ** 500, 3))
says("95%", l2[0])
says("0.00", l2[1])
says("61%", w[0])
says("61%", w[1])
says("0.606", (1 - 0.01 * 0.1) ** 500)

W = Tensor(np.random.default_rng(1).normal(size=(V, V)), requires_grad=True)
adamw = optim.AdamW([W], lr=0.1, weight_decay=0.1)
theta, m, v = W.data.copy(), np.zeros((V, V)), np.zeros((V, V))
yours, my_m, my_v = theta, m, v
for t in range(1, 31):
    adamw.zero_grad()
    minillm.softmax_cross_entropy(W[x], y).backward()
    theta = formulas.decoupled_weight_decay(theta, alpha=0.1, lam=0.1)
    theta, m, v = formulas.adam_step(theta, W.grad.copy(), m, v, t, alpha=0.1)
    yours, my_m, my_v = adamw_step(yours, W.grad.copy(), my_m, my_v, t, 0.1, 0.1)
    adamw.step()
    assert np.array_equal(W.data, theta)
    assert np.allclose(W.data, yours, rtol=1e-9, atol=1e-12)
print("30 steps: optim.AdamW equals decoupled_weight_decay, then adam_step, bit for bit; yours agrees")

# %% [markdown] lang="en"
# With L2 in the gradient, 95% is left of the parameters with large gradients and nothing (0.00) of those with
# small ones: the decay was divided by about $10$ for the former, by about $0.01$ for the latter. With AdamW
# 61% is left of both, just what the decay alone says, 0.606. If you want weights to decay alike, decouple. In
# the package: `optim.Adam(l2=...)` adds to the gradient ($2\,l_2\,\theta$, as Keras has it),
# `optim.AdamW(weight_decay=...)` decays beside it, as your exercise does.
#
# ## Warm-up: small steps while little is known
#
# In the first step every parameter moves by $\alpha$, whatever its gradient is worth: $\hat v$ has seen one
# gradient and cannot tell signal from noise. Watch $2000$ parameters whose gradients are nothing but noise;
# they should stay where they are. For noise the typical size of $\hat m$ shrinks with time to
# $\sqrt{(1 - \beta_1)/(1 + \beta_1)}$ of that of a single gradient. **Predict**: how much longer is the first
# step than the later ones?
# %% [markdown] lang="zh"
# 把 L2 放进梯度，梯度大的那类参数还剩 95%，梯度小的那类一点不剩（0.00）：同样的衰减，前者除以了 $10$，
# 后者除以了 $0.01$。用 AdamW，两类都剩 61%，正是衰减本身给出的 0.606。想让权重一视同仁地衰减，就要解耦。
# 软件包里，`optim.Adam(l2=...)` 把它加进梯度（$2\,l_2\,\theta$，与 Keras 的约定相同），
# `optim.AdamW(weight_decay=...)` 在梯度之外衰减，与你的练习相同。
#
# ## 预热：了解得少的时候走小步
#
# 第一步里，不管梯度可不可信，每个参数都挪动 $\alpha$：$\hat v$ 只见过一个梯度，分不清信号和噪声。
# 下面看 $2000$ 个参数，它们的梯度全是噪声，本来应该待着不动。对噪声来说，
# $\hat m$ 的典型大小会逐渐缩小到单个梯度的 $\sqrt{(1 - \beta_1)/(1 + \beta_1)}$。**先猜一猜**：
# 第一步比后来的步子长几倍？
# %%
def wander(schedule, steps=300):
    """Typical length of each step and typical distance from the start; gradients are noise, alpha is 1."""
    rng = np.random.default_rng(0)
    theta, m, v = np.zeros(2000), np.zeros(2000), np.zeros(2000)
    lengths, distances = [], []
    for t in range(1, steps + 1):
        new, m, v = adam_step(theta, rng.normal(size=2000), m, v, t, alpha=schedule(t))
        lengths.append(np.sqrt(np.mean((new - theta) ** 2)))
        distances.append(np.sqrt(np.mean(new**2)))
        theta = new
    return np.array(lengths), np.array(distances)


warm = optim.WarmupCosine(total=300, warmup=30, floor=1.0)      # a rise over 30 steps, then constant
cosine = optim.WarmupCosine(total=300, warmup=30)               # the same rise, then half a cosine down to 0
lengths, distances = wander(lambda t: 1.0)
warm_lengths, warm_distances = wander(warm)
print("length of steps 1, 2, 10, 300 without warm-up:", lengths[[0, 1, 9, 299]].round(3))
print("length of steps 1, 2, 10, 300 with warm-up:   ", warm_lengths[[0, 1, 9, 299]].round(3))
print("distance after 30 steps:", distances[29].round(2), "and", warm_distances[29].round(2))
says("1.00", lengths[0])
later = lengths[100:].mean()
print(f"later steps on average: {later:.3f}; sqrt(0.1 / 1.9) = {np.sqrt(0.1 / 1.9):.3f}")
says("0.23", later)
says("0.23", np.sqrt(0.1 / 1.9))
says("4.3", lengths[0] / later)
says("4.3 倍", lengths[0] / later)
says("6.2", distances[29])
says("2.9", warm_distances[29])

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
left.plot(range(1, 301), lengths, color=ORANGE, label="constant")
left.plot(range(1, 301), warm_lengths, "--", color=BLUE, label="warm-up over 30 steps")
left.set_xlim(0, 100)
left.set_ylim(0, 1.05)
left.set_xlabel("step")
left.set_ylabel(r"typical step, in units of $\alpha$")
left.legend()
right.plot(range(1, 301), [1.0] * 300, color=ORANGE, label="constant")
right.plot(range(1, 301), [warm(t) for t in range(1, 301)], "--", color=BLUE, label="warm-up, then constant")
right.plot(range(1, 301), [cosine(t) for t in range(1, 301)], "-.", color=GREEN, label="warm-up, then cosine")
right.set_ylim(0, 1.05)
right.set_xlabel("step")
right.set_ylabel("factor on the learning rate")
right.legend(loc=(0.2, 0.05), fontsize=8)
fig.tight_layout()
picture(fig, name="warmup",
        alt_en="Left: typical length of Adam's steps on pure noise. With a constant rate it begins at 1 and "
               "falls within some twenty steps to about a quarter; with warm-up it begins near 0 and rises "
               "to the same level. Right: the factor on the learning rate: constant; a straight rise over 30 "
               "steps, then constant; the same rise, then half a cosine down to 0.",
        alt_zh="左图：梯度全是噪声时 Adam 每一步的典型长度。学习率固定：从 1 开始，二十步左右降到约四分之一；"
               "有预热：从接近 0 开始，升到同样的水平。右图：学习率的倍数，分别是固定不变；30 步内直线上升，"
               "然后不变；同样上升，然后按半个余弦降到 0。")

# %% [markdown] lang="en"
# The first step is 1.00 long, the later ones 0.23: 4.3 times less. Adam walks fastest exactly when it knows
# least. With a **warm-up** the rate rises from near 0 over the first steps (here $30$), and the parameters
# have wandered only 2.9 from their start instead of 6.2 when it is over. Transformers are hardly ever trained
# without it. Afterwards the rate usually falls again, for the two reasons of lesson 3. In the package this is
# `optim.Adam(..., schedule=optim.WarmupCosine(total, warmup))`.
#
# ## What it costs
#
# Adam keeps $m$ and $v$: two more arrays as large as the parameters. **Predict** the memory for the
# parameters, gradients and state of SmolLM2 (lesson 17), with 134,515,008 parameters in float32, for SGD and
# for Adam.
# %% [markdown] lang="zh"
# 第一步长 1.00，后来的步子长 0.23，相差 4.3 倍。偏偏在了解得最少的时候，Adam 走得最快。有了**预热**，
# 学习率在最初几步（这里是 $30$ 步）里从接近 0 慢慢升上去，预热结束时，参数只从起点游荡了 2.9，而不是 6.2。
# 训练 Transformer 几乎总要预热。之后学习率通常还要再降下来，理由就是第 3 课的那两条。
# 软件包里的写法是 `optim.Adam(..., schedule=optim.WarmupCosine(total, warmup))`。
#
# ## 代价
#
# Adam 要保存 $m$ 和 $v$：又是两个与参数一样大的数组。SmolLM2（第 17 课）有 134,515,008 个参数，
# 用 float32 存放。**先猜一猜**：用 SGD 和用 Adam，参数、梯度和优化器状态各要多少内存？
# %%
n = 134_515_008
says("134,515,008", n)
gigabytes = {"SGD": 4 * 2 * n / 1e9, "Adam": 4 * 4 * n / 1e9}
print({name: f"{size:.2f} GB" for name, size in gigabytes.items()})
says("1.08 GB", gigabytes["SGD"])
says("2.15 GB", gigabytes["Adam"])
sizes = {}
for kind in (optim.SGD, optim.Adam):
    state = kind([Tensor(np.zeros(1000), requires_grad=True)]).state_dict()["buffers"]
    sizes[kind.__name__] = sum(array.size for array in state.values()) / 1000
print("state kept by the package, in numbers per parameter:", sizes)
says("0", sizes["SGD"])
says("2", sizes["Adam"])

# %% [markdown] lang="en"
# 1.08 GB for SGD, 2.15 GB for Adam: parameters, gradients, and 0 or 2 more numbers for each parameter.
#
# ## What you can say now
#
# - **How can one number fit all models?** Because the gradient's scale cancels in $\hat m/\sqrt{\hat v}$,
#   $\alpha$ is the length of a step in units of the parameter, nearly whatever the loss. It does not fit
#   where gradients are near $\epsilon$, where steep and flat directions lie between the parameters, and at
#   the very start.
# - $m$ remembers the direction, $v$ the size; where gradients disagree, the steps are short.
# - Without the bias correction the first steps are too *long*. $t$ counts from 1, and the state must live as
#   long as the training.
# - $\epsilon$ stands outside the root. Weight decay stands outside the gradient (AdamW).
# - Warm-up protects the start, a falling rate the end. All of it costs two more numbers per parameter.
#
# Step through it once more with `minillm step 4.3`, and look at `formulas.adam_step`: it is your five lines.
# Lesson 16 writes them as one kernel for a GPU.
# %% [markdown] lang="zh"
# SGD 是 1.08 GB，Adam 是 2.15 GB：参数、梯度，再加上每个参数 0 个或 2 个数的状态。
#
# ## 现在你能回答了
#
# - **同一个数怎么能适合所有模型？** 因为在 $\hat m/\sqrt{\hat v}$ 里梯度的尺度约掉了，
#   $\alpha$ 就是以参数为单位的步长，与损失的大小几乎无关。不适合的情形有三种：梯度小到接近 $\epsilon$；
#   陡和缓的方向夹在各个参数之间；训练刚刚开始。
# - $m$ 记住方向，$v$ 记住大小；梯度互相矛盾的地方，步子就短。
# - 不做偏差修正，最初的步子不是太短，而是太**长**。$t$ 从 1 数起，优化器的状态要贯穿整个训练。
# - $\epsilon$ 放在根号外面。权重衰减放在梯度外面（AdamW）。
# - 预热保护开头，逐渐减小的学习率照顾结尾。代价是每个参数多存两个数。
#
# 请用 `minillm step 4.3` 再走一遍，并看看 `formulas.adam_step`，它就是你写的那五行。
# 第 16 课会把它们写成 GPU 上的一个内核。
