"""How the program writes what a step does: the line at work, and the variables that its results go to."""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from typing import TYPE_CHECKING

from .source import Place, augmented, expression, statement

if TYPE_CHECKING:
    from .recording import Recording, Step

_LINES = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return | ast.Expr


def line_at_work(step: Step) -> tuple[ast.AST, ast.AST] | None:
    """(the line, the part of it that is computed) as syntax trees; of an `if`, only the expression.

    A loop over a Tensor takes its elements one by one: of `for v in p` that is `v = p[2]`.
    None where the source cannot be read.
    """
    if not step.places:
        return None
    place = step.places[-1]
    loop = loop_of(place) if step.item is not None else None
    if loop is not None:
        target, over = loop
        part = ast.Subscript(over, ast.Constant(step.item), ast.Load())
        return ast.Assign([target], part), part
    now, whole = expression(place), statement(place)
    in_place = augmented(place)
    if in_place is not None:
        return in_place, in_place
    if now is None:
        return None
    return (whole if isinstance(whole, _LINES) else now), now


def loop_of(place: Place) -> tuple[ast.Name, ast.expr] | None:
    """(the variable, what it runs over) of the loop that an element is taken for; None in any other line."""
    now = expression(place)
    if isinstance(now, ast.ListComp | ast.SetComp | ast.GeneratorExp) and len(now.generators) == 1:
        return _target(now.generators[0].target, now.generators[0].iter)
    found = statement(place)
    # Python 3.11 says that the `for` is at work, later versions what it runs over.
    is_loop = isinstance(found, ast.For) and (now is None or now is found.iter)
    if not isinstance(found, ast.For) or not is_loop or isinstance(now, ast.Subscript):
        return None
    return _target(found.target, found.iter)


def _target(target: ast.expr, over: ast.expr) -> tuple[ast.Name, ast.expr] | None:
    """`v` and p of `for v in p` and of `for i, v in enumerate(p)`."""
    match target, over:
        case ast.Name(), _:
            return target, over
        case ast.Tuple(elts=[_, ast.Name() as second]), ast.Call(func=ast.Name(id="enumerate"), args=[one]):
            return second, one
    return None


def unpacked_names(steps: list[Step]) -> dict[int, str]:
    """The variables of `a, b = np.split(x, 2)`, whose steps have one place: by the step that makes each."""
    found: dict[int, str] = {}
    for places, group in itertools.groupby(steps, key=lambda s: s.places):
        made = list(group)
        node = statement(places[-1]) if places else None
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [t.id if isinstance(t, ast.Name) else "" for t in node.targets[0].elts]
            if node.value is expression(places[-1]) and len(made) == len(names):
                found |= {s.index: name for s, name in zip(made, names, strict=True)}
    return found


# (line, which time there, how often it was changed in place); None for an argument and for the only time.
Again = tuple[int | None, int | None, int]


def named_alike(recording: Recording) -> dict[int, Again]:
    """Of `x = ...; x = f(x)`, which is which: by the numbers of the values whose names others have too.

    Returns:
        The line where the value got its name, None for an argument; and where several got it there, as in a
        loop, which of them it is, from 1. A value that was changed in place is told apart by that alone.
    """
    lines: dict[int, int | None] = {}
    changes: dict[int, int] = {}
    for v in recording.values:
        if v.was is not None:
            changes[v.index] = changes.get(v.was, 0) + 1
        elif v.name:
            places = () if v.made_by is None else recording.steps[v.made_by].places
            lines[v.index] = places[-1].line if places else None
    names = Counter(recording.values[i].name for i in [*lines, *changes])
    alike = Counter((recording.values[i].name, line) for i, line in lines.items())
    seen: Counter[tuple[str, int | None]] = Counter()
    found: dict[int, Again] = {i: (None, None, n) for i, n in changes.items()}
    for i, line in lines.items():
        name = recording.values[i].name
        seen[name, line] += 1
        if names[name] > 1:
            found[i] = line, seen[name, line] if alike[name, line] > 1 else None, 0
    return found
