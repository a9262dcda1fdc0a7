"""The training loop: truncated backpropagation through time, and everything needed to stop and go on.

What a run does depends on nothing but its configuration and seed. The checkpoint holds all that
changes from step to step (parameters, optimiser, random state, place in the data, carried LSTM
state, running means), so that a run that was killed and resumed ends with the very bits of one
that was not.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import numpy as np

from minillm import formulas
from minillm.autograd import no_grad
from minillm.autograd.devices import to_host
from minillm.autograd.fused import softmax_cross_entropy
from minillm.errors import UserError
from minillm.models.lstm_lm import detach
from minillm.nn import Module
from minillm.optim import Optimizer, clip_grad_norm
from minillm.text import BPTTBatches
from minillm.train.checkpoint import load_checkpoint, save_checkpoint
from minillm.train.run_folder import RunFolder


@dataclass(frozen=True)
class TrainerSettings:
    """How long to train, and how often to look.

    Attributes:
        steps: updates in all.
        clip: largest joint 2-norm of the gradients.
        log_every: steps between two lines of metrics.
        eval_every: steps between two evaluations; each also writes a checkpoint.
        patience: stop after this many evaluations without a better validation loss; 0 never stops.

    Raises:
        ValueError: a number is below 1 (patience: below 0), or clip is not positive.
    """

    steps: int
    clip: float = 1.0
    log_every: int = 10
    eval_every: int = 100
    patience: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "eval_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if not self.clip > 0:
            raise ValueError(f"clip = {self.clip} must be positive")
        if self.patience < 0:
            raise ValueError(f"patience = {self.patience} must not be negative")


class Reporter(Protocol):
    """Who is told what happens (`progress.py` shows it in a terminal)."""

    def step(self, record: dict[str, Any]) -> None: ...
    def evaluated(self, record: dict[str, Any]) -> None: ...


class Trainer:
    """Trains a recurrent language model on windows of text, carrying its state from one to the next.

    Args:
        model: `model(ids (B, T), state) -> (logits (B, T, V), state)`.
        optimizer: over the model's parameters.
        batches: the training text.
        validation: the validation text, read from its start at each evaluation.
        sample: as much of the training text, read the same way, so that both losses are of the
            model as it stands, without dropout: their difference is the gap of article 2.1 and 2.2.
        run: the folder for metrics and checkpoints, locked.
        settings: see `TrainerSettings`.
        rng: the generator that initialised the model and draws its dropout.
    """

    def __init__(self, model: Module, optimizer: Optimizer, batches: BPTTBatches,
                 validation: BPTTBatches, sample: BPTTBatches, run: RunFolder,
                 settings: TrainerSettings, rng: np.random.Generator) -> None:
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.validation, self.sample = validation, sample
        self.run_folder, self.settings, self.rng = run, settings, rng
        self.hidden: Any = None  # the LSTM state to carry into the next window
        self.step = 0
        self.seconds = 0.0  # spent on training steps and evaluations, over all sessions
        self.best_loss, self.best_step, self.bad_evaluations = math.inf, 0, 0
        self._loss_sum, self._loss_count = 0.0, 0

    # ---- one step --------------------------------------------------------------------------------

    def train_step(self) -> tuple[float, float]:
        """Forward, backward, clip, update on the next window; return (loss, gradient norm).

        Raises:
            UserError: the loss or a gradient is not finite; nothing was updated.
        """
        if self.batches.at_epoch_start:
            self.hidden = None
        x, y = self.batches.next_window()  # (B, T)
        self.model.train()
        logits, hidden = self.model(x, self.hidden)  # (B, T, V)
        loss = softmax_cross_entropy(logits, y)
        self.optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm(self.model.parameters(), self.settings.clip)
        if not (math.isfinite(norm) and math.isfinite(float(loss))):
            raise UserError(self._not_finite(float(loss)))
        self.optimizer.step()
        self.hidden = detach(hidden)
        self.step += 1
        return float(loss), norm

    def _not_finite(self, loss: float) -> str:
        where = "the norm of the gradients overflows"
        named = list(self.model.named_parameters())
        bad = [f"parameter {name}" for name, p in named if not np.isfinite(p.data).all()]
        bad += [f"the gradient of {name}" for name, p in named
                if p.grad is not None and not np.isfinite(p.grad).all()]
        if bad:
            where = f"{bad[0]} is not finite"
        kept = self._last_checkpoint
        advice = f"checkpoint of step {kept} is kept" if kept is not None else "no checkpoint was written"
        return (f"step {self.step + 1}: {where} (loss {loss:.4g}); {advice}; "
                "start again with a lower --lr or --clip")

    _last_checkpoint: int | None = None

    # ---- evaluation ------------------------------------------------------------------------------

    def evaluate(self, batches: BPTTBatches) -> float:
        """Mean loss, in nats per token, over the whole of `batches`, without dropout."""
        batches.rewind()
        self.model.eval()
        total, count, state = 0.0, 0, None
        with no_grad():
            for x, y in batches:
                logits, state = self.model(x, state)
                total += float(softmax_cross_entropy(logits, y)) * y.size
                count += y.size
        return total / count

    def _evaluate(self) -> dict[str, Any]:
        train, val = self.evaluate(self.sample), self.evaluate(self.validation)
        if not (math.isfinite(train) and math.isfinite(val)):
            raise UserError(self._not_finite(val))
        bits = formulas.bits_per_character
        better = val < self.best_loss
        if better:
            self.best_loss, self.best_step, self.bad_evaluations = val, self.step, 0
            save_checkpoint(self.run_folder.best, self.model.state_dict(),
                            {"step": self.step, "val_loss": val})
        else:
            self.bad_evaluations += 1
        return {"step": self.step, "train_loss": train, "val_loss": val, "train_bpc": bits(train),
                "val_bpc": bits(val), "gap_bpc": bits(val - train), "best": better,
                "penalty": self.optimizer.penalty()}

    def keep_if_best(self) -> float:
        """Measure the validation loss now, between two evaluations; keep the model if it is the best.

        Nothing that later steps depend on is touched, so a resumed run ends with the same bits.
        """
        loss = self.evaluate(self.validation)
        if loss < self.best_loss:
            save_checkpoint(self.run_folder.best, self.model.state_dict(),
                            {"step": self.step, "val_loss": loss})
        return loss

    # ---- the loop --------------------------------------------------------------------------------

    def is_finished(self) -> bool:
        """All steps are done, or the patience is."""
        s = self.settings
        return self.step >= s.steps or bool(s.patience and self.bad_evaluations >= s.patience)

    def fit(self, reporter: Reporter, *, max_seconds: float = math.inf,
            after_step: Callable[[int], None] | None = None) -> str:
        """Train to the end, or until somebody stops it.

        Args:
            reporter: is told of steps and evaluations.
            max_seconds: stop, with a checkpoint, when this session has trained so long.
            after_step: called with the number of each finished step (tests use it).

        Returns:
            "finished", "stopped early" (patience), "out of time" or "interrupted".

        Raises:
            UserError: a number became nan or infinite, or the disk is full.
        """
        settings, start, before = self.settings, time.perf_counter(), self.seconds
        tokens = self.batches.batch_size * self.batches.seq_len
        clock, done = start, 0
        if self._last_checkpoint is None:
            self.save()  # from now on there is always something to resume from
        # What overflows is found in the loss and the gradients, with the step and the parameter.
        with _stop_requests() as stop, np.errstate(all="ignore"):
            while not self.is_finished():
                loss, norm = self.train_step()
                self._loss_sum += loss
                self._loss_count += 1
                done += 1
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    now = time.perf_counter()
                    self.seconds = before + now - start
                    mean = self._loss_sum / self._loss_count
                    record = {"step": self.step, "loss": mean, "bpc": formulas.bits_per_character(mean),
                              "grad_norm": norm, "tokens_per_s": done * tokens / (now - clock),
                              "seconds": self.seconds}
                    self._loss_sum, self._loss_count, clock, done = 0.0, 0, now, 0
                    self.run_folder.append_metrics(record)
                    reporter.step(record)
                if self.step % settings.eval_every == 0 or self.step == settings.steps:
                    record = self._evaluate()
                    clock = time.perf_counter()
                    self.seconds = before + clock - start
                    record["seconds"] = self.seconds
                    self.run_folder.append_metrics(record)
                    reporter.evaluated(record)
                    self.save()
                if after_step is not None:
                    after_step(self.step)
                if not self.is_finished() and (stop or time.perf_counter() - start >= max_seconds):
                    self.seconds = before + time.perf_counter() - start
                    self.save()
                    return "interrupted" if stop else "out of time"
        return "finished" if self.step >= settings.steps else "stopped early"

    # ---- stopping and going on -------------------------------------------------------------------

    def save(self) -> None:
        """Write all that changes from step to step to the run's checkpoint, in one atomic step."""
        optimizer = self.optimizer.state_dict()
        arrays = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        arrays |= {f"optimizer.{k}": v for k, v in optimizer["buffers"].items()}
        for i, (h, c) in enumerate(self.hidden or []):
            arrays |= {f"hidden.{i}.h": to_host(h), f"hidden.{i}.c": to_host(c)}
        save_checkpoint(self.run_folder.checkpoint, arrays, {
            "step": self.step, "optimizer_step": optimizer["step"], "data": self.batches.state_dict(),
            "rng": self.rng.bit_generator.state, "seconds": self.seconds, "best_loss": self.best_loss,
            "best_step": self.best_step, "bad_evaluations": self.bad_evaluations,
            "loss_sum": self._loss_sum, "loss_count": self._loss_count})
        self._last_checkpoint = self.step

    def restore(self) -> None:
        """Continue from the run's checkpoint, and drop metrics that were recorded after it.

        Raises:
            UserError: the checkpoint is missing, damaged, or of another model or text.
        """
        arrays, state = load_checkpoint(self.run_folder.checkpoint)
        try:
            self.model.load_state_dict(_under("model.", arrays))
            self.optimizer.load_state_dict({"step": state["optimizer_step"],
                                            "buffers": _under("optimizer.", arrays)})
            hidden = _under("hidden.", arrays)
            self.hidden = [(hidden[f"{i}.h"], hidden[f"{i}.c"]) for i in range(len(hidden) // 2)] or None
            self.rng.bit_generator.state = state["rng"]
            self.step, self.seconds = state["step"], state["seconds"]
            self.best_loss, self.best_step = state["best_loss"], state["best_step"]
            self.bad_evaluations = state["bad_evaluations"]
            self._loss_sum, self._loss_count = state["loss_sum"], state["loss_count"]
            data = state["data"]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{str(self.run_folder.checkpoint)!r} does not fit this run "
                            f"({' '.join(str(error).split())}): start a new run") from error
        self.batches.load_state_dict(data)
        self.run_folder.truncate_metrics(self.step)
        self._last_checkpoint = self.step


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, to stop between two steps; a second Ctrl-C stops at once."""
    requests: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)

    try:
        before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, where signals do not come anyway
        before = {}
    try:
        yield requests
    finally:
        for s, old in before.items():
            signal.signal(s, old)
