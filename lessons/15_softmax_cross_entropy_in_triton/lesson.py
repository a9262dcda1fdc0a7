# ---
# title: Softmax cross-entropy in Triton
# title_zh: 用 Triton 写 softmax 交叉熵
# minutes: 40
# needs: [02_likelihood_and_cross_entropy]
# ---
# %% [markdown] lang="en"
# ## The question
#
# You know the loss (section 4.1 of the article) and its gradient from lesson 2. For one row of logits
# $x_1, \dots, x_V$ with the label $y$:
#
# $$L = \log \sum_j e^{x_j} - x_y, \qquad \frac{\partial L}{\partial x_j} = p_j - [j = y],
# \qquad p_j = \frac{e^{x_j}}{\sum_k e^{x_k}}$$
#
# In NumPy that is a handful of lines. In the training of a language model it is one of the most expensive
# places all the same, and not because of the arithmetic: a GPU computes far faster than it can fetch
# numbers from its memory. So the question of this lesson is: **how often must every logit travel between
# memory and processor, and how do you write a program that moves it no more often than that?**
#
# You will count bytes, write three small kernels in Triton, watch them line by line, see what goes wrong
# without a mask and without a maximum, and hand the result to a judge. You need Triton (`pip install triton`,
# Linux) and no GPU: all kernels run in Triton's interpreter, slowly, but with the same numbers.
# %% [markdown] lang="zh"
# ## 要回答的问题
#
# 损失函数（文章 4.1 节）和它的梯度，第 2 课已经讲过。对一行 logits $x_1, \dots, x_V$ 和标签 $y$：
#
# $$L = \log \sum_j e^{x_j} - x_y, \qquad \frac{\partial L}{\partial x_j} = p_j - [j = y],
# \qquad p_j = \frac{e^{x_j}}{\sum_k e^{x_k}}$$
#
# 用 NumPy 写，不过寥寥几行。可是训练语言模型时，它却是最费时间的地方之一。费的不是算术：GPU 算得远比它从内
# 存里取数快。所以这一课要问的是：**每个 logit 至少要在内存和处理器之间搬几趟？怎样写程序，才能一趟也不多
# 搬？**
#
# 下面你会先数字节，再用 Triton 写三个小内核，逐行看它们运行，看看少了掩码、忘了减最大值各会出什么事，最后把成
# 果交给评判程序检验。你需要安装 Triton（`pip install triton`，限 Linux），但不需要 GPU：所有内核都在 Triton
# 的解释器里运行，慢是慢，得到的数却是一样的。
# %%
import importlib.util
import os

if importlib.util.find_spec("triton") is None:
    raise SystemExit("this lesson needs Triton: pip install triton (Linux; a GPU is not needed)")
os.environ.setdefault("TRITON_INTERPRET", "1")  # run kernels on the CPU
importlib.import_module("kernels.triton")  # before triton: mends its interpreter

import matplotlib.pyplot as plt
import numpy as np
import triton
import triton.language as tl

import kernels
from kernels.guards import StrayWrite
from kernels.testing import check_softmax_cross_entropy, recording_kernels, run_triton, trace_kernel
from minillm import formulas
from minillm.course import picture, says, step
from minillm.stepper import trace


# %% [markdown] lang="en"
# ## 1. Count the bytes
#
# Here is the loss with its gradient as one writes it in NumPy. Each line is a pass: it reads whole arrays
# from memory, computes a little, and writes a whole array back, only for the next line to fetch it again.
#
# **Predict:** count in units of one array of logits, reads plus writes. How many such passes are there? (An
# array with one number a row counts as nothing.)
# %% [markdown] lang="zh"
# ## 1. 数一数字节
#
# 下面是用 NumPy 写的损失和梯度。每一行代码都要把内存从头到尾走一遍：读进整个数组，算那么一点点，再写回整个
# 数组，而下一行又要把它重新读进来。
#
# **先猜一猜**：以“整个 logits 数组读一遍或写一遍”为单位，一共是几遍？（每行只有一个数的小数组不计。）
# %%
def cross_entropy_numpy(x, y):
    """(mean loss, its gradient), one pass after the other; x: (N, V), y: (N,)."""
    rows, N = np.arange(len(x)), len(x)
    m = np.max(x, axis=1, keepdims=True)
    d = x - m
    e = np.exp(d)
    s = np.sum(e, axis=1, keepdims=True)
    p = e / s
    loss = np.mean(np.log(s)[:, 0] - d[rows, y])
    p[rows, y] -= 1
    return loss, p / N


class Counted(np.ndarray):
    """An array that counts the bytes which NumPy's operations on it read and write."""

    moved = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **keywords):
        plain = [a.view(np.ndarray) if isinstance(a, Counted) else a for a in inputs]
        result = np.asarray(getattr(ufunc, method)(*plain, **keywords))
        Counted.moved += sum(a.nbytes for a in plain if isinstance(a, np.ndarray)) + result.nbytes
        if out is not None:  # `a -= b`
            out[0].view(np.ndarray)[...] = result
            return out[0]
        return result.view(Counted)


rng = np.random.default_rng(0)
x = rng.standard_normal((8, 4096)).astype(np.float32)
y = rng.integers(0, 4096, 8)
loss, dx = cross_entropy_numpy(x.view(Counted), y)
op_by_op = Counted.moved / x.size
print(f"{op_by_op:.1f} bytes for each logit of 4 bytes: {op_by_op / 4:.1f} passes")

