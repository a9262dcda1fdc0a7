"""Activations of a transformer's feed-forward layers: GELU, exact and by tanh, SiLU, and SwiGLU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .ledger import equation
from .lstm import sigmoid

_TEST = "tests/formulas/test_activations.py::"
_GELU = "Hendrycks & Gimpel 2016, Gaussian Error Linear Units"

# Chebyshev coefficients of (1 + 2z) exp(z^2) erfc(z) in t = (z - 4) / (z + 4), which takes z >= 0 to
# [-1, 1): computed with 40 digits from 100 Chebyshev nodes. What follows the last is below 4e-17.
_CHEBYSHEV = (
    1.1774832005374487, -0.0072607966203019, -0.081265123236184998, 0.06009212804122225,
    -0.02875393558027666, 0.01059566336347286, -0.0031369272945542642, 0.0007456494372536184,
    -0.00013696965030100541, 1.7183861600300937e-05, -7.1583646234503469e-07, -2.4261399442449532e-07,
    5.5765709395703564e-08, -2.1057869513809495e-09, -1.1717889351884957e-09, 1.9098355172456688e-10,
    1.4088717642081930e-11, -6.901108320480815e-12, 9.167958364111293e-14, 2.1454508286554530e-13,
    -1.4716575027010624e-14, -6.668675118770408e-15, 7.50459850988008e-16, 2.2200930066663200e-16)


def _scaled_erfc(z: Any) -> Any:
    """exp(z^2) erfc(z) = 2 / sqrt(pi) times the integral of exp(z^2 - u^2) from z on, for z >= 0.

    It is P(t) / (1 + 2z), with P smooth and near 1 for every z, so a Chebyshev series of 24 terms (13 in
    float32) has all digits, in the tail too.

    Source: the form is that of Shepherd & Laframboise 1981; Clenshaw 1955 for the sum.
    """
    smallest = float(np.finfo(z.dtype).eps) / 8
    terms = [a for a in _CHEBYSHEV if abs(a) > smallest]
    t = 1 - 8 / (z + 4)
    twice_t, b, after = 2 * t, 0.0 * t, 0.0 * t
    for a in reversed(terms[1:]):
        b, after = a + twice_t * b - after, b
    return (terms[0] + t * b - after) / (1 + 2 * z)


@equation(
    "-", r"\Phi(x) = \frac{1}{\sqrt{2\pi}}\int_{-\infty}^{x} e^{-u^2/2}\,du"
    r" = \tfrac12\,\mathrm{erfc}\left(-x/\sqrt 2\right)",
    title="cumulative normal distribution", title_zh="标准正态分布函数",
    symbols={"x": "any real number", "erfc": "complementary error function"},
    symbols_zh={"x": "任意实数", "erfc": "互补误差函数"},
    example=lambda rng: (2 * rng.standard_normal(6),), fused="minillm.autograd.fused:gelu",
    source=_GELU + "; approximation: Shepherd & Laframboise 1981",
    test=_TEST + "test_normal_cdf_to_the_last_digits", lesson="07_attention_and_transformer")
def normal_cdf(x: Any) -> Any:
    """Phi(x): the chance that a normal number of mean 0 and variance 1 is below x.

    Args:
        x: any shape, float.

    Returns:
        x's shape and dtype, in [0, 1], relative error of a few roundings: for negative x too, where
        (1 + erf(x / sqrt 2)) / 2 has none of its digits left below -8.

    Source: Hendrycks & Gimpel 2016; the approximation has the form of Shepherd & Laframboise 1981.
    """
    negative = x < 0
    z = np.where(negative, -x, x)  # not np.absolute, whose derivative at 0 is 0: Phi's is not
    # x^2 itself would be rounded, and its exponential be wrong by x^2 roundings: with n near z and n^2
    # exact, z^2 = n^2 + (z - n)(z + n)
    n = np.rint(z * 16) / 16
    exp = np.exp(-0.5 * n * n) * np.exp(-0.5 * (z - n) * (z + n))  # e^(-x^2 / 2)
    tail = 0.5 * exp * _scaled_erfc(z * math.sqrt(0.5))
    return np.where(negative, tail, 1 - tail)


@equation(
    "-", r"\mathrm{GELU}(x) = x\,\Phi(x) = \frac{x}{2}\left(1 + \mathrm{erf}\frac{x}{\sqrt 2}\right)",
    title="GELU", title_zh="GELU 激活函数（精确）",
    symbols={"x": "any real number", "Phi": "cumulative normal distribution"},
    symbols_zh={"x": "任意实数", "Phi": "标准正态分布函数"},
    example=lambda rng: (2 * rng.standard_normal(6),), source=_GELU, fused="minillm.autograd.fused:gelu",
    test=_TEST + "test_gelu_to_the_last_digits", lesson="07_attention_and_transformer")
def gelu(x: Any) -> Any:
    """x Phi(x): x, weighted by the chance that a normal number is below it.

    Args:
        x: any shape, float.

    Returns:
        x's shape and dtype, at least -0.17.

    Source: Hendrycks & Gimpel 2016, Gaussian Error Linear Units.
    """
    return x * normal_cdf(x)


@equation(
    "-", r"\mathrm{GELU}(x) \approx \frac{x}{2}\left(1 + \tanh\left(\sqrt{2/\pi}\,"
    r"(x + 0.044715\,x^3)\right)\right)",
    title="GELU by tanh", title_zh="GELU 激活函数（tanh 近似）",
    symbols={"x": "any real number"}, symbols_zh={"x": "任意实数"},
    example=lambda rng: (2 * rng.standard_normal(6),), source=_GELU,
    fused="minillm.autograd.fused:gelu_tanh", test=_TEST + "test_gelu_tanh_against_torch",
    lesson="07_attention_and_transformer")
def gelu_tanh(x: Any) -> Any:
    """GELU with tanh in place of the normal distribution, as in GPT-2: within 5e-4 of the exact one.

    Args:
        x: any shape, float.

    Returns:
        x's shape and dtype, at least -0.17.

    Source: Hendrycks & Gimpel 2016, Gaussian Error Linear Units.
    """
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * (x * x))))


@equation(
    "-", r"\mathrm{SiLU}(x) = x\,\sigma(x) = \frac{x}{1 + e^{-x}}",
    title="SiLU", title_zh="SiLU 激活函数",
    symbols={"x": "any real number", "sigma": "sigmoid"},
    symbols_zh={"x": "任意实数", "sigma": "sigmoid 函数"},
    example=lambda rng: (rng.standard_normal(6),), test=_TEST + "test_silu_against_torch",
    source="Elfwing, Uchibe & Doya 2018; as swish: Ramachandran, Zoph & Le 2017", lesson="17_real_weights")
def silu(x: Any) -> Any:
    """x sigma(x): a smooth relu, also called swish.

    Args:
        x: any shape, float.

    Returns:
        x's shape and dtype, at least -0.28.

    Source: Elfwing, Uchibe & Doya 2018; as swish: Ramachandran, Zoph & Le 2017.
    """
    return x * sigmoid(x)


@equation(
    "-", r"\mathrm{SwiGLU}(g, u) = \mathrm{SiLU}(g) \odot u",
    title="SwiGLU", title_zh="SwiGLU 门控单元",
    symbols={"g": "gate, x W_gate", "u": "what is let through, x W_up"},
    symbols_zh={"g": "门，即 x W_gate", "u": "受门控制的量，即 x W_up"},
    example=lambda rng: tuple(rng.standard_normal((2, 3, 4))), test=_TEST + "test_swiglu_by_hand",
    fused="minillm.autograd.fused:swiglu", source="Shazeer 2020, GLU Variants Improve Transformer",
    lesson="17_real_weights")
def swiglu(x_gate: Any, x_up: Any) -> Any:
    """silu(x_gate) x_up: a linear map of the input, let through by a gate that is one too.

    Args:
        x_gate: (..., F), the input times the gate's kernel.
        x_up: (..., F), the input times the other kernel.

    Returns:
        (..., F); the feed-forward layer multiplies it with a third kernel (F, C).

    Source: Shazeer 2020, GLU Variants Improve Transformer.
    """
    return silu(x_gate) * x_up
