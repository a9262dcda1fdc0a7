"""Which parameters are decayed: an optimiser's groups, from a model."""

from __future__ import annotations

from typing import Any

from minillm import nn
from minillm.autograd import Tensor


def parameter_groups(model: nn.Module, *, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0
                     ) -> list[dict[str, Any]]:
    """Groups for an `Optimizer`: matrices are decayed, tables are not, and vectors are left alone.

    - matrices (weights of linear layers and LSTMs): weight_decay, l1, l2;
    - tables (weights of `nn.Embedding`): l1, l2. A decay would shrink the rows of rare tokens, which
      seldom have a gradient, towards nothing. An output layer that is tied to the table is the table;
    - vectors (biases and the gains of norms): none of them.

    Without weight decay, matrices and tables are one group, in the model's order.

    Args:
        model: its parameters are shared out, each to one group.
        weight_decay, l1, l2: strengths, >= 0; see `Adam` and `Optimizer`.

    Source: Loshchilov & Hutter 2019; the shares are those of Radford et al. 2018 (no decay on biases
    and gains), with the tables left out too.
    """
    tables = {id(p) for part in modules(model) if isinstance(part, nn.Embedding) for p in part.parameters()}
    kinds: dict[str, list[Tensor]] = {"matrices": [], "tables": [], "vectors": []}
    for _, p in model.named_parameters():
        kind = "vectors" if p.ndim < 2 else "tables" if weight_decay and id(p) in tables else "matrices"
        kinds[kind].append(p)
    return [{"params": kinds["matrices"], "l1": l1, "l2": l2, "weight_decay": weight_decay},
            {"params": kinds["tables"], "l1": l1, "l2": l2, "weight_decay": 0.0},
            {"params": kinds["vectors"], "weight_decay": 0.0}]


def modules(model: nn.Module) -> list[nn.Module]:
    """`model` and all its parts, at any depth."""
    return [model, *(inner for _, part in model.children() for inner in modules(part))]
