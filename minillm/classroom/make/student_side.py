"""What runs on the student's machine: `public_checks` copies this file, with another block at its top.

The copy needs NumPy, and pytest only where `pytest` is typed. It never shows a traceback of its own.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    import numpy as np
except ImportError:
    sys.exit("these checks need NumPy: pip install numpy")

# BEGIN TABLE
from minillm.classroom.intake.entries import Refused
from minillm.classroom.intake.source_text import _utf8
from minillm.classroom.judge import _of_output

FILE, LANG, HIDDEN, NUMBERS = "adam.py", "en", 0, True
IMPORTS: tuple[str, ...] = ("numpy",)
NEEDED: dict[str, tuple[str, str]] = {}
ROWS: tuple[dict[str, Any], ...] = ()


def scenarios() -> dict[str, tuple[Any, ...]]:
    """For each check: what is done with the student's file, and how the numbers are compared."""
    return {}


# END TABLE


@dataclass(frozen=True)
class Check:
    """One public check.

    Attributes:
        name, en, zh: what it is called.
        cases: how many inputs it has.
        rtol, atol: how near is equal.
        own: how it compares: "" number by number; "here", with a function of its own; "graded", with one that
            cannot be given away, so that here only names, shapes and kinds of numbers are compared.
        speed: time counts too when the work is graded.
        seconds: how long a case may take when the work is graded.
        mutation: the functions that the student's tests are about; then there are no cases.
    """

    name: str
    en: str
    zh: str
    cases: int
    rtol: float
    atol: float
    own: str = ""
    speed: bool = False
    seconds: float = 5.0
    mutation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """What became of a check: "right", "wrong" or "not written", and what there is to say about it."""

    kind: str
    en: str = ""
    zh: str = ""


HERE = Path(__file__).resolve().parent
CHECKS = tuple(Check(**row) for row in ROWS)
_WORDS = {"right": ("right", "正确"), "wrong": ("wrong", "不对"),
          "not written": ("not written yet", "还没写")}
_done: dict[str, Said] = {}
_loaded: list[Any] = []


def told(en: str, zh: str) -> str:
    """A text in the language of these checks; MINILLM_LANG=zh or en asks for the other one."""
    lang = os.environ.get("MINILLM_LANG", LANG)
    return {"zh": zh, "both": f"{en} / {zh}"}.get(lang, en)


def load() -> Any:
    """The student's file as a module, or a Said on why there is none; it is run once."""
    if not _loaded:
        _loaded.append(_load(HERE / FILE))
    return _loaded[0]


def _load(path: Path) -> ModuleType | Said:
    if not path.is_file():
        return Said("wrong", f"{FILE} is not in this folder", f"这个文件夹里没有 {FILE}")
    try:  # Python itself lets bytes that are not UTF-8 pass in a comment
        _utf8(path.read_bytes(), FILE)
    except Refused as error:
        return Said("wrong", error.en, error.zh)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return failed(error)
    return module


def check(row: Check, show: bool = False) -> Said:
    """Try one check on the stored numbers.

    Args:
        row: which.
        show: print the traceback if the student's code raises something.
    """
    student = load()
    if isinstance(student, Said):
        return student
    if row.mutation:
        return tried_on_nothing(row, student)
    run, compare = scenarios()[row.name]
    slowest, remark = 0.0, Said("right")
    with np.load(HERE / "test_public.npz", allow_pickle=False) as stored:
        for case in range(row.cases):
            inputs, want = ({key.split("/", 3)[3]: np.array(stored[key]) for key in stored.files
                             if key.startswith(f"{row.name}/{case}/{what}/")} for what in ("in", "out"))
            began = time.perf_counter()
            try:
                got = run(student, {name: array.copy() for name, array in inputs.items()})
                slowest = max(slowest, time.perf_counter() - began)
                said = _wrong(row, got, want, inputs, compare)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if show:
                    traceback.print_exception(type(error), error, _theirs(error) or error.__traceback__)
                said = failed(error)
            if said is not None and said.kind == "right":
                remark = said
            elif said is not None:
                if row.cases == 1 or said.kind != "wrong":
                    return said
                return Said("wrong", f"example {case + 1} of {row.cases}: {said.en}",
                            f"{row.cases} 个例子中的第 {case + 1} 个：{said.zh}")
    return _right(row, slowest, remark)


