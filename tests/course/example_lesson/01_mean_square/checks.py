"""Checks of the example lesson."""

import numpy as np

from minillm.course import Exercise


def cases(rng):
    yield (np.array([1.0, 2.0, 4.0]),)
    yield (rng.normal(size=(3, 4)),)


EXERCISES = [
    Exercise(
        "mean_square", cases, reference=lambda x: np.mean(x * x),
        statement_zh="""
            数组的均方。

            L = (1/n) sum_i x_i^2

            x：任意形状的浮点数组。返回一个数。
            """,
        hints=[("Square each number first.", "先把每个数平方。"),
               ("np.mean(square(x))", "np.mean(square(x))：先平方，再求平均。")],
        wrong={
            "sum": (lambda x: np.sum(x * x), "this is the sum of squares: divide by n.",
                    "这是平方和：还要除以 n。"),
            "square_of_mean": (lambda x: np.mean(x) ** 2,
                               "this is the square of the mean: square first, then average.",
                               "这是平均值的平方：先平方，再求平均。"),
        },
        why=("Squares cannot cancel each other, so the mean square is zero only where all numbers are.",
             "平方不会互相抵消，所以只有全为零时均方才是零。")),
    Exercise(
        "mean_square_grad", cases, reference=lambda x: 2 * x / x.size,
        statement_zh="dL/dx，形状与 x 相同。",
        hints=[("Differentiate one term: x_i^2 / n.", "先对一项 x_i^2 / n 求导。")],
        wrong={"missing_mean": (lambda x: 2 * x, "the 1/n of the mean is missing.", "漏了平均里的 1/n。")}),
]
