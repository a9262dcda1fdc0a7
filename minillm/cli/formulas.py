"""`minillm formulas`: the ledger, printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from minillm.cli.equation_name import equation_called
from minillm.errors import UserError
from minillm.formulas import LEDGER, Equation
from minillm.stepper.equation import lines


@dataclass(frozen=True)
class Words:
    """What is printed around the rows, in one language."""

    columns: tuple[str, str, str, str]  # of the table
    count: str  # below the table
    section: str  # of the article, and the source
    source: str  # alone, of an equation that is not the article's
    cells: tuple[str, ...]  # of one row


WORDS = {
    "en": Words(("section", "minillm.formulas", "equation", "in place or fused"),
                "{} equations; `minillm formulas NAME` shows one whole.", "(section {}; {})", "({})",
                ("function", "fused", "kernels", "test", "lesson")),
    "zh": Words(("章节", "minillm.formulas", "公式", "原地更新或融合实现"),
                "共 {} 个公式；用 `minillm formulas 名称 --lang zh` 查看其中一个的全部内容。",
                "（文章第 {} 节；出处：{}）", "（出处：{}）",
                ("函数", "融合实现", "内核", "测试", "对应的课")),
}


def formulas(
    name: Annotated[str | None, typer.Argument(help="One equation, whole: adam, 4.3, ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine readable, with every cell, in both "
                                          "languages.")] = False,
    lang: Annotated[str, typer.Option("--lang", help="en or zh.")] = "en",
) -> None:
    """Print every equation with its section of the article, its code, its test and its fused op.

    Examples:  minillm formulas   |   minillm formulas adam_step --lang zh   |   minillm formulas --json
    """
    if lang not in WORDS:
        raise UserError(f"lang = {lang!r} must be en or zh")
    rows = list(LEDGER.values())
    if name is not None:
        rows = [LEDGER[equation_called(name)]]
    if as_json:
        typer.echo(json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False))
        return
    if name is not None:
        _print_one(rows[0], lang)
    else:
        _print_table(rows, lang)


def _print_one(row: Equation, lang: str) -> None:
    """A row with its formula, what the letters mean, and every cell."""
    console, words = Console(), WORDS[lang]
    about = (words.source.format(row.source) if row.section == "-"
             else words.section.format(row.section, row.source))
    console.print(f"[bold]{escape(_title(row, lang))}[/]   {escape(about)}\n", highlight=False)
    for line in lines(row.latex):
        console.print("    " + escape(line.strip()), highlight=False, soft_wrap=True)
    console.print()
    for symbol, meaning in (row.symbols_zh if lang == "zh" else row.symbols).items():
        console.print(f"    {symbol:18s} {meaning}", highlight=False, markup=False)
    cells = (row.function, row.fused, ", ".join(row.kernels), row.test, row.lesson)
    console.print()
    width = max(map(cell_len, words.cells)) + 2  # a Chinese character takes two columns
    for cell, value in zip(words.cells, cells, strict=True):
        console.print(f"    {set_cell_size(cell, width)} {value or '-'}", highlight=False, markup=False,
                      soft_wrap=True)


def _print_table(rows: list[Equation], lang: str) -> None:
    """One line a row, the article's sections first."""
    console, words = Console(), WORDS[lang]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in words.columns:
        table.add_column(column, overflow="fold", no_wrap=column == "minillm.formulas")
    for row in sorted(rows, key=lambda r: (r.section == "-", r.section)):
        fused = row.fused.removeprefix("minillm.").replace(":", ".") or "-"
        table.add_row(row.section, row.name, _title(row, lang), fused)
    console.print(table)
    console.print(words.count.format(len(rows)), highlight=False)


def _title(row: Equation, lang: str) -> str:
    return row.title_zh if lang == "zh" else row.title
