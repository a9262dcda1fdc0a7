"""The graph of a recording as SVG: a box for each value, which the page lights up step by step."""

from __future__ import annotations

import html
import math
import unicodedata
from dataclasses import dataclass

from minillm.autograd.layout import Layout, layered
from minillm.stepper.recording import Recording

LARGEST = 400  # boxes; a larger picture is no help
MARGIN = 10.0


@dataclass
class _Box:
    value: int
    kind: str
    title: str
    note: str
    inputs: list[int]

    @property
    def size(self) -> tuple[float, float]:
        width = max(_columns(self.title) * 7.8, _columns(self.note) * 6.0) + 20
        return max(width, 40.0), 36.0 if self.note else 26.0


def svg(recording: Recording, titles: list[str]) -> str:
    """The picture, or "" where it would have too many boxes.

    Args:
        recording: its values are the boxes; constants that are single numbers have none.
        titles: what stands in each value's box.
    """
    boxes = _boxes(recording, titles)
    if not 0 < len(boxes) <= LARGEST:
        return ""
    layout = layered([b.size for b in boxes], [b.inputs for b in boxes])
    width, height = math.ceil(layout.width + 2 * MARGIN), math.ceil(layout.height + 2 * MARGIN)
    return "".join([
        f'<svg id="graph" role="group" width="{width}" height="{height}" '
        f'viewBox="{-MARGIN:g} {-MARGIN:g} {width} {height}">',
        *_lines(boxes, layout),
        *(_box(b, *xy) for b, xy in zip(boxes, layout.boxes, strict=True)),
        "</svg>"])


def _boxes(recording: Recording, titles: list[str]) -> list[_Box]:
    """Inputs and constants that are used, and what was computed, each after what it was made from."""
    used = {i for s in recording.forward_steps for i in s.inputs if i is not None}
    shown: dict[int, int] = {}
    boxes: list[_Box] = []
    for v in recording.values:
        lonely = v.index not in used and v.kind != "computed"
        if lonely or (v.kind == "constant" and v.data.ndim == 0):
            continue
        shown[v.index] = len(boxes)
        box = _Box(v.index, v.kind, titles[v.index], "×".join(map(str, v.data.shape)), [])
        if v.was is not None:
            box.note += f" ↻{recording.alike[v.index][2]}"  # changed in place, the how manieth time
        boxes.append(box)
    for s in recording.forward_steps:
        box = boxes[shown[s.value]]
        box.inputs = [shown[i] for i in s.inputs if i in shown]
        if box.title != s.op:
            box.note = f"{s.op} {box.note}".rstrip()
        line, time, _ = recording.alike.get(s.value, (None, None, 0))
        if line is not None:  # short, and the same in every language
            box.note += f" L{line}" + (f"#{time}" if time else "")
    return boxes


def _lines(boxes: list[_Box], layout: Layout) -> list[str]:
    parts = []
    for b, lines in zip(boxes, layout.lines, strict=True):
        for source, points in zip(b.inputs, lines, strict=True):
            x, y, bottom = points[0]
            d = [f"M{x:.1f} {y:.1f}V{bottom:.1f}"]
            for x_next, top, below in points[1:]:
                half = (bottom + top) / 2
                d.append(f"C{x:.1f} {half:.1f} {x_next:.1f} {half:.1f} {x_next:.1f} {top:.1f}V{below:.1f}")
                x, bottom = x_next, below
            parts.append(f'<path class="line" data-from="{boxes[source].value}" data-to="{b.value}" '
                         f'd="{"".join(d)}"/>')
    return parts


def _box(b: _Box, x: float, y: float) -> str:
    width, height = b.size
    title = html.escape(b.title)
    note = f'<text class="note" x="{x:.1f}" y="{y + 11:.1f}">{html.escape(b.note)}</text>' if b.note else ""
    return (f'<g class="node {b.kind}" data-value="{b.value}" role="button" tabindex="-1" '
            f'aria-label="{html.escape(f"{b.title} {b.note}".strip())}">'
            f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:g}" '
            f'rx="{13 if b.kind == "input" else 5}"/>'
            f'<text x="{x:.1f}" y="{y - 3 if b.note else y + 4:.1f}">{title}</text>{note}</g>')


def _columns(text: str) -> float:
    """Width in columns: Chinese is wider, a combining accent has none."""
    return sum(0 if unicodedata.combining(c) else 1.7 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in text)
