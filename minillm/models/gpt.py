"""GPT-2's architecture: token and position embeddings, blocks of attention and MLP, tied output layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.fused import attention, embedding, gelu_tanh
from minillm.formulas import soft_cap
from minillm.nn.cache import KVCache, LayerCache

from .causal_lm import CausalLM
from .checks import check_choices, check_dropout, check_multiple, check_positive, check_sizes, check_types
from .reading import places
from .starting_values import SCHEMES, set_matrices


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a `GPT`; the defaults are nanoGPT's for a CPU.

    Attributes:
        vocab_size: V, number of tokens.
        block_size: largest number of positions.
        n_layer, n_head, n_embd: blocks, heads of attention, and C, width of the residual stream.
        dropout: probability to drop an activation, after the embeddings and after each branch.
        bias: whether linear layers and norms have one (GPT-2 does).
        norm_eps: of the layer norms.
        norm: "pre", before each branch and once at the end (GPT-2), or "post", after each sum (Vaswani et
            al. 2017), which trains less stably where it is deep (Xiong et al. 2020).
        qk_norm: normalise the queries and keys of each head (Henry et al. 2020): scores cannot explode.
        softcap: c caps attention's scores at +-c, by c tanh(a / c); None: no cap.
        logit_softcap: the same for the logits (Gemma Team 2024).
        init: how the matrices begin, a key of `starting_values.SCHEMES`.

    Raises:
        ValueError: a value is of another type or not finite, a size is below 1, dropout is outside [0, 1),
            n_head does not divide n_embd, norm_eps or a cap is not positive, or norm or init is none of
            those above.
    """

    vocab_size: int
    block_size: int = 64
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    bias: bool = True
    norm_eps: float = 1e-5
    norm: str = "pre"
    qk_norm: bool = False
    softcap: float | None = None
    logit_softcap: float | None = None
    init: str = "gpt2"

    def __post_init__(self) -> None:
        check_types(self)
        check_sizes(self, "vocab_size", "block_size", "n_layer", "n_head", "n_embd")
        check_dropout(self)
        check_multiple(self, "n_embd", "n_head")
        check_positive(self, "norm_eps", "softcap", "logit_softcap")
        check_choices(self, norm=("pre", "post"), init=SCHEMES)

    @property
    def n_params(self) -> int:
        """V C + block_size C for the tables, 12 C^2 and the norms' and biases' 2 C to 13 C for each block."""
        C, bias = self.n_embd, int(self.bias)
        block = 12 * C * C + bias * 9 * C + 2 * (1 + bias) * C + 2 * self.qk_norm * (C // self.n_head)
        last = (1 + bias) * C if self.norm == "pre" else 0
        return (self.vocab_size + self.block_size) * C + self.n_layer * block + last

    def flops_per_token(self, T: int | None = None) -> int:
        """Floating-point operations of forward and backward for each token of a window of T.

        6 for each weight of a matrix (the position table is looked up), and 12 n_layer C T for attention's
        two products, counted without the causal half.

        Source: Chowdhery et al. 2022, PaLM, appendix B.
        """
        T = self.block_size if T is None else T
        return 6 * (self.n_params - self.block_size * self.n_embd) + 12 * self.n_layer * self.n_embd * T

    def memory_bytes(self, batch_size: int, T: int | None = None) -> int:
        """Estimate of the memory that a training step with Adam takes, in float32.

        16 bytes a parameter (itself, its gradient, two moments) and, kept for backward, 4 bytes of
        29 n_layer C + 3 V numbers for each token, with dropout 34 C in place of 29. The test of the same
        name in tests/models/test_memory.py holds it to what is really taken.
        """
        T = self.block_size if T is None else T
        token = (34 if self.dropout else 29) * self.n_layer * self.n_embd + 3 * self.vocab_size
        return 16 * self.n_params + 4 * batch_size * T * token


class CausalSelfAttention(nn.Module):
    """Each position reads from itself and those before it.

        q, k, v = x W + b;   y = softmax(q k^T / sqrt(d)) v for each head;   y W' + b'

    Parameters: qkv (C, 3C), output (C, C), with biases; query_norm and key_norm (d,) with qk_norm.
    Shapes: (B, T, C) -> (B, T, C).

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, c: GPTConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.n_head, self.softcap = c.n_head, c.softcap
        self.qkv = nn.Linear(c.n_embd, 3 * c.n_embd, c.bias, rng=rng, dtype=dtype)
        self.output = nn.Linear(c.n_embd, c.n_embd, c.bias, rng=rng, dtype=dtype)
        d = c.n_embd // c.n_head
        self.query_norm = nn.LayerNorm(d, eps=c.norm_eps, bias=False, dtype=dtype) if c.qk_norm else None
        self.key_norm = nn.LayerNorm(d, eps=c.norm_eps, bias=False, dtype=dtype) if c.qk_norm else None

    def forward(self, x: Any, seen: Any = None, cache: LayerCache | None = None) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(x).reshape(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3, H, d)
        q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))  # (B, H, T, d)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if cache is not None:
            k, v = cache.extend(k, v)  # (B, H, S, d)
        y = attention(q, k, v, mask=seen, softcap=self.softcap)  # (B, H, T, d)
        return self.output(y.transpose(0, 2, 1, 3).reshape(B, T, C))  # (B, T, C)


class MLP(nn.Module):
    """gelu(x W + b) W' + b', four times as wide inside. Shapes: (B, T, C) -> (B, T, C)."""

    def __init__(self, c: GPTConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.up = nn.Linear(c.n_embd, 4 * c.n_embd, c.bias, rng=rng, dtype=dtype)
        self.down = nn.Linear(4 * c.n_embd, c.n_embd, c.bias, rng=rng, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        return self.down(gelu_tanh(self.up(x)))


class Block(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + mlp(norm(x)); post-norm: norm(x + attention(x)), ..."""

    def __init__(self, c: GPTConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.norm1 = nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype)
        self.attention = CausalSelfAttention(c, rng, dtype)
        self.norm2 = nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype)
        self.mlp = MLP(c, rng, dtype)
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.norm_first = c.norm == "pre"

    def forward(self, x: Any, seen: Any = None, cache: LayerCache | None = None) -> Tensor:
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm1(x), seen, cache))  # (B, T, C)
            return x + self.dropout(self.mlp(self.norm2(x)))  # (B, T, C)
        x = self.norm1(x + self.dropout(self.attention(x, seen, cache)))  # (B, T, C)
        return self.norm2(x + self.dropout(self.mlp(x)))  # (B, T, C)


