# ---
# title: Tensors, the tape, and why the order matters
# title_zh: 张量、记录带，以及为什么要讲顺序
# minutes: 35
# needs: []
# ---
# %% [markdown] lang="en"
# ## The question
#
# Every model in this course learns by one rule, gradient descent (section 4.2 of the article):
#
# $$\theta_{t+1} = \theta_t - \alpha \nabla L(\theta_t)$$
#
# Everything in it is easy but $\nabla L$, the gradient of the loss: one derivative for *each* parameter, and
# a model has millions of them. How does a program get them all from a formula that it has merely computed
# once?
#
# The answer is a **tape**: a record of what was computed, walked backwards. You will build one of about
# twenty lines, and first walk it the wrong ways that people really write. One is right and takes 73 years;
# one gives 8 where 16 is right, and gives 16 again when you write `b + a` for `a + b`. At the end you will
# know which order is right and why, and that `minillm.Tensor` does the same.
# %% [markdown] lang="zh"
# ## 要回答的问题
#
# 本课程里的模型都靠同一条规则学习，即梯度下降（文章 4.2 节）：
#
# $$\theta_{t+1} = \theta_t - \alpha \nabla L(\theta_t)$$
#
# 式中别的都好办，难的是损失函数的梯度 $\nabla L$：*每个*参数都要有一个导数，而模型的参数动辄上百万。程序只不
# 过把公式算了一遍，怎么就能得到所有这些导数？
#
# 答案是**记录带**：先记下算了什么，再倒着走一遍。下面你会亲手写一个二十来行的记录带，而且先按大家真会写出来的
# 错误走法走几遍：有一种结果是对的，却要花 73 年；还有一种，正确答案是 16，它给出 8，可是把 `a + b` 改写成
# `b + a`，它又给出 16。学完这一课，你会明白哪种顺序是对的、为什么对，并看到 `minillm.Tensor` 做的正是同一件
# 事。
# %%
import itertools
import math
from collections import deque

import matplotlib.pyplot as plt
import numpy as np

import minillm
from minillm import Tensor
from minillm.course import picture, says, step
from minillm.stepper import trace


# %% [markdown] lang="en"
# ## 1. A derivative without any theory
#
# Take a function small enough to do by hand:
#
# $$a = x^2, \qquad b = a\,x, \qquad y = a + b$$
#
# So $y = x^2 + x^3$ and $dy/dx = 2x + 3x^2$. At $x = 2$: $y = 4 + 8 = 12$ and $dy/dx = 4 + 12 = 16$. Keep the
# 16 in mind, it is the judge of all that follows.
#
# A program that knows no calculus can nudge $x$ and look:
#
# $$\frac{dy}{dx} \approx \frac{y(x+h) - y(x)}{h} \qquad\text{or, better,}\qquad \frac{y(x+h) - y(x-h)}{2h}$$
#
# **Predict:** with $h = 0.001$, how many digits does each of the two get right? And is a smaller $h$ always
# better?
# %% [markdown] lang="zh"
# ## 1. 不懂微积分也能求导
#
# 取一个手算得动的函数：
#
# $$a = x^2, \qquad b = a\,x, \qquad y = a + b$$
#
# 也就是 $y = x^2 + x^3$，$dy/dx = 2x + 3x^2$。在 $x = 2$ 处，$y = 4 + 8 = 12$，$dy/dx = 4 + 12 = 16$。请记住
# 这个 16，后面的每种做法都要由它来评判。
#
# 不懂微积分的程序，可以把 $x$ 轻轻推一下，看看 $y$ 变了多少：
#
# $$\frac{dy}{dx} \approx \frac{y(x+h) - y(x)}{h} \qquad\qquad \frac{y(x+h) - y(x-h)}{2h}$$
#
# 左边叫单侧差分，右边叫中心差分，后者更准。**先猜一猜**：取 $h = 0.001$，两者各有几位是对的？$h$ 是不是越小越
# 好？
# %%
def small(x):
    a = x * x
    b = a * x
    return a + b


def one_sided(f, x, h):
    return (f(x + h) - f(x)) / h


def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


print("     h    one-sided        central")
for h in (1e-1, 1e-3, 1e-5, 1e-8, 1e-12, 1e-16):
    print(f"{h:6.0e}  {one_sided(small, 2.0, h):13.9f}  {central(small, 2.0, h):13.9f}")

says("0.001", 1e-3)
says("16.007", one_sided(small, 2.0, 1e-3))
says("16.000001", central(small, 2.0, 1e-3))
says("0", central(small, 2.0, 1e-16))

# %% [markdown] lang="en"
# One-sided, the error is about $\tfrac{h}{2} y''$: 16.007. Central, the two errors of first order cancel and
# $h^2$ is left: 16.000001. But at the bottom of the table it becomes worse again, and at last it is 0:
# `2.0 + 1e-16` *is* `2.0` in float64. Far below $h = 10^{-5}$ you measure rounding, not slope. So a numerical
# derivative never has all its digits, and it needs two evaluations of the loss for each parameter. It is too
# slow to train with and too coarse to trust blindly, but it needs no theory, and so it can find mistakes in
# methods that do. That is what we will use it for.
#
# ## Exercise: the numerical gradient
#
# Write it for an array, one element at a time.
# %% [markdown] lang="zh"
# 单侧差分的误差约为 $\tfrac{h}{2} y''$，得 16.007；中心差分里两边的一阶误差互相抵消，只剩 $h^2$，得
# 16.000001。可是再往下看，$h$ 太小反而更糟，最后竟得到 0：在 float64 里，`2.0 + 1e-16` *就是* `2.0`。$h$ 比
# $10^{-5}$ 小得多时，量到的是舍入误差，而不是斜率。所以数值导数总要丢几位数字，而且每个参数都得把损失算两遍。
# 用它来训练太慢，也不够准；但它不依赖任何理论，正好用来检查那些依赖理论的方法有没有写错。这一课就这样用它。
#
# ## 练习：数值梯度
#
# 请对数组写出它，一次推动一个元素。
# %% exercise="numerical_gradient"
def numerical_gradient(f, x, h=1e-5):
    """The gradient of a function of an array, by central differences.

    grad_i = (f(x + h e_i) - f(x - h e_i)) / (2 h),   e_i: 1 at element i, 0 elsewhere

    f: takes an array of x's shape, gives a number.
    x: array of any shape, float64; it must stay as it is.
    Returns an array of x's shape.
    """
    # BEGIN SOLUTION
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad
    # END SOLUTION