says("40.0", op_by_op)
says("10.0", op_by_op / 4)
logits_at_once = 8192 * 128256
rate = 3.35e12  # bytes a second, from the H100's data sheet
says("8,192", 8192)
says("128,256", 128256)
says("2.10", 2 * logits_at_once / 1e9)
says("3.35", rate / 1e12)
says("6.3 ms", 10 * 2 * logits_at_once / rate * 1e3)
says("1.25 ms", 2 * 2 * logits_at_once / rate * 1e3)

# %% [markdown] lang="en"
# 40.0 bytes for each float32 logit, or 10.0 passes: the maximum reads (1), the difference reads and writes
# (2), so do `exp` (2), the quotient (2) and the division by $N$ (2), and the sum reads (1).
#
# What is the least? The logits must be read once, and the gradient must be written once: **2 passes**. All
# that lies between, $d$, $e$, $p$, need not exist in memory at all, if one program reads a piece of a row,
# does all the arithmetic at once while the numbers lie in registers, and writes the result. Such a program
# is a **fused kernel**.
#
# On a large scale: 8,192 positions with a vocabulary of 128,256 (Llama 3's) in bfloat16 are 2.10 GB of
# logits. An H100 reads and writes 3.35 TB a second at best. Ten passes take at least 6.3 ms, two take 1.25
# ms. No faster processor helps here, only fewer passes.
#
# ## 2. A kernel: many programs, each with its own elements
#
# A Triton kernel is a Python function that is run by many **programs** side by side. Each asks for its own
# number, `tl.program_id(0)`, and works out from it which elements are its own. There are only four ideas:
#
# - An array comes in as a **pointer** to its first element. `X + i` points to element `i`.
# - `tl.arange(0, BLOCK)` is a block of `BLOCK` numbers; `X + tl.arange(0, BLOCK)` is a block of pointers.
#   `BLOCK` must be a power of 2, known when the kernel is compiled (`tl.constexpr`).
# - `tl.load` fetches what a block of pointers points to, `tl.store` writes there.
# - A **mask** says which elements of the block really exist: lengths are rarely a multiple of `BLOCK`.
#
# Ten numbers, in blocks of 4, make 3 programs. `trace_kernel` runs the kernel in the interpreter and keeps a
# record of each line.
# %% [markdown] lang="zh"
# 每个 float32 的 logit 要搬 40.0 字节，也就是 10.0 遍：求最大值读一遍（1），相减读一遍写一遍（2），`exp`
# （2）、除法（2）、除以 $N$（2）也都如此，求和再读一遍（1）。
#
# 最少要几遍？logits 总得读一遍，梯度总得写一遍：**2 遍**。中间的 $d$、$e$、$p$ 根本不必进内存，只要让一个程
# 序读进一段数据，趁它们还在寄存器里把该算的一口气算完，再写出结果。这样的程序就叫**融合内核**。
#
# 放到真实规模上：8,192 个位置、词表 128,256（Llama 3 的词表），用 bfloat16 存，logits 就有 2.10 GB。H100 每
# 秒最多读写 3.35 TB。搬 10 遍至少要 6.3 ms，搬 2 遍只要 1.25 ms。处理器再快也无济于事，只有少搬几遍才行。
#
# ## 2. 内核：许多程序实例，各管各的元素
#
# Triton 内核是一个 Python 函数，由许多**程序实例**同时运行。每个程序实例用 `tl.program_id(0)` 问出自己的编
# 号，由编号算出哪些元素归自己管。要懂的只有四点：
#
# - 数组以**指针**的形式传进来，指向它的第一个元素；`X + i` 指向第 `i` 个元素。
# - `tl.arange(0, BLOCK)` 是一块连续的整数，共 `BLOCK` 个；`X + tl.arange(0, BLOCK)` 就是一块指针。`BLOCK`
#   必须是 2 的幂，而且编译时就要定下来（`tl.constexpr`）。
# - `tl.load` 把一块指针所指的数加载进来，`tl.store` 往那里写回。
# - **掩码**说明块里哪些元素真的存在：长度很少恰好是 `BLOCK` 的整数倍。
#
# 十个数，每块 4 个，要 3 个程序实例。`trace_kernel` 在解释器里运行内核，并把每一行都记录下来。
# %%
@triton.jit
def double(X, OUT, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(X + i, mask=mask)
    tl.store(OUT + i, 2 * x, mask=mask)


def accesses(recording):
    """One line for each load and store: program, array, which elements of it, which are masked off."""
    for line in recording.steps:
        for access in line.accesses:
            off = np.setdiff1d(access.offsets, access.touched)
            print(f"program {line.program}: {access.kind:5} {access.array:4}", access.touched.tolist(),
                  f"masked off: {off.tolist()}" if off.size else "")


numbers = np.arange(10, dtype=np.float32)
doubled = np.zeros_like(numbers)
accesses(trace_kernel(double, 3, numbers, doubled, 10, BLOCK=4))
print(doubled)

# %% [markdown] lang="en"
# Three programs, twelve places in their blocks, ten elements: the last program has its two surplus places
# masked off.
#
# ### What if the mask is missing?
#
# Everyone forgets it once. On a GPU, a load beyond the end gives you whatever lies there, and a store
# overwrites it, somebody else's array perhaps, mostly without a word. `run_triton` therefore puts each array
# between guards: NaN before and after it, and a check that nothing there was changed.
#
# **Predict:** `row_sum` below adds up each row of a 2 by 5 array in blocks of 8, without a mask. The rows are
# 0 to 4 and 5 to 9, so the sums should be 10 and 35. What do the two programs give?
# %% [markdown] lang="zh"
# 三个程序实例，块里共十二个位置，元素却只有十个：最后一个程序实例多出来的两个位置被掩码挡掉了。
#
# ### 忘了掩码会怎样？
#
# 谁都忘过一次。在 GPU 上，越界加载会取到那里恰好存着的东西，越界写回则会把它盖掉，说不定那是别人的数组，而
# 且往往一声不响。因此 `run_triton` 在每个数组前后都设了警戒区：里面填满 NaN，运行之后还要检查有没有被改动。
#
# **先猜一猜**：下面的 `row_sum` 以 8 为块长，不带掩码，对一个 2 行 5 列的数组逐行求和。两行分别是 0 到 4 和
# 5 到 9，和应当是 10 与 35。两个程序实例各会得到什么？
# %%
@triton.jit
def double_unmasked(X, OUT, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(OUT + i, 2 * tl.load(X + i))


@triton.jit
def row_sum(X, OUT, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    x = tl.load(X + row * V + tl.arange(0, BLOCK))
    tl.store(OUT + row, tl.sum(x, axis=0))


sums = np.zeros(2, np.float32)
run_triton(row_sum, 2, numbers.reshape(2, 5), sums, 5, BLOCK=8)
print("sums without a mask:", sums)
says("28", sums[0])
says("35", numbers[5:].sum())
assert np.isnan(sums[1])

try:
    run_triton(double_unmasked, 3, numbers, doubled, 10, BLOCK=4)
except StrayWrite as error:
    print("StrayWrite:", error)

# %% [markdown] lang="en"
# The first row gives 28: it reads on into the second row and adds 5, 6 and 7. Nothing complains; this is the
# worst kind of wrong. The second row reads beyond the array, where the guards have put NaN, and shows it.
# And the store without a mask is caught in the act: the message names the array and the place.
#
# Masked-off places need one more thought: **what value do they get?** `tl.load(..., mask=mask, other=v)` puts
# `v` there. For a sum you want 0; for a maximum you want $-\infty$, since 0 would win over a row of negative
# numbers; and $e^{-\infty} = 0$, so $-\infty$ is right for the sum of exponentials as well.
#
# ## Exercise: one program a row
#
# Logits are a matrix, `(R, V)`, row after row in memory: element $(r, j)$ lies at $r V + j$. Write a kernel
# in which program $r$ multiplies row $r$ by `a`. One block holds a whole row: `BLOCK` is at least `V`.
# %% [markdown] lang="zh"
# 第一行得到 28：它一直读到第二行里去，把 5、6、7 也加了进来。没有任何报错，这种错最可怕。第二行读出了数组之
# 外，那里是警戒区的 NaN，于是露了馅。不带掩码的写回则当场被抓：报错信息指出了是哪个数组、什么位置。
#
# 被掩码挡掉的位置还要多想一步：**它们取什么值？** `tl.load(..., mask=mask, other=v)` 会在那里填上 `v`。求和
# 要填 0；求最大值要填 $-\infty$，因为碰上一整行负数，0 就会胜出；而 $e^{-\infty} = 0$，所以对指数求和时填
# $-\infty$ 也正合适。
#
# ## 练习：一行一个程序实例
#
# logits 是 `(R, V)` 的矩阵，在内存里一行接一行：元素 $(r, j)$ 位于 $r V + j$。请写一个内核，让第 $r$ 个程序
# 实例把第 $r$ 行乘以 `a`。一块装得下一整行：`BLOCK` 不小于 `V`。
# %% exercise="scale_rows"
@triton.jit
def scale_rows(X, OUT, a, V, BLOCK: tl.constexpr):
    """OUT[r, j] = a X[r, j], by one program for each row r.

    X, OUT: pointers to (R, V), row after row. a: a number. BLOCK: a power of 2, at least V.
    Nothing outside the row is read or written.
    """
    # BEGIN SOLUTION
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    mask = j < V
    x = tl.load(X + row * V + j, mask=mask)
    tl.store(OUT + row * V + j, a * x, mask=mask)
    # END SOLUTION


# %%
matrix = np.arange(15, dtype=np.float32).reshape(3, 5)
scaled = np.zeros_like(matrix)
recorded = trace_kernel(scale_rows, 3, matrix, scaled, 2.0, 5, BLOCK=8)
print(scaled)

fig, ax = plt.subplots(figsize=(7, 2.6))
used, unused = "#0072b2", "#d55e00"
for line in recorded.steps:
    for access in line.accesses:
        if access.kind == "load":
            for at in np.unique(access.offsets):
                color, marker = (used, "s") if at in access.touched else (unused, "x")
                ax.scatter(at, line.program, s=90, marker=marker, color=color)
for edge in (-0.5, 4.5, 9.5, 14.5):
    ax.axvline(edge, color="gray", linewidth=1)
ax.set_yticks(range(3), [f"program {r}" for r in range(3)])
ax.set_xticks(range(18))
ax.set_ylim(2.6, -0.6)
ax.set_xlabel("element of X in memory (a row between two lines); squares: loaded, crosses: masked off")
picture(fig, name="masks",
        alt_en="Three programs and the elements of X they load: program r loads the five elements of "
               "row r, and the three places of its block that reach into the next row, or beyond the "
               "array, are masked off.",
        alt_zh="三个程序实例各自加载 X 的哪些元素：第 r 个程序实例加载第 r 行的五个元素；块里伸到下一"
               "行或数组之外的三个位置被掩码挡掉。")

# %% [markdown] lang="en"
# ## 3. A row that does not fit: the online softmax
#
# A vocabulary of 128,256 is too long for the registers of one program, so a row is read in pieces. But the
# sum $\sum_j e^{x_j - m}$ needs the maximum $m$ of the *whole* row, which is known only at the end. Read
# everything twice? That would be one pass more.
#
# (Why the maximum at all? $e^{x}$ overflows float32 at $x$ above 88.7; lesson 2. Subtracting the maximum
# changes nothing in $p_j$ and keeps each exponential at most 1.)
#
# The way out: keep a **running maximum** $m$ and a **running sum** $s$ that is relative to it. When a new
# piece brings a larger maximum $m'$, what has been summed so far is too large by the factor $e^{m' - m}$.
# So correct it (Milakov and Gimelshein, 2018):
#
# $$m' = \max(m, \max_j x_j), \qquad s' = s\,e^{m - m'} + \sum_{j \in \text{piece}} e^{x_j - m'}$$
#
# beginning with $m = -\infty$, $s = 0$. In the end $\log \sum_j e^{x_j} = m + \log s$.
#
# **By hand:** the row is 1, 3, 2, 5, in pieces of two. After the first piece $m = 3$ and
# $s = e^{-2} + 1 = 1.135$. What are $m$ and $s$ after the second? Step through it.
# %% [markdown] lang="zh"
# ## 3. 一行太长怎么办：在线 softmax
#
# 词表有 128,256 个词，一个程序实例的寄存器装不下，只好一段一段地读。可是求和 $\sum_j e^{x_j - m}$ 要用整行
# 的最大值 $m$，而它要读到最后才知道。那就把整行读两遍？又多搬了一遍。
#
# （为什么非要减最大值？float32 里 $x$ 一超过 88.7，$e^{x}$ 就上溢，见第 2 课。减去最大值，$p_j$ 不变，而每
# 个指数都不超过 1。）
#
# 办法是边读边维护**当前最大值** $m$，以及以它为基准的**当前和** $s$。新的一段带来更大的最大值 $m'$ 时，此前
# 累加的部分就偏大了 $e^{m' - m}$ 倍，把它校正过来就行（Milakov 与 Gimelshein，2018）：
#
# $$m' = \max(m, \max_j x_j), \qquad s' = s\,e^{m - m'} + \sum_{j \in \text{这一段}} e^{x_j - m'}$$
#
# 开始时 $m = -\infty$，$s = 0$；最后 $\log \sum_j e^{x_j} = m + \log s$。这就是**在线 softmax**。
#
# **动手算一算**：这一行是 1、3、2、5，每段两个。第一段之后 $m = 3$，$s = e^{-2} + 1 = 1.135$。第二段之后
# $m$ 和 $s$ 各是多少？一步一步走着看。
# %%
def online_numpy(x, block=2):
    m, s = -np.inf, 0.0
    for start in range(0, len(x), block):
        piece = x[start:start + block]
        m_new = np.maximum(m, np.max(piece))
        s = s * np.exp(m - m_new) + np.sum(np.exp(piece - m_new))
        m = m_new
    return m + np.log(s)


row = np.array([1.0, 3.0, 2.0, 5.0])
stepped = trace(online_numpy, row)
step(stepped, en="The online softmax of 1, 3, 2, 5 in pieces of two; on the way back its gradient",
     zh="1、3、2、5 的在线 softmax，每段两个；往回走得到它的梯度")

s1 = np.exp(1.0 - 3) + 1
s2 = s1 * np.exp(3.0 - 5) + np.exp(2.0 - 5) + 1
uncorrected = s1 + np.exp(2.0 - 5) + 1
print(f"by hand: s is {s1:.3f}, then {s2:.3f}; not corrected, {uncorrected:.3f}")
says("1.135", s1)
says("1.203", s2)
says("5.185", 5 + np.log(s2))
says("88.7", np.log(np.finfo(np.float32).max))
says("2.185", uncorrected)
says("5.782", 5 + np.log(uncorrected))
assert np.isclose(online_numpy(row), np.log(np.sum(np.exp(row))))
gradient = stepped.gradient("x")
print("gradient on the way back:", np.round(gradient, 4), "softmax:", np.round(formulas.softmax(row), 4))
assert np.allclose(gradient, formulas.softmax(row))

# %% [markdown] lang="en"
# After the second piece $m = 5$ and $s = 1.135\,e^{-2} + e^{-3} + 1 = 1.203$, so the log-sum-exp is 5.185.
# Whoever forgets the correction gets $s = 2.185$ and 5.782: plausible, finite, wrong.
#
# Look at the last lines of the stepper, too: the gradient of the log-sum-exp that comes back is the softmax
# itself. This is where $p_j$ in the gradient of the loss comes from.
#
# ## Exercise: the online softmax of a row
#
# Now as a kernel: program $r$ walks through row $r$ in blocks, and stores $m$ and $s$. Call the running
# maximum `m` and the running sum `s`, then the next cell can watch them. The row may be float16; compute in
# float32: `tl.load(...).to(tl.float32)`.
# %% [markdown] lang="zh"
# 第二段之后 $m = 5$，$s = 1.135\,e^{-2} + e^{-3} + 1 = 1.203$，所以 log-sum-exp 是 5.185。要是忘了校正，就
# 会得到 $s = 2.185$ 和 5.782：看着合理，也没有溢出，但就是错的。
#
# 再看看逐步演示的最后几步：log-sum-exp 传回来的梯度正是 softmax 本身。损失的梯度里那个 $p_j$，就是这么来的。
#
# ## 练习：一行的在线 softmax
#
# 现在把它写成内核：第 $r$ 个程序实例一块一块地走完第 $r$ 行，把 $m$ 和 $s$ 写回。请把当前最大值叫 `m`、当前
# 和叫 `s`，这样下一个单元就能盯着它们看。这一行可能是 float16，计算要用 float32：
# `tl.load(...).to(tl.float32)`。
# %% exercise="online_softmax"
@triton.jit
def online_softmax(X, M, S, V, BLOCK: tl.constexpr):
    """M[r] = max_j X[r, j] and S[r] = sum_j exp(X[r, j] - M[r]), by one program for each row r.

    A row is read once, in blocks:
        m' = max(m, max of the block),   s' = s exp(m - m') + sum exp(x - m')

    X: pointer to (R, V), row after row, float32 or float16. M, S: pointers to (R,), float32.
    BLOCK: a power of 2, smaller or larger than V.
    """
    # BEGIN SOLUTION
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)
    # END SOLUTION


# %%
two_rows = np.array([[1.0, 3.0, 2.0, 5.0, 4.0], [2.0, 9.0, 8.0, 7.0, 6.0]], np.float32)
M, S = np.zeros(2, np.float32), np.zeros(2, np.float32)
recorded = trace_kernel(online_softmax, 2, two_rows, M, S, 5, BLOCK=2)
for line in recorded.of("online_softmax", 0):
    seen = [f"{a.kind} {a.array} {a.touched.tolist()}" for a in line.accesses]
    seen += [f"{name} = {line.bound[name]:.4g}" for name in ("m", "s") if name in line.bound]
    if seen:
        print(f"{line.text[:75]:75}", "|", ", ".join(seen))
for r in range(2):
    print("program", r, " m:", recorded.history("online_softmax", "m", r),
          " s:", np.round(recorded.history("online_softmax", "s", r), 4).tolist())
step(recorded, en="The online softmax of two rows, a program each: follow m and s as the pieces come in",
     zh="两行的在线 softmax，每行一个程序实例：跟踪 m 和 s，看它们随每一段怎样变化")

# %% [markdown] lang="en"
# In program 0 the maximum grows with the first two pieces and then stays at 5: for the third piece the
# correction is $e^{5-5} = 1$. In program 1 it is found in the first piece.
#
# ## 4. The gradient, and where a large number eats the small one
#
# With $m$ and $s$ known, a second sweep over the row gives the gradient of the mean loss over $N$ rows:
#
# $$\frac{\partial L}{\partial x_j} = \frac{1}{N}\left(\frac{e^{x_j - m}}{s} - [j = y]\right)$$
#
# Many kernels store only one number a row, $\mathrm{lse} = m + \log s$, and write
# $p_j = e^{x_j - \mathrm{lse}}$. On paper that is the same. **Predict:** is it the same in float32, for
# logits around 200?
# %% [markdown] lang="zh"
# 在 0 号程序实例里，最大值随前两段增大，之后一直停在 5：到第三段，校正因子是 $e^{5-5} = 1$。在 1 号里，第一
# 段就找到了最大值。
#
# ## 4. 梯度：当大数吃掉小数
#
# 有了 $m$ 和 $s$，再把这一行扫一遍，就得到 $N$ 行平均损失的梯度：
#
# $$\frac{\partial L}{\partial x_j} = \frac{1}{N}\left(\frac{e^{x_j - m}}{s} - [j = y]\right)$$
#
# 许多内核每行只存一个数 $\mathrm{lse} = m + \log s$，再算 $p_j = e^{x_j - \mathrm{lse}}$。纸面上两者相
# 等。**先猜一猜**：在 float32 里，logits 在 200 上下时，还相等吗？
# %%
about = 200
says("200", about)
near_200 = (about + rng.standard_normal(1000)).astype(np.float32)
wide = near_200.astype(np.float64)
right = np.exp(wide - wide.max()) / np.sum(np.exp(wide - wide.max()))
m = near_200.max()
s = np.sum(np.exp(near_200 - m))
lse = m + np.log(s)
by_m_and_s = np.max(np.abs(np.exp(near_200 - m) / s / right - 1))
by_lse = np.max(np.abs(np.exp(near_200 - lse) / right - 1))
print(f"lse is a {lse.dtype}; its neighbours are {np.spacing(lse):.1e} apart")
print(f"largest relative error of p: {by_m_and_s:.1e} by m and s, {by_lse:.1e} by lse")
assert by_lse > 10 * by_m_and_s

# %% [markdown] lang="en"
# It is not. Near 200 the float32 numbers lie about $10^{-5}$ apart, so $\log s$, once added to $m$, has
# lost its last digits, and an error of the exponent is a *relative* error of the exponential. Kept apart,
# $m$ and $s$ keep their digits. The judge further down notices such a thing.
#
# ## Exercise: the gradient kernel
#
# $[j = y]$ is 1 where the column is the label: in Triton `tl.where(j == y, 1.0, 0.0)`. The result is
# written in DX's own type: `d.to(DX.dtype.element_ty)`.
# %% [markdown] lang="zh"
# 不相等。在 200 附近，相邻的两个 float32 数相差大约 $10^{-5}$，$\log s$ 一加到 $m$ 上，末几位就丢了；而指数
# 上的误差，会变成结果的*相对*误差。$m$ 和 $s$ 分开存，数位就都保得住。下面的评判程序会查出这样的毛病。
#
# ## 练习：梯度内核
#
# $[j = y]$ 在列号等于标签处为 1：用 Triton 写就是 `tl.where(j == y, 1.0, 0.0)`。结果按 DX 自己的类型写回：
# `d.to(DX.dtype.element_ty)`。
# %% exercise="cross_entropy_grad"
@triton.jit
def cross_entropy_grad(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    """DX[r, j] = scale (exp(X[r, j] - M[r]) / S[r] - [j = Y[r]]), by one program for each row r, in blocks.

    X, DX: pointers to (R, V), row after row, float32 or float16. Y: (R,), labels. M, S: (R,), as from
    `online_softmax`. scale: 1/N for the mean loss of N rows. BLOCK: a power of 2, smaller or larger than V.
    """
    # BEGIN SOLUTION
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0))
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)
    # END SOLUTION


