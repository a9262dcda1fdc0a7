"""Initial values: their distributions have the moments and bounds that are promised, and torch's."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from minillm.nn import init

D, E = 300, 500
n = D * E
# name: the variance promised for (D, E), and the largest number over its standard deviation (None: none)
SCHEMES = {"glorot_uniform": (2 / (D + E), math.sqrt(3)), "glorot_normal": (2 / (D + E), None),
           "he_uniform": (2 / D, math.sqrt(3)), "he_normal": (2 / D, None)}
TORCH = {"glorot_uniform": torch.nn.init.xavier_uniform_, "glorot_normal": torch.nn.init.xavier_normal_,
         "he_uniform": torch.nn.init.kaiming_uniform_, "he_normal": torch.nn.init.kaiming_normal_}


@pytest.mark.parametrize("name", SCHEMES)
def test_variance_and_bound(name, rng):
    variance, bound = SCHEMES[name]
    x = getattr(init, name)((D, E), rng, np.float64)
    assert abs(x.mean()) < 5 * math.sqrt(variance / n)
    assert x.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))
    largest = np.abs(x).max() / math.sqrt(variance)
    assert 0.999 * bound < largest <= bound if bound else 4 < largest < 7
    torch.manual_seed(0)
    theirs = TORCH[name](torch.empty(E, D, dtype=torch.float64))  # (fan_out, fan_in)
    assert x.var() == pytest.approx(theirs.var().item(), rel=0.03)


@pytest.mark.parametrize("bound", [2.0, 0.5])
def test_a_truncated_normal_has_no_far_numbers(bound, rng):
    x = init.truncated_normal((D, E), 0.1, rng, np.float64, bound=bound)
    assert 0.999 * 0.1 * bound < np.abs(x).max() <= 0.1 * bound
    density, inside = math.exp(-bound**2 / 2) / math.sqrt(2 * math.pi), math.erf(bound / math.sqrt(2))
    assert_allclose(x.std(), 0.1 * math.sqrt(1 - 2 * bound * density / inside), rtol=0.01)
    assert abs(x.mean()) < 5 * 0.1 / math.sqrt(n)
    if bound == 2:
        assert x.std() == pytest.approx(0.088, abs=0.0005)


@pytest.mark.parametrize("name", [*SCHEMES, "truncated_normal"])
def test_they_are_drawn_from_the_generator_that_is_given(name):
    more = (0.5,) if name == "truncated_normal" else ()
    one, two, three = (getattr(init, name)((3, 4), *more, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.dtype == np.float32
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_a_bound_of_nothing_is_refused():
    with pytest.raises(ValueError, match="bound = 0 must be > 0"):
        init.truncated_normal((2, 2), 1.0, bound=0)
