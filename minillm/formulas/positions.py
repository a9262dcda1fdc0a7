"""Where a token stands, in sines and cosines: added to its vector, or by turning queries and keys.

Rotary positions turn a query and a key by their positions, so that their product sees the distance.
Which two numbers of a head make a pair: here, as in Llama and Hugging Face's models, number i goes with
i + d/2 (the two halves). Su et al. write neighbours, 2i with 2i + 1 (interleaved); GPT-J and GGUF's Llama
weights have those. The two differ by a fixed order of the head's numbers, which weights can be put into.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation

_TEST = "tests/formulas/test_positions.py::"
_SOURCE = "Su et al. 2021, RoFormer, section 3.2.2"


@equation(
    "-", r"\theta_{t,i} = t\,b^{-2i/d},\quad i = 0, \dots, \tfrac{d}{2} - 1",
    title="angles of rotary positions", title_zh="旋转位置编码的角度",
    symbols={"t": "position", "b": "base", "d": "size of a head", "i": "pair of numbers"},
    symbols_zh={"t": "位置", "b": "底数", "d": "每个注意力头的维数", "i": "数对的编号"},
    example=lambda rng: (rng.uniform(0, 9, 3), 6), source=_SOURCE,
    test=_TEST + "test_rope_angles_by_hand", lesson="17_real_weights")
def rope_angles(positions: Any, d: int, base: float = 10000.0) -> Any:
    """By which angle each pair of numbers of a head turns: theta_ti = t base^(-2i/d).

    Pair 0 turns by one radian a position, the last pair by nearly 1 / base.

    Args:
        positions: (...), floats: t = 0, 1, ... (in float32 an angle has float32's digits, as in Hugging
            Face's models: at position 4000 it is right to 2e-4).
        d: size of a head, even.
        base: > 1; Llama 2 has 10000, Llama 3 500000.

    Returns:
        (..., d/2), in radians, in positions' dtype.

    Source: Su et al. 2021, RoFormer, section 3.2.2.
    """
    t = np.broadcast_to(np.expand_dims(positions, -1), (*positions.shape, d // 2))  # (..., d/2)
    i = np.cumsum(np.ones_like(t, float), axis=-1) - 1  # 0, 1, ..., wherever t's memory is
    return t * (base ** (-2 * i / d)).astype(t.dtype)  # rounded once, since t multiplies the error


@equation(
    "-", r"\begin{pmatrix} y_i \\ y_{i+d/2} \end{pmatrix} = \begin{pmatrix} \cos\theta_i & -\sin\theta_i \\ "
    r"\sin\theta_i & \cos\theta_i \end{pmatrix} \begin{pmatrix} x_i \\ x_{i+d/2} \end{pmatrix}",
    title="rotation of pairs", title_zh="成对旋转",
    symbols={"x": "query or key of a head", "theta_i": "angle of pair i", "d": "size of a head"},
    symbols_zh={"x": "一个注意力头的查询或键", "theta_i": "第 i 个数对的旋转角", "d": "每个注意力头的维数"},
    example=lambda rng: (rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 2)),
                         rng.standard_normal((3, 2))),
    source=_SOURCE, fused="minillm.autograd.fused:rotate_pairs", test=_TEST + "test_rotate_pairs_by_hand",
    lesson="17_real_weights")
def rotate_pairs(x: Any, cos: Any, sin: Any) -> Any:
    """Turn each pair (x_i, x_(i + d/2)) by its angle.

        y_i       = x_i cos_i - x_(i + d/2) sin_i
        y_(i+d/2) = x_i sin_i + x_(i + d/2) cos_i

    The gradient is the rotation back. A model makes the two tables once and hands them to all its layers.

    Args:
        x: (..., T, d), d even.
        cos, sin: (..., T, d/2), of the angles, one row a position.

    Returns:
        x's shape; every pair keeps its length.

    Source: Su et al. 2021, RoFormer, section 3.2.2.
    """
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]  # each (..., T, d/2)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)  # (..., T, d)


@equation(
    "-", r"\mathrm{rope}(x, t) = R(t)\,x,\quad "
    r"\langle \mathrm{rope}(q, t), \mathrm{rope}(k, s) \rangle = \langle q, R(s - t)\,k \rangle",
    title="rotary position embedding", title_zh="旋转位置编码",
    symbols={"x": "query or key of a head", "t, s": "positions", "R": "rotation of all pairs",
             "q": "query", "k": "key"},
    symbols_zh={"x": "一个注意力头的查询或键", "t, s": "位置", "R": "旋转所有数对的矩阵",
                "q": "查询", "k": "键"},
    example=lambda rng: (rng.standard_normal((2, 3, 4)), np.array([5, 0, 2])), source=_SOURCE,
    test=_TEST + "test_rope_against_complex_numbers", lesson="07_attention_and_transformer")
def rope(x: Any, positions: Any, base: float = 10000.0) -> Any:
    """Queries or keys turned by their positions, half-split: number i goes with number i + d/2.

    The product of a query at t and a key at s depends on s - t alone.

    Args:
        x: (..., T, d), d even: queries or keys of heads.
        positions: (T,) or whatever broadcasts to x's (..., T), integers; not all of a batch need begin at 0.
        base: of the angles, > 1 (see `rope_angles`).

    Returns:
        x's shape and dtype.

    Raises:
        ValueError: d is odd.

    Source: Su et al. 2021, RoFormer, section 3.2.2; the halves are Hugging Face's.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"x must have an even last axis, for its pairs, not {x.shape[-1]}")
    theta = rope_angles(positions.astype(x.dtype), x.shape[-1], base)  # (..., T, d/2)
    return rotate_pairs(x, np.cos(theta), np.sin(theta))


@equation(
    "-", r"e_{t,2i} = \sin\theta_{t,i},\quad e_{t,2i+1} = \cos\theta_{t,i},\quad \theta_{t,i} = t\,b^{-2i/d}",
    title="sinusoidal positions", title_zh="正弦位置编码",
    symbols={"t": "position", "b": "base", "d": "width of the vector", "i": "pair of numbers"},
    symbols_zh={"t": "位置", "b": "底数", "d": "向量的维数", "i": "数对的编号"},
    example=lambda rng: (rng.uniform(0, 9, 3), 6), source="Vaswani et al. 2017, section 3.5",
    test=_TEST + "test_sinusoidal_positions_by_hand", lesson="07_attention_and_transformer")
def sinusoidal_positions(positions: Any, d: int, base: float = 10000.0) -> Any:
    """A vector for each position: sines and cosines of wavelengths from 2 pi to nearly 2 pi base.

        e_(t, 2i) = sin(t base^(-2i/d)),   e_(t, 2i+1) = cos(t base^(-2i/d))

    The vector of t + n is that of t, each pair turned by an angle that depends on n alone.

    Args:
        positions: (...), floats: t = 0, 1, ...
        d: width of the vector, even.
        base: > 1.

    Returns:
        (..., d), in [-1, 1], in positions' dtype.

    Raises:
        ValueError: d is odd.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if d % 2:
        raise ValueError(f"d = {d} must be even: a sine and a cosine for each wavelength")
    theta = rope_angles(positions, d, base)  # (..., d/2)
    return np.reshape(np.stack([np.sin(theta), np.cos(theta)], axis=-1), (*positions.shape, d))
