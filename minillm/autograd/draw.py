"""`draw_graph`: the computation graph of a Tensor as one self-contained SVG."""

from __future__ import annotations

import html
import math
import operator
import os
import re
import unicodedata
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import UserError

from .fused.op import FusedOp
from .layout import Layout, layered
from .tensor import Tensor, op_name, output
from .walk import topological_order

NOTEBOOK_LIMIT = 80  # nodes; a larger picture is no help beside a line of code
MARGIN = 14.0


def draw_graph(y: Tensor, path: str | os.PathLike[str] | None = None, *, values: bool = True,
               limit: int = 400) -> str:
    """Draw how `y` was computed, inputs on top, `y` at the bottom.

    Parameters are blue and round, constants small and dashed, fused ops orange; lines enter an op
    from left to right in the order of its arguments. Numbers stand in the op's own box. Hover over a
    box for its full name and, for ops recorded under `detect_anomaly`, the source line.

    Args:
        y: the Tensor; its graph is what `backward` would walk.
        path: where to write the picture, a file name that ends in .svg; left out, nothing is written.
        values: show the numbers of small arrays, and the gradients of leaves.
        limit: the largest number of nodes that is drawn.

    Returns:
        The SVG's text. The same graph gives the same text.

    Raises:
        ValueError: the graph has more than `limit` nodes.
        UserError: `path` does not end in .svg, or cannot be written.
        TypeError: y is no Tensor.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"draw_graph takes a Tensor, not {type(y).__name__}")
    if path is not None and Path(path).suffix.lower() != ".svg":
        raise UserError(f"draw_graph writes SVG: path {str(path)!r} must end in .svg")
    nodes = _collect(y, values)
    if len(nodes) > limit:
        raise ValueError(f"the graph has {len(nodes)} nodes, more than limit={limit}: draw a smaller "
                         "one (fewer steps or layers, or an earlier Tensor), or pass a larger limit")
    svg = _svg(nodes)
    if path is not None:
        try:
            Path(path).write_text(svg, encoding="utf-8", newline="\n")
        except OSError as e:
            raise UserError(f"cannot write the graph to {str(path)!r}: {e.strerror}") from None
    return svg


def notebook_svg(t: Tensor) -> str | None:
    """The picture that a notebook shows for a Tensor; None (so it prints it) without a small graph."""
    if t.op is None:
        return None
    nodes = _collect(t, True)
    return _svg(nodes) if len(nodes) <= NOTEBOOK_LIMIT else None


# ---- what to show ------------------------------------------------------------------------------

@dataclass
class _Node:
    kind: str  # parameter, constant, op, fused or output
    title: str
    notes: list[tuple[str, str]] = field(default_factory=list)  # (style, line)
    inputs: list[int] = field(default_factory=list)
    hover: str = ""

    @property
    def size(self) -> tuple[float, float]:
        texts = [(_SIZES[self.title_style], self.title), *((_SIZES[s], text) for s, text in self.notes)]
        width = max(size * _columns(text) for size, text in texts) * 0.61
        height = sum(size * 1.35 for size, _ in texts)
        return max(width + 18, 34.0), height + 9

    @property
    def title_style(self) -> str:
        return "small" if self.kind in ("constant", "output") else "title"


_SIZES = {"title": 12.5, "small": 10.5, "shape": 10.5, "value": 10.5, "grad": 10.5}


def _collect(root: Tensor, values: bool) -> list[_Node]:
    """The nodes of the graph, every one after its inputs. One array is one node, used often or once."""
    nodes: list[_Node] = []
    number: dict[int, int] = {}

    def add(x: Any, node: _Node) -> None:
        number[id(x)] = len(nodes)
        nodes.append(node)

    order = topological_order(root)
    joins = {id(t.args[0]) for t in order if t.op is output}
    for t in order:
        inputs = []
        for a in t.args:
            if not _has_box(a):
                continue
            if id(a) not in number:
                add(a, _leaf(a, values))
            inputs.append(number[id(a)])
        add(t, _computed(t, inputs, values, id(t) in joins))
    return nodes or [_leaf(root, values)]


def _has_box(a: Any) -> bool:
    """Arrays have; numbers, shapes and slices are written beside the op's name."""
    return isinstance(a, Tensor) or (isinstance(a, np.ndarray) and a.ndim > 0)


def _leaf(a: Any, values: bool) -> _Node:
    tensor = a if isinstance(a, Tensor) else Tensor(a)
    kind = "parameter" if tensor.requires_grad else "constant"
    title = tensor.name or kind
    node = _Node(kind, _short(title), [("shape", _type(tensor.data))],
                 hover=f"{title}: {kind}, {_type(tensor.data)}")
    if values:
        node.notes += [("value", line) for line in _values(tensor.data)]
        if tensor.grad is not None and (lines := _values(tensor.grad)):
            node.notes += [("grad", "gradient"), *(("grad", line) for line in lines)]
    return node


