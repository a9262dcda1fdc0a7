"""What of the file system a worker needs to see: Python, its libraries, and a few packages by name."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minillm.errors import UserError

_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/nix/store")


class SandboxError(UserError):
    """A worker cannot be started safely; the message says why and what to do."""


def closed(paths: Iterable[str]) -> str | None:
    """The first of these paths that not everybody may read, or None."""
    for path in map(Path, paths):
        for folder in (*path.parents, path):
            try:
                mode = folder.stat().st_mode
            except OSError:
                return str(path)
            needed = 0o004 if folder == path else 0o001
            if not mode & needed:
                return str(path)
    return None


@dataclass(frozen=True)
class View:
    """Paths, all absolute.

    Attributes:
        readable: folders and files that may be read, all beneath them too.
        hidden: folders that may not, though they lie beneath one of `readable`: installed packages, which may
            hold the course and its solutions.
        packages: dotted module -> folder or file; readable as well.
    """

    readable: tuple[str, ...]
    hidden: tuple[str, ...]
    packages: dict[str, str]

    @property
    def libraries(self) -> tuple[str, ...]:
        """Where the packages lie, and the shared libraries that wheels keep beside them."""
        found = list(self.packages.values())
        for name, where in self.packages.items():
            libs = Path(where).parent / f"{name}.libs"
            if libs.is_dir():
                found.append(str(libs))
        return tuple(found)


def view(imports: Sequence[str], provide: Sequence[str]) -> View:
    """What a worker sees that imports `imports` and is given `provide` beside the standard library.

    Raises:
        SandboxError: a module is not installed.
    """
    provide = list(provide)
    if "kernels" in provide:
        provide.append("minillm.formulas")  # the only part of minillm that kernels import
    packages = {}
    ours = {name.partition(".")[0] for name in provide}
    theirs = [top for name in imports if (top := name.partition(".")[0]) not in ours]
    for name in dict.fromkeys(("numpy", *theirs, *provide)):
        if name.partition(".")[0] in sys.stdlib_module_names or name.partition(".")[0] in packages:
            continue
        where = _where(name)
        if where is not None:
            packages[name] = where
    readable, hidden = _python()
    return View(readable, hidden, packages)


@cache
def _where(name: str) -> str | None:
    """Folder or file of a module, found without running it or, where it is ours, what stands above it."""
    top, _, rest = name.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise SandboxError(f"the assignment needs {top}, which is not installed: pip install {top}")
    if not spec.submodule_search_locations:
        if spec.origin is None or not Path(spec.origin).is_file():
            return None  # built in
        return str(Path(spec.origin).resolve())
    folder = Path(next(iter(spec.submodule_search_locations))).resolve()
    if not rest:
        return str(folder)
    path = folder.joinpath(*rest.split("."))
    if path.is_dir():
        return str(path)
    if path.with_suffix(".py").is_file():
        return str(path.with_suffix(".py"))
    raise SandboxError(f"there is no module {name} to provide")


@cache
def _python() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(readable, hidden) for this Python and the system's libraries."""
    stdlib = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")]
    stdlib[1] = Path(sysconfig.get_config_var("DESTSHARED") or stdlib[1])  # a venv's platstdlib is empty
    # Shared libraries lie beside a Python's own folder; under /usr/local much else does, too.
    shared = [*Path("/usr/local/lib").glob("*.so*")]
    if sys.base_prefix not in ("/usr", "/usr/local"):
        shared.append(Path(sys.base_prefix) / "lib")
    readable = {path for path in (*stdlib, *shared, *map(Path, _SYSTEM)) if path.exists()}
    hidden = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    for folder in readable:
        if folder.is_dir():
            hidden |= {*folder.glob("python3*/site-packages"), *folder.glob("python3*/dist-packages"),
                       *folder.glob("site-packages"), *folder.glob("dist-packages")}
    hidden |= {Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    hidden.add(Path(__file__).parents[2])
    real = sorted({str(path.resolve()) for path in readable})
    least = [p for p in real if not any(p.startswith(f"{other}/") for other in real)]
    links = [str(path) for path in readable if str(path) != str(path.resolve())]
    return (tuple(least + sorted(links)),
            tuple(sorted({str(p.resolve()) for p in hidden if any(
                str(p.resolve()).startswith(f"{r}/") for r in least)})))
