"""What is handed in: every layout, every name, and whatever students and attackers put in a file's place."""

import io
import json
import os
import random
import socket
import stat
import struct
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from minillm.classroom.intake import Refused, entries, open_submissions, shown
from minillm.classroom.intake.gradescope import read_metadata
from minillm.classroom.intake.roster import Roster
from minillm.classroom.intake.source_text import check_source
from minillm.classroom.roster import Student
from minillm.errors import UserError

CODE = b"import numpy as np\n"
ROSTER = [Student("s1", "Jane Doe", "jdoe@uni.edu"), Student("s2", "John Roe", "roe@uni.edu"),
          Student("s3", "张三", "zs@uni.edu"), Student("s10", "Anna Maria de la Cruz", "cruz@uni.edu")]


def put(path, data=CODE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zipped(files, **options):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **options) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return made.getvalue()


def received(path, people=(), wanted="adam.py"):
    """{student: Submission}, and the Intake; every line is one line in two languages."""
    with open_submissions(path, wanted, people) as intake:
        found = {place.student: intake.read(place) for place in intake.places}
    for one in found.values():
        assert one.state in ("ok", "no_file", "unreadable")
        assert bool(one.files) == (one.state == "ok") == (not one.en) == (not one.zh)
        assert set(one.files) <= {wanted}
        for en, zh in [(one.en, one.zh), *one.notes]:
            lines(en, zh)
    for _, en, zh in intake.unmatched:
        lines(en, zh)
    return found, intake


def lines(en, zh):
    assert en.isprintable()
    assert zh.isprintable()
    assert not en or any("\u4e00" <= c <= "\u9fff" for c in zh)
    assert not set(en) & set("，：；。（）")


def one(folder, **options):
    """The only student's submission."""
    found, _ = received(folder, **options)
    submission, = found.values()
    return submission


def taken(submission, data=CODE):
    assert submission.files == {"adam.py": data}, submission
    return [en for en, _ in submission.notes]


# ---- whose is it


def test_a_folder_a_file_and_a_zip_for_each_student(tmp_path):
    put(tmp_path / "ada" / "adam.py")
    put(tmp_path / "bob" / "deep" / "er" / "adam.py", b"b = 1\n")
    put(tmp_path / "carl.py")
    put(tmp_path / "dora_adam.py")
    put(tmp_path / "eve.zip", zipped([("adam.py", CODE)]))
    put(tmp_path / "fay-adam.zip", zipped([("x/adam.py", CODE)]))
    put(tmp_path / ".DS_Store")
    put(tmp_path / "__MACOSX" / "adam.py")
    put(tmp_path / "README.md")
    found, intake = received(tmp_path)
    assert list(found) == ["ada", "bob", "carl", "dora", "eve", "fay"]
    assert taken(found.pop("bob"), b"b = 1\n") == []
    assert all(taken(s) == [] for s in found.values())
    assert [u[0] for u in intake.unmatched] == ["README.md"]


def test_canvas(tmp_path):
    put(tmp_path / "doejane_4711_90001_adam.py")
    put(tmp_path / "roejohn_LATE_4712_90002_adam-2.py")
    put(tmp_path / "cruzanna_4713_90003_hw.zip", zipped([("adam.py", CODE)]))
    found, intake = received(tmp_path, ROSTER)
    assert list(found) == ["s1", "s2"]
    assert taken(found["s1"]) == []
    assert taken(found["s2"]) == ["the platform marked it as late"]  # the -2 is Canvas's own
    assert intake.missing == ("s10", "s3")
    assert [(s, en) for s, en, _ in intake.unmatched] == [
        ("cruzanna_4713_90003_hw.zip", "matches nobody in the roster; use the platform's own list (grade "
         "book, participants) as roster.csv")]
    found, _ = received(tmp_path)
    assert list(found) == ["cruzanna_4713", "doejane_4711", "roejohn_4712"]
    by_number = [Student("s10", columns={"ID": "4713"})]
    assert list(received(tmp_path, by_number)[0]) == ["s10"]


