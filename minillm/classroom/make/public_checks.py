"""The public checks of an assignment, for the student's machine: test_public.py and test_public.npz."""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minillm.classroom import judge
from minillm.classroom.assignment import Assignment, Test, seed
from minillm.classroom.intake import entries as handed_in
from minillm.classroom.intake import source_text
from minillm.classroom.scenario import Scenario
from minillm.course.compare import close
from minillm.errors import UserError

from .archive import npz
from .readme import under_test
from .standalone import statements

# Not the secret of any course: the numbers of the public checks are the same for everybody.
PUBLIC = b"public"
LARGEST = 16 << 20  # bytes of stored arrays; cases beyond it are left out, but never a check's first
# What the student installs where a module of an assignment is missing.
_INSTALL = {"numpy": "numpy", "triton": "triton"}


def public_checks(assignment: Assignment, lang: str) -> dict[str, bytes]:
    """test_public.py, and test_public.npz with the inputs and the reference's results.

    Args:
        assignment: with its reference.
        lang: language of what the checks say: "en", "zh" or "both".

    Raises:
        UserError: the reference cannot be run here, or gives something else than numbers.
        AssignmentError: the assignment is at fault.
    """
    public = [t for t in assignment.tests if t.visibility == "public"]
    arrays: dict[str, np.ndarray] = {}
    rows = []
    functions: list[ast.stmt] = []
    entries = []
    room = LARGEST
    for test in public:
        scenario = assignment.scenarios[test.name]
        if scenario.run is None:  # the versions that the tests are tried on stay with the grader
            entries.append(f"{test.name!r}: (None, None)")
            rows.append(_row(assignment, test, scenario, 0, ""))
            continue
        run = ast.parse(scenario.run_source()).body[0]
        assert isinstance(run, ast.FunctionDef)
        run.name = f"run_{test.name}"
        functions.append(run)
        own = ""
        compare = "None"
        if scenario.compare is not None:
            needed = statements([scenario.compare])
            own = "graded" if needed is None else "here"
            if needed is not None:
                functions += [one for one in needed if ast.dump(one) not in map(ast.dump, functions)]
                compare = scenario.compare.__name__
        entries.append(f"{test.name!r}: ({run.name}, {compare})")
        cases = 0
        for case in range(scenario.cases):
            stored = _case(assignment, test, case, hide=own == "graded")
            size = sum(a.nbytes for a in stored.values())
            if cases and size > room:
                break
            room -= size
            cases += 1
            arrays |= stored
        rows.append(_row(assignment, test, scenario, cases, own))
    return {"test_public.py": _text(assignment, lang, rows, functions, entries).encode(),
            "test_public.npz": npz(arrays)}


def _case(assignment: Assignment, test: Test, case: int, hide: bool) -> dict[str, np.ndarray]:
    """The inputs of a case and what the reference makes of them."""
    scenario = assignment.scenarios[test.name]
    assert scenario.inputs is not None
    assert scenario.run is not None
    where = f"{assignment.id}, test {test.name}"
    if "triton" in assignment.imports:
        os.environ.setdefault("TRITON_INTERPRET", "1")  # no GPU is needed to make an assignment
    given = _numbers(scenario.inputs(seed(PUBLIC, assignment.id, "", test.name, case)), f"{where}: inputs")
    try:
        with np.errstate(all="ignore"):
            done = scenario.run(assignment.reference, {name: array.copy() for name, array in given.items()})
    except ModuleNotFoundError as error:
        raise UserError(f"{where} needs a package here: pip install {error.name}") from None
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{where}: the reference raises {what}") from None
    want = _numbers(done, f"{where}: what run returns")
    if hide:  # one of many right answers; only its shape is compared
        want = {name: np.zeros_like(array) for name, array in want.items()}
    return {f"{test.name}/{case}/in/{n}": a for n, a in given.items()} | {
        f"{test.name}/{case}/out/{n}": a for n, a in want.items()}