def _computed(t: Tensor, inputs: list[int], values: bool, is_join: bool) -> _Node:
    if t.op is output:
        kind, title = "output", f"output {t.kwargs['index']}"
    else:
        kind = "fused" if isinstance(t.op, FusedOp) else "op"
        title = op_name(t.op).lstrip("_")  # type: ignore[arg-type]
    options = _options(t)
    beside = options and len(options) <= 12
    node = _Node(kind, _short(f"{title} {options}" if beside else title, 34), inputs=inputs)
    if options and not beside:
        node.notes.append(("shape", _short(options, 34)))
    title = f"{title} {options}".rstrip()
    node.hover = ", ".join(filter(None, [title, t.name, "" if is_join else _type(t.data),
                                         t.where and f"at {t.where}"]))
    if t.name:
        node.notes.append(("value", _short(t.name)))
    if not is_join:  # several outputs say their shapes themselves
        node.notes.append(("shape", _type(t.data)))
        if values:
            node.notes += [("value", line) for line in _values(t.data)]
    return node


def _options(t: Tensor) -> str:
    """What an op was given besides arrays: `axis=1`, `[0, :]`, or where its arrays stood, `(., 2)`."""
    if t.op is operator.getitem:
        index = t.args[1]
        items = index if isinstance(index, tuple) else (index,)
        return f"[{', '.join(map(_index, items))}]"
    given = ["\u00b7" if _has_box(a) else _plain(a) for a in t.args]
    if t.op is output:
        return ""
    defaults = {}
    if isinstance(t.op, FusedOp):
        defaults = {p.name: p.default for p in signature(t.op.composite).parameters.values()}
    parts = [f"{k}={_plain(v)}" for k, v in t.kwargs.items()
             if v is not None and v is not False
             and not (k in defaults and _plain(defaults[k]) == _plain(v))]
    alone = all(map(_has_box, t.args))
    return ", ".join(([] if alone else [f"({', '.join(given)})"]) + parts)


def _index(i: Any) -> str:
    if isinstance(i, slice):
        start, stop, step = ("" if n is None else str(n) for n in (i.start, i.stop, i.step))
        return f"{start}:{stop}" + f":{step}" * bool(step)
    if isinstance(i, np.ndarray) and i.ndim:
        return "\u00b7"
    return "..." if i is Ellipsis else str(i)


def _plain(a: Any) -> str:
    if isinstance(a, Tensor | np.ndarray | np.generic):
        a = a.item() if a.ndim == 0 else f"array{a.shape}"
    return f"{a:.4g}" if isinstance(a, float) else str(a)


def _type(x: np.ndarray) -> str:
    return f"{x.dtype} {x.shape}" if x.ndim else str(x.dtype)


def _values(x: np.ndarray) -> list[str]:
    """The numbers of a small array, a row to a line; nothing for a large one."""
    if x.ndim > 2 or x.size == 0 or x.shape[-1:] > (5,) or (x.ndim == 2 and len(x) > 4):
        return []
    cells = [[_number(v) for v in row] for row in np.atleast_2d(x).tolist()]
    width = max(len(c) for row in cells for c in row)
    return [" ".join(c.rjust(width) for c in row) for row in cells]


def _number(v: float | int | bool) -> str:
    text = f"{v:.3g}" if isinstance(v, float) else str(int(v))
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def _short(text: str, columns: int = 26) -> str:
    text = _printable(text)
    return text if len(text) <= columns else text[:columns - 1] + "\u2026"


def _printable(text: str) -> str:
    """Without line breaks and what XML cannot hold."""
    return re.sub("[^\\x20-\\x7e\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]", "\ufffd",
                  " ".join(text.splitlines()))


def _columns(text: str) -> float:
    """The width of a text in columns of a monospaced font; Chinese is wider than two thirds more."""
    return sum(1.7 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)


# ---- the picture -------------------------------------------------------------------------------

