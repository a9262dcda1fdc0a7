"""Llama's architecture: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.fused import attention
from minillm.formulas import rope_angles, rotate_pairs, swiglu


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a `Llama`.

    Attributes:
        vocab_size: V, number of tokens.
        n_layer, n_embd: blocks, and C, width of the residual stream.
        n_head, n_kv_head: heads of queries, and of keys and values; None: as many.
        head_dim: d, size of a head; None: n_embd / n_head.
        hidden_dim: width of the MLP; None: 8/3 n_embd, rounded up to a multiple of 8.
        block_size: longest window that the model was made for; positions are computed, so it is a limit
            of use and not of memory.
        rope_base: of the rotary angles.
        norm_eps: of the RMS norms.
        tied: whether the output layer is the token table.
        qk_norm: normalise queries and keys before they are turned (Llama does not, Qwen 3 does).
        softcap: cap on the scores of attention, or None.

    Raises:
        ValueError: a size is below 1, n_kv_head does not divide n_head, or d is odd.
    """

    vocab_size: int
    n_layer: int = 4
    n_embd: int = 128
    n_head: int = 4
    n_kv_head: int | None = None
    head_dim: int | None = None
    hidden_dim: int | None = None
    block_size: int = 2048
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = False
    qk_norm: bool = False
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_layer", "n_embd", "n_head", "kv_heads", "d", "mlp_dim", "block_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.n_head % self.kv_heads:
            raise ValueError(f"n_head = {self.n_head} must be a multiple of n_kv_head = {self.n_kv_head}")
        if self.head_dim is None and self.n_embd % self.n_head:
            raise ValueError(f"n_embd = {self.n_embd} must be a multiple of n_head = {self.n_head}, "
                             "or head_dim be given")
        if self.d % 2:
            raise ValueError(f"head_dim = {self.d} must be even: rotary positions turn pairs")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def d(self) -> int:
        """Size of a head."""
        return self.n_embd // self.n_head if self.head_dim is None else self.head_dim

    @property
    def mlp_dim(self) -> int:
        """Width of the MLP."""
        return -(-8 * self.n_embd // 3 // 8) * 8 if self.hidden_dim is None else self.hidden_dim

    @property
    def n_params(self) -> int:
        """V C for the table (twice unless tied), and for each block 2 C d (H + H_kv) + 3 C F + 2 C."""
        C, d = self.n_embd, self.d
        heads = self.n_head + self.kv_heads
        block = 2 * C * d * heads + 3 * C * self.mlp_dim + 2 * C + 2 * d * self.qk_norm
        return (1 if self.tied else 2) * self.vocab_size * C + self.n_layer * block + C


class GroupedQueryAttention(nn.Module):
    """Causal attention in which H / H_kv heads of queries share a head of keys and values.

    Parameters: query (C, H d), key and value (C, H_kv d), output (H d, C). Shapes: (B, T, C) -> (B, T, C).

    Source: Ainslie et al. 2023; rotary positions: Su et al. 2021.
    """

    def __init__(self, c: LlamaConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        def linear(n_in: int, n_out: int) -> nn.Linear:
            return nn.Linear(n_in, n_out, bias=False, rng=rng, dtype=dtype)

        self.d, self.softcap = c.d, c.softcap
        self.query = linear(c.n_embd, c.n_head * c.d)
        self.key = linear(c.n_embd, c.kv_heads * c.d)
        self.value = linear(c.n_embd, c.kv_heads * c.d)
        self.output = linear(c.n_head * c.d, c.n_embd)
        self.query_norm = nn.RMSNorm(c.d, eps=c.norm_eps, dtype=dtype) if c.qk_norm else None
        self.key_norm = nn.RMSNorm(c.d, eps=c.norm_eps, dtype=dtype) if c.qk_norm else None

    def forward(self, x: Any, turn: tuple[Any, Any], mask: Any = None) -> Tensor:
        B, T, _ = x.shape
        q, k, v = (self._heads(layer(x)) for layer in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = rotate_pairs(q, *turn), rotate_pairs(k, *turn)  # (B, H, T, d), (B, H_kv, T, d)
        y = attention(q, k, v, mask=mask, softcap=self.softcap)  # (B, H, T, d)
        return self.output(y.transpose(0, 2, 1, 3).reshape(B, T, -1))  # (B, T, C)

    def _heads(self, x: Any) -> Any:
        B, T, E = x.shape
        return x.reshape(B, T, E // self.d, self.d).transpose(0, 2, 1, 3)  # (B, H, T, d)


class GatedMLP(nn.Module):
    """(silu(x W_gate) * (x W_up)) W_down. Shapes: (B, T, C) -> (B, T, C).

    Source: Shazeer 2020, GLU Variants Improve Transformer.
    """

    def __init__(self, c: LlamaConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.gate = nn.Linear(c.n_embd, c.mlp_dim, bias=False, rng=rng, dtype=dtype)
        self.up = nn.Linear(c.n_embd, c.mlp_dim, bias=False, rng=rng, dtype=dtype)
        self.down = nn.Linear(c.mlp_dim, c.n_embd, bias=False, rng=rng, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        return self.down(swiglu(self.gate(x), self.up(x)))


class LlamaBlock(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, c: LlamaConfig, rng: np.random.Generator | None, dtype: Any) -> None:
        self.norm1 = nn.RMSNorm(c.n_embd, eps=c.norm_eps, dtype=dtype)
        self.attention = GroupedQueryAttention(c, rng, dtype)
        self.norm2 = nn.RMSNorm(c.n_embd, eps=c.norm_eps, dtype=dtype)
        self.mlp = GatedMLP(c, rng, dtype)

    def forward(self, x: Any, turn: tuple[Any, Any], mask: Any = None) -> Tensor:
        x = x + self.attention(self.norm1(x), turn, mask)  # (B, T, C)
        return x + self.mlp(self.norm2(x))  # (B, T, C)


class Llama(nn.Module):
    """p(next token | the tokens so far), as in Llama 2 and 3 and SmolLM2.

    Args:
        config: the sizes.
        rng: for the initial parameters, N(0, 0.02^2).
        dtype: of the parameters.

    Source: Touvron et al. 2023, LLaMA, section 2.2.
    """

    def __init__(self, config: LlamaConfig, *, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        c = config
        self.config = config
        self.tokens = nn.Embedding(c.vocab_size, c.n_embd, rng=rng, dtype=dtype)
        self.blocks = [LlamaBlock(c, rng, dtype) for _ in range(c.n_layer)]
        self.norm = nn.RMSNorm(c.n_embd, eps=c.norm_eps, dtype=dtype)
        self.output = None if c.tied else nn.Linear(c.n_embd, c.vocab_size, bias=False, rng=rng, dtype=dtype)
        for p in self.parameters():
            if p.ndim == 2:
                p.data[...] = nn.init.normal(p.shape, 0.02, rng, dtype)

    def forward(self, ids: Any, mask: Any = None) -> Tensor:
        """Scores for the token after each position.

        Args:
            ids: (B, T), integers in [0, V), T at most block_size.
            mask: (B, T) boolean, False where a token is padding, on the left; None: no padding.

        Returns:
            (B, T, V). Positions count from a row's first token that is no padding.

        Raises:
            ValueError: a shape does not fit, or T is beyond block_size.
        """
        ids = np.asarray(ids)
        if ids.ndim != 2:
            raise ValueError(f"ids must be (B, T), not {ids.shape}")
        B, T = ids.shape
        if T > self.config.block_size:
            raise ValueError(f"ids has {T} positions, the model block_size = {self.config.block_size}")
        if mask is not None and np.shape(mask) != (B, T):
            raise ValueError(f"mask must have the shape of ids, {ids.shape}, not {np.shape(mask)}")
        table = self.tokens.weight
        positions = np.arange(T) if mask is None else np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, None]
        angles = rope_angles(positions.astype(table.dtype), self.config.d, self.config.rope_base)
        turn = np.cos(angles), np.sin(angles)  # (T, d/2) or (B, 1, T, d/2)
        seen = None if mask is None else np.asarray(mask)[:, None, None, :]  # (B, 1, 1, T)
        x = self.tokens(ids)  # (B, T, C)
        for block in self.blocks:
            x = block(x, turn, seen)
        x = self.norm(x)
        return x @ table.T if self.output is None else self.output(x)  # (B, T, V)
