"""A run's folder: configuration, metrics, checkpoints and picture; one process writes to it."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from minillm.errors import UserError
from minillm.files import cannot_write, write_atomically

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class RunFolder:
    """The files of one training run.

    - `config.json`: what was asked for (`config`);
    - `metrics.jsonl`: one JSON object a line, each with an integer "step";
    - `checkpoint.safetensors`, `best.safetensors`: the paths `checkpoint` and `best`;
    - `loss.png`: the path `picture`.

    `create` and `resume` give a folder to write to, locked until `close` (or the end of a `with`
    block, or of the process, however it ends); `open` gives one to read, also while another
    process trains in it. Every user's mistake raises UserError in one line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.best = self.path / "best.safetensors"
        self.picture = self.path / "loss.png"
        self.metrics = self.path / "metrics.jsonl"
        self._config = self.path / "config.json"
        self._pid = self.path / ".pid"
        self._lock: FileLock | None = None

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: Mapping[str, Any], *, overwrite: bool = False
    ) -> "RunFolder":
        """A new run in `path`, made with its parents if missing, locked, with its configuration.

        `config`: what JSON holds, finite numbers only. `overwrite`: replace the run that the folder
        holds, or what is left of one; a folder with other files and no run is refused. Raises
        UserError if the folder holds a run already, cannot be made, or another process has it;
        ValueError or TypeError for a config that is not JSON.
        """
        text = json.dumps(dict(config), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        run = cls(path)
        refuse = run._refuse_other_files if overwrite else run._refuse_a_run
        refuse()  # before the lock, to leave no lock file in a folder that is not ours
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError(f"{str(run.path)!r} is a file: choose another --out") from None
        except OSError as error:
            raise UserError(cannot_write(run.path, error)) from error
        run._acquire()
        try:
            refuse()
            # The old configuration goes last: whatever is left by a kill can be resumed or overwritten.
            for file in (run.checkpoint, run.best, run.metrics, run.picture) if overwrite else ():
                file.unlink(missing_ok=True)
            write_atomically(run._config, text.encode("utf-8", "backslashreplace"))
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """The existing run in `path`, locked for writing.

        Call `truncate_metrics` with the checkpoint's step (0 without one) before appending: the
        process that was stopped may have recorded more. Raises UserError if there is no run, or
        another process has it.
        """
        run = cls.open(path)
        run._acquire()
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """The existing run in `path`, for reading only. Raises UserError if there is none."""
        run = cls(path)
        if not os.path.isfile(run._config):
            why = "holds no run (no config.json)" if os.path.exists(run.path) else "does not exist"
            raise UserError(
                f"{str(run.path)!r} {why}:"
                " check the path of the run folder, or train a run there first"
            )
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What `create` was given, read from `config.json`. Raises UserError if it is damaged."""
        try:
            config = json.loads(self._config.read_text("utf-8"))
            if not isinstance(config, dict):
                raise ValueError("it is not a JSON object")
        except (OSError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"cannot use {str(self._config)!r} ({reason}): restore it, or start a new run"
            ) from error
        return config

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to `metrics.jsonl` at once: a kill leaves at most one torn line.

        `record`: an integer "step" and whatever JSON holds; NumPy scalars become plain numbers.
        Since JSON has no NaN, non-finite floats are written as the strings "NaN", "Infinity" and
        "-Infinity", which `read_metrics`, Python's float() and JavaScript's Number() turn back.

        Raises UserError if the disk is full (no torn line is left), ValueError for a wrong step,
        RuntimeError for a folder that was opened for reading.
        """
        self._must_be_locked()
        if not _is_step(record.get("step")):
            raise ValueError(f"record['step'] = {record.get('step')!r}: give an integer")
        line = json.dumps(_plain(dict(record)), allow_nan=False).encode() + b"\n"
        try:
            with open(self.metrics, "ab", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                try:
                    written = file.write(line)
                    while written < len(line):  # a nearly full disk takes a part, then refuses
                        written += file.write(line[written:])
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise UserError(cannot_write(self.metrics, error)) from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """The records in order, non-finite numbers as floats again; [] if none were written.

        A line that is no record, as a kill leaves at the end, is passed over.
        """
        return [_restore(record) for _, record in self._metrics_lines()]

    def truncate_metrics(self, step: int) -> int:
        """Drop what was recorded after `step`, and torn lines; returns the number of lines dropped.

        For resuming from a checkpoint at `step`: the steps after it will be recorded again.
        The rewriting is atomic.
        """
        self._must_be_locked()
        lines = self._metrics_lines()
        kept = [line for line, record in lines if record["step"] <= step]
        old = self.metrics.read_bytes() if self.metrics.exists() else b""
        new = b"".join(line + b"\n" for line in kept)
        if new != old:
            write_atomically(self.metrics, new)
        return sum(1 for line in old.split(b"\n") if line.strip()) - len(kept)

    def close(self) -> None:
        """Let other processes write. Closing twice does no harm."""
        if self._lock is not None:
            with suppress(OSError):
                self._pid.unlink()
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r}{', locked' if self._lock else ''})"

    def _refuse_a_run(self) -> None:
        for file in (self._config, self.metrics, self.checkpoint, self.best, self.picture):
            if os.path.exists(file):  # Path.exists raises for a name that is too long
                raise UserError(
                    f"{str(self.path)!r} already holds a run ({file.name}): go on with it by"
                    " --resume, replace it by --overwrite, or choose another --out"
                )

    def _refuse_other_files(self) -> None:
        """What --overwrite may replace: a run, the remains of one, or nothing."""
        if os.path.isfile(self._config) or not os.path.isdir(self.path):
            return
        own = {f.name for f in (self.checkpoint, self.best, self.metrics, self.picture)}
        foreign = [n for n in sorted(os.listdir(self.path)) if not n.startswith(".") and n not in own]
        if foreign:
            raise UserError(
                f"{str(self.path)!r} holds no run, but other files ({foreign[0]}): choose another --out"
            )

    def _acquire(self) -> None:
        # The system's own lock: it goes with the process, so a killed one leaves none behind. The
        # process id has its own file, because whoever asks for a lock empties the lock's file.
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"the run folder {str(self.path)!r} is in use by {self._owner()}: wait for it, stop"
                " it, or choose another --out"
            ) from None
        except (OSError, NotImplementedError) as error:
            raise UserError(
                f"cannot lock the run folder {str(self.path)!r} ({error}): choose an --out on a"
                " disk you can write to"
            ) from error
        self._lock = lock
        with suppress(OSError):  # a courtesy to the next process; a full disk is met later
            self._pid.write_text(str(os.getpid()), "ascii")

    def _owner(self) -> str:
        try:
            return f"process {int(self._pid.read_text('ascii'))}"
        except (OSError, ValueError):
            return "another process"

    def _must_be_locked(self) -> None:
        if self._lock is None:
            raise RuntimeError(f"{self!r} is for reading: use RunFolder.create or RunFolder.resume")

    def _metrics_lines(self) -> list[tuple[bytes, dict[str, Any]]]:
        """(line without its end, record) of each whole line; a line without its end is torn."""
        try:
            lines = self.metrics.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(
                f"cannot read {str(self.metrics)!r} ({error.strerror}): check its permissions"
            ) from error
        found = []
        for line in lines:
            with suppress(ValueError, RecursionError):
                record = json.loads(line)
                if isinstance(record, dict) and _is_step(record.get("step")):
                    found.append((line, record))
        return found


def _is_step(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _restore(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item) for item in value]
    return value
