"""Who is measured: this package on its backends, torch eager and compiled, Liger-Kernel and Quack.

A contestant is made by a function of the problem. Whoever cannot be made, or raises, is named in the results
with the reason: a peer never drops out of a table silently.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from kernels_clock import Contestant
from kernels_problems import AdamProblem, CrossEntropyProblem, LinearCrossEntropyProblem, to_float64

import kernels as ours

Factory = Callable[[Any, int], Contestant]  # of a problem and the free memory in bytes


class Absent(Exception):
    """The contestant is not here; the message says why."""


class NoSense(Exception):
    """A variant that is no different, or not defined, for this case: it is not listed."""


def imported(module: str, package: str) -> Any:
    """A peer's module.

    Raises:
        Absent: it is not installed, or does not import.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name and module.startswith(e.name):
            raise Absent(f"{package} is not installed") from None
        raise Absent(f"{package} is installed, but needs {e.name}, which is not") from None
    except Exception as e:
        raise Absent(f"{package} is installed, but does not import: {in_a_line(e)}") from None


def in_a_line(e: BaseException) -> str:
    """An error's kind and first line, without the paths of the machine it happened on."""
    first = next((line.strip() for line in str(e).splitlines() if line.strip()), "")
    first = re.sub(r"(?<![\w.])(?:/[\w.+-]+){2,}", "<path>", first)
    return f"{type(e).__name__}: {first[:160]}".rstrip(": ")


def why_not(e: BaseException) -> str:
    """The reason that stands in the results for a contestant without figures."""
    if isinstance(e, Absent | ours.backends.BackendUnavailable):
        return f"absent: {e}"
    if type(e).__name__ == "OutOfMemoryError":
        return "out of memory"
    return f"raised {in_a_line(e)}"


# ---- cross-entropy ----------------------------------------------------------------------------------


def our_cross_entropy(backend: str, library: str = "torch", in_place: bool = False) -> Factory:
    def make(problem: CrossEntropyProblem, free: int) -> Contestant:
        if in_place and not problem.case.gradient:
            raise NoSense("without a gradient nothing is overwritten")
        buffers = problem.buffers(free) if in_place else [problem.logits]
        x, y = [as_library(b, library) for b in buffers], as_library(problem.labels, library)

        def run(i: int) -> Any:
            return ours.softmax_cross_entropy(x[i], y, gradient=problem.case.gradient, backend=backend,
                                              out=x[i] if in_place else None)

        def look(result: Any) -> dict[str, Any]:
            loss, _, dx = result
            return {"loss": to_float64(loss)} | (
                {"gradient": to_float64(dx[problem.rows])} if problem.case.gradient else {})

        return Contestant(run, look, restore(problem, buffers) if in_place else None, len(buffers),
                          counted=library == "torch")
    return make


def peer_cross_entropy(loss_of: Callable[[Any], Callable[..., Any]], in_place: bool = False) -> Factory:
    """A peer's loss(logits, labels), mean over the rows, with torch's autograd around it."""
    def make(problem: CrossEntropyProblem, free: int) -> Contestant:
        torch, loss = problem.torch, loss_of(problem.torch)
        gradient = problem.case.gradient
        buffers = problem.buffers(free) if in_place else [problem.logits]
        x = [b.detach().requires_grad_(gradient) for b in buffers]

        def run(i: int) -> Any:
            if not gradient:
                with torch.no_grad():
                    return loss(x[i], problem.labels), None
            value = loss(x[i], problem.labels)
            return value.detach(), torch.autograd.grad(value, x[i])[0]

        def look(result: Any) -> dict[str, Any]:
            value, dx = result
            return {"loss": to_float64(value)} | (
                {"gradient": to_float64(dx[problem.rows])} if gradient else {})

        return Contestant(run, look, restore(problem, buffers) if in_place else None, len(buffers))
    return make


