"""The same model, built by the same lines in Keras and here, goes the same way."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import minillm.keras as mk

V, D, H, B, T = 11, 6, 9, 5, 4


class Case(NamedTuple):
    """One training set-up. Each function takes the `keras` module: the real one or ours."""

    layers: Callable[[Any], list[Any]]
    optimizer: Callable[[Any], Any]
    loss: Callable[[Any], Any]
    labels: str = "one-hot"  # or "last" (integers), "each" (integers at every position)


def article(k: Any) -> list[Any]:
    return [k.layers.Embedding(V, D), k.layers.LSTM(H), k.layers.Dense(V, activation="softmax")]


def stacked(k: Any) -> list[Any]:
    return [k.layers.Input((T,)), k.layers.Embedding(V, D), k.layers.LSTM(H, return_sequences=True),
            k.layers.LSTM(H, return_sequences=True, use_bias=False), k.layers.Dense(V)]


def penalised(k: Any) -> list[Any]:
    r = k.regularizers
    return [k.layers.Embedding(V, D, embeddings_regularizer="l2"),
            k.layers.LSTM(H, kernel_regularizer=r.L1(1e-3), recurrent_regularizer=r.l2(1e-3),
                          bias_regularizer=r.L1L2(l1=1e-3, l2=1e-3)),
            k.layers.Dense(V, "softmax", kernel_regularizer=r.l1(1e-3), bias_regularizer=r.L2())]


def dense(k: Any) -> list[Any]:
    return [k.layers.Embedding(V, D), k.layers.LSTM(H, unit_forget_bias=False),
            k.layers.Dense(H, "relu"), k.layers.Dense(H, activation="tanh", use_bias=False),
            k.layers.Dense(H, "sigmoid"), k.layers.Dense(V, "softmax")]


CASES = {
    "the article's": Case(article, lambda k: k.optimizers.Adam(learning_rate=0.001),
                          lambda k: k.losses.CategoricalCrossentropy()),
    "the article's, ten times faster": Case(article, lambda k: k.optimizers.Adam(learning_rate=0.01),
                                            lambda k: k.losses.CategoricalCrossentropy()),
    "nesterov, smoothed labels": Case(
        article, lambda k: k.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.1)),
    "penalties": Case(penalised, lambda k: k.optimizers.SGD(0.1, momentum=0.9),
                      lambda k: "sparse_categorical_crossentropy", "last"),
    "sparse, from logits": Case(
        stacked, lambda k: k.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-5),
        lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True), "each"),
    "ignored class, AdamW, clipped": Case(
        stacked, lambda k: k.optimizers.AdamW(0.01, weight_decay=0.05, global_clipnorm=0.1),
        lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0), "each"),
    "activations, clipnorm": Case(dense, lambda k: k.optimizers.SGD(0.5, clipnorm=0.05),
                                  lambda k: k.losses.CategoricalCrossentropy()),
}


def labels_of(x: np.ndarray, kind: str) -> np.ndarray:
    y = (x + 1) % V
    return {"each": y, "last": y[:, -1], "one-hot": np.eye(V)[y[:, -1]]}[kind]


def pair(keras: ModuleType, case: Case, **options: Any) -> tuple[Any, Any]:
    """Both models, compiled, with the same weights."""
    theirs, ours = keras.Sequential(case.layers(keras)), mk.Sequential(case.layers(mk))
    for model, k in ((theirs, keras), (ours, mk)):
        model.compile(optimizer=case.optimizer(k), loss=case.loss(k), **options)
    x = np.zeros((B, T), np.int64)
    theirs(x), ours(x)  # builds the weights
    ours.set_weights(theirs.get_weights())
    return theirs, ours


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_over_a_hundred_steps(keras: ModuleType, name: str) -> None:
    case = CASES[name]
    theirs, ours = pair(keras, case, metrics=["accuracy"])
    batches = np.random.default_rng(0).integers(0, V, (100, B, T))
    first, last = None, None
    for x in batches:
        y = labels_of(x, case.labels)
        last = theirs.train_on_batch(x, y)
        first = first or last
        np.testing.assert_allclose(ours.train_on_batch(x, y), last, rtol=0, atol=1e-5)
    assert last[0] != pytest.approx(first[0], abs=1e-3)  # something was learned at all
    x, y = batches[0], labels_of(batches[0], case.labels)
    np.testing.assert_allclose(ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0),
                               rtol=0, atol=1e-5)
    ours.set_weights(theirs.get_weights())  # without the steps' rounding: logits grow large
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=0, atol=1e-5)


def test_weights_go_to_keras_and_back(keras: ModuleType) -> None:
    theirs, ours = pair(keras, CASES["sparse, from logits"])
    ours.fit(*[np.zeros((B, T), int)] * 2, verbose=0)
    weights = ours.get_weights()
    assert [w.shape for w in weights] == [(V, D), (D, 4 * H), (H, 4 * H), (4 * H,), (H, 4 * H), (H, 4 * H),
                                          (H, V), (V,)]
    theirs.set_weights(weights)
    back = theirs.get_weights()
    assert all((a == b).all() and a.dtype == b.dtype for a, b in zip(weights, back, strict=True))
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert mine.name.rsplit("_", 1)[0] in other.name  # embedding, lstm, lstm_1, dense
        for a, b in zip(mine.get_weights(), other.get_weights(), strict=True):
            assert (a == b).all()
    assert [w.name for layer in theirs.layers for w in layer.weights] == [
        name for layer in ours.layers for name, _ in layer.named_weights]
    assert ours.count_params() == theirs.count_params()
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    x = np.arange(B * T).reshape(B, T) % V
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"validation_split": 0.26}, {"validation_data": True}, {}], ids=str)
def test_fit_has_kerass_history(keras: ModuleType, options: dict[str, Any]) -> None:
    """Uneven batches, so that a mean over batches that forgets their sizes would show."""
    case = CASES["the article's, ten times faster"]
    theirs, ours = pair(keras, case, metrics=["accuracy"])
    x = np.random.default_rng(1).integers(0, V, (27, T))
    y = labels_of(x, "one-hot")
    if "validation_data" in options:
        options = {"validation_data": (x[:13], y[:13])}
    settings = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0, **options}
    expected, found = theirs.fit(x, y, **settings), ours.fit(x, y, **settings)
    assert list(found.history) == list(expected.history)
    assert found.epoch == expected.epoch
    assert found.params == expected.params
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=0, atol=1e-5, err_msg=name)
    expected, found = (m.evaluate(x, y, batch_size=8, verbose=0, return_dict=True) for m in (theirs, ours))
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=0, atol=1e-5)


P = np.array([[0.5, 0.3, 0.2], [1, 0, 0], [0.2, 0.2, 0.2], [1e-9, 1, 1]], np.float32)
Y = np.array([2, 1, 0, 0])
LOSSES: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "one-hot": (lambda k: k.losses.CategoricalCrossentropy(), np.eye(3)[Y]),
    "smoothed": (lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.3), np.eye(3)[Y]),
    "one-hot, logits": (lambda k: k.losses.CategoricalCrossentropy(from_logits=True), np.eye(3)[Y]),
    "smoothed, logits": (lambda k: k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3),
                         np.eye(3)[Y]),
    "soft targets": (lambda k: k.losses.CategoricalCrossentropy(), np.full((4, 3), 1 / 3)),
    "labels": (lambda k: k.losses.SparseCategoricalCrossentropy(), Y),
    "labels in a column": (lambda k: k.losses.SparseCategoricalCrossentropy(), Y[:, None]),
    "labels, logits": (lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True), Y),
    "ignored": (lambda k: k.losses.SparseCategoricalCrossentropy(ignore_class=0), Y),
    "ignored -1": (lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
                   Y - (Y == 2) * 3),
    "all ignored": (lambda k: k.losses.SparseCategoricalCrossentropy(ignore_class=0), Y * 0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_on_awkward_probabilities(keras: ModuleType, name: str) -> None:
    """A probability of 0, rows that do not sum to 1, a certain class: finite, and as in Keras."""
    import torch

    from minillm import Tensor
    make, y = LOSSES[name]
    theirs, ours = torch.tensor(P, requires_grad=True), Tensor(P, requires_grad=True)
    expected, found = make(keras)(y, theirs), make(mk)(y, ours)
    assert np.isfinite(found.item())
    assert found.item() == pytest.approx(expected.item(), abs=2e-6)
    if expected.requires_grad:
        expected.backward(), found.backward()
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-5, atol=1e-6)


class Stoppable:
    """As much of a model as early stopping sees; its weights are the number of the epoch."""

    stop_training = False
    weights: Any = None

    def get_weights(self) -> Any:
        return self.weights

    def set_weights(self, weights: Any) -> None:
        self.weights = weights


@pytest.mark.parametrize(("values", "options"), [
    ([3, 2, 2.5, 1, 1, 1, 1], {"patience": 2}),
    ([3, 2, 2.5, 2.4, 2.2, 2.1], {"patience": 2, "restore_best_weights": True}),
    ([3, 2.9, 2.8, 2.7, 2.6], {"min_delta": 0.15, "patience": 1}),
    ([1, 2, 3, 2, 2, 2], {"mode": "max", "patience": 1}),
    ([9, 1, 5, 5, 5, 5], {"patience": 1, "start_from_epoch": 2}),
    ([5, 4, 3, 2, 1], {"baseline": 2.5, "patience": 2}),
    ([5, 6, 7], {}),
], ids=str)
def test_early_stopping_counts_as_keras_does(keras: ModuleType, values: list[float],
                                             options: dict[str, Any]) -> None:
    found = []
    for k in (keras, mk):
        stopper = k.callbacks.EarlyStopping(monitor="val_loss", **{"mode": "min", **options})
        model = Stoppable()
        stopper.set_model(model) if k is keras else setattr(stopper, "model", model)
        stopper.on_train_begin()
        for epoch, value in enumerate(values):
            model.weights = epoch
            stopper.on_epoch_end(epoch, {"val_loss": value})
            if model.stop_training:
                break
        stopper.on_train_end()
        found.append((epoch, stopper.stopped_epoch, stopper.best_epoch, model.weights))
    assert found[0] == found[1]


@pytest.mark.parametrize("x", [[0, 2, 1], [[0], [3]], [[1, 0], [2, 2]]], ids=str)
def test_to_categorical(keras: ModuleType, x: Any) -> None:
    expected, found = keras.utils.to_categorical(x, 5), mk.utils.to_categorical(x, 5)
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()
    assert mk.utils.to_categorical(x).tolist() == keras.utils.to_categorical(x).tolist()