def test_canvas_takes_the_last_upload(tmp_path):
    put(tmp_path / "doejane_4711_90010_adam.py", b"old = 1\n")
    put(tmp_path / "doejane_4711_90020_adam-1.py", b"new = 1\n")
    put(tmp_path / "doejane_4711_90030_notes.txt")
    os.utime(tmp_path / "doejane_4711_90020_adam-1.py", (1, 1))
    notes = taken(one(tmp_path), b"new = 1\n")
    assert "2 files could be adam.py: adam-1.py was taken, adam.py not" in notes


def test_moodle(tmp_path):
    put(tmp_path / "Jane Doe_881_assignsubmission_file_" / "adam.py")
    put(tmp_path / "Jane Doe_881_assignsubmission_onlinetext_" / "onlinetext.html", b"<p>hello")
    put(tmp_path / "张三_882_assignsubmission_file_" / "adam.py")
    put(tmp_path / "John Roe_883_assignsubmission_file_adam.py")
    found, _ = received(tmp_path, ROSTER)
    assert list(found) == ["s1", "s2", "s3"]
    assert taken(found["s1"])[0].startswith("2 submissions: Jane Doe_881_assignsubmission_file_ was taken")
    assert taken(found["s2"]) == taken(found["s3"]) == []


METADATA = """---
submission_11:
  :submitters:
  - :name: Jane Doe
    :sid: '0042'
    :email: JDOE@uni.edu
  :created_at: 2026-03-01 10:00:00.5 Z
  :score: 1.0
  :results:
    tests:
    - name: a test
      email: forged@uni.edu
submission_12:
  :submitters:
  - :name: "John Roe"
    :sid:
    :email: roe@uni.edu
  - :name: 张三
    :email: zs@uni.edu
  :created_at: 2026-03-02 10:00:00 Z
submission_13:
  :submitters:
  - :name: Jane Doe
    :email: jdoe@uni.edu
  :created_at: 2026-03-03 10:00:00 Z
submission_14:
  :submitters:
  - :name: Nobody Known
    :email: nobody@uni.edu
"""


def test_gradescope(tmp_path):
    put(tmp_path / "submission_metadata.yml", METADATA.encode())
    for n in (11, 12, 13, 14):
        put(tmp_path / f"submission_{n}" / "adam.py", b"n = %d\n" % n)
    found, intake = received(tmp_path, ROSTER)
    assert {s: one.files["adam.py"] for s, one in found.items()} == {
        "s1": b"n = 13\n", "s2": b"n = 12\n", "s3": b"n = 12\n"}
    assert taken(found["s1"], b"n = 13\n") == [
        "2 submissions: submission_13 was taken, the newest; not submission_11"]
    assert [u[0] for u in intake.unmatched] == ["submission_14"]
    assert list(received(tmp_path)[0]) == ["0042", "jdoe@uni.edu", "nobody@uni.edu", "roe@uni.edu",
                                           "zs@uni.edu"]


def test_gradescope_metadata_inside_a_submission_is_not_believed(tmp_path):
    put(tmp_path / "submission_11" / "adam.py")
    put(tmp_path / "submission_11" / "submission_metadata.yml", METADATA.encode())
    assert received(tmp_path, ROSTER)[1].unmatched[0][0] == "submission_11"


def test_metadata_that_is_none_is_passed_over():
    found = read_metadata(b"\xff\xfe junk\n:\nsubmission_1:\n  :submitters: 3\n - :name: x\n")
    assert found["submission_1"].when == 0
    assert read_metadata(b"") == {}