def _numbers(given: Mapping[str, Any], what: str) -> dict[str, np.ndarray]:
    arrays = {name: np.array(value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise UserError(f"{what}: {name} has dtype {array.dtype}, not numbers")
        if "/" in name or "\\" in name:
            raise UserError(f"{what}: the name {name!r} has a slash in it")
    return arrays


def _row(assignment: Assignment, test: Test, scenario: Scenario, cases: int, own: str) -> dict[str, Any]:
    mutation = () if scenario.run else scenario.mutation
    return {"name": test.name, "en": test.title, "zh": test.title_zh, "cases": cases, "rtol": scenario.rtol,
            "atol": scenario.atol, "own": own, "speed": bool(scenario.speed),
            "seconds": float(scenario.seconds or assignment.limits.seconds), "mutation": mutation}


def _text(assignment: Assignment, lang: str, rows: list[dict[str, Any]], functions: list[ast.stmt],
          entries: list[str]) -> str:
    """student_side.py with this assignment's block."""
    source = (Path(__file__).parent / "student_side.py").read_text(encoding="utf-8")
    head, _, rest = source.partition("# BEGIN TABLE\n")
    _, _, tail = rest.partition("# END TABLE\n")
    docstring, _, imports = head.partition("\nfrom __future__")
    del docstring
    hidden = sum(t.visibility == "hidden" for t in assignment.tests)
    needed = {m: _how(m, m in assignment.provide) for m in (*assignment.imports, *assignment.provide)
              if m not in sys.stdlib_module_names}
    interpret = ('os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton on a machine without a GPU\n'
                 if "triton" in assignment.imports else "")
    table = "\n".join(f"    dict({', '.join(f'{k}={v!r}' for k, v in row.items())})," for row in rows)
    made = ast.parse(f"def scenarios():\n    return {{{', '.join(entries)}}}\n").body[0]
    assert isinstance(made, ast.FunctionDef)
    made.body = [*functions, *made.body]
    words = "\n\n\n".join((
        "# Whether the file is text as the grader reads it.\nimport codecs\nimport re\nimport unicodedata",
        _copied(handed_in, "Refused", "shown"), _copied(source_text, "_utf8"),
        "# How two arrays are compared.", _copied(judge, "_of_output"), inspect.getsource(close)))
    tongue = "zh" if lang == "zh" else "en"
    again = _AGAIN["tests" if under_test(assignment) else "numbers", tongue]
    return (f'"""{_DOC[tongue].format(file=assignment.file, again=again)}"""\n\n'
            f"from __future__{imports}"
            f"{interpret}FILE, LANG, HIDDEN, NUMBERS = "
            f"{assignment.file!r}, {lang!r}, {hidden}, {not under_test(assignment)}\n"
            f"IMPORTS = {tuple(dict.fromkeys((*assignment.imports, *assignment.provide)))!r}\n"
            f"NEEDED = {needed!r}\nROWS = (\n{table}\n)\n\n\n"
            f"# What each check does with your file, and how the numbers are compared.\n"
            f"{ast.unparse(made)}\n\n\n{words}{tail}")


def _copied(module: ModuleType, *names: str) -> str:
    """The source of these functions, and of what they use of their own module, in its order."""
    text = inspect.getsource(module)
    there = {name: node for node in ast.parse(text).body for name in _defines(node)}
    wanted: set[str] = set()
    todo = [*names]
    while todo:
        name = todo.pop()
        if name not in wanted and name in there:
            wanted.add(name)
            todo += [node.id for node in ast.walk(there[name]) if isinstance(node, ast.Name)]
    found = ((ast.get_source_segment(text, node) or "") if isinstance(node, ast.Assign) else
             inspect.getsource(getattr(module, name)) for name, node in there.items() if name in wanted)
    return "\n\n\n".join(one.rstrip("\n") for one in found)


def _defines(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _how(module: str, provided: bool) -> tuple[str, str]:
    """How to get a module."""
    if provided or module in ("minillm", "kernels"):
        return ("it comes with minillm: `pip install -e .` in minillm's checkout",
                "它随 minillm 一起安装：在 minillm 的源码目录里运行 `pip install -e .`")
    return (f"pip install {_INSTALL.get(module, module)}",) * 2


_DOC = {
    "en": """The public checks of {file}: `python test_public.py`, or `pytest`, in this folder.

`python test_public.py NAME` tries one check and shows where your code raised an error, if it did.
{again}
""",
    "zh": """{file} 的公开测试：在这个文件夹里运行 `python test_public.py` 或 `pytest`。

`python test_public.py 名称` 只跑一项；如果你的代码出错，会显示出错的位置。
{again}
""",
}
_AGAIN = {
    ("numbers", "en"): "Your work is graded on other numbers than those in test_public.npz, and by hidden "
                       "checks too.",
    ("numbers", "zh"): "评分时用的数与 test_public.npz 里的不同，另外还有隐藏测试。",
    ("tests", "en"): "When your work is graded, your tests are shown more versions than there are here.",
    ("tests", "zh"): "评分时，你的测试会遇到比这里更多的版本。",
}
