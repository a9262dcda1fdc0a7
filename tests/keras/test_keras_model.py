"""What the face does by itself, and what it says when it is used wrongly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minillm.keras as mk
from minillm import formulas, nn, optim

V, T, N = 7, 5, 40
L, O = mk.layers, mk.optimizers
CCE, SCCE = mk.losses.CategoricalCrossentropy, mk.losses.SparseCategoricalCrossentropy


@pytest.fixture(autouse=True)
def _seed() -> None:
    mk.utils.set_random_seed(0)


def model(loss: Any = "sparse_categorical_crossentropy", optimizer: Any = "adam", **options: Any) -> Any:
    m = mk.Sequential([L.Embedding(V, 4), L.LSTM(6), L.Dense(V, activation="softmax")])
    m.compile(optimizer, loss, **options)
    return m


X = np.random.default_rng(0).integers(0, V, (N, T))
Y = X[:, -1]
HOT = np.eye(V)[Y]


def test_summary_before_and_after_the_weights_exist() -> None:
    m, lines = model(), []
    m.summary(print_fn=lines.append)
    assert lines[0] == 'Model: "sequential"'
    assert "0 (unbuilt)" in lines[3]
    assert "?" in lines[3]
    m.predict(X)
    lines.clear()
    m.summary(print_fn=lines.append)
    assert [line.split() for line in lines[3:6]] == [
        ["embedding", "(Embedding)", "(None,", "5,", "4)", "28"],
        ["lstm", "(LSTM)", "(None,", "6)", "264"],
        ["dense", "(Dense)", "(None,", "7)", "49"]]
    assert lines[-3] == "Total params: 341 (1.33 KB)"
    assert len(m.trainable_weights) == 6


def test_an_input_builds_at_once_and_names_are_numbered() -> None:
    m = mk.Sequential([mk.Input((T, 3)), L.LSTM(2, return_sequences=True), L.LSTM(2), L.Dense(1, name="out")])
    assert m.built
    assert [layer.name for layer in m.layers] == ["lstm", "lstm_1", "out"]
    assert m.get_layer("out") is m.get_layer(index=2)
    assert mk.Sequential([L.Dense(3, input_shape=(2,))]).built


def test_weights_start_as_kerass_do() -> None:
    m = mk.Sequential([mk.Input((None, 3)), L.LSTM(4)])
    W, U, b = m.get_weights()
    assert np.abs(W).max() <= math.sqrt(6 / (3 + 16))
    np.testing.assert_allclose(U @ U.T, np.eye(4), atol=1e-6)
    assert b.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    assert W.dtype == np.float32


def test_predict_does_not_depend_on_the_batch_size() -> None:
    m = model()
    np.testing.assert_allclose(m.predict(X), m.predict(X, batch_size=7), rtol=1e-6)
    np.testing.assert_allclose(m.predict(X), m(X).data, rtol=1e-6)
    assert m.predict(X[:0]).shape == (0, V)
    np.testing.assert_allclose(m.predict(X).sum(1), 1, rtol=1e-6)


def test_shuffling_changes_the_order_only() -> None:
    """With one batch that holds everything, the order is all that could differ."""
    found = []
    for shuffle in (True, False):
        mk.utils.set_random_seed(3)
        found.append(model().fit(X, Y, batch_size=N, epochs=2, shuffle=shuffle, verbose=0).history["loss"])
    np.testing.assert_allclose(*found, rtol=1e-5)
    mk.utils.set_random_seed(3)
    small = [model().fit(X, Y, batch_size=4, shuffle=s, verbose=0).history["loss"] for s in (True, False)]
    assert small[0] != small[1]


def test_dropout_drops_in_fit_but_not_in_evaluate() -> None:
    m = mk.Sequential([L.Embedding(V, 4), L.LSTM(6), L.Dropout(0.9, seed=1), L.Dense(V, "softmax")])
    m.compile(O.SGD(0.0), "sparse_categorical_crossentropy")
    trained = m.fit(X, Y, shuffle=False, verbose=0).history["loss"][0]
    assert m.evaluate(X, Y, verbose=0) == pytest.approx(m.test_on_batch(X, Y), rel=1e-6)
    assert abs(trained - m.evaluate(X, Y, verbose=0)) > 1e-4
    assert not np.allclose(m(X, training=True).data, m(X).data)
    assert (m(X).data == m(X).data).all()
    x = np.ones((2, 3))
    assert (L.Dropout(0.5)(x).data == 1).all()  # as in Keras, a layer by itself does not drop
    assert set(np.unique(L.Dropout(0.5)(np.ones((9, 9)), training=True).data)) == {0, 2}


def test_a_penalty_is_part_of_the_loss() -> None:
    m = mk.Sequential([L.Embedding(V, 4), L.LSTM(6, kernel_regularizer=mk.regularizers.L1L2(0.1, 0.2)),
                       L.Dense(V, "softmax")])
    m.compile(O.SGD(0.0), "sparse_categorical_crossentropy")
    with_penalty, kernel = m.evaluate(X, Y, verbose=0), m.get_weights()[1]
    m.layers[1].penalties.clear()
    expected = formulas.l1_penalty(kernel, lam=0.1) + formulas.l2_penalty(kernel, lam=0.2)
    assert with_penalty - m.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-4)


def test_adam_takes_the_articles_steps_with_kerass_epsilon(rng: np.random.Generator) -> None:
    """In float64, where Keras's rounding of the corrections is far below the tolerance."""
    from minillm import Tensor
    beta2, eps = 0.99, 1e-3
    p = Tensor(rng.standard_normal(5), requires_grad=True)
    adam = O.Adam(0.1, beta_2=beta2, epsilon=eps)
    theta, m, v = p.data.copy(), np.zeros(5), np.zeros(5)
    for t in range(1, 6):
        p.grad = rng.standard_normal(5)
        theta, m, v = formulas.adam_step(theta, p.grad, m, v, t, alpha=0.1, beta2=beta2,
                                         eps=eps / math.sqrt(1 - beta2**t))
        adam.apply([p])
        np.testing.assert_allclose(p.data, theta, rtol=1e-12)
    assert adam.iterations == 5


