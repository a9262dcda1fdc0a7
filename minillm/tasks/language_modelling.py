"""Language modelling from texts to a trained model in a run folder, and back out of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minillm import nn
from minillm.errors import UserError
from minillm.models.checks import check_sizes, check_types
from minillm.models.own_weights import Arrays, check_own, read_model
from minillm.optim import AdamW, WarmupCosine, parameter_groups
from minillm.tasks.language_models import MODELS, OWN_SETTINGS, LanguageModel, ModelConfig
from minillm.tasks.memory import check_memory
from minillm.tasks.next_token import NextToken
from minillm.tasks.presets import DEFAULT_PRESET, PRESETS
from minillm.tasks.samples import Writer
from minillm.tasks.text_data import (
    EVAL_SEQ_LEN,
    TOKENIZER_KINDS,
    encode,
    evaluation_data,
    train_tokenizer,
    training_batches,
)
from minillm.text import Split, Tokenizer, read_sources, split, tokenizer_from_json
from minillm.train import RunFolder, Trainer, TrainerSettings, load_checkpoint

_PRESET: Any = None  # stands for the value in the model's preset

# What the config.json of the first version had; it trained LSTMs on characters.
_FIRST_SETTINGS = ("data", "seed", "steps", "batch_size", "seq_len", "embedding_dim", "hidden_dim",
                   "num_layers", "dropout", "lr", "warmup", "clip", "l1", "l2", "log_every", "eval_every",
                   "patience")


@dataclass(frozen=True)
class LanguageModelling:
    """Everything that decides what a run does: the same configuration gives the same bits.

    A setting that is left out has the value of the preset, `presets.PRESETS[model][preset]`, and where the
    preset has none, what is said here.

    Attributes:
        data: files, folders and names of `text.extras`, see `text.read_sources`; empty: the text that
            Python brings along.
        model, preset: "lstm", "gpt" or "llama"; "seconds", "minutes", "quarter" or "hour".
        seed: of the split, the initial parameters, the dropout, the order of the data and the samples.
        tokenizer: "char", "byte" or "bpe"; trained on the training part.
        vocab_size: of a BPE tokenizer; 1024. 0 for the others.
        embedding_dim, hidden_dim, num_layers: of the LSTM, see `LSTMConfig`.
        n_layer, n_head, n_embd, norm, qk_norm, softcap, logit_softcap, init: see `GPTConfig`.
        n_kv_head: see `LlamaConfig`. dropout: of the LSTM and GPT.
        steps: updates.
        batch_size, seq_len: B and T; GPT and Llama see no more than T tokens.
        accumulate: parts N of B sequences each that a step adds up: it is the step of N B sequences.
        windows: "contiguous", lanes through the text (all that an LSTM can use, whose state goes on from
            window to window), or "random" places.
        lr, warmup, floor: peak learning rate, steps of warmup, and the factor that a cosine goes down to.
        beta1, beta2, weight_decay: of AdamW; what is decayed, `optim.parameter_groups` says.
        clip: the largest gradient norm.
        l1, l2: penalties on matrices and tables (article 3.3).
        label_smoothing, z_loss: see `NextToken`.
        log_every, eval_every, patience: see `TrainerSettings`.
        sample_every: steps between two samples; None: one at each evaluation; 0: none.
        sample_prompt: what a sample begins with; "" for a new line.

    Raises:
        UserError: there is no such model or preset, or a setting is of another type or not finite.
    """

    data: Any = ()
    model: str = "lstm"
    preset: str = DEFAULT_PRESET
    seed: int = 0
    tokenizer: str = "char"
    vocab_size: int = _PRESET
    embedding_dim: int = _PRESET
    hidden_dim: int = _PRESET
    num_layers: int = _PRESET
    n_layer: int = _PRESET
    n_head: int = _PRESET
    n_kv_head: int = _PRESET
    n_embd: int = _PRESET
    dropout: float = _PRESET
    norm: str = _PRESET
    qk_norm: bool = _PRESET
    softcap: float | None = None
    logit_softcap: float | None = None
    init: str = _PRESET
    steps: int = _PRESET
    batch_size: int = _PRESET
    seq_len: int = _PRESET
    accumulate: int = 1
    windows: str = _PRESET
    lr: float = _PRESET
    warmup: int = _PRESET
    floor: float = 0.1
    beta1: float = 0.9
    beta2: float = _PRESET
    weight_decay: float = _PRESET
    clip: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    log_every: int = 10
    eval_every: int = _PRESET
    patience: int = 0
    sample_every: int | None = None
    sample_prompt: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("model", self.model, MODELS),
                                   ("preset", self.preset, PRESETS[next(iter(MODELS))])):
            if value not in known:
                raise UserError(f"{name} = {value!r} must be one of {', '.join(known)}")
        one = isinstance(self.data, str | os.PathLike)
        data = (self.data,) if one else self.data or ()
        filled = {"data": tuple(map(os.fspath, data)), **PRESETS[self.model][self.preset],
                  "vocab_size": 1024 if self.tokenizer == "bpe" else 0}
        for name, value in filled.items():
            if name == "data" or getattr(self, name) is None:
                object.__setattr__(self, name, value)
        try:
            check_types(self, optional=set(OWN_SETTINGS) - set(MODELS[self.model].settings))
        except ValueError as error:
            raise UserError(str(error)) from None

    @property
    def sequences(self) -> int:
        """Sequences in a step: batch_size * accumulate."""
        return self.batch_size * self.accumulate

    def load_text(self) -> Split:
        """The text, repeated paragraphs dropped, in three parts.

        Raises:
            UserError: a source is missing, empty, not UTF-8, or the text too short.
        """
        return split(read_sources(self.data or ()).text, seed=self.seed)

    def model_config(self, vocab_size: int) -> ModelConfig:
        """The model's configuration. Raises ValueError for sizes that it refuses."""
        return MODELS[self.model].make_config(vocab_size, self.seq_len, asdict(self))

    def check(self) -> None:
        """Raise UserError, in one line, for an option that no run could have."""
        try:
            self._check()
        except ValueError as error:
            raise UserError(str(error)) from error

    def _check(self) -> None:
        own = MODELS[self.model].settings
        for name in OWN_SETTINGS:
            if getattr(self, name) is not None and name not in own:
                raise ValueError(f"{name} = {getattr(self, name)} is no setting of model = {self.model}, "
                                 f"which has {', '.join(own)}: leave it out, or choose another model")
        for name, value, known in (("tokenizer", self.tokenizer, TOKENIZER_KINDS),
                                   ("windows", self.windows, ("random", "contiguous"))):
            if value not in known:
                raise ValueError(f"{name} = {value!r} must be one of {', '.join(known)}")
        if self.tokenizer != "bpe" and self.vocab_size:
            raise ValueError(f"vocab_size = {self.vocab_size} is for tokenizer = bpe; a {self.tokenizer} "
                             "tokenizer has the size that it has")
        if self.model == "lstm" and self.windows == "random":
            raise ValueError("windows = random would cut the state that an LSTM carries from window to "
                             "window: leave it out, or choose model = gpt")
        for name in ("seed", "lr", "l1", "l2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be finite and not negative")
        check_sizes(self, "batch_size", "seq_len")
        self._settings()
        self._schedule()
        self.model_config(2)
        probe = nn.Linear(1, 1, rng=np.random.default_rng(0))
        NextToken(probe, self.label_smoothing, self.z_loss)
        self._optimizer(probe)

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
        tokenizer = train_tokenizer(self.tokenizer, text.train, self.vocab_size)
        parts = self._parts(text, tokenizer)
        config = {"task": "language modelling", **asdict(self), "tokenizer": tokenizer.to_json()}
        return self._trainer(RunFolder.create(out, config, overwrite=overwrite), parts)

    def _parts(self, text: Split, tokenizer: Tokenizer) -> dict[str, Any]:
        """All that a Trainer needs but its folder."""
        ids = encode(tokenizer, text.train)
        batches = training_batches(ids, self.sequences, self.seq_len, self.windows, self.seed)
        config, kind = self.model_config(tokenizer.vocab_size), MODELS[self.model]
        check_memory(config, self.batch_size, self.seq_len, {k: getattr(self, k) for k in kind.settings})
        model, rng = kind.make(config, self.seed)
        window = EVAL_SEQ_LEN if model.max_length is None else self.seq_len
        try:
            write = Writer(model, tokenizer, self.sample_prompt, self.seed)
        except ValueError as error:
            raise UserError(str(error)) from error
        return {"model": model, "optimizer": self._optimizer(model), "batches": batches, "rng": rng,
                "objective": NextToken(model, self.label_smoothing, self.z_loss), "write": write,
                "validation": evaluation_data(tokenizer, text.validation, window),
                "sample": evaluation_data(tokenizer, text.train[:len(text.validation)], window),
                "tokens_per_character": len(ids) / len(text.train)}

    def _optimizer(self, model: nn.Module) -> AdamW:
        groups = parameter_groups(model, weight_decay=self.weight_decay, l1=self.l1, l2=self.l2)
        return AdamW(groups, lr=self.lr, beta1=self.beta1, beta2=self.beta2, weight_decay=self.weight_decay,
                     schedule=self._schedule())

    def _schedule(self) -> WarmupCosine:
        return WarmupCosine(self.steps, min(self.warmup, self.steps - 1), floor=self.floor)

    def _settings(self) -> TrainerSettings:
        sample_every = self.eval_every if self.sample_every is None else self.sample_every
        return TrainerSettings(self.steps, self.clip, self.log_every, self.eval_every, self.patience,
                               self.accumulate, sample_every)

    def _trainer(self, run: RunFolder, parts: dict[str, Any]) -> Trainer:
        return Trainer(run=run, settings=self._settings(), **parts)


