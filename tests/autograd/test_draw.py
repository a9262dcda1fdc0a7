"""`draw_graph`: every node and line is there once, the text is safe XML, and the layout keeps its word."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.autograd import Tensor, detect_anomaly
from minillm.autograd.draw import NOTEBOOK_LIMIT, draw_graph, notebook_svg
from minillm.autograd.fused import softmax_cross_entropy
from minillm.autograd.fused.op import FusedOp
from minillm.autograd.layout import layered, nearest_apart
from minillm.errors import UserError

SVG = "{http://www.w3.org/2000/svg}"
RNG = np.random.default_rng(0)


def leaf(*shape, name=None):
    return Tensor(RNG.standard_normal(shape), requires_grad=True, name=name)


def read(svg):
    """The picture's boxes as {kind: [lines of text]}, and the number of its lines."""
    root = ET.fromstring(svg)
    boxes = {}
    for g in root.iter(SVG + "g"):
        kind = (g.get("class") or "").split()
        if kind:
            texts = ["".join(t.itertext()).replace("\u00a0", " ") for t in g.findall(SVG + "text")]
            boxes.setdefault(kind[1], []).append(texts)
    styles = [p.get("class").split()[0] for p in root.iter(SVG + "path")]
    assert styles.count("line") == styles.count("head")
    return boxes, styles.count("line")


def mlp():
    x, labels = RNG.standard_normal((6, 4)), RNG.integers(0, 3, 6)
    h = np.tanh(x @ leaf(4, 5, name="W1") + leaf(5, name="b1"))
    return softmax_cross_entropy(h @ leaf(5, 3, name="W2") + leaf(3, name="b2"), labels)


def test_every_node_and_line_of_an_mlp_once():
    boxes, lines = read(draw_graph(mlp()))
    assert sorted(b[0] for b in boxes["parameter"]) == ["W1", "W2", "b1", "b2"]
    assert [b[0] for b in boxes["op"]] == ["matmul", "add", "tanh", "matmul", "add"]
    assert [b[0] for b in boxes["fused"]] == ["softmax_cross_entropy"]
    assert [b[1] for b in boxes["constant"]] == ["float64 (6, 4)", "int64 (6,)"]
    assert lines == 11


def test_a_node_that_is_used_twice_has_one_box_and_two_lines():
    x = leaf(3, name="x")
    y = x
    for _ in range(20):
        y = y + y
    boxes, lines = read(draw_graph(y))
    assert Counter(b[0] for b in boxes["op"]) == {"add": 20}
    assert len(boxes["parameter"]) == 1
    assert lines == 40


def test_one_array_is_one_constant():
    a = np.ones(3)
    boxes, lines = read(draw_graph(leaf(3) * a + a))
    assert len(boxes["constant"]) == 1
    assert lines == 4


def test_several_outputs_hang_on_their_op():
    op = FusedOp(lambda x, *, save: ((x + 1, x[0]), None), lambda g, saved, x, *, needs: [x],
                 lambda x: (x + 1, x[0]))
    op.__name__ = "both"
    x = leaf(3, name="x")
    a, b = op(x)
    boxes, lines = read(draw_graph((a * 2).sum() + b))
    assert [b[0] for b in boxes["fused"]] == ["both"]
    assert sorted(b[:2] for b in boxes["output"]) == [["output 0", "float64 (3,)"], ["output 1", "float64"]]
    assert lines == 7
    assert boxes["fused"] == [["both"]]  # its outputs tell their shapes
    one, lines = read(draw_graph(a))
    assert [b[0] for b in one["output"]] == ["output 0"]
    assert lines == 2


TEXTS = {
    "sum": (lambda x: x.sum(axis=1, keepdims=True), ["sum", "axis=1, keepdims=True", "float64 (2, 1)"]),
    "power": (lambda x: x**2, ["power (\u00b7, 2)"]),
    "divide": (lambda x: 1 / x, ["divide (1, \u00b7)"]),
    "scalar array": (lambda x: x * np.array(0.5), ["multiply (\u00b7, 0.5)"]),
    "getitem": (lambda x: x[0, 1:, None, ...], ["getitem", "[0, 1:, None, ...]", "float64 (1, 1)"]),
    "steps": (lambda x: x[:, ::-1], ["getitem [:, ::-1]"]),
    "index array": (lambda x: x[np.array([1, 0])], ["getitem [\u00b7]"]),
    "stack": (lambda x: np.stack([x, x]), ["concatenate axis=0", "float64 (2, 2, 2)"]),
    "fused default": (lambda x: softmax_cross_entropy(x, np.array([0, 1])),
                      ["softmax_cross_entropy", "float64"]),
    "fused option": (lambda x: softmax_cross_entropy(x, np.array([0, 1]), label_smoothing=0.1),
                     ["softmax_cross_entropy", "label_smoothing=0.1", "float64"]),
}


@pytest.mark.parametrize(("f", "expected"), TEXTS.values(), ids=TEXTS)
def test_text_of_the_last_box(f, expected):
    boxes = [g for g in ET.fromstring(draw_graph(f(leaf(2, 2)), values=False)).iter(SVG + "g")
             if "root" in (g.get("class") or "")]
    texts = ["".join(t.itertext()).replace("\u00a0", " ") for t in boxes[0].findall(SVG + "text")]
    assert len(boxes) == 1
    assert texts[:len(expected)] == expected


