"""Update rules: gradient descent (article 4.2), Adam (article 4.3) and their common companions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ledger import equation

_TEST = "tests/formulas/test_optimizers.py::"
_ADAM_KERNELS = ("kernels.triton.adam:update", "kernels.cuda.adam:update")


def _vectors(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    return tuple(rng.standard_normal(6) for _ in range(n))


@equation(
    "4.2", r"\theta_{t+1} = \theta_t - \alpha \nabla L(\theta_t)",
    title="gradient descent", title_zh="梯度下降",
    symbols={"theta_t": "parameters at step t", "alpha": "learning rate",
             "nabla L(theta_t)": "gradient of the loss"},
    symbols_zh={"theta_t": "第 t 步的参数", "alpha": "学习率", "nabla L(theta_t)": "损失函数关于参数的梯度"},
    fused="minillm.optim:SGD", source="article section 4.2", lesson="03_gradient_descent",
    example=lambda rng: _vectors(rng, 2), test=_TEST + "test_gradient_descent_by_hand")
def gradient_descent_step(theta: Any, g: Any, *, alpha: float = 0.01) -> Any:
    """One step against the gradient.

        theta_{t+1} = theta_t - alpha g,   g = dL/dtheta (theta_t)

    Args:
        theta: parameters, any shape.
        g: gradient, theta's shape.
        alpha: learning rate, > 0.

    Returns:
        The new theta.

    Source: article section 4.2.
    """
    return theta - alpha * g


@equation(
    "-", r"u_t = \mu u_{t-1} + g_t,\quad \theta_{t+1} = \theta_t - \alpha u_t"
    r"\quad(\text{Nesterov: } \theta_t - \alpha(g_t + \mu u_t))",
    title="gradient descent with momentum", title_zh="动量梯度下降",
    symbols={"u_t": "velocity", "mu": "momentum", "g_t": "gradient", "alpha": "learning rate"},
    symbols_zh={"u_t": "速度", "mu": "动量系数", "g_t": "梯度", "alpha": "学习率"},
    source="Sutskever et al. 2013, section 2, in torch.optim.SGD's form",
    fused="minillm.optim:SGD", lesson="03_gradient_descent",
    example=lambda rng: _vectors(rng, 3), test=_TEST + "test_momentum_against_torch")
def momentum_step(theta: Any, g: Any, u: Any, *, alpha: float = 0.01, mu: float = 0.9,
                  nesterov: bool = False) -> tuple[Any, Any]:
    """One step of gradient descent with momentum.

        u_t = mu u_{t-1} + g_t
        theta_{t+1} = theta_t - alpha u_t            (plain)
        theta_{t+1} = theta_t - alpha (g_t + mu u_t)  (Nesterov)

    Args:
        theta, g, u: parameters, gradient, velocity (0 before the first step); one shape.
        alpha: learning rate, > 0.
        mu: momentum in [0, 1).
        nesterov: look ahead along the velocity.

    Returns:
        (theta, u), both new.

    Source: Sutskever et al. 2013, section 2.
    """
    u = mu * u + g
    direction = g + mu * u if nesterov else u
    return theta - alpha * direction, u


@equation(
    "4.3",
    r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t \\ "
    r"v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\ "
    r"\hat{m}_t = \frac{m_t}{1 - \beta_1^t} \\ "
    r"\hat{v}_t = \frac{v_t}{1 - \beta_2^t} \\ "
    r"\theta_{t+1} = \theta_t - \frac{\alpha}{\sqrt{\hat{v}_t} + \epsilon} \hat{m}_t",
    title="Adam", title_zh="Adam 优化器",
    symbols={"m_t": "estimate of the gradient's first moment", "v_t": "of its second moment",
             "beta_1, beta_2": "momentum parameters", "g_t": "gradient at step t", "alpha": "learning rate",
             "epsilon": "small positive number against division by zero"},
    symbols_zh={"m_t": "梯度的一阶矩的估计值", "v_t": "梯度的二阶矩的估计值", "beta_1, beta_2": "动量参数",
                "g_t": "第 t 步的梯度", "alpha": "学习率", "epsilon": "很小的正数，防止除以零"},
    fused="minillm.optim:Adam", kernels=_ADAM_KERNELS, lesson="04_adam",
    source="article section 4.3; Kingma & Ba 2015, algorithm 1",
    example=lambda rng: (*_vectors(rng, 3), rng.uniform(0.5, 2, 6), 3),
    test=_TEST + "test_adam_by_hand")
def adam_step(theta: Any, g: Any, m: Any, v: Any, t: int, *, alpha: float = 1e-3, beta1: float = 0.9,
              beta2: float = 0.999, eps: float = 1e-8) -> tuple[Any, Any, Any]:
    """One step of Adam, line by line as in the article; eps stands outside the root.

        m_t = beta1 m_{t-1} + (1 - beta1) g_t
        v_t = beta2 v_{t-1} + (1 - beta2) g_t^2
        m_hat = m_t / (1 - beta1^t)
        v_hat = v_t / (1 - beta2^t)
        theta_{t+1} = theta_t - alpha / (sqrt(v_hat) + eps) m_hat

    Args:
        theta, g, m, v: parameters, gradient, first and second moment (0 before step 1); one shape.
        t: the step, counted from 1.
        alpha: learning rate, > 0.
        beta1, beta2: decay of the moments, in [0, 1).
        eps: > 0, in units of the gradient.

    Returns:
        (theta, m, v), all new.

    Source: article section 4.3; Kingma & Ba 2015.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat
    return theta, m, v


