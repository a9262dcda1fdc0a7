"""`minillm train lm`: train the article's model on text."""

from __future__ import annotations

import math
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from minillm.errors import UserError
from minillm.formulas import bits_per_character, perplexity
from minillm.tasks.language_modelling import LanguageModelling, resume
from minillm.text import Split
from minillm.train import TerminalReporter, Trainer, draw_loss

train = typer.Typer(no_args_is_help=True, help="Train a model.",
                    epilog="Example:  minillm train lm --data novel.txt --out runs/novel")
DEFAULT = LanguageModelling()


@train.callback()
def _group() -> None:
    """Train a model."""


def _option(name: str, text: str) -> Any:
    return typer.Option(f"--{name}", help=text)


@train.command(epilog="Examples:  minillm train lm   |   minillm train lm --data novel.txt --out runs/novel "
                      "--dropout 0.3   |   minillm train lm --out runs/novel --resume")
def lm(
    context: typer.Context,
    data: Annotated[Path | None, _option("data", "A UTF-8 text. Left out: Python's own help texts.")] = None,
    out: Annotated[Path, _option("out", "Folder for the run.")] = Path("runs/lm"),
    resume_run: Annotated[bool, _option("resume", "Go on with the run in --out where it stopped.")] = False,
    overwrite: Annotated[bool, _option("overwrite", "Replace the run that --out holds.")] = False,
    steps: Annotated[int, _option("steps", "Updates in all.")] = DEFAULT.steps,
    batch_size: Annotated[int, _option("batch-size", "Windows side by side.")] = DEFAULT.batch_size,
    seq_len: Annotated[int, _option("seq-len", "Characters in a window.")] = DEFAULT.seq_len,
    embedding_dim: Annotated[
        int, _option("embedding-dim", "Width of a character's vector.")] = DEFAULT.embedding_dim,
    hidden_dim: Annotated[int, _option("hidden-dim", "Width of an LSTM layer.")] = DEFAULT.hidden_dim,
    num_layers: Annotated[int, _option("num-layers", "LSTM layers.")] = DEFAULT.num_layers,
    dropout: Annotated[float, _option("dropout", "Probability to drop a unit.")] = DEFAULT.dropout,
    l1: Annotated[float, _option("l1", "Strength of the L1 penalty on the weights.")] = DEFAULT.l1,
    l2: Annotated[float, _option("l2", "Strength of the L2 penalty on the weights.")] = DEFAULT.l2,
    lr: Annotated[float, _option("lr", "Peak learning rate of Adam.")] = DEFAULT.lr,
    warmup: Annotated[
        int, _option("warmup", "Steps until the peak; a cosine to a tenth follows.")] = DEFAULT.warmup,
    clip: Annotated[float, _option("clip", "Largest norm of a step's gradient.")] = DEFAULT.clip,
    log_every: Annotated[
        int, _option("log-every", "Steps between two lines of metrics.")] = DEFAULT.log_every,
    eval_every: Annotated[
        int, _option("eval-every", "Steps between two evaluations.")] = DEFAULT.eval_every,
    patience: Annotated[
        int, _option("patience", "Stop after so many evaluations without a better validation loss; "
                     "0: never.")] = DEFAULT.patience,
    seed: Annotated[int, _option("seed", "Same seed, same bits.")] = DEFAULT.seed,
    max_seconds: Annotated[
        float, _option("max-seconds", "Stop after this time; --resume goes on.")] = math.inf,
) -> None:
    """Train Embedding -> LSTM -> Dense on text, character by character (article section 5.1).

    The run folder gets config.json, metrics.jsonl, loss.png and two checkpoints (the latest and the
    best). Stop with Ctrl-C and go on with --resume: the result is the same, bit for bit.
    """
    console = Console()
    if not max_seconds > 0:
        raise UserError(f"max-seconds = {max_seconds} must be positive")
    path = None if data is None else str(data.absolute())
    if resume_run:
        _refuse_other_options(context)
        trainer = resume(out, data=path)
        what = "This run is finished:" if trainer.is_finished() else "Going on at"
        console.print(f"{what} step {trainer.step} of {trainer.settings.steps} in {out}/", highlight=False,
                      markup=False)
    else:
        values = {f.name: context.params[f.name] for f in fields(LanguageModelling)}
        config = LanguageModelling(**{**values, "data": path})
        config.check()
        text = config.load_text()
        trainer = config.start(out, text, overwrite=overwrite)
        _introduce(console, trainer, text, data)
    with trainer.run_folder:
        try:
            with TerminalReporter(console, trainer.settings.steps, trainer.step) as reporter:
                how = trainer.fit(reporter, max_seconds=max_seconds)
        finally:  # a run that ends in an error has its picture too
            _draw(trainer)
        if how == "out of time":
            loss = trainer.keep_if_best()
            console.print(f"Time is up. At step {trainer.step}: validation {bits_per_character(loss):.3f} "
                          f"bits per character.", highlight=False)
    _conclude(console, trainer, how, out)


