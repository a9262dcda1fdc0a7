"""The LSTM (article 5.1): one cell, and the cell over a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation

_TEST = "tests/formulas/test_lstm.py::"
_FUSED = "minillm.autograd.fused:lstm"
_SYMBOLS = {"x_t": "input at step t", "h_t": "hidden state", "c_t": "cell state", "W": "input kernel",
            "U": "recurrent kernel", "b": "bias", "i_t, f_t, o_t": "input, forget and output gate",
            "g_t": "candidate", "sigma": "sigmoid", r"\odot": "elementwise product"}
_SYMBOLS_ZH = {"x_t": "第 t 步的输入", "h_t": "隐藏状态", "c_t": "细胞状态", "W": "输入的权重矩阵",
               "U": "循环连接的权重矩阵", "b": "偏置", "i_t, f_t, o_t": "输入门、遗忘门、输出门",
               "g_t": "候选值", "sigma": "sigmoid 函数", r"\odot": "逐元素乘积"}


@equation(
    "-", r"\sigma(x) = \frac{1}{1 + e^{-x}} = \tfrac12\left(1 + \tanh\tfrac{x}{2}\right)",
    title="sigmoid", title_zh="Sigmoid 函数", lesson="06_embedding_lstm_dense",
    symbols={"x": "any real number"}, symbols_zh={"x": "任意实数"},
    example=lambda rng: (rng.standard_normal(6),), test=_TEST + "test_sigmoid_of_large_numbers",
    source="Hochreiter & Schmidhuber 1997, appendix A", fused=_FUSED)
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), as a halved tanh, which overflows for no x.

    Args:
        x: any shape, float.

    Returns:
        x's shape, in [0, 1].

    Source: Hochreiter & Schmidhuber 1997.
    """
    return 0.5 * (1 + np.tanh(0.5 * x))


def _example(rng: np.random.Generator, *x_shape: int) -> tuple[np.ndarray, ...]:
    B, D, H = x_shape[0], x_shape[-1], 3
    shapes = [x_shape, (B, H), (B, H), (D, 4 * H), (H, 4 * H), (4 * H,)]
    return tuple(rng.standard_normal(s) for s in shapes)


@equation(
    "5.1",
    r"(i_t, f_t, g_t, o_t) = (\sigma, \sigma, \tanh, \sigma)(x_t W + h_{t-1} U + b) \\ "
    r"c_t = f_t \odot c_{t-1} + i_t \odot g_t \\ h_t = o_t \odot \tanh c_t",
    title="LSTM cell", title_zh="LSTM 单元", symbols=_SYMBOLS, symbols_zh=_SYMBOLS_ZH,
    fused=_FUSED, lesson="06_embedding_lstm_dense",
    example=lambda rng: _example(rng, 2, 4), test=_TEST + "test_cell_against_torch",
    source="article section 5.1; Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000")
def lstm_cell(x: Any, h: Any, c: Any, W: Any, U: Any, b: Any) -> tuple[Any, Any]:
    """One step of an LSTM, gates in Keras's order i, f, g, o.

        i = sigma(x W_i + h U_i + b_i)      input gate: what to write
        f = sigma(x W_f + h U_f + b_f)      forget gate: what to keep
        g = tanh (x W_g + h U_g + b_g)      candidate
        o = sigma(x W_o + h U_o + b_o)      output gate: what to show
        c_t = f * c + i * g
        h_t = o * tanh(c_t)

    Args:
        x: (B, D), the input.
        h, c: (B, H), hidden and cell state before the step.
        W: (D, 4H). U: (H, 4H). b: (4H,).

    Returns:
        (h_t, c_t), each (B, H).

    Source: article section 5.1; Hochreiter & Schmidhuber 1997; Gers et al. 2000.
    """
    z = x @ W + h @ U + b  # (B, 4H)
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)  # each (B, H)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
    c = f * c + i * g
    h = o * np.tanh(c)
    return h, c


@equation(
    "5.1", r"(h_t, c_t) = \mathrm{LSTM}(x_t, h_{t-1}, c_{t-1}),\quad t = 1, \dots, T",
    title="LSTM over a sequence", title_zh="序列上的 LSTM", symbols=_SYMBOLS, symbols_zh=_SYMBOLS_ZH,
    fused=_FUSED, lesson="06_embedding_lstm_dense",
    example=lambda rng: _example(rng, 2, 3, 4), test=_TEST + "test_sequence_is_the_cell_repeated",
    source="article section 5.1")
def lstm(x: Any, h0: Any, c0: Any, W: Any, U: Any, b: Any) -> tuple[Any, Any]:
    """`lstm_cell` along a sequence.

    Args:
        x: (B, T, D).
        h0, c0: (B, H), the state before the sequence.
        W: (D, 4H). U: (H, 4H). b: (4H,).

    Returns:
        (hs, c): hidden states of all steps (B, T, H), and the last cell state (B, H).

    Source: article section 5.1.
    """
    T, H = x.shape[1], U.shape[0]
    h, c, hs = h0, c0, []
    for t in range(T):
        h, c = lstm_cell(x[:, t], h, c, W, U, b)
        hs.append(h)
    return (np.stack(hs, axis=1) if hs else x @ W[:, :H]), c  # (B, T, H), (B, H)
