"""The training loop, and everything needed to stop and go on.

What a run does depends on nothing but its configuration and seed. The checkpoint holds all that
changes from step to step (parameters, optimiser, random state, place in the data, state carried
from batch to batch, running means), so that a run that was killed and resumed ends with the very
bits of one that was not. Samples that are written on the way have their own random stream.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd import no_grad
from minillm.autograd.devices import to_host
from minillm.errors import UserError
from minillm.nn import Module
from minillm.optim import Optimizer, clip_grad_norm
from minillm.train.checkpoint import load_checkpoint, save_checkpoint
from minillm.train.objective import Batch, Batches, HeldOut, Objective, State, join_rows, split_rows
from minillm.train.run_folder import RunFolder
from minillm.train.settings import Reporter, TrainerSettings
from minillm.train.stopping import stop_requests


class Trainer:
    """Trains a model on batches, carrying a state from one to the next where the model has one.

    Args:
        model: its parameters, and its `train` and `eval` modes; the objective calls it.
        optimizer: over the model's parameters.
        objective: the loss of the model on a batch.
        batches: the training data.
        validation: the validation data, read from its start at each evaluation.
        sample: as much of the training data, read the same way, so that both losses are of the
            model as it stands, without dropout: their difference is the gap of article 2.1 and 2.2.
        run: the folder for metrics and checkpoints, locked.
        settings: see `TrainerSettings`.
        rng: the generator that initialised the model and draws its dropout.
        tokens_per_character: of the training data, for its running loss in bits per character.
        write: step -> a text that the model, in eval mode, writes; it must not draw from `rng`.
    """

    def __init__(self, model: Module, optimizer: Optimizer, objective: Objective, batches: Batches,
                 validation: HeldOut, sample: HeldOut, run: RunFolder, settings: TrainerSettings,
                 rng: np.random.Generator, *, tokens_per_character: float = 1.0,
                 write: Callable[[int], str] | None = None) -> None:
        self.model, self.optimizer, self.objective = model, optimizer, objective
        self.batches, self.validation, self.sample = batches, validation, sample
        self.run_folder, self.settings, self.rng = run, settings, rng
        self.tokens_per_character, self.write = tokens_per_character, write
        self.state: State | None = None  # to carry into the next batch
        self.step = 0
        self.seconds = 0.0  # spent on training steps and evaluations, over all sessions
        self.best_loss, self.best_step, self.bad_evaluations = math.inf, 0, 0
        self._loss_sum, self._loss_count = 0.0, 0

    # ---- one step --------------------------------------------------------------------------------

    def train_step(self) -> tuple[float, float]:
        """Forward, backward, clip, update on the next batch; return (loss, gradient norm).

        The loss is the cross-entropy, in nats per label, without additions such as label smoothing.

        Raises:
            UserError: the loss or a gradient is not finite; nothing was updated.
        """
        if self.batches.at_epoch_start:
            self.state = None
        batch = self.batches.next_window()
        self.model.train()
        self.optimizer.zero_grad()
        loss, state = self._add_gradients(batch)
        norm = clip_grad_norm(self.model.parameters(), self.settings.clip)
        if not (math.isfinite(norm) and math.isfinite(loss)):
            raise UserError(self._not_finite(loss))
        self.optimizer.step()
        self.state = state
        self.step += 1
        return loss, norm

    def _add_gradients(self, batch: Batch) -> tuple[float, State | None]:
        """Forward and backward on `batch`, part by part; (nats per label, state after it)."""
        n, total = self.settings.accumulate, self.objective.count(batch)
        self._labels += total
        if n == 1:
            return self._forward_backward(batch, self.state, None)
        nats, states = 0.0, []
        for part, state in split_rows(batch, self.state, n):
            share = self.objective.count(part) / total
            loss, after = self._forward_backward(part, state, share)
            nats += share * loss
            states.append(after)
        return nats, join_rows(states)

    def _forward_backward(self, batch: Batch, state: State | None, share: float | None
                          ) -> tuple[float, State | None]:
        # A function of its own: when it returns, nothing holds the part's graph any longer.
        total, nats, state = self.objective.loss(batch, state)
        (total if share is None else total * share).backward()
        return nats, state

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

    def evaluate(self, data: HeldOut) -> float:
        """Mean loss, in nats per label, over the whole of `data`, without dropout."""
        data.batches.rewind()
        self.model.eval()
        total, count, state = 0.0, 0, None
        with no_grad():
            for batch in data.batches:
                _, nats, state = self.objective.loss(batch, state)
                n = self.objective.count(batch)
                total += nats * n
                count += n
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
        train_bpc = bits(train, self.sample.tokens_per_character)
        val_bpc = bits(val, self.validation.tokens_per_character)
        return {"step": self.step, "train_loss": train, "val_loss": val, "train_bpc": train_bpc,
                "val_bpc": val_bpc, "gap_bpc": val_bpc - train_bpc, "best": better,
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
        start = time.perf_counter()
        self._began, self._clock, self._labels = start - self.seconds, start, 0
        if self._last_checkpoint is None:
            self.save()  # from now on there is always something to resume from
        # What overflows is found in the loss and the gradients, with the step and the parameter.
        with stop_requests() as stop, np.errstate(all="ignore"):
            while not self.is_finished():
                loss, norm = self.train_step()
                self._loss_sum += loss
                self._loss_count += 1
                if self._is_due(self.settings.log_every):
                    self._log(reporter, norm)
                self._look(reporter)
                if after_step is not None:
                    after_step(self.step)
                if not self.is_finished() and (stop or time.perf_counter() - start >= max_seconds):
                    self._pass_time()
                    self.save()
                    return "interrupted" if stop else "out of time"
        return "finished" if self.step >= self.settings.steps else "stopped early"

    _began = _clock = 0.0  # when training would have begun without pauses; when the last line was logged
    _labels = 0  # trained on since then

    def _is_due(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.settings.steps)

    def _pass_time(self) -> float:
        now = time.perf_counter()
        self.seconds = now - self._began
        return now

    def _log(self, reporter: Reporter, norm: float) -> None:
        now, mean = self._pass_time(), self._loss_sum / self._loss_count
        bpc = formulas.bits_per_character(mean, self.tokens_per_character)
        record = {"step": self.step, "loss": mean, "bpc": bpc, "grad_norm": norm,
                  "tokens_per_s": self._labels / (now - self._clock), "seconds": self.seconds}
        self._loss_sum, self._loss_count, self._clock, self._labels = 0.0, 0, now, 0
        self.run_folder.append_metrics(record)
        reporter.step(record)

    def _look(self, reporter: Reporter) -> None:
        """Evaluate, write a sample and save, where it is time to; training's clock stands still."""
        before = time.perf_counter()
        evaluate = self._is_due(self.settings.eval_every)
        if evaluate:
            record = self._evaluate()
            self._pass_time()
            record["seconds"] = self.seconds
            self.run_folder.append_metrics(record)
            reporter.evaluated(record)
        if self.write is not None and self._is_due(self.settings.sample_every):
            self.model.eval()
            record = {"step": self.step, "sample": self.write(self.step)}
            self.run_folder.append_metrics(record)
            reporter.sampled(record)
        if evaluate:  # last, so that whoever resumes from it finds the records of its step complete
            self.save()
        self._clock += time.perf_counter() - before

    # ---- stopping and going on -------------------------------------------------------------------

    def save(self) -> None:
        """Write all that changes from step to step to the run's checkpoint, in one atomic step."""
        optimizer = self.optimizer.state_dict()
        arrays = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        arrays |= {f"optimizer.{k}": v for k, v in optimizer["buffers"].items()}
        arrays |= {f"hidden.{k}": to_host(v) for k, v in (self.state or {}).items()}
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
            self.state = _under("hidden.", arrays) or None
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