@pytest.mark.parametrize(("label", "ids"), [
    ("s1", ["s1"]), ("S1", ["s1"]), ("jdoe@uni.edu", ["s1"]), ("jdoe", ["s1"]), ("Jane Doe", ["s1"]),
    ("jane_doe", ["s1"]), ("doejane", ["s1"]), ("Doe, Jane", ["s1"]), ("hw4 s1 final", ["s1"]), ("s1_hw4",
                                                                                                 ["s1"]),
    ("张三", ["s3"]), ("张三_作业", ["s3"]), ("hw s1 s2", ["s1", "s2"]), ("s11", []), ("Jane", []), ("", []),
    ("Jane Doe and John Roe", ["s1", "s2"]), ("de la", []), ("s10", ["s10"]),
    ("Roe", ["s2"]), ("Roe Smith", ["4"]), ("hw 4", []), ("hw 4 Jane Doe", ["s1"]), ("4", ["4"]),
    ("s2 Jane Doe", ["s1", "s2"]),
    ("x77 hw", ["4"]), ("Smith", ["4"]), ("cruzannamariadela", ["s10"])])
def test_labels_and_students(label, ids):
    assert Roster([*ROSTER, Student("4", "Smith", "x77@uni.edu")]).find(label) == ids


@pytest.mark.parametrize("label", ["oneilpat", "Pat O'Neil", "Pat O’Neil", "O'Neil_Pat", "pat_oneil hw4"])
@pytest.mark.parametrize("name", ["Pat O'Neil", "Pat O’Neil", "Pat ONeil"])
def test_an_apostrophe_is_no_letter(label, name):
    assert Roster([*ROSTER, Student("s7", name)]).find(label) == ["s7"]


OTHERS = {"adam.py": "04_adam", "adam_tests.py": "12_test_adam"}


@pytest.mark.parametrize(("wanted", "name"), [("adam_tests.py", "adam.py"), ("adam.py", "adam_tests.py")])
@pytest.mark.parametrize("flat", ["s1_{}", "{}", "doejane_4711_90001_{}"])
def test_another_assignments_file_is_called_what_it_is(tmp_path, wanted, name, flat):
    if flat == "{}":
        put(tmp_path / "s1" / name)
    else:
        put(tmp_path / flat.format(name))
        put(tmp_path / "roejohn_4712_90002_notes.txt")
    with open_submissions(tmp_path, wanted, ROSTER, OTHERS) as intake:
        submission = next(intake.read(p) for p in intake.places if p.student == "s1")
    assert (submission.files, submission.other) == ({}, OTHERS[name])
    assert submission.en == (f"found {name}, which belongs to {OTHERS[name]}, and no {wanted}: hand in "
                             f"{wanted}")
    lines(submission.en, submission.zh)


def test_two_students_of_one_name_are_left_to_the_teacher(tmp_path):
    put(tmp_path / "Jane Doe" / "adam.py")
    people = [Student("a", "Jane Doe"), Student("b", "Jane Doe")]
    found, intake = received(tmp_path, people)
    assert not found
    assert intake.unmatched[0][1].startswith("could be a, b;")
    assert intake.missing == ("a", "b")


def test_of_two_submissions_the_newest_counts(tmp_path):
    old, new = put(tmp_path / "s1" / "adam.py", b"old = 1\n"), put(tmp_path / "Jane Doe" / "adam.py",
                                                                   b"new = 1\n")
    os.utime(old, (1000, 1000))
    os.utime(new, (2000, 2000))
    found, _ = received(tmp_path, ROSTER)
    assert taken(found["s1"], b"new = 1\n") == ["2 submissions: Jane Doe was taken, the newest; not s1"]
    os.utime(old, (3000, 3000))
    assert taken(received(tmp_path, ROSTER)[0]["s1"], b"old = 1\n")


def test_a_single_submission(tmp_path):
    put(tmp_path / "s1" / "adam.py")
    put(tmp_path / "s2.zip", zipped([("src/adam.py", CODE)]))
    put(tmp_path / "s3.py")
    for name in ("s1", "s2.zip", "s3.py"):
        for people in ((), ROSTER):
            if (name, people) != ("s2.zip", ()):  # without a roster `src` is as good a name as any
                found, _ = received(tmp_path / name, people)
                assert list(found) == [name[:2]]
                assert taken(found[name[:2]]) == []