def tried_on_nothing(row: Check, student: Any) -> Said:
    """Try the student's tests on a function that returns nothing: a test that passes checks nothing.

    Neither right nor cleverly wrong versions of the function are here; those are with the grader.
    """
    names = ", ".join(row.mutation)
    tests = {name: f for name, f in vars(student).items() if name.startswith("test") and callable(f)
             and {*row.mutation} & {*inspect.signature(f).parameters}}
    if not tests:
        return Said("wrong", f"{FILE} has no test: a function test_...({names})",
                    f"{FILE} 里没有测试：需要形如 test_...({names}) 的函数")
    for name, test in tests.items():
        wanted = {*inspect.signature(test).parameters} & {*row.mutation}
        try:
            test(**{function: lambda *given, **options: None for function in wanted})
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, NotImplementedError | SystemExit):
                return failed(error)
            continue
        return Said("wrong", f"{name} passes for a function that returns nothing: what does it check?",
                    f"{name} 对什么都不返回的函数也通过：它检查了什么？")
    return Said("right", f"none of your tests ({len(tests)}) passes for a function that returns nothing. "
                "Whether they accept right versions, and which wrong ones they catch, is seen when it is "
                "graded",
                f"共 {len(tests)} 个测试，对什么都不返回的函数都不通过。"
                "它们能否接受正确的版本、能抓住哪些错误的版本，要到评分时才知道")


def _right(row: Check, slowest: float, remark: Said) -> Said:
    en, zh = [remark.en] * bool(remark.en), [remark.zh] * bool(remark.zh)
    if row.own == "graded":
        en += ["names, shapes and kinds of numbers; the numbers themselves are looked at when it is graded"]
        zh += ["名称、形状和数的类型；数值本身在评分时检查"]
    if row.speed:
        en += [f"its speed ({slowest:.2g} s here) is measured when it is graded, against the reference"]
        zh += [f"速度（这里用了 {slowest:.2g} 秒）在评分时与参考实现比较"]
    if slowest > row.seconds:
        en += [f"it took {slowest:.2g} s here; when it is graded, {row.seconds:g} s are allowed"]
        zh += [f"这里用了 {slowest:.2g} 秒；评分时最多 {row.seconds:g} 秒"]
    return Said("right", "; ".join(en), "；".join(zh))


def _wrong(row: Any, given: Any, want: Mapping[str, Any], inputs: Mapping[str, Any],
           compare: Callable[..., Any] | None) -> Said | None:
    """What is wrong with the numbers of one case; ("right", ...) from `compare` is a remark on right ones."""
    got = {name: np.array(value, subok=False) for name, value in given.items()}
    for name, array in got.items():
        if array.dtype.kind not in "biufc":
            return Said("wrong", f"{name} is {type(given[name]).__name__}, not numbers",
                        f"{name} 是 {type(given[name]).__name__}，不是数")
    if set(got) != set(want):
        return Said("wrong", "what came back does not have the parts that are asked for",
                    "返回的各部分与所要的不符")
    if row.own == "here" and compare is not None:
        try:
            said = compare({n: a.copy() for n, a in got.items()}, dict(want), dict(inputs))
            return None if said is None else Said(*said) if said[0] == "right" else Said("wrong", *said)
        except Exception:  # an answer that it is not made for: the shape, most likely
            fault = next(filter(None, (_of_output(n, got[n], want[n], row, True) for n in want)), None)
            return Said("wrong", fault.en, fault.zh) if fault else Said(
                "wrong", "the answer cannot be compared with the right one", "无法与正确答案比较")
    for name, right in want.items():
        if row.own == "graded":
            mine = got[name].shape
            if mine != right.shape:
                return Said("wrong", f"{name} has shape {mine}; it should have shape {right.shape}",
                            f"{name} 的形状是 {mine}，应为 {right.shape}")
            continue
        fault = _of_output(name, got[name], right, row, True)
        if fault is not None:
            return Said("wrong", fault.en, fault.zh)
    return None


