"""SGD, Adam and AdamW, in place. Each equals its formula in `minillm.formulas` bit for bit.

The letters are the formulas' letters; `a` and `b` are scratch, or None on a GPU (`out=None` makes a new
array). An update is written as the formula's own operations in the formula's order, only with somewhere
to put the result. On a GPU Adam is one launch of `kernels.adam_step`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minillm.autograd.fused.registry import kernel, register

from .optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent (article 4.2), with momentum if wanted.

        u_t = mu u_{t-1} + g_t
        theta_{t+1} = theta_t - alpha u_t             or, Nesterov, theta_t - alpha (g_t + mu u_t)

    Args:
        params, lr, l1, l2, schedule: see `Optimizer`.
        momentum: mu in [0, 1); 0 is plain gradient descent.
        nesterov: look ahead along the velocity; needs momentum.

    Raises:
        TypeError, ValueError: see `Optimizer`; an option is out of range.

    Source: article section 4.2; Sutskever et al. 2013. Formulas: `gradient_descent_step`,
    `momentum_step`.
    """

    option_names = ("momentum", "nesterov")

    def __init__(self, params: Iterable[Any], lr: float = 0.01, *, momentum: float = 0.0,
                 nesterov: bool = False, **common: Any) -> None:
        params = list(params)
        moving = momentum or any(isinstance(e, Mapping) and e.get("momentum") for e in params)
        self.buffer_names = ("velocity",) if moving else ()
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov, **common)

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        if not 0 <= options["momentum"] < 1:
            raise ValueError(f"momentum = {options['momentum']} is outside [0, 1)")
        if options["nesterov"] and not options["momentum"]:
            raise ValueError("nesterov=True needs momentum > 0")

    def _update(self, theta: Any, g: Any, *velocity: Any, a: Any,  # type: ignore[override]
                alpha: float, momentum: float, nesterov: bool, **_: Any) -> None:
        if velocity:
            u, = velocity
            u *= momentum
            u += g
            if nesterov:
                g += np.multiply(u, momentum, out=a)
            else:
                g = u
        theta -= np.multiply(g, alpha, out=a)


class Adam(Optimizer):
    """Adam as in article 4.3: epsilon outside the root, both bias corrections.

        m_t = beta1 m_{t-1} + (1 - beta1) g_t
        v_t = beta2 v_{t-1} + (1 - beta2) g_t^2
        theta_{t+1} = theta_t - alpha / (sqrt(v_t / (1 - beta2^t)) + eps) m_t / (1 - beta1^t)

    Args:
        params, lr, l1, l2, schedule: see `Optimizer`.
        beta1, beta2: in [0, 1).
        eps: > 0.
        weight_decay: lambda of the decoupled decay theta <- theta - alpha lambda theta, taken before
            the step; 0 in plain Adam.

    Raises:
        TypeError, ValueError: see `Optimizer`; an option is out of range.

    Source: article section 4.3; Kingma & Ba 2015. Formulas: `adam_step`, `decoupled_weight_decay`.
    """

    option_names = ("beta1", "beta2", "eps", "weight_decay")
    buffer_names = ("exp_avg", "exp_avg_sq")
    kernel_name = "adam"

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, *, beta1: float = 0.9,
                 beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
                 **common: Any) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
                         **common)

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        for name in ("beta1", "beta2"):
            if not 0 <= options[name] < 1:
                raise ValueError(f"{name} = {options[name]} is outside [0, 1)")
        if not options["eps"] > 0:
            raise ValueError(f"eps = {options['eps']} must be positive")
        if not options["weight_decay"] >= 0:
            raise ValueError(f"weight_decay = {options['weight_decay']} must not be negative")

    def _epsilon(self, eps: float) -> float:
        """eps at this step: the article's is constant."""
        return eps

    def _update(self, theta: Any, g: Any, m: Any, v: Any, *, a: Any, b: Any, alpha: float,  # type: ignore[override]
                beta1: float, beta2: float, eps: float, weight_decay: float, **_: Any) -> None:
        t = self.step_count
        if a is None:
            launch = kernel("adam", theta)
            if launch is not None:
                launch([theta], [g], [m], [v], t, lr=alpha, beta1=beta1, beta2=beta2, eps=self._epsilon(eps),
                       weight_decay=weight_decay)
                return
            a, b = np.empty_like(theta), np.empty_like(theta)
        if weight_decay:
            np.multiply(theta, alpha * weight_decay, out=a)
            theta -= a
        np.multiply(g, 1 - beta1, out=a)
        m *= beta1
        m += a                              # m = beta1 m + (1 - beta1) g
        np.multiply(g, g, out=a)
        a *= 1 - beta2
        v *= beta2
        v += a                              # v = beta2 v + (1 - beta2) g^2
        np.divide(m, 1 - beta1**t, out=b)   # m_hat
        np.divide(v, 1 - beta2**t, out=a)   # v_hat
        np.sqrt(a, out=a)
        a += self._epsilon(eps)
        np.divide(alpha, a, out=a)
        a *= b
        theta -= a                          # theta - alpha / (sqrt(v_hat) + eps) m_hat


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 unless said otherwise.

    Source: Loshchilov & Hutter 2019, algorithm 2. Formulas: `decoupled_weight_decay`, then `adam_step`.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, *, weight_decay: float = 0.01,
                 **options: Any) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **options)


for name, optimizer in (("sgd", SGD), ("adam", Adam)):
    register(name, optimizer._update, optimizer._update)
