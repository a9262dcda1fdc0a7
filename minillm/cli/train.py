"""`minillm train lm`: train the article's model, or a transformer, on text."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from minillm.cli.train_report import conclude, draw, introduce, say_time_is_up
from minillm.errors import UserError
from minillm.models.starting_values import SCHEMES
from minillm.tasks.language_modelling import LanguageModelling, resume
from minillm.tasks.language_models import MODELS
from minillm.tasks.presets import PRESETS
from minillm.text import read_sources, split
from minillm.text.extras import EXTRAS
from minillm.train import TerminalReporter

train = typer.Typer(no_args_is_help=True, help="Train a model.",
                    epilog="Example:  minillm train lm --data novel.txt --out runs/novel")
DEFAULT = LanguageModelling()
_MODELS, _PRESETS, _EXTRAS = (", ".join(names) for names in (MODELS, PRESETS["lstm"], EXTRAS))


@train.callback()
def _group() -> None:
    """Train a model."""


def _panel(title: str, default: bool | str = True) -> Any:
    """Makes the options of one group in --help: (their names, a text) -> the option."""
    def option(names: str, text: str, show_default: bool | str = default) -> Any:
        return typer.Option(*names.split(), help=text, rich_help_panel=title, show_default=show_default)
    return option


_run = _panel("The run")
_text = _panel("Text and tokens")
# What the preset decides shows no default of its own.
_model = _panel("Model", False)
_lstm, _gpt = _panel("Sizes of lstm", False), _panel("Sizes of gpt and llama", False)
_batch, _step = _panel("Batches", False), _panel("The step", False)
_loss, _look = _panel("The loss"), _panel("What is shown")


@train.command(epilog="Examples:  minillm train lm   |   minillm train lm --model gpt --preset seconds   |   "
                      "minillm train lm --data novel.txt --data notes/ --tokenizer bpe --out runs/novel   "
                      "|   minillm train lm --out runs/novel --resume")
def lm(
    context: typer.Context,
    out: Annotated[Path, _run("--out", "Folder for the run.")] = Path("runs/lm"),
    resume_run: Annotated[bool, _run("--resume", "Go on with the run in --out where it stopped.")] = False,
    overwrite: Annotated[bool, _run("--overwrite", "Replace the run that --out holds.")] = False,
    max_seconds: Annotated[float, _run(
        "--max-seconds", "Stop after this time; --resume goes on.", "never")] = math.inf,
    seed: Annotated[int, _run("--seed", "Same seed, same bits.")] = DEFAULT.seed,
    data: Annotated[list[str] | None, _text(
        "--data", f"A UTF-8 file, a folder of them, or one of {_EXTRAS} (docs/data.md); may be repeated. "
        "Left out: Python's own help texts.", False)] = None,
    tokenizer: Annotated[str, _text("--tokenizer", "char, byte or bpe.")] = DEFAULT.tokenizer,
    vocab_size: Annotated[int | None, _text(
        "--vocab-size", "Tokens of a BPE vocabulary.", "1024 for bpe")] = None,
    model: Annotated[str, _model("--model", f"{_MODELS}.", True)] = DEFAULT.model,
    preset: Annotated[str, _model(
        "--preset", f"{_PRESETS}: sizes and steps for about so long (a quarter of an hour) on two cores. "
        "Options without a default have the preset's.", True)] = DEFAULT.preset,
    dropout: Annotated[float | None, _model(
        "--dropout", "Probability to drop a unit (lstm, gpt).")] = None,
    embedding_dim: Annotated[int | None, _lstm("--embedding-dim", "Width of a token's vector.")] = None,
    hidden_dim: Annotated[int | None, _lstm("--hidden-dim", "Width of an LSTM layer.")] = None,
    num_layers: Annotated[int | None, _lstm("--num-layers", "LSTM layers.")] = None,
    n_layer: Annotated[int | None, _gpt("--n-layer", "Blocks.")] = None,
    n_head: Annotated[int | None, _gpt("--n-head", "Heads of attention.")] = None,
    n_kv_head: Annotated[int | None, _gpt("--n-kv-head", "Heads of keys and values (llama).")] = None,
    n_embd: Annotated[int | None, _gpt("--n-embd", "Width of the residual stream.")] = None,
    norm: Annotated[str | None, _gpt(
        "--norm", "pre or post: norms before a branch or after the sum (gpt).")] = None,
    qk_norm: Annotated[bool | None, _gpt(
        "--qk-norm/--no-qk-norm", "Normalise queries and keys of each head.")] = None,
    softcap: Annotated[float | None, _gpt("--softcap", "Cap on attention's scores.", "none")] = None,
    logit_softcap: Annotated[float | None, _gpt("--logit-softcap", "Cap on the logits.", "none")] = None,
    init: Annotated[str | None, _gpt("--init", f"How matrices begin: {', '.join(SCHEMES)}.")] = None,
    steps: Annotated[int | None, _batch("--steps", "Updates in all.")] = None,
    batch_size: Annotated[int | None, _batch("--batch-size", "Windows side by side.")] = None,
    seq_len: Annotated[int | None, _batch(
        "--seq-len --block-size", "Tokens in a window; gpt and llama see no more than these.")] = None,
    accumulate: Annotated[int, _batch(
        "--accumulate", "Batches that are added up to one step.", True)] = DEFAULT.accumulate,
    windows: Annotated[str | None, _batch(
        "--windows", "random places, or contiguous: one after the other (lstm).")] = None,
    lr: Annotated[float | None, _step("--lr", "Peak learning rate of AdamW.")] = None,
    warmup: Annotated[int | None, _step("--warmup", "Steps until the peak; a cosine follows.")] = None,
    floor: Annotated[float, _step(
        "--floor", "What the cosine goes down to, as a part of the peak.", True)] = DEFAULT.floor,
    beta1: Annotated[float, _step("--beta1", "Decay of the mean of gradients.", True)] = DEFAULT.beta1,
    beta2: Annotated[float | None, _step("--beta2", "Decay of the mean of their squares.")] = None,
    weight_decay: Annotated[float | None, _step(
        "--weight-decay", "Decoupled decay of matrices; not of biases, norms and embeddings.")] = None,
    clip: Annotated[float, _step("--clip", "Largest norm of a step's gradient.", True)] = DEFAULT.clip,
    label_smoothing: Annotated[float, _loss(
        "--label-smoothing", "Share of the target that goes to all tokens.")] = DEFAULT.label_smoothing,
    z_loss: Annotated[float, _loss(
        "--z-loss", "Strength of the penalty on the squared log-sum-exp of logits.")] = DEFAULT.z_loss,
    l1: Annotated[float, _loss("--l1", "Strength of the L1 penalty on the weights.")] = DEFAULT.l1,
    l2: Annotated[float, _loss("--l2", "Strength of the L2 penalty on the weights.")] = DEFAULT.l2,
    log_every: Annotated[int, _look(
        "--log-every", "Steps between two lines of metrics.")] = DEFAULT.log_every,
    eval_every: Annotated[int | None, _look(
        "--eval-every", "Steps between two evaluations.", False)] = None,
    patience: Annotated[int, _look(
        "--patience", "Stop after so many evaluations without a better validation loss; 0: "
        "never.")] = DEFAULT.patience,
    sample_every: Annotated[int | None, _look(
        "--sample-every", "Steps between two samples; 0: none.", "at evaluations")] = None,
    sample_prompt: Annotated[str, _look(
        "--sample-prompt", "What a sample begins with.", "a new line")] = DEFAULT.sample_prompt,
) -> None:
    """Train the article's Embedding -> LSTM -> Dense (section 5.1), a GPT or a Llama on text.

    The run folder gets config.json, metrics.jsonl (samples too), loss.png and two checkpoints (the latest
    and the best). Stop with Ctrl-C and go on with --resume: the result is the same, bit for bit.
    """
    console = Console()
    if not max_seconds > 0:
        raise UserError(f"max-seconds = {max_seconds} must be positive")
    places = tuple(os.path.abspath(name) if name and name not in EXTRAS else name for name in data or ())
    if resume_run:
        _refuse_other_options(context)
        trainer = resume(out, data=places or None)
        what = "This run is finished:" if trainer.is_finished() else "Going on at"
        console.print(f"{what} step {trainer.step} of {trainer.settings.steps} in {out}/", highlight=False,
                      markup=False)
    else:
        values = {f.name: context.params[f.name] for f in fields(LanguageModelling)}
        config = LanguageModelling(**{**values, "data": places})
        config.check()
        corpus = read_sources(places)
        text = split(corpus.text, seed=config.seed)
        trainer = config.start(out, text, overwrite=overwrite)
        introduce(console, trainer, config, corpus, text)
    with trainer.run_folder:
        try:
            with TerminalReporter(console, trainer.settings.steps, trainer.step) as reporter:
                how = trainer.fit(reporter, max_seconds=max_seconds)
        finally:  # a run that ends in an error has its picture too
            draw(trainer)
        if how == "out of time":
            say_time_is_up(console, trainer)
    conclude(console, trainer, how, out)


def _refuse_other_options(context: typer.Context) -> None:
    """A resumed run is the run that was begun: options that would change it are a mistake."""
    for name in context.params:
        given = context.get_parameter_source(name)
        explicit = given is not None and given.name == "COMMANDLINE"
        if explicit and name not in ("out", "data", "resume_run", "max_seconds"):
            raise UserError(f"--resume takes its options from the run: leave out "
                            f"--{name.replace('_', '-')}, or start a new run with another --out")
