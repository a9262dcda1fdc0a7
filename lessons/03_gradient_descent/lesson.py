# ---
# title: Gradient descent: how large may a step be?
# title_zh: 梯度下降：一步可以迈多大？
# minutes: 40
# needs: [01_tensors_and_tape, 02_likelihood_and_cross_entropy]
# ---
# %% [markdown] lang="en"
# You start a training run. The loss falls for a while, then it rises, then it says `inf`, then `nan`. You
# halve the learning rate and try again, and again. **Could you have known the right size of the step
# before?**
#
# This lesson answers that question exactly for a valley with one parameter, then for two parameters, and at
# the end predicts to within a few percent where the training of a small character model breaks.
#
# All of it is about one line, the update rule of article section 4.2:
#
# $$\theta_{t+1} = \theta_t - \alpha \nabla L(\theta_t)$$
#
# $\theta_t$ are the parameters after $t$ steps, $\nabla L(\theta_t)$ is the gradient of the loss there, and
# $\alpha$ is the learning rate. The gradient points uphill, so we subtract it.
# %% [markdown] lang="zh"
# 你开始训练一个模型。损失先是下降，接着上升，然后显示 `inf`，最后变成 `nan`。你把学习率减半，再试一次，
# 又试一次。**一步该迈多大，能不能事先知道？**
#
# 这一课先在只有一个参数的山谷里给出精确的答案，再推广到两个参数，
# 最后预测一个小小的字符模型在多大的学习率下会训练失败，误差只有百分之几。
#
# 全课只围绕一行公式，就是文章 4.2 节的更新规则：
#
# $$\theta_{t+1} = \theta_t - \alpha \nabla L(\theta_t)$$
#
# 其中 $\theta_t$ 是第 $t$ 次迭代时的模型参数，$\nabla L(\theta_t)$ 是损失函数关于参数的梯度，
# $\alpha$ 是学习率。梯度指向上坡的方向，所以要减去它。
# %%
import matplotlib.pyplot as plt
import numpy as np

import minillm
from minillm import Tensor, formulas, optim
from minillm.course import picture, says, step
from minillm.stepper import trace

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"


def valley(theta):
    """A valley with its lowest point at theta = 3."""
    return (theta - 3) ** 2


# %% [markdown] lang="en"
# ## One valley, three steps by hand
#
# Take $L(\theta) = (\theta - 3)^2$. Its slope is $L'(\theta) = 2(\theta - 3)$. Start at $\theta_0 = 0$ with
# $\alpha = 0.1$ and take pencil and paper:
#
# $$\theta_1 = 0 - 0.1 \cdot 2\,(0 - 3) = 0.6$$
#
# Work out $\theta_2$ and $\theta_3$ before you run the cell. It lets `minillm.Tensor` find the slope, as
# training does.
# %% [markdown] lang="zh"
# ## 一个山谷，手算三步
#
# 取 $L(\theta) = (\theta - 3)^2$，它的斜率是 $L'(\theta) = 2(\theta - 3)$。从 $\theta_0 = 0$ 出发，
# 令 $\alpha = 0.1$，拿出纸笔：
#
# $$\theta_1 = 0 - 0.1 \cdot 2\,(0 - 3) = 0.6$$
#
# 运行下面的代码之前，请先自己算出 $\theta_2$ 和 $\theta_3$。代码里的斜率由 `minillm.Tensor` 求出，
# 和真正训练时一样。
# %%
alpha = 0.1
says("0.1", alpha)
theta = Tensor(np.array(0.0), requires_grad=True)
visited = [theta.item()]
for t in range(3):
    loss = valley(theta)
    theta.grad = None              # forget the last step's gradient
    loss.backward()
    print(f"theta_{t} = {theta.item():.3f}   loss {loss.item():.3f}   slope {theta.grad:.3f}")
    theta.data = theta.data - alpha * theta.grad
    visited.append(theta.item())

distances = [3 - at for at in visited]
print("distances to the lowest point:", np.round(distances, 4))
says("0.6", visited[1])
says("1.08", visited[2])
says("1.464", visited[3])
says("0.8", distances[1] / distances[0])
says("0.8", distances[2] / distances[1])
says("0.8", distances[3] / distances[2])

# %% [markdown] lang="en"
# The walk goes 0, 0.6, 1.08, 1.464. Two things to notice:
#
# - The steps become shorter although $\alpha$ stays the same, because the slope becomes gentler. Nobody has
#   to slow the walk down.
# - The distance to the lowest point is multiplied by 0.8 in every step, always by the same number. Keep that
#   0.8 in mind: the whole lesson hangs on it.
#
# Now write the rule itself.
# %% [markdown] lang="zh"
# 走过的位置依次是 0、0.6、1.08、1.464。请注意两点：
#
# - $\alpha$ 没有变，步子却越来越短，因为坡越来越缓。不需要有人来让它减速。
# - 每走一步，到谷底的距离都乘以 0.8，每次都是同一个数。请记住这个 0.8，整节课都围绕着它。
#
# 现在请你把更新规则写出来。
# %% exercise="gradient_descent_step"
def gradient_descent_step(theta, g, alpha):
    """One step of gradient descent (article section 4.2).

    theta_{t+1} = theta_t - alpha g

    theta: parameters, an array of any shape (it must stay as it is).
    g: the gradient at theta, of the same shape.
    alpha: the learning rate, a number.
    Returns the new theta.
    """
    # BEGIN SOLUTION
    return theta - alpha * g
    # END SOLUTION


# %% [markdown] lang="en"
# ## The number 0.8, seen from behind
#
# Here are two steps of the walk as one function. Step through it forwards: you meet 0.6 and 1.08 again. Then
# **predict**: on the way back, the stepper computes $\partial\theta_2/\partial\theta_0$, that is, how far the
# end moves if the start moves a little. Which number will it be?
# %% [markdown] lang="zh"
# ## 倒过来看 0.8
#
# 下面把两步写成一个函数。先向前一步步看，你会再次遇到 0.6 和 1.08。然后**先猜一猜**：反向时，
# 演示器算的是 $\partial\theta_2/\partial\theta_0$，也就是起点挪动一点点，终点会挪动多少。它会是几？
# %%
def two_steps(theta_0):
    theta_1 = theta_0 - 0.1 * (2 * (theta_0 - 3))
    theta_2 = theta_1 - 0.1 * (2 * (theta_1 - 3))
    return theta_2


walk = trace(two_steps, np.array(0.0))
step(walk, en="Two steps of gradient descent; backwards: how the end depends on the start",
     zh="梯度下降的两步；反向：终点怎样依赖起点")
print("d theta_2 / d theta_0 =", walk.gradient("theta_0"))
says("0.64", walk.gradient("theta_0"))
says("0.64", 0.8**2)

# %% [markdown] lang="en"
# It is 0.64, which is 0.8 times 0.8. Look at the place in the backward steps where it comes about: $\theta_0$
# gets its gradient along two paths, 1 times what arrives (the walk stands where it stood) and minus 0.2 times
# it (the step pulls it back). Their sum is the factor 0.8, once for each step.
# %% [markdown] lang="zh"
# 是 0.64，也就是 0.8 乘以 0.8。在反向的步骤里找一找它是怎么来的：$\theta_0$ 的梯度来自两条路，
# 一条是传来的梯度乘 1（站在原地的部分），另一条是乘负的 0.2（被这一步拉回去的部分）。两者之和就是因子 0.8，
# 每走一步出现一次。
# %%
says("0.2", 0.1 * 2)

