"""What a submission is before it runs: is it there, is it text, is it Python, what does it import.

Evidence, not security: nothing here stops anything; the sandbox does. Even parsing is done in a process of
its own, because text made for it can keep Python's parser busy for ever or exhaust its stack.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .assignment import Assignment

LARGEST = 1 << 20  # bytes of a file that is still graded
SCAN_SECONDS = 10.0

# Runs as `python -I -S -c`: bytes of a file on stdin, what is in it as JSON on stdout.
_SCAN = r"""
import ast, json, sys, warnings
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
except (ImportError, ValueError, OSError):
    pass
warnings.simplefilter("ignore")
found = {"syntax": None, "imports": [], "defined": [], "tests": [], "calls": []}
try:
    tree = ast.parse(sys.stdin.buffer.read().decode("utf-8-sig"))
    compile(tree, "<submission>", "exec", dont_inherit=True)
except SyntaxError as error:
    found["syntax"] = [error.lineno, error.msg]
except RecursionError:
    found["syntax"] = [None, "expressions are nested too deeply"]
except (ValueError, MemoryError) as error:
    found["syntax"] = [None, str(error) or "too complicated to be parsed"]
else:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found["imports"] += [[alias.name, node.lineno] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found["imports"].append(["." * node.level + (node.module or ""), node.lineno])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (
                "__import__", "exec", "eval"):
            found["calls"].append([node.func.id, node.lineno])
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found["defined"].append(node.name)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            a = node.args
            found["tests"].append([node.name, [x.arg for x in a.posonlyargs + a.args + a.kwonlyargs]])
sys.stdout.write(json.dumps(found))
"""


@dataclass(frozen=True)
class Evidence:
    """What a submission is, before it runs.

    Attributes:
        state: "graded" if it can be run, else "no_file", "unreadable" or "refused" (see report.STATES).
        en, zh: why it cannot be run.
        syntax: (line or None, Python's message) of a syntax error.
        defined: functions and classes at the top of the file.
        tests: functions `test...` at the top of the file, with their arguments.
        notes: findings that cost nothing: (English, Chinese).
    """

    state: str = "graded"
    en: str = ""
    zh: str = ""
    syntax: tuple[int | None, str] | None = None
    defined: tuple[str, ...] = ()
    tests: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def submission_hash(files: Mapping[str, bytes]) -> str:
    """SHA-256 of what was handed in, names and contents, in hex."""
    seen = hashlib.sha256()
    for name in sorted(files):
        called = name.encode(errors="surrogatepass")
        seen.update(len(called).to_bytes(8, "big") + called)
        seen.update(len(files[name]).to_bytes(8, "big") + files[name])
    return seen.hexdigest()


def examine(assignment: Assignment, files: Mapping[str, bytes]) -> Evidence:
    """Look at what was handed in; nothing of it is run, and nothing in it raises."""
    wanted = assignment.file
    if wanted not in files:
        return _no_file(wanted, sorted(files))
    content = files[wanted]
    if len(content) > LARGEST:
        return Evidence("refused", f"{wanted} has {len(content)} bytes; more than {LARGEST} are not graded",
                        f"{wanted} 有 {len(content)} 字节；超过 {LARGEST} 字节的文件不予评分")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Evidence("unreadable", f"{wanted} is saved as UTF-16: save it as UTF-8",
                        f"{wanted} 是用 UTF-16 保存的：请另存为 UTF-8")
    if b"\0" in content:
        return Evidence("unreadable",
                        f"{wanted} is not a text: it has null bytes; hand in the Python file itself",
                        f"{wanted} 不是文本文件（含有空字节）：请提交 Python 源文件本身")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Evidence("unreadable", f"{wanted}, line {line} is not UTF-8: save the file as UTF-8",
                        f"{wanted} 第 {line} 行不是 UTF-8 编码：请把文件另存为 UTF-8")
    notes = _extra_files(wanted, sorted(files))
    if content.startswith(codecs.BOM_UTF8):
        notes.append((f"{wanted} begins with a byte-order mark, which does no harm",
                      f"{wanted} 开头有字节序标记（BOM），没有影响"))
    return _scanned(assignment, content, notes)


def _no_file(wanted: str, names: list[str]) -> Evidence:
    if not names:
        return Evidence("no_file", f"nothing was handed in: {wanted} is wanted",
                        f"没有提交任何文件：需要 {wanted}")
    shown = ", ".join(_short(n) for n in names[:5]) + (", ..." if len(names) > 5 else "")
    near = [n for n in names if n.lower() == wanted.lower()]
    if near:
        return Evidence("no_file", f"the file is called {near[0]}; its name must be {wanted}",
                        f"文件名是 {near[0]}；应为 {wanted}")
    return Evidence("no_file", f"{wanted} is missing; handed in: {shown}",
                    f"缺少 {wanted}；提交的文件有：{shown}")


def _extra_files(wanted: str, names: list[str]) -> list[tuple[str, str]]:
    others = [_short(n) for n in names if n != wanted]
    if not others:
        return []
    shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
    return [(f"only {wanted} is graded; handed in as well: {shown}",
             f"只评 {wanted}；同时提交的还有：{shown}")]


def _scanned(assignment: Assignment, content: bytes, notes: list[tuple[str, str]]) -> Evidence:
    found = _scan(content)
    if found is None:
        notes.append((f"{assignment.file} could not be read in {SCAN_SECONDS:g} s before it was run",
                      f"运行之前未能在 {SCAN_SECONDS:g} 秒内读完 {assignment.file}"))
        return Evidence(notes=tuple(notes))
    if found["syntax"] is not None:
        line, said = found["syntax"]
        return Evidence(syntax=(line, str(said)), notes=tuple(notes))
    allowed = {*assignment.imports, *assignment.provide, "numpy", "__future__"}
    seen: set[str] = set()
    for module, line in found["imports"]:
        top = module.split(".")[0]
        if top in allowed or module in allowed or module in seen:
            continue
        seen.add(module)
        name = _short(module)
        notes.append((f"line {line} imports {name}, which is not among the modules of this assignment "
                      f"({', '.join(assignment.imports)}): do not count on it where the work is graded",
                      f"第 {line} 行导入了 {name}，它不在本作业的模块"
                      f"（{'、'.join(assignment.imports)}）之内：评分环境里不一定有"))
    for name, line in found["calls"][:5]:
        notes.append((f"line {line} calls {name}", f"第 {line} 行调用了 {name}"))
    return Evidence(defined=tuple(found["defined"]), notes=tuple(notes[:20]),
                    tests=tuple((name, tuple(args)) for name, args in found["tests"]))


def _scan(content: bytes) -> dict[str, Any] | None:
    """What the scanner says; None if it did not come back."""
    try:
        done = subprocess.run([sys.executable, "-I", "-S", "-X", "utf8", "-c", _SCAN], input=content,
                              capture_output=True, timeout=SCAN_SECONDS, check=True)
        return dict(json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError):
        return None


def _short(name: str) -> str:
    """A student's name for something, in a line and not too long."""
    name = " ".join(ascii(name)[1:-1].split()) if not name.isprintable() else name
    return name if len(name) <= 60 else name[:57] + "..."
