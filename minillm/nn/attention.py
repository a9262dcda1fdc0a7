"""Multi-head attention as a layer: of a sequence with itself, with another one, or with a cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.devices import beside
from minillm.autograd.fused import attention
from minillm.autograd.tensor import unwrap
from minillm.formulas import attention_weights, dot_scores

from .cache import LayerCache
from .layers import Dropout, Linear
from .module import Module
from .norms import RMSNorm

KeysValues = tuple[Any, Any]  # (k, v), each (B, H_kv, S, d)


class MultiHeadAttention(Module):
    """H heads of attention side by side, each with projections of its own, and their outputs mixed.

        q = x W_q + b_q,  k = m W_k + b_k,  v = m W_v + b_v,  d = C / H numbers of each for each head
        y = concat over heads of softmax(q k^T / sqrt(d)) v;   y W_o + b_o

    m is x itself (self-attention) or another sequence (cross-attention).

    Args:
        dim: C, width of input and output.
        n_head: H, heads of queries; divides C.
        n_kv_head: H_kv, heads of keys and values, each shared by H / H_kv heads of queries; None: H.
        bias: whether the four linear layers have one.
        dropout: probability to drop an attention weight while training. With it the T x S weights of all
            heads are held; without it they never are.
        qk_norm: RMS-normalise queries and keys, head by head, so that scores cannot grow without bound.
        softcap: c > 0 replaces a score a by c tanh(a / c); None: no cap.
        norm_eps: of qk_norm.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    Parameters: query (C, C), key and value (C, H_kv d), output (C, C), with biases; query_norm and
    key_norm (d,) with qk_norm.

    Raises:
        ValueError: n_head does not divide dim, or n_kv_head n_head, or dropout is outside [0, 1).

    Source: Vaswani et al. 2017, section 3.2.2; grouped queries: Ainslie et al. 2023; qk_norm: Henry et al.
    2020 (with RMS in place of l2: Dehghani et al. 2023, Qwen 3); cap: Gemma Team 2024.
    """

    def __init__(self, dim: int, n_head: int, *, n_kv_head: int | None = None, bias: bool = True,
                 dropout: float = 0.0, qk_norm: bool = False, softcap: float | None = None,
                 norm_eps: float = 1e-6, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        n_kv_head = n_head if n_kv_head is None else n_kv_head
        if n_head < 1 or dim % n_head:
            raise ValueError(f"dim = {dim} must be a multiple of n_head = {n_head}")
        if n_kv_head < 1 or n_head % n_kv_head:
            raise ValueError(f"n_head = {n_head} must be a multiple of n_kv_head = {n_kv_head}")
        self.n_head, self.n_kv_head, self.d, self.softcap = n_head, n_kv_head, dim // n_head, softcap

        def linear(n_out: int) -> Linear:
            return Linear(dim, n_out, bias, rng=rng, dtype=dtype)

        self.query, self.key, self.value = linear(dim), linear(n_kv_head * self.d), linear(n_kv_head * self.d)
        self.output = linear(dim)
        self.query_norm = RMSNorm(self.d, eps=norm_eps, dtype=dtype) if qk_norm else None
        self.key_norm = RMSNorm(self.d, eps=norm_eps, dtype=dtype) if qk_norm else None
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, x: Any, memory: Any = None, *, causal: bool = False, mask: Any = None,
                cache: LayerCache | None = None) -> Tensor:
        """Let each position of x read.

        Args:
            x: (B, T, C).
            memory: what is read: (B, S, C), or what `keys_values` made of it; None: x itself.
            causal: no position reads a later one. The T positions are the last of the S.
            mask: boolean, True where a position may be read: (B, S), padding of what is read, or four axes
                that broadcast to (B, H, T, S). None: all.
            cache: keys and values of positions before x, which x's are written behind.

        Returns:
            (B, T, C). A position that may read nothing gets the output layer's bias.

        Raises:
            ValueError: a shape does not fit.
            TypeError: the mask is not boolean.
        """
        B, T, C = self._checked("x", x).shape
        q = split_heads(self.query(x), self.d)  # (B, H, T, d)
        if self.query_norm is not None:
            q = self.query_norm(q)
        k, v = memory if isinstance(memory, tuple) else self.keys_values(x if memory is None else memory)
        if cache is not None:
            k, v = cache.extend(k, v)  # (B, H_kv, length + T, d)
        if mask is not None and np.ndim(mask) == 2:
            if np.shape(mask) != (B, k.shape[2]):
                raise ValueError(f"mask must be (B, S) = {(B, k.shape[2])} or have four axes, "
                                 f"not {np.shape(mask)}")
            mask = np.asarray(mask)[:, None, None, :]  # (B, 1, 1, S)
        if self.training and self.dropout.p:
            y = self._with_dropout(q, k, v, causal, mask)
        else:
            y = attention(q, k, v, causal=causal, mask=mask, softcap=self.softcap)  # (B, H, T, d)
        return self.output(y.transpose(0, 2, 1, 3).reshape(B, T, C))  # (B, T, C)

    def keys_values(self, memory: Any) -> KeysValues:
        """Keys and values of a memory (B, S, C), each (B, H_kv, S, d): once, however often it is read."""
        self._checked("memory", memory)
        k, v = split_heads(self.key(memory), self.d), split_heads(self.value(memory), self.d)
        return (k if self.key_norm is None else self.key_norm(k)), v

    def _with_dropout(self, q: Any, k: Any, v: Any, causal: bool, mask: Any) -> Any:
        """The same with weights dropped, which no fused op does: (B, H, T, d), H = H_kv G heads."""
        (B, H, T, d), (_, H_kv, S, _) = q.shape, k.shape
        groups = (B, H_kv, H // H_kv, T)
        seen: Any = np.tri(T, S, S - T, dtype=bool) if causal else np.ones((1, 1), bool)
        if mask is not None:
            seen = np.broadcast_to(np.asarray(mask) & seen, (B, H, T, S)).reshape(*groups, S)
        scores = dot_scores(q.reshape(*groups, d), k[:, :, None], softcap=self.softcap)  # (B, H_kv, G, T, S)
        p = self.dropout(attention_weights(scores, beside(seen, unwrap(q))))
        return (p @ v[:, :, None]).reshape(B, H, T, d)

    def _checked(self, name: str, x: Any) -> Any:
        C = self.query.weight.shape[0]
        if np.ndim(x) != 3 or np.shape(x)[2] != C:
            raise ValueError(f"{name} must be (B, T, {C}), not {np.shape(x)}")
        return x

    def _options(self) -> str:
        shared = f", n_kv_head={self.n_kv_head}" if self.n_kv_head != self.n_head else ""
        return f"{self.n_head * self.d}, {self.n_head}{shared}"


def split_heads(x: Any, d: int) -> Any:
    """The heads of a projection side by side: (B, T, H d) -> (B, H, T, d)."""
    B, T, E = x.shape
    return x.reshape(B, T, E // d, d).transpose(0, 2, 1, 3)  # (B, H, T, d)