# %% [markdown] lang="en"
# ## The threshold: $2/c$
#
# Do the same with letters. A valley $L(\theta) = \frac{c}{2}(\theta - \theta^*)^2$ has slope
# $c(\theta - \theta^*)$, and $c$, the second derivative, is its **curvature**: how fast the slope changes.
# Ours has $c = 2$. Put the slope into the rule and subtract $\theta^*$ on both sides:
#
# $$\theta_{t+1} - \theta^* = \theta_t - \theta^* - \alpha c\,(\theta_t - \theta^*)
# = (1 - \alpha c)\,(\theta_t - \theta^*)$$
#
# Every step multiplies the distance by the same factor $r = 1 - \alpha c$. So everything is known in advance:
#
# | $\alpha c$ | $r$ | what happens |
# | --- | --- | --- |
# | between 0 and 1 | between 1 and 0 | it creeps in from one side |
# | exactly 1 | 0 | it arrives in a single step |
# | between 1 and 2 | between 0 and $-1$ | it jumps over the lowest point, and still comes nearer |
# | exactly 2 | $-1$ | it jumps to and fro for ever |
# | above 2 | below $-1$ | each jump is longer than the last |
#
# The walk converges if and only if $|1 - \alpha c| < 1$, that is
#
# $$0 < \alpha < \frac{2}{c}$$
#
# For our valley the threshold is $2/2 = 1$. **Predict** where the walk stands after 6 steps for
# $\alpha = 0.1$, $0.5$, $0.9$, $1$ and $1.05$: near 3, on it, or away from it?
# %% [markdown] lang="zh"
# ## 临界值：$2/c$
#
# 把数换成字母再算一遍。山谷 $L(\theta) = \frac{c}{2}(\theta - \theta^*)^2$ 的斜率是 $c(\theta - \theta^*)$；
# 二阶导数 $c$ 叫做**曲率**，表示斜率变化得有多快。我们的山谷 $c = 2$。把斜率代入更新规则，
# 两边同时减去 $\theta^*$：
#
# $$\theta_{t+1} - \theta^* = \theta_t - \theta^* - \alpha c\,(\theta_t - \theta^*)
# = (1 - \alpha c)\,(\theta_t - \theta^*)$$
#
# 每走一步，距离都乘以同一个因子 $r = 1 - \alpha c$。于是结果可以提前知道：
#
# | $\alpha c$ | $r$ | 会发生什么 |
# | --- | --- | --- |
# | 0 到 1 之间 | 1 到 0 之间 | 从一侧慢慢靠近 |
# | 恰好为 1 | 0 | 一步到位 |
# | 1 到 2 之间 | 0 到 $-1$ 之间 | 越过谷底，但仍然越来越近 |
# | 恰好为 2 | $-1$ | 永远来回跳 |
# | 大于 2 | 小于 $-1$ | 一次比一次跳得远 |
#
# 当且仅当 $|1 - \alpha c| < 1$ 时收敛，也就是
#
# $$0 < \alpha < \frac{2}{c}$$
#
# 我们的山谷，临界值是 $2/2 = 1$。**先猜一猜**：$\alpha$ 取 $0.1$、$0.5$、$0.9$、$1$、$1.05$，走 6 步之后，
# 是在 3 的附近，正好在 3，还是离它更远？
# %%
def walk_down(alpha, steps, theta=0.0):
    """All places of a walk in the valley; each row of what is returned is a place."""
    places = [np.array(theta)]
    for _ in range(steps):
        slope = 2 * (places[-1] - 3)
        places.append(gradient_descent_step(places[-1], slope, alpha))
    return np.array(places)


for alpha in (0.1, 0.5, 0.9, 1.0, 1.05):
    print(f"alpha {alpha:4}   factor {1 - 2 * alpha:5.2f}   ", np.round(walk_down(alpha, 6), 3))
says("0.1", 0.1)
says("0.5", 0.5)
says("0.9", 0.9)
says("1", 1.0)
says("1.05", 1.05)
says("2.21", walk_down(0.1, 6)[-1])
says("2.21", walk_down(0.9, 6)[-1])
says("3.00", walk_down(0.5, 1)[-1])
says("-2.31", walk_down(1.05, 6)[-1])

fig, axes = plt.subplots(1, 4, figsize=(11, 2.9), sharey=True)
curve = np.linspace(-3, 9, 200)
named = {0.1: "too small", 0.5: "one step", 0.9: "zigzag", 1.05: "too large"}
for ax, (alpha, name) in zip(axes, named.items(), strict=True):
    places = walk_down(alpha, 6)
    ax.plot(curve, valley(curve), color=GREY, linewidth=1)
    ax.plot(places, valley(places), "o-", color=RED if alpha > 1 else BLUE, markersize=4, linewidth=1)
    ax.plot(places[0], valley(places[0]), "s", color=ORANGE, markersize=7)
    ax.set_title(rf"$\alpha$ = {alpha}: {name}", fontsize=10)
    ax.set_xlabel(r"$\theta$")
axes[0].set_ylabel("loss")
fig.tight_layout()
picture(fig, name="four_rates",
        alt_en="The same parabola four times, each with six steps that start at theta = 0. At alpha 0.1 the "
               "points creep down the left side; at 0.5 one step reaches the bottom; at 0.9 they jump from "
               "side to side and come nearer; at 1.05 they jump from side to side and climb out.",
        alt_zh="同一条抛物线画了四次，每次从 theta = 0 走六步。学习率 0.1：沿左侧慢慢下去；0.5：一步到谷底；"
               "0.9：左右来回跳，越跳越近；1.05：左右来回跳，越跳越高，爬出山谷。")

# %% [markdown] lang="en"
# With $0.1$ and with $0.9$ the walk ends at the very same place, 2.21: their factors are $0.8$ and $-0.8$. At
# $1.05$ it is at -2.31 and on its way out.
#
# ## How `nan` comes about
#
# Make the mistake large: $\alpha = 10$, factor $1 - 20 = -19$. Models are mostly trained in float32, whose
# largest number is about $3.4 \cdot 10^{38}$. **Predict**: after how many steps is the loss `inf`? (The loss
# grows by $19^2 = 361$ in each step.)
# %% [markdown] lang="zh"
# $\alpha = 0.1$ 和 $\alpha = 0.9$ 走到了同一个地方 2.21，因为它们的因子是 $0.8$ 和 $-0.8$。
# $\alpha = 1.05$ 时则走到了 -2.31，正在往外跑。
#
# ## `nan` 是怎么来的
#
# 把错误放大：$\alpha = 10$，因子是 $1 - 20 = -19$。模型大多用 float32 训练，
# 它能表示的最大的数约为 $3.4 \cdot 10^{38}$。**先猜一猜**：走几步之后损失变成 `inf`？（每走一步，
# 损失变为原来的 $19^2 = 361$ 倍。）
# %%
place = np.array(0.0, np.float32)
first_inf = first_nan = None
with np.errstate(all="ignore"):
    for t in range(40):
        loss = valley(place)
        if t in (0, 1, 2, 14, 15, 16, 30, 31):
            print(f"step {t:2}   theta {place:12.5g}   loss {loss:12.5g}")
        first_inf = t if first_inf is None and np.isinf(loss) else first_inf
        first_nan = t if first_nan is None and np.isnan(loss) else first_nan
        place = place - np.float32(10) * (2 * (place - 3))
says("3.4", np.finfo(place.dtype).max / 1e38)
says("15", first_inf)
says("31", first_nan)