class GPT(CausalLM):
    """p(next token | the tokens of the window so far).

    Args:
        config: the sizes.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    The output layer is the token table itself.

    Source: Radford et al. 2019, section 2.3; ties: Press & Wolf 2017.
    """

    def __init__(self, config: GPTConfig, *, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        c = config
        self.config = config
        self.tokens = nn.Embedding(c.vocab_size, c.n_embd, rng=rng, dtype=dtype)
        self.positions = nn.Embedding(c.block_size, c.n_embd, rng=rng, dtype=dtype)
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.blocks = [Block(c, rng, dtype) for _ in range(c.n_layer)]
        self.norm = nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype) \
            if c.norm == "pre" else None
        set_matrices(self, c.init, n_layer=c.n_layer, rng=rng,
                     into_stream=("attention.output.weight", "mlp.down.weight"))

    def _kv_heads(self) -> tuple[int, int]:
        return self.config.n_head, self.config.n_embd // self.config.n_head

    def _hidden(self, ids: Any, mask: Any = None, cache: KVCache | None = None) -> Tensor:
        positions, seen = places(ids, mask, cache)
        x = self.tokens(ids) + embedding(positions, self.positions.weight)  # (B, T, C)
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, seen, None if cache is None else cache.layers[i])
        return x

    def _logits(self, x: Any) -> Tensor:
        logits = self.tokens.attend(x if self.norm is None else self.norm(x))  # (..., V)
        cap = self.config.logit_softcap
        return logits if cap is None else soft_cap(logits, cap)
