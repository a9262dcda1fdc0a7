"""From logits to tokens: what is cut, what is left, and how often it is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minillm.autograd import no_grad
from minillm.generate import generate, next_token_distribution
from minillm.models import LSTMConfig, LSTMLanguageModel

EQUAL = np.zeros(4)  # p = 1/4 each, exactly
INF = np.inf


def support(p: np.ndarray) -> list[int]:
    return np.flatnonzero(p).tolist()


def test_without_options_it_is_softmax(rng: np.random.Generator) -> None:
    x = rng.standard_normal(50) * 5
    expected = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(next_token_distribution(x), expected, rtol=1e-13)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 3.0, 1e6])
def test_temperature_divides_the_logits(temperature: float, rng: np.random.Generator) -> None:
    x = rng.standard_normal(20)
    expected = np.exp(x / temperature) / np.exp(x / temperature).sum()
    np.testing.assert_allclose(next_token_distribution(x, temperature=temperature), expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0, 5e-324, 1e-310, 1e-300, 1e-30])
@pytest.mark.parametrize("x", [[1.0, 3, 2], [-900.0, -7, -8], [1e308, 1.1e308, -1e308], [-INF, 0, -INF]],
                         ids=str)
@pytest.mark.filterwarnings("error")
def test_temperature_to_zero_is_argmax(temperature: float, x: list[float]) -> None:
    assert next_token_distribution(np.array(x), temperature=temperature).tolist() == [0, 1, 0]


def test_temperature_zero_takes_the_first_of_equals() -> None:
    assert next_token_distribution(np.array([1.0, 2, 2]), temperature=0).tolist() == [0, 1, 0]


@pytest.mark.parametrize(("k", "left"), [(1, [3]), (2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]),
                                         (9, [0, 1, 2, 3]), (None, [0, 1, 2, 3])])
def test_top_k(k: int | None, left: list[int]) -> None:
    p = next_token_distribution(np.log([0.3, 0.1, 0.2, 0.4]), top_k=k)
    assert support(p) == left
    whole = np.array([0.3, 0.1, 0.2, 0.4])[left]
    np.testing.assert_allclose(p[left], whole / whole.sum(), rtol=1e-13)


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_top_p_cuts_exactly_at_the_boundary(n: int, above: bool) -> None:
    """n tokens have n/4 together: enough for top_p = n/4, and not for the next number above it."""
    top_p = float(np.nextafter(n / 4, 1)) if above else n / 4
    p = next_token_distribution(EQUAL, top_p=top_p)
    assert support(p) == list(range(n + above))
    assert p.sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(("options", "left"), [
    ({"top_p": 1e-9}, [3]), ({"top_p": 0.65}, [0, 3]), ({"top_p": 0.75}, [0, 2, 3]),
    ({"top_p": 0.95, "top_k": 2}, [0, 3]), ({"top_p": 0.1, "top_k": 2}, [3])], ids=str)
def test_top_p_takes_the_most_probable(options: dict[str, Any], left: list[int]) -> None:
    assert support(next_token_distribution(np.log([0.3, 0.1, 0.2, 0.4]), **options)) == left


def test_top_p_one_cuts_nothing() -> None:
    """Also where the sum of the first tokens rounds to 1."""
    assert support(next_token_distribution(np.array([0.0, -40, -50]), top_p=1.0)) == [0, 1, 2]


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_forbidden_ids_have_no_share(temperature: float) -> None:
    p = next_token_distribution(np.array([3.0, 9, 1, 2]), forbidden=[1], temperature=temperature)
    assert p[1] == 0
    assert np.argmax(p) == 0
    expected = next_token_distribution(np.array([3.0, 1, 2]), temperature=temperature)
    assert (np.delete(p, 1) == expected).all()


def test_the_logits_stay_as_they_were() -> None:
    x = np.array([3.0, 9, 1, 2])
    next_token_distribution(x, forbidden=[1], top_k=2, temperature=0.5)
    assert x.tolist() == [3, 9, 1, 2]


@pytest.mark.parametrize("options", [{}, {"top_k": 7}, {"top_p": 0.8}, {"temperature": 0.01},
                                     {"forbidden": range(0, 1000, 3)}, {"temperature": 0}], ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sums_to_one(options: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    p = next_token_distribution((rng.standard_normal(1000) * 10).astype(dtype), **options)
    assert p.dtype == np.float64
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1, abs=1e-12)


# ---- generate ------------------------------------------------------------------------------------


class Constant:
    """A model that gives the same logits whatever it read; its state counts what it read."""

    def __init__(self, logits: Any) -> None:
        self.logits = np.asarray(logits, np.float64)
        self.seen: list[Any] = []

    def __call__(self, ids: np.ndarray, state: Any) -> tuple[Any, Any]:
        self.seen.append((ids.tolist(), state))
        out = type("Out", (), {"data": np.tile(self.logits, (1, ids.shape[1], 1))})
        return out, (state or 0) + ids.shape[1]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.8},
                                     {"forbidden": (0, 4)}], ids=str)
def test_frequencies_follow_the_distribution(options: dict[str, Any], rng: np.random.Generator) -> None:
    """Chi-square over 20,000 draws; a token without a share is never drawn."""
    logits, n = np.log([0.35, 0.25, 0.2, 0.1, 0.06, 0.04]), 20_000
    tokens = list(generate(Constant(logits), np.array([0]), n, rng=rng, **options))
    p = next_token_distribution(logits, **options)
    counts = np.bincount(tokens, minlength=6)
    assert (counts[p == 0] == 0).all()
    expected = n * p[p > 0]
    chi2 = float(((counts[p > 0] - expected) ** 2 / expected).sum())
    # At most 5 degrees of freedom: P(chi2 > 27.9) is 4e-5 for an honest sampler.
    assert chi2 < 27.9


def test_each_token_is_read_once_and_the_state_is_handed_on(rng: np.random.Generator) -> None:
    model = Constant([0.0, 1, 5])
    tokens = list(generate(model, np.array([2, 0, 1]), 3, rng=rng))
    assert model.seen == [([[2, 0, 1]], None), ([[tokens[0]]], 3), ([[tokens[1]]], 4)]


@pytest.fixture(scope="module")
def model() -> LSTMLanguageModel:
    rng = np.random.default_rng(7)
    config = LSTMConfig(vocab_size=9, embedding_dim=5, hidden_dim=6, num_layers=2, dropout=0.3)
    made = LSTMLanguageModel(config, rng=rng, dtype=np.float64)
    for p in made.parameters():
        p.data *= 3  # so that what came before matters
    made.eval()
    return made


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"temperature": 0.7, "top_k": 4},
                                     {"top_p": 0.9, "forbidden": [3]}], ids=str)
def test_the_carried_state_equals_reading_everything_again(model: Any, options: dict[str, Any]) -> None:
    prompt, n = np.array([1, 4, 4, 2]), 25
    found = list(generate(model, prompt, n, rng=np.random.default_rng(3), **options))
    rng, ids = np.random.default_rng(3), prompt.tolist()
    for _ in range(n):
        with no_grad():
            logits, _ = model(np.array([ids]), None)
        p = next_token_distribution(logits.data[0, -1], **options)
        ids.append(int((rng.random() * np.cumsum(p)[-1] >= np.cumsum(p)).sum()))
    assert found == ids[len(prompt):]


def test_the_seed_decides(model: Any) -> None:
    def text(seed: int) -> list[int]:
        return list(generate(model, np.array([1]), 30, rng=np.random.default_rng(seed)))

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_tokens_come_one_at_a_time_and_leave_no_tape(model: Any, rng: np.random.Generator) -> None:
    tokens = generate(model, np.array([1]), 10**9, rng=rng)
    assert all(0 <= next(tokens) < 9 for _ in range(3))
    assert all(p.grad is None for p in model.parameters())


# ---- mistakes ------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "temperature": (lambda: next_token_distribution(EQUAL, temperature=-1),
        "temperature = -1 must be finite and not negative"),
    "nan temperature": (lambda: next_token_distribution(EQUAL, temperature=np.nan),
        "temperature = nan must be finite and not negative"),
    "top_k": (lambda: next_token_distribution(EQUAL, top_k=0), "top_k = 0 must be at least 1"),
    "top_p": (lambda: next_token_distribution(EQUAL, top_p=0), "top_p = 0 is outside (0, 1]"),
    "top_p above": (lambda: next_token_distribution(EQUAL, top_p=1.1), "top_p = 1.1 is outside (0, 1]"),
    "nan": (lambda: next_token_distribution(np.array([0, np.nan, 1])),
        "logits[1] = nan must be a number below infinity"),
    "nan at 0": (lambda: next_token_distribution(np.array([0, np.nan, 1]), temperature=0),
        "logits[1] = nan must be a number below infinity"),
    "forbidden nan": (lambda: next_token_distribution(np.array([0, np.nan, 1]), forbidden=[1]),
        "logits[1] = nan must be a number below infinity"),
    "infinity": (lambda: next_token_distribution(np.array([0, 1, INF])),
        "logits[2] = inf must be a number below infinity"),
    "a batch": (lambda: next_token_distribution(np.zeros((2, 3))), "logits must have shape (V,), not (2, 3)"),
    "all forbidden": (lambda: next_token_distribution(EQUAL, forbidden=range(4)),
        "no token is left to draw: every logit is -inf or forbidden"),
    "all -inf": (lambda: next_token_distribution(np.full(3, -INF)),
        "no token is left to draw: every logit is -inf or forbidden"),
    "no tokens": (lambda: next_token_distribution(np.zeros(0)),
        "no token is left to draw: every logit is -inf or forbidden"),
    "forbidden": (lambda: next_token_distribution(EQUAL, forbidden=[4]),
        "forbidden id 4 is outside [0, 4)"),
    "forbidden below": (lambda: next_token_distribution(EQUAL, forbidden=[-1]),
        "forbidden id -1 is outside [0, 4)"),
    "empty prompt": (lambda: next(generate(Constant(EQUAL), np.array([], int), 1,
                                           rng=np.random.default_rng(0))),
        "the prompt is empty: give at least one token"),
    "option of generate": (lambda: next(generate(Constant(EQUAL), np.array([0]), 1, top_k=-1,
                                                 rng=np.random.default_rng(0))),
        "top_k = -1 must be at least 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_line(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
