"""The rules of the house that no linter knows. Who may import whom is import-linter's to check."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minillm

ROOT = Path(__file__).parents[1]
# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(
    r"(?<![\w.$~/<>-])/(?:" + "|".join(["work", "root", "tmp", "opt", "home", "Users"]) + r")/\w"
)
REGISTRY_HOST = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("debian", "org"),
            ("download", "pytorch", "org"),
            ("huggingface", "co"),
        ]
    )
)
# Data and weights come from packages, not from the repository.
DATA = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npz", ".h5", ".safetensors", ".gguf"}
DATA |= {".bin", ".parquet", ".arrow", ".zip", ".gz", ".xz", ".csv", ".tsv", ".jsonl"}
LARGEST = 1 << 20  # bytes; a picture for the README fits
NOT_OURS = {"runs", "build", "dist", "__pycache__", "node_modules"}


def files() -> Iterator[Path]:
    """What the repository holds: no caches, no environment, nothing that training left behind."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in NOT_OURS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name in {".ci", ".github"})
        ]
        yield from (Path(folder, name) for name in names)


FILES = {path.relative_to(ROOT).as_posix(): path for path in files()}
FACES = ["minillm"] + [
    module.name for module in pkgutil.iter_modules(minillm.__path__, "minillm.") if module.ispkg
]


def test_the_walk_finds_the_repository():
    assert {"pyproject.toml", "kernels/__init__.py", ".ci/run", "tests/test_house.py"} <= set(FILES)
    assert not [name for name in FILES if name.startswith((".venv/", ".git/"))]
    assert "minillm.formulas" in FACES


@pytest.mark.parametrize(
    ("pattern", "holds", "does_not"),
    [
        (MACHINE_PATH, f"see {'/'}home/ada/x", "https://example.com/home/ada"),
        (MACHINE_PATH, f"'{'/'}tmp/x'", "a/tmp/x"),
        (REGISTRY_HOST, "https://pypi" + ".org/simple", "pypi, organised"),
    ],
)
def test_the_patterns_find_what_they_look_for(pattern, holds, does_not):
    assert pattern.search(holds)
    assert not pattern.search(does_not)


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for name, path in FILES.items():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert not found


def test_the_repository_holds_no_data_sets():
    assert not [name for name, path in FILES.items() if path.suffix in DATA]
    assert not [name for name, path in FILES.items() if path.stat().st_size > LARGEST]


# ---- imports: what import-linter can only forbid by name is allowed by name here


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each module that a file imports."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            yield node.lineno, ".".join([*above, *([node.module] if node.module else [])])


def within(name: str, allowed: set[str]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in allowed)


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("minillm/formulas", {"numpy", "minillm.formulas"}),
        # hypothesis: kernels.testing.strategies, which nothing else imports
            ("kernels", {"numpy", "triton", "cupy", "torch", "hypothesis", "kernels", "minillm.formulas"}),
    ],
)
def test_the_ground_floor_imports_only_what_it_may(folder, allowed):
    allowed = allowed | set(sys.stdlib_module_names)
    sources = [path for name, path in FILES.items() if re.match(rf"{folder}/.*\.py$", name)]
    assert sources
    strays = [
        f"{path.relative_to(ROOT).as_posix()}:{line} imports {name}"
        for path in sources
        for line, name in imports(path)
        if not within(name, allowed)
    ]
    assert not strays


def test_nothing_unpickles():
    strays = [
        f"{name}:{line} imports {module}"
        for name, path in FILES.items()
        if path.suffix == ".py" and name.startswith(("minillm/", "kernels/", "lessons/"))
        for line, module in imports(path)
        if within(module, {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"})
    ]
    assert not strays


# ---- faces and docstrings


@pytest.mark.parametrize("name", FACES)
def test_a_face_lists_what_is_public_and_nothing_else(name):
    face = importlib.import_module(name)
    assert face.__doc__, f"{name} does not say what the folder is for"
    listed = getattr(face, "__all__", [])
    assert len(listed) == len(set(listed))
    assert not [public for public in listed if not hasattr(face, public)]
    body = ast.parse(Path(face.__file__).read_bytes()).body
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert not [other for other in defined if not other.startswith("__")]  # __getattr__ may be


@pytest.mark.parametrize("name", FACES)
def test_everything_public_has_a_docstring(name):
    face = importlib.import_module(name)
    for public in getattr(face, "__all__", []):
        value = getattr(face, public)
        if inspect.isroutine(value) or inspect.isclass(value):
            said = inspect.getdoc(value)
            # A dataclass without one gets its signature as docstring: that says nothing.
            assert said, f"{name}.{public} has no docstring"
            assert not said.startswith(f"{public}("), f"{name}.{public} has no docstring"
