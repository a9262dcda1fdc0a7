"""Checks of lesson 03: gradient descent."""

import numpy as np

from minillm import formulas
from minillm.course import Exercise


def _unit(g):
    norm = np.linalg.norm(g)
    return g / norm if norm else g


def step_cases(rng):
    yield np.array([0.0]), np.array([-6.0]), 0.1
    yield np.array([1.0, 2.0, -1.0]), np.array([0.5, 0.0, -4.0]), 0.5
    yield rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 0.03


def limit_cases(rng):
    yield (np.diag([1.0, 25.0]),)
    yield (np.array([[3.0, 2.0], [2.0, 3.0]]),)
    yield (np.diag([9.0, 1.0, 4.0]),)  # eig gives them in this order, which is none
    B = rng.normal(size=(4, 4))
    yield (B @ B.T + np.eye(4),)


def cubes(theta):
    return float(np.sum(theta**3))


def waves(theta):
    return float(np.sum(np.sin(theta) * np.arange(1, theta.size + 1).reshape(theta.shape)))


def product(theta):
    return float(np.prod(theta))


def gradient_cases(rng):
    yield cubes, np.array([1.0, 2.0, -1.0]), 0.1
    yield waves, rng.normal(size=(2, 3)), 1e-3
    yield product, rng.normal(size=4), 1e-3
    yield cubes, np.array(2.0), 0.125
    yield waves, np.arange(8.0).reshape(2, 2, 2), 0.125


def central(f, theta, h=1e-5):
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        e = np.zeros_like(theta)
        e[i] = h
        g[i] = (f(theta + e) - f(theta - e)) / (2 * h)
    return g


def one_sided(f, theta, h=1e-5):
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        e = np.zeros_like(theta)
        e[i] = h
        g[i] = (f(theta + e) - f(theta)) / h
    return g


def backwards(f, theta, h=1e-5):
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        e = np.zeros_like(theta)
        e[i] = h
        g[i] = (f(theta) - f(theta - e)) / h
    return g


def not_put_back(f, theta, h=1e-5):
    g, moved = np.zeros_like(theta), theta.copy()
    for i in np.ndindex(theta.shape):
        moved[i] += h
        up = f(moved)
        moved[i] -= 2 * h
        g[i] = (up - f(moved)) / (2 * h)
    return g


def first_axis(f, theta, h=1e-5):
    g = np.zeros_like(theta)
    for i in range(len(theta)):
        up, down = theta.copy(), theta.copy()
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g


def number_a_row(f, theta, h=1e-5):
    return np.array([first_axis(f, theta, h)[i].flat[0] for i in range(len(theta))])


def by_number(f, theta, h=1e-5):
    g = np.zeros_like(theta)
    for i in range(theta.size):
        e = np.zeros_like(theta)
        e[i] = h
        g[i] = (f(theta + e) - f(theta - e)) / (2 * h)
    return g


def one_array(f, theta, h=1e-5):
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        up = down = theta.copy()
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g


def one_array_along(places):
    """A gradient whose up and down are the array itself; places(x): the indices that it goes through."""

    def gradient(f, theta, h=1e-5):
        g = np.zeros_like(theta)
        for i in places(theta):
            up = down = theta
            up[i] += h
            down[i] -= h
            g[i] = (f(up) - f(down)) / (2 * h)
        return g

    return gradient


def copied_once(f, theta, h=1e-5):
    g, up, down = np.zeros_like(theta), theta.copy(), theta.copy()
    for i in np.ndindex(theta.shape):
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g


def into_theta(f, theta, h=1e-5):
    g = theta
    for i in np.ndindex(theta.shape):
        e = np.zeros_like(theta)
        e[i] = h
        g[i] = (f(theta + e) - f(theta - e)) / (2 * h)
    return g


def axes(ndim, f, theta, h):
    """The gradient with a loop for each axis: for one axis, or for two."""
    if ndim == 1:
        return first_axis(f, theta, h)
    g = np.zeros_like(theta)
    for i in range(theta.shape[0]):
        for j in range(theta.shape[1]):
            up, down = theta.copy(), theta.copy()
            up[i, j] += h
            down[i, j] -= h
            g[i, j] = (f(up) - f(down)) / (2 * h)
    return g


