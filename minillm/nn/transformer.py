"""The transformer's layers: an encoder's, a decoder's, and stacks of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.fused import gelu, gelu_tanh

from .attention import KeysValues, MultiHeadAttention
from .cache import KVCache, LayerCache
from .layers import Dropout, Linear
from .module import Module
from .norms import LayerNorm


def relu(x: Any) -> Any:
    """max(x, 0), with derivative 0 at 0; a product, since `np.where` mispredicts at every other number."""
    return x * (x > 0)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": relu, "gelu": gelu, "gelu_tanh": gelu_tanh}


class _TransformerLayer(Module):
    """What both layers have: branches with a residual path around each, and the feed-forward branch."""

    def __init__(self, dim: int, hidden_dim: int, activation: str, norm_first: bool, dropout: float,
                 bias: bool, rng: np.random.Generator | None, dtype: Any) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation = {activation!r} must be one of "
                             f"{', '.join(map(repr, ACTIVATIONS))}")
        self.activation, self.norm_first = activation, norm_first
        self.up = Linear(dim, hidden_dim, bias, rng=rng, dtype=dtype)
        self.down = Linear(hidden_dim, dim, bias, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)

    def _around(self, x: Any, norm: LayerNorm, branch: Callable[[Any], Any]) -> Any:
        """Pre-norm: x + branch(norm(x)). Post-norm: norm(x + branch(x))."""
        if self.norm_first:
            return x + self.dropout(branch(norm(x)))
        return norm(x + self.dropout(branch(x)))

    def _feed_forward(self, x: Any) -> Any:
        return self.down(self.dropout(ACTIVATIONS[self.activation](self.up(x))))  # (B, T, C)

    def _options(self) -> str:
        C, F = self.up.weight.shape
        return f"{C}, hidden_dim={F}, activation={self.activation!r}, norm_first={self.norm_first}"


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention and a feed-forward network, each with a norm and a residual path.

        norm_first=True    y = x + attention(norm1(x)),   z = y + mlp(norm2(y))
        norm_first=False   y = norm1(x + attention(x)),   z = norm2(y + mlp(y))

    with mlp(x) = f(x W + b) W' + b'. Pre-norm leaves the residual path free from end to end and trains
    without a warm-up of the learning rate; post-norm is the original.

    Args:
        dim: C, width.
        n_head: heads of attention; divides C.
        hidden_dim: F, width of the feed-forward network.
        dropout: probability to drop an attention weight, an activation of the network, and an output of
            either branch, while training.
        activation: f: "relu", "gelu" or "gelu_tanh".
        norm_first: pre-norm or post-norm.
        bias: whether linear layers and norms have one.
        norm_eps: of the layer norms.
        n_kv_head, qk_norm, softcap: see `MultiHeadAttention`.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    Parameters: self_attention (`MultiHeadAttention`), up (C, F), down (F, C), norm1, norm2 (C,).

    Raises:
        ValueError: sizes do not divide, the activation is unknown, or dropout is outside [0, 1).

    Source: Vaswani et al. 2017, section 3.1; pre-norm: Xiong et al. 2020. With `dropout` and the defaults of
    the rest this is torch's `nn.TransformerEncoderLayer(batch_first=True)`.
    """

    def __init__(self, dim: int, n_head: int, hidden_dim: int, *, dropout: float = 0.0,
                 activation: str = "relu", norm_first: bool = False, bias: bool = True,
                 norm_eps: float = 1e-5, n_kv_head: int | None = None, qk_norm: bool = False,
                 softcap: float | None = None, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        self.self_attention = MultiHeadAttention(dim, n_head, n_kv_head=n_kv_head, bias=bias, dropout=dropout,
                                                 qk_norm=qk_norm, softcap=softcap, rng=rng, dtype=dtype)
        super().__init__(dim, hidden_dim, activation, norm_first, dropout, bias, rng, dtype)
        self.norm1, self.norm2 = (LayerNorm(dim, eps=norm_eps, bias=bias, dtype=dtype) for _ in range(2))

    def forward(self, x: Any, mask: Any = None, *, causal: bool = False) -> Tensor:
        """(B, T, C) -> (B, T, C).

        Args:
            x: (B, T, C).
            mask: boolean, True where a position may be read: (B, T), or four axes that broadcast to
                (B, H, T, T). None: all.
            causal: no position reads a later one.

        Raises:
            ValueError: a shape does not fit.
        """
        x = self._around(x, self.norm1, lambda y: self.self_attention(y, causal=causal, mask=mask))
        return self._around(x, self.norm2, self._feed_forward)


class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to the encoder's memory, and a feed-forward network.

    Args: as for `TransformerEncoderLayer`.

    Parameters: self_attention and cross_attention (`MultiHeadAttention`), up (C, F), down (F, C), norm1,
    norm2 and norm3 (C,): of the three branches, in this order.

    Raises:
        ValueError: sizes do not divide, the activation is unknown, or dropout is outside [0, 1).

    Source: Vaswani et al. 2017, section 3.1; torch's `nn.TransformerDecoderLayer(batch_first=True)`.
    """

    def __init__(self, dim: int, n_head: int, hidden_dim: int, *, dropout: float = 0.0,
                 activation: str = "relu", norm_first: bool = False, bias: bool = True,
                 norm_eps: float = 1e-5, n_kv_head: int | None = None, qk_norm: bool = False,
                 softcap: float | None = None, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        self.self_attention, self.cross_attention = (
            MultiHeadAttention(dim, n_head, n_kv_head=n_kv_head, bias=bias, dropout=dropout, qk_norm=qk_norm,
                               softcap=softcap, rng=rng, dtype=dtype) for _ in range(2))
        super().__init__(dim, hidden_dim, activation, norm_first, dropout, bias, rng, dtype)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(dim, eps=norm_eps, bias=bias, dtype=dtype)
                                              for _ in range(3))

    def forward(self, x: Any, memory: Any, *, mask: Any = None, memory_mask: Any = None, causal: bool = True,
                cache: LayerCache | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C).

        Args:
            x: (B, T, C).
            memory: the encoder's output (B, S, C), or what `cross_attention.keys_values` made of it.
            mask: boolean, True where a position of x may be read: (B, T), or four axes that broadcast to
                (B, H, T, T); with a cache, length + T in place of the last T. None: all.
            memory_mask: the same for the memory: (B, S), or four axes that broadcast to (B, H, T, S).
            causal: no position reads a later one of x.
            cache: keys and values of the positions before x.

        Raises:
            ValueError: a shape does not fit.
        """
        x = self._around(x, self.norm1,
                         lambda y: self.self_attention(y, causal=causal, mask=mask, cache=cache))
        x = self._around(x, self.norm2, lambda y: self.cross_attention(y, memory, mask=memory_mask))
        return self._around(x, self.norm3, self._feed_forward)


class TransformerEncoder(Module):
    """Encoder layers one after the other.

    Args:
        layers: `TransformerEncoderLayer`s.
        norm: after the last, as pre-norm layers need it; None: no norm.
    """

    def __init__(self, layers: Sequence[TransformerEncoderLayer], norm: Module | None = None) -> None:
        self.layers, self.norm = list(layers), norm

    def forward(self, x: Any, mask: Any = None, *, causal: bool = False) -> Any:
        """(B, T, C) -> (B, T, C); the arguments are those of a layer."""
        for layer in self.layers:
            x = layer(x, mask, causal=causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Decoder layers one after the other, all of which read the same memory.

    Args:
        layers: `TransformerDecoderLayer`s.
        norm: after the last, as pre-norm layers need it; None: no norm.
    """

    def __init__(self, layers: Sequence[TransformerDecoderLayer], norm: Module | None = None) -> None:
        self.layers, self.norm = list(layers), norm

    def forward(self, x: Any, memory: Any, *, mask: Any = None, memory_mask: Any = None, causal: bool = True,
                cache: KVCache | None = None) -> Any:
        """(B, T, C) -> (B, T, C).

        Args:
            x, mask, memory_mask, causal: those of a layer.
            memory: the encoder's output (B, S, C), or what `keys_values` made of it.
            cache: what was read before x; its layers are extended, and `advance` is left to the caller.

        Raises:
            ValueError: a shape does not fit.
        """
        memories = memory if isinstance(memory, list) else [memory] * len(self.layers)
        for i, (layer, m) in enumerate(zip(self.layers, memories, strict=True)):
            x = layer(x, m, mask=mask, memory_mask=memory_mask, causal=causal,
                      cache=None if cache is None else cache.layers[i])
        return x if self.norm is None else self.norm(x)

    def keys_values(self, memory: Any) -> list[KeysValues]:
        """What each layer's cross-attention reads of a memory (B, S, C): computed once for a source."""
        return [layer.cross_attention.keys_values(memory) for layer in self.layers]
