"""`minillm class`: make assignments and grade what students hand in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minillm.errors import UserError

if TYPE_CHECKING:
    from minillm.classroom.assignment import Assignment
    from minillm.classroom.course_folder import Course
    from minillm.classroom.journal import Journal
    from minillm.classroom.report import Report
    from minillm.cli.classroom_screen import Screen

Source = tuple[Path, Sequence[str], Collection[str]]  # a folder or zip, ids to take, ids to pass over

class_ = typer.Typer(no_args_is_help=True,
                     help="A class: make assignments, grade what students hand in, report.",
                     epilog="Examples:  minillm class new my-course   |   minillm class make   |   "
                            "minillm class grade submissions/ --assignment adam   |   minillm class report")

CourseAt = Annotated[Path | None, typer.Option(
    "--course", help="The course's folder; else the current one or one above it.", show_default=False)]
Which = Annotated[str | None, typer.Option(
    "--assignment", "-a", help="Id, number or part of the name; may be left out where there is only one.",
    show_default=False)]
Lang = Annotated[str | None, typer.Option("--lang", help="en or zh; else the course's.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write into; else the course's out/.",
                                          show_default=False)]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many to grade at once.",
                                   show_default="as many as cores, at most 8")]
Submissions = Annotated[Path, typer.Argument(
    help="A folder or zip: a folder, file or zip for each student, or a download of Canvas, Moodle or "
         "Gradescope.")]
CORES = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@class_.command()
def new(folder: Annotated[Path, typer.Argument(help="A new folder.")],
        name: Annotated[str, typer.Option("--name", help="What the course is called; else as the folder.",
                                          show_default=False)] = "",
        lang: Annotated[str, typer.Option("--lang", help="Language of reports and texts: en or zh.")] = "en",
        assignment: Annotated[list[str] | None, typer.Option(
            "--assignment", "-a", help="An assignment of the course, may be repeated; else all of minillm's.",
            show_default=False)] = None) -> None:
    """Make a course: its settings, its secret, and a roster to fill in.

    Examples:  minillm class new my-course   |   minillm class new my-course --lang zh -a adam -a bpe
    """
    from minillm.classroom.course_folder import Course
    from minillm.cli.classroom_screen import Screen

    course = Course.create(folder, name, lang, assignment or None)
    screen = Screen(course.lang)
    screen.say(f"{folder} is your course, with {len(course.assignments)} assignments. Write your students "
               "into roster.csv, keep the file `secret` to yourself, and go on with:",
               f"{folder} 是你的课程，共 {len(course.assignments)} 个作业。请把学生填进 roster.csv，保管好 "
               "secret 文件，然后：")
    screen.code(f"cd {shlex.quote(str(folder))}")
    screen.code("minillm class make")


@class_.command("list")
def list_(course: CourseAt = None, lang: Lang = None) -> None:
    """List the assignments: the course's, or minillm's own where there is no course.

    Examples:  minillm class list   |   minillm class list --lang zh
    """
    from minillm.cli.classroom_screen import Screen

    if course is None and _around() is None:
        Screen(_lang(lang, "en")).assignments(_ours(), None)
        return
    found = _course(course)
    graded: dict[str, int] = {}
    if found.journal.exists():
        with _journal(found) as journal:
            graded = journal.graded()
    Screen(_lang(lang, found.lang)).assignments(map(found.assignment, found.assignments), graded)


@class_.command()
def make(assignment: Which = None, course: CourseAt = None, out: Out = None,
         lang: Annotated[str | None, typer.Option("--lang", help="en, zh or both; else the course's.",
                                                  show_default=False)] = None) -> None:
    """Make what students get (folder, public checks, notebook) and the Gradescope autograder.

    Examples:  minillm class make   |   minillm class make -a adam --lang both --out handouts
    """
    from minillm.classroom.make import make as make_all

    found, screen = _open(course, lang if lang != "both" else None)
    out = out or found.out
    if assignment is None:
        made = make_all(found, out, lang)
    else:
        roster = (found.folder / "roster.csv").read_bytes() if found.students else None
        made = make_all(found.assignment(assignment), out, lang or found.lang, secret=found.secret,
                        roster=roster)
    for one in made:
        screen.written(one.folder)
        if one.kept is not None:
            screen.say(f"  what had been changed there is kept in {one.kept}", "  原来改动过的内容保存"
                                                                               f"在 {one.kept}")
    if made and made[0].gradescope is not None:
        screen.say(f"For you alone: {made[0].gradescope.parent}", f"仅供教师：{made[0].gradescope.parent}")


@class_.command(epilog="Examples:  minillm class grade submissions/ -a adam   |   minillm class grade "
                       "canvas.zip -a 4 "
                       "--jobs 2   |   minillm class grade submissions/ --only changed   |   minillm class "
                       "grade submissions/ --only s1042")
def grade(submissions: Submissions, assignment: Which = None, course: CourseAt = None, jobs: Jobs = CORES,
          only: Annotated[list[str] | None, typer.Option(
              "--only", help="A student's id, may be repeated; or `changed`: only students who handed in "
              "other files since, though the assignment changed too.", show_default=False)] = None,
          lang: Lang = None, plain: Annotated[bool, typer.Option("--plain", help="No live line.")] = False
          ) -> None:
    """Grade submissions. What was graded already is kept, so the same command goes on after a stop."""
    from minillm.cli.classroom_screen import Screen

    students = [s for s in only or () if s.lower() != "changed"]
    found = _course(course)
    screen = Screen(_lang(lang, found.lang))
    one = _assignment(found, assignment)
    with _journal(found, screen) as journal:
        _grade(found, one, journal, screen, [(submissions, students, ())],
               f"minillm class grade {shlex.quote(str(submissions))}{_flags(one, course)}", course, jobs,
               "files" if len(students) < len(only or ()) else "grader", plain)


@class_.command(epilog="Examples:  minillm class regrade   |   minillm class regrade -a adam --all   |   "
                       "minillm class regrade -a adam --all --only s1042")
def regrade(submissions: Annotated[Path | None, typer.Argument(
                help="Folder or zip; else where they were when they were graded "
                     "last.", show_default=False)] = None,
            assignment: Which = None, course: CourseAt = None, jobs: Jobs = CORES,
            every: Annotated[bool, typer.Option("--all", help="Everything, changed or not.")] = False,
            only: Annotated[list[str] | None, typer.Option(
                "--only", help="A student's id, may be repeated.", show_default=False)] = None,
            lang: Lang = None, plain: Annotated[bool, typer.Option("--plain", help="No live line.")] = False
            ) -> None:
    """Grade again what changed: the students' files, the assignment, or the grader."""
    from minillm.classroom.journal import grading_lock

    found, screen = _open(course, lang)
    with _journal(found, screen) as journal:
        if submissions is not None:
            one = _assignment(found, assignment)
            places: list[Source] = [(submissions, only or [], ())]
            again = "all" if every else "grader"
            go_on = f"minillm class grade {shlex.quote(str(submissions))}{_flags(one, course)}"
        else:
            one = _assignment(found, assignment, journal.graded())
            places = _sources(journal, one, "regrade", screen, only or [])
            if every:  # at once and in all folders, so that a stopped one goes on without --all
                with grading_lock(journal.path):
                    journal.mark_stale(one.id, only or None)
            again, go_on = "grader", f"minillm class regrade{_flags(one, course)}"
        _grade(found, one, journal, screen, places, go_on, course, jobs, again, plain)


