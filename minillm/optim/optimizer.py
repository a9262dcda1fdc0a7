"""What all optimisers share: flat buffers, groups with options, penalties, the step count.

The buffers are arrays of the parameters' own library: of parameters on a GPU they are there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.devices import beside, to_host
from minillm.autograd.fused.registry import kernel

# Elements that are updated together: five arrays of this many floats stay in the L2 cache, so that
# an update's dozen passes go over memory once.
CHUNK = 16384

Schedule = Callable[[int], float]

# How an option of torch's is written here, where that is the same thing.
HINTS = {"betas": "write beta1=, beta2=", "learning_rate": "write lr=",
         "weight_decay": "torch's adds weight_decay * theta to the gradient, which is l2=weight_decay / 2"}


class ParamGroup:
    """Parameters that share options, laid end to end in one flat buffer.

    Attributes:
        params: the Tensors; their `data` are views into `theta` from now on.
        options: lr, l1, l2 and what the optimiser adds.
        theta, g: parameters and gradients, flat, (n,).
        buffers: the optimiser's own flat arrays, such as `exp_avg`.
    """

    def __init__(self, params: list[Tensor], options: dict[str, Any]) -> None:
        self.params = params
        self.options = options
        self.theta = np.concatenate([p.data.reshape(-1) for p in params])
        self.g = np.zeros_like(self.theta)
        self.buffers: dict[str, Any] = {}
        ends = np.cumsum([p.size for p in params])
        self._slices = [slice(end - p.size, end) for p, end in zip(params, ends, strict=True)]
        self._views = [self.theta[s].reshape(p.shape) for p, s in zip(params, self._slices, strict=True)]
        self.bind()

    def bind(self) -> None:
        """Make each parameter a view into `theta` (again, if somebody gave it another array).

        Raises:
            ValueError: the other array has another shape, or is on another device.
        """
        for p, view in zip(self.params, self._views, strict=True):
            if p.data is not view:
                if type(p.data) is not type(view):
                    raise ValueError(f"{p.name or 'a parameter'} is on {p.device} now, but was elsewhere "
                                     "when the optimiser was made: move the model first, then make it")
                if p.data.shape != view.shape:
                    raise ValueError(f"{p.name or 'a parameter'} now has shape {p.data.shape}, but "
                                     f"{view.shape} when the optimiser was made: make a new optimiser")
                view[...] = p.data
                p.data = view

    def gather(self) -> None:
        """Copy the parameters' gradients into `g`; a parameter without one has gradient 0.

        Raises:
            ValueError: a gradient has another shape than its parameter.
        """
        for p, s in zip(self.params, self._slices, strict=True):
            if p.grad is not None and p.grad.shape != p.shape:
                raise ValueError(f"the gradient of {p.name or 'a parameter'} has shape {p.grad.shape}, "
                                 f"but the parameter has {p.shape}")
            self.g[s] = 0 if p.grad is None else p.grad.reshape(-1)


class Optimizer:
    """Base class: subclasses say which options and buffers they have and how one chunk is updated.

    Args:
        params: Tensors, or groups `{"params": [...], "lr": ..., "l2": ...}` whose options override
            the common ones. (name, Tensor) pairs, as `Module.named_parameters` yields, are taken too.
        lr: learning rate alpha, >= 0.
        l1, l2: strengths of the penalties l1 sum|theta| + l2 sum theta^2 (article 3.3), whose
            gradient l1 sign(theta) + 2 l2 theta is added to that of the loss.
        schedule: factor on the learning rate as a function of the step (counted from 1).

    Raises:
        TypeError: there is no such option, or its value is no number.
        ValueError: there is no parameter, one is given twice, or an option is out of range.
    """

    option_names: tuple[str, ...] = ()  # beside lr, l1, l2 and schedule
    buffer_names: tuple[str, ...] = ()
    kernel_name = ""  # its row in `autograd.fused.registry.KERNELS`, if it has one

    def __init__(self, params: Iterable[Any], *, lr: float, l1: float = 0.0, l2: float = 0.0,
                 schedule: Schedule | None = None, **options: Any) -> None:
        self._refuse_unknown(options)
        if not (schedule is None or callable(schedule)):
            raise TypeError(f"schedule = {schedule!r:.60} must be a function of the step")
        defaults = {"lr": lr, "l1": l1, "l2": l2, **options}
        self.step_count = 0
        self.schedule = schedule
        self.groups = [ParamGroup(same, settings) for settings, tensors in _groups(params, defaults)
                       for same in _by_kind(tensors)]
        everything = [id(p) for group in self.groups for p in group.params]
        if not everything:
            raise ValueError("the optimiser was given no parameters")
        if len(everything) != len(set(everything)):
            raise ValueError("a parameter was given to the optimiser twice")
        for group in self.groups:
            self._check(group.options)
            group.buffers = {name: np.zeros_like(group.theta) for name in self.buffer_names}
        longest = max(len(group.theta) for group in self.groups)
        widest = max(group.theta.itemsize for group in self.groups)
        self._scratch = np.empty((2, min(longest, CHUNK) * widest), np.uint8)

    def _refuse_unknown(self, options: Mapping[str, Any]) -> None:
        for name in options:
            if name not in self.option_names:
                known = ", ".join(["lr", *self.option_names, "l1", "l2", "schedule"])
                hint = f" ({HINTS[name]})" if name in HINTS else ""
                raise TypeError(f"{type(self).__name__} has no option {name!r}; it has {known}{hint}")

    def _check(self, options: Mapping[str, Any]) -> None:
        for name, value in options.items():
            if not isinstance(value, Real | np.bool_):
                raise TypeError(f"{name} = {value!r:.60} must be a number")
        for name in ("lr", "l1", "l2"):
            if not 0 <= options[name] < np.inf:
                raise ValueError(f"{name} = {options[name]} must be finite and not negative")

    def step(self) -> None:
        """Update all parameters in place from their gradients."""
        self.step_count += 1
        factor = 1.0 if self.schedule is None else self.schedule(self.step_count)
        for group in self.groups:
            group.bind()
            group.gather()
            alpha = group.options["lr"] * factor
            for s, a, b in self._parts(group):
                theta, g = group.theta[s], group.g[s]
                self._penalize(theta, g, group.options, a)
                self._update(theta, g, *(group.buffers[n][s] for n in self.buffer_names),
                             a=a, b=b, alpha=alpha, **group.options)

    def _parts(self, group: ParamGroup) -> Iterator[tuple[slice, Any, Any]]:
        """What is updated at a time, with scratch: chunks, but a GPU or a kernel takes everything at once."""
        theta, name = group.theta, self.kernel_name
        if type(theta) is not np.ndarray or (name and kernel(name, theta) is not None):
            yield slice(None), None, None  # `out=None` makes new arrays, where there is need for any
            return
        n = len(theta)
        for i in range(0, n, CHUNK):
            end = min(i + CHUNK, n)
            # Scratch arrays of the group's dtype, over one piece of memory.
            a, b = (row.view(theta.dtype)[:end - i] for row in self._scratch)
            yield slice(i, end), a, b

    @staticmethod
    def _penalize(theta: Any, g: Any, options: Mapping[str, Any], a: Any) -> None:
        if options["l1"]:
            a = np.sign(theta, out=a)
            a *= options["l1"]
            g += a
        if options["l2"]:
            g += np.multiply(theta, 2 * options["l2"], out=a)

    def _update(self, *arrays: np.ndarray, **options: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines no _update")

    def penalty(self) -> float:
        """l1 sum|theta| + l2 sum theta^2 over all groups: what the penalties add to the loss."""
        total = 0.0
        for group in self.groups:
            l1, l2 = group.options["l1"], group.options["l2"]
            total += l1 * float(np.abs(group.theta).sum()) if l1 else 0.0
            total += l2 * float(np.square(group.theta).sum()) if l2 else 0.0
        return total

    def zero_grad(self) -> None:
        for group in self.groups:
            for p in group.params:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """{"step": count, "buffers": {"0.exp_avg": flat array, ...}}; the arrays are copies, on the CPU."""
        buffers = {f"{i}.{name}": to_host(array).copy() for i, group in enumerate(self.groups)
                   for name, array in group.buffers.items()}
        return {"step": self.step_count, "buffers": buffers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`.

        Raises:
            ValueError: buffers are missing, unknown or of another length; nothing is changed then.
        """
        own = {f"{i}.{name}": array for i, group in enumerate(self.groups)
               for name, array in group.buffers.items()}
        if {k: v.shape for k, v in own.items()} != {k: np.shape(v) for k, v in state["buffers"].items()}:
            raise ValueError(f"the state is of another optimiser or model: it has "
                             f"{sorted(state['buffers'])}, this one {sorted(own)}, or lengths differ")
        for key, array in own.items():
            array[...] = beside(to_host(state["buffers"][key]), array)
        self.step_count = int(state["step"])