# %% [markdown] lang="en"
# At step 15 the loss is `inf` although $\theta$ is still an ordinary number: squares overflow first. At step
# 31, $\theta$ itself is `nan`, because $\infty - \infty$ has no value. From there on every number is `nan`:
# training cannot come back.
#
# So `nan` is rarely where the mistake is. It is the last line of a story that began when $\alpha$ passed
# $2/c$. (When you meet one in your own code, run it under `with minillm.detect_anomaly():`, which names the
# first line that made a number non-finite.)
#
# ## A mistake that everybody makes once
#
# In the first loop there was a line `theta.grad = None`. `backward()` *adds* to what `.grad` holds, so
# without that line each step uses the sum of all gradients so far. Run the wrong version, with the good
# learning rate $0.1$. **Predict**: will it be faster, slower, or will it not arrive?
# %% [markdown] lang="zh"
# 第 15 步，损失已经是 `inf`，而 $\theta$ 还是普通的数：平方最先上溢。到第 31 步，$\theta$ 自己也成了 `nan`，
# 因为 $\infty - \infty$ 没有值。从此所有的数都是 `nan`，训练再也回不来。
#
# 所以，出现 `nan` 的地方往往不是出错的地方。它是故事的最后一行，故事从 $\alpha$ 越过 $2/c$ 时就开始了。
# （自己的程序里遇到它时，请放到 `with minillm.detect_anomaly():` 里运行，它会指出最先产生非有限数的那一行。）
#
# ## 人人都会犯一次的错误
#
# 第一个循环里有一行 `theta.grad = None`。`backward()` 是往 `.grad` 上**累加**，少了这一行，
# 每一步用的就是到目前为止所有梯度的和。我们用合适的学习率 $0.1$ 来运行这个错误的版本。**先猜一猜**：它会更快、
# 更慢，还是到不了？
# %%
theta = Tensor(np.array(0.0), requires_grad=True)
forgetful = [theta.item()]
for _ in range(40):
    valley(theta).backward()       # .grad is never cleared
    theta.data = theta.data - 0.1 * theta.grad
    forgetful.append(theta.item())
forgetful = np.array(forgetful)
print(np.round(forgetful[:16], 2))
print("highest and lowest of 40 steps:", forgetful.max().round(3), forgetful.min().round(3))
says("6.04", forgetful.max())
says("-0.04", forgetful.min())
says("40", len(forgetful) - 1)

# %% [markdown] lang="en"
# It swings between -0.04 and 6.04 for all 40 steps and never comes to rest. The sum of all gradients keeps
# the speed of the past like a ball that rolls without friction. Give that ball *some* friction and it becomes
# a good idea, called momentum; it comes further down.
#
# ## Two parameters: the steep side decides
#
# A loss with many parameters is curved differently in different directions. Take
#
# $$L(\theta) = \tfrac{1}{2}\left(\theta_1^2 + 25\,\theta_2^2\right)$$
#
# a long narrow valley: curvature 1 along it, curvature 25 across it. The two parameters do not mix, so each
# has its own factor, $1 - \alpha$ and $1 - 25\alpha$, and *both* must be smaller than 1 in size:
#
# $$\alpha < \frac{2}{c_{\max}} = \frac{2}{25} = 0.08$$
#
# The steep direction sets the limit, and the flat direction has to live with it: even at the limit its factor
# is $1 - 0.08 = 0.92$. The quotient $\kappa = c_{\max}/c_{\min}$, here 25, is the **condition number**. The
# best constant rate makes both factors equally large, $\alpha = 2/(c_{\min} + c_{\max})$, and then each step
# keeps $(\kappa - 1)/(\kappa + 1)$ of the distance.
# %% [markdown] lang="zh"
# 40 步里它一直在 -0.04 和 6.04 之间摆动，停不下来。所有梯度的和把过去的速度全都留着，好比一个没有摩擦的滚球。
# 给这个球**一点**摩擦，它就变成一个好主意，叫做动量，我们后面会讲到。
#
# ## 两个参数：陡的方向说了算
#
# 参数一多，损失在不同方向上的弯曲程度就不同。取
#
# $$L(\theta) = \tfrac{1}{2}\left(\theta_1^2 + 25\,\theta_2^2\right)$$
#
# 这是一条狭长的山谷：沿着谷底走，曲率是 1；横着走，曲率是 25。两个参数互不干扰，
# 各有各的因子 $1 - \alpha$ 和 $1 - 25\alpha$，**两个**的绝对值都必须小于 1：
#
# $$\alpha < \frac{2}{c_{\max}} = \frac{2}{25} = 0.08$$
#
# 上限由陡的方向决定，平缓的方向只能迁就：就算取到上限，它的因子也有 $1 - 0.08 = 0.92$。
# 比值 $\kappa = c_{\max}/c_{\min}$ 叫做**条件数**，这里是 25。最好的固定学习率让两个因子一样大，
# 即 $\alpha = 2/(c_{\min} + c_{\max})$，此时每一步之后距离还剩下 $(\kappa - 1)/(\kappa + 1)$。
# %%
curvature = np.array([1.0, 25.0])
start = np.array([-10.0, 1.0])


def narrow(theta):
    return 0.5 * np.sum(curvature * theta**2)


def narrow_walk(alpha, steps):
    places = [start]
    for _ in range(steps):
        places.append(gradient_descent_step(places[-1], curvature * places[-1], alpha))
    return np.array(places)


def steps_until(places, share=1e-3):
    """Steps until the distance to 0 is `share` of what it was at the start, and stays below."""
    distance = np.linalg.norm(places, axis=1)
    return int(np.flatnonzero(distance >= share * distance[0])[-1]) + 1


slow, best, above = 0.02, 2 / (1 + 25), 0.081
for alpha in (slow, best, 0.079, above):
    print(f"alpha {alpha:.4f}   loss after 300 steps {narrow(narrow_walk(alpha, 300)[-1]):.3g}")
print("steps to a thousandth of the distance:", steps_until(narrow_walk(slow, 1000)),
      steps_until(narrow_walk(best, 1000)))
says("25", curvature[1] / curvature[0])
says("0.92", 1 - 2 / 25)
says("0.02", slow)
says("0.077", best)
says("0.081", above)
says("92%", (25 - 1) / (25 + 1))
says("342", steps_until(narrow_walk(slow, 1000)))
says("87", steps_until(narrow_walk(best, 1000)))
says("3.4e7", narrow(narrow_walk(above, 300)[-1]))

fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True)
a, b = np.meshgrid(np.linspace(-11, 4, 120), np.linspace(-3, 3, 120))
named = {slow: "too small", best: "best", above: "over the limit"}
for ax, (alpha, name) in zip(axes, named.items(), strict=True):
    places = narrow_walk(alpha, 40)
    ax.contour(a, b, 0.5 * (a**2 + 25 * b**2), levels=[1, 5, 15, 30, 50, 75], colors=GREY, linewidths=0.7)
    ax.plot(*places.T, ".-", color=RED if alpha > 0.08 else BLUE, linewidth=0.9, markersize=4)
    ax.plot(*start, "s", color=ORANGE, markersize=7)
    ax.plot(0, 0, "+", color="black", markersize=9)
    ax.set_title(rf"$\alpha$ = {alpha:.3f}: {name}", fontsize=10)
    ax.set_xlabel(r"$\theta_1$ (curvature 1)")
axes[0].set_ylabel(r"$\theta_2$ (curvature 25)")
fig.tight_layout()
picture(fig, name="narrow_valley",
        alt_en="Contours of a long narrow valley, three times, each with forty steps from the left. At alpha "
               "0.02 the path drops to the valley floor at once and then creeps along it, hardly beyond "
               "half-way. At 0.077 it zigzags across the floor and reaches the middle. At 0.081 it zigzags "
               "ever wider.",
        alt_zh="狭长山谷的等高线，画了三次，每次从左边走四十步。学习率 0.02：很快落到谷底，然后沿谷底慢慢挪，"
               "离终点还远；0.077：在谷底两侧来回折，走到了中心；0.081：折线的摆动越来越大。")

