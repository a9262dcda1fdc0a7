"""A teacher's course folder: made once, read with one clear line for whatever is wrong."""

import os
import shutil
import stat

import pytest

from minillm.classroom import find_assignment
from minillm.classroom.course_folder import Course
from minillm.classroom.roster import Student
from minillm.errors import UserError


@pytest.fixture
def course(tmp_path):
    return Course.create(tmp_path / "c", 'Language "models", \\ 语言模型', "zh", ["adam"])


def refusal(call, *args):
    with pytest.raises(UserError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_course_reads_back_as_it_was_made(course):
    again = Course.open(course.folder)
    assert again == course
    assert again.name == 'Language "models", \\ 语言模型'
    assert (again.lang, again.assignments) == ("zh", ("04_adam",))
    assert len(again.secret) == 32
    assert again.students == ()
    assert again.assignment("4").id == again.assignment("ada").id == "04_adam"
    assert "secret" in (course.folder / ".gitignore").read_text().split()


def test_by_default_a_course_has_every_assignment_and_the_folders_name(tmp_path):
    course = Course.create(tmp_path / "autumn")
    assert course.name == "autumn"
    assert "04_adam" in course.assignments
    assert list(course.assignments) == sorted(course.assignments)


def test_secrets_are_private_and_differ(tmp_path):
    one, two = (Course.create(tmp_path / n, assignments=[]) for n in "ab")
    assert one.secret != two.secret
    assert stat.S_IMODE((one.folder / "secret").stat().st_mode) == 0o600
    os.chmod(one.folder / "secret", 0o644)
    assert Course.open(one.folder).secret == one.secret
    assert stat.S_IMODE((one.folder / "secret").stat().st_mode) == 0o600


def test_a_secret_is_private_from_its_first_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "chmod", lambda path, mode: None)
    course = Course.create(tmp_path / "c", assignments=[])
    assert stat.S_IMODE((course.folder / "secret").stat().st_mode) == 0o600