def test_a_zip_of_the_class(tmp_path):
    files = [("all/s1/adam.py", CODE), ("all/s2/x/adam.py", CODE), ("all/s3.zip", zipped([("adam.py",
                                                                                           CODE)])),
             ("__MACOSX/all/s1/._adam.py", b"junk"), ("all/s10/adam.py", b"")]
    path = put(tmp_path / "class.zip", zipped(files))
    for people in ((), ROSTER):
        found, intake = received(path, people)
        assert list(found) == ["s1", "s10", "s2", "s3"]
        assert [taken(found[s]) for s in ("s1", "s2", "s3")] == [[], [], []]
        assert "empty" in found["s10"].en
        assert intake.missing == ()


def test_names_in_a_zip_of_a_chinese_windows(tmp_path):
    data = zipped([("XX/adam.py", CODE), ("YY/adam.py", CODE)])
    data = data.replace(b"XX", "张".encode("gbk"))
    found, _ = received(put(tmp_path / "class.zip", data))
    assert list(found) == ["YY", "张"]


def test_nothing_there(tmp_path):
    found, intake = received(tmp_path, ROSTER)
    assert (found, intake.unmatched, len(intake.missing)) == ({}, (), 4)
    with pytest.raises(UserError, match="does not exist"):
        open_submissions(tmp_path / "no", "adam.py")
    with pytest.raises(UserError, match="not a whole zip"):
        open_submissions(put(tmp_path / "x.zip", b"PK"), "adam.py")


# ---- which file is it


@pytest.mark.parametrize("name", ["Adam.py", "ADAM.PY", "adam (1).py", "adam(2).py", "adam-2.py",
                                  "adam copy.py",
                                  "adam - Copy.py", "adam 副本.py", "adam.py.txt", "ada_adam.py", " adam.py",
                                  "doejane_471_9001_adam.py", "doejane_LATE_471_9001_adam-1.py"])
def test_names_that_come_near(tmp_path, name):
    put(tmp_path / "ada" / name)
    notes = taken(one(tmp_path))
    assert notes == [f"taken: {name}, though it should be called adam.py"]


@pytest.mark.parametrize("name", ["adm.py", "madam.py", "adam2.py", "bob_adam.py", "adam_test.py", "main.py"])
def test_other_names_are_named(tmp_path, name):
    put(tmp_path / "ada" / name)
    submission = one(tmp_path)
    assert submission.state == "no_file"
    assert submission.en == f"found {name}, wanted adam.py: rename the file and hand it in again"


def test_the_right_name_goes_first(tmp_path):
    put(tmp_path / "ada" / "adam.py")
    put(tmp_path / "ada" / "Adam.py", b"other = 1\n")
    put(tmp_path / "ada" / "deep" / "adam.py", b"other = 1\n")
    assert taken(one(tmp_path)) == ["3 files could be adam.py: adam.py was taken, deep/adam.py, Adam.py not"]


@pytest.mark.parametrize(("name", "data", "said"), [
    ("adam.docx", b"PK\3\4", "is a Word document"), ("adam.pdf", b"%PDF", "is a PDF"),
    ("adam.txt", CODE, "is a plain text"), ("hw.ipynb", b"{}", "begin a cell with %%writefile adam.py"),
    ("adam.rar", b"Rar!", "is not opened"), ("adam.tar.gz", b"\x1f\x8b", "is not opened"),
    ("data.csv", b"1,2", "no adam.py in it, only data.csv")])
def test_not_python(tmp_path, name, data, said):
    put(tmp_path / "ada" / name, data)
    submission = one(tmp_path)
    assert submission.state == "no_file"
    assert said in submission.en
    assert "adam.py" in submission.zh