# %%
print(numerical_gradient(lambda x: np.sum(x**2), np.array([[1.0, -2.0], [0.5, 3.0]])))

parameters = 64 * 64 + 64 + 64 * 10 + 10  # a network with 64 inputs, 64 hidden units, 10 outputs
says("4,810", parameters)
says("9,620", 2 * parameters)
print(f"{parameters:,} parameters: {2 * parameters:,} evaluations for a single step of gradient descent")

# %% [markdown] lang="en"
# A tiny network of 4,810 parameters needs 9,620 evaluations for one step. The tape will need one walk forward
# and one walk back, whatever the number of parameters.
#
# ## 2. A tape of one class
#
# The chain rule needs two things of each operation: what went in, and the **local derivatives** of the result
# with respect to its inputs. Both are known at the moment when the operation is computed. So let each number
# remember them:
#
# | operation | result | local derivatives |
# | --- | --- | --- |
# | add | $v = a + b$ | $\partial v/\partial a = 1, \quad \partial v/\partial b = 1$ |
# | multiply | $v = a\,b$ | $\partial v/\partial a = b, \quad \partial v/\partial b = a$ |
# | tanh | $v = \tanh a$ | $\partial v/\partial a = 1 - v^2$ |
#
# That is the whole forward half.
# %% [markdown] lang="zh"
# 一个只有 4,810 个参数的小网络，走一步就要把损失算 9,620 遍。而用记录带，不论有多少参数，都只要前向走一遍、反
# 向走一遍。
#
# ## 2. 一个类就是一条记录带
#
# 链式法则要求每个运算提供两样东西：它的输入，以及结果对各输入的**局部导数**。这两样在计算的那一刻都是现成的，
# 那就让每个数自己记住：
#
# | 运算 | 结果 | 局部导数 |
# | --- | --- | --- |
# | 加 | $v = a + b$ | $\partial v/\partial a = 1, \quad \partial v/\partial b = 1$ |
# | 乘 | $v = a\,b$ | $\partial v/\partial a = b, \quad \partial v/\partial b = a$ |
# | tanh | $v = \tanh a$ | $\partial v/\partial a = 1 - v^2$ |
#
# 前向这一半，到此就写完了。
# %%
class Value:
    """A number that remembers how it was computed."""

    def __init__(self, data, inputs=(), local=()):
        self.data = data
        self.inputs = inputs  # the Values that it was computed from
        self.local = local  # d(self)/d(input), one number for each input
        self.grad = 0.0  # dL/d(self), once somebody has walked back

    def __add__(self, other):
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        v = math.tanh(self.data)
        return Value(v, (self,), (1 - v * v,))


def build():
    """The small function at x = 2, on a tape of its own."""
    x = Value(2.0)
    a = x * x
    b = a * x
    y = a + b
    return x, a, b, y


x, a, b, y = build()
says("12", y.data)
for name, v in zip("abyx", (a, b, y, x), strict=True):
    print(name, "=", v.data, "  local derivatives:", v.local)

# %% [markdown] lang="en"
# The picture shows the tape with its numbers: beside each arrow the local derivative. Going back from $y$,
# the gradient of $x$ is the **sum over all paths** from $y$ to $x$ of the product of the numbers along the
# path. $x$ is used twice in $x \cdot x$, so there are two arrows from $a$ to $x$, and five paths in all.
# Multiply and add them on paper before you read on: do you get 16?
# %% [markdown] lang="zh"
# 下图画出了这条记录带和上面的数，箭头旁边是局部导数。从 $y$ 往回走，$x$ 的梯度等于**对所有从 $y$ 到 $x$ 的路
# 径求和**，每条路径的值是沿途各局部导数的乘积。$x \cdot x$ 用了两次 $x$，所以从 $a$ 到 $x$ 有两个箭头，路径一
# 共五条。先别往下看，在纸上乘一乘、加一加：得到 16 了吗？
# %%
def draw(ax):
    """The tape of the small function: arrows lead from a result to its inputs."""
    at = {"x": (0, 0), "a": (1.5, 1.0), "b": (3, 0), "y": (4.5, 1.0)}
    for name, v in zip("xaby", build(), strict=True):
        ax.text(*at[name], f"{name} = {v.data:g}", ha="center", va="center", fontsize=12,
                bbox={"boxstyle": "round,pad=0.45", "fc": "#eaf2fb", "ec": "#0072b2"})
    arrows = [("y", "a", 1, 0.0, (3.0, 1.13)), ("y", "b", 1, 0.0, (3.95, 0.4)),
              ("b", "a", 2, 0.0, (2.4, 0.62)), ("b", "x", 4, 0.0, (1.5, -0.2)),
              ("a", "x", 2, 0.22, (0.38, 0.75)), ("a", "x", 2, -0.22, (1.2, 0.4))]
    for start, end, number, bend, place in arrows:
        ax.annotate("", at[end], at[start], arrowprops={
            "arrowstyle": "-|>", "color": "#444444", "shrinkA": 24, "shrinkB": 24,
            "connectionstyle": f"arc3,rad={bend}"})
        ax.text(*place, str(number), color="#b34700", fontsize=12, ha="center")
    ax.set(xlim=(-0.6, 5.1), ylim=(-0.5, 1.5))
    ax.axis("off")


