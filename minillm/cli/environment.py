"""What is installed here, found without importing it, and the pip command for what is not."""

import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the checkout, if this is one


def find_module(module: str) -> importlib.machinery.ModuleSpec | None:
    """The module's spec, without running it (of a dotted name, only the parent is run)."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None


def version_of(package: str) -> str | None:
    """The installed version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def packages_of_modules() -> dict[str, list[str]]:
    """The distributions that provide each importable name; empty if their metadata is damaged."""
    try:
        return dict(importlib.metadata.packages_distributions())
    except Exception:  # one broken dist-info anywhere in the environment is enough
        return {}


def is_older(version: str, least: str) -> bool:
    """Whether a version is below another, by their leading numbers: "2.0rc1" counts as 2.0."""
    return _numbers(version) < _numbers(least)


def _numbers(version: str) -> list[int]:
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:  # 2 and 2.0 are one version
        numbers.pop()
    return numbers


def usable_cores() -> int:
    """Cores this process may use: a container or `taskset` may allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_within(seconds: float, command: list[str]) -> tuple[bool, str]:
    """Run a command for at most so long: (True, what it printed) or (False, why not, in a line)."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False, f"no answer within {seconds:g} s"
    except OSError as error:
        return False, first_line(error)
    printed = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0:
        return True, printed
    lines = (done.stderr.decode(errors="replace").strip() or printed).splitlines()
    return False, lines[-1] if lines else f"exit status {done.returncode}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def pip_install(package: str) -> str:
    """The command that installs something: a package's name, with options of pip before it."""
    return f"{_pip()} install {package}"


def pip_install_extra(extra: str, package: str) -> str:
    """The command for an extra of this checkout; outside of one, for the single package."""
    target = checkout(extra)
    if not target:
        return pip_install(package)
    pins = "constraints.txt" if Path.cwd() == ROOT else str(ROOT / "constraints.txt")
    return f"{_pip()} install -e {target} -c {_quoted(pins)}"


def pip_replace_kernels() -> str:
    """The command that removes a foreign `kernels` and puts ours back."""
    remove = f"{_pip()} uninstall -y kernels"
    if not checkout():
        return remove
    return f"{remove} && {_pip()} install --force-reinstall --no-deps -e {checkout()}"


def checkout(extra: str = "") -> str:
    """What `pip install -e` takes for this checkout and an extra; "" if this is no checkout."""
    if not (ROOT / "pyproject.toml").is_file():
        return ""
    place = "." if Path.cwd() == ROOT else str(ROOT)
    return f'"{place}[{extra}]"' if extra else _quoted(place)


def _pip() -> str:
    """`pip`, if the shell would find that of this Python; else this Python's own."""
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == Path(sys.executable).parent:
        return "pip"
    python = Path(sys.executable)
    if python.is_relative_to(ROOT) and Path.cwd() == ROOT:
        python = python.relative_to(ROOT)
    return f"{_quoted(str(python))} -m pip"


def _quoted(text: str) -> str:
    """In double quotes if it has a blank: the one form that sh, cmd and PowerShell all take."""
    return f'"{text}"' if " " in text else text
