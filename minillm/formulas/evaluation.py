"""Numbers that say how good a language model is: the loss in other units."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation

_TEST = "tests/formulas/test_evaluation.py::"


@equation(
    "-", r"\mathrm{PPL} = e^{L}",
    title="perplexity", title_zh="困惑度", lesson="02_likelihood_and_cross_entropy",
    symbols={"L": "cross-entropy in nats per token"}, symbols_zh={"L": "平均每个词元的交叉熵，单位为奈特"},
    example=lambda rng: (rng.uniform(0.5, 2, 4),), test=_TEST + "test_uniform_guess",
    source="Jelinek et al. 1977; from article section 4.1's loss")
def perplexity(loss: Any) -> Any:
    """exp(L): among how many equally likely words the model seems to choose.

    Args:
        loss: cross-entropy, nats per token.

    Returns:
        loss's shape, >= 1 for a loss >= 0.

    Source: Jelinek et al. 1977.
    """
    with np.errstate(over="ignore"):  # a diverged model has perplexity inf
        return np.exp(loss)


@equation(
    "-", r"\mathrm{bpc} = \frac{L}{\log 2} \cdot \frac{N_{\text{tokens}}}{N_{\text{characters}}}",
    title="bits per character", title_zh="每字符比特数", lesson="02_likelihood_and_cross_entropy",
    symbols={"L": "cross-entropy in nats per token", "N": "number of tokens, of characters"},
    symbols_zh={"L": "平均每个词元的交叉熵，单位为奈特", "N": "词元数、字符数"},
    example=lambda rng: (rng.uniform(0.5, 2, 4),), test=_TEST + "test_uniform_guess",
    source="Graves 2013, section 3; from article section 4.1's loss")
def bits_per_character(loss: Any, tokens_per_character: float = 1.0) -> Any:
    """L / log 2: how many bits a character of the text would take, coded with the model.

    Args:
        loss: cross-entropy, nats per token.
        tokens_per_character: 1 for a character model; less for larger tokens.

    Returns:
        loss's shape, in bits.

    Source: Graves 2013, section 3.
    """
    return loss / float(np.log(2)) * tokens_per_character