def _sources(journal: Journal, one: Assignment, command: str, screen: Screen,
             only: Sequence[str] = ()) -> list[Source]:
    """Where each student's latest submission was: (folder or zip, ids to take, ids to pass over)."""
    last = journal.setting(one.id, "submissions")
    if not last:
        raise UserError(f"{one.id} was not graded yet: minillm class {command} SUBMISSIONS -a {one.id}"
                        if command != "regrade" else
                        f"{one.id} was not graded yet: minillm class grade SUBMISSIONS -a {one.id}")
    lies = {student: seen.where for student, seen in journal.seen(one.id).items()}
    wanted = {lies.get(s, last) for s in only} if only else {last, *lies.values()}
    gone = sorted(where for where in wanted if not Path(where).exists())
    if len(gone) == len(wanted):
        raise UserError(f"{gone[0]} is gone: say where the submissions are: minillm class {command} "
                        f"SUBMISSIONS -a {one.id}")
    for where in gone:
        who = ", ".join(s for s in sorted(lies) if lies[s] == where)
        screen.say(f"{where} is gone; left out: {who}", f"{where} 已不存在；跳过：{who}", "yellow")
    return [(Path(where), [s for s in only if lies.get(s, last) == where],
             tuple(s for s in lies if lies[s] != where)) for where in sorted(wanted - set(gone))]


def _flags(one: Assignment, course: Path | None) -> str:
    return f" -a {one.id}" + (f" --course {shlex.quote(str(course))}" if course is not None else "")


