"""What a lesson's checks.py declares: exercises with cases, references, hints and known wrong versions."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .compare import Name


@dataclass(frozen=True)
class Exercise:
    """A function to write, and how to tell what is wrong with it.

    Attributes:
        name: of the function.
        cases: cases(rng) -> tuples of arguments, the same for the same rng; small ones first. They are made
            anew for each function that is run, so that none sees what another left.
        reference: what is right, called with the same arguments.
        hints: (English, Chinese), from vague to concrete.
        statement_zh: the function's docstring in Chinese: what to write, formula, arguments with their
            shapes, result. A literal text, as it is also read without running the file; its indentation is
            taken off.
        wrong: key -> (function, English, Chinese): a known wrong version, and what a tutor says to it.
        why: (English, Chinese), shown after success: why it works. Empty: the last hint.
        rtol, atol: |got - expected| may be atol + rtol |expected|.
        outputs: names of the results where there are several, such as ("loss", "dlogits"), or
            ("the steps taken", "走过的步数") where the languages differ.
        in_place: which arguments the function changes; these are compared, all others must stay as they are.
        run: run(function, *arguments) -> what is compared, where that is not function(*arguments).
        seconds: how long the function may take for all cases.
    """

    name: str
    cases: Callable[[np.random.Generator], Iterable[tuple[Any, ...]]]
    reference: Callable[..., Any]
    hints: Sequence[tuple[str, str]]
    wrong: Mapping[str, tuple[Callable[..., Any], str, str]] = field(default_factory=dict)
    why: tuple[str, str] = ("", "")
    rtol: float = 1e-6
    atol: float = 1e-9
    outputs: tuple[Name, ...] = ()
    in_place: tuple[int, ...] = ()
    run: Callable[..., Any] | None = None
    seconds: float = 10.0
    statement_zh: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "statement_zh", inspect.cleandoc(self.statement_zh))
        if not self.name.isidentifier():
            raise ValueError(f"exercise {self.name!r} is not a function's name")
        if not self.hints:
            raise ValueError(f"exercise {self.name}: at least one hint")
        texts = {f"hint {i + 1}": hint for i, hint in enumerate(self.hints)}
        texts |= {f"wrong version {key!r}": (w[1], w[2]) for key, w in self.wrong.items()}
        texts |= {"why": self.why} if any(self.why) else {}
        for what, (en, zh) in texts.items():
            if not en.strip() or not re.search(r"[\u4e00-\u9fff]", zh):
                raise ValueError(f"exercise {self.name}, {what}: needs its text in English and in Chinese")
        if '"""' in self.statement_zh or self.statement_zh.endswith(("\\", '"')):
            raise ValueError(f'exercise {self.name}, statement_zh: a docstring has no """ in it, and ends in '
                             'no backslash and no "')

    def arguments(self) -> list[tuple[Any, ...]]:
        """The cases, made anew; seeded by the exercise's name."""
        return [tuple(case) for case in self.cases(np.random.default_rng(zlib.crc32(self.name.encode())))]

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """What is compared: the function's result, and the arguments that it is meant to change."""
        result = function(*args) if self.run is None else self.run(function, *args)
        if not self.in_place:
            return result
        changed = tuple(args[i] for i in self.in_place)
        return changed if result is None else (result, *changed)

    def explanation(self, lang: str) -> str:
        """Why the right answer works."""
        return (self.why if any(self.why) else self.hints[-1])[lang == "zh"]


def load_exercises(path: str | Path) -> dict[str, Exercise]:
    """The exercises of a checks.py, by name, in its order.

    Raises:
        ValueError: it has no list EXERCISES, or one twice.
        What running it raises.
    """
    path = Path(path)
    name = "_checks_" + re.sub(r"\W", "_", path.resolve().parent.name)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # an installed package is not written to
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        sys.modules.pop(name, None)
    listed = getattr(module, "EXERCISES", None)
    if not isinstance(listed, list) or not all(isinstance(e, Exercise) for e in listed):
        raise ValueError(f"{path.name} has no list EXERCISES of Exercise(...)")
    found = {e.name: e for e in listed}
    if len(found) < len(listed):
        raise ValueError(f"{path.name} lists an exercise twice")
    return found
