"""Check a function of the learner's file in a process of its own, so that an endless loop ends.

The process is `python -m minillm.course.check_process LESSON CHECKS EXERCISE SECONDS ANSWER`. Its order:
what is right is computed; then the learner's code is loaded and run, with a limit of time; then it is judged.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TextIO

from .checks import expect, judge, run
from .exercise import load_exercises
from .result import Result
from .student import CannotLoad, load_function

GRACE = 60.0  # seconds for starting Python on a busy machine
LOADING = 30.0  # more than the limit, for importing what the function needs


def check_file(lesson: str | Path, checks: str | Path, exercise: str, *,
               seconds: float | None = None) -> Result:
    """Check a function of a learner's file.

    Args:
        lesson: the learner's lesson.py.
        checks: the lesson's checks.py.
        exercise: name of the function.
        seconds: how long it may take; None for the exercise's own limit.

    Raises:
        RuntimeError: the check itself cannot run.
    """
    with tempfile.TemporaryDirectory(prefix="minillm-check-") as folder:
        answer = Path(folder, "answer.json")
        # Absolute: the process runs in the learner's folder, whose files are no modules of ours.
        given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        paths = [str(Path(__file__).parents[2]), *map(os.path.abspath, given)]
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONIOENCODING="utf-8",
                           MPLBACKEND="Agg", PYTHONPATH=os.pathsep.join(paths))
        # -P: a file numpy.py in the learner's folder is not NumPy.
        file = Path(lesson).resolve()
        command = [sys.executable, "-P", "-m", __name__, str(file), str(Path(checks).resolve()), exercise,
                   "" if seconds is None else repr(seconds), str(answer)]
        log = Path(folder, "log")
        with log.open("wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=errors, env=environment, cwd=file.parent)
            ran_out = False
            try:
                process.wait(GRACE + LOADING + 2 * (seconds or 60.0))
            except subprocess.TimeoutExpired:
                ran_out = True
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return _result(exercise, str(file), answer, process.returncode, ran_out, _read(log))


def _result(exercise: str, lesson: str, answer: Path, code: int, ran_out: bool, log: str) -> Result:
    """What the process says, or what can be said of its end.

    Raises:
        RuntimeError: it was not the learner's code that failed.
    """
    if answer.exists():
        told = json.loads(answer.read_text(encoding="utf-8"))
        if "failed" in told:
            raise RuntimeError(f"the check of {exercise} failed, and not your code: {told['failed']}")
        return Result.from_json(told)
    stack = _read(answer.with_suffix(".stack"))
    if not answer.with_suffix(".learner").exists():  # not begun with the learner's code, or through with it
        last = "it did not end" if ran_out else (log.strip().splitlines() or [f"exit status {code}"])[-1]
        raise RuntimeError(f"the check of {exercise} could not run: {last}")
    if "Timeout" in stack or ran_out:
        return _stuck(exercise, lesson, stack)
    if code < 0:
        name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else f"signal {-code}"
        return Result(exercise, False, "ended", f"Python itself crashed in {exercise} ({name}): out of "
                      "memory, or a fault in compiled code",
                      f"运行 {exercise} 时 Python 本身崩溃了（{name}）：可能是内存不足，或者编译代码出错")
    return Result(exercise, False, "ended", f"{exercise} ended Python itself (os._exit); it should return "
                  "its result", f"{exercise} 让 Python 整个退出了（os._exit）；它应当返回结果")


def _stuck(exercise: str, lesson: str, stack: str) -> Result:
    """What to say to a function that does not come to its end: with the learner's line it was at."""
    lines = [int(n) for file, n in re.findall(r'File "(.*)", line (\d+) in ', stack) if file == lesson]
    limits = [float(s) for s in re.findall(r"limit (\S+)", stack)]
    after = f"{limits[-1]:g} s" if limits else "the time limit"
    after_zh = f"{limits[-1]:g} 秒" if limits else "时限"
    at = lines[0] if lines else None
    en, zh = f"{exercise} is still running after {after}", f"{exercise} 运行了 {after_zh}还没有结束"
    if at is not None:
        en, zh = f"{en}, at line {at}", f"{zh}，停在第 {at} 行"
    return Result(exercise, False, "too_slow", f"{en}: a loop that never ends?", f"{zh}：是不是死循环？",
                  "endless", at)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _main(lesson: str, checks: str, name: str, seconds: str, answer: str) -> None:
    out = Path(answer)
    try:
        told = _check(lesson, checks, name, float(seconds) if seconds else None, out).to_json()
    except Exception as error:  # of the checks, the reference or the judge: the learner's were caught before
        at = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        told = {"failed": f"{type(error).__name__}: {text} ({Path(at.filename).name}, line {at.lineno})"}
    half = out.with_suffix(".half")
    half.write_text(json.dumps(told), encoding="utf-8")
    os.replace(half, out)
    os._exit(0)  # whatever threads the function left running


def _check(lesson: str, checks: str, name: str, seconds: float | None, out: Path) -> Result:
    exercise = load_exercises(checks)[name]
    limit = exercise.seconds if seconds is None else seconds
    expected = expect(exercise)
    learner = out.with_suffix(".learner")  # there while the learner's code runs
    learner.touch()
    with out.with_suffix(".stack").open("w") as stack:
        timer = _end_after(limit + LOADING, stack)
        try:
            function = load_function(lesson, name)
            timer.cancel()
            timer = _end_after(limit, stack)
            ran = run(exercise, function)
        except CannotLoad as error:
            return error.result
        finally:
            timer.cancel()
            faulthandler.cancel_dump_traceback_later()
            learner.unlink()
    return judge(expected, function, ran)


def _end_after(seconds: float, stack: TextIO) -> threading.Timer:
    """End this process then, with a note of where it was.

    A thread that waits for its turn finds the frames whole, which faulthandler, that does not wait, may not;
    faulthandler is for C code that gives nobody else a turn.
    """
    stack.write(f"limit {seconds}\n")
    stack.flush()
    timer = threading.Timer(seconds, _end, (stack, threading.get_ident()))
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(seconds + 2, exit=True, file=stack)
    return timer


def _end(stack: TextIO, thread: int) -> None:
    stack.write("Timeout\n")
    frame = sys._current_frames().get(thread)
    while frame is not None:  # innermost first, as faulthandler has them
        code = frame.f_code
        stack.write(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}\n')
        frame = frame.f_back
    stack.flush()
    os._exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
