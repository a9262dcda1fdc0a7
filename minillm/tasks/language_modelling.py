"""Language modelling from a text file to a trained model in a run folder, and back out of it."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.models import LSTMConfig, LSTMLanguageModel
from minillm.optim import Adam, WarmupCosine
from minillm.text import BPTTBatches, CharTokenizer, Split, load_default, read_text, split
from minillm.train import RunFolder, Trainer, TrainerSettings, load_checkpoint

EVAL_LANES = 16  # stretches of the text that an evaluation reads side by side
EVAL_SEQ_LEN = 128


@dataclass(frozen=True)
class LanguageModelling:
    """Everything that decides what a run does: the same configuration gives the same bits.

    Attributes:
        data: path of a UTF-8 text; None for the text that Python brings along (`text.load_default`).
        seed: of the split, the initial parameters, the dropout and the order of the data.
        steps: updates. batch_size, seq_len: B and T of a window.
        embedding_dim, hidden_dim, num_layers, dropout: see `LSTMConfig`.
        lr, warmup, clip: peak learning rate, steps of warmup (a cosine to a tenth follows), and the
            largest gradient norm.
        l1, l2: penalties on the weight matrices (article 3.3).
        log_every, eval_every, patience: see `TrainerSettings`.
    """

    data: str | None = None
    seed: int = 0
    steps: int = 1000
    batch_size: int = 64
    seq_len: int = 64
    embedding_dim: int = 64
    hidden_dim: int = 256
    num_layers: int = 1
    dropout: float = 0.1
    lr: float = 6e-3
    warmup: int = 50
    clip: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    log_every: int = 10
    eval_every: int = 100
    patience: int = 0

    def load_text(self) -> Split:
        """The text, repeated paragraphs dropped, in three parts.

        Raises:
            UserError: the file is missing, empty, not UTF-8, or too short.
        """
        return split(load_default() if self.data is None else read_text(self.data), seed=self.seed)

    def model_config(self, tokenizer: CharTokenizer) -> LSTMConfig:
        return LSTMConfig(tokenizer.vocab_size, self.embedding_dim, self.hidden_dim, self.num_layers,
                          self.dropout)

    def check(self) -> None:
        """Raise UserError, in one line, for an option that no run could have."""
        try:
            if self.seed < 0:
                raise ValueError(f"seed = {self.seed} must not be negative")
            LSTMConfig(2, self.embedding_dim, self.hidden_dim, self.num_layers, self.dropout)
            TrainerSettings(self.steps, self.clip, self.log_every, self.eval_every, self.patience)
            WarmupCosine(self.steps, min(self.warmup, self.steps - 1))
            for name in ("lr", "l1", "l2"):
                value = getattr(self, name)
                if not 0 <= value < math.inf:
                    raise ValueError(f"{name} = {value} must be finite and not negative")
            for name in ("batch_size", "seq_len"):
                if getattr(self, name) < 1:
                    raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        except ValueError as error:
            raise UserError(str(error)) from error

    def start(self, out: str | Path, text: Split | None = None, *, overwrite: bool = False) -> Trainer:
        """A new run in the folder `out`.

        Args:
            out: made if it is missing.
            text: what `load_text` gave, where it was called before.
            overwrite: replace the run that `out` holds; it is deleted only when all else is ready.

        Raises:
            UserError: the text or an option cannot be used, memory does not suffice, or `out` is taken.
        """
        self.check()
        text = self.load_text() if text is None else text
        tokenizer = CharTokenizer.train(text.train)
        parts = self._parts(text, tokenizer)
        config = {"task": "language modelling", **asdict(self), "tokenizer": tokenizer.to_json()}
        return self._trainer(RunFolder.create(out, config, overwrite=overwrite), parts)

    def _parts(self, text: Split, tokenizer: CharTokenizer) -> dict[str, Any]:
        """All that a Trainer needs but its folder."""
        train, val = tokenizer.encode(text.train), tokenizer.encode(text.validation)
        batches = BPTTBatches(train, self.batch_size, self.seq_len, shift_seed=self.seed)
        rng = np.random.default_rng(self.seed)
        config = self.model_config(tokenizer)
        # parameters, gradients and Adam's two moments, in float32
        needed, there = 16 * config.n_params, _physical_memory()
        if needed > there:
            raise UserError(f"a model of embedding_dim = {self.embedding_dim}, hidden_dim = "
                            f"{self.hidden_dim}, num_layers = {self.num_layers} needs "
                            f"{needed / 2**30:,.0f} GiB of memory, and there are {there / 2**30:,.0f}: "
                            "make one of them smaller")
        model = LSTMLanguageModel(config, rng=rng)
        optimizer = self._optimizer(model)
        return {"model": model, "optimizer": optimizer, "batches": batches, "rng": rng,
                "validation": _evaluation(val), "sample": _evaluation(train[:len(val)])}

    def _optimizer(self, model: LSTMLanguageModel) -> Adam:
        named = list(model.named_parameters())
        groups = [{"params": [p for _, p in named if p.ndim > 1], "l1": self.l1, "l2": self.l2},
                  {"params": [p for _, p in named if p.ndim == 1]}]  # biases are not penalised
        schedule = WarmupCosine(self.steps, min(self.warmup, self.steps - 1), floor=0.1)
        return Adam(groups, lr=self.lr, schedule=schedule)

    def _trainer(self, run: RunFolder, parts: dict[str, Any]) -> Trainer:
        settings = TrainerSettings(self.steps, self.clip, self.log_every, self.eval_every, self.patience)
        return Trainer(run=run, settings=settings, **parts)


def _physical_memory() -> float:
    """Bytes of memory in this machine; infinity where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _evaluation(ids: np.ndarray) -> BPTTBatches:
    lanes = max(1, min(EVAL_LANES, (len(ids) - 1) // EVAL_SEQ_LEN))
    return BPTTBatches(ids, lanes, EVAL_SEQ_LEN, keep_tail=True)


def resume(out: str | Path, *, data: str | None = None) -> Trainer:
    """The run in the folder `out`, where its checkpoint left it; at its start if it has none yet.

    Args:
        out: the folder.
        data: where the run's text lies now, if it was moved; it must be the same text.

    Raises:
        UserError: there is no run, it is in use, its files are damaged, or its text has changed.
    """
    run = RunFolder.resume(out)
    try:
        config, tokenizer = _read_config(run)
        text = (config if data is None else replace(config, data=data)).load_text()
        trainer = config._trainer(run, config._parts(text, tokenizer))
        if run.checkpoint.exists():
            trainer.restore()
        elif run.read_metrics():
            raise UserError(f"{str(run.path)!r} has lost its checkpoint.safetensors: restore it, or "
                            "start anew with --overwrite")
        # else it was stopped before its first checkpoint: it begins again
    except BaseException:
        run.close()
        raise
    return trainer


def load_model(out: str | Path) -> tuple[LSTMLanguageModel, CharTokenizer, dict[str, Any]]:
    """The best model of a run (or its latest, before the first evaluation), in eval mode.

    Returns:
        (model, tokenizer, facts): facts has "step", and "val_loss" where it was measured.

    Raises:
        UserError: there is no run, or its files are damaged.
    """
    run = RunFolder.open(out)
    config, tokenizer = _read_config(run)
    model = LSTMLanguageModel(config.model_config(tokenizer), rng=np.random.default_rng(0))
    path = run.best if run.best.exists() else run.checkpoint
    arrays, facts = load_checkpoint(path)
    if path is run.checkpoint:
        arrays = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
    try:
        model.load_state_dict(arrays)
    except ValueError as error:
        raise UserError(f"{str(path)!r} does not fit the run's config.json: {error}") from error
    model.eval()
    return model, tokenizer, facts


def _read_config(run: RunFolder) -> tuple[LanguageModelling, CharTokenizer]:
    saved = run.config
    if saved.get("task") != "language modelling":
        raise UserError(f"{str(run.path)!r} is a run of another task ({saved.get('task')!r}): "
                        "name a folder that `minillm train lm` made")
    known = {f.name for f in fields(LanguageModelling)}
    try:
        config = LanguageModelling(**{k: saved[k] for k in known})
        config.check()
    except (KeyError, TypeError) as error:
        raise UserError(f"the config.json of {str(run.path)!r} is damaged ({error}): start a new run") \
            from error
    return config, CharTokenizer.from_json(saved.get("tokenizer") or {})
