"""All attacks, and what is wanted of each within a set of layers."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from minillm.classroom.sandbox.layers import NAMES
from tests.classroom.attacks import (
    arrays,
    exhaustion,
    mutated,
    network,
    processes,
    reading,
    source,
    timed,
    triton,
    verdict,
    wire,
    words,
    writing,
)
from tests.classroom.attacks.assignments import HAS_TRITON
from tests.classroom.attacks.attack import Attack

MODULES = (verdict, wire, mutated, timed, triton, reading, writing, network, processes, exhaustion, arrays,
           source, words)
GROUPS: dict[str, tuple[Attack, ...]] = dict(module.GROUP for module in MODULES)
BY_NAME = {attack.name: attack for attacks in GROUPS.values() for attack in attacks}

# Sets of layers, each with what is left out of it.
LEAST = ("process", "limits", "watch")
SETS: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "no Landlock": tuple(n for n in NAMES if n != "landlock"),
    "no namespaces": tuple(n for n in NAMES if n not in ("mounts", "pids", "network")),
    "no seccomp": tuple(n for n in NAMES if n != "seccomp"),
    "limits only": LEAST,
}


def here(attack: Attack) -> bool:
    """Whether it can be tried on this machine."""
    if attack.on.startswith("triton") and not HAS_TRITON:
        return False
    return sys.platform == "linux" or not attack.linux


def gains(found: dict[str, Any]) -> list[str]:
    """What the attack says that it has got."""
    return [line[4:] for line in found["report"]["printed"].splitlines() if line.startswith("GOT ")]


def wall(attack: Attack, layers: Collection[str]) -> bool:
    """Whether the layers, or the design, keep it from what it is after."""
    return not attack.stopped_by or bool({*attack.stopped_by} & {*layers})


def succeeded(attack: Attack, found: dict[str, Any]) -> list[str]:
    """What it got, by its own words and by what is seen from outside."""
    score = sum(t["score"] for t in found["report"]["tests"])
    more = [f"{score:g} points"] if score > attack.wanted[1] else []
    return [*gains(found), *found["left"], *found["packets"], *found["processes"], *more]


def problems(attack: Attack, found: dict[str, Any]) -> list[str]:
    """What is not as it is wanted, after a grading within any layers."""
    if "raised" in found:
        return [f"grading raised: {found['raised']}"]
    report = found["report"]
    score, layers = round(sum(t["score"] for t in report["tests"]), 2), report["layers"]
    first = report["tests"][-1 if attack.on.startswith("tests") else 0]
    stopped, said = wall(attack, layers) or report["state"] != "graded", []
    least, most = attack.wanted
    if stopped and not least <= score <= most:
        said.append(f"{score} points; wanted are {least} to {most}")
    if stopped and first["kind"] not in attack.kinds:
        said.append(f"{first['kind']} ({first['en'][:150]}); wanted is one of {', '.join(attack.kinds)}")
    if stopped and (bad := gains(found)):
        said.append(f"it got {', '.join(bad)[:300]}")
    if stopped and found["left"]:
        said.append(f"it left {', '.join(found['left'])[:300]}")
    if stopped and found["packets"]:
        said.append(f"it sent {', '.join(found['packets'])}")
    if stopped and found["processes"]:
        said.append(f"it goes on: {', '.join(found['processes'])}")
    for lang, wanted in (("en", attack.says), ("zh", attack.says_zh)):
        if stopped and not any(wanted in t[lang] for t in report["tests"]):
            said.append(f"nothing says {wanted!r}: {first[lang][:200]}")
    if not stopped and attack.certain and sys.platform == "linux" and not succeeded(attack, found):
        said.append("nothing stops it, and it gets nothing: it is no attack")
    said += found["readers"]
    if found["seconds"] > attack.seconds:
        said.append(f"it took {found['seconds']:.1f} s")
    if found.get("next", 100) != 100:
        said.append(f"the next submission has {found['next']} points: {found['next_says'][:1]}")
    return said
