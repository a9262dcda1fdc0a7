"""Which protections work on this machine, found out by trying them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from . import frames
from .launch import Process, Stopped
from .view import SandboxError, closed, view

START = 30.0  # seconds for Python, NumPy and the layers; none of it is the student's code

# In the order in which they are named.
SAYS = {
    "process": "a process and session of its own, an empty environment, a copy of the named files",
    "limits": "limits on processor time, memory, files and processes",
    "user": "an account of its own, with no rights",
    "mounts": "a file system with Python in it and nothing else (mount namespace)",
    "pids": "no other process in sight, and none outlives it (PID namespace)",
    "network": "no network (network namespace)",
    "landlock": "reads Python and its own folder, writes its scratch folder (Landlock)",
    "seccomp": "no sockets, new processes or other system calls beside computing (seccomp)",
    "watch": "memory and files are looked at ten times a second",
}
SAYS_ZH = {
    "process": "独立的进程和会话，空的环境变量，只有指定文件的副本",
    "limits": "限制处理器时间、内存、文件和进程数",
    "user": "专用账户，没有任何权限",
    "mounts": "文件系统里只有 Python（挂载命名空间）",
    "pids": "看不到别的进程，结束时不留下任何进程（PID 命名空间）",
    "network": "没有网络（网络命名空间）",
    "landlock": "只能读 Python 和自己的文件夹，只能写临时文件夹（Landlock）",
    "seccomp": "不能建套接字和新进程，只剩计算所需的系统调用（seccomp）",
    "watch": "每秒十次检查内存和文件",
}
NAMES = tuple(SAYS)


@dataclass(frozen=True)
class Layer:
    """A protection.

    Attributes:
        name: one of NAMES.
        active: whether it works here.
        why: why it does not.
    """

    name: str
    active: bool
    why: str = ""


@cache
def probe() -> tuple[Layer, ...]:
    """What works here, found out once by starting a worker that runs nobody's code.

    Raises:
        SandboxError: no worker can be started at all.
    """
    if sys.platform == "win32":
        raise SandboxError("on Windows itself nothing keeps a submission from the rest of the machine: grade "
                           "in WSL (wsl --install), where everything works")
    why: dict[str, str] = {}
    if sys.platform == "linux":
        wanted = [n for n in NAMES if n not in ("watch", "user")] + ["user"] * (os.geteuid() == 0)
        if os.geteuid():
            why["user"] = "the grader is not root, so the account is the grader's own"
    else:
        wanted = ["process", "limits"]
        why = {name: "Linux only" for name in NAMES if name not in ("process", "limits", "watch")}
    while failed := _try(wanted):
        why |= failed
        left = [name for name in wanted if name not in failed]
        if left == wanted:
            raise SandboxError(f"a worker cannot be started: {next(iter(failed.values()))}")
        wanted = left
    return tuple(Layer(name, name in wanted or name == "watch", why.get(name, "")) for name in NAMES)


def _try(names: list[str]) -> dict[str, str]:
    """Start a worker with these layers; {layer: why it failed}."""
    process = Process({}, setup("", (), (), names), keep=4096)
    try:
        ready = process.exchange(None, time.monotonic() + START, frames.OVERHEAD)
        return {layer: str(why) for layer, why in ready.meta.items()}
    except Stopped as stopped:
        said = process.printed.decode("utf-8", "replace").strip()
        raise SandboxError(f"a worker cannot be started ({stopped.kind}): {said[-300:]}") from None
    finally:
        process.close()


def chosen(layers: Collection[str] | None = None) -> tuple[str, ...]:
    """Names of the layers to put around a worker: those that work here, or those of `layers` that do.

    Args:
        layers: for tests, a part of NAMES; "process" is always there, and "user" where the grader is root.

    Raises:
        SandboxError: an unknown name, or root that cannot be given up.
    """
    here = {layer.name: layer for layer in probe()}
    if layers is not None and (unknown := sorted(set(layers) - set(NAMES))):
        raise SandboxError(f"there is no layer {unknown[0]!r}; the layers are {', '.join(NAMES)}")
    root = sys.platform != "win32" and os.geteuid() == 0
    if root and not here["user"].active:
        raise SandboxError(f"the grader runs as root and cannot give root up ({here['user'].why}): run it as "
                           "an ordinary user")
    found = [n for n in NAMES if here[n].active
             and (layers is None or n in layers or n == "process" or (n == "user" and root))]
    if layers is None and root and "mounts" not in found and not _keeps_reading(found):
        where = closed([*(seen := view((), ())).readable, *seen.libraries])
        if where is not None:
            raise SandboxError(f"the grader runs as root, and no other account can read {where}: run it as "
                               "an ordinary user, or with a Python that all may read")
    if layers is None and "mounts" in found and sys.platform == "linux":
        found.remove("watch")  # the kernel limits memory, and the scratch folder has a size
    return tuple(found)


def _keeps_reading(layers: Collection[str]) -> bool:
    """Whether a worker that was root may go on reading all that Landlock lets it."""
    return {"user", "landlock", "seccomp"} <= set(layers) and "mounts" not in layers


def describe(layers: Iterable[str] | None = None, lang: str = "en") -> list[str]:
    """A line for each layer: what it does where it is used, and why it is not where it is not.

    Args:
        layers: names of those that are used; None for `chosen()`.
        lang: "en" or "zh"; reasons are the system's own, in English.
    """
    used = set(chosen() if layers is None else layers)
    says, colon, unused = (SAYS_ZH, "：", "未使用") if lang == "zh" else (SAYS, ": ", "not used")
    lines = []
    for layer in probe():
        if layer.name in used:
            lines.append(f"{layer.name}{colon}{says[layer.name]}")
        elif layer.name != "watch":
            lines.append(f"{layer.name}{colon}{unused}" + (f"{colon}{layer.why}" if layer.why else ""))
    return lines


def setup(module: str, imports: Iterable[str], provide: Iterable[str], layers: Iterable[str], *,
          memory_mb: int = 2048, cpu_seconds: int = 60, processes: int = 0,
          under_test: str = "", functions: Iterable[str] = ()) -> dict[str, Any]:
    """What a worker is told before it starts; nothing in it is secret.

    Raises:
        SandboxError: a module is not installed.
    """
    seen = view(tuple(imports), tuple(provide))
    keep = _keeps_reading(layers := tuple(layers)) and closed([*seen.readable, *seen.libraries]) is not None
    ours = str(Path(__file__).resolve().parent)  # the worker's own code
    return {"module": module, "imports": [i for i in imports if i != "numpy"], "layers": list(layers),
            "packages": seen.packages, "readable": [*seen.readable, *seen.libraries, ours],
            "hidden": list(seen.hidden), "memory_mb": memory_mb, "cpu_seconds": cpu_seconds,
            "processes": processes, "keep_reading": keep, "under_test": under_test,
            "functions": list(functions)}
