"""The dense layer (article 5.1): a linear map and a shift."""

from __future__ import annotations

from typing import Any

from .ledger import equation


@equation(
    "5.1", r"y = x W + b",
    title="dense layer", title_zh="全连接层", lesson="06_embedding_lstm_dense",
    symbols={"x": "input", "W": "kernel", "b": "bias"},
    symbols_zh={"x": "输入", "W": "权重矩阵", "b": "偏置"},
    example=lambda rng: (rng.standard_normal((3, 4)), rng.standard_normal((4, 2)), rng.standard_normal(2)),
    test="tests/formulas/test_linear.py::test_linear_by_hand", fused="minillm.autograd.fused:linear",
    source="article section 5.1 (Dense)")
def linear(x: Any, W: Any, b: Any = None) -> Any:
    """x W + b.

    Args:
        x: (..., D).
        W: (D, E).
        b: (E,), or None: no shift.

    Returns:
        (..., E).

    Source: article section 5.1 (Dense).
    """
    return x @ W if b is None else x @ W + b