fig, ax = plt.subplots(figsize=(6, 2.6))
draw(ax)
ax.set_title("the way back: arrows to the inputs, with local derivatives", fontsize=11)
picture(fig, name="tape",
        alt_en="The graph of the small function. From y = 12 arrows go back to a = 4 and b = 8, each with "
               "local derivative 1. From b an arrow to a with 2 and one to x with 4. From a two arrows to x "
               "= 2, each with 2.",
        alt_zh="小函数的计算图。从 y = 12 有箭头回到 a = 4 和 b = 8，局部导数都是 1；从 b 有箭头回到 a，局部"
               "导数为 2，另有箭头回到 x，局部导数为 4；从 a 有两个箭头回到 x = 2，局部导数都是 2。")

paths = [1 * 2, 1 * 2, 1 * 4, 1 * 2 * 2, 1 * 2 * 2]  # y-a-x twice, y-b-x, y-b-a-x twice
print(f"{' + '.join(map(str, paths))} = {sum(paths)}")
says("16", sum(paths))

# %% [markdown] lang="en"
# ## 3. First wrong way: follow every path
#
# The sum over paths is a correct definition, so why not program it? A function that passes its gradient on to
# the inputs, and calls itself there, is five lines. Many first engines look like this. Let it also count how
# often it is called.
# %% [markdown] lang="zh"
# ## 3. 错误走法之一：每条路径都走一遍
#
# “对所有路径求和”是正确的定义，照着写程序不就行了吗？写一个函数，把梯度传给各个输入，再对输入调用自己，五行就
# 够。许多人写的第一个自动微分引擎正是这个样子。我们让它顺便数一数自己被调用了多少次。
# %%
def backward_by_paths(v, g=1.0):
    """Adds g to v's gradient and follows every path below v; returns the number of visits."""
    v.grad += g
    visits = 1
    for u, d in zip(v.inputs, v.local, strict=True):
        visits += backward_by_paths(u, g * d)
    return visits


x, a, b, y = build()
visits = backward_by_paths(y)
print(f"dy/dx = {x.grad}, after {visits} visits to 4 numbers")
says("16", x.grad)
says("9", visits)

# %% [markdown] lang="en"
# The number is right. 9 visits for 4 numbers, well. Now add a number to itself, again and again:
#
# $$y_0 = x, \qquad y_{k} = y_{k-1} + y_{k-1}$$
#
# This is no artificial case: a residual connection $h + f(h)$, which every transformer has in each layer,
# uses $h$ twice in just this way.
#
# **Predict:** sixteen additions make 17 numbers. How many visits?
# %% [markdown] lang="zh"
# 结果是对的。4 个数访问了 9 次，也还过得去。现在让一个数不断地与自己相加：
#
# $$y_0 = x, \qquad y_{k} = y_{k-1} + y_{k-1}$$
#
# 这可不是故意刁难：Transformer 的每一层都有残差连接 $h + f(h)$，正是这样把 $h$ 用了两次。
#
# **先猜一猜**：加十六次，一共 17 个数，要访问多少次？
# %%
def doubled(n):
    x = y = Value(1.0)
    for _ in range(n):
        y = y + y
    return x, y


def residual(n):
    """n residual connections: h + tanh(w h)."""
    h, w = Value(0.5), Value(0.3)
    for _ in range(n):
        h = h + (w * h).tanh()
    return w, h


def count_nodes(root):
    """How many different Values there are below root, root included."""
    seen, stack = {root}, [root]
    while stack:
        for u in stack.pop().inputs:
            if u not in seen:
                seen.add(u)
                stack.append(u)
    return len(seen)


layers = range(17)
visits = [backward_by_paths(doubled(n)[1]) for n in layers]
visits_residual = [backward_by_paths(residual(n)[1]) for n in layers]
nodes_residual = [count_nodes(residual(n)[1]) for n in layers]
print(f"16 doublings: {visits[16]:,} visits to {count_nodes(doubled(16)[1])} numbers")
print(f"16 residual connections: {visits_residual[16]:,} visits to {nodes_residual[16]} numbers")
says("17", count_nodes(doubled(16)[1]))
says("131,071", visits[16])

n = 60
years = (2 ** (n + 1) - 1) / 1e9 / (365.25 * 24 * 3600)
print(f"{n} doublings, at a thousand million visits a second: {years:.1f} years")
says("60", n)
says("73", years)
assert visits[16] == 2**17 - 1

fig, ax = plt.subplots(figsize=(5.4, 3.4))
ax.semilogy(layers, visits_residual, "s-", color="#d55e00", label="residual, every path")
ax.semilogy(layers, visits, "o--", color="#e69f00", label="y + y, every path")
ax.semilogy(layers, nodes_residual, "^-", color="#0072b2", label="residual, every number once")
ax.set(xlabel="layers", ylabel="visits (logarithmic)")
ax.set_title("Following every path: each layer doubles the work", fontsize=11)
ax.legend(frameon=False)
ax.grid(alpha=0.3)
picture(fig, name="visits",
        alt_en="Visits against the number of layers, on a logarithmic axis. Following every path gives "
               "straight lines upwards, past a hundred thousand at 16 layers; visiting every number once "
               "stays below a hundred.",
        alt_zh="访问次数随层数的变化，纵轴为对数刻度。走遍每条路径的两条线笔直上升，16 层时超过十万；每个数只"
               "访问一次的线则始终在一百以下。")