# %% [markdown] lang="en"
# At $0.02$ a thousandth of the distance is reached after 342 steps; at the best rate, 0.077, after 87, each
# step keeping 92% of the distance. At $0.081$, a hair over the limit, the loss after $300$ steps is about
# 3.4e7.
#
# In general the valley does not lie along the axes. Then the curvatures are the eigenvalues of the matrix of
# second derivatives $A$ (the Hessian), and the limit is $2/\lambda_{\max}(A)$. That is the answer to the
# question at the top; write it down as a function.
# %% [markdown] lang="zh"
# $\alpha$ 取 $0.02$ 时，要 342 步才把距离缩短到千分之一；取最好的 0.077 时只要 87 步，
# 每一步之后距离剩下 92%。取 $0.081$，只比上限多一点点，$300$ 步之后损失约为 3.4e7。
#
# 一般来说，山谷不会正好顺着坐标轴。这时各个方向的曲率就是二阶导数矩阵 $A$（海森矩阵）的特征值，
# 上限是 $2/\lambda_{\max}(A)$。这就是开头那个问题的答案，请把它写成函数。
# %% exercise="step_limit"
def step_limit(A):
    """The learning rate below which gradient descent on L = 1/2 theta^T A theta converges.

    0 < alpha < 2 / (largest eigenvalue of A)

    A: (n, n), symmetric, all eigenvalues > 0. `np.linalg.eigvalsh(A)` gives them, the largest last.
    Returns a number.
    """
    # BEGIN SOLUTION
    return 2 / np.linalg.eigvalsh(A)[-1]
    # END SOLUTION


# %% [markdown] lang="en"
# Here is a valley that lies askew: no number in its matrix is larger than 3, and yet its steepest curvature
# is 5. Just below your limit the walk comes in, just above it leaves.
# %% [markdown] lang="zh"
# 下面这个山谷是斜着的：矩阵里没有哪个数超过 3，可是最陡的曲率是 5。学习率略低于你算出的上限，就会收敛；
# 略高一点，就会发散。
# %%
askew = np.array([[3.0, 2.0], [2.0, 3.0]])
limit = step_limit(askew)
print("eigenvalues", np.linalg.eigvalsh(askew), "  limit", limit)
for alpha in (0.99 * limit, 1.01 * limit):
    place = np.array([1.0, 0.0])
    for _ in range(500):
        place = gradient_descent_step(place, askew @ place, alpha)
    print(f"alpha = {alpha:.3f}: distance after 500 steps {np.linalg.norm(place):.2g}")
says("5", np.linalg.eigvalsh(askew)[-1])

# %% [markdown] lang="en"
# ## Is the gradient right at all?
#
# Before you blame $\alpha$, check the gradient. The definition of the derivative is enough: move one
# parameter a little to both sides and see how the loss changes,
#
# $$\frac{\partial L}{\partial \theta_i} \approx \frac{L(\theta + h e_i) - L(\theta - h e_i)}{2h}$$
#
# where $e_i$ is 1 in place $i$ and 0 elsewhere. You wrote this in lesson 1, as `numerical_gradient`, to judge
# the tape. Here it is to judge gradients of losses. Write it once more, without looking if you can (if not,
# yours from lesson 1 is right here too, with theta for x): it is the most useful function of this lesson.
# %% [markdown] lang="zh"
# ## 梯度本身对不对？
#
# 在责怪 $\alpha$ 之前，先做梯度检验。只要用导数的定义：把一个参数向两侧各挪一点，看损失怎样变化，
#
# $$\frac{\partial L}{\partial \theta_i} \approx \frac{L(\theta + h e_i) - L(\theta - h e_i)}{2h}$$
#
# 其中 $e_i$ 在第 $i$ 个位置是 1，其余是 0。第 1 课里你已经写过它，当时叫 `numerical_gradient`，用来评判记录
# 带；这里用来检验损失函数的梯度。请尽量不看旧代码，再写一遍（实在想不起来，第 1 课的代码把 x 换成 theta 也能
# 用）：它是这一课里最有用的函数。
# %% exercise="numeric_gradient"
def numeric_gradient(f, theta, h=1e-5):
    """The gradient of f at theta by central differences, one parameter at a time.

    (f(theta + h e_i) - f(theta - h e_i)) / (2 h)

    f: takes an array of theta's shape, returns a number.
    theta: floats of any shape (it must stay as it is: work on a copy).
    Returns an array of theta's shape.
    """
    # BEGIN SOLUTION
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        up, down = theta.copy(), theta.copy()
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g
    # END SOLUTION


# %% [markdown] lang="en"
# Why to *both* sides? The one-sided quotient $(L(\theta + h) - L(\theta))/h$ is also near the derivative.
# Compare their errors for smaller and smaller $h$, on the cross-entropy of three logits. **Predict**: does
# the error go on falling as $h$ goes to 0?
# %% [markdown] lang="zh"
# 为什么要向**两侧**挪？单侧的商 $(L(\theta + h) - L(\theta))/h$ 也接近导数。我们用三个 logits 的交叉熵，
# 让 $h$ 越来越小，比较两者的误差。**先猜一猜**：$h$ 趋于 0 时，误差会一直减小吗？
# %%
logits = np.array([[2.0, -1.0, 0.5]])
label = np.array([2])


def cross_entropy(logits):
    return formulas.softmax_cross_entropy(logits, label)


exact = formulas.softmax(logits) - np.array([[0.0, 0.0, 1.0]])     # lesson 02: p - y


def one_sided(f, theta, h):
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        up = theta.copy()
        up[i] += h
        g[i] = (f(up) - f(theta)) / h
    return g


hs = 10.0 ** np.arange(-1, -13, -1)
error_one = np.array([np.abs(one_sided(cross_entropy, logits, h) - exact).max() for h in hs])
error_two = np.array([np.abs(numeric_gradient(cross_entropy, logits, h) - exact).max() for h in hs])
for h, e1, e2 in zip(hs[:6], error_one, error_two, strict=False):
    print(f"h = {h:.0e}   one side {e1:.1e}   both sides {e2:.1e}")
says("0.10", error_one[2] / error_one[1])
says("0.010", error_two[2] / error_two[1])

fig, ax = plt.subplots(figsize=(6, 3.2))
ax.loglog(hs, error_one, "s--", color=ORANGE, label="one side")
ax.loglog(hs, error_two, "o-", color=BLUE, label="both sides")
ax.set_xlabel("h")
ax.set_ylabel("largest error of the gradient")
ax.legend()
fig.tight_layout()
picture(fig, name="difference_errors",
        alt_en="Error of the numerical gradient against h, both axes logarithmic. From right to left both "
               "curves fall, the two-sided one twice as steeply, then both rise again: two-sided it is "
               "smallest near h = 1e-5, one-sided near 1e-8.",
        alt_zh="数值梯度的误差随 h 的变化，两轴都是对数刻度。从右往左，两条曲线先降后升；双侧的下降快一倍，"
               "在 h 约为 1e-5 处最小，单侧的在约 1e-8 处最小。")