def test_the_learning_rate_may_be_changed_between_epochs() -> None:
    adam = O.Adam(0.01)
    m = model(optimizer=adam)
    m.fit(X, Y, verbose=0)
    adam.learning_rate = 0.0
    before = m.get_weights()
    m.fit(X, Y, verbose=0)
    assert all((a == b).all() for a, b in zip(before, m.get_weights(), strict=True))


@pytest.mark.parametrize(("kind", "expected"), [
    ("clipvalue", [[0.5, -0.5], [0.1]]),
    ("clipnorm", [[0.3, -0.4], [0.1]]),
    ("global_clipnorm", [[3 * 0.5 / math.sqrt(25.01), -4 * 0.5 / math.sqrt(25.01)],
                         [0.1 * 0.5 / math.sqrt(25.01)]]),
])
def test_clipping(kind: str, expected: list[list[float]]) -> None:
    from minillm import Tensor
    params = [Tensor(np.zeros(n), requires_grad=True) for n in (2, 1)]
    params[0].grad, params[1].grad = np.array([3.0, -4.0]), np.array([0.1])
    O.SGD(1.0, **{kind: 0.5}).apply(params)
    for p, values in zip(params, expected, strict=True):
        np.testing.assert_allclose(-p.data, values, rtol=1e-12)


def test_early_stopping_ends_fit_and_restores() -> None:
    stop = mk.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    m = model(optimizer=O.SGD(0.0))
    history = m.fit(X, Y, epochs=9, shuffle=False, verbose=0, callbacks=[stop])
    assert history.epoch == [0, 1]  # a learning rate of 0 never improves
    assert stop.best_epoch == 0