def quack_fused(problem: CrossEntropyProblem, free: int) -> Contestant:
    """Quack's forward with the gradient in the same sweep: of the sum, so it is divided when it is judged."""
    forward = imported("quack.cross_entropy", "quack-kernels").cross_entropy_fwd
    if not problem.case.gradient:
        raise NoSense("without a gradient it is Quack's plain forward")

    def run(i: int) -> Any:
        return forward(problem.logits, problem.labels, return_dx=True)

    def look(result: Any) -> dict[str, Any]:
        losses, dx = result
        return {"loss": to_float64(losses).mean(),
                "gradient": to_float64(dx[problem.rows]) / problem.case.rows}

    return Contestant(run, look)


def restore(problem: CrossEntropyProblem, buffers: list[Any]) -> Callable[[int], None]:
    return lambda i: buffers[i].copy_(problem.logits)


def as_library(tensor: Any, library: str) -> Any:
    """The same memory as an array of that library."""
    if library == "torch":
        return tensor
    cupy = imported("cupy", "CuPy")
    if not tensor.is_cuda:
        raise Absent("CuPy has no arrays on the CPU")
    if str(tensor.dtype) != "torch.bfloat16":
        return cupy.from_dlpack(tensor.detach())
    bfloat16 = imported("ml_dtypes", "ml_dtypes").bfloat16
    return cupy.from_dlpack(tensor.detach().view(importlib.import_module("torch").int16)).view(bfloat16)


