"""What `minillm train lm` says before and after training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import cast

import typer
from rich.console import Console

from minillm.formulas import bits_per_character, perplexity
from minillm.tasks.language_modelling import LanguageModelling
from minillm.tasks.language_models import MODELS, LanguageModel
from minillm.text import Corpus, Split
from minillm.train import Trainer, draw_loss


def introduce(console: Console, trainer: Trainer, config: LanguageModelling, corpus: Corpus, text: Split
              ) -> None:
    """Text, tokens and model of a new run."""
    console.print(f"Text: {corpus.title}: {len(text.train):,} characters to train on, "
                  f"{len(text.validation):,} to validate, {len(text.test):,} kept for a test; "
                  f"{text.n_dropped:,} repeated {text.unit}s dropped.", highlight=False, markup=False)
    if corpus.skipped or corpus.n_files > max(1, len(config.data or ())):
        skipped = ", ".join(f"{n} {why}" for why, n in corpus.skipped.items()) or "nothing"
        console.print(f"Files: {corpus.n_files} read; passed over: {skipped}.", highlight=False, markup=False)
    if text.unit == "piece":
        console.print("Note: this text has too few lines to look for repeats: what validation holds may "
                      "stand in training too.", highlight=False)
    vocab_size = cast(LanguageModel, trainer.model).config.vocab_size
    tokens = {"char": "characters", "byte": "bytes", "bpe": "byte pairs"}[config.tokenizer]
    per_token = 1 / trainer.tokens_per_character
    console.print(f"Tokens: {vocab_size:,} {tokens}, {per_token:.2f} characters per token.", highlight=False,
                  markup=False)
    added = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    console.print(f"Model: {MODELS[config.model].title}, {trainer.model.n_params:,} parameters; "
                  f"{config.steps:,} steps of {config.sequences} x {config.seq_len} tokens{added}. "
                  f"Ctrl-C saves and stops.", highlight=False, markup=False)


def draw(trainer: Trainer) -> None:
    """The picture in the run's folder."""
    run = trainer.run_folder
    title = f"{run.path.name}: {trainer.model.n_params:,} parameters"
    draw_loss(run.read_metrics(), run.picture, title=title)


def say_time_is_up(console: Console, trainer: Trainer) -> None:
    """Measure where training stopped, and keep the model if it is the best."""
    loss = bits_per_character(trainer.keep_if_best(), trainer.validation.tokens_per_character)
    console.print(f"Time is up. At step {trainer.step}: validation {loss:.3f} bits per character.",
                  highlight=False)


def conclude(console: Console, trainer: Trainer, how: str, out: Path) -> None:
    """The best evaluation, what lies in the folder, and what to do next.

    Raises:
        typer.Exit: the run was stopped before its end; its status is 130 after Ctrl-C, else 0.
    """
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
