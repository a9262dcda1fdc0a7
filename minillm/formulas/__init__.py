"""Every equation of the article, one NumPy function each: the reference for all that is above.

The functions are written with `np.` alone. On float64 arrays they are the reference for kernels; on
`minillm.Tensor`s they are differentiable.
"""

from .activations import gelu, gelu_tanh, normal_cdf, silu, swiglu
from .attention import attention, tiled_attention
from .attention_scores import additive_scores, attention_weights, dot_scores, general_scores
from .cross_entropy import cross_entropy, cross_entropy_of_labels, softmax_cross_entropy
from .cross_entropy_rows import cross_entropy_rows, cross_entropy_rows_gradient, soft_cap, z_loss
from .evaluation import bits_per_character, perplexity
from .ledger import LEDGER, Equation, equation
from .linear import linear
from .lstm import lstm, lstm_cell, sigmoid
from .norms import layer_norm, rms_norm
from .optimizers import (
    adam_step,
    amsgrad_step,
    clip_by_norm,
    global_norm,
    gradient_descent_step,
    momentum_step,
    warmup_cosine,
)
from .positions import rope, rope_angles, rotate_pairs, sinusoidal_positions
from .regularization import decoupled_weight_decay, dropout, l1_penalty, l2_penalty
from .softmax import log_softmax, logsumexp, softmax

__all__ = [
    "LEDGER", "Equation", "adam_step", "additive_scores", "amsgrad_step", "attention",
    "attention_weights", "bits_per_character", "clip_by_norm", "cross_entropy", "cross_entropy_of_labels",
    "cross_entropy_rows", "cross_entropy_rows_gradient", "decoupled_weight_decay", "dot_scores",
    "dropout", "equation", "gelu", "gelu_tanh", "general_scores", "global_norm", "gradient_descent_step",
    "l1_penalty", "l2_penalty", "layer_norm", "linear", "log_softmax", "logsumexp", "lstm", "lstm_cell",
    "momentum_step", "normal_cdf", "perplexity", "rms_norm", "rope", "rope_angles", "rotate_pairs",
    "sigmoid", "silu", "sinusoidal_positions", "soft_cap", "softmax", "softmax_cross_entropy", "swiglu",
    "tiled_attention", "warmup_cosine", "z_loss",
]
