"""Keras's weights into our layers and back: arrays in the order of Keras's `get_weights`, or files.

    ours                 Keras                  weights
    Embedding            Embedding              embeddings (V, D)
    LSTMLayer            LSTM                   kernel (D, 4H), recurrent_kernel (H, 4H), bias (4H,)
    LSTM, num_layers L   L times LSTM, each with return_sequences=True
    Linear               Dense                  kernel (D, E), bias (E,)
    LayerNorm            LayerNormalization     gamma (C,), beta (C,)
    RMSNorm              RMSNormalization       scale (C,)

The layouts are the same; Keras's gates i, f, c, o are our i, f, g, o. An epsilon is no weight: Keras's
norms have 1e-3 and 1e-6 where ours have 1e-5 and 1e-6, so give the layer the one of the Keras model.
`minillm.keras` reads and writes whole Keras models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.devices import beside, to_host
from minillm.errors import UserError
from minillm.weights.keras_file import KerasFile, write_weights
from minillm.weights.mapped_file import display

# Our layer -> Keras's group in a `.weights.h5`, and where its variables lie in it.
_KINDS: dict[type[nn.Module], tuple[str, str]] = {
    nn.Embedding: ("embedding", "vars"),
    nn.LSTMLayer: ("lstm", "cell/vars"),
    nn.Linear: ("dense", "vars"),
    nn.LayerNorm: ("layer_normalization", "vars"),
    nn.RMSNorm: ("rms_normalization", "vars"),
}

Assignment = tuple[Tensor, np.ndarray]


def from_keras(weights: Sequence[Any], layer: nn.Module) -> None:
    """Write the arrays of Keras's `get_weights()` into a layer or a model of layers.

    Args:
        weights: the arrays, in Keras's order. An LSTM by itself may come without a bias (then 0), or as
            CuDNNLSTM of Keras 2 kept it: each gate's matrix (H, D) in the place of a (D, H), and two
            halves (8H,) of the bias.
        layer: one of the table above, or any Module made of them alone, in the order of the Keras
            model, as `nn.Sequential` or `LSTMLanguageModel`.

    Raises:
        ValueError: their number or a shape does not fit, an array holds no floats, or the module has
            parameters outside such layers; nothing is written then.
    """
    parts = list(_parts(layer))
    if len(parts) == 1:
        return _write(_fitted(parts[0][1], list(weights), parts[0][0]))
    counts = [len(part.parameters()) for _, part in parts]
    if sum(counts) != len(weights):
        raise ValueError(f"{type(layer).__name__} has {sum(counts)} arrays in Keras ({_names(layer)}), but "
                         f"{len(weights)} were given")
    ends = np.cumsum(counts).tolist()
    _write([pair for (name, part), end, n in zip(parts, ends, counts)
            for pair in _fitted(part, list(weights[end - n:end]), name)])


def to_keras(layer: nn.Module) -> list[np.ndarray]:
    """Copies of the parameters in the order of Keras's `get_weights()`: for Keras's `set_weights`.

    Raises:
        ValueError: the module has parameters outside the layers of the table above.
    """
    return [to_host(p.data).copy() for _, part in _parts(layer) for p in part.parameters()]


def load_keras(path: str | os.PathLike[str], layer: nn.Module) -> None:
    """Read a `.weights.h5`, `.keras` or Keras 2 `.h5` file into a layer or a model of layers.

    Layers are found as Keras finds them: in a Keras 3 file by class and count (embedding, lstm, lstm_1,
    dense), in a Keras 2 file by their order.

    Raises:
        UserError: the file cannot be read, or does not fit the layers; nothing is written then.
        ValueError: the module has parameters outside the layers of the table above.
    """
    file = KerasFile(path)
    parts = list(_groups(layer))
    held = {name: tensors for name, tensors in file.layers.items() if tensors}
    if file.legacy:
        if len(held) != len(parts):
            raise UserError(f"{display(path)} has {len(held)} layers with weights ({', '.join(held)}), but "
                            f"{type(layer).__name__} has {len(parts)} ({_names(layer)})")
        parts = [(name, part, at) for name, (_, part, at) in zip(held, parts)]
    missing = [name for name, _, _ in parts if name not in held]
    unknown = [name for name in held if name not in {name for name, _, _ in parts}]
    if missing or unknown:
        raise UserError(f"{display(path)} does not fit {type(layer).__name__}: missing {missing or 'none'}, "
                        f"unknown {unknown or 'none'}")
    try:
        _write([pair for name, part, _ in parts
                for pair in _fitted(part, [file.read(tensor, None) for tensor in held[name]], name)])
    except ValueError as error:
        raise UserError(f"{display(path)} does not fit {type(layer).__name__}: {error}") from None


def save_keras(layer: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a layer, or a model of layers, as a `.weights.h5` for Keras's `load_weights`.

    The Keras model to load it has the layers of the table above in this order.

    Raises:
        UserError: the path does not end in `.weights.h5` or cannot be written, or h5py is missing.
        ValueError: the module has parameters outside the layers of the table above.
    """
    write_weights(path, {name: {f"{at}/{i}": to_host(p.data) for i, p in enumerate(part.parameters())}
                         for name, part, at in _groups(layer)})


