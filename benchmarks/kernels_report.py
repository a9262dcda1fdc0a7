"""What a reader sees of the kernels' benchmark: tables on the terminal, and a picture from the JSON."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

# GB/s on the makers' datasheets, by a part of the device's name; the first that fits.
DATASHEET = {"H200": 4800, "H100 80GB HBM3": 3350, "H100 PCIe": 2000, "A100-SXM4-80GB": 2039, "B200": 8000}
NOT_MEASURED = "not a measurement"


def datasheet_tb_s(device: str) -> float | None:
    """The memory bandwidth its maker states, in TB/s."""
    return next((rate / 1000 for part, rate in DATASHEET.items() if part in device), None)


# ---- tables -----------------------------------------------------------------------------------------


def report(results: dict[str, Any]) -> str:
    """All cases as tables.

    "device ms" is the call between two events behind a flushed cache, "call ms" the whole call on the host's
    clock (`kernels_clock.py`); "ulp" the largest error of gradients or parameters in the case's own type,
    "ulp, loss" that of the loss in float32; "extra MB" the memory that a call takes, its results included.
    """
    m = results["machine"]
    versions = ", ".join(f"{name} {m[name]}" for name in ("python", "torch", "triton", "cupy", "liger-kernel",
                                                          "quack-kernels") if m.get(name))
    lines = [f"{m['device']}" + (f", driver {m['driver']}" if m.get("driver") else "") + f"; {versions}"]
    if not results["measurement"]:
        lines.append("A smoke run on the CPU: it checks the script. No figure below is a measurement.")
    for case in results["cases"]:
        lines += ["", *table(case)]
    return "\n".join(lines)


def table(case: dict[str, Any]) -> list[str]:
    """One case: a line for each contestant, fastest first, then those without figures and why."""
    head = case["title"]
    if case.get("copy"):
        head += f"; {case['bytes'] / 1e9:.3g} GB by the model, a copy moves {case['copy']['tb_s']:.3g} TB/s"
    if "skipped" in case:
        return [head, f"  not run: {case['skipped']}"]
    lines = [head]
    rows = sorted(case["contestants"].items(), key=lambda item: item[1]["device_ms"]["median"])
    width = max((len(name) for name, _ in rows), default=0)
    if rows:
        rate = "TFLOP/s" if case["flops"] else "TB/s"
        lines.append(f"  {'':{width}}{'device ms':>10} {'(p20 - p80)':<21}{'call ms':>9}{rate:>10}"
                     f"{'of copy':>9}{'ulp':>8}{'ulp, loss':>11}{'extra MB':>10}")
    lines += [_row(name, row, width, case) for name, row in rows]
    for name, reason in case["without"].items():
        lines += textwrap.wrap(f"{name}: {reason}", 108, initial_indent="  - ", subsequent_indent="    ")
    return lines


def _row(name: str, row: dict[str, Any], width: int, case: dict[str, Any]) -> str:
    d, c = row["device_ms"], row["call_ms"]
    rate = row["tflop_s"] if case["flops"] else row["tb_s"]
    share = f"{row['of_copy']:.1%}" if "of_copy" in row else "-"
    extra = f"{row['peak_bytes'] / 1e6:,.0f}" if row["peak_bytes"] is not None else "-"
    worst = max((e["ulp"] for output, e in row["errors"].items() if output != "loss"), default=None)
    ulps = "-" if worst is None else f"{worst:.3g}"
    loss = f"{row['errors']['loss']['ulp']:.3g}" if "loss" in row["errors"] else "-"
    spread = f"({d['p20']:.4g} - {d['p80']:.4g})"
    line = (f"  {name:{width}}{d['median']:10.4g} {spread:<21}{c['median']:9.4g}{rate:10.3g}{share:>9}"
            f"{ulps:>8}{loss:>11}{extra:>10}")
    if not row["measurement"]:
        return f"{line}  {NOT_MEASURED}"
    return line + (f"  ({row['repetitions']} repetitions)" if row["capped"] else "")


# ---- the picture ------------------------------------------------------------------------------------

# A fill and a hatch for each family, dark to light: they read without colour too.
STYLES = {"minillm": ("#1b3a5c", ""), "Liger": ("#c9822b", "//"), "Quack": ("#8fc1b0", ".."),
          "torch": ("#dddddd", "")}


def bars(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases that the picture shows: those that bandwidth limits, without the forward passes alone."""
    shown = []
    for case in results["cases"]:
        if case["id"].startswith("cross-entropy-forward-") and "backward" not in case["id"]:
            continue
        rows = {name: row["tb_s"] for name, row in case.get("contestants", {}).items() if row.get("of_copy")}
        if rows:
            ordered = sorted(rows.items(), key=lambda item: -item[1])
            shown.append({"title": case["title"], "copy": case["copy"]["tb_s"], "rows": ordered,
                          "intensity": intensity(case)})
    return shown