# %% [markdown] lang="en"
# No: it falls, and then it rises again. When $h$ is a tenth, the one-sided error falls to a tenth, the
# two-sided one to a hundredth (its errors of first order cancel). But $L(\theta + h)$ and $L(\theta - h)$
# agree in ever more digits, and their difference keeps ever fewer: rounding error, divided by a small $h$. In
# float64 `1e-5` is a good choice with two sides. In float32 no $h$ is good: check gradients in float64.
#
# Now let the check find a mistake. A learner's gradient of the mean loss over 4 rows forgot the $1/N$:
# %% [markdown] lang="zh"
# 不会：误差先降后升。$h$ 缩小到十分之一，单侧误差也缩小到十分之一，
# 双侧误差却缩小到百分之一（一阶误差互相抵消）。但是 $L(\theta + h)$ 与 $L(\theta - h)$ 相同的位数越来越多，
# 相减之后剩下的有效位越来越少，这点舍入误差还要除以很小的 $h$。用 float64、双侧差分时，`1e-5` 是个好选择。
# 用 float32 时没有合适的 $h$，所以梯度检验要用 float64。
#
# 现在让检验来抓一个错误。某位同学对 4 行数据的平均损失求梯度，忘了 $1/N$：
# %%
rng = np.random.default_rng(0)
rows, labels = rng.normal(size=(4, 3)), np.array([0, 2, 1, 2])
forgot_mean = formulas.softmax(rows) - np.eye(3)[labels]
by_differences = numeric_gradient(lambda z: formulas.softmax_cross_entropy(z, labels), rows)
print("first row, wrong gradient:   ", forgot_mean[0].round(5))
print("first row, by differences:   ", by_differences[0].round(5))
print("quotient:                    ", (forgot_mean / by_differences)[0].round(5))
says("4.000", (forgot_mean / by_differences)[0, 0])
minillm.check_gradients(minillm.softmax_cross_entropy, [rows, labels], order=1)   # silent, so right

# %% [markdown] lang="en"
# The quotient is 4 in every place, and that says at once which factor is missing. `minillm.check_gradients`
# does such a check for any function of Tensors; it was silent, which means right. Note that this wrong
# gradient would still *train*: it is the right direction with a learning rate that is 4 times as large. That
# is why mistakes in gradients live so long.
#
# ## A model of characters
#
# Now a real, small model. It guesses the next character from the current one: row $x$ of a matrix $W$ holds
# the logits of all characters that may follow character $x$. This is softmax regression; the loss is the
# cross-entropy of the article's section 4.1.
# %% [markdown] lang="zh"
# 每个位置的比值都是 4，漏了哪个因子一目了然。`minillm.check_gradients` 可以对任何用 Tensor 写的函数做这样的检
# 验；它没有报错，就说明正确。请注意，上面那个错误的梯度照样能**训练**：方向是对的，
# 只相当于学习率大了 $N = 4$ 倍。梯度里的错误常常潜伏很久，原因就在这里。
#
# ## 一个字符模型
#
# 现在来看一个真正的小模型：根据当前字符猜下一个字符。矩阵 $W$ 的第 $x$ 行，是字符 $x$ 之后各个字符的 logits。
# 这就是 softmax 回归，损失是文章 4.1 节的交叉熵。
# %%
TEXT = ("the walker stands on the side of a long valley in the fog and she cannot see the lake below but she "
        "can feel the slope under her feet so she takes a step down and then she feels the slope again when "
        "the step is small the way is long when the step is large she lands on the other side and when it is "
        "larger still she climbs out of the valley with every step that she takes")
characters = sorted(set(TEXT))
ids = np.array([characters.index(c) for c in TEXT])
x, y = ids[:-1], ids[1:]           # (N,): each character and the one that follows it
V = len(characters)
print(f"{len(x)} pairs, {V} characters, {V * V} parameters; loss of pure guessing log V = {np.log(V):.3f}")


def loss_of(W, x=x, y=y):
    return minillm.softmax_cross_entropy(W[x], y)


def train(alpha, steps):
    """Gradient descent from W = 0 with your own step; all losses, and the final W."""
    W = Tensor(np.zeros((V, V)), requires_grad=True)
    losses = []
    for _ in range(steps):
        loss = loss_of(W)
        W.grad = None
        loss.backward()
        W.data = gradient_descent_step(W.data, W.grad, alpha)
        losses.append(loss.item())
    return np.array(losses), W.data


# What no model of pairs can beat: the pairs' own frequencies as probabilities.
counts = np.zeros((V, V))
np.add.at(counts, (x, y), 1)
best_p = counts / counts.sum(axis=1, keepdims=True)
floor = -np.mean(np.log(best_p[x, y]))
losses, W_trained = train(30.0, 400)
print(f"first loss {losses[0]:.3f}, after 400 steps {losses[-1]:.3f}; the best possible is {floor:.3f}")
says("23", V)
says("370", len(x))
says("3.135", losses[0])
says("1.590", losses[-1])
says("1.583", floor)
says("400", len(losses))

# %% [markdown] lang="en"
# There are 23 characters and 370 pairs. With $\alpha = 30$ the loss goes from 3.135 to 1.590 in 400 steps;
# counting the pairs shows that no such model can get below 1.583. (A learning rate of $30$ looks absurd. It
# is not: what counts is $\alpha c$, and the curvature of this loss is small. There is no "normal" learning
# rate without a curvature.)
#
# `optim.SGD` is the same rule. It must give the same numbers, to the last bit:
# %% [markdown] lang="zh"
# 这里有 23 个字符、370 对相邻字符。取 $\alpha = 30$，400 步之后损失从 3.135 降到 1.590；数一数字符对就知道，
# 这样的模型最低只能到 1.583。（学习率取 $30$ 看着很荒唐，其实不然：要紧的是 $\alpha c$，
# 而这个损失的曲率很小。离开曲率，谈不上什么“正常的”学习率。）
#
# `optim.SGD` 用的是同一条规则，它给出的数必须分毫不差：
# %%
W = Tensor(np.zeros((V, V)), requires_grad=True)
sgd = optim.SGD([W], lr=30.0)
for t in range(50):
    loss = loss_of(W)
    assert loss.item() == losses[t]
    sgd.zero_grad()
    loss.backward()
    sgd.step()
print("50 losses of optim.SGD, all equal to yours to the last bit; the last one is", loss.item())

# %% [markdown] lang="en"
# ## Could we have known?
#
# The loss of this model is no parabola, so its curvature is another one in each place. But we can compute it:
# the Hessian times a vector is the gradient of the gradient, and multiplying a vector by the Hessian again
# and again turns it into the steepest direction (power iteration). `minillm.grad(..., create_graph=True)`
# gives gradients that can be differentiated again.
#
# **Predict**: is the largest allowed $\alpha = 2/\lambda_{\max}$ larger at the start of training or at the
# end?
# %% [markdown] lang="zh"
# ## 能不能事先知道？
#
# 这个模型的损失不是抛物线，各处的曲率不一样。但曲率可以算出来：海森矩阵乘以一个向量，就是“梯度的梯度”；
# 反复用海森矩阵去乘一个向量，它就会转向最陡的方向（幂迭代）。
# `minillm.grad(..., create_graph=True)` 得到的梯度可以再求导。
#
# **先猜一猜**：允许的最大学习率 $2/\lambda_{\max}$，是在训练开始时大，还是在结束时大？
# %%
def largest_curvature(W_data, iterations=60):
    """The largest eigenvalue of the loss's Hessian at W."""
    W = Tensor(W_data, requires_grad=True)
    g = minillm.grad(formulas.softmax_cross_entropy(W[x], y), W, create_graph=True)
    v = np.random.default_rng(0).normal(size=W.shape)
    for _ in range(iterations):
        v = v / np.linalg.norm(v)
        Hv = minillm.grad(g, W, v).data
        size = np.sum(v * Hv)
        v = Hv
    return size


limits = {steps: 2 / largest_curvature(train(30.0, steps)[1]) for steps in (0, 1, 2, 5, 20, 100, 400)}
for steps, found in limits.items():
    print(f"after {steps:3} steps: alpha must be below {found:.1f}")
