import errno
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.train.checkpoint import load_checkpoint, save_checkpoint
from minillm.train.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path / "run", {"seed": 1}) as run:
        yield run


def refused(make, *arguments, match):
    with pytest.raises(UserError, match=match) as error:
        make(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- making and opening


def test_create_write_close_open(tmp_path):
    path = tmp_path / "deep" / "run"
    config = {"model": "lstm", "lr": 1e-3, "prompt": "人工智能", "layers": [1, 2]}
    with RunFolder.create(path, config) as run:
        assert run.config == config
        save_checkpoint(run.checkpoint, {"w": np.ones(2)}, {"step": 3})
        run.append_metrics({"step": 3, "loss": 2.0})
    again = RunFolder.open(str(path))
    assert again.config == config
    assert again.read_metrics() == [{"step": 3, "loss": 2.0}]
    assert load_checkpoint(again.checkpoint)[1] == {"step": 3}
    files = {"config.json", "metrics.jsonl", "checkpoint.safetensors"}
    assert files == {p.name for p in path.iterdir()} - {".lock"}
    assert again.best == path / "best.safetensors"
    assert again.picture == path / "loss.png"
    assert json.loads((path / "config.json").read_text("utf-8")) == config


def test_a_folder_with_other_files_or_an_aborted_creation_can_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".lock").touch()
    RunFolder.create(tmp_path, {}).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.jsonl", "checkpoint.safetensors", "best.safetensors"]
)
def test_create_does_not_overwrite_a_run(tmp_path, name):
    (tmp_path / name).write_text("precious")
    message = refused(RunFolder.create, tmp_path, {}, match="already holds a run")
    assert "--resume" in message
    assert "another --out" in message
    assert [p.name for p in tmp_path.iterdir()] == [name]  # no lock file in a foreign folder
    assert (tmp_path / name).read_text() == "precious"


def test_create_where_it_cannot_be(tmp_path):
    file = tmp_path / "file"
    file.touch()
    refused(RunFolder.create, file, {}, match="is a file: choose another --out")
    refused(RunFolder.create, file / "run", {}, match="cannot write")
    refused(RunFolder.create, tmp_path / ("n" * 300), {}, match="cannot write")


@pytest.mark.parametrize("config", [{"lr": math.inf}, {"x": {1}}])
def test_a_config_that_is_no_json_makes_no_run(tmp_path, config):
    with pytest.raises((ValueError, TypeError)):
        RunFolder.create(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("make", [RunFolder.open, RunFolder.resume])
def test_no_run(tmp_path, make):
    refused(make, tmp_path, match="holds no run")
    refused(make, tmp_path / "none", match="does not exist")
    refused(make, tmp_path / ("n" * 300), match="does not exist")
    assert list(tmp_path.iterdir()) == []  # nor has it become one


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 100_000])
def test_damaged_config(run, text):
    (run.path / "config.json").write_bytes(text.encode("latin-1"))
    refused(lambda: run.config, match="cannot use")


