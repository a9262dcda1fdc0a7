"""Which layers are chosen and why not, what is refused in a line, and what of the disk a worker is shown."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from minillm.classroom.sandbox import (
    SandboxError,
    Worker,
    chosen,
    describe,
    handle,
    landlock,
    layers,
    probe,
    view,
)
from minillm.classroom.sandbox.layers import NAMES, Layer

HERE = {layer.name for layer in probe() if layer.active}
ROOT = os.geteuid() == 0
RUN = "def run(student, inputs):\n    return {'x': student.f(inputs)}\n"


def test_memory_is_watched_only_where_nothing_else_limits_it():
    assert ("watch" in chosen()) == ("mounts" not in HERE)
    assert "watch" in chosen(("watch",))


def test_unknown_layers_are_named():
    with pytest.raises(SandboxError, match="there is no layer 'docker'; the layers are process, limits"):
        chosen(("docker",))


def without(*names, why=""):
    return tuple(Layer(n, n not in names, why if n in names else "") for n in NAMES)


def test_a_line_for_each_layer(monkeypatch):
    monkeypatch.setattr(layers, "probe", lambda: without("landlock", "watch", why="no such call"))
    lines = describe(("process", "seccomp"))
    assert lines[0].startswith("process: ")
    assert "landlock: not used: no such call" in lines
    assert "limits: not used" in lines
    assert len(lines) == len(NAMES) - 1
    assert describe(("process",), "zh")[0] == "process：独立的进程和会话，空的环境变量，只有指定文件的副本"
    assert "landlock：未使用：no such call" in describe((), "zh")
    assert set(layers.SAYS_ZH) == set(NAMES)


def test_what_fails_is_left_out_one_after_the_other(monkeypatch):
    tried = []
    failures = [{"mounts": "mount /: no", "pids": "no"}, {"landlock": "no such call"}, {}]

    def attempt(names):
        tried.append(set(names))
        return failures[len(tried) - 1]

    monkeypatch.setattr(layers, "_try", attempt)
    monkeypatch.setattr(layers.sys, "platform", "linux")
    found = {layer.name: layer for layer in probe.__wrapped__()}
    assert tried[0] - tried[1] == {"mounts", "pids"}
    assert tried[1] - tried[2] == {"landlock"}
    assert {n for n, layer in found.items() if not layer.active} - {"user"} == {"mounts", "pids", "landlock"}
    assert found["mounts"].why == "mount /: no"
    monkeypatch.setattr(layers, "_try", lambda names: {"import numpy": "no numpy"})
    with pytest.raises(SandboxError, match="a worker cannot be started: no numpy"):
        probe.__wrapped__()


OLD = """
import os, sys
from minillm.classroom.sandbox import kernel, landlock
version, secret, scratch = int(sys.argv[1]), *sys.argv[2:]
landlock.version = lambda: version
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
assert landlock.apply([os.path.dirname(os.__file__)], [], scratch) == version
open(scratch + "/mine", "w").write("x")
for path, mode in ((secret, "r"), (secret, "a"), (secret + "2", "w")):
    try:
        open(path, mode)
    except PermissionError:
        continue
    sys.exit("opened " + path)
"""


@pytest.mark.skipif("landlock" not in HERE, reason="needs Landlock")
@pytest.mark.parametrize("version", range(1, 8))
def test_every_version_of_landlock_is_used_as_far_as_it_goes(version, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    if version > landlock.version():
        pytest.skip("this kernel is older")
    command = [sys.executable, "-c", OLD, str(version), str(tmp_path / "secret"), str(tmp_path / "scratch")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not ROOT, reason="for a grader that is root")
def test_root_that_cannot_be_given_up_is_refused(monkeypatch):
    monkeypatch.setattr(layers, "probe", lambda: without("user", why="no numbers left"))
    with pytest.raises(SandboxError, match="as root and cannot give root up .no numbers left.: run it as an"):
        Worker({}, "a.py")


@pytest.mark.skipif(not ROOT, reason="for a grader that is root")
def test_a_python_that_only_root_can_read_is_refused_where_nothing_helps(monkeypatch):
    monkeypatch.setattr(layers, "probe", lambda: without("mounts", "seccomp"))
    monkeypatch.setattr(layers, "closed", lambda paths: "/there/python")
    with pytest.raises(SandboxError, match="no other account can read /there/python: run it as an ordinary"):
        chosen()
    monkeypatch.setattr(layers, "probe", lambda: without("mounts"))
    assert "landlock" in chosen()


def test_windows_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr(layers.sys, "platform", "win32")
    with pytest.raises(SandboxError, match="WSL"):
        probe.__wrapped__()


def test_closed_paths_are_found(tmp_path):
    (tmp_path / "in").mkdir()
    tmp_path.chmod(0o755)
    outside = view.closed([str(tmp_path)])
    assert view.closed([str(tmp_path / "in")]) == (outside and str(tmp_path / "in"))
    tmp_path.chmod(0o700)
    assert view.closed([str(tmp_path / "in")]) == str(tmp_path / "in")
    tmp_path.chmod(0o755)
    assert view.closed(["/none/there"]) == "/none/there"


def test_modules_that_are_not_installed_are_named():
    worker = Worker({}, "a.py", imports=("nothing_of_this_name",))
    with pytest.raises(SandboxError, match="needs nothing_of_this_name, which is not installed: pip install"):
        worker.__enter__()


@pytest.mark.parametrize("layers", [("mounts",), ("landlock",), None], ids=str)
def test_a_course_that_is_installed_beside_numpy_is_hidden(layers, monkeypatch):
    told = handle.setup
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        lib = Path(folder).resolve() / "lib"
        paths = {"std": lib / "std.py", "ours": lib / "site-packages" / "ours" / "m.py",
                 "course": lib / "site-packages" / "course" / "solution.py"}
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x", encoding="utf-8")

        def with_course(*args, **options):
            found = told(*args, **options)
            found["readable"] += [str(lib), str(paths["ours"].parent)]
            found["hidden"] = sorted([*found["hidden"], str(lib / "site-packages")])
            return found

        monkeypatch.setattr(handle, "setup", with_course)
        source = "import os\ndef f(inputs):\n    path = inputs['path'].tobytes().decode()\n"
        source += "    if os.path.basename(os.path.dirname(path)) in ('lib', 'ours'):\n"
        source += "        os.listdir(os.path.dirname(path))\n    return len(open(path).read())\n"
        with Worker({"a.py": source.encode()}, "a.py", layers=layers) as worker:
            for name, path in paths.items():
                asked = np.frombuffer(str(path).encode(), np.uint8)
                answer = worker.ask(RUN, {"path": asked}, seconds=10)
                assert answer.kind == ("exception" if name == "course" else "arrays"), (name, answer)


def test_installed_packages_are_hidden_but_for_those_that_are_named():
    seen = view.view(("math", "numpy"), ())
    assert list(seen.packages) == ["numpy"]
    with Worker({"a.py": b"def f(inputs):\n    import hypothesis\n"}, "a.py") as worker:
        answer = worker.ask(RUN, {}, seconds=5)
    assert (answer.kind, answer.error) == ("exception", "ModuleNotFoundError")