def test_values_and_gradients():
    x = Tensor(np.array([[1.0, -0.125], [12.5, 1e-9]]), requires_grad=True, name="x")
    y = (x * 3).sum()
    y.backward()
    boxes, _ = read(draw_graph(y))
    assert boxes["parameter"] == [["x", "float64 (2, 2)", "     1 \u22120.125", "  12.5  1e-09",
                                   "gradient", "3 3", "3 3"]]
    boxes, _ = read(draw_graph(y, values=False))
    assert boxes["parameter"] == [["x", "float64 (2, 2)"]]
    big, _ = read(draw_graph(leaf(6, name="w") * 1))
    assert big["parameter"] == [["w", "float64 (6,)"]]


def test_names_are_escaped():
    name = '<b attr="1"> & \x00\x1b]]> \ud800 \n\u4e2d\u6587'
    y = leaf(2, name=name) * 2
    y.name = name
    svg = draw_graph(y)
    root = ET.fromstring(svg)
    assert "<b" not in svg
    assert "\x00" not in svg
    assert root.find(f".//{SVG}b") is None
    shown = [t.text for t in root.iter(SVG + "title")]
    assert any('<b attr="1"> & \ufffd\ufffd]]> \ufffd' in t and "\u4e2d\u6587" in t for t in shown)
    svg.encode()


@given(st.text(max_size=30))
def test_any_name_makes_well_formed_xml(name):
    y = leaf(1, name=name) * 2
    y.name = name
    ET.fromstring(draw_graph(y).encode())


def test_is_described_for_screen_readers():
    root = ET.fromstring(draw_graph(mlp()))
    assert root.get("role") == "img"
    title = root.find(SVG + "title").text
    assert root.get("aria-label") == title
    assert title == ("Computation graph of softmax_cross_entropy, float64: 6 operations, 4 parameters, "
                     "2 constants")
    steps = root.find(SVG + "desc").text
    assert "3 matmul, float64 (6, 5) from 1 constant, 2 W1;" in steps
    assert steps.count(";") == 11


def test_stands_alone_and_leaves_the_page_alone():
    svg = draw_graph(mlp())
    root = ET.fromstring(svg)
    assert not re.search(r"url\(|href|@import|<script|\bid=", svg)
    style = re.sub(r"@media[^{]*\{", "", root.find(SVG + "style").text)
    selectors = re.findall(r"([^{}]+)\{", style)
    assert len(selectors) > 20
    assert all(s.strip().startswith(".minillm-graph") for s in selectors)
    assert "prefers-color-scheme: dark" in svg


def test_the_source_line_is_shown_on_hovering_in_debug_mode():
    with detect_anomaly():
        y = leaf(2, name="x") * 2
    assert re.search(r"<title>multiply \(\u00b7, 2\), float64 \(2,\), at \S*test_draw.py:\d+</title>",
                     draw_graph(y))


def test_same_graph_same_text():
    def build():
        x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="x")
        h = np.tanh(x @ np.ones((3, 3)) + x)
        return (h * h + x.sum() * h).sum()

    assert draw_graph(build()) == draw_graph(build())


def test_a_leaf_is_one_box():
    boxes, lines = read(draw_graph(leaf(2, name="w")))
    assert [b[0] for b in boxes["parameter"]] == ["w"]
    assert lines == 0


# ---- files and limits --------------------------------------------------------------------------