def _grade(found: Course, one: Assignment, journal: Journal, screen: Screen, places: Sequence[Source],
           go_on: str, course: Path | None, jobs: int, again: str, plain: bool) -> None:
    from minillm.classroom.batch import Batch
    from minillm.classroom.batch import grade as grade_all
    from minillm.classroom.batch_progress import BatchProgress

    whole: Batch | None = None
    for submissions, only, skip in places:
        with BatchProgress(screen.console, "zh" if screen.zh else "en", plain) as progress:
            batch = grade_all(one, submissions, journal, found.secret, people=found.students, jobs=jobs,
                              only=only, skip=skip, again=again, others=found.files, progress=progress)
        if whole is None:
            whole = batch
        else:
            whole.add(batch)
        if batch.interrupted:
            break
    assert whole is not None  # there is always a place
    after = f"minillm class report{_flags(one, course) if len(found.assignments) > 1 or course else ''}"
    screen.batch(whole, journal.reports(one.id, whole.students), go_on, after)
    if whole.interrupted:
        raise typer.Exit(130)
    if whole.failed:
        raise typer.Exit(1)


@class_.command()
def report(assignment: Which = None, course: CourseAt = None, out: Out = None, lang: Lang = None) -> None:
    """Write a page for you (HTML) and one for each student (HTML and Markdown).

    Examples:  minillm class report   |   minillm class report -a adam --lang zh --out reports
    """
    from minillm.classroom.reports import write_reports

    found, screen = _open(course, lang)
    one, reports, waiting = _reports(found, assignment, screen, course)
    folder = out or found.out / "reports" / one.id
    screen.written(write_reports(one, reports, found.students, folder, lang=_lang(lang, found.lang),
                                 waiting=waiting))


@class_.command()
def similar(submissions: Annotated[Path | None, typer.Argument(
                help="Folder or zip; else where they were when they were graded "
                     "last.", show_default=False)] = None,
            assignment: Which = None, course: CourseAt = None, out: Out = None, lang: Lang = None) -> None:
    """List pairs of submissions that share code. What that means is for a person to decide.

    Examples:  minillm class similar   |   minillm class similar submissions/ -a adam
    """
    from minillm.classroom.intake import open_submissions
    from minillm.classroom.similar import similar as compare

    found, screen = _open(course, lang)
    if submissions is None:
        with _journal(found) as journal:
            one = _assignment(found, assignment, journal.graded())
            places = _sources(journal, one, "similar", screen)
    else:
        one, places = _assignment(found, assignment), [(submissions, [], ())]
    texts: dict[str, str] = {}
    for where, _, skip in places:
        with open_submissions(where, one.file, found.students, found.files) as intake:
            read = (intake.read(place) for place in intake.places if place.student not in skip)
            texts |= {s.student: s.files[one.file].decode("utf-8-sig", "replace") for s in read if s.files}
    folder = out or found.out / "similar" / one.id
    screen.written(compare(one, texts, folder, lang=_lang(lang, found.lang)))
    screen.say("Likeness is no proof: look at the pairs yourself.", "相似不等于抄袭：请亲自查看每一"
                                                                    "对。", "yellow")


@class_.command()
def export(assignment: Which = None, course: CourseAt = None, out: Out = None, lang: Lang = None,
           gradescope: Annotated[bool, typer.Option("--gradescope", help="A results.json a "
                                                                         "student.")] = False,
           canvas: Annotated[bool, typer.Option("--canvas", help="A grade book to import.")] = False,
           moodle: Annotated[bool, typer.Option("--moodle", help="Grades with feedback.")] = False,
           exercism: Annotated[bool, typer.Option("--exercism", help="A results.json (version 3) a "
                                                  "student.")] = False,
           csv: Annotated[bool, typer.Option("--csv", help="A table with a column for each test.")] = False
           ) -> None:
    """Write the results for another system.

    Examples:  minillm class export --canvas   |   minillm class export -a adam --csv --moodle --out grades
    """
    from minillm.classroom.export import export as write

    asked = {"gradescope": gradescope, "canvas": canvas, "moodle": moodle, "exercism": exercism, "csv": csv}
    kinds = [kind for kind, wanted in asked.items() if wanted]
    if not kinds:
        raise UserError(f"say for which system: {', '.join(f'--{kind}' for kind in asked)}")
    found, screen = _open(course, lang)
    one, reports, waiting = _reports(found, assignment, screen, course)
    folder = out or found.out / "export" / one.id
    wrong = []
    for kind in kinds:
        try:
            screen.written(write(kind, one, reports, found.students, folder, lang=_lang(lang, found.lang),
                                 waiting=waiting))
        except UserError as error:  # the other kinds do not depend on it
            wrong.append(f"--{kind}: {error}")
    blank = [r.student for r in reports if r.state != "graded"]
    if blank and {"canvas", "moodle", "csv"} & set(kinds):
        screen.say(f"{len(blank)} not graded, left blank: {', '.join(blank)}",
                   f"{len(blank)} 份未能评分，分数留空：{'、'.join(blank)}", "yellow")
    if wrong:
        raise UserError("not written: " + "; ".join(wrong))


