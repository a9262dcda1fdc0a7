"""Checks of lesson 01: numerical gradients, topological order, the walk back, broadcasting undone."""

import math
import sys
import traceback

import numpy as np

from minillm.course import Exercise

# ---- numerical_gradient ------------------------------------------------------------------------------------


def sum_of_cubes(x):
    return np.sum(x**3)


def weighted_tanh(x):
    return np.sum(np.arange(1.0, x.size + 1).reshape(x.shape) * np.tanh(x)) + np.prod(np.ravel(x)[:2])


def functions(rng):
    yield sum_of_cubes, np.array([1.0, -2.0, 0.5]), 1e-3
    yield weighted_tanh, rng.normal(size=(2, 3)), 1e-3
    yield sum_of_cubes, np.array(1.5), 1e-3
    yield weighted_tanh, np.arange(8.0).reshape(2, 2, 2) / 8, 0.125


def numerical_gradient(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        grad[i] = (f(x + e) - f(x - e)) / (2 * h)
    return grad


def one_sided(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        grad[i] = (f(x + e) - f(x)) / h
    return grad


def never_put_back(f, x, h=1e-5):
    x, grad = x.copy(), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = f(x)
        x[i] -= 2 * h
        grad[i] = (up - f(x)) / (2 * h)
    return grad


def one_sided_back(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        grad[i] = (f(x) - f(x - e)) / h
    return grad


def first_axis(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in range(len(x)):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def number_a_row(f, x, h=1e-5):
    return np.array([first_axis(f, x, h)[i].flat[0] for i in range(len(x))])


def by_number(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in range(x.size):
        e = np.zeros_like(x)
        e[i] = h
        grad[i] = (f(x + e) - f(x - e)) / (2 * h)
    return grad


def one_array(f, x, h=1e-5, copied=False):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up = down = x.copy() if copied else x
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def one_array_in_turn(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = f(x)
        x[i] -= h
        grad[i] = (up - f(x)) / (2 * h)
    return grad


def last_divided(f, x, h=1e-5):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = f(up) - f(down) / (2 * h)
    return grad


def one_array_along(places):
    """A gradient whose up and down are the array itself; places(x): the indices that it goes through."""

    def gradient(f, x, h=1e-5):
        grad = np.zeros_like(x)
        for i in places(x):
            up = down = x
            up[i] += h
            down[i] -= h
            grad[i] = (f(up) - f(down)) / (2 * h)
        return grad

    return gradient


def copied_once(f, x, h=1e-5):
    grad, up, down = np.zeros_like(x), x.copy(), x.copy()
    for i in np.ndindex(x.shape):
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def into_x(f, x, h=1e-5):
    grad = x
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        grad[i] = (f(x + e) - f(x - e)) / (2 * h)
    return grad


def axes(ndim, f, x, h):
    """The gradient with a loop for each axis: for one axis, or for two."""
    if ndim == 1:
        return first_axis(f, x, h)
    g = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            up, down = x.copy(), x.copy()
            up[i, j] += h
            down[i, j] -= h
            g[i, j] = (f(up) - f(down)) / (2 * h)
    return g


def one_axis_or_two(f, x, h=1e-5):
    return axes(min(x.ndim, 2), f, x, h)


def one_axis_or_two_exactly(f, x, h=1e-5):
    if x.ndim not in (1, 2):
        raise ValueError("not enough values to unpack")  # as `rows, columns = x.shape` does
    return axes(x.ndim, f, x, h)


def one_axis_or_two_else_zeros(f, x, h=1e-5):
    return axes(x.ndim, f, x, h) if x.ndim in (1, 2) else np.zeros_like(x)


def in_place(f, x, h=1e-5, back=True):
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = f(x)
        x[i] -= 2 * h
        grad[i] = (up - f(x)) / (2 * h)
        x[i] += h if back else 0.0
    return grad


def first_element(f, x, h=1e-5):
    grad = numerical_gradient(f, x, h)
    grad.reshape(-1)[1:] = 0.0
    return grad


NUMERICAL = Exercise(
    "numerical_gradient", functions, numerical_gradient,
    statement_zh="""
        以数组为自变量的函数的梯度，用中心差分计算。

        grad_i = (f(x + h e_i) - f(x - h e_i)) / (2 h),   e_i：第 i 个元素是 1，其余是 0

        f：函数，接受与 x 同形状的数组，给出一个数。
        x：任意形状的数组，float64；不能改动它。
        h：推动的距离。
        返回与 x 同形状的数组。
        """,
    hints=[
        ("One element at a time: all others must stay where they are. What do you need from f for one "
         "element?",
         "一次只动一个元素，其余的都不动。对一个元素，需要 f 的哪两个值？"),
        ("Work on copies: `up = x.copy(); up[i] += h`. np.ndindex(x.shape) gives the index of every element, "
         "for any number of axes.",
         "在副本上改：`up = x.copy(); up[i] += h`。不论有几个轴，np.ndindex(x.shape) 都会逐个给出元素的下"
         "标。"),
        ("grad[i] = (f(up) - f(down)) / (2 * h), into grad = np.zeros_like(x).",
         "先令 grad = np.zeros_like(x)，再逐个填入 grad[i] = (f(up) - f(down)) / (2 * h)。"),
    ],
    wrong={
        "one_sided": (one_sided,
            "this is the one-sided difference, with an error of the size of h: take f(x + h e_i) - f(x - h "
            "e_i) and divide by 2 h.",
            "这是单侧差分，误差与 h 同阶：应取 f(x + h e_i) - f(x - h e_i)，再除以 2 h。"),
        "divided_by_h": (lambda f, x, h=1e-5: 2 * numerical_gradient(f, x, h),
            "from x - h to x + h is a way of 2 h: divide by that.",
            "从 x - h 到 x + h，走过的距离是 2 h，应除以 2 h。"),
        "all_at_once": (lambda f, x, h=1e-5: np.full_like(x, (f(x + h) - f(x - h)) / (2 * h)),
            "x + h moves all elements together, which gives the sum of all the derivatives: move one "
            "element, and leave the others.",
            "x + h 把所有元素一起推动，得到的是各偏导数之和：每次只推动一个元素。"),
        "never_put_back": (never_put_back,
            "each element stays moved when the next one has its turn: put x[i] back, or work on a copy.",
            "轮到下一个元素时，前面的还停在推动后的位置：请把 x[i] 放回去，或者在副本上改。"),
        "sum_of_slopes": (lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / (2 * h),
            "x + h moves all elements together and gives one number, the sum of all the derivatives: move "
            "one element at a time, in a copy, and collect what comes in an array of x's shape.",
            "x + h 把所有元素一起推动，只得到一个数，即各偏导数之和：应在副本上每次只推动一个元素，把结果"
            "逐个填进与 x 同形状的数组。"),
        "first_axis": (first_axis,
            "`range(len(x))` counts rows: where x has two axes, x[i] is a whole row, and all its elements "
            "move together. np.ndindex(x.shape) gives the index of every single element.",
            "`range(len(x))` 数的是行：x 有两个轴时，x[i] 是整整一行，一行的元素一起动了。"
            "np.ndindex(x.shape) 才会逐个给出每个元素的下标。"),
        "number_a_row": (number_a_row,
            "the loop goes over the first axis of x only: where x has two axes it moves whole rows. "
            "np.ndindex(x.shape) gives the index of every single element.",
            "循环只走了 x 的第一个轴：x 有两个轴时，动的是整整一行。np.ndindex(x.shape) 才会逐个给出每个"
            "元素的下标。"),
        "by_number": (by_number,
            "`range(x.size)` counts the elements, but x[i] with one number picks a row where x has two "
            "axes. np.ndindex(x.shape) gives whole indices, for any number of axes.",
            "`range(x.size)` 数的是元素，可是 x 有两个轴时，单独一个下标的 x[i] 取出的是一行。"
            "np.ndindex(x.shape) 给出完整的下标，不论有几个轴。"),
        "aliased": (one_array,
            "`up = x` makes no copy: up, down and x are three names of one array, so what is added is "
            "taken away again. Write up = x.copy() and down = x.copy().",
            "`up = x` 并没有复制：up、down 和 x 是同一个数组的三个名字，加上去的又被减掉了。应写 up = "
            "x.copy() 和 down = x.copy()。"),
        "one_copy": (lambda f, x, h=1e-5: one_array(f, x, h, True),
            "up and down are two names of one array, so both have the same numbers: make two copies, up = "
            "x.copy() and down = x.copy().",
            "up 和 down 是同一个数组的两个名字，里面的数当然一样：要复制两份，up = x.copy() 和 down = "
            "x.copy()。"),
        "aliased_in_turn": (one_array_in_turn,
            "`up = x` and `down = x` make no copies: down[i] -= h only takes away what up[i] += h added, so "
            "the difference is f(x + h e_i) - f(x). Write up = x.copy() and down = x.copy().",
            "`up = x` 和 `down = x` 都没有复制：down[i] -= h 只是把 up[i] += h 加上的又减掉，算出的差是 f(x "
            "+ h e_i) - f(x)。应写 up = x.copy() 和 down = x.copy()。"),
        "last_divided": (last_divided,
            "`f(up) - f(down) / (2 * h)` divides f(down) alone: put the difference into parentheses, (f(up) - "
            "f(down)) / (2 * h).",
            "`f(up) - f(down) / (2 * h)` 只除了 f(down)：要给差加上括号，(f(up) - f(down)) / (2 * h)。"),
        **{key: (function,
            "the loops are written for one axis and for two: x may have any number of them, none and three "
            "among them. np.ndindex(x.shape) gives the index of every number, whatever the shape.",
            "循环只是为一个轴和两个轴写的：x 可以有任意个轴，也可能一个都没有，或者有三个。不论什么形状，"
            "np.ndindex(x.shape) 都会逐个给出每个数的下标。") for key, function in (
                ("one_axis_or_two", one_axis_or_two), ("one_axis_or_two_exactly", one_axis_or_two_exactly),
                ("one_axis_or_two_else_zeros", one_axis_or_two_else_zeros))},
        "times_h_by_row": (lambda f, x, h=1e-5: h * h * first_axis(f, x, h),
            "two mistakes: `/ 2 * h` divides by 2 and then multiplies by h, write `/ (2 * h)`; and "
            "`range(len(x))` counts rows, np.ndindex(x.shape) gives the index of every single element.",
            "有两处错误：`/ 2 * h` 是先除以 2，再乘 h，应写成 `/ (2 * h)`；而且 `range(len(x))` 数的是行，"
            "np.ndindex(x.shape) 才会逐个给出每个元素的下标。"),
        "aliased_by_row": (one_array_along(lambda x: range(len(x))),
            "two mistakes: `up = x` and `down = x` make no copies, so what is added is taken away again, "
            "write x.copy(); and `range(len(x))` counts rows, np.ndindex(x.shape) gives whole indices.",
            "有两处错误：`up = x` 和 `down = x` 都没有复制，加上去的又被减掉了，应写 x.copy()；而且 "
            "`range(len(x))` 数的是行，np.ndindex(x.shape) 才给出完整的下标。"),
        "aliased_by_number": (one_array_along(lambda x: range(x.size)),
            "two mistakes: `up = x` and `down = x` make no copies, so what is added is taken away again, "
            "write x.copy(); and x[i] with one number is a row where x has two axes, np.ndindex(x.shape) "
            "gives whole indices.",
            "有两处错误：`up = x` 和 `down = x` 都没有复制，加上去的又被减掉了，应写 x.copy()；而且 x 有两个"
            "轴时，单独一个下标的 x[i] 是一行，np.ndindex(x.shape) 才给出完整的下标。"),
        "times_h_by_number": (lambda f, x, h=1e-5: h * h * by_number(f, x, h),
            "two mistakes: `/ 2 * h` divides by 2 and then multiplies by h, write `/ (2 * h)`; and x[i] with "
            "one number is a row where x has two axes, np.ndindex(x.shape) gives whole indices.",
            "有两处错误：`/ 2 * h` 是先除以 2，再乘 h，应写成 `/ (2 * h)`；而且 x 有两个轴时，单独一个下标的 "
            "x[i] 是一行，np.ndindex(x.shape) 才给出完整的下标。"),
        "sum_times_h": (lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / 2 * h,
            "two mistakes: `/ 2 * h` divides by 2 and then multiplies by h, write `/ (2 * h)`; and x + h "
            "moves all elements together, which gives one number: move one at a time, in a copy.",
            "有两处错误：`/ 2 * h` 是先除以 2，再乘 h，应写成 `/ (2 * h)`；而且 x + h 把所有元素一起推动，只"
            "得到一个数：应在副本上每次只动一个。"),
        "copied_once": (copied_once,
            "up and down are copied once, before the loop, so what was moved stays moved: make both copies "
            "anew for each element, inside the loop.",
            "up 和 down 只在循环之前复制了一次，动过的没有还原：应在循环里面，对每个元素重新复制。"),
        "into_x": (into_x,
            "`grad = x` makes no copy: each slope that you write into grad is written into x, and the "
            "next one is taken at another place. Begin with grad = np.zeros_like(x).",
            "`grad = x` 并没有复制：往 grad 里写斜率，也就写进了 x，下一个元素便在别处求导了。应从 grad "
            "= np.zeros_like(x) 开始。"),
        "put_back": (in_place,
            "the slopes are right, but x[i] + h - 2 h + h is not x[i] to the last bit, so x has changed: "
            "work on copies, or keep old = x[i] and write that back.",
            "斜率是对的，可是 x[i] + h - 2 h + h 与 x[i] 差在最后几位，x 还是被改动了：请用副本，或者先记"
            "下 old = x[i]，再写回去。"),
        "in_place_not_put_back": (lambda f, x, h=1e-5: in_place(f, x, h, False),
            "x itself is moved, and never put back: work on copies, up = x.copy() and down = x.copy().",
            "推动的是 x 本身，而且没有放回去：请用副本，up = x.copy()，down = x.copy()。"),
        "one_sided_back": (one_sided_back,
            "this is the one-sided difference (f(x) - f(x - h e_i)) / h: go to both sides, f(x + h e_i) - "
            "f(x - h e_i), and divide by 2 h.",
            "这是单侧差分 (f(x) - f(x - h e_i)) / h：应向两侧各推一次，用 f(x + h e_i) - f(x - h e_i) 除"
            "以 2 h。"),
        "times_h": (lambda f, x, h=1e-5: h * h * numerical_gradient(f, x, h),
            "`/ 2 * h` divides by 2 and then multiplies by h: write `/ (2 * h)`.",
            "`/ 2 * h` 是先除以 2，再乘 h：应写成 `/ (2 * h)`。"),
        "own_h": (lambda f, x, h=1e-5: numerical_gradient(f, x),
            "the argument h is not used: some fixed step stands in the code. Take the h that you are "
            "given.",
            "没有用到参数 h：代码里写死了一个步长。请用传进来的 h。"),
        "returns_in_loop": (first_element,
            "only the first element has its slope: the `return` stands inside the loop and ends it in the "
            "first round. Move it one level out.",
            "只有第一个元素算出了斜率：`return` 写在循环里面，第一圈就结束了。把它往外挪一层。"),
    },
    why=("Central differences cancel the error of first order, so that what is left is of the size of h "
         "squared. Two evaluations for each element is the price: good for checking, hopeless for training.",
         "中心差分抵消了一阶误差，剩下的误差与 h 的平方同阶。代价是每个元素都要把函数算两遍：用来检验很好，用"
         "来训练不行。"),
    rtol=1e-8)

# ---- graphs ------------------------------------------------------------------------------------------------


class Value:
    """The lesson's Value, with a name to tell the learner."""

    def __init__(self, name, data, inputs=(), local=(), formula=""):
        self.name, self.data, self.inputs, self.local, self.grad = name, data, inputs, local, 0.0
        self.formula = formula

    def __repr__(self):
        return f"{self.name} = {self.formula}" if self.formula else self.name


def add(name, a, b):
    return Value(name, a.data + b.data, (a, b), (1.0, 1.0), f"{a.name} + {b.name}")


def mul(name, a, b):
    return Value(name, a.data * b.data, (a, b), (b.data, a.data), f"{a.name} * {b.name}")


def tanh(name, a):
    v = math.tanh(a.data)
    return Value(name, v, (a,), (1 - v * v,), f"tanh {a.name}")


def small(swapped=False):
    x = Value("x", 2.0)
    a = mul("a", x, x)
    b = mul("b", a, x)
    return [x, a, b, add("y", b, a) if swapped else add("y", a, b)]


def of_three():
    x, y, z = (Value(name, data) for name, data in (("x", 2.0), ("y", 3.0), ("z", 5.0)))
    product = Value("p", 30.0, (x, y, z), (15.0, 10.0, 6.0), "x * y * z")
    return [x, y, z, product]


def doubled(n):
    values = [Value("x", 1.5)]
    for k in range(n):
        values.append(add(f"y{k + 1}", values[-1], values[-1]))
    return values


def chain(n):
    values = [Value("x", 0.5)]
    for k in range(n):
        one = Value(f"one{k + 1}", 1.0)
        values += [one, add(f"y{k + 1}", values[-1], one)]
    return values


def tangled(rng, n):
    """n values after three leaves, each computed from any earlier ones; the last from all left over."""
    values = [Value(f"x{k}", float(rng.uniform(0.5, 1.5))) for k in range(3)]
    for k in range(n):
        i, j = (int(i) for i in rng.integers(0, len(values), 2))
        kind = int(rng.integers(0, 3))
        name = f"v{k}"
        values.append(tanh(name, values[i]) if kind == 2 else (add, mul)[kind](name, values[i], values[j]))
    used = {id(u) for v in values for u in v.inputs}
    loose = [v for v in values if id(v) not in used]
    total = loose[0]
    for k, v in enumerate(loose[1:]):
        total = add(f"sum{k}", total, v)
        values.append(total)
    return values


# ---- topological_order -------------------------------------------------------------------------------------


def roots(rng):
    yield (small()[-1],)
    yield (small(swapped=True)[-1],)
    yield (Value("x", 1.0),)
    yield (doubled(9)[-1],)
    yield (tangled(rng, 12)[-1],)
    yield (of_three()[-1],)
    yield (chain(5_000)[-1],)


class NotAList(TypeError):
    """What was returned cannot be walked twice, or has no order."""


class NoValues(TypeError):
    """The list holds something else than Values."""


class LimitRaised(RecursionError):
    """A recursion ran into Python's limit of nested calls, and had asked for a higher one."""


def with_the_usual_limit(function, root):
    """function(root), where sys.setrecursionlimit does nothing: a higher limit is no answer, as the next chain
    is longer, and it might crash the interpreter. Returns also whether it was raised nevertheless, by a name
    for it that was taken earlier.
    """
    asked = []
    before, raise_limit = sys.getrecursionlimit(), sys.setrecursionlimit
    usual = min(before, 1_000 + sum(1 for _ in traceback.walk_stack(None)))
    raise_limit(usual)
    sys.setrecursionlimit = asked.append
    try:
        order = function(root)
        raised = sys.getrecursionlimit() > usual
    except RecursionError as error:
        if asked or sys.getrecursionlimit() > usual:
            raise LimitRaised(str(error)).with_traceback(error.__traceback__) from None
        raise
    finally:
        sys.setrecursionlimit = raise_limit
        raise_limit(before)
    return order, raised


def first_two_followed(root):
    order, opened, stack = [], set(), [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
        elif v not in opened:
            opened.add(v)
            stack.append((v, True))
            stack.extend((u, False) for u in v.inputs[:2])
    return order


def examined(function, root):
    """(values listed, how many of them again, how many before an input of theirs, whether root is last)"""
    order, raised = with_the_usual_limit(function, root)
    if order is None:
        return None
    if not isinstance(order, list | tuple):
        raise NotAList(f"topological_order returned a {type(order).__name__}; it should return a list")
    for v in order:
        if not isinstance(v, Value):
            raise NoValues(f"your list holds a {type(v).__name__}; it should hold the Values themselves")
    if raised and len(order) > 1_000:  # the only case for which there can be need of it
        raise LimitRaised("the limit of nested calls was raised")
    at, repeated = {}, 0
    for i, v in enumerate(order):
        repeated += id(v) in at
        at.setdefault(id(v), i)
    early = sum(any(at.get(id(u), -1) > at[id(v)] for u in v.inputs) for v in {
        id(v): v for v in order}.values())
    return len(at), repeated, early, bool(order) and order[-1] is root


def topological_order(root):
    order, opened, stack = [], set(), [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
        elif v not in opened:
            opened.add(v)
            stack.append((v, True))
            stack.extend((u, False) for u in v.inputs)
    return order


def recursive(root, once=True, inputs_first=True):
    order, opened = [], set()

    def open_(v):
        if not once or v not in opened:
            opened.add(v)
            if not inputs_first:
                order.append(v)
            for u in v.inputs:
                open_(u)
            if inputs_first:
                order.append(v)

    open_(root)
    return order


def limit_raised(root):
    sys.setrecursionlimit(10**6)
    return recursive(root)


def reversed_of(order):
    return lambda root: order(root)[::-1]


def when_opened(root, step=1):
    order, opened, stack = [], set(), [root]
    while stack:
        v = stack.pop()
        if v not in opened:
            opened.add(v)
            order.append(v)
            stack.extend(v.inputs[::step])
    return order


def first_input_first(root):
    return when_opened(root, -1)


def by_queue(root):
    order, seen = [root], {root}
    for v in order:
        for u in v.inputs:
            if u not in seen:
                seen.add(u)
                order.append(u)
    return order


def marked_when_pushed(root):
    order, seen, stack = [], {root}, [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
        else:
            stack.append((v, True))
            for u in v.inputs:
                if u not in seen:
                    seen.add(u)
                    stack.append((u, False))
    return order


def not_asked_again(root, step=1):
    order, opened, stack = [], set(), [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
        else:
            opened.add(v)
            stack.append((v, True))
            stack.extend((u, False) for u in v.inputs[::step] if u not in opened)
    return order


def every_path(root):
    order, stack = [], [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:
            order.append(v)
        else:
            stack.append((v, True))
            stack.extend((u, False) for u in v.inputs)
    return order


def without_leaves(root):
    return [v for v in topological_order(root) if v.inputs]


ORDER = Exercise(
    "topological_order", roots, topological_order, run=examined,
    outputs=(("the number of different Values in your list", "你的表里不同的 Value 的个数"),
             ("the number of Values that your list repeats", "你的表里重复列出的次数"),
             ("the number of Values that stand before one of their inputs", "排在自己的输入之前的 Value 的个数"),
             ("the answer to `order[-1] is root`", "`order[-1] is root` 的值")),
    statement_zh="""
        root 和它之下的所有 Value，每个列一次，都排在自己的输入之后；root 在最后。

        root：有 `.inputs`，是由 Value 组成的元组（叶节点的为空），每个输入也是如此。
        返回一个列表。链再长也要行得通，所以不能用递归。
        """,
    hints=[
        ("A value may be listed only when all of its inputs are. When you first meet it they are not: it has "
         "to wait somewhere. Where?",
         "一个数要等输入都列出以后才能列。第一次遇到它时，输入还没列，它得在某个地方等着。等在哪里？"),
        ("Let the stack hold pairs (v, close). Opening v pushes (v, True), and on top of it (u, False) for "
         "each input.",
         "栈里放 (v, close) 这样的对。打开 v 时，先压入 (v, True)，再在它上面为每个输入压入 (u, False)。"),
        ("while stack: v, close = stack.pop(). If close: order.append(v). Otherwise, if v is not in opened: "
         "add it to opened, push (v, True), then push its inputs.",
         "while stack: v, close = stack.pop()。若 close 为真，就 order.append(v)；否则若 v 不在 opened 里，就"
         "把它加进 opened，压入 (v, True)，再压入它的各个输入。"),
    ],
    wrong={
        "recursive": (recursive,
            "the order is right, and on a chain of 5,000 operations Python runs out of nested calls. Keep a "
            "stack of your own, a list, in place of the calls.",
            "次序是对的，但在 5,000 次运算的长链上，Python 的嵌套调用用完了。请自己用列表做一个栈，代替递归调"
            "用。"),
        "limit_raised": (limit_raised,
            "this is the recursion with a higher limit, which only moves the wall (and may crash the "
            "interpreter): here sys.setrecursionlimit does nothing. Keep a stack of your own, a list, in "
            "place of the nested calls.",
            "这还是递归，只是调高了上限：那不过是把墙往后挪，还可能让解释器崩溃，所以检查时 "
            "sys.setrecursionlimit 不起作用。请自己用列表做一个栈，代替递归调用。"),
        "reversed": (reversed_of(topological_order),
            "this is the order of the walk back, root first. Here the root comes last; `backward` will "
            "reverse it.",
            "这是往回走时的次序，根在最前。这里要求根在最后，倒过来是 `backward` 的事。"),
        "when_opened": (when_opened,
            "each value is listed when it is first met, before its inputs: list it when it is closed, after "
            "them. To reverse this list is no help: try b + a.",
            "每个数一遇到就列出来，排在了它的输入前面：应当等输入都列完，关闭它的时候再列。把这张表倒过来也没"
            "用：试试 b + a。"),
        "when_opened_reversed": (reversed_of(when_opened),
            "a list made on opening, reversed: it is right for many graphs, but here a value stands before "
            "an input that another way leads to. List on closing.",
            "这是打开时列出、再倒过来的表：对许多图碰巧是对的，但这里有个数排在了它的输入前面，因为那个输入还"
            "有别的路可以到达。请在关闭时列出。"),
        "by_queue": (by_queue,
            "this is the queue of section 4: the nearest first. A value that is used near the root and far "
            "from it stands too early.",
            "这是第 4 节的排队：近的在前。离根一近一远两处都用到的数，会排得太早。"),
        "by_queue_reversed": (reversed_of(by_queue),
            "this is the queue of section 4, reversed: a value that is used near the root and far from it "
            "stands after one that needs it.",
            "这是第 4 节的排队，再倒过来：离根一近一远两处都用到的数，排在了需要它的数后面。"),
        "marked_when_pushed": (marked_when_pushed,
            "a value counts as opened as soon as it is pushed, and so it may wait in the stack below one "
            "that needs it. Mark it when you take it off the stack and open it.",
            "一压栈就算打开过了，于是它可能还压在需要它的数下面等着。应当在出栈、真正打开时才做标记。"),
        "not_asked_again": (not_asked_again,
            "a value that two others use can wait in the stack twice before it is opened, and is then opened "
            "twice: ask `if v not in opened` when you take it off the stack, not only when you push it.",
            "两处用到的数，打开之前可能已经两次进栈，于是打开了两遍：出栈时要问 `if v not in opened`，只在"
            "压栈时问还不够。"),
        "not_asked_again_first_input_first": (lambda root: not_asked_again(root, -1),
            "a value that two others use can wait in the stack twice before it is opened, and is then opened "
            "twice: ask `if v not in opened` when you take it off the stack, not only when you push it.",
            "两处用到的数，打开之前可能已经两次进栈，于是打开了两遍：出栈时要问 `if v not in opened`，只在"
            "压栈时问还不够。"),
        "every_path": (every_path,
            "values that are used twice are listed twice: remember what was opened, and skip it the second "
            "time.",
            "用到两次的数列了两遍：要记住哪些打开过，第二次遇到就跳过。"),
        "without_leaves": (without_leaves,
            "the leaves are missing: values without inputs belong into the list too, or they would get no "
            "gradient of their own.",
            "漏了叶节点：没有输入的数也要列进去。"),
        "first_input_first": (first_input_first,
            "each value is listed when it is first met, before its inputs: list it when it is closed, "
            "after them. To reverse this list is no help: try b + a.",
            "每个数一遇到就列出来，排在了它的输入前面：应当等输入都列完，关闭它的时候再列。把这张表倒过来"
            "也没用：试试 b + a。"),
        "first_input_first_reversed": (reversed_of(first_input_first),
            "a list made on opening, reversed: it is right for many graphs, but here a value stands "
            "before an input that another way leads to. List on closing.",
            "这是打开时列出、再倒过来的表：对许多图碰巧是对的，但这里有个数排在了它的输入前面，因为那个输"
            "入还有别的路可以到达。请在关闭时列出。"),
        "recursive_every_path": (lambda root: recursive(root, once=False),
            "values that are used twice are listed twice, as the recursion goes down every path: keep a "
            "set of those already opened, and skip them. And do without recursion: a chain of 5,000 "
            "operations has no room for it, a stack of your own has.",
            "用到两次的数列了两遍，因为递归把每条路径都走了一遍：要用集合记住打开过的，再遇到就跳过。另外"
            "不要用递归：5,000 次运算的长链，嵌套调用放不下，自己的栈放得下。"),
        "recursive_when_opened": (lambda root: recursive(root, inputs_first=False),
            "each value is listed before its inputs: list it after the loop over them. And do without "
            "recursion: a chain of 5,000 operations has no room for it, a stack of your own has.",
            "每个数都排在了自己的输入前面：要等遍历输入的循环走完再列它。另外不要用递归：5,000 次运算的长"
            "链，嵌套调用放不下，自己的栈放得下。"),
        "recursive_when_opened_reversed": (reversed_of(lambda root: recursive(root, inputs_first=False)),
            "a list made on opening, reversed: it is right for many graphs, but here a value stands "
            "before an input that another way leads to. List on closing. And do without recursion: a "
            "chain of 5,000 operations has no room for it.",
            "这是打开时列出、再倒过来的表：对许多图碰巧是对的，但这里有个数排在了它的输入前面，因为那个输"
            "入还有别的路可以到达。请在关闭时列出。另外不要用递归：5,000 次运算的长链放不下。"),
        "recursive_every_path_when_opened": (lambda root: recursive(root, once=False, inputs_first=False),
            "values that are used twice are listed twice, and each before its inputs: keep a set of those "
            "already opened, and list a value after its inputs. And do without recursion.",
            "用到两次的数列了两遍，而且都排在自己的输入前面：要用集合记住打开过的，并且等输入都列完再列它"
            "自己。另外不要用递归。"),
        "recursive_reversed": (reversed_of(recursive),
            "this is the order of the walk back, root first: here the root comes last. And do without "
            "recursion: a chain of 5,000 operations has no room for it, a stack of your own has.",
            "这是往回走时的次序，根在最前；这里要求根在最后。另外不要用递归：5,000 次运算的长链，嵌套调用"
            "放不下，自己的栈放得下。"),
        "first_two": (first_two_followed,
            "only the first two inputs are followed: a Value may have any number of them. Go through all of "
            "v.inputs.",
            "只走了前两个输入：一个 Value 可以有任意个输入。要走遍 v.inputs。"),
        "without_root": (lambda root: topological_order(root)[:-1],
            "the root itself is missing: it belongs into the list, at its end.",
            "漏了根自己：它也要列进去，放在最后。"),
        "no_list": (lambda root: examined(lambda _: iter(()), root),
            "what comes back has to be a list: a set has no order, and `reversed(...)` can be walked only "
            "once. Write order[::-1] for the latter.",
            "返回的必须是列表：集合没有次序，`reversed(...)` 只能走一遍（可改用 order[::-1]）。"),
        "no_values": (lambda root: examined(lambda _: [root.data], root),
            "your list holds something else than Values, such as their `.data` or whole tuples: append "
            "the Value v itself.",
            "你的表里放的不是 Value，而是别的，比如它的 `.data` 或整个元组：应当把 Value（即 v）本身放进"
            "去。"),
    },
    why=("A value is closed only after everything on top of it in the stack is gone, and its inputs were put "
         "there: so it stands after all of them. Each edge is looked at once: the work is linear. The list "
         "costs memory where nested calls would cost the interpreter's own stack, so that 5,000 operations "
         "are no more trouble than five.",
         "一个数要等栈里压在它上面的都清空了才关闭，而它的输入正压在它上面，所以它必然排在所有输入之后。每条"
         "边只看一次，代价是线性的。列表占的是普通内存，不是解释器的调用栈，所以 5,000 次运算和 5 次一样不成"
         "问题。"))

# ---- backward ----------------------------------------------------------------------------------------------


def orders(rng):
    yield (small(),)
    yield (doubled(4),)
    yield (tangled(rng, 12),)
    yield (chain(40),)
    yield (of_three(),)


def first_two(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs[:2], v.local[:2], strict=True):
            u.grad += v.grad * d


def gradients(function, order):
    function(order)
    return {f"{v.name}.grad": v.grad for v in order}


def walk(order, seed=1.0, passed=lambda v, d: v.grad * d, keep=True, back=True):
    order[-1].grad = seed
    for v in reversed(order) if back else order:
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad = (u.grad if keep else 0.0) + passed(v, d)


def skipping_repeats(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in dict(zip(v.inputs, v.local, strict=True)).items():
            u.grad += v.grad * d


def pulled(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs, v.local, strict=True):
            v.grad += u.grad * d


def seeded_everywhere(order):
    for v in reversed(order):
        v.grad = 1.0
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d


def seeded_at_the_start(order):
    order[0].grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d


def two_inputs(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u, d in zip((v.inputs[0], v.inputs[1]), v.local, strict=True):
            u.grad += v.grad * d


def unpacked(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        a, b = v.inputs
        a.grad, b.grad = v.grad, v.grad


def whole_tuple(order):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u in v.inputs:
            u.grad += v.grad * v.local


def one_for_all(order, of):
    order[-1].grad = 1.0
    for v in reversed(order):
        for u in v.inputs:
            u.grad += v.grad * of(u, v)


BACKWARD = Exercise(
    "backward", orders, walk, run=gradients,
    statement_zh="""
        按拓扑序求出所有 Value 的梯度。

        dL/du = 对用到 u 的每个 v 求和  dL/dv . dv/du,   其中 L 是次序里的最后一个

        order：Value 的列表，每个都排在自己的输入之后。每个都有 `.grad`（现在是 0.0）、
            `.inputs` 和 `.local`，后者是局部导数 dv/du，每个输入一个数。
        给每个 Value 的 `.grad` 赋值；不返回任何东西。
        """,
    hints=[
        ("What is dL/dL? And from which end of the order does the walk begin?",
         "dL/dL 等于几？从次序的哪一头开始走？"),
        ("For v in reversed(order): every input u gets v.grad times the local derivative. u may have got "
         "something from elsewhere before.",
         "对 reversed(order) 里的每个 v：它的每个输入 u 都得到 v.grad 乘以局部导数。别忘了，u 可能已经从别处"
         "得到过一些了。"),
        ("order[-1].grad = 1.0, then for u, d in zip(v.inputs, v.local): u.grad += v.grad * d",
         "先令 order[-1].grad = 1.0，再 for u, d in zip(v.inputs, v.local): u.grad += v.grad * d"),
    ],
    wrong={
        "overwritten": (lambda order: walk(order, keep=False),
            "`=` for `+=`: a value that is used twice keeps only what its last use brought. The gradient is "
            "the sum over all uses.",
            "该用 `+=` 的地方用了 `=`：一个数用到两次时，只留下了最后一次送来的梯度。梯度是各处用途之和。"),
        "no_seed": (lambda order: walk(order, seed=0.0),
            "nothing was set going: the gradient of the result with respect to itself is 1, order[-1].grad = "
            "1.0.",
            "没有起点：结果对它自己的导数是 1，即 order[-1].grad = 1.0。"),
        "forwards": (lambda order: walk(order, back=False),
            "the order is walked from its beginning, where all gradients are still 0: go through "
            "reversed(order).",
            "是从头往后走的，那时梯度都还是 0：应当走 reversed(order)。"),
        "no_chain": (lambda order: walk(order, passed=lambda v, d: d),
            "only local derivatives are added up: multiply each by v.grad, the gradient that comes from "
            "above.",
            "只把局部导数加了起来：每个都要乘以上面传来的梯度 v.grad。"),
        "no_local": (lambda order: walk(order, passed=lambda v, d: v.grad),
            "the gradient is passed on as it comes: multiply it by the local derivative of the operation.",
            "把上面来的梯度原样传了下去：还要乘以这个运算的局部导数。"),
        "repeats_skipped": (skipping_repeats,
            "in x * x both inputs are the same Value, and each of them counts: go through v.inputs and "
            "v.local together with zip, and not through a dict or a set.",
            "x * x 的两个输入是同一个数，但两处都要算：请用 zip 同时遍历 v.inputs 和 v.local，不要用字典或集"
            "合。"),
        "pulled": (pulled,
            "nothing comes through to the inputs: either the 1 of the result, order[-1].grad = 1.0, is "
            "set only after the walk, or the roles are exchanged. It is v that passes on: u.grad += "
            "v.grad * d.",
            "什么都没有传到输入那里：要么是结果的 1，即 order[-1].grad = 1.0，走完才放；要么是角色反了。"
            "应当由 v 往下传：u.grad += v.grad * d。"),
        "seeded_everywhere": (seeded_everywhere,
            "v.grad = 1.0 stands inside the loop and wipes out what v has received: only the result, "
            "order[-1], starts with 1.",
            "v.grad = 1.0 写在循环里，把 v 收到的梯度抹掉了：只有结果 order[-1] 从 1 开始。"),
        "seeded_at_the_start": (seeded_at_the_start,
            "the 1 belongs to the result, which is the last: order[-1].grad = 1.0, not order[0].",
            "1 属于结果，而结果在最后：应是 order[-1].grad = 1.0，而不是 order[0]。"),
        "two_inputs": (two_inputs,
            "not every Value has two inputs: a leaf has none, and a tanh has one. Loop over zip(v.inputs, "
            "v.local).",
            "不是每个 Value 都有两个输入：叶节点没有，tanh 只有一个。请遍历 zip(v.inputs, v.local)。"),
        "unpacked": (unpacked,
            "not every Value has two inputs: a leaf has none, and a tanh has one. Loop over zip(v.inputs, "
            "v.local).",
            "不是每个 Value 都有两个输入：叶节点没有，tanh 只有一个。请遍历 zip(v.inputs, v.local)。"),
        "whole_tuple": (whole_tuple,
            "v.local is a tuple, one number for each input: take the one that belongs to u, for u, d in "
            "zip(v.inputs, v.local).",
            "v.local 是元组，每个输入一个数：要取属于 u 的那个，for u, d in zip(v.inputs, v.local)。"),
        "first_local": (lambda order: one_for_all(order, lambda u, v: v.local[0]),
            "every input gets the first local derivative: each has its own, for u, d in zip(v.inputs, "
            "v.local).",
            "每个输入用的都是第一个局部导数：各有各的，for u, d in zip(v.inputs, v.local)。"),
        "value_for_slope": (lambda order: one_for_all(order, lambda u, v: u.data),
            "you multiply by the input's value: it is the local derivative, from v.local, that counts. "
            "(In a product it is the *other* factor.)",
            "你乘的是输入的值：该乘的是 v.local 里的局部导数。（在乘法里，它是*另一个*因子。）"),
        "first_two": (first_two,
            "only the first two inputs get their gradient: a Value may have any number of them. Loop over "
            "zip(v.inputs, v.local).",
            "只有前两个输入得到了梯度：一个 Value 可以有任意个输入。请遍历 zip(v.inputs, v.local)。"),
        "added": (lambda order: walk(order, passed=lambda v, d: v.grad + d),
            "along a path the derivatives are multiplied, v.grad * d: the sum is over the uses.",
            "沿着一条路，导数是相乘的，v.grad * d：相加的是各处用途。"),
    },
    why=("When v has its turn, all that use it have had theirs, so v.grad is complete: it may be passed on, "
         "once. That is all that the order is for.",
         "轮到 v 的时候，用到它的数都已经轮过，v.grad 已经完整，可以往下传，而且只需传一次。顺序的用处就在这"
         "里。"),
    rtol=1e-9)

# ---- unbroadcast -------------------------------------------------------------------------------------------


def stretched(rng):
    yield np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), (3,)
    yield np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), (2, 1)
    yield rng.normal(size=(2, 3)), (2, 3)
    yield rng.normal(size=(4, 2, 3)), (2, 1)
    yield rng.normal(size=(4, 2, 3)), (1, 3)
    yield rng.normal(size=(3, 2)), ()
    yield rng.normal(size=(2, 4, 3)), (3,)
    yield rng.normal(size=(2, 3, 4)), (2, 1, 4)
    yield rng.normal(size=(2, 3, 4)), (1, 1, 4)


def one_in_front(g, shape):
    if not shape:
        return g.sum()
    g = g.sum(axis=0) if g.ndim > len(shape) else g
    for i, n in enumerate(shape):
        g = g.sum(axis=i, keepdims=True) if n == 1 else g
    return g


def one_stretched(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=shape.index(1), keepdims=True) if 1 in shape else g


def ends_only(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    for i in {0, len(shape) - 1} if shape else ():
        g = g.sum(axis=i, keepdims=True) if shape[i] == 1 else g
    return g


def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1), keepdims=True)


def in_front_only(g, shape):
    return g.sum(axis=tuple(range(g.ndim - len(shape))))


def ones_only(g, shape):
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def dropped_axes(g, shape):
    g = in_front_only(g, shape)
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))


def averaged(g, shape):
    total = unbroadcast(g, shape)
    return total * (total.size / g.size)


def mean_in_front(g, shape):
    return g.mean(axis=tuple(range(g.ndim - len(shape))))


def mean_and_sum(g, shape):
    return ones_only(mean_in_front(g, shape), shape)


def sum_and_mean(g, shape):
    g = in_front_only(g, shape)
    return g.mean(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def first_slice(g, shape):
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


def from_the_left(g, shape):
    for i, n in enumerate(shape):
        if g.shape[i] != n:
            g = g.sum(axis=i, keepdims=True)
    return g


def ones_before_front(g, shape):
    return in_front_only(ones_only(g, shape), shape)


UNBROADCAST = Exercise(
    "unbroadcast", stretched, unbroadcast,
    statement_zh="""
        一个数组被广播过；由广播后的梯度，求它自己的梯度。

        把 g 沿两种轴求和：NumPy 在前面添上的轴，以及从长度 1 拉伸出来的轴。

        g：数组，`shape` 可以广播成它的形状。
        shape：输入的形状，一个元组。
        返回形状为 shape 的数组。
        """,
    hints=[
        ("Compare g.shape with shape from the right. Which axes did NumPy add, and which did it repeat?",
         "从右往左对照 g.shape 与 shape：哪些轴是 NumPy 添的，哪些是重复出来的？"),
        ("First the axes in front: there are g.ndim - len(shape) of them. Sum them away. Then those where "
         "shape has 1: sum them with keepdims=True.",
         "先处理前面多出来的轴，一共 g.ndim - len(shape) 个，求和去掉；再处理 shape 中长度为 1 的轴，用 "
         "keepdims=True 求和。"),
        ("g = g.sum(axis=tuple(range(g.ndim - len(shape)))), then g.sum(axis=tuple(i for i, n in "
         "enumerate(shape) if n == 1), keepdims=True)",
         "先 g = g.sum(axis=tuple(range(g.ndim - len(shape))))，再 g.sum(axis=tuple(i for i, n in "
         "enumerate(shape) if n == 1), keepdims=True)"),
    ],
    wrong={
        "unchanged": (lambda g, shape: g.copy(),
            "nothing is summed yet: what was used several times gets the sum of what its uses bring.",
            "还没有求和：一个数用了几次，就要把几处送来的梯度加起来。"),
        "in_front_only": (in_front_only,
            "the axes in front are dealt with; those that NumPy stretched from length 1 are not.",
            "前面添的轴处理了，从长度 1 拉伸出来的轴还没有。"),
        "one_in_front": (one_in_front,
            "only one axis in front is summed: NumPy may have put in several, g.ndim - len(shape).",
            "前面只对一个轴求了和：NumPy 可能添了好几个，共 g.ndim - len(shape) 个。"),
        "one_stretched": (one_stretched,
            "only the first axis of length 1 is summed, shape.index(1): there may be several. Go through all "
            "of shape.",
            "只对第一个长度为 1 的轴求了和，即 shape.index(1)：这样的轴可能有好几个。要走遍整个 shape。"),
        "ends_only": (ends_only,
            "only the first and the last axis are asked whether they were stretched: one in between may have "
            "been. Go through all of shape.",
            "只看了第一个轴和最后一个轴有没有拉伸：中间的轴也可能被拉伸。要走遍整个 shape。"),
        "ones_only": (ones_only,
            "the axes of length 1 are dealt with; those that NumPy put in front are not.",
            "长度为 1 的轴处理了，NumPy 在前面添的轴还没有。"),
        "dropped_axes": (dropped_axes,
            "the axes of length 1 are gone: sum over them with keepdims=True.",
            "长度为 1 的轴不见了：对它们求和时要加 keepdims=True。"),
        "averaged": (averaged,
            "this is the mean over the uses: the chain rule has their sum. If the loss is a mean, its 1/N is "
            "in g already.",
            "这是各处用途的平均；链式法则要的是和。如果损失取了平均，1/N 早已在 g 里了。"),
        "mean_in_front": (mean_in_front,
            "g.mean takes the mean over the uses: the chain rule has their sum, g.sum. And the axes that "
            "NumPy stretched from length 1 are still to be summed.",
            "g.mean 是对各处用途取平均；链式法则要的是和，应当用 g.sum。另外，从长度 1 拉伸出来的轴也要求"
            "和。"),
        "mean_and_sum": (mean_and_sum,
            "over the axes in front you take the mean: the chain rule has the sum over all uses, g.sum.",
            "前面的轴你取了平均；链式法则要的是对各处用途求和，应当用 g.sum。"),
        "sum_and_mean": (sum_and_mean,
            "over the axes of length 1 you take the mean: the chain rule has the sum over all uses, g.sum.",
            "长度为 1 的轴你取了平均；链式法则要的是对各处用途求和，应当用 g.sum。"),
        "mean_of_the_first_axis": (lambda g, shape: g.mean(axis=0),
            "g.mean takes the mean over the uses: the chain rule has their sum, g.sum. And axis 0 is not "
            "always the one: which axes to sum over follows from g.shape and shape.",
            "g.mean 是对各处用途取平均；链式法则要的是和，应当用 g.sum。而且不总是第 0 轴：沿哪些轴求和，"
            "要由 g.shape 和 shape 来定。"),
        "first_slice": (first_slice,
            "the shape is right, but only the first use counts: sum over all.",
            "形状对了，但只算了第一处用途：要对所有用途求和。"),
        "first_axis": (lambda g, shape: g.sum(axis=0),
            "axis 0 is not always the one: (2, 1) was stretched along axis 1, and (2, 3) not at all. "
            "Which axes to sum over follows from g.shape and shape.",
            "不总是第 0 轴：(2, 1) 是沿第 1 轴拉伸的，(2, 3) 根本没有拉伸。沿哪些轴求和，要由 g.shape 和 "
            "shape 来定。"),
        "last_axis": (lambda g, shape: g.sum(axis=-1),
            "the last axis is not always the one: NumPy puts missing axes in *front*. Which axes to sum "
            "over follows from g.shape and shape.",
            "不总是最后一轴：NumPy 是在*前面*补轴的。沿哪些轴求和，要由 g.shape 和 shape 来定。"),
        "behind": (lambda g, shape: g.sum(axis=tuple(range(len(shape), g.ndim))),
            "the axes that shape lacks are summed at the end: NumPy put them in *front*, so they are the "
            "first g.ndim - len(shape).",
            "shape 缺的轴，你在末尾求了和：NumPy 是在*前面*补的，应是最前面的 g.ndim - len(shape) 个轴。"),
        "everything": (lambda g, shape: g.sum(),
            "this adds up everything, which is right for shape () alone: sum only over the axes that were "
            "added or stretched.",
            "这样把所有的数都加起来了，只有 shape 为 () 时才对：只沿补上的和拉伸过的轴求和。"),
        "first_axis_kept": (lambda g, shape: g.sum(axis=0, keepdims=True),
            "axis 0 is not always the one, and keepdims=True leaves an axis behind where NumPy had put "
            "one in front: those are summed away whole.",
            "不总是第 0 轴；而且前面补上的轴，求和之后要去掉，keepdims=True 却把它留下了。"),
        "from_the_left": (from_the_left,
            "you compare the shapes from the left: broadcasting lines them up from the *right*. First sum "
            "away the g.ndim - len(shape) axes in front, and then compare.",
            "你从左边开始对照形状：广播是从*右*边对齐的。先把前面多出来的 g.ndim - len(shape) 个轴求和去"
            "掉，再来对照。"),
        "ones_before_front": (ones_before_front,
            "the places of the ones in shape are places in g only when the axes in front are gone: sum "
            "those away first.",
            "shape 里 1 的位置，要等前面的轴去掉之后，才是它在 g 里的位置：先处理前面的轴。"),
        "reshape": (lambda g, shape: g.reshape(shape),
            "reshape only arranges numbers anew, and there are too many: what came from one number has to "
            "be *added up*, g.sum(axis=...).",
            "reshape 只是重新排列，而数太多，放不下：来自同一个数的要*加*起来，用 g.sum(axis=...)。"),
    },
    why=("Broadcasting is a fan-out: one number goes to many places. On the way back, what comes from the "
         "many places is added up, which is `+=` written as a sum over axes.",
         "广播就是一个数送往许多地方。反向时，把许多地方传回来的加起来，也就是把 `+=` 写成了沿轴求和。"))

EXERCISES = [NUMERICAL, ORDER, BACKWARD, UNBROADCAST]