def _groups(params: Iterable[Any], defaults: dict[str, Any]) -> list[tuple[dict[str, Any], list[Tensor]]]:
    entries = list(params)
    if not any(isinstance(e, Mapping) for e in entries):
        entries = [{"params": entries}]
    groups = []
    for entry in entries:
        if not (isinstance(entry, Mapping) and "params" in entry):
            raise ValueError(f'a parameter group is {{"params": [...], option: value}}, not {entry!r:.60}')
        unknown = entry.keys() - defaults.keys() - {"params"}
        if unknown:
            raise ValueError(f"unknown option {sorted(unknown)[0]!r} in a parameter group; "
                             f"known are {', '.join(defaults)}")
        tensors = [e[1] if isinstance(e, tuple) else e for e in entry["params"]]
        for p in tensors:
            if not (isinstance(p, Tensor) and p.requires_grad and p.op is None):
                raise ValueError(f"not a parameter: {p!r:.80}; a parameter is a leaf with requires_grad=True")
        groups.append(({**defaults, **{k: v for k, v in entry.items() if k != "params"}}, tensors))
    return groups


def _by_kind(tensors: list[Tensor]) -> list[list[Tensor]]:
    kinds: dict[Any, list[Tensor]] = {}
    for p in tensors:
        kinds.setdefault((p.dtype, type(p.data), p.device), []).append(p)
    return list(kinds.values())
