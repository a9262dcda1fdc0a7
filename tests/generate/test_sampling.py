"""From logits to tokens: what is cut, what is left, and how often it is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.generate import next_token_distribution
from minillm.generate.sampling import draw, generators

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


@pytest.mark.parametrize(("min_p", "left"), [(0.0, [0, 1, 2, 3]), (0.24, [0, 1, 2, 3]), (0.26, [0, 2, 3]),
                                             (0.74, [0, 3]), (0.76, [3]), (1.0, [3])])
def test_min_p_is_a_share_of_the_most_probable(min_p: float, left: list[int]) -> None:
    x = np.array([0.75, 0.25, 0.5, 1.0])
    p = next_token_distribution(np.log(x) + 700, min_p=min_p)
    assert support(p) == left
    np.testing.assert_allclose(p[left], x[left] / x[left].sum(), rtol=1e-11)


def test_the_repetition_penalty_divides_what_is_positive_and_multiplies_what_is_negative() -> None:
    seen = np.array([True, True, False, False, True])
    p = next_token_distribution(np.array([2.0, -1, 2, -1, 0]), repetition_penalty=1.25, seen=seen)
    expected = np.exp([1.6, -1.25, 2, -1, 0])
    np.testing.assert_allclose(p, expected / expected.sum(), rtol=1e-13)
    greedy = next_token_distribution(np.array([3.0, 2.9]), repetition_penalty=1.1, temperature=0,
                                     seen=np.array([True, False]))
    assert greedy.tolist() == [0, 1]


def test_top_k_keeps_the_first_of_equals() -> None:
    p = next_token_distribution(np.array([1.0, 2, 1, 1, 1]), top_k=3)
    assert support(p) == [0, 1, 2]


def test_top_p_counts_what_top_k_left() -> None:
    """0.4 of 0.7 is more than half, though 0.4 of 1 is not: as in transformers."""
    assert support(next_token_distribution(np.log([0.3, 0.1, 0.2, 0.4]), top_k=2, top_p=0.5)) == [3]


def test_a_flat_distribution_loses_nothing_to_the_short_cut_of_top_p() -> None:
    p = next_token_distribution(np.zeros(1000), top_p=0.9995)
    assert support(p) == list(range(1000))
    assert len(support(next_token_distribution(np.zeros(1000), top_p=0.9))) in (900, 901)


EVERYTHING: list[dict[str, Any]] = [
    {}, {"temperature": 0}, {"temperature": 0.5, "top_k": 3}, {"top_p": 0.7}, {"min_p": 0.2},
    {"temperature": 1.5, "top_k": 9, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.3,
     "forbidden": [0, 4]}]


@pytest.mark.parametrize("options", EVERYTHING, ids=str)
def test_rows_do_not_influence_each_other(options: dict[str, Any], rng: np.random.Generator) -> None:
    x, seen = rng.standard_normal((2, 3, 17)) * 3, rng.random((2, 3, 17)) < 0.5
    whole = next_token_distribution(x, seen=seen, **options)
    for at in np.ndindex(2, 3):
        assert (whole[at] == next_token_distribution(x[at], seen=seen[at], **options)).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), V=st.integers(2, 40), temperature=st.floats(0.05, 5),
       k=st.none() | st.integers(1, 45), top_p=st.just(1.0) | st.floats(0.01, 0.999),
       min_p=st.just(0.0) | st.floats(0.001, 1), penalty=st.just(1.0) | st.floats(0.5, 2))
def test_the_filters_are_those_of_transformers(transformers: Any, seed: int, V: int, temperature: float,
                                               k: int | None, top_p: float, min_p: float, penalty: float
                                               ) -> None:
    """Their processors, in the order in which their `generate` applies them, in float64."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, V)) * 3
    ids = rng.integers(0, V, (3, 5))
    forbidden = rng.integers(1, V, rng.integers(0, V)).tolist()
    seen = np.zeros((3, V), bool)
    np.put_along_axis(seen, ids, True, axis=1)
    theirs = [transformers.SuppressTokensLogitsProcessor(forbidden)] if forbidden else []
    theirs += [transformers.RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1 else []
    theirs += [transformers.TemperatureLogitsWarper(temperature)]
    theirs += [transformers.TopKLogitsWarper(k)] if k is not None else []
    theirs += [transformers.TopPLogitsWarper(top_p)] if top_p < 1 else []
    theirs += [transformers.MinPLogitsWarper(min_p)] if min_p > 0 else []
    scores = torch.from_numpy(x)
    for processor in theirs:
        scores = processor(torch.from_numpy(ids), scores)
    found = next_token_distribution(x, temperature=temperature, top_k=k, top_p=top_p, min_p=min_p,
                                    repetition_penalty=penalty, seen=seen, forbidden=forbidden)
    np.testing.assert_allclose(found, torch.softmax(scores, -1).numpy(), rtol=1e-9, atol=1e-300)


# ---- drawing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.8}, {"min_p": 0.5},
                                     {"forbidden": (0, 4)}], ids=str)
