"""PyTorch's state dicts into our layers and back.

    ours                      torch (batch_first=True)    what differs
    Linear                    nn.Linear                   weight is (E, D), the transpose
    Embedding                 nn.Embedding
    LayerNorm, RMSNorm        nn.LayerNorm, nn.RMSNorm
    LSTM, LSTMLayer           nn.LSTM                     weights (4H, D), transposed; two biases, added
    MultiHeadAttention        nn.MultiheadAttention       query, key and value packed in one (3C, C)
    TransformerEncoderLayer   nn.TransformerEncoderLayer  and Decoder, and stacks of both
    Sequential                nn.Sequential               0.weight for our layers.0.weight

Any other Module is the sum of its parts under the names of its attributes, so a Module that has an
`encoder` and a `decoder` takes the state of torch's `nn.Transformer`. torch is not imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.devices import beside, to_host
from minillm.weights.safetensors_file import Safetensors
from minillm.weights.torch_file import TorchFile

Arrays = Sequence[np.ndarray]


class _Rule(NamedTuple):
    """Some arrays of torch's and the parameters that hold the same numbers."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]  # of torch's arrays
    params: tuple[Tensor, ...]
    read: Callable[..., Arrays]  # torch's arrays -> ours
    write: Callable[..., Arrays]  # ours -> torch's
    optional: bool = False  # torch may have none of them: then ours are 0


def from_torch(state: Mapping[str, Any] | Safetensors | TorchFile, layer: nn.Module,
               prefix: str = "") -> None:
    """Write a state dict of torch's into a layer, or a model of layers.

    Args:
        state: name -> array or torch tensor, or an opened file.
        layer: see the table above, made with the sizes of torch's.
        prefix: only the names that begin with it count, without it: "encoder." picks a part.

    What is no weight must be given to the layer itself: activation, norm_first, dropout, and eps (torch's
    RMSNorm has that of the dtype where ours has 1e-6).

    Raises:
        ValueError: names are missing or unknown, a shape differs, an array holds no floats, or torch's
            layer has what ours has not (both directions, proj_size, kdim, add_bias_kv); nothing is
            written then.
        UserError: from the file.
    """
    names = state.tensors if isinstance(state, Safetensors | TorchFile) else state
    held = {name[len(prefix):] for name in names if name.startswith(prefix)}
    rules = [rule for rule in _rules(layer) if not rule.optional or held.intersection(rule.names)]
    wanted = {name for rule in rules for name in rule.names}
    if held != wanted:
        missing = [prefix + name for name in sorted(wanted - held)]
        unknown = [prefix + name for name in sorted(held - wanted)]
        raise ValueError(f"the state does not fit {type(layer).__name__}: missing {_listed(missing)}, "
                         f"unknown {_listed(unknown)}{_reason(unknown)}")
    pairs: list[tuple[Tensor, np.ndarray]] = []
    for rule in rules:
        arrays = [_array(state, prefix + name) for name in rule.names]
        for name, a, shape in zip(rule.names, arrays, rule.shapes):
            if a.shape != shape:
                raise ValueError(f"{prefix}{name} has shape {a.shape} in the state, but {shape} in "
                                 f"{type(layer).__name__}")
            if a.dtype.kind != "f":
                raise ValueError(f"{prefix}{name} has dtype {a.dtype} in the state: weights are floats")
        pairs += zip(rule.params, rule.read(*arrays))
    used = {id(p) for p, _ in pairs}
    for p, array in pairs:
        p.data[...] = beside(np.ascontiguousarray(array), p.data)
    for p in (p for rule in _rules(layer) if rule.optional for p in rule.params if id(p) not in used):
        p.data[...] = 0


def to_torch(layer: nn.Module, prefix: str = "") -> dict[str, np.ndarray]:
    """The state dict that torch's layer takes: `load_state_dict({n: torch.from_numpy(a) for n, a in ...})`.

    An LSTM's second bias is 0. Copies, on the CPU, of the parameters' dtype.

    Raises:
        ValueError: the layer has what torch's has not (grouped queries, qk_norm).
    """
    state: dict[str, np.ndarray] = {}
    for rule in _rules(layer):
        arrays = rule.write(*(to_host(p.data) for p in rule.params))
        state |= {prefix + name: np.array(a, order="C") for name, a in zip(rule.names, arrays)}
    return state


