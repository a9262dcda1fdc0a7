"""Layers as Keras's configuration, and back: data in, layers out, and no code run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minillm.errors import UserError
from minillm.weights.mapped_file import shown

from . import activations, layers, regularizers
from .layer import Layer, Shape

_CLASSES: dict[str, type[Layer]] = {
    "Embedding": layers.Embedding, "LSTM": layers.LSTM, "Dense": layers.Dense, "Dropout": layers.Dropout}
_LEGACY = {"CuDNNLSTM": "LSTM"}  # Keras 2's; its weights are turned when they are read
_PENALISED = {"embeddings_regularizer": "embeddings", "kernel_regularizer": "kernel",
              "recurrent_regularizer": "recurrent_kernel", "bias_regularizer": "bias"}
# How it is computed, or what no longer matters once there are weights.
_IGNORED = {"name", "implementation", "input_length", "batch_input_shape", "build_config"}
_MAX_LAYERS = 10_000


def of_model(model: Any) -> dict[str, Any]:
    """The configuration of a Sequential model that Keras 3 builds the same model from.

    Raises:
        ValueError: a layer, activation or regularizer is the user's own.
    """
    shape = model.input_shape
    first = {"batch_shape": _listed(shape), "dtype": "float32", "name": "input_layer"}
    entries, built = [_entry("InputLayer", first)], {"input_shape": _listed(shape)}
    for layer in model.layers:
        entries.append(_entry(type(layer).__name__, _of_layer(layer)))
    config = {"name": model.name, "trainable": True, "layers": entries}
    return {**_entry("Sequential", config, "keras"), "build_config": built}


def _of_layer(layer: Layer) -> dict[str, Any]:
    if type(layer) not in _CLASSES.values():
        raise ValueError(f"{layer.name} is a {type(layer).__name__}: only {', '.join(_CLASSES)} can be saved")
    config: dict[str, Any] = {"name": layer.name, "trainable": True, "dtype": "float32"}
    for option in layer._known:
        if option in _PENALISED:
            config[option] = _of_penalty(layer, layer.penalties.get(_PENALISED[option]))
        elif option == "activation":
            config[option] = _of_activation(layer)
        else:
            config[option] = getattr(layer, option)
    return config


def _of_activation(layer: Any) -> str:
    for name, function in activations._TABLE.items():
        if layer.activation is function:
            return name
    raise ValueError(f"the activation of {layer.name} is a function of yours, which no file can hold: save "
                     "the weights with save_weights")


def _of_penalty(layer: Layer, penalty: Any) -> dict[str, Any] | None:
    if penalty is None:
        return None
    if not isinstance(penalty, regularizers.L1L2):
        raise ValueError(f"a regularizer of {layer.name} is a function of yours, which no file can hold: "
                         "save the weights with save_weights")
    return _entry("L1L2", {"l1": penalty.l1, "l2": penalty.l2}, "keras.regularizers")


def _entry(name: str, config: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _listed(shape: Shape) -> list[int | None]:
    return [None if n is None else int(n) for n in shape]


def read(config: Mapping[str, Any], where: str) -> tuple[str, list[Layer], Shape | None]:
    """(name, layers without weights, shape of the input if it says so) of Keras's configuration.

    Raises:
        UserError: it is no Sequential model, is damaged, or has layers or options that are not here.
    """
    kind, inner = _pair(config, "the model", where)
    if kind != "Sequential":
        raise UserError(f"{where} holds a {shown(kind)} model: minillm.keras has Sequential only")
    entries = inner.get("layers")
    if not isinstance(entries, list) or len(entries) > _MAX_LAYERS:
        raise UserError(f"{where} is damaged: its model has no list of layers")
    found: list[Layer] = []
    shape = inner.get("build_input_shape")
    for number, entry in enumerate(entries):
        kind, options = _pair(entry, f"layers[{number}]", where)
        given = options.get("batch_shape", options.get("batch_input_shape"))
        shape = given if number == 0 and given is not None else shape
        if kind != "InputLayer":
            found.append(_layer(kind, options, where))
        elif number:
            raise UserError(f"{where} is damaged: layers[{number}] is an InputLayer, which comes first")
    if not found:
        raise UserError(f"{where} holds a model without layers")
    name = inner.get("name")
    return name if isinstance(name, str) else "sequential", found, _shape(shape, where)


def _pair(entry: Any, what: str, where: str) -> tuple[str, dict[str, Any]]:
    kind, inner = (entry.get("class_name"), entry.get("config")) if isinstance(entry, dict) else (None, None)
    if isinstance(inner, list):
        inner = {"layers": inner}  # a Sequential of early Keras 2
    if not isinstance(kind, str) or not isinstance(inner, dict):
        raise UserError(f"{where} is damaged: {what} has no class_name and config")
    return kind, inner


def _layer(kind: str, config: dict[str, Any], where: str) -> Layer:
    name = config.get("name")
    try:
        made = _CLASSES[_LEGACY.get(kind, kind)]
    except KeyError:
        raise UserError(f"{where} has a {shown(kind)} layer, {shown(str(name))}: minillm.keras has"
                        f" {', '.join(_CLASSES)}") from None
    what = f"{where}, layer {shown(str(name))}"
    options = {}
    for option, value in config.items():
        if option in _IGNORED or option.endswith("_initializer"):
            continue
        if option in _PENALISED:
            options[option] = _penalty(value, what)
        elif option == "dtype":
            _check_dtype(value, what)
        elif option in ("activation", "recurrent_activation") and not isinstance(value, str):
            raise UserError(f"{what}: its {option} is no name, {shown(str(value))}: no code in a file is run")
        elif option in made._known or option in made._fixed or (value is not None and value is not False):
            options[option] = value
    try:
        return made(**options, name=name if isinstance(name, str) else None)
    except (ValueError, TypeError) as error:
        raise UserError(f"{what}: {error}") from None


def _penalty(value: Any, what: str) -> Any:
    if value is None:
        return None
    name = value.get("class_name") if isinstance(value, dict) else None
    config = value.get("config") if isinstance(value, dict) else None
    if name not in ("L1", "L2", "L1L2") or not isinstance(config, dict) or not config.keys() <= {"l1", "l2"} \
            or not all(type(x) in (int, float) for x in config.values()):
        raise UserError(f"{what}: its regularizer {shown(str(value))} is none of L1, L2 and L1L2")
    try:
        return regularizers.L1L2(**config)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None


def _check_dtype(value: Any, what: str) -> None:
    if isinstance(value, dict):  # a DTypePolicy
        value = value["config"].get("name") if isinstance(value.get("config"), dict) else None
    if value not in ("float32", None):
        raise UserError(f"{what}: its dtype is {shown(str(value))}: minillm.keras computes in float32 only")


def _shape(shape: Any, where: str) -> Shape | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) > 32 \
            or not all(n is None or (type(n) is int and 0 <= n < 2**31) for n in shape):
        raise UserError(f"{where} is damaged: the shape of its input is {shown(str(shape))}")
    return (None, *shape[1:])  # a batch may have any length