says("215", limits[0])
says("42.5", limits[400])

runs = {alpha: train(alpha, 400)[0] for alpha in (10.0, 40.0, 45.0, 100.0)}
for alpha, curve in runs.items():
    print(f"alpha {alpha:5}: the loss rose in {np.sum(np.diff(curve[-101:]) > 0):2} of the last 100 steps; "
          f"mean loss there {curve[-100:].mean():.3f}")
says("0", np.sum(np.diff(runs[40.0]) > 0))
says("50", np.sum(np.diff(runs[45.0][-101:]) > 0))
says("100", len(runs[45.0][-101:]) - 1)
assert runs[100.0][-100:].mean() > runs[45.0][-100:].mean() + 0.1
says("1.588", runs[40.0][-1])

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
for (alpha, curve), color in zip(runs.items(), (GREY, BLUE, ORANGE, RED), strict=True):
    for ax in (left, right):
        ax.plot(curve, ":" if color == GREY else "-", color=color, linewidth=1.2, label=f"{alpha:.0f}")
for ax in (left, right):
    ax.axhline(floor, color="black", linewidth=0.8, linestyle="--", label="best possible")
    ax.set_xlabel("step")
left.set_ylabel("loss")
left.set_ylim(1.5, 3.2)
left.legend(loc="upper right", title="learning rate", fontsize=8, title_fontsize=8)
right.set_xlim(360, 400)
right.set_ylim(1.58, 1.62)
right.set_title("the last 40 steps, enlarged", fontsize=10)
fig.tight_layout()
picture(fig, name="character_model",
        alt_en="Training loss of the character model for four learning rates; left 400 steps, right the last "
               "40, enlarged. With 10 it falls smoothly but slowly, with 40 smoothly to just above the "
               "dashed line of the best possible loss. With 45 it goes up and down in every second step a "
               "little above that, which only the enlarged picture shows; with 100 it jumps about far above.",
        alt_zh="字符模型在四种学习率下的训练损失，左图是 400 步，右图放大了最后 40 步。学习率 10："
               "平稳但较慢；40：平稳地降到虚线（最低可能的损失）上方一点；45：在稍高处一步升、一步降，"
               "放大之后才看得出来；100：在高处上下乱跳。")

# %% [markdown] lang="en"
# At the start anything below 215 would do. After the training the limit is 42.5. **The valley becomes
# narrower as the model learns**, and so a rate can be right at first and wrong later. The prediction holds:
# with $40$ the loss never rises (0 times) and ends at 1.588; with $45$ it rises in 50 of the last 100 steps;
# with $100$ it jumps about far above both.
#
# Note also what does *not* happen: no `nan`. The slope of this loss is bounded, so a rate that is too large
# does not explode here; it shakes and stays bad. A loss curve that trembles and will not settle is the
# everyday face of $\alpha > 2/c$.
#
# ## Mini-batches: a gradient with noise
#
# The gradient over all data is expensive, so training takes a few samples at random, a **mini-batch** of $B$,
# and uses their gradient in its place. On average over all batches it is the right one; each single one is
# off. How far? **Predict**: by what factor does the typical error fall when $B$ goes from 4 to $16$, with
# four times the work?
# %% [markdown] lang="zh"
# 训练刚开始时，只要低于 215 都行；训练之后，上限是 42.5。**模型越学，山谷越窄**，
# 所以一个学习率可以开始时合适，后来不合适。预测应验了：取 $40$ 时损失一次也没有上升（0 次），最后是 1.588；
# 取 $45$ 时，最后 100 步里有 50 步上升；取 $100$ 时，一直在高处乱跳。
#
# 还要留意**没有**发生的事：没有出现 `nan`。这个损失的斜率有界，所以学习率过大时不会爆炸，只是抖个不停，
# 一直降不下去。损失曲线发抖、怎么也稳不下来，就是 $\alpha > 2/c$ 最常见的样子。
#
# ## 小批量：带噪声的梯度
#
# 用全部数据算一次梯度太贵，于是训练时随机取 $B$ 个样本，也就是一个**小批量**，用它的梯度来代替。
# 对所有可能的批取平均，它是对的；单独一个批则有偏差。偏差有多大？**先猜一猜**：$B$ 从 4 增加到 $16$，
# 计算量是四倍，典型的误差缩小到几分之一？
# %%
def gradient_on(W_data, x, y):
    W = Tensor(W_data, requires_grad=True)
    loss_of(W, x, y).backward()
    return W.grad


W_now = train(30.0, 20)[1]
full = gradient_on(W_now, x, y)
noise = {}
for B in (1, 4, 16, 64):
    rng = np.random.default_rng(B)
    picks = [rng.integers(len(x), size=B) for _ in range(1500)]
    found = np.array([gradient_on(W_now, x[pick], y[pick]) for pick in picks])
    noise[B] = np.sqrt(np.mean(np.sum((found - full) ** 2, axis=(1, 2))))
    print(f"B = {B:2}: typical error {noise[B]:.4f}   (length of the full gradient "
          f"{np.linalg.norm(full):.4f})")
says("2.0", noise[4] / noise[16])
says("2.0", noise[1] / noise[4])
says("8", noise[1] / noise[64])
says("13 倍", noise[16] / np.linalg.norm(full))
says("13", noise[16] / np.linalg.norm(full))

# %% [markdown] lang="en"
# It is only halved (2.0): the error falls like $1/\sqrt{B}$, so from $B = 1$ to $B = 64$ it falls 8 times.
# Even at $B = 16$ the noise is about 13 times as long as the gradient itself here, and yet training works,
# because noise averages out over the steps and the gradient does not.
#
# What the noise costs is the end of the walk. In the one-dimensional valley with noise of variance $\sigma^2$
# on each slope, the distance is multiplied by $1 - \alpha c$ and $\alpha$ times the noise is added. When both
# balance, the variance $s$ of $\theta$ satisfies $s = (1 - \alpha c)^2 s + \alpha^2\sigma^2$, hence
#
# $$s = \frac{\alpha\,\sigma^2}{c\,(2 - \alpha c)}$$
#
# Here are 4000 walkers that all step with noise:
# %% [markdown] lang="zh"
# 只缩小一半（两者之比是 2.0）：误差按 $1/\sqrt{B}$ 下降，从 $B = 1$ 到 $B = 64$，才缩小到 1/8。
# 这里就算 $B = 16$，噪声的长度也约是梯度本身的 13 倍，可训练仍然有效，因为多走几步，噪声会互相抵消，
# 梯度不会。
#
# 噪声的代价出现在路的尽头。在一维山谷里，给每次的斜率加上方差为 $\sigma^2$ 的噪声：每一步，
# 距离乘以 $1 - \alpha c$，再加上 $\alpha$ 倍的噪声。两者平衡时，
# $\theta$ 的方差 $s$ 满足 $s = (1 - \alpha c)^2 s + \alpha^2\sigma^2$，于是
#
# $$s = \frac{\alpha\,\sigma^2}{c\,(2 - \alpha c)}$$
#
# 下面让 4000 个人都带着噪声走：
# %%
rng = np.random.default_rng(0)
spread = {}
for alpha in (0.4, 0.1, 0.025):
    walkers = np.zeros(4000)
    for _ in range(200):
        slope = 2 * (walkers - 3) + rng.normal(size=walkers.shape)
        walkers = gradient_descent_step(walkers, slope, alpha)
    spread[alpha] = np.mean((walkers - 3) ** 2)
    formula = alpha / (2 * (2 - 2 * alpha))
    print(f"alpha {alpha:5}: measured variance {spread[alpha]:.4f}, formula {formula:.4f}")
