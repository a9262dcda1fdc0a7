"""The language modelling loss against its formulas."""

from typing import Any

import numpy as np
import pytest

from minillm import formulas
from minillm.models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel
from minillm.tasks.next_token import NextToken


def batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    ids = rng.integers(0, 7, (3, 6))
    return ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"z_loss": 0.1},
                                     {"label_smoothing": 0.2, "z_loss": 0.1}])
def test_what_is_minimised_and_what_is_shown(rng: np.random.Generator, options: dict[str, Any]) -> None:
    model = GPT(GPTConfig(7, 5, 1, 2, 8, init="glorot"), rng=rng, dtype=np.float64)
    objective, (x, y) = NextToken(model, **options), batch(rng)
    logits = model(x).data
    plain = formulas.softmax_cross_entropy(logits, y)
    smooth = formulas.softmax_cross_entropy(logits, y, label_smoothing=options.get("label_smoothing", 0.0))
    z = formulas.z_loss(logits, options.get("z_loss", 0.0)).mean()
    loss = objective.loss((x, y), None)
    assert float(loss.total) == pytest.approx(float(smooth + z), rel=1e-12)
    assert loss.nats == pytest.approx(float(plain), rel=1e-12)
    assert loss.state is None
    assert objective.count((x, y)) == 15
    model.eval()
    assert float(objective.loss((x, y), None).total) == pytest.approx(float(plain), rel=1e-12)


def test_the_lstms_state_goes_on_and_is_off_the_tape(rng: np.random.Generator) -> None:
    model = LSTMLanguageModel(LSTMConfig(7, 4, 5, 2), rng=rng, dtype=np.float64)
    objective, (x, y) = NextToken(model), batch(rng)
    whole = objective.loss((x, y), None)
    first = objective.loss((x[:, :2], y[:, :2]), None)
    assert first.state is not None
    assert {k: v.shape for k, v in first.state.items()} == dict.fromkeys(("0.h", "0.c", "1.h", "1.c"), (3, 5))
    assert all(type(v) is np.ndarray for v in first.state.values())
    second = objective.loss((x[:, 2:], y[:, 2:]), first.state)
    assert (2 * first.nats + 3 * second.nats) / 5 == pytest.approx(whole.nats, rel=1e-12)
    for name, array in (whole.state or {}).items():
        np.testing.assert_allclose((second.state or {})[name], array, rtol=1e-12)


@pytest.mark.parametrize(("options", "message"), [({"label_smoothing": -0.1}, "label_smoothing = -0.1"),
                                                  ({"z_loss": np.inf}, "z_loss = inf")])
def test_strengths_are_checked(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NextToken(None, **options)  # type: ignore[arg-type]