def test_frequencies_follow_the_distribution(options: dict[str, Any], rng: np.random.Generator) -> None:
    """Chi-square over 20,000 draws; a token without a share is never drawn."""
    n = 20_000
    p = next_token_distribution(np.log([0.35, 0.25, 0.2, 0.1, 0.06, 0.04]), **options)
    tokens = draw(np.tile(p, (n, 1)), rng.random(n))
    counts = np.bincount(tokens, minlength=6)
    assert (counts[p == 0] == 0).all()
    expected = n * p[p > 0]
    chi2 = float(((counts[p > 0] - expected) ** 2 / expected).sum())
    # At most 5 degrees of freedom: P(chi2 > 27.9) is 4e-5 for an honest sampler.
    assert chi2 < 27.9


@given(st.lists(st.sampled_from([0.0, 0.0, 1e-300, 1e-17, 0.1, 0.3, 1.0]), min_size=1, max_size=30)
       .filter(any), st.sampled_from([0.0, 5e-324, 0.5, 1 - 2**-53]) | st.floats(0, 1, exclude_max=True))
def test_no_token_without_a_share_is_drawn(p: list[float], u: float) -> None:
    token, = draw(np.array([p]), np.array([u]))
    assert p[token] > 0


def test_the_numbers_behind_a_seed_are_known() -> None:
    """Written down once: a NumPy release that draws others changes every text."""
    rows = generators(7, 3)
    found = [[int(rng.random() * 2**53) for _ in range(2)] for rng in rows]
    assert found == KNOWN


KNOWN = [[7186476673123733, 478227185698388],
         [4328697883905535, 536304916677847],
         [5692948367585599, 4384508897468965]]


def test_a_row_with_a_seed_of_its_own_draws_what_it_draws_alone() -> None:
    alone, = generators(5, 1)
    in_company = generators([1, 5, np.random.default_rng(3)], 3)
    assert in_company[1].random() == alone.random()
    assert in_company[2].random() == np.random.default_rng(3).random()
    assert len({rng.random() for rng in generators(5, 8)}) == 8


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
    "a number": (lambda: next_token_distribution(np.array(1.0)), "logits must have shape (..., V), not ()"),
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
    "min_p": (lambda: next_token_distribution(EQUAL, min_p=1.5), "min_p = 1.5 is outside [0, 1]"),
    "penalty": (lambda: next_token_distribution(EQUAL, repetition_penalty=0),
        "repetition_penalty = 0 must be finite and positive"),
    "penalty without seen": (lambda: next_token_distribution(EQUAL, repetition_penalty=1.1),
        "seen is missing: a repetition penalty needs a boolean array (4,)"),
    "seen of another shape": (lambda: next_token_distribution(EQUAL, repetition_penalty=1.1,
                                                              seen=np.zeros(3, bool)),
        "seen is of shape (3,): a repetition penalty needs a boolean array (4,)"),
    "nan in a batch": (lambda: next_token_distribution(np.array([[0, 1], [np.nan, 1]])),
        "logits[1, 0] = nan must be a number below infinity"),
    "a row without tokens": (lambda: next_token_distribution(np.array([[0, 1], [-INF, -INF]])),
        "no token is left to draw: every logit is -inf or forbidden"),
    "seeds": (lambda: generators([1, 2], 3),
        "rng has 2 seeds or generators, the batch 3 rows: give one for each, or a single seed"),
    "negative seed": (lambda: generators(-1, 3), "rng = -1 must not be negative"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_line(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
