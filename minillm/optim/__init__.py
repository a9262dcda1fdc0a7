"""Optimisers that work in place on flat buffers, gradient clipping, learning-rate schedules."""

from .clipping import clip_grad_norm
from .groups import parameter_groups
from .optimizer import Optimizer, ParamGroup
from .optimizers import SGD, Adam, AdamW
from .schedules import WarmupCosine

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "ParamGroup", "WarmupCosine", "clip_grad_norm",
           "parameter_groups"]