# %% [markdown] lang="en"
# Now put the two together, and let the recording count the bytes that they really ask for.
# %% [markdown] lang="zh"
# 把两个内核合起来，再让记录来数一数它们到底要了多少字节。
# %%
def by_two_kernels(logits, labels, apart=True):
    """(mean loss, lse, dlogits): two launches; `apart` hands m and s on, otherwise only lse."""
    logits = np.ascontiguousarray(logits)
    R, V = logits.shape
    M, S, dlogits = np.zeros(R, np.float32), np.zeros(R, np.float32), np.zeros_like(logits)
    if R:
        run_triton(online_softmax, R, logits, M, S, V, BLOCK=64)
        m, s = (M, S) if apart else (M + np.log(S), np.ones_like(S))  # e^(x - lse) / 1
        run_triton(cross_entropy_grad, R, logits, labels, m, s, dlogits, V, 1 / R, BLOCK=64)
    label_logits = logits[np.arange(R), labels].astype(np.float32)
    return np.sum((M - label_logits + np.log(S)) / max(R, 1)), M + np.log(S), dlogits


def by_lse(logits, labels):
    """The same with p = e^(x - lse)."""
    return by_two_kernels(logits, labels, apart=False)


def bytes_an_element(fn, logits, labels):
    """Bytes that a function's kernels load and store, for each logit."""
    with recording_kernels() as recording:
        fn(logits, labels)
    moved = 0
    for line in recording.steps:
        arrays = recording.launches[line.launch].arrays
        moved += sum(len(a.touched) * arrays[a.array].itemsize for a in line.accesses)
    return moved / logits.size


