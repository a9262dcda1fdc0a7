"""The picture of a run: training and validation loss against the step."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minillm.files import write_atomically


def draw_loss(metrics: Sequence[dict[str, Any]], path: Path, *, title: str) -> None:
    """Draw the records of `metrics.jsonl` as a PNG, in bits per character.

    Args:
        metrics: records with "bpc" (running training loss) or "val_bpc" and "train_bpc" (evaluations).
        path: where to write; replaced atomically.
        title: above the picture.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # a second of import time that only pictures need

    figure = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    running = [(r["step"], r["bpc"]) for r in metrics if "bpc" in r]
    if running:
        axes.plot(*zip(*running, strict=True), color="#b9c3d0", linewidth=1, label="each batch")
    evaluated = [r for r in metrics if "val_bpc" in r]
    if evaluated:
        steps = [r["step"] for r in evaluated]
        train, val = ([r[k] for r in evaluated] for k in ("train_bpc", "val_bpc"))
        axes.plot(steps, train, color="#2563a6", marker="o", markersize=3, label="training text")
        axes.plot(steps, val, color="#c2410c", marker="o", markersize=3, label="validation text")
        axes.fill_between(steps, train, val, color="#c2410c", alpha=0.12, linewidth=0, label="gap")
        best = min(evaluated, key=lambda r: r["val_bpc"])
        axes.annotate(f"{best['val_bpc']:.3f}", (best["step"], best["val_bpc"]), textcoords="offset points",
                      xytext=(0, 8), ha="center", color="#c2410c")
    axes.set(xlabel="step", ylabel="bits per character", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if running or evaluated:
        axes.legend(frameon=False)
    data = io.BytesIO()
    # No date or version inside: the same run gives the same bytes.
    figure.savefig(data, format="png", metadata={"Software": None})
    write_atomically(path, data.getvalue())
