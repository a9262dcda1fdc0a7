"""Every lesson is ready for a learner: one test each, in a process of its own, as `examine` finds it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted(p.parent for p in (ROOT / "lessons").glob("[0-9][0-9]_*/lesson.py"))
EXAMPLE = ROOT / "tests" / "course" / "example_lesson" / "01_mean_square"


@pytest.mark.parametrize("folder", [EXAMPLE, *LESSONS], ids=lambda p: p.name)
def test_lesson(folder: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-m", "minillm.course.examine", str(folder)], capture_output=True,
                          text=True, encoding="utf-8", env=env, timeout=600, check=False)
    if "pip install" in done.stdout and done.stdout.count("\n") == 1 and not os.environ.get("CI"):
        pytest.skip(done.stdout.strip())  # CI has every package, and runs every lesson
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_every_folder_of_a_lesson_is_whole() -> None:
    folders = [p for p in (ROOT / "lessons").iterdir() if p.is_dir() and p.name[:1].isdigit()]
    assert sorted(p for p in folders if (p / "checks.py").exists()) == LESSONS


def test_the_glossary_has_one_translation_a_term() -> None:
    table = tomllib.loads((ROOT / "lessons" / "glossary.toml").read_text(encoding="utf-8"))
    terms = [term for pairs in table.values() for term in pairs]
    assert len(terms) == len(set(terms)) >= 80
    assert all(zh.strip() and not set(zh) & set("(),;") for pairs in table.values() for zh in pairs.values())
