"""The data of each case, and the float64 reference that every contestant is judged by before it is timed.

The reference of a whole loss is computed on the device in float64, a few rows at a time; that of gradients
and updates for a few rows or elements only, by the formulas of `minillm.formulas`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from kernels_cases import Adam, CrossEntropy, LinearCrossEntropy

from minillm.formulas import adam_step, cross_entropy_rows_gradient, decoupled_weight_decay

# bits of the significand that are stored, smallest exponent of a normal number
FORMATS = {"float32": (23, -126), "bfloat16": (7, -126), "float16": (10, -14), "float64": (52, -1022)}
# Largest ||out - ref|| / ||ref|| of what is still timed: loose enough for a peer that rounds its log-softmax
# to bfloat16, and far below what a wrong kernel gives.
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}

Error = dict[str, Any]


def ulp(reference: np.ndarray, dtype: str) -> np.ndarray:
    """Distance between neighbouring numbers of `dtype` at each reference value."""
    digits, lowest = FORMATS[dtype]
    exponent = np.frexp(reference)[1] - 1  # 1 <= |reference| / 2^exponent < 2
    exponent = np.where(reference == 0, lowest, np.maximum(exponent, lowest))
    return np.ldexp(1.0, exponent - digits)


def error(out: np.ndarray, reference: np.ndarray, dtype: str, at: np.ndarray | None = None,
          before: np.ndarray | float = 0.0) -> Error:
    """How far an output is from its reference.

    Args:
        out, reference: one shape, float64.
        dtype: whose ulp is the unit.
        at: values whose ulp counts; the reference's own where left out.
        before: what the output was before an update; the relative error is that of the change.

    Returns:
        ulp: the largest distance in units in the last place. relative: ||out - ref|| / ||ref - before||.
        Both are None for an output that is not finite.
    """
    if not np.all(np.isfinite(out)):
        return {"dtype": dtype, "ulp": None, "relative": None}
    distance = np.abs(out - reference)
    largest = float(np.max(distance / ulp(reference if at is None else at, dtype)))
    size = float(np.linalg.norm(reference - before)) or 1.0
    return {"dtype": dtype, "ulp": float(f"{largest:.3g}"),
            "relative": float(f"{np.linalg.norm(distance) / size:.3g}")}


def wrong(errors: dict[str, Error], dtype: str) -> str | None:
    """Why a contestant is not timed, or None."""
    for name, e in errors.items():
        if e["relative"] is None:
            return f"{name} is not finite"
        if e["relative"] > TOLERANCE[dtype]:
            return f"{name} is off by {e['relative']:.2g} of its norm; {TOLERANCE[dtype]:g} is allowed"
    return None


def to_float64(array: Any) -> np.ndarray:
    """An array of torch, CuPy or NumPy as float64 on the host."""
    if hasattr(array, "detach"):
        return array.detach().double().cpu().numpy()
    array = array.get() if hasattr(array, "get") else array
    return np.asarray(array).astype(np.float64)


class Problem:
    """A case's data on a device.

    Attributes:
        torch: the module. device: "cuda" or "cpu". dtype: torch's dtype of the inputs.
    """

    def __init__(self, case: Any, torch: Any, device: str) -> None:
        self.case, self.torch, self.device = case, torch, device
        self.dtype = getattr(torch, case.dtype)

    def normal(self, shape: tuple[int, ...], seed: int) -> Any:
        """Random numbers, never zeros: data of one value can take less power, and so less time."""
        generator = self.torch.Generator(self.device).manual_seed(seed)
        return self.torch.randn(shape, generator=generator, dtype=self.dtype, device=self.device)

    def integers(self, high: int, n: int) -> Any:
        generator = self.torch.Generator(self.device).manual_seed(1)
        return self.torch.randint(high, (n,), generator=generator, device=self.device)

    def start(self) -> None:
        """Called before a contestant's first run."""

    def judge(self, seen: dict[str, np.ndarray]) -> dict[str, Error]:
        """Errors of what was seen: of losses in ulp of float32, however rounded; else of the case's type."""
        reference = self.reference
        return {name: error(value, reference[name].reshape(value.shape),
                            "float32" if name == "loss" else self.case.dtype)
                for name, value in seen.items()}

    @property
    def reference(self) -> dict[str, np.ndarray]:
        raise NotImplementedError(f"{type(self).__name__} defines no reference")