def from_cudnn(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The three arrays of Keras 2's CuDNNLSTM as those of an LSTM.

    cuDNN reads each gate's D H numbers as an (H, D) matrix and multiplies from the left, so the matrix
    for x W is its transpose; it adds two biases.

    Args:
        weights: kernel (D, 4H), recurrent_kernel (H, 4H), bias (8H,); gates i, f, c, o.

    Returns:
        The same shapes, but bias (4H,).
    """
    kernel, recurrent, bias = weights
    H = recurrent.shape[0]

    def turned(w: np.ndarray) -> np.ndarray:
        gates = [np.ascontiguousarray(gate).reshape(H, -1).T for gate in np.split(w, 4, axis=1)]  # (D, H)
        return np.concatenate(gates, axis=1)  # (D, 4H)

    return [turned(kernel), turned(recurrent), bias[:4 * H] + bias[4 * H:]]


def _parts(layer: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(name, layer) of each layer of the table in a module, in the order of its attributes."""
    if type(layer) in _KINDS:
        yield prefix or type(layer).__name__, layer
        return
    own = [name for name, _ in layer.named_parameters() if name.count(".") == 0]
    if own:
        raise ValueError(f"{prefix or type(layer).__name__} has parameters that no Keras layer here has "
                         f"({', '.join(own)}): Keras's weights go into "
                         f"{', '.join(kind.__name__ for kind in _KINDS)} and models of them")
    for name, part in layer.children():
        yield from _parts(part, f"{prefix}.{name}" if prefix else name)


def _groups(layer: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """(Keras's group, layer, place of its variables): a class's second layer is `dense_1`."""
    counts: dict[str, int] = {}
    for _, part in _parts(layer):
        group, at = _KINDS[type(part)]
        n = counts[group] = counts.get(group, -1) + 1
        yield f"{group}_{n}" if n else group, part, at


def _fitted(part: nn.Module, arrays: list[Any], name: str) -> list[Assignment]:
    """Which array goes into which parameter."""
    arrays = [np.asarray(to_host(a.data) if isinstance(a, Tensor) else a) for a in arrays]
    own = list(part.named_parameters())
    if isinstance(part, nn.LSTMLayer):
        H = part.U.shape[0]
        if len(arrays) == 2:
            arrays.append(np.zeros(4 * H, part.b.dtype))
        elif len(arrays) == 3 and arrays[2].shape == (8 * H,) and arrays[0].shape == part.W.shape \
                and arrays[1].shape == part.U.shape:
            arrays = from_cudnn(arrays)
    if len(arrays) != len(own):
        raise ValueError(f"{name} has {len(own)} arrays in Keras ({', '.join(n for n, _ in own)}), but "
                         f"{len(arrays)} were given")
    for a, (n, p) in zip(arrays, own):
        if a.shape != p.shape:
            raise ValueError(f"{name}.{n} has shape {p.shape}, but the array from Keras has {a.shape}")
        if a.dtype.kind != "f":
            raise ValueError(f"{name}.{n} has dtype {p.dtype}, but the array from Keras has {a.dtype}")
    return [(p, a) for a, (_, p) in zip(arrays, own)]


def _write(pairs: list[Assignment]) -> None:
    for p, array in pairs:
        p.data[...] = beside(array, p.data)


def _names(layer: nn.Module) -> str:
    return ", ".join(f"{name} ({type(part).__name__})" for name, part in _parts(layer))
