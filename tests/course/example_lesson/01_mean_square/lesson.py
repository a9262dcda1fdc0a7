# ---
# title: The mean square and its slope
# title_zh: 均方与它的斜率
# minutes: 15
# needs: []
# ---
# %% [markdown] lang="en"
# ## How large are the numbers?
#
# The **mean square** of $x_1, \dots, x_n$ is $L = \frac{1}{n}\sum_i x_i^2$ (see section 4.1).
# %% [markdown] lang="zh"
# ## 这些数有多大？
#
# $x_1, \dots, x_n$ 的**均方**是 $L = \frac{1}{n}\sum_i x_i^2$（参见 4.1 节）。
# %%
import matplotlib.pyplot as plt
import numpy as np

from minillm.course import picture, says, step
from minillm.stepper import trace

x = np.array([1.5, -2.0, 0.25, 3.0])


def square(x):
    return x * x


# %% [markdown] lang="en"
# ## Write it
#
# For `x` the mean square comes to about 3.83.
# %% [markdown] lang="zh"
# ## 动手写
#
# 对上面的 `x`，均方约为 3.83。
# %% exercise="mean_square"
def mean_square(x):
    """The mean square of an array.

    L = (1/n) sum_i x_i^2

    x: any shape, floats. Returns a number.
    """
    # BEGIN SOLUTION
    return np.mean(square(x))
    # END SOLUTION


# %%
loss = mean_square(x)
says("3.83", loss)
print(f"{loss:.4f}")
step(trace(mean_square, x), en="The mean square, and its slope on the way back",
     zh="均方，以及反向得到的斜率")

# %% [markdown] lang="en"
# ## Its slope
#
# $\partial L / \partial x_i = 2 x_i / n$: the picture shows it for each number.
# %% [markdown] lang="zh"
# ## 它的斜率
#
# $\partial L / \partial x_i = 2 x_i / n$：下图画出了每个数的斜率。
# %% exercise="mean_square_grad"
def mean_square_grad(x):
    """dL/dx, in the shape of x."""
    # BEGIN SOLUTION
    return 2 * x / x.size
    # END SOLUTION


# %%
fig, ax = plt.subplots(figsize=(4, 3))
ax.bar(range(x.size), mean_square_grad(x))
ax.set_xlabel("i")
picture(fig, alt_en="Four bars: the slope is as large as the number, and of its sign.",
        alt_zh="四根柱子：斜率与对应的数成正比，符号也相同。", name="slope")