x_small, y_small = x[:4, :1024].copy(), y[:4] % 1024
loss, _, dlogits = by_two_kernels(x_small, y_small)
loss_numpy, dx_numpy = cross_entropy_numpy(x_small, y_small)
print(f"loss {loss:.6f}, in NumPy {loss_numpy:.6f}; largest difference of the gradients "
      f"{np.max(np.abs(dlogits - dx_numpy)):.1e}")
two_launches = bytes_an_element(by_two_kernels, x_small, y_small)
print(f"{two_launches:.2f} bytes for each logit")
says("12.0", two_launches)

# %% [markdown] lang="en"
# 12.0 bytes: three passes, against ten. The row is read once for $m$ and $s$, once more for the gradient,
# and the gradient is written.
#
# For rows up to some ten thousand logits even that is one too many: if the block is as long as the row, the
# numbers are still in registers when $m$ and $s$ are known. Then loss and gradient come from **one sweep**.
# Three things are new in the kernel below. Published kernels have lacked each of them
# (`python -m kernels.testing.peer_bugs` lists which):
#
# - `row` becomes an int64. Element $r V$ of a large matrix lies beyond $2^{31}$, where an int32 turns
#   negative: 8,192 rows of 128,256 still fit, 16,744 rows do not.
# - A row with the label `ignore_index` (padding) has loss 0 and gradient 0; its logits are not even read.
# - If the whole row is $-\infty$, the maximum is too, and $-\infty - (-\infty)$ is NaN. So such an $m$ is
#   replaced.
# %% [markdown] lang="zh"
# 12.0 字节：三遍，而原来是十遍。为求 $m$ 和 $s$ 读一遍，为求梯度再读一遍，梯度写一遍。
#
# 如果一行不超过几万个 logits，连这三遍也嫌多：让一块和一行一样长，等 $m$ 和 $s$ 算出来时，那些数还在寄存器
# 里。于是损失和梯度**一趟扫描**就都有了。下面的内核里有三处是新的，每一处都有公开发布的内核漏
# 掉过（`python -m kernels.testing.peer_bugs` 列出了是哪些）：
#
# - `row` 变成了 int64。大矩阵里元素 $r V$ 的位置会超过 $2^{31}$，int32 到那里就变成负数：词表 128,256 时，
#   8,192 行还放得下，16,744 行就不行了。
# - 标签为 `ignore_index` 的行（填充）损失为 0、梯度为 0，它的 logits 连读都不读。
# - 如果整行都是 $-\infty$，最大值也是 $-\infty$，而 $-\infty - (-\infty)$ 是 NaN。所以要把这样的 $m$ 换掉。
# %%
says("16,744", 2**31 // 128256 + 1)
assert 8192 * 128256 < 2**31


@triton.jit
def one_sweep(X, Y, DX, LOSS, LSE, stride, V, ignore_index, scale, SUBTRACT: tl.constexpr,
              BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row)
    j = tl.arange(0, BLOCK)
    if y == ignore_index:
        loss, lse, d = 0.0, 0.0, tl.zeros((BLOCK,), tl.float32)
    else:
        x = tl.load(X + row * stride + j, mask=j < V, other=float("-inf")).to(tl.float32)
        x_y = tl.load(X + row * stride + y).to(tl.float32)
        m = tl.max(x, axis=0)
        m = tl.where(m == float("-inf"), 0.0, m)
        if not SUBTRACT:  # the naive softmax, to see how it fails
            m = m * 0.0
        e = tl.exp(x - m)
        s = tl.sum(e, axis=0)
        lse = m + tl.log(s)
        loss = tl.log(s) + (m - x_y)
        d = scale * (e / s - tl.where(j == y, 1.0, 0.0))
    tl.store(LOSS + row, loss)
    tl.store(LSE + row, lse)
    tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


def fused(logits, labels, *, ignore_index=-100, subtract=True):
    """(mean loss, lse, dlogits): one launch."""
    R, V = logits.shape
    kept = np.count_nonzero(labels != ignore_index)
    scale = 1 / kept if kept else 0.0
    dlogits = np.zeros((R, V), logits.dtype)
    loss, lse = np.zeros(R, np.float32), np.zeros(R, np.float32)
    if R:
        run_triton(one_sweep, R, logits, labels, dlogits, loss, lse, logits.strides[0] // logits.itemsize, V,
                   ignore_index, scale, SUBTRACT=subtract, BLOCK=triton.next_power_of_2(V))
    return scale * np.sum(loss), lse, dlogits


def naive(logits, labels, *, ignore_index=-100):
    """The same without the maximum."""
    return fused(logits, labels, ignore_index=ignore_index, subtract=False)


one_launch = bytes_an_element(fused, x_small, y_small)
print(f"one sweep: {one_launch:.2f} bytes for each logit")
says("8.0", one_launch)

fig, ax = plt.subplots(figsize=(6.5, 2.4))
ways = ["NumPy, op by op", "two kernels", "one sweep"]
passes = np.round(np.array([op_by_op, two_launches, one_launch]) / 4)
bars = ax.barh(ways, passes, color=["#d55e00", "#e69f00", "#0072b2"])
ax.bar_label(bars, [f" {n:.0f} passes: {n * 2 * logits_at_once / rate * 1e3:.2f} ms" for n in passes])
ax.invert_yaxis()
ax.set_xlim(0, 15)
ax.set_xlabel("reads and writes of all logits (ms: at least, 8192 x 128256 in bfloat16 at 3.35 TB/s)")
picture(fig, name="passes",
        alt_en="Bars of memory traffic: op by op ten passes, at least 6.27 ms on an H100; two kernels "
               "three passes, 1.88 ms; one sweep two passes, 1.25 ms.",
        alt_zh="内存搬运量的柱状图：逐个运算共 10 遍，在 H100 上至少 6.27 ms；两个内核 3 遍，1.88 ms；"
               "一趟扫描 2 遍，1.25 ms。")

# %% [markdown] lang="en"
# ## 5. The judge
#
# Five right numbers prove little about a kernel. `check_softmax_cross_entropy` asks for **properties** that
# each right kernel has, whatever the numbers: a shift of all logits changes nothing, rows of the gradient sum
# to 0, huge logits do not overflow, blocks of $-\infty$ do no harm, rows may lie apart in memory, offsets may
# exceed $2^{31}$. It names the first wrong number, a likely cause, and the call that repeats the case.
#
# **Predict:** which properties does the naive kernel break? And your two kernels, which pass all their
# checks?
# %% [markdown] lang="zh"
# ## 5. 评判程序
#
# 五个数算对了，说明不了什么。`check_softmax_cross_entropy` 要求的是任何正确内核都该有的**性质**，与具体的数
# 无关：所有 logits 加上同一个数，结果不变；梯度每行的和为 0；logits 再大也不上溢；整块的 $-\infty$ 不碍事；
# 各行在内存里可以不相连；位置可以超过 $2^{31}$。它会指出第一个错的数、可能的原因，以及怎样重现这一例。
#
# **先猜一猜**：不减最大值的内核会在哪些性质上栽跟头？你那两个通过了全部检查的内核呢？
# %%
def verdict(fn, only=()):
    report = check_softmax_cross_entropy(fn, dtypes="float32", seeds=(0,), only=only)
    hold = sum(o.passed > 0 and o.failure is None for o in report.outcomes)
    print(f"{fn.__name__}: {hold} properties hold, {len(report.failures)} broken")
    for failure in report.failures:
        print(f"  {failure.name}: {failure.broken.what}")
        if failure.broken.where:
            print(f"      {failure.broken.where}: got {failure.broken.got}, wanted {failure.broken.wanted}")
        if failure.broken.ulps is not None:
            print(f"      largest error: {failure.broken.size} of the output's type")
        if failure.cause:
            print(f"      likely cause: {failure.cause}")
    return {failure.name for failure in report.failures}


assert "huge_logits" in verdict(naive)
verdict(by_lse, only="huge_logits")
verdict(by_two_kernels)
assert not verdict(fused)

# %% [markdown] lang="en"
# The naive kernel fails where a logit is 200, and the judge guesses why. Ordinary tests with small random
# logits would have let it pass, and the training might have ended in NaN weeks later. The same property
# catches the gradient that was made from lse: no NaN there, only digits lost, many units in the last place
# (ulp) at a time.
#
# The two kernels, as the solution has them, stumble over a first block of nothing but $-\infty$: then
# $m' = -\infty$, and $e^{m - m'}$ is $e^{-\infty + \infty}$, NaN. Such rows are real: a mask on the
# vocabulary, as for constrained generation, makes them. The cure is the line that `one_sweep` has,
# `tl.where(m == -inf, 0.0, m)`, for what is subtracted. Mend your `online_softmax` with it, and ask the
# judge again. `one_sweep` keeps everything it was asked for.
#
# ## 6. Label smoothing, if you like
#
# With smoothing $\varepsilon$ the target of a row is no longer one-hot:
# $q_j = (1-\varepsilon)[j = y] + \varepsilon / V$. The gradient is $p_j - q_j$, and the loss
# $\mathrm{lse} - \sum_j q_j x_j$. So the kernel changes in two lines and gains one sum over the row; the
# traffic stays at two passes. That is why everything of this kind, smoothing, ignored labels, class
# weights, belongs *into* the kernel: outside it costs a pass each.
#
# ## 7. The package's own
#
# `kernels.softmax_cross_entropy` is this kernel, grown up: rows of any length (one sweep while a row fits
# into registers, two beyond), 16-byte loads, bfloat16, all the options. Same numbers:
# %% [markdown] lang="zh"
# 不减最大值的内核在 logit 为 200 时失败了，评判程序还猜出了原因。平常的测试只用小的随机 logits，根本拦不住
# 它，说不定训练了几周、变成 NaN 才会发现。由 lse 算出的梯度也没有逃过这一条：那里没有 NaN，只是丢了精度，误
# 差达到许多个末位单位（ulp）。
#
# 那两个内核（按参考答案的写法）栽在另一处：第一块全是 $-\infty$。这时 $m' = -\infty$，$e^{m - m'}$ 成了
# $e^{-\infty + \infty}$，即 NaN。这样的行是真会出现的：受约束的生成要在词表上加掩码，就会造出来。解法就是
# `one_sweep` 里的那一行 `tl.where(m == -inf, 0.0, m)`，相减时用换过的值。请把它补进你的 `online_softmax`，
# 再请评判程序看一遍。`one_sweep` 则经受住了全部考验。
#
# ## 6. 选读：标签平滑
#
# 加上平滑 $\varepsilon$ 以后，一行的目标不再是 one-hot：$q_j = (1-\varepsilon)[j = y] + \varepsilon / V$。
# 梯度是 $p_j - q_j$，损失是 $\mathrm{lse} - \sum_j q_j x_j$。内核只要改两行、多求一个和，搬运量仍是两遍。所
# 以这一类东西，平滑、忽略标签、类别权重，都应当放*进*内核里：放在外面，每一样都要多搬一遍。
#
# ## 7. 本包自己的内核
#
# `kernels.softmax_cross_entropy` 就是这个内核长大以后的样子：行多长都行（寄存器装得下就一趟扫描，装不下就两
# 趟），一次加载 16 字节，支持 bfloat16 和所有选项。得到的数是一样的：
# %%
ours = fused(x_small, y_small)
packages = kernels.softmax_cross_entropy(x_small, y_small, backend="triton")
for name, a, b in zip(("loss", "lse", "dlogits"), ours, packages, strict=True):
    print(f"{name}: largest difference {np.max(np.abs(a - b)):.1e}")
    assert np.allclose(a, b, rtol=1e-5, atol=1e-8)
assert np.isclose(ours[0], formulas.softmax_cross_entropy(x_small.astype(np.float64), y_small), rtol=1e-6)

smoothed = kernels.softmax_cross_entropy(x_small, y_small, label_smoothing=0.1, backend="triton")[0]
assert np.isclose(smoothed, formulas.softmax_cross_entropy(x_small, y_small, label_smoothing=0.1), rtol=1e-6)
print(f"loss {ours[0]:.4f}, with smoothing 0.1 {smoothed:.4f}")
says("16", 16)
by_rows = formulas.cross_entropy_rows(x_small.astype(np.float64), y_small, None, 0.1)  # (R,)
d_rows = formulas.cross_entropy_rows_gradient(x_small.astype(np.float64), y_small, None, 0.1)  # (R, V)
assert np.isclose(smoothed, by_rows.mean(), rtol=1e-6)
d_kernel = kernels.softmax_cross_entropy(x_small, y_small, label_smoothing=0.1, backend="triton")[2]
assert np.allclose(d_kernel, d_rows / len(y_small), rtol=1e-5, atol=1e-8)
print("rows of the gradient sum to", np.round(d_rows.sum(axis=1), 12) + 0.0)

# %% [markdown] lang="en"
# Section 6 is in the package too, row by row: `formulas.cross_entropy_rows` and
# `formulas.cross_entropy_rows_gradient` take smoothing and class weights, and the kernel's numbers are held to
# them. Smoothed or not, each row of the gradient sums to 0.
#
# So: each logit must travel **twice**, in as a logit and out as a gradient. Op by op it travels ten times.
# One program a row, masks at the edges, and the sum kept relative to a running maximum bring it down to
# two.
#
# To look inside the package's kernel, line by line, with addresses, masks and the running numbers:
# `minillm step triton:cross-entropy`. Lesson 16 does the same for Adam.
# %% [markdown] lang="zh"
# 第 6 节的式子，包里也有，逐行给出：`formulas.cross_entropy_rows` 和 `formulas.cross_entropy_rows_gradient` 可
# 以带平滑和类别权重，内核的结果就是与它们对照的。不论平滑与否，梯度每行之和都是 0。
#
# 结论：每个 logit 只需搬**两趟**，进来时是 logit，出去时是梯度；逐个运算地算，要搬十趟。一行一个程序实例，
# 边缘加掩码，求和时始终以当前最大值为基准，就从十趟降到了两趟。
#
# 想逐行看看本包内核的内部，包括地址、掩码和当前的数：`minillm step triton:cross-entropy`。第 16 课对 Adam
# 做同样的事。