# %% [markdown] lang="en"
# 131,071 visits for 17 numbers: each layer doubles the number of paths. With 60 such layers and a thousand
# million visits a second, one backward pass takes 73 years, and residual connections are no better. The
# result would be right. This mistake hides well: in a test with two layers you never see it.
#
# What is wasted? At $a$, the recursion arrives once with 1 and once with 2, and each time goes the whole way
# down again. It would be enough to **add first**, $1 + 2 = 3$, and go down once with 3:
#
# $$\frac{\partial y}{\partial a} =
# \sum_{v:\,a \to v} \frac{\partial y}{\partial v}\,\frac{\partial v}{\partial a}$$
#
# where the sum is over all $v$ that use $a$. Each number once, then. In which order?
# %% [markdown] lang="zh"
# 17 个数访问了 131,071 次：每多一层，路径就多一倍。这样的层如果有 60 层，即使每秒访问十亿次，反向传播一次也要
# 73 年；换成残差连接，也好不了。结果倒是对的。这个错误藏得很深：只用两层做测试，根本看不出来。
#
# 浪费在哪里？递归到达 $a$ 两回，一回带着 1，一回带着 2，每回都从头到底又走一遍。其实可以**先加起来**，
# $1 + 2 = 3$，再带着 3 往下走一遍就够了：
#
# $$\frac{\partial y}{\partial a} =
# \sum_{v:\,a \to v} \frac{\partial y}{\partial v}\,\frac{\partial v}{\partial a}$$
#
# 求和遍及所有用到 $a$ 的 $v$。可见每个数只该处理一次。那么，按什么顺序？
# %% [markdown] lang="en"
# ## 4. Second wrong way: a queue
#
# "Start at the result; put its inputs into a queue; take the next from the queue; skip what you have seen."
# This is breadth-first search, and each number is handled once.
#
# **Predict:** follow it on paper for $y = a + b$ with $b = a\,x$. Which gradient does $a$ have when its turn
# comes?
# %% [markdown] lang="zh"
# ## 4. 错误走法之二：排队
#
# “从结果出发，把它的输入排进队列；每次取队首；见过的就跳过。”这就是广度优先搜索，每个数只处理一次。
#
# **先猜一猜**：在纸上对 $y = a + b$、$b = a\,x$ 走一遍。轮到 $a$ 的时候，它手里的梯度是多少？
# %%
def backward_by_queue(root):
    root.grad = 1.0
    queue, seen = deque([root]), {root}
    while queue:
        v = queue.popleft()
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d
            if u not in seen:
                seen.add(u)
                queue.append(u)


x, a, b, y = build()
backward_by_queue(y)
says("8", x.grad)
says("3", a.grad)
print(f"y = a + b:  dy/dx = {x.grad}   (a ends with the right gradient {a.grad}, but passed on only 1)")

x, a, b, _ = build()
y = b + a  # the same sum
backward_by_queue(y)
says("16", x.grad)
print(f"y = b + a:  dy/dx = {x.grad}")

# %% [markdown] lang="en"
# 8, not 16. $a$ stood first in the queue, and passed on the 1 that it had. Then came $b$ and brought the
# missing 2, but $a$ had had its turn. The gradient of $a$ itself even ends at the right value 3, so that
# looking at it does not help.
#
# Worse: `b + a` gives 16. A test that happens to write the sum that way passes.
#
# A common repair is to drop the "skip what you have seen", so that $a$ gets a second turn:
# %% [markdown] lang="zh"
# 得到的是 8，不是 16。$a$ 排在队首，把当时手里的 1 传了下去；随后 $b$ 才送来缺的那个 2，可是 $a$ 已经轮过了。
# 更有迷惑性的是，$a$ 自己的梯度最后也是正确的 3，光看它看不出毛病。
#
# 还有更糟的：写成 `b + a` 就得到 16。要是测试里碰巧这样写，测试就通过了。
#
# 常见的补救是去掉“见过的就跳过”，让 $a$ 再轮一次：
# %%
def backward_by_queue_again(root):
    root.grad = 1.0
    queue = deque([root])
    while queue:
        v = queue.popleft()
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d
            queue.append(u)


x, a, b, y = build()
backward_by_queue_again(y)
says("20", x.grad)
print(f"dy/dx = {x.grad}")

# %% [markdown] lang="en"
# 20: on its second turn $a$ passes on $1 + 2 = 3$, although the 1 had already been passed on. Too little, too
# much; what is missing is not a trick but an order.
#
# ## 5. All orders there are
#
# Four numbers can be lined up in 24 ways. Let us try every one: seed $y$ with 1, then let each number, in its
# turn, pass on what it has.
# %% [markdown] lang="zh"
# 这回是 20：$a$ 第二次轮到时，把 $1 + 2 = 3$ 整个传了下去，可其中的 1 早已传过。不是少了就是多了。缺的不是什
# 么窍门，而是顺序。
#
# ## 5. 把所有顺序都试一遍
#
# 四个数有 24 种排法。我们一种一种试：先给 $y$ 的梯度置 1，然后按次序，让每个数把手里的梯度传下去。
# %%
def gradient_in_order(names):
    """dy/dx of the small function if its numbers pass on their gradients in this order."""
    x, a, b, y = build()
    y.grad = 1.0
    for name in names:
        v = {"x": x, "a": a, "b": b, "y": y}[name]
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d
    return x.grad


