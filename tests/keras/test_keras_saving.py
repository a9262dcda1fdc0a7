"""Models that Keras saved load here, and ours load in Keras: the same predictions, no code run."""

from __future__ import annotations

import io
import json
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minillm.keras as mk
from minillm.errors import UserError

h5py = pytest.importorskip("h5py")

V, D, H, T = 7, 4, 5, 3
X = np.random.default_rng(0).integers(0, V, (6, T))
Y = X[:, 0]


def article(k: Any) -> list[Any]:
    return [k.layers.Embedding(V, D), k.layers.LSTM(H), k.layers.Dense(V, activation="softmax")]


def everything(k: Any) -> list[Any]:
    r = k.regularizers
    return [k.layers.Input((T,)), k.layers.Embedding(V, D, embeddings_regularizer="l2", name="table"),
            k.layers.LSTM(H, return_sequences=True, recurrent_regularizer=r.L1(0.1), unit_forget_bias=False),
            k.layers.Dropout(0.3, seed=1),
            k.layers.LSTM(H, use_bias=False, kernel_regularizer=r.L1L2(0.1, 0.2)),
            k.layers.Dense(3, "relu", bias_regularizer=r.L2(0.3)), k.layers.Dense(4, "tanh", use_bias=False),
            k.layers.Dense(4, "sigmoid"), k.layers.Dense(V)]


def trained(k: Any, layers: Callable[[Any], list[Any]]) -> Any:
    """One step, so that no weight is at its start and the file holds an optimiser too."""
    model = k.Sequential(layers(k))
    model.compile(k.optimizers.Adam(0.1), k.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(X, Y)
    return model


def save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # absl says that .h5 is an old format
        model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


def penalty(model: Any) -> float:
    return sum(float(p.detach() if hasattr(p, "detach") else p.item()) for p in model.losses)


def check_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    assert all((a == b).all() for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True))


@pytest.mark.parametrize("layers", [article, everything])
@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras", "m.h5"])
def test_what_keras_saved_loads_here(keras: ModuleType, tmp_path: Path, name: str, layers: Any) -> None:
    theirs = trained(keras, layers)
    path = save(theirs, tmp_path / name)
    ours = mk.Sequential(layers(mk))
    ours.build((None, T))
    ours.load_weights(path)
    check_same(ours, theirs)
    if name != "m.weights.h5":
        loaded = mk.models.load_model(path)
        check_same(loaded, theirs)
        assert [x.name for x in loaded.layers] == [x.name for x in theirs.layers]
        assert penalty(loaded) == pytest.approx(penalty(theirs))


@pytest.mark.parametrize("layers", [article, everything])
def test_what_we_save_loads_in_keras(keras: ModuleType, tmp_path: Path, layers: Any) -> None:
    ours = trained(mk, layers)
    for name in ("m.weights.h5", "m.keras"):
        theirs = keras.Sequential(layers(keras))
        theirs.build((None, T))
        theirs.load_weights(save(ours, tmp_path / name))
        check_same(ours, theirs)
    theirs = keras.models.load_model(tmp_path / "m.keras")
    check_same(ours, theirs)
    assert [type(x).__name__ for x in theirs.layers] == [type(x).__name__ for x in ours.layers]
    assert [x.name for x in theirs.layers] == [x.name for x in ours.layers]
    assert penalty(theirs) == pytest.approx(penalty(ours))
    if layers is everything:
        assert [theirs.layers[2].rate, theirs.layers[1].unit_forget_bias] == [0.3, False]
        theirs.save(tmp_path / "back.keras")  # and from there back to us
        check_same(mk.models.load_model(tmp_path / "back.keras"), ours)


@pytest.mark.parametrize("layers", [article, everything])
def test_a_round_trip_is_exact(tmp_path: Path, layers: Any) -> None:
    ours = trained(mk, layers)
    loaded = mk.saving.load_model(save(ours, tmp_path / "m.keras"))
    pairs = zip(ours.get_weights(), loaded.get_weights(), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)
    assert (ours.predict(X) == loaded.predict(X)).all()
    save(loaded, tmp_path / "n.keras")
    assert (tmp_path / "m.keras").read_bytes() == (tmp_path / "n.keras").read_bytes()
    loaded.compile("adam", mk.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert loaded.train_on_batch(X, Y) == pytest.approx(ours.test_on_batch(X, Y), rel=0.5)


def legacy_file(path: Path, kind: str, layer: dict[str, Any], weights: dict[str, np.ndarray]) -> Path:
    """As Keras 2.3 wrote a model of one layer."""
    layers = [{"class_name": kind, "config": layer}]
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.3.1"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer["name"].encode()]
        names = [f"{layer['name']}/{name}:0" for name in weights]
        group.create_group(layer["name"]).attrs["weight_names"] = [name.encode() for name in names]
        for name, array in zip(names, weights.values(), strict=True):
            group[layer["name"]][name] = array
    return path


def test_a_cudnn_lstm_of_keras_2(tmp_path: Path, rng: np.random.Generator) -> None:
    from minillm.models.keras_layers import from_cudnn
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((D, 4 * H), (H, 4 * H), (8 * H,))]
    layer = {"name": "rnn", "trainable": True, "batch_input_shape": [None, T, D], "dtype": "float32",
             "units": H, "return_sequences": False, "return_state": False, "go_backwards": False,
             "stateful": False,
             "kernel_initializer": {"class_name": "VarianceScaling", "config": {}}, "unit_forget_bias": True,
             "kernel_regularizer": None, "activity_regularizer": None, "kernel_constraint": None}
    path = legacy_file(tmp_path / "m.h5", "CuDNNLSTM", layer,
                       dict(zip(("kernel", "recurrent_kernel", "bias"), arrays, strict=True)))
    model = mk.models.load_model(path)
    assert model.name == "s"
    assert all((a == b).all() for a, b in zip(model.get_weights(), from_cudnn(arrays), strict=True))


