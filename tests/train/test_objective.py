"""The loop knows no language model: it trains whatever an objective gives a loss for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minillm import nn
from minillm.autograd.fused import softmax_cross_entropy
from minillm.optim import SGD
from minillm.train import HeldOut, Loss, RunFolder, Trainer, TrainerSettings
from minillm.train.objective import join_rows, split_rows

ROWS, LENGTH, FEATURES, CLASSES = 6, 4, 3, 5


class Rows:
    """Batches (x (B, T, D), y (B, T)) with labels that do not count, more in some rows than in others."""

    def __init__(self, seed: int) -> None:
        self.rng, self.position, self.at_epoch_start = np.random.default_rng(seed), 0, False

    def next_window(self) -> Any:
        self.position += 1
        x = self.rng.standard_normal((ROWS, LENGTH, FEATURES))
        y = self.rng.integers(0, CLASSES, (ROWS, LENGTH))
        y[0, 1:], y[3] = -100, -100
        return x, y

    def rewind(self) -> None:
        self.rng = np.random.default_rng(7)

    def __iter__(self) -> Any:
        return iter([self.next_window(), self.next_window()])

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: Any) -> None:
        self.position = state["position"]


class Classify:
    """Mean cross-entropy over the labels that count; the state sums up what each row has seen."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.states: list[Any] = []

    def loss(self, batch: Any, state: Any) -> Loss:
        x, y = batch
        self.states.append(state)
        before = np.zeros((len(x), FEATURES)) if state is None else state["sum"]
        total = softmax_cross_entropy(self.model(x + before[:, None]), y)
        return Loss(total, float(total), {"sum": before + x.sum(axis=1)})

    def count(self, batch: Any) -> int:
        return int((batch[1] != -100).sum())


def trainer(out: Path, accumulate: int) -> Trainer:
    model = nn.Linear(FEATURES, CLASSES, rng=np.random.default_rng(0), dtype=np.float64)
    held = HeldOut(Rows(1), 0.5)
    return Trainer(model, SGD(model.parameters(), 0.5), Classify(model), Rows(0), held, held,
                   RunFolder.create(out, {}), TrainerSettings(5, accumulate=accumulate),
                   np.random.default_rng(0), tokens_per_character=0.5)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_add_up_to_the_whole_batch(tmp_path: Path, parts: int) -> None:
    whole, cut = trainer(tmp_path / "whole", 1), trainer(tmp_path / "cut", parts)
    for step in range(5):
        (a, norm_a), (b, norm_b) = whole.train_step(), cut.train_step()
        assert b == pytest.approx(a, rel=1e-12), step
        assert norm_b == pytest.approx(norm_a, rel=1e-12)
    for p, q in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-12, atol=1e-15)
    assert whole.state is not None
    assert cut.state is not None
    np.testing.assert_array_equal(whole.state["sum"], cut.state["sum"])
    assert len(cut.objective.states) == 5 * parts  # type: ignore[attr-defined]


def test_evaluation_weighs_batches_by_their_labels_and_starts_without_a_state(tmp_path: Path) -> None:
    t = trainer(tmp_path / "run", 1)
    objective = Classify(t.model)
    t.validation.batches.rewind()
    first, second = t.validation.batches
    one = objective.loss(first, None)
    two = objective.loss(second, one.state)
    n, m = objective.count(first), objective.count(second)
    assert t.evaluate(t.validation) == pytest.approx((n * one.nats + m * two.nats) / (n + m), rel=1e-12)


def test_bits_are_of_a_character(tmp_path: Path) -> None:
    t = trainer(tmp_path / "run", 1)
    record = t._evaluate()
    assert record["val_bpc"] == pytest.approx(0.5 * record["val_loss"] / np.log(2))


def test_parts_must_be_equal() -> None:
    with pytest.raises(ValueError, match="accumulate = 4 must divide the 6 rows"):
        list(split_rows((np.zeros((6, 2)),), None, 4))


def test_rows_come_together_again(rng: np.random.Generator) -> None:
    batch, state = (rng.random((6, 2)), rng.random(6)), {"h": rng.random((6, 3))}
    parts = list(split_rows(batch, state, 3))
    assert [len(p[0]) for p, _ in parts] == [2, 2, 2]
    np.testing.assert_array_equal(np.concatenate([p[1] for p, _ in parts]), batch[1])
    joined = join_rows([s for _, s in parts])
    assert joined is not None
    np.testing.assert_array_equal(joined["h"], state["h"])
    assert join_rows([None, None]) is None