def test_full_disk_at_creation(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(RunFolder.create, tmp_path / "run", {}, match="the disk is full")
    monkeypatch.undo()
    RunFolder.create(tmp_path / "run", {}).close()  # neither a run nor locked


# --- the lock


def test_second_writer_in_this_process_is_refused_and_a_reader_is_not(run):
    refused(RunFolder.resume, run.path, match=f"in use by process {os.getpid()}")
    assert RunFolder.open(run.path).config == {"seed": 1}
    lock = run._lock
    run.close()
    run.close()
    assert not lock.is_locked  # at once, not when the garbage collector comes by
    RunFolder.resume(run.path).close()


def test_unknown_owner(run):
    (run.path / ".pid").write_text("not a number")
    refused(RunFolder.resume, run.path, match="in use by another process")


HOLD = """
import sys
from minillm.train.run_folder import RunFolder
with RunFolder.create(sys.argv[1], {}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_process_is_refused_until_the_first_is_killed(tmp_path):
    path = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        message = refused(RunFolder.resume, path, match=f"in use by process {holder.pid}")
        assert repr(str(path)) in message
        refused(RunFolder.create, path, {}, match="already holds a run")
        holder.kill()
        holder.wait()
    with RunFolder.resume(path) as run:  # the lock went with the process
        run.append_metrics({"step": 1})
        refused(RunFolder.resume, path, match=f"in use by process {os.getpid()}")


def test_a_reader_does_not_write(run):
    reader = RunFolder.open(run.path)
    for write in (lambda: reader.append_metrics({"step": 1}), lambda: reader.truncate_metrics(0)):
        with pytest.raises(RuntimeError, match="for reading"):
            write()
    assert "locked" in repr(run)
    assert "locked" not in repr(reader)


# --- metrics

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
not_a_number_word = values.filter(lambda v: v not in ("NaN", "Infinity", "-Infinity"))
entry = not_a_number_word | st.lists(not_a_number_word)
records = st.lists(st.dictionaries(st.text(max_size=5), entry, max_size=4))


@given(records)
def test_metrics_round_trip_and_each_line_is_strict_json(tmp_path_factory, records):
    with RunFolder.create(tmp_path_factory.mktemp("runs") / "run", {}) as run:
        assert run.read_metrics() == []
        records = [{**record, "step": i} for i, record in enumerate(records)]
        for record in records:
            run.append_metrics(record)
        assert repr(run.read_metrics()) == repr(records)  # repr: NaN equals NaN
        if records:
            for line in run.metrics.read_text("utf-8").splitlines():
                json.loads(line, parse_constant=pytest.fail)


def test_non_finite_and_numpy_values(run):
    run.append_metrics(
        {"step": np.int64(1), "loss": np.float32(0.5), "a": math.nan, "b": [math.inf, -math.inf]}
    )
    line = run.metrics.read_text().strip()
    assert line == '{"step": 1, "loss": 0.5, "a": "NaN", "b": ["Infinity", "-Infinity"]}'
    (record,) = run.read_metrics()
    assert math.isnan(record["a"])
    assert record["b"] == [math.inf, -math.inf]


@pytest.mark.parametrize("record", [{}, {"step": "1"}, {"step": 1.0}, {"step": True}])
def test_a_record_needs_a_step(run, record):
    with pytest.raises(ValueError, match="give an integer"):
        run.append_metrics(record)
    assert not run.metrics.exists()


def test_each_line_is_in_the_file_at_once(run):
    run.append_metrics({"step": 1})
    assert run.metrics.read_bytes() == b'{"step": 1}\n'


@pytest.mark.parametrize("torn", [b"", b'{"step": 4, "lo', b'{"step": 1}', b"\0\0\0"])
def test_truncate_drops_later_steps_and_a_torn_line(run, torn):
    for step in (1, 2, 2, 3, 4):
        run.append_metrics({"step": step})
    with open(run.metrics, "ab") as file:
        file.write(torn)
    assert [r["step"] for r in run.read_metrics()] == [1, 2, 2, 3, 4]
    assert run.truncate_metrics(2) == 2 + bool(torn)
    assert run.metrics.read_bytes() == b'{"step": 1}\n{"step": 2}\n{"step": 2}\n'
    assert run.truncate_metrics(2) == 0
    run.append_metrics({"step": 3})
    assert [r["step"] for r in run.read_metrics()] == [1, 2, 2, 3]


def test_truncate_without_metrics(run):
    assert run.truncate_metrics(0) == 0
    assert not run.metrics.exists()


def test_lines_that_are_no_records_are_passed_over(run):
    run.metrics.write_bytes(b'[1]\n{"step": 1}\nnonsense\n{"loss": 2}\n{"step": "2"}\n\xff\n\n')
    assert run.read_metrics() == [{"step": 1}]
    assert run.truncate_metrics(5) == 5
    assert run.metrics.read_bytes() == b'{"step": 1}\n'


FULL = """
import resource, sys
from minillm.errors import UserError
from minillm.train.run_folder import RunFolder
with RunFolder.resume(sys.argv[1]) as run:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # bytes; the kernel refuses more
    try:
        for step in range(100):
            run.append_metrics({"step": step})
    except UserError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk_leaves_no_torn_line(run):
    run.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run(
        [sys.executable, "-c", FULL, str(run.path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.startswith("the disk is full")
    assert out.count("\n") == 1
    data = run.metrics.read_bytes()
    assert data.endswith(b"}\n")
    assert [r["step"] for r in RunFolder.open(run.path).read_metrics()] == list(range(8))