def intensity(case: dict[str, Any]) -> str:
    """Operations a byte, by the formula: an exponential and a division count as one."""
    return {"cross_entropy": "about 1 to 2 operations a byte", "adam": "about half an operation a byte"}.get(
        case["kind"], "")


def alt_text(results: dict[str, Any]) -> str:
    """The picture in words, for those who do not see it."""
    parts = []
    for case in bars(results):
        rates = ", ".join(f"{name} {rate:.3g}" for name, rate in case["rows"])
        parts.append(f"{case['title']}: {rates}; copy {case['copy']:.3g}")
    what = "Bars of achieved memory bandwidth in TB/s against that of a plain copy"
    kind = "" if results["measurement"] else " (NOT A MEASUREMENT: a smoke run)"
    return f"{what}, {results['machine']['device']}{kind}. " + ". ".join(parts) + "."


def plot(results: dict[str, Any], path: Path) -> Path:
    """The roofs and what stands under them, as a PNG: bars of TB/s by the bytes model, a line for the copy.

    These kernels do a few operations a byte, a hundred times fewer than would keep a GPU's arithmetic busy:
    the roof over all of them is the memory's rate.

    Raises:
        ValueError: no case has figures.
    """
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = bars(results)
    if not shown:
        raise ValueError("the results hold no case with a bandwidth: there is nothing to draw")
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    most = max(len(case["rows"]) for case in shown)
    figure, axes = plt.subplots(lines, columns, squeeze=False, layout="constrained",
                                figsize=(4.6 * columns, 0.9 + lines * (0.8 + 0.17 * most)))
    paper = datasheet_tb_s(results["machine"]["device"])
    right = 1.45 * max([paper or 0] + [max(case["copy"], case["rows"][0][1]) for case in shown])
    for axis, case in zip(axes.flat, shown):
        _panel(axis, case, paper, right)
    for axis in list(axes.flat)[len(shown):]:
        axis.set_axis_off()
    note = "" if results["measurement"] else "\nNOT A MEASUREMENT: a smoke run on the CPU"
    device = results["machine"]["device"]
    figure.suptitle(f"Bandwidth by the bytes model against a plain copy: {device}{note}")
    figure.savefig(path, dpi=100, metadata={"Description": alt_text(results), "Software": None})
    plt.close(figure)
    return path


def _panel(axis: Any, case: dict[str, Any], paper: float | None, right: float) -> None:
    names = [name for name, _ in case["rows"]]
    for i, (name, rate) in enumerate(case["rows"]):
        colour, hatch = next((s for family, s in STYLES.items() if name.startswith(family)), ("white", ""))
        axis.barh(i, rate, color=colour, hatch=hatch, edgecolor="black", linewidth=0.6)
        axis.text(right, i, f"{rate:.2f}  {rate / case['copy']:4.0%}", va="center", ha="right", fontsize=7)
    roofs = [("copy", case["copy"], "-", "right")] + ([("datasheet", paper, ":", "left")] if paper else [])
    for name, rate, stroke, side in roofs:
        axis.axvline(rate, color="black", linewidth=1.3, linestyle=stroke, zorder=3)
        axis.annotate(name, (rate, 1), xycoords=("data", "axes fraction"), ha=side, va="bottom", fontsize=7)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlim(0, right)
    axis.set_xlabel(f"TB/s, and share of the copy ({case['intensity']})", fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(textwrap.fill(case["title"], 40), fontsize=8, loc="left", pad=12)
    axis.spines[["top", "right"]].set_visible(False)
