"""Keras's layers and ours compute the same from the same weights, in both directions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import nn
from minillm.errors import UserError
from minillm.models import LSTMConfig, LSTMLanguageModel
from minillm.models.keras_layers import from_cudnn, from_keras, load_keras, save_keras, to_keras

pytest.importorskip("torch")
pytest.importorskip("h5py")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras", exc_type=ImportError)
if keras.backend.backend() != "torch":
    pytest.skip(f"Keras is already imported, with backend {keras.backend.backend()}", allow_module_level=True)

L = keras.layers
sizes, few = st.integers(1, 6), settings(max_examples=8)


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def check_both_ways(theirs, ours, x, run):
    """Weights over, outputs equal; fresh ones back, outputs equal; and unchanged to the bit on the way."""
    def output(model):
        return keras.ops.convert_to_numpy(model(x))

    output(theirs)  # builds it
    theirs.set_weights([w + numbers(*w.shape) / 2 for w in theirs.get_weights()])
    from_keras(theirs.get_weights(), ours)
    np.testing.assert_allclose(run(ours).data, output(theirs), rtol=1e-5, atol=1e-5)
    for p in ours.parameters():
        p.data[...] = np.random.default_rng(1).standard_normal(p.shape) / 2
    theirs.set_weights(to_keras(ours))
    np.testing.assert_allclose(run(ours).data, output(theirs), rtol=1e-5, atol=1e-5)
    before = ours.state_dict()
    for p in ours.parameters():
        p.data[...] = 0
    from_keras(theirs.get_weights(), ours)
    assert all(a.tobytes() == before[name].tobytes() for name, a in ours.state_dict().items())


@few
@given(sizes, sizes)
def test_embedding_and_dense(v, d):
    ids, x = np.arange(v)[None], numbers(3, v)
    check_both_ways(L.Embedding(v, d), nn.Embedding(v, d), ids, lambda m: m(ids))
    check_both_ways(L.Dense(d), nn.Linear(v, d), x, lambda m: m(x))
    check_both_ways(L.Dense(d, use_bias=False), nn.Linear(v, d, False), x, lambda m: m(x))


@few
@given(sizes, sizes)
def test_lstm(d, h):
    x = numbers(2, 4, d)
    check_both_ways(L.LSTM(h, return_sequences=True), nn.LSTMLayer(d, h), x, lambda m: m(x)[0])
    stacked = keras.Sequential([L.LSTM(h, return_sequences=True) for _ in range(2)])
    check_both_ways(stacked, nn.LSTM(d, h, 2), x, lambda m: m(x)[0])


@few
@given(st.integers(2, 8))
def test_norms(c):
    x = numbers(3, c)
    check_both_ways(L.LayerNormalization(epsilon=1e-5), nn.LayerNorm(c), x, lambda m: m(x))
    check_both_ways(L.RMSNormalization(epsilon=1e-6), nn.RMSNorm(c), x, lambda m: m(x))


def test_an_lstm_without_a_bias():
    theirs, ours, x = L.LSTM(3, use_bias=False, return_sequences=True), nn.LSTMLayer(2, 3), numbers(2, 4, 2)
    wanted = keras.ops.convert_to_numpy(theirs(x))
    assert ours.b.data.any()
    from_keras(theirs.get_weights(), ours)
    assert not ours.b.data.any()
    np.testing.assert_allclose(ours(x)[0].data, wanted, atol=1e-6)


def test_cudnns_layout():
    """cuDNN multiplies a gate's (H, D) matrix by a column x and adds two biases; worked out step by step."""
    D, H = 3, 2
    kernel, recurrent, bias = numbers(D, 4 * H), numbers(H, 4 * H) / 2, numbers(8 * H)
    x, h, c = numbers(5, D), np.zeros(H), np.zeros(H)
    ours = nn.LSTMLayer(D, H)
    from_keras([kernel, recurrent, bias], ours)
    assert [a.shape for a in from_cudnn([kernel, recurrent, bias])] == [(D, 4 * H), (H, 4 * H), (4 * H,)]
    for t in range(5):
        pre = []
        for g in range(4):
            at = slice(g * H, (g + 1) * H)
            W, U = kernel[:, at].ravel().reshape(H, D), recurrent[:, at].ravel().reshape(H, H)
            pre.append(W @ x[t] + U @ h + bias[at] + bias[4 * H:][at])
        i, f, o = (1 / (1 + np.exp(-a)) for a in (pre[0], pre[1], pre[3]))
        c = f * c + i * np.tanh(pre[2])
        h = o * np.tanh(c)
        np.testing.assert_allclose(ours(x[None])[0].data[0, t], h, atol=1e-5)


V, D, H = 7, 4, 5


def language_model():
    return LSTMLanguageModel(LSTMConfig(V, D, H, num_layers=2)).eval()


