"""`minillm formulas`: the ledger, printed."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from minillm.errors import UserError
from minillm.formulas import LEDGER


def formulas(
    name: Annotated[str | None, typer.Argument(help="One equation, whole, such as adam_step.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine readable, with every cell.")] = False,
) -> None:
    """Print every equation with its section of the article, its code, its test and its fused op.

    Examples:  minillm formulas   |   minillm formulas adam_step   |   minillm formulas --json
    """
    rows = list(LEDGER.values())
    if name is not None:
        if name not in LEDGER:
            near = get_close_matches(name, LEDGER, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(LEDGER)}"
            raise UserError(f"no equation is named {name!r}: {hint}")
        rows = [LEDGER[name]]
    if as_json:
        typer.echo(json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False))
        return
    console = Console()
    if name is not None:
        row = rows[0]
        console.print(f"[bold]{escape(row.title)}[/] / {row.title_zh}   (section {row.section}; "
                      f"{escape(row.source)})\n", highlight=False)
        for line in row.latex.split(r"\\"):
            console.print("    " + escape(line.strip()), highlight=False, soft_wrap=True)
        console.print()
        for symbol, meaning in row.symbols.items():
            console.print(f"    {symbol:18s} {meaning}", highlight=False, markup=False)
        cells = {"function": row.function, "fused": row.fused, "kernels": ", ".join(row.kernels),
                 "test": row.test, "lesson": row.lesson}
        console.print()
        for cell, value in cells.items():
            console.print(f"    {cell:10s} {value or '-'}", highlight=False, markup=False, soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("section", "minillm.formulas", "equation", "in place or fused"):
        table.add_column(column, overflow="fold", no_wrap=column == "minillm.formulas")
    for row in sorted(rows, key=lambda r: (r.section == "-", r.section)):
        fused = row.fused.removeprefix("minillm.").replace(":", ".") or "-"
        table.add_row(row.section, row.name, f"{row.title}  {row.title_zh}", fused)
    console.print(table)
    console.print(f"{len(rows)} equations; `minillm formulas NAME` shows one whole.", highlight=False)
