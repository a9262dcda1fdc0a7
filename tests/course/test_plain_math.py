"""Formulas as plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.course.plain_math import plain_formulas, plain_math


@pytest.mark.parametrize(("latex", "plain"), [
    (r"\frac{\partial L}{\partial x_i} = 2 x_i / n", "∂L/∂xᵢ = 2 xᵢ / n"),
    (r"\hat{m}_t = \frac{m_t}{1 - \beta_1^t}", "m̂ₜ = mₜ/(1 - β₁ᵗ)"),
    (r"L = -\frac{1}{N}\sum_{i=1}^N \log p_{i, y_i}", "L = -1/N Σᵢ₌₁^N log p_(i, yᵢ)"),
    (r"\sqrt{\hat v_t} + \epsilon", "√v̂ₜ + ε"), (r"\left(\frac{a+b}{c}\right)^2", "((a+b)/c)²"),
    (r"\frac{y}{2h}, \quad z", "y/(2h), \u2003z"), (r"A \in \mathbb{R}^{n \times d}", "A ∈ R^(n × d)"),
    (r"\text{softmax}(z)", "softmax(z)"), (r"\foo x", "foo x"),
    (r"c_{\max}", "c_max"), (r"\lambda_{\max}(A) x_{ij}", "λ_max(A) xᵢⱼ"), (r"\max_i z_i", "maxᵢ zᵢ"),
    (r"1 - \tanh^2 c_t", "1 - tanh² cₜ"), (r"\sum( \tanh (x))", "Σ(tanh(x))"), (r"\alpha < 2/c", "α < 2/c"),
    (r"\kappa = c", "κ = c"), (r"\theta^* - 1", "θ^* - 1"), (r"\alpha - \beta = -b", "α - β = -b"),
    (r"x =\alpha", "x = α"),
    (r"-\log p", "-log p"), (r"\frac{\log x}{n}", "(log x)/n"), (r"\operatorname{std}= 1", "std = 1"),
    (r"\log\left(x\right)", "log(x)"), (r"a\log b", "a log b"), (r"\argmax_\theta L", "argmax_θ L"),
    (r"i:=\tau", "i:=τ"), (r"a \le b", "a ≤ b"), (r"e^{z_j}", "e^(zⱼ)"),
])
def test_formulas(latex, plain):
    assert plain_math(latex) == plain


@given(st.text(r"\{}^_ ab1+frchtsq&", max_size=30))
def test_anything_can_be_read(latex):
    assert isinstance(plain_math(latex), str)


def test_code_is_left_alone():
    text = "`$x$` is $x^2$\n```\n$y_1$\n```\n$$z_1$$"
    assert plain_formulas(text) == "`$x$` is x²\n```\n$y_1$\n```\n\n    z₁\n\n"
