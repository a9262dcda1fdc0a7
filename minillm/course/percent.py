"""A lesson's file: percent format, English and Chinese text side by side, exercises with their solutions.

Reading keeps every character: `serialise(parse(text)) == text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
LANGUAGES = ("en", "zh")

_LINES = re.compile(r"[^\n]*\n|[^\n]+")  # Python's own lines: splitlines knows more line ends than it
_MARKER = re.compile(r"# %%(?:[ \t].*)?\Z")
_OPTIONS = re.compile(r"""# %%(?P<markdown>\s+\[markdown\])?(?P<options>(?:\s+[a-z_]+="[^"]*")*)\s*\Z""")
_OPTION = re.compile(r'([a-z_]+)="([^"]*)"')
_KEYS = {"title", "title_zh", "minutes", "needs"}


class LessonError(ValueError):
    """A lesson's file is not as a lesson should be; the message has the line."""


@dataclass(frozen=True)
class Cell:
    """A cell of a lesson.

    Attributes:
        marker: its first line, `# %% ...`, with the line's end; "" for code before the first marker.
        text: the lines below the marker, as in the file.
        line: number of the text's first line in the file, from 1.
        kind: "markdown" or "code".
        lang: of a markdown cell, "en" or "zh"; None for code.
        exercise: name of the function to write, or None.
    """

    marker: str
    text: str
    line: int
    kind: str
    lang: str | None = None
    exercise: str | None = None

    @property
    def markdown(self) -> str:
        """The text of a markdown cell without its comment signs; Chinese lines that go on are joined, as a
        line's end would be shown as a space.
        """
        lines = [re.sub(r"^# ?", "", line) for line in self.text.splitlines()]
        return "\n".join(_joined(lines) if self.lang == "zh" else lines).strip("\n") + "\n"

    @property
    def code(self) -> str:
        """The text of a code cell without blank lines around it."""
        return self.text.strip("\n") + "\n"


@dataclass(frozen=True)
class Lesson:
    """A lesson's file.

    Attributes:
        header: the lines before the first cell, as in the file.
        title, title_zh: what it is called.
        minutes: what it takes a learner.
        needs: slugs of the lessons that come before it.
        cells: in the file's order.
    """

    header: str
    title: str
    title_zh: str
    minutes: int
    needs: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def exercises(self) -> tuple[str, ...]:
        """Names of the functions to write, in order."""
        return tuple(c.exercise for c in self.cells if c.exercise)

    def cell_of(self, exercise: str) -> Cell:
        """The cell of an exercise.

        Raises:
            KeyError: there is none of that name.
        """
        for cell in self.cells:
            if cell.exercise == exercise:
                return cell
        raise KeyError(exercise)

    def called(self, lang: str) -> str:
        """The title in a language."""
        return self.title_zh if lang == "zh" else self.title


_HAN = "\u3001-\u303f\u4e00-\u9fff\uff00-\uffef"  # Chinese characters and their punctuation
_ENDS, _GOES_ON = re.compile(rf"[{_HAN}]\**\Z"), re.compile(rf"\**[{_HAN}]")
# Beside full-width punctuation there is no space before Latin letters either; but a list, a heading or a
# table begins on a line of its own.
_STOPS = re.compile(r"[，。；：！？、）》」』（《「『]\**\Z")
_BLOCK = re.compile(r"\s*(?:[-*+]\s|[>#|]|\d+[.)]\s|```|\$\$|\Z)")


def _joined(lines: list[str]) -> list[str]:
    joined: list[str] = []
    code = False
    for line in lines:
        code ^= line.lstrip().startswith("```")
        before = joined[-1] if joined else "#"
        rest = line.lstrip()  # in a list, lines go on indented
        goes_on = (_ENDS.search(before) and _GOES_ON.match(rest)) \
            or (_STOPS.search(before) and not _BLOCK.match(line))
        if not code and not before.startswith("#") and goes_on:
            joined[-1] += rest
        else:
            joined.append(line)
    return joined


def parse(text: str) -> Lesson:
    """A lesson from its file's text.

    Raises:
        LessonError: no header, an unknown key or option, an exercise named twice.
    """
    lines = _LINES.findall(text)
    header_end, fields = _header(lines)
    starts = [i for i in range(header_end, len(lines)) if _MARKER.match(lines[i].rstrip("\r\n"))]
    first = starts[0] if starts else len(lines)
    cells: list[Cell] = []
    between = "".join(lines[header_end:first])
    header = "".join(lines[:header_end])
    if any(line.strip() and not line.startswith("#") for line in lines[header_end:first]):
        cells.append(Cell("", between, header_end + 1, "code"))
    else:
        header += between
    for start, end in zip(starts, [*starts, len(lines)][1:], strict=True):
        cells.append(_cell(lines[start], "".join(lines[start + 1:end]), start + 2))
    names = [c.exercise for c in cells if c.exercise]
    for name in names:
        if names.count(name) > 1:
            raise LessonError(f"two cells have exercise={name!r}")
    return Lesson(header, cells=tuple(cells), **fields)


def serialise(lesson: Lesson) -> str:
    """The file's text again, to the last character."""
    return lesson.header + "".join(c.marker + c.text for c in lesson.cells)


