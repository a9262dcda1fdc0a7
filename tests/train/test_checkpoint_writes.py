"""Checkpoints on a full disk, and in a process that is killed while it saves."""

import errno
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.files import write_atomically
from minillm.train.checkpoint import load_checkpoint, save_checkpoint


def names(folder):
    return sorted(p.name for p in folder.iterdir())


class FullDisk:
    """A file that takes half of what it is given and then finds the disk full."""

    def __init__(self, file, code):
        self.file = file
        self.code = code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch, code):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"w": np.ones(1000)}, {"step": 1})
    old = path.read_bytes()
    opened = []

    def full_open(*arguments, **keywords):
        opened.append(FullDisk(open(*arguments, **keywords), code))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr("minillm.files.open", full_open, raising=False)
    message = "cannot write" if code == errno.EIO else "the disk is full"
    with pytest.raises(UserError, match=message) as error:
        save_checkpoint(path, {"w": np.zeros(1000)}, {"step": 2})
    monkeypatch.undo()
    assert opened
    assert "\n" not in str(error.value)
    assert path.read_bytes() == old
    assert names(tmp_path) == ["c.safetensors"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_failing_or_interrupted_flush_and_rename(tmp_path, monkeypatch, call, failure):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {}, {"step": 1})

    def fail(*_):
        raise failure

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        save_checkpoint(path, {}, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)[1] == {"step": 1}
    assert names(tmp_path) == ["c.safetensors"]


def test_unwritable_places(tmp_path):
    for path in (tmp_path / "no" / "c.safetensors", tmp_path, tmp_path / ("n" * 300)):
        with pytest.raises(UserError, match="cannot write") as error:
            write_atomically(path, b"data")
        assert "\n" not in str(error.value)
    assert names(tmp_path) == []


def test_leftovers_of_killed_writes_are_removed_and_nothing_else(tmp_path):
    pid = subprocess.Popen([sys.executable, "-c", ""])
    pid.wait()
    leftover = tmp_path / f".c.safetensors.{pid.pid}-0123abcd.tmp"
    others = [".c.safetensors", f".d.safetensors.{pid.pid}-0123abcd.tmp", "c.safetensors.tmp",
              f".c.safetensors.html.{pid.pid}-0123abcd.tmp", ".c.safetensors.mine.tmp",
              f".c.safetensors.{os.getppid()}-0123abcd.tmp"]  # the last is being written
    for name in (leftover.name, *others):
        (tmp_path / name).write_bytes(b"half")
    save_checkpoint(tmp_path / "c.safetensors", {}, {"step": 1})
    assert names(tmp_path) == sorted([*others, "c.safetensors"])


def test_new_file_has_the_mode_the_user_asked_for(tmp_path):
    """Not 0600, as Python's temporary files have: a teacher reads a student's run."""
    save_checkpoint(tmp_path / "a", {}, {})
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path):
    kept, link = tmp_path / "marks", tmp_path / "link"
    kept.write_bytes(b"old")
    kept.chmod(0o600)
    link.symlink_to(kept)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert kept.read_bytes() == b"new"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    code = """
        import sys
        from minillm.files import write_atomically
        for i in range(200):
            write_atomically(sys.argv[1], bytes(1000))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "x")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    writers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(w.communicate(timeout=100)[1], w.returncode) for w in writers] == [(b"", 0)] * 2
    assert names(tmp_path) == ["x"]


# --- processes that die (forked from one that has NumPy loaded: a new one takes too long)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def run_python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KILL = """
    import json, os, random, signal, sys, time
    from pathlib import Path
    import numpy as np
    from minillm.train.checkpoint import load_checkpoint, save_checkpoint

    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    path = folder / "c.safetensors"

    def save(step):
        arrays = {f"w{i}": np.full((100, 500), step, np.float64) for i in range(5)}  # 2 MB
        save_checkpoint(path, arrays, {"step": step})

    save(0)
    random.seed(0)
    steps, torn = [], 0
    for kill in range(kills):
        child = os.fork()
        if child == 0:
            step = load_checkpoint(path)[1]["step"]
            while True:
                step += 1
                save(step)
        time.sleep(random.uniform(0.002, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        torn += any(p.name.endswith(".tmp") for p in folder.iterdir())
        arrays, state = load_checkpoint(path)
        assert len(arrays) == 5
        assert all((a == state["step"]).all() for a in arrays.values()), "two checkpoints mixed"
        steps.append(state["step"])
    save(steps[-1] + 1)
    print(json.dumps([steps, torn, [p.name for p in folder.iterdir()]]))
"""


@needs_fork
def test_killed_at_random_moments_while_it_saves(tmp_path):
    steps, torn, left = run_python(KILL, tmp_path, 24)
    assert len(steps) == 24
    assert steps == sorted(steps)
    assert steps[-1] > 0  # it did save
    assert torn > 0  # and was killed in the middle of it
    assert left == ["c.safetensors"]


KILL_AT = """
    import builtins, json, os, signal, sys
    from pathlib import Path
    import numpy as np
    from minillm import files
    from minillm.train.checkpoint import load_checkpoint, save_checkpoint

    path = Path(sys.argv[1]) / "c.safetensors"

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    class DiesHalfWay:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *_): pass
        def write(self, data):
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            die()

    replace = os.replace
    def replace_and_die(*paths):
        replace(*paths)
        die()

    moments = {
        "write": lambda: setattr(files, "open", lambda *a: DiesHalfWay(open(*a))),
        "fsync": lambda: setattr(os, "fsync", die),
        "before replace": lambda: setattr(os, "replace", die),
        "after replace": lambda: setattr(os, "replace", replace_and_die),
    }
    found = {}
    for moment, arm in moments.items():
        save_checkpoint(path, {"w": np.zeros(10_000)}, {"step": 0})
        child = os.fork()
        if child == 0:
            arm()
            save_checkpoint(path, {"w": np.ones(10_000)}, {"step": 1})
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, moment
        arrays, state = load_checkpoint(path)
        assert (arrays["w"] == state["step"]).all()
        found[moment] = state["step"]
    print(json.dumps(found))
"""


@needs_fork
def test_killed_at_each_step_of_a_save(tmp_path):
    """The rename is the one step that counts."""
    found = run_python(KILL_AT, tmp_path)
    assert found == {"write": 0, "fsync": 0, "before replace": 0, "after replace": 1}


FILE_SIZE_LIMIT = """
    import json, os, resource, sys
    from pathlib import Path
    import numpy as np
    from minillm.errors import UserError
    from minillm.train.checkpoint import load_checkpoint, save_checkpoint

    path = Path(sys.argv[1]) / "c.safetensors"
    save_checkpoint(path, {"w": np.ones(1000)}, {"step": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # bytes; the kernel refuses more
    try:
        save_checkpoint(path, {"w": np.ones(10_000)}, {"step": 2})
        message = None
    except UserError as error:
        message = str(error)
    print(json.dumps([message, load_checkpoint(path)[1], os.listdir(path.parent)]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_limit_of_the_kernel(tmp_path):
    message, state, left = run_python(FILE_SIZE_LIMIT, tmp_path)
    assert message.startswith("the disk is full")
    assert state == {"step": 1}
    assert left == ["c.safetensors"]
