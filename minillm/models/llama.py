"""Llama's architecture: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.fused import attention, rotate_pairs, swiglu
from minillm.formulas import rope_angles, soft_cap
from minillm.nn.attention import split_heads
from minillm.nn.cache import KVCache, LayerCache

from .causal_lm import CausalLM
from .checks import check_choices, check_multiple, check_positive, check_sizes, check_types
from .reading import places
from .starting_values import SCHEMES, set_matrices


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
        softcap: c caps attention's scores at +-c, by c tanh(a / c); None: no cap.
        logit_softcap: the same for the logits (Gemma Team 2024).
        init: how the matrices begin, a key of `starting_values.SCHEMES`.

    Raises:
        ValueError: a value is of another type or not finite, a size is below 1, n_kv_head does not divide
            n_head, d is odd, rope_base, norm_eps or a cap is not positive, or there is no such init.
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
    logit_softcap: float | None = None
    init: str = "normal"

    def __post_init__(self) -> None:
        check_types(self)
        check_sizes(self, "vocab_size", "n_layer", "n_embd", "n_head", "kv_heads", "d", "mlp_dim",
                    "block_size")
        if self.n_kv_head is not None:
            check_multiple(self, "n_head", "n_kv_head")
        if self.head_dim is None:
            check_multiple(self, "n_embd", "n_head", ", or head_dim be given")
        if self.d % 2:
            raise ValueError(f"head_dim = {self.d} must be even: rotary positions turn pairs")
        check_positive(self, "rope_base", "norm_eps", "softcap", "logit_softcap")
        check_choices(self, init=SCHEMES)

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

    def flops_per_token(self, T: int | None = None) -> int:
        """Floating-point operations of forward and backward for each token of a window of T.

        6 for each weight of a matrix, once more for a table that is the output layer too, and
        12 n_layer H d T for attention's two products, counted without the causal half.

        Source: Chowdhery et al. 2022, PaLM, appendix B.
        """
        T = self.block_size if T is None else T
        table = 0 if self.tied else self.vocab_size * self.n_embd  # looked up, not multiplied
        return 6 * (self.n_params - table) + 12 * self.n_layer * self.n_head * self.d * T

    def memory_bytes(self, batch_size: int, T: int | None = None) -> int:
        """Estimate of the memory that a training step with Adam takes, in float32.

        16 bytes a parameter (itself, its gradient, two moments) and, kept for backward, 4 bytes of
        n_layer (8 C + 5 d (H + H_kv) + 5 F) + 3 V numbers for each token. tests/models/test_memory.py
        holds it to what is really taken.
        """
        T = self.block_size if T is None else T
        layer = 8 * self.n_embd + 5 * self.d * (self.n_head + self.kv_heads) + 5 * self.mlp_dim
        return 16 * self.n_params + 4 * batch_size * T * (self.n_layer * layer + 3 * self.vocab_size)


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

    def forward(self, x: Any, turn: tuple[Any, Any], seen: Any = None,
                cache: LayerCache | None = None) -> Tensor:
        B, T, _ = x.shape
        q, k, v = (split_heads(layer(x), self.d) for layer in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = rotate_pairs(q, *turn), rotate_pairs(k, *turn)  # (B, H, T, d), (B, H_kv, T, d)
        if cache is not None:
            k, v = cache.extend(k, v)  # (B, H_kv, S, d)
        y = attention(q, k, v, mask=seen, softcap=self.softcap)  # (B, H, T, d)
        return self.output(y.transpose(0, 2, 1, 3).reshape(B, T, -1))  # (B, T, C)


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

    def forward(self, x: Any, turn: tuple[Any, Any], seen: Any = None,
                cache: LayerCache | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), turn, seen, cache)  # (B, T, C)
        return x + self.mlp(self.norm2(x))  # (B, T, C)


class Llama(CausalLM):
    """p(next token | the tokens so far), as in Llama 2 and 3 and SmolLM2.

    Args:
        config: the sizes.
        rng: for the initial parameters.
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
        set_matrices(self, c.init, n_layer=c.n_layer, rng=rng,
                     into_stream=("attention.output.weight", "mlp.down.weight"))

    def _kv_heads(self) -> tuple[int, int]:
        return self.config.kv_heads, self.config.d

    def _hidden(self, ids: Any, mask: Any = None, cache: KVCache | None = None) -> Tensor:
        positions, seen = places(ids, mask, cache)
        if positions.ndim == 2:
            positions = positions[:, None]  # (B, 1, T): the same for all heads
        angles = rope_angles(positions.astype(self.tokens.weight.dtype), self.config.d, self.config.rope_base)
        turn = np.cos(angles), np.sin(angles)  # (T, d/2) or (B, 1, T, d/2)
        x = self.tokens(ids)  # (B, T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, turn, seen, None if cache is None else cache.layers[i])
        return x

    def _logits(self, x: Any) -> Tensor:
        x = self.norm(x)
        logits = self.tokens.attend(x) if self.output is None else self.output(x)  # (..., V)
        cap = self.config.logit_softcap
        return logits if cap is None else soft_cap(logits, cap)
