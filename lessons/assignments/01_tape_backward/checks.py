"""Tests and misconceptions of the assignment on the tape: random graphs, handed over as integers."""

import numpy as np

from minillm.classroom import Misconception, Scenario

ADD, MUL, TANH = 0, 1, 2


def graph(rng, n, squares=False):
    """n nodes, each computed from any earlier ones; at the end all that is left over is added up.

    leaves: (3,), numbers. kind, left, right: (nodes after them,), the operation and the places of its inputs.
    """
    data = list(rng.uniform(0.5, 1.5, 3))
    leaves, rows, used = np.array(data), [], set()

    def node(kind, i, j):
        value = {ADD: data[i] + data[j], MUL: data[i] * data[j], TANH: np.tanh(data[i])}
        kind = TANH if kind == MUL and abs(value[kind]) > 4 else kind  # the numbers stay of ordinary size
        data.append(value[kind])
        used.update((i, i if kind == TANH else j))
        rows.append((kind, i, j))

    node(MUL, 0, 1)
    node(MUL, 1, 2)
    node(MUL, 3, 0)
    node(MUL, 4, 3)
    for _ in range(n):
        i, j = rng.choice(len(data), 2, replace=False)
        node(int(rng.integers(0, 3)), int(i), int(i if squares else j))
    loose = [i for i in range(len(data)) if i not in used]
    for i in loose[:-1]:
        node(ADD, len(data) - 1, i)
    # nodes 3 and 4 are used near the root and far from it, so that the order matters whoever comes first
    node(ADD, 3, len(data) - 1)
    node(ADD, len(data) - 1, 4)
    kind, left, right = np.array(rows).T
    return {"leaves": leaves, "kind": kind, "left": left, "right": right}


def one_graph(rng):
    return graph(rng, int(rng.integers(9, 14)))


def squares(rng):
    return graph(rng, 5, squares=True)


def order(student, inputs):
    nodes = [student.Node(float(x)) for x in inputs["leaves"]]
    for kind, i, j in zip(inputs["kind"], inputs["left"], inputs["right"]):
        a, b = nodes[i], nodes[j]
        nodes.append(student.tanh(a) if kind == 2 else (student.add, student.mul)[kind](a, b))
    place = {id(v): i for i, v in enumerate(nodes)}
    return {"order": np.array([place.get(id(v), -1) for v in student.topological_order(nodes[-1])], int)}


def order_problem(got, want, inputs):
    """There are many right orders: what is asked of each of them, from the graph."""
    listed, n = got["order"].tolist(), len(inputs["leaves"])
    uses = [()] * n + [(int(i),) if kind == TANH else (int(i), int(j)) for kind, i, j in
                       zip(inputs["kind"], inputs["left"], inputs["right"], strict=True)]
    if got["order"].ndim != 1 or not all(0 <= v < len(uses) for v in listed):
        return "the list holds something that is no node of the graph", "列表里有不属于这个图的东西"
    if len(set(listed)) < len(listed):
        twice = next(v for v in listed if listed.count(v) > 1)
        return (f"node {twice} is listed {listed.count(twice)} times: remember which nodes were opened",
                f"节点 {twice} 列了 {listed.count(twice)} 次：要记住哪些节点已经打开过")
    if missing := set(want["order"].tolist()) - set(listed):
        leaf = " (a leaf: leaves belong into the list too)" if min(missing) < n else ""
        leaf_zh = "（它是叶节点，叶节点也要列进去）" if min(missing) < n else ""
        return f"node {min(missing)} is missing{leaf}", f"漏了节点 {min(missing)}{leaf_zh}"
    if listed[-1] != len(uses) - 1:
        return "the root does not come last", "根没有排在最后"
    for v in listed:
        for u in uses[v]:
            if listed.index(u) > listed.index(v):
                return (f"node {v} stands before its own input, node {u}",
                        f"节点 {v} 排在了自己的输入（节点 {u}）前面")
    return None


def gradients(student, inputs):
    nodes = [student.Node(float(x)) for x in inputs["leaves"]]
    for kind, i, j in zip(inputs["kind"], inputs["left"], inputs["right"]):
        a, b = nodes[i], nodes[j]
        nodes.append(student.tanh(a) if kind == 2 else (student.add, student.mul)[kind](a, b))
    student.backward(nodes[-1])
    return {"grads": np.array([float(v.grad) for v in nodes])}