class CrossEntropyProblem(Problem):
    """Logits (rows, V) from a normal distribution, labels without an ignored one."""

    def __init__(self, case: CrossEntropy, torch: Any, device: str) -> None:
        super().__init__(case, torch, device)
        self.logits = self.normal((case.rows, case.vocab), 0)
        self.labels = self.integers(case.vocab, case.rows)
        self.rows = sorted({0, case.rows // 3, case.rows - 1})
        self._buffers: list[Any] = []

    def buffers(self, free: int) -> list[Any]:
        """Copies of the logits to overwrite: as many as fit into a quarter of the free memory, 1 to 4."""
        if not self._buffers:
            n = max(1, min(4, free // 4 // (self.case.holds // 2)))
            self._buffers = [self.logits.clone() for _ in range(n)]
        return self._buffers

    @cached_property
    def reference(self) -> dict[str, np.ndarray]:
        torch, step = self.torch, 32
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for i in range(0, self.case.rows, step):
            x, y = self.logits[i:i + step].double(), self.labels[i:i + step, None]
            total += (torch.logsumexp(x, 1) - x.gather(1, y)[:, 0]).sum()
        x, y = to_float64(self.logits[self.rows]), self.labels[self.rows].cpu().numpy()
        return {"loss": to_float64(total / self.case.rows),
                "gradient": cross_entropy_rows_gradient(x, y) / self.case.rows}


class AdamProblem(Problem):
    """Tensors p, g, m, v (and master) in the middle of training: step 8 comes next."""

    step, lr, beta1, beta2, eps, decay = 8, 1e-2, 0.9, 0.999, 1e-8, 0.01

    def __init__(self, case: Adam, torch: Any, device: str) -> None:
        super().__init__(case, torch, device)
        moments = getattr(torch, case.moments)
        self.p = [torch.empty(s, dtype=self.dtype, device=device) for s in case.shapes]
        self.g = [self.normal(s, i) for i, s in enumerate(case.shapes)]
        self.m = [torch.empty(s, dtype=moments, device=device) for s in case.shapes]
        self.v = [torch.empty_like(m) for m in self.m]
        self.master = [torch.empty_like(p, dtype=torch.float32) for p in self.p] if case.master else None
        self.start()

    def start(self) -> None:
        """Everything as before step 8, and what the reference needs of it."""
        generator = self.torch.Generator(self.device).manual_seed(2)
        with self.torch.no_grad():
            for i, (p, m, v) in enumerate(zip(self.p, self.m, self.v)):
                weights = self.master[i] if self.master else p
                weights.normal_(0, 0.02, generator=generator)
                p.copy_(weights)
                m.normal_(0, 0.3, generator=generator)
                v.uniform_(0.5, 2, generator=generator)
                v.mul_(1 - self.beta2**(self.step - 1))  # what seven steps leave of a mean square near 1
        self.before = [self.sample(arrays) for arrays in (self.master or self.p, self.g, self.m, self.v)]

    def sample(self, arrays: list[Any]) -> np.ndarray:
        """The first and last elements of every tensor: some thousands in all."""
        n = max(32, 2000 // len(arrays))
        flat = [a.detach().reshape(-1) for a in arrays]
        return to_float64(self.torch.cat([part.double() for a in flat for part in (a[:n], a[-n:])]))

    @property
    def reference(self) -> dict[str, np.ndarray]:
        theta, g, m, v = self.before
        theta = decoupled_weight_decay(theta, alpha=self.lr, lam=self.decay)
        theta, _, _ = adam_step(theta, g, m, v, self.step, alpha=self.lr, beta1=self.beta1, beta2=self.beta2,
                                eps=self.eps)
        return {"parameters": theta}

    def judge(self, seen: dict[str, np.ndarray]) -> dict[str, Error]:
        """In ulp of the larger of old and new value: a parameter that crosses 0 has no ulp to speak of."""
        before, after = self.before[0], self.reference["parameters"]
        return {"parameters": error(seen["parameters"], after, self.case.dtype,
                                    np.maximum(np.abs(before), np.abs(after)), before)}


class LinearCrossEntropyProblem(Problem):
    """x (rows, H), labels (rows,), and W (V, H) scaled so that the logits are nearly standard normal."""

    def __init__(self, case: LinearCrossEntropy, torch: Any, device: str) -> None:
        super().__init__(case, torch, device)
        self.x = self.normal((case.rows, case.hidden), 0)
        self.weight = self.normal((case.vocab, case.hidden), 1).mul_(case.hidden**-0.5)
        self.labels = self.integers(case.vocab, case.rows)
        self.rows = sorted({0, case.rows // 3, case.rows - 1})
        self.classes = sorted({0, int(self.labels[0]), case.vocab - 1})

    @cached_property
    def reference(self) -> dict[str, np.ndarray]:
        torch, case, step = self.torch, self.case, 256
        weight = self.weight.double()
        lse = torch.empty(case.rows, dtype=torch.float64, device=self.device)
        at_label = torch.empty_like(lse)
        for i in range(0, case.rows, step):
            logits = self.x[i:i + step].double() @ weight.T
            lse[i:i + step] = torch.logsumexp(logits, 1)
            at_label[i:i + step] = logits.gather(1, self.labels[i:i + step, None])[:, 0]
        x = self.x[self.rows].double()
        p = torch.exp(x @ weight.T - lse[self.rows, None])
        p[torch.arange(len(self.rows)), self.labels[self.rows]] -= 1
        columns = torch.exp(self.x.double() @ weight[self.classes].T - lse[:, None])
        columns -= (self.labels[:, None] == torch.tensor(self.classes, device=self.device)).double()
        return {name: to_float64(value) for name, value in [
            ("loss", (lse - at_label).mean()), ("dx", p @ weight / case.rows),
            ("dweight", columns.T @ self.x.double() / case.rows)]}


PROBLEMS = {"cross_entropy": CrossEntropyProblem, "adam": AdamProblem,
            "linear_cross_entropy": LinearCrossEntropyProblem}