def test_nothing_is_written_over(course, tmp_path):
    before = {p.name: p.read_bytes() for p in course.folder.iterdir()}
    assert "is a course already" in refusal(Course.create, course.folder)
    (course.folder / "course.toml").unlink()  # killed before the last step
    (course.folder / "roster.csv").write_text("id\nada\n")
    Course.create(course.folder, assignments=["adam"])
    after = {p.name: p.read_bytes() for p in course.folder.iterdir()}
    assert after["secret"] == before["secret"]
    assert after["roster.csv"] == b"id\nada\n"
    assert sorted(after) == sorted(before)  # no half-written file is left
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert "not empty" in refusal(Course.create, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_an_assignment_of_ones_own(tmp_path):
    shutil.copytree(find_assignment("adam").folder, tmp_path / "c" / "41_mine")
    shutil.copytree(find_assignment("adam").folder, tmp_path / "elsewhere" / "42_yours")
    course = Course.create(tmp_path / "c", assignments=["adam", str(tmp_path / "c" / "41_mine"),
                                                        str(tmp_path / "elsewhere" / "42_yours")])
    assert course.assignments == ("04_adam", "41_mine", "42_yours")
    assert course.assignment("mine").folder == (tmp_path / "c" / "41_mine").resolve()
    assert '"41_mine"' in (course.folder / "course.toml").read_text()


@pytest.mark.parametrize(("text", "said"), [
    ("name = 3", "name must be a text"),
    ("assignments = 'adam'", "must be a list"),
    ("lang = 'fr'", "lang = 'fr' must be"),
    ("nmae = 'x'", "unknown key 'nmae'"),
    ("name = ", "course.toml: Invalid value"),
    ("assignments = ['adam', '04_adam']", "two assignments"),
    ("assignments = ['knitting']", "'knitting' is no assignment"),
])
def test_a_wrong_course_toml_is_one_line(course, text, said):
    (course.folder / "course.toml").write_text(text)
    assert said in refusal(Course.open, course.folder)


def test_course_toml_from_a_windows_editor(course):
    marker = course.folder / "course.toml"
    marker.write_bytes(b"\xef\xbb\xbf" + marker.read_bytes().replace(b"\n", b"\r\n"))
    assert Course.open(course.folder) == course


def test_what_is_missing_is_named(course, tmp_path):
    assert "no course" in refusal(Course.open, tmp_path)
    assert "no assignment of this course: 04_adam" in refusal(course.assignment, "lstm")
    (course.folder / "roster.csv").unlink()
    assert "roster.csv is missing" in refusal(lambda: Course.open(course.folder).students)
    (course.folder / "secret").write_text("abc\n")
    assert "damaged" in refusal(Course.open, course.folder)
    (course.folder / "secret").unlink()
    assert "backup" in refusal(Course.open, course.folder)
    assert "'fr'" in refusal(Course.create, tmp_path / "d", "", "fr")
    assert not (tmp_path / "d").exists()


def roster(course, data):
    (course.folder / "roster.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    return Course.open(course.folder).students


PLAIN = "id,name,email\na1,王伟,w@x.cn\nb2,李娜,l@x.cn\n"


@pytest.mark.parametrize("data", [
    PLAIN, PLAIN.replace(",", ";"), PLAIN.replace(",", "\t"), "sep=;\n" + PLAIN.replace(",", ";"),
    PLAIN.replace("\n", "\r\n"), "# who is in the course\n\n" + PLAIN + "\n,,\n# gone,x,y\n",
    PLAIN.replace("id,name,email", "学号,姓名,邮箱"), PLAIN.replace("id,name,email", "ID,Name,Email"),
    PLAIN.encode("utf-8-sig"), PLAIN.encode("utf-16"), PLAIN.encode("gbk"),
])
def test_a_roster_by_hand_or_from_a_spreadsheet(course, data):
    assert [(s.id, s.name, s.email) for s in roster(course, data)] == [
        ("a1", "王伟", "w@x.cn"), ("b2", "李娜", "l@x.cn")]


@pytest.mark.parametrize(("data", "said"), [
    ("", "is empty"),
    ("id,name\na,x\nb,y\n\nA,z\n", "the id A stands in line 2 and in line 5"),
    ("who,name\na,x\n", "no column id; its columns are who, name"),
    ("id,name\n,x\n", "line 2: no id"),
    ("id,name\na,x,y\n", "line 2: 3 cells, but there are 2 columns"),
    ("id,name\n2.02312E+11,x\n", "shortened by a spreadsheet"),
    ("id,name\n../x,x\n", "is no id"),
    ("id,id\na,x\n", "two columns called id"),
    ('id,name\na,"x\n', "line"),
    ("id,name\na,x\nb,José Sánchez\n".encode("latin-1"), "line 3 is not UTF-8"),
    # bytes that are rare characters in GBK
    ("id,name\na,Müller\nb,Sánchez\n".encode("latin-1"), "line 2 is not UTF-8"),
    ("# us\n\nid,name\n,x\n", "line 4: no id"),
    (b"PK\x03\x04\x00\x00", "Excel workbook"),
    (b"\xff\xfea\x00\x00\xd8", "begins as UTF-16 and is not"),
])
def test_a_wrong_roster_is_one_line(course, data, said):
    message = refusal(roster, course, data)
    assert said in message
    assert "roster.csv" in message


def test_a_grade_book_from_canvas(course):
    students = roster(course, (
        "Student,ID,SIS User ID,SIS Login ID,Section,Adam (17)\n"
        ",,,,,Manual Posting\n"
        "    Points Possible,,,,,100.00\n"
        '"Lovelace, Ada",101,s-ada,ada@x.org,Mon 1,\n'
        '"Hopper, Grace",102,,grace,Mon 1,\n'
        '"Turing, Alan",103,,,Mon 2,\n'
        '"Student, Test",104,,0a1b,Mon 1,\n').encode("utf-8-sig"))
    assert [(s.id, s.name, s.email) for s in students] == [
        ("s-ada", "Lovelace, Ada", "ada@x.org"), ("grace", "Hopper, Grace", ""), ("103", "Turing, Alan", "")]
    assert students[0].columns["ID"] == "101"
    assert students[0].columns["Adam (17)"] == ""


def test_our_own_columns_beside_those_of_canvas(course):
    (ada,) = roster(course, 'id,name,email,Student,ID,SIS User ID,SIS Login ID,Section\n'
                            'ada,Ada,a@x.org,"Lovelace, Ada",101,s-ada,al,Mon\n')
    assert (ada.id, ada.name, ada.email, ada.columns["ID"]) == ("ada", "Ada", "a@x.org", "101")


def test_lists_from_moodle_and_gradescope(course):
    moodle = "First name,Last name,ID number,Email address\nAda,Lovelace,s1,a@x.org\nGrace,Hopper,,g@x.org\n"
    assert [(s.id, s.name) for s in roster(course, moodle)] == [
        ("s1", "Ada Lovelace"), ("g@x.org", "Grace Hopper")]
    chinese = "名,姓,学号,电子邮件地址\n伟,王,7,w@x.cn\n"
    assert [(s.id, s.name) for s in roster(course, chinese)] == [("7", "王伟")]
    gradescope = "First Name,Last Name,SID,Email,Role\nAda,Lovelace,9,a@x.org,Student\nT,A,8,t@x.org,TA\n"
    assert [s.id for s in roster(course, gradescope)] == ["9"]


def test_a_student_without_more_than_an_id():
    assert Student("a").name == ""
