"""What the results depend on: processor, BLAS, versions. No names of hosts, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np


def facts() -> dict[str, Any]:
    """Processor, cores that this process may use, system, and versions (None: not installed)."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"cpu": _cpu(), "cores": _cores(), "system": platform.system(),
            "python": platform.python_version(), "numpy": np.__version__,
            "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
            # Settings that hold NumPy's BLAS, but not torch's, to another processor's instructions.
            "blas_settings": {k: v for k, v in sorted(os.environ.items())
                              if k in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")},
            **{name: _version(name) for name in ("torch", "autograd", "mygrad")}}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():  # Linux
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