def test_a_callback_sees_each_batch() -> None:
    class Losses(mk.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.seen: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append(logs["loss"])

    watch = Losses()
    history = model().fit(X, Y, batch_size=16, verbose=0, callbacks=watch)
    assert len(watch.seen) == 3
    assert watch.seen[-1] == history.history["loss"][0]


def test_a_loss_may_be_a_function() -> None:
    m = mk.Sequential([L.Dense(1)])
    m.compile(O.SGD(0.1), lambda y, p: (p - y) ** 2)
    x = np.linspace(-1, 1, 50)[:, None]
    assert m.fit(x, 3 * x + 1, epochs=40, verbose=0).history["loss"][-1] < 1e-3
    np.testing.assert_allclose(np.concatenate(m.get_weights(), axis=None), [3, 1], atol=0.05)


def test_a_failed_step_leaves_the_weights_alone() -> None:
    m = mk.Sequential([L.Dense(2, "softmax")])
    m.compile("sgd", lambda y, p: np.sum(p) * float("nan"))
    m.predict(np.zeros((1, 3)))
    before = m.get_weights()
    with pytest.raises(FloatingPointError, match=r"^the loss is nan at epoch 1, step 1: lower"):
        m.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    assert all((a == b).all() for a, b in zip(before, m.get_weights(), strict=True))


def test_a_gradient_that_overflows_is_named() -> None:
    m = mk.Sequential([L.Dense(2)])
    m.compile("sgd", lambda y, p: np.sum(np.sqrt(np.abs(p))))  # an infinite slope at 0
    m.build((None, 3))
    m.set_weights([np.zeros((3, 2)), np.zeros(2)])
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"of dense/kernel is not finite"):
        m.train_on_batch(np.ones((4, 3)), np.zeros((4, 2)))


def bad(x: np.ndarray, at: Any, value: Any) -> np.ndarray:
    x = x.astype(np.asarray(value).dtype)
    x[at] = value
    return x


def fit(x: Any, y: Any, loss: Any = "sparse_categorical_crossentropy", **options: Any) -> None:
    model(loss).fit(x, y, verbose=0, **options)


