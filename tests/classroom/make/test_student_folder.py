"""The student's folder: the task, nothing of the solution, the same bytes each time, all or nothing."""

import ast
import importlib.util
import io
import json
import os
import re
import zipfile

import numpy as np
import pytest

from minillm.classroom import find_assignment
from minillm.classroom.assignment import assignments_folder
from minillm.classroom.course_folder import Course
from minillm.classroom.make import make, make_student_folder, notebook, student_files
from minillm.errors import UserError

IDS = sorted(p.parent.name for p in assignments_folder().glob("*/assignment.toml"))
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def adam():
    return find_assignment("adam")


@pytest.mark.parametrize("name", IDS)
def test_no_line_of_a_solution_is_in_a_students_folder(name):
    assignment = find_assignment(name)
    pytest.importorskip("triton") if "triton" in assignment.imports else None
    solution = assignment.solution()
    given = {"".join(line.split()) for line in solution.student.splitlines()}
    secret = {"".join(line.split()) for line in solution.removed}
    secret = {line for line in secret - given if len(line) > 30}
    assert secret
    for lang in ("en", "zh", "both"):
        for path, content in student_files(assignment, lang).items():
            if path.endswith(".npz"):
                with zipfile.ZipFile(io.BytesIO(content)) as stored:
                    text = "\n".join(stored.namelist())
            elif path.endswith(".ipynb"):
                text = "\n".join("".join(cell["source"]) for cell in json.loads(content)["cells"])
            else:
                text = content.decode()
            packed = "".join(text.split())
            assert [line for line in secret if line in packed] == [], (lang, path)


def test_a_solution_that_slips_in_stops_it(small, tmp_path):
    leak = small({'"Write the mean."': '"""Write\n    return x - mean(x)[None, ...]\n"""'})
    with pytest.raises(UserError, match=r"README.md has a line of the solution: return x - mean"):
        make_student_folder(leak, tmp_path / "s")
    assert [p.name for p in tmp_path.iterdir()] == ["assignments"]  # and nothing half-made