def _header(lines: list[str]) -> tuple[int, dict]:
    """(number of the header's lines, its fields)"""
    if not lines or lines[0].rstrip() != "# ---":
        raise LessonError("line 1: a lesson begins with the line `# ---` and its title")
    found: dict[str, str] = {}
    for i, line in enumerate(lines[1:], 1):
        bare = line.rstrip()
        if bare == "# ---":
            break
        match = re.fullmatch(r"#\s*([a-z_]+):\s*(.*)", bare)
        if match is None or match[1] not in _KEYS:
            raise LessonError(f"line {i + 1}: {bare!r} is not one of `# title:`, `# title_zh:`, "
                              "`# minutes:`, `# needs: [slug, ...]`")
        found[match[1]] = match[2].strip()
    else:
        raise LessonError("the header has no second line `# ---`")
    if missing := _KEYS - set(found):
        raise LessonError(f"the header lacks {', '.join(sorted(missing))}")
    if not found["minutes"].isdecimal():
        raise LessonError(f"minutes: {found['minutes']!r} is not a whole number")
    needs = re.fullmatch(r"\[(.*)\]", found["needs"])
    if needs is None:
        raise LessonError(f"needs: {found['needs']!r} is not a list such as [01_tensors, 02_likelihood]")
    slugs = tuple(s.strip().strip("\"'") for s in needs[1].split(",") if s.strip())
    return i + 1, {"title": found["title"].strip("\"'"), "title_zh": found["title_zh"].strip("\"'"),
                   "minutes": int(found["minutes"]), "needs": slugs}


def _cell(marker: str, text: str, line: int) -> Cell:
    match = _OPTIONS.match(marker.rstrip("\r\n"))
    if match is None:
        raise LessonError(f'line {line - 1}: {marker.strip()!r} is not `# %%`, '
                          '`# %% [markdown] lang="en"` or `# %% exercise="name"`')
    options = dict(_OPTION.findall(match["options"]))
    if match["markdown"]:
        if set(options) != {"lang"} or options["lang"] not in LANGUAGES:
            raise LessonError(f'line {line - 1}: a text says lang="en" or lang="zh", and nothing else')
        return Cell(marker, text, line, "markdown", options["lang"])
    if set(options) - {"exercise"} or not options.get("exercise", "name").isidentifier():
        raise LessonError(f'line {line - 1}: a code cell may say exercise="function_name", and nothing else')
    return Cell(marker, text, line, "code", None, options.get("exercise"))


def missing_twins(lesson: Lesson) -> list[str]:
    """What is wrong with the pairs of texts: each English cell has its Chinese one right after it."""
    problems: list[str] = []
    waiting: Cell | None = None
    for cell in (*lesson.cells, None):
        if waiting is not None:
            if cell is None or cell.lang != "zh":
                problems.append(f"line {waiting.line}: no Chinese text right after this English one")
            elif not cell.markdown.strip() or not re.search(r"[\u4e00-\u9fff]", cell.markdown):
                problems.append(f"line {cell.line}: the Chinese text has no Chinese in it")
            elif _headings(cell) != _headings(waiting):
                problems.append(f"line {cell.line}: its headings are not of the English text's levels")
            waiting = None
        elif cell is not None and cell.lang == "zh":
            problems.append(f"line {cell.line}: no English text right before this Chinese one")
        if cell is not None and cell.lang == "en":
            waiting = cell
            if not cell.markdown.strip():
                problems.append(f"line {cell.line}: the text is empty")
    return problems


def _headings(cell: Cell) -> list[int]:
    text = re.sub(r"(?ms)^```.*?^```", "", cell.markdown)
    return [len(level) for level in re.findall(r"(?m)^(#+) ", text)]


# ---- the learner's version ------------------------------------------------------------------------------


def stub(cell: Cell, lang: str = "en") -> Cell:
    """The cell with its solution taken out: `raise NotImplementedError(...)` where each one stood.

    Raises:
        LessonError: markers that do not pair up.
    """
    lines: list[str] = []
    inside = False
    for i, line in enumerate(_LINES.findall(cell.text)):
        bare = line.strip()
        if bare == BEGIN:
            if inside:
                raise LessonError(f"line {cell.line + i}: BEGIN SOLUTION inside a solution")
            inside = True
            indent = line[:len(line) - len(line.lstrip())]
            what = f"请写出 {cell.exercise}" if lang == "zh" else f"write {cell.exercise} here"
            lines.append(f'{indent}raise NotImplementedError("{what}")\n')
        elif bare == END:
            if not inside:
                raise LessonError(f"line {cell.line + i}: END SOLUTION without BEGIN SOLUTION")
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise LessonError(f"line {cell.line}: BEGIN SOLUTION without END SOLUTION")
    return replace(cell, text="".join(lines))


def learners_version(lesson: Lesson, lang: str = "en") -> Lesson:
    """The lesson with stubs for solutions; `lang` "en" or "zh" leaves out the other texts."""
    kept = [c for c in lesson.cells if lang == "both" or c.lang in (None, lang)]
    return _with_cells(lesson, [stub(c, lang) if c.exercise else c for c in kept])


def solution_version(lesson: Lesson) -> Lesson:
    """The lesson with its solutions, without the lines that mark them."""
    def plain(cell: Cell) -> Cell:
        kept = [line for line in _LINES.findall(cell.text) if line.strip() not in (BEGIN, END)]
        return replace(cell, text="".join(kept))

    return _with_cells(lesson, [plain(c) if c.exercise else c for c in lesson.cells])


def _with_cells(lesson: Lesson, cells: list[Cell]) -> Lesson:
    return parse(serialise(replace(lesson, cells=tuple(cells))))  # the cells' lines are others now