def test_a_lookup_table_of_keras_2_needs_no_shape(tmp_path: Path, rng: np.random.Generator) -> None:
    table = rng.standard_normal((V, D)).astype(np.float32)
    layer = {"name": "e", "input_dim": V, "output_dim": D, "input_length": None, "dtype": "float32"}
    path = legacy_file(tmp_path / "m.h5", "Embedding", layer, {"embeddings": table})
    assert (mk.models.load_model(path).predict(X) == table[X]).all()
    layer = {"name": "d", "units": 2, "use_bias": False}
    path = legacy_file(tmp_path / "n.h5", "Dense", layer, {"kernel": table[:, :2]})
    refused(path, " holds a model whose input's shape is not known: build it before saving")


# ---- what is refused


def refused(path: Path, line: str, do: Callable[[Path], Any] = mk.models.load_model) -> None:
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        do(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value) == f"{str(path)!r}{line}"
    assert peak < 4 << 20


def bent(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The article's model as a `.keras` file with its config changed."""
    data = io.BytesIO(save(trained(mk, article), tmp_path / "good.keras").read_bytes())
    with zipfile.ZipFile(data) as z, zipfile.ZipFile(tmp_path / "m.keras", "w") as bent:
        config = json.loads(z.read("config.json"))
        change(config)
        for name in z.namelist():
            bent.writestr(name, json.dumps(config) if name == "config.json" else z.read(name))
    return tmp_path / "m.keras"


def at(i: int, **options: Any) -> Callable[[dict[str, Any]], None]:
    """Change options of a layer; 0 is the InputLayer."""
    return lambda c: c["config"]["layers"][i]["config"].update(options)


def whole(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda c: c.update(entries)


def layer(i: int, **entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda c: c["config"]["layers"][i].update(entries)


CODE = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
BENT = {
    "functional": (whole(class_name="Functional"),
                   " holds a 'Functional' model: minillm.keras has Sequential only"),
    "no class": (whole(class_name=3), " is damaged: the model has no class_name and config"),
    "no layers": (whole(config={"layers": []}), " holds a model without layers"),
    "no list": (whole(config={}), " is damaged: its model has no list of layers"),
    "lambda": (layer(2, class_name="Lambda"),
               " has a 'Lambda' layer, 'lstm': minillm.keras has Embedding, LSTM, Dense, Dropout"),
    "nested": (layer(2, class_name="Sequential"),
               " has a 'Sequential' layer, 'lstm': minillm.keras has Embedding, LSTM, Dense, Dropout"),
    "activation of code": (at(3, activation=CODE),
                           f", layer 'dense': its activation is no name, {str(CODE)[:60]!r}...: no code in a "
                           "file is run"),
    "activation": (at(3, activation="swish"),
                   ", layer 'dense': unknown activation 'swish'; known are linear, relu, "
                   "sigmoid, softmax, tanh"),
    "masking": (at(1, mask_zero=True), ", layer 'embedding': Embedding(mask_zero=True) is not supported: "
                                       "minillm.keras has mask_zero=False only"),
    "backwards": (at(2, go_backwards=True), ", layer 'lstm': LSTM(go_backwards=True) is not supported: "
                                            "minillm.keras has go_backwards=False only"),
    "hard sigmoid": (at(2, recurrent_activation="hard_sigmoid"),
                     ", layer 'lstm': LSTM(recurrent_activation='hard_sigmoid') is not supported: "
                     "minillm.keras has recurrent_activation='sigmoid' only"),
    "half": (at(2, dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}),
             ", layer 'lstm': its dtype is 'mixed_float16': minillm.keras computes in float32 only"),
    "regularizer": (at(3, kernel_regularizer=CODE),
                    f", layer 'dense': its regularizer {str(CODE)[:60]!r}... is none of L1, L2 and L1L2"),
    "strength": (at(3, kernel_regularizer={"class_name": "L2", "config": {"l2": -1.0}}),
                 ", layer 'dense': l2 = -1.0 must be finite and not negative"),
    "unknown option": (at(3, lora=4),
                       ", layer 'dense': Dense has no option 'lora'; it has units, activation, use_bias, "
                       "kernel_regularizer, bias_regularizer, name, input_shape"),
    "units": (at(2, units=-1), ", layer 'lstm': units = -1 must be a positive integer"),
    "missing units": (lambda c: c["config"]["layers"][2]["config"].pop("units"),
                      ", layer 'lstm': LSTM.__init__() missing 1 required positional argument: 'units'"),
    "input": (at(0, batch_shape=[None, -3]), " is damaged: the shape of its input is '[None, -3]'"),
    "two inputs": (layer(2, class_name="InputLayer"),
                   " is damaged: layers[2] is an InputLayer, which comes first"),
    # a terabyte if it were built before it is compared with the file
    "huge": (at(1, input_dim=10**11), " does not fit embedding: weights of shapes (7, 4) in the file, "
                                      "(100000000000, 4) in the model"),
    "fewer layers": (lambda c: c["config"]["layers"].pop(),
                     " has weights of other layers: the file has dense, embedding, lstm, the model "
                     "embedding, lstm"),
    "order": (lambda c: c["config"]["layers"].reverse(),
              " is damaged: layers[3] is an InputLayer, which comes first"),
    "two lookups": (layer(2, class_name="Embedding", config={"name": "e", "input_dim": 3, "output_dim": 4}),
                    " has weights of other layers: the file has dense, embedding, lstm, the model embedding, "
                    "embedding_1, dense"),
    "no sequence": (at(0, batch_shape=[None]),
                    " holds a model that cannot be built: lstm needs (batch, time, features), but its input "
                    "has shape (None, 4): an Embedding, or an LSTM with return_sequences=True, "
                    "comes before it"),
}


@pytest.mark.parametrize("name", BENT)
def test_a_config_that_does_not_fit_gets_one_line(tmp_path: Path, name: str) -> None:
    change, line = BENT[name]
    refused(bent(tmp_path, change), line)


def test_a_lambda_layer_of_keras_is_not_run(keras: ModuleType, tmp_path: Path) -> None:
    ran: list[int] = []
    theirs = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: ran.append(1) or x)])
    ran.clear()
    path = save(theirs, tmp_path / "m.keras")
    refused(path, " has a 'Lambda' layer, 'lambda': minillm.keras has Embedding, LSTM, Dense, Dropout")
    assert not ran


