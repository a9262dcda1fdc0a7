"""A place for every box of a directed graph: layers from top to bottom, few crossings, short lines.

The method is Sugiyama's, in four steps: layers, order within a layer, x, y. A line that passes a
layer gets a place of its own there, so that it runs between the boxes and not over them; all lines
from one box share these places, and so leave it as one trunk with branches.

Source: Sugiyama, Tagawa & Toda 1981; the x-coordinates as isotonic regression (pool adjacent
violators, Barlow et al. 1972).
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LAYER_GAP = 34.0  # at least; more where lines go far sideways
BOX_GAP = 22.0
LINE_GAP = 12.0
PORT_GAP = 16.0


@dataclass(frozen=True)
class Layout:
    """Where things are, in pixels, in a picture from (0, 0) to (width, height).

    Attributes:
        boxes: centre (x, y) of each box.
        lines: for each box, for each of its inputs in order, the line from that input: a list of
            (x, top, bottom), one per layer; the line is upright from top to bottom, and curved
            between one layer and the next.
        crossings: how often lines cross.
    """

    width: float
    height: float
    boxes: list[tuple[float, float]]
    lines: list[list[list[tuple[float, float, float]]]]
    crossings: int


@dataclass
class _Place:
    """A box, or the place in a layer where a trunk passes."""

    layer: int
    width: float
    ups: list[tuple[int, float]] = field(default_factory=list)  # (place above, port's distance from my x)
    downs: list[tuple[int, float]] = field(default_factory=list)  # (place below, its port's distance)
    passing: bool = False
    x: float = 0.0


def layered(sizes: Sequence[tuple[float, float]], inputs: Sequence[Sequence[int]],
            close: Collection[int] = ()) -> Layout:
    """Lay out boxes of the given (width, height); box i has lines coming in from `inputs[i]`.

    Args:
        sizes: (width, height) of each box.
        inputs: for each box the boxes its lines come from, all with smaller numbers, left to right.
        close: boxes that shall stand directly below their (one) input.
    """
    layer_of = _layers(inputs)
    for v in close:
        layer_of[v] = layer_of[inputs[v][0]] + 1
    places = [_Place(layer, w) for layer, (w, _) in zip(layer_of, sizes)]
    routes = _route(places, inputs)
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for v in _depth_first(places, len(inputs)):
        layers[places[v].layer].append(v)
    layers, crossings = _with_few_crossings(places, layers)
    _set_x(places, layers)

    left = min((p.x - p.width / 2 for p in places), default=0.0)
    for p in places:
        p.x -= left
    heights = [max(sizes[v][1] for v in layer if v < len(sizes)) for layer in layers]
    tops = [0.0]
    for layer, height in zip(layers, heights):
        sideways = max((abs(places[v].x + port - places[u].x)
                        for u in layer for v, port in places[u].downs), default=0.0)
        tops.append(tops[-1] + height + min(max(LAYER_GAP, sideways / 5), 2 * LAYER_GAP))
    boxes = [(p.x, tops[p.layer] + heights[p.layer] / 2) for p in places[:len(sizes)]]

    def line(v: int, port: int, route: list[int]) -> list[tuple[float, float, float]]:
        source = route[0]
        points = [(places[source].x, boxes[source][1] + sizes[source][1] / 2,
                   tops[places[source].layer] + heights[places[source].layer])]
        for u in route[1:]:
            top = tops[places[u].layer]
            points.append((places[u].x, top, top + heights[places[u].layer]))
        end = boxes[v][1] - sizes[v][1] / 2
        x = places[v].x + _port(port, len(routes[v]), sizes[v][0])
        return [*points, (x, tops[places[v].layer], end)]

    lines = [[line(v, i, route) for i, route in enumerate(routes[v])] for v in range(len(inputs))]
    return Layout(max((p.x + p.width / 2 for p in places), default=0.0),
                  tops[len(heights) - 1] + heights[-1] if heights else 0.0, boxes, lines, crossings)


def _layers(inputs: Sequence[Sequence[int]]) -> list[int]:
    """Each box as low as its users allow, so that a leaf stands just above where it is first used."""
    height = [0] * len(inputs)  # longest way down to a box that nobody uses
    for v in reversed(range(len(inputs))):
        for u in inputs[v]:
            height[u] = max(height[u], height[v] + 1)
    top = max(height, default=0)
    return [top - h for h in height]


def _port(i: int, n: int, width: float) -> float:
    """Where the i-th of n lines enters a box, seen from its middle."""
    return (i - (n - 1) / 2) * min(PORT_GAP, width / (n + 1))


def _route(places: list[_Place], inputs: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Add the places that lines pass; give for each line its way, without its last box."""
    trunks: dict[tuple[int, int], int] = {}  # (box, layer) -> its place there
    routes: list[list[list[int]]] = []
    for v, sources in enumerate(inputs):
        routes.append([])
        for i, u in enumerate(sources):
            way = [u]
            for layer in range(places[u].layer + 1, places[v].layer):
                if (u, layer) not in trunks:
                    trunks[u, layer] = len(places)
                    places.append(_Place(layer, LINE_GAP, passing=True))
                    _connect(places, way[-1], trunks[u, layer], 0.0)
                way.append(trunks[u, layer])
            _connect(places, way[-1], v, _port(i, len(sources), places[v].width))
            routes[v].append(way)
    return routes


