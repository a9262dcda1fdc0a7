"""Normalisation of the last axis: the layers of a transformer that keep its activations at one scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation

_TEST = "tests/formulas/test_norms.py::"


@equation(
    "-", r"y = \gamma \odot \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta,\quad "
    r"\mu = \frac{1}{C}\sum_{c=1}^{C} x_c,\quad \sigma^2 = \frac{1}{C}\sum_{c=1}^{C} (x_c - \mu)^2",
    title="layer normalisation", title_zh="层归一化",
    symbols={"x": "activations of one position", "C": "their number", "mu": "their mean",
             "sigma^2": "their variance", "gamma": "gain", "beta": "bias",
             "epsilon": "keeps the root away from 0"},
    symbols_zh={"x": "同一位置的各个激活值", "C": "激活值的个数", "mu": "它们的均值", "sigma^2": "它们的方差",
                "gamma": "增益（学到的缩放系数）", "beta": "偏置", "epsilon": "很小的正数，使根号下不为 0"},
    example=lambda rng: (rng.standard_normal((3, 4)), rng.uniform(0.5, 2, 4), rng.standard_normal(4)),
    source="Ba, Kiros & Hinton 2016, Layer Normalization", fused="minillm.autograd.fused:layer_norm",
    test=_TEST + "test_layer_norm_by_hand", lesson="07_attention_and_transformer")
def layer_norm(x: Any, gamma: Any, beta: Any = None, *, eps: float = 1e-5) -> Any:
    """Each position's activations brought to mean 0 and variance 1, then scaled and shifted.

        y = gamma (x - mu) / sqrt(sigma^2 + eps) + beta

    The variance is that of the C numbers themselves (divided by C, not by C - 1).

    Args:
        x: (..., C).
        gamma: (C,), the gain.
        beta: (C,), the bias; None is 0.
        eps: > 0, in the unit of x squared.

    Returns:
        x's shape.

    Source: Ba, Kiros & Hinton 2016, Layer Normalization.
    """
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)  # (..., 1)
    y = gamma * (centred / np.sqrt(variance + eps))
    return y if beta is None else y + beta


@equation(
    "-", r"y = \gamma \odot \frac{x}{\sqrt{\frac{1}{C}\sum_{c=1}^{C} x_c^2 + \epsilon}}",
    title="root mean square normalisation", title_zh="均方根归一化",
    symbols={"x": "activations of one position", "C": "their number", "gamma": "gain",
             "epsilon": "keeps the root away from 0"},
    symbols_zh={"x": "同一位置的各个激活值", "C": "激活值的个数", "gamma": "增益（学到的缩放系数）",
                "epsilon": "很小的正数，使根号下不为 0"},
    example=lambda rng: (rng.standard_normal((3, 4)), rng.uniform(0.5, 2, 4)),
    source="Zhang & Sennrich 2019, Root Mean Square Layer Normalization",
    fused="minillm.autograd.fused:rms_norm", test=_TEST + "test_rms_norm_by_hand",
    lesson="17_real_weights")
def rms_norm(x: Any, gamma: Any, *, eps: float = 1e-6) -> Any:
    """Each position's activations divided by their root mean square, then scaled.

        y = gamma x / sqrt(mean(x^2) + eps)

    QK-norm (Henry et al. 2020; Dehghani et al. 2023) is this, applied to the queries and the keys of each
    head before their product: x is then (B, H, T, d) and gamma (d,).

    Args:
        x: (..., C).
        gamma: (C,), the gain.
        eps: > 0, in the unit of x squared.

    Returns:
        x's shape.

    Source: Zhang & Sennrich 2019, Root Mean Square Layer Normalization.
    """
    return gamma * (x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps))