def book(*sources):
    cells = [{"cell_type": "code", "source": s} for s in sources]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "%%writefile adam.py\nno"},
                                 *cells]}).encode()


def test_a_notebook_with_writefile_counts(tmp_path):
    put(tmp_path / "ada" / "hw.ipynb", book("1 + 1", ["%%writefile adam.py\n", "import numpy as np"]))
    assert taken(one(tmp_path)) == [
        "taken: the cell %%writefile adam.py of hw.ipynb; hand in the file itself"]
    put(tmp_path / "ada" / "hw.ipynb", book("%%writefile other.py\nx = 1", "import numpy as np"))
    assert one(tmp_path).state == "no_file"
    put(tmp_path / "ada" / "hw.ipynb", book("%%writefile adam.py\nx = 1", "%%writefile -a adam.py\ny = 2"))
    assert one(tmp_path).files == {"adam.py": b"x = 1\ny = 2\n"}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"cells": 3}', b'{"cells": [{"cell_type": "code"}]}',
                                  b'{"cells": ' + b"[" * 100_000, b'{"cells": [1' + b"0" * 10_000 + b"]}"])
def test_notebooks_that_are_none(tmp_path, data):
    put(tmp_path / "ada" / "hw.ipynb", data)
    assert one(tmp_path).state == "no_file"


# ---- is it text


GBK = "# 你好，世界\nx = 1\n"


@pytest.mark.parametrize(("data", "kept"), [
    (CODE, CODE), (b"\xef\xbb\xbf" + CODE, b"\xef\xbb\xbf" + CODE), ("# ü 你\n".encode(),
                                                                     "# ü 你\n".encode()),
    (f"# -*- coding: gbk -*-\n{GBK}".encode("gbk"), f"# -*- coding: utf-8 -*-\n{GBK}".encode()),
    ("#!/usr/bin/python\n# vim: fileencoding=latin-1 :\n# ü\n".encode("latin-1"),
     "#!/usr/bin/python\n# vim: fileencoding=utf-8 :\n# ü\n".encode()),
    (b"# coding: utf-8\r\nx = 1\r\n", b"# coding: utf-8\r\nx = 1\r\n"), (b"x = 1\n\n# coding: none\n",) * 2,
    (b"MZ = 1\n", b"MZ = 1\n")])
def test_encodings_that_python_reads(tmp_path, data, kept):
    put(tmp_path / "ada" / "adam.py", data)
    assert taken(one(tmp_path), kept) == []
    compile(kept, "adam.py", "exec")


@pytest.mark.parametrize(("data", "said"), [
    (b"", "adam.py is empty (0 bytes)"), (b" \n\n", "adam.py is empty"),
    (GBK.encode("gbk"),
     "line 1: not UTF-8 but probably GBK: save it as UTF-8, or write # -*- coding: gbk -*-"),
    (CODE.decode().encode("utf-16"), "saved as UTF-16"), (CODE.decode().encode("utf-16-le"),
                                                          "saved as UTF-16"),
    (CODE.decode().encode("utf-32"), "saved as UTF-32"), (b"x = 1\n# \xff\xfe\xfd\n", "line 2: not UTF-8"),
    (b"# coding: rot13\n" + CODE, "coding line that it is 'rot13'"),
    (b"# coding: unicode_escape\n" + CODE, "'unicode_escape'"), (b"# coding: punycode\n" + CODE,
                                                                 "'punycode'"),
    (b"# coding: " + b"x" * 5000 + b"\n", "coding line"), (b"# coding: ascii\n# \xc3\xbc\n", "not ascii"),
    (b"\xef\xbb\xbf# coding: gbk\n", "'gbk'"), (b"x = 1\0\n", "NUL bytes"),
    (zipped([("word/document.xml", "x")]), "is a zip or Word document"), (b"%PDF-1.7\n", "is a PDF"),
    (b"\x7fELF\2\1\1\0", "is a program"), (book("x = 1"), "is a notebook with the name of a Python file")])