# The picture brings its own background, so that it is readable on any page. Every rule starts with
# the class name: inside a notebook a style sheet holds for the whole page.
_STYLE = """
.minillm-graph { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
@media screen { .minillm-graph { max-width: 100%; height: auto; } }
.minillm-graph text { text-anchor: middle; fill: #1b1f24; font-size: 10.5px; white-space: pre; }
.minillm-graph .title { font-size: 12.5px; font-weight: 600; }
.minillm-graph .shape { fill: #57606a; }
.minillm-graph .grad { fill: #a2410e; }
.minillm-graph .page { fill: #ffffff; stroke: #d8dee4; }
.minillm-graph .box { fill: #f3f5f7; stroke: #8c959f; }
.minillm-graph .fused .box { fill: #fff1dc; stroke: #b7741a; }
.minillm-graph .parameter .box { fill: #deebff; stroke: #2f6fc4; }
.minillm-graph .constant .box { fill: #ffffff; stroke: #8c959f; stroke-dasharray: 3 2; }
.minillm-graph .root .box { stroke: #1b1f24; stroke-width: 2.2; }
.minillm-graph .line { fill: none; stroke: #77818c; stroke-width: 1.3; }
.minillm-graph .line.parameter { stroke: #2f6fc4; }
.minillm-graph .line.constant { stroke-dasharray: 3 2; }
.minillm-graph .head { fill: #77818c; }
.minillm-graph .head.parameter { fill: #2f6fc4; }
@media (prefers-color-scheme: dark) {
.minillm-graph text { fill: #e6edf3; }
.minillm-graph .shape { fill: #a0abb6; }
.minillm-graph .grad { fill: #ffa36b; }
.minillm-graph .page { fill: #12161b; stroke: #30363d; }
.minillm-graph .box { fill: #232a32; stroke: #7d8893; }
.minillm-graph .fused .box { fill: #3d2c10; stroke: #d99a3c; }
.minillm-graph .parameter .box { fill: #12305a; stroke: #6ea8f0; }
.minillm-graph .constant .box { fill: #12161b; stroke: #7d8893; }
.minillm-graph .root .box { stroke: #e6edf3; }
.minillm-graph .line { stroke: #8b96a2; }
.minillm-graph .line.parameter { stroke: #6ea8f0; }
.minillm-graph .head { fill: #8b96a2; }
.minillm-graph .head.parameter { fill: #6ea8f0; }
}
"""


def _svg(nodes: list[_Node]) -> str:
    layout = layered([n.size for n in nodes], [n.inputs for n in nodes],
                     close=[i for i, n in enumerate(nodes) if n.kind == "output"])
    width, height = math.ceil(layout.width + 2 * MARGIN), math.ceil(layout.height + 2 * MARGIN)
    title, description = _in_words(nodes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="minillm-graph" role="img" '
        f'aria-label="{html.escape(title)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        f"<title>{html.escape(title)}</title>",
        f"<desc>{html.escape(description)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">',
        *_lines(nodes, layout),
        *(_box(n, *layout.boxes[i], is_root=i == len(nodes) - 1) for i, n in enumerate(nodes)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _lines(nodes: list[_Node], layout: Layout) -> list[str]:
    parts = []
    for n, lines in zip(nodes, layout.lines):
        for source, points in zip(n.inputs, lines):
            style = nodes[source].kind
            x, y, bottom = points[0]
            d = [f"M{x:.1f} {y:.1f}V{bottom:.1f}"]
            for x_next, top, below in points[1:]:
                half = (bottom + top) / 2
                d.append(f"C{x:.1f} {half:.1f} {x_next:.1f} {half:.1f} {x_next:.1f} {top:.1f}"
                         f"V{below:.1f}")
                x, bottom = x_next, below
            parts.append(f'<path class="line {style}" d="{"".join(d)}"/>')
            parts.append(f'<path class="head {style}" '
                         f'd="M{x:.1f} {bottom:.1f}l-3.4 -7h6.8z"/>')
    return parts


def _box(n: _Node, x: float, y: float, is_root: bool) -> str:
    width, height = n.size
    corner = {"parameter": 14, "output": 10}.get(n.kind, 4)
    parts = [f'<g class="node {n.kind}{" root" * is_root}"><title>{html.escape(_printable(n.hover))}</title>',
             f'<rect class="box" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
             f'width="{width:.1f}" height="{height:.1f}" rx="{min(corner, height / 2):g}"/>']
    baseline = y - height / 2 + 4.5
    for style, text in [(n.title_style, n.title), *n.notes]:
        baseline += _SIZES[style] * 1.35
        # Spaces that do not merge keep the columns of a matrix.
        shown = html.escape(text.replace(" ", "\u00a0"))
        parts.append(f'<text class="{style}" x="{x:.1f}" y="{baseline - _SIZES[style] * 0.32:.1f}">'
                     f"{shown}</text>")
    return "".join([*parts, "</g>"])


def _in_words(nodes: list[_Node]) -> tuple[str, str]:
    """A title, and for those who cannot see the picture, the graph as a list."""
    kinds = [n.kind for n in nodes]
    ops = kinds.count("op") + kinds.count("fused")
    counts = [f"{k} {what}{'s' * (k != 1)}" for k, what in [
        (ops, "operation"), (kinds.count("parameter"), "parameter"), (kinds.count("constant"), "constant")]
        if k]
    title = f"Computation graph of {_printable(nodes[-1].hover)}: {', '.join(counts)}"
    steps = []
    for i, n in enumerate(nodes):
        of = ", ".join(f"{j + 1} {nodes[j].title}" for j in n.inputs)
        steps.append(f"{i + 1} {_printable(n.hover)}" + (f" from {of}" if of else ""))
    return title, "; ".join(steps) + "."