def _connect(places: list[_Place], upper: int, lower: int, port: float) -> None:
    places[upper].downs.append((lower, port))
    places[lower].ups.append((upper, port))


def _depth_first(places: list[_Place], n_boxes: int) -> list[int]:
    """From the last box upwards, left inputs first: for a tree there are no crossings in this order."""
    order: list[int] = []
    seen: set[int] = set()
    for root in reversed(range(n_boxes)):
        stack = [root]
        while stack:
            v = stack.pop()
            if v not in seen:
                seen.add(v)
                order.append(v)
                stack += [u for u, _ in reversed(places[v].ups)]
    return order


def _with_few_crossings(places: list[_Place], layers: list[list[int]],
                        sweeps: int = 12) -> tuple[list[list[int]], int]:
    """Sort each layer by the mean position of its neighbours, down and up; keep the best order."""
    position = [0.0] * len(places)

    def number(layer: list[int]) -> None:
        for i, v in enumerate(layer):
            position[v] = i

    for layer in layers:
        number(layer)
    best, fewest = [layer[:] for layer in layers], _crossings(places, layers, position)
    for sweep in range(sweeps):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            mean = {}
            for v in layer:
                there = _above(places[v], position) if down else _below(places, v, position)
                mean[v] = sum(there) / len(there) if there else position[v]
            layer.sort(key=mean.__getitem__)
            number(layer)
        for layer in layers:
            _swap_neighbours(places, layer, position)
        found = _crossings(places, layers, position)
        if found < fewest:
            best, fewest = [layer[:] for layer in layers], found
    return best, fewest


def _swap_neighbours(places: list[_Place], layer: list[int], position: list[float]) -> None:
    """Exchange two that stand side by side where that undoes more crossings than it makes."""
    for i in range(len(layer) - 1):
        a, b = layer[i], layer[i + 1]
        gain = 0
        for ends_a, ends_b in ((_above(places[a], position), _above(places[b], position)),
                               (_below(places, a, position), _below(places, b, position))):
            gain += sum((x > y) - (x < y) for x in ends_a for y in ends_b)
        if gain > 0:
            layer[i], layer[i + 1] = b, a
            position[a], position[b] = i + 1, i


def _above(p: _Place, position: list[float]) -> list[float]:
    return [position[u] for u, _ in p.ups]