def test_what_is_not_text_for_python(tmp_path, data, said):
    put(tmp_path / "ada" / "adam.py", data)
    submission = one(tmp_path)
    assert submission.state == "unreadable"
    assert said in submission.en


# ---- what is put in a file's place


def test_links_are_not_followed(tmp_path):
    secret = put(tmp_path / "secret.py")
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "adam.py").symlink_to(secret)
    (tmp_path / "in" / "bob").symlink_to(put(tmp_path / "bob" / "adam.py").parent)
    put(tmp_path / "in" / "carl" / "x.py")
    (tmp_path / "in" / "carl" / "sub").symlink_to(tmp_path / "bob")
    (tmp_path / "in" / "dora.py").symlink_to(secret)
    (tmp_path / "in" / "eve").mkdir()
    (tmp_path / "in" / "eve" / "adam.py").symlink_to("adam.py")
    found, _ = received(tmp_path / "in")
    assert [found[s].files for s in ("ada", "bob", "carl", "dora", "eve")] == [{}] * 5
    for student in ("ada", "bob", "dora", "eve"):
        assert "links are not followed" in found[student].en


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_devices_are_not_opened(tmp_path):
    (tmp_path / "in" / "ada").mkdir(parents=True)
    os.mkfifo(tmp_path / "in" / "ada" / "adam.py")
    os.mkfifo(tmp_path / "in" / "bob.py")
    os.mkfifo(tmp_path / "in" / "carl")
    (tmp_path / "in" / "dora").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path / "in" / "dora")  # the path of a socket has to be short
        try:
            server.bind("adam.py")
        finally:
            os.chdir(here)
        (tmp_path / "in" / "eve" / "adam.py").mkdir(parents=True)
        if os.geteuid() == 0:
            (tmp_path / "in" / "fay").mkdir()
            try:
                os.mknod(tmp_path / "in" / "fay" / "adam.py", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            except OSError:
                (tmp_path / "in" / "fay").rmdir()
        found, _ = received(tmp_path / "in")
    assert not any(s.files for s in found.values())
    for student in {"ada", "bob", "dora", "fay"} & set(found):
        assert "device, pipe or socket" in found[student].en
    assert {"ada", "bob", "dora", "eve"} <= set(found)
    assert found["eve"].en == "nothing is in it: hand in adam.py" or "folder" in found["eve"].en


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    put(tmp_path / "ada" / "adam.py").chmod(0)
    put(tmp_path / "bob" / "adam.py").parent.chmod(0)
    found, _ = received(tmp_path)
    (tmp_path / "bob").chmod(0o755)
    assert "permission denied" in found["ada"].en
    assert "permission denied" in found["bob"].en


def test_a_gigabyte_costs_nothing(tmp_path):
    for name in ("ada/adam.py", "bob/data.bin", "carl.py", "dora/hw.zip", "eve/hw.ipynb"):
        path = put(tmp_path / name, b"")
        with path.open("wb") as file:
            file.truncate(1 << 30)
    put(tmp_path / "bob" / "adam.py")
    put(tmp_path / "fay" / "adam.py", b"#" * 1_000_001)
    tracemalloc.start()
    begun = time.monotonic()
    found, _ = received(tmp_path)
    seconds, (_, peak) = time.monotonic() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["ada"].en == "adam.py has 1.1 GB; adam.py may have 1.0 MB at most"
    assert "1.1 GB" in found["carl"].en
    assert "20.0 MB at most" in found["dora"].en
    assert "1.1 GB" in found["eve"].en
    assert "1.0 MB" in found["fay"].en
    assert taken(found["bob"]) == []
    assert seconds < 5
    assert peak < 20e6


def test_a_hundred_thousand_files_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "ENTRIES", 50)
    from minillm.classroom.intake import receive

    monkeypatch.setattr(receive, "ENTRIES", 50)
    for n in range(120):
        put(tmp_path / "ada" / f"a{n:03d}.txt")
        put(tmp_path / "bob" / f"x{n}" / "y.py")
        put(tmp_path / "carl" / f"x{n}.py")
    put(tmp_path / "ada" / "adam.py")
    looked = []
    lstat = Path.lstat
    monkeypatch.setattr(Path, "lstat", lambda self: looked.append(self) or lstat(self))
    found, _ = received(tmp_path)
    assert len(looked) < 250
    assert taken(found["ada"]) == ["more than 50 files: not all were looked at"]
    assert "more than 50 files, and no adam.py among those looked at" in found["bob"].en
    assert "more than 50 files" in found["carl"].en


