"""All lessons as the site has them: executed in both languages, every page and picture; and as notebooks.

The lessons are shared out to two builds, so that two workers take them side by side.
"""

import html
import os
import re
from pathlib import Path

import pytest

from minillm.course.percent import parse, solution_version
from minillm.course.site import build_site
from minillm.course.site.notebook import notebook
from minillm.errors import UserError

ROOT = Path(__file__).parents[2]
SLUGS = sorted(p.parent.name for p in (ROOT / "lessons").glob("[0-9][0-9]_*/lesson.py"))
PACKAGES = ("markdown_it", "latex2mathml", "nbformat")

pytestmark = pytest.mark.slow


def needs(*packages: str) -> None:
    """CI has every package; elsewhere a test less."""
    for package in packages if not os.environ.get("CI") else ():
        pytest.importorskip(package)


@pytest.mark.parametrize("slugs", [SLUGS[::2], SLUGS[1::2]], ids=["every other", "the others"])
def test_all_lessons_build_in_both_languages(slugs: list[str], tmp_path: Path) -> None:
    needs(*PACKAGES)
    try:
        assert build_site(tmp_path / "site", only=slugs) == slugs
    except UserError as error:
        if "pip install" in str(error) and not os.environ.get("CI"):
            pytest.skip(str(error))
        raise
    for lang in ("en", "zh"):
        for slug in slugs:
            page = (tmp_path / "site" / lang / f"{slug}.html").read_text("utf-8")
            lesson = parse((ROOT / "lessons" / slug / "lesson.py").read_text("utf-8"))
            assert f"<h1>{html.escape(lesson.called(lang))}</h1>" in page
            assert page.count('<section class="exercise"') == len(lesson.exercises)
            frames = re.findall(r'<iframe src="([^"]+)" title="([^"]+)"', page)
            pictures = re.findall(r'<img src="\.\./([^"]+)" alt="([^"]+)"', page)
            assert frames
            assert pictures
            assert all((tmp_path / "site" / lang / name).is_file() for name, _ in frames)
            assert all((tmp_path / "site" / name).is_file() for name, _ in pictures)
            assert all(bool(re.search(r"[\u4e00-\u9fff]", alt)) == (lang == "zh") for _, alt in pictures)


@pytest.mark.parametrize(("slug", "lang"), [("02_likelihood_and_cross_entropy", "en"), ("04_adam", "zh")])
def test_a_notebook_runs_in_jupyter(slug: str, lang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("nbformat", "nbclient", "ipykernel")
    import nbformat
    from nbclient import NotebookClient

    lesson = parse((ROOT / "lessons" / slug / "lesson.py").read_text("utf-8"))
    assert solution_version(lesson).exercises == lesson.exercises
    book = nbformat.reads(notebook(lesson, lang, solutions=True), as_version=4)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(book, timeout=300, kernel_name="python3").execute()
    shown = [out.data for cell in book.cells if cell.cell_type == "code" for out in cell.outputs
             if out.output_type == "display_data"]
    assert any("iframe" in data.get("text/html", "") for data in shown)  # the stepper
    assert any("<img" in data.get("text/html", "") for data in shown)  # the pictures
