"""`build_site`: run every lesson, and write its pages, steppers, pictures and notebooks to a folder."""

from __future__ import annotations

import html
import json
import shutil
import tomllib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from minillm.course.exercise import Exercise, load_exercises
from minillm.course.lesson_api import CellRun, LessonRun, Picture, Stepper, run_lesson
from minillm.course.percent import BEGIN, END, Lesson, parse, stub
from minillm.course.shelf import Shelf, lessons_folder
from minillm.course.stage_hands import without_stage_hands
from minillm.course.statement import in_language, with_statement
from minillm.errors import UserError

from .markdown import Markdown, code_html
from .notebook import notebook
from .page import Link, Page, index_page, lesson_page
from .words import WORDS

LANGUAGES = ("en", "zh")
MARK = "minillm-site"  # a file that says that a folder is ours to replace


def build_site(out: str | Path, *, lessons: Path | None = None, only: Sequence[str] = (),
               say: Callable[[str], None] = lambda line: None) -> list[str]:
    """Build the site; open `out`/index.html in a browser, from the disk.

        index.html, en/, zh/      pages, the same names in both languages
        en/steps/, zh/steps/      steppers, each one file
        pictures/                 SVG, as the lessons drew them
        notebooks/en/, .../zh/    .ipynb for Jupyter and Colab; in solutions/ with the solutions

    The same lessons give the same bytes.

    Args:
        out: the folder; made, or replaced if an earlier build made it.
        lessons: folder of the lessons; None: those of the package.
        only: slugs, or their beginnings; empty: all lessons.
        say: told of each lesson.

    Returns:
        The slugs built.

    Raises:
        UserError: a lesson fails, with its cell and line; nothing of `out` was replaced then. Or `out` holds
            other files, or a library is missing.
    """
    out = Path(out)
    shelf = Shelf(lessons_folder() if lessons is None else lessons)
    slugs = [s for s in shelf.slugs if not only or any(s.startswith(begin) for begin in only)]
    if not slugs:
        raise UserError(f"no lesson begins with {' or '.join(only)}: there are {', '.join(shelf.slugs)}"
                        if only else f"{shelf.folder} has no lessons")
    _check_replaceable(out)
    made = Builder(shelf.folder, slugs)
    for slug in slugs:
        say(slug)
        made.add(slug)
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        made.write(fresh)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    except OSError as error:
        raise UserError(f"cannot write the site to {str(out)!r} ({error.strerror}): check the folder") \
            from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return slugs


def _check_replaceable(out: Path) -> None:
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{str(out)!r} holds other files, and would be replaced: choose another --out")