@equation(
    "-", r"\bar v_t = \max(\bar v_{t-1}, v_t),\quad "
    r"\theta_{t+1} = \theta_t - \frac{\alpha}{\sqrt{\bar v_t / (1 - \beta_2^t)} + \epsilon}\hat m_t",
    title="AMSGrad", title_zh="AMSGrad 优化器",
    symbols={"v_bar": "the largest second moment so far", "m_hat": "the first moment, corrected, as in Adam",
             "alpha": "learning rate", "beta_1, beta_2": "momentum parameters", "epsilon": "as in Adam"},
    symbols_zh={"v_bar": "到目前为止最大的二阶矩", "m_hat": "偏差修正后的一阶矩，与 Adam 相同",
                "alpha": "学习率", "beta_1, beta_2": "动量参数", "epsilon": "与 Adam 相同"},
    source="Reddi, Kale & Kumar 2018, algorithm 2, with Adam's corrections as in torch.optim.Adam",
    kernels=_ADAM_KERNELS,
    example=lambda rng: (*_vectors(rng, 3), rng.uniform(0.5, 2, 6), rng.uniform(0.5, 2, 6), 3),
    test=_TEST + "test_amsgrad_against_torch")
def amsgrad_step(theta: Any, g: Any, m: Any, v: Any, v_bar: Any, t: int, *, alpha: float = 1e-3,
                 beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> tuple[Any, Any, Any, Any]:
    """One step of Adam whose denominator never shrinks.

        m_t, v_t as in `adam_step`
        v_bar_t = max(v_bar_{t-1}, v_t)
        theta_{t+1} = theta_t - alpha / (sqrt(v_bar_t / (1 - beta2^t)) + eps) m_hat

    Args:
        theta, g, m, v, v_bar: parameters, gradient, moments, largest v so far (0 at first); one shape.
        t: the step, counted from 1.
        alpha: learning rate, > 0.
        beta1, beta2: decay of the moments, in [0, 1).
        eps: > 0, in units of the gradient.

    Returns:
        (theta, m, v, v_bar), all new.

    Source: Reddi, Kale & Kumar 2018, algorithm 2.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    v_bar = np.maximum(v_bar, v)
    m_hat = m / (1 - beta1**t)
    v_hat = v_bar / (1 - beta2**t)
    theta = theta - alpha / (np.sqrt(v_hat) + eps) * m_hat
    return theta, m, v, v_bar


@equation(
    "-", r"\lVert g\rVert_2 = \sqrt{\sum_k \sum_i g_{ki}^2}",
    title="global gradient norm", title_zh="全局梯度范数",
    symbols={"g_k": "gradient of the k-th parameter array", "g_ki": "its i-th element"},
    symbols_zh={"g_k": "第 k 个参数数组的梯度", "g_ki": "该梯度的第 i 个元素"},
    fused="minillm.optim:clip_grad_norm", source="Pascanu, Mikolov & Bengio 2013, algorithm 1",
    # The rows of a matrix are a sequence of arrays, and one argument to differentiate.
    example=lambda rng: (rng.standard_normal((3, 4)),), test=_TEST + "test_clip_by_norm",
    lesson="03_gradient_descent")
def global_norm(grads: Sequence[Any]) -> Any:
    """The 2-norm of all gradients taken as one vector.

        ||g|| = sqrt(sum_k sum_i g_ki^2)

    Args:
        grads: arrays of any shapes.

    Returns:
        A scalar >= 0, in the gradients' units. Its own gradient at 0 does not exist (nan).

    Source: Pascanu, Mikolov & Bengio 2013, algorithm 1.
    """
    return np.sqrt(sum(np.sum(g**2) for g in grads))


@equation(
    "-", r"s = \min\!\left(1, \frac{c}{\lVert g\rVert_2}\right),\quad g \leftarrow s\,g",
    title="gradient clipping by norm", title_zh="梯度范数裁剪",
    symbols={"g": "all gradients as one vector", "c": "largest norm allowed"},
    symbols_zh={"g": "所有梯度拼成的向量", "c": "允许的最大范数"}, lesson="03_gradient_descent",
    fused="minillm.optim:clip_grad_norm", source="Pascanu, Mikolov & Bengio 2013, algorithm 1",
    example=lambda rng: (10 * rng.standard_normal(6),), test=_TEST + "test_clip_by_norm")
def clip_by_norm(*grads: Any, max_norm: float = 1.0) -> Any:
    """Scale all gradients together so that their joint 2-norm is at most `max_norm`.

        s = min(1, max_norm / ||g||),   g <- s g

    Args:
        grads: arrays of any shapes.
        max_norm: > 0.

    Returns:
        The scaled gradients (one array, or a tuple of them).

    Source: Pascanu, Mikolov & Bengio 2013, algorithm 1.
    """
    norm = global_norm(grads)
    scale = max_norm / np.maximum(norm, max_norm)  # = min(1, max_norm / norm), also for norm 0
    clipped = tuple(scale * g for g in grads)
    return clipped[0] if len(clipped) == 1 else clipped


@equation(
    "-", r"s_t = \begin{cases} t / W & t \le W \\ "
    r"f + (1 - f)\,\frac{1}{2}\left(1 + \cos\pi\frac{\min(t, T) - W}{T - W}\right) & t > W \end{cases}",
    title="linear warmup, then half a cosine", title_zh="线性预热与余弦退火",
    symbols={"s_t": "factor on the learning rate at step t", "W": "steps of the warmup", "T": "steps in all",
             "f": "the factor at the end"},
    symbols_zh={"s_t": "第 t 步学习率的倍率", "W": "预热的步数", "T": "总步数", "f": "最终的倍率"},
    fused="minillm.optim:WarmupCosine", lesson="04_adam",
    source="Loshchilov & Hutter 2017, equation 5 (cosine); Goyal et al. 2017, section 2.2 (warmup)",
    example=lambda rng: (np.array(float(rng.integers(11, 110))), 10, 110, 0.1),
    test=_TEST + "test_warmup_cosine")
def warmup_cosine(t: Any, warmup: int, total: int, floor: float = 0.0) -> Any:
    """The factor on the learning rate at step t: a linear rise, then half a cosine down.

        t / warmup                                            for t <= warmup
        floor + (1 - floor) (1 + cos(pi s)) / 2,  s = (t - warmup) / (total - warmup)   after it

    Args:
        t: the step, counted from 1, a number; past `total` the factor stays at `floor`.
        warmup: steps of the rise, >= 0.
        total: steps in all, > warmup.
        floor: the factor at the end, in [0, 1].

    Returns:
        A factor in [0, 1].

    Source: Loshchilov & Hutter 2017 (cosine); Goyal et al. 2017, section 2.2 (warmup).
    """
    if t <= warmup:
        return t / warmup
    s = np.minimum(1.0, (t - warmup) / (total - warmup))
    return floor + (1 - floor) * (1 + np.cos(np.pi * s)) / 2