@class_.command()
def verify(assignment: Annotated[list[str] | None, typer.Argument(
               help="Ids, numbers, parts of names, or folders; else all of the course, or all of minillm's.",
               show_default=False)] = None,
           course: CourseAt = None, lang: Lang = None) -> None:
    """Check assignments: the stub scores 0, the solution 100, known mistakes are recognised, nothing leaks.

    Examples:  minillm class verify   |   minillm class verify adam   |   minillm class verify my/07_own_task
    """
    from minillm.classroom.verify import verify as check
    from minillm.cli.classroom_screen import Screen

    found = None if course is None and _around() is None else _course(course)
    screen = Screen(_lang(lang, found.lang if found else "en"))
    wrong = 0
    for one in _to_verify(found, assignment or []):
        problems = check(one)
        wrong += bool(problems)
        if not problems:
            screen.say(f"{one.id}: as it should be", f"{one.id}：没有问题", "green")
        else:
            screen.lines((one.id, one.id), [("-", p, p) for p in problems], "red")
    raise typer.Exit(1 if wrong else 0)


def _to_verify(course: Course | None, names: list[str]) -> list[Assignment]:
    from minillm.classroom.assignment import find_assignment
    from minillm.classroom.solution import AssignmentError

    if not names:
        return [course.assignment(a) for a in course.assignments] if course else _ours()
    try:
        return [course.assignment(name) if course and not Path(name, "assignment.toml").is_file()
                else find_assignment(name) for name in names]
    except AssignmentError as error:
        raise UserError(str(error)) from None


def _ours() -> list[Assignment]:
    """The package's own assignments."""
    from minillm.classroom.assignment import assignments_folder, load_assignment
    from minillm.classroom.solution import AssignmentError

    try:
        return [load_assignment(p.parent) for p in sorted(assignments_folder().glob("*/assignment.toml"))]
    except AssignmentError as error:
        raise UserError(str(error)) from None


def _course(path: Path | None) -> Course:
    """The course that is named, or the one that the current folder lies in."""
    from minillm.classroom.course_folder import MARKER, Course

    if path is not None:
        return Course.open(path)
    if (folder := _around()) is not None:
        return Course.open(folder)
    raise UserError(f"no course here: {Path.cwd()} has no {MARKER}, and no folder above it. Go to the "
                    "course's folder, give it with --course, or make one with `minillm class new my-course`")


def _around() -> Path | None:
    """The folder of the course that the current folder lies in, or None."""
    from minillm.classroom.course_folder import MARKER

    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / MARKER).is_file()), None)


def _open(path: Path | None, lang: str | None) -> tuple[Course, Screen]:
    from minillm.cli.classroom_screen import Screen

    course = _course(path)
    return course, Screen(_lang(lang, course.lang))


def _lang(given: str | None, default: str) -> str:
    if given not in (None, "en", "zh"):
        raise UserError(f"lang = {given!r} must be en or zh")
    return given or default


def _assignment(course: Course, which: str | None, graded: dict[str, int] | None = None) -> Assignment:
    """The assignment that is named; else the only one of the course, or the only one that was graded."""
    if which is not None:
        return course.assignment(which)
    ids = [a for a in course.assignments if a in graded] if graded else list(course.assignments)
    if len(ids) != 1:
        raise UserError(f"say which assignment with --assignment: {', '.join(ids) or 'the course has none'}")
    return course.assignment(ids[0])


def _journal(course: Course, screen: Screen | None = None) -> Any:
    from minillm.classroom.journal import Journal

    journal = Journal(course.journal)
    if journal.note is not None:
        from minillm.cli.classroom_screen import Screen

        (screen or Screen(course.lang)).say(*journal.note, "yellow")
    return journal


def _reports(course: Course, which: str | None, screen: Screen, path: Path | None
             ) -> tuple[Assignment, list[Report], tuple[str, ...]]:
    """The assignment, its reports, and whose files were handed in and are not graded yet."""
    with _journal(course) as journal:
        one = _assignment(course, which, journal.graded())
        reports = list(journal.reports(one.id))
        waiting = journal.waiting(one.id)
        found = len(journal.seen(one.id))
    if not reports:
        raise UserError(f"{one.id} was not graded yet: minillm class grade SUBMISSIONS -a {one.id}")
    if waiting:
        screen.stopped(found - len(waiting), found, [r.student for r in reports if r.student in waiting],
                       "; ".join(f"minillm class grade {shlex.quote(where)}{_flags(one, path)}"
                                 for where in sorted({w.where for w in waiting.values()})))
    return one, reports, tuple(waiting)