def gradients_twice(student, inputs):
    nodes = [student.Node(float(x)) for x in inputs["leaves"]]
    for kind, i, j in zip(inputs["kind"], inputs["left"], inputs["right"]):
        a, b = nodes[i], nodes[j]
        nodes.append(student.tanh(a) if kind == 2 else (student.add, student.mul)[kind](a, b))
    student.backward(nodes[-1])
    first = np.array([float(v.grad) for v in nodes])
    student.backward(nodes[-1])
    return {"first": first, "second": np.array([float(v.grad) for v in nodes])}


def chain(rng):
    """A chain in no order: `below` holds the place of each node's input, -1 for the leaf's."""
    places = rng.permutation(int(rng.integers(20_000, 21_000)))
    below = np.full(len(places), -1)
    below[places[1:]] = places[:-1]
    return {"below": below}


def walk_chain(student, inputs):
    nodes = [student.Node(1.0) for _ in inputs["below"]]
    for v, i in zip(nodes, inputs["below"]):
        if i >= 0:
            v.inputs, v.local = (nodes[i],), (1.0,)
    root = nodes[min(set(range(len(nodes))) - set(inputs["below"].tolist()))]
    import sys

    limit, raised = sys.getrecursionlimit(), sys.setrecursionlimit
    sys.setrecursionlimit, _ = (lambda n: None), raised(1000)  # a higher limit is no cure
    try:
        listed, too_deep = student.topological_order(root), 0
    except RecursionError:
        listed, too_deep = [], 1
    finally:
        sys.setrecursionlimit = raised
        raised(limit)
    place = {id(v): i for i, v in enumerate(nodes)}
    return {"too_deep": np.array(too_deep), "order": np.array([place.get(id(v), -1) for v in listed], int)}


def chain_problem(got, want, inputs):
    if got["too_deep"]:
        return ("Python ran out of nested calls on a long chain: keep a stack of your own, a list, in "
                "place of "
                "recursion", "在长链上，Python 的嵌套调用用完了：请自己用列表做一个栈，代替递归")
    listed, n = got["order"].size, len(inputs["below"])
    if listed != n:
        return (f"a chain of {n - 1} operations has {n} nodes; {listed} were listed",
                f"{n - 1} 次运算的长链有 {n} 个节点，列出的却有 {listed} 个")
    if not np.array_equal(got["order"], want["order"]):
        return "a chain has only one order: the leaf first, the root last", "长链只有一种次序：叶节点在前，根在最后"
    return None


def layers(rng):
    """Nodes that each use another twice, in no order: `below` holds the place of it, -1 for the leaf's."""
    places = rng.permutation(int(rng.integers(13, 16)))
    below = np.full(len(places), -1)
    below[places[1:]] = places[:-1]
    return {"below": below}


def walk_layers(student, inputs):
    looks = [0]

    def get(node):
        looks[0] += 1
        return node.given

    def put(node, given):
        node.given = given

    # a Node that counts how often somebody asks for its inputs
    Counted = type("Counted", (student.Node,), {"inputs": property(get, put)})
    nodes = [Counted(1.0) for _ in inputs["below"]]
    for v, i in zip(nodes, inputs["below"]):
        if i >= 0:
            v.inputs, v.local = (nodes[i], nodes[i]), (1.0, 1.0)
    listed = student.topological_order(nodes[min(set(range(len(nodes))) - set(inputs["below"].tolist()))])
    place = {id(v): i for i, v in enumerate(nodes)}
    return {"order": np.array([place.get(id(v), -1) for v in listed], int), "looks": np.array(looks[0])}


def layers_problem(got, want, inputs):
    n = len(inputs["below"])
    if got["order"].size != n:
        return (f"{n} nodes, of which each is used twice by the next: {got['order'].size} were listed",
                f"一共 {n} 个节点，每个都被下一个用了两次；列出的却有 {got['order'].size} 个")
    if not np.array_equal(got["order"], want["order"]):
        return "these nodes have only one order: the leaf first, the root last", "这些节点只有一种次序：叶节点在前，根在最后"
    if int(got["looks"]) > 20 * n:
        return (f"the inputs of {n} nodes were looked at {int(got['looks'])} times in all: the work "
                 "doubles with each layer. Open "
                "each node once, whatever the number of paths to it",
                f"{n} 个节点的输入一共看了 {int(got['looks'])} 次：每多一层，工作量就翻一倍。不管有多少条路径通到它，"
                "每个节点只打开一次")
    return None


