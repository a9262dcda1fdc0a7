"""One run: cases in order of importance; each contestant is judged, timed, and on disk before the next."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kernels_cases import Case, cases, describe, smoke_cases
from kernels_clock import FEWEST, Contestant, CpuClock, GpuClock, measure
from kernels_peers import COMPILES, CONTESTANTS, ON_THE_CPU_ONLY, Factory, NoSense, why_not
from kernels_problems import PROBLEMS, wrong
from kernels_report import report, table
from machine import facts

HERE = Path(__file__).resolve().parent
TOO_LONG = "left out of a smoke run: compiling takes longer than all of it"


class Run:
    """One run over all cases; the results are on disk after every contestant."""

    def __init__(self, torch: Any, options: argparse.Namespace) -> None:
        self.torch, self.smoke = torch, options.smoke
        if self.smoke:
            torch.set_num_threads(1)  # tiny work, which others on the machine would only slow down
        self.started, self.limit, self.share = time.monotonic(), options.max_seconds, options.case_seconds
        self.device = "cpu" if self.smoke else "cuda"
        self.clock = CpuClock() if self.smoke else GpuClock(torch)
        self.cases = [c for c in (smoke_cases() if self.smoke else cases()) if re.search(options.only, c.id)]
        self.copies: dict[int, dict[str, Any]] = {}
        self.results: dict[str, Any] = {
            "schema": 1, "measurement": self.clock.measures,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "commit": commit(), "machine": machine(torch, self.smoke), "max_seconds": self.limit, "cases": [],
        }
        self.path: Path | None = options.json
        if self.path is None and not self.smoke:
            self.path = HERE / "results" / f"kernels-{slug(self.results['machine']['device'])}.json"

    @property
    def left(self) -> float:
        return self.limit - (time.monotonic() - self.started)

    def save(self) -> None:
        """Write the results, whole or not at all."""
        if self.path:
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(self.results, indent=2) + "\n", encoding="utf-8")
            part.replace(self.path)

    def all_cases(self) -> None:
        """The numbers to beat, with everybody; the other cases; and last whoever compiles for long."""
        print(report(self.results), flush=True)
        waves = [(self.cases[:2], "all"), (self.cases[2:], "prompt"), (self.cases[2:], "compiled")]
        if self.smoke:
            waves = [(self.cases, "all")]
        for some, who in waves:
            for case in some:
                if any(c["id"] == case.id and "skipped" in c for c in self.results["cases"]):
                    continue
                print("\n" + "\n".join(table(self.one_case(case, who))), flush=True)
        print(f"\n{time.monotonic() - self.started:.0f} s" + (f"; results: {self.path}" if self.path else ""))

    def one_case(self, case: Case, who: str) -> dict[str, Any]:
        """Measure a case's contestants of one wave; gives the case as it stands in the results."""
        entry = next((c for c in self.results["cases"] if c["id"] == case.id), None)
        if entry is None:
            entry = {**describe(case), "contestants": {}, "without": {}}
            self.results["cases"].append(entry)
        wave = {name: make for name, make in CONTESTANTS[case.kind].items()
                if (name != ON_THE_CPU_ONLY or self.smoke)
                and (who == "all" or (name == COMPILES) == (who == "compiled"))}
        reason = self.refusal(case, compiles=who == "compiled")
        if reason:
            if who == "compiled":
                entry["without"] |= dict.fromkeys(wave, reason)
            else:
                entry["skipped"] = reason
            self.save()
            return entry
        try:
            if not case.flops and "copy" not in entry:
                entry["copy"] = self.copy_of(case.bytes // 2)
            problem = PROBLEMS[case.kind](case, self.torch, self.device)
            assert problem.reference  # computed now: were it to fail, no contestant would be to blame
        except self.torch.OutOfMemoryError:
            entry["skipped"] = "out of memory for the data alone"
            self.save()
            return entry
        for name, make in wave.items():
            result = self.contest(case, problem, name, make, entry)
            if isinstance(result, str):
                entry["without"][name] = result
            elif result is not None:
                entry["contestants"][name] = result
            self.save()
        return entry

    def refusal(self, case: Case, compiles: bool) -> str | None:
        """Why nothing of the case can be run now, or None."""
        if self.left < (30 if compiles else 5):
            return f"left out: the limit of {self.limit:g} s came first"
        free = self.clock.free_bytes()
        if case.holds > 0.95 * free:
            return f"needs {case.holds / 1e9:.1f} GB for the data alone; {free / 1e9:.1f} GB are free"
        return None

    def contest(self, case: Case, problem: Any, name: str, make: Factory,
                entry: dict[str, Any]) -> dict[str, Any] | str | None:
        """A contestant's figures; the reason why there are none; or None where the variant has no sense."""
        if name == COMPILES and self.smoke:
            return TOO_LONG
        if self.left < 2:
            return f"left out: the limit of {self.limit:g} s came first"
        try:
            contestant = make(problem, self.clock.free_bytes())  # what the one before left is given back
            problem.start()
            for buffer in range(contestant.buffers if contestant.reset else 0):
                contestant.reset(buffer)
            errors = problem.judge(contestant.look(contestant.run(0)))
            reason = wrong(errors, case.dtype)
            if reason:
                return f"wrong, so it was not timed: {reason}"
            figures = measure(contestant, self.clock, min(self.share, max(1.0, self.left)))
        except NoSense:
            return None
        except Exception as e:
            return why_not(e)
        seconds = figures["device_ms"]["median"] / 1e3
        figures |= {"capped": figures["repetitions"] < FEWEST, "errors": errors}
        if case.flops:
            figures["tflop_s"] = significant(case.flops / seconds / 1e12)
        else:
            figures["tb_s"] = significant(case.bytes / seconds / 1e12)
            figures["of_copy"] = significant(case.bytes / seconds / 1e12 / entry["copy"]["tb_s"])
        return figures

    def copy_of(self, size: int) -> dict[str, Any]:
        """Rate of a device-to-device copy of that many bytes, at most 4 GiB: read and written both count."""
        size = min(size, 4 << 30) // 4 * 4
        if size not in self.copies:
            source = self.torch.empty(size // 4, dtype=self.torch.float32, device=self.device).normal_()
            target = self.torch.empty_like(source)
            figures = measure(Contestant(lambda i: target.copy_(source), lambda result: {}), self.clock, 2)
            rate = 2 * size / (figures["device_ms"]["median"] / 1e3) / 1e12
            self.copies[size] = {"bytes": size, "tb_s": significant(rate), **figures}
        return self.copies[size]


def significant(value: float) -> float:
    return float(f"{value:.4g}")


def slug(device: str) -> str:
    """A device's name as a part of a file's: NVIDIA H100 80GB HBM3 -> nvidia-h100-80gb-hbm3."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def machine(torch: Any, smoke: bool) -> dict[str, Any]:
    """Device, driver and versions; no names of hosts, no paths."""
    packages = {"triton": ["triton"], "cupy": ["cupy-cuda13x", "cupy-cuda12x", "cupy"],
                "liger-kernel": ["liger-kernel"], "quack-kernels": ["quack-kernels"]}
    found = facts() | {name: version(*names) for name, names in packages.items()}
    for name in ("autograd", "mygrad", "blas", "blas_settings"):
        del found[name]
    triton = sys.modules.get("triton")
    if found["triton"] is None and triton is not None:  # from a path, not installed
        found["triton"] = triton.__version__
    if smoke:
        return {"device": "CPU", "driver": None, **found}
    p = torch.cuda.get_device_properties(0)
    return {"device": p.name, "driver": driver(), "cuda": torch.version.cuda, "memory_bytes": p.total_memory,
            "multiprocessors": p.multi_processor_count, "l2_bytes": p.L2_cache_size, **found}


def version(*packages: str) -> str | None:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None


def driver() -> str | None:
    return output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")


def commit() -> str | None:
    """Where git is there: the commit, with "-dirty" if files differ from it."""
    at = output("git", "-C", str(HERE.parent), "rev-parse", "--short=12", "HEAD")
    changed = output("git", "-C", str(HERE.parent), "status", "--porcelain", "--untracked-files=no")
    return at and at + ("-dirty" if changed else "")


def output(*command: str) -> str | None:
    """What a command prints, or None if it cannot."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
