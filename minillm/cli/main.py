"""`minillm`: the command line. A user's mistake is one line and exit status 1, never a traceback."""

from __future__ import annotations

import io
import sys
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from minillm import __version__
from minillm.cli.classroom import class_
from minillm.cli.doctor import doctor
from minillm.cli.export import export
from minillm.cli.formulas import formulas
from minillm.cli.generate import generate
from minillm.cli.learn import learn
from minillm.cli.perplexity import perplexity
from minillm.cli.step import step
from minillm.cli.train import train
from minillm.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich",
                  pretty_exceptions_enable=False,
                  epilog="Examples:  minillm train lm   |   minillm generate runs/lm   |   "
                         "minillm formulas adam_step   |   minillm doctor",
                  help="Language models from scratch in NumPy: train, generate, look at the formulas.",
                  context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(learn, name="learn")
app.add_typer(train, name="train")
app.add_typer(class_, name="class")
app.command()(generate)
app.command()(perplexity)
app.command()(export)
app.command()(formulas)
app.command()(step)
app.command()(doctor)


def _version(value: bool) -> None:
    if value:
        print(f"minillm {__version__}")
        raise typer.Exit


@app.callback()
def common(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                        help="Print the version and stop.")) -> None:
    """Language models from scratch in NumPy: train, generate, look at the formulas."""


# typer has its own copy of click from some release on: take the class from where it is used.
_UsageMistake: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def main() -> None:
    """The entry point of the `minillm` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Chinese shows `?` and goes on
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        _complain(str(error), 1)
    except _UsageMistake as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(2)
        _complain(f"{error.format_message()} (see --help)", 2)
    except MemoryError as error:
        said = f" ({error})" if str(error) else ""
        _complain(f"there is not enough memory{said}: ask for less, such as fewer beams, fewer prompts or a "
                  "smaller model, or close other programs", 1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        sys.stderr.close()
        sys.exit(1)


def _complain(message: str, status: int) -> NoReturn:
    """One line on standard error, however long; then the exit status."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(' '.join(message.split()))}",
                                               highlight=False)
    sys.exit(status)