says("4000", walkers.size)
says("0.4", max(spread))
says("0.17", spread[0.4])
says("0.17", 0.4 / (2 * (2 - 0.8)))
says("0.028", spread[0.1])
says("0.028", 0.1 / (2 * (2 - 0.2)))

# %% [markdown] lang="en"
# With $\alpha = 0.4$ the variance around the lowest point is 0.17, with $\alpha = 0.1$ only 0.028, as the
# formula says. So there are two reasons for a learning rate that becomes smaller during training: the valley
# narrows, and the noise must die away.
#
# ## Momentum: a ball with friction
#
# In the narrow valley the gradient mostly points across, to and fro. If we *add up* gradients, what goes to
# and fro cancels and what goes along the valley piles up. The forgetful loop above did that without friction
# and never stopped. So let the velocity $u$ keep only a share $\mu$ of itself (Sutskever et al., 2013, as
# `torch.optim.SGD` writes it):
#
# $$u_t = \mu\,u_{t-1} + g_t \qquad \theta_{t+1} = \theta_t - \alpha\,u_t$$
# %% [markdown] lang="zh"
# $\alpha = 0.4$ 时，谷底附近的方差是 0.17；$\alpha = 0.1$ 时只有 0.028，与公式一致。
# 可见训练中要逐渐减小学习率，有两个理由：山谷在变窄，噪声也要慢慢压下去。
#
# ## 动量：有摩擦的滚球
#
# 在狭长的山谷里，梯度大多是横向的，一会儿向左，一会儿向右。如果把梯度**累加**起来，来回的部分互相抵消，
# 沿着山谷的部分越积越多。前面忘记清零的循环正是这样做的，只是没有摩擦，所以停不下来。
# 现在让速度 $u$ 每次只保留自己的 $\mu$ 倍（Sutskever et al., 2013，写法与 `torch.optim.SGD` 相同）：
#
# $$u_t = \mu\,u_{t-1} + g_t \qquad \theta_{t+1} = \theta_t - \alpha\,u_t$$
# %% exercise="momentum_step"
def momentum_step(theta, g, u, alpha, mu):
    """One step of gradient descent with momentum.

    u_t = mu u_{t-1} + g_t
    theta_{t+1} = theta_t - alpha u_t

    theta, g, u: arrays of one shape (they must stay as they are); u is 0 before the first step.
    alpha: learning rate. mu: momentum, in [0, 1).
    Returns (theta, u), both new.
    """
    # BEGIN SOLUTION
    u = mu * u + g
    return theta - alpha * u, u
    # END SOLUTION


# %% [markdown] lang="en"
# In the narrow valley, with the rates that are best for each
# ($\alpha = 4/(\sqrt{c_{\max}} + \sqrt{c_{\min}})^2$ and $\mu = ((\sqrt\kappa - 1)/(\sqrt\kappa + 1))^2$ for
# momentum). Plain descent needed 87 steps. **Predict** how many this needs; $\sqrt{25} = 5$.
# %% [markdown] lang="zh"
# 还是那条狭长的山谷，两种方法各用自己最好的参数（动量取 $\alpha = 4/(\sqrt{c_{\max}} + \sqrt{c_{\min}})^2$，
# $\mu = ((\sqrt\kappa - 1)/(\sqrt\kappa + 1))^2$）。普通的梯度下降要 87 步。**先猜一猜**：动量要几步？提示：
# $\sqrt{25} = 5$。
# %%
def momentum_walk(alpha, mu, steps):
    places, u = [start], np.zeros(2)
    for _ in range(steps):
        theta, u = momentum_step(places[-1], curvature * places[-1], u, alpha, mu)
        places.append(theta)
    return np.array(places)


alpha_m, mu_m = 4 / (5 + 1) ** 2, ((5 - 1) / (5 + 1)) ** 2
plain, rolling = narrow_walk(best, 120), momentum_walk(alpha_m, mu_m, 120)
print(f"alpha {alpha_m:.3f}, mu {mu_m:.3f}: steps with momentum {steps_until(rolling)}, without "
      f"{steps_until(plain)}")
says("23", steps_until(rolling))
says("0.111", alpha_m)
says("0.08", 2 / 25)
limit = 2 * (1 + mu_m) / 25
print(f"limit with momentum {limit:.4f}; distance after 2000 steps just below it and just above it:",
      [f"{np.linalg.norm(momentum_walk(share * limit, mu_m, 2000)[-1]):.1e}" for share in (0.99, 1.01)])

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
left.contour(a, b, 0.5 * (a**2 + 25 * b**2), levels=[1, 5, 15, 30, 50, 75], colors=GREY, linewidths=0.7)
left.plot(*plain[:41].T, ".-", color=BLUE, linewidth=0.8, markersize=4, label="plain, best rate")
left.plot(*rolling[:41].T, "s-", color=ORANGE, linewidth=0.9, markersize=3, label="momentum, best rates")
left.set_xlabel(r"$\theta_1$")
left.set_ylabel(r"$\theta_2$")
left.legend(fontsize=8)
right.semilogy(np.linalg.norm(plain, axis=1), "-", color=BLUE, label="plain")
right.semilogy(np.linalg.norm(rolling, axis=1), "--", color=ORANGE, label="momentum")
right.set_ylim(1e-6, 20)
right.set_xlabel("step")
right.set_ylabel("distance to the lowest point")
right.legend(fontsize=8)
fig.tight_layout()
picture(fig, name="momentum",
        alt_en="Left: contours of the narrow valley with two paths; the plain one zigzags all the way, the "
               "one with momentum swings wide at first and is soon at the centre. Right: the distance on a "
               "logarithmic axis; both fall along lines, momentum several times as steeply.",
        alt_zh="左图：狭长山谷的等高线和两条路径，普通梯度下降一路折来折去，动量先大幅摆动，很快就到了中心。"
               "右图：到谷底的距离（对数刻度），两者都近似直线下降，动量陡好几倍。")

# %% [markdown] lang="en"
# 23 steps in place of 87. Look at the rate, too: 0.111 is *above* plain descent's limit of 0.08. Momentum has
# another limit, $2(1 + \mu)/c$, because the velocity remembers where it came from and brakes; the cell above
# tried it on both sides of that limit.
#
# `formulas.momentum_step` and `optim.SGD(momentum=...)` are the same rule. Do all three agree?
# %% [markdown] lang="zh"
# 只要 23 步，而不是 87 步。再看学习率：0.111 **超过**了普通梯度下降的上限 0.08。动量的上限不同，
# 是 $2(1 + \mu)/c$，因为速度记得自己从哪里来，会起刹车的作用；上面的代码在这个上限的两侧各试了一次。
#
# `formulas.momentum_step` 和 `optim.SGD(momentum=...)` 用的是同一条规则。三者一致吗？
# %%
place = Tensor(start.copy(), requires_grad=True)
ball = optim.SGD([place], lr=alpha_m, momentum=mu_m)
theta, u = start, np.zeros(2)
for t in range(30):
    ball.zero_grad()
    (0.5 * np.sum(curvature * place**2)).backward()
    theta, u = formulas.momentum_step(theta, place.grad.copy(), u, alpha=alpha_m, mu=mu_m)
    ball.step()
    assert np.array_equal(place.data, theta)
    assert np.allclose(theta, rolling[t + 1], rtol=1e-9, atol=1e-12)
print("30 steps: optim.SGD with momentum equals formulas.momentum_step bit for bit, and your walk agrees")