def resume(out: str | Path, *, data: Sequence[str] | str | None = None) -> Trainer:
    """The run in the folder `out`, where its checkpoint left it; at its start if it has none yet.

    Args:
        out: the folder.
        data: where the run's texts lie now, if they were moved; they must be the same.

    Raises:
        UserError: there is no run, it is in use, its files are damaged, or its text has changed.
    """
    run = RunFolder.resume(out)
    try:
        config, tokenizer = _read_config(run)
        if run.checkpoint.exists():  # before a model of those sizes is made
            check_own(*_stored(run.checkpoint, config, tokenizer)[0])
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


def load_model(out: str | Path) -> tuple[LanguageModel, Tokenizer, dict[str, Any]]:
    """The best model of a run (or its latest, before the first evaluation), in eval mode.

    Returns:
        (model, tokenizer, facts): facts has "step", and "val_loss" where it was measured.

    Raises:
        UserError: there is no run, or its files are damaged.
    """
    run = RunFolder.open(out)
    config, tokenizer = _read_config(run)
    path = run.best if run.best.exists() else run.checkpoint
    what, facts = _stored(path, config, tokenizer)
    model: Any = read_model(*what)
    return model, tokenizer, facts


def _stored(path: Path, config: LanguageModelling, tokenizer: Tokenizer
            ) -> tuple[tuple[Any, Arrays, str, str], dict[str, Any]]:
    """What `models.own_weights` asks for to read the model of a checkpoint, and the checkpoint's facts."""
    arrays, facts = load_checkpoint(path)
    own = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")} or arrays
    return (config.model_config(tokenizer.vocab_size), Arrays(own), repr(str(path)),
            repr(str(path.with_name("config.json")))), facts


def _read_config(run: RunFolder) -> tuple[LanguageModelling, Tokenizer]:
    saved = run.config
    if saved.get("task") != "language modelling":
        raise UserError(f"{str(run.path)!r} is a run of another task ({saved.get('task')!r}): "
                        "name a folder that `minillm train lm` made")
    where = f"the config.json of {str(run.path)!r} is damaged"
    known = [f.name for f in fields(LanguageModelling)] if "model" in saved else _FIRST_SETTINGS
    try:
        tokenizer = tokenizer_from_json(saved["tokenizer"])
        settings = {name: saved[name] for name in known}
        config = LanguageModelling(**{**settings, "tokenizer": saved["tokenizer"]["kind"]})
        config.check()
        config.model_config(tokenizer.vocab_size)
        for name, value in settings.items():
            if value is None and name != "data" and getattr(config, name) is not None:
                raise ValueError(f"{name} = null, which training never writes")
    except KeyError as error:
        raise UserError(f"{where} (it has no {error}): restore it, or start a new run") from error
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{where} ({error}): restore it, or start a new run") from error
    return config, tokenizer
