"""The worker itself: it shuts the door, loads the student's file and serves one request after another."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType
from typing import Any

MESSAGE = 500  # characters of an exception's message that are kept


class Ours:
    """Finds NumPy and the packages that were chosen where they lie, and nothing that lies beside them.

    Args:
        packages: dotted name -> its folder or file; what stands above a dotted name is an empty package.
    """

    def __init__(self, packages: Mapping[str, str]) -> None:
        self.packages = dict(packages)
        self.above = {name.rpartition(".")[0] for name in packages}
        for name in tuple(self.above):
            while name:
                self.above.add(name)
                name = name.rpartition(".")[0]
        self.above -= {""} | set(packages)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """See importlib's finders."""
        where = self.packages.get(name)
        if where is not None and not where.endswith(".py"):
            return importlib.util.spec_from_file_location(name, f"{where}/__init__.py",
                                                          submodule_search_locations=[where])
        if where is not None:
            return importlib.util.spec_from_file_location(name, where)
        if name in self.above:
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        return None


def main(setup: dict[str, Any], failed: dict[str, str], requests: int, replies: int) -> None:
    """Serve until the grader closes its end.

    Args:
        setup: what the grader wrote: folder, scratch, module, imports, packages, layers, limits, readable.
        failed: layers that could not be set up so far, and why.
        requests, replies: descriptors of the frames.
    """
    from . import door

    door.before(setup, failed)
    sys.meta_path.append(Ours(setup["packages"]))
    for name in ("numpy", *setup["imports"]):
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[f"import {name}"] = f"{type(error).__name__}: {error}"
    if "import numpy" in failed:
        os.write(2, failed["import numpy"].encode())
        return
    from . import frames, serve

    serve.seed()
    door.shut(setup, failed)
    frames.write_frame(replies, frames.Frame(frames.READY, 0, meta={k: v[:300] for k, v in failed.items()}))
    if failed or not setup["module"]:
        return
    serve.serve(setup, requests, replies)


def load(folder: str, name: str) -> ModuleType | dict[str, Any]:
    """The student's file as a module, or what went wrong."""
    path = f"{folder}/{name}"
    stem = name.removesuffix(".py")
    sys.path.append(folder)
    try:
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
    except OSError as error:
        return {"kind": "missing", "error": type(error).__name__, "message": f"{name} cannot be read"}
    except SyntaxError as error:
        return {"kind": "syntax", "error": type(error).__name__, "message": (error.msg or "")[:MESSAGE],
                "line": error.lineno}
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return {"kind": "syntax", "error": type(error).__name__, "message": str(error)[:MESSAGE]}
    module = ModuleType(stem)
    module.__file__ = path
    module.__spec__ = importlib.machinery.ModuleSpec(stem, None, origin=path)
    sys.modules[stem] = module
    result = guarded(lambda: exec(code, module.__dict__), folder, module)
    return module if result is None else result


def guarded(do: Callable[[], None], folder: str, module: ModuleType | None = None) -> dict[str, Any] | None:
    """None if `do` ends well, else kind, error, message and line of what it raised."""
    try:
        do()
    except BaseException as error:
        try:
            return describe(error, folder, module)
        except BaseException:  # its __str__ or __class__ is the student's too
            return {"kind": "exception", "error": "Exception", "message": "an exception that cannot be shown"}
    return None


def describe(error: BaseException, folder: str, module: ModuleType | None = None) -> dict[str, Any]:
    """An exception as the grader is told of it."""
    kind, message = "exception", str(error)
    if isinstance(error, NotImplementedError):
        kind = "not_written"
    elif isinstance(error, SystemExit):
        kind = "ended"
    elif isinstance(error, MemoryError):
        kind = "memory"
    elif isinstance(error, AttributeError) and module is not None and error.obj is module:
        kind, message = "missing", str(error.name)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__)
             if frame.f_code.co_filename.startswith(folder)]
    line = lines[-1] if lines else None
    if isinstance(error, SyntaxError) and str(error.filename).startswith(folder):
        line = error.lineno
    return {"kind": kind, "error": str(type(error).__name__)[:100], "message": message[:MESSAGE],
            "line": line}


def compiled(source: str, cache: dict[str, CodeType]) -> CodeType:
    """Code of a `run`, compiled once."""
    if source not in cache:
        cache[source] = compile(source, "<run>", "exec", dont_inherit=True)
    return cache[source]
