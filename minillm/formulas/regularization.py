"""Regularisation (article 3.3): penalties on the size of the parameters, and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation

_TEST = "tests/formulas/test_regularization.py::"


@equation(
    "3.3", r"\lambda \lVert\theta\rVert_1 = \lambda \sum_i |\theta_i|",
    title="L1 penalty", title_zh="L1 正则化",
    symbols={"theta": "parameters", "lambda": "strength"},
    symbols_zh={"theta": "参数", "lambda": "正则化强度"}, lesson="05_overfitting_and_regularisation",
    fused="minillm.optim:Optimizer", source="article section 3.3; Tibshirani 1996",
    example=lambda rng: (rng.uniform(0.5, 2, 6) * rng.choice([-1, 1], 6),),
    test=_TEST + "test_penalties_by_hand")
def l1_penalty(theta: Any, *, lam: float = 0.01) -> Any:
    """lam * sum_i |theta_i|: added to the loss, it drives small parameters to 0.

    Args:
        theta: parameters, any shape.
        lam: strength, >= 0. The gradient is lam sign(theta).

    Returns:
        A scalar, in the loss's units.

    Source: article section 3.3; Tibshirani 1996.
    """
    return lam * np.sum(np.absolute(theta))


@equation(
    "3.3", r"\lambda \lVert\theta\rVert_2^2 = \lambda \sum_i \theta_i^2",
    title="L2 penalty", title_zh="L2 正则化",
    symbols={"theta": "parameters", "lambda": "strength"},
    symbols_zh={"theta": "参数", "lambda": "正则化强度"}, lesson="05_overfitting_and_regularisation",
    fused="minillm.optim:Optimizer", source="article section 3.3; Krogh & Hertz 1991",
    example=lambda rng: (rng.standard_normal(6),), test=_TEST + "test_penalties_by_hand")
def l2_penalty(theta: Any, *, lam: float = 0.01) -> Any:
    """lam * sum_i theta_i^2: added to the loss, it keeps all parameters small.

    Keras's convention, without a factor 1/2: the gradient is 2 lam theta.

    Args:
        theta: parameters, any shape.
        lam: strength, >= 0.

    Returns:
        A scalar, in the loss's units.

    Source: article section 3.3; Krogh & Hertz 1991.
    """
    return lam * np.sum(np.square(theta))


@equation(
    "-", r"\theta \leftarrow \theta - \alpha\lambda\theta",
    title="decoupled weight decay", title_zh="解耦权重衰减",
    symbols={"theta": "parameters", "alpha": "learning rate", "lambda": "weight decay"},
    symbols_zh={"theta": "参数", "alpha": "学习率", "lambda": "权重衰减系数"}, lesson="04_adam",
    fused="minillm.optim:AdamW", source="article section 3.3; Loshchilov & Hutter 2019, algorithm 2",
    example=lambda rng: (rng.standard_normal(6),), test=_TEST + "test_decoupled_decay_by_hand")
def decoupled_weight_decay(theta: Any, *, alpha: float = 1e-3, lam: float = 0.01) -> Any:
    """theta - alpha lam theta: decay that does not pass through the optimiser's moments (AdamW).

    Args:
        theta: parameters, any shape.
        alpha: learning rate, > 0.
        lam: weight decay, >= 0.

    Returns:
        The decayed theta; the optimiser's own step follows it.

    Source: article section 3.3; Loshchilov & Hutter 2019.
    """
    return theta - alpha * lam * theta


@equation(
    "3.3", r"y = \frac{k \odot x}{1 - p},\quad k_i \sim \mathrm{Bernoulli}(1 - p)",
    title="inverted dropout", title_zh="Dropout（反向缩放）",
    symbols={"x": "activations", "k": "mask, 1 keeps a unit", "p": "probability to drop a unit"},
    symbols_zh={"x": "激活值", "k": "掩码，为 1 的单元保留", "p": "每个单元被丢弃的概率"},
    fused="minillm.autograd.fused:dropout", lesson="05_overfitting_and_regularisation",
    source="article section 3.3; Srivastava et al. 2014",
    example=lambda rng: (rng.standard_normal((3, 4)), rng.random((3, 4)) > 0.3),
    test=_TEST + "test_dropout_keeps_the_mean")
def dropout(x: Any, keep: Any, *, p: float = 0.5) -> Any:
    """keep * x / (1 - p): drop units at random, scale up the rest so that the mean stays.

    Args:
        x: activations, any shape.
        keep: the mask, x's shape, 1 or True with probability 1 - p.
        p: probability to drop, in [0, 1).

    Returns:
        x's shape and dtype.

    Source: article section 3.3; Srivastava et al. 2014.
    """
    return np.where(keep, x / (1 - p), 0)