def one_axis_or_two(f, theta, h=1e-5):
    return axes(min(theta.ndim, 2), f, theta, h)


def one_axis_or_two_exactly(f, theta, h=1e-5):
    if theta.ndim not in (1, 2):
        raise ValueError("not enough values to unpack")  # as `rows, columns = theta.shape` does
    return axes(theta.ndim, f, theta, h)


def one_axis_or_two_else_zeros(f, theta, h=1e-5):
    return axes(theta.ndim, f, theta, h) if theta.ndim in (1, 2) else np.zeros_like(theta)


def in_place(f, theta, h=1e-5, back=True):
    g = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        theta[i] += h
        up = f(theta)
        theta[i] -= 2 * h
        g[i] = (up - f(theta)) / (2 * h)
        theta[i] += h if back else 0.0
    return g


def first_element(f, theta, h=1e-5):
    g = central(f, theta, h)
    g.reshape(-1)[1:] = 0.0
    return g


def momentum_cases(rng):
    yield np.array([1.0]), np.array([2.0]), np.array([3.0]), 0.1, 0.5
    yield np.array([1.0, -1.0]), np.array([0.5, 4.0]), np.zeros(2), 0.1, 0.9
    yield rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), 0.02, 0.8


def averaged(theta, g, u, alpha, mu):
    u = mu * u + (1 - mu) * g
    return theta - alpha * u, u


def velocity_has_alpha(theta, g, u, alpha, mu):
    u = mu * u - alpha * g
    return theta + u, u


def rate_twice(theta, g, u, alpha, mu):
    u = mu * u + alpha * g
    return theta - alpha * u, u


