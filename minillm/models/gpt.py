"""GPT-2's architecture: token and position embeddings, blocks of attention and MLP, tied output layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.fused import attention, embedding, gelu_tanh


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

    Raises:
        ValueError: a size is below 1, dropout is outside [0, 1), or n_head does not divide n_embd.
    """

    vocab_size: int
    block_size: int = 64
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    bias: bool = True
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is outside [0, 1)")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd = {self.n_embd} must be a multiple of n_head = {self.n_head}")

    @property
    def n_params(self) -> int:
        """V C + block_size C for the tables, 12 C^2 and the norms' and biases' 2 C to 13 C for each block."""
        C, bias = self.n_embd, int(self.bias)
        block = 12 * C * C + bias * 9 * C + 2 * (1 + bias) * C
        return (self.vocab_size + self.block_size) * C + self.n_layer * block + (1 + bias) * C

    def flops_per_token(self, T: int | None = None) -> int:
        """Floating-point operations of forward and backward for each token of a window of T.

        6 for each weight of a matrix (the position table is looked up), and 12 n_layer C T for attention's
        two products, counted without the causal half.

        Source: Chowdhery et al. 2022, PaLM, appendix B.
        """
        T = self.block_size if T is None else T
        return 6 * (self.n_params - self.block_size * self.n_embd) + 12 * self.n_layer * self.n_embd * T


class CausalSelfAttention(nn.Module):
    """Each position reads from itself and those before it.

        q, k, v = x W + b;   y = softmax(q k^T / sqrt(d)) v for each head;   y W' + b'

    Parameters: qkv (C, 3C), output (C, C), with biases. Shapes: (B, T, C) -> (B, T, C).

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, c: GPTConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.n_head = c.n_head
        self.qkv = nn.Linear(c.n_embd, 3 * c.n_embd, c.bias, rng=rng, dtype=dtype)
        self.output = nn.Linear(c.n_embd, c.n_embd, c.bias, rng=rng, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(x).reshape(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3, H, d)
        q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))  # (B, H, T, d)
        y = attention(q, k, v)  # (B, H, T, d)
        return self.output(y.transpose(0, 2, 1, 3).reshape(B, T, C))  # (B, T, C)


class MLP(nn.Module):
    """gelu(x W + b) W' + b', four times as wide inside. Shapes: (B, T, C) -> (B, T, C)."""

    def __init__(self, c: GPTConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.up = nn.Linear(c.n_embd, 4 * c.n_embd, c.bias, rng=rng, dtype=dtype)
        self.down = nn.Linear(4 * c.n_embd, c.n_embd, c.bias, rng=rng, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        return self.down(gelu_tanh(self.up(x)))


class Block(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, c: GPTConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.norm1 = nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype)
        self.attention = CausalSelfAttention(c, rng, dtype)
        self.norm2 = nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype)
        self.mlp = MLP(c, rng, dtype)
        self.dropout = nn.Dropout(c.dropout, rng=rng)

    def forward(self, x: Any) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))  # (B, T, C)
        return x + self.dropout(self.mlp(self.norm2(x)))  # (B, T, C)


class GPT(nn.Module):
    """p(next token | the tokens of the window so far).

    Args:
        config: the sizes.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    Weights are N(0, 0.02^2), those that write into the residual stream 1/sqrt(2 n_layer) of that, so that
    the stream does not grow with depth. The output layer is the token table itself.

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
        self.norm = nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype)
        into_stream = 0.02 / math.sqrt(2 * c.n_layer)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                residual = name.endswith(("attention.output.weight", "mlp.down.weight"))
                p.data[...] = nn.init.normal(p.shape, into_stream if residual else 0.02, rng, dtype)

    def forward(self, ids: Any) -> Tensor:
        """Scores for the token after each position.

        Args:
            ids: (B, T), integers in [0, V), T at most block_size.

        Returns:
            (B, T, V).

        Raises:
            ValueError: ids is not (B, T), or longer than block_size.
        """
        ids = np.asarray(ids)
        if ids.ndim != 2:
            raise ValueError(f"ids must be (B, T), not {ids.shape}")
        T = ids.shape[1]
        if T > self.config.block_size:
            raise ValueError(f"ids has {T} positions, the model block_size = {self.config.block_size}")
        x = self.tokens(ids) + embedding(np.arange(T), self.positions.weight)  # (B, T, C)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T  # (B, T, V)