@pytest.mark.slow
def test_a_hundred_thousand_files_really(tmp_path):
    (tmp_path / "ada").mkdir()
    for n in range(100_000):
        (tmp_path / "ada" / f"{n}").touch()
    begun = time.monotonic()
    assert "more than 2000 files" in one(tmp_path).en
    assert time.monotonic() - begun < 5


def test_folders_without_end(tmp_path):
    deep = tmp_path / "ada"
    for _ in range(30):
        deep = deep / "d"
    put(deep / "adam.py")
    assert one(tmp_path).state == "no_file"


@pytest.mark.parametrize("name", ["../adam.py", "../../adam.py", "/adam.py", "C:\\adam.py", "C:adam.py",
                                  "..\\adam.py", "x/../../adam.py", "adam.py\n", "ad\x1bam.py",
                                  "\\\\host\\adam.py"])
def test_names_that_lead_out_of_a_zip(tmp_path, name):
    put(tmp_path / "in" / "ada.zip", zipped([(name, CODE)]))
    submission = one(tmp_path / "in")
    assert submission.state == "no_file"
    assert "leads out of the zip or cannot be written" in submission.en
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["ada.zip"]
    put(tmp_path / "in" / "ada.zip", zipped([(name, b"bad = 1\n"), ("adam.py", CODE)]))
    assert taken(one(tmp_path / "in")) == []


def test_a_name_with_nul_is_not_cut_to_another(tmp_path):
    data = zipped([("adam.pyXexe", CODE)]).replace(b"adam.pyXexe", b"adam.py\0exe")
    put(tmp_path / "ada.zip", data)
    assert one(tmp_path).state != "ok"


def test_backslashes_of_an_old_windows_are_folders(tmp_path):
    put(tmp_path / "ada.zip", zipped([("src\\adam.py", CODE)]))
    assert taken(one(tmp_path)) == []


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    info.create_system = 3
    return info, target


def test_links_in_a_zip_are_not_files(tmp_path):
    put(tmp_path / "ada.zip", zipped([link("adam.py", "/etc/passwd")]))
    assert "links are not followed" in one(tmp_path).en


def test_zip_bombs(tmp_path):
    put(tmp_path / "ada.zip", zipped([("adam.py", bytes(30_000_000))], compression=zipfile.ZIP_DEFLATED))
    lies = bytearray(zipped([("adam.py", b"#" * 30_000_000)], compression=zipfile.ZIP_DEFLATED))
    for magic, at in ((b"PK\1\2", 24), (b"PK\3\4", 22)):  # it says that it has ten bytes
        struct.pack_into("<L", lies, lies.index(magic) + at, 10)
    put(tmp_path / "bob.zip", lies)
    put(tmp_path / "carl.zip", zipped([("a.zip", zipped([("adam.py", CODE)]))]))
    put(tmp_path / "dora.zip", zipped([("adam.py", bytes(30_000_000))], compression=zipfile.ZIP_BZIP2))
    put(tmp_path / "eve.zip", zipped([("adam.py", CODE)], compression=zipfile.ZIP_LZMA))
    put(tmp_path / "fay.zip", zipped([(f"{n}.txt", b"") for n in range(10_000)] + [("adam.py", CODE)]))
    tracemalloc.start()
    found, _ = received(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not any(s.files for s in found.values())
    assert "30.0 MB" in found["ada"].en
    assert "damaged" in found["bob"].en
    assert found["carl"].en.startswith("a.zip (")
    assert "is not opened" in found["carl"].en
    assert "30.0 MB" in found["dora"].en
    assert "unusual way" in found["eve"].en
    assert "lists more than 2000 files" in found["fay"].en
    assert peak < 25e6


def test_a_directory_without_end_is_not_read(tmp_path, monkeypatch):
    put(tmp_path / "ada.zip", zipped([(f"{n}", b"") for n in range(16_000)]))
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)  # from here on a zip64, with its sizes elsewhere
    put(tmp_path / "bob.zip", zipped([(f"{n}", b"") for n in range(16_000)]))
    opened = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: opened.append(1))
    found, _ = received(tmp_path)
    assert "lists more than 2000 files" in found["ada"].en
    assert "lists more than 2000 files" in found["bob"].en
    assert not opened