def compiled(function: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    """torch.compile for these very shapes, with none of the cases before in its caches."""
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


CROSS_ENTROPY: dict[str, Factory] = {
    "minillm numpy": our_cross_entropy("numpy"),
    "minillm triton": our_cross_entropy("triton"),
    "minillm cuda": our_cross_entropy("cuda"),
    "minillm cuda, CuPy arrays": our_cross_entropy("cuda", "cupy"),
    "minillm triton, in place": our_cross_entropy("triton", in_place=True),
    "minillm cuda, in place": our_cross_entropy("cuda", in_place=True),
    "torch eager": peer_cross_entropy(lambda torch: torch.nn.functional.cross_entropy),
    "Liger-Kernel": peer_cross_entropy(
        lambda torch: imported("liger_kernel.transformers", "liger-kernel").LigerCrossEntropyLoss(),
        in_place=True),
    "Quack": peer_cross_entropy(
        lambda torch: imported("quack.cross_entropy", "quack-kernels").cross_entropy),
    "Quack, gradient in forward": quack_fused,
    "torch.compile": peer_cross_entropy(lambda torch: compiled(torch.nn.functional.cross_entropy, torch)),
}


# ---- Adam -------------------------------------------------------------------------------------------


def our_adam(backend: str, library: str = "torch", **options: Any) -> Factory:
    def make(problem: AdamProblem, free: int) -> Contestant:
        if "rounding_seed" in options and (problem.case.dtype != "bfloat16" or problem.master):
            raise NoSense("only bf16 parameters without master weights are rounded stochastically")
        p, g, m, v = ([as_library(a, library) for a in arrays]
                      for arrays in (problem.p, problem.g, problem.m, problem.v))
        master = [as_library(a, library) for a in problem.master] if problem.master else None

        def run(i: int) -> Any:
            ours.adam_step(p, g, m, v, problem.step, lr=problem.lr, beta1=problem.beta1,
                           beta2=problem.beta2, eps=problem.eps, weight_decay=problem.decay, master=master,
                           backend=backend, **options)
            return problem.p

        return Contestant(run, lambda arrays: {"parameters": problem.sample(arrays)},
                          counted=library == "torch")
    return make


def torch_adam(compile_it: bool = False, **options: Any) -> Factory:
    def make(problem: AdamProblem, free: int) -> Contestant:
        torch = problem.torch
        if problem.master or problem.case.dtype != problem.case.moments:
            raise Absent("torch.optim.AdamW has no master weights, and moments of the parameters' type only")
        optimizer = torch.optim.AdamW(problem.p, lr=problem.lr, betas=(problem.beta1, problem.beta2),
                                      eps=problem.eps, weight_decay=problem.decay, **options)
        counter = "cpu" if "foreach" in options and not compile_it else problem.device
        for p, g, m, v in zip(problem.p, problem.g, problem.m, problem.v):
            p.grad = g
            optimizer.state[p] = {"step": torch.tensor(problem.step - 1.0, device=counter),
                                  "exp_avg": m, "exp_avg_sq": v}
        step = compiled(lambda: optimizer.step(), torch) if compile_it else optimizer.step

        def run(i: int) -> Any:
            step()
            return problem.p

        return Contestant(run, lambda arrays: {"parameters": problem.sample(arrays)})
    return make


ADAM: dict[str, Factory] = {
    "minillm numpy": our_adam("numpy"),
    "minillm triton": our_adam("triton"),
    "minillm triton, exact=False": our_adam("triton", exact=False),
    "minillm cuda": our_adam("cuda"),
    "minillm cuda, exact=False": our_adam("cuda", exact=False),
    "minillm cuda, CuPy arrays": our_adam("cuda", "cupy"),
    "minillm triton, stochastic rounding": our_adam("triton", rounding_seed=1),
    "minillm cuda, stochastic rounding": our_adam("cuda", rounding_seed=1),
    "torch AdamW, fused": torch_adam(fused=True),
    "torch AdamW, foreach": torch_adam(foreach=True),
    "torch.compile": torch_adam(True, foreach=True, capturable=True),
}


# ---- linear + cross-entropy -------------------------------------------------------------------------


def our_linear(backend: str) -> Factory:
    def make(problem: LinearCrossEntropyProblem, free: int) -> Contestant:
        if not hasattr(ours, "linear_cross_entropy"):
            raise Absent("kernels has no linear_cross_entropy")

        def run(i: int) -> Any:
            return ours.linear_cross_entropy(problem.x, problem.weight, problem.labels, backend=backend)

        return Contestant(run, lambda result: look_linear(problem, *result[:3]))
    return make


def peer_linear(loss_of: Callable[[Any], Callable[..., Any]]) -> Factory:
    """A peer's loss(x, weight, labels) with torch's autograd around it."""
    def make(problem: LinearCrossEntropyProblem, free: int) -> Contestant:
        torch, loss = problem.torch, loss_of(problem.torch)
        x, weight = (a.detach().requires_grad_() for a in (problem.x, problem.weight))

        def run(i: int) -> Any:
            value = loss(x, weight, problem.labels)
            return value.detach(), *torch.autograd.grad(value, (x, weight))

        return Contestant(run, lambda result: look_linear(problem, *result))
    return make


def look_linear(problem: LinearCrossEntropyProblem, loss: Any, dx: Any, dweight: Any) -> dict[str, Any]:
    return {"loss": to_float64(loss), "dx": to_float64(dx[problem.rows]),
            "dweight": to_float64(dweight[problem.classes])}


def matmul_and_loss(torch: Any) -> Callable[..., Any]:
    F = torch.nn.functional
    return lambda x, weight, labels: F.cross_entropy(F.linear(x, weight), labels)


def liger_linear(torch: Any) -> Callable[..., Any]:
    loss = imported("liger_kernel.transformers", "liger-kernel").LigerFusedLinearCrossEntropyLoss()
    return lambda x, weight, labels: loss(weight, x, labels)


LINEAR: dict[str, Factory] = {
    "minillm numpy": our_linear("numpy"),
    "minillm triton": our_linear("triton"),
    "minillm cuda": our_linear("cuda"),
    "torch eager": peer_linear(matmul_and_loss),
    "Liger-Kernel": peer_linear(liger_linear),
    "torch.compile": peer_linear(lambda torch: compiled(matmul_and_loss(torch), torch)),
}

CONTESTANTS = {"cross_entropy": CROSS_ENTROPY, "adam": ADAM, "linear_cross_entropy": LINEAR}
COMPILES = "torch.compile"
ON_THE_CPU_ONLY = "minillm numpy"