# What the user does, and the whole line that comes back.
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    # data
    "one-hot for the sparse loss": (lambda: fit(X, HOT),
        "y has the shape of the model's output, (40, 7), as one-hot rows do: use "
        "CategoricalCrossentropy, or y.argmax(-1)"),
    "labels for the one-hot loss": (lambda: fit(X, Y, CCE()),
        "y has shape (40,), as integer labels do, but the model's output has (40, 7): use "
        "SparseCategoricalCrossentropy, or keras.utils.to_categorical(y, 7)"),
    "label out of range": (lambda: fit(X, bad(Y, 3, 7)),
        "y[3] = 7 is outside [0, 7), the model's 7 classes"),
    "negative label": (lambda: fit(X, bad(Y, 2, -100), SCCE(from_logits=True)),
        "y[2] = -100 is outside [0, 7), the model's 7 classes"),
    "half a label": (lambda: fit(X, bad(Y, 3, 0.5)), "y must hold integers, but y[3] = 0.5"),
    "one-hot too wide": (lambda: fit(X, np.eye(9)[Y], CCE()),
        "y is one-hot over 9 classes (shape (40, 9)), but the model's output has 7 (shape (40, 7))"),
    "y of another shape": (lambda: fit(X, np.zeros((N, 2, 2)), CCE()),
        "y has shape (40, 2, 2), but the model's output has (40, 7)"),
    "labels per position": (lambda: fit(X, X),
        "y has shape (40, 5), but integer labels for the model's output (40, 7) have shape (40,)"),
    "lengths": (lambda: fit(X, Y[:-1]), "x has 40 samples and y has 39: shapes (40, 5) and (39,)"),
    "no y": (lambda: fit(X, None), "y is missing: the labels of x"),
    "no samples": (lambda: fit(X[:0], Y[:0]), "x has no samples: its shape is (0, 5)"),
    "id out of range": (lambda: fit(bad(X, (4, 1), 9), Y),
        "x[4, 1] = 9 is outside [0, 7), the input_dim of Embedding"),
    "validation id": (lambda: fit(X, Y, validation_data=(bad(X, (0, 0), -1), Y)),
        "validation x[0, 0] = -1 is outside [0, 7), the input_dim of Embedding"),
    "text": (lambda: fit(np.array(["to", "be"]), Y[:2]),
        "x must hold numbers, not <U2: turn text into ids first, see minillm.text"),
    "ragged": (lambda: fit([[1, 2], [3]], Y[:2]), "x is not an array: its rows have different lengths"),
    "nan in x": (lambda: mk.Sequential([L.Dense(2)]).predict(bad(X, (1, 2), np.nan)),
        "x[1, 2] = nan is not a finite number"),
    "nan in y": (lambda: fit(X, bad(HOT, (5, 0), np.nan), CCE()), "y[5, 0] = nan is not a finite number"),
    "half an id": (lambda: fit(bad(X, (1, 0), 0.5), Y), "x must hold integers, but x[1, 0] = 0.5"),
    "no time axis": (lambda: fit(X[:, 0], Y),
        "lstm needs (batch, time, features), but its input has shape (None, 4): an Embedding, or an LSTM "
        "with return_sequences=True, comes before it"),
    "other features": (lambda: mk.Sequential([mk.Input((3,)), L.Dense(2)]).predict(np.ones((4, 5))),
        "dense was built for 3 features in the last axis, but its input has shape (4, 5)"),
    "split of nothing": (lambda: fit(X, Y, validation_split=0.99999),
        "validation_split = 0.99999 of 40 samples leaves none to train or to validate on"),
    "validation triple": (lambda: fit(X, Y, validation_data=(X, Y, Y)),
        "validation_data is a pair (x, y), not tuple of 3"),
    "verbose": (lambda: model().fit(X, Y, verbose="loud"), "verbose = 'loud' must be 'auto', 0, 1 or 2"),
    "verbose of evaluate": (lambda: model().evaluate(X, Y, verbose=3),
        "verbose = 3 must be 'auto', 0, 1 or 2"),
    "half an epoch": (lambda: fit(X, Y, epochs=1.5), "epochs = 1.5 must be an integer, not negative"),
    "epochs": (lambda: fit(X, Y, epochs=-1), "epochs = -1 must be an integer, not negative"),
    "initial epoch": (lambda: fit(X, Y, initial_epoch="1"),
        "initial_epoch = '1' must be an integer, not negative"),
    "batch size": (lambda: fit(X, Y, batch_size=0), "batch_size = 0 must be a positive integer"),
    # names and options
    "fit before compile": (lambda: mk.Sequential([L.Dense(2)]).fit(X, Y),
        "call sequential.compile(optimizer=..., loss=...) before fit"),
    "optimizer": (lambda: model(optimizer="rmsprop"),
        "unknown optimizer 'rmsprop'; known are sgd, adam, adamw"),
    "loss": (lambda: model("mse"),
        "unknown loss 'mse'; known are categorical_crossentropy, sparse_categorical_crossentropy"),
    "loss class": (lambda: model(CCE),
        "loss is a name, such as 'categorical_crossentropy', or a Loss such as "
        "CategoricalCrossentropy(), not <class 'minillm.keras.losses.CategoricalCrossentropy'>"),
    "metric": (lambda: model(metrics=["f1"]),
        "unknown metric 'f1'; known are accuracy, acc, categorical_accuracy, sparse_categorical_accuracy"),
    "metrics": (lambda: model(metrics="accuracy"), "metrics is a list: metrics=['accuracy']"),
    "metric that does not fit": (lambda: model(metrics=["categorical_accuracy"]).fit(X, Y),
        "metric 'categorical_accuracy' does not fit labels of shape (40,) for outputs of shape (40, 7): "
        "use 'accuracy'"),
    "activation": (lambda: L.Dense(2, "swish"),
        "unknown activation 'swish'; known are linear, relu, sigmoid, softmax, tanh"),
    "regularizer": (lambda: L.Dense(2, kernel_regularizer="l3"),
        "unknown regularizer 'l3'; known are l1, l2, l1_l2"),
    "negative strength": (lambda: mk.regularizers.l1(-1), "l1 = -1 must be finite and not negative"),
    "mask_zero": (lambda: L.Embedding(3, 2, mask_zero=True),
        "Embedding(mask_zero=True) is not supported: minillm.keras has mask_zero=False only"),
    "lstm activation": (lambda: L.LSTM(3, activation="relu"),
        "LSTM(activation='relu') is not supported: minillm.keras has activation='tanh' only"),
    "lstm option": (lambda: L.LSTM(3, unit=1),
        "LSTM has no option 'unit'; it has units, return_sequences, use_bias, unit_forget_bias, "
        "kernel_regularizer, recurrent_regularizer, bias_regularizer, name, input_shape"),
    "units": (lambda: L.LSTM(0), "units = 0 must be a positive integer"),
    "units from a float": (lambda: L.Dense(2.0), "units = 2.0 must be a positive integer"),
    "rate": (lambda: L.Dropout(1.5), "rate = 1.5 is outside [0, 1)"),
    "freezing": (lambda: setattr(L.Dense(2), "trainable", False),
        "dense.trainable = False is not supported: every weight learns here"),
    "two clippings": (lambda: O.SGD(clipnorm=1.0, clipvalue=1.0),
        "only one kind of clipping at a time, not clipnorm and clipvalue"),
    "beta": (lambda: O.Adam(beta_1=1.0), "beta1 = 1.0 is outside [0, 1)"),
    "amsgrad": (lambda: O.Adam(amsgrad=True),
        "Adam(amsgrad=True) is not supported: minillm.keras has amsgrad=False only"),
    "axis": (lambda: CCE(axis=1),
        "CategoricalCrossentropy(axis=1) is not supported: minillm.keras has axis=-1 only"),
    "missing layer": (lambda: L.GRU,
        "minillm.keras.layers has no 'GRU'; it has LSTM, Dense, Dropout, Embedding, Input, InputLayer, "
        "Layer"),
    "missing model": (lambda: mk.Model,
        "minillm.keras has no 'Model'; it has Input, Sequential, activations, callbacks, layers, losses, "
        "models, optimizers, regularizers, saving, utils"),
    # models
    "a class for a layer": (lambda: mk.Sequential([L.Dense]),
        "layers[0] is <class 'minillm.keras.layers.Dense'>, no layer of minillm.keras: write Dense(...)"),
    "no layers": (lambda: mk.Sequential().predict(X), "sequential has no layers: add some"),
    "weights too early": (lambda: model().set_weights([]),
        "sequential has no weights yet: call it on a batch first, or build it with the shape of its input"),
    "number of weights": (
        lambda: mk.Sequential([mk.Input((3,)), L.Dense(2)]).set_weights([np.zeros((3, 2))]),
        "sequential has 2 weights (dense/kernel, dense/bias), but 1 arrays were given"),
    "shape of a weight": (
        lambda: mk.Sequential([mk.Input((3,)), L.Dense(2)]).set_weights([np.zeros((2, 3)), np.zeros(2)]),
        "weights[0] has shape (2, 3), but dense/kernel has (3, 2)"),
    "monitor": (lambda: fit(X, Y, callbacks=[mk.callbacks.EarlyStopping()]),
        "EarlyStopping monitors 'val_loss', but an epoch has loss: give fit validation_data"),
    "one-hot of what": (lambda: mk.utils.to_categorical([0, 5], 3), "x[1] = 5 is outside [0, 3)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_line(name: str) -> None:
    do, line = MISTAKES[name]
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        do()
    assert str(caught.value) == line


def test_one_optimizer_does_not_serve_two_models() -> None:
    adam = O.Adam()
    model(optimizer=adam).fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="^this Adam already trains another model: make a new one$"):
        model(optimizer=adam).fit(X, Y, verbose=0)


def test_the_engine_is_the_one_below() -> None:
    """A thin face: the work is done by `minillm.nn` and `minillm.optim`."""
    m = model()
    m.fit(X, Y, verbose=0)
    assert [type(layer.core) for layer in m.layers] == [nn.Embedding, nn.LSTMLayer, nn.Linear]
    assert isinstance(m.optimizer._inner, optim.Adam)