def test_a_file_that_grew_meanwhile():
    with pytest.raises(Refused, match="1.0 MB at most"):
        check_source(b"#" * 1_000_001, "adam.py", "adam.py")


def test_a_locked_and_a_doubled_zip(tmp_path):
    data = bytearray(zipped([("adam.py", CODE)]))
    for magic, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        data[data.index(magic) + at] |= 1
    put(tmp_path / "ada.zip", data)
    with pytest.warns(UserWarning, match="Duplicate name"):
        put(tmp_path / "bob.zip", zipped([("adam.py", b"first = 1\n"), ("adam.py", CODE)]))
    found, _ = received(tmp_path)
    assert "password" in found["ada"].en
    assert taken(found["bob"]) == ["bob.zip holds 1 files under names that are taken: the last of each name "
                                   "counts"]


def test_zips_of_noise_are_one_line(tmp_path):
    draw = random.Random(7)
    whole = zipped([("src/adam.py", CODE * 50), ("b.txt", b"x" * 500)], compression=zipfile.ZIP_DEFLATED)
    for n in range(300):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 12)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if n % 3 == 0:
            del data[draw.randrange(len(data)):]
        put(tmp_path / f"s{n:03d}.zip", data)
    found, _ = received(tmp_path)
    assert len(found) == 300
    assert not any("cannot be read (" in s.en for s in found.values()), [
        s.en for s in found.values() if "cannot be read (" in s.en][:3]


def test_an_error_that_nobody_foresaw_is_one_line(tmp_path, monkeypatch):
    put(tmp_path / "ada" / "adam.py")
    from minillm.classroom.intake import receive

    monkeypatch.setattr(receive, "choose", lambda *_: 1 / 0)
    assert one(tmp_path).en == "ada cannot be read (ZeroDivisionError: division by zero)"


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only there")
def test_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/st\xffu\n\x1b[31m"
    os.mkdir(folder)
    with open(folder + b"/adam.py", "wb") as file:
        file.write(CODE)
    with open(folder + b"/\xfe.py", "wb") as file:
        file.write(CODE)
    found, _ = received(tmp_path)
    student, = found
    assert student.isprintable()
    student.encode()
    assert taken(found[student]) == []


def test_shown():
    assert shown("a\n\u202eb\x00") == "a\\n\\u202eb\\x00"
    assert shown("x" * 500) == "x" * 77 + "..."
    assert shown("张三 é") == "张三 é"


def test_the_sha_is_of_names_and_bytes(tmp_path):
    put(tmp_path / "ada" / "adam.py")
    put(tmp_path / "bob" / "adam.py")
    put(tmp_path / "carl" / "adam.py", b"x = 1\n")
    (tmp_path / "dora").mkdir()
    found, _ = received(tmp_path)
    assert found["ada"].sha == found["bob"].sha != found["carl"].sha
    assert len({s.sha for s in found.values()}) == 3
    assert all(len(s.sha) == 64 for s in found.values())