EXERCISES = [
    Exercise(
        "gradient_descent_step", step_cases,
        reference=lambda theta, g, alpha: formulas.gradient_descent_step(theta, g, alpha=alpha),
        statement_zh="""
            梯度下降的一步（文章 4.2 节）。

            theta_{t+1} = theta_t - alpha g

            theta：参数，任意形状的数组（不能改动它）。
            g：theta 处的梯度，形状相同。
            alpha：学习率，一个数。
            返回新的 theta。
            """,
        hints=[("The gradient points uphill. You want to go down.", "梯度指向上坡，而我们要往下走。"),
               ("Scale the gradient by alpha, then take it away from theta.",
                "先把梯度乘以 alpha，再从 theta 里减去。"),
               ("return theta - alpha * g", "return theta - alpha * g，与公式逐字对应。")],
        wrong={
            "uphill": (lambda theta, g, alpha: theta + alpha * g,
                       "this walks uphill: the gradient points to where the loss grows, so it is subtracted.",
                       "这是在往上坡走：梯度指向损失增大的方向，所以要减去它。"),
            "no_rate": (lambda theta, g, alpha: theta - g,
                        "the learning rate alpha is missing: this takes alpha = 1 whatever is asked for.",
                        "漏了学习率 alpha：这样写等于永远取 alpha = 1。"),
            "sign_only": (lambda theta, g, alpha: theta - alpha * np.sign(g),
                          "only the sign of the gradient is used; its size matters too: steep places take "
                          "longer steps.",
                          "只用了梯度的符号；大小也要用：坡越陡，步子越大。"),
            "unit_length": (lambda theta, g, alpha: theta - alpha * _unit(g),
                            "the gradient was scaled to length 1; gradient descent takes it as it is.",
                            "把梯度缩放成了单位长度；梯度下降直接用原来的梯度。"),
            "bracket": (lambda theta, g, alpha: alpha * (theta - g),
                        "a bracket is in the wrong place: alpha scales the gradient only, not theta.",
                        "括号放错了：alpha 只乘梯度，不乘 theta。"),
            "only_change": (lambda theta, g, alpha: -alpha * g,
                            "this is the change of theta alone: add it to theta.",
                            "这只是 theta 的变化量：还要加到 theta 上。"),
            "theta_for_g": (lambda theta, g, alpha: theta - alpha * theta,
                "you subtract a share of theta itself: it is the gradient g that is scaled by alpha.",
                "你减去的是 theta 自己的一部分：乘以 alpha 的应是梯度 g。"),
            "downhill_from_g": (lambda theta, g, alpha: g - alpha * theta,
                "theta and g are exchanged: the step starts at theta and goes against g.",
                "theta 和 g 对调了：从 theta 出发，逆着 g 走。"),
            "divided": (lambda theta, g, alpha: theta - g / alpha,
                "you divide by alpha: a small learning rate is to make a small step, so multiply.",
                "你除以了 alpha：学习率小，步子就该小，所以要乘。"),
            "dot": (lambda theta, g, alpha: theta - alpha * np.sum(g),
                "every parameter is moved by the sum of all slopes: each has a slope of its own, g.",
                "每个参数都按所有斜率之和移动了：各有各的斜率，直接用 g。"),
        },
        why=("Near a point, the loss falls fastest against the gradient; and where the gradient is 0 the "
             "rule stays where it is.",
             "在一点附近，逆着梯度走，损失下降得最快；梯度为 0 的地方，这条规则就停住不动。")),
    Exercise(
        "step_limit", limit_cases, reference=lambda A: 2 / np.linalg.eigvalsh(A)[-1],
        statement_zh="""
            学习率的上限：低于它，梯度下降在 L = 1/2 theta^T A theta 上收敛。

            0 < alpha < 2 / (A 的最大特征值)

            A：(n, n)，对称，特征值都大于 0。`np.linalg.eigvalsh(A)` 给出全部特征值，最大的在最后。
            返回一个数。
            """,
        hints=[("In one dimension the limit is 2 / c. Which curvature decides when there are several?",
                "一维时上限是 2 / c。有好几个曲率时，由哪一个决定？"),
               ("The curvatures are the eigenvalues of A, and every factor 1 - alpha c must be smaller than "
                "1 in size: the largest c decides.",
                "各个曲率就是 A 的特征值，每个因子 1 - alpha c 的绝对值都要小于 1：由最大的 c 决定。"),
               ("np.linalg.eigvalsh(A)[-1] is the largest eigenvalue.",
                "np.linalg.eigvalsh(A)[-1] 就是最大的特征值。")],
        wrong={
            "one": (lambda A: 1 / np.linalg.eigvalsh(A)[-1],
                    "this is where the steepest direction arrives in one step; it still converges up to "
                    "twice as much.",
                    "这是最陡方向一步到位的学习率；再大一些，直到它的两倍，仍然收敛。"),
            "flattest": (lambda A: 2 / np.linalg.eigvalsh(A)[0],
                         "this is the limit of the flattest direction; the steepest one diverges long "
                         "before.",
                         "这是最平缓方向的上限；在那之前，最陡的方向早就发散了。"),
            "largest_entry": (lambda A: 2 / A.max(),
                              "this takes the largest number of A. A valley that lies askew is steeper than "
                              "any number in its matrix: take the largest eigenvalue.",
                              "这里取了 A 中最大的数。山谷斜着的时候，最陡的曲率比矩阵里的任何一个数都大："
                              "要取最大的特征值。"),
            "trace": (lambda A: 2 / np.trace(A),
                      "this divides by the sum of all curvatures: safe, but smaller than it has to be. The "
                      "largest one alone decides.",
                      "这里除以了所有曲率之和：安全，但偏小。只由最大的一个决定。"),
            "length": (lambda A: 2 / np.linalg.norm(A),
                       "np.linalg.norm(A) is the root of the sum of all squares, which is larger than the "
                       "largest eigenvalue: safe, but smaller than it has to be.",
                       "np.linalg.norm(A) 是所有数的平方和再开方，比最大的特征值大：安全，但偏小。"),
            "best_rate": (lambda A: 2 / (np.linalg.eigvalsh(A)[0] + np.linalg.eigvalsh(A)[-1]),
                          "this is the best constant rate; the limit is where the steepest direction stops "
                          "converging.",
                          "这是最好的固定学习率；上限则是最陡方向刚刚不再收敛的地方。"),
            "curvature": (lambda A: np.linalg.eigvalsh(A)[-1],
                "this is the largest curvature itself: the limit is 2 divided by it.",
                "这是最大的曲率本身：上限是 2 除以它。"),
            "times": (lambda A: 2 * np.linalg.eigvalsh(A)[-1],
                "you multiply by the curvature: the steeper the valley, the *smaller* the limit. Divide.",
                "你乘了曲率：山谷越陡，上限越*小*。应当用除法。"),
            "all": (lambda A: 2 / np.linalg.eigvalsh(A),
                "this is a limit for each direction: one learning rate has to serve all, so take the "
                "smallest, 2 over the *largest* eigenvalue.",
                "这是每个方向各自的上限：学习率只有一个，要照顾所有方向，所以取最小的，即 2 除以*最大*的"
                "特征值。"),
            "all_unsorted": (lambda A: 2 / np.linalg.eigvals(A),
                "this is a limit for each direction: one learning rate has to serve all, so take the "
                "smallest, 2 over the *largest* eigenvalue.",
                "这是每个方向各自的上限：学习率只有一个，要照顾所有方向，所以取最小的，即 2 除以*最大*的"
                "特征值。"),
            "curvatures": (lambda A: np.linalg.eigvalsh(A),
                "these are all curvatures: take the largest, and divide 2 by it.",
                "这是全部曲率：要取最大的一个，再用 2 除以它。"),
            "curvatures_unsorted": (lambda A: np.linalg.eigvals(A),
                "these are all curvatures: take the largest, and divide 2 by it.",
                "这是全部曲率：要取最大的一个，再用 2 除以它。"),
            "first_of_eig": (lambda A: 2 / np.linalg.eig(A)[0][0],
                "`np.linalg.eig(A)[0]` holds the eigenvalues in no order, so its [0] is any one of them: take "
                "the largest, .max(), or np.linalg.eigvalsh(A)[-1], which sorts them.",
                "`np.linalg.eig(A)[0]` 里的特征值没有排序，再取 [0] 得到的可能是任何一个：要取最大的，用 "
                ".max()；或者用 np.linalg.eigvalsh(A)[-1]，它是排好序的。"),
            "last_of_eig": (lambda A: 2 / np.linalg.eig(A)[0][-1],
                "`np.linalg.eig(A)[0]` and `np.linalg.eigvals(A)` hold the eigenvalues in no order, so the "
                "last need not be the largest: take .max(), or np.linalg.eigvalsh(A)[-1], which sorts them.",
                "`np.linalg.eig(A)[0]` 和 `np.linalg.eigvals(A)` 里的特征值没有排序，最后一个不一定最大：要用 "
                ".max()；或者用 np.linalg.eigvalsh(A)[-1]，它是排好序的。"),
            "second": (lambda A: 2 / np.linalg.eigvalsh(A)[1],
                "[1] is the last eigenvalue only where there are two: take [-1].",
                "只有两个特征值时，[1] 才是最后一个：应当用 [-1]。"),
            "mean_curvature": (lambda A: 2 / np.linalg.eigvalsh(A).mean(),
                "this divides by the mean curvature: the steepest direction is steeper than that, and "
                "diverges. The largest one alone decides.",
                "这里除以了平均曲率：最陡的方向比它更陡，会发散。只由最大的一个决定。"),
            "determinant": (lambda A: 2 / np.linalg.det(A),
                "the determinant is the product of all curvatures: the largest one alone decides.",
                "行列式是所有曲率的乘积：只由最大的一个决定。"),
            "interval": (lambda A: (0.0, 2 / np.linalg.eigvalsh(A)[-1]),
                "this is the whole interval: only its upper end is asked for, one number.",
                "这是整个区间：只要它的上端，一个数。"),
        },
        why=("In the directions of the eigenvectors the parameters do not mix, so the valley falls apart "
             "into valleys with one parameter, each with its own limit 2 / c.",
             "沿特征向量的方向，各个分量互不干扰，所以整个山谷可以拆成一个个一维山谷，每个都有自己的上限 2 / "
             "c。")),
    Exercise(
        "numeric_gradient", gradient_cases, reference=central,
        statement_zh="""
            用中心差分求 f 在 theta 处的梯度，一次一个参数。

            (f(theta + h e_i) - f(theta - h e_i)) / (2 h)

            f：函数，接受与 theta 同形状的数组，返回一个数。
            theta：浮点数组，任意形状（不能改动它，请用副本）。
            h：向两侧挪动的距离。
            返回与 theta 同形状的数组。
            """,
        hints=[("Move one number of theta at a time; all others stay.", "每次只挪动 theta 的一个数，"
                                                                        "其余不动。"),
               ("`for i in np.ndindex(theta.shape)` goes through all places of an array of any shape.",
                "`for i in np.ndindex(theta.shape)` 可以遍历任意形状的数组的每个位置。"),
               ("up, down = theta.copy(), theta.copy(); up[i] += h; down[i] -= h; g[i] = (f(up) - f(down)) / "
                "(2 * h)",
                "对每个 i：up, down = theta.copy(), theta.copy()；up[i] += h；down[i] -= h；g[i] = (f(up) - "
                "f(down)) / (2 * h)")],
        wrong={
            "one_sided": (one_sided, "this is the one-sided quotient (f(theta + h) - f(theta)) / h; its "
                                     "error falls only like h. Go to both sides.", "这是单侧的商 (f(theta + "
                                                                                   "h) - f(theta)) / h，"
                                                                                   "误差只按 h 减小。"
                                                                                   "要向两侧各挪一次。"),
            "backward": (backwards, "this is the one-sided quotient (f(theta) - f(theta - h)) / h; go to "
                                    "both sides.",
                         "这是单侧的商 (f(theta) - f(theta - h)) / h。要向两侧各挪一次。"),
            "one_h": (lambda f, theta, h=1e-5: 2 * central(f, theta, h),
                      "the two places are 2h apart, not h: divide by 2 * h.",
                      "两点之间相距 2h，不是 h：要除以 2 * h。"),
            "all_at_once": (lambda f, theta, h=1e-5: np.full_like(
                theta, (f(theta + h) - f(theta - h)) / (2 * h)),
                            "all numbers of theta are moved at once; each partial derivative moves one and "
                            "keeps the others.",
                            "theta 的所有数一起挪动了；求偏导数时只挪一个，其余不动。"),
            "not_put_back": (not_put_back, "a number that was moved is not put back before the next one is: "
                                           "take a fresh copy for each.",
                             "挪动过的数没有放回去，就去挪下一个了：每次都要用新的副本。"),
            "sum_of_slopes": (lambda f, theta, h=1e-5: (f(theta + h) - f(theta - h)) / (2 * h),
                "theta + h moves all numbers together and gives one number, the sum of all the slopes: "
                "move one at a time, in a copy, and collect what comes in an array of theta's shape.",
                "theta + h 把所有的数一起挪动，只得到一个数，即各斜率之和：应在副本上每次只挪一个，把结果"
                "逐个填进与 theta 同形状的数组。"),
            "first_axis": (first_axis,
                "`range(len(theta))` counts rows: where theta has two axes, theta[i] is a whole row, and "
                "all its numbers move together. np.ndindex(theta.shape) gives the index of every single "
                "one.",
                "`range(len(theta))` 数的是行：theta 有两个轴时，theta[i] 是整整一行，一行的数一起动了。"
                "np.ndindex(theta.shape) 才会逐个给出每个数的下标。"),
            "number_a_row": (number_a_row,
                "the loop goes over the first axis of theta only: where theta has two axes it moves whole "
                "rows. np.ndindex(theta.shape) gives the index of every single number.",
                "循环只走了 theta 的第一个轴：theta 有两个轴时，动的是整整一行。np.ndindex(theta.shape) "
                "才会逐个给出每个数的下标。"),
            "by_number": (by_number,
                "`range(theta.size)` counts the numbers, but theta[i] with one number picks a row where "
                "theta has two axes. np.ndindex(theta.shape) gives whole indices.",
                "`range(theta.size)` 数的是个数，可是 theta 有两个轴时，单独一个下标的 theta[i] 取出的是"
                "一行。np.ndindex(theta.shape) 给出完整的下标。"),
            **{key: (function,
                "the loops are written for one axis and for two: theta may have any number of them, none and three "
                "among them. np.ndindex(theta.shape) gives the index of every number, whatever the shape.",
                "循环只是为一个轴和两个轴写的：theta 可以有任意个轴，也可能一个都没有，或者有三个。不论什么形状，"
                "np.ndindex(theta.shape) 都会逐个给出每个数的下标。") for key, function in (
                    ("one_axis_or_two", one_axis_or_two), ("one_axis_or_two_exactly", one_axis_or_two_exactly),
                    ("one_axis_or_two_else_zeros", one_axis_or_two_else_zeros))},
            "aliased_by_row": (one_array_along(lambda theta: range(len(theta))),
                "two mistakes: `up = theta` and `down = theta` make no copies, so what is added is taken "
                "away again, write theta.copy(); and `range(len(theta))` counts rows, "
                "np.ndindex(theta.shape) gives whole indices.",
                "有两处错误：`up = theta` 和 `down = theta` 都没有复制，加上去的又被减掉了，应写 "
                "theta.copy()；而且 `range(len(theta))` 数的是行，np.ndindex(theta.shape) 才给出完整的"
                "下标。"),
            "aliased_by_number": (one_array_along(lambda theta: range(theta.size)),
                "two mistakes: `up = theta` and `down = theta` make no copies, so what is added is taken "
                "away again, write theta.copy(); and theta[i] with one number is a row where theta has two "
                "axes, np.ndindex(theta.shape) gives whole indices.",
                "有两处错误：`up = theta` 和 `down = theta` 都没有复制，加上去的又被减掉了，应写 "
                "theta.copy()；而且 theta 有两个轴时，单独一个下标的 theta[i] 是一行，"
                "np.ndindex(theta.shape) 才给出完整的下标。"),
            "times_h_by_row": (lambda f, theta, h=1e-5: h * h * first_axis(f, theta, h),
                "two mistakes: `/ 2 * h` divides by 2 and then multiplies by h, write `/ (2 * h)`; and "
                "`range(len(theta))` counts rows, np.ndindex(theta.shape) gives whole indices.",
                "有两处错误：`/ 2 * h` 是先除以 2，再乘 h，应写成 `/ (2 * h)`；而且 `range(len(theta))` 数的"
                "是行，np.ndindex(theta.shape) 才给出完整的下标。"),
            "times_h_by_number": (lambda f, theta, h=1e-5: h * h * by_number(f, theta, h),
                "two mistakes: `/ 2 * h` divides by 2 and then multiplies by h, write `/ (2 * h)`; and "
                "theta[i] with one number is a row where theta has two axes, np.ndindex(theta.shape) gives "
                "whole indices.",
                "有两处错误：`/ 2 * h` 是先除以 2，再乘 h，应写成 `/ (2 * h)`；而且 theta 有两个轴时，单独一"
                "个下标的 theta[i] 是一行，np.ndindex(theta.shape) 才给出完整的下标。"),
            "sum_times_h": (lambda f, theta, h=1e-5: (f(theta + h) - f(theta - h)) / 2 * h,
                "two mistakes: `/ 2 * h` divides by 2 and then multiplies by h, write `/ (2 * h)`; and theta "
                "+ h moves all numbers together, which gives one number: move one at a time, in a copy.",
                "有两处错误：`/ 2 * h` 是先除以 2，再乘 h，应写成 `/ (2 * h)`；而且 theta + h 把所有的数一起"
                "推动，只得到一个数：应在副本上每次只动一个。"),
            "copied_once": (copied_once,
                "up and down are copied once, before the loop, so what was moved stays moved: make both "
                "copies anew for each element, inside the loop.",
                "up 和 down 只在循环之前复制了一次，动过的没有还原：应在循环里面，对每个元素重新复制。"),
            "into_theta": (into_theta,
                "`g = theta` makes no copy: each slope that you write into g is written into theta, and "
                "the next one is taken at another place. Begin with g = np.zeros_like(theta).",
                "`g = theta` 并没有复制：往 g 里写斜率，也就写进了 theta，下一个数便在别处求导了。应从 g "
                "= np.zeros_like(theta) 开始。"),
            "put_back": (in_place,
                "the slopes are right, but theta[i] + h - 2 h + h is not theta[i] to the last bit, so "
                "theta has changed: work on copies, or keep old = theta[i] and write that back.",
                "斜率是对的，可是 theta[i] + h - 2 h + h 与 theta[i] 差在最后几位，theta 还是被改动了：请"
                "用副本，或者先记下 old = theta[i]，再写回去。"),
            "in_place_not_put_back": (lambda f, theta, h=1e-5: in_place(f, theta, h, False),
                "theta itself is moved, and never put back: work on copies.",
                "挪动的是 theta 本身，而且没有放回去：请用副本。"),
            "times_h": (lambda f, theta, h=1e-5: h * h * central(f, theta, h),
                "`/ 2 * h` divides by 2 and then multiplies by h: write `/ (2 * h)`.",
                "`/ 2 * h` 是先除以 2，再乘 h：应写成 `/ (2 * h)`。"),
            "own_h": (lambda f, theta, h=1e-5: central(f, theta),
                "the argument h is not used: some fixed step stands in the code. Take the h that you are "
                "given.",
                "没有用到参数 h：代码里写死了一个步长。请用传进来的 h。"),
            "returns_in_loop": (first_element,
                "only the first number has its slope: the `return` stands inside the loop and ends it in "
                "the first round. Move it one level out.",
                "只有第一个数算出了斜率：`return` 写在循环里面，第一圈就结束了。把它往外挪一层。"),
            "aliased": (one_array,
                "up and down are two names of one array, so what is added is taken away again: `up = "
                "theta` or `up = down = ...` makes no copy. Write up = theta.copy() and down = "
                "theta.copy().",
                "up 和 down 是同一个数组的两个名字，加上去的又被减掉了：`up = theta` 或 `up = down = ...`"
                " 并没有复制。应写 up = theta.copy() 和 down = theta.copy()。"),
        },
        why=("In f(theta + h) - f(theta - h) all even powers of h cancel; the error that remains is of order "
             "h squared.",
             "在 f(theta + h) - f(theta - h) 里，h 的偶次项全部抵消，剩下的误差是 h 的平方量级。")),
    Exercise(
        "momentum_step", momentum_cases,
        reference=lambda theta, g, u, alpha, mu: formulas.momentum_step(theta, g, u, alpha=alpha, mu=mu),
        statement_zh="""
            带动量的梯度下降的一步。

            u_t = mu u_{t-1} + g_t
            theta_{t+1} = theta_t - alpha u_t

            theta、g、u：形状相同的数组（都不能改动）；第一步之前 u 是 0。
            alpha：学习率。mu：动量系数，在 [0, 1) 内。
            返回 (theta, u)，都是新的数组。
            """,
        hints=[("Two lines: first the new velocity, then the step along it.", "两行：先算新的速度，"
                                                                              "再沿着它走一步。"),
               ("The step uses the new u, not the one that was passed in.", "走这一步用的是新的 u，"
                                                                            "而不是传进来的那个。"),
               ("u = mu * u + g; return theta - alpha * u, u", "先 u = mu * u + g，再 return theta - alpha * "
                                                               "u, u")],
        wrong={
            "average": (averaged,
                        "the gradient got a factor 1 - mu: that is Adam's average (lesson 4). Here g is "
                        "added whole.",
                        "梯度多乘了 1 - mu：那是 Adam 里的滑动平均（第 4 课）。这里直接加上 g。"),
            "old_velocity": (lambda theta, g, u, alpha, mu: (theta - alpha * u, mu * u + g),
                             "theta is moved along the old velocity; compute the new u first.",
                             "theta 是沿旧的速度移动的；要先算出新的 u。"),
            "rate_in_velocity": (velocity_has_alpha,
                                 "this is the other common form, with alpha inside the velocity. Here u "
                                 "holds plain gradients and alpha stands before u.",
                                 "这是另一种常见写法，把 alpha 放进了速度。这里 u 里是原本的梯度，alpha 乘在 "
                                 "u 的外面。"),
            "no_friction": (lambda theta, g, u, alpha, mu: (theta - alpha * (u + g), u + g),
                            "mu is missing: a ball without friction never comes to rest.",
                            "漏了 mu：没有摩擦的球永远停不下来。"),
            "uphill": (lambda theta, g, u, alpha, mu: (theta + alpha * (mu * u + g), mu * u + g),
                       "the sign is wrong: u points uphill, as the gradient does, and is subtracted.",
                       "符号反了：u 和梯度一样指向上坡，要减去它。"),
            "both": (lambda theta, g, u, alpha, mu: (theta - alpha * (g + mu * (mu * u + g)), mu * u + g),
                     "this is Nesterov's form, which looks ahead along the velocity; the plain one is theta "
                     "- alpha u.",
                     "这是 Nesterov 的写法，会沿速度再向前看一步；普通动量是 theta - alpha u。"),
            "rate_in_velocity_down": (
                lambda theta, g, u, alpha, mu: (theta - mu * u - alpha * g, mu * u + alpha * g),
                "alpha has moved into the velocity, u = mu u + alpha g: here u holds plain gradients, and "
                "alpha stands before u in the step.",
                "你把 alpha 放进了速度，u = mu u + alpha g：这里 u 里是原本的梯度，走这一步时 alpha 才乘"
                "在 u 的外面。"),
            "rate_twice": (rate_twice,
                "alpha counts twice, in the velocity and in the step: u = mu u + g has none.",
                "alpha 用了两次，速度里一次，走步时又一次：u = mu u + g 里没有它。"),
            "plain_step": (lambda theta, g, u, alpha, mu: (theta - alpha * g, mu * u + g),
                "u is right, but theta is moved along g alone: the step goes along the new u.",
                "u 是对的，可 theta 只沿 g 走了：这一步要沿新的 u 走。"),
            "mu_on_both": (lambda theta, g, u, alpha, mu: (theta - alpha * mu * (u + g), mu * (u + g)),
                "mu scales the gradient too: a bracket is in the wrong place. Only the old u is "
                "multiplied by mu.",
                "梯度也乘了 mu：括号放错了。只有旧的 u 要乘 mu。"),
            "only_theta": (lambda theta, g, u, alpha, mu: theta - alpha * (mu * u + g),
                "theta is right, but it comes back alone: the next step needs the new u as well. End with "
                "`return theta, u`, the two with a comma.",
                "theta 是对的，但只返回了它：下一步还要用新的 u。最后应写 `return theta, u`，两个都返回，"
                "中间用逗号隔开。"),
            "only_theta_old_velocity": (lambda theta, g, u, alpha, mu: theta - alpha * u,
                "theta is moved along the old velocity, and comes back alone: first u = mu * u + g, and at "
                "the end `return` both, with a comma: the new theta, and u.",
                "theta 是沿旧的速度移动的，而且只返回了它：先算 u = mu * u + g，最后用 `return` 把新的 theta "
                "和 u 都返回，中间用逗号隔开。"),
            "only_velocity": (lambda theta, g, u, alpha, mu: mu * u + g,
                "u is right, but it comes back alone: theta has to take its step too. End with `return theta "
                "- alpha * u, u`.",
                "u 是对的，但只返回了它：theta 也要走一步。最后应写 `return theta - alpha * u, u`。"),
            "velocity_not_kept": (lambda theta, g, u, alpha, mu: (theta - alpha * (mu * u + g), u),
                "theta is right, but the old u is returned: the next step needs the new one.",
                "theta 是对的，但返回的是旧的 u：下一步要用新的。"),
            "velocity_downhill": (lambda theta, g, u, alpha, mu: (theta + alpha * (mu * u - g), mu * u - g),
                "your u points downhill, u = mu u - g: here it is a sum of gradients, u = mu u + g, and "
                "theta - alpha u goes down.",
                "你的 u 指向下坡，u = mu u - g：这里 u 是梯度的累加，u = mu u + g，由 theta - alpha u 往"
                "下走。"),
        },
        outputs=("theta", "u"),
        why=("With a constant gradient, u grows to g / (1 - mu): along the valley momentum 0.9 makes the "
             "step ten times as long, while what goes to and fro cancels.",
             "梯度不变时，u 会增大到 g / (1 - mu)：沿着山谷，0.9 的动量把步子放大到十倍，"
             "而来回摆动的部分互相抵消。")),
]