def _rules(layer: nn.Module) -> Iterator[_Rule]:
    """What torch calls the parameters of a layer, and how it lays them out."""
    if isinstance(layer, nn.Linear):
        yield _turned("weight", layer.weight)
        yield from _same("bias", layer.bias)
    elif isinstance(layer, nn.LSTM):
        for i, inner in enumerate(layer.layers):
            yield from _lstm(inner, f"_l{i}")
    elif isinstance(layer, nn.LSTMLayer):
        yield from _lstm(layer, "_l0")
    elif isinstance(layer, nn.MultiHeadAttention):
        yield from _attention(layer)
    elif isinstance(layer, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        yield from _inside("self_attn", layer.self_attention)
        if isinstance(layer, nn.TransformerDecoderLayer):
            yield from _inside("multihead_attn", layer.cross_attention)
            yield from _inside("norm3", layer.norm3)
        for name, part in (("linear1", layer.up), ("linear2", layer.down), ("norm1", layer.norm1),
                           ("norm2", layer.norm2)):
            yield from _inside(name, part)
    else:  # Embedding and the norms have torch's own names
        for name, p in vars(layer).items():
            if isinstance(p, Tensor) and p.requires_grad and p.op is None:
                yield from _same(name, p)
        skipped = "layers." if isinstance(layer, nn.Sequential) else ""
        for name, child in layer.children():
            yield from _inside(name.removeprefix(skipped), child)


def _inside(name: str, part: nn.Module) -> Iterator[_Rule]:
    for rule in _rules(part):
        yield rule._replace(names=tuple(f"{name}.{inner}" for inner in rule.names))


def _same(name: str, p: Tensor | None) -> Iterator[_Rule]:
    if p is not None:
        yield _Rule((name,), (p.shape,), (p,), lambda a: (a,), lambda a: (a,))


def _turned(name: str, p: Tensor) -> _Rule:
    return _Rule((name,), (p.shape[::-1],), (p,), lambda a: (a.T,), lambda a: (a.T,))


def _lstm(layer: nn.LSTMLayer, end: str) -> Iterator[_Rule]:
    """Gates i, f, g, o in both; torch adds bias_ih and bias_hh, or has neither (bias=False)."""
    yield _turned(f"weight_ih{end}", layer.W)
    yield _turned(f"weight_hh{end}", layer.U)
    b = layer.b
    yield _Rule((f"bias_ih{end}", f"bias_hh{end}"), (b.shape, b.shape), (b,), lambda ih, hh: (ih + hh,),
                lambda b: (b, np.zeros_like(b)), optional=True)


def _attention(layer: nn.MultiHeadAttention) -> Iterator[_Rule]:
    if layer.n_kv_head != layer.n_head or layer.query_norm is not None:
        raise ValueError("torch's nn.MultiheadAttention has neither grouped queries nor qk_norm, but this "
                         f"layer has n_head = {layer.n_head}, n_kv_head = {layer.n_kv_head}, qk_norm = "
                         f"{layer.query_norm is not None}")
    C = layer.query.weight.shape[0]
    three = (layer.query, layer.key, layer.value)
    yield _Rule(("in_proj_weight",), ((3 * C, C),), tuple(part.weight for part in three),
                lambda w: [a.T for a in np.split(w, 3)], lambda *ws: (np.concatenate([w.T for w in ws]),))
    biases = tuple(part.bias for part in three if part.bias is not None)
    if biases:
        yield _Rule(("in_proj_bias",), ((3 * C,),), biases, lambda b: np.split(b, 3),
                    lambda *bs: (np.concatenate(bs),))
    yield from _inside("out_proj", layer.output)


def _array(state: Any, name: str) -> np.ndarray:
    if isinstance(state, Safetensors | TorchFile):
        return state.read(name, None)
    value = state[name]
    if isinstance(value, Tensor):
        value = value.data
    elif callable(getattr(value, "detach", None)):  # a torch tensor; NumPy has no bfloat16
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(to_host(value))


def _listed(names: list[str]) -> str:
    return f"{names[:6]} and {len(names) - 6} more" if len(names) > 6 else str(names or "none")


def _reason(unknown: list[str]) -> str:
    """What in torch's layer makes such names, where ours has nothing of the kind."""
    for part, reason in (("_reverse", "our LSTM reads in one direction"),
                         ("weight_hr_l", "our LSTM has no proj_size"),
                         ("q_proj_weight", "our attention has no kdim and vdim"),
                         ("bias_k", "our attention has no add_bias_kv")):
        if any(part in name for name in unknown):
            return f": {reason}"
    return ""