def test_writes_the_file(tmp_path):
    y = leaf(2, name="\u6743\u91cd") * 2
    svg = draw_graph(y, tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_bytes() == svg.encode()
    draw_graph(y, str(tmp_path / "GRAPH.SVG"))


@pytest.mark.parametrize("name", ["graph.png", "graph", "graph.svg.gz"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"^draw_graph writes SVG: path '.*' must end in \.svg$"):
        draw_graph(leaf(2) * 2, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match=r"^cannot write the graph to '.*g\.svg': No such file") as e:
        draw_graph(leaf(2) * 2, tmp_path / "missing" / "g.svg")
    assert "\n" not in str(e.value)


def test_a_large_graph_is_refused_with_its_size(tmp_path):
    y = leaf(1)
    for _ in range(400):
        y = y + 1
    with pytest.raises(ValueError, match=r"^the graph has 401 nodes, more than limit=400: [^\n]*$"):
        draw_graph(y, tmp_path / "g.svg")
    assert not list(tmp_path.iterdir())
    assert read(draw_graph(y, limit=401))[1] == 400


def test_only_tensors():
    with pytest.raises(TypeError, match=r"^draw_graph takes a Tensor, not ndarray$"):
        draw_graph(np.ones(2))


def test_notebooks_show_small_graphs_only():
    x = leaf(1)
    y = x + 1
    assert y._repr_svg_() == notebook_svg(y) == draw_graph(y)
    assert notebook_svg(x) is None
    assert notebook_svg(Tensor([1.0]) + 1) is None
    for _ in range(NOTEBOOK_LIMIT):
        y = y + 1
    assert notebook_svg(y) is None


# ---- layout ------------------------------------------------------------------------------------

@st.composite
def graphs(draw):
    n = draw(st.integers(1, 14))
    inputs = [draw(st.lists(st.integers(0, i - 1), max_size=4)) if i else [] for i in range(n)]
    sizes = [(draw(st.integers(20, 160)), draw(st.integers(16, 90))) for _ in range(n)]
    return sizes, inputs


@given(graphs())
def test_boxes_do_not_overlap_and_lines_run_down_between_them(graph):
    sizes, inputs = graph
    layout = layered(sizes, inputs)
    edges = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
             for (x, y), (w, h) in zip(layout.boxes, sizes, strict=True)]
    slack = 1e-6
    for left, top, right, bottom in edges:
        assert left >= -slack
        assert top >= -slack
        assert right <= layout.width + slack
        assert bottom <= layout.height + slack
    for i, a in enumerate(edges):
        for b in edges[:i]:
            assert (a[2] <= b[0] + slack or b[2] <= a[0] + slack
                    or a[3] <= b[1] + slack or b[3] <= a[1] + slack)
    assert [len(lines) for lines in layout.lines] == [len(sources) for sources in inputs]
    for v, lines in enumerate(layout.lines):
        for u, line in zip(inputs[v], lines, strict=True):
            assert line[0][0] == layout.boxes[u][0]
            assert line[0][1] == pytest.approx(edges[u][3])
            assert line[-1][2] == pytest.approx(edges[v][1])
            assert edges[v][0] < line[-1][0] < edges[v][2]
            assert all(a[2] < b[1] for a, b in pairwise(line))
            for x, top, bottom in line[1:-1]:
                assert not any(e[0] < x < e[2] and e[1] < bottom and top < e[3] for e in edges)
        ports = [line[-1][0] for line in lines]
        assert ports == sorted(set(ports))


def test_a_tree_has_no_crossings_and_a_twisted_pair_is_untwisted():
    box = (40.0, 20.0)
    tree = [[], [], [0, 1], [], [], [3, 4], [2, 5]]
    assert layered([box] * 7, tree).crossings == 0
    twisted = [[], [], [1], [0], [2, 3]]
    assert layered([box] * 5, twisted).crossings == 0
    ladder = [[], [], [], [2], [0], [1], [3], [5], [4], [7, 6, 8]]
    layout = layered([box] * 10, ladder)
    assert layout.crossings == 0
    x = [layout.boxes[v][0] for v in (7, 6, 8)]
    assert x == sorted(x)


def test_sweeps_undo_crossings():
    # From left to right as a depth-first search meets the boxes, there are 4 and 3 crossings.
    box = (40.0, 20.0)
    assert layered([box] * 9, [[], [0], [0], [1, 2], [3], [1], [3, 2], [4, 1], [1, 5, 6, 7]]).crossings == 2
    assert layered([box] * 6, [[], [0], [1], [1], [1], [1, 0, 2, 3, 4]]).crossings == 1


def test_lines_from_one_box_share_a_straight_trunk():
    chain = [[]] + [[i] for i in range(7)] + [[7, 0], [8, 0]]
    widths = [40, 90, 30, 150, 60, 20, 110, 40, 70, 70]
    layout = layered([(float(w), 20.0) for w in widths], chain)
    short, long = layout.lines[8][1], layout.lines[9][1]
    assert short[:-1] == long[:len(short) - 1]
    assert len({x for x, _, _ in long[1:-1]}) == 1


def test_close_boxes_stand_below_their_input():
    sizes, inputs = [(40.0, 20.0)] * 6, [[], [0], [1], [2], [0], [3, 4]]
    far, near = layered(sizes, inputs), layered(sizes, inputs, close=[4])
    assert far.boxes[4][1] == far.boxes[3][1]
    assert near.boxes[4][1] == near.boxes[1][1]


def test_two_lines_that_must_cross_are_counted():
    both = [[], [], [0, 1], [1, 0], [2, 3]]
    assert layered([(40.0, 20.0)] * 5, both).crossings == 2


@given(st.lists(st.tuples(st.floats(-99, 99), st.floats(0.1, 9), st.floats(0, 30)), min_size=1, max_size=8),
       st.integers(0, 2**32 - 1))
def test_nearest_apart_is_the_minimum(rows, seed):
    wished, weights, gaps = map(np.array, zip(*rows, strict=True))
    gaps = gaps[1:]
    x = np.array(nearest_apart(wished, weights, gaps))
    assert (np.diff(x) >= gaps - 1e-9).all()

    def cost(at):
        return float((weights * (at - wished) ** 2).sum())

    # No other feasible point is better: the cost is convex, so nearby ones are enough.
    rng = np.random.default_rng(seed)
    for size in (1e-3, 1.0, 30.0):
        other = x + size * rng.standard_normal(len(x))
        for i in range(1, len(x)):
            other[i] = max(other[i], other[i - 1] + gaps[i - 1])
        assert cost(x) <= cost(other) + 1e-9 * (1 + cost(other))