def test_weights_of_another_model_get_one_line_and_change_nothing(tmp_path: Path) -> None:
    path = save(trained(mk, article), tmp_path / "m.weights.h5")
    refused(path, " holds weights only: build the model, then call its load_weights")
    from minillm.weights.keras_file import write_weights
    write_weights(tmp_path / "ints.weights.h5", {"embedding": {"vars/0": np.zeros((V, D), int)}})
    table = mk.Sequential([mk.Input((T,)), mk.layers.Embedding(V, D)])
    refused(tmp_path / "ints.weights.h5", " does not fit embedding: its weights are no floats",
            table.load_weights)
    for layers, line in [
        ([mk.layers.Embedding(V, D + 1), mk.layers.LSTM(H), mk.layers.Dense(V)],
         " does not fit embedding: weights of shapes (7, 4) in the file, (7, 5) in the model"),
        ([mk.layers.Embedding(V, D), mk.layers.LSTM(H, use_bias=False), mk.layers.Dense(V)],
         " does not fit lstm: weights of shapes (4, 20), (5, 20), (20,) in the file, (4, 20), (5, 20) in the "
         "model"),
        ([mk.layers.Embedding(V, D), mk.layers.LSTM(H)],
         " has weights of other layers: the file has dense, embedding, lstm, the model embedding, lstm"),
    ]:
        model = mk.Sequential(layers)
        model.build((None, T))
        before = model.get_weights()
        refused(path, line, model.load_weights)
        assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    early = "^sequential has no weights yet: call it on a batch first, or build it with the shape of its in"
    for do in (mk.Sequential.save, mk.Sequential.save_weights, mk.Sequential.load_weights):
        with pytest.raises(ValueError, match=early):
            do(mk.Sequential(article(mk)), tmp_path / "m.weights.h5")

    class Own(mk.layers.Dense):
        pass

    for made, line in [
        (mk.layers.Dense(2, lambda x: x), "^the activation of dense is a function of yours, which no file"),
        (mk.layers.Dense(2, kernel_regularizer=lambda w: 0.0), "^a regularizer of dense is a function of y"),
        (Own(2), "^own is a Own: only Embedding, LSTM, Dense, Dropout can be saved$"),
    ]:
        with pytest.raises(ValueError, match=line):
            mk.Sequential([mk.Input((3,)), made]).save(tmp_path / "m.keras")
    built = mk.Sequential([mk.Input((3,)), mk.layers.Dense(2)])
    with pytest.raises(UserError, match=r"does not end in \.keras"):
        built.save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"^load_model\(compile=True\) is not supported"):
        mk.models.load_model(tmp_path / "m.keras", compile=True)
    assert not list(tmp_path.iterdir())