def keras_language_model():
    model = keras.Sequential([L.Embedding(V, D), L.LSTM(H, return_sequences=True),
                              L.LSTM(H, return_sequences=True), L.Dense(V)])
    model.build((None, 3))
    return model


def scores(model):
    return model.output(model.lstm(model.embedding(IDS))[0]).data


IDS = np.array([[1, 2, 3], [6, 0, 5]])


@pytest.mark.filterwarnings("ignore")  # absl says that .h5 is an old format
@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras", "m.h5"])
def test_files_of_keras(tmp_path, name):
    theirs, ours = keras_language_model(), language_model()
    theirs.save_weights(tmp_path / name) if ".weights" in name else theirs.save(tmp_path / name)
    load_keras(tmp_path / name, ours)
    np.testing.assert_allclose(scores(ours), theirs.predict(IDS, verbose=0), atol=1e-5)
    assert all((a == b).all() for a, b in zip(to_keras(ours), theirs.get_weights(), strict=True))


def test_files_for_keras(tmp_path):
    theirs, ours = keras_language_model(), language_model()
    save_keras(ours, tmp_path / "m.weights.h5")
    theirs.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(scores(ours), theirs.predict(IDS, verbose=0), atol=1e-5)
    again = language_model()
    load_keras(tmp_path / "m.weights.h5", again)
    assert all((a == b).all() for a, b in zip(to_keras(ours), to_keras(again), strict=True))
    layers = [L.Dense(4), L.LayerNormalization(), L.Dense(3), L.RMSNormalization()]
    model = keras.Sequential(layers)
    model.build((None, 2))
    ours = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4, eps=1e-3), nn.Linear(4, 3), nn.RMSNorm(3))
    save_keras(ours, tmp_path / "n.weights.h5")
    model.load_weights(tmp_path / "n.weights.h5")
    x = numbers(5, 2)
    np.testing.assert_allclose(ours(x).data, model.predict(x, verbose=0), atol=1e-5)


class Own(nn.Module):
    def __init__(self):
        self.scale = nn.parameter(np.ones(3))
        self.dense = nn.Linear(3, 3)


NAMES = "embedding (Embedding), lstm.layers.0 (LSTMLayer), lstm.layers.1 (LSTMLayer), output (Linear)"


@pytest.mark.parametrize(("layer", "weights", "line"), [
    (nn.Linear(2, 3), [numbers(2, 3)],
     "Linear has 2 arrays in Keras (weight, bias), but 1 were given"),
    (nn.Linear(2, 3), [numbers(3, 2), numbers(3)],
     "Linear.weight has shape (2, 3), but the array from Keras has (3, 2)"),
    (nn.Embedding(2, 3), [numbers(2, 3).astype(int)],
     "Embedding.weight has dtype float32, but the array from Keras has int64"),
    (nn.LSTMLayer(2, 1), [numbers(2, 4), numbers(1, 4), numbers(5)],
     "LSTMLayer.b has shape (4,), but the array from Keras has (5,)"),
    (language_model(), [numbers(1)] * 3,
     f"LSTMLanguageModel has 9 arrays in Keras ({NAMES}), but 3 were given"),
    (Own(), [], "Own has parameters that no Keras layer here has (scale): Keras's weights go into Embedding, "
                "LSTMLayer, Linear, LayerNorm, RMSNorm and models of them"),
])
def test_a_mistake_gets_one_clear_line_and_changes_nothing(layer, weights, line):
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r".") as caught:
        from_keras(weights, layer)
    assert str(caught.value) == line
    assert all((a == before[n]).all() for n, a in layer.state_dict().items())


def test_files_of_other_models_get_one_line(tmp_path):
    path = tmp_path / "m.weights.h5"
    save_keras(language_model(), path)
    for layer, line in [
        (nn.Linear(H, V), "does not fit Linear: missing none, unknown ['embedding', 'lstm', 'lstm_1']"),
        (LSTMLanguageModel(LSTMConfig(V, D, H, 3)), "missing ['lstm_2'], unknown none"),
        (LSTMLanguageModel(LSTMConfig(V, D + 1, H, 2)), "embedding.weight has shape (7, 5), but the array"),
    ]:
        before = layer.state_dict()
        with pytest.raises(UserError) as caught:
            load_keras(path, layer)
        assert line in str(caught.value)
        assert str(caught.value).startswith(repr(str(path)))
        assert all((a == before[n]).all() for n, a in layer.state_dict().items())


def test_a_keras_2_file_of_another_number_of_layers(tmp_path):
    theirs = keras_language_model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save(tmp_path / "m.h5")
    with pytest.raises(UserError, match=r"has 4 layers with weights \(.*\), but Linear has 1 \(Linear"):
        load_keras(tmp_path / "m.h5", nn.Linear(H, V))