def stretched(rng):
    shapes = [(3,), (1, 3), (2, 1), (2, 3), (), (4, 1, 1), (4, 1, 3)]
    parts = {f"g{k}": rng.normal(size=(4, 2, 3)) for k in range(len(shapes))}
    ndim = np.array([len(s) for s in shapes])
    return parts | {"ndim": ndim, "shapes": np.array([s + (0,) * (3 - len(s)) for s in shapes])}


def summed(student, inputs):
    found = {}
    for k, (n, shape) in enumerate(zip(inputs["ndim"], inputs["shapes"])):
        shape = tuple(int(i) for i in shape[:n])
        found["to_" + ("x".join(map(str, shape)) or "scalar")] = student.unbroadcast(inputs[f"g{k}"], shape)
    return found


TESTS = {
    "order": Scenario(one_graph, order, order_problem),
    "gradients": Scenario(one_graph, gradients, rtol=1e-9),
    "same_twice": Scenario(squares, gradients, rtol=1e-9),
    "long_chain": Scenario(chain, walk_chain, chain_problem, cases=2),
    "doubled_paths": Scenario(layers, walk_layers, layers_problem, cases=2),
    "walk_again": Scenario(one_graph, gradients_twice, rtol=1e-9),
    "unbroadcast": Scenario(stretched, summed),
}

LOOP = """\
    stack = [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:  # all that was put on top of it has been dealt with
            order.append(v)
        elif id(v) not in opened:
            opened.add(id(v))
            stack.append((v, True))
            for u in v.inputs:
                stack.append((u, False))
    return order
"""
PASS_ON = "u.grad += v.grad * d"
PAIRS = "for u, d in zip(v.inputs, v.local, strict=True):"

