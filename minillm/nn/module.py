"""`Module`: a piece of a model that knows its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.devices import beside, moved, to_host


def parameter(data: np.ndarray) -> Tensor:
    """A Tensor that an optimiser may change; a Module finds it among its attributes."""
    return Tensor(data, requires_grad=True)


class Module:
    """Base class of layers and models.

    Attributes that are Tensors with `requires_grad` are its parameters, attributes that are Modules
    its parts, on their own or in lists, tuples and dicts. Nothing has to be registered. Subclasses
    define `forward`.

    Attributes:
        training: True while training (dropout drops), False for evaluation.
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, part) for each Module among the attributes.

        Those in a list are named `name.0`, `name.1`, those in a dict `name.key`.
        """
        return ((name, value) for name, value in _flat(vars(self)) if isinstance(value, Module))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """(name, parameter), each once, as `layers.0.weight`; a shared one under its first name.

        Raises:
            ValueError: two parameters have one name, as those of {1: p, "1": q} would.
        """
        seen: set[int] = set()
        names: set[str] = set()
        for name, p in self._walk(prefix):
            if id(p) not in seen:
                if name in names:
                    raise ValueError(f"{type(self).__name__} has two parameters named {name}")
                seen.add(id(p))
                names.add(name)
                p.name = name
                yield name, p

    def _walk(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, value in _flat(vars(self)):
            # A computed Tensor that forward keeps to look at (attention weights, say) is no parameter.
            if isinstance(value, Tensor) and value.requires_grad and value.op is None:
                yield prefix + name, value
        for name, part in self.children():
            yield from part._walk(f"{prefix}{name}.")

    def parameters(self) -> list[Tensor]:
        return [p for _, p in self.named_parameters()]

    @property
    def n_params(self) -> int:
        """How many numbers the model learns."""
        return sum(p.size for p in self.parameters())

    def train(self, mode: bool = True) -> Module:
        """Set `training` here and in all parts; return self."""
        self.training = mode
        for _, part in self.children():
            part.train(mode)
        return self

    def eval(self) -> Module:
        return self.train(False)

    def to(self, device: str) -> Module:
        """Move all parameters, and their gradients, to a device; return self.

        Everything that is computed from them is computed there: inputs of layers have to be there too,
        but token ids and labels may stay on the CPU. An optimiser is made after the move. States and
        checkpoints hold arrays on the CPU, whatever the device.

        Args:
            device: "cpu", "cuda" or "cuda:1". A GPU needs CuPy.

        Raises:
            ValueError, ImportError, RuntimeError: no such device, no CuPy, no GPU; nothing is moved then.
        """
        found = self.parameters()
        data = [moved(p.data, device) for p in found]
        grads = [None if p.grad is None else moved(p.grad, device) for p in found]
        for p, array, grad in zip(found, data, grads, strict=True):
            p.data, p.grad = array, grad
        return self

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """name -> a copy of the parameter, on the CPU."""
        return {name: to_host(p.data).copy() for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Write `state` into the parameters, in place, after checking all of it.

        Raises:
            ValueError: names are missing or unknown, a shape differs, or an array is not of floats;
                nothing is written then.
        """
        own = dict(self.named_parameters())
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"the state does not fit {type(self).__name__}: missing {missing or 'none'}, "
                             f"unknown {unknown or 'none'}")
        for name, p in own.items():
            if np.shape(state[name]) != p.shape:
                raise ValueError(f"{name} has shape {np.shape(state[name])} in the state, "
                                 f"but {p.shape} in the model")
            if to_host(state[name]).dtype.kind != "f":
                raise ValueError(f"{name} has dtype {to_host(state[name]).dtype} in the state, "
                                 f"but {p.dtype} in the model")
        for name, p in own.items():
            p.data[...] = beside(to_host(state[name]), p.data)

    def _options(self) -> str:
        """What `repr` shows between the brackets."""
        return ""

    def __repr__(self) -> str:
        parts = [f"  ({name}): " + repr(part).replace("\n", "\n  ") for name, part in self.children()]
        inside = self._options() + ("\n" + "\n".join(parts) + "\n" if parts else "")
        return f"{type(self).__name__}({inside})"


def _flat(members: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What is in lists, tuples and dicts, at any depth, with the way to it for a name."""
    for name, value in members.items():
        if isinstance(value, list | tuple):
            yield from _flat(dict(enumerate(value)), f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