def test_the_folder_holds_what_the_readme_speaks_of(adam, tmp_path):
    make_student_folder(adam, tmp_path / "s", "en")
    files = {p.relative_to(tmp_path / "s").as_posix() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    assert files == {"README.md", "AGENTS.md", "adam.py", "adam.ipynb", "test_public.py", "test_public.npz",
                     "pytest.ini", ".github/workflows/public_checks.yml"}
    readme = (tmp_path / "s" / "README.md").read_text()
    for name in set(re.findall(r"`([\w.]+\.(?:py|ipynb|md|npz))`", readme)):
        assert name in files
    for test in adam.tests:
        assert f"| {test.name} | {test.title} | {test.points:g} | {test.visibility} |" in readme
    assert adam.text.strip() in readme
    assert "Code that prints more than 1600 KiB\nis ended" in readme
    assert (tmp_path / "s" / "adam.py").read_text() == adam.solution("en").student
    ast.parse((tmp_path / "s" / "test_public.py").read_text())


@pytest.mark.parametrize("name", IDS)
def test_texts_are_in_the_language_that_was_asked_for(name):
    assignment = find_assignment(name)
    pytest.importorskip("triton") if "triton" in assignment.imports else None
    made = {lang: student_files(assignment, lang) for lang in ("en", "zh", "both")}
    readmes = {lang: files["README.md"].decode() for lang, files in made.items()}
    assert not CHINESE.search(readmes["en"])
    assert len(CHINESE.findall(readmes["zh"])) > 300
    assert readmes["both"] == readmes["en"] + "\n" + readmes["zh"]
    ours = re.sub(r"`[^`]*`", "", readmes["zh"].replace(assignment.text_zh.strip(), ""))
    assert not re.search(r"[,;:!?] ?[\u4e00-\u9fff]", ours)  # full width
    assert made["en"]["AGENTS.md"] == made["zh"]["AGENTS.md"]
    assert not re.search(r"\{\w+\}", readmes["en"].replace(assignment.text.strip(), ""))


def test_the_same_assignment_gives_the_same_bytes(adam):
    assert student_files(adam, "both") == student_files(find_assignment("adam"), "both")


def test_a_folder_that_is_not_empty_is_left_alone(adam, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        make_student_folder(adam, tmp_path / "s")
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="lang = 'fr'"):
        make_student_folder(adam, tmp_path / "t", "fr")


def test_agents_are_asked_to_tutor_in_both_languages(adam):
    text = student_files(adam)["AGENTS.md"].decode()
    english, chinese = text.split("\n---\n")
    assert not CHINESE.search(english)
    assert len(CHINESE.findall(chinese)) > 500
    # the two say the same: as many headings, points and numbered steps
    for mark in (r"^## ", r"^- ", r"^ *\d\. "):
        assert len(re.findall(mark, english, re.M)) == len(re.findall(mark, chinese, re.M)), mark


@pytest.mark.parametrize("lang", ["en", "zh", "both"])
def test_a_notebook_is_nbformat_4_5_and_the_same_each_time(adam, lang):
    text = notebook(adam, lang)
    assert text == notebook(adam, lang)
    book = json.loads(text)
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{12}", i) for i in ids)
    try:
        import nbformat
    except ImportError:
        return
    nbformat.validate(nbformat.reads(text, as_version=4))


def test_a_notebooks_cells_write_the_file_and_keep_what_was_there(adam, tmp_path, monkeypatch):
    cells = json.loads(notebook(adam, "en"))["cells"]
    keep, write, run = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    magic, _, stub = write.partition("\n")
    assert magic == "%%writefile adam.py"
    assert stub.strip() == adam.solution().student.strip()
    assert run.endswith('!"{sys.executable}" test_public.py')
    monkeypatch.chdir(tmp_path)
    exec(keep, {})
    assert list(tmp_path.iterdir()) == []
    for text in ("one", "two", "one", "two"):
        (tmp_path / "adam.py").write_text(text)
        exec(keep, {})
    assert [p.read_text() for p in sorted((tmp_path / "backups").iterdir())] == ["one", "two"]


def test_a_course_is_made_into_students_and_teachers_parts(tmp_path):
    course = Course.create(tmp_path / "c", assignments=["adam", "01"])
    (course.folder / "roster.csv").write_text("id,email\nada,ada@x.org\n")
    made = make(Course.open(course.folder), course.out)
    assert [m.assignment for m in made] == ["04_adam", "01_tape_backward"]
    students = course.out / "student"
    assert sorted(p.name for p in students.iterdir()) == [
        "01_tape_backward", "01_tape_backward.zip", "04_adam", "04_adam.zip"]
    with zipfile.ZipFile(made[0].zip) as zipped:
        assert {f"04_adam/{n}" for n in student_files(find_assignment("adam"))} == set(zipped.namelist())
    assert (course.out / "teacher").stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(made[0].gradescope) as zipped:
        assert bytes.fromhex(zipped.read("secret").decode()) == course.secret
        assert b"ada@x.org" in zipped.read("roster.csv")
    secret = course.secret.hex().encode()
    assert not [p for p in students.rglob("*") if p.is_file() and secret in p.read_bytes()]


def test_made_again_changed_folders_are_kept(adam, tmp_path):
    (first,) = make(adam, tmp_path)
    assert first.gradescope is None
    (again,) = make(adam, tmp_path)
    assert again.kept is None
    assert not (tmp_path / "changed").exists()
    (again.folder / "README.md").write_text("my own words")
    (third,) = make(adam, tmp_path, "zh")
    assert third.kept == tmp_path / "changed" / "04_adam.1"
    assert (third.kept / "README.md").read_text() == "my own words"
    assert CHINESE.search((third.folder / "README.md").read_text())
    (third.folder / "more.md").write_text("another")
    (fourth,) = make(adam, tmp_path)
    assert (fourth.kept / "more.md").read_text() == "another"
    assert (third.kept / "README.md").read_text() == "my own words"
    (fifth,) = make(adam, tmp_path, "both")
    assert fifth.kept is None
    assert sorted(p.name for p in (tmp_path / "student").iterdir()) == ["04_adam", "04_adam.zip"]


def test_one_bad_assignment_does_not_stop_the_others(small, tmp_path):
    bad = small({"return total_of_the_elements / x.size": "raise ValueError('no')"})
    course = Course.create(tmp_path / "c", assignments=[str(bad.folder), "adam"])
    with pytest.raises(UserError, match="1 of 2 assignments could not be made: .*ValueError: no") as caught:
        make(course, course.out)
    assert "\n" not in str(caught.value)
    assert [p.name for p in (course.out / "student").iterdir() if p.is_dir()] == ["04_adam"]


def test_arrays_come_back_as_they_were_stored():
    from minillm.classroom.make.archive import npz

    arrays = {"b/0/in/x": np.arange(6.0).reshape(2, 3), "a": np.array(3),
              "empty": np.zeros((0, 2), np.float32)}
    with np.load(io.BytesIO(npz(arrays)), allow_pickle=False) as stored:
        assert stored.files == list(arrays)
        for name, array in arrays.items():
            assert stored[name].dtype == array.dtype
            assert np.array_equal(stored[name], array)


@pytest.mark.slow
def test_the_notebook_runs_in_jupyter(adam, tmp_path):
    for package in ("nbformat", "nbclient", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            assert not os.environ.get("CI"), f"CI must run this test: pip install {package}"
            pytest.skip(f"pip install {package}")
    import nbformat
    from nbclient import NotebookClient

    make_student_folder(adam, tmp_path / "s", "zh")
    for text, said in ((None, "2 项中通过 0 项"), (adam.solution().text, "2 项中通过 2 项")):
        book = nbformat.read(tmp_path / "s" / "adam.ipynb", as_version=4)
        if text is not None:
            written = next(c for c in book.cells if c.source.startswith("%%writefile"))
            written.source = f"%%writefile adam.py\n{text}"
        NotebookClient(book, timeout=120, kernel_name="python3",
                       resources={"metadata": {"path": str(tmp_path / "s")}}).execute()
        assert said in "".join(out.get("text", "") for out in book.cells[-1].outputs)
    assert [p.read_text() for p in (tmp_path / "s" / "backups").iterdir()] == [adam.solution("zh").student]
