"""Keras's optimisers: their names, options and numerics over `minillm.optim`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from minillm import optim
from minillm.autograd import Tensor

from ._names import only, pick, refuse_options

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "get"]
__getattr__ = only(__name__, __all__)


class _Adam(optim.Adam):
    """Adam with epsilon where Keras has it: beside sqrt(v_t), before the bias correction.

        theta -= alpha sqrt(1 - beta2^t) / (1 - beta1^t) m_t / (sqrt(v_t) + eps)

    which is the article's step with eps / sqrt(1 - beta2^t) in place of eps.
    """

    def _epsilon(self, eps: float) -> float:
        return eps / (1 - self.groups[0].options["beta2"]**self.step_count)**0.5

    def _update(self, theta: np.ndarray, *buffers: np.ndarray, alpha: float, beta1: float,  # type: ignore[override]
                beta2: float, **rest: Any) -> None:
        # Keras takes both corrections in the weights' own dtype. In float32 1 - 0.999 is 1.3e-5 too
        # small, which shows in the losses after some steps; so it is done here too.
        t = theta.dtype.type(self.step_count)
        exact = (1 - beta2**self.step_count)**0.5 / (1 - beta1**self.step_count)
        keras = float((1 - beta2**t)**0.5 / (1 - beta1**t))
        super()._update(theta, *buffers, alpha=alpha * keras / exact, beta1=beta1, beta2=beta2, **rest)


class Optimizer:
    """Base class: options first, parameters when a model is trained.

    Args:
        learning_rate: alpha, >= 0; the attribute may be changed between steps.
        clipnorm: largest 2-norm of each parameter's gradient.
        clipvalue: largest absolute value of a gradient's element.
        global_clipnorm: largest 2-norm of all gradients together.

    Raises:
        ValueError: more than one kind of clipping, or an option out of range.
    """

    _rule: ClassVar[Callable[..., optim.Optimizer]]
    _fixed: ClassVar[dict[str, Any]] = {
        "use_ema": False, "loss_scale_factor": None, "gradient_accumulation_steps": None, "amsgrad": False}

    def __init__(self, learning_rate: float, known: Sequence[str], settings: dict[str, Any], *,
                 clipnorm: float | None = None, clipvalue: float | None = None,
                 global_clipnorm: float | None = None, name: str | None = None, **options: Any) -> None:
        owner = type(self).__name__
        clipping = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        refuse_options(owner, options, self._fixed, ["learning_rate", *known, *clipping])
        if not isinstance(learning_rate, int | float | np.number):
            raise TypeError(f"learning_rate is a number, not {learning_rate!r:.60}")
        chosen = {k: v for k, v in clipping.items() if v is not None}
        if len(chosen) > 1:
            raise ValueError(f"only one kind of clipping at a time, not {' and '.join(chosen)}")
        for option, value in chosen.items():
            if not value > 0:
                raise ValueError(f"{option} = {value} must be positive")
        self.name = name or owner.lower()
        self.learning_rate = float(learning_rate)
        self._settings, self._clipping = settings, chosen
        self._inner: optim.Optimizer | None = None
        self._make([Tensor(np.zeros(1), requires_grad=True)])  # options out of range fail here and now

    def _make(self, params: list[Tensor]) -> optim.Optimizer:
        return type(self)._rule(params, self.learning_rate, **self._settings)

    @property
    def iterations(self) -> int:
        """How many steps have been taken."""
        return 0 if self._inner is None else self._inner.step_count

    def apply(self, params: list[Tensor]) -> None:
        """One step on `params`, from their `.grad`.

        Raises:
            ValueError: the optimiser already works on other parameters.
        """
        if self._inner is None:
            self._inner, self._params = self._make(params), params
        if len(self._params) != len(params) or any(a is not b for a, b in zip(self._params, params)):
            raise ValueError(f"this {type(self).__name__} already trains another model: make a new one")
        for kind, limit in self._clipping.items():
            if kind == "clipvalue":
                for p in params:
                    if p.grad is not None:
                        np.clip(p.grad, -limit, limit, out=p.grad)
            else:
                for together in [params] if kind == "global_clipnorm" else [[p] for p in params]:
                    optim.clip_grad_norm(together, limit)
        for group in self._inner.groups:
            group.options["lr"] = self.learning_rate
        self._inner.step()


class SGD(Optimizer):
    """Gradient descent (article 4.2), with momentum if wanted: see `minillm.optim.SGD`.

    Args:
        learning_rate: alpha.
        momentum: in [0, 1).
        nesterov: look ahead along the velocity.
        clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    Source: article section 4.2. Keras scales its velocity by alpha; for a constant alpha that is the
    same sequence of weights.
    """

    _rule = optim.SGD
    _fixed: ClassVar[dict[str, Any]] = {**Optimizer._fixed, "weight_decay": None}

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 **options: Any) -> None:
        # Keras lets nesterov=True pass without momentum, where it changes nothing.
        super().__init__(learning_rate, ["momentum", "nesterov"],
                         {"momentum": momentum, "nesterov": nesterov and momentum > 0}, **options)


class Adam(Optimizer):
    """Adam (article 4.3) with Keras's defaults and Keras's place for epsilon.

        theta -= alpha sqrt(1 - beta2^t) / (1 - beta1^t) m_t / (sqrt(v_t) + epsilon)

    Args:
        learning_rate: alpha.
        beta_1, beta_2: in [0, 1).
        epsilon: > 0.
        weight_decay: decoupled decay, theta -= alpha weight_decay theta before the step.
        clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    Source: article section 4.3; Kingma & Ba 2015, the "epsilon hat" before section 2.1.
    """

    _rule = _Adam

    def __init__(self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-7, weight_decay: float | None = None, **options: Any) -> None:
        super().__init__(learning_rate, ["beta_1", "beta_2", "epsilon", "weight_decay"],
                         {"beta1": beta_1, "beta2": beta_2, "eps": epsilon,
                          "weight_decay": weight_decay or 0.0}, **options)


class AdamW(Adam):
    """Adam with decoupled weight decay (article 3.3), 0.004 unless said otherwise. Options: see `Adam`.

    Source: Loshchilov & Hutter 2019.
    """

    def __init__(self, learning_rate: float = 0.001, weight_decay: float = 0.004, beta_1: float = 0.9,
                 beta_2: float = 0.999, epsilon: float = 1e-7, **options: Any) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, **options)


_TABLE: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(identifier: Any) -> Optimizer:
    """An optimiser from its name (any case) with its defaults, or an `Optimizer`.

    Raises:
        ValueError: the name is unknown.
        TypeError: it is neither.
    """
    if isinstance(identifier, str):
        made: Optimizer = pick("optimizer", identifier.lower(), _TABLE)()
        return made
    if isinstance(identifier, Optimizer):
        return identifier
    raise TypeError(f"optimizer is a name, such as 'adam', or keras.optimizers.Adam(...), not {identifier!r}")
