"""`minillm`: the command line. A user's mistake is one line and exit status 1, never a traceback."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from minillm import __version__
from minillm.cli.doctor import doctor
from minillm.cli.formulas import formulas
from minillm.cli.generate import generate
from minillm.cli.train import train
from minillm.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich",
                  pretty_exceptions_enable=False,
                  help="Language models from scratch in NumPy: train, generate, look at the formulas.",
                  context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(train, name="train")
app.command()(generate)
app.command()(formulas)
app.command()(doctor)


def _version(value: bool) -> None:
    if value:
        print(f"minillm {__version__}")
        raise typer.Exit


@app.callback()
def common(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                        help="Print the version and stop.")) -> None:
    """Language models from scratch in NumPy: train, generate, look at the formulas."""


def main() -> None:
    """The entry point of the `minillm` command."""
    try:
        app()
    except UserError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {_escaped(error)}",
                                                   highlight=False)
        sys.exit(1)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        sys.stderr.close()
        sys.exit(1)


def _escaped(error: Exception) -> str:
    from rich.markup import escape
    return escape(str(error))
