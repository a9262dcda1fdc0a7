"""The order in which a worker gives up what it may do: all of it before the student's first line."""

from __future__ import annotations

import os
import signal
from typing import Any

from . import kernel, landlock, limits, namespaces, seccomp


def before(setup: dict[str, Any], failed: dict[str, str]) -> None:
    """A user number, a folder of its own and a root of its own: before NumPy is imported, which shows that
    what the worker sees is enough.
    """
    layers, folder, scratch = set(setup["layers"]), setup["folder"], setup["scratch"]
    uid = setup["uid"] = os.geteuid()
    if "user" in layers:
        try:
            uid = setup["uid"] = limits.own_uid(setup["keeper"])
            os.chown(scratch, uid, uid)
            os.chown(os.path.dirname(folder), 0, uid)  # to pass through; other users cannot
            os.chmod(os.path.dirname(folder), 0o710)
        except OSError as error:
            failed["user"] = str(error)
    if "mounts" in layers and "mounts" not in failed:
        try:
            namespaces.new_root(setup["root"], [*setup["readable"], folder], setup["hidden"], scratch, uid)
        except OSError as error:
            failed["mounts"] = str(error)
            return
    os.chdir(scratch)


def shut(setup: dict[str, Any], failed: dict[str, str]) -> None:
    """Everything else: after NumPy and the chosen packages are imported."""
    layers = set(setup["layers"])
    steps = [("limits", _limits), ("user", _user), ("process", _process), ("landlock", _landlock),
             ("seccomp", _seccomp)]
    for layer, step in steps:
        if layer in layers and layer not in failed:
            try:
                step(setup, layers)
            except (OSError, ValueError) as error:
                failed[layer] = str(error)


def _limits(setup: dict[str, Any], layers: set[str]) -> None:
    more = setup["processes"]
    if more:
        if "user" in layers:
            more += 1  # itself
        elif {"pids", "network", "mounts"} & layers:
            more += 2  # the keeper too is in this user namespace
        else:
            more += limits.running(os.geteuid())
    if os.geteuid() == 0 and "user" not in layers:
        more = None
    limits.set_limits(setup["memory_mb"], setup["cpu_seconds"], more)


def _user(setup: dict[str, Any], layers: set[str]) -> None:
    limits.become(setup["uid"], keep_reading=setup["keep_reading"])


def _process(setup: dict[str, Any], layers: set[str]) -> None:
    if not kernel.LINUX:
        return
    if "user" not in layers:
        limits.drop_capabilities()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # a new user has cleared it
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _landlock(setup: dict[str, Any], layers: set[str]) -> None:
    landlock.apply([*setup["readable"], setup["folder"], "/dev/null", "/dev/urandom"], setup["hidden"],
                   setup["scratch"])


def _seccomp(setup: dict[str, Any], layers: set[str]) -> None:
    seccomp.apply(writes=bool({"mounts", "landlock"} & layers), threads=setup["processes"] > 0)
