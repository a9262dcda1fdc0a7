import numpy as np
import pytest

from minillm import formulas
from minillm.models import LSTMConfig, LSTMLanguageModel


@pytest.mark.parametrize("layers", [1, 3])
def test_size_is_as_computed(layers: int) -> None:
    config = LSTMConfig(11, 5, 7, layers)
    assert LSTMLanguageModel(config).n_params == config.n_params


def test_it_is_the_formulas_in_a_row() -> None:
    config = LSTMConfig(11, 5, 7, 2)
    model = LSTMLanguageModel(config, rng=np.random.default_rng(0), dtype=np.float64)
    ids = np.array([[1, 2, 3], [10, 0, 4]])
    p = {name: t.data for name, t in model.named_parameters()}
    h = p["embedding.weight"][ids]
    zeros = np.zeros((2, 7))
    for i in range(2):
        h, _ = formulas.lstm(h, zeros, zeros, *(p[f"lstm.layers.{i}.{k}"] for k in ("W", "U", "b")))
    logits, _ = model(ids)
    np.testing.assert_allclose(logits.data, formulas.linear(h, p["output.weight"], p["output.bias"]),
                               rtol=1e-12)


def test_carried_state_reads_on_where_it_stopped() -> None:
    model = LSTMLanguageModel(LSTMConfig(11, 5, 7, 2), rng=np.random.default_rng(0), dtype=np.float64)
    ids = np.random.default_rng(1).integers(0, 11, (3, 8))
    whole, _ = model(ids)
    first, state = model(ids[:, :5])
    second, _ = model(ids[:, 5:], state)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], axis=1), whole.data, rtol=1e-12)


def test_dropout_is_off_in_evaluation() -> None:
    model = LSTMLanguageModel(LSTMConfig(11, 5, 7, 2, dropout=0.5), rng=np.random.default_rng(0))
    ids = np.array([[1, 2, 3]])
    assert not np.array_equal(model(ids)[0].data, model(ids)[0].data)
    model.eval()
    np.testing.assert_array_equal(model(ids)[0].data, model(ids)[0].data)


@pytest.mark.parametrize("wrong", [{"vocab_size": 0}, {"hidden_dim": -1}, {"num_layers": 0},
                                   {"dropout": 1.0}])
def test_sizes_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LSTMConfig(**{"vocab_size": 5, **wrong})  # type: ignore[arg-type]