results = {}
for names in itertools.permutations("xaby"):
    results.setdefault(gradient_in_order(names), []).append("".join(names))
for value in sorted(results):
    print(f"dy/dx = {value:4g} from {len(results[value]):2d} orders: {' '.join(results[value])}")
print("the order in which they were computed, xaby, gives", gradient_in_order("xaby"))

says("24", sum(map(len, results.values())))
says("16", max(results))
says("0", gradient_in_order("xaby"))
right_orders = results[16.0]
assert right_orders == ["xyba", "yxba", "ybxa", "ybax"]

# %% [markdown] lang="en"
# Look at those that give 16. Where $x$ stands does not matter, since $x$ has no inputs to pass anything on
# to. Of the other three, only one order works: first $y$, then $b$, then $a$. What is special about it?
#
# > A number may pass on its gradient only when **all numbers that use it** have passed on theirs.
#
# $a$ is used by $y$ and by $b$, so both must come before it. An order in which everything comes after its
# inputs is a **topological order** of the graph; the walk back goes through it from its end.
#
# The order of computing, $x, a, b, y$, is such an order by itself, for nothing can be computed before its
# inputs. Read from its beginning it gives 0, since $y$ passes on its 1 last; read from its end it gives 16.
# That is why such a record is called a tape: recorded forwards, played backwards. An engine may keep one
# global list of all operations and read it backwards (TensorFlow's `GradientTape` does). The price: somebody
# must say when recording begins and ends, and all that was computed meanwhile stays in memory, whether the
# loss needs it or not. If instead each number knows its inputs, as ours do, then the graph below the loss is
# all that is kept, and the order is found when it is asked for.
#
# ## Exercise: the topological order
#
# The textbook way is depth-first search, recursively: list a number after all of its inputs, and remember
# what was opened.
# %% [markdown] lang="zh"
# 看看哪些顺序给出 16。$x$ 没有输入，传无可传，所以它站在哪里都无所谓。其余三个数只有一种次序行得通：先 $y$，
# 再 $b$，再 $a$。它特别在哪里？
#
# > 一个数要等**所有用到它的数**都把梯度传下来以后，才可以把自己的梯度往下传。
#
# $a$ 被 $y$ 和 $b$ 用到，所以这两个都必须排在它前面。如果一个次序里每个数都排在自己的输入之后，就称为计算图的
# 一个**拓扑序**；反向传播就是把拓扑序从尾走到头。
#
# 计算的次序 $x, a, b, y$ 本身就是一个拓扑序，因为没有哪个数能算在自己的输入前面。从头走，$y$ 最后才传出它的
# 1，结果是 0；从尾往回走，结果是 16。“记录带”由此得名：正着录，倒着放。引擎完全可以用一张全局的表记下所有运
# 算，再倒着读（TensorFlow 的 `GradientTape` 就是这样）。代价是：得有人说明从哪里开始录、到哪里停，而这期间算
# 过的一切，不管损失用不用得上，都得留在内存里。如果像我们这样，让每个数只记住自己的输入，那么留下的就只有损失
# 下面的那张图，次序等到要用时再求。
#
# ## 练习：拓扑序
#
# 教科书的做法是递归的深度优先搜索：先列出一个数的所有输入，再列它自己，并记住哪些已经打开过。
# %%
def topological_order_recursive(root):
    order, opened = [], set()

    def open_(v):
        if v not in opened:
            opened.add(v)
            for u in v.inputs:
                open_(u)
            order.append(v)

    open_(root)
    return order


def chain(n):
    """x + 1 + 1 + ... + 1: as deep as an LSTM that reads n characters."""
    x = y = Value(0.0)
    for _ in range(n):
        y = y + Value(1.0)
    return x, y


print(len(topological_order_recursive(chain(300)[1])), "numbers in order")
says("601", len(topological_order_recursive(chain(300)[1])))
try:
    topological_order_recursive(chain(20_000)[1])
    raise AssertionError("the lesson expects a RecursionError here")
except RecursionError as error:
    print(type(error).__name__ + ":", str(error).split(" while")[0])