def failed(error: BaseException) -> Said:
    """An exception of the student's code, in a line."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if Path(f.filename).resolve() == HERE / FILE]
    broken = isinstance(error, SyntaxError) and error.filename and Path(error.filename).name == FILE
    number = error.lineno if broken and isinstance(error, SyntaxError) else mine[-1].lineno if mine else None
    at, zh_at = (f"{FILE}, line {number}: ", f"{FILE} 第 {number} 行：") if number else ("", "")
    if broken and isinstance(error, SyntaxError):
        return Said("wrong", f"{at}not Python: {error.msg}", f"{zh_at}不是合法的 Python：{error.msg}")
    if isinstance(error, AttributeError) and not mine and isinstance(error.obj, ModuleType):
        return Said("wrong", f"{FILE} has no {error.name}", f"{FILE} 里没有 {error.name}")
    if isinstance(error, NotImplementedError):
        name = mine[-1].name if mine else FILE
        return Said("not written", f"{name} is not written yet", f"{name} 还没写")
    if isinstance(error, ModuleNotFoundError):
        missing = str(error.name).partition(".")[0]
        if missing in NEEDED:
            en, zh = NEEDED[missing]
            return Said("wrong", f"{at}{missing} is not installed: {en}", f"{zh_at}没有安装 {missing}：{zh}")
    message = " ".join(str(error).split())
    what = type(error).__name__ + (f": {message[:200]}" if message else "")
    if isinstance(error, SystemExit):
        return Said("wrong", f"{at}it ends the program ({what})", f"{zh_at}它结束了整个程序（{what}）")
    if not mine:
        return Said("wrong", f"what came back cannot be used: {what}", f"返回的东西无法使用：{what}")
    line = f" ({mine[-1].line})" if mine[-1].line else ""
    return Said("wrong", f"{at}{what}{line}", f"{zh_at}{what}{line}")


def _theirs(error: BaseException) -> Any:
    """The traceback from the student's file on."""
    found = error.__traceback__
    while found is not None and Path(found.tb_frame.f_code.co_filename).resolve() != HERE / FILE:
        found = found.tb_next
    return found


def banned() -> list[str]:
    """Modules that the student's file imports and that are not there when it is graded."""
    try:
        tree = ast.parse((HERE / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return []
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return sorted({name.partition(".")[0] for name in names} - {*IMPORTS, "__future__", ""})


def summary() -> str:
    """The last lines: what was right here, and what is still to come."""
    right, tried = sum(said.kind == "right" for said in _done.values()), len(_done)
    lines = []
    if modules := ", ".join(banned()):
        lines.append(told(f"{FILE} imports {modules}; when it is graded, it may import "
                          f"{', '.join(IMPORTS)}.",
                          f"{FILE} 导入了 {modules}；评分时只能导入 {'、'.join(IMPORTS)}。"))
    again, zh_again = (", and so do these on other numbers.", "；评分时，这些公开测试也会换一组数再跑一遍。")
    if not NUMBERS:  # tests are what is handed in: they are shown more versions, not other numbers
        again, zh_again = (", and your tests are shown more versions.", "；评分时，你的测试会遇到更多版本。")
    lines.append(told(f"public checks: {right} of {tried}. Hidden checks ({HIDDEN}) run when your work is "
                      f"graded{again}",
                      f"公开测试：{tried} 项中通过 {right} 项。"
                      f"隐藏测试（{HIDDEN} 项）在评分时运行{zh_again}"))
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Try the checks of these names, or all of them; 0 if all are right."""
    if unknown := [name for name in names if name not in {row.name for row in CHECKS}]:
        listed = ", ".join(row.name for row in CHECKS)
        print(told(f"no check is called {unknown[0]}; there are {listed}",
                   f"没有叫 {unknown[0]} 的测试；有 {listed}"))
        return 2
    for row in CHECKS:
        if not names or row.name in names:
            said = _done[row.name] = check(row, show=bool(names))
            more = told(said.en, said.zh) if said.en else ""
            print(f"{told(*_WORDS[said.kind])}: {row.name}, {told(row.en, row.zh)}", flush=True)
            if more:
                print(f"    {more}", flush=True)
    print("\n" + summary())
    return 0 if all(said.kind == "right" for said in _done.values()) else 1


# pytest finds the next three.


def pytest_generate_tests(metafunc: Any) -> None:
    """One test for each public check."""
    metafunc.parametrize("row", CHECKS, ids=[row.name for row in CHECKS])
    if not metafunc.config.pluginmanager.has_plugin("public_checks"):
        metafunc.config.pluginmanager.register(_Last(), "public_checks")


class _Last:
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The last lines, below pytest's own."""
        terminalreporter.write_line(summary())


def test_public(row: Check) -> None:
    """One public check."""
    said = _done[row.name] = check(row)
    if said.kind != "right":
        import pytest

        pytest.fail(f"{told(*_WORDS[said.kind])}: {told(said.en, said.zh)}", pytrace=False)


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a console that cannot show Chinese shows question marks
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(told("\nstopped", "\n已停止"))