MISCONCEPTIONS = [
    Misconception("recursive", {LOOP: """\
    def visit(v):
        if id(v) not in opened:
            opened.add(id(v))
            for u in reversed(v.inputs):
                visit(u)
            order.append(v)

    visit(root)
    return order
"""},
                  "the order is right, but on a long chain Python runs out of nested calls: keep a stack of "
                  "your own in place of recursion.",
                  "次序是对的，但链一长，Python 的嵌套调用就用完了：请自己用列表做一个栈，代替递归。"),
    Misconception("root_first", {"    return order\n": "    return order[::-1]\n"},
                  "this is the order of the walk back, the root first. Here the root comes last.",
                  "这是往回走的次序，根在最前；这里要求根排在最后。"),
    Misconception("when_opened", {"            stack.append((v, True))\n": "            order.append(v)\n"},
                  "each node is listed when it is first met, before its inputs; it belongs into the list "
                  "when it is closed.",
                  "每个节点一遇到就列出来，排在了自己的输入前面；应当等到关闭它的时候再列。"),
    Misconception("when_opened_reversed",
                  {"            stack.append((v, True))\n": "            order.append(v)\n",
                   "    return order\n": "    return order[::-1]\n"},
                  "a list made on opening and then reversed is right for many graphs, but not where a node "
                  "is reached by a short way and by a long one. List a node when it is closed.",
                  "打开时列出、最后再倒过来，对许多图碰巧是对的；可是一个节点若有一长一短两条路可到，就不对了。请在关闭节点时列出。"),
    Misconception("by_queue", {LOOP: """\
    queue = [root]
    for v in queue:
        if id(v) not in opened:
            opened.add(id(v))
            order.append(v)
            queue.extend(v.inputs)
    return order[::-1]
"""},
                  "this is a queue, the nearest first, reversed: a node that is used near the root and far "
                  "from it has its turn too early.",
                  "这是排队（近的在前）再倒过来：离根一近一远两处都用到的节点，轮到得太早。"),
    Misconception("every_path", {"        elif id(v) not in opened:\n": "        else:\n"},
                  "a node that is used twice is listed twice: nothing remembers which nodes were opened, so "
                  "every path is followed.",
                  "用到两次的节点列了两遍：没有记住哪些打开过，于是每条路径都走了一遍。"),
    Misconception("removed_late", {"        elif id(v) not in opened:\n": "        else:\n",
                                   "    return order\n":
                                       "    return list({id(v): v for v in order}.values())\n"},
                  "the order is right, but repeated nodes are thrown out only at the end, after every path "
                  "has been followed: the work doubles with each layer.",
                  "次序是对的，但重复的节点到最后才剔除，每条路径都已经走过一遍：每多一层，工作量就翻一倍。"),
    Misconception("without_leaves", {"    return order\n": "    return [v for v in order if v.inputs]\n"},
                  "the leaves are missing from the list: they are what one wants the gradients of.",
                  "列表里漏了叶节点：要求的正是它们的梯度。"),
    Misconception("without_root", {"    return order\n": "    return order[:-1]\n"},
                  "the root itself is missing from the list.", "列表里漏了根自己。"),
    Misconception("overwritten", {PASS_ON: "u.grad = v.grad * d"},
                  "a node that is used twice keeps only what its last use brought: the gradient is the sum "
                  "over all uses.",
                  "用到两次的节点只留下了最后一次送来的梯度：梯度是各处用途之和。"),
    Misconception("no_seed", {"    root.grad = 1.0\n": ""},
                  "nothing was set going: the derivative of the root with respect to itself is not 0.",
                  "没有起点：根对它自己的导数不是 0。"),
    Misconception("forwards", {"reversed(order)": "order"},
                  "the walk begins at the leaves, where nothing has arrived yet: begin at the root.",
                  "是从叶节点走起的，那里还什么都没有传到：要从根走起。"),
    Misconception("no_chain", {PASS_ON: "u.grad += d"},
                  "only local derivatives are added up: each has to be multiplied with the gradient that "
                  "comes from above.",
                  "只把局部导数加了起来：每个都要乘以上面传来的梯度。"),
    Misconception("no_local", {PASS_ON: "u.grad += v.grad"},
                  "the gradient is passed on as it comes: the operation's local derivative is missing.",
                  "把上面来的梯度原样传了下去：漏了这个运算的局部导数。"),
    Misconception("repeats_skipped",
                  {PAIRS: "for u, d in dict(zip(v.inputs, v.local, strict=True)).items():"},
                  "in a product of a node with itself both inputs are the same object, and each of them "
                  "counts: a dict or a set keeps only one.",
                  "一个节点与自己相乘时，两个输入是同一个对象，但两处都要算：字典或集合只会留下一份。"),
    Misconception("left_over", {"    for v in order:\n        v.grad = 0.0\n    root.grad = 1.0\n":
                                "    root.grad = 1.0\n"},
                  "what an earlier walk has left in grad is added to the new gradients: clear it first.",
                  "上一次留在 grad 里的数加进了新的梯度：开始之前要先清零。"),
    Misconception("in_front_only",
                  {"    return np.sum(g, axis=stretched, keepdims=True)\n": "    return g\n"},
                  "the axes in front are dealt with; those that NumPy stretched from length 1 are not.",
                  "前面补的轴处理了，从长度 1 拉伸出来的轴还没有。"),
    Misconception("dropped_axes", {"axis=stretched, keepdims=True)": "axis=stretched)"},
                  "the axes of length 1 are gone from the result: the sum over them has to keep them.",
                  "长度为 1 的轴从结果里消失了：对它们求和，要把轴保留下来。"),
    Misconception("averaged", {"np.sum(g, axis=stretched, keepdims=True)":
                               "np.mean(g, axis=stretched, keepdims=True)",
                               "np.sum(g, axis=tuple(range(front)))": "np.mean(g, axis=tuple(range(front)))"},
                  "this is the mean over the uses of a number; the chain rule has their sum.",
                  "这是各处用途的平均；链式法则要的是和。"),
    Misconception("first_slice", {"np.sum(g, axis=stretched, keepdims=True)":
                                  "g[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]",
                                  "np.sum(g, axis=tuple(range(front)))": "g[(0,) * front]"},
                  "the shape is right, but only the first use of each number counts: add up all of them.",
                  "形状对了，但每个数只算了第一处用途：要把所有用途加起来。"),
    Misconception("other_branch_first", {"for u in v.inputs:": "for u in reversed(v.inputs):"}, "", "",
                  equivalent=True),
    Misconception("summed_at_once", {"""\
    front = g.ndim - len(shape)
    g = np.sum(g, axis=tuple(range(front)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.sum(g, axis=stretched, keepdims=True)
""": """\
    padded = (1,) * (g.ndim - len(shape)) + tuple(shape)
    for i, n in enumerate(padded):
        if n == 1:
            g = g.sum(axis=i, keepdims=True)
    return g.reshape(shape)
"""}, "", "", equivalent=True),
    Misconception("gathered", {"""\
    for v in order:
        v.grad = 0.0
    root.grad = 1.0
""": """\
    for v in order:
        v.grad = float(v is root)
""", "reversed(order)": "order[::-1]"}, "", "", equivalent=True),
]