# %% [markdown] lang="en"
# Short chains work: 601 numbers for `300` additions. A chain of `20_000` operations does not, since Python
# allows about a thousand nested calls; an LSTM that reads a few hundred characters is deep enough. Raising
# the limit only moves the wall, and may crash the interpreter. The cure is a stack of our own, a list: the
# search is the same, only nothing is nested.
#
# A number needs two entries on the stack: one that *opens* it, and below its inputs one that *closes* it,
# when all inputs are done. A mark such as `(v, True)` tells the two apart.
# %% [markdown] lang="zh"
# 短链没有问题：`300` 次加法，列出 601 个数。`20_000` 次运算的长链就不行了，因为 Python 只允许大约一千层嵌套调
# 用，而一个读几百个字符的 LSTM 就有这么深。调高上限只是把墙往后挪，还可能让解释器崩溃。对策是自己用列表做一个
# 栈：搜索照旧，只是不再嵌套。
#
# 每个数要进栈两次：一次是*打开*它，另一次压在它的输入下面，等输入都处理完，再*关闭*它。用 `(v, True)` 这样的
# 标记就能区分。
# %% exercise="topological_order"
def topological_order(root):
    """All Values below root, each once and after all of its inputs; root comes last.

    root: has `.inputs`, a tuple of Values (empty for a leaf), and so do these.
    Returns a list. It works for chains of any length, so there is no recursion in it.
    """
    # BEGIN SOLUTION
    order, opened = [], set()
    stack = [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
        elif v not in opened:
            opened.add(v)
            stack.append((v, True))
            for u in v.inputs:
                stack.append((u, False))
    return order
    # END SOLUTION


# %% [markdown] lang="en"
# ## Exercise: the walk back
#
# Now the walk itself, with the order given. One sign in it decides between right and wrong. **Predict**
# before you check yours: what does the small function give with `=` where `+=` belongs?
# %% [markdown] lang="zh"
# ## 练习：往回走
#
# 次序有了，现在写走法本身。其中有一个符号，决定着对错。**先猜一猜**，再检查你的代码：该用 `+=` 的地方写成
# `=`，小函数会得到多少？
# %% exercise="backward"
def backward(order):
    """The gradients of all Values in a topological order.

    dL/du = sum over all v that use u of  dL/dv . dv/du,   where L is the last in the order

    order: a list of Values, each after all of its inputs. Each has `.grad`, which is 0.0 now,
        `.inputs` and `.local`, the local derivatives dv/du, one for each input.
    Sets `.grad` of every Value; returns nothing.
    """
    # BEGIN SOLUTION
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d
    # END SOLUTION


# %%
def backward_overwriting(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad = v.grad * d  # the mistake


x, a, b, y = build()
backward_overwriting(topological_order(y))
says("4", x.grad)
print("with = :", x.grad)

x, a, b, y = build()
backward(topological_order(y))
says("16", x.grad)
print("with +=:", x.grad)

x, y = doubled(60)
backward(topological_order(y))
assert x.grad == 2.0**60
print(f"60 doublings: dy/dx = 2^{math.log2(x.grad):g}, each of the {count_nodes(y)} numbers visited once")
x, y = chain(20_000)
backward(topological_order(y))
print("a chain of 20,000: dy/dx =", x.grad)
says("61", count_nodes(doubled(60)[1]))

# %% [markdown] lang="en"
# With `=` it is 4: every use of a number overwrites what the others had brought, and only the last one
# counts. This mistake, too, survives many tests: as long as no number is used twice, `=` and `+=` give the
# same.
#
# With `+=` and the right order it is 16, and what would have taken 73 years takes 61 visits.
#
# The stepper below walks through the same function on `minillm.Tensor`. Go forward to the end, then watch the
# way back: at which step does $a$ get its second contribution, and does $a$ wait for it?
# %% [markdown] lang="zh"
# 写成 `=` 得到 4：每次用到一个数，都把别处送来的梯度盖掉了，只有最后一次算数。这个错误同样能混过许多测试：只
# 要没有哪个数被用两次，`=` 和 `+=` 的结果就一样。
#
# 用 `+=`，再加上正确的次序，得到 16；原本要 73 年的计算，现在访问 61 次就够了。
#
# 下面的逐步演示用 `minillm.Tensor` 把同一个函数走一遍。先走到前向的末尾，再看反向：$a$ 在哪一步收到第二份梯
# 度？它等到了吗？
# %%
step(trace(small, np.array(2.0)),
     en="The small function at x = 2, forwards and back: a passes on 3, and only after b has been dealt with",
     zh="小函数在 x = 2 处的前向与反向：b 处理完以后，a 才把 3 传下去")

# %% [markdown] lang="en"
# ## 6. From numbers to arrays: the Tensor
#
# One Value for each number is clear but slow. A layer $\tanh(x W + c)$ with 64 inputs, 64 outputs and a batch
# of 32 has 131,072 products, each of which would be a Python object. A **Tensor** is the same record with an
# array in place of the number: this layer makes three entries on the tape, and NumPy does the rest.
#
# `minillm.Tensor` follows NumPy's own protocols, so `np.tanh` of a Tensor is a Tensor. Its record is the
# graph itself: `op` and `args` of each result. Mark what is to be differentiated with `requires_grad=True`,
# then call `backward()`.
# %% [markdown] lang="zh"
# ## 6. 从数到数组：张量
#
# 一个数一个 Value，清楚是清楚，但是慢。一层 $\tanh(x W + c)$，输入 64 维、输出 64 维、一批 32 个样本，就有
# 131,072 次乘法，每次都得是一个 Python 对象。**张量**（Tensor）做的记录完全一样，只是把数换成数组：这一层在记
# 录带上只占三条，其余的交给 NumPy。
#
# `minillm.Tensor` 遵循 NumPy 自己的协议，对张量用 `np.tanh`，得到的还是张量。它的记录就是计算图本身：每个结果
# 都记着 `op` 和 `args`。对谁求导，就给谁写上 `requires_grad=True`，然后调用 `backward()`。
# %%
n_batch, n_in, n_out = 32, 64, 64
print(f"{n_batch * n_in * n_out:,} products in the layer")
says("131,072", n_batch * n_in * n_out)
says("64", n_in)
says("32", n_batch)

x = Tensor(2.0, requires_grad=True)
y = small(x)  # the very function of section 1
print(y.op.__name__, "of", [a.data.item() for a in y.args])
y.backward()
print("dy/dx =", x.grad)
says("16", x.grad)

y = small(x)
y.backward()
print("after a second backward:", x.grad)
says("32", x.grad)

# %% [markdown] lang="en"
# The same 16. The second call made it 32: `backward` *adds* to `.grad`, by the same `+=`. That is on purpose.
# A batch that does not fit into memory can be walked in parts whose gradients add up. But it means that
# **you** must clear the gradients before each step of training (`optimizer.zero_grad()`); to forget that is
# one of the most common mistakes in training loops.
#
# ## 7. Broadcasting, and its undoing
#
# Arrays bring one new question. In $z = x + c$, let $x$ have the shape `(2, 3)` and the bias $c$ the shape
# `(3,)`. NumPy **broadcasts** $c$: it uses its three numbers for both rows. Let
# $L = \sum_{ij} w_{ij} z_{ij}$, so that $g = \partial L/\partial z = w$. The local derivative of an addition
# is 1. So $\partial L/\partial c$ is $g$ times 1, that is $g$?
# %% [markdown] lang="zh"
# 同样是 16。第二次调用以后变成 32：`backward` 是往 `.grad` 上*加*，用的正是那个 `+=`。这是有意的：一批数据若
# 内存放不下，可以分几份走，梯度自会累加起来。但这也意味着，每训练一步之前，**你自己**要把梯度清零
# （`optimizer.zero_grad()`）；忘了清零，是训练循环里最常见的错误之一。
#
# ## 7. 广播与还原
#
# 换成数组，只多出一个新问题。在 $z = x + c$ 中，设 $x$ 的形状是 `(2, 3)`，偏置 $c$ 的形状是 `(3,)`。NumPy 会
# 把 $c$ **广播**：两行都用它的那三个数。取 $L = \sum_{ij} w_{ij} z_{ij}$，于是
# $g = \partial L/\partial z = w$。加法的局部导数是 1，那么 $\partial L/\partial c$ 就是 $g$ 乘以 1，也就是
# $g$ 吗？
# %%
w = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
data = np.zeros((2, 3))
c = np.array([0.5, 0.5, 0.5])

g = w  # dL/dz
c_wrong = c - 0.1 * g  # one step of gradient descent, with g for the gradient
print("the bias had the shape", c.shape, "and now has", c_wrong.shape)
print((data + c_wrong).shape, "is still a shape that the next layer accepts")

right = numerical_gradient(lambda c: np.sum(w * (data + c)), c)
print("by differences:", right)
says("11", right[0])
says("22", right[1])
says("33", right[2])

# %% [markdown] lang="en"
# No error message: the bias has silently become a matrix of shape `(2, 3)`, a different bias for each sample
# of the batch. It even trains, until a batch of another size comes along.
#
# The differences say 11, 22, 33: the **column sums** of $g$. Nothing new is behind that. $c_1$ is used in
# both rows, and a number that is used twice gets the sum of what its uses bring:
#
# $$\frac{\partial L}{\partial c_j} = \sum_i \frac{\partial L}{\partial z_{ij}} \cdot 1 = \sum_i g_{ij}$$
#
# It is `+=` once more. To broadcast is to use several times; so where NumPy stretched an axis on the way
# forward, the gradient is summed along that axis on the way back. NumPy stretches in two ways: it puts
# missing axes *in front* (`(3,)` to `(2, 3)`), and it repeats axes of length 1 (`(2, 1)` to `(2, 3)`).
#
# ## Exercise: undo the broadcast
# %% [markdown] lang="zh"
# 没有任何报错：偏置悄悄变成了 `(2, 3)` 的矩阵，一批里的每个样本各有一个偏置。它甚至还能训练下去，直到来了一批
# 大小不同的数据。
#
# 差分给出的是 11、22、33，正是 $g$ 的**各列之和**。背后并没有新道理：$c_1$ 在两行里都用到了，一个数用了两次，
# 梯度就是两处之和：
#
# $$\frac{\partial L}{\partial c_j} = \sum_i \frac{\partial L}{\partial z_{ij}} \cdot 1 = \sum_i g_{ij}$$
#
# 又是那个 `+=`。广播就是一数多用；前向时 NumPy 沿哪个轴拉伸，反向时就把梯度沿哪个轴求和。NumPy 的拉伸有两种：
# 在*前面*补上缺的轴（`(3,)` 变成 `(2, 3)`），以及把长度为 1 的轴重复（`(2, 1)` 变成 `(2, 3)`）。
#
# ## 练习：还原广播
# %% exercise="unbroadcast"
def unbroadcast(g, shape):
    """The gradient of an array that was broadcast, from the gradient of what it was broadcast to.

    Sums g over the axes that NumPy put in front, and over those it stretched from length 1.

    g: array, of a shape to which `shape` broadcasts.
    shape: of the input, a tuple.
    Returns an array of that shape.
    """
    # BEGIN SOLUTION
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=stretched, keepdims=True)
    # END SOLUTION


# %%
print(unbroadcast(w, (3,)), unbroadcast(w, (2, 1)).tolist(), unbroadcast(w, (1, 3)), unbroadcast(w, ()))
says("66", unbroadcast(w, ()))

c = Tensor([0.5, 0.5, 0.5], requires_grad=True)
(w * (data + c)).sum().backward()
print("minillm:", c.grad)
assert np.allclose(c.grad, unbroadcast(w, (3,)))

# %% [markdown] lang="en"
# A single number, of shape `()`, that is added to all six elements gets the sum of all: 66. The engine does
# this in one place (`unbroadcast` in `minillm/autograd/walk.py`), after every rule, so that no rule has to
# think of it.
#
# Here is a whole layer with its loss, $L = \frac{1}{4}\sum (\tanh(x W + c) - t)^2$, in the stepper. Watch the
# step at which the gradient of shape `(2, 2)` reaches $c$, of shape `(2,)`.
# %% [markdown] lang="zh"
# 一个形状为 `()` 的数，加到全部六个元素上，它的梯度就是总和 66。引擎只在一处做这件事
# （`minillm/autograd/walk.py` 里的 `unbroadcast`），每条求导规则之后都会经过它，所以规则本身不必操心。
#
# 下面的逐步演示是完整的一层加上损失 $L = \frac{1}{4}\sum (\tanh(x W + c) - t)^2$。请留意形状为 `(2, 2)` 的梯
# 度传到形状为 `(2,)` 的 $c$ 的那一步。
# %%
inputs = np.array([[1.0, 2.0, -1.0], [0.0, 1.0, 0.5]])  # (N, 3)
targets = np.array([[1.0, -1.0], [0.0, 1.0]])  # (N, 2)


def layer_loss(W, c):
    scores = inputs @ W + c  # (N, 3) @ (3, 2) + (2,)
    h = np.tanh(scores)
    error = h - targets
    return np.mean(error * error)


W0 = np.array([[0.1, -0.2], [0.3, 0.1], [-0.1, 0.2]])
c0 = np.array([0.05, -0.05])
step(trace(layer_loss, W0, c0),
     en="A layer and its loss: the gradient of the bias c is summed over the batch",
     zh="一层网络与损失：偏置 c 的梯度要对一批样本求和")

# %% [markdown] lang="en"
# ## 8. How to know that it is right
#
# Now the coarse judge of section 1 earns its keep. We hold each gradient of the tape against differences:
# %% [markdown] lang="zh"
# ## 8. 怎么知道算对了
#
# 现在轮到第 1 节那位粗略的评判出场了。把记录带给出的每个梯度，与差分比一比：
# %%
W, c = Tensor(W0, requires_grad=True), Tensor(c0, requires_grad=True)
layer_loss(W, c).backward()
by_differences = numerical_gradient(lambda W: layer_loss(W, c0), W0)
print("largest difference:", np.abs(W.grad - by_differences).max())
assert np.abs(W.grad - by_differences).max() < 1e-9

minillm.check_gradients(layer_loss, [W0, c0])  # the same, ready made; it raises AssertionError if they differ


def tanh_wrong(a):
    v = math.tanh(a.data)
    return Value(v, (a,), (1 - a.data * a.data,))  # 1 - a^2 in place of 1 - v^2


a = Value(0.8)
v = tanh_wrong(a)
backward(topological_order(v))
numerical = central(math.tanh, 0.8, 1e-5)
print(f"a rule with a mistake: {a.grad:.3f}; by differences: {numerical:.3f}")
says("0.36", a.grad)
says("0.559", numerical)

# %% [markdown] lang="en"
# They agree to nine decimals. And the rule with the mistake, $1 - a^2$ in place of $1 - v^2$, is caught at
# once: 0.36 against 0.559. (At $a = 0$ both give 1. Check at ordinary points, never at 0 alone.)
# `minillm.check_gradients` does this for any function, and to the second order.
#
# One more way to spoil a tape: to change a number *after* it was recorded. The rule for a product needs the
# other factor on the way back; if it has been overwritten meanwhile, the gradient no longer belongs to the
# value that was computed.
# %% [markdown] lang="zh"
# 两者在小数点后九位都一致。而那条写错的规则（把 $1 - v^2$ 写成了 $1 - a^2$）一查就露馅：0.36 对 0.559。（在
# $a = 0$ 处两者都是 1，所以要挑普通的点来检验，不能只查 0。）`minillm.check_gradients` 可以对任何函数做这种梯
# 度检验，直到二阶。
#
# 还有一种办法会毁掉记录带：记录*之后*又改动数值。乘法的规则在反向时要用到另一个因子；如果它在这期间被覆盖，得
# 到的梯度就和先前算出的值对不上了。
# %%
x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
y = (x * w).sum()
w.data[...] = 0.0  # written into, after it was used
y.backward()
print("y =", y.data, " dy/dx =", x.grad, " (3 and 4 would be right)")
says("0", np.abs(x.grad).max())
says("11", y.data)

try:
    w[0] = 1.0
except TypeError as error:
    print("TypeError:", error)

with minillm.detect_anomaly():
    x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    try:
        w.data[...] = 0.0
    except ValueError as error:
        print("ValueError:", error)

# %% [markdown] lang="en"
# $y$ is 11, computed with the old $w$, and yet $dy/dx$ is 0. This is why a Tensor refuses `w[0] = 1.0`, and
# why `detect_anomaly()` locks the arrays that a live graph still needs. Change parameters when the walk back
# is done, never in the middle.
#
# ## What you know now
#
# - A tape keeps, for each operation, its inputs and what the local derivatives need. One walk back gives the
#   gradients of all parameters.
# - The gradient of a number is the **sum over its uses**. From this follow `+=`, the order, and the undoing
#   of broadcasts.
# - A number may pass on its gradient only when all its users have. Walking a topological order from its end
#   guarantees it.
# - Following paths is right and exponential; a queue is fast and wrong; recursion breaks on long chains. A
#   depth-first search with a stack of its own is right, linear, and of any depth.
# - Differences of the function itself tell you whether a rule is right.
#
# What remains is to say what $L$ is. That is lesson 2.
# %% [markdown] lang="zh"
# $y$ 是 11，那是用旧的 $w$ 算的，可 $dy/dx$ 却是 0。正因如此，张量不接受 `w[0] = 1.0`；而在
# `detect_anomaly()` 之下，计算图还要用的数组会被锁住。要改参数，就等前向、反向都走完再改，千万别在中途改。
#
# ## 小结
#
# - 记录带为每个运算记下输入，以及求局部导数所需的东西。往回走一遍，所有参数的梯度就都有了。
# - 一个数的梯度，等于它**各处用途之和**。`+=`、顺序、还原广播，都由此而来。
# - 一个数要等用到它的数都传完，才能把梯度传下去。把拓扑序从尾走到头，就能保证这一点。
# - 走遍路径，结果对，但代价是指数级的；排队，快，但结果错；递归，遇到长链就出错。自己用栈做深度优先搜索，结果
#   对、代价是线性的，链多长都行。
# - 求导规则写得对不对，用函数本身的差分一比便知。
#
# 剩下的问题是：$L$ 究竟是什么？那是第 2 课的内容。