def _refuse_other_options(context: typer.Context) -> None:
    """A resumed run is the run that was begun: options that would change it are a mistake."""
    for name in context.params:
        given = context.get_parameter_source(name)
        explicit = given is not None and given.name == "COMMANDLINE"
        if explicit and name not in ("out", "data", "resume_run", "max_seconds"):
            raise UserError(f"--resume takes its options from the run: leave out "
                            f"--{name.replace('_', '-')}, or start a new run with another --out")


def _introduce(console: Console, trainer: Trainer, text: Split, data: Path | None) -> None:
    name = "Python's help texts (pydoc_data.topics)" if data is None else str(data)
    console.print(f"Text: {name}: {len(text.train):,} characters to train on, {len(text.validation):,} to "
                  f"validate, {len(text.test):,} kept for a test; {text.n_dropped:,} repeated "
                  f"{text.unit}s dropped.", highlight=False, markup=False)
    if text.unit == "piece":
        console.print("Note: this text has too few lines to look for repeats: what validation holds may "
                      "stand in training too.", highlight=False)
    console.print(f"Model: Embedding -> LSTM -> Dense, {trainer.model.n_params:,} parameters. Ctrl-C saves "
                  f"and stops.", highlight=False, markup=False)


def _draw(trainer: Trainer) -> None:
    run = trainer.run_folder
    title = f"{run.path.name}: {trainer.model.n_params:,} parameters"
    draw_loss(run.read_metrics(), run.picture, title=title)


def _conclude(console: Console, trainer: Trainer, how: str, out: Path) -> None:
    run = trainer.run_folder
    evaluated = [r for r in run.read_metrics() if "val_bpc" in r]
    if evaluated:
        best = min(evaluated, key=lambda r: r["val_bpc"])
        console.print(f"Best: step {best['step']}, validation {best['val_bpc']:.3f} bits per character "
                      f"(perplexity {perplexity(best['val_loss']):.2f}), training {best['train_bpc']:.3f}, "
                      f"gap {best['gap_bpc']:+.3f}.", highlight=False)
    files = ", ".join(p.name for p in sorted(out.iterdir()) if not p.name.startswith("."))
    console.print(f"{out}/ holds {files}.", highlight=False, markup=False, soft_wrap=True)
    if how in ("interrupted", "out of time"):
        console.print(f"Stopped ({how}) at step {trainer.step} of {trainer.settings.steps}; nothing is lost. "
                      f"Go on with: minillm train lm --out {shlex.quote(str(out))} --resume",
                      highlight=False, markup=False,
                      soft_wrap=True)
        raise typer.Exit(130 if how == "interrupted" else 0)
    if how == "stopped early":
        console.print(f"Stopped early: no better validation loss in {trainer.settings.patience} "
                      "evaluations.", highlight=False)
    console.print(f"Read what it writes: minillm generate {shlex.quote(str(out))}", highlight=False,
                  markup=False, soft_wrap=True)
