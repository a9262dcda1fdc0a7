import numpy as np
import pytest

from minillm.formulas import bits_per_character, perplexity, softmax_cross_entropy


@pytest.mark.parametrize("V", [1, 2, 10, 256])
def test_uniform_guess(V):
    """A model that guesses chooses among V words, and needs log2 V bits for each."""
    loss = softmax_cross_entropy(np.zeros((3, V)), np.zeros(3, int))
    assert perplexity(loss) == pytest.approx(V, rel=1e-14)
    assert bits_per_character(loss) == pytest.approx(np.log2(V), rel=1e-14, abs=1e-15)


def test_bits_are_of_characters_and_not_of_tokens():
    loss = np.log(2) * np.array([4.0, 6.0])  # 4 and 6 bits a token
    np.testing.assert_allclose(bits_per_character(loss, tokens_per_character=0.5), [2, 3], rtol=1e-15)


def test_dtype_is_kept():
    loss = np.float32([0.5, 1.5])
    assert perplexity(loss).dtype == bits_per_character(loss).dtype == np.float32