class Builder:
    """The files of a site, by their paths in it."""

    def __init__(self, folder: Path, slugs: list[str]) -> None:
        self.folder, self.slugs = folder, slugs
        self.files: dict[str, str | bytes] = {MARK: "Made by `make site`; replaced by the next.\n"}
        self.lessons: dict[str, Lesson] = {}
        self.search: dict[str, list[list[str]]] = {lang: [] for lang in LANGUAGES}
        for slug in slugs:
            self.lessons[slug] = parse((folder / slug / "lesson.py").read_text(encoding="utf-8"))

    def add(self, slug: str) -> None:
        """Run a lesson and keep its pages.

        Raises:
            UserError: it fails, or a formula of its text cannot be read.
        """
        lesson, path = self.lessons[slug], self.folder / slug / "lesson.py"
        try:
            exercises = load_exercises(self.folder / slug / "checks.py")
        except OSError as error:  # a package that the lesson needs is not there
            raise UserError(f"lesson {slug}: {error}") from error
        for lang in LANGUAGES:
            run = run_lesson(path, lang, lesson=lesson)
            if run.error is not None:
                raise UserError(f"lesson {slug} fails: {run.error}")
            try:
                self._pages(slug, lesson, run, exercises, lang)
            except ValueError as error:
                raise UserError(f"lesson {slug}: {error}") from error
            told = in_language(lesson, lang, {e.name: e.statement_zh for e in exercises.values()})
            self.files[f"notebooks/{lang}/{slug}.ipynb"] = notebook(told, lang)
            self.files[f"notebooks/{lang}/solutions/{slug}.ipynb"] = notebook(told, lang, solutions=True)

    def _pages(self, slug: str, lesson: Lesson, run: LessonRun, exercises: dict[str, Exercise],
               lang: str) -> None:
        text, body, steps = Markdown(), [], 0
        for done in run.cells:
            cell = done.cell
            if cell.kind == "markdown":
                if cell.lang == lang:
                    body.append(text.html(cell.markdown))
                continue
            body.append(self._code(done, exercises.get(cell.exercise or ""), text, lang))
            for shown in done.shown:
                if isinstance(shown, str):
                    body.append(f'<figure class="out"><figcaption>{WORDS[lang]["printed"]}</figcaption>'
                                f"<pre tabindex='0'>{html.escape(shown.rstrip())}</pre></figure>")
                elif isinstance(shown, Picture):
                    body.append(self._picture(slug, shown, lang))
                else:
                    steps += 1
                    body.append(self._stepper(slug, steps, shown, lang))
        at = self.slugs.index(slug)
        beside = [None if not 0 <= i < len(self.slugs) else self._link(self.slugs[i], lang)
                  for i in (at - 1, at + 1)]
        needs = [self._link(s, lang) for s in lesson.needs if s in self.lessons]
        page = Page(slug, lesson.called(lang), lesson.minutes, "\n".join(body), text.sections, needs, *beside)
        self.files[f"{lang}/{slug}.html"] = lesson_page(page, lang, self._contents(lang))
        self.search[lang] += [[f"{slug}.html" + (f"#{s.anchor}" if s.anchor else ""), lesson.called(lang),
                               s.title, " ".join(s.text.split())] for s in text.sections]

    def _link(self, slug: str, lang: str) -> Link:
        return Link(f"{slug}.html", f"{slug[:2]} {self.lessons[slug].called(lang)}")

    def _contents(self, lang: str) -> list[Link]:
        return [self._link(slug, lang) for slug in self.slugs]

    def _code(self, done: CellRun, exercise: Exercise | None, text: Markdown, lang: str) -> str:
        """A code cell; of an exercise what the learner gets, with hints and the solution folded away."""
        cell, w = done.cell, WORDS[lang]
        if cell.exercise is None or exercise is None:
            code = without_stage_hands(cell.code)
            return code_html(code) if code.strip() else ""
        if lang == "zh" and exercise.statement_zh:
            cell = with_statement(cell, exercise.statement_zh)
        solution = "".join(line for line in cell.code.splitlines(keepends=True)
                           if line.strip() not in (BEGIN, END))
        here = LANGUAGES.index(lang)
        # Folded away means: the search does not show it either.
        hints = "".join(f"<details><summary>{w['hint'].format(n)}</summary>"
                        f"{text.html(hint[here], searched=False)}</details>"
                        for n, hint in enumerate(exercise.hints, 1))
        why = exercise.explanation(lang)
        return (f'<section class="exercise" aria-label="{w["exercise"]} {html.escape(exercise.name)}">'
                f'<p class="label">{w["exercise"]} <code>{html.escape(exercise.name)}</code></p>'
                f"{code_html(stub(cell, lang).code)}{hints}"
                f"<details><summary>{w['solution']}</summary>{code_html(solution)}"
                f"<p class='label'>{w['why']}</p>{text.html(why, searched=False)}</details></section>")

    def _picture(self, slug: str, picture: Picture, lang: str) -> str:
        name = f"pictures/{slug}-{picture.name}.svg"
        self.files[name] = picture.svg
        alt = html.escape(picture.alt_zh if lang == "zh" else picture.alt_en)
        return f'<figure class="picture"><img src="../{name}" alt="{alt}" loading="lazy"></figure>'

    def _stepper(self, slug: str, number: int, stepper: Stepper, lang: str) -> str:
        name = f"steps/{slug}-{number}.html"
        caption = stepper.zh if lang == "zh" else stepper.en
        self.files[f"{lang}/{name}"] = stepper.recording.to_html(lang=lang)
        return (f'<figure class="stepper"><figcaption>{html.escape(caption)} '
                f'(<a href="{name}">{WORDS[lang]["alone"]}</a>)</figcaption>'
                f'<iframe src="{name}" title="{html.escape(caption)}" loading="lazy"></iframe></figure>')

    def write(self, folder: Path) -> None:
        """Write all files, those that belong to no lesson too."""
        for lang in LANGUAGES:
            contents = self._contents(lang)
            self.files[f"{lang}/index.html"] = index_page(lang, self.lessons, contents, self._terms())
            index = json.dumps(self.search[lang], ensure_ascii=False, separators=(",", ":"))
            self.files[f"{lang}/search.js"] = f"const INDEX = {index};\n"
        assets = resources.files(__package__).joinpath("assets")
        for name in ("site.css", "site.js"):
            self.files[name] = assets.joinpath(name).read_text(encoding="utf-8")
        self.files["index.html"] = assets.joinpath("index.html").read_text(encoding="utf-8")
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def _terms(self) -> list[tuple[str, str]]:
        """The glossary's pairs, by their English."""
        path = self.folder / "glossary.toml"
        if not path.is_file():
            return []
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return sorted((en, zh) for table in tables.values() for en, zh in table.items())