# %% [markdown] lang="en"
# ## One bad batch: clip the gradient's norm
#
# A model $\hat y = \theta_1 x + \theta_2$ learns $y = 2x + 1$. At step $30$ one label in the batch is wrong:
# somebody typed `3000` for `3.000`. The gradient of a squared error grows with the error, so this one step
# throws the parameters far away. The usual protection is to shorten a gradient that is too long, and keep its
# direction (Pascanu et al., 2013):
#
# $$g \leftarrow \min\!\left(1, \frac{c}{\lVert g\rVert}\right) g$$
#
# **Predict** how far the bad step throws the parameters with a cap of $c = 1$ and $\alpha = 0.1$.
# %% [markdown] lang="zh"
# ## 一批坏数据：裁剪梯度的范数
#
# 模型 $\hat y = \theta_1 x + \theta_2$ 要学会 $y = 2x + 1$。第 $30$ 步，批里有一个标签错了：
# 有人把 `3.000` 输成了 `3000`。平方误差的梯度随误差增大，于是这一步把参数甩出很远。通常的保护办法是：
# 梯度太长就缩短，方向不变（Pascanu et al., 2013）：
#
# $$g \leftarrow \min\!\left(1, \frac{c}{\lVert g\rVert}\right) g$$
#
# **先猜一猜**：上限 $c = 1$、$\alpha = 0.1$ 时，坏的那一步会把参数甩出多远？
# %%
def learn_a_line(max_norm, steps=60):
    """Distances of theta from (2, 1), and the gradient's norm in each step."""
    rng = np.random.default_rng(0)
    theta = Tensor(np.zeros(2), requires_grad=True)
    sgd = optim.SGD([theta], lr=0.1)
    distances, norms = [], []
    for t in range(steps):
        xs = rng.normal(size=8)
        ys = 2 * xs + 1
        if t == 30:
            ys[0] = 3000.0
        sgd.zero_grad()
        np.mean((theta[0] * xs + theta[1] - ys) ** 2).backward()
        norms.append(optim.clip_grad_norm([theta], max_norm))
        sgd.step()
        distances.append(np.linalg.norm(theta.data - [2, 1]))
    return np.array(distances), np.array(norms)


free, norms = learn_a_line(np.inf)
capped, _ = learn_a_line(1.0)
print("gradient's norm at steps 29, 30:", norms[29:31].round(3))
print("distance at steps 29, 30, 59 without clipping:", free[[29, 30, 59]].round(3))
print("distance at steps 29, 30, 59 with clipping:   ", capped[[29, 30, 59]].round(3))
says("1227", norms[30])
says("122.7", free[30])
says("0.198", free[59])
says("0.10", 0.1 * 1.0)
says("0.062", capped[30])
says("0.002", free[29])
says("0.040", capped[29])

# %% [markdown] lang="en"
# Without a cap the norm of 1227 throws the parameters to a distance of 122.7, and 29 good steps later they
# are still 0.198 away. With the cap no step can be longer than $\alpha c$, here 0.10, whatever the data say:
# the distance after the bad step is 0.062.
#
# Clipping is not free. At the start it shortened good gradients too: before the bad step the capped run was
# at 0.040, the free one at 0.002 already. So look at the norms that `optim.clip_grad_norm` returns, and put
# the cap above the usual ones.
#
# A wrong version that people write is to clip each number by itself. See what it does to the direction of the
# gradient $(3, 40)$:
# %% [markdown] lang="zh"
# 没有上限时，1227 的范数把参数甩到了 122.7 之外，又走了 29 步好数据，距离仍有 0.198。有了上限，
# 不管数据多离谱，一步都不会超过 $\alpha c$，这里是 0.10：坏的那一步之后，距离只有 0.062。
#
# 裁剪也有代价。刚开始时，它把好的梯度也缩短了：坏数据到来之前，裁剪的那次距离是 0.040，
# 不裁剪的已经到了 0.002。所以要看 `optim.clip_grad_norm` 返回的范数，把上限定在平常的范数之上。
#
# 常有人写出一种错误的做法：把每个分量单独截断。看看它把梯度 $(3, 40)$ 的方向变成了什么：
# %%
g = np.array([3.0, 40.0])
by_norm, by_number = formulas.clip_by_norm(g, max_norm=1.0), np.clip(g, -1, 1)
for name, clipped in (("gradient", g), ("clipped by norm", by_norm), ("number by number", by_number)):
    print(f"{name:18} {np.array2string(clipped, precision=3):16} angle "
          f"{np.degrees(np.arctan2(*clipped[::-1])):.1f} degrees")
says("85.7", np.degrees(np.arctan2(*g[::-1])))
says("85.7", np.degrees(np.arctan2(*by_norm[::-1])))
says("45.0", np.degrees(np.arctan2(*by_number[::-1])))
says("29", 59 - 30)
layers = [np.array([[3.0, 0.0], [0.0, 0.0]]), np.array([40.0])]  # the same numbers, in two parameter arrays
says("40.1", formulas.global_norm([g]))
says("40.1", formulas.global_norm(layers))
print("norm of the gradient:", formulas.global_norm([g]), "  spread over two arrays:", formulas.global_norm(layers))

# %% [markdown] lang="en"
# By norm the direction stays at 85.7 degrees; number by number it turns to 45.0 degrees, which is no longer
# the way down.
#
# For the same reason the norm of a model's gradient is taken over *all* its arrays together, as if they were
# one long vector (`formulas.global_norm`): 40.1 here, whether the numbers stand in one array or in two. Array
# by array the direction would turn again.
#
# ## What you can say now
#
# - **Could you have known?** Yes: the limit is $2/c$ with $c$ the largest curvature. A run that trembles or
#   explodes is past it, and the curvature changes while the model learns.
# - `nan` is the end of a long story; look for the first `inf`, and for the first rise of the loss.
# - One rate has to serve all directions, and the steepest one decides. The condition number says how slow
#   that makes the flat ones.
# - Momentum needs about $\sqrt\kappa$ where plain descent needs $\kappa$ steps. Mini-batches add noise of
#   $1/\sqrt B$. Clipping bounds a step by $\alpha c$ (there, $c$ is the cap).
# - Check a gradient by differences, in float64, before you blame the learning rate.
#
# What remains unsatisfying is the third point: why should all parameters share one rate? Lesson 4 gives each
# its own.
#
# The package walks through the rule of section 4.2 of the article in the terminal: `minillm step 4.2`.
# %% [markdown] lang="zh"
# 按范数裁剪，方向仍是 85.7 度；逐个截断，方向变成了 45.0 度，已经不是下坡的方向。
#
# 同样的道理，模型梯度的范数要对**所有**数组一起算，好像它们是一个长长的向量（`formulas.global_norm`）：
# 这里是 40.1，不论这些数放在一个数组里还是两个数组里。如果一个数组一个数组地裁剪，方向又会改变。
#
# ## 现在你能回答了
#
# - **能不能事先知道？** 能：上限是 $2/c$，$c$ 是最大的曲率。训练发抖或者爆炸，就是越过了它；
#   而且曲率会随着学习而变。
# - `nan` 是一个长故事的结尾。要找的是第一个 `inf`，以及损失第一次上升的地方。
# - 一个学习率要照顾所有方向，最陡的方向说了算。条件数告诉你，平缓的方向会因此慢多少。
# - 普通梯度下降要 $\kappa$ 步的地方，动量约要 $\sqrt\kappa$ 步。小批量带来 $1/\sqrt B$ 的噪声。
#   裁剪保证一步不超过 $\alpha c$（这里的 $c$ 是范数的上限）。
# - 责怪学习率之前，先用差分检验梯度，并且用 float64。
#
# 第三点还不能让人满意：为什么所有参数要共用一个学习率？第 4 课让每个参数有自己的学习率。
#
# 在终端里可以用 `minillm step 4.2` 一步步走完文章 4.2 节的公式。