def _below(places: list[_Place], v: int, position: list[float]) -> list[float]:
    """Where v's lines arrive: a box's ports lie less than one position apart."""
    return [position[u] + port / (1 + places[u].width) for u, port in places[v].downs]


def _crossings(places: list[_Place], layers: list[list[int]], position: list[float]) -> int:
    """Two lines cross if their ends are in opposite orders: count the inversions."""
    total = 0
    for layer in layers:
        ends: list[tuple[float, float]] = []
        for v in layer:
            ends += [(position[v], there) for there in _below(places, v, position)]
        seen: list[float] = []
        for _, lower in sorted(ends):
            total += len(seen) - bisect(seen, lower)
            insort(seen, lower)
    return total


def _set_x(places: list[_Place], layers: list[list[int]], sweeps: int = 24) -> None:
    """Minimise sum w (length of a line sideways)^2, layer by layer, boxes kept apart and in order."""
    for layer in layers:
        x = 0.0
        for a, v in zip([None, *layer], layer):
            x += 0.0 if a is None else _apart(places[a], places[v])
            places[v].x = x
    for sweep in range(sweeps):
        down = sweep % 2 == 0
        both = sweep >= 4  # at first each layer follows the one before it, then it listens to both
        for layer in layers if down else reversed(layers):
            wished, weights = [], []
            for v in layer:
                p = places[v]
                pulls = []
                if down or both:
                    pulls += [(places[u].x - port, _weight(p, places[u])) for u, port in p.ups]
                if both or not down:
                    pulls += [(places[u].x + port, _weight(p, places[u])) for u, port in p.downs]
                weight = sum(w for _, w in pulls)
                wished.append(sum(x * w for x, w in pulls) / weight if pulls else p.x)
                weights.append(weight or 1e-3)
            gaps = [_apart(places[a], places[b]) for a, b in pairwise(layer)]
            for v, x in zip(layer, nearest_apart(wished, weights, gaps)):
                places[v].x = x
    _straighten(places, layers)


def _straighten(places: list[_Place], layers: list[list[int]], sweeps: int = 6) -> None:
    """Let trunks bend only where a box is in the way, once instead of a little in every layer."""
    for sweep in range(sweeps):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            for i, v in enumerate(layer):
                p = places[v]
                near = [places[u].x for u, _ in (p.ups if down else p.downs) if places[u].passing]
                if p.passing and near:
                    x = min(near, key=lambda there: abs(there - p.x))
                    if i > 0:
                        x = max(x, places[layer[i - 1]].x + _apart(places[layer[i - 1]], p))
                    if i + 1 < len(layer):
                        x = min(x, places[layer[i + 1]].x - _apart(p, places[layer[i + 1]]))
                    p.x = x


def _weight(a: _Place, b: _Place) -> float:
    """A trunk had better be straight, and a chain of ops; a leaf may stand aside."""
    if a.passing or b.passing:
        return 8.0 if a.passing and b.passing else 2.0
    return 8.0 if a.ups and b.ups else 1.0


def _apart(a: _Place, b: _Place) -> float:
    return (a.width + b.width) / 2 + (LINE_GAP if a.passing and b.passing else BOX_GAP)


def nearest_apart(wished: Sequence[float], weights: Sequence[float],
                  gaps: Sequence[float]) -> list[float]:
    """The x that minimise sum_i w_i (x_i - wished_i)^2 subject to x_{i+1} - x_i >= gaps_i.

    With the gaps taken off, x must not fall: neighbours that would are pooled to their mean.
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    for x, w, offset in zip(wished, weights, offsets):
        mean, weight, n = x - offset, w, 1
        while pools and pools[-1][0] > mean:
            other, their_weight, m = pools.pop()
            mean = (mean * weight + other * their_weight) / (weight + their_weight)
            weight, n = weight + their_weight, n + m
        pools.append((mean, weight, n))
    flat = [mean for mean, _, n in pools for _ in range(n)]
    return [x + offset for x, offset in zip(flat, offsets)]
