"""Checks of lesson 01: numerical gradients, topological order, the walk back, broadcasting undone."""

import math

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


NUMERICAL = Exercise(
    "numerical_gradient", functions, numerical_gradient,
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
    yield (chain(5_000)[-1],)


def examined(function, root):
    """(values listed, how many of them again, how many before an input of theirs, whether root is last)"""
    order = function(root)
    if not isinstance(order, list | tuple):
        return order
    at, repeated = {}, 0
    for i, v in enumerate(order):
        repeated += id(v) in at
        at.setdefault(id(v), i)
    early = sum(any(at.get(id(u), -1) > at[id(v)] for u in getattr(v, "inputs", ())) for v in {
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


def recursive(root):
    order, opened = [], set()

    def open_(v):
        if v not in opened:
            opened.add(v)
            for u in v.inputs:
                open_(u)
            order.append(v)

    open_(root)
    return order


def reversed_of(order):
    return lambda root: order(root)[::-1]


def when_opened(root):
    order, opened, stack = [], set(), [root]
    while stack:
        v = stack.pop()
        if v not in opened:
            opened.add(v)
            order.append(v)
            stack.extend(v.inputs)
    return order


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
    outputs=("values_listed", "listed_again", "before_an_input", "root_is_last"),
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
        "every_path": (every_path,
            "values that are used twice are listed twice: remember what was opened, and skip it the second "
            "time.",
            "用到两次的数列了两遍：要记住哪些打开过，第二次遇到就跳过。"),
        "without_leaves": (without_leaves,
            "the leaves are missing: values without inputs belong into the list too, or they would get no "
            "gradient of their own.",
            "漏了叶节点：没有输入的数也要列进去。"),
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


def gradients(function, order):
    function(order)
    return {v.name: v.grad for v in order}


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


BACKWARD = Exercise(
    "backward", orders, walk, run=gradients,
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


def first_slice(g, shape):
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


UNBROADCAST = Exercise(
    "unbroadcast", stretched, unbroadcast,
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
        "first_slice": (first_slice,
            "the shape is right, but only the first use counts: sum over all.",
            "形状对了，但只算了第一处用途：要对所有用途求和。"),
    },
    why=("Broadcasting is a fan-out: one number goes to many places. On the way back, what comes from the "
         "many places is added up, which is `+=` written as a sum over axes.",
         "广播就是一个数送往许多地方。反向时，把许多地方传回来的加起来，也就是把 `+=` 写成了沿轴求和。"))

EXERCISES = [NUMERICAL, ORDER, BACKWARD, UNBROADCAST]
